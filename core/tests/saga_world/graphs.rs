//! Any graph of steps: each is there or not. What it promises (a key, a fence, a lateness, a probe) it keeps; all else
//! goes wrong at random, until the faults are used up.

use std::collections::BTreeSet;

use tidegate::saga::{Compensation, Config, LeakReason, Phase, SagaRecord, SagaStep};
use tidegate::{Millis, Random};

use super::{Answer, Call, Fate, Host, World};

#[derive(Debug, Clone)]
pub struct Graph {
    pub config: Config,
    pub random: Random,
    /// How many more things may go wrong.
    pub faults: u64,
    /// What is there.
    present: Vec<bool>,
    /// Dos that took effect.
    took: Vec<u32>,
    fenced: Vec<bool>,
    /// Steps that were undone (not made safe), for what they require.
    freed: Vec<bool>,
    /// Steps of which an undo was begun.
    undo_began: Vec<bool>,
    /// What the next calls come to, for tests that script them: by step, dos and undos.
    pub script: Vec<(Call, Fate)>,
    /// An operator's hand is in it: order and requirements were checked until then.
    pub settled_by_hand: bool,
}

impl Graph {
    pub fn new(config: Config, random: Random, faults: u64) -> Self {
        let steps = config.steps.len();
        Self {
            config,
            random,
            faults,
            present: vec![false; steps],
            took: vec![0; steps],
            fenced: vec![false; steps],
            freed: vec![false; steps],
            undo_began: vec![false; steps],
            script: Vec::new(),
            settled_by_hand: false,
        }
    }

    pub fn chance(&mut self, of: u64) -> bool {
        self.random.between(1, of) == 1
    }

    /// Whether something goes wrong now.
    pub fn strikes(&mut self, one_in: u64) -> bool {
        let strikes = self.faults > 0 && self.chance(one_in);
        self.faults -= u64::from(strikes);
        strikes
    }

    pub fn remove(&mut self, step: usize) {
        self.settled_by_hand = true;
        self.present[step] = false;
        self.fenced[step] = true;
    }

    pub fn put(&mut self, step: usize) {
        self.present[step] = true;
        self.took[step] = 1;
    }

    fn step(&self, step: usize) -> &SagaStep {
        &self.config.steps[step]
    }

    fn index(&self, name: &str) -> usize {
        self.config.steps.iter().position(|step| step.name == name).unwrap()
    }

    /// A step leaves something behind that matters.
    pub fn matters(&self, step: usize) -> bool {
        self.step(step).compensation != Compensation::Nothing || self.after_pivot(step)
    }

    fn after_pivot(&self, step: usize) -> bool {
        let pivot = self.config.steps.iter().position(|step| step.compensation == Compensation::Pivot);
        pivot.is_some_and(|pivot| self.comes_after(step, pivot))
    }

    fn comes_after(&self, step: usize, other: usize) -> bool {
        self.step(step)
            .after
            .iter()
            .map(|name| self.index(name))
            .any(|before| before == other || self.comes_after(before, other))
    }

    /// G6: what requires that something is gone is not freed while it is there.
    fn check_requirements(&self) {
        for (index, step) in self.config.steps.iter().enumerate() {
            if self.freed[index] && !self.settled_by_hand {
                let there = step.undo_requires.iter().find(|name| self.present[self.index(name)]);
                assert_eq!(there, None, "`{}` was freed, but that is there", step.name);
            }
        }
    }

    /// The latest that a call lands, from its start.
    fn latest(&self, call: Call) -> Millis {
        match call {
            Call::Do { step, .. } => {
                let step = self.step(step);
                step.limit + step.lateness.unwrap_or(5_000)
            }
            // An undo that lands after its limit is out of every account: see the checks.
            Call::Undo { step } | Call::FallBack { step } => self.step(step).undo_limit - 1,
        }
    }
}

impl World for Graph {
    fn fate(&mut self, call: Call) -> Fate {
        if let Call::Undo { step } | Call::FallBack { step } = call {
            self.undo_began[step] = true;
            for other in 0..self.present.len() {
                // G5: nothing that it was built on is on its way out before it.
                let built_on = self.comes_after(step, other);
                assert!(
                    !built_on || !self.undo_began[other] || self.settled_by_hand,
                    "undone in the wrong order"
                );
            }
        }
        if let Some(place) = self.script.iter().position(|(scripted, _)| *scripted == call) {
            return self.script.remove(place).1;
        }
        let soon = self.random.between(0, 40);
        let done = Fate { lands: Some(soon / 2), answer: Some((soon, Answer::Done)) };
        if !self.strikes(4) {
            return done;
        }
        let latest = self.latest(call);
        let undo = !matches!(call, Call::Do { .. });
        let lands = match self.random.between(0, 3) {
            0 => return Fate { lands: None, answer: Some((soon, Answer::Failed)) },
            1 => None,
            2 => Some(soon / 2),
            _ => Some(self.random.between(0, latest)),
        };
        let answer = match self.random.between(0, 2) {
            0 => Some((soon, Answer::Unknown)),
            // A 2xx proves nothing, where there is a probe.
            1 if undo && matches!(call, Call::Undo { step } if self.step(step).verify) => {
                Some((soon, Answer::Done))
            }
            _ => None,
        };
        let fenced_lie = matches!(call, Call::Undo { step } if self.step(step).fenced);
        if answer.is_some_and(|(_, answer)| answer == Answer::Done) && (fenced_lie || lands.is_some()) {
            return done;
        }
        Fate { lands, answer }
    }

    fn lands_after_crash(&self, call: Call) -> Option<Millis> {
        Some(self.latest(call))
    }

    fn land(&mut self, call: Call) {
        match call {
            Call::Do { step, .. } => {
                if (self.step(step).fenced && self.fenced[step])
                    || (self.step(step).idempotent && self.took[step] > 0)
                {
                    return;
                }
                self.took[step] += 1;
                assert_eq!(self.took[step], 1, "the key of `{}` took effect twice", self.step(step).name);
                self.present[step] = true;
                self.freed[step] = false;
            }
            Call::Undo { step } | Call::FallBack { step } => {
                self.present[step] = false;
                self.fenced[step] = true;
                self.freed[step] |= matches!(call, Call::Undo { .. });
            }
        }
        self.check_requirements();
    }

    fn is_present(&self, step: usize) -> bool {
        self.present[step] && self.matters(step)
    }

    fn probe(&mut self, step: usize) -> Option<bool> {
        if self.strikes(8) { None } else { Some(self.present[step]) }
    }

    fn payload(&self, kind: SagaRecord, step: Option<u32>, attempt: u32) -> Vec<u8> {
        format!("{kind:?} {step:?} {attempt}").into_bytes()
    }
}

/// A graph of up to eight steps, with whatever a step can be.
pub fn random_config(random: &mut Random) -> Config {
    let count = random.between(1, 8) as usize;
    let mut flip = |of: u64| random.between(1, of) == 1;
    let pivot = if flip(3) { Some(count / 2) } else { None };
    let mut steps: Vec<SagaStep> = Vec::new();
    for index in 0..count {
        let mut after = BTreeSet::new();
        for before in 0..index {
            let needed =
                pivot == Some(index) || (pivot.is_some_and(|pivot| index > pivot && before == pivot));
            if needed || flip(3) {
                after.insert(format!("s{before}"));
            }
        }
        let compensation = match pivot {
            Some(pivot) if pivot == index => Compensation::Pivot,
            Some(pivot) if index > pivot => Compensation::Nothing,
            _ if flip(6) => Compensation::Nothing,
            _ => Compensation::Undo,
        };
        let verify = flip(2);
        steps.push(SagaStep {
            name: format!("s{index}"),
            after: after.into_iter().collect(),
            compensation,
            retries: u32::from(flip(2)),
            idempotent: flip(2),
            fenced: flip(3),
            verify,
            lateness: if verify && flip(2) { Some(700) } else { None },
            limit: 500,
            undo_limit: 300,
            verify_limit: 100,
            undo_retries: u32::from(flip(2)),
            ..SagaStep::default()
        });
    }
    let undoable: Vec<_> = steps.iter().map(|step| step.compensation == Compensation::Undo).collect();
    for index in 0..count {
        // What comes later in the list cannot be waited for in a circle.
        let required = (index + 1..count).filter(|later| undoable[*later] && flip(3));
        let required: Vec<_> = required.map(|later| format!("s{later}")).collect();
        if undoable[index] && !required.is_empty() {
            steps[index].fallback = flip(2);
            steps[index].undo_requires = required;
        }
    }
    Config { steps, rollback_deadline: 60_000, append_limit: 1_000 }
}

/// What must hold when nothing is left to happen.
pub fn check(host: &Host<Graph>) {
    let steps = host.world.config.steps.len();
    let outcome = host.outcome();
    let there: BTreeSet<u32> =
        (0..steps).filter(|step| host.world.is_present(*step)).map(|step| step as u32).collect();
    if !host.began {
        assert!(there.is_empty());
        return;
    }
    match outcome.phase {
        Phase::Committed => assert!(host.world.present.iter().all(|present| *present), "{:?}", host.world),
        Phase::RolledBack => assert!(there.is_empty(), "rolled back, but {there:?} is there"),
        Phase::Stuck | Phase::Unfinished => {
            assert!(there.is_subset(&outcome.leaked), "unreported: {there:?} of {:?}", outcome.leaked);
            for (step, reason) in host.machine.leaked() {
                let certain = matches!(reason, LeakReason::StillThere | LeakReason::Unfinished);
                assert!(!certain || there.contains(&step), "{step} is reported {reason:?}, but is not there");
            }
        }
        other => panic!("the saga ended {other:?}"),
    }
    host.check_cause();
}
