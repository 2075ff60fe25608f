//! A process that is replaced and that is told to stop, at any moment of either: its drain and its handoff (D2, H1, H7,
//! P of the products).
//!
//! Both machines are the shipping ones; the successor is what it does: it is born, becomes ready, accepts when it was
//! told to, dies. Between the machines stands the process as its host composes them: a stop is told to the handoff
//! first, which rolls back or finds that the successor accepts; un-route steps wait while nobody knows whether it does;
//! once it does, nothing that passed to it is released, whatever the stop is for; and the process exits when the drain
//! is over and no successor is in flight.

use tidegate::drain::{self, Drain, Phase, ReleaseStep, StepKind};
use tidegate::handoff::{self, Handoff, HandoffTask, Speaks, UndoHook, VERSION};
use tidegate::{Intent, Machine, Millis, Random, Rules};

use crate::explore::Watch;
use crate::liveness::{Fairness, LeadsTo};
use crate::models::Size;
use crate::pool::{Part, Pool};
use crate::vectors::Described;
use crate::world::{Cells, Explored, Moment, Slot, Transition, World, described, transitions};

/// The world.
pub struct Replace {
    drains: Pool<Drain>,
    handoffs: Pool<Handoff>,
    drain: drain::Config,
    handoff: handoff::Config,
    /// Whether requests come.
    requests: bool,
    drain_cells: Cells,
    handoff_cells: Cells,
}

/// The successor, as it really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Child {
    /// There is none.
    #[default]
    None,
    /// It runs.
    Alive,
    /// It said *ready*.
    Ready,
    /// It was told that it may accept.
    Acknowledged,
    /// It accepts.
    Accepts,
    /// It was killed or has ended.
    Dead,
}

/// Who has the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Lease {
    /// The old process.
    #[default]
    Old,
    /// It passed to the successor.
    New,
    /// It was given back.
    Released,
}

/// What the host is to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// Start the successor.
    Spawn,
    /// Look at what has arrived.
    Look,
    /// Kill and reap it.
    Kill,
    /// The undo hook.
    Undo,
    /// Pass the lease.
    Pass,
    /// A step of the stop.
    Step,
    /// Close the public door.
    Door,
}
const TASKS: [Task; 7] =
    [Task::Spawn, Task::Look, Task::Kill, Task::Undo, Task::Pass, Task::Step, Task::Door];
const OF_HANDOFF: usize = 5;

/// The process, its host and the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Around {
    tasks: [u32; 7],
    /// The successor, which one it is, and what it said that has not arrived: ready, accepting.
    child: Child,
    generation: u32,
    said: [bool; 2],
    /// The old process accepts; it can be reached.
    open: bool,
    routed: bool,
    lease: Lease,
    /// Somebody asked for a stop; since when.
    asked: bool,
    since: Option<Millis>,
    /// The successor accepts, as the old process has heard.
    passed: bool,
    /// The step in hand is for un-routing, and whether it waits.
    unroute: bool,
    held: bool,
    /// A signal came before.
    signalled: bool,
    requests: u8,
    stale: bool,
    counting: bool,
    cutting: bool,
    /// Time that has passed and that each machine has not seen yet; none between steps.
    behind: [Millis; 2],
}

/// The situation; to work on and to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Situation<D, H> {
    /// None: the process has exited.
    machines: Option<(D, H)>,
    around: Around,
}

/// One thing that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To the next deadline of either machine.
    Time,
    /// Start-up is done.
    Started,
    /// A stop signal.
    Signal,
    /// A control call that asks for a decommission.
    Command,
    /// What is left is to be cut now.
    Force,
    /// Somebody asks for an upgrade.
    Upgrade,
    /// Somebody takes it back.
    Cancel,
    /// The successor comes to life.
    Born,
    /// It says that it is ready.
    Ready,
    /// It accepts, and says so.
    Accepts,
    /// It dies.
    Dies,
    /// The host sees that, and reaps it.
    Reaped,
    /// A word of it arrives: that it is ready, that it accepts.
    Arrive(bool),
    /// The host has looked, and told everything that there was.
    Looked,
    /// The host answers.
    Answer(Task, bool),
    /// A request comes.
    Request,
    /// It ends.
    End,
    /// The host tells what there is.
    Report,
    /// It cuts what is left.
    Cut,
}

type Whole = Situation<Slot<Drain>, Slot<Handoff>>;

const TIME: u8 = 0;

const HONEST: usize = 0;
const NO_GAP: usize = 1;
const DOOR: usize = 2;
const ONE_RELEASE: usize = 3;
const ROUTED: usize = 4;
const FIRST: usize = 5;
const ALONE: usize = 6;
const IN_TIME: usize = 7;
const CUT_LATE: usize = 8;
const PASSED: usize = 9;
const NOT_LOST: usize = 10;
const LEFT: usize = 11;

impl Replace {
    /// Something happens to the drain, or it sees the time: its host carries out what it wants.
    fn drain(&self, at: &mut Whole, input: Option<&drain::Input>, moment: &mut Moment<'_>) {
        let passed = std::mem::take(&mut at.around.behind[0]);
        if passed > 0 && input.is_some() {
            at.around.behind[0] = passed;
            self.drain(at, None, moment);
        }
        let Some((drain, handoff)) = &mut at.machines else { return };
        let undecided =
            matches!(handoff.get(&self.handoffs).state(), "acknowledged" | "settling" | "looking");
        let machine = drain.edit(&self.drains);
        let answer = match input {
            Some(input) => moment.handle(self.drain_cells, 0, machine, input),
            None => moment.tick(self.drain_cells, 0, machine, passed),
        };
        moment.watch.check(HONEST, answer.is_ok());
        let Ok(step) = answer else { return };
        let phase = machine.phase();
        let around = &mut at.around;
        if !matches!(phase, Phase::LameDuck | Phase::Releasing) {
            (around.tasks[Task::Step as usize], around.held) = (0, false);
        }
        let mut stopped = false;
        for effect in step.effects {
            match effect {
                drain::Effect::Readiness { ready: true } => (around.open, around.routed) = (true, true),
                drain::Effect::RunStep { operation, step, .. } => {
                    around.tasks[Task::Step as usize] = operation;
                    around.unroute = step == 0;
                    // Taking the address out of balancers would be the outage of a successor on the same one.
                    around.held = around.unroute && undecided;
                }
                drain::Effect::ClosePublicDoor { operation, .. } => {
                    moment.watch.check(DOOR, around.asked || around.passed);
                    around.tasks[Task::Door as usize] = operation;
                }
                drain::Effect::Count => {
                    // However the door was answered, nobody comes in any more.
                    (around.counting, around.stale, around.open) = (true, true, false);
                    around.tasks[Task::Door as usize] = 0;
                }
                drain::Effect::Abort { .. } => {
                    around.cutting = true;
                    around.open = false;
                }
                drain::Effect::Stopped { .. } => {
                    stopped = true;
                    (around.open, around.requests) = (false, 0);
                    (around.counting, around.cutting, around.stale) = (false, false, false);
                    (around.tasks[Task::Step as usize], around.tasks[Task::Door as usize]) = (0, 0);
                }
                _ => {}
            }
        }
        if stopped && self.is_handing_over(at) {
            self.handoff(at, Some(&handoff::Input::Drained), moment);
        }
        self.exit_if_over(at, moment);
    }

    fn is_handing_over(&self, at: &Whole) -> bool {
        at.machines.as_ref().is_some_and(|(_, handoff)| handoff.get(&self.handoffs).state() == "draining")
    }

    /// The process exits when its drain is over and no successor is in flight.
    fn exit_if_over(&self, at: &mut Whole, moment: &mut Moment<'_>) {
        let Some((drain, handoff)) = &at.machines else { return };
        let handoff = handoff.get(&self.handoffs);
        if drain.get(&self.drains).phase() != Phase::Stopped || !handoff.is_resting() {
            return;
        }
        at.machines = None;
        let around = &mut at.around;
        moment.watch.check(ALONE, around.passed || matches!(around.child, Child::None | Child::Dead));
        moment.watch.check(PASSED, !around.passed || around.lease != Lease::Released);
        let child = around.child;
        *around = Around { child, lease: around.lease, ..Around::default() };
    }

    /// Something happens to the handoff, or it sees the time: its host carries out what it wants.
    fn handoff(&self, at: &mut Whole, input: Option<&handoff::Input>, moment: &mut Moment<'_>) {
        let passed = std::mem::take(&mut at.around.behind[1]);
        if passed > 0 && input.is_some() {
            at.around.behind[1] = passed;
            self.handoff(at, None, moment);
        }
        let Some((_, handoff)) = &mut at.machines else { return };
        let machine = handoff.edit(&self.handoffs);
        let answer = match input {
            Some(input) => moment.handle(self.handoff_cells, 0, machine, input),
            None => moment.tick(self.handoff_cells, 0, machine, passed),
        };
        moment.watch.check(HONEST, answer.is_ok());
        let Ok(step) = answer else { return };
        let around = &mut at.around;
        let mut begins = None;
        for effect in step.effects {
            let (task, operation) = match effect {
                handoff::Effect::Spawn { operation, .. } => {
                    (around.generation, around.child, around.said) = (operation, Child::None, [false; 2]);
                    (Task::Spawn, operation)
                }
                handoff::Effect::Look { operation, .. } => (Task::Look, operation),
                handoff::Effect::Kill { operation, .. } => {
                    around.tasks[..OF_HANDOFF].fill(0);
                    if around.child != Child::None {
                        around.child = Child::Dead;
                    }
                    (Task::Kill, operation)
                }
                handoff::Effect::RunUndo { operation, .. } => (Task::Undo, operation),
                handoff::Effect::PassLease { operation, .. } => (Task::Pass, operation),
                handoff::Effect::Acknowledge { .. } => {
                    if around.child == Child::Ready {
                        around.child = Child::Acknowledged;
                    }
                    continue;
                }
                handoff::Effect::Accepted { .. } => {
                    around.tasks[..OF_HANDOFF].fill(0);
                    around.passed = true;
                    continue;
                }
                handoff::Effect::RolledBack { .. } => {
                    around.tasks[..OF_HANDOFF].fill(0);
                    continue;
                }
                handoff::Effect::BeginDrain { intent } => {
                    begins = Some(intent);
                    continue;
                }
                handoff::Effect::TaskFailed { task: HandoffTask::Lease, .. } => (Task::Pass, 0),
                _ => continue,
            };
            around.tasks[task as usize] = operation;
        }
        let undecided = matches!(machine.state(), "acknowledged" | "settling" | "looking");
        if at.around.held && !undecided {
            at.around.held = false;
            if at.around.passed {
                // The successor serves there.
                let operation = std::mem::take(&mut at.around.tasks[Task::Step as usize]);
                self.drain(at, Some(&drain::Input::Done { operation }), moment);
            }
        }
        if let Some(intent) = begins {
            if at.around.since.is_none() {
                at.around.since = Some(0);
            }
            let over = |at: &Whole| {
                at.machines
                    .as_ref()
                    .is_none_or(|(drain, _)| drain.get(&self.drains).phase() == Phase::Stopped)
            };
            self.drain(at, Some(&drain::Input::Begin { intent }), moment);
            if over(at) && self.is_handing_over(at) {
                self.handoff(at, Some(&handoff::Input::Drained), moment);
            }
        }
        self.exit_if_over(at, moment);
    }

    /// The host carries out what it was asked for, or could not.
    fn carried_out(around: &mut Around, task: Task, good: bool, moment: &mut Moment<'_>) {
        match task {
            Task::Step if good && around.unroute => {
                moment.watch.check(ROUTED, !around.passed && around.child != Child::Accepts);
                around.routed = false;
            }
            Task::Step if good && !around.passed => {
                moment.watch.check(ONE_RELEASE, around.lease == Lease::Old);
                around.lease = Lease::Released;
            }
            Task::Pass if good => {
                moment.watch.check(ONE_RELEASE, around.lease == Lease::Old);
                around.lease = Lease::New;
            }
            Task::Kill if good => around.child = Child::None,
            Task::Door => around.open = false,
            _ => {}
        }
    }

    fn reap(&self, at: &mut Whole, moment: &mut Moment<'_>) {
        let around = &mut at.around;
        around.child = Child::None;
        (around.tasks[Task::Kill as usize], around.tasks[Task::Spawn as usize]) = (0, 0);
        around.said = [false; 2];
        let generation = around.generation;
        self.handoff(at, Some(&handoff::Input::Exited { generation }), moment);
    }

    fn arrived(&self, at: &mut Whole, accepting: bool, moment: &mut Moment<'_>) {
        let around = &mut at.around;
        around.said[usize::from(accepting)] = false;
        let generation = around.generation;
        let input = if accepting {
            handoff::Input::Accepting { generation }
        } else {
            handoff::Input::Ready { generation, speaks: Speaks::Tidegate, version: VERSION }
        };
        self.handoff(at, Some(&input), moment);
    }

    fn deadline(&self, at: &Whole) -> Option<Millis> {
        let (drain, handoff) = at.machines.as_ref()?;
        let (drain, handoff) = (drain.get(&self.drains), handoff.get(&self.handoffs));
        let first = drain.deadline().map(|due| due.at - drain.clock().now());
        let second = handoff.deadline().map(|due| due.at - handoff.clock().now());
        first.into_iter().chain(second).min()
    }

    fn phase(&self, at: &Whole) -> Phase {
        at.machines.as_ref().map_or(Phase::Stopped, |(drain, _)| drain.get(&self.drains).phase())
    }

    /// A stop is asked for: the handoff hears of it first.
    fn stop(&self, at: &mut Whole, input: &drain::Input, moment: &mut Moment<'_>) {
        at.around.asked = true;
        if at.around.since.is_none() {
            at.around.since = Some(0);
        }
        self.handoff(at, Some(&handoff::Input::Stop), moment);
        self.drain(at, Some(input), moment);
    }
}

impl World for Replace {
    type Whole = Whole;
    type State = Situation<Part<Drain>, Part<Handoff>>;
    type Action = Action;

    fn start(&self) -> Vec<Whole> {
        let none = || Random::Script(Vec::new());
        let drain = Drain::drawing(self.drain.clone(), none(), 0);
        let handoff = Handoff::drawing(self.handoff.clone(), none(), 0);
        let machines = drain.ok().zip(handoff.ok());
        let machines = machines.map(|(drain, handoff)| (Slot::new(drain), Slot::new(handoff)));
        vec![Situation { machines, around: Around::default() }]
    }

    fn open(&self, state: &Self::State) -> Whole {
        let machines = state.machines.map(|(drain, handoff)| (Slot::Kept(drain), Slot::Kept(handoff)));
        Situation { machines, around: state.around }
    }

    fn close(&self, whole: Whole) -> Self::State {
        let Situation { machines, mut around } = whole;
        let machines = machines.map(|(drain, handoff)| {
            let (own, others) = around.tasks.split_at_mut(OF_HANDOFF);
            let named = |number| ("operation", number);
            let drain = drain.keep(&self.drains, &mut others.iter_mut().map(named).collect::<Vec<_>>());
            let numbers = own.iter_mut().chain([&mut around.generation]);
            (drain, handoff.keep(&self.handoffs, &mut numbers.map(named).collect::<Vec<_>>()))
        });
        Situation { machines, around }
    }

    fn actions(&self, whole: &Whole, actions: &mut Vec<Action>) {
        let around = &whole.around;
        if whole.machines.is_none() {
            return;
        }
        let phase = self.phase(whole);
        if self.deadline(whole).is_some() {
            actions.push(Action::Time);
        }
        if phase == Phase::Starting {
            actions.push(Action::Started);
        }
        actions.extend([Action::Signal, Action::Command]);
        if !matches!(phase, Phase::Starting | Phase::Serving) {
            actions.push(Action::Force);
        }
        if phase != Phase::Starting {
            actions.extend([Action::Upgrade, Action::Cancel]);
        }
        match around.child {
            Child::None if around.tasks[Task::Spawn as usize] != 0 => actions.push(Action::Born),
            Child::Alive => actions.extend([Action::Ready, Action::Dies]),
            Child::Acknowledged => actions.extend([Action::Accepts, Action::Dies]),
            Child::Ready | Child::Accepts => actions.push(Action::Dies),
            Child::Dead => actions.push(Action::Reaped),
            Child::None => {}
        }
        for accepting in [false, true] {
            if around.said[usize::from(accepting)] {
                actions.push(Action::Arrive(accepting));
            }
        }
        for task in TASKS {
            if around.tasks[task as usize] == 0 || (task == Task::Step && around.held) {
                continue;
            }
            match task {
                // It is certain that nothing runs, or that something does.
                Task::Spawn => actions.push(Action::Answer(task, around.child != Child::None)),
                Task::Look => actions.extend([Action::Looked, Action::Answer(task, false)]),
                _ => actions.extend([Action::Answer(task, true), Action::Answer(task, false)]),
            }
        }
        if self.requests && around.open && around.requests == 0 {
            actions.push(Action::Request);
        }
        if around.requests > 0 {
            actions.push(Action::End);
        }
        if around.counting && around.stale {
            actions.push(Action::Report);
        }
        if around.cutting {
            actions.push(Action::Cut);
        }
    }

    fn act(&self, at: &mut Whole, action: &Action, moment: &mut Moment<'_>) -> bool {
        let before = self.phase(at);
        let around = &mut at.around;
        match *action {
            Action::Time => {
                let Some(passed) = self.deadline(at) else { return false };
                at.around.since = at.around.since.map(|since| since + passed);
                at.around.behind = [passed; 2];
                self.handoff(at, None, moment);
                self.drain(at, None, moment);
                if let Some(since) = at.around.since {
                    moment.watch.check(IN_TIME, since < self.drain.kill_budget);
                }
            }
            Action::Started => self.drain(at, Some(&drain::Input::Started), moment),
            Action::Signal => {
                let first = !std::mem::replace(&mut around.signalled, true);
                self.stop(at, &drain::Input::Signal { intent: Intent::Restart }, moment);
                if first && before == Phase::Draining && at.machines.is_some() {
                    moment.watch.check(FIRST, self.phase(at) == before);
                }
            }
            Action::Command => {
                self.stop(at, &drain::Input::Begin { intent: Intent::Decommission }, moment);
            }
            Action::Force => self.drain(at, Some(&drain::Input::Force), moment),
            Action::Upgrade => self.handoff(at, Some(&handoff::Input::Upgrade), moment),
            Action::Cancel => self.handoff(at, Some(&handoff::Input::Cancel), moment),
            Action::Born => around.child = Child::Alive,
            Action::Ready => (around.child, around.said[0]) = (Child::Ready, true),
            Action::Accepts => (around.child, around.said[1]) = (Child::Accepts, true),
            Action::Dies => around.child = Child::Dead,
            Action::Reaped => self.reap(at, moment),
            Action::Arrive(accepting) => self.arrived(at, accepting, moment),
            Action::Looked => {
                let operation = std::mem::take(&mut around.tasks[Task::Look as usize]);
                for accepting in [false, true] {
                    if at.around.said[usize::from(accepting)] {
                        self.arrived(at, accepting, moment);
                    }
                }
                if at.around.child == Child::Dead {
                    self.reap(at, moment);
                }
                self.handoff(at, Some(&handoff::Input::Done { operation }), moment);
            }
            Action::Answer(task, good) => {
                let operation = std::mem::take(&mut around.tasks[task as usize]);
                Self::carried_out(around, task, good, moment);
                if (task as usize) < OF_HANDOFF {
                    let done = handoff::Input::Done { operation };
                    let input = if good { done } else { handoff::Input::Failed { operation } };
                    self.handoff(at, Some(&input), moment);
                } else {
                    let done = drain::Input::Done { operation };
                    let input = if good { done } else { drain::Input::Failed { operation } };
                    self.drain(at, Some(&input), moment);
                }
            }
            Action::Request => (around.requests, around.stale) = (1, true),
            Action::End => (around.requests, around.stale) = (0, true),
            Action::Report => {
                around.stale = false;
                let requests = around.requests.into();
                let load = drain::Input::Load { requests, idle: 0, streams: 0, tunnels: 0, told: 0 };
                self.drain(at, Some(&load), moment);
            }
            Action::Cut => {
                moment.watch.check(CUT_LATE, before == Phase::Forcing || before == Phase::Releasing);
                (around.requests, around.cutting, around.stale) = (0, false, true);
            }
        }
        true
    }

    fn properties(&self) -> Vec<&'static str> {
        vec![
            "contract: what an honest host says is never refused",
            "P: nobody has asked for a stop: somebody accepts",
            "D4: the public door closes for a stop or for a successor that accepts",
            "P: the lease is given away at most once",
            "P: no address is taken out of balancers on which a successor serves",
            "D2: the first signal during a handoff drain is a first",
            "P: the process exits only when no successor is in flight",
            "D9: stopped, and rid of its successor, within the budget",
            "D7: work is cut in forcing only",
            "H7: what passed to the successor is not released",
            "P: a process that was asked to stop stops, or has stopped",
            "P: one that is not asked to stop, and not replaced, serves",
        ]
    }

    fn inspect(&self, state: &Self::State, watch: &mut Watch) {
        let around = &state.around;
        let Some((drain, handoff)) = state.machines else { return };
        let phase = self.drains.get(drain).phase();
        let handoff = self.handoffs.get(handoff);
        if phase != Phase::Starting && !around.asked {
            let lost = around.passed && matches!(around.child, Child::Dead | Child::None);
            watch.check(NO_GAP, around.open || around.child == Child::Accepts || lost);
            watch.check(LEFT, around.passed != handoff.accepts());
            if handoff.accepts() {
                watch.check(LEFT, around.open && phase == Phase::Serving);
            }
        }
        if around.asked || around.passed {
            watch.check(NOT_LOST, phase > Phase::Serving);
        }
    }

    fn may_end(&self, state: &Self::State) -> bool {
        state.machines.is_none()
    }

    fn fairness(&self, action: &Action) -> Option<u8> {
        (*action == Action::Time).then_some(TIME)
    }

    fn liveness(&self) -> Vec<LeadsTo<Explored<Self>>> {
        let time = Fairness { weak: 1 << TIME, strong: 1 << TIME };
        vec![
            LeadsTo {
                name: "P: a stop in any phase of an upgrade ends the process, by time alone",
                concerns: |_, state| state.around.asked,
                goal: |_, state| state.machines.is_none(),
                fairness: time,
            },
            LeadsTo {
                name: "P: a process that was replaced ends, by time alone, whatever comes meanwhile",
                concerns: |_, state| state.around.passed,
                goal: |_, state| state.machines.is_none(),
                fairness: time,
            },
        ]
    }

    fn cells(&self) -> usize {
        self.handoff_cells.end()
    }

    fn transitions(&self) -> Vec<Transition> {
        transitions::<Drain>().chain(transitions::<Handoff>()).collect()
    }

    fn describe(&self, whole: &Whole) -> Vec<Described> {
        let both = |(drain, handoff): &(Slot<Drain>, Slot<Handoff>)| {
            [described(0, drain.get(&self.drains)), described(0, handoff.get(&self.handoffs))]
        };
        whole.machines.iter().flat_map(both).collect()
    }

    fn show(&self, whole: &Whole) -> String {
        let states = whole.machines.as_ref().map_or(("exited", "exited"), |(drain, handoff)| {
            (drain.get(&self.drains).state(), handoff.get(&self.handoffs).state())
        });
        format!("{states:?}: {:?}", whole.around)
    }
}

/// The world at a size, with its bounds.
#[must_use]
pub fn world(size: Size) -> (&'static str, Replace) {
    let step = |name: &str, kind| ReleaseStep { name: name.into(), kind, limit: 100, attempts: 1 };
    let drain = drain::Config {
        lame_duck: 50,
        grace: 200,
        kill_budget: 700,
        margin: 200,
        flush: 50,
        min_idle_age: 200,
        signal_merge: 50,
        steps: vec![step("balancer", StepKind::Unroute), step("lease", StepKind::Release)],
        ..drain::Config::default()
    };
    let handoff = handoff::Config {
        spawn_limit: 100,
        ready_limit: 100,
        accept_limit: 100,
        look_limit: 50,
        kill_limit: 50,
        task_limit: 50,
        lease: true,
        drain_limit: 750,
        undo: vec![UndoHook { name: "lock".into(), limit: 50 }],
        ..handoff::Config::default()
    };
    let drain_cells = Cells::of::<Drain>(0);
    let handoff_cells = Cells::of::<Handoff>(drain_cells.end());
    let (drains, handoffs) = (Pool::default(), Pool::default());
    let requests = size == Size::Full;
    let world = Replace { drains, handoffs, drain, handoff, requests, drain_cells, handoff_cells };
    let words = if requests {
        "1 process, 1 successor at a time, ≤ 1 request; stops and upgrades at any moment of each other, unbounded"
    } else {
        "1 process, 1 successor at a time, no request; stops and upgrades at any moment of each other, unbounded"
    };
    (words, world)
}
