//! A stack and its processes (K1–K6): a graph of components that fail to start, hang, die, drain or do not, and are
//! reaped or not, under a host that is honest and may never answer.
//!
//! What a process really is (there, ended, reaped) is kept apart from what the machine has been told of it, so that a
//! signal to a process that was reaped, or a stop before its turn, is seen whatever the machine believes.

use tidegate::backoff::{Jitter, Policy};
use tidegate::drain::{EXIT_FORCED, EXIT_STEP_FAILED};
use tidegate::stack::{
    Component, ComponentFailure, Config, EXIT_DIED, EXIT_START_FAILED, Effect, Input, Readiness, Restart,
    Stack, StackOutcome, StopCause,
};
use tidegate::{Intent, Machine, Millis, Random, Rules};

use crate::explore::Watch;
use crate::liveness::{Fairness, LeadsTo};
use crate::models::Size;
use crate::pool::{Part, Pool};
use crate::vectors::Described;
use crate::world::{Cells, Explored, Moment, Slot, Transition, World, described, transitions};

/// The most components of a model.
const MOST: usize = 4;

/// The world.
pub struct Processes {
    pool: Pool<Stack>,
    config: Config,
    /// Which components each one comes after.
    after: Vec<Vec<usize>>,
    detail: Detail,
    cells: Cells,
}

/// How much is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Everything.
    Fine,
    /// A process is there when the host says so, its end is told at once, it ends badly or as it was told to, and nobody
    /// forces: for wide graphs, where what counts is the order.
    Coarse,
}

/// What has become of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Life {
    /// There is none.
    #[default]
    None,
    /// It is being spawned.
    Wanted,
    /// It runs.
    Runs,
    /// It has ended, and is not yet reaped.
    Ended {
        /// With this status.
        status: u8,
        /// By this signal; 0: none.
        signal: u8,
        /// The machine was told so.
        told: bool,
    },
}

/// What the host is to answer about a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Ask {
    /// Nothing.
    #[default]
    Nothing,
    /// Is it ready?
    Ready,
    /// The drain call.
    Drain,
    /// Is it empty?
    Empty,
    /// To reap it.
    Reap,
}

/// A component, as it really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Process {
    life: Life,
    generation: u32,
    /// The operation of its spawn, while that is to be answered.
    spawn: u32,
    ask: Ask,
    operation: u32,
    /// It was started ever; it was said to be up, and has not been said to be down since.
    started: bool,
    up: bool,
    /// What was done to this process.
    called: bool,
    signalled: bool,
    killed: bool,
    /// The machine has given it up.
    left: bool,
}

/// The host and its processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Around {
    processes: [Process; MOST],
    /// Since when it stops, why, and because of whom.
    since: Option<Millis>,
    culprit: Option<u32>,
    /// The worst that was reported since.
    worst: u8,
    forced: bool,
    signalled: bool,
    exited: bool,
}

/// The situation; to work on and to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Situation<S> {
    stack: S,
    around: Around,
}

/// One thing that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To the deadline.
    Time,
    /// Start everything.
    Start,
    /// Stop everything.
    Stop,
    /// A stop signal.
    Signal,
    /// Kill what is left, in order.
    Force,
    /// A process comes to life.
    Born(usize),
    /// The host says that it did, or did not.
    Spawned(usize, bool),
    /// A process ends by itself, in this way.
    Ends(usize, u8, u8),
    /// The host tells so.
    Told(usize),
    /// The host answers.
    Answer(usize, bool),
}

const TIME: u8 = 0;

const HONEST: usize = 0;
const BOTTOM_UP: usize = 1;
const TOP_DOWN: usize = 2;
const ONCE: usize = 3;
const NOT_REAPED: usize = 4;
const IN_TIME: usize = 5;
const WORST: usize = 6;
const CLEAN: usize = 7;
const NO_DELAY: usize = 8;
const NAMED: usize = 9;
const NEVER_STARTED: usize = 10;
const LAST: usize = 11;
const KILLED: usize = 12;

const SIGTERM: u8 = 15;
const SIGKILL: u8 = 9;

/// How bad a report is, as an exit code.
fn severity(why: ComponentFailure) -> u8 {
    match why {
        ComponentFailure::DrainCall
        | ComponentFailure::DrainCallLimit
        | ComponentFailure::DrainUnknown
        | ComponentFailure::DrainLimit
        | ComponentFailure::Unclean => EXIT_STEP_FAILED,
        ComponentFailure::Killed | ComponentFailure::Unreaped => EXIT_FORCED,
        ComponentFailure::Died => EXIT_DIED,
        // What is late to start is nothing to a stack that stops anyway.
        _ => 0,
    }
}

impl Processes {
    /// A world of these components.
    #[must_use]
    pub fn new(config: Config, detail: Detail) -> Self {
        let place = |name: &String| config.components.iter().position(|component| component.name == *name);
        let after = |component: &Component| component.after.iter().filter_map(place).collect();
        let after = config.components.iter().map(after).collect();
        Self { pool: Pool::default(), config, after, detail, cells: Cells::of::<Stack>(0) }
    }

    fn dependents_gone(&self, around: &Around, which: usize) -> bool {
        let gone = |process: &Process| process.left || matches!(process.life, Life::None);
        let dependents = self.after.iter().zip(&around.processes).filter(|(after, _)| after.contains(&which));
        dependents.into_iter().all(|(_, process)| gone(process))
    }

    fn stack(
        &self,
        at: &mut Situation<Slot<Stack>>,
        input: Option<&Input>,
        passed: Millis,
        moment: &mut Moment<'_>,
    ) {
        let machine = at.stack.edit(&self.pool);
        let answer = match input {
            Some(input) => moment.handle(self.cells, 0, machine, input),
            None => moment.tick(self.cells, 0, machine, passed),
        };
        moment.watch.check(HONEST, answer.is_ok());
        let Ok(step) = answer else { return };
        let budget_over = at.around.since.is_some_and(|since| since >= self.budget());
        for effect in &step.effects {
            self.carry(&mut at.around, effect, budget_over, moment);
        }
        for effect in step.effects {
            if let Effect::Failed { component, why: ComponentFailure::Killed } = effect {
                moment.watch.check(KILLED, at.around.processes[component as usize].killed);
            }
        }
    }

    /// The host says that a process has ended.
    fn told(&self, at: &mut Situation<Slot<Stack>>, which: usize, moment: &mut Moment<'_>) {
        let process = &mut at.around.processes[which];
        let Life::Ended { status, signal, told } = &mut process.life else { return };
        *told = true;
        let input = Input::Exited { generation: process.generation, status: *status, signal: *signal };
        self.stack(at, Some(&input), 0, moment);
    }

    /// When everything that is left is killed at once.
    fn budget(&self) -> Millis {
        self.config.kill_budget - self.config.margin
    }

    fn carry(&self, around: &mut Around, effect: &Effect, budget_over: bool, moment: &mut Moment<'_>) {
        // A stop begins with the first thing that is done to a component for it.
        if let Effect::CallDrain { component, .. }
        | Effect::Signal { component, .. }
        | Effect::KillGroup { component, .. } = *effect
            && around.since.is_some()
            && !budget_over
        {
            let process = around.processes[component as usize];
            let first = !(process.called || process.signalled || process.killed);
            // Of a spawn that hangs nobody knows whether it is there: its limit ends it, in or out of turn.
            if first && process.spawn == 0 {
                moment.watch.check(TOP_DOWN, self.dependents_gone(around, component as usize));
            }
        }
        moment.watch.check(LAST, !around.exited);
        let ask = |around: &mut Around, component: u32, ask: Ask, operation: u32| {
            let process = &mut around.processes[component as usize];
            (process.ask, process.operation) = (ask, operation);
        };
        match *effect {
            Effect::Spawn { operation, component, .. } => {
                let after = &self.after[component as usize];
                moment.watch.check(BOTTOM_UP, after.iter().all(|needed| around.processes[*needed].up));
                moment.watch.check(NEVER_STARTED, around.since.is_none());
                around.processes[component as usize] = Process {
                    life: Life::Wanted,
                    generation: operation,
                    spawn: operation,
                    started: true,
                    ..Process::default()
                };
            }
            Effect::AwaitReady { operation, component, .. } => ask(around, component, Ask::Ready, operation),
            Effect::CallDrain { operation, component, .. } => {
                let process = &mut around.processes[component as usize];
                moment.watch.check(ONCE, !process.called && !process.signalled && !process.killed);
                process.called = true;
                ask(around, component, Ask::Drain, operation);
            }
            Effect::AwaitDrained { operation, component, .. } => {
                ask(around, component, Ask::Empty, operation)
            }
            Effect::Signal { component, generation, .. } => {
                let process = &mut around.processes[component as usize];
                moment.watch.check(ONCE, !process.signalled && !process.killed);
                moment.watch.check(NOT_REAPED, process.is_there(generation));
                process.signalled = true;
            }
            Effect::KillGroup { component, generation } => {
                let process = &mut around.processes[component as usize];
                moment.watch.check(ONCE, !process.killed);
                moment.watch.check(NOT_REAPED, process.is_there(generation));
                process.killed = true;
            }
            Effect::Reap { operation, component, generation, .. } => {
                let process = &mut around.processes[component as usize];
                moment.watch.check(NOT_REAPED, process.is_there(generation));
                (process.up, process.spawn) = (false, 0);
                ask(around, component, Ask::Reap, operation);
            }
            Effect::Up { component } => around.processes[component as usize].up = true,
            Effect::Failed { component, why } => {
                if why == ComponentFailure::Unreaped {
                    let process = &mut around.processes[component as usize];
                    (process.left, process.ask) = (true, Ask::Nothing);
                    if around.since.is_none() {
                        // The host reaps it when it can; the next one is another process.
                        process.life = Life::None;
                    }
                }
                if around.since.is_some() {
                    around.worst = around.worst.max(severity(why));
                }
            }
            Effect::Stopping { cause, component, .. } => {
                if around.since.is_none() {
                    (around.since, around.culprit) = (Some(0), component);
                    around.worst = match cause {
                        StopCause::Asked | StopCause::Finished => 0,
                        StopCause::Died => EXIT_DIED,
                        StopCause::StartFailed => EXIT_START_FAILED,
                    };
                }
            }
            Effect::Exit { outcome, exit_code, component, duration, .. } => {
                around.exited = true;
                let code = match outcome {
                    StackOutcome::Clean => 0,
                    StackOutcome::StepFailed => EXIT_STEP_FAILED,
                    StackOutcome::Forced => EXIT_FORCED,
                    StackOutcome::Died => EXIT_DIED,
                    StackOutcome::StartFailed => EXIT_START_FAILED,
                };
                moment.watch.check(WORST, exit_code == around.worst && code == around.worst);
                moment.watch.check(NAMED, component == around.culprit);
                let since = around.since.unwrap_or(0);
                moment.watch.check(IN_TIME, since < self.config.kill_budget && duration == since);
                let left = around.processes.iter().any(|process| process.life != Life::None);
                let killed = around.processes.iter().any(|process| process.killed && process.up);
                moment.watch.check(CLEAN, exit_code >= EXIT_FORCED || !(left || killed));
            }
            Effect::KillOlder { .. }
            | Effect::Adopted { .. }
            | Effect::Readiness { .. }
            | Effect::Restarting { .. }
            | Effect::Gone { .. } => {}
        }
    }
}

impl Process {
    /// Whether a process of this generation may be signalled: it, or its remains, still have the id.
    fn is_there(&self, generation: u32) -> bool {
        self.generation == generation && self.life != Life::None
    }
}

impl World for Processes {
    type Whole = Situation<Slot<Stack>>;
    type State = Situation<Part<Stack>>;
    type Action = Action;

    fn start(&self) -> Vec<Self::Whole> {
        let stack = Stack::drawing(self.config.clone(), Random::Script(Vec::new()), 0);
        stack
            .into_iter()
            .map(|stack| Situation { stack: Slot::new(stack), around: Around::default() })
            .collect()
    }

    fn open(&self, state: &Self::State) -> Self::Whole {
        Situation { stack: Slot::Kept(state.stack), around: state.around }
    }

    fn close(&self, whole: Self::Whole) -> Self::State {
        let Situation { stack, mut around } = whole;
        if around.exited {
            around = Around { exited: true, ..Around::default() };
        }
        let numbers = around.processes.iter_mut().flat_map(|process| {
            [&mut process.generation, &mut process.spawn, &mut process.operation]
                .map(|number| ("operation", number))
        });
        // Most are 0, and then no numbers.
        let mut numbers: Vec<_> = numbers.filter(|(_, number)| **number > 0).collect();
        let stack = stack.keep(&self.pool, &mut numbers);
        Situation { stack, around }
    }

    fn actions(&self, whole: &Self::Whole, actions: &mut Vec<Action>) {
        let around = &whole.around;
        if around.exited {
            return;
        }
        let machine = whole.stack.get(&self.pool);
        if machine.deadline().is_some() {
            actions.push(Action::Time);
        }
        if machine.state() == "idle" {
            actions.push(Action::Start);
        }
        let fine = self.detail == Detail::Fine;
        if around.since.is_none() {
            actions.push(Action::Stop);
        } else if !around.forced && fine {
            actions.push(Action::Force);
        }
        if !around.signalled && fine {
            actions.push(Action::Signal);
        }
        for (which, process) in around.processes.iter().enumerate() {
            match process.life {
                Life::None => {}
                Life::Wanted => {
                    if !process.killed && fine {
                        actions.push(Action::Born(which));
                    }
                    if process.spawn != 0 && !fine {
                        actions.push(Action::Spawned(which, true));
                    }
                    if process.spawn != 0 {
                        actions.push(Action::Spawned(which, false));
                    }
                }
                Life::Runs => {
                    if process.spawn != 0 {
                        actions.push(Action::Spawned(which, true));
                    }
                    let ends = match process {
                        Process { killed: true, .. } => [(0, SIGKILL)].as_slice(),
                        Process { signalled: true, .. } => &[(0, SIGTERM), (1, 0)],
                        _ if !fine => &[(1, 0)],
                        _ => &[(0, 0), (1, 0)],
                    };
                    actions.extend(ends.iter().map(|(status, signal)| Action::Ends(which, *status, *signal)));
                }
                Life::Ended { told, .. } => {
                    if !told {
                        actions.push(Action::Told(which));
                    }
                }
            }
            match process.ask {
                Ask::Nothing => {}
                // What has ended is neither ready nor drained by its own saying.
                Ask::Ready | Ask::Drain | Ask::Empty if process.life != Life::Runs => {
                    actions.push(Action::Answer(which, false));
                }
                _ => actions.extend([Action::Answer(which, true), Action::Answer(which, false)]),
            }
        }
    }

    fn act(&self, at: &mut Self::Whole, action: &Action, moment: &mut Moment<'_>) -> bool {
        let around = &mut at.around;
        match *action {
            Action::Time => {
                let machine = at.stack.get(&self.pool);
                let passed = machine.deadline().map_or(0, |due| due.at - machine.clock().now());
                around.since = around.since.map(|since| since + passed);
                self.stack(at, None, passed, moment);
                if at.around.since.is_some() && !at.around.exited {
                    moment.watch.check(IN_TIME, at.around.since < Some(self.config.kill_budget));
                }
            }
            Action::Start => self.stack(at, Some(&Input::Start), 0, moment),
            Action::Stop => self.stack(at, Some(&Input::Stop { intent: Intent::Restart }), 0, moment),
            Action::Signal => {
                around.signalled = true;
                self.stack(at, Some(&Input::Signal { intent: Intent::Restart }), 0, moment);
            }
            Action::Force => {
                around.forced = true;
                self.stack(at, Some(&Input::Force), 0, moment);
            }
            Action::Born(which) => around.processes[which].life = Life::Runs,
            Action::Spawned(which, good) => {
                let process = &mut around.processes[which];
                let operation = std::mem::take(&mut process.spawn);
                if good {
                    process.life = Life::Runs;
                } else {
                    (process.life, process.generation) = (Life::None, 0);
                }
                let input = if good { Input::Done { operation } } else { Input::Failed { operation } };
                self.stack(at, Some(&input), 0, moment);
            }
            Action::Ends(which, status, signal) => {
                around.processes[which].life = Life::Ended { status, signal, told: false };
                if self.detail == Detail::Coarse {
                    self.told(at, which, moment);
                }
            }
            Action::Told(which) => self.told(at, which, moment),
            Action::Answer(which, good) => {
                let process = &mut around.processes[which];
                let operation = std::mem::take(&mut process.operation);
                if std::mem::take(&mut process.ask) == Ask::Reap && good {
                    (process.life, process.generation) = (Life::None, 0);
                }
                let input = if good { Input::Done { operation } } else { Input::Failed { operation } };
                self.stack(at, Some(&input), 0, moment);
            }
        }
        true
    }

    fn properties(&self) -> Vec<&'static str> {
        vec![
            "contract: what an honest host says is never refused",
            "K1: a component starts only when all that it comes after are up",
            "K2: a component is stopped only when all that come after it are gone",
            "P: each process is told to stop at most once, in each way",
            "K6: no process is signalled or reaped after it was reaped",
            "K5: the stack exits within the kill budget",
            "P: the exit code is the worst that was reported",
            "P: a good exit code means that nothing was killed and nothing is left",
            "K5: whoever can stop is being stopped, and whoever can start was started",
            "K3: the exit names the component that the stop is about",
            "K3: nothing is started by a stack that stops",
            "P: nothing is done after the exit",
            "K2: who outlives its stop limit is killed then",
        ]
    }

    fn inspect(&self, state: &Self::State, watch: &mut Watch) {
        let around = &state.around;
        if around.exited {
            return;
        }
        let machine = self.pool.get(state.stack);
        for which in 0..self.after.len() {
            let process = &around.processes[which];
            if around.since.is_some() && self.dependents_gone(around, which) && process.started {
                let ended = !matches!(process.life, Life::Wanted | Life::Runs);
                let stopping = process.called || process.signalled || process.killed;
                watch.check(NO_DELAY, ended || stopping || process.left);
            }
            let can = self.after[which].iter().all(|needed| around.processes[*needed].up);
            if around.since.is_none() && machine.state() != "idle" && can {
                watch.check(NO_DELAY, process.started);
            }
        }
    }

    fn may_end(&self, state: &Self::State) -> bool {
        state.around.exited
    }

    fn fairness(&self, action: &Action) -> Option<u8> {
        (*action == Action::Time).then_some(TIME)
    }

    fn liveness(&self) -> Vec<LeadsTo<Explored<Self>>> {
        let time = Fairness { weak: 1 << TIME, strong: 1 << TIME };
        vec![
            LeadsTo {
                name: "P: a stop ends with the exit, by time alone, whatever hangs",
                concerns: |_, state| state.around.since.is_some(),
                goal: |_, state| state.around.exited,
                fairness: time,
            },
            LeadsTo {
                name: "K1: a start ends with everything up, or with a stop, by time alone",
                concerns: |model, state| {
                    matches!(model.0.pool.get(state.stack).state(), "starting" | "restarting")
                },
                goal: |model, state| {
                    !matches!(model.0.pool.get(state.stack).state(), "starting" | "restarting")
                },
                fairness: time,
            },
        ]
    }

    fn cells(&self) -> usize {
        self.cells.count()
    }

    fn transitions(&self) -> Vec<Transition> {
        transitions::<Stack>().collect()
    }

    fn describe(&self, whole: &Self::Whole) -> Vec<Described> {
        vec![described(0, whole.stack.get(&self.pool))]
    }

    fn show(&self, whole: &Self::Whole) -> String {
        let lives = whole.around.processes.iter().take(self.after.len()).map(|process| process.life);
        let Around { since, worst, .. } = whole.around;
        let state = whole.stack.get(&self.pool).state();
        format!("{state}: {:?}, stops since {since:?}, worst {worst}", lives.collect::<Vec<_>>())
    }
}

/// A component with short limits.
fn component(name: &str, after: &[&str]) -> Component {
    Component {
        name: name.into(),
        after: after.iter().map(|name| (*name).into()).collect(),
        ready_delay: 100,
        ready_limit: 100,
        restart: Restart::Never,
        backoff: Policy { initial: 100, cap: 100, floor: 50, jitter: Jitter::None, ..Policy::default() },
        stable_after: 200,
        restart_budget: 1,
        restart_window: 400,
        drain_call_limit: 100,
        drain_limit: 100,
        stop_limit: 100,
        ..Component::default()
    }
}

fn base(components: Vec<Component>, kill_budget: Millis) -> Config {
    Config {
        components,
        spawn_limit: 100,
        kill_limit: 100,
        reap_limit: 100,
        kill_budget,
        margin: 100,
        signal_merge: 100,
        restart_exit_code: 0,
    }
}

fn engine() -> Component {
    Component { ready: Readiness::Socket, restart: Restart::OnFailure, ..component("engine", &[]) }
}

fn left() -> Component {
    Component { drain: true, ..component("left", &["engine"]) }
}

/// The world at a size, with its bounds.
#[must_use]
pub fn world(size: Size) -> (&'static str, Processes) {
    let all = vec![engine(), left(), component("right", &["engine"])];
    match size {
        Size::Small | Size::Quick => (
            "2 components in a row; fail, hang, die, drain or not; 1 restart",
            Processes::new(base(all.into_iter().take(2).collect(), 1_000), Detail::Fine),
        ),
        Size::Full => (
            "3 components, 2 of them side by side; fail, hang, die, drain or not; 1 restart",
            Processes::new(base(all, 1_000), Detail::Fine),
        ),
    }
}

/// Four components, of which two stand side by side between the others; with the bounds.
#[must_use]
pub fn diamond(size: Size) -> (&'static str, Processes) {
    let engine = Component { restart: Restart::Never, ..engine() };
    let right = component("right", &["engine"]);
    let router = component("router", &["left", "right"]);
    match size {
        Size::Small | Size::Quick => (
            "4 components, a diamond; fail, hang, die; no drain",
            Processes::new(
                base(vec![engine, component("left", &["engine"]), right, router], 1_600),
                Detail::Coarse,
            ),
        ),
        Size::Full => (
            "4 components, a diamond; fail, hang, die, drain or not",
            Processes::new(
                base(vec![engine, left(), right, Component { drain: true, ..router }], 1_600),
                Detail::Coarse,
            ),
        ),
    }
}
