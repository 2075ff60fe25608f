//! Lifecycle (Y1–Y3): the whole of a process, under a host, a granter, a successor and an old process that may do
//! anything at any time. What each part decides is proved with the part; here it is what one has to do with another.

use tidegate::backoff::{Jitter, Policy};
use tidegate::drain::{self, ReleaseStep, StepKind};
use tidegate::handoff::Speaks;
use tidegate::lease_holder::LeaseEnd;
use tidegate::lifecycle::{
    Config, EXIT_BOOT_FAILED, EXIT_FENCED, Effect, ExitCause, Input, Lifecycle, State,
};
use tidegate::{Intent, Machine, Millis, Rules, handoff, lease_holder, successor};

use crate::alone::{Alone, AloneWorld, Cause, Seen};
use crate::explore::Watch;
use crate::models::Size;
use crate::world::Subject;

/// The epoch that is granted, and that of a predecessor.
const EPOCH: u64 = 5;
const EARLIER: u64 = 4;
/// Longer ago than anything matters.
const LONG: Millis = 100_000;

/// What was asked of the host, by how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Asked {
    Initialise,
    ControlDoor,
    PublicDoor,
    CloseControlDoor,
    CleanUp,
    Successor,
    Spawn,
    Other,
    Question,
    Release,
}

/// What the world around the process looks like.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Gateway {
    /// The operations that the host has not answered, the last of each kind.
    asked: Vec<(Asked, u32)>,
    /// What was done of the boot, or may have been.
    initialised: bool,
    control_open: bool,
    public_open: bool,
    /// The granter has a lease for this process.
    leased: bool,
    /// It was given back.
    released: bool,
    /// How far the boot was taken back.
    undone: u8,
    /// Time since the stop began.
    began: Option<Millis>,
    ready: bool,
    closing: bool,
    /// The successor that is on its way.
    successor: u32,
    acknowledged: bool,
    accepted: bool,
    passed: bool,
    halted: bool,
    exited: bool,
    counted: bool,
    loads: u8,
    upgrades: u8,
    stops: u8,
    lost: bool,
}

impl Subject for Lifecycle {
    const STATES: tidegate::NameSpec = <State as tidegate::Name>::SPEC;
    fn place(&self) -> usize {
        usize::from(tidegate::Name::index(self.at()))
    }
    // L6: a lease that was held is renewed first.
    fn comes_back_as_it_was(&self) -> bool {
        self.epoch().is_none()
    }
}

impl Gateway {
    fn ask(&mut self, kind: Asked, operation: u32) {
        self.asked.retain(|(known, _)| *known != kind);
        self.asked.push((kind, operation));
        self.asked.sort_unstable();
    }

    /// What an effect means for the world.
    fn asks(&mut self, effect: &Effect) {
        let (kind, operation) = match *effect {
            Effect::Initialise { operation, .. } => (Asked::Initialise, operation),
            Effect::OpenControlDoor { operation, .. } => (Asked::ControlDoor, operation),
            Effect::OpenPublicDoor { operation, .. } => (Asked::PublicDoor, operation),
            Effect::CloseControlDoor { operation, .. } => (Asked::CloseControlDoor, operation),
            Effect::CleanUp { operation, .. } => (Asked::CleanUp, operation),
            Effect::Accept { operation, .. } | Effect::LoadState { operation, .. } => {
                (Asked::Successor, operation)
            }
            Effect::Spawn { operation, .. } => (Asked::Spawn, operation),
            Effect::Claim { operation, .. }
            | Effect::Confirm { operation, .. }
            | Effect::Renew { operation, .. } => (Asked::Question, operation),
            Effect::Release { operation, .. } => (Asked::Release, operation),
            Effect::ClearEarlierRows { operation, .. }
            | Effect::RunStep { operation, .. }
            | Effect::ClosePublicDoor { operation, .. }
            | Effect::ClearRows { operation, .. }
            | Effect::CaptureState { operation, .. }
            | Effect::Look { operation, .. }
            | Effect::Kill { operation, .. }
            | Effect::RunUndo { operation, .. }
            | Effect::WritePidFile { operation, .. }
            | Effect::PassLease { operation, .. } => (Asked::Other, operation),
            _ => return,
        };
        self.ask(kind, operation);
    }

    /// What an answer of the host means for the world.
    fn hears(&mut self, input: &Input) {
        let answered = match *input {
            Input::Failed { operation } => {
                for (kind, asked) in &self.asked {
                    // After a stop has begun it is an answer that comes late.
                    if *asked == operation && self.began.is_none() {
                        match kind {
                            Asked::Initialise => self.initialised = false,
                            Asked::ControlDoor => self.control_open = false,
                            Asked::PublicDoor => self.public_open = false,
                            Asked::Successor => (self.public_open, self.control_open) = (false, false),
                            _ => {}
                        }
                    }
                }
                operation
            }
            Input::Mine { operation, .. } | Input::Renewed { operation, .. } => {
                let open = self.asked.contains(&(Asked::Question, operation));
                self.leased |= open;
                operation
            }
            Input::Done { operation }
            | Input::NotMine { operation, .. }
            | Input::LeaseRefused { operation }
            | Input::CannotKnow { operation }
            | Input::Released { operation } => operation,
            _ => 0,
        };
        self.asked.retain(|(_, asked)| *asked != answered);
    }
}

impl Alone for Lifecycle {
    type Observer = Gateway;
    const PROPERTIES: &'static [&'static str] = &[
        "Y1: the public door opens after everything before it, with a lease if there is one to have",
        "Y1: ready is last, and only with the public door open",
        "Y1: what is taken back was done or may have been, in reverse, each once",
        "Y1: at the exit everything that was done is taken back, reported, or a successor's",
        "Y1: a boot that failed, or was stopped, exits by its cause and code",
        "Y2: not ready before the public door closes",
        "Y2: the public door closes in a stop alone: nobody else may accept",
        "Y2: a lease that is lost begins a stop",
        "Y2: it serves with a lease, or on one that it inherited",
        "H7: while the successor may accept unheard no step runs, and nothing is released",
        "H7: once a successor accepts, steps run for a handoff, and nothing that passed is released",
        "H4: at the exit no successor is on its way",
        "Y3: the intent and its source are said before the drain begins, and again in the exit",
        "P: the lease is released once, when nothing is served any more",
        "P: exited within the kill budget",
        "P: after the exit nothing is started",
    ];
    const GRAIN: Millis = 100;
    const REST: &'static [Millis] = &[100];

    fn remembered(gateway: &mut Gateway) -> Vec<(&'static str, &mut u32)> {
        let asked = gateway.asked.iter_mut().map(|(_, operation)| ("operation", operation));
        asked.chain([("operation", &mut gateway.successor)]).collect()
    }

    fn inputs(&self, gateway: &Gateway, bound: u32, inputs: &mut Vec<Input>) {
        let config = self.config();
        if self.at() == State::New {
            inputs.push(Input::Boot { successor: false });
            inputs.push(Input::Boot { successor: true });
        }
        for (kind, operation) in gateway.asked.iter().copied() {
            match kind {
                Asked::Question => inputs.extend([
                    Input::Mine { operation, epoch: EPOCH, term: TERM },
                    Input::Renewed { operation, term: TERM },
                    Input::NotMine { operation, fenced: false },
                    Input::NotMine { operation, fenced: true },
                    Input::LeaseRefused { operation },
                    Input::CannotKnow { operation },
                ]),
                Asked::Release => {
                    inputs.extend([Input::Released { operation }, Input::CannotKnow { operation }]);
                }
                _ => inputs.extend([Input::Done { operation }, Input::Failed { operation }]),
            }
        }
        if u32::from(gateway.stops) < bound {
            inputs.push(Input::Signal { intent: None, marker: None, instance: 0, age: 0 });
            inputs.push(Input::Stop { intent: Intent::Decommission });
        }
        if u32::from(gateway.loads) < bound && gateway.counted {
            for requests in [0, 1] {
                inputs.push(Input::Load { requests, idle: 0, streams: 0, tunnels: 0, told: 0 });
            }
        }
        if config.handoff.is_some() && u32::from(gateway.upgrades) < bound {
            inputs.push(Input::Upgrade);
        }
        let generation = gateway.successor;
        if generation > 0 && !gateway.accepted {
            inputs.extend([
                Input::Ready { generation, speaks: Speaks::Tidegate, version: 1 },
                Input::Accepting { generation },
                Input::Exited { generation },
                Input::ChannelClosed { generation: Some(generation) },
            ]);
        }
        if self.at() == State::TakingOver {
            inputs.extend([
                Input::Acknowledged { version: 1, state: false },
                Input::ParentGone,
                Input::ChannelClosed { generation: None },
            ]);
        }
        if config.lease.is_some() && !gateway.exited {
            if config.successor.is_some() && matches!(self.at(), State::TakingOver | State::Serving) {
                inputs.push(Input::Inherited { epoch: EARLIER, left: TERM });
            }
            inputs.push(Input::Fenced { epoch: EPOCH });
            if self.at() == State::Idle {
                inputs.push(Input::Granted { epoch: EPOCH });
            }
        }
    }

    fn observe(gateway: &mut Gateway, seen: &Seen<'_, Self>, first: usize, watch: &mut Watch) {
        let Ok(step) = seen.answer else { return };
        let config = seen.after.config();
        let exited = gateway.exited;
        match &seen.cause {
            Cause::Time(passed) => {
                gateway.began = gateway.began.map(|began| (began + passed).min(LONG));
            }
            Cause::Input(input) => {
                gateway.hears(input);
                match input {
                    Input::Signal { .. } | Input::Stop { .. } => gateway.stops += 1,
                    Input::Load { .. } => gateway.loads += 1,
                    Input::Upgrade => gateway.upgrades += 1,
                    _ => {}
                }
            }
        }
        watch.check(first + 15, !exited || step.effects.is_empty());
        if let Some(began) = gateway.began {
            watch.check(first + 14, began <= config.drain.kill_budget);
        }
        for effect in &step.effects {
            watch.check(first + 15, !gateway.exited);
            gateway.asks(effect);
            gateway.sees(effect, seen, first, watch);
        }
        if matches!(seen.after.at(), State::Serving | State::Upgrading) && gateway.ready {
            // A successor serves on what it inherited until its own is due.
            let inherits = seen.after.deadline().is_some() && config.successor.is_some();
            let has = config.lease.is_none() || seen.after.epoch().is_some() || inherits;
            watch.check(first + 8, has && seen.after.accepts());
        }
        if gateway.lost {
            watch.check(first + 7, gateway.began.is_some());
        }
        if gateway.exited {
            *gateway = Gateway { exited: true, ..Gateway::default() };
        }
    }
}

impl Gateway {
    fn sees(&mut self, effect: &Effect, seen: &Seen<'_, Lifecycle>, first: usize, watch: &mut Watch) {
        let config = seen.after.config();
        match *effect {
            Effect::Initialise { .. } => self.initialised = true,
            Effect::OpenControlDoor { .. } => self.control_open = true,
            Effect::OpenPublicDoor { .. } => {
                let control = self.control_open || !config.control_door;
                let lease = self.leased || config.lease.is_none();
                watch.check(first, self.initialised && control && lease && self.began.is_none());
                self.public_open = true;
            }
            Effect::Accept { .. } => {
                watch.check(first, self.initialised && self.began.is_none());
                (self.public_open, self.control_open) = (true, config.control_door);
            }
            Effect::Readiness { ready } => {
                if ready {
                    watch.check(first + 1, self.public_open && self.began.is_none());
                }
                self.ready = ready;
            }
            Effect::Serve { .. } => self.leased = true,
            Effect::ClosePublicDoor { .. } => {
                watch.check(first + 5, !self.ready);
                watch.check(first + 6, self.began.is_some());
                self.closing = true;
            }
            Effect::Count => self.counted = true,
            Effect::Stopping { intent, .. } => {
                self.began = self.began.or(Some(0));
                if self.accepted {
                    watch.check(first + 12, intent == Intent::Handoff);
                }
            }
            Effect::Entered { intent, phase, .. } => {
                watch.check(
                    first + 12,
                    self.began.is_some() && (intent == Intent::Handoff) == self.is_kept(seen),
                );
                if phase == drain::Phase::Releasing {
                    (self.public_open, self.closing) = (false, true);
                }
            }
            Effect::Spawn { operation, .. } => {
                (self.successor, self.acknowledged, self.accepted) = (operation, false, false);
            }
            Effect::Acknowledge { .. } => self.acknowledged = true,
            Effect::RolledBack { .. } => (self.successor, self.acknowledged) = (0, false),
            // It is known not to accept.
            Effect::Kill { .. } => self.acknowledged = false,
            Effect::Accepted { .. } => self.accepted = true,
            Effect::RunStep { intent, .. } => {
                watch.check(first + 9, !self.acknowledged || self.accepted);
                watch.check(first + 10, (intent == Intent::Handoff) == self.is_kept(seen));
            }
            Effect::LeaseLost { loss, .. } => {
                self.lost = true;
                if loss == lease_holder::LeaseLoss::HandedOver {
                    watch.check(first + 10, self.accepted);
                    self.passed = true;
                }
            }
            Effect::Halt => self.halted = true,
            Effect::Release { intent, .. } => {
                watch.check(first + 9, !self.acknowledged || self.accepted || self.halted);
                watch.check(first + 10, !self.accepted || self.halted);
                watch.check(first + 13, !self.released && (self.halted || !self.public_open));
                watch.check(first + 13, intent != Intent::Handoff && self.undone == 0);
            }
            Effect::LeaseOver { end } => {
                watch.check(first + 13, !self.released);
                self.released = true;
                self.leased &= !matches!(
                    end,
                    LeaseEnd::Released | LeaseEnd::Fenced | LeaseEnd::HandedOver | LeaseEnd::Unreleased
                );
            }
            Effect::CloseControlDoor { .. } => {
                watch.check(first + 2, self.control_open && self.undone < 2 && self.began.is_some());
                (self.control_open, self.undone) = (false, 2);
            }
            Effect::CleanUp { .. } => {
                watch.check(first + 2, self.initialised && !self.control_open && self.undone < 3);
                (self.initialised, self.undone) = (false, 3);
            }
            Effect::Exit { cause, intent, lease, exit_code, .. } => {
                let unreleased = lease.is_some() || !self.leased || self.accepted;
                let timed_out = seen.before.explain().waits_for.contains("step");
                let done = !self.initialised && !self.control_open && unreleased;
                watch.check(first + 3, done || (timed_out && self.held_too_long(seen)));
                watch.check(first + 11, self.successor == 0 || self.accepted);
                watch.check(first + 12, (intent == Intent::Handoff) == self.is_kept(seen));
                let expected = match cause {
                    cause if cause.is_failed_boot() => exit_code == EXIT_BOOT_FAILED,
                    ExitCause::HandedOver => self.accepted && exit_code != EXIT_FENCED,
                    ExitCause::Fenced => exit_code == EXIT_FENCED,
                    _ => exit_code != EXIT_BOOT_FAILED,
                };
                watch.check(first + 4, expected);
                self.exited = true;
            }
            _ => {}
        }
    }

    /// Whether another generation has what this one would release: a successor that accepts; or the old process of one
    /// that never did.
    fn is_kept(&self, seen: &Seen<'_, Lifecycle>) -> bool {
        self.accepted || seen.after.intent() == Intent::Handoff
    }

    fn held_too_long(&self, seen: &Seen<'_, Lifecycle>) -> bool {
        matches!(seen.cause, Cause::Time(_))
    }
}

const TERM: Millis = 6_000;

fn base() -> Config {
    let step = |name: &str, kind| ReleaseStep { name: name.into(), kind, limit: 100, attempts: 1 };
    Config {
        clear_rows: false,
        clear_rows_limit: 200,
        initialise_limit: 200,
        clean_up_limit: 100,
        control_door: true,
        door_limit: 100,
        inherit_limit: 200,
        drain: drain::Config {
            lame_duck: 100,
            grace: 400,
            kill_budget: 1_600,
            margin: 200,
            signal_merge: 100,
            steps: vec![step("balancer", StepKind::Unroute), step("flush", StepKind::Release)],
            ..drain::Config::default()
        },
        ..Config::default()
    }
}

fn lease() -> lease_holder::Config {
    lease_holder::Config {
        term: TERM,
        drain: 1_600,
        margin: 200,
        drift: 0,
        ask_limit: 600,
        release_limit: 200,
        retry: Policy { jitter: Jitter::None, initial: 600, factor: 1_000, cap: 600, ..Policy::default() },
    }
}

fn old_side(lease: bool) -> handoff::Config {
    handoff::Config {
        spawn_limit: 200,
        ready_limit: 400,
        accept_limit: 200,
        look_limit: 100,
        kill_limit: 200,
        task_limit: 200,
        drain_limit: 2_000,
        lease,
        ..handoff::Config::default()
    }
}

fn new_side(lease: bool) -> successor::Config {
    successor::Config {
        initialise_limit: 200,
        acknowledge_limit: 200,
        state_limit: 100,
        accept_limit: 100,
        gone_limit: 100,
        lease,
        ..successor::Config::default()
    }
}

/// With rows to clear; with a lease; with a handoff; as a successor.
#[must_use]
pub fn apart() -> Vec<Config> {
    vec![
        Config { clear_rows: true, ..base() },
        Config { lease: Some(lease()), ..base() },
        Config { handoff: Some(old_side(false)), ..base() },
        Config { successor: Some(new_side(false)), ..base() },
    ]
}

/// The world at a size, with its bounds.
#[must_use]
pub fn world(size: Size) -> (&'static str, AloneWorld<Lifecycle>) {
    match size {
        // The handoff has most of the states.
        Size::Small => {
            let small = apart().into_iter().filter(|config| config.handoff.is_none()).collect();
            ("any host; rows, a lease, a successor; ≤ 1 stop and count", AloneWorld::bounded(small, 1))
        }
        Size::Quick | Size::Full => (
            "any host; rows, a lease, a handoff, a successor, each by itself; ≤ 1 stop, count and upgrade",
            AloneWorld::bounded(apart(), 1),
        ),
    }
}
