//! Peer: the server side of one tunnel (rule R1), and its part in the directory (R2) and the drain (D4, D5).
//!
//! A relay makes one when a host's socket has been opened. It decides whether and when the host becomes
//! routable, whether it is still alive, and what becomes of its directory row.
//!
//! # States
//!
//! | state | meaning | leads on |
//! | --- | --- | --- |
//! | `idle` | no socket yet | `connected` (resting) |
//! | `authorizing` | the login is being checked | the answer, or its limit |
//! | `registering` | the directory row is being written | the answer, or its limit |
//! | `up` | admitted: requests are routed to it | ping, renew; it is closed, replaced, told |
//! | `told` | told to move: it finishes its work, and registers elsewhere meanwhile | the same |
//! | `leaving` | closed; a row that may be in the directory is being removed | the answer, or its limit |
//! | `gone` | over | nothing (resting) |
//!
//! ```text
//! idle → authorizing → registering → up → told
//!             └─────────────┴────────┴─────┴──→ leaving → gone
//! ```
//!
//! # Its contract
//!
//! * [`Effect::Admit`] comes only once the row is written. A socket that closes, a newer connection or a drain
//!   that begins between two awaits ends the peer at once; the row that was being written is removed when the
//!   write has been answered, or has had its time.
//! * A write that failed or was not answered may have landed, so it counts as *unknown*: it is taken back like
//!   one that is known to have landed. [`crate::directory`] bars it if it lands later still; where even the
//!   taking back is lost, the row ends with its TTL.
//! * At most one operation is under way at a time. Answers to an earlier one are no-ops. After
//!   [`restore`](crate::Machine::restore) the operation under way is unknown: its limit ends it.
//! * A live peer does not depend on the directory: while that is away it is served from memory, and its writes
//!   are tried again ([`Effect::Unlisted`] says so, once an outage). A row that was lost is registered again.
//! * What the directory refuses because somebody else owns the row is final: a peer never takes a row back.
//!
//! # What the host carries
//!
//! The machine knows operations; the host knows epochs. For each peer it keeps one number, the epoch to
//! register with. [`Effect::Register`] carries it; [`Effect::Renew`] and [`Effect::Unregister`] carry it plus
//! one, which is the epoch that the directory grants for it (so that it is known even if the answer is lost).
//!
//! * The number comes from a look-up when the socket opens, while the login is checked; it is the `last` epoch
//!   of the answer, or the next one that this process has not handed out for this host yet, if that is later.
//! * It stays the same until a write is refused with *no row*; then it is found as before, from the refusal.
//! * Numbers of one host are handed out in the order in which its connections opened. One that has none yet (or
//!   needs another) while a newer connection of the host has one is overtaken: its write counts as failed.
//! * Only the answer to the latest operation counts. A later one is for nobody.

use alloc::string::String;
use alloc::vec::Vec;

use crate::close::{self, Sender};
use crate::contract::{earliest, shift, shift_timer};
use crate::directory::Refusal;
use crate::{
    Answer, Clock, Deadline, Explanation, FaultCode, Faults, Message, Millis, Name, OperationId, Operations,
    Random, Reader, Record, RecordFault, Rejection, RejectionCode, Rules, Writer, add, until,
};

/// The login was refused (RFC 6455 §7.4.1, policy violation).
const POLICY_VIOLATION: u16 = 1008;
/// The directory could not be written, or another registration came first (RFC 6455 §7.4.1, internal error).
const INTERNAL_ERROR: u16 = 1011;
/// Pings went unanswered (RFC 6455 §7.4.1, going away). Never used for a deliberate drain: a mass ping timeout
/// must not look like one.
const GOING_AWAY: u16 = 1001;
/// No code for a peer that is to come back, or to yield: to clients it says that all is done.
const NORMAL_CLOSURE: u16 = 1000;

names! {
    /// Where a peer is.
    pub enum State {
        /// No socket yet.
        Idle = "idle",
        /// The socket is open; the login is being checked.
        Authorizing = "authorizing",
        /// The directory row is being written.
        Registering = "registering",
        /// Admitted: requests may be routed to it.
        Up = "up",
        /// Told to move; still finishing.
        Told = "told",
        /// Closed, its row is being removed.
        Leaving = "leaving",
        /// Gone.
        Gone = "gone",
    }
}

settings! {
    /// How a peer is served.
    pub struct Config as "PeerConfig" {
        /// The limit of the login check. Milliseconds. Below the connect deadline of hosts (20 s), so that they
        /// are told rather than give up.
        authorize_limit: Millis = 10_000,
        /// The limit of a directory write. Milliseconds. Together with the login still below that deadline.
        register_limit: Millis = 5_000,
        /// How often a ping goes out. Milliseconds. Hosts give up after 75 s of silence: two pings may get lost.
        ping_every: Millis = 30_000,
        /// After how many pings in a row without an answer the peer is closed with 1001.
        ping_misses: u32 = 3,
        /// How late a timer may fire, or its sample be answered, before silence is no longer trusted: what the
        /// peer sent meanwhile may lie unread. Milliseconds.
        stall_tolerance: Millis = 5_000,
        /// How often the directory row is renewed. Milliseconds; well below the directory's TTL.
        renew_every: Millis = 30_000,
        /// The wait before a failed directory write of a live peer is tried again. Milliseconds.
        retry_every: Millis = 1_000,
        /// The code that a newer connection of the same host closes this one with.
        replaced_code: u16 = 4409,
        /// The code that a deliberate drain closes with.
        drain_code: u16 = 4001,
    }
}

messages! {
    /// What happened to a peer.
    pub enum Input as "PeerInput" {
        /// A socket was opened: check its login. Once, first.
        Connected = "connected",
        /// An operation is done.
        Done = "done" {
            /// Which.
            operation: OperationId,
        },
        /// An operation failed: the login is refused, or the directory could not be written (which leaves open
        /// whether it was).
        Failed = "failed" {
            /// Which.
            operation: OperationId,
        },
        /// The directory refused a write.
        Fenced = "fenced" {
            /// Which.
            operation: OperationId,
            /// Why: nobody owns the row (any more), or somebody else does.
            refusal: Refusal,
        },
        /// The answer to [`Effect::Sample`].
        Inbound = "inbound" {
            /// How long ago the last inbound frame came. Milliseconds.
            ago: Millis,
        },
        /// The socket closed.
        Closed = "closed",
        /// A newer connection of the same host was admitted.
        Replaced = "replaced",
        /// The relay drains: no more registrations (D4).
        Drain = "drain",
        /// The draining relay cleared the rows of its life in one call (D5): there is none left to remove.
        RowsCleared = "rows-cleared",
        /// The relay tells this peer to move (D5).
        Tell = "tell" {
            /// The window that it may spread over; none: now. Milliseconds.
            within: Option<Millis>,
        },
        /// The relay closes this peer: its work is done or its time is up.
        Close = "close" {
            /// The code.
            code: u16,
        },
    }
}

names! {
    /// Why a peer was not admitted, or left.
    pub enum Departure {
        /// The login was refused (1008).
        Refused = "refused",
        /// The directory could not be written (1011).
        DirectoryFailed = "directory-failed",
        /// The relay is draining.
        Draining = "draining",
        /// A newer connection of the same host took over.
        Replaced = "replaced",
        /// The directory says that somebody else owns the row: a newer connection elsewhere (the replaced
        /// code), or one that registered first while this one was about to (1011).
        Fenced = "fenced",
        /// It did not answer its pings (1001).
        Silent = "silent",
        /// The socket closed.
        Closed = "closed",
        /// The relay closed it.
        Asked = "asked",
    }
}

messages! {
    /// What a peer wants done.
    pub enum Effect as "PeerEffect" {
        /// Check the login; answer done or failed.
        Authorize = "authorize" {
            /// Which.
            operation: OperationId,
            /// Answered later than this it counts as failed. Milliseconds.
            limit: Millis,
        },
        /// Write the directory row with the epoch that was known when the socket opened; answer done, failed or
        /// fenced. The same epoch again until the answer is done, or fenced with no row.
        Register = "register" {
            /// Which.
            operation: OperationId,
            /// Answered later than this it counts as unknown. Milliseconds.
            limit: Millis,
        },
        /// Renew the directory row; answer done, failed or fenced.
        Renew = "renew" {
            /// Which.
            operation: OperationId,
            /// Answered later than this it counts as failed. Milliseconds.
            limit: Millis,
        },
        /// Remove the directory row if it is still ours, or take back the registration whose outcome is unknown;
        /// answer done, failed or fenced.
        Unregister = "unregister" {
            /// Which.
            operation: OperationId,
            /// Answered later than this it is given up; the row's TTL ends it. Milliseconds.
            limit: Millis,
        },
        /// Route requests to this peer from now on; an older connection of the same host is replaced. Or this
        /// one is, when a newer one was admitted while the answer to this one's registration was under way.
        Admit = "admit",
        /// Send the in-band drain notice.
        Notify = "notify" {
            /// The window; none: now. Milliseconds.
            within: Option<Millis>,
        },
        /// Tell when the last inbound frame came: [`Input::Inbound`].
        Sample = "sample",
        /// Send a ping.
        Ping = "ping",
        /// Close the socket with this code; wait for nothing.
        CloseSocket = "close-socket" {
            /// The code.
            code: u16,
        },
        /// A report: it will not be, or is no longer, routable.
        Departed = "departed" {
            /// Why.
            departure: Departure,
        },
        /// A report: the directory is away, the peer is served from memory (R2).
        Unlisted = "unlisted",
    }
}

names! {
    /// Why a peer wants to be woken.
    pub enum Why {
        /// The login check has had its time.
        AuthorizeLimit = "authorize-limit",
        /// The directory write has had its time.
        RegisterLimit = "register-limit",
        /// The removal of the row has had its time.
        UnregisterLimit = "unregister-limit",
        /// A ping is due.
        Ping = "ping",
        /// The row is to be renewed, or a failed write to be tried again.
        Renew = "renew",
    }
}

/// What an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Work {
    Authorize,
    Register,
    Renew,
    Unregister,
}

/// The operation under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Pending {
    operation: OperationId,
    work: Work,
    until: Millis,
}

/// What is known of the directory row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Listing {
    /// There is none of ours.
    Absent,
    /// It was written, and nobody said that it is gone.
    Held,
    /// It may have been written.
    Unsure,
}

/// How an operation was answered.
#[derive(Debug, Clone, Copy)]
enum Verdict {
    Done,
    Failed,
    Fenced(Refusal),
}

/// The server side of one tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    config: Config,
    clock: Clock,
    state: State,
    /// Why it is in that state, for [`Rules::explain`].
    departure: Option<Departure>,
    draining: bool,
    operations: Operations,
    pending: Option<Pending>,
    listing: Listing,
    /// Whether the present outage of the directory has been reported.
    reported: bool,
    renew_at: Option<Millis>,
    ping_at: Option<Millis>,
    /// Whether a ping went out since the last sample.
    pinged: bool,
    /// How many pings in a row were not answered.
    missed: u32,
    /// A sample is being waited for; the time from the last ping to the sample.
    sampled: Option<Millis>,
}

impl Peer {
    /// Where it is.
    #[must_use]
    pub fn at(&self) -> State {
        self.state
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Admitted and not gone: its row is kept and its pings go out.
    fn is_served(&self) -> bool {
        matches!(self.state, State::Up | State::Told)
    }

    /// Whether a lost row may be written anew: registrations end with the drain (D4), and who was told to move
    /// registers elsewhere (D5).
    fn may_register(&self) -> bool {
        self.state == State::Up && !self.draining
    }

    fn issue(&mut self, work: Work, limit: Millis, effects: &mut Vec<Effect>) {
        let operation = self.operations.issue();
        self.pending = Some(Pending { operation, work, until: add(self.now(), limit) });
        effects.push(match work {
            Work::Authorize => Effect::Authorize { operation, limit },
            Work::Register => Effect::Register { operation, limit },
            Work::Renew => Effect::Renew { operation, limit },
            Work::Unregister => Effect::Unregister { operation, limit },
        });
        if work == Work::Register {
            // From here on it may have landed.
            self.listing = Listing::Unsure;
        }
    }

    fn admit(&mut self, effects: &mut Vec<Effect>) {
        self.state = State::Up;
        self.listed();
        self.ping_at = Some(add(self.now(), self.config.ping_every));
        effects.push(Effect::Admit);
    }

    /// The directory has the row.
    fn listed(&mut self) {
        self.listing = Listing::Held;
        self.reported = false;
        self.renew_at = Some(add(self.now(), self.config.renew_every));
    }

    /// R2: the directory does not answer: serve on, say so once, try again.
    fn unlisted(&mut self, effects: &mut Vec<Effect>) {
        if !self.reported {
            self.reported = true;
            effects.push(Effect::Unlisted);
        }
        self.renew_at = Some(add(self.now(), self.config.retry_every));
    }

    /// The row is gone, and it is not for us to bring it back.
    fn delisted(&mut self) {
        self.listing = Listing::Absent;
        self.renew_at = None;
    }

    /// R1: a ping, and an answer to it until the next one is due.
    fn ping(&mut self, effects: &mut Vec<Effect>) {
        self.pinged = true;
        self.sampled = None;
        self.ping_at = Some(add(self.now(), self.config.ping_every));
        effects.push(Effect::Ping);
    }

    /// The end: not routable any more, first here, then in the directory, and then closed.
    fn depart(&mut self, departure: Departure, code: Option<u16>, effects: &mut Vec<Effect>) {
        self.state = State::Leaving;
        self.departure = Some(departure);
        (self.ping_at, self.renew_at) = (None, None);
        (self.pinged, self.missed, self.sampled) = (false, 0, None);
        effects.push(Effect::Departed { departure });
        // R1: a write under way is rolled back once it is known, or has had its time.
        if !self.pending.is_some_and(|pending| pending.work == Work::Register) {
            self.unregister(effects);
        }
        if let Some(code) = code {
            effects.push(Effect::CloseSocket { code });
        }
    }

    /// Removes the row if there may be one; without one, that was all.
    fn unregister(&mut self, effects: &mut Vec<Effect>) {
        self.pending = None;
        match self.listing {
            Listing::Absent => self.state = State::Gone,
            Listing::Held | Listing::Unsure => {
                self.issue(Work::Unregister, self.config.register_limit, effects)
            }
        }
    }

    /// Somebody else holds the row. It is theirs: nothing is removed, and a write under way is refused.
    fn yield_row(&mut self) {
        self.delisted();
        self.pending = None;
    }

    fn answered(&mut self, pending: Pending, verdict: Verdict, effects: &mut Vec<Effect>) {
        use Verdict::{Done, Failed, Fenced};
        self.pending = None;
        match (pending.work, self.state, verdict) {
            // R1: the login, then the row, then the admission.
            (Work::Authorize, _, Done) => {
                self.state = State::Registering;
                self.issue(Work::Register, self.config.register_limit, effects);
            }
            (Work::Authorize, _, Failed | Fenced(_)) => {
                self.depart(Departure::Refused, Some(POLICY_VIOLATION), effects);
            }
            (Work::Register, State::Registering, Done) => self.admit(effects),
            (Work::Register, State::Registering, Failed) => {
                self.depart(Departure::DirectoryFailed, Some(INTERNAL_ERROR), effects);
            }
            // R2: whoever registered since we looked has gone again: once more, in what is left of the limit.
            (Work::Register, State::Registering, Fenced(Refusal::NoRow)) => {
                self.issue(Work::Register, until(self.now(), pending.until), effects);
            }
            // R2: another connection registered first, and it may be the newer one: this one comes again. It is
            // not closed as replaced, as nobody knows that it was.
            (Work::Register, State::Registering, Fenced(_)) => {
                self.listing = Listing::Absent;
                self.depart(Departure::Fenced, Some(INTERNAL_ERROR), effects);
            }
            // R1: the socket closed or the drain began meanwhile: roll back.
            (Work::Register, State::Leaving, Done | Failed) => self.unregister(effects),
            (Work::Register, State::Leaving, Fenced(_)) => {
                self.listing = Listing::Absent;
                self.unregister(effects);
            }
            // R2: a live peer keeps its row, and brings a lost one back.
            (Work::Renew | Work::Register, _, Done) => self.listed(),
            (Work::Renew | Work::Register, _, Failed) => self.unlisted(effects),
            (Work::Renew, _, Fenced(Refusal::NoRow)) if self.may_register() => {
                self.issue(Work::Register, self.config.register_limit, effects);
            }
            (Work::Register, _, Fenced(Refusal::NoRow)) if self.may_register() => {
                self.listing = Listing::Absent;
                self.unlisted(effects);
            }
            // D4, D5: cleared by the drain, or moved as it was told to.
            (Work::Renew | Work::Register, _, Fenced(Refusal::NoRow)) => self.delisted(),
            (Work::Renew | Work::Register, State::Told, Fenced(_)) => self.delisted(),
            // R1: the host has a newer connection elsewhere.
            (Work::Renew | Work::Register, _, Fenced(_)) => {
                self.yield_row();
                self.depart(Departure::Fenced, Some(self.config.replaced_code), effects);
            }
            (Work::Unregister, ..) => self.state = State::Gone,
        }
    }
}

impl Rules for Peer {
    const NAME: &'static str = "peer";
    const SNAPSHOT_VERSION: u16 = 1;
    type Config = Config;
    type Input = Input;
    type Effect = Effect;
    type Why = Why;

    fn check(config: &Config, faults: &mut Faults) {
        faults.duration("authorize_limit", config.authorize_limit, 1);
        faults.duration("register_limit", config.register_limit, 1);
        faults.duration("ping_every", config.ping_every, 1);
        faults.range("ping_misses", u64::from(config.ping_misses), 1, 1_000, "");
        faults.duration("stall_tolerance", config.stall_tolerance, 0);
        faults.duration("renew_every", config.renew_every, 1);
        faults.duration("retry_every", config.retry_every, 1);
        for (field, code) in [("replaced_code", config.replaced_code), ("drain_code", config.drain_code)] {
            if !close::may_send(code, Sender::Server) || code == NORMAL_CLOSURE {
                let message = alloc::format!(
                    "is {code}, must be a code that a server may send (1001 to 1003, 1007 to 1009, 1011 to 1014, 3000 to 4999)"
                );
                faults.add(FaultCode::OutOfRange, field, message);
            }
        }
        if config.replaced_code == config.drain_code {
            let message = alloc::format!(
                "is {} like replaced_code: a host could not tell \"come back\" from \"yield\"; use two codes",
                config.drain_code
            );
            faults.add(FaultCode::Contradiction, "drain_code", message);
        }
    }

    fn start(config: Config, _: Random, clock: Clock) -> Self {
        Self {
            config,
            clock,
            state: State::Idle,
            departure: None,
            draining: false,
            operations: Operations::default(),
            pending: None,
            listing: Listing::Absent,
            reported: false,
            renew_at: None,
            ping_at: None,
            pinged: false,
            missed: 0,
            sampled: None,
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
        self.state.as_str()
    }

    fn is_resting(&self) -> bool {
        matches!(self.state, State::Idle | State::Gone)
    }

    fn next_timer(&self) -> Option<Deadline<Why>> {
        let limit = match self.pending.map(|pending| pending.work) {
            Some(Work::Authorize) => Why::AuthorizeLimit,
            Some(Work::Register | Work::Renew) | None => Why::RegisterLimit,
            Some(Work::Unregister) => Why::UnregisterLimit,
        };
        earliest([
            (self.pending.map(|pending| pending.until), limit),
            (self.ping_at, Why::Ping),
            (self.renew_at, Why::Renew),
        ])
    }

    fn rebase(&mut self, now: Millis) {
        let from = self.clock.now();
        if let Some(pending) = &mut self.pending {
            shift(&mut pending.until, from, now);
        }
        shift_timer(&mut self.ping_at, from, now);
        shift_timer(&mut self.renew_at, from, now);
        self.clock.rebase(now);
    }

    fn fire(&mut self, why: Why, effects: &mut Vec<Effect>) {
        match why {
            // An unanswered login counts as refused, an unanswered write as failed (unknown).
            Why::AuthorizeLimit | Why::RegisterLimit | Why::UnregisterLimit => {
                if let Some(pending) = self.pending {
                    self.answered(pending, Verdict::Failed, effects);
                }
            }
            // R1: a ping at an interval; before it goes out, whether the last one was answered.
            Why::Ping => {
                let late = self.ping_at.map_or(0, |at| until(at, self.now()));
                if late > self.config.stall_tolerance || self.sampled.is_some() {
                    // We were stalled (or the host, which has not answered the last sample): silence proves nothing.
                    self.missed = 0;
                    self.ping(effects);
                } else {
                    self.sampled = Some(add(self.config.ping_every, late));
                    self.ping_at = Some(add(self.now(), self.config.ping_every));
                    effects.push(Effect::Sample);
                }
            }
            // R2: keep the row, or write it anew.
            Why::Renew => {
                self.renew_at = None;
                match self.listing {
                    Listing::Held => self.issue(Work::Renew, self.config.register_limit, effects),
                    Listing::Absent | Listing::Unsure if self.may_register() => {
                        self.issue(Work::Register, self.config.register_limit, effects);
                    }
                    Listing::Absent | Listing::Unsure => {}
                }
            }
        }
    }

    fn apply(&mut self, input: &Input, effects: &mut Vec<Effect>) -> Result<(), Rejection> {
        let state = self.state();
        let reject = |code| Err(Rejection { code, input: input.type_name(), state });
        match (self.state, input) {
            (_, Input::Close { code }) if !close::may_send(*code, Sender::Server) => {
                reject(RejectionCode::ValueOutOfRange)
            }

            // Answers to operations.
            (
                _,
                Input::Done { operation } | Input::Failed { operation } | Input::Fenced { operation, .. },
            ) => {
                let verdict = match *input {
                    Input::Done { .. } => Verdict::Done,
                    Input::Fenced { refusal, .. } => Verdict::Fenced(refusal),
                    _ => Verdict::Failed,
                };
                match (self.operations.judge(*operation, self.pending.map(|p| p.operation)), self.pending) {
                    (Answer::NeverIssued, _) => reject(RejectionCode::NeverIssued),
                    (Answer::Awaited, Some(Pending { work: Work::Authorize, .. }))
                        if matches!(verdict, Verdict::Fenced(_)) =>
                    {
                        reject(RejectionCode::ImpossibleNow)
                    }
                    (Answer::Awaited, Some(pending)) => {
                        self.answered(pending, verdict, effects);
                        Ok(())
                    }
                    (Answer::Awaited | Answer::Late, _) => Ok(()),
                }
            }

            // R1, D4: first the login, unless the relay is draining.
            (State::Idle, Input::Connected) if self.draining => {
                self.depart(Departure::Draining, Some(self.config.drain_code), effects);
                Ok(())
            }
            (State::Idle, Input::Connected) => {
                self.state = State::Authorizing;
                self.issue(Work::Authorize, self.config.authorize_limit, effects);
                Ok(())
            }
            (_, Input::Connected) => reject(RejectionCode::ImpossibleNow),

            // D4: whoever is not admitted yet is refused, whatever it is waiting for.
            (State::Authorizing | State::Registering, Input::Drain) => {
                self.draining = true;
                self.depart(Departure::Draining, Some(self.config.drain_code), effects);
                Ok(())
            }
            (_, Input::Drain) => {
                self.draining = true;
                Ok(())
            }

            // D5: the rows went in one call. One that is still being written is not among them.
            (_, Input::RowsCleared) if !self.draining => reject(RejectionCode::ImpossibleNow),
            (State::Up | State::Told, Input::RowsCleared) if self.listing == Listing::Held => {
                self.yield_row();
                Ok(())
            }
            (_, Input::RowsCleared) => Ok(()),

            // What happens after the end, or without a socket.
            (State::Leaving | State::Gone, _) => Ok(()),
            (State::Idle, _) => reject(RejectionCode::ImpossibleNow),

            // R1: the socket closed.
            (_, Input::Closed) => {
                self.depart(Departure::Closed, None, effects);
                Ok(())
            }
            // D5: it moved to this very relay, which told it to move: it finishes its work.
            (State::Told, Input::Replaced) => {
                self.yield_row();
                Ok(())
            }
            // R1: a newer connection of the same host closes this one; the row is the newer one's.
            (_, Input::Replaced) => {
                self.yield_row();
                self.depart(Departure::Replaced, Some(self.config.replaced_code), effects);
                Ok(())
            }
            (_, Input::Close { code }) => {
                self.depart(Departure::Asked, Some(*code), effects);
                Ok(())
            }

            // D5: told once.
            (State::Up, Input::Tell { within }) => {
                self.state = State::Told;
                effects.push(Effect::Notify { within: *within });
                Ok(())
            }
            (State::Told, Input::Tell { .. }) => Ok(()),

            // R1: any inbound frame counts.
            (State::Up | State::Told, Input::Inbound { ago }) => {
                let Some(since_ping) = self.sampled else { return Ok(()) };
                let waited =
                    self.ping_at.map_or(0, |at| self.config.ping_every.saturating_sub(until(self.now(), at)));
                let heard = *ago <= add(since_ping, waited);
                let trusted = waited <= self.config.stall_tolerance;
                self.missed =
                    if self.pinged && trusted && !heard { self.missed.saturating_add(1) } else { 0 };
                if self.missed >= self.config.ping_misses {
                    self.depart(Departure::Silent, Some(GOING_AWAY), effects);
                } else {
                    self.ping(effects);
                }
                Ok(())
            }
            (State::Authorizing | State::Registering, Input::Tell { .. } | Input::Inbound { .. }) => {
                reject(RejectionCode::ImpossibleNow)
            }
        }
    }

    fn explain(&self) -> Explanation {
        let left = |departure: Departure| match departure {
            Departure::Refused => "its login was refused",
            Departure::DirectoryFailed => "the directory could not be written",
            Departure::Draining => "the relay is draining",
            Departure::Replaced => "a newer connection of the same host took over",
            Departure::Fenced => "the directory says that somebody else owns the row",
            Departure::Silent => "it did not answer its pings",
            Departure::Closed => "the socket closed",
            Departure::Asked => "the relay closed it",
        };
        let because = match self.state {
            State::Idle => "it was made",
            State::Authorizing => "the socket opened",
            State::Registering => "the login is good",
            State::Up | State::Told if self.listing != Listing::Held => {
                "it was admitted, but is not in the directory"
            }
            State::Up => "it was admitted and is in the directory",
            State::Told => "it was told to move",
            State::Leaving | State::Gone => self.departure.map_or("", left),
        };
        let waits_for = match (self.state, self.pending.map(|pending| pending.work)) {
            (State::Idle, _) => "a socket",
            (State::Gone, _) => "",
            (_, Some(Work::Authorize)) => "the login check",
            (_, Some(Work::Register | Work::Renew)) => "the directory's answer",
            (_, Some(Work::Unregister)) => "the removal of its row",
            (State::Told, None) => "the host to move",
            (_, None) => "whatever the host or the relay does next",
        };
        let next = self.next_timer().map(|timer| (until(self.now(), timer.at), timer.why.as_str()));
        Explanation {
            state: self.state(),
            because: String::from(because),
            waits_for: String::from(waits_for),
            next,
        }
    }

    fn normalize(&mut self, renumber: &mut dyn FnMut(&'static str, &mut u32)) {
        if let Some(pending) = &mut self.pending {
            renumber("operation", &mut pending.operation);
        }
        renumber("operation", self.operations.counter());
    }

    fn write(&self, to: &mut Writer) {
        self.config.write(to);
        self.state.write(to);
        self.departure.write(to);
        to.flag(self.draining);
        self.operations.write(to);
        to.flag(self.pending.is_some());
        if let Some(pending) = self.pending {
            to.number(u64::from(pending.operation));
            to.number(match pending.work {
                Work::Authorize => 0,
                Work::Register => 1,
                Work::Renew => 2,
                Work::Unregister => 3,
            });
            to.number(pending.until);
        }
        to.number(match self.listing {
            Listing::Absent => 0,
            Listing::Held => 1,
            Listing::Unsure => 2,
        });
        to.flag(self.reported);
        to.optional(self.renew_at);
        to.optional(self.ping_at);
        to.flag(self.pinged);
        to.number(u64::from(self.missed));
        to.optional(self.sampled);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        let config = Config::read(from)?;
        let state = State::read(from)?;
        let departure = Option::read(from)?;
        let draining = from.flag()?;
        let operations = Operations::read(from)?;
        let pending = if from.flag()? {
            let operation = from.small()?;
            let work = match from.number()? {
                0 => Work::Authorize,
                1 => Work::Register,
                2 => Work::Renew,
                3 => Work::Unregister,
                _ => return Err(RecordFault::Corrupt),
            };
            Some(Pending { operation, work, until: from.time()? })
        } else {
            None
        };
        let listing = match from.number()? {
            0 => Listing::Absent,
            1 => Listing::Held,
            2 => Listing::Unsure,
            _ => return Err(RecordFault::Corrupt),
        };
        let reported = from.flag()?;
        let (renew_at, ping_at) = (from.timer()?, from.timer()?);
        let (pinged, missed, sampled) = (from.flag()?, from.small()?, from.timer()?);
        let peer = Self {
            config,
            clock: Clock::default(),
            state,
            departure,
            draining,
            operations,
            pending,
            listing,
            reported,
            renew_at,
            ping_at,
            pinged,
            missed,
            sampled,
        };
        if peer.is_possible() { Ok(peer) } else { Err(RecordFault::Corrupt) }
    }
}

impl Peer {
    /// Whether the parts of the state fit together; a record that holds others is refused.
    fn is_possible(&self) -> bool {
        let work = self.pending.map(|pending| pending.work);
        let work_fits = match self.state {
            State::Idle | State::Gone => work.is_none(),
            State::Authorizing => work == Some(Work::Authorize),
            State::Registering => work == Some(Work::Register),
            State::Up | State::Told => !matches!(work, Some(Work::Authorize | Work::Unregister)),
            State::Leaving => matches!(work, Some(Work::Register | Work::Unregister)),
        };
        let issued = self
            .pending
            .is_none_or(|pending| pending.operation >= 1 && pending.operation <= self.operations.issued());
        let served = self.ping_at.is_some() == self.is_served()
            && (self.is_served() || (self.renew_at.is_none() && self.sampled.is_none()));
        let said_why = self.departure.is_some() || !matches!(self.state, State::Leaving | State::Gone);
        work_fits && issued && served && said_why
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Machine, Step};

    /// Draws an input; operations are around those that were issued.
    fn draw(random: &mut Random, issued: u32) -> Input {
        let operation = issued.saturating_sub(u32::try_from(random.between(0, 1)).unwrap());
        let within = (random.between(0, 1) == 1).then_some(100);
        match random.between(0, 15) {
            0 => Input::Connected,
            1..=4 => Input::Done { operation },
            5 => Input::Failed { operation },
            6 => Input::Fenced { operation, refusal: Refusal::NoRow },
            7 => Input::Fenced { operation, refusal: Refusal::StaleEpoch },
            8..=10 => Input::Inbound { ago: random.between(0, 90_000) },
            11 => Input::Tell { within },
            12 => [Input::Closed, Input::Replaced][usize::try_from(random.between(0, 1)).unwrap()].clone(),
            13 => Input::Drain,
            14 => Input::RowsCleared,
            _ => Input::Close { code: 4001 },
        }
    }

    #[test]
    fn nothing_waits_for_ever_and_a_restored_peer_goes_on_like_the_original() {
        for seed in 0..400 {
            let mut random = Random::seeded(seed);
            let mut peer = Peer::new(Config::default(), seed, 0).unwrap();
            let mut now = 0;
            let mut departed = 0;
            peer.handle(0, &Input::Connected).unwrap();
            for _ in 0..60 {
                now += random.between(0, 400) * random.between(0, 100);
                let input = draw(&mut random, peer.operations.issued());
                let mut copy = Peer::restore(&peer.snapshot(now).unwrap(), now, 0).unwrap();
                let before = peer.clone();
                let answer = peer.handle(now, &input);
                // A stalled peer's lateness is cut to now by a snapshot: tick first, so that nothing is late.
                if before.next_timer().is_none_or(|timer| timer.at >= now) {
                    assert_eq!(copy.handle(now, &input), answer, "seed {seed}: {before:?}, {input:?}");
                }
                match answer {
                    Err(_) => assert_eq!(peer, before, "seed {seed}: {input:?}"),
                    Ok(Step { effects, deadline }) => {
                        let leaves = |effect: &&Effect| matches!(effect, Effect::Departed { .. });
                        departed += effects.iter().filter(leaves).count();
                        assert!(deadline.is_some() || peer.is_resting(), "seed {seed}: {peer:?}");
                        assert!(deadline.is_none_or(|deadline| deadline.at > now), "seed {seed}: {peer:?}");
                        assert!(peer.is_possible(), "seed {seed}: {peer:?}");
                    }
                }
            }
            assert!(departed <= 1, "seed {seed}: departed {departed} times");
        }
    }

    #[test]
    fn a_record_that_no_peer_could_have_written_is_refused() {
        let peer = Peer::new(Config::default(), 1, 0).unwrap();
        let waiting_for_nothing = Peer { state: State::Registering, ..peer.clone() };
        let never_issued = Peer {
            state: State::Authorizing,
            pending: Some(Pending { operation: 1, work: Work::Authorize, until: 9 }),
            ..peer.clone()
        };
        let silent_for_ever = Peer { state: State::Up, ..peer.clone() };
        let listed_unserved = Peer { renew_at: Some(9), ..peer.clone() };
        let sampled_unserved = Peer { sampled: Some(9), ..peer };
        for impossible in
            [waiting_for_nothing, never_issued, silent_for_ever, listed_unserved, sampled_unserved]
        {
            let snapshot = impossible.snapshot(0).unwrap();
            assert_eq!(Peer::restore(&snapshot, 0, 0), Err(RecordFault::Corrupt), "{impossible:?}");
        }
    }

    #[test]
    fn a_restored_peer_gives_up_the_operation_that_was_under_way() {
        let mut peer = Peer::new(Config::default(), 1, 0).unwrap();
        peer.handle(0, &Input::Connected).unwrap();
        peer.handle(10, &Input::Done { operation: 1 }).unwrap();
        let mut restored = Peer::restore(&peer.snapshot(20).unwrap(), 0, 60_000).unwrap();
        let step = restored.tick(0).unwrap();
        assert_eq!(step.effects.first(), Some(&Effect::Departed { departure: Departure::DirectoryFailed }));
        assert_eq!(restored.explain().waits_for, "the removal of its row");
    }

    #[test]
    fn a_peer_is_small() {
        assert!(size_of::<Peer>() <= 256, "{}", size_of::<Peer>());
    }
}
