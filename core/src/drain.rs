//! Drain: stop serving without breaking anyone (rules D1–D10).

use alloc::string::String;
use alloc::vec::Vec;

use crate::{Millis, OperationId};

names! {
    /// What a stop is for. Ordered: a later begin can only raise it (D2).
    pub enum Intent {
        /// Nothing to do any more.
        Idle = "idle",
        /// A successor has taken the sockets over.
        Handoff = "handoff",
        /// The process comes back.
        Restart = "restart",
        /// The process does not come back.
        Decommission = "decommission",
    }
}

names! {
    /// Where a drain is (D1). Never backwards.
    pub enum Phase {
        /// Not serving yet.
        Starting = "starting",
        /// Serving.
        Serving = "serving",
        /// Not ready any more, still accepting.
        LameDuck = "lame-duck",
        /// The public door is closed; what is there finishes.
        Draining = "draining",
        /// Out of time: what is left is cut.
        Forcing = "forcing",
        /// The release steps run.
        Releasing = "releasing",
        /// Over.
        Stopped = "stopped",
    }
}

names! {
    /// When a step of the stop runs.
    pub enum StepKind {
        /// While still accepting: take this process out of balancers and DNS (D3).
        Unroute = "unroute",
        /// When everything has drained: flush, hand back, close (D8).
        Release = "release",
    }
}

settings! {
    /// A named step of the stop (D3, D8). The host knows it by its place in the list.
    pub struct ReleaseStep as "ReleaseStep" {
        /// Its name, in errors and outcomes.
        name: String = String::new(),
        /// When it runs.
        kind: StepKind = StepKind::Release,
        /// Its time limit, retries included. Milliseconds.
        limit: Millis = 2_000,
        /// How often it may be tried within its limit.
        attempts: u32 = 1,
    }
}

settings! {
    /// How a process stops.
    pub struct Config as "DrainConfig" {
        /// How long to stay accepting while not ready, so that balancers stop sending first (D3). Milliseconds; 0 is allowed.
        lame_duck: Millis = 2_000,
        /// How long in-flight work may take once the public door is closed (D7). Milliseconds.
        grace: Millis = 20_000,
        /// How long the platform waits before it kills (Kubernetes: 30 s, fly.io: 5 s). Milliseconds.
        kill_budget: Millis = 30_000,
        /// What must be left of the budget for forcing and the exit itself. Milliseconds.
        margin: Millis = 1_000,
        /// How long a told tunnel may take to leave before it is closed (D5). Milliseconds.
        flush: Millis = 500,
        /// How many tunnels a second may be told to move; 0: all at once (D5).
        reconnect_rate: u32 = 0,
        /// How long a keep-alive connection must have been idle before it is closed (D4). Milliseconds.
        min_idle_age: Millis = 500,
        /// Two signals closer than this count as one (D2). Milliseconds.
        signal_merge: Millis = 500,
        /// Whether streams (SSE, gRPC) are told to end when draining starts; otherwise they are cut at the deadline (D4).
        end_streams: bool = true,
        /// The close code of tunnels and WebSockets on restart, handoff and idle.
        restart_code: u16 = 1012,
        /// The close code of tunnels and WebSockets on decommission.
        decommission_code: u16 = 1001,
        /// The exit code of a clean restart, for supervisors that tell it by one.
        restart_exit_code: u8 = 0,
        /// The steps, in order.
        steps: Vec<ReleaseStep> = Vec::new(),
    }
}

messages! {
    /// What happened to a process that drains.
    pub enum Input as "DrainInput" {
        /// Start-up is done: serving.
        Started = "started",
        /// The operating system sent a stop signal (D2): the first begins, one later than `signal_merge` forces.
        Signal = "signal" {
            /// What a stop by this signal means.
            intent: Intent,
        },
        /// The host asks for a stop.
        Begin = "begin" {
            /// What it is for.
            intent: Intent,
        },
        /// The host asks to cut what is left now.
        Force = "force",
        /// An operation is done.
        Done = "done" {
            /// Which.
            operation: OperationId,
        },
        /// An operation failed.
        Failed = "failed" {
            /// Which.
            operation: OperationId,
        },
        /// What is left: the answer to [`Effect::Count`], and again whenever one of these numbers changes.
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
    }
}

messages! {
    /// What a drain wants done.
    pub enum Effect as "DrainEffect" {
        /// Readiness changes; liveness never does.
        Readiness = "readiness" {
            /// Ready for traffic.
            ready: bool,
        },
        /// A report: the phase changed.
        Entered = "entered" {
            /// The phase.
            phase: Phase,
            /// What the stop is for.
            intent: Intent,
            /// What is left of the whole budget. Milliseconds.
            left: Millis,
        },
        /// From now on responses carry `Connection: close` and retry hints (D3).
        LameDuck = "lame-duck",
        /// Run a step of the config; answer done or failed.
        RunStep = "run-step" {
            /// Which answer.
            operation: OperationId,
            /// Its place in the config's list.
            step: u32,
            /// Counted from 1.
            attempt: u32,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// A report: a step is over without success; the others go on.
        StepFailed = "step-failed" {
            /// Its place in the config's list.
            step: u32,
            /// Whether it was cut at its limit rather than failing.
            timed_out: bool,
        },
        /// Accept what is queued, then close the public door; refuse registrations from now on. Answer done.
        ClosePublicDoor = "close-public-door" {
            /// Which answer.
            operation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Answer [`Input::Load`] now, and whenever it changes.
        Count = "count",
        /// Close connections that have been idle for this long.
        CloseIdle = "close-idle" {
            /// The minimum idle age. Milliseconds.
            older_than: Millis,
        },
        /// Tell long streams to end.
        EndStreams = "end-streams",
        /// Tell this many tunnels, that were not told yet, to move.
        Tell = "tell" {
            /// How many.
            count: u32,
            /// The window that they may spread over; none: now. Milliseconds.
            within: Option<Millis>,
        },
        /// A report: the even pace would not fit into the grace period and is faster than asked.
        PaceClamped = "pace-clamped" {
            /// The window that was asked for. Milliseconds.
            wanted: Millis,
            /// The window that is used. Milliseconds.
            used: Millis,
        },
        /// Clear the directory rows that are left, in one call. Answer done or failed.
        ClearRows = "clear-rows" {
            /// Which answer.
            operation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Close every tunnel as soon as it carries no request.
        CloseTunnels = "close-tunnels" {
            /// The close code.
            code: u16,
        },
        /// The last tunnel has gone: close the door for forwarded requests.
        ClosePeerDoor = "close-peer-door",
        /// Out of time: cut everything that is left, then answer [`Input::Load`].
        Abort = "abort" {
            /// The close code of tunnels.
            code: u16,
        },
        /// A report: it is over. The process should exit with `exit_code`.
        Stopped = "stopped" {
            /// What the stop was for.
            intent: Intent,
            /// Requests and tunnels that were there when draining began and ended by themselves.
            drained: u32,
            /// Those that were cut.
            forced: u32,
            /// Those of which nothing is known, as the host did not answer.
            abandoned: u32,
            /// How many steps failed.
            failed_steps: u32,
            /// From the begin to the end. Milliseconds.
            duration: Millis,
            /// 0 clean, or `restart_exit_code`; 3 when a step failed, 4 when work was cut or abandoned.
            exit_code: u8,
        },
    }
}

names! {
    /// Why a drain wants to be woken.
    pub enum Why {
        /// The lame-duck time is over.
        LameDuckOver = "lame-duck-over",
        /// A step has had its time.
        StepLimit = "step-limit",
        /// A step is to be tried again.
        StepRetry = "step-retry",
        /// The public door has had its time to close.
        DoorLimit = "door-limit",
        /// The next tunnels are to be told.
        Tell = "tell",
        /// Idle connections are to be looked at.
        IdleSweep = "idle-sweep",
        /// The told tunnels have had their time to leave.
        Flush = "flush",
        /// The directory has had its time.
        RowsLimit = "rows-limit",
        /// The grace period is over.
        Grace = "grace",
        /// The host has had its time to cut what is left.
        ForceLimit = "force-limit",
    }
}
