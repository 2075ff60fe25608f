//! Lifecycle (Y1–Y3): the whole of a process, under a host, a granter, a successor and an old process that may do
//! anything at any time. What each part decides is proved with the part; here it is what one has to do with another.
//!
//! Every input is said in every state. What changes something is bounded where it could go on for ever: stops,
//! counts, upgrades, and words about an inherited lease; beyond that they are said only where they change nothing.
//! Of an input that is refused or too late there is one of each type. The parts come in several configs rather than all
//! at once, and where they meet host and granter do only what is needed, but for the full bounds: they force nothing,
//! cancel nothing, and successors say nothing that is out of place. What became of two upgrades, or of a second stop
//! that is not merged with the first, is seen with the parts and not here; so is a tick that comes late.

use tidegate::backoff::{Jitter, Policy};
use tidegate::drain::{self, ReleaseStep, StepKind};
use tidegate::handoff::{Speaks, UndoHook, VERSION, WhileDraining};
use tidegate::lease_holder::{LeaseEnd, LeaseLoss};
use tidegate::lifecycle::{
    BootStep, Config, EXIT_BOOT_FAILED, EXIT_FENCED, Effect, ExitCause, Input, IntentSource, Lifecycle, State,
};
use tidegate::{Intent, Machine, Message, Millis, Rules, handoff, lease_holder, successor};

use crate::alone::{Alone, AloneWorld, Cause, Seen};
use crate::explore::Watch;
use crate::models::Size;
use crate::world::{Subject, numbers_of};

/// The epoch that is granted, and that of a predecessor.
const EPOCH: u64 = 5;
const EARLIER: u64 = 4;
/// The number of a process that looks for marker files; another one's.
const INSTANCE: u64 = 7;
const ANOTHER: u64 = 8;
/// The bound at which a host does everything in every config.
const EVERYTHING: u32 = 2;
/// Longer ago than anything matters.
const LONG: Millis = 100_000;

/// What was asked of the host, by who waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Asked {
    EarlierRows,
    Initialise,
    ControlDoor,
    PublicDoor,
    CloseControlDoor,
    CleanUp,
    Successor,
    Upgrade,
    PidFile,
    Pass,
    Step,
    ClosePublicDoor,
    Rows,
    Question,
    Release,
}

/// What the world around the process looks like.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Gateway {
    /// The operations that the process waits for, the last of each kind.
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
    /// The lease was to be passed on; it was.
    passing: bool,
    passed: bool,
    fenced: bool,
    halted: bool,
    /// The step in which the lease is released was given up.
    untold: bool,
    exited: bool,
    counted: bool,
    loads: u8,
    upgrades: u8,
    stops: u8,
    forces: u8,
    words: u8,
    lost: bool,
    /// How long what it inherited is sure.
    sure: Option<Millis>,
    /// For how long it has served without a lease and without a word of one.
    without: Option<Millis>,
    /// A marker file was read; what the first said, if it counted.
    marked: bool,
    announced: Option<Intent>,
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
            Effect::ClearEarlierRows { operation, .. } => (Asked::EarlierRows, operation),
            Effect::Initialise { operation, .. } => (Asked::Initialise, operation),
            Effect::OpenControlDoor { operation, .. } => (Asked::ControlDoor, operation),
            Effect::OpenPublicDoor { operation, .. } => (Asked::PublicDoor, operation),
            Effect::CloseControlDoor { operation, .. } => (Asked::CloseControlDoor, operation),
            Effect::CleanUp { operation, .. } => (Asked::CleanUp, operation),
            Effect::Accept { operation, .. } | Effect::LoadState { operation, .. } => {
                (Asked::Successor, operation)
            }
            Effect::Spawn { operation, .. }
            | Effect::CaptureState { operation, .. }
            | Effect::Look { operation, .. }
            | Effect::Kill { operation, .. }
            | Effect::RunUndo { operation, .. } => (Asked::Upgrade, operation),
            Effect::WritePidFile { operation, .. } => (Asked::PidFile, operation),
            Effect::PassLease { operation, .. } => (Asked::Pass, operation),
            Effect::RunStep { operation, .. } => (Asked::Step, operation),
            Effect::ClosePublicDoor { operation, .. } => (Asked::ClosePublicDoor, operation),
            Effect::ClearRows { operation, .. } => (Asked::Rows, operation),
            Effect::Claim { operation, .. }
            | Effect::Confirm { operation, .. }
            | Effect::Renew { operation, .. } => (Asked::Question, operation),
            Effect::Release { operation, .. } => (Asked::Release, operation),
            _ => return,
        };
        self.ask(kind, operation);
    }

    /// What the host says means for the world.
    fn hears(&mut self, input: &Input, seen: &Seen<'_, Lifecycle>) {
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
            Input::Done { operation } => {
                let passed = self.asked.contains(&(Asked::Pass, operation));
                self.passed |= passed && !self.fenced && !self.halted;
                operation
            }
            Input::Mine { operation, .. } | Input::Renewed { operation, .. } => {
                let open = self.asked.contains(&(Asked::Question, operation));
                self.leased |= open;
                operation
            }
            Input::NotMine { operation, .. }
            | Input::LeaseRefused { operation }
            | Input::CannotKnow { operation }
            | Input::Released { operation } => operation,
            Input::Fenced { .. } => {
                self.fenced |= seen.before.epoch().is_some();
                0
            }
            Input::Inherited { left, .. } => {
                self.hears_of_lease(left, seen);
                0
            }
            _ => 0,
        };
        let count = match input {
            Input::Signal { .. } | Input::Stop { .. } => Some(&mut self.stops),
            Input::Force => Some(&mut self.forces),
            Input::Load { .. } => Some(&mut self.loads),
            Input::Upgrade => Some(&mut self.upgrades),
            Input::Inherited { .. } => Some(&mut self.words),
            _ => None,
        };
        if let Some(count) = count.filter(|_| seen.before != seen.after) {
            *count += 1;
        }
        self.asked.retain(|(_, asked)| *asked != answered);
    }

    /// H7: a word of the old process about its lease.
    fn hears_of_lease(&mut self, left: Millis, seen: &Seen<'_, Lifecycle>) {
        let serves =
            matches!(seen.before.at(), State::Serving | State::Upgrading) && seen.before.epoch().is_none();
        if serves || seen.before.at() == State::TakingOver {
            (self.sure, self.without) = (Some(left), None);
        }
    }

    fn passes(&mut self, passed: Millis) {
        let older = |age: Millis| (age + passed).min(LONG);
        self.began = self.began.map(older);
        self.without = self.without.map(older);
        self.sure = self.sure.map(|left| left.saturating_sub(passed));
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
        "H7: a successor without a lease of its own drains when just a drain's time is left of the one that it inherited",
        "H7: what is served on an inherited lease has ended before that runs out",
        "H7: the lease passes once, to the successor that accepts, with the epoch that is held",
        "H7: who has passed its lease on asks nothing more and releases nothing",
        "Y3: a marker is removed when it was read, and counts once, if it is this process's and fresh",
    ];
    const GRAIN: Millis = 100;
    const REST: &'static [Millis] = &[100];

    fn remembered(gateway: &mut Gateway) -> Vec<(&'static str, &mut u32)> {
        let asked = gateway.asked.iter_mut().map(|(_, operation)| ("operation", operation));
        asked.chain([("operation", &mut gateway.successor)]).collect()
    }

    fn inputs(&self, gateway: &Gateway, bound: u32, inputs: &mut Vec<Input>) {
        let config = self.config();
        let within = |count: u8, most: u32| u32::from(count) < most;
        if self.at() == State::New {
            // What a fresh boot leads to is seen where there is nothing else.
            let first = usize::from(config.lease.is_some() && config.successor.is_some());
            inputs.extend([false, true].into_iter().skip(first).map(|successor| Input::Boot { successor }));
        }
        let plain = is_plain(config, bound);
        gateway.answers(config, plain, inputs);
        // A marker is read with each of two signals.
        let marked = config.instance == INSTANCE;
        if within(gateway.stops, 1 + u32::from(marked)) {
            inputs.push(Input::Signal { intent: None, marker: None, instance: 0, age: 0 });
            inputs.push(Input::Stop { intent: Intent::Decommission });
            if marked {
                markers(config, inputs);
            }
        }
        if within(gateway.forces, 1) && (!plain || config.successor.is_none()) {
            inputs.push(Input::Force);
        }
        if within(gateway.loads, 1) && gateway.counted {
            let load =
                |requests, idle, tunnels, told| Input::Load { requests, idle, streams: 0, tunnels, told };
            inputs.push(load(0, 0, 0, 0));
            if !plain {
                inputs.push(load(1, 0, 0, 0));
            }
            if config.drain.reconnect_rate > 0 {
                inputs.extend([load(0, 1, 0, 0), load(0, 0, 2, 0), load(0, 0, 2, 1)]);
            }
        }
        // What becomes of an upgrade of a process that has its lease is seen where that is all that there is.
        let apart = config.successor.is_none() || self.epoch().is_none();
        if config.handoff.is_some() && within(gateway.upgrades, 1) && apart {
            inputs.push(Input::Upgrade);
        }
        gateway.upgrade(self, plain, inputs);
        if self.at() == State::TakingOver {
            inputs.extend([
                Input::Acknowledged { version: VERSION, state: false },
                Input::Acknowledged { version: VERSION, state: true },
                Input::Acknowledged { version: VERSION + 2, state: false },
                Input::ParentGone,
                Input::Garbage { generation: None },
                Input::ChannelClosed { generation: None },
            ]);
        }
        if let Some(lease) = &config.lease {
            if config.successor.is_some() && within(gateway.words, 1) {
                // As long as it may serve on it; and not at all.
                let left = [lease.drain + lease.margin + 300, lease.drain];
                let some = if plain { 1 } else { 2 };
                inputs.extend(
                    left.into_iter().take(some).map(|left| Input::Inherited { epoch: EARLIER, left }),
                );
            }
            if !gateway.exited {
                inputs.push(Input::Fenced { epoch: EPOCH });
                if !plain {
                    inputs.push(Input::Granted { epoch: EPOCH });
                }
            }
        }
        self.others(inputs);
    }

    fn observe(gateway: &mut Gateway, seen: &Seen<'_, Self>, first: usize, watch: &mut Watch) {
        let Ok(step) = seen.answer else { return };
        let config = seen.after.config();
        let exited = gateway.exited;
        watch.check(first + 15, !exited || step.effects.is_empty());
        if step.effects.is_empty() && seen.before == seen.after {
            return;
        }
        let before = gateway.clone();
        match &seen.cause {
            Cause::Time(passed) => gateway.passes(*passed),
            Cause::Input(input) => gateway.hears(input, seen),
        }
        gateway.reads(seen, &step.effects, first, watch);
        if let Some(began) = gateway.began {
            watch.check(first + 14, began <= config.drain.kill_budget);
        }
        for effect in &step.effects {
            watch.check(first + 15, !gateway.exited);
            gateway.asks(effect);
            gateway.sees(effect, seen, first, watch);
        }
        gateway.serves(&before, seen, first, watch);
        if gateway.lost {
            watch.check(first + 7, gateway.began.is_some());
        }
        if gateway.exited {
            *gateway = Gateway { exited: true, ..Gateway::default() };
        }
        let awaited = awaited(seen.after);
        gateway.asked.retain(|(_, operation)| awaited.contains(operation));
    }
}

/// The numbers that a process knows.
fn awaited(lifecycle: &Lifecycle) -> Vec<u32> {
    let mut known = Vec::new();
    lifecycle.clone().normalize(&mut |_, number| known.push(*number));
    known
}

/// Whether host and granter do only what is needed: where there is more than one part, at the lesser bound.
fn is_plain(config: &Config, bound: u32) -> bool {
    let parts = [config.handoff.is_some(), config.successor.is_some(), config.lease.is_some()];
    bound < EVERYTHING && parts.iter().filter(|part| **part).count() > 1
}

/// Signals with a marker file: one that counts, one that is too old, another process's; and a signal that means
/// something by itself.
fn markers(config: &Config, inputs: &mut Vec<Input>) {
    let read = |marker, instance, age| Input::Signal { intent: None, marker, instance, age };
    let (marker, age) = (Some(Intent::Idle), config.marker_age);
    inputs.extend([
        read(marker, INSTANCE, age),
        read(marker, INSTANCE, age + 1),
        read(marker, ANOTHER, 0),
        read(Some(Intent::Handoff), INSTANCE, 0),
        Input::Signal { intent: Some(Intent::Decommission), marker: None, instance: 0, age: 0 },
    ]);
}

/// The terms that a granter grants to a claim and to a renew: the whole one; and, where there is no handoff beside it,
/// less, as it must not. With those the drain is due while a door opens, nothing can be begun, or serving has to stop
/// in one of the drain's phases.
fn terms(config: &Config) -> (impl Iterator<Item = Millis>, impl Iterator<Item = Millis>) {
    let lease = config.lease.clone().unwrap_or_default();
    let fewer = if config.handoff.is_none() { 3 } else { 1 };
    let claimed = [lease.term, lease.drain + lease.margin + 100, lease.margin + 300];
    let renewed = [lease.term, lease.margin + 100, lease.margin + 300];
    (claimed.into_iter().take(fewer), renewed.into_iter().take(fewer))
}

/// What is said for the sake of the types that are not offered otherwise.
trait Others {
    fn others(&self, inputs: &mut Vec<Input>);
}

impl Others for Lifecycle {
    /// One input of each type that there is none of yet: refused, or too late. Where it would change something, what
    /// is bounded has had its turn.
    fn others(&self, inputs: &mut Vec<Input>) {
        let numbers = numbers_of(self, "operation");
        let offered: Vec<u16> = inputs.iter().map(Message::tag).collect();
        // One that is gone, or else one that was never issued.
        let gone = numbers.issued.first().copied().filter(|number| !awaited(self).contains(number));
        let operation = gone.unwrap_or(numbers.never);
        let (generation, term) = (operation, 1);
        let all = [
            Input::Boot { successor: false },
            Input::Done { operation },
            Input::Failed { operation },
            Input::Signal { intent: None, marker: None, instance: 0, age: 0 },
            Input::Stop { intent: Intent::Restart },
            Input::Force,
            Input::Load { requests: 0, idle: 0, streams: 0, tunnels: 0, told: 0 },
            Input::Upgrade,
            Input::Cancel,
            Input::OlderGenerations { draining: 0 },
            Input::Ready { generation, speaks: Speaks::Tidegate, version: VERSION },
            Input::Accepting { generation },
            Input::Refused { generation },
            Input::Exited { generation },
            Input::Garbage { generation: Some(generation) },
            Input::ChannelClosed { generation: Some(generation) },
            Input::Acknowledged { version: VERSION, state: false },
            Input::ParentGone,
            Input::Inherited { epoch: EARLIER, left: term },
            Input::Mine { operation, epoch: EPOCH, term },
            Input::NotMine { operation, fenced: false },
            Input::Granted { epoch: EPOCH },
            Input::Renewed { operation, term },
            Input::LeaseRefused { operation },
            Input::CannotKnow { operation },
            Input::Released { operation },
            Input::Fenced { epoch: EARLIER },
        ];
        let now = self.clock().now();
        let idle = |input: &Input| match input {
            Input::Signal { .. }
            | Input::Stop { .. }
            | Input::Force
            | Input::Load { .. }
            | Input::Upgrade
            | Input::Cancel
            | Input::Granted { .. }
            | Input::Inherited { .. } => {
                let mut copy = self.clone();
                copy.handle(now, input).is_err() || copy == *self
            }
            _ => true,
        };
        inputs.extend(all.into_iter().filter(|input| !offered.contains(&input.tag()) && idle(input)));
    }
}

impl Gateway {
    /// Every answer to what was asked.
    fn answers(&self, config: &Config, plain: bool, inputs: &mut Vec<Input>) {
        for (kind, operation) in self.asked.iter().copied() {
            match kind {
                Asked::Question => {
                    let (claimed, renewed) = terms(config);
                    inputs.extend(claimed.map(|term| Input::Mine { operation, epoch: EPOCH, term }));
                    inputs.extend(renewed.map(|term| Input::Renewed { operation, term }));
                    inputs.extend([
                        Input::NotMine { operation, fenced: false },
                        Input::NotMine { operation, fenced: true },
                        Input::LeaseRefused { operation },
                    ]);
                    if !plain {
                        inputs.push(Input::CannotKnow { operation });
                    }
                }
                Asked::Release => {
                    inputs.extend([Input::Released { operation }, Input::CannotKnow { operation }]);
                }
                _ => inputs.extend([Input::Done { operation }, Input::Failed { operation }]),
            }
        }
    }

    /// What a successor can say, and who asks for one.
    fn upgrade(&self, lifecycle: &Lifecycle, plain: bool, inputs: &mut Vec<Input>) {
        let Some(handoff) = &lifecycle.config().handoff else { return };
        if !plain {
            inputs.push(Input::Cancel);
        }
        if handoff.while_draining == WhileDraining::Queue {
            inputs.push(Input::OlderGenerations { draining: 0 });
            if lifecycle.at() == State::Serving && self.upgrades == 0 {
                inputs.push(Input::OlderGenerations { draining: 1 });
            }
        }
        let generation = self.successor;
        if generation == 0 {
            return;
        }
        inputs.push(Input::Exited { generation });
        if self.accepted {
            return;
        }
        inputs.extend([
            Input::Ready { generation, speaks: Speaks::Tidegate, version: VERSION },
            Input::Accepting { generation },
            Input::ChannelClosed { generation: Some(generation) },
        ]);
        if !plain {
            inputs.extend([
                Input::Ready { generation, speaks: Speaks::Tidegate, version: VERSION + 2 },
                Input::Ready { generation, speaks: Speaks::Systemd, version: 0 },
                Input::Refused { generation },
                Input::Garbage { generation: Some(generation) },
            ]);
        }
    }

    /// Y3: what a signal reads.
    fn reads(&mut self, seen: &Seen<'_, Lifecycle>, effects: &[Effect], first: usize, watch: &mut Watch) {
        let Cause::Input(Input::Signal { intent, marker, instance, age }) = &seen.cause else { return };
        let config = seen.after.config();
        watch.check(first + 20, effects.contains(&Effect::RemoveMarker) == marker.is_some());
        let counts = *instance == config.instance && *age <= config.marker_age && !self.marked;
        if counts && *marker != Some(Intent::Handoff) {
            self.announced = *marker;
        }
        self.marked |= marker.is_some();
        let expected = match (self.announced, *intent) {
            (Some(intent), _) => (intent, IntentSource::Marker),
            (None, Some(intent)) => (intent, IntentSource::Signal),
            (None, None) => (config.default_intent, IntentSource::Default),
        };
        for effect in effects {
            if let Effect::Stopping { intent, source } = *effect
                && !self.is_kept(seen)
            {
                watch.check(first + 20, (intent, source) == expected);
            }
        }
    }

    /// Who serves, and on what.
    fn serves(&mut self, before: &Gateway, seen: &Seen<'_, Lifecycle>, first: usize, watch: &mut Watch) {
        let config = seen.after.config();
        if matches!(seen.after.at(), State::Serving | State::Upgrading) && self.ready {
            let has = config.lease.is_none() || seen.after.epoch().is_some();
            let inherits = config.successor.is_some() && (self.sure.is_some() || self.without.is_some());
            watch.check(first + 8, (has || inherits) && seen.after.accepts());
        }
        let Some(lease) = config.lease.as_ref().filter(|_| config.successor.is_some()) else { return };
        if seen.after.epoch().is_some() {
            (self.sure, self.without) = (None, None);
        }
        // What it takes to drain, and then some.
        let least = lease.drain + lease.margin;
        let serving = |at| matches!(at, State::Serving | State::Upgrading);
        if serving(seen.after.at()) {
            if let Some(left) = self.sure {
                watch.check(first + 16, left > least);
            }
            if let Some(without) = self.without {
                watch.check(first + 16, without < 2 * config.inherit_limit);
            }
        } else if serving(seen.before.at()) && seen.before.epoch().is_none() {
            let due = self.without.is_some_and(|without| without == 2 * config.inherit_limit)
                || self.sure.is_some_and(|left| left == least);
            // When it stops by itself it is time to.
            watch.check(first + 16, due || matches!(seen.cause, Cause::Input(_)));
        }
        if self.began.is_none() {
            return;
        }
        self.without = None;
        if before.began.is_none() {
            // Of less nothing can be asked.
            self.sure = self.sure.filter(|left| *left >= least);
        }
        if let Some(left) = self.sure
            && before.public_open
        {
            watch.check(first + 17, left >= lease.margin);
        }
        self.sure = self.sure.filter(|_| self.public_open);
    }

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
            Effect::TookOver { promoted } if config.lease.is_some() && self.sure.is_none() => {
                // Who has nobody to wait for has half of the time.
                self.without = Some(if promoted { config.inherit_limit } else { 0 });
            }
            Effect::PassLease { generation, epoch, left, .. } => {
                let held = seen.before.epoch() == Some(epoch) && left > 0;
                let once = self.accepted && generation == self.successor && !self.passing;
                watch.check(first + 18, held && once);
                self.passing = true;
            }
            Effect::LeaseLost { loss, .. } => {
                self.lost = true;
                self.fenced |= loss == LeaseLoss::Fenced;
                if loss == LeaseLoss::HandedOver {
                    watch.check(first + 10, self.accepted);
                    watch.check(first + 19, self.passed);
                }
            }
            Effect::Claim { .. } | Effect::Confirm { .. } | Effect::Renew { .. } => {
                watch.check(first + 19, !self.passed);
            }
            Effect::Halt => self.halted = true,
            Effect::Release { intent, .. } => {
                watch.check(first + 19, !self.passed);
                watch.check(first + 9, !self.acknowledged || self.accepted || self.halted);
                watch.check(first + 10, !self.accepted || self.halted);
                watch.check(first + 13, !self.released && (self.halted || !self.public_open));
                watch.check(first + 13, intent != Intent::Handoff && (self.undone == 0 || self.untold));
            }
            Effect::LeaseOver { end } => {
                watch.check(first + 13, !self.released);
                watch.check(first + 19, !self.passed || end == LeaseEnd::HandedOver);
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
            // It was reported.
            Effect::UndoFailed { step: BootStep::Lease, .. } => self.untold = true,
            Effect::UndoFailed { step: BootStep::ControlDoor, .. } => self.control_open = false,
            Effect::UndoFailed { step: BootStep::Initialise, .. } => self.initialised = false,
            Effect::CleanUp { .. } => {
                watch.check(first + 2, self.initialised && !self.control_open && self.undone < 3);
                (self.initialised, self.undone) = (false, 3);
            }
            Effect::Exit { cause, intent, lease, exit_code, .. } => {
                let told = lease.is_some() || !self.leased;
                watch.check(first + 3, !self.initialised && !self.control_open && told);
                watch.check(first + 19, !self.passed || lease == Some(LeaseEnd::HandedOver));
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
}

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
        term: 6_000,
        drain: 1_600,
        margin: 200,
        drift: 0,
        ask_limit: 600,
        release_limit: 200,
        retry: Policy { jitter: Jitter::None, initial: 600, factor: 1_000, cap: 600, ..Policy::default() },
    }
}

/// The least that there is: no control door, no steps, and times that are over in one step.
fn lean() -> Config {
    Config {
        initialise_limit: 100,
        control_door: false,
        inherit_limit: 200,
        drain: drain::Config {
            grace: 400,
            kill_budget: 1_700,
            // A quarter of it is for a door that is forced.
            margin: 800,
            signal_merge: 0,
            steps: Vec::new(),
            ..base().drain
        },
        ..base()
    }
}

/// In which everything is a multiple of the grain, the renew included.
fn lean_lease() -> lease_holder::Config {
    lease_holder::Config {
        term: 4_800,
        drain: 1_700,
        margin: 100,
        ask_limit: 100,
        release_limit: 100,
        retry: Policy { initial: 100, cap: 100, ..lease().retry },
        ..lease()
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

/// With everything that it can have but a lease.
fn whole_old_side() -> handoff::Config {
    handoff::Config {
        spawn_limit: 100,
        ready_limit: 100,
        accept_limit: 100,
        settle: 100,
        look_limit: 200,
        kill_limit: 200,
        state_limit: 100,
        task_limit: 200,
        queue_limit: 100,
        drain_limit: 2_000,
        state: true,
        pid_file: true,
        while_draining: WhileDraining::Queue,
        undo: vec![UndoHook { name: "lock".into(), limit: 200 }],
        ..handoff::Config::default()
    }
}

fn lean_old_side() -> handoff::Config {
    handoff::Config {
        state: false,
        pid_file: false,
        lease: true,
        while_draining: WhileDraining::Refuse,
        undo: Vec::new(),
        task_limit: 300,
        ..whole_old_side()
    }
}

fn new_side(lease: bool) -> successor::Config {
    successor::Config {
        initialise_limit: 200,
        acknowledge_limit: 200,
        state_limit: 100,
        accept_limit: 100,
        gone_limit: 100,
        pid_file: !lease,
        pid_file_limit: 200,
        lease,
    }
}

/// A drain that has something to do.
fn crowded() -> drain::Config {
    drain::Config {
        lame_duck: 100,
        grace: 400,
        flush: 100,
        reconnect_rate: 20,
        min_idle_age: 200,
        kill_budget: 1_600,
        steps: vec![
            ReleaseStep { name: "balancer".into(), kind: StepKind::Unroute, limit: 200, attempts: 1 },
            ReleaseStep { name: "flush".into(), kind: StepKind::Release, limit: 300, attempts: 2 },
        ],
        ..base().drain
    }
}

/// Times that are over in one step.
fn lean_new_side(lease: bool) -> successor::Config {
    successor::Config {
        initialise_limit: 100,
        acknowledge_limit: 100,
        pid_file_limit: 100,
        ..new_side(lease)
    }
}

/// With a lease whose timers come in as many states as they can.
fn leased() -> Config {
    let drain = drain::Config {
        lame_duck: 200,
        kill_budget: 2_100,
        steps: vec![ReleaseStep { name: "flush".into(), kind: StepKind::Release, limit: 200, attempts: 1 }],
        ..lean().drain
    };
    let lease = lease_holder::Config { drain: 2_100, release_limit: 300, ..lean_lease() };
    Config { door_limit: 800, lease: Some(lease), drain, ..lean() }
}

/// With a handoff beside a lease, whose upgrades meet the timers of the lease.
fn leased_handoff() -> Config {
    let drain = drain::Config { kill_budget: 1_300, margin: 400, ..lean().drain };
    let lease = lease_holder::Config { term: 2_400, drain: 1_300, ..lean_lease() };
    Config { handoff: Some(lean_old_side()), lease: Some(lease), drain, ..lean() }
}

fn leased_successor() -> Config {
    Config { successor: Some(lean_new_side(true)), lease: Some(lean_lease()), ..lean() }
}

/// With rows to clear; with markers; with tunnels; with a lease; as a successor, without a lease and with one; with a
/// handoff, without a lease and with one; and as a successor with both. The full bounds have longer times besides.
#[must_use]
pub fn configs(size: Size) -> Vec<Config> {
    let rows = Config { clear_rows: true, ..base() };
    let markers = Config { instance: INSTANCE, marker_age: 1_000, ..lean() };
    if size == Size::Small {
        return vec![rows, markers, leased_successor(), leased_handoff()];
    }
    // What is made of an upgrade while it drains is over before the lame duck is, or not.
    let patient = drain::Config { lame_duck: 300, kill_budget: 1_800, ..lean().drain };
    let mut all = vec![
        rows,
        markers,
        Config { drain: crowded(), ..lean() },
        leased(),
        Config { successor: Some(new_side(false)), ..base() },
        leased_successor(),
        Config { handoff: Some(whole_old_side()), drain: patient, clean_up_limit: 200, ..lean() },
        Config { clean_up_limit: 200, ..leased_handoff() },
        Config { successor: Some(lean_new_side(true)), ..leased_handoff() },
    ];
    if size == Size::Full {
        all.push(Config { lease: Some(lease()), ..base() });
        all.push(Config { handoff: Some(old_side(false)), ..base() });
    }
    all
}

/// The world at a size, with its bounds.
#[must_use]
pub fn world(size: Size) -> (&'static str, AloneWorld<Lifecycle>) {
    let configs = configs(size);
    match size {
        Size::Small => (
            "any host; rows, markers, a successor and a handoff with a lease; ≤ 1 stop, force, count and upgrade",
            AloneWorld::bounded(configs, 1),
        ),
        Size::Quick => (
            "any host, where parts meet a plain one; 9 configs; ≤ 1 stop, force, count, upgrade and word of a lease",
            AloneWorld::bounded(configs, 1),
        ),
        Size::Full => (
            "any host; 11 configs; ≤ 1 stop, force, count, upgrade and word of a lease",
            AloneWorld::bounded(configs, EVERYTHING),
        ),
    }
}
