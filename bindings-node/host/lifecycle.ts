/**
 * The lifecycle of a process that serves: when it is ready, and how it stops without breaking anyone.
 *
 * A {@link Lifecycle} is told what there is to stop: servers, WebSocket servers, tunnels, steps. It asks the
 * drain machine of the core what to do when, does it, and tells the machine what came of it. While the
 * process serves, the machine is not asked: nothing here runs per request or per message.
 *
 * | phase | meaning |
 * | --- | --- |
 * | `starting` | not ready; a signal stops the start |
 * | `serving` | ready |
 * | `lame-duck` | not ready, still accepting; un-route steps run |
 * | `draining` | the public door is closed; what is there finishes |
 * | `forcing` | out of time: what is left is cut |
 * | `releasing` | release steps run |
 * | `stopped` | over; see the {@link Outcome} |
 */

import { channel } from 'node:diagnostics_channel'
import { EventEmitter, setMaxListeners } from 'node:events'
import type { Server as NetServer } from 'node:net'
import process from 'node:process'
import type { DrainSource, Farewell, Intent } from './drainable.js'
import { type Duration, milliseconds } from './duration.js'
import { ConfigError, type Fault, TakeoverError, type UpgradeError } from './errors.js'
import {
  type DrainConfig,
  type DrainEffect,
  type DrainInput,
  type DrainPhase,
  drainPhaseValues,
  type IntentSource,
  intentValues,
} from './generated.js'
import type { ListenOptions } from './handoff/listeners.js'
import { NetSource } from './handoff/net-source.js'
import type { HandoffOptions } from './handoff/options.js'
import type { Upgraded } from './handoff.js'
import {
  type HealthAnswer,
  type HealthHandler,
  type HealthState,
  healthAnswer,
  healthHandler,
} from './health.js'
import type { AnyHttpServer } from './http.js'
import { type HttpOptions, HttpSource } from './http-source.js'
import type { LeaseHolder } from './lease-holder.js'
import { type Explanation, Machine } from './machine.js'
import { Marker, type MarkerOptions } from './marker.js'
import { DEFAULT_SIGNALS, exitCodeOf, listenToSignals, type SignalIntents } from './signals.js'
import { Succession } from './succession.js'
import {
  type WebSocketLike,
  type WebSocketOptions,
  type WebSocketServerLike,
  WebSocketSource,
} from './web-sockets.js'

/** Where a lifecycle is. Never backwards. */
export type Phase = DrainPhase

/** How a process starts and stops. Durations are milliseconds or texts such as `'20s'`. */
export interface LifecycleOptions {
  /** How long to stay accepting while not ready, so that balancers stop sending first; default 2 s, 0 is allowed. */
  lameDuck?: Duration
  /** How long in-flight work may take once the public door is closed; default 20 s. */
  grace?: Duration
  /** How long the platform waits before it kills; default 30 s, as in Kubernetes. */
  killBudget?: Duration
  /** What must be left of the budget for forcing and the exit itself; default 1 s. */
  margin?: Duration
  /** How long a told tunnel may take to leave before it is closed; default 500 ms. */
  flush?: Duration
  /** How many tunnels and WebSockets a second may be told to move; default 0: all at once. */
  reconnectRate?: number
  /** How long a keep-alive connection must have been idle before it is closed; default 500 ms. */
  minIdleAge?: Duration
  /** Two signals closer than this count as one; default 500 ms. */
  signalMerge?: Duration
  /** Whether long streams are told to end when draining starts; otherwise they are cut at the deadline. Default true. */
  endStreams?: boolean
  /** The close code of tunnels and WebSockets on restart, handoff and idle; default 1012. */
  restartCode?: number
  /** The close code of tunnels and WebSockets on decommission; default 1001. */
  decommissionCode?: number
  /** The exit code of a clean restart, for supervisors that tell it by one; default 0. */
  restartExitCode?: number
  /** Which signals stop the process, and what for; `false`: none. Default: SIGTERM and SIGINT, restart. */
  signals?: SignalIntents | false
  /**
   * The file by which a deploy script announces what the next stop is for (see `writeMarker`). It overrides what the
   * signal means; {@link Lifecycle.stop} does not look at it. Read with each stop signal. Default: none.
   */
  marker?: MarkerOptions
  /**
   * Whether {@link Lifecycle.run} sets `process.exitCode`, and exits when something forgotten (a timer, a
   * pool) still keeps the process alive after `margin`. Default true.
   */
  exit?: boolean
  /**
   * How this process is replaced by its successor without a gap, and takes over from the one before; see
   * {@link Lifecycle.listen}. `false`: never, whatever it is passed.
   */
  handoff?: HandoffOptions | false
}

/** How a step of the stop is run. */
export interface StepOptions {
  /** Its limit, attempts included; default 2 s. */
  timeout?: Duration
  /** How often it may be tried within its limit; default 1. */
  attempts?: number
}

/** What a step of the stop is given. */
export interface StepContext {
  /** Fires when the step's time is over: what it still does is not waited for. */
  signal: AbortSignal
  /** What the stop is for. On `handoff`, leave alone what the successor holds. */
  intent: Intent
  /** Counted from 1. */
  attempt: number
}

/** A step of the stop: un-route or release something. */
export type StepFunction = (context: StepContext) => unknown

/** How a stop went. */
export interface Outcome {
  /** What it was for. */
  intent: Intent
  /** Who said that: the first to ask, or who raised it last. */
  source: IntentSource
  /** Requests and tunnels that ended by themselves. */
  drained: number
  /** Requests and tunnels that were cut. */
  forced: number
  /** Those of which nothing is known. */
  abandoned: number
  /** The steps that failed or hung, with the error of the last attempt. */
  failedSteps: StepFailure[]
  /** Whether directory rows were left behind; they end with their time to live. */
  rowsLeft: boolean
  /** From the begin to the end, in milliseconds. */
  duration: number
  /** 0 clean (or `restartExitCode`), 3 when a step failed, 4 when work was cut or abandoned. */
  exitCode: number
}

/** A step that did not succeed. */
export interface StepFailure {
  /** Its name. */
  step: string
  /** Whether it was given up at its limit. */
  timedOut: boolean
  /** What its last attempt threw, if it threw. */
  error?: unknown
}

/** The numbers of a lifecycle, for `prom-client`, OpenTelemetry or a log line. Gauges unless said otherwise. */
export interface LifecycleCounters {
  /** 1 when ready. */
  ready: number
  /** The place of the phase in the table above, from 0. */
  phase: number
  requests: number
  streams: number
  idle: number
  tunnels: number
  told: number
  /** Counts up: stop signals received. */
  signals: number
  /** Counts up: tunnels that this process has asked to move. */
  tellsTotal: number
  /** Counts up: failed steps. */
  failedSteps: number
  /** Counts up: exceptions from listeners and hooks. */
  hookFailures: number
  /** From the outcome; 0 before. */
  drained: number
  forced: number
  abandoned: number
}

/** A response that may go on for ever. */
export interface StreamLike {
  end(): unknown
  once(event: 'close', listener: () => void): unknown
}

/** The events of a lifecycle; the same are published as `tidegate:…` on `node:diagnostics_channel`. */
export interface LifecycleEvents {
  /** `tidegate:readiness` */
  readiness: [event: { ready: boolean }]
  /**
   * `tidegate:phase` The phase changed, or the intent was raised in it. `source` is who said what it is for, `left` is
   * of the whole budget, in milliseconds.
   */
  phase: [event: { phase: Phase; intent?: Intent; source?: IntentSource; left?: number }]
  /** `tidegate:marker-ignored` There was a marker file, and it does not count. */
  markerIgnored: [event: { because: string }]
  /** `tidegate:told` */
  told: [event: { count: number; within?: number }]
  /** `tidegate:pace-clamped` Telling everyone at the asked rate would not fit into the grace period. */
  paceClamped: [event: { wanted: number; used: number }]
  /** `tidegate:step-failed` */
  stepFailed: [event: StepFailure]
  /** `tidegate:rows-left` */
  rowsLeft: [event: Record<never, never>]
  /** `tidegate:hook-failed` A listener or hook threw; the lifecycle goes on. */
  hookFailed: [event: { hook: string; error: unknown }]
  /** `tidegate:upgraded` A successor accepts; this process drains. */
  upgraded: [event: Upgraded]
  /** `tidegate:upgrade-failed` An upgrade was refused or taken back; this process serves on. */
  upgradeFailed: [error: UpgradeError]
  /** `tidegate:successor-lost` The successor ended while this process drained: what it had accepted is lost. */
  successorLost: [event: { pid: number }]
  /** `tidegate:stopped` */
  stopped: [event: Outcome]
}

type LifecycleEvent = keyof LifecycleEvents

/** Why a lifecycle is where it is. */
export interface LifecycleExplanation extends Explanation {
  /** What is left, source by source. */
  sources: { name: string; requests: number; tunnels: number; told: number; idle: number }[]
  /** The same about being replaced, or about taking over. */
  handoff?: Explanation
}

const CHANNELS = {
  readiness: channel('tidegate:readiness'),
  phase: channel('tidegate:phase'),
  markerIgnored: channel('tidegate:marker-ignored'),
  told: channel('tidegate:told'),
  paceClamped: channel('tidegate:pace-clamped'),
  stepFailed: channel('tidegate:step-failed'),
  rowsLeft: channel('tidegate:rows-left'),
  hookFailed: channel('tidegate:hook-failed'),
  upgraded: channel('tidegate:upgraded'),
  upgradeFailed: channel('tidegate:upgrade-failed'),
  successorLost: channel('tidegate:successor-lost'),
  stopped: channel('tidegate:stopped'),
} satisfies Record<LifecycleEvent, unknown>

/** The core has the same, but this host needs some of them itself. */
const DEFAULTS = {
  lameDuck: 2_000,
  grace: 20_000,
  killBudget: 30_000,
  margin: 1_000,
  flush: 500,
  minIdleAge: 500,
  signalMerge: 500,
}
type Times = typeof DEFAULTS

const RESTART_CODE = 1012
const DECOMMISSION_CODE = 1001

/** What the step that gives a lease back may take beyond the holder's own limit. */
const LEASE_SLACK = 100

/** The longest delay of a timer of Node's. */
const LONGEST = 2_147_483_647

interface Step {
  name: string
  kind: 'unroute' | 'release'
  run: StepFunction
  limit: number | undefined
  attempts: number | undefined
}

/** An input that asks for a stop, and who asks. */
interface Ask {
  input: Extract<DrainInput, { type: 'signal' | 'begin' | 'force' }>
  source: IntentSource
}
type Load = Omit<Extract<DrainInput, { type: 'load' }>, 'type'>

/**
 * The lifecycle of this process.
 *
 * ```ts
 * const life = new Lifecycle({ grace: '20s', killBudget: '30s', lameDuck: '2s' })
 * life.http(server)
 * life.release('flush', () => store.flush(), { timeout: '2s' })
 * await life.run()
 * ```
 *
 * Signals count from the construction on: one that comes before {@link start} stops the start.
 */
export class Lifecycle extends EventEmitter<LifecycleEvents> {
  /** Resolves with the outcome once everything is over. */
  readonly stopped: Promise<Outcome>
  /**
   * Answers `…/livez` (200 until stopped) and `…/readyz` (200 while serving, else 503). A handler for
   * `node:http`, express, connect and fastify; returns whether it has answered.
   */
  readonly health: HealthHandler

  readonly #options: LifecycleOptions
  readonly #times: Times
  readonly #sources: DrainSource[] = []
  readonly #drained = new WeakSet<object>()
  readonly #succession: Succession
  readonly #steps: Step[] = []
  #leaseStep: Step | undefined
  readonly #stopping = new AbortController()
  readonly #endingStreams = new AbortController()
  readonly #failures: StepFailure[] = []
  readonly #running = new Map<number, AbortController>()
  readonly #errors = new Map<number, unknown>()
  readonly #ignoreSignals: () => void
  readonly #resolve: (outcome: Outcome) => void
  #machine: Machine<'drain'> | undefined
  /** What came before the machine was there, in order. */
  readonly #early: Ask[] = []
  readonly #marker: Marker | undefined
  /** What the marker said, once it has been read and counted. */
  #announced: Intent | undefined
  /** Who said what the stop is for. */
  #said: { intent: Intent; source: IntentSource } | undefined
  /** Whether {@link run} ends the process. */
  #exits = false
  #firstSignal: number | undefined
  #phase: Phase = 'starting'
  #intent: Intent | undefined
  #ready = false
  #rate: number | undefined
  #counting = false
  #loadDue = false
  #lastLoad = ''
  #rowsLeft = false
  #outcome: Outcome | undefined
  #signals = 0
  #tells = 0
  #hookFailures = 0

  /**
   * @throws ConfigError for a duration that cannot be read, and for a signal that both stops and hands over;
   *   TidegateError `bad-inheritance` when what the process was started with makes no sense.
   */
  constructor(options: LifecycleOptions = {}) {
    super()
    this.#options = options
    this.#rate = options.reconnectRate
    this.#times = times(options)
    this.#marker = options.marker && new Marker(options.marker)
    const { promise, resolve } = withResolvers<Outcome>()
    this.stopped = promise
    this.#resolve = resolve
    this.health = healthHandler(() => this.#healthState())
    // As many as there are streams.
    setMaxListeners(0, this.endingStreams, this.stopping)
    const { signals = DEFAULT_SIGNALS } = options
    this.#succession = new Succession(
      {
        stopSignals: signals || {},
        drain: () => this.#take({ input: { type: 'begin', intent: 'handoff' }, source: 'handoff' }),
        force: () => this.#machine?.offer({ type: 'force' }),
        upgraded: (upgrade) => this.#report('upgraded', upgrade),
        upgradeFailed: (error, asked) => this.#upgradeFailed(error, asked),
        successorLost: (pid) => this.#report('successorLost', { pid }),
        hookFailed: (hook, error) => this.#hookFailed(hook, error),
      },
      options.handoff,
    )
    this.#ignoreSignals = signals
      ? listenToSignals(signals, (intent, signal) => this.#signalled(intent, signal))
      : () => {}
  }

  /** Whether this process wants traffic. */
  get ready(): boolean {
    return this.#ready
  }

  /** Where it is. */
  get phase(): Phase {
    return this.#phase
  }

  /** What the stop is for, once one has begun. */
  get intent(): Intent | undefined {
    return this.#intent
  }

  /** How the stop went, once it is over. */
  get outcome(): Outcome | undefined {
    return this.#outcome
  }

  /** Fires when a stop begins, also during start-up: pass it to what a start waits for. */
  get stopping(): AbortSignal {
    return this.#stopping.signal
  }

  /** Fires when long streams have to end; {@link stream} listens to it. */
  get endingStreams(): AbortSignal {
    return this.#endingStreams.signal
  }

  /**
   * Drains this server: `node:http`, `https` or `http2`, whatever framework is on top. Any number of servers.
   * Call it before the server listens.
   */
  http(server: AnyHttpServer, options: HttpOptions = {}): this {
    this.#drained.add(server)
    return this.tunnels(new HttpSource(server, options))
  }

  /**
   * Lets this server listen, once start-up is done, on a socket that goes from generation to generation: on SIGUSR2 (or
   * {@link upgrade}) this process starts its successor, passes it the socket under this name, accepts until the successor
   * does, and drains. Whatever goes wrong before that leaves this process as it was. Also takes sockets from systemd or
   * another supervisor (`LISTEN_FDS`, `LISTEN_FDNAMES`).
   *
   * A server of HTTP is drained as by {@link http}, which is only needed for its options, and then comes first; any
   * other by waiting for its connections.
   *
   * @throws RangeError for a name that is empty or has a colon; Error for one that is taken.
   */
  listen(name: string, server: NetServer | AnyHttpServer, options: ListenOptions = {}): this {
    if (this.#phase !== 'starting') throw new Error(`listener "${name}" came after the start`)
    this.#succession.listen(name, server as NetServer, options)
    if (this.#drained.has(server)) return this
    return speaksHttp(server) ? this.http(server) : this.tunnels(new NetSource(server as NetServer))
  }

  /**
   * Drains the clients of this `ws` server, `noServer` or not. One that opened its own port (`port`) is
   * drained as an HTTP server as well.
   */
  webSockets<Socket extends WebSocketLike>(
    server: WebSocketServerLike<Socket>,
    options: WebSocketOptions<Socket> & {
      /** How many clients a second may be told to move; the same for all sources of a lifecycle. */
      reconnectRate?: number
    } = {},
  ): this {
    this.#pace(options.reconnectRate)
    const failed = (hook: string, error: unknown) => this.#hookFailed(`web-sockets ${hook}`, error)
    this.tunnels(new WebSocketSource(server, options, this.#times.flush, failed))
    const own = ownServer(server)
    return own ? this.http(own) : this
  }

  /** Drains anything else that can be drained, such as a `TunnelServer`. */
  tunnels(source: DrainSource, options: { reconnectRate?: number } = {}): this {
    this.#pace(options.reconnectRate)
    if (this.#sources.includes(source)) return this
    this.#sources.push(source)
    source.onChange(() => this.#loadChanged())
    if (this.#phase === 'starting' || this.#phase === 'serving') return this
    // Joined late: what the others have been told holds for this one too.
    this.#each('lameDuck', (late) => late.lameDuck?.(), [source])
    if (this.#phase !== 'lame-duck')
      this.#each('refuseNew', (late) => late.refuseNew(this.intent ?? 'restart'), [source])
    this.#loadChanged()
    return this
  }

  /**
   * Ends this long response (server-sent events, gRPC) when streams have to end; how is up to `end`, such as
   * to send a last event first. Otherwise it would be waited for until the deadline, and then cut.
   */
  stream(response: StreamLike, end: () => unknown = () => response.end()): this {
    const ending = () => {
      try {
        end()
      } catch (error) {
        this.#hookFailed('stream end', error)
      }
    }
    if (this.endingStreams.aborted) {
      ending()
      return this
    }
    this.endingStreams.addEventListener('abort', ending, { once: true })
    response.once('close', () => this.endingStreams.removeEventListener('abort', ending))
    return this
  }

  /** Adds a step that takes this process out of balancers, DNS or a directory, while it still accepts. */
  unroute(name: string, run: StepFunction, options: StepOptions = {}): this {
    return this.#step('unroute', name, run, options)
  }

  /** Adds a step that runs when everything has drained: flush, hand back, close. In the order of the calls. */
  release(name: string, run: StepFunction, options: StepOptions = {}): this {
    return this.#step('release', name, run, options)
  }

  /** Adds what takes something back when an upgrade fails, once its successor has ended; in the order of the calls. */
  undo(
    name: string,
    run: (context: { signal: AbortSignal }) => unknown,
    { timeout }: Pick<StepOptions, 'timeout'> = {},
  ): this {
    if (this.#machine) throw new Error(`undo "${name}" came after start()`)
    const limit = timeout === undefined ? undefined : milliseconds(timeout, `the timeout of undo "${name}"`)
    this.#succession.undo({ name, run, limit })
    return this
  }

  /**
   * Replaces this process by its successor: resolves when that accepts, and this one begins to drain. The signal takes
   * the upgrade back, as long as the successor does not accept.
   *
   * @throws UpgradeError naming the cause; this process serves on, unchanged.
   */
  upgrade({ signal }: { signal?: AbortSignal } = {}): Promise<Upgraded> {
    return this.#succession.upgrade(signal)
  }

  /**
   * Serves under this lease: begins the drain when the lease is lost, in time for it, and tells the granter of the
   * stop and what for, as the last step. What else has to be done while the gateway is surely ours goes into
   * release steps, whenever they are added.
   *
   * @throws ConfigError when a stop may take longer than the holder leaves it before its lease ends.
   */
  lease(holder: LeaseHolder): this {
    const { killBudget } = this.#times
    if (holder.drainLimit < killBudget) {
      const message = `is ${holder.drainLimit} ms, but a stop may take the kill budget of ${killBudget} ms: raise it to that`
      throw new ConfigError('lease-holder', [{ code: 'contradiction', field: 'drain', message }])
    }
    if (this.#machine || this.#leaseStep)
      throw new Error('one lease, and before start(): the budget counts it')
    holder.on('drain', ({ loss }) => {
      if (loss === 'handed-over') this.#begin('handoff', 'handoff')
      else this.#begin('restart', 'lease')
    })
    holder.on('halt', () => void this.force())
    holder.on('over', () => {
      if (!this.stopping.aborted) this.#begin('restart', 'lease')
    })
    this.#leaseStep = {
      name: 'lease',
      kind: 'release',
      run: ({ intent }) => holder.stop(intent),
      // The holder keeps its limit by itself; it is to say so first.
      limit: holder.releaseLimit + LEASE_SLACK,
      attempts: undefined,
    }
    return this
  }

  /**
   * Starts: ready from here, unless a signal or a {@link stop} came first. No more steps can be added.
   *
   * @throws ConfigError naming every fault of the options and steps; the budget with its sum. Error when there are
   *   listeners: those open in {@link run}.
   */
  start(): void {
    if (this.#succession.listens) throw new Error('listeners are opened by run(), not by start()')
    this.#open()
    this.#started()
  }

  /**
   * Starts, keeps the process alive, and resolves with the outcome when everything has stopped. With `boot`
   * the process listens and becomes ready once that is done; the signal it is given fires on a stop during
   * start-up, which waits for `boot` for at most `grace`.
   *
   * Then the process ends: by itself when nothing is left to do, else `margin` later (see
   * {@link LifecycleOptions.exit}), with the outcome's exit code.
   *
   * @throws ConfigError as {@link start}, before `boot` is called; what `boot` throws, why a listener could not
   *   be opened, or TakeoverError, once all is released (exit code 1).
   */
  async run(boot?: (signal: AbortSignal) => unknown): Promise<Outcome> {
    this.#open()
    this.#exits = this.#options.exit !== false
    const alive = setInterval(() => {}, LONGEST)
    let failed = true
    try {
      await this.#boot(boot)
      failed = false
      return await this.stopped
    } finally {
      const { exitCode } = await this.stopped
      clearInterval(alive)
      if (this.#exits) exitSoon(exitCode || (failed ? 1 : 0), this.#times.margin)
    }
  }

  /**
   * Begins a stop, or raises the intent of the one under way; it never makes it longer. Before the start is
   * done it stops that. Resolves with the outcome, once {@link start} or {@link run} was called as well.
   */
  stop(intent: Intent = 'restart'): Promise<Outcome> {
    this.#begin(intent, 'control')
    return this.stopped
  }

  /** Cuts what is left now; begins a stop if none was. Release steps still run. Resolves with the outcome. */
  force(): Promise<Outcome> {
    if (!this.stopping.aborted) this.#begin('restart', 'control')
    this.#ask({ input: { type: 'force' }, source: 'control' })
    return this.stopped
  }

  /** Why it is in its phase, what it waits for, and what is left where. For people. */
  explain(): LifecycleExplanation {
    const explanation = this.#machine?.explain() ?? {
      state: 'starting',
      because: 'start() was not called yet',
      waitsFor: 'start()',
      next: null,
    }
    const sources = this.#sources.map((source) => {
      const { requests, tunnels, told, idle } = this.#loadOf([source])
      return { name: source.name ?? 'tunnels', requests, tunnels, told, idle }
    })
    const handoff = this.#succession.explain()
    return { ...explanation, sources, ...(handoff && { handoff }) }
  }

  /** What a probe of this path is answered, for servers that {@link health} does not fit; none for other paths. */
  probe(path: string): HealthAnswer | undefined {
    return healthAnswer(path, this.#healthState())
  }

  /** All numbers at once. */
  counters(): LifecycleCounters {
    const { drained = 0, forced = 0, abandoned = 0 } = this.#outcome ?? {}
    return {
      ready: this.#ready ? 1 : 0,
      phase: drainPhaseValues.indexOf(this.#phase),
      ...this.#loadOf(this.#sources),
      signals: this.#signals,
      tellsTotal: this.#tells,
      failedSteps: this.#failures.length + (this.#rowsLeft ? 1 : 0),
      hookFailures: this.#hookFailures,
      drained,
      forced,
      abandoned,
    }
  }

  /** Stops, so that `await using life = …` leaves nothing behind. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#machine) await this.stop()
    else this.#ignoreSignals()
    this.#succession.dispose()
  }

  // ---------------------------------------------------------------- start

  #pace(rate: number | undefined): void {
    if (rate === undefined || rate === this.#rate) return
    if (this.#machine) throw new Error('the reconnectRate must be known before start()')
    if (this.#rate !== undefined) {
      const message = `is ${this.#rate} for one source and ${rate} for another; one lifecycle has one pace`
      throw new ConfigError('drain', [{ code: 'contradiction', field: 'reconnectRate', message }])
    }
    this.#rate = rate
  }

  #step(kind: Step['kind'], name: string, run: StepFunction, { timeout, attempts }: StepOptions): this {
    if (this.#machine) throw new Error(`step "${name}" came after start(): the budget was checked without it`)
    const limit = timeout === undefined ? undefined : milliseconds(timeout, `the timeout of step "${name}"`)
    this.#steps.push({ kind, name, run, limit, attempts })
    return this
  }

  #config(): DrainConfig {
    const options = this.#options
    return {
      ...this.#times,
      reconnectRate: this.#rate,
      endStreams: options.endStreams,
      restartCode: options.restartCode,
      decommissionCode: options.decommissionCode,
      restartExitCode: options.restartExitCode,
      steps: this.#steps.map(({ name, kind, limit, attempts }) => ({ name, kind, limit, attempts })),
    }
  }

  /** Makes the machine: a config that cannot work is refused here, with all steps known (D9). */
  #open(): void {
    if (this.#machine) return
    if (this.#leaseStep) this.#steps.push(this.#leaseStep)
    this.#machine = new Machine('drain', {
      config: this.#config(),
      perform: (effect: DrainEffect) => this.#perform(effect),
    })
    this.#succession.open(this.#times.killBudget)
  }

  /** Waits for `boot`; after a stop in the middle of it, no longer than the grace period or a second signal. */
  async #boot(boot: ((signal: AbortSignal) => unknown) | undefined): Promise<void> {
    if (this.#phase !== 'starting' || this.#early.length > 0) {
      this.#started()
      return
    }
    const given = new Promise<void>((resolve) => {
      const wait = () => setTimeout(resolve, this.#times.grace).unref()
      this.stopping.addEventListener('abort', wait, { once: true })
    })
    try {
      await Promise.race([boot?.(this.stopping), given, this.stopped])
      if (!this.stopping.aborted) await this.#succession.accept(this.stopping)
    } catch (error) {
      // A boot that was told to stop may say so by throwing.
      if (this.stopping.aborted) return
      if (!(error instanceof TakeoverError)) this.#succession.failed()
      this.#begin('restart', 'boot')
      throw error
    } finally {
      this.#started()
    }
  }

  /** Start-up is done, or was stopped (D2). */
  #started(): void {
    const machine = this.#machine
    if (!machine || this.#phase !== 'starting') return
    const early = this.#early.splice(0)
    const { requests, tunnels } = this.#loadOf(this.#sources)
    // A start that was stopped has nothing to drain, unless someone has come in already.
    if (early.length === 0 || requests + tunnels > 0) machine.send({ type: 'started' })
    else this.#each('refuseNew', (source) => source.refuseNew(this.intent ?? 'restart'))
    for (const ask of early) this.#take(ask)
  }

  // ---------------------------------------------------------------- stop

  #signalled(meant: Intent, signal: NodeJS.Signals): void {
    this.#signals += 1
    // Everything is over, and only something forgotten keeps the process: no reason to lose the exit code.
    if (this.#phase === 'stopped') process.exit()
    const { intent, source } = this.#weigh(meant)
    const ask: Ask = { input: { type: 'signal', intent }, source }
    if (this.#phase !== 'starting') {
      this.#ask(ask)
      return
    }
    const now = performance.now()
    if (this.#firstSignal === undefined) {
      this.#firstSignal = now
      this.#ask(ask)
    } else if (now - this.#firstSignal >= this.#times.signalMerge) {
      // The start does not stop. With a machine there may be something to release; without, nothing is known.
      if (this.#machine) this.#started()
      else process.exit(exitCodeOf(signal))
    }
  }

  /** What a stop by a signal is for (Y3): what the marker says; without one, what the signal means. */
  #weigh(meant: Intent): { intent: Intent; source: IntentSource } {
    const marker = this.#marker?.take()
    if (marker && 'because' in marker) this.#markerIgnored(marker)
    // It counts once; and a second signal only wants it faster, so it does not change what was announced.
    else if (marker) this.#announced ??= marker.intent
    if (this.#announced !== undefined) return { intent: this.#announced, source: 'marker' }
    return { intent: meant, source: this.#options.signals ? 'signal' : 'default' }
  }

  #begin(intent: Intent, source: IntentSource): void {
    this.#ask({ input: { type: 'begin', intent }, source })
  }

  /** An input that may come before the start is done; then it waits for that (D2). */
  #ask(ask: Ask): void {
    if (this.#phase === 'starting') {
      this.#early.push(ask)
      if (!this.stopping.aborted) this.#stopping.abort()
    } else {
      this.#succession.stop(() => this.#take(ask))
    }
  }

  /** Tells the machine; who says so is remembered where that decides what the stop is for. */
  #take({ input, source }: Ask): void {
    if (input.type !== 'force') {
      const { intent } = input
      const said = this.#said && intentValues.indexOf(this.#said.intent)
      if (said === undefined || intentValues.indexOf(intent) > said) this.#said = { intent, source }
    }
    this.#machine?.offer(input)
  }

  /** Does what the machine decided. Nothing here throws, and nothing waits. */
  #perform(effect: DrainEffect): void {
    switch (effect.type) {
      case 'readiness':
        this.#ready = effect.ready
        if (effect.ready) {
          this.#enter({ phase: 'serving' })
          this.#succession.ready()
        }
        this.#report('readiness', { ready: effect.ready })
        return
      case 'entered':
        this.#intent = effect.intent
        if (!this.stopping.aborted) this.#stopping.abort()
        this.#succession.draining()
        this.#enter({
          phase: effect.phase,
          intent: effect.intent,
          source: this.#source,
          left: effect.left,
        })
        return
      case 'lame-duck':
        this.#each('lameDuck', (source) => source.lameDuck?.())
        return
      case 'run-step':
        void this.#runStep(effect.step, effect.attempt, effect.operation)
        return
      case 'step-failed':
        this.#stepFailed(effect.step, effect.timedOut)
        return
      case 'close-public-door':
        this.#finish(
          effect.operation,
          this.#each('refuseNew', (source) => source.refuseNew(this.intent ?? 'restart')),
        )
        return
      case 'count':
        this.#counting = true
        this.#sendLoad()
        return
      case 'close-idle':
        this.#each('closeIdle', (source) => source.closeIdle?.(effect.olderThan))
        return
      case 'end-streams':
        this.#endingStreams.abort()
        this.#each('endStreams', (source) => source.endStreams?.())
        return
      case 'tell':
        this.#tell(effect.count, effect.within ?? undefined)
        return
      case 'pace-clamped':
        this.#report('paceClamped', { wanted: effect.wanted, used: effect.used })
        return
      case 'clear-rows': {
        const signal = AbortSignal.timeout(effect.limit)
        this.#finish(
          effect.operation,
          this.#each('clearRows', (source) => source.clearRows(signal)),
        )
        return
      }
      case 'rows-left':
        this.#rowsLeft = true
        this.#report('rowsLeft', {})
        return
      case 'close-tunnels': {
        const farewell = this.#farewell()
        this.#each('closeAll', (source) => source.closeAll(effect.code, farewell))
        this.#loadChanged()
        return
      }
      case 'close-peer-door':
        this.#each('closePeerDoor', (source) => source.closePeerDoor?.())
        return
      case 'abort': {
        const farewell = this.#farewell()
        this.#each('abort', (source) => source.abort(effect.code, farewell))
        this.#loadChanged()
        return
      }
      case 'stopped':
        this.#over(effect)
        return
      default:
        effect satisfies never
    }
  }

  get #source(): IntentSource {
    return this.#said?.source ?? 'default'
  }

  #enter(event: LifecycleEvents['phase'][0]): void {
    this.#phase = event.phase
    this.#report('phase', event)
  }

  async #runStep(index: number, attempt: number, operation: number): Promise<void> {
    const step = this.#steps[index]
    let controller = this.#running.get(index)
    if (!controller) {
      controller = new AbortController()
      this.#running.set(index, controller)
    }
    try {
      await step?.run({ signal: controller.signal, intent: this.#intent ?? 'restart', attempt })
      this.#answer('done', operation)
    } catch (error) {
      this.#errors.set(index, error)
      this.#answer('failed', operation)
    }
  }

  #stepFailed(index: number, timedOut: boolean): void {
    const step = this.#steps[index]?.name ?? `${index}`
    const failure: StepFailure = { step, timedOut }
    if (this.#errors.has(index)) failure.error = this.#errors.get(index)
    this.#failures.push(failure)
    this.#running.get(index)?.abort(new DOMException(`step "${step}" has had its time`, 'TimeoutError'))
    this.#report('stepFailed', failure)
  }

  /** Answers an operation once everyone has finished; the host knows no order among its sources. */
  #finish(operation: number, parts: unknown[]): void {
    void Promise.allSettled(parts).then((results) => {
      const failed = results.filter((result) => result.status === 'rejected')
      for (const { reason } of failed) this.#hookFailed('source', reason)
      this.#answer(failed.length === 0 ? 'done' : 'failed', operation)
    })
  }

  #answer(type: 'done' | 'failed', operation: number): void {
    this.#machine?.offer({ type, operation })
  }

  /** Tells so many tunnels to move; which ones is the business of their source. */
  #tell(count: number, within: number | undefined): void {
    const farewell = this.#farewell()
    let left = count
    this.#each('tell', (source) => {
      const untold = Math.min(source.count() - source.told(), left)
      if (untold <= 0) return
      left -= untold
      source.tell(untold, within, farewell)
    })
    this.#tells += count - left
    this.#report('told', within === undefined ? { count: count - left } : { count: count - left, within })
    this.#loadChanged()
  }

  #farewell(): Farewell {
    const intent = this.#intent ?? 'restart'
    const { restartCode = RESTART_CODE, decommissionCode = DECOMMISSION_CODE } = this.#options
    return { intent, reason: intent, code: intent === 'decommission' ? decommissionCode : restartCode }
  }

  #over(effect: Extract<DrainEffect, { type: 'stopped' }>): void {
    const { intent, drained, forced, abandoned, duration, exitCode } = effect
    const failedSteps = this.#failures
    const rowsLeft = this.#rowsLeft
    const source = this.#source
    const outcome = { intent, source, drained, forced, abandoned, failedSteps, rowsLeft, duration, exitCode }
    this.#outcome = outcome
    this.#intent = intent
    this.#counting = false
    // Where `run` ends the process, signals are heeded until it has: by default they would kill it, and with it
    // the outcome's exit code.
    if (this.#exits) process.exitCode = exitCodeFor(exitCode)
    else {
      this.#ignoreSignals()
      this.#succession.dispose()
    }
    this.#succession.stopped()
    this.#enter({ phase: 'stopped', intent, source })
    this.#report('stopped', outcome)
    this.#resolve(outcome)
    // The machine is still in the middle of its step.
    queueMicrotask(() => this.#machine?.close())
  }

  // ---------------------------------------------------------------- load

  /** At most one load is sent in a turn of the event loop, and none that says nothing new. */
  #loadChanged(): void {
    if (!this.#counting || this.#loadDue) return
    this.#loadDue = true
    setImmediate(() => {
      this.#loadDue = false
      this.#sendLoad()
    })
  }

  #sendLoad(): void {
    if (!this.#counting) return
    const load = this.#loadOf(this.#sources)
    const text = Object.values(load).join()
    if (text === this.#lastLoad) return
    this.#lastLoad = text
    this.#machine?.offer({ type: 'load', ...load })
  }

  #loadOf(sources: readonly DrainSource[]): Load {
    const load = { requests: 0, idle: 0, streams: 0, tunnels: 0, told: 0 }
    this.#each(
      'count',
      (source) => {
        load.requests += source.requests?.() ?? 0
        load.idle += source.idle?.() ?? 0
        load.streams += source.streams?.() ?? 0
        load.tunnels += source.count()
        load.told += source.told()
      },
      sources,
    )
    load.streams = Math.min(load.streams, load.requests)
    load.told = Math.min(load.told, load.tunnels)
    return load
  }

  // ---------------------------------------------------------------- other people's code

  /** Calls something of every source; one that throws does not keep the others from it. */
  #each<T>(
    hook: string,
    call: (source: DrainSource) => T,
    sources: readonly DrainSource[] = this.#sources,
  ): T[] {
    const results: T[] = []
    for (const source of sources) {
      try {
        results.push(call(source))
      } catch (error) {
        this.#hookFailed(`${source.name ?? 'tunnels'} ${hook}`, error)
      }
    }
    return results
  }

  /** Tells listeners and subscribers. A listener that throws keeps no one else from hearing it. */
  #report<Event extends LifecycleEvent>(event: Event, payload: LifecycleEvents[Event][0]): void {
    CHANNELS[event].publish(payload)
    for (const listener of this.rawListeners(event) as ((payload: unknown) => unknown)[]) {
      const failed = (error: unknown) => this.#hookFailed(`listener of "${event}"`, error)
      try {
        const result = listener.call(this, payload)
        if (result instanceof Promise) result.catch(failed)
      } catch (error) {
        failed(error)
      }
    }
  }

  #hookFailed(hook: string, error: unknown): void {
    this.#hookFailures += 1
    if (this.listenerCount('hookFailed') === 0 || hook === 'listener of "hookFailed"') {
      process.emitWarning(`${hook} failed: ${error}`, {
        type: 'TidegateWarning',
        code: 'TIDEGATE_HOOK_FAILED',
      })
    } else {
      this.#report('hookFailed', { hook, error })
    }
  }

  #upgradeFailed(error: UpgradeError, asked: boolean): void {
    if (!asked && this.listenerCount('upgradeFailed') === 0) {
      process.emitWarning(error.message, { type: 'TidegateWarning', code: 'TIDEGATE_UPGRADE_FAILED' })
    }
    this.#report('upgradeFailed', error)
  }

  #markerIgnored(event: { because: string }): void {
    if (this.listenerCount('markerIgnored') === 0) {
      process.emitWarning(`the marker file does not count: ${event.because}`, {
        type: 'TidegateWarning',
        code: 'TIDEGATE_MARKER_IGNORED',
      })
    }
    this.#report('markerIgnored', event)
  }

  #healthState(): HealthState {
    return { ready: this.#ready, live: this.#phase !== 'stopped', phase: this.#phase }
  }
}

/** A clean stop does not hide a failure that the application has set. */
function exitCodeFor(code: number): number | string {
  return code === 0 ? (process.exitCode ?? 0) : code
}

/**
 * Ends the process with this code: by itself if nothing is left to do, else after `margin` milliseconds.
 * What kept it alive is named, as whoever started it could have ended it in a release step.
 */
function exitSoon(code: number, margin: number): void {
  process.exitCode = exitCodeFor(code)
  setTimeout(() => {
    const kept = [...new Set(process.getActiveResourcesInfo())].join(', ')
    process.emitWarning(`the process had stopped but was kept alive by: ${kept}`, {
      type: 'TidegateWarning',
      code: 'TIDEGATE_KEPT_ALIVE',
      detail: 'End it in a release step, or take `margin` for it.',
    })
    // Warnings are printed in the next tick.
    setImmediate(() => process.exit())
  }, margin).unref()
}

/** Whether a server speaks HTTP: only those of `node:http`, `https` and `http2` have a timeout for their connections. */
function speaksHttp(server: NetServer | AnyHttpServer): server is AnyHttpServer {
  return typeof (server as Partial<AnyHttpServer>).setTimeout === 'function'
}

/** The HTTP server that a `ws` server with the option `port` has made for itself. */
function ownServer(server: object): AnyHttpServer | undefined {
  const { options, _server } = server as {
    options?: { port?: number | null }
    _server?: AnyHttpServer | null
  }
  return options?.port == null ? undefined : (_server ?? undefined)
}

/** Reads the durations; all that cannot be read are named at once. */
function times(options: LifecycleOptions): Times {
  const faults: Fault[] = []
  const read = (field: keyof Times): number => {
    const given = options[field]
    if (given === undefined) return DEFAULTS[field]
    try {
      return milliseconds(given)
    } catch (error) {
      faults.push({ code: 'out-of-range', field, message: (error as Error).message })
      return 0
    }
  }
  const fields = Object.keys(DEFAULTS) as (keyof Times)[]
  const all = Object.fromEntries(fields.map((field) => [field, read(field)]))
  if (faults.length > 0) throw new ConfigError('drain', faults)
  return all as Times
}

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
