/** Real processes that are killed at every record of their journal, and others that recover what they left. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { migrate, PostgresJournal } from '../host/postgres.js'
import { FileJournal } from '../host/saga/file-journal.js'
import { readFrames, type SagaJournal } from '../host/saga/journal.js'
import type { Moment, RunOrder, Scenario } from './saga/crash-program.js'
import { type Bundled, bundled } from './support/bundle.js'
import { startPostgres } from './support/postgres.js'

const PROGRAM = fileURLToPath(new URL('saga/crash-program.ts', import.meta.url))
const NAMES = ['root', 'left', 'right', 'join', 'end']
/** How many processes run at once. */
const BESIDE = 4

let root: string
let bundle: Bundled
before(async () => {
  bundle = await bundled(PROGRAM)
  root = await mkdtemp(join(tmpdir(), 'tidegate-crash-'))
})
after(async () => {
  await bundle[Symbol.asyncDispose]()
  await rm(root, { recursive: true })
})

async function program(...words: string[]): Promise<{ signal: string | null; lines: string[] }> {
  const child = spawn(process.execPath, [bundle.path, ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  const [code, signal] = await once(child, 'close')
  assert.ok(code === 0 || signal === 'SIGKILL', `it exited with ${code} ${signal}`)
  return { signal, lines: output.trimEnd().split('\n') }
}

/** What the world and the journal say after recovery. */
async function assertWhole(
  order: RunOrder,
  journal: SagaJournal,
  outcomes: { outcome: string; said: string }[],
) {
  const { scenario, at, moment } = order
  const where = `${scenario}, ${moment} ${at}`
  const there = (await readdir(order.folder)).filter((name) => name.startsWith('effect-'))
  const bytes = await journal.read('diamond/k')
  if (bytes === undefined) {
    assert.deepEqual([there, outcomes], [[], []], where)
    return
  }
  const { records, torn } = readFrames('diamond/k', bytes)
  const last = records.at(-1)?.kind
  assert.equal(torn, false, where)
  if (scenario === 'rolls back') assert.equal(last, 'rolled-back', `${where}: ${JSON.stringify(outcomes)}`)
  assert.ok(last === 'committed' || last === 'rolled-back', `${where}: ${last}`)
  assert.equal(
    there.length,
    last === 'committed' ? NAMES.length : 0,
    `${where}: ${last}, but there is ${there}`,
  )
  const calls = (await readFile(join(order.folder, 'calls'), 'utf8').catch(() => '')).trimEnd().split('\n')
  let undone = false
  const keys = new Map<string, string>()
  for (const call of calls.filter((call) => call !== '')) {
    const [, direction, name, key] = call.split(' ') as [string, string, string, string]
    assert.equal(key, `diamond/k/${name}/${direction}`, where)
    if (direction === 'undo') undone = true
    else {
      assert.equal(undone, false, `${where}: no do after an undo`)
      assert.equal(keys.get(name), undefined, `${where}: no do is run twice`)
      keys.set(name, key)
    }
  }
}

/** Every record and every effect of a scenario, as a crash of its own. */
async function crashEverywhere(
  place: (name: string) => Promise<RunOrder['journal']>,
  open: (journal: RunOrder['journal']) => SagaJournal,
  moments: readonly Moment[],
): Promise<number> {
  const orders: RunOrder[] = []
  for (const scenario of ['commits', 'rolls back'] as const satisfies Scenario[]) {
    for (const moment of moments) {
      const [records, calls] = scenario === 'commits' ? [12, 5] : [20, 8]
      const most = moment === 'in-effect' ? calls : records
      for (let at = 1; at <= most; at += 1) {
        const name = `${scenario.replace(' ', '_')}_${moment.replace('-', '_')}_${at}`
        const folder = join(root, name)
        await mkdir(folder, { recursive: true })
        orders.push({ folder, journal: await place(name), scenario, at, moment })
      }
    }
  }
  const waiting = orders.values()
  const killer = async () => {
    for (const order of waiting) {
      const { signal, lines } = await program('run', JSON.stringify(order))
      assert.equal(signal, 'SIGKILL', `${order.scenario}, ${order.moment} ${order.at}: it lived, ${lines}`)
    }
  }
  await Promise.all(Array.from({ length: BESIDE }, killer))
  const list = join(root, 'orders')
  await writeFile(list, JSON.stringify(orders))
  const { signal, lines } = await program('recover', list)
  assert.equal(signal, null)
  assert.equal(lines.length, orders.length)
  for (const [index, order] of orders.entries()) {
    await assertWhole(order, open(order.journal), JSON.parse(lines[index] as string))
  }
  return orders.length
}

describe('a process that is killed', () => {
  test('G8: at every record of its journal in files, and in every effect, leaves a world that is made whole', async () => {
    const crashes = await crashEverywhere(
      async (name) => ({ folder: join(root, name, 'journal') }),
      (journal) => new FileJournal((journal as { folder: string }).folder),
      ['before', 'after', 'torn', 'in-effect'],
    )
    assert.equal(crashes, 3 * (12 + 20) + 13)
  })

  test('G8: at every record of its journal in PostgreSQL leaves a world that is made whole', async () => {
    await using server = await startPostgres()
    await rm(root, { recursive: true })
    await mkdir(root)
    const pool = new pg.Pool({ connectionString: server.url })
    const crashes = await crashEverywhere(
      async (schema) => {
        await migrate(pool, { schema })
        return { url: server.url, schema }
      },
      (journal) => new PostgresJournal(pool, { schema: (journal as { schema: string }).schema }),
      ['before', 'after'],
    )
    await pool.end()
    assert.equal(crashes, 2 * (12 + 20))
  })
})

test('G4: a journal that cannot grow stops the saga before the effect, and recovery cuts what it half wrote', async () => {
  const folder = join(root, 'full')
  const child = spawn(
    'sh',
    // In units of 512 bytes: enough for the first records, not for the output of the first step.
    ['-c', 'ulimit -f 2; exec "$0" "$@"', process.execPath, bundle.path, 'grow', JSON.stringify({ folder })],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const [output] = await once(child.stdout, 'data')
  await once(child, 'exit')
  assert.deepEqual(JSON.parse(`${output}`), { code: 'saga-halted', cause: 'EFBIG', calls: 0 })
  const bytes = (await new FileJournal(folder).read('large/k')) ?? Buffer.of()
  const { records, torn } = readFrames('large/k', bytes)
  assert.deepEqual(
    records.map(({ kind }) => kind),
    ['started', 'intent'],
  )
  assert.equal(torn, true)
  const taken = await new FileJournal(folder).takeOver('large/k')
  await taken?.writer.close()
  const whole = (await new FileJournal(folder).read('large/k')) ?? Buffer.of()
  assert.deepEqual(
    [readFrames('large/k', whole).records.length, readFrames('large/k', whole).torn],
    [2, false],
  )
})

test('a trace says what the machine decided, and nothing of what the saga is about', async () => {
  const [folder, trace] = [join(root, 'traced'), join(root, 'trace')]
  const child = spawn(process.execPath, [bundle.path, 'grow', JSON.stringify({ folder })], {
    stdio: 'ignore',
    env: { ...process.env, TIDEGATE_TRACE: trace },
  })
  await once(child, 'exit')
  const text = await readFile(trace, 'utf8')
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.ok(lines.some(({ name }) => name === 'saga'))
  assert.ok(lines.some(({ effects }) => effects?.some(({ type }: { type: string }) => type === 'committed')))
  assert.ok(!text.includes('xxxx'), 'the output of the step')
})
