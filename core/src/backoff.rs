//! Backoff: how long to wait before the next attempt (rules B1–B6).

use crate::Millis;

names! {
    /// How a delay is spread, so that clients that failed together do not come back together.
    pub enum Jitter {
        /// No spread: the delay is the escalated value itself.
        None = "none",
        /// Uniform from the floor to the escalated value.
        Full = "full",
        /// Uniform over the upper half of the escalated value.
        Equal = "equal",
        /// The escalated value plus or minus the policy's `spread`.
        PlusMinus = "plus-minus",
        /// Uniform from `initial` to three times the previous delay.
        Decorrelated = "decorrelated",
    }
}

settings! {
    /// A backoff policy (B1).
    pub struct Policy as "BackoffPolicy" {
        /// The delay after the first failure, before jitter. Milliseconds, at least 1.
        initial: Millis = 1_000,
        /// What each further failure multiplies it by, in thousandths: 2000 doubles. 1000 to 100000.
        factor: u32 = 2_000,
        /// The longest delay, before a server's hint. Milliseconds. Short, as a long cap is what keeps hosts
        /// away after their relay is back.
        cap: Millis = 5_000,
        /// The shortest delay that is ever drawn. Milliseconds, at least 1, at most `cap`.
        floor: Millis = 100,
        /// How delays are spread.
        jitter: Jitter = Jitter::Equal,
        /// The half-width of `plus-minus` jitter, in thousandths of the delay. 0 to 1000.
        spread: u32 = 200,
        /// The longest server hint (`Retry-After`) that is honoured; it may exceed `cap`. Milliseconds.
        hint_max: Millis = 120_000,
        /// Whether the delay counts from the start of the failed attempt (as gRPC does) rather than from its failure.
        from_start: bool = false,
    }
}
