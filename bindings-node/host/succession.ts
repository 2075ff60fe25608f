/**
 * Hot restart, as a lifecycle uses it: the listeners of a process, how it takes over from the generation before, and
 * how it hands over to the next.
 */

import { type Server, Socket } from 'node:net'
import process from 'node:process'
import { ConfigError, UpgradeError } from './errors.js'
import { type Inheritance, takeInheritance } from './handoff/inheritance.js'
import { Listeners, type ListenOptions } from './handoff/listeners.js'
import { configsOf, type HandoffOptions, type UndoHook } from './handoff/options.js'
import { removePidFile, writePidFile } from './handoff/pid-file.js'
import { type Program, thisProgram } from './handoff/process.js'
import { ServiceManager } from './handoff/service-manager.js'
import { watcher } from './handoff/watched.js'
import { Handoff, type Upgraded } from './handoff.js'
import type { Explanation } from './machine.js'
import { listenToSignals, type SignalIntents } from './signals.js'
import { Successor } from './successor.js'

/** What a succession needs of its lifecycle. */
export interface SuccessionHost {
  /** The stop signals, which no upgrade may be asked for by. */
  readonly stopSignals: SignalIntents
  /** Begins the drain of a generation that was replaced. */
  drain(): void
  force(): void
  upgraded(upgrade: Upgraded): void
  /** `asked`: by somebody who hears of it; otherwise by a signal. */
  upgradeFailed(error: UpgradeError, asked: boolean): void
  successorLost(pid: number): void
  hookFailed(hook: string, error: unknown): void
}

const DEFAULT_SIGNALS: readonly NodeJS.Signals[] = ['SIGUSR2']

/** A generation's place between the one before it and the one after it. */
export class Succession {
  readonly #host: SuccessionHost
  readonly #options: HandoffOptions | undefined
  readonly #enabled: boolean
  readonly #inheritance: Inheritance
  readonly #listeners: Listeners
  readonly #service: ServiceManager
  readonly #undo: UndoHook[] = []
  /** Channels to generations that still drain. */
  readonly #older = new Set<Socket>()
  #oldLives = false
  #handoff: Handoff | undefined
  #successor: Successor | undefined
  #ignoreSignals: () => void = () => {}
  #serving = false
  #stopping = false
  #replaced = false

  /** @throws {@link TidegateError} `bad-inheritance`; ConfigError for a signal that stops as well. */
  constructor(host: SuccessionHost, options: HandoffOptions | false | undefined) {
    this.#host = host
    this.#options = options || undefined
    this.#enabled = options !== false
    this.#inheritance = this.#enabled ? takeInheritance() : { sockets: [], from: undefined }
    this.#listeners = new Listeners(this.#inheritance.sockets)
    this.#service = new ServiceManager((error) => host.hookFailed('service manager', error))
    // Without listeners nothing could be handed over, unless the options say that it is to be.
    if (options) this.#listen()
  }

  /** Adds a listener; it is opened by {@link accept}. */
  listen(name: string, server: Server, options: ListenOptions): void {
    this.#listeners.add(name, server, options)
    this.#listen()
  }

  get listens(): boolean {
    return this.#listeners.count > 0 || this.#inheritance.from !== undefined
  }

  undo(hook: UndoHook): void {
    this.#undo.push(hook)
  }

  /** Makes the machines. @throws ConfigError */
  open(killBudget: number): void {
    const { from } = this.#inheritance
    const options = this.#options ?? {}
    if (!this.#enabled || this.#handoff) return
    const configs = configsOf(options, this.#undo, killBudget)
    if (from) {
      this.#oldLives = true
      for (const fd of from.older) this.#watchOlder(new Socket({ fd, readable: true, writable: true }))
      this.#successor = new Successor(
        {
          state: options.state,
          pidFile: options.pidFile,
          service: this.#service,
          open: () => this.#listeners.open(),
          closeUnclaimed: () => this.#listeners.closeUnclaimed(),
          takeLease: () => options.lease?.take(),
          oldGone: () => this.#oldGone(),
          hookFailed: (hook, error) => this.#host.hookFailed(hook, error),
        },
        from,
        configs.successor,
      )
    }
    this.#handoff = new Handoff(
      {
        program: programOf(options),
        undo: this.#undo,
        state: options.state,
        pidFile: options.pidFile,
        service: this.#service,
        sockets: () => this.#listeners.passed(),
        older: () => this.#olderChannels(),
        passLease: () => options.lease?.pass(),
        drain: () => {
          this.#replaced = true
          this.#host.drain()
        },
        force: () => this.#host.force(),
        upgraded: (upgrade) => this.#host.upgraded(upgrade),
        lost: (pid) => this.#host.successorLost(pid),
        hookFailed: (hook, error) => this.#host.hookFailed(hook, error),
      },
      configs.handoff,
    )
  }

  /** Start-up failed. */
  failed(): void {
    this.#successor?.failed()
  }

  /** Start-up is done: starts to accept, if there is an old process when that one lets it. */
  async accept(stopping: AbortSignal): Promise<void> {
    if (this.#successor) {
      const successor = this.#successor
      const stop = () => successor.stop()
      stopping.addEventListener('abort', stop, { once: true })
      if (stopping.aborted) stop()
      await successor.initialised()
      stopping.removeEventListener('abort', stop)
      this.#serving = true
      this.#countOlder()
      return
    }
    await this.#listeners.open()
    this.#serving = true
    this.#listeners.closeUnclaimed()
    const { pidFile } = this.#options ?? {}
    if (pidFile !== undefined) await writePidFile(pidFile, process.pid)
  }

  /** This process is ready. Of a successor, the old process says so, or it has done so as it promoted itself. */
  ready(): void {
    if (!this.#successor) this.#service.ready()
  }

  /** A stop is asked for: what is in flight is taken back first, and then `then` is called, unless the successor accepts. */
  stop(then: () => void): void {
    if (this.#handoff) this.#handoff.stop(then)
    else then()
  }

  /** A stop has begun. */
  draining(): void {
    if (this.#stopping) return
    this.#stopping = true
    // Otherwise another process is the main one: the successor, or the old one that this one gave up to replace.
    if (!this.#replaced && (this.#serving || !this.#successor)) this.#service.stopping()
  }

  /** Everything is over. */
  stopped(): void {
    this.#handoff?.drained()
    if (this.#replaced || !this.#enabled) return
    this.#listeners.closeUnclaimed()
    if (this.#serving) {
      this.#listeners.removePaths()
      if (this.#options?.pidFile !== undefined) removePidFile(this.#options.pidFile)
    }
  }

  /** Gives signals back their default meaning. */
  dispose(): void {
    this.#ignoreSignals()
  }

  /** Replaces this process. */
  async upgrade(signal?: AbortSignal, asked = true): Promise<Upgraded> {
    try {
      const obstacle = this.#obstacle()
      if (obstacle) throw obstacle
      return await (this.#handoff as Handoff).upgrade(signal)
    } catch (error) {
      this.#host.upgradeFailed(error as UpgradeError, asked)
      throw error
    }
  }

  explain(): Explanation | undefined {
    return this.#serving || !this.#successor ? this.#handoff?.explain() : this.#successor.explain()
  }

  #obstacle(): UpgradeError | undefined {
    if (!this.#enabled || (this.#listeners.count === 0 && !this.#options)) {
      return new UpgradeError('nothing-to-hand-over', true)
    }
    if (!this.#handoff || (!this.#serving && !this.#stopping)) return new UpgradeError('starting', true)
    // Inside the container, that is; a service manager outside is told the new id.
    if (process.pid === 1) return new UpgradeError('pid-1', true)
    const watchedBy = this.#options?.watched === false ? undefined : watcher()
    return watchedBy === undefined ? undefined : new UpgradeError('watched-pid', true, { detail: watchedBy })
  }

  #listen(): void {
    this.#ignoreSignals()
    const { signals = DEFAULT_SIGNALS } = this.#options ?? {}
    if (!signals || !this.#enabled) return
    const twice = signals.filter((signal) => this.#host.stopSignals[signal] !== undefined)
    if (twice.length > 0) {
      const message = `are for stops as well: ${twice.join(', ')}; one signal has one meaning`
      throw new ConfigError('handoff', [{ code: 'contradiction', field: 'signals', message }])
    }
    const meanings = Object.fromEntries(signals.map((signal) => [signal, 'handoff' as const]))
    // A failure is reported where it is met.
    this.#ignoreSignals = listenToSignals(meanings, () => void this.upgrade(undefined, false).catch(() => {}))
  }

  // ---------------------------------------------------------------- generations that drain

  #watchOlder(socket: Socket): void {
    this.#older.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => {
      this.#older.delete(socket)
      this.#countOlder()
    })
    socket.resume()
    socket.unref()
  }

  #oldGone(): void {
    this.#oldLives = false
    this.#countOlder()
  }

  /** They close when their generations have ended, wherever they are open. */
  #olderChannels(): number[] {
    const channels = [...this.#older]
    if (this.#oldLives && this.#successor) channels.push(this.#successor.channel)
    return channels.flatMap((channel) => {
      const { _handle: handle } = channel as Socket & { _handle?: { fd?: number } | null }
      return handle?.fd !== undefined && handle.fd >= 0 ? [handle.fd] : []
    })
  }

  #countOlder(): void {
    this.#handoff?.older(this.#older.size + (this.#oldLives ? 1 : 0))
  }
}

function programOf(options: HandoffOptions): Program {
  const { command = thisProgram.command, cwd = thisProgram.cwd, env = {} } = options
  const args = options.args ?? (options.command === undefined ? thisProgram.args : [])
  return { command, args, cwd, env }
}
