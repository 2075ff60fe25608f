/**
 * The control plane: users ask it for a gateway for their organization; gateways ask it whose they are.
 *
 * | request | by | answers |
 * | --- | --- | --- |
 * | `POST /gateway/start {organization_id}` | a user | 200 `{gateway_hostname}` · 400 no id, or none that is a UUID · 403 not a member · 503 no gateway is free · 500 `{error, details}` |
 * | `POST /gateway/config {gateway_id, incarnation}` | a gateway that boots | 200 its lease and token · 404 it has none · 409 it must not have it back |
 * | `POST /gateway/ready {gateway_id, epoch, incarnation}` | a gateway, in its handshake | 200 · 403 it is another one's |
 * | `POST /gateway/renew {gateway_id, epoch}` | a gateway | 200 · 409 the lease is not its own any more |
 * | `POST /gateway/stop {intent}` | a gateway, with its organization's token | 200 · 409 the token is of an earlier lease |
 * | `GET /pool`, `GET /stuck` | an operator | rows; sagas that need one |
 * | `POST /stuck/retry {key, step}`, `POST /stuck/resolve {key, step}` | an operator | how that ended |
 *
 * What is asked wrongly is a 400 (404 no such path, 405 another method, 413 too long a body). A 5xx means that nobody
 * knows; only the answers above are definite.
 */

import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import {
  type Intent,
  type LeaseAnswer,
  type LeaseQuestion,
  LeaseRefused,
  PoolExhausted,
  type Recovered,
  recover,
  type SagaJournal,
  SagaRolledBack,
  SagaStuck,
  UnknownGateway,
} from 'tidegate'
import { AlreadyAllocated, allocationOf, type Limits, type World } from './allocation.ts'
import type { Tokens } from './handshake.ts'
import type { Route } from './route.ts'

/** What a control plane stands on. */
export interface ControlPlaneOptions extends World {
  readonly journal: SagaJournal
  readonly tokens: Tokens
  /** Who asks, by the `Authorization` header; none for a stranger. */
  readonly user: (authorization: string) => string | undefined
  readonly isMember: (user: string, organization: string) => boolean
  /** With which gateways and operators show who they are: `Authorization: Bearer …`. */
  readonly gatewayKey: string
  readonly operatorKey: string
  /** How long a start may wait for one of the same organization that is under way elsewhere. Default 30 s. */
  readonly patience?: number
  readonly limits?: Limits
  readonly log?: (line: string) => void
}

/** What is answered. */
interface Answer {
  readonly status: number
  readonly body: object
}

type Body = Record<string, unknown>

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const LONGEST_BODY = 100_000
const CALLS: readonly string[] = [
  ...['start', 'stop', 'config', 'ready', 'renew'].map((call) => `POST /gateway/${call}`),
  ...['GET /pool', 'GET /stuck', 'POST /stuck/retry', 'POST /stuck/resolve'],
]

/** Allocates gateways to organizations. */
export class ControlPlane {
  readonly server = createServer((request, response) => void this.#handle(request, response))
  readonly allocation: ReturnType<typeof allocationOf>
  readonly #options: ControlPlaneOptions
  readonly #starting = new Map<string, Promise<Answer>>()

  constructor(options: ControlPlaneOptions) {
    this.#options = options
    this.allocation = allocationOf(options, options.limits)
    const log = options.log ?? (() => {})
    this.allocation.on('undoFailed', ({ key, step, direction, error }) =>
      log(`${key}: ${direction} of ${step} failed: ${error}`),
    )
    this.allocation.on('rolledBack', ({ error }) => log(error.message))
    this.allocation.on('stuck', ({ error }) => {
      const route = error.outputs.gateway as Route | undefined
      // Without a gateway nothing was made for anybody.
      const whose = route === undefined ? '' : ` (of ${route.hostname}, for ${route.gateway})`
      log(`${error.message}${whose}`)
    })
    options.pool.on('routeLeft', ({ gateway, hostname }) =>
      log(`${hostname} still leads to ${gateway}, which is quarantined`),
    )
  }

  /** Continues what an earlier process has left. Starts are served meanwhile. */
  async recover(): Promise<Recovered[]> {
    return await recover([this.allocation], this.#options.journal)
  }

  /** Gives the organization a gateway, or finds the one that it has. */
  async start(organization: string): Promise<Answer> {
    // Those who ask at the same time share one saga.
    const running = this.#starting.get(organization) ?? this.#allocate(organization)
    this.#starting.set(organization, running)
    try {
      return await running
    } finally {
      if (this.#starting.get(organization) === running) this.#starting.delete(organization)
    }
  }

  async #allocate(organization: string): Promise<Answer> {
    const { journal, patience = 30_000 } = this.#options
    const end = performance.now() + patience
    for (;;) {
      try {
        const { gateway } = await this.allocation.run({ organization }, { journal, key: randomUUID() })
        return { status: 200, body: { gateway_hostname: gateway.hostname } }
      } catch (error) {
        const original = error instanceof SagaRolledBack || error instanceof SagaStuck ? error.cause : error
        if (original instanceof AlreadyAllocated && !original.pending) {
          return { status: 200, body: { gateway_hostname: original.hostname } }
        }
        const { cause } = original as Error
        if (cause instanceof PoolExhausted) return { status: 503, body: { error: 'no gateway is free' } }
        const soon = original instanceof AlreadyAllocated || isReleasing(cause)
        if (!soon || performance.now() > end) return failed(original)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
  }

  // --- over HTTP ---

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: Answer
    try {
      answer = await this.#answer(request)
    } catch (error) {
      answer =
        error instanceof UnknownGateway ? { status: 400, body: { error: error.message } } : failed(error)
    }
    response.writeHead(answer.status, { 'content-type': 'application/json' })
    response.end(`${JSON.stringify(answer.body)}\n`)
  }

  async #answer(request: IncomingMessage): Promise<Answer> {
    const { gatewayKey, operatorKey, pool } = this.#options
    const who = request.headers.authorization ?? ''
    const what = `${request.method} ${request.url}`
    const methods = ['GET', 'POST'].filter((method) => CALLS.includes(`${method} ${request.url}`))
    if (methods.length === 0) return { status: 404, body: { error: 'there is nothing here' } }
    if (!CALLS.includes(what)) return { status: 405, body: { error: `${request.url} takes ${methods}` } }
    const text = await textOf(request)
    if (text === undefined) return { status: 413, body: { error: `the body is longer than ${LONGEST_BODY}` } }
    const body = bodyIn(text)
    if (body === undefined) return { status: 400, body: { error: 'the body is no JSON object' } }
    switch (what) {
      case 'POST /gateway/start':
        return await this.#userStarts(who, body)
      case 'POST /gateway/stop':
        return await this.#gatewayStops(who, body)
      case 'POST /gateway/config':
      case 'POST /gateway/ready':
      case 'POST /gateway/renew':
        if (who !== `Bearer ${gatewayKey}`) return { status: 401, body: { error: 'no gateway' } }
        return await this.#gatewayAsks(what, body)
      case 'GET /pool':
      case 'GET /stuck':
      case 'POST /stuck/retry':
      case 'POST /stuck/resolve':
        if (who !== `Bearer ${operatorKey}`) return { status: 401, body: { error: 'no operator' } }
        if (what === 'GET /pool') return { status: 200, body: await pool.list() }
        return await this.#operatorAsks(what, body)
      default:
        throw new Error(`nobody answers ${what}`)
    }
  }

  async #userStarts(authorization: string, { organization_id: organization }: Body): Promise<Answer> {
    if (typeof organization !== 'string' || !UUID.test(organization)) {
      return { status: 400, body: { error: 'organization_id is missing, or no UUID' } }
    }
    const user = this.#options.user(authorization)
    if (user === undefined || !this.#options.isMember(user, organization)) {
      return { status: 403, body: { error: 'not a member of the organization' } }
    }
    return await this.start(organization.toLowerCase())
  }

  async #gatewayAsks(what: string, { gateway_id: gateway, epoch, incarnation }: Body): Promise<Answer> {
    const isNumber = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0
    if (typeof gateway !== 'string') return { status: 400, body: { error: 'gateway_id is missing' } }
    if (what === 'POST /gateway/config' && isNumber(incarnation)) {
      return await this.#ask({ type: 'claim', gateway, incarnation }, 409)
    }
    if (what === 'POST /gateway/ready' && isNumber(epoch) && isNumber(incarnation)) {
      return await this.#ask({ type: 'confirm', gateway, epoch, incarnation }, 403)
    }
    if (what === 'POST /gateway/renew' && isNumber(epoch)) {
      return await this.#ask({ type: 'renew', gateway, epoch }, 409)
    }
    return { status: 400, body: { error: 'epoch or incarnation is missing, or no number' } }
  }

  async #gatewayStops(authorization: string, { intent = 'restart' }: Body): Promise<Answer> {
    const lease = this.#options.tokens.read(authorization.replace(/^Bearer /, ''))
    if (lease === undefined) return { status: 401, body: { error: 'no token of an organization' } }
    if (!INTENTS.includes(intent as Intent))
      return { status: 400, body: { error: 'there is no such intent' } }
    return await this.#ask({ type: 'stop', ...lease, intent: intent as Intent }, 409)
  }

  /** A refusal is an answer as well, with a status of its own; what is thrown is none. */
  async #ask(question: LeaseQuestion, refused: number): Promise<Answer> {
    const answer: LeaseAnswer = await this.#options.pool.ask(question)
    if (answer.type === 'refused') {
      const none = question.type === 'claim' && ['no-lease', 'unconfirmed'].includes(answer.refusal)
      return { status: none ? 404 : refused, body: answer }
    }
    const token = this.#options.tokens.of(question.gateway, answer.epoch)
    return { status: 200, body: { ...answer, token } }
  }

  async #operatorAsks(what: string, { key, step }: Body): Promise<Answer> {
    const { journal } = this.#options
    if (what === 'GET /stuck') return { status: 200, body: await journal.list('stuck') }
    const [name, wish] = [`${key}`.replace(/^allocation\//, ''), `${step}`]
    try {
      if (what === 'POST /stuck/retry') await this.allocation.retry(name, wish, { journal })
      else await this.allocation.resolve(name, wish, { journal })
      return { status: 200, body: { outcome: 'committed' } }
    } catch (error) {
      if (error instanceof SagaRolledBack) return { status: 200, body: { outcome: 'rolled-back' } }
      if (error instanceof SagaStuck) return { status: 200, body: { outcome: 'stuck', leaked: error.leaked } }
      return { status: 400, body: { error: (error as Error).message } }
    }
  }
}

const INTENTS: readonly Intent[] = ['idle', 'handoff', 'restart', 'decommission']

function isReleasing(error: unknown): boolean {
  return error instanceof LeaseRefused && error.code === 'releasing'
}

/** The caller gets the original error; what became of the rollback is for the log. */
function failed(error: unknown): Answer {
  const details = error instanceof Error ? error.message : String(error)
  return { status: 500, body: { error: 'the request failed', details } }
}

/** The whole of a body, also when it is too long: who is answered too early does not hear it. */
async function textOf(request: IncomingMessage): Promise<string | undefined> {
  let text = ''
  let length = 0
  for await (const chunk of request.setEncoding('utf8')) {
    length += chunk.length
    if (length <= LONGEST_BODY) text += chunk
  }
  return length <= LONGEST_BODY ? text : undefined
}

function bodyIn(text: string): Body | undefined {
  if (text === '') return {}
  try {
    const body = JSON.parse(text)
    return typeof body === 'object' && body !== null && !Array.isArray(body) ? body : undefined
  } catch {
    return undefined
  }
}
