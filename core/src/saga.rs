//! Saga: do steps in dependency order, or undo what was done (rules G1–G9).
//!
//! An allocation touches a database, a DNS server, a config file and a gateway. Any of these may fail, time out
//! without saying whether it did its work, or do it long after everybody stopped waiting; and the process that
//! runs the steps may die between any two of them. This machine decides what to write to the journal, what to
//! start and what to undo, so that a saga ends *committed* (everything is there), *rolled back* (nothing is), or
//! *stuck* with the very resources named that were left behind.
//!
//! # States
//!
//! | state | what happens | leaves it |
//! | --- | --- | --- |
//! | idle *(rests)* | nothing was begun | [`Input::Start`]; [`Input::Replay`] of the first record; [`Input::Recovered`] |
//! | recovering *(rests)* | the journal of an earlier life is read | [`Input::Recovered`] |
//! | running | steps run, each once all those before it are done (G1) | all done; a failure or a cancel: unwinding |
//! | unwinding | undos run in reverse order (G5) | all are over; the rollback deadline (G7) |
//! | halted *(rests)* | a record could not be made durable: nothing new is begun (G4) | [`Input::Resume`]; or another process recovers it |
//! | committed *(rests)* | all effects are there | |
//! | rolled-back *(rests)* | none is | |
//! | stuck *(rests)* | the leaks that were reported are left | [`Input::Retry`], [`Input::Resolve`] |
//! | fenced *(rests)* | another executor has this saga (G9) | |
//! | refused *(rests)* | the journal is no journal of this saga (G8) | |
//!
//! # What the host owes
//!
//! * [`Effect::Append`] makes a record durable: fenced by the executor's token, idempotent by sequence (the same
//!   record again is done; another record at a sequence that exists is [`Input::Fenced`]). The host adds what the
//!   record is about: the saga's input to `started`, the output to `done`, the error to `failed`, `unknown` and
//!   `undo-failed`. [`journal`] has a format for it.
//! * [`Effect::Do`], [`Effect::Undo`] and [`Effect::FallBack`] carry the key (saga id, step, direction), the same for
//!   each attempt (G3). An undo works from the step's recorded output and the saga's own ids, and means *make sure
//!   that it is gone*: called again it looks again and does not replay its first answer, as a late do may have
//!   landed meanwhile. It must cope with a do that never landed.
//! * Answers say what is certain: `failed` only when there certainly is no effect, else `unknown` (G2).
//!
//! # Choices that the rules leave open
//!
//! * Records are made durable one after another; one that is not under way yet is dropped when it has become moot.
//!   Probes ([`Effect::Verify`]) change nothing and need no record.
//! * A step with `verify` is probed after every undo, as an undo that said it succeeded proves little; a step whose
//!   outcome was unknown, after its lateness has passed as well. What a probe finds after a successful undo landed
//!   late and is undone once more; what it finds after that is a leak.
//! * An unknown outcome is undone once the limit of its attempt has passed; its lateness counts from there. After a
//!   recovery both count from the recovery, and the rollback deadline begins anew, as a journal carries no times.
//! * Before the pivot is decided nothing is undone; once it is done a cancel comes too late. After it, steps that
//!   do not depend on a failing one go on; then the saga is stuck, and every effect that is there is listed.
//! * A step that took its fallback is safe and no leak. Where there is no fallback, what *requires* a failed undo is
//!   left as it is, and listed.
//! * A crash between an unknown attempt and the record of it is the same as the record.
//! * A saga recovers from its journal only. A snapshot is exact (operations under way are answered or run into their
//!   limits), but one that is older than the journal is stopped by the first append, as its sequence is taken.

pub mod journal;
mod plan;
mod progress;
mod replay;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use self::plan::Plan;
use self::progress::{Mode, Moment, Note, Origin, Pending, Progress, Stage, Work};
use crate::backoff::Policy;
use crate::contract::{shift, shift_timer};
use crate::{
    Answer, Clock, Deadline, Explanation, Faults, MAX_TIME, Message, Millis, Name, OperationId, Operations,
    Random, Reader, Record, RecordFault, Rejection, RejectionCode, Rules, Writer, add, until,
};

names! {
    /// What takes back a step of a saga.
    pub enum Compensation {
        /// Its undo.
        Undo = "undo",
        /// Nothing: once it is done there is only forward (G1).
        Pivot = "pivot",
        /// Nothing has to: it leaves nothing behind, or it comes after the pivot.
        Nothing = "nothing",
    }
}

names! {
    /// What a record of a journal says.
    pub enum SagaRecord {
        /// The saga began. `value`: the definition, a number of its graph.
        Started = "started",
        /// A do is about to start.
        Intent = "intent",
        /// It is done.
        Done = "done",
        /// It failed, certainly without effect.
        Failed = "failed",
        /// It may have an effect, or may come to have one.
        Unknown = "unknown",
        /// From here on only undos. `value`: the cause.
        Unwinding = "unwinding",
        /// An undo is about to start.
        UndoIntent = "undo-intent",
        /// The step's effect is gone.
        Undone = "undone",
        /// An undo or a fallback failed. `value`: 1 when it is unknown whether it did.
        UndoFailed = "undo-failed",
        /// A fallback is about to start.
        FallbackIntent = "fallback-intent",
        /// The fallback is done: the step's effect is safe.
        FellBack = "fell-back",
        /// The step's effect is left behind. `value`: the reason.
        Leaked = "leaked",
        /// An operator has it tried again.
        Retried = "retried",
        /// An operator has settled it. `value`: 1 when the effect is there.
        Resolved = "resolved",
        /// All effects are there.
        Committed = "committed",
        /// None is.
        RolledBack = "rolled-back",
        /// Some are left.
        Stuck = "stuck",
    }
}

names! {
    /// Why a saga did not commit.
    pub enum SagaCause {
        /// A step failed for good.
        StepFailed = "step-failed",
        /// It is unknown what a step did.
        StepUnknown = "step-unknown",
        /// It was cancelled.
        Cancelled = "cancelled",
    }
}

names! {
    /// Why the effect of a step was left behind.
    pub enum LeakReason {
        /// Its undo failed.
        UndoFailed = "undo-failed",
        /// Its undo was made, and a probe still finds the effect.
        StillThere = "still-there",
        /// Its undo was made, and no probe could tell whether it worked.
        Unverified = "unverified",
        /// Its outcome is unknown, and it may still land: it is neither fenced nor has it a lateness (G3).
        MayLandLate = "may-land-late",
        /// An undo that it requires failed, and it has no fallback (G6).
        Requirement = "requirement",
        /// An undo that it requires failed, and so did its fallback.
        FallbackFailed = "fallback-failed",
        /// The rollback deadline came first (G7).
        OutOfTime = "out-of-time",
        /// It is done, and the saga can be neither finished nor undone.
        Unfinished = "unfinished",
        /// It is unknown whether it is there, and it can be neither verified, retried nor undone (G2).
        Undecided = "undecided",
    }
}

names! {
    /// Why a journal was refused.
    pub enum JournalFault {
        /// A record is missing, repeated or out of order.
        Gap = "gap",
        /// It is the journal of another graph of steps.
        OtherDefinition = "other-definition",
        /// It says what no saga could have done.
        Impossible = "impossible",
    }
}

settings! {
    /// A step of a saga. The host knows it by its place in the list.
    pub struct SagaStep as "SagaStep" {
        /// Its name, in errors and reports.
        name: String = String::new(),
        /// The steps that must be done before it.
        after: Vec<String> = Vec::new(),
        /// What takes it back.
        compensation: Compensation = Compensation::Undo,
        /// How often it is tried again after a failure without effect, or of unknown outcome if it is `idempotent`.
        retries: u32 = 0,
        /// The delays between attempts, of undos and probes too.
        backoff: Policy = Policy { initial: 200, ..Policy::default() },
        /// How long an attempt may take; then its outcome is unknown. Milliseconds.
        limit: Millis = 10_000,
        /// Whether the key makes a second attempt safe when it is unknown what the first one did (G2, G3).
        idempotent: bool = false,
        /// Whether the resource refuses a do that arrives after its undo or its fallback (G3). Only a certain undo is
        /// a fence: a `lateness` beside it covers an undo of unknown outcome.
        fenced: bool = false,
        /// Whether it can be probed for being there.
        verify: bool = false,
        /// How long a probe may take. Milliseconds.
        verify_limit: Millis = 5_000,
        /// How long after its limit a do of unknown outcome may still land, if that is known; needs `verify` (G3). Milliseconds.
        lateness: Option<Millis> = None,
        /// How often its undo, its fallback and a probe are tried again.
        undo_retries: u32 = 3,
        /// How long an undo, or a fallback, may take. Milliseconds.
        undo_limit: Millis = 10_000,
        /// The steps whose effects must be gone before this one may be undone (G6).
        undo_requires: Vec<String> = Vec::new(),
        /// Whether it has a fallback for when they are not: a gateway that may still be routed is quarantined, not freed.
        fallback: bool = false,
    }
}

settings! {
    /// A saga.
    pub struct Config as "SagaConfig" {
        /// The steps: a graph by their `after` (G1).
        steps: Vec<SagaStep> = Vec::new(),
        /// How long a rollback may take; then what is left is reported (G7). Milliseconds.
        rollback_deadline: Millis = 300_000,
        /// How long making a record durable may take; then the saga halts (G4). Milliseconds.
        append_limit: Millis = 5_000,
    }
}

messages! {
    /// What happened to a saga.
    pub enum Input as "SagaInput" {
        /// Begin.
        Start = "start",
        /// The operation succeeded: durable, done, undone or fallen back.
        Done = "done" {
            /// Which.
            operation: OperationId,
        },
        /// The operation failed; a do certainly has no effect (G2).
        Failed = "failed" {
            /// Which.
            operation: OperationId,
        },
        /// It is unknown what the operation did (G2).
        Unknown = "unknown" {
            /// Which.
            operation: OperationId,
        },
        /// The probe found the effect.
        Present = "present" {
            /// Which probe.
            operation: OperationId,
        },
        /// The probe found no effect.
        Absent = "absent" {
            /// Which probe.
            operation: OperationId,
        },
        /// The journal refused the append: another executor has the saga (G9).
        Fenced = "fenced" {
            /// Which append.
            operation: OperationId,
        },
        /// Undo it, unless it is too late (G6).
        Cancel = "cancel",
        /// The journal may work again: append what could not be appended (G4).
        Resume = "resume",
        /// An operator wants a step of a stuck saga tried again (G7).
        Retry = "retry" {
            /// Which.
            step: u32,
        },
        /// An operator has settled a step of a stuck saga by hand (G7).
        Resolve = "resolve" {
            /// Which.
            step: u32,
            /// Whether its effect is there now.
            present: bool,
        },
        /// A record of the journal, from the first one on, in order (G8).
        Replay = "replay" {
            /// Its place in the journal, from 1.
            sequence: u64,
            /// What it says.
            kind: SagaRecord,
            /// Of which step, if of one.
            step: Option<u32>,
            /// Of which attempt, if of one; else 0.
            attempt: u32,
            /// What else it says; see the kind.
            value: u64,
        },
        /// That was the whole journal: go on (G8).
        Recovered = "recovered" {
            /// Whether a torn record was cut from its end.
            torn: bool,
        },
    }
}

messages! {
    /// What a saga wants done.
    pub enum Effect as "SagaEffect" {
        /// Make a record durable; answer done, failed, unknown or fenced. What it covers comes after that (G4).
        Append = "append" {
            /// Which answer.
            operation: OperationId,
            /// Its place in the journal, from 1; the same again when it is tried again.
            sequence: u64,
            /// What it says.
            kind: SagaRecord,
            /// Of which step, if of one.
            step: Option<u32>,
            /// Of which attempt, if of one; else 0.
            attempt: u32,
            /// What else it says; see the kind.
            value: u64,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Do a step; answer done, failed or unknown.
        Do = "do" {
            /// Which answer.
            operation: OperationId,
            /// Its place in the config's list.
            step: u32,
            /// Counted from 1.
            attempt: u32,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Make sure that the step's effect is gone; answer done, failed or unknown.
        Undo = "undo" {
            /// Which answer.
            operation: OperationId,
            /// Its place in the config's list.
            step: u32,
            /// Counted from 1, fallbacks included.
            attempt: u32,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Make the step's effect safe instead of undoing it; answer done, failed or unknown (G6).
        FallBack = "fall-back" {
            /// Which answer.
            operation: OperationId,
            /// Its place in the config's list.
            step: u32,
            /// Counted from 1, undos included.
            attempt: u32,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Look whether the step's effect is there; answer present, absent, failed or unknown.
        Verify = "verify" {
            /// Which answer.
            operation: OperationId,
            /// Its place in the config's list.
            step: u32,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// A do is not wanted any more: abort it if that is possible. Its answer is still awaited until its limit.
        Abort = "abort" {
            /// Which do.
            operation: OperationId,
        },
        /// A report: the journal of an earlier life was read, and the saga goes on from it (G8).
        Recovered = "recovered" {
            /// How many records it has.
            sequence: u64,
            /// Whether a torn record was cut from its end.
            torn: bool,
        },
        /// A report: undoing began. The error is the one of this step and attempt (G6).
        Unwinding = "unwinding" {
            /// Why.
            cause: SagaCause,
            /// The step that is the cause, if one is.
            step: Option<u32>,
            /// Its attempt; 0 if none.
            attempt: u32,
        },
        /// A report: the step took its fallback and is safe.
        FellBack = "fell-back" {
            /// Its place in the config's list.
            step: u32,
        },
        /// A report, before [`Effect::Stuck`]: the effect of this step is left behind (G7).
        Leaked = "leaked" {
            /// Its place in the config's list.
            step: u32,
            /// Why.
            reason: LeakReason,
        },
        /// A report: over; all effects are there.
        Committed = "committed",
        /// A report: over; none is. The error is the one of this step and attempt.
        RolledBack = "rolled-back" {
            /// Why.
            cause: SagaCause,
            /// The step that is the cause, if one is.
            step: Option<u32>,
            /// Its attempt; 0 if none.
            attempt: u32,
        },
        /// A report: an operator is needed (G7). The error is the one of this step and attempt.
        Stuck = "stuck" {
            /// Why it was not committed.
            cause: SagaCause,
            /// The step that is the cause, if one is.
            step: Option<u32>,
            /// Its attempt; 0 if none.
            attempt: u32,
            /// How many leaks were reported.
            leaked: u32,
        },
        /// A report: a record could not be made durable, nothing new is begun (G4).
        Halted = "halted" {
            /// Its place in the journal.
            sequence: u64,
        },
        /// A report: another executor has the saga; this one has stopped (G9).
        Fenced = "fenced",
        /// A report: the journal is not continued (G8).
        Refused = "refused" {
            /// The record at fault.
            sequence: u64,
            /// What is wrong with it.
            fault: JournalFault,
        },
    }
}

names! {
    /// Why a saga wants to be woken.
    pub enum Why {
        /// The journal has had its time.
        AppendLimit = "append-limit",
        /// A do has had its time.
        DoLimit = "do-limit",
        /// A do is to be tried again.
        DoRetry = "do-retry",
        /// An undo or a fallback has had its time.
        UndoLimit = "undo-limit",
        /// An undo or a fallback is to be made.
        UndoDue = "undo-due",
        /// A probe has had its time.
        VerifyLimit = "verify-limit",
        /// A probe is to be made.
        VerifyDue = "verify-due",
        /// The rollback has had its time.
        RollbackDeadline = "rollback-deadline",
    }
}

names! {
    /// Where a saga is.
    pub enum Phase {
        /// Not begun.
        Idle = "idle",
        /// Doing steps.
        Running = "running",
        /// Undoing them.
        Unwinding = "unwinding",
        /// All effects are there.
        Committed = "committed",
        /// None is.
        RolledBack = "rolled-back",
        /// Undone as far as it went.
        Stuck = "stuck",
        /// Stopped where there is only forward.
        Unfinished = "unfinished",
        /// Another executor has it.
        Fenced = "fenced",
        /// The journal is not continued.
        Refused = "refused",
    }
}

/// A saga. See the [module](self) for its states and what its host owes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Saga {
    config: Arc<Config>,
    plan: Arc<Plan>,
    clock: Clock,
    random: Random,
    operations: Operations,
    phase: Phase,
    mode: Mode,
    /// The last record that is durable.
    sequence: u64,
    /// Records to be made durable, in order.
    queue: Vec<Note>,
    /// The first of them, while it is under way.
    appending: Option<Pending>,
    progress: Vec<Progress>,
    origin: Option<Origin>,
    rollback_until: Option<Millis>,
}

impl Rules for Saga {
    const NAME: &'static str = "saga";
    const SNAPSHOT_VERSION: u16 = 1;
    type Config = Config;
    type Input = Input;
    type Effect = Effect;
    type Why = Why;

    // G1
    fn check(config: &Config, faults: &mut Faults) {
        plan::check(config, faults);
    }

    fn start(config: Config, random: Random, clock: Clock) -> Self {
        let plan = Plan::of(&config);
        let progress = config.steps.iter().map(|_| Progress::new()).collect();
        Self {
            config: Arc::new(config),
            plan: Arc::new(plan),
            clock,
            random,
            operations: Operations::default(),
            phase: Phase::Idle,
            mode: Mode::Live,
            sequence: 0,
            queue: Vec::new(),
            appending: None,
            progress,
            origin: None,
            rollback_until: None,
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
    }

    fn state(&self) -> &'static str {
        match (self.mode, self.phase) {
            (_, Phase::Refused) => "refused",
            (Mode::Replaying, _) => "recovering",
            (Mode::Halted, _) => "halted",
            (Mode::Live, Phase::Unfinished) => Phase::Stuck.as_str(),
            (Mode::Live, phase) => phase.as_str(),
        }
    }

    fn is_resting(&self) -> bool {
        self.mode != Mode::Live || !self.is_active()
    }

    fn next_timer(&self) -> Option<Deadline<Why>> {
        if !self.is_active() || self.mode == Mode::Replaying {
            return None;
        }
        let mut first = self.appending.map(|pending| Deadline { at: pending.until, why: Why::AppendLimit });
        let mut consider = |timer: Deadline<Why>| {
            // On equal times the first that is considered.
            if first.is_none_or(|first| timer.at < first.at) {
                first = Some(timer);
            }
        };
        for progress in &self.progress {
            if let Stage::Busy(work, moment) = progress.stage
                && let Some(timer) = timer_of(work, moment)
            {
                consider(timer);
            }
        }
        if let Some(at) = self.rollback_until {
            consider(Deadline { at, why: Why::RollbackDeadline });
        }
        first
    }

    fn rebase(&mut self, now: Millis) {
        let from = self.clock.now();
        if let Some(pending) = &mut self.appending {
            shift(&mut pending.until, from, now);
        }
        for progress in &mut self.progress {
            match &mut progress.stage {
                Stage::Busy(_, Moment::Running(pending)) => shift(&mut pending.until, from, now),
                Stage::Busy(_, Moment::Due(at)) => shift(at, from, now),
                _ => {}
            }
            shift_timer(&mut progress.hold, from, now);
            shift_timer(&mut progress.late, from, now);
        }
        shift_timer(&mut self.rollback_until, from, now);
        self.clock.rebase(now);
    }

    fn fire(&mut self, why: Why, effects: &mut Vec<Effect>) {
        let due = self.due(why);
        match (why, due) {
            // G4
            (Why::AppendLimit, _) => self.halt(effects),
            // G2
            (Why::DoLimit, Some(step)) => self.do_answered(step, DoOutcome::Unknown),
            (Why::DoRetry, Some(step)) => self.intend_do(step),
            // G5, G6
            (Why::UndoLimit, Some(step)) => self.undo_answered(step, UndoOutcome::Unknown),
            (Why::UndoDue, Some(step)) => self.intend_undo(step),
            // G3
            (Why::VerifyLimit, Some(step)) => self.probe_answered(step, None),
            (Why::VerifyDue, Some(step)) => self.probe(step, effects),
            // G7
            (Why::RollbackDeadline, _) => self.rollback_out_of_time(),
            (_, None) => {}
        }
        self.advance(effects);
    }

    fn apply(&mut self, input: &Input, effects: &mut Vec<Effect>) -> Result<(), Rejection> {
        match *input {
            Input::Start => {
                if self.phase != Phase::Idle || self.mode != Mode::Live {
                    return Err(self.reject(RejectionCode::ImpossibleNow, input));
                }
                self.phase = Phase::Running;
                self.note(SagaRecord::Started, None, 0, self.plan.definition);
            }
            Input::Done { operation }
            | Input::Failed { operation }
            | Input::Unknown { operation }
            | Input::Present { operation }
            | Input::Absent { operation }
            | Input::Fenced { operation } => self.answered(operation, input, effects)?,
            Input::Cancel => match (self.phase, self.mode) {
                (Phase::Idle, _) | (_, Mode::Replaying) => {
                    return Err(self.reject(RejectionCode::ImpossibleNow, input));
                }
                (Phase::Running, _) => self.cancel(),
                // G6: undo is shielded; and what is over is over.
                _ => {}
            },
            Input::Resume => {
                if self.mode != Mode::Halted {
                    return Err(self.reject(RejectionCode::ImpossibleNow, input));
                }
                self.mode = Mode::Live;
            }
            // What a journal says so far is not yet what happened.
            Input::Retry { .. } | Input::Resolve { .. } if self.mode == Mode::Replaying => {
                return Err(self.reject(RejectionCode::ImpossibleNow, input));
            }
            Input::Retry { step } => self.retry(step, input)?,
            Input::Resolve { step, present } => self.resolve(step, present, input)?,
            Input::Replay { sequence, kind, step, attempt, value } => match (self.phase, self.mode) {
                (Phase::Refused, _) => {}
                (Phase::Idle, Mode::Live) | (_, Mode::Replaying) => {
                    self.read_record(sequence, Note { kind, step, attempt, value }, effects);
                }
                _ => return Err(self.reject(RejectionCode::ImpossibleNow, input)),
            },
            Input::Recovered { torn } => match (self.phase, self.mode) {
                (Phase::Refused, _) => {}
                (Phase::Idle, Mode::Live) | (_, Mode::Replaying) => self.recover(torn, effects),
                _ => return Err(self.reject(RejectionCode::ImpossibleNow, input)),
            },
        }
        self.advance(effects);
        Ok(())
    }

    fn explain(&self) -> Explanation {
        let now = self.now();
        let (because, waits_for) = match (self.mode, self.phase) {
            (_, Phase::Refused) => (String::from("its journal is no journal of this saga"), String::new()),
            (Mode::Replaying, _) => {
                let read = format!("{} records of its journal were read", self.sequence);
                (read, String::from("the rest of the journal"))
            }
            (Mode::Halted, _) => {
                let next = self.sequence.saturating_add(1);
                let because = format!("record {next} of its journal could not be made durable");
                (because, String::from("a resume, or recovery by another process"))
            }
            (Mode::Live, _) => (self.because(), self.waits_for()),
        };
        Explanation {
            state: self.state(),
            because,
            waits_for,
            next: self.next_timer().map(|timer| (until(now, timer.at), timer.why.as_str())),
        }
    }

    fn random(&mut self) -> Option<&mut Random> {
        Some(&mut self.random)
    }

    fn normalize(&mut self, renumber: &mut dyn FnMut(&'static str, &mut u32)) {
        let now = self.now();
        let over =
            matches!(self.phase, Phase::Committed | Phase::RolledBack | Phase::Fenced | Phase::Refused);
        if let Some(pending) = &mut self.appending {
            renumber("operation", &mut pending.operation);
        }
        for (progress, step) in self.progress.iter_mut().zip(&self.config.steps) {
            if let Stage::Busy(_, Moment::Running(pending)) = &mut progress.stage {
                renumber("operation", &mut pending.operation);
            }
            progress.escalation.saturate(&step.backoff);
            // What has passed holds nothing up any more, and where all is over nothing is held up.
            progress.hold = progress.hold.filter(|at| *at > now && !over);
            progress.late = progress.late.filter(|at| *at > now && !over);
        }
        renumber("operation", self.operations.counter());
    }

    fn write(&self, to: &mut Writer) {
        self.config.write(to);
        to.number(self.clock.now());
        self.random.write(to);
        self.operations.write(to);
        self.phase.write(to);
        self.mode.write(to);
        self.sequence.write(to);
        self.queue.write(to);
        self.appending.write(to);
        self.progress.write(to);
        self.origin.write(to);
        to.optional(self.rollback_until);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        let config: Config = Record::read(from)?;
        let plan = Plan::of(&config);
        let saga = Self {
            config: Arc::new(config),
            plan: Arc::new(plan),
            clock: Clock::starting_at(from.time()?),
            random: Record::read(from)?,
            operations: Record::read(from)?,
            phase: Record::read(from)?,
            mode: Record::read(from)?,
            sequence: Record::read(from)?,
            queue: Record::read(from)?,
            appending: Record::read(from)?,
            progress: Record::read(from)?,
            origin: Record::read(from)?,
            rollback_until: from.timer()?,
        };
        if saga.is_possible() { Ok(saga) } else { Err(RecordFault::Corrupt) }
    }
}

/// How a do ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DoOutcome {
    Done,
    Clean,
    Unknown,
}

/// How an undo or a fallback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UndoOutcome {
    Done,
    Failed,
    Unknown,
}

fn timer_of(work: Work, moment: Moment) -> Option<Deadline<Why>> {
    let (limit, due) = match work {
        Work::Do => (Why::DoLimit, Why::DoRetry),
        Work::Undo | Work::FallBack => (Why::UndoLimit, Why::UndoDue),
        Work::Decide | Work::Check => (Why::VerifyLimit, Why::VerifyDue),
    };
    match moment {
        Moment::Intended => None,
        Moment::Running(pending) => Some(Deadline { at: pending.until, why: limit }),
        Moment::Due(at) => Some(Deadline { at, why: due }),
    }
}

fn index_of(step: u32) -> usize {
    usize::try_from(step).unwrap_or(usize::MAX)
}

fn number_of(step: usize) -> u32 {
    u32::try_from(step).unwrap_or(u32::MAX)
}

impl Saga {
    /// Where it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How many records of its journal are durable.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The steps whose effects a stuck saga has left behind (G7).
    pub fn leaked(&self) -> impl Iterator<Item = (u32, LeakReason)> + '_ {
        (0_u32..).zip(&self.progress).filter_map(|(index, progress)| {
            let reason = match (self.phase, progress.stage) {
                (Phase::Stuck, Stage::Leaked(reason)) => reason,
                (Phase::Unfinished, _) if self.is_harmless(index_of(index)) => return None,
                (Phase::Unfinished, Stage::Done) => LeakReason::Unfinished,
                (Phase::Unfinished, Stage::Unknown) => LeakReason::Undecided,
                _ => return None,
            };
            Some((index, reason))
        })
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }

    fn reject(&self, code: RejectionCode, input: &Input) -> Rejection {
        Rejection { code, input: input.type_name(), state: self.state() }
    }

    fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Unwinding)
    }

    /// The first step that is due for this.
    fn due(&self, why: Why) -> Option<usize> {
        let now = self.now();
        self.progress.iter().position(|progress| match progress.stage {
            Stage::Busy(work, moment) => {
                timer_of(work, moment).is_some_and(|timer| timer.why == why && timer.at <= now)
            }
            _ => false,
        })
    }

    fn stage(&self, step: usize) -> Stage {
        self.progress.get(step).map_or(Stage::Waiting, |progress| progress.stage)
    }

    fn set_stage(&mut self, step: usize, stage: Stage) {
        if let Some(progress) = self.progress.get_mut(step) {
            progress.stage = stage;
        }
    }

    fn is_busy(&self) -> bool {
        self.progress.iter().any(|progress| matches!(progress.stage, Stage::Busy(..)))
    }

    fn is_done(&self) -> bool {
        self.progress.iter().all(|progress| progress.stage == Stage::Done)
    }

    /// Whether there is only forward (G1).
    fn past_pivot(&self) -> bool {
        self.plan.pivot.is_some_and(|pivot| self.stage(pivot) == Stage::Done)
    }

    /// Whether the pivot may have happened (G2).
    fn pivot_undecided(&self) -> bool {
        let pivot = self.plan.pivot.and_then(|pivot| self.progress.get(pivot));
        pivot.is_some_and(|pivot| match pivot.stage {
            Stage::Busy(Work::Do, Moment::Running(_)) | Stage::Busy(Work::Decide, _) | Stage::Unknown => true,
            Stage::Busy(..) => pivot.doubt,
            _ => false,
        })
    }

    /// Whether nothing more will be made of it in an unwinding saga (G5).
    fn is_settled(&self, step: usize) -> bool {
        match self.stage(step) {
            Stage::Busy(..) => false,
            Stage::Done | Stage::Unknown => self.is_harmless(step),
            _ => true,
        }
    }

    /// Whether its effect certainly is not there, for what requires that (G6).
    fn is_gone(&self, step: usize) -> bool {
        match self.stage(step) {
            Stage::Waiting | Stage::Clean | Stage::Undone | Stage::Resolved => true,
            Stage::Done | Stage::Unknown => self.is_harmless(step),
            _ => false,
        }
    }

    /// Whether it leaves nothing behind. After the pivot nothing has an undo, but much may be left.
    fn is_harmless(&self, step: usize) -> bool {
        let forward_only = self.plan.links.get(step).is_some_and(|links| links.forward_only);
        let nothing = |step: &SagaStep| step.compensation == Compensation::Nothing;
        !forward_only && self.config.steps.get(step).is_some_and(nothing)
    }

    // G4: the journal.

    fn note(&mut self, kind: SagaRecord, step: Option<usize>, attempt: u32, value: u64) {
        self.queue.push(Note { kind, step: step.map(number_of), attempt, value });
    }

    /// The same, of the last attempt of the step's do.
    fn note_do(&mut self, kind: SagaRecord, step: usize) {
        let attempt = self.progress.get(step).map_or(0, |progress| progress.attempt);
        self.note(kind, Some(step), attempt, 0);
    }

    /// The same, of its undo.
    fn note_undo(&mut self, kind: SagaRecord, step: usize, value: u64) {
        let attempt = self.progress.get(step).map_or(0, |progress| progress.undo_attempt);
        self.note(kind, Some(step), attempt, value);
    }

    fn note_origin(&mut self, kind: SagaRecord) {
        let Origin { cause, step, attempt } = self.origin.unwrap_or(Origin::CANCEL);
        self.queue.push(Note { kind, step, attempt, value: u64::from(cause.index()) });
    }

    fn is_ending(&self) -> bool {
        self.queue.last().is_some_and(Note::is_final)
    }

    /// How many records of the queue may be durable already.
    fn sent(&self) -> usize {
        usize::from(self.appending.is_some() || self.mode == Mode::Halted)
    }

    fn append_next(&mut self, effects: &mut Vec<Effect>) {
        if self.mode != Mode::Live || self.appending.is_some() {
            return;
        }
        let Some(Note { kind, step, attempt, value }) = self.queue.first().copied() else { return };
        let limit = self.config.append_limit;
        let operation = self.operations.issue();
        self.appending = Some(Pending { operation, until: add(self.now(), limit) });
        let sequence = self.next_sequence();
        effects.push(Effect::Append { operation, sequence, kind, step, attempt, value, limit });
    }

    fn next_sequence(&self) -> u64 {
        self.sequence.saturating_add(1).min(MAX_TIME)
    }

    fn halt(&mut self, effects: &mut Vec<Effect>) {
        self.appending = None;
        self.mode = Mode::Halted;
        effects.push(Effect::Halted { sequence: self.next_sequence() });
    }

    /// The first record of the queue is durable: what it covers may start now.
    fn durable(&mut self, effects: &mut Vec<Effect>) {
        self.appending = None;
        self.sequence = self.next_sequence();
        if self.queue.is_empty() {
            return;
        }
        let Note { kind, step, .. } = self.queue.remove(0);
        let step = index_of(step.unwrap_or(u32::MAX));
        match (kind, self.stage(step)) {
            // What has become moot meanwhile is not started.
            (SagaRecord::Intent, Stage::Busy(Work::Do, Moment::Intended)) => self.start_do(step, effects),
            (SagaRecord::UndoIntent, Stage::Busy(Work::Undo, Moment::Intended))
            | (SagaRecord::FallbackIntent, Stage::Busy(Work::FallBack, Moment::Intended)) => {
                self.start_undo(step, kind, effects);
            }
            (SagaRecord::Unwinding, _) => self.report_unwinding(effects),
            (SagaRecord::FellBack, _) => effects.push(Effect::FellBack { step: number_of(step) }),
            (SagaRecord::Committed, _) => self.end(Phase::Committed, effects),
            (SagaRecord::RolledBack, _) => self.end(Phase::RolledBack, effects),
            (SagaRecord::Stuck, _) => {
                let phase = if self.phase == Phase::Running { Phase::Unfinished } else { Phase::Stuck };
                self.end(phase, effects);
            }
            _ => {}
        }
    }

    fn report_unwinding(&self, effects: &mut Vec<Effect>) {
        let Origin { cause, step, attempt } = self.origin.unwrap_or(Origin::CANCEL);
        effects.push(Effect::Unwinding { cause, step, attempt });
        for progress in &self.progress {
            if let Stage::Busy(Work::Do, Moment::Running(pending)) = progress.stage {
                effects.push(Effect::Abort { operation: pending.operation });
            }
        }
    }

    fn end(&mut self, phase: Phase, effects: &mut Vec<Effect>) {
        self.phase = phase;
        self.rollback_until = None;
        self.report_end(effects);
    }

    fn report_end(&self, effects: &mut Vec<Effect>) {
        let Origin { cause, step, attempt } = self.origin.unwrap_or(Origin::CANCEL);
        match self.phase {
            Phase::Committed => effects.push(Effect::Committed),
            Phase::RolledBack => effects.push(Effect::RolledBack { cause, step, attempt }),
            Phase::Stuck | Phase::Unfinished => {
                // G7
                let mut leaked = 0_u32;
                for (step, reason) in self.leaked() {
                    leaked = leaked.saturating_add(1);
                    effects.push(Effect::Leaked { step, reason });
                }
                effects.push(Effect::Stuck { cause, step, attempt, leaked });
            }
            _ => {}
        }
    }

    /// G9: without another effect.
    fn fence_off(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Fenced;
        self.queue.clear();
        self.appending = None;
        self.rollback_until = None;
        for progress in &mut self.progress {
            if matches!(progress.stage, Stage::Busy(..)) {
                progress.end(Stage::Unknown);
            }
        }
        effects.push(Effect::Fenced);
    }

    // What is to be done next, whatever led here.

    fn advance(&mut self, effects: &mut Vec<Effect>) {
        if self.mode == Mode::Replaying {
            return;
        }
        if !self.is_ending() {
            match self.phase {
                Phase::Running => self.go_forward(),
                Phase::Unwinding => self.go_back(),
                _ => {}
            }
        }
        self.append_next(effects);
    }

    /// G1: what is ready starts, independent steps beside each other.
    fn go_forward(&mut self) {
        if self.past_pivot() && self.origin == Some(Origin::CANCEL) {
            self.origin = None;
        }
        let forward_only = self.past_pivot() || self.pivot_undecided();
        if self.origin.is_some() && !forward_only {
            self.unwind();
            self.go_back();
            return;
        }
        if self.origin.is_none() || self.past_pivot() {
            for step in 0..self.progress.len() {
                if self.stage(step) == Stage::Waiting && self.is_ready(step) {
                    let retries = self.config.steps.get(step).map_or(0, |step| step.retries);
                    if let Some(progress) = self.progress.get_mut(step) {
                        progress.begin(retries);
                    }
                    self.intend_do(step);
                }
            }
        }
        if self.is_done() {
            self.note(SagaRecord::Committed, None, 0, 0);
        } else if !self.is_busy() {
            self.note_origin(SagaRecord::Stuck);
        }
    }

    fn is_ready(&self, step: usize) -> bool {
        let links = self.plan.links.get(step);
        links.is_some_and(|links| links.after.iter().all(|before| self.stage(*before) == Stage::Done))
    }

    /// G5: from here on only back. What was not begun is not.
    fn unwind(&mut self) {
        self.phase = Phase::Unwinding;
        self.rollback_until = Some(add(self.now(), self.config.rollback_deadline));
        let sent = self.sent();
        let mut moot = Vec::new();
        let mut place = 0_usize;
        self.queue.retain(|note| {
            let dropped = note.kind == SagaRecord::Intent && place >= sent;
            place = place.saturating_add(1);
            if dropped {
                moot.extend(note.step.map(index_of));
            }
            !dropped
        });
        for step in moot {
            if let Some(progress) = self.progress.get_mut(step) {
                progress.attempt = progress.attempt.saturating_sub(1);
                progress.end(progress.untaken());
            }
        }
        self.note_origin(SagaRecord::Unwinding);
        for step in 0..self.progress.len() {
            match self.stage(step) {
                // Its intent may be durable, so the journal must say that it never began.
                Stage::Busy(Work::Do, Moment::Intended) => self.never_began(step),
                Stage::Busy(Work::Do, Moment::Due(_)) => {
                    if let Some(progress) = self.progress.get_mut(step) {
                        progress.end(progress.untaken());
                    }
                }
                _ => {}
            }
        }
    }

    fn never_began(&mut self, step: usize) {
        self.note_do(SagaRecord::Failed, step);
        if let Some(progress) = self.progress.get_mut(step) {
            progress.end(progress.untaken());
        }
    }

    /// G5: each undo once all that came after its step is over.
    fn go_back(&mut self) {
        loop {
            let ready = |step: &usize| {
                let links = self.plan.links.get(*step);
                matches!(self.stage(*step), Stage::Done | Stage::Unknown)
                    && !self.is_harmless(*step)
                    && links.is_some_and(|links| links.undo_after.iter().all(|other| self.is_settled(*other)))
            };
            // One that leaks at once may make another one ready.
            let Some(step) = (0..self.progress.len()).find(ready) else { break };
            self.begin_undo(step);
        }
        if (0..self.progress.len()).all(|step| self.is_settled(step)) {
            let leaks = self.progress.iter().any(|progress| matches!(progress.stage, Stage::Leaked(_)));
            self.note_origin(if leaks { SagaRecord::Stuck } else { SagaRecord::RolledBack });
        }
    }

    // G2: doing a step.

    fn intend_do(&mut self, step: usize) {
        if let Some(progress) = self.progress.get_mut(step) {
            progress.attempt = progress.attempt.saturating_add(1);
            progress.budget = progress.budget.saturating_sub(1);
            progress.stage = Stage::Busy(Work::Do, Moment::Intended);
            self.note_do(SagaRecord::Intent, step);
        }
    }

    fn start_do(&mut self, step: usize, effects: &mut Vec<Effect>) {
        let limit = self.config.steps.get(step).map_or(1, |step| step.limit);
        let pending = self.start_operation(limit);
        if let Some(progress) = self.progress.get_mut(step) {
            progress.stage = Stage::Busy(Work::Do, Moment::Running(pending));
            let (operation, step) = (pending.operation, number_of(step));
            effects.push(Effect::Do { operation, step, attempt: progress.attempt, limit });
        }
    }

    fn start_operation(&mut self, limit: Millis) -> Pending {
        Pending { operation: self.operations.issue(), until: add(self.now(), limit) }
    }

    fn do_answered(&mut self, step: usize, outcome: DoOutcome) {
        let limit_over = match self.stage(step) {
            Stage::Busy(_, Moment::Running(pending)) => pending.until,
            _ => add(self.now(), self.config.steps.get(step).map_or(1, |step| step.limit)),
        };
        match outcome {
            DoOutcome::Done => {
                self.note_do(SagaRecord::Done, step);
                self.took_effect(step);
            }
            DoOutcome::Clean => {
                self.note_do(SagaRecord::Failed, step);
                self.retry_or_give_up(step);
            }
            DoOutcome::Unknown => {
                self.note_do(SagaRecord::Unknown, step);
                self.doubt(step, limit_over);
                self.retry_or_give_up(step);
            }
        }
    }

    fn took_effect(&mut self, step: usize) {
        if let Some(progress) = self.progress.get_mut(step) {
            // The key makes an earlier attempt without effect; until its lateness is over that is still verified.
            progress.doubt = false;
            progress.hold = None;
            progress.end(Stage::Done);
        }
    }

    /// G2, G3: it may have landed, and it may land until its lateness is over.
    fn doubt(&mut self, step: usize, limit_over: Millis) {
        let lateness = self.config.steps.get(step).and_then(|step| step.lateness);
        if let Some(progress) = self.progress.get_mut(step) {
            progress.doubt = true;
            progress.hold = progress.hold.max(Some(limit_over));
            progress.late = progress.late.max(lateness.map(|lateness| add(limit_over, lateness)));
        }
    }

    /// Retry only what is failed-clean or idempotent by key (G2).
    fn retry_or_give_up(&mut self, step: usize) {
        let now = self.now();
        let wanted = self.phase == Phase::Running
            && (self.origin.is_none() || self.past_pivot() || self.is_undecided_pivot(step));
        let (Some(settings), Some(progress)) = (self.config.steps.get(step), self.progress.get_mut(step))
        else {
            return;
        };
        if wanted && progress.budget > 0 && (!progress.doubt || settings.idempotent) {
            let pause = progress.escalation.next(&settings.backoff, &mut self.random, None);
            progress.stage = Stage::Busy(Work::Do, Moment::Due(add(now, pause)));
        } else {
            self.give_up(step);
        }
    }

    fn is_undecided_pivot(&self, step: usize) -> bool {
        self.plan.pivot == Some(step) && self.progress.get(step).is_some_and(|progress| progress.doubt)
    }

    fn give_up(&mut self, step: usize) {
        let now = self.now();
        let running = self.phase == Phase::Running;
        let forward_only = self.plan.links.get(step).is_some_and(|links| links.forward_only);
        let (Some(settings), Some(progress)) = (self.config.steps.get(step), self.progress.get_mut(step))
        else {
            return;
        };
        if progress.doubt && forward_only && settings.verify && running {
            // It cannot be undone, so it must be known.
            let at = progress.late.max(progress.hold).unwrap_or(0).max(now);
            progress.probes = settings.undo_retries.saturating_add(1);
            progress.escalation.reset();
            progress.stage = Stage::Busy(Work::Decide, Moment::Due(at));
        } else {
            self.fail(step);
        }
    }

    fn fail(&mut self, step: usize) {
        if let Some(progress) = self.progress.get_mut(step) {
            let cause = if progress.doubt { SagaCause::StepUnknown } else { SagaCause::StepFailed };
            let origin = Origin { cause, step: Some(number_of(step)), attempt: progress.attempt };
            progress.end(progress.untaken());
            self.origin.get_or_insert(origin);
        }
    }

    /// G6: a cause like any other, unless everything is done or cannot be undone.
    fn cancel(&mut self) {
        if !self.past_pivot() && !self.is_ending() {
            self.origin.get_or_insert(Origin::CANCEL);
        }
    }

    // G3, G5, G6: undoing a step.

    fn begin_undo(&mut self, step: usize) {
        let now = self.now();
        let links = self.plan.links.get(step);
        let allowed = links.is_some_and(|links| links.requires.iter().all(|other| self.is_gone(*other)));
        let (Some(settings), Some(progress)) = (self.config.steps.get(step), self.progress.get_mut(step))
        else {
            return;
        };
        progress.begin(settings.undo_retries);
        progress.probes = settings.undo_retries.saturating_add(1);
        progress.again = true;
        // Unknown and running steps are undone once their limit has passed (G2). A fallback is not verified, so it
        // waits for what lands late too.
        let (work, at) = match (allowed, settings.fallback) {
            (true, _) => (Work::Undo, progress.hold),
            (false, true) if settings.fenced => (Work::FallBack, progress.hold),
            (false, true) => (Work::FallBack, progress.hold.max(progress.late)),
            (false, false) => return self.leak(step, LeakReason::Requirement),
        };
        let at = at.unwrap_or(now).max(now);
        progress.stage = Stage::Busy(work, Moment::Due(at));
        if at <= now {
            self.intend_undo(step);
        }
    }

    fn intend_undo(&mut self, step: usize) {
        let Some(progress) = self.progress.get_mut(step) else { return };
        let Stage::Busy(work, _) = progress.stage else { return };
        progress.undo_attempt = progress.undo_attempt.saturating_add(1);
        progress.budget = progress.budget.saturating_sub(1);
        progress.stage = Stage::Busy(work, Moment::Intended);
        let kind = if work == Work::FallBack { SagaRecord::FallbackIntent } else { SagaRecord::UndoIntent };
        self.note_undo(kind, step, 0);
    }

    fn start_undo(&mut self, step: usize, kind: SagaRecord, effects: &mut Vec<Effect>) {
        let limit = self.config.steps.get(step).map_or(1, |step| step.undo_limit);
        let pending = self.start_operation(limit);
        let Some(progress) = self.progress.get_mut(step) else { return };
        let Stage::Busy(work, _) = progress.stage else { return };
        progress.stage = Stage::Busy(work, Moment::Running(pending));
        let (operation, step, attempt) = (pending.operation, number_of(step), progress.undo_attempt);
        effects.push(if kind == SagaRecord::FallbackIntent {
            Effect::FallBack { operation, step, attempt, limit }
        } else {
            Effect::Undo { operation, step, attempt, limit }
        });
    }

    fn undo_answered(&mut self, step: usize, outcome: UndoOutcome) {
        let now = self.now();
        if outcome != UndoOutcome::Done {
            self.note_undo(SagaRecord::UndoFailed, step, u64::from(outcome == UndoOutcome::Unknown));
        }
        let (Some(settings), Some(progress)) = (self.config.steps.get(step), self.progress.get_mut(step))
        else {
            return;
        };
        let Stage::Busy(work, _) = progress.stage else { return };
        progress.sure = outcome == UndoOutcome::Done;
        if !progress.sure && progress.budget > 0 {
            // G6: a failing undo is retried, then recorded; the rest go on.
            let pause = progress.escalation.next(&settings.backoff, &mut self.random, None);
            progress.stage = Stage::Busy(work, Moment::Due(add(now, pause)));
        } else if work == Work::Undo && settings.verify {
            // G3: behind a fence nothing lands late, once the undo that raised it is certain.
            let late = progress.late.filter(|_| !(settings.fenced && progress.sure));
            progress.escalation.reset();
            progress.stage = Stage::Busy(Work::Check, Moment::Due(late.unwrap_or(now).max(now)));
        } else {
            let sure = progress.sure;
            self.settle(step, work, if sure { None } else { Some(LeakReason::UndoFailed) });
        }
    }

    /// The end of an undo or a fallback, with what went wrong.
    fn settle(&mut self, step: usize, work: Work, wrong: Option<LeakReason>) {
        let (Some(settings), Some(progress)) = (self.config.steps.get(step), self.progress.get_mut(step))
        else {
            return;
        };
        let fenced = settings.fenced && progress.sure;
        let may_land_late = progress.doubt && !fenced && settings.lateness.is_none();
        match (wrong, work) {
            (Some(_), Work::FallBack) => self.leak(step, LeakReason::FallbackFailed),
            (Some(reason), _) => self.leak(step, reason),
            // G3: with neither, an unknown ends stuck.
            (None, _) if may_land_late => self.leak(step, LeakReason::MayLandLate),
            (None, Work::FallBack) => {
                progress.end(Stage::FellBack);
                self.note_undo(SagaRecord::FellBack, step, 0);
            }
            (None, _) => {
                progress.end(Stage::Undone);
                self.note_undo(SagaRecord::Undone, step, 0);
            }
        }
    }

    fn leak(&mut self, step: usize, reason: LeakReason) {
        if let Some(progress) = self.progress.get_mut(step) {
            progress.end(Stage::Leaked(reason));
            self.note_undo(SagaRecord::Leaked, step, u64::from(reason.index()));
        }
    }

    /// G7: what is left is reported.
    fn rollback_out_of_time(&mut self) {
        self.rollback_until = None;
        if self.is_ending() {
            return;
        }
        for step in 0..self.progress.len() {
            if !self.is_settled(step) {
                if self.is_harmless(step) {
                    if let Some(progress) = self.progress.get_mut(step) {
                        progress.end(Stage::Unknown);
                    }
                } else {
                    self.leak(step, LeakReason::OutOfTime);
                }
            }
        }
    }

    // G3: probes.

    fn probe(&mut self, step: usize, effects: &mut Vec<Effect>) {
        let limit = self.config.steps.get(step).map_or(1, |step| step.verify_limit);
        let pending = self.start_operation(limit);
        if let Some(progress) = self.progress.get_mut(step)
            && let Stage::Busy(work, _) = progress.stage
        {
            progress.probes = progress.probes.saturating_sub(1);
            progress.stage = Stage::Busy(work, Moment::Running(pending));
            effects.push(Effect::Verify { operation: pending.operation, step: number_of(step), limit });
        }
    }

    /// What a probe found; none if it could not tell.
    fn probe_answered(&mut self, step: usize, found: Option<bool>) {
        let now = self.now();
        let (Some(settings), Some(progress)) = (self.config.steps.get(step), self.progress.get_mut(step))
        else {
            return;
        };
        let Stage::Busy(work, _) = progress.stage else { return };
        match (work, found) {
            (_, None) if progress.probes > 0 => {
                let pause = progress.escalation.next(&settings.backoff, &mut self.random, None);
                progress.stage = Stage::Busy(work, Moment::Due(add(now, pause)));
            }
            // G2: the pivot, or what comes after it.
            (Work::Decide, Some(true)) => self.do_answered(step, DoOutcome::Done),
            (Work::Decide, Some(false)) if settings.lateness.is_some() => {
                progress.doubt = false;
                progress.hold = None;
                self.do_answered(step, DoOutcome::Clean);
            }
            (Work::Decide, _) => self.fail(step),
            // G3: after an undo.
            (_, Some(false)) => self.settle(step, Work::Undo, None),
            (_, Some(true)) if progress.sure && progress.again => {
                progress.begin(settings.undo_retries);
                progress.probes = settings.undo_retries.saturating_add(1);
                progress.again = false;
                progress.stage = Stage::Busy(Work::Undo, Moment::Due(now));
                self.intend_undo(step);
            }
            (_, Some(true)) => {
                let reason = if progress.sure { LeakReason::StillThere } else { LeakReason::UndoFailed };
                self.settle(step, Work::Undo, Some(reason));
            }
            (_, None) => {
                let reason = if progress.sure { LeakReason::Unverified } else { LeakReason::UndoFailed };
                self.settle(step, Work::Undo, Some(reason));
            }
        }
    }

    // G7: operators.

    fn retry(&mut self, number: u32, input: &Input) -> Result<(), Rejection> {
        let impossible = self.reject(RejectionCode::ImpossibleNow, input);
        let step = index_of(number);
        let (Some(settings), Some(progress)) = (self.config.steps.get(step), self.progress.get_mut(step))
        else {
            return Err(self.reject(RejectionCode::ValueOutOfRange, input));
        };
        match (self.phase, progress.stage) {
            (Phase::Stuck, Stage::Leaked(_)) => {
                progress.end(progress.taken());
                self.phase = Phase::Unwinding;
                self.rollback_until = Some(add(self.clock.now(), self.config.rollback_deadline));
                self.note(SagaRecord::Retried, Some(step), 0, 0);
            }
            (Phase::Unfinished, Stage::Clean | Stage::Unknown)
                if !progress.doubt || settings.idempotent || settings.verify =>
            {
                progress.begin(settings.retries);
                self.phase = Phase::Running;
                self.note(SagaRecord::Retried, Some(step), 0, 0);
                self.forget_origin(step);
                self.try_again(step);
            }
            _ => return Err(impossible),
        }
        Ok(())
    }

    /// Tries a step again whose attempts were over, or has it decided.
    fn try_again(&mut self, step: usize) {
        let idempotent = self.config.steps.get(step).is_some_and(|step| step.idempotent);
        if self.progress.get(step).is_some_and(|progress| progress.doubt && !idempotent) {
            self.give_up(step);
        } else {
            self.intend_do(step);
        }
    }

    fn resolve(&mut self, number: u32, present: bool, input: &Input) -> Result<(), Rejection> {
        let impossible = self.reject(RejectionCode::ImpossibleNow, input);
        let step = index_of(number);
        let Some(progress) = self.progress.get_mut(step) else {
            return Err(self.reject(RejectionCode::ValueOutOfRange, input));
        };
        match (self.phase, progress.stage, present) {
            (Phase::Stuck, Stage::Leaked(_), false) => {
                progress.doubt = false;
                progress.end(Stage::Resolved);
                self.phase = Phase::Unwinding;
                self.rollback_until = Some(add(self.clock.now(), self.config.rollback_deadline));
            }
            (Phase::Unfinished, Stage::Clean | Stage::Unknown, true) => {
                self.phase = Phase::Running;
                self.took_effect(step);
                self.forget_origin(step);
            }
            (Phase::Unfinished, Stage::Unknown, false) => {
                progress.doubt = false;
                progress.end(Stage::Clean);
                self.phase = Phase::Running;
            }
            _ => return Err(impossible),
        }
        self.note(SagaRecord::Resolved, Some(step), 0, u64::from(present));
        Ok(())
    }

    /// This step is no cause any more; another one that failed is.
    fn forget_origin(&mut self, step: usize) {
        let failing = |(index, progress): (usize, &Progress)| {
            let cause = match progress.stage {
                Stage::Clean => SagaCause::StepFailed,
                Stage::Unknown => SagaCause::StepUnknown,
                _ => return None,
            };
            (index != step).then(|| Origin { cause, step: Some(number_of(index)), attempt: progress.attempt })
        };
        if self.origin.is_some_and(|origin| origin.step == Some(number_of(step))) {
            self.origin = self.progress.iter().enumerate().find_map(failing);
        }
    }

    // Answers.

    fn answered(
        &mut self,
        operation: OperationId,
        input: &Input,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Rejection> {
        if self.appending.is_some_and(|pending| pending.operation == operation) {
            match input {
                Input::Done { .. } => self.durable(effects),
                Input::Failed { .. } | Input::Unknown { .. } => self.halt(effects),
                Input::Fenced { .. } => self.fence_off(effects),
                _ => return Err(self.reject(RejectionCode::ImpossibleNow, input)),
            }
            return Ok(());
        }
        let running = |progress: &Progress| match progress.stage {
            Stage::Busy(work, Moment::Running(pending)) if pending.operation == operation => Some(work),
            _ => None,
        };
        let awaited =
            self.progress.iter().enumerate().find_map(|(step, progress)| Some((step, running(progress)?)));
        let Some((step, work)) = awaited else {
            return match self.operations.judge(operation, None) {
                Answer::NeverIssued => Err(self.reject(RejectionCode::NeverIssued, input)),
                Answer::Awaited | Answer::Late => Ok(()),
            };
        };
        match (work, input) {
            (Work::Do, Input::Done { .. }) => self.do_answered(step, DoOutcome::Done),
            (Work::Do, Input::Failed { .. }) => self.do_answered(step, DoOutcome::Clean),
            (Work::Do, Input::Unknown { .. }) => self.do_answered(step, DoOutcome::Unknown),
            (Work::Undo | Work::FallBack, Input::Done { .. }) => self.undo_answered(step, UndoOutcome::Done),
            (Work::Undo | Work::FallBack, Input::Failed { .. }) => {
                self.undo_answered(step, UndoOutcome::Failed)
            }
            (Work::Undo | Work::FallBack, Input::Unknown { .. }) => {
                self.undo_answered(step, UndoOutcome::Unknown)
            }
            (Work::Decide | Work::Check, Input::Present { .. }) => self.probe_answered(step, Some(true)),
            (Work::Decide | Work::Check, Input::Absent { .. }) => self.probe_answered(step, Some(false)),
            (Work::Decide | Work::Check, Input::Failed { .. } | Input::Unknown { .. }) => {
                self.probe_answered(step, None)
            }
            _ => return Err(self.reject(RejectionCode::ImpossibleNow, input)),
        }
        Ok(())
    }

    // Explaining.

    fn name_of(&self, step: Option<u32>) -> &str {
        let step = step.and_then(|step| self.config.steps.get(index_of(step)));
        step.map_or("", |step| &step.name)
    }

    fn because(&self) -> String {
        let cause = self.origin.map(|Origin { cause, step, attempt }| match cause {
            SagaCause::StepFailed => format!("`{}` failed, attempt {attempt}", self.name_of(step)),
            SagaCause::StepUnknown => {
                format!("nobody knows what `{}` did, attempt {attempt}", self.name_of(step))
            }
            SagaCause::Cancelled => String::from("it was cancelled"),
        });
        let cause = cause.unwrap_or_default();
        let leaks = || {
            let names = self
                .leaked()
                .map(|(step, reason)| format!("`{}` ({})", self.name_of(Some(step)), reason.as_str()));
            names.collect::<Vec<_>>().join(", ")
        };
        match self.phase {
            Phase::Idle => String::from("nothing was begun"),
            Phase::Running if cause.is_empty() => String::from("it was begun, and nothing has failed"),
            Phase::Running => format!("{cause}, and there is only forward"),
            Phase::Unwinding => cause,
            Phase::Committed => String::from("every step is done"),
            Phase::RolledBack => format!("{cause}, and everything was undone"),
            Phase::Stuck => format!("{cause}, and not everything could be undone: {}", leaks()),
            Phase::Unfinished => format!("{cause}, where nothing can be undone; there are: {}", leaks()),
            Phase::Fenced => String::from("another executor has it"),
            Phase::Refused => String::from("its journal is no journal of this saga"),
        }
    }

    fn waits_for(&self) -> String {
        if !self.is_active() {
            return match self.phase {
                Phase::Stuck | Phase::Unfinished => String::from("an operator"),
                _ => String::new(),
            };
        }
        let now = self.now();
        let mut waits = Vec::new();
        if let (Some(pending), Some(note)) = (self.appending, self.queue.first()) {
            let left = until(now, pending.until);
            waits.push(format!("the journal, record `{}`, {left} ms at most", note.kind.as_str()));
        }
        for (progress, step) in self.progress.iter().zip(&self.config.steps) {
            let Stage::Busy(work, moment) = progress.stage else { continue };
            let (work, name) = (work.as_str(), &step.name);
            match moment {
                Moment::Intended => {}
                Moment::Running(pending) => {
                    let left = until(now, pending.until);
                    waits.push(format!("{work} of `{name}`, {left} ms at most"));
                }
                Moment::Due(at) => {
                    waits.push(format!("{work} of `{name}`, to be made in {} ms", until(now, at)));
                }
            }
        }
        waits.join("; ")
    }

    /// Whether a machine can be in this state: for records.
    fn is_possible(&self) -> bool {
        let steps = self.config.steps.len();
        let in_range = |step: Option<u32>| step.is_none_or(|step| index_of(step) < steps);
        let replaying = self.mode == Mode::Replaying;
        let halted = self.mode == Mode::Halted;
        let active = self.is_active();
        let each = self.progress.iter().enumerate();
        let queued = self.queue.iter().all(|note| in_range(note.step));
        let finals = self.queue.iter().filter(|note| note.is_final()).count();
        self.progress.len() == steps
            && self.sequence <= MAX_TIME
            && queued
            && finals == usize::from(self.is_ending())
            && (!self.is_ending() || self.may_end())
            && in_range(self.origin.and_then(|origin| origin.step))
            && (self.appending.is_some() == (!self.queue.is_empty() && self.mode == Mode::Live))
            && (active || self.queue.is_empty())
            && (!replaying || self.queue.is_empty())
            && (!replaying || self.phase != Phase::Fenced)
            && (!replaying || self.phase != Phase::Refused)
            && (!halted || (active && !self.queue.is_empty()))
            && (self.rollback_until.is_none() || self.phase == Phase::Unwinding)
            && (self.rollback_until.is_some()
                || self.phase != Phase::Unwinding
                || replaying
                || self.is_ending())
            && each.clone().all(|(step, progress)| self.is_possible_step(step, progress))
            && (self.origin.is_some() || !self.needs_origin())
            && (self.is_resting() || self.next_timer().is_some())
    }

    fn needs_origin(&self) -> bool {
        let failed = |progress: &Progress| matches!(progress.stage, Stage::Clean | Stage::Unknown);
        match self.phase {
            Phase::Running => self.progress.iter().any(failed),
            Phase::Unwinding | Phase::RolledBack | Phase::Stuck | Phase::Unfinished => true,
            _ => false,
        }
    }

    /// Whether the record of the end that is in the queue is the right one.
    fn may_end(&self) -> bool {
        let leaks = self.progress.iter().any(|progress| matches!(progress.stage, Stage::Leaked(_)));
        let settled = (0..self.progress.len()).all(|step| self.is_settled(step));
        match (self.queue.last().map(|note| note.kind), self.phase) {
            (Some(SagaRecord::Committed), Phase::Running) => self.is_done(),
            (Some(SagaRecord::Stuck), Phase::Running) => !self.is_busy() && self.origin.is_some(),
            (Some(SagaRecord::RolledBack), Phase::Unwinding) => settled && !leaks,
            (Some(SagaRecord::Stuck), Phase::Unwinding) => settled && leaks,
            _ => false,
        }
    }

    fn is_possible_step(&self, step: usize, progress: &Progress) -> bool {
        let intended = |kind, attempt| {
            let step = Some(number_of(step));
            let matching = self.queue.iter().filter(|note| note.kind == kind && note.step == step);
            let mut matching = matching.map(|note| note.attempt);
            self.mode == Mode::Replaying || (matching.next() == Some(attempt) && matching.next().is_none())
        };
        let unwound = matches!(self.phase, Phase::Unwinding | Phase::RolledBack | Phase::Stuck);
        let undoable =
            self.config.steps.get(step).is_some_and(|step| step.compensation == Compensation::Undo);
        let verifiable = self.config.steps.get(step).is_some_and(|step| step.verify);
        let replaying = self.mode == Mode::Replaying;
        let busy = match progress.stage {
            Stage::Busy(Work::Do, Moment::Intended) => {
                (self.phase == Phase::Running || (unwound && replaying))
                    && intended(SagaRecord::Intent, progress.attempt)
            }
            Stage::Busy(Work::Do, Moment::Running(_)) => !replaying,
            Stage::Busy(Work::Do, Moment::Due(_)) => self.phase == Phase::Running,
            Stage::Busy(Work::Decide, moment) => {
                self.phase == Phase::Running && verifiable && !replaying && moment != Moment::Intended
            }
            Stage::Busy(work, moment) => {
                let kind =
                    if work == Work::FallBack { SagaRecord::FallbackIntent } else { SagaRecord::UndoIntent };
                let moment = match moment {
                    Moment::Intended => work != Work::Check && intended(kind, progress.undo_attempt),
                    Moment::Running(_) | Moment::Due(_) => !replaying && (work != Work::Check || verifiable),
                };
                unwound && undoable && moment
            }
            Stage::Undone | Stage::FellBack | Stage::Leaked(_) | Stage::Resolved => {
                undoable && (unwound || self.phase == Phase::Fenced)
            }
            Stage::Done | Stage::Unknown | Stage::Waiting | Stage::Clean => true,
        };
        let is_busy = matches!(progress.stage, Stage::Busy(..));
        let pivot = self.plan.pivot == Some(step)
            || self.plan.links.get(step).is_some_and(|links| links.forward_only);
        let phase = match self.phase {
            Phase::Idle | Phase::Refused => *progress == Progress::new(),
            Phase::Committed => progress.stage == Stage::Done,
            Phase::RolledBack => self.is_settled(step) && !matches!(progress.stage, Stage::Leaked(_)),
            Phase::Stuck => self.is_settled(step),
            Phase::Unfinished | Phase::Fenced => !is_busy,
            // There is no unwinding while the pivot may have happened, and nothing comes after it.
            Phase::Unwinding => {
                let never_began =
                    replaying && progress.stage == Stage::Busy(Work::Do, Moment::Intended) && !progress.doubt;
                !pivot || never_began || matches!(progress.stage, Stage::Waiting | Stage::Clean)
            }
            Phase::Running => true,
        };
        busy && phase
    }
}

#[cfg(test)]
mod tests;
