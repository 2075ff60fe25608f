/** What the vectors do not say about the WebAssembly module: both targets, errors, memory that grows, traps. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { BugError, MalformedError } from '../../bindings-node/host/errors.js'
import { codecs, VERSION } from '../../bindings-node/host/generated.js'
import { native } from '../../bindings-node/host/native.js'
import { bind, type Exports } from '../host/core.js'

const exports = createRequire(import.meta.url)('../pkg/nodejs/tidegate_wasm.js') as Exports

test('the web target works from bytes, and its instances know nothing of each other', async () => {
  const web = (await import('../pkg/web/tidegate_wasm.js' as string)) as Exports & {
    initSync(options: { module: BufferSource }): unknown
  }
  web.initSync({ module: readFileSync(new URL('../pkg/web/tidegate_wasm_bg.wasm', import.meta.url)) })
  const [here, there] = [bind(exports), bind(web)]
  const held = here.calls.held()
  const drain = there.calls.create('drain', '{}', 1, 0) as number
  assert.equal(there.calls.held(), 1)
  assert.equal(here.calls.held(), held)
  assert.equal(there.calls.state(drain), 'starting')
})

test('it is of the version of the host, and describes the same machines as the native addon', () => {
  const { calls } = bind(exports)
  assert.equal(calls.version(), VERSION)
  assert.equal(calls.schema(), native.schema())
})

test('a config that cannot work answers its faults, a malformed call throws', () => {
  const { calls } = bind(exports)
  const faults = JSON.parse(calls.create('drain', '{"grace":0,"killBudget":5}', 1, 0) as string)
  assert.ok(faults.some(({ field }: { field: string }) => field === 'killBudget'))
  assert.throws(() => calls.create('nothing', '{}', 1, 0), /there is no machine `nothing`/)
  assert.throws(() => calls.restore('drain', Uint8Array.of(1, 2, 3), 0, 0))
  const drain = calls.create('drain', '{}', 1, 0) as number
  assert.throws(() => calls.handle(drain, 0, '{"type":"sleep"}'), /there is no input `sleep`/)
  assert.equal(calls.input0(drain, 0, 9999), 0)
  assert.throws(() => calls.input0(drain, -5, 0), MalformedError)
  calls.free(drain)
  assert.throws(() => calls.input0(drain, 0, 0), /there is no machine with this handle/)
  assert.throws(() => calls.state(drain), /there is no machine with this handle/)
})

test('a snapshot of the native addon goes on in WebAssembly, and back', () => {
  const { calls } = bind(exports)
  const here = native.create('tunnel', '{"endpoints":2}', 5, 0) as number
  native.handle(here, 0, '{"type":"start"}')
  const bytes = native.snapshot(here, 10)
  const there = calls.restore('tunnel', bytes, 10, 0) as number
  assert.deepEqual(Buffer.from(calls.snapshot(there, 10)), Buffer.from(bytes))
  assert.equal(calls.explain(there), native.explain(native.restore('tunnel', bytes, 10, 0) as number))
})

test('a step is read from memory after that has grown', () => {
  const { calls, words } = bind(exports)
  const before = exports.linearMemory().buffer
  const drains = [] as number[]
  while (before.byteLength > 0) {
    for (let n = 0; n < 1000; n += 1) drains.push(calls.create('drain', '{}', 1, 0) as number)
    assert.ok(drains.length < 1_000_000, 'memory never grew')
  }
  const answer = codecs.drain.send(calls, drains[0] as number, 7, { type: 'started' })
  assert.equal(typeof answer, 'string')
  words.open(answer as string)
  assert.equal(words.next(), -1)
  words.next()
  assert.ok(words.more)
  assert.deepEqual(codecs.drain.effect(words), { type: 'readiness', ready: true })
  for (const drain of drains) calls.free(drain)
})

/** A function that traps, as a panic of the core does: `(module (func (export "trap") unreachable))`. */
function trap(): never {
  const bytes = Uint8Array.of(
    ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0],
    ...[7, 8, 1, 4, 116, 114, 97, 112, 0, 0, 10, 5, 1, 3, 0, 0, 11],
  )
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes))
  return (instance.exports as unknown as { trap(): never }).trap()
}

test('a trap is a bug, and the instance refuses further use on every path', () => {
  for (const broken of ['input0', 'inputMany', 'handle', 'create'] as const) {
    const { calls } = bind({ ...exports, [broken]: trap })
    const drain = broken === 'create' ? 0 : calls.create('drain', '{}', 1, 0)
    const met = {
      input0: () => calls.input0(drain as number, 0, 0),
      inputMany: () => calls.inputMany(drain as number, 0, 0, []),
      handle: () => calls.handle(drain as number, 0, '{}'),
      create: () => calls.create('drain', '{}', 1, 0),
    }[broken]
    assert.throws(met, BugError)
    assert.throws(() => calls.input1(drain as number, 0, 0, 0), BugError)
    assert.throws(() => calls.tickFlat(drain as number, 0), BugError)
    assert.throws(() => calls.state(drain as number), BugError)
    assert.throws(() => calls.create('drain', '{}', 1, 0), /refuses further use/)
  }
})
