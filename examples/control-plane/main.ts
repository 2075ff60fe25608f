/**
 * The control plane as a program, with gateways to allocate; it says what to ask it.
 *
 * `node --import tsx main.ts [--real] [--port 8080] [--gateways 3] [--data FOLDER]`
 */

import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { Lifecycle } from 'tidegate'
import { ControlPlane } from './control-plane.ts'
import { Gateway } from './gateway.ts'
import { HttpHandshakes, Tokens } from './handshake.ts'
import { embedded, real, type Surroundings } from './world.ts'

const { values } = parseArgs({
  options: {
    real: { type: 'boolean', default: false },
    port: { type: 'string', default: '8080' },
    gateways: { type: 'string', default: '3' },
    data: { type: 'string' },
  },
})
const domain = 'example.test'
const started: AsyncDisposable[] = []

async function surroundings(): Promise<Surroundings> {
  if (!values.real)
    return await embedded({ domain, ...(values.data !== undefined && { folder: values.data }) })
  const { startNginx, startPostgres, startPowerDns } = await import('./real/programs.ts')
  const postgres = await startPostgres()
  started.unshift(postgres)
  const powerdns = await startPowerDns(domain)
  started.unshift(powerdns)
  const nginx = await startNginx()
  started.unshift(nginx)
  return await real({ domain, postgres: postgres.url, powerdns, nginx })
}

const world = await surroundings()
const tokens = new Tokens(process.env.TOKEN_SECRET ?? 'a secret of this example')
const control = new ControlPlane({
  ...world,
  tokens,
  handshakes: new HttpHandshakes(tokens),
  user: (authorization) => /^Bearer (\w+)$/.exec(authorization)?.[1],
  isMember: (user) => user === 'alice',
  gatewayKey: 'gateway',
  operatorKey: 'operator',
  log: (line) => console.log(line),
})
const gateways: Gateway[] = []

const life = new Lifecycle({ lameDuck: 0, grace: '10s' })
life.http(control.server)
life.release('gateways', () => Promise.all(gateways.map((gateway) => gateway.close())))
life.release('world', async () => {
  await world[Symbol.asyncDispose]()
  for (const server of started) await server[Symbol.asyncDispose]()
})
await life.run(async (signal) => {
  await new Promise<void>((resolve) => control.server.listen(Number(values.port), '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(control.server.address() as AddressInfo).port}`
  world.pool.start()
  for (const { key, outcome } of await control.recover()) console.log(`${key}: ${outcome}`)
  for (let n = 1; n <= Number(values.gateways); n += 1) {
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
