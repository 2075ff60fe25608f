/** A clock that goes on while the machine sleeps, as a lease does. */

import { uptime } from 'node:os'

/** What the two clocks may differ by without anybody having slept: `uptime` counts in hundredths of a second. */
const COARSE = 100

/**
 * Whole milliseconds that never run backwards. Precise as `performance.now()`, which stands still while the machine
 * is suspended; what it missed is taken from the system's uptime, which does not.
 */
export function bootClock(): () => number {
  const began = uptime() * 1_000 - performance.now()
  let slept = 0
  return () => {
    const behind = uptime() * 1_000 - performance.now() - began
    if (behind > slept + COARSE) slept = behind
    return Math.floor(performance.now() + slept)
  }
}
