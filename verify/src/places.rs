//! Where values are, by their hashes: a table of numbers that may be read while one thread writes.
//!
//! A value is found in one line of memory, mostly, and that line is never written to by who only reads: on two cores
//! that are far from each other a line that both write to costs more than the rest of the work.

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};

use rustc_hash::FxBuildHasher;

/// The hash of a value. What is explored is made of many small numbers; this hasher takes each as it comes, where others gather
/// them first, which costs more.
pub fn hash_of(value: &impl Hash) -> u64 {
    FxBuildHasher.hash_one(value)
}

/// A table of which at most five in eight entries are in use.
#[derive(Debug)]
pub struct Places {
    /// A key and a number, counted from 1, of a value in each; 0: nothing. A value stands at the place that its key says, or
    /// in the next free one.
    entries: Box<[AtomicU64]>,
}

/// What a table knows of a hash: its lower bits say the place.
pub type Key = u32;

impl Places {
    /// An empty one, of two to the power of `bits` entries.
    #[must_use]
    pub fn new(bits: u32) -> Self {
        Self { entries: (0..1_usize << bits).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Whether `count` values are as many as it holds.
    #[must_use]
    pub fn is_full(&self, count: usize) -> bool {
        count >= self.entries.len() / 8 * 5
    }

    /// The places of the entries from the one of a key on, each once.
    fn from(&self, key: Key) -> impl Iterator<Item = &AtomicU64> {
        let (before, after) = self.entries.split_at(key as usize & (self.entries.len() - 1));
        after.iter().chain(before)
    }

    /// The number of the value with this key that is the same.
    pub fn find(&self, key: Key, same: impl Fn(u32) -> bool) -> Option<u32> {
        for entry in self.from(key) {
            let entry = entry.load(Ordering::Acquire);
            let number = (entry as u32).checked_sub(1)?;
            if (entry >> 32) as u32 == key && same(number) {
                return Some(number);
            }
        }
        None
    }

    /// Enters the number of a value that is not there yet. One thread at a time may; it looks that this is not full.
    pub fn enter(&self, key: Key, number: u32) {
        if let Some(free) = self.from(key).find(|entry| entry.load(Ordering::Relaxed) == 0) {
            free.store(u64::from(key) << 32 | u64::from(number + 1), Ordering::Release);
        }
    }

    /// The same entries with twice as much room.
    #[must_use]
    pub fn doubled(&self) -> Self {
        let doubled = Self::new(self.entries.len().ilog2() + 1);
        for entry in &self.entries {
            let entry = entry.load(Ordering::Relaxed);
            if let Some(number) = (entry as u32).checked_sub(1) {
                doubled.enter((entry >> 32) as u32, number);
            }
        }
        doubled
    }

    /// Something of what is read to find a key.
    #[must_use]
    pub fn peek(&self, key: Key) -> u16 {
        self.from(key).next().map_or(0, |entry| entry.load(Ordering::Relaxed) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_entered_is_found_by_its_key_and_by_nothing_else_also_after_doubling() {
        // Keys that all want the last places, so that they go on from the first ones; some of them equal.
        let key = |number: u32| ((number / 2) << 16) | 0xffff;
        let mut places = Places::new(4);
        for number in 0..300 {
            assert_eq!(places.find(key(number), |found| found == number), None);
            if places.is_full(number as usize) {
                places = places.doubled();
            }
            places.enter(key(number), number);
            for known in 0..=number {
                assert_eq!(places.find(key(known), |found| found == known), Some(known));
            }
            assert_eq!(places.find(key(number), |_| false), None);
            assert_eq!(places.find(key(number) - 1, |_| true), None, "another key");
        }
        assert_eq!(places.entries.len(), 512, "300 are at most five in eight of it");
    }

    #[test]
    fn one_reads_while_another_writes() {
        let places = Places::new(14);
        let key = |number: u32| number.wrapping_mul(0x9e37_79b9);
        std::thread::scope(|scope| {
            scope.spawn(|| (0..10_000).for_each(|number| places.enter(key(number), number)));
            scope.spawn(|| {
                for number in 0..10_000 {
                    while places.find(key(number), |found| found == number).is_none() {
                        std::hint::spin_loop();
                    }
                }
            });
        });
    }
}
