/** Fleets of relays over a real Redis: deploys and deaths, under load. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { RedisDirectory } from '../host/redis.js'
import { ioredisOf } from './support/directories.js'
import { ProcessRelay } from './support/process-relay.js'
import { RedisServer } from './support/redis.js'
import { ask, type HostOptions, TestHost, TestRelay, until } from './support/relay.js'

let redis: RedisServer
let client: Redis
before(async () => {
  redis = await RedisServer.start()
  client = ioredisOf(redis)
})
after(async () => {
  client.disconnect()
  await redis[Symbol.asyncDispose]()
})

/** What clients can ask. */
interface Asked {
  url(path: string): string
}

/** Clients that ask random hosts through random relays, and remember everything that was not a 200. */
class Load {
  sent = 0
  slowest = 0
  readonly lost: string[] = []
  readonly #workers: Promise<void>[]
  #stopped = false

  constructor(relays: () => Asked[], hosts: string[], workers: number) {
    this.#workers = Array.from({ length: workers }, (_, n) => this.#work(relays, hosts, n))
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#workers)
  }

  async #work(relays: () => Asked[], hosts: string[], worker: number): Promise<void> {
    while (!this.#stopped) {
      const serving = relays()
      const relay = serving[Math.floor(Math.random() * serving.length)]
      const host = hosts[Math.floor(Math.random() * hosts.length)]
      if (!relay) throw new Error('no relay serves')
      const method = worker % 2 === 0 ? 'POST' : 'GET'
      const path = `/${worker}-${++this.sent}`
      const begin = performance.now()
      try {
        const { status, text } = await ask(relay.url(`/hosts/${host}${path}`), {
          method,
          body: method === 'POST' ? 'b' : '',
        })
        if (status !== 200 || text !== `${method} ${path}`)
          this.lost.push(`${method} ${host}: ${status} ${text}`)
      } catch (error) {
        this.lost.push(`${method} ${host}: ${error}`)
      }
      this.slowest = Math.max(this.slowest, performance.now() - begin)
    }
  }
}

/** Answers after a moment, so that there is always something under way. */
async function slowEcho({ method, path }: { method: string; path: string }) {
  await delay(Math.random() * 30)
  return { body: `${method} ${path}` }
}

function hostsOf(count: number, options: (n: number) => HostOptions): TestHost[] {
  return Array.from({ length: count }, (_, n) => new TestHost(`h${n}`, { answer: slowEcho, ...options(n) }))
}

async function connectAll(hosts: TestHost[], relays: TestRelay[]): Promise<void> {
  await Promise.all(hosts.map((host, n) => host.connect(relays[n % relays.length] as TestRelay)))
}

describe('a rolling deploy under load', () => {
  for (const [name, drain] of [
    ['finish before they move', (_: number): HostOptions['drain'] => 'finish'],
    ['only know the plain notice', (_: number): HostOptions['drain'] => 'plain'],
    ['are of both kinds', (n: number): HostOptions['drain'] => (n % 2 ? 'plain' : 'finish')],
  ] as const) {
    it(`loses no request of hosts that ${name}, and reconnects each once a restart (S1)`, async (t) => {
      const directory = new RedisDirectory(client, { prefix: `{deploy-${name}}` })
      const start = (machine: string) => TestRelay.start({ directory, machine })
      let relays = await Promise.all(['a', 'b', 'c'].map(start))
      const hosts = hostsOf(120, (n) => ({
        drain: drain(n),
        relays: () => (n % 2 ? relays : [...relays].reverse()),
      }))
      t.after(async () => {
        for (const host of hosts) host[Symbol.dispose]()
        for (const relay of relays) await relay[Symbol.asyncDispose]()
      })
      await connectAll(hosts, relays)
      const load = new Load(
        () => relays,
        hosts.map((host) => host.name),
        12,
      )
      const expected = new Map(hosts.map((host) => [host, 1]))
      const times: number[] = []
      for (const machine of ['a', 'b', 'c']) {
        await delay(100)
        const dying = relays.find((relay) => relay.machine === machine) as TestRelay
        const moved = hosts.filter((host) => dying.tunnels.has(host.name))
        for (const host of moved) expected.set(host, (expected.get(host) ?? 0) + 1)
        relays = relays.filter((relay) => relay !== dying)
        const begin = performance.now()
        const drained = dying.drain()
        await until(() => moved.every((host) => relays.some((relay) => relay.tunnels.has(host.name))))
        times.push(Math.round(performance.now() - begin))
        await drained
        const rows = await client.hvals(`{deploy-${name}}:rows`)
        assert.deepEqual(
          rows.filter((row) => row.includes(` ${machine} `)),
          [],
        )
        relays = [...relays, await start(machine)]
      }
      await delay(100)
      await load.stop()
      assert.deepEqual(load.lost, [])
      assert.ok(load.sent > 50, `only ${load.sent} requests`)
      assert.deepEqual(
        hosts.filter((host) => host.connects !== expected.get(host)).map(({ name }) => name),
        [],
      )
      console.log(
        `  ${load.sent} requests, slowest ${Math.round(load.slowest)} ms; hosts back after ${times} ms`,
      )
    })
  }

  it('holds no one up beyond the window when hosts are told to spread', async () => {
    const directory = new RedisDirectory(client, { prefix: '{spread}' })
    let relays = await Promise.all(['a', 'b'].map((machine) => TestRelay.start({ directory, machine })))
    const hosts = hostsOf(60, () => ({ drain: 'finish', relays: () => relays }))
    await connectAll(hosts, relays.slice(0, 1))
    const load = new Load(
      () => relays,
      hosts.map((host) => host.name),
      6,
    )
    await delay(50)
    const [dying] = relays
    relays = relays.slice(1)
    const begin = performance.now()
    await dying?.drain({ reconnectRate: 75 })
    const took = performance.now() - begin
    assert.ok(hosts.every((host) => relays[0]?.tunnels.has(host.name)))
    await load.stop()
    assert.deepEqual(load.lost, [])
    // 60 hosts at 75 a second: not faster than asked. How much slower a busy machine is, the demo says.
    assert.ok(took > 400, `${took}`)
    for (const host of hosts) host[Symbol.dispose]()
    for (const relay of relays) await relay[Symbol.asyncDispose]()
  })
})

describe('a relay that dies', () => {
  it('leaves rows that lead nowhere: requests wait for the new ones, and its next life clears the old (S1)', async () => {
    const directory = new RedisDirectory(client, { prefix: '{death}' })
    const [a, b] = await Promise.all(['a', 'b'].map((machine) => TestRelay.start({ directory, machine })))
    assert.ok(a && b)
    const hosts = hostsOf(40, () => ({ relays: () => [b] }))
    await connectAll(hosts, [a])
    const owner = a.tunnels
    const rowsOfA = async () =>
      (await client.hvals('{death}:rows')).filter((row) => row.includes(' a ')).length
    assert.equal(await rowsOfA(), 40)
    // As in a SIGKILL, its sockets are cut and its rows stay.
    const silent = new RedisDirectory(client, { prefix: '{death}' })
    silent.clearOwn = async () => 0
    directory.unregister = async ({ epoch }) => ({ type: 'removed', epoch })
    await a.kill()
    assert.ok(owner)
    const answers = await Promise.all(
      hosts.map((host) => ask(b.url(`/hosts/${host.name}/x`), { method: 'POST' })),
    )
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200])
    await directory.register({
      host: 'gone',
      owner: { machine: 'a', incarnation: 1 },
      address: 'http://127.0.0.1:1',
    })
    const again = await TestRelay.start({ directory, machine: 'a' })
    assert.equal(await rowsOfA(), 0)
    for (const host of hosts) host[Symbol.dispose]()
    for (const relay of [again, b]) await relay[Symbol.asyncDispose]()
  })
})

describe('a Redis that goes away', () => {
  it('for 5 s in the middle of a drain costs no request that can be served here, and leaves no row beyond its TTL', async () => {
    await using own = await RedisServer.start()
    const connection = ioredisOf(own)
    const directory = new RedisDirectory(connection, { prefix: '{away}', ttl: 3_000, commandTimeout: 300 })
    const peer = { renewEvery: 300, retryEvery: 100, registerLimit: 500 }
    const [a, b] = await Promise.all(
      ['a', 'b'].map((machine) => TestRelay.start({ directory, machine, peer })),
    )
    assert.ok(a && b)
    // The hosts of a cannot go anywhere while the directory is away: b cannot register them.
    const moving = hostsOf(20, () => ({ drain: 'finish', relays: () => [b] }))
    await connectAll(moving, [a])
    const staying = Array.from({ length: 20 }, (_, n) => new TestHost(`s${n}`, { answer: slowEcho }))
    await connectAll(staying, [b])
    own.freeze()
    const outage = delay(5_000).then(() => own.thaw())
    // Hosts that stay are served by b all the time.
    const atB = new Load(
      () => [b],
      staying.map((host) => host.name),
      4,
    )
    // Hosts that are told keep working on a until they have a new row.
    const atA = new Load(
      () => [a],
      moving.map((host) => host.name),
      4,
    )
    a.tunnels.refuseNew()
    a.tunnels.tell(20, undefined, { intent: 'restart', reason: 'deploy', code: 1012 })
    await delay(4_000)
    await atA.stop()
    await outage
    await until(() => moving.every((host) => b.tunnels.has(host.name)))
    await atB.stop()
    assert.deepEqual(atA.lost, [])
    assert.deepEqual(atB.lost, [])
    assert.ok(atA.sent > 100 && atB.sent > 100, `${atA.sent} ${atB.sent}`)
    await until(() => a.tunnels.count() === 0)
    const rows = await Promise.all(moving.map(({ name }) => directory.look(name)))
    assert.ok(rows.every((row) => row.type === 'owned' && row.owner.machine === 'b'))
    for (const host of [...moving, ...staying]) host[Symbol.dispose]()
    for (const relay of [a, b]) await relay[Symbol.asyncDispose]()
    connection.disconnect()
  })

  it('during a whole deploy makes requests wait, and none fail', async () => {
    await using own = await RedisServer.start()
    const connection = ioredisOf(own)
    const directory = new RedisDirectory(connection, {
      prefix: '{deploy-away}',
      ttl: 20_000,
      commandTimeout: 300,
    })
    const peer = { renewEvery: 300, retryEvery: 100, registerLimit: 500 }
    const [a, b] = await Promise.all(
      ['a', 'b'].map((machine) => TestRelay.start({ directory, machine, peer })),
    )
    assert.ok(a && b)
    const hosts = hostsOf(20, (n) => ({ drain: n % 2 ? 'plain' : 'finish', relays: () => [b] }))
    await connectAll(hosts, [a])
    const load = new Load(
      () => [b],
      hosts.map((host) => host.name),
      6,
    )
    await until(() => load.sent > 50)
    own.freeze()
    const outage = delay(5_000).then(() => own.thaw())
    const outcome = await a.drain()
    await outage
    await until(() => hosts.every((host) => b.tunnels.has(host.name)))
    await load.stop()
    assert.deepEqual(load.lost, [])
    assert.equal(outcome.forced, 0)
    // What could not be cleared is of use to nobody, and gone with its time to live at the latest.
    const rows = await Promise.all(hosts.map(({ name }) => directory.look(name)))
    assert.ok(rows.every((row) => row.type === 'owned' && row.owner.machine === 'b'))
    for (const host of hosts) host[Symbol.dispose]()
    for (const relay of [a, b]) await relay[Symbol.asyncDispose]()
    connection.disconnect()
  })
})

describe('relays in processes of their own', () => {
  it('forward to each other, exit clean on SIGTERM, and clear what a killed life left (S1)', async () => {
    const prefix = '{processes}'
    const options = { redis: redis.port, prefix }
    let [a, b] = await Promise.all(['a', 'b'].map((machine) => ProcessRelay.start({ machine, ...options })))
    assert.ok(a && b)
    let serving = [a, b]
    const hosts = hostsOf(40, (n) => ({ drain: n % 2 ? 'plain' : 'finish', relays: () => serving }))
    await Promise.all(hosts.map((host, n) => host.dial(serving[n % 2] as ProcessRelay)))
    const rows = async (machine: string) =>
      (await client.hvals(`${prefix}:rows`)).filter((row) => row.includes(` ${machine} `)).length
    await until(async () => (await rows('a')) === 20 && (await rows('b')) === 20)
    const load = new Load(
      () => serving,
      hosts.map((host) => host.name),
      8,
    )
    await until(() => load.sent > 100)

    // A deploy of a: SIGTERM, then its next life.
    serving = [b]
    const { code, took } = await a.stop('SIGTERM')
    assert.equal(code, 0)
    assert.equal(await rows('a'), 0)
    a = await ProcessRelay.start({ machine: 'a', ...options })
    serving = [a, b]
    await until(() => load.sent > 300)
    await load.stop()
    assert.deepEqual(load.lost, [])
    assert.ok(took < 3_000, `${took}`)
    assert.deepEqual(
      hosts.filter(({ connects }) => connects > 2).map(({ name }) => name),
      [],
    )

    // The death of b: its rows stay until its next life clears them; hosts come back by themselves.
    await until(async () => (await rows('b')) > 0)
    serving = [a]
    await b.stop('SIGKILL')
    await client.hset(`${prefix}:rows`, 'left', `${Date.now() + 60_000} 1 1 b http%3A%2F%2F127.0.0.1%3A1`)
    await client.zadd(`${prefix}:machine:b`, 1, 'left')
    b = await ProcessRelay.start({ machine: 'b', ...options })
    assert.equal(await rows('b'), 0)
    const answers = await Promise.all(
      hosts.map(({ name }) =>
        ask((b as ProcessRelay).url(`/hosts/${name}/after`), { method: 'POST', body: 'b' }),
      ),
    )
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200])
    for (const host of hosts) host[Symbol.dispose]()
    for (const relay of [a, b]) await relay.stop('SIGKILL')
  })
})
