/** Allocations that fail at every step, twenty at a time, in this process and on real servers. */
import assert from 'node:assert/strict'
import { readFile, rm, symlink } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Nginx } from '../nginx.ts'
import { startNginx, startPostgres, startPowerDns } from '../real/programs.ts'
import { embedded, real, type Surroundings } from '../world.ts'
import { changed, DOMAIN, type Fate, type Fixture, fixture, STEPS, stopping, uuid } from './support.ts'

const STARTS = 20
const TERMS = { quarantine: '1h', unroutePause: '50ms' } as const

interface Answered {
  status: number
  body: { gateway_hostname?: string; error?: string; details?: string; [field: string]: unknown }
}

async function post(url: string, body: object | string, authorization = 'Bearer alice'): Promise<Answered> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { authorization },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  return { status: response.status, body: (await response.json()) as Answered['body'] }
}

async function start({ url }: Fixture, n: number): Promise<Answered> {
  return await post(`${url}/gateway/start`, { organization_id: uuid(n) })
}

async function startAll(made: Fixture, organizations: number): Promise<Answered[]> {
  return await Promise.all(Array.from({ length: organizations }, (_, n) => start(made, n)))
}

/** What a user gets by the name of an organization. */
async function visit({ world }: Fixture, hostname: string): Promise<Answered> {
  return await new Promise((resolve, reject) => {
    const asked = request(
      `${world.door}/hello`,
      { headers: { host: hostname }, agent: false },
      (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk
        })
        response.on('end', () => {
          const body = text.startsWith('{') ? JSON.parse(text) : {}
          resolve({ status: response.statusCode ?? 0, body })
        })
      },
    )
    asked.on('error', reject)
    asked.end()
  })
}

async function until(what: string, condition: () => Promise<boolean>, limit = 30_000): Promise<void> {
  const end = performance.now() + limit
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within ${limit} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function states({ world }: Fixture): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const { state } of await world.pool.list()) counts[state] = (counts[state] ?? 0) + 1
  return counts
}

/** What leads to any gateway. */
async function residue({ world }: Fixture): Promise<string[]> {
  const signal = AbortSignal.timeout(20_000)
  const found: string[] = []
  for (const { gateway, address } of await world.pool.list()) {
    const target = { gateway, address, hostname: 'any' }
    if (await world.proxy.has(target, signal)) found.push(`config to ${gateway}`)
  }
  for (let n = 0; n < STARTS; n += 1) {
    const hostname = `org-${uuid(n)}.${DOMAIN}`
    for (const { gateway, address } of await world.pool.list()) {
      if (await world.dns.has({ gateway, address, hostname }, signal)) found.push(`name ${hostname}`)
    }
    if ((await visit({ world } as Fixture, hostname)).status !== 404) found.push(`route ${hostname}`)
  }
  return found
}

function suite(
  name: string,
  open: () => Promise<Surroundings>,
  limits: Parameters<typeof fixture>[2],
  fates: readonly Fate[],
): void {
  describe(name, () => {
    const within = async (gateways: number, body: (made: Fixture) => Promise<void>) => {
      await using made = await fixture(await open(), gateways, limits)
      await body(made)
    }

    test('twenty organizations that start at once get a gateway each, and reach it by their name', async () => {
      await within(STARTS, async (made) => {
        const answers = await startAll(made, STARTS)
        assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200], JSON.stringify(answers))
        assert.deepEqual(await states(made), { active: STARTS })
        const seen = new Set<unknown>()
        for (const [n, { body }] of answers.entries()) {
          const { status, body: said } = await visit(made, body.gateway_hostname as string)
          assert.deepEqual([status, said.organization], [200, uuid(n)])
          seen.add(said.gateway)
        }
        assert.equal(seen.size, STARTS)
      })
    })

    test('of twenty that start at once on a pool of five, five get one; the others are told that there is none', async () => {
      await within(5, async (made) => {
        const answers = await startAll(made, STARTS)
        const counts = [200, 503].map((wanted) => answers.filter(({ status }) => status === wanted).length)
        assert.deepEqual(counts, [5, 15], JSON.stringify(answers))
        assert.deepEqual(await states(made), { active: 5 })
      })
    })

    test('twenty starts of one organization are one allocation', async () => {
      await within(3, async (made) => {
        const answers = await Promise.all(Array.from({ length: STARTS }, () => start(made, 1)))
        assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200])
        assert.deepEqual(await states(made), { active: 1, free: 2 })
        assert.equal((await start(made, 1)).status, 200)
      })
    })

    for (const step of STEPS) {
      for (const fate of fates) {
        test(`twenty starts that fail in step ${step} (${fate}) leave nothing behind, and each gets its error`, async () => {
          await within(STARTS, async (made) => {
            made.fault = { step, fate }
            const answers = await startAll(made, STARTS)
            for (const { status, body } of answers) {
              assert.deepEqual([status, body.details], [500, `${step} is broken`], made.log.join('\n'))
            }
            const settled = async () => {
              const { free = 0, quarantined = 0, ...others } = await states(made)
              return Object.keys(others).length === 0 && free + quarantined === STARTS
            }
            await until('every gateway is free or quarantined', settled)
            // A gateway that did not shake hands is suspect; one that did, or was never asked, is not.
            const suspect = step === 'handshake' && fate !== 'unknown, landed'
            assert.deepEqual(await states(made), { [suspect ? 'quarantined' : 'free']: STARTS })
            assert.deepEqual(await residue(made), [])
            assert.deepEqual(await made.world.journal.list('unfinished'), [])
            assert.deepEqual(await made.world.journal.list('stuck'), [])
            if (suspect) return
            made.fault = undefined
            const idle = async () => made.gateways.every(({ holder }) => holder.state === 'idle')
            await until('every gateway has heard of it', idle)
            const again = await startAll(made, STARTS)
            assert.deepEqual([...new Set(again.map(({ status }) => status))], [200], JSON.stringify(again))
          })
        })
      }
    }

    test('what a control plane leaves that dies at any record of its journal is made whole by the next one', async () => {
      const world = await open()
      // The records of an allocation that commits: it began, an intent and an outcome of each step, and its end.
      const records = Array.from({ length: 2 * STEPS.length + 1 }, (_, n) => n + 1)
      const cut = stopping(world.journal, records)
      await using made = await fixture(
        { ...world, journal: cut.journal },
        records.length,
        limits,
        world.journal,
      )
      for (const n of records.keys()) void start(made, n).catch(() => {})
      await until('all have stopped', async () => cut.stopped === records.length)
      const outcomes = await made.next().recover()
      assert.equal(outcomes.length, records.length)
      assert.deepEqual(
        outcomes.filter(({ outcome }) => outcome !== 'committed' && outcome !== 'rolled-back'),
        [],
      )
      const settled = async () => {
        const { free = 0, active = 0, quarantined = 0 } = await states(made)
        return free + active + quarantined === records.length
      }
      await until('every gateway is free, active or quarantined', settled)
      const committed = outcomes.filter(({ outcome }) => outcome === 'committed')
      const { active = 0 } = await states(made)
      assert.equal(active, committed.length)
      assert.ok(active > 0 && active < records.length, 'some go on, and some go back')
      const rows = await world.pool.list()
      for (const n of records.keys()) {
        const { status, body } = await visit(made, `org-${uuid(n)}.${DOMAIN}`)
        const row = rows.find(({ organization }) => organization === uuid(n))
        assert.deepEqual([status, body.gateway], row === undefined ? [404, undefined] : [200, row.gateway])
      }
    })

    test('a control plane that goes on with an allocation whose lease is over publishes nothing, and takes it back', async () => {
      const world = await open()
      let published = 0
      const dns = changed(world.dns, {
        put: async (...call) => {
          published += 1
          await world.dns.put(...call)
        },
      })
      // It began, and has a gateway.
      const cut = stopping(world.journal, [3])
      await using made = await fixture({ ...world, dns, journal: cut.journal }, 1, limits, world.journal)
      void start(made, 1).catch(() => {})
      await until('it has stopped', async () => cut.stopped === 1)
      const [row] = await world.pool.list()
      assert.equal(row?.state, 'allocating')
      await world.pool.handshakeFailed(row.gateway, row.epoch)
      const [outcome] = await made.next().recover()
      assert.equal(outcome?.outcome, 'rolled-back')
      assert.match(`${outcome?.error}`, /no lease|is over|refused/i)
      assert.equal(published, 0)
      assert.deepEqual(await residue(made), [])
    })

    test('a gateway that is not there is quarantined, and the start says so', async () => {
      await within(1, async (made) => {
        await made.gateways[0]?.close()
        const { status, body } = await start(made, 1)
        assert.deepEqual([status, body.details], [500, `${made.gateways[0]?.holder.gateway} is not there`])
        await until('it is quarantined', async () => (await states(made)).quarantined === 1)
        assert.deepEqual(await residue(made), [])
      })
    })

    test('a lease that ends is un-routed before the gateway is anybody else’s', async () => {
      await within(1, async (made) => {
        const { body } = await start(made, 1)
        const hostname = body.gateway_hostname as string
        const [row] = await made.world.pool.list()
        let probing: Promise<boolean[]> | undefined
        made.world.pool.on('entered', ({ gateway, state }) => {
          if (state !== 'free') return
          const signal = AbortSignal.timeout(20_000)
          const probe = () => made.world.proxy.leads({ gateway, address: '', hostname }, signal)
          // Many, and for a while, so that each of a proxy's workers gets some.
          const probeFor = async (time: number) => {
            const [found, end] = [[] as boolean[], performance.now() + time]
            while (performance.now() < end)
              found.push(...(await Promise.all([probe(), probe(), probe(), probe()])))
            return found
          }
          probing = probeFor(200)
        })
        await made.world.pool.stop(row?.gateway ?? '', row?.epoch ?? 0, 'decommission')
        await until('it is free', async () => (await states(made)).free === 1)
        assert.deepEqual(new Set(await probing), new Set([false]))
        assert.equal((await visit(made, hostname)).status, 404)
      })
    })

    test('who asks wrongly is told so', async () => {
      await within(1, async (made) => {
        const url = `${made.url}/gateway/start`
        assert.equal((await post(url, {})).status, 400)
        assert.equal((await post(url, { organization_id: 'acme' })).status, 400)
        assert.equal((await post(url, 'no json')).status, 400)
        assert.equal((await post(url, { organization_id: uuid(1) }, 'Bearer mallory')).status, 403)
        assert.equal((await post(url, { organization_id: uuid(1) }, '')).status, 403)
        const gateway_id = made.gateways[0]?.holder.gateway
        const ready = { gateway_id, epoch: 1, incarnation: 1 }
        assert.equal((await post(`${made.url}/gateway/ready`, ready, 'Bearer gateway')).status, 403)
        assert.equal((await post(`${made.url}/gateway/ready`, ready, 'Bearer alice')).status, 401)
        const config = { gateway_id, incarnation: 1 }
        assert.equal((await post(`${made.url}/gateway/config`, config, 'Bearer gateway')).status, 404)
        assert.equal((await post(`${made.url}/gateway/stop`, {}, 'Bearer forged.token')).status, 401)
        for (const body of [
          'null',
          '[]',
          '7',
          '{',
          '\0',
          '{"organization_id":[]}',
          '{"organization_id":{}}',
        ]) {
          assert.equal((await post(url, body)).status, 400, body)
        }
        assert.equal((await post(url, 'x'.repeat(5_000_000))).status, 413)
        for (const [call, body] of [
          ['config', { gateway_id: 'nobody', incarnation: 1 }],
          ['config', { gateway_id, incarnation: -1 }],
          ['renew', { gateway_id, epoch: 1.5 }],
          ['renew', { gateway_id, epoch: '1' }],
          ['ready', { gateway_id: [gateway_id], epoch: 1, incarnation: 1 }],
        ] as const) {
          const { status } = await post(`${made.url}/gateway/${call}`, body, 'Bearer gateway')
          assert.equal(status, 400, JSON.stringify(body))
        }
        for (const method of ['GET', 'DELETE']) assert.equal((await fetch(url, { method })).status, 405)
        assert.equal((await post(`${made.url}/nowhere`, {})).status, 404)
        assert.deepEqual(await states(made), { free: 1 })
      })
    })

    test('what users send to a gateway does not end its lease, and ends no process', async () => {
      await within(1, async (made) => {
        const { body } = await start(made, 1)
        const host = body.gateway_hostname as string
        const address = (await made.world.pool.list())[0]?.address as string
        const say = async (call: string, text: string, key: string) => {
          const headers = { authorization: `Bearer ${key}` }
          return (await fetch(`${address}/collab/${call}`, { method: 'POST', body: text, headers })).status
        }
        for (const call of ['start', 'stop']) {
          // As it comes through the proxy: nobody has the key.
          assert.equal(await say(call, '{"epoch":1}', 'alice'), 401)
          for (const text of [
            '',
            'garbage',
            'null',
            '{"epoch":"1"}',
            '{"epoch":-1}',
            'x'.repeat(1_000_000),
          ]) {
            assert.equal(await say(call, text, 'gateway'), 400, text.slice(0, 20))
          }
        }
        assert.equal((await visit(made, host)).status, 200)
        assert.deepEqual(await states(made), { active: 1 })
      })
    })
  })
}

suite(
  'in this process',
  async () => await embedded({ domain: DOMAIN, terms: TERMS }),
  { limit: '5s', lateness: '100ms', handshakeLimit: '30s' },
  ['clean', 'unknown, not landed', 'unknown, landed'],
)

describe('on real servers', () => {
  let postgres: Awaited<ReturnType<typeof startPostgres>>
  let powerdns: Awaited<ReturnType<typeof startPowerDns>>
  let nginx: Awaited<ReturnType<typeof startNginx>>
  before(async () => {
    postgres = await startPostgres()
    powerdns = await startPowerDns(DOMAIN)
    nginx = await startNginx()
  })
  after(async () => {
    for (const server of [nginx, powerdns, postgres]) await server?.[Symbol.asyncDispose]()
  })
  const open = async () => {
    return await real({
      domain: DOMAIN,
      terms: TERMS,
      postgres: await postgres.createDatabase(),
      powerdns,
      nginx,
    })
  }
  const limits = { limit: '10s', lateness: '500ms', handshakeLimit: '30s' } as const

  // What did not land differs in nothing that these servers see.
  suite('PostgreSQL, PowerDNS and nginx', open, limits, ['clean', 'unknown, landed'])

  test('a route that goes while nginx reads its configs makes no reload fail', async () => {
    // It is listed and cannot be opened, as one that is removed in between.
    const gone = join(nginx.folder, 'routes', 'gone.conf')
    await symlink(join(nginx.folder, 'nowhere'), gone)
    const reloaded = new Nginx(nginx).reload()
    reloaded.catch(() => {})
    const log = async () => await readFile(join(nginx.folder, 'error.log'), 'utf8')
    await until('nginx has met it', async () => (await log()).includes(gone))
    await rm(gone)
    await reloaded
  })

  test('when nginx has reloaded, no worker of before answers any more', async () => {
    const proxy = new Nginx(nginx)
    const signal = AbortSignal.timeout(60_000)
    const route = { hostname: `org-x.${DOMAIN}`, gateway: 'x', address: 'http://127.0.0.1:9', epoch: 1 }
    for (let round = 0; round < 5; round += 1) {
      await proxy.write(route, signal)
      await proxy.reload()
      const led = await Promise.all(Array.from({ length: 20 }, () => proxy.leads(route, signal)))
      await proxy.remove(route)
      await proxy.reload()
      const leads = await Promise.all(Array.from({ length: 20 }, () => proxy.leads(route, signal)))
      assert.deepEqual([new Set(led), new Set(leads)], [new Set([true]), new Set([false])])
    }
  })

  test('a name server that hangs leaves a name behind, says so, and the gateway is kept out of the pool', async () => {
    await using made = await fixture(await open(), 1, { limit: '500ms', lateness: '100ms' })
    powerdns.freeze()
    const { status, body } = await start(made, 1)
    assert.deepEqual([status, body.details], [500, 'do of `dns` gave no answer within 500 ms'])
    const stuck = await made.world.journal.list('stuck')
    assert.equal(stuck.length, 1)
    assert.match(
      made.log.join('\n'),
      /this is left behind: `dns` \(undo-failed\) \(of org-00000000-0000-4000-8000-000000000001\.example\.test, for gateway-/,
    )
    const { free = 0 } = await states(made)
    assert.equal(free, 0)
    powerdns.thaw()
    const retry = { key: stuck[0], step: 'dns' }
    const again = await post(`${made.url}/stuck/retry`, retry, 'Bearer operator')
    assert.deepEqual(again, { status: 200, body: { outcome: 'rolled-back' } })
    assert.deepEqual(await residue(made), [])
  })

  test('a proxy that hangs takes no start down with it, and the gateway is nobody’s until no route can be left', async () => {
    await using made = await fixture(await open(), 1, { limit: '1s', lateness: '100ms' })
    nginx.freeze()
    try {
      const { status, body } = await start(made, 1)
      assert.equal(status, 500)
      assert.match(`${body.details}`, /gave no answer within 1000 ms/)
      // Its reload may yet come.
      assert.equal((await states(made)).free ?? 0, 0)
    } finally {
      nginx.thaw()
    }
    for (const key of await made.world.journal.list('stuck')) {
      for (const step of ['reload', 'config'])
        await post(`${made.url}/stuck/retry`, { key, step }, 'Bearer operator')
    }
    assert.deepEqual(await made.world.journal.list('stuck'), [])
    const settled = async () => {
      const { free = 0, quarantined = 0 } = await states(made)
      return free + quarantined === 1
    }
    await until('it is free or quarantined', settled)
    assert.deepEqual(await residue(made), [])
  })

  test('a database that dies in the middle of twenty allocations: the next control plane makes whole what it left', async () => {
    await using made = await fixture(await open(), STARTS, limits)
    const answers = startAll(made, STARTS)
    const begun = async () =>
      (await made.world.journal.list('unfinished').catch(() => [])).length >= STARTS / 2
    await until('half of them have begun', begun)
    await postgres.restart()
    for (const { status } of await answers) assert.ok([200, 500].includes(status), `${status}`)
    const outcomes = await made.next().recover()
    for (const { outcome } of outcomes) assert.ok(['committed', 'rolled-back'].includes(outcome), outcome)
    assert.deepEqual(await made.world.journal.list('unfinished'), [])
    const settled = async () => {
      const { free = 0, active = 0, quarantined = 0 } = await states(made)
      return free + active + quarantined === STARTS
    }
    await until('every gateway is free, active or quarantined', settled)
    const rows = await made.world.pool.list()
    for (let n = 0; n < STARTS; n += 1) {
      const row = rows.find(({ organization, state }) => organization === uuid(n) && state === 'active')
      const { status, body } = await visit(made, `org-${uuid(n)}.${DOMAIN}`)
      assert.deepEqual([status, body.gateway], row === undefined ? [404, undefined] : [200, row.gateway])
    }
  })
})
