/**
 * The drain of a WebSocket server (`ws`): each client gets the right close code, told at an even pace.
 *
 * Nothing is hooked into messages, and nothing into connections before the drain begins, except that the
 * server's `handleUpgrade` can be told to refuse. Then, in this order:
 *
 * 1. {@link WebSocketSource.refuseNew}: upgrades, also those in the middle of an async `verifyClient`, get
 *    an HTTP 503 instead of a socket that would be closed at once.
 * 2. {@link WebSocketSource.tell}: so many clients get the notice of the host's own protocol or, where there
 *    is none, the close frame itself.
 * 3. {@link WebSocketSource.closeAll}: those still here get the close frame, after their in-flight work.
 * 4. {@link WebSocketSource.abort}: those still here get the close frame at once, and are cut.
 *
 * A client that never answers its close frame is cut after `closeTimeout`: `ws` itself would wait 30 s.
 */

import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { ABORT_LIMIT, type DrainSource, type Farewell } from './drainable.js'

/** The part of a `ws` WebSocket that a drain needs. */
export interface WebSocketLike {
  /** 0 connecting, 1 open, 2 closing, 3 closed. */
  readonly readyState: number
  send(data: string | Uint8Array): void
  close(code?: number, reason?: string): void
  terminate(): void
  once(event: 'close', listener: () => void): unknown
}

/** The part of a `ws` WebSocketServer that a drain needs. */
export interface WebSocketServerLike<Socket extends WebSocketLike = WebSocketLike> {
  /** Missing when the server was made with `clientTracking: false`. */
  readonly clients?: Set<Socket> | undefined
  on(event: 'connection', listener: (socket: Socket) => void): unknown
  // biome-ignore lint/suspicious/noExplicitAny: its parameters are the business of `ws`
  handleUpgrade(...args: any[]): void
}

/** What a client is told before it is closed. */
export interface WebSocketNotice {
  /** Why: the intent of the stop. */
  reason: string
  /** Milliseconds that the client may spread its reconnect over; absent: now. */
  within?: number
}

/** How the clients of a WebSocket server are drained. */
export interface WebSocketOptions<Socket extends WebSocketLike = WebSocketLike> {
  /** The close code on restart, handoff and idle; default the lifecycle's, 1012 (service restart). */
  drainCode?: number
  /** The close code on decommission; default the lifecycle's, 1001 (going away). */
  decommissionCode?: number
  /** The reason in close frames, at most 123 bytes of UTF-8; default: the intent. */
  reason?: string
  /**
   * An in-band notice for a client that is told to move: what it returns is sent, and the client leaves by
   * itself or is closed later. Returning nothing closes that client right away, which is the notice then.
   */
  notice?: (socket: Socket, notice: WebSocketNotice) => string | Uint8Array | undefined
  /**
   * Whether a client has work in flight that its close must wait for: a promise that settles when it is
   * done, or `true`, which is asked again every 20 ms. Default: none has.
   */
  busy?: (socket: Socket) => boolean | PromiseLike<unknown> | undefined
  /** How long a client may take to answer the close frame, in milliseconds; default: the lifecycle's `flush`. */
  closeTimeout?: number
  /** The `Retry-After` of refused upgrades, in seconds; default 1. */
  retryAfter?: number
}

/** Something failed in a hook of the user's; the drain goes on. */
export type HookFailure = (hook: string, error: unknown) => void

const OPEN = 1
const CLOSED = 3
const BUSY_POLL = 20
const MAX_REASON = 123

/** Where the farewell of one client stands. */
interface Client {
  told: boolean
  /** A close has been decided, and waits at most for work in flight. */
  leaving: boolean
  /** The work is waited for, or was. */
  timer: NodeJS.Timeout | undefined
}

/** A `ws` server as something to drain. */
export class WebSocketSource<Socket extends WebSocketLike = WebSocketLike> implements DrainSource {
  readonly name = 'web-sockets'
  readonly #server: WebSocketServerLike<Socket>
  readonly #options: WebSocketOptions<Socket>
  readonly #closeTimeout: number
  readonly #failed: HookFailure
  /** The clients, once the drain has begun to look at them; before that only when the server keeps no list. */
  readonly #seen = new Map<Socket, Client>()
  /** Upgrades that are neither complete nor refused, as an async `verifyClient` has not answered yet. */
  readonly #upgrading = new Set<Duplex>()
  #changed = () => {}
  #watching = false
  #refusing = false

  /** @throws RangeError for a code that must not be sent, a reason that is too long, or a negative time. */
  constructor(
    server: WebSocketServerLike<Socket>,
    options: WebSocketOptions<Socket>,
    closeTimeout: number,
    failed: HookFailure,
  ) {
    for (const code of [options.drainCode, options.decommissionCode]) if (code !== undefined) sendable(code)
    if (options.reason !== undefined) fitting(options.reason)
    this.#server = server
    this.#options = options
    this.#closeTimeout = options.closeTimeout ?? closeTimeout
    if (!(this.#closeTimeout >= 0)) {
      throw new RangeError(`closeTimeout must be milliseconds, zero or more, not ${this.#closeTimeout}`)
    }
    this.#failed = failed
    if (!server.clients) {
      server.on('connection', (socket) => {
        this.#see(socket)
      })
    }
    this.#guardUpgrades()
  }

  count(): number {
    if (!this.#watching) return this.#server.clients?.size ?? this.#seen.size
    this.#look()
    return this.#seen.size
  }

  told(): number {
    let told = 0
    for (const client of this.#seen.values()) if (client.told) told += 1
    return told
  }

  requests(): number {
    return this.#upgrading.size
  }

  onChange(changed: () => void): void {
    this.#changed = changed
  }

  /** Looks at the clients for the first time; those that come until the door closes are found later. */
  lameDuck(): void {
    this.#watching = true
    this.#look()
  }

  refuseNew(): void {
    this.#refusing = true
    this.lameDuck()
  }

  tell(count: number, within: number | undefined, farewell: Farewell): void {
    this.#look()
    let left = count
    for (const [socket, client] of this.#seen) {
      if (left <= 0) break
      if (client.told) continue
      client.told = true
      left -= 1
      if (!this.#notify(socket, within, farewell)) this.#leave(socket, client, farewell)
    }
    this.#changed()
  }

  async clearRows(): Promise<void> {}

  closeAll(_code: number, farewell: Farewell): void {
    this.#look()
    for (const [socket, client] of this.#seen) {
      client.told = true
      this.#leave(socket, client, farewell)
    }
  }

  abort(_code: number, farewell: Farewell): number {
    this.#look()
    for (const [socket, client] of this.#seen) {
      client.told = true
      client.leaving = true
      this.#close(socket, client, farewell, Math.min(ABORT_LIMIT, this.#closeTimeout))
    }
    return this.#seen.size
  }

  /** Finds clients that joined since; only `ws` itself knows them all, whoever called `handleUpgrade`. */
  #look(): void {
    const { clients } = this.#server
    if (clients) for (const socket of clients) this.#see(socket)
  }

  #see(socket: Socket): void {
    if (this.#seen.has(socket) || socket.readyState === CLOSED) return
    const client: Client = { told: false, leaving: false, timer: undefined }
    this.#seen.set(socket, client)
    socket.once('close', () => {
      clearTimeout(client.timer)
      this.#seen.delete(socket)
      this.#changed()
    })
    this.#changed()
  }

  /** Sends the notice of the host's own protocol, if there is one for this client. */
  #notify(socket: Socket, within: number | undefined, { reason }: Farewell): boolean {
    const { notice } = this.#options
    if (!notice || socket.readyState !== OPEN) return false
    try {
      const text = notice(socket, within === undefined ? { reason } : { reason, within })
      if (text === undefined) return false
      socket.send(text)
      return true
    } catch (error) {
      this.#failed('notice', error)
      return false
    }
  }

  /** Closes a client as soon as its work is done. */
  #leave(socket: Socket, client: Client, farewell: Farewell): void {
    if (client.leaving) return
    client.leaving = true
    this.#whenIdle(socket, client, () => this.#close(socket, client, farewell, this.#closeTimeout))
  }

  #whenIdle(socket: Socket, client: Client, then: () => void): void {
    const busy = this.#busy(socket)
    if (!busy) {
      then()
      return
    }
    if (busy === true) {
      client.timer = setTimeout(() => this.#whenIdle(socket, client, then), BUSY_POLL)
      return
    }
    const look = () => {
      if (socket.readyState === OPEN) then()
    }
    Promise.resolve(busy).then(look, (error) => {
      this.#failed('busy', error)
      look()
    })
  }

  #busy(socket: Socket): boolean | PromiseLike<unknown> | undefined {
    try {
      return this.#options.busy?.(socket)
    } catch (error) {
      this.#failed('busy', error)
      return undefined
    }
  }

  /** Sends the close frame, unless it is out, and cuts the client when it does not answer in time. */
  #close(socket: Socket, client: Client, farewell: Farewell, limit: number): void {
    clearTimeout(client.timer)
    client.timer = setTimeout(() => socket.terminate(), limit)
    if (socket.readyState !== OPEN) return
    try {
      socket.close(this.#codeFor(farewell), this.#options.reason ?? cut(farewell.reason))
    } catch (error) {
      this.#failed('close', error)
      socket.terminate()
    }
  }

  #codeFor({ intent, code }: Farewell): number {
    const { drainCode = code, decommissionCode = code } = this.#options
    return intent === 'decommission' ? decommissionCode : drainCode
  }

  /**
   * Makes the server able to refuse. `completeUpgrade` is where `ws` answers once an async `verifyClient`
   * has agreed; without it (another version) such a client gets a close frame instead.
   */
  #guardUpgrades(): void {
    const server = this.#server as unknown as Record<string, (...args: unknown[]) => unknown>
    const guard = (method: string, socketAt: number, began: (socket: Duplex) => void) => {
      const original = server[method]
      if (typeof original !== 'function') return
      server[method] = (...args: unknown[]) => {
        const socket = args[socketAt] as Duplex
        began(socket)
        if (this.#refusing) refuse(socket, this.#options.retryAfter ?? 1)
        else original.apply(server, args)
      }
    }
    const ended = (socket: Duplex) => {
      if (this.#upgrading.delete(socket)) this.#changed()
    }
    const seesTheEnd = typeof server.completeUpgrade === 'function'
    guard('handleUpgrade', 1, (socket) => {
      if (!seesTheEnd) return
      this.#upgrading.add(socket)
      socket.once('close', () => ended(socket))
    })
    guard('completeUpgrade', 4, ended)
  }
}

/** Answers an upgrade request with 503 and closes its connection, once the answer is out. */
function refuse(socket: Duplex, retryAfter: number): void {
  const body = STATUS_CODES[503]
  socket.on('error', () => {})
  socket.once('finish', () => socket.destroy())
  socket.end(
    `HTTP/1.1 503 ${body}\r\nConnection: close\r\nRetry-After: ${retryAfter}\r\n` +
      `Content-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(`${body}`)}\r\n\r\n${body}`,
  )
}

/** RFC 6455, 7.4: what an endpoint may put into a close frame. */
function sendable(code: number): void {
  const standard = code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)
  if (Number.isInteger(code) && (standard || (code >= 3000 && code <= 4999))) return
  throw new RangeError(`a server must not close with ${code}; use 1000-1003, 1007-1014 or 3000-4999`)
}

function fitting(reason: string): void {
  const bytes = Buffer.byteLength(reason)
  if (bytes > MAX_REASON) {
    throw new RangeError(`the reason of a close frame has at most ${MAX_REASON} bytes, this has ${bytes}`)
  }
}

/** Cuts a reason to what fits into a close frame, at a character. */
function cut(reason: string): string {
  if (Buffer.byteLength(reason) <= MAX_REASON) return reason
  // A character that is cut in half is left out by the decoder in streaming mode.
  return new TextDecoder().decode(Buffer.from(reason).subarray(0, MAX_REASON), { stream: true })
}
