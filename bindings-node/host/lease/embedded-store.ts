/**
 * Leases without a database: the core's decision over a table in this process, journalled to a file.
 *
 * A decision is synchronous, so no two of them meet. Its row goes to the journal, and the answer is given when
 * the journal is on the disk; decisions that come meanwhile share the next write. One line of the journal is one
 * write: `checksum {"at", "rows"}`. Only the last line can be torn, and was then never answered.
 *
 * For one control plane on one machine. For several, or where the disk of the machine is not to be trusted, there
 * is `tidegate/postgres`.
 */

import { createHash } from 'node:crypto'
import { type FileHandle, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { LeaseConfig } from '../generated.js'
import { LeaseStoreError, LeaseStoreUnavailable } from './errors.js'
import { FileLock } from './file-lock.js'
import { type Decided, decideLease, freshRow, isLive, type LeaseCommand, type LeaseRow } from './row.js'
import type { AllocateCommand, GatewayCommand, LeaseStore, ListedRow } from './store.js'

/** How an embedded store keeps its rows. */
export interface EmbeddedLeaseStoreOptions {
  /** The file of the journal; its folder exists. Default: none, the rows end with the process. */
  path?: string
  /** The clock: integer milliseconds that survive a restart. Default: `Date.now`. It is never taken to run back. */
  clock?: () => number
}

/** The journal is written anew when it has more lines than this and than eight for each row. */
const LINES = 1_000

/** Rows that are to be written, and who waits for that. */
interface Batch {
  readonly rows: Map<string, LeaseRow>
  readonly written: Promise<void>
  settle(error?: LeaseStoreUnavailable): void
}

/** A store in this process. Open it with {@link EmbeddedLeaseStore.open}. */
export class EmbeddedLeaseStore implements LeaseStore {
  readonly #rows = new Map<string, LeaseRow>()
  /** The rows that count for an organization, and those that were granted for a request. */
  readonly #ofOrganization = new Map<string, string>()
  readonly #ofRequest = new Map<string, string>()
  readonly #free = new Set<string>()
  readonly #clock: () => number
  readonly #path: string | undefined
  #lock: FileLock | undefined
  #file: FileHandle | undefined
  #lines = 0
  #latest = 0
  #next: Batch | undefined
  #writing: Promise<void> | undefined
  /** Resolves when all that was put is on the disk. */
  #written = Promise.resolve()
  #failure: LeaseStoreUnavailable | undefined

  private constructor(options: EmbeddedLeaseStoreOptions) {
    this.#clock = options.clock ?? Date.now
    this.#path = options.path
  }

  /**
   * Opens the journal, or begins one.
   *
   * @throws LeaseStoreError `in-use` when another process has it open, `corrupt` when it is damaged.
   */
  static async open(options: EmbeddedLeaseStoreOptions = {}): Promise<EmbeddedLeaseStore> {
    const store = new EmbeddedLeaseStore(options)
    if (options.path === undefined) return store
    store.#lock = await FileLock.take(`${options.path}.lock`)
    try {
      await store.#read(options.path)
      await store.#rewrite(options.path)
    } catch (error) {
      await store.close()
      throw error
    }
    return store
  }

  async enrol(gateway: string, address: string): Promise<void> {
    if (this.#failure) throw this.#failure
    const known = this.#rows.get(gateway)
    if (known?.address !== address) {
      this.#put(known === undefined ? freshRow(gateway, address) : { ...known, address })
    }
    await this.#kept(undefined)
  }

  async decide(gateway: string, command: GatewayCommand, terms: LeaseConfig): Promise<Decided | undefined> {
    return await this.#kept(this.#decide(gateway, command, terms))
  }

  async allocate(command: AllocateCommand, terms: LeaseConfig): Promise<Decided | undefined> {
    return await this.#kept(this.#allocate(command, terms))
  }

  async due(most: number): Promise<string[]> {
    const now = this.#now()
    const due = [...this.#rows.values()].filter((row) => row.until !== null && row.until <= now)
    due.sort((a, b) => (a.until ?? 0) - (b.until ?? 0))
    return due.slice(0, most).map((row) => row.gateway)
  }

  async list(gateway?: string): Promise<ListedRow[]> {
    const now = this.#now()
    const rows = gateway === undefined ? [...this.#rows.values()] : [this.#rows.get(gateway)]
    return await this.#kept(rows.flatMap((row) => (row === undefined ? [] : [{ row, now }])))
  }

  /** Writes what is to be written, and closes the journal. */
  async close(): Promise<void> {
    await this.#written.catch(() => {})
    this.#failure ??= new LeaseStoreUnavailable('be used', { because: 'it is closed' })
    await this.#file?.close()
    this.#file = undefined
    await this.#lock?.release()
    this.#lock = undefined
  }

  // ---------------------------------------------------------------- decisions: in one piece, nothing waits

  #allocate(command: AllocateCommand, terms: LeaseConfig): Decided | undefined {
    const own = this.#ofRequest.get(command.request) ?? this.#ofOrganization.get(command.organization)
    if (own !== undefined) return this.#decide(own, command, terms)
    for (const gateway of this.#candidates()) {
      const decided = this.#decide(gateway, command, terms)
      if (decided?.answer.type === 'allocated') return decided
    }
    return undefined
  }

  /** Free gateways, then quarantined ones that are fit again: the only ones that time makes free. */
  *#candidates(): Iterable<string> {
    yield* this.#free
    const now = this.#now()
    for (const { gateway, state, routed, until } of this.#rows.values()) {
      if (state === 'quarantined' && routed === false && until !== null && until <= now) yield gateway
    }
  }

  #decide(gateway: string, command: LeaseCommand, terms: LeaseConfig): Decided | undefined {
    const row = this.#rows.get(gateway)
    if (row === undefined) return undefined
    if (this.#failure) throw this.#failure
    const decided = decideLease(row, command, this.#now(), terms)
    if (!same(row, decided.after)) this.#put(decided.after)
    return decided
  }

  /** The store's clock: it does not run back, not even over a restart. */
  #now(): number {
    this.#latest = Math.max(this.#latest, this.#clock())
    return this.#latest
  }

  // ---------------------------------------------------------------- the table

  /** Takes a row into the table, at once, and has it written. */
  #put(row: LeaseRow): void {
    this.#index(row)
    if (this.#file === undefined) return
    this.#next ??= batch()
    this.#next.rows.set(row.gateway, row)
    this.#written = this.#next.written
    this.#writing ??= this.#writeAll()
  }

  #index(row: LeaseRow): void {
    const { gateway, organization, request } = row
    const before = this.#rows.get(gateway)
    if (before?.organization != null && this.#ofOrganization.get(before.organization) === gateway) {
      this.#ofOrganization.delete(before.organization)
    }
    if (before?.request != null) this.#ofRequest.delete(before.request)
    this.#rows.set(gateway, row)
    if (organization !== null && isLive(row)) this.#ofOrganization.set(organization, gateway)
    if (request !== null) this.#ofRequest.set(request, gateway)
    // Out and in again: the one that has been free for longest is taken first.
    this.#free.delete(gateway)
    if (row.state === 'free') this.#free.add(gateway)
  }

  // ---------------------------------------------------------------- the journal

  /** Answers when everything so far is on the disk: no answer may tell of what a crash could undo. */
  async #kept<T>(answer: T): Promise<T> {
    if (this.#failure) throw this.#failure
    await this.#written
    return answer
  }

  /** Writes batches until there is none. What fails is fatal: after a failed write nobody knows what is there. */
  async #writeAll(): Promise<void> {
    while (this.#next !== undefined) {
      const { rows, settle } = this.#next
      this.#next = undefined
      try {
        if (this.#failure) throw this.#failure
        if (this.#lines > Math.max(LINES, 8 * this.#rows.size)) await this.#rewrite(this.#path as string)
        else await this.#append([...rows.values()])
        settle()
      } catch (cause) {
        this.#failure ??= new LeaseStoreUnavailable('write its journal', { cause })
        settle(this.#failure)
      }
    }
    this.#writing = undefined
  }

  async #append(rows: readonly LeaseRow[]): Promise<void> {
    await this.#file?.write(line(this.#latest, rows))
    await this.#file?.datasync()
    this.#lines += 1
  }

  async #read(path: string): Promise<void> {
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return ''
      throw error
    })
    const lines = text.split('\n')
    for (const [index, read] of lines.entries()) {
      const entry = parse(read)
      if (entry !== undefined) {
        this.#latest = Math.max(this.#latest, entry.at)
        for (const row of entry.rows) this.#index(row)
      } else if (lines.slice(index + 1).some((later) => parse(later) !== undefined)) {
        throw new LeaseStoreError('corrupt', `the journal ${path} is damaged in line ${index + 1}`)
      }
    }
  }

  /** Begins the journal anew with the rows as they are; whoever reads it sees the old one or the new one. */
  async #rewrite(path: string): Promise<void> {
    const fresh = await open(`${path}.new`, 'w')
    try {
      await fresh.write(line(this.#latest, [...this.#rows.values()]))
      await fresh.datasync()
      await rename(`${path}.new`, path)
    } catch (error) {
      await fresh.close()
      await rm(`${path}.new`, { force: true })
      throw error
    }
    const folder = await open(dirname(path), 'r')
    await folder.sync()
    await folder.close()
    await this.#file?.close()
    this.#file = fresh
    this.#lines = 1
  }
}

function batch(): Batch {
  let settle: Batch['settle'] = () => {}
  const written = new Promise<void>((resolve, reject) => {
    settle = (error) => (error === undefined ? resolve() : reject(error))
  })
  // Whoever waits is told; nobody may be waiting.
  written.catch(() => {})
  return { rows: new Map(), written, settle }
}

function line(at: number, rows: readonly LeaseRow[]): string {
  const text = JSON.stringify({ at, rows })
  return `${checksum(text)} ${text}\n`
}

function checksum(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}

/** One line of the journal; none when it is torn or damaged. */
function parse(read: string): { at: number; rows: LeaseRow[] } | undefined {
  const text = read.slice(17)
  return text !== '' && read.slice(0, 17) === `${checksum(text)} ` ? JSON.parse(text) : undefined
}

function same(one: LeaseRow, other: LeaseRow): boolean {
  return (Object.keys(one) as (keyof LeaseRow)[]).every((field) => one[field] === other[field])
}
