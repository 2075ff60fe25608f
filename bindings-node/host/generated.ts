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
  /**
   * Try another endpoint now (within a budget); where there is none, after a backoff delay of at least the
   * rule's `min`.
   */
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

/** Why a command was refused. */
export type DirectoryRefusal =
  /** A later epoch was granted since. */
  | 'stale-epoch'
  /** Another machine, or another life of this one, owns the row, though with no later epoch. */
  | 'other-owner'
  /** Nobody owns the row (it expired, was cleared or lost): register again. */
  | 'no-row'

export const directoryRefusalValues: readonly DirectoryRefusal[] = ['stale-epoch', 'other-owner', 'no-row']

/** When a step of the stop runs. */
export type StepKind =
  /** While still accepting: take this process out of balancers and DNS (D3). */
  | 'unroute'
  /** When everything has drained: flush, hand back, close (D8). */
  | 'release'

export const stepKindValues: readonly StepKind[] = ['unroute', 'release']

/** What a stop is for. Ordered: a later begin can only raise it (D2). */
export type Intent =
  /** Nothing to do any more. */
  | 'idle'
  /** A successor has taken the sockets over. */
  | 'handoff'
  /** The process comes back. */
  | 'restart'
  /** The process does not come back. */
  | 'decommission'

export const intentValues: readonly Intent[] = ['idle', 'handoff', 'restart', 'decommission']

/** Where a drain is (D1). Never backwards. */
export type DrainPhase =
  /** Not serving yet. */
  | 'starting'
  /** Serving. */
  | 'serving'
  /** Not ready any more, still accepting. */
  | 'lame-duck'
  /** The public door is closed; what is there finishes. */
  | 'draining'
  /** Out of time: what is left is cut. */
  | 'forcing'
  /** The release steps run. */
  | 'releasing'
  /** Over. */
  | 'stopped'

export const drainPhaseValues: readonly DrainPhase[] = ['starting', 'serving', 'lame-duck', 'draining', 'forcing', 'releasing', 'stopped']

/** Why a peer was not admitted, or left. */
export type PeerDeparture =
  /** The login was refused (1008). */
  | 'refused'
  /** The directory could not be written (1011). */
  | 'directory-failed'
  /** The relay is draining. */
  | 'draining'
  /** A newer connection of the same host took over. */
  | 'replaced'
  /**
   * The directory says that somebody else owns the row: a newer connection elsewhere (the replaced
   * code), or one that registered first while this one was about to (1011).
   */
  | 'fenced'
  /** It did not answer its pings (1001). */
  | 'silent'
  /** The socket closed. */
  | 'closed'
  /** The relay closed it. */
  | 'asked'

export const peerDepartureValues: readonly PeerDeparture[] = ['refused', 'directory-failed', 'draining', 'replaced', 'fenced', 'silent', 'closed', 'asked']

/** What counts as acceptance by the application (T1). */
export type TunnelAcceptance =
  /** An explicit `accepted`. */
  | 'explicit'
  /** The first inbound frame, or an explicit one. */
  | 'first-inbound'
  /** `quiet_time` without a close, or a frame. */
  | 'quiet'

export const tunnelAcceptanceValues: readonly TunnelAcceptance[] = ['explicit', 'first-inbound', 'quiet']

/** What happens to a message beyond the bound of the buffer (T10). */
export type BufferOverflow =
  /** The new message is refused. */
  | 'refuse'
  /** The oldest buffered message is dropped. */
  | 'drop-oldest'

export const bufferOverflowValues: readonly BufferOverflow[] = ['refuse', 'drop-oldest']

/** Why a dial failed. */
export type DialFailure =
  /** Refused, reset, unreachable, no such name, TLS failure, an HTTP status that is no login failure. */
  | 'unreachable'
  /** The upgrade was answered with 401 or 403: the credentials are refused. */
  | 'refused'

export const dialFailureValues: readonly DialFailure[] = ['unreachable', 'refused']

/** What a server asked for in band. */
export type TunnelRequest =
  /** Move: a new connection, make before break. */
  | 'move'
  /** Come again with a new URL and new credentials. */
  | 'refresh'
  /** Do not come again. */
  | 'stop'

export const tunnelRequestValues: readonly TunnelRequest[] = ['move', 'refresh', 'stop']

/** Where a tunnel is (T1). */
export type TunnelState =
  /** Not started. */
  | 'idle'
  /** Asking the host for the URL and the credentials. */
  | 'preparing'
  /** Opening the socket, the upgrade included. */
  | 'dialing'
  /** The socket is open, the application has not accepted yet. */
  | 'accepting'
  /** Connected. */
  | 'up'
  /** Connected, and on the way to the next connection, from the wait for its turn on: make before break. */
  | 'moving'
  /** Waiting for the next attempt. */
  | 'waiting'
  /** The network is away. */
  | 'offline'
  /** Stopped, for a reason. */
  | 'stopped'

export const tunnelStateValues: readonly TunnelState[] = ['idle', 'preparing', 'dialing', 'accepting', 'up', 'moving', 'waiting', 'offline', 'stopped']

/** Why a tunnel stopped (T8). */
export type TunnelStopReason =
  /** The host asked for it. */
  | 'asked'
  /** A close code or a disconnect reason that forbids another attempt. */
  | 'fatal'
  /** Another connection with the same identity took over. */
  | 'replaced'

export const tunnelStopReasonValues: readonly TunnelStopReason[] = ['asked', 'fatal', 'replaced']

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

/** How rows live. */
export interface DirectoryConfig {
  /**
   * How long a row lives past its last renew. Milliseconds. Three renews of the default interval, so that
   * one lost renew and one slow retry cost nobody their row.
   *
   * Default: `90000`.
   */
  readonly ttl?: number | undefined
}

/** How a process stops. */
export interface DrainConfig {
  /**
   * How long to stay accepting while not ready, so that balancers stop sending first (D3). Milliseconds; 0 is allowed.
   *
   * Default: `2000`.
   */
  readonly lameDuck?: number | undefined
  /**
   * How long in-flight work may take once the public door is closed (D7). Milliseconds.
   *
   * Default: `20000`.
   */
  readonly grace?: number | undefined
  /**
   * How long the platform waits before it kills (Kubernetes: 30 s, fly.io: 5 s). Milliseconds.
   *
   * Default: `30000`.
   */
  readonly killBudget?: number | undefined
  /**
   * What must be left of the budget for forcing and the exit itself. Milliseconds.
   *
   * Default: `1000`.
   */
  readonly margin?: number | undefined
  /**
   * How long a told tunnel may take to leave before it is closed (D5). Milliseconds.
   *
   * Default: `500`.
   */
  readonly flush?: number | undefined
  /**
   * How many tunnels a second may be told to move; 0: all at once (D5).
   *
   * Default: `0`.
   */
  readonly reconnectRate?: number | undefined
  /**
   * How long a keep-alive connection must have been idle before it is closed (D4). Milliseconds.
   *
   * Default: `500`.
   */
  readonly minIdleAge?: number | undefined
  /**
   * Two signals closer than this count as one (D2). Milliseconds.
   *
   * Default: `500`.
   */
  readonly signalMerge?: number | undefined
  /**
   * Whether streams (SSE, gRPC) are told to end when draining starts; otherwise they are cut at the deadline (D4).
   *
   * Default: `true`.
   */
  readonly endStreams?: boolean | undefined
  /**
   * The close code of tunnels and WebSockets on restart, handoff and idle.
   *
   * Default: `1012`.
   */
  readonly restartCode?: number | undefined
  /**
   * The close code of tunnels and WebSockets on decommission.
   *
   * Default: `1001`.
   */
  readonly decommissionCode?: number | undefined
  /**
   * The exit code of a clean restart, for supervisors that tell it by one.
   *
   * Default: `0`.
   */
  readonly restartExitCode?: number | undefined
  /**
   * The steps, in order.
   *
   * Default: `[]`.
   */
  readonly steps?: readonly ReleaseStep[] | undefined
}

/** A named step of the stop (D3, D8). The host knows it by its place in the list. */
export interface ReleaseStep {
  /**
   * Its name, in errors and outcomes.
   *
   * Default: `''`.
   */
  readonly name?: string | undefined
  /**
   * When it runs.
   *
   * Default: `'release'`.
   */
  readonly kind?: StepKind | undefined
  /**
   * Its time limit, retries included. Milliseconds.
   *
   * Default: `2000`.
   */
  readonly limit?: number | undefined
  /**
   * How often it may be tried within its limit.
   *
   * Default: `1`.
   */
  readonly attempts?: number | undefined
}

/** How a peer is served. */
export interface PeerConfig {
  /**
   * The limit of the login check. Milliseconds. Below the connect deadline of hosts (20 s), so that they
   * are told rather than give up.
   *
   * Default: `10000`.
   */
  readonly authorizeLimit?: number | undefined
  /**
   * The limit of a directory write. Milliseconds. Together with the login still below that deadline.
   *
   * Default: `5000`.
   */
  readonly registerLimit?: number | undefined
  /**
   * How often a ping goes out. Milliseconds. Hosts give up after 75 s of silence: two pings may get lost.
   *
   * Default: `30000`.
   */
  readonly pingEvery?: number | undefined
  /**
   * After how many pings in a row without an answer the peer is closed with 1001.
   *
   * Default: `3`.
   */
  readonly pingMisses?: number | undefined
  /**
   * How late a timer may fire, or its sample be answered, before silence is no longer trusted: what the
   * peer sent meanwhile may lie unread. Milliseconds.
   *
   * Default: `5000`.
   */
  readonly stallTolerance?: number | undefined
  /**
   * How often the directory row is renewed. Milliseconds; well below the directory's TTL.
   *
   * Default: `30000`.
   */
  readonly renewEvery?: number | undefined
  /**
   * The wait before a failed directory write of a live peer is tried again. Milliseconds.
   *
   * Default: `1000`.
   */
  readonly retryEvery?: number | undefined
  /**
   * The code that a newer connection of the same host closes this one with.
   *
   * Default: `4409`.
   */
  readonly replacedCode?: number | undefined
  /**
   * The code that a deliberate drain closes with.
   *
   * Default: `4001`.
   */
  readonly drainCode?: number | undefined
}

/** How a tunnel behaves. */
export interface TunnelConfig {
  /** The delays between attempts. */
  readonly backoff?: BackoffPolicy | undefined
  /**
   * The least delay of `slow-backoff` answers. Milliseconds.
   *
   * Default: `30000`.
   */
  readonly slowDelay?: number | undefined
  /** What close codes mean. */
  readonly profile?: CloseProfile | undefined
  /**
   * What counts as acceptance.
   *
   * Default: `'first-inbound'`.
   */
  readonly acceptance?: TunnelAcceptance | undefined
  /**
   * Time without a close that counts as acceptance (`acceptance: quiet`). Milliseconds.
   *
   * Default: `1000`.
   */
  readonly quietTime?: number | undefined
  /**
   * The limit of the URL and credential providers together. Milliseconds.
   *
   * Default: `10000`.
   */
  readonly prepareLimit?: number | undefined
  /**
   * The limit of opening a socket: connect, TLS and upgrade. Milliseconds.
   *
   * Default: `20000`.
   */
  readonly dialLimit?: number | undefined
  /**
   * The limit of acceptance after the socket opened. Milliseconds.
   *
   * Default: `10000`.
   */
  readonly acceptLimit?: number | undefined
  /**
   * Inbound silence after which a ping goes out. Milliseconds. 0: never ping, as where the server pings.
   *
   * Default: `30000`.
   */
  readonly pingAfter?: number | undefined
  /**
   * Inbound silence after which the connection is dead. Milliseconds; longer than `ping_after`. 0: never.
   *
   * Default: `75000`.
   */
  readonly deadAfter?: number | undefined
  /**
   * How late a timer may fire, or the answer to a `sample` be, before silence is no longer
   * trusted (suspend, stalled event loop). Milliseconds.
   *
   * Default: `5000`.
   */
  readonly stallTolerance?: number | undefined
  /**
   * How long a connection must be up before the backoff starts anew (B6); drawn from half of it to all of it. Milliseconds.
   *
   * Default: `5000`.
   */
  readonly stableAfter?: number | undefined
  /**
   * How many immediate reconnects are allowed in `immediate_window` (T6).
   *
   * Default: `3`.
   */
  readonly immediateBudget?: number | undefined
  /**
   * The window of `immediate_budget`. Milliseconds.
   *
   * Default: `60000`.
   */
  readonly immediateWindow?: number | undefined
  /**
   * How long an old connection may finish its work after the new one took over (T5). Milliseconds.
   *
   * Default: `30000`.
   */
  readonly finishLimit?: number | undefined
  /**
   * The longest window of a drain notice that is honoured. Milliseconds.
   *
   * Default: `300000`.
   */
  readonly noticeMax?: number | undefined
  /**
   * How many endpoints the host knows; the core names them 0, 1, …
   *
   * Default: `1`.
   */
  readonly endpoints?: number | undefined
  /**
   * Failed dials in a row after which the next endpoint is tried (T9).
   *
   * Default: `3`.
   */
  readonly rotateAfter?: number | undefined
  /**
   * How many messages are buffered while down (T10).
   *
   * Default: `1000`.
   */
  readonly bufferLimit?: number | undefined
  /**
   * What happens beyond that.
   *
   * Default: `'refuse'`.
   */
  readonly overflow?: BufferOverflow | undefined
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

/** A command on one row. `machine` is a number that the store gives to a machine's name. */
export type DirectoryInput =
  /** Take the row, with the epoch after the one that is carried. */
  | {
      readonly type: 'register'
      /** Which machine. */
      readonly machine: number
      /** Which life of that machine; a later life has a greater one. */
      readonly incarnation: number
      /**
       * The greatest epoch that this life knew or had asked for, for this host, when the connection
       * opened; 0 for none. The same at each retry, and never the same for two connections.
       */
      readonly epoch: number
    }
  /** Keep the row. */
  | {
      readonly type: 'renew'
      /** Which machine. */
      readonly machine: number
      /** Which life of it. */
      readonly incarnation: number
      /** The epoch of the registration. */
      readonly epoch: number
    }
  /** Give the row up, or take back a registration of unknown outcome. */
  | {
      readonly type: 'unregister'
      /** Which machine. */
      readonly machine: number
      /** Which life of it. */
      readonly incarnation: number
      /** The epoch of the registration: the one that it carried, plus one. */
      readonly epoch: number
    }
  /** Clear the row if it belongs to this machine in a life before `incarnation` (R3). */
  | {
      readonly type: 'clear-earlier'
      /** Which machine. */
      readonly machine: number
      /** The present life. */
      readonly incarnation: number
    }
  /** Clear the row if it belongs to exactly this life of the machine (D5). */
  | {
      readonly type: 'clear-own'
      /** Which machine. */
      readonly machine: number
      /** Which life of it. */
      readonly incarnation: number
    }
  /** Who owns the row? */
  | {
      readonly type: 'look'
    }

/** The directory's answer. */
export type DirectoryEffect =
  /** Registered. */
  | {
      readonly type: 'registered'
      /** The new epoch. */
      readonly epoch: number
    }
  /** Renewed. */
  | {
      readonly type: 'renewed'
      /** The epoch. */
      readonly epoch: number
    }
  /** Removed, by its owner or by a clear; or barred, when the registration has not landed yet. */
  | {
      readonly type: 'removed'
      /** The epoch that it had, or would have had. */
      readonly epoch: number
    }
  /** The clear does not concern this row. */
  | {
      readonly type: 'kept'
    }
  /** Refused. */
  | {
      readonly type: 'refused'
      /** Why. */
      readonly refusal: DirectoryRefusal
      /** The last epoch granted: what the next register carries. */
      readonly epoch: number
    }
  /** The owner. */
  | {
      readonly type: 'owner'
      /** Which machine. */
      readonly machine: number
      /** Which life of it. */
      readonly incarnation: number
      /** The last epoch granted: what the next register carries. */
      readonly epoch: number
    }
  /** Nobody. */
  | {
      readonly type: 'nobody'
      /** The last epoch granted, or 0: what the next register carries. */
      readonly epoch: number
    }

/** Why a `directory` wants to be woken. */
export type DirectoryWhy =
  /** Its TTL is over. */
  | 'expiry'

/** What happened to a process that drains. */
export type DrainInput =
  /** Start-up is done: serving. */
  | {
      readonly type: 'started'
    }
  /** The operating system sent a stop signal (D2): the first begins, one later than `signal_merge` forces. */
  | {
      readonly type: 'signal'
      /** What a stop by this signal means. */
      readonly intent: Intent
    }
  /** The host asks for a stop. */
  | {
      readonly type: 'begin'
      /** What it is for. */
      readonly intent: Intent
    }
  /** The host asks to cut what is left now. */
  | {
      readonly type: 'force'
    }
  /** An operation is done. */
  | {
      readonly type: 'done'
      /** Which. */
      readonly operation: number
    }
  /** An operation failed. */
  | {
      readonly type: 'failed'
      /** Which. */
      readonly operation: number
    }
  /** What is left: the answer to `count`, and again whenever one of these numbers changes. */
  | {
      readonly type: 'load'
      /** Requests in flight, streams and tunnelled requests included. */
      readonly requests: number
      /** Connections that carry no request now. */
      readonly idle: number
      /** Long streams in flight (counted in `requests` too). */
      readonly streams: number
      /** Tunnels and WebSockets that are open. */
      readonly tunnels: number
      /** Of those, the ones that were told to move. */
      readonly told: number
    }

/** What a drain wants done. */
export type DrainEffect =
  /** Readiness changes; liveness never does. */
  | {
      readonly type: 'readiness'
      /** Ready for traffic. */
      readonly ready: boolean
    }
  /**
   * A report: the stop entered this phase, or its intent was raised in it. `serving` and `stopped` are not
   * reported by it, but by `readiness` and `stopped`.
   */
  | {
      readonly type: 'entered'
      /** The phase. */
      readonly phase: DrainPhase
      /** What the stop is for. */
      readonly intent: Intent
      /** What is left of the whole budget. Milliseconds. */
      readonly left: number
    }
  /** From now on responses carry `Connection: close` and retry hints (D3). */
  | {
      readonly type: 'lame-duck'
    }
  /** Run a step of the config; answer done or failed. */
  | {
      readonly type: 'run-step'
      /** Which answer. */
      readonly operation: number
      /** Its place in the config's list. */
      readonly step: number
      /** Counted from 1. */
      readonly attempt: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** A report: a step is over without success; the others go on. */
  | {
      readonly type: 'step-failed'
      /** Its place in the config's list. */
      readonly step: number
      /** Whether it was cut at its limit rather than failing. */
      readonly timedOut: boolean
    }
  /** Accept what is queued, then close the public door; refuse registrations from now on. Answer done. */
  | {
      readonly type: 'close-public-door'
      /** Which answer. */
      readonly operation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Answer `load` now, and whenever it changes. */
  | {
      readonly type: 'count'
    }
  /** Close connections that have been idle for this long. */
  | {
      readonly type: 'close-idle'
      /** The minimum idle age. Milliseconds. */
      readonly olderThan: number
    }
  /** Tell long streams to end. */
  | {
      readonly type: 'end-streams'
    }
  /**
   * Tell this many tunnels, that were not told yet, to move; all of them if there are fewer. They count as
   * told in the next `load`.
   */
  | {
      readonly type: 'tell'
      /** How many. */
      readonly count: number
      /** The window that they may spread over; none: now. Milliseconds. */
      readonly within: number | null
    }
  /** A report: the even pace would not fit into the grace period and is faster than asked. */
  | {
      readonly type: 'pace-clamped'
      /** The window that was asked for. Milliseconds. */
      readonly wanted: number
      /** The window that is used. Milliseconds. */
      readonly used: number
    }
  /** Clear the directory rows that are left, in one call. Answer done or failed. */
  | {
      readonly type: 'clear-rows'
      /** Which answer. */
      readonly operation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Close every tunnel as soon as it carries no request. */
  | {
      readonly type: 'close-tunnels'
      /** The close code. */
      readonly code: number
    }
  /** The last tunnel has gone: close the door for forwarded requests. */
  | {
      readonly type: 'close-peer-door'
    }
  /** Out of time: cut everything that is left, then answer `load` until nothing is. */
  | {
      readonly type: 'abort'
      /** The close code of tunnels. */
      readonly code: number
    }
  /** A report: it is over. The process should exit with `exit_code`. */
  | {
      readonly type: 'stopped'
      /** What the stop was for. */
      readonly intent: Intent
      /** Requests and tunnels that were there when the public door had closed and ended without being cut. */
      readonly drained: number
      /** Those that were cut; 1 if the host never said how many there were. */
      readonly forced: number
      /**
       * Those that could not be cut in time, or of which the host said nothing; 1 if it never said how many
       * there were.
       */
      readonly abandoned: number
      /** How many steps failed, the clearing of rows included. */
      readonly failedSteps: number
      /** From the begin to the end, at most `kill_budget`. Milliseconds. */
      readonly duration: number
      /** 0 clean, or `restart_exit_code`; 3 when a step failed, 4 when work was cut or abandoned. */
      readonly exitCode: number
    }
  /** A report: the directory could not be cleared; its rows end with their time to live. */
  | {
      readonly type: 'rows-left'
    }

/** Why a `drain` wants to be woken. */
export type DrainWhy =
  /** The lame-duck time is over. */
  | 'lame-duck-over'
  /** A step has had its time. */
  | 'step-limit'
  /** A step is to be tried again. */
  | 'step-retry'
  /** The public door has had its time to close. */
  | 'door-limit'
  /** The next tunnels are to be told. */
  | 'tell'
  /** Idle connections are to be looked at. */
  | 'idle-sweep'
  /** The told tunnels have had their time to leave. */
  | 'flush'
  /** The directory has had its time. */
  | 'rows-limit'
  /** The grace period is over. */
  | 'grace'
  /** The host has had its time to cut what is left. */
  | 'force-limit'

/** What happened to a peer. */
export type PeerInput =
  /** A socket was opened: check its login. Once, first. */
  | {
      readonly type: 'connected'
    }
  /** An operation is done. */
  | {
      readonly type: 'done'
      /** Which. */
      readonly operation: number
    }
  /**
   * An operation failed: the login is refused, or the directory could not be written (which leaves open
   * whether it was).
   */
  | {
      readonly type: 'failed'
      /** Which. */
      readonly operation: number
    }
  /** The directory refused a write. */
  | {
      readonly type: 'fenced'
      /** Which. */
      readonly operation: number
      /** Why: nobody owns the row (any more), or somebody else does. */
      readonly refusal: DirectoryRefusal
    }
  /** The answer to `sample`. */
  | {
      readonly type: 'inbound'
      /** How long ago the last inbound frame came. Milliseconds. */
      readonly ago: number
    }
  /** The socket closed. */
  | {
      readonly type: 'closed'
    }
  /** A newer connection of the same host was admitted. */
  | {
      readonly type: 'replaced'
    }
  /** The relay drains: no more registrations (D4). */
  | {
      readonly type: 'drain'
    }
  /** The draining relay cleared the rows of its life in one call (D5): there is none left to remove. */
  | {
      readonly type: 'rows-cleared'
    }
  /** The relay tells this peer to move (D5). */
  | {
      readonly type: 'tell'
      /** The window that it may spread over; none: now. Milliseconds. */
      readonly within?: number | null | undefined
    }
  /** The relay closes this peer: its work is done or its time is up. */
  | {
      readonly type: 'close'
      /** The code. */
      readonly code: number
    }

/** What a peer wants done. */
export type PeerEffect =
  /** Check the login; answer done or failed. */
  | {
      readonly type: 'authorize'
      /** Which. */
      readonly operation: number
      /** Answered later than this it counts as failed. Milliseconds. */
      readonly limit: number
    }
  /**
   * Write the directory row with the epoch that was known when the socket opened; answer done, failed or
   * fenced. The same epoch again until the answer is done, or fenced with no row.
   */
  | {
      readonly type: 'register'
      /** Which. */
      readonly operation: number
      /** Answered later than this it counts as unknown. Milliseconds. */
      readonly limit: number
    }
  /** Renew the directory row; answer done, failed or fenced. */
  | {
      readonly type: 'renew'
      /** Which. */
      readonly operation: number
      /** Answered later than this it counts as failed. Milliseconds. */
      readonly limit: number
    }
  /**
   * Remove the directory row if it is still ours, or take back the registration whose outcome is unknown;
   * answer done, failed or fenced.
   */
  | {
      readonly type: 'unregister'
      /** Which. */
      readonly operation: number
      /** Answered later than this it is given up; the row's TTL ends it. Milliseconds. */
      readonly limit: number
    }
  /**
   * Route requests to this peer from now on; an older connection of the same host is replaced. Or this
   * one is, when a newer one was admitted while the answer to this one's registration was under way.
   */
  | {
      readonly type: 'admit'
    }
  /** Send the in-band drain notice. */
  | {
      readonly type: 'notify'
      /** The window; none: now. Milliseconds. */
      readonly within: number | null
    }
  /** Tell when the last inbound frame came: `inbound`. */
  | {
      readonly type: 'sample'
    }
  /** Send a ping. */
  | {
      readonly type: 'ping'
    }
  /** Close the socket with this code; wait for nothing. */
  | {
      readonly type: 'close-socket'
      /** The code. */
      readonly code: number
    }
  /** A report: it will not be, or is no longer, routable. */
  | {
      readonly type: 'departed'
      /** Why. */
      readonly departure: PeerDeparture
    }
  /** A report: the directory is away, the peer is served from memory (R2). */
  | {
      readonly type: 'unlisted'
    }

/** Why a `peer` wants to be woken. */
export type PeerWhy =
  /** The login check has had its time. */
  | 'authorize-limit'
  /** The directory write has had its time. */
  | 'register-limit'
  /** The removal of the row has had its time. */
  | 'unregister-limit'
  /** A ping is due. */
  | 'ping'
  /** The row is to be renewed, or a failed write to be tried again. */
  | 'renew'

/**
 * What happened to a tunnel. A `generation` names a connection; what happens on one that is neither the
 * current, the next nor a finishing one is a no-op (T3).
 */
export type TunnelInput =
  /** Connect and stay connected. In `stopped` this is the explicit restart (T8). */
  | {
      readonly type: 'start'
    }
  /** Disconnect and stay so. */
  | {
      readonly type: 'stop'
    }
  /** The URL and the credentials are there. */
  | {
      readonly type: 'prepared'
      /** Which. */
      readonly operation: number
    }
  /** A provider failed. */
  | {
      readonly type: 'prepare-failed'
      /** Which. */
      readonly operation: number
    }
  /** The socket is open. */
  | {
      readonly type: 'opened'
      /** The connection. */
      readonly generation: number
    }
  /** The socket could not be opened. */
  | {
      readonly type: 'dial-failed'
      /** The connection. */
      readonly generation: number
      /** Why. */
      readonly failure: DialFailure
      /** The server's `Retry-After`. Milliseconds. */
      readonly retryAfter?: number | null | undefined
    }
  /** The application accepted the connection. */
  | {
      readonly type: 'accepted'
      /** The connection. */
      readonly generation: number
    }
  /** The latest inbound frame of a connection: the first one, or the answer to `sample`. */
  | {
      readonly type: 'inbound'
      /** The connection. */
      readonly generation: number
      /** How long ago it came. Milliseconds. */
      readonly ago: number
    }
  /** The connection closed. */
  | {
      readonly type: 'closed'
      /** The connection. */
      readonly generation: number
      /** The close code; 1005 without a status, 1006 without a close frame. */
      readonly code: number
      /** The server's hint when to come back. Milliseconds. */
      readonly retryAfter?: number | null | undefined
      /** Whether it used TLS. */
      readonly tls: boolean
      /** Whether there were live subscriptions. */
      readonly subscribed: boolean
    }
  /** A drain notice came in band (T5). */
  | {
      readonly type: 'drain-notice'
      /** The connection. */
      readonly generation: number
      /** The window to spread over; none: now. Milliseconds. */
      readonly within?: number | null | undefined
    }
  /** The server asked for something in band. */
  | {
      readonly type: 'asked'
      /** The connection. */
      readonly generation: number
      /** What. */
      readonly asked: TunnelRequest
    }
  /** An old connection has finished its in-flight work. */
  | {
      readonly type: 'finished'
      /** The connection. */
      readonly generation: number
    }
  /** The network is there (T9). */
  | {
      readonly type: 'online'
    }
  /** The network is away. */
  | {
      readonly type: 'offline'
    }
  /** The device woke up, or the page came back: dial now, do not trust silence. */
  | {
      readonly type: 'wake'
    }
  /**
   * The application wants to send while there is no connection to send on (T10). Impossible in `up` and
   * `moving`: there it sends, without asking.
   */
  | {
      readonly type: 'send'
    }

/** What a tunnel wants done. */
export type TunnelEffect =
  /** Provide the URL and the credentials; answer `prepared` or `prepare-failed`. */
  | {
      readonly type: 'prepare'
      /** Which. */
      readonly operation: number
      /** Which endpoint. */
      readonly endpoint: number
      /** Whether the credentials (and the URL) must be fetched anew; else those at hand serve until they expire. */
      readonly refresh: boolean
      /** Answered later than this it is ignored. Milliseconds. */
      readonly limit: number
    }
  /** Open a socket with what was prepared; answer `opened` or `dial-failed`. */
  | {
      readonly type: 'dial'
      /** The connection's generation from now on. */
      readonly generation: number
      /** Which endpoint. */
      readonly endpoint: number
      /** Whether the session of the last connection is to be resumed. */
      readonly session: SessionFate
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** This connection is now the one: send on it (buffered messages first). */
  | {
      readonly type: 'adopt'
      /** The connection. */
      readonly generation: number
    }
  /** This connection is no longer the one; let it finish its in-flight work, then answer `finished`. */
  | {
      readonly type: 'finish'
      /** The connection. */
      readonly generation: number
      /** Closed after this. Milliseconds. */
      readonly limit: number
    }
  /** Forget this connection: close it best-effort, wait for nothing (T3). */
  | {
      readonly type: 'abandon'
      /** The connection. */
      readonly generation: number
      /**
       * The code of the close frame: 1000, or 3008 (timeout, IANA) when it was too slow or silent. Any
       * peer, browsers included, may send both.
       */
      readonly code: number
    }
  /** Tell when the last inbound frame came: `inbound`. */
  | {
      readonly type: 'sample'
      /** The connection. */
      readonly generation: number
    }
  /** Send a ping. */
  | {
      readonly type: 'ping'
      /** The connection. */
      readonly generation: number
    }
  /** Buffer the message that `send` announced. */
  | {
      readonly type: 'buffer'
    }
  /** Drop the oldest buffered message. */
  | {
      readonly type: 'drop-oldest'
    }
  /** Refuse the message that `send` announced. */
  | {
      readonly type: 'refuse-send'
    }
  /** Drop every buffered message: the tunnel stopped. */
  | {
      readonly type: 'drop-buffer'
    }
  /** A report: the state changed. */
  | {
      readonly type: 'entered'
      /** The state. */
      readonly state: TunnelState
      /** How long at most, where a timer ends it. Milliseconds. */
      readonly within: number | null
    }
  /** A report: it stopped, and why. */
  | {
      readonly type: 'stopped'
      /** Why. */
      readonly reason: TunnelStopReason
      /** The close code that caused it, if one did. */
      readonly code: number | null
    }

/** Why a `tunnel` wants to be woken. */
export type TunnelWhy =
  /** The providers have had their time. */
  | 'prepare-limit'
  /** The dial has had its time. */
  | 'dial-limit'
  /** Acceptance has had its time. */
  | 'accept-limit'
  /** It was quiet for long enough to count as accepted. */
  | 'quiet'
  /** The next attempt is due. */
  | 'retry'
  /** The move that a notice asked for is due. */
  | 'move'
  /** Silence is to be looked at. */
  | 'silence'
  /** The connection has been up long enough for the backoff to start anew. */
  | 'stable'
  /** The old connection has had its time to finish. */
  | 'finish-limit'

/** What belongs to each machine. */
export interface Machines {
  'backoff': { config: BackoffConfig; input: BackoffInput; effect: BackoffEffect; why: BackoffWhy }
  'close-policy': { config: CloseProfile; input: ClosePolicyInput; effect: ClosePolicyEffect; why: ClosePolicyWhy }
  'directory': { config: DirectoryConfig; input: DirectoryInput; effect: DirectoryEffect; why: DirectoryWhy }
  'drain': { config: DrainConfig; input: DrainInput; effect: DrainEffect; why: DrainWhy }
  'peer': { config: PeerConfig; input: PeerInput; effect: PeerEffect; why: PeerWhy }
  'tunnel': { config: TunnelConfig; input: TunnelInput; effect: TunnelEffect; why: TunnelWhy }
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

function number(word: number): number | null {
  return word < 0 ? null : word
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

const directoryCodec: Codec<'directory'> = {
  why: ['expiry'],
  send(calls, handle, now, input) {
    switch (input.type) {
      case 'register':
        return calls.input3(handle, now, 0, input.machine, input.incarnation, input.epoch)
      case 'renew':
        return calls.input3(handle, now, 1, input.machine, input.incarnation, input.epoch)
      case 'unregister':
        return calls.input3(handle, now, 2, input.machine, input.incarnation, input.epoch)
      case 'clear-earlier':
        return calls.input2(handle, now, 3, input.machine, input.incarnation)
      case 'clear-own':
        return calls.input2(handle, now, 4, input.machine, input.incarnation)
      case 'look':
        return calls.input0(handle, now, 5)
      default:
        return 0
    }
  },
  effect(words) {
    switch (words.next()) {
      case 0:
        return { type: 'registered', epoch: words.next() }
      case 1:
        return { type: 'renewed', epoch: words.next() }
      case 2:
        return { type: 'removed', epoch: words.next() }
      case 3:
        return { type: 'kept' }
      case 4:
        return { type: 'refused', refusal: directoryRefusalValues[words.next()] as DirectoryRefusal, epoch: words.next() }
      case 5:
        return { type: 'owner', machine: words.next(), incarnation: words.next(), epoch: words.next() }
      case 6:
        return { type: 'nobody', epoch: words.next() }
      default:
        return unknown(words)
    }
  },
}

const drainCodec: Codec<'drain'> = {
  why: ['lame-duck-over', 'step-limit', 'step-retry', 'door-limit', 'tell', 'idle-sweep', 'flush', 'rows-limit', 'grace', 'force-limit'],
  send(calls, handle, now, input) {
    switch (input.type) {
      case 'started':
        return calls.input0(handle, now, 0)
      case 'signal':
        return calls.input1(handle, now, 1, place(intentValues, input.intent))
      case 'begin':
        return calls.input1(handle, now, 2, place(intentValues, input.intent))
      case 'force':
        return calls.input0(handle, now, 3)
      case 'done':
        return calls.input1(handle, now, 4, input.operation)
      case 'failed':
        return calls.input1(handle, now, 5, input.operation)
      case 'load':
        return calls.input5(handle, now, 6, input.requests, input.idle, input.streams, input.tunnels, input.told)
      default:
        return 0
    }
  },
  effect(words) {
    switch (words.next()) {
      case 0:
        return { type: 'readiness', ready: words.next() === 1 }
      case 1:
        return { type: 'entered', phase: drainPhaseValues[words.next()] as DrainPhase, intent: intentValues[words.next()] as Intent, left: words.next() }
      case 2:
        return { type: 'lame-duck' }
      case 3:
        return { type: 'run-step', operation: words.next(), step: words.next(), attempt: words.next(), limit: words.next() }
      case 4:
        return { type: 'step-failed', step: words.next(), timedOut: words.next() === 1 }
      case 5:
        return { type: 'close-public-door', operation: words.next(), limit: words.next() }
      case 6:
        return { type: 'count' }
      case 7:
        return { type: 'close-idle', olderThan: words.next() }
      case 8:
        return { type: 'end-streams' }
      case 9:
        return { type: 'tell', count: words.next(), within: number(words.next()) }
      case 10:
        return { type: 'pace-clamped', wanted: words.next(), used: words.next() }
      case 11:
        return { type: 'clear-rows', operation: words.next(), limit: words.next() }
      case 12:
        return { type: 'close-tunnels', code: words.next() }
      case 13:
        return { type: 'close-peer-door' }
      case 14:
        return { type: 'abort', code: words.next() }
      case 15:
        return { type: 'stopped', intent: intentValues[words.next()] as Intent, drained: words.next(), forced: words.next(), abandoned: words.next(), failedSteps: words.next(), duration: words.next(), exitCode: words.next() }
      case 16:
        return { type: 'rows-left' }
      default:
        return unknown(words)
    }
  },
}

const peerCodec: Codec<'peer'> = {
  why: ['authorize-limit', 'register-limit', 'unregister-limit', 'ping', 'renew'],
  send(calls, handle, now, input) {
    switch (input.type) {
      case 'connected':
        return calls.input0(handle, now, 0)
      case 'done':
        return calls.input1(handle, now, 1, input.operation)
      case 'failed':
        return calls.input1(handle, now, 2, input.operation)
      case 'fenced':
        return calls.input2(handle, now, 3, input.operation, place(directoryRefusalValues, input.refusal))
      case 'inbound':
        return calls.input1(handle, now, 4, input.ago)
      case 'closed':
        return calls.input0(handle, now, 5)
      case 'replaced':
        return calls.input0(handle, now, 6)
      case 'drain':
        return calls.input0(handle, now, 7)
      case 'rows-cleared':
        return calls.input0(handle, now, 8)
      case 'tell':
        return calls.input1(handle, now, 9, maybe(input.within))
      case 'close':
        return calls.input1(handle, now, 10, input.code)
      default:
        return 0
    }
  },
  effect(words) {
    switch (words.next()) {
      case 0:
        return { type: 'authorize', operation: words.next(), limit: words.next() }
      case 1:
        return { type: 'register', operation: words.next(), limit: words.next() }
      case 2:
        return { type: 'renew', operation: words.next(), limit: words.next() }
      case 3:
        return { type: 'unregister', operation: words.next(), limit: words.next() }
      case 4:
        return { type: 'admit' }
      case 5:
        return { type: 'notify', within: number(words.next()) }
      case 6:
        return { type: 'sample' }
      case 7:
        return { type: 'ping' }
      case 8:
        return { type: 'close-socket', code: words.next() }
      case 9:
        return { type: 'departed', departure: peerDepartureValues[words.next()] as PeerDeparture }
      case 10:
        return { type: 'unlisted' }
      default:
        return unknown(words)
    }
  },
}

const tunnelCodec: Codec<'tunnel'> = {
  why: ['prepare-limit', 'dial-limit', 'accept-limit', 'quiet', 'retry', 'move', 'silence', 'stable', 'finish-limit'],
  send(calls, handle, now, input) {
    switch (input.type) {
      case 'start':
        return calls.input0(handle, now, 0)
      case 'stop':
        return calls.input0(handle, now, 1)
      case 'prepared':
        return calls.input1(handle, now, 2, input.operation)
      case 'prepare-failed':
        return calls.input1(handle, now, 3, input.operation)
      case 'opened':
        return calls.input1(handle, now, 4, input.generation)
      case 'dial-failed':
        return calls.input3(handle, now, 5, input.generation, place(dialFailureValues, input.failure), maybe(input.retryAfter))
      case 'accepted':
        return calls.input1(handle, now, 6, input.generation)
      case 'inbound':
        return calls.input2(handle, now, 7, input.generation, input.ago)
      case 'closed':
        return calls.input5(handle, now, 8, input.generation, input.code, maybe(input.retryAfter), bit(input.tls), bit(input.subscribed))
      case 'drain-notice':
        return calls.input2(handle, now, 9, input.generation, maybe(input.within))
      case 'asked':
        return calls.input2(handle, now, 10, input.generation, place(tunnelRequestValues, input.asked))
      case 'finished':
        return calls.input1(handle, now, 11, input.generation)
      case 'online':
        return calls.input0(handle, now, 12)
      case 'offline':
        return calls.input0(handle, now, 13)
      case 'wake':
        return calls.input0(handle, now, 14)
      case 'send':
        return calls.input0(handle, now, 15)
      default:
        return 0
    }
  },
  effect(words) {
    switch (words.next()) {
      case 0:
        return { type: 'prepare', operation: words.next(), endpoint: words.next(), refresh: words.next() === 1, limit: words.next() }
      case 1:
        return { type: 'dial', generation: words.next(), endpoint: words.next(), session: sessionFateValues[words.next()] as SessionFate, limit: words.next() }
      case 2:
        return { type: 'adopt', generation: words.next() }
      case 3:
        return { type: 'finish', generation: words.next(), limit: words.next() }
      case 4:
        return { type: 'abandon', generation: words.next(), code: words.next() }
      case 5:
        return { type: 'sample', generation: words.next() }
      case 6:
        return { type: 'ping', generation: words.next() }
      case 7:
        return { type: 'buffer' }
      case 8:
        return { type: 'drop-oldest' }
      case 9:
        return { type: 'refuse-send' }
      case 10:
        return { type: 'drop-buffer' }
      case 11:
        return { type: 'entered', state: tunnelStateValues[words.next()] as TunnelState, within: number(words.next()) }
      case 12:
        return { type: 'stopped', reason: tunnelStopReasonValues[words.next()] as TunnelStopReason, code: number(words.next()) }
      default:
        return unknown(words)
    }
  },
}

/** The codec of each machine. */
export const codecs: { readonly [N in MachineName]: Codec<N> } = {
  'backoff': backoffCodec,
  'close-policy': closePolicyCodec,
  'directory': directoryCodec,
  'drain': drainCodec,
  'peer': peerCodec,
  'tunnel': tunnelCodec,
}
