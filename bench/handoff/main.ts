/**
 * Hot restart under load: upgrades that succeed, and successors with every fault. Counts the requests that failed, and
 * measures how long after it was ready a successor served its first request.
 *
 * The gateway and the load are those of the tests (`bindings-node/test/handoff`).
 */
import { writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { bundle, endAll, Generations, openFiles } from '../../bindings-node/test/handoff/generations.js'
import { Load } from '../../bindings-node/test/handoff/load.js'
import type { Fault, Plan } from '../../bindings-node/test/handoff/program.js'
import { until } from '../../bindings-node/test/until.js'

const USAGE = `cargo xtask bench handoff [options]
  --upgrades N   upgrades that succeed (default 100)
  --faults N     of each fault, each followed by an upgrade that succeeds (default: as --upgrades)
  --json FILE    the raw numbers
`

const { values } = parseArgs({
  options: {
    upgrades: { type: 'string', default: '100' },
    faults: { type: 'string' },
    json: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
const upgrades = Number(values.upgrades)
const faults = Number(values.faults ?? values.upgrades)
if (values.help || ![upgrades, faults].every((number) => Number.isInteger(number) && number >= 0)) {
  process.stdout.write(USAGE)
  process.exit(values.help ? 0 : 2)
}

/** The bar for the time from *ready* to the first request served. Milliseconds. */
const BAR = 50
const SHORT = { readyLimit: 3_000, acceptLimit: 2_000 }
/** Chains with faults at the same time: they mostly wait. The chain that is measured runs alone. */
const TOGETHER = 3
const FAULTS: Record<Fault | 'missing', { title: string; plan?: Plan }> = {
  missing: { title: 'new program missing' },
  crash: { title: 'crash before ready' },
  'ready-exit': { title: 'crash after ready' },
  'ack-exit': { title: 'crash after the acknowledgement' },
  hang: { title: 'hang', plan: { handoff: SHORT } },
  stop: { title: 'stopped (SIGSTOP) while it starts', plan: { handoff: SHORT } },
  'stop-after-ack': { title: 'stopped after the acknowledgement', plan: { handoff: SHORT } },
  'bad-state': { title: 'bad state', plan: { state: { bytes: 100_000 } } },
  garbage: { title: 'garbage on the channel' },
  version: { title: 'unknown version' },
  'hang-up': { title: 'channel closed, and goes on' },
  stray: { title: 'crash that leaves a process' },
  'taken-port': { title: 'cannot accept' },
}

/** What one chain of generations came to. */
interface Row {
  title: string
  /** Attempts that failed as they were to. */
  rolledBack: number
  /** Upgrades that succeeded. */
  upgraded: number
  answered: number
  failures: string[]
  /** From *ready* written to the first answer complete at a client, for each upgrade. Milliseconds. */
  served: number[]
  /** From the begin of the upgrade until the successor accepts. Milliseconds. */
  durations: number[]
}

/** Runs a chain: each fault, if there is one, is followed by an upgrade that succeeds. */
async function chain(title: string, times: number, plan: Plan, fault?: Fault | 'missing'): Promise<Row> {
  const generations = new Generations(script, plan)
  const { ports } = await generations.serving()
  const load = new Load(ports?.web as number)
  // One upgrade, so that what only the first generation has is gone; not counted.
  await generations.replaced()
  await generations.alone()
  const files = () => openFiles(generations.pid).sort().join()
  let before: string | undefined
  const same = async () => {
    if (before === undefined) {
      // Connections come and go while it is looked: the fewest of several looks are what stays.
      const looks: string[] = []
      for (let look = 0; look < 20; look += 1) {
        looks.push(files())
        await delay(10)
      }
      before = looks.reduce((least, look) => (look.length < least.length ? look : least))
    }
    await until(() => files() === before, 'no descriptor to be left behind').catch((error: Error) => {
      throw new Error(`${title}: ${error.message}: ${files()} instead of ${before}`)
    })
  }
  const row: Row = { title, rolledBack: 0, upgraded: 0, answered: 0, failures: [], served: [], durations: [] }
  for (let time = 0; time < times; time += 1) {
    if (fault !== undefined) {
      if (fault === 'missing') generations.withoutProgram()
      else generations.plan({ fault })
      await generations.failed()
      generations.withProgram()
      generations.plan({ fault: undefined as never })
      await generations.alone()
      await same()
      row.rolledBack += 1
    }
    const { pid, duration } = await generations.replaced()
    const { ready = 0 } = await generations.line((line) => line.pid === pid && line.ready, 'ready')
    const first = await load.answerOf(pid)
    await generations.alone()
    await same()
    row.upgraded += 1
    row.served.push(tenths(first - ready))
    row.durations.push(tenths(duration))
  }
  const { answered, failures } = await load.stop()
  generations.end()
  return { ...row, answered, failures }
}

const tenths = (milliseconds: number) => Math.round(milliseconds * 10) / 10
const sorted = (numbers: number[]) => [...numbers].sort((a, b) => a - b)
const at = (numbers: number[], share: number) =>
  sorted(numbers)[Math.max(0, Math.ceil(numbers.length * share) - 1)] ?? Number.NaN
const shown = (number: number) => (Number.isNaN(number) ? '' : number.toFixed(1))

function print(row: Row): void {
  const cells = [
    row.title.padEnd(36),
    `${row.rolledBack}`.padStart(11),
    `${row.upgraded}`.padStart(9),
    `${row.answered}`.padStart(9),
    `${row.failures.length}`.padStart(7),
    ...[0.5, 0.99, 1].map((share) => shown(at(row.served, share)).padStart(8)),
  ]
  process.stdout.write(`${cells.join(' ')}\n`)
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    endAll()
    process.exit(130)
  })
}

const script = await bundle('program')
const rows: Row[] = []
try {
  process.stdout.write(
    `${cpus().length} cores, load ${loadavg()[0]?.toFixed(1)}, Node ${process.version}; times in milliseconds\n\n` +
      `${'successors'.padEnd(36)} rolled back  upgraded  answered  failed      p50      p99      max\n`,
  )
  const add = (row: Row) => {
    rows.push(row)
    print(row)
  }
  add(await chain('good', upgrades, {}))
  if (faults > 0) {
    const taken = new Generations(script, {})
    const { ports } = await taken.serving()
    const waiting = Object.entries(FAULTS)
    const work = async () => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        const [fault, { title, plan }] = next
        add(await chain(title, faults, { ...plan, taken: ports?.web as number }, fault as Fault | 'missing'))
      }
    }
    await Promise.all(Array.from({ length: TOGETHER }, work))
    taken.end()
  }
} finally {
  endAll()
}

const failed = rows.flatMap(({ failures }) => failures)
const good = rows[0]?.served ?? []
const met = failed.length === 0 && (upgrades === 0 || at(good, 0.99) < BAR)
process.stdout.write(
  `\n${failed.length} requests failed of ${rows.reduce((sum, { answered }) => sum + answered, 0)}; ` +
    `from ready to the first request served p99 ${shown(at(good, 0.99))} ms, at most ${shown(at(good, 1))} ms ` +
    `(bar: 0 failed, p99 < ${BAR} ms): ${met ? 'met' : 'NOT met'}\n`,
)
if (values.json !== undefined) {
  writeFileSync(values.json, `${JSON.stringify({ node: process.version, cores: cpus().length, rows })}\n`)
}
process.exitCode = met ? 0 : 1
