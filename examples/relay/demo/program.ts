/** One child process of the demo: started, read line by line, ended by id. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** What a process of the example reports: `{event, at, …}`, `at` in milliseconds of the wall clock. */
export interface Report {
  event: string
  at: number
  [detail: string]: unknown
}

const running = new Set<Program>()

export class Program {
  readonly #child: ChildProcess
  readonly #waiting: { event: string; resolve: (report: Report) => void }[] = []
  readonly seen: Report[] = []
  readonly exited: Promise<{ code: number | null; signal: string | null; at: number }>
  #last = ''

  constructor(
    readonly name: string,
    script: string,
    options: Record<string, string | number | boolean | undefined>,
    onReport: (report: Report) => void,
  ) {
    const flags = Object.entries(options).flatMap(([key, value]) =>
      value === undefined || value === false
        ? []
        : value === true
          ? [`--${key}`]
          : [`--${key}`, String(value)],
    )
    const path = fileURLToPath(new URL(`../${script}`, import.meta.url))
    // A group of its own: a Ctrl-C at the terminal is the runner's to handle.
    this.#child = spawn(process.execPath, ['--import', 'tsx', path, ...flags], {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    running.add(this)
    this.exited = once(this.#child, 'exit').then(([code, signal]) => {
      running.delete(this)
      return { code, signal, at: performance.timeOrigin + performance.now() }
    })
    this.#child.stderr?.on('data', (text) => {
      this.#last = (this.#last + text).slice(-2_000)
    })
    let unread = ''
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (unread + text).split('\n')
      unread = lines.pop() ?? ''
      for (const line of lines) this.#take(parse(line), onReport)
    })
  }

  #take(report: Report | undefined, onReport: (report: Report) => void): void {
    if (report === undefined) return
    this.seen.push(report)
    onReport(report)
    if (this.#waiting.length === 0) return
    for (const waiter of this.#waiting.splice(0)) {
      if (waiter.event === report.event) waiter.resolve(report)
      else this.#waiting.push(waiter)
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** What it printed last on its error stream. */
  get complaint(): string {
    return this.#last.trim()
  }

  /** Waits for a report, seen already or yet to come. */
  async report(event: string, deadline = 30_000): Promise<Report> {
    const seen = this.seen.find((report) => report.event === event)
    if (seen !== undefined) return seen
    return within(
      deadline,
      `${this.name} did not report "${event}"`,
      Promise.race([
        new Promise<Report>((resolve) => this.#waiting.push({ event, resolve })),
        this.exited.then(() => Promise.reject(new Error(`${this.name} ended: ${this.complaint}`))),
      ]),
    )
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Ends it for certain. */
  async end(signal: NodeJS.Signals = 'SIGTERM', patience = 15_000): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.signal(signal)
    const timer = setTimeout(() => this.signal('SIGKILL'), patience)
    await this.exited
    clearTimeout(timer)
  }
}

function parse(line: string): Report | undefined {
  try {
    return JSON.parse(line) as Report
  } catch {
    return undefined
  }
}

/** Ends everything that was started and still runs. */
export async function endAll(): Promise<void> {
  await Promise.all([...running].map((program) => program.end('SIGKILL')))
}

/** Waits for a promise, with a deadline that names what did not happen. */
export async function within<T>(deadline: number, complaint: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${complaint} within ${deadline} ms`)), deadline)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Waits until something is true; false when the deadline comes first. */
export async function until(deadline: number, condition: () => boolean): Promise<boolean> {
  const end = performance.now() + deadline
  while (!condition()) {
    if (performance.now() > end) return false
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return true
}
