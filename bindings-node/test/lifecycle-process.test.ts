import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { Agent } from 'node:http'
import { createInterface } from 'node:readline'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Outcome } from '../host/index.js'
import type { Plan } from './lifecycle/program.js'
import { clients, get, until } from './lifecycle/support.js'

const program = fileURLToPath(new URL('lifecycle/program.ts', import.meta.url))
const children = new Set<ChildProcess>()
after(() => {
  for (const child of children) child.kill('SIGKILL')
})

interface Line {
  /** When it was read. */
  at?: number
  pid?: number
  port?: number
  ready?: boolean
  phase?: string
  released?: boolean
  pausing?: string
  constructed?: boolean
  caught?: string
  stopping?: boolean
  outcome?: Outcome
}

/** A process that follows a plan. */
function launch(plan: Plan, through: string[] = []) {
  const [command = process.execPath, ...args] = [
    ...through,
    process.execPath,
    '--import',
    'tsx',
    program,
    JSON.stringify(plan),
  ]
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  children.add(child)
  const lines: Line[] = []
  let errors = ''
  createInterface({ input: child.stdout }).on('line', (line) =>
    lines.push({ ...(JSON.parse(line) as Line), at: performance.now() }),
  )
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors += text
  })
  const exited = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('exit', (code, signal) => {
      children.delete(child)
      resolve({ code, signal })
    })
  })
  const find = <Key extends keyof Line>(key: Key) => lines.find((line) => line[key] !== undefined)?.[key]
  return {
    child,
    lines,
    exited,
    find,
    errors: () => errors,
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    go: () => child.stdin.write('\n'),
    async saw<Key extends keyof Line>(key: Key, value?: Line[Key]) {
      const seen = () =>
        lines.some((line) => line[key] !== undefined && (value === undefined || line[key] === value))
      await until(() => seen() || child.exitCode !== null, `${key} ${value ?? ''}`, 20_000)
      assert.ok(seen(), `${key} ${value ?? ''} in ${JSON.stringify(lines)}\n${errors}`)
      return find(key) as NonNullable<Line[Key]>
    },
  }
}

describe('a process with a lifecycle', { concurrency: 2 }, () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`D2: ${signal} begins; what is in flight is answered, then it exits at once with 0`, async () => {
      const gateway = launch({})
      await gateway.saw('phase', 'serving')
      const slow = get(gateway.find('port') as number, '/?delay=300')
      await until(() => gateway.find('port'), 'the port')
      await get(gateway.find('port') as number, '/')
      gateway.kill(signal)
      assert.equal((await slow).body, 'ok')
      const { code } = await gateway.exited
      assert.equal(code, 0)
      assert.equal(gateway.errors(), '', 'nothing had to be exited from')
      assert.equal((await gateway.saw('outcome')).intent, 'restart')
    })
  }

  it('D2: two signals within 500 ms are one, a later one forces', async () => {
    const gateway = launch({})
    await gateway.saw('phase', 'serving')
    const slow = get(gateway.find('port') as number, '/?delay=60000').catch((error: Error) => error)
    await get(gateway.find('port') as number, '/')
    gateway.kill('SIGINT')
    await gateway.saw('phase', 'draining')
    gateway.kill('SIGTERM')
    // The merge time has to pass; what it must not bring is the cut.
    const begun = performance.now()
    await until(() => performance.now() - begun > 600, 'the merge time to pass')
    assert.equal(
      gateway.lines.some(({ phase }) => phase === 'forcing'),
      false,
    )
    gateway.kill('SIGTERM')
    const { code } = await gateway.exited
    assert.equal(code, 4)
    assert.ok((await slow) instanceof Error)
    assert.equal(gateway.find('released'), true)
    assert.equal(gateway.find('outcome')?.forced, 1)
  })

  it('D2: a signal before run() is not lost: it is never ready, and releases', async () => {
    const gateway = launch({ before: 'pause' })
    await gateway.saw('pausing')
    gateway.kill('SIGTERM')
    // Signals and standard input reach a process in no particular order.
    await gateway.saw('stopping')
    gateway.go()
    const { code } = await gateway.exited
    assert.equal(code, 0, gateway.errors())
    assert.equal(gateway.find('ready'), undefined)
    assert.equal(gateway.find('released'), true)
  })

  it('D2: a signal while it boots is not lost', async () => {
    const gateway = launch({ boot: 'pause' })
    await gateway.saw('pausing', 'boot')
    gateway.kill('SIGTERM')
    // Signals and standard input reach a process in no particular order.
    await gateway.saw('stopping')
    gateway.go()
    const { code } = await gateway.exited
    assert.equal(code, 0, gateway.errors())
    assert.equal(gateway.find('ready'), undefined)
    assert.equal(gateway.find('released'), true)
  })

  it('D2: a second signal ends a start that hangs before run()', async () => {
    const gateway = launch({ before: 'hang', options: { signalMerge: 100 } })
    await gateway.saw('constructed')
    gateway.kill('SIGTERM')
    const again = setInterval(() => gateway.kill('SIGTERM'), 150)
    const { code } = await gateway.exited
    clearInterval(again)
    assert.equal(code, 128 + 15)
  })

  it('D2: a second signal ends a boot that hangs, and still releases', async () => {
    const gateway = launch({ boot: 'hang', options: { signalMerge: 100, margin: 100 } })
    await gateway.saw('port')
    gateway.kill('SIGTERM')
    const again = setInterval(() => gateway.kill('SIGTERM'), 150)
    const { code } = await gateway.exited
    clearInterval(again)
    assert.equal(code, 0)
    assert.equal(gateway.find('released'), true)
  })

  it('a boot that fails ends the process with its error, after releasing', async () => {
    const gateway = launch({ boot: 'throw' })
    const { code } = await gateway.exited
    assert.equal(code, 1)
    assert.match(gateway.errors(), /no database/)
    assert.equal(gateway.find('released'), true)
  })

  it('a boot that fails is told by the exit code, also when the application handles the error', async () => {
    const gateway = launch({ boot: 'throw', catches: true })
    const { code } = await gateway.exited
    assert.equal(gateway.find('caught'), 'no database')
    assert.equal(code, 1)
  })

  it('D9: an impossible budget ends the process before it serves, with the sum', async () => {
    const gateway = launch({ options: { grace: '29s', killBudget: '30s', lameDuck: '5s' } })
    const { code } = await gateway.exited
    assert.equal(code, 1)
    assert.match(gateway.errors(), /ConfigError.*30000 ms.*5000.*29000.*flush.*2000/s)
    assert.equal(gateway.find('port'), undefined)
  })

  it('D10: exits with the code for restarts when that is clean', async () => {
    const gateway = launch({ options: { restartExitCode: 75 } })
    await gateway.saw('phase', 'serving')
    gateway.kill('SIGTERM')
    assert.equal((await gateway.exited).code, 75)
  })

  it('D10: exits with 3 when a step failed', async () => {
    const gateway = launch({ failing: true })
    await gateway.saw('phase', 'serving')
    gateway.kill('SIGTERM')
    assert.equal((await gateway.exited).code, 3)
    assert.deepEqual(
      gateway.find('outcome')?.failedSteps.map(({ step }) => step),
      ['flush'],
    )
  })

  it('D7, D10: exits with 4 when the deadline cut something', async () => {
    const gateway = launch({ options: { grace: 400 } })
    await gateway.saw('phase', 'serving')
    const slow = get(gateway.find('port') as number, '/?delay=60000').catch((error: Error) => error)
    await get(gateway.find('port') as number, '/')
    gateway.kill('SIGTERM')
    assert.equal((await gateway.exited).code, 4)
    assert.ok((await slow) instanceof Error)
  })

  it('exits although a timer was forgotten, and names what kept it alive', async () => {
    const gateway = launch({ forgets: true, options: { margin: 200 } })
    await gateway.saw('phase', 'serving')
    gateway.kill('SIGTERM')
    await gateway.saw('outcome')
    const { code } = await gateway.exited
    assert.equal(code, 0)
    assert.match(gateway.errors(), /TIDEGATE_KEPT_ALIVE.*Timeout/s)
  })

  it('a signal that comes when all is over does not cost the exit code', async () => {
    const gateway = launch({ failing: true, forgets: true, options: { margin: 5_000 } })
    await gateway.saw('phase', 'serving')
    gateway.kill('SIGTERM')
    await gateway.saw('outcome')
    const begun = performance.now()
    gateway.kill('SIGTERM')
    const { code, signal } = await gateway.exited
    assert.deepEqual([code, signal], [3, null])
    assert.ok(performance.now() - begun < 4_000, 'it does not wait for the margin either')
  })

  it('gives the signals back when it has stopped, and with `exit: false` leaves the process alone', async () => {
    const gateway = launch({ lingers: true, options: { exit: false, margin: 50 } })
    await gateway.saw('phase', 'serving')
    gateway.kill('SIGTERM')
    await gateway.saw('outcome')
    const begun = performance.now()
    await until(() => performance.now() - begun > 200, 'the margin to pass')
    assert.equal(gateway.child.exitCode, null)
    gateway.kill('SIGTERM')
    assert.equal((await gateway.exited).signal, 'SIGTERM')
  })

  it('D5: 1,000 of 1,000 clients have their code although the process is gone', async () => {
    const gateway = launch({ drainCode: 4001, reconnectRate: 2_000 })
    await gateway.saw('phase', 'serving')
    const all = await clients(gateway.find('port') as number, 1_000)
    gateway.kill('SIGTERM')
    const { code } = await gateway.exited
    const codes = await Promise.all(all.map(async ({ closed }) => (await closed).code))
    assert.deepEqual(new Set(codes), new Set([4001]))
    assert.equal(codes.length, 1_000)
    assert.equal(code, 0)
  })

  it('D3, D4: under keep-alive load a restart loses no request', async () => {
    const gateway = launch({ options: { lameDuck: 100, minIdleAge: 500 } })
    await gateway.saw('phase', 'serving')
    const port = gateway.find('port') as number
    let answered = 0
    const failures: string[] = []
    const run = async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 })
      for (;;) {
        try {
          const { status } = await get(port, '/?delay=5', agent)
          if (status === 200) answered += 1
          else failures.push(`${status}`)
        } catch (error) {
          const { code } = error as NodeJS.ErrnoException
          agent.destroy()
          if (code === 'ECONNREFUSED') return
          failures.push(`${code}`)
        }
      }
    }
    const running = Promise.all(Array.from({ length: 20 }, run))
    await until(() => answered > 500, 'load')
    gateway.kill('SIGTERM')
    await running
    assert.equal((await gateway.exited).code, 0)
    assert.deepEqual(failures, [])
  })

  it('works as PID 1 of a container', async () => {
    const namespace = ['unshare', '--user', '--map-root-user', '--pid', '--fork', '--kill-child']
    const probe = spawn(namespace[0] as string, [...namespace.slice(1), 'true'])
    const possible = await new Promise((resolve) => {
      probe.once('error', () => resolve(false))
      probe.once('exit', (code) => resolve(code === 0))
    })
    assert.ok(possible, 'it needs PID namespaces: allow user namespaces here, or run the tests as root')
    const gateway = launch({}, namespace)
    await gateway.saw('phase', 'serving')
    assert.equal(gateway.find('pid'), 1)
    // The signal goes to the child of `unshare`, which is PID 1 only from inside.
    const inside = await pidOf(gateway.child.pid as number)
    process.kill(inside, 'SIGTERM')
    const { code } = await gateway.exited
    assert.equal(code, 0, gateway.errors())
    assert.equal(gateway.find('released'), true)
  })
})

/** The one child of a process. */
async function pidOf(parent: number): Promise<number> {
  const { readFile } = await import('node:fs/promises')
  return Number(await readFile(`/proc/${parent}/task/${parent}/children`, 'utf8'))
}
