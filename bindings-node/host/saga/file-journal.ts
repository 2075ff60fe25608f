/**
 * A journal in files: one folder a saga, in it the records as one file that is appended to and synced.
 *
 * The file's name is the token of its executor (`3.journal`). Who takes a saga over claims the next token
 * (`4.claim`), copies what is whole into a file of its own, and removes the older one. Whoever appends looks, after
 * its record is durable, whether a higher token has been claimed: only without one is the record acknowledged. So
 * either the new executor has read the record, or the old one is told that it lost the saga (G9).
 *
 * For processes of one machine, on a file system of that machine.
 */

import { randomUUID } from 'node:crypto'
import { type FileHandle, link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  frameOf,
  type JournalAppend,
  JournalFenced,
  type JournalWriter,
  readFrames,
  type SagaJournal,
  type SagaStanding,
  standingAfter,
  type TakenOver,
} from './journal.js'
import { same } from './memory-journal.js'

/** What a folder holds. */
interface Files {
  /** The highest token that somebody has; 0 when nobody has one. */
  readonly claimed: number
  /** The tokens of the files with records, the highest last. */
  readonly written: readonly number[]
}

/** Keeps the journals of sagas in a folder. */
export class FileJournal implements SagaJournal {
  readonly #folder: string

  /** The folder is made when it is first needed. */
  constructor(folder: string) {
    this.#folder = folder
  }

  async begin(saga: string, first: JournalAppend): Promise<JournalWriter | undefined> {
    const folder = this.#folderOf(saga)
    const made = await mkdir(folder, { recursive: true })
    const path = join(folder, '1.journal')
    const draft = join(folder, `${randomUUID()}.draft`)
    const file = await writeSynced(draft, first.frame)
    try {
      // Unlike a rename, a link never replaces what somebody else has begun.
      await link(draft, path)
    } catch (error) {
      await file.close()
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      return await this.#beginAgain(saga, folder, path, first)
    } finally {
      await rm(draft)
    }
    if ((await filesOf(folder)).claimed > 1) {
      // Its first file was gone because somebody has taken it over.
      await file.close()
      return undefined
    }
    await syncFolder(folder)
    await syncFolder(this.#folder)
    if (made !== undefined && made !== folder) await syncFolder(dirname(made))
    return new FileWriter(saga, folder, 1, file, [first.frame])
  }

  async takeOver(saga: string): Promise<TakenOver | undefined> {
    const folder = this.#folderOf(saga)
    if ((await filesOf(folder)).written.length === 0) return undefined
    const token = await claim(folder)
    const source = (await filesOf(folder)).written.findLast((other) => other < token)
    // Whoever removed it has a higher token.
    const found = source && (await readIfThere(join(folder, `${source}.journal`)))
    if (!found) throw new JournalFenced(saga)
    const frames = framesIn(saga, found)
    const draft = join(folder, `${token}.draft`)
    const file = await writeSynced(draft, Buffer.concat(frames))
    try {
      await rename(draft, join(folder, `${token}.journal`))
      await syncFolder(folder)
      await removeOlder(folder, token)
    } catch (error) {
      await file.close()
      // Whoever removed it has a higher token.
      throw (error as NodeJS.ErrnoException).code === 'ENOENT' ? new JournalFenced(saga) : error
    }
    // As it was, so that recovery can say that there was a torn record.
    return { writer: new FileWriter(saga, folder, token, file, frames), bytes: found }
  }

  async read(saga: string): Promise<Uint8Array | undefined> {
    return (await this.#latest(saga))?.bytes
  }

  async list(standing: 'unfinished' | 'stuck', idle = 0): Promise<string[]> {
    const found: { saga: string; touched: number }[] = []
    for (const saga of await this.#sagas()) {
      const latest = await this.#latest(saga)
      if (latest === undefined || Date.now() - latest.touched < idle) continue
      if (standingOf(saga, latest.bytes) === standing) found.push({ saga, touched: latest.touched })
    }
    return found.sort((a, b) => a.touched - b.touched).map(({ saga }) => saga)
  }

  /**
   * Removes the journals of sagas that have been over for this long, in milliseconds; their keys are new again then.
   * Resolves with how many.
   */
  async prune(age: number): Promise<number> {
    let removed = 0
    for (const saga of await this.#sagas()) {
      const latest = await this.#latest(saga)
      if (latest === undefined || Date.now() - latest.touched < age) continue
      if (standingOf(saga, latest.bytes) !== 'over') continue
      await rm(this.#folderOf(saga), { recursive: true, force: true })
      removed += 1
    }
    return removed
  }

  async #sagas(): Promise<string[]> {
    const names = await readFolder(this.#folder)
    return names.map(sagaOf).filter((saga) => saga !== undefined)
  }

  /** The records of the latest executor, and when the last one was written. */
  async #latest(saga: string): Promise<{ bytes: Buffer; touched: number } | undefined> {
    const folder = this.#folderOf(saga)
    for (;;) {
      const token = (await filesOf(folder)).written.at(-1)
      if (token === undefined) return undefined
      const path = join(folder, `${token}.journal`)
      const bytes = await readIfThere(path)
      // Gone when it was taken over just now: there is a newer one.
      if (bytes !== undefined)
        return { bytes, touched: await stat(path).then(({ mtimeMs }) => Math.floor(mtimeMs), Date.now) }
    }
  }

  async #beginAgain(
    saga: string,
    folder: string,
    path: string,
    { frame }: JournalAppend,
  ): Promise<JournalWriter | undefined> {
    if ((await filesOf(folder)).claimed > 1) return undefined
    const file = await open(path, 'r+')
    const frames = framesIn(saga, await file.readFile())
    if (!same(frames[0], frame)) {
      await file.close()
      return undefined
    }
    await syncFolder(folder)
    await syncFolder(this.#folder)
    return new FileWriter(saga, folder, 1, file, frames)
  }

  #folderOf(saga: string): string {
    return join(this.#folder, nameOf(saga))
  }
}

/** Names that people can read, where they are short enough for a file system. */
function nameOf(saga: string): string {
  const name = `saga-${encodeURIComponent(saga)}`
  return name.length <= 250 ? name : `saga_${Buffer.from(saga).toString('base64url')}`
}

function sagaOf(name: string): string | undefined {
  if (name.startsWith('saga-')) return decodeURIComponent(name.slice(5))
  return name.startsWith('saga_') ? Buffer.from(name.slice(5), 'base64url').toString() : undefined
}

/** The whole records. */
function framesIn(saga: string, bytes: Uint8Array): Uint8Array[] {
  return readFrames(saga, bytes).records.map((record) => frameOf(record, record.payload))
}

/** Where a saga stands by its journal. A damaged one counts as unfinished, so that recovery reports it. */
function standingOf(saga: string, bytes: Uint8Array): SagaStanding {
  try {
    const last = readFrames(saga, bytes).records.at(-1)
    return last === undefined ? 'unfinished' : standingAfter(last.kind)
  } catch {
    return 'unfinished'
  }
}

/** Appends to one file, whole records only. */
class FileWriter implements JournalWriter {
  readonly #saga: string
  readonly #folder: string
  readonly #token: number
  readonly #file: FileHandle
  readonly #frames: Uint8Array[]
  /** How many bytes are known to be whole and durable. */
  #whole: number
  /** After a failed sync nobody knows what is on the disk, so nothing more is said to be. */
  #broken: Error | undefined

  constructor(saga: string, folder: string, token: number, file: FileHandle, frames: Uint8Array[]) {
    this.#saga = saga
    this.#folder = folder
    this.#token = token
    this.#file = file
    this.#frames = frames
    this.#whole = frames.reduce((sum, frame) => sum + frame.length, 0)
  }

  async append({ sequence, frame }: JournalAppend): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken
    const there = this.#frames[sequence - 1]
    if (there !== undefined && !same(there, frame)) throw new JournalFenced(this.#saga)
    if (there === undefined) {
      await this.#write(frame)
      this.#frames.push(frame)
    }
    if ((await filesOf(this.#folder)).claimed > this.#token) throw new JournalFenced(this.#saga)
  }

  async close(): Promise<void> {
    await this.#file.close()
  }

  /** Behind what is whole: the record that was torn before is the one that is written again. */
  async #write(frame: Uint8Array): Promise<void> {
    let written = 0
    while (written < frame.length) {
      const rest = frame.length - written
      const { bytesWritten } = await this.#file.write(frame, written, rest, this.#whole + written)
      written += bytesWritten
    }
    try {
      await this.#file.datasync()
    } catch (error) {
      this.#broken = error as Error
      throw error
    }
    this.#whole += frame.length
  }
}

/** Takes the next token that nobody has. */
async function claim(folder: string): Promise<number> {
  for (;;) {
    const token = (await filesOf(folder)).claimed + 1
    try {
      await (await open(join(folder, `${token}.claim`), 'wx')).close()
      await syncFolder(folder)
      return token
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
}

/** The records first, then the claims: while there are older records, the claims against their executor are there. */
async function removeOlder(folder: string, token: number): Promise<void> {
  const names = (await readFolder(folder)).filter((name) => Number.parseInt(name, 10) < token)
  for (const kind of ['.journal', '.draft', '.claim']) {
    for (const name of names.filter((name) => name.endsWith(kind)))
      await rm(join(folder, name), { force: true })
  }
}

async function filesOf(folder: string): Promise<Files> {
  let claimed = 0
  const written: number[] = []
  for (const name of await readFolder(folder)) {
    const [, number, kind] = /^(\d+)\.(journal|claim)$/.exec(name) ?? []
    if (number === undefined) continue
    claimed = Math.max(claimed, Number(number))
    if (kind === 'journal') written.push(Number(number))
  }
  return { claimed, written: written.sort((a, b) => a - b) }
}

async function readFolder(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return []
  }
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return undefined
  }
}

/** A new file with these bytes, durable; still open. */
async function writeSynced(path: string, bytes: Uint8Array): Promise<FileHandle> {
  const file = await open(path, 'w+')
  try {
    await file.writeFile(bytes)
    await file.sync()
    return file
  } catch (error) {
    await file.close()
    throw error
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
