//! What a saga remembers: of each step, of the journal, of the cause.

use super::{LeakReason, SagaCause, SagaRecord};
use crate::backoff::Escalation;
use crate::{Millis, OperationId, Reader, Record, RecordFault, Writer};

names! {
    /// How the machine stands to the journal.
    pub enum Mode {
        /// Appending.
        Live = "live",
        /// Reading it.
        Replaying = "replaying",
        /// An append failed: the first record of the queue may be durable or not.
        Halted = "halted",
    }
}

/// An operation that the host has under way, and when it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    pub(super) operation: OperationId,
    pub(super) until: Millis,
}
record_fields!(Pending { operation, until });

names! {
    /// What is made of a step.
    pub enum Work {
        /// Its do.
        Do = "do",
        /// A probe for what its do did, where there is only forward.
        Decide = "decide",
        /// Its undo.
        Undo = "undo",
        /// A probe for whether its undo worked.
        Check = "check",
        /// Its fallback.
        FallBack = "fall-back",
    }
}

/// How far that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Moment {
    /// Its intent is in the queue.
    Intended,
    Running(Pending),
    /// It is to be made, maybe again, at this time.
    Due(Millis),
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Waiting,
    Busy(Work, Moment),
    Done,
    /// Tried, and certainly without effect.
    Clean,
    /// Tried, and nobody knows.
    Unknown,
    Undone,
    FellBack,
    Leaked(LeakReason),
    /// An operator has removed it.
    Resolved,
}

/// A step and what it has been through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Progress {
    pub(super) stage: Stage,
    /// Attempts of the do so far.
    pub(super) attempt: u32,
    /// Attempts of the undo and the fallback so far.
    pub(super) undo_attempt: u32,
    /// Attempts that what is under way has left.
    pub(super) budget: u32,
    /// Probes that it has left.
    pub(super) probes: u32,
    pub(super) escalation: Escalation,
    /// Whether the outcome of an attempt is unknown, and no later one has settled it.
    pub(super) doubt: bool,
    /// Not undone before.
    pub(super) hold: Option<Millis>,
    /// An attempt may land until then.
    pub(super) late: Option<Millis>,
    /// Whether the last undo said that it succeeded.
    pub(super) sure: bool,
    /// Whether what is found after an undo may be undone once more.
    pub(super) again: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Waiting,
            attempt: 0,
            undo_attempt: 0,
            budget: 0,
            probes: 0,
            escalation: Escalation::default(),
            doubt: false,
            hold: None,
            late: None,
            sure: false,
            again: false,
        }
    }

    /// What it is when nothing is made of it: there, or maybe there.
    pub(super) fn taken(&self) -> Stage {
        if self.doubt { Stage::Unknown } else { Stage::Done }
    }

    /// What it is after a do that certainly had no effect.
    pub(super) fn untaken(&self) -> Stage {
        match (self.doubt, self.attempt) {
            (true, _) => Stage::Unknown,
            (false, 0) => Stage::Waiting,
            (false, _) => Stage::Clean,
        }
    }

    /// Begins something with this many retries.
    pub(super) fn begin(&mut self, retries: u32) {
        self.budget = retries.saturating_add(1);
        self.escalation.reset();
    }

    /// The end of what was under way.
    pub(super) fn end(&mut self, stage: Stage) {
        self.stage = stage;
        self.budget = 0;
        self.probes = 0;
        self.escalation.reset();
        self.sure = false;
        self.again = false;
        if matches!(stage, Stage::Undone | Stage::FellBack | Stage::Resolved | Stage::Clean) {
            self.hold = None;
            self.late = None;
        }
    }
}

/// A record that is to be made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Note {
    pub(super) kind: SagaRecord,
    pub(super) step: Option<u32>,
    pub(super) attempt: u32,
    pub(super) value: u64,
}
record_fields!(Note { kind, step, attempt, value });

impl Note {
    pub(super) fn is_final(&self) -> bool {
        matches!(self.kind, SagaRecord::Committed | SagaRecord::RolledBack | SagaRecord::Stuck)
    }
}

/// Why the saga is not going to commit (G6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) cause: SagaCause,
    pub(super) step: Option<u32>,
    pub(super) attempt: u32,
}
record_fields!(Origin { cause, step, attempt });

impl Origin {
    pub(super) const CANCEL: Self = Self { cause: SagaCause::Cancelled, step: None, attempt: 0 };
}

impl Record for Progress {
    fn write(&self, to: &mut Writer) {
        self.stage.write(to);
        self.attempt.write(to);
        self.undo_attempt.write(to);
        self.budget.write(to);
        self.probes.write(to);
        self.escalation.write(to);
        to.flag(self.doubt);
        to.optional(self.hold);
        to.optional(self.late);
        to.flag(self.sure);
        to.flag(self.again);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        Ok(Self {
            stage: Record::read(from)?,
            attempt: Record::read(from)?,
            undo_attempt: Record::read(from)?,
            budget: Record::read(from)?,
            probes: Record::read(from)?,
            escalation: Record::read(from)?,
            doubt: from.flag()?,
            hold: from.timer()?,
            late: from.timer()?,
            sure: from.flag()?,
            again: from.flag()?,
        })
    }
}

impl Record for Stage {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Waiting => to.number(0),
            Self::Busy(work, Moment::Intended) => {
                to.number(1);
                work.write(to);
            }
            Self::Busy(work, Moment::Running(pending)) => {
                to.number(2);
                work.write(to);
                pending.write(to);
            }
            Self::Busy(work, Moment::Due(at)) => {
                to.number(3);
                work.write(to);
                to.number(*at);
            }
            Self::Done => to.number(4),
            Self::Clean => to.number(5),
            Self::Unknown => to.number(6),
            Self::Undone => to.number(7),
            Self::FellBack => to.number(8),
            Self::Leaked(reason) => {
                to.number(9);
                reason.write(to);
            }
            Self::Resolved => to.number(10),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        Ok(match from.number()? {
            0 => Self::Waiting,
            1 => Self::Busy(Record::read(from)?, Moment::Intended),
            2 => Self::Busy(Record::read(from)?, Moment::Running(Record::read(from)?)),
            3 => Self::Busy(Record::read(from)?, Moment::Due(from.time()?)),
            4 => Self::Done,
            5 => Self::Clean,
            6 => Self::Unknown,
            7 => Self::Undone,
            8 => Self::FellBack,
            9 => Self::Leaked(Record::read(from)?),
            10 => Self::Resolved,
            _ => return Err(RecordFault::Corrupt),
        })
    }
}
