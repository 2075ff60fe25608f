//! Handoff, the old side (H1–H8), under a host and a successor that may say anything at any time.

use tidegate::handoff::{
    Config, Effect, Handoff, Input, ServiceNotice, Speaks, UndoHook, VERSION, WhileDraining, agree,
};
use tidegate::{Intent, Rules};

use crate::alone::{Alone, Cause, Seen};
use crate::explore::Watch;
use crate::world::numbers_of;

/// What the process has seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Process {
    /// An upgrade is in flight; its successor was killed or has ended; so many hooks ran since.
    flying: bool,
    over: bool,
    undone: u32,
    older: u32,
    stopping: bool,
    replaced: bool,
    /// The service manager was told of a reload.
    reloading: bool,
}

impl Alone for Handoff {
    type Observer = Process;
    const PROPERTIES: &'static [&'static str] = &[
        "H1: an upgrade that was begun ends once: accepted or rolled back",
        "H2: it accepts until the successor says that it does, or is alive after READY=1",
        "H1: nobody is killed for a timeout of readiness or acceptance without a last look",
        "H4: no upgrade begins while another one is in flight, too many generations drain, or it stops",
        "H6: the acknowledgement has a version that both sides speak",
        "H1: what was spawned is killed or has ended before the undo hooks run, in order",
        "H5, H7: the PID file and the lease pass only when the successor accepts",
        "H8: a reload that was announced is ended",
        "H7: it drains once, for a handoff",
    ];
    const GRAIN: tidegate::Millis = 50;
    const LATE: &'static [tidegate::Millis] = &[100];

    fn inputs(&self, _: &Process, _: u32, inputs: &mut Vec<Input>) {
        inputs.extend([Input::Upgrade, Input::Cancel, Input::Stop, Input::Drained]);
        inputs.extend([0, 1].map(|draining| Input::OlderGenerations { draining }));
        for generation in numbers_of(self, "operation").all() {
            let operation = generation;
            inputs.extend([
                Input::Done { operation },
                Input::Failed { operation },
                Input::Ready { generation, speaks: Speaks::Tidegate, version: VERSION },
                Input::Ready { generation, speaks: Speaks::Tidegate, version: VERSION + 2 },
                Input::Ready { generation, speaks: Speaks::Systemd, version: 0 },
                Input::Accepting { generation },
                Input::Refused { generation },
                Input::Garbage { generation },
                Input::ChannelClosed { generation },
                Input::Exited { generation },
            ]);
        }
    }

    fn observe(process: &mut Process, seen: &Seen<'_, Self>, first: usize, watch: &mut Watch) {
        let config = seen.after.config();
        let Ok(step) = seen.answer else { return };
        let (from, to) = (seen.before.state(), seen.after.state());
        let mut accepted = false;
        if let Cause::Input(input) = &seen.cause {
            match **input {
                Input::OlderGenerations { draining } => process.older = draining,
                Input::Stop if seen.before.accepts() => process.stopping = true,
                // Reaped, or certainly never there.
                Input::Exited { .. } => process.over |= seen.before != seen.after,
                Input::Failed { .. } if from == "spawning" => process.over = true,
                _ => {}
            }
        }
        if from == "killing" && to != "killing" {
            process.over = true;
        }
        for effect in &step.effects {
            match *effect {
                Effect::Spawn { .. } => {
                    let free = !process.flying && !process.stopping && !process.replaced;
                    watch.check(first + 3, free && process.older < config.most_draining);
                    (process.flying, process.over, process.undone) = (true, false, 0);
                }
                Effect::Kill { .. } => {
                    let late = matches!(seen.cause, Cause::Time(_));
                    watch.check(first + 2, !late || matches!(from, "spawning" | "capturing" | "looking"));
                }
                Effect::RunUndo { hook, .. } => {
                    watch.check(first + 5, process.over && hook == process.undone);
                    process.undone += 1;
                }
                Effect::RolledBack { .. } => {
                    let all = u32::try_from(config.undo.len()) == Ok(process.undone);
                    watch.check(first, process.flying && all && seen.after.accepts());
                    process.flying = false;
                    watch.check(first + 7, process.stopping || !process.reloading);
                }
                Effect::Accepted { .. } => {
                    watch.check(first, process.flying);
                    (process.flying, accepted, process.replaced) = (false, true, true);
                    process.stopping = false;
                }
                Effect::Acknowledge { version, .. } => {
                    watch.check(first + 4, agree(VERSION, version) == Some(version));
                }
                Effect::WritePidFile { .. } | Effect::PassLease { .. } => watch.check(first + 6, accepted),
                Effect::BeginDrain { intent } => {
                    watch.check(first + 8, accepted && intent == Intent::Handoff)
                }
                Effect::Notify { notice } => process.reloading = notice == ServiceNotice::Reloading,
                _ => {}
            }
        }
        if seen.before.accepts() && !seen.after.accepts() {
            let said = match &seen.cause {
                Cause::Input(Input::Accepting { .. }) => {
                    matches!(from, "acknowledged" | "settling" | "looking")
                }
                Cause::Input(Input::Done { .. }) => from == "looking",
                _ => false,
            };
            watch.check(first + 1, said);
        }
        if !seen.after.accepts() {
            watch.check(first + 7, !process.reloading);
        }
        let flies = !matches!(to, "running" | "queued" | "stopping" | "draining" | "gone");
        watch.check(first, flies == process.flying);
    }
}

/// Without a state, and with everything; older generations make an upgrade wait.
#[must_use]
pub fn configs() -> Vec<Config> {
    let limit = 100;
    let plain = Config {
        spawn_limit: limit,
        ready_limit: limit,
        accept_limit: limit,
        settle: limit,
        look_limit: limit,
        kill_limit: limit,
        state_limit: limit,
        task_limit: limit,
        drain_limit: 200,
        queue_limit: limit,
        undo: ["lock", "journal"].map(|name| UndoHook { name: name.into(), limit }).into(),
        ..Config::default()
    };
    let all = Config {
        state: true,
        pid_file: true,
        lease: true,
        while_draining: WhileDraining::Queue,
        ..plain.clone()
    };
    vec![plain, all]
}

/// The bounds, in words.
pub const BOUNDS: &str = "any host and successor; 2 configs; ticks on time, between, late";
