/** The steps of a saga, as an application writes them, and as the core takes them. */

import { type Duration, milliseconds } from '../duration.js'
import type { Fault } from '../errors.js'
import type { SagaCause, SagaConfig, SagaStep } from '../generated.js'
import type { BackoffOptions } from '../tunnel/options.js'

/** What every function of a step is given. */
export interface StepCall<Input, Outputs> {
  /** What the saga was started with. As JSON has it, once it was recovered from a journal. */
  readonly input: Input
  /** What the steps before this one have answered. As JSON has it, once it was recovered from a journal. */
  readonly outputs: Outputs
  /** The saga's own id: the definition's name and the key of the run. */
  readonly id: string
  /**
   * The idempotency key of this call: the saga's id, the step and the direction. The same for every attempt (G3), so
   * that the resource can tell a repetition from another wish.
   */
  readonly key: string
  /** Counted from 1. */
  readonly attempt: number
  /** Fires when the call's time is over, and, for `run` only, when its effect is not wanted any more. */
  readonly signal: AbortSignal
}

/** What an undo, a fallback and a probe are given. */
export interface UndoCall<Input, Outputs, Output> extends StepCall<Input, Outputs> {
  /** What the step answered; none when it gave no answer: it may have had its effect all the same. */
  readonly output: Output | undefined
  /** Why the saga is undone: a step, or a cancel. None for a probe that is made before that. */
  readonly because: Because | undefined
}

/** Why a saga is undone. */
export interface Because {
  readonly reason: SagaCause
  /** The step that failed, if one did. */
  readonly step: string | undefined
}

/** A step. Durations are milliseconds or texts such as `'5s'`. */
export interface SagaStepOptions<
  Input,
  Outputs,
  Output,
  After extends readonly string[] | undefined = readonly string[] | undefined,
> {
  /**
   * Does it. What it answers must be JSON, and no secret: it is written to the journal. What it throws means
   * *unknown*, so it is undone; only a {@link NotDone} says that there certainly was no effect.
   */
  readonly run: (call: StepCall<Input, Outputs>) => Output | Promise<Output>
  /**
   * Makes sure that its effect is gone, whether the step ever had one or not: work from `output` and the saga's own
   * id, never from what looks like the current one. Called again it looks again. Without an undo, the step leaves
   * nothing behind, or comes after the pivot.
   */
  readonly undo?: ((call: UndoCall<Input, Outputs, Output>) => unknown) | undefined
  /** Whether its effect is there. Changes nothing. Asked after each undo, as an undo that says it worked may not have. */
  readonly verify?: ((call: UndoCall<Input, Outputs, Output>) => boolean | Promise<boolean>) | undefined
  /** Makes its effect safe instead of undoing it, when what `undoRequires` names is not gone. */
  readonly fallback?: ((call: UndoCall<Input, Outputs, Output>) => unknown) | undefined
  /** How long an attempt may take; then its outcome is unknown. Default 10 s. */
  readonly timeout?: Duration | undefined
  /** How often it is tried again: after `NotDone`, and after anything else if it is `idempotent`. Default 0. */
  readonly retries?: number | undefined
  /** The pauses between attempts, those of undos and probes too. */
  readonly backoff?: BackoffOptions | undefined
  /** Whether `key` makes a second attempt safe when nobody knows what the first one did. Default false. */
  readonly idempotent?: boolean | undefined
  /** The steps that it waits for. Default: the one declared before it. `[]`: none. */
  readonly after?: After
  /** Whether there is only forward once it is done; it has no undo then. Default false. */
  readonly pivot?: boolean | undefined
  /** Whether the resource refuses a do that arrives after its undo (G3). Default false. */
  readonly fenced?: boolean | undefined
  /** How long after its timeout it may still have its effect, where that is known; needs `verify` (G3). */
  readonly latenessBound?: Duration | undefined
  /** How long an undo or a fallback may take. Default 10 s. */
  readonly undoTimeout?: Duration | undefined
  /** How often an undo, a fallback and a probe are tried again. Default 3. */
  readonly undoRetries?: number | undefined
  /** How long a probe may take. Default 5 s. */
  readonly verifyTimeout?: Duration | undefined
  /** The steps whose effects must be gone before this one is undone; else its fallback is taken (G6). */
  readonly undoRequires?: readonly string[] | undefined
}

/** A step whose types have been checked. */
export type AnyStep = SagaStepOptions<unknown, Record<string, unknown>, unknown>

/** A step and its name. */
export interface NamedStep {
  readonly name: string
  readonly after: readonly string[]
  readonly options: AnyStep
}

/** How a saga as a whole behaves. */
export interface SagaOptions {
  /** How long a rollback may take; then what is left is reported (G7). Default 5 min. */
  readonly rollbackDeadline?: Duration | undefined
  /** How long it may take to make a record durable; then the saga halts (G4). Default 5 s. */
  readonly journalTimeout?: Duration | undefined
}

/** The config of the core's machine; what is no duration is added to `faults`. */
export function configOf(steps: readonly NamedStep[], options: SagaOptions, faults: Fault[]): SagaConfig {
  const read = (field: string, duration: Duration | undefined): number | undefined => {
    if (duration === undefined) return undefined
    try {
      return milliseconds(duration)
    } catch (error) {
      faults.push({ code: 'out-of-range', field, message: (error as Error).message })
      return 0
    }
  }
  const config = {
    steps: steps.map((step, index) => stepOf(step, (field, value) => read(`steps.${index}.${field}`, value))),
    rollbackDeadline: read('rollbackDeadline', options.rollbackDeadline),
    appendLimit: read('journalTimeout', options.journalTimeout),
  }
  return defined(config)
}

/** What options are called here, by the name of the core's field. */
const WRITTEN: Record<string, string> = {
  limit: 'timeout',
  lateness: 'latenessBound',
  undoLimit: 'undoTimeout',
  verifyLimit: 'verifyTimeout',
  appendLimit: 'journalTimeout',
  compensation: 'pivot',
}

/** A fault of the core's config, as one of the options. */
export function asWritten({ field, ...fault }: Fault): Fault {
  return { ...fault, field: field.replace(/[^.]+$/, (name) => WRITTEN[name] ?? name) }
}

function stepOf(
  { name, after, options }: NamedStep,
  read: (field: string, duration: Duration | undefined) => number | undefined,
): SagaStep {
  const { backoff, undo } = options
  const { initial, cap, floor, hintMax, ...rest } = backoff ?? {}
  const durations = Object.entries({ initial, cap, floor, hintMax }).map(([field, value]) => {
    return [field, read(`backoff.${field}`, value)]
  })
  const step = {
    name,
    after,
    compensation: options.pivot ? 'pivot' : undo === undefined ? 'nothing' : 'undo',
    retries: options.retries,
    backoff: backoff && defined({ ...rest, ...Object.fromEntries(durations) }),
    limit: read('timeout', options.timeout),
    idempotent: options.idempotent,
    fenced: options.fenced,
    verify: options.verify !== undefined,
    verifyLimit: read('verifyTimeout', options.verifyTimeout),
    lateness: read('latenessBound', options.latenessBound),
    undoRetries: options.undoRetries,
    undoLimit: read('undoTimeout', options.undoTimeout),
    undoRequires: options.undoRequires,
    fallback: options.fallback !== undefined,
  } as const
  return defined(step)
}

/** Without the fields that are not set, so that they take the core's defaults. */
function defined<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T
}
