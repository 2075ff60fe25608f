/** What a saga tells its listeners, and everybody through `node:diagnostics_channel`. */

import { type Channel, channel } from 'node:diagnostics_channel'
import type { EventEmitter } from 'node:events'
import type { Leak, SagaEnd, SagaFailure, SagaRolledBack, SagaStuck, UndoFailure } from './errors.js'

/** The events of a saga; the same are published as `tidegate:saga-…` on `node:diagnostics_channel`. */
export interface SagaEvents {
  /** `tidegate:saga-recovered` The journal of an earlier life was read, and the saga goes on from it. */
  recovered: [SagaEnd & { records: number; torn: boolean }]
  /** `tidegate:saga-step-failed` `certain`: it certainly had no effect. */
  stepFailed: [SagaEnd & { step: string; attempt: number; certain: boolean; error: unknown }]
  /** `tidegate:saga-unwinding` From here on only undos. */
  unwinding: [SagaFailure]
  /** `tidegate:saga-undo-failed` It may be tried again. */
  undoFailed: [SagaEnd & UndoFailure]
  /** `tidegate:saga-fell-back` A step took its fallback and is safe. */
  fellBack: [SagaEnd & { step: string }]
  /** `tidegate:saga-leaked` An effect is left behind. */
  leaked: [SagaEnd & Leak]
  /** `tidegate:saga-committed` */
  committed: [SagaEnd]
  /** `tidegate:saga-rolled-back` */
  rolledBack: [SagaEnd & { error: SagaRolledBack }]
  /** `tidegate:saga-stuck` */
  stuck: [SagaEnd & { error: SagaStuck }]
  /** `tidegate:saga-stopped` It has not ended, but this process does not go on with it: halted, fenced or refused. */
  stopped: [SagaEnd & { error: Error }]
}

/** Tells listeners and subscribers of an event. */
export type SagaReporter = <Event extends keyof SagaEvents>(
  event: Event,
  payload: SagaEvents[Event][0],
) => void

const CHANNELS: Record<keyof SagaEvents, Channel> = {
  recovered: channel('tidegate:saga-recovered'),
  stepFailed: channel('tidegate:saga-step-failed'),
  unwinding: channel('tidegate:saga-unwinding'),
  undoFailed: channel('tidegate:saga-undo-failed'),
  fellBack: channel('tidegate:saga-fell-back'),
  leaked: channel('tidegate:saga-leaked'),
  committed: channel('tidegate:saga-committed'),
  rolledBack: channel('tidegate:saga-rolled-back'),
  stuck: channel('tidegate:saga-stuck'),
  stopped: channel('tidegate:saga-stopped'),
}

/** A reporter. A listener that throws is a process warning: it changes nothing for the saga. */
export function reporterOf(emitter: EventEmitter<SagaEvents>): SagaReporter {
  return (event, payload) => {
    CHANNELS[event].publish(payload)
    for (const listener of emitter.rawListeners(event) as ((payload: unknown) => unknown)[]) {
      const failed = (error: unknown) => process.emitWarning(`a listener of "${event}" failed: ${error}`)
      try {
        const result = listener.call(emitter, payload)
        if (result instanceof Promise) result.catch(failed)
      } catch (error) {
        failed(error)
      }
    }
  }
}
