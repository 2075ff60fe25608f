//! Stack: start processes in dependency order, and stop them in the reverse (rules K1–K6).
//!
//! A container has several processes that need each other: a router in front of a policy engine in front of an
//! executor. Each starts when what it needs is ready, and is stopped only when all that need it are gone, within
//! one budget, whatever hangs.
//!
//! # States
//!
//! | state | what happens | leaves it |
//! | --- | --- | --- |
//! | idle *(rests)* | nothing was started | [`Input::Start`] |
//! | starting | components start, bottom-up, each gated on those it comes after (K1) | all are up; or one fails (K3) |
//! | up *(rests)* | all are ready | one dies; a stop |
//! | restarting | one died and is started again (K4) | all are up; or its budget is used up |
//! | stopping | components stop, top-down (K2) | all are gone, or the budget is over |
//! | stopped *(rests)* | the process exits with the code of [`Effect::Exit`] | |
//!
//! A component waits, is spawned, starts, is up; then it is drained (an optional call, and the wait until it is
//! empty), signalled, killed at its limit, reaped, gone.
//!
//! # What the host owes
//!
//! * Each process leads a group of its own. Its `generation` is the operation that spawned it.
//! * [`Input::Exited`] is told when the leader has ended and is *not yet reaped* (`waitid` with `WNOWAIT`), so that
//!   its id is still its own: [`Effect::Reap`] first kills what is left of the group and then reaps. A host whose
//!   runtime reaps by itself just answers, and never signals a group after its leader ended. Orphans that are no
//!   component's, and processes that were given up as unreaped, are reaped by the host as they end (K6).
//! * [`Effect::Spawn`], [`Effect::AwaitReady`], [`Effect::CallDrain`], [`Effect::AwaitDrained`] and [`Effect::Reap`]
//!   are operations: one [`Input::Done`] or [`Input::Failed`] each. One without an answer ends at its limit.
//! * A component that is replaced by a hot restart (see [`crate::handoff`]) is told by [`Input::Replaced`]; the host
//!   ends the older generation itself and says [`Input::OlderGone`].
//!
//! # Choices that the rules leave open
//!
//! * A drain call that fails is reported, and the component may still empty by itself until the drain limit. If
//!   nobody can say whether it has (the wait fails too), the signal comes at once: it never blocks on a component
//!   that cannot be reached.
//! * A component that has never been ready is not drained: nobody can have sent anything to it.
//! * Those that come after a component which died stay up; they are older than its new process and reconnect. A
//!   component is started again only while all that it comes after are up.
//! * A stop that a component causes has the intent idle; a later one by the host may raise it.
//! * An exit with 0 is no failure: with `restart` = `on-failure` or `never` it stops the stack, cleanly.
//! * A force shortens every wait to nothing and keeps the order. At the end of the whole budget everything that is
//!   left is killed at once; as the sum of the limits is checked (longest path), only late wake-ups lead there.
//! * After a restore the outstanding operations are unknown: their limits end them.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::backoff::{Escalation, Policy};
use crate::contract::{shift, shift_timer};
use crate::drain::{EXIT_FORCED, EXIT_STEP_FAILED};
use crate::{
    Answer, Clock, Deadline, Explanation, FaultCode, Faults, Intent, Message, Millis, Name, OperationId,
    Operations, Random, Reader, Record, RecordFault, Rejection, RejectionCode, Rules, Writer, add, until,
};

/// The exit code when a component died while running and was not to be started again.
pub const EXIT_DIED: u8 = 5;
/// The exit code when a component failed while starting; the worst.
pub const EXIT_START_FAILED: u8 = 6;
/// The most components.
const MOST_COMPONENTS: u64 = 100;
/// The most restarts that a budget may allow.
const MOST_RESTARTS: u64 = 10_000;
/// The least margin that leaves time between the last kill and the exit. Milliseconds.
const LEAST_MARGIN: Millis = 10;

names! {
    /// How a component is known to be ready (K1).
    pub enum Readiness {
        /// It runs.
        Started = "started",
        /// It has run for `ready_delay`.
        Delay = "delay",
        /// Its socket exists, or takes a connection.
        Socket = "socket",
        /// An HTTP probe succeeds.
        Http = "http",
        /// It says READY=1.
        Notify = "notify",
    }
}

names! {
    /// What happens when a component ends while the stack runs (K4).
    pub enum Restart {
        /// The stack is taken down.
        Never = "never",
        /// It is started again after an error or a signal; an exit with 0 takes the stack down.
        OnFailure = "on-failure",
        /// It is started again.
        Always = "always",
    }
}

names! {
    /// Why a stack stops.
    pub enum StopCause {
        /// It was told to.
        Asked = "asked",
        /// A component ended with 0 and is not started again.
        Finished = "finished",
        /// A component died while running and is not started again (K4).
        Died = "died",
        /// A component failed while starting (K3).
        StartFailed = "start-failed",
    }
}

names! {
    /// The worst that happened. Ordered: the exit code reflects it.
    pub enum StackOutcome {
        /// Nothing bad: exit code 0, or the config's for a restart.
        Clean = "clean",
        /// A drain failed or took too long, or a component ended with an error when it was told to stop:
        /// [`EXIT_STEP_FAILED`].
        StepFailed = "step-failed",
        /// A component had to be killed, or could not be: [`EXIT_FORCED`].
        Forced = "forced",
        /// A component died: [`EXIT_DIED`].
        Died = "died",
        /// A component failed while starting: [`EXIT_START_FAILED`].
        StartFailed = "start-failed",
    }
}

names! {
    /// What went wrong with a component.
    pub enum ComponentFailure {
        /// It could not be spawned.
        Spawn = "spawn",
        /// Spawning took too long.
        SpawnLimit = "spawn-limit",
        /// It ended before it was ready.
        ExitedEarly = "exited-early",
        /// It said, or its probe did, that it will not be ready.
        NotReady = "not-ready",
        /// It was not ready in time.
        ReadyLimit = "ready-limit",
        /// It died while it was up.
        Died = "died",
        /// Its restarts are used up for now.
        RestartBudget = "restart-budget",
        /// The drain call failed.
        DrainCall = "drain-call",
        /// The drain call took too long.
        DrainCallLimit = "drain-call-limit",
        /// Nobody can say whether it has drained.
        DrainUnknown = "drain-unknown",
        /// It had not drained in time.
        DrainLimit = "drain-limit",
        /// It ended with an error when it was told to stop.
        Unclean = "unclean",
        /// It had to be killed.
        Killed = "killed",
        /// It could not be killed or reaped in time.
        Unreaped = "unreaped",
    }
}

settings! {
    /// One process of a stack. The host knows it by its place in the list.
    pub struct Component as "StackComponent" {
        /// Its name, in errors and reports.
        name: String = String::new(),
        /// The names of those it needs: it starts after they are ready, and they stop after it is gone (K1, K2).
        after: Vec<String> = Vec::new(),
        /// How it is known to be ready.
        ready: Readiness = Readiness::Started,
        /// For `delay`: how long it must have run. Milliseconds.
        ready_delay: Millis = 1_000,
        /// How long it may take to be ready. Milliseconds.
        ready_limit: Millis = 15_000,
        /// What happens when it ends while the stack runs.
        restart: Restart = Restart::OnFailure,
        /// The delays between restarts.
        backoff: Policy = Policy::default(),
        /// How long it must be up for the delays to begin anew. Milliseconds.
        stable_after: Millis = 10_000,
        /// How many restarts are allowed in `restart_window`; 0: none.
        restart_budget: u32 = 5,
        /// The window of `restart_budget`. Milliseconds.
        restart_window: Millis = 60_000,
        /// Whether there is a drain call, before the signal.
        drain: bool = false,
        /// How long that call may take. Milliseconds.
        drain_call_limit: Millis = 1_000,
        /// How long it may take after the call until it is empty. Milliseconds.
        drain_limit: Millis = 15_000,
        /// How long its own drain takes, if that is known (Envoy's `--drain-time-s`); 0: unknown. A longer one than
        /// `drain_limit` closes almost nothing in that time, so it is refused. Milliseconds.
        drain_time: Millis = 0,
        /// The signal that tells it to stop.
        stop_signal: u8 = 15,
        /// How long after the signal it may live before it is killed. Milliseconds.
        stop_limit: Millis = 3_000,
        /// Whether it can be replaced by a hot restart, so that older generations of it may still drain.
        upgradable: bool = false,
    }
}

settings! {
    /// How a stack starts and stops.
    pub struct Config as "StackConfig" {
        /// Its components, in any order.
        components: Vec<Component> = Vec::new(),
        /// How long starting a process may take. Milliseconds.
        spawn_limit: Millis = 5_000,
        /// How long a killed process may take to end. Milliseconds.
        kill_limit: Millis = 500,
        /// How long reaping may take, and killing what is left of its group. Milliseconds.
        reap_limit: Millis = 500,
        /// How long the platform waits before it kills (Kubernetes: 30 s). Milliseconds.
        kill_budget: Millis = 30_000,
        /// What must be left of the budget for the exit itself. Milliseconds.
        margin: Millis = 1_000,
        /// Two stop signals closer than this count as one. Milliseconds.
        signal_merge: Millis = 500,
        /// The exit code of a clean stop for a restart, for supervisors that tell it by one.
        restart_exit_code: u8 = 0,
    }
}

messages! {
    /// What happened to a stack. `component` is a place in the config's list, `generation` the operation that spawned
    /// a process.
    pub enum Input as "StackInput" {
        /// Start everything.
        Start = "start",
        /// Stop everything. A later one can only raise the intent.
        Stop = "stop" {
            /// What for.
            intent: Intent,
        },
        /// The operating system sent a stop signal: the first stops, one later than `signal_merge` forces.
        Signal = "signal" {
            /// What a stop by this signal means.
            intent: Intent,
        },
        /// Kill what is left, in order, without waiting.
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
        /// A process has ended and is not yet reaped.
        Exited = "exited" {
            /// Which process.
            generation: OperationId,
            /// Its exit status; 0 if a signal ended it.
            status: u8,
            /// The signal that ended it; 0 if none did.
            signal: u8,
        },
        /// A hot restart has replaced the component's process: its successor accepts.
        Replaced = "replaced" {
            /// Which component.
            component: u32,
        },
        /// An older generation of a component is gone and reaped.
        OlderGone = "older-gone" {
            /// Which component.
            component: u32,
        },
    }
}

messages! {
    /// What a stack wants done.
    pub enum Effect as "StackEffect" {
        /// Start the process of a component as the leader of a group; answer done when it runs. It is called by this
        /// operation from now on.
        Spawn = "spawn" {
            /// Which answer.
            operation: OperationId,
            /// Which component.
            component: u32,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Watch for its readiness; answer done when it is ready, failed when it never will be.
        AwaitReady = "await-ready" {
            /// Which answer.
            operation: OperationId,
            /// Which component.
            component: u32,
            /// Which process.
            generation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Call its drain action; answer done when its status says so.
        CallDrain = "call-drain" {
            /// Which answer.
            operation: OperationId,
            /// Which component.
            component: u32,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Watch for it to be empty; answer done when it is, failed when nobody can say.
        AwaitDrained = "await-drained" {
            /// Which answer.
            operation: OperationId,
            /// Which component.
            component: u32,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Send its process the stop signal.
        Signal = "signal" {
            /// Which component.
            component: u32,
            /// Which process.
            generation: OperationId,
            /// The signal.
            signal: u8,
        },
        /// Send SIGKILL to the group of its process. If that was never spawned, see that it will not be.
        KillGroup = "kill-group" {
            /// Which component.
            component: u32,
            /// Which process.
            generation: OperationId,
        },
        /// Send SIGKILL to the groups of its older generations.
        KillOlder = "kill-older" {
            /// Which component.
            component: u32,
        },
        /// Kill what is left of the group of a process that has ended, then reap it; answer done.
        Reap = "reap" {
            /// Which answer.
            operation: OperationId,
            /// Which component.
            component: u32,
            /// Which process.
            generation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// The new process of a replaced component is called by this generation from now on.
        Adopted = "adopted" {
            /// Which component.
            component: u32,
            /// Which process.
            generation: OperationId,
        },
        /// All components are up, or not any more.
        Readiness = "readiness" {
            /// Ready for traffic.
            ready: bool,
        },
        /// A report: a component is ready.
        Up = "up" {
            /// Which component.
            component: u32,
        },
        /// A report: something went wrong with a component.
        Failed = "failed" {
            /// Which component.
            component: u32,
            /// What.
            why: ComponentFailure,
        },
        /// A report: a component is started again after this delay (K4).
        Restarting = "restarting" {
            /// Which component.
            component: u32,
            /// From now. Milliseconds.
            delay: Millis,
        },
        /// A report: a component is gone. Those it came after may stop.
        Gone = "gone" {
            /// Which component.
            component: u32,
        },
        /// A report: the stack stops, or the intent of the stop was raised.
        Stopping = "stopping" {
            /// What for.
            intent: Intent,
            /// Why.
            cause: StopCause,
            /// The component that is the cause.
            component: Option<u32>,
            /// What is left of the kill budget. Milliseconds.
            left: Millis,
        },
        /// A report: it is over. The process should exit with `exit_code`.
        Exit = "exit" {
            /// What the stop was for.
            intent: Intent,
            /// Why it stopped.
            cause: StopCause,
            /// The component that is the cause.
            component: Option<u32>,
            /// The exit status of that component, 128 and the signal if one ended it; 0 if it had none.
            status: u8,
            /// The worst that happened.
            outcome: StackOutcome,
            /// From the begin of the stop. Milliseconds.
            duration: Millis,
            /// 0 clean, or `restart_exit_code`; 3 a step of the stop failed, 4 something was killed, 5 a component
            /// died, 6 one failed while starting.
            exit_code: u8,
        },
    }
}

names! {
    /// Why a stack wants to be woken.
    pub enum Why {
        /// The whole budget is over.
        Budget = "budget",
        /// A spawn has had its time.
        SpawnLimit = "spawn-limit",
        /// A component has run for its ready delay.
        ReadyDelay = "ready-delay",
        /// A component has had its time to be ready.
        ReadyLimit = "ready-limit",
        /// A component is to be started again.
        Restart = "restart",
        /// A drain call has had its time.
        DrainCallLimit = "drain-call-limit",
        /// A component has had its time to drain.
        DrainLimit = "drain-limit",
        /// A component has had its time to stop.
        StopLimit = "stop-limit",
        /// A component has had its time to end after it was killed.
        KillLimit = "kill-limit",
        /// A component has had its time to be reaped.
        ReapLimit = "reap-limit",
        /// The older generations of a component have had their time.
        OlderLimit = "older-limit",
    }
}

names! {
    /// Where a stack is, as far as it is not seen from its components.
    pub enum Phase {
        /// Nothing was started.
        Idle = "idle",
        /// Components are started, up or started again.
        Running = "running",
        /// Components are stopped.
        Stopping = "stopping",
        /// Over.
        Stopped = "stopped",
    }
}

/// Where a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    /// For those it comes after.
    Waiting,
    /// The operation is its generation.
    Spawning {
        until: Millis,
    },
    /// Not yet ready; without an operation it is only a matter of time.
    Starting {
        operation: Option<OperationId>,
        until: Millis,
    },
    Up,
    /// It died and is started again then.
    Pausing {
        until: Millis,
    },
    /// The drain call is under way.
    Draining {
        operation: OperationId,
        until: Millis,
    },
    /// It empties.
    Emptying {
        operation: OperationId,
        until: Millis,
    },
    /// It was signalled.
    Stopping {
        until: Millis,
    },
    /// It was killed.
    Killing {
        until: Millis,
        /// Whether its process is known to have been there.
        spawned: bool,
    },
    Reaping {
        operation: OperationId,
        until: Millis,
    },
    /// It is reaped; older generations of it are still there.
    Lingering {
        until: Millis,
        killed: bool,
    },
    Gone,
}

impl Stage {
    fn timer(self) -> Option<(Millis, Why)> {
        match self {
            Self::Waiting | Self::Up | Self::Gone => None,
            Self::Spawning { until } => Some((until, Why::SpawnLimit)),
            Self::Starting { operation: None, until } => Some((until, Why::ReadyDelay)),
            Self::Starting { until, .. } => Some((until, Why::ReadyLimit)),
            Self::Pausing { until } => Some((until, Why::Restart)),
            Self::Draining { until, .. } => Some((until, Why::DrainCallLimit)),
            Self::Emptying { until, .. } => Some((until, Why::DrainLimit)),
            Self::Stopping { until } => Some((until, Why::StopLimit)),
            Self::Killing { until, .. } => Some((until, Why::KillLimit)),
            Self::Reaping { until, .. } => Some((until, Why::ReapLimit)),
            Self::Lingering { until, .. } => Some((until, Why::OlderLimit)),
        }
    }

    fn timer_mut(&mut self) -> Option<&mut Millis> {
        match self {
            Self::Waiting | Self::Up | Self::Gone => None,
            Self::Spawning { until }
            | Self::Starting { until, .. }
            | Self::Pausing { until }
            | Self::Draining { until, .. }
            | Self::Emptying { until, .. }
            | Self::Stopping { until }
            | Self::Killing { until, .. }
            | Self::Reaping { until, .. }
            | Self::Lingering { until, .. } => Some(until),
        }
    }

    fn operation_mut(&mut self) -> Option<&mut OperationId> {
        match self {
            Self::Starting { operation, .. } => operation.as_mut(),
            Self::Draining { operation, .. }
            | Self::Emptying { operation, .. }
            | Self::Reaping { operation, .. } => Some(operation),
            _ => None,
        }
    }

    /// The operation whose answer it waits for, besides that of its spawn.
    fn operation(self) -> Option<OperationId> {
        match self {
            Self::Starting { operation, .. } => operation,
            Self::Draining { operation, .. }
            | Self::Emptying { operation, .. }
            | Self::Reaping { operation, .. } => Some(operation),
            _ => None,
        }
    }

    /// Whether its process may be there and has not been seen to end.
    fn has_process(self) -> bool {
        match self {
            Self::Spawning { .. }
            | Self::Starting { .. }
            | Self::Up
            | Self::Draining { .. }
            | Self::Emptying { .. }
            | Self::Stopping { .. }
            | Self::Killing { .. } => true,
            Self::Waiting
            | Self::Pausing { .. }
            | Self::Reaping { .. }
            | Self::Lingering { .. }
            | Self::Gone => false,
        }
    }
}

/// A component at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Part {
    stage: Stage,
    /// Its process, until that is seen to end or given up; 0: none.
    generation: OperationId,
    /// How many older generations of it there are.
    older: u32,
    /// Whether it was ever ready.
    was_up: bool,
    escalation: Escalation,
    /// When it will have been up for long enough.
    stable: Option<Millis>,
    /// When all of its restarts may be used again; a token bucket.
    budget_full: Millis,
}
record_fields!(Part { stage, generation, older, was_up, escalation, stable, budget_full });

/// A stack of processes. See the [module](self) for its states and what its host owes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stack {
    config: Arc<Config>,
    /// Which components each one comes after, by place. Follows from the config.
    after: Arc<Vec<Vec<usize>>>,
    random: Random,
    clock: Clock,
    operations: Operations,
    phase: Phase,
    parts: Vec<Part>,
    /// Whether readiness was said.
    ready: bool,
    intent: Intent,
    cause: StopCause,
    culprit: Option<u32>,
    status: u8,
    outcome: StackOutcome,
    /// Until when another signal is the same one; none before the first.
    merge_until: Option<Millis>,
    /// When all that is left is killed; after that, when it exits regardless.
    stop_by: Option<Millis>,
    /// Whether nothing is waited for any more.
    forced: bool,
    /// Whether the budget is over.
    overdue: bool,
}

impl Rules for Stack {
    const NAME: &'static str = "stack";
    const SNAPSHOT_VERSION: u16 = 1;
    type Config = Config;
    type Input = Input;
    type Effect = Effect;
    type Why = Why;

    fn check(config: &Config, faults: &mut Faults) {
        let count = u64::try_from(config.components.len()).unwrap_or(u64::MAX);
        faults.range("components", count, 0, MOST_COMPONENTS, " components");
        for (index, component) in config.components.iter().enumerate() {
            faults.inside(&format!("components.{index}"), |faults| {
                check_component(config, index, component, faults);
            });
        }
        faults.duration("spawn_limit", config.spawn_limit, 1);
        faults.duration("kill_limit", config.kill_limit, 1);
        faults.duration("reap_limit", config.reap_limit, 1);
        faults.duration("kill_budget", config.kill_budget, 1);
        faults.duration("margin", config.margin, LEAST_MARGIN);
        faults.duration("signal_merge", config.signal_merge, 0);
        if (EXIT_STEP_FAILED..=EXIT_START_FAILED).contains(&config.restart_exit_code) {
            let message = format!(
                "is {}, which means a failure ({EXIT_STEP_FAILED} to {EXIT_START_FAILED}); choose another",
                config.restart_exit_code
            );
            faults.add(FaultCode::Contradiction, "restart_exit_code", message);
        }
        match config.cycle() {
            _ if count > MOST_COMPONENTS => {}
            Some(path) => check_cycle(config, &path, faults),
            None => check_budget(config, faults),
        }
    }

    fn start(config: Config, random: Random, clock: Clock) -> Self {
        let part = Part {
            stage: Stage::Waiting,
            generation: 0,
            older: 0,
            was_up: false,
            escalation: Escalation::default(),
            stable: None,
            budget_full: clock.now(),
        };
        Self {
            after: Arc::new(config.places()),
            parts: vec![part; config.components.len()],
            config: Arc::new(config),
            random,
            clock,
            operations: Operations::default(),
            phase: Phase::Idle,
            ready: false,
            intent: Intent::Idle,
            cause: StopCause::Asked,
            culprit: None,
            status: 0,
            outcome: StackOutcome::Clean,
            merge_until: None,
            stop_by: None,
            forced: false,
            overdue: false,
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
        match self.phase {
            Phase::Running if self.all_up() => "up",
            Phase::Running if self.parts.iter().any(|part| !part.was_up) => "starting",
            Phase::Running => "restarting",
            phase => phase.as_str(),
        }
    }

    fn is_resting(&self) -> bool {
        match self.phase {
            Phase::Idle | Phase::Stopped => true,
            Phase::Running => self.all_up(),
            Phase::Stopping => false,
        }
    }

    fn next_timer(&self) -> Option<Deadline<Why>> {
        let budget = self.stop_by.map(|at| (at, Why::Budget));
        let parts = self.parts.iter().filter_map(|part| part.stage.timer());
        let first = budget.into_iter().chain(parts).min_by_key(|(at, _)| *at);
        first.map(|(at, why)| Deadline { at, why })
    }

    fn rebase(&mut self, now: Millis) {
        let from = self.clock.now();
        shift_timer(&mut self.merge_until, from, now);
        shift_timer(&mut self.stop_by, from, now);
        for part in &mut self.parts {
            shift_timer(&mut part.stable, from, now);
            shift(&mut part.budget_full, from, now);
            if let Some(at) = part.stage.timer_mut() {
                shift(at, from, now);
            }
        }
        self.clock.rebase(now);
    }

    fn fire(&mut self, why: Why, effects: &mut Vec<Effect>) {
        let now = self.clock.now();
        // K5: each component has its own timers; the budget is above all of them.
        if why == Why::Budget {
            self.budget_over(effects);
            return;
        }
        let due = |part: &Part| part.stage.timer().is_some_and(|(at, due)| due == why && at <= now);
        let Some(index) = self.parts.iter().position(due) else { return };
        match why {
            Why::Budget => {}
            // K3: whether it runs is unknown, so it is killed.
            Why::SpawnLimit => {
                self.kill(index, false, effects);
                self.start_failed(index, ComponentFailure::SpawnLimit, 0, effects);
            }
            // K1
            Why::ReadyDelay => self.up(index, effects),
            Why::ReadyLimit => self.not_ready(index, ComponentFailure::ReadyLimit, effects),
            // K4
            Why::Restart => {
                self.set(index, Stage::Waiting);
                self.start_those_that_can(effects);
            }
            // K2
            Why::DrainCallLimit => self.drain_called(index, Some(ComponentFailure::DrainCallLimit), effects),
            Why::DrainLimit => self.drained(index, Some(ComponentFailure::DrainLimit), effects),
            Why::StopLimit => {
                self.worst(index, ComponentFailure::Killed, StackOutcome::Forced, effects);
                self.kill(index, true, effects);
            }
            Why::KillLimit | Why::ReapLimit => {
                self.worst(index, ComponentFailure::Unreaped, StackOutcome::Forced, effects);
                self.ended(index, effects);
            }
            Why::OlderLimit => self.older_over(index, effects),
        }
    }

    fn apply(&mut self, input: &Input, effects: &mut Vec<Effect>) -> Result<(), Rejection> {
        match *input {
            Input::Start => match self.phase {
                Phase::Idle => {
                    self.phase = Phase::Running;
                    self.start_those_that_can(effects);
                    self.show_readiness(effects);
                }
                // The start was stopped before it began; the host could not know yet.
                Phase::Stopped => {}
                Phase::Running | Phase::Stopping => {
                    return Err(self.reject(RejectionCode::ImpossibleNow, input));
                }
            },
            Input::Stop { intent } => self.asked_to_stop(intent, effects),
            Input::Signal { intent } => self.signalled(intent, effects),
            Input::Force => match self.phase {
                Phase::Idle | Phase::Running => {
                    return Err(self.reject(RejectionCode::ImpossibleNow, input));
                }
                Phase::Stopping => self.force(effects),
                Phase::Stopped => {}
            },
            Input::Done { operation } => self.answered(operation, true, input, effects)?,
            Input::Failed { operation } => self.answered(operation, false, input, effects)?,
            Input::Exited { generation, status, signal } => {
                let same = |part: &Part| part.generation == generation && generation > 0;
                match self.parts.iter().position(same) {
                    Some(index) => self.exited(index, status, signal, effects),
                    None => self.late(generation, input)?,
                }
            }
            Input::Replaced { component } => {
                let index = self.place(component, input)?;
                if !self.config.components.get(index).is_some_and(|component| component.upgradable) {
                    return Err(self.reject(RejectionCode::ImpossibleNow, input));
                }
                match self.part(index).stage {
                    Stage::Up | Stage::Draining { .. } | Stage::Emptying { .. } | Stage::Stopping { .. } => {
                        self.replaced(index, effects);
                    }
                    _ => return Err(self.reject(RejectionCode::ImpossibleNow, input)),
                }
            }
            Input::OlderGone { component } => {
                let index = self.place(component, input)?;
                if self.part(index).older == 0 {
                    return Err(self.reject(RejectionCode::ImpossibleNow, input));
                }
                self.older_gone(index, effects);
            }
        }
        Ok(())
    }

    fn explain(&self) -> Explanation {
        let because = match (self.phase, self.cause) {
            (Phase::Idle, _) => String::from("nothing was started"),
            (Phase::Running, _) => {
                let up = self.parts.iter().filter(|part| part.stage == Stage::Up).count();
                format!("{up} of {} components are up", self.parts.len())
            }
            (_, StopCause::Asked) => format!("it was told to stop for {}", self.intent.as_str()),
            (_, StopCause::Finished) => format!("`{}` ended with 0", self.culprit_name()),
            (_, StopCause::Died) => format!("`{}` died with status {}", self.culprit_name(), self.status),
            (_, StopCause::StartFailed) => format!("`{}` failed while starting", self.culprit_name()),
        };
        Explanation {
            state: self.state(),
            because,
            waits_for: self.waits_for(),
            next: self.next_timer().map(|timer| (until(self.clock.now(), timer.at), timer.why.as_str())),
        }
    }

    fn random(&mut self) -> Option<&mut Random> {
        Some(&mut self.random)
    }

    fn normalize(&mut self, renumber: &mut dyn FnMut(&'static str, &mut u32)) {
        let runs = matches!(self.phase, Phase::Idle | Phase::Running);
        let now = self.clock.now();
        for (part, component) in self.parts.iter_mut().zip(&self.config.components) {
            // Only a death while it is up asks whether it was stable, and only a stack that runs starts it again.
            if part.stage != Stage::Up || !runs {
                part.stable = None;
            }
            if runs {
                part.escalation.saturate(&component.backoff);
            } else {
                (part.escalation, part.budget_full) = (Escalation::default(), now);
            }
            if part.generation > 0 {
                renumber("operation", &mut part.generation);
            }
            if let Some(operation) = part.stage.operation_mut() {
                renumber("operation", operation);
            }
        }
        renumber("operation", self.operations.counter());
    }

    fn write(&self, to: &mut Writer) {
        self.config.write(to);
        self.random.write(to);
        to.number(self.clock.now());
        self.operations.write(to);
        self.phase.write(to);
        self.parts.write(to);
        to.flag(self.ready);
        self.intent.write(to);
        self.cause.write(to);
        self.culprit.write(to);
        self.status.write(to);
        self.outcome.write(to);
        to.optional(self.merge_until);
        to.optional(self.stop_by);
        to.flag(self.forced);
        to.flag(self.overdue);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        let config = <Arc<Config> as Record>::read(from)?;
        let stack = Self {
            after: Arc::new(config.places()),
            config,
            random: Record::read(from)?,
            clock: Clock::starting_at(from.time()?),
            operations: Record::read(from)?,
            phase: Record::read(from)?,
            parts: Record::read(from)?,
            ready: from.flag()?,
            intent: Record::read(from)?,
            cause: Record::read(from)?,
            culprit: Record::read(from)?,
            status: Record::read(from)?,
            outcome: Record::read(from)?,
            merge_until: from.timer()?,
            stop_by: from.timer()?,
            forced: from.flag()?,
            overdue: from.flag()?,
        };
        if stack.is_possible() { Ok(stack) } else { Err(RecordFault::Corrupt) }
    }
}

impl Stack {
    /// What the stop is for; [`Intent::Idle`] before one has begun.
    #[must_use]
    pub fn intent(&self) -> Intent {
        self.intent
    }

    fn reject(&self, code: RejectionCode, input: &Input) -> Rejection {
        Rejection { code, input: input.type_name(), state: self.state() }
    }

    fn after(&self, duration: Millis) -> Millis {
        add(self.clock.now(), duration)
    }

    fn part(&self, index: usize) -> Part {
        let none = Part {
            stage: Stage::Gone,
            generation: 0,
            older: 0,
            was_up: false,
            escalation: Escalation::default(),
            stable: None,
            budget_full: 0,
        };
        self.parts.get(index).copied().unwrap_or(none)
    }

    fn set(&mut self, index: usize, stage: Stage) {
        if let Some(part) = self.parts.get_mut(index) {
            part.stage = stage;
        }
    }

    /// The settings of a component, but for its names, which nothing is decided by: so that no step has to allocate them.
    /// The default for one that is not there.
    fn component(&self, index: usize) -> Component {
        let settings = |component: &Component| Component {
            name: String::new(),
            after: Vec::new(),
            backoff: component.backoff.clone(),
            ..*component
        };
        self.config.components.get(index).map(settings).unwrap_or_default()
    }

    fn place(&self, component: u32, input: &Input) -> Result<usize, Rejection> {
        usize::try_from(component)
            .ok()
            .filter(|index| *index < self.parts.len())
            .ok_or_else(|| self.reject(RejectionCode::ValueOutOfRange, input))
    }

    fn all_up(&self) -> bool {
        self.parts.iter().all(|part| part.stage == Stage::Up)
    }

    fn show_readiness(&mut self, effects: &mut Vec<Effect>) {
        let ready = self.phase == Phase::Running && self.all_up();
        if ready != self.ready {
            self.ready = ready;
            effects.push(Effect::Readiness { ready });
        }
    }

    fn failed(&self, index: usize, why: ComponentFailure, effects: &mut Vec<Effect>) {
        effects.push(Effect::Failed { component: number(index), why });
    }

    /// Reports a failure, which the exit code of a stop reflects.
    fn worst(
        &mut self,
        index: usize,
        why: ComponentFailure,
        outcome: StackOutcome,
        effects: &mut Vec<Effect>,
    ) {
        if self.phase == Phase::Stopping {
            self.outcome = self.outcome.max(outcome);
        }
        self.failed(index, why, effects);
    }

    // K1: bottom-up, each gated on those it comes after.

    fn start_those_that_can(&mut self, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Running {
            return;
        }
        let after = Arc::clone(&self.after);
        for (index, needed) in after.iter().enumerate() {
            let can = needed.iter().all(|needed| self.part(*needed).stage == Stage::Up);
            if can && self.part(index).stage == Stage::Waiting {
                self.spawn(index, effects);
            }
        }
    }

    fn spawn(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let limit = self.config.spawn_limit;
        let operation = self.operations.issue();
        let until = self.after(limit);
        if let Some(part) = self.parts.get_mut(index) {
            part.stage = Stage::Spawning { until };
            part.generation = operation;
        }
        effects.push(Effect::Spawn { operation, component: number(index), limit });
    }

    fn spawned(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let Component { ready, ready_delay, ready_limit: limit, .. } = self.component(index);
        match ready {
            Readiness::Started => self.up(index, effects),
            Readiness::Delay => {
                self.set(index, Stage::Starting { operation: None, until: self.after(ready_delay) });
            }
            Readiness::Socket | Readiness::Http | Readiness::Notify => {
                let operation = self.operations.issue();
                let until = self.after(limit);
                self.set(index, Stage::Starting { operation: Some(operation), until });
                let generation = self.part(index).generation;
                let component = number(index);
                effects.push(Effect::AwaitReady { operation, component, generation, limit });
            }
        }
    }

    fn up(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let stable = self.after(self.component(index).stable_after);
        if let Some(part) = self.parts.get_mut(index) {
            part.stage = Stage::Up;
            part.was_up = true;
            part.stable = Some(stable);
        }
        effects.push(Effect::Up { component: number(index) });
        self.start_those_that_can(effects);
        self.show_readiness(effects);
    }

    // K3, K4: what fails.

    /// It runs but is not ready: it is stopped like any other.
    fn not_ready(&mut self, index: usize, why: ComponentFailure, effects: &mut Vec<Effect>) {
        self.signal(index, effects);
        self.start_failed(index, why, 0, effects);
    }

    fn start_failed(&mut self, index: usize, why: ComponentFailure, status: u8, effects: &mut Vec<Effect>) {
        self.failed(index, why, effects);
        if self.phase != Phase::Running {
            return;
        }
        if !self.part(index).was_up {
            // K3
            self.take_down(StopCause::StartFailed, index, status, effects);
        } else if !self.take_restart(index) {
            self.failed(index, ComponentFailure::RestartBudget, effects);
            self.take_down(StopCause::Died, index, status, effects);
        }
    }

    /// K4: it ended while it was up. It is started again once it is reaped, or the stack goes down.
    fn died(&mut self, index: usize, clean: bool, status: u8, effects: &mut Vec<Effect>) {
        let now = self.clock.now();
        if let Some(part) = self.parts.get_mut(index)
            && part.stable.take().is_some_and(|stable| stable <= now)
        {
            part.escalation.reset();
        }
        self.show_readiness(effects);
        if !clean {
            self.failed(index, ComponentFailure::Died, effects);
        }
        let component = self.component(index);
        let again = match component.restart {
            Restart::Never => false,
            Restart::OnFailure => !clean,
            Restart::Always => true,
        };
        if again && self.take_restart(index) {
            return;
        }
        if again {
            self.failed(index, ComponentFailure::RestartBudget, effects);
        }
        let cause = if clean && !again { StopCause::Finished } else { StopCause::Died };
        self.take_down(cause, index, status, effects);
    }

    fn take_down(&mut self, cause: StopCause, index: usize, status: u8, effects: &mut Vec<Effect>) {
        (self.culprit, self.status) = (Some(number(index)), status);
        self.begin_stop(Intent::Idle, cause, effects);
    }

    /// Takes one restart out of the bucket, if there is one. `budget_full` is the instant at which the bucket will
    /// be full, so what is missing from it is the time until then.
    fn take_restart(&mut self, index: usize) -> bool {
        let now = self.clock.now();
        let Component { restart_budget, restart_window, .. } = self.component(index);
        let budget = u64::from(restart_budget);
        let price = restart_window.saturating_add(budget.saturating_sub(1)).checked_div(budget);
        let (Some(price), Some(part)) = (price, self.parts.get_mut(index)) else { return false };
        let spent = until(now, part.budget_full).saturating_add(price);
        if spent > price.saturating_mul(budget) {
            return false;
        }
        part.budget_full = add(now, spent);
        true
    }

    fn restart(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let now = self.clock.now();
        let policy = self.component(index).backoff;
        let Some(part) = self.parts.get_mut(index) else { return };
        let delay = part.escalation.next(&policy, &mut self.random, None);
        part.stage = Stage::Pausing { until: add(now, delay) };
        effects.push(Effect::Restarting { component: number(index), delay });
    }

    // K2: top-down.

    fn asked_to_stop(&mut self, intent: Intent, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Idle | Phase::Running => self.begin_stop(intent, StopCause::Asked, effects),
            Phase::Stopping if intent > self.intent => {
                self.intent = intent;
                self.report_stopping(effects);
            }
            Phase::Stopping | Phase::Stopped => {}
        }
    }

    fn signalled(&mut self, intent: Intent, effects: &mut Vec<Effect>) {
        let merge_until = self.merge_until;
        if merge_until.is_none() && self.phase != Phase::Stopped {
            self.merge_until = Some(self.after(self.config.signal_merge));
        }
        let another = self.phase == Phase::Stopping && merge_until.is_some_and(|at| at <= self.clock.now());
        self.asked_to_stop(intent, effects);
        if another {
            self.force(effects);
        }
    }

    fn report_stopping(&self, effects: &mut Vec<Effect>) {
        let left =
            self.stop_by.map_or(0, |at| until(self.clock.now(), at)).saturating_add(self.config.margin);
        let (intent, cause, component) = (self.intent, self.cause, self.culprit);
        effects.push(Effect::Stopping { intent, cause, component, left });
    }

    fn begin_stop(&mut self, intent: Intent, cause: StopCause, effects: &mut Vec<Effect>) {
        self.phase = Phase::Stopping;
        (self.intent, self.cause) = (intent, cause);
        self.outcome = match cause {
            StopCause::Asked | StopCause::Finished => StackOutcome::Clean,
            StopCause::Died => StackOutcome::Died,
            StopCause::StartFailed => StackOutcome::StartFailed,
        };
        self.stop_by = Some(self.after(self.config.kill_budget.saturating_sub(self.config.margin)));
        self.show_readiness(effects);
        self.report_stopping(effects);
        for index in 0..self.parts.len() {
            match self.part(index).stage {
                // K3: what was not started is not stopped.
                Stage::Waiting | Stage::Pausing { .. } => self.set(index, Stage::Gone),
                // Its turn comes; whether it gets ready makes no difference any more, but those that come after it
                // may need it for their drain.
                Stage::Starting { .. } => self.set(index, Stage::Up),
                _ => {}
            }
        }
        self.stop_those_that_can(effects);
    }

    /// A component stops once all that come after it are gone.
    fn stop_those_that_can(&mut self, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Stopping {
            return;
        }
        for index in 0..self.parts.len() {
            if self.dependents_gone(index) {
                self.stop(index, effects);
            }
        }
        if self.parts.iter().all(|part| part.stage == Stage::Gone) {
            self.exit(effects);
        }
    }

    fn dependents_gone(&self, index: usize) -> bool {
        let mut dependents = self.after.iter().zip(&self.parts).filter(|(needed, _)| needed.contains(&index));
        dependents.all(|(_, part)| part.stage == Stage::Gone)
    }

    fn stop(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let Component { drain, drain_call_limit: limit, .. } = self.component(index);
        match self.part(index).stage {
            Stage::Up => {}
            // Nobody can have sent anything to it, and it may not even be there.
            Stage::Spawning { .. } => return self.kill(index, false, effects),
            _ => return,
        }
        if self.forced {
            self.worst(index, ComponentFailure::Killed, StackOutcome::Forced, effects);
            self.kill(index, true, effects);
        } else if drain && self.part(index).was_up {
            let operation = self.operations.issue();
            self.set(index, Stage::Draining { operation, until: self.after(limit) });
            effects.push(Effect::CallDrain { operation, component: number(index), limit });
        } else {
            self.signal(index, effects);
        }
    }

    fn drain_called(&mut self, index: usize, failure: Option<ComponentFailure>, effects: &mut Vec<Effect>) {
        if let Some(why) = failure {
            self.worst(index, why, StackOutcome::StepFailed, effects);
        }
        let limit = self.component(index).drain_limit;
        let operation = self.operations.issue();
        self.set(index, Stage::Emptying { operation, until: self.after(limit) });
        effects.push(Effect::AwaitDrained { operation, component: number(index), limit });
    }

    fn drained(&mut self, index: usize, failure: Option<ComponentFailure>, effects: &mut Vec<Effect>) {
        if let Some(why) = failure {
            self.worst(index, why, StackOutcome::StepFailed, effects);
        }
        self.signal(index, effects);
    }

    fn signal(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let Component { stop_signal: signal, stop_limit, .. } = self.component(index);
        self.set(index, Stage::Stopping { until: self.after(stop_limit) });
        let generation = self.part(index).generation;
        effects.push(Effect::Signal { component: number(index), generation, signal });
    }

    /// To the group, before its leader is reaped (K2).
    fn kill(&mut self, index: usize, spawned: bool, effects: &mut Vec<Effect>) {
        self.set(index, Stage::Killing { until: self.after(self.config.kill_limit), spawned });
        let generation = self.part(index).generation;
        effects.push(Effect::KillGroup { component: number(index), generation });
    }

    // K6: what ended is reaped, once, and never signalled again: its generation is forgotten.

    fn exited(&mut self, index: usize, status: u8, signal: u8, effects: &mut Vec<Effect>) {
        let Part { stage, generation, .. } = self.part(index);
        let clean = status == 0 && signal == 0;
        let told = clean || signal == self.component(index).stop_signal;
        let shown = if signal == 0 { status } else { signal.saturating_add(128) };
        self.reap(index, generation, effects);
        match (stage, self.phase) {
            (Stage::Spawning { .. } | Stage::Starting { .. }, Phase::Running) => {
                self.start_failed(index, ComponentFailure::ExitedEarly, shown, effects);
            }
            (Stage::Up, Phase::Running) => self.died(index, clean, shown, effects),
            // Before its turn.
            (Stage::Up | Stage::Spawning { .. }, _) if !clean => {
                self.worst(index, ComponentFailure::Died, StackOutcome::Died, effects)
            }
            (Stage::Draining { .. } | Stage::Emptying { .. }, _) if !clean => {
                self.worst(index, ComponentFailure::Unclean, StackOutcome::StepFailed, effects);
            }
            (Stage::Stopping { .. }, Phase::Stopping) if !told => {
                self.worst(index, ComponentFailure::Unclean, StackOutcome::StepFailed, effects);
            }
            _ => {}
        }
    }

    fn reap(&mut self, index: usize, generation: OperationId, effects: &mut Vec<Effect>) {
        let limit = self.config.reap_limit;
        let operation = self.operations.issue();
        let until = self.after(limit);
        if let Some(part) = self.parts.get_mut(index) {
            part.stage = Stage::Reaping { operation, until };
            part.generation = 0;
        }
        effects.push(Effect::Reap { operation, component: number(index), generation, limit });
    }

    /// Its process is not there any more, or is given up.
    fn ended(&mut self, index: usize, effects: &mut Vec<Effect>) {
        if let Some(part) = self.parts.get_mut(index) {
            part.generation = 0;
        }
        if self.phase == Phase::Running {
            self.restart(index, effects);
        } else if self.part(index).older > 0 {
            // K2: gone is when all of it is.
            let until = self.after(self.component(index).stop_limit);
            self.set(index, Stage::Lingering { until, killed: false });
            if self.forced {
                self.older_over(index, effects);
            }
        } else {
            self.gone(index, effects);
        }
    }

    fn gone(&mut self, index: usize, effects: &mut Vec<Effect>) {
        self.set(index, Stage::Gone);
        effects.push(Effect::Gone { component: number(index) });
        self.stop_those_that_can(effects);
    }

    // Hot restarts.

    fn replaced(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let generation = self.operations.issue();
        let component = number(index);
        if let Some(part) = self.parts.get_mut(index) {
            part.generation = generation;
            part.older = part.older.saturating_add(1);
        }
        effects.push(Effect::Adopted { component, generation });
        // The signal went to the older one.
        if matches!(self.part(index).stage, Stage::Stopping { .. }) {
            let signal = self.component(index).stop_signal;
            effects.push(Effect::Signal { component, generation, signal });
        }
    }

    fn older_gone(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let Some(part) = self.parts.get_mut(index) else { return };
        part.older = part.older.saturating_sub(1);
        if part.older == 0 && matches!(part.stage, Stage::Lingering { .. }) {
            self.gone(index, effects);
        }
    }

    fn older_over(&mut self, index: usize, effects: &mut Vec<Effect>) {
        if let Stage::Lingering { killed: false, .. } = self.part(index).stage {
            self.worst(index, ComponentFailure::Killed, StackOutcome::Forced, effects);
            self.set(index, Stage::Lingering { until: self.after(self.config.kill_limit), killed: true });
            effects.push(Effect::KillOlder { component: number(index) });
        } else {
            self.worst(index, ComponentFailure::Unreaped, StackOutcome::Forced, effects);
            self.gone(index, effects);
        }
    }

    // K5: nothing exceeds the budget.

    fn force(&mut self, effects: &mut Vec<Effect>) {
        self.forced = true;
        for index in 0..self.parts.len() {
            match self.part(index).stage {
                Stage::Draining { .. } | Stage::Emptying { .. } | Stage::Stopping { .. } => {
                    self.worst(index, ComponentFailure::Killed, StackOutcome::Forced, effects);
                    self.kill(index, true, effects);
                }
                Stage::Lingering { killed: false, .. } => self.older_over(index, effects),
                _ => {}
            }
        }
    }

    fn budget_over(&mut self, effects: &mut Vec<Effect>) {
        if self.overdue {
            for index in 0..self.parts.len() {
                if self.part(index).stage != Stage::Gone {
                    self.worst(index, ComponentFailure::Unreaped, StackOutcome::Forced, effects);
                    if let Some(part) = self.parts.get_mut(index) {
                        (part.stage, part.generation) = (Stage::Gone, 0);
                    }
                }
            }
            self.exit(effects);
            return;
        }
        self.overdue = true;
        self.stop_by = Some(self.after(self.config.margin.div_euclid(2)));
        self.force(effects);
        for index in 0..self.parts.len() {
            self.stop(index, effects);
        }
    }

    fn exit(&mut self, effects: &mut Vec<Effect>) {
        let left = self.stop_by.map_or(0, |at| until(self.clock.now(), at));
        let spare = if self.overdue { self.config.margin.div_euclid(2) } else { self.config.margin };
        let duration = self.config.kill_budget.saturating_sub(left.saturating_add(spare));
        let exit_code = match self.outcome {
            StackOutcome::Clean if self.cause == StopCause::Asked && self.intent == Intent::Restart => {
                self.config.restart_exit_code
            }
            StackOutcome::Clean => 0,
            StackOutcome::StepFailed => EXIT_STEP_FAILED,
            StackOutcome::Forced => EXIT_FORCED,
            StackOutcome::Died => EXIT_DIED,
            StackOutcome::StartFailed => EXIT_START_FAILED,
        };
        self.phase = Phase::Stopped;
        (self.stop_by, self.merge_until) = (None, None);
        effects.push(Effect::Exit {
            intent: self.intent,
            cause: self.cause,
            component: self.culprit,
            status: self.status,
            outcome: self.outcome,
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
        let awaits = |part: &Part| match part.stage {
            Stage::Spawning { .. } | Stage::Killing { spawned: false, .. } => part.generation == operation,
            stage => stage.operation() == Some(operation),
        };
        let Some(index) = self.parts.iter().position(awaits) else { return self.late(operation, input) };
        let failure = |why: ComponentFailure| if done { None } else { Some(why) };
        match self.part(index).stage {
            Stage::Spawning { .. } if done && self.phase == Phase::Stopping => self.set(index, Stage::Up),
            Stage::Spawning { .. } if done => self.spawned(index, effects),
            // It is certain that nothing runs.
            Stage::Spawning { .. } => {
                // Not there, and not waiting to be started: a stop has nothing to do here.
                if let Some(part) = self.parts.get_mut(index) {
                    (part.stage, part.generation) = (Stage::Pausing { until: self.clock.now() }, 0);
                }
                self.start_failed(index, ComponentFailure::Spawn, 0, effects);
                // Unless a stop that this led to has passed it over.
                if self.part(index).stage != Stage::Gone {
                    self.ended(index, effects);
                }
            }
            Stage::Killing { until, .. } if done => self.set(index, Stage::Killing { until, spawned: true }),
            Stage::Killing { .. } => self.ended(index, effects),
            Stage::Starting { .. } if done => self.up(index, effects),
            Stage::Starting { .. } => self.not_ready(index, ComponentFailure::NotReady, effects),
            Stage::Draining { .. } => self.drain_called(index, failure(ComponentFailure::DrainCall), effects),
            Stage::Emptying { .. } => self.drained(index, failure(ComponentFailure::DrainUnknown), effects),
            Stage::Reaping { .. } => {
                if !done {
                    self.worst(index, ComponentFailure::Unreaped, StackOutcome::Forced, effects);
                }
                self.ended(index, effects);
            }
            _ => {}
        }
        Ok(())
    }

    fn late(&self, id: OperationId, input: &Input) -> Result<(), Rejection> {
        match self.operations.judge(id, None) {
            Answer::NeverIssued => Err(self.reject(RejectionCode::NeverIssued, input)),
            Answer::Awaited | Answer::Late => Ok(()),
        }
    }

    fn name(&self, index: usize) -> &str {
        self.config.components.get(index).map_or("", |component| component.name.as_str())
    }

    fn culprit_name(&self) -> &str {
        self.culprit.and_then(|culprit| usize::try_from(culprit).ok()).map_or("", |index| self.name(index))
    }

    fn waits_for(&self) -> String {
        let now = self.clock.now();
        let waits = self.parts.iter().enumerate().filter_map(|(index, part)| {
            let (at, _) = part.stage.timer()?;
            let what = match part.stage {
                Stage::Waiting | Stage::Up | Stage::Gone => return None,
                Stage::Spawning { .. } => "to run",
                Stage::Starting { .. } => "to be ready",
                Stage::Pausing { .. } => "to be started again",
                Stage::Draining { .. } => "to take the drain call",
                Stage::Emptying { .. } => "to be empty",
                Stage::Stopping { .. } => "to stop",
                Stage::Killing { .. } => "to end after it was killed",
                Stage::Reaping { .. } => "to be reaped",
                Stage::Lingering { .. } => "to lose its older generations",
            };
            Some(format!("`{}` {what}, {} ms at most", self.name(index), until(now, at)))
        });
        let waits = waits.collect::<Vec<_>>().join("; ");
        if waits.is_empty() && !self.is_resting() { String::from("the end of the budget") } else { waits }
    }

    /// Whether a machine can be in this state: for records.
    fn is_possible(&self) -> bool {
        let issued = |id: OperationId| id >= 1 && id <= self.operations.issued();
        let parts = self.parts.iter().zip(&self.config.components).all(|(part, component)| {
            let process =
                if part.stage.has_process() { issued(part.generation) } else { part.generation == 0 };
            let phase = match part.stage {
                Stage::Waiting => matches!(self.phase, Phase::Idle | Phase::Running),
                Stage::Starting { .. } | Stage::Pausing { .. } => self.phase == Phase::Running,
                Stage::Spawning { .. }
                | Stage::Up
                | Stage::Stopping { .. }
                | Stage::Killing { .. }
                | Stage::Reaping { .. } => {
                    matches!(self.phase, Phase::Running | Phase::Stopping)
                }
                Stage::Draining { .. } | Stage::Emptying { .. } => {
                    self.phase == Phase::Stopping && component.drain
                }
                Stage::Lingering { .. } => self.phase == Phase::Stopping && part.older > 0,
                Stage::Gone => matches!(self.phase, Phase::Stopping | Phase::Stopped),
            };
            let delay = match part.stage {
                Stage::Starting { operation, .. } => {
                    operation.is_none() == (component.ready == Readiness::Delay)
                        && component.ready != Readiness::Started
                }
                _ => true,
            };
            process
                && phase
                && delay
                && part.stage.operation().is_none_or(issued)
                && (part.older == 0 || component.upgradable)
                && (part.stage != Stage::Up || part.was_up || self.phase == Phase::Stopping)
        });
        // In a stack that runs something always leads on: the deepest component that is not up has a timer.
        let leads = self.is_resting() || self.next_timer().is_some();
        let culprit = self
            .culprit
            .is_none_or(|culprit| usize::try_from(culprit).is_ok_and(|culprit| culprit < self.parts.len()));
        let stopping = self.phase == Phase::Stopping;
        parts
            && leads
            && culprit
            && self.parts.len() == self.config.components.len()
            && (self.phase != Phase::Idle || self.parts.iter().all(|part| part.stage == Stage::Waiting))
            && self.stop_by.is_some() == stopping
            && (self.ready == (self.phase == Phase::Running && self.all_up()))
            && (!stopping || self.parts.iter().any(|part| part.stage != Stage::Gone))
    }
}

/// The place of a component, as it stands in messages.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl Config {
    /// Which components each one comes after, by place. Unknown names are left out.
    fn places(&self) -> Vec<Vec<usize>> {
        let place = |name: &String| self.components.iter().position(|component| component.name == *name);
        self.components.iter().map(|component| component.after.iter().filter_map(place).collect()).collect()
    }

    /// The components in waves (K1): each wave can start once those before it are ready, and stops in reverse.
    /// None if there is a cycle.
    #[must_use]
    pub fn waves(&self) -> Option<Vec<Vec<usize>>> {
        let after = self.places();
        let mut done: Vec<usize> = Vec::new();
        let mut waves = Vec::new();
        while done.len() < after.len() {
            let free = |(index, needed): (usize, &Vec<usize>)| {
                (!done.contains(&index) && needed.iter().all(|needed| done.contains(needed))).then_some(index)
            };
            let wave: Vec<usize> = after.iter().enumerate().filter_map(free).collect();
            if wave.is_empty() {
                return None;
            }
            done.extend(&wave);
            waves.push(wave);
        }
        Some(waves)
    }

    /// A cycle, as the path that leads back to its beginning; the beginning stands at both ends.
    fn cycle(&self) -> Option<Vec<usize>> {
        let after = self.places();
        let mut left: Vec<usize> = (0..after.len()).collect();
        // What needs nothing that is left is on no cycle.
        loop {
            let needs =
                |index: &usize| after.get(*index)?.iter().find(|needed| left.contains(needed)).copied();
            let next: Vec<usize> = left.iter().copied().filter(|index| needs(index).is_some()).collect();
            if next.len() == left.len() {
                // Each one that is left needs another one that is left: following them meets one again.
                let mut path = Vec::new();
                let mut at = left.first().copied()?;
                while !path.contains(&at) {
                    path.push(at);
                    at = needs(&at)?;
                }
                let mut path: Vec<usize> = path.into_iter().skip_while(|index| *index != at).collect();
                path.push(at);
                return Some(path);
            }
            left = next;
        }
    }

    /// What stopping one component takes at most, term by term. Milliseconds.
    fn stop_terms(&self, index: usize) -> Vec<(&'static str, Millis)> {
        let Some(component) = self.components.get(index) else { return Vec::new() };
        let drain = [("drain_call", component.drain_call_limit), ("drain", component.drain_limit)];
        let always = [("stop", component.stop_limit), ("kill", self.kill_limit), ("reap", self.reap_limit)];
        let older = [("older stop", component.stop_limit), ("older kill", self.kill_limit)];
        let mut terms = Vec::new();
        terms.extend(drain.into_iter().filter(|_| component.drain));
        terms.extend(always);
        terms.extend(older.into_iter().filter(|_| component.upgradable));
        terms
    }

    /// The chain of components whose stop takes longest, in the order in which they stop, and that time in
    /// milliseconds. None if there is a cycle.
    #[must_use]
    pub fn longest_stop(&self) -> Option<(Vec<usize>, Millis)> {
        let after = self.places();
        let mut longest: Vec<(Vec<usize>, Millis)> = vec![(Vec::new(), 0); after.len()];
        for index in self.waves()?.into_iter().flatten() {
            let own = self.stop_terms(index).iter().fold(0_u64, |sum, (_, time)| sum.saturating_add(*time));
            let needed = after.get(index).into_iter().flatten().filter_map(|needed| longest.get(*needed));
            let below = needed.max_by_key(|(_, time)| *time).cloned().unwrap_or_default();
            let path = core::iter::once(index).chain(below.0).collect();
            if let Some(slot) = longest.get_mut(index) {
                *slot = (path, own.saturating_add(below.1));
            }
        }
        Some(longest.into_iter().max_by_key(|(_, time)| *time).unwrap_or_default())
    }
}

fn check_component(config: &Config, index: usize, component: &Component, faults: &mut Faults) {
    let name = component.name.as_str();
    if name.trim().is_empty() {
        faults.add(FaultCode::BadName, "name", "is empty; a component needs a name, for `after` and reports");
    } else if config.components.iter().take(index).any(|earlier| earlier.name == name) {
        let message = format!("is `{name}` like an earlier component's; names must differ");
        faults.add(FaultCode::BadName, "name", message);
    }
    for (place, needed) in component.after.iter().enumerate() {
        if !config.components.iter().any(|known| known.name == *needed) {
            let known: Vec<_> = config.components.iter().map(|known| known.name.as_str()).collect();
            let message = format!(
                "is `{needed}`, which `{name}` is to come after and which is no component; there are {}",
                known.join(", ")
            );
            faults.add(FaultCode::BadName, &format!("after.{place}"), message);
        }
    }
    faults.duration("ready_delay", component.ready_delay, 1);
    faults.duration("ready_limit", component.ready_limit, 1);
    faults.inside("backoff", |faults| component.backoff.check(faults));
    faults.duration("stable_after", component.stable_after, 1);
    faults.range("restart_budget", u64::from(component.restart_budget), 0, MOST_RESTARTS, " restarts");
    faults.duration("restart_window", component.restart_window, 1);
    faults.duration("drain_call_limit", component.drain_call_limit, 1);
    faults.duration("drain_limit", component.drain_limit, 1);
    faults.duration("drain_time", component.drain_time, 0);
    if component.drain && component.drain_time > component.drain_limit {
        let message = format!(
            "is {} ms, longer than `drain_limit` ({} ms): `{name}` would have closed almost nothing when it is \
             signalled; shorten its own drain or raise `drain_limit`",
            component.drain_time, component.drain_limit
        );
        faults.add(FaultCode::Contradiction, "drain_time", message);
    }
    faults.range("stop_signal", u64::from(component.stop_signal), 1, 64, "");
    faults.duration("stop_limit", component.stop_limit, 1);
}

/// K1: a cycle is refused with its path.
fn check_cycle(config: &Config, path: &[usize], faults: &mut Faults) {
    let name = |index: &usize| config.components.get(*index).map_or("", |component| component.name.as_str());
    let names: Vec<_> = path.iter().map(name).collect();
    let first = path.first().copied().unwrap_or(0);
    let message =
        format!("goes round in a circle: {}; none of them could start first", names.join(" after "));
    faults.add(FaultCode::Contradiction, &format!("components.{first}.after"), message);
}

/// K5: one budget. The message is the whole sum along the longest path, as this is read at night by someone who did
/// not write it.
fn check_budget(config: &Config, faults: &mut Faults) {
    let Some((path, time)) = config.longest_stop() else { return };
    let sum = time.saturating_add(config.margin);
    let budget = config.kill_budget;
    if budget > sum {
        return;
    }
    let shown = path.iter().map(|index| {
        let name = config.components.get(*index).map_or("", |component| component.name.as_str());
        let terms: Vec<_> =
            config.stop_terms(*index).iter().map(|(term, time)| format!("{term} {time}")).collect();
        format!("`{name}` ({})", terms.join(" + "))
    });
    let mut shown: Vec<String> = shown.collect();
    shown.push(format!("margin {}", config.margin));
    let message = format!(
        "is {budget} ms, which must be more than {} = {sum} ms, what stopping one after another may take; shorten \
         these limits by {} ms in all, or raise kill_budget to {} ms if the platform waits that long",
        shown.join(" + "),
        sum.saturating_sub(budget).saturating_add(1),
        sum.saturating_add(1),
    );
    faults.add(FaultCode::OverBudget, "kill_budget", message);
}

impl Record for Stage {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Waiting => to.number(0),
            Self::Spawning { until } => {
                to.number(1);
                to.number(*until);
            }
            Self::Starting { operation, until } => {
                to.number(2);
                operation.write(to);
                to.number(*until);
            }
            Self::Up => to.number(3),
            Self::Pausing { until } => {
                to.number(4);
                to.number(*until);
            }
            Self::Draining { operation, until } => {
                to.number(5);
                operation.write(to);
                to.number(*until);
            }
            Self::Emptying { operation, until } => {
                to.number(6);
                operation.write(to);
                to.number(*until);
            }
            Self::Stopping { until } => {
                to.number(7);
                to.number(*until);
            }
            Self::Killing { until, spawned } => {
                to.number(8);
                to.number(*until);
                to.flag(*spawned);
            }
            Self::Reaping { operation, until } => {
                to.number(9);
                operation.write(to);
                to.number(*until);
            }
            Self::Lingering { until, killed } => {
                to.number(10);
                to.number(*until);
                to.flag(*killed);
            }
            Self::Gone => to.number(11),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        Ok(match from.number()? {
            0 => Self::Waiting,
            1 => Self::Spawning { until: from.time()? },
            2 => Self::Starting { operation: Record::read(from)?, until: from.time()? },
            3 => Self::Up,
            4 => Self::Pausing { until: from.time()? },
            5 => Self::Draining { operation: Record::read(from)?, until: from.time()? },
            6 => Self::Emptying { operation: Record::read(from)?, until: from.time()? },
            7 => Self::Stopping { until: from.time()? },
            8 => Self::Killing { until: from.time()?, spawned: from.flag()? },
            9 => Self::Reaping { operation: Record::read(from)?, until: from.time()? },
            10 => Self::Lingering { until: from.time()?, killed: from.flag()? },
            11 => Self::Gone,
            _ => return Err(RecordFault::Corrupt),
        })
    }
}

#[cfg(test)]
mod tests;
