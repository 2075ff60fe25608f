/**
 * The WebAssembly module behind the same interface as the native addon of the Node package. Private to the package.
 */

import { BugError, MalformedError } from '../../bindings-node/host/errors.js'
import type { Flat } from '../../bindings-node/host/generated.js'
import type { CoreCalls } from '../../bindings-node/host/native.js'
import type { StepWords } from '../../bindings-node/host/packed.js'

/** What the module exports, by its glue of either target; see `src/lib.rs`. */
export interface Exports {
  create(name: string, config: string, seed: number, now: number): number | string
  createScripted(name: string, config: string, draws: string, now: number): number | string
  restore(name: string, snapshot: Uint8Array, now: number, elapsed: number): number | string
  free(handle: number): void
  held(): number
  handle(handle: number, now: number, input: string): string
  tick(handle: number, now: number): string
  input0(handle: number, now: number, tag: number): number
  input1(handle: number, now: number, tag: number, a: number): number
  input2(handle: number, now: number, tag: number, a: number, b: number): number
  input3(handle: number, now: number, tag: number, a: number, b: number, c: number): number
  input4(handle: number, now: number, tag: number, a: number, b: number, c: number, d: number): number
  input5(
    handle: number,
    now: number,
    tag: number,
    a: number,
    b: number,
    c: number,
    d: number,
    e: number,
  ): number
  inputMany(handle: number, now: number, tag: number, fields: Float64Array): number
  tickFlat(handle: number, now: number): number
  words(): number
  refusal(): string
  linearMemory(): WebAssembly.Memory
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

/** An instance of the module. */
export interface Core {
  readonly calls: CoreCalls
  /** Reads the step of the last flat call, in place. */
  readonly words: StepWords
}

/** What the flat path answers for a step: it is read from memory, so there is nothing to pass. */
const IN_MEMORY = ''

/**
 * Puts an instance behind the interface of the native addon.
 *
 * A panic of the core is a trap here, which leaves the instance in an unknown state: it becomes a {@link BugError},
 * and every later call of any machine is refused with the same one.
 */
export function bind(exports: Exports): Core {
  const memory = exports.linearMemory()
  let view = new Float64Array(memory.buffer)
  let [at, end] = [0, 0]
  let broken: BugError | undefined

  function failed(error: unknown): Error {
    if (broken !== undefined) return broken
    if (!(error instanceof WebAssembly.RuntimeError)) return error as Error
    broken = new BugError(
      `a bug of tidegate: the core trapped (${error.message}), and this instance refuses further use; please report it with a trace`,
      { cause: error },
    )
    return broken
  }

  function guard<A extends unknown[], R>(call: (...args: A) => R): (...args: A) => R {
    return (...args) => {
      if (broken !== undefined) throw broken
      try {
        return call(...args)
      } catch (error) {
        throw failed(error)
      }
    }
  }

  /** Turns the answer of a flat call into that of the native addon. */
  function flat(answer: number): Flat {
    if (answer === 0) return null
    if (answer > 0) {
      // Memory that grows leaves the old view empty.
      if (view.length === 0) view = new Float64Array(memory.buffer)
      at = exports.words() / 8
      end = at + answer
      return IN_MEMORY
    }
    if (answer === -1) throw new MalformedError(exports.refusal())
    return -answer - 2
  }

  const calls: CoreCalls = {
    create: guard(exports.create),
    createScripted: guard(exports.createScripted),
    restore: guard(exports.restore),
    free: guard(exports.free),
    held: guard(exports.held),
    handle: guard(exports.handle),
    tick: guard(exports.tick),
    // Written out, one by one: a wrapper with rest arguments would cost more than the calls.
    input0(handle, now, tag) {
      if (broken !== undefined) throw broken
      try {
        return flat(exports.input0(handle, now, tag))
      } catch (error) {
        throw failed(error)
      }
    },
    input1(handle, now, tag, a) {
      if (broken !== undefined) throw broken
      try {
        return flat(exports.input1(handle, now, tag, a))
      } catch (error) {
        throw failed(error)
      }
    },
    input2(handle, now, tag, a, b) {
      if (broken !== undefined) throw broken
      try {
        return flat(exports.input2(handle, now, tag, a, b))
      } catch (error) {
        throw failed(error)
      }
    },
    input3(handle, now, tag, a, b, c) {
      if (broken !== undefined) throw broken
      try {
        return flat(exports.input3(handle, now, tag, a, b, c))
      } catch (error) {
        throw failed(error)
      }
    },
    input4(handle, now, tag, a, b, c, d) {
      if (broken !== undefined) throw broken
      try {
        return flat(exports.input4(handle, now, tag, a, b, c, d))
      } catch (error) {
        throw failed(error)
      }
    },
    input5(handle, now, tag, a, b, c, d, e) {
      if (broken !== undefined) throw broken
      try {
        return flat(exports.input5(handle, now, tag, a, b, c, d, e))
      } catch (error) {
        throw failed(error)
      }
    },
    inputMany: guard((handle, now, tag, fields) =>
      flat(exports.inputMany(handle, now, tag, Float64Array.from(fields))),
    ),
    tickFlat: guard((handle, now) => flat(exports.tickFlat(handle, now))),
    deadline: guard(exports.deadline),
    state: guard(exports.state),
    explain: guard(exports.explain),
    snapshot: guard(exports.snapshot),
    journalFrame: guard(exports.journalFrame),
    journalRecords: guard(exports.journalRecords),
    leaseDecide: guard(exports.leaseDecide),
    leaseMeaning: guard(exports.leaseMeaning),
    schema: guard(exports.schema),
    version: guard(exports.version),
  }
  const words: StepWords = {
    open() {},
    get more() {
      return at < end
    },
    next() {
      return view[at++] as number
    },
  }
  return { calls, words }
}
