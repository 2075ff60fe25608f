/** The two worlds of the example: in this process, or real servers. */

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import {
  EmbeddedLeaseStore,
  FileJournal,
  LeasePool,
  type LeaseStore,
  type LeaseTerms,
  MemoryJournal,
  type SagaJournal,
} from 'tidegate'
import { migrate, PostgresJournal, PostgresLeaseStore } from 'tidegate/postgres'
import { DnsTable, EmbeddedProxy } from './embedded.ts'
import { Nginx } from './nginx.ts'
import { PowerDns } from './powerdns.ts'
import { type Dns, type ReverseProxy, unroute } from './route.ts'

/** Everything around a control plane. */
export interface Surroundings<D extends Dns = Dns, P extends ReverseProxy = ReverseProxy>
  extends AsyncDisposable {
  readonly pool: LeasePool
  readonly journal: SagaJournal
  readonly dns: D
  readonly proxy: P
  /** Where users reach their gateways, by name. */
  readonly door: string
}

/** What every world is made from. */
export interface WorldOptions {
  /** The names of organizations are `org-….` below it. */
  readonly domain: string
  readonly terms?: LeaseTerms
}

/** All in this process; durable when there is a folder. */
export async function embedded(
  options: WorldOptions & { readonly folder?: string; readonly port?: number },
): Promise<Surroundings<DnsTable, EmbeddedProxy>> {
  const { folder } = options
  if (folder !== undefined) await mkdir(folder, { recursive: true })
  const store = await EmbeddedLeaseStore.open(folder === undefined ? {} : { path: join(folder, 'leases') })
  const [dns, proxy] = [new DnsTable(), new EmbeddedProxy()]
  const door = await proxy.listen(options.port)
  const journal = folder === undefined ? new MemoryJournal() : new FileJournal(join(folder, 'sagas'))
  const pool = poolOf(store, dns, proxy, options)
  // Leases outlive this process, names and routes do not.
  for (const { gateway, address, epoch, hostname } of await pool.list()) {
    if (hostname === undefined) continue
    await dns.put({ gateway, address, epoch, hostname })
    await proxy.write({ gateway, address, epoch, hostname })
  }
  await proxy.reload()
  const dispose = async () => {
    await pool.close()
    await store.close()
    await proxy.close()
  }
  return { pool, journal, dns, proxy, door, [Symbol.asyncDispose]: dispose }
}

/** Where the real servers are. */
export interface RealOptions extends WorldOptions {
  readonly postgres: string
  readonly powerdns: { readonly url: string; readonly apiKey: string }
  readonly nginx: { readonly folder: string; readonly port: number }
}

/** PostgreSQL, PowerDNS and nginx. */
export async function real(options: RealOptions): Promise<Surroundings<PowerDns, Nginx>> {
  const clients = new pg.Pool({ connectionString: options.postgres, max: 20 })
  // A server that goes away ends idle clients; whoever uses one is told by its query.
  clients.on('error', () => {})
  await migrate(clients)
  const store = new PostgresLeaseStore(clients)
  const dns = new PowerDns({ ...options.powerdns, zone: options.domain, target: '127.0.0.1' })
  const proxy = new Nginx(options.nginx)
  const pool = poolOf(store, dns, proxy, options)
  const dispose = async () => {
    await pool.close()
    await store.close()
    await clients.end()
  }
  const door = `http://127.0.0.1:${options.nginx.port}`
  return { pool, journal: new PostgresJournal(clients), dns, proxy, door, [Symbol.asyncDispose]: dispose }
}

function poolOf(
  store: LeaseStore,
  dns: Dns,
  proxy: ReverseProxy,
  { domain, terms = {} }: WorldOptions,
): LeasePool {
  return new LeasePool({
    store,
    terms,
    hostname: (organization) => `org-${organization}.${domain}`,
    // Whatever lease of this gateway it was made for: nobody else gets the gateway before every route to it is gone.
    unroute: async ({ gateway, address, hostname }, { signal }) => {
      const target = { gateway, address, hostname }
      await unroute(proxy, target, signal)
      await dns.remove(target, signal)
    },
  })
}
