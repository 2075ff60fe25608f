//! A saga, its journal, its executors and what it works on (G2–G9): any of them fails anywhere.
//!
//! An executor may die before, in the middle of and after every append and every effect, also while it recovers; or
//! another one takes over while it goes on. A do or an undo works, fails, or leaves it unknown what it did, and then
//! lands at once, later or never: as late as the step says, or as late as it likes where the step says nothing. What
//! the resources promise they keep: a key takes effect once, a fence holds, a lateness is the latest.
//!
//! The journal is kept as the machine that has read it. What recovers from a journal depends on nothing else, so two
//! journals that were read to the same state are one.
//!
//! Not in here: an append that is made for one executor, and answered after another one has read the journal. Such an
//! executor starts its do late, as one does that is paused: to the resource, that is a late do.

use tidegate::saga::journal::Entry;
use tidegate::saga::{
    Compensation, Config, Effect, Input, LeakReason, Phase, Saga, SagaCause, SagaRecord, SagaStep,
};
use tidegate::{Machine, Millis, Name, Random, Rules};

use crate::explore::Watch;
use crate::liveness::{Fairness, LeadsTo};
use crate::models::Size;
use crate::models::saga::{self, Work, comes_after, is_over, place, step};
use crate::pool::{Loan, Part, Pool};
use crate::vectors::Described;
use crate::world::{Cells, Explored, Moment, Slot, Transition, World, transitions};

/// How much may go wrong.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Failures, unknown outcomes, lost answers and lies, of the journal too.
    pub faults: u8,
    /// Deaths of executors, and takeovers from one that lives.
    pub crashes: u8,
    /// Inputs of an operator.
    pub operators: u8,
}

/// The world.
pub struct Recovery {
    pool: Pool<Saga>,
    journals: Pool<Journal<Part<Saga>>>,
    executors: Pool<Executor<Part<Saga>>>,
    grounds: Pool<Ground>,
    configs: Vec<Config>,
    bounds: Bounds,
    cells: Cells,
}

/// Something that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call {
    step: u8,
    work: Work,
    /// Who waits for the answer; none when nobody does.
    caller: Option<u8>,
    operation: u32,
    /// For how long it may still land; none for ever.
    left: Option<Millis>,
}

/// What a step works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Resource {
    /// The effect is there.
    present: bool,
    /// The key of the do took effect.
    took: bool,
    /// An undo or a fallback has landed.
    fenced: bool,
    /// It was undone, not only made safe.
    freed: bool,
    /// An undo or a fallback was begun.
    undoing: bool,
    /// An undo landed whose executor had been superseded: nobody who reports hears of it.
    unheard: bool,
}

impl Resource {
    /// By the hands of an operator.
    fn settle(&mut self, present: bool) {
        (self.present, self.took, self.fenced) = (present, present, !present);
    }
}

/// A process that executes the saga.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Executor<M> {
    machine: M,
    token: u8,
    /// The record that is under way.
    append: Option<(u32, Entry)>,
}

/// The journal, and what is known of whoever executes the saga by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Journal<M> {
    /// What it says, as the machine that has read it.
    machine: M,
    /// Its last record.
    last: Option<Entry>,
    /// Its end is torn.
    torn: bool,
    /// The token of the latest executor.
    token: u8,
    /// The error that the unwinding began with.
    cause: Option<(u64, Option<u32>, u32)>,
}

/// What the steps work on, and what they asked of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ground {
    resources: Vec<Resource>,
    calls: Vec<Call>,
}

/// The situation; with what is in it to work on, or with the parts, to keep.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Situation<J, E, G> {
    journal: J,
    executors: E,
    ground: G,
    /// It was unknown what something did.
    unsure: bool,
    cancelled: bool,
    faults: u8,
    crashes: u8,
    operators: u8,
}

impl<J, E, G> Situation<J, E, G> {
    /// The same with other contents.
    fn with<K, F, H>(&self, journal: K, executors: F, ground: H) -> Situation<K, F, H> {
        let Self { unsure, cancelled, faults, crashes, operators, .. } = *self;
        Situation { journal, executors, ground, unsure, cancelled, faults, crashes, operators }
    }
}

/// One thing that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To the next deadline, of a machine or of a landing.
    Time,
    /// A record is made durable, and that is said.
    Append(usize),
    /// It is said to have failed, and was made or not.
    AppendFails(usize, bool),
    /// The journal works again.
    Resume(usize),
    /// The executor dies; the record under way is made or not, or torn.
    Crash(usize, Fate),
    /// A new one reads the journal, whether there still is one or not.
    Boot,
    /// A call does what it should.
    Succeed(usize),
    /// It certainly does nothing.
    Fail(usize),
    /// It is unknown what it did: that is said; it has landed or not.
    Unsure(usize, bool),
    /// Nothing is said, and it may still land.
    Hang(usize),
    /// An undo is said to have worked, and did not.
    Lie(usize),
    /// What nobody waits for any more lands.
    Land(usize),
    /// It never will.
    Vanish(usize),
    /// The saga is cancelled.
    Cancel(usize),
    /// An operator has a step tried again.
    Retry(usize, u32),
    /// An operator removes the effect of a step, or puts it there.
    Resolve(usize, u32, bool),
}

/// What becomes of a record whose executor dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Not begun.
    Lost,
    /// Half of it is there.
    Torn,
    /// It is there.
    Made,
}

const COMMITTED: usize = 0;
const ROLLED_BACK: usize = 1;
const NAMED: usize = 2;
const EXACT: usize = 3;
const ONCE: usize = 4;
const INTENDED: usize = 5;
const FORWARD: usize = 6;
const ORDER: usize = 7;
const REQUIRED: usize = 8;
const READABLE: usize = 9;
const FENCED: usize = 10;
const HONEST: usize = 11;
const CAUSE: usize = 12;

/// So many executors at a time: one, and one that has taken over from it.
const EXECUTORS: usize = 2;

type Executing = Loan<Executor<Slot<Saga>>, Executor<Part<Saga>>>;
type Working = Situation<Loan<Journal<Slot<Saga>>, Journal<Part<Saga>>>, Vec<Executing>, Loan<Ground>>;
type Kept =
    Situation<Part<Journal<Part<Saga>>>, [Option<Part<Executor<Part<Saga>>>>; EXECUTORS], Part<Ground>>;

impl Recovery {
    /// A world for each of these configs.
    #[must_use]
    pub fn new((configs, bounds): (Vec<Config>, Bounds)) -> Self {
        Self {
            pool: Pool::default(),
            journals: Pool::default(),
            executors: Pool::default(),
            grounds: Pool::default(),
            configs,
            bounds,
            cells: Cells::of::<Saga>(0),
        }
    }

    fn config<'a>(&'a self, at: &'a Working) -> &'a Config {
        at.journal.machine.get(&self.pool).config()
    }

    fn settings<'a>(&'a self, at: &'a Working, step: u8) -> &'a SagaStep {
        &self.config(at).steps[usize::from(step)]
    }

    /// Tells an executor something, and starts what it wants.
    fn tell(&self, at: &mut Working, who: usize, input: &Input, moment: &mut Moment<'_>) {
        let machine = at.executors[who].machine.edit(&self.pool);
        let answer = moment.handle(self.cells, who, machine, input);
        moment.watch.check(HONEST, answer.is_ok());
        let Ok(step) = answer else { return };
        if matches!(input, Input::Fenced { .. }) {
            moment.watch.check(FENCED, step.effects == [Effect::Fenced]);
        }
        self.start(at, who, &step.effects, moment);
    }

    fn start(&self, at: &mut Working, who: usize, effects: &[Effect], moment: &mut Moment<'_>) {
        for effect in effects {
            let caller = Some(who as u8);
            match *effect {
                Effect::Append { operation, sequence, kind, step, attempt, value, .. } => {
                    let entry = Entry { sequence, kind, step, attempt, value };
                    at.executors[who].append = Some((operation, entry));
                }
                Effect::Do { operation, step, attempt, limit } => {
                    self.intended(at, who, (SagaRecord::Intent, step, attempt), moment.watch);
                    let undoing = at.ground.resources.iter().any(|resource| resource.undoing);
                    moment.watch.check(FORWARD, !undoing);
                    let step = step as u8;
                    let left = self.settings(at, step).lateness.map(|lateness| limit + lateness);
                    at.ground.calls.push(Call { step, work: Work::Do, caller, operation, left });
                }
                Effect::Undo { operation, step, attempt, limit } => {
                    self.intended(at, who, (SagaRecord::UndoIntent, step, attempt), moment.watch);
                    self.undo(at, step as u8, moment.watch);
                    let (step, left) = (step as u8, Some(limit));
                    at.ground.calls.push(Call { step, work: Work::Undo, caller, operation, left });
                }
                Effect::FallBack { operation, step, attempt, limit } => {
                    self.intended(at, who, (SagaRecord::FallbackIntent, step, attempt), moment.watch);
                    self.undo(at, step as u8, moment.watch);
                    let (step, left) = (step as u8, Some(limit));
                    at.ground.calls.push(Call { step, work: Work::FallBack, caller, operation, left });
                }
                Effect::Verify { operation, step, .. } => {
                    let (step, left) = (step as u8, None);
                    at.ground.calls.push(Call { step, work: Work::Verify, caller, operation, left });
                }
                Effect::RolledBack { cause, step, attempt } => {
                    self.blame(at, cause, step, attempt, moment.watch);
                }
                Effect::Stuck { cause, step, attempt, .. } => {
                    self.blame(at, cause, step, attempt, moment.watch)
                }
                Effect::Refused { .. } => moment.watch.check(READABLE, false),
                _ => {}
            }
        }
    }

    /// G4: what starts is the last thing that the journal says, and by the latest executor.
    fn intended(
        &self,
        at: &Working,
        who: usize,
        (kind, step, attempt): (SagaRecord, u32, u32),
        watch: &mut Watch,
    ) {
        let said = at
            .journal
            .last
            .is_some_and(|last| (last.kind, last.step, last.attempt) == (kind, Some(step), attempt));
        watch.check(INTENDED, said && at.executors[who].token == at.journal.token);
    }

    /// G5: an undo begins.
    fn undo(&self, at: &mut Working, step: u8, watch: &mut Watch) {
        let config = self.config(at);
        let below = (0..config.steps.len()).filter(|below| comes_after(config, usize::from(step), *below));
        let begun = below.into_iter().any(|below| at.ground.resources[below].undoing);
        watch.check(ORDER, !begun || at.operators > 0);
        at.ground.resources[usize::from(step)].undoing = true;
    }

    /// G6: the error is the one that the unwinding began with.
    fn blame(&self, at: &Working, cause: SagaCause, step: Option<u32>, attempt: u32, watch: &mut Watch) {
        if let Some(first) = at.journal.cause {
            watch.check(CAUSE, first == (u64::from(cause.index()), step, attempt));
        }
    }

    /// A record becomes durable.
    fn write(&self, at: &mut Working, entry: Entry, watch: &mut Watch) {
        if let Some(last) = at.journal.last
            && last.sequence == entry.sequence
        {
            // Appended once more, as nobody said that it was made.
            watch.check(READABLE, last == entry);
            return;
        }
        let Entry { sequence, kind, step, attempt, value } = entry;
        if kind == SagaRecord::Unwinding {
            at.journal.cause = Some((value, step, attempt));
        }
        if let (SagaRecord::Resolved, Some(step), 1) = (kind, step, value) {
            at.ground.resources[step as usize].settle(true);
        }
        let input = Input::Replay { sequence, kind, step, attempt, value };
        let journal = at.journal.machine.edit(&self.pool);
        let read = journal.handle(0, &input);
        watch.check(
            READABLE,
            read.is_ok_and(|step| step.effects.is_empty()) && journal.phase() != Phase::Refused,
        );
        at.journal.last = Some(entry);
        if kind == SagaRecord::Stuck && at.operators == 0 {
            // When it is said; later an undo of an executor that was superseded may land.
            for (step, reason) in at.journal.machine.get(&self.pool).leaked() {
                let certain = matches!(reason, LeakReason::StillThere | LeakReason::Unfinished);
                if certain || !at.unsure {
                    let resource = at.ground.resources[step as usize];
                    watch.check(EXACT, resource.present || resource.unheard);
                }
            }
        }
    }

    /// The process is gone; nobody waits for what it asked.
    fn leave(at: &mut Working, who: usize) {
        at.executors.remove(who);
        at.ground.calls.retain(|call| call.caller != Some(who as u8) || call.work != Work::Verify);
        for call in &mut at.ground.calls {
            match call.caller {
                Some(caller) if usize::from(caller) == who => {
                    (call.caller, call.operation) = (None, 0);
                }
                Some(caller) if usize::from(caller) > who => call.caller = Some(caller - 1),
                _ => {}
            }
        }
    }

    /// It takes effect; false when the resource refuses it.
    fn land(&self, at: &mut Working, call: Call, watch: &mut Watch) -> bool {
        let settings = self.settings(at, call.step);
        let (fenced, idempotent) = (settings.fenced, settings.idempotent);
        let token = call.caller.and_then(|caller| at.executors.get(usize::from(caller))).map(|one| one.token);
        let superseded = token != Some(at.journal.token);
        let resource = &mut at.ground.resources[usize::from(call.step)];
        match call.work {
            Work::Do if fenced && resource.fenced => return false,
            Work::Do if idempotent && resource.took => {}
            Work::Do => {
                watch.check(ONCE, !resource.took);
                (resource.present, resource.took, resource.freed) = (true, true, false);
            }
            Work::Undo => {
                (resource.present, resource.fenced, resource.freed) = (false, true, true);
                resource.unheard |= superseded;
            }
            Work::FallBack => (resource.present, resource.fenced) = (false, true),
            Work::Verify => {}
        }
        // G6
        let config = self.config(at);
        for (freed, step) in at.ground.resources.iter().zip(&config.steps) {
            let mut required = step.undo_requires.iter().filter_map(|name| place(config, name)).peekable();
            if freed.freed && required.peek().is_some() && at.operators == 0 {
                let there = required.any(|required| at.ground.resources[required].present);
                watch.check(REQUIRED, !there);
            }
        }
        true
    }

    /// Answers a call of somebody who waits.
    fn answer(&self, at: &mut Working, which: usize, input: fn(u32) -> Input, moment: &mut Moment<'_>) {
        let call = at.ground.calls[which];
        if let Some(caller) = call.caller {
            self.tell(at, usize::from(caller), &input(call.operation), moment);
        }
    }

    /// What is left to a deadline.
    fn next(&self, at: &Working) -> Option<Millis> {
        let machines = at.executors.iter().filter_map(|executor| {
            let machine = executor.machine.get(&self.pool);
            machine.deadline().map(|due| due.at - machine.clock().now())
        });
        machines.chain(at.ground.calls.iter().filter_map(|call| call.left)).min()
    }

    fn journal(&self, state: &Kept) -> &Saga {
        self.pool.get(self.journals.get(state.journal).machine)
    }

    /// The steps whose effects are there, and matter.
    fn residue(&self, state: &Kept) -> impl Iterator<Item = usize> {
        let config = self.journal(state).config();
        let resources = &self.grounds.get(state.ground).resources;
        let pivot = config.steps.iter().position(|step| step.compensation == Compensation::Pivot);
        let matters = move |step: usize| {
            let behind = pivot.is_some_and(|pivot| comes_after(config, step, pivot));
            behind || config.steps[step].compensation != Compensation::Nothing
        };
        (0..config.steps.len()).filter(move |step| resources[*step].present && matters(*step))
    }

    /// What an operator may do.
    fn operate(&self, at: &Working, who: usize, actions: &mut Vec<Action>) {
        let machine = at.executors[who].machine.get(&self.pool);
        if machine.state() != "stuck" || at.operators >= self.bounds.operators {
            return;
        }
        for step in 0..at.ground.resources.len() as u32 {
            let tries = [
                (Input::Retry { step }, Action::Retry(who, step)),
                (Input::Resolve { step, present: false }, Action::Resolve(who, step, false)),
                (Input::Resolve { step, present: true }, Action::Resolve(who, step, true)),
            ];
            for (input, action) in tries {
                let mut tried = machine.clone();
                if tried.handle(machine.clock().now(), &input).is_ok() {
                    actions.push(action);
                }
            }
        }
    }
}

impl World for Recovery {
    type Whole = Working;
    type State = Kept;
    type Action = Action;

    fn start(&self) -> Vec<Working> {
        let whole = |config: &Config| {
            let saga = Saga::drawing(config.clone(), Random::Script(Vec::new()), 0).ok()?;
            let machine = Slot::new(saga);
            let resources = vec![Resource::default(); config.steps.len()];
            Some(Situation {
                journal: Loan::new(Journal { machine, last: None, torn: false, token: 0, cause: None }),
                executors: Vec::new(),
                ground: Loan::new(Ground { resources, calls: Vec::new() }),
                unsure: false,
                cancelled: false,
                faults: 0,
                crashes: 0,
                operators: 0,
            })
        };
        self.configs.iter().filter_map(whole).collect()
    }

    fn open(&self, state: &Kept) -> Working {
        let Journal { machine, last, torn, token, cause } = *self.journals.get(state.journal);
        let journal = Journal { machine: Slot::Kept(machine), last, torn, token, cause };
        let executing = |part: &Part<Executor<Part<Saga>>>| {
            let Executor { machine, token, append } = *self.executors.get(*part);
            Loan::of(Executor { machine: Slot::Kept(machine), token, append }, *part)
        };
        let executors = state.executors.iter().flatten().map(executing).collect();
        state.with(Loan::of(journal, state.journal), executors, self.grounds.lend(state.ground))
    }

    fn close(&self, whole: Working) -> Kept {
        let kept = whole.with((), (), ());
        let mut ground = whole.ground;
        let mut executors = [None; EXECUTORS];
        for ((who, executor), slot) in whole.executors.into_iter().enumerate().zip(&mut executors) {
            let keep = |Executor { machine, token, mut append }: Executor<Slot<Saga>>| {
                let own = |call: &&mut Call| call.caller == Some(who as u8);
                let calls = ground.calls.iter_mut().filter(own).map(|call| &mut call.operation);
                let append_operation = append.iter_mut().map(|(operation, _)| operation);
                let mut numbers: Vec<_> =
                    calls.chain(append_operation).map(|number| ("operation", number)).collect();
                Executor { machine: machine.keep(&self.pool, &mut numbers), token, append }
            };
            *slot = Some(executor.keep(&self.executors, keep));
        }
        let keep = |Journal { machine, last, torn, token, cause }: Journal<Slot<Saga>>| {
            let machine = machine.keep(&self.pool, &mut []);
            Journal { machine, last, torn, token, cause }
        };
        let journal = whole.journal.keep(&self.journals, keep);
        kept.with(journal, executors, ground.keep(&self.grounds, |ground| ground))
    }

    fn actions(&self, at: &Working, actions: &mut Vec<Action>) {
        let faulty = at.faults < self.bounds.faults;
        let phase = at.journal.machine.get(&self.pool).phase();
        let answered = at.ground.calls.iter().all(|call| call.caller.is_none());
        let written = at.executors.iter().all(|executor| executor.append.is_none());
        // Whoever is asked and does not fail answers in time.
        if answered && written && self.next(at).is_some() {
            actions.push(Action::Time);
        }
        for (who, executor) in at.executors.iter().enumerate() {
            let machine = executor.machine.get(&self.pool);
            let latest = executor.token == at.journal.token;
            if executor.append.is_some() {
                actions.push(Action::Append(who));
                if faulty && latest {
                    actions.extend([true, false].map(|made| Action::AppendFails(who, made)));
                }
            }
            if machine.state() == "halted" {
                actions.push(Action::Resume(who));
            }
            if at.crashes < self.bounds.crashes && !is_over(machine.phase()) {
                actions.push(Action::Crash(who, Fate::Lost));
                if executor.append.is_some() && latest {
                    actions.extend([Fate::Torn, Fate::Made].map(|fate| Action::Crash(who, fate)));
                }
            }
            if !at.cancelled && latest && machine.phase() == Phase::Running {
                actions.push(Action::Cancel(who));
            }
            self.operate(at, who, actions);
        }
        let alone = at.executors.is_empty();
        let room = at.executors.len() < EXECUTORS;
        if !is_over(phase) && room && (alone || at.crashes < self.bounds.crashes) {
            actions.push(Action::Boot);
        }
        for (which, call) in at.ground.calls.iter().enumerate() {
            match (call.caller, call.work) {
                (None, _) => actions.extend([Action::Land(which), Action::Vanish(which)]),
                (Some(_), Work::Verify) => {
                    actions.push(Action::Succeed(which));
                    if faulty {
                        actions.push(Action::Unsure(which, false));
                    }
                }
                (Some(_), work) => {
                    actions.push(Action::Succeed(which));
                    if faulty {
                        actions.extend([
                            Action::Fail(which),
                            Action::Unsure(which, true),
                            Action::Unsure(which, false),
                            Action::Hang(which),
                        ]);
                        if work == Work::Undo && self.settings(at, call.step).verify {
                            actions.push(Action::Lie(which));
                        }
                    }
                }
            }
        }
    }

    fn act(&self, at: &mut Working, action: &Action, moment: &mut Moment<'_>) -> bool {
        let fault = matches!(
            action,
            Action::AppendFails(..) | Action::Fail(_) | Action::Unsure(..) | Action::Hang(_) | Action::Lie(_)
        );
        at.faults += u8::from(fault);
        at.unsure |= matches!(action, Action::Unsure(..) | Action::Hang(_) | Action::Lie(_));
        match *action {
            Action::Time => {
                let Some(passed) = self.next(at) else { return false };
                for call in &mut at.ground.calls {
                    call.left = call.left.map(|left| left.saturating_sub(passed));
                }
                // Later than it may, it does not land.
                at.ground.calls.retain(|call| call.left != Some(0));
                for who in 0..at.executors.len() {
                    let machine = at.executors[who].machine.edit(&self.pool);
                    let answer = moment.tick(self.cells, who, machine, passed);
                    let effects = answer.map(|step| step.effects).unwrap_or_default();
                    self.start(at, who, &effects, moment);
                }
            }
            Action::Append(who) => {
                let executor = &mut at.executors[who];
                let Some((operation, entry)) = executor.append.take() else { return false };
                if executor.token < at.journal.token {
                    self.tell(at, who, &Input::Fenced { operation }, moment);
                } else {
                    self.write(at, entry, moment.watch);
                    self.tell(at, who, &Input::Done { operation }, moment);
                }
            }
            Action::AppendFails(who, made) => {
                let Some((operation, entry)) = at.executors[who].append.take() else { return false };
                if made {
                    self.write(at, entry, moment.watch);
                }
                self.tell(at, who, &Input::Failed { operation }, moment);
            }
            Action::Resume(who) => self.tell(at, who, &Input::Resume, moment),
            Action::Crash(who, fate) => {
                at.crashes += 1;
                if let (Some((_, entry)), Fate::Made) = (at.executors[who].append, fate) {
                    self.write(at, entry, moment.watch);
                }
                at.journal.torn |= fate == Fate::Torn;
                // What had begun, or may have, has no outcome.
                at.unsure = true;
                Self::leave(at, who);
            }
            Action::Boot => {
                at.crashes += u8::from(!at.executors.is_empty());
                at.unsure |= !at.executors.is_empty();
                at.journal.token += 1;
                let machine = Slot::new(at.journal.machine.get(&self.pool).clone());
                let token = at.journal.token;
                at.executors.push(Loan::new(Executor { machine, token, append: None }));
                let (who, torn) = (at.executors.len() - 1, std::mem::take(&mut at.journal.torn));
                if at.journal.last.is_some() {
                    self.tell(at, who, &Input::Recovered { torn }, moment);
                } else {
                    self.tell(at, who, &Input::Start, moment);
                }
            }
            Action::Succeed(which) => {
                let call = at.ground.calls[which];
                let landed = self.land(at, call, moment.watch);
                let present = at.ground.resources[usize::from(call.step)].present;
                self.answer(
                    at,
                    which,
                    match (call.work, landed) {
                        (Work::Verify, _) if present => |operation| Input::Present { operation },
                        (Work::Verify, _) => |operation| Input::Absent { operation },
                        (_, true) => |operation| Input::Done { operation },
                        (_, false) => |operation| Input::Failed { operation },
                    },
                    moment,
                );
                at.ground.calls.remove(which);
            }
            Action::Fail(which) => {
                self.answer(at, which, |operation| Input::Failed { operation }, moment);
                at.ground.calls.remove(which);
            }
            Action::Lie(which) => {
                self.answer(at, which, |operation| Input::Done { operation }, moment);
                at.ground.calls.remove(which);
            }
            Action::Unsure(which, landed) => {
                let call = at.ground.calls[which];
                if landed {
                    self.land(at, call, moment.watch);
                }
                self.answer(at, which, |operation| Input::Unknown { operation }, moment);
                if landed || call.work == Work::Verify {
                    at.ground.calls.remove(which);
                } else {
                    (at.ground.calls[which].caller, at.ground.calls[which].operation) = (None, 0);
                }
            }
            Action::Hang(which) => {
                (at.ground.calls[which].caller, at.ground.calls[which].operation) = (None, 0)
            }
            Action::Land(which) => {
                let call = at.ground.calls.remove(which);
                self.land(at, call, moment.watch);
            }
            Action::Vanish(which) => {
                at.ground.calls.remove(which);
            }
            Action::Cancel(who) => {
                at.cancelled = true;
                self.tell(at, who, &Input::Cancel, moment);
            }
            Action::Retry(who, step) => {
                at.operators += 1;
                self.tell(at, who, &Input::Retry { step }, moment);
            }
            Action::Resolve(who, step, present) => {
                at.operators += 1;
                // By hand: nothing is on its way any more. What is put there counts from its record on, before which
                // nobody could know of it.
                at.ground.calls.retain(|call| u32::from(call.step) != step);
                if !present {
                    at.ground.resources[step as usize].settle(false);
                }
                self.tell(at, who, &Input::Resolve { step, present }, moment);
            }
        }
        // Whose saga is over, or another's, exits.
        for who in (0..at.executors.len()).rev() {
            let phase = at.executors[who].machine.get(&self.pool).phase();
            let stays =
                matches!(phase, Phase::Stuck | Phase::Unfinished) && at.operators < self.bounds.operators;
            if (is_over(phase) && !stays) || phase == Phase::Fenced {
                if phase != Phase::Fenced {
                    let machine = at.executors[who].machine.get(&self.pool);
                    let journal = at.journal.machine.get(&self.pool);
                    let same = phase == journal.phase() && machine.leaked().eq(journal.leaked());
                    moment.watch.check(READABLE, same);
                }
                Self::leave(at, who);
            }
        }
        at.ground.calls.sort_unstable();
        true
    }

    fn properties(&self) -> Vec<&'static str> {
        vec![
            "P: committed means that every effect is there",
            "P: rolled back means that no effect is there, nor lands any more",
            "P: stuck names every effect that is left",
            "P: stuck names nothing else: what is certain is there, and without unknown outcomes all is certain",
            "G3: a key takes effect at most once",
            "G4: what starts is durable before, and of the latest executor",
            "G5: no do after an undo began, whoever executes",
            "G5: nothing is undone after what it was built on",
            "G6: nothing is freed while what must be gone first is there",
            "G8: a journal reads as what its executor knew",
            "G9: whoever is fenced does nothing more",
            "contract: an honest host is never refused",
            "G6: the first error stays the error, over crashes",
        ]
    }

    fn inspect(&self, state: &Self::State, watch: &mut Watch) {
        let journal = self.journal(state);
        match journal.phase() {
            Phase::Committed => {
                let resources = &self.grounds.get(state.ground).resources;
                watch.check(COMMITTED, resources.iter().all(|resource| resource.present))
            }
            Phase::RolledBack => watch.check(ROLLED_BACK, self.residue(state).next().is_none()),
            Phase::Stuck | Phase::Unfinished => {
                let named = |step: usize| journal.leaked().any(|(leaked, _)| leaked as usize == step);
                watch.check(NAMED, self.residue(state).all(named));
            }
            _ => {}
        }
    }

    fn may_end(&self, state: &Self::State) -> bool {
        is_over(self.journal(state).phase())
    }

    fn fairness(&self, action: &Action) -> Option<u8> {
        match action {
            Action::Time
            | Action::Append(_)
            | Action::Resume(_)
            | Action::Boot
            | Action::Succeed(_)
            | Action::Land(_)
            | Action::Vanish(_) => Some(0),
            _ => None,
        }
    }

    fn liveness(&self) -> Vec<LeadsTo<Explored<Self>>> {
        let fairness = Fairness { weak: 1, strong: 0 };
        vec![LeadsTo {
            name: "P: after finitely many faults every saga is committed, rolled back or stuck",
            concerns: |model, state| model.0.journals.get(state.journal).last.is_some(),
            goal: |model, state| is_over(model.0.journal(state).phase()),
            fairness,
        }]
    }

    fn cells(&self) -> usize {
        self.cells.count()
    }

    fn transitions(&self) -> Vec<Transition> {
        transitions::<Saga>().collect()
    }

    fn describe(&self, _: &Working) -> Vec<Described> {
        Vec::new()
    }

    fn show(&self, at: &Working) -> String {
        let journal = at.journal.machine.get(&self.pool);
        let executors: Vec<String> = at
            .executors
            .iter()
            .map(|executor| {
                let machine = executor.machine.get(&self.pool);
                format!("{} ({}): {:?}", executor.token, machine.state(), machine.explain().waits_for)
            })
            .collect();
        let leaked: Vec<_> = journal.leaked().collect();
        format!(
            "journal {:?} {leaked:?}, last {:?}; {executors:?}; {:?}; {:?}",
            journal.phase(),
            at.journal.last,
            at.ground.resources,
            at.ground.calls
        )
    }
}

/// A row, the gateway that it stands for, and the route to that gateway, which must be gone before it is freed.
fn allocation() -> Config {
    saga::saga(vec![
        SagaStep { retries: 1, idempotent: true, fenced: true, ..step("row", &[]) },
        SagaStep {
            verify: true,
            lateness: Some(100),
            undo_requires: vec!["route".into()],
            fallback: true,
            ..step("gateway", &["row"])
        },
        SagaStep { undo_retries: 1, ..step("route", &["gateway"]) },
    ])
}

/// The configs and the bounds at a size, with the latter in words.
#[must_use]
pub fn bounds(size: Size) -> (&'static str, (Vec<Config>, Bounds)) {
    match size {
        Size::Small => (
            "a list of 2 steps; ≤ 1 fault, 1 crash or takeover; cancelled at any time",
            (vec![saga::routed()], Bounds { faults: 1, crashes: 1, operators: 0 }),
        ),
        Size::Quick => (
            "lists of 3 steps with a requirement, with a pivot; ≤ 1 fault, 1 crash or takeover; cancelled at any time",
            (vec![allocation(), saga::pivoted()], Bounds { faults: 1, crashes: 1, operators: 0 }),
        ),
        Size::Full => (
            "lists of 3 steps with a requirement, with a pivot, a diamond; ≤ 2 faults, 2 crashes or takeovers, 1 operator's \
             input; cancelled at any time",
            (
                vec![allocation(), saga::pivoted(), saga::diamond()],
                Bounds { faults: 2, crashes: 2, operators: 1 },
            ),
        ),
    }
}
