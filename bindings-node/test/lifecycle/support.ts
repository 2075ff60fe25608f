import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocket, WebSocketServer } from 'ws'
import { Lifecycle, type LifecycleOptions, type Phase } from '../../host/index.js'

/** Waits for a condition, never for a guessed time. */
export async function until(condition: () => unknown, what: string, limit = 5_000): Promise<void> {
  const end = performance.now() + limit
  while (!condition()) {
    if (performance.now() > end) assert.fail(`waited ${limit} ms for: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** A lifecycle that is quick and listens to no signals of the test runner. */
/** The grace period of {@link quick}: what a stop that has nothing to wait for never takes. */
export const QUICK_GRACE = 4_000

export function quick(options: LifecycleOptions = {}): Lifecycle {
  return new Lifecycle({
    signals: false,
    lameDuck: 0,
    grace: QUICK_GRACE,
    killBudget: 15_000,
    minIdleAge: 20,
    flush: 200,
    ...options,
  })
}

export async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

export interface Answer {
  status: number
  headers: IncomingMessage['headers']
  body: string
}

export function get(port: number, path = '/', agent?: import('node:http').Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = agent ? { agent } : {}
    const sent = request({ host: '127.0.0.1', port, path, ...options }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (part) => {
        body += part
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }))
      response.on('error', reject)
    })
    sent.on('error', reject)
    sent.end()
  })
}

/** A server whose requests wait until they are released. */
export async function slowServer() {
  const waiting: (() => void)[] = []
  const server = createServer((incoming, response) => {
    if (incoming.url === '/slow') waiting.push(() => response.end('slow'))
    else response.end('ok')
  })
  const port = await listen(server)
  return { server, port, waiting, release: () => waiting.splice(0).forEach((answer) => void answer()) }
}

export interface Client {
  socket: WebSocket
  /** When a close or a message came, in milliseconds of `performance.now()`. */
  leftAt: number | undefined
  messages: string[]
  messageAt: number | undefined
  closed: Promise<{ code: number; reason: string }>
  code: number | undefined
}

export function client(port: number, options: { path?: string } = {}): Promise<Client> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${options.path ?? '/'}`)
  const made: Client = {
    socket,
    leftAt: undefined,
    messages: [],
    messageAt: undefined,
    code: undefined,
    closed: new Promise((resolve) => {
      socket.on('close', (code, reason) => {
        made.leftAt = performance.now()
        made.code = code
        resolve({ code, reason: reason.toString() })
      })
    }),
  }
  socket.on('message', (data) => {
    made.messageAt ??= performance.now()
    made.messages.push(data.toString())
  })
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.once('open', () => {
      socket.off('error', reject)
      socket.on('error', () => {})
      resolve(made)
    })
  })
}

export async function clients(port: number, count: number): Promise<Client[]> {
  const made: Client[] = []
  while (made.length < count) {
    const batch = Math.min(100, count - made.length)
    made.push(...(await Promise.all(Array.from({ length: batch }, () => client(port)))))
  }
  return made
}

/** An HTTP server with a WebSocket server on it. */
export async function socketServer() {
  const server = createServer((_request, response) => void response.end('ok'))
  const sockets = new WebSocketServer({ server })
  const port = await listen(server)
  return { server, sockets, port }
}

export function phasesOf(life: Lifecycle): Phase[] {
  const phases: Phase[] = []
  life.on('phase', ({ phase }) => phases.push(phase))
  return phases
}

/** The most events within any window of this length. */
export function densest(times: number[], window: number): number {
  const sorted = [...times].sort((a, b) => a - b)
  let most = 0
  let first = 0
  for (let last = 0; last < sorted.length; last += 1) {
    while ((sorted[last] as number) - (sorted[first] as number) >= window) first += 1
    most = Math.max(most, last - first + 1)
  }
  return most
}
