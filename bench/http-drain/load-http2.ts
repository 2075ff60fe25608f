/** The same load over HTTP/2: one session for each client, one stream after the other. */
import { type ClientHttp2Session, connect, constants } from 'node:http2'
import type { Exchange, Outcome, Target } from './load.js'

/** Errors by which the server says that it did not process the stream (RFC 9113, 8.7): safe to send again. */
const UNPROCESSED = new Set<number>([constants.NGHTTP2_REFUSED_STREAM])

/** One session, used for one request after the other. */
export class Http2Client {
  over = false
  readonly #session: ClientHttp2Session
  readonly #target: Target
  readonly #kind: Exchange['kind']

  private constructor(session: ClientHttp2Session, target: Target, kind: Exchange['kind']) {
    this.#session = session
    this.#target = target
    this.#kind = kind
    for (const event of ['goaway', 'close', 'error']) {
      session.on(event, () => {
        this.over = true
      })
    }
  }

  static open(target: Target, kind: Exchange['kind']): Promise<Http2Client | undefined> {
    const sent = performance.now()
    return new Promise((resolve) => {
      const session = connect(`http://127.0.0.1:${target.port}`)
      session.once('error', (error: NodeJS.ErrnoException) => {
        const outcome = error.code === 'ECONNREFUSED' ? 'refused' : 'reset'
        const detail = `connect ${error.code}`
        target.record({ outcome, kind, sent, ended: performance.now(), wait: 0, detail })
        resolve(undefined)
      })
      session.once('connect', () => {
        session.removeAllListeners('error')
        resolve(new Http2Client(session, target, kind))
      })
    })
  }

  send(wait = 0): Promise<void> {
    const sent = performance.now()
    return new Promise((resolve) => {
      let status = 0
      let error: NodeJS.ErrnoException | undefined
      const stream = this.#session.request({ ':method': 'POST', ':path': '/', 'x-wait': String(wait) })
      stream.on('response', (headers) => {
        status = Number(headers[':status'])
      })
      let complete = false
      stream.on('end', () => {
        complete = status > 0
      })
      stream.on('error', (cause) => {
        error = cause
      })
      stream.on('close', () => {
        let outcome: Outcome = complete && !error ? 'ok' : 'lost'
        if (status === 503) outcome = 'unavailable'
        if (outcome === 'lost' && UNPROCESSED.has(stream.rstCode)) outcome = 'refused'
        if (outcome === 'lost' && error?.code === 'ECONNRESET') outcome = 'reset'
        const detail = outcome === 'ok' ? '' : `${error?.code ?? error?.message ?? ''} rst ${stream.rstCode}`
        const exchange = { outcome, kind: this.#kind, sent, ended: performance.now(), wait }
        this.#target.record(detail ? { ...exchange, detail } : exchange)
        resolve()
      })
      stream.resume()
      stream.end('x'.repeat(this.#target.style.bodySize))
    })
  }

  close(): void {
    this.over = true
    this.#session.destroy()
  }
}
