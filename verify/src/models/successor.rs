//! Successor, the new side of a handoff (H2–H6), under a host and a predecessor that may say anything at any time.

use tidegate::handoff::{ServiceNotice, VERSION};
use tidegate::successor::{Config, Effect, GiveUpCause, Input, State, Successor};

use crate::alone::{Alone, Cause, Seen};
use crate::explore::Watch;
use crate::world::numbers_of;

/// What the process has seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Process {
    acknowledged: bool,
    orphaned: bool,
    ready: bool,
    opened: bool,
    served: bool,
    ended: bool,
}

impl Alone for Successor {
    type Observer = Process;
    const PROPERTIES: &'static [&'static str] = &[
        "H2: the sockets are touched only when it was acknowledged, or when the old process is gone",
        "H2: ready is said before everything else, once",
        "H2: accepting is said once, and only when it accepts",
        "H4: it is promoted only when the old process is gone",
        "H6: a version that nobody here speaks is refused",
        "H3: unclaimed sockets are closed only when it accepts",
        "H5, H8: the PID file and the service manager are for who is promoted",
        "H1: it gives up once, and never when it serves",
    ];
    const GRAIN: tidegate::Millis = 50;
    const LATE: &'static [tidegate::Millis] = &[100];

    fn inputs(&self, _: &Process, _: u32, inputs: &mut Vec<Input>) {
        inputs.extend([
            Input::Initialised,
            Input::InitialiseFailed,
            Input::Acknowledged { version: VERSION, state: false },
            Input::Acknowledged { version: VERSION, state: true },
            Input::Acknowledged { version: VERSION + 2, state: false },
            Input::Garbage,
            Input::ChannelClosed,
            Input::ParentGone,
            Input::Stop,
        ]);
        for operation in numbers_of(self, "operation").all() {
            inputs.extend([Input::Done { operation }, Input::Failed { operation }]);
        }
    }

    fn observe(process: &mut Process, seen: &Seen<'_, Self>, first: usize, watch: &mut Watch) {
        let Ok(step) = seen.answer else { return };
        let from = seen.before.at();
        if let Cause::Input(input) = &seen.cause {
            match **input {
                Input::Acknowledged { version, .. } if from == State::Ready => {
                    process.acknowledged = version == VERSION;
                    let refused = step.effects.contains(&Effect::SayRefused)
                        && step.effects.contains(&Effect::End { cause: GiveUpCause::Version });
                    watch.check(first + 4, refused == (version != VERSION));
                }
                Input::ParentGone => process.orphaned = true,
                Input::Done { .. } if from == State::Opening => {
                    process.opened |= *seen.before != *seen.after;
                }
                _ => {}
            }
        }
        for effect in &step.effects {
            match *effect {
                Effect::SayReady { .. } => {
                    watch.check(first + 1, !process.ready && !process.acknowledged);
                    process.ready = true;
                }
                Effect::Accept { .. } => {
                    watch.check(first, process.acknowledged || process.orphaned);
                }
                Effect::SayAccepting => {
                    watch.check(first + 2, process.opened && !process.served && seen.after.accepts());
                }
                Effect::CloseUnclaimed => watch.check(first + 5, process.opened),
                Effect::Serving { promoted } => {
                    watch.check(first + 3, !promoted || process.orphaned);
                    watch.check(first + 2, process.opened && !process.served);
                    process.served = true;
                }
                Effect::WritePidFile { .. } => watch.check(first + 6, process.orphaned),
                Effect::Notify { notice } => {
                    watch.check(first + 6, process.orphaned && notice == ServiceNotice::MainPid);
                }
                Effect::End { .. } => {
                    watch.check(first + 7, !process.ended && !process.served);
                    process.ended = true;
                }
                Effect::LoadState { .. }
                | Effect::SayRefused
                | Effect::TakeLease
                | Effect::PidFileFailed { .. } => {}
            }
        }
        watch.check(first + 7, process.ended == (seen.after.at() == State::Ended));
        if seen.after.at() == State::Ended {
            *process = Process { ended: true, ..Process::default() };
        }
    }
}

/// With a PID file and a lease.
#[must_use]
pub fn configs() -> Vec<Config> {
    vec![Config {
        initialise_limit: 100,
        acknowledge_limit: 100,
        state_limit: 100,
        accept_limit: 100,
        gone_limit: 100,
        pid_file: true,
        pid_file_limit: 100,
        lease: true,
    }]
}

/// The bounds, in words.
pub const BOUNDS: &str = "any host and predecessor; 1 config; ticks on time, between, late";
