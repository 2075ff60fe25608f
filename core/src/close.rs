//! Close codes: what to do when a connection closes, and what may be sent (rules C1–C3).
//!
//! The same number means different things to different servers: 4001 is a drain to our relays, a missing app
//! to Pusher and a wrong opcode to Discord. So there is no answer without a [`Profile`], and a profile is data:
//! a built-in one, with rules of one's own before it. [`Profile::decide`], [`disconnected`], [`may_send`],
//! [`remap`] and [`cut_reason`] are functions on values; [`ClosePolicy`] asks them over a language boundary. It
//! has no state (its one, resting, state is `answering`) and never wants to be woken.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::{
    Clock, Deadline, Explanation, FaultCode, Faults, MAX_DURATION, Millis, Random, Reader, Record,
    RecordFault, Rejection, Rules, Writer,
};

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
        /// Try another endpoint after a backoff delay; where there is none, as [`Response::SlowBackoff`].
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
        /// A built-in profile: `rfc6455`, `relay`, `pusher`, `discord`, `centrifugo`, `graphql-ws`, `mqtt5`.
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
        /// The server said in band that this connection ends: what now?
        Disconnected = "disconnected" {
            /// What it said.
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
    /// What a server says in band before it closes: the reasons of Slack's socket-mode `disconnect` message,
    /// and the lame duck of a NATS `INFO`.
    pub enum DisconnectReason {
        /// The connection will be closed in about 10 s: make before break.
        Warning = "warning",
        /// A new URL is to be fetched.
        RefreshRequested = "refresh_requested",
        /// The app was disabled: stop.
        LinkDisabled = "link_disabled",
        /// NATS `INFO {"ldm":true}`: make before break, to another server.
        LameDuckMode = "ldm",
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

/// What a close code asks for: the outcome of [`Profile::decide`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Action {
    /// What to do.
    pub response: Response,
    /// The least delay; of `spread` the lower end. Milliseconds.
    pub min: Millis,
    /// The upper end of `spread`; of another response the upper end of a *first* delay (that of an escalation
    /// at its start), drawn uniformly from `min`. 0 means none. Milliseconds.
    pub max: Millis,
    /// What becomes of the session.
    pub session: Session,
    /// Whether the close is a deliberate drain: the backoff starts anew (T5).
    pub drain: bool,
    /// Whether another connection took this one's place (T8).
    pub replaced: bool,
}

impl Rule {
    /// A rule for the codes `from` to `to`.
    const fn band(from: u16, to: u16, response: Response) -> Self {
        Self {
            from,
            to,
            when: Context::Always,
            response,
            min: 0,
            max: 0,
            session: Session::Any,
            drain: false,
            replaced: false,
        }
    }

    /// A rule for one code.
    const fn one(code: u16, response: Response) -> Self {
        Self::band(code, code, response)
    }

    const fn only(self, when: Context) -> Self {
        Self { when, ..self }
    }

    const fn delayed(self, min: Millis, max: Millis) -> Self {
        Self { min, max, ..self }
    }

    const fn session(self, session: Session) -> Self {
        Self { session, ..self }
    }

    const fn drain(self) -> Self {
        Self { drain: true, ..self }
    }

    const fn replaced(self) -> Self {
        Self { replaced: true, ..self }
    }

    /// Whether it speaks about this close.
    fn covers(&self, code: u16, tls: bool, subscribed: bool) -> bool {
        self.from <= code
            && code <= self.to
            && match self.when {
                Context::Always => true,
                Context::Tls => tls,
                Context::Plain => !tls,
                Context::Subscribed => subscribed,
            }
    }

    /// What it says.
    const fn action(&self) -> Action {
        let Self { response, min, max, session, drain, replaced, .. } = *self;
        Action { response, min, max, session, drain, replaced }
    }
}

use Response::{Backoff, Elsewhere, Immediate, Never, Refresh, SlowBackoff, Spread};

/// RFC 6455 section 7.4 and the IANA registry. Every profile falls back to it, and it covers every code.
static RFC6455: &[Rule] = &[
    Rule::one(1000, Never),
    Rule::one(1001, Backoff),
    Rule::band(1002, 1003, Never),
    Rule::band(1004, 1005, Backoff),
    // RFC 6455 section 7.2.3: the first reconnect after an abnormal closure comes after a random 0 to 5 s.
    Rule::one(1006, Backoff).delayed(0, 5_000),
    Rule::one(1007, Never),
    Rule::one(1008, Refresh),
    Rule::band(1009, 1010, Never),
    Rule::one(1011, Backoff),
    // IANA: reconnect after a random delay of 5 to 30 s.
    Rule::one(1012, Spread).delayed(5_000, 30_000),
    Rule::one(1013, Elsewhere),
    Rule::one(1014, Backoff),
    Rule::one(1015, SlowBackoff),
    Rule::one(3000, Refresh),
    Rule::one(3003, Never),
    Rule::one(3008, Backoff),
    // Unassigned, or private without a profile that knows them: as after a protocol error of the server.
    Rule::band(0, u16::MAX, Backoff),
];

/// tidegate's own relays.
static RELAY: &[Rule] = &[
    Rule::one(4001, Immediate).drain(),
    Rule::one(4400, Never),
    Rule::one(4401, Refresh),
    Rule::one(4403, SlowBackoff),
    Rule::one(4404, Never),
    Rule::one(4408, Immediate),
    Rule::one(4409, Never).replaced(),
    Rule::one(4410, Elsewhere),
];

/// Pusher Channels.
static PUSHER: &[Rule] = &[
    // "Only TLS is accepted": at once, over TLS. A connection that has it already falls into the band below,
    // as the same attempt again could only be told the same.
    Rule::one(4000, Immediate).only(Context::Plain),
    Rule::band(4000, 4099, Never),
    Rule::band(4100, 4199, Backoff).delayed(1_000, 0),
    Rule::band(4200, 4299, Immediate),
    Rule::one(4301, Backoff),
];

/// The Discord gateway. Who wants to resume must not close with 1000 or 1001 itself.
static DISCORD: &[Rule] = &[
    Rule::band(4000, 4003, Backoff).session(Session::Keep),
    Rule::one(4004, Never),
    Rule::one(4005, Backoff).session(Session::Keep),
    Rule::one(4007, Backoff).session(Session::New),
    Rule::one(4008, Backoff).session(Session::Keep),
    Rule::one(4009, Backoff).session(Session::New),
    Rule::band(4010, 4014, Never),
];

/// Centrifugo.
static CENTRIFUGO: &[Rule] = &[
    Rule::one(1009, Never),
    // State invalidated: the token and the state are dropped, so the next attempt brings new ones.
    Rule::one(3014, Refresh).session(Session::New),
    Rule::band(3000, 3499, Backoff),
    Rule::band(3500, 3999, Never),
    Rule::band(4000, 4499, Backoff),
    Rule::band(4500, 4999, Never),
];

/// `graphql-transport-ws`. Of 1000 to 1999 it retries those that say that the server or the way is at fault,
/// with the delays of RFC 6455, and stops on the rest.
static GRAPHQL_WS: &[Rule] = &[
    Rule::one(1000, Backoff).only(Context::Subscribed),
    Rule::one(1001, Backoff),
    Rule::one(1005, Backoff),
    Rule::one(1006, Backoff).delayed(0, 5_000),
    Rule::one(1012, Spread).delayed(5_000, 30_000),
    Rule::one(1013, Elsewhere),
    Rule::one(1014, Backoff),
    Rule::band(1000, 1999, Never),
    Rule::band(4004, 4005, Never),
    Rule::band(4400, 4401, Never),
    Rule::one(4403, Backoff),
    Rule::one(4406, Never),
    Rule::one(4408, Backoff),
    Rule::one(4409, Never),
    Rule::one(4429, Never),
    Rule::one(4499, Backoff),
    Rule::one(4500, Never),
    Rule::one(4504, Backoff),
];

/// The reason code of an MQTT 5 `DISCONNECT` (section 3.14.2.1), in place of a close code.
static MQTT5: &[Rule] = &[
    Rule::one(0x8b, Backoff),
    Rule::one(0x8e, Never).replaced(),
    Rule::one(0x9c, Elsewhere),
    // Server moved: for good, so whoever rotates stays there.
    Rule::one(0x9d, Elsewhere),
];

/// The built-in profiles by name.
static PROFILES: &[(&str, &[Rule])] = &[
    ("rfc6455", RFC6455),
    ("relay", RELAY),
    ("pusher", PUSHER),
    ("discord", DISCORD),
    ("centrifugo", CENTRIFUGO),
    ("graphql-ws", GRAPHQL_WS),
    ("mqtt5", MQTT5),
];

fn built_in(name: &str) -> Option<&'static [Rule]> {
    PROFILES.iter().find(|(known, _)| *known == name).map(|(_, rules)| *rules)
}

impl Profile {
    /// The built-in profile of this name, without rules of one's own.
    #[must_use]
    pub fn named(base: &str) -> Self {
        Self { base: String::from(base), rules: Vec::new() }
    }

    /// The names of the built-in profiles.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PROFILES.iter().map(|(name, _)| *name)
    }

    /// What to do after a close with `code` (C1). The first rule that speaks about it decides: those of the
    /// profile, then those of its base, then RFC 6455's, which cover everything.
    #[must_use]
    pub fn decide(&self, code: u16, tls: bool, subscribed: bool) -> Action {
        let base = built_in(&self.base).unwrap_or(&[]);
        let rules = [self.rules.as_slice(), base, RFC6455];
        let rule = rules.into_iter().flatten().find(|rule| rule.covers(code, tls, subscribed));
        rule.map_or_else(|| Rule::default().action(), Rule::action)
    }

    /// Checks the profile; every fault is added to `faults`.
    pub fn check(&self, faults: &mut Faults) {
        if built_in(&self.base).is_none() {
            let known: Vec<&str> = Self::names().collect();
            let message = alloc::format!("is `{}`, must be one of: {}", self.base, known.join(", "));
            faults.add(FaultCode::BadName, "base", message);
        }
        for (at, rule) in self.rules.iter().enumerate() {
            let field = |name: &str| alloc::format!("rules[{at}].{name}");
            let Rule { from, to, response, min, max, replaced, .. } = *rule;
            if from > to {
                let message = alloc::format!("is {from}, above `to` ({to}): swap them");
                faults.add(FaultCode::Contradiction, &field("from"), message);
            }
            faults.range(&field("min"), min, 0, MAX_DURATION, " ms");
            faults.range(&field("max"), max, 0, MAX_DURATION, " ms");
            if (response == Spread || max > 0) && max < min {
                let message = alloc::format!("is {max} ms, below `min` ({min} ms): raise it");
                faults.add(FaultCode::Contradiction, &field("max"), message);
            }
            if replaced && response != Never {
                let message = "is set, so `response` must be `never`: two clients of one identity would duel";
                faults.add(FaultCode::Contradiction, &field("replaced"), message);
            }
            let hidden = |earlier: &Rule| {
                earlier.from <= from
                    && to <= earlier.to
                    && (earlier.when == Context::Always || earlier.when == rule.when)
            };
            if let Some(earlier) = self.rules.iter().take(at).position(hidden) {
                let message =
                    alloc::format!("to `to` is all in rules[{earlier}], which comes first: reorder them");
                faults.add(FaultCode::Contradiction, &field("from"), message);
            }
        }
    }
}

/// What to do after an in-band message that says that the connection ends (C1).
#[must_use]
pub fn disconnected(reason: DisconnectReason) -> Effect {
    let action = |response| Effect::from(Rule::one(0, response).action());
    match reason {
        DisconnectReason::Warning | DisconnectReason::LameDuckMode => Effect::MakeBeforeBreak,
        DisconnectReason::RefreshRequested => action(Refresh),
        DisconnectReason::LinkDisabled => action(Never),
    }
}

impl From<Action> for Effect {
    fn from(action: Action) -> Self {
        let Action { response, min, max, session, drain, replaced } = action;
        Self::Act { response, min, max, session, drain, replaced }
    }
}

/// Whether `sender` may put `code` into a close frame (C2; RFC 6455 section 7.4, the WebSocket API of
/// browsers).
#[must_use]
pub fn may_send(code: u16, sender: Sender) -> bool {
    match (sender, code) {
        (_, 1000 | 3000..=4999) => true,
        (Sender::Browser, _) => false,
        // 1010 says which extension the *client* misses.
        (Sender::Server, 1010) => false,
        (Sender::Client | Sender::Server, code) => matches!(code, 1001..=1003 | 1007..=1014),
    }
}

/// The nearest code that `sender` may send in place of `code`, for bridges that pass a close on (C2): itself if
/// it may be sent, else 1011 (4000 from a browser, whose range has no 1011). Never 1000: what could not be
/// passed on was no normal closure.
#[must_use]
pub fn remap(code: u16, sender: Sender) -> u16 {
    if may_send(code, sender) {
        return code;
    }
    match sender {
        Sender::Server | Sender::Client => 1011,
        Sender::Browser => 4000,
    }
}

/// The most UTF-8 bytes of a close frame's reason: 125 of a control frame less 2 of the code (RFC 6455
/// section 5.5).
pub const MAX_REASON: usize = 123;

/// `reason`, cut at a character to what fits into a close frame (C2).
#[must_use]
pub fn cut_reason(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    reason.get(..end).unwrap_or("")
}

names! {
    /// Why a close policy wants to be woken: never.
    pub enum Why {
        /// Stands here as a closed set needs a word; no deadline carries it.
        Never = "never",
    }
}

/// The close policy of one profile, as a machine without state, so that every language can ask it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClosePolicy {
    profile: Arc<Profile>,
    clock: Clock,
}

impl Rules for ClosePolicy {
    const NAME: &'static str = "close-policy";
    const SNAPSHOT_VERSION: u16 = 1;
    type Config = Profile;
    type Input = Input;
    type Effect = Effect;
    type Why = Why;

    fn check(profile: &Profile, faults: &mut Faults) {
        profile.check(faults);
    }

    /// Nothing is drawn here: that is the business of whoever waits.
    fn start(profile: Profile, _random: Random, clock: Clock) -> Self {
        Self { profile: Arc::new(profile), clock }
    }

    fn config(&self) -> &Profile {
        &self.profile
    }

    fn clock(&self) -> Clock {
        self.clock
    }

    fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    fn state(&self) -> &'static str {
        "answering"
    }

    fn is_resting(&self) -> bool {
        true
    }

    fn next_timer(&self) -> Option<Deadline<Why>> {
        None
    }

    fn rebase(&mut self, now: Millis) {
        self.clock.rebase(now);
    }

    fn fire(&mut self, _why: Why, _effects: &mut Vec<Effect>) {}

    fn apply(&mut self, input: &Input, effects: &mut Vec<Effect>) -> Result<(), Rejection> {
        effects.push(match *input {
            Input::Closed { code, tls, subscribed } => self.profile.decide(code, tls, subscribed).into(),
            Input::Disconnected { reason } => disconnected(reason),
            Input::Send { code, sender, remap: true } => Effect::SendCode { code: remap(code, sender) },
            Input::Send { code, sender, remap: false } if may_send(code, sender) => Effect::SendCode { code },
            Input::Send { code, .. } => Effect::RefuseCode { code },
        });
        Ok(())
    }

    fn explain(&self) -> Explanation {
        let Profile { base, rules } = &*self.profile;
        Explanation {
            state: self.state(),
            because: alloc::format!("it answers by profile `{base}` and {} rules before it", rules.len()),
            waits_for: String::from("a question"),
            next: None,
        }
    }

    fn write(&self, to: &mut Writer) {
        self.profile.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        Ok(Self { profile: Record::read(from)?, clock: Clock::starting_at(0) })
    }
}
