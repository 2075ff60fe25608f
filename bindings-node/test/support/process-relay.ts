/** A relay in a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export class ProcessRelay {
  readonly #child: ChildProcess
  readonly port: number

  private constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.port = port
  }

  static async start(options: { machine: string; redis: number; prefix: string }): Promise<ProcessRelay> {
    const script = fileURLToPath(new URL('relay-main.ts', import.meta.url))
    const child = spawn(process.execPath, ['--import', 'tsx', script, JSON.stringify(options)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    if (!child.stdout) throw new Error('no output')
    // The one line that it writes: the port of its public door, once it listens.
    const [line] = await Promise.race([
      once(createInterface(child.stdout), 'line'),
      once(child, 'exit').then(([code]) => Promise.reject(new Error(`the relay exited with ${code}`))),
    ])
    return new ProcessRelay(child, Number(line))
  }

  url(path: string): string {
    return `http://127.0.0.1:${this.port}${path}`
  }

  dialUrl(host: string, more = ''): string {
    return `ws://127.0.0.1:${this.port}/tunnel?hostId=${host}&token=secret-of-${host}${more}`
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<{ code: number | null; took: number }> {
    const { exitCode, signalCode } = this.#child
    if (exitCode !== null || signalCode !== null) return { code: exitCode, took: 0 }
    const begin = performance.now()
    const exited = once(this.#child, 'exit')
    this.#child.kill(signal)
    const [code] = await exited
    return { code, took: performance.now() - begin }
  }
}
