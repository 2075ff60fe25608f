import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { bundleOf, exists } from './handoff/generations.js'
import { Load } from './handoff/load.js'
import { freePort } from './support/ports.js'
import { until } from './until.js'

const guide = readFileSync(
  fileURLToPath(new URL('../../docs/guides/hot-restart.md', import.meta.url)),
  'utf8',
)
const programs = [...guide.matchAll(/```ts\n(.*?)```/gs)].map(([, code = '']) => code)

const started = new Set<number>()
after(() => {
  for (const pid of started) if (exists(pid)) process.kill(pid, 'SIGKILL')
})

/** The one child of a process. */
const childOf = (pid: number) => Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'))

async function serves(port: number): Promise<void> {
  const answers = async () => {
    try {
      return (await fetch(`http://127.0.0.1:${port}/`)).ok
    } catch {
      return false
    }
  }
  await until(answers, 'the program to serve')
}

describe('the programs of the guide to hot restart', () => {
  it('are as many as are run here', () => assert.equal(programs.length, 2))

  for (const [index, code] of programs.entries()) {
    it(`number ${index + 1} starts, is upgraded under requests, and stops`, async () => {
      const port = await freePort()
      const script = await bundleOf(code, `guide-${index}`)
      const first = spawn(process.execPath, [script], {
        stdio: ['ignore', 'inherit', 'inherit'],
        env: { ...process.env, PORT: `${port}` },
      })
      const exited = once(first, 'exit')
      const pid = first.pid as number
      started.add(pid)
      await serves(port)
      const load = new Load(port, { kept: 2, fresh: 1 })
      process.kill(pid, code.includes('SIGHUP') ? 'SIGHUP' : 'SIGUSR2')
      let successor = 0
      await until(() => {
        successor = childOf(pid)
        return successor > 0
      }, 'the successor to be started')
      started.add(successor)
      assert.deepEqual(await exited, [0, null])
      await serves(port)
      const { answered, failures } = await load.stop()
      assert.deepEqual(failures, [])
      assert.ok(answered > 0)
      process.kill(successor, 'SIGTERM')
      await until(() => !exists(successor), 'the successor to be gone')
    })
  }
})
