//! Drain (D1–D10), under a host that may say anything: loads that make no sense, answers that never come.

use tidegate::drain::{Config, Drain, Effect, Input, Phase, ReleaseStep, StepKind};
use tidegate::{Intent, Machine, Millis, Rules};

use crate::alone::{Alone, AloneWorld, Cause, Seen};
use crate::explore::Watch;
use crate::models::Size;
use crate::world::numbers_of;

/// What the process has seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Process {
    /// Time since the stop began.
    began: Option<Millis>,
    /// Time since draining began.
    draining: Option<Millis>,
    /// How often it was told a load.
    loads: u8,
    /// The public door was told to close.
    door_closing: bool,
    /// Tunnels were told, as far as the machine can know: all that there are.
    told: bool,
    /// Rows are being cleared or have been.
    cleared: bool,
    /// Steps that were started, by their bits.
    started: u8,
    /// The last one that was.
    latest: u8,
    unready: bool,
    lame: bool,
    forced: bool,
    merged: Option<Millis>,
}

const TOO_MANY: Millis = 1_000_000;

impl Alone for Drain {
    type Observer = Process;
    const PROPERTIES: &'static [&'static str] = &[
        "D1: phases never go backwards",
        "D2: intent is only raised, and a second begin moves no deadline",
        "D2: a second signal forces, unless it is merged with the first",
        "D3: not ready before anything else, and lame duck before the door closes",
        "D4: the public door closes before any tunnel is told",
        "D5: rows are cleared before tunnels are closed",
        "D7: work is cut only when the grace period is over or by a force",
        "D8: each step is started in its order, again only as its retry",
        "D9: stopped within the budget",
        "D10: the exit code says whether it was clean",
        "D10: the outcome comes once",
    ];
    const GRAIN: Millis = 50;
    const REST: &'static [Millis] = &[];
    const LATE: &'static [Millis] = &[];

    fn inputs(&self, process: &Process, bound: u32, inputs: &mut Vec<Input>) {
        inputs.extend([Input::Started, Input::Force]);
        for intent in [Intent::Handoff, Intent::Restart, Intent::Decommission] {
            inputs.push(Input::Begin { intent });
        }
        inputs.push(Input::Signal { intent: Intent::Restart });
        for operation in numbers_of(self, "operation").all() {
            inputs.extend([Input::Done { operation }, Input::Failed { operation }]);
        }
        if u32::from(process.loads) >= bound {
            return;
        }
        for (requests, idle, streams, tunnels, told) in [
            (0, 0, 0, 0, 0),
            (1, 0, 0, 0, 0),
            (0, 1, 0, 0, 0),
            (0, 0, 0, 2, 0),
            (0, 0, 0, 2, 1),
            (1, 0, 1, 1, 1),
        ] {
            inputs.push(Input::Load { requests, idle, streams, tunnels, told });
        }
        inputs.push(Input::Load { requests: 0, idle: 0, streams: 1, tunnels: 0, told: 0 });
    }

    fn observe(process: &mut Process, seen: &Seen<'_, Self>, first: usize, watch: &mut Watch) {
        let config = seen.after.config();
        let Ok(step) = seen.answer else { return };
        let before = process.clone();
        let (from, to) = (seen.before.phase(), seen.after.phase());
        if let Cause::Time(passed) = seen.cause {
            process.began = process.began.map(|began| (began + passed).min(TOO_MANY));
            process.draining = process.draining.map(|draining| (draining + passed).min(TOO_MANY));
            process.merged = process.merged.map(|left| left.saturating_sub(passed));
        }
        watch.check(first, to >= from);
        watch.check(first + 1, seen.after.intent() >= seen.before.intent());
        let resting = [Phase::Starting, Phase::Serving, Phase::Stopped];
        let begun = resting.contains(&from) && !resting.contains(&to);
        if begun || (resting.contains(&from) && from != Phase::Stopped && to == Phase::Stopped) {
            process.began = Some(0);
        }
        if let Cause::Input(input) = &seen.cause {
            match **input {
                Input::Begin { .. } if !resting.contains(&from) => {
                    watch.check(first + 1, step.deadline == seen.before.deadline());
                }
                Input::Signal { .. } if from != Phase::Stopped => {
                    let again = before.merged == Some(0);
                    if again && matches!(from, Phase::LameDuck | Phase::Draining) {
                        watch.check(first + 2, to > Phase::Draining);
                    } else if before.merged.is_some() {
                        watch.check(first + 2, to == from);
                    }
                    process.forced |= again;
                    if before.merged.is_none() {
                        process.merged = Some(config.signal_merge);
                    }
                }
                Input::Force => process.forced = true,
                // Once it has been told a load, only the tunnels that are still untold need telling.
                Input::Load { tunnels, told, .. } => {
                    process.told = tunnels == told;
                    process.loads += 1;
                }
                _ => {}
            }
        }
        for effect in &step.effects {
            match *effect {
                Effect::Readiness { ready: false } => {
                    process.unready = true;
                    watch.check(first + 3, step.effects.first() == Some(effect));
                }
                Effect::LameDuck => {
                    process.lame = true;
                    watch.check(first + 3, process.unready);
                }
                Effect::ClosePublicDoor { .. } => {
                    watch.check(first + 3, process.unready && process.lame);
                    process.door_closing = true;
                }
                Effect::Tell { .. } => {
                    watch.check(first + 4, process.door_closing);
                    process.told = true;
                }
                Effect::ClearRows { .. } => process.cleared = true,
                Effect::CloseTunnels { .. } => watch.check(first + 5, process.cleared),
                Effect::Entered { phase: Phase::Forcing, .. } if from != Phase::Forcing => {
                    let over = process.draining.is_some_and(|draining| draining >= config.grace);
                    watch.check(first + 6, process.forced || over);
                }
                Effect::Entered { phase: Phase::Draining, .. } if from != Phase::Draining => {
                    process.draining = Some(0);
                }
                Effect::Abort { .. } => watch.check(first + 6, to >= Phase::Forcing),
                Effect::RunStep { step, attempt, .. } => {
                    let bit = 1_u8 << step.min(7);
                    let number = step as u8 + 1;
                    let again = process.started & bit != 0;
                    watch.check(first + 7, again == (attempt > 1) && number >= process.latest);
                    process.started |= bit;
                    process.latest = number;
                }
                Effect::Stopped { forced, abandoned, failed_steps, duration, exit_code, .. } => {
                    let cut = forced > 0 || abandoned > 0;
                    let expected = match (cut, failed_steps > 0) {
                        (true, _) => exit_code == 4,
                        (false, true) => exit_code == 3,
                        (false, false) => exit_code != 3 && exit_code != 4,
                    };
                    watch.check(first + 9, expected);
                    watch.check(first + 10, from != Phase::Stopped);
                    let took = process.began.unwrap_or(0);
                    watch.check(first + 8, took <= config.kill_budget && duration == took);
                }
                _ => {}
            }
        }
        if let Some(began) = process.began
            && to != Phase::Stopped
        {
            // Every wait is within the budget: that it is kept follows from the deadline that is always there.
            watch.check(first + 8, began < config.kill_budget);
        }
        if to == Phase::Stopped {
            *process = Process::default();
        }
    }
}

fn step(name: &str, kind: StepKind, attempts: u32) -> ReleaseStep {
    ReleaseStep { name: name.into(), kind, limit: 100, attempts }
}

fn base() -> Config {
    Config {
        lame_duck: 100,
        grace: 400,
        kill_budget: 1_000,
        margin: 200,
        flush: 100,
        reconnect_rate: 0,
        min_idle_age: 200,
        signal_merge: 100,
        end_streams: true,
        restart_code: 4001,
        decommission_code: 1001,
        restart_exit_code: 0,
        steps: Vec::new(),
    }
}

/// The world at a size, with its bounds.
#[must_use]
pub fn world(size: Size) -> (&'static str, AloneWorld<Drain>) {
    match size {
        Size::Small => ("any host; ≤ 1 count; 0 or 2 steps", AloneWorld::bounded(both(), 1)),
        Size::Quick => ("any host; ≤ 2 counts; 0 or 2 steps", AloneWorld::bounded(both(), 2)),
        Size::Full => ("any host; ≤ 4 counts; 0 or 2 steps", AloneWorld::bounded(both(), 4)),
    }
}

fn both() -> Vec<Config> {
    [plain(), stepped()].concat()
}

/// Without steps, all tunnels told at once.
#[must_use]
pub fn plain() -> Vec<Config> {
    vec![base()]
}

/// With an un-route step and a release step that is tried twice; tunnels told one after another.
#[must_use]
pub fn stepped() -> Vec<Config> {
    vec![Config {
        steps: vec![step("balancer", StepKind::Unroute, 1), step("flush", StepKind::Release, 2)],
        reconnect_rate: 20,
        lame_duck: 50,
        grace: 400,
        ..base()
    }]
}
