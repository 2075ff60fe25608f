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
        /// Try another endpoint now (within a budget); where there is none, after a backoff delay of at least the
        /// rule's `min`.
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
    Rule::one(1013, Elsewhere).delayed(30_000, 0),
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
    Rule::one(1013, Elsewhere).delayed(30_000, 0),
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
            if response == Spread && max == 0 {
                let message =
                    "is 0 ms, so the spread is none: raise it, or use `immediate`, which has a budget";
                faults.add(FaultCode::Contradiction, &field("max"), message);
            } else if max > 0 && max < min {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Machine, Name};

    /// What is said of a close, as a person would write it: the response and whatever else is not the default.
    fn words(action: Action) -> String {
        let Action { response, min, max, session, drain, replaced } = action;
        let mut words = vec![response.as_str().to_owned()];
        match (min, max) {
            (0, 0) => {}
            (min, 0) => words.push(format!(">={min}")),
            (min, max) => words.push(format!("{min}..{max}")),
        }
        if session != Session::Any {
            words.push(session.as_str().to_owned());
        }
        words.extend(drain.then(|| "drain".to_owned()));
        words.extend(replaced.then(|| "replaced".to_owned()));
        words.join(" ")
    }

    /// The whole table of a profile: every code, neighbours that are alike taken together.
    fn table(profile: &str, tls: bool, subscribed: bool) -> Vec<String> {
        let profile = Profile::named(profile);
        let mut bands: Vec<(u16, u16, Action)> = Vec::new();
        for code in 0..=u16::MAX {
            let action = profile.decide(code, tls, subscribed);
            match bands.last_mut() {
                Some((_, to, same)) if *same == action => *to = code,
                _ => bands.push((code, code, action)),
            }
        }
        assert_eq!(bands.iter().map(|(from, to, _)| usize::from(to - from) + 1).sum::<usize>(), 65_536);
        let line = |(from, to, action): (u16, u16, Action)| {
            if from == to {
                format!("{from} {}", words(action))
            } else {
                format!("{from}-{to} {}", words(action))
            }
        };
        bands.into_iter().map(line).collect()
    }

    /// 0 to 2999 of RFC 6455, with which the tables of most profiles begin.
    const RFC: &[&str] = &[
        "0-999 backoff",
        "1000 never",
        "1001 backoff",
        "1002-1003 never",
        "1004-1005 backoff",
        "1006 backoff 0..5000",
        "1007 never",
        "1008 refresh",
        "1009-1010 never",
        "1011 backoff",
        "1012 spread 5000..30000",
        "1013 elsewhere >=30000",
        "1014 backoff",
        "1015 slow-backoff",
    ];
    /// 1016 to 3999 of RFC 6455, up to where a profile begins.
    const RFC_3000: &[&str] = &["1016-2999 backoff", "3000 refresh", "3001-3002 backoff", "3003 never"];

    #[test]
    fn c1_rfc6455_says_one_thing_of_each_code() {
        let expected = [RFC, RFC_3000, &["3004-65535 backoff"]].concat();
        assert_eq!(table("rfc6455", true, false), expected);
    }

    #[test]
    fn c1_relay_says_one_thing_of_each_code() {
        let own: &[&str] = &[
            "3004-4000 backoff",
            "4001 immediate drain",
            "4002-4399 backoff",
            "4400 never",
            "4401 refresh",
            "4402 backoff",
            "4403 slow-backoff",
            "4404 never",
            "4405-4407 backoff",
            "4408 immediate",
            "4409 never replaced",
            "4410 elsewhere",
            "4411-65535 backoff",
        ];
        assert_eq!(table("relay", true, false), [RFC, RFC_3000, own].concat());
    }

    #[test]
    fn c1_pusher_says_one_thing_of_each_code_and_4000_depends_on_tls() {
        let rest: &[&str] = &["4100-4199 backoff >=1000", "4200-4299 immediate", "4300-65535 backoff"];
        let own: &[&str] = &["3004-3999 backoff", "4000-4099 never"];
        assert_eq!(table("pusher", true, false), [RFC, RFC_3000, own, rest].concat());
        let own: &[&str] = &["3004-3999 backoff", "4000 immediate", "4001-4099 never"];
        assert_eq!(table("pusher", false, false), [RFC, RFC_3000, own, rest].concat());
    }

    #[test]
    fn c1_discord_says_one_thing_of_each_code() {
        let own: &[&str] = &[
            "3004-3999 backoff",
            "4000-4003 backoff keep",
            "4004 never",
            "4005 backoff keep",
            "4006 backoff",
            "4007 backoff new",
            "4008 backoff keep",
            "4009 backoff new",
            "4010-4014 never",
            "4015-65535 backoff",
        ];
        assert_eq!(table("discord", true, false), [RFC, RFC_3000, own].concat());
    }

    #[test]
    fn c1_centrifugo_says_one_thing_of_each_code() {
        // 1009 is fatal to it as to RFC 6455.
        let own: &[&str] = &[
            "1016-3013 backoff",
            "3014 refresh new",
            "3015-3499 backoff",
            "3500-3999 never",
            "4000-4499 backoff",
            "4500-4999 never",
            "5000-65535 backoff",
        ];
        assert_eq!(table("centrifugo", true, false), [RFC, own].concat());
    }

    #[test]
    fn c1_graphql_ws_says_one_thing_of_each_code_and_1000_depends_on_subscriptions() {
        let middle: &[&str] = &[
            "1002-1004 never",
            "1005 backoff",
            "1006 backoff 0..5000",
            "1007-1011 never",
            "1012 spread 5000..30000",
            "1013 elsewhere >=30000",
            "1014 backoff",
            "1015-1999 never",
            "2000-2999 backoff",
            "3000 refresh",
            "3001-3002 backoff",
            "3003 never",
            "3004-4003 backoff",
            "4004-4005 never",
            "4006-4399 backoff",
            "4400-4401 never",
            "4402-4405 backoff",
            "4406 never",
            "4407-4408 backoff",
            "4409 never",
            "4410-4428 backoff",
            "4429 never",
            "4430-4499 backoff",
            "4500 never",
            "4501-65535 backoff",
        ];
        let start: &[&str] = &["0-999 backoff", "1000 never", "1001 backoff"];
        assert_eq!(table("graphql-ws", true, false), [start, middle].concat());
        let start: &[&str] = &["0-1001 backoff"];
        assert_eq!(table("graphql-ws", true, true), [start, middle].concat());
    }

    #[test]
    fn c1_mqtt5_reads_reason_codes_in_place_of_close_codes() {
        let own: &[&str] = &[
            "0-141 backoff",
            "142 never replaced",
            "143-155 backoff",
            "156-157 elsewhere",
            "158-999 backoff",
        ];
        assert_eq!(table("mqtt5", true, false), [own, &RFC[1..], RFC_3000, &["3004-65535 backoff"]].concat());
    }

    #[test]
    fn c1_no_other_code_depends_on_its_context() {
        for name in Profile::names() {
            let profile = Profile::named(name);
            for code in 0..=u16::MAX {
                let decided = |(tls, subscribed)| profile.decide(code, tls, subscribed);
                let [plain, ..] = [(false, false), (false, true), (true, false), (true, true)].map(decided);
                let same = [(false, true), (true, false), (true, true)].map(decided) == [plain; 3];
                let known = [("pusher", 4000), ("graphql-ws", 1000)].contains(&(name, code));
                assert_eq!(same, !known, "{name} {code}");
            }
        }
    }

    #[test]
    fn c1_what_a_server_says_in_band_has_one_answer() {
        let answers = DisconnectReason::ALL.iter().map(|reason| match disconnected(*reason) {
            Effect::Act { response, .. } => (reason.as_str(), response.as_str()),
            effect => (reason.as_str(), crate::Message::type_name(&effect)),
        });
        let expected = [
            ("warning", "make-before-break"),
            ("refresh_requested", "refresh"),
            ("link_disabled", "never"),
            ("ldm", "make-before-break"),
        ];
        assert_eq!(answers.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn c2_what_may_be_sent_depends_on_the_sender() {
        let sent = |sender| {
            let mut bands: Vec<(u16, u16)> = Vec::new();
            for code in (0..=u16::MAX).filter(|code| may_send(*code, sender)) {
                match bands.last_mut() {
                    Some((_, to)) if *to + 1 == code => *to = code,
                    _ => bands.push((code, code)),
                }
            }
            bands
        };
        assert_eq!(sent(Sender::Client), [(1000, 1003), (1007, 1014), (3000, 4999)]);
        // 1010 goes from a client to a server alone.
        assert_eq!(sent(Sender::Server), [(1000, 1003), (1007, 1009), (1011, 1014), (3000, 4999)]);
        assert_eq!(sent(Sender::Browser), [(1000, 1000), (3000, 4999)]);
    }

    #[test]
    fn c2_a_remapped_code_may_be_sent_and_is_never_made_1000() {
        for sender in Sender::ALL {
            for code in 0..=u16::MAX {
                let sent = remap(code, *sender);
                assert!(may_send(sent, *sender), "{sender:?} {code} -> {sent}");
                assert!(sent != 1000 || code == 1000, "{sender:?} {code} -> {sent}");
                assert!(sent == code || !may_send(code, *sender), "{sender:?} {code} -> {sent}");
            }
        }
        for code in [1004, 1005, 1006, 1015] {
            assert_eq!(remap(code, Sender::Server), 1011);
            assert_eq!(remap(code, Sender::Browser), 4000);
        }
    }

    #[test]
    fn c2_a_reason_is_cut_at_a_character_to_123_bytes() {
        assert_eq!(cut_reason("going away"), "going away");
        assert_eq!(cut_reason(""), "");
        assert_eq!(cut_reason(&"x".repeat(123)).len(), 123);
        assert_eq!(cut_reason(&"x".repeat(1_000_000)).len(), 123);
        for (letter, cut) in [("é", 122), ("€", 123), ("𝄞", 120)] {
            let reason = letter.repeat(100);
            assert_eq!(cut_reason(&reason).len(), cut, "{letter}");
            assert!(reason.starts_with(cut_reason(&reason)));
        }
        // A character that would begin at the 123rd byte and is wider.
        assert_eq!(cut_reason(&format!("{}𝄞", "x".repeat(122))).len(), 122);
    }

    #[test]
    fn c3_one_number_means_different_things_in_different_profiles() {
        let said = |code: u16| {
            ["relay", "pusher", "discord", "centrifugo", "graphql-ws"]
                .map(|name| words(Profile::named(name).decide(code, true, false)))
        };
        assert_eq!(said(4001), ["immediate drain", "never", "backoff keep", "backoff", "backoff"]);
        assert_eq!(said(4009), ["backoff", "never", "backoff new", "backoff", "backoff"]);
        assert_eq!(said(4401), ["refresh", "backoff", "backoff", "backoff", "never"]);
    }

    #[test]
    fn c1_rules_of_ones_own_come_before_those_of_the_base() {
        let rules = vec![
            Rule { from: 4001, to: 4001, when: Context::Tls, response: Never, ..Rule::default() },
            Rule { from: 4000, to: 4001, response: Elsewhere, ..Rule::default() },
        ];
        let profile = Profile { rules, ..Profile::named("relay") };
        let said = |code, tls| words(profile.decide(code, tls, false));
        assert_eq!(
            [said(4001, true), said(4001, false), said(4000, true)],
            ["never", "elsewhere", "elsewhere"]
        );
        assert_eq!([said(4409, true), said(1000, true)], ["never replaced", "never"]);
    }

    fn faults(profile: &Profile) -> Vec<(FaultCode, String)> {
        let faults = match ClosePolicy::new(profile.clone(), 0, 0) {
            Ok(_) => return Vec::new(),
            Err(faults) => faults,
        };
        faults.list().iter().map(|fault| (fault.code, fault.field.clone())).collect()
    }

    #[test]
    fn every_built_in_profile_can_work() {
        for (name, rules) in PROFILES {
            assert_eq!(faults(&Profile::named(name)), [], "{name}");
            // Its own rules pass the check of a user's, so none of them is hidden behind another.
            assert_eq!(faults(&Profile { base: "rfc6455".into(), rules: rules.to_vec() }), [], "{name}");
        }
    }

    #[test]
    fn an_unknown_profile_is_refused_with_the_known_names() {
        let faults = ClosePolicy::new(Profile::named("slack"), 0, 0).unwrap_err();
        let [fault] = faults.list() else { panic!("{faults}") };
        assert_eq!((fault.code, fault.field.as_str()), (FaultCode::BadName, "base"));
        for name in Profile::names() {
            assert!(fault.message.contains(name), "{}", fault.message);
        }
    }

    #[test]
    fn a_rule_that_cannot_work_is_refused_with_its_place() {
        let good = Rule { from: 4000, to: 4100, ..Rule::default() };
        let faulty = |rule: Rule| faults(&Profile { rules: vec![good.clone(), rule], ..Profile::default() });
        let contradiction = |field: &str| vec![(FaultCode::Contradiction, format!("rules[1].{field}"))];
        let out_of_range = |field: &str| vec![(FaultCode::OutOfRange, format!("rules[1].{field}"))];
        let rule = Rule { from: 4200, to: 4200, ..Rule::default() };
        assert_eq!(faulty(rule.clone()), []);
        assert_eq!(faulty(Rule { from: 4201, ..rule.clone() }), contradiction("from"));
        assert_eq!(faulty(Rule { from: 4050, to: 4100, ..rule.clone() }), contradiction("from"));
        assert_eq!(faulty(Rule { from: 4050, to: 4101, ..rule.clone() }), []);
        assert_eq!(faulty(Rule { response: Spread, min: 2, max: 1, ..rule.clone() }), contradiction("max"));
        assert_eq!(faulty(Rule { response: Spread, min: 2, ..rule.clone() }), contradiction("max"));
        assert_eq!(faulty(Rule { response: Spread, ..rule.clone() }), contradiction("max"));
        assert_eq!(faulty(Rule { min: 2, max: 1, ..rule.clone() }), contradiction("max"));
        assert_eq!(faulty(Rule { min: 2, ..rule.clone() }), []);
        assert_eq!(faulty(Rule { min: MAX_DURATION + 1, ..rule.clone() }), out_of_range("min"));
        assert_eq!(faulty(Rule { max: MAX_DURATION + 1, ..rule.clone() }), out_of_range("max"));
        assert_eq!(faulty(Rule { replaced: true, ..rule.clone() }), contradiction("replaced"));
        assert_eq!(faulty(Rule { replaced: true, response: Never, ..rule }), []);
    }
}
