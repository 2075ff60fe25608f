/**
 * One saga under way: asks the core's machine what to do next, does it, and tells it what came of it.
 *
 * The decisions are the machine's; here are the calls of the steps' functions, the records' payloads and the errors.
 */

import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { RejectedError } from '../errors.js'
import {
  type SagaCause,
  type SagaConfig,
  type SagaEffect,
  type SagaInput,
  sagaCauseValues,
} from '../generated.js'
import { type Explanation, Machine } from '../machine.js'
import {
  type Leak,
  NotDone,
  type SagaEnd,
  type SagaFailure,
  SagaFenced,
  SagaHalted,
  SagaNotStuck,
  SagaRefused,
  SagaRolledBack,
  SagaStuck,
  SagaUnderWay,
  StepInterrupted,
  StepTimeout,
} from './errors.js'
import type { SagaEvents, SagaReporter } from './events.js'
import { Failures } from './failures.js'
import {
  frameOf,
  type JournalAppend,
  JournalFenced,
  JournalRefused,
  type JournalWriter,
  type ReadJournal,
  type ReadRecord,
  type SagaJournal,
  type SagaJournalFault,
  standingAfter,
} from './journal.js'
import { decodeError, decodeValue, encodeError, encodeValue } from './payload.js'
import type { Because, NamedStep, UndoCall } from './step.js'

/** What is needed of a definition. */
export interface Definition {
  readonly name: string
  readonly steps: readonly NamedStep[]
  readonly config: SagaConfig
  readonly report: SagaReporter
}

/** What is written beside the first record. */
export interface Beginning {
  readonly saga: string
  readonly key: string
  readonly input: unknown
  /** Makes the first record of each run another one. */
  readonly run: string
}

type Outputs = Record<string, unknown>
type EffectOf<Type extends SagaEffect['type']> = Extract<SagaEffect, { type: Type }>
type Call = EffectOf<'do' | 'undo' | 'fall-back' | 'verify'>
type Action = Extract<SagaInput, { type: 'retry' | 'resolve' }>

/** The sagas that this process has under way, so that it does not take them over from itself. */
const underWay = new WeakMap<SagaJournal, Map<string, Execution>>()

const FIRST_PAUSE = 20
const LONGEST_PAUSE = 500

/** One saga under way. */
export class Execution {
  /** The outputs once it is committed; any other end is an error. */
  readonly result: Promise<Outputs>
  /** `name/key`. */
  readonly id: string
  readonly #definition: Definition
  readonly #key: string
  readonly #journal: SagaJournal
  readonly #machine: Machine<'saga'>
  readonly #outputs: Outputs = {}
  readonly #failures: Failures
  readonly #fellBack: string[] = []
  /** The calls that are under way, by operation. */
  readonly #calls = new Map<number, { readonly effect: Call; readonly controller: AbortController }>()
  #resolve: (outputs: Outputs) => void = () => {}
  #reject: (error: Error) => void = () => {}
  #writer: JournalWriter | undefined
  #beginning: Beginning | undefined
  #cancelled: unknown
  #because: Because | undefined
  #leaked: Leak[] = []
  #journalError: unknown
  /** Whether a saga with this key was there before this one began. */
  #wasThere = false
  /** What an operator wants, until the journal was read. */
  #action: Action | undefined
  #over = false

  constructor(definition: Definition, key: string, journal: SagaJournal) {
    this.id = `${definition.name}/${key}`
    this.#definition = definition
    this.#key = key
    this.#journal = journal
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#failures = new Failures(definition.config.steps, (direction, step, attempt, error) => {
      for (const { effect, controller } of this.#calls.values()) {
        if (effect.type !== direction || this.#nameOf(effect.step) !== step) continue
        if (effect.attempt === attempt) controller.abort(error)
      }
    })
    this.#machine = new Machine('saga', {
      config: definition.config,
      perform: (effect) => this.#perform(effect),
    })
  }

  /** Whether this process has the saga under way. */
  static isUnderWay(journal: SagaJournal, id: string): boolean {
    return underWay.get(journal)?.has(id) ?? false
  }

  /** Begins it. */
  start(input: unknown, signal: AbortSignal | undefined): void {
    this.#beginning = {
      saga: this.#definition.name,
      key: this.#key,
      input,
      run: crypto.randomUUID(),
    }
    // What cannot be written down must fail before anything is done.
    encodeValue('the input', this.#beginning)
    const cancel = () => this.#cancel(signal?.reason)
    if (signal !== undefined) {
      // As many sagas as there are may share one.
      setMaxListeners(0, signal)
      signal.addEventListener('abort', cancel, { once: true })
    }
    const forget = () => signal?.removeEventListener('abort', cancel)
    this.result.then(forget, forget)
    this.#enter()
    this.#machine.send({ type: 'start' })
  }

  /** Goes on from a journal: as its executor, or without a writer to see how it ended. */
  continue(read: ReadJournal, writer: JournalWriter | undefined, action?: Action): void {
    this.#writer = writer
    this.#action = action
    this.#enter()
    try {
      for (const record of read.records) {
        this.#remember(record)
        const { sequence, kind, step, attempt, value } = record
        this.#machine.send({ type: 'replay', sequence, kind, step, attempt, value })
        if (this.#over) return
      }
      if (read.records.length === 0) throw new JournalRefused(this.id, 'gap', 1, 'it has no records')
      this.#machine.send({ type: 'recovered', torn: read.torn })
    } catch (error) {
      this.#end(new SagaRefused(this.#names, error as Error))
    }
  }

  /** Why it is where it is. */
  explain(): Explanation {
    return this.#machine.explain()
  }

  get #names(): { saga: string; key: string } {
    return { saga: this.#definition.name, key: this.#key }
  }

  #enter(): void {
    const sagas = underWay.get(this.#journal) ?? new Map<string, Execution>()
    underWay.set(this.#journal, sagas)
    if (!sagas.has(this.id)) sagas.set(this.id, this)
  }

  #cancel(reason: unknown): void {
    this.#cancelled = reason
    this.#machine.offer({ type: 'cancel' })
  }

  #perform(effect: SagaEffect): void {
    switch (effect.type) {
      case 'append':
        void this.#append(effect)
        break
      case 'do':
      case 'undo':
      case 'fall-back':
      case 'verify':
        void this.#call(effect)
        break
      case 'abort':
        this.#calls.get(effect.operation)?.controller.abort(this.#abortReason())
        break
      case 'recovered':
        this.#report('recovered', { records: effect.sequence, torn: effect.torn })
        break
      case 'unwinding': {
        const failure = this.#failure(effect)
        this.#because = { reason: failure.reason, step: failure.step }
        this.#report('unwinding', failure)
        break
      }
      case 'fell-back':
        this.#fellBack.push(this.#nameOf(effect.step))
        this.#report('fellBack', { step: this.#nameOf(effect.step) })
        break
      case 'leaked': {
        const step = this.#nameOf(effect.step)
        const leak = { step, reason: effect.reason, output: this.#outputs[step] }
        this.#leaked.push(leak)
        break
      }
      case 'committed':
        if (this.#action !== undefined) this.#end(new SagaNotStuck(this.#names, 'committed'))
        else this.#end(undefined)
        break
      case 'rolled-back':
        if (this.#action !== undefined) this.#end(new SagaNotStuck(this.#names, 'rolled back'))
        else this.#end(new SagaRolledBack(this.#failure(effect)))
        break
      case 'stuck':
        this.#stuck(effect)
        break
      case 'halted':
        this.#end(new SagaHalted(this.#names, effect.sequence, this.#journalError))
        break
      case 'fenced':
        this.#end(this.#wasThere ? new SagaUnderWay(this.#names) : new SagaFenced(this.#names))
        break
      case 'refused': {
        const cause = new JournalRefused(this.id, effect.fault, effect.sequence, refusal(effect))
        this.#end(new SagaRefused(this.#names, cause))
        break
      }
    }
  }

  #stuck(effect: EffectOf<'stuck'>): void {
    const action = this.#action
    if (action === undefined) {
      for (const leak of this.#leaked) this.#report('leaked', leak)
      this.#end(new SagaStuck(this.#failure(effect), this.#leaked, { ...this.#outputs }))
      return
    }
    // That is how it was; now the operator's wish.
    this.#action = undefined
    this.#leaked = []
    const rejection = this.#machine.offer(action)
    if (rejection !== undefined) this.#end(new RejectedError('saga', rejection))
  }

  #end(error: Error | undefined): void {
    if (this.#over) return
    this.#over = true
    const sagas = underWay.get(this.#journal)
    if (sagas?.get(this.id) === this) sagas.delete(this.id)
    this.#machine.close()
    for (const { controller } of this.#calls.values()) controller.abort(error)
    const closed = this.#writer?.close() ?? Promise.resolve()
    const settle = () => {
      if (error === undefined) {
        this.#report('committed', {})
        this.#resolve(this.#outputs)
      } else {
        if (error instanceof SagaRolledBack) this.#report('rolledBack', { error })
        else if (error instanceof SagaStuck) this.#report('stuck', { error })
        else if (!(error instanceof SagaUnderWay)) this.#report('stopped', { error })
        this.#reject(error)
      }
    }
    closed.then(settle, settle)
  }

  // --- the journal ---

  async #append(effect: EffectOf<'append'>): Promise<void> {
    const { operation, sequence, kind } = effect
    const record = { sequence, frame: frameOf(effect, this.#payload(effect)), standing: standingAfter(kind) }
    const end = performance.now() + effect.limit
    for (let pause = FIRST_PAUSE; !this.#over; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      try {
        if (this.#writer === undefined) await this.#begin(record)
        else await this.#writer.append(record)
        this.#machine.offer({ type: this.#wasThere ? 'fenced' : 'done', operation })
        return
      } catch (error) {
        if (error instanceof JournalFenced) {
          this.#machine.offer({ type: 'fenced', operation })
          return
        }
        this.#journalError = error
        // The same record again is harmless, so a journal that is away for a moment costs only that moment.
        if (performance.now() + pause >= end) break
        await delay(pause)
      }
    }
    this.#machine.offer({ type: 'failed', operation })
  }

  async #begin(record: JournalAppend): Promise<void> {
    if (record.sequence > 1) throw new JournalFenced(this.id)
    const writer = await this.#journal.begin(this.id, record)
    this.#wasThere = writer === undefined
    if (this.#over) await writer?.close()
    else this.#writer = writer
  }

  /** What the host adds to a record. */
  #payload({ kind, step, attempt }: EffectOf<'append'>): Uint8Array {
    const name = this.#nameOf(step ?? -1)
    switch (kind) {
      case 'started':
        return encodeValue('the input', this.#beginning)
      case 'done':
        return encodeValue(name, this.#outputs[name])
      case 'failed':
      case 'unknown':
        return encodeError(this.#failures.ofDo(name, attempt))
      case 'undo-failed':
        return encodeError(this.#failures.ofUndo(name, attempt))
      case 'unwinding':
        return step === null ? encodeError(this.#abortReason()) : encodeValue('nothing', undefined)
      default:
        return encodeValue('nothing', undefined)
    }
  }

  /** Takes what was added to a record. */
  #remember({ kind, step, attempt, value, payload }: ReadRecord): void {
    const name = this.#nameOf(step ?? -1)
    switch (kind) {
      case 'started': {
        const beginning = decodeValue(payload) as Beginning
        if (beginning?.saga !== this.#definition.name || beginning.key !== this.#key) {
          const message = `it is the one of ${beginning?.saga}/${beginning?.key}`
          throw new JournalRefused(this.id, 'other-saga', 1, message)
        }
        this.#beginning = beginning
        break
      }
      case 'intent':
        this.#failures.addDo(name, attempt, new StepInterrupted(name), true)
        break
      case 'done':
        this.#outputs[name] = decodeValue(payload)
        break
      case 'failed':
      case 'unknown':
        this.#failures.addDo(name, attempt, decodeError(payload))
        break
      case 'fallback-intent':
      case 'undo-intent':
        this.#failures.begin(name, kind === 'undo-intent' ? 'undo' : 'fall-back')
        break
      case 'undo-failed':
        this.#failures.addUndo(name, attempt, decodeError(payload))
        break
      case 'fell-back':
        this.#fellBack.push(name)
        break
      case 'unwinding':
        this.#because = {
          reason: sagaCauseValues[value] as SagaCause,
          step: step === null ? undefined : name,
        }
        if (step === null) this.#cancelled = decodeError(payload)
        break
    }
  }

  // --- the steps' functions ---

  async #call(effect: Call): Promise<void> {
    const { operation, limit } = effect
    const controller = new AbortController()
    this.#calls.set(operation, { effect, controller })
    const name = this.#nameOf(effect.step)
    let timer: NodeJS.Timeout | undefined
    // A moment before the machine gives it up, so that the function hears why.
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => {
          const error = new StepTimeout(effect.type, name, limit)
          reject(error)
          controller.abort(error)
        },
        Math.max(limit - 1, 1),
      )
    })
    let answer: SagaInput
    try {
      const value = await Promise.race([this.#run(effect, controller.signal), late])
      answer = this.#succeeded(effect, name, value)
    } catch (error) {
      answer = this.#failed(effect, name, error)
    }
    clearTimeout(timer)
    this.#calls.delete(operation)
    if (!this.#over) this.#machine.offer(answer)
  }

  async #run(effect: Call, signal: AbortSignal): Promise<unknown> {
    const { name, options } = this.#definition.steps[effect.step] as NamedStep
    const direction = effect.type === 'verify' ? 'do' : effect.type
    if (direction !== 'do') this.#failures.begin(name, direction)
    const call: UndoCall<unknown, Outputs, unknown> = {
      input: this.#beginning?.input,
      outputs: { ...this.#outputs },
      output: this.#outputs[name],
      because: this.#because,
      id: this.id,
      key: `${this.id}/${name}/${direction}`,
      attempt: effect.type === 'verify' ? 1 : effect.attempt,
      signal,
    }
    switch (effect.type) {
      case 'do':
        return await options.run(call)
      case 'undo':
        return await options.undo?.(call)
      case 'fall-back':
        return await options.fallback?.(call)
      case 'verify':
        return await options.verify?.(call)
    }
  }

  #succeeded({ type, operation }: Call, name: string, value: unknown): SagaInput {
    if (type === 'verify') return { type: value ? 'present' : 'absent', operation }
    if (type === 'do') {
      // As it would come back from the journal, so that a recovered saga meets nothing else than this one.
      this.#outputs[name] = decodeValue(encodeValue(`what \`${name}\` answered`, value))
    }
    return { type: 'done', operation }
  }

  #failed(effect: Call, name: string, error: unknown): SagaInput {
    const { type, operation } = effect
    const certain = error instanceof NotDone
    if (type === 'do') {
      this.#failures.addDo(name, effect.attempt, error)
      this.#report('stepFailed', { step: name, attempt: effect.attempt, certain, error })
    } else if (type !== 'verify') {
      this.#report('undoFailed', this.#failures.addUndo(name, effect.attempt, error))
    }
    return { type: certain && type !== 'verify' ? 'failed' : 'unknown', operation }
  }

  // --- errors ---

  #failure(effect: EffectOf<'unwinding' | 'rolled-back' | 'stuck'>): SagaFailure {
    const step = effect.step === null ? undefined : this.#nameOf(effect.step)
    return {
      ...this.#names,
      reason: effect.cause,
      step,
      cause: step === undefined ? this.#cancelled : this.#failures.ofDo(step, effect.attempt),
      undoErrors: this.#failures.undoErrors,
      fellBack: this.#fellBack,
    }
  }

  #abortReason(): unknown {
    return this.#cancelled ?? new Error('the saga is undone')
  }

  #nameOf(step: number): string {
    return this.#definition.steps[step]?.name ?? ''
  }

  #report<Event extends keyof SagaEvents>(
    event: Event,
    fields: Omit<SagaEvents[Event][0], keyof SagaEnd>,
  ): void {
    this.#definition.report(event, { ...this.#names, ...fields } as SagaEvents[Event][0])
  }
}

function refusal({ sequence, fault }: { sequence: number; fault: SagaJournalFault }): string {
  switch (fault) {
    case 'gap':
      return `record ${sequence} is missing, repeated or out of order`
    case 'other-definition':
      return 'it is the journal of another graph of steps'
    default:
      return `record ${sequence} says what no saga could have done`
  }
}
