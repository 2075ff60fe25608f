/** A chain of generations for the tests: launched, replaced, watched through `/proc`, and ended by id. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { Intent } from '../../host/index.js'
import { until } from '../until.js'
import type { Plan } from './program.js'

/** A line of a generation. */
export interface Line {
  pid: number
  /** When it was read, by the wall clock. Milliseconds. */
  read: number
  /** Its listeners are named, and signals are heard. */
  prepared?: boolean
  phase?: string
  intent?: Intent
  ports?: Record<string, number>
  /** When *ready* was written, by the wall clock. Milliseconds. */
  ready?: number
  upgraded?: { pid: number; duration: number }
  failed?: { code: string; message: string; refused: boolean }
  thrown?: { code: string; message: string }
  outcome?: { intent: Intent; exitCode: number; duration: number; forced: number }
  lost?: { pid: number }
  undone?: string
  released?: Intent
  state?: { bytes: number; version: number; sum: number }
  lease?: string
  hook?: string
  error?: string
  stray?: number
}

const here = fileURLToPath(new URL('.', import.meta.url))
/** Beside the package's own dependencies, and where the native part is found from. */
const bundles = join(here, '../../node_modules/.handoff')

/** One JavaScript file out of a TypeScript program: it starts several times as fast as through a loader. */
export async function bundle(script: string): Promise<string> {
  return bundleOf(readFileSync(join(here, `${script}.ts`), 'utf8'), script)
}

/** The same out of source text, for which `tidegate` is what is beside it here. */
export async function bundleOf(contents: string, name: string): Promise<string> {
  mkdirSync(bundles, { recursive: true })
  const outfile = join(bundles, `${name}-${process.pid}.mjs`)
  await build({
    stdin: { contents, resolveDir: here, loader: 'ts' },
    alias: { tidegate: join(here, '../../host/index.ts') },
    outfile,
    bundle: true,
    external: ['ws', 'ioredis', 'redis'],
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'error',
  })
  process.once('exit', () => rmSync(outfile, { force: true }))
  return outfile
}

const launched = new Set<Generations>()

/** Ends what tests have left. */
export function endAll(): void {
  for (const generations of launched) generations.end()
}

/** How the first generation is started. */
interface Launch {
  /** The command that starts it. */
  through?: string[]
  env?: NodeJS.ProcessEnv
  args?: string[]
  /** Descriptors that it is given, from 3 on. */
  fds?: number[]
}

/** The generations of one gateway. */
export class Generations {
  readonly lines: Line[] = []
  readonly dir = mkdtempSync(join(tmpdir(), 'handoff-'))
  /** What successors are started as: Node, by another name. */
  readonly program = join(this.dir, 'no-such-program')
  readonly first: ChildProcess
  readonly exited: Promise<{ code: number | null; signal: string | null }>
  errors = ''
  #plan: Plan

  constructor(script: string, plan: Plan, launch: Launch = {}) {
    const { through = [], env = {}, args: given = [], fds = [] } = launch
    this.withProgram()
    this.#plan = plan
    this.plan({ handoff: { command: this.program, args: [script], ...plan.handoff } })
    launched.add(this)
    const [command = process.execPath, ...args] = [...through, process.execPath, script, ...given]
    this.first = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe', ...fds],
      env: { ...process.env, ...env, HANDOFF_DIR: this.dir },
    })
    this.exited = new Promise((resolve) => {
      this.first.once('exit', (code, signal) => resolve({ code, signal }))
    })
    if (this.first.stdout) {
      createInterface({ input: this.first.stdout }).on('line', (line) => {
        this.lines.push({ ...(JSON.parse(line) as Line), read: performance.timeOrigin + performance.now() })
      })
    }
    this.first.stderr?.setEncoding('utf8').on('data', (text) => {
      this.errors += text
    })
  }

  /** Changes the plan for generations that start from now on. */
  plan(changes: Plan): void {
    this.#plan = { ...this.#plan, ...changes }
    writeFileSync(join(this.dir, 'plan.json'), JSON.stringify(this.#plan))
  }

  /** The first line at or after a place for which this holds. */
  async line(found: (line: Line) => unknown, what: string, from = 0, limit = 20_000): Promise<Line> {
    const find = () => this.lines.slice(from).find(found)
    await until(() => find() !== undefined, what, limit).catch((error: Error) => {
      assert.fail(
        `${error.message}; it said ${JSON.stringify(this.lines.slice(-12), null, 1)}\n${this.errors.slice(-2_000)}`,
      )
    })
    return find() as Line
  }

  /** The generation that serves: the last one that said so. */
  get pid(): number {
    return this.lines.findLast(({ phase }) => phase === 'serving')?.pid ?? 0
  }

  async serving(pid?: number): Promise<Line> {
    return this.line(
      (line) => line.phase === 'serving' && (pid === undefined || line.pid === pid),
      `${pid ?? 'it'} serves`,
    )
  }

  /** Asks the generation that serves for an upgrade, and answers what came of it. */
  async upgrade(): Promise<Line> {
    const { pid } = this
    const from = this.lines.length
    process.kill(pid, 'SIGUSR2')
    return this.line(
      (line) => line.pid === pid && (line.upgraded ?? line.failed),
      `the end of an upgrade of ${pid}`,
      from,
    )
  }

  /** An upgrade that succeeds, until the old generation is gone. */
  async replaced(): Promise<{ pid: number; old: number; duration: number }> {
    const old = this.pid
    const from = this.lines.length
    const { upgraded, failed } = await this.upgrade()
    assert.ok(upgraded, `${failed?.message}\n${this.errors.slice(-2_000)}`)
    await this.line(
      (line) => line.pid === upgraded.pid && line.phase === 'serving',
      `${upgraded.pid} serves`,
      from,
    )
    await until(() => !exists(old), `${old} to be gone`, 20_000)
    return { ...upgraded, old }
  }

  /** An upgrade that fails, until everything is as before. */
  async failed(): Promise<NonNullable<Line['failed']>> {
    const { upgraded, failed } = await this.upgrade()
    assert.ok(failed, `it was replaced by ${upgraded?.pid}`)
    return failed
  }

  /** Takes away what successors are started as. */
  withoutProgram(): void {
    rmSync(this.program)
  }

  /** Puts it back. */
  withProgram(): void {
    rmSync(this.program, { force: true })
    symlinkSync(process.execPath, this.program)
  }

  /** The processes of this chain that are there now, zombies included. */
  processes(): number[] {
    const mark = `HANDOFF_DIR=${this.dir}`
    return pids().filter((pid) => {
      const [state, parent] = statusOf(pid)
      // A zombie has no environment any more.
      if (state === 'Z') return this.lines.some((line) => line.pid === parent)
      try {
        return pid !== process.pid && readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(mark)
      } catch {
        return false
      }
    })
  }

  /** Waits until nothing is left but the generation that serves: no zombie, no stray. */
  async alone(): Promise<void> {
    const { pid } = this
    const left = () => this.processes().filter((process) => process !== pid)
    await until(() => left().length === 0, 'nothing to be left beside the generation that serves').catch(
      (error: Error) => assert.fail(`${error.message}: ${left()}`),
    )
  }

  end(): void {
    launched.delete(this)
    for (const pid of this.processes()) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It has ended meanwhile.
      }
    }
    rmSync(this.dir, { recursive: true, force: true })
  }
}

function pids(): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
}

/** Whether there is such a process. A zombie counts, unless it is for the first process of the machine to reap. */
export function exists(pid: number): boolean {
  const [state, parent] = statusOf(pid)
  if (state !== 'Z' || parent !== 1) return state !== undefined
  // As long as one of its threads lives, what it has open is open.
  try {
    return readdirSync(`/proc/${pid}/task`).length > 1
  } catch {
    return false
  }
}

/** The state of a process and its parent. */
function statusOf(pid: number): [state?: string, parent?: number] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return [state as string, Number(parent)]
  } catch {
    return []
  }
}

/** What a process has open, established connections left out: those come and go with its clients. */
export function openFiles(pid: number): string[] {
  const established = new Set<string>()
  for (const table of ['tcp', 'tcp6']) {
    for (const row of readFileSync(`/proc/${pid}/net/${table}`, 'utf8').trim().split('\n').slice(1)) {
      const columns = row.trim().split(/\s+/)
      if (columns[3] !== '0A') established.add(`socket:[${columns[9]}]`)
    }
  }
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/${pid}/fd/${fd}`)
      return established.has(target) ? [] : [target.replace(/\d+/, '')]
    } catch {
      return []
    }
  })
}
