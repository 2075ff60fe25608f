//! Handoff, the old side: replace a serving process by its successor, so that at any time somebody accepts
//! (rules H1–H8). The new side is [`crate::successor`].
//!
//! The old process spawns the new one with its listening sockets, and goes on accepting until the new one says
//! that it accepts. Whatever goes wrong before that word leaves the old one as it was.
//!
//! # States (H1)
//!
//! | state | what happens | leaves it |
//! | --- | --- | --- |
//! | running *(rests)* | it serves; no upgrade is in flight | [`Input::Upgrade`] |
//! | queued | an upgrade waits until older generations are gone (H4) | one has gone; or the queue limit |
//! | spawning | the successor is being started | done, failed or its limit |
//! | waiting-ready | it initialises | *ready* |
//! | capturing | the state for it is being captured (H6) | done, failed or its limit |
//! | acknowledged | it may accept from now | *accepting* |
//! | settling | it knows only systemd's protocol and said READY=1 (H2) | the settle time |
//! | looking | the last look before it is killed or taken for alive (H1) | the host has looked; or its limit |
//! | killing | it is killed and reaped | done, failed or its limit |
//! | undoing | the undo hooks run | all are over: back to running |
//! | draining | the successor accepts; this generation drains (H7) | drained, or the drain limit |
//! | stopping *(rests)* | it serves, but the process was told to stop: no more upgrades | |
//! | gone *(rests)* | over: the process exits | |
//!
//! # Messages
//!
//! Three over the channel (H2): the new one says *ready*, the old one acknowledges, the new one starts to accept
//! and says *accepting*. Besides, the new one may say *refused* (H6). *ready* and the acknowledgement carry the
//! version of the protocol: see [`agree`].
//!
//! A child that knows only systemd's protocol has no acknowledgement: it accepts when it likes and says READY=1.
//! That and being alive after `settle` count as accepting. This cannot exclude that it was accepting while it was
//! taken for a failure (then what it had accepted dies with it), nor that it says READY=1 too early.
//!
//! # What the host owes
//!
//! * One machine for each generation. A supervisor that stays (the entrypoint) makes a new one for the successor
//!   when this one says [`Effect::BeginDrain`]; a process that replaces itself has its own.
//! * Effects with an `operation` are answered once by [`Input::Done`] or [`Input::Failed`]; one without an answer
//!   ends at its limit. What the successor says carries its `generation`, the operation that spawned it; words of
//!   an earlier one are no-ops.
//! * The listening sockets themselves are passed, by name (`LISTEN_FDS`, `LISTEN_FDNAMES`), a socket of port 0 under
//!   its real port; a payload that does not fit fails the spawn and is never cut (H3). Executable and working
//!   directory are those resolved at start-up (H5).
//! * [`Effect::Kill`] is about a generation, not a process id: it also ends a spawn whose answer never came, and
//!   is never carried out on a process that was reaped.
//!
//! # Choices that the rules leave open
//!
//! * A failed upgrade kills and reaps first and undoes then, as a hook that takes something back (a lock, a journal)
//!   finds it free only when the successor is gone.
//! * The state is captured when the successor is ready and travels with the acknowledgement: so it is fresh, and
//!   the successor has least to do while it is.
//! * Before an acknowledged successor is killed for a stop or a cancel there is a last look too. If it accepts, the
//!   upgrade has happened.
//! * A channel that closes is looked into too, so that a crash is called one.
//! * The last look before a ready limit also takes a *ready* that had arrived: an old process that was stalled
//!   must not kill a successor that was in time.
//! * A failed upgrade leaves no trace but the count of operations. The next one may begin in the same moment.
//! * After a restore the outstanding operations are unknown: their limits end them.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::contract::{earliest, shift};
use crate::{
    Answer, Clock, Deadline, Explanation, FaultCode, Faults, Intent, Message, Millis, Name, OperationId,
    Operations, Random, Reader, Record, RecordFault, Rejection, RejectionCode, Rules, Writer, add, until,
};

/// The version of the messages that this release speaks (H6). It understands the one before too.
pub const VERSION: u16 = 1;
/// The most undo hooks, and the most older generations that may drain.
const MOST: u64 = 100;

/// The version that two sides speak with each other: the lower of theirs, if the higher side still understands it
/// (its own and the one before, H6). Versions count from 1.
#[must_use]
pub fn agree(ours: u16, theirs: u16) -> Option<u16> {
    let (low, high) = (ours.min(theirs), ours.max(theirs));
    (low >= 1 && high.saturating_sub(low) <= 1).then_some(low)
}

names! {
    /// What an upgrade meets while older generations still drain (H4).
    pub enum WhileDraining {
        /// It is refused, with the reason.
        Refuse = "refuse",
        /// It waits for them, up to the queue limit.
        Queue = "queue",
    }
}

names! {
    /// Why an upgrade was not begun.
    pub enum UpgradeRefusal {
        /// Another one is in flight or queued (H4).
        InFlight = "in-flight",
        /// Too many older generations still drain (H4).
        OlderDraining = "older-draining",
        /// Older generations still drained when the queue limit was over.
        QueueLimit = "queue-limit",
        /// It was cancelled while it was queued.
        Cancelled = "cancelled",
        /// The process was told to stop.
        Stopping = "stopping",
        /// This generation has been replaced already: ask its successor.
        Replaced = "replaced",
    }
}

names! {
    /// Why an upgrade was rolled back (H1).
    pub enum RollbackCause {
        /// The successor could not be spawned: no such program, or the payload does not fit (H3).
        SpawnFailed = "spawn-failed",
        /// Spawning took too long.
        SpawnLimit = "spawn-limit",
        /// The successor ended.
        Exited = "exited",
        /// It was not ready in time.
        ReadyLimit = "ready-limit",
        /// It did not accept in time.
        AcceptLimit = "accept-limit",
        /// It sent something else than the protocol, or out of turn.
        Garbage = "garbage",
        /// It closed its channel, and had not ended.
        ChannelClosed = "channel-closed",
        /// It refused, for instance the state that it was given (H6).
        Refused = "refused",
        /// It speaks a version that this one does not understand (H6).
        Version = "version",
        /// The state could not be captured, or is larger than allowed (H6).
        StateFailed = "state-failed",
        /// Capturing the state took too long.
        StateLimit = "state-limit",
        /// Nobody could say that it was alive after the settle time.
        NotAlive = "not-alive",
        /// The upgrade was cancelled.
        Cancelled = "cancelled",
        /// The process was told to stop.
        Stopped = "stopped",
    }
}

names! {
    /// Which protocol a successor speaks (H2).
    pub enum Speaks {
        /// This one's: ready, acknowledgement, accepting.
        Tidegate = "tidegate",
        /// Only systemd's: READY=1.
        Systemd = "systemd",
    }
}

names! {
    /// What a service manager is told, by systemd's protocol (H8).
    pub enum ServiceNotice {
        /// RELOADING=1 with MONOTONIC_USEC, in one datagram.
        Reloading = "reloading",
        /// READY=1.
        Ready = "ready",
        /// MAINPID of the generation that serves now and READY=1, in one datagram: so it is the old main process,
        /// which the manager still trusts, that ends the reload.
        MainPid = "main-pid",
    }
}

names! {
    /// What a process does around an upgrade.
    pub enum HandoffTask {
        /// Killing and reaping the successor.
        Kill = "kill",
        /// An undo hook.
        Undo = "undo",
        /// Writing the PID file.
        PidFile = "pid-file",
        /// Passing the lease.
        Lease = "lease",
    }
}

settings! {
    /// What is taken back when an upgrade fails (H1). The host knows it by its place in the list.
    pub struct UndoHook as "UndoHook" {
        /// Its name, in reports.
        name: String = String::new(),
        /// Its time limit. Milliseconds.
        limit: Millis = 2_000,
    }
}

settings! {
    /// How a process is replaced by its successor.
    pub struct Config as "HandoffConfig" {
        /// How long starting the successor's process may take. Milliseconds.
        spawn_limit: Millis = 5_000,
        /// How long it may initialise. Milliseconds. Long, as the old one serves meanwhile.
        ready_limit: Millis = 60_000,
        /// How long after the acknowledgement it may take to accept. Milliseconds.
        accept_limit: Millis = 5_000,
        /// How long a child that knows only systemd's protocol must stay alive after READY=1 (H2). Milliseconds.
        settle: Millis = 1_000,
        /// How long the last look before a kill may take (H1). Milliseconds.
        look_limit: Millis = 500,
        /// How long killing and reaping may take. Milliseconds.
        kill_limit: Millis = 2_000,
        /// Whether a state is passed (H6).
        state: bool = false,
        /// How long capturing it may take. Milliseconds.
        state_limit: Millis = 5_000,
        /// The most bytes of it; more fails the upgrade.
        state_most: u32 = 67_108_864,
        /// Whether there is a PID file, to be written once the successor accepts (H5).
        pid_file: bool = false,
        /// Whether there is a lease, to be passed once the successor accepts (H7).
        lease: bool = false,
        /// How long writing the PID file and passing the lease may take, each. Milliseconds.
        task_limit: Millis = 2_000,
        /// How long this generation may drain. Milliseconds; above the kill budget of its drain, which has limits of
        /// its own, so that this one only ends what hangs.
        drain_limit: Millis = 60_000,
        /// What an upgrade meets while as many older generations drain as may (H4).
        while_draining: WhileDraining = WhileDraining::Refuse,
        /// How long a queued upgrade may wait. Milliseconds.
        queue_limit: Millis = 60_000,
        /// How many generations may drain at the same time, this one included when it is replaced (H4).
        most_draining: u32 = 1,
        /// What is taken back when an upgrade fails, in order (H1).
        undo: Vec<UndoHook> = Vec::new(),
    }
}

impl Config {
    /// The longest that an upgrade takes, from its begin until the successor accepts or all is as before.
    /// Milliseconds.
    #[must_use]
    pub fn longest_upgrade(&self) -> Millis {
        let state = if self.state { self.state_limit } else { 0 };
        let accepting = state.saturating_add(self.accept_limit).max(self.settle);
        // A look before the ready limit is acted on, and another one before the accept limit is.
        let looks = self.look_limit.saturating_mul(2);
        let undo = self.undo.iter().fold(0_u64, |sum, hook| sum.saturating_add(hook.limit));
        [self.spawn_limit, self.ready_limit, accepting, looks, self.kill_limit, undo]
            .iter()
            .fold(0, |sum, limit| sum.saturating_add(*limit))
    }
}

messages! {
    /// What happened around an upgrade. `generation` is the operation that spawned the successor.
    pub enum Input as "HandoffInput" {
        /// Somebody asks for an upgrade.
        Upgrade = "upgrade",
        /// Somebody takes the upgrade back; a no-op once the successor accepts.
        Cancel = "cancel",
        /// The process is told to stop: what is in flight is rolled back, and no upgrade begins any more.
        Stop = "stop",
        /// How many older generations still drain: at the start, and whenever it changes (H4).
        OlderGenerations = "older-generations" {
            /// How many.
            draining: u32,
        },
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
        /// The successor says that it has initialised (H2).
        Ready = "ready" {
            /// Which successor.
            generation: OperationId,
            /// The protocol in which it said so.
            speaks: Speaks,
            /// The version of the messages that it speaks; of no meaning for systemd's.
            version: u16,
        },
        /// The successor says that it accepts (H2).
        Accepting = "accepting" {
            /// Which successor.
            generation: OperationId,
        },
        /// The successor says that it will not take over (H6).
        Refused = "refused" {
            /// Which successor.
            generation: OperationId,
        },
        /// The successor's channel carried something else than the protocol.
        Garbage = "garbage" {
            /// Which successor.
            generation: OperationId,
        },
        /// The successor's channel has closed: the process ends, or has lost its way.
        ChannelClosed = "channel-closed" {
            /// Which successor.
            generation: OperationId,
        },
        /// The successor has ended and was reaped.
        Exited = "exited" {
            /// Which successor.
            generation: OperationId,
        },
        /// The drain of this generation is over (H7).
        Drained = "drained",
    }
}

messages! {
    /// What a process that is replaced wants done.
    pub enum Effect as "HandoffEffect" {
        /// A report: the upgrade waits until older generations are gone (H4).
        Queued = "queued" {
            /// At most so long. Milliseconds.
            limit: Millis,
        },
        /// A report: there is no upgrade, for this reason.
        Refused = "refused" {
            /// The reason.
            why: UpgradeRefusal,
        },
        /// Tell the service manager, if there is one (H8).
        Notify = "notify" {
            /// What.
            notice: ServiceNotice,
        },
        /// Start the successor with the listening sockets (H3); answer done when it runs. It is called by this
        /// operation from now on.
        Spawn = "spawn" {
            /// Which answer.
            operation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Capture the state for the successor; answer failed when it is larger than allowed (H6).
        CaptureState = "capture-state" {
            /// Which answer.
            operation: OperationId,
            /// The most bytes.
            most: u32,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Tell the successor that it may accept (H2).
        Acknowledge = "acknowledge" {
            /// Which successor.
            generation: OperationId,
            /// The version of the messages that both speak (H6).
            version: u16,
            /// Whether the captured state goes with it.
            state: bool,
        },
        /// Read what has arrived from the successor and whether it lives; tell that first, then answer done (H1).
        Look = "look" {
            /// Which answer.
            operation: OperationId,
            /// Which successor.
            generation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Kill the successor and all of its group, reap it, answer done. If it was never there, see that it will
        /// not come.
        Kill = "kill" {
            /// Which answer.
            operation: OperationId,
            /// Which successor.
            generation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Run an undo hook of the config; answer done or failed.
        RunUndo = "run-undo" {
            /// Which answer.
            operation: OperationId,
            /// Its place in the config's list.
            hook: u32,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// A report: the upgrade failed, and everything is as before it (H1).
        RolledBack = "rolled-back" {
            /// Which successor.
            generation: OperationId,
            /// Why.
            cause: RollbackCause,
        },
        /// A report: the successor accepts. There is no way back from here.
        Accepted = "accepted" {
            /// Which successor.
            generation: OperationId,
        },
        /// Write the successor's process id to the PID file; answer done or failed (H5).
        WritePidFile = "write-pid-file" {
            /// Which answer.
            operation: OperationId,
            /// Which successor.
            generation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Let the successor have the lease; answer done or failed (H7).
        PassLease = "pass-lease" {
            /// Which answer.
            operation: OperationId,
            /// Which successor.
            generation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Begin the drain of this generation, and say [`Input::Drained`] when it is over (H7).
        BeginDrain = "begin-drain" {
            /// A handoff: what the successor holds is not released.
            intent: Intent,
        },
        /// A report: a task is over without success; the others go on.
        TaskFailed = "task-failed" {
            /// Which.
            task: HandoffTask,
            /// The place of an undo hook in the config's list.
            hook: Option<u32>,
            /// Whether it was given up at its limit rather than failing.
            timed_out: bool,
        },
        /// A report: the successor ended while this generation drained. What it had accepted is lost.
        SuccessorLost = "successor-lost" {
            /// Which successor.
            generation: OperationId,
        },
        /// This generation is gone: the process exits.
        Gone = "gone" {
            /// Whether its drain was over; otherwise the drain limit was.
            drained: bool,
        },
    }
}

names! {
    /// Why a handoff wants to be woken.
    pub enum Why {
        /// A queued upgrade has waited long enough.
        QueueLimit = "queue-limit",
        /// Spawning has had its time.
        SpawnLimit = "spawn-limit",
        /// The successor has had its time to initialise.
        ReadyLimit = "ready-limit",
        /// Capturing the state has had its time.
        StateLimit = "state-limit",
        /// The successor has had its time to accept.
        AcceptLimit = "accept-limit",
        /// The settle time is over.
        Settled = "settled",
        /// The host has had its time to look.
        LookLimit = "look-limit",
        /// Killing has had its time.
        KillLimit = "kill-limit",
        /// An undo hook has had its time.
        UndoLimit = "undo-limit",
        /// Writing the PID file has had its time.
        PidFileLimit = "pid-file-limit",
        /// Passing the lease has had its time.
        LeaseLimit = "lease-limit",
        /// This generation has had its time to drain.
        DrainLimit = "drain-limit",
    }
}

/// An operation that the host has under way, and when it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Pending {
    operation: OperationId,
    until: Millis,
}
record_fields!(Pending { operation, until });

/// How far an upgrade is (H1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Flight {
    /// The operation is the generation itself.
    Spawning,
    WaitingReady,
    Capturing {
        operation: OperationId,
        version: u16,
    },
    Acknowledged,
    Settling,
    Looking {
        operation: OperationId,
        /// What the upgrade is rolled back for if nothing has arrived; [`RollbackCause::NotAlive`] at the settle time, where
        /// having looked is success.
        cause: RollbackCause,
    },
    Killing {
        operation: OperationId,
        cause: RollbackCause,
    },
    Undoing {
        operation: OperationId,
        hook: u32,
        cause: RollbackCause,
    },
}

/// What this generation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Running,
    Queued {
        until: Millis,
    },
    Upgrading {
        generation: OperationId,
        flight: Flight,
        until: Millis,
    },
    Draining {
        generation: OperationId,
        until: Millis,
        pid_file: Option<Pending>,
        lease: Option<Pending>,
        drained: bool,
        /// Whether the successor has not ended, as far as is known.
        alive: bool,
    },
    Gone,
}

/// The old side of one handoff. See the [module](self) for its states and what its host owes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Handoff {
    config: Arc<Config>,
    clock: Clock,
    operations: Operations,
    stage: Stage,
    /// How many older generations drain.
    older: u32,
    /// Whether the process was told to stop.
    stopping: bool,
}

impl Rules for Handoff {
    const NAME: &'static str = "handoff";
    const SNAPSHOT_VERSION: u16 = 1;
    type Config = Config;
    type Input = Input;
    type Effect = Effect;
    type Why = Why;

    fn check(config: &Config, faults: &mut Faults) {
        faults.duration("spawn_limit", config.spawn_limit, 1);
        faults.duration("ready_limit", config.ready_limit, 1);
        faults.duration("accept_limit", config.accept_limit, 1);
        faults.duration("settle", config.settle, 1);
        faults.duration("look_limit", config.look_limit, 1);
        faults.duration("kill_limit", config.kill_limit, 1);
        faults.duration("state_limit", config.state_limit, 1);
        faults.duration("task_limit", config.task_limit, 1);
        faults.duration("drain_limit", config.drain_limit, 1);
        faults.duration("queue_limit", config.queue_limit, 1);
        faults.range("most_draining", u64::from(config.most_draining), 1, MOST, " generations");
        let hooks = u64::try_from(config.undo.len()).unwrap_or(u64::MAX);
        faults.range("undo", hooks, 0, MOST, " hooks");
        for (index, hook) in config.undo.iter().enumerate() {
            let name = hook.name.as_str();
            if name.trim().is_empty() {
                let message = "is empty; an undo hook needs a name, for reports";
                faults.add(FaultCode::BadName, &format!("undo.{index}.name"), message);
            } else if config.undo.iter().take(index).any(|earlier| earlier.name == name) {
                let message = format!("is `{name}` like an earlier hook's; names must differ");
                faults.add(FaultCode::BadName, &format!("undo.{index}.name"), message);
            }
            faults.duration(&format!("undo.{index}.limit"), hook.limit, 1);
        }
    }

    fn start(config: Config, _random: Random, clock: Clock) -> Self {
        Self {
            config: Arc::new(config),
            clock,
            operations: Operations::default(),
            stage: Stage::Running,
            older: 0,
            stopping: false,
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
        match self.stage {
            Stage::Running if self.stopping => "stopping",
            Stage::Running => "running",
            Stage::Queued { .. } => "queued",
            Stage::Upgrading { flight, .. } => match flight {
                Flight::Spawning => "spawning",
                Flight::WaitingReady => "waiting-ready",
                Flight::Capturing { .. } => "capturing",
                Flight::Acknowledged => "acknowledged",
                Flight::Settling => "settling",
                Flight::Looking { .. } => "looking",
                Flight::Killing { .. } => "killing",
                Flight::Undoing { .. } => "undoing",
            },
            Stage::Draining { .. } => "draining",
            Stage::Gone => "gone",
        }
    }

    fn is_resting(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Gone)
    }

    fn next_timer(&self) -> Option<Deadline<Why>> {
        match self.stage {
            Stage::Running | Stage::Gone => None,
            Stage::Queued { until } => Some(Deadline { at: until, why: Why::QueueLimit }),
            Stage::Upgrading { flight, until, .. } => {
                let why = match flight {
                    Flight::Spawning => Why::SpawnLimit,
                    Flight::WaitingReady => Why::ReadyLimit,
                    Flight::Capturing { .. } => Why::StateLimit,
                    Flight::Acknowledged => Why::AcceptLimit,
                    Flight::Settling => Why::Settled,
                    Flight::Looking { .. } => Why::LookLimit,
                    Flight::Killing { .. } => Why::KillLimit,
                    Flight::Undoing { .. } => Why::UndoLimit,
                };
                Some(Deadline { at: until, why })
            }
            Stage::Draining { until, pid_file, lease, .. } => earliest([
                (pid_file.map(|pending| pending.until), Why::PidFileLimit),
                (lease.map(|pending| pending.until), Why::LeaseLimit),
                (Some(until), Why::DrainLimit),
            ]),
        }
    }

    fn rebase(&mut self, now: Millis) {
        let from = self.clock.now();
        match &mut self.stage {
            Stage::Running | Stage::Gone => {}
            Stage::Queued { until } | Stage::Upgrading { until, .. } => shift(until, from, now),
            Stage::Draining { until, pid_file, lease, .. } => {
                shift(until, from, now);
                for pending in [pid_file, lease].into_iter().flatten() {
                    shift(&mut pending.until, from, now);
                }
            }
        }
        self.clock.rebase(now);
    }

    fn fire(&mut self, why: Why, effects: &mut Vec<Effect>) {
        match why {
            // H4
            Why::QueueLimit => self.refuse_queued(UpgradeRefusal::QueueLimit, effects),
            // H1: whether it runs is unknown, so it is killed.
            Why::SpawnLimit => self.kill(RollbackCause::SpawnLimit, effects),
            // H1: before killing on a timeout, look once more.
            Why::ReadyLimit => self.look(RollbackCause::ReadyLimit, effects),
            Why::AcceptLimit => self.look(RollbackCause::AcceptLimit, effects),
            // H2: READY=1, and alive after the settle time?
            Why::Settled => self.look(RollbackCause::NotAlive, effects),
            Why::LookLimit => {
                if let Some(Flight::Looking { cause, .. }) = self.flight() {
                    self.kill(cause, effects);
                }
            }
            // H6
            Why::StateLimit => self.kill(RollbackCause::StateLimit, effects),
            // H1
            Why::KillLimit => self.killed(false, true, effects),
            Why::UndoLimit => self.undone(false, true, effects),
            // H5, H7
            Why::PidFileLimit => self.task_over(HandoffTask::PidFile, false, true, effects),
            Why::LeaseLimit => self.task_over(HandoffTask::Lease, false, true, effects),
            Why::DrainLimit => self.leave(false, effects),
        }
    }

    fn apply(&mut self, input: &Input, effects: &mut Vec<Effect>) -> Result<(), Rejection> {
        match *input {
            Input::Upgrade => self.asked(effects),
            Input::Cancel => self.give_up(UpgradeRefusal::Cancelled, RollbackCause::Cancelled, effects),
            Input::Stop => {
                if !matches!(self.stage, Stage::Draining { .. } | Stage::Gone) {
                    self.stopping = true;
                }
                self.give_up(UpgradeRefusal::Stopping, RollbackCause::Stopped, effects);
            }
            // H4
            Input::OlderGenerations { draining } => {
                self.older = draining;
                if matches!(self.stage, Stage::Queued { .. }) && self.may_begin() {
                    self.begin(effects);
                }
            }
            Input::Done { operation } => self.answered(operation, true, input, effects)?,
            Input::Failed { operation } => self.answered(operation, false, input, effects)?,
            Input::Ready { generation, speaks, version } => {
                if self.concerns(generation, input)? {
                    self.ready(speaks, version, effects);
                }
            }
            Input::Accepting { generation } => {
                if self.concerns(generation, input)? {
                    self.accepting(effects);
                }
            }
            Input::Refused { generation } => {
                if self.concerns(generation, input)? {
                    self.fail(RollbackCause::Refused, effects);
                }
            }
            Input::Garbage { generation } => {
                if self.concerns(generation, input)? {
                    self.fail(RollbackCause::Garbage, effects);
                }
            }
            Input::ChannelClosed { generation } => {
                if self.concerns(generation, input)? {
                    self.channel_closed(effects);
                }
            }
            Input::Exited { generation } => {
                if self.concerns(generation, input)? {
                    self.exited(effects);
                }
            }
            Input::Drained => match &mut self.stage {
                Stage::Draining { drained, .. } => {
                    *drained = true;
                    self.leave_if_over(effects);
                }
                Stage::Gone => {}
                _ => return Err(self.reject(RejectionCode::ImpossibleNow, input)),
            },
        }
        Ok(())
    }

    fn explain(&self) -> Explanation {
        let now = self.clock.now();
        let because = match self.stage {
            Stage::Running if self.stopping => String::from("the process was told to stop"),
            Stage::Running => match self.older {
                0 => String::from("no upgrade is in flight"),
                older => format!("no upgrade is in flight, and {older} older generations drain"),
            },
            Stage::Queued { .. } => {
                format!(
                    "an upgrade was asked for while {} older generations drain, and {} may drain in all",
                    self.older, self.config.most_draining
                )
            }
            Stage::Upgrading { generation, flight, .. } => match flight {
                Flight::Killing { cause, .. } | Flight::Undoing { cause, .. } => {
                    format!("the upgrade to generation {generation} failed: {}", cause.as_str())
                }
                _ => format!("an upgrade to generation {generation} is in flight"),
            },
            Stage::Draining { generation, alive: true, .. } => format!("generation {generation} accepts"),
            Stage::Draining { generation, .. } => {
                format!("generation {generation} accepted, and has ended since")
            }
            Stage::Gone => String::from("another generation serves"),
        };
        Explanation {
            state: self.state(),
            because,
            waits_for: self.waits_for(),
            next: self.next_timer().map(|timer| (until(now, timer.at), timer.why.as_str())),
        }
    }

    fn normalize(&mut self, renumber: &mut dyn FnMut(&'static str, &mut u32)) {
        match &mut self.stage {
            Stage::Running | Stage::Queued { .. } | Stage::Gone => {}
            Stage::Upgrading { generation, flight, .. } => {
                renumber("operation", generation);
                match flight {
                    Flight::Capturing { operation, .. }
                    | Flight::Looking { operation, .. }
                    | Flight::Killing { operation, .. }
                    | Flight::Undoing { operation, .. } => renumber("operation", operation),
                    Flight::Spawning | Flight::WaitingReady | Flight::Acknowledged | Flight::Settling => {}
                }
            }
            Stage::Draining { generation, pid_file, lease, .. } => {
                renumber("operation", generation);
                for pending in [pid_file, lease].into_iter().flatten() {
                    renumber("operation", &mut pending.operation);
                }
            }
        }
        renumber("operation", self.operations.counter());
    }

    fn write(&self, to: &mut Writer) {
        self.config.write(to);
        to.number(self.clock.now());
        self.operations.write(to);
        self.stage.write(to);
        self.older.write(to);
        to.flag(self.stopping);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        let handoff = Self {
            config: Record::read(from)?,
            clock: Clock::starting_at(from.time()?),
            operations: Record::read(from)?,
            stage: Record::read(from)?,
            older: Record::read(from)?,
            stopping: from.flag()?,
        };
        if handoff.is_possible() { Ok(handoff) } else { Err(RecordFault::Corrupt) }
    }
}

impl Handoff {
    /// Whether this generation still accepts: until its successor does (H2).
    #[must_use]
    pub fn accepts(&self) -> bool {
        !matches!(self.stage, Stage::Draining { .. } | Stage::Gone)
    }

    /// Whether the successor may accept by now without having been heard.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        matches!(self.flight(), Some(Flight::Acknowledged | Flight::Settling | Flight::Looking { .. }))
    }

    /// The series of its operations, for a machine that shares one series among its parts.
    pub(crate) fn operations(&mut self) -> &mut Operations {
        &mut self.operations
    }

    fn reject(&self, code: RejectionCode, input: &Input) -> Rejection {
        Rejection { code, input: input.type_name(), state: self.state() }
    }

    fn flight(&self) -> Option<Flight> {
        match self.stage {
            Stage::Upgrading { flight, .. } => Some(flight),
            _ => None,
        }
    }

    fn after(&self, duration: Millis) -> Millis {
        add(self.clock.now(), duration)
    }

    /// Goes on with the upgrade in flight.
    fn fly(&mut self, next: Flight, limit: Millis) {
        let end = self.after(limit);
        if let Stage::Upgrading { flight, until, .. } = &mut self.stage {
            (*flight, *until) = (next, end);
        }
    }

    fn generation(&self) -> OperationId {
        match self.stage {
            Stage::Upgrading { generation, .. } | Stage::Draining { generation, .. } => generation,
            Stage::Running | Stage::Queued { .. } | Stage::Gone => 0,
        }
    }

    /// Whether what is said about `generation` is about the successor there is.
    fn concerns(&self, generation: OperationId, input: &Input) -> Result<bool, Rejection> {
        let awaited = Some(self.generation()).filter(|generation| *generation > 0);
        match self.operations.judge(generation, awaited) {
            Answer::Awaited => Ok(true),
            Answer::Late => Ok(false),
            Answer::NeverIssued => Err(self.reject(RejectionCode::NeverIssued, input)),
        }
    }

    // H4: one upgrade at a time, and bounded generations.

    fn may_begin(&self) -> bool {
        self.older < self.config.most_draining
    }

    fn asked(&mut self, effects: &mut Vec<Effect>) {
        let refusal = match self.stage {
            Stage::Running if self.stopping => UpgradeRefusal::Stopping,
            Stage::Running if self.may_begin() => {
                self.begin(effects);
                return;
            }
            Stage::Running if self.config.while_draining == WhileDraining::Queue => {
                let limit = self.config.queue_limit;
                self.stage = Stage::Queued { until: self.after(limit) };
                effects.push(Effect::Queued { limit });
                return;
            }
            Stage::Running => UpgradeRefusal::OlderDraining,
            Stage::Queued { .. } | Stage::Upgrading { .. } => UpgradeRefusal::InFlight,
            Stage::Draining { .. } | Stage::Gone => UpgradeRefusal::Replaced,
        };
        effects.push(Effect::Refused { why: refusal });
    }

    fn refuse_queued(&mut self, why: UpgradeRefusal, effects: &mut Vec<Effect>) {
        self.stage = Stage::Running;
        effects.push(Effect::Refused { why });
    }

    fn begin(&mut self, effects: &mut Vec<Effect>) {
        let limit = self.config.spawn_limit;
        let operation = self.operations.issue();
        self.stage =
            Stage::Upgrading { generation: operation, flight: Flight::Spawning, until: self.after(limit) };
        // H8
        effects.push(Effect::Notify { notice: ServiceNotice::Reloading });
        effects.push(Effect::Spawn { operation, limit });
    }

    // H2: ready, acknowledged, accepting.

    fn ready(&mut self, speaks: Speaks, version: u16, effects: &mut Vec<Effect>) {
        match self.flight() {
            // A word of it says that it runs, before the answer to its spawn does.
            Some(
                Flight::Spawning
                | Flight::WaitingReady
                | Flight::Looking { cause: RollbackCause::ReadyLimit, .. },
            ) => {}
            // It said so before, or it is too late.
            _ => return,
        }
        if speaks == Speaks::Systemd {
            self.fly(Flight::Settling, self.config.settle);
            return;
        }
        // H6
        match agree(VERSION, version) {
            None => self.kill(RollbackCause::Version, effects),
            Some(version) if self.config.state => {
                let (most, limit) = (self.config.state_most, self.config.state_limit);
                let operation = self.operations.issue();
                self.fly(Flight::Capturing { operation, version }, limit);
                effects.push(Effect::CaptureState { operation, most, limit });
            }
            Some(version) => self.acknowledge(version, effects),
        }
    }

    fn acknowledge(&mut self, version: u16, effects: &mut Vec<Effect>) {
        self.fly(Flight::Acknowledged, self.config.accept_limit);
        let (generation, state) = (self.generation(), self.config.state);
        effects.push(Effect::Acknowledge { generation, version, state });
    }

    fn accepting(&mut self, effects: &mut Vec<Effect>) {
        match self.flight() {
            Some(Flight::Acknowledged | Flight::Settling) => self.accepted(effects),
            Some(Flight::Looking { cause, .. }) if may_accept(cause) => self.accepted(effects),
            // H2: nobody has told it that it may.
            _ => self.fail(RollbackCause::Garbage, effects),
        }
    }

    /// The successor accepts: this generation ends, in order.
    fn accepted(&mut self, effects: &mut Vec<Effect>) {
        let generation = self.generation();
        effects.push(Effect::Accepted { generation });
        // H8
        effects.push(Effect::Notify { notice: ServiceNotice::MainPid });
        let limit = self.config.task_limit;
        // H5
        let pid_file = self.config.pid_file.then(|| self.pending(limit));
        if let Some(Pending { operation, .. }) = pid_file {
            effects.push(Effect::WritePidFile { operation, generation, limit });
        }
        // H7
        let lease = self.config.lease.then(|| self.pending(limit));
        if let Some(Pending { operation, .. }) = lease {
            effects.push(Effect::PassLease { operation, generation, limit });
        }
        let until = self.after(self.config.drain_limit);
        self.stage = Stage::Draining { generation, until, pid_file, lease, drained: false, alive: true };
        self.stopping = false;
        effects.push(Effect::BeginDrain { intent: Intent::Handoff });
    }

    fn pending(&mut self, limit: Millis) -> Pending {
        Pending { operation: self.operations.issue(), until: self.after(limit) }
    }

    // H1: every failure before accepting leads back.

    fn look(&mut self, cause: RollbackCause, effects: &mut Vec<Effect>) {
        let limit = self.config.look_limit;
        let operation = self.operations.issue();
        self.fly(Flight::Looking { operation, cause }, limit);
        effects.push(Effect::Look { operation, generation: self.generation(), limit });
    }

    fn looked(&mut self, cause: RollbackCause, done: bool, effects: &mut Vec<Effect>) {
        // H2: what had arrived was told first, and that it had ended would have been.
        if cause == RollbackCause::NotAlive && done {
            self.accepted(effects);
        } else {
            self.kill(cause, effects);
        }
    }

    /// The upgrade is not wanted any more.
    fn give_up(&mut self, refusal: UpgradeRefusal, cause: RollbackCause, effects: &mut Vec<Effect>) {
        match self.flight() {
            None if matches!(self.stage, Stage::Queued { .. }) => self.refuse_queued(refusal, effects),
            // It may accept by now.
            Some(Flight::Acknowledged) => self.look(cause, effects),
            Some(Flight::Looking { cause: RollbackCause::NotAlive, .. }) => self.kill(cause, effects),
            Some(Flight::Looking { cause: earlier, .. }) if may_accept(earlier) => {}
            _ => self.fail(cause, effects),
        }
    }

    /// A channel closes as its process ends; the look tells which of both it is.
    fn channel_closed(&mut self, effects: &mut Vec<Effect>) {
        // Otherwise a look is under way; or it is a child that needs no channel; or it is too late.
        if let Some(
            Flight::Spawning | Flight::WaitingReady | Flight::Capturing { .. } | Flight::Acknowledged,
        ) = self.flight()
        {
            self.look(RollbackCause::ChannelClosed, effects);
        }
    }

    /// The successor is of no use, unless it accepts already or is being ended.
    fn fail(&mut self, cause: RollbackCause, effects: &mut Vec<Effect>) {
        match self.flight() {
            None | Some(Flight::Killing { .. } | Flight::Undoing { .. }) => {}
            Some(_) => self.kill(cause, effects),
        }
    }

    fn kill(&mut self, cause: RollbackCause, effects: &mut Vec<Effect>) {
        let limit = self.config.kill_limit;
        let operation = self.operations.issue();
        self.fly(Flight::Killing { operation, cause }, limit);
        effects.push(Effect::Kill { operation, generation: self.generation(), limit });
    }

    fn killed(&mut self, done: bool, timed_out: bool, effects: &mut Vec<Effect>) {
        let Some(Flight::Killing { cause, .. }) = self.flight() else { return };
        if !done {
            effects.push(Effect::TaskFailed { task: HandoffTask::Kill, hook: None, timed_out });
        }
        self.undo(0, cause, effects);
    }

    fn exited(&mut self, effects: &mut Vec<Effect>) {
        match self.flight() {
            Some(Flight::Undoing { .. }) => {}
            Some(Flight::Killing { cause, .. }) => self.undo(0, cause, effects),
            // It was reaped, so nothing is left to kill.
            Some(_) => self.undo(0, RollbackCause::Exited, effects),
            None => {
                if let Stage::Draining { generation, alive, .. } = &mut self.stage
                    && core::mem::take(alive)
                {
                    effects.push(Effect::SuccessorLost { generation: *generation });
                }
            }
        }
    }

    fn undo(&mut self, hook: u32, cause: RollbackCause, effects: &mut Vec<Effect>) {
        let index = usize::try_from(hook).unwrap_or(usize::MAX);
        if let Some(limit) = self.config.undo.get(index).map(|hook| hook.limit) {
            let operation = self.operations.issue();
            self.fly(Flight::Undoing { operation, hook, cause }, limit);
            effects.push(Effect::RunUndo { operation, hook, limit });
            return;
        }
        let generation = self.generation();
        self.stage = Stage::Running;
        // H8: the reload is over; a process that stops has said so.
        if !self.stopping {
            effects.push(Effect::Notify { notice: ServiceNotice::Ready });
        }
        effects.push(Effect::RolledBack { generation, cause });
    }

    fn undone(&mut self, done: bool, timed_out: bool, effects: &mut Vec<Effect>) {
        let Some(Flight::Undoing { hook, cause, .. }) = self.flight() else { return };
        if !done {
            effects.push(Effect::TaskFailed { task: HandoffTask::Undo, hook: Some(hook), timed_out });
        }
        self.undo(hook.saturating_add(1), cause, effects);
    }

    // H5, H7: the end of this generation.

    fn task_over(&mut self, task: HandoffTask, done: bool, timed_out: bool, effects: &mut Vec<Effect>) {
        let Stage::Draining { pid_file, lease, .. } = &mut self.stage else { return };
        match task {
            HandoffTask::Lease => *lease = None,
            _ => *pid_file = None,
        }
        if !done {
            effects.push(Effect::TaskFailed { task, hook: None, timed_out });
        }
        self.leave_if_over(effects);
    }

    fn leave_if_over(&mut self, effects: &mut Vec<Effect>) {
        if matches!(self.stage, Stage::Draining { pid_file: None, lease: None, drained: true, .. }) {
            self.leave(true, effects);
        }
    }

    fn leave(&mut self, drained: bool, effects: &mut Vec<Effect>) {
        self.stage = Stage::Gone;
        effects.push(Effect::Gone { drained });
    }

    // Answers.

    fn answered(
        &mut self,
        id: OperationId,
        done: bool,
        input: &Input,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Rejection> {
        let is = |pending: Option<Pending>| pending.is_some_and(|pending| pending.operation == id);
        match self.stage {
            Stage::Upgrading { generation, flight, .. } => match flight {
                Flight::Spawning if generation == id && done => {
                    self.fly(Flight::WaitingReady, self.config.ready_limit);
                }
                // It is certain that nothing runs.
                Flight::Spawning if generation == id => self.undo(0, RollbackCause::SpawnFailed, effects),
                Flight::Capturing { operation, version } if operation == id && done => {
                    self.acknowledge(version, effects);
                }
                Flight::Capturing { operation, .. } if operation == id => {
                    self.kill(RollbackCause::StateFailed, effects);
                }
                Flight::Looking { operation, cause } if operation == id => {
                    self.looked(cause, done, effects);
                }
                Flight::Killing { operation, .. } if operation == id => self.killed(done, false, effects),
                Flight::Undoing { operation, .. } if operation == id => self.undone(done, false, effects),
                _ => self.late(id, input)?,
            },
            Stage::Draining { pid_file, .. } if is(pid_file) => {
                self.task_over(HandoffTask::PidFile, done, false, effects);
            }
            Stage::Draining { lease, .. } if is(lease) => {
                self.task_over(HandoffTask::Lease, done, false, effects)
            }
            _ => self.late(id, input)?,
        }
        Ok(())
    }

    /// An answer that nothing waits for.
    fn late(&self, id: OperationId, input: &Input) -> Result<(), Rejection> {
        match self.operations.judge(id, None) {
            Answer::NeverIssued => Err(self.reject(RejectionCode::NeverIssued, input)),
            Answer::Awaited | Answer::Late => Ok(()),
        }
    }

    fn waits_for(&self) -> String {
        let hook = |hook: u32| {
            let index = usize::try_from(hook).unwrap_or(usize::MAX);
            self.config.undo.get(index).map_or("", |hook| hook.name.as_str())
        };
        String::from(match self.stage {
            Stage::Running | Stage::Gone => "",
            Stage::Queued { .. } => "an older generation to be gone",
            Stage::Upgrading { flight, .. } => match flight {
                Flight::Spawning => "the successor's process to run",
                Flight::WaitingReady => "the successor to be ready",
                Flight::Capturing { .. } => "the state to be captured",
                Flight::Acknowledged => "the successor to accept",
                Flight::Settling => "the successor to stay alive for the settle time",
                Flight::Looking { .. } => "the last look at what has arrived from the successor",
                Flight::Killing { .. } => "the successor to be killed and reaped",
                Flight::Undoing { hook: index, .. } => return format!("undo hook `{}`", hook(index)),
            },
            Stage::Draining { drained: false, .. } => "the drain of this generation",
            Stage::Draining { pid_file: Some(_), .. } => "the PID file to be written",
            Stage::Draining { .. } => "the lease to be passed",
        })
    }

    /// Whether a machine can be in this state: for records.
    fn is_possible(&self) -> bool {
        let issued = |id: OperationId| id >= 1 && id <= self.operations.issued();
        match self.stage {
            Stage::Running => true,
            Stage::Gone => !self.stopping,
            Stage::Queued { .. } => {
                let queues = self.config.while_draining == WhileDraining::Queue;
                !self.stopping && queues && !self.may_begin()
            }
            Stage::Upgrading { generation, flight, .. } => {
                // Once told to stop, an upgrade can only be on its way back.
                let ends = match flight {
                    Flight::Looking { cause, .. } => may_accept(cause) && cause != RollbackCause::NotAlive,
                    Flight::Killing { .. } | Flight::Undoing { .. } => true,
                    _ => false,
                };
                let sound = match flight {
                    Flight::Spawning | Flight::WaitingReady | Flight::Acknowledged | Flight::Settling => true,
                    Flight::Capturing { operation, version } => {
                        issued(operation) && self.config.state && agree(VERSION, version) == Some(version)
                    }
                    Flight::Looking { operation, cause } => {
                        issued(operation)
                            && (may_accept(cause)
                                || matches!(cause, RollbackCause::ReadyLimit | RollbackCause::ChannelClosed))
                    }
                    Flight::Killing { operation, .. } => issued(operation),
                    Flight::Undoing { operation, hook, .. } => {
                        issued(operation)
                            && usize::try_from(hook).is_ok_and(|hook| hook < self.config.undo.len())
                    }
                };
                issued(generation) && sound && (ends || !self.stopping)
            }
            Stage::Draining { generation, pid_file, lease, drained, .. } => {
                let owed = [pid_file, lease].into_iter().flatten();
                issued(generation)
                    && owed.clone().all(|pending| issued(pending.operation))
                    && (!drained || owed.count() > 0)
                    && (pid_file.is_none() || self.config.pid_file)
                    && (lease.is_none() || self.config.lease)
                    && !self.stopping
            }
        }
    }
}

/// Whether a successor that is looked at for this reason was allowed to accept.
fn may_accept(cause: RollbackCause) -> bool {
    matches!(
        cause,
        RollbackCause::AcceptLimit
            | RollbackCause::Cancelled
            | RollbackCause::Stopped
            | RollbackCause::NotAlive
    )
}

impl Record for Flight {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Spawning => to.number(0),
            Self::WaitingReady => to.number(1),
            Self::Capturing { operation, version } => {
                to.number(2);
                operation.write(to);
                version.write(to);
            }
            Self::Acknowledged => to.number(3),
            Self::Settling => to.number(4),
            Self::Looking { operation, cause } => {
                to.number(5);
                operation.write(to);
                cause.write(to);
            }
            Self::Killing { operation, cause } => {
                to.number(6);
                operation.write(to);
                cause.write(to);
            }
            Self::Undoing { operation, hook, cause } => {
                to.number(7);
                operation.write(to);
                hook.write(to);
                cause.write(to);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        Ok(match from.number()? {
            0 => Self::Spawning,
            1 => Self::WaitingReady,
            2 => Self::Capturing { operation: Record::read(from)?, version: Record::read(from)? },
            3 => Self::Acknowledged,
            4 => Self::Settling,
            5 => Self::Looking { operation: Record::read(from)?, cause: Record::read(from)? },
            6 => Self::Killing { operation: Record::read(from)?, cause: Record::read(from)? },
            7 => Self::Undoing {
                operation: Record::read(from)?,
                hook: Record::read(from)?,
                cause: Record::read(from)?,
            },
            _ => return Err(RecordFault::Corrupt),
        })
    }
}

impl Record for Stage {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Running => to.number(0),
            Self::Queued { until } => {
                to.number(1);
                to.number(*until);
            }
            Self::Upgrading { generation, flight, until } => {
                to.number(2);
                generation.write(to);
                flight.write(to);
                to.number(*until);
            }
            Self::Draining { generation, until, pid_file, lease, drained, alive } => {
                to.number(3);
                generation.write(to);
                to.number(*until);
                pid_file.write(to);
                lease.write(to);
                to.flag(*drained);
                to.flag(*alive);
            }
            Self::Gone => to.number(4),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        Ok(match from.number()? {
            0 => Self::Running,
            1 => Self::Queued { until: from.time()? },
            2 => Self::Upgrading {
                generation: Record::read(from)?,
                flight: Record::read(from)?,
                until: from.time()?,
            },
            3 => Self::Draining {
                generation: Record::read(from)?,
                until: from.time()?,
                pid_file: Record::read(from)?,
                lease: Record::read(from)?,
                drained: from.flag()?,
                alive: from.flag()?,
            },
            4 => Self::Gone,
            _ => return Err(RecordFault::Corrupt),
        })
    }
}

#[cfg(test)]
mod tests;
