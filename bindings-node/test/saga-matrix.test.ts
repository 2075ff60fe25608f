/**
 * A sample of the fault matrix, in Node: an allocation of five steps, each of which fails in every way, with undos that
 * fail in every way, and an executor that stops at some record of its journal. The whole matrix is run on the core; see
 * docs/saga-fault-matrix.md.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  MemoryJournal,
  NotDone,
  recover,
  type SagaJournal,
  SagaRolledBack,
  SagaStuck,
  saga,
} from '../host/index.js'
import { readFrames } from '../host/saga/journal.js'
import { interfered } from './saga/journals.js'

const STEPS = ['allocate', 'dns', 'config', 'reload', 'handshake'] as const
type Step = (typeof STEPS)[number]
const DO_FATES = ['fails clean', 'unknown, landed', 'unknown, not landed', 'lands late'] as const
const UNDO_FATES = ['fails', 'times out, landed', 'times out, not landed'] as const

interface Cell {
  step: Step
  fate: (typeof DO_FATES)[number]
  undoOf?: Step
  undo?: (typeof UNDO_FATES)[number]
  fallbackFails?: boolean
}

const LIMIT = 100
const LATENESS = 100

function cells(): Cell[] {
  const found: Cell[] = []
  for (const [index, step] of STEPS.entries()) {
    for (const fate of DO_FATES) {
      found.push({ step, fate })
      for (const undoOf of STEPS.slice(0, index + 1)) {
        for (const undo of UNDO_FATES) found.push({ step, fate, undoOf, undo })
        if (undoOf !== 'allocate') found.push({ step, fate, undoOf, undo: 'fails', fallbackFails: true })
      }
    }
  }
  return found
}

/** A pool of one gateway, and the ways that lead to it. */
class Allocation {
  gateway: 'free' | 'allocated' | 'quarantined' = 'free'
  readonly ways = { dns: false, config: false, reload: false, handshake: false }
  /** The errors that were thrown by the step of the cell. */
  readonly thrown: unknown[] = []
  readonly violations: string[] = []
  readonly cell: Cell

  constructor(cell: Cell) {
    this.cell = cell
  }

  /** What lands late, and when. */
  readonly #late: { at: number; make: () => void }[] = []

  /** Lets land what is due. By the clock and not by timers, which change places when a loaded machine is late. */
  #catchUp(): void {
    while (this.#late[0] !== undefined && this.#late[0].at <= performance.now()) {
      const { make } = this.#late.shift() as { make: () => void }
      this.change(make)
    }
  }

  change(make: () => void): void {
    this.#catchUp()
    make()
    const open = Object.entries(this.ways).filter(([, open]) => open)
    if (this.gateway === 'free' && open.length > 0) this.violations.push(`free, but ${open} lead to it`)
  }

  /** What is left of each step. */
  get residue(): Step[] {
    this.#catchUp()
    return STEPS.filter((step) => (step === 'allocate' ? this.gateway === 'allocated' : this.ways[step]))
  }

  saga() {
    const { cell } = this
    const step = (name: Step, make: () => void, take: () => void) => ({
      run: async ({ signal }: { signal: AbortSignal }): Promise<{ is: string }> => {
        const fate = cell.step === name ? cell.fate : undefined
        if (fate === 'fails clean') this.#throw(new NotDone(`${name} is not possible`))
        if (fate === 'lands late') this.#late.push({ at: performance.now() + LIMIT + LATENESS / 2, make })
        else if (fate !== 'unknown, not landed') this.change(make)
        if (fate !== undefined) await hang(signal).catch((error) => this.#throw(error))
        return { is: name }
      },
      undo: async ({ signal }: { signal: AbortSignal }) => {
        const fate = cell.undoOf === name ? cell.undo : undefined
        if (fate === 'fails') throw new Error(`undo of ${name} failed`)
        if (fate !== 'times out, not landed') this.change(take)
        if (fate !== undefined) await hang(signal)
      },
      timeout: LIMIT,
      undoTimeout: LIMIT,
      undoRetries: 0,
      backoff: { initial: 1, cap: 1, floor: 1, jitter: 'none' } as const,
    })
    const way = (name: Exclude<Step, 'allocate'>, take: () => void) => ({
      ...step(name, () => this.#open(name), take),
      verify: () => this.residue.includes(name),
      latenessBound: LATENESS,
    })
    const { ways } = this
    const close = (...names: Exclude<Step, 'allocate'>[]) => {
      return () => {
        for (const name of names) ways[name] = false
      }
    }
    return saga('allocation', { journalTimeout: 60_000 })
      .step('allocate', {
        ...step(
          'allocate',
          () => this.#allocate(),
          () => this.#free('free'),
        ),
        // Only a certain undo is a fence; this is for one of unknown outcome.
        fenced: true,
        latenessBound: LATENESS,
        verify: () => this.residue.includes('allocate'),
        undoRequires: ['dns', 'config', 'reload', 'handshake'],
        fallback: () => {
          if (cell.fallbackFails) throw new Error('the quarantine failed')
          this.change(() => this.#free('quarantined'))
        },
      })
      .step('dns', way('dns', close('dns')))
      .step('config', way('config', close('config')))
      .step('reload', way('reload', close('config', 'reload')))
      .step('handshake', way('handshake', close('handshake')))
  }

  #open(name: Exclude<Step, 'allocate'>): void {
    this.ways[name] = true
  }

  /** The row's fence: an allocation that comes after its own release is refused. */
  #released = false
  #allocate(): void {
    if (!this.#released) this.gateway = 'allocated'
  }

  #free(state: 'free' | 'quarantined'): void {
    this.#released = true
    if (this.gateway === 'allocated') this.gateway = state
  }

  #throw(error: unknown): never {
    this.thrown.push(error)
    throw error
  }
}

async function hang(signal: AbortSignal): Promise<never> {
  return await new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason))
  })
}

function named(cell: Cell, crash?: number): string {
  const undo = cell.undoOf === undefined ? '' : `, undo of ${cell.undoOf} ${cell.undo}`
  const fallback = cell.fallbackFails ? ', so does the fallback' : ''
  return `${cell.step} ${cell.fate}${undo}${fallback}${crash === undefined ? '' : `, stops at record ${crash}`}`
}

function assertWhole(world: Allocation, error: unknown, where: string): void {
  assert.deepEqual(world.violations, [], where)
  if (error instanceof SagaStuck) {
    const leaked = error.leaked.map(({ step }) => step)
    assert.deepEqual(leaked.sort(), world.residue.sort(), `${where}: ${error.message}`)
    if (error.fellBack.length > 0) assert.equal(world.gateway, 'quarantined', where)
  } else {
    assert.ok(error instanceof SagaRolledBack, `${where}: ${(error as Error).stack}`)
    assert.deepEqual(world.residue, [], `${where}: ${error.message}`)
    assert.equal(world.gateway, 'free', where)
  }
  // Nobody knows in a later life which error an earlier one had met, so only what is told is compared.
  const { cause } = error
  assert.ok(cause instanceof Error, where)
}

/** Runs these, some at a time. */
async function each<T>(items: T[], run: (item: T) => Promise<void>): Promise<void> {
  const waiting = items.values()
  const worker = async () => {
    for (const item of waiting) await run(item)
  }
  await Promise.all(Array.from({ length: 60 }, worker))
}

/** Lets what is to land late land. */
const settled = () => new Promise((resolve) => setTimeout(resolve, LIMIT + LATENESS))

describe('the fault matrix', () => {
  const all = cells()

  test(`every cell (${all.length}): the leak report is the residue, the error is the original one, the pool is whole`, async () => {
    await each(all, async (cell) => {
      const world = new Allocation(cell)
      const error = await world
        .saga()
        .run(undefined, { journal: new MemoryJournal() })
        .catch((error) => error)
      await settled()
      assertWhole(world, error, named(cell))
      assert.equal(error.cause, world.thrown[0], named(cell))
      assert.equal(error.step, cell.step)
    })
  })

  test('a sample of its cells, stopped at a record of the journal and recovered', async () => {
    // A fixed sequence, so that a failure is seen again.
    let state = 7
    const draw = (below: number) => {
      state = (state * 48_271) % 0x7fff_ffff
      return state % below
    }
    const sample = Array.from({ length: 300 }, () => ({
      cell: all[draw(all.length)] as Cell,
      at: 2 + draw(18),
    }))
    let stopped = 0
    await each(sample, async ({ cell, at }) => {
      const world = new Allocation(cell)
      const journal = new MemoryJournal()
      let stop = () => {}
      const frozen = new Promise<'frozen'>((resolve) => {
        stop = () => resolve('frozen')
      })
      const freezing = interfered(journal, async (_, { sequence }, append) => {
        if (sequence < at) return await append()
        stop()
        await new Promise(() => {})
      })
      const ended = world
        .saga()
        .run(undefined, { journal: freezing, key: 'k' })
        .catch((error) => error)
      const first = await Promise.race([ended, frozen])
      if (first !== 'frozen') {
        await settled()
        assertWhole(world, first, named(cell, at))
        return
      }
      stopped += 1
      const [recovered] = await recover([world.saga()], journal)
      await settled()
      assert.ok(recovered !== undefined && 'error' in recovered, named(cell, at))
      assertWhole(world, recovered.error, named(cell, at))
      await assertNoDoAfterUndo(journal, named(cell, at))
    })
    assert.ok(stopped > 100, `${stopped} were stopped`)
  })
})

async function assertNoDoAfterUndo(journal: SagaJournal, where: string): Promise<void> {
  const { records } = readFrames('allocation/k', (await journal.read('allocation/k')) ?? Buffer.of())
  const unwinding = records.findIndex(({ kind }) => kind === 'unwinding')
  const later = records.slice(unwinding).map(({ kind }) => kind)
  assert.ok(!later.includes('intent'), `${where}: ${later}`)
}
