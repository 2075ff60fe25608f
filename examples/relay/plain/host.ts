/**
 * The hosts that people write by hand: reconnect after 1 s, 2 s, 4 s … 30 s, start over when the socket opens.
 * The demo runs it beside `../host.ts`.
 */
import { parseArgs } from 'node:util'
import { WebSocket } from 'ws'
import { answer } from '../answer.ts'
import { report } from '../report.ts'

const { values } = parseArgs({
  options: {
    relays: { type: 'string', default: '' },
    first: { type: 'string', default: '0' },
    count: { type: 'string', default: '1' },
  },
})
const relays = values.relays.split(',')

function keepConnected(host: string, index: number): void {
  let attempt = 0
  let turn = index
  const connect = () => {
    const url = relays[turn % relays.length]?.replace('http', 'ws') ?? ''
    report('dial', { host })
    const socket = new WebSocket(`${url}/tunnel?hostId=${host}&token=secret-of-${host}`)
    socket.on('open', () => {
      attempt = 0
    })
    socket.on('message', async (data) => {
      const message = JSON.parse(String(data))
      if (message.type === 'ping') socket.send(JSON.stringify({ type: 'pong' }))
      if (message.type !== 'http') return
      const { status, body } = await answer(message.path)
      socket.send(JSON.stringify({ type: 'http:response', id: message.id, status, headers: {}, body }))
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      turn += 1
      const delay = Math.min(1_000 * 2 ** attempt, 30_000) * (0.5 + Math.random() / 2)
      attempt += 1
      setTimeout(connect, delay)
    })
  }
  connect()
}

process.on('SIGINT', () => {})
process.on('SIGTERM', () => process.exit(0))
for (let index = Number(values.first); index < Number(values.first) + Number(values.count); index++) {
  keepConnected(`h${index}`, index)
}
