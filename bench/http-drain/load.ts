/** The load: keep-alive clients over raw sockets that know exactly what became of each request. */
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { ResponseReader } from './response.js'

/**
 * What became of a request. `lost`: sent on an established connection that gave no complete response.
 * `reset`: the connection was reset, with or without a request on it. `refused`: nothing was listening, which
 * is how a client should learn it. A client that has seen its connection end, or announced to end, does not
 * send on it, so that case has no outcome.
 */
export type Outcome = 'ok' | 'lost' | 'reset' | 'refused' | 'unavailable'

export interface Exchange {
  outcome: Outcome
  kind: 'kept' | 'fresh' | 'slow'
  /** Milliseconds of this process's `performance.now()`. */
  sent: number
  ended: number
  /** How long the server was asked to think. */
  wait: number
  detail?: string
}

/** How a client writes its requests. */
export interface Style {
  version: '1.0' | '1.1'
  /** Requests written at once before any answer is read. */
  depth: number
  /** Bytes of each body. */
  bodySize: number
  /** Pieces that head and body each are cut into, and the pause between them in milliseconds. */
  pieces: number
  pause: number
}

export interface Target {
  port: number
  style: Style
  record: (exchange: Exchange) => void
}

/** One connection, used for one batch of requests after the other. */
export class Client {
  /** The server's end was seen, or it announced it: nothing may be sent any more. */
  over = false
  readonly #socket: Socket
  readonly #reader = new ResponseReader()
  readonly #target: Target
  readonly #kind: Exchange['kind']
  readonly #waiting: { sent: number; wait: number; done: () => void }[] = []

  private constructor(socket: Socket, target: Target, kind: Exchange['kind']) {
    this.#socket = socket
    this.#target = target
    this.#kind = kind
    socket.setNoDelay()
    socket.on('data', (chunk) => this.#read(chunk))
    socket.on('end', () => this.#finish('lost', 'end of stream'))
    socket.on('error', (error: NodeJS.ErrnoException) =>
      this.#finish(error.code === 'ECONNRESET' ? 'reset' : 'lost', error.code ?? error.message),
    )
    socket.on('close', () => this.#finish('lost', 'closed'))
  }

  /** Connects; records and returns nothing when that fails. */
  static open(target: Target, kind: Exchange['kind']): Promise<Client | undefined> {
    const sent = performance.now()
    return new Promise((resolve) => {
      const socket = connect({ port: target.port, host: '127.0.0.1' })
      const failed = (error: NodeJS.ErrnoException) => {
        const outcome = error.code === 'ECONNREFUSED' ? 'refused' : 'reset'
        const detail = `connect ${error.code}`
        target.record({ outcome, kind, sent, ended: performance.now(), wait: 0, detail })
        resolve(undefined)
      }
      socket.once('error', failed)
      socket.once('connect', () => {
        socket.off('error', failed)
        resolve(new Client(socket, target, kind))
      })
    })
  }

  /** Sends a batch and resolves when each of its requests has an outcome. */
  async send(wait = 0): Promise<void> {
    const { style } = this.#target
    const answered: Promise<void>[] = []
    const sent = performance.now()
    for (let count = 0; count < style.depth; count += 1) {
      answered.push(new Promise((done) => this.#waiting.push({ sent, wait, done })))
    }
    await this.#write(wait)
    await Promise.all(answered)
  }

  close(): void {
    this.over = true
    this.#socket.destroy()
  }

  async #write(wait: number): Promise<void> {
    const { version, depth, bodySize, pieces, pause } = this.#target.style
    const extra = version === '1.0' ? 'Connection: keep-alive\r\n' : ''
    const head = `POST / HTTP/${version}\r\nHost: bench\r\n${extra}Content-Type: application/octet-stream\r\nX-Wait: ${wait}\r\nContent-Length: ${bodySize}\r\n\r\n`
    const request = Buffer.concat([Buffer.from(head), Buffer.alloc(bodySize, 'x')])
    if (pieces === 1) {
      this.#socket.write(Buffer.concat(Array.from({ length: depth }, () => request)))
      return
    }
    for (const piece of cut(request, head.length, pieces)) {
      if (this.#socket.destroyed) return
      this.#socket.write(piece)
      await delay(pause)
    }
  }

  #read(chunk: Buffer): void {
    for (const { status, close } of this.#reader.read(chunk)) {
      this.over ||= close
      this.#settle(status === 503 ? 'unavailable' : 'ok')
    }
    if (this.over && this.#waiting.length === 0) this.#socket.end()
  }

  #settle(outcome: Outcome, detail?: string): void {
    const next = this.#waiting.shift()
    if (!next) return
    const { sent, wait, done } = next
    const exchange: Exchange = { outcome, kind: this.#kind, sent, ended: performance.now(), wait }
    this.#target.record(detail ? { ...exchange, detail } : exchange)
    done()
  }

  #finish(outcome: Outcome, detail: string): void {
    const wasOver = this.over
    this.over = true
    // A reset of a connection on which nothing is under way, but which was not announced as closing either.
    if (outcome === 'reset' && this.#waiting.length === 0 && !wasOver) {
      const now = performance.now()
      this.#target.record({
        outcome,
        kind: this.#kind,
        sent: now,
        ended: now,
        wait: 0,
        detail: `idle ${detail}`,
      })
    }
    while (this.#waiting.length > 0) this.#settle(outcome, detail)
    this.#socket.end()
  }
}

/** Cuts within the head and within the body, `pieces` each. */
function cut(request: Buffer, headLength: number, pieces: number): Buffer[] {
  const parts = [request.subarray(0, headLength), request.subarray(headLength)]
  return parts.flatMap((part) => {
    const size = Math.ceil(part.length / pieces)
    return Array.from({ length: pieces }, (_, at) => part.subarray(at * size, (at + 1) * size)).filter(
      (piece) => piece.length > 0,
    )
  })
}
