/**
 * What it costs to clear the rows of one relay out of a directory in Redis: 10,000 of 100,000.
 *
 *   npm run clear --workspace tidegate-bench-directory
 *
 * Beside the clear by owner stands the one that reads the whole directory to find the owner's rows, as a
 * directory without an index has to. Both run in turn against the same server, on rows of the same shape. A
 * third column is the latency of somebody else's look-up meanwhile: a script holds the whole server.
 */
import { Redis } from 'ioredis'
import { RedisDirectory } from '../../bindings-node/host/redis.js'
import { RedisServer } from '../../bindings-node/test/support/redis.js'

const RELAYS = 10
const HOSTS_EACH = 10_000
const ROUNDS = 7

/** Reads every row and removes those of the owner, in pieces. */
const FULL_SCAN = `
local all = redis.call('HGETALL', KEYS[1])
local gone = {}
for n = 1, #all, 2 do
  local machine = string.match(all[n + 1], '^%d+ %d+ %d+ (%S+)')
  if machine == ARGV[1] then gone[#gone + 1] = all[n] end
end
for first = 1, #gone, 1000 do
  local piece = { unpack(gone, first, math.min(first + 999, #gone)) }
  redis.call('HDEL', KEYS[1], unpack(piece))
  redis.call('ZREM', KEYS[2], unpack(piece))
end
return #gone`

await using server = await RedisServer.start()
const client = new Redis({ host: '127.0.0.1', port: server.port })
const other = new Redis({ host: '127.0.0.1', port: server.port })
const prefix = '{bench}'
const directory = new RedisDirectory(client, { prefix, commandTimeout: 60_000 })
const onlooker = new RedisDirectory(other, { prefix, commandTimeout: 60_000 })

const owner = (relay: number) => ({ machine: `relay-${relay}`, incarnation: 1 })

async function fill(relay: number): Promise<number> {
  const begin = performance.now()
  for (let first = 0; first < HOSTS_EACH; first += 1_000) {
    const some = Array.from({ length: 1_000 }, (_, n) => `host-${relay}-${first + n}`)
    await Promise.all(
      some.map(async (host) => {
        const { epoch } = await directory.look(host)
        await directory.register({ host, owner: owner(relay), epoch, address: 'http://10.0.0.1:9080' })
      }),
    )
  }
  return performance.now() - begin
}

async function timed(clear: () => Promise<number>): Promise<{ took: number; blocked: number }> {
  const begin = performance.now()
  const cleared = clear()
  const look = onlooker.look('host-9-1').then(() => performance.now() - begin)
  const count = await cleared
  const took = performance.now() - begin
  if (count !== HOSTS_EACH) throw new Error(`cleared ${count} rows`)
  return { took, blocked: await look }
}

const fills = []
for (let relay = 0; relay < RELAYS; relay += 1) fills.push(await fill(relay))

const results: Record<string, { took: number; blocked: number }[]> = { 'by owner': [], 'whole directory': [] }
for (let round = 0; round < ROUNDS; round += 1) {
  results['by owner']?.push(await timed(() => directory.clearOwn(owner(0))))
  await fill(0)
  results['whole directory']?.push(
    await timed(async () =>
      Number(await client.eval(FULL_SCAN, 2, `${prefix}:rows`, `${prefix}:ends`, 'relay-0')),
    ),
  )
  await fill(0)
}

const median = (values: number[]): string =>
  (values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0).toFixed(1)
const best = (values: number[]): string => Math.min(...values).toFixed(1)
const worst = (values: number[]): string => Math.max(...values).toFixed(1)
const perSecond = Math.round((RELAYS * HOSTS_EACH) / (fills.reduce((sum, fill) => sum + fill, 0) / 1_000))
console.log(
  `${RELAYS * HOSTS_EACH} rows of ${RELAYS} relays; ${perSecond} look-ups and registrations a second`,
)
console.log('clear of 10,000        best ms  median ms   worst ms   look-up beside it, median ms')
for (const [name, rounds] of Object.entries(results)) {
  const took = rounds.map((round) => round.took)
  const blocked = median(rounds.map((round) => round.blocked))
  console.log(
    `${name.padEnd(18)} ${best(took).padStart(11)} ${median(took).padStart(10)} ${worst(took).padStart(10)} ${blocked.padStart(12)}`,
  )
}
client.disconnect()
other.disconnect()
