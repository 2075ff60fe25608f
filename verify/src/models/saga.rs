//! Saga (G1–G7, G9), with a host, a journal and resources that may do anything: every answer to every operation, every
//! record in every journal of a few.
//!
//! What comes of it in a world that keeps its promises is proved in [`super::recovery`].

use tidegate::backoff::{Jitter, Policy};
use tidegate::saga::{
    Compensation, Config, Effect, Input, LeakReason, Phase, Saga, SagaCause, SagaRecord, SagaStep,
};
use tidegate::{Millis, Name, Rules};

use crate::alone::{Alone, AloneWorld, Cause, Seen};
use crate::explore::Watch;
use crate::models::Size;
use crate::world::numbers_of;

/// The most steps of a model's saga.
const STEPS: usize = 4;
/// How long a rollback may take.
const DEADLINE: Millis = 600;
/// Longer ago than anything matters: a saga that is halted in its rollback stays so for ever.
const LONG: Millis = DEADLINE + 100;
/// The most records of a foreign journal, and the most steps of a saga that is given one.
const JOURNAL: u64 = 4;
const SHORT: usize = 1;

/// What an executor asks of the resource that a step works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Work {
    /// To have its effect.
    Do,
    /// To take it back.
    Undo,
    /// To make it safe where it cannot be taken back.
    FallBack,
    /// To say whether it is there.
    Verify,
}

/// Whether a saga has ended.
#[must_use]
pub fn is_over(phase: Phase) -> bool {
    matches!(phase, Phase::Committed | Phase::RolledBack | Phase::Stuck | Phase::Unfinished)
}

/// What became of a step, as its host has seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Trace {
    /// A do was begun.
    begun: bool,
    /// It is done, or an operator says so.
    done: bool,
    /// The last attempt certainly had no effect.
    clean: bool,
    /// It is unknown what an attempt did.
    doubt: bool,
    /// An undo or a fallback was begun.
    undoing: bool,
    /// The journal says that the effect is gone.
    gone: bool,
    /// The journal says that nothing more is made of it.
    over: bool,
    /// The operation that is under way, and what is left of its limit.
    busy: u32,
    left: Millis,
}

/// A record: its kind, its step, its attempt.
type Written = (SagaRecord, Option<u32>, u32);

/// What the host has seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Host {
    steps: [Trace; STEPS],
    /// The append under way, what is left of its limit, and what it says.
    appending: u32,
    left: Millis,
    record: Option<Written>,
    /// The first error that was reported.
    cause: Option<(SagaCause, Option<u32>, u32)>,
    /// How long ago the rollback began.
    unwinding: Option<Millis>,
    /// Inputs of operators that were taken.
    operators: u8,
    /// It goes on from a journal, of whose saga the host has seen nothing.
    replayed: bool,
}

impl Alone for Saga {
    type Observer = Host;
    const PROPERTIES: &'static [&'static str] = &[
        "G1: a do only when all before it are done, one attempt at a time",
        "G2: tried again only after no effect, or by its key",
        "G4: what starts or ends was made durable in this very step",
        "G4: nothing starts while the journal fails",
        "G4: one record under way at a time",
        "G5: no do after an undo began",
        "G5: nothing is undone before what was built on it",
        "G6: the first error stays the error",
        "G6: an undo only when what it requires is gone, else its fallback",
        "G7: after the rollback deadline no undo begins",
        "G7: stuck says each leak once, and rolled back has none",
        "G1: once the pivot is done nothing is undone",
        "G8: who refused a journal does nothing more",
        "G9: a fenced executor does nothing more",
        "G2: a late or second answer changes nothing",
        "P: committed only when every step is done",
    ];
    const GRAIN: Millis = 100;
    const REST: &'static [Millis] = &[100];

    fn remembered(host: &mut Host) -> Vec<(&'static str, &mut u32)> {
        let busy = host.steps.iter_mut().map(|step| &mut step.busy);
        busy.chain([&mut host.appending]).map(|operation| ("operation", operation)).collect()
    }

    fn inputs(&self, host: &Host, bound: u32, inputs: &mut Vec<Input>) {
        inputs.extend([Input::Start, Input::Cancel, Input::Resume]);
        inputs.extend([false, true].map(|torn| Input::Recovered { torn }));
        for operation in numbers_of(self, "operation").all() {
            inputs.extend([
                Input::Done { operation },
                Input::Failed { operation },
                Input::Unknown { operation },
                Input::Present { operation },
                Input::Absent { operation },
                Input::Fenced { operation },
            ]);
        }
        let steps = self.config().steps.len() as u32;
        // Each one that is taken lets the saga begin anew, so they are bounded.
        let first = if u32::from(host.operators) < bound { 0 } else { steps };
        for step in first..=steps {
            inputs.push(Input::Retry { step });
            inputs.extend([false, true].map(|present| Input::Resolve { step, present }));
        }
        self.records(inputs);
    }

    fn observe(host: &mut Host, seen: &Seen<'_, Self>, first: usize, watch: &mut Watch) {
        let Ok(step) = seen.answer else { return };
        let durable = match &seen.cause {
            Cause::Input(input) => host.hear(input, seen, first, watch),
            Cause::Time(passed) => {
                host.pass(*passed);
                None
            }
        };
        match seen.before.state() {
            "refused" => watch.check(first + 12, step.effects.is_empty()),
            "fenced" => watch.check(first + 13, step.effects.is_empty()),
            _ => {}
        }
        for effect in &step.effects {
            host.carry(effect, seen, durable, first, watch);
        }
        match seen.after.state() {
            "unwinding" => {
                host.unwinding.get_or_insert(0);
            }
            "recovering" => host.replayed = true,
            "halted" => (host.appending, host.left, host.record) = (0, 0, None),
            "stuck" => host.unwinding = None,
            "committed" | "rolled-back" | "fenced" | "refused" => *host = Host::default(),
            _ => {}
        }
    }
}

/// What is worth telling apart in a journal.
trait Journal {
    /// Records that may come next.
    fn records(&self, inputs: &mut Vec<Input>);
}

impl Journal for Saga {
    fn records(&self, inputs: &mut Vec<Input>) {
        let config = self.config();
        let steps = config.steps.len();
        let sequence = self.sequence() + 1;
        let record = |kind, step, attempt, value| Input::Replay { sequence, kind, step, attempt, value };
        let reads = matches!(self.state(), "idle" | "recovering");
        inputs.push(Input::Replay {
            sequence: sequence + 1,
            kind: SagaRecord::Done,
            step: Some(0),
            attempt: 1,
            value: 0,
        });
        if !reads || steps > SHORT || sequence > JOURNAL {
            inputs.push(record(SagaRecord::Started, None, 0, 1));
            return;
        }
        inputs.push(record(SagaRecord::Started, None, 0, 1));
        inputs.push(record(SagaRecord::Started, None, 0, definition(config)));
        inputs.push(record(SagaRecord::Committed, None, 0, 0));
        for cause in [SagaCause::StepFailed, SagaCause::Cancelled] {
            let step = (cause == SagaCause::StepFailed).then_some(0);
            for kind in [SagaRecord::Unwinding, SagaRecord::RolledBack, SagaRecord::Stuck] {
                inputs.push(record(kind, step, u32::from(step.is_some()), u64::from(cause.index())));
            }
        }
        for step in (0..steps as u32).map(Some) {
            for attempt in [1, 2] {
                inputs.extend([
                    record(SagaRecord::Intent, step, attempt, 0),
                    record(SagaRecord::Done, step, attempt, 0),
                    record(SagaRecord::Failed, step, attempt, 0),
                    record(SagaRecord::Unknown, step, attempt, 0),
                    record(SagaRecord::UndoIntent, step, attempt, 0),
                    record(SagaRecord::UndoFailed, step, attempt, 0),
                    record(SagaRecord::FallbackIntent, step, attempt, 0),
                ]);
            }
            inputs.extend([
                record(SagaRecord::Undone, step, 1, 0),
                record(SagaRecord::FellBack, step, 1, 0),
                record(SagaRecord::Leaked, step, 1, u64::from(LeakReason::UndoFailed.index())),
                record(SagaRecord::Retried, step, 0, 0),
                record(SagaRecord::Resolved, step, 0, 0),
                record(SagaRecord::Resolved, step, 0, 1),
            ]);
        }
    }
}

/// What the saga of a config calls itself in its journal.
fn definition(config: &Config) -> u64 {
    use tidegate::Machine;
    let saga = Saga::new(config.clone(), 0, 0);
    let begun = saga.ok().and_then(|mut saga| saga.handle(0, &Input::Start).ok());
    let said = begun.into_iter().flat_map(|step| step.effects).find_map(|effect| match effect {
        Effect::Append { value, .. } => Some(value),
        _ => None,
    });
    said.unwrap_or(0)
}

impl Host {
    fn pass(&mut self, passed: Millis) {
        self.unwinding = self.unwinding.map(|ago| (ago + passed).min(LONG));
        for trace in &mut self.steps {
            trace.left = trace.left.saturating_sub(passed);
            if trace.busy != 0 && trace.left == 0 {
                // It has had its time.
                trace.busy = 0;
                trace.doubt |= !trace.undoing;
            }
        }
    }

    /// What an input that was taken means; which record it made durable.
    fn hear(
        &mut self,
        input: &Input,
        seen: &Seen<'_, Saga>,
        first: usize,
        watch: &mut Watch,
    ) -> Option<Written> {
        match *input {
            Input::Done { operation }
            | Input::Failed { operation }
            | Input::Unknown { operation }
            | Input::Present { operation }
            | Input::Absent { operation }
            | Input::Fenced { operation } => {
                if operation == self.appending && operation != 0 {
                    (self.appending, self.left) = (0, 0);
                    let record = self.record.take().filter(|_| matches!(input, Input::Done { .. }));
                    if let Some((kind, Some(step), _)) = record {
                        let trace = &mut self.steps[step as usize];
                        let left = matches!(kind, SagaRecord::FellBack | SagaRecord::Leaked);
                        trace.gone |= kind == SagaRecord::Undone;
                        trace.over |= kind == SagaRecord::Undone || left;
                    }
                    return record;
                }
                let Some(trace) = self.steps.iter_mut().find(|trace| trace.busy == operation) else {
                    let effects = seen.answer.as_ref().map_or(0, |step| step.effects.len());
                    watch.check(first + 14, effects == 0 && seen.before == seen.after);
                    return None;
                };
                (trace.busy, trace.left) = (0, 0);
                if !trace.undoing {
                    trace.done |= matches!(input, Input::Done { .. } | Input::Present { .. });
                    trace.clean = matches!(input, Input::Failed { .. } | Input::Absent { .. });
                    trace.doubt |= matches!(input, Input::Unknown { .. });
                    trace.doubt &= !trace.done && !matches!(input, Input::Absent { .. });
                }
            }
            Input::Retry { step } => {
                self.operators += 1;
                let trace = &mut self.steps[step as usize];
                (trace.gone, trace.over) = (false, false);
            }
            Input::Resolve { step, present } => {
                self.operators += 1;
                let trace = &mut self.steps[step as usize];
                if trace.over {
                    trace.gone = true;
                } else {
                    (trace.done, trace.clean, trace.doubt) = (present, !present, false);
                }
            }
            _ => {}
        }
        None
    }

    /// Judges an effect and carries it out.
    fn carry(
        &mut self,
        effect: &Effect,
        seen: &Seen<'_, Saga>,
        durable: Option<Written>,
        first: usize,
        watch: &mut Watch,
    ) {
        let config = seen.after.config();
        let recovers = matches!(seen.cause, Cause::Input(Input::Recovered { .. }));
        let begins = |kind, step, attempt| durable == Some((kind, Some(step), attempt));
        let ends = |kind| recovers || durable.is_some_and(|(written, ..)| written == kind);
        match *effect {
            Effect::Append { operation, kind, step, attempt, limit, .. } => {
                watch.check(first + 4, self.appending == 0);
                (self.appending, self.left) = (operation, limit);
                self.record = Some((kind, step, attempt));
            }
            Effect::Do { operation, step, attempt, limit } => {
                watch.check(first + 2, begins(SagaRecord::Intent, step, attempt));
                watch.check(first + 3, seen.after.state() != "halted");
                watch.check(first + 5, !self.steps.iter().any(|trace| trace.undoing));
                let at = step as usize;
                if !self.replayed {
                    let ready = before(config, at).all(|before| self.steps[before].done);
                    watch.check(first, ready && self.steps[at].busy == 0);
                    if self.steps[at].begun {
                        let certain = self.steps[at].clean && !self.steps[at].doubt;
                        watch.check(first + 1, certain || config.steps[at].idempotent);
                    }
                }
                let trace = &mut self.steps[at];
                (trace.begun, trace.clean) = (true, false);
                (trace.busy, trace.left) = (operation, limit);
            }
            Effect::Undo { operation, step, attempt, limit } => {
                watch.check(first + 2, begins(SagaRecord::UndoIntent, step, attempt));
                watch.check(first + 3, seen.after.state() != "halted");
                self.undo(step as usize, operation, limit, (config, true), first, watch);
            }
            Effect::FallBack { operation, step, attempt, limit } => {
                watch.check(first + 2, begins(SagaRecord::FallbackIntent, step, attempt));
                watch.check(first + 3, seen.after.state() != "halted");
                self.undo(step as usize, operation, limit, (config, false), first, watch);
            }
            Effect::Verify { operation, step, limit } => {
                let trace = &mut self.steps[step as usize];
                (trace.busy, trace.left) = (operation, limit);
            }
            Effect::Unwinding { cause, step, attempt } => self.blame((cause, step, attempt), first, watch),
            Effect::RolledBack { cause, step, attempt } => {
                watch.check(first + 2, ends(SagaRecord::RolledBack));
                watch.check(first + 10, seen.after.leaked().next().is_none());
                self.blame((cause, step, attempt), first, watch);
            }
            Effect::Stuck { cause, step, attempt, leaked } => {
                watch.check(first + 2, ends(SagaRecord::Stuck));
                let reported = |effect: &&Effect| matches!(effect, Effect::Leaked { .. });
                let effects = seen.answer.iter().flat_map(|step| &step.effects);
                let named = seen.after.leaked().count();
                watch
                    .check(first + 10, effects.filter(reported).count() == named && leaked as usize == named);
                self.blame((cause, step, attempt), first, watch);
            }
            Effect::Committed => {
                let all = self.steps.iter().take(config.steps.len()).all(|trace| trace.done);
                watch.check(first + 15, self.replayed || all);
                watch.check(first + 2, ends(SagaRecord::Committed));
            }
            _ => {}
        }
    }

    fn undo(
        &mut self,
        step: usize,
        operation: u32,
        limit: Millis,
        (config, frees): (&Config, bool),
        first: usize,
        watch: &mut Watch,
    ) {
        let in_time = self.unwinding.is_none_or(|ago| ago <= config.rollback_deadline);
        watch.check(first + 9, in_time);
        if !self.replayed && self.operators == 0 {
            for later in (0..config.steps.len()).filter(|later| comes_after(config, *later, step)) {
                let trace = self.steps[later];
                let nothing = !trace.begun || (trace.clean && !trace.doubt);
                let harmless = config.steps[later].compensation == Compensation::Nothing;
                watch.check(first + 6, trace.busy == 0 && (trace.over || nothing || harmless));
            }
            let gone = |trace: Trace| trace.gone || !trace.begun || (trace.clean && !trace.doubt);
            let required = config.steps[step].undo_requires.iter().filter_map(|name| place(config, name));
            let mut required = required.map(|required| gone(self.steps[required])).peekable();
            if required.peek().is_some() {
                watch.check(first + 8, required.all(|gone| gone) == frees);
            }
            let pivot = config.steps.iter().position(|step| step.compensation == Compensation::Pivot);
            if let Some(pivot) = pivot {
                watch.check(first + 11, !self.steps[pivot].done);
            }
        }
        let trace = &mut self.steps[step];
        (trace.undoing, trace.busy, trace.left) = (true, operation, limit);
    }

    fn blame(&mut self, cause: (SagaCause, Option<u32>, u32), first: usize, watch: &mut Watch) {
        // Where there is only forward, an operator may have settled the first one.
        watch.check(first + 7, self.operators > 0 || self.cause.is_none_or(|known| known == cause));
        self.cause.get_or_insert(cause);
    }
}

pub(super) fn place(config: &Config, name: &str) -> Option<usize> {
    config.steps.iter().position(|step| step.name == name)
}

/// The steps that this one comes after, at once.
pub(super) fn before(config: &Config, step: usize) -> impl Iterator<Item = usize> + '_ {
    config.steps[step].after.iter().filter_map(|name| place(config, name))
}

/// Whether a step was built on another one.
pub(super) fn comes_after(config: &Config, step: usize, other: usize) -> bool {
    before(config, step).any(|before| before == other || comes_after(config, before, other))
}

/// A step with short times.
pub(super) fn step(name: &str, after: &[&str]) -> SagaStep {
    SagaStep {
        name: name.into(),
        after: after.iter().map(|name| (*name).into()).collect(),
        backoff: Policy { initial: 100, cap: 100, floor: 100, jitter: Jitter::None, ..Policy::default() },
        limit: 100,
        undo_retries: 0,
        undo_limit: 100,
        verify_limit: 100,
        ..SagaStep::default()
    }
}

pub(super) fn saga(steps: Vec<SagaStep>) -> Config {
    Config { steps, rollback_deadline: DEADLINE, append_limit: 100 }
}

/// A fenced step that is tried again by its key, a pivot that can be probed, and one that only goes forward.
pub(super) fn pivoted() -> Config {
    saga(vec![
        SagaStep { retries: 1, idempotent: true, fenced: true, ..step("row", &[]) },
        SagaStep { compensation: Compensation::Pivot, verify: true, ..step("switch", &["row"]) },
        SagaStep { compensation: Compensation::Nothing, retries: 1, ..step("tell", &["switch"]) },
    ])
}

/// A gateway whose route must be gone before it is freed; of which a late do is found by a probe. Of a route nobody
/// knows when it lands.
pub(super) fn routed() -> Config {
    saga(vec![
        SagaStep {
            verify: true,
            lateness: Some(100),
            undo_requires: vec!["route".into()],
            fallback: true,
            ..step("gateway", &[])
        },
        SagaStep { undo_retries: 1, ..step("route", &["gateway"]) },
    ])
}

/// A pivot that is tried again by its key, alone.
fn pivot() -> Config {
    saga(vec![SagaStep {
        compensation: Compensation::Pivot,
        retries: 1,
        idempotent: true,
        ..step("switch", &[])
    }])
}

/// A step that is undone and probed, alone.
fn single() -> Config {
    saga(vec![SagaStep { verify: true, lateness: Some(100), undo_retries: 1, ..step("row", &[]) }])
}

/// Two steps beside each other, of which one leaves nothing behind: its end is written down while the other is undone,
/// so the journal may fail during an undo. Whose undo failed is to be undone again only when the rollback has had its
/// time.
fn beside() -> Config {
    let long = Policy { initial: 300, cap: 300, ..step("", &[]).backoff };
    let row = SagaStep { undo_retries: 1, backoff: long, ..step("row", &[]) };
    let tell = SagaStep { compensation: Compensation::Nothing, ..step("tell", &[]) };
    Config { rollback_deadline: 200, ..saga(vec![row, tell]) }
}

/// Two steps beside each other between two others.
pub(super) fn diamond() -> Config {
    saga(vec![
        SagaStep { fenced: true, ..step("top", &[]) },
        SagaStep { fenced: true, ..step("left", &["top"]) },
        SagaStep { compensation: Compensation::Nothing, ..step("right", &["top"]) },
        SagaStep { fenced: true, ..step("bottom", &["left", "right"]) },
    ])
}

/// The configs at a size.
#[must_use]
pub fn configs(size: Size) -> Vec<Config> {
    let lists = [single(), pivot(), beside(), routed(), pivoted()];
    let more = (size == Size::Full).then(diamond);
    lists.into_iter().chain(more).collect()
}

/// The world at a size, with its bounds.
#[must_use]
pub fn world(size: Size) -> (&'static str, AloneWorld<Saga>) {
    let (bounds, operators) = match size {
        Size::Small => (
            "any host and resource; lists of 1, 2 and 3 steps; journals ≤ 4 records of 1 step; no operator",
            0,
        ),
        Size::Quick => (
            "any host and resource; lists of 1, 2 and 3 steps; journals ≤ 4 records of 1 step; ≤ 1 operator's input",
            1,
        ),
        Size::Full => (
            "any host and resource; lists of 1, 2 and 3 steps, a diamond; journals ≤ 4 records of 1 step; ≤ 1 operator's \
             input",
            1,
        ),
    };
    (bounds, AloneWorld::bounded(configs(size), operators))
}
