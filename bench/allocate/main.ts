/**
 * How many gateways a second a pool allocates: 40 clients, 4,000 allocations, on one PostgreSQL as it is shipped
 * (fsync and synchronous_commit on). `cargo xtask bench allocate` runs it.
 *
 * Four ways take turns in each round, on tables of their own that are filled anew before:
 *
 * - `tidegate`: `LeasePool.allocate`, which also keeps one gateway an organization, knows repeated requests and
 *   grants epochs;
 * - `skip locked`: the bare statement that takes any free row, and nothing else;
 * - `prepared`: the same, prepared once for each connection, as the statements of `tidegate` are;
 * - `procedure`: lock the first free row, mark it, write the allocation: what people write first.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { LeasePool } from 'tidegate'
import { migrate, PostgresLeaseStore } from 'tidegate/postgres'
import { startPostgres } from '../../bindings-node/test/support/postgres.js'

const { values } = parseArgs({
  options: {
    clients: { type: 'string', default: '40' },
    allocations: { type: 'string', default: '4000' },
    rounds: { type: 'string', default: '7' },
    json: { type: 'string' },
  },
})
const CLIENTS = Number(values.clients)
const ALLOCATIONS = Number(values.allocations)
const ROUNDS = Number(values.rounds)
/** What a pool must reach of the bare statement. */
const BAR = 0.8

await using server = await startPostgres()
const clients = new pg.Pool({ connectionString: server.url, max: CLIENTS, min: CLIENTS })
await migrate(clients)
await clients.query(`
  CREATE TABLE bare (id integer PRIMARY KEY, organization text, allocated timestamptz);
  CREATE INDEX bare_free ON bare (id) WHERE organization IS NULL;
  CREATE TABLE gateways (id integer PRIMARY KEY, status text NOT NULL);
  CREATE INDEX gateways_status ON gateways (status);
  CREATE TABLE allocations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization text NOT NULL, gateway integer NOT NULL, active boolean NOT NULL, at timestamptz NOT NULL
  );
  CREATE INDEX allocations_organization ON allocations (organization);
  CREATE FUNCTION allocate(wanted text) RETURNS integer LANGUAGE plpgsql AS $$
  DECLARE
    found integer;
  BEGIN
    SELECT gateway INTO found FROM allocations WHERE organization = wanted AND active;
    IF found IS NOT NULL THEN RETURN found; END IF;
    SELECT id INTO found FROM gateways WHERE status = 'free' ORDER BY id LIMIT 1 FOR UPDATE;
    IF found IS NULL THEN RETURN NULL; END IF;
    UPDATE gateways SET status = 'allocated' WHERE id = found;
    INSERT INTO allocations (organization, gateway, active, at) VALUES (wanted, found, true, now());
    RETURN found;
  END $$;
`)
const pool = new LeasePool({ store: new PostgresLeaseStore(clients) })

interface Way {
  readonly name: string
  /** Empties the tables and fills them with free gateways. */
  fill(): Promise<unknown>
  /** Answers the gateway; none when the procedure found nothing behind the lock that it had waited for. */
  allocate(organization: string): Promise<string | number | null>
  /** What the database has after a round: organizations and their gateways. */
  readonly stored: string
}

const BARE = `UPDATE bare SET organization = $1, allocated = now() WHERE id = (
    SELECT id FROM bare WHERE organization IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
  ) RETURNING id`
const STORED_BARE = 'SELECT organization, id AS gateway FROM bare WHERE organization IS NOT NULL'
const fillBare = () =>
  clients.query(`TRUNCATE bare; INSERT INTO bare (id) SELECT generate_series(1, ${ALLOCATIONS})`)

const ways: Way[] = [
  {
    name: 'tidegate',
    fill: () =>
      clients.query(
        `TRUNCATE tidegate_leases; INSERT INTO tidegate_leases (gateway, address)
         SELECT 'gateway-' || n, 'http://10.0.0.1' FROM generate_series(1, ${ALLOCATIONS}) n`,
      ),
    allocate: async (organization) => (await pool.allocate(organization, `request ${organization}`)).gateway,
    stored: 'SELECT organization, gateway FROM tidegate_leases WHERE organization IS NOT NULL',
  },
  {
    name: 'skip locked',
    fill: fillBare,
    allocate: async (organization) => (await clients.query(BARE, [organization])).rows[0].id,
    stored: STORED_BARE,
  },
  {
    name: 'prepared',
    fill: fillBare,
    allocate: async (organization) =>
      (await clients.query({ name: 'bare', text: BARE, values: [organization] })).rows[0].id,
    stored: STORED_BARE,
  },
  {
    name: 'procedure',
    fill: () =>
      clients.query(
        `TRUNCATE gateways, allocations;
         INSERT INTO gateways SELECT n, 'free' FROM generate_series(1, ${ALLOCATIONS}) n`,
      ),
    allocate: async (organization) =>
      (await clients.query('SELECT allocate($1) AS gateway', [organization])).rows[0].gateway,
    stored: 'SELECT organization, gateway FROM allocations WHERE active',
  },
]

interface Round {
  perSecond: number
  /** Milliseconds. */
  median: number
  p99: number
  /** Gateways that two organizations were given, by the answers and by the database. */
  double: number
  /** Answers that the database knows nothing of, and gateways that it has given away to nobody who asked. */
  lost: number
  /** Calls that came back without a gateway although one was free. */
  empty: number
}

async function round(way: Way): Promise<Round> {
  await way.fill()
  // Outside of what is measured: what the last way left behind must not be paid for by this one.
  await clients.query('VACUUM ANALYZE')
  await clients.query('CHECKPOINT')
  const took: number[] = []
  const given = new Map<string, string | number>()
  let next = 0
  let empty = 0
  const client = async () => {
    while (next < ALLOCATIONS) {
      const organization = `organization ${next++}`
      const begin = performance.now()
      let gateway = await way.allocate(organization)
      while (gateway === null) {
        empty += 1
        gateway = await way.allocate(organization)
      }
      took.push(performance.now() - begin)
      given.set(organization, gateway)
    }
  }
  const begin = performance.now()
  await Promise.all(Array.from({ length: CLIENTS }, client))
  const seconds = (performance.now() - begin) / 1_000
  took.sort((a, b) => a - b)
  const { rows } = await clients.query(way.stored)
  const twice = (all: unknown[]) => all.length - new Set(all).size
  const double = Math.max(
    twice([...given.values()]),
    twice(rows.map(({ gateway }) => gateway)),
    twice(rows.map(({ organization }) => organization)),
  )
  const known = rows.filter(({ organization, gateway }) => given.get(organization) === gateway).length
  const lost = ALLOCATIONS - known + (rows.length - known)
  return {
    perSecond: ALLOCATIONS / seconds,
    median: quantile(took, 0.5),
    p99: quantile(took, 0.99),
    double,
    lost,
    empty,
  }
}

function quantile(sorted: number[], p: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))] ?? 0
}
const median = (values: number[]) =>
  quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  )

const results = new Map<string, Round[]>(ways.map(({ name }) => [name, []]))
// One that is not counted: connections, caches, plans.
for (const way of ways) await round(way)
for (let n = 0; n < ROUNDS; n += 1) {
  // Each way is first, second and third in turn.
  for (let place = 0; place < ways.length; place += 1) {
    const way = ways[(n + place) % ways.length] as Way
    results.get(way.name)?.push(await round(way))
  }
}

const of = (name: string, figure: keyof Round) => (results.get(name) ?? []).map((one) => one[figure])
const against = (name: string) =>
  of('tidegate', 'perSecond').map((own, n) => own / (of(name, 'perSecond')[n] ?? 1))
const ratios = against('skip locked')
const prepared = against('prepared')
const {
  rows: [settings],
} = await clients.query(
  `SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync,
     current_setting('synchronous_commit') AS synchronous_commit`,
)
console.log(
  `PostgreSQL ${settings.version}, fsync ${settings.fsync}, synchronous_commit ${settings.synchronous_commit}; ` +
    `${CLIENTS} clients, ${ALLOCATIONS} allocations, ${ROUNDS} rounds; medians of the rounds\n`,
)
console.log('way            a second   (min – max)      median ms   p99 ms   given twice   lost')
for (const { name } of ways) {
  const rates = of(name, 'perSecond')
  const range = `(${Math.round(Math.min(...rates))} – ${Math.round(Math.max(...rates))})`
  const [double, lost] = (['double', 'lost'] as const).map((figure) =>
    of(name, figure).reduce((sum, one) => sum + one, 0),
  )
  console.log(
    `${name.padEnd(12)} ${`${Math.round(median(rates))}`.padStart(10)}   ${range.padEnd(15)} ` +
      `${median(of(name, 'median')).toFixed(1).padStart(10)} ${median(of(name, 'p99')).toFixed(1).padStart(8)} ${`${double}`.padStart(13)} ${`${lost}`.padStart(6)}`,
  )
}
const ratio = median(ratios)
const spread = (of: number[]) => `${Math.min(...of).toFixed(2)} to ${Math.max(...of).toFixed(2)} by round`
const clean = [...of('tidegate', 'double'), ...of('tidegate', 'lost')].every((figure) => figure === 0)
const holds = ratio >= BAR && clean
console.log(`\ntidegate is at ${ratio.toFixed(2)} of the bare statement (${spread(ratios)}; must be ${BAR})`)
console.log(`and at ${median(prepared).toFixed(2)} of the same statement prepared (${spread(prepared)})`)
console.log(`verdict: ${holds ? 'holds' : 'DOES NOT HOLD'}`)
if (values.json !== undefined) {
  const plan = { clients: CLIENTS, allocations: ALLOCATIONS, rounds: ROUNDS }
  const all = Object.fromEntries(results)
  writeFileSync(
    values.json,
    `${JSON.stringify({ plan, settings, results: all, ratios, prepared, holds }, null, 2)}\n`,
  )
}
await clients.end()
process.exitCode = holds ? 0 : 1
