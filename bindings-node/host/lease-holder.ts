/**
 * The gateway's side of a lease (rule L6 of the core): it serves only while it is sure to hold one.
 *
 * At boot it asks whether the gateway has a lease. The answer has three values: mine, not mine, and *cannot know*
 * (an error, a time-out, no connection). Only a definite one ends the question. It renews, and where it cannot it
 * asks for a drain so early that it has stopped before anybody else could be given the gateway.
 *
 * | state | meaning |
 * | --- | --- |
 * | `new` | {@link LeaseHolder.boot} was not called yet |
 * | `claiming` | nobody could say yet whether there is a lease |
 * | `idle` | there is none: a handshake may come |
 * | `confirming` | the handshake came, the granter is asked to confirm it |
 * | `holding` | serving |
 * | `resuming` | granted for less than a drain takes: it serves after a renew |
 * | `yielding` | the lease is lost or handed over: draining |
 * | `releasing` | stopped, the granter is being told |
 * | `over` | over for this life of the process |
 */

import { randomInt } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { type Duration, milliseconds } from './duration.js'
import { TidegateError } from './errors.js'
import type {
  BackoffPolicy,
  Intent,
  LeaseEnd,
  LeaseHolderConfig,
  LeaseHolderEffect,
  LeaseHolderInput,
  LeaseLoss,
} from './generated.js'
import { bootClock } from './lease/boot-clock.js'
import type { LeaseAnswer, LeaseGranter, LeaseQuestion } from './lease/granter.js'
import { type Explanation, Machine } from './machine.js'
import { native } from './native.js'

/** How a gateway holds its lease. */
export interface LeaseHolderOptions {
  /** Whom it asks. */
  readonly granter: LeaseGranter
  /** The gateway's name in the pool: the same after a restart. */
  readonly gateway: string
  /** Which life of the gateway this is; a later one has a greater number. Default: {@link incarnation}. */
  readonly incarnation?: number
  /** The granter's term; default 60 s. */
  readonly term?: Duration
  /** The longest that a drain takes: the kill budget of the process; default 30 s. */
  readonly drain?: Duration
  /** What must be left of the lease when serving has ended; default 1 s. */
  readonly margin?: Duration
  /** How much faster the granter's clock may run than this one, in thousandths; default 10. */
  readonly drift?: number
  /** How long one question may take; default 5 s. */
  readonly askLimit?: Duration
  /** How long telling the granter of a stop may take, retries included; default 4 s, so that it fits in a kill budget. */
  readonly releaseLimit?: Duration
  /** The delays between questions that nobody could answer; default: full jitter from 0.5 s up to 30 s. */
  readonly retry?: BackoffPolicy
  /** Milliseconds that never run backwards and count the time in which the machine sleeps. Default: the system's. */
  readonly clock?: () => number
}

/** A lease that is held. */
export interface HeldLease {
  readonly gateway: string
  /** What every call carries that is made for the organization. */
  readonly epoch: number
  readonly organization: string
  readonly hostname: string
}

/** What a control plane says in a handshake. */
export interface Handshake {
  readonly epoch: number
}

/** What is known at the end of a boot: there is a lease, there is none, or it is over for this life. */
export type BootAnswer = 'holding' | 'idle' | 'over'

/** The events of a holder. */
export interface LeaseHolderEvents {
  /** The lease is held: open the public door. */
  serve: [lease: HeldLease]
  /** There is definitely no lease; a handshake may come. */
  idle: []
  /** Nobody could say; asked again after `delay` milliseconds. `error` is what the last question met. */
  cannotKnow: [event: { attempt: number; delay: number; error: unknown }]
  /** Drain: serving must have ended within so many milliseconds. Then {@link LeaseHolder.stop}. */
  drain: [event: { loss: LeaseLoss; within: number }]
  /** Out of time: stop serving at once. */
  halt: []
  /** It is over for this life of the process. */
  over: [event: { end: LeaseEnd }]
}

/** There is no lease to wait for any more. Code `lease-over`. */
export class LeaseOver extends TidegateError {
  readonly end: LeaseEnd

  constructor(gateway: string, end: LeaseEnd) {
    super('lease-over', `the lease of gateway ${JSON.stringify(gateway)} is over for this process: ${end}`)
    this.end = end
  }
}

let latest = 0

/** A number for this life of a process, greater than that of any earlier one on a clock that does not run back. */
export function incarnation(): number {
  // Two processes that start in one millisecond must not be one life; those of one process follow one another.
  latest = Math.max(Date.now() * 1_000 + randomInt(1_000), latest + 1)
  return latest
}

type Question = Extract<LeaseHolderEffect, { operation: number }>

const DEFAULT_RELEASE_LIMIT = '4s'

/** Holds the lease of this gateway. */
export class LeaseHolder extends EventEmitter<LeaseHolderEvents> {
  readonly gateway: string
  readonly incarnation: number
  /** How long a {@link stop} takes at most. Milliseconds. */
  readonly releaseLimit: number
  /** The longest that a drain may take. Milliseconds. */
  readonly drainLimit: number
  readonly #granter: LeaseGranter
  readonly #machine: Machine<'lease-holder'>
  readonly #asking = new Map<number, AbortController>()
  #owner = { organization: '', hostname: '' }
  #serving: HeldLease | undefined
  #unanswered: unknown
  #end: LeaseEnd | undefined

  /** @throws ConfigError naming every fault; the term with the sum that it has to exceed. */
  constructor(options: LeaseHolderOptions) {
    super()
    const { granter, gateway, drift, retry, clock = bootClock() } = options
    this.gateway = gateway
    this.incarnation = options.incarnation ?? incarnation()
    this.#granter = granter
    this.releaseLimit = milliseconds(options.releaseLimit ?? DEFAULT_RELEASE_LIMIT, 'releaseLimit')
    this.drainLimit = milliseconds(options.drain ?? DEFAULT_DRAIN, 'drain')
    const config: LeaseHolderConfig = {
      ...read(options, ['term', 'margin', 'askLimit']),
      drain: this.drainLimit,
      releaseLimit: this.releaseLimit,
      drift,
      retry,
    }
    this.#machine = new Machine('lease-holder', {
      config,
      clock,
      perform: (effect) => this.#perform(effect),
    })
  }

  /** Where it is; see the table above. */
  get state(): string {
    return this.#machine.state
  }

  /** The lease, while something may be served under it. */
  get lease(): HeldLease | undefined {
    return this.#serving
  }

  /** Why it is in its state, what it waits for, and when it asks next. For people. */
  explain(): Explanation {
    return this.#machine.explain()
  }

  /**
   * Whether a call from outside that carries this epoch may be served: only one that was made for the lease that
   * is held. A lower one comes from somebody who was superseded.
   */
  admits(epoch: number): boolean {
    return this.#serving?.epoch === epoch
  }

  /**
   * Asks whether this gateway has a lease, until there is a definite answer: that may take as long as the control
   * plane is away. `predecessor` is the epoch of the process that handed over to this one.
   */
  async boot(options: { predecessor?: number; signal?: AbortSignal } = {}): Promise<BootAnswer> {
    this.#machine.send({ type: 'boot', predecessor: options.predecessor })
    return await this.#until(options.signal, () => {
      const { state } = this
      if (state === 'idle') return state
      if (this.#end !== undefined) return 'over'
      return this.#serving === undefined ? undefined : 'holding'
    })
  }

  /**
   * Resolves once a lease is held.
   *
   * @throws LeaseOver when there will be none; what the signal was aborted with.
   */
  async held(signal?: AbortSignal): Promise<HeldLease> {
    return await this.#until(signal, () => {
      if (this.#end !== undefined) throw new LeaseOver(this.gateway, this.#end)
      return this.#serving
    })
  }

  /**
   * The control plane made the handshake: this gateway was given to an organization with this epoch. Resolves once
   * the granter has confirmed it, with true, or has refused it. False as well where the gateway has another lease.
   */
  async granted({ epoch }: Handshake): Promise<boolean> {
    if (this.#machine.offer({ type: 'granted', epoch }) !== undefined) return false
    return await this.#until(undefined, () => {
      if (this.admits(epoch)) return true
      return this.state === 'confirming' || this.state === 'resuming' ? undefined : false
    })
  }

  /** A call that carried this epoch was refused for it: another life of the gateway has the lease. */
  fenced(epoch: number): void {
    this.#machine.send({ type: 'fenced', epoch })
  }

  /** A successor accepts: the lease passes to it. */
  handedOver(): void {
    this.#machine.send({ type: 'handed-over' })
  }

  /**
   * Serving has ended: tells the granter what for, within {@link releaseLimit}. Resolves with how the lease ended
   * for this life. A second stop can only raise the intent.
   */
  async stop(intent: Intent): Promise<LeaseEnd> {
    this.#machine.send({ type: 'stop', intent })
    return await this.#until(undefined, () => this.#end)
  }

  /** Ends it without telling anybody, as a crash would. */
  close(): void {
    for (const question of this.#asking.values()) question.abort()
    this.#end ??= 'unreleased'
    this.#machine.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #perform(effect: LeaseHolderEffect): void {
    switch (effect.type) {
      case 'claim':
      case 'confirm':
      case 'renew':
      case 'release':
        void this.#ask(effect)
        return
      case 'serve':
        this.#serving = { gateway: this.gateway, epoch: effect.epoch, ...this.#owner }
        this.emit('serve', this.#serving)
        return
      case 'idle':
        this.emit('idle')
        return
      case 'cannot-know':
        this.emit('cannotKnow', { attempt: effect.attempt, delay: effect.delay, error: this.#unanswered })
        return
      case 'drain':
        this.emit('drain', { loss: effect.loss, within: effect.within })
        return
      case 'halt':
        this.#serving = undefined
        this.emit('halt')
        return
      case 'over':
        this.#serving = undefined
        this.#end = effect.end
        this.emit('over', { end: effect.end })
        // The machine is still in the middle of its step.
        queueMicrotask(() => this.#machine.close())
        return
      default:
        effect satisfies never
    }
  }

  /** Asks one question; the core says what the answer means, and gives up by itself when there is none in time. */
  async #ask(effect: Question): Promise<void> {
    const { operation, limit } = effect
    if (effect.type === 'release') this.#serving = undefined
    const controller = new AbortController()
    const timer = setTimeout(() => {
      this.#unanswered = new TidegateError('timeout', `the granter gave no answer within ${limit} ms`)
      controller.abort(this.#unanswered)
    }, limit)
    this.#asking.set(operation, controller)
    let meaning: LeaseHolderInput
    try {
      const answer = await this.#granter.ask(this.#question(effect), { signal: controller.signal })
      meaning = meaningOf(effect, answer)
      if ('organization' in answer && !controller.signal.aborted) {
        this.#owner = { organization: answer.organization, hostname: answer.hostname }
      }
    } catch (error) {
      if (!controller.signal.aborted) this.#unanswered = error
      meaning = { type: 'cannot-know', operation }
    }
    clearTimeout(timer)
    this.#asking.delete(operation)
    this.#machine.offer(meaning)
  }

  #question(effect: Question): LeaseQuestion {
    const { gateway, incarnation } = this
    switch (effect.type) {
      case 'claim':
        return { type: 'claim', gateway, incarnation, predecessor: effect.predecessor ?? undefined }
      case 'confirm':
        return { type: 'confirm', gateway, epoch: effect.epoch, incarnation }
      case 'renew':
        return { type: 'renew', gateway, epoch: effect.epoch }
      case 'release':
        return { type: 'stop', gateway, epoch: effect.epoch, intent: effect.intent }
    }
  }

  /** Resolves with the first answer that is one; it is asked again whenever the holder has moved. */
  async #until<T>(signal: AbortSignal | undefined, answer: () => T | undefined): Promise<T> {
    const events = ['serve', 'idle', 'cannotKnow', 'drain', 'halt', 'over'] as const
    return await new Promise<T>((resolve, reject) => {
      const settle = (outcome: () => void) => {
        for (const event of events) this.off(event, look)
        signal?.removeEventListener('abort', give)
        outcome()
      }
      const give = () => settle(() => reject(signal?.reason))
      const look = () => {
        try {
          const found = answer()
          if (found !== undefined) settle(() => resolve(found))
        } catch (error) {
          settle(() => reject(error))
        }
      }
      for (const event of events) this.on(event, look)
      signal?.addEventListener('abort', give)
      if (signal?.aborted) give()
      else look()
    })
  }
}

/** The core's default. */
const DEFAULT_DRAIN = '30s'

function meaningOf(effect: Question, answer: LeaseAnswer): LeaseHolderInput {
  const { organization: _, hostname: __, ...plain } = answer as LeaseAnswer & HeldLease
  const said = answer.type === 'reclaimed' ? { ...plain, organization: 0 } : plain
  return JSON.parse(native.leaseMeaning(JSON.stringify(effect), JSON.stringify(said))) as LeaseHolderInput
}

function read<F extends 'term' | 'margin' | 'askLimit'>(
  options: LeaseHolderOptions,
  fields: readonly F[],
): { [K in F]?: number } {
  const given = fields.filter((field) => options[field] !== undefined)
  return Object.fromEntries(
    given.map((field) => [field, milliseconds(options[field] as Duration, field)]),
  ) as { [K in F]?: number }
}
