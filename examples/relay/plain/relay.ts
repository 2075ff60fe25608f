/**
 * The relay that people write by hand, with the mistakes that they make: the process exits on a signal, rows
 * of the directory are deleted "fire and forget", nothing tells the hosts. The demo runs it beside `../relay.ts`.
 */
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { parseArgs } from 'node:util'
import { type WebSocket, WebSocketServer } from 'ws'
import { connectDirectory } from '../directory.ts'
import { report } from '../report.ts'

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '8080' },
    machine: { type: 'string', default: 'relay' },
    directory: { type: 'string', default: '' },
  },
})
const address = `http://127.0.0.1:${values.port}`
const owner = { machine: values.machine, incarnation: Date.now() }
const directory = await connectDirectory(values.directory)
const tunnels = new Map<string, WebSocket>()
const pending = new Map<number, ServerResponse>()
let lastId = 0

async function proxy(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, , host = '', ...path] = (incoming.url ?? '').split('/')
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk)
  const body = Buffer.concat(chunks).toString()
  const socket = tunnels.get(host)
  if (socket !== undefined) {
    lastId += 1
    pending.set(lastId, response)
    const { method, headers } = incoming
    socket.send(
      JSON.stringify({ type: 'http', id: lastId, method, path: `/${path.join('/')}`, headers, body }),
    )
    return
  }
  const row = await directory.look(host).catch(() => undefined)
  if (row?.type !== 'owned' || row.address === address || incoming.headers['x-forwarded-by'] !== undefined) {
    response.writeHead(503).end('no tunnel')
    return
  }
  const headers = { 'x-forwarded-by': values.machine }
  const outgoing = request(
    `${row.address}${incoming.url}`,
    { method: incoming.method ?? 'GET', headers },
    (answer) => {
      response.writeHead(answer.statusCode ?? 502)
      answer.pipe(response)
    },
  )
  outgoing.on('error', () => response.writeHead(502).end('the owner is away'))
  outgoing.end(body)
}

const server = createServer((incoming, response) => {
  if (incoming.url?.startsWith('/hosts/')) void proxy(incoming, response)
  else response.writeHead(200).end('ok')
})
const sockets = new WebSocketServer({ server, path: '/tunnel' })
sockets.on('connection', async (socket, incoming) => {
  const host = new URL(incoming.url ?? '/', address).searchParams.get('hostId') ?? ''
  const { epoch } = await directory.look(host)
  const row = await directory.register({ host, owner, address, epoch })
  tunnels.set(host, socket)
  report('admitted', { host, machine: values.machine })
  socket.on('message', (data) => {
    const message = JSON.parse(String(data))
    if (message.type !== 'http:response') return
    pending.get(message.id)?.writeHead(message.status).end(message.body)
    pending.delete(message.id)
  })
  socket.on('close', () => {
    if (tunnels.get(host) === socket) tunnels.delete(host)
    // Fire and forget: when the process exits, nobody waits for it.
    void directory.unregister({ host, owner, epoch: row.epoch }).catch(() => {})
  })
})
server.listen(Number(values.port), '127.0.0.1', () => report('listening', { ...owner }))

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(0))
