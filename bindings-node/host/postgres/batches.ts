/** Commands that come while others are under way share a statement, and so a commit. */

interface Waiting<C, R> {
  readonly command: C
  resolve(result: R | undefined): void
  reject(error: unknown): void
}

/** Sends commands at once while few are under way; what comes meanwhile goes together, in the order in which it came. */
export class Batches<C, R> {
  readonly #send: (commands: readonly C[]) => Promise<readonly (R | undefined)[]>
  readonly #together: number
  readonly #most: number
  #waiting: Waiting<C, R>[] = []
  #underWay = 0

  /** At most so many batches `together`, of at most so many commands. `send` answers in the order of its commands. */
  constructor(
    limits: { together: number; most: number },
    send: (commands: readonly C[]) => Promise<readonly (R | undefined)[]>,
  ) {
    this.#together = limits.together
    this.#most = limits.most
    this.#send = send
  }

  /** The command's own result; an error is that of its whole batch. */
  ask(command: C): Promise<R | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ command, resolve, reject })
      this.#next()
    })
  }

  #next(): void {
    if (this.#underWay >= this.#together || this.#waiting.length === 0) return
    const batch = this.#waiting.splice(0, this.#most)
    this.#underWay += 1
    this.#send(batch.map(({ command }) => command))
      .then(
        (results) => batch.forEach(({ resolve }, n) => void resolve(results[n])),
        (error) => batch.forEach(({ reject }) => void reject(error)),
      )
      .finally(() => {
        this.#underWay -= 1
        this.#next()
      })
  }
}
