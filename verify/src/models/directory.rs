//! Directory (R2–R4): one row, and messages of any relay in any order.

use tidegate::directory::{Config, Directory, Effect, Input, Row};
use tidegate::{Millis, Rules};

use crate::alone::{Alone, Cause, Seen};
use crate::explore::Watch;

/// The greatest epoch that is granted in the model: the number of registrations that can follow one another.
const LAST: u64 = 4;
/// Two machines, one of them with two lives.
const LIVES: &[(u32, u64)] = &[(1, 1), (1, 2), (2, 1)];

/// What was granted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Granted {
    /// The greatest epoch that a registration was ever granted.
    greatest: u64,
    /// How long ago the owner registered or renewed.
    fresh: Millis,
}

impl Alone for Directory {
    type Observer = Granted;
    const PROPERTIES: &'static [&'static str] = &[
        "R2: epochs only grow, also over removals and expiry",
        "R2: a grant to another owner or of another registration is greater than every one before it",
        "R2: what is refused changes nothing",
        "R2: a stale writer changes nothing: an owner ends only by its own life, a later grant or expiry",
        "R2: a row lives for a TTL past its last renew, and not longer",
        "R3: a clear of earlier lives takes no row of this or another machine's life",
        "R3: a clear of one life takes no row of another",
        "R4: a look changes nothing and says who owns the row",
    ];
    const GRAIN: Millis = 50;
    const LATE: &'static [Millis] = &[50];
    const REST: &'static [Millis] = &[100];

    fn inputs(&self, _: &Granted, _: u32, inputs: &mut Vec<Input>) {
        inputs.push(Input::Look);
        for &(machine, incarnation) in LIVES {
            inputs.push(Input::ClearEarlier { machine, incarnation });
            inputs.push(Input::ClearOwn { machine, incarnation });
            for epoch in 0..=LAST {
                if epoch < LAST {
                    inputs.push(Input::Register { machine, incarnation, epoch });
                }
                inputs.push(Input::Renew { machine, incarnation, epoch });
                inputs.push(Input::Unregister { machine, incarnation, epoch });
            }
        }
        // Beyond the last epoch: refused as no number of this contract.
        let (machine, incarnation, epoch) = (1, 1, 1 << 53);
        inputs.push(Input::Renew { machine, incarnation, epoch: epoch - 1 });
        inputs.push(Input::Register { machine, incarnation, epoch: epoch - 1 });
    }

    fn observe(granted: &mut Granted, seen: &Seen<'_, Self>, first: usize, watch: &mut Watch) {
        let Ok(step) = seen.answer else { return };
        let ttl = seen.after.config().ttl;
        if let Cause::Time(passed) = seen.cause {
            granted.fresh = (granted.fresh + passed).min(ttl);
        }
        let (before, after) = (seen.before.row(), seen.after.row());
        watch.check(first, after.last >= before.last);
        if let (Some(_), Cause::Time(_)) = (before.owner, &seen.cause) {
            watch.check(first + 4, after.owner.is_some() == (granted.fresh < ttl));
        }
        let Cause::Input(input) = &seen.cause else { return };
        let Some(answer) = step.effects.first() else { return };
        let owner = |row: Row| row.owner.map(|owner| (owner.machine, owner.incarnation, owner.epoch));
        let gone = before.owner.is_some() && after.owner.is_none();
        let changed = owner(before) != owner(after) || before.last != after.last;
        if let Effect::Refused { epoch, .. } = *answer {
            watch.check(first + 2, after == before && epoch == before.last);
        }
        match **input {
            Input::Register { machine, incarnation, epoch } => {
                if let Effect::Registered { epoch: grant } = *answer {
                    granted.fresh = 0;
                    watch.check(
                        first + 3,
                        grant == epoch + 1 && owner(after) == Some((machine, incarnation, grant)),
                    );
                    if owner(before) != owner(after) {
                        watch.check(first + 1, grant > granted.greatest && grant > before.last);
                        granted.greatest = grant;
                    }
                }
            }
            Input::Renew { machine, incarnation, epoch } => {
                watch.check(first + 3, !changed);
                if let Effect::Renewed { .. } = answer {
                    granted.fresh = 0;
                    watch.check(first + 3, owner(before) == Some((machine, incarnation, epoch)));
                }
            }
            Input::Unregister { machine, incarnation, epoch } => {
                let own = owner(before) == Some((machine, incarnation, epoch));
                watch.check(first + 3, gone == own && (own || owner(before) == owner(after)));
            }
            Input::ClearEarlier { machine, incarnation } => {
                let earlier =
                    before.owner.is_some_and(|o| o.machine == machine && o.incarnation < incarnation);
                watch.check(first + 5, gone == earlier && after.last == before.last);
            }
            Input::ClearOwn { machine, incarnation } => {
                let own = before.owner.is_some_and(|o| (o.machine, o.incarnation) == (machine, incarnation));
                watch.check(first + 6, gone == own && after.last == before.last);
            }
            Input::Look => {
                let said = match *answer {
                    Effect::Owner { machine, incarnation, epoch } => Some((machine, incarnation, epoch)),
                    _ => None,
                };
                let known =
                    owner(before).map(|(machine, incarnation, _)| (machine, incarnation, before.last));
                watch.check(first + 7, before == after && said == known);
            }
        }
    }
}

/// In words.
pub const BOUNDS: &str = "1 row; 2 machines, 3 lives; any command in any order; epochs ≤ 4; TTL in quarters";

/// One TTL.
#[must_use]
pub fn configs() -> Vec<Config> {
    vec![Config { ttl: 200 }]
}
