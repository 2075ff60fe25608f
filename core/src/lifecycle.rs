//! Lifecycle: the whole of a gateway process, from its boot to its exit (rules Y1–Y3).
//!
//! It is composed of the other machines: the [drain](crate::drain), the old and the new side of a
//! [handoff](crate::handoff), and the [holder](crate::lease_holder) of a lease. What these decide is theirs; this one
//! decides what comes after what, and what one of them has to know of another. Which of them exist is said by the
//! config: a process without a lease serves without one, a process without a handoff is never replaced.
//!
//! # States
//!
//! | state | what happens | leaves it |
//! | --- | --- | --- |
//! | new *(rests)* | nothing | [`Input::Boot`] |
//! | clearing-rows | rows of earlier incarnations are cleared, before anything is opened (R3) | done, failed or its limit |
//! | initialising | everything but the doors is made ready | done, failed or its limit |
//! | opening-control-door | health, and the handshake of an allocation | done, failed or its limit |
//! | claiming | is there a lease? It is asked without end (L6) | a definite answer, or a handshake |
//! | idle *(rests)* | there is definitely no lease | a handshake |
//! | opening-public-door | clients may come | done, failed or its limit |
//! | taking-over | the boot of a successor, up to accepting | it accepts, or gives up |
//! | serving *(rests, without a lease)* | the lease is renewed | a stop, a lost lease, a successor |
//! | upgrading | a successor is on its way; this one serves | it accepts, or all is as before |
//! | lame-duck, draining, forcing, releasing | the phases of the drain; in the end the boot is taken back | |
//! | undoing | a boot that never came to serve is taken back | all is taken back |
//! | leaving | the drain is over; a successor is still to be killed, or to be given what passes to it | its limits |
//! | exited *(rests)* | [`Effect::Exit`] was said | |
//!
//! # One vocabulary, one series of operations
//!
//! An effect or an input of a part is called here as it is there and has the same fields, so that a host's code for
//! the part carries over; where two parts say the same, it is one message. What one part says for another is not
//! said to the host at all: that a drain is to begin, that it is over, that the lease passes. All parts number their
//! operations in one series, so an answer is told once and finds the part that waits for it.
//!
//! # What a stop takes back
//!
//! A stop ends with steps of its own after those of the drain's config: the lease is released, the control door is
//! closed, what was initialised is cleaned up, each with its limit inside the kill budget and each only if it was
//! done or may have been. A boot that fails before clients could come is undone by the same steps (Y1); the drain's
//! own steps are for what was served and do not run then. From the moment at which the public door is told to open
//! there may be clients, and a stop drains.
//!
//! # What the host owes
//!
//! * Effects with an `operation` are answered once: by [`Input::Done`] or [`Input::Failed`], questions about the
//!   lease by the inputs that their effects name. An operation that *failed* has left nothing behind; one without an
//!   answer may have, and is taken back.
//! * What is under way when [`Effect::CleanUp`] or [`Effect::CloseControlDoor`] comes is given up first.
//! * With a signal it reads the marker file and tells what it says and how old it is; whether that counts is decided
//!   here. A marker whose age nobody can tell is not told.
//! * [`Effect::PassLease`] carries the epoch to the successor, whose host says [`Input::Inherited`]; a host on the same
//!   machine takes the time on the way off `left`. What is known of the lease may be told at the spawn already: it is
//!   what a successor has if its predecessor dies.
//! * After [`Effect::Exit`] nothing is started any more.
//!
//! # Choices that the rules leave open
//!
//! * What a stop is for is, in this order, what the control call says, the marker, the signal, the default. A marker
//!   speaks for later signals as well: they want the same stop, faster, and not another one. Once a successor accepts
//!   it is a handoff whatever else was asked (H7): nothing that passed is released. The same holds for a successor that
//!   is stopped before it accepts, as the old process has it all.
//! * The steps of a stop wait while nobody knows whether the successor accepts, at most for the last look at it: if it
//!   does, its addresses must not be taken out of balancers, and nothing may be released that passes to it.
//! * A process exits only when a successor that did not make it is killed and reaped: it would promote itself.
//! * A successor serves on the lease of its predecessor for as long as that is sure, less what a drain takes; when it
//!   has none of its own by then, it drains. A definite "no" ends it at once.
//! * An upgrade is for a process that serves. One that is idle is stopped and started.
//! * A boot that was asked to stop exits like a clean stop; one that failed by 5. When another life of the gateway has
//!   the lease the code is 6, so that a supervisor can leave it: clones must not duel (L5).
//! * After a restore a lease that was held is renewed before the public door is opened again (L6).

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::contract::{earliest, shift, shift_timer};
use crate::drain::{self, Drain, EXIT_FORCED, EXIT_STEP_FAILED, ReleaseStep, StepKind};
use crate::handoff::{self, Handoff};
use crate::lease_holder::{self, LeaseEnd, LeaseHolder};
use crate::successor::{self, Successor};
use crate::{
    Answer, Clock, Deadline, Explanation, FaultCode, Faults, Intent, Message, Millis, Name, OperationId,
    Operations, Random, Reader, Record, RecordFault, Rejection, RejectionCode, Rules, Writer, add, until,
};

mod course;
mod parts;
mod words;

pub use words::{BootStep, Config, Effect, ExitCause, Input, IntentSource, State, Why};

/// The exit code of a process whose boot failed (Y1).
pub const EXIT_BOOT_FAILED: u8 = 5;
/// The exit code of a process that another life of its gateway has fenced (L5): it is not to be started again.
pub const EXIT_FENCED: u8 = 6;

/// How far the process is. What its parts know is not repeated here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    New,
    ClearingRows,
    Initialising,
    OpeningControlDoor,
    Claiming,
    Idle,
    OpeningPublicDoor,
    TakingOver,
    Serving,
    Stopping,
    Exited,
}

const STAGES: [Stage; 11] = [
    Stage::New,
    Stage::ClearingRows,
    Stage::Initialising,
    Stage::OpeningControlDoor,
    Stage::Claiming,
    Stage::Idle,
    Stage::OpeningPublicDoor,
    Stage::TakingOver,
    Stage::Serving,
    Stage::Stopping,
    Stage::Exited,
];

/// A step of the drain that waits until it is known whether the successor accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Held {
    operation: OperationId,
    step: u32,
    attempt: u32,
    until: Millis,
}
record_fields!(Held { operation, step, attempt, until });

/// What a successor knows of the lease of its predecessor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Inheritance {
    epoch: u64,
    /// Until when it is sure.
    until: Millis,
}
record_fields!(Inheritance { epoch, until });

/// The whole of a gateway process. See the [module](self) for its states and what its host owes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lifecycle {
    config: Arc<Config>,
    clock: Clock,
    /// The one series; every part has the same.
    operations: Operations,
    stage: Stage,
    /// The operation of the boot that is under way, and when it is given up; that of a successor is given up by its part.
    task: Option<OperationId>,
    task_until: Option<Millis>,
    drain: Drain,
    handoff: Option<Handoff>,
    /// In a process that was booted as one.
    successor: Option<Successor>,
    holder: Option<LeaseHolder>,
    /// What of the boot was done, or may have been.
    initialised: bool,
    control_open: bool,
    public_open: bool,
    /// Whether it ever served.
    served: bool,
    /// The readiness that was told last.
    ready: bool,
    marker_used: bool,
    /// What the marker said, if it counted.
    announced: Option<Intent>,
    inherited: Option<Inheritance>,
    /// When a successor must hold its own lease.
    lease_by: Option<Millis>,
    held: Option<Held>,
    /// The operation by which the lease is being passed to a successor.
    passing: Option<OperationId>,
    /// The operation of the drain in which the lease is being released.
    releasing: Option<OperationId>,
    lease_end: Option<LeaseEnd>,
    /// Once a stop has begun.
    cause: Option<ExitCause>,
    source: Option<IntentSource>,
    /// The drain's exit code, once it is over.
    outcome: Option<u8>,
}

/// How an operation of the boot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
    OutOfTime,
}

/// Who asks for a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// The operating system: a second one forces (D2).
    Signal(Intent),
    Begin(Intent),
}

/// The parts that have timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Own,
    Drain,
    Handoff,
    Successor,
    Holder,
}

impl Config {
    /// The drain's config with the steps that take the boot back (Y1, Y3), in reverse order.
    fn whole_drain(&self) -> drain::Config {
        let mut whole = self.drain.clone();
        for step in self.undo_steps() {
            let limit = match step {
                BootStep::Lease => self.lease.as_ref().map_or(1, |lease| lease.release_limit),
                BootStep::ControlDoor => self.door_limit,
                BootStep::Initialise => self.clean_up_limit,
            };
            let name = String::from(step.as_str());
            whole.steps.push(ReleaseStep { name, kind: StepKind::Release, limit, attempts: 1 });
        }
        whole
    }

    fn undo_steps(&self) -> impl Iterator<Item = BootStep> + '_ {
        let exists = |step: &BootStep| match step {
            BootStep::Lease => self.lease.is_some(),
            BootStep::ControlDoor => self.control_door,
            BootStep::Initialise => true,
        };
        BootStep::ALL.iter().copied().filter(exists)
    }

    /// What the step of [`Config::whole_drain`] with this place takes back; none: it is one of the drain's own.
    fn undo_step(&self, step: u32) -> Option<BootStep> {
        let own = u32::try_from(self.drain.steps.len()).unwrap_or(u32::MAX);
        let place = usize::try_from(step.checked_sub(own)?).ok()?;
        self.undo_steps().nth(place)
    }
}

/// What the parts have to agree on.
fn check_together(config: &Config, faults: &mut Faults) {
    let budget = config.drain.kill_budget;
    if let Some(lease) = &config.lease
        && lease.drain < budget
    {
        let drain = lease.drain;
        let message = format!(
            "is {drain} ms, but a drain may take `drain.kill_budget` ({budget} ms): it must be at least that"
        );
        faults.add(FaultCode::Contradiction, "lease.drain", message);
    }
    if let Some(handoff) = &config.handoff {
        let limit = handoff.drain_limit;
        if limit <= budget {
            let message = format!("is {limit} ms; it must be more than `drain.kill_budget` ({budget} ms)");
            faults.add(FaultCode::Contradiction, "handoff.drain_limit", message);
        }
        let undo = handoff.undo.iter().fold(0_u64, |sum, hook| sum.saturating_add(hook.limit));
        let back = handoff.look_limit.saturating_add(handoff.kill_limit).saturating_add(undo);
        if back >= budget {
            let message = format!(
                "is {} ms; with `handoff.look_limit` ({} ms) and the undo hooks ({undo} ms) a successor that is \
                 given up takes {back} ms, which must be less than `drain.kill_budget` ({budget} ms)",
                handoff.kill_limit, handoff.look_limit
            );
            faults.add(FaultCode::OverBudget, "handoff.kill_limit", message);
        }
        // A successor that accepts at the last look is still to be given what passes to it.
        let pass = handoff.look_limit.saturating_add(handoff.task_limit);
        if pass >= budget {
            let message = format!(
                "is {} ms; with `handoff.look_limit` ({} ms) a successor is given what passes to it in {pass} ms, \
                 which must be less than `drain.kill_budget` ({budget} ms)",
                handoff.task_limit, handoff.look_limit
            );
            faults.add(FaultCode::OverBudget, "handoff.task_limit", message);
        }
    }
    let sides = [
        ("handoff.lease", config.handoff.as_ref().map(|handoff| handoff.lease)),
        ("successor.lease", config.successor.as_ref().map(|successor| successor.lease)),
    ];
    for (field, lease) in sides {
        if lease.is_some_and(|lease| lease != config.lease.is_some()) {
            let message = "must be true when there is a `lease`, and only then";
            faults.add(FaultCode::Contradiction, field, message);
        }
    }
}

impl Rules for Lifecycle {
    const NAME: &'static str = "lifecycle";
    const SNAPSHOT_VERSION: u16 = 1;
    type Config = Config;
    type Input = Input;
    type Effect = Effect;
    type Why = Why;

    fn check(config: &Config, faults: &mut Faults) {
        faults.duration("clear_rows_limit", config.clear_rows_limit, 1);
        faults.duration("initialise_limit", config.initialise_limit, 1);
        faults.duration("clean_up_limit", config.clean_up_limit, 1);
        faults.duration("door_limit", config.door_limit, 1);
        faults.range("instance", config.instance, 0, crate::MAX_TIME, "");
        faults.duration("marker_age", config.marker_age, 0);
        faults.duration("inherit_limit", config.inherit_limit, 1);
        if config.default_intent == Intent::Handoff {
            let message = "is `handoff`, which only a successor brings about; choose another";
            faults.add(FaultCode::OutOfRange, "default_intent", message);
        }
        let code = config.drain.restart_exit_code;
        if matches!(code, EXIT_BOOT_FAILED | EXIT_FENCED) {
            let message = format!(
                "is {code}, which means a failed boot ({EXIT_BOOT_FAILED}) or a fenced gateway ({EXIT_FENCED}); \
                 choose another"
            );
            faults.add(FaultCode::Contradiction, "drain.restart_exit_code", message);
        }
        faults.inside("drain", |faults| Drain::check(&config.whole_drain(), faults));
        if let Some(handoff) = &config.handoff {
            faults.inside("handoff", |faults| Handoff::check(handoff, faults));
        }
        if let Some(successor) = &config.successor {
            faults.inside("successor", |faults| Successor::check(successor, faults));
        }
        if let Some(lease) = &config.lease {
            faults.inside("lease", |faults| LeaseHolder::check(lease, faults));
        }
        check_together(config, faults);
    }

    fn start(config: Config, random: Random, clock: Clock) -> Self {
        let still = || Random::seeded(0);
        let handoff = config.handoff.clone().map(|config| Handoff::start(config, still(), clock));
        let holder = config.lease.clone().map(|config| LeaseHolder::start(config, random, clock));
        Self {
            drain: Drain::start(config.whole_drain(), still(), clock),
            handoff,
            successor: None,
            holder,
            config: Arc::new(config),
            clock,
            operations: Operations::default(),
            stage: Stage::New,
            task: None,
            task_until: None,
            initialised: false,
            control_open: false,
            public_open: false,
            served: false,
            ready: false,
            marker_used: false,
            announced: None,
            inherited: None,
            lease_by: None,
            held: None,
            passing: None,
            releasing: None,
            lease_end: None,
            cause: None,
            source: None,
            outcome: None,
        }
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn clock(&self) -> Clock {
        self.clock
    }

    fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
        self.drain.set_clock(clock);
        if let Some(handoff) = &mut self.handoff {
            handoff.set_clock(clock);
        }
        if let Some(successor) = &mut self.successor {
            successor.set_clock(clock);
        }
        if let Some(holder) = &mut self.holder {
            holder.set_clock(clock);
        }
    }

    fn state(&self) -> &'static str {
        self.at().as_str()
    }

    fn is_resting(&self) -> bool {
        let parts_rest = self.task.is_none()
            && self.lease_by.is_none()
            && self.drain.is_resting()
            && self.handoff.as_ref().is_none_or(Rules::is_resting)
            && self.successor.as_ref().is_none_or(Rules::is_resting)
            && self.holder.as_ref().is_none_or(Rules::is_resting);
        match self.stage {
            Stage::New | Stage::Idle | Stage::Serving => parts_rest,
            Stage::Exited => true,
            _ => false,
        }
    }

    fn next_timer(&self) -> Option<Deadline<Why>> {
        self.next().map(|timer| {
            let (_, why) = timer.why;
            Deadline { at: timer.at, why }
        })
    }

    fn rebase(&mut self, now: Millis) {
        let from = self.clock.now();
        shift_timer(&mut self.task_until, from, now);
        shift_timer(&mut self.lease_by, from, now);
        if let Some(inherited) = &mut self.inherited {
            shift(&mut inherited.until, from, now);
        }
        if let Some(held) = &mut self.held {
            shift(&mut held.until, from, now);
        }
        self.drain.rebase(now);
        if let Some(handoff) = &mut self.handoff {
            handoff.rebase(now);
        }
        if let Some(successor) = &mut self.successor {
            successor.rebase(now);
        }
        if let Some(holder) = &mut self.holder {
            holder.rebase(now);
        }
        self.clock.rebase(now);
    }

    fn fire(&mut self, _why: Why, effects: &mut Vec<Effect>) {
        match self.next().map(|timer| timer.why) {
            // Y1
            Some((Part::Own, Why::LeaseDue)) => self.lease_due(effects),
            Some((Part::Own, _)) => self.task_over(Outcome::OutOfTime, effects),
            // Y2, Y3: the parts act, and tell each other.
            Some((Part::Drain, _)) => self.fire_drain(effects),
            Some((Part::Handoff, _)) => self.fire_handoff(effects),
            Some((Part::Successor, _)) => self.fire_successor(effects),
            Some((Part::Holder, _)) => self.fire_holder(effects),
            None => {}
        }
    }

    fn apply(&mut self, input: &Input, effects: &mut Vec<Effect>) -> Result<(), Rejection> {
        self.judge(input).map_err(|code| self.reject(code, input))?;
        if self.stage == Stage::Exited {
            return Ok(());
        }
        let taken = match *input {
            // Y1
            Input::Boot { successor } => self.boot(successor, effects),
            Input::Inherited { epoch, left } => self.inherit(epoch, left, effects),
            Input::Done { operation } => self.answered(operation, true, effects),
            Input::Failed { operation } => self.answered(operation, false, effects),
            // Y3
            Input::Signal { intent, marker, instance, age } => {
                let (intent, source) = self.weigh(intent, marker, instance, age, effects);
                self.stop(Ask::Signal(intent), source, ExitCause::Stopped, effects);
                Ok(())
            }
            Input::Stop { intent } => {
                self.stop(Ask::Begin(intent), IntentSource::Control, ExitCause::Stopped, effects);
                Ok(())
            }
            // Y2: what concerns one part.
            _ => self.pass_on(input, effects),
        };
        taken.map_err(|code| self.reject(code, input))
    }

    fn explain(&self) -> Explanation {
        let (because, waits_for) = match self.stage {
            Stage::New => (String::from("nothing has begun"), String::new()),
            Stage::ClearingRows => self.booting("rows of earlier incarnations come first", "the directory"),
            Stage::Initialising => self.booting("the boot is under way", "initialising to be done"),
            Stage::OpeningControlDoor => self.booting("it is initialised", "the control door to be open"),
            Stage::OpeningPublicDoor => self.booting("it may serve", "the public door to be open"),
            Stage::Claiming | Stage::Idle => said(self.holder.as_ref().map(Rules::explain)),
            Stage::TakingOver => said(self.successor.as_ref().map(Rules::explain)),
            Stage::Serving => self.explain_serving(),
            Stage::Stopping => self.explain_stopping(),
            Stage::Exited => (format!("it is over: {}", self.why_stopped()), String::new()),
        };
        Explanation {
            state: self.state(),
            because,
            waits_for,
            next: self.next_timer().map(|timer| (until(self.clock.now(), timer.at), timer.why.as_str())),
        }
    }

    fn random(&mut self) -> Option<&mut Random> {
        self.holder.as_mut().and_then(Rules::random)
    }

    fn normalize(&mut self, renumber: &mut dyn FnMut(&'static str, &mut u32)) {
        let own = [&mut self.task, &mut self.passing, &mut self.releasing];
        for operation in own.into_iter().flatten().chain(self.held.as_mut().map(|held| &mut held.operation)) {
            renumber("operation", operation);
        }
        self.drain.normalize(renumber);
        if let Some(handoff) = &mut self.handoff {
            handoff.normalize(renumber);
        }
        if let Some(successor) = &mut self.successor {
            successor.normalize(renumber);
        }
        if let Some(holder) = &mut self.holder {
            holder.normalize(renumber);
        }
        renumber("operation", self.operations.counter());
        // Only a successor without a lease of its own looks at what it inherited.
        if self.lease_by.is_none() && self.served {
            self.inherited = None;
        }
    }

    fn write(&self, to: &mut Writer) {
        self.config.write(to);
        self.operations.write(to);
        let place = STAGES.iter().position(|stage| *stage == self.stage).unwrap_or_default();
        to.number(u64::try_from(place).unwrap_or(u64::MAX));
        self.task.write(to);
        to.optional(self.task_until);
        self.drain.write(to);
        write_part(self.handoff.as_ref(), to);
        write_part(self.successor.as_ref(), to);
        write_part(self.holder.as_ref(), to);
        for flag in
            [self.initialised, self.control_open, self.public_open, self.served, self.ready, self.marker_used]
        {
            to.flag(flag);
        }
        self.announced.write(to);
        self.inherited.write(to);
        to.optional(self.lease_by);
        self.held.write(to);
        self.passing.write(to);
        self.releasing.write(to);
        self.lease_end.write(to);
        self.cause.write(to);
        self.source.write(to);
        self.outcome.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        let mut lifecycle = Self {
            config: Record::read(from)?,
            clock: Clock::starting_at(0),
            operations: Record::read(from)?,
            stage: usize::try_from(from.number()?)
                .ok()
                .and_then(|place| STAGES.get(place).copied())
                .ok_or(RecordFault::Corrupt)?,
            task: Record::read(from)?,
            task_until: from.timer()?,
            drain: Rules::read(from)?,
            handoff: read_part(from)?,
            successor: read_part(from)?,
            holder: read_part(from)?,
            initialised: from.flag()?,
            control_open: from.flag()?,
            public_open: from.flag()?,
            served: from.flag()?,
            ready: from.flag()?,
            marker_used: from.flag()?,
            announced: Record::read(from)?,
            inherited: Record::read(from)?,
            lease_by: from.timer()?,
            held: Record::read(from)?,
            passing: Record::read(from)?,
            releasing: Record::read(from)?,
            lease_end: Record::read(from)?,
            cause: Record::read(from)?,
            source: Record::read(from)?,
            outcome: Record::read(from)?,
        };
        // L6: a restored holder serves only after a renew; then the public door is opened again.
        if lifecycle.stage == Stage::Serving && lifecycle.holder_at() == Some(lease_holder::State::Resuming) {
            lifecycle.stage = Stage::Claiming;
            lifecycle.ready = false;
        }
        if lifecycle.is_possible() { Ok(lifecycle) } else { Err(RecordFault::Corrupt) }
    }
}

impl Lifecycle {
    /// Where it is.
    #[must_use]
    pub fn at(&self) -> State {
        match self.stage {
            Stage::New => State::New,
            Stage::ClearingRows => State::ClearingRows,
            Stage::Initialising => State::Initialising,
            Stage::OpeningControlDoor => State::OpeningControlDoor,
            Stage::Claiming => State::Claiming,
            Stage::Idle => State::Idle,
            Stage::OpeningPublicDoor => State::OpeningPublicDoor,
            Stage::TakingOver => State::TakingOver,
            Stage::Serving if self.handoff.as_ref().is_some_and(|handoff| !handoff.is_resting()) => {
                State::Upgrading
            }
            Stage::Serving => State::Serving,
            Stage::Stopping if self.outcome.is_some() => State::Leaving,
            Stage::Stopping => match self.drain.phase() {
                drain::Phase::LameDuck => State::LameDuck,
                drain::Phase::Draining => State::Draining,
                drain::Phase::Forcing => State::Forcing,
                _ if self.served || self.public_open => State::Releasing,
                _ => State::Undoing,
            },
            Stage::Exited => State::Exited,
        }
    }

    /// Whether clients may be accepted: from the moment at which the public door is told to open, until it is told to
    /// close or a successor accepts.
    #[must_use]
    pub fn accepts(&self) -> bool {
        self.public_open
            && self.drain.phase() <= drain::Phase::LameDuck
            && self.handoff.as_ref().is_none_or(Handoff::accepts)
    }

    /// The epoch that every call carries, while the lease allows that something is served.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.holder.as_ref().and_then(LeaseHolder::serving)
    }

    /// What the stop is for (Y3): on a handoff whatever else was asked, as nothing that passed may be released (H7).
    #[must_use]
    pub fn intent(&self) -> Intent {
        if self.has_passed() { Intent::Handoff } else { self.drain.intent() }
    }

    /// Whether another generation has what this one would release.
    fn has_passed(&self) -> bool {
        self.handoff.as_ref().is_some_and(|handoff| !handoff.accepts())
            || (self.successor.is_some() && !self.served)
    }

    fn reject(&self, code: RejectionCode, input: &Input) -> Rejection {
        Rejection { code, input: input.type_name(), state: self.state() }
    }

    fn after(&self, duration: Millis) -> Millis {
        add(self.clock.now(), duration)
    }

    fn holder_at(&self) -> Option<lease_holder::State> {
        self.holder.as_ref().map(LeaseHolder::at)
    }

    /// What no input can be, or not in this state.
    fn judge(&self, input: &Input) -> Result<(), RejectionCode> {
        let words = input.words();
        if Input::from_words(input.tag(), words.as_slice()).is_none() {
            return Err(RejectionCode::ValueOutOfRange);
        }
        let fields = Input::VARIANTS.get(usize::from(input.tag())).map_or(&[][..], |variant| variant.fields);
        for (field, word) in fields.iter().zip(words.as_slice()) {
            let numbered = matches!(field.name, "operation" | "generation") && *word != crate::NONE;
            let number = OperationId::try_from(*word).unwrap_or_default();
            if numbered && self.operations.judge(number, None) == Answer::NeverIssued {
                return Err(RejectionCode::NeverIssued);
            }
        }
        match *input {
            Input::Stop { intent: Intent::Handoff }
            | Input::Signal { intent: Some(Intent::Handoff), .. }
            | Input::Inherited { epoch: 0, .. } => Err(RejectionCode::ValueOutOfRange),
            _ => Ok(()),
        }
    }

    /// The earliest timer, and whose it is. Nothing waits after the exit.
    fn next(&self) -> Option<Deadline<(Part, Why)>> {
        if self.stage == Stage::Exited {
            return None;
        }
        let own = match self.stage {
            Stage::ClearingRows => Why::ClearRowsLimit,
            Stage::Initialising => Why::InitialiseLimit,
            Stage::OpeningControlDoor => Why::ControlDoorLimit,
            _ => Why::PublicDoorLimit,
        };
        let drain = self.drain.next_timer().map(|timer| (timer.at, timer.why.into()));
        let handoff =
            self.handoff.as_ref().and_then(Rules::next_timer).map(|timer| (timer.at, timer.why.into()));
        let successor =
            self.successor.as_ref().and_then(Rules::next_timer).map(|timer| (timer.at, timer.why.into()));
        let holder =
            self.holder.as_ref().and_then(Rules::next_timer).map(|timer| (timer.at, timer.why.into()));
        let of = |part: Part, timer: Option<(Millis, Why)>| match timer {
            Some((at, why)) => (Some(at), (part, why)),
            None => (None, (part, own)),
        };
        earliest([
            (self.task_until, (Part::Own, own)),
            (self.lease_by, (Part::Own, Why::LeaseDue)),
            of(Part::Drain, drain),
            of(Part::Handoff, handoff),
            of(Part::Successor, successor),
            of(Part::Holder, holder),
        ])
    }

    // For people.

    fn booting(&self, because: &str, waits_for: &str) -> (String, String) {
        (String::from(because), String::from(waits_for))
    }

    fn explain_serving(&self) -> (String, String) {
        if let Some(handoff) = self.handoff.as_ref().filter(|handoff| !handoff.is_resting()) {
            return said(Some(handoff.explain()));
        }
        match self.holder.as_ref().filter(|holder| !holder.is_resting()) {
            Some(holder) => said(Some(holder.explain())),
            None if self.is_resting() => {
                (String::from("the boot is done, and nothing has asked for a stop"), String::new())
            }
            None => (String::from("it took over from an old process"), String::from("what passes to it")),
        }
    }

    fn explain_stopping(&self) -> (String, String) {
        let (because, waits_for) = match (self.outcome, &self.handoff) {
            (Some(_), Some(handoff)) => said(Some(handoff.explain())),
            _ => said(Some(self.drain.explain())),
        };
        (format!("{because}; {}", self.why_stopped()), waits_for)
    }

    /// Y3: the cause, the intent and its source.
    fn why_stopped(&self) -> String {
        let cause = self.cause.map_or("", Name::as_str);
        let source = self.source.map_or("", Name::as_str);
        format!("{cause}, for {} (said by: {source})", self.intent().as_str())
    }

    /// Whether inputs can have led here.
    fn is_possible(&self) -> bool {
        use drain::Phase;
        use lease_holder::State as Held;
        let phase = self.drain.phase();
        let mut parts = self.clone();
        let same_series = parts.series().iter().all(|series| **series == self.operations);
        let configs = *self.drain.config() == self.config.whole_drain()
            && self.handoff.as_ref().map(Rules::config) == self.config.handoff.as_ref()
            && self.holder.as_ref().map(Rules::config) == self.config.lease.as_ref()
            && (self.successor.is_none()
                || self.successor.as_ref().map(Rules::config) == self.config.successor.as_ref());
        let issued = |id: OperationId| id >= 1 && id <= self.operations.issued();
        let numbers = [self.task, self.passing, self.releasing, self.held.map(|held| held.operation)];
        let (task, timed) = match self.stage {
            Stage::ClearingRows
            | Stage::Initialising
            | Stage::OpeningControlDoor
            | Stage::OpeningPublicDoor => (true, true),
            Stage::TakingOver => (self.task.is_some(), false),
            _ => (false, false),
        };
        let asked = matches!(
            self.holder_at(),
            Some(Held::Claiming | Held::Confirming | Held::Resuming | Held::Releasing)
        );
        let stage = match self.stage {
            Stage::New | Stage::ClearingRows | Stage::Initialising | Stage::OpeningControlDoor => {
                phase == Phase::Starting
            }
            Stage::Claiming => asked && matches!(phase, Phase::Starting | Phase::Serving),
            Stage::Idle => self.holder_at() == Some(Held::Idle) && phase == Phase::Starting,
            Stage::OpeningPublicDoor => matches!(phase, Phase::Starting | Phase::Serving),
            Stage::TakingOver => {
                phase == Phase::Starting
                    && self.successor.as_ref().is_some_and(|successor| !successor.is_resting())
            }
            Stage::Serving => phase == Phase::Serving && self.served,
            Stage::Stopping => !matches!(phase, Phase::Starting | Phase::Serving),
            Stage::Exited => true,
        };
        let leaving = self.outcome.is_none()
            || self.stage == Stage::Exited
            || self.handoff.as_ref().is_some_and(|handoff| !handoff.is_resting());
        let over = self.outcome.is_some() == (phase == Phase::Stopped) || self.stage == Stage::Exited;
        let begun = matches!(self.stage, Stage::Stopping | Stage::Exited);
        let booted = self.stage == Stage::TakingOver || self.successor.is_none() || self.served || begun;
        same_series
            && configs
            && numbers.into_iter().flatten().all(issued)
            && self.task.is_some() == task
            && self.task_until.is_some() == timed
            && stage
            && leaving
            && over
            && booted
            && (self.cause.is_some() == begun && self.source.is_some() == begun)
            && (self.lease_by.is_none() || (self.stage == Stage::Serving && self.holder.is_some()))
            && (self.held.is_none() || (begun && self.handoff.is_some()))
            && (self.releasing.is_none() || self.holder.is_some())
            && (self.announced.is_none()
                || (begun && self.marker_used && self.announced != Some(Intent::Handoff)))
            && self.inherited.is_none_or(|inherited| (1..=crate::MAX_TIME).contains(&inherited.epoch))
    }
}

fn said(explanation: Option<Explanation>) -> (String, String) {
    explanation.map_or_else(Default::default, |said| (said.because, said.waits_for))
}

fn write_part<R: Rules>(part: Option<&R>, to: &mut Writer) {
    to.flag(part.is_some());
    if let Some(part) = part {
        part.write(to);
    }
}

fn read_part<R: Rules>(from: &mut Reader<'_>) -> Result<Option<R>, RecordFault> {
    if from.flag()? { R::read(from).map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests;
