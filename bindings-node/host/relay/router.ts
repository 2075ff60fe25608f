/**
 * Where a request goes: to the tunnel here, to the relay that holds it, or nowhere yet (R4).
 *
 * A request goes out again only when nothing is lost by it: it did not reach the host, or repeating it does no
 * harm. It is forwarded to the owner that the directory names and, where that one no longer has the tunnel,
 * once more to the next; it waits, in all no longer than the wait limit, for a host that is between relays. A
 * host that nobody has seen for longer than that limit is not waited for.
 */

import { setTimeout as delay } from 'node:timers/promises'
import type { Directory, Owned, Owner } from '../directory.js'
import { RequestFailure } from './failure.js'
import type { Forwarded } from './forward.js'
import { type Tunnel, TunnelLost } from './tunnel.js'

/** How a tunnel, or the relay that has it, is used. */
export interface Attempt<T> {
  here(tunnel: Tunnel): Promise<T>
  elsewhere(row: Owned): Promise<Forwarded<T>>
  /** Whether it may be tried again when nobody knows whether it arrived. */
  repeatable: boolean
}

/** A request on its way. */
export interface Route {
  host: string
  signal: AbortSignal
  /** Another relay asks: never forward it again. */
  forwarded: boolean
}

/** Between two tries of a directory that is away. Milliseconds. */
const RETRY_EVERY = 100
/** For how long a directory that failed is not asked about tunnels that are here. Milliseconds. */
const AWAY_FOR = 500
/** How often a request may be sent on: its first owner and, once, the next (R4). */
const MOST_FORWARDS = 2
/** How long the row of a host that is registered here may be ahead of its admission. Milliseconds. */
const ADMISSION_LIMIT = 1_000

/** The routable tunnels of this relay, and the way to those of others. */
export class Router {
  readonly #directory: Directory
  readonly #owner: Owner
  readonly #waitLimit: number
  /** The routable tunnel of each host. */
  readonly #tunnels = new Map<string, Tunnel>()
  /** Until when the directory is taken to be away. */
  #awayUntil = 0
  readonly #awaited = new Map<string, Set<() => void>>()

  constructor(directory: Directory, owner: Owner, waitLimit: number) {
    this.#directory = directory
    this.#owner = owner
    this.#waitLimit = waitLimit
  }

  /** The routable tunnels, by host. */
  get tunnels(): ReadonlyMap<string, Tunnel> {
    return this.#tunnels
  }

  /** Routes a host to this tunnel from now on. The one before it, if there is one. */
  add(host: string, tunnel: Tunnel): Tunnel | undefined {
    const older = this.#tunnels.get(host)
    this.#tunnels.set(host, tunnel)
    for (const wake of [...(this.#awaited.get(host) ?? [])]) wake()
    return older
  }

  /** Routes nothing to this tunnel any more. */
  remove(host: string, tunnel: Tunnel): void {
    if (this.#tunnels.get(host) === tunnel) this.#tunnels.delete(host)
  }

  /** Finds the tunnel of a host, here or elsewhere, waiting for it where it is on its way (R4). */
  async route<T>({ host, signal, forwarded }: Route, attempt: Attempt<T>): Promise<T> {
    /** Registrations up to this epoch are known to lead nowhere. */
    let after = -1
    let forwards = 0
    let ends: number | undefined
    const left = () => {
      ends ??= performance.now() + this.#waitLimit
      return Math.max(0, Math.ceil(ends - performance.now()))
    }
    for (;;) {
      signal.throwIfAborted()
      const tunnel = this.#tunnels.get(host)
      if (tunnel && tunnel.epoch > after) {
        const use = await this.#usable(tunnel, left, signal)
        if (use === 'here') {
          try {
            return await attempt.here(tunnel)
          } catch (error) {
            if (!(error instanceof TunnelLost)) throw error
            if (error.sent && !attempt.repeatable) {
              throw new RequestFailure('tunnel-lost', 'the tunnel was lost before the host answered')
            }
          }
        }
        after = tunnel.epoch
      }
      if (forwarded) throw new RequestFailure('not-here', 'the tunnel is not here')
      const row = await this.#find(host, after, left, signal)
      if (this.#isOurs(row)) {
        // Registered here: admitted in a moment, or gone in one.
        await this.#admission(host, row.held, Math.min(left(), ADMISSION_LIMIT), signal)
        const admitted = this.#tunnels.get(host)
        if (!admitted || admitted.epoch < row.held) after = row.held
        if (left() === 0) throw noTunnel()
        continue
      }
      if (forwards === MOST_FORWARDS) throw noTunnel()
      forwards += 1
      const outcome = await attempt.elsewhere(row)
      if (outcome.type === 'answer') return outcome.answer
      if (outcome.type === 'lost' && outcome.sent && !attempt.repeatable) {
        throw new RequestFailure('tunnel-lost', 'the relay of the host was lost before it answered')
      }
      // What cannot be reached was not asked.
      if (outcome.type === 'lost' && !outcome.sent) forwards -= 1
      after = Math.max(after, row.held)
    }
  }

  /** Whether a tunnel of this relay takes a new request now. Of one that was told, the directory knows. */
  async #usable(tunnel: Tunnel, left: () => number, signal: AbortSignal): Promise<'here' | 'elsewhere'> {
    if (tunnel.gate === 'held') await tunnel.gateSettled(left(), signal)
    if (tunnel.gate !== 'open') return 'elsewhere'
    // While the directory is away, what is here is served (R2), and not after a look that times out each time.
    if (!tunnel.told || performance.now() < this.#awayUntil) return 'here'
    try {
      const row = await this.#directory.look(tunnel.host ?? '')
      if (row.type === 'owned' && row.held > tunnel.epoch) tunnel.moved()
    } catch {
      this.#awayUntil = performance.now() + AWAY_FOR
    }
    return tunnel.gate === 'open' ? 'here' : 'elsewhere'
  }

  /** The owner of a host's row; waits for one where the host was here a moment ago. */
  async #find(host: string, after: number, left: () => number, signal: AbortSignal): Promise<Owned> {
    for (;;) {
      try {
        const row = await this.#directory.look(host)
        if (row.type === 'owned' && row.held > after) return row
        const isExpected = row.type === 'owned' || (row.since ?? Number.POSITIVE_INFINITY) < this.#waitLimit
        if (!isExpected && after < 0) throw noTunnel()
        const found = await this.#directory.waitFor(host, { after, within: left(), signal })
        signal.throwIfAborted()
        if (!found) throw noTunnel()
        return found
      } catch (error) {
        // Whatever else a directory fails with: it cannot be asked now.
        if (error instanceof RequestFailure || signal.aborted) throw error
        if (left() === 0) {
          throw new RequestFailure('directory-unavailable', 'the directory cannot be reached', {
            cause: error,
          })
        }
        await delay(Math.min(RETRY_EVERY, left()), undefined, { signal }).catch(() => signal.throwIfAborted())
        // It may have come back here meanwhile.
        const own = this.#tunnels.get(host)
        if (own && own.epoch > after && own.gate === 'open') {
          return { type: 'owned', owner: this.#owner, address: '', held: own.epoch, epoch: own.epoch }
        }
      }
    }
  }

  #isOurs({ owner }: Owned): boolean {
    return owner.machine === this.#owner.machine && owner.incarnation === this.#owner.incarnation
  }

  /** Resolves when the registration with this epoch is admitted here, or when the time is over. */
  async #admission(host: string, epoch: number, within: number, signal: AbortSignal): Promise<void> {
    const isHere = () => (this.#tunnels.get(host)?.epoch ?? 0) >= epoch
    if (isHere()) return
    await new Promise<void>((resolve) => {
      const awaited = this.#awaited.get(host) ?? new Set<() => void>()
      const end = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', end)
        awaited.delete(look)
        if (awaited.size === 0) this.#awaited.delete(host)
        resolve()
      }
      const look = () => {
        if (isHere()) end()
      }
      const timer = setTimeout(end, within)
      signal.addEventListener('abort', end)
      this.#awaited.set(host, awaited.add(look))
    })
  }
}

function noTunnel(): RequestFailure {
  return new RequestFailure('no-tunnel', 'no relay has a tunnel to this host')
}
