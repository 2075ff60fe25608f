/**
 * The same five steps as people write them by hand: what was done is undone in reverse when a step throws. What it
 * does not see: a step that threw after its effect, a reload that has to come after the config was removed, and a
 * gateway that is free while something still leads to it.
 */

import type { Dns, ReverseProxy, Route } from '../route.ts'

/** Gateways, and whose they are. */
export class PlainPool {
  readonly rows: { gateway: string; address: string; organization: string | undefined }[] = []

  async take(organization: string): Promise<{ gateway: string; address: string }> {
    const row = this.rows.find((row) => row.organization === undefined)
    if (row === undefined) throw new Error('no gateway is free')
    row.organization = organization
    return row
  }

  async free(gateway: string): Promise<void> {
    const row = this.rows.find((row) => row.gateway === gateway)
    if (row !== undefined) row.organization = undefined
  }
}

export interface PlainWorld {
  readonly pool: Pick<PlainPool, 'take' | 'free'>
  readonly dns: Dns
  readonly proxy: ReverseProxy
  readonly handshakes: { start(route: Route): Promise<void> }
  readonly domain: string
}

const LIMIT = 5_000

export async function start(
  { pool, dns, proxy, handshakes, domain }: PlainWorld,
  organization: string,
): Promise<{ status: number; details?: string }> {
  const undo: (() => Promise<void>)[] = []
  const signal = AbortSignal.timeout(LIMIT)
  try {
    const { gateway, address } = await pool.take(organization)
    undo.push(() => pool.free(gateway))
    const route = { gateway, address, hostname: `org-${organization}.${domain}`, epoch: 1 }
    await dns.put(route, signal)
    undo.push(() => dns.remove(route, signal))
    await proxy.write(route, signal)
    undo.push(() => proxy.remove(route, signal))
    await proxy.reload(signal)
    undo.push(() => proxy.reload(signal))
    await handshakes.start(route)
    return { status: 200 }
  } catch (error) {
    for (const step of undo.reverse()) await step()
    return { status: 500, details: (error as Error).message }
  }
}
