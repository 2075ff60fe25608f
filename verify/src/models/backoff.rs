//! Backoff (B1–B6), under a host that may do anything.

use tidegate::backoff::{Backoff, Config, Effect, Input, Jitter, Policy, State};
use tidegate::{Millis, Name, Rules};

use crate::alone::{Alone, Cause, Seen};
use crate::explore::Watch;
use crate::world::numbers_of;

/// What a retry timer was told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Promises {
    /// The last attempt was accepted by the application and has not failed since.
    accepted: bool,
}

impl Alone for Backoff {
    type Observer = Promises;
    const PROPERTIES: &'static [&'static str] = &[
        "B2: every delay without a hint lies within floor and cap",
        "B4: a hint is honoured up to hint_max, also beyond the cap",
        "B5: from the start of the attempt, a delay is what is left of it",
        "B6: only acceptance that lasted, or a reset, begins anew",
        "B6: an attempt that was only begun never counts as accepted",
        "B: a stopped timer attempts nothing",
    ];
    const LATE: &'static [Millis] = &[50_000];

    fn inputs(&self, _: &Promises, _: u32, inputs: &mut Vec<Input>) {
        inputs.extend([Input::Start, Input::Stop, Input::Wake, Input::Reset]);
        for operation in numbers_of(self, "operation").all() {
            inputs.push(Input::Accepted { operation });
            for hint in [None, Some(300), Some(1_000_000)] {
                inputs.push(Input::Failed { operation, hint });
            }
        }
    }

    fn observe(promises: &mut Promises, seen: &Seen<'_, Self>, first: usize, watch: &mut Watch) {
        let policy = &seen.after.config().policy;
        let Ok(step) = seen.answer else { return };
        let hint = match seen.cause {
            Cause::Input(Input::Failed { hint, .. }) => *hint,
            _ => None,
        };
        for effect in &step.effects {
            match *effect {
                Effect::Waiting { delay } => {
                    match hint {
                        // What has passed of it under `from_start` may leave less than the floor.
                        None if policy.from_start => {
                            watch.check(first + 2, delay <= policy.cap);
                        }
                        None => watch.check(first, (policy.floor..=policy.cap).contains(&delay)),
                        Some(hint) => {
                            let honoured = hint.min(policy.hint_max);
                            watch.check(first + 1, delay >= honoured && delay <= honoured.max(policy.cap));
                        }
                    }
                    promises.accepted = false;
                }
                Effect::Stable => watch.check(first + 4, promises.accepted),
                Effect::Attempt { .. } => {
                    promises.accepted = false;
                    watch.check(first + 5, is(seen.after, State::Attempting));
                }
                Effect::Abandon { .. } => promises.accepted = false,
            }
        }
        if matches!(seen.cause, Cause::Input(Input::Accepted { .. }))
            && is(seen.before, State::Attempting)
            && is(seen.after, State::Settling)
        {
            promises.accepted = true;
        }
        if is(seen.after, State::Idle) {
            promises.accepted = false;
            watch.check(first + 5, step.effects.is_empty() && step.deadline.is_none());
        }
        let begun_anew = seen.after.escalation().attempt() < seen.before.escalation().attempt();
        if begun_anew {
            let lasted = step.effects.contains(&Effect::Stable);
            watch.check(first + 3, lasted || matches!(seen.cause, Cause::Input(Input::Reset)));
        }
    }
}

fn is(backoff: &Backoff, state: State) -> bool {
    backoff.state() == state.as_str()
}

/// In words.
pub const BOUNDS: &str =
    "5 jitters × from failure or from start; any host; draws {min, mid, max}; attempts unbounded";

/// One config for each way to draw, from the failure and from the start.
#[must_use]
pub fn configs() -> Vec<Config> {
    let jitters = [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::PlusMinus, Jitter::Decorrelated];
    let both = jitters.into_iter().flat_map(|jitter| [false, true].map(|from_start| (jitter, from_start)));
    both.map(|(jitter, from_start)| {
        let policy = Policy {
            initial: 100,
            factor: 2_000,
            cap: 400,
            floor: 50,
            jitter,
            spread: 500,
            hint_max: 2_000,
            from_start,
        };
        Config { policy, attempt_limit: 300, stable_after: 500 }
    })
    .collect()
}
