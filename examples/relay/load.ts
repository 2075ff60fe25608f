/**
 * A request load on a fleet of relays, as a balancer would put it there: it asks each relay whether it is
 * ready, sends to those that are, and tries another one only when a connection was refused (nothing had been
 * sent then). Everything else that is not an answer is a lost request.
 *
 *   node --import tsx load.ts --relays http://127.0.0.1:8001,http://127.0.0.1:8002 --hosts 200 --rate 200
 *
 * Prints one JSON line a second and one at the end (on SIGTERM): `{event, sent, answered, lost, …}`.
 */
import { Agent, request } from 'node:http'
import { parseArgs } from 'node:util'
import { report } from './report.ts'

const { values } = parseArgs({
  options: {
    relays: { type: 'string', default: '' },
    hosts: { type: 'string', default: '200' },
    rate: { type: 'string', default: '200' },
    slow: { type: 'string', default: '0.1' },
  },
})
const hosts = Number(values.hosts)
const slowShare = Number(values.slow)
const agent = new Agent({ keepAlive: true, maxSockets: 512 })
const relays = values.relays.split(',').map((url) => ({ url, ready: false }))
const counts = { sent: 0, answered: 0, lost: 0, refused: 0 }
const lossesByCause: Record<string, number> = {}
let slowest = 0
let inFlight = 0
let stopping = false

/** Answers the status, or the error's code. */
function ask(url: string, method: string, body?: string): Promise<{ status?: number; error?: string }> {
  return new Promise((resolve) => {
    const outgoing = request(url, { agent, method, timeout: 20_000 }, (response) => {
      response.on('end', () => resolve({ status: response.statusCode ?? 0 }))
      response.on('error', (error: NodeJS.ErrnoException) => resolve({ error: error.code ?? error.message }))
      response.resume()
    })
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer in 20 s')))
    outgoing.on('error', (error: NodeJS.ErrnoException) => resolve({ error: error.code ?? error.message }))
    outgoing.end(body)
  })
}

/** Health checks, twenty a second, as a quick balancer makes them. */
async function watch(relay: { url: string; ready: boolean }): Promise<void> {
  while (!stopping) {
    relay.ready = (await ask(`${relay.url}/readyz`, 'GET')).status === 200
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** One request to one host, by whichever relay is ready. */
async function one(): Promise<void> {
  const host = `h${Math.floor(Math.random() * hosts)}`
  const slow = Math.random() < slowShare
  const path = `/hosts/${host}/${slow ? 'slow' : 'quick'}`
  const started = performance.now()
  counts.sent += 1
  inFlight += 1
  // While no relay is ready the balancer holds the request, as real ones do, for up to ten seconds.
  for (;;) {
    const ready = relays.filter((relay) => relay.ready)
    const relay = ready[Math.floor(Math.random() * ready.length)]
    if (relay !== undefined) {
      const post = Math.random() < 0.5
      const answer = await ask(`${relay.url}${path}`, post ? 'POST' : 'GET', post ? '{"hello":1}' : undefined)
      if (answer.error === 'ECONNREFUSED') {
        counts.refused += 1
        relay.ready = false
        continue
      }
      if (answer.status === 200) {
        counts.answered += 1
      } else {
        counts.lost += 1
        const cause = String(answer.status ?? answer.error)
        lossesByCause[cause] = (lossesByCause[cause] ?? 0) + 1
      }
      break
    }
    if (performance.now() - started > 10_000) {
      counts.lost += 1
      lossesByCause['no relay was ready'] = (lossesByCause['no relay was ready'] ?? 0) + 1
      break
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  slowest = Math.max(slowest, performance.now() - started)
  inFlight -= 1
}

for (const relay of relays) void watch(relay)
const interval = 1000 / Number(values.rate)
let due = performance.now()
const pump = setInterval(() => {
  for (; due <= performance.now(); due += interval) void one()
}, 5)
const ticker = setInterval(() => report('load', { ...counts, inFlight, lossesByCause }), 1_000)

process.on('SIGINT', () => {}) // a Ctrl-C reaches the whole group: the runner decides when this ends
process.once('SIGTERM', async () => {
  clearInterval(pump)
  while (inFlight > 0) await new Promise((resolve) => setTimeout(resolve, 20))
  stopping = true
  clearInterval(ticker)
  report('load-over', { ...counts, lossesByCause, slowest: Math.round(slowest) })
  agent.destroy()
  setImmediate(() => process.stdout.write('', () => process.exit(0)))
})
report('load-started', {})
