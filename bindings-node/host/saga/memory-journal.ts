/** A journal in memory: for tests, and for sagas that need not outlive their process. */

import { monotonic } from '../machine.js'
import {
  type JournalAppend,
  JournalFenced,
  type JournalWriter,
  type SagaJournal,
  type SagaStanding,
  type TakenOver,
} from './journal.js'

interface Kept {
  token: number
  frames: Uint8Array[]
  standing: SagaStanding
  touched: number
}

/** Keeps the journals of sagas for as long as the process lives. */
export class MemoryJournal implements SagaJournal {
  readonly #sagas = new Map<string, Kept>()

  async begin(saga: string, first: JournalAppend): Promise<JournalWriter | undefined> {
    const kept = this.#sagas.get(saga)
    if (kept !== undefined) {
      return kept.token === 1 && same(kept.frames[0], first.frame) ? this.#writer(saga, kept) : undefined
    }
    const begun = { token: 1, frames: [first.frame], standing: first.standing, touched: monotonic() }
    this.#sagas.set(saga, begun)
    return this.#writer(saga, begun)
  }

  async takeOver(saga: string): Promise<TakenOver | undefined> {
    const kept = this.#sagas.get(saga)
    if (kept === undefined) return undefined
    kept.token += 1
    return { writer: this.#writer(saga, kept), bytes: Buffer.concat(kept.frames) }
  }

  async read(saga: string): Promise<Uint8Array | undefined> {
    const kept = this.#sagas.get(saga)
    return kept && Buffer.concat(kept.frames)
  }

  async list(standing: 'unfinished' | 'stuck', idle = 0): Promise<string[]> {
    const before = monotonic() - idle
    const found = [...this.#sagas].filter(([, kept]) => kept.standing === standing && kept.touched <= before)
    return found.sort(([, a], [, b]) => a.touched - b.touched).map(([saga]) => saga)
  }

  #writer(saga: string, kept: Kept): JournalWriter {
    const { token } = kept
    return {
      async append({ sequence, frame, standing }) {
        const there = kept.frames[sequence - 1]
        if (kept.token !== token || (there !== undefined && !same(there, frame)))
          throw new JournalFenced(saga)
        if (there !== undefined) return
        kept.frames.push(frame)
        kept.standing = standing
        kept.touched = monotonic()
      },
      async close() {},
    }
  }
}

/** Whether two frames are the same. */
export function same(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && Buffer.compare(a, b) === 0
}
