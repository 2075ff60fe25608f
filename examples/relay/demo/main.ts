/**
 * The demo: a fleet of relays is redeployed under load, first with the relay and the hosts that people write by
 * hand, then with tidegate. `cargo xtask demo` runs it.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type Directory, startDirectory } from './directory.ts'
import { endAll } from './program.ts'
import { rollout } from './rollout.ts'
import { table, verdict } from './table.ts'

const USAGE = `cargo xtask demo [options]
  --hosts N            hosts with a tunnel each (default 200)
  --rate N             requests a second through the relays (default 150)
  --reconnect-rate N   tell at most N hosts a second to move; 0: all at once (default 0)
  --redis              keep the directory in a real Redis server (default: served by this runner, in memory)
  --json FILE          write the figures and the raw numbers
  --quick              60 hosts, tidegate's side only: a smoke test
`

const { values } = parseArgs({
  options: {
    hosts: { type: 'string' },
    rate: { type: 'string', default: '150' },
    'reconnect-rate': { type: 'string', default: '0' },
    redis: { type: 'boolean', default: false },
    json: { type: 'string' },
    quick: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(USAGE)
  process.exit(0)
}
const number = (name: string, text: string, least: number): number => {
  const value = Number(text)
  if (Number.isInteger(value) && value >= least) return value
  process.stderr.write(`--${name} is ${text}, must be a whole number of at least ${least}\n\n${USAGE}`)
  process.exit(2)
}
const plan = {
  hosts: number('hosts', values.hosts ?? (values.quick ? '60' : '200'), 2),
  rate: number('rate', values.rate, 1),
  reconnectRate: number('reconnect-rate', values['reconnect-rate'], 0),
}

let directory: Directory | undefined
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, async () => {
    if (interrupted) return
    interrupted = true
    process.stderr.write('\nstopping: ending the processes that were started\n')
    await endAll()
    await directory?.stop()
    process.exit(130)
  })
}

try {
  const sides = values.quick ? (['with'] as const) : (['without', 'with'] as const)
  const results = []
  for (const side of sides) {
    directory = await startDirectory(values.redis)
    process.stdout.write(
      `\n${side} tidegate: 2 relays, ${plan.hosts} hosts, ${plan.rate} requests/s, ${directory.kind}\n`,
    )
    results.push(await rollout(side, plan, directory, (text) => process.stdout.write(`  ${text}\n`)))
    await directory.stop()
    directory = undefined
  }
  const judged = verdict(results.at(-1), plan)
  process.stdout.write(`\n${table(results)}\n${judged.text}\n`)
  if (values.json !== undefined) {
    writeFileSync(values.json, `${JSON.stringify({ plan, results, verdict: judged }, null, 2)}\n`)
  }
  process.exitCode = judged.holds ? 0 : 1
} catch (error) {
  if (!interrupted) {
    process.stderr.write(`\nthe demo failed: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  }
} finally {
  if (!interrupted) {
    await endAll()
    await directory?.stop()
    process.exit()
  }
}
