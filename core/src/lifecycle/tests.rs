use super::*;
use crate::{Machine, Rules};

#[test]
fn y3_a_config_is_refused_where_its_parts_contradict_each_other() {
    let faults = |config: Config| {
        let faults = Lifecycle::new(config, 1, 0).unwrap_err();
        faults.list().iter().map(|fault| fault.field.clone()).collect::<Vec<_>>()
    };
    let lease = |drain| Some(lease_holder::Config { drain, release_limit: 1_000, ..Default::default() });
    let shorter = Config { lease: lease(29_999), ..Config::default() };
    assert_eq!(faults(shorter.clone()), ["lease.drain"]);
    assert!(Lifecycle::new(Config { lease: lease(30_000), ..shorter.clone() }, 1, 0).is_ok());
    let handoff = |change: fn(&mut handoff::Config)| {
        let mut handoff = handoff::Config::default();
        change(&mut handoff);
        Config { handoff: Some(handoff), ..Config::default() }
    };
    assert_eq!(faults(handoff(|handoff| handoff.drain_limit = 30_000)), ["handoff.drain_limit"]);
    assert_eq!(faults(handoff(|handoff| handoff.kill_limit = 29_500)), ["handoff.kill_limit"]);
    assert_eq!(faults(handoff(|handoff| handoff.lease = true)), ["handoff.lease"]);
    let successor = successor::Config { lease: true, ..Default::default() };
    assert_eq!(faults(Config { successor: Some(successor), ..Config::default() }), ["successor.lease"]);
    let codes = drain::Config { restart_exit_code: EXIT_FENCED, ..Default::default() };
    assert_eq!(faults(Config { drain: codes, ..Config::default() }), ["drain.restart_exit_code"]);
    assert_eq!(faults(Config { default_intent: Intent::Handoff, ..Config::default() }), ["default_intent"]);
}

#[test]
fn y1_what_a_stop_takes_back_counts_in_the_kill_budget() {
    // Lame duck, grace, the control door, the clean-up, the margin: 2 + 20 + 2 + 2 + 1 s.
    let within = |kill_budget| {
        let drain = drain::Config { kill_budget, ..Default::default() };
        Lifecycle::new(Config { drain, ..Config::default() }, 1, 0).is_ok()
    };
    assert_eq!([within(27_000), within(27_001)], [false, true]);
}

#[test]
fn the_draws_of_its_lease_can_be_chosen() {
    let draws =
        |lease| Lifecycle::new(Config { lease, ..Config::default() }, 1, 0).unwrap().random().is_some();
    let lease = lease_holder::Config { drain: 30_000, release_limit: 1_000, ..Default::default() };
    assert_eq!([draws(None), draws(Some(lease))], [false, true]);
}

#[test]
fn clients_are_accepted_from_the_public_door_to_the_end_of_the_lame_duck() {
    let config =
        Config { drain: drain::Config { lame_duck: 100, ..Default::default() }, ..Config::default() };
    let mut lifecycle = Lifecycle::new(config, 1, 0).unwrap();
    let mut accepted = vec![lifecycle.accepts()];
    let mut tell = |input: Input| {
        let step = lifecycle.handle(0, &input).unwrap();
        accepted.push(lifecycle.accepts());
        step
    };
    let mut operation = 0;
    let mut step = tell(Input::Boot { successor: false });
    while operation < 10 {
        let begun = step.effects.iter().find_map(|effect| match effect {
            Effect::Initialise { operation, .. } | Effect::OpenControlDoor { operation, .. } => {
                Some((*operation, false))
            }
            Effect::OpenPublicDoor { operation, .. } => Some((*operation, true)),
            _ => None,
        });
        let Some((next, public)) = begun else { break };
        operation = next;
        step = tell(Input::Done { operation });
        if public {
            break;
        }
    }
    tell(Input::Stop { intent: Intent::Restart });
    let wake = lifecycle.deadline().unwrap();
    lifecycle.tick(wake.at).unwrap();
    accepted.push(lifecycle.accepts());
    // Not while it boots until the door is told to open, then until the lame duck is over.
    assert_eq!(accepted, [false, false, false, true, true, true, false]);
}
