/**
 * What Node knows about its connections and does not publish, all of it in this file.
 *
 * Node already tracks what each connection is doing. To track it a second time, from a `request` listener,
 * costs about 2 % of the throughput of a small handler; to look when the door is closing costs nothing.
 * Each of these has been in Node since before version 18; {@link assertResponsesVisible} fails early if the
 * one without which requests would be lost should ever go.
 */
import cluster from 'node:cluster'
import { EventEmitter } from 'node:events'
import { IncomingMessage, ServerResponse } from 'node:http'
import { type Server, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

interface Internals {
  /** The response that owns the socket's writing side. */
  _httpMessage?: ServerResponse | null
  parser?: {
    /** The request whose head was parsed last, until its response is out. */
    incoming?: IncomingMessage | null
    /** Milliseconds since the message in progress began, 0 between two. */
    duration?(): number
  } | null
  /** The accepted socket inside a secured one. */
  _parent?: Socket
}

/** The HTTP/1 response being sent on a socket: begun, and not handed to the system in full. */
export function responseOn(socket: Socket): ServerResponse | undefined {
  return (socket as Socket & Internals)._httpMessage ?? undefined
}

/** Whether part of a message has been read: of a head, or of a body. */
export function messageBegun(socket: Socket): boolean {
  const duration = (socket as Socket & Internals).parser?.duration?.()
  return duration !== undefined && duration > 0
}

/** Whether a request that came later than this one has been parsed on its socket. */
export function isFollowed(request: IncomingMessage): boolean {
  const latest = (request.socket as (Socket & Internals) | null)?.parser?.incoming
  return latest !== undefined && latest !== null && latest !== request
}

/** The socket that a TLS server accepted, on which this secured one stands. */
export function acceptedSocket(socket: TLSSocket): Socket | undefined {
  return (socket as TLSSocket & Internals)._parent
}

/**
 * For how long nothing has been read or written, in milliseconds, by the timer that enforces
 * `keepAliveTimeout`; `undefined` where that is switched off.
 */
export function quietFor(socket: Socket): number | undefined {
  const timerKey = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'timeout')
  if (timerKey === undefined) return undefined
  const started = startOf((socket as Socket & Record<symbol, unknown>)[timerKey])
  if (started === undefined) return undefined
  // A timer that starts now tells what that clock says now.
  const probe = setTimeout(() => {}, 1_000)
  clearTimeout(probe)
  const now = startOf(probe, true)
  return now === undefined ? undefined : now - started
}

/** The file descriptor of the socket that a server listens on. */
export function listenerOf(server: Server): number | undefined {
  const { _handle: handle } = server as Server & { _handle?: { fd?: number } | null }
  const fd = handle?.fd
  return fd !== undefined && fd >= 0 ? fd : undefined
}

/** Servers on sockets that were inherited from processes that are gone, or going. */
const claimed = new WeakSet<Server>()

/** Says that the socket on which this server listens was passed to this process for itself alone. */
export function claimListener(server: Server): void {
  claimed.add(server)
}

/**
 * The file descriptor of the socket that a server listens on, when it is a TCP socket that this process opened, or has
 * inherited, for itself alone: not one that it shares (`listen({ fd })`), and none of `node:cluster`, where others accept
 * from it.
 */
export function ownListener(server: Server): number | undefined {
  const { _connectionKey: key } = server as Server & { _connectionKey?: string }
  const address = server.address()
  const overTcp = typeof address === 'object' && address !== null
  const opened = cluster.isPrimary && key !== undefined && /^[46]:/.test(key)
  return overTcp && (opened || claimed.has(server)) ? listenerOf(server) : undefined
}

/** @throws Error when this version of Node no longer says which response a socket is sending. */
export function assertResponsesVisible(): void {
  if (responsesVisible) return
  const response = new ServerResponse(new IncomingMessage(new Socket()))
  const socket = new EventEmitter() as Socket
  response.assignSocket(socket)
  if (responseOn(socket) !== response) {
    throw new Error(`tidegate cannot see the responses of Node ${process.version}; please report this`)
  }
  responsesVisible = true
}

let responsesVisible = false

function startOf(timer: unknown, cleared = false): number | undefined {
  const { _idleStart: start, _destroyed: destroyed } = (timer ?? {}) as {
    _idleStart?: number
    _destroyed?: boolean
  }
  return typeof start === 'number' && (cleared || !destroyed) ? start : undefined
}
