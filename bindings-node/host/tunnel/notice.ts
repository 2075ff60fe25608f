/** What a server says in band before it goes. */

/** A server wants its clients to move, or to leave. */
export interface Notice {
  /** The window to spread over, milliseconds; none: now. */
  readonly within?: number | undefined
  /** Why, in words. */
  readonly reason?: string | undefined
  /**
   * What it asks for. Default `drain`: move, make before break. `refresh`: the same with a new URL and new
   * credentials. `stop`: do not come again.
   */
  readonly ask?: 'drain' | 'refresh' | 'stop' | undefined
}

/** Tells whether a message is a notice. */
export type NoticeReader = (message: string | Buffer) => Notice | undefined

/** Longer messages are not looked at: parsing what a hostile server sends must stay cheap. */
const LONGEST_NOTICE = 4_096
/** As much as a close frame can carry. */
const LONGEST_REASON = 123

/**
 * Reads `{"type":"drain","reason":…,"within":…}` in a text message. Everything else, garbage included, is no
 * notice; a `within` that is no duration counts as missing.
 */
export function readDrainNotice(message: string | Buffer): Notice | undefined {
  if (typeof message !== 'string' || message.length > LONGEST_NOTICE || !message.includes('"drain"')) {
    return undefined
  }
  let parsed: { type?: unknown; reason?: unknown; within?: unknown } | null
  try {
    parsed = JSON.parse(message)
  } catch {
    return undefined
  }
  if (parsed?.type !== 'drain') return undefined
  const { reason, within } = parsed
  return {
    reason: typeof reason === 'string' ? reason.slice(0, LONGEST_REASON) : undefined,
    within: within === undefined ? undefined : bounded(within),
  }
}

/** A duration that the core takes: an integer, zero or more; none for anything else. */
export function bounded(duration: unknown): number | undefined {
  if (typeof duration !== 'number' || !(duration >= 0)) return undefined
  return Math.min(Math.round(duration), Number.MAX_SAFE_INTEGER)
}
