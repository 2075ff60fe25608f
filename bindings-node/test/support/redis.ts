/** A real redis-server on a free loopback port, with its files in a folder of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from './ports.js'

const START_LIMIT = 10_000

async function answers(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    socket.on('data', (data) => resolve(data.toString().startsWith('+PONG')))
    socket.on('close', () => resolve(false))
    socket.on('error', () => socket.destroy())
    socket.on('data', () => socket.destroy())
  })
}

export class RedisServer implements AsyncDisposable {
  readonly port: number
  readonly #folder: string
  #process: ChildProcess | undefined

  private constructor(port: number, folder: string) {
    this.port = port
    this.#folder = folder
  }

  static async start(): Promise<RedisServer> {
    const folder = await mkdtemp(join(tmpdir(), 'tidegate-redis-'))
    const server = new RedisServer(await freePort(), folder)
    await server.run()
    return server
  }

  /** Starts it, again after {@link kill}; its data is gone then. */
  async run(): Promise<void> {
    const options = ['--bind', '127.0.0.1', '--port', `${this.port}`, '--dir', this.#folder]
    const memoryOnly = ['--save', '', '--appendonly', 'no']
    const child = spawn('redis-server', [...options, ...memoryOnly], { stdio: 'ignore' })
    this.#process = child
    const end = performance.now() + START_LIMIT
    while (!(await answers(this.port))) {
      if (child.exitCode !== null || performance.now() > end) throw new Error('redis-server did not start')
      await delay(10)
    }
  }

  /** Stops it for a while as if its machine hung: connections stay, nothing answers. */
  freeze(): void {
    this.#process?.kill('SIGSTOP')
  }

  thaw(): void {
    this.#process?.kill('SIGCONT')
  }

  /** Ends it as if its machine died. */
  async kill(): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    await rm(this.#folder, { recursive: true, force: true })
  }
}
