import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import {
  MemoryJournal,
  recover,
  SagaKeyReused,
  SagaRolledBack,
  SagaStuck,
  SagaUnderWay,
  StepTimeout,
  saga,
} from '../host/index.js'
import { interfered } from './saga/journals.js'
import { chain, failure, kinds, QUICK } from './saga/support.js'
import { type Fate, World } from './saga/world.js'
import { until } from './until.js'

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

  test('whatever is thrown is written down, and told as it was', async () => {
    const thrown = [Object.create(null), 'a text', undefined, Object.assign(new Error(), { message: 7 }), 1n]
    for (const what of thrown) {
      const run = () => {
        throw what
      }
      const step = { run, undo: () => {}, ...QUICK, fenced: true }
      const error = await failure(
        saga('s').step('a', step).run(undefined, { journal: new MemoryJournal() }),
        SagaRolledBack,
      )
      assert.equal(error.cause, what)
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
