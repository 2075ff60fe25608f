/**
 * The demo of an allocation that fails: at each of its five steps, certainly without effect and after its effect,
 * for twenty organizations at once. First with the rollback that people write by hand, then with a saga.
 * `cargo xtask demo --scenario allocation` runs it.
 */

import { writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { optionsOf, whole } from '../../options.ts'
import { Servers } from '../real/programs.ts'
import { DOMAIN, type Fate, STEPS, type Step, uuid } from '../test/support.ts'
import { embedded, real, type Surroundings } from '../world.ts'
import { residue, type Side, withoutTidegate, withTidegate } from './side.ts'

const USAGE = `cargo xtask demo --scenario allocation [options]
  --real        PostgreSQL, PowerDNS and nginx instead of this process' own table and proxy
  --starts N    organizations that start at the same time (default 20)
  --json FILE   write the figures
  --quick       tidegate's side only
`
const values = optionsOf(USAGE, {
  real: { type: 'boolean', default: false },
  starts: { type: 'string', default: '20' },
  json: { type: 'string' },
  quick: { type: 'boolean', default: false },
})
const starts = whole(USAGE, 'starts', values.starts, 1, 200)

const FATES = ['clean', 'unknown, landed'] as const satisfies Fate[]
/** How long undoing may take, the wait for late effects included. */
const PATIENCE = 30_000

interface Round {
  readonly side: 'without' | 'with'
  readonly step: Step
  readonly fate: Fate
  /** Starts that did not answer with the error that happened. */
  readonly otherErrors: number
  /** Gateways that nobody has and nobody gets. */
  readonly lost: number
  readonly left: string[]
  readonly toFree: number
  readonly reported: number
  /** Until every undo was over. Milliseconds. */
  readonly took: number
}

const servers = new Servers()
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, async () => {
    interrupted = true
    process.stderr.write('\nstopping: ending what was started\n')
    await servers[Symbol.asyncDispose]()
    process.exit(130)
  })
}

const terms = { quarantine: '1h', unroutePause: '50ms' } as const
async function opener(): Promise<() => Promise<Surroundings>> {
  if (!values.real) return async () => await embedded({ domain: DOMAIN, terms })
  const { startNginx, startPostgres, startPowerDns } = await import('../real/programs.ts')
  const postgres = await servers.add(startPostgres)
  const powerdns = await servers.add(() => startPowerDns(DOMAIN))
  return async () => {
    const nginx = await servers.add(startNginx)
    return await real({
      domain: DOMAIN,
      terms,
      postgres: await postgres.createDatabase(),
      powerdns,
      nginx,
    })
  }
}

async function round(name: Round['side'], side: Side, step: Step, fate: Fate): Promise<Round> {
  side.fault = { step, fate }
  // Others in each round: the name server outlives the rounds.
  const organizations = Array.from({ length: starts }, (_, n) => uuid(rounds.length * 1_000 + n))
  const begun = performance.now()
  const answers = await Promise.all(organizations.map((organization) => side.start(organization)))
  const lostNow = async () =>
    (await side.gateways()).filter(({ state }) => state !== 'free' && state !== 'quarantined').length
  if (name === 'with') {
    while ((await lostNow()) > 0 && performance.now() - begun < PATIENCE) await delay(20)
  } else {
    await delay(200) // a reload takes effect a moment after it was asked for
  }
  const took = performance.now() - begun
  const { left, toFree } = await residue(side, organizations)
  const otherErrors = answers.filter(({ details }) => details !== `${step} is broken`).length
  const reported = await side.reported()
  return { side: name, step, fate, otherErrors, lost: await lostNow(), left, toFree, reported, took }
}

function row({ step, fate, lost, left, toFree, otherErrors, took }: Round): string {
  const cells = [`${lost}`, `${left.length}`, `${toFree}`, `${otherErrors}`, `${Math.round(took)} ms`]
  return `  ${step.padEnd(10)} ${fate.padEnd(16)} ${cells.map((cell) => cell.padStart(14)).join('')}\n`
}

const rounds: Round[] = []
try {
  const open = await opener()
  const sides = [['with', withTidegate] as const]
  if (!values.quick) sides.unshift(['without', withoutTidegate] as never)
  for (const [name, make] of sides) {
    process.stdout.write(
      `\n${name} tidegate: ${starts} organizations start at once on ${starts} gateways, and one step fails for all\n` +
        `  ${'step'.padEnd(10)} ${'how it fails'.padEnd(16)} ` +
        `${['lost', 'left behind', 'to free ones', 'other errors', 'over after'].map((head) => head.padStart(14)).join('')}\n`,
    )
    for (const step of STEPS) {
      for (const fate of FATES) {
        await using side = await make(await open(), starts)
        const done = await round(name, side, step, fate)
        rounds.push(done)
        process.stdout.write(row(done))
      }
    }
  }
  process.stdout.write(`
  lost: gateways that nobody has and nobody gets · left behind: names, configs and routes of starts that failed
  to free ones: of those, what leads to a gateway that the next organization gets
`)
  const own = rounds.filter(({ side }) => side === 'with')
  const sum = (of: (one: Round) => number) => own.reduce((total, one) => total + of(one), 0)
  const checks: [boolean, string][] = [
    [own.length === STEPS.length * FATES.length, `${own.length} of ${STEPS.length * FATES.length} rounds`],
    [sum(({ lost }) => lost) === 0, `${sum(({ lost }) => lost)} gateways lost (must be 0)`],
    [sum(({ left }) => left.length) === 0, `${sum(({ left }) => left.length)} things left behind (0)`],
    [
      sum(({ otherErrors }) => otherErrors) === 0,
      `${sum(({ otherErrors }) => otherErrors)} other errors (0)`,
    ],
    [sum(({ reported }) => reported) === 0, `${sum(({ reported }) => reported)} allocations stuck (0)`],
  ]
  const holds = checks.every(([held]) => held)
  for (const [held, text] of checks) process.stdout.write(`\n  ${held ? 'yes' : 'NO '}  ${text}`)
  process.stdout.write(`\nverdict: ${holds ? 'holds' : 'DOES NOT HOLD'}\n`)
  if (values.json !== undefined) {
    writeFileSync(values.json, `${JSON.stringify({ starts, real: values.real, rounds, holds }, null, 2)}\n`)
  }
  process.exitCode = holds ? 0 : 1
} catch (error) {
  if (interrupted) await new Promise(() => {})
  process.stderr.write(`\nthe demo failed: ${error instanceof Error ? error.stack : String(error)}\n`)
  process.exitCode = 1
} finally {
  await servers[Symbol.asyncDispose]()
  process.exit()
}
