/** The ports of the real servers of these tests: one that is killed has to get its port again. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { test } from 'node:test'
import { freePort } from './support/ports.js'

async function listening(port: number) {
  const server = createServer().listen(port, '127.0.0.1')
  await once(server, 'listening')
  return server
}

test('who connects to somewhere may take a port that the system gave out, and nobody can listen there then', async () => {
  const server = await listening(0)
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'connect')
  await assert.rejects(listening(socket.localPort ?? 0), { code: 'EADDRINUSE' })
  socket.destroy()
  server.close()
})

test('the ports of servers are all different, and none that the system gives to who connects', async () => {
  const range = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').catch(() => '32768 60999')
  const [low = 0, high = 0] = range.trim().split(/\s+/).map(Number)
  const ports: number[] = []
  for (let n = 0; n < 100; n += 1) ports.push(await freePort())
  assert.equal(new Set(ports).size, ports.length)
  const given = ports.filter((port) => port >= low && port <= high)
  assert.deepEqual(given, [], `within ${low} to ${high}`)
})
