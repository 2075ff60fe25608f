/**
 * The allocation of a gateway to an organization: five steps, each of which can fail, hang, or do its work without
 * saying so. See docs/guides/allocation.md.
 */

import {
  type Allocation,
  type Duration,
  type LeasePool,
  LeaseRefused,
  NotDone,
  PoolExhausted,
  saga,
} from 'tidegate'
import type { Handshakes } from './handshake.ts'
import { type Dns, type ReverseProxy, type Route, unroute, untilRouted } from './route.ts'

/** What an allocation needs. */
export interface World {
  readonly pool: LeasePool
  readonly dns: Dns
  readonly proxy: ReverseProxy
  readonly handshakes: Handshakes
}

/** What it is asked for. */
export interface Wish {
  readonly organization: string
}

/** The organization has a gateway already, or is about to get one: nothing was done. */
export class AlreadyAllocated extends NotDone {
  readonly hostname: string
  /** Whether its handshake is still under way. */
  readonly pending: boolean

  constructor(organization: string, hostname: string, pending: boolean) {
    super(`${organization} has a gateway`)
    this.hostname = hostname
    this.pending = pending
  }
}

/** How long things may take. */
export interface Limits {
  /** A step, and the undo of one. Default 5 s. */
  readonly limit?: Duration
  /** How long after its limit a step may still have its effect, because a server was slow. Default 2 s. */
  readonly lateness?: Duration
  /** A handshake, which has no undo that waits for it. Default 10 s. */
  readonly handshakeLimit?: Duration
}

/** The saga. One step after the other, as each is of no use before the one above it. */
export function allocationOf(
  { pool, dns, proxy, handshakes }: World,
  { limit = '5s', lateness = '2s', handshakeLimit = '10s' }: Limits = {},
) {
  const limits = {
    timeout: limit,
    undoTimeout: limit,
    verifyTimeout: limit,
    latenessBound: lateness,
  } as const
  return saga<Wish>('allocation', { rollbackDeadline: '2m' })
    .step('gateway', {
      // The saga's id is the request: asked again, the pool gives the same gateway.
      run: async ({ input, id }): Promise<Route> => {
        const { granted, state, ...allocation } = await pool.allocate(input.organization, id).catch(notDone)
        if (!granted)
          throw new AlreadyAllocated(input.organization, allocation.hostname, state === 'allocating')
        return routeOf(allocation)
      },
      undo: async ({ input, id, output, because, signal }) => {
        await giveBack(pool, input, id, because?.step === 'handshake', signal)
        // Only so that it is ready for the next one soon: one that cannot be told learns it at its next renew.
        if (output !== undefined) await handshakes.stop(output, signal).catch(() => {})
      },
      // Nobody may get a gateway to which another organization's name may still lead.
      undoRequires: ['dns', 'config', 'reload'],
      fallback: ({ input, id, signal }) => giveBack(pool, input, id, true, signal),
      timeout: limit,
      retries: 2,
      idempotent: true,
      // An allocation that nobody confirms ends by itself, so one that comes late is nobody's.
      fenced: true,
    })
    .step('dns', {
      run: async ({ outputs, signal }) => {
        await whileLeased(pool, outputs.gateway)
        await dns.put(outputs.gateway, signal)
      },
      undo: ({ outputs, signal }) => dns.remove(outputs.gateway, signal),
      // A server that says "removed" may mean a name that it does not even serve.
      verify: ({ outputs, signal }) => dns.has(outputs.gateway, signal),
      ...limits,
      retries: 2,
      idempotent: true,
    })
    .step('config', {
      run: async ({ outputs, signal }) => {
        await whileLeased(pool, outputs.gateway)
        await proxy.write(outputs.gateway, signal)
      },
      // Another allocation's reload may have put it into effect meanwhile, so removing the file is not enough.
      undo: ({ outputs, signal }) => unroute(proxy, outputs.gateway, signal),
      verify: async ({ outputs, signal }) =>
        (await proxy.has(outputs.gateway, signal)) || (await proxy.leads(outputs.gateway, signal)),
      ...limits,
    })
    .step('reload', {
      run: async ({ outputs, signal }) => {
        await whileLeased(pool, outputs.gateway)
        await proxy.reload(signal)
        await untilRouted(proxy, outputs.gateway, true, signal)
      },
      // What is loaded goes by removing its config and loading again.
      undo: ({ outputs, signal }) => unroute(proxy, outputs.gateway, signal),
      verify: ({ outputs, signal }) => proxy.leads(outputs.gateway, signal),
      ...limits,
    })
    .step('handshake', {
      // Nothing to undo: a handshake is worth as much as its lease.
      run: ({ input, outputs, signal }) => handshakes.start(outputs.gateway, input.organization, signal),
      timeout: handshakeLimit,
      retries: 1,
      // The gateway confirms the same lease as often as it is asked to.
      idempotent: true,
    })
}

/**
 * Nothing is published for a lease that is over: a control plane that goes on with what another one left may come late,
 * when the gateway is free or somebody else's. What ends between this and what is published is found by the handshake.
 */
async function whileLeased(pool: LeasePool, { gateway, epoch }: Route): Promise<void> {
  await pool.verify(gateway, epoch).catch((error: unknown) => {
    throw new NotDone(error instanceof Error ? error.message : String(error), { cause: error })
  })
}

/** What certainly had no effect: the pool said no. */
function notDone(error: unknown): never {
  if (error instanceof PoolExhausted || error instanceof LeaseRefused) {
    throw new NotDone(error.message, { cause: error })
  }
  throw error
}

/**
 * Ends the lease that was granted for a request. The pool itself makes sure that no route is left before anybody else
 * gets the gateway.
 */
async function giveBack(
  pool: LeasePool,
  wish: Wish,
  request: string,
  suspect: boolean,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    signal.throwIfAborted()
    const lease = await leaseOf(pool, wish, request)
    if (lease === undefined) return
    try {
      // A gateway that failed its handshake is quarantined, and does not go straight back into the pool.
      if (suspect && lease.state === 'allocating') await pool.handshakeFailed(lease.gateway, lease.epoch)
      else await pool.stop(lease.gateway, lease.epoch, 'decommission')
      return
    } catch (error) {
      // It shook hands just now, or was restarted and took its lease back, with a later epoch: look again.
      if (!(error instanceof LeaseRefused) || !['in-use', 'stale-epoch'].includes(error.code)) throw error
    }
  }
}

/**
 * The lease that was granted for a request: asked again, the pool answers it again. (If nothing was granted, something
 * is now; and a late grant is refused once that was given back.) None when that lease is over: what the organization
 * has by now was granted for another request, and is not to be touched.
 */
async function leaseOf(
  pool: LeasePool,
  { organization }: Wish,
  request: string,
): Promise<Allocation | undefined> {
  try {
    const lease = await pool.allocate(organization, request)
    return lease.request === request ? lease : undefined
  } catch (error) {
    if (error instanceof PoolExhausted || error instanceof LeaseRefused) return undefined
    throw error
  }
}

function routeOf({ gateway, address, hostname, epoch }: Omit<Allocation, 'granted' | 'state'>): Route {
  return { gateway, address, hostname, epoch }
}
