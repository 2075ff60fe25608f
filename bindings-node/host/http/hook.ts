import type { EventEmitter } from 'node:events'

// biome-ignore lint/suspicious/noExplicitAny: listeners of every event have their own parameters
type Listener = (...args: any[]) => void

/**
 * Puts listeners before all others, but only while the application listens to the same event: Node decides
 * by the presence of listeners whether to upgrade, or to answer `Expect: 100-continue` by itself.
 */
export function hookWhenUsed(emitter: EventEmitter, hooks: Record<string, Listener>): void {
  const ours = new Map<string | symbol, Listener>(Object.entries(hooks))
  const hooked = new Set<string | symbol>()

  const hook = (event: string | symbol) => {
    const listener = ours.get(event)
    if (!listener || hooked.has(event)) return
    hooked.add(event)
    emitter.prependListener(event, listener)
  }
  const unhook = (event: string | symbol) => {
    const listener = ours.get(event)
    if (!listener || !hooked.has(event) || emitter.listenerCount(event) > 1) return
    hooked.delete(event)
    emitter.off(event, listener)
  }

  for (const event of ours.keys()) {
    if (emitter.listenerCount(event) > 0) hook(event)
  }
  emitter.prependListener('newListener', hook)
  emitter.on('removeListener', unhook)
}
