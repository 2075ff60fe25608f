//! Drain: stop serving without breaking anyone (rules D1–D10).
//!
//! A process that is told to stop still has balancers that send to it, requests in flight, idle keep-alive
//! connections that may turn busy in the same moment, long streams, and tunnels whose owners must first find
//! another home. This machine decides what to end when; the host owns every socket and counts them.
//!
//! # States (D1; never backwards)
//!
//! | phase | what happens | leaves it |
//! | --- | --- | --- |
//! | starting *(rests)* | nothing is open yet | [`Input::Started`]; a begin goes to releasing |
//! | serving *(rests)* | | a begin or a signal |
//! | lame-duck | not ready, still accepting; un-route steps run in order (D3) | `lame_duck` is over and the un-route steps are |
//! | draining | public door closed (D4), tunnels told at an even pace (D5), what is there ends | nothing is left; or the grace period is over; or a force |
//! | forcing | door, notice and rows if they are still owed, then the cut (D7) | nothing is left, or its share of the margin is over |
//! | releasing | release steps run in order (D8) | all are over |
//! | stopped *(rests)* | | |
//!
//! # What the host owes
//!
//! * [`Effect::RunStep`], [`Effect::ClosePublicDoor`] and [`Effect::ClearRows`] are operations: one
//!   [`Input::Done`] or [`Input::Failed`] each. One without an answer ends at its limit.
//! * [`Effect::Count`] asks for [`Input::Load`] now and after every change; several changes may be put together
//!   as long as the last one is always told. There is nothing per request outside a drain.
//! * A release step that hands over something (a lease, a unix path) looks at the intent of the last
//!   [`Effect::Entered`]: on a handoff it leaves alone what the successor holds.
//!
//! # Choices that the rules leave open
//!
//! * A handoff skips the un-route steps and the lame-duck wait: its successor serves on the same address, so
//!   there is no balancer to wait for, and taking the address out of one would be the outage.
//! * Rows are cleared exactly once if all goes well: when told tunnels outstay the flush time, or when the last
//!   tunnel has gone (a tunnel that moved cleanly may still have left a row; one batched call is cheap). A call
//!   that fails is made a second time, later; then [`Effect::RowsLeft`] says so and it counts as a failed step.
//!   A process that never had a tunnel is not asked to clear any.
//! * The last [`CLOSE_ROOM`] (or a quarter of the grace period, if that is less) is kept for clearing rows and
//!   closing, so that tunnels which never move end by a close and not by the cut. The tell deadline is the end
//!   of the grace period minus this room minus `flush`.
//! * A force does not skip the order "door, notice, rows, cut", it only shortens the waits to a quarter of the
//!   margin each. It cuts un-route steps short (each is reported as failed), never release steps: these are
//!   bounded, and what they hand back would leak.
//! * The times of a stop add up to less than `kill_budget` (D9). After late wake-ups the later phases get less,
//!   and each release step still gets started.
//! * After a restore the outstanding operations are unknown: their limits end them.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::close::{self, Sender};
use crate::contract::{earliest, shift, shift_timer};
use crate::{
    Answer, Clock, Deadline, Explanation, FaultCode, Faults, Message, Millis, Name, OperationId, Operations,
    Random, Reader, Record, RecordFault, Rejection, RejectionCode, Rules, Writer, add, until,
};

/// The exit code of a stop in which a step failed (D10).
pub const EXIT_STEP_FAILED: u8 = 3;
/// The exit code of a stop that cut or abandoned work (D10); it outranks [`EXIT_STEP_FAILED`].
pub const EXIT_FORCED: u8 = 4;
/// The longest time that the public door gets to accept what is queued and close; a quarter of the grace
/// period if that is less. Milliseconds.
pub const DOOR_LIMIT: Millis = 1_000;
/// The longest time that the directory gets to clear rows; half of what is left of the grace period if that
/// is less. Milliseconds.
pub const ROWS_LIMIT: Millis = 1_000;
/// What is kept of the grace period for clearing rows and closing tunnels; a quarter of it if that is less.
/// Milliseconds.
pub const CLOSE_ROOM: Millis = 1_000;
/// The longest pause before a step is tried again; a tenth of its limit if that is less. Milliseconds.
pub const RETRY_PAUSE: Millis = 1_000;

/// How often idle connections are looked at: a quarter of the minimum age, so that the exit comes at most that
/// much later than it could, within these bounds. Milliseconds.
const SWEEP: (Millis, Millis) = (25, 100);
/// The span over which the rate of telling is bounded (D5). Milliseconds.
const SPAN: Millis = 100;
/// How far apart batches of a fast pace are. Milliseconds.
const BATCH: Millis = 10;
/// The most of those batches that touch one span, both its ends included.
const BATCHES: u64 = 11;
/// The least margin that can be shared between what forcing waits for and the exit. Milliseconds.
const LEAST_MARGIN: Millis = 10;
/// The most steps that a stop can have.
const MOST_STEPS: u64 = 1_000;
/// The most attempts that a step can have.
const MOST_ATTEMPTS: u64 = 100;

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
        /// A report: the stop entered this phase, or its intent was raised in it. `serving` and `stopped` are not
        /// reported by it, but by [`Effect::Readiness`] and [`Effect::Stopped`].
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
        /// Tell this many tunnels, that were not told yet, to move; all of them if there are fewer. They count as
        /// told in the next [`Input::Load`].
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
        /// Out of time: tell what there is if the last [`Input::Load`] is no longer true, cut everything that is
        /// left, then answer [`Input::Load`] until nothing is.
        Abort = "abort" {
            /// The close code of tunnels.
            code: u16,
        },
        /// A report: it is over. The process should exit with `exit_code`.
        Stopped = "stopped" {
            /// What the stop was for.
            intent: Intent,
            /// Requests and tunnels that were there when the public door had closed and ended without being cut.
            drained: u32,
            /// Those that were cut; 1 if the host never said how many there were.
            forced: u32,
            /// Those that could not be cut in time, or of which the host said nothing; 1 if it never said how many
            /// there were.
            abandoned: u32,
            /// How many steps failed, the clearing of rows included.
            failed_steps: u32,
            /// From the begin to the end, at most `kill_budget`. Milliseconds.
            duration: Millis,
            /// 0 clean, or `restart_exit_code`; 3 when a step failed, 4 when work was cut or abandoned.
            exit_code: u8,
        },
        /// A report: the directory could not be cleared; its rows end with their time to live.
        RowsLeft = "rows-left",
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

/// An operation that the host has under way, and when it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Pending {
    operation: OperationId,
    until: Millis,
}
record_fields!(Pending { operation, until });

/// How a step of the config stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Attempt {
    Running(OperationId),
    /// It failed and is tried again at this time.
    Pausing(Millis),
}

/// The step of the config that is being worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct StepRun {
    /// Its place in the config's list.
    step: u32,
    /// Counted from 1.
    number: u32,
    /// When its whole time is over, retries included.
    until: Millis,
    attempt: Attempt,
}

/// The door for clients and for registrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Door {
    Open,
    Closing(Pending),
    Closed,
}

/// The rows of this process in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Rows {
    Untouched,
    Clearing {
        pending: Pending,
        /// Whether a failure of this call leaves another one.
        again: bool,
    },
    /// One call failed, another one is left.
    Failed,
    Cleared,
    /// All calls failed.
    Left,
}

/// How far the tunnels are (D5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Telling {
    Untouched,
    Pacing(Pace),
    /// All are told; until then they may leave by themselves.
    Flushing(Millis),
    /// Those that stayed wait for their rows to be cleared.
    Clearing,
    /// Those that stayed are being closed.
    Closing,
}

/// What the host counted last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Load {
    requests: u32,
    idle: u32,
    streams: u32,
    tunnels: u32,
    told: u32,
}
record_fields!(Load { requests, idle, streams, tunnels, told });

impl Load {
    fn untold(self) -> u32 {
        self.tunnels.saturating_sub(self.told)
    }

    /// What would be work lost if it were cut.
    fn work(self) -> u32 {
        self.requests.saturating_add(self.tunnels)
    }

    fn is_empty(self) -> bool {
        self.requests == 0 && self.idle == 0 && self.tunnels == 0
    }
}

/// An even pace over a window, with its bound (D5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Pace {
    /// How many tunnels the window was made for; with it, this is the pace.
    tunnels: u32,
    /// How long telling them takes. Milliseconds.
    window: Millis,
    /// When the last one is to be told at the latest, on time.
    until: Millis,
    /// When the next ones are told.
    next: Millis,
    /// When those that were told so far have had their flush time.
    flush: Millis,
    /// The fewest untold there were. A count that the host took before it heard of the last batch says more; that
    /// those are told in the next count again is no leaving.
    fewest: u32,
}
record_fields!(Pace { tunnels, window, until, next, flush, fewest });

impl Pace {
    /// The most that may be told in any span: twice the mean, rounded up, at least one.
    fn bound(&self) -> u64 {
        let twice = u128::from(self.tunnels).saturating_mul(u128::from(SPAN)).saturating_mul(2);
        u64::try_from(twice.div_ceil(u128::from(self.window.max(1)))).unwrap_or(u64::MAX).max(1)
    }

    /// Whether tunnels are told one at a time.
    fn is_slow(&self) -> bool {
        self.bound() < BATCHES.saturating_mul(2)
    }

    /// The most of one batch. `most` every `apart` stays within the bound over every span, however late the
    /// ticks come: that is why a late one is followed by a faster pace and never by a burst.
    fn most(&self) -> u64 {
        if self.is_slow() { 1 } else { self.bound().div_euclid(BATCHES) }
    }

    /// The least time between two batches. Milliseconds.
    fn apart(&self) -> Millis {
        if self.is_slow() { SPAN.div_euclid(self.bound()).saturating_add(1) } else { BATCH }
    }

    /// How many to tell now: those that cannot wait until the next batch.
    fn due(&self, now: Millis, untold: u32) -> u32 {
        let later = until(now, self.until).saturating_sub(self.apart());
        let can_wait = scale(later, u64::from(self.tunnels), self.window);
        let due = u64::from(untold).saturating_sub(can_wait).clamp(1, self.most());
        u32::try_from(due).unwrap_or(u32::MAX).min(untold)
    }

    /// When the next batch is told, if `untold` are left: on the even pace, or `apart` from now if that is past.
    fn next_after(&self, now: Millis, untold: u32) -> Millis {
        self.until.saturating_sub(self.span_of(untold)).max(add(now, self.apart()))
    }

    /// How long telling this many takes at the even pace. Milliseconds.
    fn span_of(&self, tunnels: u32) -> Millis {
        scale(self.window, u64::from(tunnels), u64::from(self.tunnels))
    }
}

/// What forcing waits for after the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Cut {
    /// When the host has had its time.
    until: Millis,
    /// The work that was there, if the host had said.
    before: Option<u32>,
}
record_fields!(Cut { until, before });

/// How the work ended (D10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Counts {
    drained: u32,
    forced: u32,
    abandoned: u32,
}
record_fields!(Counts { drained, forced, abandoned });

/// The drain of one process. See the [module](self) for its states and what its host owes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Drain {
    config: Arc<Config>,
    clock: Clock,
    operations: Operations,
    phase: Phase,
    intent: Intent,
    /// Until when another signal is the same one (D2); none before the first.
    merge_until: Option<Millis>,
    /// The end of the whole budget, once a stop has begun.
    stop_by: Option<Millis>,
    lame_duck_over: Option<Millis>,
    step: Option<StepRun>,
    failed_steps: u32,
    door: Door,
    /// Whether the host was asked to count.
    asked: bool,
    load: Option<Load>,
    /// The work that the first count found.
    present: u32,
    had_tunnels: bool,
    telling: Telling,
    rows: Rows,
    peer_door_closed: bool,
    sweep: Option<Millis>,
    grace_over: Option<Millis>,
    cut: Option<Cut>,
    counts: Counts,
}

impl Rules for Drain {
    const NAME: &'static str = "drain";
    const SNAPSHOT_VERSION: u16 = 1;
    type Config = Config;
    type Input = Input;
    type Effect = Effect;
    type Why = Why;

    fn check(config: &Config, faults: &mut Faults) {
        faults.duration("lame_duck", config.lame_duck, 0);
        faults.duration("grace", config.grace, 1);
        faults.duration("kill_budget", config.kill_budget, 0);
        check_budget(config, faults);
        faults.duration("margin", config.margin, LEAST_MARGIN);
        faults.duration("flush", config.flush, 0);
        faults.duration("min_idle_age", config.min_idle_age, 0);
        faults.duration("signal_merge", config.signal_merge, 0);
        for (field, code) in
            [("restart_code", config.restart_code), ("decommission_code", config.decommission_code)]
        {
            if !close::may_send(code, Sender::Server) {
                let message = format!(
                    "is {code}, which a server may not send; use 1000-1003, 1007-1009, 1011-1014 or 3000-4999"
                );
                faults.add(FaultCode::OutOfRange, field, message);
            }
        }
        if matches!(config.restart_exit_code, EXIT_STEP_FAILED | EXIT_FORCED) {
            let message = format!(
                "is {}, which means a failed step ({EXIT_STEP_FAILED}) or cut work ({EXIT_FORCED}); choose another",
                config.restart_exit_code
            );
            faults.add(FaultCode::Contradiction, "restart_exit_code", message);
        }
        check_steps(&config.steps, faults);
    }

    fn start(config: Config, _random: Random, clock: Clock) -> Self {
        Self {
            config: Arc::new(config),
            clock,
            operations: Operations::default(),
            phase: Phase::Starting,
            intent: Intent::Idle,
            merge_until: None,
            stop_by: None,
            lame_duck_over: None,
            step: None,
            failed_steps: 0,
            door: Door::Open,
            asked: false,
            load: None,
            present: 0,
            had_tunnels: false,
            telling: Telling::Untouched,
            rows: Rows::Untouched,
            peer_door_closed: false,
            sweep: None,
            grace_over: None,
            cut: None,
            counts: Counts::default(),
        }
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn clock(&self) -> Clock {
        self.clock
    }

    fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    fn state(&self) -> &'static str {
        self.phase.as_str()
    }

    fn is_resting(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Serving | Phase::Stopped)
    }

    fn next_timer(&self) -> Option<Deadline<Why>> {
        let retry = match self.step {
            Some(StepRun { attempt: Attempt::Pausing(at), .. }) => Some(at),
            _ => None,
        };
        let door = match self.door {
            Door::Closing(pending) => Some(pending.until),
            _ => None,
        };
        let (tell, flush) = match self.telling {
            Telling::Pacing(pace) => (Some(pace.next.min(self.tell_by())), None),
            Telling::Flushing(at) => (None, Some(at)),
            _ => (None, None),
        };
        let rows = match self.rows {
            Rows::Clearing { pending, .. } => Some(pending.until),
            _ => None,
        };
        earliest([
            (self.lame_duck_over, Why::LameDuckOver),
            (self.step.map(|run| run.until), Why::StepLimit),
            (retry, Why::StepRetry),
            (door, Why::DoorLimit),
            (tell, Why::Tell),
            (flush, Why::Flush),
            (rows, Why::RowsLimit),
            (self.grace_over, Why::Grace),
            (self.cut.map(|cut| cut.until), Why::ForceLimit),
            (self.sweep, Why::IdleSweep),
        ])
    }

    fn rebase(&mut self, now: Millis) {
        let from = self.clock.now();
        for timer in [
            &mut self.merge_until,
            &mut self.stop_by,
            &mut self.lame_duck_over,
            &mut self.sweep,
            &mut self.grace_over,
        ] {
            shift_timer(timer, from, now);
        }
        if let Some(run) = &mut self.step {
            shift(&mut run.until, from, now);
            if let Attempt::Pausing(at) = &mut run.attempt {
                shift(at, from, now);
            }
        }
        if let Door::Closing(pending) = &mut self.door {
            shift(&mut pending.until, from, now);
        }
        match &mut self.telling {
            Telling::Pacing(pace) => {
                for at in [&mut pace.until, &mut pace.next, &mut pace.flush] {
                    shift(at, from, now);
                }
            }
            Telling::Flushing(at) => shift(at, from, now),
            Telling::Untouched | Telling::Clearing | Telling::Closing => {}
        }
        if let Rows::Clearing { pending, .. } = &mut self.rows {
            shift(&mut pending.until, from, now);
        }
        if let Some(cut) = &mut self.cut {
            shift(&mut cut.until, from, now);
        }
        self.clock.rebase(now);
    }

    fn fire(&mut self, why: Why, effects: &mut Vec<Effect>) {
        match why {
            // D3
            Why::LameDuckOver => {
                self.lame_duck_over = None;
                self.leave_lame_duck(effects);
            }
            // D3, D8
            Why::StepLimit => self.step_out_of_time(effects),
            Why::StepRetry if self.step.is_some_and(|run| run.until <= self.now()) => {
                self.step_out_of_time(effects)
            }
            Why::StepRetry => self.try_step(effects),
            // D4
            Why::DoorLimit => self.door_over(effects),
            // D5
            Why::Tell => self.tell(effects),
            Why::Flush => self.clear_stragglers(effects),
            Why::RowsLimit => self.rows_over(false, effects),
            // D7
            Why::Grace => self.force(effects),
            Why::ForceLimit => self.release(effects),
            // D4
            Why::IdleSweep => {
                self.sweep = Some(add(self.now(), self.sweep_period()));
                effects.push(Effect::CloseIdle { older_than: self.config.min_idle_age });
            }
        }
    }

    fn apply(&mut self, input: &Input, effects: &mut Vec<Effect>) -> Result<(), Rejection> {
        match *input {
            Input::Started => match self.phase {
                Phase::Starting => {
                    self.phase = Phase::Serving;
                    effects.push(Effect::Readiness { ready: true });
                }
                Phase::Serving => return Err(self.reject(RejectionCode::ImpossibleNow, input)),
                // D2: the start was stopped; the host could not know yet.
                _ => {}
            },
            Input::Signal { intent } => self.signal(intent, effects),
            Input::Begin { intent } => match self.phase {
                Phase::Starting | Phase::Serving => self.begin(intent, effects),
                _ => self.raise(intent, effects),
            },
            Input::Force => match self.phase {
                Phase::Starting | Phase::Serving => {
                    return Err(self.reject(RejectionCode::ImpossibleNow, input));
                }
                _ => self.force_if_possible(effects),
            },
            Input::Done { operation } => self.answered(operation, true, input, effects)?,
            Input::Failed { operation } => self.answered(operation, false, input, effects)?,
            Input::Load { requests, idle, streams, tunnels, told } => match self.phase {
                Phase::Releasing | Phase::Stopped => {}
                _ if !self.asked => return Err(self.reject(RejectionCode::ImpossibleNow, input)),
                _ if told > tunnels || streams > requests => {
                    return Err(self.reject(RejectionCode::ValueOutOfRange, input));
                }
                _ => self.counted(Load { requests, idle, streams, tunnels, told }, effects),
            },
        }
        Ok(())
    }

    fn explain(&self) -> Explanation {
        let now = self.now();
        let intent = self.intent.as_str();
        let because = match self.phase {
            Phase::Starting => String::from("start-up is not done"),
            Phase::Serving => String::from("start-up is done, and nothing has asked for a stop"),
            Phase::Stopped => {
                let Counts { drained, forced, abandoned } = self.counts;
                let failed = self.failed_steps;
                format!(
                    "the stop for {intent} is over: {drained} drained, {forced} forced, {abandoned} abandoned, \
                     {failed} steps failed"
                )
            }
            _ => format!("a stop for {intent} is under way and has {} ms of its budget left", self.left()),
        };
        Explanation {
            state: self.phase.as_str(),
            because,
            waits_for: self.waits_for(),
            next: self.next_timer().map(|timer| (until(now, timer.at), timer.why.as_str())),
        }
    }

    fn normalize(&mut self, renumber: &mut dyn FnMut(&'static str, &mut u32)) {
        if let Some(StepRun { attempt: Attempt::Running(operation), .. }) = &mut self.step {
            renumber("operation", operation);
        }
        if let Door::Closing(pending) = &mut self.door {
            renumber("operation", &mut pending.operation);
        }
        if let Rows::Clearing { pending, .. } = &mut self.rows {
            renumber("operation", &mut pending.operation);
        }
        renumber("operation", self.operations.counter());
    }

    fn write(&self, to: &mut Writer) {
        self.config.write(to);
        to.number(self.clock.now());
        self.operations.write(to);
        self.phase.write(to);
        self.intent.write(to);
        to.optional(self.merge_until);
        to.optional(self.stop_by);
        to.optional(self.lame_duck_over);
        self.step.write(to);
        self.failed_steps.write(to);
        self.door.write(to);
        to.flag(self.asked);
        self.load.write(to);
        self.present.write(to);
        to.flag(self.had_tunnels);
        self.telling.write(to);
        self.rows.write(to);
        to.flag(self.peer_door_closed);
        to.optional(self.sweep);
        to.optional(self.grace_over);
        self.cut.write(to);
        self.counts.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        let drain = Self {
            config: Record::read(from)?,
            clock: Clock::starting_at(from.time()?),
            operations: Record::read(from)?,
            phase: Record::read(from)?,
            intent: Record::read(from)?,
            merge_until: from.timer()?,
            stop_by: from.timer()?,
            lame_duck_over: from.timer()?,
            step: Record::read(from)?,
            failed_steps: Record::read(from)?,
            door: Record::read(from)?,
            asked: from.flag()?,
            load: Record::read(from)?,
            present: Record::read(from)?,
            had_tunnels: from.flag()?,
            telling: Record::read(from)?,
            rows: Record::read(from)?,
            peer_door_closed: from.flag()?,
            sweep: from.timer()?,
            grace_over: from.timer()?,
            cut: Record::read(from)?,
            counts: Record::read(from)?,
        };
        if drain.is_possible() { Ok(drain) } else { Err(RecordFault::Corrupt) }
    }
}

impl Drain {
    /// The phase that it is in (D1).
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What the stop is for; [`Intent::Idle`] before one has begun.
    #[must_use]
    pub fn intent(&self) -> Intent {
        self.intent
    }

    /// The series of its operations, for a machine that shares one series among its parts.
    pub(crate) fn operations(&mut self) -> &mut Operations {
        &mut self.operations
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }

    /// What is left of the whole budget. Milliseconds.
    fn left(&self) -> Millis {
        self.stop_by.map_or(self.config.kill_budget, |at| until(self.now(), at))
    }

    fn reject(&self, code: RejectionCode, input: &Input) -> Rejection {
        Rejection { code, input: input.type_name(), state: self.state() }
    }

    fn enter(&mut self, phase: Phase, effects: &mut Vec<Effect>) {
        self.phase = phase;
        effects.push(Effect::Entered { phase, intent: self.intent, left: self.left() });
    }

    // D2: beginning, raising, forcing.

    fn begin(&mut self, intent: Intent, effects: &mut Vec<Effect>) {
        self.intent = intent;
        self.stop_by = Some(add(self.now(), self.config.kill_budget));
        if self.phase == Phase::Starting {
            // Nothing was opened, so there is nothing to drain.
            self.release(effects);
            return;
        }
        // D3: not ready before anything else; the wait and the un-route steps run beside each other.
        effects.push(Effect::Readiness { ready: false });
        self.enter(Phase::LameDuck, effects);
        effects.push(Effect::LameDuck);
        if intent != Intent::Handoff {
            self.lame_duck_over = Some(add(self.now(), self.config.lame_duck));
            self.next_step(StepKind::Unroute, 0, effects);
        }
        self.leave_lame_duck(effects);
    }

    /// A second begin never changes a deadline (D2).
    fn raise(&mut self, intent: Intent, effects: &mut Vec<Effect>) {
        if intent > self.intent && self.phase != Phase::Stopped {
            self.intent = intent;
            effects.push(Effect::Entered { phase: self.phase, intent, left: self.left() });
        }
    }

    fn signal(&mut self, intent: Intent, effects: &mut Vec<Effect>) {
        let first = add(self.now(), self.config.signal_merge);
        match (self.phase, self.merge_until) {
            (Phase::Stopped, _) => {}
            (Phase::Starting | Phase::Serving, _) => {
                self.merge_until = Some(first);
                self.begin(intent, effects);
            }
            // The first signal of a stop that was begun otherwise (a handoff, a command) is a first.
            (_, None) => {
                self.merge_until = Some(first);
                self.raise(intent, effects);
            }
            (_, Some(merge_until)) => {
                self.raise(intent, effects);
                if self.now() >= merge_until {
                    self.force_if_possible(effects);
                }
            }
        }
    }

    fn force_if_possible(&mut self, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::LameDuck | Phase::Draining) {
            self.force(effects);
        }
    }

    // D3, D8: the steps.

    fn total(&self, kind: StepKind) -> Millis {
        total(&self.config.steps, kind)
    }

    /// The latest time that leaves enough for what follows a step of this kind.
    fn latest(&self, kind: StepKind) -> Millis {
        let reserved = match kind {
            StepKind::Unroute => self.config.margin.saturating_add(self.total(StepKind::Release)),
            StepKind::Release => self.share(),
        };
        self.stop_by.unwrap_or(0).saturating_sub(reserved)
    }

    fn next_step(&mut self, kind: StepKind, from: usize, effects: &mut Vec<Effect>) {
        let now = self.now();
        let left: Vec<_> =
            self.config.steps.iter().enumerate().skip(from).filter(|(_, step)| step.kind == kind).collect();
        // D8: its own limit inside the remaining budget. After late wake-ups that may be nothing: then the steps
        // that are left share what is left with the exit, so that each is still started.
        let shares = u64::try_from(left.len()).unwrap_or(u64::MAX).saturating_add(1);
        let most = until(now, self.latest(kind)).max(self.left().div_euclid(shares)).max(1);
        self.step = left.first().map(|(index, step)| StepRun {
            step: u32::try_from(*index).unwrap_or(u32::MAX),
            number: 0,
            until: add(now, step.limit.min(most)),
            attempt: Attempt::Pausing(now),
        });
        self.try_step(effects);
    }

    fn try_step(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now();
        if let Some(run) = &mut self.step {
            let operation = self.operations.issue();
            run.number = run.number.saturating_add(1);
            run.attempt = Attempt::Running(operation);
            let limit = until(now, run.until);
            effects.push(Effect::RunStep { operation, step: run.step, attempt: run.number, limit });
        }
    }

    fn step_answered(&mut self, done: bool, effects: &mut Vec<Effect>) {
        let Some(run) = self.step else { return };
        if !done {
            let step = self.config.steps.get(index_of(run.step));
            let (limit, attempts) = step.map_or((0, 0), |step| (step.limit, step.attempts));
            let retry = add(self.now(), limit.div_euclid(10).clamp(1, RETRY_PAUSE));
            if run.number < attempts && retry < run.until {
                self.step = Some(StepRun { attempt: Attempt::Pausing(retry), ..run });
                return;
            }
            self.step_failed(run.step, false, effects);
        }
        self.after_step(run.step, effects);
    }

    fn step_out_of_time(&mut self, effects: &mut Vec<Effect>) {
        if let Some(run) = self.step {
            self.step_failed(run.step, true, effects);
            self.after_step(run.step, effects);
        }
    }

    fn step_failed(&mut self, step: u32, timed_out: bool, effects: &mut Vec<Effect>) {
        self.failed_steps = self.failed_steps.saturating_add(1);
        effects.push(Effect::StepFailed { step, timed_out });
    }

    /// Failed or not, the next one runs.
    fn after_step(&mut self, step: u32, effects: &mut Vec<Effect>) {
        let from = index_of(step).saturating_add(1);
        if self.phase == Phase::LameDuck {
            self.next_step(StepKind::Unroute, from, effects);
            self.leave_lame_duck(effects);
        } else {
            self.next_step(StepKind::Release, from, effects);
            self.stop_if_released(effects);
        }
    }

    /// D3: the wait and the steps are over. D1, D4: draining.
    fn leave_lame_duck(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now();
        if self.lame_duck_over.is_some_and(|at| at <= now) {
            self.lame_duck_over = None;
        }
        if self.lame_duck_over.is_some() || self.step.is_some() {
            return;
        }
        let latest = self.latest(StepKind::Unroute);
        self.grace_over = Some(add(now, self.config.grace).min(latest.max(now)));
        self.enter(Phase::Draining, effects);
        self.close_door(DOOR_LIMIT.min(self.config.grace.div_euclid(4)), effects);
    }

    // D4: the doors and what is idle.

    fn close_door(&mut self, limit: Millis, effects: &mut Vec<Effect>) {
        let limit = limit.max(1);
        let operation = self.operations.issue();
        self.door = Door::Closing(Pending { operation, until: add(self.now(), limit) });
        effects.push(Effect::ClosePublicDoor { operation, limit });
    }

    fn door_over(&mut self, effects: &mut Vec<Effect>) {
        self.door = Door::Closed;
        if self.phase == Phase::Forcing {
            self.clear_before_cut(effects);
            return;
        }
        self.asked = true;
        effects.push(Effect::Count);
        effects.push(Effect::CloseIdle { older_than: self.config.min_idle_age });
        if self.config.end_streams {
            effects.push(Effect::EndStreams);
        }
    }

    fn sweep_period(&self) -> Millis {
        let (least, most) = SWEEP;
        self.config.min_idle_age.div_euclid(4).clamp(least, most)
    }

    fn counted(&mut self, load: Load, effects: &mut Vec<Effect>) {
        if self.load.replace(load).is_none() {
            self.present = load.work();
        }
        self.had_tunnels |= load.tunnels > 0;
        if let Some(Cut { before: Some(before), .. }) = &mut self.cut {
            // D10: what turned busy in the last moment is cut too, and counted.
            *before = (*before).max(load.work());
        }
        if let Telling::Pacing(pace) = &mut self.telling {
            // Tunnels that left before they were told shorten the window, so that the pace stays even.
            let gone = pace.fewest.saturating_sub(load.untold());
            pace.fewest = pace.fewest.min(load.untold());
            pace.until = pace.until.saturating_sub(pace.span_of(gone)).max(self.clock.now());
        }
        match self.phase {
            Phase::Forcing if self.cut.is_some() && load.is_empty() => self.release(effects),
            Phase::Forcing => {}
            _ => self.progress(effects),
        }
    }

    /// D4 to D6: what the numbers mean while draining.
    fn progress(&mut self, effects: &mut Vec<Effect>) {
        let Some(load) = self.load else { return };
        self.sweep =
            if load.idle == 0 { None } else { self.sweep.or(Some(add(self.now(), self.sweep_period()))) };
        if load.tunnels > 0 {
            self.tell_on(load, effects);
            return;
        }
        self.telling = Telling::Untouched;
        self.close_peer_door(effects);
        if self.had_tunnels {
            self.clear_rows(effects);
        }
        // D6: nothing left, move on in this very step.
        if load.is_empty() && (!self.had_tunnels || matches!(self.rows, Rows::Cleared | Rows::Left)) {
            self.release(effects);
        }
    }

    fn close_peer_door(&mut self, effects: &mut Vec<Effect>) {
        if !self.peer_door_closed {
            self.peer_door_closed = true;
            effects.push(Effect::ClosePeerDoor);
        }
    }

    // D5: the tunnels.

    fn tell_on(&mut self, load: Load, effects: &mut Vec<Effect>) {
        match self.telling {
            Telling::Untouched => self.begin_pace(load, self.now(), effects),
            Telling::Pacing(pace) if load.untold() == 0 => self.telling = Telling::Flushing(pace.flush),
            // One slipped in: told in its turn, outside the span of those before it.
            Telling::Flushing(_) if load.untold() > 0 => {
                self.begin_pace(load, add(self.now(), SPAN.saturating_add(1)), effects);
            }
            Telling::Pacing(_) | Telling::Flushing(_) | Telling::Clearing | Telling::Closing => {}
        }
    }

    fn begin_pace(&mut self, load: Load, next: Millis, effects: &mut Vec<Effect>) {
        let now = self.now();
        self.owe_rows();
        let tunnels = load.untold();
        if tunnels == 0 {
            self.telling = Telling::Flushing(self.flush_over());
            return;
        }
        let wanted = self.spread(tunnels);
        let used = wanted.min(until(now, self.tell_by()));
        if used < wanted {
            effects.push(Effect::PaceClamped { wanted, used });
        }
        let (until, flush, fewest) = (add(now, used), self.flush_over(), tunnels);
        let pace = Pace { tunnels, window: used, until, next, flush, fewest };
        self.telling = Telling::Pacing(pace);
        if next <= now {
            self.tell(effects);
        }
    }

    fn tell(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now();
        let out_of_time = now >= self.tell_by();
        let flush = self.flush_over();
        let (Telling::Pacing(mut pace), Some(load)) = (self.telling, &mut self.load) else { return };
        let untold = load.untold();
        let all = out_of_time || pace.window == 0;
        let count = if all { untold } else { pace.due(now, untold) };
        load.told = load.told.saturating_add(count);
        pace.flush = flush;
        let rest = untold.saturating_sub(count);
        pace.fewest = pace.fewest.min(rest);
        self.telling = if rest == 0 {
            Telling::Flushing(flush)
        } else {
            pace.next = pace.next_after(now, rest);
            Telling::Pacing(pace)
        };
        effects.push(Effect::Tell { count, within: self.within(untold, out_of_time) });
    }

    /// What tunnels that are told out of turn may spread over: the window that they should have had.
    fn within(&self, tunnels: u32, out_of_turn: bool) -> Option<Millis> {
        (out_of_turn && self.config.reconnect_rate > 0).then(|| self.spread(tunnels))
    }

    /// The window that this many tunnels ask for. Milliseconds.
    fn spread(&self, tunnels: u32) -> Millis {
        let rate = u64::from(self.config.reconnect_rate);
        u64::from(tunnels).saturating_mul(1_000).checked_div(rate).unwrap_or(0)
    }

    /// What is kept of the grace period for clearing rows and closing. Milliseconds.
    fn close_room(&self) -> Millis {
        CLOSE_ROOM.min(self.config.grace.div_euclid(4))
    }

    fn flush_by(&self) -> Millis {
        self.grace_over.unwrap_or(0).saturating_sub(self.close_room())
    }

    fn tell_by(&self) -> Millis {
        self.flush_by().saturating_sub(self.config.flush)
    }

    /// When tunnels that are told now have had their flush time.
    fn flush_over(&self) -> Millis {
        add(self.now(), self.config.flush).min(self.flush_by())
    }

    /// The flush time is over: rows first, then the close.
    fn clear_stragglers(&mut self, effects: &mut Vec<Effect>) {
        self.telling = Telling::Clearing;
        self.owe_rows();
        self.clear_rows(effects);
    }

    /// There are tunnels again whose rows no earlier call can have cleared.
    fn owe_rows(&mut self) {
        if matches!(self.rows, Rows::Cleared | Rows::Left) {
            self.rows = Rows::Untouched;
        }
    }

    fn clear_rows(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now();
        let again = match self.rows {
            Rows::Untouched => true,
            Rows::Failed => false,
            Rows::Clearing { .. } | Rows::Cleared | Rows::Left => return,
        };
        let limit = match self.grace_over {
            Some(at) => ROWS_LIMIT.min(until(now, at).div_euclid(2)).max(1),
            None => self.share(),
        };
        let operation = self.operations.issue();
        self.rows = Rows::Clearing { pending: Pending { operation, until: add(now, limit) }, again };
        effects.push(Effect::ClearRows { operation, limit });
    }

    fn rows_over(&mut self, cleared: bool, effects: &mut Vec<Effect>) {
        let Rows::Clearing { again, .. } = self.rows else { return };
        self.rows = match (cleared, again) {
            (true, _) => Rows::Cleared,
            (false, true) => Rows::Failed,
            (false, false) => Rows::Left,
        };
        if self.phase == Phase::Forcing {
            self.cut(effects);
            return;
        }
        if self.telling == Telling::Clearing {
            self.telling = Telling::Closing;
            effects.push(Effect::CloseTunnels { code: self.close_code() });
        }
        self.progress(effects);
    }

    fn close_code(&self) -> u16 {
        if self.intent == Intent::Decommission {
            self.config.decommission_code
        } else {
            self.config.restart_code
        }
    }

    // D7: out of time, or forced.

    /// What forcing may wait for one thing: door, rows and cut take three of these, the exit has the fourth.
    fn share(&self) -> Millis {
        self.config.margin.div_euclid(4).max(1)
    }

    fn force(&mut self, effects: &mut Vec<Effect>) {
        let unrouting = self.step.take();
        self.lame_duck_over = None;
        self.sweep = None;
        self.grace_over = None;
        self.telling = Telling::Untouched;
        self.enter(Phase::Forcing, effects);
        if let Some(run) = unrouting {
            let config = Arc::clone(&self.config);
            for (index, step) in (0_u32..).zip(&config.steps) {
                if step.kind == StepKind::Unroute && index >= run.step {
                    self.step_failed(index, true, effects);
                }
            }
        }
        let latest = add(self.now(), self.share());
        match &mut self.door {
            Door::Open => self.close_door(self.share(), effects),
            Door::Closing(pending) => pending.until = pending.until.min(latest),
            Door::Closed => {}
        }
        if !self.asked {
            self.asked = true;
            effects.push(Effect::Count);
        }
        if self.door == Door::Closed {
            self.clear_before_cut(effects);
        }
    }

    /// D5 holds here too, in little time: the public door has closed, so tunnels are told, then un-routed.
    fn clear_before_cut(&mut self, effects: &mut Vec<Effect>) {
        let untold = self.load.map_or(u32::MAX, Load::untold);
        if untold > 0 {
            let within = if self.load.is_some() { self.within(untold, true) } else { None };
            if let Some(load) = &mut self.load {
                load.told = load.tunnels;
            }
            effects.push(Effect::Tell { count: untold, within });
        }
        let latest = add(self.now(), self.share());
        if let Rows::Clearing { pending, .. } = &mut self.rows {
            pending.until = pending.until.min(latest);
        } else if self.may_have_rows() && matches!(self.rows, Rows::Untouched | Rows::Failed) {
            self.clear_rows(effects);
        } else {
            self.cut(effects);
        }
    }

    fn may_have_rows(&self) -> bool {
        self.had_tunnels || self.load.is_none()
    }

    fn cut(&mut self, effects: &mut Vec<Effect>) {
        if self.load.is_some_and(Load::is_empty) {
            self.release(effects);
            return;
        }
        self.cut = Some(Cut { until: add(self.now(), self.share()), before: self.load.map(Load::work) });
        effects.push(Effect::Abort { code: self.close_code() });
    }

    // D8, D10: releasing and the outcome.

    fn release(&mut self, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Starting {
            self.counts = self.settle();
            if self.may_have_rows() && self.rows != Rows::Cleared {
                self.failed_steps = self.failed_steps.saturating_add(1);
                effects.push(Effect::RowsLeft);
            }
            self.close_peer_door(effects);
        }
        self.door = Door::Closed;
        self.load = None;
        self.telling = Telling::Untouched;
        self.rows = Rows::Untouched;
        self.sweep = None;
        self.grace_over = None;
        self.cut = None;
        self.enter(Phase::Releasing, effects);
        self.next_step(StepKind::Release, 0, effects);
        self.stop_if_released(effects);
    }

    /// What became of the work. A number that the host never gave counts as 1, so that it is never "clean".
    fn settle(&self) -> Counts {
        let left = self.load.map(Load::work);
        match (self.cut.map(|cut| cut.before), left) {
            (None, _) => Counts { drained: self.present, forced: 0, abandoned: 0 },
            (Some(Some(before)), left) => {
                let abandoned = left.unwrap_or(before);
                let drained = self.present.saturating_sub(before);
                Counts { drained, forced: before.saturating_sub(abandoned), abandoned }
            }
            (Some(None), Some(abandoned)) => Counts { drained: 0, forced: 1, abandoned },
            (Some(None), None) => Counts { drained: 0, forced: 0, abandoned: 1 },
        }
    }

    fn stop_if_released(&mut self, effects: &mut Vec<Effect>) {
        if self.step.is_some() {
            return;
        }
        let Counts { drained, forced, abandoned } = self.counts;
        let exit_code = if forced > 0 || abandoned > 0 {
            EXIT_FORCED
        } else if self.failed_steps > 0 {
            EXIT_STEP_FAILED
        } else if self.intent == Intent::Restart {
            self.config.restart_exit_code
        } else {
            0
        };
        let duration = self.config.kill_budget.saturating_sub(self.left());
        self.phase = Phase::Stopped;
        self.merge_until = None;
        self.stop_by = None;
        effects.push(Effect::Stopped {
            intent: self.intent,
            drained,
            forced,
            abandoned,
            failed_steps: self.failed_steps,
            duration,
            exit_code,
        });
    }

    // Answers.

    fn answered(
        &mut self,
        operation: OperationId,
        done: bool,
        input: &Input,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Rejection> {
        let step = match self.step {
            Some(StepRun { attempt: Attempt::Running(operation), .. }) => Some(operation),
            _ => None,
        };
        let door = match self.door {
            Door::Closing(pending) => Some(pending.operation),
            _ => None,
        };
        let rows = match self.rows {
            Rows::Clearing { pending, .. } => Some(pending.operation),
            _ => None,
        };
        if step == Some(operation) {
            self.step_answered(done, effects);
        } else if door == Some(operation) {
            // A door that could not be closed is one that nobody can wait for.
            self.door_over(effects);
        } else if rows == Some(operation) {
            self.rows_over(done, effects);
        } else if self.operations.judge(operation, None) == Answer::NeverIssued {
            return Err(self.reject(RejectionCode::NeverIssued, input));
        }
        Ok(())
    }

    fn waits_for(&self) -> String {
        let now = self.now();
        let step = self.step.map(|run| {
            let name = self.config.steps.get(index_of(run.step)).map_or("", |step| step.name.as_str());
            let limit = until(now, run.until);
            format!("step `{name}`, attempt {}, {limit} ms left", run.number)
        });
        match self.phase {
            Phase::Starting | Phase::Serving | Phase::Stopped => String::new(),
            Phase::LameDuck => {
                let wait = self.lame_duck_over.map(|at| format!("{} ms of lame duck", until(now, at)));
                match (wait, step) {
                    (Some(wait), Some(step)) => format!("{wait} and {step}; then draining"),
                    (wait, step) => format!("{}; then draining", wait.or(step).unwrap_or_default()),
                }
            }
            Phase::Releasing => format!("{}; then the end", step.unwrap_or_default()),
            Phase::Draining | Phase::Forcing => self.waits_for_work(),
        }
    }

    fn waits_for_work(&self) -> String {
        let now = self.now();
        if let Door::Closing(pending) = self.door {
            return format!("the public door to close, {} ms at most", until(now, pending.until));
        }
        let Some(load) = self.load else { return String::from("the host to count what is left") };
        let Load { requests, idle, streams, tunnels, told } = load;
        let left = format!(
            "{requests} requests ({streams} streams), {idle} idle connections and {tunnels} tunnels ({told} told) to end"
        );
        let stage = match (self.rows, self.telling) {
            (Rows::Clearing { pending, .. }, _) => {
                format!("the directory clears rows, {} ms at most", until(now, pending.until))
            }
            (_, Telling::Pacing(pace)) => {
                format!("{} tunnels are told within {} ms", load.untold(), until(now, pace.until))
            }
            (_, Telling::Flushing(at)) => format!("told tunnels may leave for {} ms", until(now, at)),
            (_, Telling::Closing) => String::from("tunnels are closed as they fall idle"),
            _ => String::new(),
        };
        let over = match self.grace_over {
            Some(at) => format!("cut in {} ms", until(now, at)),
            None => String::from("being cut"),
        };
        if stage.is_empty() { format!("{left}; {over}") } else { format!("{left}; {stage}; {over}") }
    }

    /// Whether a machine can be in this state: for records.
    fn is_possible(&self) -> bool {
        let phase = self.phase;
        let stopping = !self.is_resting();
        let load = self.load.is_none_or(|load| load.told <= load.tunnels && load.streams <= load.requests);
        let step = self.step.is_none_or(|run| {
            self.config.steps.get(index_of(run.step)).is_some_and(|step| {
                let expected = if phase == Phase::LameDuck { StepKind::Unroute } else { StepKind::Release };
                step.kind == expected && run.number >= 1 && run.number <= step.attempts
            })
        });
        let telling = match self.telling {
            Telling::Untouched => true,
            Telling::Pacing(pace) => pace.tunnels >= 1 && self.load.is_some_and(|load| load.untold() >= 1),
            Telling::Flushing(_) | Telling::Clearing | Telling::Closing => self.load.is_some(),
        };
        load && step
            && telling
            && (stopping == self.next_timer().is_some())
            && (stopping == self.stop_by.is_some())
            && (self.step.is_none() || matches!(phase, Phase::LameDuck | Phase::Releasing))
            && (self.lame_duck_over.is_none() || phase == Phase::LameDuck)
            && (self.grace_over.is_some() == (phase == Phase::Draining))
            && (self.cut.is_none() || phase == Phase::Forcing)
            && (self.sweep.is_none() || phase == Phase::Draining)
            && (self.telling == Telling::Untouched || phase == Phase::Draining)
            && (self.load.is_none() || matches!(phase, Phase::Draining | Phase::Forcing))
            && (!matches!(self.door, Door::Closing(_)) || matches!(phase, Phase::Draining | Phase::Forcing))
            && (!matches!(self.rows, Rows::Clearing { .. })
                || matches!(phase, Phase::Draining | Phase::Forcing))
            && (matches!(self.door, Door::Open)
                == matches!(phase, Phase::Starting | Phase::Serving | Phase::LameDuck))
    }
}

/// The place of a step, as a list's index.
fn index_of(step: u32) -> usize {
    usize::try_from(step).unwrap_or(usize::MAX)
}

/// `value * times / by`, rounded down; zero for a `by` of zero.
fn scale(value: u64, times: u64, by: u64) -> u64 {
    let product = u128::from(value).saturating_mul(u128::from(times));
    u64::try_from(product.checked_div(u128::from(by)).unwrap_or(0)).unwrap_or(u64::MAX)
}

fn total(steps: &[ReleaseStep], kind: StepKind) -> Millis {
    steps.iter().filter(|step| step.kind == kind).fold(0, |sum, step| sum.saturating_add(step.limit))
}

/// D9: one budget. The message is the whole sum, as this is read at night by someone who did not write it.
fn check_budget(config: &Config, faults: &mut Faults) {
    let mut terms =
        Vec::from([(String::from("lame_duck"), config.lame_duck), (String::from("grace"), config.grace)]);
    for kind in [StepKind::Unroute, StepKind::Release] {
        let steps = config.steps.iter().filter(|step| step.kind == kind);
        terms.extend(steps.map(|step| (format!("{} `{}`", kind.as_str(), step.name), step.limit)));
    }
    terms.push((String::from("margin"), config.margin));
    let sum = terms.iter().fold(0_u64, |sum, (_, time)| sum.saturating_add(*time));
    let budget = config.kill_budget;
    if budget > sum {
        return;
    }
    let shown: Vec<String> = terms.iter().map(|(name, time)| format!("{name} {time}")).collect();
    let (largest, time) =
        terms.iter().max_by_key(|(_, time)| *time).map_or(("", 0), |(name, time)| (name, *time));
    let over = sum.saturating_sub(budget).saturating_add(1);
    let remedy = if time > over {
        format!("lower {largest} to {} ms or less", time.saturating_sub(over))
    } else {
        format!("lower the terms by {over} ms in all, {largest} first")
    };
    let message = format!(
        "is {budget} ms, which must be more than {} = {sum} ms; {remedy}, or raise kill_budget to {} ms if the \
         platform waits that long",
        shown.join(" + "),
        sum.saturating_add(1),
    );
    faults.add(FaultCode::OverBudget, "kill_budget", message);
}

fn check_steps(steps: &[ReleaseStep], faults: &mut Faults) {
    faults.range("steps", u64::try_from(steps.len()).unwrap_or(u64::MAX), 0, MOST_STEPS, " steps");
    for (index, step) in steps.iter().enumerate() {
        let name = step.name.as_str();
        if name.trim().is_empty() {
            let message = "is empty; a step needs a name, for errors and outcomes";
            faults.add(FaultCode::BadName, &format!("steps.{index}.name"), message);
        } else if steps.iter().take(index).any(|earlier| earlier.name == name) {
            let message = format!("is `{name}` like an earlier step's; names must differ");
            faults.add(FaultCode::BadName, &format!("steps.{index}.name"), message);
        }
        faults.duration(&format!("steps.{index}.limit"), step.limit, 1);
        faults.range(&format!("steps.{index}.attempts"), u64::from(step.attempts), 1, MOST_ATTEMPTS, "");
    }
}

impl Record for StepRun {
    fn write(&self, to: &mut Writer) {
        self.step.write(to);
        self.number.write(to);
        to.number(self.until);
        match self.attempt {
            Attempt::Running(operation) => {
                to.number(0);
                operation.write(to);
            }
            Attempt::Pausing(at) => {
                to.number(1);
                to.number(at);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        Ok(Self {
            step: Record::read(from)?,
            number: Record::read(from)?,
            until: from.time()?,
            attempt: match from.number()? {
                0 => Attempt::Running(Record::read(from)?),
                1 => Attempt::Pausing(from.time()?),
                _ => return Err(RecordFault::Corrupt),
            },
        })
    }
}

impl Record for Door {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Open => to.number(0),
            Self::Closing(pending) => {
                to.number(1);
                pending.write(to);
            }
            Self::Closed => to.number(2),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        match from.number()? {
            0 => Ok(Self::Open),
            1 => Ok(Self::Closing(Record::read(from)?)),
            2 => Ok(Self::Closed),
            _ => Err(RecordFault::Corrupt),
        }
    }
}

impl Record for Rows {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Untouched => to.number(0),
            Self::Clearing { pending, again } => {
                to.number(1);
                pending.write(to);
                to.flag(*again);
            }
            Self::Failed => to.number(2),
            Self::Cleared => to.number(3),
            Self::Left => to.number(4),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        match from.number()? {
            0 => Ok(Self::Untouched),
            1 => Ok(Self::Clearing { pending: Record::read(from)?, again: from.flag()? }),
            2 => Ok(Self::Failed),
            3 => Ok(Self::Cleared),
            4 => Ok(Self::Left),
            _ => Err(RecordFault::Corrupt),
        }
    }
}

impl Record for Telling {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Untouched => to.number(0),
            Self::Pacing(pace) => {
                to.number(1);
                pace.write(to);
            }
            Self::Flushing(at) => {
                to.number(2);
                to.number(*at);
            }
            Self::Clearing => to.number(3),
            Self::Closing => to.number(4),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        match from.number()? {
            0 => Ok(Self::Untouched),
            1 => Ok(Self::Pacing(Record::read(from)?)),
            2 => Ok(Self::Flushing(from.time()?)),
            3 => Ok(Self::Clearing),
            4 => Ok(Self::Closing),
            _ => Err(RecordFault::Corrupt),
        }
    }
}

#[cfg(test)]
mod tests;
