/** The options of a tunnel, and what they are to the core. */

import type { ClientOptions } from 'ws'
import { type Duration, milliseconds } from '../duration.js'
import { ConfigError, type Fault } from '../errors.js'
import type { BackoffPolicy, CloseProfile, TunnelConfig } from '../generated.js'
import type { TunnelConnection } from './connection.js'
import type { NoticeReader } from './notice.js'
import type { WebSocketConstructor } from './socket.js'

/** What a provider of URLs or credentials is told. */
export interface ProviderContext {
  /** Which endpoint, by its place in the list. */
  readonly endpoint: number
  /** Whether the last credentials were refused: whatever is cached must be fetched anew. */
  readonly refresh: boolean
  /** Aborted when the time of the provider is over (`prepareLimit`), and when the tunnel stops. */
  readonly signal: AbortSignal
}

/** Something, or what provides it for each attempt. */
export type Provided<T> = T | ((context: ProviderContext) => T | PromiseLike<T>)

/** What is dialed; to be changed by `tokenIn`. */
export interface DialRequest {
  readonly url: URL
  readonly headers: Record<string, string>
}

type DurationFields =
  | 'slowDelay'
  | 'quietTime'
  | 'prepareLimit'
  | 'dialLimit'
  | 'acceptLimit'
  | 'pingAfter'
  | 'deadAfter'
  | 'stallTolerance'
  | 'stableAfter'
  | 'immediateWindow'
  | 'finishLimit'
  | 'noticeMax'

type BackoffDurations = 'initial' | 'cap' | 'floor' | 'hintMax'

/** A backoff policy, its durations as people write them. */
export type BackoffOptions = Omit<BackoffPolicy, BackoffDurations> & {
  readonly [Field in BackoffDurations]?: Duration | undefined
}

/** How a tunnel behaves: the fields of {@link TunnelConfig}, their durations as people write them. */
export type TunnelBehaviour = Omit<TunnelConfig, DurationFields | 'backoff' | 'profile' | 'endpoints'> & {
  readonly [Field in DurationFields]?: Duration | undefined
} & {
  /** The delays between attempts. */
  readonly backoff?: BackoffOptions | undefined
  /** What close codes mean: a built-in profile by name, or one of your own. Default `rfc6455`. */
  readonly profile?: string | CloseProfile | undefined
}

/** How a tunnel is made. Everything but the address has a default. */
export interface TunnelClientOptions extends TunnelBehaviour {
  /** Where to connect to: `ws:`, `wss:` (or `http:`, `https:`). Either this or `endpoints`. */
  readonly url?: Provided<string | URL> | undefined
  /** Several places to connect to; the next one is tried when one fails again and again, drains, or says so. */
  readonly endpoints?: readonly Provided<string | URL>[] | undefined
  /** The credentials. */
  readonly token?: Provided<string | undefined> | undefined
  /**
   * Where the token goes: `header` (`Authorization: Bearer …`), `query` (`?token=…`), or a function that puts it
   * where it belongs. Default: `query` with the profile `relay`, else `header`.
   */
  readonly tokenIn?: 'header' | 'query' | ((request: DialRequest, token: string) => void) | undefined
  /** Subprotocols to offer. */
  readonly protocols?: string | readonly string[] | undefined
  /** Headers of the upgrade request. */
  readonly headers?: Record<string, string> | undefined
  /** Options of the `ws` package: TLS, proxies' agents, `maxPayload`, compression. */
  readonly socket?: ClientOptions | undefined
  /** Another class of sockets than that of `ws`. It sends no headers, and pings only with `ping`. */
  readonly WebSocket?: WebSocketConstructor | undefined
  /**
   * Recognises the server's notices in band. They are not delivered as messages. Default: text messages
   * `{"type":"drain","reason":…,"within":…}` of at most 4,096 characters. `false`: there are none.
   */
  readonly drainNotice?: NoticeReader | false | undefined
  /** Pings. Default: a ping frame where sockets have those; without that and without this, silence is not watched. */
  readonly ping?: ((connection: TunnelConnection) => void) | undefined
  /** Called for every connection as soon as it is open, before it is accepted: say hello, log in, resume. */
  readonly greet?: ((connection: TunnelConnection) => void) | undefined
  /**
   * Called when the tunnel has moved from a connection that still lives: hand over what belongs to it. The old
   * connection stays at least until what this answers is settled.
   */
  readonly handOver?: ((old: TunnelConnection, next: TunnelConnection) => unknown) | undefined
  /**
   * Tells the peer, on a connection that the tunnel has moved from, to send nothing new on it. Default: with the
   * profile `relay` the message `{"type":"drain"}`, else nothing.
   */
  readonly leave?: ((connection: TunnelConnection) => void) | undefined
  /** How long an old connection must have been without work and messages before it is closed. Default 500 ms. */
  readonly linger?: Duration | undefined
  /** Whether messages go out on a connection before it is accepted. What was not accepted is sent again on the next. Default: false. */
  readonly eager?: boolean | undefined
  /** How many messages an iterator may lag behind before reading stops. Default 1,000. */
  readonly lag?: number | undefined
  /** Whether there are live subscriptions, for profiles that tell closes apart by it. */
  readonly subscribed?: (() => boolean) | undefined
  /** A server's hint in a close when to come back. */
  readonly closeHint?: ((code: number, reason: string) => Duration | undefined) | undefined
  /** Stops the tunnel when it is aborted. */
  readonly signal?: AbortSignal | undefined
  /** Whether it starts by itself, in the next turn of the event loop. Default: true. */
  readonly autoStart?: boolean | undefined
  /** Whether its timers let the process end. Default: false. */
  readonly unref?: boolean | undefined
  /** The seed of its jitter. Default: a random one. */
  readonly seed?: number | undefined
  /** The time in milliseconds. For tests. */
  readonly clock?: (() => number) | undefined
}

const DURATIONS: readonly DurationFields[] = [
  'slowDelay',
  'quietTime',
  'prepareLimit',
  'dialLimit',
  'acceptLimit',
  'pingAfter',
  'deadAfter',
  'stallTolerance',
  'stableAfter',
  'immediateWindow',
  'finishLimit',
  'noticeMax',
]
const BACKOFF_DURATIONS: readonly BackoffDurations[] = ['initial', 'cap', 'floor', 'hintMax']
const PLAIN = [
  'acceptance',
  'immediateBudget',
  'rotateAfter',
  'bufferLimit',
  'overflow',
] as const satisfies readonly (keyof TunnelConfig)[]

/** What the core is told, and the few durations that stay here. */
export interface ReadOptions {
  readonly config: TunnelConfig
  readonly linger: number
}

/**
 * Reads options.
 *
 * @throws {@link ConfigError} with everything that is no duration.
 */
export function readOptions(options: TunnelClientOptions): ReadOptions {
  const faults: Fault[] = []
  const read = (field: string, duration: Duration): number => {
    try {
      return milliseconds(duration)
    } catch (error) {
      faults.push({ code: 'out-of-range', field, message: (error as Error).message })
      return 0
    }
  }
  const config: Record<string, unknown> = {}
  for (const field of PLAIN) if (options[field] !== undefined) config[field] = options[field]
  for (const field of DURATIONS) {
    const duration = options[field]
    if (duration !== undefined) config[field] = read(field, duration)
  }
  if (options.backoff !== undefined) {
    const backoff: Record<string, unknown> = { ...options.backoff }
    for (const field of BACKOFF_DURATIONS) {
      const duration = options.backoff[field]
      if (duration !== undefined) backoff[field] = read(`backoff.${field}`, duration)
    }
    config.backoff = backoff
  }
  const { profile } = options
  if (profile !== undefined) config.profile = typeof profile === 'string' ? { base: profile } : profile
  config.endpoints = endpointsOf(options).length
  // Not every server speaks first; one that takes a socket and refuses the login closes it soon.
  config.acceptance ??= 'quiet'
  if (options.WebSocket !== undefined && options.ping === undefined) {
    config.pingAfter ??= 0
    config.deadAfter ??= 0
  }
  const linger = read('linger', options.linger ?? 500)
  if (faults.length > 0) throw new ConfigError('the tunnel', faults)
  return { config: config as TunnelConfig, linger }
}

/**
 * The places to connect to.
 *
 * @throws TypeError when there is none, or one is no URL.
 */
export function endpointsOf({ url, endpoints }: TunnelClientOptions): readonly Provided<string | URL>[] {
  if ((url === undefined) === (endpoints === undefined)) {
    throw new TypeError('a tunnel needs either `url` or `endpoints`')
  }
  const list = endpoints ?? [url as Provided<string | URL>]
  if (list.length === 0) throw new TypeError('`endpoints` is empty')
  for (const endpoint of list) if (typeof endpoint !== 'function') socketUrl(endpoint)
  return list
}

/**
 * A URL for a socket.
 *
 * @throws TypeError when it is none. The message does not repeat it: it may hold a token.
 */
export function socketUrl(url: string | URL): URL {
  let parsed: URL
  try {
    parsed = new URL(url)
  } catch {
    throw new TypeError('the address of the tunnel is no URL')
  }
  if (parsed.protocol === 'http:') parsed.protocol = 'ws:'
  if (parsed.protocol === 'https:') parsed.protocol = 'wss:'
  if (parsed.protocol !== 'ws:' && parsed.protocol !== 'wss:') {
    throw new TypeError(`the address of the tunnel begins with ${parsed.protocol}, must be ws: or wss:`)
  }
  parsed.hash = ''
  return parsed
}

/**
 * Whether the profile is that of a relay of tidegate, which has customs of its own: the token and `drain=finish` (the
 * host finishes what it carries before it moves) in the query, and `{"type":"drain"}` on a connection that is left.
 */
export function isRelay({ profile }: TunnelClientOptions): boolean {
  return (typeof profile === 'string' ? profile : profile?.base) === 'relay'
}
