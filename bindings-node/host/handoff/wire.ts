/**
 * What the two sides of a handoff say to each other, over a stream socket that the old process opens for it.
 *
 * | from | message | when |
 * | --- | --- | --- |
 * | new | `{"type":"ready","version":1}` | it has initialised; `version` is the highest that it speaks |
 * | old | `{"type":"acknowledged","version":1,"state":null}` | it may accept; `version` is the one to be spoken |
 * | new | `{"type":"accepting"}` | it accepts |
 * | new | `{"type":"refused","reason":"…"}` | it will not take over |
 *
 * A message is one line of JSON, in UTF-8, of at most {@link MOST_LINE} bytes with its newline. Where `state` is
 * `{"version":V,"bytes":N}`, exactly N bytes of state follow the newline. Fields that are not known are left alone, so
 * that *ready* is understood by every version; anything else that is not in the table is garbage, and ends the handoff.
 */

/** The longest line, its newline included. Bytes. */
export const MOST_LINE = 4_096
/** The longest reason of a refusal. Characters. */
const MOST_REASON = 500
const NEWLINE = 10

/** What a successor says. */
export type FromSuccessor =
  | { type: 'ready'; version: number }
  | { type: 'accepting' }
  | { type: 'refused'; reason: string }

/** What the old process says. */
export interface FromOld {
  type: 'acknowledged'
  version: number
  state: { version: number; bytes: Uint8Array } | undefined
}

/** What a successor says, as bytes. */
export function fromSuccessor(message: FromSuccessor): string {
  const { type } = message
  return `${JSON.stringify(type === 'refused' ? { type, reason: message.reason.slice(0, MOST_REASON) } : message)}\n`
}

/** What the old process says, as a line; the bytes of the state go after it. */
export function fromOld(version: number, state: FromOld['state']): string {
  const announced = state ? { version: state.version, bytes: state.bytes.length } : null
  return `${JSON.stringify({ type: 'acknowledged', version, state: announced })}\n`
}

/** Where messages go that were read. */
interface Receiver<Message> {
  message(message: Message): void
  /** Something else than the protocol; nothing is read after it. */
  garbage(why: string): void
}

/** Reads one side's messages out of a stream of bytes. */
class Inbox<Message> {
  readonly #receiver: Receiver<Message>
  readonly #read: (line: Record<string, unknown>) => Message | number
  readonly #complete: (body: Buffer) => Message
  #pending: Buffer = Buffer.alloc(0)
  #parts: Buffer[] = []
  /** Bytes of a body that are still to come, or -1 outside one. */
  #missing = -1
  #broken = false

  /** `read` answers a message, or how many bytes of a body follow. It throws for garbage. */
  constructor(
    receiver: Receiver<Message>,
    read: (line: Record<string, unknown>) => Message | number,
    complete: (body: Buffer) => Message,
  ) {
    this.#receiver = receiver
    this.#read = read
    this.#complete = complete
  }

  push(bytes: Buffer): void {
    let rest = bytes
    while (rest.length > 0 && !this.#broken) rest = this.#missing >= 0 ? this.#body(rest) : this.#line(rest)
  }

  #body(bytes: Buffer): Buffer {
    const part = bytes.subarray(0, this.#missing)
    this.#parts.push(part)
    this.#missing -= part.length
    if (this.#missing === 0) this.#completed()
    return bytes.subarray(part.length)
  }

  #completed(): void {
    const body = Buffer.concat(this.#parts)
    this.#parts = []
    this.#missing = -1
    this.#receiver.message(this.#complete(body))
  }

  #line(bytes: Buffer): Buffer {
    const end = bytes.indexOf(NEWLINE)
    const line = Buffer.concat([this.#pending, end < 0 ? bytes : bytes.subarray(0, end)])
    if (line.length >= MOST_LINE) {
      this.#break(`a line of more than ${MOST_LINE} bytes`)
      return bytes.subarray(bytes.length)
    }
    this.#pending = end < 0 ? line : Buffer.alloc(0)
    if (end < 0) return bytes.subarray(bytes.length)
    try {
      const message = this.#read(object(JSON.parse(line.toString('utf8'))))
      if (typeof message !== 'number') this.#receiver.message(message)
      else {
        this.#missing = message
        if (message === 0) this.#completed()
      }
    } catch (error) {
      this.#break((error as Error).message)
    }
    return bytes.subarray(end + 1)
  }

  #break(why: string): void {
    this.#broken = true
    this.#receiver.garbage(why)
  }
}

/** Reads what a successor says. */
export function successorInbox(receiver: Receiver<FromSuccessor>): { push(bytes: Buffer): void } {
  const read = (line: Record<string, unknown>): FromSuccessor => {
    switch (line.type) {
      case 'ready':
        return { type: 'ready', version: integer(line.version, 65_535) }
      case 'accepting':
        return { type: 'accepting' }
      case 'refused':
        return { type: 'refused', reason: typeof line.reason === 'string' ? line.reason : '' }
      default:
        throw new Error('no message of a successor')
    }
  }
  const none = (): never => {
    throw new Error('no message of a successor has a body')
  }
  return new Inbox<FromSuccessor>(receiver, read, none)
}

/** Reads what the old process says; a state of more than `most` bytes is garbage. */
export function oldInbox(receiver: Receiver<FromOld>, most: number): { push(bytes: Buffer): void } {
  let [version, stateVersion] = [0, 0]
  const read = (line: Record<string, unknown>): FromOld | number => {
    if (line.type !== 'acknowledged') throw new Error('no message of an old process')
    version = integer(line.version, 65_535)
    if (line.state === null || line.state === undefined) {
      return { type: 'acknowledged', version, state: undefined }
    }
    const state = object(line.state)
    stateVersion = integer(state.version, Number.MAX_SAFE_INTEGER)
    return integer(state.bytes, most)
  }
  const complete = (bytes: Buffer): FromOld => ({
    type: 'acknowledged',
    version,
    state: { version: stateVersion, bytes },
  })
  return new Inbox<FromOld>(receiver, read, complete)
}

function object(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as never
  throw new Error('no JSON object')
}

function integer(value: unknown, most: number): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most)
    return value as number
  throw new Error(`no whole number of at most ${most}`)
}
