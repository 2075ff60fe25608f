//! Lease holder: the gateway's side of a lease (rule L6). The granter's side is [`crate::lease`].
//!
//! A gateway that starts asks whether it has a lease. It serves only while it is sure to hold one: it renews, and
//! where it cannot, it begins its drain so early that it has stopped before the granter could give the gateway to
//! anybody else.
//!
//! # States
//!
//! | state | meaning | left by |
//! | --- | --- | --- |
//! | `new` (resting) | nothing was asked yet | `boot` |
//! | `claiming` | is there a lease? Asked until somebody knows | a definite answer, or a handshake |
//! | `idle` (resting) | definitely no lease | a handshake |
//! | `confirming` | the handshake came; asked until the granter has confirmed it | a definite answer; when that is no and the claim was still open, it is asked again |
//! | `holding` | serving, renewing | no renew in time, a refusal, a handover, a stop |
//! | `resuming` | restored, or granted for less than a drain takes: it serves only after a renew | the renew, a refusal, its time |
//! | `yielding` | the lease is lost or handed over: draining | drained, or out of time |
//! | `releasing` | not serving any more; the granter is being told | the answer, or `release_limit` |
//! | `over` (resting) | over for this life of the process | nothing |
//!
//! # What an answer means
//!
//! The answer to a claim has three values: *mine*, *not mine*, *cannot know*. A refused connection, a time-out, any
//! error of the control plane and *unconfirmed* are *cannot know*. Only a definite answer ends the question: until
//! then the gateway asks again, with backoff, says so in every [`Effect::CannotKnow`] and in
//! [`explain`](Rules::explain), and is neither idle nor started anew. The same holds for the confirmation of a
//! handshake.
//!
//! [`Input::answering`] says what each answer of the granter means:
//!
//! | question | answer of the granter | input |
//! | --- | --- | --- |
//! | any | refused: unconfirmed; an error of any kind; none | cannot know |
//! | claim | reclaimed | mine |
//! | claim | refused: fenced | not mine, fenced |
//! | claim | refused otherwise | not mine |
//! | confirm, renew | confirmed, renewed | renewed |
//! | release | accepted | released |
//! | confirm, renew, release | refused otherwise | refused |
//!
//! # When it must have stopped
//!
//! A lease is counted from the moment at which its claim, confirmation or renew was *sent*, as the granter cannot
//! have counted from earlier. Clocks may run at different rates: of a term, `drift` thousandths do not count.
//!
//! ```text
//! sent            renewed from here on      drain begins               stopped   the granter could expire it
//!  │─ ⅓ term ─────────────│─ … ──────────────────│────── drain ───────────│─ margin ─│┄ drift ┄│
//! ```
//!
//! [`Effect::Drain`] comes `drain + margin` before the end; whoever has not said [`Input::Drained`] when only the
//! margin is left gets [`Effect::Halt`]. The config is refused unless a renew, sent a third of the term after the
//! last and answered at its limit, comes before that drain. The clock of a holder must count time in which the
//! machine sleeps (`CLOCK_BOOTTIME`).
//!
//! # What the host owes
//!
//! * [`Effect::Claim`], [`Effect::Confirm`], [`Effect::Renew`] and [`Effect::Release`] are operations: one answer
//!   each. One without an answer counts as *cannot know* at its limit.
//! * Every call that it makes for its organization carries the epoch of [`Effect::Serve`]. When one is refused for
//!   it, the host says [`Input::Fenced`] with that epoch.
//! * [`Input::Stop`] comes when serving has ended, as a step of the drain; the lease is renewed until then.
//! * A process whose holder is over exits; its next life claims again. A holder that was fenced never claims back.
//!
//! A stop while the answer to a claim is open cannot be told to the granter, as the epoch is unknown: a lease that
//! was granted then expires by itself. After a restore a lease that was held is renewed before anything is served;
//! any other operation that was under way counts as unknown, and its limit ends it.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::backoff::{Escalation, Policy};
use crate::contract::{earliest, shift, shift_timer};
use crate::lease::{self, LeaseRefusal};
use crate::{
    Answer, Clock, Deadline, Explanation, FaultCode, Faults, Intent, MAX_TIME, Message, Millis, Name,
    OperationId, Operations, Random, Reader, Record, RecordFault, Rejection, RejectionCode, Rules, Writer,
    add, until,
};

/// The most that clocks may be said to drift: half of the time.
const MOST_DRIFT: u64 = 500;

settings! {
    /// How a gateway holds its lease.
    pub struct Config as "LeaseHolderConfig" {
        /// The granter's term. Milliseconds. An answer that grants less is believed, one that grants more is not.
        term: Millis = 60_000,
        /// The longest that a drain takes: its kill budget. Milliseconds.
        drain: Millis = 30_000,
        /// What must be left of the lease when serving has ended. Milliseconds, at least 1.
        margin: Millis = 1_000,
        /// How much faster the granter's clock may run than this one, in thousandths. 0 to 500. Quartz drifts by
        /// less than one; the rest is for virtual machines that are paused and clocks that are slewed.
        drift: u32 = 10,
        /// How long one question to the granter may take. Milliseconds.
        ask_limit: Millis = 5_000,
        /// How long telling the granter of a stop may take, retries included. Milliseconds.
        release_limit: Millis = 8_000,
        /// The delays between questions that nobody could answer.
        retry: Policy = Policy::default(),
    }
}

messages! {
    /// What happened to a gateway that holds a lease, or wants one.
    pub enum Input as "LeaseHolderInput" {
        /// The process is up: is there a lease?
        Boot = "boot" {
            /// The epoch of the process that handed over to this one, if one did (H7).
            predecessor: Option<u64>,
        },
        /// The claim was granted.
        Mine = "mine" {
            /// Which claim.
            operation: OperationId,
            /// The epoch.
            epoch: u64,
            /// How long it was granted for. Milliseconds.
            term: Millis,
        },
        /// There is no lease for this gateway. Definite.
        NotMine = "not-mine" {
            /// Which claim.
            operation: OperationId,
            /// Whether that is because another life of the gateway has it.
            fenced: bool,
        },
        /// The control plane made the handshake: this gateway was allocated.
        Granted = "granted" {
            /// The epoch.
            epoch: u64,
        },
        /// The confirmation or the renew was granted.
        Renewed = "renewed" {
            /// Which one.
            operation: OperationId,
            /// How long it was granted for. Milliseconds.
            term: Millis,
        },
        /// The granter said no: the lease is another's, or over. Definite.
        Refused = "refused" {
            /// Which confirmation, renew or release.
            operation: OperationId,
        },
        /// Nobody could say: an error, a time-out, no connection, or a handshake that is under way.
        CannotKnow = "cannot-know" {
            /// Which question.
            operation: OperationId,
        },
        /// The granter knows of the stop.
        Released = "released" {
            /// Which release.
            operation: OperationId,
        },
        /// A call that carried this epoch was refused for it.
        Fenced = "fenced" {
            /// The epoch.
            epoch: u64,
        },
        /// A successor accepts: the lease passes to it (H7).
        HandedOver = "handed-over",
        /// The drain that was asked for is over: nothing is served any more.
        Drained = "drained",
        /// Serving has ended for this reason: tell the granter.
        Stop = "stop" {
            /// The reason.
            intent: Intent,
        },
    }
}

impl Input {
    /// What the granter's answer to a question means (L6). None where `question` asks nothing of the granter or
    /// `answer` is no answer to it.
    #[must_use]
    pub fn answering(question: &Effect, answer: &lease::Effect) -> Option<Self> {
        let operation = match *question {
            Effect::Claim { operation, .. }
            | Effect::Confirm { operation, .. }
            | Effect::Renew { operation, .. }
            | Effect::Release { operation, .. } => operation,
            _ => return None,
        };
        match (question, answer) {
            (_, lease::Effect::Refused { refusal: LeaseRefusal::Unconfirmed, .. }) => {
                Some(Self::CannotKnow { operation })
            }
            (Effect::Claim { .. }, lease::Effect::Refused { refusal, .. }) => {
                Some(Self::NotMine { operation, fenced: *refusal == LeaseRefusal::Fenced })
            }
            (_, lease::Effect::Refused { .. }) => Some(Self::Refused { operation }),
            (Effect::Claim { .. }, &lease::Effect::Reclaimed { epoch, term, .. }) => {
                Some(Self::Mine { operation, epoch, term })
            }
            (Effect::Confirm { .. }, &lease::Effect::Confirmed { term, .. })
            | (Effect::Renew { .. }, &lease::Effect::Renewed { term, .. }) => {
                Some(Self::Renewed { operation, term })
            }
            (Effect::Release { .. }, lease::Effect::Accepted { .. }) => Some(Self::Released { operation }),
            _ => None,
        }
    }
}

names! {
    /// Why a lease is given up.
    pub enum LeaseLoss {
        /// It could not be renewed in time.
        Unrenewed = "unrenewed",
        /// Another life of the gateway has it, or it was ended.
        Fenced = "fenced",
        /// A successor has it.
        HandedOver = "handed-over",
    }
}

names! {
    /// How a holder ended.
    pub enum LeaseEnd {
        /// The granter knows.
        Released = "released",
        /// The granter could not be told: the lease expires.
        Unreleased = "unreleased",
        /// Another has it.
        Fenced = "fenced",
        /// A successor has it.
        HandedOver = "handed-over",
        /// There was none.
        NeverHeld = "never-held",
        /// Stopped before anybody could say whether there was one: if there was, it expires.
        Unknown = "unknown",
    }
}

messages! {
    /// What a lease holder wants done.
    pub enum Effect as "LeaseHolderEffect" {
        /// Ask for the lease; answer mine, not mine or cannot know.
        Claim = "claim" {
            /// Which answer.
            operation: OperationId,
            /// No answer after this is cannot know. Milliseconds.
            limit: Millis,
            /// The epoch of the process that handed over to this one.
            predecessor: Option<u64>,
        },
        /// Say that the handshake succeeded; answer renewed, refused or cannot know.
        Confirm = "confirm" {
            /// Which answer.
            operation: OperationId,
            /// The epoch of the handshake.
            epoch: u64,
            /// No answer after this is cannot know. Milliseconds.
            limit: Millis,
        },
        /// Renew the lease; answer renewed, refused or cannot know.
        Renew = "renew" {
            /// Which answer.
            operation: OperationId,
            /// The epoch.
            epoch: u64,
            /// No answer after this is cannot know. Milliseconds.
            limit: Millis,
        },
        /// The lease is held: open the public door. Every call carries the epoch.
        Serve = "serve" {
            /// The epoch.
            epoch: u64,
        },
        /// A report: there is definitely no lease; a handshake may come.
        Idle = "idle",
        /// A report: nobody could say; asked again after this delay.
        CannotKnow = "cannot-know" {
            /// How often in a row.
            attempt: u32,
            /// From now. Milliseconds.
            delay: Millis,
        },
        /// Drain, and say drained; then the process is to exit.
        Drain = "drain" {
            /// Why.
            loss: LeaseLoss,
            /// Serving must have ended by then. Milliseconds from now.
            within: Millis,
        },
        /// Out of time: stop serving at once.
        Halt = "halt",
        /// Tell the granter of the stop; answer released, refused or cannot know.
        Release = "release" {
            /// Which answer.
            operation: OperationId,
            /// The epoch.
            epoch: u64,
            /// What the stop is for.
            intent: Intent,
            /// No answer after this is cannot know. Milliseconds.
            limit: Millis,
        },
        /// A report: it is over for this life of the process.
        Over = "over" {
            /// How it ended.
            end: LeaseEnd,
        },
    }
}

names! {
    /// Why a lease holder wants to be woken.
    pub enum Why {
        /// The granter has had its time to be told.
        ReleaseLimit = "release-limit",
        /// Only the margin is left.
        StopDue = "stop-due",
        /// Without a renew the drain must begin now.
        DrainDue = "drain-due",
        /// The question has had its time.
        AskLimit = "ask-limit",
        /// The renew, or the next try of a question, is due.
        Ask = "ask",
    }
}

names! {
    /// Where a lease holder is.
    pub enum State {
        /// Nothing was asked yet.
        New = "new",
        /// Is there a lease?
        Claiming = "claiming",
        /// Definitely no lease.
        Idle = "idle",
        /// The handshake is to be confirmed.
        Confirming = "confirming",
        /// Serving and renewing.
        Holding = "holding",
        /// Restored, or granted for less than a drain takes: not serving before a renew.
        Resuming = "resuming",
        /// Draining.
        Yielding = "yielding",
        /// The granter is being told.
        Releasing = "releasing",
        /// Over.
        Over = "over",
    }
}

/// The question to the granter: which one is said by the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Ask {
    /// It is under way.
    Running {
        operation: OperationId,
        /// When it is given up.
        until: Millis,
        /// Until when a lease is sure that it grants for the whole term.
        promised: Millis,
    },
    /// It is asked then.
    Waiting(Millis),
}

/// The gateway's side of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseHolder {
    config: Arc<Config>,
    random: Random,
    clock: Clock,
    operations: Operations,
    state: State,
    /// The epoch of the lease or the handshake; 0 before one is known.
    epoch: u64,
    /// The end of the time for which the lease is sure, while one is held.
    sure: Option<Millis>,
    ask: Option<Ask>,
    escalation: Escalation,
    predecessor: Option<u64>,
    /// Why it yields; meaningful in that state.
    loss: LeaseLoss,
    /// What the release is for; meaningful in that state.
    intent: Intent,
    /// When the release is given up.
    release_by: Option<Millis>,
    /// How it ended; meaningful when it is over. While a handshake is to be confirmed: unknown when that cut the claim
    /// short.
    end: LeaseEnd,
}

impl Config {
    /// What is sure of a term by this clock, whatever the granter's does (L6).
    fn sure(&self, term: Millis) -> Millis {
        let drift = term.saturating_mul(u64::from(self.drift)).div_ceil(1_000);
        term.saturating_sub(drift)
    }
}

impl LeaseHolder {
    /// Where it is.
    #[must_use]
    pub fn at(&self) -> State {
        self.state
    }

    /// The epoch that every call carries, while something may be served.
    #[must_use]
    pub fn serving(&self) -> Option<u64> {
        matches!(self.state, State::Holding | State::Yielding).then_some(self.epoch)
    }

    /// How long the lease is sure from now on. Milliseconds; 0 while none is held.
    #[must_use]
    pub fn left(&self) -> Millis {
        self.sure.map_or(0, |sure| until(self.now(), sure))
    }

    /// L6: a process that serves already cannot wait for more than it was granted: it drains on what it was.
    pub(crate) fn drain_on_it(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Serve { epoch: self.epoch });
        self.yield_lease(LeaseLoss::Unrenewed, effects);
    }

    /// How the lease ends for a process that says no more about it; none when it never asked for one.
    pub(crate) fn left_behind(&self) -> Option<LeaseEnd> {
        Some(match self.state {
            State::New => return None,
            State::Claiming => LeaseEnd::Unknown,
            State::Idle => LeaseEnd::NeverHeld,
            State::Confirming | State::Holding | State::Resuming | State::Releasing => LeaseEnd::Unreleased,
            State::Yielding => match self.loss {
                LeaseLoss::Unrenewed => LeaseEnd::Unreleased,
                LeaseLoss::Fenced => LeaseEnd::Fenced,
                LeaseLoss::HandedOver => LeaseEnd::HandedOver,
            },
            State::Over => self.end,
        })
    }

    /// The series of its operations, for a machine that shares one series among its parts.
    pub(crate) fn operations(&mut self) -> &mut Operations {
        &mut self.operations
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }

    fn reject(&self, code: RejectionCode, input: &Input) -> Rejection {
        Rejection { code, input: input.type_name(), state: self.state() }
    }

    /// When serving must have ended: only the margin is left.
    fn stop_at(&self) -> Option<Millis> {
        self.sure.map(|sure| sure.saturating_sub(self.config.margin))
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.ask = None;
        self.escalation.reset();
    }

    /// Asks what this state asks.
    fn ask(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now();
        let operation = self.operations.issue();
        let left = self.release_by.map_or(Millis::MAX, |at| until(now, at));
        let limit = self.config.ask_limit.min(left).max(1);
        let (epoch, intent) = (self.epoch, self.intent);
        effects.push(match self.state {
            State::Claiming => Effect::Claim { operation, limit, predecessor: self.predecessor },
            State::Confirming => Effect::Confirm { operation, epoch, limit },
            State::Releasing => Effect::Release { operation, epoch, intent, limit },
            _ => Effect::Renew { operation, epoch, limit },
        });
        // L6: a term counts from here, before the granter can have counted.
        let promised = add(now, self.config.sure(self.config.term));
        self.ask = Some(Ask::Running { operation, until: add(now, limit), promised });
    }

    /// L6: nobody could say. Ask again: a question is ended by a definite answer alone.
    fn ask_again(&mut self, effects: &mut Vec<Effect>) {
        let delay = self.escalation.next(&self.config.retry, &mut self.random, None);
        self.ask = Some(Ask::Waiting(add(self.now(), delay)));
        effects.push(Effect::CannotKnow { attempt: self.escalation.attempt(), delay });
    }

    /// The granter granted it for `term`, in answer to what was asked when `promised` was computed.
    fn hold(&mut self, epoch: u64, term: Millis, promised: Millis, effects: &mut Vec<Effect>) {
        let term = term.min(self.config.term);
        let less = self.config.sure(self.config.term).saturating_sub(self.config.sure(term));
        self.epoch = epoch;
        self.sure = Some(promised.saturating_sub(less));
        if self.state != State::Holding {
            let drain = self.stop_at().map_or(0, |stop| stop.saturating_sub(self.config.drain));
            if drain <= self.now() {
                // What was granted is not enough to begin with; a renew makes it a whole term.
                self.state = State::Resuming;
                self.ask_again(effects);
                return;
            }
            effects.push(Effect::Serve { epoch });
        }
        self.enter(State::Holding);
        // L6: at a third of the term, earlier by up to a quarter of that so that gateways do not renew together.
        let third = term.div_euclid(3).max(1);
        let earliest = third.saturating_sub(third.div_euclid(4));
        let renew = self.random.between(earliest, third);
        self.ask = Some(Ask::Waiting(add(self.now(), renew)));
    }

    /// L6: the lease is lost or passed on: drain while it is still sure.
    fn yield_lease(&mut self, loss: LeaseLoss, effects: &mut Vec<Effect>) {
        self.enter(State::Yielding);
        self.loss = loss;
        // It was surely held for longer, but who is superseded takes no longer than a drain takes.
        let now = self.now();
        let stop = self.stop_at().unwrap_or(now).min(add(now, self.config.drain));
        self.sure = Some(add(stop, self.config.margin));
        effects.push(Effect::Drain { loss, within: until(now, stop) });
    }

    /// Nothing is served any more: hand back what is still to be handed back.
    fn drained(&mut self, intent: Intent, effects: &mut Vec<Effect>) {
        match self.loss {
            // The granter learns of it at once, rather than at the expiry.
            LeaseLoss::Unrenewed => self.release(intent, effects),
            LeaseLoss::Fenced => self.finish(LeaseEnd::Fenced, effects),
            LeaseLoss::HandedOver => self.finish(LeaseEnd::HandedOver, effects),
        }
    }

    /// L4, L6: the stop carries intent and epoch, and is bounded.
    fn release(&mut self, intent: Intent, effects: &mut Vec<Effect>) {
        // H7: nothing is released that passed to a successor.
        if intent == Intent::Handoff {
            self.finish(LeaseEnd::HandedOver, effects);
            return;
        }
        self.enter(State::Releasing);
        self.intent = intent;
        self.sure = None;
        self.release_by = Some(add(self.now(), self.config.release_limit));
        self.ask(effects);
    }

    fn finish(&mut self, end: LeaseEnd, effects: &mut Vec<Effect>) {
        self.enter(State::Over);
        self.end = end;
        self.sure = None;
        self.release_by = None;
        effects.push(Effect::Over { end });
    }

    fn become_idle(&mut self, effects: &mut Vec<Effect>) {
        self.enter(State::Idle);
        self.epoch = 0;
        effects.push(Effect::Idle);
    }

    /// L5: another has it. The fenced one stops; it never claims back.
    fn fenced(&mut self, effects: &mut Vec<Effect>) {
        match self.state {
            State::Holding => self.yield_lease(LeaseLoss::Fenced, effects),
            State::Yielding if self.loss == LeaseLoss::Unrenewed => self.loss = LeaseLoss::Fenced,
            State::Resuming | State::Releasing => self.finish(LeaseEnd::Fenced, effects),
            // Only the handshake was in vain: a late one, maybe. The question that it cut short is still open.
            State::Confirming if self.end == LeaseEnd::Unknown => {
                self.enter(State::Claiming);
                self.epoch = 0;
                self.ask(effects);
            }
            State::Confirming => self.become_idle(effects),
            State::New | State::Claiming | State::Idle | State::Yielding | State::Over => {}
        }
    }

    /// The answer to a question: none when it came too late.
    fn answered(
        &self,
        operation: OperationId,
        states: &[State],
        input: &Input,
    ) -> Result<Option<Millis>, Rejection> {
        let running = match self.ask {
            Some(Ask::Running { operation, promised, .. }) => Some((operation, promised)),
            _ => None,
        };
        match self.operations.judge(operation, running.map(|(operation, _)| operation)) {
            Answer::NeverIssued => Err(self.reject(RejectionCode::NeverIssued, input)),
            Answer::Late => Ok(None),
            Answer::Awaited if states.contains(&self.state) => Ok(running.map(|(_, promised)| promised)),
            Answer::Awaited => Err(self.reject(RejectionCode::ImpossibleNow, input)),
        }
    }
}

impl Rules for LeaseHolder {
    const NAME: &'static str = "lease-holder";
    const SNAPSHOT_VERSION: u16 = 1;
    type Config = Config;
    type Input = Input;
    type Effect = Effect;
    type Why = Why;

    fn check(config: &Config, faults: &mut Faults) {
        let before = faults.list().len();
        faults.duration("term", config.term, 1);
        faults.duration("drain", config.drain, 0);
        faults.duration("margin", config.margin, 1);
        faults.range("drift", u64::from(config.drift), 0, MOST_DRIFT, " thousandths");
        faults.duration("ask_limit", config.ask_limit, 1);
        faults.duration("release_limit", config.release_limit, 1);
        // L6: a renew that is answered at the last moment must still come before the drain has to begin.
        let Config { term, drain, margin, drift, ask_limit, .. } = *config;
        let (sure, third) = (config.sure(term), term.div_euclid(3).max(1));
        let sum = drain.saturating_add(margin).saturating_add(third).saturating_add(ask_limit);
        if faults.list().len() == before && sum >= sure {
            let message = format!(
                "is {term} ms, of which {sure} ms are sure when clocks drift by {drift} thousandths; that must be \
                 more than `drain` ({drain} ms) + `margin` ({margin} ms) + a third of the term until the renew \
                 ({third} ms) + `ask_limit` ({ask_limit} ms) = {sum} ms: raise it, or shorten the drain"
            );
            faults.add(FaultCode::OverBudget, "term", message);
        }
        faults.inside("retry", |faults| config.retry.check(faults));
    }

    fn start(config: Config, random: Random, clock: Clock) -> Self {
        Self {
            config: Arc::new(config),
            random,
            clock,
            operations: Operations::default(),
            state: State::New,
            epoch: 0,
            sure: None,
            ask: None,
            escalation: Escalation::default(),
            predecessor: None,
            loss: LeaseLoss::Unrenewed,
            intent: Intent::Idle,
            release_by: None,
            end: LeaseEnd::NeverHeld,
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
        matches!(self.state, State::New | State::Idle | State::Over)
    }

    fn next_timer(&self) -> Option<Deadline<Why>> {
        let stop = self.stop_at().filter(|_| matches!(self.state, State::Yielding | State::Resuming));
        let drain = self
            .stop_at()
            .filter(|_| self.state == State::Holding)
            .map(|stop| stop.saturating_sub(self.config.drain));
        let (limit, next) = match self.ask {
            Some(Ask::Running { until, .. }) => (Some(until), None),
            Some(Ask::Waiting(at)) => (None, Some(at)),
            None => (None, None),
        };
        earliest([
            (self.release_by, Why::ReleaseLimit),
            (stop, Why::StopDue),
            (drain, Why::DrainDue),
            (limit, Why::AskLimit),
            (next, Why::Ask),
        ])
    }

    fn rebase(&mut self, now: Millis) {
        let from = self.clock.now();
        shift_timer(&mut self.sure, from, now);
        shift_timer(&mut self.release_by, from, now);
        match &mut self.ask {
            Some(Ask::Running { until, promised, .. }) => {
                shift(until, from, now);
                shift(promised, from, now);
            }
            Some(Ask::Waiting(at)) => shift(at, from, now),
            None => {}
        }
        self.clock.rebase(now);
    }

    fn fire(&mut self, why: Why, effects: &mut Vec<Effect>) {
        match why {
            Why::ReleaseLimit => self.finish(LeaseEnd::Unreleased, effects),
            // L6: stopped before the granter could expire it.
            Why::StopDue if self.state == State::Yielding => {
                effects.push(Effect::Halt);
                self.drained(Intent::Restart, effects);
            }
            Why::StopDue => self.release(Intent::Restart, effects),
            Why::DrainDue => self.yield_lease(LeaseLoss::Unrenewed, effects),
            Why::AskLimit => self.ask_again(effects),
            Why::Ask => self.ask(effects),
        }
    }

    fn apply(&mut self, input: &Input, effects: &mut Vec<Effect>) -> Result<(), Rejection> {
        let epoch_of = match *input {
            Input::Mine { epoch, .. } | Input::Granted { epoch } => epoch,
            Input::Boot { predecessor: Some(epoch) } => epoch,
            _ => 1,
        };
        if epoch_of == 0 || Input::from_words(input.tag(), input.words().as_slice()).is_none() {
            return Err(self.reject(RejectionCode::ValueOutOfRange, input));
        }
        match *input {
            Input::Boot { predecessor } if self.state == State::New => {
                self.predecessor = predecessor;
                self.enter(State::Claiming);
                self.ask(effects);
            }
            Input::Boot { .. } => return Err(self.reject(RejectionCode::ImpossibleNow, input)),

            // L6: the three answers.
            Input::Mine { operation, epoch, term } => {
                if let Some(promised) = self.answered(operation, &[State::Claiming], input)? {
                    self.hold(epoch, term, promised, effects);
                }
            }
            Input::NotMine { operation, fenced } => {
                if self.answered(operation, &[State::Claiming], input)?.is_some() {
                    match fenced {
                        true => self.finish(LeaseEnd::Fenced, effects),
                        false => self.become_idle(effects),
                    }
                }
            }
            Input::CannotKnow { operation } => {
                let asking =
                    [State::Claiming, State::Confirming, State::Holding, State::Resuming, State::Releasing];
                if self.answered(operation, &asking, input)?.is_some() {
                    self.ask_again(effects);
                }
            }

            // L3: the granter's word makes it a lease, not the handshake.
            Input::Granted { epoch } => match self.state {
                State::Claiming | State::Idle => {
                    let unknown = self.state == State::Claiming;
                    self.end = if unknown { LeaseEnd::Unknown } else { LeaseEnd::NeverHeld };
                    self.enter(State::Confirming);
                    self.epoch = epoch;
                    self.ask(effects);
                }
                // The same handshake once more.
                State::Confirming | State::Holding if epoch == self.epoch => {}
                _ => return Err(self.reject(RejectionCode::ImpossibleNow, input)),
            },
            Input::Renewed { operation, term } => {
                let asking = [State::Confirming, State::Holding, State::Resuming];
                if let Some(promised) = self.answered(operation, &asking, input)? {
                    self.hold(self.epoch, term, promised, effects);
                }
            }
            Input::Refused { operation } => {
                let asking = [State::Confirming, State::Holding, State::Resuming, State::Releasing];
                if self.answered(operation, &asking, input)?.is_some() {
                    self.fenced(effects);
                }
            }
            // L5: news of another epoch are not about this lease.
            Input::Fenced { epoch } if epoch == self.epoch => self.fenced(effects),
            Input::Fenced { .. } => {}

            // H7
            Input::HandedOver => match self.state {
                State::Holding => self.yield_lease(LeaseLoss::HandedOver, effects),
                State::Resuming => self.finish(LeaseEnd::HandedOver, effects),
                State::Yielding if self.loss == LeaseLoss::Unrenewed => self.loss = LeaseLoss::HandedOver,
                State::Yielding | State::Releasing | State::Over => {}
                State::New | State::Claiming | State::Idle | State::Confirming => {
                    return Err(self.reject(RejectionCode::ImpossibleNow, input));
                }
            },
            Input::Drained => match self.state {
                State::Yielding => self.drained(Intent::Restart, effects),
                State::Releasing | State::Over => {}
                _ => return Err(self.reject(RejectionCode::ImpossibleNow, input)),
            },
            Input::Stop { intent } => match self.state {
                State::New | State::Idle => self.finish(LeaseEnd::NeverHeld, effects),
                State::Claiming => self.finish(LeaseEnd::Unknown, effects),
                State::Confirming | State::Holding | State::Resuming => self.release(intent, effects),
                State::Yielding => self.drained(intent, effects),
                // A second stop can only raise the intent, and extends nothing; a handoff asks for no release (H7).
                State::Releasing if intent > self.intent && intent != Intent::Handoff => {
                    self.intent = intent;
                    self.ask(effects);
                }
                State::Releasing | State::Over => {}
            },
            Input::Released { operation } => {
                if self.answered(operation, &[State::Releasing], input)?.is_some() {
                    self.finish(LeaseEnd::Released, effects);
                }
            }
        }
        Ok(())
    }

    fn explain(&self) -> Explanation {
        let (now, epoch, unanswered) = (self.now(), self.epoch, self.escalation.attempt());
        let asked = match (unanswered, self.ask) {
            (0, _) => String::new(),
            (_, Some(Ask::Waiting(at))) => format!(
                "; {unanswered} times in a row nobody could say, asked again in {} ms",
                until(now, at)
            ),
            _ => format!("; {unanswered} times in a row nobody could say"),
        };
        let left = self.left();
        let (because, waits_for) = match self.state {
            State::New => (String::from("nothing was asked yet"), ""),
            State::Claiming => (
                format!("whether there is a lease is not known yet{asked}"),
                "a definite answer, mine or not mine",
            ),
            State::Idle => (String::from("there is definitely no lease"), ""),
            State::Confirming => {
                (format!("the handshake for epoch {epoch} is not confirmed yet{asked}"), "a definite answer")
            }
            State::Holding => {
                (format!("epoch {epoch} is held, for {left} ms without a renew{asked}"), "the next renew")
            }
            State::Resuming => {
                (format!("restored with epoch {epoch}; nothing is served before a renew{asked}"), "a renew")
            }
            State::Yielding => (
                format!("epoch {epoch} is {}, and sure for {left} ms", self.loss.as_str()),
                "the end of the drain",
            ),
            State::Releasing => {
                (format!("serving has ended for {}{asked}", self.intent.as_str()), "the granter to know")
            }
            State::Over => (format!("it is over: {}", self.end.as_str()), ""),
        };
        Explanation {
            state: self.state(),
            because,
            waits_for: String::from(waits_for),
            next: self.next_timer().map(|timer| (until(now, timer.at), timer.why.as_str())),
        }
    }

    fn random(&mut self) -> Option<&mut Random> {
        Some(&mut self.random)
    }

    fn normalize(&mut self, renumber: &mut dyn FnMut(&'static str, &mut u32)) {
        self.escalation.saturate(&self.config.retry);
        if let Some(Ask::Running { operation, .. }) = &mut self.ask {
            renumber("operation", operation);
        }
        renumber("operation", self.operations.counter());
        // What only one state reads is forgotten in the others.
        let open = self.state == State::Confirming && self.end == LeaseEnd::Unknown;
        if self.state != State::Claiming && !open {
            self.predecessor = None;
        }
        if self.state != State::Yielding {
            self.loss = LeaseLoss::Unrenewed;
        }
        if self.state != State::Releasing {
            self.intent = Intent::Idle;
        }
        if self.state == State::Over {
            self.epoch = 0;
        } else if !open {
            self.end = LeaseEnd::NeverHeld;
        }
    }

    fn write(&self, to: &mut Writer) {
        self.config.write(to);
        self.random.write(to);
        self.operations.write(to);
        self.state.write(to);
        to.number(self.epoch);
        to.optional(self.sure);
        self.ask.write(to);
        self.escalation.write(to);
        to.optional(self.predecessor);
        self.loss.write(to);
        self.intent.write(to);
        to.optional(self.release_by);
        self.end.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        let mut holder = Self {
            config: Record::read(from)?,
            random: Record::read(from)?,
            clock: Clock::starting_at(0),
            operations: Record::read(from)?,
            state: Record::read(from)?,
            epoch: from.number()?,
            sure: from.timer()?,
            ask: Record::read(from)?,
            escalation: Record::read(from)?,
            predecessor: from.optional()?,
            loss: Record::read(from)?,
            intent: Record::read(from)?,
            release_by: from.timer()?,
            end: Record::read(from)?,
        };
        if !holder.is_possible() {
            return Err(RecordFault::Corrupt);
        }
        // L6: a restored holder serves only after a renew, which it asks for at once.
        if holder.state == State::Holding {
            holder.enter(State::Resuming);
            holder.ask = Some(Ask::Waiting(0));
        }
        Ok(holder)
    }
}

impl LeaseHolder {
    /// Whether inputs can have led here.
    fn is_possible(&self) -> bool {
        let Self { state, epoch, sure, ask, release_by, predecessor, .. } = *self;
        let asks = matches!(
            state,
            State::Claiming | State::Confirming | State::Holding | State::Resuming | State::Releasing
        );
        let has_lease = matches!(state, State::Holding | State::Resuming | State::Yielding);
        let issued = match ask {
            Some(Ask::Running { operation, .. }) => operation > 0 && operation <= self.operations.issued(),
            _ => true,
        };
        let known = has_lease || matches!(state, State::Confirming | State::Releasing);
        ask.is_some() == asks
            && issued
            && sure.is_some() == has_lease
            && release_by.is_some() == (state == State::Releasing)
            && (!known || epoch > 0)
            && epoch <= MAX_TIME
            && predecessor.is_none_or(|epoch| epoch <= MAX_TIME)
            && (state != State::Releasing || self.intent != Intent::Handoff)
    }
}

impl Record for Ask {
    fn write(&self, to: &mut Writer) {
        match *self {
            Self::Running { operation, until, promised } => {
                to.flag(true);
                operation.write(to);
                to.number(until);
                to.number(promised);
            }
            Self::Waiting(at) => {
                to.flag(false);
                to.number(at);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        if from.flag()? {
            Ok(Self::Running { operation: Record::read(from)?, until: from.time()?, promised: from.time()? })
        } else {
            from.time().map(Self::Waiting)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Draw, Machine};

    fn holding() -> LeaseHolder {
        let draws = Random::scripted(&[Draw::Max]);
        let mut holder = LeaseHolder::drawing(Config::default(), draws, 0).unwrap();
        holder.handle(0, &Input::Boot { predecessor: None }).unwrap();
        holder.handle(0, &Input::Mine { operation: 1, epoch: 5, term: 60_000 }).unwrap();
        assert_eq!(holder.serving(), Some(5));
        holder
    }

    #[test]
    fn a_lease_that_was_fenced_off_is_not_handed_over_any_more() {
        let mut holder = holding();
        holder.handle(10, &Input::Fenced { epoch: 5 }).unwrap();
        holder.handle(20, &Input::HandedOver).unwrap();
        let step = holder.handle(30, &Input::Drained).unwrap();
        assert_eq!(step.effects, [Effect::Over { end: LeaseEnd::Fenced }]);
    }

    #[test]
    fn what_a_process_leaves_behind_that_says_no_more_is_what_it_knows() {
        let new = LeaseHolder::new(Config::default(), 0, 0).unwrap();
        assert_eq!(new.left_behind(), None);
        let mut claiming = new;
        claiming.handle(0, &Input::Boot { predecessor: None }).unwrap();
        assert_eq!(claiming.left_behind(), Some(LeaseEnd::Unknown));
        let mut idle = claiming;
        idle.handle(0, &Input::NotMine { operation: 1, fenced: false }).unwrap();
        assert_eq!(idle.left_behind(), Some(LeaseEnd::NeverHeld));
        let after = |inputs: &[Input]| {
            let mut holder = holding();
            inputs.iter().for_each(|input| drop(holder.handle(10, input).unwrap()));
            holder.left_behind()
        };
        assert_eq!(after(&[]), Some(LeaseEnd::Unreleased));
        assert_eq!(after(&[Input::Fenced { epoch: 5 }]), Some(LeaseEnd::Fenced));
        assert_eq!(after(&[Input::HandedOver]), Some(LeaseEnd::HandedOver));
        assert_eq!(after(&[Input::HandedOver, Input::Drained]), Some(LeaseEnd::HandedOver));
    }

    fn restored(after: Millis) -> LeaseHolder {
        LeaseHolder::restore(&holding().snapshot(10).unwrap(), 1_000, after - 10).unwrap()
    }

    #[test]
    fn l6_a_restored_holder_serves_only_after_a_renew() {
        let mut holder = restored(100);
        assert_eq!((holder.at(), holder.serving()), (State::Resuming, None));
        let step = holder.tick(1_000).unwrap();
        let limit = Config::default().ask_limit;
        assert_eq!(step.effects, [Effect::Renew { operation: 2, epoch: 5, limit }]);
        holder.handle(1_001, &Input::CannotKnow { operation: 2 }).unwrap();
        assert_eq!(holder.serving(), None);
        let step = holder.tick(holder.deadline().unwrap().at).unwrap();
        assert_eq!(step.effects, [Effect::Renew { operation: 3, epoch: 5, limit }]);
        let step = holder.handle(3_000, &Input::Renewed { operation: 3, term: 60_000 }).unwrap();
        assert_eq!(step.effects, [Effect::Serve { epoch: 5 }]);
        assert_eq!(holder.serving(), Some(5));
    }

    #[test]
    fn l6_a_restored_holder_that_is_refused_is_over_as_it_served_nothing() {
        let refused = |input: &Input| {
            let mut holder = restored(100);
            holder.tick(1_000).unwrap();
            holder.handle(1_001, input).unwrap().effects
        };
        let over = [Effect::Over { end: LeaseEnd::Fenced }];
        assert_eq!(refused(&Input::Refused { operation: 2 }), over);
        assert_eq!(refused(&Input::Fenced { epoch: 5 }), over);
        assert_eq!(refused(&Input::HandedOver), [Effect::Over { end: LeaseEnd::HandedOver }]);
        let stopped = refused(&Input::Stop { intent: Intent::Decommission });
        assert!(
            matches!(stopped[..], [Effect::Release { intent: Intent::Decommission, epoch: 5, .. }]),
            "{stopped:?}"
        );
    }

    #[test]
    fn l6_a_holder_that_is_restored_when_its_lease_is_over_gives_it_back_and_serves_nothing() {
        // 60 s less the drift, less the margin.
        let mut holder = restored(58_399);
        assert!(matches!(holder.tick(1_000).unwrap().effects[..], [Effect::Renew { .. }]));
        let step = holder.tick(1_001).unwrap();
        assert!(matches!(step.effects[..], [Effect::Release { intent: Intent::Restart, .. }]), "{step:?}");
        assert_eq!(restored(1_000_000).tick(1_000).unwrap().effects.len(), 1);
    }

    #[test]
    fn l6_the_answer_before_a_restore_is_for_nobody() {
        let mut holder = holding();
        holder.tick(20_000).unwrap();
        let mut restored = LeaseHolder::restore(&holder.snapshot(20_000).unwrap(), 0, 0).unwrap();
        let step = restored.tick(0).unwrap();
        assert!(matches!(step.effects[..], [Effect::Renew { operation: 3, .. }]), "{step:?}");
        restored.handle(1, &Input::Renewed { operation: 2, term: 60_000 }).unwrap();
        assert_eq!(restored.serving(), None);
    }

    #[test]
    fn l6_drift_takes_a_part_of_the_term_that_is_never_rounded_down() {
        let sure = |drift, term| Config { drift, ..Config::default() }.sure(term);
        assert_eq!(
            [sure(0, 1_000), sure(10, 1_000), sure(10, 1_001), sure(1, 1), sure(500, 3)],
            [1_000, 990, 990, 0, 1]
        );
        // What the clock of a holder shows when a granter's that runs faster has counted a term.
        for drift in [1_u32, 10, 333, 500] {
            for term in [1_u64, 7, 1_000, 60_000] {
                let shown = term * 1_000 / (1_000 + u64::from(drift));
                assert!(sure(drift, term) <= shown, "{drift}, {term}");
            }
        }
    }

    #[test]
    fn l6_the_fault_of_a_term_shows_the_sum() {
        let config = Config { drain: 34_000, ..Config::default() };
        let faults = LeaseHolder::new(config, 1, 0).unwrap_err().to_string();
        assert!(faults.contains("term is 60000 ms, of which 59400 ms are sure"), "{faults}");
        assert!(faults.contains("(34000 ms)") && faults.contains("= 60000 ms"), "{faults}");
        let most = Config { drain: 33_399, ..Config::default() };
        assert!(LeaseHolder::new(most.clone(), 1, 0).is_ok());
        assert!(LeaseHolder::new(Config { drain: 33_400, ..most }, 1, 0).is_err());
    }

    #[test]
    fn l6_each_answer_of_the_granter_means_one_thing() {
        use lease::Effect as Answer;
        let limit = 1;
        let operation = 9;
        let claim = Effect::Claim { operation, limit, predecessor: None };
        let confirm = Effect::Confirm { operation, epoch: 3, limit };
        let renew = Effect::Renew { operation, epoch: 3, limit };
        let release = Effect::Release { operation, epoch: 3, intent: Intent::Restart, limit };
        let questions = [&claim, &confirm, &renew, &release];
        let refused = |refusal| Answer::Refused { refusal, epoch: 4 };
        for question in questions {
            let answer = refused(LeaseRefusal::Unconfirmed);
            assert_eq!(Input::answering(question, &answer), Some(Input::CannotKnow { operation }));
        }
        for refusal in [LeaseRefusal::StaleEpoch, LeaseRefusal::NoLease, LeaseRefusal::Fenced] {
            let fenced = refusal == LeaseRefusal::Fenced;
            let [not_mine, others @ ..] =
                questions.map(|question| Input::answering(question, &refused(refusal)));
            assert_eq!(not_mine, Some(Input::NotMine { operation, fenced }));
            assert!(others.into_iter().all(|other| other == Some(Input::Refused { operation })));
        }
        let (epoch, term) = (4, 60_000);
        let answers = [
            Answer::Reclaimed { epoch, organization: 7, term },
            Answer::Confirmed { epoch, term },
            Answer::Renewed { epoch, term },
            Answer::Accepted { state: lease::LeaseState::Held, epoch },
        ];
        let meanings = [
            Input::Mine { operation, epoch, term },
            Input::Renewed { operation, term },
            Input::Renewed { operation, term },
            Input::Released { operation },
        ];
        for (asked, question) in questions.into_iter().enumerate() {
            for (answered, answer) in answers.iter().enumerate() {
                let meaning = (asked == answered).then(|| meanings[asked].clone());
                assert_eq!(Input::answering(question, answer), meaning, "{question:?}, {answer:?}");
            }
        }
        assert_eq!(Input::answering(&Effect::Idle, &answers[0]), None);
    }

    #[test]
    fn l6_what_nobody_knows_is_said_by_the_explanation() {
        let mut holder = LeaseHolder::new(Config::default(), 1, 0).unwrap();
        holder.handle(0, &Input::Boot { predecessor: None }).unwrap();
        assert_eq!(holder.explain().because, "whether there is a lease is not known yet");
        holder.handle(1, &Input::CannotKnow { operation: 1 }).unwrap();
        let explanation = holder.explain();
        assert!(explanation.because.contains("1 times in a row nobody could say, asked again in"));
        assert_eq!(explanation.state, "claiming");
    }

    #[test]
    fn a_record_that_no_input_leads_to_is_refused() {
        let impossible: [fn(&mut LeaseHolder); 8] = [
            |holder| holder.epoch = 0,
            |holder| holder.epoch = MAX_TIME + 1,
            |holder| holder.sure = None,
            |holder| holder.ask = None,
            |holder| holder.release_by = Some(1),
            |holder| holder.state = State::Idle,
            |holder| holder.ask = Some(Ask::Running { operation: 0, until: 1, promised: 1 }),
            |holder| holder.ask = Some(Ask::Running { operation: 7, until: 1, promised: 1 }),
        ];
        for (case, forge) in impossible.into_iter().enumerate() {
            let mut holder = holding();
            forge(&mut holder);
            let restored = LeaseHolder::restore(&holder.snapshot(1).unwrap(), 0, 0);
            assert_eq!(restored, Err(RecordFault::Corrupt), "case {case}");
        }
    }
}
