/**
 * What relay and host say to each other through a tunnel: JSON objects, one in each text frame.
 *
 * | relay → host | |
 * | --- | --- |
 * | `{type:"http", id, method, path, headers, body?, encoding?}` | a request; `path` holds the query too |
 * | `{type:"ws:open", id, path, query?}` | a client opened a WebSocket |
 * | `{type:"ws:frame", id, data, encoding?}`, `{type:"ws:close", id, code?}` | its frames, its end |
 * | `{type:"ping"}` | answer with a pong; the first one says that the host is routable now |
 * | `{type:"drain", reason?, within?}` | move to another relay, spread over `within` ms or, without it, now |
 *
 * | host → relay | |
 * | --- | --- |
 * | `{type:"http:response", id, status, headers, body, encoding?}` | the answer to the request of that id |
 * | `{type:"ws:frame", id, data, encoding?}`, `{type:"ws:close", id, code?}` | as above |
 * | `{type:"pong"}` | the answer to a ping |
 * | `{type:"drain"}` | send nothing new on this tunnel, and close it once all is answered |
 *
 * `encoding: "base64"` says that `body` or `data` is not text but bytes in base64; it is absent for text, so
 * peers that do not know it speak text as they always did. Types that a side does not know are ignored.
 */

import { isUtf8 } from 'node:buffer'
import { validateHeaderName, validateHeaderValue } from 'node:http'

/** The header that marks a request which another relay forwarded: it is never forwarded again. */
export const FORWARDED = 'x-tidegate-forwarded'
/** The header of an answer that says: the tunnel is not here (any more), look again. */
export const NOT_HERE = 'x-tidegate-not-here'

/** Headers as a host sends and gets them. Several values only where they cannot be joined (`set-cookie`). */
export type WireHeaders = Record<string, string | string[]>

/** A request as it goes to a host. */
export interface TunnelRequest {
  method: string
  /** With the query. */
  path: string
  headers: WireHeaders
  body: Buffer
}

/** A host's answer. */
export interface TunnelResponse {
  status: number
  headers: WireHeaders
  body: Buffer
}

/** Text, or bytes in base64. */
export interface Content {
  text: string
  encoding?: 'base64'
}

/** What a host says. */
export type HostFrame =
  | { type: 'http:response'; id: string; status: number; headers: WireHeaders; body: Buffer }
  | { type: 'bad-response'; id: string }
  | { type: 'ws:frame'; id: string; data: Buffer | string }
  | { type: 'ws:close'; id: string; code: number | undefined }
  | { type: 'ping' | 'pong' | 'drain' }
  | { type: 'unknown' }

/** These concern one connection and are never passed on (RFC 9110, 7.6.1; `expect` is answered here). */
const HOP_BY_HOP = new Set([
  'connection',
  'expect',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Bytes as they go into a frame. */
export function content(bytes: Buffer): Content {
  return isUtf8(bytes) ? { text: bytes.toString() } : { text: bytes.toString('base64'), encoding: 'base64' }
}

/** The headers of a message without those of its connection, and without the relays' own. */
export function endToEnd(headers: NodeJS.Dict<string | string[]>): WireHeaders {
  const dropped = new Set(tokens(headers.connection))
  const kept: WireHeaders = {}
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase()
    if (value === undefined || HOP_BY_HOP.has(lower) || dropped.has(lower)) continue
    if (lower.startsWith('x-tidegate-')) continue
    kept[lower] = value
  }
  return kept
}

function tokens(value: string | string[] | undefined): string[] {
  return `${value ?? ''}`
    .toLowerCase()
    .split(',')
    .map((token) => token.trim())
}

/**
 * Reads a frame of a host.
 *
 * @returns undefined for one that breaks the protocol.
 */
export function readHostFrame(text: string): HostFrame | undefined {
  let frame: unknown
  try {
    frame = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!isRecord(frame) || typeof frame.type !== 'string') return undefined
  switch (frame.type) {
    case 'ping':
    case 'pong':
    case 'drain':
      return { type: frame.type }
    case 'http:response':
      return readResponse(frame)
    case 'ws:frame': {
      const [id, data] = [readId(frame.id), readContent(frame.data, frame.encoding)]
      if (id === undefined || data === undefined) return undefined
      return { type: 'ws:frame', id, data: frame.encoding === 'base64' ? data : data.toString() }
    }
    case 'ws:close': {
      const id = readId(frame.id)
      if (id === undefined) return undefined
      return { type: 'ws:close', id, code: Number.isSafeInteger(frame.code) ? Number(frame.code) : undefined }
    }
    default:
      return { type: 'unknown' }
  }
}

function readResponse(frame: Record<string, unknown>): HostFrame | undefined {
  const [id, status, headers] = [readId(frame.id), Number(frame.status), readHeaders(frame.headers ?? {})]
  const body = readContent(frame.body ?? '', frame.encoding)
  if (id === undefined) return undefined
  if (headers === undefined || body === undefined) return { type: 'bad-response', id }
  if (!Number.isInteger(status) || status < 200 || status > 599) return { type: 'bad-response', id }
  return { type: 'http:response', id, status, headers: endToEnd(headers), body }
}

function readId(id: unknown): string | undefined {
  return typeof id === 'string' || Number.isSafeInteger(id) ? String(id) : undefined
}

function readContent(text: unknown, encoding: unknown): Buffer | undefined {
  if (typeof text !== 'string' || (encoding !== undefined && encoding !== 'base64')) return undefined
  return Buffer.from(text, encoding === 'base64' ? 'base64' : 'utf8')
}

/** Checked here, so that a host cannot break the answers that are written to clients. */
function readHeaders(headers: unknown): WireHeaders | undefined {
  if (!isRecord(headers)) return undefined
  const read: WireHeaders = Object.create(null)
  for (const [name, value] of Object.entries(headers)) {
    const values = (Array.isArray(value) ? value : [value]).map(String)
    try {
      validateHeaderName(name)
      for (const one of values) validateHeaderValue(name, one)
    } catch {
      return undefined
    }
    read[name.toLowerCase()] = values.length === 1 ? (values[0] ?? '') : values
  }
  return read
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What a server may put into a close frame; anything else becomes 1011 (RFC 6455, 7.4). */
export function sendableCode(code: number | undefined): number {
  if (code === undefined) return 1000
  const registered = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014 && code !== 1010)
  return registered || (code >= 3000 && code <= 4999) ? code : 1011
}
