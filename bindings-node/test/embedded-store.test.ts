/** What the journal of the embedded store survives, and what it refuses. */
import assert from 'node:assert/strict'
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { EmbeddedLeaseStore, LeaseStoreError } from '../host/index.js'
import { lease, poolOf, refusal } from './support/lease-stores.js'

describe('the journal of an embedded store', () => {
  let folder: string
  let files = 0
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidegate-journal-'))
  })
  after(async () => {
    await rm(folder, { recursive: true, force: true })
  })
  const file = () => {
    files += 1
    return join(folder, `${files}.journal`)
  }
  /** A journal with an allocation for each of so many organizations, a line each. */
  async function written(path: string, organizations: number): Promise<void> {
    const store = await EmbeddedLeaseStore.open({ path })
    const pool = await poolOf(store, organizations)
    for (let n = 1; n <= organizations; n += 1) await lease(pool, `organization ${n}`)
    await store.close()
  }
  async function activeIn(path: string): Promise<number> {
    const store = await EmbeddedLeaseStore.open({ path })
    const rows = await store.list()
    await store.close()
    return rows.filter(({ row }) => row.state === 'active').length
  }

  it('has whatever was answered, wherever its last line was torn', async () => {
    const path = file()
    await written(path, 3)
    const whole = await readFile(path, 'utf8')
    const last = whole.trimEnd().lastIndexOf('\n') + 1
    for (const cut of [last, last + 1, last + 20, whole.length - 2, whole.length]) {
      const torn = file()
      await writeFile(torn, whole.slice(0, cut))
      // The last line is the confirmation of the third lease.
      assert.equal(await activeIn(torn), cut >= whole.length - 1 ? 3 : 2, `cut at ${cut} of ${whole.length}`)
    }
  })

  it('ends its last line before the next one, when that was torn', async () => {
    const path = file()
    await written(path, 2)
    await appendFile(path, '0123456789abcdef {"at":1,"ro')
    const store = await EmbeddedLeaseStore.open({ path })
    await lease(await poolOf(store, 3), 'organization 3')
    await store.close()
    assert.equal(await activeIn(path), 3)
  })

  it('is refused when it is damaged before its end', async () => {
    const path = file()
    await written(path, 3)
    const whole = await readFile(path)
    const damaged = whole.indexOf('"active"')
    whole[damaged + 1] = 'A'.charCodeAt(0)
    await writeFile(path, whole)
    await assert.rejects(
      EmbeddedLeaseStore.open({ path }),
      (error) =>
        error instanceof LeaseStoreError && error.code === 'corrupt' && /line \d+$/.test(error.message),
    )
  })

  it('belongs to one process at a time, and to none that died', async () => {
    const path = file()
    const store = await EmbeddedLeaseStore.open({ path })
    assert.equal(await refusal(EmbeddedLeaseStore.open({ path })), 'in-use')
    await store.close()
    // A process that does not exist, and our own id from an earlier life of a container.
    for (const holder of [2 ** 22 + 1, process.pid]) {
      await writeFile(`${path}.lock`, `${holder}\n`)
      const again = await EmbeddedLeaseStore.open({ path })
      await again.close()
    }
    await writeFile(`${path}.lock`, `${process.ppid}\n`)
    assert.equal(await refusal(EmbeddedLeaseStore.open({ path })), 'in-use')
  })

  it('is written anew when it has grown, and loses nothing by it', async () => {
    const path = file()
    const store = await EmbeddedLeaseStore.open({ path })
    const pool = await poolOf(store, 40)
    for (let n = 1; n <= 40; n += 1) await lease(pool, `organization ${n}`)
    for (let n = 0; n < 1_000; n += 1) await pool.renew(`g${1 + (n % 40)}`, 1)
    await store.close()
    const lines = (await readFile(path, 'utf8')).split('\n').length
    assert.ok(lines < 500, `${lines} lines for more than 1,100 writes`)
    assert.equal(await activeIn(path), 40)
  })

  it('shares a write between the decisions that wait for one', async () => {
    const path = file()
    const store = await EmbeddedLeaseStore.open({ path })
    const pool = await poolOf(store, 100)
    const lines = async () => (await readFile(path, 'utf8')).split('\n').length
    const before = await lines()
    await Promise.all(Array.from({ length: 100 }, (_, n) => pool.allocate(`organization ${n}`, `r${n}`)))
    assert.ok((await lines()) - before <= 3)
    await store.close()
  })

  it('answers nothing more once a write has failed, and what was answered is there', async () => {
    const path = file()
    const store = await EmbeddedLeaseStore.open({ path })
    const pool = await poolOf(store, 2)
    await lease(pool, 'acme')
    await store.close()
    assert.equal(await refusal(pool.allocate('other', 'r')), 'lease-store-unavailable')
    assert.equal(await refusal(pool.list()), 'lease-store-unavailable')
    assert.equal(await activeIn(path), 1)
  })

  it('never lets its clock run back, not even over a restart', async () => {
    const path = file()
    let now = 1_000_000
    const store = await EmbeddedLeaseStore.open({ path, clock: () => now })
    const pool = await poolOf(store, 1, { terms: { term: 1_000 } })
    await lease(pool, 'acme')
    await store.close()
    now = 5
    const again = await EmbeddedLeaseStore.open({ path, clock: () => now })
    const [row] = await again.list()
    assert.equal(row?.now, 1_000_000)
    await again.close()
  })
})
