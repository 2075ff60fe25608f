//! What vectors cannot say: chains of simulated processes that upgrade, crash, hang, stall and stop, against the
//! properties of a handoff. Both sides are the shipping machines.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::Machine;
use crate::successor::{self, Successor};

/// What is wrong with a successor, or with the world around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    None,
    SpawnFails,
    SpawnHangs,
    InitialiseFails,
    InitialiseHangs,
    CrashBeforeReady,
    CrashAfterReady,
    CrashAfterAcknowledged,
    /// It is stopped (SIGSTOP) some time before it accepts.
    Frozen,
    /// Its sockets do not accept.
    AcceptFails,
    AcceptHangs,
    Garbage,
    StateRefused,
    OtherVersion,
    ClosesChannel,
    /// Killing it takes too long.
    Undead,
    /// It knows only systemd's protocol.
    Systemd,
    SystemdCrash,
    /// The old process stalls, and reads nothing meanwhile.
    ParentStalls,
    ParentCrashes,
    Cancelled,
    Stopped,
}

const FAULTS: [Fault; 22] = [
    Fault::None,
    Fault::SpawnFails,
    Fault::SpawnHangs,
    Fault::InitialiseFails,
    Fault::InitialiseHangs,
    Fault::CrashBeforeReady,
    Fault::CrashAfterReady,
    Fault::CrashAfterAcknowledged,
    Fault::Frozen,
    Fault::AcceptFails,
    Fault::AcceptHangs,
    Fault::Garbage,
    Fault::StateRefused,
    Fault::OtherVersion,
    Fault::ClosesChannel,
    Fault::Undead,
    Fault::Systemd,
    Fault::SystemdCrash,
    Fault::ParentStalls,
    Fault::ParentCrashes,
    Fault::Cancelled,
    Fault::Stopped,
];

type Place = usize;

/// A process of the chain.
struct Process {
    handoff: Handoff,
    successor: Option<Successor>,
    parent: Option<Place>,
    /// What its parent calls it.
    generation: OperationId,
    fault: Fault,
    alive: bool,
    frozen: bool,
    /// Until when its loop runs nothing.
    stalled: Millis,
    accepts: bool,
    serves: bool,
    /// Whether its parent was told that it ended.
    reaped: bool,
    stopping: bool,
    drains: bool,
    /// What it sent to its parent, with the time of arrival.
    sent: Vec<(Millis, Input)>,
    /// Its handoff before the upgrade in flight, and when that began.
    before: Option<(Handoff, Millis)>,
}

#[derive(Debug, Clone)]
enum Event {
    ToHandoff(Place, Input),
    ToSuccessor(Place, successor::Input),
    /// The parent of this one reads what it sent.
    Read(Place),
    Ends(Place),
    Freezes(Place),
    Stalls(Place, Millis),
    Upgrade(Place),
}

struct World {
    random: Random,
    now: Millis,
    config: Config,
    processes: Vec<Process>,
    events: BTreeMap<(Millis, u64), Event>,
    sequence: u64,
    fault: Fault,
    /// Since when nobody accepts, though somebody lives who does not stop.
    gap: Option<Millis>,
    parent_crashed: bool,
    results: BTreeSet<String>,
    accepted: u32,
}

/// Limits of the successor, in all less than the old side's.
fn successor_config() -> successor::Config {
    successor::Config {
        initialise_limit: 280,
        acknowledge_limit: 160,
        state_limit: 40,
        accept_limit: 40,
        gone_limit: 10,
        ..successor::Config::default()
    }
}

fn config(random: &mut Random) -> Config {
    let hook = |name: &str| UndoHook { name: name.into(), limit: 20 };
    Config {
        spawn_limit: 50,
        ready_limit: 300,
        accept_limit: 100,
        settle: 60,
        look_limit: 20,
        kill_limit: 30,
        state: random.between(0, 1) == 1,
        state_limit: 50,
        pid_file: random.between(0, 1) == 1,
        lease: random.between(0, 1) == 1,
        task_limit: 30,
        drain_limit: 1_000,
        while_draining: if random.between(0, 1) == 1 { WhileDraining::Queue } else { WhileDraining::Refuse },
        queue_limit: 400,
        most_draining: u32::try_from(random.between(1, 2)).unwrap(),
        undo: [hook("lock"), hook("journal")]
            .into_iter()
            .take(usize::try_from(random.between(0, 2)).unwrap())
            .collect(),
        ..Config::default()
    }
}

impl World {
    fn new(seed: u64, fault: Fault) -> Self {
        let mut random = Random::seeded(seed);
        let config = config(&mut random);
        let mut world = Self {
            random,
            now: 0,
            config,
            processes: Vec::new(),
            events: BTreeMap::new(),
            sequence: 0,
            fault,
            gap: None,
            parent_crashed: false,
            results: BTreeSet::new(),
            accepted: 0,
        };
        let first = world.process(None, 0, Fault::None);
        (world.processes[first].accepts, world.processes[first].serves) = (true, true);
        world
    }

    fn process(&mut self, parent: Option<Place>, generation: OperationId, fault: Fault) -> Place {
        let systemd = matches!(fault, Fault::Systemd | Fault::SystemdCrash);
        let successor =
            (parent.is_some() && !systemd).then(|| Successor::new(successor_config(), 0, self.now).unwrap());
        self.processes.push(Process {
            handoff: Handoff::new(self.config.clone(), 0, self.now).unwrap(),
            successor,
            parent,
            generation,
            fault,
            alive: true,
            frozen: false,
            stalled: 0,
            accepts: false,
            serves: false,
            reaped: false,
            stopping: false,
            drains: false,
            sent: Vec::new(),
            before: None,
        });
        self.processes.len() - 1
    }

    fn chance(&mut self, low: u64, high: u64) -> u64 {
        self.random.between(low, high)
    }

    fn later(&mut self, delay: Millis, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay, self.sequence), event);
    }

    fn soon(&mut self, event: Event) {
        let delay = self.chance(0, 3);
        self.later(delay, event);
    }

    /// What a successor sends arrives in order.
    fn send(&mut self, from: Place, input: Input) {
        let earliest = self.processes[from].sent.last().map_or(0, |(at, _)| *at);
        let at = (self.now + self.chance(0, 3)).max(earliest);
        self.processes[from].sent.push((at, input));
        self.later(at - self.now, Event::Read(from));
    }

    fn read(&mut self, child: Place) {
        let Some(parent) = self.processes[child].parent else { return };
        while let Some((at, input)) = self.processes[child].sent.first().cloned() {
            if at > self.now {
                return;
            }
            self.processes[child].sent.remove(0);
            self.processes[child].reaped |= matches!(input, Input::Exited { .. });
            self.tell_handoff(parent, &input);
        }
    }

    fn run(&mut self, upgrades: u32) {
        for _ in 0..upgrades {
            let Some(serving) = self.processes.iter().rposition(|process| process.alive && process.serves)
            else {
                return;
            };
            self.later(0, Event::Upgrade(serving));
            let pause = self.chance(200, 3_000);
            self.run_until(self.now + pause);
            self.fault = FAULTS[usize::try_from(self.random.between(0, 19)).unwrap()];
        }
    }

    fn run_until(&mut self, end: Millis) {
        loop {
            let event = self.events.keys().next().map(|(at, _)| *at);
            let ticks =
                self.processes.iter().enumerate().filter(|(_, process)| process.alive && !process.frozen);
            let tick = ticks
                .filter_map(|(place, process)| {
                    let old = process.handoff.deadline().map(|deadline| deadline.at);
                    let new = process.successor.as_ref().and_then(|it| it.deadline()).map(|it| it.at);
                    let at = old.into_iter().chain(new).min()?;
                    Some((at.max(process.stalled), place))
                })
                .min();
            let next = event.into_iter().chain(tick.map(|(at, _)| at)).min();
            let Some(at) = next.filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(at);
            match tick {
                // A loop that stalled finds its timers due first, and reads then.
                Some((tick, place)) if tick <= at => self.tick(place),
                _ => {
                    let ((_, _), event) = self.events.pop_first().unwrap();
                    self.happen(event);
                }
            }
            self.check();
        }
    }

    fn tick(&mut self, place: Place) {
        let now = self.now;
        let step = self.processes[place].handoff.tick(now).unwrap();
        self.handoff_effects(place, step.effects);
        if let Some(successor) = &mut self.processes[place].successor {
            let effects = successor.tick(now).unwrap().effects;
            self.successor_effects(place, effects);
        }
    }

    /// Whether the process runs now; what it does not read yet, it reads later.
    fn runs(&mut self, place: Place, event: Event) -> bool {
        let process = &self.processes[place];
        if process.alive && !process.frozen && process.stalled > self.now {
            let delay = process.stalled - self.now;
            self.later(delay, event);
            return false;
        }
        process.alive && !process.frozen
    }

    fn happen(&mut self, event: Event) {
        match event.clone() {
            Event::ToHandoff(place, input) => {
                if self.runs(place, event) {
                    self.tell_handoff(place, &input);
                }
            }
            Event::ToSuccessor(place, input) => {
                if self.runs(place, event) {
                    self.tell_successor(place, &input);
                }
            }
            Event::Read(child) => {
                if let Some(parent) = self.processes[child].parent
                    && self.runs(parent, event)
                {
                    self.read(child);
                }
            }
            Event::Ends(place) => self.ends(place),
            Event::Freezes(place) => {
                // What happens to one that accepts already is not claimed.
                self.processes[place].frozen = !self.processes[place].accepts;
            }
            Event::Stalls(place, duration) => self.processes[place].stalled = self.now + duration,
            Event::Upgrade(place) => self.tell_handoff(place, &Input::Upgrade),
        }
    }

    fn tell_handoff(&mut self, place: Place, input: &Input) {
        if !self.processes[place].alive {
            return;
        }
        if *input == Input::Stop {
            self.processes[place].stopping = true;
        }
        let now = self.now;
        let before = self.processes[place].handoff.clone();
        let step = self.processes[place].handoff.handle(now, input).unwrap();
        if step.effects.iter().any(|effect| matches!(effect, Effect::Spawn { .. })) {
            let mut before = before;
            before.stage = Stage::Running;
            self.processes[place].before = Some((before, now));
        }
        self.handoff_effects(place, step.effects);
    }

    fn tell_successor(&mut self, place: Place, input: &successor::Input) {
        let now = self.now;
        if !self.processes[place].alive {
            return;
        }
        if let Some(successor) = &mut self.processes[place].successor {
            let effects = successor.handle(now, input).unwrap().effects;
            self.successor_effects(place, effects);
        }
    }

    fn child(&self, parent: Place, generation: OperationId) -> Option<Place> {
        self.processes
            .iter()
            .position(|process| process.parent == Some(parent) && process.generation == generation)
    }

    fn handoff_effects(&mut self, place: Place, effects: Vec<Effect>) {
        for effect in effects {
            if !self.processes[place].alive {
                return;
            }
            match effect {
                Effect::Spawn { operation, .. } => self.spawn(place, operation),
                Effect::CaptureState { operation, .. }
                | Effect::WritePidFile { operation, .. }
                | Effect::PassLease { operation, .. }
                | Effect::RunUndo { operation, .. } => self.answer(place, operation),
                Effect::Acknowledge { generation, version, state } => {
                    let child = self.child(place, generation).unwrap();
                    if self.processes[child].fault == Fault::CrashAfterAcknowledged {
                        self.soon(Event::Ends(child));
                    } else {
                        let input = successor::Input::Acknowledged { version, state };
                        self.soon(Event::ToSuccessor(child, input));
                    }
                    if self.processes[child].fault == Fault::ParentStalls {
                        self.processes[place].stalled = self.now + self.config.accept_limit + 20;
                    }
                }
                Effect::Look { operation, generation, .. } => {
                    if let Some(child) = self.child(place, generation) {
                        self.read(child);
                        if !self.processes[child].alive {
                            self.tell_handoff(place, &Input::Exited { generation });
                        }
                    }
                    self.tell_handoff(place, &Input::Done { operation });
                }
                Effect::Kill { operation, generation, .. } => {
                    let child = self.child(place, generation);
                    if let Some(child) = child {
                        assert!(!self.processes[child].serves, "a successor that serves is killed");
                        assert!(!self.processes[child].reaped, "a process is killed after it was reaped");
                        let unread = self.processes[child].sent.iter().any(|(at, _)| *at <= self.now);
                        let cause = match self.processes[place].handoff.flight() {
                            Some(Flight::Killing { cause, .. }) => cause,
                            other => panic!("killed in {other:?}"),
                        };
                        let limit = matches!(cause, RollbackCause::ReadyLimit | RollbackCause::AcceptLimit);
                        assert!(!(unread && limit), "killed for {cause:?}, and its word lies unread");
                        self.processes[child].alive = false;
                        self.processes[child].accepts = false;
                    }
                    if child.is_none_or(|child| self.processes[child].fault != Fault::Undead) {
                        self.soon(Event::ToHandoff(place, Input::Done { operation }));
                    }
                }
                Effect::RolledBack { generation, cause } => self.rolled_back(place, generation, cause),
                Effect::Accepted { generation } => {
                    let child = self.child(place, generation).unwrap();
                    let (_, begun) = self.processes[place].before.take().unwrap();
                    let stalled = self.processes[place].stalled > 0;
                    assert!(stalled || self.now - begun <= self.config.longest_upgrade());
                    assert!(self.processes[child].accepts || !self.processes[child].alive);
                    self.processes[child].serves = true;
                    self.accepted += 1;
                    self.results.insert(format!("accepted by {:?}", self.processes[child].fault));
                }
                Effect::BeginDrain { intent } => {
                    assert_eq!(intent, Intent::Handoff);
                    // Here is where a gap would begin.
                    self.processes[place].accepts = false;
                    self.processes[place].serves = false;
                    self.processes[place].drains = true;
                    let drains =
                        self.processes.iter().filter(|process| process.alive && process.drains).count();
                    assert!(drains <= self.config.most_draining as usize, "too many generations drain");
                    let duration = self.chance(0, 1_200);
                    self.later(duration, Event::ToHandoff(place, Input::Drained));
                    self.tell_of_older();
                }
                Effect::Gone { .. } => self.ends(place),
                Effect::Queued { .. }
                | Effect::Refused { .. }
                | Effect::Notify { .. }
                | Effect::TaskFailed { .. }
                | Effect::SuccessorLost { .. } => {}
            }
        }
    }

    fn answer(&mut self, place: Place, operation: OperationId) {
        let input = match self.chance(0, 9) {
            0 => return,
            1 => Input::Failed { operation },
            _ => Input::Done { operation },
        };
        self.soon(Event::ToHandoff(place, input));
    }

    fn spawn(&mut self, place: Place, operation: OperationId) {
        let fault = self.fault;
        match fault {
            Fault::SpawnFails => {
                self.soon(Event::ToHandoff(place, Input::Failed { operation }));
                return;
            }
            Fault::SpawnHangs => return,
            Fault::ParentCrashes => {
                let delay = self.chance(0, 150);
                self.later(delay, Event::Ends(place));
            }
            Fault::Cancelled => {
                let delay = self.chance(0, 150);
                self.later(delay, Event::ToHandoff(place, Input::Cancel));
            }
            Fault::Stopped => {
                let delay = self.chance(0, 150);
                self.later(delay, Event::ToHandoff(place, Input::Stop));
            }
            Fault::ParentStalls => {
                let (delay, duration) = (self.chance(0, 100), self.chance(0, 400));
                self.later(delay, Event::Stalls(place, duration));
            }
            _ => {}
        }
        let child = self.process(Some(place), operation, fault);
        let in_flight = self
            .processes
            .iter()
            .filter(|process| process.parent == Some(place) && process.alive && !process.serves);
        assert_eq!(in_flight.count(), 1, "two upgrades in flight");
        self.soon(Event::ToHandoff(place, Input::Done { operation }));
        let initialised = self.chance(0, 120);
        match fault {
            Fault::InitialiseHangs => {}
            Fault::InitialiseFails => {
                self.later(initialised, Event::ToSuccessor(child, successor::Input::InitialiseFailed));
            }
            Fault::CrashBeforeReady => self.later(initialised, Event::Ends(child)),
            Fault::Systemd | Fault::SystemdCrash => {
                self.processes[child].accepts = true;
                self.send(child, Input::Ready { generation: operation, speaks: Speaks::Systemd, version: 0 });
                if fault == Fault::SystemdCrash {
                    let delay = self.chance(0, 50);
                    self.later(delay, Event::Ends(child));
                }
            }
            _ => {
                self.later(initialised, Event::ToSuccessor(child, successor::Input::Initialised));
                if matches!(fault, Fault::Frozen | Fault::Undead) {
                    let delay = self.chance(0, 125);
                    self.later(delay, Event::Freezes(child));
                }
                if fault == Fault::ClosesChannel {
                    self.send(child, Input::ChannelClosed { generation: operation });
                }
            }
        }
        self.tell_of_older();
    }

    fn successor_effects(&mut self, place: Place, effects: Vec<successor::Effect>) {
        let generation = self.processes[place].generation;
        let fault = self.processes[place].fault;
        for effect in effects {
            if !self.processes[place].alive {
                return;
            }
            match effect {
                successor::Effect::SayReady { version } => {
                    let version = if fault == Fault::OtherVersion { version + 2 } else { version };
                    if fault == Fault::Garbage {
                        self.send(place, Input::Garbage { generation });
                    } else {
                        self.send(place, Input::Ready { generation, speaks: Speaks::Tidegate, version });
                    }
                    if fault == Fault::CrashAfterReady {
                        self.later(0, Event::Ends(place));
                    }
                }
                successor::Effect::LoadState { operation, .. } => {
                    let input = match fault {
                        Fault::StateRefused => successor::Input::Failed { operation },
                        _ => successor::Input::Done { operation },
                    };
                    self.soon(Event::ToSuccessor(place, input));
                }
                successor::Effect::Accept { operation, .. } => {
                    let input = match fault {
                        Fault::AcceptHangs => continue,
                        Fault::AcceptFails => successor::Input::Failed { operation },
                        _ => successor::Input::Done { operation },
                    };
                    if fault != Fault::AcceptFails {
                        self.processes[place].accepts = true;
                    }
                    self.soon(Event::ToSuccessor(place, input));
                }
                successor::Effect::SayAccepting => self.send(place, Input::Accepting { generation }),
                successor::Effect::SayRefused => self.send(place, Input::Refused { generation }),
                successor::Effect::Serving { promoted } => {
                    if promoted {
                        self.processes[place].serves = true;
                        self.results.insert("promoted".into());
                        let parent = self.processes[place].parent.unwrap();
                        assert!(!self.processes[parent].alive, "promoted beside a living parent");
                    }
                }
                successor::Effect::End { cause } => {
                    self.results.insert(format!("gave up: {}", cause.as_str()));
                    assert_ne!(fault, Fault::ParentCrashes, "a sound successor gave up: {cause:?}");
                    self.ends(place);
                }
                successor::Effect::WritePidFile { .. } => panic!("there is none in this world"),
                successor::Effect::CloseUnclaimed
                | successor::Effect::TakeLease
                | successor::Effect::Notify { .. }
                | successor::Effect::PidFileFailed { .. } => {}
            }
        }
    }

    fn ends(&mut self, place: Place) {
        if !self.processes[place].alive {
            return;
        }
        let crashed = self.processes[place].serves;
        self.parent_crashed |= crashed;
        self.processes[place].alive = false;
        self.processes[place].accepts = false;
        self.processes[place].serves = false;
        let generation = self.processes[place].generation;
        if self.processes[place].parent.is_some() {
            self.send(place, Input::ChannelClosed { generation });
            self.send(place, Input::Exited { generation });
        }
        for child in 0..self.processes.len() {
            if self.processes[child].parent == Some(place) {
                self.soon(Event::ToSuccessor(child, successor::Input::ChannelClosed));
                let delay = self.chance(0, 8);
                self.later(delay, Event::ToSuccessor(child, successor::Input::ParentGone));
            }
        }
        self.tell_of_older();
    }

    /// Every process knows how many older ones drain.
    fn tell_of_older(&mut self) {
        for place in 0..self.processes.len() {
            let older = self.processes[..place].iter().filter(|older| older.alive && older.drains).count();
            let draining = u32::try_from(older).unwrap();
            let input = Input::OlderGenerations { draining };
            if self.processes[place].alive && self.processes[place].handoff.older != draining {
                self.tell_handoff(place, &input);
            }
        }
    }

    fn rolled_back(&mut self, place: Place, generation: OperationId, cause: RollbackCause) {
        let (mut before, begun) = self.processes[place].before.take().unwrap();
        let process = &self.processes[place];
        let mut after = process.handoff.clone();
        // Modulo counters, the time, and what others said meanwhile.
        after.operations = before.operations;
        after.clock = before.clock;
        before.older =
            u32::try_from(self.processes.iter().filter(|older| older.alive && older.drains).count()).unwrap();
        before.stopping = process.stopping;
        assert_eq!(after, before, "a failed upgrade left a trace");
        assert!(process.accepts || process.fault != Fault::None || self.parent_crashed);
        // A loop that stalled comes back late to everything.
        assert!(process.stalled > 0 || self.now - begun <= self.config.longest_upgrade(), "{cause:?}");
        let child = self.child(place, generation);
        assert!(child.is_none_or(|child| !self.processes[child].alive), "the successor is left");
        self.results.insert(format!("rolled back: {}", cause.as_str()));
    }

    fn check(&mut self) {
        let living = || self.processes.iter().filter(|process| process.alive);
        let wanted = living().any(|process| !process.stopping);
        let somebody = living().any(|process| process.accepts && !process.frozen);
        if !wanted || somebody {
            self.gap = None;
            return;
        }
        // Only where the old process crashed there may be a wait for the promotion, and not for long.
        let faults: Vec<_> = self.processes.iter().map(|process| (process.fault, process.alive)).collect();
        assert!(self.parent_crashed, "nobody accepts at {}: {faults:?}", self.now);
        let since = *self.gap.get_or_insert(self.now);
        assert!(self.now - since <= 280 + 160 + 40 + 10, "nobody accepts since {since}");
    }
}

#[test]
fn somebody_always_accepts_and_a_failed_upgrade_leaves_no_trace() {
    let mut results = BTreeSet::new();
    for seed in 0..1_500_u64 {
        let first = FAULTS[usize::try_from(seed).unwrap() % FAULTS.len()];
        let mut world = World::new(seed, first);
        world.run(5);
        results.append(&mut world.results);
    }
    let named = |prefix: &str, word: &str| format!("{prefix}{word}");
    for cause in RollbackCause::ALL {
        // The state never hangs for longer than its limit here without another limit; and a look is never late.
        let seen = results.contains(&named("rolled back: ", cause.as_str()));
        assert!(seen || *cause == RollbackCause::NotAlive, "never rolled back for {}", cause.as_str());
    }
    assert!(results.contains("promoted"), "{results:?}");
    for fault in [Fault::None, Fault::Systemd, Fault::ParentStalls] {
        assert!(results.contains(&format!("accepted by {fault:?}")), "{fault:?}: {results:?}");
    }
}

#[test]
fn after_any_fault_the_next_upgrade_succeeds() {
    for (seed, fault) in (0_u64..).zip(FAULTS.into_iter().cycle()).take(500) {
        if matches!(fault, Fault::Stopped | Fault::ParentCrashes) {
            continue;
        }
        let mut world = World::new(seed, fault);
        // The state of this world is captured, and its hooks work, every time.
        world.config.state = false;
        world.processes[0].handoff = Handoff::new(world.config.clone(), 0, 0).unwrap();
        world.later(0, Event::Upgrade(0));
        world.run_until(3_000);
        let serving = world
            .processes
            .iter()
            .rposition(|process| process.alive && process.serves)
            .unwrap_or_else(|| panic!("nobody serves after {fault:?}"));
        let before = world.accepted;
        world.fault = Fault::None;
        world.later(0, Event::Upgrade(serving));
        world.run_until(6_000);
        assert_eq!(world.accepted, before + 1, "after {fault:?}");
    }
}

#[test]
fn two_versions_agree_when_they_are_next_to_each_other() {
    assert_eq!([agree(3, 3), agree(3, 2), agree(2, 3)], [Some(3), Some(2), Some(2)]);
    assert_eq!([agree(3, 1), agree(1, 3), agree(1, 0), agree(0, 0)], [None; 4]);
    assert_eq!(agree(u16::MAX, u16::MAX - 1), Some(u16::MAX - 1));
}

#[test]
fn the_longest_upgrade_is_the_sum_of_what_can_follow_each_other() {
    let hook = UndoHook { name: "lock".into(), limit: 100_000 };
    let config = Config {
        spawn_limit: 1,
        ready_limit: 10,
        accept_limit: 100,
        settle: 50,
        look_limit: 1_000,
        kill_limit: 10_000,
        state: true,
        state_limit: 7,
        undo: vec![hook],
        ..Config::default()
    };
    assert_eq!(config.longest_upgrade(), 1 + 10 + 107 + 2_000 + 10_000 + 100_000);
    let settles = Config { settle: 500, state: false, ..config };
    assert_eq!(settles.longest_upgrade(), 1 + 10 + 500 + 2_000 + 10_000 + 100_000);
}

#[test]
fn it_says_what_it_waits_for() {
    let undo = vec![UndoHook { name: "lock".into(), limit: 50 }];
    let mut handoff = Handoff::new(Config { undo, ..Config::default() }, 0, 0).unwrap();
    handoff.handle(0, &Input::Upgrade).unwrap();
    handoff.handle(1, &Input::Failed { operation: 1 }).unwrap();
    let explanation = handoff.explain();
    assert_eq!(explanation.because, "the upgrade to generation 1 failed: spawn-failed");
    assert_eq!(explanation.waits_for, "undo hook `lock`");
    assert_eq!(explanation.next, Some((50, "undo-limit")));
    assert!(handoff.accepts());
}

#[test]
fn h2_it_accepts_until_its_successor_does() {
    let mut handoff = Handoff::new(Config::default(), 1, 0).unwrap();
    assert!(handoff.accepts());
    handoff.handle(0, &Input::Upgrade).unwrap();
    handoff.handle(1, &Input::Done { operation: 1 }).unwrap();
    handoff.handle(2, &Input::Ready { generation: 1, speaks: Speaks::Tidegate, version: VERSION }).unwrap();
    assert!(handoff.accepts(), "it was only acknowledged");
    handoff.handle(3, &Input::Accepting { generation: 1 }).unwrap();
    assert!(!handoff.accepts());
}

#[test]
fn an_answer_to_an_older_operation_is_no_answer_to_this_one() {
    // An undo hook is under way; what is answered is the kill before it, once more.
    let undo = vec![UndoHook { name: "lock".into(), limit: 1_000 }];
    let mut handoff = Handoff::new(Config { undo, ..Config::default() }, 1, 0).unwrap();
    handoff.handle(0, &Input::Upgrade).unwrap();
    handoff.handle(1, &Input::Garbage { generation: 1 }).unwrap();
    handoff.handle(2, &Input::Done { operation: 2 }).unwrap();
    let before = handoff.clone();
    for operation in [1, 2] {
        for input in [Input::Done { operation }, Input::Failed { operation }] {
            assert_eq!(handoff.handle(2, &input).unwrap().effects, []);
        }
    }
    assert_eq!(handoff, before);
}
