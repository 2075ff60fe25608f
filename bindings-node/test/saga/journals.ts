/** The journals under test, each behind the same interface. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { migrate, PostgresJournal } from '../../host/postgres.js'
import { FileJournal } from '../../host/saga/file-journal.js'
import type { JournalAppend, JournalWriter, SagaJournal } from '../../host/saga/journal.js'
import { MemoryJournal } from '../../host/saga/memory-journal.js'
import type { PostgresServer } from '../support/postgres.js'

export interface Opened extends AsyncDisposable {
  /** Another journal over the same records, as another process has it. */
  open(): SagaJournal
}

export type Open = () => Promise<Opened>

export const inMemory: Open = async () => {
  const journal = new MemoryJournal()
  return { open: () => journal, [Symbol.asyncDispose]: async () => {} }
}

export const inFiles: Open = async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-journal-'))
  return {
    open: () => new FileJournal(join(folder, 'sagas')),
    [Symbol.asyncDispose]: async () => await rm(folder, { recursive: true }),
  }
}

export function inPostgres(server: PostgresServer): Open {
  return async () => {
    const connectionString = await server.createDatabase()
    const pools: pg.Pool[] = []
    const open = () => {
      const pool = new pg.Pool({ connectionString })
      pool.on('error', () => {})
      pools.push(pool)
      return pool
    }
    await migrate(open())
    return {
      open: () => new PostgresJournal(open()),
      [Symbol.asyncDispose]: async () => {
        for (const pool of pools) await pool.end()
      },
    }
  }
}

/** What a journal in front of another one does about an append. */
export type Interference = (saga: string, record: JournalAppend, append: () => Promise<void>) => Promise<void>

/** A journal whose appends, the first one included, go through `interfere`. */
export function interfered(journal: SagaJournal, interfere: Interference): SagaJournal {
  const wrapped = (saga: string, writer: JournalWriter): JournalWriter => ({
    append: async (record) => await interfere(saga, record, async () => await writer.append(record)),
    close: async () => await writer.close(),
  })
  return {
    async begin(saga, first) {
      let writer: JournalWriter | undefined
      await interfere(saga, first, async () => {
        writer = await journal.begin(saga, first)
      })
      return writer && wrapped(saga, writer)
    },
    async takeOver(saga) {
      const taken = await journal.takeOver(saga)
      return taken && { ...taken, writer: wrapped(saga, taken.writer) }
    },
    read: async (saga) => await journal.read(saga),
    list: async (standing, idle) => await journal.list(standing, idle),
  }
}
