import type { ServerResponse } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'

const ENDLESS = /^(text\/event-stream|application\/grpc)/i
const ENDLESS_IN_HEAD = /^content-type:[ \t]*(text\/event-stream|application\/grpc)/im

/** Whether a response is of a kind that ends only when someone ends it: server-sent events, gRPC. */
export function isStream(response: ServerResponse | ServerHttp2Stream): boolean {
  if (!response.headersSent) return false
  if ('sentHeaders' in response) return ENDLESS.test(String(response.sentHeaders?.['content-type'] ?? ''))
  const type = response.getHeader('content-type')
  if (type !== undefined) return ENDLESS.test(String(type))
  // Headers that went straight through `writeHead` can only be read from the rendered head.
  const { _header: head } = response as ServerResponse & { _header?: string | null }
  return typeof head === 'string' && ENDLESS_IN_HEAD.test(head)
}
