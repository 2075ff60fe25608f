/** What Node's own documentation suggests. */
import { createApp, listen } from './app.js'

const server = await createApp()
process.once('SIGTERM', () => server.close(() => process.exit(0)))
await listen(server)
