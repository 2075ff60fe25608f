//! Values that many states share, each kept once.
//!
//! A state of a system is a handful of machines and their surroundings, and most actions change one of them. So a
//! state names its machines by [`Part`]s of a pool: twelve bytes, compared by number, hashed by the hash
//! of the value. Equal values always get the same part, so comparing parts is comparing values, exactly.
//!
//! Which number a value gets depends on which thread brings it first; its hash does not. Nothing but equality ever
//! looks at the number, so results do not depend on timing.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::places::{Key, Places, hash_of};

const SHARD_BITS: u32 = 5;
const SHARDS: usize = 1 << SHARD_BITS;
/// The first chunk of a shard holds two to the power of this; each further one as many as all before it.
const FIRST_BITS: u32 = 6;
const CHUNKS: usize = 22;

/// A value of a [`Pool`].
pub struct Part<T> {
    /// Counted from 1, so that one that may be missing needs no more room.
    number: NonZeroU32,
    /// Of the value, all 64 bits: others may look at nothing else.
    hash: [u32; 2],
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Part<T> {}
impl<T> PartialEq for Part<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl<T> Eq for Part<T> {}
impl<T> Hash for Part<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [high, low] = self.hash;
        state.write_u64(u64::from(high) << 32 | u64::from(low));
    }
}
impl<T> fmt::Debug for Part<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:08x}", self.hash[0])
    }
}

/// A value to work on, `V`, that may have come from a pool, where it is a `K`: when it goes back as it came, nobody has to
/// look for it.
#[derive(Debug, Clone, Copy)]
pub struct Loan<V, K = V> {
    value: V,
    from: Option<Part<K>>,
}

impl<V, K: Eq + Hash> Loan<V, K> {
    /// One that comes from no pool.
    pub fn new(value: V) -> Self {
        Self { value, from: None }
    }

    /// One that stands for this part.
    pub fn of(value: V, part: Part<K>) -> Self {
        Self { value, from: Some(part) }
    }

    /// Into the pool, in the form that is kept.
    pub fn keep(self, pool: &Pool<K>, form: impl FnOnce(V) -> K) -> Part<K> {
        let kept = form(self.value);
        match self.from {
            Some(part) if *pool.get(part) == kept => part,
            _ => pool.part(kept),
        }
    }
}

impl<V, K> Deref for Loan<V, K> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}

impl<V, K> DerefMut for Loan<V, K> {
    fn deref_mut(&mut self) -> &mut V {
        &mut self.value
    }
}

type Chunk<T> = OnceLock<Box<[OnceLock<T>]>>;

/// The first table of a shard has two to the power of this entries, each further one twice as many as the one before it.
const PLACES_BITS: u32 = 6;

/// Values are found without a lock, and mostly they are there; only to bring a new one is for one thread at a time.
struct Shard<T> {
    /// How many values there are. Whoever holds this may write.
    count: Mutex<u32>,
    /// The numbers within the shard of the values. Older tables stay, as somebody may be reading them.
    tables: [OnceLock<Places>; CHUNKS + 1],
    /// The place of the table that has all of them.
    newest: AtomicUsize,
    chunks: [Chunk<T>; CHUNKS],
}

/// Where values are kept.
pub struct Pool<T> {
    shards: Vec<Shard<T>>,
}

impl<T: Eq + Hash> Default for Pool<T> {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS)
                .map(|_| Shard {
                    count: Mutex::default(),
                    tables: std::array::from_fn(|_| OnceLock::new()),
                    newest: AtomicUsize::new(0),
                    chunks: std::array::from_fn(|_| OnceLock::new()),
                })
                .collect(),
        }
    }
}

impl<T: Eq + Hash> Pool<T> {
    /// The part that stands for this value.
    ///
    /// # Panics
    /// When a pool holds more values than its numbers reach (a hundred million).
    pub fn part(&self, value: T) -> Part<T> {
        let hash = hash_of(&value);
        let at = (hash >> (64 - SHARD_BITS)) as usize;
        let shard = &self.shards[at];
        let key = hash as Key;
        let number = shard.find(key, &value).unwrap_or_else(|| shard.keep(key, value));
        let halves = [(hash >> 32) as u32, hash as u32];
        let number = NonZeroU32::MIN.saturating_add(number << SHARD_BITS | at as u32);
        Part { number, hash: halves, of: PhantomData }
    }

    /// The value of a part.
    ///
    /// # Panics
    /// When the part is another pool's.
    #[must_use]
    pub fn get(&self, part: Part<T>) -> &T {
        let number = part.number.get() - 1;
        let shard = &self.shards[number as usize & (SHARDS - 1)];
        match shard.get(number >> SHARD_BITS) {
            Some(value) => value,
            None => unreachable!("a part of another pool"),
        }
    }

    /// The value of a part, to work on.
    pub fn lend(&self, part: Part<T>) -> Loan<T>
    where
        T: Clone,
    {
        Loan::of(self.get(part).clone(), part)
    }

    /// How many different values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let count = |shard: &Shard<T>| *shard.count.lock().unwrap_or_else(PoisonError::into_inner) as usize;
        self.shards.iter().map(count).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Shard<T> {
    fn get(&self, number: u32) -> Option<&T> {
        let (chunk, offset) = place(number);
        self.chunks.get(chunk)?.get()?.get(offset)?.get()
    }
}

impl<T: Eq> Shard<T> {
    /// The table that has every value, or had, a moment ago.
    fn table(&self) -> &Places {
        let newest = &self.tables[self.newest.load(Ordering::Acquire)];
        newest.get_or_init(|| Places::new(PLACES_BITS))
    }

    /// The number of a value, if it has one.
    fn find(&self, key: Key, value: &T) -> Option<u32> {
        self.table().find(key, |number| self.get(number) == Some(value))
    }

    /// The number of a value that had none just now.
    fn keep(&self, key: Key, value: T) -> u32 {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have brought it since.
        if let Some(number) = self.find(key, &value) {
            return number;
        }
        let number = *count;
        let (chunk, offset) = place(number);
        let chunk = self.chunks.get(chunk);
        let Some(chunk) = chunk else { unreachable!("a pool is full") };
        let size = if number < 1 << FIRST_BITS { 1 << FIRST_BITS } else { 1 << number.ilog2() };
        let slots = chunk.get_or_init(|| (0..size).map(|_| OnceLock::new()).collect());
        let _fresh = slots[offset].set(value);
        if self.table().is_full(number as usize) {
            let newest = self.newest.load(Ordering::Relaxed) + 1;
            let _fresh = self.tables[newest].set(self.table().doubled());
            self.newest.store(newest, Ordering::Release);
        }
        self.table().enter(key, number);
        *count += 1;
        number
    }
}

/// The chunk of a number, and its offset therein.
fn place(number: u32) -> (usize, usize) {
    if number < 1 << FIRST_BITS {
        return (0, number as usize);
    }
    let log = number.ilog2();
    ((log - FIRST_BITS + 1) as usize, (number - (1 << log)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_get_one_part_and_come_back() {
        let pool: Pool<String> = Pool::default();
        let parts: Vec<_> = (0..10_000).map(|number| pool.part(format!("value {number}"))).collect();
        for (number, part) in parts.iter().enumerate() {
            assert_eq!(pool.get(*part), &format!("value {number}"));
            assert_eq!(pool.part(format!("value {number}")), *part);
        }
        assert_eq!(pool.len(), 10_000);
    }

    #[test]
    fn what_was_lent_comes_back_as_its_value_says_and_not_as_it_was_lent() {
        let pool: Pool<Vec<u8>> = Pool::default();
        let part = pool.part(vec![1, 2]);
        let keep = |loan: Loan<Vec<u8>>| loan.keep(&pool, |value| value);
        assert_eq!(keep(pool.lend(part)), part);
        let mut loan = pool.lend(part);
        loan.push(3);
        let other = keep(loan.clone());
        assert_ne!(other, part);
        assert_eq!((pool.get(other), pool.get(part)), (&vec![1, 2, 3], &vec![1, 2]));
        loan.pop();
        assert_eq!(keep(loan), part);
        assert_eq!(keep(Loan::new(vec![1, 2, 3])), other);
        assert_eq!(Loan::of(3, part).keep(&pool, |last| vec![1, 2, last]), other, "in another form");
        assert_eq!(pool.len(), 2);
    }

    #[test]
    fn threads_that_bring_the_same_values_share_them() {
        let pool: Pool<u64> = Pool::default();
        let parts = |_| (0..5_000_u64).map(|value| pool.part(value)).collect::<Vec<_>>();
        let all = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || parts(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(all.iter().all(|parts| *parts == all[0]));
        assert_eq!(pool.len(), 5_000);
    }

    #[test]
    fn values_whose_hashes_collide_stay_apart() {
        #[derive(PartialEq, Eq)]
        struct Alike(u32);
        impl Hash for Alike {
            fn hash<H: Hasher>(&self, state: &mut H) {
                state.write_u8(1);
            }
        }
        let pool: Pool<Alike> = Pool::default();
        let parts: Vec<_> = (0..300).map(|value| pool.part(Alike(value))).collect();
        assert!(parts.iter().enumerate().all(|(value, part)| pool.get(*part).0 as usize == value));
        assert_eq!(pool.len(), 300);
    }
}
