/** Real servers of Debian's packages, on free loopback ports, with all their files in a folder of their own. */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePort } from '../../../bindings-node/test/support/ports.ts'

export { startPostgres } from '../../../bindings-node/test/support/postgres.ts'

const run = promisify(execFile)
const START_LIMIT = 20_000
/** Debian keeps servers where not everybody's path leads. */
const SERVERS = `${process.env.PATH}:/usr/sbin:/sbin`

/** A server that was started. */
export interface Started extends AsyncDisposable {
  readonly folder: string
  readonly port: number
  /** Stops it for a while as if its machine hung. */
  freeze(): void
  thaw(): void
  /** Ends it. */
  kill(): Promise<void>
  /** Starts it again. */
  start(): Promise<void>
}

/** What a program has started, so that all of it ends with it, also what is only being started. */
export class Servers implements AsyncDisposable {
  readonly #started: Promise<AsyncDisposable>[] = []
  #over = false

  /** Starts one more. */
  async add<T extends AsyncDisposable>(start: () => Promise<T>): Promise<T> {
    if (this.#over) throw new Error('everything is being ended')
    const starting = start()
    this.#started.push(starting)
    return await starting
  }

  /** Ends what was started, the last one first. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true
    for (const starting of this.#started.splice(0).reverse()) {
      const server = await starting.catch(() => undefined)
      await server?.[Symbol.asyncDispose]()
    }
  }
}

/** nginx, which answers 404 for every name without a route. */
export async function startNginx(): Promise<Started> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-nginx-'))
  // Its workers run as somebody else when this is root.
  await chmod(folder, 0o755)
  await mkdir(join(folder, 'routes'))
  const port = await freePort()
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const paths = temp.map((what) => `  ${what}_temp_path temp-${what};`).join('\n')
  const config = `daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log;
events { worker_connections 512; }
http {
  access_log off;
  server_names_hash_bucket_size 128;
${paths}
  server { listen 127.0.0.1:${port} default_server; return 404; }
  include routes/*.conf;
}
`
  await writeFile(join(folder, 'nginx.conf'), config)
  const words = ['-p', folder, '-e', 'error.log', '-c', 'nginx.conf']
  return await started('nginx', words, { folder, port, log: 'error.log', stop: 'SIGTERM' }, async () => {
    const response = await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(1_000) })
    await response.body?.cancel()
    return response.status === 404
  })
}

/** PowerDNS with a zone, over SQLite. */
export async function startPowerDns(
  zone: string,
): Promise<Started & { readonly url: string; readonly apiKey: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-powerdns-'))
  const [port, api] = [await freePort(), await freePort()]
  const [apiKey, database] = ['a-key-for-tests', join(folder, 'zones.sqlite3')]
  await run('sqlite3', [database, `.read ${SCHEMA}`])
  const config = `launch=gsqlite3
gsqlite3-database=${database}
local-address=127.0.0.1
local-port=${port}
socket-dir=${folder}
webserver=yes
webserver-address=127.0.0.1
webserver-port=${api}
api=yes
api-key=${apiKey}
daemon=no
guardian=no
disable-syslog=yes
security-poll-suffix=
`
  await writeFile(join(folder, 'pdns.conf'), config)
  await run('pdnsutil', ['--config-dir', folder, 'create-zone', zone, `ns.${zone}`])
  const url = `http://127.0.0.1:${api}`
  const options = { folder, port: api, log: 'stderr', stop: 'SIGTERM' } as const
  const server = await started('pdns_server', [`--config-dir=${folder}`], options, async () => {
    const headers = { 'x-api-key': apiKey }
    const response = await fetch(`${url}/api/v1/servers/localhost`, {
      headers,
      signal: AbortSignal.timeout(1_000),
    })
    await response.body?.cancel()
    return response.ok
  })
  return Object.assign(server, { url, apiKey })
}

const SCHEMA = '/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql'

async function started(
  program: string,
  words: string[],
  { folder, port, log, stop }: { folder: string; port: number; log: string; stop: NodeJS.Signals },
  answers: () => Promise<boolean>,
): Promise<Started> {
  let child: ChildProcess | undefined
  const server: Started = {
    folder,
    port,
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    async start() {
      // It ends with this process, even when that is killed.
      const shell = `exec "$0" "$@" >>"${join(folder, 'stderr')}" 2>&1`
      const command = ['--pdeathsig=TERM', 'sh', '-c', shell, program, ...words]
      // In a group of its own: a Ctrl-C at the terminal is for this process to handle.
      const how = { stdio: 'ignore', env: { ...process.env, PATH: SERVERS }, detached: true } as const
      child = spawn('setpriv', command, how)
      const end = performance.now() + START_LIMIT
      while (!(await answers().catch(() => false))) {
        if (child.exitCode !== null || performance.now() > end) {
          const said = await Promise.all(
            [log, 'stderr'].map((name) => readFile(join(folder, name), 'utf8').catch(() => '')),
          )
          throw new Error(`${program} did not start: ${said.join('\n')}`)
        }
        await delay(20)
      }
    },
    async kill() {
      const ending = child
      child = undefined
      if (!ending || ending.exitCode !== null || ending.signalCode !== null) return
      const exited = once(ending, 'exit')
      ending.kill('SIGCONT')
      ending.kill(stop)
      await exited
    },
    async [Symbol.asyncDispose]() {
      await server.kill()
      await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
    },
  }
  try {
    await server.start()
  } catch (error) {
    await server[Symbol.asyncDispose]()
    throw error
  }
  return server
}
