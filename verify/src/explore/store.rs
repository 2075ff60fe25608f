//! Where an exploration keeps its states: whole, each once, and by number.

use super::Id;
use crate::places::{Key, Places};

const SHARD_BITS: u32 = 6;
/// Over so many shards the states are spread by their hashes.
pub const SHARDS: usize = 1 << SHARD_BITS;
/// The most states that the numbers reach.
pub const MOST_STATES: usize = 1 << 30;
/// In place of a parent: there is none.
pub const ROOT: Id = Id::MAX;

/// The shard of a state with this hash.
pub fn shard_of(hash: u64) -> usize {
    // The table uses the low 32 bits; these are others.
    (hash >> (64 - SHARD_BITS)) as usize
}

/// The number of the state at an index of a shard.
pub fn id(shard: usize, index: usize) -> Id {
    (index as u32) << SHARD_BITS | shard as u32
}

/// The shard of the state with this number.
pub fn shard(id: Id) -> usize {
    id as usize & (SHARDS - 1)
}

/// Its index therein.
pub fn index(id: Id) -> usize {
    (id >> SHARD_BITS) as usize
}

/// Of a hash, what the table of a shard knows.
fn key(hash: u64) -> Key {
    hash as Key
}

/// A state, and the transition that found it first.
pub struct Record<S> {
    pub state: S,
    pub parent: Id,
    /// Its place among the successors of the parent.
    pub place: u16,
}

/// Some of the states, and what may be new among them.
pub struct Shard<S> {
    table: Places,
    /// In chunks, so that growing moves nothing.
    records: Vec<Vec<Record<S>>>,
    pub count: usize,
    /// What may be new, from each desk.
    pub inbox: Vec<Vec<Found<S>>>,
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

impl<S> Shard<S> {
    /// An empty one, for so many desks.
    pub fn new(desks: usize) -> Self {
        Self {
            table: Places::new(FIRST_BITS),
            records: Vec::new(),
            count: 0,
            inbox: (0..desks).map(|_| Vec::new()).collect(),
        }
    }

    /// A state by its index, with the transition that found it.
    pub fn record(&self, index: usize) -> &Record<S> {
        let (chunk, offset, _) = place(index);
        &self.records[chunk][offset]
    }

    /// A state by its index.
    pub fn state(&self, index: usize) -> &S {
        &self.record(index).state
    }

    /// Where a state of this hash probably is. None: it is not there.
    pub fn likely(&self, hash: u64) -> Option<u32> {
        self.table.find(key(hash), |_| true)
    }

    /// Something of what is read to find a hash.
    pub fn peek(&self, hash: u64) -> u16 {
        self.table.peek(key(hash))
    }

    /// Keeps a state that is not there yet.
    pub fn insert(&mut self, hash: u64, record: Record<S>) {
        let Self { table, records, count, .. } = self;
        let (_, offset, size) = place(*count);
        if offset == 0 {
            records.push(Vec::with_capacity(size));
        }
        if let Some(last) = records.last_mut() {
            last.push(record);
        }
        if table.is_full(*count) {
            *table = table.doubled();
        }
        table.enter(key(hash), *count as u32);
        *count += 1;
    }
}

impl<S: Eq> Shard<S> {
    /// The index of a state, if it is there.
    pub fn find(&self, hash: u64, state: &S) -> Option<u32> {
        self.table.find(key(hash), |index| self.state(index as usize) == state)
    }
}

/// A state that may be new, with the transition that led to it.
pub struct Found<S> {
    pub hash: u64,
    pub state: S,
    pub from: Id,
    /// The place of `from` in its batch.
    pub order: u32,
    pub place: u16,
    pub class: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_finds_again_what_grew_with_it_even_among_equal_keys() {
        let mut shard = Shard::new(0);
        // The keys of all are equal, their hashes are not, and then their hashes are equal, too.
        let hash = |n: u32| u64::from(n / 2) << 32 | 5;
        for n in 0..300_u32 {
            assert_eq!(shard.find(hash(n), &n), None);
            shard.insert(hash(n), Record { state: n, parent: n + 1, place: 7 });
        }
        for n in 0..300_u32 {
            assert_eq!(shard.find(hash(n), &n), Some(n));
            let Record { state, parent, place } = *shard.record(n as usize);
            assert_eq!((state, parent, place), (n, n + 1, 7));
        }
        assert_eq!((shard.count, shard.find(hash(0), &300)), (300, None));
    }

    #[test]
    fn chunks_hold_every_index_once() {
        let mut filled = [0; 16];
        for n in 0..5_000 {
            let (chunk, offset, size) = place(n);
            assert_eq!(filled[chunk], offset, "{n}");
            filled[chunk] += 1;
            assert!(offset < size);
        }
    }
}
