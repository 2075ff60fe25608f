/** What the event loop offers for closing sockets at a moment when the received has been looked at. */

/** A turn this short, in milliseconds, polled and found next to nothing to do. */
const QUIET_TURN = 0.2

/** Turns to wait for a quiet one before settling for any: under full load none may come. */
const TURNS = 50

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

/** Like {@link afterPoll}, but prefers a poll that brought nothing, so that nothing came meanwhile. */
export function afterQuietPoll(action: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let turns = 0
    let before = Number.NEGATIVE_INFINITY
    const turn = () => {
      const now = performance.now()
      const quiet = now - before < QUIET_TURN
      before = now
      turns += 1
      if (!quiet && turns < TURNS) return setImmediate(turn)
      try {
        action()
        resolve()
      } catch (error) {
        reject(error)
      }
      return undefined
    }
    setImmediate(turn)
  })
}
