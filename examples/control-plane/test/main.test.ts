/** The program, and the lines that it says to type. */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
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

test('the program says what is wrong with an option, or with a port, and how it is meant', async () => {
  const program = fileURLToPath(new URL('../main.ts', import.meta.url))
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  for (const [options, code, said] of [
    [['--port', 'x'], 2, /^--port is x, must be a whole number from 0 to 65535\n\nnode /],
    [['--gateways', '1.5'], 2, /^--gateways is 1\.5, must be a whole number/],
    [['--nonsense'], 2, /^Unknown option '--nonsense'\n\nnode /],
    [['--port', `${port}`], 1, new RegExp(`^port ${port} is in use: choose another with --port`)],
  ] as const) {
    const child = spawn(process.execPath, ['--import', 'tsx', program, ...options], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let text = ''
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
    const [ended] = await once(child, 'close')
    assert.match(text, said)
    assert.doesNotMatch(text, /\n {4}at /, 'a stack trace')
    assert.equal(ended, code)
  }
  taken.close()
})
