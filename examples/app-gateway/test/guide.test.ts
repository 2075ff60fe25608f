/** The guide shows code of this example, and no other. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { it } from 'node:test'

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8')
const lines = (text: string) => text.trim().replace(/^ +/gm, '')

it('shows code in docs/guides/restart.md that stands in the example', () => {
  const guide = read('../../../docs/guides/restart.md')
  const blocks = [...guide.matchAll(/```ts\n\/\/ (\S+)\n([^`]*(?:`[^`]+`[^`]*)*?)```/g)]
  assert.equal(blocks.length, guide.split('```ts').length - 1, 'every block names its file')
  for (const [, file, code = ''] of blocks) {
    assert.ok(lines(read(`../${file}`)).includes(lines(code)), `${file} has no such code:\n${code}`)
  }
})
