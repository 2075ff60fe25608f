/** Two servers, one with a door and one without; says their ports, then its processor time when asked. */
import type { Server } from 'node:http'
import { HttpDoor } from 'tidegate'
import { createApp, portOf } from './app.js'

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', 4096, resolve))
  return portOf(server)
}

const [bare, door] = [await createApp(), await createApp()]
if (process.argv[2] !== 'control') new HttpDoor(door)
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send?.(user + system)
})
process.send?.({ bare: await listening(bare), door: await listening(door) })
