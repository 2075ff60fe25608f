import { createServer } from 'node:net'

let next = 20_000 + (process.pid % 10_000)

/** A port that is free and, unlike those that the system gives out, not taken by the next who asks for any. */
export async function freePort(): Promise<number> {
  for (;;) {
    next += 1
    const port = next
    const server = createServer()
    const isFree = await new Promise((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    await new Promise((resolve) => server.close(resolve))
    if (isFree) return port
  }
}
