/**
 * Faults that only show between whole parts: relays, hosts and Redis. The table of all faults, with the test of
 * each, is `docs/faults.md`; the last test here holds it against the tests.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'
import { MemoryDirectory } from '../host/directory.js'
import { RedisDirectory } from '../host/redis.js'
import { TunnelClient } from '../host/tunnel-client.js'
import { ioredisOf } from './support/directories.js'
import { RedisServer } from './support/redis.js'
import { ask, type RelayOptions, TestHost, TestRelay, until } from './support/relay.js'
import { dialsIn } from './tunnel/support.js'

async function relay(t: TestContext, options: RelayOptions): Promise<TestRelay> {
  const started = await TestRelay.start(options)
  t.after(() => started[Symbol.asyncDispose]())
  return started
}

function host(t: TestContext, ...[name, options]: ConstructorParameters<typeof TestHost>): TestHost {
  const made = new TestHost(name, options)
  t.after(() => made[Symbol.dispose]())
  return made
}

/** A Redis of its own, with a directory in it. Nothing of it is awaited by what outlives the test. */
async function redisOf(t: TestContext, options: { ttl: number; commandTimeout: number }) {
  const server = await RedisServer.start()
  const connection = ioredisOf(server)
  t.after(async () => {
    connection.disconnect()
    await server[Symbol.asyncDispose]()
  })
  return { server, directory: new RedisDirectory(connection, options) }
}

test('two hosts with one identity on two relays do not duel: one yields, one row is left', async (t) => {
  const directory = new MemoryDirectory()
  const peer = { renewEvery: 50 }
  const [a, b] = [
    await relay(t, { directory, machine: 'a', peer }),
    await relay(t, { directory, machine: 'b', peer }),
  ]
  const stops: string[] = []
  const twins = []
  for (const relay of [a, b]) {
    const tunnel = new TunnelClient({ url: relay.dialUrl('h'), profile: 'relay' })
    t.after(() => tunnel[Symbol.asyncDispose]())
    tunnel.on('message', ({ data, connection }) => {
      const { type, id } = JSON.parse(String(data))
      if (type === 'ping') connection.send('{"type":"pong"}')
      if (type === 'http')
        connection.send(JSON.stringify({ type: 'http:response', id, status: 200, headers: {}, body: 'x' }))
    })
    tunnel.on('stopped', ({ reason }) => stops.push(reason))
    twins.push(tunnel)
    await until(() => relay.tunnels.has('h'))
  }
  await until(() => stops.length > 0)
  let dials = 0
  for (const tunnel of twins) tunnel.on('dial', () => (dials += 1))
  await dialsIn(500, { dials: [] })
  assert.deepEqual([stops, dials], [['replaced'], 0])
  assert.deepEqual(
    twins.map(({ state }) => state),
    ['stopped', 'up'],
  )
  assert.deepEqual([a.tunnels.count(), b.tunnels.count(), directory.size], [0, 1, 1])
  for (const { url } of [a, b].map((one) => ({ url: one.url('/hosts/h/x') }))) {
    assert.equal((await ask(url)).status, 200)
  }
})

test('a host that stops reading in the middle of a load takes no memory without end, and nobody hangs', async (t) => {
  const requestTimeout = 400
  const a = await relay(t, {
    directory: new MemoryDirectory(),
    machine: 'a',
    sendLimit: 1 << 20,
    requestTimeout,
    waitLimit: 200,
    closeTimeout: 100,
  })
  const other = host(t, 'other')
  await other.connect(a)
  const deaf = new WebSocket(a.dialUrl('deaf'))
  t.after(() => deaf.terminate())
  deaf.on('error', () => {})
  await until(() => a.tunnels.has('deaf'))
  deaf.pause()
  const body = 'x'.repeat(1 << 20)
  const begin = performance.now()
  const answers = Array.from({ length: 40 }, () =>
    a.tunnels.request('deaf', { method: 'POST', body }).then(
      () => 'answered',
      (error) => error.code as string,
    ),
  )
  // Others are served meanwhile.
  assert.equal((await ask(a.url('/hosts/other/x'))).status, 200)
  const codes = await Promise.all(answers)
  const took = performance.now() - begin
  assert.ok(took < requestTimeout + 2_000, `${took} ms`)
  assert.deepEqual([...new Set(codes)].sort(), ['tunnel-full', 'tunnel-timeout'])
  const refused = codes.filter((code) => code === 'tunnel-full').length
  assert.ok(refused >= 20, `only ${refused} of 40 MiB were refused`)
  assert.equal((await a.drain()).forced, 0)
})

test('a registration whose answer is lost while Redis hangs leaves no row behind when it lands after all', async (t) => {
  const { server, directory } = await redisOf(t, { ttl: 30_000, commandTimeout: 200 })
  const peer = { registerLimit: 250, retryEvery: 50 }
  const a = await relay(t, { directory, machine: 'a', peer })
  // Its look is answered, its write is not.
  let checked: () => void = () => {}
  const look = directory.look.bind(directory)
  directory.look = async (name) => {
    const row = await look(name)
    server.freeze()
    checked()
    return row
  }
  const frozen = new Promise<void>((resolve) => {
    checked = resolve
  })
  const late = host(t, 'h')
  await late.dial(a)
  await frozen
  await until(() => late.codes.length === 1)
  assert.deepEqual(late.codes, [1011])
  directory.look = look
  server.thaw()
  await until(() => a.tunnels.count() === 0)
  // The write landed, or did not: by now it is taken back, long before its time to live is over.
  await until(async () => (await directory.look('h')).type === 'vacant')
  const { epoch } = await directory.look('h')
  assert.ok(epoch >= 1, 'the write, or what bars it, did arrive')
})

test('Redis dies in the middle of a drain, and is back empty after 5 s: nothing is lost, and live hosts are listed again', async (t) => {
  const { server, directory } = await redisOf(t, { ttl: 20_000, commandTimeout: 300 })
  const peer = { renewEvery: 300, retryEvery: 100, registerLimit: 500 }
  const a = await relay(t, { directory, machine: 'a', peer })
  const b = await relay(t, { directory, machine: 'b', peer })
  const moving = Array.from({ length: 10 }, (_, n) =>
    host(t, `m${n}`, { drain: n % 2 ? 'plain' : 'finish', relays: () => [b] }),
  )
  const staying = Array.from({ length: 10 }, (_, n) => host(t, `s${n}`))
  await Promise.all([...moving.map((one) => one.connect(a)), ...staying.map((one) => one.connect(b))])
  let isOver = false
  const lost: string[] = []
  let served = 0
  const load = [...moving, ...staying].map(async ({ name }, n) => {
    while (!isOver) {
      const answer = await ask(b.url(`/hosts/${name}/${n}`), { method: 'POST', body: 'x' })
      if (answer.status === 200) served += 1
      else lost.push(`${name}: ${answer.status} ${answer.text}`)
    }
  })
  try {
    await until(() => served > 100)
    const drained = a.drain()
    await server.kill()
    await dialsIn(5_000, { dials: [] })
    await server.run()
    assert.equal((await drained).forced, 0)
    await until(() => moving.every(({ name }) => b.tunnels.has(name)))
    const rows = () => Promise.all([...moving, ...staying].map(({ name }) => directory.look(name)))
    await until(async () => (await rows()).every((row) => row.type === 'owned' && row.owner.machine === 'b'))
  } finally {
    isOver = true
    await Promise.all(load)
  }
  assert.deepEqual(lost, [])
})

test('every test that docs/faults.md names exists', () => {
  const page = readFileSync(new URL('../../docs/faults.md', import.meta.url), 'utf8')
  const folders = ['.', '../../examples/control-plane/test', '../../examples/app-gateway/test'].map((path) =>
    fileURLToPath(new URL(`${path}/`, import.meta.url)),
  )
  const sources = new Map(
    folders.flatMap((folder) =>
      readdirSync(folder)
        .filter((name) => name.endsWith('.test.ts'))
        .map((name) => [name, readFileSync(`${folder}${name}`, 'utf8')] as const),
    ),
  )
  const rows = page.split('\n').filter((line) => /^\| (?!fault |---)/.test(line))
  assert.ok(rows.length >= 15, `only ${rows.length} faults`)
  const missing = []
  for (const row of rows) {
    const named = [...row.matchAll(/`([\w.-]+\.test\.ts)`: ([^;|]+)/g)]
    if (named.length === 0) missing.push(`no test: ${row}`)
    for (const [, file = '', names = ''] of named) {
      for (const [, name = ''] of names.matchAll(/“([^”]+)”/g)) {
        const source = sources.get(file) ?? ''
        const isThere = ["'", '"', '`'].some((quote) =>
          ['test', 'it'].some((call) => source.includes(`${call}(${quote}${name}${quote},`)),
        )
        if (!isThere) missing.push(`${file}: ${name}`)
      }
    }
  }
  assert.deepEqual(missing, [])
})
