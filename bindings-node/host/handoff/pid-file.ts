/** A file that names the process that serves. */

import { readFileSync, unlinkSync } from 'node:fs'
import { rename, rm, writeFile } from 'node:fs/promises'
import process from 'node:process'

/** Puts a process id into the file, in one piece: a reader finds the old one or the new one. */
export async function writePidFile(path: string, pid: number): Promise<void> {
  const draft = `${path}.${process.pid}`
  try {
    await writeFile(draft, `${pid}\n`)
    await rename(draft, path)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
}

/** Removes the file, if it names this process. */
export function removePidFile(path: string): void {
  try {
    if (Number(readFileSync(path, 'utf8')) === process.pid) unlinkSync(path)
  } catch {
    // It is gone already.
  }
}
