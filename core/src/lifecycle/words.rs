//! What a lifecycle and its host say to each other.

use crate::drain::{self, Phase};
use crate::handoff::{self, HandoffTask, RollbackCause, ServiceNotice, Speaks, UpgradeRefusal};
use crate::lease_holder::{self, LeaseEnd, LeaseLoss};
use crate::successor::{self, GiveUpCause};
use crate::{Intent, Millis, OperationId};

names! {
    /// Where the intent of a stop came from (Y3).
    pub enum IntentSource {
        /// The control call said it.
        Control = "control",
        /// The marker file said it.
        Marker = "marker",
        /// The signal means it.
        Signal = "signal",
        /// Nobody said it: it is the config's.
        Default = "default",
        /// A successor accepts, or serves on.
        Handoff = "handoff",
        /// The lease was lost.
        Lease = "lease",
        /// The boot failed.
        Boot = "boot",
    }
}

names! {
    /// Why a process exits.
    pub enum ExitCause {
        /// It was asked to stop.
        Stopped = "stopped",
        /// A successor serves.
        HandedOver = "handed-over",
        /// It could not renew its lease, or never got the one that it needs.
        LeaseLost = "lease-lost",
        /// Another life of the gateway has the lease.
        Fenced = "fenced",
        /// The rows of earlier incarnations could not be cleared.
        ClearRowsFailed = "clear-rows-failed",
        /// Clearing them took too long.
        ClearRowsLimit = "clear-rows-limit",
        /// It could not initialise, for instance for a bad config.
        InitialiseFailed = "initialise-failed",
        /// It did not initialise in time.
        InitialiseLimit = "initialise-limit",
        /// The control door could not be opened.
        ControlDoorFailed = "control-door-failed",
        /// Opening it took too long.
        ControlDoorLimit = "control-door-limit",
        /// The public door could not be opened.
        PublicDoorFailed = "public-door-failed",
        /// Opening it took too long.
        PublicDoorLimit = "public-door-limit",
        /// The old process did not acknowledge in time.
        AcknowledgeLimit = "acknowledge-limit",
        /// The old process sent something else than the protocol, or out of turn.
        Garbage = "garbage",
        /// The old process closed the channel and lives.
        ChannelClosed = "channel-closed",
        /// The old process speaks a version that this one does not understand.
        Version = "version",
        /// The state that was passed was refused.
        StateRefused = "state-refused",
        /// Loading the state took too long.
        StateLimit = "state-limit",
        /// It could not accept on the inherited sockets.
        AcceptFailed = "accept-failed",
        /// Starting to accept took too long.
        AcceptLimit = "accept-limit",
    }
}

impl ExitCause {
    /// Whether the process never came to serve, by its own fault or its surroundings' (Y1).
    #[must_use]
    pub fn is_failed_boot(self) -> bool {
        self >= Self::ClearRowsFailed
    }
}

impl From<GiveUpCause> for ExitCause {
    fn from(cause: GiveUpCause) -> Self {
        match cause {
            GiveUpCause::InitialiseFailed => Self::InitialiseFailed,
            GiveUpCause::InitialiseLimit => Self::InitialiseLimit,
            GiveUpCause::AcknowledgeLimit => Self::AcknowledgeLimit,
            GiveUpCause::Garbage => Self::Garbage,
            GiveUpCause::ChannelClosed => Self::ChannelClosed,
            GiveUpCause::Version => Self::Version,
            GiveUpCause::StateRefused => Self::StateRefused,
            GiveUpCause::StateLimit => Self::StateLimit,
            GiveUpCause::AcceptFailed => Self::AcceptFailed,
            GiveUpCause::AcceptLimit => Self::AcceptLimit,
            GiveUpCause::Stopped => Self::Stopped,
        }
    }
}

names! {
    /// What of the boot a stop takes back, in this order.
    pub enum BootStep {
        /// The lease is released.
        Lease = "lease",
        /// The control door is closed.
        ControlDoor = "control-door",
        /// What was initialised is cleaned up.
        Initialise = "initialise",
    }
}

names! {
    /// Where a lifecycle is.
    pub enum State {
        /// Nothing has begun.
        New = "new",
        /// Rows of earlier incarnations are being cleared.
        ClearingRows = "clearing-rows",
        /// Everything but the doors is made ready.
        Initialising = "initialising",
        /// The door for health and the handshake is being opened.
        OpeningControlDoor = "opening-control-door",
        /// Is there a lease? Asked until somebody knows.
        Claiming = "claiming",
        /// There is definitely no lease: a handshake may come.
        Idle = "idle",
        /// The door for clients is being opened.
        OpeningPublicDoor = "opening-public-door",
        /// A successor takes over from an old process.
        TakingOver = "taking-over",
        /// Serving.
        Serving = "serving",
        /// Serving, and a successor of this process is on its way.
        Upgrading = "upgrading",
        /// Not ready any more, still accepting.
        LameDuck = "lame-duck",
        /// The public door is closed; what is there finishes.
        Draining = "draining",
        /// Out of time: what is left is cut.
        Forcing = "forcing",
        /// The release steps run, then the boot is taken back.
        Releasing = "releasing",
        /// What was done of a boot that never came to serve is taken back.
        Undoing = "undoing",
        /// The drain is over; a successor is still to be killed, or to be given what passes to it.
        Leaving = "leaving",
        /// Over.
        Exited = "exited",
    }
}

settings! {
    /// The whole of a gateway process. Which of its parts exist is said by what is set.
    pub struct Config as "LifecycleConfig" {
        /// Whether there is a directory whose rows of earlier incarnations are cleared before anything is opened (R3).
        clear_rows: bool = false,
        /// How long that may take. Milliseconds.
        clear_rows_limit: Millis = 5_000,
        /// How long initialising may take. Milliseconds. Of a successor `successor.initialise_limit` counts.
        initialise_limit: Millis = 55_000,
        /// How long cleaning up what was initialised may take. Milliseconds.
        clean_up_limit: Millis = 2_000,
        /// Whether there is a control door: health, and the handshake of an allocation.
        control_door: bool = true,
        /// How long opening or closing a door may take. Milliseconds. A serving public door closes by the drain's times.
        door_limit: Millis = 2_000,
        /// What a stop by a signal is for when neither a marker nor the signal says it (Y3).
        default_intent: Intent = Intent::Restart,
        /// The number of this process, with which a marker file must be signed to count (Y3).
        instance: u64 = 0,
        /// How old a marker file may be to count (Y3). Milliseconds.
        marker_age: Millis = 60_000,
        /// How long a successor that was not told of a lease may serve without one of its own (H7). Milliseconds.
        inherit_limit: Millis = 2_000,
        /// How it stops. Its kill budget also covers what is taken back of the boot.
        drain: drain::Config = drain::Config::default(),
        /// How it is replaced by a successor; none: it never is.
        handoff: Option<handoff::Config> = None,
        /// How it takes over from an old process; none: it never does.
        successor: Option<successor::Config> = None,
        /// The lease that it needs to serve; none: it needs none.
        lease: Option<lease_holder::Config> = None,
    }
}

messages! {
    /// What happened to a process. What belongs to one part is called as it is there, see the part's own machine.
    pub enum Input as "LifecycleInput" {
        /// The process is up: begin the boot (Y1).
        Boot = "boot" {
            /// Whether an old process has passed its sockets to this one.
            successor: bool,
        },
        /// An operation is done.
        Done = "done" {
            /// Which.
            operation: OperationId,
        },
        /// An operation failed. One that opens or makes something has left nothing behind.
        Failed = "failed" {
            /// Which.
            operation: OperationId,
        },
        /// The operating system sent a stop signal, and this is what the host read with it (Y3).
        Signal = "signal" {
            /// What this signal means, if it means one thing.
            intent: Option<Intent>,
            /// What the marker file says, if there is one.
            marker: Option<Intent>,
            /// With which number it is signed; of no meaning without one.
            instance: u64,
            /// How old it is. Milliseconds; of no meaning without one.
            age: Millis,
        },
        /// A control call asks for a stop.
        Stop = "stop" {
            /// What for; never a handoff, which only a successor brings about.
            intent: Intent,
        },
        /// The host asks to cut what is left of the drain now.
        Force = "force",
        /// Drain: what is left.
        Load = "load" {
            /// Requests in flight, streams and tunnelled requests included.
            requests: u32,
            /// Connections that carry no request now.
            idle: u32,
            /// Long streams in flight (counted in `requests` too).
            streams: u32,
            /// Tunnels and WebSockets that are open.
            tunnels: u32,
            /// Of those, the ones that were told to move.
            told: u32,
        },
        /// Handoff: somebody asks for an upgrade. Only while serving.
        Upgrade = "upgrade",
        /// Handoff: somebody takes the upgrade back.
        Cancel = "cancel",
        /// Handoff: how many older generations still drain.
        OlderGenerations = "older-generations" {
            /// How many.
            draining: u32,
        },
        /// Handoff: the successor says that it has initialised.
        Ready = "ready" {
            /// Which successor.
            generation: OperationId,
            /// The protocol in which it said so.
            speaks: Speaks,
            /// The version of the messages that it speaks; of no meaning for systemd's.
            version: u16,
        },
        /// Handoff: the successor says that it accepts.
        Accepting = "accepting" {
            /// Which successor.
            generation: OperationId,
        },
        /// Handoff: the successor says that it will not take over.
        Refused = "refused" {
            /// Which successor.
            generation: OperationId,
        },
        /// Handoff: the successor has ended and was reaped.
        Exited = "exited" {
            /// Which successor.
            generation: OperationId,
        },
        /// Handoff, successor: a channel carried something else than the protocol.
        Garbage = "garbage" {
            /// The channel of which successor; none: that of the old process.
            generation: Option<OperationId>,
        },
        /// Handoff, successor: a channel has closed.
        ChannelClosed = "channel-closed" {
            /// The channel of which successor; none: that of the old process.
            generation: Option<OperationId>,
        },
        /// Successor: the old process acknowledges.
        Acknowledged = "acknowledged" {
            /// The version of the messages that the old process chose.
            version: u16,
            /// Whether a state came with it.
            state: bool,
        },
        /// Successor: the old process is gone.
        ParentGone = "parent-gone",
        /// Successor: the old process passes its lease, or says how it stands (H7). May come at any time of the boot,
        /// and again.
        Inherited = "inherited" {
            /// The epoch.
            epoch: u64,
            /// How long it is sure from now on. Milliseconds.
            left: Millis,
        },
        /// Lease: the claim was granted.
        Mine = "mine" {
            /// Which claim.
            operation: OperationId,
            /// The epoch.
            epoch: u64,
            /// How long it was granted for. Milliseconds.
            term: Millis,
        },
        /// Lease: there is none for this gateway. Definite.
        NotMine = "not-mine" {
            /// Which claim.
            operation: OperationId,
            /// Whether that is because another life of the gateway has it.
            fenced: bool,
        },
        /// Lease: the control plane made the handshake.
        Granted = "granted" {
            /// The epoch.
            epoch: u64,
        },
        /// Lease: the confirmation or the renew was granted.
        Renewed = "renewed" {
            /// Which one.
            operation: OperationId,
            /// How long it was granted for. Milliseconds.
            term: Millis,
        },
        /// Lease: the granter said no. Definite.
        LeaseRefused = "lease-refused" {
            /// Which confirmation, renew or release.
            operation: OperationId,
        },
        /// Lease: nobody could say.
        CannotKnow = "cannot-know" {
            /// Which question.
            operation: OperationId,
        },
        /// Lease: the granter knows of the stop.
        Released = "released" {
            /// Which release.
            operation: OperationId,
        },
        /// Lease: a call that carried this epoch was refused for it.
        Fenced = "fenced" {
            /// The epoch.
            epoch: u64,
        },
    }
}

messages! {
    /// What a process wants done. What belongs to one part is called as it is there, see the part's own machine.
    pub enum Effect as "LifecycleEffect" {
        /// Clear the directory rows of earlier incarnations; answer done or failed (R3).
        ClearEarlierRows = "clear-earlier-rows" {
            /// Which answer.
            operation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Make everything ready but the doors; answer done or failed.
        Initialise = "initialise" {
            /// Which answer.
            operation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Open the door for health and the handshake; answer done or failed.
        OpenControlDoor = "open-control-door" {
            /// Which answer.
            operation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Open the door for clients; answer done or failed.
        OpenPublicDoor = "open-public-door" {
            /// Which answer.
            operation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Close the control door, or see that it does not open; answer done or failed.
        CloseControlDoor = "close-control-door" {
            /// Which answer.
            operation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Clean up what was initialised, or is still being; answer done or failed.
        CleanUp = "clean-up" {
            /// Which answer.
            operation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// A report: a part of the boot could not be taken back; the others go on.
        UndoFailed = "undo-failed" {
            /// Which.
            step: BootStep,
            /// Whether it was given up at its limit rather than failing.
            timed_out: bool,
        },
        /// Remove the marker file: it has been read, and counts once (Y3).
        RemoveMarker = "remove-marker",
        /// A report: a stop begins, or its intent has changed (Y3).
        Stopping = "stopping" {
            /// What it is for.
            intent: Intent,
            /// Where that came from.
            source: IntentSource,
        },
        /// It is over: the process exits with this code.
        Exit = "exit" {
            /// Why.
            cause: ExitCause,
            /// What the stop was for.
            intent: Intent,
            /// Where that came from.
            source: IntentSource,
            /// How the lease ended, if there was one to ask for.
            lease: Option<LeaseEnd>,
            /// That of the drain; or 5 after a boot that failed, 6 when another life of the gateway has the lease.
            exit_code: u8,
        },

        /// Drain: readiness changes; liveness never does.
        Readiness = "readiness" {
            /// Ready for traffic.
            ready: bool,
        },
        /// Drain: a report of the phase.
        Entered = "entered" {
            /// The phase.
            phase: Phase,
            /// What the stop is for.
            intent: Intent,
            /// What is left of the whole budget. Milliseconds.
            left: Millis,
        },
        /// Drain: from now on responses carry `Connection: close` and retry hints.
        LameDuck = "lame-duck",
        /// Drain: run a step of the drain's config; answer done or failed.
        RunStep = "run-step" {
            /// Which answer.
            operation: OperationId,
            /// Its place in the drain's list.
            step: u32,
            /// Counted from 1.
            attempt: u32,
            /// Given up after this. Milliseconds.
            limit: Millis,
            /// What the stop is for: on a handoff, leave alone what the successor holds (H7).
            intent: Intent,
        },
        /// Drain: a report: a step of the drain's config is over without success.
        StepFailed = "step-failed" {
            /// Its place in the drain's list.
            step: u32,
            /// Whether it was cut at its limit rather than failing.
            timed_out: bool,
        },
        /// Drain: accept what is queued, then close the public door; answer done.
        ClosePublicDoor = "close-public-door" {
            /// Which answer.
            operation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Drain: answer [`Input::Load`] now, and whenever it changes.
        Count = "count",
        /// Drain: close connections that have been idle for this long.
        CloseIdle = "close-idle" {
            /// The minimum idle age. Milliseconds.
            older_than: Millis,
        },
        /// Drain: tell long streams to end.
        EndStreams = "end-streams",
        /// Drain: tell this many tunnels to move.
        Tell = "tell" {
            /// How many.
            count: u32,
            /// The window that they may spread over; none: now. Milliseconds.
            within: Option<Millis>,
        },
        /// Drain: a report: the even pace is faster than asked.
        PaceClamped = "pace-clamped" {
            /// The window that was asked for. Milliseconds.
            wanted: Millis,
            /// The window that is used. Milliseconds.
            used: Millis,
        },
        /// Drain: clear the directory rows that are left, in one call; answer done or failed.
        ClearRows = "clear-rows" {
            /// Which answer.
            operation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Drain: close every tunnel as soon as it carries no request.
        CloseTunnels = "close-tunnels" {
            /// The close code.
            code: u16,
        },
        /// Drain: the last tunnel has gone: close the door for forwarded requests.
        ClosePeerDoor = "close-peer-door",
        /// Drain: cut everything that is left, then answer [`Input::Load`] until nothing is.
        Abort = "abort" {
            /// The close code of tunnels.
            code: u16,
        },
        /// Drain: a report: the directory could not be cleared.
        RowsLeft = "rows-left",
        /// Drain: a report: the drain is over. The exit follows.
        Stopped = "stopped" {
            /// What the stop was for.
            intent: Intent,
            /// Requests and tunnels that ended without being cut.
            drained: u32,
            /// Those that were cut; 1 if the host never said how many there were.
            forced: u32,
            /// Those that could not be cut in time; 1 if the host never said how many there were.
            abandoned: u32,
            /// How many steps failed, what could not be taken back of the boot included.
            failed_steps: u32,
            /// From the begin to the end. Milliseconds.
            duration: Millis,
            /// The drain's own exit code; that of the process is in [`Effect::Exit`].
            exit_code: u8,
        },

        /// Handoff: a report: the upgrade waits until older generations are gone.
        Queued = "queued" {
            /// At most so long. Milliseconds.
            limit: Millis,
        },
        /// Handoff: a report: there is no upgrade, for this reason.
        UpgradeRefused = "upgrade-refused" {
            /// The reason.
            why: UpgradeRefusal,
        },
        /// Handoff, successor: tell the service manager, if there is one. A fresh boot says ready too: when it serves,
        /// or as soon as it asks for its lease.
        Notify = "notify" {
            /// What.
            notice: ServiceNotice,
        },
        /// Handoff: start the successor with the listening sockets; answer done when it runs.
        Spawn = "spawn" {
            /// Which answer.
            operation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Handoff: capture the state for the successor; answer done or failed.
        CaptureState = "capture-state" {
            /// Which answer.
            operation: OperationId,
            /// The most bytes.
            most: u32,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Handoff: tell the successor that it may accept.
        Acknowledge = "acknowledge" {
            /// Which successor.
            generation: OperationId,
            /// The version of the messages that both speak.
            version: u16,
            /// Whether the captured state goes with it.
            state: bool,
        },
        /// Handoff: read what has arrived from the successor and whether it lives; tell that first, then answer done.
        Look = "look" {
            /// Which answer.
            operation: OperationId,
            /// Which successor.
            generation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Handoff: kill the successor and all of its group, reap it, answer done.
        Kill = "kill" {
            /// Which answer.
            operation: OperationId,
            /// Which successor.
            generation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Handoff: run an undo hook of the handoff's config; answer done or failed.
        RunUndo = "run-undo" {
            /// Which answer.
            operation: OperationId,
            /// Its place in the handoff's list.
            hook: u32,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Handoff: a report: the upgrade failed, and everything is as before it.
        RolledBack = "rolled-back" {
            /// Which successor.
            generation: OperationId,
            /// Why.
            cause: RollbackCause,
        },
        /// Handoff: a report: the successor accepts. There is no way back from here.
        Accepted = "accepted" {
            /// Which successor.
            generation: OperationId,
        },
        /// Handoff, successor: write a process id to the PID file; answer done or failed.
        WritePidFile = "write-pid-file" {
            /// Which answer.
            operation: OperationId,
            /// Which successor's; none: this process's own.
            generation: Option<OperationId>,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Handoff: let the successor have the lease; answer done or failed.
        PassLease = "pass-lease" {
            /// Which answer.
            operation: OperationId,
            /// Which successor.
            generation: OperationId,
            /// The epoch.
            epoch: u64,
            /// How long it is sure from now on. Milliseconds.
            left: Millis,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Handoff, successor: a report: a task is over without success; the others go on.
        TaskFailed = "task-failed" {
            /// Which.
            task: HandoffTask,
            /// The place of an undo hook in the handoff's list.
            hook: Option<u32>,
            /// Whether it was given up at its limit rather than failing.
            timed_out: bool,
        },
        /// Handoff: a report: the successor ended while this generation drained.
        SuccessorLost = "successor-lost" {
            /// Which successor.
            generation: OperationId,
        },

        /// Successor: say *ready* to the old process.
        SayReady = "say-ready" {
            /// The version of the messages that this side speaks.
            version: u16,
        },
        /// Successor: load the state that came with the acknowledgement; answer failed to refuse it.
        LoadState = "load-state" {
            /// Which answer.
            operation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Successor: start to accept on the inherited sockets, the control door's included; answer done when all do.
        Accept = "accept" {
            /// Which answer.
            operation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Successor: say *accepting* to the old process.
        SayAccepting = "say-accepting",
        /// Successor: say *refused* to the old process.
        SayRefused = "say-refused",
        /// Successor: close the inherited sockets that nobody has claimed.
        CloseUnclaimed = "close-unclaimed",
        /// Successor: a report: it accepts, and serves from now on.
        TookOver = "took-over" {
            /// Whether the old process is gone and this one promoted itself.
            promoted: bool,
        },

        /// Lease: ask for it; answer mine, not mine or cannot know.
        Claim = "claim" {
            /// Which answer.
            operation: OperationId,
            /// No answer after this is cannot know. Milliseconds.
            limit: Millis,
            /// The epoch of the process that handed over to this one.
            predecessor: Option<u64>,
        },
        /// Lease: say that the handshake succeeded; answer renewed, refused or cannot know.
        Confirm = "confirm" {
            /// Which answer.
            operation: OperationId,
            /// The epoch of the handshake.
            epoch: u64,
            /// No answer after this is cannot know. Milliseconds.
            limit: Millis,
        },
        /// Lease: renew it; answer renewed, refused or cannot know.
        Renew = "renew" {
            /// Which answer.
            operation: OperationId,
            /// The epoch.
            epoch: u64,
            /// No answer after this is cannot know. Milliseconds.
            limit: Millis,
        },
        /// Lease: it is held, and every call carries the epoch from now on.
        Serve = "serve" {
            /// The epoch.
            epoch: u64,
        },
        /// Lease: a report: there is definitely none; a handshake may come.
        Idle = "idle",
        /// Lease: a report: nobody could say; asked again after this delay.
        CannotKnow = "cannot-know" {
            /// How often in a row.
            attempt: u32,
            /// From now. Milliseconds.
            delay: Millis,
        },
        /// Lease: a report: it is lost or passed on; the drain has begun, or begins now.
        LeaseLost = "lease-lost" {
            /// Why.
            loss: LeaseLoss,
            /// Serving ends by then. Milliseconds from now.
            within: Millis,
        },
        /// Lease: only its margin is left: serve nothing any more, whatever the drain still does.
        Halt = "halt",
        /// Lease: tell the granter of the stop; answer released, refused or cannot know.
        Release = "release" {
            /// Which answer.
            operation: OperationId,
            /// The epoch.
            epoch: u64,
            /// What the stop is for.
            intent: Intent,
            /// No answer after this is cannot know. Milliseconds.
            limit: Millis,
        },
        /// Lease: a report: it is over for this life of the process.
        LeaseOver = "lease-over" {
            /// How it ended.
            end: LeaseEnd,
        },
    }
}

names! {
    /// Why a lifecycle wants to be woken. What belongs to one part is called as it is there.
    pub enum Why {
        /// Clearing rows of earlier incarnations has had its time.
        ClearRowsLimit = "clear-rows-limit",
        /// Initialising has had its time.
        InitialiseLimit = "initialise-limit",
        /// Opening the control door has had its time.
        ControlDoorLimit = "control-door-limit",
        /// Opening the public door has had its time.
        PublicDoorLimit = "public-door-limit",
        /// A successor must hold its own lease by now.
        LeaseDue = "lease-due",
        /// Drain: the lame-duck time is over.
        LameDuckOver = "lame-duck-over",
        /// Drain: a step has had its time.
        StepLimit = "step-limit",
        /// Drain: a step is to be tried again.
        StepRetry = "step-retry",
        /// Drain: the public door has had its time to close.
        DoorLimit = "door-limit",
        /// Drain: the next tunnels are to be told.
        Tell = "tell",
        /// Drain: idle connections are to be looked at.
        IdleSweep = "idle-sweep",
        /// Drain: the told tunnels have had their time to leave.
        Flush = "flush",
        /// Drain: the directory has had its time.
        RowsLimit = "rows-limit",
        /// Drain: the grace period is over.
        Grace = "grace",
        /// Drain: the host has had its time to cut what is left.
        ForceLimit = "force-limit",
        /// Handoff: a queued upgrade has waited long enough.
        QueueLimit = "queue-limit",
        /// Handoff: spawning has had its time.
        SpawnLimit = "spawn-limit",
        /// Handoff: the successor has had its time to initialise.
        ReadyLimit = "ready-limit",
        /// Handoff, successor: the state has had its time.
        StateLimit = "state-limit",
        /// Handoff, successor: starting to accept has had its time.
        AcceptLimit = "accept-limit",
        /// Handoff: the settle time is over.
        Settled = "settled",
        /// Handoff: the host has had its time to look.
        LookLimit = "look-limit",
        /// Handoff: killing has had its time.
        KillLimit = "kill-limit",
        /// Handoff: an undo hook has had its time.
        UndoLimit = "undo-limit",
        /// Handoff, successor: writing the PID file has had its time.
        PidFileLimit = "pid-file-limit",
        /// Handoff: passing the lease has had its time.
        LeaseLimit = "lease-limit",
        /// Handoff: this generation has had its time to drain.
        DrainLimit = "drain-limit",
        /// Successor: the old process has had its time to acknowledge.
        AcknowledgeLimit = "acknowledge-limit",
        /// Successor: the old process has had its time to be gone.
        GoneLimit = "gone-limit",
        /// Lease: the granter has had its time to be told.
        ReleaseLimit = "release-limit",
        /// Lease: only the margin is left.
        StopDue = "stop-due",
        /// Lease: without a renew the drain must begin now.
        DrainDue = "drain-due",
        /// Lease: the question has had its time.
        AskLimit = "ask-limit",
        /// Lease: the renew, or the next try of a question, is due.
        Ask = "ask",
    }
}

/// The reasons of the parts are known by the same names.
macro_rules! same {
    ($Part:ty: $($Why:ident)*) => {
        impl From<$Part> for Why {
            fn from(why: $Part) -> Self {
                match why {
                    $(<$Part>::$Why => Self::$Why),*
                }
            }
        }
    };
}
same!(drain::Why: LameDuckOver StepLimit StepRetry DoorLimit Tell IdleSweep Flush RowsLimit Grace ForceLimit);
same!(handoff::Why: QueueLimit SpawnLimit ReadyLimit StateLimit AcceptLimit Settled LookLimit KillLimit
    UndoLimit PidFileLimit LeaseLimit DrainLimit);
same!(successor::Why: InitialiseLimit AcknowledgeLimit StateLimit AcceptLimit GoneLimit PidFileLimit);
same!(lease_holder::Why: ReleaseLimit StopDue DrainDue AskLimit Ask);
