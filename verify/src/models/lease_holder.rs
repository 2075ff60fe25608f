//! Lease holder (L6), under a granter, a control plane and a host that may do anything.

use tidegate::backoff::{Jitter, Policy};
use tidegate::lease_holder::{Config, Effect, Input, LeaseEnd, LeaseHolder, LeaseLoss, State, Why};
use tidegate::{Intent, Machine, Millis, Rules};

use crate::alone::{Alone, Cause, Seen};
use crate::explore::Watch;
use crate::world::{Subject, numbers_of};

/// The latest that the host wakes it.
const WOKEN: Millis = 10;
/// Longer ago than anything matters.
const LONG: Millis = 1_000;
/// The epochs of the model: of a grant or a handshake, of a later handshake, of a predecessor.
const EPOCH: u64 = 5;
const LATER: u64 = 6;
const EARLIER: u64 = 4;

/// What the granter knows, and how its answers were taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Granter {
    /// The operation that was asked for last and has not been answered or given up.
    asked: u32,
    /// How long ago.
    age: Millis,
    /// The epoch of the last grant or handshake.
    epoch: u64,
    /// For how long the granter keeps the lease, by the clock of the holder, if it runs as fast as it may.
    left: Option<Millis>,
    /// Whether the last grant was for a whole term.
    whole: bool,
    /// A lease was granted to this life.
    held: bool,
    /// Nobody has said yet whether this life has a lease from before.
    open: bool,
    /// The lease has passed to a successor.
    passed: bool,
    /// How long ago the release began.
    released: Option<Millis>,
}

impl Subject for LeaseHolder {
    const STATES: tidegate::NameSpec = <State as tidegate::Name>::SPEC;
    fn place(&self) -> usize {
        usize::from(tidegate::Name::index(self.at()))
    }
    // L6: as one that has to renew before it serves.
    fn comes_back_as_it_was(&self) -> bool {
        self.at() != State::Holding
    }
}

impl Alone for LeaseHolder {
    type Observer = Granter;
    const PROPERTIES: &'static [&'static str] = &[
        "L6: serves from a grant on that is its own and has time left",
        "L6: it has stopped before the granter could expire its lease, at the stated drift",
        "L6: without a renew the drain begins while a whole drain's time is left",
        "L6: only a definite answer ends the question of a claim or a confirmation",
        "L6: cannot know is said, and asked again in bounded time",
        "L6: renews at a third of the term, earlier by up to a quarter of that",
        "L6: a restored holder serves only after a renew",
        "L6: every call carries the epoch of the grant",
        "L6: a late or second answer changes nothing",
        "L5: who held a lease never claims again",
        "L4: a release comes when nothing is served any more, and is bounded",
        "H7: what passed to a successor is not released",
        "L6: over is over",
    ];
    const GRAIN: Millis = 10;
    const LATE: &'static [Millis] = &[WOKEN];
    const REST: &'static [Millis] = &[50];

    fn remembered(granter: &mut Granter) -> Vec<(&'static str, &mut u32)> {
        vec![("operation", &mut granter.asked)]
    }

    fn inputs(&self, _: &Granter, _: u32, inputs: &mut Vec<Input>) {
        inputs.extend([
            Input::Boot { predecessor: None },
            Input::Boot { predecessor: Some(EARLIER) },
            Input::Granted { epoch: 0 },
            Input::Granted { epoch: EPOCH },
            Input::Granted { epoch: LATER },
            Input::Fenced { epoch: EPOCH },
            Input::Fenced { epoch: LATER },
            Input::HandedOver,
            Input::Drained,
        ]);
        for intent in [Intent::Idle, Intent::Handoff, Intent::Restart, Intent::Decommission] {
            inputs.push(Input::Stop { intent });
        }
        for operation in numbers_of(self, "operation").all() {
            for term in [TERM, TERM * 2 / 3, TERM / 3] {
                inputs.push(Input::Mine { operation, epoch: EPOCH, term });
                inputs.push(Input::Renewed { operation, term });
            }
            inputs.extend([
                Input::NotMine { operation, fenced: false },
                Input::NotMine { operation, fenced: true },
                Input::Refused { operation },
                Input::CannotKnow { operation },
                Input::Released { operation },
            ]);
        }
    }

    fn observe(granter: &mut Granter, seen: &Seen<'_, Self>, first: usize, watch: &mut Watch) {
        let Ok(step) = seen.answer else { return };
        let config = seen.after.config();
        let now = seen.after.clock().now();
        let (from, to) = (seen.before.at(), seen.after.at());
        if let Cause::Time(passed) = seen.cause {
            if seen.before.serving().is_some() {
                watch.check(first + 1, granter.left.is_some_and(|left| left > passed));
            }
            granter.pass(passed);
        }
        let before = granter.clone();
        let input = match &seen.cause {
            Cause::Input(input) => Some(*input),
            Cause::Time(_) => None,
        };
        let granted = input.is_some_and(|input| granter.hear(input, seen, first, watch));
        if from != to {
            // A question belongs to its state.
            (granter.asked, granter.age) = (0, 0);
        }
        if from != to && matches!(from, State::Claiming | State::Confirming) {
            let definite = matches!(
                input,
                Some(
                    Input::Mine { .. }
                        | Input::NotMine { .. }
                        | Input::Granted { .. }
                        | Input::Renewed { .. }
                        | Input::Refused { .. }
                        | Input::Fenced { .. }
                        | Input::Stop { .. }
                )
            );
            watch.check(first + 3, definite && (to != State::Idle || !granter.open));
        }
        for effect in &step.effects {
            match *effect {
                Effect::Serve { epoch } => {
                    let own = matches!(input, Some(Input::Mine { .. } | Input::Renewed { .. }));
                    let left = granter.left.is_some_and(|left| left > 0);
                    watch.check(first, own && left && !granter.passed && epoch == granter.epoch);
                }
                Effect::Drain { loss, within } if granter.whole && loss == LeaseLoss::Unrenewed => {
                    watch.check(first + 2, within + WOKEN >= config.drain);
                }
                Effect::CannotKnow { delay, .. } => {
                    (granter.asked, granter.age) = (0, 0);
                    let again = step.deadline.is_some_and(|deadline| deadline.at <= now + delay);
                    watch.check(first + 4, !asks(to) || (again && delay <= config.retry.cap));
                }
                Effect::Claim { operation, .. } => {
                    // One that a handshake cut short is asked again, when the handshake was in vain.
                    let again = from == State::Confirming && before.open;
                    let asks = again || matches!(from, State::New | State::Claiming);
                    watch.check(first + 9, !before.held && asks);
                    (granter.asked, granter.age) = (operation, 0);
                }
                Effect::Confirm { operation, epoch, .. } | Effect::Renew { operation, epoch, .. } => {
                    watch.check(first + 7, epoch == granter.epoch);
                    (granter.asked, granter.age) = (operation, 0);
                }
                Effect::Release { operation, epoch, .. } => {
                    watch.check(first + 7, epoch == granter.epoch);
                    watch.check(first + 10, seen.after.serving().is_none());
                    watch.check(first + 11, !granter.passed);
                    granter.released.get_or_insert(0);
                    (granter.asked, granter.age) = (operation, 0);
                }
                Effect::Halt => watch.check(first + 1, granter.left.is_some_and(|left| left > 0)),
                Effect::Over { end } => watch.check(first + 11, !granter.passed || end != LeaseEnd::Released),
                _ => {}
            }
        }
        if !asks(to) {
            (granter.asked, granter.age) = (0, 0);
        }
        if let Some(epoch) = seen.after.serving() {
            watch.check(first + 7, epoch == granter.epoch);
        }
        if let Some(since) = granter.released {
            watch.check(first + 10, to == State::Over || since < config.release_limit);
        }
        if to == State::Holding {
            if granter.whole && granted {
                let third = config.term / 3;
                let due = step.deadline.filter(|deadline| deadline.why == Why::Ask);
                let renews = due.is_some_and(|due| (third - third / 4..=third).contains(&(due.at - now)));
                watch.check(first + 5, renews);
            }
            let restored =
                seen.after.snapshot(now).ok().and_then(|record| Self::restore(&record, now, 0).ok());
            let waits =
                restored.is_some_and(|other| other.at() == State::Resuming && other.serving().is_none());
            watch.check(first + 6, waits);
        }
        if from == State::Over {
            watch.check(first + 12, step.effects.is_empty() && to == State::Over);
        }
        if to == State::Over {
            *granter = Granter::default();
        }
    }
}

/// Whether there is a question to the granter in this state.
fn asks(state: State) -> bool {
    !matches!(state, State::New | State::Idle | State::Yielding | State::Over)
}

impl Granter {
    fn pass(&mut self, passed: Millis) {
        let older = |age: Millis| (age + passed).min(LONG);
        self.age = if self.asked == 0 { 0 } else { older(self.age) };
        self.left = self.left.map(|left| left.saturating_sub(passed));
        self.released = self.released.map(older);
    }

    /// What an input that was taken means; whether it is a grant that was waited for.
    fn hear(&mut self, input: &Input, seen: &Seen<'_, LeaseHolder>, first: usize, watch: &mut Watch) -> bool {
        let config = seen.after.config();
        let effects = seen.answer.as_ref().map_or(0, |step| step.effects.len());
        let (from, to) = (seen.before.at(), seen.after.at());
        self.open |= from == State::New && to == State::Claiming;
        match *input {
            Input::Mine { operation, .. }
            | Input::NotMine { operation, .. }
            | Input::Renewed { operation, .. }
            | Input::Refused { operation }
            | Input::CannotKnow { operation }
            | Input::Released { operation } => {
                if operation != self.asked {
                    watch.check(first + 8, effects == 0 && seen.before == seen.after);
                    return false;
                }
                let age = self.age;
                (self.asked, self.age) = (0, 0);
                let answer =
                    matches!(input, Input::Mine { .. } | Input::NotMine { .. } | Input::Renewed { .. });
                self.open &= !answer;
                if let Input::Mine { term, .. } | Input::Renewed { term, .. } = *input {
                    let counted = term.min(config.term) * 1_000 / (1_000 + u64::from(config.drift));
                    self.left = Some(counted.saturating_sub(age));
                    self.whole = term == config.term;
                    self.held = true;
                }
                if let Input::Mine { epoch, .. } = *input {
                    self.epoch = epoch;
                }
                return matches!(input, Input::Mine { .. } | Input::Renewed { .. });
            }
            Input::Granted { epoch } if from != to => self.epoch = epoch,
            Input::HandedOver if matches!(from, State::Holding | State::Resuming) => self.passed = true,
            Input::HandedOver if from == State::Yielding => self.passed |= seen.before != seen.after,
            _ => {}
        }
        false
    }
}

/// The term of the model.
const TERM: Millis = 240;

/// In words.
pub const BOUNDS: &str =
    "any granter and host; terms whole, short and too short; drift 125 ‰; woken on time, late";

/// Short times, in a proportion like that of the defaults.
#[must_use]
pub fn configs() -> Vec<Config> {
    let retry = Policy { initial: 20, cap: 40, floor: 20, jitter: Jitter::None, ..Policy::default() };
    vec![Config { term: TERM, drain: 60, margin: 20, drift: 125, ask_limit: 20, release_limit: 60, retry }]
}
