/** Servers, honest and hostile, for the tests of the tunnel client. */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { type WebSocket, WebSocketServer } from 'ws'
import { TunnelClient, type TunnelClientOptions } from '../../host/tunnel-client.js'

/** A server that listens until the test is over. */
export interface TestServer {
  readonly url: string
  /** When each dial came in, by the server's count of upgrade requests. */
  readonly dials: { at: number; request: IncomingMessage }[]
  readonly sockets: WebSocket[]
  readonly http: Server
}

/** A WebSocket server; `serve` is called for each connection. */
export async function serve(
  t: TestContext,
  connected: (socket: WebSocket, request: IncomingMessage, count: number) => void = () => {},
  verify?: (request: IncomingMessage, count: number) => { status: number; headers?: string } | undefined,
): Promise<TestServer> {
  const http = createServer()
  const dials: TestServer['dials'] = []
  const sockets: WebSocket[] = []
  const wss = new WebSocketServer({ noServer: true, maxPayload: 1 << 24 })
  http.on('upgrade', (request, socket, head) => {
    dials.push({ at: performance.now(), request })
    const refused = verify?.(request, dials.length)
    if (refused !== undefined) {
      const headers = refused.headers ?? ''
      socket.end(`HTTP/1.1 ${refused.status} No\r\n${headers}Content-Length: 0\r\nConnection: close\r\n\r\n`)
      return
    }
    wss.handleUpgrade(request, socket, head, (webSocket) => {
      sockets.push(webSocket)
      webSocket.on('error', () => {})
      connected(webSocket, request, dials.length)
    })
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.terminate()
    http.closeAllConnections()
    http.close()
  })
  return { url: `ws://127.0.0.1:${(http.address() as AddressInfo).port}/tunnel`, dials, sockets, http }
}

/** A TCP server that upgrades by hand, and then does with the bare socket what the test says. */
export async function raw(
  t: TestContext,
  connected: (socket: Socket, count: number) => void,
  upgrade = true,
): Promise<{ url: string; connections: Socket[] }> {
  const connections: Socket[] = []
  const server = createTcpServer((socket) => {
    connections.push(socket)
    const count = connections.length
    socket.on('error', () => {})
    if (!upgrade) {
      connected(socket, count)
      return
    }
    socket.once('data', (data) => {
      const key = /sec-websocket-key: (.+)\r\n/i.exec(data.toString())?.[1] ?? ''
      const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      )
      connected(socket, count)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of connections) socket.destroy()
    server.close()
  })
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, connections }
}

/** A close frame of a server. */
export function closeFrame(code: number): Buffer {
  return Buffer.from([0x88, 2, code >> 8, code & 0xff])
}

/** Quick delays, so that a test sees many attempts in little time. */
export const QUICK: Omit<TunnelClientOptions, 'url' | 'endpoints'> = {
  seed: 7,
  profile: 'relay',
  backoff: { initial: 20, cap: 200, floor: 20 },
  quietTime: 50,
  stableAfter: 2_000,
  slowDelay: 300,
}

/** A client that is stopped when the test is over, with all that it told. */
export function client(
  t: TestContext,
  options: TunnelClientOptions,
): { tunnel: TunnelClient; told: { name: string; event: never }[]; texts: string[] } {
  const tunnel = new TunnelClient({ ...QUICK, ...options })
  const told: { name: string; event: never }[] = []
  const texts: string[] = []
  for (const name of ['state', 'dial', 'open', 'notice', 'close', 'failure', 'dropped', 'stopped'] as const) {
    tunnel.on(name, (event: unknown) => told.push({ name, event: event as never }))
  }
  tunnel.on('message', ({ data }) => texts.push(String(data)))
  t.after(() => tunnel[Symbol.asyncDispose]())
  return { tunnel, told, texts }
}

/** The first event of a name. */
export function first<T>(told: { name: string; event: unknown }[], name: string): T {
  const found = told.find((one) => one.name === name)
  if (found === undefined) throw new Error(`no ${name} was told`)
  return found.event as T
}

/** How many dials were made in `time`, from now on. */
export async function dialsIn(time: number, server: { dials: object[] }): Promise<number> {
  const before = server.dials.length
  await new Promise((resolve) => setTimeout(resolve, time))
  return server.dials.length - before
}
