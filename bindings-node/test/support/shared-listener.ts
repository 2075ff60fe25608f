/** Closes the door of a server that listens on a socket it was given as file descriptor 3. */
import { createServer } from 'node:http'
import { HttpDoor } from '../../host/index.js'

const server = createServer()
server.listen({ fd: 3 }, async () => {
  await new HttpDoor(server).closeDoor()
  process.exit(0)
})
