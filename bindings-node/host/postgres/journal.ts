/** A journal of sagas in PostgreSQL, for any number of processes. */

import {
  type JournalAppend,
  JournalFenced,
  type JournalWriter,
  type SagaJournal,
  type TakenOver,
} from '../saga/journal.js'
import { same } from '../saga/memory-journal.js'
import { type PostgresPool, schemaName } from './pool.js'

/** Where the tables are. */
export interface PostgresJournalOptions {
  /** Default: `public`. */
  readonly schema?: string | undefined
}

/**
 * An acknowledged record must not be lost with the server, whatever the database is set to.
 */
const DURABLE = `(SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
  WHEN 'off' THEN 'local' ELSE current_setting('synchronous_commit') END, true)) AS durable`

/** Keeps the journals of sagas in PostgreSQL 12 or later; `migrate` makes its tables. */
export class PostgresJournal implements SagaJournal {
  readonly #pool: PostgresPool
  readonly #sagas: string
  readonly #records: string

  constructor(pool: PostgresPool, { schema = 'public' }: PostgresJournalOptions = {}) {
    this.#pool = pool
    this.#sagas = `${schemaName(schema)}.tidegate_sagas`
    this.#records = `${schemaName(schema)}.tidegate_saga_records`
  }

  async begin(saga: string, { frame, standing }: JournalAppend): Promise<JournalWriter | undefined> {
    const { rowCount } = await this.#pool.query(
      `WITH begun AS (
         INSERT INTO ${this.#sagas} (saga, standing) SELECT $1, $3 FROM ${DURABLE}
         ON CONFLICT (saga) DO NOTHING RETURNING saga)
       INSERT INTO ${this.#records} (saga, sequence, frame) SELECT saga, 1, $2 FROM begun`,
      [saga, frame, standing],
    )
    if (rowCount === 1 || (await this.#hasBegun(saga, frame))) return this.#writer(saga, '1')
    return undefined
  }

  async takeOver(saga: string): Promise<TakenOver | undefined> {
    const { rows } = await this.#pool.query(
      `UPDATE ${this.#sagas} SET token = token + 1 FROM ${DURABLE} WHERE saga = $1 RETURNING token::text AS token`,
      [saga],
    )
    const token = rows[0]?.token
    if (token === undefined) return undefined
    // A statement of its own: it sees what was appended until the token was raised, and no more is.
    const bytes = await this.read(saga)
    return bytes && { writer: this.#writer(saga, token as string), bytes }
  }

  async read(saga: string): Promise<Uint8Array | undefined> {
    const { rows } = await this.#pool.query(
      `SELECT frame FROM ${this.#records} WHERE saga = $1 ORDER BY sequence`,
      [saga],
    )
    return rows.length === 0 ? undefined : Buffer.concat(rows.map(({ frame }) => frame as Buffer))
  }

  async list(standing: 'unfinished' | 'stuck', idle = 0): Promise<string[]> {
    const { rows } = await this.#pool.query(
      `SELECT saga FROM ${this.#sagas}
       WHERE standing = $1 AND touched <= clock_timestamp() - $2 * interval '1 millisecond' ORDER BY touched`,
      [standing, idle],
    )
    return rows.map(({ saga }) => saga as string)
  }

  /**
   * Removes the journals of sagas that have been over for this long, in milliseconds; their keys are new again then.
   * Resolves with how many.
   */
  async prune(age: number): Promise<number> {
    const { rowCount } = await this.#pool.query(
      `DELETE FROM ${this.#sagas}
       WHERE standing = 'over' AND touched <= clock_timestamp() - $1 * interval '1 millisecond'`,
      [age],
    )
    return rowCount ?? 0
  }

  #writer(saga: string, token: string): JournalWriter {
    return {
      append: (record) => this.#append(saga, token, record),
      close: async () => {},
    }
  }

  /** The token is compared in the statement that appends: its row lock makes a take-over wait, or this one see it. */
  async #append(saga: string, token: string, { sequence, frame, standing }: JournalAppend): Promise<void> {
    const { rowCount } = await this.#pool.query(
      `WITH held AS (
         UPDATE ${this.#sagas} SET standing = $5, touched = clock_timestamp() FROM ${DURABLE}
         WHERE saga = $1 AND token = $2 RETURNING saga)
       INSERT INTO ${this.#records} (saga, sequence, frame) SELECT saga, $3, $4 FROM held
       ON CONFLICT (saga, sequence) DO NOTHING`,
      [saga, token, sequence, frame, standing],
    )
    if (rowCount === 1) return
    const { rows } = await this.#pool.query(
      `SELECT frame FROM ${this.#sagas} JOIN ${this.#records} USING (saga)
       WHERE saga = $1 AND token = $2 AND sequence = $3`,
      [saga, token, sequence],
    )
    if (!same(rows[0]?.frame as Buffer | undefined, frame)) throw new JournalFenced(saga)
  }

  /** Whether this very record began it, and nobody has taken it over. */
  async #hasBegun(saga: string, first: Uint8Array): Promise<boolean> {
    const { rows } = await this.#pool.query(
      `SELECT frame FROM ${this.#sagas} JOIN ${this.#records} USING (saga)
       WHERE saga = $1 AND token = 1 AND sequence = 1`,
      [saga],
    )
    return same(rows[0]?.frame as Buffer | undefined, first)
  }
}
