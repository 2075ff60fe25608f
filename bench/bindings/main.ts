/**
 * What a call into the core costs, from Node, WebAssembly and Python, beside xstate and transitions.
 *
 * `node --import tsx main.ts [--rounds N] [--json FILE]`
 */

import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { CROSSING, contenders, EFFECTS, QUIET } from './contenders.js'
import { measure, median, type Row } from './rounds.js'

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '25' }, json: { type: 'string' } },
})
const rounds = Number(values.rounds)
const root = fileURLToPath(new URL('../../', import.meta.url))
const python = `${root}.xtask/venv/bin/python`
if (!existsSync(python)) throw new Error('there is no .xtask/venv; `cargo xtask setup` makes it')

const inNode = measure(contenders(), rounds, 20)
const child = spawnSync(python, [`${root}bench/bindings/measure.py`, '--rounds', String(rounds)], {
  encoding: 'utf8',
  stdio: ['ignore', 'pipe', 'inherit'],
})
if (child.status !== 0) throw new Error(`the Python side ended with ${child.status}`)
const inPython = JSON.parse(child.stdout) as Row[]

/** The best that each language is compared with. */
const PEERS = ['xstate actor.send', 'transitions trigger']

function table(rows: readonly Row[]): void {
  for (const work of [CROSSING, QUIET, EFFECTS]) {
    const peer = rows.find((row) => row.work === work && PEERS.includes(row.name))
    for (const row of rows.filter((row) => row.work === work)) {
      const cost = median(row.samples)
      const times = peer === undefined || peer === row ? '' : `${(median(peer.samples) / cost).toFixed(1)} ×`
      const least = Math.min(...row.samples)
      console.log(
        `| ${work} | ${row.name} | ${Math.round(cost)} | ${Math.round(least)} | ${times.padStart(7)} |`,
      )
    }
  }
}

console.log('| work | path | median ns | least ns | peer / this |\n| --- | --- | ---: | ---: | ---: |')
table(inNode)
table(inPython)
console.log(`\n${rounds} rounds, Node ${process.version}`)

if (values.json !== undefined) {
  writeFileSync(
    values.json,
    `${JSON.stringify({ rounds, node: process.version, rows: [...inNode, ...inPython] })}\n`,
  )
}

// The machines of the host have timers.
process.exit(0)
