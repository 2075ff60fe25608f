/** Compares how servers stop under load, all in one interleaved run. See README.md. */
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import type { Outcome, Style } from './load.js'
import { type RunResult, run, type Scenario } from './run.js'

const CONTENDERS = ['bare', 'plain-close', 'http-terminator', 'stoppable', 'close-with-grace', 'tidegate']
const OURS = 'tidegate'
/** What may pass between the end of the longest request in flight and the exit, in milliseconds. */
const EXIT_SLACK = 250

const { values: flags } = parseArgs({
  options: {
    think: { type: 'string', default: '0-6' },
    pipelined: { type: 'boolean', default: false },
    http10: { type: 'boolean', default: false },
    'slow-bodies': { type: 'boolean', default: false },
    uploads: { type: 'boolean', default: false },
    http2: { type: 'boolean', default: false },
    reconnect: { type: 'boolean', default: false },
    app: { type: 'string', default: 'node' },
    'lame-duck': { type: 'string', default: '100' },
    connections: { type: 'string', default: '60' },
    fresh: { type: 'string', default: '20' },
    runs: { type: 'string', default: '10' },
    only: { type: 'string', multiple: true },
    json: { type: 'string' },
  },
})

const style: Style = {
  version: flags.http10 ? '1.0' : '1.1',
  depth: flags.pipelined ? 4 : 1,
  bodySize: flags.uploads ? 1 << 20 : 256,
  pieces: flags['slow-bodies'] ? 3 : flags.uploads ? 16 : 1,
  pause: flags['slow-bodies'] || flags.uploads ? 10 : 0,
}
const [min = 0, max = 6] = flags.think.split('-').map(Number)
const scenario: Scenario = {
  style,
  think: [min, max],
  app: flags.app,
  http2: flags.http2,
  connections: Number(flags.connections),
  fresh: Number(flags.fresh),
  reconnect: flags.reconnect,
  lameDuck: Number(flags['lame-duck']),
}
const contenders = flags.only ?? CONTENDERS

const results: RunResult[] = []
for (let round = 0; round < Number(flags.runs); round += 1) {
  // Another order in each round, so that nobody always follows the same neighbour.
  for (let at = 0; at < contenders.length; at += 1) {
    const contender = contenders[(at + round) % contenders.length]
    if (contender) results.push(await run(contender, scenario))
  }
}

console.table(Object.fromEntries(contenders.map((name) => [name, summary(name)])))
report(OURS)
if (flags.json) await writeFile(flags.json, `${JSON.stringify({ scenario, results }, null, 1)}\n`)

const ours = results.filter(({ contender }) => contender === OURS)
const faults = ours.flatMap(missed)
for (const fault of faults) console.error(`${OURS} misses the bar: ${fault}`)
if (faults.length > 0) process.exitCode = 1

function summary(name: string): Record<string, string | number> {
  const runs = results.filter(({ contender }) => contender === name)
  const count = (outcome: Outcome) =>
    runs.reduce((sum, { exchanges }) => sum + exchanges.filter((each) => each.outcome === outcome).length, 0)
  const exits = runs.flatMap(({ exit }) => exit ?? [])
  const beyond = runs.flatMap(({ exit, longest }) => (exit === undefined ? [] : exit - longest))
  return {
    ok: count('ok'),
    lost: count('lost'),
    reset: count('reset'),
    '503s': count('unavailable'),
    refused: count('refused'),
    'exit median': exits.length > 0 ? Math.round(median(exits)) : 'never',
    'exit max': exits.length === runs.length ? Math.round(Math.max(...exits)) : 'never',
    'beyond longest, max': beyond.length === runs.length ? Math.round(Math.max(...beyond)) : 'never',
  }
}

function missed({ exchanges, exit, longest }: RunResult, index: number): string[] {
  const faults = exchanges
    .filter(({ outcome }) => outcome === 'lost' || outcome === 'reset' || outcome === 'unavailable')
    .map(({ outcome, kind, detail }) => `run ${index + 1}: a ${kind} request was ${outcome} (${detail})`)
  if (exit === undefined) faults.push(`run ${index + 1}: had to be killed`)
  else if (exit > longest + EXIT_SLACK) {
    faults.push(
      `run ${index + 1}: exit ${exit.toFixed(0)} ms after the signal, ${longest.toFixed(0)} ms in flight`,
    )
  }
  return faults
}

/** The bar is meaningless when the load did not reach the moment it is about. */
function report(name: string): void {
  const runs = results.filter(({ contender }) => contender === name)
  const idleRuns = runs.filter(({ longest }) => longest === 0).length
  if (idleRuns > 0) console.error(`${name}: ${idleRuns} runs had nothing in flight at the signal`)
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? Number.NaN
}
