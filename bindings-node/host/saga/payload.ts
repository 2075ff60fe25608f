/** What this host adds to the records of a journal: values and errors, as JSON. */

import { RecordedError } from './errors.js'

/** The core takes a megabyte; a bit is left for what is around the value. */
const LONGEST = 1_000_000
const LONGEST_TEXT = 4_096
const NOTHING = new Uint8Array()

/**
 * A value as bytes.
 *
 * @throws TypeError when it is not JSON (a circle, a big integer), RangeError when it is longer than a megabyte.
 */
export function encodeValue(what: string, value: unknown): Uint8Array {
  const text = JSON.stringify(value)
  if (text === undefined) return NOTHING
  const bytes = Buffer.from(text)
  if (bytes.length > LONGEST) {
    throw new RangeError(
      `${what} is ${bytes.length} bytes long as JSON, at most ${LONGEST} fit into a journal`,
    )
  }
  return bytes
}

/** The value. */
export function decodeValue(bytes: Uint8Array): unknown {
  return bytes.length === 0 ? undefined : JSON.parse(Buffer.from(bytes).toString())
}

interface Written {
  readonly name?: string
  readonly message: string
  readonly code?: string | number
  readonly cause?: Written
}

/** What of an error is worth keeping: its name, message and code, and those of what caused it. */
export function encodeError(error: unknown): Uint8Array {
  let written: Written
  try {
    written = write(error, 3)
  } catch {
    // Whatever was thrown: writing it down must not fail, too.
    written = { message: 'an error that cannot be written down' }
  }
  return Buffer.from(JSON.stringify(written))
}

function write(error: unknown, depth: number): Written {
  if (!(error instanceof Error)) return { message: String(error).slice(0, LONGEST_TEXT) }
  const { code } = error as { code?: unknown }
  const known = typeof code === 'string' || typeof code === 'number'
  return {
    name: `${error.name}`.slice(0, LONGEST_TEXT),
    message: `${error.message}`.slice(0, LONGEST_TEXT),
    ...(known && { code }),
    ...(error.cause !== undefined && depth > 0 && { cause: write(error.cause, depth - 1) }),
  }
}

/** The error, as far as it was kept. */
export function decodeError(bytes: Uint8Array): unknown {
  return bytes.length === 0 ? undefined : read(JSON.parse(Buffer.from(bytes).toString()))
}

function read({ name, message, code, cause }: Written): unknown {
  if (name === undefined) return message
  return new RecordedError(name, message, code, cause && { cause: read(cause) })
}
