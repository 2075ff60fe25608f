/** The application that every contender serves: it reads a body, waits if asked to, and says what it read. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createHttp2Server, type Http2Server } from 'node:http2'
import { setTimeout as delay } from 'node:timers/promises'
import express from 'express'
import fastify from 'fastify'

export type AppKind = 'node' | 'express' | 'fastify'

export const APP = (process.env.APP ?? 'node') as AppKind
const HTTP2 = process.env.HTTP2 === '1'

/** What the other side of an exchange looks like, whether HTTP/1 or the HTTP/2 look-alike. */
type Request = Pick<IncomingMessage, 'on' | 'headers'>
type Response = Pick<ServerResponse, 'setHeader' | 'end'>

export function handle(request: Request, response: Response): void {
  let size = 0
  request.on('data', (chunk: Buffer) => {
    size += chunk.length
  })
  request.on('end', () => {
    const answer = () => {
      const text = JSON.stringify({ size })
      response.setHeader('content-type', 'application/json')
      // Without it Node keeps no connection of HTTP/1.0.
      response.setHeader('content-length', text.length)
      response.end(text)
    }
    const wait = Number(request.headers['x-wait'] ?? 0)
    if (wait > 0) setTimeout(answer, wait)
    else answer()
  })
}

/** A server of the kind that the environment asks for. */
export async function createApp(): Promise<Server> {
  if (HTTP2) return createHttp2Server(handle as never) as Http2Server as unknown as Server
  if (APP === 'express') {
    const app = express()
    app.post('/', (request, response) => handle(request, response))
    return createServer(app)
  }
  if (APP === 'fastify') {
    const app = createFastify()
    await app.ready()
    return app.server
  }
  return createServer(handle)
}

export function createFastify() {
  const app = fastify({ bodyLimit: 4 << 20 })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.post('/', async (request) => {
    const wait = Number(request.headers['x-wait'] ?? 0)
    if (wait > 0) await delay(wait)
    return { size: (request.body as Buffer).length }
  })
  return app
}

/** Listens on a free port and tells the benchmark which. */
export async function listen(server: Server): Promise<void> {
  // The queue must hold every connection of the load at once.
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', 4096, resolve))
  announce(server)
}

export function announce(server: Server): void {
  process.stdout.write(`port ${portOf(server)}\n`)
}

export function portOf(server: Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening on a port')
  return address.port
}
