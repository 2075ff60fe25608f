/**
 * Sagas: do steps in order, or undo what was done.
 *
 * Every step, and what became of it, is in a journal before the next thing happens, so that a process that dies is
 * continued by {@link recover} in the next one, forwards or backwards. The decisions are those of the core's `saga`.
 */

import { randomUUID } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { ConfigError, type Fault } from './errors.js'
import { type Explanation, Machine } from './machine.js'
import {
  type SagaEnd,
  type SagaError,
  SagaKeyReused,
  SagaRefused,
  type SagaRolledBack,
  SagaStuck,
  SagaUnderWay,
  SagaUnknown,
} from './saga/errors.js'
import { reporterOf, type SagaEvents } from './saga/events.js'
import { type Beginning, type Definition, Execution } from './saga/execution.js'
import { JournalRefused, readFrames, type SagaJournal, standingAfter } from './saga/journal.js'
import { decodeValue } from './saga/payload.js'
import {
  type AnyStep,
  asWritten,
  configOf,
  type NamedStep,
  type SagaOptions,
  type SagaStepOptions,
} from './saga/step.js'

/** How a saga is run. */
export interface SagaRunOptions {
  /** Where its records are made durable. */
  readonly journal: SagaJournal
  /**
   * Which saga it is: the same key again never does the same twice, it answers how the first one ended. With
   * the saga's name at most 179 bytes. Default: a random one.
   */
  readonly key?: string | undefined
  /** Cancels it: what is under way is aborted and everything is undone, unless it is past its pivot. */
  readonly signal?: AbortSignal | undefined
}

/** How sagas are recovered. */
export interface RecoverOptions {
  /** Only those whose last record is at least this old, for journals that several processes share. Milliseconds. */
  readonly idle?: number | undefined
  /** How many at a time. Default 16. */
  readonly concurrency?: number | undefined
}

/** What became of a saga that was recovered. */
export type Recovered = SagaEnd &
  (
    | { readonly outcome: 'committed'; readonly outputs: Record<string, unknown> }
    | { readonly outcome: 'rolled-back'; readonly error: SagaRolledBack }
    | { readonly outcome: 'stuck'; readonly error: SagaStuck }
    /** It has not ended: its journal was refused or failed, somebody else has it, or there is no definition for it. */
    | { readonly outcome: 'not-continued'; readonly error: Error }
  )

/** Any saga, whatever its input and outputs. */
// biome-ignore lint/suspicious/noExplicitAny: what is accepted as an input differs from saga to saga
export type AnySaga = Saga<any, any, any, any>

/** So that it fits into the name of a file, however it is written. */
const MAX_ID = 180

/** The steps that are certainly done before one that names these, or (naming none) follows the last one. */
type DoneBefore<
  Reach extends Record<string, string>,
  Last extends string,
  After,
> = After extends readonly string[] ? Reach[After[number]] : [Last] extends [never] ? never : Reach[Last]

/**
 * A saga: its steps, in order.
 *
 * ```ts
 * const allocation = saga<{ organization: string }>('allocation')
 *   .step('gateway', {
 *     run: ({ input, key, signal }) => pool.allocate(input.organization, { key, signal }),
 *     undo: ({ output, key }) => pool.release(output, { key }),
 *   })
 *   .step('dns', {
 *     run: ({ outputs, signal }) => dns.put(name, outputs.gateway.address, { signal }),
 *     undo: () => dns.remove(name),
 *     verify: () => dns.has(name),
 *   })
 * const { gateway } = await allocation.run({ organization: 'acme' }, { journal, signal })
 * ```
 */
export class Saga<
  Input,
  Outputs extends object = Record<never, never>,
  Reach extends Record<string, string> = Record<never, never>,
  Last extends string = never,
> extends EventEmitter<SagaEvents> {
  /** Its name: a part of every id and key, so never change it while sagas are under way. */
  readonly name: string
  readonly #options: SagaOptions
  readonly #steps: NamedStep[] = []
  readonly #running = new Map<string, Execution>()
  #definition: Definition | undefined

  /** @throws TypeError when the name is empty, or has a slash. */
  constructor(name: string, options: SagaOptions = {}) {
    super()
    if (name === '' || name.includes('/')) throw new TypeError('the name of a saga has a letter and no slash')
    this.name = name
    this.#options = options
  }

  /** Adds a step, after the one declared before it unless `after` says otherwise. */
  step<
    const Name extends string,
    Output = void,
    const After extends readonly (keyof Outputs & string)[] | undefined = undefined,
  >(
    name: Name,
    options: SagaStepOptions<
      Input,
      Pick<Outputs, DoneBefore<Reach, Last, After> & keyof Outputs>,
      Output,
      After
    >,
  ): Saga<
    Input,
    Outputs & { readonly [Key in Name]: Output },
    Reach & { readonly [Key in Name]: Name | DoneBefore<Reach, Last, After> },
    Name
  > {
    const before = this.#steps.at(-1)?.name
    const after = options.after ?? (before === undefined ? [] : [before])
    this.#steps.push({ name, after, options: options as unknown as AnyStep })
    this.#definition = undefined
    // The same object, of which more is known now.
    return this as never
  }

  /**
   * Says what cannot work.
   *
   * @throws {@link ConfigError} with every fault of the steps.
   */
  check(): void {
    this.#define()
  }

  /**
   * Runs it, and resolves with what its steps have answered.
   *
   * @throws {@link SagaRolledBack} with the original error as its cause, {@link SagaStuck} with what is left behind,
   * {@link SagaHalted} when its journal failed, {@link SagaUnderWay} when the key is taken by one that has not ended,
   * {@link SagaKeyReused} when that one had another input; {@link ConfigError} before anything is done.
   */
  async run(input: Input, { journal, key = randomUUID(), signal }: SagaRunOptions): Promise<Outputs> {
    signal?.throwIfAborted()
    const execution = this.#execution(key, journal)
    try {
      execution.start(input, signal)
      return (await this.#track(key, execution)) as Outputs
    } catch (error) {
      if (!(error instanceof SagaUnderWay)) throw error
      return await this.#ending(input, key, journal, error)
    }
  }

  /**
   * Continues one that a process has left: takes it over and goes on from its journal.
   *
   * @throws as {@link Saga.run}; {@link SagaRefused} when its journal is damaged or of another graph of steps.
   */
  async continue(key: string, { journal }: Pick<SagaRunOptions, 'journal'>): Promise<Outputs> {
    return await this.#takeOver(key, journal)
  }

  /**
   * An operator has a step of a stuck saga tried again (G7): its undo, or its do where there is only forward. The
   * outputs, if the saga commits after all.
   *
   * @throws as {@link Saga.run}; {@link SagaNotStuck}; {@link RejectedError} when that step is not what is stuck.
   */
  async retry(key: string, step: string, { journal }: Pick<SagaRunOptions, 'journal'>): Promise<Outputs> {
    return await this.#takeOver(key, journal, { type: 'retry', step: this.#indexOf(step) })
  }

  /**
   * An operator has settled a step of a stuck saga by hand (G7), and says whether its effect is there now: `false`
   * where it was removed. The outputs, if the saga commits after all.
   *
   * @throws as {@link Saga.retry}.
   */
  async resolve(
    key: string,
    step: string,
    {
      journal,
      present = false,
    }: Pick<SagaRunOptions, 'journal'> & { readonly present?: boolean | undefined },
  ): Promise<Outputs> {
    return await this.#takeOver(key, journal, { type: 'resolve', step: this.#indexOf(step), present })
  }

  /** Why the one with this key is where it is; none when this process does not have it under way. */
  explain(key: string): Explanation | undefined {
    return this.#running.get(key)?.explain()
  }

  #define(): Definition {
    if (this.#definition !== undefined) return this.#definition
    const faults: Fault[] = []
    const config = configOf(this.#steps, this.#options, faults)
    if (faults.length > 0) throw new ConfigError(`the saga ${this.name}`, faults)
    try {
      // The core finds what is wrong with the graph.
      new Machine('saga', { config, perform: () => {} }).close()
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      throw new ConfigError(`the saga ${this.name}`, error.faults.map(asWritten))
    }
    this.#definition = { name: this.name, steps: [...this.#steps], config, report: reporterOf(this) }
    return this.#definition
  }

  #execution(key: string, journal: SagaJournal): Execution {
    const execution = new Execution(this.#define(), key, journal)
    if (key === '' || Buffer.byteLength(execution.id) > MAX_ID) {
      throw new RangeError(`the key of a saga has a letter, and at most ${MAX_ID} bytes with its name`)
    }
    return execution
  }

  async #track(key: string, execution: Execution): Promise<object> {
    if (!this.#running.has(key)) this.#running.set(key, execution)
    try {
      return await execution.result
    } finally {
      if (this.#running.get(key) === execution) this.#running.delete(key)
    }
  }

  async #takeOver(
    key: string,
    journal: SagaJournal,
    action?: { type: 'retry'; step: number } | { type: 'resolve'; step: number; present: boolean },
  ): Promise<Outputs> {
    const execution = this.#execution(key, journal)
    const names = { saga: this.name, key }
    if (Execution.isUnderWay(journal, execution.id)) throw new SagaUnderWay(names)
    try {
      const taken = await journal.takeOver(execution.id)
      if (taken === undefined) throw new SagaUnknown(names)
      execution.continue(readFrames(execution.id, taken.bytes), taken.writer, action)
    } catch (error) {
      throw error instanceof JournalRefused ? new SagaRefused(names, error) : error
    }
    return (await this.#track(key, execution)) as Outputs
  }

  /** How the saga that has the key ended. */
  async #ending(input: Input, key: string, journal: SagaJournal, underWay: SagaUnderWay): Promise<Outputs> {
    const execution = this.#execution(key, journal)
    const bytes = await journal.read(execution.id)
    if (bytes === undefined) throw underWay
    const read = readFrames(execution.id, bytes)
    const [first, last] = [read.records[0], read.records.at(-1)]
    if (first === undefined || last === undefined) throw underWay
    const begun = decodeValue(first.payload) as Beginning
    if (JSON.stringify(begun.input) !== JSON.stringify(input)) throw new SagaKeyReused(underWay)
    if (standingAfter(last.kind) === 'unfinished') throw underWay
    execution.continue(read, undefined)
    return (await execution.result) as Outputs
  }

  #indexOf(step: string): number {
    const index = this.#steps.findIndex(({ name }) => name === step)
    if (index < 0) throw new TypeError(`the saga ${this.name} has no step \`${step}\``)
    return index
  }
}

/** A saga without steps yet; the type is that of its input. */
export function saga<Input = void>(name: string, options?: SagaOptions): Saga<Input> {
  return new Saga(name, options)
}

/**
 * Continues every unfinished saga of a journal, forwards or backwards (G8): call it at start, before new ones are
 * run. Resolves when each has ended, as far as it can; one bad saga does not stop the others.
 *
 * @throws {@link ConfigError} for a definition that cannot work, before anything is done; what the journal throws
 * when it cannot be listed.
 */
export async function recover(
  definitions: readonly AnySaga[],
  journal: SagaJournal,
  { idle, concurrency = 16 }: RecoverOptions = {},
): Promise<Recovered[]> {
  for (const definition of definitions) definition.check()
  const ids = await journal.list('unfinished', idle)
  const waiting = ids.filter((id) => !Execution.isUnderWay(journal, id)).values()
  const recovered: Recovered[] = []
  const worker = async () => {
    for (const id of waiting) recovered.push(await recoverOne(definitions, journal, id))
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  return recovered
}

async function recoverOne(
  definitions: readonly AnySaga[],
  journal: SagaJournal,
  id: string,
): Promise<Recovered> {
  const slash = id.indexOf('/')
  const names = { saga: id.slice(0, slash), key: id.slice(slash + 1) }
  const definition = definitions.find(({ name }) => name === names.saga)
  try {
    if (definition === undefined) throw new TypeError(`there is no definition of the saga ${names.saga}`)
    const outputs = await definition.continue(names.key, { journal })
    return { ...names, outcome: 'committed', outputs }
  } catch (error) {
    if (error instanceof SagaStuck) return { ...names, outcome: 'stuck', error }
    if ((error as SagaError).code === 'saga-rolled-back') {
      return { ...names, outcome: 'rolled-back', error: error as SagaRolledBack }
    }
    return { ...names, outcome: 'not-continued', error: error as Error }
  }
}
