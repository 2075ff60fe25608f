/** What every store of leases keeps: the same suite over PostgreSQL and over the embedded store. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { LeasePool, LeasePoolOptions, Route } from '../host/index.js'
import {
  embedded,
  inPostgres,
  lease,
  type OpenedStore,
  type OpenStore,
  poolOf,
  refusal,
} from './support/lease-stores.js'
import { type PostgresServer, startPostgres } from './support/postgres.js'
import { until } from './until.js'

let postgres: PostgresServer
before(async () => {
  postgres = await startPostgres()
})
after(async () => {
  await postgres[Symbol.asyncDispose]()
})

/** Long enough that nothing ends by itself in a test. */
const LONG = { term: '1h', grace: '1h', allocateLimit: '1h', quarantine: '1h', unrouteLimit: '1m' } as const

function conformance(name: string, open: OpenStore): void {
  describe(`a pool of leases ${name}`, () => {
    const opened: OpenedStore[] = []
    after(async () => {
      for (const one of opened) await one[Symbol.asyncDispose]()
    })

    async function pool(gateways: number, options: Omit<LeasePoolOptions, 'store'> = {}): Promise<LeasePool> {
      const one = await open()
      opened.push(one)
      return await poolOf(one.store, gateways, { terms: LONG, ...options })
    }
    const stateOf = async (from: LeasePool, gateway: string) => (await from.list(gateway))[0]?.state

    it('gives a free gateway to an organization, under its hostname and with the next epoch (L2)', async () => {
      const leases = await pool(1, { hostname: (organization) => `org-${organization}.example` })
      const allocation = await leases.allocate('acme', 'r1')
      assert.deepEqual(
        { ...allocation, limit: 0 },
        {
          gateway: 'g1',
          address: 'http://g1',
          organization: 'acme',
          hostname: 'org-acme.example',
          epoch: 1,
          state: 'allocating',
          granted: true,
          request: 'r1',
          limit: 0,
        },
      )
      assert.ok(allocation.limit > 3_500_000 && allocation.limit <= 3_600_000)
    })

    it('answers a request that is repeated with the same gateway, and another one too (L2)', async () => {
      const leases = await pool(2)
      const { gateway, epoch } = await leases.allocate('acme', 'r1')
      const again = await leases.allocate('acme', 'r1')
      assert.deepEqual([again.gateway, again.epoch, again.granted], [gateway, epoch, true])
      const other = await leases.allocate('acme', 'r2')
      assert.deepEqual([other.gateway, other.granted, other.request], [gateway, false, 'r1'])
      await leases.confirm(gateway, epoch, 1)
      const later = await leases.allocate('acme', 'r1')
      assert.deepEqual([later.gateway, later.granted, later.state], [gateway, false, 'active'])
    })

    it('says that the pool is exhausted, and allocates once a gateway is added', async () => {
      const leases = await pool(1)
      await leases.allocate('acme', 'r1')
      assert.equal(await refusal(leases.allocate('other', 'r2')), 'pool-exhausted')
      await leases.enrol('g2')
      assert.equal((await leases.allocate('other', 'r2')).gateway, 'g2')
    })

    it('grants a request once: when its lease is over it grants nothing more (L2)', async () => {
      const leases = await pool(2)
      const { gateway, epoch } = await leases.allocate('acme', 'r1')
      await leases.confirm(gateway, epoch, 1)
      await leases.stop(gateway, epoch, 'decommission')
      await leases.settled()
      assert.equal(await refusal(leases.allocate('acme', 'r1')), 'request-over')
      assert.equal((await leases.allocate('acme', 'r2')).granted, true)
    })

    it('gives one gateway to an organization that asks twenty times at once (L2)', async () => {
      const leases = await pool(20)
      const asked = Array.from({ length: 20 }, (_, n) => leases.allocate('acme', `r${n}`))
      const answers = await Promise.all(asked)
      assert.equal(new Set(answers.map(({ gateway, epoch }) => `${gateway} ${epoch}`)).size, 1)
      assert.equal(answers.filter(({ granted }) => granted).length, 1)
      assert.equal((await leases.list()).filter(({ state }) => state !== 'free').length, 1)
    })

    it('quarantines a gateway whose handshake failed, and takes its route away (L3)', async () => {
      const removed: Route[] = []
      const leases = await pool(1, { unroute: (route) => removed.push(route) })
      const { gateway, epoch } = await leases.allocate('acme', 'r1')
      await leases.handshakeFailed(gateway, epoch)
      assert.equal(await refusal(leases.allocate('other', 'r2')), 'pool-exhausted')
      assert.equal(await stateOf(leases, gateway), 'quarantined')
      await leases.settled()
      assert.deepEqual(removed, [
        { gateway, address: 'http://g1', organization: 'acme', hostname: 'acme', epoch },
      ])
    })

    it('frees it when the quarantine is over, and the next one lasts longer (L3)', async () => {
      const leases = await pool(1, { terms: { ...LONG, quarantine: 100 } })
      const failures: number[] = []
      for (const request of ['r1', 'r2', 'r3']) {
        await until(async () => (await refusal(leases.allocate('acme', request))) === 'not refused', request)
        const { gateway, epoch } = await leases.allocate('acme', request)
        await leases.handshakeFailed(gateway, epoch)
        failures.push((await leases.list())[0]?.failures ?? 0)
        await leases.settled()
      }
      const [first = 0, second = 0, third = 0] = failures
      assert.ok(0 < first && first < second && second < third, `${failures}`)
    })

    it('gives the organization another gateway when a handshake was never answered (L3)', async () => {
      const leases = await pool(2, { terms: { ...LONG, allocateLimit: 30 } })
      const first = await leases.allocate('acme', 'r1')
      let second = first
      await until(async () => {
        second = await leases.allocate('acme', 'r2')
        return second.gateway !== first.gateway
      }, 'the first allocation to be over')
      assert.equal(await stateOf(leases, first.gateway), 'quarantined')
      assert.equal(await refusal(leases.allocate('acme', 'r1')), 'unavailable')
      await leases.settled()
    })

    it('keeps organization and hostname through a restart that was announced (L4, L5)', async () => {
      const leases = await pool(2, { hostname: (organization) => `${organization}.example` })
      const { gateway, epoch } = await lease(leases, 'acme')
      assert.deepEqual(await leases.stop(gateway, epoch, 'restart'), { epoch, state: 'held' })
      const back = await leases.reclaim(gateway, 2)
      assert.deepEqual(back, {
        epoch: epoch + 1,
        term: 3_600_000,
        organization: 'acme',
        hostname: 'acme.example',
      })
      assert.equal(await refusal(leases.renew(gateway, epoch)), 'stale-epoch')
      assert.equal(await refusal(leases.reclaim(gateway, 1)), 'fenced')
    })

    it('holds a gateway that did not renew, and gives it up after the grace period (L4)', async () => {
      const leases = await pool(1, { terms: { ...LONG, term: 30, grace: 60 } })
      const entered: string[] = []
      leases.on('entered', ({ state, cause }) => entered.push(`${state} ${cause ?? ''}`.trim()))
      await lease(leases, 'acme')
      await until(async () => {
        await leases.scan()
        return entered.includes('free')
      }, 'the gateway to be free')
      assert.deepEqual(entered, ['allocating', 'active', 'held expired', 'releasing', 'free'])
    })

    it('frees a decommissioned gateway only when its route is gone (L4)', async () => {
      let gone = () => {}
      const removed = new Promise<void>((resolve) => {
        gone = resolve
      })
      const leases = await pool(1, { unroute: () => removed })
      const { gateway, epoch } = await lease(leases, 'acme')
      await leases.stop(gateway, epoch, 'decommission')
      assert.equal(await refusal(leases.allocate('other', 'r')), 'pool-exhausted')
      assert.equal(await refusal(leases.allocate('acme', 'r')), 'releasing')
      gone()
      await leases.settled()
      assert.equal((await leases.allocate('other', 'r')).gateway, gateway)
    })

    it('quarantines and reports a gateway whose route stays, until an operator releases it (L4, L7)', async () => {
      const attempts: number[] = []
      const left: Route[] = []
      const leases = await pool(1, {
        terms: { ...LONG, unroutePause: 5 },
        unroute: (_, { attempt }) => {
          attempts.push(attempt)
          throw new Error('nginx says no')
        },
      })
      leases.on('routeLeft', (route) => left.push(route))
      const { gateway, epoch } = await lease(leases, 'acme')
      await leases.stop(gateway, epoch, 'decommission')
      await until(async () => {
        await leases.scan()
        await leases.settled()
        return (await stateOf(leases, gateway)) === 'quarantined'
      }, 'three attempts')
      assert.deepEqual(attempts, [1, 2, 3])
      assert.deepEqual(
        left.map(({ organization, epoch }) => [organization, epoch]),
        [['acme', epoch]],
      )
      await leases.release(gateway, epoch)
      assert.equal((await leases.allocate('other', 'r')).epoch, epoch + 1)
    })

    it('counts an attempt to un-route that hangs as failed at its limit (L4)', async () => {
      const leases = await pool(1, {
        terms: { ...LONG, unrouteLimit: 40, unrouteAttempts: 1 },
        unroute: () => new Promise(() => {}),
      })
      const { gateway, epoch } = await lease(leases, 'acme')
      await leases.stop(gateway, epoch, 'decommission')
      await leases.settled()
      await until(async () => {
        await leases.scan()
        return (await stateOf(leases, gateway)) === 'quarantined'
      }, 'the limit')
    })

    it('decides the idle by the terms (L4)', async () => {
      const kept = await pool(1, { terms: { ...LONG, idleHold: '1h' } })
      const one = await lease(kept, 'acme')
      assert.equal((await kept.stop(one.gateway, one.epoch, 'idle')).state, 'held')
      const released = await pool(1)
      const other = await lease(released, 'acme')
      assert.equal((await released.stop(other.gateway, other.epoch, 'idle')).state, 'releasing')
      await released.settled()
    })

    it('tells who is stale so, and changes nothing for it (L4)', async () => {
      const leases = await pool(1)
      const { gateway, epoch } = await lease(leases, 'acme')
      await leases.reclaim(gateway, 2)
      const before = await leases.list()
      const stale = [
        () => leases.stop(gateway, epoch, 'decommission'),
        () => leases.renew(gateway, epoch),
        () => leases.confirm(gateway, epoch, 1),
        () => leases.handshakeFailed(gateway, epoch),
        () => leases.observe(gateway, epoch, false),
        () => leases.verify(gateway, epoch),
        () => leases.release(gateway, epoch),
      ]
      for (const command of stale) assert.equal(await refusal(command()), 'stale-epoch')
      assert.equal(await refusal(leases.renew(gateway, epoch + 2)), 'never-granted')
      const rows = await leases.list()
      assert.deepEqual(
        rows.map((row) => ({ ...row, left: 0 })),
        before.map((row) => ({ ...row, left: 0 })),
      )
    })

    it('lets one win when a gateway is reclaimed, its grace period ends and others want it (L5)', async () => {
      const leases = await pool(1, { terms: { ...LONG, grace: 1 } })
      for (let life = 1; life <= 20; life += 1) {
        const { gateway, epoch } = await lease(leases, `acme ${life}`, life * 2)
        await leases.stop(gateway, epoch, 'restart')
        const claim = refusal(leases.reclaim(gateway, life * 2 + 1))
        const other = refusal(leases.allocate(`other ${life}`, `other ${life}`))
        const [claimed, taken] = await Promise.all([claim, other, leases.scan()])
        await leases.settled()
        const [row] = await leases.list()
        const winners = [claimed, taken].filter((refused) => refused === 'not refused').length
        assert.ok(winners <= 1, `${claimed}, ${taken}`)
        if (claimed === 'not refused') assert.equal(row?.organization, `acme ${life}`)
        // Who comes after the other has it already is told so.
        else
          assert.ok(
            claimed === (taken === 'not refused' ? 'unconfirmed' : 'no-lease') || claimed === 'no-lease',
          )
        if (taken === 'not refused') assert.equal(row?.organization, `other ${life}`)
        else assert.equal(taken, 'pool-exhausted')
        assert.equal(row?.epoch, epoch + winners)
        // Empty again for the next round.
        if (row?.organization !== undefined) {
          await leases.stop(row.gateway, row.epoch, 'decommission')
          await leases.settled()
        }
        await until(async () => {
          await leases.scan()
          await leases.settled()
          return (await stateOf(leases, gateway)) === 'free'
        }, 'the pool to be whole')
      }
    })

    it('ends nothing for one bad observation (L7)', async () => {
      const leases = await pool(1, { terms: { ...LONG, suspicion: 20 } })
      const { gateway, epoch } = await lease(leases, 'acme')
      assert.equal((await leases.observe(gateway, epoch, false)).state, 'active')
      await until(async () => (await leases.observe(gateway, epoch, false)).state === 'held', 'the window')
      assert.equal((await leases.list())[0]?.cause, 'suspected')
      // It lives after all: who renews is not suspect.
      await leases.renew(gateway, epoch)
      assert.equal(await stateOf(leases, gateway), 'active')
    })

    it('takes a gateway out of the pool and puts it back, at an operator’s word (L7)', async () => {
      const leases = await pool(1)
      await leases.retire('g1')
      assert.equal(await refusal(leases.allocate('acme', 'r1')), 'pool-exhausted')
      await leases.reinstate('g1')
      const { gateway, epoch } = await lease(leases, 'acme')
      assert.equal(await refusal(leases.retire(gateway)), 'in-use')
      assert.equal(await refusal(leases.release(gateway, epoch)), 'in-use')
      assert.equal(await refusal(leases.retire('g9')), 'unknown-gateway')
    })

    it('verifies the epoch of a call, and honours a predecessor for the time of a handoff (L6, H7)', async () => {
      const leases = await pool(1, { terms: { ...LONG, handoff: '1m' } })
      const { gateway, epoch } = await lease(leases, 'acme')
      assert.equal((await leases.verify(gateway, epoch)).epoch, epoch)
      const next = await leases.reclaim(gateway, 2, { predecessor: epoch })
      assert.ok((await leases.verify(gateway, epoch)).left <= 60_000)
      assert.equal((await leases.verify(gateway, next.epoch)).epoch, next.epoch)
      await leases.reclaim(gateway, 3)
      assert.equal(await refusal(leases.verify(gateway, epoch)), 'stale-epoch')
      assert.equal(await refusal(leases.verify(gateway, next.epoch)), 'stale-epoch')
    })

    it('changes no lease when a gateway is enrolled again, under another address', async () => {
      const leases = await pool(1)
      const { gateway, epoch } = await lease(leases, 'acme')
      await leases.enrol(gateway, 'http://elsewhere')
      const [row] = await leases.list(gateway)
      assert.deepEqual([row?.address, row?.epoch, row?.state], ['http://elsewhere', epoch, 'active'])
    })

    it('answers the question of a holder in values, refusals included', async () => {
      const leases = await pool(1)
      const { gateway, epoch } = await leases.allocate('acme', 'r1')
      const claim = { type: 'claim', gateway, incarnation: 2 } as const
      assert.deepEqual(await leases.ask(claim), { type: 'refused', refusal: 'unconfirmed', epoch })
      const confirmed = await leases.ask({ type: 'confirm', gateway, epoch, incarnation: 2 })
      assert.deepEqual(confirmed, {
        type: 'confirmed',
        epoch,
        term: 3_600_000,
        organization: 'acme',
        hostname: 'acme',
      })
      assert.equal((await leases.ask({ type: 'renew', gateway, epoch })).type, 'renewed')
      assert.equal((await leases.ask({ type: 'stop', gateway, epoch, intent: 'restart' })).type, 'accepted')
      assert.equal((await leases.ask({ ...claim, incarnation: 3 })).type, 'reclaimed')
    })

    it('has the same rows, and goes on with the same epochs, after the control plane was restarted', async () => {
      const one = await open()
      opened.push(one)
      const leases = await poolOf(one.store, 3, { terms: LONG })
      const { gateway, epoch } = await lease(leases, 'acme')
      await leases.stop(gateway, epoch, 'restart')
      const failed = await leases.allocate('other', 'r2')
      await leases.handshakeFailed(failed.gateway, failed.epoch)
      await leases.settled()
      const before = await one.store.list()
      const again = await one.reopen()
      const rows = await again.list()
      assert.deepEqual(
        rows.map(({ row }) => row),
        before.map(({ row }) => row),
      )
      const later = await poolOf(again, 3, { terms: LONG })
      assert.equal((await later.reclaim(gateway, 2)).epoch, epoch + 1)
    })
  })
}

conformance('in a file', embedded)
conformance(
  'in PostgreSQL',
  inPostgres(() => postgres),
)
