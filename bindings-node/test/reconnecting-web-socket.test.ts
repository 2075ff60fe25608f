/** The drop-in for WebSocket. */

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import {
  ReconnectingWebSocket,
  type ReconnectingWebSocketOptions,
  type SocketCloseEvent,
} from '../host/reconnecting-web-socket.js'
import { dialsIn, QUICK, serve } from './tunnel/support.js'
import { until } from './until.js'

function open(
  t: TestContext,
  url: string,
  options: ReconnectingWebSocketOptions = {},
): { socket: ReconnectingWebSocket; events: string[] } {
  const socket = new ReconnectingWebSocket(url, ['b', 'a'], { ...QUICK, ...options })
  const events: string[] = []
  for (const kind of ['open', 'message', 'close', 'error']) {
    socket.addEventListener(kind, (event) => {
      const { data, code } = event as Event & { data?: unknown; code?: number }
      events.push([kind, data, code].filter((part) => part !== undefined).join(' '))
    })
  }
  t.after(() => socket.tunnel[Symbol.asyncDispose]())
  return { socket, events }
}

test('it opens, talks and closes as a WebSocket does', async (t) => {
  const server = await serve(t, (peer) => peer.on('message', (data) => peer.send(`echo ${data}`)))
  const { socket, events } = open(t, server.url)
  assert.equal(socket.readyState, ReconnectingWebSocket.CONNECTING)
  assert.equal(socket.url, server.url)
  socket.onopen = () => socket.send('hi')
  await until(() => events.includes('message echo hi'), 'the echo')
  assert.equal(socket.readyState, socket.OPEN)
  assert.equal(socket.protocol, 'b')
  socket.close(3001, 'done')
  assert.equal(socket.readyState, socket.CLOSING)
  await until(() => socket.readyState === socket.CLOSED, 'closed')
  assert.deepEqual(events, ['open', 'message echo hi', 'close 3001'])
  assert.equal(await dialsIn(200, server), 0)
  await until(() => server.sockets[0]?.readyState === 3, 'the server sees it, too')
})

test('the application is told of each connection that is lost and made, and loses no message in between', async (t) => {
  const got: string[] = []
  const server = await serve(t, (peer) => peer.on('message', (data) => got.push(String(data))))
  const { socket, events } = open(t, server.url)
  await until(() => socket.tunnel.state === 'up', 'up')
  server.sockets[0]?.terminate()
  await until(() => events.includes('close 1006'), 'the close')
  assert.equal(socket.readyState, socket.CONNECTING)
  socket.send('while away')
  await until(() => got.length === 1, 'the message')
  assert.deepEqual(got, ['while away'])
  assert.deepEqual(events, ['open', 'close 1006', 'open'])
})

test('a move without a break is not to be seen', async (t) => {
  const server = await serve(t, (peer, _request, count) => {
    peer.on('message', (data) => String(data) === 'hi' && peer.send(`${count}: ${data}`))
    if (count === 1) setTimeout(() => peer.send('{"type":"drain"}'), 100)
  })
  const { socket, events } = open(t, server.url)
  await until(() => socket.tunnel.connection?.generation === 2, 'the move')
  socket.send('hi')
  await until(() => events.length === 2, 'the echo')
  assert.deepEqual(events, ['open', 'message 2: hi'])
})

test('bytes come as what `binaryType` says', async (t) => {
  const server = await serve(t, (peer) => peer.on('message', (data) => peer.send(data, { binary: true })))
  const { socket } = open(t, server.url)
  for (const [type, kind] of [
    ['blob', Blob],
    ['arraybuffer', ArrayBuffer],
    ['nodebuffer', Buffer],
  ] as const) {
    socket.binaryType = type
    const got = new Promise<unknown>((resolve) => {
      socket.onmessage = ({ data }) => resolve(data)
    })
    socket.send(new Uint8Array([1, 2, 3]).buffer)
    const data = (await got) as Blob
    assert.ok(data instanceof kind, type)
    const bytes = data instanceof Blob ? await data.arrayBuffer() : data
    assert.deepEqual([...new Uint8Array(bytes)], [1, 2, 3])
  }
  assert.equal(socket.binaryType, 'nodebuffer')
})

test('codes and reasons that a WebSocket may not send are refused as it refuses them', async (t) => {
  const server = await serve(t)
  const { socket } = open(t, server.url)
  for (const code of [1001, 999, 2999, 5000]) {
    assert.throws(
      () => socket.close(code),
      (error) => error instanceof DOMException && error.name === 'InvalidAccessError',
    )
  }
  assert.throws(
    () => socket.close(1000, 'ü'.repeat(62)),
    (error) => error instanceof DOMException && error.name === 'SyntaxError',
  )
  assert.equal(socket.readyState, socket.CONNECTING)
})

test('a fatal code closes it for good, after one close event', async (t) => {
  const server = await serve(t, (peer) => peer.close(4404, 'unknown host'))
  const { socket, events } = open(t, server.url)
  let event: SocketCloseEvent | undefined
  socket.onclose = (close) => {
    event = close
  }
  await until(() => socket.readyState === socket.CLOSED, 'closed')
  assert.deepEqual([event?.code, event?.reason, event?.wasClean], [4404, 'unknown host', true])
  assert.deepEqual(events, ['open', 'close 4404'])
  assert.throws(() => socket.send('x'), /takes no more messages/)
})

test('a dial that fails is an error event, and it tries again', async (t) => {
  const server = await serve(
    t,
    () => {},
    (_request, count) => (count === 1 ? { status: 502 } : undefined),
  )
  const { socket, events } = open(t, server.url)
  await until(() => socket.readyState === socket.OPEN, 'open')
  assert.deepEqual(events, ['error', 'open'])
})

test('a handler can be replaced and taken away', async (t) => {
  const server = await serve(t, (peer) => peer.on('message', (data) => peer.send(String(data))))
  const { socket, events } = open(t, server.url)
  const heard: string[] = []
  socket.onmessage = () => heard.push('first')
  socket.onmessage = ({ data }) => heard.push(`second ${data}`)
  socket.send('a')
  await until(() => heard.length === 1, 'a')
  socket.onmessage = null
  assert.equal(socket.onmessage, null)
  socket.send('b')
  await until(() => events.includes('message b'), 'b')
  assert.deepEqual(heard, ['second a'])
})
