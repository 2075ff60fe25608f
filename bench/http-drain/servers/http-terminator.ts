import { createHttpTerminator } from 'http-terminator'
import { createApp, listen } from './app.js'

const server = await createApp()
const terminator = createHttpTerminator({ server })
process.once('SIGTERM', async () => {
  await terminator.terminate()
  process.exit(0)
})
await listen(server)
