import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ConfigError, MalformedError, NativeError, RejectedError } from '../host/errors.js'
import type { BackoffEffect } from '../host/generated.js'
import { Machine, type MachineOptions } from '../host/machine.js'
import { load, native } from '../host/native.js'
import { until } from './until.js'

type Options = Partial<MachineOptions<'backoff'>>

/** A retry timer that notes what it is asked to do. */
function retry(options: Options = {}): { machine: Machine<'backoff'>; effects: BackoffEffect[] } {
  const effects: BackoffEffect[] = []
  const perform = (effect: BackoffEffect): unknown => effects.push(effect)
  return { machine: new Machine('backoff', { seed: 1, perform, ...options }), effects }
}

test('an input brings its effects, a deadline and an explanation', () => {
  const { machine, effects } = retry({ clock: () => 100 })
  using _ = machine
  assert.equal(machine.state, 'idle')
  assert.equal(machine.deadline, undefined)
  machine.send({ type: 'start' })
  assert.deepEqual(effects, [{ type: 'attempt', operation: 1, attempt: 1, limit: 20_000 }])
  assert.deepEqual(machine.deadline, { at: 20_100, why: 'attempt-limit' })
  assert.deepEqual(machine.explain().next, { in: 20_000, why: 'attempt-limit' })
})

test('inputs sent while effects are started wait with their effects until those have all been started', () => {
  const started: string[] = []
  const machine = new Machine('tunnel', {
    seed: 1,
    perform(effect) {
      started.push(`${effect.type} begins`)
      if (effect.type === 'prepare') machine.send({ type: 'stop' })
      started.push(`${effect.type} ends`)
    },
  })
  using _ = machine
  machine.send({ type: 'start' })
  assert.ok(started.length >= 6, started.join(', '))
  for (let at = 0; at < started.length; at += 2) {
    assert.equal(started[at]?.replace('begins', 'ends'), started[at + 1])
  }
  assert.equal(machine.state, 'stopped')
})

test('what is impossible is an error with the code of the core, or a value when it is offered', () => {
  const { machine } = retry()
  using _ = machine
  const input = { type: 'accepted', operation: 7 } as const
  assert.throws(
    () => machine.send(input),
    (error) =>
      error instanceof RejectedError &&
      error.code === 'never-issued' &&
      error.input === 'accepted' &&
      error.state === 'idle',
  )
  assert.deepEqual(machine.offer(input), { code: 'never-issued', input: 'accepted', state: 'idle' })
})

test('an input of the wrong shape is told so in words', () => {
  const { machine } = retry()
  using _ = machine
  const wrong: [object, RegExp][] = [
    [{ type: 'nope' }, /no input `nope`; there are start/],
    [{ type: 'accepted' }, /`operation` of input `accepted` is null, must be an integer/],
    [{ type: 'accepted', operation: 1.5 }, /`operation` of input `accepted` is 1.5/],
    [{ type: 'accepted', operation: '1' }, /`operation` of input `accepted` is "1"/],
    [{ type: 'accepted', operation: 2 ** 32 }, /must be an integer from 0 to 4294967295/],
    [{ type: 'failed', operation: 1, hint: -1 }, /`hint` of input `failed` is -1/],
  ]
  for (const [input, words] of wrong) {
    assert.throws(
      () => machine.send(input as { type: 'start' }),
      (error) => error instanceof MalformedError && words.test(error.message),
    )
  }
})

test('a config that cannot work is refused with every fault, its field named as in TypeScript', () => {
  assert.throws(
    () => new Machine('tunnel', { config: { quietTime: 0, dialLimit: 0 }, perform() {} }),
    (error) => {
      assert.ok(error instanceof ConfigError)
      assert.deepEqual(error.faults.map((fault) => fault.field).sort(), ['dialLimit', 'quietTime'])
      assert.match(error.message, /dialLimit is 0 ms/)
      return true
    },
  )
  assert.throws(
    () => new Machine('tunnel', { config: { pingAfter: 90_000 }, perform() {} }),
    /deadAfter is 75000 ms, must be above `pingAfter`/,
  )
  assert.throws(
    () => new Machine('backoff', { config: { attemptLimits: 1 } as object, perform() {} }),
    (error) =>
      error instanceof MalformedError && /unknown field `attemptLimits`.*`attemptLimit`/.test(error.message),
  )
})

test('an effect that throws or rejects is reported, and those after it are started', async () => {
  const failures: string[] = []
  const started: string[] = []
  const machine = new Machine('tunnel', {
    seed: 1,
    perform(effect): unknown {
      started.push(effect.type)
      if (effect.type === 'entered') throw new Error(`${effect.type} failed`)
      return Promise.reject(new Error(`${effect.type} rejected`))
    },
    onError: (error) => failures.push((error as Error).message),
  })
  using _ = machine
  machine.send({ type: 'start' })
  await until(() => failures.length === started.length, 'every failure is reported')
  assert.ok(started.includes('prepare'), started.join(', '))
  assert.ok(failures.includes('prepare rejected') && failures.includes('entered failed'))
})

test('its timer comes at the deadline, also when the deadline moved', async () => {
  const config = {
    policy: { initial: 20, cap: 20, floor: 20, jitter: 'none' },
    attemptLimit: 60_000,
  } as const
  const { machine, effects } = retry({ config })
  using _ = machine
  machine.send({ type: 'start' })
  for (let attempt = 1; attempt <= 3; attempt += 1) {
    const start = performance.now()
    machine.send({ type: 'failed', operation: attempt })
    await until(() => effects.at(-1)?.type === 'attempt', 'the next attempt')
    const took = performance.now() - start
    assert.ok(took >= 19, `the attempt came after ${took} ms`)
  }
  assert.equal(effects.filter((effect) => effect.type === 'attempt').length, 4)
})

test('a deadline beyond the longest timer of Node does not fire early', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let now = 0
  const day = 24 * 60 * 60 * 1000
  const { machine, effects } = retry({ config: { attemptLimit: 40 * day }, clock: () => now })
  using _ = machine
  machine.send({ type: 'start' })
  const longest = 2 ** 31 - 1
  now += longest
  t.mock.timers.tick(longest)
  assert.equal(effects.length, 1)
  const rest = 40 * day - longest
  now += rest
  t.mock.timers.tick(rest)
  assert.ok(effects.length > 1, 'the attempt has had its time')
})

test('a timer may let the process end, and otherwise keeps it', () => {
  const script = (unref: boolean): string => `
    import { Machine } from ${JSON.stringify(fileURLToPath(new URL('../host/machine.ts', import.meta.url)))}
    const start = performance.now()
    process.on('exit', () => console.log(performance.now() - start))
    const config = { attemptLimit: 5_000 }
    const machine = new Machine('backoff', { config, unref: ${unref}, perform: (effect) => effect.type === 'abandon' && machine.close() })
    machine.send({ type: 'start' })`
  const run = (unref: boolean): number =>
    Number(execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script(unref)]))
  assert.ok(run(false) >= 4_999)
  assert.ok(run(true) < 4_000)
})

test('a closed machine ignores inputs, starts nothing more and says how it was', () => {
  const effects: string[] = []
  const machine = new Machine('tunnel', {
    seed: 1,
    perform(effect) {
      effects.push(effect.type)
      machine.close()
    },
  })
  const held = native.held()
  machine.send({ type: 'start' })
  assert.equal(effects.length, 1)
  assert.equal(native.held(), held - 1)
  machine.send({ type: 'stop' })
  machine.close()
  assert.equal(machine.closed, true)
  assert.equal(machine.explain().state, machine.state)
  assert.equal(native.held(), held - 1)
})

test('a restored machine goes on where its snapshot was', async () => {
  const { machine } = retry({ config: { policy: { initial: 500, cap: 500, floor: 500, jitter: 'none' } } })
  machine.send({ type: 'start' })
  machine.send({ type: 'failed', operation: 1 })
  const snapshot = machine.snapshot()
  machine.close()
  const effects: BackoffEffect[] = []
  const perform = (effect: BackoffEffect): unknown => effects.push(effect)
  using restored = Machine.restore('backoff', { snapshot, elapsed: 490, perform })
  assert.equal(restored.state, 'waiting')
  await until(() => effects.length === 1, 'the attempt that was due')
  assert.deepEqual(effects[0], { type: 'attempt', operation: 2, attempt: 2, limit: 20_000 })
  const damaged = Uint8Array.from(snapshot)
  damaged[damaged.length - 1] = (damaged[damaged.length - 1] as number) ^ 1
  assert.throws(() => Machine.restore('backoff', { snapshot: damaged, perform }), MalformedError)
})

test('a machine that nobody refers to is freed', async () => {
  const held = native.held()
  const script = `
    import { Machine } from ${JSON.stringify(fileURLToPath(new URL('../host/machine.ts', import.meta.url)))}
    import { native } from ${JSON.stringify(fileURLToPath(new URL('../host/native.ts', import.meta.url)))}
    for (let i = 0; i < 100; i += 1) new Machine('backoff', { perform() {} })
    const limit = Date.now() + 10_000
    while (native.held() > 0 && Date.now() < limit) { gc(); await new Promise((resolve) => setTimeout(resolve, 5)) }
    console.log(native.held())`
  const arguments_ = ['--expose-gc', '--import', 'tsx', '--input-type=module', '-e', script]
  assert.equal(execFileSync(process.execPath, arguments_, { encoding: 'utf8' }).trim(), '0')
  assert.equal(native.held(), held)
})

test('TIDEGATE_TRACE records each machine and each step', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-'))
  const file = join(folder, 'trace')
  const script = `
    import { Machine } from ${JSON.stringify(fileURLToPath(new URL('../host/machine.ts', import.meta.url)))}
    const machine = new Machine('backoff', { seed: 7, clock: () => 5, perform() {} })
    machine.send({ type: 'start' })
    machine.offer({ type: 'accepted', operation: 9 })
    machine.tick()
    machine.close()`
  execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    env: { ...process.env, TIDEGATE_TRACE: file },
  })
  const lines = readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  rmSync(folder, { recursive: true })
  const machine = lines[0].machine
  assert.match(machine, /^\d+-1$/)
  const deadline = { at: 20_005, why: 'attempt-limit' }
  const attempt = { type: 'attempt', operation: 1, attempt: 1, limit: 20_000 }
  assert.deepEqual(lines, [
    { machine, name: 'backoff', config: {}, seed: 7, at: 5 },
    { machine, at: 5, input: { type: 'start' }, effects: [attempt], deadline },
    { machine, at: 5, input: { type: 'accepted', operation: 9 }, rejection: { code: 'never-issued' } },
    { machine, at: 5, tick: true, effects: [], deadline },
  ])
})

test('a native part of another version is refused, with both versions named', () => {
  const other = { ...native, version: () => '9.9.9' }
  assert.throws(
    () => load(() => other, 'linux-x64-gnu', '0.1.0'),
    (error) =>
      error instanceof NativeError &&
      error.code === 'version-mismatch' &&
      /version 0\.1\.0.*version 9\.9\.9/.test(error.message),
  )
})

test('a missing native part is told with the name of the platform and what to do', () => {
  const missing = (): never => {
    throw Object.assign(new Error('no'), { code: 'MODULE_NOT_FOUND' })
  }
  assert.throws(
    () => load(missing, 'plan9-mips', '0.1.0'),
    (error) =>
      error instanceof NativeError && error.code === 'no-native-part' && /plan9-mips/.test(error.message),
  )
})
