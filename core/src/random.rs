//! Randomness that can be replayed: one pinned stream of integers, or a script.

use alloc::vec::Vec;

use crate::{Reader, Record, RecordFault, Writer};

/// One scripted draw: a point of the interval that is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Draw {
    /// The lower end.
    Min,
    /// The middle, rounded down.
    Mid,
    /// The upper end.
    Max,
}

/// A source of integers. A stream is pinned: the same seed gives the same numbers in every language and
/// every release. It is `SplitMix64` (Steele, Lea, Flood 2014): 64 bits of state, passes `BigCrush`, and is
/// ten lines in any language that wants to check us.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Random {
    /// The pinned stream, by its state.
    Stream(u64),
    /// Chosen draws, the last first; once they are used up every draw is [`Draw::Mid`]. Tests and the
    /// explorer decide each draw with it.
    Script(Vec<Draw>),
}

impl Random {
    /// The stream of a seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::Stream(seed)
    }

    /// A script of draws, the first one first.
    #[must_use]
    pub fn scripted(draws: &[Draw]) -> Self {
        Self::Script(draws.iter().rev().copied().collect())
    }

    /// A number of `low..=high`, every one equally likely (to within 2^-64 of the width); `low` when the
    /// interval is empty.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        let Some(width) = high.checked_sub(low) else { return low };
        let offset = match self {
            Self::Stream(state) => {
                let product = u128::from(split_mix(state)).wrapping_mul(u128::from(width).wrapping_add(1));
                u64::try_from(product >> 64).unwrap_or(width)
            }
            Self::Script(draws) => match draws.pop().unwrap_or(Draw::Mid) {
                Draw::Min => 0,
                Draw::Mid => width >> 1,
                Draw::Max => width,
            },
        };
        low.saturating_add(offset)
    }
}

impl Record for Random {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Stream(state) => {
                to.number(0);
                to.number(*state);
            }
            Self::Script(draws) => {
                to.number(1);
                to.length(draws.len());
                for draw in draws {
                    to.number(match draw {
                        Draw::Min => 0,
                        Draw::Mid => 1,
                        Draw::Max => 2,
                    });
                }
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        match from.number()? {
            0 => Ok(Self::Stream(from.number()?)),
            1 => {
                let mut draws = Vec::new();
                for _ in 0..from.length()? {
                    draws.push(match from.number()? {
                        0 => Draw::Min,
                        1 => Draw::Mid,
                        2 => Draw::Max,
                        _ => return Err(RecordFault::Corrupt),
                    });
                }
                Ok(Self::Script(draws))
            }
            _ => Err(RecordFault::Corrupt),
        }
    }
}

/// The next number of the stream.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_published_one() {
        // Reference values of SplitMix64 with seed 1234567.
        let mut state = 1_234_567;
        let drawn: Vec<u64> = (0..3).map(|_| split_mix(&mut state)).collect();
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn a_draw_stays_inside_its_interval_up_to_the_widest() {
        let mut random = Random::seeded(7);
        for (low, high) in [(0, 0), (5, 5), (5, 6), (0, u64::MAX), (u64::MAX, u64::MAX), (9, 3)] {
            for _ in 0..100 {
                let drawn = random.between(low, high);
                assert!(drawn >= low && (drawn <= high || high < low), "{drawn} of {low}..={high}");
            }
        }
    }

    #[test]
    fn a_script_chooses_ends_and_middle_and_then_the_middle() {
        let mut random = Random::scripted(&[Draw::Min, Draw::Max]);
        assert_eq!([random.between(10, 20), random.between(10, 20), random.between(10, 20)], [10, 20, 15]);
    }
}
