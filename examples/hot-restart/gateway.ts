/**
 * A gateway that is upgraded without a gap: `gateway.ts BUILD PORT`, then SIGUSR2 for each new build. The lines with
 * `life` are all that it takes; the rest is what any gateway has.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Lifecycle } from 'tidegate'
import { readBuild, report, startUp } from './build.ts'

const build = readBuild()
const server = createServer((_request, response) => void response.end(`${build.version}`))

const life = new Lifecycle({ lameDuck: 0, handoff: { readyLimit: '3s' } })
life.listen('web', server, { host: '127.0.0.1', port: Number(process.argv[3] ?? 0) })
life.on('phase', ({ phase }) => report({ phase, port: (server.address() as AddressInfo | null)?.port }))
life.on('upgraded', ({ pid }) => report({ replacedBy: pid }))
life.on('upgradeFailed', ({ message }) => report({ failed: message }))
await life.run(() => startUp(build))
