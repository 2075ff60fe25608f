//! Directory: who owns which tunnel (rules R2–R4). One row is one machine; a store holds many.

use crate::Millis;

settings! {
    /// How rows live.
    pub struct Config as "DirectoryConfig" {
        /// How long a row lives past its last renew. Milliseconds.
        ttl: Millis = 90_000,
    }
}

messages! {
    /// A command on one row. `machine` is a number that the store gives to a machine's name.
    pub enum Input as "DirectoryInput" {
        /// Take the row, with a new epoch.
        Register = "register" {
            /// Which machine.
            machine: u32,
            /// Which life of that machine; a later life has a greater one.
            incarnation: u64,
            /// The greatest epoch that the caller knows for this host (from its connection order), or 0.
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
        /// Give the row up.
        Unregister = "unregister" {
            /// Which machine.
            machine: u32,
            /// Which life of it.
            incarnation: u64,
            /// The epoch of the registration.
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
        /// Another machine, or another life of this one, owns the row.
        OtherOwner = "other-owner",
        /// There is no such row (it expired or was cleared): register again.
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
        /// Removed, by its owner or by a clear.
        Removed = "removed" {
            /// The epoch that it had.
            epoch: u64,
        },
        /// The clear does not concern this row.
        Kept = "kept",
        /// Refused.
        Refused = "refused" {
            /// Why.
            refusal: Refusal,
            /// The epoch of the row, or the last one granted.
            epoch: u64,
        },
        /// The owner.
        Owner = "owner" {
            /// Which machine.
            machine: u32,
            /// Which life of it.
            incarnation: u64,
            /// The epoch.
            epoch: u64,
        },
        /// Nobody.
        Nobody = "nobody",
    }
}

names! {
    /// Why a row wants to be woken.
    pub enum Why {
        /// Its TTL is over.
        Expiry = "expiry",
    }
}
