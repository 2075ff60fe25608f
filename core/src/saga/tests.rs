//! What the conformance vectors cannot say.

use super::*;
use crate::{FaultCode, MAX_DURATION, Machine};

fn step(name: &str, after: &[&str]) -> SagaStep {
    let after = after.iter().map(|name| (*name).into()).collect();
    SagaStep { name: name.into(), after, undo_retries: 0, ..SagaStep::default() }
}

fn saga(steps: Vec<SagaStep>) -> Saga {
    Saga::new(Config { steps, ..Config::default() }, 1, 0).unwrap()
}

fn messages(config: &Config) -> Vec<(FaultCode, String, String)> {
    let faults = Saga::new(config.clone(), 1, 0).unwrap_err();
    faults.list().iter().map(|fault| (fault.code, fault.field.clone(), fault.message.clone())).collect()
}

/// Answers everything that is asked `done`, except what `answer` says otherwise; the effects in order.
fn run(saga: &mut Saga, first: &Input, answer: impl Fn(&Effect) -> Option<Input>) -> Vec<Effect> {
    let mut effects = saga.handle(0, first).unwrap().effects;
    let mut place = 0;
    while let Some(effect) = effects.get(place) {
        place += 1;
        let asked = match *effect {
            Effect::Append { operation, .. }
            | Effect::Do { operation, .. }
            | Effect::Undo { operation, .. }
            | Effect::FallBack { operation, .. } => Input::Done { operation },
            Effect::Verify { operation, .. } => Input::Absent { operation },
            _ => continue,
        };
        let input = answer(effect).unwrap_or(asked);
        effects.extend(saga.handle(0, &input).unwrap().effects);
    }
    effects
}

fn failing(index: u32) -> impl Fn(&Effect) -> Option<Input> {
    move |effect| match *effect {
        Effect::Do { operation, step, .. } if step == index => Some(Input::Failed { operation }),
        _ => None,
    }
}

#[test]
fn g1_a_circle_is_named_with_its_path() {
    let circle = Config {
        steps: vec![step("a", &["c"]), step("b", &["a"]), step("c", &["b"]), step("d", &["c"])],
        ..Config::default()
    };
    let message = "wait for each other: a -> c -> b -> a".into();
    assert_eq!(messages(&circle), [(FaultCode::Contradiction, "steps".into(), message)]);
    let mut undo = step("a", &[]);
    undo.undo_requires = vec!["b".into()];
    let mut other = step("b", &[]);
    other.undo_requires = vec!["a".into()];
    let circle = Config { steps: vec![undo, other], ..Config::default() };
    let message = "have undos that wait for each other: a -> b -> a".into();
    assert_eq!(messages(&circle), [(FaultCode::Contradiction, "steps".into(), message)]);
}

#[test]
fn g1_a_graph_of_the_most_steps_is_taken_in_any_shape_and_one_more_is_refused() {
    let name = |index: usize| format!("s{index}");
    // Everything after everything before it.
    let dense = |count: usize| {
        let steps = (0..count).map(|index| SagaStep {
            name: name(index),
            after: (0..index).map(name).collect(),
            ..SagaStep::default()
        });
        Config { steps: steps.collect(), ..Config::default() }
    };
    assert!(Saga::new(dense(100), 1, 0).is_ok());
    let fields: Vec<_> = messages(&dense(101)).into_iter().map(|(_, field, _)| field).collect();
    assert_eq!(fields, ["steps"]);
}

#[test]
fn g7_the_reports_of_the_widest_saga_stay_few() {
    let steps = (0..100).map(|index| SagaStep { undo_retries: 0, ..step(&format!("s{index}"), &[]) });
    let mut steps: Vec<_> = steps.collect();
    let last = (0..99).map(|index| format!("s{index}")).collect();
    steps[99].after = last;
    let mut saga = saga(steps);
    let effects = run(&mut saga, &Input::Start, |effect| match *effect {
        Effect::Do { operation, step: 99, .. } | Effect::Undo { operation, .. } => {
            Some(Input::Failed { operation })
        }
        _ => None,
    });
    let stuck = effects.last().cloned();
    let expected = Effect::Stuck { cause: SagaCause::StepFailed, step: Some(99), attempt: 1, leaked: 99 };
    assert_eq!(stuck, Some(expected));
    assert_eq!(saga.leaked().count(), 99);
}

#[test]
fn g8_limits_and_retries_may_be_tuned_while_sagas_are_under_way_but_not_the_graph() {
    let definition = |config: &Config| Plan::of(config).definition;
    let base = Config { steps: vec![step("a", &[]), step("b", &["a"])], ..Config::default() };
    let changed = |change: fn(&mut Config)| {
        let mut config = base.clone();
        change(&mut config);
        definition(&config)
    };
    assert_eq!(changed(|_| {}), definition(&base));
    assert_eq!(changed(|config| config.steps[0].limit = 1), definition(&base));
    assert_eq!(changed(|config| config.steps[0].retries = 9), definition(&base));
    assert_eq!(changed(|config| config.rollback_deadline = 1), definition(&base));
    let graphs: [fn(&mut Config); 6] = [
        |config| config.steps[0].name = "c".into(),
        |config| config.steps[1].after.clear(),
        |config| config.steps[1].compensation = Compensation::Pivot,
        |config| config.steps[0].undo_requires = vec!["b".into()],
        |config| config.steps[0].fallback = true,
        |config| config.steps.truncate(1),
    ];
    for (index, graph) in graphs.into_iter().enumerate() {
        assert_ne!(changed(graph), definition(&base), "change {index}");
    }
    assert!(definition(&base) <= MAX_TIME, "it crosses as a number");
}

#[test]
fn g8_a_saga_whose_retries_were_lowered_meanwhile_recovers() {
    let mut saga = saga(vec![step("a", &[])]);
    let definition = saga.plan.definition;
    let replay =
        |sequence, kind, step, attempt, value| Input::Replay { sequence, kind, step, attempt, value };
    let records = [
        replay(1, SagaRecord::Started, None, 0, definition),
        replay(2, SagaRecord::Intent, Some(0), 1, 0),
        replay(3, SagaRecord::Failed, Some(0), 1, 0),
        replay(4, SagaRecord::Intent, Some(0), 2, 0),
        replay(5, SagaRecord::Failed, Some(0), 2, 0),
    ];
    for record in &records {
        assert_eq!(saga.handle(0, record).unwrap().effects, []);
    }
    let effects = run(&mut saga, &Input::Recovered { torn: false }, |_| None);
    let expected = Effect::RolledBack { cause: SagaCause::StepFailed, step: Some(0), attempt: 2 };
    assert_eq!(effects.last(), Some(&expected));
}

#[test]
fn g8_an_operator_is_not_heard_before_the_whole_journal_was_read() {
    let pivot = SagaStep { compensation: Compensation::Pivot, ..step("switch", &[]) };
    let mut saga = saga(vec![SagaStep { idempotent: true, ..pivot }]);
    let definition = saga.plan.definition;
    let replay =
        |sequence, kind, step, attempt, value| Input::Replay { sequence, kind, step, attempt, value };
    let records = [
        replay(1, SagaRecord::Started, None, 0, definition),
        replay(2, SagaRecord::Intent, Some(0), 1, 0),
        replay(3, SagaRecord::Unknown, Some(0), 1, 0),
        replay(4, SagaRecord::Stuck, None, 0, 2),
    ];
    for record in &records {
        assert_eq!(saga.handle(0, record).unwrap().effects, []);
    }
    let before = saga.clone();
    for input in [Input::Retry { step: 0 }, Input::Resolve { step: 0, present: true }] {
        let rejection = saga.handle(0, &input).unwrap_err();
        assert_eq!(rejection.code, RejectionCode::ImpossibleNow);
        assert_eq!(saga, before);
    }
    run(&mut saga, &Input::Recovered { torn: false }, |_| None);
    assert!(saga.handle(0, &Input::Retry { step: 0 }).is_ok());
}

#[test]
fn it_says_why_it_is_where_it_is_and_what_it_waits_for() {
    let mut saga = saga(vec![step("row", &[]), step("dns", &["row"])]);
    let said = |saga: &Saga| {
        let Explanation { state, because, waits_for, .. } = saga.explain();
        format!("{state}: {because}; {waits_for}")
    };
    assert_eq!(said(&saga), "idle: nothing was begun; ");
    saga.handle(0, &Input::Start).unwrap();
    let expected =
        "running: it was begun, and nothing has failed; the journal, record `started`, 5000 ms at most";
    assert_eq!(said(&saga), expected);
    saga.handle(0, &Input::Failed { operation: 1 }).unwrap();
    let expected = "halted: record 1 of its journal could not be made durable; \
                    a resume, or recovery by another process";
    assert_eq!(said(&saga), expected);
    let effects = run(&mut saga, &Input::Resume, |effect| match *effect {
        Effect::Do { operation, step: 1, .. } | Effect::Undo { operation, .. } => {
            Some(Input::Failed { operation })
        }
        _ => None,
    });
    assert!(matches!(effects.last(), Some(Effect::Stuck { .. })));
    let expected = "stuck: `dns` failed, attempt 1, and not everything could be undone: `row` (undo-failed); \
                    an operator";
    assert_eq!(said(&saga), expected);
}

#[test]
fn g9_a_fenced_saga_is_over_for_this_executor() {
    let mut saga = saga(vec![step("a", &[])]);
    saga.handle(0, &Input::Start).unwrap();
    saga.handle(0, &Input::Done { operation: 1 }).unwrap();
    let step = saga.handle(0, &Input::Fenced { operation: 2 }).unwrap();
    assert_eq!((step.effects, step.deadline), (vec![Effect::Fenced], None));
    assert!(saga.is_resting());
    assert_eq!(saga.phase(), Phase::Fenced);
    assert_eq!(saga.tick(MAX_DURATION).unwrap().effects, []);
}

#[test]
fn what_was_written_is_counted() {
    let mut saga = saga(vec![step("a", &[]), step("b", &["a"])]);
    let effects = run(&mut saga, &Input::Start, failing(1));
    let writes = effects.iter().filter(|effect| matches!(effect, Effect::Append { .. })).count();
    assert_eq!(saga.sequence(), writes as u64);
    assert_eq!(saga.phase(), Phase::RolledBack);
}

#[test]
fn g6_a_cancel_that_comes_too_late_changes_nothing() {
    let mut saga = saga(vec![step("a", &[])]);
    saga.handle(0, &Input::Start).unwrap();
    (1..=4).for_each(|operation| drop(saga.handle(0, &Input::Done { operation }).unwrap()));
    assert_eq!(saga.phase(), Phase::Running, "its end is being written");
    let before = saga.clone();
    assert_eq!(saga.handle(0, &Input::Cancel).unwrap().effects, []);
    assert_eq!(saga, before);
}

/// Before, the pivot, after.
fn with_pivot() -> Vec<SagaStep> {
    let of = |name, after: &[&str], compensation| SagaStep { compensation, ..step(name, after) };
    vec![
        step("before", &[]),
        of("pivot", &["before"], Compensation::Pivot),
        of("after", &["pivot"], Compensation::Nothing),
    ]
}

fn is_refused(original: &Saga, change: fn(&mut Saga)) -> bool {
    let mut forged = original.clone();
    change(&mut forged);
    Saga::restore(&forged.snapshot(0).unwrap(), 0, 0) == Err(RecordFault::Corrupt)
}

#[test]
fn g5_a_record_that_would_do_a_step_after_the_saga_turned_round_is_refused() {
    let mut begun = saga(vec![step("a", &[])]);
    begun.handle(0, &Input::Start).unwrap();
    begun.handle(0, &Input::Done { operation: 1 }).unwrap();
    assert_eq!(begun.stage(0), Stage::Busy(Work::Do, Moment::Intended));
    assert!(!is_refused(&begun, |_| {}));
    assert!(is_refused(&begun, |saga| {
        saga.phase = Phase::Unwinding;
        saga.origin = Some(Origin::CANCEL);
        saga.rollback_until = Some(saga.config.rollback_deadline);
    }));
}

#[test]
fn g1_a_record_that_turned_round_although_its_pivot_or_what_follows_it_is_done_is_refused() {
    let mut done = saga(with_pivot());
    run(&mut done, &Input::Start, failing(0));
    assert_eq!(done.phase, Phase::RolledBack);
    let turned = |saga: &mut Saga| {
        saga.phase = Phase::Unwinding;
        saga.rollback_until = Some(saga.config.rollback_deadline);
        saga.set_stage(0, Stage::Done);
        saga.progress[0].attempt = 1;
        saga.set_stage(0, Stage::Busy(Work::Undo, Moment::Due(9)));
    };
    turned(&mut done);
    assert!(!is_refused(&done, |_| {}));
    assert!(is_refused(&done, |saga| saga.set_stage(1, Stage::Done)));
    assert!(is_refused(&done, |saga| saga.set_stage(2, Stage::Done)));
    let replaying = |saga: &mut Saga| {
        saga.set_stage(0, Stage::Done);
        (saga.mode, saga.rollback_until) = (Mode::Replaying, None);
    };
    replaying(&mut done);
    assert!(!is_refused(&done, |_| {}));
    assert!(is_refused(&done, |saga| saga.set_stage(1, Stage::Done)));
}

#[test]
fn g7_a_record_that_ends_stuck_while_nothing_has_failed_or_something_is_under_way_is_refused() {
    let mut ending = saga(with_pivot());
    let mut effects = ending.handle(0, &Input::Start).unwrap().effects;
    while !ending.is_ending() {
        let input = match *effects.first().unwrap() {
            Effect::Do { operation, step: 2, .. } => Input::Failed { operation },
            Effect::Do { operation, .. } | Effect::Append { operation, .. } => Input::Done { operation },
            ref other => panic!("{other:?}"),
        };
        effects.remove(0);
        effects.extend(ending.handle(0, &input).unwrap().effects);
    }
    assert_eq!(ending.stage(2), Stage::Clean);
    assert!(!is_refused(&ending, |_| {}));
    assert!(is_refused(&ending, |saga| {
        saga.origin = None;
        saga.set_stage(2, Stage::Waiting);
    }));
    assert!(is_refused(&ending, |saga| saga.set_stage(2, Stage::Busy(Work::Do, Moment::Due(9)))));
}

#[test]
fn what_holds_nothing_up_is_forgotten_and_what_does_is_not() {
    let mut running = saga(vec![step("a", &[])]);
    running.handle(5, &Input::Start).unwrap();
    let normal = |phase, hold, late| {
        let mut saga = running.clone();
        saga.phase = phase;
        (saga.progress[0].hold, saga.progress[0].late) = (hold, late);
        saga.normalize(&mut |_, _| {});
        (saga.progress[0].hold, saga.progress[0].late)
    };
    assert_eq!(normal(Phase::Running, Some(6), Some(7)), (Some(6), Some(7)));
    assert_eq!(normal(Phase::Running, Some(5), Some(5)), (None, None), "it has passed");
    assert_eq!(normal(Phase::Unwinding, Some(4), Some(8)), (None, Some(8)));
    for over in [Phase::Committed, Phase::RolledBack, Phase::Fenced] {
        assert_eq!(normal(over, Some(6), Some(7)), (None, None), "all is over");
    }
}
