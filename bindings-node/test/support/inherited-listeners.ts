/** Listens on the sockets that it was given as descriptors 3 and 4, and says which of them are for it alone. */
import { createServer } from 'node:net'
import { Listeners } from '../../host/handoff/listeners.js'
import { ownListener } from '../../host/http/node-internals.js'

const [own, foreign] = [createServer(), createServer()]
const listeners = new Listeners([
  { name: 'own', fd: 3, port: undefined, foreign: false },
  { name: 'foreign', fd: 4, port: undefined, foreign: true },
])
listeners.add('own', own, {})
listeners.add('foreign', foreign, {})
await listeners.open()
process.stdout.write(
  JSON.stringify({ own: ownListener(own) !== undefined, foreign: ownListener(foreign) !== undefined }),
)
own.close()
foreign.close()
