/**
 * `tidegate/redis`: a directory that relays share in Redis 6 or later (or anything that speaks its protocol
 * and runs its scripts).
 *
 * Takes a client of ioredis or of node-redis that is already there; it does not connect, configure or close
 * it. Each command is one script and one round trip, sent by its hash and in full only when the server does
 * not know it yet. Commands of the same kind that come in one turn of the event loop share a script: when a
 * thousand hosts reconnect at once, the store sees a few dozen commands.
 *
 * A client that queues commands while it is disconnected may send them long after they were given up here.
 * That is harmless: a late command meets a later epoch and changes nothing.
 */

import { createHash } from 'node:crypto'
import {
  answersWait,
  checkCarried,
  checkHeld,
  checkHost,
  checkOwner,
  type Directory,
  DirectoryUnavailable,
  type HeldCommand,
  MAX_EPOCH,
  type Owned,
  type Owner,
  type Refusal,
  type Refused,
  type RegisterCommand,
  type Registered,
  type Removed,
  type Renewed,
  type Vacant,
  type WaitOptions,
} from './directory.js'
import { CLEAR, LOOK, REGISTER, RENEW, UNREGISTER } from './redis/scripts.js'

/** What is used of an ioredis client (`new Redis()` or `new Cluster()`). */
export interface IoredisClient {
  eval(script: string, keys: number, ...rest: string[]): Promise<unknown>
  evalsha(hash: string, keys: number, ...rest: string[]): Promise<unknown>
}

/** What is used of a node-redis client (`createClient()`, `createCluster()` or a pool). */
export interface NodeRedisClient {
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>
  evalSha(hash: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>
}

/** How rows live in Redis. */
export interface RedisDirectoryOptions {
  /**
   * The common start of all keys; default `{tidegate}`. On a cluster it must hold a hash tag, so that all keys
   * of one directory share a slot.
   */
  prefix?: string
  /** How long a row lives past its last renew, in milliseconds; default 90,000. */
  ttl?: number
  /**
   * How long a host's last epoch is remembered without an owner, in milliseconds; default a day. Longer than
   * any message can be late.
   */
  remember?: number
  /** How long one command may take before it counts as failed, in milliseconds; default 2,000. */
  commandTimeout?: number
  /** How often rows that are waited for are looked up, all of them in one command; default 25 ms. */
  pollEvery?: number
}

/** Sends a script: the one thing that the two clients do differently. */
type Run = (script: Script, keys: string[], rest: string[]) => Promise<unknown>

interface Script {
  readonly text: string
  readonly hash: string
}

/** Hosts per script, so that no single one holds the store for long. */
const LOOK_MOST = 1_000
const WRITE_MOST = 200

const [register, renew, unregister, clear, look] = [REGISTER, RENEW, UNREGISTER, CLEAR, LOOK].map(
  (text): Script => ({ text, hash: createHash('sha1').update(text).digest('hex') }),
) as [Script, Script, Script, Script, Script]

type Written = Registered | Renewed | Removed | Refused

interface Waiter {
  readonly after: number | undefined
  finish(row: Owned | undefined): void
}

/** What is asked in one turn of the event loop, answered together. */
class Batch<Command, Answer> {
  #waiting: { command: Command; resolve(answer: Answer): void; reject(error: unknown): void }[] = []

  constructor(readonly run: (commands: Command[]) => Promise<Answer[]>) {}

  add(command: Command): Promise<Answer> {
    if (this.#waiting.length === 0) setImmediate(() => void this.#flush())
    return new Promise((resolve, reject) => this.#waiting.push({ command, resolve, reject }))
  }

  async #flush(): Promise<void> {
    const waiting = this.#waiting
    this.#waiting = []
    try {
      const answers = await this.run(waiting.map(({ command }) => command))
      for (const [n, { resolve, reject }] of waiting.entries()) {
        const answer = answers[n]
        if (answer !== undefined) resolve(answer)
        else reject(new DirectoryUnavailable('answer a command', { because: 'its answer is not one' }))
      }
    } catch (error) {
      for (const { reject } of waiting) reject(error)
    }
  }
}

/** A directory in Redis. */
export class RedisDirectory implements Directory {
  readonly #run: Run
  readonly #prefix: string
  readonly #ttl: number
  readonly #remember: number
  readonly #commandTimeout: number
  readonly #pollEvery: number
  readonly #waiting = new Map<string, Set<Waiter>>()
  readonly #looks = new Batch<string, Owned | Vacant>((hosts) => this.#look(hosts))
  /** Writes of this turn of the event loop, by kind and owner. */
  readonly #writes = new Map<string, Batch<HeldCommand & { address: string }, Written>>()
  #polling = false
  #pollFailure: DirectoryUnavailable | undefined

  /**
   * @throws RangeError when a duration is not a whole number of milliseconds above zero.
   * @throws TypeError when the client is neither of ioredis nor of node-redis.
   */
  constructor(client: IoredisClient | NodeRedisClient, options: RedisDirectoryOptions = {}) {
    this.#run = runner(client)
    this.#prefix = options.prefix ?? '{tidegate}'
    this.#ttl = duration('ttl', options.ttl ?? 90_000)
    this.#remember = duration('remember', options.remember ?? 24 * 60 * 60 * 1000)
    this.#commandTimeout = duration('commandTimeout', options.commandTimeout ?? 2_000)
    this.#pollEvery = duration('pollEvery', options.pollEvery ?? 25)
  }

  async register(command: RegisterCommand): Promise<Registered | Refused> {
    const { host, owner, epoch = 0, address } = command
    checkCarried(epoch)
    const answer = await this.#write('register a host', register, { host, owner, epoch }, address)
    return answer as Registered | Refused
  }

  async renew(command: HeldCommand): Promise<Renewed | Refused> {
    checkHeld(command.epoch)
    return (await this.#write('renew a row', renew, command)) as Renewed | Refused
  }

  async unregister(command: HeldCommand): Promise<Removed | Refused> {
    checkHeld(command.epoch)
    return (await this.#write('remove a row', unregister, command)) as Removed | Refused
  }

  async look(host: string): Promise<Owned | Vacant> {
    checkHost(host)
    return await this.#looks.add(host)
  }

  async clearOwn(owner: Owner): Promise<number> {
    checkOwner(owner)
    return await this.#clear(owner, `${owner.incarnation}`, `${owner.incarnation}`)
  }

  async clearEarlier(owner: Owner): Promise<number> {
    checkOwner(owner)
    return await this.#clear(owner, '-inf', `(${owner.incarnation}`)
  }

  async waitFor(host: string, options: WaitOptions): Promise<Owned | undefined> {
    checkHost(host)
    const { after, within, signal } = options
    if (signal?.aborted) return undefined
    return await new Promise<Owned | undefined>((resolve, reject) => {
      const waiting = this.#waiting.get(host) ?? new Set<Waiter>()
      const end = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', give)
        waiting.delete(waiter)
        if (waiting.size === 0) this.#waiting.delete(host)
      }
      const waiter: Waiter = {
        after,
        finish: (row) => {
          end()
          resolve(row)
        },
      }
      const give = () => waiter.finish(undefined)
      const timer = setTimeout(() => {
        if (!this.#pollFailure) return give()
        end()
        reject(this.#pollFailure)
      }, within)
      signal?.addEventListener('abort', give)
      this.#waiting.set(host, waiting.add(waiter))
      void this.#poll()
    })
  }

  /** Looks up everything that is waited for, again and again, as long as there is any. */
  async #poll(): Promise<void> {
    if (this.#polling) return
    this.#polling = true
    while (this.#waiting.size > 0) {
      const hosts = [...this.#waiting.keys()]
      try {
        for (const [n, row] of (await this.#look(hosts)).entries()) {
          const waiting = this.#waiting.get(hosts[n] ?? '') ?? []
          for (const waiter of [...waiting]) if (answersWait(row, waiter.after)) waiter.finish(row)
        }
        this.#pollFailure = undefined
      } catch (failure) {
        this.#pollFailure = failure as DirectoryUnavailable
      }
      await new Promise((resolve) => setTimeout(resolve, this.#pollEvery))
    }
    this.#polling = false
    this.#pollFailure = undefined
  }

  async #write(operation: string, script: Script, command: HeldCommand, address = ''): Promise<Written> {
    const { host, owner, epoch } = command
    checkHost(host)
    checkOwner(owner)
    const machine = encodeURIComponent(owner.machine)
    const kind = `${script.hash} ${owner.incarnation} ${machine}`
    let batch = this.#writes.get(kind)
    if (!batch) {
      batch = new Batch((commands) => {
        this.#writes.delete(kind)
        return this.#writeAll(operation, script, owner, commands)
      })
      this.#writes.set(kind, batch)
    }
    return await batch.add({ host, owner, epoch, address })
  }

  async #writeAll(
    operation: string,
    script: Script,
    owner: Owner,
    commands: (HeldCommand & { address: string })[],
  ): Promise<Written[]> {
    const machine = encodeURIComponent(owner.machine)
    const common = [machine, `${owner.incarnation}`, `${this.#ttl}`, `${this.#remember}`]
    const pieces = []
    for (let first = 0; first < commands.length; first += WRITE_MOST) {
      const rest = commands
        .slice(first, first + WRITE_MOST)
        .flatMap(({ host, epoch, address }) => [host, `${epoch}`, encodeURIComponent(address)])
      pieces.push(this.#ask(operation, script, this.#keys(machine), [...common, ...rest]))
    }
    const answers = (await Promise.all(pieces)) as unknown[][]
    return answers.flat().map((answer) => {
      const [type, granted, refusal] = strings(operation, answer)
      if (type === 'refused') return { type, refusal: refusal as Refusal, epoch: Number(granted) }
      return { type: type as 'registered', epoch: Number(granted) }
    })
  }

  async #clear(owner: Owner, lowest: string, highest: string): Promise<number> {
    const machine = encodeURIComponent(owner.machine)
    const rest = [machine, lowest, highest]
    return Number(await this.#ask('clear the rows of a machine', clear, this.#keys(machine), rest))
  }

  async #look(hosts: string[]): Promise<(Owned | Vacant)[]> {
    const rows: (Owned | Vacant)[] = []
    const operation = 'look hosts up'
    for (let first = 0; first < hosts.length; first += LOOK_MOST) {
      const answers = await this.#ask(operation, look, this.#keys(), hosts.slice(first, first + LOOK_MOST))
      for (const answer of answers as unknown[]) rows.push(row(strings(operation, answer)))
    }
    return rows
  }

  #keys(machine?: string): string[] {
    const keys = ['rows', 'ends', 'epochs', 'known'].map((key) => `${this.#prefix}:${key}`)
    if (machine !== undefined) keys.push(`${this.#prefix}:machine:${machine}`)
    return keys
  }

  /** One command, in its time. */
  async #ask(operation: string, script: Script, keys: string[], rest: string[]): Promise<unknown> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      const because = `no answer within ${this.#commandTimeout} ms`
      timer = setTimeout(() => reject(new DirectoryUnavailable(operation, { because })), this.#commandTimeout)
    })
    try {
      return await Promise.race([this.#run(script, keys, rest), late])
    } catch (cause) {
      throw cause instanceof DirectoryUnavailable ? cause : new DirectoryUnavailable(operation, { cause })
    } finally {
      clearTimeout(timer)
    }
  }
}

function row(words: string[]): Owned | Vacant {
  const [epoch, held, incarnation, machine, address = ''] = words
  if (machine === undefined) {
    const vacant: Vacant = { type: 'vacant', epoch: Number(epoch) }
    return held === undefined ? vacant : { ...vacant, since: Number(held) }
  }
  return {
    type: 'owned',
    owner: { machine: decodeURIComponent(machine), incarnation: Number(incarnation) },
    address: decodeURIComponent(address),
    held: Number(held),
    epoch: Number(epoch),
  }
}

/** Clients may be set up to give buffers. */
function strings(operation: string, answer: unknown): string[] {
  if (!Array.isArray(answer)) throw new DirectoryUnavailable(operation, { because: 'its answer is not one' })
  return answer.map(String)
}

function runner(client: IoredisClient | NodeRedisClient): Run {
  if (typeof (client as NodeRedisClient)?.evalSha === 'function') {
    const { evalSha, eval: full } = bound(client as NodeRedisClient, 'evalSha', 'eval')
    return byHash(
      (hash, keys, rest) => evalSha(hash, { keys, arguments: rest }),
      (text, keys, rest) => full(text, { keys, arguments: rest }),
    )
  }
  if (typeof (client as IoredisClient)?.evalsha === 'function') {
    const { evalsha, eval: full } = bound(client as IoredisClient, 'evalsha', 'eval')
    return byHash(
      (hash, keys, rest) => evalsha(hash, keys.length, ...keys, ...rest),
      (text, keys, rest) => full(text, keys.length, ...keys, ...rest),
    )
  }
  throw new TypeError('a Redis directory takes a client of ioredis or of node-redis')
}

function bound<C extends object, K extends keyof C>(client: C, ...names: K[]): Pick<C, K> {
  const methods = {} as Pick<C, K>
  for (const name of names) methods[name] = (client[name] as CallableFunction).bind(client) as C[K]
  return methods
}

type Send = (script: string, keys: string[], rest: string[]) => Promise<unknown>

function byHash(short: Send, full: Send): Run {
  return async (script, keys, rest) => {
    try {
      return await short(script.hash, keys, rest)
    } catch (error) {
      // The server was restarted, failed over, or had its scripts flushed.
      if (!(error instanceof Error) || !error.message.includes('NOSCRIPT')) throw error
      return await full(script.text, keys, rest)
    }
  }
}

function duration(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1 || value > MAX_EPOCH / 4) {
    throw new RangeError(`${name} is a whole number of milliseconds above zero, not ${value}`)
  }
  return value
}
