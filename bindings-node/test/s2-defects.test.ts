/**
 * What a control plane of gateways got wrong, each on a real PostgreSQL: the letters are those of the list in
 * docs/guides/restart.md.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { LeaseHolder, LeaseStoreUnavailable, type Route } from '../host/index.js'
import { inPostgres, lease, type OpenedPostgres, poolOf, refusal } from './support/lease-stores.js'
import { type PostgresServer, startPostgres } from './support/postgres.js'
import { until } from './until.js'

const TERMS = { term: '1h', grace: '1h', allocateLimit: '1h', quarantine: '1h' } as const

describe('a control plane of gateways', () => {
  let server: PostgresServer
  const opened: OpenedPostgres[] = []
  const open = inPostgres(() => server)
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

  it('a: leaves one live row when one organization starts at two control planes at once', async () => {
    for (let round = 0; round < 10; round += 1) {
      const one = await fresh()
      const here = await poolOf(one.store, 4, { terms: TERMS })
      const there = await poolOf(await one.reopen(), 4, { terms: TERMS })
      const starts = [here, there, here, there].map((pool, n) => pool.allocate('acme', `start ${n}`))
      const gateways = new Set((await Promise.all(starts)).map(({ gateway }) => gateway))
      assert.equal(gateways.size, 1)
      const { rows } = await one.clients.query(
        `SELECT count(*)::int AS live FROM tidegate_leases WHERE organization = 'acme'`,
      )
      assert.equal(rows[0].live, 1)
    }
  })

  it('b: cleans up the gateway of the start that failed, and never the winner', async () => {
    const { store } = await fresh()
    const pool = await poolOf(store, 2, { terms: TERMS })
    const loser = await pool.allocate('acme', 'first start')
    await pool.handshakeFailed(loser.gateway, loser.epoch)
    const winner = await pool.allocate('acme', 'second start')
    await pool.confirm(winner.gateway, winner.epoch, 1)
    // The first start's clean-up comes late, and again.
    await pool.handshakeFailed(loser.gateway, loser.epoch)
    await pool.stop(loser.gateway, loser.epoch, 'decommission')
    await pool.settled()
    const [row] = await pool.list(winner.gateway)
    assert.deepEqual([row?.state, row?.organization, row?.epoch], ['active', 'acme', winner.epoch])
  })

  it('c: refuses a stale stop of an organization that had the gateway before', async () => {
    const { store } = await fresh()
    const pool = await poolOf(store, 1, { terms: TERMS })
    const acme = await lease(pool, 'acme')
    await pool.stop(acme.gateway, acme.epoch, 'decommission')
    await pool.settled()
    const other = await lease(pool, 'other', 2)
    assert.equal(other.gateway, acme.gateway)
    assert.equal(await refusal(pool.stop(acme.gateway, acme.epoch, 'decommission')), 'stale-epoch')
    const [row] = await pool.list()
    assert.deepEqual([row?.state, row?.organization], ['active', 'other'])
  })

  it('d: keeps a gateway allocated that restarts, however it announces itself', async () => {
    const { store } = await fresh()
    const pool = await poolOf(store, 1, { terms: TERMS })
    const { gateway, epoch } = await lease(pool, 'acme')
    await pool.enrol(gateway, 'http://new-address')
    assert.equal(await refusal(pool.allocate('other', 'r')), 'pool-exhausted')
    assert.equal((await pool.reclaim(gateway, 2)).organization, 'acme')
    assert.equal(await refusal(pool.allocate('other', 'r')), 'pool-exhausted')
    assert.equal((await pool.list())[0]?.epoch, epoch + 1)
  })

  it('e: does not put a gateway that failed its handshake straight back into the pool', async () => {
    const { store } = await fresh()
    const pool = await poolOf(store, 2, { terms: TERMS })
    const failed = await pool.allocate('acme', 'r1')
    await pool.handshakeFailed(failed.gateway, failed.epoch)
    await pool.settled()
    const next = await pool.allocate('acme', 'r2')
    assert.notEqual(next.gateway, failed.gateway)
    assert.equal(await refusal(pool.allocate('other', 'r3')), 'pool-exhausted')
  })

  it('f: allocates free gateways while others are locked, without waiting', async () => {
    const { store, clients } = await fresh()
    const pool = await poolOf(store, 20, { terms: TERMS })
    const blocker = await clients.connect()
    await blocker.query('BEGIN')
    await blocker.query('SELECT FROM tidegate_leases ORDER BY gateway LIMIT 10 FOR UPDATE')
    const starts = Array.from({ length: 10 }, (_, n) => pool.allocate(`organization ${n}`, `r${n}`))
    // They are all given before the lock is let go.
    const gateways = new Set((await Promise.all(starts)).map(({ gateway }) => gateway))
    assert.equal(gateways.size, 10)
    assert.equal(await refusal(pool.allocate('one more', 'r')), 'pool-exhausted')
    await blocker.query('ROLLBACK')
    blocker.release()
    assert.equal((await pool.allocate('one more', 'r')).granted, true)
  })

  it('g: un-routes a gateway before anybody else can have it', async () => {
    const { store } = await fresh()
    const answers: string[] = []
    const pool = await poolOf(store, 1, {
      terms: TERMS,
      // While the route is there nobody else gets the gateway.
      unroute: async () => answers.push(await refusal(pool.allocate('other', 'during'))),
    })
    const { gateway, epoch } = await lease(pool, 'acme')
    await pool.stop(gateway, epoch, 'decommission')
    await pool.settled()
    assert.deepEqual(answers, ['pool-exhausted'])
    assert.equal((await pool.allocate('other', 'after')).gateway, gateway)
  })

  it('h: never takes a route that could not be removed for one that was', async () => {
    const { store } = await fresh()
    const left: Route[] = []
    const errors: unknown[] = []
    const pool = await poolOf(store, 1, {
      terms: { ...TERMS, unrouteAttempts: 1 },
      unroute: () => {
        throw new Error('nginx: configuration test failed')
      },
    })
    pool.on('routeLeft', (route) => left.push(route))
    pool.on('unrouteFailed', ({ error }) => errors.push((error as Error).message))
    const { gateway, epoch } = await lease(pool, 'acme')
    await pool.stop(gateway, epoch, 'decommission')
    await pool.settled()
    assert.deepEqual(errors, ['nginx: configuration test failed'])
    assert.deepEqual(
      left.map(({ gateway, organization }) => [gateway, organization]),
      [[gateway, 'acme']],
    )
    const [row] = await pool.list()
    assert.deepEqual([row?.state, row?.cause], ['quarantined', 'unroute'])
    assert.equal(await refusal(pool.allocate('other', 'r')), 'pool-exhausted')
  })

  it('i: lets an organization start again after the control plane died behind its commit', async () => {
    const one = await fresh()
    // Long enough for the retry to come in time on a busy machine.
    const terms = { ...TERMS, allocateLimit: '3s' } as const
    const died = await poolOf(one.store, 2, { terms })
    const lost = await died.allocate('acme', 'start 1')
    // The same start, retried at the next control plane, is the same allocation.
    const next = await poolOf(await one.reopen(), 2, { terms })
    const retried = await next.allocate('acme', 'start 1')
    assert.deepEqual([retried.gateway, retried.epoch, retried.granted], [lost.gateway, lost.epoch, true])
    // Never confirmed, it is over, and another start gets another gateway.
    await until(
      async () => (await next.allocate('acme', 'start 2')).gateway !== lost.gateway,
      'another gateway',
      30_000,
    )
    assert.equal((await next.list(lost.gateway))[0]?.state, 'quarantined')
    await next.settled()
  })

  it('j: takes no error of the control plane for "not allocated"', async () => {
    const { store } = await fresh()
    const pool = await poolOf(store, 1, { terms: TERMS })
    const { epoch } = await lease(pool, 'acme')
    await server.stop()
    using holder = new LeaseHolder({
      granter: pool,
      gateway: 'g1',
      term: '1h',
      askLimit: '1s',
      retry: { initial: 50, cap: 200, floor: 10 },
    })
    const errors: unknown[] = []
    holder.on('cannotKnow', ({ error }) => errors.push(error))
    holder.on('idle', () => assert.fail('it is idle'))
    const booted = holder.boot()
    await until(() => errors.length >= 3, 'three questions')
    assert.ok(errors[0] instanceof LeaseStoreUnavailable)
    assert.equal(holder.state, 'claiming')
    await server.start()
    assert.equal(await booted, 'holding')
    assert.equal(holder.lease?.epoch, epoch + 1)
  })
})
