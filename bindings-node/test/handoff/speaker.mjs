/**
 * A gateway that knows nothing of tidegate but the words of a handoff, in the version that it is given: an
 * implementation of its own, of `host/handoff/wire.ts` and `inheritance.ts`. On SIGUSR2 it starts its successor.
 *
 * `speaker.mjs VERSION SUCCESSOR [ARGUMENT …]`
 */
import { spawn } from 'node:child_process'
import { writeSync } from 'node:fs'
import { createServer } from 'node:http'
import { Socket } from 'node:net'
import { createInterface } from 'node:readline'

const [version, command, ...args] = process.argv.slice(2)
const VERSION = Number(version)
const say = (line) => writeSync(1, `${JSON.stringify({ pid: process.pid, ...line })}\n`)
/** The lower of both versions, if the higher side still understands it. */
const agreed = (theirs) => (Math.abs(VERSION - theirs) <= 1 ? Math.min(VERSION, theirs) : undefined)
const sendTo = (channel, message) => channel.write(`${JSON.stringify(message)}\n`)
const server = createServer((_request, response) => void response.end(`${process.pid}`))

function serve(options, then) {
  server.listen(options, () => {
    then()
    say({ phase: 'serving', ports: { web: server.address().port } })
  })
}

if (process.env.TIDEGATE_HANDOFF === undefined) {
  serve({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () => {})
} else {
  const channel = new Socket({ fd: JSON.parse(process.env.TIDEGATE_HANDOFF).channel })
  createInterface({ input: channel }).on('line', (line) => {
    const message = JSON.parse(line)
    if (message.type !== 'acknowledged' || message.version !== agreed(message.version)) process.exit(1)
    say({ spoken: message.version })
    channel.unref()
    serve({ fd: 3, backlog: 4_096 }, () => sendTo(channel, { type: 'accepting' }))
  })
  // What a later version may say besides must not matter.
  sendTo(channel, { type: 'ready', version: VERSION, colour: 'green' })
}

process.on('SIGTERM', () => process.exit(0))
process.on('SIGUSR2', () => {
  const child = spawn(command, args, {
    stdio: ['inherit', 'inherit', 'inherit', server._handle.fd, 'pipe'],
    env: {
      ...process.env,
      LISTEN_FDS: '1',
      LISTEN_FDNAMES: 'web',
      TIDEGATE_HANDOFF: JSON.stringify({ channel: 4, parent: process.pid, shape: 'round' }),
    },
  })
  createInterface({ input: child.stdio[4] }).on('line', (line) => {
    const message = JSON.parse(line)
    if (message.type === 'ready') {
      const spoken = agreed(message.version)
      say({ spoken: spoken ?? 0 })
      if (spoken === undefined) child.kill('SIGKILL')
      else sendTo(child.stdio[4], { type: 'acknowledged', version: spoken, state: null })
    } else if (message.type === 'accepting') {
      say({ upgraded: { pid: child.pid, duration: 0 } })
      // Whoever is on a connection that is kept gets its answer, and is sent away.
      server.close(() => process.exit(0))
      server.closeIdleConnections()
    }
  })
  child.once('exit', () => say({ failed: { code: 'exited', message: 'it ended', refused: false } }))
})
