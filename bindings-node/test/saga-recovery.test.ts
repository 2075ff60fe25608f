/** What happens to sagas whose process, or whose journal, fails; and what an operator does about them. */
import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, test } from 'node:test'
import {
  ConfigError,
  MemoryJournal,
  NotDone,
  RecordedError,
  recover,
  SagaFenced,
  SagaHalted,
  type SagaJournal,
  SagaNotStuck,
  SagaRefused,
  SagaRolledBack,
  SagaStuck,
  SagaUnknown,
  saga,
} from '../host/index.js'
import { interfered } from './saga/journals.js'
import { chain, copy, crashed, failure, kinds, QUICK, write } from './saga/support.js'
import { type Fate, World } from './saga/world.js'
import { until } from './until.js'

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
    definition.on('stopped', ({ error }) => stopped.push((error as SagaFenced).code))
    await failure(definition.run(undefined, { journal: superseded, key: 'k' }), SagaFenced)
    assert.deepEqual([world.calls, stopped], [['do a'], ['saga-fenced']])
  })
})

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

  test('G9: two who recover the same saga at once do nothing twice, and the world is whole', async () => {
    for (let records = 2; records < 17; records += 1) {
      const world = new World()
      const journal = await crashed(diamond(world, 'fails clean'), 'k', records)
      const passing = () => interfered(journal, async (_, __, append) => await append())
      const both = await Promise.all(
        [passing(), passing()].map((own) => recover([diamond(world, 'fails clean')], own)),
      )
      const outcomes = both.flat().map((one) => {
        return one.outcome === 'not-continued' ? (one.error as SagaFenced).code : one.outcome
      })
      const where = `${records} records: ${outcomes}`
      // Whoever comes when it has ended is told how, too.
      assert.ok(outcomes.includes('rolled-back'), where)
      assert.ok(
        outcomes.every((outcome) => ['rolled-back', 'saga-fenced'].includes(outcome)),
        where,
      )
      assert.deepEqual([...world.there], [], where)
      const dos = world.calls.filter((call) => call.startsWith('do'))
      assert.equal(new Set(dos).size, dos.length, `${where}: ${dos}`)
    }
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

  test('a journal that release 0.1.0 wrote is continued, by this and every later one', async () => {
    // One step done, the other one failed, and the process died when it was about to undo. Never to be made anew.
    const written = `
VEdKMVYAAAABAQAAAP7I76jRmbILeyJzYWdhIjoiaGlzdG9yeSIsImtleSI6ImsiLCJydW4iOiJhZDU5OGU4YS1iZGFkLTQ0NWUt
OTg1YS0yOWM5MDA2NWIzMDAifVo4S9ZXd+XfVEdKMQYAAAABAgEBAQCnejut8pFvXFRHSjERAAAAAQMCAQEAImdhdGV3YXktMSL0
+eautKe0w1RHSjEGAAAAAQQBAgEAqC7Kq/GJfsJUR0oxSQAAAAEFAwIBAHsibmFtZSI6Ik5vdERvbmUiLCJtZXNzYWdlIjoidGhl
IHpvbmUgaXMgbG9ja2VkIiwiY29kZSI6Im5vdC1kb25lIn3baoW3mzDLBFRHSjEGAAAAAQYFAgEA8my0RHsnkAY=`
    const journal = new MemoryJournal()
    await write(Buffer.from(written, 'base64'), journal, 'history/k')
    const undone: unknown[] = []
    const definition = saga('history')
      .step('gateway', { run: () => 'another', undo: ({ output, because }) => undone.push(output, because) })
      .step('dns', { run: () => {}, undo: () => {} })
    const [recovered] = await recover([definition], journal)
    assert.ok(recovered?.outcome === 'rolled-back')
    assert.equal((recovered.error.cause as Error).message, 'the zone is locked')
    assert.deepEqual(undone, ['gateway-1', { reason: 'step-failed', step: 'dns' }])
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
