/** Every error of tidegate, with a code that does not change between releases. */

import type { FaultCode, RejectionCode } from './generated.js'

/** What every error of tidegate is. */
export class TidegateError extends Error {
  /** Which error it is. Stable, for programs; the message is for people. */
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/** One fault of a config. */
export interface Fault {
  /** Its kind. */
  readonly code: FaultCode
  /** Which field, as a path (`backoff.cap`). */
  readonly field: string
  /** What is wrong with which value, and what to do about it. */
  readonly message: string
}

/** The config cannot work. Code `bad-config`. */
export class ConfigError extends TidegateError {
  /** Everything that is wrong with it. */
  readonly faults: readonly Fault[]

  constructor(what: string, faults: readonly Fault[]) {
    const list = faults.map(({ field, message }) => `\n  ${field} ${message}`)
    super('bad-config', `the config of ${what} cannot work:${list.join('')}`)
    this.faults = faults
  }
}

/** A typed "no": what the host asked for is impossible, and nothing has changed. */
export interface Rejection {
  /** What was wrong. */
  readonly code: RejectionCode
  /** The type of the input that was refused. */
  readonly input: string
  /** The state that the machine was (and still is) in. */
  readonly state: string
}

/** A machine refused an input. The code is that of the {@link Rejection}. */
export class RejectedError extends TidegateError implements Rejection {
  declare readonly code: RejectionCode
  /** The machine. */
  readonly machine: string
  /** The type of the input. */
  readonly input: string
  /** The state that the machine was (and still is) in. */
  readonly state: string

  constructor(machine: string, rejection: Rejection) {
    super(rejection.code, `${machine}: ${sentence(rejection)}`)
    this.machine = machine
    this.input = rejection.input
    this.state = rejection.state
  }
}

function sentence({ code, input, state }: Rejection): string {
  switch (code) {
    case 'time-out-of-range':
      return 'the time is beyond 2^53 - 1 milliseconds'
    case 'impossible-now':
      return `input \`${input}\` is impossible in state \`${state}\``
    case 'never-issued':
      return `input \`${input}\` names an operation or a connection that was never issued`
    case 'value-out-of-range':
      return `a number of input \`${input}\` is out of range`
  }
}

/** An input, a config or a snapshot is malformed: of the wrong shape, not only of the wrong value. Code `malformed`. */
export class MalformedError extends TidegateError {
  constructor(message: string, options?: ErrorOptions) {
    super('malformed', message, options)
  }
}

/** A bug of tidegate. The machine that met it refuses further use. Code `bug`. */
export class BugError extends TidegateError {
  constructor(message: string, options?: ErrorOptions) {
    super('bug', message, options)
  }
}

/** The native part is missing or does not fit. Code `no-native-part` or `version-mismatch`. */
export class NativeError extends TidegateError {}
