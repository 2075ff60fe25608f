//! What the parts say to the host and to each other.

use super::*;
use crate::handoff::HandoffTask;
use crate::lease_holder::LeaseLoss;

impl Lifecycle {
    // One series of operations.

    /// The series of every part.
    pub(super) fn series(&mut self) -> Vec<&mut Operations> {
        let Self { drain, handoff, successor, holder, .. } = self;
        let mut series = Vec::from([drain.operations()]);
        series.extend(handoff.as_mut().map(Handoff::operations));
        series.extend(successor.as_mut().map(Successor::operations));
        series.extend(holder.as_mut().map(LeaseHolder::operations));
        series
    }

    /// One has issued operations: the others go on from there.
    fn share(&mut self, issued: Operations) {
        if issued != self.operations {
            self.operations = issued;
            self.series().into_iter().for_each(|series| *series = issued);
        }
    }

    pub(super) fn issue(&mut self) -> OperationId {
        let mut series = self.operations;
        let operation = series.issue();
        self.share(series);
        operation
    }

    /// Who waits for the operation takes the answer; for the others it is one that comes late.
    pub(super) fn answered(
        &mut self,
        operation: OperationId,
        done: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RejectionCode> {
        if self.task == Some(operation) {
            self.task_over(if done { Outcome::Done } else { Outcome::Failed }, effects);
            return Ok(());
        }
        if self.passing == Some(operation) {
            self.passing = None;
            if done {
                // H7
                self.tell_holder(&lease_holder::Input::HandedOver, effects);
            }
        }
        let (drain, handoff, successor) = if done {
            (
                drain::Input::Done { operation },
                handoff::Input::Done { operation },
                successor::Input::Done { operation },
            )
        } else {
            (
                drain::Input::Failed { operation },
                handoff::Input::Failed { operation },
                successor::Input::Failed { operation },
            )
        };
        self.tell_drain(&drain, effects)?;
        self.tell_handoff(&handoff, effects);
        self.tell_successor(&successor, effects);
        Ok(())
    }

    /// An input that concerns one part, as that part calls it.
    pub(super) fn pass_on(&mut self, input: &Input, effects: &mut Vec<Effect>) -> Result<(), RejectionCode> {
        match *input {
            Input::Force => self.tell_drain(&drain::Input::Force, effects),
            Input::Load { requests, idle, streams, tunnels, told } => {
                self.tell_drain(&drain::Input::Load { requests, idle, streams, tunnels, told }, effects)
            }
            // Y2: an upgrade is for a process that serves, or says why not when it stops.
            Input::Upgrade if !matches!(self.stage, Stage::Serving | Stage::Stopping) => {
                Err(RejectionCode::ImpossibleNow)
            }
            Input::Upgrade => self.ask_handoff(&handoff::Input::Upgrade, effects),
            Input::Cancel => self.ask_handoff(&handoff::Input::Cancel, effects),
            Input::OlderGenerations { draining } => {
                self.ask_handoff(&handoff::Input::OlderGenerations { draining }, effects)
            }
            Input::Ready { generation, speaks, version } => {
                self.ask_handoff(&handoff::Input::Ready { generation, speaks, version }, effects)
            }
            Input::Accepting { generation } => {
                self.ask_handoff(&handoff::Input::Accepting { generation }, effects)
            }
            Input::Refused { generation } => {
                self.ask_handoff(&handoff::Input::Refused { generation }, effects)
            }
            Input::Exited { generation } => self.ask_handoff(&handoff::Input::Exited { generation }, effects),
            Input::Garbage { generation: Some(generation) } => {
                self.ask_handoff(&handoff::Input::Garbage { generation }, effects)
            }
            Input::ChannelClosed { generation: Some(generation) } => {
                self.ask_handoff(&handoff::Input::ChannelClosed { generation }, effects)
            }
            Input::Garbage { generation: None } => self.ask_successor(&successor::Input::Garbage, effects),
            Input::ChannelClosed { generation: None } => {
                self.ask_successor(&successor::Input::ChannelClosed, effects)
            }
            Input::Acknowledged { version, state } => {
                self.ask_successor(&successor::Input::Acknowledged { version, state }, effects)
            }
            Input::ParentGone => self.ask_successor(&successor::Input::ParentGone, effects),
            _ => self.pass_to_holder(input, effects),
        }
    }

    fn pass_to_holder(&mut self, input: &Input, effects: &mut Vec<Effect>) -> Result<(), RejectionCode> {
        use lease_holder::Input as Said;
        let said = match *input {
            Input::Mine { operation, epoch, term } => Said::Mine { operation, epoch, term },
            Input::NotMine { operation, fenced } => Said::NotMine { operation, fenced },
            Input::Granted { epoch } => Said::Granted { epoch },
            Input::Renewed { operation, term } => Said::Renewed { operation, term },
            Input::LeaseRefused { operation } => Said::Refused { operation },
            Input::CannotKnow { operation } => Said::CannotKnow { operation },
            Input::Released { operation } => Said::Released { operation },
            Input::Fenced { epoch } => Said::Fenced { epoch },
            _ => return Err(RejectionCode::ImpossibleNow),
        };
        self.ask_holder(&said, effects)?;
        if self.stage == Stage::Idle && self.holder_at() == Some(lease_holder::State::Confirming) {
            self.stage = Stage::Claiming;
        }
        Ok(())
    }

    // Drain.

    /// Tells the drain, and answers for it what is not the host's to answer.
    pub(super) fn tell_drain(
        &mut self,
        input: &drain::Input,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RejectionCode> {
        let mut said = Vec::new();
        self.drain.apply(input, &mut said).map_err(|rejection| rejection.code)?;
        self.heard_drain(said, effects);
        Ok(())
    }

    pub(super) fn fire_drain(&mut self, effects: &mut Vec<Effect>) {
        if let Some(timer) = self.drain.next_timer() {
            let mut said = Vec::new();
            self.drain.fire(timer.why, &mut said);
            self.heard_drain(said, effects);
        }
    }

    fn heard_drain(&mut self, mut said: Vec<drain::Effect>, effects: &mut Vec<Effect>) {
        // Steps that are not run are answered here; one is out at a time.
        loop {
            let issued = *self.drain.operations();
            self.share(issued);
            let mut answer = None;
            for effect in said {
                answer = self.said_by_drain(effect, effects).or(answer);
            }
            let Some(input) = answer else { return };
            said = Vec::new();
            // An answer that is awaited is not refused.
            let _ = self.drain.apply(&input, &mut said);
        }
    }

    fn said_by_drain(&mut self, said: drain::Effect, effects: &mut Vec<Effect>) -> Option<drain::Input> {
        use drain::Effect as Said;
        effects.push(match said {
            Said::Readiness { ready } => {
                self.set_ready(ready, effects);
                return None;
            }
            Said::Entered { phase, left, .. } => Effect::Entered { phase, intent: self.intent(), left },
            Said::LameDuck => Effect::LameDuck,
            Said::RunStep { operation, step, attempt, limit } => {
                return self.run_step(operation, step, attempt, limit, effects);
            }
            Said::StepFailed { step, timed_out } => {
                self.held = self.held.filter(|held| held.step != step);
                match self.config.undo_step(step) {
                    Some(step) => {
                        if step == BootStep::Lease {
                            self.releasing = None;
                        }
                        Effect::UndoFailed { step, timed_out }
                    }
                    None => Effect::StepFailed { step, timed_out },
                }
            }
            Said::ClosePublicDoor { operation, limit } => Effect::ClosePublicDoor { operation, limit },
            Said::Count => Effect::Count,
            Said::CloseIdle { older_than } => Effect::CloseIdle { older_than },
            Said::EndStreams => Effect::EndStreams,
            Said::Tell { count, within } => Effect::Tell { count, within },
            Said::PaceClamped { wanted, used } => Effect::PaceClamped { wanted, used },
            Said::ClearRows { operation, limit } => Effect::ClearRows { operation, limit },
            Said::CloseTunnels { code } => Effect::CloseTunnels { code },
            Said::ClosePeerDoor => Effect::ClosePeerDoor,
            Said::Abort { code } => Effect::Abort { code },
            Said::RowsLeft => Effect::RowsLeft,
            Said::Stopped { drained, forced, abandoned, failed_steps, duration, exit_code, .. } => {
                let intent = self.intent();
                self.outcome = Some(exit_code);
                effects.push(Effect::Stopped {
                    intent,
                    drained,
                    forced,
                    abandoned,
                    failed_steps,
                    duration,
                    exit_code,
                });
                if self.handoff.as_ref().is_some_and(|handoff| !handoff.accepts()) {
                    self.tell_handoff(&handoff::Input::Drained, effects);
                }
                self.exit_if_over(effects);
                return None;
            }
        });
        None
    }

    /// A step of the drain: the host's, or one that takes the boot back (Y1, Y3).
    fn run_step(
        &mut self,
        operation: OperationId,
        step: u32,
        attempt: u32,
        limit: Millis,
        effects: &mut Vec<Effect>,
    ) -> Option<drain::Input> {
        let done = Some(drain::Input::Done { operation });
        if self.undecided() {
            // H7: nobody knows yet whether the successor accepts.
            self.held = Some(Held { operation, step, attempt, until: self.after(limit) });
            return None;
        }
        match self.config.undo_step(step) {
            Some(BootStep::Lease) => return self.release_lease(operation, effects),
            Some(BootStep::ControlDoor) if self.control_open => {
                effects.push(Effect::CloseControlDoor { operation, limit });
            }
            Some(BootStep::Initialise) if self.initialised => {
                effects.push(Effect::CleanUp { operation, limit })
            }
            Some(_) => return done,
            // Nothing was served.
            None if self.at() == State::Undoing => return done,
            // H7: the successor serves on the same addresses.
            None if self.drain.phase() == drain::Phase::LameDuck && self.has_passed() => return done,
            None => {
                let intent = self.intent();
                effects.push(Effect::RunStep { operation, step, attempt, limit, intent });
            }
        }
        None
    }

    /// L4, L6: what the granter is told depends on the intent, and on what became of the lease before.
    fn release_lease(&mut self, operation: OperationId, effects: &mut Vec<Effect>) -> Option<drain::Input> {
        let intent = self.intent();
        if self.holder_at() != Some(lease_holder::State::New) {
            self.tell_holder(&lease_holder::Input::Stop { intent }, effects);
        }
        if self.holder_at() == Some(lease_holder::State::Releasing) {
            self.releasing = Some(operation);
            return None;
        }
        Some(drain::Input::Done { operation })
    }

    // Handoff, the old side.

    fn undecided(&self) -> bool {
        self.handoff.as_ref().is_some_and(Handoff::is_undecided)
    }

    pub(super) fn tell_handoff(&mut self, input: &handoff::Input, effects: &mut Vec<Effect>) {
        // What is told of one's own accord is possible at any time; an answer was judged before.
        let _ = self.ask_handoff(input, effects);
    }

    fn ask_handoff(
        &mut self,
        input: &handoff::Input,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RejectionCode> {
        let mut said = Vec::new();
        let handoff = self.handoff.as_mut().ok_or(RejectionCode::ImpossibleNow)?;
        handoff.apply(input, &mut said).map_err(|rejection| rejection.code)?;
        self.heard_handoff(said, effects);
        Ok(())
    }

    pub(super) fn fire_handoff(&mut self, effects: &mut Vec<Effect>) {
        if let Some(handoff) = &mut self.handoff
            && let Some(timer) = handoff.next_timer()
        {
            let mut said = Vec::new();
            handoff.fire(timer.why, &mut said);
            self.heard_handoff(said, effects);
        }
    }

    fn heard_handoff(&mut self, said: Vec<handoff::Effect>, effects: &mut Vec<Effect>) {
        if let Some(issued) = self.handoff.as_mut().map(|handoff| *handoff.operations()) {
            self.share(issued);
        }
        let mut refused = None;
        for effect in said {
            refused = self.said_by_handoff(effect, effects).or(refused);
        }
        if let Some(operation) = refused {
            self.tell_handoff(&handoff::Input::Failed { operation }, effects);
        }
        self.run_held(effects);
        self.exit_if_over(effects);
    }

    /// Answers the operation that is not possible.
    fn said_by_handoff(&mut self, said: handoff::Effect, effects: &mut Vec<Effect>) -> Option<OperationId> {
        use handoff::Effect as Said;
        effects.push(match said {
            Said::Queued { limit } => Effect::Queued { limit },
            Said::Refused { why } => Effect::UpgradeRefused { why },
            Said::Notify { notice } => Effect::Notify { notice },
            Said::Spawn { operation, limit } => Effect::Spawn { operation, limit },
            Said::CaptureState { operation, most, limit } => Effect::CaptureState { operation, most, limit },
            Said::Acknowledge { generation, version, state } => {
                Effect::Acknowledge { generation, version, state }
            }
            Said::Look { operation, generation, limit } => Effect::Look { operation, generation, limit },
            Said::Kill { operation, generation, limit } => Effect::Kill { operation, generation, limit },
            Said::RunUndo { operation, hook, limit } => Effect::RunUndo { operation, hook, limit },
            Said::RolledBack { generation, cause } => Effect::RolledBack { generation, cause },
            Said::Accepted { generation } => Effect::Accepted { generation },
            Said::WritePidFile { operation, generation, limit } => {
                Effect::WritePidFile { operation, generation: Some(generation), limit }
            }
            Said::PassLease { operation, generation, limit } => {
                // One that is not held cannot be passed.
                let Some(epoch) = self.epoch() else { return Some(operation) };
                let left = self.holder.as_ref().map_or(0, LeaseHolder::left);
                self.passing = Some(operation);
                Effect::PassLease { operation, generation, epoch, left, limit }
            }
            Said::TaskFailed { task, hook, timed_out } => {
                if task == HandoffTask::Lease {
                    self.passing = None;
                }
                Effect::TaskFailed { task, hook, timed_out }
            }
            Said::SuccessorLost { generation } => Effect::SuccessorLost { generation },
            // These are for the drain and for the exit.
            Said::BeginDrain { .. } => {
                self.hand_over(effects);
                return None;
            }
            Said::Gone { .. } => {
                self.exit(effects);
                return None;
            }
        });
        None
    }

    /// It is known now whether the successor accepts.
    fn run_held(&mut self, effects: &mut Vec<Effect>) {
        if self.undecided() {
            return;
        }
        if let Some(Held { operation, step, attempt, until: end }) = self.held.take() {
            let limit = until(self.clock.now(), end).max(1);
            if let Some(answer) = self.run_step(operation, step, attempt, limit, effects) {
                let _ = self.tell_drain(&answer, effects);
            }
        }
    }

    // Handoff, the new side.

    pub(super) fn tell_successor(&mut self, input: &successor::Input, effects: &mut Vec<Effect>) {
        // As with the old side.
        let _ = self.ask_successor(input, effects);
    }

    fn ask_successor(
        &mut self,
        input: &successor::Input,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RejectionCode> {
        let mut said = Vec::new();
        let successor = self.successor.as_mut().ok_or(RejectionCode::ImpossibleNow)?;
        successor.apply(input, &mut said).map_err(|rejection| rejection.code)?;
        self.heard_successor(said, effects);
        Ok(())
    }

    pub(super) fn fire_successor(&mut self, effects: &mut Vec<Effect>) {
        if let Some(successor) = &mut self.successor
            && let Some(timer) = successor.next_timer()
        {
            let mut said = Vec::new();
            successor.fire(timer.why, &mut said);
            self.heard_successor(said, effects);
        }
    }

    fn heard_successor(&mut self, said: Vec<successor::Effect>, effects: &mut Vec<Effect>) {
        use successor::Effect as Said;
        if let Some(issued) = self.successor.as_mut().map(|successor| *successor.operations()) {
            self.share(issued);
        }
        for effect in said {
            effects.push(match effect {
                Said::SayReady { version } => Effect::SayReady { version },
                Said::LoadState { operation, limit } => Effect::LoadState { operation, limit },
                Said::Accept { operation, limit } => {
                    self.public_open = true;
                    self.control_open = self.config.control_door;
                    Effect::Accept { operation, limit }
                }
                Said::SayAccepting => Effect::SayAccepting,
                Said::SayRefused => Effect::SayRefused,
                Said::CloseUnclaimed => Effect::CloseUnclaimed,
                Said::WritePidFile { operation, limit } => {
                    Effect::WritePidFile { operation, generation: None, limit }
                }
                Said::Notify { notice } => Effect::Notify { notice },
                Said::PidFileFailed { timed_out } => {
                    Effect::TaskFailed { task: HandoffTask::PidFile, hook: None, timed_out }
                }
                // It is taken when it serves.
                Said::TakeLease => continue,
                Said::Serving { promoted } => {
                    effects.push(Effect::TookOver { promoted });
                    self.took_over(promoted, effects);
                    continue;
                }
                Said::End { cause } => {
                    if cause == successor::GiveUpCause::AcceptFailed {
                        (self.public_open, self.control_open) = (false, false);
                    }
                    self.give_up(cause.into(), effects);
                    continue;
                }
            });
        }
    }

    // Lease.

    pub(super) fn tell_holder(&mut self, input: &lease_holder::Input, effects: &mut Vec<Effect>) {
        // What is told of one's own accord is possible in the state that it is told in.
        let _ = self.ask_holder(input, effects);
    }

    fn ask_holder(
        &mut self,
        input: &lease_holder::Input,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RejectionCode> {
        let mut said = Vec::new();
        let holder = self.holder.as_mut().ok_or(RejectionCode::ImpossibleNow)?;
        let waited = holder.at() == lease_holder::State::Resuming;
        holder.apply(input, &mut said).map_err(|rejection| rejection.code)?;
        let waits = holder.at() == lease_holder::State::Resuming && !waited;
        if waits && self.served && matches!(self.stage, Stage::Serving | Stage::Stopping) {
            // A successor was granted less than a drain takes.
            said.clear();
            holder.drain_on_it(&mut said);
        }
        self.heard_holder(said, effects);
        Ok(())
    }

    pub(super) fn fire_holder(&mut self, effects: &mut Vec<Effect>) {
        if let Some(holder) = &mut self.holder
            && let Some(timer) = holder.next_timer()
        {
            let mut said = Vec::new();
            holder.fire(timer.why, &mut said);
            self.heard_holder(said, effects);
        }
    }

    fn heard_holder(&mut self, said: Vec<lease_holder::Effect>, effects: &mut Vec<Effect>) {
        if let Some(issued) = self.holder.as_mut().map(|holder| *holder.operations()) {
            self.share(issued);
        }
        for effect in said {
            // The exit is the last word.
            if self.stage != Stage::Exited {
                self.said_by_holder(effect, effects);
            }
        }
    }

    fn said_by_holder(&mut self, said: lease_holder::Effect, effects: &mut Vec<Effect>) {
        use lease_holder::Effect as Said;
        effects.push(match said {
            Said::Claim { operation, limit, predecessor } => Effect::Claim { operation, limit, predecessor },
            Said::Confirm { operation, epoch, limit } => Effect::Confirm { operation, epoch, limit },
            Said::Renew { operation, epoch, limit } => Effect::Renew { operation, epoch, limit },
            Said::CannotKnow { attempt, delay } => Effect::CannotKnow { attempt, delay },
            Said::Release { operation, epoch, intent, limit } => {
                Effect::Release { operation, epoch, intent, limit }
            }
            Said::Serve { epoch } => {
                effects.push(Effect::Serve { epoch });
                self.lease_by = None;
                if self.stage == Stage::Claiming {
                    self.open_public_door(effects);
                }
                return;
            }
            Said::Idle => {
                effects.push(Effect::Idle);
                match self.stage {
                    Stage::Claiming => self.stage = Stage::Idle,
                    // A successor has served on a lease that is nobody's.
                    _ => self.lose(ExitCause::LeaseLost, effects),
                }
                return;
            }
            Said::Drain { loss, within } => {
                effects.push(Effect::LeaseLost { loss, within });
                match loss {
                    LeaseLoss::Unrenewed => self.lose(ExitCause::LeaseLost, effects),
                    LeaseLoss::Fenced => self.lose(ExitCause::Fenced, effects),
                    // The drain is under way.
                    LeaseLoss::HandedOver => {}
                }
                return;
            }
            Said::Halt => {
                effects.push(Effect::Halt);
                // The drain began when the lease was lost.
                let _ = self.tell_drain(&drain::Input::Force, effects);
                return;
            }
            Said::Over { end } => {
                effects.push(Effect::LeaseOver { end });
                self.lease_end = Some(end);
                self.lease_over(end, effects);
                return;
            }
        });
    }

    fn lease_over(&mut self, end: LeaseEnd, effects: &mut Vec<Effect>) {
        if let Some(operation) = self.releasing.take() {
            let failed = matches!(end, LeaseEnd::Unreleased);
            let answer =
                if failed { drain::Input::Failed { operation } } else { drain::Input::Done { operation } };
            let _ = self.tell_drain(&answer, effects);
        } else if end == LeaseEnd::Fenced {
            self.lose(ExitCause::Fenced, effects);
        } else {
            self.lose(ExitCause::LeaseLost, effects);
        }
    }
}
