//! Lease: who holds a gateway, through its restarts (rules L1–L5, L7). The granter's side; the gateway's own
//! side is [`crate::lease_holder`].
//!
//! A control plane allocates gateways of a pool to organizations. A gateway that restarts keeps its organization,
//! whether it announced the restart, said nothing, or was killed; only a decommission, or a gateway that does not
//! come back, gives it up. One row is about one gateway. All that may ever happen to a row is two pure functions:
//! [`Row::at`] for time and [`decide`] for commands. A store runs them (or a statement of its own that a
//! differential test proves equal to them) inside its transaction, with its own clock. [`Lease`] is one row as a
//! machine, for the embedded store, for vectors and for the explorer.
//!
//! # The row
//!
//! | state (L1) | meaning | time leads to |
//! | --- | --- | --- |
//! | `free` (resting) | in the pool | |
//! | `allocating` | given to an organization, the handshake with the gateway is under way | quarantined: an unknown handshake is a failed one |
//! | `active` | confirmed; `incarnation` holds it until the term is over | held (expired) |
//! | `held` | the gateway is away; its organization and hostname are kept for it | releasing |
//! | `releasing` | the lease is over, the route is being removed | the next attempt; after the last one quarantined |
//! | `quarantined` | out of the pool for a growing time | free, if no route is left; else the same again, longer |
//! | `retired` (resting) | out of the pool until an operator reinstates it | |
//!
//! Beside its state a row keeps, for ever: `epoch`, the last that was granted; `incarnation`, the latest life of
//! the gateway that ever held it; `request`, the last that was granted; and `failures`, how often in a row it was
//! quarantined. **A store must not lose `epoch`**: it is what fences whoever was superseded.
//!
//! Times count from when the change is *noticed*: a control plane that was away for an hour gives every gateway
//! its whole grace period afterwards. A store that looks at its rows every `scan` has a dead holder's row free or
//! reported at most `term + grace + un-route limits` later, plus one `scan` for each of the three.
//!
//! # What only the store can do
//!
//! * **One row per organization** (L2). [`Row::organization`] says for whom a row counts: a unique index stands
//!   over it. Allocate looks for the organization's row first and asks *it* (the answer is the same epoch for the
//!   same request, or [`Effect::AlreadyAllocated`]); else it asks any free row that nobody has locked (`SKIP
//!   LOCKED`), and on a violation of the index begins again, and finds the row of the winner. An organization
//!   that is being released is told so, and asks again.
//! * **Rows are found by gateway**, never by organization, for every other command: an organization may have
//!   another gateway by now. The epoch does the rest.
//! * Ids are numbers that the store gives: organizations, requests, and incarnations, which grow with each start
//!   of the gateway's process.
//! * Un-routing is conditional: it removes the route of that organization *to this gateway*, made for the lease that is
//!   over or for one before it, and never one that was made since. And it is a fence: from then on no route can be
//!   published for those leases. A saga that is recovered late, and a request of it that lands late, know nothing of
//!   the end of its lease; without the fence they publish a route to a gateway that is free or another's.
//!
//! # The decisions
//!
//! `e` is the command's epoch. For every command that carries one, `e` less than the row's is refused as *stale
//! epoch*, and more as *never granted*; neither changes anything (L4). The table is about `e` equal. A state that
//! time has ended is first led on. *Accepted* answers with the state that the row is in afterwards; where no
//! change is named, there is none.
//!
//! | command | free | allocating | active | held | releasing | quarantined | retired |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | allocate, a new request | **allocating**, epoch + 1 | its own organization: already allocated; else refused: taken | as allocating | as allocating | its own: refused: releasing; else taken | refused: unavailable | refused: unavailable |
//! | allocate, the row's request | refused: request over | the same answer once more | as above | as above | as above | refused: unavailable | refused: unavailable |
//! | confirm | refused: no lease | **active**; an earlier incarnation: refused: fenced | confirmed, for the same incarnation; else refused: fenced | refused: no lease | refused: no lease | refused: no lease | refused: no lease |
//! | handshake failed | accepted | **quarantined** | refused: in use | refused: in use | accepted | accepted | accepted |
//! | renew | refused: no lease | refused: unconfirmed | renewed, a term from now | suspected: **active**; else refused: no lease | refused: no lease | refused: no lease | refused: no lease |
//! | claim, later incarnation | refused: no lease | refused: unconfirmed | **active**, epoch + 1 | **active**, epoch + 1 | refused: no lease | refused: no lease | refused: no lease |
//! | claim, the same incarnation | refused: no lease | refused: unconfirmed | the same answer once more | expired or suspected: **active**, epoch + 1; stopped: refused: fenced | refused: no lease | refused: no lease | refused: no lease |
//! | claim, an earlier one | refused: no lease | refused: unconfirmed | refused: fenced | refused: fenced | refused: no lease | refused: no lease | refused: no lease |
//! | stop, restart | accepted | refused: unconfirmed | **held** for the grace period | accepted, as stopped | accepted | accepted | accepted |
//! | stop, idle | accepted | refused: unconfirmed | **held** for `idle_hold`, or **releasing** if that is 0 | accepted, as stopped | accepted | accepted | accepted |
//! | stop, decommission | accepted | **releasing** | **releasing** | **releasing** | accepted | accepted | accepted |
//! | stop, handoff | accepted | accepted | accepted | accepted | accepted | accepted | accepted |
//! | observe, bad | refused: no lease | refused: unconfirmed | the first: suspicion begins; one after the window: **held** | refused: no lease | refused: no lease | refused: no lease | refused: no lease |
//! | observe, well | refused: no lease | refused: unconfirmed | suspicion ends | refused: no lease | refused: no lease | refused: no lease | refused: no lease |
//! | unrouted | accepted | refused: in use | refused: in use | refused: in use | **free** | no route is left; **free** if that was why | accepted |
//! | un-route failed | accepted | refused: in use | refused: in use | refused: in use | this attempt's: the next after a pause, or **quarantined** | accepted | accepted |
//! | verify | refused: no lease | valid | valid | refused: no lease | refused: no lease | refused: no lease | refused: no lease |
//! | release, by an operator | accepted | refused: in use | refused: in use | refused: in use | **free** | **free** | accepted |
//! | retire, by an operator | **retired** | refused: in use | refused: in use | refused: in use | refused: in use | **retired** | accepted |
//! | reinstate, by an operator | accepted | refused: in use | refused: in use | refused: in use | refused: in use | refused: unavailable | **free** |
//! | look | the row | the row | the row | the row | the row | the row | the row |
//!
//! So there are three ways into the pool, and no other: the route is known to be removed; an operator says so; a
//! quarantine ends and no route is left.
//!
//! Choices that the rules leave open:
//!
//! * A claim by the *same* incarnation that was not stopped is granted. It comes from a process whose first
//!   answer was lost and whose lease expired while it kept asking; to refuse it would cost the organization its
//!   gateway. Where it stopped itself, a late duplicate of its claim is refused.
//! * A claim may name its predecessor's epoch: a successor by handoff (H7). Then the predecessor is honoured
//!   beside it for `handoff`, by [`Input::Verify`] and [`Input::Renew`].
//! * Suspicion never ends a lease before the holder was promised that it would: the gateway is held at least until
//!   then. A renew ends suspicion, and takes a gateway back that was held for it (L7).
//! * While a gateway is `held`, further stops can only raise the intent to decommission; none extends the time.

use alloc::string::String;
use alloc::vec::Vec;

use crate::contract::{shift, shift_timer};
use crate::{
    Clock, Deadline, Explanation, FaultCode, Faults, Intent, MAX_TIME, Message, Millis, Name, Random, Reader,
    Record, RecordFault, Rejection, RejectionCode, Rules, Writer, add, until,
};

/// The last epoch: 2^53 − 1, as it crosses to JavaScript as an exact number.
pub const MAX_EPOCH: u64 = MAX_TIME;

/// The most attempts to un-route that can be asked for.
const MOST_ATTEMPTS: u64 = 100;

settings! {
    /// The terms on which gateways are leased.
    pub struct Config as "LeaseConfig" {
        /// How long a lease lasts past its last renew. Milliseconds. It must leave its holder the time for a whole
        /// drain after two renews were lost; so it is twice the usual kill budget.
        term: Millis = 60_000,
        /// How long a gateway that restarts or vanished keeps its organization. Milliseconds. Long enough for a
        /// process to be scheduled, pulled and started elsewhere.
        grace: Millis = 120_000,
        /// How long a gateway that stopped because it had nothing to do keeps its organization; 0: not at all.
        /// Milliseconds.
        idle_hold: Millis = 0,
        /// How long an allocation may take until its handshake is confirmed (L3). Milliseconds.
        allocate_limit: Millis = 30_000,
        /// How long one attempt to un-route may take. Milliseconds.
        unroute_limit: Millis = 10_000,
        /// How often un-routing is tried before the gateway is quarantined and reported.
        unroute_attempts: u32 = 3,
        /// The pause between two attempts. Milliseconds.
        unroute_pause: Millis = 1_000,
        /// The first quarantine; each further one without a lease between lasts twice as long. Milliseconds.
        quarantine: Millis = 30_000,
        /// The longest quarantine. Milliseconds.
        quarantine_max: Millis = 3_600_000,
        /// How long after a bad observation another one must come to end a lease (L7). Milliseconds. Long enough
        /// for a lost packet, a paused process or a reload.
        suspicion: Millis = 10_000,
        /// How long a predecessor is honoured beside its successor by handoff (H7). Milliseconds. A drain's time.
        handoff: Millis = 30_000,
    }
}

messages! {
    /// A command on the row of one gateway.
    pub enum Input as "LeaseInput" {
        /// Give the gateway to an organization (L2).
        Allocate = "allocate" {
            /// Which organization, by the number that the store gave to it.
            organization: u64,
            /// Which request; the same at each retry.
            request: u64,
        },
        /// The handshake with the gateway succeeded (L3).
        Confirm = "confirm" {
            /// The epoch of the allocation.
            epoch: u64,
            /// Which life of the gateway it was made with; a later life has a greater one.
            incarnation: u64,
        },
        /// The handshake with the gateway failed (L3).
        HandshakeFailed = "handshake-failed" {
            /// The epoch of the allocation.
            epoch: u64,
        },
        /// The holder lives (L6).
        Renew = "renew" {
            /// Its epoch.
            epoch: u64,
        },
        /// A gateway that starts asks whether it has a lease, and takes it (L5).
        Claim = "claim" {
            /// Which life of the gateway asks.
            incarnation: u64,
            /// The epoch of the process that handed over to this one, if one did (H7).
            predecessor: Option<u64>,
        },
        /// The holder stops, or the allocation is taken back (L4).
        Stop = "stop" {
            /// Its epoch.
            epoch: u64,
            /// What the stop is for.
            intent: Intent,
        },
        /// Somebody looked at the gateway from outside (L7).
        Observe = "observe" {
            /// The epoch that it was believed to have.
            epoch: u64,
            /// Whether it answered as it should.
            well: bool,
        },
        /// No route leads to the gateway any more.
        Unrouted = "unrouted" {
            /// The epoch of the lease whose route it was.
            epoch: u64,
        },
        /// An attempt to un-route failed.
        UnrouteFailed = "unroute-failed" {
            /// The epoch of the lease whose route it is.
            epoch: u64,
            /// Which attempt.
            attempt: u32,
        },
        /// Whether a call that carries this epoch may be served (L6).
        Verify = "verify" {
            /// The epoch.
            epoch: u64,
        },
        /// An operator says that no route is left and the gateway is fit (L7).
        Release = "release" {
            /// The epoch of the lease that ended.
            epoch: u64,
        },
        /// An operator takes the gateway out of the pool.
        Retire = "retire",
        /// An operator puts a retired gateway back.
        Reinstate = "reinstate",
        /// What does the row say?
        Look = "look",
    }
}

names! {
    /// Where the row of a gateway is (L1).
    pub enum LeaseState {
        /// In the pool.
        Free = "free",
        /// The handshake is under way.
        Allocating = "allocating",
        /// A life of the gateway holds it.
        Active = "active",
        /// The gateway is away, and may come back.
        Held = "held",
        /// The route is being removed.
        Releasing = "releasing",
        /// Out of the pool for a while.
        Quarantined = "quarantined",
        /// Out of the pool.
        Retired = "retired",
    }
}

names! {
    /// Why a gateway is held or quarantined.
    pub enum LeaseCause {
        /// Held: it announced a restart.
        Restart = "restart",
        /// Held: it stopped as it had nothing to do.
        Idle = "idle",
        /// Held: it did not renew.
        Expired = "expired",
        /// Held: it was seen failing for longer than the suspicion window.
        Suspected = "suspected",
        /// Quarantined: the handshake failed, or its outcome never came.
        Handshake = "handshake",
        /// Quarantined: its route could not be removed.
        Unroute = "unroute",
    }
}

names! {
    /// Why a command was refused. A refusal changes nothing.
    pub enum LeaseRefusal {
        /// A later epoch was granted since.
        StaleEpoch = "stale-epoch",
        /// No such epoch was granted yet.
        NeverGranted = "never-granted",
        /// A later life of the gateway holds the lease or held it last; or this one stopped.
        Fenced = "fenced",
        /// The gateway has no lease that this could be about.
        NoLease = "no-lease",
        /// The handshake is under way: ask again.
        Unconfirmed = "unconfirmed",
        /// Another organization has the gateway.
        Taken = "taken",
        /// The organization's lease is being released: ask again.
        Releasing = "releasing",
        /// The gateway is out of the pool.
        Unavailable = "unavailable",
        /// The request was granted before, and that lease is over.
        RequestOver = "request-over",
        /// The gateway has a lease that would be cut by this.
        InUse = "in-use",
    }
}

messages! {
    /// The granter's answer to a command ([`Effect::is_answer`]), one in the step of each command; and what follows from
    /// a change of the row, before the answer where time had led it on.
    pub enum Effect as "LeaseEffect" {
        /// Allocated: make the route and the handshake.
        Allocated = "allocated" {
            /// The new epoch.
            epoch: u64,
            /// How long until it must be confirmed. Milliseconds.
            limit: Millis,
        },
        /// The organization has this gateway already.
        AlreadyAllocated = "already-allocated" {
            /// How far it is: allocating, active or held.
            state: LeaseState,
            /// The epoch.
            epoch: u64,
            /// The request that it was allocated for.
            request: u64,
        },
        /// Confirmed: the gateway holds the lease.
        Confirmed = "confirmed" {
            /// The epoch.
            epoch: u64,
            /// How long the lease lasts from now. Milliseconds.
            term: Millis,
        },
        /// Renewed.
        Renewed = "renewed" {
            /// The epoch.
            epoch: u64,
            /// How long the lease lasts from now. Milliseconds.
            term: Millis,
        },
        /// The gateway has its lease back.
        Reclaimed = "reclaimed" {
            /// The new epoch.
            epoch: u64,
            /// Whose gateway it is, as before.
            organization: u64,
            /// How long the lease lasts from now. Milliseconds.
            term: Millis,
        },
        /// Done, or it was so already.
        Accepted = "accepted" {
            /// The state of the row now.
            state: LeaseState,
            /// The last epoch.
            epoch: u64,
        },
        /// The epoch is the one that holds.
        Valid = "valid" {
            /// The epoch.
            epoch: u64,
            /// How long it will be, as far as is known. Milliseconds.
            left: Millis,
        },
        /// Refused, and nothing has changed.
        Refused = "refused" {
            /// Why.
            refusal: LeaseRefusal,
            /// The last epoch that was granted. Never to be used by who was refused.
            epoch: u64,
        },
        /// The row.
        Row = "row" {
            /// Its state.
            state: LeaseState,
            /// The last epoch.
            epoch: u64,
            /// Whose it is, or whose route may be left.
            organization: Option<u64>,
            /// The last request that was granted.
            request: Option<u64>,
            /// The latest life of the gateway that held it.
            incarnation: u64,
            /// What is left of the state's time. Milliseconds.
            left: Option<Millis>,
            /// Why it is held or quarantined.
            cause: Option<LeaseCause>,
            /// How often in a row it was quarantined.
            failures: u32,
        },
        /// A report: the row is in another state, or has another epoch.
        Entered = "entered" {
            /// The state.
            state: LeaseState,
            /// The last epoch.
            epoch: u64,
            /// Whose it is, or whose route may be left.
            organization: Option<u64>,
            /// Why it is held or quarantined.
            cause: Option<LeaseCause>,
        },
        /// Remove the route of that organization to this gateway; answer unrouted or un-route failed.
        Unroute = "unroute" {
            /// The epoch of the lease that ended.
            epoch: u64,
            /// Whose route.
            organization: u64,
            /// Counted from 1.
            attempt: u32,
            /// It counts as failed after this. Milliseconds.
            limit: Millis,
        },
        /// A report, for an operator: the route of a lease that is over could not be removed.
        RouteLeft = "route-left" {
            /// The epoch of the lease that ended.
            epoch: u64,
            /// Whose route.
            organization: u64,
        },
    }
}

impl Effect {
    /// Whether it answers a command; the others follow from a change of the row.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        !matches!(self, Self::Entered { .. } | Self::Unroute { .. } | Self::RouteLeft { .. })
    }
}

names! {
    /// Why a row wants to be woken.
    pub enum Why {
        /// The handshake has had its time.
        AllocateLimit = "allocate-limit",
        /// The term is over.
        Expiry = "expiry",
        /// The grace period is over.
        GraceOver = "grace-over",
        /// The attempt to un-route has had its time.
        UnrouteLimit = "unroute-limit",
        /// The next attempt to un-route is due.
        UnrouteRetry = "unroute-retry",
        /// The quarantine is over.
        QuarantineOver = "quarantine-over",
    }
}

/// How an attempt to un-route stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Unrouting {
    /// It is under way.
    Running,
    /// It failed; the next one comes after a pause.
    Pausing,
}

/// Where a row stands (L1). Every `until` is by the store's clock, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "state", rename_all = "kebab-case")
)]
pub enum Standing {
    /// In the pool.
    #[default]
    Free,
    /// The handshake is under way.
    Allocating {
        /// For whom.
        organization: u64,
        /// When the allocation counts as failed.
        until: Millis,
    },
    /// The row's incarnation holds it.
    Active {
        /// For whom.
        organization: u64,
        /// When it expires.
        until: Millis,
        /// From when on another bad observation ends it. None: nobody saw a bad one since the last good one.
        suspect: Option<Millis>,
        /// Until when the epoch before this one is honoured too (H7).
        predecessor: Option<Millis>,
    },
    /// The gateway is away.
    Held {
        /// For whom it is kept.
        organization: u64,
        /// When it is given up.
        until: Millis,
        /// Why it is away.
        cause: LeaseCause,
    },
    /// The route is being removed.
    Releasing {
        /// Whose route.
        organization: u64,
        /// When the attempt has had its time, or when the next one comes.
        until: Millis,
        /// Counted from 1.
        attempt: u32,
        /// Whether it is under way.
        unrouting: Unrouting,
    },
    /// Out of the pool for a while.
    Quarantined {
        /// Whose route may be left.
        organization: u64,
        /// When the quarantine ends, or is prolonged as a route is left.
        until: Millis,
        /// Why.
        cause: LeaseCause,
        /// Whether a route may be left.
        routed: bool,
    },
    /// Out of the pool.
    Retired,
}

/// What a store keeps about one gateway. The default is a free one that was never allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Row {
    /// The last epoch that was granted. Never lost, never lowered.
    pub epoch: u64,
    /// The latest life of the gateway that held a lease.
    pub incarnation: u64,
    /// The last request that was granted.
    pub request: Option<u64>,
    /// How often in a row the gateway was quarantined.
    pub failures: u32,
    /// Where it stands.
    pub standing: Standing,
}

impl Row {
    /// The state's name.
    #[must_use]
    pub fn state(&self) -> LeaseState {
        match self.standing {
            Standing::Free => LeaseState::Free,
            Standing::Allocating { .. } => LeaseState::Allocating,
            Standing::Active { .. } => LeaseState::Active,
            Standing::Held { .. } => LeaseState::Held,
            Standing::Releasing { .. } => LeaseState::Releasing,
            Standing::Quarantined { .. } => LeaseState::Quarantined,
            Standing::Retired => LeaseState::Retired,
        }
    }

    /// The organization that the row counts for, of which there may be one row only (L2): a store keeps a unique
    /// index over it. A quarantined row counts for none: its organization may have another gateway.
    #[must_use]
    pub fn organization(&self) -> Option<u64> {
        match self.standing {
            Standing::Allocating { organization, .. }
            | Standing::Active { organization, .. }
            | Standing::Held { organization, .. }
            | Standing::Releasing { organization, .. } => Some(organization),
            Standing::Free | Standing::Quarantined { .. } | Standing::Retired => None,
        }
    }

    /// When time leads the row on, and why: what a store's scan selects by.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline<Why>> {
        let (at, why) = match self.standing {
            Standing::Free | Standing::Retired => return None,
            Standing::Allocating { until, .. } => (until, Why::AllocateLimit),
            Standing::Active { until, .. } => (until, Why::Expiry),
            Standing::Held { until, .. } => (until, Why::GraceOver),
            Standing::Releasing { until, unrouting: Unrouting::Running, .. } => (until, Why::UnrouteLimit),
            Standing::Releasing { until, unrouting: Unrouting::Pausing, .. } => (until, Why::UnrouteRetry),
            Standing::Quarantined { until, .. } => (until, Why::QuarantineOver),
        };
        Some(Deadline { at, why })
    }

    /// The row as it is at `now`: where its state's time is over, it is led on, once, and the next time counts
    /// from `now`.
    #[must_use]
    pub fn at(self, now: Millis, terms: &Config) -> Self {
        if self.deadline().is_none_or(|deadline| now < deadline.at) {
            return self;
        }
        match self.standing {
            Standing::Free | Standing::Retired => self,
            // L3: a handshake of unknown outcome is a failed one.
            Standing::Allocating { organization, .. } => {
                self.quarantined(organization, LeaseCause::Handshake, true, now, terms)
            }
            // L4: a crash.
            Standing::Active { organization, .. } => {
                self.standing(held(organization, LeaseCause::Expired, add(now, terms.grace)))
            }
            // L4: the grace period is over.
            Standing::Held { organization, .. } => self.releasing(organization, 1, now, terms),
            // L4: no answer in time is a failed attempt.
            Standing::Releasing { organization, attempt, unrouting: Unrouting::Running, .. } => {
                self.attempt_failed(organization, attempt, now, terms)
            }
            Standing::Releasing { organization, attempt, unrouting: Unrouting::Pausing, .. } => {
                self.releasing(organization, attempt.saturating_add(1), now, terms)
            }
            // L4: it is not free while a route is left.
            Standing::Quarantined { organization, cause, routed: true, .. } => {
                self.quarantined(organization, cause, true, now, terms)
            }
            Standing::Quarantined { .. } => self.standing(Standing::Free),
        }
    }

    fn standing(self, standing: Standing) -> Self {
        Self { standing, ..self }
    }

    /// A grant to this life: the next epoch, active for a term from now. None after the last epoch.
    fn granted(self, organization: u64, incarnation: u64, now: Millis, terms: &Config) -> Option<Self> {
        Some(Self { epoch: self.next_epoch()?, incarnation, ..self.active(organization, now, terms) })
    }

    /// P: strictly greater with each grant.
    fn next_epoch(&self) -> Option<u64> {
        (self.epoch < MAX_EPOCH).then(|| self.epoch.saturating_add(1))
    }

    fn active(self, organization: u64, now: Millis, terms: &Config) -> Self {
        let until = add(now, terms.term);
        self.standing(Standing::Active { organization, until, suspect: None, predecessor: None })
    }

    fn releasing(self, organization: u64, attempt: u32, now: Millis, terms: &Config) -> Self {
        let until = add(now, terms.unroute_limit);
        self.standing(Standing::Releasing { organization, until, attempt, unrouting: Unrouting::Running })
    }

    fn attempt_failed(self, organization: u64, attempt: u32, now: Millis, terms: &Config) -> Self {
        if attempt >= terms.unroute_attempts {
            return self.quarantined(organization, LeaseCause::Unroute, true, now, terms);
        }
        let until = add(now, terms.unroute_pause);
        self.standing(Standing::Releasing { organization, until, attempt, unrouting: Unrouting::Pausing })
    }

    /// L3: each time longer than the last, until the gateway has held a lease.
    fn quarantined(
        self,
        organization: u64,
        cause: LeaseCause,
        routed: bool,
        now: Millis,
        terms: &Config,
    ) -> Self {
        let growth = 1_u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        let duration = terms.quarantine.saturating_mul(growth).min(terms.quarantine_max);
        // Counting ends with growing, so that there are finitely many rows.
        let failures = self.failures.saturating_add(u32::from(duration < terms.quarantine_max));
        let until = add(now, duration);
        Self { failures, ..self.standing(Standing::Quarantined { organization, until, cause, routed }) }
    }
}

fn held(organization: u64, cause: LeaseCause, until: Millis) -> Standing {
    Standing::Held { organization, until, cause }
}

/// What a command does to a row at the store's `now`, and its answer.
///
/// Total: every command has an answer on every row, as in the table above. The numbers of commands are at most
/// 2^53 − 1. What a change asks for beyond the answer is said by [`consequences`].
#[must_use]
pub fn decide(row: Row, command: &Input, now: Millis, terms: &Config) -> (Row, Effect) {
    let row = row.at(now, terms);
    match carried(command) {
        // L4: a stale epoch changes nothing and is told so; except that H7 honours the one before for a moment.
        Some(epoch) if epoch < row.epoch => (row, honoured(&row, command, epoch, now)),
        Some(epoch) if epoch > row.epoch => refuse(row, LeaseRefusal::NeverGranted),
        _ => decide_current(row, command, now, terms),
    }
}

/// The epoch that a command carries.
fn carried(command: &Input) -> Option<u64> {
    match *command {
        Input::Confirm { epoch, .. }
        | Input::HandshakeFailed { epoch }
        | Input::Renew { epoch }
        | Input::Stop { epoch, .. }
        | Input::Observe { epoch, .. }
        | Input::Unrouted { epoch }
        | Input::UnrouteFailed { epoch, .. }
        | Input::Verify { epoch }
        | Input::Release { epoch } => Some(epoch),
        Input::Allocate { .. } | Input::Claim { .. } | Input::Retire | Input::Reinstate | Input::Look => None,
    }
}

/// The answer to an epoch that is not the last one (H7, L4).
fn honoured(row: &Row, command: &Input, epoch: u64, now: Millis) -> Effect {
    if let Standing::Active { predecessor: Some(until), .. } = row.standing
        && now < until
        && epoch.saturating_add(1) == row.epoch
    {
        let left = crate::until(now, until);
        match command {
            Input::Renew { .. } => return Effect::Renewed { epoch, term: left },
            Input::Verify { .. } => return Effect::Valid { epoch, left },
            _ => {}
        }
    }
    Effect::Refused { refusal: LeaseRefusal::StaleEpoch, epoch: row.epoch }
}

fn refuse(row: Row, refusal: LeaseRefusal) -> (Row, Effect) {
    (row, Effect::Refused { refusal, epoch: row.epoch })
}

fn accept(row: Row) -> (Row, Effect) {
    (row, Effect::Accepted { state: row.state(), epoch: row.epoch })
}

/// The table of the module, column by column: the row is as time made it, and the epoch, if any, is its own.
fn decide_current(row: Row, command: &Input, now: Millis, terms: &Config) -> (Row, Effect) {
    use LeaseRefusal::{Fenced, InUse, NoLease, Unavailable, Unconfirmed};
    let epoch = row.epoch;
    match (command, row.standing) {
        (Input::Allocate { organization, request }, _) => allocate(row, *organization, *request, now, terms),

        // L3: the handshake made it active, by no life that was fenced before.
        (Input::Confirm { incarnation, .. }, Standing::Allocating { organization, .. }) => {
            if *incarnation < row.incarnation {
                return refuse(row, Fenced);
            }
            let active = row.active(organization, now, terms);
            let active = Row { incarnation: *incarnation, failures: 0, ..active };
            (active, Effect::Confirmed { epoch, term: terms.term })
        }
        // The same confirmation once more promises no more than it did.
        (Input::Confirm { incarnation, .. }, Standing::Active { until, .. })
            if *incarnation == row.incarnation =>
        {
            (row, Effect::Confirmed { epoch, term: crate::until(now, until) })
        }
        (Input::Confirm { .. }, Standing::Active { .. }) => refuse(row, Fenced),
        (Input::Confirm { .. }, _) => refuse(row, NoLease),

        // L3: never straight back to free.
        (Input::HandshakeFailed { .. }, Standing::Allocating { organization, .. }) => {
            accept(row.quarantined(organization, LeaseCause::Handshake, true, now, terms))
        }
        (Input::HandshakeFailed { .. }, Standing::Active { .. } | Standing::Held { .. }) => {
            refuse(row, InUse)
        }
        (Input::HandshakeFailed { .. }, _) => accept(row),

        // L6, L7: who renews is not suspect.
        (Input::Renew { .. }, Standing::Active { organization, predecessor, .. }) => {
            let until = add(now, terms.term);
            let renewed = Standing::Active { organization, until, suspect: None, predecessor };
            (row.standing(renewed), Effect::Renewed { epoch, term: terms.term })
        }
        (Input::Renew { .. }, Standing::Held { organization, cause: LeaseCause::Suspected, .. }) => {
            (row.active(organization, now, terms), Effect::Renewed { epoch, term: terms.term })
        }
        (Input::Renew { .. } | Input::Observe { .. }, Standing::Allocating { .. }) => {
            refuse(row, Unconfirmed)
        }
        (Input::Renew { .. }, _) => refuse(row, NoLease),

        (Input::Claim { incarnation, predecessor }, _) => claim(row, *incarnation, *predecessor, now, terms),

        (Input::Stop { intent, .. }, _) => stop(row, *intent, now, terms),

        // L7: one bad observation begins a suspicion, and only one after its window ends the lease.
        (Input::Observe { well, .. }, Standing::Active { organization, until, suspect, predecessor }) => {
            match suspect {
                _ if *well => {
                    accept(row.standing(Standing::Active { organization, until, suspect: None, predecessor }))
                }
                None => {
                    let suspect = Some(add(now, terms.suspicion));
                    accept(row.standing(Standing::Active { organization, until, suspect, predecessor }))
                }
                Some(from) if now < from => accept(row),
                // Not before the holder was promised that its lease can end.
                Some(_) => {
                    let until = add(now, terms.grace).max(until);
                    accept(row.standing(held(organization, LeaseCause::Suspected, until)))
                }
            }
        }
        (Input::Observe { .. }, _) => refuse(row, NoLease),

        // L4: only now is it free.
        (Input::Unrouted { .. }, Standing::Releasing { .. }) => accept(row.standing(Standing::Free)),
        (Input::Unrouted { .. }, Standing::Quarantined { cause: LeaseCause::Unroute, .. }) => {
            accept(row.standing(Standing::Free))
        }
        (Input::Unrouted { .. }, Standing::Quarantined { organization, until, cause, .. }) => {
            accept(row.standing(Standing::Quarantined { organization, until, cause, routed: false }))
        }
        (
            Input::UnrouteFailed { attempt: failed, .. },
            Standing::Releasing { organization, attempt, unrouting: Unrouting::Running, .. },
        ) if *failed == attempt => accept(row.attempt_failed(organization, attempt, now, terms)),

        // L7: the operator's word.
        (Input::Release { .. }, Standing::Releasing { .. } | Standing::Quarantined { .. }) => {
            accept(row.standing(Standing::Free))
        }
        // No un-route, no operator and no late message cuts a lease.
        (
            Input::Unrouted { .. } | Input::UnrouteFailed { .. } | Input::Release { .. },
            Standing::Allocating { .. } | Standing::Active { .. } | Standing::Held { .. },
        ) => refuse(row, InUse),
        (Input::Unrouted { .. } | Input::UnrouteFailed { .. } | Input::Release { .. }, _) => accept(row),

        (Input::Retire, Standing::Free | Standing::Quarantined { .. } | Standing::Retired) => {
            accept(row.standing(Standing::Retired))
        }
        (Input::Reinstate, Standing::Free | Standing::Retired) => accept(row.standing(Standing::Free)),
        (Input::Reinstate, Standing::Quarantined { .. }) => refuse(row, Unavailable),
        (Input::Retire | Input::Reinstate, _) => refuse(row, InUse),

        // L6: every later call carries the epoch.
        (Input::Verify { .. }, Standing::Allocating { until, .. } | Standing::Active { until, .. }) => {
            (row, Effect::Valid { epoch, left: crate::until(now, until) })
        }
        (Input::Verify { .. }, _) => refuse(row, NoLease),
        (Input::Look, _) => (row, look(&row, now)),
    }
}

/// L2: idempotent by request and by organization.
fn allocate(row: Row, organization: u64, request: u64, now: Millis, terms: &Config) -> (Row, Effect) {
    use LeaseRefusal::{Releasing, RequestOver, Taken, Unavailable};
    let repeated = row.request == Some(request);
    match row.standing {
        Standing::Free if repeated => refuse(row, RequestOver),
        Standing::Free => match row.next_epoch() {
            Some(epoch) => {
                let until = add(now, terms.allocate_limit);
                let standing = Standing::Allocating { organization, until };
                let row = Row { epoch, request: Some(request), standing, ..row };
                (row, Effect::Allocated { epoch, limit: terms.allocate_limit })
            }
            None => refuse(row, Unavailable),
        },
        Standing::Quarantined { .. } | Standing::Retired => refuse(row, Unavailable),
        _ if row.organization() != Some(organization) => refuse(row, Taken),
        Standing::Releasing { .. } => refuse(row, Releasing),
        Standing::Allocating { until, .. } if repeated => {
            (row, Effect::Allocated { epoch: row.epoch, limit: crate::until(now, until) })
        }
        Standing::Allocating { .. } | Standing::Active { .. } | Standing::Held { .. } => {
            let request = row.request.unwrap_or(0);
            (row, Effect::AlreadyAllocated { state: row.state(), epoch: row.epoch, request })
        }
    }
}

/// L5: a later life of the gateway has its lease back.
fn claim(row: Row, incarnation: u64, predecessor: Option<u64>, now: Millis, terms: &Config) -> (Row, Effect) {
    use LeaseRefusal::{Fenced, NoLease, Unavailable, Unconfirmed};
    let (organization, again) = match row.standing {
        // The same life, whose answer was lost: the same answer.
        Standing::Active { organization, suspect, predecessor, .. } if incarnation == row.incarnation => {
            let until = add(now, terms.term);
            let row = row.standing(Standing::Active { organization, until, suspect, predecessor });
            return (row, Effect::Reclaimed { epoch: row.epoch, organization, term: terms.term });
        }
        Standing::Active { organization, .. } => (organization, false),
        // The same life, whose lease ended while it asked. If it had stopped, this is a late message of it.
        Standing::Held { organization, cause, .. } => {
            (organization, matches!(cause, LeaseCause::Expired | LeaseCause::Suspected))
        }
        Standing::Allocating { .. } => return refuse(row, Unconfirmed),
        Standing::Free | Standing::Releasing { .. } | Standing::Quarantined { .. } | Standing::Retired => {
            return refuse(row, NoLease);
        }
    };
    if incarnation < row.incarnation || (incarnation == row.incarnation && !again) {
        return refuse(row, Fenced);
    }
    let Some(mut granted) = row.granted(organization, incarnation, now, terms) else {
        return refuse(row, Unavailable);
    };
    // H7: it was handed over, so both are honoured for a moment.
    if let Standing::Active { predecessor: honoured, .. } = &mut granted.standing
        && predecessor == Some(row.epoch)
        && row.state() == LeaseState::Active
    {
        *honoured = Some(add(now, terms.handoff));
    }
    (granted, Effect::Reclaimed { epoch: granted.epoch, organization, term: terms.term })
}

/// L4: what a stop does is decided by its intent.
fn stop(row: Row, intent: Intent, now: Millis, terms: &Config) -> (Row, Effect) {
    let (organization, held_already) = match row.standing {
        Standing::Allocating { organization, .. } => match intent {
            // An allocation that is taken back.
            Intent::Decommission => return accept(row.releasing(organization, 1, now, terms)),
            // The handshake decides.
            Intent::Restart | Intent::Idle => return refuse(row, LeaseRefusal::Unconfirmed),
            Intent::Handoff => return accept(row),
        },
        Standing::Active { organization, .. } => (organization, None),
        Standing::Held { organization, until, .. } => (organization, Some(until)),
        // It is over already.
        Standing::Free | Standing::Releasing { .. } | Standing::Quarantined { .. } | Standing::Retired => {
            return accept(row);
        }
    };
    let hold = |cause, duration| {
        let until = held_already.unwrap_or(add(now, duration));
        accept(row.standing(held(organization, cause, until)))
    };
    match intent {
        // H7: the successor has it.
        Intent::Handoff => accept(row),
        Intent::Restart => hold(LeaseCause::Restart, terms.grace),
        Intent::Idle if terms.idle_hold > 0 || held_already.is_some() => {
            hold(LeaseCause::Idle, terms.idle_hold)
        }
        Intent::Idle | Intent::Decommission => accept(row.releasing(organization, 1, now, terms)),
    }
}

/// Whose the row is or whose route may be left, and why it is held or quarantined.
fn described(row: &Row) -> (Option<u64>, Option<LeaseCause>) {
    match row.standing {
        Standing::Held { organization, cause, .. } | Standing::Quarantined { organization, cause, .. } => {
            (Some(organization), Some(cause))
        }
        _ => (row.organization(), None),
    }
}

fn look(row: &Row, now: Millis) -> Effect {
    let Row { epoch, incarnation, request, failures, .. } = *row;
    let (organization, cause) = described(row);
    let left = row.deadline().map(|deadline| crate::until(now, deadline.at));
    Effect::Row { state: row.state(), epoch, organization, request, incarnation, left, cause, failures }
}

/// What follows from a change of a row, beyond the answer to its command: reports, and routes to be removed. A
/// store that runs [`decide`] itself carries these out after its transaction; one that dies before is reminded by
/// [`Row::deadline`].
#[must_use]
pub fn consequences(before: &Row, after: &Row, terms: &Config) -> Vec<Effect> {
    let mut effects = Vec::new();
    let epoch = after.epoch;
    let entered = before.state() != after.state() || before.epoch != epoch;
    if entered {
        let (organization, cause) = described(after);
        effects.push(Effect::Entered { state: after.state(), epoch, organization, cause });
    }
    let limit = terms.unroute_limit;
    match (after.standing, before.standing) {
        (Standing::Releasing { organization, attempt, unrouting: Unrouting::Running, .. }, _)
            if before.standing != after.standing =>
        {
            effects.push(Effect::Unroute { epoch, organization, attempt, limit });
        }
        (Standing::Quarantined { organization, until, cause, routed: true }, _) => {
            let prolonged = before.deadline().is_some_and(|deadline| deadline.at != until) && !entered;
            // L4: reported, each time.
            if prolonged || (entered && cause == LeaseCause::Unroute) {
                effects.push(Effect::RouteLeft { epoch, organization });
            }
            // A failed handshake leaves a route behind; and one that stayed is tried again.
            if prolonged || (entered && cause == LeaseCause::Handshake) {
                effects.push(Effect::Unroute { epoch, organization, attempt: 1, limit });
            }
        }
        (Standing::Retired, Standing::Quarantined { organization, routed: true, .. }) => {
            effects.push(Effect::RouteLeft { epoch, organization });
        }
        _ => {}
    }
    effects
}

/// What a resource keeps so that whoever was superseded cannot touch it any more.
///
/// The resource asks [`Fence::admits`] about every call; it refuses anything below the highest epoch that it has
/// seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Fence {
    highest: u64,
    /// An earlier epoch that is honoured too, until then.
    predecessor: Option<(u64, Millis)>,
}

impl Fence {
    /// A fence that has seen this epoch, as one that was stored has.
    #[must_use]
    pub fn at(highest: u64) -> Self {
        Self { highest, predecessor: None }
    }

    /// The highest epoch that was seen.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether a call that carries `epoch` may go on. A higher one than any before is remembered.
    #[must_use]
    pub fn admits(&mut self, epoch: u64, now: Millis) -> bool {
        if epoch > self.highest {
            *self = Self::at(epoch);
        }
        epoch == self.highest
            || self.predecessor.is_some_and(|(earlier, until)| epoch == earlier && now < until)
    }

    /// A handoff: `epoch` holds from now on, and its predecessor is honoured beside it until then (H7).
    pub fn hand_over(&mut self, epoch: u64, until: Millis) {
        if epoch > self.highest {
            *self = Self { highest: epoch, predecessor: Some((self.highest, until)) };
        }
    }
}

/// The row of one gateway as a machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    config: Config,
    clock: Clock,
    row: Row,
}

impl Lease {
    /// The row as it is now.
    #[must_use]
    pub fn row(&self) -> Row {
        self.row
    }

    fn become_row(&mut self, row: Row, effects: &mut Vec<Effect>) {
        effects.extend(consequences(&self.row, &row, &self.config));
        self.row = row;
    }
}

impl Rules for Lease {
    const NAME: &'static str = "lease";
    const SNAPSHOT_VERSION: u16 = 1;
    type Config = Config;
    type Input = Input;
    type Effect = Effect;
    type Why = Why;

    fn check(config: &Config, faults: &mut Faults) {
        faults.duration("term", config.term, 1);
        faults.duration("grace", config.grace, 1);
        faults.duration("idle_hold", config.idle_hold, 0);
        faults.duration("allocate_limit", config.allocate_limit, 1);
        faults.duration("unroute_limit", config.unroute_limit, 1);
        faults.range("unroute_attempts", u64::from(config.unroute_attempts), 1, MOST_ATTEMPTS, "");
        faults.duration("unroute_pause", config.unroute_pause, 1);
        faults.duration("quarantine", config.quarantine, 1);
        faults.duration("quarantine_max", config.quarantine_max, 1);
        let (first, longest) = (config.quarantine, config.quarantine_max);
        if first > longest {
            let message = alloc::format!(
                "is {first} ms, above `quarantine_max` ({longest} ms): lower it or raise that"
            );
            faults.add(FaultCode::Contradiction, "quarantine", message);
        }
        faults.duration("suspicion", config.suspicion, 1);
        faults.duration("handoff", config.handoff, 0);
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
        self.row.state().as_str()
    }

    fn is_resting(&self) -> bool {
        matches!(self.row.standing, Standing::Free | Standing::Retired)
    }

    fn next_timer(&self) -> Option<Deadline<Why>> {
        self.row.deadline()
    }

    fn rebase(&mut self, now: Millis) {
        let from = self.clock.now();
        match &mut self.row.standing {
            Standing::Free | Standing::Retired => {}
            Standing::Active { until, suspect, predecessor, .. } => {
                shift(until, from, now);
                shift_timer(suspect, from, now);
                shift_timer(predecessor, from, now);
            }
            Standing::Allocating { until, .. }
            | Standing::Held { until, .. }
            | Standing::Releasing { until, .. }
            | Standing::Quarantined { until, .. } => shift(until, from, now),
        }
        self.clock.rebase(now);
    }

    fn fire(&mut self, why: Why, effects: &mut Vec<Effect>) {
        match why {
            // Time is a pure function of the row, as commands are.
            Why::AllocateLimit
            | Why::Expiry
            | Why::GraceOver
            | Why::UnrouteLimit
            | Why::UnrouteRetry
            | Why::QuarantineOver => {
                let row = self.row.at(self.clock.now(), &self.config);
                self.become_row(row, effects);
            }
        }
    }

    fn apply(&mut self, input: &Input, effects: &mut Vec<Effect>) -> Result<(), Rejection> {
        // A number that cannot cross a language boundary is no id.
        if Input::from_words(input.tag(), input.words().as_slice()).is_none() {
            let code = RejectionCode::ValueOutOfRange;
            return Err(Rejection { code, input: input.type_name(), state: self.state() });
        }
        let (row, answer) = decide(self.row, input, self.clock.now(), &self.config);
        effects.push(answer);
        self.become_row(row, effects);
        Ok(())
    }

    fn explain(&self) -> Explanation {
        let now = self.clock.now();
        let Row { epoch, incarnation, failures, standing, .. } = self.row;
        let (because, waits_for) = match standing {
            Standing::Free => (alloc::format!("it is in the pool; the last epoch is {epoch}"), ""),
            Standing::Allocating { organization, .. } => (
                alloc::format!("organization {organization} was given epoch {epoch}"),
                "the handshake to be confirmed",
            ),
            Standing::Active { organization, suspect: None, .. } => (
                alloc::format!("life {incarnation} holds epoch {epoch} for organization {organization}"),
                "a renew",
            ),
            Standing::Active { organization, suspect: Some(from), .. } => (
                alloc::format!(
                    "life {incarnation} holds epoch {epoch} for organization {organization}, but was seen \
                     failing; another bad observation in {} ms or later ends it",
                    until(now, from)
                ),
                "a renew or a good observation",
            ),
            Standing::Held { organization, cause, .. } => (
                alloc::format!("the gateway of organization {organization} is away: {}", cause.as_str()),
                "a claim by a later life of it",
            ),
            Standing::Releasing { organization, attempt, .. } => (
                alloc::format!(
                    "the lease of organization {organization} is over; attempt {attempt} to un-route it"
                ),
                "the route to be removed",
            ),
            Standing::Quarantined { organization, cause, routed, .. } => (
                alloc::format!(
                    "{} failed, {failures} times in a row; {}",
                    cause.as_str(),
                    if routed {
                        alloc::format!("a route of organization {organization} may be left")
                    } else {
                        String::from("no route is left")
                    }
                ),
                if routed { "the route to be removed, or an operator" } else { "the end of the quarantine" },
            ),
            Standing::Retired => (String::from("an operator took it out of the pool"), ""),
        };
        let next = self.next_timer().map(|timer| (until(now, timer.at), timer.why.as_str()));
        Explanation { state: self.state(), because, waits_for: String::from(waits_for), next }
    }

    fn write(&self, to: &mut Writer) {
        self.config.write(to);
        self.row.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        Ok(Self { config: Record::read(from)?, clock: Clock::default(), row: Record::read(from)? })
    }
}

impl Record for Row {
    fn write(&self, to: &mut Writer) {
        to.number(self.epoch);
        to.number(self.incarnation);
        to.optional(self.request);
        self.failures.write(to);
        self.state().write(to);
        match self.standing {
            Standing::Free | Standing::Retired => {}
            Standing::Allocating { organization, until } => {
                to.number(organization);
                to.number(until);
            }
            Standing::Active { organization, until, suspect, predecessor } => {
                to.number(organization);
                to.number(until);
                to.optional(suspect);
                to.optional(predecessor);
            }
            Standing::Held { organization, until, cause } => {
                to.number(organization);
                to.number(until);
                cause.write(to);
            }
            Standing::Releasing { organization, until, attempt, unrouting } => {
                to.number(organization);
                to.number(until);
                attempt.write(to);
                to.flag(unrouting == Unrouting::Running);
            }
            Standing::Quarantined { organization, until, cause, routed } => {
                to.number(organization);
                to.number(until);
                cause.write(to);
                to.flag(routed);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        let id = |from: &mut Reader<'_>| {
            from.number().and_then(|id| if id <= MAX_TIME { Ok(id) } else { Err(RecordFault::Corrupt) })
        };
        let (epoch, incarnation) = (id(from)?, id(from)?);
        let request = if from.flag()? { Some(id(from)?) } else { None };
        let failures = Record::read(from)?;
        let standing = match LeaseState::read(from)? {
            LeaseState::Free => Standing::Free,
            LeaseState::Retired => Standing::Retired,
            LeaseState::Allocating => Standing::Allocating { organization: id(from)?, until: from.time()? },
            LeaseState::Active => Standing::Active {
                organization: id(from)?,
                until: from.time()?,
                suspect: from.timer()?,
                predecessor: from.timer()?,
            },
            LeaseState::Held => {
                Standing::Held { organization: id(from)?, until: from.time()?, cause: Record::read(from)? }
            }
            LeaseState::Releasing => Standing::Releasing {
                organization: id(from)?,
                until: from.time()?,
                attempt: Record::read(from)?,
                unrouting: if from.flag()? { Unrouting::Running } else { Unrouting::Pausing },
            },
            LeaseState::Quarantined => Standing::Quarantined {
                organization: id(from)?,
                until: from.time()?,
                cause: Record::read(from)?,
                routed: from.flag()?,
            },
        };
        let row = Self { epoch, incarnation, request, failures, standing };
        if row.is_possible() { Ok(row) } else { Err(RecordFault::Corrupt) }
    }
}

impl Row {
    /// Whether decisions can have led here. A store that keeps rows in a form of its own asks this about what it reads.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        use LeaseCause::{Expired, Handshake, Idle, Restart, Suspected, Unroute};
        let granted = self.epoch > 0 && self.request.is_some();
        match self.standing {
            Standing::Free | Standing::Retired => true,
            Standing::Allocating { .. } | Standing::Active { .. } => granted,
            Standing::Held { cause, .. } => granted && matches!(cause, Restart | Idle | Expired | Suspected),
            Standing::Releasing { attempt, .. } => granted && attempt > 0,
            Standing::Quarantined { cause, routed, .. } => {
                granted && (cause == Handshake || (cause == Unroute && routed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Machine;

    fn allocate(request: u64) -> Input {
        Input::Allocate { organization: 7, request }
    }

    fn active() -> Lease {
        let mut lease = Lease::new(Config::default(), 1, 0).unwrap();
        lease.handle(0, &allocate(1)).unwrap();
        lease.handle(0, &Input::Confirm { epoch: 1, incarnation: 1 }).unwrap();
        lease
    }

    #[test]
    fn l2_the_last_epoch_is_never_granted_twice() {
        let terms = Config::default();
        let row = Row { epoch: MAX_EPOCH - 1, ..Row::default() };
        let (row, answer) = decide(row, &allocate(1), 0, &terms);
        assert_eq!(answer, Effect::Allocated { epoch: MAX_EPOCH, limit: 30_000 });
        let (row, _) = decide(row, &Input::Confirm { epoch: MAX_EPOCH, incarnation: 1 }, 0, &terms);
        let refused = Effect::Refused { refusal: LeaseRefusal::Unavailable, epoch: MAX_EPOCH };
        let claim = Input::Claim { incarnation: 2, predecessor: None };
        assert_eq!(decide(row, &claim, 0, &terms), (row, refused.clone()));
        let row = row.standing(Standing::Free);
        assert_eq!(decide(row, &allocate(2), 0, &terms), (row, refused));
    }

    #[test]
    fn l2_a_row_counts_for_its_organization_until_its_route_is_gone_or_given_up() {
        let mut lease = active();
        let mut counted = Vec::from([lease.row().organization()]);
        let commands = [
            Input::Stop { epoch: 1, intent: Intent::Restart },
            Input::Stop { epoch: 1, intent: Intent::Decommission },
            Input::Unrouted { epoch: 1 },
            allocate(2),
            Input::HandshakeFailed { epoch: 2 },
        ];
        for command in &commands {
            lease.handle(1, command).unwrap();
            counted.push(lease.row().organization());
        }
        assert_eq!(counted, [Some(7), Some(7), Some(7), None, Some(7), None]);
    }

    #[test]
    fn l3_a_quarantine_grows_to_its_longest_and_is_counted_no_further() {
        let terms = Config { quarantine: 1, quarantine_max: MAX_TIME, ..Config::default() };
        let mut row = Row { failures: u32::MAX, ..Row::default() };
        row = row.quarantined(7, LeaseCause::Handshake, false, 5, &terms);
        assert_eq!((row.failures, row.deadline().unwrap().at), (u32::MAX, crate::NEVER));
        let terms = Config { quarantine: 3, quarantine_max: 3, ..Config::default() };
        row = Row::default().quarantined(7, LeaseCause::Handshake, false, 5, &terms);
        assert_eq!((row.failures, row.deadline().unwrap().at), (0, 8));
    }

    #[test]
    fn l6_a_resource_refuses_anything_below_the_highest_epoch_that_it_has_seen() {
        let mut fence = Fence::default();
        let admitted = [1, 3, 2, 3, 4, 3].map(|epoch| fence.admits(epoch, 0));
        assert_eq!(admitted, [true, true, false, true, true, false]);
        assert_eq!(fence.highest(), 4);
        assert!(!Fence::at(9).admits(8, 0));
    }

    #[test]
    fn h7_a_resource_honours_the_predecessor_for_a_moment_and_nobody_before_it() {
        let mut fence = Fence::at(4);
        fence.hand_over(5, 100);
        let asked = [(4, 0), (5, 0), (3, 0), (4, 99), (4, 100), (5, 100)];
        assert_eq!(
            asked.map(|(epoch, now)| fence.admits(epoch, now)),
            [true, true, false, true, false, true]
        );
        // A handover that is told again, or late, prolongs and reopens nothing.
        fence.hand_over(5, 1_000);
        assert!(!fence.admits(4, 200));
        fence.hand_over(6, 300);
        assert!(fence.admits(7, 200));
        assert!(!fence.admits(5, 200) && !fence.admits(6, 200));
    }

    #[test]
    fn a_number_that_cannot_cross_exactly_is_out_of_range_from_rust_too() {
        let mut lease = active();
        let claim = Input::Claim { incarnation: MAX_TIME + 1, predecessor: None };
        assert_eq!(lease.handle(1, &claim).unwrap_err().code, RejectionCode::ValueOutOfRange);
        let late = Input::Claim { incarnation: 2, predecessor: Some(u64::MAX - 1) };
        assert_eq!(lease.handle(1, &late).unwrap_err().code, RejectionCode::ValueOutOfRange);
    }

    #[test]
    fn a_record_of_a_row_that_no_decision_leads_to_is_refused() {
        let until = 50;
        let organization = 7;
        let impossible = [
            Row { epoch: 0, ..active().row() },
            Row { request: None, ..active().row() },
            Row { epoch: MAX_TIME + 1, ..active().row() },
            Row { incarnation: MAX_TIME + 1, ..active().row() },
            Row { request: Some(MAX_TIME + 1), ..active().row() },
            active().row().standing(held(organization, LeaseCause::Unroute, until)),
            active().row().standing(held(MAX_TIME + 1, LeaseCause::Restart, until)),
            active().row().standing(Standing::Releasing {
                organization,
                until,
                attempt: 0,
                unrouting: Unrouting::Running,
            }),
            active().row().standing(Standing::Quarantined {
                organization,
                until,
                cause: LeaseCause::Unroute,
                routed: false,
            }),
            active().row().standing(Standing::Quarantined {
                organization,
                until,
                cause: LeaseCause::Idle,
                routed: true,
            }),
        ];
        for row in impossible {
            let lease = Lease { row, ..active() };
            let restored = Lease::restore(&lease.snapshot(1).unwrap(), 0, 0);
            assert_eq!(restored, Err(RecordFault::Corrupt), "{row:?}");
        }
        assert_eq!(Lease::restore(&active().snapshot(0).unwrap(), 0, 0), Ok(active()));
    }
}
