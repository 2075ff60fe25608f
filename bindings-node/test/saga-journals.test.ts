/** Every journal keeps the same promises. */
import assert from 'node:assert/strict'
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import pg from 'pg'
import { saga } from '../host/index.js'
import { migrate, PostgresJournal } from '../host/postgres.js'
import { FileJournal } from '../host/saga/file-journal.js'
import {
  frameOf,
  type JournalAppend,
  JournalFenced,
  JournalRefused,
  type JournalWriter,
  readFrames,
  type SagaJournal,
  type SagaStanding,
} from '../host/saga/journal.js'
import { inFiles, inMemory, inPostgres, type Open } from './saga/journals.js'
import { type PostgresServer, startPostgres } from './support/postgres.js'
import { until } from './until.js'

let server: PostgresServer
before(async () => {
  server = await startPostgres()
})
after(async () => await server[Symbol.asyncDispose]())

function record(sequence: number, text = 'x', standing: SagaStanding = 'unfinished'): JournalAppend {
  const kind = sequence === 1 ? 'started' : 'done'
  const step = sequence === 1 ? null : 0
  const frame = frameOf({ sequence, kind, step, attempt: 1, value: 0 }, Buffer.from(text))
  return { sequence, frame, standing }
}

async function begin(journal: SagaJournal, saga: string, text?: string): Promise<JournalWriter> {
  const writer = await journal.begin(saga, record(1, text))
  assert.ok(writer)
  return writer
}

async function texts(journal: SagaJournal, saga: string): Promise<string[]> {
  const bytes = await journal.read(saga)
  assert.ok(bytes)
  return readFrames(saga, bytes).records.map(({ payload }) => Buffer.from(payload).toString())
}

function conformance(name: string, prepare: () => Open): void {
  describe(name, () => {
    test('reads what was appended, in order, from another process too', async () => {
      await using opened = await prepare()()
      const writer = await begin(opened.open(), 'a/1', 'one')
      for (const [index, text] of ['two', 'three', ''].entries()) await writer.append(record(index + 2, text))
      await writer.close()
      assert.deepEqual(await texts(opened.open(), 'a/1'), ['one', 'two', 'three', ''])
    })

    test('G4: the same record again is no error, and is there once', async () => {
      await using opened = await prepare()()
      const writer = await begin(opened.open(), 'a/1')
      await writer.append(record(2))
      await writer.append(record(2))
      await writer.append(record(3, 'y'))
      await writer.append(record(2))
      assert.deepEqual(await texts(opened.open(), 'a/1'), ['x', 'x', 'y'])
      await writer.close()
    })

    test('G9: another record in the place of one is refused', async () => {
      await using opened = await prepare()()
      const writer = await begin(opened.open(), 'a/1')
      await writer.append(record(2, 'mine'))
      await assert.rejects(writer.append(record(2, 'other')), JournalFenced)
      assert.deepEqual(await texts(opened.open(), 'a/1'), ['x', 'mine'])
      await writer.close()
    })

    test('a saga begins once: again with its first record by the same executor, never with another one', async () => {
      await using opened = await prepare()()
      const first = await begin(opened.open(), 'a/1', 'mine')
      await first.append(record(2))
      assert.equal(await opened.open().begin('a/1', record(1, 'other')), undefined)
      const again = await begin(opened.open(), 'a/1', 'mine')
      assert.deepEqual(await texts(opened.open(), 'a/1'), ['mine', 'x'])
      const taken = await opened.open().takeOver('a/1')
      assert.equal(await opened.open().begin('a/1', record(1, 'mine')), undefined)
      for (const writer of [first, again, taken?.writer]) await writer?.close()
    })

    test('of many who begin the same saga at once, one has it', async () => {
      await using opened = await prepare()()
      const all = Array.from({ length: 8 }, (_, index) => opened.open().begin('a/1', record(1, `${index}`)))
      const writers = (await Promise.all(all)).filter((writer) => writer !== undefined)
      assert.equal(writers.length, 1)
      for (const writer of writers) await writer.close()
    })

    test('G9: who takes a saga over has all that was acknowledged, and the one before appends no more', async () => {
      await using opened = await prepare()()
      const first = await begin(opened.open(), 'a/1')
      await first.append(record(2, 'two'))
      const taken = await opened.open().takeOver('a/1')
      assert.ok(taken)
      assert.equal(readFrames('a/1', taken.bytes).records.length, 2)
      await assert.rejects(first.append(record(3, 'late')), JournalFenced)
      await taken.writer.append(record(3, 'three'))
      assert.deepEqual(await texts(opened.open(), 'a/1'), ['x', 'two', 'three'])
      for (const writer of [first, taken.writer]) await writer.close()
    })

    test('G9: a record is acknowledged by one executor alone, however many race', async () => {
      await using opened = await prepare()()
      for (let round = 0; round < 10; round += 1) {
        const saga = `a/${round}`
        const writers = [await begin(opened.open(), saga)]
        const acknowledged: string[] = []
        const attempt = async (writer: JournalWriter, who: string) => {
          for (let sequence = 2; sequence < 6; sequence += 1) {
            try {
              await writer.append(record(sequence, who))
              acknowledged.push(`${sequence} ${who}`)
            } catch (error) {
              assert.ok(error instanceof JournalFenced, String(error))
              return
            }
          }
        }
        const racing = [attempt(writers[0] as JournalWriter, 'first')]
        for (const who of ['second', 'third']) {
          racing.push(
            opened
              .open()
              .takeOver(saga)
              .then(async (taken) => {
                if (taken === undefined) throw new Error('not there')
                writers.push(taken.writer)
                // As a recovery does: from where the journal ends.
                const { records } = readFrames(saga, taken.bytes)
                await taken.writer.append(record(records.length + 1, who))
                acknowledged.push(`${records.length + 1} ${who}`)
              })
              .catch((error) => assert.ok(error instanceof JournalFenced, String(error))),
          )
        }
        await Promise.all(racing)
        const kept = (await texts(opened.open(), saga)).map((who, index) => `${index + 1} ${who}`)
        for (const one of acknowledged) assert.ok(kept.includes(one), `${one} is lost: ${kept}`)
        for (const writer of writers) await writer.close()
      }
    })

    test('sagas are listed by where they stand', async () => {
      await using opened = await prepare()()
      const journal = opened.open()
      const standings = { 'a/new': 'unfinished', 'a/stuck': 'stuck', 'a/over': 'over' } as const
      for (const [saga, standing] of Object.entries(standings)) {
        const writer = await begin(journal, saga)
        // What it says last is what counts.
        const kind = { unfinished: 'done', stuck: 'stuck', over: 'committed' }[standing] as 'done'
        const frame = frameOf({ sequence: 2, kind, step: null, attempt: 0, value: 0 }, Buffer.of())
        await writer.append({ sequence: 2, frame, standing })
        await writer.close()
      }
      assert.deepEqual(await opened.open().list('unfinished'), ['a/new'])
      assert.deepEqual(await opened.open().list('stuck'), ['a/stuck'])
      assert.deepEqual(await opened.open().list('unfinished', 60_000), [])
      await until(
        async () => (await opened.open().list('unfinished', 20)).length === 1,
        'it is idle for 20 ms',
      )
    })

    test('a saga that is not there is neither read nor taken over', async () => {
      await using opened = await prepare()()
      assert.equal(await opened.open().read('a/1'), undefined)
      assert.equal(await opened.open().takeOver('a/1'), undefined)
      assert.deepEqual(await opened.open().list('unfinished'), [])
    })

    test('any key that a saga can have is a name', async () => {
      await using opened = await prepare()()
      const journal = opened.open()
      const sagas = [
        'a/..',
        'a/b/c',
        'a/Ω %2F\n',
        `a/${'ö'.repeat(60)}`,
        'a/*',
        "a/'; DROP TABLE tidegate_sagas",
      ]
      for (const saga of sagas) await (await begin(journal, saga)).close()
      assert.deepEqual((await journal.list('unfinished')).sort(), sagas.sort())
      for (const saga of sagas) assert.deepEqual(await texts(journal, saga), ['x'])
    })
  })
}

conformance('in memory', () => inMemory)
conformance('in files', () => inFiles)
conformance('in PostgreSQL', () => inPostgres(server))

/** The one file with the records of the only saga in a folder. */
async function theFile(folder: string): Promise<string> {
  const [saga] = await readdir(folder)
  const files = await readdir(join(folder, saga as string))
  const [file] = files.filter((name) => name.endsWith('.journal'))
  return join(folder, saga as string, file as string)
}

describe('files', () => {
  let folders = 0
  const fresh = () => {
    folders += 1
    return join(tmpdir(), `tidegate-journal-${process.pid}-${folders}`)
  }

  test('G8: a torn record is cut off by whoever takes the saga over', async () => {
    const folder = fresh()
    const writer = await begin(new FileJournal(folder), 'a/1')
    await writer.append(record(2, 'two'))
    await writer.close()
    const path = await theFile(folder)
    const whole = (await readFile(path)).length
    const second = record(2, 'two').frame.length
    for (let cut = whole - second + 1; cut < whole; cut += 7) {
      await truncate(await theFile(folder), cut)
      const taken = await new FileJournal(folder).takeOver('a/1')
      assert.equal(readFrames('a/1', taken?.bytes ?? Buffer.of()).torn, true)
      await taken?.writer.append(record(2, 'two'))
      await taken?.writer.close()
      assert.deepEqual(await texts(new FileJournal(folder), 'a/1'), ['x', 'two'])
    }
  })

  test('G8: a damaged journal is left as it is', async () => {
    const folder = fresh()
    const writer = await begin(new FileJournal(folder), 'a/1')
    await writer.append(record(2))
    await writer.close()
    const path = await theFile(folder)
    const bytes = await readFile(path)
    bytes[10] = (bytes[10] as number) ^ 1
    await writeFile(path, bytes)
    await assert.rejects(new FileJournal(folder).takeOver('a/1'), JournalRefused)
    assert.deepEqual(await readFile(path), bytes)
    assert.deepEqual(await new FileJournal(folder).list('unfinished'), ['a/1'], 'recovery is to report it')
  })

  test('whoever died while it took a saga over is in nobody’s way', async () => {
    const folder = fresh()
    const writer = await begin(new FileJournal(folder), 'a/1')
    const path = await theFile(folder)
    await writeFile(path.replace('1.journal', '2.claim'), '')
    await writeFile(path.replace('1.journal', '2.draft'), 'half')
    await assert.rejects(writer.append(record(2)), JournalFenced)
    await writer.close()
    const taken = await new FileJournal(folder).takeOver('a/1')
    await taken?.writer.append(record(3))
    await taken?.writer.close()
    assert.equal(
      (await texts(new FileJournal(folder), 'a/1')).length,
      3,
      'what was durable is taken as it is',
    )
    assert.deepEqual((await readdir(join(path, '..'))).sort(), ['3.claim', '3.journal'])
  })

  test('sagas that are over are pruned by their age, and no others', async () => {
    const folder = fresh()
    const journal = new FileJournal(folder)
    const writer = await begin(journal, 'a/over')
    const frame = frameOf({ sequence: 2, kind: 'committed', step: null, attempt: 0, value: 0 }, Buffer.of())
    await writer.append({ sequence: 2, frame, standing: 'over' })
    await writer.close()
    await (await begin(journal, 'a/new')).close()
    assert.equal(await journal.prune(60_000), 0)
    assert.equal(await journal.prune(0), 1)
    assert.deepEqual(await readdir(folder), [`saga-${encodeURIComponent('a/new')}`])
  })
})

describe('PostgreSQL', () => {
  test('the tables are made once, however many processes ask at once', async () => {
    const pool = new pg.Pool({ connectionString: await server.createDatabase() })
    const applied = (await Promise.all([migrate(pool), migrate(pool), migrate(pool)])).flat()
    assert.deepEqual(applied, [...new Set(applied)])
    assert.ok(applied.includes('0001-saga-journal.sql'))
    assert.deepEqual(await migrate(pool), [])
    assert.ok((await migrate(pool, { schema: 'gateway' })).includes('0001-saga-journal.sql'))
    const journal = new PostgresJournal(pool, { schema: 'gateway' })
    await begin(journal, 'a/1')
    assert.deepEqual(await new PostgresJournal(pool).list('unfinished'), [])
    assert.throws(() => new PostgresJournal(pool, { schema: 'a"; --' }), RangeError)
    await pool.end()
  })

  test('an acknowledged record outlives the server, even one that is set up to lose its last ones', async () => {
    await using careless = await startPostgres({
      settings: { synchronous_commit: 'off', wal_writer_delay: '10s' },
    })
    const open = () => {
      const pool = new pg.Pool({ connectionString: careless.url })
      pool.on('error', () => {})
      return pool
    }
    const pool = open()
    await migrate(pool)
    const writer = await begin(new PostgresJournal(pool), 'a/1')
    await writer.append(record(2, 'two'))
    await careless.restart()
    const again = open()
    assert.deepEqual(await texts(new PostgresJournal(again), 'a/1'), ['x', 'two'])
    await Promise.all([pool.end(), again.end()])
  })

  test('a server that is restarted in the middle of a saga costs the saga only that time', async () => {
    await using restarting = await startPostgres()
    const pool = new pg.Pool({ connectionString: restarting.url })
    pool.on('error', () => {})
    await migrate(pool)
    const made: string[] = []
    const outputs = await saga('s', { journalTimeout: '60s' })
      .step('a', {
        run: async () => {
          made.push('a')
          // It is away when this step's outcome is to be written down.
          await restarting.kill()
          void restarting.start()
        },
        timeout: '60s',
      })
      .step('b', { run: () => made.push('b') })
      .run(undefined, { journal: new PostgresJournal(pool), key: 'k' })
    assert.deepEqual([outputs.b, made], [2, ['a', 'b']])
    await pool.end()
  })

  test('sagas that are over are pruned by their age, and no others', async () => {
    const pool = new pg.Pool({ connectionString: await server.createDatabase() })
    await migrate(pool)
    const journal = new PostgresJournal(pool)
    await (await begin(journal, 'a/over')).append({ ...record(2), standing: 'over' })
    await begin(journal, 'a/new')
    assert.equal(await journal.prune(60_000), 0)
    assert.equal(await journal.prune(0), 1)
    assert.equal(await journal.read('a/over'), undefined)
    assert.deepEqual(await journal.list('unfinished'), ['a/new'])
    await pool.end()
  })
})
