/** What only PostgreSQL can show: statements of its own, the fence in SQL, load, and a server that goes away. */
import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { type LeaseCommand, LeasePool, type LeaseRow, LeaseStoreUnavailable } from '../host/index.js'
import { decideLease, LIVE } from '../host/lease/row.js'
import { migrate, PostgresLeaseStore } from '../host/postgres.js'
import { inPostgres, lease, type OpenedPostgres, poolOf, refusal } from './support/lease-stores.js'
import { type PostgresServer, startPostgres } from './support/postgres.js'
import { until } from './until.js'

const TERMS = { term: 3_600_000, allocateLimit: 3_600_000, grace: 3_600_000 }

describe('leases in PostgreSQL', () => {
  let server: PostgresServer
  const opened: OpenedPostgres[] = []
  const open = inPostgres(() => server, 40)
  before(async () => {
    server = await startPostgres()
  })
  after(async () => {
    for (const one of opened) await one[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
  })
  const fresh = async () => {
    const one = await open()
    opened.push(one)
    return one
  }

  it('allocates by its one statement exactly as the core decides', async () => {
    const { store } = await fresh()
    const pool = await poolOf(store, 8, { terms: TERMS })
    const random = seeded(7)
    const organizations = Array.from({ length: 9 }, (_, n) => `organization ${n}`)
    const grants: { gateway: string; epoch: number }[] = []
    const seen = new Set<string>()
    for (let step = 0; step < 300; step += 1) {
      const before = new Map((await store.list()).map(({ row }) => [row.gateway, row]))
      const organization = organizations[random(organizations.length)] as string
      const command: LeaseCommand = {
        type: 'allocate',
        organization,
        // A third are requests that were granted before, to whomever.
        request: (random(3) === 0 && before.get(`g${1 + random(8)}`)?.request) || `request ${step}`,
        hostname: `${organization}.example`,
      }
      const decided = await store.allocate(command, TERMS)
      const rows = [...before.values()]
      if (decided === undefined) {
        const allowed = rows.filter((row) => decideLease(row, command, 0, TERMS).answer.type !== 'refused')
        assert.deepEqual(allowed, [], 'a gateway was free')
        seen.add('exhausted')
      } else {
        const row = before.get(decided.after.gateway) as LeaseRow
        // The store's time is not known outside; the end of the state's time tells it.
        const at = decided.after.state === 'allocating' ? (decided.after.until ?? 0) - TERMS.allocateLimit : 0
        const model = decideLease(row, command, at, TERMS)
        assert.deepEqual(decided.before, row)
        assert.deepEqual({ ...decided.answer, limit: 0 }, { ...model.answer, limit: 0 })
        assert.deepEqual(decided.effects, model.effects)
        const [stored] = await store.list(decided.after.gateway)
        assert.deepEqual(stored?.row, decided.after)
        if (decided.answer.type !== 'refused') assert.deepEqual(stored?.row, model.after)
        const expected =
          rows.find(({ request }) => request === command.request) ??
          rows.find((other) => other.organization === organization && LIVE.includes(other.state))
        if (expected) assert.equal(row.gateway, expected.gateway, 'the wrong row was asked')
        else assert.equal(row.state, 'free')
        seen.add(decided.answer.type === 'refused' ? decided.answer.refusal : decided.answer.type)
        grants.push({ gateway: row.gateway, epoch: decided.after.epoch })
      }
      // Something else happens to a gateway, so that rows of every state are met.
      const { gateway, epoch } = grants[random(grants.length)] ?? { gateway: 'g1', epoch: 1 }
      const others = [
        () => pool.confirm(gateway, epoch, step),
        () => pool.confirm(gateway, epoch, step),
        () => pool.stop(gateway, epoch, 'decommission'),
        () => pool.stop(gateway, epoch, 'restart'),
        () => pool.reclaim(gateway, step),
        () => pool.handshakeFailed(gateway, epoch),
        () => pool.release(gateway, epoch),
        () => pool.release(gateway, epoch),
      ]
      await refusal((others[random(others.length)] as () => Promise<unknown>)())
      await pool.settled()
    }
    assert.deepEqual([...seen].sort(), [
      'allocated',
      'already-allocated',
      'exhausted',
      'request-over',
      'taken',
      'unavailable',
    ])
  })

  it('decides for many who ask at once as the core decides for each', async () => {
    const { store } = await fresh()
    const pool = await poolOf(store, 50, { terms: TERMS })
    await lease(pool, 'organization 3')
    const before = new Map((await store.list()).map(({ row }) => [row.gateway, row]))
    const commands = Array.from({ length: 60 }, (_, n): LeaseCommand & { type: 'allocate' } => ({
      type: 'allocate',
      // Some ask twice, and one has a gateway already.
      organization: `organization ${n % 48}`,
      request: `request ${n}`,
      hostname: `${n}.example`,
    }))
    const decided = await Promise.all(commands.map((command) => store.allocate(command, TERMS)))
    for (const [n, one] of decided.entries()) {
      assert.ok(one, 'a gateway was free')
      assert.equal(one.after.organization, `organization ${n % 48}`)
      if (one.answer.type !== 'allocated') continue
      const at = (one.after.until ?? 0) - TERMS.allocateLimit
      const model = decideLease(
        before.get(one.after.gateway) as LeaseRow,
        commands[n] as LeaseCommand,
        at,
        TERMS,
      )
      assert.deepEqual(one, model)
      assert.deepEqual((await store.list(one.after.gateway))[0]?.row, one.after)
    }
    const granted = decided.filter((one) => one?.answer.type === 'allocated')
    assert.equal(granted.length, 47)
    assert.equal(new Set(granted.map((one) => one?.after.gateway)).size, 47)
  })

  it('is not exhausted while a free gateway is only locked, by somebody who then takes none', async () => {
    const { store, clients } = await fresh()
    const pool = await poolOf(store, 1, { terms: TERMS })
    const other = await clients.connect()
    await other.query('BEGIN')
    await other.query(`SELECT FROM tidegate_leases WHERE gateway = 'g1' FOR UPDATE`)
    const asked = refusal(pool.allocate('acme', 'r1'))
    await until(async () => {
      const { rows } = await clients.query('SELECT FROM pg_locks WHERE NOT granted')
      return rows.length > 0
    }, 'the allocation to wait')
    await other.query('COMMIT')
    other.release()
    assert.equal(await asked, 'not refused')
  })

  it('is exhausted when whoever has locked the last free gateway takes it, or keeps it locked (L2)', async () => {
    const { store, clients } = await fresh()
    const pool = await poolOf(store, 1, { terms: TERMS })
    const other = await clients.connect()
    await other.query('BEGIN')
    await other.query(`UPDATE tidegate_leases SET state = 'held', organization = 'other', hostname = 'x', epoch = 1,
      until = now() + interval '1 h', request = 'r' WHERE gateway = 'g1'`)
    assert.equal(await refusal(pool.allocate('acme', 'r1')), 'pool-exhausted')
    await other.query('COMMIT')
    other.release()
    assert.equal(await refusal(pool.allocate('acme', 'r2')), 'pool-exhausted')
  })

  it('says in SQL what the core says about a call that carries an epoch', async () => {
    const { store, clients } = await fresh()
    const pool = await poolOf(store, 1, { terms: { ...TERMS, handoff: 200, term: 3_600_000 } })
    const holds = async (epoch: number) => {
      const { rows } = await clients.query('SELECT tidegate_lease_holds($1, $2) AS holds', ['g1', epoch])
      return rows[0].holds as boolean
    }
    const same = async () => {
      for (const epoch of [1, 2, 3]) {
        assert.equal(await holds(epoch), (await refusal(pool.verify('g1', epoch))) === 'not refused')
      }
    }
    await same()
    await lease(pool, 'acme')
    assert.equal(await holds(1), true)
    await same()
    await pool.reclaim('g1', 2, { predecessor: 1 })
    assert.equal(await holds(1), true, 'the predecessor is honoured')
    await until(async () => !(await holds(1)), 'the handoff to be over')
    await same()
    await pool.stop('g1', 2, 'restart')
    assert.equal(await holds(2), false)
    await same()
  })

  it('refuses a stale epoch at the database, whoever writes it', async () => {
    const { store, clients } = await fresh()
    const pool = await poolOf(store, 2, { terms: TERMS })
    const { gateway } = await lease(pool, 'acme')
    await pool.reclaim(gateway, 2)
    const lower = 'UPDATE tidegate_leases SET epoch = 1 WHERE gateway = $1'
    await assert.rejects(
      clients.query(lower, [gateway]),
      /stale epoch: gateway g1 has epoch 2, and 1 is lower/,
    )
    await assert.rejects(
      clients.query('DELETE FROM tidegate_leases WHERE gateway = $1', [gateway]),
      /retire it/,
    )
    const second = `UPDATE tidegate_leases SET state = 'held', organization = 'acme', hostname = 'x',
      until = now(), epoch = 1, request = 'r' WHERE gateway = 'g2'`
    await assert.rejects(clients.query(second), /tidegate_leases_organization/)
  })

  it('migrates once, however many processes start together', async () => {
    const { clients } = await fresh()
    const applied = await Promise.all(
      Array.from({ length: 8 }, () => migrate(clients, { schema: 'together' })),
    )
    assert.deepEqual(
      applied.flat().filter((name) => name.includes('lease')),
      ['0002-lease-pool.sql'],
    )
    assert.deepEqual(await migrate(clients, { schema: 'together' }), [])
  })

  it('fails, and ends no process, when its connection is cut in the middle of a migration', async () => {
    const { clients } = await fresh()
    const other = await clients.connect()
    try {
      await other.query("BEGIN; SELECT pg_advisory_xact_lock(x'7469646567617465'::bigint)")
      let cut = () => {}
      clients.once('acquire', (client) => {
        const { connection } = client as unknown as { connection: { stream: Socket } }
        cut = () => connection.stream.destroy()
      })
      const failed = assert.rejects(migrate(clients, { schema: 'interrupted' }), /terminated unexpectedly/)
      const waits = `SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`
      await until(async () => (await other.query(waits)).rowCount === 1, 'it to wait for the lock')
      cut()
      await failed
    } finally {
      other.release(true)
    }
    assert.notDeepEqual(await migrate(clients, { schema: 'interrupted' }), [])
  })

  it('gives up a command that the server does not answer, and the outcome is unknown', async () => {
    const { store, clients } = await fresh()
    const pool = await poolOf(store, 1, { terms: TERMS })
    const impatient = new LeasePool({
      store: new PostgresLeaseStore(clients, { schema: await schemaOf(clients), commandTimeout: 50 }),
      terms: TERMS,
    })
    const blocker = await clients.connect()
    await blocker.query('BEGIN')
    await blocker.query(`SELECT FROM tidegate_leases WHERE gateway = 'g1' FOR UPDATE`)
    await assert.rejects(impatient.renew('g1', 1), (error) => error instanceof LeaseStoreUnavailable)
    await blocker.query('COMMIT')
    blocker.release()
    assert.equal(await refusal(pool.renew('g1', 1)), 'never-granted')
  })

  it('allocates 4,000 gateways for 40 clients, none twice and none lost, over a server that dies in the middle', async () => {
    const { store, clients } = await fresh()
    const pool = await poolOf(store, 0, { terms: TERMS })
    const CLIENTS = 40
    const EACH = 100
    await clients.query(
      `INSERT INTO tidegate_leases (gateway, address) SELECT 'g' || n, '' FROM generate_series(1, $1::integer) n`,
      [CLIENTS * EACH],
    )
    const given = new Map<string, { gateway: string; epoch: number }>()
    let failures = 0
    let done = 0
    const client = async (number: number) => {
      for (let n = 0; n < EACH; n += 1) {
        const organization = `organization ${number}-${n}`
        for (;;) {
          try {
            const { gateway, epoch } = await pool.allocate(organization, `request ${number}-${n}`)
            given.set(organization, { gateway, epoch })
            break
          } catch (error) {
            // Nobody knows whether it took effect: the same request once more.
            if (!(error instanceof LeaseStoreUnavailable)) throw error
            failures += 1
            await new Promise((resolve) => setTimeout(resolve, 10))
          }
        }
        done += 1
      }
    }
    const all = Promise.all(Array.from({ length: CLIENTS }, (_, number) => client(number)))
    await Promise.race([all, until(() => done > (CLIENTS * EACH) / 4, 'a quarter', 60_000)])
    assert.ok(done < CLIENTS * EACH, 'the server is to die in the middle')
    await server.restart()
    await all
    assert.ok(failures > 0, 'the server was missed')
    const rows = await pool.list()
    assert.equal(
      new Set([...given.values()].map(({ gateway }) => gateway)).size,
      CLIENTS * EACH,
      'none twice',
    )
    for (const row of rows) {
      const known = given.get(row.organization ?? '')
      assert.deepEqual(known, { gateway: row.gateway, epoch: row.epoch }, 'none lost')
      assert.equal(row.epoch, 1, 'none granted more than once')
    }
  })
})

async function schemaOf(clients: OpenedPostgres['clients']): Promise<string> {
  const { rows } = await clients.query('SELECT current_schema() AS schema')
  return rows[0].schema
}

/** Integers below a bound, the same in every run. */
function seeded(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}
