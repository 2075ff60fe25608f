/** A file that only one process has: what keeps two control planes off one journal. */

import { link, readFile, rm, writeFile } from 'node:fs/promises'
import { LeaseStoreError } from './errors.js'

/** The locks of this process: its own id in a lock file means nothing, as ids are used again (PID 1). */
const held = new Set<string>()

/**
 * Names its holder by process id. A holder that is gone has lost it, so nothing is left to be cleaned up after a
 * crash. It works between the processes of one machine and one PID namespace.
 */
export class FileLock {
  readonly #path: string

  private constructor(path: string) {
    this.#path = path
  }

  /** @throws LeaseStoreError `in-use` when a process that lives has it. */
  static async take(path: string): Promise<FileLock> {
    const own = `${path}.${process.pid}`
    await writeFile(own, `${process.pid}\n`)
    try {
      for (;;) {
        try {
          // Unlike opening, linking makes the file and its content visible in one piece.
          await link(own, path)
          held.add(path)
          return new FileLock(path)
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
        }
        const holder = Number(await readFile(path, 'utf8').catch(() => Number.NaN))
        if (held.has(path) || (holder !== process.pid && lives(holder))) {
          throw new LeaseStoreError('in-use', `${path} is held by process ${holder}`)
        }
        await rm(path, { force: true })
      }
    } finally {
      await rm(own, { force: true })
    }
  }

  async release(): Promise<void> {
    held.delete(this.#path)
    await rm(this.#path, { force: true })
  }
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
