/** What is used of `pg`: a pool, or anything else with the same methods. */

import type { EventEmitter } from 'node:events'

/** What a statement answers. */
export interface PostgresResult {
  readonly rows: readonly Record<string, unknown>[]
  readonly rowCount: number | null
}

/** One connection. */
export interface PostgresConnection {
  query(statement: string, values?: unknown[]): Promise<PostgresResult>
  release(error?: boolean | Error): void
}

/**
 * One of `pg` says by an event, besides, that its server has gone. While it is out of its pool nobody else hears that, and an
 * error that nobody hears ends the process.
 */
export type PostgresClient = PostgresConnection & Partial<Pick<EventEmitter, 'on' | 'off'>>

/** Hears it: the statement that was under way fails, too. */
export const ignore = (): void => {}

/** A pool of connections: `new pg.Pool(…)`. */
export interface PostgresPool {
  query(statement: string, values?: unknown[]): Promise<PostgresResult>
  connect(): Promise<PostgresConnection>
}

/**
 * The name of a schema, for a statement.
 *
 * @throws RangeError when it would have to be quoted.
 */
export function schemaName(schema: string): string {
  if (/^[a-z_][a-z0-9_]{0,62}$/.test(schema)) return schema
  throw new RangeError(
    `a schema is named in small letters, digits and underscores, not ${JSON.stringify(schema)}`,
  )
}
