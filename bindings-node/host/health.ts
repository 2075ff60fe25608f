/** Answers for health probes, in the shape that Kubernetes' own components give them. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'

/** The answer to one probe. */
export interface HealthAnswer {
  status: 200 | 503
  /** `ok`, or why not; one line for each check with `?verbose`. */
  body: string
}

/** What probes are told. */
export interface HealthState {
  ready: boolean
  live: boolean
  phase: string
}

/** A request as frameworks hand it on: Node's own, or one that wraps it (fastify). */
export type ProbeRequest =
  | IncomingMessage
  | Http2ServerRequest
  | { raw: IncomingMessage | Http2ServerRequest; originalUrl?: string }

/** A response as frameworks hand it on. */
export type ProbeResponse =
  | ServerResponse
  | Http2ServerResponse
  | { raw: ServerResponse | Http2ServerResponse; hijack?: () => unknown }

/** Answers `…/livez` and `…/readyz`; anything else is passed to `next`, or left alone. */
export type HealthHandler = (request: ProbeRequest, response: ProbeResponse, next?: unknown) => boolean

/** The answer for a path that ends in `/readyz` or `/livez`; none for any other. */
export function healthAnswer(url: string, state: HealthState): HealthAnswer | undefined {
  const [path = '', query = ''] = url.split('?', 2)
  const check = /\/(readyz|livez)\/?$/.exec(path)?.[1]
  if (!check) return undefined
  const good = check === 'readyz' ? state.ready : state.live
  const verdict = good ? 'ok' : `not ${check === 'readyz' ? 'ready' : 'live'}: ${state.phase}`
  const verbose = new URLSearchParams(query).has('verbose')
  const details = verbose ? `[${good ? '+' : '-'}]lifecycle ${state.phase}\n${check} check ` : ''
  return { status: good ? 200 : 503, body: `${details}${verbose && good ? 'passed' : verdict}\n` }
}

/** Makes the handler. Returns whether it has answered, for servers without a router. */
export function healthHandler(state: () => HealthState): HealthHandler {
  return (request, response, next) => {
    const raw = 'raw' in request ? request.raw : request
    // Routers shorten `url` by their mount point; the original tells which probe this is.
    const { originalUrl = raw.url } = request as { originalUrl?: string }
    const answer = healthAnswer(originalUrl ?? '', state())
    if (!answer) {
      if (typeof next === 'function') next()
      return false
    }
    if ('raw' in response) response.hijack?.()
    write('raw' in response ? response.raw : response, raw.method, answer)
    return true
  }
}

function write(
  response: ServerResponse | Http2ServerResponse,
  method: string | undefined,
  { status, body }: HealthAnswer,
): void {
  response.statusCode = status
  response.setHeader('Content-Type', 'text/plain; charset=utf-8')
  response.setHeader('Content-Length', Buffer.byteLength(body))
  response.setHeader('Cache-Control', 'no-store')
  response.end(method === 'HEAD' ? '' : body)
}
