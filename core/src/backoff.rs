//! Backoff: how long to wait before the next attempt (rules B1–B6).

use crate::{FaultCode, Faults, MAX_DURATION, Millis, Random, Reader, Record, RecordFault, Writer};

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

/// The most that `factor` may be: a hundredfold.
const MAX_FACTOR: u32 = 100_000;
/// With fewer delays than this to draw from at saturation, more than 3 % of them would be the cap (B3).
const LEAST_CHOICES: u64 = 34;

impl Policy {
    /// Checks the policy; every fault is added to `faults` under its field's name.
    pub fn check(&self, faults: &mut Faults) {
        let before = faults.list().len();
        faults.duration("initial", self.initial, 1);
        faults.range("factor", u64::from(self.factor), 1_000, u64::from(MAX_FACTOR), " thousandths");
        faults.duration("cap", self.cap, 1);
        faults.duration("floor", self.floor, 1);
        faults.range("spread", u64::from(self.spread), 0, 1_000, " thousandths");
        faults.duration("hint_max", self.hint_max, 0);
        if faults.list().len() > before {
            return;
        }
        let Self { initial, cap, floor, .. } = *self;
        if initial > cap {
            let message = alloc::format!("is {initial} ms, above `cap` ({cap} ms): lower it or raise `cap`");
            faults.add(FaultCode::Contradiction, "initial", message);
        }
        if floor > cap {
            let message = alloc::format!("is {floor} ms, above `cap` ({cap} ms): lower it or raise `cap`");
            faults.add(FaultCode::Contradiction, "floor", message);
        }
        if faults.list().len() > before || self.jitter == Jitter::None {
            return;
        }
        // B3: a narrow interval at saturation makes clients that failed together come back together.
        let (low, high) = self.interval(u32::MAX, cap);
        let choices = high.saturating_sub(low).saturating_add(1);
        if choices < LEAST_CHOICES {
            let message = alloc::format!(
                "is {cap} ms, which leaves {choices} delays to draw from ({low} to {high} ms) once it is reached; \
                 {LEAST_CHOICES} are needed so that at most 3 % of them are the cap: widen the interval, or set \
                 `jitter` to `none`"
            );
            faults.add(FaultCode::Contradiction, "cap", message);
        }
    }

    /// What a server's hint is worth: itself up to `hint_max`, nothing without one (B4).
    #[must_use]
    pub fn honoured(&self, hint: Option<Millis>) -> Millis {
        hint.unwrap_or(0).min(self.hint_max)
    }

    /// The delay before jitter: `initial · factorⁿ`, at most `cap`. `attempt` is n, counted from 0.
    #[must_use]
    pub fn escalated(&self, attempt: u32) -> Millis {
        self.growth(attempt)
            .and_then(|growth| growth.checked_mul(u128::from(self.initial)))
            .map(round)
            .and_then(|delay| Millis::try_from(delay).ok())
            .unwrap_or(Millis::MAX)
            .min(self.cap)
    }

    /// `factorⁿ` as a fixed-point number, by squaring, so that no attempt costs more than 32 rounds (B2). None
    /// beyond 2^48, where every cap is exceeded: `MAX_DURATION` is below 2^36.
    fn growth(&self, attempt: u32) -> Option<u128> {
        let mut square = (u128::from(self.factor) << FRACTION).checked_div(1_000)?;
        let mut growth = ONE;
        let mut rest = attempt;
        loop {
            if rest & 1 == 1 {
                growth = growth.checked_mul(square).map(round)?;
            }
            rest >>= 1;
            if rest == 0 {
                return Some(growth);
            }
            square = square.checked_mul(square).map(round)?;
        }
    }

    /// The interval that the delay after failure `attempt` (from 0) is drawn from, both ends included. It is
    /// cut to `floor..=cap` before the draw, as cutting what was drawn would pile delays up at the ends (B2).
    #[must_use]
    pub fn interval(&self, attempt: u32, previous: Millis) -> (Millis, Millis) {
        let delay = self.escalated(attempt);
        let (low, high) = match self.jitter {
            Jitter::None => (delay, delay),
            Jitter::Full => (0, delay),
            Jitter::Equal => (delay >> 1, delay),
            Jitter::PlusMinus => {
                let width = delay.saturating_mul(u64::from(self.spread)).checked_div(1_000).unwrap_or(0);
                (delay.saturating_sub(width), delay.saturating_add(width))
            }
            Jitter::Decorrelated => (self.initial, previous.max(self.initial).saturating_mul(3)),
        };
        let low = low.max(self.floor).min(self.cap);
        (low, high.min(self.cap).max(low))
    }
}

/// Bits after the point of [`Policy::growth`].
const FRACTION: u32 = 40;
const ONE: u128 = 1 << FRACTION;

/// Drops the fraction, to the nearest.
fn round(product: u128) -> u128 {
    product.saturating_add(ONE >> 1) >> FRACTION
}

/// How far a backoff has escalated. A value: several machines carry one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Escalation {
    attempt: u32,
    /// The last drawn delay, for `decorrelated`; zero under any other jitter and before the first.
    previous: Millis,
}

impl Escalation {
    /// The delay before the next attempt: drawn by the policy (B2, B3), or the server's hint where that is
    /// longer (B4). Either way the escalation goes on.
    pub fn next(&mut self, policy: &Policy, random: &mut Random, hint: Option<Millis>) -> Millis {
        let (low, high) = policy.interval(self.attempt, self.previous);
        let drawn = random.between(low, high);
        self.attempt = self.attempt.saturating_add(1);
        self.previous = if policy.jitter == Jitter::Decorrelated { drawn } else { 0 };
        drawn.max(policy.honoured(hint))
    }

    /// Back to the start (B6).
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// How many delays were given since the start.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Cuts the count of attempts at the first that reaches the cap, where every further one is alike: what
    /// is left to come is the same, and the number of different escalations is finite.
    pub fn saturate(&mut self, policy: &Policy) {
        if policy.escalated(self.attempt) >= policy.cap {
            let (mut least, mut most) = (0_u32, self.attempt);
            while least < most {
                let middle = least.saturating_add(most.saturating_sub(least) >> 1);
                if policy.escalated(middle) >= policy.cap {
                    most = middle;
                } else {
                    least = middle.saturating_add(1);
                }
            }
            self.attempt = most;
        }
    }
}

impl Record for Escalation {
    fn write(&self, to: &mut Writer) {
        self.attempt.write(to);
        self.previous.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        let attempt = u32::read(from)?;
        let previous = from.time()?;
        if previous > MAX_DURATION { Err(RecordFault::Corrupt) } else { Ok(Self { attempt, previous }) }
    }
}
