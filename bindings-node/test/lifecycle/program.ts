/**
 * A gateway as a process of its own, for the tests of signals and exit codes. What it does comes as JSON in
 * its first argument; what happens goes to its standard output, one line of JSON each.
 */
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { Lifecycle, type LifecycleOptions } from '../../host/index.js'
import { listen } from './support.js'

export interface Plan {
  options?: LifecycleOptions
  /** What happens between the construction and `run()`. */
  before?: 'pause' | 'hang'
  /** What `run()` is given to boot. */
  boot?: 'pause' | 'hang' | 'throw'
  /** Handles the error of `run()` itself. */
  catches?: boolean
  failing?: boolean
  /** Leaves a timer behind. */
  forgets?: boolean
  drainCode?: number
  reconnectRate?: number
  /** Keeps running after the stop. */
  lingers?: boolean
}

const plan = JSON.parse(process.argv[2] ?? '{}') as Plan
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)

const life = new Lifecycle({ lameDuck: 0, minIdleAge: 50, flush: 200, ...plan.options })
life.on('readiness', ({ ready }) => say({ ready }))
life.on('phase', ({ phase }) => say({ phase }))
life.stopping.addEventListener('abort', () => say({ stopping: true }))
say({ pid: process.pid, constructed: true })

const pause = (name: string) =>
  new Promise<void>((resolve) => {
    say({ pausing: name })
    process.stdin.once('data', () => resolve())
  })
const hang = () => new Promise<void>(() => setInterval(() => {}, 1_000))

if (plan.before === 'pause') await pause('before')
if (plan.before === 'hang') await hang()
process.stdin.unref()

const server = createServer((request, response) => {
  const delay = Number(new URL(request.url ?? '/', 'http://x').searchParams.get('delay') ?? 0)
  if (delay === 0) response.end('ok')
  else setTimeout(() => response.end('ok'), delay)
})
const sockets = new WebSocketServer({ server })
life.http(server)
life.webSockets(sockets, {
  ...(plan.drainCode === undefined ? {} : { drainCode: plan.drainCode }),
  ...(plan.reconnectRate === undefined ? {} : { reconnectRate: plan.reconnectRate }),
})
life.release('flush', () => {
  say({ released: true })
  if (plan.failing) throw new Error('disk full')
})
if (plan.forgets || plan.lingers) setInterval(() => {}, 1_000)

const running = life.run(async () => {
  say({ port: await listen(server) })
  if (plan.boot === 'pause') await pause('boot')
  if (plan.boot === 'hang') await hang()
  if (plan.boot === 'throw') throw new Error('no database')
})
if (plan.catches) await running.catch((error: Error) => say({ caught: error.message }))
else say({ outcome: await running })
