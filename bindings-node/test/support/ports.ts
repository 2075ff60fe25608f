import { createServer } from 'node:net'

// Not where another test process may begin at the same moment.
let next = 20_000 + Math.floor(Math.random() * 10_000)

/**
 * A port that is free and, unlike those that the system gives out, taken neither by the next who asks for any nor by who
 * connects to somewhere: a server that is killed can start on it again.
 */
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
