/** How a saga ends when it does not commit, as errors with everything that is known about it. */

import { TidegateError } from '../errors.js'
import type { LeakReason, SagaCause } from '../generated.js'

/**
 * Thrown by a step: it certainly had no effect. It is not undone then, and it may be tried again. Everything else that
 * a step throws means *unknown*: it may have had its effect, so it is undone. Code `not-done`.
 */
export class NotDone extends TidegateError {
  constructor(message: string, options?: ErrorOptions) {
    super('not-done', message, options)
  }
}

/** A step gave no answer within its limit; nobody knows what it did. Code `step-timeout`. */
export class StepTimeout extends TidegateError {
  readonly step: string
  /** Milliseconds. */
  readonly limit: number

  constructor(what: string, step: string, limit: number) {
    super('step-timeout', `${what} of \`${step}\` gave no answer within ${limit} ms`)
    this.step = step
    this.limit = limit
  }
}

/** A process ended while the step was under way; nobody knows what it did. Code `step-interrupted`. */
export class StepInterrupted extends TidegateError {
  readonly step: string

  constructor(step: string) {
    super('step-interrupted', `the process ended while \`${step}\` was under way`)
    this.step = step
  }
}

/** An error that an earlier process wrote down: what is left of it in the journal. */
export class RecordedError extends Error {
  /** Its code, if it had one. */
  readonly code: string | number | undefined

  constructor(name: string, message: string, code: string | number | undefined, options?: ErrorOptions) {
    super(message, options)
    this.name = name
    this.code = code
  }
}

/** An undo, or the fallback in its place, that failed. */
export interface UndoFailure {
  readonly step: string
  readonly direction: 'undo' | 'fall-back'
  /** Counted from 1, fallbacks included. */
  readonly attempt: number
  readonly error: unknown
}

/** Something that a saga left behind. */
export interface Leak {
  /** The step whose effect it is. */
  readonly step: string
  readonly reason: LeakReason
  /** What the step answered: the resource. None when it gave no answer. */
  readonly output: unknown
}

/** What is known about every end of a saga. */
export interface SagaEnd {
  /** The definition's name. */
  readonly saga: string
  readonly key: string
}

/** A saga that did not commit. */
export abstract class SagaError extends TidegateError implements SagaEnd {
  readonly saga: string
  readonly key: string

  constructor(code: string, { saga, key }: SagaEnd, message: string, options?: ErrorOptions) {
    super(code, `${saga}/${key}: ${message}`, options)
    this.saga = saga
    this.key = key
  }
}

/** Why a saga went back, and what it met on its way. */
export interface SagaFailure extends SagaEnd {
  /** Why it was not committed. */
  readonly reason: SagaCause
  /** The step that failed, if one did. */
  readonly step: string | undefined
  /** What that step threw, unchanged, or the reason of the abort. */
  readonly cause: unknown
  /** Every undo that failed, those that were tried again with success included. */
  readonly undoErrors: readonly UndoFailure[]
  /** The steps that were made safe instead of undone (G6). */
  readonly fellBack: readonly string[]
}

/**
 * It did not commit, and everything that it did is undone. The error of the step is its `cause`, unchanged. Code
 * `saga-rolled-back`.
 */
export class SagaRolledBack extends SagaError implements SagaFailure {
  declare readonly cause: unknown
  readonly reason: SagaCause
  readonly step: string | undefined
  readonly undoErrors: readonly UndoFailure[]
  readonly fellBack: readonly string[]

  constructor(failure: SagaFailure) {
    const safe = failure.fellBack.length > 0 ? `; ${list(failure.fellBack)} took the fallback` : ''
    const message = `${because(failure)}, and everything was undone${safe}`
    super('saga-rolled-back', failure, message, { cause: failure.cause })
    this.reason = failure.reason
    this.step = failure.step
    this.undoErrors = failure.undoErrors
    this.fellBack = failure.fellBack
  }
}

/**
 * It did not commit, and not everything could be undone: an operator is needed. Names what is left. Code `saga-stuck`.
 */
export class SagaStuck extends SagaError implements SagaFailure {
  declare readonly cause: unknown
  readonly reason: SagaCause
  readonly step: string | undefined
  readonly undoErrors: readonly UndoFailure[]
  readonly fellBack: readonly string[]
  /** What is left behind: all of it, and nothing else. */
  readonly leaked: readonly Leak[]
  /** What its steps answered, by name: where what is left is to be found. */
  readonly outputs: Readonly<Record<string, unknown>>

  constructor(
    failure: SagaFailure,
    leaked: readonly Leak[],
    outputs: Readonly<Record<string, unknown>> = {},
  ) {
    const left = leaked.map(({ step, reason }) => `\`${step}\` (${reason})`).join(', ')
    const what = left === '' ? 'it cannot go on' : `this is left behind: ${left}`
    super('saga-stuck', failure, `${because(failure)}, and ${what}`, { cause: failure.cause })
    this.reason = failure.reason
    this.step = failure.step
    this.undoErrors = failure.undoErrors
    this.fellBack = failure.fellBack
    this.leaked = leaked
    this.outputs = outputs
  }
}

/**
 * Its journal failed, so nothing new was begun (G4); `recover` continues it from what is durable. The journal's error
 * is the `cause`. Code `saga-halted`.
 */
export class SagaHalted extends SagaError {
  constructor(end: SagaEnd, sequence: number, cause: unknown) {
    super('saga-halted', end, `record ${sequence} of its journal could not be made durable`, { cause })
  }
}

/** Another executor has taken it over, and continues it (G9). Code `saga-fenced`. */
export class SagaFenced extends SagaError {
  constructor(end: SagaEnd) {
    super('saga-fenced', end, 'another executor has taken it over')
  }
}

/**
 * There is one with this key that has not ended: it is under way, or its process died and `recover` has not continued
 * it yet. Code `saga-under-way`.
 */
export class SagaUnderWay extends SagaError {
  constructor(end: SagaEnd) {
    super('saga-under-way', end, 'it has not ended; it is under way, or waits for recovery')
  }
}

/** There is one with this key that was begun with another input. Code `saga-key-reused`. */
export class SagaKeyReused extends SagaError {
  constructor(end: SagaEnd) {
    super('saga-key-reused', end, 'it was begun with another input')
  }
}

/** Its journal is damaged, or not one of this definition; it is left as it is (G8). Code `saga-refused`. */
export class SagaRefused extends SagaError {
  constructor(end: SagaEnd, cause: Error) {
    super('saga-refused', end, cause.message, { cause })
  }
}

/** There is none with this key. Code `saga-unknown`. */
export class SagaUnknown extends SagaError {
  constructor(end: SagaEnd) {
    super('saga-unknown', end, 'its journal has no such saga')
  }
}

/** It is not stuck: there is nothing for an operator to do. Code `saga-not-stuck`. */
export class SagaNotStuck extends SagaError {
  constructor(end: SagaEnd, standing: string) {
    super('saga-not-stuck', end, `an operator settles what is stuck, and this is ${standing}`)
  }
}

function list(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ')
}

function because({ reason, step, cause }: SagaFailure): string {
  const said = cause instanceof Error ? ` (${cause.message})` : ''
  if (reason === 'cancelled') return `it was cancelled${said}`
  return `\`${step}\` ${reason === 'step-failed' ? 'failed' : 'ended unknown'}${said}`
}
