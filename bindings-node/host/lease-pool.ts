/**
 * The control plane's side of leases: a pool of gateways that are allocated to organizations, and stay theirs
 * through restarts (rules L1 to L5 and L7 of the core's `lease`).
 *
 * Every decision is the core's, made inside a transaction of the {@link LeaseStore}; a pool adds the calls, the
 * scan that lets time act, and un-routing. Any number of pools, in any number of processes, may share a store.
 */

import { EventEmitter } from 'node:events'
import { type Duration, milliseconds } from './duration.js'
import { BugError } from './errors.js'
import type { Intent, LeaseCause, LeaseConfig, LeaseState } from './generated.js'
import { LeaseRefused, PoolExhausted, UnknownGateway } from './lease/errors.js'
import type { LeaseAnswer, LeaseGranter, LeaseQuestion } from './lease/granter.js'
import { type Decided, isLive, type LeaseConsequence, type LeaseReply, type LeaseRow } from './lease/row.js'
import type { GatewayCommand, LeaseStore } from './lease/store.js'
import { Machine } from './machine.js'

/** On which terms gateways are leased; see {@link LeaseConfig} for what each is for and its default. */
export interface LeaseTerms {
  /** How long a lease lasts past its last renew; default 60 s. */
  term?: Duration
  /** How long a gateway that restarts or vanished keeps its organization; default 2 min. */
  grace?: Duration
  /** The same for one that stopped because it had nothing to do; default 0: not at all. */
  idleHold?: Duration
  /** How long an allocation may take until it is confirmed; default 30 s. */
  allocateLimit?: Duration
  /** How long one attempt to un-route may take; default 10 s. */
  unrouteLimit?: Duration
  /** How often un-routing is tried before the gateway is quarantined; default 3. */
  unrouteAttempts?: number
  /** The pause between two attempts; default 1 s. */
  unroutePause?: Duration
  /** The first quarantine; each further one lasts twice as long; default 30 s. */
  quarantine?: Duration
  /** The longest quarantine; default 1 h. */
  quarantineMax?: Duration
  /** How long after a bad observation another one must come to end a lease; default 10 s. */
  suspicion?: Duration
  /** How long a predecessor is honoured beside its successor by handoff; default 30 s. */
  handoff?: Duration
}

/** The route of a lease that is over. */
export interface Route {
  readonly gateway: string
  readonly address: string
  readonly organization: string
  readonly hostname: string
  /** The epoch of the lease that ended. */
  readonly epoch: number
}

/** What un-routing is given. */
export interface UnrouteContext {
  /** Fires when the attempt has had its time. */
  readonly signal: AbortSignal
  /** Counted from 1. */
  readonly attempt: number
}

/** How a pool is run. */
export interface LeasePoolOptions {
  readonly store: LeaseStore
  readonly terms?: LeaseTerms
  /** The name under which an organization reaches its gateway; default: the organization's own. */
  readonly hostname?: (organization: string) => string
  /**
   * Removes the route of that organization *to this gateway*: it may have another one by now. Resolves when no
   * route is left, and rejects otherwise. May be called again for the same route. From then on none may be published
   * for that lease or one before it: ask {@link LeasePool.verify} first. Default: there are no routes.
   */
  readonly unroute?: (route: Route, context: UnrouteContext) => unknown
  /** How often {@link LeasePool.start} looks for what time has ended; default 1 s. */
  readonly scanEvery?: Duration
}

/** A gateway that an organization has. */
export interface Allocation {
  readonly gateway: string
  /** Where the control plane reaches it. */
  readonly address: string
  readonly organization: string
  readonly hostname: string
  readonly epoch: number
  /** `allocating`: the handshake is under way. `held`: it is restarting. */
  readonly state: LeaseState
  /** Whether the route and the handshake are to be made by whoever asked: it was given for this very request. */
  readonly granted: boolean
  /** The request that it was given for. */
  readonly request: string
  /** How long until it must be confirmed, where it was granted. Milliseconds. */
  readonly limit: number
}

/** A row for people and dashboards. */
export interface PoolRow {
  readonly gateway: string
  readonly address: string
  readonly state: LeaseState
  readonly epoch: number
  readonly incarnation: number
  readonly organization: string | undefined
  readonly hostname: string | undefined
  readonly cause: LeaseCause | undefined
  readonly failures: number
  /** What is left of the state's time; 0 when it is over and was not led on yet. Milliseconds. */
  readonly left: number | undefined
}

/** The events of a pool. Each is told by the pool whose decision it was. */
export interface LeasePoolEvents {
  /** A row is in another state, or has another epoch. */
  entered: [
    event: { gateway: string; state: LeaseState; epoch: number; organization?: string; cause?: LeaseCause },
  ]
  /** For an operator: the route of a lease that is over could not be removed; the gateway is quarantined. */
  routeLeft: [event: Route]
  /** An attempt to un-route failed. */
  unrouteFailed: [event: { route: Route; attempt: number; error: unknown }]
  /** Something in the background failed, and is tried again: the store could not be reached. */
  failure: [event: { during: 'scan' | 'unroute'; error: unknown }]
}

const SCAN_BATCH = 100

/** A pool of gateways. */
export class LeasePool extends EventEmitter<LeasePoolEvents> implements LeaseGranter {
  /** The terms, in milliseconds, as a holder has to know them. */
  readonly terms: LeaseConfig
  readonly #store: LeaseStore
  readonly #hostname: (organization: string) => string
  readonly #unroute: LeasePoolOptions['unroute']
  readonly #scanEvery: number
  readonly #unrouting = new Set<Promise<void>>()
  readonly #closing = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #scanning: Promise<void> | undefined

  /** @throws ConfigError naming every term that cannot work; RangeError for one that is no duration. */
  constructor(options: LeasePoolOptions) {
    super()
    const {
      store,
      terms = {},
      hostname = (organization) => organization,
      unroute,
      scanEvery = '1s',
    } = options
    this.#store = store
    this.terms = inMilliseconds(terms)
    this.#hostname = hostname
    this.#unroute = unroute
    this.#scanEvery = milliseconds(scanEvery, 'scanEvery')
    // The core checks the terms when it makes a machine of them.
    new Machine('lease', { config: this.terms, perform: () => {} }).close()
  }

  // ---------------------------------------------------------------- the pool

  /** Adds a gateway, or changes its address; its lease stays as it is. */
  async enrol(gateway: string, address = ''): Promise<void> {
    named('a gateway', gateway)
    await this.#store.enrol(gateway, address)
  }

  /** Every gateway, or only this one. */
  async list(gateway?: string): Promise<PoolRow[]> {
    const listed = await this.#store.list(gateway)
    return listed.map(({ row, now }) => ({
      gateway: row.gateway,
      address: row.address,
      state: row.state,
      epoch: row.epoch,
      incarnation: row.incarnation,
      organization: row.organization ?? undefined,
      hostname: row.hostname ?? undefined,
      cause: row.cause ?? undefined,
      failures: row.failures,
      left: row.until === null ? undefined : Math.max(0, row.until - now),
    }))
  }

  /** Takes a gateway that nobody has out of the pool. */
  async retire(gateway: string): Promise<void> {
    await this.#accepted(gateway, { type: 'retire' })
  }

  /** Puts a retired gateway back. */
  async reinstate(gateway: string): Promise<void> {
    await this.#accepted(gateway, { type: 'reinstate' })
  }

  /** An operator says that no route is left and the gateway is fit: a releasing or quarantined one is free (L7). */
  async release(gateway: string, epoch: number): Promise<void> {
    await this.#accepted(gateway, { type: 'release', epoch })
  }

  // ---------------------------------------------------------------- a lease

  /**
   * Gives a gateway to an organization, or finds the one that it has (L2). Idempotent by `request`: the same at
   * each retry of one wish, another for the next. Where the answer says `granted`, make the route and the
   * handshake; then the gateway confirms.
   *
   * @throws PoolExhausted; LeaseRefused `releasing` while the organization's last lease is being released,
   *   `request-over` and `unavailable` when what was granted for this request is over, `taken` when the request
   *   was another organization's; LeaseStoreUnavailable.
   */
  async allocate(organization: string, request: string): Promise<Allocation> {
    named('an organization', organization)
    named('a request', request)
    const hostname = this.#hostname(organization)
    for (;;) {
      const decided = await this.#store.allocate(
        { type: 'allocate', organization, request, hostname },
        this.terms,
      )
      if (decided === undefined) throw new PoolExhausted()
      this.#follow(decided)
      const { before, after, answer } = decided
      switch (answer.type) {
        case 'allocated':
          return allocation(after, true, answer.limit)
        case 'already-allocated':
          return allocation(after, false, 0)
        case 'refused':
          // What it had was over when it was asked: now there is nothing in the way.
          if (isLive(before) && !isLive(after) && before.request !== request) continue
          throw new LeaseRefused('allocation', after.gateway, answer.refusal, answer.epoch)
        default:
          throw unexpected(answer)
      }
    }
  }

  /** Confirms that the handshake succeeded with this life of the gateway: the lease is active. Answers its term. */
  async confirm(
    gateway: string,
    epoch: number,
    incarnation: number,
  ): Promise<{ epoch: number; term: number }> {
    return await this.#answer(gateway, { type: 'confirm', epoch, incarnation }, 'confirmed')
  }

  /** The handshake failed: the gateway is quarantined, for longer each time, and never straight back in the pool. */
  async handshakeFailed(gateway: string, epoch: number): Promise<void> {
    await this.#accepted(gateway, { type: 'handshake-failed', epoch })
  }

  /** The holder lives: another term from now. */
  async renew(gateway: string, epoch: number): Promise<{ epoch: number; term: number }> {
    return await this.#answer(gateway, { type: 'renew', epoch }, 'renewed')
  }

  /** A later life of the gateway takes its lease back, with the next epoch (L5). */
  async reclaim(
    gateway: string,
    incarnation: number,
    options: { predecessor?: number } = {},
  ): Promise<{ epoch: number; term: number; organization: string; hostname: string }> {
    const decided = await this.#decide(gateway, { type: 'claim', incarnation, ...options })
    const { epoch, term } = this.#expect(decided, 'claim', 'reclaimed')
    return { epoch, term, ...ownerOf(decided.after) }
  }

  /** The holder stops; what becomes of the lease is decided by what for (L4). Answers the state that it is in now. */
  async stop(gateway: string, epoch: number, intent: Intent): Promise<{ epoch: number; state: LeaseState }> {
    return await this.#answer(gateway, { type: 'stop', epoch, intent }, 'accepted')
  }

  /** Whether a call that carries this epoch may be served; answers for how long that is known. Milliseconds. */
  async verify(gateway: string, epoch: number): Promise<{ epoch: number; left: number }> {
    return await this.#answer(gateway, { type: 'verify', epoch }, 'valid')
  }

  /**
   * Somebody looked at the gateway from outside. One bad observation only begins a suspicion; one more, after
   * the window and without a good one or a renew between, ends the lease (L7).
   */
  async observe(
    gateway: string,
    epoch: number,
    well: boolean,
  ): Promise<{ epoch: number; state: LeaseState }> {
    return await this.#answer(gateway, { type: 'observe', epoch, well }, 'accepted')
  }

  /** Answers a holder's question; a refusal is an answer, and whatever is thrown means that nobody knows. */
  async ask(question: LeaseQuestion): Promise<LeaseAnswer> {
    const { gateway, ...command } = question
    const { answer, after } = await this.#decide(gateway, command)
    switch (answer.type) {
      case 'reclaimed':
      case 'confirmed':
        return { ...answer, ...ownerOf(after) }
      case 'renewed':
      case 'accepted':
      case 'refused':
        return answer
      default:
        throw unexpected(answer)
    }
  }

  // ---------------------------------------------------------------- time

  /** Scans every `scanEvery` until {@link close}. The timer does not keep the process alive. */
  start(): this {
    if (this.#timer !== undefined || this.#closing.signal.aborted) return this
    const scan = () => {
      this.#scanning ??= this.scan()
        .then(
          () => {},
          (error) => this.#failed('scan', error),
        )
        .finally(() => {
          this.#scanning = undefined
        })
    }
    this.#timer = setInterval(scan, this.#scanEvery).unref()
    scan()
    return this
  }

  /**
   * Leads on whatever time has ended: leases expire, grace periods and quarantines end, routes are removed.
   * Answers how many rows that were. {@link start} does it again and again.
   */
  async scan(): Promise<number> {
    let led = 0
    for (;;) {
      const due = await this.#store.due(SCAN_BATCH)
      let progress = 0
      for (const gateway of due) {
        const decided = await this.#decide(gateway, { type: 'look' })
        if (decided.before.until !== decided.after.until) progress += 1
      }
      led += progress
      if (due.length < SCAN_BATCH || progress === 0) return led
    }
  }

  /** Resolves when no attempt to un-route is under way in this process. */
  async settled(): Promise<void> {
    while (this.#unrouting.size > 0) await Promise.all(this.#unrouting)
  }

  /** Stops scanning, and waits for what is under way. The store stays open. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#closing.abort()
    await this.#scanning
    await this.settled()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // ---------------------------------------------------------------- decisions

  async #decide(gateway: string, command: GatewayCommand): Promise<Decided> {
    const decided = await this.#store.decide(gateway, command, this.terms)
    if (decided === undefined) throw new UnknownGateway(gateway)
    this.#follow(decided)
    return decided
  }

  async #accepted(gateway: string, command: GatewayCommand): Promise<void> {
    await this.#answer(gateway, command, 'accepted')
  }

  async #answer<T extends LeaseReply['type']>(
    gateway: string,
    command: GatewayCommand,
    type: T,
  ): Promise<Omit<Extract<LeaseReply, { type: T }>, 'type'>> {
    const { type: _, ...answer } = this.#expect(await this.#decide(gateway, command), command.type, type)
    return answer
  }

  #expect<T extends LeaseReply['type']>(
    { answer, after }: Decided,
    command: string,
    type: T,
  ): Extract<LeaseReply, { type: T }> {
    if (answer.type === 'refused') {
      throw new LeaseRefused(command, after.gateway, answer.refusal, answer.epoch)
    }
    if (answer.type !== type) throw unexpected(answer)
    return answer as Extract<LeaseReply, { type: T }>
  }

  /** Does what follows from a change, now that it is stored. */
  #follow({ before, after, effects }: Decided): void {
    for (const effect of effects) {
      switch (effect.type) {
        case 'entered':
          this.emit('entered', {
            gateway: after.gateway,
            state: effect.state,
            epoch: effect.epoch,
            ...(effect.organization === null ? {} : { organization: ownerOf(before, after).organization }),
            ...(effect.cause === null ? {} : { cause: effect.cause }),
          })
          break
        case 'route-left':
          this.emit('routeLeft', route(effect, before, after))
          break
        case 'unroute': {
          const attempt = this.#remove(route(effect, before, after), effect.attempt, effect.limit)
          this.#unrouting.add(attempt)
          void attempt.finally(() => this.#unrouting.delete(attempt))
          break
        }
        default:
          effect satisfies never
      }
    }
  }

  /** One attempt to un-route. What comes of it is told to the store; untold, its limit ends it. */
  async #remove(route: Route, attempt: number, limit: number): Promise<void> {
    const { gateway, epoch } = route
    let answer: GatewayCommand = { type: 'unrouted', epoch }
    try {
      const signal = AbortSignal.timeout(limit)
      const late = new Promise<never>((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      })
      await Promise.race([Promise.resolve(this.#unroute?.(route, { signal, attempt })), late])
    } catch (error) {
      this.emit('unrouteFailed', { route, attempt, error })
      answer = { type: 'unroute-failed', epoch, attempt }
    }
    try {
      await this.#decide(gateway, answer)
    } catch (error) {
      this.#failed('unroute', error)
    }
  }

  #failed(during: 'scan' | 'unroute', error: unknown): void {
    this.emit('failure', { during, error })
  }
}

function allocation(row: LeaseRow, granted: boolean, limit: number): Allocation {
  const { gateway, address, state, epoch, request } = row
  return { gateway, address, ...ownerOf(row), epoch, state, granted, request: request ?? '', limit }
}

/** Whose a row is, or was until this change. */
function ownerOf(...rows: LeaseRow[]): { organization: string; hostname: string } {
  const row = rows.findLast(({ organization }) => organization !== null)
  return { organization: row?.organization ?? '', hostname: row?.hostname ?? '' }
}

function route(
  effect: Extract<LeaseConsequence, { type: 'unroute' | 'route-left' }>,
  ...rows: LeaseRow[]
): Route {
  const { gateway, address } = rows[0] as LeaseRow
  return { gateway, address, ...ownerOf(...rows), epoch: effect.epoch }
}

function inMilliseconds(terms: LeaseTerms): LeaseConfig {
  const read = (name: string, value: Duration | number) =>
    name === 'unrouteAttempts' ? value : milliseconds(value, name)
  return Object.fromEntries(
    Object.entries(terms).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, read(name, value)]],
    ),
  )
}

/** @throws RangeError when a name is empty. */
function named(what: string, name: string): void {
  if (typeof name !== 'string' || name === '') throw new RangeError(`${what} has a name that is not empty`)
}

function unexpected(answer: LeaseReply): BugError {
  return new BugError(`a bug of tidegate: the answer ${answer.type} fits no such command`)
}
