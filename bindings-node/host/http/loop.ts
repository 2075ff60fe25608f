/** What the event loop offers for closing at a moment when all that has been received was looked at. */

/**
 * How short a turn must be to leave hardly a gap between looking and acting, in milliseconds: at first next
 * to nothing, then ever longer, since a busy loop has no such turns.
 */
const SHORT_TURNS = [
  { until: 5, turn: 0.02 },
  { until: 15, turn: 0.05 },
  { until: 50, turn: 0.1 },
  { until: 150, turn: 0.3 },
  { until: 300, turn: 1 },
]

/** How long to wait for a turn that brought nothing, in milliseconds, before acting all the same. */
const PATIENCE = 1_000

/** Runs `action` straight after a poll: whatever had been received by then has been read. */
export function afterPoll<T>(action: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    // The first turn may already have polled before this call, the second cannot have.
    setImmediate(() =>
      setImmediate(() => {
        try {
          resolve(action())
        } catch (error) {
          reject(error)
        }
      }),
    )
  })
}

/**
 * Runs `action` straight after a poll that left `count` unchanged, and as soon after it as can be had.
 *
 * A listener accepts one connection for each poll, so an empty queue shows only in a poll without any.
 */
export function afterEmptyPoll(count: () => number, action: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const start = performance.now()
    let turns = 0
    let seen = count()
    // The poll of the first turn may have been over before this call.
    let turned = Number.NEGATIVE_INFINITY

    const turn = () => {
      const now = performance.now()
      const empty = turns > 0 && count() === seen
      const short = now - turned < shortTurn(now - start)
      turns += 1
      seen = count()
      turned = now
      if (!(empty && short) && now - start < PATIENCE) {
        setImmediate(turn)
        return
      }
      try {
        action()
        resolve()
      } catch (error) {
        reject(error)
      }
    }
    setImmediate(turn)
  })
}

function shortTurn(waited: number): number {
  return SHORT_TURNS.find(({ until }) => waited < until)?.turn ?? Number.POSITIVE_INFINITY
}

/** Calls `action` at most once for each turn of the loop, however often the result is called. */
export function oncePerTurn(action: () => void): () => void {
  let due = false
  return () => {
    if (due) return
    due = true
    setImmediate(() => {
      due = false
      action()
    })
  }
}
