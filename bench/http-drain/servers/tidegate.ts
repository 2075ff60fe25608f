import { Lifecycle } from 'tidegate'
import { createApp, listen } from './app.js'

const life = new Lifecycle({ lameDuck: Number(process.env.LAME_DUCK ?? 100), grace: '10s' })
const server = await createApp()
life.http(server)
await life.run(() => listen(server))
