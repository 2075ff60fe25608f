import type { ServerResponse } from 'node:http'
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { CoarseClock } from './coarse-clock.js'

/** What all connections of one door add up to, and whom to tell when it changes. */
export interface Tally {
  /** Requests begun and not yet answered in full. */
  requests: number
  /** Connections handed to an `upgrade` or `connect` listener and still open. */
  upgraded: number
  /** Pipelined requests that came behind a promised close: never shown to the application. */
  unserved: number
  /** Called after each change, once the door is closing. */
  changed?: () => void
  readonly clock: CoarseClock
}

/** Where a connection stands; the door decides by it what may be closed. */
export type ConnectionPhase = 'busy' | 'receiving' | 'idle' | 'upgraded'

const CONNECTION = Symbol('tidegate.connection')

type TrackedSocket = Socket & { [CONNECTION]?: Connection }

/** The part of Node's parser that tells a message in progress from the gap between two. */
type ParsingSocket = Socket & { parser?: { duration?(): number } | null }

/**
 * One accepted connection and the exchanges on it.
 *
 * This is the serving path: {@link begin} and {@link end} run once per request, so they do no more than
 * remember the response and mark the time. Everything else is found out by looking, once the door is closing.
 */
export class Connection {
  readonly socket: Socket
  /** HTTP/2 streams that are open. */
  readonly streams = new Set<ServerHttp2Stream>()
  session: ServerHttp2Session | undefined
  upgraded = false
  /** A response has said `Connection: close`: nothing behind it may be processed (RFC 9112, 9.6). */
  closePromised = false
  readonly #tally: Tally
  /** The HTTP/1 response that is being sent. Apart from those behind it, to spare a list for each request. */
  #current: ServerResponse | undefined
  /** Those of pipelined requests, waiting for the current one. */
  readonly #queued: ServerResponse[] = []
  /** When it was accepted or last finished an exchange. */
  #since: number

  constructor(socket: Socket, tally: Tally) {
    this.socket = socket
    this.#tally = tally
    this.#since = tally.clock.stamp
    ;(socket as TrackedSocket)[CONNECTION] = this
  }

  /** The connection that a socket was adopted as, if it was. */
  static of(socket: Socket): Connection | undefined {
    return (socket as TrackedSocket)[CONNECTION]
  }

  /** A request's headers have arrived. */
  begin(response: ServerResponse): void {
    if (this.#current === undefined) this.#current = response
    else this.#queued.push(response)
    this.#tally.requests += 1
    response.on('close', responseClosed)
  }

  /** A response was handed to the system in full, or its connection is gone. */
  end(response: ServerResponse): void {
    if (response === this.#current) {
      this.#current = this.#queued.length === 0 ? undefined : this.#queued.shift()
      this.#ended(1)
      return
    }
    const at = this.#queued.indexOf(response)
    if (at < 0) return
    this.#queued.splice(at, 1)
    this.#ended(1)
  }

  /** HTTP/1 responses not yet sent in full, in the order of their requests. */
  get responses(): ServerResponse[] {
    return this.#current === undefined ? [] : [this.#current, ...this.#queued]
  }

  beginStream(stream: ServerHttp2Stream): void {
    this.streams.add(stream)
    this.#tally.requests += 1
  }

  endStream(stream: ServerHttp2Stream): void {
    if (this.streams.delete(stream)) this.#ended(1)
  }

  /** The socket now speaks another protocol; the request that asked for it is over. */
  upgrade(): void {
    if (this.upgraded) return
    this.upgraded = true
    this.#tally.upgraded += 1
    this.#tally.changed?.()
  }

  /** The socket is closed: Node reports no end for responses that were still queued behind another. */
  closed(): void {
    const cut = this.responses.length + this.streams.size
    this.#current = undefined
    this.#queued.length = 0
    this.streams.clear()
    if (this.upgraded) this.#tally.upgraded -= 1
    this.#ended(cut)
  }

  /** At least how long it has been since it was accepted or last finished an exchange, in milliseconds. */
  get age(): number {
    return this.#tally.clock.age(this.#since)
  }

  get phase(): ConnectionPhase {
    if (this.upgraded) return 'upgraded'
    if (this.#current !== undefined || this.streams.size > 0) return 'busy'
    if (this.closePromised) return 'receiving'
    return this.receiving ? 'receiving' : 'idle'
  }

  /** Whether part of a message has been read, be it a head, or a body whose response is already out. */
  get receiving(): boolean {
    if (this.session) return false
    // The parser's clock also runs on a connection that has not sent anything yet.
    if (this.socket.bytesRead === 0) return false
    return this.#messageBegun
  }

  /** Whether this response is the last for which anything has been received. */
  isLast(response: ServerResponse): boolean {
    if ((this.#queued.at(-1) ?? this.#current) !== response) return false
    const nextBegun = response.req.complete && this.#messageBegun
    return !nextBegun
  }

  get #messageBegun(): boolean {
    const duration = (this.socket as ParsingSocket).parser?.duration?.()
    return duration !== undefined && duration > 0
  }

  #ended(count: number): void {
    this.#since = this.#tally.clock.stamp
    this.#tally.requests -= count
    this.#tally.changed?.()
  }
}

/** One function for every response: a closure each would cost more than the rest of the bookkeeping. */
function responseClosed(this: ServerResponse): void {
  Connection.of(this.req.socket)?.end(this)
}
