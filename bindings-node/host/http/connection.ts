import type { ServerResponse } from 'node:http'
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { isFollowed, messageBegun, quietFor, responseOn } from './node-internals.js'

/** What the connections of one door share. */
export interface Tally {
  /** Connections handed to an `upgrade` or `connect` listener and still open. */
  upgraded: number
  /** Pipelined requests that came behind a promised close: never shown to the application. */
  unserved: number
  /** Present once the door is closing. */
  closing?: {
    /** A count has changed. */
    changed(): void
    /** A response is tracked from now on. */
    begun(connection: Connection, response: ServerResponse): void
  }
}

/** Where a connection stands; the door decides by it what may be closed. */
export type ConnectionPhase = 'busy' | 'receiving' | 'idle' | 'upgraded'

/** Beside the sockets and not on them: a property more would make Node's own code for them slower. */
const connections = new WeakMap<Socket, Connection>()

/**
 * One accepted connection and the exchanges on it.
 *
 * While the door is open nothing is done for a request of HTTP/1: Node is asked what is in flight when
 * somebody wants to know. From {@link track} on every response is followed.
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
  /** The responses that are followed, in the order of their requests. */
  #tracked: ServerResponse[] | undefined
  /** When it was accepted or last finished an exchange, in milliseconds of `performance.now()`. */
  #since = performance.now()

  constructor(socket: Socket, tally: Tally) {
    this.socket = socket
    this.#tally = tally
    connections.set(socket, this)
    if (tally.closing) this.#tracked = []
  }

  /** The connection that a socket was adopted as, if it was. */
  static of(socket: Socket): Connection | undefined {
    return connections.get(socket)
  }

  /** The door is closing: follow what is in flight, and find out for how long nothing has been. */
  track(): void {
    if (this.#tracked || this.upgraded) return
    this.#tracked = []
    const current = responseOn(this.socket)
    if (current) this.begin(current)
    // Over HTTP/2 the end of each stream was seen, and without bytes there was no exchange.
    else if (!this.session && this.socket.bytesRead > 0) {
      const now = performance.now()
      const quietSince = now - (quietFor(this.socket) ?? 0)
      this.#since = Math.min(now, Math.max(this.#since, quietSince))
    }
  }

  /** A request's head has arrived. Only once the door is closing. */
  begin(response: ServerResponse): void {
    this.#tracked ??= []
    this.#tracked.push(response)
    response.on('close', responseClosed)
    this.#tally.closing?.begun(this, response)
  }

  /** A response was handed to the system in full, or its connection is gone. */
  end(response: ServerResponse): void {
    const tracked = this.#tracked ?? []
    const at = tracked.indexOf(response)
    if (at < 0) return
    tracked.splice(at, 1)
    // One that was pipelined behind it before the closing began has its turn now.
    const next = responseOn(this.socket)
    if (next && !tracked.includes(next)) {
      this.#tracked = []
      this.begin(next)
      this.#tracked.push(...tracked)
    }
    this.#ended()
  }

  beginStream(stream: ServerHttp2Stream): void {
    this.streams.add(stream)
  }

  endStream(stream: ServerHttp2Stream): void {
    if (this.streams.delete(stream)) this.#ended()
  }

  /** The socket now speaks another protocol; the request that asked for it is over. */
  upgrade(): void {
    if (this.upgraded) return
    this.upgraded = true
    this.#tally.upgraded += 1
    this.#tally.closing?.changed()
  }

  /** The socket is closed: Node reports no end for responses that were still queued behind another. */
  closed(): void {
    this.#tracked = []
    this.streams.clear()
    if (this.upgraded) this.#tally.upgraded -= 1
    this.#ended()
  }

  /** HTTP/1 responses not yet sent in full, as far as they are known. */
  get responses(): readonly ServerResponse[] {
    if (this.#tracked) return this.#tracked
    const current = this.upgraded ? undefined : responseOn(this.socket)
    return current ? [current] : []
  }

  /** Requests begun and not yet answered in full. */
  get requests(): number {
    return this.responses.length + this.streams.size
  }

  /** How long it has been without work, in milliseconds. Only once the door is closing. */
  get age(): number {
    return performance.now() - this.#since
  }

  get phase(): ConnectionPhase {
    if (this.upgraded) return 'upgraded'
    if (this.requests > 0) return 'busy'
    return this.closePromised || this.#receiving ? 'receiving' : 'idle'
  }

  /** Whether this response is the last for which anything has been received. */
  isLast(response: ServerResponse): boolean {
    if (this.#tracked?.at(-1) !== response || isFollowed(response.req)) return false
    return !(response.req.complete && messageBegun(this.socket))
  }

  /** Whether part of a message has been read, be it a head, or a body whose response is already out. */
  get #receiving(): boolean {
    // The parser also counts a connection as begun that has not sent anything yet.
    return !this.session && this.socket.bytesRead > 0 && messageBegun(this.socket)
  }

  #ended(): void {
    this.#since = performance.now()
    this.#tally.closing?.changed()
  }
}

function responseClosed(this: ServerResponse): void {
  Connection.of(this.req.socket)?.end(this)
}
