//! Operations: what a host must finish before something else goes on.

use crate::{Reader, Record, RecordFault, Writer};

/// Names one operation of one machine. They count up from 1 and are never used again.
pub type OperationId = u32;

/// What an id means to the machine that is asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It is the one that is outstanding: act on it.
    Awaited,
    /// It was issued and is over (answered or out of time): a no-op.
    Late,
    /// It was never issued: the host's mistake.
    NeverIssued,
}

/// Issues the ids of operations (or of connections: their generations), and tells late answers from made-up
/// ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Operations {
    issued: OperationId,
}

impl Operations {
    /// The next id. After 2^32 − 1 of them the last one is used again, so that nothing wraps to a stale id.
    pub fn issue(&mut self) -> OperationId {
        self.issued = self.issued.saturating_add(1);
        self.issued
    }

    /// What `id` means when `awaited` is the one outstanding.
    #[must_use]
    pub fn judge(&self, id: OperationId, awaited: Option<OperationId>) -> Answer {
        if awaited == Some(id) {
            Answer::Awaited
        } else if id >= 1 && id <= self.issued {
            Answer::Late
        } else {
            Answer::NeverIssued
        }
    }

    /// The counter itself, for [`Rules::normalize`](crate::Rules::normalize).
    pub fn counter(&mut self) -> &mut OperationId {
        &mut self.issued
    }

    /// How many were issued.
    #[must_use]
    pub fn issued(&self) -> u32 {
        self.issued
    }
}

impl Record for Operations {
    fn write(&self, to: &mut Writer) {
        to.number(u64::from(self.issued));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        Ok(Self { issued: from.small()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up_from_1() {
        let mut operations = Operations::default();
        assert_eq!([operations.issue(), operations.issue(), operations.issue()], [1, 2, 3]);
        assert_eq!(operations.issued(), 3);
    }

    #[test]
    fn an_answer_is_awaited_late_or_made_up() {
        let operations = Operations { issued: 3 };
        let judged = [0, 1, 2, 3, 4, u32::MAX].map(|id| operations.judge(id, Some(2)));
        use Answer::{Awaited, Late, NeverIssued};
        assert_eq!(judged, [NeverIssued, Late, Awaited, Late, NeverIssued, NeverIssued]);
        assert_eq!(operations.judge(3, None), Late);
        assert_eq!(Operations::default().judge(1, None), NeverIssued);
    }

    #[test]
    fn the_last_id_is_used_again_rather_than_a_stale_one() {
        let mut operations = Operations { issued: u32::MAX - 1 };
        assert_eq!([operations.issue(), operations.issue()], [u32::MAX; 2]);
    }
}
