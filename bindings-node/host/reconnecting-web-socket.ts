/** A WebSocket that comes back: the interface of browsers over a {@link TunnelClient}. */

import type { TunnelConnection } from './tunnel/connection.js'
import type { Sendable } from './tunnel/socket.js'
import { TunnelClient, type TunnelClientOptions } from './tunnel-client.js'

/** How a {@link ReconnectingWebSocket} behaves: everything a tunnel can, but where it connects to. */
export type ReconnectingWebSocketOptions = Omit<
  TunnelClientOptions,
  'url' | 'endpoints' | 'protocols' | 'autoStart'
>

/** Where it connects to: an address, or a function that provides one for each attempt. */
export type AddressSource = NonNullable<TunnelClientOptions['url']>

/** The event of a close. Node 20 has no such class of its own. */
export class SocketCloseEvent extends Event {
  /** The close code; 1006 when there was no close frame. */
  readonly code: number
  /** The reason that the server gave. */
  readonly reason: string
  /** Whether there was a close handshake. */
  readonly wasClean: boolean

  constructor(code: number, reason: string, wasClean: boolean) {
    super('close')
    this.code = code
    this.reason = reason
    this.wasClean = wasClean
  }
}

type Handler = ((event: Event) => void) | null
type Kind = 'open' | 'message' | 'close' | 'error'

/**
 * A drop-in for `WebSocket` that reconnects.
 *
 * What differs: `send` works at any time and buffers up to `bufferLimit` messages while there is no connection;
 * `open` and `close` come for every connection that is made and lost, except when the tunnel moves without a
 * break, of which nothing is to be seen; `readyState` is `CONNECTING` while it tries again, and `CLOSED` only
 * once it has stopped for good. The client underneath (`tunnel`) tells the rest.
 */
export class ReconnectingWebSocket extends EventTarget {
  static readonly CONNECTING = 0
  static readonly OPEN = 1
  static readonly CLOSING = 2
  static readonly CLOSED = 3
  readonly CONNECTING = 0
  readonly OPEN = 1
  readonly CLOSING = 2
  readonly CLOSED = 3

  /** The client underneath: its state, its explanation, its events. */
  readonly tunnel: TunnelClient
  readonly #handlers = new Map<Kind, { handler: Handler; listener: (event: Event) => void }>()
  readonly #url: string
  /** The connection that the application sees. */
  #seen: TunnelConnection | undefined
  #state: 0 | 1 | 2 | 3 = 0
  #binaryType: 'blob' | 'arraybuffer' | 'nodebuffer' = 'blob'
  #closeCode = 1005
  #closeReason = ''

  /**
   * Connects in the next turn of the event loop.
   *
   * @throws ConfigError for options that cannot work; TypeError for an address that is none.
   */
  constructor(
    url: AddressSource,
    protocols?: string | readonly string[],
    options: ReconnectingWebSocketOptions = {},
  ) {
    super()
    this.#url = typeof url === 'function' ? '' : new URL(url).href
    const greet = options.greet
    this.tunnel = new TunnelClient({
      // A server may wait for the first message before it says anything.
      eager: true,
      ...options,
      url,
      protocols,
      greet: (connection) => {
        // Seen at once when there is nothing to move from: the application may have to log in.
        if (this.tunnel.connection === undefined) this.#opened(connection)
        greet?.(connection)
      },
    })
    this.tunnel.on('open', ({ connection, from }) => {
      if (this.#seen === connection) return
      if (from !== undefined && this.#seen === from) this.#seen = connection
      else this.#opened(connection)
    })
    this.tunnel.on('message', ({ data }) => {
      if (this.#state < 2) {
        this.dispatchEvent(new MessageEvent('message', { data: this.#received(data) }))
      }
    })
    this.tunnel.on('failure', ({ during }) => {
      if (during === 'dial' || during === 'prepare') this.dispatchEvent(new Event('error'))
    })
    this.tunnel.on('close', ({ connection, code, reason, local }) => {
      if (connection !== this.#seen) return
      this.#seen = undefined
      if (this.#state === 2) return
      this.#state = 0
      if (local && this.tunnel.state === 'stopped') return
      this.dispatchEvent(
        new SocketCloseEvent(local ? 1006 : code, local ? '' : reason, !local && code !== 1006),
      )
    })
    this.tunnel.on('stopped', ({ reason, code }) => {
      const already = this.#state === 3
      this.#state = 3
      this.#seen = undefined
      // A fatal code was told with the connection that it came on.
      if (already || reason !== 'asked') return
      this.dispatchEvent(new SocketCloseEvent(code ?? this.#closeCode, this.#closeReason, true))
    })
  }

  /** The address; empty when it is provided for each attempt. */
  get url(): string {
    return this.#url
  }

  /** `CONNECTING` while it tries (again), `CLOSED` once it stopped for good. */
  get readyState(): 0 | 1 | 2 | 3 {
    return this.#state
  }

  /** The subprotocol that the server chose. */
  get protocol(): string {
    return this.#seen?.protocol ?? ''
  }

  /** The extensions that the server chose. */
  get extensions(): string {
    return this.#seen?.extensions ?? ''
  }

  /** Bytes that were sent but have not left yet. Messages that wait for a connection are in `tunnel.buffered`. */
  get bufferedAmount(): number {
    return this.#seen?.bufferedAmount ?? 0
  }

  /** What binary messages come as. `nodebuffer` is a Buffer, as in the `ws` package. */
  get binaryType(): 'blob' | 'arraybuffer' | 'nodebuffer' {
    return this.#binaryType
  }

  set binaryType(type: 'blob' | 'arraybuffer' | 'nodebuffer') {
    if (type === 'blob' || type === 'arraybuffer' || type === 'nodebuffer') this.#binaryType = type
  }

  /**
   * Sends, or buffers until there is a connection.
   *
   * @throws SendRefusedError when the buffer is full or it has stopped.
   */
  send(data: Sendable): void {
    this.tunnel.send(data)
  }

  /**
   * Closes it for good.
   *
   * @throws DOMException for a code or a reason that a WebSocket may not send, as WebSockets do.
   */
  close(code?: number, reason = ''): void {
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
      throw new DOMException(`the close code is ${code}, must be 1000 or 3000 to 4999`, 'InvalidAccessError')
    }
    if (Buffer.byteLength(reason) > 123) {
      throw new DOMException('the close reason is longer than 123 bytes', 'SyntaxError')
    }
    if (this.#state >= 2) return
    this.#state = 2
    this.#closeCode = code ?? 1005
    this.#closeReason = reason
    // As WebSockets do: `close` comes later, never inside this call.
    setImmediate(() => this.tunnel.stop(code ?? 1000, reason))
  }

  get onopen(): Handler {
    return this.#handler('open')
  }

  set onopen(handler: Handler) {
    this.#setHandler('open', handler)
  }

  get onmessage(): ((event: MessageEvent) => void) | null {
    return this.#handler('message') as ((event: MessageEvent) => void) | null
  }

  set onmessage(handler: ((event: MessageEvent) => void) | null) {
    this.#setHandler('message', handler as Handler)
  }

  get onclose(): ((event: SocketCloseEvent) => void) | null {
    return this.#handler('close') as ((event: SocketCloseEvent) => void) | null
  }

  set onclose(handler: ((event: SocketCloseEvent) => void) | null) {
    this.#setHandler('close', handler as Handler)
  }

  get onerror(): Handler {
    return this.#handler('error')
  }

  set onerror(handler: Handler) {
    this.#setHandler('error', handler)
  }

  #opened(connection: TunnelConnection): void {
    if (this.#state >= 2) return
    this.#seen = connection
    this.#state = 1
    this.dispatchEvent(new Event('open'))
  }

  #received(data: string | Buffer): unknown {
    if (typeof data === 'string' || this.#binaryType === 'nodebuffer') return data
    if (this.#binaryType === 'blob') return new Blob([new Uint8Array(data)])
    return data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength)
  }

  #handler(kind: Kind): Handler {
    return this.#handlers.get(kind)?.handler ?? null
  }

  #setHandler(kind: Kind, handler: Handler): void {
    const before = this.#handlers.get(kind)
    if (before !== undefined) this.removeEventListener(kind, before.listener)
    this.#handlers.delete(kind)
    if (typeof handler !== 'function') return
    const listener = (event: Event): void => handler.call(this, event)
    this.#handlers.set(kind, { handler, listener })
    this.addEventListener(kind, listener)
  }
}
