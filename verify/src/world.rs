//! Models over the shipping machines.
//!
//! A [`World`] is machines and their surroundings, in plain values, and what may happen to them. [`Explored`]
//! makes a [`Model`] of it:
//!
//! * **Draws** are choices. A step runs with a script of draws; wherever it drew, it runs again with every other
//!   draw (least, middle, greatest), so each way that chance can fall is an action of its own.
//! * **Times** are relative to now: every machine is rebased to zero after every step.
//! * **Numbers** of operations and connections are compacted, in order, over the machine and its surroundings
//!   together. One that is gone leaves a trace: the number 1 is free for it, as a late answer may still come.
//!
//! An action is known by its place among the actions of its situation. A situation whose times and numbers nobody
//! touched has the same actions in the same places, so a way through the graph can be replayed there: that is where
//! scripts for people and for `vectors/` come from.

use std::fmt::Debug;
use std::hash::Hash;

use tidegate::{Draw, Machine, Message, Millis, Name, NameSpec, Random, Rejection, StepOf};

use crate::explore::{Model, Watch};
use crate::liveness::LeadsTo;
use crate::pool::{Part, Pool};
use crate::vectors::Described;

/// A machine that can be explored.
pub trait Subject:
    Machine<Config: Send + Sync + serde::Serialize, Input: Send + Sync> + Send + Sync + 'static
{
    /// The names of its states.
    const STATES: NameSpec;
    /// Which of them it is in.
    fn place(&self) -> usize;
    /// Whether a snapshot brings back the very same machine; not where a rule says that it comes back as another.
    fn comes_back_as_it_was(&self) -> bool {
        true
    }
}

/// What the vectors need to know about a machine.
pub fn described<M: Subject>(which: usize, machine: &M) -> Described {
    let config = serde_json::to_value(machine.config()).unwrap_or_default();
    let usual = serde_json::to_value(M::Config::default()).unwrap_or_default();
    Described { who: (M::NAME, which), config: camel(unusual(config, &usual)), inputs: M::Input::VARIANTS }
}

/// What of a config is not the default.
fn unusual(value: serde_json::Value, usual: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    let Value::Object(fields) = value else { return value };
    let differs = |(name, value): (String, Value)| {
        let usual = usual.get(&name).unwrap_or(&Value::Null);
        (value != *usual).then(|| (name, unusual(value, usual)))
    };
    Value::Object(fields.into_iter().filter_map(differs).collect())
}

fn camel(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            let outward = |(name, value): (String, Value)| {
                (tidegate_boundary::Case::Camel.outward(&name), camel(value))
            };
            Value::Object(fields.into_iter().map(outward).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(camel).collect()),
        other => other,
    }
}

/// Declares subjects.
#[macro_export]
macro_rules! subjects {
    ($($Machine:ty, $State:ty, $place:expr);* $(;)?) => {
        $(impl $crate::world::Subject for $Machine {
            const STATES: tidegate::NameSpec = <$State as tidegate::Name>::SPEC;
            fn place(&self) -> usize {
                let place: fn(&Self) -> $State = $place;
                usize::from(tidegate::Name::index(place(self)))
            }
        })*
    };
}

/// The cells of coverage of one machine: state × (input type or timer) × (next state, or refused).
#[derive(Debug, Clone, Copy)]
pub struct Cells {
    first: usize,
    states: usize,
    inputs: usize,
    timers: usize,
}

impl Cells {
    /// Those of a machine, from a first number on.
    #[must_use]
    pub fn of<M: Subject>(first: usize) -> Self {
        Self {
            first,
            states: M::STATES.values.len(),
            inputs: M::Input::VARIANTS.len(),
            timers: M::Why::ALL.len(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.states * (self.inputs + self.timers) * (self.states + 1)
    }

    /// The number after the last.
    #[must_use]
    pub fn end(&self) -> usize {
        self.first + self.count()
    }

    fn cell(&self, from: usize, label: usize, to: Option<usize>) -> usize {
        self.first
            + (from * (self.inputs + self.timers) + label) * (self.states + 1)
            + to.unwrap_or(self.states)
    }
}

/// One transition of a machine, as coverage sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Transition {
    /// The machine.
    pub machine: &'static str,
    /// The state before it.
    pub from: &'static str,
    /// The input's type, or the timer's name.
    pub label: &'static str,
    /// Whether the label is a timer's.
    pub timer: bool,
    /// The state after it; none when the input was refused.
    pub to: Option<&'static str>,
}

/// The transitions of a machine, by the order of its cells.
pub fn transitions<M: Subject>() -> impl Iterator<Item = Transition> {
    let states = || M::STATES.values.iter().map(|(name, _)| *name);
    let labels = || {
        let inputs = M::Input::VARIANTS.iter().map(|variant| (variant.name, false));
        inputs.chain(M::Why::ALL.iter().map(|why| (why.as_str(), true)))
    };
    states().flat_map(move |from| {
        labels().flat_map(move |(label, timer)| {
            let tos = states().map(Some).chain([None]);
            tos.map(move |to| Transition { machine: M::NAME, from, label, timer, to })
        })
    })
}

/// One call of a machine, as it was made.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which of the model's machines: its kind and its place among those of its kind.
    pub who: (&'static str, usize),
    /// The host's time.
    pub at: Millis,
    /// The input by its tag and words; none for a tick.
    pub input: Option<(u16, Vec<u64>)>,
    /// How its draws fell.
    pub draws: Vec<Draw>,
    /// For people.
    pub text: String,
    /// The answer, for people.
    pub answer: String,
    /// The state after it.
    pub state: &'static str,
}

/// One step while it is being made: its draws, its findings, its record.
pub struct Moment<'a> {
    /// Where properties say what they found.
    pub watch: &'a mut Watch,
    draws: Vec<Draw>,
    used: usize,
    calls: Option<Vec<Call>>,
}

/// More draws than any step takes.
const MOST_DRAWS: usize = 8;

impl<'a> Moment<'a> {
    /// A step whose draws fall like this; where there are more they are the least.
    pub fn new(watch: &'a mut Watch, draws: Vec<Draw>, record: bool) -> Self {
        Self { watch, draws, used: 0, calls: record.then(Vec::new) }
    }

    /// The step's draws.
    #[must_use]
    pub fn draws(&self) -> &[Draw] {
        &self.draws
    }

    /// The calls that were made.
    #[must_use]
    pub fn into_calls(self) -> Vec<Call> {
        self.calls.unwrap_or_default()
    }

    /// Gives an input to a machine, now.
    ///
    /// # Errors
    /// The machine's rejection.
    pub fn handle<M: Subject>(
        &mut self,
        cells: Cells,
        which: usize,
        machine: &mut M,
        input: &M::Input,
    ) -> Result<StepOf<M>, Rejection> {
        let now = machine.clock().now();
        let from = machine.place();
        let used = self.used;
        let answer = self.drawing(machine, |machine| machine.handle(now, input));
        let to = answer.is_ok().then(|| machine.place());
        self.watch.cover(cells.cell(from, usize::from(input.tag()), to));
        if let Some(calls) = &mut self.calls {
            let words = input.words();
            calls.push(Call {
                who: (M::NAME, which),
                at: now,
                input: Some((input.tag(), words.as_slice().to_vec())),
                draws: self.draws.get(used..self.used).unwrap_or(&[]).to_vec(),
                text: format!("{input:?}"),
                answer: said::<M>(&answer),
                state: machine.state(),
            });
        }
        answer
    }

    /// Lets a machine see that time has passed.
    ///
    /// # Errors
    /// Never, at the times of a model.
    pub fn tick<M: Subject>(
        &mut self,
        cells: Cells,
        which: usize,
        machine: &mut M,
        time: Millis,
    ) -> Result<StepOf<M>, Rejection> {
        let now = machine.clock().now() + time;
        let from = machine.place();
        let due = machine.deadline().filter(|deadline| deadline.at <= now);
        let used = self.used;
        let answer = self.drawing(machine, |machine| machine.tick(now));
        if let Some(due) = due {
            let label = cells.inputs + usize::from(due.why.index());
            self.watch.cover(cells.cell(from, label, Some(machine.place())));
        }
        if let Some(calls) = &mut self.calls {
            let text =
                due.map_or("tick, with nothing due".into(), |due| format!("tick ({})", due.why.as_str()));
            calls.push(Call {
                who: (M::NAME, which),
                at: now,
                input: None,
                draws: self.draws.get(used..self.used).unwrap_or(&[]).to_vec(),
                text,
                answer: said::<M>(&answer),
                state: machine.state(),
            });
        }
        answer
    }

    /// Runs `call` with the step's next draws.
    fn drawing<M: Subject, R>(&mut self, machine: &mut M, call: impl FnOnce(&mut M) -> R) -> R {
        let chosen = self.draws.get(self.used..).unwrap_or(&[]);
        let mut script = [Draw::Min; MOST_DRAWS];
        script.iter_mut().zip(chosen).for_each(|(slot, draw)| *slot = *draw);
        let Some(random) = machine.random() else { return call(machine) };
        *random = Random::scripted(&script);
        let answer = call(machine);
        if let Some(random) = machine.random() {
            if let Random::Script(left) = random {
                self.used += MOST_DRAWS - left.len();
                if self.used > self.draws.len() {
                    self.draws.resize(self.used, Draw::Min);
                }
            }
            *random = Random::Script(Vec::new());
        }
        answer
    }
}

fn said<M: Machine>(answer: &Result<StepOf<M>, Rejection>) -> String {
    match answer {
        Ok(step) => {
            let deadline = step
                .deadline
                .map_or("nothing".into(), |deadline| format!("{} at {}", deadline.why.as_str(), deadline.at));
            format!("{:?}, waits for {deadline}", step.effects)
        }
        Err(rejection) => format!("refused: {}", rejection.code.as_str()),
    }
}

/// The next way in which the draws of a step can fall; false when all have been.
fn advance(draws: &mut Vec<Draw>) -> bool {
    while let Some(draw) = draws.pop() {
        let next = match draw {
            Draw::Min => Draw::Mid,
            Draw::Mid => Draw::Max,
            Draw::Max => continue,
        };
        draws.push(next);
        return true;
    }
    false
}

/// A machine of a world: kept in the pool until it is touched.
#[derive(Debug, Clone)]
pub enum Slot<M> {
    /// As it is in the pool.
    Kept(Part<M>),
    /// On its own.
    Own(Box<M>),
}

impl<M: Subject> Slot<M> {
    /// A machine of its own.
    #[must_use]
    pub fn new(machine: M) -> Self {
        Self::Own(Box::new(machine))
    }

    /// To look at.
    pub fn get<'a>(&'a self, pool: &'a Pool<M>) -> &'a M {
        match self {
            Self::Kept(part) => pool.get(*part),
            Self::Own(machine) => machine,
        }
    }

    /// To change.
    pub fn edit(&mut self, pool: &Pool<M>) -> &mut M {
        if let Self::Kept(part) = self {
            *self = Self::new(pool.get(*part).clone());
        }
        match self {
            Self::Own(machine) => machine,
            Self::Kept(_) => unreachable!("it was just taken out of the pool"),
        }
    }

    /// Back into the pool, in the one form that stands for all that are alike; with the numbers that its
    /// surroundings still know. What has not been touched stays as it is.
    pub fn keep(self, pool: &Pool<M>, numbers: &mut [(&'static str, &mut u32)]) -> Part<M> {
        match self {
            Self::Kept(part) => part,
            Self::Own(mut machine) => {
                canonical(machine.as_mut(), numbers);
                pool.part(*machine)
            }
        }
    }
}

/// The most series of numbers that a machine and its surroundings have, and the most numbers of each.
const SERIES: usize = 3;
const NUMBERS: usize = 24;

/// The numbers of one series: in order, each once.
#[derive(Clone, Copy, Default)]
struct Series {
    name: &'static str,
    numbers: [u32; NUMBERS],
    count: usize,
}

/// Those of the series of this name.
fn series<'s>(all: &'s mut [Series; SERIES], name: &str) -> &'s mut Series {
    // Mostly it is the very same name, and need not be read.
    let same = |known: &str| std::ptr::eq(known, name) || known == name;
    let at = all.iter().position(|series| series.count == 0 || same(series.name));
    let Some(series) = at.map(|at| &mut all[at]) else {
        unreachable!("more than {SERIES} series of numbers")
    };
    series
}

impl Series {
    fn note(&mut self, name: &'static str, number: u32) {
        let known = &self.numbers[..self.count];
        let at = known.iter().position(|known| *known >= number).unwrap_or(self.count);
        if known.get(at) != Some(&number) {
            assert!(self.count < NUMBERS, "more than {NUMBERS} numbers of the series {name}");
            self.numbers.copy_within(at..self.count, at + 1);
            self.numbers[at] = number;
            self.count += 1;
            self.name = name;
        }
    }

    fn compact(&self, number: &mut u32) {
        let known = &self.numbers[..self.count];
        let rank = known.iter().take_while(|known| *known < number).count() as u32;
        // A number that is gone leaves a place free below all others.
        let gone = known.first().is_some_and(|least| *least > 1);
        *number = rank + 1 + u32::from(gone);
    }
}

/// The same machine with times relative to now and numbers compacted; those in `numbers` along with it.
pub fn canonical<M: Machine>(machine: &mut M, numbers: &mut [(&'static str, &mut u32)]) {
    machine.rebase(0);
    let mut known = [Series::default(); SERIES];
    let mut note = |name: &'static str, number: u32| {
        if number > 0 {
            series(&mut known, name).note(name, number);
        }
    };
    machine.normalize(&mut |name, number| note(name, *number));
    numbers.iter().for_each(|(name, number)| note(name, **number));
    let mut compact = |name: &'static str, number: &mut u32| {
        if *number > 0 {
            series(&mut known, name).compact(number);
        }
    };
    machine.normalize(&mut |name, number| compact(name, number));
    numbers.iter_mut().for_each(|(name, number)| compact(name, number));
}

/// Every number of one series that a machine knows, in order; with the late one and the one never issued.
#[must_use]
pub fn numbers_of<M: Machine>(machine: &M, series: &'static str) -> Numbers {
    let mut copy = machine.clone();
    let mut known = Vec::new();
    copy.normalize(&mut |other, number| {
        if other == series && *number > 0 {
            known.push(*number);
        }
    });
    known.sort_unstable();
    known.dedup();
    let last = known.last().copied().unwrap_or(0);
    if known.first().is_some_and(|first| *first > 1) {
        known.insert(0, 1);
    }
    Numbers { issued: known, never: last + 1 }
}

/// The numbers that a host can say.
#[derive(Debug, Clone)]
pub struct Numbers {
    /// Those that a machine still knows, and one that is gone.
    pub issued: Vec<u32>,
    /// One that was never issued.
    pub never: u32,
}

impl Numbers {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = u32> + '_ {
        self.issued.iter().copied().chain([self.never])
    }
}

/// Machines and their surroundings.
pub trait World: Sync + Sized {
    /// The situation in plain values, to work on.
    type Whole: Clone;
    /// The same in its one form, to keep.
    type State: Clone + Eq + Hash + Debug + Send + Sync;
    /// One thing that may happen, but for how its draws fall.
    type Action: Clone + Debug + Send + Sync;

    /// The situations at the start.
    fn start(&self) -> Vec<Self::Whole>;
    /// To work on.
    fn open(&self, state: &Self::State) -> Self::Whole;
    /// To keep.
    fn close(&self, whole: Self::Whole) -> Self::State;
    /// Everything that may happen.
    fn actions(&self, whole: &Self::Whole, actions: &mut Vec<Self::Action>);
    /// It happens. False when it turns out to be impossible.
    fn act(&self, whole: &mut Self::Whole, action: &Self::Action, moment: &mut Moment<'_>) -> bool;

    /// The names of the safety properties, by number.
    fn properties(&self) -> Vec<&'static str>;
    /// What they say about a situation.
    fn inspect(&self, _state: &Self::State, _watch: &mut Watch) {}
    /// Whether nothing more need ever happen.
    fn may_end(&self, _state: &Self::State) -> bool {
        false
    }
    /// See [`Model::fairness`].
    fn fairness(&self, _action: &Self::Action) -> Option<u8> {
        None
    }
    /// See [`Model::liveness`].
    fn liveness(&self) -> Vec<LeadsTo<Explored<Self>>> {
        Vec::new()
    }
    /// How many cells of coverage all its machines have.
    fn cells(&self) -> usize {
        0
    }
    /// The transitions that the cells stand for, in their order.
    fn transitions(&self) -> Vec<Transition> {
        Vec::new()
    }
    /// Its machines, for scripts.
    fn describe(&self, whole: &Self::Whole) -> Vec<Described>;
    /// Its surroundings, for people.
    fn show(&self, whole: &Self::Whole) -> String;
}

/// A world as a model.
pub struct Explored<W>(pub W);

/// One thing that happens, with its draws.
#[derive(Clone)]
pub struct Happening<A> {
    /// What.
    pub action: A,
    /// Its place among the actions of its situation.
    pub place: u16,
    /// How its draws fall.
    pub draws: Vec<Draw>,
}

impl<A: Debug> Debug for Happening<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.action)?;
        if self.draws.is_empty() { Ok(()) } else { write!(f, " drawing {:?}", self.draws) }
    }
}

impl<W: World> Model for Explored<W> {
    type State = W::State;
    type Action = Happening<W::Action>;

    fn initial(&self) -> Vec<W::State> {
        self.0.start().into_iter().map(|whole| self.0.close(whole)).collect()
    }

    fn successors(
        &self,
        state: &W::State,
        watch: &mut Watch,
        next: &mut Vec<(Happening<W::Action>, W::State)>,
    ) {
        let whole = self.0.open(state);
        let mut actions = Vec::new();
        self.0.actions(&whole, &mut actions);
        for (place, action) in actions.into_iter().enumerate() {
            let place = place as u16;
            let mut draws = Vec::new();
            loop {
                watch.at(next.len());
                let mut after = whole.clone();
                let mut moment = Moment::new(watch, draws, false);
                let possible = self.0.act(&mut after, &action, &mut moment);
                draws = moment.draws;
                if possible {
                    let happening = Happening { action: action.clone(), place, draws: draws.clone() };
                    next.push((happening, self.0.close(after)));
                }
                if !advance(&mut draws) {
                    break;
                }
            }
        }
    }

    fn properties(&self) -> Vec<&'static str> {
        self.0.properties()
    }
    fn inspect(&self, state: &W::State, watch: &mut Watch) {
        self.0.inspect(state, watch);
    }
    fn may_end(&self, state: &W::State) -> bool {
        self.0.may_end(state)
    }
    fn fairness(&self, action: &Happening<W::Action>) -> Option<u8> {
        self.0.fairness(&action.action)
    }
    fn liveness(&self) -> Vec<LeadsTo<Self>> {
        self.0.liveness()
    }
    fn cells(&self) -> usize {
        self.0.cells()
    }
}

/// One step of a replay.
pub struct Replayed<W: World> {
    /// What happened.
    pub action: Happening<W::Action>,
    /// The calls that it made.
    pub calls: Vec<Call>,
    /// The cells of coverage that it took.
    pub cells: Vec<usize>,
    /// The situation after it.
    pub whole: W::Whole,
}

/// Replays actions on machines whose times and numbers nobody touches, from a situation at the start.
pub fn replay<W: World>(
    world: &W,
    start: &W::State,
    happenings: &[Happening<W::Action>],
) -> Vec<Replayed<W>> {
    let found = world.start().into_iter().find(|whole| world.close(whole.clone()) == *start);
    let Some(mut whole) = found else { return Vec::new() };
    let (properties, cells) = (world.properties().len(), world.cells());
    let mut steps = Vec::new();
    for Happening { place, draws, .. } in happenings {
        let mut actions = Vec::new();
        world.actions(&whole, &mut actions);
        let Some(action) = actions.into_iter().nth(usize::from(*place)) else { break };
        let mut watch = Watch::idle_with(properties, cells);
        let mut moment = Moment::new(&mut watch, draws.clone(), true);
        world.act(&mut whole, &action, &mut moment);
        let calls = moment.into_calls();
        let action = Happening { action, place: *place, draws: draws.clone() };
        steps.push(Replayed { action, calls, cells: watch.covered(), whole: whole.clone() });
    }
    steps
}

/// The laws of every machine that hold in each state by itself; see [`lawful`].
pub const LAWS: &[&str] = &[
    "law: outside the resting states a deadline leads on",
    "law: a deadline lies ahead",
    "law: what a snapshot restores is the same machine",
];

/// Checks [`LAWS`], whose numbers start at `first`, in one state of a machine.
pub fn lawful<M: Subject>(machine: &M, first: usize, watch: &mut Watch) {
    let deadline = machine.deadline();
    if !machine.is_resting() {
        watch.check(first, deadline.is_some());
    }
    if let Some(deadline) = deadline {
        watch.check(first + 1, deadline.at > machine.clock().now());
    }
    let again = |machine: &M| machine.snapshot(0).ok().and_then(|snapshot| M::restore(&snapshot, 0, 0).ok());
    let restored = again(machine);
    let expected = if machine.comes_back_as_it_was() {
        Some(machine.clone())
    } else {
        // From then on it is what it came back as.
        restored.as_ref().and_then(again)
    };
    watch.check(first + 2, restored.is_some() && restored == expected);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compacted_in_order_and_each_series_by_itself() {
        let compacted = |numbers: &[(&'static str, u32)]| {
            let mut known = [Series::default(); SERIES];
            numbers.iter().for_each(|(name, number)| series(&mut known, name).note(name, *number));
            let compact = |&(name, mut number): &(&'static str, u32)| {
                // The same name, at another place of the memory.
                let copy = name.to_owned();
                series(&mut known, &copy).compact(&mut number);
                number
            };
            numbers.iter().map(compact).collect::<Vec<_>>()
        };
        let all =
            [("operation", 9), ("generation", 1), ("operation", 4), ("operation", 9), ("generation", 7)];
        assert_eq!(compacted(&all), [3, 1, 2, 3, 2], "1 is gone from the one series and not from the other");
        let many: Vec<_> = (0..NUMBERS as u32).rev().map(|number| ("operation", number * 5 + 1)).collect();
        assert!(compacted(&many).into_iter().rev().eq(1..=NUMBERS as u32));
    }

    #[test]
    #[should_panic(expected = "more than 24 numbers of the series operation")]
    fn more_numbers_than_there_is_room_for_are_not_left_out() {
        let mut series = Series::default();
        (1..=NUMBERS as u32 + 1).for_each(|number| series.note("operation", number));
    }

    #[test]
    #[should_panic(expected = "more than 3 series")]
    fn more_series_than_there_is_room_for_are_not_mixed() {
        let mut known = [Series::default(); SERIES];
        ["a", "b", "c", "d"].into_iter().for_each(|name| series(&mut known, name).note(name, 1));
    }
}
