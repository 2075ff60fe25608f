/**
 * Runs one machine of the core: tells it what happens, starts what it answers, and wakes it in time.
 *
 * This is what the classes of this package stand on. It is exported for hosts with I/O of their own.
 */

import { randomInt } from 'node:crypto'
import { BugError, ConfigError, type Fault, MalformedError, RejectedError, type Rejection } from './errors.js'
import {
  type Codec,
  codecs,
  type Flat,
  type MachineName,
  type Machines,
  rejectionCodeValues,
} from './generated.js'
import { native } from './native.js'
import { PackedWords } from './packed.js'
import { nextTraceId, trace, tracing } from './trace.js'

/** The config of a machine. */
export type ConfigOf<N extends MachineName> = Machines[N]['config']
/** What can happen to a machine. */
export type InputOf<N extends MachineName> = Machines[N]['input']
/** What a machine wants done. */
export type EffectOf<N extends MachineName> = Machines[N]['effect']

/** When a machine acts next, and by which rule. */
export interface Deadline<N extends MachineName> {
  /** In milliseconds of the machine's clock. */
  readonly at: number
  readonly why: Machines[N]['why']
}

/** Why a machine is in its state. For people, never to be parsed. */
export interface Explanation {
  readonly state: string
  /** How it came to be there. */
  readonly because: string
  /** What it waits for; empty in a state that waits for nothing. */
  readonly waitsFor: string
  /** When it acts next, in milliseconds from its last input, and by which rule. */
  readonly next: { readonly in: number; readonly why: string } | null
}

/** One step of a machine, as an observer sees it. */
export interface Step<N extends MachineName> {
  readonly at: number
  /** What happened; none when a deadline came. */
  readonly input?: InputOf<N> | undefined
  readonly effects: readonly EffectOf<N>[]
  readonly deadline: Deadline<N> | undefined
}

/** How a machine is run. */
export interface RunOptions<N extends MachineName> {
  /** Starts an effect. What it throws (or rejects with) goes to `onError`; the effects after it are still started. */
  readonly perform: (effect: EffectOf<N>) => unknown
  /** The time: integer milliseconds that never run backwards. Default: {@link monotonic}. */
  readonly clock?: (() => number) | undefined
  /** Whether the machine's timer lets the process end. Default: false. */
  readonly unref?: boolean | undefined
  /** Sees every step before its effects are started. */
  readonly onStep?: ((step: Step<N>) => void) | undefined
  /** Gets what `perform` threw. Default: it is thrown again, out of any call: an uncaught exception. */
  readonly onError?: ((error: unknown, effect: EffectOf<N>) => void) | undefined
}

/** How a machine is made. */
export interface MachineOptions<N extends MachineName> extends RunOptions<N> {
  /** Fields that are missing take their defaults. */
  readonly config?: ConfigOf<N> | undefined
  /** The seed of its jitter: an integer below 2^53. Default: a random one. */
  readonly seed?: number | undefined
}

/** How a machine is made from a snapshot. */
export interface RestoreOptions<N extends MachineName> extends RunOptions<N> {
  readonly snapshot: Uint8Array
  /** How long ago the snapshot was taken. Milliseconds. */
  readonly elapsed?: number | undefined
}

/** Milliseconds since the process started. */
export function monotonic(): number {
  return Math.floor(performance.now())
}

/** Node's timers take no more. */
const LONGEST_TIMER = 2 ** 31 - 1

const words = new PackedWords()
const forgotten = new FinalizationRegistry<number>((handle) => native.free(handle))

/** A machine of the core, running. */
export class Machine<N extends MachineName> implements Disposable {
  /** Which machine. */
  readonly name: N
  readonly #codec: Codec<N>
  readonly #clock: () => number
  readonly #perform: (effect: EffectOf<N>) => unknown
  readonly #onStep: ((step: Step<N>) => void) | undefined
  readonly #onError: ((error: unknown, effect: EffectOf<N>) => void) | undefined
  readonly #observed: boolean
  readonly #unref: boolean
  readonly #traceId: string
  readonly #wake = (): void => this.#woken()
  /** -1 once closed. */
  #handle: number
  #last = { state: '', explanation: undefined as Explanation | undefined }
  #deadlineAt = -1
  #deadlineWhy = 0
  #timer: NodeJS.Timeout | undefined
  /** When the timer fires: at the deadline or, as re-arming costs, before it. */
  #armedFor = 0
  /** Effects that are still to be started. */
  #queue: EffectOf<N>[] = []
  #performing = false

  /**
   * Makes a machine and runs it until {@link Machine.close}.
   *
   * @throws {@link ConfigError} with every fault of a config that cannot work; {@link MalformedError} for one of the
   * wrong shape, and for a damaged snapshot.
   */
  constructor(name: N, options: MachineOptions<N> | RestoreOptions<N>) {
    this.name = name
    this.#codec = codecs[name]
    this.#clock = options.clock ?? monotonic
    this.#perform = options.perform
    this.#onStep = options.onStep
    this.#onError = options.onError
    this.#observed = tracing || options.onStep !== undefined
    this.#unref = options.unref ?? false
    this.#traceId = tracing ? nextTraceId() : ''
    const now = this.#clock()
    this.#handle = 'snapshot' in options ? this.#revive(options, now) : this.#create(options, now)
    forgotten.register(this, this.#handle, this)
    const deadline = JSON.parse(native.deadline(this.#handle)) as Deadline<N> | null
    if (deadline !== null) {
      this.#deadlineAt = deadline.at
      this.#deadlineWhy = this.#codec.why.indexOf(deadline.why)
      this.#arm()
    }
  }

  /**
   * A machine from a {@link Machine.snapshot}. Operations that were outstanding count as unknown; deadlines that
   * passed meanwhile are due at once.
   */
  static restore<N extends MachineName>(name: N, options: RestoreOptions<N>): Machine<N> {
    return new Machine(name, options)
  }

  /**
   * Tells the machine what happened, and starts what it answers. Inside `perform` this only queues the new effects:
   * they are started when those before them have been. Ignored once closed.
   *
   * @throws {@link RejectedError} when that is impossible now (the machine is unchanged), {@link MalformedError} when
   * it is no input of this machine.
   */
  send(input: InputOf<N>): void {
    const rejection = this.offer(input)
    if (rejection !== undefined) throw new RejectedError(this.name, rejection)
  }

  /** The same, for inputs that may come too late or too early: answers the rejection instead of throwing it. */
  offer(input: InputOf<N>): Rejection | undefined {
    const handle = this.#handle
    if (handle < 0) return undefined
    const now = this.#clock()
    let answer: Flat
    try {
      answer = this.#codec.send(native, handle, now, input)
    } catch {
      // The object path finds the words for what is wrong.
      answer = 0
    }
    if (answer === null) {
      if (this.#observed) this.#observe(now, input, [])
      return undefined
    }
    if (typeof answer === 'string') {
      this.#carryOut(answer, now, input)
      return undefined
    }
    if (answer === 0) this.#malformed(input, now)
    const rejection = {
      code: rejectionCodeValues[answer - 1] as Rejection['code'],
      input: input.type,
      state: this.state,
    }
    if (tracing) trace({ machine: this.#traceId, at: now, input, rejection: { code: rejection.code } })
    return rejection
  }

  /** Tells the machine the time, for hosts (and tests) whose clock does not follow the timers of Node. */
  tick(): void {
    if (this.#handle < 0) return
    const now = this.#clock()
    const answer = this.#guarded(() => native.tickFlat(this.#handle, now))
    if (typeof answer === 'string') this.#carryOut(answer, now, undefined)
    else if (answer === null && this.#observed) this.#observe(now, undefined, [])
    this.#arm()
  }

  /** When it acts next; none while it waits for the world. */
  get deadline(): Deadline<N> | undefined {
    if (this.#deadlineAt < 0) return undefined
    return { at: this.#deadlineAt, why: this.#codec.why[this.#deadlineWhy] as Machines[N]['why'] }
  }

  /** The name of its state. */
  get state(): string {
    return this.#handle < 0 ? this.#last.state : this.#guarded(() => native.state(this.#handle))
  }

  /** Whether {@link Machine.close} was called. */
  get closed(): boolean {
    return this.#handle < 0
  }

  /** Why it is in its state, what it waits for and when it acts next. */
  explain(): Explanation {
    return this.#last.explanation ?? JSON.parse(this.#guarded(() => native.explain(this.#handle)))
  }

  /** The whole machine as bytes, for {@link Machine.restore}. */
  snapshot(): Uint8Array {
    if (this.#handle < 0) throw new MalformedError(`the ${this.name} is closed`)
    return this.#guarded(() => native.snapshot(this.#handle, this.#clock()))
  }

  /** Ends it: no more timers, no more effects, not even those of a step that is being carried out. */
  close(): void {
    if (this.#handle < 0) return
    this.#last = { state: this.state, explanation: this.explain() }
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#deadlineAt = -1
    this.#queue = []
    forgotten.unregister(this)
    native.free(this.#handle)
    this.#handle = -1
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #create(options: MachineOptions<N>, now: number): number {
    const config = options.config ?? {}
    const seed = options.seed ?? randomInt(2 ** 48 - 1)
    const made = this.#guarded(() => native.create(this.name, JSON.stringify(config), seed, now))
    if (typeof made === 'string') throw new ConfigError(this.name, JSON.parse(made) as Fault[])
    if (tracing) trace({ machine: this.#traceId, name: this.name, config, seed, at: now })
    return made
  }

  #revive({ snapshot, elapsed = 0 }: RestoreOptions<N>, now: number): number {
    const made = this.#guarded(() => native.restore(this.name, snapshot, now, elapsed))
    const bytes = Buffer.from(snapshot).toString('base64')
    if (tracing) trace({ machine: this.#traceId, name: this.name, snapshot: bytes, elapsed, at: now })
    return made as number
  }

  /** Takes a packed step apart and starts its effects. */
  #carryOut(packed: string, now: number, input: InputOf<N> | undefined): void {
    words.open(packed)
    this.#deadlineAt = words.next()
    this.#deadlineWhy = words.next()
    const first = this.#queue.length
    while (words.more) this.#queue.push(this.#codec.effect(words))
    if (this.#observed) this.#observe(now, input, this.#queue.slice(first))
    this.#arm()
    if (!this.#performing && this.#queue.length > 0) this.#performAll()
  }

  #performAll(): void {
    this.#performing = true
    const queue = this.#queue
    // It grows while it is worked off: what is performed may send inputs.
    for (let next = 0; next < queue.length && this.#queue === queue; next += 1) {
      const effect = queue[next] as EffectOf<N>
      try {
        const result = this.#perform(effect)
        if (result instanceof Promise) result.catch((error) => this.#failed(error, effect))
      } catch (error) {
        this.#failed(error, effect)
      }
    }
    queue.length = 0
    this.#performing = false
  }

  #failed(error: unknown, effect: EffectOf<N>): void {
    queueMicrotask(() => {
      if (this.#onError === undefined) throw error
      this.#onError(error, effect)
    })
  }

  #observe(at: number, input: InputOf<N> | undefined, effects: readonly EffectOf<N>[]): void {
    const deadline = this.deadline
    if (tracing) {
      const what = input === undefined ? { tick: true } : { input }
      trace({ machine: this.#traceId, at, ...what, effects, deadline: deadline ?? null })
    }
    try {
      this.#onStep?.({ at, input, effects, deadline })
    } catch (error) {
      // An observer must not keep the effects from being started.
      queueMicrotask(() => {
        throw error
      })
    }
  }

  /** Sets the timer, unless one is set that fires early enough. */
  #arm(): void {
    if (this.#deadlineAt < 0) {
      if (this.#timer !== undefined) clearTimeout(this.#timer)
      this.#timer = undefined
      return
    }
    if (this.#timer !== undefined) {
      if (this.#armedFor <= this.#deadlineAt) return
      clearTimeout(this.#timer)
    }
    const now = this.#clock()
    const delay = Math.min(Math.max(this.#deadlineAt - now, 1), LONGEST_TIMER)
    this.#armedFor = now + delay
    this.#timer = setTimeout(this.#wake, delay)
    if (this.#unref) this.#timer.unref()
  }

  #woken(): void {
    this.#timer = undefined
    if (this.#clock() < this.#deadlineAt) this.#arm()
    else this.tick()
  }

  /** Says what is wrong with an input that the flat path refused to read. */
  #malformed(input: InputOf<N>, now: number): never {
    this.#guarded(() => native.handle(this.#handle, now, JSON.stringify(input)))
    throw new BugError(
      `a bug of tidegate: the two paths of ${this.name} disagree about ${JSON.stringify(input)}`,
    )
  }

  /** Calls the native part; what it throws becomes an error of this package. */
  #guarded<T>(call: () => T): T {
    try {
      return call()
    } catch (error) {
      const { message } = error as Error
      if (/\bbug of tidegate\b|panic/i.test(message)) throw new BugError(message, { cause: error })
      throw new MalformedError(`${this.name}: ${message}`, { cause: error })
    }
  }
}
