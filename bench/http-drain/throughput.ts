/**
 * What a door costs while it is open: the same server with and without, in turns, under the same load.
 *
 * One process holds both servers, so that both run on the same compiled code: between two processes the luck
 * of the compiler alone differs by more than what is to be measured. Several processes, one after the other,
 * average out what is left. See README.md.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { ResponseReader } from './response.js'

/** The bar: serving with a door must reach this part of serving without. */
const BAR = 0.99

const { values: flags } = parseArgs({
  options: {
    processes: { type: 'string', default: '6' },
    rounds: { type: 'string', default: '20' },
    requests: { type: 'string', default: '8000' },
    connections: { type: 'string', default: '60' },
    app: { type: 'string', default: 'node' },
    // No door on either server: what the method makes of no difference at all.
    control: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
})
const connections = Number(flags.connections)
const REQUEST = Buffer.from(
  `POST / HTTP/1.1\r\nHost: bench\r\nContent-Type: application/octet-stream\r\nContent-Length: 256\r\n\r\n${'x'.repeat(256)}`,
)

interface Subject {
  child: ChildProcess
  ports: { bare: number; door: number }
}

/** Per request, in microseconds: of the wall clock, and of the server's processor time. */
interface Cost {
  wall: number
  cpu: number
}

const wall: number[] = []
const cpu: number[] = []
for (let count = 0; count < Number(flags.processes); count += 1) {
  const { child, ports } = await start()
  for (const port of [ports.bare, ports.door, ports.bare, ports.door]) await measure(child, port)
  for (let round = 0; round < Number(flags.rounds); round += 1) {
    // A B, B A: what drifts with time drifts for both.
    const bareFirst = round % 2 === 0
    const early = await measure(child, bareFirst ? ports.bare : ports.door)
    const late = await measure(child, bareFirst ? ports.door : ports.bare)
    const [bare, door] = bareFirst ? [early, late] : [late, early]
    wall.push(bare.wall / door.wall)
    cpu.push(bare.cpu / door.cpu)
  }
  child.kill()
}

console.table({ 'throughput ratio': interval(wall), 'processor time ratio': interval(cpu) })
if (flags.json) await writeFile(flags.json, `${JSON.stringify({ flags, wall, cpu })}\n`)
const { median: reached, high } = interval(wall)
if (reached < BAR) {
  const certainty = high < BAR ? '' : ', but the interval reaches the bar: take more rounds'
  console.error(`the door keeps ${(reached * 100).toFixed(1)} % of the throughput${certainty}`)
  process.exitCode = 1
}

function start(): Promise<Subject> {
  const file = fileURLToPath(new URL('servers/throughput.ts', import.meta.url))
  const child = fork(file, [flags.control ? 'control' : 'door'], {
    execArgv: ['--import', 'tsx'],
    env: { ...process.env, APP: flags.app },
  })
  return new Promise((resolve) => {
    child.once('message', (ports) => resolve({ child, ports: ports as Subject['ports'] }))
  })
}

async function measure(child: ChildProcess, port: number): Promise<Cost> {
  const total = Number(flags.requests)
  const cpuBefore = await cpuTime(child)
  const before = performance.now()
  await load(port, total)
  const took = performance.now() - before
  return { wall: (took * 1e3) / total, cpu: ((await cpuTime(child)) - cpuBefore) / total }
}

function cpuTime(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.once('message', (micros) => resolve(Number(micros)))
    child.send('cpu')
  })
}

/** Keeps every connection busy until `total` requests have been answered. */
async function load(port: number, total: number): Promise<void> {
  let left = total
  const connection = () =>
    new Promise<void>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1')
      const reader = new ResponseReader()
      const next = () => {
        if (left <= 0) socket.destroy()
        else {
          left -= 1
          socket.write(REQUEST)
        }
      }
      socket.setNoDelay()
      socket.once('connect', next)
      socket.on('data', (chunk) => {
        if (reader.read(chunk).length > 0) next()
      })
      socket.once('error', reject)
      socket.once('close', () => resolve())
    })
  await Promise.all(Array.from({ length: connections }, connection))
}

/** The median and where it lies with 95 % confidence, by drawing samples from the sample. */
function interval(values: number[]): { median: number; low: number; high: number; samples: number } {
  const draw = () => values.map(() => values[Math.floor(Math.random() * values.length)] ?? 0)
  const medians = Array.from({ length: 2_000 }, () => median(draw())).sort((a, b) => a - b)
  const at = (part: number) => round(medians[Math.floor(medians.length * part)] ?? Number.NaN)
  return { median: round(median(values)), low: at(0.025), high: at(0.975), samples: values.length }
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const half = sorted.length >> 1
  const upper = sorted[half] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[half - 1] ?? upper)) / 2
}

function round(value: number): number {
  return Math.round(value * 1e4) / 1e4
}
