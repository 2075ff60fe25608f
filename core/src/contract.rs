//! The one contract of every machine, and the frame that keeps it.
//!
//! A machine's file states its rules by implementing [`Rules`]: which timer is due next, what happens when
//! it fires, what an input does. [`Machine`] is implemented for everything that has rules, so the order
//! "what is due first, then the input", the clamped clock and "a rejection changes nothing" are written
//! here and nowhere else.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::hash::Hash;

use crate::{
    Clock, Faults, Message, Millis, Name, Random, Reader, RecordFault, Settings, Writer, record, until,
};

/// When to come back, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Deadline<W> {
    /// The time of the next [`Machine::tick`], in the host's milliseconds.
    pub at: Millis,
    /// Which rule will act then.
    pub why: W,
}

/// The answer of a machine: what the host must start, in this order, and when to come back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Step<E, W> {
    /// To be started in order; empty most of the time.
    pub effects: Vec<E>,
    /// The next time at which the machine wants [`Machine::tick`], or none while it waits for the world.
    pub deadline: Option<Deadline<W>>,
}

/// The step of a machine.
pub type StepOf<M> = Step<<M as Rules>::Effect, <M as Rules>::Why>;

names! {
    /// What the host did wrong. Stable: languages map these to their own errors.
    pub enum RejectionCode {
        /// The time is beyond 2^53 − 1.
        TimeOutOfRange = "time-out-of-range",
        /// The input makes no sense in the state that the machine is in.
        ImpossibleNow = "impossible-now",
        /// The answer is to an operation or a connection that was never issued.
        NeverIssued = "never-issued",
        /// A number of the input is outside its range.
        ValueOutOfRange = "value-out-of-range",
    }
}

/// A typed "no": the host did something impossible, and the machine has not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rejection {
    /// What was wrong.
    pub code: RejectionCode,
    /// The type of the input that was refused.
    pub input: &'static str,
    /// The state that the machine was (and still is) in.
    pub state: &'static str,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, state, .. } = self;
        match self.code {
            RejectionCode::TimeOutOfRange => write!(f, "the time is beyond 2^53 - 1 milliseconds"),
            RejectionCode::ImpossibleNow => write!(f, "input `{input}` is impossible in state `{state}`"),
            RejectionCode::NeverIssued => {
                write!(f, "input `{input}` names an operation or a connection that was never issued")
            }
            RejectionCode::ValueOutOfRange => write!(f, "a number of input `{input}` is out of range"),
        }
    }
}

impl core::error::Error for Rejection {}

/// Why a machine is in its state. For people: never parse it, never put a secret into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The state's name, as in the machine's list of states.
    pub state: &'static str,
    /// How it came to be there.
    pub because: String,
    /// What it waits for; empty in a state that waits for nothing.
    pub waits_for: String,
    /// When it acts next, in milliseconds from now, and by which rule.
    pub next: Option<(Millis, &'static str)>,
}

/// What a machine's own file provides. Hosts use [`Machine`] instead.
pub trait Rules: Clone + Eq + Hash + fmt::Debug + Sized {
    /// The machine's name at the language boundaries and in `vectors/`, kebab-case.
    const NAME: &'static str;
    /// The version of its snapshot record; raised when the record's shape changes.
    const SNAPSHOT_VERSION: u16;
    /// Everything that can be set, with sound defaults.
    type Config: Settings;
    /// What happened.
    type Input: Message;
    /// What is to be done, or to be observed.
    type Effect: Message;
    /// Why it wants to be woken.
    type Why: Name;

    /// Checks a config; every fault is added to `faults`, none stops the others from being found.
    fn check(config: &Self::Config, faults: &mut Faults);
    /// The machine at its start. The config has been checked.
    fn start(config: Self::Config, random: Random, clock: Clock) -> Self;

    /// The config that it was started with.
    fn config(&self) -> &Self::Config;
    /// The latest time that the machine was told.
    fn clock(&self) -> Clock;
    /// Sets it.
    fn set_clock(&mut self, clock: Clock);

    /// The state's name.
    fn state(&self) -> &'static str;
    /// Whether the state may wait for the world alone, with no deadline.
    fn is_resting(&self) -> bool;
    /// The earliest timer.
    fn next_timer(&self) -> Option<Deadline<Self::Why>>;
    /// Whether a time lies ahead of `now` that is not a timer but still matters to a later decision, or an
    /// age that is still counted. Moves every time of the state so that `clock().now()` becomes `now`; times
    /// that have passed are cut to `now`, as nothing in the rules tells them apart.
    fn rebase(&mut self, now: Millis);
    /// The timer `why` is due: act on it. It must disarm or re-arm that timer later than now.
    fn fire(&mut self, why: Self::Why, effects: &mut Vec<Self::Effect>);
    /// An input came. Refuse before anything is changed, or not at all.
    ///
    /// # Errors
    /// A [`Rejection`] when the input is impossible now.
    fn apply(&mut self, input: &Self::Input, effects: &mut Vec<Self::Effect>) -> Result<(), Rejection>;

    /// Why it is in its state and what it waits for.
    fn explain(&self) -> Explanation;

    /// The source of randomness, in a machine that draws: the explorer chooses each draw through it.
    fn random(&mut self) -> Option<&mut Random> {
        None
    }
    /// Makes equal what no rule tells apart, so that the explorer finds finitely many states: cuts counts that
    /// have reached the end of their effect, forgets times that nothing reads any more, and gives `renumber` every
    /// number of an operation or a connection, the counters of [`Operations`](crate::Operations) included, with
    /// the name of its series. `renumber` keeps their order within a series, and zero stays zero.
    fn normalize(&mut self, _renumber: &mut dyn FnMut(&'static str, &mut u32)) {}

    /// Writes everything, the config and the generator included, with times relative to now.
    fn write(&self, to: &mut Writer);
    /// Reads what [`Rules::write`] wrote. Times are relative to zero; outstanding operations come back as
    /// unknown, which the machine's rules then treat as failed or ask again.
    ///
    /// # Errors
    /// A [`RecordFault`] for a record that is corrupt or that no such machine could have written.
    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault>;
}

/// A machine: what hosts, the simulator and the explorer use.
pub trait Machine: Rules {
    /// A machine at its start.
    ///
    /// # Errors
    /// All [`Faults`] of a config that cannot work, each with its value and its remedy.
    fn new(config: Self::Config, seed: u64, now: Millis) -> Result<Self, Faults> {
        Self::drawing(config, Random::seeded(seed), now)
    }

    /// A machine at its start, with a source of randomness of the caller's choice: tests and the explorer script it.
    ///
    /// # Errors
    /// As [`Machine::new`].
    fn drawing(config: Self::Config, random: Random, now: Millis) -> Result<Self, Faults> {
        let mut faults = Faults::none();
        Self::check(&config, &mut faults);
        faults.into_result()?;
        Ok(Self::start(config, random, Clock::starting_at(now)))
    }

    /// Works off what is due, then the input.
    ///
    /// # Errors
    /// A [`Rejection`] when the host did something impossible; the machine is as it was before the call.
    fn handle(&mut self, now: Millis, input: &Self::Input) -> Result<StepOf<Self>, Rejection> {
        let before = self.clock();
        let clock = before.advanced(now)?;
        let mut effects = Vec::new();
        if self.next_timer().is_some_and(|timer| timer.at <= clock.now()) {
            // Something is due: work it off on a copy, so that a rejection can leave no trace.
            let mut next = self.clone();
            next.set_clock(clock);
            next.work_off(&mut effects);
            next.apply(input, &mut effects)?;
            next.work_off(&mut effects);
            *self = next;
        } else {
            self.set_clock(clock);
            if let Err(rejection) = self.apply(input, &mut effects) {
                self.set_clock(before);
                return Err(rejection);
            }
            self.work_off(&mut effects);
        }
        Ok(Step { effects, deadline: self.next_timer() })
    }

    /// Works off everything that is due. Early and spurious ticks do nothing.
    ///
    /// # Errors
    /// [`RejectionCode::TimeOutOfRange`] when `now` is beyond 2^53 − 1.
    fn tick(&mut self, now: Millis) -> Result<StepOf<Self>, Rejection> {
        self.set_clock(self.clock().advanced(now)?);
        let mut effects = Vec::new();
        self.work_off(&mut effects);
        Ok(Step { effects, deadline: self.next_timer() })
    }

    /// When it wants to be woken next, the same as in its last step.
    fn deadline(&self) -> Option<Deadline<Self::Why>> {
        self.next_timer()
    }

    /// Fires every timer that is due, to a fixpoint.
    fn work_off(&mut self, effects: &mut Vec<Self::Effect>) {
        while let Some(timer) = self.next_timer() {
            if timer.at > self.clock().now() {
                return;
            }
            self.fire(timer.why, effects);
        }
    }

    /// A record of the whole machine at `now`, to be kept by the host and given to [`Machine::restore`].
    ///
    /// # Errors
    /// [`RejectionCode::TimeOutOfRange`] when `now` is beyond 2^53 − 1.
    fn snapshot(&self, now: Millis) -> Result<Vec<u8>, Rejection> {
        let clock = self.clock().advanced(now)?;
        let mut relative = self.clone();
        relative.set_clock(clock);
        relative.rebase(0);
        let mut writer = Writer::new(Self::NAME, Self::SNAPSHOT_VERSION);
        relative.write(&mut writer);
        Ok(writer.finish())
    }

    /// The machine of a [`Machine::snapshot`], `elapsed` milliseconds after it was taken. Deadlines that
    /// passed meanwhile are due at once: call [`Machine::tick`] next.
    ///
    /// # Errors
    /// A [`RecordFault`] for a record that is damaged, of another machine or of an unknown version.
    fn restore(snapshot: &[u8], now: Millis, elapsed: Millis) -> Result<Self, RecordFault> {
        let mut reader = Reader::open(snapshot, Self::NAME, Self::SNAPSHOT_VERSION)?;
        let mut machine = Self::read(&mut reader)?;
        reader.finish()?;
        let mut faults = Faults::none();
        Self::check(machine.config(), &mut faults);
        faults.into_result().map_err(|_| RecordFault::Corrupt)?;
        let clock = Clock::starting_at(now);
        let elapsed = elapsed.min(record::MAX_ELAPSED);
        machine.set_clock(Clock::starting_at(elapsed));
        machine.rebase(clock.now());
        Ok(machine)
    }
}

impl<M: Rules> Machine for M {}

/// Shifts one time of a state for [`Rules::rebase`]: `from` is the state's old now, `to` the new one.
pub(crate) fn shift(at: &mut Millis, from: Millis, to: Millis) {
    *at = crate::add(to, until(from, *at));
}

/// The same for a timer that may be unset.
pub(crate) fn shift_timer(at: &mut Option<Millis>, from: Millis, to: Millis) {
    if let Some(at) = at {
        shift(at, from, to);
    }
}

/// The earliest of some timers; on equal times the one that is listed first.
pub(crate) fn earliest<W: Copy, const N: usize>(timers: [(Option<Millis>, W); N]) -> Option<Deadline<W>> {
    let mut first: Option<Deadline<W>> = None;
    for (at, why) in timers {
        if let Some(at) = at
            && first.is_none_or(|earlier| at < earlier.at)
        {
            first = Some(Deadline { at, why });
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_timers_that_are_due_together_the_first_in_the_list_comes_first() {
        assert_eq!(earliest([(None, 'a'), (None, 'b')]), None);
        assert_eq!(
            earliest([(Some(9), 'a'), (None, 'b'), (Some(8), 'c')]),
            Some(Deadline { at: 8, why: 'c' })
        );
        assert_eq!(
            earliest([(None, 'a'), (Some(8), 'b'), (Some(8), 'c')]),
            Some(Deadline { at: 8, why: 'b' })
        );
    }

    #[test]
    fn a_time_is_moved_with_the_clock_and_cut_when_it_has_passed() {
        let mut times = [Some(10), Some(100), Some(107), None];
        times.iter_mut().for_each(|time| shift_timer(time, 100, 1_000));
        assert_eq!(times, [Some(1_000), Some(1_000), Some(1_007), None]);
        let mut never = crate::NEVER;
        shift(&mut never, 0, 5);
        assert_eq!(never, crate::NEVER);
    }

    #[test]
    fn a_rejection_says_what_was_wrong_with_what() {
        let said = |code| Rejection { code, input: "begin", state: "stopped" }.to_string();
        assert_eq!(said(RejectionCode::ImpossibleNow), "input `begin` is impossible in state `stopped`");
        assert_eq!(
            said(RejectionCode::NeverIssued),
            "input `begin` names an operation or a connection that was never issued"
        );
        assert_eq!(said(RejectionCode::ValueOutOfRange), "a number of input `begin` is out of range");
    }
}
