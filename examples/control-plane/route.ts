/** What leads from an organization's name to its gateway: a name in the DNS and a route in the proxy. */

/** A route to a gateway. */
export interface Route {
  /** `org-….example.test` */
  readonly hostname: string
  readonly gateway: string
  /** `http://127.0.0.1:4001` */
  readonly address: string
  /** Of the lease that it is for. */
  readonly epoch: number
}

/**
 * What is to be removed or looked for: the route of one lease, so that a late undo never takes away what was made for
 * a later one; or, without an epoch, every route to the gateway.
 */
export type Target = Omit<Route, 'epoch'> & { readonly epoch?: number | undefined }

/** Stands beside whatever is made for a route. */
export function markOf({ gateway, epoch }: Route): string {
  return `${gateway}#${epoch}`
}

/** Whether something with this mark is what is meant. */
export function isMeant(mark: string | undefined, { gateway, epoch }: Target): boolean {
  const [, whose, of] = /^(.*)#(\d+)$/.exec(mark ?? '') ?? []
  return whose === gateway && (epoch === undefined || epoch === Number(of))
}

/** Names in the DNS. */
export interface Dns {
  /** Lets the name lead to the proxy. Whatever it said before is replaced. */
  put(route: Route, signal: AbortSignal): Promise<void>
  /** Removes the name, if it leads to this gateway. */
  remove(target: Target, signal: AbortSignal): Promise<void>
  /** Whether the name is there, and leads to this gateway. */
  has(target: Target, signal: AbortSignal): Promise<boolean>
}

/** Routes in a reverse proxy. */
export interface ReverseProxy {
  /** Writes the route's config. It does nothing before a reload. Rejects, without a trace, when the config is bad. */
  write(route: Route, signal: AbortSignal): Promise<void>
  /** Removes it; that does nothing before a reload either. */
  remove(target: Target, signal: AbortSignal): Promise<void>
  /** Whether the config is there. */
  has(target: Target, signal: AbortSignal): Promise<boolean>
  /** Begins to put the configs into effect. */
  reload(signal: AbortSignal): Promise<void>
  /** Asks the proxy itself whether the route is in effect: a reload that succeeded says little. */
  leads(target: Target, signal: AbortSignal): Promise<boolean>
}

/** Resolves when the proxy follows the route, or (`false`) does not any more. Rejects when the signal fires first. */
export async function untilRouted(
  proxy: ReverseProxy,
  target: Target,
  wanted: boolean,
  signal: AbortSignal,
): Promise<void> {
  while ((await proxy.leads(target, signal)) !== wanted) {
    signal.throwIfAborted()
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Removes a route from the proxy, and resolves when nobody gets through it any more. */
export async function unroute(proxy: ReverseProxy, target: Target, signal: AbortSignal): Promise<void> {
  await proxy.remove(target, signal)
  if (!(await proxy.leads(target, signal))) return
  await proxy.reload(signal)
  await untilRouted(proxy, target, false, signal)
}
