/** The time between two ticks, in milliseconds: as precise as an idle age need be. */
const TICK = 50

/**
 * A clock that costs next to nothing to read: reading the real one for each request would be the most
 * expensive part of tracking it. It ticks only while it is read, so an idle process is left asleep.
 */
export class CoarseClock {
  #tick = 0
  #lastTick = performance.now()
  #read = false
  #ticking = false

  /** A mark of this moment, for {@link age}. */
  get stamp(): number {
    this.#read = true
    if (!this.#ticking) this.#start()
    return this.#tick
  }

  /** How long ago a mark was set, in milliseconds: never more than it was, at most two ticks less. */
  age(stamp: number): number {
    const ticksSince = this.#tick - stamp - 1
    // The present tick has not ended: as far as this clock can tell, the mark was set just now.
    if (ticksSince < 0) return 0
    return ticksSince * TICK + (performance.now() - this.#lastTick)
  }

  #start(): void {
    this.#ticking = true
    setTimeout(() => {
      this.#tick += 1
      this.#lastTick = performance.now()
      this.#ticking = false
      if (!this.#read) return
      this.#read = false
      this.#start()
    }, TICK).unref()
  }
}
