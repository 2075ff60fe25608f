//! Time is a number that the host supplies.

use crate::{Rejection, RejectionCode};

/// Milliseconds of a host-supplied monotonic clock, or a duration on it. Below 2^53, so that it crosses to
/// JavaScript as an exact number.
pub type Millis = u64;

/// The last instant that a machine accepts (2^53 − 1, `Number.MAX_SAFE_INTEGER`).
pub const MAX_TIME: Millis = (1 << 53) - 1;

/// The longest duration that a config may ask for: 400 days. Far above any use, and small enough that sums
/// of a few of them never come near [`MAX_TIME`].
pub const MAX_DURATION: Millis = 400 * 24 * 60 * 60 * 1000;

/// The instant after the last that a host can say (2^53, still exact as a JavaScript number). A timer at the end
/// of time stands here and not at [`MAX_TIME`], where it would be due again as soon as it is re-armed.
pub const NEVER: Millis = MAX_TIME + 1;

/// `at` plus `duration`, never past [`NEVER`]: later than `at` for every `at` that a host can say.
#[must_use]
pub fn add(at: Millis, duration: Millis) -> Millis {
    at.saturating_add(duration).min(NEVER)
}

/// What is left from `now` until `at`; zero when that is past.
#[must_use]
pub fn until(now: Millis, at: Millis) -> Millis {
    at.saturating_sub(now)
}

/// The latest time that a machine was told. It never runs backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Clock {
    now: Millis,
}

impl Clock {
    /// A clock that starts at `now`, cut to [`MAX_TIME`].
    #[must_use]
    pub fn starting_at(now: Millis) -> Self {
        Self { now: now.min(MAX_TIME) }
    }

    /// The latest time seen.
    #[must_use]
    pub fn now(self) -> Millis {
        self.now
    }

    /// The clock after the host said that it is `now`: a time before the latest one counts as the latest.
    ///
    /// # Errors
    /// [`RejectionCode::TimeOutOfRange`] when `now` is beyond [`MAX_TIME`].
    pub fn advanced(self, now: Millis) -> Result<Self, Rejection> {
        if now > MAX_TIME {
            return Err(Rejection { code: RejectionCode::TimeOutOfRange, input: "time", state: "any" });
        }
        Ok(Self { now: self.now.max(now) })
    }

    /// Moves the clock to `now`, for a machine whose times are being [rebased](crate::Rules::rebase).
    pub fn rebase(&mut self, now: Millis) {
        self.now = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_after_any_that_a_host_can_say_is_later() {
        assert_eq!(add(5, 7), 12);
        assert_eq!(add(MAX_TIME, 1), NEVER);
        assert_eq!(add(MAX_TIME, u64::MAX), NEVER);
        assert_eq!(add(MAX_TIME - 1, MAX_DURATION), NEVER);
        assert_eq!(NEVER, MAX_TIME + 1);
    }

    #[test]
    fn nothing_is_left_until_a_time_that_has_passed() {
        assert_eq!([until(5, 12), until(12, 12), until(13, 12)], [7, 0, 0]);
    }

    #[test]
    fn a_clock_goes_on_never_back_and_not_beyond_the_last_time() {
        let clock = Clock::starting_at(10);
        assert_eq!(clock.advanced(11).map(Clock::now), Ok(11));
        assert_eq!(clock.advanced(9).map(Clock::now), Ok(10));
        assert_eq!(clock.advanced(MAX_TIME).map(Clock::now), Ok(MAX_TIME));
        let refused = clock.advanced(MAX_TIME + 1).unwrap_err();
        assert_eq!(refused.code, RejectionCode::TimeOutOfRange);
        assert_eq!(refused.to_string(), "the time is beyond 2^53 - 1 milliseconds");
        assert_eq!(Clock::starting_at(u64::MAX).now(), MAX_TIME);
    }
}
