/** Reads the packed text of a step: each word + 1, six bits a character, the lowest first; bit 6: more follow. */

import type { Words } from './generated.js'

/** The words of a step, where the shim left them: in a text, or in the memory of a module. */
export interface StepWords extends Words {
  /** Starts with the step that a flat call answered. */
  open(step: string): void
  /** Whether there is a next word. */
  readonly more: boolean
}

/** A text being read, word by word. */
export class PackedWords implements StepWords {
  #text = ''
  #at = 0

  /** Starts with a text. */
  open(text: string): void {
    this.#text = text
    this.#at = 0
  }

  /** Whether there is a next word. */
  get more(): boolean {
    return this.#at < this.#text.length
  }

  /** The next word; a missing one is -1. */
  next(): number {
    let character = this.#text.charCodeAt(this.#at++)
    if (character < 64) return character - 1
    let word = character & 63
    // Words go up to 2^53, so no shifts, which cut to 32 bits.
    let scale = 64
    do {
      character = this.#text.charCodeAt(this.#at++)
      word += (character & 63) * scale
      scale *= 64
    } while (character >= 64)
    return word - 1
  }
}
