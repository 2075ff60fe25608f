import closeWithGrace from 'close-with-grace'
import { announce, createFastify } from './app.js'

const app = createFastify()
closeWithGrace({ delay: 10_000 }, () => app.close())
await app.listen({ port: 0, host: '127.0.0.1', backlog: 4096 })
announce(app.server)
