/** The two control planes of the demo, with the same faults in the same steps. */

import { request } from 'node:http'
import { PlainPool, type PlainWorld, start } from '../plain/control-plane.ts'
import { changed, DOMAIN, type Fault, faulty, fixture } from '../test/support.ts'
import type { Surroundings } from '../world.ts'

/** A control plane under test. */
export interface Side extends AsyncDisposable {
  readonly world: Surroundings
  fault: Fault | undefined
  start(organization: string): Promise<{ status: number; details?: string }>
  /** Each gateway, and whether somebody else may get it now. */
  gateways(): Promise<{ gateway: string; address: string; state: string }[]>
  /** What it says itself that it left behind. */
  reported(): Promise<number>
}

export async function withTidegate(world: Surroundings, gateways: number): Promise<Side> {
  const made = await fixture(world, gateways, { limit: '5000ms', lateness: '500ms' })
  return {
    world,
    get fault() {
      return made.fault
    },
    set fault(fault) {
      made.fault = fault
    },
    async start(organization) {
      const { status, body } = await made.control.start(organization)
      return { status, ...(body as { details?: string }) }
    },
    gateways: () => world.pool.list(),
    reported: async () => (await world.journal.list('stuck')).length,
    [Symbol.asyncDispose]: () => made[Symbol.asyncDispose](),
  }
}

export async function withoutTidegate(world: Surroundings, gateways: number): Promise<Side> {
  const rows = new PlainPool()
  for (let n = 1; n <= gateways; n += 1) {
    rows.rows.push({ gateway: `gateway-${n}`, address: `http://127.0.0.1:${n}`, organization: undefined })
  }
  const side: Side = {
    world,
    fault: undefined,
    // What its rollback throws is what the caller gets.
    start: (organization) =>
      start(plain, organization).catch((error: Error) => ({ status: 500, details: error.message })),
    gateways: async () =>
      rows.rows.map(({ organization, ...row }) => ({
        ...row,
        state: organization === undefined ? 'free' : 'active',
      })),
    reported: async () => 0,
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  }
  const play = faulty(() => side.fault)
  const { dns, proxy } = world
  const plain: PlainWorld = {
    pool: changed(rows, { take: (organization) => play('gateway', () => rows.take(organization)) }),
    dns: changed(dns, { put: (...call) => play('dns', () => dns.put(...call)) }),
    proxy: changed(proxy, {
      write: (...call) => play('config', () => proxy.write(...call)),
      reload: (...call) => play('reload', () => proxy.reload(...call)),
    }),
    handshakes: { start: () => play('handshake', async () => {}) },
    domain: DOMAIN,
  }
  return side
}

/** What leads to a gateway although its start failed, and what of it to a gateway that is free for anybody. */
export async function residue(
  side: Side,
  organizations: string[],
): Promise<{ left: string[]; toFree: number }> {
  const { dns, proxy, door } = side.world
  const signal = AbortSignal.timeout(60_000)
  const gateways = await side.gateways()
  const left: string[] = []
  let toFree = 0
  const found = (what: string, state: string) => {
    left.push(what)
    if (state === 'free') toFree += 1
  }
  for (const { gateway, address, state } of gateways) {
    if (await proxy.has({ gateway, address, hostname: '' }, signal)) found(`config to ${gateway}`, state)
  }
  for (const organization of organizations) {
    const hostname = `org-${organization}.${DOMAIN}`
    for (const { gateway, address, state } of gateways) {
      const target = { gateway, address, hostname }
      if (await dns.has(target, signal)) found(`name ${hostname}`, state)
      if (await proxy.leads(target, signal)) found(`route ${hostname}`, state)
    }
    if ((await visit(door, hostname)) !== 404 && !left.includes(`route ${hostname}`)) {
      left.push(`route ${hostname}`)
    }
  }
  return { left, toFree }
}

async function visit(door: string, host: string): Promise<number> {
  return await new Promise((resolve, reject) => {
    const asked = request(`${door}/hello`, { headers: { host }, agent: false }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0))
    })
    asked.on('error', reject)
    asked.end()
  })
}
