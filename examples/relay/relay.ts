/**
 * A relay: hosts dial in with a WebSocket tunnel each, clients reach a host through any relay.
 *
 *   node --import tsx relay.ts --machine a --port 8001 --peer-port 9001 --directory redis://127.0.0.1:6379
 *
 * `GET /hosts/{hostId}/…` is proxied through the tunnel of that host, here or on the relay that holds it;
 * `GET /tunnel?hostId=…&token=…` is where hosts dial in; `/health`, `/readyz` and `/livez` are for probes.
 */
import { createServer } from 'node:http'
import { parseArgs } from 'node:util'
import { type Duration, Lifecycle, TunnelServer } from 'tidegate'
import { connectDirectory } from './directory.ts'
import { report } from './report.ts'

const { values } = parseArgs({
  options: {
    machine: { type: 'string', default: 'relay' },
    port: { type: 'string', default: '8080' },
    'peer-port': { type: 'string', default: '9080' },
    directory: { type: 'string', default: '' },
    'reconnect-rate': { type: 'string', default: '0' },
    grace: { type: 'string', default: '6s' },
    'kill-budget': { type: 'string', default: '10s' },
  },
})
// The same machine comes back after a deploy; each of its lives has a greater incarnation.
const owner = { machine: values.machine, incarnation: Date.now() }
const directory = await connectDirectory(values.directory)

// The kill budget is the platform's: how long it waits between the signal and SIGKILL.
const life = new Lifecycle({
  lameDuck: '300ms',
  grace: values.grace as Duration,
  killBudget: values['kill-budget'] as Duration,
})

const clients = createServer((request, response) => {
  if (life.health(request, response)) return
  if (request.url === '/health') response.end(JSON.stringify({ region: 'local', ...owner }))
  else tunnels.handleRequest(request, response)
})
const peers = createServer((request, response) => tunnels.handleRequest(request, response))
const tunnels = new TunnelServer({
  server: clients,
  path: '/tunnel',
  directory,
  owner,
  address: `http://127.0.0.1:${values['peer-port']}`,
  authorize: ({ url }) => {
    const login = new URL(url ?? '/', 'http://relay').searchParams
    const host = login.get('hostId')
    return host !== null && login.get('token') === `secret-of-${host}` ? { host } : undefined
  },
})
tunnels.on('admitted', ({ host }) => report('admitted', { host, machine: owner.machine }))
tunnels.on('told', ({ host }) => report('told', { host, machine: owner.machine }))

life.http(clients)
life.http(peers, { door: 'peer' })
life.tunnels(tunnels, { reconnectRate: Number(values['reconnect-rate']) })

await life.run(async () => {
  await tunnels.start() // clears what an earlier life of this machine left behind, before anything listens
  await new Promise<void>((resolve) => peers.listen(Number(values['peer-port']), '127.0.0.1', resolve))
  await new Promise<void>((resolve) => clients.listen(Number(values.port), '127.0.0.1', 4_096, resolve))
  report('listening', { ...owner })
})
