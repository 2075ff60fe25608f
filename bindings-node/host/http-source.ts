/** An HTTP server as something to drain. */

import { ABORT_LIMIT, type DrainSource, type Intent } from './drainable.js'
import { type AnyHttpServer, HttpDoor } from './http.js'

/** Which door of the gateway a server is. */
export interface HttpOptions {
  /**
   * `public` (the default) closes first; `peer` is for requests that other relays forward to the tunnels
   * held here, and stays open until the last tunnel has gone.
   */
  door?: 'public' | 'peer'
}

/** Adapts an {@link HttpDoor}: the public one closes before any tunnel is told, the peers' after the last. */
export class HttpSource implements DrainSource {
  readonly name: string
  /** What is underneath, for its numbers. */
  readonly door: HttpDoor
  readonly #peer: boolean
  #changed = () => {}
  #draining = false
  /** Whether a successor accepts from the same socket. */
  #shared = false

  constructor(server: AnyHttpServer, { door = 'public' }: HttpOptions = {}) {
    this.name = `http (${door} door)`
    this.#peer = door === 'peer'
    this.door = new HttpDoor(server, { onChange: () => this.#changed() })
  }

  /** Upgraded connections belong to whoever upgraded them. */
  count(): number {
    return 0
  }

  told(): number {
    return 0
  }

  requests(): number {
    return this.door.requests
  }

  streams(): number {
    return this.door.streams
  }

  /**
   * Connections of peers are not idle before their door has closed: they are there to be used. The door itself
   * counts as one until then, so that nothing is over while it is still taking in what is queued.
   */
  idle(): number {
    if (this.#peer && this.#draining && this.door.stage !== 'closed') return 1
    return this.door.idle + this.door.receiving
  }

  onChange(changed: () => void): void {
    this.#changed = changed
  }

  lameDuck(): void {
    if (!this.#peer) this.door.lameDuck()
  }

  async refuseNew(intent: Intent): Promise<void> {
    this.#draining = true
    this.#shared = intent === 'handoff'
    if (!this.#peer) await this.door.closeDoor({ shared: this.#shared })
  }

  closeIdle(olderThan: number): void {
    if (this.door.stage === 'closed') void this.door.closeIdle(olderThan)
  }

  tell(): void {}

  async clearRows(): Promise<void> {}

  closeAll(): void {}

  closePeerDoor(): void {
    if (this.#peer) void this.door.closeDoor({ shared: this.#shared })
  }

  abort(): number {
    if (this.#peer) void this.door.closeDoor({ shared: this.#shared })
    const { requests } = this.door.abort()
    // A door that was closing meanwhile may have taken connections in: they are cut as well.
    setTimeout(() => this.door.abort(), ABORT_LIMIT / 2).unref()
    return requests
  }
}
