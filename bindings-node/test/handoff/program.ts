/**
 * A gateway that is replaced again and again, for the tests of handing over. What a generation does it reads from
 * `$HANDOFF_DIR/plan.json` when it starts; what happens goes to standard output, one line of JSON each.
 */
import { readFileSync, writeSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createNetServer, type Server, Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type HandoffOptions,
  Lifecycle,
  type LifecycleOptions,
  type ListenOptions,
} from '../../host/index.js'

/** What goes wrong with a successor. */
export type Fault =
  /** It throws while it starts up. */
  | 'crash'
  /** It never is ready. */
  | 'hang'
  /** It is stopped while it starts up. */
  | 'stop'
  /** It is stopped when it has been told that it may accept. */
  | 'stop-after-ack'
  /** It sends something else than the protocol. */
  | 'garbage'
  /** It ends as soon as it has said that it is ready. */
  | 'ready-exit'
  /** It ends when it has been told that it may accept. */
  | 'ack-exit'
  /** It refuses the state. */
  | 'bad-state'
  /** It speaks a version of the messages that nobody knows. */
  | 'version'
  /** It closes its channel and goes on. */
  | 'hang-up'
  /** It cannot accept: another listener that it wants is taken. */
  | 'taken-port'
  /** It leaves a process behind when it ends. */
  | 'stray'

export interface Plan {
  options?: Omit<LifecycleOptions, 'handoff'>
  handoff?: Omit<HandoffOptions, 'state' | 'lease'>
  /** By name; default `web` on a free port. */
  listeners?: Record<string, ListenOptions & { net?: boolean }>
  fault?: Fault
  /** How long starting up takes. Milliseconds. */
  boot?: number
  /** Whether a state is passed, and how large it is. */
  state?: { bytes: number; most?: number }
  undo?: string[]
  lease?: boolean
  /** Whether the first generation changes its working directory. */
  wanders?: boolean
  /** A port that is taken, for the fault. */
  taken?: number
}

const say = (line: object) => writeSync(1, `${JSON.stringify({ pid: process.pid, ...line })}\n`)
const plan = JSON.parse(readFileSync(`${process.env.HANDOFF_DIR}/plan.json`, 'utf8')) as Plan
const passed = process.env.TIDEGATE_HANDOFF
const fault = passed === undefined ? undefined : plan.fault
const never = () => new Promise<void>(() => setInterval(() => {}, 60_000))

/** Speaks to the old process itself, and wrongly. */
async function speak(fault: Fault): Promise<void> {
  const channel = new Socket({ fd: JSON.parse(passed ?? '{}').channel })
  const ready = (version: number) => channel.write(`${JSON.stringify({ type: 'ready', version })}\n`)
  const written = () => new Promise((resolve) => channel.write('', resolve))
  switch (fault) {
    case 'garbage':
      channel.write('GET / HTTP/1.1\r\n\r\n')
      return never()
    case 'version':
      ready(3)
      return never()
    case 'hang-up':
      channel.destroy()
      return never()
    case 'ready-exit':
      ready(1)
      await written()
      process.exit(1)
      break
    case 'ack-exit':
    case 'stop-after-ack':
      ready(1)
      await new Promise((resolve) => channel.once('data', resolve))
      if (fault === 'ack-exit') process.exit(1)
      process.kill(process.pid, 'SIGSTOP')
      return never()
    default:
  }
}
const SPEAKING: (Fault | undefined)[] = [
  'garbage',
  'version',
  'hang-up',
  'ready-exit',
  'ack-exit',
  'stop-after-ack',
]
if (fault !== undefined && SPEAKING.includes(fault)) await speak(fault)

const write = Socket.prototype.write
Socket.prototype.write = function (this: Socket, ...args: Parameters<Socket['write']>) {
  if (typeof args[0] === 'string' && args[0].startsWith('{"type":"ready"')) say({ ready: now() })
  return write.apply(this, args)
} as Socket['write']

function now(): number {
  return performance.timeOrigin + performance.now()
}

let state = Buffer.alloc(plan.state?.bytes ?? 0, 7)
const life = new Lifecycle({
  lameDuck: 0,
  grace: '20s',
  // A client that shares its processor with many tests pauses for long between two requests.
  minIdleAge: '8s',
  ...plan.options,
  handoff: {
    readyLimit: '10s',
    ...plan.handoff,
    ...(plan.state && {
      state: {
        version: 4,
        most: plan.state.most ?? 1_000_000,
        capture: () => state,
        load: (bytes, { version }) => {
          if (fault === 'bad-state') throw new Error('a state of another world')
          state = Buffer.from(bytes)
          say({ state: { bytes: bytes.length, version, sum: state.reduce((sum, byte) => sum + byte, 0) } })
        },
      },
    }),
    ...(plan.lease && {
      lease: { pass: () => say({ lease: 'passed' }), take: () => say({ lease: 'taken' }) },
    }),
  },
})
life.on('upgraded', (upgraded) => say({ upgraded }))
life.on('upgradeFailed', ({ code, message, refused }) => say({ failed: { code, message, refused } }))
life.on('successorLost', (lost) => say({ lost }))
life.on('phase', ({ phase, intent }) => {
  const ports = Object.entries(servers).map(([name, server]) => {
    const address = server.address() as AddressInfo | string | null
    return [name, typeof address === 'object' ? address?.port : address]
  })
  say({ phase, intent, ...(phase === 'serving' && { ports: Object.fromEntries(ports) }) })
})
life.on('hookFailed', ({ hook, error }) => say({ hook, error: `${error}` }))

const servers: Record<string, Server> = {}
for (const [name, { net, ...options }] of Object.entries(plan.listeners ?? { web: { host: '127.0.0.1' } })) {
  const server = net
    ? createNetServer((socket) => void socket.on('error', () => {}).end(`${process.pid}`))
    : createServer((request, response) => {
        const answer = () => response.end(`${process.pid}`)
        const wait = /delay=(\d+)/.exec(request.url ?? '')?.[1]
        if (wait === undefined) answer()
        else setTimeout(answer, Number(wait))
      })
  servers[name] = server
  life.listen(name, server, options)
}
if (fault === 'taken-port') life.listen('taken', createServer(), { host: '127.0.0.1', port: plan.taken ?? 0 })
for (const name of plan.undo ?? []) life.undo(name, () => say({ undone: name }))
life.release('flush', ({ intent }) => say({ released: intent }))

if (plan.wanders && passed === undefined) process.chdir('/')
say({ prepared: true })
try {
  const outcome = await life.run(async () => {
    if (plan.boot !== undefined) await delay(plan.boot)
    if (fault === 'crash') throw new Error('a bad config')
    if (fault === 'hang') await never()
    if (fault === 'stop') process.kill(process.pid, 'SIGSTOP')
    if (fault === 'stray') {
      const { spawn } = await import('node:child_process')
      const stray = spawn('sleep', ['600'], { stdio: 'ignore' })
      say({ stray: stray.pid })
      process.exit(1)
    }
    queueMicrotask(() => say({ booted: true }))
  })
  const { intent, exitCode, duration, forced } = outcome
  say({ outcome: { intent, exitCode, duration, forced } })
} catch (error) {
  say({ thrown: { code: (error as NodeJS.ErrnoException).code, message: (error as Error).message } })
  throw error
}
