import stoppable from 'stoppable'
import { createApp, listen } from './app.js'

const server = stoppable(await createApp())
process.once('SIGTERM', () => server.stop(() => process.exit(0)))
await listen(server)
