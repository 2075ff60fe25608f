/**
 * Taking over, the new side: this process was started by an old one that serves. It starts up, says so, and accepts on
 * the sockets that it was given when the old one has acknowledged that. What decides is the successor machine of the
 * core; here is what it wants done.
 */

import { readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import process from 'node:process'
import { TakeoverError } from './errors.js'
import type { SuccessorConfig, SuccessorEffect } from './generated.js'
import type { Ancestry } from './handoff/inheritance.js'
import type { PassedState } from './handoff/options.js'
import { writePidFile } from './handoff/pid-file.js'
import type { ServiceManager } from './handoff/service-manager.js'
import { type FromOld, fromSuccessor, oldInbox } from './handoff/wire.js'
import { type Explanation, Machine } from './machine.js'

/** What a successor needs of the process around it. */
export interface SuccessorHost {
  readonly state: PassedState | undefined
  readonly pidFile: string | undefined
  readonly service: ServiceManager
  /** Starts to accept on the sockets, all or none. */
  open(): Promise<void>
  closeUnclaimed(): void
  takeLease(): unknown
  /** The old process has ended. */
  oldGone(): void
  hookFailed(hook: string, error: unknown): void
}

const MOST_STATE = 64 * 1_024 * 1_024
/** How often to look whether the old process is gone, once its channel has closed. Milliseconds. */
const GONE_POLL = 2
/** The states in which a takeover is over. */
const RESTING: ReadonlySet<string> = new Set(['serving', 'ended'])

/** The new side of one handoff. */
export class Successor {
  readonly #host: SuccessorHost
  readonly #machine: Machine<'successor'>
  /** The channel to the old process: it closes when that has ended. */
  readonly channel: Socket
  readonly #parent: number
  /** Whether the old process is the parent of this one, and not something between. */
  readonly #isChild: boolean
  #state: FromOld['state']
  #resolve: (promoted: boolean) => void = () => {}
  #reject: (error: TakeoverError) => void = () => {}
  readonly #over: Promise<boolean>
  #detail = ''
  #cause: unknown

  /** @throws ConfigError; Error when the channel cannot be used. */
  constructor(host: SuccessorHost, { channel, parent }: Ancestry, config: SuccessorConfig) {
    this.#host = host
    this.#parent = parent
    this.#isChild = process.ppid === parent
    this.#over = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    // It may be over before anybody waits for it.
    this.#over.catch(() => {})
    this.#machine = new Machine('successor', { config, perform: (effect) => this.#perform(effect) })
    this.channel = new Socket({ fd: channel, readable: true, writable: true })
    const inbox = oldInbox(
      {
        message: ({ version, state }) => {
          this.#state = state
          this.#machine.offer({ type: 'acknowledged', version, state: state !== undefined })
        },
        garbage: (why) => {
          this.#detail = why
          this.#machine.offer({ type: 'garbage' })
        },
      },
      host.state?.most ?? MOST_STATE,
    )
    this.channel.on('data', (bytes: Buffer) => inbox.push(bytes))
    this.channel.on('error', () => {})
    this.channel.once('close', () => this.#closed())
    this.channel.resume()
    // What keeps a process alive that waits is its machine.
    this.channel.unref()
  }

  /** This process could accept: resolves when it does, with whether the old one was gone before. Rejects with a {@link TakeoverError}. */
  initialised(): Promise<boolean> {
    this.#machine.offer({ type: 'initialised' })
    return this.#over
  }

  /** It could not start up. */
  failed(): void {
    this.#machine.offer({ type: 'initialise-failed' })
  }

  /** It is told to stop; without meaning once it serves. */
  stop(): void {
    this.#machine.offer({ type: 'stop' })
  }

  explain(): Explanation {
    return this.#machine.explain()
  }

  #perform(effect: SuccessorEffect): void {
    switch (effect.type) {
      case 'say-ready':
        this.channel.write(fromSuccessor({ type: 'ready', version: effect.version }))
        return
      case 'load-state':
        this.#answer(effect.operation, () => this.#load(effect.limit))
        return
      case 'accept':
        this.#answer(effect.operation, () => this.#host.open())
        return
      case 'say-accepting':
        this.channel.write(fromSuccessor({ type: 'accepting' }))
        return
      case 'say-refused':
        this.channel.write(fromSuccessor({ type: 'refused', reason: this.#detail }))
        return
      case 'close-unclaimed':
        this.#host.closeUnclaimed()
        return
      case 'take-lease':
        new Promise((resolve) => resolve(this.#host.takeLease())).catch((error) =>
          this.#host.hookFailed('lease', error),
        )
        return
      case 'write-pid-file':
        this.#answer(effect.operation, () => writePidFile(this.#host.pidFile ?? '', process.pid))
        return
      case 'notify':
        this.#host.service.mainPid(process.pid)
        return
      case 'serving':
        this.#resolve(effect.promoted)
        return
      case 'pid-file-failed':
        this.#host.hookFailed('pid file', this.#cause ?? new Error('it has had its time'))
        return
      case 'end':
        this.#reject(new TakeoverError(effect.cause, this.#detail, this.#cause))
        return
      default:
        effect satisfies never
    }
  }

  async #load(limit: number): Promise<void> {
    const { state } = this.#host
    const passed = this.#state
    this.#state = undefined
    if (!state) throw new Error('this program takes no state')
    if (!passed) return
    await state.load(passed.bytes, { version: passed.version, signal: AbortSignal.timeout(limit) })
  }

  #answer(operation: number, what: () => Promise<unknown>): void {
    what().then(
      () => this.#machine.offer({ type: 'done', operation }),
      (error) => {
        this.#detail = (error as Error)?.message ?? `${error}`
        this.#cause = error
        this.#machine.offer({ type: 'failed', operation })
      },
    )
  }

  /** A channel closes a moment before its process is gone; or because the old process gives this one up. */
  #closed(): void {
    this.#machine.offer({ type: 'channel-closed' })
    this.#host.oldGone()
    const polling = setInterval(() => {
      const gone = this.#isGone()
      if (gone) this.#machine.offer({ type: 'parent-gone' })
      if (gone || RESTING.has(this.#machine.state)) clearInterval(polling)
    }, GONE_POLL)
    polling.unref()
  }

  #isGone(): boolean {
    if (this.#isChild) return process.ppid !== this.#parent
    try {
      process.kill(this.#parent, 0)
      return isZombie(this.#parent)
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ESRCH'
    }
  }
}

/** Whether a process has ended and was not reaped so far; false where there is no `/proc`. */
function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z')
  } catch {
    return false
  }
}
