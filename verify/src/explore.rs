//! An explicit-state explorer: breadth first, exact states, several threads, the same result every time.
//!
//! A run is *complete* only when its frontier is empty. States are kept whole and compared whole: a hash only
//! says where to look. Each level is worked off in batches of two phases without locks: every worker first
//! expands its part of the batch, drops what is known already (nobody writes now) and puts the rest into buckets by
//! shard; then each inserts the buckets of the shards that it owns.
//! Which worker does what depends on the batch alone, so the numbering of states, the parents and with them the
//! shortest counterexamples do not depend on timing, nor on how many threads there are.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hash};
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::liveness::LeadsTo;

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
    /// What the properties have to say about a situation. Called once for each.
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
        if let Some(cell) = self.cells.get_mut(cell)
            && *cell == UNTOUCHED
        {
            *cell = u64::from(self.from) << 16 | u64::from(self.place);
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

const SHARD_BITS: u32 = 6;
const SHARDS: usize = 1 << SHARD_BITS;
const BATCH: usize = 1 << 13;
/// Fewer states than this are not worth starting threads for.
const SMALL: usize = 1 << 9;
const ROOT: Id = Id::MAX;
/// How many successors are looked up together.
const LOOK_UP: usize = 1 << 6;
/// What the last state before a look-up may add to them.
const MOST_LOOK_UP: usize = 1 << 8;
/// The most states that the numbers reach.
const MOST_STATES: usize = 1 << 30;

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

struct Shard<S> {
    table: HashTable<u32>,
    /// In chunks, so that growing moves nothing.
    states: Vec<Vec<(S, u64)>>,
    count: usize,
    parents: Vec<(Id, u16)>,
}

const CHUNK_BITS: usize = 10;
const CHUNK: usize = 1 << CHUNK_BITS;

impl<S> Shard<S> {
    fn state(&self, index: usize) -> &(S, u64) {
        &self.states[index >> CHUNK_BITS][index & (CHUNK - 1)]
    }

    fn push(&mut self, state: S, hash: u64) {
        if self.count & (CHUNK - 1) == 0 {
            self.states.push(Vec::with_capacity(CHUNK));
        }
        if let Some(last) = self.states.last_mut() {
            last.push((state, hash));
            self.count += 1;
        }
    }
}

impl<S: Eq> Shard<S> {
    fn find(&self, hash: u64, state: &S) -> Option<u32> {
        let same = |&at: &u32| {
            let (known, known_hash) = self.state(at as usize);
            *known_hash == hash && known == state
        };
        self.table.find(hash, same).copied()
    }
}

struct Found<S> {
    hash: u64,
    state: S,
    from: Id,
    place: u16,
    class: u8,
}

type Buckets<S> = Vec<Vec<Found<S>>>;

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

/// What one worker found in one phase.
struct Findings {
    edges: Vec<Edge>,
    transitions: u64,
    watch: Watch,
    /// New ones, or those without a successor.
    states: Vec<Id>,
}

/// Explores a model breadth first.
pub fn explore<'m, M: Model>(model: &'m M, limits: &Limits) -> Graph<'m, M> {
    let start = Instant::now();
    let properties = model.properties();
    let limits = Limits { states: limits.states.min(MOST_STATES), threads: limits.threads.max(1), ..*limits };
    let mut graph = Graph {
        model,
        shards: (0..SHARDS)
            .map(|_| Shard { table: HashTable::new(), states: Vec::new(), count: 0, parents: Vec::new() })
            .collect(),
        edges: Vec::new(),
        transitions: 0,
        depth: 0,
        complete: false,
        witnesses: properties.iter().map(|property| (*property, 0)).collect(),
        violations: Vec::new(),
        cells: vec![None; model.cells()],
        took: Duration::ZERO,
    };
    let hasher = FixedState::with_seed(0x7469_6465);
    let mut buckets: Vec<Buckets<M::State>> = vec![empty()];
    for state in model.initial() {
        let hash = hasher.hash_one(&state);
        buckets[0][shard_of(hash)].push(Found { hash, state, from: ROOT, place: 0, class: NO_CLASS });
    }
    let mut frontier = graph.insert(&limits, &mut buckets);
    while !frontier.is_empty() && graph.violations.is_empty() {
        let mut next = Vec::new();
        for (done, batch) in frontier.chunks(BATCH).enumerate() {
            if graph.states() >= limits.states {
                // What is left of this level stays on the frontier.
                next.extend(frontier.iter().skip(done * BATCH));
                break;
            }
            graph.expand(&hasher, &limits, batch, &mut buckets);
            next.append(&mut graph.insert(&limits, &mut buckets));
        }
        graph.depth += usize::from(!next.is_empty());
        frontier = next;
        if graph.states() >= limits.states {
            break;
        }
    }
    graph.complete = frontier.is_empty();
    graph.took = start.elapsed();
    graph
}

fn empty<S>() -> Buckets<S> {
    (0..SHARDS).map(|_| Vec::new()).collect()
}

fn shard_of(hash: u64) -> usize {
    // The table uses the low bits and the top seven; these are neither.
    (hash >> 40) as usize & (SHARDS - 1)
}

fn id(shard: usize, index: usize) -> Id {
    (index as u32) << SHARD_BITS | shard as u32
}

fn shard(id: Id) -> usize {
    id as usize & (SHARDS - 1)
}

fn index(id: Id) -> usize {
    (id >> SHARD_BITS) as usize
}

impl<'m, M: Model> Graph<'m, M> {
    /// How many states were found.
    #[must_use]
    pub fn states(&self) -> usize {
        self.shards.iter().map(|shard| shard.count).sum()
    }

    /// A state by its number.
    #[must_use]
    pub fn state(&self, id: Id) -> &M::State {
        &self.shards[shard(id)].state(index(id)).0
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
            let (from, place) = self.shards[shard(at)].parents[index(at)];
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
            at = self.shards[shard(at)].parents[index(at)].0;
            if at == ROOT {
                return steps;
            }
            steps += 1;
        }
    }

    /// Phase one: the successors of a batch, by worker and shard. Reads only.
    /// The buckets are used again and again.
    fn expand(
        &mut self,
        hasher: &FixedState,
        limits: &Limits,
        batch: &[Id],
        buckets: &mut Vec<Buckets<M::State>>,
    ) {
        let threads = if batch.len() < SMALL { 1 } else { limits.threads };
        while buckets.len() < threads {
            buckets.push(empty());
        }
        let part = batch.len().div_ceil(threads).max(1);
        let this = &*self;
        let edges = limits.keep_edges;
        let parts = batch.chunks(part).zip(buckets.iter_mut());
        let found =
            parallel(parts.map(|(ids, buckets)| move || this.expand_part(hasher, edges, ids, buckets)));
        for Findings { mut edges, transitions, watch, states: ends } in found {
            self.transitions += transitions;
            self.edges.append(&mut edges);
            self.note(watch);
            for state in ends {
                self.violate(Violation { property: DEADLOCK, state, transition: None });
            }
        }
    }

    fn expand_part(
        &self,
        hasher: &FixedState,
        keep_edges: bool,
        ids: &[Id],
        buckets: &mut Buckets<M::State>,
    ) -> Findings {
        let mut watch = Watch::new(self.witnesses.len(), self.cells.len());
        let (mut next, mut ends, mut edges, mut transitions) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let mut waiting = Vec::with_capacity(2 * LOOK_UP);
        for &from in ids {
            let state = self.state(from);
            (watch.from, watch.place) = (from, 0);
            self.model.successors(state, &mut watch, &mut next);
            if next.is_empty() && !self.model.may_end(state) {
                ends.push(from);
            }
            transitions += next.len() as u64;
            for (place, (action, state)) in next.drain(..).enumerate() {
                let class =
                    if keep_edges { self.model.fairness(&action).unwrap_or(NO_CLASS) } else { NO_CLASS };
                let hash = hasher.hash_one(&state);
                waiting.push(Found { hash, state, from, place: place as u16, class });
            }
            if waiting.len() >= LOOK_UP {
                self.sift(&mut waiting, buckets, keep_edges.then_some(&mut edges));
            }
        }
        self.sift(&mut waiting, buckets, keep_edges.then_some(&mut edges));
        Findings { edges, transitions, watch, states: ends }
    }

    /// Drops what is known and puts the rest into its buckets, many at a time: where to look is found for all of them
    /// before the first is looked at, so that the memory need not be waited for one by one.
    fn sift(
        &self,
        waiting: &mut Vec<Found<M::State>>,
        buckets: &mut Buckets<M::State>,
        mut edges: Option<&mut Vec<Edge>>,
    ) {
        let mut likely: [Option<u32>; MOST_LOOK_UP] = [None; MOST_LOOK_UP];
        for (found, likely) in waiting.iter().zip(&mut likely) {
            *likely = self.shards[shard_of(found.hash)].table.find(found.hash, |_| true).copied();
        }
        for (found, likely) in waiting.iter().zip(&mut likely) {
            let same = |at: &u32| self.shards[shard_of(found.hash)].state(*at as usize).1 == found.hash;
            *likely = likely.filter(same);
        }
        let likely = likely.into_iter().chain(std::iter::repeat(None));
        for (found, likely) in waiting.drain(..).zip(likely) {
            let at = shard_of(found.hash);
            let shard = &self.shards[at];
            let known = match likely {
                Some(index) if shard.state(index as usize).0 == found.state => Some(index),
                _ => shard.find(found.hash, &found.state),
            };
            match (known, &mut edges) {
                (None, _) => buckets[at].push(found),
                (Some(index), Some(edges)) => {
                    let Found { from, place, class, .. } = found;
                    edges.push(Edge { from, to: id(at, index as usize), place, class });
                }
                (Some(_), None) => {}
            }
        }
    }

    /// Phase two: keeps what is new; answers the new states' numbers. Each worker has its own shards.
    fn insert(&mut self, limits: &Limits, buckets: &mut [Buckets<M::State>]) -> Vec<Id> {
        let found: usize = buckets.iter().flatten().map(Vec::len).sum();
        let threads = if found < SMALL { 1 } else { limits.threads };
        let part = SHARDS.div_ceil(threads);
        // By shard instead of by worker, without moving a state.
        let mut by_shard: Vec<Vec<&mut Vec<Found<M::State>>>> = (0..SHARDS).map(|_| Vec::new()).collect();
        for worker in buckets {
            by_shard.iter_mut().zip(worker).for_each(|(shard, bucket)| shard.push(bucket));
        }
        let (model, properties, edges) = (self.model, self.witnesses.len(), limits.keep_edges);
        let work = self.shards.chunks_mut(part).zip(by_shard.chunks_mut(part)).enumerate();
        let kept = parallel(work.map(|(worker, (shards, found))| {
            move || keep(model, properties, edges, worker * part, shards, found)
        }));
        let mut new = Vec::new();
        for Findings { mut edges, watch, states: mut ids, .. } in kept {
            new.append(&mut ids);
            self.edges.append(&mut edges);
            self.note(watch);
        }
        new
    }

    /// Takes over what a worker found. Workers are asked in their order, so the first is always the same one.
    fn note(&mut self, watch: Watch) {
        for (total, count) in self.witnesses.iter_mut().zip(watch.counts) {
            total.1 += count;
        }
        for (known, found) in self.cells.iter_mut().zip(watch.cells) {
            if known.is_none() && found != UNTOUCHED {
                *known = Some(((found >> 16) as Id, (found & 0xffff) as u16));
            }
        }
        for (property, state, place) in watch.broken {
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

/// Runs each piece of work on a thread of its own, the first on this one.
fn parallel<T: Send, F: FnOnce() -> T + Send>(work: impl Iterator<Item = F>) -> Vec<T> {
    std::thread::scope(|scope| {
        let mut work = work;
        let Some(first) = work.next() else { return Vec::new() };
        let others: Vec<_> = work.map(|other| scope.spawn(other)).collect();
        let mut done = vec![first()];
        done.extend(others.into_iter().map(|other| match other.join() {
            Ok(found) => found,
            Err(panic) => std::panic::resume_unwind(panic),
        }));
        done
    })
}

fn keep<M: Model>(
    model: &M,
    properties: usize,
    keep_edges: bool,
    first: usize,
    shards: &mut [Shard<M::State>],
    found: &mut [Vec<&mut Vec<Found<M::State>>>],
) -> Findings {
    let mut watch = Watch::new(properties, 0);
    watch.place = NO_PLACE;
    let (mut new, mut edges) = (Vec::new(), Vec::new());
    for (place, (shard, found)) in shards.iter_mut().zip(found).enumerate() {
        for Found { hash, state, from, place: action, class } in
            found.iter_mut().flat_map(|bucket| bucket.drain(..))
        {
            let to = match shard.find(hash, &state) {
                Some(at) => id(first + place, at as usize),
                None => {
                    let number = shard.count;
                    let to = id(first + place, number);
                    watch.from = to;
                    model.inspect(&state, &mut watch);
                    shard.push(state, hash);
                    let Shard { table, states, parents, .. } = &mut *shard;
                    let hash_of = |at: &u32| states[*at as usize >> CHUNK_BITS][*at as usize & (CHUNK - 1)].1;
                    table.insert_unique(hash, number as u32, hash_of);
                    parents.push((from, action));
                    new.push(to);
                    to
                }
            };
            if keep_edges && from != ROOT {
                edges.push(Edge { from, to, place: action, class });
            }
        }
    }
    Findings { edges, transitions: 0, watch, states: new }
}
