/** `tidegate/postgres`: what several processes share, in a PostgreSQL that is already there. */

export { PostgresJournal, type PostgresJournalOptions } from './postgres/journal.js'
export { PostgresLeaseStore, type PostgresLeaseStoreOptions } from './postgres/lease-store.js'
export { type MigrateOptions, migrate } from './postgres/migrate.js'
export type { PostgresConnection, PostgresPool, PostgresResult } from './postgres/pool.js'
