/** The stores of leases under test, each behind the same interface. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { EmbeddedLeaseStore, LeasePool, type LeasePoolOptions, type LeaseStore } from '../../host/index.js'
import { migrate, PostgresLeaseStore } from '../../host/postgres.js'
import type { PostgresServer } from './postgres.js'

/** A store whose rows nobody else has. */
export interface OpenedStore extends AsyncDisposable {
  readonly store: LeaseStore
  /** The same rows through another store, as a second control plane or a later one has them. */
  reopen(): Promise<LeaseStore>
}

export type OpenStore = () => Promise<OpenedStore>

/** A store that journals to a file; reopened, it is the only one. */
export const embedded: OpenStore = async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-leases-'))
  const path = join(folder, 'leases.journal')
  let store = await EmbeddedLeaseStore.open({ path })
  return {
    store,
    reopen: async () => {
      await store.close()
      store = await EmbeddedLeaseStore.open({ path })
      return store
    },
    [Symbol.asyncDispose]: async () => {
      await store.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** A pool of clients of a database of its own, with the tables. */
export interface OpenedPostgres extends OpenedStore {
  readonly clients: pg.Pool
}

/** A store in a schema of its own, so that tests share a database. */
export function inPostgres(server: () => PostgresServer, clients = 10): () => Promise<OpenedPostgres> {
  let schemas = 0
  return async () => {
    schemas += 1
    const schema = `leases_${schemas}`
    const made: pg.Pool[] = []
    const connect = () => {
      const options = `-c search_path=${schema}`
      const pool = new pg.Pool({ connectionString: server().url, max: clients, options })
      // A server that is stopped ends idle clients.
      pool.on('error', () => {})
      made.push(pool)
      return pool
    }
    const pool = connect()
    await migrate(pool, { schema })
    return {
      store: new PostgresLeaseStore(pool, { schema }),
      clients: pool,
      reopen: async () => new PostgresLeaseStore(connect(), { schema }),
      [Symbol.asyncDispose]: async () => {
        await Promise.all(made.map((each) => each.end()))
      },
    }
  }
}

/** A pool with the gateways `g1` … in it. */
export async function poolOf(
  store: LeaseStore,
  gateways: number,
  options: Omit<LeasePoolOptions, 'store'> = {},
): Promise<LeasePool> {
  const pool = new LeasePool({ store, ...options })
  for (let n = 1; n <= gateways; n += 1) await pool.enrol(`g${n}`, `http://g${n}`)
  return pool
}

/** Allocates, and confirms the handshake with this life of the gateway. */
export async function lease(pool: LeasePool, organization: string, life = 1) {
  const allocation = await pool.allocate(organization, `request of ${organization}`)
  await pool.confirm(allocation.gateway, allocation.epoch, life)
  return allocation
}

/** What a refused promise was refused with. */
export async function refusal(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    return (error as { code: string }).code
  }
  return 'not refused'
}
