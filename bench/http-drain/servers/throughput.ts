/** One of the two servers of the throughput comparison; says its port, then its processor time when asked. */
import { HttpDoor } from 'tidegate'
import { createApp } from './app.js'

const server = await createApp()
if (process.argv[2] === 'door') new HttpDoor(server)
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send?.(user + system)
})
server.listen(0, '127.0.0.1', 4096, () => {
  const address = server.address()
  if (address && typeof address === 'object') process.send?.(address.port)
})
