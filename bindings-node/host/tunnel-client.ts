/**
 * Keeps one healthy connection to a server: reconnects, moves before it breaks, watches silence, buffers.
 *
 * The decisions are those of the core's `tunnel`; here are the sockets, the providers and the messages.
 */

import { EventEmitter } from 'node:events'
import { milliseconds } from './duration.js'
import { RejectedError, TidegateError } from './errors.js'
import type { TunnelEffect, TunnelInput, TunnelState, TunnelStopReason } from './generated.js'
import { type Explanation, Machine, monotonic } from './machine.js'
import { type Release, TunnelConnection } from './tunnel/connection.js'
import { bounded, type Notice, type NoticeReader, readDrainNotice } from './tunnel/notice.js'
import {
  type DialRequest,
  endpointsOf,
  isRelay,
  type Provided,
  type ProviderContext,
  readOptions,
  socketUrl,
  type TunnelClientOptions,
} from './tunnel/options.js'
import { openStandard, openWs, type Sendable, type Socket, type SocketEvents } from './tunnel/socket.js'

export { type Release, TunnelConnection } from './tunnel/connection.js'
export type { Notice, NoticeReader } from './tunnel/notice.js'
export type {
  BackoffOptions,
  DialRequest,
  Provided,
  ProviderContext,
  TunnelBehaviour,
  TunnelClientOptions,
} from './tunnel/options.js'
export type { Sendable, StandardWebSocket, WebSocketConstructor } from './tunnel/socket.js'

/** A message that came in. */
export interface TunnelMessage {
  /** Text as a string, bytes as a Buffer. */
  readonly data: string | Buffer
  /** The connection that it came in on, and that an answer belongs on. */
  readonly connection: TunnelConnection
}

/** What a tunnel tells its listeners. */
export interface TunnelClientEvents {
  /** The state changed. `within`: how long it lasts at most, milliseconds, where a timer ends it. */
  state: [{ state: TunnelState; within: number | null }]
  /** A socket is being opened. `url` is without its query. */
  dial: [{ connection: TunnelConnection; url: string }]
  /** The connection is now the one. `from`: the one before, if it still lives: make before break. */
  open: [{ connection: TunnelConnection; from: TunnelConnection | undefined }]
  /** A message came in. */
  message: [TunnelMessage]
  /** The server said in band that it goes. */
  notice: [Notice & { connection: TunnelConnection }]
  /** A connection that was open is no more: the peer closed it, it was lost, or (`local`) it was given up here. */
  close: [{ connection: TunnelConnection; code: number; reason: string; local: boolean }]
  /** A provider, a dial or a connection failed. The tunnel goes on by itself. */
  failure: [{ during: 'prepare' | 'dial' | 'notice' | 'run'; error: Error }]
  /** A message will never be sent: the oldest of a full buffer, one beyond it, or one of a tunnel that stopped. */
  dropped: [{ data: Sendable; why: 'oldest' | 'refused' | 'stopped' }]
  /** It stopped, and only `start()` goes on. */
  stopped: [{ reason: TunnelStopReason; code: number | null }]
}

/** Why a tunnel is in its state, and what it has in hand. */
export interface TunnelExplanation extends Explanation {
  /** The generation of the connection to send on. */
  readonly connection: number | null
  /** Messages that wait for a connection. */
  readonly buffered: number
  /** Work in flight on the connection, and on the one before. */
  readonly inFlight: number
}

/** The message cannot be buffered, or the tunnel has stopped. Code `send-refused`. */
export class SendRefusedError extends TidegateError {
  constructor(state: string) {
    super('send-refused', `the tunnel is ${state} and its buffer takes no more messages`)
  }
}

/** Keeps one healthy connection to a server. */
export class TunnelClient
  extends EventEmitter<TunnelClientEvents>
  implements AsyncIterable<TunnelMessage>, AsyncDisposable
{
  readonly #options: TunnelClientOptions
  readonly #endpoints: readonly Provided<string | URL>[]
  readonly #machine: Machine<'tunnel'>
  readonly #clock: () => number
  readonly #linger: number
  readonly #bufferLimit: number
  readonly #readNotice: NoticeReader | undefined
  readonly #connections = new Map<number, TunnelConnection>()
  readonly #closing = new Set<Promise<void>>()
  readonly #readers = new Set<Reader>()
  readonly #aborted = (): void => this.stop()
  #current: TunnelConnection | undefined
  #accepting: TunnelConnection | undefined
  /** Messages that wait for a connection; the core counts them. */
  #buffer: Sendable[] = []
  /** Messages that the core has been asked about. */
  #announced: Sendable[] = []
  /** Messages for a connection that is closing, while the core takes it for open. */
  #limbo: Sendable[] = []
  #refused: Sendable | undefined
  #preparing: AbortController | undefined
  #request: DialRequest | undefined
  #finishTimer: NodeJS.Timeout | undefined

  /**
   * Makes a tunnel; it starts by itself unless `autoStart` is false.
   *
   * @throws ConfigError for options that cannot work, with everything that is wrong with them.
   */
  constructor(options: TunnelClientOptions) {
    super()
    this.#options = options
    this.#endpoints = endpointsOf(options)
    const { config, linger } = readOptions(options)
    this.#linger = linger
    this.#bufferLimit = config.bufferLimit ?? 1_000
    this.#clock = options.clock ?? monotonic
    this.#readNotice = options.drainNotice === false ? undefined : (options.drainNotice ?? readDrainNotice)
    this.#machine = new Machine('tunnel', {
      config,
      seed: options.seed,
      clock: this.#clock,
      unref: options.unref,
      perform: (effect) => this.#perform(effect),
    })
    options.signal?.addEventListener('abort', this.#aborted, { once: true })
    if (options.autoStart !== false && options.signal?.aborted !== true) setImmediate(() => this.#autoStart())
  }

  /** Where it is. */
  get state(): TunnelState {
    return this.#machine.state as TunnelState
  }

  /** The connection to send on, if there is one. */
  get connection(): TunnelConnection | undefined {
    return this.#current
  }

  /** How many messages wait for a connection. */
  get buffered(): number {
    return this.#buffer.length + this.#limbo.length
  }

  /** Connects, and stays connected. The only way on after it stopped. */
  start(): void {
    if (this.#options.signal?.aborted !== true) this.#tell({ type: 'start' })
  }

  /** Disconnects, and stays so. What is in flight is cut; the code is for the close frame. */
  stop(code = 1000, reason = ''): void {
    if (code !== 1000 || reason !== '') {
      for (const connection of this.#connections.values()) this.#shut(connection, code, reason)
    }
    this.#preparing?.abort(new TidegateError('stopped', 'the tunnel stopped'))
    this.#tell({ type: 'stop' })
  }

  /**
   * Sends on the connection, or buffers up to `bufferLimit` messages until there is one.
   *
   * @throws {@link SendRefusedError} when the buffer is full (and `overflow` is `refuse`), or the tunnel has stopped.
   */
  send(data: Sendable): void {
    if (this.#current?.send(data) === true) return
    if (this.#machine.closed) throw new SendRefusedError('closed')
    this.#announced.push(data)
    this.#refused = undefined
    const rejection = this.#machine.offer({ type: 'send' })
    if (rejection !== undefined) {
      // As far as the core knows there is a connection. Either it closes just now, or it is being adopted.
      this.#announced.pop()
      if (this.#limbo.length >= this.#bufferLimit) throw new SendRefusedError(this.state)
      this.#limbo.push(data)
    }
    if (this.#refused === data) throw new SendRefusedError(this.state)
  }

  /** Keeps the connection of now open, also after a move, until the work is settled. */
  track<T>(work: PromiseLike<T>): PromiseLike<T> {
    return this.#current === undefined ? work : this.#current.track(work)
  }

  /** The same for work that is no promise: call what it answers when the work is done. */
  busy(): Release {
    const release = this.#current?.busy()
    return release ?? Object.assign(() => {}, { [Symbol.dispose]() {} })
  }

  /** The network is there. */
  online(): void {
    this.#tell({ type: 'online' })
  }

  /** The network is away: no more dials until it is there. */
  offline(): void {
    this.#tell({ type: 'offline' })
  }

  /** The machine woke up: dial now, and do not trust the silence of before. */
  wake(): void {
    this.#tell({ type: 'wake' })
  }

  /** Why it is in its state, what it waits for, when it acts next. */
  explain(): TunnelExplanation {
    const inFlight = [...this.#connections.values()].reduce((sum, { inFlight }) => sum + inFlight, 0)
    const connection = this.#current?.generation ?? null
    return { ...this.#machine.explain(), connection, buffered: this.buffered, inFlight }
  }

  /**
   * The messages from now on, until the tunnel stops. Reading pauses when a loop falls behind by `lag` messages,
   * where the sockets can do that.
   */
  [Symbol.asyncIterator](): AsyncIterator<TunnelMessage, undefined> {
    const reader = new Reader(this.#options.lag ?? 1_000, () => this.#readers.delete(reader))
    if (this.#machine.closed || this.state === 'stopped') reader.end()
    else this.#readers.add(reader)
    return reader
  }

  /** Stops it, and resolves when no socket is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stop()
    this.#machine.close()
    this.#options.signal?.removeEventListener('abort', this.#aborted)
    await Promise.all(this.#closing)
  }

  #autoStart(): void {
    if (this.#machine.closed || this.state !== 'idle') return
    this.start()
  }

  /** Tells the core. What it rejects would be a bug of this file, and no reason to bring a process down. */
  #tell(input: TunnelInput): void {
    const rejection = this.#machine.offer(input)
    if (rejection !== undefined) {
      this.emit('failure', { during: 'run', error: new RejectedError('tunnel', rejection) })
    }
  }

  #perform(effect: TunnelEffect): void {
    switch (effect.type) {
      case 'prepare':
        this.#prepare(effect)
        break
      case 'dial':
        this.#dial(effect)
        break
      case 'adopt':
        this.#adopt(effect.generation)
        break
      case 'finish':
        this.#finish(effect.generation)
        break
      case 'abandon':
        this.#abandon(effect.generation, effect.code)
        break
      case 'sample':
        this.#sample(effect.generation)
        break
      case 'ping':
        this.#ping(effect.generation)
        break
      case 'buffer':
        this.#hold(this.#announced.shift() as Sendable)
        break
      case 'refuse-send': {
        const data = this.#announced.shift() as Sendable
        this.#refused = data
        this.emit('dropped', { data, why: 'refused' })
        break
      }
      case 'drop-oldest':
        this.#dropOldest()
        break
      case 'drop-buffer':
        this.#dropAll()
        break
      case 'entered':
        this.emit('state', { state: effect.state, within: effect.within })
        break
      case 'stopped':
        this.#dropAll()
        for (const reader of this.#readers) reader.end()
        this.#readers.clear()
        this.emit('stopped', { reason: effect.reason, code: effect.code })
        break
    }
  }

  // --- providers and dials ---

  #prepare({ operation, endpoint, refresh, limit }: TunnelEffect & { type: 'prepare' }): void {
    this.#preparing?.abort(new TidegateError('superseded', 'another attempt was made'))
    const controller = new AbortController()
    this.#preparing = controller
    // The core moves on at the limit by itself; this is so that a provider can stop, too.
    const timer = setTimeout(
      () => controller.abort(new TidegateError('timeout', `the providers had ${limit} ms`)),
      limit,
    )
    timer.unref()
    const context: ProviderContext = {
      endpoint,
      refresh,
      // Made when it is asked for, as most providers never do: signals were a tenth of a redial.
      get signal() {
        return controller.signal
      },
    }
    const source = this.#endpoints[endpoint] as Provided<string | URL>
    Promise.all([provide(source, context), provide(this.#options.token, context)])
      .then(([url, token]) => {
        const request = this.#compose(socketUrl(url), token)
        // What comes too late must not be dialed by a later attempt.
        if (this.#preparing === controller) this.#request = request
        return { type: 'prepared', operation } as const
      })
      .catch((error: Error) => {
        this.emit('failure', { during: 'prepare', error })
        return { type: 'prepare-failed', operation } as const
      })
      .then((answer) => {
        clearTimeout(timer)
        // There is nothing left to stop.
        if (this.#preparing === controller) this.#preparing = undefined
        this.#tell(answer)
      })
  }

  /** The request with the token in its place. */
  #compose(url: URL, token: string | undefined): DialRequest {
    const request: DialRequest = { url, headers: { ...this.#options.headers } }
    // A relay tells a host that says so without waiting for what it carries: see `TunnelServer`.
    if (isRelay(this.#options)) url.searchParams.set('drain', 'finish')
    if (token === undefined) return request
    const place = this.#options.tokenIn ?? (isRelay(this.#options) ? 'query' : 'header')
    if (place === 'query') url.searchParams.set('token', token)
    else if (place === 'header') request.headers.authorization = `Bearer ${token}`
    else place(request, token)
    return request
  }

  #dial({ generation, endpoint, session }: TunnelEffect & { type: 'dial' }): void {
    const { url, headers } = this.#request as DialRequest
    const connection = new TunnelConnection({ generation, endpoint, session }, this.#clock, () =>
      this.#tell({ type: 'accepted', generation }),
    )
    this.#connections.set(generation, connection)
    const { protocols = [], socket, WebSocket } = this.#options
    const offered = typeof protocols === 'string' ? [protocols] : protocols
    const request = { url: url.href, headers, protocols: offered }
    const events = this.#events(connection, url.protocol === 'wss:')
    try {
      connection.socket =
        WebSocket === undefined
          ? openWs(request, socket ?? {}, events)
          : openStandard(request, WebSocket, events)
    } catch (error) {
      connection.socket = NO_SOCKET
      events.failed('unreachable', error as Error, undefined)
      return
    }
    this.emit('dial', { connection, url: `${url.origin}${url.pathname}` })
  }

  #events(connection: TunnelConnection, tls: boolean): SocketEvents {
    const { generation } = connection
    return {
      opened: () => {
        connection.wasOpen = true
        connection.heardAt = this.#clock()
        connection.usedAt = connection.heardAt
        this.#accepting = connection
        this.#tell({ type: 'opened', generation })
        // It may be given up at once when it opened too late.
        if (!this.#connections.has(generation)) return
        this.#options.greet?.(connection)
        if (this.#options.eager === true && this.#current === undefined) this.#flush(connection)
      },
      message: (data) => this.#received(connection, data),
      control: () => {
        connection.heardAt = this.#clock()
      },
      failed: (failure, error, retryAfter) => {
        this.#forget(connection)
        this.emit('failure', { during: 'dial', error })
        this.#tell({ type: 'dial-failed', generation, failure, retryAfter: bounded(retryAfter) })
      },
      closed: (code, reason) => {
        this.#forget(connection)
        this.emit('close', { connection, code, reason, local: false })
        const hint = this.#options.closeHint?.(code, reason)
        this.#tell({
          type: 'closed',
          generation,
          code,
          retryAfter: hint === undefined ? undefined : milliseconds(hint, 'closeHint'),
          tls,
          subscribed: this.#options.subscribed?.() ?? false,
        })
        this.#leaveLimbo()
      },
    }
  }

  // --- what comes in ---

  #received(connection: TunnelConnection, data: string | Buffer): void {
    const now = this.#clock()
    connection.heardAt = now
    connection.usedAt = now
    if (this.#readNotice !== undefined && this.#noticed(connection, data)) return
    if (connection === this.#accepting) {
      this.#tell({ type: 'inbound', generation: connection.generation, ago: 0 })
    }
    const message = { data, connection }
    this.emit('message', message)
    for (const reader of this.#readers) reader.push(message)
  }

  /** Whether a message was a notice. */
  #noticed(connection: TunnelConnection, data: string | Buffer): boolean {
    let notice: Notice | undefined
    try {
      notice = this.#readNotice?.(data)
    } catch (error) {
      this.emit('failure', { during: 'notice', error: error as Error })
    }
    if (notice === undefined) return false
    const { generation } = connection
    this.emit('notice', { ...notice, connection })
    if (notice.ask === undefined || notice.ask === 'drain') {
      this.#tell({ type: 'drain-notice', generation, within: bounded(notice.within) })
    } else {
      this.#tell({ type: 'asked', generation, asked: notice.ask })
    }
    return true
  }

  // --- connections ---

  #adopt(generation: number): void {
    const connection = this.#connections.get(generation)
    if (connection === undefined) return
    const from = this.#current
    this.#accepting = undefined
    this.#current = connection
    this.#flush(connection)
    this.#buffer = []
    this.#leaveLimbo()
    this.emit('open', { connection, from })
  }

  /** Lets the old connection finish its work. */
  #finish(generation: number): void {
    const old = this.#connections.get(generation)
    if (old === undefined) return
    const { handOver, leave } = this.#options
    if (handOver !== undefined && this.#current !== undefined) {
      const work = handOver(old, this.#current)
      if (work instanceof Promise) old.track(work)
    }
    if (leave !== undefined) leave(old)
    else if (isRelay(this.#options)) old.send('{"type":"drain"}')
    old.usedAt = this.#clock()
    old.idled = () => this.#watchFinish(old)
    this.#watchFinish(old)
  }

  /** Says when the old connection has nothing more to do, and has had nothing for `linger`. */
  #watchFinish(old: TunnelConnection): void {
    clearTimeout(this.#finishTimer)
    const { generation } = old
    if (!this.#connections.has(generation) || old.inFlight > 0) return
    const left = old.usedAt + this.#linger - this.#clock()
    if (left <= 0 && old.bufferedAmount === 0) {
      this.#tell({ type: 'finished', generation })
      return
    }
    this.#finishTimer = setTimeout(() => this.#watchFinish(old), Math.max(left, 10))
    if (this.#options.unref === true) this.#finishTimer.unref()
  }

  #abandon(generation: number, code: number): void {
    const connection = this.#connections.get(generation)
    if (connection !== undefined) this.#shut(connection, code, '')
  }

  /** Closes a connection best-effort and forgets it. */
  #shut(connection: TunnelConnection, code: number, reason: string): void {
    this.#forget(connection)
    connection.socket.detach()
    const closed = connection.socket.close(code, reason)
    this.#closing.add(closed)
    void closed.then(() => this.#closing.delete(closed))
    if (connection.wasOpen) this.emit('close', { connection, code, reason, local: true })
    this.#leaveLimbo()
  }

  #forget(connection: TunnelConnection): void {
    this.#connections.delete(connection.generation)
    connection.idled = undefined
    if (this.#current === connection) this.#current = undefined
    if (this.#accepting === connection) this.#accepting = undefined
  }

  // --- silence ---

  /** Tells when the last frame came in: after the frames that wait in the socket have been read. */
  #sample(generation: number): void {
    setImmediate(() => {
      const connection = this.#connections.get(generation)
      if (connection === undefined) return
      // A connection that we stopped reading is not silent.
      const ago = connection.holds > 0 ? 0 : Math.max(0, this.#clock() - connection.heardAt)
      this.#tell({ type: 'inbound', generation, ago })
    })
  }

  #ping(generation: number): void {
    const connection = this.#connections.get(generation)
    if (connection === undefined) return
    if (this.#options.ping !== undefined) this.#options.ping(connection)
    else connection.socket.ping()
  }

  // --- messages that wait ---

  #hold(data: Sendable): void {
    this.#buffer.push(data)
    const accepting = this.#accepting
    if (this.#options.eager === true && accepting !== undefined && this.#current === undefined) {
      this.#flush(accepting)
    }
  }

  /** Sends what waits and was not sent on this connection yet. */
  #flush(connection: TunnelConnection): void {
    while (connection.flushed < this.#buffer.length) {
      if (!connection.send(this.#buffer[connection.flushed] as Sendable)) return
      connection.flushed += 1
    }
  }

  #dropOldest(): void {
    const data = this.#buffer.shift()
    if (data === undefined) return
    for (const connection of this.#connections.values()) {
      connection.flushed = Math.max(0, connection.flushed - 1)
    }
    this.emit('dropped', { data, why: 'oldest' })
  }

  #dropAll(): void {
    const dropped = [...this.#buffer, ...this.#limbo]
    this.#buffer = []
    this.#limbo = []
    for (const data of dropped) this.emit('dropped', { data, why: 'stopped' })
  }

  /** Sends or buffers what came while the connection was closing. */
  #leaveLimbo(): void {
    const waiting = this.#limbo
    this.#limbo = []
    for (const data of waiting) {
      try {
        this.send(data)
      } catch (error) {
        // It was told by `dropped`, as there is no caller any more.
        if (!(error instanceof SendRefusedError)) throw error
      }
    }
  }
}

/** One loop over the messages. */
class Reader implements AsyncIterator<TunnelMessage, undefined> {
  readonly #lag: number
  readonly #left: () => void
  readonly #queue: TunnelMessage[] = []
  readonly #waiting: ((result: IteratorResult<TunnelMessage, undefined>) => void)[] = []
  readonly #held = new Set<TunnelConnection>()
  #ended = false

  constructor(lag: number, left: () => void) {
    this.#lag = lag
    this.#left = left
  }

  push(message: TunnelMessage): void {
    const waiting = this.#waiting.shift()
    if (waiting !== undefined) {
      waiting({ value: message, done: false })
      return
    }
    this.#queue.push(message)
    const { connection } = message
    if (this.#queue.length < this.#lag || this.#held.has(connection) || !connection.socket.pause()) return
    this.#held.add(connection)
    connection.holds += 1
  }

  end(): void {
    this.#ended = true
    for (const waiting of this.#waiting) waiting({ value: undefined, done: true })
    this.#release()
  }

  next(): Promise<IteratorResult<TunnelMessage, undefined>> {
    const message = this.#queue.shift()
    if (this.#queue.length <= this.#lag / 2) this.#release()
    if (message !== undefined) return Promise.resolve({ value: message, done: false })
    if (this.#ended) return Promise.resolve({ value: undefined, done: true })
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  return(): Promise<IteratorResult<TunnelMessage, undefined>> {
    this.#queue.length = 0
    this.end()
    this.#left()
    return Promise.resolve({ value: undefined, done: true })
  }

  /** Lets paused connections be read again. */
  #release(): void {
    for (const connection of this.#held) {
      connection.holds -= 1
      if (connection.holds === 0) connection.socket.resume()
    }
    this.#held.clear()
  }
}

/** Stands in for the socket of a dial that could not even begin. */
const NO_SOCKET: Socket = {
  open: false,
  bufferedAmount: 0,
  protocol: '',
  extensions: '',
  send: () => false,
  ping: () => false,
  pause: () => false,
  resume() {},
  detach() {},
  close: () => Promise.resolve(),
}

async function provide<T>(source: Provided<T>, context: ProviderContext): Promise<T> {
  return typeof source === 'function'
    ? await (source as (context: ProviderContext) => T | PromiseLike<T>)(context)
    : source
}
