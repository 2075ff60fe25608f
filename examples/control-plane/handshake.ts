/** The control plane's calls to gateways. */

import { createHmac, timingSafeEqual } from 'node:crypto'
import { NotDone } from 'tidegate'
import type { Route } from './route.ts'

/** Shakes hands with gateways. */
export interface Handshakes {
  /** Tells the gateway whom it serves; resolves when it has confirmed that to the control plane. */
  start(route: Route, organization: string, signal: AbortSignal): Promise<void>
  /** Tells the gateway that this lease is not its own any more. */
  stop(route: Route, signal: AbortSignal): Promise<void>
}

/** The token with which a gateway speaks for its organization: of one lease, worthless for the next. */
export class Tokens {
  readonly #secret: string

  constructor(secret: string) {
    this.#secret = secret
  }

  of(gateway: string, epoch: number): string {
    const what = Buffer.from(JSON.stringify({ gateway, epoch })).toString('base64url')
    return `${what}.${this.#sign(what)}`
  }

  /** Which lease the token is of; none when it was not made here. */
  read(token: string): { gateway: string; epoch: number } | undefined {
    const [what = '', signature = ''] = token.split('.')
    const [given, made] = [Buffer.from(signature), Buffer.from(this.#sign(what))]
    if (given.length !== made.length || !timingSafeEqual(given, made)) return undefined
    return JSON.parse(Buffer.from(what, 'base64url').toString())
  }

  #sign(what: string): string {
    return createHmac('sha256', this.#secret).update(what).digest('base64url')
  }
}

/** `POST /collab/start` and `/collab/stop` on the gateway. */
export class HttpHandshakes implements Handshakes {
  readonly #tokens: Tokens
  readonly #key: string

  /** `key`: with which this control plane and its gateways show each other who they are. */
  constructor(tokens: Tokens, key: string) {
    this.#tokens = tokens
    this.#key = key
  }

  async start(route: Route, organization: string, signal: AbortSignal): Promise<void> {
    const { gateway, hostname, epoch } = route
    const token = this.#tokens.of(gateway, epoch)
    const body = { organization_id: organization, gateway_hostname: hostname, epoch, token }
    const response = await this.#post(route, 'start', body, signal).catch((error: Error) => {
      // Nobody listens there: nothing was said to anybody.
      const { code } = (error.cause ?? {}) as { code?: string }
      throw code === 'ECONNREFUSED' ? new NotDone(`${gateway} is not there`, { cause: error }) : error
    })
    await response.body?.cancel()
    if (!response.ok) throw new Error(`the handshake with ${gateway} ended ${response.status}`)
  }

  async stop(route: Route, signal: AbortSignal): Promise<void> {
    const response = await this.#post(route, 'stop', { epoch: route.epoch }, signal)
    await response.body?.cancel()
  }

  async #post({ address }: Route, what: string, body: object, signal: AbortSignal): Promise<Response> {
    return await fetch(`${address}/collab/${what}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${this.#key}` },
      body: JSON.stringify(body),
      signal,
    })
  }
}
