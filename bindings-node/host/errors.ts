/** Every error of tidegate, with a code that does not change between releases. */

import type { FaultCode, GiveUpCause, RejectionCode, RollbackCause, UpgradeRefusal } from './generated.js'

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

/** Why there was no upgrade, beyond what the core decides. */
export type UpgradeObstacle =
  /** The process does not serve yet. */
  | 'starting'
  /** The process listens on nothing that could be handed over; or handing over is switched off. */
  | 'nothing-to-hand-over'
  /** The process is PID 1: the container would end with it. */
  | 'pid-1'
  /** The process is watched by its id, by something that would start another one. */
  | 'watched-pid'

/** How an upgrade failed. */
export interface UpgradeFailure {
  /** What it was: the message of a failed spawn, the reason of a refusal, how the successor ended. */
  readonly detail?: string | undefined
  /** The process id of the successor, if it had one. */
  readonly pid?: number | undefined
  /** What was thrown. */
  readonly cause?: unknown
}

/**
 * The process was not replaced, and serves on unchanged. The code names the cause. When it was `refused`, nothing was
 * started; otherwise the successor was ended and everything taken back.
 */
export class UpgradeError extends TidegateError {
  declare readonly code: UpgradeRefusal | RollbackCause | UpgradeObstacle
  readonly refused: boolean
  /** The process id of the successor that failed. */
  readonly pid: number | undefined

  constructor(
    code: UpgradeRefusal | RollbackCause | UpgradeObstacle,
    refused: boolean,
    { detail, pid, cause }: UpgradeFailure = {},
  ) {
    const what = refused ? 'no upgrade' : 'the upgrade was rolled back'
    const why = `${UPGRADE_REASONS[code]}${detail ? ` (${detail})` : ''}`
    super(code, `${what}: ${why}`, cause === undefined ? undefined : { cause })
    this.refused = refused
    this.pid = pid
  }
}

const UPGRADE_REASONS: Record<UpgradeError['code'], string> = {
  'in-flight': 'another one is in flight',
  'older-draining': 'an older generation still drains',
  'queue-limit': 'an older generation still drained when the time in the queue was over',
  cancelled: 'it was cancelled',
  stopping: 'the process was told to stop',
  replaced: 'the process has been replaced already',
  starting: 'the process does not serve yet',
  'nothing-to-hand-over': 'the process has no listener; add them by life.listen(…)',
  'pid-1':
    'this process is PID 1, and what ends with it ends the container; let an entrypoint that stays hold the sockets and start this program as its child',
  'watched-pid':
    'this process is watched by its id, by something that would start it again beside its successor; let the watcher itself hold the sockets (systemd: Type=notify), or set `handoff.watched` to false if it looks on',
  'spawn-failed': 'the successor could not be started',
  'spawn-limit': 'starting the successor took too long',
  exited: 'the successor ended before it accepted',
  'ready-limit': 'the successor was not ready in time',
  'accept-limit': 'the successor did not accept in time',
  garbage: 'the successor sent something else than the protocol, or out of turn',
  'channel-closed': 'the successor closed its channel and went on',
  refused: 'the successor refused',
  version: 'the successor speaks a version of the protocol that this process does not',
  'state-failed': 'the state could not be captured',
  'state-limit': 'capturing the state took too long',
  'not-alive': 'the successor was not alive any more',
  stopped: 'the process was told to stop',
}

/** This process was to take over from an old one and gave up; the old one serves on. The code names the cause. */
export class TakeoverError extends TidegateError {
  declare readonly code: GiveUpCause

  constructor(code: GiveUpCause, detail = '', cause?: unknown) {
    const why = `${TAKEOVER_REASONS[code]}${detail ? ` (${detail})` : ''}`
    super(code, `this process did not take over: ${why}`, cause === undefined ? undefined : { cause })
  }
}

const TAKEOVER_REASONS: Record<GiveUpCause, string> = {
  'initialise-failed': 'it could not start',
  'initialise-limit': 'it did not start in time',
  'acknowledge-limit': 'the old process did not acknowledge in time',
  garbage: 'the old process sent something else than the protocol, or out of turn',
  'channel-closed': 'the old process closed the channel and lives',
  version: 'the old process speaks a version of the protocol that this one does not',
  'state-refused': 'the state that was passed was refused',
  'state-limit': 'loading the state took too long',
  'accept-failed': 'it could not accept on the sockets',
  'accept-limit': 'starting to accept took too long',
  stopped: 'it was told to stop',
}
