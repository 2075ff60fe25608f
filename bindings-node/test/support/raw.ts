/** Clients that see exactly what a server puts on the wire, and waiting without guessed sleeps. */
import { once } from 'node:events'
import { connect, type Server, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'

const DEADLINE = 5_000

/** Waits until the condition holds; fails with its text when it does not within the deadline. */
export async function until(condition: () => boolean, deadline = DEADLINE): Promise<void> {
  const end = performance.now() + deadline
  while (!condition()) {
    if (performance.now() > end) throw new Error(`still not so after ${deadline} ms: ${condition}`)
    await delay(2)
  }
}

export async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return portOf(server)
}

export function portOf(server: Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening on a port')
  return address.port
}

/** A connection that records all it receives and how it ended. */
export class RawClient {
  received = ''
  ended = false
  closed = false
  error: NodeJS.ErrnoException | undefined
  readonly socket: Socket

  constructor(socket: Socket) {
    this.socket = socket
    socket.setNoDelay()
    socket.on('data', (chunk) => {
      this.received += chunk.toString('latin1')
    })
    socket.on('end', () => {
      this.ended = true
    })
    socket.on('close', () => {
      this.closed = true
    })
    socket.on('error', (error) => {
      this.error = error
    })
  }

  static async connect(port: number, options: { allowHalfOpen?: boolean } = {}): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', ...options })
    await once(socket, 'connect')
    return new RawClient(socket)
  }

  static async connectTls(port: number): Promise<RawClient> {
    const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    return new RawClient(socket)
  }

  write(data: string | Buffer): void {
    this.socket.write(data)
  }

  /** Status lines received so far. */
  get responses(): number {
    return this.received.match(/HTTP\/1\.1 \d\d\d/g)?.length ?? 0
  }

  /** The `Connection` header of each response received so far. */
  get connectionHeaders(): string[] {
    return [...this.received.matchAll(/^connection: (.*?)\r$/gim)].map((match) => match[1] ?? '')
  }

  async answered(count = 1): Promise<void> {
    await until(() => this.responses >= count)
  }
}

export function get(path = '/', headers = ''): string {
  return `GET ${path} HTTP/1.1\r\nHost: test\r\n${headers}\r\n`
}

export function post(body: string, path = '/'): string {
  return `POST ${path} HTTP/1.1\r\nHost: test\r\nContent-Length: ${body.length}\r\n\r\n${body}`
}
