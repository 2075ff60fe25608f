/**
 * The relay's side of tunnels: hosts dial in, clients reach a host through any relay.
 *
 * A host dials `GET /tunnel?hostId=…&token=…` (a WebSocket); the messages of the tunnel are those of
 * `relay/wire.ts`. Clients ask any relay for `/hosts/{hostId}/…`. A relay that does not hold the tunnel
 * forwards once to the one that does, by the address in the directory; a host that is between relays is waited
 * for, bounded (R4).
 *
 * A `TunnelServer` owns no listener. In this order: {@link TunnelServer.start}, which clears the rows that
 * earlier lives of this machine left behind; then listen for other relays (the *peer door*); then for hosts
 * and clients (the *public door*). When it stops, a `Lifecycle` goes the other way: no new tunnels, the
 * tunnels are told to move, what they carry ends, and the peer door closes last. The peer door has no login of
 * its own: bind it to a network that only relays reach.
 *
 * Tokens are never in its reports, errors or headers to hosts.
 */

import { EventEmitter } from 'node:events'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Directory, Owned, Owner } from './directory.js'
import { ABORT_LIMIT, type DrainSource, type Farewell } from './drainable.js'
import type { PeerConfig, PeerDeparture, PeerEffect } from './generated.js'
import { Machine } from './machine.js'
import { answer, fail, join, readBody, refuse, splice } from './relay/clients.js'
import { RequestFailure } from './relay/failure.js'
import { Forwarder, isIdempotent } from './relay/forward.js'
import { type Route, Router } from './relay/router.js'
import { Tunnel } from './relay/tunnel.js'
import { endToEnd, FORWARDED, type TunnelRequest, type TunnelResponse } from './relay/wire.js'
import { timeLimit } from './time-limit.js'

export { RequestFailure, type RequestFailureCode } from './relay/failure.js'
export type { TunnelResponse, WireHeaders } from './relay/wire.js'

/** A login that is good. */
export interface Admission {
  /** Which host it is. */
  host: string
  /**
   * Whether the host finishes what it carries before it moves. Default: whether it dialed with
   * `drain=finish`. What a host that does not carries is ended before it is told.
   */
  finishes?: boolean
}

/** Checks a login: who it is, or nothing when it is refused. */
export type Authorize = (
  request: IncomingMessage,
  context: { signal: AbortSignal },
) => Admission | undefined | null | false | PromiseLike<Admission | undefined | null | false>

/** How tunnels are served. Durations are whole milliseconds. */
export interface TunnelServerOptions {
  /** Who owns which tunnel, shared by all relays. */
  directory: Directory
  /** This life of this machine. */
  owner: Owner
  /** Where other relays reach this one's peer door: `http://10.0.0.1:9080`. */
  address: string
  /** Checks a login. What it throws refuses the login, too. Its time is `peer.authorizeLimit`. */
  authorize: Authorize
  /** Servers whose upgrades are handled; without them, call {@link TunnelServer.handleUpgrade}. */
  server?: Server | readonly Server[]
  /** Where hosts dial in; default `/tunnel`. */
  path?: string
  /** Where clients reach hosts; default `/hosts/`. */
  prefix?: string
  /** Logins, directory writes, pings: see `PeerConfig`. */
  peer?: PeerConfig
  /** Which host a dial is of, before its login is checked; default its `hostId`. Only to look its row up early. */
  hostOf?: (request: IncomingMessage) => string | undefined
  /** The most requests and client WebSockets that one tunnel carries at a time; default 1,000. */
  pendingLimit?: number
  /** How long a host may take over a request; default 30,000. */
  requestTimeout?: number
  /** How long a request waits for the row of a host that is between relays (R4); default 10,000. */
  waitLimit?: number
  /** The most bytes of a request's or an answer's body; default 8 MiB. */
  bodyLimit?: number
  /** The most bytes of a frame of a host; a longer one closes its tunnel with 1009. Default 16 MiB. */
  frameLimit?: number
  /** The most bytes that wait for a host that does not read; default 16 MiB. */
  sendLimit?: number
  /** The most connections whose login is not decided yet; more are refused with 503. Default 10,000. */
  unadmittedLimit?: number
  /** How long a peer may take to answer a close frame before its socket is cut; default 500. */
  closeTimeout?: number
}

/** What a `TunnelServer` reports. No event holds a token, a URL or a header. */
export interface TunnelServerEvents {
  /** A host is routable here. */
  admitted: [event: { host: string; epoch: number }]
  /** A host was told to move, or will be as soon as what it carries has ended. */
  told: [event: { host: string; within?: number }]
  /** A tunnel is no longer routable, or never was. `host` is absent when its login was not good. */
  departed: [event: { host?: string; departure: PeerDeparture }]
  /** The directory is away: this host is served from memory (R2). */
  unlisted: [event: { host: string }]
  /** A login check or a directory write threw. */
  failed: [
    event: {
      operation: 'authorize' | 'register' | 'renew' | 'unregister' | 'look'
      host?: string
      error: unknown
    },
  ]
}

/** A request to a host, for {@link TunnelServer.request}. */
export interface HostRequest {
  /** Default `GET`. */
  method?: string
  /** With the query; default `/`. */
  path?: string
  headers?: NodeJS.Dict<string | string[]>
  body?: Uint8Array | string
}

/** What of a TunnelServer's options has a default that is a number. */
const DEFAULTS = {
  pendingLimit: 1_000,
  requestTimeout: 30_000,
  waitLimit: 10_000,
  bodyLimit: 8 * 1024 * 1024,
  frameLimit: 16 * 1024 * 1024,
  sendLimit: 16 * 1024 * 1024,
  unadmittedLimit: 10_000,
  closeTimeout: 500,
}
type Limits = typeof DEFAULTS

/** The close code of a deliberate drain: hosts come back at once. */
const DRAIN_CODE = 4001
/** How many epochs of hosts without a tunnel are remembered here. */
const MOST_ASKED = 100_000

/** The relay's side of tunnels. A {@link DrainSource}: give it to `Lifecycle.tunnels`. */
export class TunnelServer extends EventEmitter<TunnelServerEvents> implements DrainSource, AsyncDisposable {
  readonly name = 'tunnels'
  readonly #options: TunnelServerOptions
  readonly #limits: Limits
  readonly #directory: Directory
  readonly #owner: Owner
  readonly #path: string
  readonly #prefix: string
  readonly #dials: WebSocketServer
  readonly #clients: WebSocketServer
  readonly #forwarder = new Forwarder()
  /** What is under way for clients: cut when time is up. */
  readonly #underWay = new Set<AbortController>()
  /** Every tunnel whose socket is open or whose row is still being removed. */
  readonly #all = new Set<Tunnel>()
  readonly #router: Router
  /** The greatest epoch that this life has asked for, by host, and which connection did. */
  readonly #asked = new Map<string, { epoch: number; order: number }>()
  /** What was known of a row when the connection of a tunnel opened. */
  readonly #opened = new WeakMap<Tunnel, { hint: string | undefined; look: Promise<number> }>()
  #started = false
  #draining = false
  /** From here on nobody waits for rows to be removed. */
  #aborted = false
  #unadmitted = 0
  #direct = 0
  #changed: () => void = () => {}

  /** @throws ConfigError when `peer` cannot work, RangeError when another number cannot. */
  constructor(options: TunnelServerOptions) {
    super()
    this.#options = options
    this.#limits = limits(options)
    this.#directory = options.directory
    this.#owner = { ...options.owner }
    this.#path = options.path ?? '/tunnel'
    this.#prefix = options.prefix ?? '/hosts/'
    new URL(options.address)
    this.#router = new Router(this.#directory, this.#owner, this.#limits.waitLimit)
    // Refused here and not at the first connection.
    new Machine('peer', { config: options.peer ?? {}, perform: () => {} }).close()
    const { frameLimit, bodyLimit, closeTimeout } = this.#limits
    const common = { noServer: true, clientTracking: false, perMessageDeflate: false, closeTimeout }
    this.#dials = new WebSocketServer({ ...common, maxPayload: frameLimit })
    this.#clients = new WebSocketServer({ ...common, maxPayload: bodyLimit })
    for (const server of [options.server ?? []].flat()) server.on('upgrade', this.handleUpgrade)
  }

  /**
   * Clears the rows that earlier lives of this machine left behind (R3), and accepts tunnels from then on:
   * before it, dials get a 503. Await it before anything listens. A successor by handoff clears nothing, as
   * its parent still serves: it says so.
   *
   * @returns How many rows there were.
   * @throws DirectoryUnavailable when the store is away: try again, and do not listen meanwhile.
   */
  async start(options: { successor?: boolean } = {}): Promise<number> {
    const cleared = options.successor ? 0 : await this.#directory.clearEarlier(this.#owner)
    this.#started = true
    return cleared
  }

  /** Hosts that are routable here. */
  get hosts(): number {
    return this.#router.tunnels.size
  }

  /** Whether this host is routable here. */
  has(host: string): boolean {
    return this.#router.tunnels.has(host)
  }

  /** Requests that wait for the answer of a host of this relay. */
  get pending(): number {
    return sum(this.#all, (tunnel) => tunnel.pending)
  }

  /**
   * Sends a request to a host, wherever its tunnel is.
   *
   * @throws {@link RequestFailure} when there is no answer of the host; the reason of `signal` when it fires.
   */
  async request(
    host: string,
    request: HostRequest = {},
    options: { signal?: AbortSignal; timeout?: number } = {},
  ): Promise<TunnelResponse> {
    const body =
      typeof request.body === 'string' ? Buffer.from(request.body) : Buffer.from(request.body ?? [])
    const { method = 'GET', path = '/', headers = {} } = request
    const whole = { method, path, headers: endToEnd(headers), body }
    const work = this.#begin()
    const abort = () => work.abort(options.signal?.reason)
    options.signal?.addEventListener('abort', abort)
    if (options.signal?.aborted) abort()
    this.#direct += 1
    try {
      const route = { host, signal: work.signal, forwarded: false }
      return await this.#exchange(route, whole, options.timeout)
    } finally {
      options.signal?.removeEventListener('abort', abort)
      this.#underWay.delete(work)
      this.#direct -= 1
      this.#changed()
    }
  }

  /** Answers a client's or another relay's `/hosts/{hostId}/…`; anything else is a 404. */
  readonly handleRequest = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const target = this.#target(request.url)
    if (!target) {
      answer(response, 404, 'there is nothing here')
      return
    }
    const work = this.#begin()
    response.on('close', () => work.abort())
    try {
      const body = await readBody(request, this.#limits.bodyLimit)
      const forwarded = request.headers[FORWARDED] !== undefined
      const route = { host: target.host, signal: work.signal, forwarded }
      const whole = {
        method: request.method ?? 'GET',
        path: target.path,
        headers: endToEnd(request.headers),
        body,
      }
      const { status, headers, body: content } = await this.#exchange(route, whole)
      if (response.destroyed) return
      const isBodiless = request.method === 'HEAD' || status === 204 || status === 304
      if (!isBodiless) headers['content-length'] = `${content.length}`
      response.writeHead(status, headers)
      response.end(isBodiless ? undefined : content)
    } catch (error) {
      if (!response.destroyed) fail(response, error)
    } finally {
      this.#underWay.delete(work)
    }
  }

  /** Takes a host's dial, or a client's WebSocket to a host; anything else is refused with a 404. */
  readonly handleUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    socket.on('error', () => socket.destroy())
    const path = (request.url ?? '').split('?', 1)[0]
    const target = this.#target(request.url)
    if (path === this.#path) this.#dial(request, socket, head)
    else if (!target) refuse(socket, 404, 'Not Found')
    else {
      this.#openStream(request, socket, head, target).catch((error) => {
        const failure = error instanceof RequestFailure ? error : undefined
        refuse(socket, failure?.status ?? 502, 'Unavailable', failure?.code === 'not-here')
      })
    }
  }

  /** Ends everything at once, rows included, as far as the directory answers. For tests and emergencies. */
  async close(): Promise<void> {
    this.refuseNew()
    this.abort(1001, { intent: 'decommission', reason: 'decommission', code: 1001 })
    await this.#directory.clearOwn(this.#owner).catch(() => {})
    for (const tunnel of this.#all) tunnel.machine.close()
    this.#forwarder.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // What a drain asks for, in the order in which it does.

  /** Tunnels that are open or whose row is still being removed. */
  count(): number {
    return this.#aborted ? sum(this.#all, (tunnel) => (tunnel.isOpen ? 1 : 0)) : this.#all.size
  }

  /** Of those, the ones that were told to move. */
  told(): number {
    return sum(this.#all, (tunnel) => (tunnel.told ? 1 : 0))
  }

  /** Clients' WebSockets, and what {@link request} waits for; requests over HTTP are counted by their doors. */
  requests(): number {
    return this.#direct + this.streams()
  }

  /** Clients' WebSockets that go through the tunnels of this relay. */
  streams(): number {
    return sum(this.#all, (tunnel) => tunnel.streams)
  }

  onChange(changed: () => void): void {
    this.#changed = changed
  }

  /** No more registrations, those under way included (D4). Requests go on. */
  refuseNew(): void {
    this.#draining = true
    for (const tunnel of this.#all) tunnel.machine.offer({ type: 'drain' })
  }

  /** Ends the clients' WebSockets with 1012 (D4). */
  endStreams(): void {
    for (const tunnel of this.#all) tunnel.endStreams(1012)
  }

  tell(count: number, within: number | undefined, farewell: Farewell): void {
    let left = count
    for (const [host, tunnel] of this.#router.tunnels) {
      if (left <= 0) break
      if (tunnel.told) continue
      left -= 1
      tunnel.tell(within, farewell.reason)
      this.emit('told', { host, ...(within !== undefined && { within }) })
    }
    this.#changed()
  }

  /** Clears the rows of this life in one call (D5). */
  async clearRows(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    await this.#directory.clearOwn(this.#owner)
    for (const tunnel of this.#all) tunnel.machine.offer({ type: 'rows-cleared' })
  }

  closeAll(code: number, farewell: Farewell): void {
    for (const tunnel of this.#all) tunnel.closeWhenIdle(this.#code(code, farewell))
  }

  abort(code: number, farewell: Farewell): number {
    const cut = this.requests() + this.count()
    this.#aborted = true
    const reason = new RequestFailure('stopping', 'the relay stops and cannot wait any longer')
    for (const work of this.#underWay) work.abort(reason)
    for (const tunnel of this.#all) {
      tunnel.cut(this.#code(code, farewell))
      // The close frame has a moment to reach the wire.
      setTimeout(() => tunnel.socket.terminate(), ABORT_LIMIT / 2).unref()
    }
    return cut
  }

  /** Hosts that come back get the drain code of their own protocol. */
  #code(code: number, { intent }: Farewell): number {
    return intent === 'decommission' ? code : (this.#options.peer?.drainCode ?? DRAIN_CODE)
  }

  // Hosts that dial in.

  #dial(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const isFull = this.#unadmitted >= this.#limits.unadmittedLimit
    if (!this.#started || this.#draining || isFull) {
      refuse(socket, 503, 'Service Unavailable')
      return
    }
    this.#dials.handleUpgrade(request, socket, head, (dialed) => this.#connected(dialed, request))
  }

  #connected(socket: WebSocket, request: IncomingMessage): void {
    const { pendingLimit, requestTimeout, sendLimit } = this.#limits
    const tunnel = new Tunnel(socket, request, {
      peer: this.#options.peer ?? {},
      pendingLimit,
      requestTimeout,
      sendLimit,
      perform: (tunnel, effect) => this.#perform(tunnel, effect),
      gone: (tunnel) => {
        this.#all.delete(tunnel)
        this.#changed()
      },
      changed: () => this.#changed(),
    })
    this.#all.add(tunnel)
    this.#unadmitted += 1
    const hint = (this.#options.hostOf ?? hostId)(request)
    this.#opened.set(tunnel, { hint, look: hint ? this.#known(hint) : Promise.resolve(0) })
    tunnel.machine.send({ type: 'connected' })
    this.#changed()
  }

  /** The greatest epoch that is known for a host now: by the directory and, if that is away, at least by us. */
  async #known(host: string): Promise<number> {
    const asked = this.#asked.get(host)?.epoch ?? 0
    try {
      return Math.max(asked, (await this.#directory.look(host)).epoch)
    } catch (error) {
      this.emit('failed', { operation: 'look', host, error })
      return asked
    }
  }

  #perform(tunnel: Tunnel, effect: PeerEffect): void {
    switch (effect.type) {
      case 'authorize':
        void this.#authorize(tunnel, effect)
        break
      case 'register':
        void this.#register(tunnel, effect.operation)
        break
      case 'renew':
      case 'unregister':
        void this.#keepOrRemove(tunnel, effect.type, effect.operation)
        break
      case 'admit':
        this.#admit(tunnel)
        break
      case 'departed':
        this.#departed(tunnel, effect.departure)
        break
      case 'unlisted':
        this.emit('unlisted', { host: tunnel.host ?? '' })
    }
  }

  async #authorize(
    tunnel: Tunnel,
    { operation, limit }: { operation: number; limit: number },
  ): Promise<void> {
    try {
      const admission = await this.#options.authorize(tunnel.request, timeLimit(limit))
      if (!admission) return void tunnel.machine.offer({ type: 'failed', operation })
      tunnel.host = admission.host
      tunnel.finishes = admission.finishes ?? query(tunnel.request).get('drain') === 'finish'
      const { hint, look } = this.#opened.get(tunnel) ?? {}
      tunnel.carried = await (hint === admission.host && look ? look : this.#known(admission.host))
      tunnel.machine.offer({ type: 'done', operation })
    } catch (error) {
      this.emit('failed', { operation: 'authorize', error })
      tunnel.machine.offer({ type: 'failed', operation })
    }
  }

  /** Writes the row. Two connections of a host never carry the same epoch, and the one that opened later wins. */
  async #register(tunnel: Tunnel, operation: number): Promise<void> {
    const host = tunnel.host ?? ''
    const asked = this.#asked.get(host)
    if (asked && asked.order !== tunnel.order && asked.epoch > tunnel.carried) {
      if (asked.order > tunnel.order) {
        return void tunnel.machine.offer({ type: 'fenced', operation, refusal: 'stale-epoch' })
      }
      tunnel.carried = asked.epoch
    }
    this.#remember(host, tunnel)
    try {
      const command = { host, owner: this.#owner, epoch: tunnel.carried, address: this.#options.address }
      const reply = await this.#directory.register(command)
      if (reply.type === 'registered') return void tunnel.machine.offer({ type: 'done', operation })
      if (reply.refusal === 'no-row') tunnel.carried = reply.epoch
      tunnel.machine.offer({ type: 'fenced', operation, refusal: reply.refusal })
    } catch (error) {
      this.emit('failed', { operation: 'register', host, error })
      tunnel.machine.offer({ type: 'failed', operation })
    }
  }

  #remember(host: string, tunnel: Tunnel): void {
    this.#asked.delete(host)
    this.#asked.set(host, { epoch: tunnel.epoch, order: tunnel.order })
    if (this.#asked.size <= MOST_ASKED) return
    const [oldest] = this.#asked.keys()
    if (oldest !== undefined && !this.#router.tunnels.has(oldest)) this.#asked.delete(oldest)
  }

  async #keepOrRemove(tunnel: Tunnel, operation: 'renew' | 'unregister', id: number): Promise<void> {
    const host = tunnel.host ?? ''
    try {
      const command = { host, owner: this.#owner, epoch: tunnel.epoch }
      const reply =
        operation === 'renew'
          ? await this.#directory.renew(command)
          : await this.#directory.unregister(command)
      if (operation === 'unregister' && this.#asked.get(host)?.order === tunnel.order)
        this.#asked.delete(host)
      if (reply.type !== 'refused') return void tunnel.machine.offer({ type: 'done', operation: id })
      if (operation === 'renew' && reply.refusal === 'no-row') tunnel.carried = reply.epoch
      // Told, and registered elsewhere: nothing new through here.
      if (operation === 'renew' && reply.refusal !== 'no-row') tunnel.moved()
      tunnel.machine.offer({ type: 'fenced', operation: id, refusal: reply.refusal })
    } catch (error) {
      this.emit('failed', { operation, host, error })
      tunnel.machine.offer({ type: 'failed', operation: id })
    }
  }

  #admit(tunnel: Tunnel): void {
    const host = tunnel.host ?? ''
    tunnel.admitted = true
    this.#unadmitted -= 1
    const older = this.#router.add(host, tunnel)
    tunnel.welcome()
    if (older) {
      // One that was told finishes its work; any other is closed as replaced.
      older.moved()
      older.machine.offer({ type: 'replaced' })
    }
    this.emit('admitted', { host, epoch: tunnel.epoch })
    this.#changed()
  }

  #departed(tunnel: Tunnel, departure: PeerDeparture): void {
    if (!tunnel.admitted) this.#unadmitted -= 1
    const { host } = tunnel
    if (host !== undefined) this.#router.remove(host, tunnel)
    this.emit('departed', { ...(host !== undefined && { host }), departure })
    this.#changed()
  }

  // Requests to hosts.

  #begin(): AbortController {
    const work = new AbortController()
    this.#underWay.add(work)
    return work
  }

  async #exchange(route: Route, request: TunnelRequest, timeout?: number): Promise<TunnelResponse> {
    const { requestTimeout, waitLimit, bodyLimit } = this.#limits
    const limit = timeout ?? requestTimeout
    return await this.#router.route(route, {
      here: (tunnel) => tunnel.send(request, route.signal, limit),
      elsewhere: (row) =>
        this.#forwarder.request(this.#at(row, route.host, request.path), request, {
          from: this.#owner.machine,
          signal: route.signal,
          timeout: limit + waitLimit,
          most: bodyLimit,
        }),
      repeatable: isIdempotent(request.method),
    })
  }

  // Clients' WebSockets.

  async #openStream(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    target: { host: string; path: string },
  ): Promise<void> {
    const work = this.#begin()
    const end = () => work.abort()
    socket.once('close', end)
    const { signal } = work
    const route = { host: target.host, signal, forwarded: request.headers[FORWARDED] !== undefined }
    const routed = this.#router.route<void>(route, {
      here: async (tunnel) => {
        this.#clients.handleUpgrade(request, socket, head, (client) =>
          join(client, tunnel, target.path, this.#limits.sendLimit),
        )
      },
      elsewhere: async (row) => {
        const outcome = await this.#forwarder.upgrade(this.#at(row, target.host, target.path), request, {
          from: this.#owner.machine,
          signal,
          timeout: this.#limits.requestTimeout,
          most: this.#limits.bodyLimit,
        })
        if (outcome.type !== 'answer') return outcome
        splice(socket, head, outcome.answer)
        return { type: 'answer', answer: undefined }
      },
      repeatable: true,
    })
    await routed.finally(() => {
      socket.removeListener('close', end)
      this.#underWay.delete(work)
    })
  }

  #at(row: Owned, host: string, path: string): URL {
    return new URL(`${this.#prefix}${encodeURIComponent(host)}${path}`, row.address)
  }

  /** The host and the path of `/hosts/{hostId}/…`. */
  #target(url = ''): { host: string; path: string } | undefined {
    if (!url.startsWith(this.#prefix)) return undefined
    const rest = url.slice(this.#prefix.length)
    const end = rest.search(/[/?]/)
    const [name, path] = end < 0 ? [rest, ''] : [rest.slice(0, end), rest.slice(end)]
    try {
      const host = decodeURIComponent(name)
      return host === '' ? undefined : { host, path: path.startsWith('/') ? path : `/${path}` }
    } catch {
      return undefined
    }
  }
}

function query(request: IncomingMessage): URLSearchParams {
  const url = request.url ?? ''
  return new URLSearchParams(url.includes('?') ? url.slice(url.indexOf('?')) : '')
}

function hostId(request: IncomingMessage): string | undefined {
  return query(request).get('hostId') ?? undefined
}

function sum<T>(all: Iterable<T>, count: (one: T) => number): number {
  let total = 0
  for (const one of all) total += count(one)
  return total
}

function limits(options: TunnelServerOptions): Limits {
  const chosen = { ...DEFAULTS }
  for (const name of Object.keys(DEFAULTS) as (keyof Limits)[]) {
    const value = options[name] ?? DEFAULTS[name]
    if (!Number.isSafeInteger(value) || value < 1 || value > 2 ** 31 - 1) {
      throw new RangeError(`${name} is a whole number from 1 to 2147483647, not ${value}`)
    }
    chosen[name] = value
  }
  return chosen
}
