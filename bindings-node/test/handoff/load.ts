/** A load of requests of which none may fail: on connections that are kept, and on fresh ones. */
import { Agent, request } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { until } from '../until.js'

export interface LoadOptions {
  /** Connections that are kept as long as the server keeps them. Default 8. */
  kept?: number
  /** Clients that open a connection for each request. Default 2. */
  fresh?: number
  /** The pause of each between an answer and the next request. Milliseconds; default 4. */
  pause?: number
  path?: string
}

/** What came of it. */
export interface LoadResult {
  answered: number
  failures: string[]
}

/** Requests until it is stopped. */
export class Load {
  answered = 0
  /** The longest time between two answers, whoever got them. Milliseconds. */
  longestGap = 0
  #lastAnswer = performance.now()
  readonly failures: string[] = []
  readonly #firstAnswer = new Map<number, number>()
  readonly #port: number
  readonly #options: Required<LoadOptions>
  readonly #clients: Promise<void>[]
  #running = true

  constructor(port: number, options: LoadOptions = {}) {
    this.#port = port
    this.#options = { kept: 8, fresh: 2, pause: 4, path: '/', ...options }
    const { kept, fresh } = this.#options
    this.#clients = Array.from({ length: kept + fresh }, (_, index) => this.#client(index < kept))
  }

  /** When the first answer of this process was complete, by the wall clock. Milliseconds. */
  async answerOf(pid: number): Promise<number> {
    await until(() => this.#firstAnswer.has(pid), `an answer of ${pid}`)
    return this.#firstAnswer.get(pid) as number
  }

  async stop(): Promise<LoadResult> {
    this.#running = false
    await Promise.all(this.#clients)
    return { answered: this.answered, failures: this.failures }
  }

  async #client(kept: boolean): Promise<void> {
    const agent = new Agent({ keepAlive: kept, maxSockets: 1 })
    while (this.#running) {
      try {
        const { status, body } = await this.#request(agent)
        if (status === 200) this.#answer(Number(body))
        else this.failures.push(`${status}`)
      } catch (error) {
        this.failures.push(`${kept ? 'kept' : 'fresh'}: ${(error as NodeJS.ErrnoException).code ?? error}`)
        await delay(20)
      }
      await delay(this.#options.pause)
    }
    agent.destroy()
  }

  #answer(pid: number): void {
    this.answered += 1
    const now = performance.now()
    this.longestGap = Math.max(this.longestGap, now - this.#lastAnswer)
    this.#lastAnswer = now
    if (!this.#firstAnswer.has(pid)) this.#firstAnswer.set(pid, performance.timeOrigin + performance.now())
  }

  #request(agent: Agent): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', port: this.#port, path: this.#options.path, agent }
      const sent = request(options, (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (part) => {
          body += part
        })
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
        response.on('error', reject)
      })
      sent.setTimeout(15_000, () => sent.destroy(new Error('no answer within 15 s')))
      sent.on('error', reject)
      sent.end()
    })
  }
}
