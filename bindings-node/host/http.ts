/**
 * The HTTP door of a gateway: what a server has open, and how to close it without breaking anyone.
 *
 * A {@link HttpDoor} watches one server. While it is open it remembers the connections and does nothing for
 * a request; it changes nothing that goes over the wire. Then it is closed in steps, never backwards:
 *
 * 1. {@link HttpDoor.lameDuck}: still accepting, but each answer asks its client to go elsewhere.
 * 2. {@link HttpDoor.closeDoor}: no new connections; those already queued are taken in first.
 * 3. {@link HttpDoor.closeIdle}, again and again: connections without work go once they are old enough.
 * 4. {@link HttpDoor.drained}, or {@link HttpDoor.abort} when time is up.
 *
 * When to take each step is decided elsewhere. All of it is for one thread: no method may be called from
 * another worker.
 */

import { AsyncResource } from 'node:async_hooks'
import type { Server as HttpServer, IncomingMessage, ServerResponse } from 'node:http'
import type {
  Http2SecureServer,
  Http2Server,
  Http2Session,
  IncomingHttpHeaders,
  ServerHttp2Session,
  ServerHttp2Stream,
} from 'node:http2'
import type { Server as HttpsServer } from 'node:https'
import { Server as NetServer, type Socket } from 'node:net'
import { type TLSSocket, Server as TlsServer } from 'node:tls'
import { Connection, type Tally } from './http/connection.js'
import { hookWhenUsed } from './http/hook.js'
import { afterEmptyPoll, afterPoll, oncePerTurn } from './http/loop.js'
import { acceptedSocket, assertResponsesVisible, ownListener } from './http/node-internals.js'
import { promiseClose } from './http/promise-close.js'
import { isStream } from './http/streams.js'
import { native } from './native.js'

/** Any server of Node's that speaks HTTP: plain, over TLS, HTTP/2 with and without TLS or HTTP/1 beside it. */
export type AnyHttpServer = HttpServer | HttpsServer | Http2Server | Http2SecureServer

/** How a door is to behave. */
export interface HttpDoorOptions {
  /**
   * How long a connection must have been without work before {@link HttpDoor.closeIdle} closes it, in
   * milliseconds; default 500. A request that was sent just before the close arrived is lost, so this must
   * exceed the longest pause that clients make between two requests while they are busy.
   */
  minIdleAge?: number
  /**
   * Called when a count may have changed, at most once per turn of the event loop and only from
   * {@link HttpDoor.lameDuck} on. Must not throw.
   */
  onChange?: () => void
}

/** How far the closing has come. */
export type HttpDoorStage = 'open' | 'lame-duck' | 'closed'

/** What {@link HttpDoor.closeIdle} did and when it is worth calling again. */
export interface IdleReport {
  /** Connections that were closed. */
  closed: number
  /** Connections that are without work but too young to be closed. */
  remaining: number
  /** Milliseconds until the oldest of the remaining is old enough; absent when none remain. */
  nextIn?: number
}

/** What {@link HttpDoor.abort} cut off. */
export interface Aborted {
  /** Requests (and HTTP/2 streams) that had no complete response. */
  requests: number
  /** Connections that were destroyed, whether or not they had work. */
  connections: number
}

const DEFAULT_MIN_IDLE_AGE = 500

/** How long requests may be kept back while the door is closing, in milliseconds. */
const WITHHOLD_LIMIT = 100

/** Servers that have a door: a second one would see the connections of the first as its own. */
const guarded = new WeakSet<AnyHttpServer>()

/** Tracks the connections and requests of one server, and closes them without losing a request. */
export class HttpDoor {
  /** The least idle age, in milliseconds, that {@link closeIdle} uses by default. */
  readonly minIdleAge: number

  readonly #server: AnyHttpServer
  readonly #connections = new Set<Connection>()
  readonly #sessions = new WeakMap<Http2Session, Connection>()
  /** The connection that came last: whose events are being handled, if any are. */
  #arriving: Connection | undefined
  readonly #handshakes = new Map<Socket, number>()
  readonly #tally: Tally
  readonly #onChange: () => void
  #accepted = 0
  #stage: HttpDoorStage = 'open'
  #closing: Promise<void> | undefined
  #withheld: (() => void)[] | undefined

  /**
   * Starts tracking. Connections accepted earlier are found only when they send a request to a closing door,
   * so create the door before the server listens. A server may have one door only.
   *
   * @throws RangeError when `minIdleAge` is not a finite number of milliseconds, zero or more.
   * @throws Error when the server has a door already.
   */
  constructor(server: AnyHttpServer, options: HttpDoorOptions = {}) {
    const { minIdleAge = DEFAULT_MIN_IDLE_AGE, onChange = () => {} } = options
    if (!Number.isFinite(minIdleAge) || minIdleAge < 0) {
      throw new RangeError(`minIdleAge must be milliseconds, zero or more, not ${minIdleAge}`)
    }
    assertResponsesVisible()
    if (guarded.has(server)) throw new Error('this server has a door already')
    guarded.add(server)
    this.minIdleAge = minIdleAge
    this.#server = server
    this.#tally = { upgraded: 0, unserved: 0 }
    this.#onChange = onChange
    this.#watch()
  }

  /** How far the closing has come. */
  get stage(): HttpDoorStage {
    return this.#stage
  }

  /** Connections accepted so far, for ever growing. */
  get accepted(): number {
    return this.#accepted
  }

  /** Connections open now, whatever their state; those in a TLS handshake included. */
  get connections(): number {
    return this.#connections.size + this.#handshakes.size
  }

  /**
   * Requests in flight: their headers have arrived, and their response has not been sent in full. Of requests
   * that were pipelined while the door was open only the one being answered is counted. Looks at every
   * connection.
   */
  get requests(): number {
    let count = 0
    for (const connection of this.#connections) count += connection.requests
    return count
  }

  /** Connections that were upgraded (WebSocket) or tunnelled (CONNECT). They are not closed here. */
  get upgraded(): number {
    return this.#tally.upgraded
  }

  /**
   * Pipelined requests that came behind an answer which had already said `Connection: close`. The
   * application never saw them, so their clients may safely send them again elsewhere.
   */
  get unserved(): number {
    return this.#tally.unserved
  }

  /**
   * Requests in flight that may go on for ever: server-sent events and gRPC. Counted in {@link requests}
   * as well. Looks at every request in flight.
   */
  get streams(): number {
    let count = 0
    for (const connection of this.#connections) {
      for (const response of connection.responses) if (isStream(response)) count += 1
      for (const stream of connection.streams) if (isStream(stream)) count += 1
    }
    return count
  }

  /** Connections without work: between two requests, or before their first. Looks at every connection. */
  get idle(): number {
    return this.#count('idle')
  }

  /**
   * Connections that are busy with something the application does not know of (yet, or any longer): a TLS
   * handshake, a head of which a part has arrived, a body whose response is already out, a close under
   * way. Looks at every connection.
   */
  get receiving(): number {
    return this.#handshakes.size + this.#count('receiving')
  }

  /** Whether nothing is left but upgraded connections, and nothing can come: the door is closed. */
  get drained(): boolean {
    return this.#stage === 'closed' && this.connections === this.#tally.upgraded
  }

  /**
   * From now on each HTTP/1 response says `Connection: close`, those included whose requests are already
   * with the application but whose heads are not written yet. Of several pipelined responses only the last
   * says it, so that all of them are answered. HTTP/2 has no such hint; its sessions are told when the
   * door closes. Idempotent.
   *
   * Responses whose heads are out already stay silent; their connections are closed by {@link closeIdle},
   * or by the next response on them.
   */
  lameDuck(): void {
    if (this.#stage !== 'open') return
    this.#stage = 'lame-duck'
    this.#tally.closing = { changed: oncePerTurn(this.#onChange), begun: promiseClose }
    for (const connection of this.#connections) connection.track()
    this.#interceptRequests()
  }

  /**
   * Stops listening; resolves once it has. Connections in the listen backlog are accepted first: it closes
   * straight after a poll that found the backlog empty, and keeps new requests back meanwhile, for at most
   * 100 ms (as a rule, less than 1). Connections stay open and go on being served,
   * HTTP/2 sessions are told to finish (GOAWAY). Enters {@link lameDuck} if that was skipped. Idempotent.
   *
   * On Linux nobody is reset by the close: the socket is made to begin no more handshakes first, so that an empty
   * backlog stays empty; who knocks in these milliseconds is refused when it tries again, a second later. Not so for
   * a socket that this process shares (`listen({ fd })`, `node:cluster`). One that it has handed on (`shared`) it closes
   * at once: others accept from it, and its backlog is theirs.
   */
  closeDoor({ shared = false }: { shared?: boolean } = {}): Promise<void> {
    this.lameDuck()
    if (this.#closing) return this.#closing
    // `http.Server.close` would also cut connections that are idle at this very moment, whatever their age:
    // the requests on their way to us would be lost. The close on a server of no use is for the compiler,
    // which takes longer over its first than the kernel over both.
    NetServer.prototype.close.call(new NetServer())
    const listener = shared ? undefined : ownListener(this.#server as unknown as NetServer)
    if (listener !== undefined) native.refuseHandshakes(listener)
    if (shared) {
      this.#close()
      this.#closing = Promise.resolve()
    } else {
      this.#withhold()
      this.#closing = afterEmptyPoll(
        () => this.#accepted,
        () => this.#close(),
      )
    }
    return this.#closing
  }

  #close(): void {
    // First of all: each microsecond since the poll can bring a connection that this resets.
    if (this.#server.listening) NetServer.prototype.close.call(this.#server)
    this.#stage = 'closed'
    this.#release()
    for (const { session } of this.#connections) session?.close()
    this.#tally.closing?.changed()
  }

  /**
   * Closes connections that have been without work for at least `minIdleAge` milliseconds, counted from
   * the end of their last response or from their accept. It does so straight after a poll, so that no
   * request which has been received is overlooked. Enters {@link lameDuck} if that was skipped.
   *
   * @throws RangeError when `minIdleAge` is not a finite number of milliseconds, zero or more.
   */
  async closeIdle(minIdleAge: number = this.minIdleAge): Promise<IdleReport> {
    if (!Number.isFinite(minIdleAge) || minIdleAge < 0) {
      throw new RangeError(`minIdleAge must be milliseconds, zero or more, not ${minIdleAge}`)
    }
    this.lameDuck()
    return afterPoll(() => this.#closeIdleNow(minIdleAge))
  }

  /** Destroys what is left, upgraded connections excepted, and says what that cut off. */
  abort(): Aborted {
    const aborted = { requests: this.requests, connections: 0 }
    for (const connection of this.#connections) {
      if (connection.upgraded) continue
      aborted.connections += 1
      connection.session?.destroy()
      connection.socket.destroy()
    }
    for (const socket of this.#handshakes.keys()) {
      aborted.connections += 1
      socket.destroy()
    }
    return aborted
  }

  #closeIdleNow(minIdleAge: number): IdleReport {
    const report: IdleReport = { closed: 0, remaining: 0 }
    const consider = (age: number, close: () => void) => {
      if (age >= minIdleAge) {
        close()
        report.closed += 1
      } else {
        report.remaining += 1
        report.nextIn = Math.min(report.nextIn ?? Number.POSITIVE_INFINITY, minIdleAge - age)
      }
    }
    for (const connection of this.#connections) {
      if (connection.phase !== 'idle') continue
      consider(connection.age, () => {
        connection.closePromised = true
        if (connection.session) connection.session.close()
        else connection.socket.destroySoon()
      })
    }
    // A handshake under way is work; one that its client never began is not.
    for (const [socket, since] of this.#handshakes) {
      if (socket.bytesRead === 0) consider(performance.now() - since, () => socket.destroy())
    }
    return report
  }

  #count(phase: Connection['phase']): number {
    let count = 0
    for (const connection of this.#connections) if (connection.phase === phase) count += 1
    return count
  }

  /** Listens to the server, ahead of everyone: a handler may answer before it returns. */
  #watch(): void {
    const server = this.#server
    const upgraded = (_request: unknown, socket: Socket) => this.#connectionOf(socket).upgrade()
    hookWhenUsed(server, { upgrade: upgraded, connect: upgraded })
    const overTls = server instanceof TlsServer
    server.prependListener('connection', (socket: Socket) => {
      this.#accepted += 1
      if (overTls) this.#shake(socket)
      else this.#arriving = this.#connectionOf(socket)
    })
    server.prependListener('secureConnection', (socket: TLSSocket) => {
      this.#shaken(socket)
      this.#arriving = this.#connectionOf(socket)
    })
    server.prependListener('session', (session: ServerHttp2Session) => this.#sessionBegun(session))
    server.prependListener('stream', (stream: ServerHttp2Stream, _headers: IncomingHttpHeaders) =>
      this.#streamBegun(stream),
    )
  }

  #connectionOf(socket: Socket): Connection {
    const known = Connection.of(socket)
    if (known) return known
    const connection = new Connection(socket, this.#tally)
    this.#connections.add(connection)
    socket.once('close', () => {
      this.#connections.delete(connection)
      connection.closed()
    })
    return connection
  }

  #shake(socket: Socket): void {
    this.#handshakes.set(socket, performance.now())
    socket.once('close', () => {
      if (this.#handshakes.delete(socket)) this.#tally.closing?.changed()
    })
  }

  #shaken(socket: TLSSocket): void {
    const accepted = acceptedSocket(socket)
    if (accepted) this.#handshakes.delete(accepted)
  }

  /** A session begins within the event that brings its connection; it shows its socket to no one. */
  #sessionBegun(session: ServerHttp2Session): void {
    const connection = this.#arriving
    if (!connection) return
    connection.session = session
    this.#sessions.set(session, connection)
  }

  #streamBegun(stream: ServerHttp2Stream): void {
    const { session } = stream
    const connection = session && this.#sessions.get(session)
    if (!connection) return
    connection.beginStream(stream)
    stream.once('close', () => connection.endStream(stream))
    // Born in a handshake that outlived the door: this much is served, and no more.
    if (this.#stage === 'closed') session.close()
  }

  /**
   * Holds each request until its poll is over: a handler that answers at once would otherwise do so before
   * the parser has seen what is pipelined behind.
   */
  #interceptRequests(): void {
    const server = this.#server as NetServer
    const emit = server.emit as (event: string | symbol, ...args: unknown[]) => boolean
    const hold = (event: string | symbol, request: IncomingMessage, response: ServerResponse) => {
      const connection = this.#connectionOf(request.socket)
      if (connection.closePromised) {
        this.#tally.unserved += 1
        return
      }
      connection.begin(response)
      // One immediate for each: they run in order, each in the async context of its own request, and what
      // one of them throws does not keep the others from running.
      const pass = () => {
        if (!request.socket.destroyed) emit.call(server, event, request, response)
      }
      if (this.#withheld) this.#withheld.push(AsyncResource.bind(pass))
      else setImmediate(pass)
    }
    server.emit = (event: string | symbol, ...args: unknown[]): boolean => {
      const [request, response] = args as [IncomingMessage, ServerResponse]
      if (!REQUEST_EVENTS.has(event) || request.httpVersionMajor >= 2)
        return emit.call(server, event, ...args)
      hold(event, request, response)
      return true
    }
  }

  /**
   * Keeps requests back while the listen queue is being emptied. Clients whose connection was closed come
   * back with a new one, as fast as they are answered: the queue would never be empty.
   */
  #withhold(): void {
    this.#withheld = []
    setTimeout(() => this.#release(), WITHHOLD_LIMIT).unref()
  }

  #release(): void {
    const withheld = this.#withheld ?? []
    this.#withheld = undefined
    for (const pass of withheld) setImmediate(pass)
  }
}

/** The events that bring a request of HTTP/1 together with its response. */
const REQUEST_EVENTS: ReadonlySet<string | symbol> = new Set(['request', 'checkContinue', 'checkExpectation'])
