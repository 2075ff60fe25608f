/**
 * Marker files (Y3): by one, a deploy script announces what the next stop of a process is for, whatever its signal
 * means otherwise. It counts once, for one instance, and only while it is fresh: one that was left behind must not
 * turn a later decommission into a restart.
 */

import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import process from 'node:process'
import { type Duration, milliseconds } from './duration.js'
import { ConfigError } from './errors.js'
import { type Intent, intentValues } from './generated.js'

/** Where a process looks for its marker, and which ones count. */
export interface MarkerOptions {
  /**
   * The file. Whoever may write to its folder can say what a stop is for, so let that be the operator alone. Let each
   * instance have its own: a marker is used up by being read, also by an instance that it is not for.
   */
  path: string
  /** Whose marker it must be: a name that only this instance has, such as the id of a gateway. */
  instance: string
  /** How old it may be, by the clock of the machine; default 60 s. */
  maxAge?: Duration
}

/** What a marker says. */
export interface MarkerContent {
  /** Whose stop is announced. */
  instance: string
  /** What for; a handoff is never announced, it happens. */
  intent: Exclude<Intent, 'handoff'>
}

/** What became of a marker: what it says, or why it does not count. */
export type TakenMarker = { readonly intent: Intent } | { readonly because: string }

const MAX_AGE = 60_000
/** No marker is longer. Bytes. */
const LONGEST = 4_096
const NO_FILE = 'it is no regular file'
/** What a stop can be announced as. */
const ANNOUNCED: readonly string[] = intentValues.filter((intent) => intent !== 'handoff')

/**
 * Announces what the next stop is for; the file appears at once and whole.
 *
 * @throws RangeError for an intent that cannot be announced; what the file system says.
 */
export function writeMarker(path: string, { instance, intent }: MarkerContent): void {
  if (!ANNOUNCED.includes(intent))
    throw new RangeError(`a marker cannot say "${intent}"; it can say ${ANNOUNCED.join(', ')}`)
  const written = `${path}.${process.pid}.new`
  try {
    writeFileSync(written, `${JSON.stringify({ instance, intent, at: Date.now() })}\n`)
    renameSync(written, path)
  } finally {
    rmSync(written, { force: true })
  }
}

/** The marker of a process. */
export class Marker {
  readonly #path: string
  readonly #instance: string
  readonly #maxAge: number

  /** @throws ConfigError for an age that cannot be read, an empty path or instance. */
  constructor({ path, instance, maxAge = MAX_AGE }: MarkerOptions) {
    const fault = (field: string, message: string) =>
      new ConfigError('lifecycle', [{ code: 'out-of-range', field: `marker.${field}`, message }])
    if (path === '') throw fault('path', 'is empty; name the file that announces a stop')
    if (instance === '') throw fault('instance', 'is empty; name the instance whose stop is announced')
    this.#path = path
    this.#instance = instance
    try {
      this.#maxAge = milliseconds(maxAge)
    } catch (error) {
      throw fault('maxAge', (error as Error).message)
    }
  }

  /** Reads the marker and removes it, whatever it says; none if there is none. Never throws, and never waits. */
  take(): TakenMarker | undefined {
    const taken = `${this.#path}.${process.pid}.taken`
    try {
      // A folder, or whatever else somebody has put there, is not ours to move.
      if (!lstatSync(this.#path).isFile()) return { because: NO_FILE }
      // Of two processes that look at once, one has it.
      renameSync(this.#path, taken)
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      return code === 'ENOENT' ? undefined : { because: message }
    }
    try {
      return this.#judge(JSON.parse(content(taken)))
    } catch (error) {
      return { because: (error as Error).message }
    } finally {
      rmSync(taken, { force: true })
    }
  }

  #judge(marker: unknown): TakenMarker {
    const { instance, intent, at } = (marker ?? {}) as Record<string, unknown>
    if (typeof intent !== 'string' || !ANNOUNCED.includes(intent))
      return { because: `it says ${JSON.stringify(intent)}, which is none of ${ANNOUNCED.join(', ')}` }
    if (instance !== this.#instance)
      return { because: `it is for ${JSON.stringify(instance)}, and this is "${this.#instance}"` }
    const age = Date.now() - Number(at)
    if (!(age >= 0 && age <= this.#maxAge))
      return { because: `it is ${age} ms old, and counts from 0 to ${this.#maxAge} ms` }
    return { intent: intent as Intent }
  }
}

/** @throws Error for what is no file, or too long. */
function content(path: string): string {
  // It was a file a moment ago; not to wait for a writer if it has become a pipe since.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    if (!fstatSync(file).isFile()) throw new Error(NO_FILE)
    const bytes = Buffer.alloc(LONGEST + 1)
    const length = readSync(file, bytes)
    if (length > LONGEST) throw new Error(`it is longer than ${LONGEST} bytes`)
    return bytes.toString('utf8', 0, length)
  } finally {
    closeSync(file)
  }
}
