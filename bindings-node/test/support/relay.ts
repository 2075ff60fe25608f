/** Relays and hosts as real servers and sockets, for tests. */
import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { WebSocket } from 'ws'
import type { Directory } from '../../host/directory.js'
import { Lifecycle, type Outcome } from '../../host/lifecycle.js'
import { TunnelServer, type TunnelServerOptions } from '../../host/tunnel-server.js'

const DEADLINE = 10_000

/** Waits until the condition holds; fails when it does not within the deadline. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what = `${condition}`,
): Promise<void> {
  const end = performance.now() + DEADLINE
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`still not so after ${DEADLINE} ms: ${what}`)
    await delay(2)
  }
}

export type RelayOptions = Partial<TunnelServerOptions> & {
  directory: Directory
  machine: string
  incarnation?: number
}

let lives = 1_000

/** A relay with a public door and a peer door, on loopback. */
export class TestRelay implements AsyncDisposable {
  readonly machine: string
  readonly tunnels: TunnelServer
  readonly clients: Server
  readonly peers: Server
  readonly departures: string[] = []
  readonly failures: unknown[] = []
  readonly life = new Lifecycle({
    signals: false,
    exit: false,
    lameDuck: 50,
    grace: 8_000,
    killBudget: 20_000,
  })

  private constructor(tunnels: TunnelServer, clients: Server, peers: Server, machine: string) {
    this.tunnels = tunnels
    this.clients = clients
    this.peers = peers
    this.machine = machine
    tunnels.on('departed', ({ departure }) => this.departures.push(departure))
    tunnels.on('failed', (failure) => this.failures.push(failure))
    this.life.http(clients).http(peers, { door: 'peer' })
  }

  static async start({ machine, incarnation, ...options }: RelayOptions): Promise<TestRelay> {
    const clients = createServer()
    const peers = createServer()
    // The peer door's port is needed for the address; what it serves comes a moment later.
    const peerPort = await listen(peers)
    const tunnels = new TunnelServer({
      owner: { machine, incarnation: incarnation ?? ++lives },
      address: `http://127.0.0.1:${peerPort}`,
      authorize: ({ url }) => {
        const login = new URL(url ?? '', 'http://relay').searchParams
        const host = login.get('hostId')
        return host !== null && login.get('token') === `secret-of-${host}` ? { host } : undefined
      },
      server: [clients, peers],
      ...options,
    })
    for (const server of [clients, peers]) server.on('request', tunnels.handleRequest)
    const relay = new TestRelay(tunnels, clients, peers, machine)
    try {
      await tunnels.start()
    } catch (error) {
      peers.close()
      throw error
    }
    await listen(clients)
    return relay
  }

  get port(): number {
    return (this.clients.address() as AddressInfo).port
  }

  dialUrl(host: string, more = ''): string {
    return `ws://127.0.0.1:${this.port}/tunnel?hostId=${encodeURIComponent(host)}&token=${encodeURIComponent(`secret-of-${host}`)}${more}`
  }

  url(path: string): string {
    return `http://127.0.0.1:${this.port}${path}`
  }

  /** Deploys: the lifecycle drains all of it. */
  async drain({ reconnectRate = 0 }: { reconnectRate?: number } = {}): Promise<Outcome> {
    this.life.tunnels(this.tunnels, { reconnectRate })
    this.life.start()
    return await this.life.stop('restart')
  }

  /** As if the process was killed: sockets are cut, no row is cleared. */
  async kill(): Promise<void> {
    for (const server of [this.clients, this.peers]) {
      server.close()
      server.closeAllConnections()
    }
    this.tunnels.refuseNew()
    this.tunnels.abort(1001, { intent: 'decommission', reason: 'killed', code: 1001 })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tunnels.close()
    for (const server of [this.clients, this.peers]) {
      server.close()
      server.closeAllConnections()
    }
  }
}

async function listen(server: Server): Promise<number> {
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 })
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

export interface HostRequestFrame {
  type: string
  id: string
  method: string
  path: string
  headers: Record<string, string>
  body?: string
  encoding?: string
}

export interface HostAnswer {
  status?: number
  headers?: Record<string, string | string[]>
  body?: string
  encoding?: string
}

export interface HostOptions {
  /** `plain` closes when it reads the notice; `finish` moves first, and closes when its work is done. */
  drain?: 'plain' | 'finish' | 'ignore' | undefined
  /** Where to go when told; default: whatever `relays` gives. */
  relays?: () => Dialed[]
  answer?: (request: HostRequestFrame) => HostAnswer | undefined | Promise<HostAnswer | undefined>
  onFrame?: (frame: Record<string, unknown>, socket: WebSocket) => void
  /** Added to the query of the dial. */
  more?: string
}

/** Where a host can dial in. */
export interface Dialed {
  dialUrl(host: string, more?: string): string
}

/** One connection of a host. */
class Connection {
  open = 0
  /** Whether the relay has accepted it: it was sent anything. */
  accepted = false
  constructor(readonly socket: WebSocket) {}
}

/** A host that speaks the wire itself. */
export class TestHost implements Disposable {
  readonly name: string
  readonly codes: number[] = []
  readonly notices: Record<string, unknown>[] = []
  readonly seen: HostRequestFrame[] = []
  /** How often it connected. */
  connects = 0
  current: Connection | undefined
  readonly #options: HostOptions
  readonly #sockets = new Set<WebSocket>()
  #stopped = false

  constructor(name: string, options: HostOptions = {}) {
    this.name = name
    this.#options = options
  }

  /** Dials, and waits until the relay routes to it. */
  async connect(relay: TestRelay): Promise<void> {
    await this.dial(relay)
    await until(() => relay.tunnels.has(this.name), `${this.name} is routable`)
  }

  async dial(relay: Dialed): Promise<Connection> {
    const more = this.#options.drain === 'finish' ? '&drain=finish' : ''
    const socket = new WebSocket(relay.dialUrl(this.name, more + (this.#options.more ?? '')))
    const connection = new Connection(socket)
    this.#sockets.add(socket)
    socket.on('message', (data) => void this.#message(connection, JSON.parse(String(data))))
    socket.on('error', () => {})
    socket.on('close', (code) => {
      this.codes.push(code)
      this.#sockets.delete(socket)
      const isCurrent = this.current === connection
      if (isCurrent) this.current = undefined
      if (isCurrent && this.#options.relays && !this.#stopped) void this.#reconnect()
    })
    await once(socket, 'open')
    this.connects += 1
    this.current = connection
    return connection
  }

  async #reconnect(): Promise<void> {
    while (!this.#stopped) {
      for (const relay of this.#options.relays?.() ?? []) {
        try {
          await this.dial(relay)
          return
        } catch {
          await delay(5)
        }
      }
      await delay(10)
    }
  }

  async #message(connection: Connection, frame: Record<string, unknown>): Promise<void> {
    const { socket } = connection
    connection.accepted = true
    this.#options.onFrame?.(frame, socket)
    if (frame.type === 'ping') socket.send('{"type":"pong"}')
    if (frame.type === 'drain') await this.#drain(connection, frame)
    if (frame.type !== 'http') return
    const request = frame as unknown as HostRequestFrame
    this.seen.push(request)
    connection.open += 1
    const answer = await (this.#options.answer ?? echo)(request)
    connection.open -= 1
    if (answer && socket.readyState === socket.OPEN) {
      socket.send(
        JSON.stringify({
          type: 'http:response',
          id: request.id,
          status: 200,
          headers: {},
          body: '',
          ...answer,
        }),
      )
    }
  }

  async #drain(connection: Connection, notice: Record<string, unknown>): Promise<void> {
    this.notices.push(notice)
    const { drain = 'plain' } = this.#options
    if (drain === 'plain') connection.socket.close(1000)
    if (drain !== 'finish') return
    const within = typeof notice.within === 'number' ? notice.within : 0
    await delay(Math.random() * within)
    this.current = undefined
    await this.#reconnect()
    // Only once it is accepted elsewhere; said first, so that nothing new comes while this one is being closed.
    await until(() => this.#stopped || (this.current as Connection | undefined)?.accepted === true)
    if (connection.socket.readyState === WebSocket.OPEN) connection.socket.send('{"type":"drain"}')
  }

  [Symbol.dispose](): void {
    this.#stopped = true
    for (const socket of this.#sockets) socket.terminate()
  }
}

function echo({ method, path, body = '' }: HostRequestFrame): HostAnswer {
  return { body: `${method} ${path} ${body}` }
}

export interface Answered {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
  text: string
}

/** One request, with a connection of its own. */
export async function ask(
  url: string,
  {
    method = 'GET',
    body,
    headers = {},
  }: { method?: string; body?: string | Buffer; headers?: Record<string, string> } = {},
): Promise<Answered> {
  return await new Promise((resolve, reject) => {
    const request = httpRequest(url, { method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const body = Buffer.concat(chunks)
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body, text: body.toString() })
      })
    })
    request.on('error', reject)
    request.end(body)
  })
}
