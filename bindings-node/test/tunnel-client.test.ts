/** The tunnel client against real servers: what relays get wrong, and what hostile ones do. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import WebSocket from 'ws'
import { ConfigError } from '../host/errors.js'
import {
  SendRefusedError,
  TunnelClient,
  type TunnelConnection,
  type WebSocketConstructor,
} from '../host/tunnel-client.js'
import { client, closeFrame, dialsIn, first, QUICK, raw, serve } from './tunnel/support.js'
import { until } from './until.js'

// --- what it is for ---

test('messages go both ways, and what is sent before there is a connection waits for it', async (t) => {
  const server = await serve(t, (socket) => socket.on('message', (data) => socket.send(`echo ${data}`)))
  const { tunnel, texts } = client(t, { url: server.url })
  tunnel.send('one')
  tunnel.send('two')
  assert.equal(tunnel.buffered, 2)
  await until(() => texts.length === 2, 'both echoes')
  tunnel.send('three')
  await until(() => texts.length === 3, 'the third echo')
  assert.deepEqual(texts, ['echo one', 'echo two', 'echo three'])
  assert.equal(tunnel.state, 'up')
  assert.equal(tunnel.explain().buffered, 0)
})

test('messages can be iterated over until the tunnel stops, each with the connection to answer on', async (t) => {
  const server = await serve(t, (socket) => {
    for (const text of ['a', 'b', 'c']) socket.send(text)
    socket.send(Buffer.from([1, 2]))
  })
  const { tunnel } = client(t, { url: server.url })
  const seen: (string | Buffer)[] = []
  for await (const { data, connection } of tunnel) {
    assert.equal(connection.generation, 1)
    if (seen.push(data) === 4) tunnel.stop()
  }
  assert.deepEqual(seen, ['a', 'b', 'c', Buffer.from([1, 2])])
})

test('a loop that is slow makes the socket wait instead of filling memory, and still loses nothing', async (t) => {
  const total = 5_000
  const payload = 'x'.repeat(4_000)
  const server = await serve(t, (socket) => {
    for (let index = 0; index < total; index += 1) socket.send(`${index} ${payload}`)
  })
  const { tunnel } = client(t, {
    url: server.url,
    lag: 10,
    pingAfter: 50,
    deadAfter: 100,
    stallTolerance: 20,
  })
  let received = 0
  tunnel.on('message', () => {
    received += 1
  })
  const loop = tunnel[Symbol.asyncIterator]()
  await until(() => received >= 10, 'the first messages')
  await new Promise((resolve) => setTimeout(resolve, 300))
  // As long as it waits it is not silent, though nothing is heard of the peer.
  assert.equal(tunnel.connection?.generation, 1)
  assert.ok(received < total / 2, `${received} messages were read ahead`)
  for (let index = 0; index < total; index += 1) {
    const { value } = await loop.next()
    assert.ok(value && String(value.data).startsWith(`${index} `))
  }
})

test('the token goes where the profile or the option says, and never into what is told', async (t) => {
  const server = await serve(t)
  const secret = 'very-secret'
  const places = [
    { profile: 'relay' },
    { profile: 'rfc6455' },
    {
      tokenIn: ({ headers }: { headers: Record<string, string> }, token: string) => {
        headers['x-key'] = token
      },
    },
  ]
  const seen: string[] = []
  for (const place of places) {
    const { tunnel, told } = client(t, {
      url: `${server.url}?hostId=7`,
      token: async () => secret,
      headers: { 'x-own': '1' },
      ...place,
    })
    await until(() => tunnel.state === 'up', 'up')
    const { request } = server.dials.at(-1) as (typeof server.dials)[number]
    assert.equal(request.headers['x-own'], '1')
    seen.push(`${request.url} ${request.headers.authorization} ${request.headers['x-key']}`)
    const dial = first<{ url: string }>(told, 'dial')
    assert.equal(dial.url, server.url)
    assert.doesNotMatch(JSON.stringify(tunnel.explain()), /very-secret/)
  }
  assert.deepEqual(seen, [
    `/tunnel?hostId=7&drain=finish&token=${secret} undefined undefined`,
    `/tunnel?hostId=7 Bearer ${secret} undefined`,
    `/tunnel?hostId=7&drain=finish undefined ${secret}`,
  ])
})

test('a URL that is none is told without repeating it', async (t) => {
  const { tunnel, told } = client(t, { url: () => 'very secret' })
  await until(() => told.some(({ name }) => name === 'failure'), 'the failure')
  const { error } = first<{ error: Error }>(told, 'failure')
  assert.match(error.message, /is no URL/)
  assert.doesNotMatch(error.message, /secret/)
  assert.throws(() => new TunnelClient({ url: 'nonsense' }), /is no URL/)
  assert.throws(() => new TunnelClient({ url: 'ftp://host' }), /must be ws: or wss:/)
  assert.throws(() => new TunnelClient({}), /either `url` or `endpoints`/)
  assert.equal(tunnel.state, 'waiting')
})

test('options that cannot work are refused with every one of them named', () => {
  assert.throws(
    () => new TunnelClient({ url: 'ws://host', dialLimit: '20 sec' as '20s', backoff: { cap: 'x' as '1s' } }),
    (error) => {
      assert.ok(error instanceof ConfigError)
      assert.deepEqual(error.faults.map(({ field }) => field).sort(), ['backoff.cap', 'dialLimit'])
      return true
    },
  )
  assert.throws(() => new TunnelClient({ url: 'ws://host', pingAfter: '80s' }), /deadAfter is 75000 ms/)
  assert.throws(() => new TunnelClient({ url: 'ws://host', profile: 'nope' }), ConfigError)
})

test('a signal stops it, and one that is aborted already keeps it from starting', async (t) => {
  const server = await serve(t)
  const controller = new AbortController()
  const { tunnel, told } = client(t, { url: server.url, signal: controller.signal })
  await until(() => tunnel.state === 'up', 'up')
  controller.abort()
  assert.equal(tunnel.state, 'stopped')
  assert.deepEqual(told.at(-2)?.event, { reason: 'asked', code: null })
  const second = client(t, { url: server.url, signal: controller.signal })
  second.tunnel.start()
  assert.equal(await dialsIn(100, server), 0)
  assert.equal(second.tunnel.state, 'idle')
})

test('a socket class of its own kind is pinged by the application only', async (t) => {
  const server = await serve(t, (socket) =>
    socket.on('message', (data) => String(data) === 'ping' && socket.send('pong')),
  )
  let pings = 0
  const { tunnel, texts } = client(t, {
    url: server.url,
    WebSocket: WebSocket as unknown as WebSocketConstructor,
    pingAfter: 30,
    deadAfter: 5_000,
    ping(connection) {
      pings += 1
      connection.send('ping')
    },
  })
  await until(() => texts.includes('pong') && pings > 1, 'pings and pongs')
  assert.equal(tunnel.connection?.generation, 1)
  const quiet = client(t, { url: server.url, WebSocket: WebSocket as unknown as WebSocketConstructor })
  await until(() => quiet.tunnel.state === 'up', 'up')
  assert.equal(quiet.tunnel.explain().next?.why, 'stable')
})

// --- moving without a break (S1: what is in flight was dropped on drain; the client waited for the close event) ---

test('a drain notice moves it: the next connection is dialed at once, and what is in flight is answered on the old one', async (t) => {
  const answers: string[] = []
  const server = await serve(t, (socket, _request, count) => {
    socket.on('message', (data) => answers.push(`${count}: ${data}`))
    if (count === 1) {
      socket.send('request')
      setTimeout(() => socket.send('{"type":"drain","reason":"deploy"}'), 80)
    }
  })
  const { tunnel, told } = client(t, { url: server.url, linger: 50 })
  let finish = (): void => {}
  tunnel.on('message', ({ connection }) => {
    const work = new Promise<void>((resolve) => {
      finish = resolve
    })
    void connection.track(work.then(() => connection.send('answer')))
  })
  await until(() => tunnel.connection?.generation === 2, 'the next connection')
  // Well past `linger`: the work in flight keeps it.
  await new Promise((resolve) => setTimeout(resolve, 200))
  assert.equal(server.sockets[0]?.readyState, WebSocket.OPEN)
  finish()
  await until(() => server.sockets[0]?.readyState === WebSocket.CLOSED, 'the end of the old connection')
  assert.deepEqual(answers, ['1: {"type":"drain"}', '1: answer'])
  const opens = told
    .filter(({ name }) => name === 'open')
    .map(({ event }) => event as { from?: TunnelConnection })
  assert.equal(opens[1]?.from?.generation, 1)
  assert.ok(
    !told.some(({ name, event }) => name === 'state' && (event as { state: string }).state === 'waiting'),
  )
  assert.equal(server.dials.length, 2)
})

test('a peer that is dead after its notice costs nothing: the client does not wait for its close', async (t) => {
  const notice = '{"type":"drain"}'
  const dead = await raw(t, (socket) => {
    socket.write(Buffer.concat([Buffer.from([0x81, notice.length]), Buffer.from(notice)]))
    socket.pause() // never reads again, never answers
  })
  const alive = await serve(t)
  const { tunnel } = client(t, { endpoints: [dead.url, alive.url] })
  const start = performance.now()
  await until(() => tunnel.connection?.endpoint === 1, 'the other endpoint')
  assert.ok(performance.now() - start < 2_000)
})

test('a peer that sends a close frame and then nothing is left at once, with its code', async (t) => {
  const dead = await raw(t, (socket) => {
    socket.write(closeFrame(4001))
    socket.pause()
  })
  const alive = await serve(t)
  const { tunnel, told } = client(t, { endpoints: [dead.url, alive.url] })
  await until(() => tunnel.connection?.endpoint === 1, 'the other endpoint', 3_000)
  const close = first<{ code: number }>(told, 'close')
  assert.equal(close.code, 4001)
})

test('what belongs to the old connection can be handed over, and it stays until that is done', async (t) => {
  const server = await serve(t, (socket, _request, count) => {
    if (count === 1) setTimeout(() => socket.send('{"type":"drain"}'), 80)
  })
  const moves: [number, number][] = []
  let done = (): void => {}
  const { tunnel } = client(t, {
    url: server.url,
    linger: 10,
    handOver(old, next) {
      moves.push([old.generation, next.generation])
      return new Promise<void>((resolve) => {
        done = resolve
      })
    },
  })
  await until(() => moves.length === 1, 'the move')
  assert.equal(tunnel.explain().inFlight, 1)
  await new Promise((resolve) => setTimeout(resolve, 100))
  assert.equal(server.sockets[0]?.readyState, WebSocket.OPEN)
  done()
  await until(() => server.sockets[0]?.readyState === WebSocket.CLOSED, 'the end of the old connection')
  assert.deepEqual(moves, [[1, 2]])
})

test('an old connection whose work never ends is closed at the finish limit', async (t) => {
  const server = await serve(t, (socket, _request, count) => {
    if (count === 1) setTimeout(() => socket.send('{"type":"drain"}'), 80)
  })
  const { tunnel } = client(t, { url: server.url, finishLimit: 150 })
  tunnel.on('open', ({ connection }) => connection.busy())
  await until(() => server.sockets[0]?.readyState === WebSocket.CLOSED, 'the end of the old connection')
  assert.equal(tunnel.connection?.generation, 2)
})

test('a window in the notice spreads the move, and the old connection serves on meanwhile', async (t) => {
  const server = await serve(t, (socket, _request, count) => {
    socket.on('message', (data) => socket.send(`echo ${data}`))
    if (count === 1) setTimeout(() => socket.send('{"type":"drain","within":60000}'), 80)
  })
  const { tunnel, told, texts } = client(t, { url: server.url })
  await until(() => told.some(({ name }) => name === 'notice'), 'the notice')
  tunnel.send('still here')
  await until(() => texts.length === 1, 'the echo')
  assert.equal(tunnel.state, 'moving')
  assert.equal(server.dials.length, 1)
})

// --- servers that are hostile, broken or in a loop ---

test('drain notices in a loop, on every connection, do not make it spin', async (t) => {
  const server = await serve(t, (socket) => {
    const flood = setInterval(() => socket.send('{"type":"drain"}'), 1)
    socket.on('close', () => clearInterval(flood))
  })
  client(t, { url: server.url })
  await until(() => server.dials.length > 1, 'the first moves')
  const dials = await dialsIn(1_500, server)
  assert.ok(dials <= 3 + 1 + 1_500 / 100 + 1, `${dials} dials in 1.5 s`)
})

test('4001 for ever is immediate only within its budget', async (t) => {
  const server = await serve(t, (socket) => socket.close(4001, 'drain'))
  client(t, { url: server.url, backoff: { initial: 100, cap: 400, floor: 100 } })
  await until(() => server.dials.length >= 1, 'the first dial')
  const dials = await dialsIn(2_000, server)
  assert.ok(dials >= 4, `${dials} dials: it gave up`)
  assert.ok(dials <= 3 + 1 + 2_000 / 200 + 1, `${dials} dials in 2 s`)
})

test('a login that is refused after the socket opened (1008) does not reset the backoff', async (t) => {
  const server = await serve(t, (socket) => setTimeout(() => socket.close(1008, 'bad login'), 5))
  const refreshes: boolean[] = []
  const { tunnel } = client(t, {
    url: server.url,
    token: ({ refresh }) => {
      refreshes.push(refresh)
      return 'old'
    },
  })
  await until(() => server.dials.length >= 2, 'the second attempt')
  assert.deepEqual(refreshes.slice(0, 2), [false, true])
  const dials = await dialsIn(1_500, server)
  assert.ok(dials >= 2 && dials <= 1_500 / 200 + 1, `${dials} refused attempts in 1.5 s`)
  assert.notEqual(tunnel.state, 'stopped')
})

test('an upgrade that is refused with 401 or 403 refreshes the token once, and is then slow', async (t) => {
  for (const status of [401, 403]) {
    const server = await serve(
      t,
      () => {},
      (request) => (request.headers.authorization === 'Bearer new' ? undefined : { status }),
    )
    const { tunnel } = client(t, {
      url: server.url,
      profile: 'rfc6455',
      token: ({ refresh }) => (refresh ? 'new' : 'old'),
    })
    await until(() => tunnel.state === 'up', 'the refreshed token is accepted')
    assert.equal(server.dials.length, 2)
    const stale = client(t, { url: server.url, profile: 'rfc6455', token: 'old' })
    await until(() => server.dials.length >= 4, 'two refused attempts')
    const dials = await dialsIn(1_000, server)
    assert.ok(dials <= 1_000 / 200 + 1, `${dials} refused attempts in 1 s`)
    stale.tunnel.stop()
  }
})

test('a server that accepts and closes at once is backed off from', async (t) => {
  for (const end of [(s: WebSocket) => s.terminate(), (s: WebSocket) => s.close(1011)]) {
    const server = await serve(t, (socket) => end(socket))
    const { tunnel } = client(t, { url: server.url, profile: 'relay' })
    await until(() => server.dials.length >= 1, 'the first dial')
    const dials = await dialsIn(1_000, server)
    assert.ok(dials <= 1_000 / 100 + 4, `${dials} dials in 1 s`)
    tunnel.stop()
  }
})

test('Retry-After is honoured, in seconds and as a date', async (t) => {
  const hints = ['Retry-After: 1\r\n', `Retry-After: ${new Date(Date.now() + 60_000).toUTCString()}\r\n`]
  const server = await serve(
    t,
    () => {},
    (_request, count) => ({ status: 503, headers: hints[Math.min(count, 2) - 1] as string }),
  )
  const { tunnel } = client(t, { url: server.url })
  await until(() => server.dials.length === 2, 'the second dial')
  const waited = (server.dials[1]?.at ?? 0) - (server.dials[0]?.at ?? 0)
  assert.ok(waited >= 990, `it came back after ${waited} ms`)
  await until(() => tunnel.state === 'waiting', 'waiting')
  const next = tunnel.explain().next
  assert.ok(next !== null && next.in > 50_000 && next.in <= 61_000, JSON.stringify(next))
  assert.equal(await dialsIn(300, server), 0)
})

test('reasons of a megabyte, garbage and half a notice are messages and nothing else', async (t) => {
  const frames = [
    `{"type":"drain","reason":"${'x'.repeat(1 << 20)}"}`,
    '{"type":"drain"',
    '{"type":["drain"]}',
    'null "drain"',
    '[["drain"]]'.repeat(100),
    `${'['.repeat(4_000)}"drain"`,
    '{"type":"drained"}',
    '"drain"',
  ]
  const server = await serve(t, (socket) => {
    for (const frame of frames) socket.send(frame)
    socket.send(Buffer.from('{"type":"drain"}')) // bytes are no notice
  })
  const { tunnel, texts, told } = client(t, { url: server.url })
  await until(() => texts.length === frames.length + 1, 'all of them')
  assert.deepEqual(texts.slice(0, -1), frames)
  assert.equal(tunnel.state, 'up')
  assert.ok(!told.some(({ name }) => name === 'notice'))
})

test('the reason of a notice is cut, and a window that is none counts as none', async (t) => {
  const server = await serve(t, (socket, _request, count) => {
    if (count > 1) return
    socket.send('hello')
    socket.send(`{"type":"drain","reason":"${'x'.repeat(2_000)}","within":"soon"}`)
  })
  const { tunnel, told } = client(t, { url: server.url })
  await until(() => tunnel.connection?.generation === 2, 'the next connection')
  const notice = first<{
    reason: string
    within?: number
  }>(told, 'notice')
  assert.equal(notice.reason.length, 123)
  assert.equal(notice.within, undefined)
})

test('frames that break the protocol end the connection, and it comes back slowly', async (t) => {
  const broken = await raw(t, (socket) => socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff])))
  const { tunnel, told } = client(t, { url: broken.url })
  await until(() => told.some(({ name }) => name === 'close'), 'the close')
  const before = broken.connections.length
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  const dials = broken.connections.length - before
  assert.ok(dials <= 1_000 / 100 + 3, `${dials} dials in 1 s`)
  assert.notEqual(tunnel.state, 'up')
})

test('a provider that hangs is cut at the limit, told to stop, and asked again', async (t) => {
  const server = await serve(t)
  for (const which of ['url', 'token'] as const) {
    const signals: AbortSignal[] = []
    const hanging = (value: string) => (context: { signal: AbortSignal }) => {
      signals.push(context.signal)
      return signals.length < 3 ? new Promise<never>(() => {}) : value
    }
    const { tunnel } = client(t, {
      url: which === 'url' ? hanging(server.url) : server.url,
      token: which === 'token' ? hanging('token') : 'token',
      prepareLimit: 50,
    })
    await until(() => tunnel.state === 'up', `up after a hanging ${which} provider`)
    assert.equal(signals.length, 3)
    assert.deepEqual(
      signals.map((signal) => signal.aborted),
      [true, true, false],
    )
  }
})

test('a provider that answers after its time does not dial with what is outdated', async (t) => {
  const server = await serve(t)
  const answers: ((token: string) => void)[] = []
  const { tunnel } = client(t, {
    url: server.url,
    prepareLimit: 50,
    token: () =>
      new Promise((resolve) => {
        answers.push(resolve)
      }),
  })
  await until(() => answers.length === 2, 'the second question')
  // In one breath, so that the outdated answer comes between the current one and its dial.
  answers[1]?.('current')
  answers[0]?.('outdated')
  await until(() => tunnel.state === 'up', 'up')
  assert.match(server.dials[0]?.request.url ?? '', /token=current/)
})

test('a server that takes the connection and never answers the upgrade is given up at the dial limit', async (t) => {
  const silent = await raw(t, (socket) => socket.resume(), false)
  const alive = await serve(t)
  const { tunnel } = client(t, { endpoints: [silent.url, alive.url], dialLimit: 100, rotateAfter: 2 })
  await until(() => tunnel.connection?.endpoint === 1, 'the other endpoint')
  assert.equal(silent.connections.length, 2)
  await until(
    () => silent.connections.every((socket) => socket.destroyed || socket.readableEnded),
    'no socket left',
  )
})

test('a peer that never answers the close does not keep the client', async (t) => {
  const deaf = await raw(t, (socket) => socket.pause())
  const tunnel = new TunnelClient({ ...QUICK, url: deaf.url })
  await until(() => tunnel.state === 'up', 'up')
  const start = performance.now()
  await tunnel[Symbol.asyncDispose]()
  assert.ok(performance.now() - start < 1_000, 'it waited for the close handshake')
})

test('a half-open connection is found by its silence, and left', async (t) => {
  const deaf = await raw(t, (socket) => socket.pause())
  const alive = await serve(t)
  const { tunnel, told } = client(t, {
    endpoints: [deaf.url, alive.url],
    pingAfter: 60,
    deadAfter: 150,
    rotateAfter: 1,
    stallTolerance: 1_000,
  })
  await until(() => tunnel.connection?.endpoint === 0, 'up with the deaf peer')
  const start = performance.now()
  await until(() => told.some(({ name }) => name === 'close'), 'the watchdog')
  assert.ok(performance.now() - start >= 80)
  const close = first<{
    code: number
    local: boolean
  }>(told, 'close')
  assert.deepEqual([close.code, close.local], [3008, true])
})

test('a peer that only answers pings is alive', async (t) => {
  let pings = 0
  const server = await serve(t, (socket) =>
    socket.on('ping', () => {
      pings += 1
    }),
  )
  const { tunnel } = client(t, { url: server.url, pingAfter: 40, deadAfter: 120, stallTolerance: 1_000 })
  await until(() => pings >= 6, 'six pings')
  assert.equal(tunnel.connection?.generation, 1)
})

test('a stalled event loop is no silence of the peer', async (t) => {
  const server = await serve(t)
  const { tunnel, told } = client(t, { url: server.url, pingAfter: 100, deadAfter: 250, stallTolerance: 100 })
  await until(() => tunnel.state === 'up', 'up')
  for (let stalls = 0; stalls < 3; stalls += 1) {
    const end = performance.now() + 600
    while (performance.now() < end); // nothing is read, no timer fires
    await new Promise((resolve) => setTimeout(resolve, 150))
  }
  assert.equal(tunnel.connection?.generation, 1)
  assert.ok(!told.some(({ name }) => name === 'close'))
})

test('two clients with one identity do not duel: the replaced one yields, with its reason', async (t) => {
  let holder: WebSocket | undefined
  const server = await serve(t, (socket) => {
    holder?.close(4409, 'replaced')
    holder = socket
  })
  const before = client(t, { url: server.url })
  await until(() => before.tunnel.state === 'up', 'the first is up')
  const second = client(t, { url: server.url })
  await until(() => before.tunnel.state === 'stopped', 'the first has yielded')
  assert.deepEqual(first(before.told, 'stopped'), {
    reason: 'replaced',
    code: 4409,
  })
  assert.equal(await dialsIn(500, server), 0)
  assert.equal(second.tunnel.state, 'up')
  assert.throws(() => before.tunnel.send('x'), SendRefusedError)
  before.tunnel.start()
  await until(() => second.tunnel.state === 'stopped', 'an explicit start takes it back')
})

test('a code that forbids another attempt stops it', async (t) => {
  const server = await serve(t, (socket) => socket.close(4404))
  const { tunnel, told } = client(t, { url: server.url })
  await until(() => tunnel.state === 'stopped', 'stopped')
  assert.deepEqual(first(told, 'stopped'), { reason: 'fatal', code: 4404 })
  assert.equal(await dialsIn(300, server), 0)
  assert.match(tunnel.explain().because, /4404/)
})

test('a server can ask in band for fresh credentials, or for no return', async (t) => {
  const server = await serve(t, (socket, _request, count) => {
    socket.send('hello')
    socket.send(count === 1 ? 'refresh_requested' : 'link_disabled')
  })
  const refreshes: boolean[] = []
  const { tunnel } = client(t, {
    url: server.url,
    token: ({ refresh }) => {
      refreshes.push(refresh)
      return 't'
    },
    drainNotice: (message) => {
      if (message === 'refresh_requested') return { ask: 'refresh' }
      return message === 'link_disabled' ? { ask: 'stop' } : undefined
    },
  })
  await until(() => tunnel.state === 'stopped', 'stopped')
  assert.deepEqual(refreshes, [false, true])
})

test('a reader of notices that throws is told, and harms nothing', async (t) => {
  const server = await serve(t, (socket) => socket.send('hello'))
  const { tunnel, texts, told } = client(t, {
    url: server.url,
    drainNotice: () => {
      throw new Error('no')
    },
  })
  await until(() => texts.length === 1, 'the message')
  assert.equal(tunnel.state, 'up')
  assert.ok(
    told.some(({ name, event }) => name === 'failure' && (event as { during: string }).during === 'notice'),
  )
})

// --- messages that wait ---

test('a full buffer refuses, or drops the oldest, as it was told to', async (t) => {
  const got: string[] = []
  const server = await serve(t, (socket) => socket.on('message', (data) => got.push(String(data))))
  const options = { url: server.url, bufferLimit: 2, autoStart: false } as const
  const refusing = client(t, options)
  refusing.tunnel.send('a')
  refusing.tunnel.send('b')
  assert.throws(() => refusing.tunnel.send('c'), SendRefusedError)
  refusing.tunnel.start()
  await until(() => got.length === 2, 'what was buffered')
  assert.deepEqual(got.splice(0), ['a', 'b'])
  refusing.tunnel.stop()

  const dropping = client(t, { ...options, overflow: 'drop-oldest' })
  for (const text of ['a', 'b', 'c']) dropping.tunnel.send(text)
  dropping.tunnel.start()
  await until(() => got.length === 2, 'the newest')
  assert.deepEqual(got, ['b', 'c'])
  assert.deepEqual(first(dropping.told, 'dropped'), { data: 'a', why: 'oldest' })
})

test('what is buffered when it stops is told, each message of it', async (t) => {
  const { tunnel, told } = client(t, { url: 'ws://127.0.0.1:9', autoStart: false })
  tunnel.start()
  tunnel.send('a')
  tunnel.send('b')
  tunnel.stop()
  const dropped = told.filter(({ name }) => name === 'dropped').map(({ event }) => event)
  assert.deepEqual(dropped, [
    { data: 'a', why: 'stopped' },
    { data: 'b', why: 'stopped' },
  ])
})

test('what is sent while a connection is closing goes out on the next one', async (t) => {
  const got: string[] = []
  const server = await serve(t, (socket, _request, count) => {
    socket.on('message', (data) => got.push(`${count}: ${data}`))
    if (count === 1) socket.send('hello')
  })
  const { tunnel } = client(t, { url: server.url })
  await until(() => tunnel.state === 'up', 'up')
  const connection = tunnel.connection as TunnelConnection
  server.sockets[0]?.close(1011)
  await until(() => !connection.open, 'the close frame')
  tunnel.send('not lost')
  await until(() => got.length === 1, 'the message')
  assert.deepEqual(got, ['2: not lost'])
})

test('an eager client speaks before it is accepted, and says again what was not accepted', async (t) => {
  const got: string[] = []
  const server = await serve(t, (socket, _request, count) => {
    socket.on('message', (data) => {
      got.push(`${count}: ${data}`)
      if (count === 1) socket.terminate()
    })
  })
  const { tunnel } = client(t, { url: server.url, eager: true, quietTime: 150 })
  tunnel.send('login')
  await until(() => tunnel.state === 'up', 'up')
  assert.deepEqual(got, ['1: login', '2: login'])
  assert.equal(tunnel.buffered, 0)
})

test('explicit acceptance is what the application says', async (t) => {
  const server = await serve(t, (socket, _request, count) => {
    socket.on('message', () => socket.send(count === 1 ? 'no' : 'welcome'))
  })
  const { tunnel } = client(t, {
    url: server.url,
    acceptance: 'explicit',
    acceptLimit: 100,
    greet: (connection) => connection.send('hello'),
  })
  tunnel.on('message', ({ data, connection }) => data === 'welcome' && connection.accept())
  await until(() => tunnel.state === 'up', 'up')
  assert.equal(tunnel.connection?.generation, 2)
})

test('offline dials nothing, online dials at once', async (t) => {
  const server = await serve(t, (socket, _request, count) => count === 1 && socket.close(1011))
  const { tunnel } = client(t, { url: server.url, backoff: { initial: '60s', cap: '60s' } })
  await until(() => tunnel.state === 'waiting' && server.dials.length === 1, 'the long wait')
  tunnel.offline()
  assert.equal(tunnel.state, 'offline')
  assert.equal(await dialsIn(100, server), 0)
  tunnel.online()
  await until(() => tunnel.state === 'up', 'up')
})
