//! Two-phase commit as in Stateright's `examples/2pc.rs` (after Gray and Lamport, "Consensus on Transaction Commit"):
//! the same states, the same types, and one next-state function for all.
//!
//! [`Packed`] keeps each state in one integer, as our own models keep theirs in a few words: a state is unpacked to be
//! worked on, and every successor is packed. Packing is exact: [`unpack`] gives the same state back.

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

/// For our explorer, each state kept in one integer.
#[derive(Clone)]
pub struct Packed {
    /// How many resource managers, at most 10.
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

/// Four bits for each resource manager (its state, whether the transaction manager knows that it is prepared, whether
/// its message was sent), then the transaction manager and its messages.
fn pack(state: &State) -> u64 {
    let mut packed = match state.tm {
        Tm::Init => 0,
        Tm::Committed => 1,
        Tm::Aborted => 2,
    };
    for (rm, (at, prepared)) in state.rms.iter().zip(&state.prepared).enumerate() {
        let at = match at {
            Rm::Working => 0,
            Rm::Prepared => 1,
            Rm::Committed => 2,
            Rm::Aborted => 3,
        };
        packed |= (at | u64::from(*prepared) << 2) << (4 + 4 * rm);
    }
    for message in &state.messages {
        packed |= match message {
            Message::Commit => 1 << 2,
            Message::Abort => 1 << 3,
            Message::Prepared { rm } => 1 << (7 + 4 * rm),
        };
    }
    packed
}

/// The state that was packed.
fn unpack(packed: u64, rms: usize) -> State {
    let bits = |rm: usize| packed >> (4 + 4 * rm);
    let at = |rm: usize| match bits(rm) & 3 {
        0 => Rm::Working,
        1 => Rm::Prepared,
        2 => Rm::Committed,
        _ => Rm::Aborted,
    };
    let mut messages: BTreeSet<Message> =
        (0..rms).filter(|rm| bits(*rm) & 8 != 0).map(|rm| Message::Prepared { rm }).collect();
    messages.extend((packed & 4 != 0).then_some(Message::Commit));
    messages.extend((packed & 8 != 0).then_some(Message::Abort));
    State {
        rms: (0..rms).map(at).collect(),
        tm: [Tm::Init, Tm::Committed, Tm::Aborted][(packed & 3) as usize],
        prepared: (0..rms).map(|rm| bits(rm) & 4 != 0).collect(),
        messages,
    }
}

impl Model for Packed {
    type State = u64;
    type Action = Action;

    fn initial(&self) -> Vec<u64> {
        vec![pack(&initial(self.rms))]
    }

    fn successors(&self, state: &u64, _: &mut Watch, found: &mut Vec<(Action, u64)>) {
        let state = unpack(*state, self.rms);
        let mut possible = Vec::new();
        actions(&state, &mut possible);
        found.extend(possible.into_iter().map(|action| (action, pack(&next(&state, action)))));
    }

    fn properties(&self) -> Vec<&'static str> {
        vec!["consistent"]
    }

    fn inspect(&self, state: &u64, watch: &mut Watch) {
        watch.check(0, consistent(&unpack(*state, self.rms)));
    }

    fn may_end(&self, _: &u64) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_verify::explore::{Limits, explore};

    #[test]
    fn packing_loses_nothing() {
        let model = TwoPhase { rms: 5 };
        let graph = explore(&model, &Limits::default());
        assert_eq!(graph.states(), 8_832);
        for id in graph.ids() {
            assert_eq!(&unpack(pack(graph.state(id)), 5), graph.state(id));
        }
    }
}
