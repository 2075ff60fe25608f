//! Successor: the new side of a handoff (rules H1–H8). The old side is [`crate::handoff`].
//!
//! A new process that was started with the listening sockets of an old one. It initialises, says *ready*, and
//! touches the sockets only when the old one has acknowledged that; then it accepts and says so. Until that word
//! it can end at any time without anybody noticing. If the old one dies before the acknowledgement, it promotes
//! itself (H4).
//!
//! | state | what happens | leaves it |
//! | --- | --- | --- |
//! | initialising | everything but accepting is made ready | initialised, failed or its limit |
//! | ready | it said *ready* and waits for the acknowledgement | acknowledged, promoted, or its limit |
//! | loading | the state that came with it is loaded (H6) | done, failed or its limit |
//! | opening | it starts to accept on the inherited sockets (H2) | done, failed or its limit |
//! | cut-off | the channel closed when it was needed: is the old process gone? | promoted, or its limit |
//! | serving *(rests)* | it accepts: the handoff is over | |
//! | ended *(rests)* | it has given up and exits | |
//!
//! # What the host owes
//!
//! * The inherited sockets are held by their numbers and not touched before [`Effect::Accept`]: a runtime that
//!   accepts as soon as it has a socket would serve before it may (H2).
//! * [`Input::ParentGone`] means that the old *process* is gone. A channel closes a moment before its process is, or
//!   because the old one is about to kill this one and serves on; so [`Input::ChannelClosed`] is told as it is.
//! * Effects with an `operation` are answered once by [`Input::Done`] or [`Input::Failed`]; one without an answer
//!   ends at its limit.
//! * [`Effect::End`] is followed by the exit of the process; nothing it opened may stay behind.
//!
//! # Choices that the rules leave open
//!
//! * A successor that promotes itself before the acknowledgement has no state: what was to be passed died with the
//!   old process. If it has a state that it cannot load, it serves without: nobody else is there.
//! * It writes the PID file and tells the service manager only when promoted, as an old process that is there does
//!   both (H5, H8). If the old one dies after *accepting* was said, its last words may be missing; to repeat them
//!   then could overwrite those of a third generation.
//! * A limit on this side ends the process. The old one sees that sooner than its own limits.
//! * After a restore the outstanding operations are unknown: their limits end them.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::contract::shift_timer;
use crate::handoff::{ServiceNotice, VERSION, agree};
use crate::{
    Answer, Clock, Deadline, Explanation, Faults, Message, Millis, Name, OperationId, Operations, Random,
    Reader, Record, RecordFault, Rejection, RejectionCode, Rules, Writer, add, until,
};

names! {
    /// Why a successor gave up. The exit names it.
    pub enum GiveUpCause {
        /// It could not initialise, for instance for a bad config.
        InitialiseFailed = "initialise-failed",
        /// It did not initialise in time.
        InitialiseLimit = "initialise-limit",
        /// The old process did not acknowledge in time.
        AcknowledgeLimit = "acknowledge-limit",
        /// The old process sent something else than the protocol, or out of turn.
        Garbage = "garbage",
        /// The old process closed the channel and lives.
        ChannelClosed = "channel-closed",
        /// The old process speaks a version that this one does not understand (H6).
        Version = "version",
        /// The state that was passed was refused (H6).
        StateRefused = "state-refused",
        /// Loading the state took too long.
        StateLimit = "state-limit",
        /// It could not accept on the sockets.
        AcceptFailed = "accept-failed",
        /// Starting to accept took too long.
        AcceptLimit = "accept-limit",
        /// It was told to stop.
        Stopped = "stopped",
    }
}

settings! {
    /// How a process takes over from an old one.
    pub struct Config as "SuccessorConfig" {
        /// How long initialising may take. Milliseconds; below the old side's `ready_limit`, so that it is this side
        /// that says what is wrong.
        initialise_limit: Millis = 55_000,
        /// How long the old process may take to acknowledge, its capturing of the state included. Milliseconds.
        acknowledge_limit: Millis = 15_000,
        /// How long loading the state may take. Milliseconds. With `accept_limit` below the old side's `accept_limit`.
        state_limit: Millis = 2_000,
        /// How long starting to accept may take. Milliseconds.
        accept_limit: Millis = 2_000,
        /// How long after its channel closed the old process may take to be gone. Milliseconds.
        gone_limit: Millis = 500,
        /// Whether there is a PID file, which a promoted successor writes itself (H5).
        pid_file: bool = false,
        /// How long writing it may take. Milliseconds.
        pid_file_limit: Millis = 2_000,
        /// Whether there is a lease to take once it accepts (H7).
        lease: bool = false,
    }
}

messages! {
    /// What happened to a process that takes over.
    pub enum Input as "SuccessorInput" {
        /// Everything but accepting is ready.
        Initialised = "initialised",
        /// Initialising failed.
        InitialiseFailed = "initialise-failed",
        /// The old process acknowledges: it may accept now (H2).
        Acknowledged = "acknowledged" {
            /// The version of the messages that the old process chose (H6).
            version: u16,
            /// Whether a state came with it.
            state: bool,
        },
        /// The channel to the old process carried something else than the protocol.
        Garbage = "garbage",
        /// The channel to the old process has closed.
        ChannelClosed = "channel-closed",
        /// The old process is gone.
        ParentGone = "parent-gone",
        /// An operation is done.
        Done = "done" {
            /// Which.
            operation: OperationId,
        },
        /// An operation failed.
        Failed = "failed" {
            /// Which.
            operation: OperationId,
        },
        /// This process is told to stop. Once it serves, that is for its drain.
        Stop = "stop",
    }
}

messages! {
    /// What a process that takes over wants done.
    pub enum Effect as "SuccessorEffect" {
        /// Say *ready* to the old process (H2).
        SayReady = "say-ready" {
            /// The version of the messages that this side speaks (H6).
            version: u16,
        },
        /// Load the state that came with the acknowledgement; answer failed to refuse it (H6).
        LoadState = "load-state" {
            /// Which answer.
            operation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Start to accept on the inherited sockets; answer done when all do (H2).
        Accept = "accept" {
            /// Which answer.
            operation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Say *accepting* to the old process (H2).
        SayAccepting = "say-accepting",
        /// Say *refused* to the old process (H6).
        SayRefused = "say-refused",
        /// Close the inherited sockets that nobody has claimed (H3).
        CloseUnclaimed = "close-unclaimed",
        /// Take the lease that the old process held (H7).
        TakeLease = "take-lease",
        /// Write this process's id to the PID file; answer done or failed (H5).
        WritePidFile = "write-pid-file" {
            /// Which answer.
            operation: OperationId,
            /// Given up after this. Milliseconds.
            limit: Millis,
        },
        /// Tell the service manager, if there is one (H8).
        Notify = "notify" {
            /// What.
            notice: ServiceNotice,
        },
        /// A report: it accepts, and serves from now on.
        Serving = "serving" {
            /// Whether the old process is gone and this one promoted itself (H4).
            promoted: bool,
        },
        /// A report: the PID file could not be written.
        PidFileFailed = "pid-file-failed" {
            /// Whether it was given up at its limit rather than failing.
            timed_out: bool,
        },
        /// It gives up: the process exits and names the cause.
        End = "end" {
            /// Why.
            cause: GiveUpCause,
        },
    }
}

names! {
    /// Why a successor wants to be woken.
    pub enum Why {
        /// Initialising has had its time.
        InitialiseLimit = "initialise-limit",
        /// The old process has had its time to acknowledge.
        AcknowledgeLimit = "acknowledge-limit",
        /// Loading the state has had its time.
        StateLimit = "state-limit",
        /// Starting to accept has had its time.
        AcceptLimit = "accept-limit",
        /// The old process has had its time to be gone.
        GoneLimit = "gone-limit",
        /// Writing the PID file has had its time.
        PidFileLimit = "pid-file-limit",
    }
}

names! {
    /// Where a successor is.
    pub enum State {
        /// Everything but accepting is made ready.
        Initialising = "initialising",
        /// It said *ready*.
        Ready = "ready",
        /// The state is loaded.
        Loading = "loading",
        /// It starts to accept.
        Opening = "opening",
        /// The channel closed when it was needed.
        CutOff = "cut-off",
        /// It accepts.
        Serving = "serving",
        /// It has given up.
        Ended = "ended",
    }
}

/// The new side of one handoff. See the [module](self) for its states and what its host owes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Successor {
    config: Arc<Config>,
    clock: Clock,
    operations: Operations,
    state: State,
    /// When the state ends; while serving, when the PID file has had its time.
    ends: Option<Millis>,
    /// What is awaited: to load, to accept, to write the PID file.
    operation: Option<OperationId>,
    /// Whether the channel to the old process has closed.
    closed: bool,
    /// Whether it accepts on the sockets.
    accepting: bool,
    /// Whether the old process was gone before this one accepted.
    promoted: bool,
    /// Why it gave up.
    cause: Option<GiveUpCause>,
}

impl Rules for Successor {
    const NAME: &'static str = "successor";
    const SNAPSHOT_VERSION: u16 = 1;
    type Config = Config;
    type Input = Input;
    type Effect = Effect;
    type Why = Why;

    fn check(config: &Config, faults: &mut Faults) {
        faults.duration("initialise_limit", config.initialise_limit, 1);
        faults.duration("acknowledge_limit", config.acknowledge_limit, 1);
        faults.duration("state_limit", config.state_limit, 1);
        faults.duration("accept_limit", config.accept_limit, 1);
        faults.duration("gone_limit", config.gone_limit, 1);
        faults.duration("pid_file_limit", config.pid_file_limit, 1);
    }

    fn start(config: Config, _random: Random, clock: Clock) -> Self {
        let ends = Some(add(clock.now(), config.initialise_limit));
        Self {
            config: Arc::new(config),
            clock,
            operations: Operations::default(),
            state: State::Initialising,
            ends,
            operation: None,
            closed: false,
            accepting: false,
            promoted: false,
            cause: None,
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
        matches!(self.state, State::Serving | State::Ended)
    }

    fn next_timer(&self) -> Option<Deadline<Why>> {
        let why = match self.state {
            State::Initialising => Why::InitialiseLimit,
            State::Ready => Why::AcknowledgeLimit,
            State::Loading => Why::StateLimit,
            State::Opening => Why::AcceptLimit,
            State::CutOff => Why::GoneLimit,
            State::Serving => Why::PidFileLimit,
            State::Ended => return None,
        };
        self.ends.map(|at| Deadline { at, why })
    }

    fn rebase(&mut self, now: Millis) {
        shift_timer(&mut self.ends, self.clock.now(), now);
        self.clock.rebase(now);
    }

    fn fire(&mut self, why: Why, effects: &mut Vec<Effect>) {
        match why {
            Why::InitialiseLimit => self.end(GiveUpCause::InitialiseLimit, effects),
            Why::AcknowledgeLimit => self.end(GiveUpCause::AcknowledgeLimit, effects),
            Why::StateLimit if self.promoted => self.accept(effects),
            Why::StateLimit => self.end(GiveUpCause::StateLimit, effects),
            Why::AcceptLimit => self.end(GiveUpCause::AcceptLimit, effects),
            // H4: the old process lives, so it is the one that serves.
            Why::GoneLimit => self.end(GiveUpCause::ChannelClosed, effects),
            // H5
            Why::PidFileLimit => self.pid_file_over(Some(true), effects),
        }
    }

    fn apply(&mut self, input: &Input, effects: &mut Vec<Effect>) -> Result<(), Rejection> {
        match *input {
            Input::Initialised => match self.state {
                // H4: there is nobody to ask any more.
                State::Initialising if self.promoted => self.accept(effects),
                State::Initialising if self.closed => self.cut_off(),
                // H2
                State::Initialising => {
                    self.enter(State::Ready, Some(self.config.acknowledge_limit));
                    effects.push(Effect::SayReady { version: VERSION });
                }
                State::Ended => {}
                _ => return Err(self.reject(RejectionCode::ImpossibleNow, input)),
            },
            Input::InitialiseFailed => match self.state {
                State::Initialising => self.end(GiveUpCause::InitialiseFailed, effects),
                State::Ended => {}
                _ => return Err(self.reject(RejectionCode::ImpossibleNow, input)),
            },
            Input::Acknowledged { version, state } => match self.state {
                // H6
                State::Ready if agree(VERSION, version) != Some(version) => {
                    self.refuse(GiveUpCause::Version, effects);
                }
                State::Ready if state => {
                    let limit = self.config.state_limit;
                    let operation = self.issue(State::Loading, limit);
                    effects.push(Effect::LoadState { operation, limit });
                }
                // H2
                State::Ready => self.accept(effects),
                // Nobody asked for it yet.
                State::Initialising => self.end(GiveUpCause::Garbage, effects),
                _ => {}
            },
            Input::Garbage => self.end_unless_serving(GiveUpCause::Garbage, effects),
            // H4
            Input::ChannelClosed => {
                self.closed = !self.is_resting();
                if self.state == State::Ready {
                    self.cut_off();
                }
            }
            Input::ParentGone => self.parent_gone(effects),
            Input::Done { operation } => self.answered(operation, true, input, effects)?,
            Input::Failed { operation } => self.answered(operation, false, input, effects)?,
            Input::Stop => self.end_unless_serving(GiveUpCause::Stopped, effects),
        }
        Ok(())
    }

    fn explain(&self) -> Explanation {
        let waits_for = match self.state {
            State::Initialising => "initialising to be done",
            State::Ready => "the acknowledgement of the old process",
            State::Loading => "the state to be loaded",
            State::Opening => "the sockets to accept",
            State::CutOff => "the old process to be gone",
            State::Serving | State::Ended => "",
        };
        let because = match (self.state, self.promoted, self.cause) {
            (State::Ended, _, cause) => format!("it gave up: {}", cause.map_or("", Name::as_str)),
            (State::Serving, false, _) => String::from("it took over from the old process"),
            (State::CutOff, ..) => String::from("the channel to the old process has closed"),
            (_, true, _) => String::from("the old process is gone, and this one promotes itself"),
            _ => String::from("the old process serves until this one does"),
        };
        Explanation {
            state: self.state(),
            because,
            waits_for: String::from(waits_for),
            next: self.next_timer().map(|timer| (until(self.clock.now(), timer.at), timer.why.as_str())),
        }
    }

    fn normalize(&mut self, renumber: &mut dyn FnMut(&'static str, &mut u32)) {
        if let Some(operation) = &mut self.operation {
            renumber("operation", operation);
        }
        renumber("operation", self.operations.counter());
    }

    fn write(&self, to: &mut Writer) {
        self.config.write(to);
        to.number(self.clock.now());
        self.operations.write(to);
        self.state.write(to);
        to.optional(self.ends);
        self.operation.write(to);
        to.flag(self.closed);
        to.flag(self.accepting);
        to.flag(self.promoted);
        self.cause.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, RecordFault> {
        let successor = Self {
            config: Record::read(from)?,
            clock: Clock::starting_at(from.time()?),
            operations: Record::read(from)?,
            state: Record::read(from)?,
            ends: from.timer()?,
            operation: Record::read(from)?,
            closed: from.flag()?,
            accepting: from.flag()?,
            promoted: from.flag()?,
            cause: Record::read(from)?,
        };
        if successor.is_possible() { Ok(successor) } else { Err(RecordFault::Corrupt) }
    }
}

impl Successor {
    /// Where it is.
    #[must_use]
    pub fn at(&self) -> State {
        self.state
    }

    /// Whether it accepts on the sockets, as far as its host has said.
    #[must_use]
    pub fn accepts(&self) -> bool {
        self.accepting
    }

    /// The series of its operations, for a machine that shares one series among its parts.
    pub(crate) fn operations(&mut self) -> &mut Operations {
        &mut self.operations
    }

    fn reject(&self, code: RejectionCode, input: &Input) -> Rejection {
        Rejection { code, input: input.type_name(), state: self.state() }
    }

    fn enter(&mut self, state: State, limit: Option<Millis>) {
        self.state = state;
        self.ends = limit.map(|limit| add(self.clock.now(), limit));
        self.operation = None;
    }

    /// Enters a state that ends with the answer to the operation.
    fn issue(&mut self, state: State, limit: Millis) -> OperationId {
        self.enter(state, Some(limit));
        let operation = self.operations.issue();
        self.operation = Some(operation);
        operation
    }

    fn end(&mut self, cause: GiveUpCause, effects: &mut Vec<Effect>) {
        self.enter(State::Ended, None);
        (self.closed, self.accepting) = (false, false);
        self.cause = Some(cause);
        effects.push(Effect::End { cause });
    }

    fn end_unless_serving(&mut self, cause: GiveUpCause, effects: &mut Vec<Effect>) {
        if !self.is_resting() {
            self.end(cause, effects);
        }
    }

    /// H6: the old process serves on, and knows why.
    fn refuse(&mut self, cause: GiveUpCause, effects: &mut Vec<Effect>) {
        effects.push(Effect::SayRefused);
        self.end(cause, effects);
    }

    /// H4: a word to the old process or from it is due, and the channel is closed.
    fn cut_off(&mut self) {
        self.enter(State::CutOff, Some(self.config.gone_limit));
    }

    fn accept(&mut self, effects: &mut Vec<Effect>) {
        let limit = self.config.accept_limit;
        let operation = self.issue(State::Opening, limit);
        effects.push(Effect::Accept { operation, limit });
    }

    fn parent_gone(&mut self, effects: &mut Vec<Effect>) {
        match self.state {
            // It goes on initialising, or accepting, for itself.
            State::Initialising | State::Loading | State::Opening => self.promoted = true,
            State::CutOff if self.accepting => {
                self.promoted = true;
                self.serve(effects);
            }
            State::Ready | State::CutOff => {
                self.promoted = true;
                self.accept(effects);
            }
            State::Serving | State::Ended => {}
        }
    }

    fn opened(&mut self, effects: &mut Vec<Effect>) {
        self.accepting = true;
        if self.closed && !self.promoted {
            self.cut_off();
        } else {
            self.serve(effects);
        }
    }

    fn serve(&mut self, effects: &mut Vec<Effect>) {
        self.enter(State::Serving, None);
        self.closed = false;
        // H2: the word that the old process waits for.
        if !self.promoted {
            effects.push(Effect::SayAccepting);
        }
        // H3
        effects.push(Effect::CloseUnclaimed);
        // H7: after accepting.
        if self.config.lease {
            effects.push(Effect::TakeLease);
        }
        // H5, H8: nobody else is there to do it.
        if self.promoted {
            effects.push(Effect::Notify { notice: ServiceNotice::MainPid });
            if self.config.pid_file {
                let limit = self.config.pid_file_limit;
                let operation = self.issue(State::Serving, limit);
                effects.push(Effect::WritePidFile { operation, limit });
            }
        }
        effects.push(Effect::Serving { promoted: self.promoted });
    }

    fn pid_file_over(&mut self, failed: Option<bool>, effects: &mut Vec<Effect>) {
        self.enter(State::Serving, None);
        if let Some(timed_out) = failed {
            effects.push(Effect::PidFileFailed { timed_out });
        }
    }

    fn answered(
        &mut self,
        operation: OperationId,
        done: bool,
        input: &Input,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Rejection> {
        match (self.operations.judge(operation, self.operation), self.state) {
            (Answer::NeverIssued, _) => return Err(self.reject(RejectionCode::NeverIssued, input)),
            // H4: without an old process, better without its state than nobody.
            (Answer::Awaited, State::Loading) if done || self.promoted => self.accept(effects),
            (Answer::Awaited, State::Loading) => self.refuse(GiveUpCause::StateRefused, effects),
            (Answer::Awaited, State::Opening) if done => self.opened(effects),
            (Answer::Awaited, State::Opening) => self.end(GiveUpCause::AcceptFailed, effects),
            (Answer::Awaited, State::Serving) => self.pid_file_over((!done).then_some(false), effects),
            (Answer::Awaited | Answer::Late, _) => {}
        }
        Ok(())
    }

    /// Whether a machine can be in this state: for records.
    fn is_possible(&self) -> bool {
        let issued = self.operation.is_none_or(|id| id >= 1 && id <= self.operations.issued());
        let timed = match self.state {
            State::Initialising | State::Ready | State::CutOff => {
                self.ends.is_some() && self.operation.is_none()
            }
            State::Loading | State::Opening => self.ends.is_some() && self.operation.is_some(),
            State::Serving => {
                self.ends.is_some() == self.operation.is_some()
                    && (self.ends.is_none() || (self.promoted && self.config.pid_file))
            }
            State::Ended => self.ends.is_none() && self.operation.is_none(),
        };
        let promoted = !(self.promoted && matches!(self.state, State::Ready | State::CutOff));
        let closed = match self.state {
            State::Ready | State::Serving | State::Ended => !self.closed,
            State::CutOff => self.closed,
            State::Initialising | State::Loading | State::Opening => true,
        };
        let accepting = match self.state {
            State::Serving => self.accepting,
            State::CutOff => true,
            _ => !self.accepting,
        };
        issued
            && timed
            && promoted
            && closed
            && accepting
            && (self.cause.is_some() == (self.state == State::Ended))
    }
}

#[cfg(test)]
mod tests;
