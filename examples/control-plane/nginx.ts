/**
 * Routes in nginx: a file each, put into effect by a reload.
 *
 * One bad file makes every reload fail, and with it those of everybody else, while the old configs stay in effect: so
 * each file is tested on its own before it counts. And a reload returns before its workers follow; then, for a tenth of
 * a second and longer on a busy machine, the old workers accept connections beside the new ones, so that no answer of
 * the proxy proves that a route is gone. So a reload is over here when every old worker has stopped accepting.
 */

import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { NotDone } from 'tidegate'
import { isMeant, markOf, type ReverseProxy, type Route, type Target } from './route.ts'

/** Where an nginx is. */
export interface NginxOptions {
  /** Its prefix: `nginx.conf` is there, and includes `routes/*.conf`. */
  readonly folder: string
  readonly port: number
  /** Default: `nginx`, from the path. */
  readonly program?: string
}

const run = promisify(execFile)

/** The path at which every route says whose it is. */
const PROBE = '/.well-known/route'

/** How long a reload may take. Milliseconds. */
const RELOAD_LIMIT = 10_000
/** After which it is asked for again: the running nginx may have met a route that was just removed, and has kept what it had. */
const RELOAD_AGAIN = 2_000

/** Whether a worker still takes connections: it says in its title when it does not any more. */
async function accepts(worker: string): Promise<boolean> {
  try {
    const title = await readFile(`/proc/${worker}/cmdline`, 'utf8')
    return title !== '' && !title.includes('shutting down')
  } catch {
    return false
  }
}

/** Routes in nginx. */
export class Nginx implements ReverseProxy {
  readonly #folder: string
  readonly #port: number
  readonly #program: string
  #reload: Promise<void> | undefined
  #next: Promise<void> | undefined

  constructor({ folder, port, program = 'nginx' }: NginxOptions) {
    this.#folder = folder
    this.#port = port
    this.#program = program
  }

  async write(route: Route, signal: AbortSignal): Promise<void> {
    const drafts = join(this.#folder, 'drafts')
    await mkdir(drafts, { recursive: true })
    const draft = join(drafts, `${this.#nameOf(route)}.conf`)
    const alone = join(drafts, `${this.#nameOf(route)}.nginx`)
    try {
      await writeFile(draft, this.#server(route), { signal })
      await writeFile(alone, `events {} http { include ${draft}; } pid ${draft}.pid;\n`, { signal })
      await this.#nginx(['-t', '-c', alone], signal).catch((error) => {
        throw new NotDone(`nginx refuses the config: ${error.stderr ?? error.message}`, { cause: error })
      })
      await rename(draft, join(this.#folder, 'routes', `${this.#nameOf(route)}.conf`))
    } finally {
      for (const path of [draft, alone]) await rm(path, { force: true })
    }
  }

  async remove(target: Target): Promise<void> {
    for (const file of await this.#filesOf(target))
      await rm(join(this.#folder, 'routes', file), { force: true })
  }

  async has(target: Target): Promise<boolean> {
    return (await this.#filesOf(target)).length > 0
  }

  /** One at a time; all that come while one runs share the next. */
  async reload(): Promise<void> {
    if (this.#reload === undefined) {
      this.#reload = this.#reloadNow().finally(() => {
        this.#reload = undefined
      })
      return await this.#reload
    }
    this.#next ??= this.#reload
      .catch(() => {})
      .then(() => {
        this.#next = undefined
        return this.reload()
      })
    return await this.#next
  }

  async leads(target: Target, signal: AbortSignal): Promise<boolean> {
    return isMeant(await this.#ask(target.hostname, signal), target)
  }

  async #reloadNow(): Promise<void> {
    const limit = AbortSignal.timeout(RELOAD_LIMIT)
    await this.#reads(['-t', '-c', 'nginx.conf'], limit)
    const before = await this.#workers()
    await this.#reads(['-s', 'reload', '-c', 'nginx.conf'], limit)
    let again = performance.now() + RELOAD_AGAIN
    for (const worker of before) {
      while (await accepts(worker)) {
        limit.throwIfAborted()
        if (performance.now() > again) {
          await this.#reads(['-s', 'reload', '-c', 'nginx.conf'], limit)
          again = performance.now() + RELOAD_AGAIN
        }
        await delay(10)
      }
    }
  }

  /**
   * A call that reads all configs. It lists them before it opens them: one that another allocation has removed in between
   * makes it fail, before it had any effect.
   */
  async #reads(words: string[], signal: AbortSignal): Promise<void> {
    for (;;) {
      try {
        return await this.#nginx(words, signal)
      } catch (error) {
        const { stderr = '' } = error as { stderr?: string }
        if (!/open\(\) "[^"]*\/routes\/[^"]*" failed \(2:/.test(stderr)) throw error
      }
    }
  }

  /** The processes of its workers. */
  async #workers(): Promise<string[]> {
    const master = (await readFile(join(this.#folder, 'nginx.pid'), 'utf8')).trim()
    const children = await readFile(`/proc/${master}/task/${master}/children`, 'utf8')
    return children.split(' ').filter((worker) => worker !== '')
  }

  async #nginx(words: string[], signal: AbortSignal): Promise<void> {
    await run(this.#program, ['-p', this.#folder, '-e', 'error.log', ...words], {
      signal,
      env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` },
    })
  }

  /** What the proxy says about a name; a new connection each time, as old ones belong to the workers of before. */
  async #ask(host: string, signal: AbortSignal): Promise<string> {
    return await new Promise((resolve, reject) => {
      const headers = { host, connection: 'close' }
      const probe = request({
        host: '127.0.0.1',
        port: this.#port,
        path: PROBE,
        headers,
        signal,
        agent: false,
      })
      probe.on('error', reject)
      probe.on('response', (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk
        })
        response.on('end', () => resolve(response.statusCode === 200 ? text : ''))
        response.on('error', reject)
      })
      probe.end()
    })
  }

  #nameOf(route: Route): string {
    return encodeURIComponent(markOf(route))
  }

  async #filesOf(target: Target): Promise<string[]> {
    const files = await readdir(join(this.#folder, 'routes'))
    return files.filter((file) => isMeant(decodeURIComponent(file.replace(/\.conf$/, '')), target))
  }

  #server(route: Route): string {
    for (const word of [route.hostname, route.address, markOf(route)]) {
      if (!/^[\w.:/#%-]+$/.test(word)) throw new NotDone(`${JSON.stringify(word)} cannot stand in a config`)
    }
    return `server {
  listen 127.0.0.1:${this.#port};
  server_name ${route.hostname};
  location = ${PROBE} { default_type text/plain; return 200 "${markOf(route)}"; }
  location / {
    proxy_pass ${route.address};
    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $http_connection;
  }
}
`
  }
}
