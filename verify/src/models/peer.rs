//! Peer (R1, R2, D4, D5), under a relay, a directory and a host that may do anything.

use tidegate::directory::Refusal;
use tidegate::peer::{Config, Departure, Effect, Input, Peer, State};
use tidegate::{Millis, Rules};

use crate::alone::{Alone, Cause, Seen};
use crate::explore::Watch;
use crate::world::numbers_of;

/// Whether there is a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Known {
    /// No.
    #[default]
    Absent,
    /// Yes.
    Held,
    /// Perhaps.
    Unsure,
}

/// What the relay has seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Relay {
    /// The operation that was asked for last and has not been answered or given up.
    pending: u32,
    /// What is left of its limit.
    left: Millis,
    /// Whether that one writes the row.
    registering: bool,
    /// What the relay can know of a row of this peer.
    row: Known,
    admitted: bool,
    departed: bool,
    draining: bool,
    told: bool,
    /// The outage of the directory has been reported.
    unlisted: bool,
    /// Pings that went out since an inbound frame was known of.
    unanswered: u32,
    /// Time since the last of them.
    pinged: Millis,
    /// A sample was asked for.
    sampled: bool,
}

/// Longer ago than anything matters.
const LONG: Millis = 1_000;

impl Alone for Peer {
    type Observer = Relay;
    const PROPERTIES: &'static [&'static str] = &[
        "R1: admitted only in the step that says that the row is written, once",
        "R1: no admission after a socket closed, a replacement or a drain came in between",
        "R1: a row that may be there is removed when the peer goes, unless it went to somebody else",
        "R1: closed as silent only after so many pings in a row went unanswered",
        "R1: replaced closes with the replaced code",
        "R2: at most one operation at a time, and answers to others change nothing",
        "R2: an outage of the directory never ends a live peer, and is said once",
        "D4: whoever is not admitted is refused when the drain begins",
        "D5: told once, and a told peer writes no new row",
        "R: departs once, and is not admitted after that",
    ];
    const GRAIN: Millis = 50;
    const LATE: &'static [Millis] = &[150];
    const REST: &'static [Millis] = &[100];

    fn remembered(relay: &mut Relay) -> Vec<(&'static str, &mut u32)> {
        vec![("operation", &mut relay.pending)]
    }

    fn inputs(&self, _: &Relay, _: u32, inputs: &mut Vec<Input>) {
        inputs.extend([
            Input::Connected,
            Input::Closed,
            Input::Replaced,
            Input::Drain,
            Input::RowsCleared,
            Input::Tell { within: None },
            Input::Tell { within: Some(100) },
            Input::Close { code: 4001 },
            Input::Close { code: 1005 },
            Input::Inbound { ago: 0 },
            Input::Inbound { ago: 150 },
            Input::Inbound { ago: 10_000 },
        ]);
        for operation in numbers_of(self, "operation").all() {
            inputs.extend([Input::Done { operation }, Input::Failed { operation }]);
            for refusal in [Refusal::NoRow, Refusal::OtherOwner, Refusal::StaleEpoch] {
                inputs.push(Input::Fenced { operation, refusal });
            }
        }
    }

    fn observe(relay: &mut Relay, seen: &Seen<'_, Self>, first: usize, watch: &mut Watch) {
        let config = seen.after.config();
        let Ok(step) = seen.answer else { return };
        if let Cause::Time(passed) = seen.cause {
            relay.pinged = (relay.pinged + passed).min(LONG);
            relay.left = relay.left.saturating_sub(passed);
            if relay.left == 0 {
                // It has had its time.
                (relay.pending, relay.registering) = (0, false);
            }
        }
        let before = relay.clone();
        let asked = |operation: u32| operation != 0 && operation == before.pending;
        let mut written = false;
        if let Cause::Input(input) = &seen.cause {
            match **input {
                Input::Done { operation } | Input::Failed { operation } | Input::Fenced { operation, .. }
                    if !asked(operation) =>
                {
                    watch.check(first + 5, step.effects.is_empty() && seen.after == seen.before);
                }
                Input::Done { .. } => {
                    written = before.registering;
                    (relay.pending, relay.registering) = (0, false);
                    relay.row = match seen.before.at() {
                        State::Authorizing => Known::Absent,
                        State::Leaving if !before.registering => Known::Absent,
                        _ => Known::Held,
                    };
                }
                // Nobody's, or somebody else's: not this peer's.
                Input::Fenced { .. } => {
                    (relay.pending, relay.registering, relay.row) = (0, false, Known::Absent);
                }
                Input::Failed { .. } => (relay.pending, relay.registering) = (0, false),
                Input::Drain => {
                    relay.draining = true;
                    if matches!(seen.before.at(), State::Authorizing | State::Registering) {
                        let draining = Effect::Departed { departure: Departure::Draining };
                        watch.check(first + 7, step.effects.contains(&draining));
                    }
                }
                Input::Replaced if !matches!(seen.before.at(), State::Leaving | State::Gone) => {
                    if seen.before.at() == State::Up {
                        let close = Effect::CloseSocket { code: config.replaced_code };
                        watch.check(first + 4, step.effects.contains(&close));
                    }
                    (relay.row, relay.pending, relay.registering) = (Known::Absent, 0, false);
                }
                Input::RowsCleared
                    if matches!(seen.before.at(), State::Up | State::Told) && before.row == Known::Held =>
                {
                    (relay.row, relay.pending, relay.registering) = (Known::Absent, 0, false);
                }
                Input::Inbound { ago } if before.sampled => {
                    relay.sampled = false;
                    if ago <= before.pinged {
                        relay.unanswered = 0;
                    }
                }
                _ => {}
            }
        }
        let mut removes = false;
        for effect in &step.effects {
            match *effect {
                Effect::Authorize { operation, limit }
                | Effect::Register { operation, limit }
                | Effect::Renew { operation, limit }
                | Effect::Unregister { operation, limit } => {
                    (relay.pending, relay.left) = (operation, limit);
                    relay.registering = matches!(effect, Effect::Register { .. });
                    if relay.registering {
                        relay.row = Known::Unsure;
                        watch.check(first + 8, !relay.told && !relay.draining);
                    }
                    removes |= matches!(effect, Effect::Unregister { .. });
                }
                Effect::Admit => {
                    watch.check(first, written && !before.admitted);
                    watch.check(first + 1, !before.departed && !before.draining);
                    watch.check(first + 9, !before.departed);
                    relay.admitted = true;
                }
                Effect::Notify { .. } => {
                    watch.check(first + 8, !before.told);
                    relay.told = true;
                }
                Effect::Ping => {
                    (relay.unanswered, relay.pinged) = ((relay.unanswered + 1).min(3), 0);
                    relay.sampled = false;
                }
                Effect::Sample => relay.sampled = true,
                Effect::Departed { departure } => {
                    watch.check(first + 9, !before.departed);
                    relay.departed = true;
                    if departure == Departure::Silent {
                        watch.check(first + 3, before.unanswered >= config.ping_misses);
                    }
                    if departure == Departure::DirectoryFailed {
                        watch.check(first + 6, !before.admitted);
                    }
                }
                Effect::Unlisted => {
                    watch.check(first + 6, relay.admitted && !before.departed && !before.unlisted);
                    relay.unlisted = true;
                }
                _ => {}
            }
        }
        if relay.pending == 0 {
            relay.left = 0;
        }
        let listed = matches!(seen.cause, Cause::Input(Input::Done { operation }) if asked(*operation));
        if listed {
            relay.unlisted = false;
        }
        match seen.after.at() {
            // Whatever may be there is being removed, or is still being written.
            State::Leaving => watch.check(first + 2, relay.pending != 0 && relay.row != Known::Absent),
            // Gone without a removal in its last breath only when there was nothing to remove.
            State::Gone if seen.before.at() != State::Gone && seen.before.at() != State::Leaving => {
                watch.check(first + 2, relay.row == Known::Absent && !removes);
            }
            State::Gone => *relay = Relay { departed: relay.departed, ..Relay::default() },
            _ => {}
        }
    }
}

/// In words.
pub const BOUNDS: &str =
    "any relay, directory and host; 2 misses; operations unbounded; ticks on time, between, late";

/// Short times, in a proportion like that of the defaults.
#[must_use]
pub fn configs() -> Vec<Config> {
    let config = Config {
        authorize_limit: 100,
        register_limit: 100,
        ping_every: 200,
        ping_misses: 2,
        stall_tolerance: 100,
        renew_every: 300,
        retry_every: 50,
        ..Config::default()
    };
    vec![config]
}
