/**
 * A gateway whose control plane is away, or cut off from it: real processes, and leases in a real PostgreSQL. The time
 * is the one on the wall: the minute is a minute, with the term that is the default.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { type PostgresServer, startPostgres } from '../../../bindings-node/test/support/postgres.ts'
import { until } from '../../../bindings-node/test/until.ts'
import { World } from '../demo/restarts.ts'
import { post } from '../http.ts'
import { Network } from './network.ts'

interface Row {
  state: string
  epoch: number
  organization: string
  /** Whether its time is not over yet, as the database sees it. */
  lasts: boolean
}

let server: PostgresServer
before(async () => {
  server = await startPostgres()
})
after(async () => {
  await server[Symbol.asyncDispose]()
})

/** What the database says of a gateway, whoever else can be reached. */
async function rowIn(url: string, gateway: string): Promise<Row> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const { rows } = await client.query(
      'SELECT state, epoch::int, organization, until > clock_timestamp() AS lasts FROM tidegate_leases WHERE gateway = $1',
      [gateway],
    )
    return rows[0] as Row
  } finally {
    await client.end()
  }
}

/** Asks a gateway again and again until it is gone; what it answered, and for how long it served. Milliseconds. */
async function askUntilGone(address: string): Promise<{ statuses: Set<number>; served: number }> {
  const began = performance.now()
  const statuses = new Set<number>()
  let served = 0
  for (;;) {
    const status = await fetch(address, { headers: { connection: 'close' } }).then(
      (response) => response.status,
      () => 0,
    )
    if (status === 0) return { statuses, served }
    statuses.add(status)
    if (status === 200) served = performance.now() - began
    await delay(50)
  }
}

describe('a gateway', { concurrency: true }, () => {
  it('serves within its lease while the control plane is down for a minute, says why it stopped, and comes back', async () => {
    const postgres = await server.createDatabase()
    await using one = await new World('with', { postgres, term: '60s', grace: '10m' }).start()
    const { gateway, hostname } = await one.startOrganization('acme')
    const { epoch } = await rowIn(postgres, gateway)
    const down = performance.now()
    await one.program('control-plane').end('SIGKILL')
    const asked = await askUntilGone(one.address(gateway))
    // Its lease is of 60 s, it renews every 20 s, and has to be gone before anybody may expire it.
    assert.ok(asked.served > 30_000, `it served for ${asked.served} ms`)
    const row = await rowIn(postgres, gateway)
    assert.deepEqual([row.state, row.lasts], ['active', true], 'it stopped before its lease was over')
    const lost = await one.program(gateway).report('lease-lost')
    assert.equal(lost.loss, 'unrenewed')
    const stopped = await one.program(gateway).report('stopped')
    assert.match(`${stopped.lease}`, /unreleased/)
    // Whatever it answered on its last way out, it was nothing wrong.
    for (const status of asked.statuses) assert.ok([200, 503].includes(status), `${status}`)
    await delay(Math.max(0, 60_000 - (performance.now() - down)))
    await one.startControl()
    await one.startGateway(gateway)
    const served = await one.program(gateway).report('serving')
    assert.deepEqual([served.organization, served.hostname, served.epoch], ['acme', hostname, epoch + 1])
  })

  it('that is cut off for less than its lease goes on as if nothing had been', async () => {
    await using network = await Network.between()
    const postgres = await server.createDatabase()
    const between = (control: string) => network.to(control)
    await using one = await new World('with', { postgres, term: '20s', between }).start()
    const { gateway } = await one.startOrganization('acme')
    const { epoch } = await rowIn(postgres, gateway)
    network.cut()
    // Longer than it takes to be missed: a renew is due every third of the term.
    const cut = performance.now()
    while (performance.now() - cut < 9_000) {
      assert.equal((await fetch(one.address(gateway))).status, 200)
      await delay(100)
    }
    await one.program(gateway).report('cannot-know')
    network.heal()
    await until(
      async () => {
        assert.equal((await fetch(one.address(gateway))).status, 200)
        return performance.now() - cut > 25_000
      },
      'more than the term',
      60_000,
    )
    const row = await rowIn(postgres, gateway)
    assert.deepEqual([row.state, row.epoch, row.lasts], ['active', epoch, true])
    assert.ok(!one.program(gateway).seen.some(({ event }) => event === 'lease-lost'))
  })

  it('that is cut off for longer stops in time, keeps organization and hostname, and its old epoch is worth nothing', async () => {
    await using network = await Network.between()
    const postgres = await server.createDatabase()
    const between = (control: string) => network.to(control)
    await using one = await new World('with', { postgres, between }).start()
    const { gateway, hostname } = await one.startOrganization('acme')
    const { epoch } = await rowIn(postgres, gateway)
    network.cut()
    const { served } = await askUntilGone(one.address(gateway))
    assert.ok(served > 500, `it served for ${served} ms`)
    const row = await rowIn(postgres, gateway)
    assert.deepEqual([row.state, row.lasts], ['active', true], 'it stopped before its lease was over')
    assert.equal((await one.program(gateway).report('lease-lost')).loss, 'unrenewed')
    await until(async () => (await rowIn(postgres, gateway)).state === 'held', 'the lease to expire', 30_000)
    assert.equal((await rowIn(postgres, gateway)).organization, 'acme')
    await one.startGateway(gateway)
    await one.program(gateway).report('cannot-know')
    assert.equal((await fetch(one.address(gateway))).status, 503, 'nothing is served on a guess')
    network.heal()
    const again = await one.program(gateway).report('serving')
    assert.deepEqual([again.organization, again.hostname, again.epoch], ['acme', hostname, epoch + 1])

    const asked = await fetch(one.address(gateway), { headers: { 'x-lease-epoch': `${epoch}` } })
    assert.equal(asked.status, 409, 'the gateway refuses the old epoch')
    for (const [call, more] of [
      ['renew', {}],
      ['stop', { intent: 'decommission' }],
      ['ready', { incarnation: 1 }],
    ] as const) {
      const body = { gateway_id: gateway, epoch, ...more }
      const refused = await post(`${one.control}/gateway/${call}`, `secret-of-${gateway}`, body)
      assert.equal(refused.status, 403, `the control plane refuses it to ${call}`)
    }
    const client = new pg.Client({ connectionString: postgres })
    await client.connect()
    try {
      const holds = async (which: number) =>
        (await client.query('SELECT tidegate_lease_holds($1, $2) AS holds', [gateway, which])).rows[0].holds
      assert.deepEqual([await holds(epoch), await holds(epoch + 1)], [false, true])
      await assert.rejects(
        client.query('UPDATE tidegate_leases SET epoch = $2 WHERE gateway = $1', [gateway, epoch]),
        /stale epoch/,
        'the database refuses it as well',
      )
    } finally {
      await client.end()
    }
    assert.equal((await rowIn(postgres, gateway)).epoch, epoch + 1)
  })
})
