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
    assert_eq!(faults(handoff(|handoff| handoff.task_limit = 29_500)), ["handoff.task_limit"]);
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

#[test]
fn l6_a_process_that_comes_back_with_a_lease_is_ready_after_a_renew_and_its_public_door() {
    let answer = |effects: &[Effect]| {
        let answer = effects.iter().find_map(|effect| match *effect {
            Effect::Initialise { operation, .. }
            | Effect::OpenControlDoor { operation, .. }
            | Effect::OpenPublicDoor { operation, .. } => Some(Input::Done { operation }),
            Effect::Claim { operation, .. } => Some(Input::Mine { operation, epoch: 5, term: 60_000 }),
            Effect::Renew { operation, .. } => Some(Input::Renewed { operation, term: 60_000 }),
            _ => None,
        });
        answer.unwrap()
    };
    let lease = lease_holder::Config { drain: 30_000, release_limit: 1_000, ..Default::default() };
    let mut process = Lifecycle::new(Config { lease: Some(lease), ..Config::default() }, 1, 0).unwrap();
    let mut step = process.handle(0, &Input::Boot { successor: false }).unwrap();
    while process.at() != State::Serving {
        step = process.handle(0, &answer(&step.effects)).unwrap();
    }
    assert!(step.effects.contains(&Effect::Readiness { ready: true }));

    let record = process.snapshot(0).unwrap();
    let mut restored = Lifecycle::restore(&record, 0, 0).unwrap();
    let mut seen = vec![(restored.at(), restored.ready)];
    let mut step = restored.tick(0).unwrap();
    for _ in 0..2 {
        assert!(!step.effects.contains(&Effect::Readiness { ready: true }), "{:?}", step.effects);
        step = restored.handle(0, &answer(&step.effects)).unwrap();
        seen.push((restored.at(), restored.ready));
    }
    assert_eq!(
        seen,
        [(State::Claiming, false), (State::OpeningPublicDoor, false), (State::Serving, true)],
        "first the renew, then the door, and ready last"
    );
    assert!(step.effects.contains(&Effect::Readiness { ready: true }));
    assert_eq!(restored.epoch(), Some(5));
}

#[test]
fn a_record_of_a_process_that_cannot_be_is_refused() {
    let mut serving = Lifecycle::new(Config::default(), 1, 0).unwrap();
    serving.handle(0, &Input::Boot { successor: false }).unwrap();
    let mut exited = serving.clone();
    exited.handle(0, &Input::Failed { operation: 1 }).unwrap();
    assert_eq!(exited.stage, Stage::Exited);
    for operation in 1..=3 {
        serving.handle(0, &Input::Done { operation }).unwrap();
    }
    assert_eq!(serving.stage, Stage::Serving);
    let is_refused = |original: &Lifecycle, change: fn(&mut Lifecycle)| {
        let mut forged = original.clone();
        change(&mut forged);
        let record = forged.snapshot(forged.clock.now()).unwrap();
        Lifecycle::restore(&record, 0, 0) == Err(RecordFault::Corrupt)
    };
    assert!(!is_refused(&serving, |_| {}) && !is_refused(&exited, |_| {}));
    let undecided = |process: &mut Lifecycle| (process.stage, process.outcome) = (Stage::Stopping, None);
    assert!(is_refused(&exited, undecided), "its drain is over, and it has no outcome");
    assert!(
        is_refused(&serving, |process| process.lease_by = Some(60_000)),
        "it has to get a lease, and asks nobody for one"
    );
    assert!(
        is_refused(&exited, |process| {
            process.held = Some(Held { operation: 1, step: 0, attempt: 1, until: 60_000 });
        }),
        "it holds a step of its drain back for a successor that it cannot have"
    );
}

#[test]
fn what_it_inherited_is_forgotten_once_it_serves_and_needs_no_lease_of_its_own() {
    let inherited = Some(Inheritance { epoch: 5, until: 60_000 });
    let kept = |lease_by, served| {
        let mut lifecycle = Lifecycle::new(Config::default(), 1, 0).unwrap();
        (lifecycle.inherited, lifecycle.lease_by, lifecycle.served) = (inherited, lease_by, served);
        lifecycle.normalize(&mut |_, _| {});
        lifecycle.inherited == inherited
    };
    assert_eq!([kept(None, false), kept(Some(9), true), kept(None, true)], [true, true, false]);
}

/// A process with a lease whose drain is over before it is known whether its successor accepts: the steps that take
/// the boot back have waited for that longer than they may take.
fn ends_while_undecided(stop: &Input) -> Effect {
    let limit = 100;
    let lease = lease_holder::Config {
        term: 60_000,
        drain: 5_000,
        margin: 1_000,
        release_limit: limit,
        ..lease_holder::Config::default()
    };
    let handoff = handoff::Config { look_limit: limit, kill_limit: limit, lease: true, ..Default::default() };
    let config = Config {
        control_door: false,
        clean_up_limit: limit,
        drain: drain::Config { lame_duck: 0, grace: 1_000, kill_budget: 5_000, ..Default::default() },
        lease: Some(lease),
        handoff: Some(handoff),
        ..Config::default()
    };
    let mut lifecycle = Lifecycle::new(config, 1, 0).unwrap();
    let (operation, generation) = (|operation| Input::Done { operation }, 4);
    for input in [
        Input::Boot { successor: false },
        operation(1),
        Input::Mine { operation: 2, epoch: 5, term: 60_000 },
        operation(3),
        Input::Upgrade,
        Input::Ready { generation, speaks: handoff::Speaks::Tidegate, version: 1 },
        stop.clone(),
        // The public door is closed, and nothing is left.
        operation(6),
        Input::Load { requests: 0, idle: 0, streams: 0, tunnels: 0, told: 0 },
    ] {
        lifecycle.handle(0, &input).unwrap();
    }
    let mut said = Vec::new();
    while let Some(deadline) = lifecycle.deadline() {
        said.extend(lifecycle.tick(deadline.at).unwrap().effects);
    }
    assert!(said.contains(&Effect::UndoFailed { step: BootStep::Lease, timed_out: true }), "{said:?}");
    said.pop().unwrap()
}

#[test]
fn l5_a_fenced_process_exits_as_one_though_its_lease_could_not_be_taken_back_in_time() {
    let end = ends_while_undecided(&Input::Fenced { epoch: 5 });
    let Effect::Exit { cause, lease, exit_code, .. } = end else { panic!("{end:?}") };
    assert_eq!((cause, lease, exit_code), (ExitCause::Fenced, Some(LeaseEnd::Fenced), EXIT_FENCED));
}

#[test]
fn l4_a_lease_that_nobody_was_told_of_is_reported_as_unreleased() {
    let end = ends_while_undecided(&Input::Stop { intent: Intent::Restart });
    let Effect::Exit { cause, lease, exit_code, .. } = end else { panic!("{end:?}") };
    assert_eq!((cause, lease, exit_code), (ExitCause::Stopped, Some(LeaseEnd::Unreleased), EXIT_STEP_FAILED));
}
