/** What the tests of sagas share. */
import assert from 'node:assert/strict'
import { type AnySaga, MemoryJournal, type SagaJournal, saga } from '../../host/index.js'
import { readFrames } from '../../host/saga/journal.js'
import { until } from '../until.js'
import { interfered } from './journals.js'
import type { Fate, World } from './world.js'

export const QUICK = {
  backoff: { initial: 1, cap: 1, floor: 1, jitter: 'none' },
  undoRetries: 0,
  timeout: 40,
  undoTimeout: 40,
} as const

export async function failure<E extends Error>(
  run: Promise<unknown>,
  kind: new (...args: never[]) => E,
): Promise<E> {
  const error = await run.then(
    (value) => assert.fail(`it succeeded: ${JSON.stringify(value)}`),
    (error: unknown) => error,
  )
  assert.ok(error instanceof kind, `${(error as Error).stack}`)
  return error
}

export async function kinds(journal: SagaJournal, id: string): Promise<string[]> {
  const bytes = await journal.read(id)
  assert.ok(bytes)
  return readFrames(id, bytes).records.map(({ kind, step }) => (step === null ? kind : `${kind} ${step}`))
}

/** Three steps, one after the other. */
export function chain(world: World, fates: Record<string, { run?: Fate; undo?: Fate }> = {}) {
  return saga<string>('chain')
    .step('a', { ...world.step('a', fates.a), ...QUICK, latenessBound: undefined, fenced: true })
    .step('b', { ...world.step('b', fates.b), ...QUICK, fenced: true })
    .step('c', { ...world.step('c', fates.c), ...QUICK, fenced: true })
}

/** Runs until the journal takes no more than so many records: what a crash there leaves. */
export async function crashed(definition: AnySaga, key: string, records: number): Promise<MemoryJournal> {
  const journal = new MemoryJournal()
  const cut = interfered(journal, async (_, { sequence }, append) => {
    if (sequence > records) await new Promise(() => {})
    await append()
  })
  definition.run(undefined, { journal: cut, key }).catch(() => {})
  await until(async () => {
    const bytes = await journal.read(`${definition.name}/${key}`)
    return bytes !== undefined && readFrames('', bytes).records.length === records
  }, `${records} records`)
  return journal
}

/** Copies a saga's records into another journal, as if they were its own. */
export async function copy(from: SagaJournal, to: SagaJournal, saga: string, as = saga): Promise<void> {
  await write(Buffer.from((await from.read(saga)) ?? []), to, as)
}

/** Writes the bytes of a journal into another one. */
export async function write(bytes: Buffer, to: SagaJournal, saga: string): Promise<void> {
  const { records } = readFrames(saga, bytes)
  let at = 0
  let writer: Awaited<ReturnType<SagaJournal['begin']>>
  for (const { sequence, payload } of records) {
    // A frame ends eight bytes behind its payload.
    const end = payload.byteOffset - bytes.byteOffset + payload.length + 8
    const record = { sequence, frame: bytes.subarray(at, end), standing: 'unfinished' } as const
    at = end
    if (sequence === 1) writer = await to.begin(saga, record)
    else await writer?.append(record)
  }
}
