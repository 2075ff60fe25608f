//! Close codes: what to do when a connection closes, and what may be sent (rules C1–C3).

use alloc::string::String;
use alloc::vec::Vec;

use crate::Millis;

names! {
    /// What to do after a close.
    pub enum Response {
        /// Stop; only an explicit start goes on.
        Never = "never",
        /// Try again after the next backoff delay.
        Backoff = "backoff",
        /// Try again after a delay at the slow end of the backoff.
        SlowBackoff = "slow-backoff",
        /// Try again now (within a budget).
        Immediate = "immediate",
        /// Try again after a delay uniform within the rule's `min` to `max`.
        Spread = "spread",
        /// Refresh the credentials, then try again after a backoff delay.
        Refresh = "refresh",
        /// Try another endpoint, after a backoff delay if there is none.
        Elsewhere = "elsewhere",
    }
}

names! {
    /// What becomes of the session that the connection carried.
    pub enum Session {
        /// The protocol has none, or it does not matter.
        Any = "any",
        /// The next connection starts a new one.
        New = "new",
        /// The next connection resumes it.
        Keep = "keep",
    }
}

names! {
    /// When a rule applies, where a code alone does not say.
    pub enum Context {
        /// Always.
        Always = "always",
        /// Only when the connection used TLS.
        Tls = "tls",
        /// Only when it did not.
        Plain = "plain",
        /// Only while there are live subscriptions.
        Subscribed = "subscribed",
    }
}

names! {
    /// Who sends a close frame.
    pub enum Sender {
        /// A server.
        Server = "server",
        /// A client that is not a browser.
        Client = "client",
        /// A browser: 1000 and 3000–4999 only.
        Browser = "browser",
    }
}

settings! {
    /// One rule of a close-code profile: what the codes `from` to `to` mean.
    pub struct Rule as "CloseRule" {
        /// The first code.
        from: u16 = 0,
        /// The last code; the same as `from` for a single one.
        to: u16 = 0,
        /// When the rule applies.
        when: Context = Context::Always,
        /// What to do.
        response: Response = Response::Backoff,
        /// The least delay (`spread`: the lower end). Milliseconds.
        min: Millis = 0,
        /// The upper end of `spread`, or of a first delay drawn uniformly from `min`. Milliseconds; 0 means none.
        max: Millis = 0,
        /// What becomes of the session.
        session: Session = Session::Any,
        /// Whether the code means a deliberate drain: the backoff starts anew (T5).
        drain: bool = false,
        /// Whether another connection has taken this one's place (T8).
        replaced: bool = false,
    }
}

settings! {
    /// Which meaning close codes have. No code is interpreted without a profile (C3).
    pub struct Profile as "CloseProfile" {
        /// A built-in profile: `rfc6455`, `relay`, `pusher`, `discord`, `centrifugo`, `graphql-ws`.
        base: String = String::from("rfc6455"),
        /// Rules of your own, tried in order before those of `base`.
        rules: Vec<Rule> = Vec::new(),
    }
}

messages! {
    /// A question to the close policy.
    pub enum Input as "ClosePolicyInput" {
        /// A connection closed: what now?
        Closed = "closed" {
            /// The close code, 1005 without a status, 1006 without a close frame.
            code: u16,
            /// Whether the connection used TLS.
            tls: bool,
            /// Whether there were live subscriptions.
            subscribed: bool,
        },
        /// A Slack-style disconnect message: what now?
        Disconnected = "disconnected" {
            /// The message's `reason`.
            reason: DisconnectReason,
        },
        /// May this code be sent?
        Send = "send" {
            /// The code.
            code: u16,
            /// Who sends it.
            sender: Sender,
            /// Whether a code that may not be sent is replaced by the nearest that may, as bridges need.
            remap: bool,
        },
    }
}

names! {
    /// The reasons of Slack's socket-mode `disconnect` message.
    pub enum DisconnectReason {
        /// The connection will be closed in about 10 s: make before break.
        Warning = "warning",
        /// A new URL is to be fetched.
        RefreshRequested = "refresh_requested",
        /// The app was disabled: stop.
        LinkDisabled = "link_disabled",
    }
}

messages! {
    /// The close policy's answer.
    pub enum Effect as "ClosePolicyEffect" {
        /// Do this.
        Act = "act" {
            /// What to do.
            response: Response,
            /// The least delay. Milliseconds.
            min: Millis,
            /// The upper end of a uniform delay; 0 means none. Milliseconds.
            max: Millis,
            /// What becomes of the session.
            session: Session,
            /// Whether the backoff starts anew.
            drain: bool,
            /// Whether another connection took the place of this one.
            replaced: bool,
        },
        /// Dial the next connection while this one still works.
        MakeBeforeBreak = "make-before-break",
        /// This code may be sent.
        SendCode = "send-code" {
            /// The code, replaced if asked for.
            code: u16,
        },
        /// This code may not be sent.
        RefuseCode = "refuse-code" {
            /// The code.
            code: u16,
        },
    }
}
