//! Tunnel: a client that keeps one healthy connection (rules T1–T10, with B5, B6 and C1).
//!
//! The host owns sockets and providers; the machine decides when to dial, where to, which connection is the
//! one to send on, when it is dead, and what a close means. A tunnel is at any time one of these:
//!
//! | state | meaning | left by |
//! | --- | --- | --- |
//! | `idle` (resting) | not started | `start` |
//! | `preparing` | the host provides the URL and the credentials | their answer, `prepare_limit` |
//! | `dialing` | the socket opens | `opened`, `dial-failed`, `dial_limit` |
//! | `accepting` | open, not yet accepted by the application | what `acceptance` says, a close, `accept_limit` |
//! | `up` (resting if silence is not watched) | connected | a close, silence, a drain notice |
//! | `moving` | connected, and on the way to the next connection: make before break | its acceptance |
//! | `waiting` | the delay before the next attempt | its end, `wake`, `online` |
//! | `offline` (resting) | the network is away, no connection is left | `online`, `wake` |
//! | `stopped` (resting) | asked to, or told never to come back | `start` |
//!
//! `moving` goes through the same steps as an attempt from `waiting` does; its deadline says which one it is at.
//! Beside all of them one old connection may be finishing its in-flight work. `stop` leads to `stopped` from
//! everywhere but `idle`.
//!
//! # Contract
//!
//! Connections are named by their *generation*, given out by [`Effect::Dial`]. At most three are known at a
//! time: the adopted one, the next one, and an old one that finishes. What happens on any other is a no-op
//! (T3), but for a late [`Input::Opened`], which is answered with [`Effect::Abandon`]. After `Abandon` the host
//! need not report anything about that connection. An application sends on the connection of the last
//! [`Effect::Adopt`] while the tunnel is `up` or `moving`, without asking; [`Input::Send`] is for the rest of
//! the time.
//!
//! After a restore the operations that were outstanding count as unknown: their limits end them. A connection
//! that was adopted is taken to be there still, and is looked at when its silence is due; a host that lost its
//! sockets says [`Input::Closed`] with 1006 for it.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::contract::{earliest, shift};
use crate::{
    Answer, Clock, Deadline, Explanation, FaultCode, Faults, Message, Millis, Name, OperationId, Operations,
    Random, Reader, Record, RecordFault, Rejection, RejectionCode, Rules, Writer, add, backoff, close, until,
};

names! {
    /// Where a tunnel is (T1).
    pub enum State {
        /// Not started.
        Idle = "idle",
        /// Asking the host for the URL and the credentials.
        Preparing = "preparing",
        /// Opening the socket, the upgrade included.
        Dialing = "dialing",
        /// The socket is open, the application has not accepted yet.
        Accepting = "accepting",
        /// Connected.
        Up = "up",
        /// Connected, and on the way to the next connection, from the wait for its turn on: make before break.
        Moving = "moving",
        /// Waiting for the next attempt.
        Waiting = "waiting",
        /// The network is away.
        Offline = "offline",
        /// Stopped, for a reason.
        Stopped = "stopped",
    }
}

names! {
    /// What counts as acceptance by the application (T1).
    pub enum Acceptance {
        /// An explicit [`Input::Accepted`].
        Explicit = "explicit",
        /// The first inbound frame, or an explicit one.
        FirstInbound = "first-inbound",
        /// `quiet_time` without a close, or a frame.
        Quiet = "quiet",
    }
}

names! {
    /// What happens to a message beyond the bound of the buffer (T10).
    pub enum Overflow {
        /// The new message is refused.
        Refuse = "refuse",
        /// The oldest buffered message is dropped.
        DropOldest = "drop-oldest",
    }
}

names! {
    /// Why a tunnel stopped (T8).
    pub enum StopReason {
        /// The host asked for it.
        Asked = "asked",
        /// A close code or a disconnect reason that forbids another attempt.
        Fatal = "fatal",
        /// Another connection with the same identity took over.
        Replaced = "replaced",
    }
}

names! {
    /// What a server asked for in band.
    pub enum Asked {
        /// Move: a new connection, make before break.
        Move = "move",
        /// Come again with a new URL and new credentials.
        Refresh = "refresh",
        /// Do not come again.
        Stop = "stop",
    }
}

names! {
    /// Why a dial failed.
    pub enum DialFailure {
        /// Refused, reset, unreachable, no such name, TLS failure, an HTTP status that is no login failure.
        Unreachable = "unreachable",
        /// The upgrade was answered with 401 or 403: the credentials are refused.
        Refused = "refused",
    }
}

settings! {
    /// How a tunnel behaves.
    pub struct Config as "TunnelConfig" {
        /// The delays between attempts.
        backoff: backoff::Policy = backoff::Policy::default(),
        /// The least delay of `slow-backoff` answers. Milliseconds.
        slow_delay: Millis = 30_000,
        /// What close codes mean.
        profile: close::Profile = close::Profile::default(),
        /// What counts as acceptance.
        acceptance: Acceptance = Acceptance::FirstInbound,
        /// Time without a close that counts as acceptance (`acceptance: quiet`). Milliseconds.
        quiet_time: Millis = 1_000,
        /// The limit of the URL and credential providers together. Milliseconds.
        prepare_limit: Millis = 10_000,
        /// The limit of opening a socket: connect, TLS and upgrade. Milliseconds.
        dial_limit: Millis = 20_000,
        /// The limit of acceptance after the socket opened. Milliseconds.
        accept_limit: Millis = 10_000,
        /// Inbound silence after which a ping goes out. Milliseconds. 0: never ping, as where the server pings.
        ping_after: Millis = 30_000,
        /// Inbound silence after which the connection is dead. Milliseconds; longer than `ping_after`. 0: never.
        dead_after: Millis = 75_000,
        /// How late a timer may fire, or the answer to a [`Effect::Sample`] be, before silence is no longer
        /// trusted (suspend, stalled event loop). Milliseconds.
        stall_tolerance: Millis = 5_000,
        /// How long a connection must be up before the backoff starts anew (B6); drawn from half of it to all of it. Milliseconds.
        stable_after: Millis = 5_000,
        /// How many immediate reconnects are allowed in `immediate_window` (T6).
        immediate_budget: u32 = 3,
        /// The window of `immediate_budget`. Milliseconds.
        immediate_window: Millis = 60_000,
        /// How long an old connection may finish its work after the new one took over (T5). Milliseconds.
        finish_limit: Millis = 30_000,
        /// The longest window of a drain notice that is honoured. Milliseconds.
        notice_max: Millis = 300_000,
        /// How many endpoints the host knows; the core names them 0, 1, …
        endpoints: u32 = 1,
        /// Failed dials in a row after which the next endpoint is tried (T9).
        rotate_after: u32 = 3,
        /// How many messages are buffered while down (T10).
        buffer_limit: u32 = 1_000,
        /// What happens beyond that.
        overflow: Overflow = Overflow::Refuse,
    }
}

messages! {
    /// What happened to a tunnel. A `generation` names a connection; what happens on one that is neither the
    /// current, the next nor a finishing one is a no-op (T3).
    pub enum Input as "TunnelInput" {
        /// Connect and stay connected. In `stopped` this is the explicit restart (T8).
        Start = "start",
        /// Disconnect and stay so.
        Stop = "stop",
        /// The URL and the credentials are there.
        Prepared = "prepared" {
            /// Which.
            operation: OperationId,
        },
        /// A provider failed.
        PrepareFailed = "prepare-failed" {
            /// Which.
            operation: OperationId,
        },
        /// The socket is open.
        Opened = "opened" {
            /// The connection.
            generation: u32,
        },
        /// The socket could not be opened.
        DialFailed = "dial-failed" {
            /// The connection.
            generation: u32,
            /// Why.
            failure: DialFailure,
            /// The server's `Retry-After`. Milliseconds.
            retry_after: Option<Millis>,
        },
        /// The application accepted the connection.
        Accepted = "accepted" {
            /// The connection.
            generation: u32,
        },
        /// The latest inbound frame of a connection: the first one, or the answer to [`Effect::Sample`].
        Inbound = "inbound" {
            /// The connection.
            generation: u32,
            /// How long ago it came. Milliseconds.
            ago: Millis,
        },
        /// The connection closed.
        Closed = "closed" {
            /// The connection.
            generation: u32,
            /// The close code; 1005 without a status, 1006 without a close frame.
            code: u16,
            /// The server's hint when to come back. Milliseconds.
            retry_after: Option<Millis>,
            /// Whether it used TLS.
            tls: bool,
            /// Whether there were live subscriptions.
            subscribed: bool,
        },
        /// A drain notice came in band (T5).
        DrainNotice = "drain-notice" {
            /// The connection.
            generation: u32,
            /// The window to spread over; none: now. Milliseconds.
            within: Option<Millis>,
        },
        /// The server asked for something in band.
        Asked = "asked" {
            /// The connection.
            generation: u32,
            /// What.
            asked: Asked,
        },
        /// An old connection has finished its in-flight work.
        Finished = "finished" {
            /// The connection.
            generation: u32,
        },
        /// The network is there (T9).
        Online = "online",
        /// The network is away.
        Offline = "offline",
        /// The device woke up, or the page came back: dial now, do not trust silence.
        Wake = "wake",
        /// The application wants to send while there is no connection to send on (T10). Impossible in `up` and
        /// `moving`: there it sends, without asking.
        Send = "send",
    }
}

messages! {
    /// What a tunnel wants done.
    pub enum Effect as "TunnelEffect" {
        /// Provide the URL and the credentials; answer [`Input::Prepared`] or [`Input::PrepareFailed`].
        Prepare = "prepare" {
            /// Which.
            operation: OperationId,
            /// Which endpoint.
            endpoint: u32,
            /// Whether the credentials (and the URL) must be fetched anew; else those at hand serve until they expire.
            refresh: bool,
            /// Answered later than this it is ignored. Milliseconds.
            limit: Millis,
        },
        /// Open a socket with what was prepared; answer [`Input::Opened`] or [`Input::DialFailed`].
        Dial = "dial" {
            /// The connection's generation from now on.
            generation: u32,
            /// Which endpoint.
            endpoint: u32,
            /// Whether the session of the last connection is to be resumed.
            session: close::Session,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// This connection is now the one: send on it (buffered messages first).
        Adopt = "adopt" {
            /// The connection.
            generation: u32,
        },
        /// This connection is no longer the one; let it finish its in-flight work, then answer [`Input::Finished`].
        Finish = "finish" {
            /// The connection.
            generation: u32,
            /// Closed after this. Milliseconds.
            limit: Millis,
        },
        /// Forget this connection: close it best-effort, wait for nothing (T3).
        Abandon = "abandon" {
            /// The connection.
            generation: u32,
            /// The code of the close frame: 1000, or 3008 (timeout, IANA) when it was too slow or silent. Any
            /// peer, browsers included, may send both.
            code: u16,
        },
        /// Tell when the last inbound frame came: [`Input::Inbound`].
        Sample = "sample" {
            /// The connection.
            generation: u32,
        },
        /// Send a ping.
        Ping = "ping" {
            /// The connection.
            generation: u32,
        },
        /// Buffer the message that [`Input::Send`] announced.
        Buffer = "buffer",
        /// Drop the oldest buffered message.
        DropOldest = "drop-oldest",
        /// Refuse the message that [`Input::Send`] announced.
        RefuseSend = "refuse-send",
        /// Drop every buffered message: the tunnel stopped.
        DropBuffer = "drop-buffer",
        /// A report: the state changed.
        Entered = "entered" {
            /// The state.
            state: State,
            /// How long at most, where a timer ends it. Milliseconds.
            within: Option<Millis>,
        },
        /// A report: it stopped, and why.
        Stopped = "stopped" {
            /// Why.
            reason: StopReason,
            /// The close code that caused it, if one did.
            code: Option<u16>,
        },
    }
}

names! {
    /// Why a tunnel wants to be woken.
    pub enum Why {
        /// The providers have had their time.
        PrepareLimit = "prepare-limit",
        /// The dial has had its time.
        DialLimit = "dial-limit",
        /// Acceptance has had its time.
        AcceptLimit = "accept-limit",
        /// It was quiet for long enough to count as accepted.
        Quiet = "quiet",
        /// The next attempt is due.
        Retry = "retry",
        /// The move that a notice asked for is due.
        Move = "move",
        /// Silence is to be looked at.
        Silence = "silence",
        /// The connection has been up long enough for the backoff to start anew.
        Stable = "stable",
        /// The old connection has had its time to finish.
        FinishLimit = "finish-limit",
    }
}

/// The close code of a connection that is not needed any more.
const NORMAL: u16 = 1000;
/// The close code of a connection that was too slow or silent (IANA: Timeout). 1001 would tell a relay that the
/// host goes away, and browsers may not send it.
const TIMEOUT: u16 = 3008;
/// No budget and no number of endpoints needs more.
const MOST: u64 = 1_000_000;

/// What the host wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Course {
    Idle,
    Running,
    Stopped { reason: StopReason, code: Option<u16> },
}

/// The way to the next connection. Every step of it has an end (T2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Attempt {
    /// None is wanted.
    None,
    /// One is wanted as soon as the network is there (T9).
    Suspended,
    Waiting {
        until: Millis,
    },
    Preparing {
        operation: OperationId,
        until: Millis,
    },
    Dialing {
        generation: u32,
        until: Millis,
    },
    Accepting {
        generation: u32,
        until: Millis,
    },
}

/// The adopted connection and the watch over its silence (T4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Connection {
    generation: u32,
    /// A sample was asked for; `look_at` is the latest time of its answer.
    sampling: bool,
    /// A ping went out since the last inbound frame.
    pinged: bool,
    /// `look_at` was missed by more than `stall_tolerance`.
    stalled: bool,
    /// `stable_at` still lies ahead.
    settling: bool,
    look_at: Millis,
    /// `dead_after` from the last inbound frame that is known of, or from a later baseline.
    dead_at: Millis,
    stable_at: Millis,
}

/// The connection before the adopted one, which finishes its in-flight work (T5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Old {
    generation: u32,
    until: Millis,
}

/// Why there is an attempt, for [`Rules::explain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Cause {
    Started,
    ProviderFailed,
    ProviderLate,
    Unreachable,
    DialLate,
    Refused,
    AcceptanceLate,
    Closed(u16),
    Silent,
    ToldToMove,
    ToldToRefresh,
}

/// What a generation is to the tunnel now (T3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Current,
    Dialing,
    Accepting,
    Old,
    Past,
}

/// Keeps one healthy connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tunnel {
    config: Arc<Config>,
    clock: Clock,
    random: Random,
    escalation: backoff::Escalation,
    attempt: Attempt,
    connection: Option<Connection>,
    old: Option<Old>,
    /// When the bucket of immediate reconnects is full again (T6).
    budget_full_at: Millis,
    /// The first instant at which a dial needs no budget: each one so far took a `floor` of it.
    paced_until: Millis,
    /// What a server asked for, or T7 imposes: `wake` and `online` do not go below it.
    not_before: Millis,
    /// The start of the running attempt plus the backoff's cap, from which B5 tells how much of a delay has
    /// passed. Kept as an instant ahead: further back than a cap makes no difference.
    counted_until: Millis,
    prepares: Operations,
    generations: Operations,
    endpoint: u32,
    /// Failed dials in a row, up to `rotate_after` (T9).
    dial_failures: u32,
    /// Messages in the host's buffer (T10).
    buffered: u32,
    cause: Cause,
    course: Course,
    /// For the next dial.
    session: close::Session,
    online: bool,
    /// The next prepare fetches anew.
    refresh: bool,
    /// The credentials were refused since a connection was last stable (T7).
    refused: bool,
}

impl Tunnel {
    /// Where it is (T1).
    #[must_use]
    pub fn place(&self) -> State {
        match (self.course, self.attempt) {
            (Course::Idle, _) => State::Idle,
            (Course::Stopped { .. }, _) => State::Stopped,
            (Course::Running, attempt) if self.connection.is_some() => match attempt {
                Attempt::None => State::Up,
                _ => State::Moving,
            },
            (Course::Running, Attempt::None | Attempt::Suspended) => State::Offline,
            (Course::Running, Attempt::Waiting { .. }) => State::Waiting,
            (Course::Running, Attempt::Preparing { .. }) => State::Preparing,
            (Course::Running, Attempt::Dialing { .. }) => State::Dialing,
            (Course::Running, Attempt::Accepting { .. }) => State::Accepting,
        }
    }

    /// The connection to send on.
    #[must_use]
    pub fn adopted(&self) -> Option<u32> {
        self.connection.map(|connection| connection.generation)
    }

    /// How many messages the host holds back (T10).
    #[must_use]
    pub fn buffered(&self) -> u32 {
        self.buffered
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }

    /// The end of the step that the attempt is at.
    fn attempt_timer(&self) -> (Option<Millis>, Why) {
        match self.attempt {
            Attempt::None | Attempt::Suspended => (None, Why::Retry),
            Attempt::Waiting { until } if self.connection.is_some() => (Some(until), Why::Move),
            Attempt::Waiting { until } => (Some(until), Why::Retry),
            Attempt::Preparing { until, .. } => (Some(until), Why::PrepareLimit),
            Attempt::Dialing { until, .. } => (Some(until), Why::DialLimit),
            Attempt::Accepting { until, .. } if self.config.acceptance == Acceptance::Quiet => {
                (Some(until), Why::Quiet)
            }
            Attempt::Accepting { until, .. } => (Some(until), Why::AcceptLimit),
        }
    }

    /// The generation of the attempt's socket, if it has one.
    fn next_generation(&self) -> Option<u32> {
        match self.attempt {
            Attempt::Dialing { generation, .. } | Attempt::Accepting { generation, .. } => Some(generation),
            _ => None,
        }
    }

    /// What `generation` is now (T3).
    fn role(&self, generation: u32, input: &Input) -> Result<Role, Rejection> {
        if self.adopted() == Some(generation) {
            return Ok(Role::Current);
        }
        match self.attempt {
            Attempt::Dialing { generation: next, .. } if next == generation => return Ok(Role::Dialing),
            Attempt::Accepting { generation: next, .. } if next == generation => return Ok(Role::Accepting),
            _ => {}
        }
        if self.old.is_some_and(|old| old.generation == generation) {
            return Ok(Role::Old);
        }
        match self.generations.judge(generation, None) {
            Answer::NeverIssued => Err(self.rejection(RejectionCode::NeverIssued, input)),
            Answer::Awaited | Answer::Late => Ok(Role::Past),
        }
    }

    fn rejection(&self, code: RejectionCode, input: &Input) -> Rejection {
        Rejection { code, input: input.type_name(), state: self.state() }
    }

    /// T1: the state is visible, with when it ends.
    fn report(&self, before: State, effects: &mut Vec<Effect>) {
        let state = self.place();
        if state != before {
            let within = self.attempt_timer().0.map(|at| until(self.now(), at));
            effects.push(Effect::Entered { state, within });
        }
    }

    // --- attempts ---

    /// Makes an attempt `delay` from now. One that a budget paid for (T6) may come at once; every other keeps
    /// its distance from the dial before it.
    fn attempt_after(&mut self, delay: Millis, paid: bool, effects: &mut Vec<Effect>) {
        let now = self.now();
        let at = if paid && delay == 0 { now } else { add(now, delay).max(self.paced_until) };
        if !self.online {
            self.attempt = Attempt::Suspended;
        } else if at <= now {
            self.prepare(effects);
        } else {
            self.attempt = Attempt::Waiting { until: at };
        }
    }

    /// T2: providers are asked anew for every attempt, and given a limit.
    fn prepare(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now();
        let limit = self.config.prepare_limit;
        self.paced_until = add(self.paced_until.max(now), self.config.backoff.floor);
        self.counted_until = add(now, self.config.backoff.cap);
        let operation = self.prepares.issue();
        self.attempt = Attempt::Preparing { operation, until: add(now, limit) };
        effects.push(Effect::Prepare { operation, endpoint: self.endpoint, refresh: self.refresh, limit });
    }

    fn dial(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now();
        let limit = self.config.dial_limit;
        self.refresh = false;
        self.paced_until = self.paced_until.max(add(now, self.config.backoff.floor));
        let generation = self.generations.issue();
        self.attempt = Attempt::Dialing { generation, until: add(now, limit) };
        effects.push(Effect::Dial { generation, endpoint: self.endpoint, session: self.session, limit });
    }

    /// The application accepted the next connection: it is the one from now on.
    fn adopt(&mut self, effects: &mut Vec<Effect>) {
        let Some(generation) = self.next_generation() else { return };
        let now = self.now();
        self.attempt = Attempt::None;
        self.session = close::Session::Any;
        self.dial_failures = 0;
        self.buffered = 0;
        effects.push(Effect::Adopt { generation });
        if let Some(before) = self.connection.take() {
            self.finish(before.generation, effects);
        }
        // B6: only lasting counts, and those who came back together do not all forget it together.
        let most = self.config.stable_after;
        let stable_after = self.random.between((most >> 1).max(1), most);
        let mut connection = Connection {
            generation,
            sampling: false,
            pinged: false,
            stalled: false,
            settling: true,
            look_at: 0,
            dead_at: 0,
            stable_at: add(now, stable_after),
        };
        if self.config.dead_after > 0 {
            connection.dead_at = add(now, self.config.dead_after);
            connection.look_at = connection.ping_at(&self.config);
        }
        self.connection = Some(connection);
    }

    /// T5: the old connection finishes its in-flight work, up to a limit. One at a time: an older one has had
    /// its chance.
    fn finish(&mut self, generation: u32, effects: &mut Vec<Effect>) {
        if let Some(oldest) = self.old.take() {
            effects.push(Effect::Abandon { generation: oldest.generation, code: NORMAL });
        }
        let limit = self.config.finish_limit;
        if limit == 0 {
            effects.push(Effect::Abandon { generation, code: NORMAL });
        } else {
            self.old = Some(Old { generation, until: add(self.now(), limit) });
            effects.push(Effect::Finish { generation, limit });
        }
    }

    // --- what failed, and when to try again ---

    /// The next delay of the backoff (B1–B5), and never less than the server's hint.
    fn delay(&mut self, hint: Option<Millis>) -> Millis {
        let policy = &self.config.backoff;
        let drawn = self.escalation.next(policy, &mut self.random, None);
        let passed = if policy.from_start {
            policy.cap.saturating_sub(until(self.clock.now(), self.counted_until))
        } else {
            0
        };
        let hint = policy.honoured(hint);
        drawn.saturating_sub(passed).max(hint)
    }

    /// A delay that is not to be cut short by `wake` or `online`.
    fn impose(&mut self, delay: Millis) {
        self.not_before = self.not_before.max(add(self.now(), delay));
    }

    /// A uniform delay; `max` 0 means `min`.
    fn uniform(&mut self, min: Millis, max: Millis) -> Millis {
        if max > min { self.random.between(min, max) } else { min }
    }

    /// B5 counts from now: what ended was no failed attempt.
    fn count_from_now(&mut self) {
        self.counted_until = add(self.now(), self.config.backoff.cap);
    }

    /// The attempt came to nothing: back off.
    fn attempt_failed(&mut self, cause: Cause, hint: Option<Millis>, effects: &mut Vec<Effect>) {
        self.cause = cause;
        let delay = self.delay(hint);
        self.impose(self.config.backoff.honoured(hint));
        self.attempt_after(delay, false, effects);
    }

    /// T7: the first refusal fetches the credentials anew; each further one waits a whole cap on top of its
    /// backoff, so that at most one attempt is refused in every cap interval.
    fn refused(&mut self, hint: Option<Millis>, least: Millis) -> Millis {
        let delay = self.delay(hint).max(least);
        if !self.refused {
            self.refused = true;
            self.refresh = true;
            return delay;
        }
        let delay = delay.saturating_add(self.config.backoff.cap);
        self.impose(delay);
        delay
    }

    /// T9: another endpoint is tried next. False when there is none.
    fn rotate(&mut self) -> bool {
        self.dial_failures = 0;
        let next = self.endpoint.saturating_add(1);
        self.endpoint = if next < self.config.endpoints { next } else { 0 };
        self.config.endpoints > 1
    }

    /// T9: a dial came to nothing, whoever was at fault.
    fn count_dial_failure(&mut self) {
        self.dial_failures = self.dial_failures.saturating_add(1);
        if self.dial_failures >= self.config.rotate_after {
            self.rotate();
        }
    }

    /// T6: takes one immediate reconnect out of the bucket, if there is one. `budget_full_at` is the
    /// theoretical arrival time of the generic cell rate algorithm (ITU-T I.371).
    fn afford(&mut self) -> bool {
        let budget = u64::from(self.config.immediate_budget);
        let now = self.now();
        let price = self.config.immediate_window.saturating_add(budget.saturating_sub(1)).checked_div(budget);
        let Some(price) = price else { return false };
        let spent = until(now, self.budget_full_at).saturating_add(price);
        if spent > price.saturating_mul(budget) {
            return false;
        }
        self.budget_full_at = add(now, spent);
        true
    }

    /// T5: the server drains or asks for another connection. The backoff starts anew within the budget of T6;
    /// beyond it a server that says so in a loop is backed off from.
    fn told_to_move(&mut self, cause: Cause, within: Option<Millis>, effects: &mut Vec<Effect>) {
        self.cause = cause;
        self.rotate();
        let window = within.unwrap_or(0).min(self.config.notice_max);
        let spread = self.uniform(0, window);
        let paid = self.afford();
        let delay = if paid {
            self.escalation.reset();
            spread
        } else {
            self.count_from_now();
            self.delay(None).max(spread)
        };
        if window > 0 {
            self.impose(delay);
        }
        // The new connection decides on the backoff from here.
        if let Some(connection) = &mut self.connection {
            connection.settling = false;
        }
        self.attempt_after(delay, paid, effects);
    }

    /// C1, T6–T8: what a close code means for the next attempt.
    fn closed(&mut self, code: u16, action: close::Action, hint: Option<Millis>, effects: &mut Vec<Effect>) {
        use close::Response;
        self.cause = Cause::Closed(code);
        let close::Action { response, min, max, session, drain, replaced } = action;
        if response == Response::Never {
            let reason = if replaced { StopReason::Replaced } else { StopReason::Fatal };
            self.stop(reason, Some(code), effects);
            return;
        }
        if session != close::Session::Any {
            self.session = session;
        }
        // T5: a deliberate drain is another endpoint's turn, too.
        let elsewhere = (drain || response == Response::Elsewhere) && self.rotate();
        let at_once = response == Response::Immediate || (elsewhere && response == Response::Elsewhere);
        let paid = (drain || at_once) && self.afford();
        if drain && paid {
            self.escalation.reset();
        }
        let honoured = self.config.backoff.honoured(hint);
        let delay = match response {
            Response::Immediate if paid => self.uniform(min, max).max(honoured),
            Response::Elsewhere if paid => honoured,
            Response::Spread => {
                let spread = self.uniform(min, max).max(honoured);
                let delay = if drain && !paid { self.delay(None).max(spread) } else { spread };
                self.impose(delay);
                delay
            }
            Response::Refresh => self.refused(hint, min),
            Response::SlowBackoff => self.config.slow_delay.saturating_add(self.delay(hint)).max(min),
            // RFC 6455 section 7.2.3: a first delay of its own.
            _ if max > 0 && self.escalation.attempt() == 0 => {
                let _counted = self.delay(None);
                self.uniform(min, max).max(self.config.backoff.floor).max(honoured)
            }
            _ => self.delay(hint).max(min),
        };
        self.impose(honoured);
        self.attempt_after(delay, paid, effects);
    }

    /// T8, and what the host asked for: nothing goes on but by `start`.
    fn stop(&mut self, reason: StopReason, code: Option<u16>, effects: &mut Vec<Effect>) {
        let generations = [self.old.map(|old| old.generation), self.adopted(), self.next_generation()];
        for generation in generations.into_iter().flatten() {
            effects.push(Effect::Abandon { generation, code: NORMAL });
        }
        self.old = None;
        self.connection = None;
        self.attempt = Attempt::None;
        if self.buffered > 0 {
            self.buffered = 0;
            effects.push(Effect::DropBuffer);
        }
        self.course = Course::Stopped { reason, code };
        effects.push(Effect::Stopped { reason, code });
    }

    // --- the adopted connection ---

    /// T4: silence is due to be looked at, or the answer to the last look is late.
    fn look(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now();
        let limit = self.config.stall_tolerance;
        match &mut self.connection {
            Some(connection) if connection.stalled => self.trust_anew(effects),
            Some(connection) if !connection.sampling => {
                connection.sampling = true;
                connection.look_at = add(now, limit);
                effects.push(Effect::Sample { generation: connection.generation });
            }
            _ => self.judge_silence(effects),
        }
    }

    /// T4: an inbound frame came `ago`.
    fn heard(&mut self, ago: Millis, effects: &mut Vec<Effect>) {
        let now = self.clock.now();
        let dead_after = self.config.dead_after;
        let Some(connection) = &mut self.connection else { return };
        if dead_after == 0 {
            return;
        }
        let dead_at = add(now, until(ago, dead_after));
        if dead_at > connection.dead_at.max(now) {
            connection.dead_at = dead_at;
            connection.pinged = false;
        }
        if connection.sampling {
            self.judge_silence(effects);
        }
    }

    /// T4: as long as is known, it has been silent since `dead_after` before `dead_at`.
    fn judge_silence(&mut self, effects: &mut Vec<Effect>) {
        let now = self.clock.now();
        let Config { ping_after, dead_after, .. } = *self.config;
        let Some(connection) = &mut self.connection else { return };
        let generation = connection.generation;
        connection.sampling = false;
        if now >= connection.dead_at && (connection.pinged || ping_after == 0) {
            effects.push(Effect::Abandon { generation, code: TIMEOUT });
            self.lost(effects);
            return;
        }
        let ping_at = connection.ping_at(&self.config);
        if ping_after > 0 && now >= ping_at {
            if !connection.pinged {
                // However late the ping is, the peer has its full time to answer.
                connection.dead_at = connection.dead_at.max(add(now, until(ping_after, dead_after)));
            }
            connection.pinged = true;
            connection.look_at = connection.dead_at.min(add(now, ping_after));
            effects.push(Effect::Ping { generation });
        } else {
            connection.look_at = ping_at;
        }
    }

    /// T4: what looks like silence may be the host's own absence. Ping, and give it a full window.
    fn trust_anew(&mut self, effects: &mut Vec<Effect>) {
        let now = self.clock.now();
        let Config { ping_after, dead_after, .. } = *self.config;
        let Some(connection) = &mut self.connection else { return };
        if dead_after == 0 {
            return;
        }
        // Once for each instant, however many timers and inputs say so.
        let fresh = connection.pinged && connection.dead_at == add(now, dead_after);
        connection.sampling = false;
        connection.stalled = false;
        connection.dead_at = add(now, dead_after);
        connection.look_at = connection.ping_at(&self.config);
        if ping_after > 0 && !fresh {
            connection.pinged = true;
            effects.push(Effect::Ping { generation: connection.generation });
        }
    }

    /// The watchdog gave the adopted connection up.
    fn lost(&mut self, effects: &mut Vec<Effect>) {
        self.connection = None;
        if self.attempt == Attempt::None {
            self.count_from_now();
            self.attempt_failed(Cause::Silent, None, effects);
        }
    }

    // --- the network ---

    /// T9: dial now, without resetting the escalation, but no sooner than a server asked for, and at a
    /// distance from the last dial.
    fn network_back(&mut self, effects: &mut Vec<Effect>) {
        self.online = true;
        self.trust_anew(effects);
        let wanted = match self.attempt {
            Attempt::Suspended => true,
            // A move has its own time; the connection still works.
            Attempt::Waiting { .. } => self.connection.is_none(),
            _ => false,
        };
        if wanted {
            let at = self.paced_until.max(self.not_before);
            if at <= self.now() {
                self.prepare(effects);
            } else {
                self.attempt = Attempt::Waiting { until: at };
            }
        }
    }

    /// T9: no dialing; a connection that lives is kept until it fails. A dial that is under way is given up,
    /// as the network that comes back may be another one.
    fn network_gone(&mut self, effects: &mut Vec<Effect>) {
        self.online = false;
        if let Some(generation) = self.next_generation() {
            effects.push(Effect::Abandon { generation, code: NORMAL });
        }
        if self.attempt != Attempt::None {
            self.attempt = Attempt::Suspended;
        }
    }
}

impl Connection {
    /// When silence is due for a ping, or for the verdict where there are none.
    fn ping_at(&self, config: &Config) -> Millis {
        if config.ping_after == 0 {
            return self.dead_at;
        }
        until(until(config.ping_after, config.dead_after), self.dead_at)
    }
}

impl Rules for Tunnel {
    const NAME: &'static str = "tunnel";
    const SNAPSHOT_VERSION: u16 = 1;
    type Config = Config;
    type Input = Input;
    type Effect = Effect;
    type Why = Why;

    fn check(config: &Config, faults: &mut Faults) {
        let before = faults.list().len();
        faults.inside("backoff", |faults| config.backoff.check(faults));
        faults.duration("slow_delay", config.slow_delay, 0);
        faults.inside("profile", |faults| config.profile.check(faults));
        faults.duration("quiet_time", config.quiet_time, 1);
        faults.duration("prepare_limit", config.prepare_limit, 1);
        faults.duration("dial_limit", config.dial_limit, 1);
        faults.duration("accept_limit", config.accept_limit, 1);
        faults.duration("ping_after", config.ping_after, 0);
        faults.duration("dead_after", config.dead_after, 0);
        faults.duration("stall_tolerance", config.stall_tolerance, 1);
        faults.duration("stable_after", config.stable_after, 1);
        faults.range("immediate_budget", u64::from(config.immediate_budget), 0, MOST, "");
        faults.duration("immediate_window", config.immediate_window, 1);
        faults.duration("finish_limit", config.finish_limit, 0);
        faults.duration("notice_max", config.notice_max, 0);
        faults.range("endpoints", u64::from(config.endpoints), 1, MOST, "");
        faults.range("rotate_after", u64::from(config.rotate_after), 1, MOST, "");
        if faults.list().len() > before {
            return;
        }
        let Config { ping_after, dead_after, quiet_time, accept_limit, immediate_window, .. } = *config;
        if config.acceptance == Acceptance::Quiet && quiet_time > accept_limit {
            let message = alloc::format!(
                "is {quiet_time} ms, above `accept_limit` ({accept_limit} ms): no connection could ever be accepted"
            );
            faults.add(FaultCode::Contradiction, "quiet_time", message);
        }
        if ping_after > 0 && dead_after <= ping_after {
            let message = alloc::format!(
                "is {dead_after} ms, must be above `ping_after` ({ping_after} ms), so that a ping can be answered"
            );
            faults.add(FaultCode::Contradiction, "dead_after", message);
        }
        // Else immediate reconnects could come faster than any others, and no rate would bound them.
        let floor = config.backoff.floor;
        let least = floor.saturating_mul(u64::from(config.immediate_budget));
        if immediate_window < least {
            let message = alloc::format!(
                "is {immediate_window} ms, must be at least `immediate_budget` times `backoff.floor` ({least} ms)"
            );
            faults.add(FaultCode::Contradiction, "immediate_window", message);
        }
    }

    fn start(config: Config, random: Random, clock: Clock) -> Self {
        let now = clock.now();
        Self {
            config: Arc::new(config),
            clock,
            random,
            escalation: backoff::Escalation::default(),
            attempt: Attempt::None,
            connection: None,
            old: None,
            budget_full_at: now,
            paced_until: now,
            not_before: now,
            counted_until: now,
            prepares: Operations::default(),
            generations: Operations::default(),
            endpoint: 0,
            dial_failures: 0,
            buffered: 0,
            cause: Cause::Started,
            course: Course::Idle,
            session: close::Session::Any,
            online: true,
            refresh: false,
            refused: false,
        }
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn clock(&self) -> Clock {
        self.clock
    }

    fn set_clock(&mut self, clock: Clock) {
        // T4: how late a timer is shows only here; by the time it fires it may have been rebased. Whichever timer is
        // late, the host was away.
        let late =
            self.next_timer().is_some_and(|timer| clock.now() > add(timer.at, self.config.stall_tolerance));
        if let Some(connection) = &mut self.connection
            && self.config.dead_after > 0
            && clock.now() >= connection.look_at
            && late
        {
            connection.stalled = true;
        }
        self.clock = clock;
    }

    fn state(&self) -> &'static str {
        self.place().as_str()
    }

    fn is_resting(&self) -> bool {
        match self.place() {
            State::Idle | State::Stopped | State::Offline => true,
            State::Up => self.config.dead_after == 0,
            State::Moving => self.config.dead_after == 0 && self.attempt == Attempt::Suspended,
            State::Preparing | State::Dialing | State::Accepting | State::Waiting => false,
        }
    }

    fn next_timer(&self) -> Option<Deadline<Why>> {
        let (silence, stable) = match &self.connection {
            Some(connection) => (
                (self.config.dead_after > 0).then_some(connection.look_at),
                connection.settling.then_some(connection.stable_at),
            ),
            None => (None, None),
        };
        earliest([
            self.attempt_timer(),
            (silence, Why::Silence),
            (stable, Why::Stable),
            (self.old.map(|old| old.until), Why::FinishLimit),
        ])
    }

    fn rebase(&mut self, now: Millis) {
        let from = self.clock.now();
        match &mut self.attempt {
            Attempt::None | Attempt::Suspended => {}
            Attempt::Waiting { until }
            | Attempt::Preparing { until, .. }
            | Attempt::Dialing { until, .. }
            | Attempt::Accepting { until, .. } => shift(until, from, now),
        }
        if let Some(connection) = &mut self.connection {
            shift(&mut connection.look_at, from, now);
            shift(&mut connection.dead_at, from, now);
            shift(&mut connection.stable_at, from, now);
        }
        if let Some(old) = &mut self.old {
            shift(&mut old.until, from, now);
        }
        shift(&mut self.budget_full_at, from, now);
        shift(&mut self.paced_until, from, now);
        shift(&mut self.not_before, from, now);
        shift(&mut self.counted_until, from, now);
        self.clock.rebase(now);
    }

    fn fire(&mut self, why: Why, effects: &mut Vec<Effect>) {
        let before = self.place();
        match why {
            // T2: nothing hangs on an answer.
            Why::PrepareLimit => self.attempt_failed(Cause::ProviderLate, None, effects),
            Why::DialLimit | Why::AcceptLimit => {
                if let Some(generation) = self.next_generation() {
                    effects.push(Effect::Abandon { generation, code: TIMEOUT });
                }
                self.count_dial_failure();
                let cause = if why == Why::DialLimit { Cause::DialLate } else { Cause::AcceptanceLate };
                self.attempt_failed(cause, None, effects);
            }
            // T1: quiet for long enough.
            Why::Quiet => self.adopt(effects),
            Why::Retry | Why::Move => self.prepare(effects),
            // T4
            Why::Silence => self.look(effects),
            // B6: accepted, and lasting.
            Why::Stable => {
                if let Some(connection) = &mut self.connection {
                    connection.settling = false;
                }
                self.escalation.reset();
                self.refused = false;
            }
            // T5: in-flight work has had its time.
            Why::FinishLimit => {
                if let Some(old) = self.old.take() {
                    effects.push(Effect::Abandon { generation: old.generation, code: NORMAL });
                }
            }
        }
        self.report(before, effects);
    }

    fn apply(&mut self, input: &Input, effects: &mut Vec<Effect>) -> Result<(), Rejection> {
        let before = self.place();
        match *input {
            // T8: the one way out of `stopped`. It forgives everything but the pace of dials.
            Input::Start => {
                if self.course != Course::Running {
                    self.course = Course::Running;
                    self.cause = Cause::Started;
                    self.escalation.reset();
                    self.not_before = self.now();
                    self.session = close::Session::Any;
                    self.dial_failures = 0;
                    self.refresh = false;
                    self.refused = false;
                    self.attempt_after(0, false, effects);
                }
            }
            Input::Stop => {
                if self.course == Course::Running {
                    self.stop(StopReason::Asked, None, effects);
                }
            }

            // T2: late answers are no-ops.
            Input::Prepared { operation } | Input::PrepareFailed { operation } => {
                let awaited = match self.attempt {
                    Attempt::Preparing { operation, .. } => Some(operation),
                    _ => None,
                };
                match self.prepares.judge(operation, awaited) {
                    Answer::NeverIssued => return Err(self.rejection(RejectionCode::NeverIssued, input)),
                    Answer::Late => {}
                    Answer::Awaited if matches!(input, Input::Prepared { .. }) => self.dial(effects),
                    Answer::Awaited => self.attempt_failed(Cause::ProviderFailed, None, effects),
                }
            }
            Input::Opened { generation } => match self.role(generation, input)? {
                Role::Dialing => {
                    let limit = match self.config.acceptance {
                        Acceptance::Quiet => self.config.quiet_time,
                        Acceptance::Explicit | Acceptance::FirstInbound => self.config.accept_limit,
                    };
                    self.attempt = Attempt::Accepting { generation, until: add(self.now(), limit) };
                }
                // T2: what opened too late is closed.
                Role::Past => effects.push(Effect::Abandon { generation, code: TIMEOUT }),
                Role::Accepting | Role::Current | Role::Old => {}
            },
            Input::DialFailed { generation, failure, retry_after } => {
                if self.role(generation, input)? == Role::Dialing {
                    match failure {
                        DialFailure::Unreachable => {
                            self.count_dial_failure();
                            self.attempt_failed(Cause::Unreachable, retry_after, effects);
                        }
                        // T7: as if it had been refused after it opened.
                        DialFailure::Refused => {
                            self.cause = Cause::Refused;
                            let delay = self.refused(retry_after, 0);
                            self.impose(self.config.backoff.honoured(retry_after));
                            self.attempt_after(delay, false, effects);
                        }
                    }
                }
            }

            // T1: what config says counts as acceptance; a frame before the socket opened cannot be.
            Input::Accepted { generation } => match self.role(generation, input)? {
                Role::Accepting => self.adopt(effects),
                Role::Dialing => return Err(self.rejection(RejectionCode::ImpossibleNow, input)),
                Role::Current | Role::Old | Role::Past => {}
            },
            Input::Inbound { generation, ago } => match self.role(generation, input)? {
                Role::Current => self.heard(ago, effects),
                Role::Accepting if self.config.acceptance != Acceptance::Explicit => self.adopt(effects),
                Role::Dialing => return Err(self.rejection(RejectionCode::ImpossibleNow, input)),
                Role::Accepting | Role::Old | Role::Past => {}
            },

            // T3: the code counts only on the connection that is the way in. On one that is being left, fatal
            // or not, the move goes on; on an older one it is nothing at all.
            Input::Closed { generation, code, retry_after, tls, subscribed } => {
                match self.role(generation, input)? {
                    Role::Current => {
                        self.connection = None;
                        if self.attempt == Attempt::None {
                            self.count_from_now();
                            let action = self.config.profile.decide(code, tls, subscribed);
                            self.closed(code, action, retry_after, effects);
                        }
                    }
                    Role::Dialing | Role::Accepting => {
                        self.attempt = Attempt::None;
                        let action = self.config.profile.decide(code, tls, subscribed);
                        // These turn to another endpoint by themselves, or would not help at one.
                        let turns = action.drain || action.response == close::Response::Elsewhere;
                        if !turns && action.response != close::Response::Refresh {
                            self.count_dial_failure();
                        }
                        self.closed(code, action, retry_after, effects);
                    }
                    Role::Old => self.old = None,
                    Role::Past => {}
                }
            }

            // T5: once for each connection; one that is being left has said it all.
            Input::DrainNotice { generation, .. } | Input::Asked { generation, .. } => {
                match self.role(generation, input)? {
                    Role::Current if self.attempt == Attempt::None => {}
                    Role::Accepting => {}
                    Role::Dialing => return Err(self.rejection(RejectionCode::ImpossibleNow, input)),
                    Role::Current | Role::Old | Role::Past => return Ok(()),
                }
                if let Input::Asked { asked: Asked::Stop, .. } = *input {
                    // T8
                    self.stop(StopReason::Fatal, None, effects);
                } else {
                    // A connection that was not accepted has nothing to finish.
                    if let Some(generation) = self.next_generation() {
                        self.attempt = Attempt::None;
                        effects.push(Effect::Abandon { generation, code: NORMAL });
                    }
                    match *input {
                        Input::DrainNotice { within, .. } => {
                            self.told_to_move(Cause::ToldToMove, within, effects);
                        }
                        Input::Asked { asked: Asked::Refresh, .. } => {
                            self.refresh = true;
                            self.told_to_move(Cause::ToldToRefresh, None, effects);
                        }
                        _ => self.told_to_move(Cause::ToldToMove, None, effects),
                    }
                }
            }
            Input::Finished { generation } => match self.role(generation, input)? {
                Role::Old => {
                    self.old = None;
                    effects.push(Effect::Abandon { generation, code: NORMAL });
                }
                Role::Past => {}
                Role::Current | Role::Dialing | Role::Accepting => {
                    return Err(self.rejection(RejectionCode::ImpossibleNow, input));
                }
            },

            // T9. A frozen page may have missed its `online`, so waking up counts as one.
            Input::Online | Input::Wake => self.network_back(effects),
            Input::Offline => self.network_gone(effects),

            // T10
            Input::Send => match before {
                State::Up | State::Moving => return Err(self.rejection(RejectionCode::ImpossibleNow, input)),
                State::Stopped => effects.push(Effect::RefuseSend),
                _ if self.buffered < self.config.buffer_limit => {
                    self.buffered = self.buffered.saturating_add(1);
                    effects.push(Effect::Buffer);
                }
                _ if self.config.overflow == Overflow::DropOldest && self.buffered > 0 => {
                    effects.extend([Effect::DropOldest, Effect::Buffer]);
                }
                _ => effects.push(Effect::RefuseSend),
            },
        }
        self.report(before, effects);
        Ok(())
    }

    fn explain(&self) -> Explanation {
        Explanation {
            state: self.state(),
            because: self.because(),
            waits_for: String::from(self.waits_for()),
            next: self.next_timer().map(|timer| (until(self.now(), timer.at), timer.why.as_str())),
        }
    }

    fn random(&mut self) -> Option<&mut Random> {
        Some(&mut self.random)
    }

    fn normalize(&mut self, renumber: &mut dyn FnMut(&'static str, &mut u32)) {
        self.escalation.saturate(&self.config.backoff);
        if !self.config.backoff.from_start {
            self.counted_until = self.now();
        }
        match &mut self.attempt {
            Attempt::None | Attempt::Suspended | Attempt::Waiting { .. } => {}
            Attempt::Preparing { operation, .. } => renumber("operation", operation),
            Attempt::Dialing { generation, .. } | Attempt::Accepting { generation, .. } => {
                renumber("generation", generation);
            }
        }
        let now = self.clock.now();
        if let Some(connection) = &mut self.connection {
            if !connection.settling {
                connection.stable_at = now;
            }
            renumber("generation", &mut connection.generation);
        }
        if let Some(old) = &mut self.old {
            renumber("generation", &mut old.generation);
        }
        renumber("operation", self.prepares.counter());
        renumber("generation", self.generations.counter());
    }

    fn write(&self, to: &mut Writer) {
        self.config.write(to);
        self.random.write(to);
        self.escalation.write(to);
        self.attempt.write(to);
        self.connection.write(to);
        self.old.write(to);
        for time in [self.budget_full_at, self.paced_until, self.not_before, self.counted_until] {
            to.number(time);
        }
        self.prepares.write(to);
        self.generations.write(to);
        self.endpoint.write(to);
        self.dial_failures.write(to);
        self.buffered.write(to);
        self.cause.write(to);
        self.course.write(to);
        self.session.write(to);
        self.online.write(to);
        self.refresh.write(to);
        self.refused.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        let tunnel = Self {
            config: Record::read(from)?,
            clock: Clock::starting_at(0),
            random: Record::read(from)?,
            escalation: Record::read(from)?,
            attempt: Record::read(from)?,
            connection: Record::read(from)?,
            old: Record::read(from)?,
            budget_full_at: from.time()?,
            paced_until: from.time()?,
            not_before: from.time()?,
            counted_until: from.time()?,
            prepares: Record::read(from)?,
            generations: Record::read(from)?,
            endpoint: Record::read(from)?,
            dial_failures: Record::read(from)?,
            buffered: Record::read(from)?,
            cause: Record::read(from)?,
            course: Record::read(from)?,
            session: Record::read(from)?,
            online: Record::read(from)?,
            refresh: Record::read(from)?,
            refused: Record::read(from)?,
        };
        if tunnel.is_possible() { Ok(tunnel) } else { Err(RecordFault::Corrupt) }
    }
}

impl Tunnel {
    /// Why it is not connected, in words.
    fn because(&self) -> String {
        match (self.course, self.connection) {
            (Course::Idle, _) => return String::from("it was not started"),
            (Course::Stopped { reason, code }, _) => {
                let why = match reason {
                    StopReason::Asked => "the host asked for it",
                    StopReason::Fatal => "the server forbids another attempt",
                    StopReason::Replaced => "another connection with the same identity took over",
                };
                return match code {
                    Some(code) => alloc::format!("{why} (close code {code})"),
                    None => String::from(why),
                };
            }
            (Course::Running, Some(connection)) if self.attempt == Attempt::None => {
                return alloc::format!("connection {} was accepted", connection.generation);
            }
            (Course::Running, _) => {}
        }
        let cause = match self.cause {
            Cause::Started => "it was started",
            Cause::ProviderFailed => "the URL or the credentials could not be provided",
            Cause::ProviderLate => "the URL and the credentials were not provided in time",
            Cause::Unreachable => "the last dial failed",
            Cause::DialLate => "the last dial took too long",
            Cause::Refused => "the credentials were refused",
            Cause::AcceptanceLate => "the last connection was not accepted in time",
            Cause::Closed(code) => {
                let delays = self.escalation.attempt();
                return alloc::format!(
                    "the last connection closed with {code}; delays since the backoff began: {delays}"
                );
            }
            Cause::Silent => "the last connection was silent for too long",
            Cause::ToldToMove => "the server asked for another connection",
            Cause::ToldToRefresh => "the server asked for new credentials",
        };
        alloc::format!("{cause}; delays since the backoff began: {}", self.escalation.attempt())
    }

    fn waits_for(&self) -> &'static str {
        match self.attempt {
            _ if self.course != Course::Running => "a start",
            Attempt::None => "the connection to end, or to fall silent",
            Attempt::Suspended => "the network",
            Attempt::Waiting { .. } => "the end of the delay",
            Attempt::Preparing { .. } => "the URL and the credentials",
            Attempt::Dialing { .. } => "the socket to open",
            Attempt::Accepting { .. } => "the application to accept",
        }
    }

    /// Whether a machine of this config could have come to this state.
    fn is_possible(&self) -> bool {
        let issued = |generation| (1..=self.generations.issued()).contains(&generation);
        let generations = [self.adopted(), self.next_generation(), self.old.map(|old| old.generation)];
        let prepared = match self.attempt {
            Attempt::Preparing { operation, .. } => (1..=self.prepares.issued()).contains(&operation),
            _ => true,
        };
        let nothing = self.attempt == Attempt::None && self.connection.is_none();
        let running = self.course == Course::Running;
        nothing != running
            && (running || self.old.is_none())
            && generations.into_iter().flatten().all(issued)
            && prepared
            && (self.online || matches!(self.attempt, Attempt::None | Attempt::Suspended))
            && (!self.online || self.attempt != Attempt::Suspended)
            && self.endpoint < self.config.endpoints
            && self.buffered <= self.config.buffer_limit
    }
}

impl Record for Attempt {
    fn write(&self, to: &mut Writer) {
        let (tag, id, until) = match *self {
            Self::None => return to.number(0),
            Self::Suspended => return to.number(1),
            Self::Waiting { until } => (2, 0, until),
            Self::Preparing { operation, until } => (3, operation, until),
            Self::Dialing { generation, until } => (4, generation, until),
            Self::Accepting { generation, until } => (5, generation, until),
        };
        to.number(tag);
        id.write(to);
        to.number(until);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        let tag = from.number()?;
        if tag < 2 {
            return Ok(if tag == 0 { Self::None } else { Self::Suspended });
        }
        let (id, until) = (from.small()?, from.time()?);
        match tag {
            2 => Ok(Self::Waiting { until }),
            3 => Ok(Self::Preparing { operation: id, until }),
            4 => Ok(Self::Dialing { generation: id, until }),
            5 => Ok(Self::Accepting { generation: id, until }),
            _ => Err(RecordFault::Corrupt),
        }
    }
}

impl Record for Connection {
    fn write(&self, to: &mut Writer) {
        self.generation.write(to);
        for flag in [self.sampling, self.pinged, self.stalled, self.settling] {
            to.flag(flag);
        }
        for time in [self.look_at, self.dead_at, self.stable_at] {
            to.number(time);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        Ok(Self {
            generation: from.small()?,
            sampling: from.flag()?,
            pinged: from.flag()?,
            stalled: from.flag()?,
            settling: from.flag()?,
            look_at: from.time()?,
            dead_at: from.time()?,
            stable_at: from.time()?,
        })
    }
}

record_fields!(Old { generation, until });

impl Record for Cause {
    fn write(&self, to: &mut Writer) {
        to.number(match *self {
            Self::Started => 0,
            Self::ProviderFailed => 1,
            Self::ProviderLate => 2,
            Self::Unreachable => 3,
            Self::DialLate => 4,
            Self::Refused => 5,
            Self::AcceptanceLate => 6,
            Self::Silent => 7,
            Self::ToldToMove => 8,
            Self::ToldToRefresh => 9,
            Self::Closed(code) => {
                to.number(10);
                return code.write(to);
            }
        });
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        Ok(match from.number()? {
            0 => Self::Started,
            1 => Self::ProviderFailed,
            2 => Self::ProviderLate,
            3 => Self::Unreachable,
            4 => Self::DialLate,
            5 => Self::Refused,
            6 => Self::AcceptanceLate,
            7 => Self::Silent,
            8 => Self::ToldToMove,
            9 => Self::ToldToRefresh,
            10 => Self::Closed(Record::read(from)?),
            _ => return Err(RecordFault::Corrupt),
        })
    }
}

impl Record for Course {
    fn write(&self, to: &mut Writer) {
        match *self {
            Self::Idle => to.number(0),
            Self::Running => to.number(1),
            Self::Stopped { reason, code } => {
                to.number(2);
                reason.write(to);
                code.write(to);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        match from.number()? {
            0 => Ok(Self::Idle),
            1 => Ok(Self::Running),
            2 => Ok(Self::Stopped { reason: Record::read(from)?, code: Record::read(from)? }),
            _ => Err(RecordFault::Corrupt),
        }
    }
}

#[cfg(test)]
mod tests;
