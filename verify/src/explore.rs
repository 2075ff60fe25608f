//! An explicit-state explorer: breadth first, exact states, several threads, the same result every time.
//!
//! A run is *complete* only when its frontier is empty. States are kept whole and compared whole: a hash only
//! says where to look. Each level is worked off in batches of two phases: first the states of the batch are expanded,
//! piece by piece, what is known already is dropped (nobody writes now) and the rest sorted by shard; then the shards
//! keep what is new, some at a time. A [`crew`](crate::crew) does both, and who is done with a piece takes the next one.
//! What a piece is, and in which order the pieces are heard, depends on the batch alone, so the numbering of states, the
//! parents and with them the shortest counterexamples do not depend on timing, nor on how many threads there are.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hash};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::crew::{Crew, crew};
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

const SHARD_BITS: u32 = 6;
const SHARDS: usize = 1 << SHARD_BITS;
/// So many shards are kept by one thread at a time.
const GROUP: usize = 1 << 2;
/// So many states are worked off together for each thread. Fewer would stay at hand better, but the threads would meet at
/// states of one config more often, and count its references in turn.
const BATCH: usize = 1 << 11;
/// Fewer states than this are not worth another thread.
const SMALLEST: usize = 1 << 4;
const ROOT: Id = Id::MAX;
/// How many successors are looked up together, at least.
const LOOK_UP: usize = 1 << 6;
/// How many of those that it found last a desk knows again: as many as the nearest memory holds.
const RECENT: usize = 1 << 11;
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

/// Where a state is in its shard.
#[derive(Debug, Clone, Copy)]
struct Entry {
    index: u32,
    /// What the table needs of its hash, so that growing looks at no state.
    key: u32,
}

/// The bits by which a table finds a place, for more states than a shard can hold, and those by which it knows one.
const KEY_BITS: u32 = 25;

fn key(hash: u64) -> u32 {
    ((hash >> 57) as u32) << KEY_BITS | hash as u32 & ((1 << KEY_BITS) - 1)
}

/// A hash of which the table's bits are those of the key.
fn hash_of(key: u32) -> u64 {
    u64::from(key >> KEY_BITS) << 57 | u64::from(key & ((1 << KEY_BITS) - 1))
}

struct Shard<S> {
    table: HashTable<Entry>,
    /// In chunks, so that growing moves nothing.
    states: Vec<Vec<(S, u64)>>,
    count: usize,
    parents: Vec<(Id, u16)>,
    /// What may be new, from each desk.
    inbox: Vec<Vec<Found<S>>>,
}

/// The first chunk of states holds two to the power of this, each further one as many as all before it, up to
/// [`CHUNK`].
const FIRST_BITS: u32 = 4;
const CHUNK_BITS: u32 = 10;
const CHUNK: usize = 1 << CHUNK_BITS;

/// The chunk of a state, its offset therein, and how many the chunk holds.
fn place(index: usize) -> (usize, usize, usize) {
    if index >= CHUNK {
        let small = (CHUNK_BITS - FIRST_BITS) as usize;
        return ((index >> CHUNK_BITS) + small, index & (CHUNK - 1), CHUNK);
    }
    if index < 1 << FIRST_BITS {
        return (0, index, 1 << FIRST_BITS);
    }
    let log = index.ilog2();
    ((log - FIRST_BITS + 1) as usize, index - (1 << log), 1 << log)
}

fn at<S>(chunks: &[Vec<(S, u64)>], index: usize) -> &(S, u64) {
    let (chunk, offset, _) = place(index);
    &chunks[chunk][offset]
}

impl<S> Shard<S> {
    fn new(desks: usize) -> Self {
        Self {
            table: HashTable::new(),
            states: Vec::new(),
            count: 0,
            parents: Vec::new(),
            inbox: (0..desks).map(|_| Vec::new()).collect(),
        }
    }

    fn state(&self, index: usize) -> &(S, u64) {
        at(&self.states, index)
    }

    /// Where a state of this hash probably is, if there is one.
    fn likely(&self, hash: u64) -> Option<u32> {
        let key = key(hash);
        self.table.find(hash_of(key), |entry| entry.key == key).map(|entry| entry.index)
    }

    fn insert(&mut self, state: S, hash: u64, parent: (Id, u16)) {
        let Self { table, states, count, parents, .. } = self;
        let (_, offset, size) = place(*count);
        if offset == 0 {
            states.push(Vec::with_capacity(size));
        }
        if let Some(last) = states.last_mut() {
            last.push((state, hash));
        }
        let entry = Entry { index: *count as u32, key: key(hash) };
        table.insert_unique(hash_of(entry.key), entry, |entry| hash_of(entry.key));
        parents.push(parent);
        *count += 1;
    }
}

impl<S: Eq> Shard<S> {
    fn find(&self, hash: u64, state: &S) -> Option<u32> {
        let key = key(hash);
        let same = |entry: &Entry| entry.key == key && self.state(entry.index as usize).0 == *state;
        self.table.find(hash_of(key), same).map(|entry| entry.index)
    }
}

struct Found<S> {
    hash: u64,
    state: S,
    from: Id,
    /// The place of `from` in its batch.
    order: u32,
    place: u16,
    class: u8,
}

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
    let groups =
        search.groups.into_iter().map(|group| group.into_inner().unwrap_or_else(PoisonError::into_inner));
    graph.shards = groups.flatten().collect();
    graph.took = start.elapsed();
    graph
}

fn shard_of(hash: u64) -> usize {
    // The table uses the low bits and the top seven; these are neither.
    (hash >> 40) as usize & (SHARDS - 1)
}

fn recent_of(hash: u64) -> usize {
    (hash >> 20) as usize & (RECENT - 1)
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

/// What of a phase is worked off by one thread or another.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The states of a piece of the batch: their successors are found, and what is known of these is dropped.
    Expand,
    /// So many groups of shards are a piece: they keep what is new.
    Keep(usize),
}

/// A batch of states of the frontier, cut into pieces.
#[derive(Debug, Default)]
struct Batch {
    frontier: Vec<Id>,
    start: usize,
    pieces: Vec<Range<usize>>,
}

/// Cuts a range into pieces, each thread's share into ever smaller ones: whoever is done takes what is left of the others'
/// shares, and nobody waits long for the last piece.
fn cut(range: Range<usize>, threads: usize, pieces: &mut Vec<Range<usize>>) {
    pieces.clear();
    let share = range.len().div_ceil(threads).max(SMALLEST);
    for start in range.clone().step_by(share) {
        let mut left = start..range.end.min(start + share);
        while !left.is_empty() {
            let end = left.start + (left.len() / 3).max(SMALLEST).min(left.len());
            pieces.push(left.start..end);
            left.start = end;
        }
    }
}

/// Where one piece of a phase is worked off, and what was found. It is used again and again.
struct Desk<M: Model> {
    watch: Watch,
    /// What is to be looked up: the states that lead to it, as many as there are in use, and a row for each successor.
    expanded: Vec<Expanded<M>>,
    in_use: usize,
    sought: Vec<Sought>,
    /// What is new, as far as is known, by shard.
    new: Vec<Vec<Found<M::State>>>,
    /// By a part of the hash, what was found new of late: its hash, and its place among the new ones of its shard. Most of
    /// what several states of a piece lead to is dropped here, by the thread that made it, while it is at hand.
    recent: Vec<(u64, u32)>,
    /// States without a successor that may not end.
    ends: Vec<Id>,
    edges: Vec<Edge>,
    transitions: u64,
}

/// What a state leads to. It is used again and again.
struct Expanded<M: Model> {
    from: Id,
    /// The place of `from` in its batch.
    order: u32,
    next: Vec<(M::Action, M::State)>,
}

/// A successor that is looked up.
struct Sought {
    hash: u64,
    /// Where in its shard it is, if it is known.
    likely: Option<u32>,
}

impl<M: Model> Desk<M> {
    fn at(watch: Watch) -> Mutex<Self> {
        Mutex::new(Self {
            watch,
            expanded: Vec::new(),
            in_use: 0,
            sought: Vec::new(),
            new: (0..SHARDS).map(|_| Vec::new()).collect(),
            recent: vec![(0, 0); RECENT],
            ends: Vec::new(),
            edges: Vec::new(),
            transitions: 0,
        })
    }
}

/// A state with the transition that found it first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct First {
    /// From the state of this place in the batch.
    order: u32,
    place: u16,
    id: Id,
}

/// Appends states in the order in which they were found. As one thread does this while the others wait, it counts instead of
/// comparing.
fn in_order<'k>(new: impl Iterator<Item = &'k First> + Clone, next: &mut Vec<Id>) {
    let mut ends: Vec<u32> = Vec::new();
    let mut states = 0;
    for First { order, .. } in new.clone() {
        let order = *order as usize;
        if order >= ends.len() {
            ends.resize(order + 1, 0);
        }
        ends[order] += 1;
        states += 1;
    }
    let mut end = 0;
    for at in &mut ends {
        // Where those of this order start, for now.
        end += std::mem::replace(at, end);
    }
    let mut sorted = vec![First { order: 0, place: 0, id: 0 }; states];
    for first in new {
        let at = &mut ends[first.order as usize];
        sorted[*at as usize] = *first;
        *at += 1;
    }
    for alike in sorted.chunk_by_mut(|one, other| one.order == other.order) {
        alike.sort_unstable();
    }
    next.extend(sorted.iter().map(|first| first.id));
}

/// What was kept in a group of shards.
#[derive(Debug, Default)]
struct Kept {
    new: Vec<First>,
    edges: Vec<Edge>,
}

/// Some shards, kept by one thread at a time.
type Group<S> = RwLock<Vec<Shard<S>>>;

/// An exploration under way.
struct Search<'m, M: Model> {
    model: &'m M,
    hasher: FixedState,
    keep_edges: bool,
    groups: Vec<Group<M::State>>,
    batch: RwLock<Batch>,
    /// One for each piece of a batch.
    expanding: Vec<Mutex<Desk<M>>>,
    /// One for each group.
    keeping: Vec<Mutex<Kept>>,
}

impl<'m, M: Model> Search<'m, M> {
    fn new(model: &'m M, limits: &Limits) -> Self {
        let (properties, cells) = (model.properties().len(), model.cells());
        let mut pieces = Vec::new();
        cut(0..BATCH * limits.threads, limits.threads, &mut pieces);
        let desks = pieces.len();
        let group = |_| RwLock::new((0..GROUP).map(|_| Shard::new(desks)).collect());
        Self {
            model,
            hasher: FixedState::with_seed(0x7469_6465),
            keep_edges: limits.keep_edges,
            groups: (0..SHARDS / GROUP).map(group).collect(),
            batch: RwLock::default(),
            expanding: (0..desks).map(|_| Desk::at(Watch::new(properties, cells))).collect(),
            keeping: (0..SHARDS / GROUP).map(|_| Mutex::default()).collect(),
        }
    }

    /// Goes through the levels.
    fn lead(&self, crew: &Crew<'_, Phase>, limits: &Limits) -> Graph<'m, M> {
        let mut graph = Graph::empty(self.model);
        let mut states = 0;
        if let Some(mut desk) = self.expanding.first().map(lock) {
            for state in self.model.initial() {
                let hash = self.hasher.hash_one(&state);
                desk.new[shard_of(hash)].push(Found {
                    hash,
                    state,
                    from: ROOT,
                    order: 0,
                    place: 0,
                    class: NO_CLASS,
                });
            }
        }
        let mut next = Vec::new();
        self.keep(crew, 1, &mut graph, &mut next);
        states += next.len();
        while !next.is_empty() && graph.violations.is_empty() && states < limits.states {
            let frontier = std::mem::take(&mut next);
            let size = frontier.len();
            write(&self.batch).frontier = frontier;
            let batch = BATCH * limits.threads;
            for start in (0..size).step_by(batch) {
                if states >= limits.states {
                    // What is left of this level stays on the frontier.
                    next.extend(read(&self.batch).frontier.iter().skip(start));
                    break;
                }
                let range = start..size.min(start + batch);
                let pieces = {
                    let mut batch = write(&self.batch);
                    batch.start = start;
                    cut(range, limits.threads, &mut batch.pieces);
                    batch.pieces.len()
                };
                crew.run(Phase::Expand, pieces);
                for desk in self.expanding.iter().take(pieces) {
                    let mut desk = lock(desk);
                    graph.transitions += std::mem::take(&mut desk.transitions);
                    graph.edges.append(&mut desk.edges);
                    graph.note(&mut desk.watch);
                    for state in desk.ends.drain(..) {
                        graph.violate(Violation { property: DEADLOCK, state, transition: None });
                    }
                }
                let known = next.len();
                self.keep(crew, pieces, &mut graph, &mut next);
                states += next.len() - known;
            }
            graph.depth += usize::from(!next.is_empty());
        }
        graph.complete = next.is_empty();
        graph
    }

    /// Has what is on so many desks kept, where it is new; those states go to `next`.
    fn keep(&self, crew: &Crew<'_, Phase>, desks: usize, graph: &mut Graph<'m, M>, next: &mut Vec<Id>) {
        let mut found = 0;
        let mut groups: Vec<_> = self.groups.iter().map(write).collect();
        for (at, desk) in self.expanding.iter().enumerate().take(desks) {
            let mut desk = lock(desk);
            let shards = groups.iter_mut().flat_map(|group| group.iter_mut());
            for (shard, new) in shards.zip(&mut desk.new) {
                found += new.len();
                std::mem::swap(&mut shard.inbox[at], new);
            }
        }
        drop(groups);
        let part = if found < SMALLEST { self.groups.len() } else { 1 };
        crew.run(Phase::Keep(part), self.groups.len().div_ceil(part));
        let mut kept: Vec<_> = self.keeping.iter().map(lock).collect();
        for kept in &mut kept {
            graph.edges.append(&mut kept.edges);
        }
        // In the order in which they were found, and not by their hashes: what was found together is alike, and much of it
        // is still at hand when it is expanded.
        in_order(kept.iter().flat_map(|kept| &kept.new), next);
        kept.iter_mut().for_each(|kept| kept.new.clear());
    }

    fn work(&self, phase: Phase, piece: usize) {
        match phase {
            Phase::Expand => {
                let batch = read(&self.batch);
                let range = batch.pieces[piece].clone();
                let first = range.start - batch.start;
                self.expand_piece(first, &batch.frontier[range], &mut lock(&self.expanding[piece]));
            }
            Phase::Keep(part) => {
                let groups = self.groups.iter().zip(&self.keeping).enumerate();
                for (at, (group, kept)) in groups.skip(piece * part).take(part) {
                    let mut kept = lock(kept);
                    for (place, shard) in write(group).iter_mut().enumerate() {
                        self.keep_in(at * GROUP + place, shard, &mut kept);
                    }
                }
            }
        }
    }

    /// The successors of some states, as far as they are not known. Of the shards it reads only.
    fn expand_piece(&self, first: usize, ids: &[Id], desk: &mut Desk<M>) {
        let groups: Vec<_> = self.groups.iter().map(read).collect();
        let shards: Vec<&Shard<M::State>> = groups.iter().flat_map(|group| group.iter()).collect();
        for (order, &from) in ids.iter().enumerate() {
            let order = (first + order) as u32;
            let state = &shards[shard(from)].state(index(from)).0;
            (desk.watch.from, desk.watch.place) = (from, NO_PLACE);
            self.model.inspect(state, &mut desk.watch);
            desk.watch.place = 0;
            if desk.in_use == desk.expanded.len() {
                desk.expanded.push(Expanded { from, order, next: Vec::new() });
            }
            let expanded = &mut desk.expanded[desk.in_use];
            desk.in_use += 1;
            (expanded.from, expanded.order) = (from, order);
            self.model.successors(state, &mut desk.watch, &mut expanded.next);
            if expanded.next.is_empty() && !self.model.may_end(state) {
                desk.ends.push(from);
            }
            desk.transitions += expanded.next.len() as u64;
            let sought = |(_, state): &(_, _)| Sought { hash: self.hasher.hash_one(state), likely: None };
            desk.sought.extend(expanded.next.iter().map(sought));
            if desk.sought.len() >= LOOK_UP {
                self.sift(&shards, desk);
            }
        }
        self.sift(&shards, desk);
    }

    /// Drops what is known and sorts the rest by its shards, many at a time: where to look is found for all of them
    /// before the first is looked at, so that the memory need not be waited for one by one.
    fn sift(&self, shards: &[&Shard<M::State>], desk: &mut Desk<M>) {
        let Desk { expanded, in_use, sought, recent, new, edges, .. } = desk;
        for Sought { hash, likely } in &mut *sought {
            if recent[recent_of(*hash)].0 != *hash {
                *likely = shards[shard_of(*hash)].likely(*hash);
            }
        }
        for Sought { hash, likely } in &mut *sought {
            *likely = likely.filter(|at| shards[shard_of(*hash)].state(*at as usize).1 == *hash);
        }
        let mut sought = sought.drain(..);
        for Expanded { from, order, next } in expanded.iter_mut().take(std::mem::take(in_use)) {
            let (from, order) = (*from, *order);
            for ((place, (action, state)), Sought { hash, likely }) in
                next.drain(..).enumerate().zip(&mut sought)
            {
                let (place, at) = (place as u16, shard_of(hash));
                let class =
                    if self.keep_edges { self.model.fairness(&action).unwrap_or(NO_CLASS) } else { NO_CLASS };
                let (shard, new) = (shards[at], &mut new[at]);
                let recent = &mut recent[recent_of(hash)];
                // Of a transition that is kept, the number of its end has to be known: that is for who keeps it to say.
                if recent.0 == hash
                    && !self.keep_edges
                    && new.get(recent.1 as usize).is_some_and(|found| found.state == state)
                {
                    continue;
                }
                let known = match likely {
                    Some(index) if shard.state(index as usize).0 == state => Some(index),
                    _ => shard.find(hash, &state),
                };
                match known {
                    None => {
                        *recent = (hash, new.len() as u32);
                        new.push(Found { hash, state, from, order, place, class });
                    }
                    Some(index) if self.keep_edges => {
                        edges.push(Edge { from, to: id(at, index as usize), place, class });
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// Keeps what is new of what came into a shard.
    fn keep_in(&self, at: usize, shard: &mut Shard<M::State>, kept: &mut Kept) {
        let mut inbox = std::mem::take(&mut shard.inbox);
        let all = inbox.iter_mut().flat_map(|found| found.drain(..));
        for Found { hash, state, from, order, place, class } in all {
            let to = match shard.find(hash, &state) {
                Some(known) => id(at, known as usize),
                None => {
                    let to = id(at, shard.count);
                    shard.insert(state, hash, (from, place));
                    kept.new.push(First { order, place, id: to });
                    to
                }
            };
            if self.keep_edges && from != ROOT {
                kept.edges.push(Edge { from, to, place, class });
            }
        }
        shard.inbox = inbox;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
