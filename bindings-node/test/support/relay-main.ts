/** The process of a {@link ProcessRelay}. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import { Lifecycle } from '../../host/lifecycle.js'
import { RedisDirectory } from '../../host/redis.js'
import { TunnelServer } from '../../host/tunnel-server.js'

const { machine, redis, prefix } = JSON.parse(process.argv[2] ?? '{}')
const client = new Redis({ host: '127.0.0.1', port: redis })
const life = new Lifecycle({ lameDuck: 100, grace: 6_000, killBudget: 10_000 })
const clients = createServer()
const peers = createServer()
life.http(clients).http(peers, { door: 'peer' })
life.release('redis', () => client.disconnect())

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, resolve))
  return (server.address() as AddressInfo).port
}

await life.run(async () => {
  // Nothing is served there before the tunnels are started; only its port is needed.
  const peerPort = await listen(peers)
  const tunnels = new TunnelServer({
    directory: new RedisDirectory(client, { prefix }),
    owner: { machine, incarnation: Date.now() },
    address: `http://127.0.0.1:${peerPort}`,
    authorize: ({ url }) => {
      const login = new URL(url ?? '', 'http://relay').searchParams
      const host = login.get('hostId')
      return host && login.get('token') === `secret-of-${host}` ? { host } : undefined
    },
    server: [clients, peers],
  })
  life.tunnels(tunnels)
  await tunnels.start()
  for (const server of [clients, peers]) server.on('request', tunnels.handleRequest)
  console.log(await listen(clients))
})
