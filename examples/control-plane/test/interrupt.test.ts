/** Ctrl-C in the demos, and in the program, at several moments: nothing is left of what they have started. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { until } from '../../../bindings-node/test/until.ts'

const EXAMPLES = fileURLToPath(new URL('../../', import.meta.url))
const MARK = 'TIDEGATE_INTERRUPTED'

/** The processes that were started with this in their environment, by whomever. */
async function marked(mark: string): Promise<string[]> {
  const found: string[] = []
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
    if (environment.split('\0').includes(mark)) {
      found.push(
        `${pid} ${(await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ')}`,
      )
    }
  }
  return found
}

interface Interruption {
  readonly program: string
  readonly options: readonly string[]
  /** What it has written by then (or a server's folder), and how long after that. Milliseconds. */
  readonly after: RegExp | 'a folder'
  readonly wait: number
  readonly code: number
}

async function interrupt({ program, options, after, wait, code }: Interruption): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-interrupt-'))
  // PostgreSQL runs as somebody else when this is root.
  await chmod(folder, 0o755)
  const mark = `${MARK}=${randomUUID()}`
  const child = spawn(process.execPath, ['--import', 'tsx', join(EXAMPLES, program), ...options], {
    // A group of its own, of which every process gets the signal, as from a terminal.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: folder, [MARK]: mark.slice(MARK.length + 1) },
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
  }
  try {
    const exited = once(child, 'exit')
    const isThere = async () =>
      after === 'a folder'
        ? (await readdir(folder)).some((name) => name.startsWith('tidegate-'))
        : after.test(said)
    await until(isThere, `${after} in ${said}`, 60_000)
    await delay(wait)
    process.kill(-(child.pid as number), 'SIGINT')
    const [ended, signal] = await exited
    assert.deepEqual([ended, signal], [code, null], said)
    assert.doesNotMatch(said, /\n {4}at /, 'a stack trace')
    // What ends with its parent does so a moment after it.
    await until(async () => (await marked(mark)).length === 0, 'no process to be left', 20_000).catch(
      async (error: Error) => assert.fail(`${error.message}: ${await marked(mark)}`),
    )
    // The loader of TypeScript keeps a cache there.
    const left = (await readdir(folder)).filter((name) => !name.startsWith('tsx-'))
    assert.deepEqual(left, [], 'folders are left')
  } finally {
    for (const line of await marked(mark)) process.kill(Number(line.split(' ')[0]), 'SIGKILL')
    await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
  }
}

const ALLOCATION = { program: 'control-plane/demo/main.ts', code: 130 }
const RESTART = { program: 'app-gateway/demo/main.ts', code: 130 }
const HANDOFF = { program: 'hot-restart/demo.ts', code: 130 }
const PROGRAM = { program: 'control-plane/main.ts', code: 0 }

const MOMENTS: Record<string, Interruption> = {
  'the demo of an allocation while its servers start': {
    ...ALLOCATION,
    options: ['--real'],
    after: 'a folder',
    wait: 500,
  },
  'the demo of an allocation in its first round': {
    ...ALLOCATION,
    options: ['--real', '--quick'],
    after: /step +how/,
    wait: 500,
  },
  'the demo of an allocation in the middle': {
    ...ALLOCATION,
    options: ['--quick'],
    after: /dns +clean/,
    wait: 100,
  },
  'the demo of a restart while its server starts': {
    ...RESTART,
    options: ['--real'],
    after: 'a folder',
    wait: 500,
  },
  'the demo of a restart while its processes start': {
    ...RESTART,
    options: ['--quick'],
    after: /3 gateways/,
    wait: 300,
  },
  'the demo of a restart in the middle': { ...RESTART, options: ['--quick'], after: /\n {2}A /, wait: 700 },
  'the demo of a hot restart while its first build starts': {
    ...HANDOFF,
    options: ['--quick'],
    after: /broken builds under load/,
    wait: 300,
  },
  'the demo of a hot restart while a successor starts': {
    ...HANDOFF,
    options: ['--quick'],
    after: /bad config build/,
    wait: 1_300,
  },
  'the program while its servers start': {
    ...PROGRAM,
    options: ['--real', '--port', '0'],
    after: 'a folder',
    wait: 1_000,
  },
  'the program while it serves': { ...PROGRAM, options: ['--real', '--port', '0'], after: /curl/, wait: 0 },
}

for (const [what, interruption] of Object.entries(MOMENTS)) {
  test(`a Ctrl-C ends ${what}, and nothing is left of it`, async () => {
    await interrupt(interruption)
  })
}
