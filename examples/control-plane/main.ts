/**
 * The control plane as a program, with gateways to allocate; it says what to ask it.
 *
 * `node --import tsx main.ts --help` says what it can be told.
 */

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Lifecycle } from 'tidegate'
import { optionsOf, whole } from '../options.ts'
import { ControlPlane } from './control-plane.ts'
import { Gateway } from './gateway.ts'
import { HttpHandshakes, Tokens } from './handshake.ts'
import { Servers, startNginx, startPostgres, startPowerDns } from './real/programs.ts'
import { embedded, real, type Surroundings } from './world.ts'

const USAGE = `node --import tsx main.ts [options]
  --real         PostgreSQL, PowerDNS and nginx, started for it, instead of this process' own table and proxy
  --port N       of the control plane (default 8080; 0: any that is free)
  --gateways N   how many there are to allocate (default 3)
  --data FOLDER  keep leases and journals there
`
const values = optionsOf(USAGE, {
  real: { type: 'boolean', default: false },
  port: { type: 'string', default: '8080' },
  gateways: { type: 'string', default: '3' },
  data: { type: 'string' },
})
const port = whole(USAGE, 'port', values.port, 0, 65_535)
const size = whole(USAGE, 'gateways', values.gateways, 0, 1_000)
// First of all, so that a signal while servers start ends them, too.
const life = new Lifecycle({ lameDuck: 0, grace: '10s' })
const domain = 'example.test'
const servers = new Servers()

async function surroundings(): Promise<Surroundings> {
  if (!values.real)
    return await embedded({ domain, ...(values.data !== undefined && { folder: values.data }) })
  const postgres = await servers.add(startPostgres)
  const powerdns = await servers.add(() => startPowerDns(domain))
  const nginx = await servers.add(startNginx)
  return await real({ domain, postgres: postgres.url, powerdns, nginx })
}

const world = await surroundings().catch(async (error: Error) => {
  await servers[Symbol.asyncDispose]()
  console.error(error.message)
  process.exit(1)
})
const tokens = new Tokens(process.env.TOKEN_SECRET ?? 'a secret of this example')
const control = new ControlPlane({
  ...world,
  tokens,
  handshakes: new HttpHandshakes(tokens, 'gateway'),
  user: (authorization) => /^Bearer (\w+)$/.exec(authorization)?.[1],
  isMember: (user) => user === 'alice',
  gatewayKey: 'gateway',
  operatorKey: 'operator',
  log: (line) => console.log(line),
})
const gateways: Gateway[] = []

life.http(control.server)
life.release('gateways', () => Promise.all(gateways.map((gateway) => gateway.close())))
life.release('world', async () => {
  await world[Symbol.asyncDispose]()
  await servers[Symbol.asyncDispose]()
})
const running = life.run(async (signal) => {
  control.server.listen(port, '127.0.0.1')
  await once(control.server, 'listening')
  const url = `http://127.0.0.1:${(control.server.address() as AddressInfo).port}`
  world.pool.start()
  for (const { key, outcome } of await control.recover()) console.log(`${key}: ${outcome}`)
  for (let n = 1; n <= size; n += 1) {
    const gateway = new Gateway({ control: url, id: `gateway-${n}`, key: 'gateway' }).revive()
    gateways.push(gateway)
    await world.pool.enrol(`gateway-${n}`, await gateway.listen())
    await gateway.holder.boot({ signal })
  }
  const organization = '6a5ad9f4-7a0c-4cc7-b1ff-7a6f7a8f1c11'
  console.log(`control plane at ${url}, organizations at ${world.door}

curl -s ${url}/gateway/start -H 'Authorization: Bearer alice' -d '{"organization_id":"${organization}"}'
curl -s ${world.door}/hello -H 'Host: org-${organization}.${domain}'
curl -s ${url}/pool -H 'Authorization: Bearer operator'
`)
})
await running.catch((error: NodeJS.ErrnoException) => {
  const taken = error.code === 'EADDRINUSE'
  console.error(taken ? `port ${port} is in use: choose another with --port, or 0 for any` : error)
})
