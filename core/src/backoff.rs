//! Backoff: how long to wait before the next attempt (rules B1–B6).
//!
//! [`Policy`] and [`Escalation`] are values that several machines carry. [`Backoff`] is a machine of its own:
//! a retry timer for whatever a host tries again and again, a connection or a call. It asks for an attempt,
//! the host answers that it failed or was accepted, and what was accepted and ends is tried again.
//!
//! | state | meaning | left by |
//! | --- | --- | --- |
//! | `idle` (resting) | nothing is tried | `start` |
//! | `attempting` | an attempt is under way | `accepted`, `failed`, its limit |
//! | `waiting` | the delay before the next attempt | the end of the delay, `wake` |
//! | `settling` | accepted, not yet long enough to count | `failed`, the end of `stable_after` |
//! | `stable` (resting) | accepted for long enough: the escalation began anew | `failed` |
//!
//! `stop` leads to `idle` from everywhere. After a restore an attempt that was under way counts as unknown:
//! its limit ends it. What had been accepted is taken to be there still; a host that lost it with its process
//! says `stop` and `start`, which keep the escalation.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::contract::shift_timer;
use crate::{
    Answer, Clock, Deadline, Explanation, FaultCode, Faults, MAX_DURATION, Message, Millis, Name,
    OperationId, Operations, Random, Reader, Record, RecordFault, Rejection, RejectionCode, Rules, Writer,
    add, until,
};

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
        if high == cap && choices < LEAST_CHOICES {
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
        // An interval of one point takes no draw, so that a script of draws lists only what is random.
        let drawn = if low == high { low } else { random.between(low, high) };
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
    /// is left to come is the same, and the number of different escalations is finite. None is never the same as
    /// some: first delays can be told apart.
    pub fn saturate(&mut self, policy: &Policy) {
        if policy.escalated(self.attempt) >= policy.cap {
            let (mut least, mut most) = (self.attempt.min(1), self.attempt);
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

settings! {
    /// A retry timer.
    pub struct Config as "BackoffConfig" {
        /// The delays between attempts.
        policy: Policy = Policy::default(),
        /// How long an attempt may take; then it counts as failed (gRPC's minimum connect time). Milliseconds.
        attempt_limit: Millis = 20_000,
        /// How long what was accepted must last before the escalation begins anew, so that a server which
        /// accepts and then fails is not retried at full speed; drawn from half of it to all of it. Milliseconds.
        stable_after: Millis = 5_000,
    }
}

messages! {
    /// What happened to the thing that is tried.
    pub enum Input as "BackoffInput" {
        /// Try, and try again until it is stopped.
        Start = "start",
        /// Stop trying; the escalation stays as it is.
        Stop = "stop",
        /// The application accepted the attempt. An open socket is not enough (B6).
        Accepted = "accepted" {
            /// Which attempt.
            operation: OperationId,
        },
        /// The attempt failed, or what it had brought up ended.
        Failed = "failed" {
            /// Which attempt.
            operation: OperationId,
            /// The server's `Retry-After`. Milliseconds.
            hint: Option<Millis>,
        },
        /// The network or the device is back: try now, without resetting the escalation.
        Wake = "wake",
        /// The escalation begins anew, as on a drain notice within its budget (B6). A delay that runs goes on.
        Reset = "reset",
    }
}

messages! {
    /// What a retry timer wants done.
    pub enum Effect as "BackoffEffect" {
        /// Try; answer accepted or failed.
        Attempt = "attempt" {
            /// Which answer.
            operation: OperationId,
            /// Counted from 1 since the escalation began.
            attempt: u32,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// This attempt has had its time: forget it.
        Abandon = "abandon" {
            /// Which attempt.
            operation: OperationId,
        },
        /// A report: the next attempt comes after this delay.
        Waiting = "waiting" {
            /// From now. Milliseconds.
            delay: Millis,
        },
        /// A report: it lasted; the escalation begins anew.
        Stable = "stable",
    }
}

names! {
    /// Why a retry timer wants to be woken.
    pub enum Why {
        /// The attempt has had its time.
        AttemptLimit = "attempt-limit",
        /// The next attempt is due.
        Retry = "retry",
        /// What was accepted has lasted.
        Stable = "stable",
    }
}

names! {
    /// Where a retry timer is.
    pub enum State {
        /// Nothing is tried.
        Idle = "idle",
        /// An attempt is under way.
        Attempting = "attempting",
        /// The delay before the next attempt.
        Waiting = "waiting",
        /// Accepted, not yet long enough to count.
        Settling = "settling",
        /// Accepted for long enough.
        Stable = "stable",
    }
}

/// A retry timer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Backoff {
    config: Arc<Config>,
    random: Random,
    clock: Clock,
    state: State,
    /// When the state ends: set in all states but the resting ones.
    ends: Option<Millis>,
    /// Before this no next attempt is made. Set by the start of an attempt under `from_start` (B5), until it is
    /// used or the escalation begins anew.
    not_before: Option<Millis>,
    escalation: Escalation,
    attempts: Operations,
}

impl Backoff {
    /// How far it has escalated.
    #[must_use]
    pub fn escalation(&self) -> Escalation {
        self.escalation
    }

    fn enter(&mut self, state: State, duration: Option<Millis>) {
        self.state = state;
        self.ends = duration.map(|duration| add(self.clock.now(), duration));
    }

    fn attempt(&mut self, effects: &mut Vec<Effect>) {
        let attempt = self.escalation.attempt().saturating_add(1);
        let limit = self.config.attempt_limit;
        // B5: drawn at the start, so that what is stored is the instant that it leads to.
        self.not_before = self.config.policy.from_start.then(|| {
            let delay = self.escalation.next(&self.config.policy, &mut self.random, None);
            add(self.clock.now(), delay)
        });
        self.enter(State::Attempting, Some(limit));
        effects.push(Effect::Attempt { operation: self.attempts.issue(), attempt, limit });
    }

    fn wait(&mut self, hint: Option<Millis>, effects: &mut Vec<Effect>) {
        let delay = match self.not_before.take() {
            // B5: from the start of the attempt; a server's hint counts from its answer (B4).
            Some(at) => until(self.clock.now(), at).max(self.config.policy.honoured(hint)),
            None => self.escalation.next(&self.config.policy, &mut self.random, hint),
        };
        self.enter(State::Waiting, Some(delay));
        effects.push(Effect::Waiting { delay });
    }

    /// The escalation begins anew (B6).
    fn begin_anew(&mut self) {
        self.escalation.reset();
        // An attempt that has just begun keeps its delay: a reset shortens no wait that has been drawn.
        if self.state == State::Stable {
            self.not_before = None;
        }
    }

    /// What an answer to `operation` means now.
    fn judge(&self, operation: OperationId) -> Answer {
        let there = matches!(self.state, State::Attempting | State::Settling | State::Stable);
        self.attempts.judge(operation, there.then(|| self.attempts.issued()))
    }

    fn rejection(&self, code: RejectionCode, input: &Input) -> Rejection {
        Rejection { code, input: input.type_name(), state: self.state.as_str() }
    }
}

impl Rules for Backoff {
    const NAME: &'static str = "backoff";
    const SNAPSHOT_VERSION: u16 = 1;
    type Config = Config;
    type Input = Input;
    type Effect = Effect;
    type Why = Why;

    fn check(config: &Config, faults: &mut Faults) {
        faults.inside("policy", |faults| config.policy.check(faults));
        faults.duration("attempt_limit", config.attempt_limit, 1);
        faults.duration("stable_after", config.stable_after, 1);
    }

    fn start(config: Config, random: Random, clock: Clock) -> Self {
        Self {
            config: Arc::new(config),
            random,
            clock,
            state: State::Idle,
            ends: None,
            not_before: None,
            escalation: Escalation::default(),
            attempts: Operations::default(),
        }
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn clock(&self) -> Clock {
        self.clock
    }

    fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    fn state(&self) -> &'static str {
        self.state.as_str()
    }

    fn is_resting(&self) -> bool {
        matches!(self.state, State::Idle | State::Stable)
    }

    fn next_timer(&self) -> Option<Deadline<Why>> {
        let why = match self.state {
            State::Idle | State::Stable => return None,
            State::Attempting => Why::AttemptLimit,
            State::Waiting => Why::Retry,
            State::Settling => Why::Stable,
        };
        self.ends.map(|at| Deadline { at, why })
    }

    fn rebase(&mut self, now: Millis) {
        let from = self.clock.now();
        shift_timer(&mut self.ends, from, now);
        shift_timer(&mut self.not_before, from, now);
        self.clock.rebase(now);
    }

    fn fire(&mut self, why: Why, effects: &mut Vec<Effect>) {
        match why {
            Why::AttemptLimit => {
                effects.push(Effect::Abandon { operation: self.attempts.issued() });
                self.wait(None, effects);
            }
            Why::Retry => self.attempt(effects),
            // B6: accepted, and lasting.
            Why::Stable => {
                self.enter(State::Stable, None);
                self.begin_anew();
                effects.push(Effect::Stable);
            }
        }
    }

    fn apply(&mut self, input: &Input, effects: &mut Vec<Effect>) -> Result<(), Rejection> {
        match *input {
            Input::Start if self.state == State::Idle => self.attempt(effects),
            Input::Start => return Err(self.rejection(RejectionCode::ImpossibleNow, input)),
            Input::Stop => {
                self.enter(State::Idle, None);
                self.not_before = None;
            }
            Input::Accepted { operation } | Input::Failed { operation, .. } => match self.judge(operation) {
                Answer::NeverIssued => return Err(self.rejection(RejectionCode::NeverIssued, input)),
                Answer::Late => {}
                Answer::Awaited => match *input {
                    Input::Failed { hint, .. } => self.wait(hint, effects),
                    _ if self.state == State::Attempting => {
                        // B6: only the application's word starts the clock of stability, which is jittered so
                        // that those who came back together do not all forget it together.
                        let most = self.config.stable_after;
                        let stable_after = self.random.between((most >> 1).max(1), most);
                        self.enter(State::Settling, Some(stable_after));
                    }
                    _ => {}
                },
            },
            Input::Wake if self.state == State::Waiting => self.attempt(effects),
            Input::Wake => {}
            Input::Reset => self.begin_anew(),
        }
        Ok(())
    }

    fn explain(&self) -> Explanation {
        let failures = self.escalation.attempt();
        let (because, waits_for) = match self.state {
            State::Idle => ("nothing is to be tried", ""),
            State::Attempting => ("an attempt is under way", "its outcome"),
            State::Waiting => ("the last attempt failed or what it brought up ended", "the end of the delay"),
            State::Settling => ("the attempt was accepted", "it to last, or to end"),
            State::Stable => ("what was accepted has lasted", "it to end"),
        };
        Explanation {
            state: self.state(),
            because: alloc::format!("{because}; delays since the escalation began: {failures}"),
            waits_for: String::from(waits_for),
            next: self.next_timer().map(|timer| (until(self.clock.now(), timer.at), timer.why.as_str())),
        }
    }

    fn random(&mut self) -> Option<&mut Random> {
        Some(&mut self.random)
    }

    fn normalize(&mut self, renumber: &mut dyn FnMut(&'static str, &mut u32)) {
        self.escalation.saturate(&self.config.policy);
        renumber("operation", self.attempts.counter());
    }

    fn write(&self, to: &mut Writer) {
        self.config.write(to);
        self.random.write(to);
        self.state.write(to);
        to.optional(self.ends);
        to.optional(self.not_before);
        self.escalation.write(to);
        self.attempts.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        let backoff = Self {
            config: Record::read(from)?,
            random: Record::read(from)?,
            clock: Clock::starting_at(0),
            state: Record::read(from)?,
            ends: from.timer()?,
            not_before: from.timer()?,
            escalation: Record::read(from)?,
            attempts: Record::read(from)?,
        };
        let attempting = matches!(backoff.state, State::Attempting | State::Settling);
        let possible = backoff.ends.is_some() != backoff.is_resting()
            && (backoff.state == State::Idle || backoff.attempts.issued() > 0)
            && (backoff.not_before.is_none() || (attempting && backoff.config.policy.from_start));
        if possible { Ok(backoff) } else { Err(RecordFault::Corrupt) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Draw, Machine};

    const JITTERS: [Jitter; 5] =
        [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::PlusMinus, Jitter::Decorrelated];
    const DRAWS: [Draw; 3] = [Draw::Min, Draw::Mid, Draw::Max];

    fn grpc() -> Policy {
        Policy {
            initial: 1_000,
            factor: 1_600,
            cap: 120_000,
            floor: 1,
            jitter: Jitter::PlusMinus,
            spread: 200,
            from_start: true,
            ..Policy::default()
        }
    }

    fn with(jitter: Jitter) -> Policy {
        Policy { jitter, ..Policy::default() }
    }

    fn faults(policy: &Policy) -> Vec<(FaultCode, String)> {
        let mut faults = Faults::none();
        policy.check(&mut faults);
        faults.list().iter().map(|fault| (fault.code, fault.field.clone())).collect()
    }

    fn delays(policy: &Policy, random: &mut Random, count: usize) -> Vec<Millis> {
        let mut escalation = Escalation::default();
        (0..count).map(|_| escalation.next(policy, random, None)).collect()
    }

    #[test]
    fn b1_delays_grow_by_the_factor_up_to_the_cap() {
        let escalated = |policy: Policy| (0..12).map(|n| policy.escalated(n)).collect::<Vec<_>>();
        assert_eq!(escalated(Policy::default())[..5], [1_000, 2_000, 4_000, 5_000, 5_000]);
        // The published sequence of gRPC's connection backoff, before jitter.
        assert_eq!(
            escalated(grpc()),
            [1_000, 1_600, 2_560, 4_096, 6_554, 10_486, 16_777, 26_844, 42_950, 68_719, 109_951, 120_000]
        );
        assert_eq!(escalated(Policy { factor: 1_000, ..grpc() }), [1_000; 12]);
    }

    #[test]
    fn b1_each_jitter_draws_from_the_interval_of_its_formula() {
        let interval = |jitter, attempt, previous| with(jitter).interval(attempt, previous);
        assert_eq!(interval(Jitter::None, 1, 0), (2_000, 2_000));
        assert_eq!(interval(Jitter::Full, 1, 0), (100, 2_000));
        assert_eq!(interval(Jitter::Equal, 1, 0), (1_000, 2_000));
        assert_eq!(interval(Jitter::PlusMinus, 1, 0), (1_600, 2_400));
        assert_eq!(interval(Jitter::Decorrelated, 0, 0), (1_000, 3_000));
        assert_eq!(interval(Jitter::Decorrelated, 1, 1_200), (1_000, 3_600));
        assert_eq!(interval(Jitter::Decorrelated, 2, 3_600), (1_000, 5_000));
    }

    #[test]
    fn b1_decorrelated_delays_depend_on_the_delay_before() {
        let mut random = Random::scripted(&[Draw::Min, Draw::Max, Draw::Max, Draw::Min, Draw::Max]);
        let policy = Policy { cap: 20_000, ..with(Jitter::Decorrelated) };
        assert_eq!(delays(&policy, &mut random, 5), [1_000, 3_000, 9_000, 1_000, 3_000]);
    }

    #[test]
    fn b2_an_interval_is_cut_before_the_draw_and_never_after_it() {
        // 4000 ± 50 % would reach 6000; cut to 5000 first, its middle is 3500 and not 4000.
        let policy = Policy { spread: 500, ..with(Jitter::PlusMinus) };
        assert_eq!(policy.interval(2, 0), (2_000, 5_000));
        let mut escalation = Escalation { attempt: 2, previous: 0 };
        assert_eq!(escalation.next(&policy, &mut Random::scripted(&[Draw::Mid]), None), 3_500);
        // Below the floor it is the lower end that is cut.
        assert_eq!(Policy { floor: 1_500, ..with(Jitter::Full) }.interval(0, 0), (1_500, 1_500));
        assert_eq!(Policy { floor: 1_500, ..with(Jitter::Full) }.interval(1, 0), (1_500, 2_000));
    }

    #[test]
    fn b2_every_attempt_up_to_the_last_draws_between_the_floor_and_the_cap() {
        let near = (0..32).flat_map(|bit| {
            let power = 1_u32 << bit;
            [power - 1, power, power + 1]
        });
        let attempts: Vec<u32> = (0..1_200).chain(near).chain([u32::MAX - 1, u32::MAX]).collect();
        let extreme = [
            Policy::default(),
            Policy { factor: 1_000, ..Policy::default() },
            Policy { factor: 1_001, initial: 1, cap: MAX_DURATION, floor: 1, ..Policy::default() },
            Policy { factor: MAX_FACTOR, cap: MAX_DURATION, spread: 1_000, ..Policy::default() },
            Policy { initial: MAX_DURATION, cap: MAX_DURATION, floor: 1, ..Policy::default() },
        ];
        for policy in extreme {
            for jitter in JITTERS {
                let policy = Policy { jitter, ..policy.clone() };
                for previous in [0, policy.initial, policy.cap, MAX_DURATION] {
                    for (attempt, draw) in
                        attempts.iter().flat_map(|attempt| DRAWS.map(|draw| (*attempt, draw)))
                    {
                        let mut escalation = Escalation { attempt, previous };
                        let delay = escalation.next(&policy, &mut Random::scripted(&[draw]), None);
                        assert!(
                            (policy.floor..=policy.cap).contains(&delay),
                            "{delay} after {attempt}: {policy:?}"
                        );
                        assert_eq!(escalation.attempt(), attempt.saturating_add(1));
                    }
                }
            }
        }
    }

    #[test]
    fn b2_the_escalation_never_falls_and_follows_the_exact_power() {
        for (initial, factor) in [(1, 1_001), (1_000, 1_600), (7, 1_333), (1_000, 2_000), (3, 99_999)] {
            let policy = Policy { initial, factor, cap: MAX_DURATION, ..Policy::default() };
            let mut before = 0;
            for attempt in 0..40_000 {
                let delay = policy.escalated(attempt);
                assert!(delay >= before, "{delay} after {before} at {attempt}: {policy:?}");
                before = delay;
            }
            assert_eq!(before, MAX_DURATION);
            let (mut above, mut below) = (u128::from(initial), 1_u128);
            for attempt in 0..7 {
                let exact = (above * 2 + below) / (below * 2);
                let exact = u64::try_from(exact).unwrap().min(MAX_DURATION);
                assert_eq!(policy.escalated(attempt), exact, "initial {initial}, factor {factor}, {attempt}");
                (above, below) = (above * u128::from(factor), below * 1_000);
            }
        }
    }

    #[test]
    fn b3_at_saturation_at_most_3_percent_of_the_delays_are_the_cap() {
        for jitter in JITTERS.into_iter().filter(|jitter| *jitter != Jitter::None) {
            // The narrowest policies that are allowed, and the default one.
            let narrow = match jitter {
                Jitter::Full => Policy { initial: 1, floor: 1, cap: 34, ..with(jitter) },
                Jitter::Equal => Policy { initial: 1, floor: 1, cap: 65, ..with(jitter) },
                Jitter::PlusMinus => Policy { initial: 1, floor: 1, cap: 165, ..with(jitter) },
                _ => Policy { initial: 1, floor: 1, cap: 34, ..with(jitter) },
            };
            assert_eq!(
                faults(&Policy { cap: narrow.cap - 1, ..narrow.clone() }),
                [(FaultCode::Contradiction, String::from("cap"))],
                "{jitter:?} with a cap one lower"
            );
            for policy in [narrow, with(jitter)] {
                assert_eq!(faults(&policy), [], "{policy:?}");
                let mut random = Random::seeded(3);
                let drawn = delays(&policy, &mut random, 200_000);
                let capped = drawn.iter().skip(100).filter(|delay| **delay == policy.cap).count();
                // 2.94 % at most; 200,000 draws stray from it by less than 0.05 % (one standard deviation).
                assert!(
                    capped * 1_000 <= drawn.len() * 31,
                    "{capped} of {} are the cap: {policy:?}",
                    drawn.len()
                );
            }
        }
    }

    #[test]
    fn b3_asks_nothing_of_a_policy_that_never_reaches_its_cap() {
        let flat = Policy { initial: 10, floor: 1, factor: 1_000, ..with(Jitter::Equal) };
        assert_eq!((faults(&flat), flat.interval(u32::MAX, 0)), (Vec::new(), (5, 10)));
    }

    #[test]
    fn b4_a_longer_hint_replaces_one_delay_up_to_its_maximum_and_the_escalation_goes_on() {
        let policy = Policy { hint_max: 9_000, ..with(Jitter::None) };
        let mut escalation = Escalation::default();
        let mut next = |hint| escalation.next(&policy, &mut Random::seeded(1), hint);
        assert_eq!(next(Some(999)), 1_000, "a shorter hint changes nothing");
        assert_eq!(next(Some(7_000)), 7_000, "a longer one counts, above the cap too");
        assert_eq!(next(Some(u64::MAX)), 9_000, "but not above its own maximum");
        assert_eq!(next(None), 5_000, "and the fourth delay is the fourth");
    }

    #[test]
    fn b4_a_hint_does_not_feed_the_next_decorrelated_delay() {
        let policy = Policy { cap: 60_000, ..with(Jitter::Decorrelated) };
        let mut random = Random::scripted(&[Draw::Max, Draw::Max]);
        let mut escalation = Escalation::default();
        assert_eq!(escalation.next(&policy, &mut random, Some(50_000)), 50_000);
        assert_eq!(escalation.next(&policy, &mut random, None), 9_000);
    }

    #[test]
    fn b6_a_reset_begins_anew() {
        let policy = with(Jitter::None);
        let mut escalation = Escalation::default();
        let mut random = Random::seeded(1);
        assert_eq!([(); 3].map(|()| escalation.next(&policy, &mut random, None)), [1_000, 2_000, 4_000]);
        escalation.reset();
        assert_eq!(escalation, Escalation::default());
        assert_eq!(escalation.next(&policy, &mut random, None), 1_000);
    }

    #[test]
    fn b6_the_time_that_makes_stable_is_drawn_from_half_of_it_to_all_of_it() {
        for (draw, stable_at) in [(Draw::Min, 2_500), (Draw::Mid, 3_750), (Draw::Max, 5_000)] {
            let random = Random::scripted(&[draw]);
            let mut backoff = Backoff::drawing(Config::default(), random, 0).unwrap();
            backoff.handle(0, &Input::Start).unwrap();
            let step = backoff.handle(0, &Input::Accepted { operation: 1 }).unwrap();
            assert_eq!(step.deadline, Some(Deadline { at: stable_at, why: Why::Stable }));
        }
    }

    #[test]
    fn a_policy_that_cannot_work_is_refused_with_every_fault_named() {
        let broken = Policy {
            initial: 0,
            factor: 999,
            cap: MAX_DURATION + 1,
            floor: 0,
            spread: 1_001,
            hint_max: MAX_DURATION + 1,
            ..Policy::default()
        };
        let expected = ["initial", "factor", "cap", "floor", "spread", "hint_max"];
        assert_eq!(faults(&broken), expected.map(|field| (FaultCode::OutOfRange, field.into())));
        let crossed = Policy { initial: 6_000, floor: 7_000, ..Policy::default() };
        let expected = ["initial", "floor"];
        assert_eq!(faults(&crossed), expected.map(|field| (FaultCode::Contradiction, field.into())));
    }

    #[test]
    fn a_saturated_escalation_has_the_same_delays_ahead() {
        for jitter in JITTERS {
            let policy = with(jitter);
            for attempt in [0, 1, 2, 3, 4, 1_000, u32::MAX] {
                let escalation = Escalation { attempt, previous: 0 };
                let mut saturated = escalation;
                saturated.saturate(&policy);
                assert_eq!(saturated.attempt(), attempt.min(3));
                assert_eq!(policy.interval(saturated.attempt(), 0), policy.interval(escalation.attempt(), 0));
            }
        }
    }

    #[test]
    fn a_saturated_escalation_still_knows_whether_there_was_an_attempt() {
        let policy = Policy { initial: 5_000, ..Policy::default() };
        for (attempt, expected) in [(0, 0), (1, 1), (2, 1), (u32::MAX, 1)] {
            let mut saturated = Escalation { attempt, previous: 0 };
            saturated.saturate(&policy);
            assert_eq!(saturated.attempt(), expected);
        }
    }

    #[test]
    fn a_flat_policy_keeps_its_count_of_attempts() {
        let policy = Policy { factor: 1_000, ..Policy::default() };
        let mut escalation = Escalation { attempt: 77, previous: 0 };
        escalation.saturate(&policy);
        assert_eq!(escalation.attempt(), 77);
    }

    #[test]
    fn an_escalation_can_be_looked_at_and_comes_back_from_a_record() {
        let policy = with(Jitter::Decorrelated);
        let mut backoff = Backoff::new(Config { policy, ..Config::default() }, 1, 0).unwrap();
        backoff.handle(0, &Input::Start).unwrap();
        backoff.handle(0, &Input::Failed { operation: 1, hint: None }).unwrap();
        assert_eq!((backoff.escalation().attempt(), backoff.escalation().previous > 0), (1, true));
        let restored = Backoff::restore(&backoff.snapshot(0).unwrap(), 0, 0).unwrap();
        assert_eq!(restored.escalation(), backoff.escalation());
    }

    #[test]
    fn a_delay_before_that_no_policy_can_have_drawn_is_corrupt() {
        let read = |previous| {
            let mut writer = Writer::bare();
            Escalation { attempt: 1, previous }.write(&mut writer);
            let bytes = writer.into_bytes();
            Escalation::read(&mut Reader::bare(&bytes)).map(|escalation| escalation.previous)
        };
        assert_eq!(read(MAX_DURATION), Ok(MAX_DURATION));
        assert_eq!(read(MAX_DURATION - 1), Ok(MAX_DURATION - 1));
        assert_eq!(read(MAX_DURATION + 1), Err(RecordFault::Corrupt));
    }
}
