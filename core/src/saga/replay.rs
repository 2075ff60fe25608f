//! Going on from a journal, whatever prefix of it there is (G8).
//!
//! Records are taken one by one into the same state that the saga was in when they became durable; what no saga
//! could have written is refused. What had no outcome in the journal is unknown.

use alloc::vec::Vec;

use super::progress::{Mode, Moment, Note, Origin, Progress, Stage, Work};
use super::{Compensation, Effect, JournalFault, LeakReason, Phase, Saga, SagaCause, SagaRecord, index_of};
use crate::{Field, add};

/// What a record means for the saga; or that it means nothing.
type Taken = Result<(), JournalFault>;

/// A requirement on a record.
fn require(met: bool) -> Taken {
    if met { Ok(()) } else { Err(JournalFault::Impossible) }
}

impl Saga {
    pub(super) fn read_record(&mut self, sequence: u64, note: Note, effects: &mut Vec<Effect>) {
        let taken = if sequence == self.next_sequence() { self.take(note) } else { Err(JournalFault::Gap) };
        match taken {
            Ok(()) => {
                self.sequence = sequence;
                self.mode = Mode::Replaying;
            }
            Err(fault) => {
                self.phase = Phase::Refused;
                self.mode = Mode::Live;
                self.origin = None;
                self.progress.iter_mut().for_each(|progress| *progress = Progress::new());
                effects.push(Effect::Refused { sequence, fault });
            }
        }
    }

    fn take(&mut self, note: Note) -> Taken {
        if self.phase == Phase::Idle {
            require(note.kind == SagaRecord::Started && note.step.is_none())?;
            if note.value != self.plan.definition {
                return Err(JournalFault::OtherDefinition);
            }
            self.phase = Phase::Running;
            return Ok(());
        }
        match note.kind {
            SagaRecord::Started => Err(JournalFault::Impossible),
            SagaRecord::Intent
            | SagaRecord::Done
            | SagaRecord::Failed
            | SagaRecord::Unknown
            | SagaRecord::UndoIntent
            | SagaRecord::FallbackIntent
            | SagaRecord::UndoFailed
            | SagaRecord::Undone
            | SagaRecord::FellBack
            | SagaRecord::Leaked
            | SagaRecord::Retried
            | SagaRecord::Resolved => {
                let step = index_of(note.step.ok_or(JournalFault::Impossible)?);
                let progress = *self.progress.get(step).ok_or(JournalFault::Impossible)?;
                match note.kind {
                    SagaRecord::Intent | SagaRecord::Done | SagaRecord::Failed | SagaRecord::Unknown => {
                        self.take_do(step, progress, note)
                    }
                    SagaRecord::Retried => self.take_retried(step, progress),
                    SagaRecord::Resolved => self.take_resolved(step, progress, note),
                    _ => self.take_undo(step, progress, note),
                }
            }
            SagaRecord::Unwinding => self.take_unwinding(note),
            SagaRecord::Committed => {
                require(self.phase == Phase::Running && self.is_done())?;
                self.phase = Phase::Committed;
                Ok(())
            }
            SagaRecord::RolledBack => self.take_end(note, false),
            SagaRecord::Stuck => self.take_end(note, true),
        }
    }

    fn take_do(&mut self, step: usize, mut progress: Progress, note: Note) -> Taken {
        let now = self.now();
        let limit = self.config.steps.get(step).map_or(0, |step| step.limit);
        let running = self.phase == Phase::Running;
        // No saga unwinds past a pivot that may have begun: of one in its journal there is only that it never did.
        let never_began = self.plan.pivot != Some(step) || note.kind == SagaRecord::Failed;
        require(running || (self.phase == Phase::Unwinding && never_began))?;
        if note.kind == SagaRecord::Intent {
            match progress.stage {
                Stage::Waiting if self.is_ready(step) => {
                    progress.begin(self.config.steps.get(step).map_or(0, |step| step.retries));
                }
                Stage::Busy(Work::Do, Moment::Due(_)) => {}
                _ => return Err(JournalFault::Impossible),
            }
            require(running && note.attempt == progress.attempt.saturating_add(1))?;
            progress.attempt = note.attempt;
            progress.budget = progress.budget.saturating_sub(1);
            progress.stage = Stage::Busy(Work::Do, Moment::Intended);
        } else {
            let decided = progress.doubt && matches!(progress.stage, Stage::Busy(Work::Do, Moment::Due(_)));
            let open = progress.stage == Stage::Busy(Work::Do, Moment::Intended);
            require(note.attempt == progress.attempt && (open || decided))?;
            match note.kind {
                SagaRecord::Done => {
                    self.took_effect(step);
                    return Ok(());
                }
                SagaRecord::Failed => progress.doubt &= open,
                _ => {
                    require(open)?;
                    // Its limit and its lateness count from here: a journal carries no times.
                    self.doubt(step, add(now, limit));
                    progress = self.progress.get(step).copied().unwrap_or(progress);
                }
            }
            if running {
                progress.stage = Stage::Busy(Work::Do, Moment::Due(now));
            } else {
                progress.end(progress.untaken());
            }
        }
        self.put(step, progress)
    }

    fn take_unwinding(&mut self, note: Note) -> Taken {
        require(self.phase == Phase::Running && !self.past_pivot())?;
        let undecided = self.plan.pivot.and_then(|pivot| self.progress.get(pivot));
        require(undecided.is_none_or(|pivot| !pivot.doubt))?;
        self.take_origin(note)?;
        self.phase = Phase::Unwinding;
        self.give_up_due();
        Ok(())
    }

    /// What had not been tried again never will be.
    fn give_up_due(&mut self) {
        for progress in &mut self.progress {
            if matches!(progress.stage, Stage::Busy(Work::Do, Moment::Due(_))) {
                progress.end(progress.untaken());
            }
        }
    }

    fn take_origin(&mut self, note: Note) -> Taken {
        let cause = SagaCause::take(note.value).ok_or(JournalFault::Impossible)?;
        require(note.step.is_none_or(|step| index_of(step) < self.progress.len()))?;
        self.origin = Some(Origin { cause, step: note.step, attempt: note.attempt });
        Ok(())
    }

    fn take_undo(&mut self, step: usize, mut progress: Progress, note: Note) -> Taken {
        let settings = self.config.steps.get(step);
        let undoable = settings.is_some_and(|step| step.compensation == Compensation::Undo);
        require(self.phase == Phase::Unwinding && undoable)?;
        let open = match progress.stage {
            Stage::Busy(work @ (Work::Undo | Work::FallBack), Moment::Intended) => Some(work),
            _ => None,
        };
        let taken = matches!(progress.stage, Stage::Done | Stage::Unknown);
        match note.kind {
            SagaRecord::UndoIntent | SagaRecord::FallbackIntent => {
                let links = self.plan.links.get(step);
                let over = |other: &usize| self.is_settled(*other) || self.is_harmless(*other);
                require(links.is_some_and(|links| links.undo_after.iter().all(over)))?;
                require(taken || open.is_some())?;
                require(note.attempt == progress.undo_attempt.saturating_add(1))?;
                let fallback = note.kind == SagaRecord::FallbackIntent;
                progress.undo_attempt = note.attempt;
                progress.stage =
                    Stage::Busy(if fallback { Work::FallBack } else { Work::Undo }, Moment::Intended);
            }
            SagaRecord::UndoFailed => {
                require(open.is_some() && note.attempt == progress.undo_attempt)?;
                progress.stage = progress.taken();
            }
            // A probe may have found that a failed undo worked.
            SagaRecord::Undone => {
                require(open == Some(Work::Undo) || (taken && progress.undo_attempt > 0))?;
                progress.end(Stage::Undone);
            }
            SagaRecord::FellBack => {
                require(open == Some(Work::FallBack))?;
                progress.end(Stage::FellBack);
            }
            _ => {
                let running = progress.stage == Stage::Busy(Work::Do, Moment::Intended);
                require(taken || open.is_some() || running)?;
                let reason = LeakReason::take(note.value).ok_or(JournalFault::Impossible)?;
                progress.doubt |= running;
                progress.end(Stage::Leaked(reason));
            }
        }
        self.put(step, progress)
    }

    fn take_retried(&mut self, step: usize, mut progress: Progress) -> Taken {
        match (self.phase, progress.stage) {
            (Phase::Stuck, Stage::Leaked(_)) => {
                progress.end(progress.taken());
                self.phase = Phase::Unwinding;
            }
            (Phase::Unfinished, Stage::Clean | Stage::Unknown) => {
                progress.begin(self.config.steps.get(step).map_or(0, |step| step.retries));
                progress.stage = Stage::Busy(Work::Do, Moment::Due(self.now()));
                self.phase = Phase::Running;
                self.forget_origin(step);
            }
            _ => return Err(JournalFault::Impossible),
        }
        self.put(step, progress)
    }

    fn take_resolved(&mut self, step: usize, mut progress: Progress, note: Note) -> Taken {
        match (self.phase, progress.stage, note.value) {
            (Phase::Stuck, Stage::Leaked(_), 0) => {
                progress.doubt = false;
                progress.end(Stage::Resolved);
                self.phase = Phase::Unwinding;
            }
            (Phase::Unfinished, Stage::Clean | Stage::Unknown, 1) => {
                self.phase = Phase::Running;
                self.took_effect(step);
                self.forget_origin(step);
                return Ok(());
            }
            (Phase::Unfinished, Stage::Unknown, 0) => {
                progress.doubt = false;
                progress.end(Stage::Clean);
                self.phase = Phase::Running;
            }
            _ => return Err(JournalFault::Impossible),
        }
        self.put(step, progress)
    }

    fn take_end(&mut self, note: Note, stuck: bool) -> Taken {
        let leaks = self.progress.iter().any(|progress| matches!(progress.stage, Stage::Leaked(_)));
        match self.phase {
            Phase::Unwinding => {
                require(leaks == stuck)?;
                for step in 0..self.progress.len() {
                    if self.is_harmless(step) && matches!(self.stage(step), Stage::Busy(..)) {
                        self.set_stage(step, Stage::Unknown);
                    }
                    require(self.is_settled(step))?;
                }
                self.take_origin(note)?;
                self.phase = if stuck { Phase::Stuck } else { Phase::RolledBack };
            }
            Phase::Running => {
                require(stuck && !self.is_done())?;
                self.give_up_due();
                require(!self.is_busy() && (self.past_pivot() || self.pivot_undecided()))?;
                self.take_origin(note)?;
                self.phase = Phase::Unfinished;
            }
            _ => return Err(JournalFault::Impossible),
        }
        Ok(())
    }

    fn put(&mut self, step: usize, progress: Progress) -> Taken {
        let place = self.progress.get_mut(step).ok_or(JournalFault::Impossible)?;
        *place = progress;
        Ok(())
    }

    /// The journal has been read: what it leaves open is unknown, and the saga goes on, forwards or backwards.
    pub(super) fn recover(&mut self, torn: bool, effects: &mut Vec<Effect>) {
        self.mode = Mode::Live;
        effects.push(Effect::Recovered { sequence: self.sequence, torn });
        if !self.is_active() {
            self.report_end(effects);
            return;
        }
        if self.phase == Phase::Unwinding {
            self.rollback_until = Some(add(self.now(), self.config.rollback_deadline));
        }
        for step in 0..self.progress.len() {
            match self.stage(step) {
                // No saga unwinds past a pivot that may have begun: this one was written down, and never did.
                Stage::Busy(Work::Do, Moment::Intended)
                    if self.phase == Phase::Unwinding && self.plan.pivot == Some(step) =>
                {
                    self.never_began(step);
                }
                Stage::Busy(Work::Do, Moment::Intended) => {
                    let limit = self.config.steps.get(step).map_or(0, |step| step.limit);
                    self.note_do(SagaRecord::Unknown, step);
                    self.doubt(step, add(self.now(), limit));
                    self.retry_or_give_up(step);
                }
                Stage::Busy(Work::Do, _) => self.retry_or_give_up(step),
                // Begun again from the start: an undo looks for itself what is left.
                Stage::Busy(..) => {
                    if let Some(progress) = self.progress.get_mut(step) {
                        progress.end(progress.taken());
                    }
                }
                _ => {}
            }
        }
    }
}
