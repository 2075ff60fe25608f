//! One machine and a host that may do anything: every input that can be said, at every time.
//!
//! This is where a machine's own properties are proved, those that hold whatever the host and the world do, and
//! where its transitions are covered. An [`Alone`] machine says which inputs are worth telling apart, how time may
//! pass, and what to observe.

use std::fmt::Debug;
use std::hash::Hash;

use tidegate::{Machine, Millis, Random, Rejection, StepOf};

use crate::explore::Watch;
use crate::pool::{Loan, Part, Pool};
use crate::vectors::Described;
use crate::world::{Cells, LAWS, Moment, Slot, Subject, Transition, World, described, lawful, transitions};

/// What happens to a machine that is alone.
#[derive(Debug)]
pub enum Cause<'a, M: Machine> {
    /// An input.
    Input(&'a M::Input),
    /// So much time passed.
    Time(Millis),
}

/// What a step did.
pub struct Seen<'a, M: Machine> {
    /// The machine before it.
    pub before: &'a M,
    /// What happened.
    pub cause: Cause<'a, M>,
    /// The answer.
    pub answer: &'a Result<StepOf<M>, Rejection>,
    /// The machine after it.
    pub after: &'a M,
}

/// A machine that is explored alone.
pub trait Alone: Subject {
    /// What has to be remembered of the past to judge a step.
    type Observer: Clone + Eq + Hash + Debug + Default + Send + Sync;
    /// The names of its properties.
    const PROPERTIES: &'static [&'static str];
    /// Whether it is total: every input that crosses a language boundary has an answer.
    const TOTAL: bool = false;
    /// What times are multiples of: half of the way to a deadline is rounded down to it.
    const GRAIN: Millis = 1;
    /// How much later than a deadline a tick may come, besides on time.
    const LATE: &'static [Millis] = &[];
    /// How time passes while nothing is due.
    const REST: &'static [Millis] = &[];

    /// The numbers of operations and connections that the observer remembers.
    fn remembered(_observer: &mut Self::Observer) -> Vec<(&'static str, &mut u32)> {
        Vec::new()
    }
    /// Every input that is worth telling apart in this state; `bound` is the model's, where a machine has one.
    fn inputs(&self, observer: &Self::Observer, bound: u32, inputs: &mut Vec<Self::Input>);
    /// Judges a step and remembers what is needed of it; `first` is the number of the first property.
    fn observe(observer: &mut Self::Observer, seen: &Seen<'_, Self>, first: usize, watch: &mut Watch);
}

/// A machine alone, at one or more configs.
pub struct AloneWorld<M: Alone> {
    pool: Pool<M>,
    observers: Pool<M::Observer>,
    configs: Vec<M::Config>,
    bound: u32,
    cells: Cells,
}

/// How time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// To the deadline.
    Deadline,
    /// Half of the way to it, once.
    Half,
    /// Past the deadline by this.
    Late(Millis),
    /// By this, while nothing is due.
    Rest(Millis),
}

/// One thing that may happen.
#[derive(Debug, Clone)]
pub enum Action<I> {
    /// An input.
    Input(I),
    /// Time.
    Time(Time),
}

/// The situation.
#[derive(Debug, Clone)]
pub struct Whole<M: Alone> {
    machine: Slot<M>,
    observer: Loan<M::Observer>,
    /// Half of the way to a deadline has passed.
    between: bool,
}

/// The same, to keep.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State<M: Alone> {
    machine: Part<M>,
    observer: Part<M::Observer>,
    between: bool,
}

const REFUSED: &str = "law: a rejection changes nothing";
const TOTAL: &str = "law: every input has an answer";

impl<M: Alone> AloneWorld<M> {
    /// A world for each of these configs.
    #[must_use]
    pub fn new(configs: Vec<M::Config>) -> Self {
        Self::bounded(configs, u32::MAX)
    }

    /// The same, where a machine bounds what its host does.
    #[must_use]
    pub fn bounded(configs: Vec<M::Config>, bound: u32) -> Self {
        Self { pool: Pool::default(), observers: Pool::default(), configs, bound, cells: Cells::of::<M>(0) }
    }
}

fn half<M: Alone>(left: Millis) -> Millis {
    left / 2 / M::GRAIN * M::GRAIN
}

impl<M: Alone> World for AloneWorld<M> {
    type Whole = Whole<M>;
    type State = State<M>;
    type Action = Action<M::Input>;

    fn start(&self) -> Vec<Whole<M>> {
        let whole = |config: &M::Config| {
            let machine = M::drawing(config.clone(), Random::Script(Vec::new()), 0).ok()?;
            let observer = Loan::new(M::Observer::default());
            Some(Whole { machine: Slot::new(machine), observer, between: false })
        };
        self.configs.iter().filter_map(whole).collect()
    }

    fn open(&self, state: &State<M>) -> Whole<M> {
        let State { machine, observer, between } = *state;
        Whole { machine: Slot::Kept(machine), observer: self.observers.lend(observer), between }
    }

    fn close(&self, whole: Whole<M>) -> State<M> {
        let Whole { machine, mut observer, between } = whole;
        let machine = machine.keep(&self.pool, &mut M::remembered(&mut observer));
        State { machine, observer: observer.keep(&self.observers, |observer| observer), between }
    }

    fn actions(&self, whole: &Whole<M>, actions: &mut Vec<Action<M::Input>>) {
        let machine = whole.machine.get(&self.pool);
        match machine.deadline() {
            Some(deadline) => {
                actions.push(Action::Time(Time::Deadline));
                if !whole.between && half::<M>(deadline.at - machine.clock().now()) > 0 {
                    actions.push(Action::Time(Time::Half));
                }
                actions.extend(M::LATE.iter().map(|late| Action::Time(Time::Late(*late))));
            }
            None => actions.extend(M::REST.iter().map(|rest| Action::Time(Time::Rest(*rest)))),
        }
        let mut inputs = Vec::new();
        machine.inputs(&whole.observer, self.bound, &mut inputs);
        actions.extend(inputs.into_iter().map(Action::Input));
    }

    fn act(&self, whole: &mut Whole<M>, action: &Action<M::Input>, moment: &mut Moment<'_>) -> bool {
        let original = whole.machine.clone();
        let before = original.get(&self.pool);
        let machine = whole.machine.edit(&self.pool);
        let (cause, answer) = match action {
            Action::Input(input) => {
                let answer = moment.handle(self.cells, 0, machine, input);
                if M::TOTAL {
                    moment.watch.check(0, answer.is_ok());
                } else if answer.is_err() {
                    moment.watch.check(0, machine == before);
                }
                (Cause::Input(input), answer)
            }
            Action::Time(time) => {
                let now = machine.clock().now();
                let left = machine.deadline().map_or(0, |deadline| deadline.at - now);
                let passed = match time {
                    Time::Deadline => left,
                    Time::Half => half::<M>(left),
                    Time::Late(by) => left + by,
                    Time::Rest(by) => *by,
                };
                whole.between = *time == Time::Half;
                (Cause::Time(passed), moment.tick(self.cells, 0, machine, passed))
            }
        };
        let seen = Seen { before, cause, answer: &answer, after: machine };
        M::observe(&mut whole.observer, &seen, 1 + LAWS.len(), moment.watch);
        // What nothing happened to need not be brought into its one form again.
        if machine == before {
            whole.machine = original;
        }
        true
    }

    fn properties(&self) -> Vec<&'static str> {
        let first = if M::TOTAL { TOTAL } else { REFUSED };
        [first].iter().chain(LAWS).chain(M::PROPERTIES).copied().collect()
    }

    fn inspect(&self, state: &State<M>, watch: &mut Watch) {
        lawful(self.pool.get(state.machine), 1, watch);
    }

    fn may_end(&self, state: &State<M>) -> bool {
        self.pool.get(state.machine).is_resting()
    }

    fn cells(&self) -> usize {
        self.cells.count()
    }

    fn transitions(&self) -> Vec<Transition> {
        transitions::<M>().collect()
    }

    fn describe(&self, whole: &Whole<M>) -> Vec<Described> {
        vec![described(0, whole.machine.get(&self.pool))]
    }

    fn show(&self, whole: &Whole<M>) -> String {
        let machine = whole.machine.get(&self.pool);
        format!("{}: {:?}", machine.state(), *whole.observer)
    }
}
