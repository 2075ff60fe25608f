//! The search itself, breadth first: each level is worked off in batches, of two phases each.
//!
//! First the states of a batch are expanded, piece by piece, what is known already is dropped (nobody writes now) and the
//! rest sorted by shard; then the shards keep what is new, some at a time. A [`crew`](crate::crew) does both, and who is done
//! with a piece takes the next one. In which order the pieces are heard depends on the batch alone.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::store::{Found, ROOT, Record, SHARDS, Shard, id, index, shard, shard_of};
use super::{DEADLOCK, Edge, Graph, Id, Limits, Model, NO_CLASS, Violation, Watch};
use crate::crew::Crew;
use crate::places::hash_of;

/// So many shards are kept by one thread at a time.
const GROUP: usize = 1 << 2;
/// So many lanes a level has. What a lane leads to stays in it, as far as the lanes stay equally long, and so mostly with
/// the thread that found it. As many however many threads there are: the numbers of the states depend on it.
const LANES: usize = 2;
/// So many states of each lane are worked off together: what is found is still at hand when it is kept.
const BATCH: usize = 1 << 9;
/// Fewer states than this are not worth another thread.
const SMALLEST: usize = 1 << 6;
/// How many successors are looked up together, at least.
const LOOK_UP: usize = 1 << 6;
/// How many states are fetched together before they are expanded.
const AHEAD: usize = 1 << 5;
/// How many of those that it found last a desk knows again: as many as the nearest memory holds.
const RECENT: usize = 1 << 11;

fn recent_of(hash: u64) -> usize {
    (hash >> 14) as usize & (RECENT - 1)
}

/// Reads from many places of the memory at once, which is then at hand: it need not be waited for at one after the other.
fn touch(places: impl Iterator<Item = u16>) {
    std::hint::black_box(places.fold(0, |all, place| all | place));
}

/// What of a phase is worked off by one thread or another.
#[derive(Debug, Clone, Copy)]
pub enum Phase {
    /// The states of a piece of the batch: their successors are found, and what is known of these is dropped.
    Expand,
    /// So many groups of shards are a piece: they keep what is new.
    Keep(usize),
}

/// A level that is worked off, and its batch of the moment, cut into pieces.
#[derive(Debug, Default)]
struct Batch {
    frontier: Vec<Id>,
    pieces: Vec<Piece>,
}

/// Some states of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    /// Where they are on the frontier.
    range: Range<usize>,
    /// The place of the first of them in the batch.
    first: u32,
}

/// Cuts the batch of a level of this size that starts so far into its lanes: each thread's share into ever smaller
/// pieces, so that whoever is done takes what is left of the others' shares, and nobody waits long for the last piece.
fn cut(size: usize, start: usize, threads: usize, pieces: &mut Vec<Piece>) {
    pieces.clear();
    let lane = lane(size);
    let mut first = 0;
    for lane in (0..LANES).map(|at| at * lane..size.min((at + 1) * lane)) {
        let range = lane.start + start..lane.end.min(lane.start + start + BATCH);
        let share = range.len().div_ceil(threads.div_ceil(LANES)).max(SMALLEST);
        for start in range.clone().step_by(share) {
            let mut left = start..range.end.min(start + share);
            while !left.is_empty() {
                let end = left.start + (left.len() / 3).max(SMALLEST).min(left.len());
                pieces.push(Piece { range: left.start..end, first });
                first += (end - left.start) as u32;
                left.start = end;
            }
        }
    }
}

/// How long the lanes of a level of this size are, but for the last.
fn lane(size: usize) -> usize {
    size.div_ceil(LANES).max(SMALLEST)
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
    at: At,
}

/// Where in its shard a successor is.
#[derive(Clone, Copy)]
enum At {
    /// That was not asked.
    Unasked,
    Nowhere,
    Probably(u32),
    Here(u32),
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

/// Brings states into the order in which they were found. As one thread does this while the others wait, it counts instead of
/// comparing.
#[derive(Debug, Default)]
struct Order {
    /// Where the next state of each order goes.
    ends: Vec<u32>,
    sorted: Vec<First>,
}

impl Order {
    /// Appends the states of `new` to the lanes that led to them: in their batch, that many states are of each.
    fn append<'k>(
        &mut self,
        new: impl Iterator<Item = &'k First> + Clone,
        each: usize,
        next: &mut [Vec<Id>; LANES],
    ) {
        let Self { ends, sorted } = self;
        ends.clear();
        for First { order, .. } in new.clone() {
            let order = *order as usize;
            if order >= ends.len() {
                ends.resize(order + 1, 0);
            }
            ends[order] += 1;
        }
        let mut end = 0;
        for at in &mut *ends {
            // Where those of this order start, for now.
            end += std::mem::replace(at, end);
        }
        sorted.resize(end as usize, First { order: 0, place: 0, id: 0 });
        for first in new {
            let at = &mut ends[first.order as usize];
            sorted[*at as usize] = *first;
            *at += 1;
        }
        for alike in sorted.chunk_by_mut(|one, other| one.order == other.order) {
            alike.sort_unstable();
        }
        let lane = |first: &First| (first.order as usize / each).min(LANES - 1);
        for alike in sorted.chunk_by(|one, other| lane(one) == lane(other)) {
            next[lane(&alike[0])].extend(alike.iter().map(|first| first.id));
        }
    }
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
pub struct Search<'m, M: Model> {
    model: &'m M,
    keep_edges: bool,
    groups: Vec<Group<M::State>>,
    batch: RwLock<Batch>,
    /// One for each piece of a batch.
    expanding: Vec<Mutex<Desk<M>>>,
    /// One for each group.
    keeping: Vec<Mutex<Kept>>,
}

impl<'m, M: Model> Search<'m, M> {
    /// Nothing is found yet.
    pub fn new(model: &'m M, limits: &Limits) -> Self {
        let (properties, cells) = (model.properties().len(), model.cells());
        let mut pieces = Vec::new();
        cut(BATCH * LANES, 0, limits.threads, &mut pieces);
        let desks = pieces.len();
        let group = |_| RwLock::new((0..GROUP).map(|_| Shard::new(desks)).collect());
        Self {
            model,
            keep_edges: limits.keep_edges,
            groups: (0..SHARDS / GROUP).map(group).collect(),
            batch: RwLock::default(),
            expanding: (0..desks).map(|_| Desk::at(Watch::new(properties, cells))).collect(),
            keeping: (0..SHARDS / GROUP).map(|_| Mutex::default()).collect(),
        }
    }

    /// Goes through the levels.
    pub fn lead(&self, crew: &Crew<'_, Phase>, limits: &Limits) -> Graph<'m, M> {
        let mut graph = Graph::empty(self.model);
        if let Some(mut desk) = self.expanding.first().map(lock) {
            for (place, state) in self.model.initial().into_iter().enumerate() {
                let hash = hash_of(&state);
                desk.new[shard_of(hash)].push(Found {
                    hash,
                    state,
                    from: ROOT,
                    order: 0,
                    // In the order of the model, whatever their hashes.
                    place: place as u16,
                    class: NO_CLASS,
                });
            }
        }
        let mut next = <[Vec<Id>; LANES]>::default();
        let mut order = Order::default();
        self.keep(crew, (1, 1), &mut graph, &mut order, &mut next);
        let count = |next: &[Vec<Id>; LANES]| next.iter().map(Vec::len).sum::<usize>();
        let mut states = count(&next);
        while count(&next) > 0 && graph.violations.is_empty() && states < limits.states {
            let size = count(&next);
            {
                let frontier = &mut write(&self.batch).frontier;
                frontier.clear();
                next.iter_mut().for_each(|lane| frontier.append(lane));
            }
            let lane = lane(size);
            for start in (0..lane).step_by(BATCH) {
                if states >= limits.states {
                    // Some of this level stays on the frontier.
                    next[0].extend(read(&self.batch).frontier.iter().skip(start));
                    break;
                }
                let pieces = {
                    let pieces = &mut write(&self.batch).pieces;
                    cut(size, start, limits.threads, pieces);
                    pieces.len()
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
                let known = count(&next);
                self.keep(crew, (pieces, BATCH.min(lane - start)), &mut graph, &mut order, &mut next);
                states += count(&next) - known;
            }
            graph.depth += usize::from(count(&next) > 0);
        }
        graph.complete = count(&next) == 0;
        graph
    }

    /// The states that were found.
    pub fn into_shards(self) -> Vec<Shard<M::State>> {
        let groups = self.groups.into_iter();
        groups.flat_map(|group| group.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
    }

    /// Has what is on so many desks kept, where it is new; those states go to `next`, by the lanes of a batch that has that
    /// many states of each.
    fn keep(
        &self,
        crew: &Crew<'_, Phase>,
        (desks, each): (usize, usize),
        graph: &mut Graph<'m, M>,
        order: &mut Order,
        next: &mut [Vec<Id>; LANES],
    ) {
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
        order.append(kept.iter().flat_map(|kept| &kept.new), each, next);
        kept.iter_mut().for_each(|kept| kept.new.clear());
    }

    /// Works off one piece of a phase.
    pub fn work(&self, phase: Phase, piece: usize) {
        match phase {
            Phase::Expand => {
                let batch = read(&self.batch);
                let Piece { range, first } = batch.pieces[piece].clone();
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
    fn expand_piece(&self, first: u32, ids: &[Id], desk: &mut Desk<M>) {
        let groups: Vec<_> = self.groups.iter().map(read).collect();
        let shards: Vec<&Shard<M::State>> = groups.iter().flat_map(|group| group.iter()).collect();
        for (order, &from) in ids.iter().enumerate() {
            if order % AHEAD == 0 {
                touch(ids[order..].iter().take(AHEAD).map(|&id| shards[shard(id)].record(index(id)).place));
            }
            let order = first + order as u32;
            let state = shards[shard(from)].state(index(from));
            desk.watch.about(from);
            self.model.inspect(state, &mut desk.watch);
            desk.watch.at(0);
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
            let sought = |(_, state): &(_, _)| Sought { hash: hash_of(state), at: At::Unasked };
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
        touch(sought.iter().map(|Sought { hash, .. }| shards[shard_of(*hash)].peek(*hash)));
        for Sought { hash, at } in &mut *sought {
            if recent[recent_of(*hash)].0 != *hash {
                *at = shards[shard_of(*hash)].likely(*hash).map_or(At::Nowhere, At::Probably);
            }
        }
        let successors = expanded.iter().take(*in_use).flat_map(|expanded| &expanded.next);
        for ((_, state), Sought { hash, at }) in successors.zip(&mut *sought) {
            if let At::Probably(index) = *at
                && shards[shard_of(*hash)].state(index as usize) == state
            {
                *at = At::Here(index);
            }
        }
        let mut sought = sought.drain(..);
        for Expanded { from, order, next } in expanded.iter_mut().take(std::mem::take(in_use)) {
            let (from, order) = (*from, *order);
            for ((place, (action, state)), Sought { hash, at: known }) in
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
                let known = match known {
                    At::Here(index) => Some(index),
                    At::Nowhere => None,
                    At::Unasked | At::Probably(_) => shard.find(hash, &state),
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
        touch(inbox.iter().flatten().map(|found| shard.peek(found.hash)));
        let all = inbox.iter_mut().flat_map(|found| found.drain(..));
        for Found { hash, state, from, order, place, class } in all {
            let to = match shard.find(hash, &state) {
                Some(known) => id(at, known as usize),
                None => {
                    let to = id(at, shard.count);
                    shard.insert(hash, Record { state, parent: from, place });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cuts_leave_nothing_out_and_make_no_more_pieces_than_that_of_a_whole_batch() {
        let cut = |size, start, threads| {
            let mut pieces = Vec::new();
            cut(size, start, threads, &mut pieces);
            pieces
        };
        for threads in 1..=7 {
            let most = cut(BATCH * LANES, 0, threads).len();
            for size in (0..200).chain([1_000, 2_047, 2 * BATCH + 1, 5 * BATCH - 1]) {
                let mut seen = Vec::new();
                for start in (0..lane(size)).step_by(BATCH) {
                    let pieces = cut(size, start, threads);
                    assert!(pieces.len() <= most && pieces.iter().all(|piece| !piece.range.is_empty()));
                    let each = BATCH.min(lane(size) - start);
                    let mut first = 0;
                    for Piece { range, first: at } in pieces {
                        assert_eq!(at, first, "counted on");
                        assert_eq!(range.start / lane(size), first as usize / each, "in its lane");
                        first += range.len() as u32;
                        seen.extend(range);
                    }
                }
                seen.sort_unstable();
                assert!(seen.into_iter().eq(0..size), "{threads} threads, {size}: each once");
            }
            assert!(cut(SMALLEST, 0, threads).len() <= 1, "too few for another thread");
        }
    }

    #[test]
    fn counting_gives_the_order_that_comparing_gives_and_each_lane_its_own() {
        let first = |n: u32| First { order: n * 7_919 % 61, place: (n * 31 % 17) as u16, id: n };
        let mut new: Vec<First> = (0..500).map(first).collect();
        let mut lanes = [vec![Id::MAX], vec![]];
        let mut order = Order::default();
        order.append(new.iter(), 31, &mut lanes);
        assert_eq!(lanes[0][0], Id::MAX, "what was there before stays");
        new.sort_unstable();
        let (low, high): (Vec<First>, Vec<First>) = new.iter().partition(|first| first.order < 31);
        let ids = |new: &[First]| new.iter().map(|first| first.id).collect::<Vec<_>>();
        assert_eq!((&lanes[0][1..], &lanes[1]), (&*ids(&low), &ids(&high)));
        let known = lanes.clone();
        order.append([].iter(), 31, &mut lanes);
        assert_eq!(lanes, known);
        order.append(high[..3].iter().rev(), 31, &mut lanes);
        assert_eq!(lanes[1][high.len()..], ids(&high)[..3], "it is used again and again");
    }
}
