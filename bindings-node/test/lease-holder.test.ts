/** The gateway's side of a lease, beside a real pool, and in a lifecycle. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { describe, it } from 'node:test'
import {
  ConfigError,
  EmbeddedLeaseStore,
  incarnation,
  type LeaseAnswer,
  type LeaseGranter,
  LeaseHolder,
  type LeaseHolderOptions,
  LeaseOver,
  type LeasePool,
  Lifecycle,
} from '../host/index.js'
import { bootClock } from '../host/lease/boot-clock.js'
import { get, listen, quick } from './lifecycle/support.js'
import { lease, poolOf, refusal } from './support/lease-stores.js'
import { until } from './until.js'

/** A control plane that can be away. */
class Control implements LeaseGranter {
  away: Error | undefined
  hanging = false
  readonly asked: string[] = []

  constructor(readonly pool: LeasePool) {}

  async ask(
    question: Parameters<LeaseGranter['ask']>[0],
    { signal }: { signal: AbortSignal },
  ): Promise<LeaseAnswer> {
    this.asked.push(question.type)
    if (this.hanging) {
      return await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    }
    if (this.away) throw this.away
    return await this.pool.ask(question)
  }
}

/** A tenth of the usual terms: short enough to wait for, and nothing that a busy machine misses. */
const SCALE = {
  term: 6_000,
  drain: 1_500,
  margin: 100,
  askLimit: 1_000,
  releaseLimit: 1_000,
  retry: { initial: 20, cap: 80, floor: 5 },
} as const

async function pooled(terms = {}): Promise<{ pool: LeasePool; control: Control }> {
  const pool = await poolOf(await EmbeddedLeaseStore.open(), 1, {
    terms: { term: 6_000, grace: '1h', ...terms },
  })
  return { pool, control: new Control(pool) }
}

function holderOf(control: LeaseGranter, options: Partial<LeaseHolderOptions> = {}): LeaseHolder {
  return new LeaseHolder({ granter: control, gateway: 'g1', ...SCALE, ...options })
}

const epochOf = (holder: LeaseHolder) => holder.lease?.epoch

describe('a holder of a lease (L6)', () => {
  it('serves at once what it reclaims, with organization and hostname', async () => {
    const { pool, control } = await pooled()
    const { epoch } = await lease(pool, 'acme')
    using holder = holderOf(control)
    assert.equal(await holder.boot(), 'holding')
    const held = { gateway: 'g1', epoch: epoch + 1, organization: 'acme', hostname: 'acme' }
    assert.deepEqual(holder.lease, held)
    assert.deepEqual(await holder.held(), held)
    assert.deepEqual(control.asked, ['claim'], 'one round trip')
  })

  it('is idle when it is definitely not allocated, and serves after a handshake', async () => {
    const { pool, control } = await pooled()
    using holder = holderOf(control)
    assert.equal(await holder.boot(), 'idle')
    assert.equal(epochOf(holder), undefined)
    const { epoch } = await pool.allocate('acme', 'r1')
    const held = holder.held()
    assert.equal(await holder.granted({ epoch }), true)
    assert.equal((await held).organization, 'acme')
    assert.equal(await holder.granted({ epoch }), true, 'the same handshake once more')
    assert.equal(await holder.granted({ epoch: epoch + 1 }), false, 'it has another lease')
  })

  it('serves nothing for a handshake that the granter does not confirm', async () => {
    const { pool, control } = await pooled()
    using holder = holderOf(control)
    await holder.boot()
    const { epoch } = await pool.allocate('acme', 'r1')
    await pool.handshakeFailed('g1', epoch)
    assert.equal(await holder.granted({ epoch }), false)
    assert.equal(holder.state, 'idle')
  })

  it('renews for as long as it serves', async () => {
    const { pool, control } = await pooled()
    await lease(pool, 'acme')
    using holder = holderOf(control)
    await holder.boot()
    await until(() => control.asked.filter((type) => type === 'renew').length >= 4, 'four renews', 60_000)
    assert.equal(holder.state, 'holding')
  })

  it('admits calls of its own epoch alone', async () => {
    const { pool, control } = await pooled()
    const { epoch } = await lease(pool, 'acme')
    using holder = holderOf(control)
    assert.equal(holder.admits(epoch), false, 'nothing before it serves')
    await holder.boot()
    assert.deepEqual(
      [epoch, epoch + 1, epoch + 2].map((each) => holder.admits(each)),
      [false, true, false],
    )
    await holder.stop('restart')
    assert.equal(holder.admits(epoch + 1), false, 'nothing after it stopped')
  })

  it('drains, and never claims back, when a later life of it has the lease (L5)', async () => {
    const { pool, control } = await pooled()
    await lease(pool, 'acme')
    using holder = holderOf(control)
    await holder.boot()
    const drained = new Promise<string>((resolve) => holder.once('drain', ({ loss }) => resolve(loss)))
    using clone = holderOf(control, { incarnation: holder.incarnation + 1 })
    assert.equal(await clone.boot(), 'holding')
    assert.equal(await drained, 'fenced')
    assert.equal(await holder.stop('restart'), 'fenced')
    assert.equal(clone.state, 'holding')
  })

  it('is over when an earlier life asks after a later one has the lease (L5)', async () => {
    const { pool, control } = await pooled()
    await lease(pool, 'acme', 100)
    using holder = holderOf(control, { incarnation: 50 })
    assert.equal(await holder.boot(), 'over')
    await assert.rejects(holder.held(), (error) => error instanceof LeaseOver && error.end === 'fenced')
  })

  it('tells the granter what it stops for, within its limit', async () => {
    const { pool, control } = await pooled()
    await lease(pool, 'acme')
    using holder = holderOf(control)
    await holder.boot()
    assert.equal(await holder.stop('restart'), 'released')
    assert.equal((await pool.list())[0]?.cause, 'restart')
    using next = holderOf(control)
    await next.boot()
    control.hanging = true
    const begin = performance.now()
    assert.equal(await next.stop('restart'), 'unreleased')
    assert.ok(performance.now() - begin < 10_000, 'and not for as long as the granter hangs')
  })

  it('keeps asking while nobody knows, says so, and is neither idle nor serving meanwhile', async () => {
    const { pool, control } = await pooled()
    const { epoch } = await lease(pool, 'acme')
    using holder = holderOf(control)
    const told: unknown[] = []
    holder.on('cannotKnow', ({ error }) => told.push((error as Error).message))
    control.away = new Error('503 from the control plane')
    const booted = holder.boot()
    await until(() => told.length >= 3, 'three questions')
    assert.equal(told[0], '503 from the control plane')
    assert.equal(holder.state, 'claiming')
    assert.equal(epochOf(holder), undefined)
    assert.match(holder.explain().because, /times in a row nobody could say/)
    control.away = undefined
    control.hanging = true
    await until(() => /no answer within 1000 ms/.test(String(told.at(-1))), 'a question that hangs')
    control.hanging = false
    assert.equal(await booted, 'holding')
    assert.equal(epochOf(holder), epoch + 1)
  })

  it('gives up waiting for an answer at its caller’s word, and goes on asking', async () => {
    const { control } = await pooled()
    control.hanging = true
    using holder = holderOf(control)
    const stop = new AbortController()
    const booted = holder.boot({ signal: stop.signal })
    stop.abort(new Error('stopped'))
    await assert.rejects(booted, /stopped/)
    assert.equal(holder.state, 'claiming')
    assert.equal(await holder.stop('restart'), 'unknown')
  })

  it('refuses a term that is too short for the drain, with the sum', async () => {
    const { control } = await pooled()
    assert.throws(
      () => holderOf(control, { drain: 4_000 }),
      (error) => error instanceof ConfigError && /a third of the term/.test(error.message),
    )
  })

  it('has greater numbers for later lives, also for two of one millisecond', () => {
    const numbers = Array.from({ length: 100 }, () => incarnation())
    assert.deepEqual(
      numbers,
      [...new Set(numbers)].sort((one, other) => one - other),
    )
    assert.ok(numbers.every((number) => Number.isSafeInteger(number)))
  })

  it('has a clock that does not run ahead of the system’s', async () => {
    const clock = bootClock()
    // Each reading lies between two of the other clock, however long the machine does something else meanwhile.
    const read = () => [performance.now(), clock(), performance.now()] as const
    const [before, began, after] = read()
    await until(() => performance.now() - after > 300, 'some time')
    const [early, ended, late] = read()
    assert.ok(ended - began <= late - before + 20, `${ended - began} in at most ${late - before} ms`)
    assert.ok(ended - began >= early - after - 20, `${ended - began} in at least ${early - after} ms`)
  })
})

describe('a lifecycle with a lease', () => {
  async function served(control: Control, options: Partial<LeaseHolderOptions> = {}) {
    const times = { lameDuck: 0, grace: 300, killBudget: 3_000, margin: 50 }
    const life = quick({ ...times, exit: false })
    const holder = holderOf(control, {
      term: 9_000,
      drain: 3_000,
      askLimit: 1_000,
      releaseLimit: 1_000,
      margin: 50,
      ...options,
    })
    const server = createServer((_, response) => response.end(`${holder.lease?.epoch}`))
    life.http(server).lease(holder)
    const port = await listen(server)
    return { life, holder, port }
  }

  it('is ready once the lease is held, and releases it for the intent of the stop, last', async () => {
    const { pool, control } = await pooled({ term: 9_000 })
    await lease(pool, 'acme')
    const { life, holder } = await served(control)
    const order: string[] = []
    life.release('flush', () => order.push(`flush under ${epochOf(holder)}`), { timeout: 300 })
    holder.on('over', ({ end }) => order.push(end))
    const running = life.run(async (signal) => {
      assert.equal(life.ready, false)
      await holder.boot({ signal })
      await holder.held(signal)
    })
    await until(() => life.ready, 'readiness')
    void life.stop('decommission')
    const outcome = await running
    assert.equal(outcome.exitCode, 0)
    assert.deepEqual(order, ['flush under 2', 'released'])
    assert.equal((await pool.list())[0]?.state, 'free')
  })

  it('goes on serving through a lost control plane, stops before its lease ends, and says why', async () => {
    const { pool, control } = await pooled({ term: 9_000, grace: '1h' })
    await lease(pool, 'acme')
    const { life, holder, port } = await served(control)
    const said: string[] = []
    holder.on('drain', ({ loss, within }) => said.push(`drain ${loss} ${within}`))
    holder.on('over', ({ end }) => said.push(`over ${end}`))
    const running = life.run((signal) => holder.boot({ signal }))
    await until(() => life.ready, 'readiness')
    control.away = new Error('connect ECONNREFUSED')
    const begin = performance.now()
    let served_until = begin
    while (life.phase === 'serving') {
      assert.equal((await get(port)).body, '2')
      served_until = performance.now()
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    const outcome = await running
    assert.ok(served_until - begin > 2_000, 'it served on within its lease')
    // The lease was sure until then: a term, less drift and margin, from the last renew at the latest.
    assert.ok(performance.now() - begin < 9_000, 'it had stopped before the granter could expire it')
    assert.equal(outcome.intent, 'restart')
    assert.match(said[0] ?? '', /^drain unrenewed \d+$/)
    assert.equal(said[1], 'over unreleased')
    assert.match(holder.explain().because, /unreleased/)
    // Nobody else was given the gateway meanwhile.
    assert.equal((await pool.list())[0]?.state, 'active')
  })

  it('stops when it is fenced, and leaves the lease with the later life', async () => {
    const { pool, control } = await pooled({ term: 9_000 })
    await lease(pool, 'acme')
    const { life, holder } = await served(control)
    const running = life.run((signal) => holder.boot({ signal }))
    await until(() => life.ready, 'readiness')
    const later = await pool.reclaim('g1', holder.incarnation + 1)
    holder.fenced(holder.lease?.epoch ?? 0)
    assert.equal((await running).intent, 'restart')
    const [row] = await pool.list()
    assert.deepEqual([row?.state, row?.epoch], ['active', later.epoch])
  })

  it('stops a start that waits for an answer', async () => {
    const { control } = await pooled()
    control.hanging = true
    const { life, holder } = await served(control)
    const running = life.run((signal) => holder.boot({ signal }))
    await until(() => control.asked.length > 0, 'the question')
    void life.stop('restart')
    const outcome = await running
    assert.equal(outcome.exitCode, 0)
    assert.equal(holder.state, 'over')
  })

  it('refuses a holder that leaves less time than a stop may take', async () => {
    const { control } = await pooled()
    using holder = holderOf(control)
    const life = new Lifecycle({ signals: false })
    assert.throws(() => life.lease(holder), /a stop may take the kill budget of 30000 ms/)
    assert.equal(await refusal(holder.boot()), 'not refused')
  })
})
