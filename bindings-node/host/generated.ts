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

/** What an upgrade meets while older generations still drain (H4). */
export type WhileDraining =
  /** It is refused, with the reason. */
  | 'refuse'
  /** It waits for them, up to the queue limit. */
  | 'queue'

export const whileDrainingValues: readonly WhileDraining[] = ['refuse', 'queue']

/** Which protocol a successor speaks (H2). */
export type SuccessorProtocol =
  /** This one's: ready, acknowledgement, accepting. */
  | 'tidegate'
  /** Only systemd's: READY=1. */
  | 'systemd'

export const successorProtocolValues: readonly SuccessorProtocol[] = ['tidegate', 'systemd']

/** Why an upgrade was not begun. */
export type UpgradeRefusal =
  /** Another one is in flight or queued (H4). */
  | 'in-flight'
  /** Too many older generations still drain (H4). */
  | 'older-draining'
  /** Older generations still drained when the queue limit was over. */
  | 'queue-limit'
  /** It was cancelled while it was queued. */
  | 'cancelled'
  /** The process was told to stop. */
  | 'stopping'
  /** This generation has been replaced already: ask its successor. */
  | 'replaced'

export const upgradeRefusalValues: readonly UpgradeRefusal[] = ['in-flight', 'older-draining', 'queue-limit', 'cancelled', 'stopping', 'replaced']

/** What a service manager is told, by systemd's protocol (H8). */
export type ServiceNotice =
  /** RELOADING=1 with MONOTONIC_USEC, in one datagram. */
  | 'reloading'
  /** READY=1. */
  | 'ready'
  /**
   * MAINPID of the generation that serves now and READY=1, in one datagram: so it is the old main process,
   * which the manager still trusts, that ends the reload.
   */
  | 'main-pid'

export const serviceNoticeValues: readonly ServiceNotice[] = ['reloading', 'ready', 'main-pid']

/** Why an upgrade was rolled back (H1). */
export type RollbackCause =
  /** The successor could not be spawned: no such program, or the payload does not fit (H3). */
  | 'spawn-failed'
  /** Spawning took too long. */
  | 'spawn-limit'
  /** The successor ended. */
  | 'exited'
  /** It was not ready in time. */
  | 'ready-limit'
  /** It did not accept in time. */
  | 'accept-limit'
  /** It sent something else than the protocol, or out of turn. */
  | 'garbage'
  /** It closed its channel, and had not ended. */
  | 'channel-closed'
  /** It refused, for instance the state that it was given (H6). */
  | 'refused'
  /** It speaks a version that this one does not understand (H6). */
  | 'version'
  /** The state could not be captured, or is larger than allowed (H6). */
  | 'state-failed'
  /** Capturing the state took too long. */
  | 'state-limit'
  /** Nobody could say that it was alive after the settle time. */
  | 'not-alive'
  /** The upgrade was cancelled. */
  | 'cancelled'
  /** The process was told to stop. */
  | 'stopped'

export const rollbackCauseValues: readonly RollbackCause[] = ['spawn-failed', 'spawn-limit', 'exited', 'ready-limit', 'accept-limit', 'garbage', 'channel-closed', 'refused', 'version', 'state-failed', 'state-limit', 'not-alive', 'cancelled', 'stopped']

/** What a process does around an upgrade. */
export type HandoffTask =
  /** Killing and reaping the successor. */
  | 'kill'
  /** An undo hook. */
  | 'undo'
  /** Writing the PID file. */
  | 'pid-file'
  /** Passing the lease. */
  | 'lease'

export const handoffTaskValues: readonly HandoffTask[] = ['kill', 'undo', 'pid-file', 'lease']

/** Where the row of a gateway is (L1). */
export type LeaseState =
  /** In the pool. */
  | 'free'
  /** The handshake is under way. */
  | 'allocating'
  /** A life of the gateway holds it. */
  | 'active'
  /** The gateway is away, and may come back. */
  | 'held'
  /** The route is being removed. */
  | 'releasing'
  /** Out of the pool for a while. */
  | 'quarantined'
  /** Out of the pool. */
  | 'retired'

export const leaseStateValues: readonly LeaseState[] = ['free', 'allocating', 'active', 'held', 'releasing', 'quarantined', 'retired']

/** Why a command was refused. A refusal changes nothing. */
export type LeaseRefusal =
  /** A later epoch was granted since. */
  | 'stale-epoch'
  /** No such epoch was granted yet. */
  | 'never-granted'
  /** A later life of the gateway holds the lease or held it last; or this one stopped. */
  | 'fenced'
  /** The gateway has no lease that this could be about. */
  | 'no-lease'
  /** The handshake is under way: ask again. */
  | 'unconfirmed'
  /** Another organization has the gateway. */
  | 'taken'
  /** The organization's lease is being released: ask again. */
  | 'releasing'
  /** The gateway is out of the pool. */
  | 'unavailable'
  /** The request was granted before, and that lease is over. */
  | 'request-over'
  /** The gateway has a lease that would be cut by this. */
  | 'in-use'

export const leaseRefusalValues: readonly LeaseRefusal[] = ['stale-epoch', 'never-granted', 'fenced', 'no-lease', 'unconfirmed', 'taken', 'releasing', 'unavailable', 'request-over', 'in-use']

/** Why a gateway is held or quarantined. */
export type LeaseCause =
  /** Held: it announced a restart. */
  | 'restart'
  /** Held: it stopped as it had nothing to do. */
  | 'idle'
  /** Held: it did not renew. */
  | 'expired'
  /** Held: it was seen failing for longer than the suspicion window. */
  | 'suspected'
  /** Quarantined: the handshake failed, or its outcome never came. */
  | 'handshake'
  /** Quarantined: its route could not be removed. */
  | 'unroute'

export const leaseCauseValues: readonly LeaseCause[] = ['restart', 'idle', 'expired', 'suspected', 'handshake', 'unroute']

/** Why a lease is given up. */
export type LeaseLoss =
  /** It could not be renewed in time. */
  | 'unrenewed'
  /** Another life of the gateway has it, or it was ended. */
  | 'fenced'
  /** A successor has it. */
  | 'handed-over'

export const leaseLossValues: readonly LeaseLoss[] = ['unrenewed', 'fenced', 'handed-over']

/** How a holder ended. */
export type LeaseEnd =
  /** The granter knows. */
  | 'released'
  /** The granter could not be told: the lease expires. */
  | 'unreleased'
  /** Another has it. */
  | 'fenced'
  /** A successor has it. */
  | 'handed-over'
  /** There was none. */
  | 'never-held'
  /** Stopped before anybody could say whether there was one: if there was, it expires. */
  | 'unknown'

export const leaseEndValues: readonly LeaseEnd[] = ['released', 'unreleased', 'fenced', 'handed-over', 'never-held', 'unknown']

/** What of the boot a stop takes back, in this order. */
export type BootStep =
  /** The lease is released. */
  | 'lease'
  /** The control door is closed. */
  | 'control-door'
  /** What was initialised is cleaned up. */
  | 'initialise'

export const bootStepValues: readonly BootStep[] = ['lease', 'control-door', 'initialise']

/** Where the intent of a stop came from (Y3). */
export type IntentSource =
  /** The control call said it. */
  | 'control'
  /** The marker file said it. */
  | 'marker'
  /** The signal means it. */
  | 'signal'
  /** Nobody said it: it is the config's. */
  | 'default'
  /** A successor accepts, or serves on. */
  | 'handoff'
  /** The lease was lost. */
  | 'lease'
  /** The boot failed. */
  | 'boot'

export const intentSourceValues: readonly IntentSource[] = ['control', 'marker', 'signal', 'default', 'handoff', 'lease', 'boot']

/** Why a process exits. */
export type ExitCause =
  /** It was asked to stop. */
  | 'stopped'
  /** A successor serves. */
  | 'handed-over'
  /** It could not renew its lease, or never got the one that it needs. */
  | 'lease-lost'
  /** Another life of the gateway has the lease. */
  | 'fenced'
  /** The rows of earlier incarnations could not be cleared. */
  | 'clear-rows-failed'
  /** Clearing them took too long. */
  | 'clear-rows-limit'
  /** It could not initialise, for instance for a bad config. */
  | 'initialise-failed'
  /** It did not initialise in time. */
  | 'initialise-limit'
  /** The control door could not be opened. */
  | 'control-door-failed'
  /** Opening it took too long. */
  | 'control-door-limit'
  /** The public door could not be opened. */
  | 'public-door-failed'
  /** Opening it took too long. */
  | 'public-door-limit'
  /** The old process did not acknowledge in time. */
  | 'acknowledge-limit'
  /** The old process sent something else than the protocol, or out of turn. */
  | 'garbage'
  /** The old process closed the channel and lives. */
  | 'channel-closed'
  /** The old process speaks a version that this one does not understand. */
  | 'version'
  /** The state that was passed was refused. */
  | 'state-refused'
  /** Loading the state took too long. */
  | 'state-limit'
  /** It could not accept on the inherited sockets. */
  | 'accept-failed'
  /** Starting to accept took too long. */
  | 'accept-limit'

export const exitCauseValues: readonly ExitCause[] = ['stopped', 'handed-over', 'lease-lost', 'fenced', 'clear-rows-failed', 'clear-rows-limit', 'initialise-failed', 'initialise-limit', 'control-door-failed', 'control-door-limit', 'public-door-failed', 'public-door-limit', 'acknowledge-limit', 'garbage', 'channel-closed', 'version', 'state-refused', 'state-limit', 'accept-failed', 'accept-limit']

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

/** What takes back a step of a saga. */
export type Compensation =
  /** Its undo. */
  | 'undo'
  /** Nothing: once it is done there is only forward (G1). */
  | 'pivot'
  /** Nothing has to: it leaves nothing behind, or it comes after the pivot. */
  | 'nothing'

export const compensationValues: readonly Compensation[] = ['undo', 'pivot', 'nothing']

/** What a record of a journal says. */
export type SagaRecord =
  /** The saga began. `value`: the definition, a number of its graph. */
  | 'started'
  /** A do is about to start. */
  | 'intent'
  /** It is done. */
  | 'done'
  /** It failed, certainly without effect. */
  | 'failed'
  /** It may have an effect, or may come to have one. */
  | 'unknown'
  /** From here on only undos. `value`: the cause. */
  | 'unwinding'
  /** An undo is about to start. */
  | 'undo-intent'
  /** The step's effect is gone. */
  | 'undone'
  /** An undo or a fallback failed. `value`: 1 when it is unknown whether it did. */
  | 'undo-failed'
  /** A fallback is about to start. */
  | 'fallback-intent'
  /** The fallback is done: the step's effect is safe. */
  | 'fell-back'
  /** The step's effect is left behind. `value`: the reason. */
  | 'leaked'
  /** An operator has it tried again. */
  | 'retried'
  /** An operator has settled it. `value`: 1 when the effect is there. */
  | 'resolved'
  /** All effects are there. */
  | 'committed'
  /** None is. */
  | 'rolled-back'
  /** Some are left. */
  | 'stuck'

export const sagaRecordValues: readonly SagaRecord[] = ['started', 'intent', 'done', 'failed', 'unknown', 'unwinding', 'undo-intent', 'undone', 'undo-failed', 'fallback-intent', 'fell-back', 'leaked', 'retried', 'resolved', 'committed', 'rolled-back', 'stuck']

/** Why a saga did not commit. */
export type SagaCause =
  /** A step failed for good. */
  | 'step-failed'
  /** It is unknown what a step did. */
  | 'step-unknown'
  /** It was cancelled. */
  | 'cancelled'

export const sagaCauseValues: readonly SagaCause[] = ['step-failed', 'step-unknown', 'cancelled']

/** Why the effect of a step was left behind. */
export type LeakReason =
  /** Its undo failed. */
  | 'undo-failed'
  /** Its undo was made, and a probe still finds the effect. */
  | 'still-there'
  /** Its undo was made, and no probe could tell whether it worked. */
  | 'unverified'
  /** Its outcome is unknown, and it may still land: it is neither fenced nor has it a lateness (G3). */
  | 'may-land-late'
  /** An undo that it requires failed, and it has no fallback (G6). */
  | 'requirement'
  /** An undo that it requires failed, and so did its fallback. */
  | 'fallback-failed'
  /** The rollback deadline came first (G7). */
  | 'out-of-time'
  /** It is done, and the saga can be neither finished nor undone. */
  | 'unfinished'
  /** It is unknown whether it is there, and it can be neither verified, retried nor undone (G2). */
  | 'undecided'

export const leakReasonValues: readonly LeakReason[] = ['undo-failed', 'still-there', 'unverified', 'may-land-late', 'requirement', 'fallback-failed', 'out-of-time', 'unfinished', 'undecided']

/** Why a journal was refused. */
export type JournalFault =
  /** A record is missing, repeated or out of order. */
  | 'gap'
  /** It is the journal of another graph of steps. */
  | 'other-definition'
  /** It says what no saga could have done. */
  | 'impossible'

export const journalFaultValues: readonly JournalFault[] = ['gap', 'other-definition', 'impossible']

/** How a component is known to be ready (K1). */
export type ComponentReadiness =
  /** It runs. */
  | 'started'
  /** It has run for `ready_delay`. */
  | 'delay'
  /** Its socket exists, or takes a connection. */
  | 'socket'
  /** An HTTP probe succeeds. */
  | 'http'
  /** It says READY=1. */
  | 'notify'

export const componentReadinessValues: readonly ComponentReadiness[] = ['started', 'delay', 'socket', 'http', 'notify']

/** What happens when a component ends while the stack runs (K4). */
export type RestartPolicy =
  /** The stack is taken down. */
  | 'never'
  /** It is started again after an error or a signal; an exit with 0 takes the stack down. */
  | 'on-failure'
  /** It is started again. */
  | 'always'

export const restartPolicyValues: readonly RestartPolicy[] = ['never', 'on-failure', 'always']

/** What went wrong with a component. */
export type ComponentFailure =
  /** It could not be spawned. */
  | 'spawn'
  /** Spawning took too long. */
  | 'spawn-limit'
  /** It ended before it was ready. */
  | 'exited-early'
  /** It said, or its probe did, that it will not be ready. */
  | 'not-ready'
  /** It was not ready in time. */
  | 'ready-limit'
  /** It died while it was up. */
  | 'died'
  /** Its restarts are used up for now. */
  | 'restart-budget'
  /** The drain call failed. */
  | 'drain-call'
  /** The drain call took too long. */
  | 'drain-call-limit'
  /** Nobody can say whether it has drained. */
  | 'drain-unknown'
  /** It had not drained in time. */
  | 'drain-limit'
  /** It ended with an error when it was told to stop. */
  | 'unclean'
  /** It had to be killed. */
  | 'killed'
  /** It could not be killed or reaped in time. */
  | 'unreaped'

export const componentFailureValues: readonly ComponentFailure[] = ['spawn', 'spawn-limit', 'exited-early', 'not-ready', 'ready-limit', 'died', 'restart-budget', 'drain-call', 'drain-call-limit', 'drain-unknown', 'drain-limit', 'unclean', 'killed', 'unreaped']

/** Why a stack stops. */
export type StackStopCause =
  /** It was told to. */
  | 'asked'
  /** A component ended with 0 and is not started again. */
  | 'finished'
  /** A component died while running and is not started again (K4). */
  | 'died'
  /** A component failed while starting (K3). */
  | 'start-failed'

export const stackStopCauseValues: readonly StackStopCause[] = ['asked', 'finished', 'died', 'start-failed']

/** The worst that happened. Ordered: the exit code reflects it. */
export type StackOutcome =
  /** Nothing bad: exit code 0, or the config's for a restart. */
  | 'clean'
  /**
   * A drain failed or took too long, or a component ended with an error when it was told to stop:
   * `EXIT_STEP_FAILED`.
   */
  | 'step-failed'
  /** A component had to be killed, or could not be: `EXIT_FORCED`. */
  | 'forced'
  /** A component died: `EXIT_DIED`. */
  | 'died'
  /** A component failed while starting: `EXIT_START_FAILED`. */
  | 'start-failed'

export const stackOutcomeValues: readonly StackOutcome[] = ['clean', 'step-failed', 'forced', 'died', 'start-failed']

/** Why a successor gave up. The exit names it. */
export type GiveUpCause =
  /** It could not initialise, for instance for a bad config. */
  | 'initialise-failed'
  /** It did not initialise in time. */
  | 'initialise-limit'
  /** The old process did not acknowledge in time. */
  | 'acknowledge-limit'
  /** The old process sent something else than the protocol, or out of turn. */
  | 'garbage'
  /** The old process closed the channel and lives. */
  | 'channel-closed'
  /** The old process speaks a version that this one does not understand (H6). */
  | 'version'
  /** The state that was passed was refused (H6). */
  | 'state-refused'
  /** Loading the state took too long. */
  | 'state-limit'
  /** It could not accept on the sockets. */
  | 'accept-failed'
  /** Starting to accept took too long. */
  | 'accept-limit'
  /** It was told to stop. */
  | 'stopped'

export const giveUpCauseValues: readonly GiveUpCause[] = ['initialise-failed', 'initialise-limit', 'acknowledge-limit', 'garbage', 'channel-closed', 'version', 'state-refused', 'state-limit', 'accept-failed', 'accept-limit', 'stopped']

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

/** How a process is replaced by its successor. */
export interface HandoffConfig {
  /**
   * How long starting the successor's process may take. Milliseconds.
   *
   * Default: `5000`.
   */
  readonly spawnLimit?: number | undefined
  /**
   * How long it may initialise. Milliseconds. Long, as the old one serves meanwhile.
   *
   * Default: `60000`.
   */
  readonly readyLimit?: number | undefined
  /**
   * How long after the acknowledgement it may take to accept. Milliseconds.
   *
   * Default: `5000`.
   */
  readonly acceptLimit?: number | undefined
  /**
   * How long a child that knows only systemd's protocol must stay alive after READY=1 (H2). Milliseconds.
   *
   * Default: `1000`.
   */
  readonly settle?: number | undefined
  /**
   * How long the last look before a kill may take (H1). Milliseconds.
   *
   * Default: `500`.
   */
  readonly lookLimit?: number | undefined
  /**
   * How long killing and reaping may take. Milliseconds.
   *
   * Default: `2000`.
   */
  readonly killLimit?: number | undefined
  /**
   * Whether a state is passed (H6).
   *
   * Default: `false`.
   */
  readonly state?: boolean | undefined
  /**
   * How long capturing it may take. Milliseconds.
   *
   * Default: `5000`.
   */
  readonly stateLimit?: number | undefined
  /**
   * The most bytes of it; more fails the upgrade.
   *
   * Default: `67108864`.
   */
  readonly stateMost?: number | undefined
  /**
   * Whether there is a PID file, to be written once the successor accepts (H5).
   *
   * Default: `false`.
   */
  readonly pidFile?: boolean | undefined
  /**
   * Whether there is a lease, to be passed once the successor accepts (H7).
   *
   * Default: `false`.
   */
  readonly lease?: boolean | undefined
  /**
   * How long writing the PID file and passing the lease may take, each. Milliseconds.
   *
   * Default: `2000`.
   */
  readonly taskLimit?: number | undefined
  /**
   * How long this generation may drain. Milliseconds; above the kill budget of its drain, which has limits of
   * its own, so that this one only ends what hangs.
   *
   * Default: `60000`.
   */
  readonly drainLimit?: number | undefined
  /**
   * What an upgrade meets while as many older generations drain as may (H4).
   *
   * Default: `'refuse'`.
   */
  readonly whileDraining?: WhileDraining | undefined
  /**
   * How long a queued upgrade may wait. Milliseconds.
   *
   * Default: `60000`.
   */
  readonly queueLimit?: number | undefined
  /**
   * How many generations may drain at the same time, this one included when it is replaced (H4).
   *
   * Default: `1`.
   */
  readonly mostDraining?: number | undefined
  /**
   * What is taken back when an upgrade fails, in order (H1).
   *
   * Default: `[]`.
   */
  readonly undo?: readonly UndoHook[] | undefined
}

/** What is taken back when an upgrade fails (H1). The host knows it by its place in the list. */
export interface UndoHook {
  /**
   * Its name, in reports.
   *
   * Default: `''`.
   */
  readonly name?: string | undefined
  /**
   * Its time limit. Milliseconds.
   *
   * Default: `2000`.
   */
  readonly limit?: number | undefined
}

/** The terms on which gateways are leased. */
export interface LeaseConfig {
  /**
   * How long a lease lasts past its last renew. Milliseconds. It must leave its holder the time for a whole
   * drain after two renews were lost; so it is twice the usual kill budget.
   *
   * Default: `60000`.
   */
  readonly term?: number | undefined
  /**
   * How long a gateway that restarts or vanished keeps its organization. Milliseconds. Long enough for a
   * process to be scheduled, pulled and started elsewhere.
   *
   * Default: `120000`.
   */
  readonly grace?: number | undefined
  /**
   * How long a gateway that stopped because it had nothing to do keeps its organization; 0: not at all.
   * Milliseconds.
   *
   * Default: `0`.
   */
  readonly idleHold?: number | undefined
  /**
   * How long an allocation may take until its handshake is confirmed (L3). Milliseconds.
   *
   * Default: `30000`.
   */
  readonly allocateLimit?: number | undefined
  /**
   * How long one attempt to un-route may take. Milliseconds.
   *
   * Default: `10000`.
   */
  readonly unrouteLimit?: number | undefined
  /**
   * How often un-routing is tried before the gateway is quarantined and reported.
   *
   * Default: `3`.
   */
  readonly unrouteAttempts?: number | undefined
  /**
   * The pause between two attempts. Milliseconds.
   *
   * Default: `1000`.
   */
  readonly unroutePause?: number | undefined
  /**
   * The first quarantine; each further one without a lease between lasts twice as long. Milliseconds.
   *
   * Default: `30000`.
   */
  readonly quarantine?: number | undefined
  /**
   * The longest quarantine. Milliseconds.
   *
   * Default: `3600000`.
   */
  readonly quarantineMax?: number | undefined
  /**
   * How long after a bad observation another one must come to end a lease (L7). Milliseconds. Long enough
   * for a lost packet, a paused process or a reload.
   *
   * Default: `10000`.
   */
  readonly suspicion?: number | undefined
  /**
   * How long a predecessor is honoured beside its successor by handoff (H7). Milliseconds. A drain's time.
   *
   * Default: `30000`.
   */
  readonly handoff?: number | undefined
}

/** How a gateway holds its lease. */
export interface LeaseHolderConfig {
  /**
   * The granter's term. Milliseconds. An answer that grants less is believed, one that grants more is not.
   *
   * Default: `60000`.
   */
  readonly term?: number | undefined
  /**
   * The longest that a drain takes: its kill budget. Milliseconds.
   *
   * Default: `30000`.
   */
  readonly drain?: number | undefined
  /**
   * What must be left of the lease when serving has ended. Milliseconds, at least 1.
   *
   * Default: `1000`.
   */
  readonly margin?: number | undefined
  /**
   * How much faster the granter's clock may run than this one, in thousandths. 0 to 500. Quartz drifts by
   * less than one; the rest is for virtual machines that are paused and clocks that are slewed.
   *
   * Default: `10`.
   */
  readonly drift?: number | undefined
  /**
   * How long one question to the granter may take. Milliseconds.
   *
   * Default: `5000`.
   */
  readonly askLimit?: number | undefined
  /**
   * How long telling the granter of a stop may take, retries included. Milliseconds.
   *
   * Default: `8000`.
   */
  readonly releaseLimit?: number | undefined
  /** The delays between questions that nobody could answer. */
  readonly retry?: BackoffPolicy | undefined
}

/** The whole of a gateway process. Which of its parts exist is said by what is set. */
export interface LifecycleConfig {
  /**
   * Whether there is a directory whose rows of earlier incarnations are cleared before anything is opened (R3).
   *
   * Default: `false`.
   */
  readonly clearRows?: boolean | undefined
  /**
   * How long that may take. Milliseconds.
   *
   * Default: `5000`.
   */
  readonly clearRowsLimit?: number | undefined
  /**
   * How long initialising may take. Milliseconds. Of a successor `successor.initialise_limit` counts.
   *
   * Default: `55000`.
   */
  readonly initialiseLimit?: number | undefined
  /**
   * How long cleaning up what was initialised may take. Milliseconds.
   *
   * Default: `2000`.
   */
  readonly cleanUpLimit?: number | undefined
  /**
   * Whether there is a control door: health, and the handshake of an allocation.
   *
   * Default: `true`.
   */
  readonly controlDoor?: boolean | undefined
  /**
   * How long opening or closing a door may take. Milliseconds. A serving public door closes by the drain's times.
   *
   * Default: `2000`.
   */
  readonly doorLimit?: number | undefined
  /**
   * What a stop by a signal is for when neither a marker nor the signal says it (Y3).
   *
   * Default: `'restart'`.
   */
  readonly defaultIntent?: Intent | undefined
  /**
   * The number of this process, with which a marker file must be signed to count (Y3).
   *
   * Default: `0`.
   */
  readonly instance?: number | undefined
  /**
   * How old a marker file may be to count (Y3). Milliseconds.
   *
   * Default: `60000`.
   */
  readonly markerAge?: number | undefined
  /**
   * How long a successor that was not told of a lease may serve without one of its own (H7). Milliseconds.
   *
   * Default: `2000`.
   */
  readonly inheritLimit?: number | undefined
  /** How it stops. Its kill budget also covers what is taken back of the boot. */
  readonly drain?: DrainConfig | undefined
  /**
   * How it is replaced by a successor; none: it never is.
   *
   * Default: `none`.
   */
  readonly handoff?: HandoffConfig | null | undefined
  /**
   * How it takes over from an old process; none: it never does.
   *
   * Default: `none`.
   */
  readonly successor?: SuccessorConfig | null | undefined
  /**
   * The lease that it needs to serve; none: it needs none.
   *
   * Default: `none`.
   */
  readonly lease?: LeaseHolderConfig | null | undefined
}

/** How a process takes over from an old one. */
export interface SuccessorConfig {
  /**
   * How long initialising may take. Milliseconds; below the old side's `ready_limit`, so that it is this side
   * that says what is wrong.
   *
   * Default: `55000`.
   */
  readonly initialiseLimit?: number | undefined
  /**
   * How long the old process may take to acknowledge, its capturing of the state included. Milliseconds.
   *
   * Default: `15000`.
   */
  readonly acknowledgeLimit?: number | undefined
  /**
   * How long loading the state may take. Milliseconds. With `accept_limit` below the old side's `accept_limit`.
   *
   * Default: `2000`.
   */
  readonly stateLimit?: number | undefined
  /**
   * How long starting to accept may take. Milliseconds.
   *
   * Default: `2000`.
   */
  readonly acceptLimit?: number | undefined
  /**
   * How long after its channel closed the old process may take to be gone. Milliseconds.
   *
   * Default: `500`.
   */
  readonly goneLimit?: number | undefined
  /**
   * Whether there is a PID file, which a promoted successor writes itself (H5).
   *
   * Default: `false`.
   */
  readonly pidFile?: boolean | undefined
  /**
   * How long writing it may take. Milliseconds.
   *
   * Default: `2000`.
   */
  readonly pidFileLimit?: number | undefined
  /**
   * Whether there is a lease to take once it accepts (H7).
   *
   * Default: `false`.
   */
  readonly lease?: boolean | undefined
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

/** A saga. */
export interface SagaConfig {
  /**
   * The steps: a graph by their `after` (G1).
   *
   * Default: `[]`.
   */
  readonly steps?: readonly SagaStep[] | undefined
  /**
   * How long a rollback may take; then what is left is reported (G7). Milliseconds.
   *
   * Default: `300000`.
   */
  readonly rollbackDeadline?: number | undefined
  /**
   * How long making a record durable may take; then the saga halts (G4). Milliseconds.
   *
   * Default: `5000`.
   */
  readonly appendLimit?: number | undefined
}

/** A step of a saga. The host knows it by its place in the list. */
export interface SagaStep {
  /**
   * Its name, in errors and reports.
   *
   * Default: `''`.
   */
  readonly name?: string | undefined
  /**
   * The steps that must be done before it.
   *
   * Default: `[]`.
   */
  readonly after?: readonly string[] | undefined
  /**
   * What takes it back.
   *
   * Default: `'undo'`.
   */
  readonly compensation?: Compensation | undefined
  /**
   * How often it is tried again after a failure without effect, or of unknown outcome if it is `idempotent`.
   *
   * Default: `0`.
   */
  readonly retries?: number | undefined
  /**
   * The delays between attempts, of undos and probes too.
   *
   * Default: `'default() }'`.
   */
  readonly backoff?: BackoffPolicy | undefined
  /**
   * How long an attempt may take; then its outcome is unknown. Milliseconds.
   *
   * Default: `10000`.
   */
  readonly limit?: number | undefined
  /**
   * Whether the key makes a second attempt safe when it is unknown what the first one did (G2, G3).
   *
   * Default: `false`.
   */
  readonly idempotent?: boolean | undefined
  /**
   * Whether the resource refuses a do that arrives after its undo or its fallback (G3). Only a certain undo is
   * a fence: a `lateness` beside it covers an undo of unknown outcome.
   *
   * Default: `false`.
   */
  readonly fenced?: boolean | undefined
  /**
   * Whether it can be probed for being there.
   *
   * Default: `false`.
   */
  readonly verify?: boolean | undefined
  /**
   * How long a probe may take. Milliseconds.
   *
   * Default: `5000`.
   */
  readonly verifyLimit?: number | undefined
  /**
   * How long after its limit a do of unknown outcome may still land, if that is known; needs `verify` (G3). Milliseconds.
   *
   * Default: `none`.
   */
  readonly lateness?: number | null | undefined
  /**
   * How often its undo, its fallback and a probe are tried again.
   *
   * Default: `3`.
   */
  readonly undoRetries?: number | undefined
  /**
   * How long an undo, or a fallback, may take. Milliseconds.
   *
   * Default: `10000`.
   */
  readonly undoLimit?: number | undefined
  /**
   * The steps whose effects must be gone before this one may be undone (G6).
   *
   * Default: `[]`.
   */
  readonly undoRequires?: readonly string[] | undefined
  /**
   * Whether it has a fallback for when they are not: a gateway that may still be routed is quarantined, not freed.
   *
   * Default: `false`.
   */
  readonly fallback?: boolean | undefined
}

/** How a stack starts and stops. */
export interface StackConfig {
  /**
   * Its components, in any order.
   *
   * Default: `[]`.
   */
  readonly components?: readonly StackComponent[] | undefined
  /**
   * How long starting a process may take. Milliseconds.
   *
   * Default: `5000`.
   */
  readonly spawnLimit?: number | undefined
  /**
   * How long a killed process may take to end. Milliseconds.
   *
   * Default: `500`.
   */
  readonly killLimit?: number | undefined
  /**
   * How long reaping may take, and killing what is left of its group. Milliseconds.
   *
   * Default: `500`.
   */
  readonly reapLimit?: number | undefined
  /**
   * How long the platform waits before it kills (Kubernetes: 30 s). Milliseconds.
   *
   * Default: `30000`.
   */
  readonly killBudget?: number | undefined
  /**
   * What must be left of the budget for the exit itself. Milliseconds.
   *
   * Default: `1000`.
   */
  readonly margin?: number | undefined
  /**
   * Two stop signals closer than this count as one. Milliseconds.
   *
   * Default: `500`.
   */
  readonly signalMerge?: number | undefined
  /**
   * The exit code of a clean stop for a restart, for supervisors that tell it by one.
   *
   * Default: `0`.
   */
  readonly restartExitCode?: number | undefined
}

/** One process of a stack. The host knows it by its place in the list. */
export interface StackComponent {
  /**
   * Its name, in errors and reports.
   *
   * Default: `''`.
   */
  readonly name?: string | undefined
  /**
   * The names of those it needs: it starts after they are ready, and they stop after it is gone (K1, K2).
   *
   * Default: `[]`.
   */
  readonly after?: readonly string[] | undefined
  /**
   * How it is known to be ready.
   *
   * Default: `'started'`.
   */
  readonly ready?: ComponentReadiness | undefined
  /**
   * For `delay`: how long it must have run. Milliseconds.
   *
   * Default: `1000`.
   */
  readonly readyDelay?: number | undefined
  /**
   * How long it may take to be ready. Milliseconds.
   *
   * Default: `15000`.
   */
  readonly readyLimit?: number | undefined
  /**
   * What happens when it ends while the stack runs.
   *
   * Default: `'on-failure'`.
   */
  readonly restart?: RestartPolicy | undefined
  /** The delays between restarts. */
  readonly backoff?: BackoffPolicy | undefined
  /**
   * How long it must be up for the delays to begin anew. Milliseconds.
   *
   * Default: `10000`.
   */
  readonly stableAfter?: number | undefined
  /**
   * How many restarts are allowed in `restart_window`; 0: none.
   *
   * Default: `5`.
   */
  readonly restartBudget?: number | undefined
  /**
   * The window of `restart_budget`. Milliseconds.
   *
   * Default: `60000`.
   */
  readonly restartWindow?: number | undefined
  /**
   * Whether there is a drain call, before the signal.
   *
   * Default: `false`.
   */
  readonly drain?: boolean | undefined
  /**
   * How long that call may take. Milliseconds.
   *
   * Default: `1000`.
   */
  readonly drainCallLimit?: number | undefined
  /**
   * How long it may take after the call until it is empty. Milliseconds.
   *
   * Default: `15000`.
   */
  readonly drainLimit?: number | undefined
  /**
   * How long its own drain takes, if that is known (Envoy's `--drain-time-s`); 0: unknown. A longer one than
   * `drain_limit` closes almost nothing in that time, so it is refused. Milliseconds.
   *
   * Default: `0`.
   */
  readonly drainTime?: number | undefined
  /**
   * The signal that tells it to stop.
   *
   * Default: `15`.
   */
  readonly stopSignal?: number | undefined
  /**
   * How long after the signal it may live before it is killed. Milliseconds.
   *
   * Default: `3000`.
   */
  readonly stopLimit?: number | undefined
  /**
   * Whether it can be replaced by a hot restart, so that older generations of it may still drain.
   *
   * Default: `false`.
   */
  readonly upgradable?: boolean | undefined
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
  /**
   * Out of time: tell what there is if the last `load` is no longer true, cut everything that is
   * left, then answer `load` until nothing is.
   */
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

/** What happened around an upgrade. `generation` is the operation that spawned the successor. */
export type HandoffInput =
  /** Somebody asks for an upgrade. */
  | {
      readonly type: 'upgrade'
    }
  /** Somebody takes the upgrade back; a no-op once the successor accepts. */
  | {
      readonly type: 'cancel'
    }
  /** The process is told to stop: what is in flight is rolled back, and no upgrade begins any more. */
  | {
      readonly type: 'stop'
    }
  /** How many older generations still drain: at the start, and whenever it changes (H4). */
  | {
      readonly type: 'older-generations'
      /** How many. */
      readonly draining: number
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
  /** The successor says that it has initialised (H2). */
  | {
      readonly type: 'ready'
      /** Which successor. */
      readonly generation: number
      /** The protocol in which it said so. */
      readonly speaks: SuccessorProtocol
      /** The version of the messages that it speaks; of no meaning for systemd's. */
      readonly version: number
    }
  /** The successor says that it accepts (H2). */
  | {
      readonly type: 'accepting'
      /** Which successor. */
      readonly generation: number
    }
  /** The successor says that it will not take over (H6). */
  | {
      readonly type: 'refused'
      /** Which successor. */
      readonly generation: number
    }
  /** The successor's channel carried something else than the protocol. */
  | {
      readonly type: 'garbage'
      /** Which successor. */
      readonly generation: number
    }
  /** The successor's channel has closed: the process ends, or has lost its way. */
  | {
      readonly type: 'channel-closed'
      /** Which successor. */
      readonly generation: number
    }
  /** The successor has ended and was reaped. */
  | {
      readonly type: 'exited'
      /** Which successor. */
      readonly generation: number
    }
  /** The drain of this generation is over (H7). */
  | {
      readonly type: 'drained'
    }

/** What a process that is replaced wants done. */
export type HandoffEffect =
  /** A report: the upgrade waits until older generations are gone (H4). */
  | {
      readonly type: 'queued'
      /** At most so long. Milliseconds. */
      readonly limit: number
    }
  /** A report: there is no upgrade, for this reason. */
  | {
      readonly type: 'refused'
      /** The reason. */
      readonly why: UpgradeRefusal
    }
  /** Tell the service manager, if there is one (H8). */
  | {
      readonly type: 'notify'
      /** What. */
      readonly notice: ServiceNotice
    }
  /**
   * Start the successor with the listening sockets (H3); answer done when it runs. It is called by this
   * operation from now on.
   */
  | {
      readonly type: 'spawn'
      /** Which answer. */
      readonly operation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Capture the state for the successor; answer failed when it is larger than allowed (H6). */
  | {
      readonly type: 'capture-state'
      /** Which answer. */
      readonly operation: number
      /** The most bytes. */
      readonly most: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Tell the successor that it may accept (H2). */
  | {
      readonly type: 'acknowledge'
      /** Which successor. */
      readonly generation: number
      /** The version of the messages that both speak (H6). */
      readonly version: number
      /** Whether the captured state goes with it. */
      readonly state: boolean
    }
  /** Read what has arrived from the successor and whether it lives; tell that first, then answer done (H1). */
  | {
      readonly type: 'look'
      /** Which answer. */
      readonly operation: number
      /** Which successor. */
      readonly generation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /**
   * Kill the successor and all of its group, reap it, answer done. If it was never there, see that it will
   * not come.
   */
  | {
      readonly type: 'kill'
      /** Which answer. */
      readonly operation: number
      /** Which successor. */
      readonly generation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Run an undo hook of the config; answer done or failed. */
  | {
      readonly type: 'run-undo'
      /** Which answer. */
      readonly operation: number
      /** Its place in the config's list. */
      readonly hook: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** A report: the upgrade failed, and everything is as before it (H1). */
  | {
      readonly type: 'rolled-back'
      /** Which successor. */
      readonly generation: number
      /** Why. */
      readonly cause: RollbackCause
    }
  /** A report: the successor accepts. There is no way back from here. */
  | {
      readonly type: 'accepted'
      /** Which successor. */
      readonly generation: number
    }
  /** Write the successor's process id to the PID file; answer done or failed (H5). */
  | {
      readonly type: 'write-pid-file'
      /** Which answer. */
      readonly operation: number
      /** Which successor. */
      readonly generation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Let the successor have the lease; answer done or failed (H7). */
  | {
      readonly type: 'pass-lease'
      /** Which answer. */
      readonly operation: number
      /** Which successor. */
      readonly generation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Begin the drain of this generation, and say `drained` when it is over (H7). */
  | {
      readonly type: 'begin-drain'
      /** A handoff: what the successor holds is not released. */
      readonly intent: Intent
    }
  /** A report: a task is over without success; the others go on. */
  | {
      readonly type: 'task-failed'
      /** Which. */
      readonly task: HandoffTask
      /** The place of an undo hook in the config's list. */
      readonly hook: number | null
      /** Whether it was given up at its limit rather than failing. */
      readonly timedOut: boolean
    }
  /** A report: the successor ended while this generation drained. What it had accepted is lost. */
  | {
      readonly type: 'successor-lost'
      /** Which successor. */
      readonly generation: number
    }
  /** This generation is gone: the process exits. */
  | {
      readonly type: 'gone'
      /** Whether its drain was over; otherwise the drain limit was. */
      readonly drained: boolean
    }

/** Why a `handoff` wants to be woken. */
export type HandoffWhy =
  /** A queued upgrade has waited long enough. */
  | 'queue-limit'
  /** Spawning has had its time. */
  | 'spawn-limit'
  /** The successor has had its time to initialise. */
  | 'ready-limit'
  /** Capturing the state has had its time. */
  | 'state-limit'
  /** The successor has had its time to accept. */
  | 'accept-limit'
  /** The settle time is over. */
  | 'settled'
  /** The host has had its time to look. */
  | 'look-limit'
  /** Killing has had its time. */
  | 'kill-limit'
  /** An undo hook has had its time. */
  | 'undo-limit'
  /** Writing the PID file has had its time. */
  | 'pid-file-limit'
  /** Passing the lease has had its time. */
  | 'lease-limit'
  /** This generation has had its time to drain. */
  | 'drain-limit'

/** A command on the row of one gateway. */
export type LeaseInput =
  /** Give the gateway to an organization (L2). */
  | {
      readonly type: 'allocate'
      /** Which organization, by the number that the store gave to it. */
      readonly organization: number
      /** Which request; the same at each retry. */
      readonly request: number
    }
  /** The handshake with the gateway succeeded (L3). */
  | {
      readonly type: 'confirm'
      /** The epoch of the allocation. */
      readonly epoch: number
      /** Which life of the gateway it was made with; a later life has a greater one. */
      readonly incarnation: number
    }
  /** The handshake with the gateway failed (L3). */
  | {
      readonly type: 'handshake-failed'
      /** The epoch of the allocation. */
      readonly epoch: number
    }
  /** The holder lives (L6). */
  | {
      readonly type: 'renew'
      /** Its epoch. */
      readonly epoch: number
    }
  /** A gateway that starts asks whether it has a lease, and takes it (L5). */
  | {
      readonly type: 'claim'
      /** Which life of the gateway asks. */
      readonly incarnation: number
      /** The epoch of the process that handed over to this one, if one did (H7). */
      readonly predecessor?: number | null | undefined
    }
  /** The holder stops, or the allocation is taken back (L4). */
  | {
      readonly type: 'stop'
      /** Its epoch. */
      readonly epoch: number
      /** What the stop is for. */
      readonly intent: Intent
    }
  /** Somebody looked at the gateway from outside (L7). */
  | {
      readonly type: 'observe'
      /** The epoch that it was believed to have. */
      readonly epoch: number
      /** Whether it answered as it should. */
      readonly well: boolean
    }
  /** No route leads to the gateway any more. */
  | {
      readonly type: 'unrouted'
      /** The epoch of the lease whose route it was. */
      readonly epoch: number
    }
  /** An attempt to un-route failed. */
  | {
      readonly type: 'unroute-failed'
      /** The epoch of the lease whose route it is. */
      readonly epoch: number
      /** Which attempt. */
      readonly attempt: number
    }
  /** Whether a call that carries this epoch may be served (L6). */
  | {
      readonly type: 'verify'
      /** The epoch. */
      readonly epoch: number
    }
  /** An operator says that no route is left and the gateway is fit (L7). */
  | {
      readonly type: 'release'
      /** The epoch of the lease that ended. */
      readonly epoch: number
    }
  /** An operator takes the gateway out of the pool. */
  | {
      readonly type: 'retire'
    }
  /** An operator puts a retired gateway back. */
  | {
      readonly type: 'reinstate'
    }
  /** What does the row say? */
  | {
      readonly type: 'look'
    }

/**
 * The granter's answer to a command (`is_answer`), one in the step of each command; and what follows from
 * a change of the row, before the answer where time had led it on.
 */
export type LeaseEffect =
  /** Allocated: make the route and the handshake. */
  | {
      readonly type: 'allocated'
      /** The new epoch. */
      readonly epoch: number
      /** How long until it must be confirmed. Milliseconds. */
      readonly limit: number
    }
  /** The organization has this gateway already. */
  | {
      readonly type: 'already-allocated'
      /** How far it is: allocating, active or held. */
      readonly state: LeaseState
      /** The epoch. */
      readonly epoch: number
      /** The request that it was allocated for. */
      readonly request: number
    }
  /** Confirmed: the gateway holds the lease. */
  | {
      readonly type: 'confirmed'
      /** The epoch. */
      readonly epoch: number
      /** How long the lease lasts from now. Milliseconds. */
      readonly term: number
    }
  /** Renewed. */
  | {
      readonly type: 'renewed'
      /** The epoch. */
      readonly epoch: number
      /** How long the lease lasts from now. Milliseconds. */
      readonly term: number
    }
  /** The gateway has its lease back. */
  | {
      readonly type: 'reclaimed'
      /** The new epoch. */
      readonly epoch: number
      /** Whose gateway it is, as before. */
      readonly organization: number
      /** How long the lease lasts from now. Milliseconds. */
      readonly term: number
    }
  /** Done, or it was so already. */
  | {
      readonly type: 'accepted'
      /** The state of the row now. */
      readonly state: LeaseState
      /** The last epoch. */
      readonly epoch: number
    }
  /** The epoch is the one that holds. */
  | {
      readonly type: 'valid'
      /** The epoch. */
      readonly epoch: number
      /** How long it will be, as far as is known. Milliseconds. */
      readonly left: number
    }
  /** Refused, and nothing has changed. */
  | {
      readonly type: 'refused'
      /** Why. */
      readonly refusal: LeaseRefusal
      /** The last epoch that was granted. Never to be used by who was refused. */
      readonly epoch: number
    }
  /** The row. */
  | {
      readonly type: 'row'
      /** Its state. */
      readonly state: LeaseState
      /** The last epoch. */
      readonly epoch: number
      /** Whose it is, or whose route may be left. */
      readonly organization: number | null
      /** The last request that was granted. */
      readonly request: number | null
      /** The latest life of the gateway that held it. */
      readonly incarnation: number
      /** What is left of the state's time. Milliseconds. */
      readonly left: number | null
      /** Why it is held or quarantined. */
      readonly cause: LeaseCause | null
      /** How often in a row it was quarantined. */
      readonly failures: number
    }
  /** A report: the row is in another state, or has another epoch. */
  | {
      readonly type: 'entered'
      /** The state. */
      readonly state: LeaseState
      /** The last epoch. */
      readonly epoch: number
      /** Whose it is, or whose route may be left. */
      readonly organization: number | null
      /** Why it is held or quarantined. */
      readonly cause: LeaseCause | null
    }
  /** Remove the route of that organization to this gateway; answer unrouted or un-route failed. */
  | {
      readonly type: 'unroute'
      /** The epoch of the lease that ended. */
      readonly epoch: number
      /** Whose route. */
      readonly organization: number
      /** Counted from 1. */
      readonly attempt: number
      /** It counts as failed after this. Milliseconds. */
      readonly limit: number
    }
  /** A report, for an operator: the route of a lease that is over could not be removed. */
  | {
      readonly type: 'route-left'
      /** The epoch of the lease that ended. */
      readonly epoch: number
      /** Whose route. */
      readonly organization: number
    }

/** Why a `lease` wants to be woken. */
export type LeaseWhy =
  /** The handshake has had its time. */
  | 'allocate-limit'
  /** The term is over. */
  | 'expiry'
  /** The grace period is over. */
  | 'grace-over'
  /** The attempt to un-route has had its time. */
  | 'unroute-limit'
  /** The next attempt to un-route is due. */
  | 'unroute-retry'
  /** The quarantine is over. */
  | 'quarantine-over'

/** What happened to a gateway that holds a lease, or wants one. */
export type LeaseHolderInput =
  /** The process is up: is there a lease? */
  | {
      readonly type: 'boot'
      /** The epoch of the process that handed over to this one, if one did (H7). */
      readonly predecessor?: number | null | undefined
    }
  /** The claim was granted. */
  | {
      readonly type: 'mine'
      /** Which claim. */
      readonly operation: number
      /** The epoch. */
      readonly epoch: number
      /** How long it was granted for. Milliseconds. */
      readonly term: number
    }
  /** There is no lease for this gateway. Definite. */
  | {
      readonly type: 'not-mine'
      /** Which claim. */
      readonly operation: number
      /** Whether that is because another life of the gateway has it. */
      readonly fenced: boolean
    }
  /** The control plane made the handshake: this gateway was allocated. */
  | {
      readonly type: 'granted'
      /** The epoch. */
      readonly epoch: number
    }
  /** The confirmation or the renew was granted. */
  | {
      readonly type: 'renewed'
      /** Which one. */
      readonly operation: number
      /** How long it was granted for. Milliseconds. */
      readonly term: number
    }
  /** The granter said no: the lease is another's, or over. Definite. */
  | {
      readonly type: 'refused'
      /** Which confirmation, renew or release. */
      readonly operation: number
    }
  /** Nobody could say: an error, a time-out, no connection, or a handshake that is under way. */
  | {
      readonly type: 'cannot-know'
      /** Which question. */
      readonly operation: number
    }
  /** The granter knows of the stop. */
  | {
      readonly type: 'released'
      /** Which release. */
      readonly operation: number
    }
  /** A call that carried this epoch was refused for it. */
  | {
      readonly type: 'fenced'
      /** The epoch. */
      readonly epoch: number
    }
  /** A successor accepts: the lease passes to it (H7). */
  | {
      readonly type: 'handed-over'
    }
  /** The drain that was asked for is over: nothing is served any more. */
  | {
      readonly type: 'drained'
    }
  /** Serving has ended for this reason: tell the granter. */
  | {
      readonly type: 'stop'
      /** The reason. */
      readonly intent: Intent
    }

/** What a lease holder wants done. */
export type LeaseHolderEffect =
  /** Ask for the lease; answer mine, not mine or cannot know. */
  | {
      readonly type: 'claim'
      /** Which answer. */
      readonly operation: number
      /** No answer after this is cannot know. Milliseconds. */
      readonly limit: number
      /** The epoch of the process that handed over to this one. */
      readonly predecessor: number | null
    }
  /** Say that the handshake succeeded; answer renewed, refused or cannot know. */
  | {
      readonly type: 'confirm'
      /** Which answer. */
      readonly operation: number
      /** The epoch of the handshake. */
      readonly epoch: number
      /** No answer after this is cannot know. Milliseconds. */
      readonly limit: number
    }
  /** Renew the lease; answer renewed, refused or cannot know. */
  | {
      readonly type: 'renew'
      /** Which answer. */
      readonly operation: number
      /** The epoch. */
      readonly epoch: number
      /** No answer after this is cannot know. Milliseconds. */
      readonly limit: number
    }
  /** The lease is held: open the public door. Every call carries the epoch. */
  | {
      readonly type: 'serve'
      /** The epoch. */
      readonly epoch: number
    }
  /** A report: there is definitely no lease; a handshake may come. */
  | {
      readonly type: 'idle'
    }
  /** A report: nobody could say; asked again after this delay. */
  | {
      readonly type: 'cannot-know'
      /** How often in a row. */
      readonly attempt: number
      /** From now. Milliseconds. */
      readonly delay: number
    }
  /** Drain, and say drained; then the process is to exit. */
  | {
      readonly type: 'drain'
      /** Why. */
      readonly loss: LeaseLoss
      /** Serving must have ended by then. Milliseconds from now. */
      readonly within: number
    }
  /** Out of time: stop serving at once. */
  | {
      readonly type: 'halt'
    }
  /** Tell the granter of the stop; answer released, refused or cannot know. */
  | {
      readonly type: 'release'
      /** Which answer. */
      readonly operation: number
      /** The epoch. */
      readonly epoch: number
      /** What the stop is for. */
      readonly intent: Intent
      /** No answer after this is cannot know. Milliseconds. */
      readonly limit: number
    }
  /** A report: it is over for this life of the process. */
  | {
      readonly type: 'over'
      /** How it ended. */
      readonly end: LeaseEnd
    }

/** Why a `lease-holder` wants to be woken. */
export type LeaseHolderWhy =
  /** The granter has had its time to be told. */
  | 'release-limit'
  /** Only the margin is left. */
  | 'stop-due'
  /** Without a renew the drain must begin now. */
  | 'drain-due'
  /** The question has had its time. */
  | 'ask-limit'
  /** The renew, or the next try of a question, is due. */
  | 'ask'

/** What happened to a process. What belongs to one part is called as it is there, see the part's own machine. */
export type LifecycleInput =
  /** The process is up: begin the boot (Y1). */
  | {
      readonly type: 'boot'
      /** Whether an old process has passed its sockets to this one. */
      readonly successor: boolean
    }
  /** An operation is done. */
  | {
      readonly type: 'done'
      /** Which. */
      readonly operation: number
    }
  /** An operation failed. One that opens or makes something has left nothing behind. */
  | {
      readonly type: 'failed'
      /** Which. */
      readonly operation: number
    }
  /** The operating system sent a stop signal, and this is what the host read with it (Y3). */
  | {
      readonly type: 'signal'
      /** What this signal means, if it means one thing. */
      readonly intent?: Intent | null | undefined
      /** What the marker file says, if there is one. */
      readonly marker?: Intent | null | undefined
      /** With which number it is signed; of no meaning without one. */
      readonly instance: number
      /** How old it is. Milliseconds; of no meaning without one. */
      readonly age: number
    }
  /** A control call asks for a stop. */
  | {
      readonly type: 'stop'
      /** What for; never a handoff, which only a successor brings about. */
      readonly intent: Intent
    }
  /** The host asks to cut what is left of the drain now. */
  | {
      readonly type: 'force'
    }
  /** Drain: what is left. */
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
  /** Handoff: somebody asks for an upgrade. Only while serving. */
  | {
      readonly type: 'upgrade'
    }
  /** Handoff: somebody takes the upgrade back. */
  | {
      readonly type: 'cancel'
    }
  /** Handoff: how many older generations still drain. */
  | {
      readonly type: 'older-generations'
      /** How many. */
      readonly draining: number
    }
  /** Handoff: the successor says that it has initialised. */
  | {
      readonly type: 'ready'
      /** Which successor. */
      readonly generation: number
      /** The protocol in which it said so. */
      readonly speaks: SuccessorProtocol
      /** The version of the messages that it speaks; of no meaning for systemd's. */
      readonly version: number
    }
  /** Handoff: the successor says that it accepts. */
  | {
      readonly type: 'accepting'
      /** Which successor. */
      readonly generation: number
    }
  /** Handoff: the successor says that it will not take over. */
  | {
      readonly type: 'refused'
      /** Which successor. */
      readonly generation: number
    }
  /** Handoff: the successor has ended and was reaped. */
  | {
      readonly type: 'exited'
      /** Which successor. */
      readonly generation: number
    }
  /** Handoff, successor: a channel carried something else than the protocol. */
  | {
      readonly type: 'garbage'
      /** The channel of which successor; none: that of the old process. */
      readonly generation?: number | null | undefined
    }
  /** Handoff, successor: a channel has closed. */
  | {
      readonly type: 'channel-closed'
      /** The channel of which successor; none: that of the old process. */
      readonly generation?: number | null | undefined
    }
  /** Successor: the old process acknowledges. */
  | {
      readonly type: 'acknowledged'
      /** The version of the messages that the old process chose. */
      readonly version: number
      /** Whether a state came with it. */
      readonly state: boolean
    }
  /** Successor: the old process is gone. */
  | {
      readonly type: 'parent-gone'
    }
  /**
   * Successor: the old process passes its lease, or says how it stands (H7). May come at any time of the boot,
   * and again.
   */
  | {
      readonly type: 'inherited'
      /** The epoch. */
      readonly epoch: number
      /** How long it is sure from now on. Milliseconds. */
      readonly left: number
    }
  /** Lease: the claim was granted. */
  | {
      readonly type: 'mine'
      /** Which claim. */
      readonly operation: number
      /** The epoch. */
      readonly epoch: number
      /** How long it was granted for. Milliseconds. */
      readonly term: number
    }
  /** Lease: there is none for this gateway. Definite. */
  | {
      readonly type: 'not-mine'
      /** Which claim. */
      readonly operation: number
      /** Whether that is because another life of the gateway has it. */
      readonly fenced: boolean
    }
  /** Lease: the control plane made the handshake. */
  | {
      readonly type: 'granted'
      /** The epoch. */
      readonly epoch: number
    }
  /** Lease: the confirmation or the renew was granted. */
  | {
      readonly type: 'renewed'
      /** Which one. */
      readonly operation: number
      /** How long it was granted for. Milliseconds. */
      readonly term: number
    }
  /** Lease: the granter said no. Definite. */
  | {
      readonly type: 'lease-refused'
      /** Which confirmation, renew or release. */
      readonly operation: number
    }
  /** Lease: nobody could say. */
  | {
      readonly type: 'cannot-know'
      /** Which question. */
      readonly operation: number
    }
  /** Lease: the granter knows of the stop. */
  | {
      readonly type: 'released'
      /** Which release. */
      readonly operation: number
    }
  /** Lease: a call that carried this epoch was refused for it. */
  | {
      readonly type: 'fenced'
      /** The epoch. */
      readonly epoch: number
    }

/** What a process wants done. What belongs to one part is called as it is there, see the part's own machine. */
export type LifecycleEffect =
  /** Clear the directory rows of earlier incarnations; answer done or failed (R3). */
  | {
      readonly type: 'clear-earlier-rows'
      /** Which answer. */
      readonly operation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Make everything ready but the doors; answer done or failed. */
  | {
      readonly type: 'initialise'
      /** Which answer. */
      readonly operation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Open the door for health and the handshake; answer done or failed. */
  | {
      readonly type: 'open-control-door'
      /** Which answer. */
      readonly operation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Open the door for clients; answer done or failed. */
  | {
      readonly type: 'open-public-door'
      /** Which answer. */
      readonly operation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Close the control door, or see that it does not open; answer done or failed. */
  | {
      readonly type: 'close-control-door'
      /** Which answer. */
      readonly operation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Clean up what was initialised, or is still being; answer done or failed. */
  | {
      readonly type: 'clean-up'
      /** Which answer. */
      readonly operation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** A report: a part of the boot could not be taken back; the others go on. */
  | {
      readonly type: 'undo-failed'
      /** Which. */
      readonly step: BootStep
      /** Whether it was given up at its limit rather than failing. */
      readonly timedOut: boolean
    }
  /** Remove the marker file: it has been read, and counts once (Y3). */
  | {
      readonly type: 'remove-marker'
    }
  /** A report: a stop begins, or its intent has changed (Y3). */
  | {
      readonly type: 'stopping'
      /** What it is for. */
      readonly intent: Intent
      /** Where that came from. */
      readonly source: IntentSource
    }
  /** It is over: the process exits with this code. */
  | {
      readonly type: 'exit'
      /** Why. */
      readonly cause: ExitCause
      /** What the stop was for. */
      readonly intent: Intent
      /** Where that came from. */
      readonly source: IntentSource
      /** How the lease ended, if there was one to ask for. */
      readonly lease: LeaseEnd | null
      /** That of the drain; or 5 after a boot that failed, 6 when another life of the gateway has the lease. */
      readonly exitCode: number
    }
  /** Drain: readiness changes; liveness never does. */
  | {
      readonly type: 'readiness'
      /** Ready for traffic. */
      readonly ready: boolean
    }
  /** Drain: a report of the phase. */
  | {
      readonly type: 'entered'
      /** The phase. */
      readonly phase: DrainPhase
      /** What the stop is for. */
      readonly intent: Intent
      /** What is left of the whole budget. Milliseconds. */
      readonly left: number
    }
  /** Drain: from now on responses carry `Connection: close` and retry hints. */
  | {
      readonly type: 'lame-duck'
    }
  /** Drain: run a step of the drain's config; answer done or failed. */
  | {
      readonly type: 'run-step'
      /** Which answer. */
      readonly operation: number
      /** Its place in the drain's list. */
      readonly step: number
      /** Counted from 1. */
      readonly attempt: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
      /** What the stop is for: on a handoff, leave alone what the successor holds (H7). */
      readonly intent: Intent
    }
  /** Drain: a report: a step of the drain's config is over without success. */
  | {
      readonly type: 'step-failed'
      /** Its place in the drain's list. */
      readonly step: number
      /** Whether it was cut at its limit rather than failing. */
      readonly timedOut: boolean
    }
  /** Drain: accept what is queued, then close the public door; answer done. */
  | {
      readonly type: 'close-public-door'
      /** Which answer. */
      readonly operation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Drain: answer `load` now, and whenever it changes. */
  | {
      readonly type: 'count'
    }
  /** Drain: close connections that have been idle for this long. */
  | {
      readonly type: 'close-idle'
      /** The minimum idle age. Milliseconds. */
      readonly olderThan: number
    }
  /** Drain: tell long streams to end. */
  | {
      readonly type: 'end-streams'
    }
  /** Drain: tell this many tunnels to move. */
  | {
      readonly type: 'tell'
      /** How many. */
      readonly count: number
      /** The window that they may spread over; none: now. Milliseconds. */
      readonly within: number | null
    }
  /** Drain: a report: the even pace is faster than asked. */
  | {
      readonly type: 'pace-clamped'
      /** The window that was asked for. Milliseconds. */
      readonly wanted: number
      /** The window that is used. Milliseconds. */
      readonly used: number
    }
  /** Drain: clear the directory rows that are left, in one call; answer done or failed. */
  | {
      readonly type: 'clear-rows'
      /** Which answer. */
      readonly operation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Drain: close every tunnel as soon as it carries no request. */
  | {
      readonly type: 'close-tunnels'
      /** The close code. */
      readonly code: number
    }
  /** Drain: the last tunnel has gone: close the door for forwarded requests. */
  | {
      readonly type: 'close-peer-door'
    }
  /** Drain: cut everything that is left, then answer `load` until nothing is. */
  | {
      readonly type: 'abort'
      /** The close code of tunnels. */
      readonly code: number
    }
  /** Drain: a report: the directory could not be cleared. */
  | {
      readonly type: 'rows-left'
    }
  /** Drain: a report: the drain is over. The exit follows. */
  | {
      readonly type: 'stopped'
      /** What the stop was for. */
      readonly intent: Intent
      /** Requests and tunnels that ended without being cut. */
      readonly drained: number
      /** Those that were cut; 1 if the host never said how many there were. */
      readonly forced: number
      /** Those that could not be cut in time; 1 if the host never said how many there were. */
      readonly abandoned: number
      /** How many steps failed, what could not be taken back of the boot included. */
      readonly failedSteps: number
      /** From the begin to the end. Milliseconds. */
      readonly duration: number
      /** The drain's own exit code; that of the process is in `exit`. */
      readonly exitCode: number
    }
  /** Handoff: a report: the upgrade waits until older generations are gone. */
  | {
      readonly type: 'queued'
      /** At most so long. Milliseconds. */
      readonly limit: number
    }
  /** Handoff: a report: there is no upgrade, for this reason. */
  | {
      readonly type: 'upgrade-refused'
      /** The reason. */
      readonly why: UpgradeRefusal
    }
  /**
   * Handoff, successor: tell the service manager, if there is one. A fresh boot says ready too: when it serves,
   * or as soon as it asks for its lease.
   */
  | {
      readonly type: 'notify'
      /** What. */
      readonly notice: ServiceNotice
    }
  /** Handoff: start the successor with the listening sockets; answer done when it runs. */
  | {
      readonly type: 'spawn'
      /** Which answer. */
      readonly operation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Handoff: capture the state for the successor; answer done or failed. */
  | {
      readonly type: 'capture-state'
      /** Which answer. */
      readonly operation: number
      /** The most bytes. */
      readonly most: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Handoff: tell the successor that it may accept. */
  | {
      readonly type: 'acknowledge'
      /** Which successor. */
      readonly generation: number
      /** The version of the messages that both speak. */
      readonly version: number
      /** Whether the captured state goes with it. */
      readonly state: boolean
    }
  /** Handoff: read what has arrived from the successor and whether it lives; tell that first, then answer done. */
  | {
      readonly type: 'look'
      /** Which answer. */
      readonly operation: number
      /** Which successor. */
      readonly generation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Handoff: kill the successor and all of its group, reap it, answer done. */
  | {
      readonly type: 'kill'
      /** Which answer. */
      readonly operation: number
      /** Which successor. */
      readonly generation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Handoff: run an undo hook of the handoff's config; answer done or failed. */
  | {
      readonly type: 'run-undo'
      /** Which answer. */
      readonly operation: number
      /** Its place in the handoff's list. */
      readonly hook: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Handoff: a report: the upgrade failed, and everything is as before it. */
  | {
      readonly type: 'rolled-back'
      /** Which successor. */
      readonly generation: number
      /** Why. */
      readonly cause: RollbackCause
    }
  /** Handoff: a report: the successor accepts. There is no way back from here. */
  | {
      readonly type: 'accepted'
      /** Which successor. */
      readonly generation: number
    }
  /** Handoff, successor: write a process id to the PID file; answer done or failed. */
  | {
      readonly type: 'write-pid-file'
      /** Which answer. */
      readonly operation: number
      /** Which successor's; none: this process's own. */
      readonly generation: number | null
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Handoff: let the successor have the lease; answer done or failed. */
  | {
      readonly type: 'pass-lease'
      /** Which answer. */
      readonly operation: number
      /** Which successor. */
      readonly generation: number
      /** The epoch. */
      readonly epoch: number
      /** How long it is sure from now on. Milliseconds. */
      readonly left: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Handoff, successor: a report: a task is over without success; the others go on. */
  | {
      readonly type: 'task-failed'
      /** Which. */
      readonly task: HandoffTask
      /** The place of an undo hook in the handoff's list. */
      readonly hook: number | null
      /** Whether it was given up at its limit rather than failing. */
      readonly timedOut: boolean
    }
  /** Handoff: a report: the successor ended while this generation drained. */
  | {
      readonly type: 'successor-lost'
      /** Which successor. */
      readonly generation: number
    }
  /** Successor: say *ready* to the old process. */
  | {
      readonly type: 'say-ready'
      /** The version of the messages that this side speaks. */
      readonly version: number
    }
  /** Successor: load the state that came with the acknowledgement; answer failed to refuse it. */
  | {
      readonly type: 'load-state'
      /** Which answer. */
      readonly operation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Successor: start to accept on the inherited sockets, the control door's included; answer done when all do. */
  | {
      readonly type: 'accept'
      /** Which answer. */
      readonly operation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Successor: say *accepting* to the old process. */
  | {
      readonly type: 'say-accepting'
    }
  /** Successor: say *refused* to the old process. */
  | {
      readonly type: 'say-refused'
    }
  /** Successor: close the inherited sockets that nobody has claimed. */
  | {
      readonly type: 'close-unclaimed'
    }
  /** Successor: a report: it accepts, and serves from now on. */
  | {
      readonly type: 'took-over'
      /** Whether the old process is gone and this one promoted itself. */
      readonly promoted: boolean
    }
  /** Lease: ask for it; answer mine, not mine or cannot know. */
  | {
      readonly type: 'claim'
      /** Which answer. */
      readonly operation: number
      /** No answer after this is cannot know. Milliseconds. */
      readonly limit: number
      /** The epoch of the process that handed over to this one. */
      readonly predecessor: number | null
    }
  /** Lease: say that the handshake succeeded; answer renewed, refused or cannot know. */
  | {
      readonly type: 'confirm'
      /** Which answer. */
      readonly operation: number
      /** The epoch of the handshake. */
      readonly epoch: number
      /** No answer after this is cannot know. Milliseconds. */
      readonly limit: number
    }
  /** Lease: renew it; answer renewed, refused or cannot know. */
  | {
      readonly type: 'renew'
      /** Which answer. */
      readonly operation: number
      /** The epoch. */
      readonly epoch: number
      /** No answer after this is cannot know. Milliseconds. */
      readonly limit: number
    }
  /** Lease: it is held, and every call carries the epoch from now on. */
  | {
      readonly type: 'serve'
      /** The epoch. */
      readonly epoch: number
    }
  /** Lease: a report: there is definitely none; a handshake may come. */
  | {
      readonly type: 'idle'
    }
  /** Lease: a report: nobody could say; asked again after this delay. */
  | {
      readonly type: 'cannot-know'
      /** How often in a row. */
      readonly attempt: number
      /** From now. Milliseconds. */
      readonly delay: number
    }
  /** Lease: a report: it is lost or passed on; the drain has begun, or begins now. */
  | {
      readonly type: 'lease-lost'
      /** Why. */
      readonly loss: LeaseLoss
      /** Serving ends by then. Milliseconds from now. */
      readonly within: number
    }
  /** Lease: only its margin is left: serve nothing any more, whatever the drain still does. */
  | {
      readonly type: 'halt'
    }
  /** Lease: tell the granter of the stop; answer released, refused or cannot know. */
  | {
      readonly type: 'release'
      /** Which answer. */
      readonly operation: number
      /** The epoch. */
      readonly epoch: number
      /** What the stop is for. */
      readonly intent: Intent
      /** No answer after this is cannot know. Milliseconds. */
      readonly limit: number
    }
  /** Lease: a report: it is over for this life of the process. */
  | {
      readonly type: 'lease-over'
      /** How it ended. */
      readonly end: LeaseEnd
    }

/** Why a `lifecycle` wants to be woken. */
export type LifecycleWhy =
  /** Clearing rows of earlier incarnations has had its time. */
  | 'clear-rows-limit'
  /** Initialising has had its time. */
  | 'initialise-limit'
  /** Opening the control door has had its time. */
  | 'control-door-limit'
  /** Opening the public door has had its time. */
  | 'public-door-limit'
  /** A successor must hold its own lease by now. */
  | 'lease-due'
  /** Drain: the lame-duck time is over. */
  | 'lame-duck-over'
  /** Drain: a step has had its time. */
  | 'step-limit'
  /** Drain: a step is to be tried again. */
  | 'step-retry'
  /** Drain: the public door has had its time to close. */
  | 'door-limit'
  /** Drain: the next tunnels are to be told. */
  | 'tell'
  /** Drain: idle connections are to be looked at. */
  | 'idle-sweep'
  /** Drain: the told tunnels have had their time to leave. */
  | 'flush'
  /** Drain: the directory has had its time. */
  | 'rows-limit'
  /** Drain: the grace period is over. */
  | 'grace'
  /** Drain: the host has had its time to cut what is left. */
  | 'force-limit'
  /** Handoff: a queued upgrade has waited long enough. */
  | 'queue-limit'
  /** Handoff: spawning has had its time. */
  | 'spawn-limit'
  /** Handoff: the successor has had its time to initialise. */
  | 'ready-limit'
  /** Handoff, successor: the state has had its time. */
  | 'state-limit'
  /** Handoff, successor: starting to accept has had its time. */
  | 'accept-limit'
  /** Handoff: the settle time is over. */
  | 'settled'
  /** Handoff: the host has had its time to look. */
  | 'look-limit'
  /** Handoff: killing has had its time. */
  | 'kill-limit'
  /** Handoff: an undo hook has had its time. */
  | 'undo-limit'
  /** Handoff, successor: writing the PID file has had its time. */
  | 'pid-file-limit'
  /** Handoff: passing the lease has had its time. */
  | 'lease-limit'
  /** Handoff: this generation has had its time to drain. */
  | 'drain-limit'
  /** Successor: the old process has had its time to acknowledge. */
  | 'acknowledge-limit'
  /** Successor: the old process has had its time to be gone. */
  | 'gone-limit'
  /** Lease: the granter has had its time to be told. */
  | 'release-limit'
  /** Lease: only the margin is left. */
  | 'stop-due'
  /** Lease: without a renew the drain must begin now. */
  | 'drain-due'
  /** Lease: the question has had its time. */
  | 'ask-limit'
  /** Lease: the renew, or the next try of a question, is due. */
  | 'ask'

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

/** What happened to a saga. */
export type SagaInput =
  /** Begin. */
  | {
      readonly type: 'start'
    }
  /** The operation succeeded: durable, done, undone or fallen back. */
  | {
      readonly type: 'done'
      /** Which. */
      readonly operation: number
    }
  /** The operation failed; a do certainly has no effect (G2). */
  | {
      readonly type: 'failed'
      /** Which. */
      readonly operation: number
    }
  /** It is unknown what the operation did (G2). */
  | {
      readonly type: 'unknown'
      /** Which. */
      readonly operation: number
    }
  /** The probe found the effect. */
  | {
      readonly type: 'present'
      /** Which probe. */
      readonly operation: number
    }
  /** The probe found no effect. */
  | {
      readonly type: 'absent'
      /** Which probe. */
      readonly operation: number
    }
  /** The journal refused the append: another executor has the saga (G9). */
  | {
      readonly type: 'fenced'
      /** Which append. */
      readonly operation: number
    }
  /** Undo it, unless it is too late (G6). */
  | {
      readonly type: 'cancel'
    }
  /** The journal may work again: append what could not be appended (G4). */
  | {
      readonly type: 'resume'
    }
  /** An operator wants a step of a stuck saga tried again (G7). */
  | {
      readonly type: 'retry'
      /** Which. */
      readonly step: number
    }
  /** An operator has settled a step of a stuck saga by hand (G7). */
  | {
      readonly type: 'resolve'
      /** Which. */
      readonly step: number
      /** Whether its effect is there now. */
      readonly present: boolean
    }
  /** A record of the journal, from the first one on, in order (G8). */
  | {
      readonly type: 'replay'
      /** Its place in the journal, from 1. */
      readonly sequence: number
      /** What it says. */
      readonly kind: SagaRecord
      /** Of which step, if of one. */
      readonly step?: number | null | undefined
      /** Of which attempt, if of one; else 0. */
      readonly attempt: number
      /** What else it says; see the kind. */
      readonly value: number
    }
  /** That was the whole journal: go on (G8). */
  | {
      readonly type: 'recovered'
      /** Whether a torn record was cut from its end. */
      readonly torn: boolean
    }

/** What a saga wants done. */
export type SagaEffect =
  /** Make a record durable; answer done, failed, unknown or fenced. What it covers comes after that (G4). */
  | {
      readonly type: 'append'
      /** Which answer. */
      readonly operation: number
      /** Its place in the journal, from 1; the same again when it is tried again. */
      readonly sequence: number
      /** What it says. */
      readonly kind: SagaRecord
      /** Of which step, if of one. */
      readonly step: number | null
      /** Of which attempt, if of one; else 0. */
      readonly attempt: number
      /** What else it says; see the kind. */
      readonly value: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Do a step; answer done, failed or unknown. */
  | {
      readonly type: 'do'
      /** Which answer. */
      readonly operation: number
      /** Its place in the config's list. */
      readonly step: number
      /** Counted from 1. */
      readonly attempt: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Make sure that the step's effect is gone; answer done, failed or unknown. */
  | {
      readonly type: 'undo'
      /** Which answer. */
      readonly operation: number
      /** Its place in the config's list. */
      readonly step: number
      /** Counted from 1, fallbacks included. */
      readonly attempt: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Make the step's effect safe instead of undoing it; answer done, failed or unknown (G6). */
  | {
      readonly type: 'fall-back'
      /** Which answer. */
      readonly operation: number
      /** Its place in the config's list. */
      readonly step: number
      /** Counted from 1, undos included. */
      readonly attempt: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Look whether the step's effect is there; answer present, absent, failed or unknown. */
  | {
      readonly type: 'verify'
      /** Which answer. */
      readonly operation: number
      /** Its place in the config's list. */
      readonly step: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** A do is not wanted any more: abort it if that is possible. Its answer is still awaited until its limit. */
  | {
      readonly type: 'abort'
      /** Which do. */
      readonly operation: number
    }
  /** A report: the journal of an earlier life was read, and the saga goes on from it (G8). */
  | {
      readonly type: 'recovered'
      /** How many records it has. */
      readonly sequence: number
      /** Whether a torn record was cut from its end. */
      readonly torn: boolean
    }
  /** A report: undoing began. The error is the one of this step and attempt (G6). */
  | {
      readonly type: 'unwinding'
      /** Why. */
      readonly cause: SagaCause
      /** The step that is the cause, if one is. */
      readonly step: number | null
      /** Its attempt; 0 if none. */
      readonly attempt: number
    }
  /** A report: the step took its fallback and is safe. */
  | {
      readonly type: 'fell-back'
      /** Its place in the config's list. */
      readonly step: number
    }
  /** A report, before `stuck`: the effect of this step is left behind (G7). */
  | {
      readonly type: 'leaked'
      /** Its place in the config's list. */
      readonly step: number
      /** Why. */
      readonly reason: LeakReason
    }
  /** A report: over; all effects are there. */
  | {
      readonly type: 'committed'
    }
  /** A report: over; none is. The error is the one of this step and attempt. */
  | {
      readonly type: 'rolled-back'
      /** Why. */
      readonly cause: SagaCause
      /** The step that is the cause, if one is. */
      readonly step: number | null
      /** Its attempt; 0 if none. */
      readonly attempt: number
    }
  /** A report: an operator is needed (G7). The error is the one of this step and attempt. */
  | {
      readonly type: 'stuck'
      /** Why it was not committed. */
      readonly cause: SagaCause
      /** The step that is the cause, if one is. */
      readonly step: number | null
      /** Its attempt; 0 if none. */
      readonly attempt: number
      /** How many leaks were reported. */
      readonly leaked: number
    }
  /** A report: a record could not be made durable, nothing new is begun (G4). */
  | {
      readonly type: 'halted'
      /** Its place in the journal. */
      readonly sequence: number
    }
  /** A report: another executor has the saga; this one has stopped (G9). */
  | {
      readonly type: 'fenced'
    }
  /** A report: the journal is not continued (G8). */
  | {
      readonly type: 'refused'
      /** The record at fault. */
      readonly sequence: number
      /** What is wrong with it. */
      readonly fault: JournalFault
    }

/** Why a `saga` wants to be woken. */
export type SagaWhy =
  /** The journal has had its time. */
  | 'append-limit'
  /** A do has had its time. */
  | 'do-limit'
  /** A do is to be tried again. */
  | 'do-retry'
  /** An undo or a fallback has had its time. */
  | 'undo-limit'
  /** An undo or a fallback is to be made. */
  | 'undo-due'
  /** A probe has had its time. */
  | 'verify-limit'
  /** A probe is to be made. */
  | 'verify-due'
  /** The rollback has had its time. */
  | 'rollback-deadline'

/**
 * What happened to a stack. `component` is a place in the config's list, `generation` the operation that spawned
 * a process.
 */
export type StackInput =
  /** Start everything. */
  | {
      readonly type: 'start'
    }
  /** Stop everything. A later one can only raise the intent. */
  | {
      readonly type: 'stop'
      /** What for. */
      readonly intent: Intent
    }
  /** The operating system sent a stop signal: the first stops, one later than `signal_merge` forces. */
  | {
      readonly type: 'signal'
      /** What a stop by this signal means. */
      readonly intent: Intent
    }
  /** Kill what is left, in order, without waiting. */
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
  /** A process has ended and is not yet reaped. */
  | {
      readonly type: 'exited'
      /** Which process. */
      readonly generation: number
      /** Its exit status; 0 if a signal ended it. */
      readonly status: number
      /** The signal that ended it; 0 if none did. */
      readonly signal: number
    }
  /** A hot restart has replaced the component's process: its successor accepts. */
  | {
      readonly type: 'replaced'
      /** Which component. */
      readonly component: number
    }
  /** An older generation of a component is gone and reaped. */
  | {
      readonly type: 'older-gone'
      /** Which component. */
      readonly component: number
    }

/** What a stack wants done. */
export type StackEffect =
  /**
   * Start the process of a component as the leader of a group; answer done when it runs. It is called by this
   * operation from now on.
   */
  | {
      readonly type: 'spawn'
      /** Which answer. */
      readonly operation: number
      /** Which component. */
      readonly component: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Watch for its readiness; answer done when it is ready, failed when it never will be. */
  | {
      readonly type: 'await-ready'
      /** Which answer. */
      readonly operation: number
      /** Which component. */
      readonly component: number
      /** Which process. */
      readonly generation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Call its drain action; answer done when its status says so. */
  | {
      readonly type: 'call-drain'
      /** Which answer. */
      readonly operation: number
      /** Which component. */
      readonly component: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Watch for it to be empty; answer done when it is, failed when nobody can say. */
  | {
      readonly type: 'await-drained'
      /** Which answer. */
      readonly operation: number
      /** Which component. */
      readonly component: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Send its process the stop signal. */
  | {
      readonly type: 'signal'
      /** Which component. */
      readonly component: number
      /** Which process. */
      readonly generation: number
      /** The signal. */
      readonly signal: number
    }
  /** Send SIGKILL to the group of its process. If that was never spawned, see that it will not be. */
  | {
      readonly type: 'kill-group'
      /** Which component. */
      readonly component: number
      /** Which process. */
      readonly generation: number
    }
  /** Send SIGKILL to the groups of its older generations. */
  | {
      readonly type: 'kill-older'
      /** Which component. */
      readonly component: number
    }
  /** Kill what is left of the group of a process that has ended, then reap it; answer done. */
  | {
      readonly type: 'reap'
      /** Which answer. */
      readonly operation: number
      /** Which component. */
      readonly component: number
      /** Which process. */
      readonly generation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** The new process of a replaced component is called by this generation from now on. */
  | {
      readonly type: 'adopted'
      /** Which component. */
      readonly component: number
      /** Which process. */
      readonly generation: number
    }
  /** All components are up, or not any more. */
  | {
      readonly type: 'readiness'
      /** Ready for traffic. */
      readonly ready: boolean
    }
  /** A report: a component is ready. */
  | {
      readonly type: 'up'
      /** Which component. */
      readonly component: number
    }
  /** A report: something went wrong with a component. */
  | {
      readonly type: 'failed'
      /** Which component. */
      readonly component: number
      /** What. */
      readonly why: ComponentFailure
    }
  /** A report: a component is started again after this delay (K4). */
  | {
      readonly type: 'restarting'
      /** Which component. */
      readonly component: number
      /** From now. Milliseconds. */
      readonly delay: number
    }
  /** A report: a component is gone. Those it came after may stop. */
  | {
      readonly type: 'gone'
      /** Which component. */
      readonly component: number
    }
  /** A report: the stack stops, or the intent of the stop was raised. */
  | {
      readonly type: 'stopping'
      /** What for. */
      readonly intent: Intent
      /** Why. */
      readonly cause: StackStopCause
      /** The component that is the cause. */
      readonly component: number | null
      /** What is left of the kill budget. Milliseconds. */
      readonly left: number
    }
  /** A report: it is over. The process should exit with `exit_code`. */
  | {
      readonly type: 'exit'
      /** What the stop was for. */
      readonly intent: Intent
      /** Why it stopped. */
      readonly cause: StackStopCause
      /** The component that is the cause. */
      readonly component: number | null
      /** The exit status of that component, 128 and the signal if one ended it; 0 if it had none. */
      readonly status: number
      /** The worst that happened. */
      readonly outcome: StackOutcome
      /** From the begin of the stop. Milliseconds. */
      readonly duration: number
      /**
       * 0 clean, or `restart_exit_code`; 3 a step of the stop failed, 4 something was killed, 5 a component
       * died, 6 one failed while starting.
       */
      readonly exitCode: number
    }

/** Why a `stack` wants to be woken. */
export type StackWhy =
  /** The whole budget is over. */
  | 'budget'
  /** A spawn has had its time. */
  | 'spawn-limit'
  /** A component has run for its ready delay. */
  | 'ready-delay'
  /** A component has had its time to be ready. */
  | 'ready-limit'
  /** A component is to be started again. */
  | 'restart'
  /** A drain call has had its time. */
  | 'drain-call-limit'
  /** A component has had its time to drain. */
  | 'drain-limit'
  /** A component has had its time to stop. */
  | 'stop-limit'
  /** A component has had its time to end after it was killed. */
  | 'kill-limit'
  /** A component has had its time to be reaped. */
  | 'reap-limit'
  /** The older generations of a component have had their time. */
  | 'older-limit'

/** What happened to a process that takes over. */
export type SuccessorInput =
  /** Everything but accepting is ready. */
  | {
      readonly type: 'initialised'
    }
  /** Initialising failed. */
  | {
      readonly type: 'initialise-failed'
    }
  /** The old process acknowledges: it may accept now (H2). */
  | {
      readonly type: 'acknowledged'
      /** The version of the messages that the old process chose (H6). */
      readonly version: number
      /** Whether a state came with it. */
      readonly state: boolean
    }
  /** The channel to the old process carried something else than the protocol. */
  | {
      readonly type: 'garbage'
    }
  /** The channel to the old process has closed. */
  | {
      readonly type: 'channel-closed'
    }
  /** The old process is gone. */
  | {
      readonly type: 'parent-gone'
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
  /** This process is told to stop. Once it serves, that is for its drain. */
  | {
      readonly type: 'stop'
    }

/** What a process that takes over wants done. */
export type SuccessorEffect =
  /** Say *ready* to the old process (H2). */
  | {
      readonly type: 'say-ready'
      /** The version of the messages that this side speaks (H6). */
      readonly version: number
    }
  /** Load the state that came with the acknowledgement; answer failed to refuse it (H6). */
  | {
      readonly type: 'load-state'
      /** Which answer. */
      readonly operation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Start to accept on the inherited sockets; answer done when all do (H2). */
  | {
      readonly type: 'accept'
      /** Which answer. */
      readonly operation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Say *accepting* to the old process (H2). */
  | {
      readonly type: 'say-accepting'
    }
  /** Say *refused* to the old process (H6). */
  | {
      readonly type: 'say-refused'
    }
  /** Close the inherited sockets that nobody has claimed (H3). */
  | {
      readonly type: 'close-unclaimed'
    }
  /** Take the lease that the old process held (H7). */
  | {
      readonly type: 'take-lease'
    }
  /** Write this process's id to the PID file; answer done or failed (H5). */
  | {
      readonly type: 'write-pid-file'
      /** Which answer. */
      readonly operation: number
      /** Given up after this. Milliseconds. */
      readonly limit: number
    }
  /** Tell the service manager, if there is one (H8). */
  | {
      readonly type: 'notify'
      /** What. */
      readonly notice: ServiceNotice
    }
  /** A report: it accepts, and serves from now on. */
  | {
      readonly type: 'serving'
      /** Whether the old process is gone and this one promoted itself (H4). */
      readonly promoted: boolean
    }
  /** A report: the PID file could not be written. */
  | {
      readonly type: 'pid-file-failed'
      /** Whether it was given up at its limit rather than failing. */
      readonly timedOut: boolean
    }
  /** It gives up: the process exits and names the cause. */
  | {
      readonly type: 'end'
      /** Why. */
      readonly cause: GiveUpCause
    }

/** Why a `successor` wants to be woken. */
export type SuccessorWhy =
  /** Initialising has had its time. */
  | 'initialise-limit'
  /** The old process has had its time to acknowledge. */
  | 'acknowledge-limit'
  /** Loading the state has had its time. */
  | 'state-limit'
  /** Starting to accept has had its time. */
  | 'accept-limit'
  /** The old process has had its time to be gone. */
  | 'gone-limit'
  /** Writing the PID file has had its time. */
  | 'pid-file-limit'

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
  'handoff': { config: HandoffConfig; input: HandoffInput; effect: HandoffEffect; why: HandoffWhy }
  'lease': { config: LeaseConfig; input: LeaseInput; effect: LeaseEffect; why: LeaseWhy }
  'lease-holder': { config: LeaseHolderConfig; input: LeaseHolderInput; effect: LeaseHolderEffect; why: LeaseHolderWhy }
  'lifecycle': { config: LifecycleConfig; input: LifecycleInput; effect: LifecycleEffect; why: LifecycleWhy }
  'peer': { config: PeerConfig; input: PeerInput; effect: PeerEffect; why: PeerWhy }
  'saga': { config: SagaConfig; input: SagaInput; effect: SagaEffect; why: SagaWhy }
  'stack': { config: StackConfig; input: StackInput; effect: StackEffect; why: StackWhy }
  'successor': { config: SuccessorConfig; input: SuccessorInput; effect: SuccessorEffect; why: SuccessorWhy }
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

function optional<T>(word: number, values: readonly T[]): T | null {
  return word < 0 ? null : (values[word] as T)
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

const handoffCodec: Codec<'handoff'> = {
  why: ['queue-limit', 'spawn-limit', 'ready-limit', 'state-limit', 'accept-limit', 'settled', 'look-limit', 'kill-limit', 'undo-limit', 'pid-file-limit', 'lease-limit', 'drain-limit'],
  send(calls, handle, now, input) {
    switch (input.type) {
      case 'upgrade':
        return calls.input0(handle, now, 0)
      case 'cancel':
        return calls.input0(handle, now, 1)
      case 'stop':
        return calls.input0(handle, now, 2)
      case 'older-generations':
        return calls.input1(handle, now, 3, input.draining)
      case 'done':
        return calls.input1(handle, now, 4, input.operation)
      case 'failed':
        return calls.input1(handle, now, 5, input.operation)
      case 'ready':
        return calls.input3(handle, now, 6, input.generation, place(successorProtocolValues, input.speaks), input.version)
      case 'accepting':
        return calls.input1(handle, now, 7, input.generation)
      case 'refused':
        return calls.input1(handle, now, 8, input.generation)
      case 'garbage':
        return calls.input1(handle, now, 9, input.generation)
      case 'channel-closed':
        return calls.input1(handle, now, 10, input.generation)
      case 'exited':
        return calls.input1(handle, now, 11, input.generation)
      case 'drained':
        return calls.input0(handle, now, 12)
      default:
        return 0
    }
  },
  effect(words) {
    switch (words.next()) {
      case 0:
        return { type: 'queued', limit: words.next() }
      case 1:
        return { type: 'refused', why: upgradeRefusalValues[words.next()] as UpgradeRefusal }
      case 2:
        return { type: 'notify', notice: serviceNoticeValues[words.next()] as ServiceNotice }
      case 3:
        return { type: 'spawn', operation: words.next(), limit: words.next() }
      case 4:
        return { type: 'capture-state', operation: words.next(), most: words.next(), limit: words.next() }
      case 5:
        return { type: 'acknowledge', generation: words.next(), version: words.next(), state: words.next() === 1 }
      case 6:
        return { type: 'look', operation: words.next(), generation: words.next(), limit: words.next() }
      case 7:
        return { type: 'kill', operation: words.next(), generation: words.next(), limit: words.next() }
      case 8:
        return { type: 'run-undo', operation: words.next(), hook: words.next(), limit: words.next() }
      case 9:
        return { type: 'rolled-back', generation: words.next(), cause: rollbackCauseValues[words.next()] as RollbackCause }
      case 10:
        return { type: 'accepted', generation: words.next() }
      case 11:
        return { type: 'write-pid-file', operation: words.next(), generation: words.next(), limit: words.next() }
      case 12:
        return { type: 'pass-lease', operation: words.next(), generation: words.next(), limit: words.next() }
      case 13:
        return { type: 'begin-drain', intent: intentValues[words.next()] as Intent }
      case 14:
        return { type: 'task-failed', task: handoffTaskValues[words.next()] as HandoffTask, hook: number(words.next()), timedOut: words.next() === 1 }
      case 15:
        return { type: 'successor-lost', generation: words.next() }
      case 16:
        return { type: 'gone', drained: words.next() === 1 }
      default:
        return unknown(words)
    }
  },
}

const leaseCodec: Codec<'lease'> = {
  why: ['allocate-limit', 'expiry', 'grace-over', 'unroute-limit', 'unroute-retry', 'quarantine-over'],
  send(calls, handle, now, input) {
    switch (input.type) {
      case 'allocate':
        return calls.input2(handle, now, 0, input.organization, input.request)
      case 'confirm':
        return calls.input2(handle, now, 1, input.epoch, input.incarnation)
      case 'handshake-failed':
        return calls.input1(handle, now, 2, input.epoch)
      case 'renew':
        return calls.input1(handle, now, 3, input.epoch)
      case 'claim':
        return calls.input2(handle, now, 4, input.incarnation, maybe(input.predecessor))
      case 'stop':
        return calls.input2(handle, now, 5, input.epoch, place(intentValues, input.intent))
      case 'observe':
        return calls.input2(handle, now, 6, input.epoch, bit(input.well))
      case 'unrouted':
        return calls.input1(handle, now, 7, input.epoch)
      case 'unroute-failed':
        return calls.input2(handle, now, 8, input.epoch, input.attempt)
      case 'verify':
        return calls.input1(handle, now, 9, input.epoch)
      case 'release':
        return calls.input1(handle, now, 10, input.epoch)
      case 'retire':
        return calls.input0(handle, now, 11)
      case 'reinstate':
        return calls.input0(handle, now, 12)
      case 'look':
        return calls.input0(handle, now, 13)
      default:
        return 0
    }
  },
  effect(words) {
    switch (words.next()) {
      case 0:
        return { type: 'allocated', epoch: words.next(), limit: words.next() }
      case 1:
        return { type: 'already-allocated', state: leaseStateValues[words.next()] as LeaseState, epoch: words.next(), request: words.next() }
      case 2:
        return { type: 'confirmed', epoch: words.next(), term: words.next() }
      case 3:
        return { type: 'renewed', epoch: words.next(), term: words.next() }
      case 4:
        return { type: 'reclaimed', epoch: words.next(), organization: words.next(), term: words.next() }
      case 5:
        return { type: 'accepted', state: leaseStateValues[words.next()] as LeaseState, epoch: words.next() }
      case 6:
        return { type: 'valid', epoch: words.next(), left: words.next() }
      case 7:
        return { type: 'refused', refusal: leaseRefusalValues[words.next()] as LeaseRefusal, epoch: words.next() }
      case 8:
        return { type: 'row', state: leaseStateValues[words.next()] as LeaseState, epoch: words.next(), organization: number(words.next()), request: number(words.next()), incarnation: words.next(), left: number(words.next()), cause: optional(words.next(), leaseCauseValues), failures: words.next() }
      case 9:
        return { type: 'entered', state: leaseStateValues[words.next()] as LeaseState, epoch: words.next(), organization: number(words.next()), cause: optional(words.next(), leaseCauseValues) }
      case 10:
        return { type: 'unroute', epoch: words.next(), organization: words.next(), attempt: words.next(), limit: words.next() }
      case 11:
        return { type: 'route-left', epoch: words.next(), organization: words.next() }
      default:
        return unknown(words)
    }
  },
}

const leaseHolderCodec: Codec<'lease-holder'> = {
  why: ['release-limit', 'stop-due', 'drain-due', 'ask-limit', 'ask'],
  send(calls, handle, now, input) {
    switch (input.type) {
      case 'boot':
        return calls.input1(handle, now, 0, maybe(input.predecessor))
      case 'mine':
        return calls.input3(handle, now, 1, input.operation, input.epoch, input.term)
      case 'not-mine':
        return calls.input2(handle, now, 2, input.operation, bit(input.fenced))
      case 'granted':
        return calls.input1(handle, now, 3, input.epoch)
      case 'renewed':
        return calls.input2(handle, now, 4, input.operation, input.term)
      case 'refused':
        return calls.input1(handle, now, 5, input.operation)
      case 'cannot-know':
        return calls.input1(handle, now, 6, input.operation)
      case 'released':
        return calls.input1(handle, now, 7, input.operation)
      case 'fenced':
        return calls.input1(handle, now, 8, input.epoch)
      case 'handed-over':
        return calls.input0(handle, now, 9)
      case 'drained':
        return calls.input0(handle, now, 10)
      case 'stop':
        return calls.input1(handle, now, 11, place(intentValues, input.intent))
      default:
        return 0
    }
  },
  effect(words) {
    switch (words.next()) {
      case 0:
        return { type: 'claim', operation: words.next(), limit: words.next(), predecessor: number(words.next()) }
      case 1:
        return { type: 'confirm', operation: words.next(), epoch: words.next(), limit: words.next() }
      case 2:
        return { type: 'renew', operation: words.next(), epoch: words.next(), limit: words.next() }
      case 3:
        return { type: 'serve', epoch: words.next() }
      case 4:
        return { type: 'idle' }
      case 5:
        return { type: 'cannot-know', attempt: words.next(), delay: words.next() }
      case 6:
        return { type: 'drain', loss: leaseLossValues[words.next()] as LeaseLoss, within: words.next() }
      case 7:
        return { type: 'halt' }
      case 8:
        return { type: 'release', operation: words.next(), epoch: words.next(), intent: intentValues[words.next()] as Intent, limit: words.next() }
      case 9:
        return { type: 'over', end: leaseEndValues[words.next()] as LeaseEnd }
      default:
        return unknown(words)
    }
  },
}

const lifecycleCodec: Codec<'lifecycle'> = {
  why: ['clear-rows-limit', 'initialise-limit', 'control-door-limit', 'public-door-limit', 'lease-due', 'lame-duck-over', 'step-limit', 'step-retry', 'door-limit', 'tell', 'idle-sweep', 'flush', 'rows-limit', 'grace', 'force-limit', 'queue-limit', 'spawn-limit', 'ready-limit', 'state-limit', 'accept-limit', 'settled', 'look-limit', 'kill-limit', 'undo-limit', 'pid-file-limit', 'lease-limit', 'drain-limit', 'acknowledge-limit', 'gone-limit', 'release-limit', 'stop-due', 'drain-due', 'ask-limit', 'ask'],
  send(calls, handle, now, input) {
    switch (input.type) {
      case 'boot':
        return calls.input1(handle, now, 0, bit(input.successor))
      case 'done':
        return calls.input1(handle, now, 1, input.operation)
      case 'failed':
        return calls.input1(handle, now, 2, input.operation)
      case 'signal':
        return calls.input4(handle, now, 3, input.intent == null ? -1 : place(intentValues, input.intent), input.marker == null ? -1 : place(intentValues, input.marker), input.instance, input.age)
      case 'stop':
        return calls.input1(handle, now, 4, place(intentValues, input.intent))
      case 'force':
        return calls.input0(handle, now, 5)
      case 'load':
        return calls.input5(handle, now, 6, input.requests, input.idle, input.streams, input.tunnels, input.told)
      case 'upgrade':
        return calls.input0(handle, now, 7)
      case 'cancel':
        return calls.input0(handle, now, 8)
      case 'older-generations':
        return calls.input1(handle, now, 9, input.draining)
      case 'ready':
        return calls.input3(handle, now, 10, input.generation, place(successorProtocolValues, input.speaks), input.version)
      case 'accepting':
        return calls.input1(handle, now, 11, input.generation)
      case 'refused':
        return calls.input1(handle, now, 12, input.generation)
      case 'exited':
        return calls.input1(handle, now, 13, input.generation)
      case 'garbage':
        return calls.input1(handle, now, 14, maybe(input.generation))
      case 'channel-closed':
        return calls.input1(handle, now, 15, maybe(input.generation))
      case 'acknowledged':
        return calls.input2(handle, now, 16, input.version, bit(input.state))
      case 'parent-gone':
        return calls.input0(handle, now, 17)
      case 'inherited':
        return calls.input2(handle, now, 18, input.epoch, input.left)
      case 'mine':
        return calls.input3(handle, now, 19, input.operation, input.epoch, input.term)
      case 'not-mine':
        return calls.input2(handle, now, 20, input.operation, bit(input.fenced))
      case 'granted':
        return calls.input1(handle, now, 21, input.epoch)
      case 'renewed':
        return calls.input2(handle, now, 22, input.operation, input.term)
      case 'lease-refused':
        return calls.input1(handle, now, 23, input.operation)
      case 'cannot-know':
        return calls.input1(handle, now, 24, input.operation)
      case 'released':
        return calls.input1(handle, now, 25, input.operation)
      case 'fenced':
        return calls.input1(handle, now, 26, input.epoch)
      default:
        return 0
    }
  },
  effect(words) {
    switch (words.next()) {
      case 0:
        return { type: 'clear-earlier-rows', operation: words.next(), limit: words.next() }
      case 1:
        return { type: 'initialise', operation: words.next(), limit: words.next() }
      case 2:
        return { type: 'open-control-door', operation: words.next(), limit: words.next() }
      case 3:
        return { type: 'open-public-door', operation: words.next(), limit: words.next() }
      case 4:
        return { type: 'close-control-door', operation: words.next(), limit: words.next() }
      case 5:
        return { type: 'clean-up', operation: words.next(), limit: words.next() }
      case 6:
        return { type: 'undo-failed', step: bootStepValues[words.next()] as BootStep, timedOut: words.next() === 1 }
      case 7:
        return { type: 'remove-marker' }
      case 8:
        return { type: 'stopping', intent: intentValues[words.next()] as Intent, source: intentSourceValues[words.next()] as IntentSource }
      case 9:
        return { type: 'exit', cause: exitCauseValues[words.next()] as ExitCause, intent: intentValues[words.next()] as Intent, source: intentSourceValues[words.next()] as IntentSource, lease: optional(words.next(), leaseEndValues), exitCode: words.next() }
      case 10:
        return { type: 'readiness', ready: words.next() === 1 }
      case 11:
        return { type: 'entered', phase: drainPhaseValues[words.next()] as DrainPhase, intent: intentValues[words.next()] as Intent, left: words.next() }
      case 12:
        return { type: 'lame-duck' }
      case 13:
        return { type: 'run-step', operation: words.next(), step: words.next(), attempt: words.next(), limit: words.next(), intent: intentValues[words.next()] as Intent }
      case 14:
        return { type: 'step-failed', step: words.next(), timedOut: words.next() === 1 }
      case 15:
        return { type: 'close-public-door', operation: words.next(), limit: words.next() }
      case 16:
        return { type: 'count' }
      case 17:
        return { type: 'close-idle', olderThan: words.next() }
      case 18:
        return { type: 'end-streams' }
      case 19:
        return { type: 'tell', count: words.next(), within: number(words.next()) }
      case 20:
        return { type: 'pace-clamped', wanted: words.next(), used: words.next() }
      case 21:
        return { type: 'clear-rows', operation: words.next(), limit: words.next() }
      case 22:
        return { type: 'close-tunnels', code: words.next() }
      case 23:
        return { type: 'close-peer-door' }
      case 24:
        return { type: 'abort', code: words.next() }
      case 25:
        return { type: 'rows-left' }
      case 26:
        return { type: 'stopped', intent: intentValues[words.next()] as Intent, drained: words.next(), forced: words.next(), abandoned: words.next(), failedSteps: words.next(), duration: words.next(), exitCode: words.next() }
      case 27:
        return { type: 'queued', limit: words.next() }
      case 28:
        return { type: 'upgrade-refused', why: upgradeRefusalValues[words.next()] as UpgradeRefusal }
      case 29:
        return { type: 'notify', notice: serviceNoticeValues[words.next()] as ServiceNotice }
      case 30:
        return { type: 'spawn', operation: words.next(), limit: words.next() }
      case 31:
        return { type: 'capture-state', operation: words.next(), most: words.next(), limit: words.next() }
      case 32:
        return { type: 'acknowledge', generation: words.next(), version: words.next(), state: words.next() === 1 }
      case 33:
        return { type: 'look', operation: words.next(), generation: words.next(), limit: words.next() }
      case 34:
        return { type: 'kill', operation: words.next(), generation: words.next(), limit: words.next() }
      case 35:
        return { type: 'run-undo', operation: words.next(), hook: words.next(), limit: words.next() }
      case 36:
        return { type: 'rolled-back', generation: words.next(), cause: rollbackCauseValues[words.next()] as RollbackCause }
      case 37:
        return { type: 'accepted', generation: words.next() }
      case 38:
        return { type: 'write-pid-file', operation: words.next(), generation: number(words.next()), limit: words.next() }
      case 39:
        return { type: 'pass-lease', operation: words.next(), generation: words.next(), epoch: words.next(), left: words.next(), limit: words.next() }
      case 40:
        return { type: 'task-failed', task: handoffTaskValues[words.next()] as HandoffTask, hook: number(words.next()), timedOut: words.next() === 1 }
      case 41:
        return { type: 'successor-lost', generation: words.next() }
      case 42:
        return { type: 'say-ready', version: words.next() }
      case 43:
        return { type: 'load-state', operation: words.next(), limit: words.next() }
      case 44:
        return { type: 'accept', operation: words.next(), limit: words.next() }
      case 45:
        return { type: 'say-accepting' }
      case 46:
        return { type: 'say-refused' }
      case 47:
        return { type: 'close-unclaimed' }
      case 48:
        return { type: 'took-over', promoted: words.next() === 1 }
      case 49:
        return { type: 'claim', operation: words.next(), limit: words.next(), predecessor: number(words.next()) }
      case 50:
        return { type: 'confirm', operation: words.next(), epoch: words.next(), limit: words.next() }
      case 51:
        return { type: 'renew', operation: words.next(), epoch: words.next(), limit: words.next() }
      case 52:
        return { type: 'serve', epoch: words.next() }
      case 53:
        return { type: 'idle' }
      case 54:
        return { type: 'cannot-know', attempt: words.next(), delay: words.next() }
      case 55:
        return { type: 'lease-lost', loss: leaseLossValues[words.next()] as LeaseLoss, within: words.next() }
      case 56:
        return { type: 'halt' }
      case 57:
        return { type: 'release', operation: words.next(), epoch: words.next(), intent: intentValues[words.next()] as Intent, limit: words.next() }
      case 58:
        return { type: 'lease-over', end: leaseEndValues[words.next()] as LeaseEnd }
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

const sagaCodec: Codec<'saga'> = {
  why: ['append-limit', 'do-limit', 'do-retry', 'undo-limit', 'undo-due', 'verify-limit', 'verify-due', 'rollback-deadline'],
  send(calls, handle, now, input) {
    switch (input.type) {
      case 'start':
        return calls.input0(handle, now, 0)
      case 'done':
        return calls.input1(handle, now, 1, input.operation)
      case 'failed':
        return calls.input1(handle, now, 2, input.operation)
      case 'unknown':
        return calls.input1(handle, now, 3, input.operation)
      case 'present':
        return calls.input1(handle, now, 4, input.operation)
      case 'absent':
        return calls.input1(handle, now, 5, input.operation)
      case 'fenced':
        return calls.input1(handle, now, 6, input.operation)
      case 'cancel':
        return calls.input0(handle, now, 7)
      case 'resume':
        return calls.input0(handle, now, 8)
      case 'retry':
        return calls.input1(handle, now, 9, input.step)
      case 'resolve':
        return calls.input2(handle, now, 10, input.step, bit(input.present))
      case 'replay':
        return calls.input5(handle, now, 11, input.sequence, place(sagaRecordValues, input.kind), maybe(input.step), input.attempt, input.value)
      case 'recovered':
        return calls.input1(handle, now, 12, bit(input.torn))
      default:
        return 0
    }
  },
  effect(words) {
    switch (words.next()) {
      case 0:
        return { type: 'append', operation: words.next(), sequence: words.next(), kind: sagaRecordValues[words.next()] as SagaRecord, step: number(words.next()), attempt: words.next(), value: words.next(), limit: words.next() }
      case 1:
        return { type: 'do', operation: words.next(), step: words.next(), attempt: words.next(), limit: words.next() }
      case 2:
        return { type: 'undo', operation: words.next(), step: words.next(), attempt: words.next(), limit: words.next() }
      case 3:
        return { type: 'fall-back', operation: words.next(), step: words.next(), attempt: words.next(), limit: words.next() }
      case 4:
        return { type: 'verify', operation: words.next(), step: words.next(), limit: words.next() }
      case 5:
        return { type: 'abort', operation: words.next() }
      case 6:
        return { type: 'recovered', sequence: words.next(), torn: words.next() === 1 }
      case 7:
        return { type: 'unwinding', cause: sagaCauseValues[words.next()] as SagaCause, step: number(words.next()), attempt: words.next() }
      case 8:
        return { type: 'fell-back', step: words.next() }
      case 9:
        return { type: 'leaked', step: words.next(), reason: leakReasonValues[words.next()] as LeakReason }
      case 10:
        return { type: 'committed' }
      case 11:
        return { type: 'rolled-back', cause: sagaCauseValues[words.next()] as SagaCause, step: number(words.next()), attempt: words.next() }
      case 12:
        return { type: 'stuck', cause: sagaCauseValues[words.next()] as SagaCause, step: number(words.next()), attempt: words.next(), leaked: words.next() }
      case 13:
        return { type: 'halted', sequence: words.next() }
      case 14:
        return { type: 'fenced' }
      case 15:
        return { type: 'refused', sequence: words.next(), fault: journalFaultValues[words.next()] as JournalFault }
      default:
        return unknown(words)
    }
  },
}

const stackCodec: Codec<'stack'> = {
  why: ['budget', 'spawn-limit', 'ready-delay', 'ready-limit', 'restart', 'drain-call-limit', 'drain-limit', 'stop-limit', 'kill-limit', 'reap-limit', 'older-limit'],
  send(calls, handle, now, input) {
    switch (input.type) {
      case 'start':
        return calls.input0(handle, now, 0)
      case 'stop':
        return calls.input1(handle, now, 1, place(intentValues, input.intent))
      case 'signal':
        return calls.input1(handle, now, 2, place(intentValues, input.intent))
      case 'force':
        return calls.input0(handle, now, 3)
      case 'done':
        return calls.input1(handle, now, 4, input.operation)
      case 'failed':
        return calls.input1(handle, now, 5, input.operation)
      case 'exited':
        return calls.input3(handle, now, 6, input.generation, input.status, input.signal)
      case 'replaced':
        return calls.input1(handle, now, 7, input.component)
      case 'older-gone':
        return calls.input1(handle, now, 8, input.component)
      default:
        return 0
    }
  },
  effect(words) {
    switch (words.next()) {
      case 0:
        return { type: 'spawn', operation: words.next(), component: words.next(), limit: words.next() }
      case 1:
        return { type: 'await-ready', operation: words.next(), component: words.next(), generation: words.next(), limit: words.next() }
      case 2:
        return { type: 'call-drain', operation: words.next(), component: words.next(), limit: words.next() }
      case 3:
        return { type: 'await-drained', operation: words.next(), component: words.next(), limit: words.next() }
      case 4:
        return { type: 'signal', component: words.next(), generation: words.next(), signal: words.next() }
      case 5:
        return { type: 'kill-group', component: words.next(), generation: words.next() }
      case 6:
        return { type: 'kill-older', component: words.next() }
      case 7:
        return { type: 'reap', operation: words.next(), component: words.next(), generation: words.next(), limit: words.next() }
      case 8:
        return { type: 'adopted', component: words.next(), generation: words.next() }
      case 9:
        return { type: 'readiness', ready: words.next() === 1 }
      case 10:
        return { type: 'up', component: words.next() }
      case 11:
        return { type: 'failed', component: words.next(), why: componentFailureValues[words.next()] as ComponentFailure }
      case 12:
        return { type: 'restarting', component: words.next(), delay: words.next() }
      case 13:
        return { type: 'gone', component: words.next() }
      case 14:
        return { type: 'stopping', intent: intentValues[words.next()] as Intent, cause: stackStopCauseValues[words.next()] as StackStopCause, component: number(words.next()), left: words.next() }
      case 15:
        return { type: 'exit', intent: intentValues[words.next()] as Intent, cause: stackStopCauseValues[words.next()] as StackStopCause, component: number(words.next()), status: words.next(), outcome: stackOutcomeValues[words.next()] as StackOutcome, duration: words.next(), exitCode: words.next() }
      default:
        return unknown(words)
    }
  },
}

const successorCodec: Codec<'successor'> = {
  why: ['initialise-limit', 'acknowledge-limit', 'state-limit', 'accept-limit', 'gone-limit', 'pid-file-limit'],
  send(calls, handle, now, input) {
    switch (input.type) {
      case 'initialised':
        return calls.input0(handle, now, 0)
      case 'initialise-failed':
        return calls.input0(handle, now, 1)
      case 'acknowledged':
        return calls.input2(handle, now, 2, input.version, bit(input.state))
      case 'garbage':
        return calls.input0(handle, now, 3)
      case 'channel-closed':
        return calls.input0(handle, now, 4)
      case 'parent-gone':
        return calls.input0(handle, now, 5)
      case 'done':
        return calls.input1(handle, now, 6, input.operation)
      case 'failed':
        return calls.input1(handle, now, 7, input.operation)
      case 'stop':
        return calls.input0(handle, now, 8)
      default:
        return 0
    }
  },
  effect(words) {
    switch (words.next()) {
      case 0:
        return { type: 'say-ready', version: words.next() }
      case 1:
        return { type: 'load-state', operation: words.next(), limit: words.next() }
      case 2:
        return { type: 'accept', operation: words.next(), limit: words.next() }
      case 3:
        return { type: 'say-accepting' }
      case 4:
        return { type: 'say-refused' }
      case 5:
        return { type: 'close-unclaimed' }
      case 6:
        return { type: 'take-lease' }
      case 7:
        return { type: 'write-pid-file', operation: words.next(), limit: words.next() }
      case 8:
        return { type: 'notify', notice: serviceNoticeValues[words.next()] as ServiceNotice }
      case 9:
        return { type: 'serving', promoted: words.next() === 1 }
      case 10:
        return { type: 'pid-file-failed', timedOut: words.next() === 1 }
      case 11:
        return { type: 'end', cause: giveUpCauseValues[words.next()] as GiveUpCause }
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
  'handoff': handoffCodec,
  'lease': leaseCodec,
  'lease-holder': leaseHolderCodec,
  'lifecycle': lifecycleCodec,
  'peer': peerCodec,
  'saga': sagaCodec,
  'stack': stackCodec,
  'successor': successorCodec,
  'tunnel': tunnelCodec,
}
