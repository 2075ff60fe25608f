//! An explicit-state explorer: breadth first, exact states, several threads, the same result every time.
//!
//! A run is *complete* only when its frontier is empty. States are kept whole and compared whole: a hash only
//! says where to look. The numbering of states, the parents and with them the shortest counterexamples depend neither on
//! timing nor on how many threads there are.

mod search;
mod store;

use std::fmt::Debug;
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::crew::crew;
use crate::liveness::LeadsTo;
use search::Search;
use store::{MOST_STATES, ROOT, Record, Shard, id, index, shard};

/// What is explored: situations and what may happen in them.
pub trait Model: Sync + Sized {
    /// A whole situation; equal situations must be equal values.
    type State: Clone + Eq + Hash + Debug + Send + Sync;
    /// One thing that may happen, with how every choice in it falls.
    type Action: Clone + Debug + Send + Sync;

    /// The situations at the start.
    fn initial(&self) -> Vec<Self::State>;
    /// Everything that may happen in a situation, with the situation after it, always in the same order. What the
    /// properties have to say about each goes to `watch`, before it is pushed.
    fn successors(&self, state: &Self::State, watch: &mut Watch, next: &mut Vec<(Self::Action, Self::State)>);
    /// The names of the safety properties, by the numbers that [`Watch::check`] takes.
    fn properties(&self) -> Vec<&'static str> {
        Vec::new()
    }
    /// What the properties have to say about a situation. Called once for each, before its successors are asked for.
    fn inspect(&self, _state: &Self::State, _watch: &mut Watch) {}
    /// Whether nothing more need ever happen here. A state without a successor where it must is a violation.
    fn may_end(&self, _state: &Self::State) -> bool {
        false
    }
    /// The fairness class of an action, below 64: see [`crate::liveness`]. None: it may be put off for ever.
    fn fairness(&self, _action: &Self::Action) -> Option<u8> {
        None
    }
    /// What must follow what.
    fn liveness(&self) -> Vec<LeadsTo<Self>> {
        Vec::new()
    }
    /// How many cells of coverage it counts, see [`Watch::cover`].
    fn cells(&self) -> usize {
        0
    }
}

/// The property of every model: it never comes to an end where it may not.
pub const DEADLOCK: &str = "something can always happen, or need not";

/// Where the properties say what they found.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    counts: Vec<u64>,
    /// The first violation of each property.
    broken: Vec<(usize, Id, u16)>,
    cells: Vec<u64>,
    /// Those that were touched since they were last asked for.
    fresh: Vec<usize>,
    from: Id,
    place: u16,
}

/// In place of a transition: the state itself.
const NO_PLACE: u16 = u16::MAX;

/// A cell of coverage that nothing has touched.
const UNTOUCHED: u64 = u64::MAX;

impl Watch {
    fn new(properties: usize, cells: usize) -> Self {
        Self { counts: vec![0; properties], cells: vec![UNTOUCHED; cells], ..Self::default() }
    }

    /// A watch whose findings nobody reads.
    #[must_use]
    pub fn idle<M: Model>(model: &M) -> Self {
        Self::new(model.properties().len(), model.cells())
    }

    /// The same, for so many properties and cells.
    #[must_use]
    pub fn idle_with(properties: usize, cells: usize) -> Self {
        Self::new(properties, cells)
    }

    /// The next findings are about the state with this number.
    fn about(&mut self, state: Id) {
        (self.from, self.place) = (state, NO_PLACE);
    }

    /// A property concerns this situation or this transition: counts it as a witness, and keeps it if the
    /// property does not hold.
    pub fn check(&mut self, property: usize, holds: bool) {
        if let Some(count) = self.counts.get_mut(property) {
            *count += 1;
        }
        if !holds && !self.broken.iter().any(|(known, ..)| *known == property) {
            self.broken.push((property, self.from, self.place));
        }
    }

    /// The next findings are about the transition with this place among the successors.
    pub fn at(&mut self, place: usize) {
        self.place = u16::try_from(place).unwrap_or(NO_PLACE);
    }

    /// This transition takes a cell of coverage.
    pub fn cover(&mut self, cell: usize) {
        if let Some(slot) = self.cells.get_mut(cell)
            && *slot == UNTOUCHED
        {
            *slot = u64::from(self.from) << 16 | u64::from(self.place);
            self.fresh.push(cell);
        }
    }

    /// The cells that were taken.
    #[must_use]
    pub fn covered(&self) -> Vec<usize> {
        let taken = |(at, cell): (usize, &u64)| (*cell != UNTOUCHED).then_some(at);
        self.cells.iter().enumerate().filter_map(taken).collect()
    }

    /// The cells that were taken, each with the place of the first transition that took it.
    pub fn places(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let taken =
            |(at, cell): (usize, &u64)| (*cell != UNTOUCHED).then_some((at, (*cell & 0xffff) as usize));
        self.cells.iter().enumerate().filter_map(taken)
    }

    /// Whether something was found broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }
}

/// The number of a state: its shard and its place therein.
pub type Id = u32;

/// One transition of the explored graph.
#[derive(Debug, Clone, Copy)]
pub struct Edge {
    /// From this state.
    pub from: Id,
    /// To this state.
    pub to: Id,
    /// Its place among the successors of `from`.
    pub place: u16,
    /// Its fairness class, or [`NO_CLASS`].
    pub class: u8,
}

/// The class of an action that may be put off for ever.
pub const NO_CLASS: u8 = u8::MAX;

/// Where an exploration stops short, and what it keeps.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most states that are kept.
    pub states: usize,
    /// How many threads work.
    pub threads: usize,
    /// Whether the transitions are kept, for liveness and for drawing.
    pub keep_edges: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { states: 50_000_000, threads: 2, keep_edges: false }
    }
}

/// A violated safety property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub property: &'static str,
    /// The state that violates it, or that the violating transition leads on from.
    pub state: Id,
    /// The place of the violating transition among the successors of that state.
    pub transition: Option<u16>,
}

/// A state at the start, and the actions from it, each with the state after it.
pub type Way<M> = (<M as Model>::State, Vec<(<M as Model>::Action, <M as Model>::State)>);

/// What an exploration found.
pub struct Graph<'m, M: Model> {
    /// What was explored.
    pub model: &'m M,
    shards: Vec<Shard<M::State>>,
    /// The transitions, when they were asked for.
    pub edges: Vec<Edge>,
    /// How many transitions there are.
    pub transitions: u64,
    /// How many steps the farthest state is away.
    pub depth: usize,
    /// Whether the frontier was empty at the end: every reachable state has been seen.
    pub complete: bool,
    /// Each property with the number of states and transitions that it concerned.
    pub witnesses: Vec<(&'static str, u64)>,
    /// The first violation of each property that is violated.
    pub violations: Vec<Violation>,
    /// Each cell of coverage: the first transition that took it.
    pub cells: Vec<Option<(Id, u16)>>,
    /// How long it took.
    pub took: Duration,
}

/// Explores a model breadth first.
pub fn explore<'m, M: Model>(model: &'m M, limits: &Limits) -> Graph<'m, M> {
    let start = Instant::now();
    let limits = Limits { states: limits.states.min(MOST_STATES), threads: limits.threads.max(1), ..*limits };
    let search = Search::new(model, &limits);
    let work = |phase, piece| search.work(phase, piece);
    let mut graph = crew(limits.threads, work, |crew| search.lead(crew, &limits));
    graph.shards = search.into_shards();
    graph.took = start.elapsed();
    graph
}

impl<'m, M: Model> Graph<'m, M> {
    fn empty(model: &'m M) -> Self {
        Self {
            model,
            shards: Vec::new(),
            edges: Vec::new(),
            transitions: 0,
            depth: 0,
            complete: false,
            witnesses: model.properties().into_iter().map(|property| (property, 0)).collect(),
            violations: Vec::new(),
            cells: vec![None; model.cells()],
            took: Duration::ZERO,
        }
    }

    /// How many states were found.
    #[must_use]
    pub fn states(&self) -> usize {
        self.shards.iter().map(|shard| shard.count).sum()
    }

    /// A state by its number.
    #[must_use]
    pub fn state(&self, id: Id) -> &M::State {
        &self.record(id).state
    }

    fn record(&self, id: Id) -> &Record<M::State> {
        self.shards[shard(id)].record(index(id))
    }

    /// Every state's number.
    pub fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        let numbers = |(at, shard): (usize, &Shard<M::State>)| (0..shard.count).map(move |n| id(at, n));
        self.shards.iter().enumerate().flat_map(numbers)
    }

    /// The actions that lead to a state on a shortest way, each with the state after it; first the initial state.
    #[must_use]
    pub fn path(&self, to: Id) -> Way<M> {
        let mut steps = Vec::new();
        let mut at = to;
        loop {
            let Record { parent: from, place, .. } = *self.record(at);
            if from == ROOT {
                steps.reverse();
                return (self.state(at).clone(), steps);
            }
            steps.extend(self.successor(from, place));
            at = from;
        }
    }

    /// The way to a violation, its last transition included.
    #[must_use]
    pub fn way_to(&self, violation: &Violation) -> Way<M> {
        let (start, mut steps) = self.path(violation.state);
        steps.extend(violation.transition.and_then(|place| self.successor(violation.state, place)));
        (start, steps)
    }

    /// The transition at a place among the successors of a state.
    #[must_use]
    pub fn successor(&self, from: Id, place: u16) -> Option<(M::Action, M::State)> {
        let mut next = Vec::new();
        self.model.successors(self.state(from), &mut Watch::idle(self.model), &mut next);
        let place = usize::from(place);
        (place < next.len()).then(|| next.swap_remove(place))
    }

    /// The number of steps on a shortest way to a state.
    #[must_use]
    pub fn distance(&self, to: Id) -> usize {
        let mut steps = 0;
        let mut at = to;
        loop {
            at = self.record(at).parent;
            if at == ROOT {
                return steps;
            }
            steps += 1;
        }
    }

    /// Takes over what was found in a piece. Pieces are asked in their order, so the first is always the same one.
    fn note(&mut self, watch: &mut Watch) {
        for (total, count) in self.witnesses.iter_mut().zip(&mut watch.counts) {
            total.1 += std::mem::take(count);
        }
        for cell in watch.fresh.drain(..) {
            if let Some(known @ None) = self.cells.get_mut(cell) {
                *known = watch.cells.get(cell).map(|found| ((found >> 16) as Id, (found & 0xffff) as u16));
            }
        }
        for (property, state, place) in watch.broken.drain(..) {
            let property = self.witnesses[property].0;
            self.violate(Violation { property, state, transition: (place != NO_PLACE).then_some(place) });
        }
    }

    fn violate(&mut self, violation: Violation) {
        if !self.violations.iter().any(|known| known.property == violation.property) {
            self.violations.push(violation);
        }
    }
}
