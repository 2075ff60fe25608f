//! What vectors cannot say: whole lives of simulated stacks of processes that crash, hang, ignore signals and never
//! answer, against the properties of a stack.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::Machine;

/// How well the processes and the host work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manners {
    /// Everything works, in time.
    Good,
    /// Processes die, hang and end with errors; the host answers late, wrongly or never.
    Bad,
    /// And it wakes the machine late.
    Late,
}

/// A process that was spawned.
#[derive(Debug, Clone, Copy)]
struct Process {
    component: u32,
    alive: bool,
    reaped: bool,
    /// Its spawn failed.
    absent: bool,
    signals: u32,
    killed: bool,
}

struct World {
    stack: Stack,
    random: Random,
    manners: Manners,
    now: Millis,
    events: BTreeMap<(Millis, u64), Input>,
    sequence: u64,
    processes: BTreeMap<OperationId, Process>,
    up: BTreeSet<u32>,
    /// Components whose process was given up.
    given_up: BTreeSet<u32>,
    begun: Option<Millis>,
    overdue: bool,
    worst: StackOutcome,
    exit: Option<(u8, StackOutcome, Option<u32>)>,
    late_by: Millis,
    seen: BTreeSet<String>,
}

fn config(random: &mut Random, manners: Manners) -> Config {
    let count = random.between(1, 6);
    let mut components = Vec::new();
    for index in 0..count {
        let ready = [Readiness::Started, Readiness::Delay, Readiness::Socket, Readiness::Notify];
        let restart = [Restart::Never, Restart::OnFailure, Restart::Always];
        let one_of = |random: &mut Random, most| usize::try_from(random.between(0, most)).unwrap();
        let after = (0..index).filter(|_| random.between(0, 2) == 0).map(|needed| format!("c{needed}"));
        components.push(Component {
            name: format!("c{index}"),
            after: after.collect(),
            ready: ready[one_of(random, 3)],
            ready_delay: random.between(1, 30),
            ready_limit: 50,
            restart: restart[one_of(random, 2)],
            backoff: Policy { initial: 20, cap: 200, floor: 1, ..Policy::default() },
            stable_after: 200,
            restart_budget: u32::try_from(random.between(0, 3)).unwrap(),
            restart_window: 1_000,
            drain: random.between(0, 1) == 1,
            drain_call_limit: 20,
            drain_limit: 60,
            stop_limit: 40,
            upgradable: random.between(0, 2) == 0,
            ..Component::default()
        });
    }
    // In any order: what a component comes after may stand behind it.
    if random.between(0, 1) == 1 {
        components.reverse();
    }
    let mut config = Config {
        components,
        spawn_limit: 20,
        kill_limit: 15,
        reap_limit: 10,
        margin: 40,
        kill_budget: 1,
        ..Config::default()
    };
    let (_, longest) = config.longest_stop().unwrap();
    config.kill_budget = longest + config.margin + 1;
    if manners == Manners::Late {
        config.margin = 400;
        config.kill_budget += 400;
    }
    config
}

impl World {
    fn new(seed: u64, manners: Manners) -> Self {
        let mut random = Random::seeded(seed);
        let stack = Stack::new(config(&mut random, manners), seed, 0).unwrap();
        Self {
            stack,
            random,
            manners,
            now: 0,
            events: BTreeMap::new(),
            sequence: 0,
            processes: BTreeMap::new(),
            up: BTreeSet::new(),
            given_up: BTreeSet::new(),
            begun: None,
            overdue: false,
            worst: StackOutcome::Clean,
            exit: None,
            late_by: 0,
            seen: BTreeSet::new(),
        }
    }

    fn chance(&mut self, low: u64, high: u64) -> u64 {
        self.random.between(low, high)
    }

    fn is_bad(&mut self, one_in: u64) -> bool {
        self.manners != Manners::Good && self.chance(1, one_in) == 1
    }

    fn later(&mut self, delay: Millis, input: Input) {
        self.sequence += 1;
        self.events.insert((self.now + delay, self.sequence), input);
    }

    /// The host answers, if it does.
    fn answer(&mut self, operation: OperationId, slow: Millis) {
        let delay = self.chance(0, slow);
        if self.is_bad(12) {
            return;
        }
        let input = if self.is_bad(12) { Input::Failed { operation } } else { Input::Done { operation } };
        self.later(delay, input);
    }

    fn run(&mut self, stop_at: Millis) {
        self.tell(&Input::Start);
        let mut stopped = false;
        while self.exit.is_none() {
            let event = self.events.keys().next().map(|(at, _)| *at);
            let lateness = if self.manners == Manners::Late { self.late_by } else { 0 };
            let tick = self.stack.deadline().map(|deadline| deadline.at + lateness);
            let stop = (!stopped).then_some(stop_at);
            let at = event.into_iter().chain(tick).chain(stop).min().expect("it waits for ever");
            self.now = self.now.max(at);
            if stop == Some(at) {
                stopped = true;
                let intent = if self.chance(0, 1) == 0 { Intent::Restart } else { Intent::Decommission };
                self.tell(&Input::Stop { intent });
                if self.is_bad(10) && self.exit.is_none() {
                    self.tell(&Input::Force);
                }
            } else if event == Some(at) {
                let (_, input) = self.events.pop_first().unwrap();
                self.tell(&input);
            } else {
                let effects = self.stack.tick(self.now).unwrap().effects;
                self.effects(effects);
                self.late_by = self.chance(0, 150);
            }
        }
        self.tell(&Input::Stop { intent: Intent::Decommission });
    }

    fn tell(&mut self, input: &Input) {
        if let Input::Exited { generation, .. } = *input {
            let process = self.processes.get_mut(&generation).unwrap();
            if !std::mem::take(&mut process.alive) {
                return;
            }
        }
        if matches!(input, Input::Replaced { .. }) && self.manners == Manners::Good && self.begun.is_some() {
            return;
        }
        if let Input::OlderGone { component } = *input
            && self.stack.part(component as usize).older == 0
        {
            // It was killed meanwhile.
            return;
        }
        let effects = match self.stack.handle(self.now, input) {
            Ok(step) => step.effects,
            // A replacement that comes when its component is not there to be replaced.
            Err(rejection) => {
                assert_eq!(rejection.code, RejectionCode::ImpossibleNow, "{rejection}");
                assert!(matches!(input, Input::Replaced { .. }), "{rejection}");
                return;
            }
        };
        self.effects(effects);
    }

    fn after(&self, component: u32) -> Vec<u32> {
        self.stack.after[component as usize].iter().map(|needed| number(*needed)).collect()
    }

    /// Whether nothing is left of a component, as far as the host knows.
    fn is_gone(&self, component: u32) -> bool {
        let left = |process: &Process| process.component == component && !process.reaped;
        !self.processes.values().any(left) || self.given_up.contains(&component)
    }

    fn may_stop(&self, component: u32, what: &str) {
        let dependents =
            (0..number(self.stack.parts.len())).filter(|other| self.after(*other).contains(&component));
        for dependent in dependents {
            assert!(self.overdue || self.is_gone(dependent), "{what} {component} before {dependent} is gone");
        }
    }

    fn effects(&mut self, effects: Vec<Effect>) {
        self.overdue |= self.stack.overdue;
        for effect in effects {
            self.effect(effect);
        }
        self.check();
    }

    fn effect(&mut self, effect: Effect) {
        assert!(self.exit.is_none(), "after the exit: {effect:?}");
        let stopping = self.begun.is_some();
        match effect {
            Effect::Spawn { operation, component, .. } => {
                assert!(!stopping, "started while it stops");
                for needed in self.after(component) {
                    assert!(self.up.contains(&needed), "{component} is started before {needed} is up");
                }
                self.spawn(operation, component);
            }
            Effect::AwaitReady { operation, .. } => self.answer(operation, 45),
            Effect::CallDrain { operation, component, .. } => {
                self.may_stop(component, "drained");
                self.answer(operation, 15);
            }
            Effect::AwaitDrained { operation, .. } => self.answer(operation, 50),
            Effect::Signal { component, generation, .. } => {
                // The successor of one that is being stopped already is stopped like it.
                let mut all = self.processes.values();
                let again = all.any(|process| process.component == component && process.signals > 0);
                if stopping && !again {
                    self.may_stop(component, "signalled");
                }
                let process = self.processes.get_mut(&generation).unwrap();
                assert!(!process.reaped, "a process is signalled after it was reaped");
                process.signals += 1;
                assert_eq!(process.signals, 1, "a process is told to stop twice");
                let delay = self.chance(0, 35);
                let status = u8::from(self.is_bad(8));
                if !self.is_bad(6) {
                    self.later(delay, Input::Exited { generation, status, signal: 0 });
                }
            }
            Effect::KillGroup { component, generation } => {
                let process = self.processes.get_mut(&generation).unwrap();
                assert!(!process.reaped || process.absent, "a process is killed after it was reaped");
                assert!(!process.killed, "a process is killed twice");
                process.killed = true;
                // One that was not ready in time is stopped before any stop of the stack, and a spawn that hangs
                // is of use to nobody.
                let stage = self.stack.part(component as usize).stage;
                let hangs = matches!(stage, Stage::Killing { spawned: false, .. });
                if stopping && process.signals == 0 && !hangs {
                    self.may_stop(component, "killed");
                }
                if !self.is_bad(15) {
                    self.later(1, Input::Exited { generation, status: 0, signal: 9 });
                }
            }
            Effect::KillOlder { component } => {
                let older = self.stack.part(component as usize).older;
                for _ in 0..older {
                    self.later(1, Input::OlderGone { component });
                }
            }
            Effect::Reap { operation, generation, .. } => {
                let process = self.processes.get_mut(&generation).unwrap();
                assert!(!process.alive && !process.reaped, "{generation} is reaped while it lives, or twice");
                process.reaped = true;
                self.answer(operation, 8);
            }
            Effect::Adopted { component, generation } => {
                self.processes.insert(generation, Process::of(component));
                // The older generation is the host's from now on.
                let before = self.processes.range(..generation);
                let older = before.filter(|(_, process)| process.component == component && !process.reaped);
                let older: Vec<_> = older.map(|(generation, _)| *generation).collect();
                for generation in older {
                    self.processes.get_mut(&generation).unwrap().reaped = true;
                    let delay = self.chance(0, 30);
                    if !self.is_bad(3) && self.manners != Manners::Late {
                        self.later(delay, Input::OlderGone { component });
                    }
                }
            }
            Effect::Readiness { .. } => {}
            Effect::Up { component } => {
                self.up.insert(component);
            }
            Effect::Failed { component, why } => self.failed(component, why),
            Effect::Restarting { component, .. } => {
                self.up.remove(&component);
                self.seen.insert("restarted".into());
            }
            Effect::Gone { component } => {
                self.up.remove(&component);
                let given_up = self.given_up.contains(&component);
                assert!(given_up || self.is_gone(component), "{component} is not gone");
            }
            Effect::Stopping { cause, .. } => {
                if self.begun.is_none() {
                    self.begun = Some(self.now);
                    self.worst = match cause {
                        StopCause::Asked | StopCause::Finished => StackOutcome::Clean,
                        StopCause::Died => StackOutcome::Died,
                        StopCause::StartFailed => StackOutcome::StartFailed,
                    };
                }
                self.seen.insert(cause.as_str().into());
            }
            Effect::Exit { component, outcome, exit_code, .. } => {
                self.exit = Some((exit_code, outcome, component));
                self.seen.insert(format!("exit {exit_code}"));
            }
        }
    }

    fn spawn(&mut self, operation: OperationId, component: u32) {
        self.processes.insert(operation, Process::of(component));
        self.up.remove(&component);
        let delay = self.chance(0, 5);
        if self.is_bad(25) {
            return;
        }
        if self.is_bad(25) {
            let process = self.processes.get_mut(&operation).unwrap();
            (process.alive, process.reaped, process.absent) = (false, true, true);
            self.later(delay, Input::Failed { operation });
            return;
        }
        self.later(delay, Input::Done { operation });
        if self.is_bad(3) {
            let (delay, status) = (self.chance(0, 600), self.chance(0, 3));
            let status = u8::try_from(status).unwrap();
            self.later(delay, Input::Exited { generation: operation, status, signal: 0 });
        }
        let upgradable = self.stack.config.components[component as usize].upgradable;
        if upgradable && self.chance(0, 1) == 0 {
            let delay = self.chance(50, 700);
            self.later(delay, Input::Replaced { component });
        }
    }

    fn failed(&mut self, component: u32, why: ComponentFailure) {
        self.seen.insert(why.as_str().into());
        assert!(
            self.manners != Manners::Good || why == ComponentFailure::RestartBudget,
            "{component}: {why:?}"
        );
        if why == ComponentFailure::Died || why == ComponentFailure::ExitedEarly {
            self.up.remove(&component);
        }
        if why == ComponentFailure::Unreaped {
            self.given_up.insert(component);
            for process in self.processes.values_mut().filter(|process| process.component == component) {
                (process.reaped, process.alive) = (true, false);
            }
        }
        if self.begun.is_some() {
            let outcome = match why {
                ComponentFailure::DrainCall
                | ComponentFailure::DrainCallLimit
                | ComponentFailure::DrainUnknown
                | ComponentFailure::DrainLimit
                | ComponentFailure::Unclean => StackOutcome::StepFailed,
                ComponentFailure::Killed | ComponentFailure::Unreaped => StackOutcome::Forced,
                ComponentFailure::Died => StackOutcome::Died,
                _ => StackOutcome::Clean,
            };
            self.worst = self.worst.max(outcome);
        }
    }

    fn check(&mut self) {
        // Whatever hangs elsewhere: whose turn it is, is being stopped.
        if self.stack.phase == Phase::Stopping {
            for index in 0..self.stack.parts.len() {
                let waits = matches!(self.stack.part(index).stage, Stage::Up | Stage::Spawning { .. })
                    && self.stack.dependents_gone(index);
                assert!(!waits, "{index} waits for nothing");
            }
        }
        if let (Some((exit_code, outcome, _)), Some(begun)) = (self.exit, self.begun) {
            let limit = self.stack.config.kill_budget + if self.manners == Manners::Late { 150 } else { 0 };
            assert!(self.now - begun <= limit, "the exit came after {} of {limit}", self.now - begun);
            assert!(self.manners == Manners::Late || !self.stack.overdue, "the checked sum was not enough");
            assert_eq!(outcome, self.worst, "the exit does not reflect the worst");
            let expected = match outcome {
                StackOutcome::Clean => 0,
                StackOutcome::StepFailed => 3,
                StackOutcome::Forced => 4,
                StackOutcome::Died => 5,
                StackOutcome::StartFailed => 6,
            };
            assert_eq!(exit_code, expected);
            for (generation, process) in &self.processes {
                assert!(process.reaped, "{generation} of {process:?} is left");
            }
        }
    }
}

impl Process {
    fn of(component: u32) -> Self {
        Self { component, alive: true, reaped: false, absent: false, signals: 0, killed: false }
    }
}

#[test]
fn a_stack_starts_and_stops_in_order_and_in_time_whatever_hangs() {
    let mut seen = BTreeSet::new();
    for seed in 0..6_000 {
        let manners = [Manners::Bad, Manners::Late, Manners::Good][usize::try_from(seed % 3).unwrap()];
        let mut world = World::new(seed, manners);
        let stop_at = world.chance(0, 1_500);
        world.run(stop_at);
        seen.append(&mut world.seen);
    }
    for why in ComponentFailure::ALL {
        assert!(seen.contains(why.as_str()), "no component failed by {}", why.as_str());
    }
    for cause in StopCause::ALL {
        assert!(seen.contains(cause.as_str()), "no stack stopped because {}", cause.as_str());
    }
    for code in [0, EXIT_STEP_FAILED, EXIT_FORCED, EXIT_DIED, EXIT_START_FAILED] {
        assert!(seen.contains(&format!("exit {code}")), "no exit {code}");
    }
    assert!(seen.contains("restarted"));
}

#[test]
fn a_stack_without_faults_exits_clean_well_within_its_budget() {
    for seed in 0..300 {
        let mut world = World::new(seed, Manners::Good);
        world.stack = Stack::new(
            Config {
                components: world
                    .stack
                    .config
                    .components
                    .iter()
                    .map(|component| Component { upgradable: false, ..component.clone() })
                    .collect(),
                ..(*world.stack.config).clone()
            },
            seed,
            0,
        )
        .unwrap();
        world.run(1_000);
        assert_eq!(world.exit, Some((0, StackOutcome::Clean, None)));
    }
}

fn named(name: &str, after: &[&str]) -> Component {
    Component {
        name: name.into(),
        after: after.iter().map(|name| (*name).into()).collect(),
        stop_limit: 1_000,
        ..Component::default()
    }
}

fn message(config: &Config) -> String {
    let faults = Stack::new(config.clone(), 0, 0).unwrap_err();
    assert_eq!(faults.list().len(), 1, "{faults}");
    faults.list()[0].message.clone()
}

#[test]
fn of_too_many_components_that_alone_is_said() {
    let ring = |count: u64| {
        let name = |index: u64| format!("c{}", index % count);
        let components = (0..count).map(|index| named(&name(index), &[&name(index + 1)])).collect();
        Config { components, kill_budget: 1, ..Config::default() }
    };
    assert!(message(&ring(MOST_COMPONENTS)).contains("c0 after c1"), "{}", message(&ring(MOST_COMPONENTS)));
    assert!(message(&ring(MOST_COMPONENTS + 1)).contains("components"));
}

#[test]
fn a_cycle_is_shown_as_a_path() {
    let components = vec![
        named("top", &["a"]),
        named("a", &["free", "b"]),
        named("b", &["c"]),
        named("c", &["a"]),
        named("free", &[]),
    ];
    let config = Config { components, ..Config::default() };
    assert_eq!(
        message(&config),
        "goes round in a circle: a after b after c after a; none of them could start first"
    );
    assert_eq!((config.waves(), config.longest_stop()), (None, None));
}

#[test]
fn an_unknown_name_is_shown_with_those_that_are_known() {
    let config =
        Config { components: vec![named("router", &["polcy"]), named("policy", &[])], ..Config::default() };
    assert_eq!(
        message(&config),
        "is `polcy`, which `router` is to come after and which is no component; there are router, policy"
    );
}

#[test]
fn a_budget_that_is_too_small_is_shown_as_the_sum_along_the_longest_path() {
    let router = Component { drain: true, ..named("router", &["policy", "cache"]) };
    let cache = Component { stop_limit: 1_500, ..named("cache", &[]) };
    let components = vec![named("policy", &["executor"]), named("executor", &[]), router, cache];
    let config = Config { components, kill_budget: 15_000, ..Config::default() };
    assert_eq!(
        message(&config),
        "is 15000 ms, which must be more than `router` (drain_call 1000 + drain 15000 + stop 1000 + kill 500 + reap \
         500) + `policy` (stop 1000 + kill 500 + reap 500) + `executor` (stop 1000 + kill 500 + reap 500) + margin \
         1000 = 23000 ms, what stopping one after another may take; shorten these limits by 8001 ms in all, or \
         raise kill_budget to 23001 ms if the platform waits that long"
    );
    assert_eq!(config.longest_stop(), Some((vec![2, 0, 1], 22_000)));
    assert_eq!(config.waves(), Some(vec![vec![1, 3], vec![0], vec![2]]));
    assert!(Stack::new(Config { kill_budget: 23_001, ..config }, 0, 0).is_ok());
}

#[test]
fn the_defaults_fit_a_router_that_drains_over_two_others_into_thirty_seconds() {
    let router = Component { drain: true, stop_limit: 3_000, ..named("router", &["policy"]) };
    let below = |name, after| Component { stop_limit: 3_000, ..named(name, after) };
    let components = vec![router, below("policy", &["executor"]), below("executor", &[])];
    assert!(Stack::new(Config { components, ..Config::default() }, 0, 0).is_ok());
}

#[test]
fn it_says_what_it_waits_for() {
    let components = vec![named("top", &["base"]), named("base", &[])];
    let mut stack = Stack::new(Config { components, ..Config::default() }, 0, 0).unwrap();
    stack.handle(0, &Input::Start).unwrap();
    assert_eq!(stack.state(), "starting");
    assert_eq!(stack.explain().waits_for, "`base` to run, 5000 ms at most");
    stack.handle(1, &Input::Done { operation: 1 }).unwrap();
    stack.handle(2, &Input::Done { operation: 2 }).unwrap();
    assert_eq!((stack.state(), stack.explain().because.as_str()), ("up", "2 of 2 components are up"));
    stack.handle(3, &Input::Exited { generation: 1, status: 0, signal: 11 }).unwrap();
    assert_eq!(stack.state(), "restarting");
    stack.handle(4, &Input::Stop { intent: Intent::Decommission }).unwrap();
    assert_eq!(stack.explain().because, "it was told to stop for decommission");
    assert_eq!(
        stack.explain().waits_for,
        "`top` to stop, 1000 ms at most; `base` to be reaped, 499 ms at most"
    );
    assert_eq!(stack.intent(), Intent::Decommission);
}

#[test]
fn a_component_that_is_the_cause_of_a_stop_is_named() {
    let config = Config { components: vec![named("base", &[])], ..Config::default() };
    let mut stack = Stack::new(config, 0, 0).unwrap();
    stack.handle(0, &Input::Start).unwrap();
    stack.handle(1, &Input::Failed { operation: 1 }).unwrap();
    assert_eq!(stack.explain().because, "`base` failed while starting");
    assert_eq!(stack.state(), "stopped");
}

#[test]
fn a_component_may_take_all_of_its_limit_to_drain_and_no_more() {
    let config = |drain_time| {
        let component = Component { drain: true, drain_limit: 2_000, drain_time, ..named("router", &[]) };
        Config { components: vec![component], ..Config::default() }
    };
    assert!(Stack::new(config(2_000), 0, 0).is_ok());
    assert!(message(&config(2_001)).contains("longer than `drain_limit`"));
}

#[test]
fn how_long_a_component_has_been_up_is_forgotten_once_nothing_asks_for_it() {
    let config = Config { components: vec![named("base", &[])], ..Config::default() };
    let mut up = Stack::new(config, 0, 0).unwrap();
    up.handle(0, &Input::Start).unwrap();
    up.handle(1, &Input::Done { operation: 1 }).unwrap();
    up.parts[0].stable = Some(500);
    let stable = |mut stack: Stack| {
        stack.normalize(&mut |_, _| {});
        stack.parts[0].stable
    };
    assert_eq!((up.parts[0].stage, stable(up.clone())), (Stage::Up, Some(500)));
    let mut waiting = up.clone();
    waiting.parts[0].stage = Stage::Waiting;
    assert_eq!(stable(waiting), None);
    up.phase = Phase::Stopping;
    assert_eq!(stable(up), None);
}
