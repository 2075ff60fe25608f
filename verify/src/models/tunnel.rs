//! Tunnel (T1–T10), under a host, a relay and a network that may do anything.

use tidegate::backoff::{Jitter, Policy};
use tidegate::close::{Profile, Response};
use tidegate::tunnel::{
    Acceptance, Asked, Config, DialFailure, Effect, Input, Overflow, State, StopReason, Tunnel,
};
use tidegate::{Machine, Millis, Rules, StepOf};

use crate::alone::{Alone, AloneWorld, Cause, Seen};
use crate::explore::Watch;
use crate::models::Size;
use crate::world::numbers_of;

/// What the host has seen, as far as the properties need it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Host {
    /// The sockets that the host holds: the one being opened, the one to send on, the one that finishes. 0: none.
    next: u32,
    current: u32,
    old: u32,
    offline: bool,
    /// Stopped, and not started again.
    stopped: bool,
    /// What dials have used up of their pace: a floor each, given back by time.
    dialed: Millis,
    /// The same for refused attempts: a cap each.
    refused: Millis,
    /// For how long the connection has certainly been silent, up to `dead_after`.
    silence: Millis,
    /// A ping went out since it was last heard.
    pinged: bool,
}

/// The code of a connection that was given up for being silent.
const TIMEOUT: u16 = 3008;

/// What closes look like: lost, a drain, refused, never again in three ways, at once, elsewhere, slowly, spread.
const CODES: &[u16] = &[1006, 4001, 4401, 4404, 4409, 4408, 4410, 4403, 1012];

impl Alone for Tunnel {
    type Observer = Host;
    const PROPERTIES: &'static [&'static str] = &[
        "T1: at most one connection is adopted, and what it replaces is let go in the same step",
        "T1: adopted only as acceptance is configured",
        "T3: the host holds no socket that the tunnel has forgotten",
        "T3: what happens on a connection that is gone changes nothing",
        "T4: given up for silence only after dead_after of it, and a ping",
        "T4: a stall of the host is no silence of the peer",
        "T5: a notice by itself ends no connection that works",
        "T6: dials in any window are at most budget + 1 + window / floor",
        "T7: refused attempts are at most one per cap, after the first",
        "T8: stopped is stopped until a start",
        "T8: replaced is a reason of its own",
        "T9: nothing is dialed while offline",
        "T10: the buffer keeps to its bound",
        "T3: what closes the connection that is being left never stops the tunnel",
    ];
    const GRAIN: Millis = 50;
    const LATE: &'static [Millis] = &[150];
    const REST: &'static [Millis] = &[100, 5_000];

    fn remembered(host: &mut Host) -> Vec<(&'static str, &mut u32)> {
        vec![("generation", &mut host.next), ("generation", &mut host.current), ("generation", &mut host.old)]
    }

    fn inputs(&self, host: &Host, _: u32, inputs: &mut Vec<Input>) {
        inputs.extend([Input::Start, Input::Stop, Input::Online, Input::Offline, Input::Wake, Input::Send]);
        for operation in numbers_of(self, "operation").all() {
            inputs.extend([Input::Prepared { operation }, Input::PrepareFailed { operation }]);
        }
        let generations = numbers_of(self, "generation");
        for generation in generations.all() {
            let known = [host.next, host.current, host.old].contains(&generation);
            inputs.extend([
                Input::Opened { generation },
                Input::Accepted { generation },
                Input::Inbound { generation, ago: 0 },
                Input::Finished { generation },
                Input::DrainNotice { generation, within: None },
                Input::Asked { generation, asked: Asked::Stop },
                Input::DialFailed { generation, failure: DialFailure::Unreachable, retry_after: None },
            ]);
            for code in if known { CODES } else { &[4409] } {
                inputs.push(Input::Closed {
                    generation,
                    code: *code,
                    retry_after: None,
                    tls: true,
                    subscribed: false,
                });
            }
            if known {
                inputs.extend([
                    Input::Inbound { generation, ago: 100 },
                    Input::DrainNotice { generation, within: Some(100) },
                    Input::Asked { generation, asked: Asked::Move },
                    Input::Asked { generation, asked: Asked::Refresh },
                    Input::DialFailed { generation, failure: DialFailure::Refused, retry_after: None },
                    Input::DialFailed {
                        generation,
                        failure: DialFailure::Unreachable,
                        retry_after: Some(250),
                    },
                    Input::Closed {
                        generation,
                        code: 1006,
                        retry_after: Some(250),
                        tls: true,
                        subscribed: false,
                    },
                ]);
            }
        }
    }

    fn observe(host: &mut Host, seen: &Seen<'_, Self>, first: usize, watch: &mut Watch) {
        let config = seen.after.config();
        let Ok(step) = seen.answer else { return };
        let floor = config.backoff.floor;
        if let Cause::Time(passed) = seen.cause {
            host.dialed = host.dialed.saturating_sub(passed);
            host.refused = host.refused.saturating_sub(passed);
            if host.current != 0 && config.dead_after > 0 {
                host.silence = (host.silence + passed).min(config.dead_after);
            }
        }
        let stalled = matches!(seen.cause, Cause::Time(passed)
            if seen.before.deadline().is_some_and(|due| passed > due.at + config.stall_tolerance));
        let before = host.clone();
        let is_known = |generation| [before.next, before.current, before.old].contains(&generation);
        if let Cause::Input(input) = &seen.cause {
            match **input {
                Input::Start => (host.stopped, host.refused) = (false, 0),
                Input::Offline => host.offline = true,
                Input::Online | Input::Wake => host.offline = false,
                Input::Inbound { generation, ago } if generation == host.current => {
                    if ago < host.silence {
                        host.pinged = false;
                    }
                    host.silence = host.silence.min(ago);
                }
                Input::Closed { generation, code, .. } if is_known(generation) => {
                    let leaving = seen.before.place() == State::Moving && generation == before.current;
                    let counts = generation != before.old && !leaving;
                    if !counts {
                        watch.check(first + 13, !stops(step));
                    }
                    let action = config.profile.decide(code, true, false);
                    if counts && action.response == Response::Refresh {
                        host.refused += config.backoff.cap;
                        watch.check(first + 8, host.refused <= 2 * config.backoff.cap);
                    }
                    if counts && action.replaced {
                        let replaced = Effect::Stopped { reason: StopReason::Replaced, code: Some(code) };
                        watch.check(first + 10, step.effects.contains(&replaced));
                    }
                    forget(host, generation);
                }
                Input::DialFailed { generation, failure, .. }
                    if generation == before.next
                        && (seen.after.place() != seen.before.place() || step.effects.is_empty()) =>
                {
                    if failure == DialFailure::Refused && *seen.after != *seen.before {
                        host.refused += config.backoff.cap;
                        watch.check(first + 8, host.refused <= 2 * config.backoff.cap);
                    }
                    if *seen.after != *seen.before {
                        forget(host, generation);
                    }
                }
                Input::DrainNotice { generation, .. } if generation == host.current => {
                    let ended = |effect: &Effect| matches!(effect, Effect::Abandon { generation, .. } if *generation == before.current);
                    watch.check(first + 6, !step.effects.iter().any(ended));
                }
                Input::Opened { generation } if !is_known(generation) => {
                    let closed = [Effect::Abandon { generation, code: TIMEOUT }];
                    watch.check(first + 3, step.effects == closed && seen.before == seen.after);
                }
                Input::Accepted { generation }
                | Input::Inbound { generation, .. }
                | Input::Closed { generation, .. }
                | Input::Finished { generation }
                | Input::DrainNotice { generation, .. }
                | Input::Asked { generation, .. }
                | Input::DialFailed { generation, .. }
                    if !is_known(generation) =>
                {
                    watch.check(first + 3, step.effects.is_empty() && seen.before == seen.after);
                }
                _ => {}
            }
        }
        for effect in &step.effects {
            match *effect {
                Effect::Prepare { .. } => {
                    watch.check(first + 11, !host.offline);
                    watch.check(first + 9, !host.stopped);
                }
                Effect::Dial { generation, .. } => {
                    watch.check(first + 11, !host.offline);
                    watch.check(first + 9, !host.stopped);
                    watch.check(first + 2, host.next == 0);
                    host.next = generation;
                    host.dialed += floor;
                    let most = u64::from(config.immediate_budget) + 1;
                    watch.check(first + 7, host.dialed <= most * floor);
                }
                Effect::Adopt { generation } => {
                    let replaced = step.effects.iter().any(|effect| match *effect {
                        Effect::Finish { generation, .. } | Effect::Abandon { generation, .. } => {
                            generation == host.current
                        }
                        _ => false,
                    });
                    watch.check(first, generation == host.next && (host.current == 0 || replaced));
                    let accepted = match config.acceptance {
                        Acceptance::Explicit => matches!(seen.cause, Cause::Input(Input::Accepted { .. })),
                        Acceptance::FirstInbound => {
                            matches!(seen.cause, Cause::Input(Input::Accepted { .. } | Input::Inbound { .. }))
                        }
                        Acceptance::Quiet => true,
                    };
                    watch.check(first + 1, accepted);
                    if host.current != 0 {
                        // Whatever becomes of it, it is the old one now.
                        host.old = host.current;
                    }
                    (host.next, host.current) = (0, generation);
                    (host.silence, host.pinged) = (0, false);
                }
                Effect::Finish { generation, .. } => {
                    watch.check(first + 2, host.old == generation);
                }
                Effect::Abandon { generation, code } => {
                    if code == TIMEOUT && generation == before.current && host.current == generation {
                        let silent = host.silence >= config.dead_after;
                        watch.check(first + 4, silent && (host.pinged || config.ping_after == 0));
                        watch.check(first + 5, !stalled);
                    }
                    forget(host, generation);
                }
                Effect::Ping { .. } => host.pinged = true,
                Effect::Stopped { .. } => host.stopped = true,
                _ => {}
            }
        }
        if host.current == 0 {
            (host.silence, host.pinged) = (0, false);
        }
        if stalled && before.current != 0 {
            watch.check(first + 5, host.current == before.current || host.next == 0);
        }
        let held = (host.next != 0, host.current != 0);
        let expected = match seen.after.place() {
            State::Idle | State::Stopped => host.old == 0 && held == (false, false),
            State::Preparing | State::Waiting | State::Offline => held == (false, false),
            State::Dialing | State::Accepting => held == (true, false),
            State::Up => held == (false, true),
            State::Moving => held.1,
        };
        watch.check(first + 2, expected && seen.after.adopted().unwrap_or(0) == host.current);
        watch.check(first + 9, host.stopped == (seen.after.place() == State::Stopped));
        watch.check(first + 12, seen.after.buffered() <= config.buffer_limit);
    }
}

/// Whether the tunnel stopped in this step.
fn stops(step: &StepOf<Tunnel>) -> bool {
    step.effects.iter().any(|effect| matches!(effect, Effect::Stopped { .. }))
}

fn forget(host: &mut Host, generation: u32) {
    for held in [&mut host.next, &mut host.current, &mut host.old] {
        if *held == generation {
            *held = 0;
        }
    }
}

fn base() -> Config {
    Config {
        backoff: Policy {
            initial: 100,
            factor: 2_000,
            cap: 200,
            floor: 50,
            jitter: Jitter::None,
            spread: 0,
            hint_max: 250,
            from_start: false,
        },
        slow_delay: 200,
        profile: Profile::named("relay"),
        acceptance: Acceptance::Explicit,
        quiet_time: 100,
        prepare_limit: 100,
        dial_limit: 100,
        accept_limit: 100,
        ping_after: 200,
        dead_after: 400,
        stall_tolerance: 100,
        stable_after: 800,
        immediate_budget: 2,
        immediate_window: 200,
        finish_limit: 100,
        notice_max: 100,
        endpoints: 1,
        rotate_after: 2,
        buffer_limit: 1,
        overflow: Overflow::Refuse,
    }
}

/// The world at a size, with its bounds.
#[must_use]
pub fn world(size: Size) -> (&'static str, AloneWorld<Tunnel>) {
    match size {
        Size::Small | Size::Quick => (
            "any host, relay and network; 1 endpoint; 2 acceptances; a watchdog without pings",
            AloneWorld::new(smallest()),
        ),
        Size::Full => (
            "any host, relay and network; ≤ 2 endpoints; budget ≤ 2; 3 acceptances; draws {min, mid, max}; 9 close codes; \
             dials unbounded; ticks on time, between, late",
            AloneWorld::new([attempts(), silence(), random()].concat()),
        ),
    }
}

/// Few states, every rule.
#[must_use]
pub fn smallest() -> Vec<Config> {
    let silence = silence().swap_remove(0);
    let watched = Config {
        stable_after: 400,
        finish_limit: 50,
        accept_limit: 50,
        ping_after: 0,
        dead_after: 200,
        ..silence
    };
    let calm = Config {
        acceptance: Acceptance::Quiet,
        quiet_time: 50,
        accept_limit: 100,
        dead_after: 0,
        finish_limit: 0,
        ..watched.clone()
    };
    vec![watched, calm]
}

/// Attempts: providers, dials, refusals, closes, budgets; the second with acceptance by quiet time, two endpoints and
/// a buffer that drops.
#[must_use]
pub fn attempts() -> Vec<Config> {
    let calm = Config { ping_after: 0, dead_after: 0, finish_limit: 0, ..base() };
    vec![
        calm.clone(),
        Config {
            acceptance: Acceptance::Quiet,
            quiet_time: 50,
            endpoints: 2,
            overflow: Overflow::DropOldest,
            ..calm
        },
    ]
}

/// Silence, pings and stalls, with an old connection that finishes.
#[must_use]
pub fn silence() -> Vec<Config> {
    let backoff = Policy { cap: 100, hint_max: 0, ..base().backoff };
    vec![Config {
        backoff,
        acceptance: Acceptance::FirstInbound,
        immediate_budget: 0,
        notice_max: 0,
        rotate_after: 1,
        buffer_limit: 0,
        slow_delay: 0,
        stable_after: 400,
        ..base()
    }]
}

/// Random delays.
#[must_use]
pub fn random() -> Vec<Config> {
    let backoff = Policy { initial: 100, cap: 200, jitter: Jitter::Equal, ..base().backoff };
    let calm = attempts().swap_remove(0);
    vec![Config { backoff, immediate_budget: 1, ..calm }]
}
