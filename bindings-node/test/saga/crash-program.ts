/**
 * A process that runs sagas, dies where it is told to, and recovers what others left.
 *
 * `run {…}`: runs one saga, and kills itself with SIGKILL at a record of its journal or in an effect.
 * `recover {…}`: recovers everything in the journals it is given, and writes the outcomes as lines of JSON.
 */
import { appendFileSync, existsSync, rmSync, writeFileSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { FileJournal, NotDone, recover, SagaRolledBack, saga } from '../../host/index.js'
import { PostgresJournal } from '../../host/postgres.js'
import type { SagaJournal } from '../../host/saga/journal.js'
import { interfered } from './journals.js'

export type Scenario = 'commits' | 'rolls back'
export type Moment = 'before' | 'after' | 'torn' | 'in-effect'

export interface RunOrder {
  folder: string
  /** Where the journal is: a folder, or a database. */
  journal: { folder: string } | { url: string; schema: string }
  scenario: Scenario
  /** The record, or the call, at which it dies. */
  at: number
  moment: Moment
}

/** A diamond whose effects are files, and which writes down what it was called with. */
function diamond(folder: string, scenario: Scenario, timeout: number, die: (call: number) => void) {
  let calls = 0
  const effect = (name: string, key: string, make: () => void) => {
    calls += 1
    appendFileSync(join(folder, 'calls'), `${process.pid} ${name} ${key}\n`)
    make()
    die(calls)
  }
  const step = (name: string) => {
    const path = join(folder, `effect-${name}`)
    return {
      run: ({ key }: { key: string }) => {
        effect(`do ${name}`, key, () => writeFileSync(path, key))
        return { path }
      },
      undo: ({ key }: { key: string }) => effect(`undo ${name}`, key, () => rmSync(path, { force: true })),
      verify: () => existsSync(path),
      timeout,
      undoTimeout: 5_000,
      latenessBound: 0,
    } as const
  }
  return saga('diamond')
    .step('root', step('root'))
    .step('left', { ...step('left'), after: ['root'] })
    .step('right', { ...step('right'), after: ['root'] })
    .step('join', { ...step('join'), after: ['left', 'right'] })
    .step('end', {
      ...step('end'),
      run: (call) => {
        if (scenario === 'rolls back') throw new NotDone('the last step is not possible')
        return step('end').run(call)
      },
    })
}

function journalOf(journal: RunOrder['journal']): { journal: SagaJournal; close(): Promise<void> } {
  if ('folder' in journal) return { journal: new FileJournal(journal.folder), close: async () => {} }
  const pool = new pg.Pool({ connectionString: journal.url, max: 2 })
  return {
    journal: new PostgresJournal(pool, { schema: journal.schema }),
    close: async () => await pool.end(),
  }
}

function dieNow(): void {
  process.kill(process.pid, 'SIGKILL')
}

/** Leaves half of a record behind, as a machine that stops while it writes. */
async function tear(folder: string, frame: Uint8Array): Promise<void> {
  for (const saga of await readdir(folder)) {
    for (const file of await readdir(join(folder, saga))) {
      if (!file.endsWith('.journal')) continue
      const path = join(folder, saga, file)
      const bytes = await readFile(path)
      await writeFile(path, Buffer.concat([bytes, frame.subarray(0, Math.floor(frame.length / 2))]))
    }
  }
}

async function run(order: RunOrder): Promise<void> {
  const { at, moment } = order
  const { journal, close } = journalOf(order.journal)
  const deadly = interfered(journal, async (_, { sequence, frame }, append) => {
    if (moment === 'before' && sequence === at) dieNow()
    if (moment === 'torn' && sequence === at && 'folder' in order.journal) {
      if (sequence > 1) await tear(order.journal.folder, frame)
      dieNow()
    }
    await append()
    if (moment === 'after' && sequence === at) dieNow()
  })
  const definition = diamond(order.folder, order.scenario, 10_000, (call) => {
    if (moment === 'in-effect' && call === at) dieNow()
  })
  const end = await definition.run(undefined, { journal: deadly, key: 'k' }).then(
    () => 'committed',
    (error) => (error instanceof SagaRolledBack ? 'rolled-back' : `${error}`),
  )
  await close()
  // It lived: there is nothing at that place.
  process.stdout.write(`${end}\n`)
}

async function recoverOne(order: RunOrder): Promise<string> {
  const { journal, close } = journalOf(order.journal)
  // Unknown effects are undone once their limit has passed; limits may be tuned between two lives.
  const definition = diamond(order.folder, order.scenario, 50, () => {})
  const recovered = await recover([definition], journal)
  await close()
  const outcomes = recovered.map(({ outcome, ...rest }) => ({
    outcome,
    said: 'error' in rest ? rest.error.message : '',
  }))
  return `${JSON.stringify(outcomes)}\n`
}

async function recoverAll(orders: RunOrder[]): Promise<void> {
  const lines: string[] = []
  const waiting = orders.entries()
  const worker = async () => {
    for (const [index, order] of waiting) lines[index] = await recoverOne(order)
  }
  await Promise.all(Array.from({ length: 16 }, worker))
  process.stdout.write(lines.join(''))
}

if (process.argv[2] === 'run') await run(JSON.parse(process.argv[3] as string))
if (process.argv[2] === 'recover')
  await recoverAll(JSON.parse(await readFile(process.argv[3] as string, 'utf8')))
if (process.argv[2] === 'grow') {
  // A saga whose journal cannot grow beyond what `ulimit` allows.
  const { folder } = JSON.parse(process.argv[3] as string) as { folder: string }
  let calls = 0
  const definition = saga<string>('large', { journalTimeout: 300 })
    .step('a', { run: () => 'x'.repeat(3_000), undo: () => {} })
    .step('b', {
      run: () => {
        calls += 1
      },
      undo: () => {},
    })
  const error = await definition
    .run('in', { journal: new FileJournal(folder), key: 'k' })
    .catch((error) => error)
  process.stdout.write(`${JSON.stringify({ code: error.code, cause: error.cause?.code, calls })}\n`)
}
