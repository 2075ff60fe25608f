//! Sagas over graphs of steps: named cases, and random graphs in a world where anything goes wrong.
//!
//! The properties: committed means that all effects are there, rolled back that none is, and otherwise nothing is
//! left unreported; keys take effect at most once; undos run in reverse order, and nothing is freed while what must
//! be gone first is there; and once the faults are used up, every saga ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]

mod saga_world;

use saga_world::graphs::{Graph, check, random_config};
use saga_world::{Answer, Call, Fate, Host, Next, Strike};
use tidegate::saga::{Config, Effect, Input, LeakReason, Phase, SagaCause, SagaStep};
use tidegate::{Machine, Random};

const WORKS: Fate = Fate { lands: Some(0), answer: Some((1, Answer::Done)) };
const FAILS: Fate = Fate { lands: None, answer: Some((1, Answer::Failed)) };

fn step(name: &str, after: &[&str]) -> SagaStep {
    let after = after.iter().map(|name| (*name).to_owned()).collect();
    SagaStep { name: name.into(), after, fenced: true, undo_retries: 0, ..SagaStep::default() }
}

/// top → left, right → bottom.
fn diamond() -> Config {
    let steps = vec![
        step("top", &[]),
        step("left", &["top"]),
        step("right", &["top"]),
        step("bottom", &["left", "right"]),
    ];
    Config { steps, ..Config::default() }
}

fn host(config: &Config, script: &[(Call, Fate)]) -> Host<Graph> {
    let mut world = Graph::new(config.clone(), Random::seeded(1), 0);
    world.script = script.to_vec();
    Host::start(config, world)
}

fn run(host: &mut Host<Graph>) {
    while let Next::Carry(effect) = host.next() {
        host.carry(&effect);
    }
}

/// Steps of the undos that are made from here on, in order.
fn undos(host: &mut Host<Graph>) -> Vec<u32> {
    let mut undos = Vec::new();
    while let Next::Carry(effect) = host.next() {
        if let Effect::Undo { step, .. } = effect {
            undos.push(step);
        }
        host.carry(&effect);
    }
    undos
}

#[test]
fn rollback_goes_on_past_a_failing_undo_in_the_middle_of_a_graph() {
    let (bottom, right) = (Call::Do { step: 3, attempt: 1 }, Call::Undo { step: 2 });
    let mut host = host(&diamond(), &[(bottom, FAILS), (right, FAILS)]);
    assert_eq!(undos(&mut host), [1, 2, 0], "the others are undone, the top last");
    let leaked: Vec<_> = host.machine.leaked().collect();
    assert_eq!(leaked, [(2, LeakReason::UndoFailed)]);
    let cause = (SagaCause::StepFailed, Some(3), 1);
    assert_eq!(host.outcome().cause, Some(cause), "the original error is unchanged");
    check(&host);
}

#[test]
fn a_diamond_recovers_after_a_crash_during_rollback() {
    let bottom = Call::Do { step: 3, attempt: 1 };
    let mut crashes = 0;
    for crash_at in 0.. {
        let mut host = host(&diamond(), &[(bottom, FAILS), (Call::Undo { step: 1 }, WORKS)]);
        let mut place = 0;
        let mut struck = false;
        while let Next::Carry(effect) = host.next() {
            if host.machine.phase() == Phase::Unwinding {
                if place == crash_at {
                    host.recover();
                    struck = true;
                    break;
                }
                place += 1;
            }
            host.carry(&effect);
        }
        run(&mut host);
        check(&host);
        assert_eq!(host.machine.phase(), Phase::RolledBack);
        if !struck {
            break;
        }
        crashes += 1;
    }
    assert!(crashes >= 10, "a rollback of three steps has more than {crashes} places to crash at");
}

#[test]
fn independent_steps_run_beside_each_other_both_ways() {
    let mut host = host(&diamond(), &[(Call::Do { step: 3, attempt: 1 }, FAILS)]);
    let (mut dos, mut undos) = (Vec::new(), Vec::new());
    while let Next::Carry(effect) = host.next() {
        // Left and right are answered when both have begun, which takes no time.
        let held = match effect {
            Effect::Do { step: 1 | 2, .. } => &mut dos,
            Effect::Undo { step: 1 | 2, .. } => &mut undos,
            _ => {
                host.carry(&effect);
                continue;
            }
        };
        held.push(effect);
        if held.len() == 2 {
            held.clone().iter().for_each(|effect| host.carry(effect));
        }
    }
    assert_eq!((dos.len(), undos.len()), (2, 2));
    assert_eq!(host.machine.phase(), Phase::RolledBack);
    assert!(host.now < 1_000, "no limit had to end anything");
}

/// One saga of a random graph, struck at random; then an operator settles what is stuck.
fn simulate(seed: u64) -> Phase {
    let mut random = Random::seeded(seed);
    let config = random_config(&mut random);
    let faults = random.between(0, 8);
    let mut host = Host::start(&config, Graph::new(config.clone(), random, faults));
    while let Next::Carry(effect) = host.next() {
        if host.world.chance(60) && host.began && !matches!(host.machine.phase(), Phase::Idle) {
            host.tell(&Input::Cancel);
        }
        if host.world.strikes(12) {
            let strikes = Strike::at(&effect);
            let choice = host.world.random.between(0, strikes.len() as u64 - 1);
            host.strike(strikes[choice as usize], &effect);
        } else {
            host.carry(&effect);
        }
    }
    check(&host);
    let ended = host.machine.phase();
    host.world.faults = 0;
    settle(&mut host, seed);
    ended
}

/// G7: what an operator can retry is retried, the rest is settled by hand; it must end without a leak.
fn settle(host: &mut Host<Graph>, seed: u64) {
    host.doubling = false;
    host.world.settled_by_hand = true;
    for round in 0..60 {
        match host.machine.phase() {
            Phase::Stuck => {
                let (step, reason) = host.machine.leaked().next().expect("a stuck saga names what is left");
                let by_hand = reason == LeakReason::MayLandLate || round > 30;
                if by_hand {
                    host.world.remove(step as usize);
                    host.tell(&Input::Resolve { step, present: false });
                } else {
                    host.tell(&Input::Retry { step });
                }
            }
            Phase::Unfinished => {
                let steps = 0..host.world.config.steps.len() as u32;
                let retried = steps.clone().find(|step| {
                    let mut machine = host.machine.clone();
                    round < 30 && machine.handle(host.now, &Input::Retry { step: *step }).is_ok()
                });
                if let Some(step) = retried {
                    host.tell(&Input::Retry { step });
                } else {
                    let failing = steps.clone().find(|step| {
                        let mut machine = host.machine.clone();
                        machine.handle(host.now, &Input::Resolve { step: *step, present: true }).is_ok()
                    });
                    let step = failing.expect("an unfinished saga has a step that can be settled");
                    host.world.put(step as usize);
                    host.tell(&Input::Resolve { step, present: true });
                }
            }
            Phase::Committed | Phase::RolledBack => {
                check(host);
                return;
            }
            _ => return assert!(!host.began, "seed {seed}"),
        }
        run(host);
        // G8 holds for what operators did, too.
        let phase = host.machine.phase();
        let leaked: Vec<_> = host.machine.leaked().collect();
        host.recover();
        assert_eq!(host.machine.phase(), phase);
        assert_eq!(host.machine.leaked().collect::<Vec<_>>(), leaked);
        run(host);
        check(host);
    }
    panic!("an operator cannot settle it: {:?}", host.machine);
}

#[test]
fn random_graphs_end_committed_rolled_back_or_with_every_leak_named() {
    let cases = std::env::var("SAGA_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(20_000);
    let mut ends = std::collections::BTreeMap::<Phase, u32>::new();
    for seed in 0..cases {
        let end = std::panic::catch_unwind(|| simulate(seed));
        let end = end.unwrap_or_else(|cause| {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(cause)
        });
        *ends.entry(end).or_default() += 1;
    }
    println!("{ends:?}");
    for phase in [Phase::Committed, Phase::RolledBack, Phase::Stuck, Phase::Unfinished] {
        assert!(ends.contains_key(&phase), "no saga ended {phase:?}: {ends:?}");
    }
}
