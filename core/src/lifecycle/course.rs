//! What comes after what: the boot (Y1), the stop and what it is for (Y3).

use super::*;
use crate::handoff::ServiceNotice;

impl Lifecycle {
    // Y1: the boot.

    pub(super) fn boot(&mut self, successor: bool, effects: &mut Vec<Effect>) -> Result<(), RejectionCode> {
        if self.stage != Stage::New {
            return Err(RejectionCode::ImpossibleNow);
        }
        if successor {
            let config = self.config.successor.clone().ok_or(RejectionCode::ImpossibleNow)?;
            let limit = config.initialise_limit;
            let mut part = Successor::start(config, Random::seeded(0), self.clock);
            *part.operations() = self.operations;
            self.successor = Some(part);
            self.stage = Stage::TakingOver;
            self.initialised = true;
            // Its limit is kept by the part.
            let operation = self.issue();
            self.task = Some(operation);
            effects.push(Effect::Initialise { operation, limit });
        } else if self.config.clear_rows {
            // R3: before it listens; a successor clears nothing.
            let limit = self.config.clear_rows_limit;
            let operation = self.begin(Stage::ClearingRows, limit);
            effects.push(Effect::ClearEarlierRows { operation, limit });
        } else {
            self.initialise(effects);
        }
        Ok(())
    }

    fn begin(&mut self, stage: Stage, limit: Millis) -> OperationId {
        let operation = self.issue();
        self.stage = stage;
        self.task = Some(operation);
        self.task_until = Some(self.after(limit));
        operation
    }

    fn initialise(&mut self, effects: &mut Vec<Effect>) {
        let limit = self.config.initialise_limit;
        let operation = self.begin(Stage::Initialising, limit);
        self.initialised = true;
        effects.push(Effect::Initialise { operation, limit });
    }

    fn open_control_door(&mut self, effects: &mut Vec<Effect>) {
        if !self.config.control_door {
            self.claim(effects);
            return;
        }
        let limit = self.config.door_limit;
        let operation = self.begin(Stage::OpeningControlDoor, limit);
        self.control_open = true;
        effects.push(Effect::OpenControlDoor { operation, limit });
    }

    /// L6: its answer has no limit, so a service manager need not wait for it.
    fn claim(&mut self, effects: &mut Vec<Effect>) {
        if self.holder.is_none() {
            self.open_public_door(effects);
            return;
        }
        self.stage = Stage::Claiming;
        effects.push(Effect::Notify { notice: ServiceNotice::Ready });
        self.tell_holder(&lease_holder::Input::Boot { predecessor: None }, effects);
    }

    pub(super) fn open_public_door(&mut self, effects: &mut Vec<Effect>) {
        let limit = self.config.door_limit;
        let operation = self.begin(Stage::OpeningPublicDoor, limit);
        self.public_open = true;
        effects.push(Effect::OpenPublicDoor { operation, limit });
    }

    /// Ready is last.
    fn serve(&mut self, effects: &mut Vec<Effect>) {
        self.stage = Stage::Serving;
        self.served = true;
        if self.drain.phase() == drain::Phase::Starting {
            // It cannot be refused in this phase.
            let _ = self.tell_drain(&drain::Input::Started, effects);
        } else {
            self.set_ready(true, effects);
        }
    }

    /// The operation of the boot that was under way is over.
    pub(super) fn task_over(&mut self, outcome: Outcome, effects: &mut Vec<Effect>) {
        (self.task, self.task_until) = (None, None);
        let timed_out = outcome == Outcome::OutOfTime;
        if outcome == Outcome::Done {
            match self.stage {
                Stage::ClearingRows => self.initialise(effects),
                Stage::Initialising => self.open_control_door(effects),
                Stage::OpeningControlDoor => self.claim(effects),
                Stage::OpeningPublicDoor => {
                    self.serve(effects);
                    if self.holder.is_none() {
                        effects.push(Effect::Notify { notice: ServiceNotice::Ready });
                    }
                }
                Stage::TakingOver => self.tell_successor(&successor::Input::Initialised, effects),
                _ => {}
            }
            return;
        }
        // What failed has left nothing behind; what is out of time may have.
        let cause = match self.stage {
            Stage::ClearingRows if timed_out => ExitCause::ClearRowsLimit,
            Stage::ClearingRows => ExitCause::ClearRowsFailed,
            Stage::OpeningControlDoor => {
                self.control_open = timed_out;
                if timed_out { ExitCause::ControlDoorLimit } else { ExitCause::ControlDoorFailed }
            }
            Stage::OpeningPublicDoor => {
                self.public_open = timed_out;
                if timed_out { ExitCause::PublicDoorLimit } else { ExitCause::PublicDoorFailed }
            }
            Stage::TakingOver => {
                self.initialised = false;
                self.tell_successor(&successor::Input::InitialiseFailed, effects);
                return;
            }
            _ => {
                self.initialised = timed_out;
                if timed_out { ExitCause::InitialiseLimit } else { ExitCause::InitialiseFailed }
            }
        };
        self.give_up(cause, effects);
    }

    /// Y1: the boot failed; the process comes back, so its lease is held for it.
    pub(super) fn give_up(&mut self, cause: ExitCause, effects: &mut Vec<Effect>) {
        self.stop(Ask::Begin(Intent::Restart), IntentSource::Boot, cause, effects);
    }

    // Y1: the lease of a successor (H7).

    /// It accepts. Until it has its own lease it serves on its predecessor's, as long as that is sure.
    pub(super) fn took_over(&mut self, promoted: bool, effects: &mut Vec<Effect>) {
        self.serve(effects);
        let Some(lease) = &self.config.lease else { return };
        let before = lease.drain.saturating_add(lease.margin);
        self.lease_by = Some(match self.inherited {
            Some(inherited) => inherited.until.saturating_sub(before),
            None => self.after(self.config.inherit_limit),
        });
        // A predecessor that is gone says no more.
        if self.inherited.is_some() || promoted {
            self.take_lease(effects);
        }
    }

    fn take_lease(&mut self, effects: &mut Vec<Effect>) {
        let predecessor = self.inherited.map(|inherited| inherited.epoch);
        self.tell_holder(&lease_holder::Input::Boot { predecessor }, effects);
    }

    pub(super) fn inherit(
        &mut self,
        epoch: u64,
        left: Millis,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RejectionCode> {
        let Some(lease) = self.config.lease.as_ref().filter(|_| self.successor.is_some()) else {
            return Err(RejectionCode::ImpossibleNow);
        };
        let until = self.after(left);
        let by = until.saturating_sub(lease.drain.saturating_add(lease.margin));
        let inherited = Some(Inheritance { epoch, until });
        if self.stage == Stage::TakingOver {
            self.inherited = inherited;
        } else if self.lease_by.is_some() {
            (self.inherited, self.lease_by) = (inherited, Some(by));
            if self.holder_at() == Some(lease_holder::State::New) {
                self.take_lease(effects);
            }
        }
        Ok(())
    }

    pub(super) fn lease_due(&mut self, effects: &mut Vec<Effect>) {
        if self.holder_at() == Some(lease_holder::State::New) && self.inherited.is_none() {
            // Nobody told it of a lease: it asks for its own, and has as long again.
            self.lease_by = Some(self.after(self.config.inherit_limit));
            self.take_lease(effects);
        } else {
            self.lose(ExitCause::LeaseLost, effects);
        }
    }

    // Y2, Y3: the stop.

    /// The lease is not to be had any more: out of the boot, or out of service.
    pub(super) fn lose(&mut self, cause: ExitCause, effects: &mut Vec<Effect>) {
        if !matches!(self.stage, Stage::Stopping | Stage::Exited) {
            self.stop(Ask::Begin(Intent::Restart), IntentSource::Lease, cause, effects);
        }
    }

    /// Y3: which intent counts. A marker is used up by being read, whether or not it counts; what it announced is not
    /// changed by the same signal coming twice.
    pub(super) fn weigh(
        &mut self,
        intent: Option<Intent>,
        marker: Option<Intent>,
        instance: u64,
        age: Millis,
        effects: &mut Vec<Effect>,
    ) -> (Intent, IntentSource) {
        let ours = instance == self.config.instance && age <= self.config.marker_age;
        let marker = marker.inspect(|_| effects.push(Effect::RemoveMarker));
        if ours && !self.marker_used {
            self.announced = marker.filter(|marker| *marker != Intent::Handoff);
        }
        self.marker_used |= marker.is_some();
        match (self.announced, intent) {
            (Some(intent), _) => (intent, IntentSource::Marker),
            (None, Some(intent)) => (intent, IntentSource::Signal),
            (None, None) => (self.config.default_intent, IntentSource::Default),
        }
    }

    /// A stop begins; or one that has begun is asked for again.
    pub(super) fn stop(
        &mut self,
        ask: Ask,
        source: IntentSource,
        cause: ExitCause,
        effects: &mut Vec<Effect>,
    ) {
        if self.stage == Stage::Stopping {
            self.ask_drain(ask, source, effects);
            return;
        }
        self.stage = Stage::Stopping;
        self.cause = Some(cause);
        (self.task, self.task_until, self.lease_by) = (None, None, None);
        // What is on its way to take over is given up first: which steps of the drain may run depends on it.
        if let Some(successor) = &mut self.successor {
            // Its end is this stop.
            let _ = successor.apply(&successor::Input::Stop, &mut Vec::new());
        }
        self.tell_handoff(&handoff::Input::Stop, effects);
        if self.public_open && self.drain.phase() == drain::Phase::Starting {
            // There may be clients, so this is the drain of a process that serves. It was never ready.
            let _ = self.drain.apply(&drain::Input::Started, &mut Vec::new());
        }
        self.ask_drain(ask, source, effects);
    }

    fn ask_drain(&mut self, ask: Ask, source: IntentSource, effects: &mut Vec<Effect>) {
        // H7: a successor that accepts has the addresses; one that does not accept yet has them not yet.
        let passed = self.has_passed();
        let meant = |intent| if passed { Intent::Handoff } else { intent };
        let (input, intent) = match ask {
            Ask::Signal(intent) => (drain::Input::Signal { intent: meant(intent) }, meant(intent)),
            Ask::Begin(intent) => (drain::Input::Begin { intent: meant(intent) }, meant(intent)),
        };
        if self.source.is_none() || (intent > self.intent() && self.outcome.is_none()) {
            self.source = Some(source);
            effects.push(Effect::Stopping { intent, source });
        }
        // Neither can be refused.
        let _ = self.tell_drain(&input, effects);
    }

    /// H7: a successor accepts, so this stop is a handoff, whatever it was.
    pub(super) fn hand_over(&mut self, effects: &mut Vec<Effect>) {
        if self.stage == Stage::Stopping {
            self.cause = Some(ExitCause::HandedOver);
            self.source = Some(IntentSource::Handoff);
            effects.push(Effect::Stopping { intent: Intent::Handoff, source: IntentSource::Handoff });
            if self.outcome.is_some() {
                self.tell_handoff(&handoff::Input::Drained, effects);
            }
        } else {
            let ask = Ask::Begin(Intent::Handoff);
            self.stop(ask, IntentSource::Handoff, ExitCause::HandedOver, effects);
        }
    }

    pub(super) fn set_ready(&mut self, ready: bool, effects: &mut Vec<Effect>) {
        if self.ready != ready {
            self.ready = ready;
            effects.push(Effect::Readiness { ready });
        }
    }

    /// The drain is over. A successor that is on its way must be gone first: it would promote itself.
    pub(super) fn exit_if_over(&mut self, effects: &mut Vec<Effect>) {
        let settled = self.handoff.as_ref().is_none_or(|handoff| handoff.is_resting());
        if self.outcome.is_some() && settled {
            self.exit(effects);
        }
    }

    pub(super) fn exit(&mut self, effects: &mut Vec<Effect>) {
        if self.stage == Stage::Exited {
            return;
        }
        self.stage = Stage::Exited;
        if self.lease_end.is_none() {
            // It was not told of the stop, or not in time.
            self.lease_end = self.holder.as_ref().and_then(LeaseHolder::left_behind);
        }
        let cause = self.cause.unwrap_or(ExitCause::Stopped);
        let intent = self.intent();
        let source = self.source.unwrap_or(IntentSource::Default);
        let drained = self.outcome.unwrap_or(EXIT_FORCED);
        let exit_code = if cause.is_failed_boot() {
            EXIT_BOOT_FAILED
        } else if intent == Intent::Handoff {
            // The code of a restart is for a process that is to be started again.
            if matches!(drained, EXIT_STEP_FAILED | EXIT_FORCED) { drained } else { 0 }
        } else if self.lease_end == Some(LeaseEnd::Fenced) {
            EXIT_FENCED
        } else {
            drained
        };
        effects.push(Effect::Exit { cause, intent, source, lease: self.lease_end, exit_code });
    }
}
