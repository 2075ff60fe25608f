/**
 * Who owns which tunnel (rules R2 to R4): what relays share so that each can find the one that holds a host's
 * tunnel.
 *
 * A directory holds one row per host: the owner (one life of a relay machine), the address under which other
 * relays reach that owner, and an *epoch* that only grows. Every decision about a row is the core's; a store
 * adds where rows live and who may reach them. {@link MemoryDirectory} is for one process, `tidegate/redis`
 * for a fleet, `tidegate/directory-server` for a few processes on one machine.
 *
 * # Epochs
 *
 * A registration is a compare-and-set. A relay looks the row up when a connection *opens*, and registers with
 * the last epoch `k` that it saw; if nothing later was granted meanwhile it is granted `k + 1`, always. So a
 * newer connection wins over an older one, and a late retry of the older one changes nothing. One registration
 * carries one `k`, however often it is sent; two registrations of one life for one host never carry the same.
 */

import { TidegateError } from './errors.js'
import { type EffectOf, type InputOf, Machine } from './machine.js'

/** The last epoch and the last incarnation: what crosses every store and language as an exact number. */
export const MAX_EPOCH = Number.MAX_SAFE_INTEGER

/** One life of a relay machine. */
export interface Owner {
  /** The machine's name, the same after a restart. Not empty. */
  readonly machine: string
  /** Which life: a later one has a greater number. The time of the start in milliseconds will do. */
  readonly incarnation: number
}

/** Why a command was refused. */
export type Refusal =
  /** A later epoch was granted since: somebody else is there, give way. */
  | 'stale-epoch'
  /** Another machine, or another life of this one, owns the row: give way. */
  | 'other-owner'
  /** Nobody owns the row (it expired, was cleared or lost): a live owner registers again. */
  | 'no-row'

/** A command that was refused, and changed nothing. */
export interface Refused {
  readonly type: 'refused'
  readonly refusal: Refusal
  /** The last epoch granted: what the next registration carries. */
  readonly epoch: number
}

/** The answer to a registration that holds. */
export interface Registered {
  readonly type: 'registered'
  /** The epoch of this registration: the one that it carried, plus one. */
  readonly epoch: number
}

/** The answer to a renewal that holds. */
export interface Renewed {
  readonly type: 'renewed'
  readonly epoch: number
}

/** The row was given up; or barred, when its registration has not landed yet. */
export interface Removed {
  readonly type: 'removed'
  readonly epoch: number
}

/** Somebody owns the row. */
export interface Owned {
  readonly type: 'owned'
  readonly owner: Owner
  /** Where other relays reach the owner, as it said when it registered. */
  readonly address: string
  /** The epoch of the owner's registration. */
  readonly held: number
  /** The last epoch granted: what the next registration carries. Not below {@link held}. */
  readonly epoch: number
}

/** Nobody owns the row. */
export interface Vacant {
  readonly type: 'vacant'
  /** The last epoch granted, or 0: what the next registration carries. */
  readonly epoch: number
  /** For how long it has had no owner, in milliseconds; absent for a host that is not known at all. */
  readonly since?: number
}

/** A registration. */
export interface RegisterCommand {
  readonly host: string
  readonly owner: Owner
  /**
   * The greatest epoch that this life knew or had asked for, for this host, when the connection opened; 0 or
   * absent for none.
   */
  readonly epoch?: number
  /** Where other relays reach this one. */
  readonly address: string
}

/** A command about a registration that was granted, or asked for. */
export interface HeldCommand {
  readonly host: string
  readonly owner: Owner
  /** The epoch of the registration: the one that it carried, plus one. */
  readonly epoch: number
}

/** How to wait for a row. */
export interface WaitOptions {
  /** Only a registration with an epoch greater than this one will do; absent: any. */
  readonly after?: number
  /** How long, in milliseconds. */
  readonly within: number
  /** Gives up earlier. */
  readonly signal?: AbortSignal
}

/**
 * Who owns which tunnel. Answers are values, refusals included.
 *
 * @throws {DirectoryUnavailable} Every method rejects with it, and with nothing else, when the store cannot be
 *   reached in time; whether the command took effect is then unknown. Malformed arguments throw a `RangeError`.
 */
export interface Directory {
  /** Takes the row of a host, with the epoch after the one that is carried (R2). */
  register(command: RegisterCommand): Promise<Registered | Refused>
  /** Keeps a row for another TTL (R2). */
  renew(command: HeldCommand): Promise<Renewed | Refused>
  /** Gives a row up, or takes back a registration whose outcome is unknown (R1, R2). */
  unregister(command: HeldCommand): Promise<Removed | Refused>
  /** Who owns the row of a host, and the epoch that the next registration carries (R4). */
  look(host: string): Promise<Owned | Vacant>
  /** Clears the rows of exactly this life, in one call that costs only these (R3, D5). How many there were. */
  clearOwn(owner: Owner): Promise<number>
  /**
   * Clears the rows of *earlier* lives of the same machine, in one call that costs only these (R3): the very
   * first thing at start, before anything listens. How many there were.
   */
  clearEarlier(owner: Owner): Promise<number>
  /** Waits, bounded, for the row of a host that is between relays (R4); undefined when none came in time. */
  waitFor(host: string, options: WaitOptions): Promise<Owned | undefined>
}

/** The store behind a directory cannot be reached, or did not answer in time. Code `directory-unavailable`. */
export class DirectoryUnavailable extends TidegateError {
  /** What was asked. */
  readonly operation: string

  constructor(operation: string, options: { cause?: unknown; because?: string } = {}) {
    const { cause, because = cause instanceof Error ? cause.message : 'it did not answer' } = options
    super('directory-unavailable', `the directory cannot ${operation}: ${because}`, { cause })
    this.operation = operation
  }
}

/** Whether a row answers a wait. */
export function answersWait(row: Owned | Vacant, after: number | undefined): row is Owned {
  return row.type === 'owned' && row.held > (after ?? -1)
}

/** @throws RangeError when a host's name is not one. */
export function checkHost(host: string): void {
  if (typeof host !== 'string' || host === '') throw new RangeError('a host has a name that is not empty')
}

/** @throws RangeError when this cannot be the owner of a row. */
export function checkOwner(owner: Owner): void {
  if (typeof owner.machine !== 'string' || owner.machine === '') {
    throw new RangeError('an owner has a machine name that is not empty')
  }
  checkCount('an incarnation', owner.incarnation, MAX_EPOCH)
}

/** @throws RangeError when a registration cannot carry this epoch. */
export function checkCarried(epoch: number): void {
  checkCount('the epoch that a registration carries', epoch, MAX_EPOCH - 1)
}

/** @throws RangeError when a registration cannot have this epoch. */
export function checkHeld(epoch: number): void {
  checkCount('an epoch', epoch, MAX_EPOCH)
}

function checkCount(what: string, value: number, most: number): void {
  if (!Number.isSafeInteger(value) || value < 0 || value > most) {
    throw new RangeError(`${what} is a whole number from 0 to ${most}, not ${value}`)
  }
}

/** How a directory in memory keeps its rows. */
export interface MemoryDirectoryOptions {
  /** How long a row lives past its last renew, in milliseconds; default 90,000. */
  ttl?: number
  /**
   * How long a host's last epoch is remembered without an owner, in milliseconds; default a day. Longer than
   * any message can be late.
   */
  remember?: number
}

const DEFAULT_TTL = 90_000
const SWEEP_EVERY = 60_000
const A_DAY = 24 * 60 * 60 * 1000

/** What is known about one host: its row as the core keeps it, and what only the host package needs. */
interface Entry {
  readonly machine: Machine<'directory'>
  owned: { owner: Owner; address: string; held: number } | undefined
  /** When its owner went, or when it expires unless it is renewed. */
  ends: number
}

type Command = InputOf<'directory'>
type Answer = EffectOf<'directory'>

function refused(answer: Answer): Refused {
  if (answer.type !== 'refused') throw new Error(`the answer ${answer.type} fits no command: this is a bug`)
  return { type: 'refused', refusal: answer.refusal, epoch: answer.epoch }
}

/** A directory in this process's memory. Every decision is the core's. */
export class MemoryDirectory implements Directory {
  readonly #ttl: number
  readonly #remember: number
  readonly #entries = new Map<string, Entry>()
  /** The hosts that each life owns: a clear costs only these (R3). */
  readonly #index = new Map<string, Map<number, Set<string>>>()
  readonly #names = new Map<string, number>()
  readonly #waiting = new Map<string, Set<() => void>>()
  #answer: Answer | undefined
  #swept = performance.now()

  constructor(options: MemoryDirectoryOptions = {}) {
    this.#ttl = options.ttl ?? DEFAULT_TTL
    this.#remember = options.remember ?? A_DAY
    // A TTL that cannot work is refused here, with the core's own words, and not at the first row.
    this.#machine().close()
  }

  /** How many hosts have an owner now. */
  get size(): number {
    const now = performance.now()
    let size = 0
    for (const entry of this.#entries.values()) if (entry.owned && now < entry.ends) size += 1
    return size
  }

  async register(command: RegisterCommand): Promise<Registered | Refused> {
    const { host, owner, epoch = 0, address } = command
    checkHost(host)
    checkOwner(owner)
    checkCarried(epoch)
    const entry = this.#entry(host)
    const answer = this.#ask(entry, { type: 'register', ...this.#numbered(owner), epoch })
    if (answer.type === 'registered') {
      this.#vacate(host, entry)
      entry.owned = { owner: { ...owner }, address, held: answer.epoch }
      entry.ends = performance.now() + this.#ttl
      this.#hostsOf(owner).add(host)
      for (const wake of this.#waiting.get(host) ?? []) wake()
      return { type: 'registered', epoch: answer.epoch }
    }
    return refused(answer)
  }

  async renew(command: HeldCommand): Promise<Renewed | Refused> {
    const { host, owner, epoch } = command
    checkHost(host)
    checkOwner(owner)
    checkHeld(epoch)
    const entry = this.#entry(host)
    const answer = this.#ask(entry, { type: 'renew', ...this.#numbered(owner), epoch })
    if (answer.type !== 'renewed') return refused(answer)
    entry.ends = performance.now() + this.#ttl
    return { type: 'renewed', epoch: answer.epoch }
  }

  async unregister(command: HeldCommand): Promise<Removed | Refused> {
    const { host, owner, epoch } = command
    checkHost(host)
    checkOwner(owner)
    checkHeld(epoch)
    const entry = this.#entry(host)
    const answer = this.#ask(entry, { type: 'unregister', ...this.#numbered(owner), epoch })
    if (answer.type !== 'removed') return refused(answer)
    if (entry.machine.state === 'vacant') this.#vacate(host, entry)
    return { type: 'removed', epoch: answer.epoch }
  }

  async look(host: string): Promise<Owned | Vacant> {
    return this.#look(host)
  }

  async clearOwn(owner: Owner): Promise<number> {
    checkOwner(owner)
    const hosts = this.#index.get(owner.machine)?.get(owner.incarnation) ?? new Set()
    return this.#clear([...hosts], { type: 'clear-own', ...this.#numbered(owner) })
  }

  async clearEarlier(owner: Owner): Promise<number> {
    checkOwner(owner)
    const hosts: string[] = []
    for (const [incarnation, owned] of this.#index.get(owner.machine) ?? []) {
      if (incarnation < owner.incarnation) hosts.push(...owned)
    }
    return this.#clear(hosts, { type: 'clear-earlier', ...this.#numbered(owner) })
  }

  async waitFor(host: string, options: WaitOptions): Promise<Owned | undefined> {
    checkHost(host)
    const { after, within, signal } = options
    return await new Promise<Owned | undefined>((resolve) => {
      const finish = (row: Owned | undefined) => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', give)
        this.#stopWaiting(host, look)
        resolve(row)
      }
      const give = () => finish(undefined)
      const look = () => {
        const row = this.#look(host)
        if (answersWait(row, after)) finish(row)
      }
      const timer = setTimeout(give, within)
      signal?.addEventListener('abort', give)
      const waiting = this.#waiting.get(host) ?? new Set()
      this.#waiting.set(host, waiting.add(look))
      if (signal?.aborted) give()
      else look()
    })
  }

  #stopWaiting(host: string, look: () => void): void {
    const waiting = this.#waiting.get(host)
    waiting?.delete(look)
    if (waiting?.size === 0) this.#waiting.delete(host)
  }

  #look(host: string): Owned | Vacant {
    checkHost(host)
    const entry = this.#entries.get(host)
    if (!entry) return { type: 'vacant', epoch: 0 }
    const answer = this.#ask(entry, { type: 'look' })
    const epoch = 'epoch' in answer ? answer.epoch : 0
    if (answer.type === 'owner' && entry.owned) return { type: 'owned', ...entry.owned, epoch }
    this.#vacate(host, entry)
    if (epoch === 0) return { type: 'vacant', epoch }
    return { type: 'vacant', epoch, since: Math.max(0, Math.floor(performance.now() - entry.ends)) }
  }

  #clear(hosts: string[], command: Command): number {
    let cleared = 0
    for (const host of hosts) {
      const entry = this.#entry(host)
      if (this.#ask(entry, command).type !== 'removed') continue
      this.#vacate(host, entry)
      cleared += 1
    }
    return cleared
  }

  #entry(host: string): Entry {
    this.#sweep()
    const known = this.#entries.get(host)
    if (known) return known
    const entry: Entry = { machine: this.#machine(), owned: undefined, ends: performance.now() }
    this.#entries.set(host, entry)
    return entry
  }

  #machine(): Machine<'directory'> {
    return new Machine('directory', {
      config: { ttl: this.#ttl },
      unref: true,
      perform: (effect) => {
        this.#answer = effect
      },
    })
  }

  #ask(entry: Entry, command: Command): Answer {
    this.#answer = undefined
    entry.machine.send(command)
    if (!this.#answer) throw new Error('a directory row gave no answer: this is a bug of tidegate')
    return this.#answer
  }

  /** Takes a row without an owner out of the index. */
  #vacate(host: string, entry: Entry): void {
    if (!entry.owned) return
    const { machine, incarnation } = entry.owned.owner
    const lives = this.#index.get(machine)
    const hosts = lives?.get(incarnation)
    hosts?.delete(host)
    if (hosts?.size === 0) lives?.delete(incarnation)
    if (lives?.size === 0) this.#index.delete(machine)
    entry.owned = undefined
    entry.ends = Math.min(entry.ends, performance.now())
  }

  /** Forgets hosts that have been without an owner for long. Looks at most once a minute. */
  #sweep(): void {
    const now = performance.now()
    if (now - this.#swept < SWEEP_EVERY) return
    this.#swept = now
    for (const [host, entry] of this.#entries) {
      if (now - entry.ends < this.#remember) continue
      this.#vacate(host, entry)
      entry.machine.close()
      this.#entries.delete(host)
    }
  }

  #hostsOf(owner: Owner): Set<string> {
    const lives = this.#index.get(owner.machine) ?? new Map<number, Set<string>>()
    this.#index.set(owner.machine, lives)
    const hosts = lives.get(owner.incarnation) ?? new Set<string>()
    lives.set(owner.incarnation, hosts)
    return hosts
  }

  /** The core knows machines by number. */
  #numbered(owner: Owner): { machine: number; incarnation: number } {
    const machine = this.#names.get(owner.machine) ?? this.#names.size + 1
    this.#names.set(owner.machine, machine)
    return { machine, incarnation: owner.incarnation }
  }
}
