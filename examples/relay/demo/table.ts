/** The figures of the demo, side by side, and what they must be. */
import type { Departure, Plan, Result } from './rollout.ts'

/** The cap of the hosts' backoff. Milliseconds. */
const CAP = 5_000
/** How long a told host may take to leave before it is closed. Milliseconds. */
const FLUSH = 500

/** The p-th part of sorted numbers. */
export function quantile(sorted: number[], p: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))] ?? 0
}

const redeploys = (result: Result): Departure[] =>
  result.departures.filter((departure) => departure.exitCode !== 'SIGKILL')
const kills = (result: Result): Departure[] =>
  result.departures.filter((departure) => departure.exitCode === 'SIGKILL')
const sum = (departures: Departure[], of: (departure: Departure) => number): number =>
  departures.reduce((total, departure) => total + of(departure), 0)
const times = (departures: Departure[]): number[] =>
  departures.flatMap((departure) => departure.reconnects).sort((x, y) => x - y)

/** The figures, one row each: name, then one value a side. */
function rows(result: Result): [string, string][] {
  const rolling = redeploys(result)
  const killed = kills(result)
  const ms = (value: number) => `${Math.round(value)} ms`
  const quantiles = (sorted: number[]) => [0.5, 0.99, 1].map((p) => ms(quantile(sorted, p))).join(' / ')
  const perHost = (departures: Departure[]) => {
    const hosts = sum(departures, (departure) => departure.affected)
    return hosts === 0 ? '-' : (sum(departures, (departure) => departure.dials) / hosts).toFixed(2)
  }
  return [
    ['requests sent in all', String(result.load.sent)],
    ['rolling redeploy: requests lost', String(sum(rolling, (departure) => departure.requestsLost))],
    ['  time to reconnect p50 / p99 / max', quantiles(times(rolling))],
    ['  attempts per host', perHost(rolling)],
    ['  hosts not back', String(sum(rolling, (departure) => departure.missing))],
    ['  stale directory rows at exit', String(sum(rolling, (departure) => departure.staleAtExit))],
    ['  exit codes', rolling.map((departure) => departure.exitCode).join(', ')],
    ['  exit after', rolling.map((departure) => ms(departure.exitAfter)).join(', ')],
    ['SIGKILL: requests lost', String(sum(killed, (departure) => departure.requestsLost))],
    ['  time to reconnect p50 / p99 / max', quantiles(times(killed))],
    ['  attempts per host', perHost(killed)],
    ['  stale directory rows at exit', String(sum(killed, (departure) => departure.staleAtExit))],
    ['  stale rows once all were back', String(sum(killed, (departure) => departure.staleAtEnd))],
  ]
}

export function table(results: Result[]): string {
  const columns = results.map((result) => rows(result))
  const names = columns[0]?.map(([name]) => name) ?? []
  const widths = results.map((result, column) =>
    Math.max(`${result.side} tidegate`.length, ...(columns[column] ?? []).map(([, value]) => value.length)),
  )
  const line = (name: string, cells: string[]) =>
    `${name.padEnd(38)} ${cells.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('   ')}`.trimEnd()
  return [
    line(
      '',
      results.map((result) => `${result.side} tidegate`),
    ),
    ...names.map((name, row) =>
      line(
        name,
        columns.map((column) => column[row]?.[1] ?? ''),
      ),
    ),
  ].join('\n')
}

/** The most hosts told in any 100 ms, and how long the telling took (D5). */
function pace(departure: Departure): { most: number; took: number } {
  const told = departure.toldAt
  const took = told.length === 0 ? 0 : (told.at(-1) ?? 0) - (told[0] ?? 0)
  let most = 0
  for (let first = 0, last = 0; last < told.length; last++) {
    while ((told[last] ?? 0) - (told[first] ?? 0) >= 100) first += 1
    most = Math.max(most, last - first + 1)
  }
  return { most, took }
}

/** Whether tidegate's side keeps every promise, each named with its figure. */
export function verdict(result: Result | undefined, plan: Plan): { holds: boolean; text: string } {
  if (result === undefined) return { holds: false, text: 'verdict: nothing was run' }
  const rolling = redeploys(result)
  const killed = kills(result)
  const lost = sum(rolling, (departure) => departure.requestsLost)
  const p99 = quantile(times(rolling), 0.99)
  const checks: [boolean, string][] = [
    [lost === 0, `${lost} requests lost in the rolling redeploy (must be 0)`],
    [sum(rolling, (d) => d.missing) === 0, `${sum(rolling, (d) => d.missing)} hosts not back (0)`],
    [
      sum(rolling, (d) => d.repeated + d.disturbed) === 0,
      `${sum(rolling, (d) => d.repeated + d.disturbed)} reconnects beyond one for each restart of a host's relay (0)`,
    ],
    [p99 < 1_000, `p99 reconnect ${Math.round(p99)} ms (below 1000)`],
    [
      sum(rolling, (d) => d.staleAtExit) === 0,
      `${sum(rolling, (d) => d.staleAtExit)} stale rows at exit (0)`,
    ],
    [rolling.every((d) => d.exitCode === '0'), `exit codes ${rolling.map((d) => d.exitCode).join(', ')} (0)`],
    ...killed.flatMap((departure): [boolean, string][] => [
      [
        departure.missing === 0 && departure.lastBackAfterAccepting <= CAP + 1_000,
        `after SIGKILL the last host was back ${Math.round(departure.lastBackAfterAccepting)} ms after a relay accepted (cap + 1 s: ${CAP + 1_000})`,
      ],
      [departure.staleAtEnd === 0, `${departure.staleAtEnd} rows point to the killed process (0)`],
    ]),
  ]
  if (plan.reconnectRate > 0) {
    for (const departure of rolling) {
      const { most, took } = pace(departure)
      const window = (departure.affected * 1_000) / plan.reconnectRate
      const allowed = Math.max(1, Math.ceil((2 * plan.reconnectRate) / 10))
      checks.push(
        [most <= allowed, `${departure.what}: at most ${most} hosts told in any 100 ms (allowed ${allowed})`],
        [
          took <= 1.1 * window + FLUSH,
          `${departure.what}: all told in ${Math.round(took)} ms (1.1 × window + flush: ${Math.round(1.1 * window + FLUSH)})`,
        ],
      )
    }
  }
  const holds = checks.every(([held]) => held)
  const lines = checks.map(([held, text]) => `  ${held ? 'yes' : 'NO '}  ${text}`)
  return { holds, text: ['', ...lines, `verdict: ${holds ? 'holds' : 'DOES NOT HOLD'}`].join('\n') }
}
