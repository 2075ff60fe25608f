//! What vectors cannot say: whole stops of a simulated process, against the properties of a drain.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;
use crate::Machine;

/// Something that a client waits for.
struct Request {
    left: Millis,
    stream: bool,
    tunnel: Option<u32>,
}

struct Tunnel {
    told: bool,
    /// How long after being told it has registered elsewhere; none: never.
    moves_in: Option<Millis>,
}

/// How well a simulated host works.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manners {
    /// Everything is answered, in time, and every tick is punctual.
    Good,
    /// Operations fail or are never answered; ticks are late; the host may never count.
    Bad,
}

/// A simulated process under a drain: it owns the sockets, and checks every effect against what the drain
/// promises.
struct World {
    drain: Drain,
    now: Millis,
    random: Random,
    manners: Manners,
    counts: bool,
    restores: bool,
    wake: Option<Millis>,
    log: Vec<(Millis, Effect)>,
    states: Vec<(Millis, Drain)>,

    ready: bool,
    lame: bool,
    public_door: bool,
    peer_door: bool,
    requests: Vec<Request>,
    idle: Vec<Millis>,
    tunnels: BTreeMap<u32, Tunnel>,
    next_tunnel: u32,
    had_tunnels: bool,
    closing: bool,
    counting: bool,
    counted: Option<Input>,
    answers: Vec<(Millis, Input)>,

    begun: Option<Millis>,
    draining: Option<Millis>,
    forced: bool,
    phase: Phase,
    door_operation: Option<(OperationId, Millis)>,
    rows_operation: Option<(OperationId, Millis)>,
    running: BTreeMap<OperationId, u32>,
    started_steps: BTreeSet<u32>,
    answered: BTreeSet<OperationId>,
    cut: u32,
    told: VecDeque<(Millis, u32)>,
    bound: u32,
    outcome: Option<(Millis, Effect)>,
}

impl World {
    fn new(config: Config, seed: u64, manners: Manners) -> Self {
        let drain = Drain::new(config, seed, 0).unwrap();
        let mut random = Random::seeded(seed);
        let counts = manners == Manners::Good || random.between(0, 9) > 0;
        let mut world = Self {
            drain,
            now: 0,
            random,
            manners,
            counts,
            restores: false,
            wake: None,
            log: Vec::new(),
            states: Vec::new(),
            ready: false,
            lame: false,
            public_door: false,
            peer_door: true,
            requests: Vec::new(),
            idle: Vec::new(),
            tunnels: BTreeMap::new(),
            next_tunnel: 0,
            had_tunnels: false,
            closing: false,
            counting: false,
            counted: None,
            answers: Vec::new(),
            begun: None,
            draining: None,
            forced: false,
            phase: Phase::Serving,
            door_operation: None,
            rows_operation: None,
            running: BTreeMap::new(),
            started_steps: BTreeSet::new(),
            answered: BTreeSet::new(),
            cut: 0,
            told: VecDeque::new(),
            bound: u32::MAX,
            outcome: None,
        };
        world.handle(&Input::Started);
        assert!(world.ready);
        world.public_door = true;
        for _ in 0..world.upto(12) {
            world.admit_tunnel();
        }
        for _ in 0..world.upto(5) {
            world.admit_request();
        }
        world
    }

    fn upto(&mut self, most: u64) -> u64 {
        self.random.between(0, most)
    }

    fn admit_tunnel(&mut self) {
        assert!(self.public_door, "a tunnel was admitted after the public door had closed");
        let moves_in = if self.upto(4) == 0 { None } else { Some(self.upto(150)) };
        self.tunnels.insert(self.next_tunnel, Tunnel { told: false, moves_in });
        self.next_tunnel += 1;
    }

    fn admit_request(&mut self) {
        assert!(self.public_door, "a request was admitted after the public door had closed");
        let left = if self.upto(30) == 0 { 3_000 } else { self.upto(250) };
        let stream = self.upto(9) == 0;
        let tunnel = if self.upto(1) == 0 { self.tunnels.keys().next().copied() } else { None };
        self.requests.push(Request { left, stream, tunnel });
    }

    fn handle(&mut self, input: &Input) {
        if self.restores {
            self.drain = Drain::restore(&self.drain.snapshot(self.now).unwrap(), self.now, 0).unwrap();
        }
        let step = self.drain.handle(self.now, input).unwrap_or_else(|no| panic!("{input:?}: {no}"));
        self.carry_out(step);
    }

    fn tick(&mut self) {
        if self.restores {
            self.drain = Drain::restore(&self.drain.snapshot(self.now).unwrap(), self.now, 0).unwrap();
        }
        let step = self.drain.tick(self.now).unwrap();
        self.carry_out(step);
    }

    fn begin(&mut self, input: &Input) {
        self.begun.get_or_insert(self.now);
        self.handle(input);
    }

    fn carry_out(&mut self, step: StepOf) {
        assert!(step.deadline.is_none_or(|deadline| deadline.at > self.now), "a deadline that is not ahead");
        assert!(step.deadline.is_some() || self.drain.is_resting(), "nothing leads on from {:?}", self.drain);
        self.states.push((self.now, self.drain.clone()));
        let lateness = if self.manners == Manners::Bad && self.upto(3) == 0 { self.upto(60) } else { 0 };
        self.wake = step.deadline.map(|deadline| deadline.at + lateness);
        for effect in step.effects {
            self.log.push((self.now, effect.clone()));
            self.start(effect);
        }
    }

    fn answer_later(&mut self, operation: OperationId, limit: Millis) {
        assert!(limit > 0);
        let (fate, delay) = match self.manners {
            Manners::Good => (9, self.upto(limit.min(20).saturating_sub(2))),
            Manners::Bad => (self.upto(9), self.upto(limit * 2)),
        };
        match fate {
            0 => {}
            1 | 2 => self.answers.push((self.now + delay, Input::Failed { operation })),
            _ => self.answers.push((self.now + delay, Input::Done { operation })),
        }
    }

    fn is_over(&self, operation: Option<(OperationId, Millis)>) -> bool {
        operation.is_some_and(|(operation, until)| self.answered.contains(&operation) || until <= self.now)
    }

    fn start(&mut self, effect: Effect) {
        match effect {
            Effect::Readiness { ready } => {
                assert!(!ready || self.begun.is_none(), "ready again during a stop");
                self.ready = ready;
            }
            Effect::Entered { phase, .. } => {
                assert!(phase >= self.phase, "{phase:?} after {:?}", self.phase);
                self.phase = phase;
                if phase == Phase::Draining {
                    self.draining.get_or_insert(self.now);
                }
                if phase == Phase::Forcing {
                    // Forcing shortens what is under way to its share of the margin.
                    let latest = self.now + self.drain.config().margin / 4;
                    for (_, until) in
                        [&mut self.door_operation, &mut self.rows_operation].into_iter().flatten()
                    {
                        *until = latest.min(*until);
                    }
                }
            }
            Effect::LameDuck => self.lame = true,
            Effect::RunStep { operation, step, attempt, limit } => {
                assert_eq!(attempt == 1, self.started_steps.insert(step), "step {step} was started twice");
                assert!(self.running.is_empty(), "two steps at a time");
                self.running.insert(operation, step);
                self.answer_later(operation, limit);
            }
            Effect::StepFailed { .. } => self.running.clear(),
            Effect::ClosePublicDoor { operation, limit } => {
                assert!(!self.ready && self.lame, "not accepting before not ready");
                assert!(self.running.is_empty(), "closed before it was un-routed");
                let unroutes = |step: &&ReleaseStep| step.kind == StepKind::Unroute;
                let unroutes = self.drain.config().steps.iter().filter(unroutes).count();
                assert!(self.forced || self.started_steps.len() == unroutes, "an un-route step was left out");
                self.door_operation = Some((operation, self.now + limit));
                self.public_door = false;
                self.answer_later(operation, limit);
            }
            Effect::Count => {
                self.counting = true;
            }
            Effect::CloseIdle { older_than } => self.idle.retain(|age| *age < older_than),
            Effect::EndStreams => {
                for request in self.requests.iter_mut().filter(|request| request.stream) {
                    request.left = request.left.min(10);
                }
            }
            Effect::Tell { count, within } => {
                assert!(self.is_over(self.door_operation), "told before the public door had closed");
                let mut left = count;
                for tunnel in self.tunnels.values_mut().filter(|tunnel| !tunnel.told) {
                    if left == 0 {
                        break;
                    }
                    tunnel.told = true;
                    left -= 1;
                }
                if within.is_none() && count != u32::MAX {
                    self.told.push_back((self.now, count));
                    self.told.retain(|(at, _)| at + 100 >= self.now);
                    let told: u32 = self.told.iter().map(|(_, count)| count).sum();
                    assert!(told <= self.bound, "{told} told within 100 ms, {} allowed", self.bound);
                }
            }
            Effect::PaceClamped { wanted, used } => assert!(used < wanted),
            Effect::ClearRows { operation, limit } => {
                assert!(self.tunnels.values().all(|tunnel| tunnel.told), "un-routed before told");
                self.rows_operation = Some((operation, self.now + limit));
                self.answer_later(operation, limit);
            }
            Effect::CloseTunnels { .. } => {
                assert!(self.tunnels.values().all(|tunnel| tunnel.told), "closed before told");
                assert!(self.is_over(self.rows_operation), "closed before un-routed");
                self.closing = true;
            }
            Effect::ClosePeerDoor => {
                assert!(self.tunnels.is_empty() || self.manners == Manners::Bad);
                self.peer_door = false;
            }
            Effect::Abort { .. } => {
                let config = self.drain.config();
                // Late wake-ups before it may have used up some of the grace period.
                let by = self.begun.unwrap() + config.kill_budget - config.margin;
                let by = by - total(&config.steps, StepKind::Release);
                let deadline = self.draining.map(|at| by.min(at + config.grace));
                assert!(self.forced || deadline.is_some_and(|at| self.now >= at), "cut before the deadline");
                assert!(self.tunnels.values().all(|tunnel| tunnel.told), "cut before told");
                assert!(
                    self.tunnels.is_empty() || self.is_over(self.rows_operation),
                    "cut before un-routed: {:?}",
                    self.log
                );
                self.cut = u32::try_from(self.requests.len() + self.tunnels.len()).unwrap();
                self.requests.clear();
                self.tunnels.clear();
                self.idle.clear();
            }
            Effect::RowsLeft => assert!(self.manners == Manners::Bad),
            Effect::Stopped { .. } => {
                assert!(!self.had_tunnels || self.rows_operation.is_some(), "rows were never cleared");
                assert!(self.running.is_empty());
                assert!(self.outcome.is_none());
                self.outcome = Some((self.now, effect));
            }
        }
    }

    fn load(&self) -> Input {
        let count = |n: usize| u32::try_from(n).unwrap();
        Input::Load {
            requests: count(self.requests.len()),
            idle: count(self.idle.len()),
            streams: count(self.requests.iter().filter(|request| request.stream).count()),
            tunnels: count(self.tunnels.len()),
            told: count(self.tunnels.values().filter(|tunnel| tunnel.told).count()),
        }
    }

    /// One millisecond of the world.
    fn pass(&mut self) {
        self.now += 1;
        if self.public_door {
            if self.upto(40) == 0 {
                self.admit_request();
            }
            if self.upto(200) == 0 {
                self.admit_tunnel();
            }
        } else if self.peer_door && self.draining.is_some() && self.upto(60) == 0 {
            // Another relay forwards a request for a tunnel that is still held.
            if let Some(tunnel) = self.tunnels.keys().next().copied() {
                let left = self.upto(100);
                self.requests.push(Request { left, stream: false, tunnel: Some(tunnel) });
            }
        }
        self.had_tunnels |= self.counting && self.counts && !self.tunnels.is_empty();
        for age in &mut self.idle {
            *age += 1;
        }
        let ended =
            self.requests.iter().filter(|request| request.left == 0 && request.tunnel.is_none()).count();
        self.requests.retain(|request| request.left > 0);
        if !self.lame {
            self.idle.extend((0..ended).map(|_| 0));
        }
        for request in &mut self.requests {
            request.left -= 1;
        }
        let closing = self.closing;
        let busy: BTreeSet<u32> = self.requests.iter().filter_map(|request| request.tunnel).collect();
        self.tunnels.retain(|id, tunnel| {
            if let (true, Some(moves_in)) = (tunnel.told, &mut tunnel.moves_in) {
                *moves_in = moves_in.saturating_sub(1);
            }
            let moved = tunnel.told && tunnel.moves_in == Some(0);
            busy.contains(id) || !(moved || closing)
        });
        self.report();
        let due: Vec<Input> =
            self.answers.iter().filter(|(at, _)| *at <= self.now).map(|(_, input)| input.clone()).collect();
        self.answers.retain(|(at, _)| *at > self.now);
        for answer in due {
            if let Input::Done { operation } | Input::Failed { operation } = answer {
                self.answered.insert(operation);
                self.running.remove(&operation);
            }
            self.handle(&answer);
        }
        if self.wake.is_some_and(|at| at <= self.now) {
            self.tick();
        }
        self.report();
    }

    /// Tells the numbers when they have changed.
    fn report(&mut self) {
        while self.counting && self.counts && self.counted.as_ref() != Some(&self.load()) {
            let load = self.load();
            if let (None, Input::Load { tunnels, .. }) = (&self.counted, &load) {
                let rate = u64::from(self.drain.config().reconnect_rate);
                // The mean per 100 ms is at least that of the asked rate; more when the pace is clamped.
                let window = (u64::from(*tunnels) * 1_000).checked_div(rate).unwrap_or(0);
                let window = window.min(until(self.now, self.drain.tell_by()));
                let bound =
                    (u64::from(*tunnels) * 200).checked_div(window).map_or(u64::MAX, |floor| floor + 1);
                self.bound = u32::try_from(bound.max(1)).unwrap_or(u32::MAX);
            }
            self.counted = Some(load.clone());
            self.handle(&load);
        }
    }
}

type StepOf = crate::Step<Effect, Why>;

fn step(name: &str, kind: StepKind, limit: Millis, attempts: u32) -> ReleaseStep {
    ReleaseStep { name: name.into(), kind, limit, attempts }
}

/// A config that varies with the seed and always fits its budget.
fn config(random: &mut Random) -> Config {
    let mut config = Config {
        lame_duck: [0, 0, 50, 200][usize::try_from(random.between(0, 3)).unwrap()],
        grace: random.between(100, 1_500),
        margin: random.between(40, 400),
        flush: random.between(0, 200),
        reconnect_rate: [0, 5, 20, 100, 1_000][usize::try_from(random.between(0, 4)).unwrap()],
        min_idle_age: random.between(0, 120),
        signal_merge: 50,
        end_streams: random.between(0, 1) == 0,
        restart_code: 4001,
        ..Config::default()
    };
    for n in 0..random.between(0, 4) {
        let kind = if random.between(0, 1) == 0 { StepKind::Unroute } else { StepKind::Release };
        let attempts = u32::try_from(random.between(1, 3)).unwrap();
        config.steps.push(step(&format!("step {n}"), kind, random.between(2, 150), attempts));
    }
    let steps: Millis = config.steps.iter().map(|step| step.limit).sum();
    config.kill_budget = config.lame_duck + config.grace + config.margin + steps + 1;
    config
}

/// A whole stop, from serving to stopped.
fn stop(seed: u64, manners: Manners, restores: bool) -> World {
    let mut random = Random::seeded(seed.wrapping_mul(7_919));
    let config = config(&mut random);
    let intents = Intent::ALL;
    let mut intent = || intents[usize::try_from(random.between(0, 3)).unwrap()];
    let (first, second) = (intent(), intent());
    let mut world = World::new(config, seed, manners);
    world.restores = restores;
    for _ in 0..world.upto(100) {
        world.pass();
    }
    // A handoff runs no un-route steps; the checks of the order want to see them.
    let first = if first == Intent::Handoff { Intent::Restart } else { first };
    world.begin(&Input::Signal { intent: first });
    let force_after = if world.upto(3) == 0 { Some(world.upto(1_500) + 50) } else { None };
    let begun = world.now;
    while world.outcome.is_none() {
        world.pass();
        if force_after.is_some_and(|after| world.now == begun + after) && world.outcome.is_none() {
            world.forced = true;
            world.handle(&Input::Signal { intent: second });
        }
        assert!(world.now < begun + 60_000, "never stopped");
    }
    world
}

#[test]
fn a_good_host_drains_within_the_budget_and_the_outcome_says_what_was_cut() {
    for seed in 0..400 {
        let world = stop(seed, Manners::Good, false);
        let config = world.drain.config();
        let Some((at, Effect::Stopped { drained, forced, abandoned, failed_steps, duration, exit_code, .. })) =
            world.outcome
        else {
            panic!("no outcome");
        };
        let begun = world.begun.unwrap();
        assert!(at <= begun + config.kill_budget, "seed {seed}: over budget");
        assert_eq!(duration, at - begun, "seed {seed}");
        assert_eq!((forced, abandoned), (world.cut, 0), "seed {seed}");
        let unfinished = config.steps.iter().filter(|step| step.kind == StepKind::Unroute).count();
        assert!(failed_steps == 0 || (world.forced && usize::try_from(failed_steps).unwrap() <= unfinished));
        let expected = match (forced, failed_steps) {
            (1.., _) => EXIT_FORCED,
            (0, 1..) => EXIT_STEP_FAILED,
            (0, 0) => 0,
        };
        assert_eq!(exit_code, expected, "seed {seed}: {drained} drained");
        let every = config.steps.iter().zip(0_u32..).filter(|(step, _)| step.kind == StepKind::Release);
        assert!(every.map(|(_, index)| index).all(|index| world.started_steps.contains(&index)));
    }
}

#[test]
fn a_bad_host_stops_in_order_and_within_the_budget_plus_its_own_lateness() {
    for seed in 0..400 {
        let world = stop(seed, Manners::Bad, false);
        let config = world.drain.config();
        let (at, _) = world.outcome.as_ref().unwrap();
        // Each wake-up may be 60 ms late; the budget absorbs what it can.
        let wakes = u64::try_from(config.steps.len()).unwrap() * 3 + 6;
        assert!(*at <= world.begun.unwrap() + config.kill_budget + 60 * wakes, "seed {seed}: over budget");
        let every = config.steps.iter().zip(0_u32..).filter(|(step, _)| step.kind == StepKind::Release);
        assert!(every.map(|(_, index)| index).all(|index| world.started_steps.contains(&index)));
    }
}

#[test]
fn a_drain_that_is_restored_before_every_step_does_the_same() {
    for seed in 0..60 {
        for manners in [Manners::Good, Manners::Bad] {
            assert_eq!(stop(seed, manners, false).log, stop(seed, manners, true).log, "seed {seed}");
        }
    }
}

#[test]
fn a_drain_that_is_restored_on_another_clock_has_all_its_times_moved() {
    const LATER: Millis = 1_000_000;
    for seed in 0..40 {
        let world = stop(seed, Manners::Good, false);
        for (now, mut original) in world.states {
            let mut restored = Drain::restore(&original.snapshot(now).unwrap(), now + LATER, 0).unwrap();
            let mut log = run_alone(&mut original);
            log.iter_mut().for_each(|(at, _)| *at += LATER);
            assert_eq!(run_alone(&mut restored), log, "seed {seed} at {now}");
        }
    }
}

/// Ticks at every deadline and answers nothing.
fn run_alone(drain: &mut Drain) -> Vec<(Millis, Effect)> {
    let mut log = Vec::new();
    while let Some(deadline) = drain.deadline() {
        let step = drain.tick(deadline.at).unwrap();
        log.extend(step.effects.into_iter().map(|effect| (deadline.at, effect)));
    }
    log
}

#[test]
fn d9_a_host_that_never_answers_anything_is_stopped_within_the_budget_and_not_called_clean() {
    for seed in 0..300 {
        let mut random = Random::seeded(seed);
        let config = config(&mut random);
        let budget = config.kill_budget;
        let releases = config.steps.iter().filter(|step| step.kind == StepKind::Release).count();
        let mut drain = Drain::new(config, 0, 0).unwrap();
        drain.handle(0, &Input::Started).unwrap();
        drain.handle(10, &Input::Signal { intent: Intent::Restart }).unwrap();
        let mut forced_at = None;
        if seed % 2 == 0 {
            let at = random.between(60, budget);
            while drain.deadline().is_some_and(|deadline| deadline.at < at) {
                drain.tick(drain.deadline().unwrap().at).unwrap();
            }
            if drain.phase() != Phase::Stopped {
                drain.handle(at, &Input::Force).unwrap();
                forced_at = Some(at);
            }
        }
        let log = run_alone(&mut drain);
        let Some((at, Effect::Stopped { exit_code, abandoned, failed_steps, duration, .. })) = log.last()
        else {
            assert!(seed % 2 == 0, "seed {seed}: not stopped");
            continue;
        };
        assert!(*at < 10 + budget, "seed {seed}: stopped {at}, budget {budget}, forced {forced_at:?}");
        assert_eq!(*duration, at - 10);
        assert_eq!((*exit_code, *abandoned), (EXIT_FORCED, 1), "seed {seed}");
        assert!(usize::try_from(*failed_steps).unwrap() > releases, "steps and rows failed, seed {seed}");
    }
}

fn serving(config: Config) -> Drain {
    let mut drain = Drain::new(config, 0, 0).unwrap();
    drain.handle(0, &Input::Started).unwrap();
    drain
}

/// Brings a drain to its first count at 0.
fn draining(config: Config) -> Drain {
    let mut drain = serving(config);
    let step = drain.handle(0, &Input::Begin { intent: Intent::Restart }).unwrap();
    let Some(Effect::ClosePublicDoor { operation, .. }) = step.effects.last() else { panic!("{step:?}") };
    drain.handle(0, &Input::Done { operation: *operation }).unwrap();
    drain
}

fn tunnels(tunnels: u32, told: u32) -> Input {
    Input::Load { requests: 0, idle: 0, streams: 0, tunnels, told }
}

/// Tells all tunnels with ticks that are as late as `late` says; returns each batch and the clamped window.
fn tell_all(
    count: u32,
    rate: u32,
    grace: Millis,
    mut late: impl FnMut() -> Millis,
) -> (Vec<(Millis, u32, Option<Millis>)>, Millis) {
    let config = Config {
        lame_duck: 0,
        grace,
        kill_budget: grace + 2_000,
        flush: 100,
        reconnect_rate: rate,
        ..Config::default()
    };
    let mut drain = draining(config);
    let mut window = u64::from(count) * 1_000 / u64::from(rate);
    let mut step = drain.handle(0, &tunnels(count, 0)).unwrap();
    let (mut batches, mut told, mut now) = (Vec::new(), 0, 0);
    while told < count {
        for effect in &step.effects {
            match effect {
                Effect::PaceClamped { wanted, used } => {
                    assert_eq!(*wanted, window);
                    window = *used;
                }
                Effect::Tell { count, within } => {
                    told += count;
                    batches.push((now, *count, *within));
                }
                other => panic!("{other:?}"),
            }
        }
        let Some(deadline) = step.deadline.filter(|_| told < count) else { break };
        now = deadline.at + late();
        step = drain.tick(now).unwrap();
    }
    assert_eq!(told, count);
    (batches, window)
}

fn most_in_any_span(batches: &[(Millis, u32, Option<Millis>)]) -> u32 {
    let told_from = |from: Millis| batches.iter().filter(move |(at, _, _)| (from..=from + 100).contains(at));
    batches.iter().map(|(at, _, _)| told_from(*at).map(|(_, count, _)| count).sum()).max().unwrap()
}

const PACES: [(u32, u32, Millis); 12] = [
    (1, 1, 20_000),
    (3, 2, 20_000),
    (10, 5, 20_000),
    (10, 7, 1_500),
    (97, 103, 20_000),
    (100, 110, 20_000),
    (750, 750, 20_000),
    (1_000, 500, 20_000),
    (1_000, 500, 1_500),
    (5_000, 333, 10_000),
    (10_000, 500, 25_000),
    (10_000, 7_000, 1_200),
];

fn bound(count: u32, window: Millis) -> u32 {
    u32::try_from((u64::from(count) * 200).div_ceil(window).max(1)).unwrap()
}

#[test]
fn d5_the_pace_is_even_over_exactly_its_window() {
    for (count, rate, grace) in PACES {
        let (batches, window) = tell_all(count, rate, grace, || 0);
        assert!(batches.iter().all(|(_, _, within)| within.is_none()), "{count} at {rate}/s ran out of time");
        assert!(most_in_any_span(&batches) <= bound(count, window), "{count} at {rate}/s");
        let mut told = 0;
        for (at, batch, _) in &batches {
            // On an even pace this many would have been told just before the batch, and after it.
            let due = u64::from(count) * at / window;
            let tolerance = u64::from(*batch) + 1;
            assert!(due.abs_diff(told) <= tolerance, "{count} at {rate}/s: {told} told at {at}, {due} due");
            told += u64::from(*batch);
        }
        let (last, _, _) = batches.last().unwrap();
        assert!(*last < window, "{count} at {rate}/s: last told at {last} of {window}");
        assert!(last + 2 * window / u64::from(count) + 12 >= window, "{last} of {window}: too early");
    }
}

#[test]
fn d5_late_ticks_cause_no_burst_and_the_pace_catches_up() {
    for (count, rate, grace) in PACES {
        let mut random = Random::seeded(u64::from(count));
        let mut ticks = 0;
        let (batches, window) = tell_all(count, rate, grace, || {
            ticks += 1;
            if ticks % 20 == 7 { random.between(0, 90) } else { random.between(0, 2) }
        });
        let mut paced = batches.clone();
        paced.retain(|(_, _, within)| within.is_none());
        assert!(most_in_any_span(&paced) <= bound(count, window), "{count} at {rate}/s");
        let (last, _, _) = batches.last().unwrap();
        // A single long stall near the end may cost its own length.
        assert!(*last <= window + 200, "{count} at {rate}/s: last told at {last} of {window}");
    }
}

#[test]
fn d5_a_stall_of_a_second_is_followed_by_no_burst() {
    let mut stalled = false;
    let mut ticks = 0;
    let (batches, window) = tell_all(1_000, 500, 20_000, || {
        ticks += 1;
        if ticks > 20 && !stalled {
            stalled = true;
            return 1_000;
        }
        0
    });
    assert!(most_in_any_span(&batches) <= bound(1_000, window));
    let (last, _, _) = batches.last().unwrap();
    // The 900 that were left at 1.2 s, at no more than twice the pace.
    assert!(*last <= window + 200, "last told at {last} of {window}");
}

#[test]
fn d5_tunnels_that_leave_untold_shorten_the_window_and_keep_the_pace() {
    let config = Config { lame_duck: 0, reconnect_rate: 10, ..Config::default() };
    let mut drain = draining(config);
    let step = drain.handle(0, &tunnels(100, 0)).unwrap();
    assert_eq!(step.deadline, Some(Deadline { at: 100, why: Why::Tell }));
    // Ninety of them leave by themselves: nine are left to tell, at the same pace.
    let step = drain.handle(50, &tunnels(10, 1)).unwrap();
    assert_eq!(step.deadline, Some(Deadline { at: 100, why: Why::Tell }));
    for told in 1..10_u64 {
        let at = told * 100;
        let step = drain.tick(at).unwrap();
        assert_eq!(step.effects, [Effect::Tell { count: 1, within: None }]);
    }
    assert_eq!(drain.deadline(), Some(Deadline { at: 900 + 500, why: Why::Flush }));
}

#[test]
fn d5_a_tunnel_that_slips_in_is_told_too_and_gets_its_flush_time() {
    let mut drain = draining(Config { lame_duck: 0, ..Config::default() });
    drain.handle(0, &tunnels(2, 0)).unwrap();
    let step = drain.handle(300, &tunnels(3, 2)).unwrap();
    assert_eq!((step.effects.len(), step.deadline), (0, Some(Deadline { at: 401, why: Why::Tell })));
    let step = drain.tick(401).unwrap();
    assert_eq!(step.effects, [Effect::Tell { count: 1, within: None }]);
    assert_eq!(step.deadline, Some(Deadline { at: 901, why: Why::Flush }));
}

#[test]
fn d9_the_message_of_an_impossible_budget_shows_the_whole_sum_and_what_to_lower() {
    let config = Config {
        kill_budget: 10_000,
        steps: vec![step("dns", StepKind::Unroute, 3_000, 1), step("flush", StepKind::Release, 5_000, 1)],
        ..Config::default()
    };
    let faults = Drain::new(config.clone(), 0, 0).unwrap_err();
    let [fault] = faults.list() else { panic!("{faults}") };
    assert_eq!((fault.code, fault.field.as_str()), (FaultCode::OverBudget, "kill_budget"));
    assert_eq!(
        fault.message,
        "is 10000 ms, which must be more than lame_duck 2000 + grace 20000 + unroute `dns` 3000 + \
         release `flush` 5000 + margin 1000 = 31000 ms; lower the terms by 21001 ms in all, grace first, or raise \
         kill_budget to 31001 ms if the platform waits that long"
    );
    let faults = Drain::new(Config { kill_budget: 25_000, ..config.clone() }, 0, 0).unwrap_err();
    assert!(faults.list()[0].message.contains("lower grace to 13999 ms or less"), "{faults}");
    // Without any grace it would fit: that is no advice.
    let faults = Drain::new(Config { kill_budget: 11_001, ..config.clone() }, 0, 0).unwrap_err();
    assert!(faults.list()[0].message.contains("lower the terms by 20000 ms in all"), "{faults}");
    for kill_budget in [31_000, 31_001] {
        let fits = Drain::new(Config { kill_budget, ..config.clone() }, 0, 0).is_ok();
        assert_eq!(fits, kill_budget == 31_001, "the budget must be more than the sum");
    }
    Drain::new(Config { kill_budget: 25_000, grace: 13_999, ..config }, 0, 0).unwrap();
}

#[test]
fn explain_names_the_phase_the_intent_the_numbers_and_what_is_next() {
    let mut drain = serving(Config {
        steps: vec![step("dns", StepKind::Unroute, 1_000, 2), step("flush", StepKind::Release, 2_000, 1)],
        reconnect_rate: 10,
        ..Config::default()
    });
    assert_eq!((drain.explain().state, drain.explain().next), ("serving", None));
    drain.handle(0, &Input::Signal { intent: Intent::Decommission }).unwrap();
    let said = drain.explain();
    assert_eq!(said.because, "a stop for decommission is under way and has 30000 ms of its budget left");
    assert_eq!(said.waits_for, "2000 ms of lame duck and step `dns`, attempt 1, 1000 ms left; then draining");
    assert_eq!(said.next, Some((1_000, "step-limit")));
    drain.handle(10, &Input::Done { operation: 1 }).unwrap();
    drain.tick(2_000).unwrap();
    assert_eq!(drain.explain().waits_for, "the public door to close, 1000 ms at most");
    drain.handle(2_001, &Input::Done { operation: 2 }).unwrap();
    assert_eq!(drain.explain().waits_for, "the host to count what is left");
    drain.handle(2_001, &Input::Load { requests: 3, idle: 1, streams: 1, tunnels: 5, told: 0 }).unwrap();
    assert_eq!(
        drain.explain().waits_for,
        "3 requests (1 streams), 1 idle connections and 5 tunnels (1 told) to end; \
         4 tunnels are told within 500 ms; cut in 19999 ms"
    );
    assert_eq!(drain.explain().next, Some((100, "tell")));
    drain.handle(2_050, &Input::Force).unwrap();
    assert_eq!(drain.explain().state, "forcing");
    run_alone(&mut drain);
    assert_eq!(
        drain.explain().because,
        "the stop for decommission is over: 0 drained, 0 forced, 8 abandoned, 2 steps failed"
    );
}

#[test]
fn a_record_of_a_state_that_cannot_be_is_refused() {
    let mut drain = draining(Config { lame_duck: 0, ..Config::default() });
    drain.handle(0, &tunnels(2, 0)).unwrap();
    let possible = drain.clone();
    let refused = |change: &dyn Fn(&mut Drain)| {
        let mut drain = possible.clone();
        change(&mut drain);
        Drain::restore(&drain.snapshot(0).unwrap(), 0, 0) == Err(RecordFault::Corrupt)
    };
    assert!(!refused(&|_| {}));
    assert!(refused(&|drain| drain.phase = Phase::Serving));
    assert!(refused(&|drain| drain.grace_over = None));
    assert!(refused(&|drain| drain.stop_by = None));
    assert!(refused(&|drain| drain.door = Door::Open));
    assert!(refused(
        &|drain| drain.load = Some(Load { requests: 0, idle: 0, streams: 0, tunnels: 1, told: 2 })
    ));
    let run = StepRun { step: 0, number: 1, until: 9, attempt: Attempt::Pausing(1) };
    assert!(refused(&|drain| drain.step = Some(run)));
}

#[test]
fn d8_the_grace_period_leaves_release_steps_their_time_when_the_lame_duck_took_too_long() {
    let step = ReleaseStep { name: "flush".into(), kind: StepKind::Release, limit: 5_000, attempts: 1 };
    let config =
        Config { lame_duck: 5_000, grace: 20_000, kill_budget: 40_000, margin: 3_000, ..Config::default() };
    let grace = |config: Config| {
        let mut drain = Drain::new(config, 1, 0).unwrap();
        drain.handle(0, &Input::Started).unwrap();
        assert_eq!(drain.intent(), Intent::Idle);
        drain.handle(0, &Input::Signal { intent: Intent::Restart }).unwrap();
        assert_eq!(drain.intent(), Intent::Restart);
        // The host slept through most of the budget.
        drain.tick(25_000).unwrap();
        drain.grace_over
    };
    assert_eq!(grace(config.clone()), Some(37_000), "the budget less the margin");
    assert_eq!(grace(Config { steps: vec![step], ..config }), Some(32_000), "and less the step");
}
