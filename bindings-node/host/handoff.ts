/**
 * Handing over, the old side: this process starts its successor with the listening sockets, and accepts until the
 * successor does. What decides is the handoff machine of the core; here is what it wants done.
 */

import { UpgradeError } from './errors.js'
import type { HandoffConfig, HandoffEffect, RollbackCause } from './generated.js'
import type { PassedSocket } from './handoff/inheritance.js'
import { EXIT_AFTER_CLOSE, type PassedState, type UndoHook } from './handoff/options.js'
import { writePidFile } from './handoff/pid-file.js'
import { endSession, type Program, SuccessorProcess } from './handoff/process.js'
import type { ServiceManager } from './handoff/service-manager.js'
import { type FromOld, type FromSuccessor, fromOld, successorInbox } from './handoff/wire.js'
import { afterPoll } from './http/loop.js'
import { type Explanation, Machine } from './machine.js'

/** An upgrade that has happened. */
export interface Upgraded {
  /** The process id of the successor, which serves from now on. */
  readonly pid: number
  /** From the begin until the successor accepted. Milliseconds. */
  readonly duration: number
}

/** What a handoff needs of the process around it. */
export interface HandoffHost {
  readonly program: Program
  readonly undo: readonly UndoHook[]
  readonly state: PassedState | undefined
  readonly pidFile: string | undefined
  readonly service: ServiceManager
  /** The sockets to be passed. */
  sockets(): PassedSocket[]
  /** Descriptors that close when generations that drain now have ended. */
  older(): number[]
  passLease(): unknown
  /** The successor accepts: this process drains. */
  drain(): void
  /** It has drained for too long. */
  force(): void
  upgraded(upgrade: Upgraded): void
  /** The successor ended while this process drained. */
  lost(pid: number): void
  hookFailed(hook: string, error: unknown): void
}

interface Asked {
  readonly begun: number
  readonly resolve: (upgrade: Upgraded) => void
  readonly reject: (error: UpgradeError) => void
}

/** The old side of every upgrade of this process. */
export class Handoff {
  readonly #host: HandoffHost
  readonly #machine: Machine<'handoff'>
  #process: SuccessorProcess | undefined
  #generation = 0
  /** Until the end of the successor's process is told. */
  #ending: Promise<void> | undefined
  #state: FromOld['state']
  /** Who asks at this very moment, and whose upgrade is in flight or queued. */
  #asking: Asked | undefined
  #asked: Asked | undefined
  /** Called when no upgrade is in flight any more. */
  #settled: (() => void)[] = []
  #replaced = false
  /** What is known about the failure in the making. */
  #detail: string | undefined
  #cause: unknown

  /** @throws ConfigError */
  constructor(host: HandoffHost, config: HandoffConfig) {
    this.#host = host
    this.#machine = new Machine('handoff', { config, perform: (effect) => this.#perform(effect) })
  }

  /** Whether a successor is being started, or waited for. */
  get inFlight(): boolean {
    return this.#asked !== undefined
  }

  /** Replaces this process; at most one at a time. */
  async upgrade(signal?: AbortSignal): Promise<Upgraded> {
    // What has happened by now is to be known first, such as that an older generation has ended. And it is not within a
    // step of the machine then: who is refused must be the one who asks.
    await afterPoll(() => {})
    const cancel = () => this.#machine.offer({ type: 'cancel' })
    try {
      return await new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(new UpgradeError('cancelled', true))
        // It has stopped, and its machine with it.
        if (this.#machine.closed)
          return reject(new UpgradeError(this.#replaced ? 'replaced' : 'stopping', true))
        const asked = { begun: performance.now(), resolve, reject }
        this.#asking = asked
        this.#machine.send({ type: 'upgrade' })
        this.#asking = undefined
        if (this.#asked === asked) signal?.addEventListener('abort', cancel, { once: true })
      })
    } finally {
      signal?.removeEventListener('abort', cancel)
    }
  }

  /**
   * This process is told to stop: an upgrade in flight is taken back first. Then `then` is called, unless it turned out
   * that the successor accepts already.
   */
  stop(then: () => void): void {
    if (this.#asked === undefined) {
      this.#machine.offer({ type: 'stop' })
      then()
      return
    }
    this.#settled.push(() => {
      if (!this.#replaced) then()
    })
    this.#machine.offer({ type: 'stop' })
  }

  /** So many older generations drain. */
  older(draining: number): void {
    this.#machine.offer({ type: 'older-generations', draining })
  }

  /** This process has drained. */
  drained(): void {
    if (this.#machine.state === 'draining') this.#machine.offer({ type: 'drained' })
    else this.#machine.close()
  }

  explain(): Explanation {
    return this.#machine.explain()
  }

  // ---------------------------------------------------------------- what the machine wants

  #perform(effect: HandoffEffect): void {
    switch (effect.type) {
      case 'queued':
        this.#asked = this.#asking
        return
      case 'refused':
        this.#refused(new UpgradeError(effect.why, true))
        return
      case 'notify':
        if (effect.notice === 'reloading') this.#host.service.reloading()
        else if (effect.notice === 'ready') this.#host.service.ready()
        else this.#host.service.mainPid(this.#process?.pid ?? -1)
        return
      case 'spawn':
        this.#spawn(effect.operation)
        return
      case 'capture-state':
        this.#answer(effect.operation, this.#capture(effect.most, effect.limit))
        return
      case 'acknowledge':
        this.#process?.send(fromOld(effect.version, this.#state), this.#state?.bytes ?? '')
        this.#state = undefined
        return
      case 'look':
        this.#answer(effect.operation, this.#look())
        return
      case 'kill':
        // That it has ended is told as such.
        this.#process?.kill()
        return
      case 'run-undo': {
        const hook = this.#host.undo[effect.hook]
        const signal = AbortSignal.timeout(effect.limit)
        this.#answer(effect.operation, async () => hook?.run({ signal }), `undo "${hook?.name}"`)
        return
      }
      case 'rolled-back':
        this.#rolledBack(effect.cause)
        return
      case 'accepted':
        this.#accepted()
        return
      case 'write-pid-file': {
        const { pidFile } = this.#host
        const write = async () => writePidFile(pidFile ?? '', this.#process?.pid ?? -1)
        this.#answer(effect.operation, write, 'pid file')
        return
      }
      case 'pass-lease':
        this.#answer(effect.operation, async () => this.#host.passLease(), 'lease')
        return
      case 'begin-drain':
        this.#host.drain()
        return
      case 'task-failed':
        // What failed by itself was reported with its error.
        if (effect.timedOut) {
          const name = effect.hook === null ? effect.task : `undo "${this.#host.undo[effect.hook]?.name}"`
          this.#host.hookFailed(name, new Error('it has had its time'))
        }
        return
      case 'successor-lost':
        this.#host.lost(this.#process?.pid ?? -1)
        return
      case 'gone':
        if (!effect.drained) this.#host.force()
        // The machine is still in the middle of its step.
        queueMicrotask(() => this.#machine.close())
        return
      default:
        effect satisfies never
    }
  }

  #spawn(operation: number): void {
    this.#asked ??= this.#asking
    this.#generation = operation
    this.#detail = undefined
    this.#cause = undefined
    this.#state = undefined
    this.#process = undefined
    this.#ending = undefined
    const generation = operation
    const inbox = successorInbox({
      message: (message) => this.#heard(generation, message),
      garbage: (why) => {
        this.#detail ??= why
        this.#machine.offer({ type: 'garbage', generation })
      },
    })
    const { program } = this.#host
    const started = async () => {
      try {
        const successor = new SuccessorProcess(program, this.#host.sockets(), this.#host.older(), {
          data: (bytes) => inbox.push(bytes),
          closed: () => this.#machine.offer({ type: 'channel-closed', generation }),
          exited: () => {
            this.#ending = this.#exited(successor, generation)
          },
        })
        this.#process = successor
        await successor.running
      } catch (error) {
        this.#detail = `${program.command} in ${program.cwd}: ${(error as Error).message}`
        this.#cause = error
        throw error
      }
    }
    this.#answer(operation, started)
  }

  #heard(generation: number, message: FromSuccessor): void {
    switch (message.type) {
      case 'ready':
        this.#machine.offer({ type: 'ready', generation, speaks: 'tidegate', version: message.version })
        return
      case 'accepting':
        this.#machine.offer({ type: 'accepting', generation })
        return
      case 'refused':
        this.#detail ??= message.reason
        this.#machine.offer({ type: 'refused', generation })
        return
      default:
        message satisfies never
    }
  }

  async #exited(successor: SuccessorProcess, generation: number): Promise<void> {
    // What it said before may still have to be read.
    await afterPoll(() => {})
    const { code, signal } = successor.status ?? { code: null, signal: null }
    this.#detail ??= signal ? `by ${signal}` : `with code ${code}`
    // What it has started goes with it, unless it served: others may have taken over from it.
    const ownEnd = this.#generation === generation && this.inFlight && !successor.killed
    if (ownEnd) endSession(successor.pid)
    this.#machine.offer({ type: 'exited', generation })
  }

  async #capture(most: number, limit: number): Promise<void> {
    const { state } = this.#host
    if (!state) return
    try {
      const bytes = await state.capture({ signal: AbortSignal.timeout(limit) })
      if (bytes.length > most) throw new RangeError(`it has ${bytes.length} bytes, ${most} are allowed`)
      this.#state = { version: state.version ?? 1, bytes }
    } catch (error) {
      this.#detail ??= (error as Error).message
      this.#cause = error
      throw error
    }
  }

  /** Lets everything that has arrived be told. A closed channel mostly means that the process is about to have ended. */
  async #look(): Promise<void> {
    const successor = this.#process
    const end = performance.now() + EXIT_AFTER_CLOSE
    do await afterPoll(() => {})
    while (successor?.channelClosed && !successor.status && performance.now() < end)
    await this.#ending
  }

  #answer(operation: number, what: Promise<unknown> | (() => Promise<unknown>), hook?: string): void {
    const promise = typeof what === 'function' ? what() : what
    promise.then(
      () => this.#machine.offer({ type: 'done', operation }),
      (error) => {
        if (hook !== undefined) this.#host.hookFailed(hook, error)
        this.#machine.offer({ type: 'failed', operation })
      },
    )
  }

  // ---------------------------------------------------------------- how it ends

  #refused(error: UpgradeError): void {
    if (this.#asking) this.#asking.reject(error)
    else this.#settle((asked) => asked.reject(error))
  }

  #rolledBack(cause: RollbackCause): void {
    const pid = this.#process?.pid
    this.#process?.hangUp()
    this.#process = undefined
    const error = new UpgradeError(cause, false, { detail: this.#detail, pid, cause: this.#cause })
    this.#settle((asked) => asked.reject(error))
  }

  #accepted(): void {
    const pid = this.#process?.pid ?? -1
    this.#replaced = true
    this.#process?.letGo()
    this.#settle((asked) => {
      const upgrade = { pid, duration: performance.now() - asked.begun }
      this.#host.upgraded(upgrade)
      asked.resolve(upgrade)
    })
  }

  #settle(how: (asked: Asked) => void): void {
    const asked = this.#asked
    this.#asked = undefined
    if (asked) how(asked)
    for (const settled of this.#settled.splice(0)) settled()
  }
}
