//! Tunnel: a client that keeps one healthy connection (rules T1–T10).

use crate::{Millis, OperationId, backoff, close};

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
        /// Connected, and dialing the next connection: make before break.
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
        /// Inbound silence after which a ping goes out. Milliseconds. 0: never ping.
        ping_after: Millis = 30_000,
        /// Inbound silence after which the connection is dead. Milliseconds; longer than `ping_after`.
        dead_after: Millis = 75_000,
        /// How late a timer may fire before silence is no longer trusted (suspend, stalled event loop). Milliseconds.
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
        /// The application wants to send while the tunnel is not up (T10).
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
            /// Whether the credentials (and the URL) must be fetched anew.
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
            /// The code of the close frame.
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
