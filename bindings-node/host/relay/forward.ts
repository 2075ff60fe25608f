/**
 * A request that goes on to the relay which holds the tunnel: once, over plain HTTP, to the address that the
 * directory names.
 */

import http, { type ClientRequest, type IncomingMessage } from 'node:http'
import https from 'node:https'
import type { Duplex } from 'node:stream'
import { RequestFailure } from './failure.js'
import {
  endToEnd,
  FORWARDED,
  NOT_HERE,
  type TunnelRequest,
  type TunnelResponse,
  type WireHeaders,
} from './wire.js'

/** What came of asking another relay. */
export type Forwarded<T> =
  /** It answered for the host. */
  | { type: 'answer'; answer: T }
  /** It has no such tunnel (any more), and has done nothing. */
  | { type: 'not-here' }
  /** It cannot be reached, or the connection broke; `sent`: it may have acted on the request. */
  | { type: 'lost'; sent: boolean }

/** How another relay is asked. */
export interface ForwardOptions {
  /** The name of this relay, in the marker that stops loops. */
  from: string
  signal: AbortSignal
  /** How long the other relay may take to answer. Milliseconds. */
  timeout: number
  /** The most bytes that an answer may have. */
  most: number
}

/** How long connecting to a relay may take before it counts as gone. Milliseconds. */
const CONNECT_LIMIT = 2_000
/** Below the five seconds after which Node's servers close idle connections, so that we close them first. */
const IDLE_LIMIT = 4_000
/** How long to wait for a relay's leave to send the body, before it is sent anyway. Milliseconds. */
const CONTINUE_LIMIT = 1_000

/** Repeating these does no harm (RFC 9110, 9.2.2). */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])

/** Whether a request may be sent again when nobody knows whether it arrived. */
export function isIdempotent(method: string): boolean {
  return IDEMPOTENT.has(method.toUpperCase())
}

/** Connections to other relays. */
export class Forwarder {
  readonly #agents = {
    'http:': new http.Agent({ keepAlive: true, timeout: IDLE_LIMIT, maxFreeSockets: 64 }),
    'https:': new https.Agent({ keepAlive: true, timeout: IDLE_LIMIT, maxFreeSockets: 64 }),
  }

  /** Forwards a request, once. A connection that was closed while it was idle is no reason to give up. */
  async request(
    target: URL,
    request: TunnelRequest,
    options: ForwardOptions,
  ): Promise<Forwarded<TunnelResponse>> {
    for (;;) {
      const outcome = await this.#attempt(target, request, options)
      if (outcome.type !== 'stale') return outcome
    }
  }

  /** Forwards an upgrade: the raw connection to the other relay, its head included, or its answer. */
  async upgrade(
    target: URL,
    request: IncomingMessage,
    options: ForwardOptions,
  ): Promise<Forwarded<{ response: IncomingMessage; socket?: Duplex; head?: Buffer }>> {
    const headers = {
      ...endToEnd(request.headers),
      connection: 'Upgrade',
      upgrade: request.headers.upgrade ?? '',
    }
    return await new Promise((resolve) => {
      const outgoing = this.#open(target, request.method ?? 'GET', headers, options, false)
      const connected = watchConnect(outgoing)
      const timer = setTimeout(() => outgoing.destroy(), options.timeout)
      const done = (outcome: Forwarded<{ response: IncomingMessage; socket?: Duplex; head?: Buffer }>) => {
        clearTimeout(timer)
        resolve(outcome)
      }
      outgoing.on('upgrade', (response, socket, head) =>
        done({ type: 'answer', answer: { response, socket, head } }),
      )
      outgoing.on('response', (response) => {
        if (response.headers[NOT_HERE]) {
          response.resume()
          done({ type: 'not-here' })
        } else done({ type: 'answer', answer: { response } })
      })
      outgoing.on('error', () => done({ type: 'lost', sent: connected() }))
      outgoing.end()
    })
  }

  /** Ends the idle connections. */
  close(): void {
    for (const agent of Object.values(this.#agents)) agent.destroy()
  }

  async #attempt(
    target: URL,
    request: TunnelRequest,
    options: ForwardOptions,
  ): Promise<Forwarded<TunnelResponse> | { type: 'stale' }> {
    const { method, headers, body } = request
    const asks = !isIdempotent(method)
    const outgoingHeaders: WireHeaders = { ...headers, 'content-length': `${body.length}` }
    // Of a request that must not happen twice, the body is sent only once the other relay has said that it
    // listens: a connection that turns out to be closed has then carried nothing that counts.
    if (asks) outgoingHeaders.expect = '100-continue'
    return await new Promise((resolve, reject) => {
      const outgoing = this.#open(target, method, outgoingHeaders, options, true)
      const connected = watchConnect(outgoing)
      let committed = !asks
      let received = 0
      const commit = () => {
        clearTimeout(leave)
        if (outgoing.writableEnded) return
        committed = true
        outgoing.end(body)
      }
      const leave = asks ? setTimeout(commit, CONTINUE_LIMIT) : undefined
      const late = () => {
        reject(new RequestFailure('tunnel-timeout', `the relay did not answer within ${options.timeout} ms`))
        outgoing.destroy()
      }
      const timer = setTimeout(late, options.timeout)
      const settle = (outcome: Forwarded<TunnelResponse> | { type: 'stale' }) => {
        clearTimeout(timer)
        clearTimeout(leave)
        resolve(outcome)
      }
      outgoing.on('continue', commit)
      outgoing.on('error', () => {
        clearTimeout(timer)
        clearTimeout(leave)
        if (options.signal.aborted) return reject(options.signal.reason)
        const isStale = outgoing.reusedSocket && received === 0 && (!committed || isIdempotent(method))
        settle(isStale ? { type: 'stale' } : { type: 'lost', sent: connected() && committed })
      })
      outgoing.on('response', (response) => {
        if (response.headers[NOT_HERE]) {
          response.resume()
          outgoing.end()
          return settle({ type: 'not-here' })
        }
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => {
          received += chunk.length
          if (received > options.most) {
            reject(new RequestFailure('bad-answer', `the answer has more than ${options.most} bytes`))
            outgoing.destroy()
          }
          chunks.push(chunk)
        })
        response.on('aborted', () => settle({ type: 'lost', sent: true }))
        response.on('end', () => {
          const answer = { status: response.statusCode ?? 502, headers: endToEnd(response.headers) }
          settle({ type: 'answer', answer: { ...answer, body: Buffer.concat(chunks) } })
        })
        received += 1
      })
      if (asks) outgoing.flushHeaders()
      else outgoing.end(body)
    })
  }

  #open(
    target: URL,
    method: string,
    headers: WireHeaders,
    options: ForwardOptions,
    pooled: boolean,
  ): ClientRequest {
    const isTls = target.protocol === 'https:'
    return (isTls ? https : http).request(target, {
      method,
      headers: { ...headers, [FORWARDED]: encodeURIComponent(options.from) },
      signal: options.signal,
      agent: pooled ? this.#agents[isTls ? 'https:' : 'http:'] : false,
    })
  }
}

/** Whether the request has got a connection; ends it when it gets none in time. */
function watchConnect(request: ClientRequest): () => boolean {
  let connected = false
  const timer = setTimeout(() => request.destroy(new Error('no connection in time')), CONNECT_LIMIT)
  request.on('close', () => clearTimeout(timer))
  request.on('socket', (socket) => {
    const done = () => {
      connected = true
      clearTimeout(timer)
    }
    if (socket.connecting) socket.once('connect', done)
    else done()
  })
  return () => connected
}
