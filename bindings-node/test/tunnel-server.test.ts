import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { WebSocket } from 'ws'
import {
  type Directory,
  DirectoryUnavailable,
  MemoryDirectory,
  type RegisterCommand,
  type Registered,
} from '../host/directory.js'
import { TunnelServer } from '../host/tunnel-server.js'
import { ask, TestHost, TestRelay, until } from './support/relay.js'

const farewell = { intent: 'restart', reason: 'deploy', code: 1012 } as const

/** Holds calls of a directory back until they are let go, or makes them fail. */
class HeldDirectory extends MemoryDirectory {
  readonly held: (() => void)[] = []
  hold = false
  away = false
  calls: string[] = []

  override async register(command: RegisterCommand) {
    await this.#pass('register')
    return await super.register(command)
  }
  override async renew(command: Parameters<Directory['renew']>[0]) {
    await this.#pass('renew')
    return await super.renew(command)
  }
  override async unregister(command: Parameters<Directory['unregister']>[0]) {
    await this.#pass('unregister')
    return await super.unregister(command)
  }
  override async look(host: string) {
    if (this.away) throw new DirectoryUnavailable('look hosts up')
    return await super.look(host)
  }
  override async clearOwn(owner: Parameters<Directory['clearOwn']>[0]) {
    await this.#pass('clearOwn')
    return await super.clearOwn(owner)
  }

  async #pass(call: string): Promise<void> {
    this.calls.push(call)
    // Not the clear: a test that failed could not end what it started.
    if (this.hold && call !== 'clearOwn') await new Promise<void>((resolve) => this.held.push(resolve))
    if (this.away) throw new DirectoryUnavailable(call)
  }
}

async function closed(socket: WebSocket): Promise<number> {
  const [code] = await once(socket, 'close')
  return code
}

describe('a host that dials in (R1)', () => {
  it('is routable once its row is written, and not before', async () => {
    const directory = new HeldDirectory()
    directory.hold = true
    await using relay = await TestRelay.start({ directory, machine: 'a' })
    using host = new TestHost('h')
    await host.dial(relay)
    await until(() => directory.held.length === 1)
    assert.equal(relay.tunnels.has('h'), false)
    assert.equal((await ask(relay.url('/hosts/h/x'))).status, 503)
    directory.hold = false
    directory.held[0]?.()
    await until(() => relay.tunnels.has('h'))
    const row = await directory.look('h')
    assert.ok(row.type === 'owned' && row.owner.machine === 'a')
    assert.equal((await ask(relay.url('/hosts/h/x?y=1'))).text, 'GET /x?y=1 ')
  })

  it('is closed with 1008 when its login is refused, and leaves no row', async () => {
    const directory = new MemoryDirectory()
    await using relay = await TestRelay.start({ directory, machine: 'a' })
    const socket = new WebSocket(relay.url('/tunnel?hostId=h&token=wrong').replace('http', 'ws'))
    assert.equal(await closed(socket), 1008)
    await until(() => relay.tunnels.count() === 0)
    assert.equal(directory.size, 0)
    assert.deepEqual(relay.departures, ['refused'])
  })

  it('is closed with 1008 when its login is not decided in time, and the check is told', async () => {
    let told = false
    await using relay = await TestRelay.start({
      directory: new MemoryDirectory(),
      machine: 'a',
      peer: { authorizeLimit: 50 },
      authorize: async (_, { signal }) => {
        await once(signal, 'abort')
        told = true
        return { host: 'h' }
      },
    })
    using host = new TestHost('h')
    const { socket } = await host.dial(relay)
    assert.equal(await closed(socket), 1008)
    await until(() => told)
  })

  it('is closed with 1011 when the directory write fails after the socket is open', async () => {
    const directory = new HeldDirectory()
    await using relay = await TestRelay.start({ directory, machine: 'a' })
    directory.away = true
    using host = new TestHost('h')
    const { socket } = await host.dial(relay)
    assert.equal(await closed(socket), 1011)
    assert.equal(relay.tunnels.has('h'), false)
    assert.deepEqual(relay.departures, ['directory-failed'])
  })

  it('takes back a registration that lands after its socket has closed', async () => {
    const directory = new HeldDirectory()
    directory.hold = true
    await using relay = await TestRelay.start({ directory, machine: 'a' })
    using host = new TestHost('h')
    const { socket } = await host.dial(relay)
    await until(() => directory.held.length === 1)
    socket.terminate()
    await until(() => relay.departures.length === 1)
    directory.hold = false
    directory.held[0]?.()
    await until(() => relay.tunnels.count() === 0)
    assert.equal(directory.size, 0)
    assert.equal((await directory.look('h')).epoch, 1)
  })

  it('replaces an older connection of the same host with 4409, and keeps its own row', async () => {
    const directory = new MemoryDirectory()
    await using relay = await TestRelay.start({ directory, machine: 'a' })
    using first = new TestHost('h')
    using second = new TestHost('h')
    await first.connect(relay)
    await second.dial(relay)
    await until(() => first.codes.length === 1)
    assert.deepEqual(first.codes, [4409])
    await until(() => relay.tunnels.count() === 1)
    assert.equal((await ask(relay.url('/hosts/h/z'))).text, 'GET /z ')
    assert.deepEqual([first.seen.length, second.seen.length], [0, 1])
    const row = await directory.look('h')
    assert.ok(row.type === 'owned' && row.held === 2)
  })

  it('replaces an older connection on another relay when that one renews its row', async () => {
    const directory = new MemoryDirectory()
    const peer = { renewEvery: 30 }
    await using a = await TestRelay.start({ directory, machine: 'a', peer })
    await using b = await TestRelay.start({ directory, machine: 'b', peer })
    using first = new TestHost('h')
    using second = new TestHost('h')
    await first.connect(a)
    await second.connect(b)
    await until(() => first.codes.length === 1)
    assert.deepEqual(first.codes, [4409])
    await until(() => a.tunnels.count() === 0)
    const row = await directory.look('h')
    assert.ok(row.type === 'owned' && row.owner.machine === 'b')
  })

  it('does not let a dial that opened earlier take the row of one that opened later', async () => {
    const directory = new MemoryDirectory()
    const gates: (() => void)[] = []
    await using relay = await TestRelay.start({
      directory,
      machine: 'a',
      authorize: async () => {
        await new Promise<void>((resolve) => gates.push(resolve))
        return { host: 'h' }
      },
    })
    using early = new TestHost('h')
    using late = new TestHost('h')
    await early.dial(relay)
    await until(() => gates.length === 1)
    await late.dial(relay)
    await until(() => gates.length === 2)
    gates[1]?.()
    await until(() => relay.tunnels.has('h'))
    gates[0]?.()
    await until(() => early.codes.length === 1)
    assert.deepEqual([early.codes, late.codes], [[1011], []])
    assert.equal((await ask(relay.url('/hosts/h/z'))).status, 200)
    assert.equal(late.seen.length, 1)
  })

  it('is closed with 1001 when it answers no ping, half open as it is', async () => {
    const peer = { pingEvery: 40, pingMisses: 2, stallTolerance: 2_000 }
    await using relay = await TestRelay.start({ directory: new MemoryDirectory(), machine: 'a', peer })
    using answering = new TestHost('alive')
    await answering.connect(relay)
    // A host whose machine died: the socket stays, nothing is read and nothing answered.
    const socket = new WebSocket(relay.dialUrl('dead'))
    await once(socket, 'open')
    await until(() => relay.tunnels.has('dead'))
    socket.pause()
    await until(() => !relay.tunnels.has('dead'))
    assert.deepEqual(relay.departures, ['silent'])
    assert.equal(relay.tunnels.has('alive'), true)
    // Its socket is cut, as it answers no close frame either.
    await until(() => relay.tunnels.count() === 1)
    socket.resume()
    assert.ok([1001, 1006].includes(await closed(socket)))
  })

  it('refuses dials with 503 before it is started, and everything that is neither a dial nor a host', async () => {
    const directory = new MemoryDirectory()
    await using relay = await TestRelay.start({ directory, machine: 'a' })
    const cold = new TunnelServer({
      directory,
      owner: { machine: 'cold', incarnation: 1 },
      address: 'http://127.0.0.1:1',
      authorize: () => ({ host: 'h' }),
    })
    relay.clients.removeAllListeners('upgrade').on('upgrade', cold.handleUpgrade)
    const statuses = []
    for (const path of ['/tunnel?hostId=h', '/elsewhere', '/hosts/', '/hosts/%ff/']) {
      const socket = new WebSocket(`ws://127.0.0.1:${relay.port}${path}`)
      const [, response] = await once(socket, 'unexpected-response')
      statuses.push([response.statusCode, response.headers['retry-after']])
      socket.on('error', () => {})
      socket.terminate()
    }
    const notFound = [404, undefined]
    assert.deepEqual(statuses, [[503, '1'], notFound, notFound, notFound])
    assert.equal((await ask(relay.url('/elsewhere'))).status, 404)
  })

  it('bounds the dials that are not decided yet', async () => {
    await using relay = await TestRelay.start({
      directory: new MemoryDirectory(),
      machine: 'a',
      unadmittedLimit: 2,
      authorize: () => new Promise(() => {}),
    })
    using host = new TestHost('h')
    await host.dial(relay)
    await host.dial(relay)
    await assert.rejects(host.dial(relay), /503/)
  })
})

describe('a directory that fails (R2)', () => {
  it('does not take live tunnels along: they are served, said to be unlisted, and listed again', async () => {
    const directory = new HeldDirectory()
    const peer = { renewEvery: 20, retryEvery: 20, registerLimit: 200 }
    await using relay = await TestRelay.start({ directory, machine: 'a', peer, waitLimit: 200 })
    const unlisted: string[] = []
    relay.tunnels.on('unlisted', ({ host }) => unlisted.push(host))
    using host = new TestHost('h')
    await host.connect(relay)
    directory.away = true
    await until(() => unlisted.length > 0)
    for (let n = 0; n < 5; n += 1) assert.equal((await ask(relay.url('/hosts/h/x'))).status, 200)
    assert.equal((await ask(relay.url('/hosts/other/x'), {})).status, 503)
    directory.away = false
    // The row was lost meanwhile: its live owner brings it back.
    await directory.clearOwn(
      ((await directory.look('h')) as { owner: { machine: string; incarnation: number } }).owner,
    )
    await until(async () => (await directory.look('h')).type === 'owned')
    assert.equal(relay.tunnels.has('h'), true)
    assert.deepEqual(unlisted, ['h'])
  })

  it('lets a late retry of one relay change nothing about the live row of another (S1 defect 4)', async () => {
    const directory = new HeldDirectory()
    await using a = await TestRelay.start({ directory, machine: 'a' })
    await using b = await TestRelay.start({ directory, machine: 'b' })
    directory.hold = true
    using host = new TestHost('h')
    await host.dial(a)
    await until(() => directory.held.length === 1)
    directory.hold = false
    using again = new TestHost('h')
    await again.connect(b)
    // The write of a, which was stuck, lands only now.
    directory.held[0]?.()
    await until(() => host.codes.length === 1)
    assert.deepEqual(host.codes, [1011])
    const row = await directory.look('h')
    assert.ok(row.type === 'owned' && row.owner.machine === 'b')
    assert.equal((await ask(a.url('/hosts/h/x'))).status, 200)
    assert.equal(again.seen.length, 1)
  })
})

describe('a start (R3)', () => {
  it('clears the rows of earlier lives of the machine, and of nobody else, before it accepts', async () => {
    const directory = new MemoryDirectory()
    const register = async (host: string, machine: string, incarnation: number): Promise<Registered> =>
      (await directory.register({ host, owner: { machine, incarnation }, address: 'x' })) as Registered
    await register('h1', 'a', 1)
    await register('h2', 'a', 2)
    await register('h3', 'b', 1)
    await using relay = await TestRelay.start({ directory, machine: 'a', incarnation: 3 })
    assert.equal(directory.size, 1)
    assert.equal(relay.tunnels.count(), 0)
  })

  it('clears nothing as a successor by handoff', async () => {
    const directory = new MemoryDirectory()
    await directory.register({ host: 'h', owner: { machine: 'a', incarnation: 1 }, address: 'x' })
    const successor = new TunnelServer({
      directory,
      owner: { machine: 'a', incarnation: 2 },
      address: 'http://127.0.0.1:1',
      authorize: () => undefined,
    })
    assert.equal(await successor.start({ successor: true }), 0)
    assert.equal(directory.size, 1)
  })

  it('fails while the directory is away', async () => {
    const directory = new MemoryDirectory()
    directory.clearEarlier = async () => {
      throw new DirectoryUnavailable('clear the rows of a machine')
    }
    await assert.rejects(TestRelay.start({ directory, machine: 'a' }), DirectoryUnavailable)
  })
})

describe('a request through a tunnel', () => {
  it('carries method, path, headers and bodies both ways, text and bytes', async () => {
    await using relay = await TestRelay.start({ directory: new MemoryDirectory(), machine: 'a' })
    const bytes = Buffer.from([0, 255, 128, 10, 200])
    using host = new TestHost('h ö/x', {
      answer: ({ encoding, body = '' }) => ({
        status: 201,
        headers: {
          'X-Host': 'yes',
          'set-cookie': ['a=1', 'b=2'],
          connection: 'close',
          'x-tidegate-not-here': '1',
        },
        body,
        ...(encoding && { encoding }),
      }),
    })
    const { name } = host
    const encoded = encodeURIComponent(name)
    await host.connect(relay)
    const text = await ask(relay.url(`/hosts/${encoded}/deep/path?q=%20`), {
      method: 'PATCH',
      body: 'höhö',
      headers: { 'X-Client': '1', Connection: 'x-gone', 'x-gone': '1', TE: 'trailers' },
    })
    assert.deepEqual([text.status, text.text, text.headers['x-host']], [201, 'höhö', 'yes'])
    assert.deepEqual(text.headers['set-cookie'], ['a=1', 'b=2'])
    assert.equal(text.headers['x-tidegate-not-here'], undefined)
    const [frame] = host.seen
    assert.deepEqual(
      [frame?.method, frame?.path, frame?.body, frame?.encoding],
      ['PATCH', '/deep/path?q=%20', 'höhö', undefined],
    )
    assert.deepEqual(
      [frame?.headers['x-client'], frame?.headers['x-gone'], frame?.headers.te],
      ['1', undefined, undefined],
    )
    const binary = await ask(relay.url(`/hosts/${encoded}`), { method: 'PUT', body: bytes })
    assert.deepEqual(binary.body, bytes)
    assert.deepEqual([host.seen[1]?.path, host.seen[1]?.encoding], ['/', 'base64'])
    const head = await ask(relay.url(`/hosts/${encoded}/x`), { method: 'HEAD' })
    assert.deepEqual([head.status, head.body.length], [201, 0])
    const direct = await relay.tunnels.request(name, { method: 'POST', path: '/d', body: 'x' })
    assert.deepEqual([direct.status, direct.body.toString()], [201, 'x'])
  })

  it('is refused when a tunnel carries 1,000 already, and others are not held up by that', async () => {
    await using relay = await TestRelay.start({ directory: new MemoryDirectory(), machine: 'a' })
    const waiting: (() => void)[] = []
    using slow = new TestHost('slow', {
      answer: () => new Promise((resolve) => waiting.push(() => resolve({ body: 'late' }))),
    })
    using quick = new TestHost('quick')
    await slow.connect(relay)
    await quick.connect(relay)
    const requests = Array.from({ length: 1_000 }, () => relay.tunnels.request('slow'))
    await until(() => waiting.length === 1_000)
    await assert.rejects(relay.tunnels.request('slow'), { code: 'tunnel-full', status: 503 })
    assert.equal((await ask(relay.url('/hosts/slow/x'))).headers['retry-after'], '1')
    assert.equal((await relay.tunnels.request('quick')).status, 200)
    for (const answer of waiting) answer()
    for (const { body } of await Promise.all(requests)) assert.equal(body.toString(), 'late')
    assert.equal(relay.tunnels.pending, 0)
  })

  it('ends with 504 when the host does not answer in time, and a late answer harms nobody', async () => {
    await using relay = await TestRelay.start({
      directory: new MemoryDirectory(),
      machine: 'a',
      requestTimeout: 50,
    })
    let answer: (() => void) | undefined
    using host = new TestHost('h', {
      answer: ({ path }) =>
        path === '/late'
          ? new Promise((resolve) => {
              answer = () => resolve({ body: 'late' })
            })
          : { body: 'now' },
    })
    await host.connect(relay)
    assert.equal((await ask(relay.url('/hosts/h/late'))).status, 504)
    answer?.()
    assert.equal((await ask(relay.url('/hosts/h/now'))).text, 'now')
    assert.equal(relay.tunnels.pending, 0)
  })

  it('frees its place when its client goes away or gives up', async () => {
    await using relay = await TestRelay.start({ directory: new MemoryDirectory(), machine: 'a' })
    using host = new TestHost('h', { answer: () => new Promise(() => {}) })
    await host.connect(relay)
    const socket = connect(relay.port, '127.0.0.1')
    socket.write('GET /hosts/h/x HTTP/1.1\r\nHost: x\r\n\r\n')
    await until(() => relay.tunnels.pending === 1)
    socket.destroy()
    await until(() => relay.tunnels.pending === 0)
    const abort = new AbortController()
    const given = relay.tunnels.request('h', {}, { signal: abort.signal })
    await until(() => relay.tunnels.pending === 1)
    abort.abort(new Error('enough'))
    await assert.rejects(given, /enough/)
    assert.equal(relay.tunnels.pending, 0)
  })

  it('is refused with 413 when it is too large', async () => {
    await using relay = await TestRelay.start({
      directory: new MemoryDirectory(),
      machine: 'a',
      bodyLimit: 1_000,
    })
    using host = new TestHost('h')
    await host.connect(relay)
    const body = 'x'.repeat(1_001)
    assert.equal((await ask(relay.url('/hosts/h/x'), { method: 'POST', body })).status, 413)
    assert.equal(host.seen.length, 0)
  })

  it('is answered 503 at once for a host that nobody knows', async () => {
    await using relay = await TestRelay.start({ directory: new MemoryDirectory(), machine: 'a' })
    const begin = performance.now()
    const answer = await ask(relay.url('/hosts/nobody/x'))
    assert.deepEqual([answer.status, answer.headers['retry-after']], [503, '1'])
    assert.ok(performance.now() - begin < 2_000)
  })
})

describe('a hostile host', () => {
  for (const [what, frame] of [
    ['text that is no JSON', 'garbage'],
    ['JSON that is no object', '[1,2]'],
    ['an object without a type', '{"id":1}'],
    ['a frame of the wrong shape', '{"type":"ws:frame","id":{},"data":1}'],
    ['bytes', Buffer.from([1, 2, 3])],
  ] as const) {
    it(`is closed with 4400 for ${what}`, async () => {
      await using relay = await TestRelay.start({ directory: new MemoryDirectory(), machine: 'a' })
      using host = new TestHost('h')
      await host.connect(relay)
      host.current?.socket.send(frame)
      await until(() => host.codes.length === 1)
      assert.deepEqual(host.codes, [4400])
      await until(() => relay.tunnels.count() === 0)
    })
  }

  it('is closed with 1009 for a frame that is too long, and its request is not left hanging', async () => {
    await using relay = await TestRelay.start({
      directory: new MemoryDirectory(),
      machine: 'a',
      frameLimit: 10_000,
      waitLimit: 50,
    })
    using host = new TestHost('h', { answer: () => ({ body: 'x'.repeat(20_000) }) })
    await host.connect(relay)
    assert.equal((await ask(relay.url('/hosts/h/x'), { method: 'POST' })).status, 502)
    await until(() => host.codes.length === 1)
    assert.deepEqual(host.codes, [1009])
  })

  it('cannot break the answers of clients: a bad status or header is a 502', async () => {
    await using relay = await TestRelay.start({ directory: new MemoryDirectory(), machine: 'a' })
    const answers = [
      { status: 101 },
      { status: 99999 },
      { headers: { 'x-split': 'a\r\nSet-Cookie: b' } },
      { headers: { 'bad name': 'x' } },
      { body: 7 as unknown as string },
      { encoding: 'gzip' },
    ]
    let next = 0
    using host = new TestHost('h', { answer: () => answers[next++] ?? { body: 'good' } })
    await host.connect(relay)
    for (const _ of answers) assert.equal((await ask(relay.url('/hosts/h/x'))).status, 502)
    assert.equal((await ask(relay.url('/hosts/h/x'))).text, 'good')
    assert.deepEqual(host.codes, [])
  })

  it('cannot answer what it was not asked, nor anything before it is admitted', async () => {
    const directory = new HeldDirectory()
    directory.hold = true
    await using relay = await TestRelay.start({ directory, machine: 'a' })
    using host = new TestHost('h')
    const { socket } = await host.dial(relay)
    socket.send('{"type":"http:response","id":"1","status":200,"headers":{},"body":"forged"}')
    socket.send('{"type":"drain"}')
    socket.ping()
    await once(socket, 'pong')
    await until(() => directory.held.length === 1)
    directory.hold = false
    directory.held[0]?.()
    await until(() => relay.tunnels.has('h'))
    socket.send('{"type":"http:response","id":"77","status":200,"headers":{},"body":"forged"}')
    socket.send('{"type":"something-new"}')
    assert.equal((await ask(relay.url('/hosts/h/x'))).text, 'GET /x ')
  })
})

describe('a request for a host elsewhere (R4)', () => {
  it('is forwarded to the owner, once, with everything that it carries', async () => {
    const directory = new MemoryDirectory()
    await using a = await TestRelay.start({ directory, machine: 'a' })
    await using b = await TestRelay.start({ directory, machine: 'b' })
    using host = new TestHost('h')
    await host.connect(b)
    for (const method of ['GET', 'POST', 'DELETE', 'PATCH']) {
      const body = method.startsWith('P') ? 'b' : ''
      const answer = await ask(a.url('/hosts/h/p?q=1'), { method, body })
      assert.deepEqual([answer.status, answer.text], [200, `${method} /p?q=1 ${body}`])
    }
    for (const { headers } of host.seen) {
      assert.deepEqual(
        Object.keys(headers).filter((name) => name.startsWith('x-tidegate')),
        [],
      )
      assert.equal(headers.expect, undefined)
    }
  })

  it('does not loop: a relay that is asked by another one never forwards', async () => {
    const directory = new MemoryDirectory()
    await using a = await TestRelay.start({ directory, machine: 'a' })
    await using b = await TestRelay.start({ directory, machine: 'b' })
    using host = new TestHost('h')
    await host.connect(b)
    const answer = await ask(a.url('/hosts/h/x'), { headers: { 'x-tidegate-forwarded': 'someone' } })
    assert.deepEqual([answer.status, answer.headers['x-tidegate-not-here']], [421, '1'])
    assert.equal(host.seen.length, 0)
  })

  it('waits for the new row of a host that is between relays', async () => {
    const directory = new MemoryDirectory()
    await using a = await TestRelay.start({ directory, machine: 'a' })
    await using b = await TestRelay.start({ directory, machine: 'b' })
    using host = new TestHost('h')
    await host.connect(a)
    host[Symbol.dispose]()
    await until(() => a.tunnels.count() === 0)
    const requests = [ask(a.url('/hosts/h/1')), ask(b.url('/hosts/h/2'), { method: 'POST' })]
    await delay(50)
    using again = new TestHost('h')
    await again.connect(b)
    assert.deepEqual(
      (await Promise.all(requests)).map(({ text }) => text),
      ['GET /1 ', 'POST /2 '],
    )
  })

  it('waits no longer than the limit, and not at all for a host that has been away for longer', async () => {
    const directory = new MemoryDirectory()
    await using a = await TestRelay.start({ directory, machine: 'a', waitLimit: 1_000 })
    using host = new TestHost('h')
    await host.connect(a)
    host[Symbol.dispose]()
    await until(() => a.tunnels.count() === 0)
    let begin = performance.now()
    assert.equal((await ask(a.url('/hosts/h/1'))).status, 503)
    assert.ok(performance.now() - begin >= 900)
    await delay(1_000)
    begin = performance.now()
    assert.equal((await ask(a.url('/hosts/h/1'))).status, 503)
    assert.ok(performance.now() - begin < 800)
  })

  it('looks again, once, when the owner no longer has the tunnel', async () => {
    const directory = new MemoryDirectory()
    await using a = await TestRelay.start({ directory, machine: 'a' })
    await using b = await TestRelay.start({ directory, machine: 'b' })
    await using c = await TestRelay.start({ directory, machine: 'c' })
    // The row points to b, which has no tunnel.
    const { port } = b.peers.address() as { port: number }
    await directory.register({
      host: 'h',
      owner: { machine: 'b', incarnation: 1 },
      address: `http://127.0.0.1:${port}`,
    })
    const waiting = ask(a.url('/hosts/h/1'), { method: 'POST' })
    await delay(30)
    using host = new TestHost('h')
    await host.connect(c)
    assert.equal((await waiting).text, 'POST /1 ')
  })

  it('waits for the new row when the row points to a relay that is dead', async () => {
    const directory = new MemoryDirectory()
    await using a = await TestRelay.start({ directory, machine: 'a' })
    const dead = await TestRelay.start({ directory, machine: 'dead' })
    using host = new TestHost('h')
    await host.connect(dead)
    await dead.kill()
    directory.clearOwn = async () => 0
    const waiting = ask(a.url('/hosts/h/1'), { method: 'POST' })
    await delay(30)
    using again = new TestHost('h')
    await again.connect(a)
    assert.equal((await waiting).text, 'POST /1 ')
  })

  it('is sent again when its tunnel dies before the answer and a repetition harms nobody; else it is a 502', async () => {
    const directory = new MemoryDirectory()
    await using a = await TestRelay.start({ directory, machine: 'a' })
    using dying = new TestHost('h', { answer: () => new Promise(() => {}) })
    await dying.connect(a)
    const [get, post] = [ask(a.url('/hosts/h/x')), ask(a.url('/hosts/h/x'), { method: 'POST' })]
    await until(() => dying.seen.length === 2)
    dying[Symbol.dispose]()
    assert.equal((await post).status, 502)
    using again = new TestHost('h')
    await again.connect(a)
    assert.equal((await get).text, 'GET /x ')
  })
})

describe("a client's WebSocket through a tunnel", () => {
  const echoing = (name: string): TestHost =>
    new TestHost(name, {
      drain: 'ignore',
      onFrame: (frame, socket) => {
        if (frame.type === 'ws:frame') socket.send(JSON.stringify(frame))
        if (frame.type === 'ws:open') {
          const data = JSON.stringify({ path: frame.path, query: frame.query })
          socket.send(JSON.stringify({ type: 'ws:frame', id: frame.id, data }))
        }
        if (frame.type === 'ws:frame' && frame.data === 'bye') {
          socket.send(JSON.stringify({ type: 'ws:close', id: frame.id, code: 4321 }))
        }
      },
    })

  for (const where of ['here', 'elsewhere']) {
    it(`is opened ${where}, carries text and bytes, and closes both ways`, async () => {
      const directory = new MemoryDirectory()
      await using a = await TestRelay.start({ directory, machine: 'a' })
      await using b = await TestRelay.start({ directory, machine: 'b' })
      using host = echoing('h')
      await host.connect(where === 'here' ? a : b)
      const client = new WebSocket(a.url('/hosts/h/live?x=1').replace('http', 'ws'))
      const received: (string | Buffer)[] = []
      client.on('message', (data, isBinary) => received.push(isBinary ? (data as Buffer) : data.toString()))
      await once(client, 'open')
      client.send('text')
      client.send(Buffer.from([0, 200, 255]))
      await until(() => received.length === 3)
      assert.deepEqual(received, ['{"path":"/live","query":"x=1"}', 'text', Buffer.from([0, 200, 255])])
      client.send('bye')
      assert.equal(await closed(client), 4321)
      await until(() => a.tunnels.streams() + b.tunnels.streams() === 0)
    })
  }

  it('ends with 1012 when the relay drains, and counts as a stream until then', async () => {
    await using relay = await TestRelay.start({ directory: new MemoryDirectory(), machine: 'a' })
    using host = echoing('h')
    await host.connect(relay)
    const client = new WebSocket(relay.url('/hosts/h/live').replace('http', 'ws'))
    await once(client, 'message')
    assert.deepEqual([relay.tunnels.requests(), relay.tunnels.streams()], [1, 1])
    relay.tunnels.endStreams()
    assert.equal(await closed(client), 1012)
    assert.deepEqual([relay.tunnels.requests(), relay.tunnels.streams()], [0, 0])
  })

  it('is refused with 503 when nobody has the host', async () => {
    await using relay = await TestRelay.start({ directory: new MemoryDirectory(), machine: 'a' })
    const client = new WebSocket(relay.url('/hosts/nobody/x').replace('http', 'ws'))
    client.on('error', () => {})
    const [, response] = await once(client, 'unexpected-response')
    assert.equal(response.statusCode, 503)
    client.terminate()
  })
})

describe('a drain (D4, D5)', () => {
  it('refuses dials before the upgrade, and registrations that are under way after their await', async () => {
    const directory = new HeldDirectory()
    const gates: (() => void)[] = []
    await using relay = await TestRelay.start({
      directory,
      machine: 'a',
      authorize: async ({ url = '' }) => {
        const host = new URL(url, 'http://x').searchParams.get('hostId') ?? ''
        if (host === 'checking') await new Promise<void>((resolve) => gates.push(resolve))
        return { host }
      },
    })
    using checking = new TestHost('checking')
    using writing = new TestHost('writing')
    await checking.dial(relay)
    await until(() => gates.length === 1)
    directory.hold = true
    await writing.dial(relay)
    await until(() => directory.held.length === 1)
    relay.tunnels.refuseNew()
    directory.hold = false
    gates[0]?.()
    directory.held[0]?.()
    await until(() => checking.codes.length + writing.codes.length === 2)
    assert.deepEqual([checking.codes, writing.codes], [[4001], [4001]])
    await until(() => relay.tunnels.count() === 0)
    assert.equal(directory.size, 0)
    using late = new TestHost('late')
    await assert.rejects(late.dial(relay), /503/)
  })

  it('sends the notice in band, with its reason and window, before it closes', async () => {
    await using relay = await TestRelay.start({ directory: new MemoryDirectory(), machine: 'a' })
    using host = new TestHost('h', { drain: 'ignore' })
    using other = new TestHost('other', { drain: 'ignore' })
    await host.connect(relay)
    await other.connect(relay)
    relay.tunnels.tell(1, 700, farewell)
    await until(() => host.notices.length === 1)
    assert.deepEqual(host.notices, [{ type: 'drain', reason: 'deploy', within: 700 }])
    assert.deepEqual([relay.tunnels.told(), relay.tunnels.count(), other.notices.length], [1, 2, 0])
    relay.tunnels.tell(5, undefined, farewell)
    await until(() => other.notices.length === 1)
    assert.deepEqual(other.notices, [{ type: 'drain', reason: 'deploy' }])
    relay.tunnels.closeAll(1012, farewell)
    await until(() => host.codes.length + other.codes.length === 2)
    assert.deepEqual([host.codes, other.codes], [[4001], [4001]])
  })

  it('lets a host that finishes move first: what it carries ends on the old tunnel, what is new on the next (S1 defect 5)', async () => {
    const directory = new MemoryDirectory()
    await using a = await TestRelay.start({ directory, machine: 'a' })
    await using b = await TestRelay.start({ directory, machine: 'b' })
    const waiting: (() => void)[] = []
    using host = new TestHost('h', {
      drain: 'finish',
      relays: () => [b],
      answer: ({ path }) =>
        path === '/slow'
          ? new Promise((resolve) => waiting.push(() => resolve({ body: 'slow' })))
          : { body: path },
    })
    await host.connect(a)
    const slow = ask(a.url('/hosts/h/slow'), { method: 'POST' })
    await until(() => waiting.length === 1)
    a.tunnels.refuseNew()
    a.tunnels.tell(1, undefined, farewell)
    await until(() => b.tunnels.has('h'))
    // A forwarded request and one of a client of its own go to the new owner, while the old one still works.
    assert.equal((await ask(a.url('/hosts/h/new'))).text, '/new')
    assert.equal((await ask(b.url('/hosts/h/new'))).text, '/new')
    assert.equal(a.tunnels.count(), 1)
    waiting[0]?.()
    assert.equal((await slow).text, 'slow')
    await until(() => a.tunnels.count() === 0)
    const row = await directory.look('h')
    assert.ok(row.type === 'owned' && row.owner.machine === 'b')
    assert.deepEqual([host.connects, host.codes], [2, [4001]])
  })

  it('tells a host that closes first only once what it carries has ended, and holds what is new', async () => {
    const directory = new MemoryDirectory()
    await using a = await TestRelay.start({ directory, machine: 'a' })
    await using b = await TestRelay.start({ directory, machine: 'b' })
    const waiting: (() => void)[] = []
    using host = new TestHost('h', {
      drain: 'plain',
      relays: () => [b],
      answer: ({ path }) =>
        path === '/slow'
          ? new Promise((resolve) => waiting.push(() => resolve({ body: 'slow' })))
          : { body: path },
    })
    await host.connect(a)
    const slow = ask(a.url('/hosts/h/slow'), { method: 'POST' })
    await until(() => waiting.length === 1)
    a.tunnels.refuseNew()
    a.tunnels.tell(1, undefined, farewell)
    const held = [ask(a.url('/hosts/h/1'), { method: 'POST' }), ask(b.url('/hosts/h/2'), { method: 'POST' })]
    await delay(50)
    assert.deepEqual([host.notices.length, host.seen.length], [0, 1])
    waiting[0]?.()
    assert.equal((await slow).text, 'slow')
    assert.deepEqual(
      (await Promise.all(held)).map(({ text }) => text),
      ['/1', '/2'],
    )
    assert.deepEqual([host.connects, b.tunnels.has('h')], [2, true])
  })

  it('goes on with a host that reads the notice and stays', async () => {
    await using relay = await TestRelay.start({ directory: new MemoryDirectory(), machine: 'a' })
    using host = new TestHost('h', { drain: 'ignore' })
    await host.connect(relay)
    relay.tunnels.tell(1, 60_000, farewell)
    assert.equal((await ask(relay.url('/hosts/h/x'), { method: 'POST' })).text, 'POST /x ')
    assert.equal(relay.tunnels.told(), 1)
  })

  it('clears the rows in one call, and closes each tunnel when it carries no request', async () => {
    const directory = new HeldDirectory()
    await using relay = await TestRelay.start({ directory, machine: 'a' })
    const waiting: (() => void)[] = []
    using busy = new TestHost('busy', {
      drain: 'ignore',
      answer: () => new Promise((resolve) => waiting.push(() => resolve({ body: 'done' }))),
    })
    using idle = new TestHost('idle', { drain: 'ignore' })
    await busy.connect(relay)
    await idle.connect(relay)
    const request = ask(relay.url('/hosts/busy/x'), { method: 'POST' })
    await until(() => waiting.length === 1)
    relay.tunnels.refuseNew()
    relay.tunnels.tell(2, undefined, farewell)
    directory.calls = []
    await relay.tunnels.clearRows(AbortSignal.timeout(1_000))
    assert.equal(directory.size, 0)
    relay.tunnels.closeAll(1012, farewell)
    await until(() => idle.codes.length === 1)
    assert.equal(busy.codes.length, 0)
    waiting[0]?.()
    assert.equal((await request).text, 'done')
    await until(() => relay.tunnels.count() === 0)
    assert.deepEqual([busy.codes, idle.codes], [[4001], [4001]])
    assert.deepEqual(directory.calls, ['clearOwn'])
  })

  it('cuts what is left when time is up, and says how much that was (D7)', async () => {
    await using relay = await TestRelay.start({ directory: new MemoryDirectory(), machine: 'a' })
    using host = new TestHost('h', { drain: 'ignore', answer: () => new Promise(() => {}) })
    await host.connect(relay)
    const [viaDoor, direct] = [
      ask(relay.url('/hosts/h/x')),
      relay.tunnels.request('h').catch((error) => error),
    ]
    await until(() => relay.tunnels.pending === 2)
    relay.tunnels.refuseNew()
    assert.equal(relay.tunnels.abort(1012, farewell), 2)
    assert.equal((await viaDoor).status, 503)
    assert.equal((await direct).code, 'stopping')
    await until(() => relay.tunnels.count() === 0)
    assert.deepEqual(host.codes, [4001])
  })

  it('is not held up by a host that has stopped reading', async () => {
    await using relay = await TestRelay.start({
      directory: new MemoryDirectory(),
      machine: 'a',
      closeTimeout: 100,
    })
    const socket = new WebSocket(relay.dialUrl('h'))
    await once(socket, 'open')
    await until(() => relay.tunnels.has('h'))
    socket.pause()
    const begin = performance.now()
    await relay.drain()
    assert.ok(performance.now() - begin < 1_500)
    socket.terminate()
  })
})

describe('reports', () => {
  it('hold no token', async () => {
    const directory = new HeldDirectory()
    await using relay = await TestRelay.start({
      directory,
      machine: 'a',
      authorize: () => {
        throw new Error('the login service is away')
      },
    })
    const reports: string[] = []
    relay.tunnels.on('departed', (report) => reports.push(JSON.stringify(report)))
    relay.tunnels.on('failed', ({ error, ...report }) => reports.push(JSON.stringify(report) + String(error)))
    using host = new TestHost('h')
    const { socket } = await host.dial(relay)
    assert.equal(await closed(socket), 1008)
    assert.equal(reports.length, 2)
    for (const report of reports) assert.doesNotMatch(report, /secret/)
  })
})
