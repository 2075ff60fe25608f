import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { connect, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { WebSocket, WebSocketServer } from 'ws'
import { WebSocketSource } from '../host/index.js'
import {
  client,
  clients,
  densest,
  listen,
  QUICK_GRACE,
  quick,
  socketServer,
  until,
} from './lifecycle/support.js'

describe('the drain of a WebSocket server', () => {
  it('D5: 1,000 of 1,000 clients get the drain code and none 1006', async () => {
    const { server, sockets, port } = await socketServer()
    const life = quick({ reconnectRate: 2_000 }).http(server).webSockets(sockets, { drainCode: 4001 })
    life.start()
    const all = await clients(port, 1_000)
    const outcome = await life.stop('restart')
    const codes = await Promise.all(all.map(({ closed }) => closed))
    assert.deepEqual(new Set(codes.map(({ code }) => code)), new Set([4001]))
    assert.deepEqual(new Set(codes.map(({ reason }) => reason)), new Set(['restart']))
    assert.deepEqual([outcome.drained, outcome.forced, outcome.exitCode], [1_000, 0, 0])
  })

  it('D5: in any 100 ms at most twice the mean are told', async () => {
    const { server, sockets, port } = await socketServer()
    const told: number[] = []
    const life = quick()
      .http(server)
      .webSockets(sockets, {
        reconnectRate: 400,
        notice: (_socket, { reason }) => {
          told.push(performance.now())
          return JSON.stringify({ type: 'drain', reason })
        },
      })
    life.start()
    const all = await clients(port, 400)
    await life.stop()
    assert.equal(told.length, 400)
    const window = Math.max(...told) - Math.min(...told)
    // Not faster than asked; how much slower a busy machine makes it is for bench/ to say.
    assert.ok(window > 900, `${window} ms`)
    // The mean is 40 in 100 ms.
    assert.ok(densest(told, 100) <= 80, `${densest(told, 100)} in 100 ms`)
    assert.ok(all.every(({ messages }) => messages[0] === '{"type":"drain","reason":"restart"}'))
  })

  it('D5: a pace that does not fit into the grace period is clamped, and that is reported', async () => {
    const { server, sockets, port } = await socketServer()
    const life = quick({ grace: 1_500 }).http(server).webSockets(sockets, { reconnectRate: 1 })
    const clamped: { wanted: number; used: number }[] = []
    life.on('paceClamped', (event) => clamped.push(event))
    life.start()
    const all = await clients(port, 20)
    const outcome = await life.stop()
    assert.equal(clamped[0]?.wanted, 20_000)
    assert.ok(clamped[0].used < 1_500)
    assert.deepEqual(new Set(await Promise.all(all.map(async (c) => (await c.closed).code))), new Set([1012]))
    assert.equal(outcome.forced, 0)
  })

  it('D5: closes by intent: 1012 on restart, 1001 on decommission', async () => {
    for (const [intent, expected] of [
      ['restart', 1012],
      ['handoff', 1012],
      ['decommission', 1001],
    ] as const) {
      const { server, sockets, port } = await socketServer()
      const life = quick().http(server).webSockets(sockets)
      life.start()
      const one = await client(port)
      await life.stop(intent)
      assert.deepEqual(await one.closed, { code: expected, reason: intent })
    }
  })

  it('D5: told before closed: the notice goes first, then the flush time, then the close frame', async () => {
    const { server, sockets, port } = await socketServer()
    const life = quick({ flush: 150 })
      .http(server)
      .webSockets(sockets, { drainCode: 4001, notice: () => 'drain' })
    life.start()
    const one = await client(port)
    await life.stop()
    assert.equal((await one.closed).code, 4001)
    assert.deepEqual(one.messages, ['drain'])
    assert.ok((one.leftAt ?? 0) - (one.messageAt ?? 0) >= 140)
  })

  it('D6: when all have left after the notice, nothing waits for the flush time', async () => {
    const { server, sockets, port } = await socketServer()
    const life = quick({ flush: 2_000 })
      .http(server)
      .webSockets(sockets, { notice: () => 'drain' })
    life.start()
    const all = await clients(port, 10)
    for (const { socket } of all) socket.on('message', () => socket.close(1000))
    const outcome = await life.stop()
    assert.ok(outcome.duration < QUICK_GRACE, `${outcome.duration} ms`)
    assert.equal(outcome.drained, 10)
  })

  it('D4: an upgrade after the door has closed gets an HTTP 503, not a socket', async () => {
    const { server, sockets, port } = await socketServer()
    const life = quick({ flush: 100 })
      .http(server)
      .webSockets(sockets, { notice: () => 'drain', retryAfter: 3 })
    let connections = 0
    sockets.on('connection', () => {
      connections += 1
    })
    life.start()
    const one = await client(port)
    // Connected while the door was open, asks to upgrade when it is closed.
    const early = await opened(port)
    void life.stop()
    await until(() => !server.listening, 'the door to close')
    const answer = await upgrade(early)
    assert.match(answer, /^HTTP\/1\.1 503 Service Unavailable\r\n/)
    assert.match(answer, /\r\nRetry-After: 3\r\n/)
    assert.equal(connections, 1)
    await one.closed
    await life.stopped
  })

  it('D4: an upgrade that is being verified when the door closes gets the 503 as well', async () => {
    const verified: ((result: boolean) => void)[] = []
    const server = createServer()
    const sockets = new WebSocketServer({
      server,
      verifyClient: (_info, callback) => void verified.push(callback),
    })
    const port = await listen(server)
    const life = quick({ flush: 100 }).http(server).webSockets(sockets)
    life.start()
    const answer = upgrade(await opened(port))
    await until(() => verified.length === 1, 'the verification to begin')
    const stopping = life.stop()
    await until(() => !server.listening, 'the door to close')
    verified[0]?.(true)
    assert.match(await answer, /^HTTP\/1\.1 503 /)
    await stopping
  })

  it('works for servers without a port of their own (noServer)', async () => {
    const sockets = new WebSocketServer({ noServer: true })
    const server = createServer()
    server.on('upgrade', (request, socket, head) => {
      sockets.handleUpgrade(request, socket, head, () => {})
    })
    const port = await listen(server)
    const life = quick().http(server).webSockets(sockets)
    life.start()
    const one = await client(port)
    assert.equal(life.counters().tunnels, 1)
    await life.stop()
    assert.equal((await one.closed).code, 1012)
  })

  it('works for servers that opened their own port, and closes it', async () => {
    const sockets = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    await new Promise((resolve) => sockets.once('listening', resolve))
    const { port } = sockets.address() as { port: number }
    const life = quick().webSockets(sockets)
    life.start()
    const one = await client(port)
    await life.stop()
    assert.equal((await one.closed).code, 1012)
    await assert.rejects(opened(port), /ECONNREFUSED/)
  })

  it('works for servers that keep no list of their clients', async () => {
    const server = createServer()
    const sockets = new WebSocketServer({ server, clientTracking: false })
    const port = await listen(server)
    const life = quick().http(server).webSockets(sockets)
    life.start()
    const all = await clients(port, 3)
    all[0]?.socket.close()
    await until(() => life.counters().tunnels === 2, 'one to leave')
    await life.stop()
    assert.deepEqual(await Promise.all(all.slice(1).map(async (c) => (await c.closed).code)), [1012, 1012])
  })

  it('a busy client is closed after its work in flight', async () => {
    const { server, sockets, port } = await socketServer()
    let finish = () => {}
    const work = new Promise<void>((resolve) => {
      finish = resolve
    })
    const life = quick()
      .http(server)
      .webSockets(sockets, { busy: () => work })
    life.start()
    const one = await client(port)
    void life.stop()
    await until(() => life.counters().told === 1, 'the client to be told')
    await new Promise((resolve) => setTimeout(resolve, 300))
    assert.equal(one.code, undefined)
    finish()
    assert.equal((await one.closed).code, 1012)
    assert.equal((await life.stopped).forced, 0)
  })

  it('a client that is busy for as long as a hook says so is asked again', async () => {
    const { server, sockets, port } = await socketServer()
    let busy = true
    const life = quick()
      .http(server)
      .webSockets(sockets, { busy: () => busy })
    life.start()
    const one = await client(port)
    void life.stop()
    await until(() => life.counters().told === 1, 'the client to be told')
    assert.equal(one.code, undefined)
    busy = false
    assert.equal((await one.closed).code, 1012)
    await life.stopped
  })

  it('D7: a client that is busy for ever is cut at the deadline, with the right code', async () => {
    const { server, sockets, port } = await socketServer()
    const life = quick({ grace: 400, flush: 50 })
      .http(server)
      .webSockets(sockets, { busy: () => true })
    life.start()
    const one = await client(port)
    const outcome = await life.stop()
    assert.deepEqual([outcome.forced, outcome.abandoned, outcome.exitCode], [1, 0, 4])
    assert.equal((await one.closed).code, 1012)
  })

  it('a client that never answers the close frame costs the close timeout, not the grace period', async () => {
    const { server, sockets, port } = await socketServer()
    const life = quick().http(server).webSockets(sockets, { closeTimeout: 150 })
    life.start()
    const mute = await opened(port)
    assert.match(await upgrade(mute), /^HTTP\/1\.1 101 /)
    const well = await client(port)
    const outcome = await life.stop()
    assert.ok(outcome.duration < QUICK_GRACE, `${outcome.duration} ms`)
    assert.equal((await well.closed).code, 1012)
    mute.destroy()
  })

  it('a client that has stopped reading costs the close timeout, not the grace period', async () => {
    const { server, sockets, port } = await socketServer()
    const life = quick().http(server).webSockets(sockets, { closeTimeout: 150 })
    life.start()
    const deaf = await client(port)
    deaf.socket.pause()
    for (const socket of sockets.clients) socket.send(Buffer.alloc(32 << 20))
    const outcome = await life.stop()
    assert.ok(outcome.duration < QUICK_GRACE, `${outcome.duration} ms`)
    deaf.socket.terminate()
  })

  it('a hook that throws closes the client all the same, and is reported', async () => {
    const { server, sockets, port } = await socketServer()
    const life = quick()
      .http(server)
      .webSockets(sockets, {
        notice: () => {
          throw new Error('notice')
        },
        busy: () => Promise.reject(new Error('busy')),
      })
    const failed: string[] = []
    life.on('hookFailed', ({ hook }) => failed.push(hook))
    life.start()
    const one = await client(port)
    await life.stop()
    assert.equal((await one.closed).code, 1012)
    assert.deepEqual(failed, ['web-sockets notice', 'web-sockets busy'])
  })

  it('C2: refuses codes and reasons that must not be sent, when they are configured', async () => {
    const { sockets, server } = await socketServer()
    const make = (options: object) => new WebSocketSource(sockets, options, 500, () => {})
    for (const code of [999, 1004, 1005, 1006, 1015, 2999, 5000, 4001.5]) {
      assert.throws(() => make({ drainCode: code }), RangeError)
    }
    for (const code of [1000, 1012, 3000, 4999]) assert.ok(make({ drainCode: code }))
    assert.throws(() => make({ reason: 'ö'.repeat(62) }), /at most 123 bytes/)
    server.close()
  })

  it('one lifecycle has one pace', async () => {
    const { sockets, server } = await socketServer()
    const life = quick().webSockets(sockets, { reconnectRate: 100 })
    assert.throws(() => life.webSockets(sockets, { reconnectRate: 200 }), /reconnectRate is 100 .* and 200/)
    server.close()
  })

  it('each client that reconnects finds the door closed', async () => {
    const { server, sockets, port } = await socketServer()
    const life = quick().http(server).webSockets(sockets)
    life.start()
    const all = await clients(port, 50)
    const retried = all.map(async ({ closed }) => {
      await closed
      const again = new WebSocket(`ws://127.0.0.1:${port}/`)
      return new Promise((resolve) => {
        again.once('open', () => resolve('accepted'))
        again.once('error', (error: NodeJS.ErrnoException) => resolve(error.code))
      })
    })
    await life.stop()
    assert.deepEqual(new Set(await Promise.all(retried)), new Set(['ECONNREFUSED']))
  })
})

function opened(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket))
    socket.once('error', reject)
  })
}

/** Asks to upgrade by hand, and resolves with the head of the answer. */
function upgrade(socket: Socket): Promise<string> {
  socket.write(
    'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
  )
  return new Promise((resolve) => socket.once('data', (data) => resolve(data.toString())))
}
