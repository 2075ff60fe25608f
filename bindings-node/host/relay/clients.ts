/** The clients' side of a relay: bodies, answers, and WebSockets that are joined to a tunnel or passed on. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { RawData, WebSocket } from 'ws'
import { RequestFailure } from './failure.js'
import type { Tunnel } from './tunnel.js'
import { NOT_HERE, sendableCode, type WireHeaders } from './wire.js'

/** Joins a client's WebSocket to a tunnel. */
export function join(client: WebSocket, tunnel: Tunnel, target: string, sendLimit: number): void {
  const [path = '/', ...search] = target.split('?')
  let toHost: ReturnType<Tunnel['open']>
  try {
    toHost = tunnel.open(path, search.length > 0 ? search.join('?') : undefined, {
      frame: (data) => {
        client.send(data)
        if (client.bufferedAmount > sendLimit) client.close(1013)
      },
      closed: (code) => client.close(code),
    })
  } catch {
    client.close(1013)
    return
  }
  client.on('error', () => {})
  client.on('message', (data: RawData, isBinary: boolean) =>
    toHost.frame(isBinary ? (data as Buffer) : data.toString()),
  )
  client.on('close', (code) => toHost.close(code === 1005 || code === 1006 ? undefined : sendableCode(code)))
}

/** Passes a client's upgrade on, bytes as they come; or the answer of a relay that refused it. */
export function splice(
  client: Duplex,
  clientHead: Buffer,
  { response, socket, head }: { response: IncomingMessage; socket?: Duplex; head?: Buffer },
): void {
  const lines = [`HTTP/1.1 ${response.statusCode} ${response.statusMessage}`]
  for (let n = 0; n < response.rawHeaders.length; n += 2) {
    const name = response.rawHeaders[n] ?? ''
    if (!socket && /^(connection|transfer-encoding|content-length|keep-alive)$/i.test(name)) continue
    lines.push(`${name}: ${response.rawHeaders[n + 1]}`)
  }
  if (!socket) {
    response.resume()
    client.end(`${[...lines, 'Connection: close', 'Content-Length: 0'].join('\r\n')}\r\n\r\n`)
    return
  }
  client.write(`${lines.join('\r\n')}\r\n\r\n`)
  if (head?.length) client.write(head)
  if (clientHead.length) socket.write(clientHead)
  for (const [one, other] of [
    [client, socket],
    [socket, client],
  ] as const) {
    one.pipe(other)
    one.on('error', () => other.destroy())
    one.on('close', () => other.destroy())
  }
}

/** Refuses an upgrade before there is a WebSocket. */
export function refuse(socket: Duplex, status: number, reason: string, notHere = false): void {
  const lines = [`HTTP/1.1 ${status} ${reason}`, 'Connection: close', 'Content-Length: 0']
  if (status === 503) lines.push('Retry-After: 1')
  if (notHere) lines.push(`${NOT_HERE}: 1`)
  socket.end(`${lines.join('\r\n')}\r\n\r\n`)
}

/** Answers a request that has no answer of its host. */
export function fail(response: ServerResponse, error: unknown): void {
  const failure = error instanceof RequestFailure ? error : undefined
  const headers: WireHeaders = {}
  if (failure?.status === 503) headers['retry-after'] = '1'
  if (failure?.code === 'not-here') headers[NOT_HERE] = '1'
  if (failure?.code === 'too-large') headers.connection = 'close'
  answer(response, failure?.status ?? 502, failure?.message ?? 'the request could not be carried', headers)
}

/** A short text. */
export function answer(
  response: ServerResponse,
  status: number,
  text: string,
  headers: WireHeaders = {},
): void {
  response.writeHead(status, { ...headers, 'content-type': 'text/plain; charset=utf-8' })
  response.end(`${text}\n`)
}

/** The whole body of a request. Of one that is too large, the rest is read and dropped, so that its client hears why. */
export async function readBody(request: IncomingMessage, most: number): Promise<Buffer> {
  return await new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= most) chunks.push(chunk)
      else reject(new RequestFailure('too-large', `a request has at most ${most} bytes`))
    })
    request.on('end', () => resolve(Buffer.concat(chunks)))
    request.on('error', reject)
    request.on('close', () => reject(new Error('the client has gone')))
  })
}
