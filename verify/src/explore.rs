//! An explicit-state explorer: breadth first, exact states, two threads, the same result every time.
//!
//! A run is *complete* only when its frontier is empty. States are kept whole and compared whole: a hash only
//! says where to look. Each level is worked off in batches of two phases without locks: every worker first
//! expands its part of the batch into buckets by shard, then inserts the buckets of the shards that it owns.
//! Which worker does what depends on the batch alone, so the numbering of states, the parents and with them the
//! shortest counterexamples do not depend on timing.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hash};
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// What is explored: states and the actions between them.
pub trait Model: Sync {
    /// A whole situation; equal situations must be equal values.
    type State: Clone + Eq + Hash + Debug + Send + Sync;
    /// One thing that may happen.
    type Action: Clone + Debug + Send + Sync;
    /// The situations at the start.
    fn initial(&self) -> Vec<Self::State>;
    /// Everything that may happen in a situation.
    fn actions(&self, state: &Self::State, actions: &mut Vec<Self::Action>);
    /// The situation after it; none when the action turns out to be impossible.
    fn next(&self, state: &Self::State, action: &Self::Action) -> Option<Self::State>;
    /// What must never be violated.
    fn invariants(&self) -> Vec<Invariant<Self>>
    where
        Self: Sized,
    {
        Vec::new()
    }
    /// The fairness class of an action, below 64: see [`crate::liveness`]. None: it may be put off for ever.
    fn fairness(&self, _action: &Self::Action) -> Option<u8> {
        None
    }
}

/// A property of single states, or of single transitions.
pub struct Invariant<M: Model + ?Sized> {
    /// Its name, with the rule that it belongs to.
    pub name: &'static str,
    /// Whether the state says something about the property at all: the antecedent. It must be reached.
    pub concerns: fn(&M, &M::State) -> bool,
    /// Whether a state that is concerned keeps it.
    pub holds: fn(&M, &M::State) -> bool,
}

/// The number of a state, in the order of discovery within its shard.
pub type Id = u32;

const SHARD_BITS: u32 = 6;
const SHARDS: usize = 1 << SHARD_BITS;
const BATCH: usize = 1 << 15;
const ROOT: Id = Id::MAX;

/// One transition of the explored graph.
#[derive(Debug, Clone, Copy)]
pub struct Edge {
    /// From this state.
    pub from: Id,
    /// To this state.
    pub to: Id,
    /// The action's place among the actions of `from`.
    pub action: u16,
    /// Its fairness class, or [`NO_CLASS`].
    pub class: u8,
}

/// The class of an action that may be put off for ever.
pub const NO_CLASS: u8 = u8::MAX;

struct Shard<S> {
    table: HashTable<u32>,
    states: Vec<(S, u64)>,
    parents: Vec<(Id, u16)>,
}

struct Found<S> {
    hash: u64,
    state: S,
    from: Id,
    action: u16,
    class: u8,
}

/// Where and why an exploration stops short.
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

/// A violated invariant.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// The state that violates it; its path is a shortest one.
    pub state: Id,
}

/// What an exploration found.
pub struct Graph<'m, M: Model> {
    model: &'m M,
    shards: Vec<Shard<M::State>>,
    /// The transitions, when they were asked for.
    pub edges: Vec<Edge>,
    /// How many transitions there are.
    pub transitions: u64,
    /// How many steps the farthest state is away.
    pub depth: usize,
    /// Whether the frontier was empty at the end: every reachable state has been seen.
    pub complete: bool,
    /// Each invariant with the number of states that it concerned.
    pub witnesses: Vec<(&'static str, u64)>,
    /// The first violation of each invariant that is violated.
    pub violations: Vec<Violation>,
    /// How long it took.
    pub took: Duration,
}

/// Explores a model breadth first.
pub fn explore<'m, M: Model>(model: &'m M, limits: &Limits) -> Graph<'m, M> {
    let start = Instant::now();
    let invariants = model.invariants();
    let mut graph = Graph {
        model,
        shards: (0..SHARDS)
            .map(|_| Shard { table: HashTable::new(), states: Vec::new(), parents: Vec::new() })
            .collect(),
        edges: Vec::new(),
        transitions: 0,
        depth: 0,
        complete: false,
        witnesses: invariants.iter().map(|invariant| (invariant.name, 0)).collect(),
        violations: Vec::new(),
        took: Duration::ZERO,
    };
    let hasher = FixedState::with_seed(0x7469_6465);
    let mut buckets = vec![(0..SHARDS).map(|_| Vec::new()).collect::<Vec<_>>()];
    for state in model.initial() {
        let hash = hasher.hash_one(&state);
        buckets[0][shard_of(hash)].push(Found { hash, state, from: ROOT, action: 0, class: NO_CLASS });
    }
    let mut frontier = graph.insert(&invariants, limits, &mut buckets);
    while !frontier.is_empty() && graph.states() < limits.states && graph.violations.is_empty() {
        let mut next = Vec::new();
        for batch in frontier.chunks(BATCH) {
            let mut buckets = graph.expand(&hasher, limits.threads, batch);
            graph.transitions += buckets.iter().flatten().map(|bucket| bucket.len() as u64).sum::<u64>();
            next.append(&mut graph.insert(&invariants, limits, &mut buckets));
        }
        graph.depth += usize::from(!next.is_empty());
        frontier = next;
    }
    graph.complete = frontier.is_empty();
    graph.took = start.elapsed();
    graph
}

fn shard_of(hash: u64) -> usize {
    // The table uses the low bits and the top seven; these are neither.
    ((hash >> 40) as usize) & (SHARDS - 1)
}

fn id(shard: usize, index: usize) -> Id {
    ((index as u32) << SHARD_BITS) | shard as u32
}

impl<'m, M: Model> Graph<'m, M> {
    /// How many states were found.
    #[must_use]
    pub fn states(&self) -> usize {
        self.shards.iter().map(|shard| shard.states.len()).sum()
    }

    /// A state by its number.
    #[must_use]
    pub fn state(&self, id: Id) -> &M::State {
        &self.shards[shard(id)].states[index(id)].0
    }

    /// Every state's number.
    pub fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        let numbers = |(at, shard): (usize, &Shard<M::State>)| (0..shard.states.len()).map(move |n| id(at, n));
        self.shards.iter().enumerate().flat_map(numbers)
    }

    /// The actions that lead to a state on a shortest way, each with the state after it; first the initial state.
    #[must_use]
    pub fn path(&self, to: Id) -> (M::State, Vec<(M::Action, M::State)>) {
        let mut steps = Vec::new();
        let mut at = to;
        loop {
            let (from, action) = self.shards[shard(at)].parents[index(at)];
            if from == ROOT {
                steps.reverse();
                return (self.state(at).clone(), steps);
            }
            steps.push((self.action(from, action), self.state(at).clone()));
            at = from;
        }
    }

    /// The action at a place among the actions of a state.
    #[must_use]
    pub fn action(&self, from: Id, place: u16) -> M::Action {
        let mut actions = Vec::new();
        self.model.actions(self.state(from), &mut actions);
        actions.swap_remove(usize::from(place))
    }

    /// Phase one: the successors of a batch, by worker and shard. Reads only.
    fn expand(&self, hasher: &FixedState, threads: usize, batch: &[Id]) -> Vec<Vec<Vec<Found<M::State>>>> {
        let part = batch.len().div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            let workers: Vec<_> = batch
                .chunks(part)
                .map(|ids| scope.spawn(move || self.expand_part(hasher, ids)))
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    }

    fn expand_part(&self, hasher: &FixedState, ids: &[Id]) -> Vec<Vec<Found<M::State>>> {
        let mut buckets: Vec<Vec<Found<M::State>>> = (0..SHARDS).map(|_| Vec::new()).collect();
        let mut actions = Vec::new();
        for &from in ids {
            let state = self.state(from);
            actions.clear();
            self.model.actions(state, &mut actions);
            for (place, action) in actions.iter().enumerate() {
                if let Some(state) = self.model.next(state, action) {
                    let hash = hasher.hash_one(&state);
                    let class = self.model.fairness(action).unwrap_or(NO_CLASS);
                    buckets[shard_of(hash)].push(Found { hash, state, from, action: place as u16, class });
                }
            }
        }
        buckets
    }

    /// Phase two: keeps what is new; answers the new states' numbers. Each worker has its own shards.
    fn insert(
        &mut self,
        invariants: &[Invariant<M>],
        limits: &Limits,
        buckets: &mut [Vec<Vec<Found<M::State>>>],
    ) -> Vec<Id> {
        let per_worker = SHARDS.div_ceil(limits.threads.max(1));
        // By shard instead of by worker, without moving a state.
        let mut by_shard: Vec<Vec<Vec<Found<M::State>>>> = (0..SHARDS)
            .map(|at| buckets.iter_mut().map(|worker| std::mem::take(&mut worker[at])).collect())
            .collect();
        let model = self.model;
        let kept = std::thread::scope(|scope| {
            let shards = self.shards.chunks_mut(per_worker).zip(by_shard.chunks_mut(per_worker));
            let workers: Vec<_> = shards
                .enumerate()
                .map(|(worker, (shards, found))| {
                    let first = worker * per_worker;
                    scope.spawn(move || keep(model, invariants, limits.keep_edges, first, shards, found))
                })
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect::<Vec<_>>()
        });
        let mut new = Vec::new();
        for mut kept in kept {
            new.append(&mut kept.new);
            self.edges.append(&mut kept.edges);
            for (total, count) in self.witnesses.iter_mut().zip(kept.witnesses) {
                total.1 += count;
            }
            for violation in kept.violations {
                if !self.violations.iter().any(|known| known.invariant == violation.invariant) {
                    self.violations.push(violation);
                }
            }
        }
        new
    }
}

struct Kept {
    new: Vec<Id>,
    edges: Vec<Edge>,
    witnesses: Vec<u64>,
    violations: Vec<Violation>,
}

fn keep<M: Model>(
    model: &M,
    invariants: &[Invariant<M>],
    keep_edges: bool,
    first: usize,
    shards: &mut [Shard<M::State>],
    found: &mut [Vec<Vec<Found<M::State>>>],
) -> Kept {
    let mut kept =
        Kept { new: Vec::new(), edges: Vec::new(), witnesses: vec![0; invariants.len()], violations: Vec::new() };
    for (place, (shard, found)) in shards.iter_mut().zip(found).enumerate() {
        let Shard { table, states, parents } = shard;
        for Found { hash, state, from, action, class } in found.iter_mut().flat_map(|bucket| bucket.drain(..)) {
            let known = table.find(hash, |&at| {
                let (known, known_hash) = &states[at as usize];
                *known_hash == hash && *known == state
            });
            let to = match known {
                Some(&at) => id(first + place, at as usize),
                None => {
                    let to = id(first + place, states.len());
                    for (at, invariant) in invariants.iter().enumerate() {
                        if (invariant.concerns)(model, &state) {
                            kept.witnesses[at] += 1;
                            if !(invariant.holds)(model, &state) {
                                kept.violations.push(Violation { invariant: invariant.name, state: to });
                            }
                        }
                    }
                    table.insert_unique(hash, states.len() as u32, |&at| states[at as usize].1);
                    states.push((state, hash));
                    parents.push((from, action));
                    kept.new.push(to);
                    to
                }
            };
            if keep_edges && from != ROOT {
                kept.edges.push(Edge { from, to, action, class });
            }
        }
    }
    kept
}

fn shard(id: Id) -> usize {
    (id as usize) & (SHARDS - 1)
}

fn index(id: Id) -> usize {
    (id >> SHARD_BITS) as usize
}
