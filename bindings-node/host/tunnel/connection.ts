/** One connection of a tunnel, from its dial to its end. */

import type { SessionFate } from '../generated.js'
import type { Sendable, Socket } from './socket.js'

/** Ends a piece of work; a second call does nothing. */
export type Release = (() => void) & Disposable

/**
 * One connection of a tunnel. Its work in flight keeps it open for a while after the tunnel has moved to another
 * one, so that what came in on it can be answered on it.
 */
export class TunnelConnection {
  /** Counts up from 1 with every dial of the tunnel. */
  readonly generation: number
  /** Which endpoint, by its place in the list. */
  readonly endpoint: number
  /** Whether the session of the connection before is to be resumed, where the profile's protocol has one. */
  readonly session: SessionFate
  /** @internal */
  socket!: Socket
  /** @internal Whether it was open once. */
  wasOpen = false
  /** @internal When the last frame came in. */
  heardAt = 0
  /** @internal When the last message came in, or the last work ended. */
  usedAt = 0
  /** @internal How many of the buffered messages were sent on it. */
  flushed = 0
  /** @internal How many readers are behind, so that it is paused. */
  holds = 0
  /** @internal Called when its last work in flight has ended. */
  idled: (() => void) | undefined
  readonly #clock: () => number
  readonly #accept: () => void
  #inFlight = 0

  /** @internal */
  constructor(
    place: { generation: number; endpoint: number; session: SessionFate },
    clock: () => number,
    accept: () => void,
  ) {
    this.generation = place.generation
    this.endpoint = place.endpoint
    this.session = place.session
    this.#clock = clock
    this.#accept = accept
  }

  /** Whether messages can be sent on it now. */
  get open(): boolean {
    return this.socket.open
  }

  /** The subprotocol that the server chose. */
  get protocol(): string {
    return this.socket.protocol
  }

  /** The extensions that the server chose. */
  get extensions(): string {
    return this.socket.extensions
  }

  /** Bytes that were sent but have not left yet. */
  get bufferedAmount(): number {
    return this.socket.bufferedAmount
  }

  /** How many pieces of work are in flight on it. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** Sends on this very connection. False when it is not open (any more): nothing was sent. */
  send(data: Sendable): boolean {
    return this.socket.open && this.socket.send(data)
  }

  /** Says that the application accepted the connection (`acceptance: 'explicit'`). */
  accept(): void {
    this.#accept()
  }

  /** Keeps the connection open until the work is settled (or its time to finish is over). Answers the work itself. */
  track<T>(work: PromiseLike<T>): PromiseLike<T> {
    const release = this.busy()
    work.then(release, release)
    return work
  }

  /** The same for work that is no promise: call what it answers when the work is done, or declare it with `using`. */
  busy(): Release {
    this.#inFlight += 1
    let held = true
    const release = (): void => {
      if (!held) return
      held = false
      this.#inFlight -= 1
      this.usedAt = this.#clock()
      if (this.#inFlight === 0) this.idled?.()
    }
    return Object.assign(release, { [Symbol.dispose]: release })
  }
}
