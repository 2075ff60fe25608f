import { setTimeout as delay } from 'node:timers/promises'
import { HttpDoor } from 'tidegate'
import { createApp, listen } from './app.js'

const LAME_DUCK = Number(process.env.LAME_DUCK ?? 100)

const server = await createApp()
let changed = () => {}
const door = new HttpDoor(server, { onChange: () => changed() })

process.once('SIGTERM', async () => {
  door.lameDuck()
  await delay(LAME_DUCK)
  await door.closeDoor()
  while (!door.drained) {
    const { nextIn } = await door.closeIdle()
    if (door.drained) break
    await Promise.race([
      new Promise<void>((resolve) => {
        changed = resolve
      }),
      ...(nextIn === undefined ? [] : [delay(nextIn)]),
    ])
  }
  process.exit(0)
})
await listen(server)
