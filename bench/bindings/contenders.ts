/** What is measured in Node: the native addon and WebAssembly on both paths, the host on top, and xstate. */

import { createRequire } from 'node:module'
import { assign, createActor, setup } from 'xstate'
import { type Codec, codecs, type MachineName } from '../../bindings-node/host/generated.js'
import { Machine } from '../../bindings-node/host/machine.js'
import { type CoreCalls, native } from '../../bindings-node/host/native.js'
import { PackedWords, type StepWords } from '../../bindings-node/host/packed.js'
import { bind, type Exports } from '../../wasm/host/core.js'
import type { Contender } from './rounds.js'

export const CROSSING = 'an empty crossing'
export const QUIET = 'an input without effects'
export const EFFECTS = 'an input with its effects, as objects'

/** No machine has it, so freeing it does nothing. */
const NOBODY = 4_000_000_000

/** Brings a tunnel up; what it hears then changes nothing. */
const DIALOG = [
  { type: 'start' },
  { type: 'prepared', operation: 1 },
  { type: 'opened', generation: 1 },
  { type: 'accepted', generation: 1 },
] as const
const HEARD = { type: 'inbound', generation: 1, ago: 0 } as const

function tunnel(calls: CoreCalls): number {
  const made = calls.create('tunnel', '{}', 7, 0) as number
  for (const input of DIALOG) {
    const { rejection } = JSON.parse(calls.handle(made, 0, JSON.stringify(input)))
    if (rejection !== undefined) throw new Error(rejection.message)
  }
  return made
}

/** A backoff that fails, waits and is woken: two inputs in turns, each answered by an effect and a deadline. */
function backoff(calls: CoreCalls): number {
  const made = calls.create('backoff', '{}', 7, 0) as number
  calls.handle(made, 0, '{"type":"start"}')
  return made
}

/** Effects end up here, so that nobody can leave out making them. */
let kept: unknown

function fail(what: string): never {
  throw new Error(`${what} went wrong`)
}

function shim(name: string, calls: CoreCalls, words: StepWords): Contender[] {
  function perform<N extends MachineName>(codec: Codec<N>, answer: unknown): number {
    if (typeof answer !== 'string') return fail(name)
    words.open(answer)
    const at = words.next()
    words.next()
    let operation = 0
    while (words.more) {
      const effect = codec.effect(words)
      kept = effect
      if ('operation' in effect && effect.type === 'attempt') operation = effect.operation
    }
    return at < 0 ? fail(name) : operation
  }
  const [quietFlat, quietObject, flat, object] = [
    tunnel(calls),
    tunnel(calls),
    backoff(calls),
    backoff(calls),
  ]
  let [flatNow, flatOperation, objectNow, objectOperation] = [0, 1, 0, 1]
  return [
    {
      work: CROSSING,
      name: `${name}`,
      run(count) {
        for (let n = 0; n < count; n += 1) calls.free(NOBODY)
      },
    },
    {
      work: QUIET,
      name: `${name} flat`,
      run(count) {
        const codec = codecs.tunnel
        for (let n = 0; n < count; n += 1) {
          if (codec.send(calls, quietFlat, 1, HEARD) !== null) fail(name)
        }
      },
    },
    {
      work: QUIET,
      name: `${name} object`,
      run(count) {
        for (let n = 0; n < count; n += 1) {
          kept = JSON.parse(calls.handle(quietObject, 1, JSON.stringify(HEARD)))
        }
      },
    },
    {
      work: EFFECTS,
      name: `${name} flat`,
      run(count) {
        const codec = codecs.backoff
        for (let n = 0; n < count; n += 2) {
          perform(
            codec,
            codec.send(calls, flat, flatNow, { type: 'failed', operation: flatOperation, hint: null }),
          )
          flatNow += 1
          flatOperation = perform(codec, codec.send(calls, flat, flatNow, { type: 'wake' }))
        }
      },
    },
    {
      work: EFFECTS,
      name: `${name} object`,
      run(count) {
        for (let n = 0; n < count; n += 2) {
          const failed = { type: 'failed', operation: objectOperation, hint: null }
          kept = JSON.parse(calls.handle(object, objectNow, JSON.stringify(failed)))
          objectNow += 1
          const step = JSON.parse(calls.handle(object, objectNow, JSON.stringify({ type: 'wake' })))
          objectOperation = step.effects[0].operation
        }
      },
    },
  ]
}

/** What applications of the Node package use: it starts the effects and arms a timer. */
function host(): Contender[] {
  const quiet = new Machine('tunnel', { clock: () => 0, seed: 7, unref: true, perform() {} })
  for (const input of DIALOG) quiet.send(input)
  let [now, operation] = [0, 1]
  const busy = new Machine('backoff', {
    clock: () => now,
    seed: 7,
    unref: true,
    perform(effect) {
      kept = effect
      if (effect.type === 'attempt') operation = effect.operation
    },
  })
  busy.send({ type: 'start' })
  return [
    {
      work: QUIET,
      name: 'node Machine.send',
      run(count) {
        for (let n = 0; n < count; n += 1) quiet.send(HEARD)
      },
    },
    {
      work: EFFECTS,
      name: 'node Machine.send',
      run(count) {
        for (let n = 0; n < count; n += 2) {
          busy.send({ type: 'failed', operation, hint: null })
          now += 1
          busy.send({ type: 'wake' })
        }
      },
    },
  ]
}

/**
 * The same work in xstate 5: once as small as it can be said there, and once with what the core does besides: the
 * check that what was heard is of this connection, and the deadlines.
 */
function xstate(timers: boolean): Contender[] {
  const name = timers ? 'xstate with timers' : 'xstate actor.send'
  const quiet = createActor(
    setup({
      types: {
        context: {} as { heard: number; generation: number },
        events: {} as { type: 'inbound'; generation: number; ago: number },
      },
      actions: { hear: assign({ heard: ({ event }) => 1 - event.ago }) },
      guards: { current: ({ context, event }) => event.generation === context.generation },
    }).createMachine({
      context: { heard: 0, generation: 1 },
      initial: 'up',
      states: {
        up: timers
          ? {
              on: { inbound: { target: 'up', reenter: true, guard: 'current', actions: 'hear' } },
              after: { 30000: 'silent' },
            }
          : { on: { inbound: { actions: 'hear' } } },
        silent: {},
      },
    }),
  ).start()
  const busy = createActor(
    setup({
      types: {
        context: {} as { operation: number; delay: number },
        events: {} as { type: 'failed'; operation: number } | { type: 'wake' },
      },
      actions: {
        waiting({ context }) {
          kept = { type: 'waiting', delay: context.delay }
        },
        attempt({ context }) {
          kept = { type: 'attempt', operation: context.operation, attempt: context.operation, limit: 20_000 }
        },
        escalate: assign({ delay: ({ context }) => Math.min(context.delay * 2, 30_000) }),
        next: assign({ operation: ({ context }) => context.operation + 1 }),
      },
      delays: { limit: 20_000, delay: ({ context }) => Math.random() * context.delay + 1000 },
    }).createMachine({
      context: { operation: 1, delay: 500 },
      initial: 'trying',
      states: {
        trying: {
          on: { failed: { target: 'waiting', actions: ['escalate', 'waiting'] } },
          ...(timers && { after: { limit: { target: 'waiting', actions: ['escalate', 'waiting'] } } }),
        },
        waiting: {
          on: { wake: { target: 'trying', actions: ['next', 'attempt'] } },
          ...(timers && { after: { delay: { target: 'trying', actions: ['next', 'attempt'] } } }),
        },
      },
    }),
  ).start()
  return [
    {
      work: QUIET,
      name,
      run(count) {
        for (let n = 0; n < count; n += 1) quiet.send({ type: 'inbound', generation: 1, ago: 0 })
      },
    },
    {
      work: EFFECTS,
      name,
      run(count) {
        for (let n = 0; n < count; n += 2) {
          busy.send({ type: 'failed', operation: busy.getSnapshot().context.operation })
          busy.send({ type: 'wake' })
        }
      },
    },
  ]
}

/** Everything that runs in Node. */
export function contenders(): Contender[] {
  const exports = createRequire(import.meta.url)('../../wasm/pkg/nodejs/tidegate_wasm.js') as Exports
  const wasm = bind(exports)
  return [
    ...shim('node', native, new PackedWords()),
    ...shim('wasm', wasm.calls, wasm.words),
    ...host(),
    ...xstate(false),
    ...xstate(true),
  ]
}

/** What the last effect was. */
export function last(): unknown {
  return kept
}
