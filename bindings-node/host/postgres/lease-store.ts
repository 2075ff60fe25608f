/**
 * Leases in PostgreSQL: the core's decision inside a transaction that has locked the gateway's row, by the
 * database's clock. Any number of control planes may share the tables (`migrate` makes them).
 *
 * Only the allocation of a gateway, which many organizations ask for at once, is a statement of its own. A
 * differential test proves it equal to the core's decision.
 */

import { createHash } from 'node:crypto'
import { type Duration, milliseconds } from '../duration.js'
import { TidegateError } from '../errors.js'
import type { LeaseConfig } from '../generated.js'
import { LeaseStoreUnavailable } from '../lease/errors.js'
import {
  type Decided,
  decideLease,
  freshRow,
  type LeaseCommand,
  type LeaseRow,
  LIVE,
  MAX_EPOCH,
  OTHER,
} from '../lease/row.js'
import type { AllocateCommand, GatewayCommand, LeaseStore, ListedRow } from '../lease/store.js'
import { Batches } from './batches.js'
import {
  ignore,
  type PostgresClient,
  type PostgresConnection,
  type PostgresPool,
  type PostgresResult,
  schemaName,
} from './pool.js'

/** How rows are kept. */
export interface PostgresLeaseStoreOptions {
  /** The schema that was given to `migrate`; default `public`. */
  schema?: string
  /** How long one command may take, waiting for a client of the pool included; default 4 s. */
  commandTimeout?: Duration
  /** Whether statements are prepared; default true. Not behind a connection pooler that cannot do that. */
  prepare?: boolean
}

/** The columns that hold a time. */
const TIMES = ['until', 'suspect', 'predecessor'] as const
/** All that a decision may change. */
const CHANGED = [
  ...['state', 'epoch', 'incarnation', 'request', 'failures', 'organization', 'hostname'],
  ...[...TIMES, 'cause', 'attempt', 'unrouting', 'routed'],
] as (keyof LeaseRow)[]

const isTime = (column: string) => (TIMES as readonly string[]).includes(column)
/** Whole milliseconds of a time, as a number that JavaScript has exactly. */
const milli = (time: string) => `floor(extract(epoch FROM ${time}) * 1000)::float8`
/** What is stored in whole milliseconds is read faster. */
const whole = (time: string) => `round(date_part('epoch', ${time}) * 1000)`
const COLUMNS = ['gateway', 'address', ...CHANGED].map((column) => {
  if (isTime(column)) return `${whole(`lease.${column}`)} AS ${column}`
  if (['epoch', 'incarnation', 'failures'].includes(column)) return `lease.${column}::float8 AS ${column}`
  return `lease.${column}`
})
const SELECTED = `${COLUMNS.join(', ')}, ${milli('statement_timestamp()')} AS now`
const LIVE_STATES = LIVE.map((state) => `'${state}'`).join(', ')
const UNIQUE_VIOLATION = '23505'
const LOCK_NOT_AVAILABLE = '55P03'
/** How long to wait for the last free gateways, when others have locked them. Milliseconds; a command takes a few. */
const LOCKED_LIMIT = 500

/** So many statements that take free rows at once, for so many who ask: the rest shares the next one's commit. */
const TOGETHER = { together: 8, most: 50 }

/** A client of `pg` tells of a lost connection beside failing the query: unheard, that would end the process. */
type Client = PostgresClient & {
  query(statement: Statement & { values: unknown[] }): Promise<PostgresResult>
}

/** A statement with the name under which connections have prepared it. */
interface Statement {
  readonly name: string
  readonly text: string
}

/** Somebody who wants a gateway, and how long its allocation may take. Milliseconds. */
interface Wish {
  readonly command: AllocateCommand
  readonly limit: number
}

/** What taking a free row answers: the place of the wish from 1, and the row, with the request before. */
interface Taken
  extends Pick<LeaseRow, 'gateway' | 'address' | 'epoch' | 'incarnation' | 'failures' | 'request'> {
  readonly place: number
  readonly until: number
}

/** The decision that a free row and a wish come to. */
function granted({ command, limit }: Wish, taken: Taken): Decided {
  const { gateway, address, epoch, incarnation, failures, request: earlier, until } = taken
  const { organization, request, hostname } = command
  const before = freshRow(gateway, address, { epoch: epoch - 1, incarnation, failures, request: earlier })
  const state = 'allocating'
  return {
    before,
    after: { ...before, state, epoch, request, organization, hostname, until },
    answer: { type: 'allocated', epoch, limit },
    effects: [{ type: 'entered', state, epoch, organization: OTHER, cause: null }],
  }
}

function isViolation(error: unknown): boolean {
  return (error as { code?: unknown }).code === UNIQUE_VIOLATION
}

/** A store in PostgreSQL. */
export class PostgresLeaseStore implements LeaseStore {
  readonly #pool: PostgresPool
  readonly #timeout: number
  readonly #prepare: boolean
  readonly #statements: ReturnType<typeof statements>
  readonly #wishes = new Batches<Wish, Decided>(TOGETHER, (wishes) => this.#takeTogether(wishes))

  /** @param pool A `pg.Pool`. It is used, and never ended, by the store. */
  constructor(pool: PostgresPool, options: PostgresLeaseStoreOptions = {}) {
    const { schema = 'public', commandTimeout = '4s', prepare = true } = options
    this.#prepare = prepare
    this.#pool = pool
    this.#timeout = milliseconds(commandTimeout, 'commandTimeout')
    this.#statements = statements(`${schemaName(schema)}.tidegate_leases`)
  }

  async enrol(gateway: string, address: string): Promise<void> {
    await this.#run('enrol a gateway', (client) => client.query(this.#statements.enrol, [gateway, address]))
  }

  async decide(gateway: string, command: GatewayCommand, terms: LeaseConfig): Promise<Decided | undefined> {
    const { lockGateway } = this.#statements
    return await this.#run('decide about a lease', (client) =>
      this.#decided(client, lockGateway, [gateway], command, terms),
    )
  }

  async allocate(command: AllocateCommand, terms: LeaseConfig): Promise<Decided | undefined> {
    const limit = terms.allocateLimit ?? DEFAULT_ALLOCATE_LIMIT
    const taken = await this.#wishes.ask({ command, limit })
    if (taken !== undefined) return taken
    return await this.#run('allocate a gateway', async (client) => {
      for (let last = false; ; ) {
        try {
          const found = await this.#find(client, command, terms)
          if (found !== undefined) return found
          const [late] = await this.#take(client, [{ command, limit }])
          if (late !== undefined || last) return late
          const free = await this.#freeAfterAll(client)
          if (free === 'none') return undefined
          last = free === 'locked'
        } catch (error) {
          // The organization was given another gateway meanwhile: its row is there now.
          if (!isViolation(error)) throw error
        }
      }
    })
  }

  async due(most: number): Promise<string[]> {
    const { rows } = await this.#run('look for what is due', (client) =>
      client.query(this.#statements.due, [most]),
    )
    return rows.map(({ gateway }) => gateway as string)
  }

  async list(gateway?: string): Promise<ListedRow[]> {
    const { rows } = await this.#run('list its rows', (client) =>
      client.query(this.#statements.list, [gateway ?? null]),
    )
    return (rows as unknown as (LeaseRow & { now: number })[]).map(({ now, ...row }) => ({ now, row }))
  }

  async close(): Promise<void> {}

  /** The common case, for all who ask at once: an error is none, as each is then looked at alone. */
  async #takeTogether(wishes: readonly Wish[]): Promise<(Decided | undefined)[]> {
    return await this.#run('allocate a gateway', async (client) => {
      try {
        return await this.#take(client, wishes)
      } catch (error) {
        if (!isViolation(error)) throw error
        return []
      }
    })
  }

  /**
   * The common case in one statement: nothing was granted yet for this request or organization, and one is free.
   * The order is that of the index over free rows, so that it is used also where most rows are free: without it the
   * whole table was read again for each allocation.
   */
  async #take(client: PostgresConnection, wishes: readonly Wish[]): Promise<(Decided | undefined)[]> {
    const { take, takeMany } = this.#statements
    const columns = [
      wishes.map(({ command }) => command.organization),
      wishes.map(({ command }) => command.request),
      wishes.map(({ command }) => command.hostname),
      wishes.map(({ limit }) => limit),
    ]
    const alone = wishes.length === 1
    const values = alone ? columns.map(([value]) => value) : columns
    const { rows } = await this.#send(client, alone ? take : takeMany, values)
    const decided: (Decided | undefined)[] = wishes.map(() => undefined)
    for (const taken of rows as unknown as Taken[]) {
      const at = taken.place - 1
      decided[at] = granted(wishes[at] as Wish, taken)
    }
    return decided
  }

  /**
   * Whether a gateway is free although none could be taken: all that are free were locked by others, who may yet give
   * one up (two who ask for one organization both lock a row, and one of them takes none). Waits for one of those, for
   * as long as such a command takes; not for a lock that somebody keeps (L2).
   */
  async #freeAfterAll(client: PostgresConnection): Promise<'none' | 'unlocked' | 'locked'> {
    const { rows } = await client.query(this.#statements.anyFree, [])
    if (rows[0]?.free !== true) return 'none'
    await client.query('BEGIN')
    try {
      await client.query(this.#statements.lockTimeout)
      await client.query(this.#statements.awaitFree, [])
      return 'unlocked'
    } catch (error) {
      if ((error as { code?: unknown }).code === LOCK_NOT_AVAILABLE) return 'locked'
      throw error
    } finally {
      await client.query('ROLLBACK').catch(() => {})
    }
  }

  /** The row that decides where that was not the case. */
  async #find(
    client: PostgresConnection,
    command: AllocateCommand,
    terms: LeaseConfig,
  ): Promise<Decided | undefined> {
    const { lockRequest, lockOrganization, lockOverdue } = this.#statements
    return (
      (await this.#decided(client, lockRequest, [command.request], command, terms)) ??
      (await this.#decided(client, lockOrganization, [command.organization], command, terms)) ??
      (await this.#decided(client, lockOverdue, [], command, terms))
    )
  }

  /** Locks a row, lets the core decide, and stores what it decided. */
  async #decided(
    client: PostgresConnection,
    lock: Statement,
    values: unknown[],
    command: LeaseCommand,
    terms: LeaseConfig,
  ): Promise<Decided | undefined> {
    await client.query('BEGIN')
    try {
      const { rows } = await this.#send(client, lock, values)
      const [read] = rows as unknown as (LeaseRow & { now: number })[]
      let decided: Decided | undefined
      if (read !== undefined) {
        const { now, ...row } = read
        decided = decideLease(row, command, now, terms)
        const { after } = decided
        if (CHANGED.some((column) => row[column] !== after[column])) {
          const values = [row.gateway, row.epoch, ...CHANGED.map((column) => after[column])]
          await this.#send(client, this.#statements.store, values)
        }
      }
      await client.query('COMMIT')
      return decided
    } catch (error) {
      // A client that cannot do even that is ended.
      await client.query('ROLLBACK').catch(() => {})
      throw error
    }
  }

  /** A statement that comes again and again: planned once for each connection, which is most of its cost. */
  async #send(client: PostgresConnection, statement: Statement, values: unknown[]): Promise<PostgresResult> {
    const { name, text } = statement
    return this.#prepare
      ? await (client as Client).query({ name, text, values })
      : await client.query(text, values)
  }

  /** One command, in its time, with a client of the pool. */
  #run<T>(what: string, command: (client: PostgresConnection) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let client: Client | undefined
      let over = false
      const end = (broken: boolean) => {
        over = true
        clearTimeout(timer)
        client?.off?.('error', ignore)
        client?.release(broken)
      }
      const timer = setTimeout(() => {
        end(true)
        reject(new LeaseStoreUnavailable(what, { because: `no answer within ${this.#timeout} ms` }))
      }, this.#timeout)
      this.#pool
        .connect()
        .then(async (taken) => {
          // A client that comes too late is not used: the command was given up.
          if (over) return taken.release()
          client = taken as Client
          client.on?.('error', ignore)
          const result = await command(client)
          if (over) return
          end(false)
          resolve(result)
        })
        .catch((cause) => {
          if (over) return
          // Its transaction may be open, or the answer on its way: the next command gets another client.
          end(true)
          reject(cause instanceof TidegateError ? cause : new LeaseStoreUnavailable(what, { cause }))
        })
    })
  }
}

/** The core's default. */
const DEFAULT_ALLOCATE_LIMIT = 30_000

function statements(table: string) {
  const named = (text: string): Statement => {
    // The name is of the text: connections may serve stores of several schemas and releases.
    return { name: `tidegate-${createHash('sha256').update(text).digest('hex').slice(0, 32)}`, text }
  }
  const lock = (where: string) => named(`SELECT ${SELECTED} FROM ${table} lease WHERE ${where}`)
  const set = CHANGED.map((column, index) => {
    const value = `$${index + 3}`
    return isTime(column)
      ? `${column} = timestamptz 'epoch' + ${value}::float8 * interval '1 ms'`
      : `${column} = ${value}`
  })
  return {
    enrol: `INSERT INTO ${table} AS lease (gateway, address) VALUES ($1, $2)
      ON CONFLICT (gateway) DO UPDATE SET address = excluded.address WHERE lease.address <> excluded.address`,
    lockGateway: lock('gateway = $1 FOR UPDATE'),
    lockRequest: lock('request = $1 FOR UPDATE'),
    lockOrganization: lock(`organization = $1 AND state IN (${LIVE_STATES}) FOR UPDATE`),
    /** Quarantined gateways that are fit again: the only ones that time makes free. */
    lockOverdue: lock(`state = 'quarantined' AND NOT routed AND until <= statement_timestamp()
      LIMIT 1 FOR UPDATE SKIP LOCKED`),
    anyFree: `SELECT EXISTS (SELECT FROM ${table} WHERE state = 'free' AND epoch < ${MAX_EPOCH}) AS free`,
    lockTimeout: `SET LOCAL lock_timeout = ${LOCKED_LIMIT}`,
    awaitFree: `SELECT FROM ${table} WHERE state = 'free' AND epoch < ${MAX_EPOCH} LIMIT 1 FOR UPDATE`,
    store: named(`UPDATE ${table} SET ${set.join(', ')} WHERE gateway = $1 AND epoch = $2`),
    take: named(`WITH free AS MATERIALIZED (
        SELECT gateway, request FROM ${table}
        WHERE state = 'free' AND epoch < ${MAX_EPOCH}
          AND NOT EXISTS (SELECT FROM ${table} WHERE organization = $1 AND state IN (${LIVE_STATES}))
          AND NOT EXISTS (SELECT FROM ${table} WHERE request = $2)
        ORDER BY gateway LIMIT 1 FOR UPDATE SKIP LOCKED
      )
      UPDATE ${table} lease SET state = 'allocating', epoch = epoch + 1, organization = $1, request = $2,
        hostname = $3, until = date_trunc('milliseconds', statement_timestamp()) + $4::float8 * interval '1 ms'
      FROM free WHERE lease.gateway = free.gateway
      RETURNING lease.gateway, lease.address, lease.epoch::float8, lease.incarnation::float8,
        lease.failures::float8, free.request, ${whole('lease.until')} AS until, 1 AS place`),
    /**
     * The same for many. A condition that is a value is looked up in the index for each of them, whatever the planner
     * takes their number to be.
     */
    takeMany: named(`WITH wanted AS MATERIALIZED (
        SELECT wish.*, row_number() OVER () AS n
        FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[])
          WITH ORDINALITY AS wish (organization, request, hostname, milliseconds, place)
        WHERE (SELECT true FROM ${table} other WHERE other.organization = wish.organization
            AND other.state IN (${LIVE_STATES}) LIMIT 1) IS NULL
          AND (SELECT true FROM ${table} other WHERE other.request = wish.request LIMIT 1) IS NULL
      ), free AS MATERIALIZED (
        SELECT gateway, request FROM ${table} WHERE state = 'free' AND epoch < ${MAX_EPOCH}
        ORDER BY gateway LIMIT (SELECT count(*) FROM wanted) FOR UPDATE SKIP LOCKED
      ), paired AS (
        SELECT wanted.*, free.gateway, free.request AS earlier
        FROM (SELECT free.*, row_number() OVER () AS n FROM free) free JOIN wanted USING (n)
      )
      UPDATE ${table} lease SET state = 'allocating', epoch = lease.epoch + 1, organization = paired.organization,
        request = paired.request, hostname = paired.hostname,
        until = date_trunc('milliseconds', statement_timestamp()) + paired.milliseconds * interval '1 ms'
      FROM paired WHERE lease.gateway = paired.gateway
      RETURNING lease.gateway, lease.address, lease.epoch::float8, lease.incarnation::float8,
        lease.failures::float8, paired.earlier AS request, ${whole('lease.until')} AS until,
        paired.place::integer`),
    due: `SELECT gateway FROM ${table} WHERE until <= statement_timestamp() ORDER BY until LIMIT $1`,
    list: `SELECT ${SELECTED} FROM ${table} lease WHERE $1::text IS NULL OR gateway = $1 ORDER BY gateway`,
  }
}
