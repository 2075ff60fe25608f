/**
 * A real PostgreSQL on a free loopback port, with its files in a folder of its own.
 *
 * PostgreSQL refuses to run as root, so a test run by root starts it as `postgres` or `nobody`. It ends with the
 * process that started it, even when that is killed.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, readdirSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { freePort } from './ports.js'

const START_LIMIT = 30_000

/** How the server is set up. */
export interface PostgresOptions {
  /** More lines of its configuration (`{ fsync: 'off' }`); default: as shipped. */
  settings?: Record<string, string>
}

/** A server that was started. */
export interface PostgresServer extends AsyncDisposable {
  /** Where its first database is: `postgres://tidegate@127.0.0.1:port/postgres`. No password. */
  readonly url: string
  readonly port: number
  /** Makes an empty database; where it is. */
  createDatabase(): Promise<string>
  /** Stops it in order; connections are ended. */
  stop(): Promise<void>
  /** Ends it as if its machine died: nothing is flushed, and it recovers at the next start. */
  kill(): Promise<void>
  /** Starts it again on the same port, after {@link PostgresServer.stop} or {@link PostgresServer.kill}. */
  start(): Promise<void>
  /** Kills it and starts it again. */
  restart(): Promise<void>
}

/** Starts one; it takes a second or two, so share it between the tests of a file. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const user = unprivileged()
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-postgres-'))
  if (user !== undefined) chownSync(folder, user.uid, user.gid)
  const server = new Server(folder, user, options.settings ?? {})
  try {
    await server.initialise()
    await server.start()
  } catch (error) {
    await server[Symbol.asyncDispose]()
    throw error
  }
  return server
}

interface User {
  readonly uid: number
  readonly gid: number
}

class Server implements PostgresServer {
  readonly #folder: string
  readonly #user: User | undefined
  readonly #settings: Record<string, string>
  readonly #programs = programs()
  #port = 0
  #process: ChildProcess | undefined
  #databases = 0

  constructor(folder: string, user: User | undefined, settings: Record<string, string>) {
    this.#folder = folder
    this.#user = user
    this.#settings = settings
  }

  get port(): number {
    return this.#port
  }

  get url(): string {
    return this.#urlOf('postgres')
  }

  async initialise(): Promise<void> {
    const options = ['--username=tidegate', '--auth=trust', '--encoding=UTF8', '--no-locale', '--no-sync']
    const child = this.#spawn('initdb', [`--pgdata=${this.#data}`, ...options])
    const [code] = await once(child, 'exit')
    if (code !== 0) throw new Error(`initdb exited with ${code}: ${await this.#log()}`)
  }

  async createDatabase(): Promise<string> {
    this.#databases += 1
    const name = `test_${this.#databases}`
    await this.#query(`CREATE DATABASE ${name}`)
    return this.#urlOf(name)
  }

  async start(): Promise<void> {
    const end = performance.now() + START_LIMIT
    for (;;) {
      // A free port may be taken by the time it is used; the first one that works is kept.
      const port = this.#port === 0 ? await freePort() : this.#port
      const fixed = { listen_addresses: '127.0.0.1', port, unix_socket_directories: '' }
      const settings = Object.entries({ ...fixed, ...this.#settings }).flatMap(([k, v]) => [
        '-c',
        `${k}=${v}`,
      ])
      const child = this.#spawn('postgres', ['-D', this.#data, ...settings])
      this.#process = child
      while (child.exitCode === null && child.signalCode === null) {
        if (performance.now() > end) throw new Error(`postgres did not start: ${await this.#log()}`)
        try {
          await this.#query('SELECT 1', port)
          this.#port = port
          return
        } catch {
          await delay(20)
        }
      }
      if (performance.now() > end) throw new Error(`postgres did not start: ${await this.#log()}`)
      await delay(50)
    }
  }

  async stop(): Promise<void> {
    await this.#end('SIGINT')
  }

  async kill(): Promise<void> {
    await this.#end('SIGQUIT')
  }

  async restart(): Promise<void> {
    await this.kill()
    await this.start()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    // What it had started may still be writing when it has exited.
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
  }

  get #data(): string {
    return join(this.#folder, 'data')
  }

  #urlOf(database: string, port = this.#port): string {
    return `postgres://tidegate@127.0.0.1:${port}/${database}`
  }

  async #query(statement: string, port = this.#port): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#urlOf('postgres', port),
      connectionTimeoutMillis: 2_000,
    })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.query(statement)
    } finally {
      await client.end().catch(() => {})
    }
  }

  #spawn(program: string, rest: string[]): ChildProcess {
    const user = this.#user
    const privileges = user ? [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups'] : []
    const log = `exec "$0" "$@" >>"${join(this.#folder, 'log')}" 2>&1`
    const command = [...privileges, '--pdeathsig=QUIT', 'sh', '-c', log, join(this.#programs, program)]
    // A group of its own: a Ctrl-C at the terminal is for whoever has started it to handle.
    return spawn('setpriv', [...command, ...rest], { cwd: this.#folder, stdio: 'ignore', detached: true })
  }

  async #end(signal: 'SIGINT' | 'SIGQUIT'): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
  }

  async #log(): Promise<string> {
    return await readFile(join(this.#folder, 'log'), 'utf8').catch(() => 'no log')
  }
}

/** Who runs the server; nobody else than now unless that is root. */
function unprivileged(): User | undefined {
  if (process.getuid?.() !== 0) return undefined
  const number = (option: string, name: string) =>
    Number(execFileSync('id', [option, name], { stdio: ['ignore', 'pipe', 'ignore'] }))
  for (const name of ['postgres', 'nobody']) {
    try {
      return { uid: number('-u', name), gid: number('-g', name) }
    } catch {}
  }
  throw new Error('there is neither a user `postgres` nor `nobody` to run PostgreSQL as')
}

/** Debian keeps the programs of each version in a folder that is not in the path. */
function programs(): string {
  const root = '/usr/lib/postgresql'
  try {
    const [newest] = readdirSync(root).sort((a, b) => Number(b) - Number(a))
    if (newest !== undefined) return join(root, newest, 'bin')
  } catch {}
  try {
    return execFileSync('pg_config', ['--bindir'], { encoding: 'utf8' }).trim()
  } catch {
    throw new Error('PostgreSQL is missing; install it (Debian and Ubuntu: apt-get install postgresql)')
  }
}
