/**
 * What a lifecycle drains: the one shape that HTTP doors, WebSocket servers and tunnel servers share.
 *
 * A source holds the objects and counts them; the drain decides when and how many, and the source picks
 * which. Nothing here is called per request or per message.
 */

import type { Intent } from './generated.js'

export type { Intent }

/** Why a source's tunnels have to go, for notices and close frames. */
export interface Farewell {
  /** What the stop is for. */
  intent: Intent
  /** One word for people and for in-band notices: the intent. */
  reason: string
  /** The lifecycle's close code for this intent, for sources that have none of their own. */
  code: number
}

/**
 * Something that holds connections and can let go of them without breaking anyone.
 *
 * The methods are called in the order in which they are listed, `tell` any number of times. They must not
 * throw; what they throw all the same is reported and changes nothing else. Methods that are optional mean
 * nothing for a source that leaves them out. Numbers are whole and never negative.
 */
export interface DrainSource {
  /** Names the source in reports and explanations, such as `web-sockets`. */
  readonly name?: string

  /** Tunnels and WebSockets that are open, the told ones included. */
  count(): number
  /** Of those, the ones that were told to move. */
  told(): number
  /** Requests in flight, streams included; only those that no HTTP door counts. */
  requests?(): number
  /** Of those, the long streams. */
  streams?(): number
  /** Connections that carry nothing now. */
  idle?(): number
  /**
   * Gives the function to call whenever one of the numbers above changed (cheap, may be called often: the
   * numbers are read once in a turn of the event loop). Called once, when the source joins a lifecycle.
   */
  onChange(changed: () => void): void

  /** From now on answers ask their clients to go elsewhere; everything is still accepted (D3). */
  lameDuck?(): void
  /**
   * From now on nothing new is admitted: registrations and upgrades are refused, also those that are in the
   * middle of being admitted, so look again after every await. Resolves once that is so (D4).
   */
  refuseNew(intent: Intent): void | Promise<void>
  /** Closes connections that have carried nothing for `olderThan` milliseconds. Called again and again (D4). */
  closeIdle?(olderThan: number): void
  /** Tells long streams to end (D4). */
  endStreams?(): void
  /**
   * Tells `count` tunnels that were not told yet to move, spread over `within` milliseconds or, without it,
   * now (D5). Fewer when there are fewer.
   */
  tell(count: number, within: number | undefined, farewell: Farewell): void
  /**
   * Clears the directory rows of the tunnels that are left, in one call. The signal fires when its time is
   * over. Sources without a directory resolve at once (D5).
   */
  clearRows(signal: AbortSignal): Promise<void>
  /**
   * Closes every tunnel with this code as soon as it carries no request. A peer that does not answer, or has
   * stopped reading, is let go after a bounded time of the source's own (D5).
   */
  closeAll(code: number, farewell: Farewell): void
  /** The last tunnel has gone, everyone's: closes the door for forwarded requests (D4). */
  closePeerDoor?(): void
  /**
   * Out of time: cuts everything that is left, and returns how many that was. What is cut leaves the counts
   * within {@link ABORT_LIMIT} (D7).
   */
  abort(code: number, farewell: Farewell): number
}

/** How long a source may take over an abort, so that close frames still reach the wire. Milliseconds. */
export const ABORT_LIMIT = 100
