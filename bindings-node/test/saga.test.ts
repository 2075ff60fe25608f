import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type AnySaga,
  ConfigError,
  MemoryJournal,
  NotDone,
  RecordedError,
  recover,
  SagaFenced,
  SagaHalted,
  SagaKeyReused,
  SagaNotStuck,
  SagaRefused,
  SagaRolledBack,
  SagaStuck,
  SagaUnderWay,
  SagaUnknown,
  StepTimeout,
  saga,
} from '../host/index.js'
import { readFrames, type SagaJournal } from '../host/saga/journal.js'
import { interfered } from './saga/journals.js'
import { type Fate, World } from './saga/world.js'
import { until } from './until.js'

const QUICK = {
  backoff: { initial: 1, cap: 1, floor: 1, jitter: 'none' },
  undoRetries: 0,
  timeout: 40,
  undoTimeout: 40,
} as const

async function failure<E extends Error>(
  run: Promise<unknown>,
  kind: new (...args: never[]) => E,
): Promise<E> {
  const error = await run.then(
    (value) => assert.fail(`it succeeded: ${JSON.stringify(value)}`),
    (error: unknown) => error,
  )
  assert.ok(error instanceof kind, `${(error as Error).stack}`)
  return error
}

async function kinds(journal: SagaJournal, id: string): Promise<string[]> {
  const bytes = await journal.read(id)
  assert.ok(bytes)
  return readFrames(id, bytes).records.map(({ kind, step }) => (step === null ? kind : `${kind} ${step}`))
}

/** Three steps, one after the other. */
function chain(world: World, fates: Record<string, { run?: Fate; undo?: Fate }> = {}) {
  return saga<string>('chain')
    .step('a', { ...world.step('a', fates.a), ...QUICK, latenessBound: undefined, fenced: true })
    .step('b', { ...world.step('b', fates.b), ...QUICK, fenced: true })
    .step('c', { ...world.step('c', fates.c), ...QUICK, fenced: true })
}

describe('a saga that commits', () => {
  test('answers what its steps answered, and each step knows what was done before it', async () => {
    const seen: unknown[] = []
    const sum = saga<{ start: number }>('sum')
      .step('one', { run: ({ input }) => input.start + 1 })
      .step('two', {
        run: async ({ input, outputs }) => {
          seen.push(outputs)
          return `${input.start + outputs.one}`
        },
      })
      .step('none', { run: () => {} })
    const outputs = await sum.run({ start: 1 }, { journal: new MemoryJournal() })
    assert.deepEqual(outputs, { one: 2, two: '3', none: undefined })
    assert.deepEqual(seen, [{ one: 2 }])
  })

  test('its types hold what was done before, and nothing else', async () => {
    const graph = saga<{ id: string }>('graph')
      .step('root', { run: () => 1 })
      .step('left', { after: ['root'], run: ({ outputs }) => `${outputs.root}` })
      .step('right', {
        after: ['root'],
        // @ts-expect-error: `left` runs beside it
        run: ({ outputs }) => outputs.left,
      })
      .step('end', {
        after: ['left', 'right'],
        run: ({ outputs, input }) => ({ text: outputs.left.concat(input.id), root: outputs.root + 1 }),
        undo: ({ output }) => output?.text,
      })
    // @ts-expect-error: there is no such step to wait for
    saga('other').step('a', { after: ['nowhere'], run: () => {} })
    const outputs = await graph.run({ id: '!' }, { journal: new MemoryJournal() })
    const text: string = outputs.end.text
    // @ts-expect-error: a number
    const root: string = outputs.root
    assert.deepEqual([text, root], ['1!', 1])
    // @ts-expect-error: the input is not a text
    const wrong = () => graph.run('1', { journal: new MemoryJournal() })
    assert.equal(typeof wrong, 'function')
  })

  test('G1: independent steps run beside each other, and the one after both once both are done', async () => {
    const order: string[] = []
    const step = (name: string, wait: number) => ({
      run: async () => {
        order.push(`${name} begins`)
        await delay(wait)
        order.push(`${name} ends`)
      },
    })
    await saga('diamond')
      .step('a', step('a', 1))
      .step('b', { ...step('b', 30), after: ['a'] })
      .step('c', { ...step('c', 1), after: ['a'] })
      .step('d', { ...step('d', 1), after: ['b', 'c'] })
      .run(undefined, { journal: new MemoryJournal() })
    const both = ['b begins', 'c begins', 'c ends', 'b ends']
    assert.deepEqual(order, ['a begins', 'a ends', ...both, 'd begins', 'd ends'])
  })

  test('G4: every intent is durable before its effect', async () => {
    const world = new World()
    const journal = new MemoryJournal()
    const spied = interfered(journal, async (_, __, append) => {
      const before = world.calls.length
      await append()
      assert.equal(world.calls.length, before, 'a step began while a record was being written')
    })
    await chain(world).run('in', { journal: spied, key: 'k' })
    const each = [0, 1, 2].flatMap((step) => [`intent ${step}`, `done ${step}`])
    assert.deepEqual(await kinds(journal, 'chain/k'), ['started', ...each, 'committed'])
  })

  test('the same key again answers how it ended, and does nothing twice', async () => {
    const world = new World()
    const journal = new MemoryJournal()
    const first = await chain(world).run('in', { journal, key: 'k' })
    assert.deepEqual(await chain(world).run('in', { journal, key: 'k' }), first)
    assert.deepEqual(world.calls, ['do a', 'do b', 'do c'])
    const error = await failure(chain(world).run('other', { journal, key: 'k' }), SagaKeyReused)
    assert.equal(error.code, 'saga-key-reused')
    const broken = new World()
    const fails = () => chain(broken, { b: { run: 'fails clean' } }).run('in', { journal, key: 'f' })
    const original = await failure(fails(), SagaRolledBack)
    const again = await failure(fails(), SagaRolledBack)
    assert.equal(again.message, original.message)
    assert.deepEqual(broken.calls, ['do a', 'do b', 'undo a'])
  })

  test('a key that is under way is refused, and that one goes on undisturbed', async () => {
    const world = new World()
    const journal = new MemoryJournal()
    let open = () => {}
    const gate = new Promise<void>((resolve) => {
      open = resolve
    })
    const slow = saga('slow').step('a', { run: () => gate, undo: () => world.calls.push('undo') })
    const running = slow.run(undefined, { journal, key: 'k' })
    await failure(slow.run(undefined, { journal, key: 'k' }), SagaUnderWay)
    await failure(slow.continue('k', { journal }), SagaUnderWay)
    assert.deepEqual(await recover([slow], journal), [], 'it is not taken over from itself')
    assert.match(slow.explain('k')?.waitsFor ?? '', /do of `a`/)
    open()
    await running
    assert.deepEqual(world.calls, [])
    assert.equal(slow.explain('k'), undefined)
  })
})

describe('a saga that fails', () => {
  test('G2: an exception means unknown, so the step is undone; NotDone means that there is nothing to undo', async () => {
    const unknown = new World()
    const error = await failure(
      chain(unknown, { b: { run: 'lands, then fails' } }).run('in', { journal: new MemoryJournal() }),
      SagaRolledBack,
    )
    assert.deepEqual([error.code, error.reason, error.step], ['saga-rolled-back', 'step-unknown', 'b'])
    assert.deepEqual(unknown.calls, ['do a', 'do b', 'undo b', 'undo a'])
    const clean = new World()
    const second = await failure(
      chain(clean, { b: { run: 'fails clean' } }).run('in', { journal: new MemoryJournal() }),
      SagaRolledBack,
    )
    assert.deepEqual([second.reason, second.step], ['step-failed', 'b'])
    assert.deepEqual(clean.calls, ['do a', 'do b', 'undo a'])
    for (const { there } of [unknown, clean]) assert.deepEqual([...there], [])
  })

  test('G6: the original error is the cause, unchanged, and every undo error stands beside it', async () => {
    const original = Object.assign(new Error('no route'), { code: 'EHOSTUNREACH', extra: { n: 1 } })
    const refusals: Error[] = []
    const world = new World()
    const error = await failure(
      saga('s')
        .step('a', { ...world.step('a'), ...QUICK })
        .step('b', {
          run: () => 'gateway-7',
          undo: () => {
            refusals.push(new Error(`refused ${refusals.length + 1}`))
            throw refusals.at(-1)
          },
          ...QUICK,
          undoRetries: 1,
        })
        .step('c', {
          run: () => {
            throw original
          },
        })
        .run(undefined, { journal: new MemoryJournal(), key: 'k' }),
      SagaStuck,
    )
    assert.equal(error.cause, original)
    assert.deepEqual(error.leaked, [{ step: 'b', reason: 'undo-failed', output: 'gateway-7' }])
    const undoErrors = refusals.map((error, n) => ({ step: 'b', direction: 'undo', attempt: n + 1, error }))
    assert.deepEqual(error.undoErrors, undoErrors)
    assert.equal(error.undoErrors[0]?.error, refusals[0], 'the very objects')
    assert.deepEqual([...world.there], [], 'the rest went on')
    assert.equal(
      error.message,
      's/k: `c` ended unknown (no route), and this is left behind: `b` (undo-failed)',
    )
  })

  test('G6: rollback goes on past a failing undo in the middle of a graph', async () => {
    const world = new World()
    const step = (name: string, undo: Fate = 'works') => ({ ...world.step(name, { undo }), ...QUICK })
    const error = await failure(
      saga('graph')
        .step('root', step('root'))
        .step('left', { ...step('left', 'fails'), after: ['root'] })
        .step('right', { ...step('right'), after: ['root'] })
        .step('join', { ...step('join'), after: ['left', 'right'] })
        .step('end', { ...world.step('end', { run: 'fails clean' }), after: ['join'] })
        .run(undefined, { journal: new MemoryJournal() }),
      SagaStuck,
    )
    assert.deepEqual([...world.there], ['left'])
    assert.deepEqual(
      error.leaked.map(({ step }) => step),
      ['left'],
    )
    const undone = world.calls.filter((call) => call.startsWith('undo'))
    assert.equal(undone[0], 'undo join')
    assert.equal(undone.at(-1), 'undo root')
    assert.deepEqual(undone.slice(1, 3).sort(), ['undo left', 'undo right'])
  })

  test('G6: what requires an undo that failed takes its fallback', async () => {
    const world = new World()
    const fellBack: string[] = []
    const definition = saga('allocation')
      .step('gateway', {
        ...world.step('gateway'),
        ...QUICK,
        undoRequires: ['route'],
        fallback: world.fallback('gateway'),
      })
      .step('route', { ...world.step('route', { undo: 'fails' }), ...QUICK })
      .step('handshake', { ...world.step('handshake', { run: 'fails clean' }), ...QUICK })
    definition.on('fellBack', ({ step }) => fellBack.push(step))
    const error = await failure(definition.run(undefined, { journal: new MemoryJournal() }), SagaStuck)
    assert.deepEqual([...world.there].sort(), ['gateway is safe', 'route'])
    assert.deepEqual([error.fellBack, fellBack], [['gateway'], ['gateway']])
    assert.deepEqual(
      error.leaked.map(({ step, reason }) => [step, reason]),
      [['route', 'undo-failed']],
    )
  })

  test('G3: the keys say saga, step and direction, and are the same for every attempt', async () => {
    const world = new World()
    const definition = saga('s').step('a', {
      ...world.step('a', { run: 'fails', undo: 'fails' }),
      ...QUICK,
      retries: 2,
      idempotent: true,
      undoRetries: 1,
    })
    await failure(definition.run(undefined, { journal: new MemoryJournal(), key: 'k' }), SagaStuck)
    assert.deepEqual(world.keys.get('do a'), Array(3).fill('s/k/a/do'))
    assert.deepEqual(world.keys.get('undo a'), Array(2).fill('s/k/a/undo'))
  })

  test('G2: only what is certainly not done, or idempotent, is tried again', async () => {
    for (const [run, idempotent, attempts] of [
      ['fails clean', false, 3],
      ['fails', true, 3],
      ['fails', false, 1],
    ] as const) {
      const world = new World()
      const step = { ...world.step('a', { run }), ...QUICK, retries: 2, idempotent, fenced: true }
      await failure(
        saga('s').step('a', step).run(undefined, { journal: new MemoryJournal() }),
        SagaRolledBack,
      )
      assert.equal(world.calls.filter((call) => call === 'do a').length, attempts, `${run}, ${idempotent}`)
    }
  })

  test('a limit fires the signal of the call, also when the call does not listen', async () => {
    for (const run of ['hangs', 'lands, then hangs'] as const) {
      const world = new World()
      const error = await failure(
        chain(world, { b: { run } }).run('in', { journal: new MemoryJournal() }),
        SagaRolledBack,
      )
      assert.ok(error.cause instanceof StepTimeout)
      assert.equal(error.cause.message, 'do of `b` gave no answer within 40 ms')
      assert.deepEqual(world.aborted, [error.cause])
      assert.deepEqual([...world.there], [])
    }
    const deaf = saga('s').step('a', {
      run: () => new Promise<void>(() => {}),
      undo: () => {},
      ...QUICK,
      fenced: true,
    })
    const error = await failure(deaf.run(undefined, { journal: new MemoryJournal() }), SagaRolledBack)
    assert.ok(error.cause instanceof StepTimeout)
  })

  test('G3: what lands after its undo is found by a probe, and undone once more', async () => {
    const world = new World()
    const verified = saga('s').step('a', {
      ...world.step('a', { run: 'lands late' }),
      verify: () => world.there.has('a'),
      ...QUICK,
      latenessBound: 100,
    })
    await failure(verified.run(undefined, { journal: new MemoryJournal() }), SagaRolledBack)
    assert.deepEqual([world.calls, [...world.there]], [['do a', 'undo a', 'undo a'], []])
    const unbounded = new World()
    const bare = saga('s').step('a', { ...unbounded.step('a', { run: 'lands late' }), ...QUICK })
    const error = await failure(bare.run(undefined, { journal: new MemoryJournal() }), SagaStuck)
    assert.deepEqual(error.leaked, [{ step: 'a', reason: 'may-land-late', output: undefined }])
  })

  test('G1: past the pivot there is only forward', async () => {
    const world = new World()
    const error = await failure(
      saga('s')
        .step('a', { ...world.step('a'), ...QUICK })
        .step('pay', { run: world.step('pay').run, pivot: true })
        .step('mail', { run: world.step('mail', { run: 'fails clean' }).run, retries: 2, ...QUICK })
        .run(undefined, { journal: new MemoryJournal(), key: 'k' }),
      SagaStuck,
    )
    assert.deepEqual(world.calls, ['do a', 'do pay', 'do mail', 'do mail', 'do mail'])
    assert.deepEqual(
      error.leaked.map(({ step, reason }) => [step, reason]),
      [
        ['a', 'unfinished'],
        ['pay', 'unfinished'],
      ],
    )
  })

  test('what is no JSON is no answer: the step is undone, and an input like that begins nothing', async () => {
    const world = new World()
    const circle: { self?: unknown } = {}
    circle.self = circle
    const { undo } = world.step('a')
    const error = await failure(
      saga('s')
        .step('a', { run: () => circle as never, undo, ...QUICK, fenced: true })
        .run(undefined, { journal: new MemoryJournal() }),
      SagaRolledBack,
    )
    assert.ok(error.cause instanceof TypeError)
    assert.deepEqual(world.calls, ['undo a'])
    await failure(
      saga<unknown>('s').step('a', world.step('a')).run(1n, { journal: new MemoryJournal() }),
      TypeError,
    )
    assert.deepEqual(world.calls, ['undo a'])
  })
})

describe('cancelling a saga', () => {
  test('aborts the call that is under way with the reason, and undo is shielded', async () => {
    const world = new World()
    const cancel = new AbortController()
    const reason = new Error('the user left')
    let undoSignal: AbortSignal | undefined
    const running = saga('s')
      .step('a', {
        run: world.step('a').run,
        undo: async (call) => {
          undoSignal = call.signal
          await delay(5)
          await world.step('a').undo?.(call)
        },
        ...QUICK,
      })
      .step('b', { ...world.step('b', { run: 'lands, then hangs' }), ...QUICK, timeout: 100, fenced: true })
      .run(undefined, { journal: new MemoryJournal(), signal: cancel.signal })
    running.catch(() => {})
    await until(() => world.calls.length === 2, 'b is under way')
    cancel.abort(reason)
    const error = await failure(running, SagaRolledBack)
    assert.equal(error.reason, 'cancelled')
    assert.equal(error.cause, reason)
    assert.deepEqual(world.aborted, [reason])
    assert.equal(undoSignal?.aborted, false)
    assert.deepEqual([...world.there], [])
  })

  test('before anything was begun, begins nothing; after it has ended, changes nothing', async () => {
    const world = new World()
    const reason = new Error('never mind')
    const signal = AbortSignal.abort(reason)
    await assert.rejects(chain(world).run('in', { journal: new MemoryJournal(), signal }), reason)
    assert.deepEqual(world.calls, [])
    const cancel = new AbortController()
    await chain(world).run('in', { journal: new MemoryJournal(), signal: cancel.signal })
    cancel.abort()
    assert.equal(world.there.size, 3)
  })
})

describe('a journal that fails', () => {
  /** Fails the append of this record, for ever or so many times. */
  function failing(journal: SagaJournal, sequence: number, times = Number.POSITIVE_INFINITY): SagaJournal {
    let left = times
    return interfered(journal, async (_, record, append) => {
      if (record.sequence === sequence && left > 0) {
        left -= 1
        throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
      }
      await append()
    })
  }
  const limited = (world: World) =>
    saga('s', { journalTimeout: 100 })
      .step('a', { ...world.step('a'), ...QUICK, fenced: true })
      .step('b', { ...world.step('b'), ...QUICK, fenced: true })

  test('G4: stops the saga before the effect, and recovery goes on from what is durable', async () => {
    for (let sequence = 1; sequence <= 6; sequence += 1) {
      const world = new World()
      const journal = new MemoryJournal()
      const error = await failure(
        limited(world).run(undefined, { journal: failing(journal, sequence), key: 'k' }),
        SagaHalted,
      )
      assert.equal((error.cause as Error).message, 'no space left on device')
      const intents =
        sequence === 1 ? 0 : (await kinds(journal, 's/k')).filter((kind) => /^intent/.test(kind)).length
      assert.equal(world.calls.length, intents, `record ${sequence}: nothing without its intent`)
      const [recovered] = await recover([limited(world)], journal)
      if (sequence === 1) assert.equal(recovered, undefined)
      else {
        const whole = recovered?.outcome === 'committed' ? ['a', 'b'] : []
        assert.deepEqual([...world.there], whole, `record ${sequence}: ${recovered?.outcome}`)
      }
    }
  })

  test('for a moment only costs that moment', async () => {
    for (let sequence = 1; sequence <= 6; sequence += 1) {
      const world = new World()
      const journal = new MemoryJournal()
      await limited(world).run(undefined, { journal: failing(journal, sequence, 2), key: 'k' })
      assert.equal((await kinds(journal, 's/k')).length, 6)
      assert.deepEqual(world.calls, ['do a', 'do b'])
    }
  })

  test('G9: an executor that was superseded stops without another effect', async () => {
    const world = new World()
    const journal = new MemoryJournal()
    const superseded = interfered(journal, async (id, record, append) => {
      if (record.sequence === 4) await journal.takeOver(id)
      await append()
    })
    const stopped: string[] = []
    const definition = limited(world)
    definition.on('stopped', ({ error }) => stopped.push(error.code))
    await failure(definition.run(undefined, { journal: superseded, key: 'k' }), SagaFenced)
    assert.deepEqual([world.calls, stopped], [['do a'], ['saga-fenced']])
  })
})

/** Runs until the journal takes no more than so many records: what a crash there leaves. */
async function crashed(definition: AnySaga, key: string, records: number): Promise<MemoryJournal> {
  const journal = new MemoryJournal()
  const cut = interfered(journal, async (_, { sequence }, append) => {
    if (sequence > records) await new Promise(() => {})
    await append()
  })
  definition.run(undefined, { journal: cut, key }).catch(() => {})
  await until(async () => {
    const bytes = await journal.read(`${definition.name}/${key}`)
    return bytes !== undefined && readFrames('', bytes).records.length === records
  }, `${records} records`)
  return journal
}

describe('recovery', () => {
  /** Another definition object with the same steps, as another process has it; and its world. */
  const diamond = (world: World, end: Fate = 'works') => {
    const step = (name: string, run: Fate = 'works') => ({
      ...world.step(name, { run }),
      ...QUICK,
      fenced: true,
    })
    return saga('diamond', { journalTimeout: 60_000 })
      .step('root', step('root'))
      .step('left', { ...step('left'), after: ['root'] })
      .step('right', { ...step('right'), after: ['root'] })
      .step('end', { ...step('end', end), after: ['left', 'right'] })
  }

  test('G8: a diamond recovers after a crash at any record of its rollback, and runs no do again', async () => {
    let last = 0
    for (let records = 9; ; records += 1) {
      const world = new World()
      // It really ends with so many records when there are no more.
      const whole = new MemoryJournal()
      if (last === 0) {
        await failure(
          diamond(new World(), 'fails clean').run(undefined, { journal: whole, key: 'k' }),
          SagaRolledBack,
        )
        last = (await kinds(whole, 'diamond/k')).length
      }
      if (records >= last) break
      const journal = await crashed(diamond(world, 'fails clean'), 'k', records)
      const dos = world.calls.filter((call) => call.startsWith('do')).length
      const other = new MemoryJournal()
      // A new process: another journal object over the same records.
      await copy(journal, other, 'diamond/k')
      const [recovered] = await recover([diamond(world, 'fails clean')], other)
      assert.equal(recovered?.outcome, 'rolled-back', `${records} records`)
      assert.deepEqual([...world.there], [], `${records} records`)
      assert.equal(world.calls.filter((call) => call.startsWith('do')).length, dos)
    }
    assert.ok(last > 14)
  })

  test('G8: goes on forwards where nothing is unknown, with what was answered before', async () => {
    const answers: unknown[] = []
    const definition = () =>
      saga('s', { journalTimeout: 60_000 })
        .step('a', { run: ({ id }) => ({ gateway: 7, id }), undo: () => {} })
        .step('b', { run: ({ outputs }) => answers.push(outputs.a), undo: () => {} })
    const journal = await crashed(definition(), 'k', 3)
    const other = new MemoryJournal()
    await copy(journal, other, 's/k')
    assert.deepEqual(await recover([definition()], other), [
      { saga: 's', key: 'k', outcome: 'committed', outputs: { a: { gateway: 7, id: 's/k' }, b: 1 } },
    ])
    assert.deepEqual(answers, [{ gateway: 7, id: 's/k' }])
  })

  test('an undo knows why, also in a later life', async () => {
    const said: unknown[] = []
    const definition = (undo: () => unknown) =>
      saga('s', { journalTimeout: 60_000 })
        .step('a', { run: () => {}, undo: ({ because }) => [said.push(because), undo()], ...QUICK })
        .step('b', {
          run: () => {
            throw new NotDone('no')
          },
        })
    await failure(definition(() => {}).run(undefined, { journal: new MemoryJournal() }), SagaRolledBack)
    const records = 6 // started, a's intent and done, b's intent and failed, unwinding
    const journal = await crashed(
      definition(() => {}),
      'k',
      records,
    )
    await recover([definition(() => {})], journal)
    assert.deepEqual(said, Array(2).fill({ reason: 'step-failed', step: 'b' }))
  })

  test('the error that an earlier process met is told from its journal', async () => {
    const world = new World()
    const definition = () =>
      saga('s', { journalTimeout: 60_000 })
        .step('a', { ...world.step('a'), ...QUICK })
        .step('b', {
          run: () => {
            throw new NotDone('the pool is empty', {
              cause: Object.assign(new Error('0 rows'), { code: 'P0002' }),
            })
          },
        })
    const journal = await crashed(definition(), 'k', 6)
    const other = new MemoryJournal()
    await copy(journal, other, 's/k')
    const [recovered] = await recover([definition()], other)
    assert.ok(recovered?.outcome === 'rolled-back')
    const { cause } = recovered.error
    assert.ok(cause instanceof RecordedError)
    assert.deepEqual([cause.name, cause.message, cause.code], ['NotDone', 'the pool is empty', 'not-done'])
    assert.equal((cause.cause as RecordedError).code, 'P0002')
  })

  test('G8: a corrupt journal is refused by name, and one bad saga does not stop the others', async () => {
    const world = new World()
    const good = await crashed(diamond(world), 'good', 4)
    const journal = new MemoryJournal()
    await copy(good, journal, 'diamond/good')
    const bytes = Buffer.from((await good.read('diamond/good')) ?? [])
    bytes[10] = (bytes[10] as number) ^ 1
    const damaged = { sequence: 1, frame: bytes, standing: 'unfinished' } as const
    await journal.begin('diamond/damaged', damaged)
    await copy(good, journal, 'diamond/good', 'diamond/not-mine')
    await copy(good, journal, 'diamond/good', 'unknown/k')
    const other = await crashed(
      saga('diamond', { journalTimeout: 60_000 }).step('x', world.step('x')),
      'changed',
      1,
    )
    await copy(other, journal, 'diamond/changed')
    const found = Object.fromEntries((await recover([diamond(world)], journal)).map((one) => [one.key, one]))
    assert.equal(found.good?.outcome, 'rolled-back', 'a do was under way')
    const refused = ['damaged', 'not-mine', 'changed'].map((key) => {
      const one = found[key]
      assert.ok(one?.outcome === 'not-continued' && one.error instanceof SagaRefused)
      return (one.error.cause as { fault?: string }).fault
    })
    assert.deepEqual(refused, ['corrupt', 'other-saga', 'other-definition'])
    const unknown = found.k
    assert.ok(unknown?.outcome === 'not-continued')
    assert.equal(unknown.error.message, 'there is no definition of the saga unknown')
    // What was refused is left for an operator, and refused again.
    assert.equal((await recover([diamond(world)], journal)).length, 4)
  })

  test('says before anything is done that a definition cannot work', async () => {
    const circle = saga('s')
      .step('a', { run: () => {}, undo: () => {}, undoRequires: ['b'] })
      .step('b', { run: () => {}, undo: () => {}, undoRequires: ['a'] })
    await failure(recover([circle], new MemoryJournal()), ConfigError)
    const error = await failure(circle.run(undefined, { journal: new MemoryJournal() }), ConfigError)
    assert.match(error.message, /have undos that wait for each other/)
    const unread = saga('s').step('a', { run: () => {}, timeout: '5 parsecs' as '5s' })
    assert.deepEqual(
      (await failure(unread.run(undefined, { journal: new MemoryJournal() }), ConfigError)).faults.map(
        ({ field }) => field,
      ),
      ['steps.0.timeout'],
    )
  })

  test('only those that have stood still for long enough are taken over, where that is asked for', async () => {
    const journal = await crashed(diamond(new World()), 'k', 3)
    const other = new MemoryJournal()
    await copy(journal, other, 'diamond/k')
    assert.deepEqual(await recover([diamond(new World())], other, { idle: 60_000 }), [])
  })
})

describe('an operator', () => {
  const allocation = (world: World, undo: { fate: Fate }) =>
    saga('s')
      .step('a', { ...world.step('a'), ...QUICK, undoRequires: ['b'] })
      .step('b', {
        run: world.step('b').run,
        undo: (call) => world.step('b', { undo: undo.fate }).undo?.(call),
        ...QUICK,
      })
      .step('c', { run: world.step('c', { run: 'fails clean' }).run })

  test('G7: has the undo of a stuck saga tried again, and then those that waited for it', async () => {
    const world = new World()
    const journal = new MemoryJournal()
    const undo: { fate: Fate } = { fate: 'fails' }
    const stuck = await failure(allocation(world, undo).run(undefined, { journal, key: 'k' }), SagaStuck)
    assert.deepEqual(
      stuck.leaked.map(({ step, reason }) => [step, reason]),
      [
        ['a', 'requirement'],
        ['b', 'undo-failed'],
      ],
    )
    assert.deepEqual(await journal.list('stuck'), ['s/k'])
    const still = await failure(allocation(world, undo).retry('k', 'b', { journal }), SagaStuck)
    assert.equal(still.leaked.length, 2)
    undo.fate = 'works'
    const half = await failure(allocation(world, undo).retry('k', 'b', { journal }), SagaStuck)
    assert.deepEqual(
      half.leaked.map(({ step }) => step),
      ['a'],
    )
    const over = await failure(allocation(world, undo).retry('k', 'a', { journal }), SagaRolledBack)
    assert.equal((over.cause as Error).message, 'do c is not possible')
    assert.deepEqual([...world.there], [])
    assert.deepEqual(await journal.list('stuck'), [])
  })

  test('G7: marks what was settled by hand, and that is journalled', async () => {
    const world = new World()
    const journal = new MemoryJournal()
    const definition = allocation(world, { fate: 'fails' })
    await failure(definition.run(undefined, { journal, key: 'k' }), SagaStuck)
    world.there.delete('b')
    await failure(definition.resolve('k', 'b', { journal }), SagaStuck)
    await failure(definition.retry('k', 'a', { journal }), SagaRolledBack)
    assert.deepEqual([...world.there], [])
    const said = await kinds(journal, 's/k')
    assert.deepEqual(
      said.filter((kind) => /^re/.test(kind)),
      ['resolved 1', 'retried 0'],
    )
  })

  test('is told when there is nothing to settle', async () => {
    const journal = new MemoryJournal()
    const definition = chain(new World())
    await definition.run('in', { journal, key: 'k' })
    await failure(definition.retry('k', 'a', { journal }), SagaNotStuck)
    await failure(definition.resolve('other', 'a', { journal }), SagaUnknown)
    await failure(definition.retry('k', 'nowhere', { journal }), TypeError)
    const stuck = allocation(new World(), { fate: 'fails' })
    await failure(stuck.run(undefined, { journal, key: 'k' }), SagaStuck)
    const error = await stuck.resolve('k', 'c', { journal }).catch((error) => error)
    assert.equal(error.code, 'impossible-now')
  })
})

describe('events', () => {
  test('tell how it goes, to listeners and to channels, and a listener that throws changes nothing', async () => {
    const world = new World()
    const heard: string[] = []
    const published: unknown[] = []
    const listen = (message: unknown) => published.push(message)
    subscribe('tidegate:saga-unwinding', listen)
    const warned: string[] = []
    const warn = ({ message }: Error) => warned.push(message)
    process.on('warning', warn)
    const definition = chain(world, { c: { run: 'fails' }, b: { undo: 'fails' } })
    definition.on('stepFailed', () => {
      throw new Error('a bug of the listener')
    })
    const events = [
      'stepFailed',
      'unwinding',
      'undoFailed',
      'leaked',
      'stuck',
      'rolledBack',
      'committed',
    ] as const
    for (const event of events) {
      definition.on(event, (payload: object) =>
        heard.push(`${event} ${(payload as { step?: string }).step ?? ''}`),
      )
    }
    await failure(definition.run('in', { journal: new MemoryJournal(), key: 'k' }), SagaStuck)
    assert.deepEqual(heard, ['stepFailed c', 'unwinding c', 'undoFailed b', 'leaked b', 'stuck '])
    assert.equal((published[0] as { key: string }).key, 'k')
    await until(() => warned.length > 0, 'the warning')
    assert.deepEqual(warned, ['a listener of "stepFailed" failed: Error: a bug of the listener'])
    process.off('warning', warn)
    unsubscribe('tidegate:saga-unwinding', listen)
  })
})

/** Copies a saga's records into another journal, as if they were its own. */
async function copy(from: SagaJournal, to: SagaJournal, saga: string, as = saga): Promise<void> {
  const bytes = Buffer.from((await from.read(saga)) ?? [])
  const { records } = readFrames(saga, bytes)
  let at = 0
  let writer: Awaited<ReturnType<SagaJournal['begin']>>
  for (const { sequence, payload } of records) {
    // A frame ends eight bytes behind its payload.
    const end = payload.byteOffset - bytes.byteOffset + payload.length + 8
    const record = { sequence, frame: bytes.subarray(at, end), standing: 'unfinished' } as const
    at = end
    if (sequence === 1) writer = await to.begin(as, record)
    else await writer?.append(record)
  }
}
