/**
 * One tunnel: the socket of a host, its peer machine, and what it carries.
 *
 * The machine decides whether and when the host is routable, and when it is gone; this carries that out, and
 * keeps the requests apart that share the socket. A message costs no crossing into the core.
 *
 * # Moving without losing a request (D5)
 *
 * A host that finishes what it carries before it closes is told at once, and gets new requests until it has
 * registered elsewhere. A host that only knows the plain notice closes the moment it reads it; what is under
 * way is lost then. Which kind a host is, it says when it dials in (`drain=finish`). Of one that does not say,
 * the *gate* is held: new requests wait, those under way end, and only then goes out the notice with a ping
 * behind it. A pong proves that the host has read the notice and stayed: the gate opens again. A host that
 * closes, or says nothing for a second, gets nothing more on this tunnel.
 */

import type { IncomingMessage } from 'node:http'
import type { RawData, WebSocket } from 'ws'
import type { PeerConfig, PeerDeparture, PeerEffect } from '../generated.js'
import { Machine, monotonic } from '../machine.js'
import { RequestFailure } from './failure.js'
import {
  content,
  type HostFrame,
  readHostFrame,
  sendableCode,
  type TunnelRequest,
  type TunnelResponse,
} from './wire.js'

/** What a tunnel needs to know of its relay. */
export interface TunnelContext {
  readonly peer: PeerConfig
  readonly pendingLimit: number
  readonly requestTimeout: number
  readonly sendLimit: number
  /** Carries out what concerns the login and the directory. */
  perform(tunnel: Tunnel, effect: PeerEffect): void
  /** It is over: no socket, no row, no machine. */
  gone(tunnel: Tunnel): void
  /** A number that a drain counts may have changed. */
  changed(): void
}

/** What becomes of new requests: they go on, wait, or must go elsewhere. */
export type Gate = 'open' | 'held' | 'shut'

/** A client's WebSocket that goes through a tunnel. */
export interface Stream {
  frame(data: Buffer | string): void
  /** The host closed it, or the tunnel is gone. */
  closed(code: number): void
}

interface Pending {
  resolve(response: TunnelResponse): void
  reject(failure: RequestFailure | TunnelLost): void
}

/** The tunnel ended before the host answered. */
export class TunnelLost extends Error {
  constructor(
    /** Whether the host may have seen the request. */
    readonly sent: boolean,
  ) {
    super('the tunnel was lost')
  }
}

/** The code for a host that breaks the protocol: it is to be fixed, not to come back as it is. */
const BROKEN_PROTOCOL = 4400
/** How long a host that was told may take to prove that it stayed. Milliseconds. */
const PROOF_LIMIT = 1_000

let opened = 0

export class Tunnel {
  /** Counts up with the connections of this process: which of two opened later. */
  readonly order = ++opened
  readonly request: IncomingMessage
  readonly socket: WebSocket
  readonly machine: Machine<'peer'>
  /** Set once the login is good. */
  host: string | undefined
  /** The epoch that the registration carries; the row's is one more. */
  carried = 0
  /** Whether the host finishes what it carries before it moves. */
  finishes = false
  admitted = false
  told = false
  departure: PeerDeparture | undefined

  readonly #context: TunnelContext
  readonly #pending = new Map<string, Pending>()
  readonly #streams = new Map<string, Stream>()
  readonly #gateWaiters = new Set<() => void>()
  #gate: Gate = 'open'
  #issued = 0
  #lastInbound = monotonic()
  #pings = 0
  #pongs = 0
  #proof: { pongs: number; timer: NodeJS.Timeout } | undefined
  #notice: { within: number | null; reason: string } | undefined
  #closeWhenIdle: number | undefined
  #socketClosed = false
  #noMoreTimers = false
  #isGone = false

  constructor(socket: WebSocket, request: IncomingMessage, context: TunnelContext) {
    this.socket = socket
    this.request = request
    this.#context = context
    this.machine = new Machine('peer', {
      config: context.peer,
      perform: (effect) => this.#perform(effect),
      onStep: ({ effects, deadline }) => {
        const departs = effects.find((effect) => effect.type === 'departed')
        if (departs) this.departure = departs.departure
        // Departed and with nothing to wait for: the machine is gone.
        this.#noMoreTimers = this.departure !== undefined && deadline === undefined
        if (this.#noMoreTimers) queueMicrotask(() => this.#settle())
      },
    })
    socket.on('message', (data, isBinary) => this.#message(data, isBinary))
    socket.on('ping', () => this.#heard())
    socket.on('pong', () => this.#heard())
    // What goes wrong with a socket ends it; `close` follows.
    socket.on('error', () => {})
    socket.on('close', () => this.#closed())
  }

  /** The epoch of its row. */
  get epoch(): number {
    return this.carried + 1
  }

  /** What becomes of new requests. */
  get gate(): Gate {
    return this.#gate
  }

  /** Whether its socket is still there. */
  get isOpen(): boolean {
    return !this.#socketClosed
  }

  /** Requests that wait for their answer. */
  get pending(): number {
    return this.#pending.size
  }

  /** Clients' WebSockets that go through it. */
  get streams(): number {
    return this.#streams.size
  }

  /** Resolves when the gate is not held any more, or when the time is over. */
  async gateSettled(within: number, signal?: AbortSignal): Promise<void> {
    if (this.#gate !== 'held') return
    await new Promise<void>((resolve) => {
      const end = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', end)
        this.#gateWaiters.delete(end)
        resolve()
      }
      const timer = setTimeout(end, within)
      signal?.addEventListener('abort', end)
      this.#gateWaiters.add(end)
    })
  }

  /**
   * Sends a request and waits for its answer.
   *
   * @throws RequestFailure, or {@link TunnelLost} when the tunnel ends first.
   */
  async send(request: TunnelRequest, signal?: AbortSignal, timeout?: number): Promise<TunnelResponse> {
    this.#checkRoom()
    signal?.throwIfAborted()
    const id = `${++this.#issued}`
    const { method, path, headers, body } = request
    const { text, encoding } = content(body)
    const carried = body.length === 0 ? {} : { body: text, ...(encoding && { encoding }) }
    const limit = timeout ?? this.#context.requestTimeout
    return await new Promise<TunnelResponse>((resolve, reject) => {
      const end = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
        this.#pending.delete(id)
        this.#carriesLess()
      }
      const fail = (failure: unknown) => {
        end()
        reject(failure)
      }
      const abort = () => fail(signal?.reason)
      const timer = setTimeout(() => {
        fail(new RequestFailure('tunnel-timeout', `the host did not answer within ${limit} ms`))
      }, limit)
      signal?.addEventListener('abort', abort)
      this.#pending.set(id, {
        resolve: (response) => {
          end()
          resolve(response)
        },
        reject: fail,
      })
      this.#write({ type: 'http', id, method, path, headers, ...carried })
    })
  }

  /** Opens a client's WebSocket through this tunnel: what to send its frames and its end with. */
  open(path: string, query: string | undefined, stream: Stream) {
    this.#checkRoom()
    const id = `${++this.#issued}`
    this.#streams.set(id, stream)
    this.#write({ type: 'ws:open', id, path, ...(query !== undefined && { query }) })
    this.#context.changed()
    return {
      frame: (data: Buffer | string): void => {
        if (!this.#streams.has(id)) return
        const { text, encoding } = typeof data === 'string' ? { text: data } : binary(data)
        this.#write({ type: 'ws:frame', id, data: text, ...(encoding && { encoding }) })
        if (this.socket.bufferedAmount > this.#context.sendLimit) this.#endStream(id, 1013)
      },
      close: (code: number | undefined): void => {
        if (!this.#streams.delete(id)) return
        this.#write({ type: 'ws:close', id, ...(code !== undefined && { code }) })
        this.#carriesLess()
      },
    }
  }

  /** The first frame that a host gets: it is routable now. A ping, which every host knows. */
  welcome(): void {
    this.#pings += 1
    this.#write({ type: 'ping' })
  }

  /** Tells the host to move (D5), now or once what it carries has ended. */
  tell(within: number | undefined, reason: string): void {
    this.told = true
    this.#notice = { within: within ?? null, reason }
    if (!this.finishes) this.#setGate('held')
    if (this.finishes || this.#pending.size === 0) this.#notify()
  }

  /** The host is registered elsewhere, or said so: nothing new on this tunnel. */
  moved(): void {
    this.#setGate('shut')
  }

  /** Closes it with this code as soon as it carries no request (D5). */
  closeWhenIdle(code: number): void {
    this.#closeWhenIdle = code
    this.#setGate('shut')
    this.#carriesLess()
  }

  /** Ends the clients' WebSockets that go through it. */
  endStreams(code: number): void {
    for (const id of [...this.#streams.keys()]) this.#endStream(id, code)
  }

  /** Cuts everything it carries, and closes it (D7). */
  cut(code: number): void {
    this.#setGate('shut')
    for (const { reject } of [...this.#pending.values()]) {
      reject(new RequestFailure('stopping', 'the relay stops and cannot wait any longer'))
    }
    this.endStreams(1012)
    this.machine.offer({ type: 'close', code })
  }

  /** A frame to the host. */
  #write(frame: object): void {
    if (this.socket.readyState === this.socket.OPEN) this.socket.send(JSON.stringify(frame))
  }

  #checkRoom(): void {
    if (this.socket.readyState !== this.socket.OPEN) throw new TunnelLost(false)
    const { pendingLimit, sendLimit } = this.#context
    if (this.#pending.size + this.#streams.size >= pendingLimit) {
      throw new RequestFailure('tunnel-full', `${pendingLimit} requests wait for this host already`)
    }
    if (this.socket.bufferedAmount > sendLimit) {
      throw new RequestFailure('tunnel-full', 'the host does not read what it is sent')
    }
  }

  #perform(effect: PeerEffect): void {
    switch (effect.type) {
      case 'ping':
        this.#pings += 1
        this.#write({ type: 'ping' })
        break
      case 'sample':
        this.machine.send({ type: 'inbound', ago: monotonic() - this.#lastInbound })
        break
      case 'notify': {
        const { within } = effect
        this.#write({ type: 'drain', reason: this.#notice?.reason, ...(within !== null && { within }) })
        break
      }
      case 'close-socket':
        this.#setGate('shut')
        this.socket.close(effect.code)
        break
      case 'departed':
        this.#setGate('shut')
        this.#context.perform(this, effect)
        break
      default:
        this.#context.perform(this, effect)
    }
  }

  /** Sends the notice; of a host that did not say that it finishes, asks for proof that it stayed. */
  #notify(): void {
    const notice = this.#notice
    if (!notice) return
    if (this.machine.offer({ type: 'tell', within: notice.within }) || this.finishes) return
    this.#pings += 1
    this.#write({ type: 'ping' })
    const timer = setTimeout(() => this.#setGate('shut'), PROOF_LIMIT)
    this.#proof = { pongs: this.#pings, timer }
  }

  #setGate(gate: Gate): void {
    if (this.#gate === 'shut' || this.#gate === gate) return
    this.#gate = gate
    if (gate === 'held') return
    clearTimeout(this.#proof?.timer)
    this.#proof = undefined
    for (const wake of [...this.#gateWaiters]) wake()
  }

  #heard(): void {
    this.#lastInbound = monotonic()
  }

  #message(data: RawData, isBinary: boolean): void {
    this.#heard()
    const frame = isBinary ? undefined : readHostFrame(data.toString())
    if (frame === undefined) {
      this.machine.offer({ type: 'close', code: BROKEN_PROTOCOL })
      return
    }
    if (this.admitted) this.#take(frame)
  }

  #take(frame: HostFrame): void {
    switch (frame.type) {
      case 'http:response':
        this.#pending.get(frame.id)?.resolve(frame)
        break
      case 'bad-response':
        this.#pending.get(frame.id)?.reject(new RequestFailure('bad-answer', "the host's answer is not one"))
        break
      case 'ws:frame':
        this.#streams.get(frame.id)?.frame(frame.data)
        break
      case 'ws:close':
        this.#streams.get(frame.id)?.closed(sendableCode(frame.code))
        if (this.#streams.delete(frame.id)) this.#carriesLess()
        break
      case 'ping':
        this.#write({ type: 'pong' })
        break
      case 'pong':
        this.#pongs += 1
        if (this.#proof && this.#pongs >= this.#proof.pongs) this.#setGate('open')
        break
      case 'drain':
        // The host is moving by itself: nothing new, then the end.
        this.closeWhenIdle(this.#context.peer.drainCode ?? 4001)
    }
  }

  #endStream(id: string, code: number): void {
    const stream = this.#streams.get(id)
    if (!stream) return
    this.#streams.delete(id)
    this.#write({ type: 'ws:close', id, code })
    stream.closed(code)
    this.#carriesLess()
  }

  /** Something that it carried has ended. */
  #carriesLess(): void {
    this.#context.changed()
    const isWaitingToTell = this.#notice && !this.#proof && this.#gate === 'held'
    if (isWaitingToTell && this.#pending.size === 0) this.#notify()
    if (this.#closeWhenIdle === undefined || this.#pending.size + this.#streams.size > 0) return
    const code = this.#closeWhenIdle
    // A host that was not told yet reads the notice first, then the code.
    if (this.told) this.machine.offer({ type: 'tell', within: null })
    // Not from inside the answer that ended: it is on its way to its client first.
    queueMicrotask(() => this.machine.offer({ type: 'close', code }))
  }

  #closed(): void {
    this.#socketClosed = true
    this.#setGate('shut')
    for (const { reject } of [...this.#pending.values()]) reject(new TunnelLost(true))
    for (const [id, stream] of [...this.#streams]) {
      this.#streams.delete(id)
      stream.closed(1012)
    }
    this.machine.offer({ type: 'closed' })
    this.#settle()
    this.#context.changed()
  }

  #settle(): void {
    if (!this.#noMoreTimers || !this.#socketClosed || this.#isGone) return
    this.#isGone = true
    this.machine.close()
    this.#context.gone(this)
  }
}

function binary(data: Buffer): { text: string; encoding: 'base64' } {
  return { text: data.toString('base64'), encoding: 'base64' }
}
