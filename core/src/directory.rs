//! Directory: who owns which tunnel (rules R2–R4). One row is one machine; a store holds many.
//!
//! Several relay machines share a directory that says which of them holds the tunnel of which host. A row is
//! about one host. All that may ever happen to a row is the pure function [`decide`]; a store runs it (or a
//! statement of its own that a differential test proves equal to it) atomically, per row. [`Directory`] is one
//! row as a machine, for the in-memory store, for vectors and for the explorer.
//!
//! # The row
//!
//! A [`Row`] is `last`, the greatest epoch that was ever granted or given up for this host, and the owner, if
//! there is one: a life of a machine (`machine`, `incarnation`), the epoch of its registration and the time at
//! which the row expires. **`last` outlives the owner**: a store keeps it when the row is removed or expires,
//! for at least as long as a late message can still arrive (a day is plenty). That is what makes an epoch grow
//! strictly even over a removal, and what a late retry stumbles over. A store that lost it anyway is healed by
//! the relays: they carry the greatest epoch that they know.
//!
//! Expiry is removal: at `until` the row has no owner, whether or not a store has noticed.
//!
//! # Epochs, and what a relay must do
//!
//! A registration is a compare-and-set. A relay looks the row up when a connection *opens* and registers with
//! the epoch `k` that it saw; if no later epoch was granted meanwhile it is granted `k + 1`, always. So:
//!
//! * a newer connection wins over the row of an older one, whoever holds that: it looked later;
//! * a late retry of the older one, which knows only an earlier epoch, changes nothing;
//! * a relay knows which epoch it asked for even when the answer was lost, so it can take an unknown
//!   registration back: `unregister` with `k + 1`.
//!
//! For this a relay keeps two promises. One registration carries one `k`, each time it is sent. Two
//! registrations of one life for one host never carry the same `k`: where a second connection of a host opens
//! while the registration of the first is still under way, it takes the `k + 1` that the first one asked for.
//! Then (life, epoch) names one registration, and a repeated one is answered as it was the first time.
//!
//! Taking back a registration that has not landed yet bars it: `unregister` of an epoch later than `last`
//! raises `last`, and the late registration is refused when it comes.
//!
//! # The decisions
//!
//! `e` is the command's epoch. A row that has expired is a vacant one. *Refused* never changes anything.
//!
//! | command | vacant | owned by this life, epoch `o` | owned by another life, epoch `o` |
//! | --- | --- | --- | --- |
//! | register, `e ≥ last` | registered, `e + 1` | registered, `e + 1` | registered, `e + 1` |
//! | register, `e < last` | refused: no row | `e + 1 = o`: registered, `o` again; else refused: stale epoch | refused: stale epoch |
//! | renew, `e = o` | refused: no row | renewed | refused: other owner |
//! | renew, `e < o` | refused: no row | refused: stale epoch | refused: stale epoch |
//! | renew, `e > o` | refused: no row | refused: no row | refused: other owner |
//! | unregister, `e > last` | removed: barred | removed: barred, the owner stays | removed: barred, the owner stays |
//! | unregister, `e ≤ last` | refused: no row | as renew, but removed for renewed | as renew |
//! | clear earlier | kept | kept | same machine, lower incarnation: removed; else kept |
//! | clear own | kept | removed | kept |
//! | look | nobody | owner | owner |
//!
//! What a refusal tells its caller: *no row* means that nobody is there, so a live owner registers again with
//! the epoch that came with the refusal; *stale epoch* and *other owner* mean that somebody else is, so it
//! gives way. Every answer carries `last`, the epoch to register with (R4: a relay that is asked for a tunnel
//! it no longer has says so, and the asker looks again, once).
//!
//! A registration of a life that died meanwhile can still land, if nobody registered since; its row lives for
//! one TTL. No message can keep a row of a dead life longer than one TTL after it arrived.
//!
//! # States
//!
//! | state | waits for |
//! | --- | --- |
//! | `vacant` | the world (resting) |
//! | `owned` | a renew, until the row expires |

use alloc::string::String;
use alloc::vec::Vec;

use crate::contract::shift;
use crate::{
    Clock, Deadline, Explanation, Faults, MAX_TIME, Message, Millis, Name, Random, Reader, Record,
    RecordFault, Rejection, RejectionCode, Rules, Writer, add,
};

/// The last epoch: 2^53 − 1, as it crosses to JavaScript (and Redis' Lua) as an exact number.
pub const MAX_EPOCH: u64 = MAX_TIME;

settings! {
    /// How rows live.
    pub struct Config as "DirectoryConfig" {
        /// How long a row lives past its last renew. Milliseconds. Three renews of the default interval, so that
        /// one lost renew and one slow retry cost nobody their row.
        ttl: Millis = 90_000,
    }
}

messages! {
    /// A command on one row. `machine` is a number that the store gives to a machine's name.
    pub enum Input as "DirectoryInput" {
        /// Take the row, with the epoch after the one that is carried.
        Register = "register" {
            /// Which machine.
            machine: u32,
            /// Which life of that machine; a later life has a greater one.
            incarnation: u64,
            /// The greatest epoch that this life knew or had asked for, for this host, when the connection
            /// opened; 0 for none. The same at each retry, and never the same for two connections.
            epoch: u64,
        },
        /// Keep the row.
        Renew = "renew" {
            /// Which machine.
            machine: u32,
            /// Which life of it.
            incarnation: u64,
            /// The epoch of the registration.
            epoch: u64,
        },
        /// Give the row up, or take back a registration of unknown outcome.
        Unregister = "unregister" {
            /// Which machine.
            machine: u32,
            /// Which life of it.
            incarnation: u64,
            /// The epoch of the registration: the one that it carried, plus one.
            epoch: u64,
        },
        /// Clear the row if it belongs to this machine in a life before `incarnation` (R3).
        ClearEarlier = "clear-earlier" {
            /// Which machine.
            machine: u32,
            /// The present life.
            incarnation: u64,
        },
        /// Clear the row if it belongs to exactly this life of the machine (D5).
        ClearOwn = "clear-own" {
            /// Which machine.
            machine: u32,
            /// Which life of it.
            incarnation: u64,
        },
        /// Who owns the row?
        Look = "look",
    }
}

names! {
    /// Why a command was refused.
    pub enum Refusal {
        /// A later epoch was granted since.
        StaleEpoch = "stale-epoch",
        /// Another machine, or another life of this one, owns the row, though with no later epoch.
        OtherOwner = "other-owner",
        /// Nobody owns the row (it expired, was cleared or lost): register again.
        NoRow = "no-row",
    }
}

messages! {
    /// The directory's answer.
    pub enum Effect as "DirectoryEffect" {
        /// Registered.
        Registered = "registered" {
            /// The new epoch.
            epoch: u64,
        },
        /// Renewed.
        Renewed = "renewed" {
            /// The epoch.
            epoch: u64,
        },
        /// Removed, by its owner or by a clear; or barred, when the registration has not landed yet.
        Removed = "removed" {
            /// The epoch that it had, or would have had.
            epoch: u64,
        },
        /// The clear does not concern this row.
        Kept = "kept",
        /// Refused.
        Refused = "refused" {
            /// Why.
            refusal: Refusal,
            /// The last epoch granted: what the next register carries.
            epoch: u64,
        },
        /// The owner.
        Owner = "owner" {
            /// Which machine.
            machine: u32,
            /// Which life of it.
            incarnation: u64,
            /// The last epoch granted: what the next register carries.
            epoch: u64,
        },
        /// Nobody.
        Nobody = "nobody" {
            /// The last epoch granted, or 0: what the next register carries.
            epoch: u64,
        },
    }
}

names! {
    /// Where a row is.
    pub enum State {
        /// Nobody owns it.
        Vacant = "vacant",
        /// Somebody owns it, until it expires.
        Owned = "owned",
    }
}

names! {
    /// Why a row wants to be woken.
    pub enum Why {
        /// Its TTL is over.
        Expiry = "expiry",
    }
}

/// Who holds a row: one registration of one life of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Owner {
    /// Which machine, by the number that the store gave to its name.
    pub machine: u32,
    /// Which life of it; a later life has a greater one.
    pub incarnation: u64,
    /// The epoch of the registration.
    pub epoch: u64,
    /// When the row expires, by the store's clock. Milliseconds.
    pub until: Millis,
}

impl Owner {
    fn is(&self, machine: u32, incarnation: u64) -> bool {
        self.machine == machine && self.incarnation == incarnation
    }
}

/// What a store keeps about one host. The default is a host that was never seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Row {
    /// The greatest epoch that was ever granted or barred. Kept when the owner goes.
    pub last: u64,
    /// Who owns it.
    pub owner: Option<Owner>,
}

impl Row {
    /// The row as it is at `now`: one that has expired has no owner.
    #[must_use]
    pub fn at(self, now: Millis) -> Self {
        Self { owner: self.owner.filter(|owner| now < owner.until), ..self }
    }

    /// Whether `epoch` may be given up by this life, which must hold the row under it; or why not.
    fn held(&self, machine: u32, incarnation: u64, epoch: u64) -> Result<Owner, Refusal> {
        match self.owner {
            None => Err(Refusal::NoRow),
            Some(owner) if epoch < owner.epoch => Err(Refusal::StaleEpoch),
            Some(owner) if !owner.is(machine, incarnation) => Err(Refusal::OtherOwner),
            Some(owner) if epoch > owner.epoch => Err(Refusal::NoRow),
            Some(owner) => Ok(owner),
        }
    }
}

/// What a command does to a row at the store's `now`, and its answer. `ttl` is how long a row lives past its
/// last renew.
///
/// Total: every command has an answer on every row. A register that carries [`MAX_EPOCH`] is refused, as there
/// is none after it.
#[must_use]
pub fn decide(row: Row, command: &Input, now: Millis, ttl: Millis) -> (Row, Effect) {
    let row = row.at(now);
    let until = add(now, ttl);
    let vacant = Row { owner: None, ..row };
    let refused = |refusal| (row, Effect::Refused { refusal, epoch: row.last });
    match *command {
        // R2: a compare-and-set on the last epoch, so a newer connection wins and a late retry does not.
        Input::Register { machine, incarnation, epoch } if epoch >= row.last && epoch < MAX_EPOCH => {
            let epoch = epoch.saturating_add(1);
            let owner = Owner { machine, incarnation, epoch, until };
            (Row { last: epoch, owner: Some(owner) }, Effect::Registered { epoch })
        }
        Input::Register { machine, incarnation, epoch } => match row.owner {
            // R2: the same registration once more, as its answer was lost or the message came twice.
            Some(owner) if owner.is(machine, incarnation) && owner.epoch == epoch.saturating_add(1) => {
                let kept = Row { owner: Some(Owner { until, ..owner }), ..row };
                (kept, Effect::Registered { epoch: owner.epoch })
            }
            Some(_) => refused(Refusal::StaleEpoch),
            None => refused(Refusal::NoRow),
        },
        // R2: a row lives for a TTL past the last renew of its owner.
        Input::Renew { machine, incarnation, epoch } => match row.held(machine, incarnation, epoch) {
            Ok(owner) => {
                (Row { owner: Some(Owner { until, ..owner }), ..row }, Effect::Renewed { epoch: owner.epoch })
            }
            Err(refusal) => refused(refusal),
        },
        // R2: a registration that is taken back before it landed is barred from landing.
        Input::Unregister { epoch, .. } if epoch > row.last => {
            (Row { last: epoch.min(MAX_EPOCH), ..row }, Effect::Removed { epoch: epoch.min(MAX_EPOCH) })
        }
        Input::Unregister { machine, incarnation, epoch } => match row.held(machine, incarnation, epoch) {
            Ok(owner) => (vacant, Effect::Removed { epoch: owner.epoch }),
            Err(refusal) => refused(refusal),
        },
        // R3: rows of this machine's earlier lives, and of nobody else.
        Input::ClearEarlier { machine, incarnation } => match row.owner {
            Some(owner) if owner.machine == machine && owner.incarnation < incarnation => {
                (vacant, Effect::Removed { epoch: owner.epoch })
            }
            _ => (row, Effect::Kept),
        },
        // R3, D5: rows of exactly this life, so that a successor on the same machine keeps its own.
        Input::ClearOwn { machine, incarnation } => match row.owner {
            Some(owner) if owner.is(machine, incarnation) => (vacant, Effect::Removed { epoch: owner.epoch }),
            _ => (row, Effect::Kept),
        },
        // R4: the owner of now, and the epoch that the next registration carries.
        Input::Look => match row.owner {
            Some(Owner { machine, incarnation, .. }) => {
                (row, Effect::Owner { machine, incarnation, epoch: row.last })
            }
            None => (row, Effect::Nobody { epoch: row.last }),
        },
    }
}

/// One row as a machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Directory {
    config: Config,
    clock: Clock,
    row: Row,
}

impl Directory {
    /// The row as it is now.
    #[must_use]
    pub fn row(&self) -> Row {
        self.row
    }

    fn at(&self) -> State {
        if self.row.owner.is_some() { State::Owned } else { State::Vacant }
    }
}

impl Rules for Directory {
    const NAME: &'static str = "directory";
    const SNAPSHOT_VERSION: u16 = 1;
    type Config = Config;
    type Input = Input;
    type Effect = Effect;
    type Why = Why;

    fn check(config: &Config, faults: &mut Faults) {
        faults.duration("ttl", config.ttl, 1);
    }

    fn start(config: Config, _: Random, clock: Clock) -> Self {
        Self { config, clock, row: Row::default() }
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
        self.at().as_str()
    }

    fn is_resting(&self) -> bool {
        self.row.owner.is_none()
    }

    fn next_timer(&self) -> Option<Deadline<Why>> {
        self.row.owner.map(|owner| Deadline { at: owner.until, why: Why::Expiry })
    }

    fn rebase(&mut self, now: Millis) {
        let from = self.clock.now();
        if let Some(owner) = &mut self.row.owner {
            shift(&mut owner.until, from, now);
        }
        self.clock.rebase(now);
    }

    fn fire(&mut self, why: Why, _: &mut Vec<Effect>) {
        match why {
            // R2: not renewed for a TTL.
            Why::Expiry => self.row = self.row.at(self.clock.now()),
        }
    }

    fn apply(&mut self, input: &Input, effects: &mut Vec<Effect>) -> Result<(), Rejection> {
        let (epoch, most) = match *input {
            Input::Register { epoch, .. } => (epoch, MAX_EPOCH.saturating_sub(1)),
            Input::Renew { epoch, .. } | Input::Unregister { epoch, .. } => (epoch, MAX_EPOCH),
            Input::ClearEarlier { .. } | Input::ClearOwn { .. } | Input::Look => (0, MAX_EPOCH),
        };
        if epoch > most {
            let code = RejectionCode::ValueOutOfRange;
            return Err(Rejection { code, input: input.type_name(), state: self.state() });
        }
        let (row, answer) = decide(self.row, input, self.clock.now(), self.config.ttl);
        self.row = row;
        effects.push(answer);
        Ok(())
    }

    fn explain(&self) -> Explanation {
        let now = self.clock.now();
        let (because, waits_for) = match self.row.owner {
            Some(Owner { machine, incarnation, epoch, .. }) => (
                alloc::format!("machine {machine} in life {incarnation} registered with epoch {epoch}"),
                String::from("a renew by its owner"),
            ),
            None => (alloc::format!("nobody owns it; the last epoch is {}", self.row.last), String::new()),
        };
        let next = self.next_timer().map(|timer| (crate::until(now, timer.at), timer.why.as_str()));
        Explanation { state: self.state(), because, waits_for, next }
    }

    fn write(&self, to: &mut Writer) {
        self.config.write(to);
        self.row.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        Ok(Self { config: Config::read(from)?, clock: Clock::default(), row: Row::read(from)? })
    }
}

impl Record for Row {
    fn write(&self, to: &mut Writer) {
        to.number(self.last);
        to.flag(self.owner.is_some());
        if let Some(owner) = self.owner {
            to.number(u64::from(owner.machine));
            to.number(owner.incarnation);
            to.number(owner.epoch);
            to.number(owner.until);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        let last = from.time()?;
        let owner = if from.flag()? {
            let (machine, incarnation) = (from.small()?, from.number()?);
            Some(Owner { machine, incarnation, epoch: from.time()?, until: from.time()? })
        } else {
            None
        };
        // No decision leaves an owner with an epoch that was never granted, and no input has a greater incarnation.
        let impossible =
            |owner: Owner| owner.epoch == 0 || owner.epoch > last || owner.incarnation > MAX_TIME;
        if last > MAX_EPOCH || owner.is_some_and(impossible) {
            return Err(RecordFault::Corrupt);
        }
        Ok(Self { last, owner })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Machine;

    #[test]
    fn a_row_is_shown_with_its_owner() {
        let mut directory = Directory::new(Config { ttl: 100 }, 1, 50).unwrap();
        assert_eq!((directory.row(), directory.state()), (Row::default(), "vacant"));
        directory.handle(60, &Input::Register { machine: 3, incarnation: 2, epoch: 7 }).unwrap();
        let owner = Owner { machine: 3, incarnation: 2, epoch: 8, until: 160 };
        assert_eq!(directory.row(), Row { last: 8, owner: Some(owner) });
        assert_eq!(directory.state(), "owned");
    }

    #[test]
    fn the_last_epoch_is_never_granted_twice_and_never_exceeded() {
        for epoch in [MAX_EPOCH, u64::MAX] {
            let register = Input::Register { machine: 1, incarnation: 1, epoch };
            let (row, answer) = decide(Row::default(), &register, 0, 10);
            assert_eq!(answer, Effect::Refused { refusal: Refusal::NoRow, epoch: 0 });
            assert_eq!(row, Row::default());
        }
        let bar = Input::Unregister { machine: 1, incarnation: 1, epoch: u64::MAX };
        let (row, answer) = decide(Row::default(), &bar, 0, 10);
        assert_eq!((row.last, answer), (MAX_EPOCH, Effect::Removed { epoch: MAX_EPOCH }));
    }

    #[test]
    fn whatever_the_row_and_the_command_a_refusal_changes_nothing_and_epochs_only_grow() {
        let lives = [(1, 1), (1, 2), (2, 1)];
        let mut rows = Vec::from([Row { last: 3, owner: None }]);
        for (machine, incarnation) in lives {
            for epoch in 1..=3 {
                let owner = Owner { machine, incarnation, epoch, until: 50 };
                rows.push(Row { last: 3, owner: Some(owner) });
            }
        }
        let mut commands = Vec::from([Input::Look]);
        for (machine, incarnation) in lives {
            commands.push(Input::ClearEarlier { machine, incarnation });
            commands.push(Input::ClearOwn { machine, incarnation });
            for epoch in 0..=5 {
                commands.push(Input::Register { machine, incarnation, epoch });
                commands.push(Input::Renew { machine, incarnation, epoch });
                commands.push(Input::Unregister { machine, incarnation, epoch });
            }
        }
        for row in &rows {
            for command in &commands {
                for now in [0, 49, 50] {
                    let (next, answer) = decide(*row, command, now, 100);
                    let what = alloc::format!("{row:?}, {command:?} at {now}: {next:?}, {answer:?}");
                    assert!(next.last >= row.last, "{what}");
                    assert!(
                        next.owner.is_none_or(|owner| owner.epoch <= next.last && now < owner.until),
                        "{what}"
                    );
                    match answer {
                        Effect::Refused { epoch, .. } => {
                            assert_eq!((next, epoch), (row.at(now), row.last), "{what}");
                        }
                        Effect::Registered { epoch } => {
                            let owner = next.owner.unwrap();
                            assert_eq!((owner.epoch, owner.until), (epoch, now + 100), "{what}");
                            // Answered once more, it is answered the same.
                            let (again, repeated) = decide(next, command, now, 100);
                            assert_eq!((again, repeated), (next, answer), "{what}");
                        }
                        Effect::Kept | Effect::Owner { .. } | Effect::Nobody { .. } => {
                            assert_eq!(next, row.at(now), "{what}");
                        }
                        Effect::Renewed { .. } | Effect::Removed { .. } => {}
                    }
                }
            }
        }
    }

    #[test]
    fn a_record_of_an_owner_without_a_grant_is_refused() {
        let mut directory = Directory::new(Config::default(), 1, 0).unwrap();
        directory.handle(5, &Input::Register { machine: 1, incarnation: 1, epoch: 0 }).unwrap();
        let restored = Directory::restore(&directory.snapshot(10).unwrap(), 1_000, 20).unwrap();
        assert_eq!(restored.deadline().unwrap().at, 1_000 + 90_000 - 5 - 20);
        directory.row.last = 0;
        assert_eq!(Directory::restore(&directory.snapshot(10).unwrap(), 0, 0), Err(RecordFault::Corrupt));
    }
}
