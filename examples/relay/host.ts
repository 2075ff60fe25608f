/**
 * Hosts: each keeps one tunnel to a relay and answers the requests that come through it. Many live in one
 * process here; in the world each is a machine of its own.
 *
 *   node --import tsx host.ts --relays http://127.0.0.1:8001,http://127.0.0.1:8002 --first 0 --count 100
 */
import { parseArgs } from 'node:util'
import { TunnelClient } from 'tidegate'
import { answer } from './answer.ts'
import { report } from './report.ts'

const { values } = parseArgs({
  options: {
    relays: { type: 'string', default: '' },
    first: { type: 'string', default: '0' },
    count: { type: 'string', default: '1' },
  },
})
const relays = values.relays.split(',').map((url) => url.replace('http', 'ws'))

async function keepConnected(host: string, index: number): Promise<void> {
  // Spread the hosts over the relays: each begins with another one.
  const endpoints = relays.map(
    (_, offset) => `${relays[(index + offset) % relays.length]}/tunnel?hostId=${host}`,
  )
  const tunnel = new TunnelClient({
    endpoints,
    token: () => `secret-of-${host}`,
    profile: 'relay',
    rotateAfter: 1, // any relay will do: when one cannot be reached, the next attempt goes to another
  })
  tunnel.on('dial', () => report('dial', { host }))
  for await (const { data, connection } of tunnel) {
    const message = JSON.parse(String(data))
    if (message.type === 'ping') connection.send(JSON.stringify({ type: 'pong' }))
    if (message.type !== 'http') continue
    // The connection that a request came in on stays until the request is answered on it.
    void connection.track(
      answer(message.path).then(({ status, body }) => {
        connection.send(JSON.stringify({ type: 'http:response', id: message.id, status, headers: {}, body }))
      }),
    )
  }
}

process.on('SIGINT', () => {}) // a Ctrl-C reaches the whole group: the runner decides when this ends
process.on('SIGTERM', () => process.exit(0))
for (let index = Number(values.first); index < Number(values.first) + Number(values.count); index++) {
  void keepConnected(`h${index}`, index)
}
