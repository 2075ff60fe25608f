//! Two-phase commit as in Stateright's `examples/2pc.rs` (after Gray and Lamport, "Consensus on Transaction Commit"):
//! the same states and the same steps, once for each explorer.

use std::collections::BTreeSet;

use tidegate_verify::explore::{Model, Watch};

/// For our explorer.
#[derive(Clone)]
pub struct TwoPhase {
    /// How many resource managers.
    pub rms: usize,
}

/// For Stateright.
#[derive(Clone)]
pub struct Stock {
    /// How many resource managers.
    pub rms: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    rms: Vec<Rm>,
    tm: Tm,
    prepared: Vec<bool>,
    messages: BTreeSet<Message>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Message {
    Prepared { rm: usize },
    Commit,
    Abort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Rm {
    Working,
    Prepared,
    Committed,
    Aborted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Tm {
    Init,
    Committed,
    Aborted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    TmReceivePrepared(usize),
    TmCommit,
    TmAbort,
    RmPrepare(usize),
    RmChooseToAbort(usize),
    RmReceiveCommit(usize),
    RmReceiveAbort(usize),
}

fn initial(rms: usize) -> State {
    State { rms: vec![Rm::Working; rms], tm: Tm::Init, prepared: vec![false; rms], messages: BTreeSet::new() }
}

fn actions(state: &State, actions: &mut Vec<Action>) {
    if state.tm == Tm::Init && state.prepared.iter().all(|prepared| *prepared) {
        actions.push(Action::TmCommit);
    }
    if state.tm == Tm::Init {
        actions.push(Action::TmAbort);
    }
    for rm in 0..state.rms.len() {
        if state.tm == Tm::Init && state.messages.contains(&Message::Prepared { rm }) {
            actions.push(Action::TmReceivePrepared(rm));
        }
        if state.rms[rm] == Rm::Working {
            actions.push(Action::RmPrepare(rm));
            actions.push(Action::RmChooseToAbort(rm));
        }
        if state.messages.contains(&Message::Commit) {
            actions.push(Action::RmReceiveCommit(rm));
        }
        if state.messages.contains(&Message::Abort) {
            actions.push(Action::RmReceiveAbort(rm));
        }
    }
}

fn next(state: &State, action: Action) -> State {
    let mut state = state.clone();
    match action {
        Action::TmReceivePrepared(rm) => state.prepared[rm] = true,
        Action::TmCommit => {
            state.tm = Tm::Committed;
            state.messages.insert(Message::Commit);
        }
        Action::TmAbort => {
            state.tm = Tm::Aborted;
            state.messages.insert(Message::Abort);
        }
        Action::RmPrepare(rm) => {
            state.rms[rm] = Rm::Prepared;
            state.messages.insert(Message::Prepared { rm });
        }
        Action::RmChooseToAbort(rm) | Action::RmReceiveAbort(rm) => state.rms[rm] = Rm::Aborted,
        Action::RmReceiveCommit(rm) => state.rms[rm] = Rm::Committed,
    }
    state
}

fn consistent(state: &State) -> bool {
    !(state.rms.contains(&Rm::Aborted) && state.rms.contains(&Rm::Committed))
}

impl Model for TwoPhase {
    type State = State;
    type Action = Action;

    fn initial(&self) -> Vec<State> {
        vec![initial(self.rms)]
    }

    fn successors(&self, state: &State, _: &mut Watch, found: &mut Vec<(Action, State)>) {
        let mut possible = Vec::new();
        actions(state, &mut possible);
        found.extend(possible.into_iter().map(|action| (action, next(state, action))));
    }

    fn properties(&self) -> Vec<&'static str> {
        vec!["consistent"]
    }

    fn inspect(&self, state: &State, watch: &mut Watch) {
        watch.check(0, consistent(state));
    }

    fn may_end(&self, _: &State) -> bool {
        true
    }
}

impl stateright::Model for Stock {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![initial(self.rms)]
    }

    fn actions(&self, state: &State, possible: &mut Vec<Action>) {
        actions(state, possible);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(next(state, action))
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        vec![stateright::Property::always("consistent", |_, state| consistent(state))]
    }
}
