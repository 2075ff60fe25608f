import assert from 'node:assert/strict'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { bequest, type PassedSocket, takeInheritance } from '../host/handoff/inheritance.js'
import {
  type FromOld,
  type FromSuccessor,
  fromOld,
  fromSuccessor,
  MOST_LINE,
  oldInbox,
  successorInbox,
} from '../host/handoff/wire.js'
import { ConfigError, Lifecycle, type LifecycleOptions, UpgradeError } from '../host/index.js'
import { until } from './until.js'

/** What an inbox makes of bytes that come in pieces of this size. */
function read(text: string | Buffer, piece = 1_000, most = 100) {
  const heard: (FromSuccessor | FromOld)[] = []
  const garbage: string[] = []
  const receiver = {
    message: (message: FromSuccessor | FromOld) => void heard.push(message),
    garbage: (why: string) => void garbage.push(why),
  }
  const inboxes = [successorInbox(receiver), oldInbox(receiver, most)]
  const bytes = Buffer.from(text)
  return {
    heard,
    garbage,
    as(side: 'successor' | 'old') {
      const inbox = inboxes[side === 'successor' ? 0 : 1]
      for (let at = 0; at < bytes.length; at += piece) inbox?.push(bytes.subarray(at, at + piece))
      return { heard, garbage: garbage.length }
    },
  }
}

describe('the words of a handoff', () => {
  it('arrive as they were sent, in pieces of any size', () => {
    const said: FromSuccessor[] = [
      { type: 'ready', version: 1 },
      { type: 'accepting' },
      { type: 'refused', reason: 'the state is “older”' },
    ]
    for (const piece of [1, 7, 1_000]) {
      const text = said.map(fromSuccessor).join('')
      assert.deepEqual(read(text, piece).as('successor'), { heard: said, garbage: 0 })
    }
  })

  it('carry a state of any bytes, and none', () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from('{"type":"ready"}\n\n'), Buffer.alloc(100, 10)]) {
      for (const piece of [1, 64, 1_000]) {
        const sent = Buffer.concat([Buffer.from(fromOld(1, { version: 9, bytes })), bytes])
        const [message] = read(sent, piece).as('old').heard as FromOld[]
        assert.deepEqual(message, { type: 'acknowledged', version: 1, state: { version: 9, bytes } })
      }
    }
    assert.deepEqual(read(fromOld(2, undefined)).as('old').heard, [
      { type: 'acknowledged', version: 2, state: undefined },
    ])
  })

  it('are garbage when they are anything else, once, and nothing is read after it', () => {
    const after = fromSuccessor({ type: 'accepting' })
    for (const line of [
      'GET / HTTP/1.1',
      '[]',
      '"ready"',
      '{"type":"hello"}',
      '{"type":"ready"}',
      '{"type":"ready","version":-1}',
      '',
      'x'.repeat(MOST_LINE),
    ]) {
      assert.deepEqual(
        read(`${line}\n${after}`).as('successor'),
        { heard: [], garbage: 1 },
        line.slice(0, 40),
      )
    }
    assert.deepEqual(read('x'.repeat(MOST_LINE), 100).as('successor'), { heard: [], garbage: 1 })
    assert.deepEqual(read(fromOld(1, { version: 1, bytes: Buffer.alloc(101) })).as('old'), {
      heard: [],
      garbage: 1,
    })
    assert.deepEqual(read(fromSuccessor({ type: 'accepting' })).as('old'), { heard: [], garbage: 1 })
  })

  it('may say more than is known, in a later version', () => {
    const text = '{"type":"ready","version":7,"mood":"good"}\n'
    assert.deepEqual(read(text).as('successor').heard, [{ type: 'ready', version: 7 }])
  })

  it('cut a reason that would not fit into a line', () => {
    const text = fromSuccessor({ type: 'refused', reason: '…'.repeat(MOST_LINE) })
    assert.ok(Buffer.byteLength(text) < MOST_LINE)
    assert.equal(read(text).as('successor').garbage, 0)
  })
})

describe('what a process is passed', () => {
  const web: PassedSocket = { name: 'web', fd: 17, port: 8_080, foreign: false }
  const admin: PassedSocket = { name: 'admin', fd: 23, port: 0, foreign: true }

  it('is what the old process has left to it', () => {
    const { environment, channel } = bequest([web, admin], 42, 2)
    assert.equal(channel, 5)
    assert.deepEqual(takeInheritance(environment, 1), {
      sockets: [
        { name: 'web', fd: 3, port: 8_080, foreign: false },
        { name: 'admin', fd: 4, port: 0, foreign: true },
      ],
      from: { channel: 5, parent: 42, older: [6, 7] },
    })
    assert.deepEqual(environment, {}, 'whoever is started from here finds nothing')
  })

  it('is nothing when it was meant for another process', () => {
    const nothing = { sockets: [], from: undefined }
    assert.deepEqual(takeInheritance({}, 1), nothing)
    assert.deepEqual(takeInheritance({ LISTEN_FDS: '1' }, 1), nothing)
    assert.deepEqual(takeInheritance({ LISTEN_FDS: '1', LISTEN_PID: '2' }, 1), nothing)
  })

  it('is refused when it makes no sense', () => {
    const { environment } = bequest([web], 42, 0)
    for (const wrong of [
      { LISTEN_FDS: 'many', LISTEN_PID: '1' },
      { LISTEN_FDS: '-1', LISTEN_PID: '1' },
      { LISTEN_FDS: '2', LISTEN_PID: '1', LISTEN_FDNAMES: 'web' },
      { ...environment, TIDEGATE_HANDOFF: '{' },
      { ...environment, TIDEGATE_HANDOFF: '{"channel":"4","parent":1}' },
      { ...environment, TIDEGATE_HANDOFF: '{"channel":4,"parent":1,"older":["x"]}' },
    ]) {
      assert.throws(() => takeInheritance(wrong, 1), { code: 'bad-inheritance' }, JSON.stringify(wrong))
    }
  })
})

describe('a lifecycle with listeners', () => {
  const lifecycle = (options: LifecycleOptions = {}) =>
    new Lifecycle({ signals: false, lameDuck: 0, exit: false, ...options })
  const hanging = { signals: false as const, command: 'sleep', args: ['60'] }

  async function listening(options: LifecycleOptions = {}) {
    const life = lifecycle(options)
    const server = createServer((socket) => void socket.on('error', () => {}).resume())
    life.listen('line', server, { host: '127.0.0.1' })
    const running = life.run()
    await until(() => life.phase === 'serving', 'it to serve')
    return { life, running, server, port: (server.address() as AddressInfo).port }
  }

  it('H1: takes an upgrade back when its signal fires, and serves on', async () => {
    const undone: string[] = []
    const life = lifecycle({ handoff: hanging })
    life.listen('web', createHttpServer(), { host: '127.0.0.1' })
    life.undo('hangs', () => new Promise(() => {}), { timeout: 50 })
    life.undo('fails', () => Promise.reject(new Error('no')))
    life.undo('works', () => void undone.push('works'))
    const hooks: string[] = []
    life.on('hookFailed', ({ hook }) => hooks.push(hook))
    const running = life.run()
    await until(() => life.phase === 'serving', 'it to serve')
    const cancel = new AbortController()
    const upgrading = life.upgrade({ signal: cancel.signal })
    await until(() => life.explain().handoff?.state === 'waiting-ready', 'the successor to run')
    cancel.abort()
    await assert.rejects(
      upgrading,
      (error) => error instanceof UpgradeError && error.code === 'cancelled' && error.pid !== undefined,
    )
    assert.deepEqual(undone, ['works'])
    assert.deepEqual(hooks, ['undo "hangs"', 'undo "fails"'])
    assert.equal(life.explain().handoff?.state, 'running')
    assert.equal(life.phase, 'serving')
    await life.stop()
    await assert.rejects(life.upgrade(), { code: 'stopping', refused: true })
    await running
  })

  it('waits for the connections of a server that speaks no HTTP, and cuts them at the deadline', async () => {
    const { life, running, server, port } = await listening({ grace: 300 })
    const open = () =>
      new Promise<Socket>((resolve) => {
        const socket = connect(port, '127.0.0.1', () => resolve(socket))
        socket.on('error', () => {})
      })
    const [first, second] = [await open(), await open()]
    await until(() => life.counters().requests === 2, 'both to be counted')
    const stopping = life.stop()
    // In this turn, the drain has counted both.
    await until(() => !server.listening, 'the door to close')
    await new Promise((resolve) => setImmediate(resolve))
    first.end()
    const { drained, forced } = await stopping
    assert.deepEqual([drained, forced], [1, 1])
    second.destroy()
    await running
  })

  it('fails to start when one of them cannot be opened, and opens none then', async () => {
    const { life: other, running: otherRunning, port } = await listening()
    const life = lifecycle()
    const server = createHttpServer()
    life
      .listen('first', server, { host: '127.0.0.1' })
      .listen('taken', createHttpServer(), { host: '127.0.0.1', port })
    await assert.rejects(life.run(), { code: 'EADDRINUSE' })
    assert.equal(server.listening, false)
    await other.stop()
    await otherRunning
  })

  it('opens them in run() only', () => {
    const life = lifecycle().listen('web', createHttpServer())
    assert.throws(() => life.start(), /run\(\)/)
    assert.throws(() => life.listen('web', createHttpServer()), /already/)
    assert.throws(() => life.listen('a:b', createHttpServer()), RangeError)
    assert.throws(() => life.listen('', createHttpServer()), RangeError)
  })

  it('has nothing to hand over without them, or when that is switched off', async () => {
    await assert.rejects(lifecycle().upgrade(), { code: 'nothing-to-hand-over', refused: true })
    const off = lifecycle({ handoff: false }).listen('web', createHttpServer())
    await assert.rejects(off.upgrade(), { code: 'nothing-to-hand-over' })
  })

  it('refuses a signal with two meanings, and limits that cannot be read', async () => {
    assert.throws(
      () => new Lifecycle({ signals: { SIGHUP: 'restart' }, handoff: { signals: ['SIGHUP'] } }),
      ConfigError,
    )
    const life = lifecycle({ handoff: { readyLimit: 'soon' as never } }).listen('web', createHttpServer())
    await assert.rejects(
      life.run(),
      (error) => error instanceof ConfigError && /readyLimit.*"soon"/.test(error.message),
    )
  })
})
