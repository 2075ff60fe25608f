/**
 * Replays every conformance vector, and the long pseudo-random scripts, through one shim: the same tests for the
 * native addon and for WebAssembly.
 */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import {
  type Codec,
  codecs,
  type Flat,
  type MachineName,
  rejectionCodeValues,
} from '../bindings-node/host/generated.js'
import type { CoreCalls } from '../bindings-node/host/native.js'
import type { StepWords } from '../bindings-node/host/packed.js'

const folder = new URL('./', import.meta.url)

function read<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as T
}

interface Script {
  name: string
  rules: string[]
  config?: object
  seed?: number
  draws?: string[]
  start?: number
  faults?: { code: string; field: string }[]
  steps: { at: number; input?: { type: string }; effects?: object[]; deadline?: object; rejection?: object }[]
}

interface Answer {
  effects?: object[]
  deadline?: object | null
  rejection?: { code: string }
}

type Kind = 'bool' | { integer?: number; name?: string; optional?: Kind }
type Variants = { fields: { name: string; kind: Kind }[] }[]

interface Schema {
  machines: { name: string; inputs: { variants: Variants }; effects: { variants: Variants } }[]
  names: Record<string, { values: object[] }>
}

const MASK = (1n << 64n) - 1n

/** The pinned stream of the core, SplitMix64, taken modulo. */
class Source {
  readonly #schema: Schema
  #state: bigint

  constructor(schema: Schema, seed: number) {
    this.#schema = schema
    this.#state = BigInt(seed)
  }

  /** A number below `n`. */
  draw(n: number): number {
    this.#state = (this.#state + 0x9e3779b97f4a7c15n) & MASK
    let z = this.#state
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK
    return Number((z ^ (z >> 31n)) % BigInt(n))
  }

  /** A field of an input, as its word. */
  field(name: string, kind: Kind, known: number): number {
    if (kind === 'bool') return this.draw(2)
    if (kind.name !== undefined) return this.draw(this.#schema.names[kind.name]?.values.length ?? 1)
    if (kind.optional !== undefined) return this.draw(2) === 0 ? -1 : this.field(name, kind.optional, known)
    if (name === 'operation' || name === 'generation') return Math.max(0, known + 1 - this.draw(3))
    const most = kind.integer ?? 0
    const how = this.draw(3)
    if (how === 0) return this.draw(Math.min(most, 7) + 1)
    if (how === 1) return this.draw(Math.min(most, 5000) + 1)
    return Math.min(most, 1000 + this.draw(4000))
  }
}

/** A shim, driven by scripts. */
class Shim {
  readonly calls: CoreCalls
  readonly words: StepWords
  readonly schema: Schema

  constructor(calls: CoreCalls, words: StepWords) {
    this.calls = calls
    this.words = words
    this.schema = JSON.parse(calls.schema()) as Schema
  }

  create(machine: string, script: Script): number | string {
    const config = JSON.stringify(script.config ?? {})
    const start = script.start ?? 0
    if (script.draws !== undefined)
      return this.calls.createScripted(machine, config, script.draws.join(','), start)
    return this.calls.create(machine, config, script.seed ?? 1, start)
  }

  objectStep(handle: number, step: Script['steps'][number]): Answer {
    const text =
      step.input === undefined
        ? this.calls.tick(handle, step.at)
        : this.calls.handle(handle, step.at, JSON.stringify(step.input))
    const answer = JSON.parse(text) as Answer
    return answer.rejection === undefined ? answer : { rejection: { code: answer.rejection.code } }
  }

  /** The flat path, with the codec that {@link Machine} uses. `last` is the deadline of the step before. */
  flatStep(machine: MachineName, handle: number, step: Script['steps'][number], last: object | null): Answer {
    const codec = codecs[machine] as unknown as Codec<'backoff'>
    const answer: Flat =
      step.input === undefined
        ? this.calls.tickFlat(handle, step.at)
        : codec.send(this.calls, handle, step.at, step.input as never)
    if (answer === null) return { effects: [], deadline: last }
    if (typeof answer === 'number') {
      assert.notEqual(answer, 0, `malformed on the flat path: ${JSON.stringify(step.input)}`)
      return { rejection: { code: rejectionCodeValues[answer - 1] as string } }
    }
    this.words.open(answer)
    const at = this.words.next()
    const why = this.words.next()
    const effects: object[] = []
    while (this.words.more) effects.push(codec.effect(this.words))
    return { effects, deadline: at < 0 ? null : { at, why: codec.why[why] } }
  }

  /** The script that is described at `run` in boundary/src/script.rs; written anew, so that both must agree. */
  digest(name: string, config: object, seed: number, steps: number): string {
    const machine = this.schema.machines.find((described) => described.name === name)
    assert.ok(machine, `no machine ${name}`)
    const made = this.calls.create(name, JSON.stringify(config), seed, 0)
    assert.ok(typeof made === 'number', String(made))
    const source = new Source(this.schema, seed)
    let [now, known, sum] = [0, 0, 0xcbf29ce484222325n]
    let [deadline, why] = [-1, 0]
    const fold = (word: number): void => {
      sum = ((sum ^ (word < 0 ? MASK : BigInt(word))) * 0x100000001b3n) & MASK
    }
    for (let step = 0; step < steps; step += 1) {
      let answer: Flat
      if (source.draw(4) === 0 && deadline >= 0) {
        now = deadline
        answer = this.calls.tickFlat(made, now)
      } else {
        const gap = [0, 1, 10, 1000, 20_000][source.draw(5)] as number
        now += source.draw(gap + 1)
        const tag = source.draw(machine.inputs.variants.length)
        const fields = (machine.inputs.variants[tag]?.fields ?? []).map((f) =>
          source.field(f.name, f.kind, known),
        )
        const input = [
          this.calls.input0,
          this.calls.input1,
          this.calls.input2,
          this.calls.input3,
          this.calls.input4,
          this.calls.input5,
        ][fields.length] as ((...words: number[]) => Flat) | undefined
        // Every other input by the call for any number of fields, which must do the same.
        answer =
          step % 2 === 0 || input === undefined
            ? this.calls.inputMany(made, now, tag, fields)
            : input(made, now, tag, ...fields)
      }
      if (typeof answer === 'number') {
        assert.notEqual(answer, 0, 'the script drew a malformed input')
        fold(1)
        fold(answer - 1)
        continue
      }
      const folded: number[] = []
      let count = 0
      if (answer !== null) {
        this.words.open(answer)
        deadline = this.words.next()
        why = this.words.next()
        for (; this.words.more; count += 1) {
          const tag = this.words.next()
          folded.push(tag)
          for (const { name } of machine.effects.variants[tag]?.fields ?? []) {
            const word = this.words.next()
            folded.push(word)
            if (name === 'operation' || name === 'generation') known = Math.max(known, word)
          }
        }
      }
      fold(0)
      fold(count)
      folded.forEach(fold)
      fold(deadline + 1)
      fold(why)
    }
    this.calls.free(made)
    return sum.toString(16).padStart(16, '0')
  }
}

/** Registers the tests of a shim: the machines by handle, and the words of the step of the last flat call. */
export function replay(language: string, calls: CoreCalls, words: StepWords): void {
  const shim = new Shim(calls, words)
  const index = read<{ files: Record<string, number> }>('index.json')
  const replayed = { object: 0, flat: 0 }

  test('every file of vectors/ is in the index', () => {
    const files = readdirSync(folder).filter(
      (file) => file.endsWith('.json') && file !== 'index.json' && file !== 'digests.json',
    )
    assert.deepEqual(files.sort(), Object.keys(index.files).sort())
  })

  for (const [file, expected] of Object.entries(index.files)) {
    test(`the scripts of ${file} give the same steps on the object path and on the flat path`, () => {
      const { machine, scripts } = read<{ machine: MachineName; scripts: Script[] }>(file)
      assert.equal(scripts.length, expected, `${file} has another number of scripts than the index says`)
      for (const script of scripts) {
        const objects = shim.create(machine, script)
        const flats = shim.create(machine, script)
        if (script.faults !== undefined) {
          for (const made of [objects, flats]) {
            assert.equal(typeof made, 'string', `${script.name}: the config is accepted`)
            const faults = JSON.parse(made as string) as { code: string; field: string }[]
            assert.deepEqual(
              faults.map(({ code, field }) => ({ code, field })),
              script.faults,
              script.name,
            )
          }
        } else {
          assert.ok(typeof objects === 'number' && typeof flats === 'number', `${script.name}: ${objects}`)
          let last: object | null = null
          for (const [at, step] of script.steps.entries()) {
            const { at: _, input, tick: __, comment: ___, ...wanted } = step as Record<string, unknown>
            const where = `${machine}: ${script.name}, step ${at}: ${JSON.stringify(input ?? 'tick')}`
            assert.deepEqual(shim.objectStep(objects, step), wanted, `${where} on the object path`)
            const flat = shim.flatStep(machine, flats, step, last)
            assert.deepEqual(flat, wanted, `${where} on the flat path`)
            if (flat.deadline !== undefined) last = flat.deadline
          }
          shim.calls.free(objects)
          shim.calls.free(flats)
        }
        replayed.object += 1
        replayed.flat += 1
      }
    })
  }

  test('as many scripts were replayed as the index says', () => {
    const total = Object.values(index.files).reduce((sum, count) => sum + count, 0)
    assert.deepEqual(replayed, { object: total, flat: total })
    console.log(
      `vectors (${language}): ${replayed.object} scripts on the object path, ${replayed.flat} on the flat path`,
    )
  })

  const digests =
    read<{ machine: string; config: object; seed: number; steps: number; digest: string }[]>('digests.json')

  let equal = 0
  for (const { machine, config, seed, steps, digest: published } of digests) {
    test(`the digest of ${steps} pseudo-random steps of ${machine} is the published one`, () => {
      assert.equal(shim.digest(machine, config, seed, steps), published)
      equal += 1
    })
  }
  test('every digest was compared', () => {
    assert.equal(equal, digests.length)
    console.log(`digests (${language}): ${equal}`)
  })

  test('every machine has vectors and a digest', () => {
    const names = shim.schema.machines.map((machine) => machine.name).sort()
    assert.deepEqual([...new Set(digests.map(({ machine }) => machine))].sort(), names)
    const files = Object.keys(index.files).map((file) => file.replace('.json', ''))
    const written = files.filter((file) => !file.startsWith('generated-'))
    assert.deepEqual(written.sort(), names, 'hand-written ones of every machine')
    const generated = files.filter((file) => file.startsWith('generated-'))
    for (const file of generated) assert.ok(names.includes(file.replace('generated-', '')), file)
  })
}
