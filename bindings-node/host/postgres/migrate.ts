/** Brings the tables of a database to this release: each migration once, in order, all or none. */

import { readdirSync, readFileSync } from 'node:fs'
import { ignore, type PostgresClient, type PostgresPool, schemaName } from './pool.js'

/** Where the tables are. */
export interface MigrateOptions {
  /** Default: `public`. It is made when it is missing. */
  readonly schema?: string | undefined
}

const FOLDER = new URL('./migrations/', import.meta.url)
/** One lock for every process that migrates: `tidegate` in ASCII. */
const LOCK = '8388346167643173989'

/** Applies what is missing; resolves with the names of what was applied. Safe from any number of processes at once. */
export async function migrate(
  pool: PostgresPool,
  { schema = 'public' }: MigrateOptions = {},
): Promise<string[]> {
  const into = schemaName(schema)
  const connection: PostgresClient = await pool.connect()
  connection.on?.('error', ignore)
  let failed: Error | undefined
  try {
    await connection.query('BEGIN')
    await connection.query(`SELECT pg_advisory_xact_lock(${LOCK})`)
    await connection.query(`CREATE SCHEMA IF NOT EXISTS ${into}`)
    await connection.query(`SET LOCAL search_path TO ${into}`)
    await connection.query(
      'CREATE TABLE IF NOT EXISTS tidegate_migrations (name text PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now())',
    )
    const { rows } = await connection.query('SELECT name FROM tidegate_migrations')
    const there = new Set(rows.map(({ name }) => name))
    const missing = readdirSync(FOLDER).filter((name) => name.endsWith('.sql') && !there.has(name))
    for (const name of missing.sort()) {
      await connection.query(readFileSync(new URL(name, FOLDER), 'utf8'))
      await connection.query('INSERT INTO tidegate_migrations (name) VALUES ($1)', [name])
    }
    await connection.query('COMMIT')
    return missing
  } catch (error) {
    failed = error as Error
    throw error
  } finally {
    connection.off?.('error', ignore)
    // A connection that failed in the middle is closed, which rolls back.
    connection.release(failed)
  }
}
