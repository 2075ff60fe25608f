//! Stack (K1–K6), under a host that may say anything at any time, hot restarts included.

use tidegate::backoff::{Jitter, Policy};
use tidegate::stack::{Component, Config, Effect, Input, Readiness, Restart, Stack, StackOutcome};
use tidegate::{Intent, Machine, Millis, Rules};

use crate::alone::{Alone, AloneWorld, Cause, Seen};
use crate::explore::Watch;
use crate::world::numbers_of;

/// What the host has seen of the two components.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Host {
    /// The process that may be signalled, of each.
    there: [u32; 2],
    signalled: [bool; 2],
    /// Older generations that there are.
    older: [u32; 2],
    /// Since when it stops.
    since: Option<Millis>,
    /// It was woken late since, so that the budget may be over.
    late: bool,
    exited: bool,
}

impl Alone for Stack {
    type Observer = Host;
    const PROPERTIES: &'static [&'static str] = &[
        "K2: a process is told to stop at most once",
        "K6: only a process that was not seen to end is signalled, and only one that did is reaped",
        "K5: it exits within the budget, and no wait is longer than what is left of it",
        "P: the exit code is that of the worst outcome",
        "K3: nothing is started by a stack that stops, nor anything done after the exit",
        "D2: the intent of a stop is only raised",
    ];
    const GRAIN: Millis = 100;
    const LATE: &'static [Millis] = &[1_100];

    fn remembered(host: &mut Host) -> Vec<(&'static str, &mut u32)> {
        host.there.iter_mut().map(|number| ("operation", number)).collect()
    }

    fn inputs(&self, host: &Host, bound: u32, inputs: &mut Vec<Input>) {
        inputs.extend([Input::Start, Input::Force, Input::Signal { intent: Intent::Restart }]);
        inputs.extend([Intent::Restart, Intent::Decommission].map(|intent| Input::Stop { intent }));
        for operation in numbers_of(self, "operation").all() {
            inputs.extend([Input::Done { operation }, Input::Failed { operation }]);
            for (status, signal) in [(0, 0), (1, 0), (0, 15)] {
                inputs.push(Input::Exited { generation: operation, status, signal });
            }
        }
        for (component, older) in (0..).zip(host.older) {
            inputs.push(Input::OlderGone { component });
            if older < bound {
                inputs.push(Input::Replaced { component });
            }
        }
    }

    fn observe(host: &mut Host, seen: &Seen<'_, Self>, first: usize, watch: &mut Watch) {
        let config = seen.after.config();
        let Ok(step) = seen.answer else { return };
        if let Cause::Time(passed) = seen.cause {
            host.late |= host.since.is_some() && seen.before.deadline().is_some_and(|due| passed > due.at);
            host.since = host.since.filter(|_| !host.late).map(|since| since + passed);
        }
        if host.exited {
            watch.check(first + 4, step.effects.is_empty());
        }
        watch.check(first + 5, seen.after.intent() >= seen.before.intent());
        for effect in &step.effects {
            match *effect {
                Effect::Spawn { operation, component, .. } => {
                    watch.check(first + 4, seen.before.state() != "stopping");
                    let place = component as usize;
                    (host.there[place], host.signalled[place]) = (operation, false);
                }
                Effect::Adopted { component, generation } => {
                    let place = component as usize;
                    (host.there[place], host.signalled[place]) = (generation, false);
                    host.older[place] += 1;
                }
                Effect::Signal { component, generation, .. } => {
                    let place = component as usize;
                    watch.check(first, !host.signalled[place]);
                    watch.check(first + 1, host.there[place] == generation);
                    host.signalled[place] = true;
                }
                Effect::KillGroup { component, generation } => {
                    watch.check(first + 1, host.there[component as usize] == generation);
                }
                Effect::Reap { component, generation, .. } => {
                    let place = component as usize;
                    let ended = matches!(seen.cause, Cause::Input(Input::Exited { .. }));
                    watch.check(first + 1, ended && host.there[place] == generation);
                    host.there[place] = 0;
                }
                Effect::Stopping { .. } if !host.late => host.since = host.since.or(Some(0)),
                Effect::Exit { outcome, exit_code, duration, .. } => {
                    let expected = match outcome {
                        StackOutcome::Clean => 0,
                        StackOutcome::StepFailed => tidegate::drain::EXIT_STEP_FAILED,
                        StackOutcome::Forced => tidegate::drain::EXIT_FORCED,
                        StackOutcome::Died => tidegate::stack::EXIT_DIED,
                        StackOutcome::StartFailed => tidegate::stack::EXIT_START_FAILED,
                    };
                    watch.check(first + 3, exit_code == expected);
                    let kept = host.since == Some(duration) && duration < config.kill_budget;
                    watch.check(first + 2, host.late || kept);
                    watch.check(first + 4, !host.exited);
                    host.exited = true;
                }
                _ => {}
            }
        }
        if let Cause::Input(Input::OlderGone { component }) = &seen.cause {
            host.older[*component as usize] -= 1;
        }
        if let (Some(since), false) = (host.since, host.exited) {
            let left = config.kill_budget.saturating_sub(since);
            let now = seen.after.clock().now();
            watch.check(first + 2, step.deadline.is_some_and(|due| due.at - now < left));
        }
        if host.exited {
            *host = Host { exited: true, older: host.older, ..Host::default() };
        }
    }
}

/// Two in a row: the first is started again, the second drains and can be replaced. Then the same with a first that is
/// ready after a delay, and with a second that takes longer to get ready than the first takes to be started again.
#[must_use]
pub fn configs() -> Vec<Config> {
    let component = Component {
        ready_delay: 100,
        ready_limit: 100,
        backoff: Policy { initial: 100, cap: 100, floor: 50, jitter: Jitter::None, ..Policy::default() },
        stable_after: 100,
        restart_budget: 1,
        restart_window: 100,
        drain_call_limit: 100,
        drain_limit: 100,
        stop_limit: 100,
        ..Component::default()
    };
    let engine = Component { name: "engine".into(), ready: Readiness::Socket, ..component.clone() };
    let slow = Component {
        name: "slow".into(),
        after: vec!["engine".into()],
        ready: Readiness::Socket,
        ready_limit: 500,
        restart: Restart::Never,
        ..component.clone()
    };
    let delayed = Component { ready: Readiness::Delay, ..engine.clone() };
    let router = Component {
        name: "router".into(),
        after: vec!["engine".into()],
        ready: Readiness::Delay,
        restart: Restart::Never,
        drain: true,
        upgradable: true,
        ..component
    };
    let config = |components| Config {
        components,
        spawn_limit: 100,
        kill_limit: 100,
        reap_limit: 100,
        kill_budget: 1_200,
        margin: 100,
        signal_merge: 100,
        restart_exit_code: 0,
    };
    let orders = [vec![engine.clone(), router.clone()], vec![delayed, router], vec![engine, slow]];
    orders.map(config).into()
}

/// The bounds, in words.
pub const BOUNDS: &str =
    "any host; 2 components in a row, in 3 settings, ≤ 1 older generation; ticks on time and late";

/// Any host, with at most one older generation of a component.
#[must_use]
pub fn world() -> AloneWorld<Stack> {
    AloneWorld::bounded(configs(), 1)
}
