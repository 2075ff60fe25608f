// Generated from the core by `cargo run -p tidegate-boundary --bin types -- --write`. Do not edit.

/** The version of the core that this file describes. */
export const VERSION = '0.1.0'

/** What the host did wrong. */
export type RejectionCode =
  /** The time is beyond 2^53 − 1. */
  | 'time-out-of-range'
  /** The input makes no sense in the state that the machine is in. */
  | 'impossible-now'
  /** The answer is to an operation or a connection that was never issued. */
  | 'never-issued'
  /** A number of the input is outside its range. */
  | 'value-out-of-range'

export const rejectionCodeValues: readonly RejectionCode[] = ['time-out-of-range', 'impossible-now', 'never-issued', 'value-out-of-range']

/** The kind of a config fault. */
export type FaultCode =
  /** A number is outside the range that can work. */
  | 'out-of-range'
  /** Two or more values contradict each other. */
  | 'contradiction'
  /** The parts add up to more than the whole. */
  | 'over-budget'
  /** A name is missing, repeated or unknown. */
  | 'bad-name'

export const faultCodeValues: readonly FaultCode[] = ['out-of-range', 'contradiction', 'over-budget', 'bad-name']

/** How a delay is spread, so that clients that failed together do not come back together. */
export type Jitter =
  /** No spread: the delay is the escalated value itself. */
  | 'none'
  /** Uniform from the floor to the escalated value. */
  | 'full'
  /** Uniform over the upper half of the escalated value. */
  | 'equal'
  /** The escalated value plus or minus the policy's `spread`. */
  | 'plus-minus'
  /** Uniform from `initial` to three times the previous delay. */
  | 'decorrelated'

export const jitterValues: readonly Jitter[] = ['none', 'full', 'equal', 'plus-minus', 'decorrelated']

/** When a rule applies, where a code alone does not say. */
export type CloseContext =
  /** Always. */
  | 'always'
  /** Only when the connection used TLS. */
  | 'tls'
  /** Only when it did not. */
  | 'plain'
  /** Only while there are live subscriptions. */
  | 'subscribed'

export const closeContextValues: readonly CloseContext[] = ['always', 'tls', 'plain', 'subscribed']

/** What to do after a close. */
export type CloseResponse =
  /** Stop; only an explicit start goes on. */
  | 'never'
  /** Try again after the next backoff delay. */
  | 'backoff'
  /** Try again after a delay at the slow end of the backoff. */
  | 'slow-backoff'
  /** Try again now (within a budget). */
  | 'immediate'
  /** Try again after a delay uniform within the rule's `min` to `max`. */
  | 'spread'
  /** Refresh the credentials, then try again after a backoff delay. */
  | 'refresh'
  /** Try another endpoint after a backoff delay; where there is none, as `slow-backoff`. */
  | 'elsewhere'

export const closeResponseValues: readonly CloseResponse[] = ['never', 'backoff', 'slow-backoff', 'immediate', 'spread', 'refresh', 'elsewhere']

/** What becomes of the session that the connection carried. */
export type SessionFate =
  /** The protocol has none, or it does not matter. */
  | 'any'
  /** The next connection starts a new one. */
  | 'new'
  /** The next connection resumes it. */
  | 'keep'

export const sessionFateValues: readonly SessionFate[] = ['any', 'new', 'keep']

/**
 * What a server says in band before it closes: the reasons of Slack's socket-mode `disconnect` message,
 * and the lame duck of a NATS `INFO`.
 */
export type DisconnectReason =
  /** The connection will be closed in about 10 s: make before break. */
  | 'warning'
  /** A new URL is to be fetched. */
  | 'refresh_requested'
  /** The app was disabled: stop. */
  | 'link_disabled'
  /** NATS `INFO {"ldm":true}`: make before break, to another server. */
  | 'ldm'

export const disconnectReasonValues: readonly DisconnectReason[] = ['warning', 'refresh_requested', 'link_disabled', 'ldm']

/** Who sends a close frame. */
export type CloseSender =
  /** A server. */
  | 'server'
  /** A client that is not a browser. */
  | 'client'
  /** A browser: 1000 and 3000–4999 only. */
  | 'browser'

export const closeSenderValues: readonly CloseSender[] = ['server', 'client', 'browser']

/** A retry timer. */
export interface BackoffConfig {
  /** The delays between attempts. */
  readonly policy?: BackoffPolicy | undefined
  /**
   * How long an attempt may take; then it counts as failed (gRPC's minimum connect time). Milliseconds.
   *
   * Default: `20000`.
   */
  readonly attemptLimit?: number | undefined
  /**
   * How long what was accepted must last before the escalation begins anew, so that a server which
   * accepts and then fails is not retried at full speed; drawn from half of it to all of it. Milliseconds.
   *
   * Default: `5000`.
   */
  readonly stableAfter?: number | undefined
}

/** A backoff policy (B1). */
export interface BackoffPolicy {
  /**
   * The delay after the first failure, before jitter. Milliseconds, at least 1.
   *
   * Default: `1000`.
   */
  readonly initial?: number | undefined
  /**
   * What each further failure multiplies it by, in thousandths: 2000 doubles. 1000 to 100000.
   *
   * Default: `2000`.
   */
  readonly factor?: number | undefined
  /**
   * The longest delay, before a server's hint. Milliseconds. Short, as a long cap is what keeps hosts
   * away after their relay is back.
   *
   * Default: `5000`.
   */
  readonly cap?: number | undefined
  /**
   * The shortest delay that is ever drawn. Milliseconds, at least 1, at most `cap`.
   *
   * Default: `100`.
   */
  readonly floor?: number | undefined
  /**
   * How delays are spread.
   *
   * Default: `'equal'`.
   */
  readonly jitter?: Jitter | undefined
  /**
   * The half-width of `plus-minus` jitter, in thousandths of the delay. 0 to 1000.
   *
   * Default: `200`.
   */
  readonly spread?: number | undefined
  /**
   * The longest server hint (`Retry-After`) that is honoured; it may exceed `cap`. Milliseconds.
   *
   * Default: `120000`.
   */
  readonly hintMax?: number | undefined
  /**
   * Whether the delay counts from the start of the failed attempt (as gRPC does) rather than from its failure.
   *
   * Default: `false`.
   */
  readonly fromStart?: boolean | undefined
}

/** Which meaning close codes have. No code is interpreted without a profile (C3). */
export interface CloseProfile {
  /**
   * A built-in profile: `rfc6455`, `relay`, `pusher`, `discord`, `centrifugo`, `graphql-ws`, `mqtt5`.
   *
   * Default: `'rfc6455'`.
   */
  readonly base?: string | undefined
  /**
   * Rules of your own, tried in order before those of `base`.
   *
   * Default: `[]`.
   */
  readonly rules?: readonly CloseRule[] | undefined
}

/** One rule of a close-code profile: what the codes `from` to `to` mean. */
export interface CloseRule {
  /**
   * The first code.
   *
   * Default: `0`.
   */
  readonly from?: number | undefined
  /**
   * The last code; the same as `from` for a single one.
   *
   * Default: `0`.
   */
  readonly to?: number | undefined
  /**
   * When the rule applies.
   *
   * Default: `'always'`.
   */
  readonly when?: CloseContext | undefined
  /**
   * What to do.
   *
   * Default: `'backoff'`.
   */
  readonly response?: CloseResponse | undefined
  /**
   * The least delay (`spread`: the lower end). Milliseconds.
   *
   * Default: `0`.
   */
  readonly min?: number | undefined
  /**
   * The upper end of `spread`, or of a first delay drawn uniformly from `min`. Milliseconds; 0 means none.
   *
   * Default: `0`.
   */
  readonly max?: number | undefined
  /**
   * What becomes of the session.
   *
   * Default: `'any'`.
   */
  readonly session?: SessionFate | undefined
  /**
   * Whether the code means a deliberate drain: the backoff starts anew (T5).
   *
   * Default: `false`.
   */
  readonly drain?: boolean | undefined
  /**
   * Whether another connection has taken this one's place (T8).
   *
   * Default: `false`.
   */
  readonly replaced?: boolean | undefined
}

/** What happened to the thing that is tried. */
export type BackoffInput =
  /** Try, and try again until it is stopped. */
  | {
      readonly type: 'start'
    }
  /** Stop trying; the escalation stays as it is. */
  | {
      readonly type: 'stop'
    }
  /** The application accepted the attempt. An open socket is not enough (B6). */
  | {
      readonly type: 'accepted'
      /** Which attempt. */
      readonly operation: number
    }
  /** The attempt failed, or what it had brought up ended. */
  | {
      readonly type: 'failed'
      /** Which attempt. */
      readonly operation: number
      /** The server's `Retry-After`. Milliseconds. */
      readonly hint?: number | null | undefined
    }
  /** The network or the device is back: try now, without resetting the escalation. */
  | {
      readonly type: 'wake'
    }
  /** The escalation begins anew, as on a drain notice within its budget (B6). A delay that runs goes on. */
  | {
      readonly type: 'reset'
    }

/** What a retry timer wants done. */
export type BackoffEffect =
  /** Try; answer accepted or failed. */
  | {
      readonly type: 'attempt'
      /** Which answer. */
      readonly operation: number
      /** Counted from 1 since the escalation began. */
      readonly attempt: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** This attempt has had its time: forget it. */
  | {
      readonly type: 'abandon'
      /** Which attempt. */
      readonly operation: number
    }
  /** A report: the next attempt comes after this delay. */
  | {
      readonly type: 'waiting'
      /** From now. Milliseconds. */
      readonly delay: number
    }
  /** A report: it lasted; the escalation begins anew. */
  | {
      readonly type: 'stable'
    }

/** Why a `backoff` wants to be woken. */
export type BackoffWhy =
  /** The attempt has had its time. */
  | 'attempt-limit'
  /** The next attempt is due. */
  | 'retry'
  /** What was accepted has lasted. */
  | 'stable'

/** A question to the close policy. */
export type ClosePolicyInput =
  /** A connection closed: what now? */
  | {
      readonly type: 'closed'
      /** The close code, 1005 without a status, 1006 without a close frame. */
      readonly code: number
      /** Whether the connection used TLS. */
      readonly tls: boolean
      /** Whether there were live subscriptions. */
      readonly subscribed: boolean
    }
  /** The server said in band that this connection ends: what now? */
  | {
      readonly type: 'disconnected'
      /** What it said. */
      readonly reason: DisconnectReason
    }
  /** May this code be sent? */
  | {
      readonly type: 'send'
      /** The code. */
      readonly code: number
      /** Who sends it. */
      readonly sender: CloseSender
      /** Whether a code that may not be sent is replaced by the nearest that may, as bridges need. */
      readonly remap: boolean
    }

/** The close policy's answer. */
export type ClosePolicyEffect =
  /** Do this. */
  | {
      readonly type: 'act'
      /** What to do. */
      readonly response: CloseResponse
      /** The least delay. Milliseconds. */
      readonly min: number
      /** The upper end of a uniform delay; 0 means none. Milliseconds. */
      readonly max: number
      /** What becomes of the session. */
      readonly session: SessionFate
      /** Whether the backoff starts anew. */
      readonly drain: boolean
      /** Whether another connection took the place of this one. */
      readonly replaced: boolean
    }
  /** Dial the next connection while this one still works. */
  | {
      readonly type: 'make-before-break'
    }
  /** This code may be sent. */
  | {
      readonly type: 'send-code'
      /** The code, replaced if asked for. */
      readonly code: number
    }
  /** This code may not be sent. */
  | {
      readonly type: 'refuse-code'
      /** The code. */
      readonly code: number
    }

/** Why a `close-policy` wants to be woken. */
export type ClosePolicyWhy =
  /** Stands here as a closed set needs a word; no deadline carries it. */
  | 'never'

/** What belongs to each machine. */
export interface Machines {
  'backoff': { config: BackoffConfig; input: BackoffInput; effect: BackoffEffect; why: BackoffWhy }
  'close-policy': { config: CloseProfile; input: ClosePolicyInput; effect: ClosePolicyEffect; why: ClosePolicyWhy }
}

/** The name of a machine. */
export type MachineName = keyof Machines

/** The answer of a flat call: nothing, a rejection (its number from 1; 0 is malformed), or a packed step. */
export type Flat = number | string | null

/** The flat calls of a shim, by number of fields. */
export interface FlatCalls {
  input0(handle: number, now: number, tag: number): Flat
  input1(handle: number, now: number, tag: number, a: number): Flat
  input2(handle: number, now: number, tag: number, a: number, b: number): Flat
  input3(handle: number, now: number, tag: number, a: number, b: number, c: number): Flat
  input4(handle: number, now: number, tag: number, a: number, b: number, c: number, d: number): Flat
  input5(handle: number, now: number, tag: number, a: number, b: number, c: number, d: number, e: number): Flat
  inputMany(handle: number, now: number, tag: number, fields: number[]): Flat
}

/** The numbers of a step, one after another; a missing one is -1. */
export interface Words {
  next(): number
}

/** Carries the inputs of a machine in and its effects out, without JSON. */
export interface Codec<N extends MachineName> {
  /** The reasons of a deadline, by number. */
  readonly why: readonly Machines[N]['why'][]
  /** Sends an input. */
  send(calls: FlatCalls, handle: number, now: number, input: Machines[N]['input']): Flat
  /** Reads the next effect. */
  effect(words: Words): Machines[N]['effect']
}

function bit(value: boolean): number {
  return value === true ? 1 : value === false ? 0 : Number.NaN
}

function place<T>(values: readonly T[], value: T): number {
  const at = values.indexOf(value)
  return at < 0 ? Number.NaN : at
}

function maybe(value: number | null | undefined): number {
  return value == null ? -1 : value < 0 ? Number.NaN : value
}

function unknown(_words: Words): never {
  throw new Error('a bug of tidegate: the core answered with an effect that this version does not know')
}

const backoffCodec: Codec<'backoff'> = {
  why: ['attempt-limit', 'retry', 'stable'],
  send(calls, handle, now, input) {
    switch (input.type) {
      case 'start':
        return calls.input0(handle, now, 0)
      case 'stop':
        return calls.input0(handle, now, 1)
      case 'accepted':
        return calls.input1(handle, now, 2, input.operation)
      case 'failed':
        return calls.input2(handle, now, 3, input.operation, maybe(input.hint))
      case 'wake':
        return calls.input0(handle, now, 4)
      case 'reset':
        return calls.input0(handle, now, 5)
      default:
        return 0
    }
  },
  effect(words) {
    switch (words.next()) {
      case 0:
        return { type: 'attempt', operation: words.next(), attempt: words.next(), limit: words.next() }
      case 1:
        return { type: 'abandon', operation: words.next() }
      case 2:
        return { type: 'waiting', delay: words.next() }
      case 3:
        return { type: 'stable' }
      default:
        return unknown(words)
    }
  },
}

const closePolicyCodec: Codec<'close-policy'> = {
  why: ['never'],
  send(calls, handle, now, input) {
    switch (input.type) {
      case 'closed':
        return calls.input3(handle, now, 0, input.code, bit(input.tls), bit(input.subscribed))
      case 'disconnected':
        return calls.input1(handle, now, 1, place(disconnectReasonValues, input.reason))
      case 'send':
        return calls.input3(handle, now, 2, input.code, place(closeSenderValues, input.sender), bit(input.remap))
      default:
        return 0
    }
  },
  effect(words) {
    switch (words.next()) {
      case 0:
        return { type: 'act', response: closeResponseValues[words.next()] as CloseResponse, min: words.next(), max: words.next(), session: sessionFateValues[words.next()] as SessionFate, drain: words.next() === 1, replaced: words.next() === 1 }
      case 1:
        return { type: 'make-before-break' }
      case 2:
        return { type: 'send-code', code: words.next() }
      case 3:
        return { type: 'refuse-code', code: words.next() }
      default:
        return unknown(words)
    }
  },
}

/** The codec of each machine. */
export const codecs: { readonly [N in MachineName]: Codec<N> } = {
  'backoff': backoffCodec,
  'close-policy': closePolicyCodec,
}
