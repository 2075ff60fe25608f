/**
 * What a door costs while it is open: the same server with and without, in turns, under the same load.
 *
 * Each pair runs one process of each kind, so that neither the layout of a process's memory nor the state of
 * the machine favours one side for the whole run. See README.md.
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
    pairs: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '6' },
    requests: { type: 'string', default: '15000' },
    connections: { type: 'string', default: '60' },
    app: { type: 'string', default: 'node' },
    json: { type: 'string' },
  },
})
const connections = Number(flags.connections)
const REQUEST = Buffer.from(
  `POST / HTTP/1.1\r\nHost: bench\r\nContent-Type: application/octet-stream\r\nContent-Length: 256\r\n\r\n${'x'.repeat(256)}`,
)

interface Subject {
  child: ChildProcess
  port: number
}

/** Per request, in microseconds: of the wall clock, and of the server's processor time. */
interface Cost {
  wall: number
  cpu: number
}

const wall: number[] = []
const cpu: number[] = []
for (let pair = 0; pair < Number(flags.pairs); pair += 1) {
  const [bare, door] = [await start('bare'), await start('door')]
  for (const subject of [bare, door, bare, door]) await measure(subject)
  for (let round = 0; round < Number(flags.rounds); round += 1) {
    // A B B A: what drifts with time drifts for both.
    const first = round % 2 === 0
    const early = await measure(first ? bare : door)
    const late = await measure(first ? door : bare)
    const [without, with_] = first ? [early, late] : [late, early]
    wall.push(without.wall / with_.wall)
    cpu.push(without.cpu / with_.cpu)
  }
  bare.child.kill()
  door.child.kill()
}

console.table({ 'throughput ratio': interval(wall), 'processor time ratio': interval(cpu) })
if (flags.json) await writeFile(flags.json, `${JSON.stringify({ flags, wall, cpu })}\n`)
const { median: reached, high } = interval(wall)
if (reached < BAR) {
  const certainty = high < BAR ? '' : ', but the interval reaches the bar: take more pairs'
  console.error(`the door keeps ${(reached * 100).toFixed(1)} % of the throughput${certainty}`)
  process.exitCode = 1
}

function start(kind: 'bare' | 'door'): Promise<Subject> {
  const file = fileURLToPath(new URL('servers/throughput.ts', import.meta.url))
  const child = fork(file, [kind], {
    execArgv: ['--import', 'tsx'],
    env: { ...process.env, APP: flags.app },
  })
  return new Promise((resolve) => child.once('message', (port) => resolve({ child, port: Number(port) })))
}

async function measure({ child, port }: Subject): Promise<Cost> {
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
