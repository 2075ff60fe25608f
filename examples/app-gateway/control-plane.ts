/**
 * A control plane: it allocates gateways of a pool to organizations, and keeps them allocated through restarts.
 *
 *   node --import tsx control-plane.ts --port 8000 --gateways g1=http://127.0.0.1:8001,g2=http://127.0.0.1:8002
 *
 * `POST /gateway/start {organization_id}` is for users; `/gateway/config`, `/ready`, `/renew` and `/stop` are for
 * gateways. Leases are kept in PostgreSQL (`--postgres postgres://…`) or in a file (`--journal FILE`).
 */
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { parseArgs } from 'node:util'
import pg from 'pg'
import {
  type Duration,
  EmbeddedLeaseStore,
  type Intent,
  type LeaseAnswer,
  LeasePool,
  type LeaseQuestion,
  type LeaseStore,
  Lifecycle,
  PoolExhausted,
  UnknownGateway,
} from 'tidegate'
import { migrate, PostgresLeaseStore } from 'tidegate/postgres'
import { report } from '../relay/report.ts'
import { answer, bodyOf, post, tokenOf } from './http.ts'

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '8000' },
    gateways: { type: 'string', default: '' },
    postgres: { type: 'string' },
    journal: { type: 'string' },
    term: { type: 'string', default: '60s' },
    grace: { type: 'string', default: '2m' },
  },
})

const database =
  values.postgres === undefined ? undefined : new pg.Pool({ connectionString: values.postgres })
// A client that sits idle in the pool says by an event that its server has gone.
database?.on('error', () => {})
if (database) await migrate(database)
const store: LeaseStore = database
  ? new PostgresLeaseStore(database)
  : await EmbeddedLeaseStore.open(values.journal === undefined ? {} : { path: values.journal })

const grace = values.grace as Duration
const pool = new LeasePool({
  store,
  // A plain stop (`idle`) keeps the organization for the grace period as well.
  terms: { term: values.term as Duration, grace, idleHold: grace, allocateLimit: '10s' },
  hostname: (organization) => `org-${organization}.gateways.example`,
  unroute: ({ hostname, gateway }) => report('unrouted', { hostname, gateway }),
})
pool.on('entered', (event) => report('entered', event))
pool.on('failure', ({ during, error }) => report('failure', { during, error: String(error) }))

async function start(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { organization_id: organization } = await bodyOf(request)
  if (typeof organization !== 'string' || !/^[\w-]{1,64}$/.test(organization)) {
    return answer(response, 400, { error: 'organization_id is missing or invalid' })
  }
  if (tokenOf(request) !== `member-of-${organization}`) {
    return answer(response, 403, { error: 'not a member of this organization' })
  }
  // One id for this wish: a retry inside the pool finds what was granted already.
  const allocation = await pool.allocate(organization, randomUUID())
  const { gateway, address, hostname, epoch } = allocation
  if (allocation.granted) {
    try {
      const shaken = await post(`${address}/collab/start`, 'control-plane', {
        organization_id: organization,
        gateway_hostname: hostname,
        epoch,
      })
      if (shaken.status !== 200) throw new Error(`the gateway answered ${shaken.status}`)
    } catch (error) {
      // It is quarantined, and never straight back in the pool.
      await pool.handshakeFailed(gateway, epoch)
      throw new Error(`the handshake with ${gateway} failed`, { cause: error })
    }
  }
  answer(response, 200, { gateway_hostname: hostname, gateway_id: gateway })
}

/**
 * What a gateway asks, by path; nothing when that cannot be read. Whatever else goes wrong is an error, and never "no
 * lease".
 */
function question(path: string, body: Record<string, unknown>): LeaseQuestion | undefined {
  const { gateway_id: gateway, epoch, incarnation, intent } = body
  if (typeof gateway !== 'string') return undefined
  if (path === '/gateway/config') {
    return isNumber(incarnation) ? { type: 'claim', gateway, incarnation } : undefined
  }
  if (!isNumber(epoch)) return undefined
  if (path === '/gateway/renew') return { type: 'renew', gateway, epoch }
  if (path === '/gateway/stop') {
    return isIntent(intent) ? { type: 'stop', gateway, epoch, intent } : undefined
  }
  return isNumber(incarnation) ? { type: 'confirm', gateway, epoch, incarnation } : undefined
}

const QUESTIONS: readonly string[] = ['config', 'ready', 'renew', 'stop'].map((call) => `/gateway/${call}`)

function isNumber(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}

function isIntent(value: unknown): value is Intent {
  return ['idle', 'handoff', 'restart', 'decommission'].includes(`${value}`)
}

function statusOf(asked: LeaseQuestion, answered: LeaseAnswer): number {
  if (answered.type !== 'refused') return 200
  if (answered.refusal === 'unconfirmed') return 409
  return asked.type === 'claim' ? 404 : 403
}

const server = createServer(async (request, response) => {
  if (life.health(request, response)) return
  try {
    if (request.method === 'GET' && request.url === '/gateways')
      return answer(response, 200, await pool.list())
    const path = request.url ?? ''
    if (path !== '/gateway/start' && !QUESTIONS.includes(path)) {
      return answer(response, 404, { error: 'no such path' })
    }
    if (request.method !== 'POST') return answer(response, 405, { error: `${path} takes POST` })
    if (path === '/gateway/start') return await start(request, response)
    const asked = question(path, await bodyOf(request))
    if (asked === undefined)
      return answer(response, 400, { error: 'a field is missing, or is not what it should be' })
    if (tokenOf(request) !== `secret-of-${asked.gateway}`)
      return answer(response, 401, { error: 'bad token' })
    const answered = await pool.ask(asked)
    answer(response, statusOf(asked, answered), answered)
  } catch (error) {
    if (error instanceof UnknownGateway) return answer(response, 400, { error: error.message })
    if (error instanceof PoolExhausted) return answer(response, 503, { error: error.message })
    answer(response, 500, { error: (error as Error).message, details: String((error as Error).cause ?? '') })
  }
})

const life = new Lifecycle({ lameDuck: 0, grace: '5s', killBudget: '15s' })
life.http(server)
life.release('leases', async () => {
  await pool.close()
  await store.close()
  await database?.end()
})
await life.run(async () => {
  for (const entry of values.gateways.split(',').filter(Boolean)) {
    const [gateway = '', address = ''] = entry.split('=')
    await pool.enrol(gateway, address)
  }
  pool.start()
  await new Promise<void>((resolve) => server.listen(Number(values.port), '127.0.0.1', resolve))
  report('listening', {})
})
