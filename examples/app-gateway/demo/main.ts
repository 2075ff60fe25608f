/**
 * The demo `restart`: a gateway is restarted in four ways, first with the gateway and the control plane that people
 * write by hand, then with tidegate. `cargo xtask demo --scenario restart` runs it.
 */
import { writeFileSync } from 'node:fs'
import { Servers, startPostgres } from '../../control-plane/real/programs.ts'
import { optionsOf } from '../../options.ts'
import { endAll } from '../../relay/demo/program.ts'
import { type Restart, restart, type Side, WAYS, type Way, World } from './restarts.ts'

const USAGE = `cargo xtask demo --scenario restart [options]
  --real           keep the leases in a PostgreSQL that is started for it (default: in a file of the control plane)
  --postgres URL   keep them in this one
  --json FILE      write the figures
  --quick          tidegate's side only: a smoke test
`
/** One round trip to the control plane, and its write to the disk, on a busy machine. Milliseconds. */
const ROUND_TRIP = 500

const values = optionsOf(USAGE, {
  real: { type: 'boolean', default: false },
  postgres: { type: 'string' },
  json: { type: 'string' },
  quick: { type: 'boolean', default: false },
})
const servers = new Servers()
/** The processes that run now, and their folder. */
let current: World | undefined
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, async () => {
    interrupted = true
    process.stderr.write('\nstopping: ending what was started\n')
    await endAll()
    await current?.[Symbol.asyncDispose]()
    await servers[Symbol.asyncDispose]()
    process.exit(130)
  })
}

const results: Record<Side, Restart[]> = { without: [], with: [] }
try {
  const server = values.real ? await servers.add(startPostgres) : undefined
  for (const side of values.quick ? (['with'] as const) : (['without', 'with'] as const)) {
    process.stdout.write(`\n${side} tidegate: a control plane, 3 gateways\n`)
    for (const way of Object.keys(WAYS) as Way[]) {
      const url = values.postgres ?? (await server?.createDatabase())
      const postgres = url === undefined ? {} : { postgres: url }
      await using world = new World(side, postgres)
      current = world
      await world.start()
      const result = await restart(world, way)
      results[side].push(result)
      process.stdout.write(`  ${way}  ${WAYS[way].padEnd(42)} ${sentence(result)}\n`)
    }
  }
  const own = results.with
  const cold = own.reduce((sum, { coldStarts }) => sum + coldStarts, 0)
  const slowest = Math.max(...own.map(({ serving }) => serving))
  const checks: [boolean, string][] = [
    [cold === 0, `${cold} cold starts (must be 0)`],
    [
      own.every(({ kept }) => kept),
      `${own.filter(({ kept }) => kept).length} of ${own.length} kept gateway and hostname (all)`,
    ],
    [
      slowest < ROUND_TRIP,
      `serving at most ${Math.round(slowest)} ms after the process was up (one round trip: below ${ROUND_TRIP})`,
    ],
    [
      own.every(({ way, exitCode }) => exitCode === (way === 'D' ? 'SIGKILL' : '0')),
      `exit codes ${own.map(({ exitCode }) => exitCode).join(', ')} (0; D was killed)`,
    ],
  ]
  const holds = checks.every(([held]) => held)
  process.stdout.write(`\n${checks.map(([held, text]) => `  ${held ? 'yes' : 'NO '}  ${text}`).join('\n')}\n`)
  process.stdout.write(`verdict: ${holds ? 'holds' : 'DOES NOT HOLD'}\n`)
  if (values.json) writeFileSync(values.json, `${JSON.stringify({ results, holds }, null, 2)}\n`)
  process.exitCode = holds ? 0 : 1
} catch (error) {
  // The processes ended because they were told to.
  if (interrupted) await new Promise(() => {})
  process.stderr.write(`\nthe demo failed: ${error instanceof Error ? error.stack : String(error)}\n`)
  process.exitCode = 1
} finally {
  await endAll()
  await servers[Symbol.asyncDispose]()
}

function sentence({ coldStarts, kept, serving, booted }: Restart): string {
  const name = kept ? 'hostname kept' : 'idle until a user starts it anew'
  return `${coldStarts} cold starts, ${name}, up in ${Math.round(booted)} ms, serving ${Math.round(serving)} ms later`
}
