/** Stop signals: SIGTERM and SIGINT, unless told otherwise, from the moment a lifecycle exists. */

import { constants } from 'node:os'
import type { Intent } from './drainable.js'

/** Which signals stop the process, and what a stop by each of them means. */
export type SignalIntents = Partial<Record<NodeJS.Signals, Intent>>

/** Platforms differ in which they send first (Kubernetes SIGTERM, fly.io SIGINT), so both mean the same. */
export const DEFAULT_SIGNALS: SignalIntents = { SIGTERM: 'restart', SIGINT: 'restart' }

/**
 * Listens to signals. Returns the function that stops listening, which gives the signals their default
 * meaning back.
 *
 * Works as PID 1 too: the kernel drops signals for PID 1 only while nothing handles them.
 *
 * @throws Error for a signal that no process can handle (SIGKILL, SIGSTOP) or that the platform lacks.
 */
export function listenToSignals(
  signals: SignalIntents,
  received: (intent: Intent, signal: NodeJS.Signals) => void,
): () => void {
  const listeners: [signal: NodeJS.Signals, listener: () => void][] = []
  const stop = () => {
    for (const [signal, listener] of listeners.splice(0)) process.off(signal, listener)
  }
  try {
    for (const [name, intent] of Object.entries(signals)) {
      const signal = name as NodeJS.Signals
      const listener = () => received(intent, signal)
      process.on(signal, listener)
      listeners.push([signal, listener])
    }
  } catch (error) {
    stop()
    throw error
  }
  return stop
}

/** The exit code by which shells and supervisors know a death by signal: 128 + its number. */
export function exitCodeOf(signal: NodeJS.Signals): number {
  return 128 + (constants.signals[signal] ?? 0)
}
