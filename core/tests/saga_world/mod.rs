//! A host for sagas in a simulated world: it keeps a journal as bytes, carries effects out, and can be struck
//! anywhere. Used by the fault matrix, by its published table and by the simulation of random graphs.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by failing; not every user of this module uses all of it"
)]

pub mod gateways;
pub mod graphs;
pub mod matrix;

use std::collections::{BTreeSet, VecDeque};

use tidegate::saga::journal::{self, Entry};
use tidegate::saga::{Config, Effect, Input, Phase, Saga, SagaCause, SagaRecord};
use tidegate::{Machine, Message, Millis, OperationId, Rules};

/// Something that a host asks of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    /// Do a step.
    Do { step: usize, attempt: u32 },
    /// Undo it.
    Undo { step: usize },
    /// Make it safe.
    FallBack { step: usize },
}

/// What comes of it.
#[derive(Debug, Clone, Copy)]
pub struct Fate {
    /// After how long it takes effect, if ever.
    pub lands: Option<Millis>,
    /// After how long it is answered, if ever, and how.
    pub answer: Option<(Millis, Answer)>,
}

/// An answer of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Done,
    Failed,
    Unknown,
}

/// What a saga works on. The effect of a step is there or not.
pub trait World: Clone {
    /// Decides what comes of a call.
    fn fate(&mut self, call: Call) -> Fate;
    /// When a call lands that was under way while its caller died.
    fn lands_after_crash(&self, call: Call) -> Option<Millis>;
    /// It takes effect.
    fn land(&mut self, call: Call);
    /// Whether the effect of a step is there; as a probe finds it, and as it is.
    fn is_present(&self, step: usize) -> bool;
    /// What a probe answers; none if it cannot tell.
    fn probe(&mut self, step: usize) -> Option<bool>;
    /// What belongs to a record.
    fn payload(&self, kind: SagaRecord, step: Option<u32>, attempt: u32) -> Vec<u8>;
}

/// Where a host can be struck, at an append …
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strike {
    /// … it dies before it.
    BeforeWrite,
    /// It dies in the middle of it.
    TornWrite,
    /// It dies after it, before anything comes of it.
    AfterWrite,
    /// Another executor has taken over: this one is fenced.
    Superseded,
    /// The append fails without having been made, and the saga is resumed.
    WriteFailed,
    /// The append fails although it was made, and the saga is resumed.
    WriteFailedButMade,
    /// At anything else: it dies before it.
    BeforeEffect,
    /// It dies while the call is under way: what lands, lands late.
    DuringEffect,
    /// It dies after it, before the answer arrives.
    AfterEffect,
}

impl Strike {
    /// Every way to be struck at this effect.
    pub fn at(effect: &Effect) -> &'static [Self] {
        match effect {
            Effect::Append { .. } => &[
                Self::BeforeWrite,
                Self::TornWrite,
                Self::AfterWrite,
                Self::Superseded,
                Self::WriteFailed,
                Self::WriteFailedButMade,
            ],
            Effect::Verify { .. } => &[Self::BeforeEffect],
            _ => &[Self::BeforeEffect, Self::DuringEffect, Self::AfterEffect],
        }
    }
}

/// What the host does next.
pub enum Next {
    /// Carry this out.
    Carry(Effect),
    /// Nothing is left to happen.
    Over,
}

/// One saga, its executor and its world.
#[derive(Clone)]
pub struct Host<W> {
    pub machine: Saga,
    /// The machine as a new process has it.
    fresh: Saga,
    pub world: W,
    /// The journal as it lies on disk.
    pub journal: Vec<u8>,
    pub now: Millis,
    /// Whether the journal says that the saga began.
    pub began: bool,
    /// Reports of this life.
    pub reports: Vec<Effect>,
    /// Steps that ever took their fallback, by what was reported.
    pub fell_back: BTreeSet<u32>,
    effects: VecDeque<Effect>,
    landings: Vec<(Millis, Call)>,
    answers: Vec<(Millis, Input)>,
    /// Whether an undo was ever begun.
    undoing: bool,
    /// The records of the journal.
    log: Vec<Entry>,
    /// Whether every answer is given twice.
    pub doubling: bool,
    patience: u32,
}

impl<W: World> Host<W> {
    pub fn start(config: &Config, world: W) -> Self {
        let machine = Saga::new(config.clone(), 7, 0).expect("a config that can work");
        let mut host = Self {
            fresh: machine.clone(),
            machine,
            world,
            journal: Vec::new(),
            now: 0,
            began: true,
            reports: Vec::new(),
            fell_back: BTreeSet::new(),
            effects: VecDeque::new(),
            landings: Vec::new(),
            answers: Vec::new(),
            undoing: false,
            log: Vec::new(),
            doubling: true,
            patience: 10_000,
        };
        host.tell(&Input::Start);
        host
    }

    /// Tells the machine something, and again: a duplicate changes nothing.
    pub fn tell(&mut self, input: &Input) {
        let step = self.machine.handle(self.now, input).unwrap_or_else(|rejection| {
            panic!("{rejection}: {input:?} in {:?}", self.machine.explain());
        });
        let answer = matches!(
            input,
            Input::Done { .. }
                | Input::Failed { .. }
                | Input::Unknown { .. }
                | Input::Present { .. }
                | Input::Absent { .. }
        );
        self.effects.extend(step.effects);
        if answer && self.doubling {
            let before = self.machine.clone();
            let again = self.machine.handle(self.now, input).expect("a second answer is taken");
            assert!(again.effects.is_empty() && before == self.machine, "a second answer acted: {input:?}");
        }
    }

    /// Goes on until there is something to carry out.
    pub fn next(&mut self) -> Next {
        loop {
            self.patience = self.patience.checked_sub(1).expect("the saga ends");
            if let Some(effect) = self.effects.pop_front() {
                match effect {
                    Effect::Append { .. }
                    | Effect::Do { .. }
                    | Effect::Undo { .. }
                    | Effect::FallBack { .. }
                    | Effect::Verify { .. } => return Next::Carry(effect),
                    Effect::Abort { .. } => {}
                    report => {
                        if let Effect::FellBack { step } = report {
                            self.fell_back.insert(step);
                        }
                        self.reports.push(report);
                    }
                }
                continue;
            }
            let landing = self.landings.iter().map(|(at, _)| *at).min();
            let answer = self.answers.iter().map(|(at, _)| *at).min();
            let deadline = self.machine.deadline().map(|deadline| deadline.at);
            let Some(at) = [landing, answer, deadline].into_iter().flatten().min() else { return Next::Over };
            self.now = self.now.max(at);
            if landing == Some(at) {
                let place = self.landings.iter().position(|(due, _)| *due == at).unwrap();
                let (_, call) = self.landings.remove(place);
                self.world.land(call);
            } else if answer == Some(at) {
                let place = self.answers.iter().position(|(due, _)| *due == at).unwrap();
                let (_, input) = self.answers.remove(place);
                self.tell(&input);
            } else {
                let step = self.machine.tick(self.now).unwrap();
                self.effects.extend(step.effects);
            }
        }
    }

    /// Carries an effect out as usual.
    pub fn carry(&mut self, effect: &Effect) {
        match *effect {
            Effect::Append { operation, .. } => {
                self.write(effect);
                // An append that is delivered twice is made once.
                self.write(effect);
                self.tell(&Input::Done { operation });
            }
            Effect::Verify { operation, step, .. } => {
                let input = match self.world.probe(index(step)) {
                    Some(true) => Input::Present { operation },
                    Some(false) => Input::Absent { operation },
                    None => Input::Unknown { operation },
                };
                self.tell(&input);
            }
            _ => {
                let (operation, call) = self.call(effect);
                let fate = self.world.fate(call);
                match fate.lands {
                    Some(0) => self.world.land(call),
                    Some(after) => self.landings.push((self.now + after, call)),
                    None => {}
                }
                if let Some((after, answer)) = fate.answer {
                    let input = match answer {
                        Answer::Done => Input::Done { operation },
                        Answer::Failed => Input::Failed { operation },
                        Answer::Unknown => Input::Unknown { operation },
                    };
                    if after == 0 { self.tell(&input) } else { self.answers.push((self.now + after, input)) }
                }
            }
        }
    }

    /// The call of an effect; what the journal must say by then is checked (G4, G5).
    fn call(&mut self, effect: &Effect) -> (OperationId, Call) {
        let (kind, operation, step, attempt, call) = match *effect {
            Effect::Do { operation, step, attempt, .. } => {
                assert!(!self.undoing, "a do after an undo");
                let call = Call::Do { step: index(step), attempt };
                (SagaRecord::Intent, operation, step, attempt, call)
            }
            Effect::Undo { operation, step, attempt, .. } => {
                self.undoing = true;
                (SagaRecord::UndoIntent, operation, step, attempt, Call::Undo { step: index(step) })
            }
            Effect::FallBack { operation, step, attempt, .. } => {
                self.undoing = true;
                (SagaRecord::FallbackIntent, operation, step, attempt, Call::FallBack { step: index(step) })
            }
            ref other => panic!("{other:?} is no call"),
        };
        let intended = |entry: &Entry| (entry.kind, entry.step, entry.attempt) == (kind, Some(step), attempt);
        assert!(self.log.iter().rev().any(intended), "{effect:?} without a durable intent");
        (operation, call)
    }

    fn write(&mut self, effect: &Effect) {
        let Effect::Append { sequence, kind, step, attempt, value, .. } = *effect else {
            panic!("{effect:?} is no append");
        };
        let entry = Entry { sequence, kind, step, attempt, value };
        if let Some(last) = self.log.last()
            && last.sequence == sequence
        {
            assert_eq!(*last, entry, "another record at the same place");
            return;
        }
        let expected = self.log.last().map_or(1, |last| last.sequence + 1);
        assert_eq!(sequence, expected, "a gap in the journal");
        let frame = journal::encode(&entry, &self.world.payload(kind, step, attempt)).unwrap();
        self.log.push(entry);
        self.journal.extend_from_slice(&frame);
    }

    /// Strikes the host at an effect; false if that is nothing new.
    pub fn strike(&mut self, strike: Strike, effect: &Effect) {
        match strike {
            Strike::BeforeWrite | Strike::BeforeEffect => self.recover(),
            Strike::TornWrite => {
                let whole = self.journal.len();
                self.write(effect);
                let half = whole + (self.journal.len() - whole) / 2;
                self.journal.truncate(half);
                self.recover();
            }
            Strike::AfterWrite => {
                self.write(effect);
                self.recover();
            }
            Strike::Superseded => {
                let Effect::Append { operation, .. } = *effect else { panic!("{effect:?} is no append") };
                let step = self.machine.handle(self.now, &Input::Fenced { operation }).unwrap();
                assert_eq!((step.effects.as_slice(), step.deadline), ([Effect::Fenced].as_slice(), None));
                self.recover();
            }
            Strike::WriteFailed | Strike::WriteFailedButMade => {
                let Effect::Append { operation, .. } = *effect else { panic!("{effect:?} is no append") };
                if strike == Strike::WriteFailedButMade {
                    self.write(effect);
                }
                self.tell(&Input::Failed { operation });
                // A probe changes nothing; everything else waits for the journal (G4).
                let quiet = |effect: &Effect| matches!(effect, Effect::Halted { .. } | Effect::Verify { .. });
                let quiet = self.effects.iter().all(quiet);
                assert!(quiet, "a journal failure was followed by {:?}", self.effects);
                self.tell(&Input::Resume);
            }
            Strike::DuringEffect => {
                let (_, call) = self.call(effect);
                let fate = self.world.fate(call);
                if fate.lands.is_some()
                    && let Some(after) = self.world.lands_after_crash(call)
                {
                    self.landings.push((self.now + after, call));
                }
                self.recover();
            }
            Strike::AfterEffect => {
                let (_, call) = self.call(effect);
                match self.world.fate(call).lands {
                    Some(0) => self.world.land(call),
                    Some(after) => self.landings.push((self.now + after, call)),
                    None => {}
                }
                self.recover();
            }
        }
    }

    /// A new process reads the journal and goes on.
    pub fn recover(&mut self) {
        self.effects.clear();
        self.answers.clear();
        self.reports.clear();
        self.machine = self.fresh.clone();
        let read = journal::read(&self.journal).expect("a journal that was torn at most");
        let (whole, torn) = (read.whole, read.torn);
        self.log = read.frames.iter().map(|frame| frame.entry).collect();
        self.journal.truncate(whole);
        self.began = !self.log.is_empty();
        for entry in &self.log {
            let Entry { sequence, kind, step, attempt, value } = *entry;
            let input = Input::Replay { sequence, kind, step, attempt, value };
            let step = self.machine.handle(self.now, &input).expect("a journal is read from the start");
            assert!(
                step.effects.is_empty(),
                "{input:?} of its own journal led to {:?}: {:#?}",
                step.effects,
                self.log
            );
        }
        self.tell(&Input::Recovered { torn });
        assert!(self.machine.phase() != Phase::Refused);
    }

    /// Everything that decides how a host that has just recovered goes on.
    pub fn state(&self) -> (Vec<u8>, W, Vec<(Millis, Call)>, bool) {
        let landings = self.landings.iter().map(|(at, call)| (at - self.now, *call)).collect();
        (self.journal.clone(), self.world.clone(), landings, self.undoing)
    }

    /// How the saga ended, and the cause that its last report gave.
    pub fn outcome(&self) -> Outcome {
        let cause = |effect: &Effect| match *effect {
            Effect::RolledBack { cause, step, attempt } | Effect::Stuck { cause, step, attempt, .. } => {
                Some((cause, step, attempt))
            }
            _ => None,
        };
        Outcome {
            phase: self.machine.phase(),
            cause: self.reports.iter().rev().find_map(cause),
            leaked: self.machine.leaked().map(|(step, _)| step).collect(),
        }
    }

    /// What must hold when nothing is left to happen, whatever happened before.
    pub fn check(&self, steps: usize) {
        let outcome = self.outcome();
        let residue: BTreeSet<u32> =
            (0..steps).filter(|step| self.world.is_present(*step)).map(|step| step as u32).collect();
        if !self.began {
            assert!(residue.is_empty(), "a saga that never began left {residue:?}");
            return;
        }
        match outcome.phase {
            Phase::Committed => assert_eq!(residue.len(), steps, "committed, but only {residue:?} is there"),
            Phase::RolledBack => assert!(residue.is_empty(), "rolled back, but {residue:?} is there"),
            Phase::Stuck => assert_eq!(outcome.leaked, residue, "the leak report is not what is left"),
            other => panic!("the saga ended {other:?}: {:?}", self.machine.explain()),
        }
        let reported: BTreeSet<u32> = self.reports.iter().filter_map(leaked).collect();
        assert_eq!(reported, outcome.leaked, "one report for each leak");
        self.check_cause();
    }

    /// The original error is unchanged.
    pub fn check_cause(&self) {
        let outcome = self.outcome();
        // G6: the original error, unchanged, whatever happened after it.
        let first = self.log.iter().find(|entry| entry.kind == SagaRecord::Unwinding);
        if let (Some(first), Some((cause, step, attempt))) = (first, outcome.cause) {
            let named = tidegate::Name::index(cause);
            assert_eq!((u64::from(named), step, attempt), (first.value, first.step, first.attempt));
            let read = journal::read(&self.journal).unwrap();
            let is_error = |kind| match cause {
                SagaCause::StepFailed => kind == SagaRecord::Failed,
                // An attempt before may be the unknown one.
                _ => matches!(kind, SagaRecord::Failed | SagaRecord::Unknown),
            };
            if cause == SagaCause::Cancelled {
                return;
            }
            let error = read.frames.iter().find(|frame| {
                (frame.entry.step, frame.entry.attempt) == (step, attempt) && is_error(frame.entry.kind)
            });
            let error = error.expect("the error of the cause is in the journal");
            assert_eq!(error.payload, self.world.payload(error.entry.kind, step, attempt));
        }
    }
}

fn leaked(report: &Effect) -> Option<u32> {
    match report {
        Effect::Leaked { step, .. } => Some(*step),
        _ => None,
    }
}

/// How a saga ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub phase: Phase,
    pub cause: Option<(SagaCause, Option<u32>, u32)>,
    pub leaked: BTreeSet<u32>,
}

pub fn index(step: u32) -> usize {
    step as usize
}

/// The name of an effect, for cells.
pub fn name_of(effect: &Effect) -> &'static str {
    effect.type_name()
}
