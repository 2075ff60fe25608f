/** How a process hands over to its successor, and takes over from the one before. */

import { type Duration, milliseconds } from '../duration.js'
import { ConfigError, type Fault } from '../errors.js'
import type { HandoffConfig, SuccessorConfig, WhileDraining } from '../generated.js'

/** A state that an old process passes to its successor: bytes that only the application understands. */
export interface PassedState {
  /** The version of the bytes; it travels with them. Default 1. */
  version?: number
  /** Captures it, once the successor is ready: from here on it should not change any more. The signal fires at the limit. */
  capture(context: { signal: AbortSignal }): Uint8Array | PromiseLike<Uint8Array>
  /**
   * Loads what the old process has captured. Throw to refuse it, such as for a version that is not known: then the old
   * process serves on. Both ways between two versions of an application, so that it can be rolled back.
   */
  load(bytes: Uint8Array, context: { version: number; signal: AbortSignal }): unknown
  /** The most bytes; more fails the upgrade. Default 64 MiB. */
  most?: number
  /** How long capturing may take; default 5 s. */
  captureLimit?: Duration
  /** How long loading may take; default 2 s. It counts against `acceptLimit`. */
  loadLimit?: Duration
}

/** How a process is replaced. Durations are milliseconds or texts such as `'20s'`. */
export interface HandoffOptions {
  /** Which signals ask for an upgrade; `false`: none. Default SIGUSR2. */
  signals?: readonly NodeJS.Signals[] | false
  /** What the successor is started as; default: this very program, as it was started. */
  command?: string
  /** Its arguments; default: those of this process, Node's own included. With another `command`, none. */
  args?: readonly string[]
  /** Its working directory; default: that in which this process was started. */
  cwd?: string
  /** What is added to its environment, which is that of this process. */
  env?: NodeJS.ProcessEnv
  /** How long it may start up, until it could accept. Default 60 s: the old process serves meanwhile. */
  readyLimit?: Duration
  /** How long after that it may take to accept. Default 5 s. */
  acceptLimit?: Duration
  /** What an upgrade meets while as many older generations drain as may: `refuse` (the default), or `queue`. */
  whileDraining?: WhileDraining
  /** How long a queued upgrade may wait; default 60 s. */
  queueLimit?: Duration
  /** How many generations may drain at the same time, this one included; default 1. */
  mostDraining?: number
  /** A file with the process id of the generation that serves. */
  pidFile?: string
  /** What is passed besides the sockets; default nothing. */
  state?: PassedState
  /** A lease that goes with the sockets: `pass` lets go of it, once the successor accepts; `take` makes it the successor's. */
  lease?: { pass(): unknown; take(): unknown }
  /**
   * Whether to refuse upgrades under something that is known to watch one process id (`tini`, `runit`, `s6`,
   * `supervisord`, …; found by the name of the parent process). Default true.
   */
  watched?: boolean
}

/** What is taken back when an upgrade fails. */
export interface UndoHook {
  readonly name: string
  readonly run: (context: { signal: AbortSignal }) => unknown
  readonly limit: number | undefined
}

/** The options as the core's two machines want them. */
export interface HandoffConfigs {
  readonly handoff: HandoffConfig
  readonly successor: SuccessorConfig
}

const READY_LIMIT = 60_000
const ACCEPT_LIMIT = 5_000
const LOAD_LIMIT = 2_000
/** What a successor leaves of a limit of the old process, so that it is the one to say what is wrong. */
const EARLIER = 11 / 12
/**
 * How long after its channel has closed a process may take to have ended, which tells a crash from a channel that was
 * closed on purpose. Milliseconds; long, as the old process serves meanwhile.
 */
export const EXIT_AFTER_CLOSE = 1_000
/** Within this, the last look at a successor is over. Milliseconds. */
const LOOK_LIMIT = EXIT_AFTER_CLOSE + 500
/** What a generation may take to drain beyond its kill budget, before it is ended. */
const DRAIN_SLACK = 10_000

/** @throws ConfigError naming every duration that cannot be read. */
export function configsOf(
  options: HandoffOptions,
  undo: readonly UndoHook[],
  killBudget: number,
): HandoffConfigs {
  const faults: Fault[] = []
  const read = (field: string, duration: Duration | undefined): number | undefined => {
    try {
      return duration === undefined ? undefined : milliseconds(duration)
    } catch (error) {
      faults.push({ code: 'out-of-range', field, message: (error as Error).message })
      return undefined
    }
  }
  const { state, pidFile, lease, whileDraining, mostDraining } = options
  const readyLimit = read('readyLimit', options.readyLimit) ?? READY_LIMIT
  const acceptLimit = read('acceptLimit', options.acceptLimit) ?? ACCEPT_LIMIT
  const queueLimit = read('queueLimit', options.queueLimit)
  const stateLimit = read('state.captureLimit', state?.captureLimit)
  const loadLimit = read('state.loadLimit', state?.loadLimit) ?? LOAD_LIMIT
  if (faults.length > 0) throw new ConfigError('handoff', faults)
  const loading = Math.min(loadLimit, Math.floor(acceptLimit / 2))
  const handoff: HandoffConfig = {
    readyLimit,
    acceptLimit,
    queueLimit,
    lookLimit: LOOK_LIMIT,
    stateLimit,
    stateMost: state?.most,
    state: state !== undefined,
    pidFile: pidFile !== undefined,
    lease: lease !== undefined,
    drainLimit: killBudget + DRAIN_SLACK,
    whileDraining,
    mostDraining,
    undo: undo.map(({ name, limit }) => ({ name, limit })),
  }
  const successor: SuccessorConfig = {
    initialiseLimit: Math.max(1, Math.floor(readyLimit * EARLIER)),
    stateLimit: Math.max(1, loading),
    acceptLimit: Math.max(1, Math.floor((acceptLimit - loading) * EARLIER)),
    pidFile: pidFile !== undefined,
    lease: lease !== undefined,
  }
  return { handoff, successor }
}
