/** The gateway of this example as real processes, with its leases in a real PostgreSQL. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type PostgresServer, startPostgres } from '../../../bindings-node/test/support/postgres.ts'
import { until } from '../../../bindings-node/test/until.ts'
import { stopGateway, WAYS, type Way, World } from '../demo/restarts.ts'
import { post } from '../http.ts'

interface Row {
  gateway: string
  state: string
  epoch: number
  organization?: string
  hostname?: string
  cause?: string
}

let server: PostgresServer
before(async () => {
  server = await startPostgres()
})
after(async () => {
  await server[Symbol.asyncDispose]()
})
const world = async (options = {}) =>
  await new World('with', { postgres: await server.createDatabase(), ...options }).start()
const rowOf = async (of: World, gateway: string): Promise<Row> => {
  const rows = (await (await fetch(`${of.control}/gateways`)).json()) as Row[]
  return rows.find((row) => row.gateway === gateway) as Row
}

describe('a gateway', () => {
  for (const [way, how] of Object.entries(WAYS)) {
    it(`keeps organization and hostname: ${how}`, async () => {
      await using one = await world()
      const { gateway, hostname } = await one.startOrganization('acme')
      const first = await rowOf(one, gateway)
      await stopGateway(one, gateway, way as Way)
      const stopped = await rowOf(one, gateway)
      assert.equal(stopped.state, way === 'D' ? 'active' : 'held')
      assert.equal(stopped.cause, { A: 'restart', B: 'idle', C: 'restart', D: undefined }[way])
      await one.startGateway(gateway)
      const served = await one.program(gateway).report('serving')
      assert.deepEqual(
        [served.organization, served.hostname, served.epoch],
        ['acme', hostname, first.epoch + 1],
      )
      const asked = await fetch(one.address(gateway), { headers: { 'x-lease-epoch': `${first.epoch}` } })
      assert.equal(asked.status, 409, 'the gateway refuses the epoch before')
      const late = { gateway_id: gateway, epoch: first.epoch, intent: 'decommission' }
      const refused = await post(`${one.control}/gateway/stop`, `secret-of-${gateway}`, late)
      assert.equal(refused.status, 403, 'the control plane refuses it as well')
      assert.equal((await rowOf(one, gateway)).state, 'active')
    })
  }

  it('gives its organization up when it is decommissioned, and is idle afterwards', async () => {
    await using one = await world()
    const { gateway } = await one.startOrganization('acme')
    await post(`${one.address(gateway)}/control/stop`, '', { intent: 'decommission' })
    const { code } = await one.program(gateway).exited
    assert.equal(code, 0)
    await until(async () => (await rowOf(one, gateway)).state === 'free', 'the gateway to be free')
    await one.startGateway(gateway)
    await one.program(gateway).report('idle')
    assert.equal((await fetch(one.address(gateway))).status, 503)
  })

  it('serves nothing more when it was cut off for longer than its lease, and comes back', async () => {
    await using one = await world()
    const { gateway, hostname } = await one.startOrganization('acme')
    const program = one.program(gateway)
    program.signal('SIGSTOP')
    await until(async () => (await rowOf(one, gateway)).state === 'held', 'the lease to expire', 30_000)
    // What was asked meanwhile is answered once it goes on.
    const asked = fetch(one.address(gateway)).then(
      ({ status }) => status,
      () => 0,
    )
    program.signal('SIGCONT')
    assert.notEqual(await asked, 200)
    await program.report('lease-lost')
    await program.exited
    await one.startGateway(gateway)
    const served = await one.program(gateway).report('serving')
    assert.deepEqual([served.organization, served.hostname], ['acme', hostname])
  })

  it('serves on while the control plane is restarted, and asks on when it starts meanwhile', async () => {
    await using one = await world()
    const { gateway } = await one.startOrganization('acme')
    await one.program('control-plane').end('SIGKILL')
    assert.equal((await fetch(one.address(gateway))).status, 200)
    await stopGateway(one, gateway, 'D')
    await one.startGateway(gateway)
    await one.program(gateway).report('cannot-know')
    assert.equal((await fetch(one.address(gateway))).status, 503)
    await one.startControl()
    await one.program(gateway).report('serving')
    assert.equal(
      one.program(gateway).seen.some(({ event }) => event === 'idle'),
      false,
    )
  })
})

describe('a start', () => {
  it('answers by the status codes that users know', async () => {
    await using one = await world()
    const start = async (organization: unknown, token: string) =>
      (await post(`${one.control}/gateway/start`, token, { organization_id: organization })).status
    assert.equal(await start(undefined, 'member-of-acme'), 400)
    assert.equal(await start('not an id', 'member-of-acme'), 400)
    assert.equal(await start('acme', 'member-of-other'), 403)
    for (const organization of ['one', 'two', 'three']) {
      assert.equal(await start(organization, `member-of-${organization}`), 200)
    }
    assert.equal(await start('four', 'member-of-four'), 503)
    assert.equal(await start('one', 'member-of-one'), 200, 'it has one already')
  })

  it('refuses what it cannot read, whoever asks, and lives on', async () => {
    await using one = await world()
    const { gateway } = await one.startOrganization('acme')
    const headers = { authorization: `Bearer secret-of-${gateway}` }
    const say = async (address: string, body: string | undefined, method = 'POST') =>
      (await fetch(address, { method, headers, ...(body !== undefined && { body }) })).status
    for (const call of ['start', 'config', 'ready', 'renew', 'stop']) {
      const at = `${one.control}/gateway/${call}`
      for (const body of ['null', '[]', '7', '{', 'garbage', '{"gateway_id":[]}', 'x'.repeat(2_000_000)]) {
        assert.equal(await say(at, body), 400, `${call} ${body.slice(0, 20)}`)
      }
      assert.equal(await say(at, undefined, 'GET'), 405)
    }
    const stop = (more: object) =>
      JSON.stringify({ gateway_id: gateway, epoch: 1, intent: 'restart', ...more })
    for (const more of [{ epoch: -1 }, { epoch: '1' }, { intent: 'nonsense' }, { intent: undefined }]) {
      assert.equal(await say(`${one.control}/gateway/stop`, stop(more)), 400, JSON.stringify(more))
    }
    assert.equal(await say(`${one.control}/gateway/nonsense`, stop({})), 404)
    for (const body of ['null', 'garbage', 'x'.repeat(2_000_000)]) {
      assert.equal(await say(`${one.address(gateway)}/control/stop`, body), 400)
      assert.equal(await say(`${one.address(gateway)}/collab/start`, body), 401)
    }
    assert.equal((await rowOf(one, gateway)).state, 'active')
    assert.equal((await fetch(one.address(gateway))).status, 200)
  })

  it('quarantines a gateway that does not answer its handshake', async () => {
    await using one = await world()
    for (const gateway of ['g1', 'g2', 'g3']) await one.program(gateway).end('SIGKILL')
    await assert.rejects(one.startOrganization('acme'), /start answered 500/)
    const rows = (await (await fetch(`${one.control}/gateways`)).json()) as Row[]
    assert.equal(
      rows.filter(({ state, cause }) => state === 'quarantined' && cause === 'handshake').length,
      1,
    )
  })
})
