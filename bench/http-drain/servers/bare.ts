/** No handler: the signal ends the process. */
import { createApp, listen } from './app.js'

await listen(await createApp())
