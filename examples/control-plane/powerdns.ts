/**
 * Names in PowerDNS, by its HTTP API (version 4).
 *
 * A change of a name that its zone does not hold answers 204 like any other, so no answer to a change proves anything:
 * ask with {@link PowerDns.has}. Names are written with a dot at their end, or the API refuses them (422).
 */

import { NotDone } from 'tidegate'
import { type Dns, isMeant, markOf, type Route, type Target } from './route.ts'

/** Where a PowerDNS is. */
export interface PowerDnsOptions {
  /** Of its webserver: `http://127.0.0.1:8081`. */
  readonly url: string
  readonly apiKey: string
  /** The zone, such as `example.test`. */
  readonly zone: string
  /** The address of the proxy, to which every name leads. */
  readonly target: string
}

interface RecordSet {
  readonly name: string
  readonly type: string
  readonly records: readonly { readonly content: string }[]
}

/** Seconds: how long resolvers may keep a name that was removed. */
const TTL = 60

/** Names in PowerDNS: an A record, and beside it a TXT record that says for which lease it was made. */
export class PowerDns implements Dns {
  readonly #zone: string
  readonly #headers: Record<string, string>
  readonly #target: string
  #changing: Promise<void> = Promise.resolve()

  constructor({ url, apiKey, zone, target }: PowerDnsOptions) {
    this.#zone = `${url}/api/v1/servers/localhost/zones/${zone}.`
    this.#headers = { 'x-api-key': apiKey, 'content-type': 'application/json' }
    this.#target = target
  }

  async put(route: Route, signal: AbortSignal): Promise<void> {
    const set = (type: string, content: string) => ({
      name: `${route.hostname}.`,
      type,
      ttl: TTL,
      changetype: 'REPLACE',
      records: [{ content, disabled: false }],
    })
    await this.#change([set('A', this.#target), set('TXT', JSON.stringify(markOf(route)))], signal)
  }

  async remove(target: Target, signal: AbortSignal): Promise<void> {
    if (!(await this.has(target, signal))) return
    const set = (type: string) => ({ name: `${target.hostname}.`, type, changetype: 'DELETE' })
    await this.#change([set('A'), set('TXT')], signal)
  }

  async has(target: Target, signal: AbortSignal): Promise<boolean> {
    const name = encodeURIComponent(`${target.hostname}.`)
    const response = await this.#ask(`?rrset_name=${name}&rrset_type=TXT`, { signal })
    const { rrsets } = (await response.json()) as { rrsets: RecordSet[] }
    const marks = rrsets.filter(({ type, name }) => type === 'TXT' && name === `${target.hostname}.`)
    return marks.some(({ records }) => records.some(({ content }) => isMeant(JSON.parse(content), target)))
  }

  /** One after the other: over SQLite, changes beside each other may end 500. */
  async #change(rrsets: object[], signal: AbortSignal): Promise<void> {
    const change = this.#changing.then(async () => {
      const response = await this.#ask('', { method: 'PATCH', body: JSON.stringify({ rrsets }), signal })
      await response.body?.cancel()
    })
    this.#changing = change.catch(() => {})
    await change
  }

  async #ask(query: string, init: RequestInit): Promise<Response> {
    const response = await fetch(`${this.#zone}${query}`, { ...init, headers: this.#headers }).catch(
      (error: Error) => {
        const { code } = (error.cause ?? {}) as { code?: string }
        throw code === 'ECONNREFUSED' ? new NotDone('PowerDNS is not there', { cause: error }) : error
      },
    )
    if (response.ok) return response
    const said = `PowerDNS answered ${response.status}: ${(await response.text()).slice(0, 200)}`
    // A refusal: a bad key (401), no such zone (404), a bad name (422).
    throw response.status < 500 ? new NotDone(said) : new Error(said)
  }
}
