//! What vectors cannot say. Whole handoffs are simulated in the tests of the old side.

use super::*;
use crate::Machine;

fn at(state: State) -> Successor {
    let mut successor = Successor::new(Config::default(), 0, 0).unwrap();
    let script = [
        Input::Initialised,
        Input::Acknowledged { version: VERSION, state: true },
        Input::Done { operation: 1 },
        Input::Done { operation: 2 },
    ];
    for input in script {
        if successor.state == state {
            return successor;
        }
        successor.handle(0, &input).unwrap();
    }
    assert_eq!(successor.state, state);
    successor
}

#[test]
fn it_accepts_only_once_its_host_has_said_so_and_not_after_it_gave_up() {
    for state in [State::Initialising, State::Ready, State::Loading, State::Opening] {
        assert!(!at(state).accepts(), "{}", state.as_str());
    }
    assert!(at(State::Serving).accepts());
    let mut cut_off = at(State::Opening);
    cut_off.handle(0, &Input::ChannelClosed).unwrap();
    cut_off.handle(0, &Input::Done { operation: 2 }).unwrap();
    assert!(cut_off.accepts());
    cut_off.handle(0, &Input::Stop).unwrap();
    assert!(!cut_off.accepts());
}

#[test]
fn a_stop_or_garbage_ends_it_everywhere_until_it_serves() {
    for state in [State::Initialising, State::Ready, State::Loading, State::Opening] {
        for (input, cause) in [(Input::Stop, GiveUpCause::Stopped), (Input::Garbage, GiveUpCause::Garbage)] {
            let step = at(state).handle(1, &input).unwrap();
            assert_eq!(step.effects, [Effect::End { cause }], "{}", state.as_str());
            assert_eq!(step.deadline, None);
            assert_eq!(at(State::Serving).handle(1, &input).unwrap().effects, []);
        }
    }
}

#[test]
fn it_says_why_it_is_where_it_is() {
    let mut ended = at(State::Ready);
    ended.handle(1, &Input::Stop).unwrap();
    assert_eq!(ended.explain().because, "it gave up: stopped");
    let mut promoted = at(State::Ready);
    promoted.handle(1, &Input::ParentGone).unwrap();
    assert_eq!(promoted.explain().because, "the old process is gone, and this one promotes itself");
    assert_eq!(promoted.explain().waits_for, "the sockets to accept");
}

#[test]
fn a_record_of_one_that_has_ended_and_still_waits_is_refused() {
    let mut ended = at(State::Loading);
    ended.handle(1, &Input::Stop).unwrap();
    let is_refused = |change: fn(&mut Successor)| {
        let mut forged = ended.clone();
        change(&mut forged);
        Successor::restore(&forged.snapshot(1).unwrap(), 0, 0) == Err(RecordFault::Corrupt)
    };
    assert!(!is_refused(|_| {}));
    assert!(is_refused(|ended| ended.ends = Some(5)), "for a time");
    assert!(is_refused(|ended| ended.operation = Some(1)), "for an answer");
}
