/** One WebSocket, of the `ws` package or of a class that is like the one of browsers. */

import type { IncomingMessage } from 'node:http'
import WebSocket, { type ClientOptions } from 'ws'
import type { DialFailure } from '../generated.js'

/** What can be sent. */
export type Sendable = string | ArrayBufferLike | ArrayBufferView | Blob

/** What happens on a socket. Nothing more after `failed` or `closed`. */
export interface SocketEvents {
  opened(): void
  /** A message: text as a string, bytes as a Buffer. */
  message(data: string | Buffer): void
  /** A ping or a pong came in. */
  control(): void
  /** It never opened. */
  failed(failure: DialFailure, error: Error, retryAfter: number | undefined): void
  closed(code: number, reason: string): void
}

/** A socket that is being opened, or is open. */
export interface Socket {
  /** Whether messages can be sent now. */
  readonly open: boolean
  /** Bytes that were sent but have not left yet. */
  readonly bufferedAmount: number
  /** The subprotocol that the server chose. */
  readonly protocol: string
  /** The extensions that the server chose. */
  readonly extensions: string
  /** Sends; false when it is not open. */
  send(data: Sendable): boolean
  /** Sends a ping frame; false where that cannot be done. */
  ping(): boolean
  /** Stops or goes on reading, where that can be done; false where not. */
  pause(): boolean
  resume(): void
  /** Stops listening. */
  detach(): void
  /** Closes it best-effort, in bounded time. Resolves when nothing is left of it. */
  close(code: number, reason: string): Promise<void>
}

/** A class like the WebSocket of browsers. */
export interface WebSocketConstructor {
  new (url: string, protocols: string[]): StandardWebSocket
}

/** What is used of it. */
export interface StandardWebSocket {
  readonly readyState: number
  readonly bufferedAmount: number
  readonly protocol: string
  readonly extensions: string
  binaryType: string
  send(data: Sendable): void
  close(code?: number, reason?: string): void
  addEventListener(type: string, listener: (event: never) => void): void
}

/** How a socket is opened. */
export interface SocketRequest {
  readonly url: string
  readonly protocols: readonly string[]
  readonly headers: Record<string, string>
}

/** How long a close handshake may take before the socket is destroyed. The peer may be dead. Milliseconds. */
export const CLOSE_LIMIT = 250

const OPEN = 1

/** Opens a socket of the `ws` package. */
export function openWs(request: SocketRequest, options: ClientOptions, events: SocketEvents): Socket {
  const socket = new WebSocket(request.url, [...request.protocols], {
    closeTimeout: CLOSE_LIMIT,
    ...options,
    headers: { ...options.headers, ...request.headers },
  } as ClientOptions)
  let live = true
  let opened = false
  let failure: Error | undefined
  const gone = new Promise<void>((resolve) => socket.on('close', () => resolve()))

  const fail = (kind: DialFailure, error: Error, retryAfter?: number): void => {
    if (!live) return
    live = false
    events.failed(kind, error, retryAfter)
  }
  socket.on('open', () => {
    opened = true
    if (live) events.opened()
  })
  socket.on('message', (data: Buffer, isBinary: boolean) => {
    if (live) events.message(isBinary ? data : data.toString())
  })
  socket.on('ping', () => live && events.control())
  socket.on('pong', () => live && events.control())
  socket.on('error', (error) => {
    failure = error
  })
  socket.on('unexpected-response', (_request, response: IncomingMessage) => {
    const status = response.statusCode ?? 0
    const error = new Error(`the server answered the upgrade with status ${status}`)
    fail(status === 401 || status === 403 ? 'refused' : 'unreachable', error, retryAfter(response))
    socket.terminate()
  })
  socket.on('close', (code: number, reason: Buffer) => {
    if (!opened) return fail('unreachable', failure ?? new Error('the socket closed before it was open'))
    if (!live) return
    live = false
    events.closed(code, reason.toString())
  })

  return {
    get open() {
      return socket.readyState === OPEN
    },
    get bufferedAmount() {
      return socket.bufferedAmount
    },
    get protocol() {
      return socket.protocol
    },
    get extensions() {
      return socket.extensions
    },
    send(data) {
      if (socket.readyState !== OPEN) return false
      // An error of the write closes the socket, which is told by itself.
      socket.send(data as Buffer, () => {})
      return true
    },
    ping() {
      if (socket.readyState === OPEN) socket.ping(() => {})
      return true
    },
    pause() {
      socket.pause()
      return true
    },
    resume() {
      socket.resume()
    },
    detach() {
      live = false
    },
    close(code, reason) {
      // What was paused would not see the answer.
      socket.resume()
      if (socket.readyState === OPEN) socket.close(code, reason)
      else socket.terminate()
      return gone
    },
  }
}

/** Opens a socket of a class like the WebSocket of browsers, which knows no pings, no headers and no status. */
export function openStandard(
  request: SocketRequest,
  Socket: WebSocketConstructor,
  events: SocketEvents,
): Socket {
  const socket = new Socket(request.url, [...request.protocols])
  socket.binaryType = 'arraybuffer'
  let live = true
  let opened = false
  const gone = new Promise<void>((resolve) => socket.addEventListener('close', () => resolve()))

  socket.addEventListener('open', () => {
    opened = true
    if (live) events.opened()
  })
  socket.addEventListener('message', ({ data }: { data: string | ArrayBuffer }) => {
    if (live) events.message(typeof data === 'string' ? data : Buffer.from(data))
  })
  // A `close` follows every `error`, and says more.
  socket.addEventListener('error', () => {})
  socket.addEventListener('close', ({ code, reason }: { code: number; reason: string }) => {
    if (!live) return
    live = false
    if (opened) events.closed(code, reason)
    else events.failed('unreachable', new Error('the socket could not be opened'), undefined)
  })

  return {
    get open() {
      return socket.readyState === OPEN
    },
    get bufferedAmount() {
      return socket.bufferedAmount
    },
    get protocol() {
      return socket.protocol
    },
    get extensions() {
      return socket.extensions
    },
    send(data) {
      if (socket.readyState !== OPEN) return false
      socket.send(data)
      return true
    },
    ping: () => false,
    pause: () => false,
    resume() {},
    detach() {
      live = false
    },
    close(code, reason) {
      socket.close(code, reason)
      // It has no way to be destroyed: what the peer leaves open is left to the class.
      const late = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_LIMIT).unref())
      return Promise.race([gone, late])
    },
  }
}

/** The `Retry-After` of a response in milliseconds: seconds, or a date (RFC 9110, 10.2.3). */
function retryAfter({ headers }: IncomingMessage): number | undefined {
  const value = headers['retry-after']?.trim()
  if (value === undefined) return undefined
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now())
}
