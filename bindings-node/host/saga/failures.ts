/** What went wrong in a saga: the error of every attempt, whoever met it. */

import type { SagaConfig } from '../generated.js'
import { StepTimeout, type UndoFailure } from './errors.js'

/** What an attempt was for. */
export type Direction = 'do' | UndoFailure['direction']

/** Tells a call that it is out of time. */
export type TellLate = (direction: Direction, step: string, attempt: number, error: Error) => void

/** The errors of a saga's attempts. Each keeps the first one. */
export class Failures {
  /** Those of undos and fallbacks, in order. */
  readonly undoErrors: UndoFailure[] = []
  readonly #steps: SagaConfig['steps']
  readonly #tellLate: TellLate
  readonly #doErrors = new Map<string, unknown>()
  /** What was last begun to take a step back. */
  readonly #directions = new Map<string, UndoFailure['direction']>()

  constructor(steps: SagaConfig['steps'], tellLate: TellLate) {
    this.#steps = steps
    this.#tellLate = tellLate
  }

  /** An attempt to do a step failed, or is open; what comes later replaces that it is `open`. */
  addDo(step: string, attempt: number, error: unknown, open = false): void {
    const key = `${attempt} ${step}`
    const found = this.#doErrors.get(key)
    if (found instanceof Open || !this.#doErrors.has(key)) {
      this.#doErrors.set(key, open ? new Open(error) : error)
    }
  }

  /** The error of an attempt to do a step. Without one, the machine gave it up before the function did. */
  ofDo(step: string, attempt: number): unknown {
    const key = `${attempt} ${step}`
    if (!this.#doErrors.has(key)) {
      const error = new StepTimeout('do', step, this.#stepOf(step)?.limit ?? DEFAULT_LIMIT)
      this.#doErrors.set(key, error)
      this.#tellLate('do', step, attempt, error)
    }
    const found = this.#doErrors.get(key)
    return found instanceof Open ? found.error : found
  }

  /** An undo or a fallback begins. */
  begin(step: string, direction: UndoFailure['direction']): void {
    this.#directions.set(step, direction)
  }

  /** It failed. */
  addUndo(step: string, attempt: number, error: unknown): UndoFailure {
    const found = this.undoErrors.find((failure) => failure.step === step && failure.attempt === attempt)
    if (found !== undefined) return found
    const failure = { step, direction: this.#directions.get(step) ?? 'undo', attempt, error }
    this.undoErrors.push(failure)
    return failure
  }

  /** Its error. Without one, the machine gave it up before the function did. */
  ofUndo(step: string, attempt: number): unknown {
    const direction = this.#directions.get(step) ?? 'undo'
    const late = new StepTimeout(direction, step, this.#stepOf(step)?.undoLimit ?? DEFAULT_LIMIT)
    const { error } = this.addUndo(step, attempt, late)
    if (error === late) this.#tellLate(direction, step, attempt, late)
    return error
  }

  #stepOf(step: string): { limit?: number | undefined; undoLimit?: number | undefined } | undefined {
    return this.#steps?.find(({ name }) => name === step)
  }
}

/** The core's default, of dos and undos. Milliseconds. */
const DEFAULT_LIMIT = 10_000

/** An error that stands until the attempt has an outcome. */
class Open {
  readonly error: unknown

  constructor(error: unknown) {
    this.error = error
  }
}
