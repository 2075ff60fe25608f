import type { HttpDoor } from '../../host/http.js'

/** What a driver does once the lame duck is over; resolves when nothing is left, or fails at the deadline. */
export async function drain(door: HttpDoor, minIdleAge?: number, deadline = 5_000): Promise<void> {
  const end = performance.now() + deadline
  await door.closeDoor()
  while (!door.drained) {
    const { nextIn = 5 } = await door.closeIdle(minIdleAge)
    if (door.drained) return
    if (performance.now() > end) throw new Error(`not drained: ${describe(door)}`)
    await new Promise((resolve) => setTimeout(resolve, Math.min(nextIn, 5)))
  }
}

export function describe(door: HttpDoor): string {
  const { requests, idle, receiving, upgraded, connections } = door
  return JSON.stringify({ requests, idle, receiving, upgraded, connections })
}
