/**
 * The demo of hot restart: builds are deployed under load, good ones and broken ones, first by stopping the gateway and
 * starting it again, then by handing its socket over. `cargo xtask demo --scenario handoff` runs it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Load } from '../../bindings-node/test/handoff/load.ts'
import { until } from '../../bindings-node/test/until.ts'
import { optionsOf, whole } from '../options.ts'
import type { Broken, Build } from './build.ts'

const USAGE = `cargo xtask demo --scenario handoff [options]
  --deploys N   good builds to deploy on each side; a broken one comes before each (default 6)
  --json FILE   write the figures
  --quick       2 deploys, tidegate's side only: a smoke test
`

const values = optionsOf(USAGE, {
  deploys: { type: 'string' },
  json: { type: 'string' },
  quick: { type: 'boolean', default: false },
})
const deploys = whole(USAGE, 'deploys', values.deploys ?? (values.quick ? '2' : '6'), 1, 1_000)

/** How long a build may take to serve before whoever deploys it goes back to the one before. Milliseconds. */
const PATIENCE = 3_000
/** How long a build serves before the next is deployed. Milliseconds. */
const BETWEEN = 1_000

/** In the environment of every process that is started here, and of its successors. */
const MARK = 'TIDEGATE_DEMO'

interface Line {
  pid: number
  phase?: string
  port?: number
  replacedBy?: number
  failed?: string
}

type Side = 'without' | 'with'

interface Result {
  side: Side
  good: number
  broken: number
  answered: number
  failed: number
  /** By what was met. */
  failures: Record<string, number>
  /** The longest time between two answers, whoever got them. Milliseconds. */
  longestGap: number
  /** Deploys after which another build served than the one that should. */
  wrong: string[]
}

/** The processes of one side, and the build that they read when they start. */
class Deployment {
  readonly lines: Line[] = []
  readonly #dir = mkdtempSync(join(tmpdir(), 'tidegate-demo-'))
  readonly #script: string

  constructor(script: string) {
    this.#script = fileURLToPath(new URL(script, import.meta.url))
  }

  bring(build: Build): void {
    writeFileSync(this.#build, JSON.stringify(build))
  }

  get #build(): string {
    return join(this.#dir, 'build.json')
  }

  /** Starts a process; answers it. */
  start(port: number): ChildProcess {
    const child = spawn(process.execPath, ['--import', 'tsx', this.#script, this.#build, `${port}`], {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, [MARK]: this.#dir },
    })
    if (child.stdout) {
      createInterface({ input: child.stdout }).on('line', (line) => this.lines.push(JSON.parse(line) as Line))
    }
    return child
  }

  /** The first line from this place on for which that holds; none within the time. */
  async line(from: number, found: (line: Line) => unknown, limit = 20_000): Promise<Line | undefined> {
    const find = () => this.lines.slice(from).find(found)
    await until(() => find() !== undefined, 'the gateway', limit).catch(() => {})
    return find()
  }

  /** Everything that was started and is there: successors that have not said a word yet, too. */
  #processes(): number[] {
    const mark = `${MARK}=${this.#dir}`
    return readdirSync('/proc')
      .map(Number)
      .filter((pid) => {
        try {
          return pid > 0 && readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(mark)
        } catch {
          return false
        }
      })
  }

  /** Ends everything that was started, the successors included. */
  end(): void {
    // A successor that is being started promotes itself when its old process is killed: so until nothing is left.
    for (let tries = 0; tries < 200; tries += 1) {
      const left = this.#processes()
      if (left.length === 0) break
      for (const pid of left) {
        try {
          process.kill(pid, 'SIGKILL')
        } catch {
          // It has ended.
        }
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
    }
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

/** What runs now. Successors lead sessions of their own: a Ctrl-C at the terminal is for this process to pass on. */
let current: Deployment | undefined
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    current?.end()
    process.exit(130)
  })
}

/** Deploys by stopping and starting; when the new build does not serve, the one before is started again. */
async function restart(
  deployment: Deployment,
  running: ChildProcess,
  port: number,
  build: Build,
  before: Build,
) {
  const over = new Promise((resolve) => running.once('exit', resolve))
  running.kill('SIGTERM')
  await over
  for (const next of [build, before]) {
    deployment.bring(next)
    const from = deployment.lines.length
    const child = deployment.start(port)
    const ended = new Promise<undefined>((resolve) => child.once('exit', () => resolve(undefined)))
    const line = deployment.line(from, ({ phase, pid }) => phase === 'serving' && pid === child.pid, PATIENCE)
    if (await Promise.race([line, ended])) return child
    child.kill('SIGKILL')
    await ended
  }
  throw new Error('neither the new build nor the one before could be started')
}

/** Deploys by handing over; answers the process that serves then. */
async function upgrade(deployment: Deployment, running: number, build: Build): Promise<number> {
  deployment.bring(build)
  const from = deployment.lines.length
  process.kill(running, 'SIGUSR2')
  const end = await deployment.line(
    from,
    ({ pid, replacedBy, failed }) => pid === running && (replacedBy ?? failed),
  )
  if (end?.replacedBy === undefined) return running
  await deployment.line(from, ({ pid, phase }) => pid === running && phase === 'stopped')
  return end.replacedBy
}

async function run(side: Side, say: (text: string) => void): Promise<Result> {
  const deployment = new Deployment(side === 'with' ? 'gateway.ts' : 'plain.ts')
  current = deployment
  const result: Result = {
    side,
    good: 0,
    broken: 0,
    answered: 0,
    failed: 0,
    failures: {},
    longestGap: 0,
    wrong: [],
  }
  try {
    let serving: Build = { version: 1 }
    deployment.bring(serving)
    let child = deployment.start(0)
    let pid = child.pid as number
    const port = (await deployment.line(0, ({ phase }) => phase === 'serving'))?.port
    if (port === undefined) throw new Error('the first build does not serve')
    const load = new Load(port)
    for (let deploy = 1; deploy <= deploys; deploy += 1) {
      const broken: Broken = deploy % 2 === 1 ? 'bad config' : 'hangs'
      for (const build of [{ version: deploy * 10, broken }, { version: deploy * 10 + 1 }] as Build[]) {
        // So long the gateway serves between two deploys.
        await delay(BETWEEN)
        const before = load.failures.length
        if (side === 'with') pid = await upgrade(deployment, pid, build)
        else child = await restart(deployment, child, port, build, serving)
        if (!build.broken) serving = build
        result[build.broken ? 'broken' : 'good'] += 1
        const text = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } }).then(
          (answer) => answer.text(),
        )
        if (text !== `${serving.version}`) result.wrong.push(`${text} instead of ${serving.version}`)
        say(
          `${build.broken ?? 'good'.padEnd(10)} build ${build.version}: ${load.failures.length - before} requests failed`,
        )
      }
    }
    const { answered, failures } = await load.stop()
    const counts: Record<string, number> = {}
    for (const failure of failures) counts[failure] = (counts[failure] ?? 0) + 1
    return { ...result, answered, failed: failures.length, failures: counts, longestGap: load.longestGap }
  } finally {
    deployment.end()
  }
}

/** The figures side by side. */
function table(results: Result[]): string {
  const row = (name: string, value: (result: Result) => string | number) =>
    name.padEnd(34) + results.map((result) => `${value(result)}`.padStart(18)).join('')
  return [
    row('', ({ side }) => `${side} tidegate`),
    row('good builds, broken builds', ({ good, broken }) => `${good}, ${broken}`),
    row('requests answered', ({ answered }) => answered),
    row('requests failed', ({ failed }) => failed),
    row('longest time without an answer, ms', ({ longestGap }) => Math.round(longestGap)),
    row('deploys with the wrong build after', ({ wrong }) => wrong.length),
  ].join('\n')
}

try {
  const results: Result[] = []
  for (const side of values.quick ? (['with'] as const) : (['without', 'with'] as const)) {
    process.stdout.write(`\n${side} tidegate: ${deploys} good and ${deploys} broken builds under load\n`)
    results.push(await run(side, (text) => process.stdout.write(`  ${text}\n`)))
  }
  const last = results.at(-1) as Result
  const holds = last.failed === 0 && last.wrong.length === 0 && last.answered > 0
  const verdict = holds
    ? 'holds: no request failed, every good build took over and no broken one did'
    : `does NOT hold: ${last.failed} requests failed (${JSON.stringify(last.failures)}), ${last.wrong.join(', ')}`
  process.stdout.write(`\n${table(results)}\n\n${verdict}\n`)
  if (values.json !== undefined) {
    writeFileSync(values.json, `${JSON.stringify({ deploys, results, holds }, null, 2)}\n`)
  }
  process.exit(holds ? 0 : 1)
} catch (error) {
  process.stderr.write(`\nthe demo failed: ${(error as Error).message}\n`)
  process.exit(1)
}
