/**
 * A gateway that keeps its organization and its hostname through a restart.
 *
 *   node --import tsx gateway.ts --id g1 --port 8001 --control-plane http://127.0.0.1:8000
 *
 * It asks the control plane whether it has a lease, serves under it, and gives it back for what it stops for:
 * a marker file or a control call says restart or decommission; a plain signal is `--default-intent`; a SIGKILL says
 * nothing, and the lease expires into the same grace period.
 */
import { createServer } from 'node:http'
import { parseArgs } from 'node:util'
import { type Duration, type Intent, LeaseHolder, Lifecycle } from 'tidegate'
import { report } from '../relay/report.ts'
import { controlPlane } from './granter.ts'
import { answer, bodyOf, tokenOf } from './http.ts'

const { values } = parseArgs({
  options: {
    id: { type: 'string', default: 'g1' },
    port: { type: 'string', default: '8001' },
    'control-plane': { type: 'string', default: 'http://127.0.0.1:8000' },
    marker: { type: 'string' },
    'default-intent': { type: 'string', default: 'idle' },
    term: { type: 'string', default: '60s' },
    'kill-budget': { type: 'string', default: '20s' },
    grace: { type: 'string', default: '10s' },
  },
})
const intents: readonly string[] = ['idle', 'restart', 'decommission'] satisfies Intent[]
const killBudget = values['kill-budget'] as Duration
const intent = values['default-intent'] as Intent

const life = new Lifecycle({
  lameDuck: 0,
  grace: values.grace as Duration,
  killBudget,
  margin: '200ms',
  signals: { SIGTERM: intent, SIGINT: intent },
  // A file by which a deploy script says what the stop is for, whatever a plain signal means.
  ...(values.marker !== undefined && { marker: { path: values.marker, instance: values.id } }),
})
const holder = new LeaseHolder({
  granter: controlPlane(values['control-plane'], `secret-of-${values.id}`),
  gateway: values.id,
  term: values.term as Duration,
  drain: killBudget,
  margin: '200ms',
  askLimit: '1s',
  releaseLimit: '1s',
  retry: { initial: 100, cap: 2_000, floor: 20 },
})
holder.on('idle', () => report('idle', { gateway: values.id }))
holder.on('serve', (lease) => report('serving', { ...lease }))
holder.on('cannotKnow', ({ attempt, error }) => report('cannot-know', { attempt, error: String(error) }))
holder.on('drain', ({ loss, within }) => report('lease-lost', { loss, within }))
holder.on('over', ({ end }) => report('over', { end }))

life.on('markerIgnored', ({ because }) => report('marker-ignored', { because }))

const server = createServer(async (request, response) => {
  if (life.health(request, response)) return
  const { method, url } = request
  if (method === 'GET' && url === '/collab/ping') {
    return answer(response, 200, { gateway_id: values.id, state: holder.state, ...holder.lease })
  }
  if (method === 'POST' && url === '/collab/start') {
    if (tokenOf(request) !== 'control-plane') return answer(response, 401, { error: 'bad token' })
    const { epoch } = await bodyOf(request)
    if (typeof epoch !== 'number') return answer(response, 400, { error: 'epoch is missing' })
    const granted = await holder.granted({ epoch }).catch(() => false)
    return granted ? answer(response, 200, {}) : answer(response, 409, { error: 'no such lease' })
  }
  if (method === 'POST' && url === '/control/stop') {
    const { intent: wanted } = await bodyOf(request)
    if (!intents.includes(String(wanted))) return answer(response, 400, { error: 'what for?' })
    answer(response, 202, {})
    return void life.stop(wanted as Intent)
  }
  // Everything else is the organization's. A caller that says for which epoch it asks is refused for another one.
  const { lease } = holder
  if (lease === undefined) return answer(response, 503, { error: 'not allocated' })
  const epoch = request.headers['x-lease-epoch']
  if (epoch !== undefined && !holder.admits(Number(epoch))) {
    return answer(response, 409, { error: 'stale epoch' })
  }
  answer(response, 200, lease)
})

life.http(server).lease(holder)
const outcome = await life.run(async (signal) => {
  await new Promise<void>((resolve) => server.listen(Number(values.port), '127.0.0.1', resolve))
  report('booted', { gateway: values.id })
  // As long as the control plane is away; and, once it has said that there is no lease, until a handshake comes.
  await holder.boot({ signal })
  await holder.held(signal)
})
const { intent: stoppedFor, source, exitCode } = outcome
report('stopped', { intent: stoppedFor, source, exitCode, lease: holder.explain().because })
