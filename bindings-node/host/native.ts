/** Finds and loads the native part of this package. Private: applications never see it. */

import { createRequire } from 'node:module'
import { NativeError } from './errors.js'
import { type Flat, type FlatCalls, VERSION } from './generated.js'

/** The machines of the core by handle: the same calls in the native part and in WebAssembly; see `src/lib.rs`. */
export interface CoreCalls extends FlatCalls {
  create(name: string, config: string, seed: number, now: number): number | string
  createScripted(name: string, config: string, draws: string, now: number): number | string
  restore(name: string, snapshot: Uint8Array, now: number, elapsed: number): number | string
  free(handle: number): void
  held(): number
  handle(handle: number, now: number, input: string): string
  tick(handle: number, now: number): string
  tickFlat(handle: number, now: number): Flat
  deadline(handle: number): string
  state(handle: number): string
  explain(handle: number): string
  snapshot(handle: number, now: number): Uint8Array
  journalFrame(record: string, payload: Uint8Array): Uint8Array
  journalRecords(bytes: Uint8Array): string
  leaseDecide(row: string, command: string, now: number, terms: string): string
  leaseMeaning(question: string, answer: string): string
  schema(): string
  version(): string
}

/** What the native part offers. */
export interface Native extends CoreCalls {
  refuseHandshakes(socket: number): boolean
  /** Missing on Windows. */
  listenUnix?(path: string): number
  /** Missing on Windows. */
  notifyService?(socket: string, message: string): void
}

/** The platform as it is written in the names of files and packages: `linux-x64-gnu`. */
export function platform(): string {
  const { platform, arch } = process
  if (platform === 'win32') return `${platform}-${arch}-msvc`
  if (platform !== 'linux') return `${platform}-${arch}`
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
  return `${platform}-${arch}-${header.glibcVersionRuntime === undefined ? 'musl' : 'gnu'}`
}

/** Where the native part may be: beside the sources, beside the built package, in the package of the platform. */
function candidates(name: string): string[] {
  return [`../tidegate.${name}.node`, `../../tidegate.${name}.node`, `tidegate-${name}`]
}

/**
 * Loads the first candidate that exists.
 *
 * @throws {@link NativeError} when there is none, when it cannot be loaded, or when it is of another version.
 */
export function load(from: (name: string) => unknown, name: string, version: string): Native {
  for (const candidate of candidates(name)) {
    let found: Native
    try {
      found = from(candidate) as Native
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') continue
      throw new NativeError('no-native-part', `tidegate's native part ${candidate} cannot be loaded`, {
        cause: error,
      })
    }
    const theirs = typeof found.version === 'function' ? found.version() : 'unknown'
    if (theirs !== version) {
      throw new NativeError(
        'version-mismatch',
        `tidegate is version ${version}, but its native part ${candidate} is version ${theirs}: install both in the same version`,
      )
    }
    return found
  }
  throw new NativeError(
    'no-native-part',
    `tidegate has no native part for ${name}: the package tidegate-${name} is not installed (were optional dependencies left out?); in a clone of the repository, run \`npm run build:native --workspace tidegate\``,
  )
}

const loaded = load(createRequire(import.meta.url), platform(), VERSION)

/** The native part. Copied into a plain object: its properties are found faster than a module's. */
export const native: Native = {
  create: loaded.create,
  createScripted: loaded.createScripted,
  restore: loaded.restore,
  free: loaded.free,
  held: loaded.held,
  handle: loaded.handle,
  tick: loaded.tick,
  input0: loaded.input0,
  input1: loaded.input1,
  input2: loaded.input2,
  input3: loaded.input3,
  input4: loaded.input4,
  input5: loaded.input5,
  inputMany: loaded.inputMany,
  tickFlat: loaded.tickFlat,
  deadline: loaded.deadline,
  state: loaded.state,
  explain: loaded.explain,
  snapshot: loaded.snapshot,
  journalFrame: loaded.journalFrame,
  journalRecords: loaded.journalRecords,
  leaseDecide: loaded.leaseDecide,
  leaseMeaning: loaded.leaseMeaning,
  schema: loaded.schema,
  version: loaded.version,
  refuseHandshakes: loaded.refuseHandshakes,
  ...(loaded.listenUnix && { listenUnix: loaded.listenUnix }),
  ...(loaded.notifyService && { notifyService: loaded.notifyService }),
}
