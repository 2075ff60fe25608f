/**
 * A gateway: serves one organization, for as long as it holds the lease.
 *
 * `node --import tsx gateway.ts --control http://127.0.0.1:8080 --id gateway-1 --port 4001`
 */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type LeaseAnswer, type LeaseGranter, LeaseHolder, type LeaseQuestion, Lifecycle } from 'tidegate'

/** How a gateway is run. */
export interface GatewayOptions {
  /** `http://127.0.0.1:8080` */
  readonly control: string
  readonly id: string
  readonly key: string
  readonly port?: number
}

const PATHS = {
  claim: '/gateway/config',
  confirm: '/gateway/ready',
  renew: '/gateway/renew',
  stop: '/gateway/stop',
} as const satisfies Record<LeaseQuestion['type'], string>

/** The control plane, as a gateway asks it. Only these statuses are answers: with any other, nobody knows. */
const DEFINITE = [200, 403, 404, 409]

class ControlPlaneGranter implements LeaseGranter {
  readonly #options: GatewayOptions
  /** Speaks for the organization. */
  token = ''

  constructor(options: GatewayOptions) {
    this.#options = options
  }

  async ask(
    { type, gateway, ...rest }: LeaseQuestion,
    { signal }: { signal: AbortSignal },
  ): Promise<LeaseAnswer> {
    const { control, key } = this.#options
    const response = await fetch(`${control}${PATHS[type]}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${type === 'stop' ? this.token : key}` },
      body: JSON.stringify({ gateway_id: gateway, ...rest }),
      signal,
    })
    const text = await response.text()
    // A 404 of a proxy in between is no answer: the body has to say so, too.
    if (!DEFINITE.includes(response.status) || !text.startsWith('{"type":')) {
      throw new Error(`the control plane answered ${response.status}: ${text.slice(0, 100)}`)
    }
    const { token = this.token, ...said } = JSON.parse(text) as LeaseAnswer & { token?: string }
    this.token = token
    return said
  }
}

/** A gateway in this process. */
export class Gateway {
  holder: LeaseHolder
  readonly server = createServer((request, response) => {
    this.#handle(request, response).catch((error: Error) => {
      // It read no body, or gave no answer: that is nobody else's trouble.
      if (!response.headersSent) answer(response, 500, { error: error.message })
    })
  })
  readonly #options: GatewayOptions

  constructor(options: GatewayOptions) {
    this.#options = options
    this.holder = this.#newHolder()
  }

  #newHolder(): LeaseHolder {
    return new LeaseHolder({ granter: new ControlPlaneGranter(this.#options), gateway: this.#options.id })
  }

  /** Begins another life whenever its lease is over, as a process does that is started again. */
  revive(): this {
    const { holder } = this
    holder.on('drain', () => void holder.stop('restart'))
    holder.on('over', () => {
      if (!this.server.listening) return
      this.holder = this.#newHolder()
      void this.revive().holder.boot()
    })
    return this
  }

  /** Opens the door, for the handshake too, and asks whose it is. */
  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(this.#options.port ?? 0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  /** Ends at once, as a crash would. */
  async close(): Promise<void> {
    this.holder.close()
    this.server.closeAllConnections()
    await new Promise((resolve) => this.server.close(resolve))
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { lease } = this.holder
    const { id, key } = this.#options
    switch (`${request.method} ${request.url}`) {
      case 'GET /collab/ping':
        return answer(response, 200, { gateway: id, organization: lease?.organization, epoch: lease?.epoch })
      case 'POST /collab/stop':
      case 'POST /collab/start': {
        // These come through the proxy as well, from anybody.
        if (request.headers.authorization !== `Bearer ${key}`) {
          return answer(response, 401, { error: 'not the control plane' })
        }
        const epoch = await epochIn(request)
        if (epoch === undefined) return answer(response, 400, { error: 'epoch is missing, or no number' })
        if (request.url === '/collab/stop') {
          this.holder.fenced(epoch)
          return answer(response, 200, { gateway: id })
        }
        // It serves once the control plane has confirmed that it is to.
        const granted = await this.holder.granted({ epoch })
        return answer(response, granted ? 200 : 409, { gateway: id, epoch })
      }
      default:
        if (lease === undefined) return answer(response, 503, { error: 'this gateway serves nobody' })
        return answer(response, 200, { gateway: id, organization: lease.organization, path: request.url })
    }
  }
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`)
}

/** More than a call of the control plane ever is. */
const LONGEST_BODY = 10_000

async function epochIn(request: IncomingMessage): Promise<number | undefined> {
  let text = ''
  for await (const chunk of request) {
    if (text.length < LONGEST_BODY) text += chunk
  }
  try {
    const { epoch } = JSON.parse(text)
    return Number.isSafeInteger(epoch) && epoch >= 0 ? epoch : undefined
  } catch {
    return undefined
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      control: { type: 'string', default: 'http://127.0.0.1:8080' },
      id: { type: 'string', default: 'gateway-1' },
      key: { type: 'string', default: 'gateway' },
      port: { type: 'string', default: '4001' },
    },
  })
  const gateway = new Gateway({ ...values, port: Number(values.port) })
  const life = new Lifecycle({ lameDuck: 0, grace: '10s', killBudget: '25s' })
  life.http(gateway.server).lease(gateway.holder)
  await life.run(async (signal) => {
    await gateway.listen()
    await gateway.holder.boot({ signal })
  })
}
