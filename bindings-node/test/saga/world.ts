/** A world that sagas change: named effects, and everything that was done to them, in order. */
import { setTimeout as delay } from 'node:timers/promises'
import { NotDone, type SagaStepOptions, type UndoCall } from '../../host/index.js'

/** How a call goes. */
export type Fate =
  | 'works'
  | 'fails clean'
  | 'lands, then fails'
  | 'fails'
  | 'hangs'
  | 'lands, then hangs'
  | 'lands late'

export class World {
  readonly there = new Set<string>()
  /** `do dns`, `undo dns`, …, as they were called. */
  readonly calls: string[] = []
  /** The idempotency keys, by call. */
  readonly keys = new Map<string, string[]>()
  /** What the signals of hanging calls fired with. */
  readonly aborted: unknown[] = []

  /** A step that puts an effect there, and takes it away. Its answer names the effect. */
  step(
    name: string,
    fates: { run?: Fate; undo?: Fate; fallback?: Fate } = {},
  ): Pick<SagaStepOptions<unknown, unknown, { made: string }>, 'run' | 'undo'> {
    return {
      run: async (call) => {
        await this.#play(`do ${name}`, fates.run, call, () => this.there.add(name))
        return { made: name }
      },
      undo: async (call: UndoCall<unknown, unknown, { made: string }>) =>
        await this.#play(`undo ${name}`, fates.undo, call, () => this.there.delete(name)),
    }
  }

  /** A fallback: the effect is replaced by a safe one. */
  fallback(name: string, fate?: Fate): (call: UndoCall<unknown, unknown, unknown>) => Promise<void> {
    return async (call) =>
      await this.#play(`fall-back ${name}`, fate, call, () => {
        this.there.delete(name)
        this.there.add(`${name} is safe`)
      })
  }

  async #play(
    what: string,
    fate: Fate = 'works',
    { key, signal }: { key: string; signal: AbortSignal },
    effect: () => void,
  ): Promise<void> {
    this.calls.push(what)
    this.keys.set(what, [...(this.keys.get(what) ?? []), key])
    if (fate === 'fails clean') throw new NotDone(`${what} is not possible`)
    if (fate === 'lands late') void delay(60).then(effect)
    else if (fate !== 'fails' && fate !== 'hangs') effect()
    if (fate === 'fails' || fate === 'lands, then fails' || fate === 'lands late')
      throw new Error(`${what} broke`)
    if (fate === 'hangs' || fate === 'lands, then hangs') {
      await new Promise<void>((_, reject) => {
        signal.addEventListener('abort', () => {
          this.aborted.push(signal.reason)
          reject(signal.reason)
        })
      })
    }
  }
}
