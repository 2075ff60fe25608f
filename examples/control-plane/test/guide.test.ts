/** The guide's code is run as it stands. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)

test('the code of docs/guides/allocation.md is typed, and says what the guide says', async () => {
  const guide = await readFile(new URL('../../../docs/guides/allocation.md', import.meta.url), 'utf8')
  const blocks = [...guide.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code)
  assert.ok(blocks.length >= 5)
  // Beside the example, where its packages are found.
  const path = fileURLToPath(new URL(`../guide-${process.pid}.ts`, import.meta.url))
  await writeFile(path, blocks.join('\n'))
  try {
    const folder = fileURLToPath(new URL('..', import.meta.url))
    const options = ['--noEmit', '--strict', '--target', 'es2023', '--module', 'nodenext', '--types', 'node']
    await run('npx', ['tsc', '--ignoreConfig', ...options, '--skipLibCheck', path], { cwd: folder }).catch(
      ({ stdout }) => assert.fail(stdout),
    )
    const { stdout } = await run(process.execPath, ['--import', 'tsx', path], { cwd: folder })
    assert.equal(
      stdout,
      "acme has gateway-1\nhandshake failed: gateway-2 is not there\n[ 'gateway-2' ] [ 'acme' ]\n",
    )
  } finally {
    await rm(path)
  }
})
