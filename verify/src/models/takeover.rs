//! A handoff between two processes: the old side, the new side, the channel between them and both hosts (H1–H7).
//!
//! Both machines are the shipping ones. Words on the channel come late, are lost, are followed by garbage; either
//! process dies at any moment; every operation is done, fails, or is never answered; a look finds what has arrived, or
//! does not. Stops, cancels and upgrades come at any time and as often as they like. What a process really does (does
//! it accept?) is kept apart from what the other one has heard of it.

use tidegate::handoff::{
    self, Effect, Handoff, HandoffTask, Input, Speaks, UndoHook, VERSION, WhileDraining,
};
use tidegate::successor::{self, State as Place, Successor};
use tidegate::{Machine, Millis, Random, Rules};

use crate::explore::Watch;
use crate::liveness::{Fairness, LeadsTo};
use crate::models::Size;
use crate::pool::{Part, Pool};
use crate::vectors::Described;
use crate::world::{Cells, Explored, Moment, Slot, Transition, World, described, transitions};

/// One configuration of both sides.
#[derive(Debug, Clone)]
pub struct Pair {
    old: handoff::Config,
    new: successor::Config,
}

/// The world.
pub struct Takeover {
    olds: Pool<Handoff>,
    news: Pool<Successor>,
    pairs: Vec<Pair>,
    /// How many older generations may drain.
    older: u32,
    old_cells: Cells,
    new_cells: Cells,
}

/// A word on the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
    /// The new side is ready.
    Ready,
    /// The old side acknowledges; a state comes with it, or not.
    Acknowledged(bool),
    /// The new side accepts.
    Accepting,
    /// The new side refuses.
    Refused,
    /// Something else than the protocol.
    Garbage,
    /// The end of the channel.
    Closed,
}

/// The new process, as it really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Child {
    /// There is none.
    #[default]
    None,
    /// It runs.
    Alive,
    /// It was sent SIGKILL and is not yet reaped.
    Killed,
    /// It has ended and is not yet reaped.
    Ended,
}

/// What the old side's host is to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// Start the process.
    Spawn,
    /// Capture the state.
    Capture,
    /// Look at what has arrived.
    Look,
    /// Kill and reap.
    Kill,
    /// The undo hook.
    Undo,
    /// Write the PID file.
    PidFile,
    /// Pass the lease.
    Lease,
}
const TASKS: [Task; 7] =
    [Task::Spawn, Task::Capture, Task::Look, Task::Kill, Task::Undo, Task::PidFile, Task::Lease];

/// What the new side's host is to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Chore {
    /// Load the state.
    Load,
    /// Start to accept.
    Accept,
    /// Write the PID file.
    PidFile,
}
const CHORES: [Chore; 3] = [Chore::Load, Chore::Accept, Chore::PidFile];

/// The hosts, the channel and the truth.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Around {
    /// No more faults.
    settled: bool,
    /// The old process was told to stop.
    stopping: bool,
    /// How many older generations drain, as it was told.
    older: u32,
    /// The operations that each host is to answer; 0: none.
    tasks: [u32; 7],
    chores: [u32; 3],
    /// Which successor it is.
    generation: u32,
    child: Child,
    /// Whether it accepts; whether it ever did.
    accepts: bool,
    accepted: bool,
    /// Whether it was acknowledged, and whether the undo hook ran since.
    acknowledged: bool,
    undone: bool,
    /// Whether its word that it accepts was heard after that.
    heard: bool,
    /// The channel, each way.
    up: Vec<Word>,
    down: Vec<Word>,
    /// Nothing can be said over it any more.
    broken: bool,
    /// A word of an earlier successor that is still on its way, and which one's.
    stale: Option<(Word, u32)>,
    /// The old process has ended and the new one was not told so yet.
    orphaned: bool,
    /// How long the upgrade in flight has taken.
    taken: Option<Millis>,
    /// The old process is to drain, and has not yet.
    draining: bool,
}

/// The situation; to work on and to keep.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Situation<O, N> {
    /// Its configuration.
    pair: u8,
    /// None: the process has ended.
    old: Option<O>,
    new: Option<N>,
    around: Around,
}

/// One thing that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To the next deadline of either side.
    Time,
    /// Somebody asks the old process for an upgrade.
    Upgrade,
    /// Somebody takes it back.
    Cancel,
    /// The old process is told to stop.
    Stop,
    /// So many older generations drain.
    Older(u32),
    /// The new process comes to life.
    Born,
    /// The old side's host answers.
    Task(Task, bool),
    /// It has looked, and told everything that there was.
    Looked,
    /// The old process has drained.
    Drained,
    /// The old process dies.
    OldDies,
    /// The new process has initialised, or could not.
    Initialised(bool),
    /// The new side's host answers.
    Chore(Chore, bool),
    /// The new process is told to stop.
    NewStop,
    /// The new process dies.
    NewDies,
    /// The old side's host sees that the new process has ended, and reaps it.
    Reaped,
    /// The new side's host sees that the old process has ended.
    Orphaned,
    /// The next word arrives at the old side, or at the new one.
    Arrive(bool),
    /// It does not.
    Lose(bool),
    /// Garbage follows what is on its way.
    Garble(bool),
    /// The channel breaks, and both processes live.
    Break,
    /// A word of an earlier successor arrives.
    Stale,
    /// No more faults.
    Settle,
}

type Whole = Situation<Slot<Handoff>, Slot<Successor>>;

const TIME: u8 = 0;
const REPLY: u8 = 1;

const HONEST: usize = 0;
const SOMEONE: usize = 1;
const HANDED_OVER: usize = 2;
const NOT_BEFORE: usize = 3;
const AS_BEFORE: usize = 4;
const ONE_FLIGHT: usize = 5;
const IN_TIME: usize = 6;
const ORPHAN: usize = 7;
const HEARD: usize = 8;
const LEASE: usize = 9;
const UNDONE: usize = 10;
const GOES_ON: usize = 11;

impl Takeover {
    /// One world for each of these.
    #[must_use]
    pub fn new(pairs: Vec<Pair>, older: u32) -> Self {
        let old_cells = Cells::of::<Handoff>(0);
        let new_cells = Cells::of::<Successor>(old_cells.end());
        Self { olds: Pool::default(), news: Pool::default(), pairs, older, old_cells, new_cells }
    }

    /// Something happens to the old side: its host carries out what it wants.
    fn old(&self, at: &mut Whole, input: Option<&Input>, passed: Millis, moment: &mut Moment<'_>) {
        let Some(old) = &mut at.old else { return };
        let machine = old.edit(&self.olds);
        let answer = match input {
            Some(input) => moment.handle(self.old_cells, 0, machine, input),
            None => moment.tick(self.old_cells, 0, machine, passed),
        };
        moment.watch.check(HONEST, answer.is_ok());
        let Ok(step) = answer else { return };
        for effect in step.effects {
            self.carry_old(at, &effect, moment);
        }
    }

    fn carry_old(&self, at: &mut Whole, effect: &Effect, moment: &mut Moment<'_>) {
        let around = &mut at.around;
        match *effect {
            Effect::Spawn { operation, .. } => {
                moment.watch.check(ONE_FLIGHT, matches!(around.child, Child::None | Child::Killed));
                around.forget_child();
                (around.tasks[Task::Spawn as usize], around.generation) = (operation, operation);
                around.taken = Some(0);
            }
            Effect::CaptureState { operation, .. } => around.tasks[Task::Capture as usize] = operation,
            Effect::Acknowledge { state, .. } => {
                around.acknowledged = true;
                if around.child == Child::Alive && !around.broken {
                    around.down.push(Word::Acknowledged(state));
                }
            }
            Effect::Look { operation, .. } => around.tasks[Task::Look as usize] = operation,
            Effect::Kill { operation, .. } => {
                moment.watch.check(HEARD, !around.heard);
                around.tasks = [0; 7];
                around.tasks[Task::Kill as usize] = operation;
                if around.child != Child::None {
                    around.child = Child::Killed;
                }
                around.end_new();
                at.new = None;
            }
            Effect::RunUndo { operation, .. } => {
                around.tasks[Task::Undo as usize] = operation;
                moment.watch.check(UNDONE, !around.undone);
                around.undone = true;
            }
            Effect::RolledBack { .. } => {
                let clean = matches!(around.child, Child::None | Child::Killed) && around.undone;
                let as_before = self.is_as_before(at);
                moment.watch.check(AS_BEFORE, clean && as_before);
                (at.around.undone, at.around.taken, at.around.tasks) = (false, None, [0; 7]);
            }
            Effect::Accepted { .. } => {
                moment.watch.check(HANDED_OVER, around.accepted);
                (around.taken, around.tasks) = (None, [0; 7]);
            }
            Effect::WritePidFile { operation, .. } => around.tasks[Task::PidFile as usize] = operation,
            Effect::PassLease { operation, .. } => {
                moment.watch.check(LEASE, around.accepted);
                around.tasks[Task::Lease as usize] = operation;
            }
            Effect::BeginDrain { .. } => around.draining = true,
            Effect::TaskFailed { task, .. } => {
                let task = match task {
                    HandoffTask::Kill => Task::Kill,
                    HandoffTask::Undo => Task::Undo,
                    HandoffTask::PidFile => Task::PidFile,
                    HandoffTask::Lease => Task::Lease,
                };
                around.tasks[task as usize] = 0;
            }
            Effect::Gone { .. } => self.end_old(at),
            Effect::Queued { .. }
            | Effect::Refused { .. }
            | Effect::Notify { .. }
            | Effect::SuccessorLost { .. } => {}
        }
    }

    /// H1: the machine that stands for "nothing has happened", but for what it was told meanwhile.
    fn is_as_before(&self, at: &Whole) -> bool {
        let (Some(pair), Some(old)) = (self.pairs.get(usize::from(at.pair)), &at.old) else { return false };
        let Ok(mut fresh) = Handoff::drawing(pair.old.clone(), Random::Script(Vec::new()), 0) else {
            return false;
        };
        let older = Input::OlderGenerations { draining: at.around.older };
        let told =
            fresh.handle(0, &older).is_ok() && (!at.around.stopping || fresh.handle(0, &Input::Stop).is_ok());
        let same = |machine: &Handoff| {
            let mut machine = machine.clone();
            machine.rebase(0);
            machine.normalize(&mut |_, number| *number = 0);
            machine
        };
        told && same(old.get(&self.olds)) == same(&fresh)
    }

    fn end_old(&self, at: &mut Whole) {
        at.old = None;
        let around = &mut at.around;
        around.tasks = [0; 7];
        (around.stopping, around.older, around.taken, around.draining) = (false, 0, None, false);
        (around.stale, around.heard, around.acknowledged, around.undone) = (None, false, false, false);
        around.generation = 0;
        around.up.clear();
        let broken = std::mem::take(&mut around.broken);
        if around.child == Child::Alive {
            if !broken {
                around.down.push(Word::Closed);
            }
            around.orphaned = true;
        } else {
            around.child = Child::None;
            around.accepted = false;
        }
    }

    /// Something happens to the new side: its host carries out what it wants.
    fn new_side(
        &self,
        at: &mut Whole,
        input: Option<&successor::Input>,
        passed: Millis,
        moment: &mut Moment<'_>,
    ) {
        let Some(new) = &mut at.new else { return };
        let machine = new.edit(&self.news);
        let answer = match input {
            Some(input) => moment.handle(self.new_cells, 0, machine, input),
            None => moment.tick(self.new_cells, 0, machine, passed),
        };
        moment.watch.check(HONEST, answer.is_ok());
        let Ok(step) = answer else { return };
        let around = &mut at.around;
        let alone = at.old.is_none();
        let mut say = |word: Word| {
            if !alone && !around.broken {
                around.up.push(word);
            }
        };
        for effect in step.effects {
            match effect {
                successor::Effect::SayReady { .. } => say(Word::Ready),
                successor::Effect::SayRefused => say(Word::Refused),
                successor::Effect::SayAccepting => say(Word::Accepting),
                successor::Effect::LoadState { operation, .. } => {
                    around.chores[Chore::Load as usize] = operation;
                }
                successor::Effect::Accept { operation, .. } => {
                    moment.watch.check(NOT_BEFORE, around.acknowledged || alone);
                    around.chores[Chore::Accept as usize] = operation;
                }
                successor::Effect::WritePidFile { operation, .. } => {
                    moment.watch.check(ORPHAN, alone);
                    around.chores[Chore::PidFile as usize] = operation;
                }
                successor::Effect::TakeLease => moment.watch.check(LEASE, around.accepts),
                successor::Effect::Serving { promoted } => {
                    moment.watch.check(ORPHAN, !promoted || alone);
                    moment.watch.check(NOT_BEFORE, around.accepts);
                }
                successor::Effect::End { .. } => {
                    around.end_new();
                    at.new = None;
                    around.child = if alone { Child::None } else { Child::Ended };
                    if !alone && !around.broken {
                        around.up.push(Word::Closed);
                    }
                    return;
                }
                successor::Effect::CloseUnclaimed
                | successor::Effect::Notify { .. }
                | successor::Effect::PidFileFailed { .. } => {}
            }
        }
    }

    /// What has arrived is told to the old side.
    fn arrived(&self, at: &mut Whole, word: Word, generation: u32, moment: &mut Moment<'_>) {
        let around = &mut at.around;
        if word == Word::Accepting && generation == around.generation {
            around.heard = around.acknowledged;
        }
        let input = match word {
            Word::Ready => Input::Ready { generation, speaks: Speaks::Tidegate, version: VERSION },
            Word::Accepting => Input::Accepting { generation },
            Word::Refused => Input::Refused { generation },
            Word::Garbage | Word::Acknowledged(_) => Input::Garbage { generation },
            Word::Closed => Input::ChannelClosed { generation },
        };
        self.old(at, Some(&input), 0, moment);
    }

    /// The host of the old side sees the new process end.
    fn reap(&self, at: &mut Whole, moment: &mut Moment<'_>) {
        let around = &mut at.around;
        let generation = around.generation;
        around.child = Child::None;
        around.stale = around.up.pop().map(|word| (word, generation)).or(around.stale);
        around.up.clear();
        (around.tasks[Task::Kill as usize], around.tasks[Task::Spawn as usize]) = (0, 0);
        self.old(at, Some(&Input::Exited { generation }), 0, moment);
    }

    fn deadline(&self, at: &Whole) -> Option<Millis> {
        let old = at.old.as_ref().and_then(|old| {
            let old = old.get(&self.olds);
            old.deadline().map(|due| due.at - old.clock().now())
        });
        let new = at.new.as_ref().and_then(|new| {
            let new = new.get(&self.news);
            new.deadline().map(|due| due.at - new.clock().now())
        });
        old.into_iter().chain(new).min()
    }

    fn old_state(&self, at: &Situation<Part<Handoff>, Part<Successor>>) -> &'static str {
        at.old.map_or("", |old| self.olds.get(old).state())
    }
}

impl Around {
    /// The new process is over: what its host was to do, and what it was to hear.
    fn end_new(&mut self) {
        self.accepts = false;
        self.chores = [0; 3];
        self.down.clear();
        self.orphaned = false;
    }

    fn forget_child(&mut self) {
        self.end_new();
        self.child = Child::None;
        self.up.clear();
        self.broken = false;
        (self.accepted, self.acknowledged, self.heard) = (false, false, false);
    }

    /// Whether an honest host still has something to do that takes no time.
    fn owes(&self) -> bool {
        let words = !self.up.is_empty() || !self.down.is_empty() || self.stale.is_some();
        let asked = self.tasks.iter().chain(&self.chores).any(|operation| *operation != 0);
        words || asked || self.orphaned || self.draining || self.child == Child::Ended
    }
}

impl World for Takeover {
    type Whole = Whole;
    type State = Situation<Part<Handoff>, Part<Successor>>;
    type Action = Action;

    fn start(&self) -> Vec<Whole> {
        let whole = |(pair, config): (usize, &Pair)| {
            let old = Handoff::drawing(config.old.clone(), Random::Script(Vec::new()), 0).ok()?;
            Some(Situation {
                pair: u8::try_from(pair).ok()?,
                old: Some(Slot::new(old)),
                new: None,
                around: Around::default(),
            })
        };
        self.pairs.iter().enumerate().filter_map(whole).collect()
    }

    fn open(&self, state: &Self::State) -> Whole {
        Situation {
            pair: state.pair,
            old: state.old.map(Slot::Kept),
            new: state.new.map(Slot::Kept),
            around: state.around.clone(),
        }
    }

    fn close(&self, whole: Whole) -> Self::State {
        let Situation { pair, old, new, mut around } = whole;
        let old = old.map(|old| {
            let Around { tasks, generation, stale, .. } = &mut around;
            let stale = stale.iter_mut().map(|(_, generation)| generation);
            let numbers = tasks.iter_mut().chain([generation]).chain(stale);
            old.keep(&self.olds, &mut numbers.map(|number| ("operation", number)).collect::<Vec<_>>())
        });
        let new = new.map(|new| {
            let numbers = around.chores.iter_mut().map(|number| ("operation", number));
            new.keep(&self.news, &mut numbers.collect::<Vec<_>>())
        });
        Situation { pair, old, new, around }
    }

    fn actions(&self, whole: &Whole, actions: &mut Vec<Action>) {
        let around = &whole.around;
        let wild = !around.settled;
        if self.deadline(whole).is_some() && (wild || !around.owes()) {
            actions.push(Action::Time);
        }
        if whole.old.is_some() {
            for task in TASKS {
                if around.tasks[task as usize] == 0 {
                    continue;
                }
                match task {
                    Task::Spawn if around.child == Child::None => {
                        actions.push(Action::Born);
                        if wild {
                            actions.push(Action::Task(task, false));
                        }
                    }
                    Task::Spawn => actions.push(Action::Task(task, true)),
                    Task::Look => {
                        actions.push(Action::Looked);
                        if wild {
                            // It looked too early, or could not.
                            actions.extend([Action::Task(task, true), Action::Task(task, false)]);
                        }
                    }
                    _ => {
                        actions.push(Action::Task(task, true));
                        if wild {
                            actions.push(Action::Task(task, false));
                        }
                    }
                }
            }
            if around.draining {
                actions.push(Action::Drained);
            }
            if matches!(around.child, Child::Ended | Child::Killed) {
                actions.push(Action::Reaped);
            }
            if around.stale.is_some() {
                actions.push(Action::Stale);
            }
        }
        if let Some(new) = &whole.new {
            if new.get(&self.news).at() == Place::Initialising {
                actions.push(Action::Initialised(true));
                if wild {
                    actions.push(Action::Initialised(false));
                }
            }
            for chore in CHORES {
                if around.chores[chore as usize] != 0 {
                    actions.push(Action::Chore(chore, true));
                    if wild {
                        actions.push(Action::Chore(chore, false));
                    }
                }
            }
            if around.orphaned {
                actions.push(Action::Orphaned);
            }
        }
        for (up, words) in [(true, &around.up), (false, &around.down)] {
            if !words.is_empty() {
                actions.push(Action::Arrive(up));
                if wild {
                    actions.push(Action::Lose(up));
                }
            }
            let open = whole.old.is_some() && around.child == Child::Alive;
            if wild && open && !words.contains(&Word::Garbage) && !words.contains(&Word::Closed) {
                actions.push(Action::Garble(up));
            }
        }
        if wild && whole.old.is_some() && around.child == Child::Alive && !around.broken {
            actions.push(Action::Break);
        }
        if !wild {
            return;
        }
        actions.push(Action::Settle);
        if whole.old.is_some() {
            actions.extend([Action::Upgrade, Action::Cancel, Action::OldDies]);
            if !around.stopping {
                actions.push(Action::Stop);
            }
            let counts = (0..=self.older).filter(|older| *older != around.older);
            actions.extend(counts.map(Action::Older));
        }
        if whole.new.is_some() {
            actions.extend([Action::NewStop, Action::NewDies]);
        }
    }

    fn act(&self, at: &mut Whole, action: &Action, moment: &mut Moment<'_>) -> bool {
        let around = &mut at.around;
        match *action {
            Action::Settle => around.settled = true,
            Action::Time => {
                let Some(passed) = self.deadline(at) else { return false };
                if let (Some(taken), Some(pair)) =
                    (&mut at.around.taken, self.pairs.get(usize::from(at.pair)))
                {
                    *taken += passed;
                    moment.watch.check(IN_TIME, *taken <= pair.old.longest_upgrade());
                }
                self.old(at, None, passed, moment);
                self.new_side(at, None, passed, moment);
            }
            Action::Upgrade => self.old(at, Some(&Input::Upgrade), 0, moment),
            Action::Cancel => self.old(at, Some(&Input::Cancel), 0, moment),
            Action::Stop => {
                around.stopping = true;
                self.old(at, Some(&Input::Stop), 0, moment);
            }
            Action::Older(draining) => {
                around.older = draining;
                self.old(at, Some(&Input::OlderGenerations { draining }), 0, moment);
            }
            Action::Born => {
                let Some(pair) = self.pairs.get(usize::from(at.pair)) else { return false };
                let new = Successor::drawing(pair.new.clone(), Random::Script(Vec::new()), 0);
                let Ok(new) = new else { return false };
                around.child = Child::Alive;
                at.new = Some(Slot::new(new));
            }
            Action::Task(task, good) => {
                let operation = std::mem::take(&mut around.tasks[task as usize]);
                if task == Task::Kill && good {
                    let generation = around.generation;
                    around.child = Child::None;
                    around.stale = around.up.pop().map(|word| (word, generation)).or(around.stale);
                    around.up.clear();
                }
                let input = if good { Input::Done { operation } } else { Input::Failed { operation } };
                self.old(at, Some(&input), 0, moment);
            }
            Action::Looked => {
                let operation = std::mem::take(&mut around.tasks[Task::Look as usize]);
                let generation = around.generation;
                for word in std::mem::take(&mut at.around.up) {
                    self.arrived(at, word, generation, moment);
                }
                if at.around.child == Child::Ended {
                    self.reap(at, moment);
                }
                self.old(at, Some(&Input::Done { operation }), 0, moment);
            }
            Action::Drained => {
                around.draining = false;
                self.old(at, Some(&Input::Drained), 0, moment);
            }
            Action::OldDies => self.end_old(at),
            Action::Initialised(good) => {
                let input =
                    if good { successor::Input::Initialised } else { successor::Input::InitialiseFailed };
                self.new_side(at, Some(&input), 0, moment);
            }
            Action::Chore(chore, good) => {
                let operation = std::mem::take(&mut around.chores[chore as usize]);
                if chore == Chore::Accept && good {
                    (around.accepts, around.accepted) = (true, true);
                }
                let input = if good {
                    successor::Input::Done { operation }
                } else {
                    successor::Input::Failed { operation }
                };
                self.new_side(at, Some(&input), 0, moment);
            }
            Action::NewStop => self.new_side(at, Some(&successor::Input::Stop), 0, moment),
            Action::NewDies => {
                around.end_new();
                at.new = None;
                around.child = if at.old.is_some() { Child::Ended } else { Child::None };
                if at.old.is_some() && !around.broken {
                    around.up.push(Word::Closed);
                }
            }
            Action::Reaped => self.reap(at, moment),
            Action::Orphaned => {
                around.orphaned = false;
                self.new_side(at, Some(&successor::Input::ParentGone), 0, moment);
                moment.watch.check(GOES_ON, at.new.is_some());
            }
            Action::Arrive(true) => {
                let (word, generation) = (around.up.remove(0), around.generation);
                self.arrived(at, word, generation, moment);
            }
            Action::Arrive(false) => {
                let input = match around.down.remove(0) {
                    Word::Acknowledged(state) => successor::Input::Acknowledged { version: VERSION, state },
                    Word::Closed => successor::Input::ChannelClosed,
                    _ => successor::Input::Garbage,
                };
                self.new_side(at, Some(&input), 0, moment);
            }
            Action::Lose(up) => {
                if up { &mut around.up } else { &mut around.down }.remove(0);
            }
            Action::Garble(up) => if up { &mut around.up } else { &mut around.down }.push(Word::Garbage),
            Action::Break => {
                around.broken = true;
                around.up.push(Word::Closed);
                around.down.push(Word::Closed);
            }
            Action::Stale => {
                if let Some((word, generation)) = around.stale.take() {
                    self.arrived(at, word, generation, moment);
                }
            }
        }
        true
    }

    fn properties(&self) -> Vec<&'static str> {
        vec![
            "contract: what an honest host says is never refused",
            "P: while any generation lives and is not stopping, someone accepts",
            "H1: the old one lets go only of a successor that did accept",
            "H2: the new one touches the sockets only when acknowledged, or when the old one is gone",
            "H1: rolled back, everything is as it was before, and the successor is gone",
            "H4: at most one upgrade in flight",
            "H1: an upgrade takes no longer than its limits add up to",
            "H4: it promotes itself only when the old one is gone",
            "H1: who was heard to accept is not killed",
            "H7: the lease passes only when the successor accepts",
            "H1: the undo hooks run once",
            "H4: that the old one is gone ends no successor",
        ]
    }

    fn inspect(&self, state: &Self::State, watch: &mut Watch) {
        let around = &state.around;
        if let Some(old) = state.old
            && !around.stopping
        {
            let lost = around.accepted && around.child != Child::Alive;
            watch.check(SOMEONE, self.olds.get(old).accepts() || around.accepts || lost);
        }
    }

    fn may_end(&self, state: &Self::State) -> bool {
        state.around.settled
    }

    fn fairness(&self, action: &Action) -> Option<u8> {
        match action {
            Action::Time => Some(TIME),
            Action::Born
            | Action::Task(_, true)
            | Action::Looked
            | Action::Drained
            | Action::Initialised(true)
            | Action::Chore(_, true)
            | Action::Reaped
            | Action::Orphaned
            | Action::Arrive(_)
            | Action::Stale => Some(REPLY),
            _ => None,
        }
    }

    fn liveness(&self) -> Vec<LeadsTo<Explored<Self>>> {
        let time = Fairness { weak: 1 << TIME, strong: 1 << TIME };
        let both = Fairness { weak: 1 << TIME | 1 << REPLY, strong: 0 };
        vec![
            LeadsTo {
                name: "P: an upgrade is done or rolled back in the end, by time alone",
                concerns: |_, state| state.old.is_some() && state.around.taken.is_some(),
                goal: |_, state| state.old.is_none() || state.around.taken.is_none(),
                fairness: time,
            },
            LeadsTo {
                name: "P: a replaced generation is gone in the end, by time alone",
                concerns: |model, state| model.0.old_state(state) == "draining",
                goal: |_, state| state.old.is_none(),
                fairness: time,
            },
            LeadsTo {
                name: "H4: a successor whose predecessor died accepts in the end, or has given up",
                concerns: |_, state| state.around.settled && state.old.is_none() && state.new.is_some(),
                goal: |_, state| state.around.accepts || state.new.is_none(),
                fairness: both,
            },
            LeadsTo {
                name: "P: when the faults end, a handoff that nobody stops ends with one generation that accepts",
                concerns: |_, state| {
                    let around = &state.around;
                    around.settled && (state.old.is_some() || around.accepts) && !around.stopping
                },
                goal: |_, state| {
                    let around = &state.around;
                    let lost = around.accepted && !around.accepts;
                    (state.old.is_some() && around.taken.is_none() && state.new.is_none())
                        || (state.old.is_none() && (around.accepts || state.new.is_none()))
                        || lost
                },
                fairness: both,
            },
        ]
    }

    fn cells(&self) -> usize {
        self.new_cells.end()
    }

    fn transitions(&self) -> Vec<Transition> {
        transitions::<Handoff>().chain(transitions::<Successor>()).collect()
    }

    fn describe(&self, whole: &Whole) -> Vec<Described> {
        let old = whole.old.iter().map(|old| described(0, old.get(&self.olds)));
        old.chain(whole.new.iter().map(|new| described(0, new.get(&self.news)))).collect()
    }

    fn show(&self, whole: &Whole) -> String {
        let old = whole.old.as_ref().map_or("ended", |old| old.get(&self.olds).state());
        let new = whole.new.as_ref().map_or("ended", |new| new.get(&self.news).state());
        format!("old {old}, new {new}: {:?}", whole.around)
    }
}

/// The world at a size, with its bounds.
#[must_use]
pub fn world(size: Size) -> (&'static str, Takeover) {
    let old = handoff::Config {
        spawn_limit: 100,
        ready_limit: 200,
        accept_limit: 200,
        settle: 100,
        look_limit: 50,
        kill_limit: 100,
        state_limit: 100,
        task_limit: 50,
        drain_limit: 200,
        queue_limit: 100,
        undo: vec![UndoHook { name: "lock".into(), limit: 50 }],
        ..handoff::Config::default()
    };
    let new = successor::Config {
        initialise_limit: 150,
        acknowledge_limit: 250,
        state_limit: 50,
        accept_limit: 100,
        gone_limit: 50,
        pid_file: false,
        pid_file_limit: 50,
        lease: false,
    };
    let all = Pair {
        old: handoff::Config {
            state: true,
            pid_file: true,
            lease: true,
            while_draining: WhileDraining::Queue,
            ..old.clone()
        },
        new: successor::Config { pid_file: true, lease: true, ..new.clone() },
    };
    let plain =
        Pair { old: handoff::Config { lease: true, ..old }, new: successor::Config { lease: true, ..new } };
    match size {
        Size::Small | Size::Quick => (
            "1 old and 1 new process; words late, lost, garbage; either dies, or the channel breaks, at any moment; no state",
            Takeover::new(vec![plain], 0),
        ),
        Size::Full => (
            "1 old and 1 new process, ≤ 1 older; words late, lost, garbage; either dies, or the channel breaks, \
             at any moment; upgrades unbounded; with and without state, PID file, lease, queue",
            Takeover::new(vec![plain, all], 1),
        ),
    }
}
