/**
 * The same gateway as people write it by hand: it is stopped and started again. `plain.ts BUILD PORT`, and SIGTERM.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readBuild, report, startUp } from './build.ts'

const build = readBuild()
const server = createServer((_request, response) => void response.end(`${build.version}`))

process.on('SIGTERM', () => {
  server.close(() => process.exit(0))
  server.closeIdleConnections()
})
await startUp(build)
server.listen(Number(process.argv[3] ?? 0), '127.0.0.1', () => {
  report({ phase: 'serving', port: (server.address() as AddressInfo).port })
})
