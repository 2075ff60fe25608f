/** The program, and the lines that it says to type. */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)

test('the program allocates a gateway to whoever types what it prints, and stops in order', async () => {
  const program = fileURLToPath(new URL('../main.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', program, '--port', '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const answers: string[] = []
  const lines: string[] = []
  for await (const line of createInterface(child.stdout)) {
    if (line.startsWith('curl ')) lines.push(line)
    if (lines.length === 3) break
  }
  for (const line of lines) answers.push((await run('sh', ['-c', line])).stdout)
  const [started, said, pool] = answers.map((answer) => JSON.parse(answer))
  assert.equal(started.gateway_hostname, 'org-6a5ad9f4-7a0c-4cc7-b1ff-7a6f7a8f1c11.example.test')
  assert.deepEqual([said.organization, said.path], ['6a5ad9f4-7a0c-4cc7-b1ff-7a6f7a8f1c11', '/hello'])
  assert.deepEqual(
    pool.map(({ state }: { state: string }) => state),
    ['active', 'free', 'free'],
  )
  child.kill('SIGTERM')
  const [code] = await once(child, 'exit')
  assert.equal(code, 0)
})
