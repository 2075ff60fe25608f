//! One gateway of a pool, simulated: the granter's row, the lives of the gateway's process (two at a time, now and
//! then), and the control plane between them. Processes crash, restart, hang, hand over, are cloned and come back
//! from snapshots; their clocks drift; messages are late, lost, doubled and overtaken; un-routing fails. The
//! properties of L1 to L7 must hold for every seed:
//!
//! * epochs strictly increase with each grant;
//! * the resource refuses anything below the highest epoch that it has seen;
//! * a holder has stopped before the granter could expire its lease;
//! * of those who reclaim, renew and expire, one wins; who was fenced never comes back;
//! * the organization is kept from its allocation to its release;
//! * a gateway is free only when no route leads to it;
//! * a dead holder's gateway is free, or reported, in bounded time;
//! * no question stays open when the control plane can be reached.
//!
//! Every decision is made by the shipping code: [`Lease`] for the row, [`LeaseHolder`] for each process and
//! [`Fence`] for the resource. Below are the defects of gateways that lose their allocation, by name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

use std::collections::{BTreeMap, BTreeSet};

use tidegate::backoff::{Jitter, Policy};
use tidegate::lease::{
    self, Fence, Input as Command, Lease, LeaseCause, LeaseRefusal, LeaseState, Row, Standing, consequences,
    decide,
};
use tidegate::lease_holder::{self as holder, Effect, Input, LeaseEnd, LeaseHolder, LeaseLoss, State};
use tidegate::{Intent, Machine, Millis, Random, Rules};

/// The latest that a message arrives.
const LATEST: Millis = 150;
/// How late the granter looks at its row.
const SCAN: Millis = 40;
/// How late a process is woken.
const LATE: Millis = 15;

fn terms() -> lease::Config {
    lease::Config {
        term: 1_200,
        grace: 900,
        idle_hold: 400,
        allocate_limit: 300,
        unroute_limit: 80,
        unroute_attempts: 3,
        unroute_pause: 20,
        quarantine: 100,
        quarantine_max: 1_600,
        suspicion: 100,
        handoff: 300,
    }
}

fn holder_config(drift: u32) -> holder::Config {
    holder::Config {
        term: 1_200,
        drain: 250,
        margin: LATE + 1,
        drift,
        ask_limit: 60,
        release_limit: 200,
        retry: Policy { initial: 20, cap: 80, floor: 5, jitter: Jitter::Equal, ..Policy::default() },
    }
}

/// A dead holder's gateway is free or reported this long after the last word of a holder.
fn bound() -> Millis {
    let lease::Config { term, grace, unroute_limit, unroute_attempts, unroute_pause, .. } = terms();
    term + grace + u64::from(unroute_attempts) * (unroute_limit + unroute_pause + 2 * SCAN) + 3 * SCAN
}

type Process = u64;

/// One life of the gateway.
struct Life {
    holder: LeaseHolder,
    /// Thousandths of the granter's speed, and where it began.
    rate: u64,
    offset: u64,
    /// What was asked and not answered.
    questions: BTreeMap<u32, Effect>,
    /// Whether the host goes on to serve: it may have drained of its own accord.
    drained: bool,
    /// What a drain of its own is for.
    stopping: Option<Intent>,
}

impl Life {
    fn local(&self, now: Millis) -> Millis {
        self.offset + now * self.rate / 1_000
    }

    /// The first moment at which the local clock shows `local`.
    fn global(&self, local: Millis) -> Millis {
        ((local - self.offset) * 1_000).div_ceil(self.rate)
    }

    fn serving(&self) -> Option<u64> {
        self.holder.serving().filter(|_| !self.drained)
    }
}

enum Event {
    Scan,
    Wake {
        process: Process,
    },
    ToGranter {
        process: Process,
        question: Option<Effect>,
        command: Command,
    },
    FromGranter {
        process: Process,
        question: Effect,
        answer: lease::Effect,
    },
    /// The answer did not come.
    Unanswered {
        process: Process,
        operation: u32,
    },
    Handshake {
        process: Process,
        epoch: u64,
    },
    Unrouting {
        epoch: u64,
        organization: u64,
        attempt: u32,
    },
    Command {
        command: Command,
    },
    Drained {
        process: Process,
    },
    StopServing {
        process: Process,
        intent: Intent,
    },
    Boot {
        predecessor: Option<u64>,
    },
    Call {
        process: Process,
    },
    ToResource {
        epoch: u64,
    },
    Allocate,
    Fault,
}

struct World {
    now: Millis,
    sequence: u64,
    queue: BTreeMap<(Millis, u64), Event>,
    random: Random,
    row: Lease,
    lives: BTreeMap<Process, Life>,
    last_life: Process,
    fence: Fence,
    /// The routes to the gateway, by organization.
    routes: BTreeSet<u64>,
    /// Until when the granter ever let an epoch live.
    promised: BTreeMap<u64, Millis>,
    granted: u64,
    /// The greatest epoch that the resource admitted, and the one that it honours beside it.
    admitted: u64,
    handed_over: Option<(u64, Millis)>,
    /// When the granter heard a holder last, or gave the gateway to one.
    heard: Millis,
    requests: u64,
    fenced: BTreeSet<Process>,
    faulty: bool,
    /// Whether the control plane cannot be reached.
    away_until: Millis,
    drift: (u64, u64),
    stated: u32,
    seen: BTreeMap<&'static str, u32>,
}

impl World {
    fn new(seed: u64, stated: u32, drift: (u64, u64)) -> Self {
        let mut world = Self {
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            random: Random::seeded(seed),
            row: Lease::new(terms(), 1, 0).unwrap(),
            lives: BTreeMap::new(),
            last_life: 0,
            fence: Fence::default(),
            routes: BTreeSet::new(),
            promised: BTreeMap::new(),
            granted: 0,
            admitted: 0,
            handed_over: None,
            heard: 0,
            requests: 0,
            fenced: BTreeSet::new(),
            faulty: true,
            away_until: 0,
            drift,
            stated,
            seen: BTreeMap::new(),
        };
        world.after(0, Event::Boot { predecessor: None });
        world.after(10, Event::Allocate);
        world
    }

    fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.faulty && self.random.between(1, 100) <= percent
    }

    fn after(&mut self, delay: Millis, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), event);
    }

    fn delay(&mut self) -> Millis {
        let worst = if self.chance(25) { LATEST } else { 8 };
        self.random.between(1, worst)
    }

    fn latest_life(&self) -> Option<Process> {
        self.lives.keys().next_back().copied()
    }

    fn run_for(&mut self, time: Millis) {
        let end = self.now + time;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.check();
            self.happen(event);
        }
        self.now = end;
        self.check();
    }

    /// What holds at every moment.
    fn check(&self) {
        let now = self.now;
        let row = self.row.row();
        let mut serving = BTreeSet::new();
        for (process, life) in &self.lives {
            let Some(epoch) = life.serving() else { continue };
            // A holder stops before the granter could expire its lease.
            let promised = self.promised.get(&epoch).expect("a lease that was granted");
            assert!(
                now < *promised,
                "at {now} life {process} serves epoch {epoch}, promised until {promised}"
            );
            // One winner: no two lives serve one epoch, and none a later one than was granted.
            assert!(serving.insert(epoch), "at {now} two lives serve epoch {epoch}");
            assert!(epoch <= row.epoch, "at {now} life {process} serves {epoch} on {row:?}");
            // Nobody's lease is released while it serves.
            let over = matches!(row.state(), LeaseState::Releasing | LeaseState::Free);
            assert!(epoch < row.epoch || !over, "at {now} life {process} serves {epoch} on {row:?}");
        }
        // A dead holder's gateway is free or reported in bounded time.
        if row.organization().is_some() {
            assert!(now <= self.heard + bound(), "at {now} {row:?}, heard last at {}", self.heard);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Fault => self.fault(),
            Event::Scan => {
                let step = self.row.tick(self.now).unwrap();
                self.granter_did(&step.effects);
            }
            Event::Wake { process } => {
                let now = self.now;
                if let Some(life) = self.lives.get_mut(&process) {
                    let step = life.holder.tick(life.local(now)).unwrap();
                    self.carry_out(process, &step.effects);
                }
            }
            Event::ToGranter { process, question, command } => {
                if self.now < self.away_until {
                    return;
                }
                let answer = self.command(Some(process), &command);
                if let Some(question) = question {
                    self.answer(process, &question, &answer);
                }
            }
            Event::FromGranter { process, question, answer } => {
                let input = Input::answering(&question, &answer).expect("an answer to the question");
                self.answered(process, &question, &input);
            }
            Event::Unanswered { process, operation } => {
                if self.lives.get(&process).is_some_and(|life| life.questions.contains_key(&operation)) {
                    self.tell(process, &Input::CannotKnow { operation });
                }
            }
            Event::Handshake { process, epoch } => {
                let accepts = |life: &mut Life, local| life.holder.handle(local, &Input::Granted { epoch });
                let now = self.now;
                let answer = self.lives.get_mut(&process).map(|life| accepts(life, life.local(now)));
                match answer {
                    Some(Ok(step)) => self.carry_out(process, &step.effects),
                    _ => {
                        self.count("handshake refused");
                        let delay = self.delay();
                        if !self.chance(30) {
                            self.after(delay, Event::Command { command: Command::HandshakeFailed { epoch } });
                        }
                    }
                }
            }
            Event::Unrouting { epoch, organization, attempt } => self.unroute(epoch, organization, attempt),
            Event::Command { command } => {
                self.command(None, &command);
            }
            Event::Drained { process } => {
                if self.lives.get(&process).is_some_and(|life| life.holder.at() == State::Yielding) {
                    self.tell(process, &Input::Drained);
                }
            }
            Event::StopServing { process, intent } => {
                if let Some(life) = self.lives.get_mut(&process) {
                    life.drained = true;
                    self.tell(process, &Input::Stop { intent });
                }
            }
            Event::Boot { predecessor } => self.boot(predecessor),
            Event::Call { process } => {
                if let Some(epoch) = self.lives.get(&process).and_then(Life::serving) {
                    let delay = self.delay();
                    self.after(delay, Event::ToResource { epoch });
                    self.after(60, Event::Call { process });
                }
            }
            Event::ToResource { epoch } => self.call(epoch),
            Event::Allocate => self.allocate(),
        }
    }

    // The granter.

    fn command(&mut self, from: Option<Process>, command: &Command) -> lease::Effect {
        let before = self.row.row().at(self.now, &terms());
        let step = self.row.handle(self.now, command).unwrap();
        let answer = step.effects.iter().find(|effect| effect.is_answer());
        let answer = answer.expect("every command is answered").clone();
        self.judge(from, &before, command, &answer);
        self.granter_did(&step.effects);
        answer
    }

    /// The properties of one decision.
    fn judge(&mut self, from: Option<Process>, before: &Row, command: &Command, answer: &lease::Effect) {
        let after = self.row.row();
        let what = format!("at {}: {command:?} on {before:?} made {after:?}, {answer:?}", self.now);
        match *answer {
            lease::Effect::Refused { refusal, epoch } => {
                assert_eq!((after, epoch), (*before, before.epoch), "{what}");
                self.count(match refusal {
                    LeaseRefusal::StaleEpoch => "stale epoch",
                    LeaseRefusal::Fenced => "fenced",
                    LeaseRefusal::NoLease => "no lease",
                    LeaseRefusal::Unconfirmed => "unconfirmed",
                    LeaseRefusal::InUse => "in use",
                    _ => "refused otherwise",
                });
                if matches!(command, Command::Claim { .. }) && before.state() == LeaseState::Allocating {
                    self.count("claim lost against an allocation");
                }
            }
            lease::Effect::Reclaimed { epoch, organization, .. } => {
                assert_eq!(before.organization(), Some(organization), "the organization is kept; {what}");
                let Command::Claim { incarnation, .. } = *command else { panic!("{what}") };
                assert!(incarnation >= before.incarnation, "who was fenced came back; {what}");
                if epoch == before.epoch {
                    self.count("claim answered once more");
                } else {
                    self.grant(epoch, &what);
                    self.count(match before.standing {
                        Standing::Active { .. } => "reclaimed while active",
                        Standing::Held { cause: LeaseCause::Restart, .. } => "reclaimed after a restart",
                        Standing::Held { .. } if incarnation == before.incarnation => {
                            "reclaimed by the same life"
                        }
                        Standing::Held { cause: LeaseCause::Expired, .. } => "reclaimed after a crash",
                        Standing::Held { .. } => "reclaimed otherwise",
                        _ => panic!("{what}"),
                    });
                    if let Standing::Active { predecessor: Some(until), .. } = after.standing {
                        self.count("handed over");
                        // The resource is told; a crash may have taken epochs that it never saw.
                        self.handed_over = (self.admitted == before.epoch).then_some((before.epoch, until));
                        self.admitted = epoch;
                        self.fence.hand_over(epoch, until);
                    }
                }
            }
            lease::Effect::Allocated { epoch, .. } if epoch != before.epoch => {
                assert!(self.routes.is_empty(), "a route to another organization; {what}");
                self.grant(epoch, &what);
            }
            lease::Effect::Renewed { .. } if before.state() == LeaseState::Held => {
                self.count("renewed while suspected");
            }
            lease::Effect::Renewed { epoch, .. } if epoch < after.epoch => {
                assert_eq!(after, *before, "{what}");
                self.count("predecessor honoured");
            }
            _ => {}
        }
        if from.is_some() && after != *before {
            self.heard = self.now;
        }
    }

    fn grant(&mut self, epoch: u64, what: &str) {
        assert!(epoch > self.granted, "{} was granted before; {what}", self.granted);
        self.granted = epoch;
        self.heard = self.now;
    }

    fn granter_did(&mut self, effects: &[lease::Effect]) {
        let row = self.row.row();
        if let Standing::Active { until, .. } = row.standing {
            let promised = self.promised.entry(row.epoch).or_default();
            *promised = until.max(*promised);
        }
        for effect in effects {
            match *effect {
                lease::Effect::Entered { state, cause, .. } => {
                    self.count(match (state, cause) {
                        (LeaseState::Free, _) => "free",
                        (LeaseState::Active, _) => "active",
                        (LeaseState::Held, Some(LeaseCause::Expired)) => "expired",
                        (LeaseState::Held, Some(LeaseCause::Suspected)) => "suspected",
                        (LeaseState::Held, Some(LeaseCause::Idle)) => "idle",
                        (LeaseState::Held, _) => "held",
                        (LeaseState::Releasing, _) => "releasing",
                        (LeaseState::Quarantined, Some(LeaseCause::Unroute)) => "quarantined for its route",
                        (LeaseState::Quarantined, _) => "quarantined",
                        (LeaseState::Allocating, _) => "allocating",
                        (LeaseState::Retired, _) => "retired",
                    });
                    if state == LeaseState::Free {
                        assert!(self.routes.is_empty(), "free with a route at {}", self.now);
                        let delay = self.random.between(1, 400);
                        self.after(delay, Event::Allocate);
                    }
                }
                lease::Effect::Unroute { epoch, organization, attempt, .. } => {
                    let delay = self.delay();
                    self.after(delay, Event::Unrouting { epoch, organization, attempt });
                }
                lease::Effect::RouteLeft { .. } => self.count("route left"),
                _ => {}
            }
        }
        if let Some(deadline) = self.row.deadline() {
            let late = self.random.between(0, SCAN);
            let at = deadline.at.max(self.now) + late;
            self.after(at - self.now, Event::Scan);
        }
    }

    fn unroute(&mut self, epoch: u64, organization: u64, attempt: u32) {
        let failed = Command::UnrouteFailed { epoch, attempt };
        if self.chance(45) {
            self.count("un-route failed");
            if self.chance(50) {
                let delay = self.delay();
                self.after(delay, Event::Command { command: failed });
            }
            return;
        }
        // The route of that organization to this gateway, and not one that was made since.
        if self.row.row().epoch == epoch {
            self.routes.remove(&organization);
        }
        if !self.chance(20) {
            let delay = self.delay();
            self.after(delay, Event::Command { command: Command::Unrouted { epoch } });
        }
    }

    fn allocate(&mut self) {
        self.requests += 1;
        let (organization, request) = (self.random.between(1, 5), self.requests);
        let answer = self.command(None, &Command::Allocate { organization, request });
        let lease::Effect::Allocated { epoch, .. } = answer else { return };
        self.routes.insert(organization);
        let delay = self.delay();
        match self.latest_life() {
            Some(process) if !self.chance(10) => self.after(delay, Event::Handshake { process, epoch }),
            _ => self.count("handshake lost"),
        }
    }

    /// Delivers the answer late, twice or not at all.
    fn answer(&mut self, process: Process, question: &Effect, answer: &lease::Effect) {
        if matches!(answer, lease::Effect::Reclaimed { .. }) && self.chance(3) {
            // The control plane crashes after the commit, and stays away.
            let time = self.random.between(1_200, 1_800);
            self.away_until = self.now + time;
            return;
        }
        let copies = if self.chance(10) { 2 } else { 1 };
        for _ in 0..copies {
            if !self.chance(10) {
                let (question, answer) = (question.clone(), answer.clone());
                let delay = self.delay();
                self.after(delay, Event::FromGranter { process, question, answer });
            }
        }
    }

    // The processes.

    fn boot(&mut self, predecessor: Option<u64>) {
        self.last_life += 1;
        let process = self.last_life;
        let (slow, fast) = self.drift;
        let rate = match self.random.between(0, 2) {
            0 => slow,
            1 => fast,
            _ => 1_000,
        };
        let offset = self.random.between(0, 1_000_000);
        let local = offset + self.now * rate / 1_000;
        let holder = LeaseHolder::new(holder_config(self.stated), process, local).unwrap();
        let life = Life { holder, rate, offset, questions: BTreeMap::new(), drained: false, stopping: None };
        self.lives.insert(process, life);
        self.tell(process, &Input::Boot { predecessor });
    }

    fn tell(&mut self, process: Process, input: &Input) {
        let now = self.now;
        let Some(life) = self.lives.get_mut(&process) else { return };
        let step = life.holder.handle(life.local(now), input);
        let step = step.unwrap_or_else(|rejection| panic!("at {now} life {process}: {rejection}"));
        self.carry_out(process, &step.effects);
    }

    fn answered(&mut self, process: Process, question: &Effect, input: &Input) {
        if let Some(life) = self.lives.get_mut(&process) {
            life.questions.retain(|_, asked| asked != question);
            self.tell(process, input);
        }
    }

    fn carry_out(&mut self, process: Process, effects: &[Effect]) {
        for effect in effects {
            assert!(!self.fenced.contains(&process), "life {process} was fenced, and wants {effect:?}");
            match *effect {
                Effect::Claim { operation, predecessor, .. } => {
                    let command = Command::Claim { incarnation: process, predecessor };
                    self.ask(process, operation, effect, command);
                }
                Effect::Confirm { operation, epoch, .. } => {
                    self.ask(process, operation, effect, Command::Confirm { epoch, incarnation: process });
                }
                Effect::Renew { operation, epoch, .. } => {
                    self.ask(process, operation, effect, Command::Renew { epoch });
                }
                Effect::Release { operation, epoch, intent, .. } => {
                    let life = self.lives.get_mut(&process).unwrap();
                    life.drained = true;
                    self.ask(process, operation, effect, Command::Stop { epoch, intent });
                }
                Effect::Serve { epoch } => {
                    let left = self.promised.get(&epoch).is_some_and(|promised| self.now < *promised);
                    assert!(left, "at {} life {process} begins to serve epoch {epoch}", self.now);
                    self.after(1, Event::Call { process });
                }
                Effect::Idle => self.count("definitely not mine"),
                Effect::CannotKnow { .. } => self.count("cannot know"),
                Effect::Drain { loss, within } => {
                    self.count(match loss {
                        LeaseLoss::Unrenewed => "drained without a renew",
                        LeaseLoss::Fenced => "drained as fenced",
                        LeaseLoss::HandedOver => "drained as handed over",
                    });
                    // Now and then it hangs.
                    let slow = if self.chance(30) { 1_000 } else { within };
                    let time = self.random.between(0, slow);
                    self.after(time, Event::Drained { process });
                }
                Effect::Halt => {
                    self.count("halted");
                    self.lives.get_mut(&process).unwrap().drained = true;
                }
                Effect::Over { end } => {
                    let comes_back = match end {
                        LeaseEnd::Fenced => {
                            self.count("over as fenced");
                            self.fenced.insert(process);
                            false
                        }
                        LeaseEnd::HandedOver => false,
                        LeaseEnd::Released => true,
                        LeaseEnd::Unreleased => {
                            self.count("stop not told");
                            true
                        }
                        LeaseEnd::NeverHeld | LeaseEnd::Unknown => true,
                    };
                    self.lives.remove(&process);
                    if comes_back || self.lives.is_empty() {
                        let delay = self.random.between(1, 300);
                        self.after(delay, Event::Boot { predecessor: None });
                    }
                    return;
                }
            }
        }
        if let Some(life) = self.lives.get(&process)
            && let Some(deadline) = life.holder.deadline()
        {
            let at = life.global(deadline.at).max(self.now);
            let late = self.random.between(0, LATE);
            self.after(at + late - self.now, Event::Wake { process });
        }
    }

    fn ask(&mut self, process: Process, operation: u32, question: &Effect, command: Command) {
        self.lives.get_mut(&process).unwrap().questions.insert(operation, question.clone());
        let copies = if self.chance(10) { 2 } else { 1 };
        for _ in 0..copies {
            if self.chance(10) {
                // No connection, and now and then the caller even learns of it.
                let delay = self.delay();
                self.after(delay, Event::Unanswered { process, operation });
            } else {
                let (question, command) = (Some(question.clone()), command.clone());
                let delay = self.delay();
                self.after(delay, Event::ToGranter { process, question, command });
            }
        }
    }

    fn call(&mut self, epoch: u64) {
        let honoured = self.handed_over.is_some_and(|(earlier, until)| epoch == earlier && self.now < until);
        let admitted = self.fence.admits(epoch, self.now);
        assert_eq!(admitted, epoch >= self.admitted || honoured, "at {}: {epoch}", self.now);
        if epoch > self.admitted {
            self.admitted = epoch;
            self.handed_over = None;
        }
        if admitted && honoured {
            self.count("predecessor admitted");
        }
        if !admitted {
            self.count("refused by the resource");
            // Now and then the refusal is heard by whoever it concerns.
            let late = self.lives.iter().find(|(_, life)| life.holder.serving() == Some(epoch));
            if let Some(process) = late.map(|(process, _)| *process)
                && self.chance(50)
            {
                self.tell(process, &Input::Fenced { epoch });
            }
        }
    }

    // What happens to them.

    fn fault(&mut self) {
        if !self.faulty {
            return;
        }
        let pause = self.random.between(20, 700);
        self.after(pause, Event::Fault);
        let Some(process) = self.latest_life() else { return };
        let epoch = self.row.row().epoch;
        match self.random.between(0, 11) {
            0 | 1 => {
                self.count("crash");
                self.lives.remove(&process);
                let delay = self.random.between(1, 3_000);
                self.after(delay, Event::Boot { predecessor: None });
            }
            2 | 3 => self.stop(process, Intent::Restart),
            4 => self.stop(process, Intent::Decommission),
            5 => self.stop(process, Intent::Idle),
            6 => {
                // A clone, or a supervisor that believes the first one to be gone.
                if self.lives.len() < 2 {
                    self.count("clone");
                    self.after(0, Event::Boot { predecessor: None });
                }
            }
            7 => {
                let life = &self.lives[&process];
                if self.lives.len() < 2 && life.holder.at() == State::Holding && life.stopping.is_none() {
                    let predecessor = life.serving();
                    self.after(0, Event::Boot { predecessor });
                    self.tell(process, &Input::HandedOver);
                }
            }
            8 => {
                let time = self.random.between(50, 2_500);
                self.away_until = self.now + time;
                self.count("control plane away");
            }
            9 => {
                let observed = self.random.between(1, 3);
                for _ in 0..observed {
                    let delay = self.random.between(0, 300);
                    let well = self.random.between(0, 3) == 0;
                    self.after(delay, Event::Command { command: Command::Observe { epoch, well } });
                }
            }
            10 => {
                // An operator looks at what was reported, and removes the route by hand.
                if matches!(self.row.row().state(), LeaseState::Quarantined | LeaseState::Releasing) {
                    self.count("operator");
                    self.routes.clear();
                    self.command(None, &Command::Release { epoch });
                }
            }
            _ => self.revive(process),
        }
    }

    /// The host ends serving by itself, and then tells the holder.
    fn stop(&mut self, process: Process, intent: Intent) {
        let life = self.lives.get_mut(&process).unwrap();
        if life.stopping.replace(intent).is_none() {
            let time = self.random.between(0, 200);
            self.after(time, Event::StopServing { process, intent });
        }
    }

    /// The process comes back from its snapshot, some time later.
    fn revive(&mut self, process: Process) {
        let away = self.random.between(0, 300);
        let now = self.now;
        let life = self.lives.get_mut(&process).unwrap();
        if life.stopping.is_some() || life.holder.at() == State::Yielding {
            return;
        }
        let snapshot = life.holder.snapshot(life.local(now)).unwrap();
        let held = life.holder.at() == State::Holding;
        let local = life.local(now);
        // The new process has another clock, of the same speed, and was away for a while: it counts the whole of it.
        let elapsed = (away * life.rate).div_ceil(1_000);
        life.holder = LeaseHolder::restore(&snapshot, local, elapsed).unwrap();
        assert_eq!(life.holder.serving().is_some(), life.holder.at() == State::Yielding);
        if held {
            self.count("restored");
        }
        let life = self.lives.get_mut(&process).unwrap();
        let step = life.holder.tick(life.local(now)).unwrap();
        self.carry_out(process, &step.effects);
    }

    /// What holds when nothing went wrong for a while.
    fn check_settled(&mut self, seed: u64) {
        let row = self.row.row();
        let what = format!("seed {seed} at {}: {row:?}", self.now);
        let open = |life: &Life| {
            matches!(
                life.holder.at(),
                State::Claiming | State::Confirming | State::Resuming | State::Releasing | State::Yielding
            )
        };
        for (process, life) in &self.lives {
            assert!(!open(life), "{what}: life {process} is still {:?}", life.holder.at());
            if let Some(epoch) = life.serving() {
                assert_eq!((row.state(), row.epoch), (LeaseState::Active, epoch), "{what}: life {process}");
            }
        }
        assert!(!self.lives.is_empty(), "{what}");
        match row.state() {
            LeaseState::Active => {
                let holders = self.lives.values().filter(|life| life.serving().is_some()).count();
                assert_eq!(holders, 1, "{what}");
                self.count("settled: held");
            }
            LeaseState::Free | LeaseState::Allocating => self.count("settled: free"),
            _ => panic!("{what}"),
        }
    }
}

#[test]
fn one_winner_whatever_crashes_drifts_and_is_lost() {
    let mut seen: BTreeMap<&'static str, u32> = BTreeMap::new();
    for seed in 0..300 {
        let mut world = World::new(seed, 11, (990, 1_010));
        for _ in 0..3 {
            world.faulty = true;
            world.after(100, Event::Fault);
            world.run_for(8_000);
            world.faulty = false;
            world.away_until = world.now;
            world.run_for(bound() + 2 * terms().quarantine_max + 3_000);
            world.check_settled(seed);
        }
        for (what, count) in world.seen {
            *seen.entry(what).or_default() += count;
        }
    }
    println!("{seen:?}");
    // What the properties are about did happen.
    for what in WITNESSES {
        assert!(seen.get(what).is_some_and(|count| *count >= 10), "{what}: {seen:?}");
    }
}

/// The check above is worth something: clocks that drift further than was stated make a holder overstay.
#[test]
#[should_panic(expected = "promised until")]
fn more_drift_than_was_stated_is_found() {
    for seed in 0..300 {
        World::new(seed, 0, (900, 900)).run_for(100);
        let mut world = World::new(seed, 0, (900, 900));
        world.after(100, Event::Fault);
        world.run_for(8_000);
    }
}

const WITNESSES: &[&str] = &[
    "reclaimed while active",
    "reclaimed after a restart",
    "reclaimed after a crash",
    "reclaimed by the same life",
    "claim answered once more",
    "claim lost against an allocation",
    "handed over",
    "predecessor honoured",
    "predecessor admitted",
    "refused by the resource",
    "fenced",
    "over as fenced",
    "stale epoch",
    "no lease",
    "unconfirmed",
    "expired",
    "suspected",
    "renewed while suspected",
    "idle",
    "held",
    "releasing",
    "quarantined",
    "quarantined for its route",
    "route left",
    "operator",
    "handshake lost",
    "handshake refused",
    "definitely not mine",
    "cannot know",
    "drained without a renew",
    "drained as fenced",
    "drained as handed over",
    "halted",
    "stop not told",
    "restored",
    "control plane away",
    "settled: held",
];

// The defects of a control plane and its gateways that lose allocations, each by its letter.

type Gateway = u32;
type Organization = u64;

/// A store as an adapter would keep it: rows by gateway, a unique index by organization, and row locks. A
/// transaction sees what was committed, and is refused by the index when it commits.
#[derive(Default)]
struct Store {
    rows: BTreeMap<Gateway, Row>,
    locked: BTreeSet<Gateway>,
}

/// What one transaction would write.
struct Transaction {
    gateway: Gateway,
    row: Row,
    answer: lease::Effect,
}

impl Store {
    fn of(gateways: u32) -> Self {
        Self { rows: (1..=gateways).map(|gateway| (gateway, Row::default())).collect(), ..Self::default() }
    }

    fn find(&self, organization: Organization) -> Option<Gateway> {
        let mut rows = self.rows.iter();
        rows.find(|(_, row)| row.organization() == Some(organization)).map(|(gateway, _)| *gateway)
    }

    /// The organization's row, or else any free one that nobody has locked.
    fn begin(&self, organization: Organization, request: u64, now: Millis) -> Option<Transaction> {
        let free = |(gateway, row): &(&Gateway, &Row)| {
            row.at(now, &terms()).state() == LeaseState::Free && !self.locked.contains(gateway)
        };
        let gateway =
            self.find(organization).or_else(|| self.rows.iter().find(free).map(|(gateway, _)| *gateway))?;
        let command = Command::Allocate { organization, request };
        let (row, answer) = decide(self.rows[&gateway], &command, now, &terms());
        Some(Transaction { gateway, row, answer })
    }

    fn commit(&mut self, transaction: &Transaction) -> bool {
        let Transaction { gateway, row, .. } = *transaction;
        let taken = row.organization().and_then(|organization| self.find(organization));
        if taken.is_some_and(|other| other != gateway) {
            return false;
        }
        self.rows.insert(gateway, row);
        true
    }

    fn command(&mut self, gateway: Gateway, command: &Command, now: Millis) -> lease::Effect {
        let (row, answer) = decide(self.rows[&gateway], command, now, &terms());
        self.rows.insert(gateway, row);
        answer
    }

    /// Allocated, confirmed by life 1; the epoch.
    fn active(&mut self, organization: Organization, request: u64, now: Millis) -> (Gateway, u64) {
        let transaction = self.begin(organization, request, now).expect("a free gateway");
        assert!(self.commit(&transaction));
        let epoch = transaction.row.epoch;
        self.command(transaction.gateway, &Command::Confirm { epoch, incarnation: 1 }, now);
        (transaction.gateway, epoch)
    }

    fn states(&self) -> Vec<LeaseState> {
        self.rows.values().map(Row::state).collect()
    }
}

#[test]
fn s2_defect_a_two_concurrent_starts_for_one_organization_leave_one_row() {
    let mut store = Store::of(2);
    let first = store.begin(7, 1, 0).unwrap();
    store.locked.insert(first.gateway);
    let second = store.begin(7, 2, 0).unwrap();
    assert_ne!(first.gateway, second.gateway, "neither waits for the other");
    assert!(store.commit(&first));
    assert!(!store.commit(&second), "the index refuses the second");
    // It begins again, and finds the winner.
    let again = store.begin(7, 2, 0).unwrap();
    assert_eq!(again.gateway, first.gateway);
    let expected = lease::Effect::AlreadyAllocated { state: LeaseState::Allocating, epoch: 1, request: 1 };
    assert_eq!(again.answer, expected);
    assert!(store.commit(&again));
    assert_eq!(store.states(), [LeaseState::Allocating, LeaseState::Free]);
}

#[test]
fn s2_defect_b_the_clean_up_of_a_loser_does_not_tear_down_the_winner() {
    let mut store = Store::of(1);
    // A request whose handshake never ended; another one that took the gateway afterwards.
    let lost = store.begin(7, 1, 0).unwrap();
    assert!(store.commit(&lost));
    store.command(1, &Command::HandshakeFailed { epoch: 1 }, 10);
    store.command(1, &Command::Unrouted { epoch: 1 }, 20);
    let (gateway, epoch) = store.active(7, 2, 1_000);
    let winner = store.rows[&gateway];
    let cleaning = [
        Command::HandshakeFailed { epoch: 1 },
        Command::Stop { epoch: 1, intent: Intent::Decommission },
        Command::Unrouted { epoch: 1 },
        Command::Release { epoch: 1 },
    ];
    for command in cleaning {
        let refused = lease::Effect::Refused { refusal: LeaseRefusal::StaleEpoch, epoch };
        assert_eq!(store.command(gateway, &command, 1_001), refused);
        assert_eq!(store.rows[&gateway], winner, "{command:?}");
    }
}

#[test]
fn s2_defect_c_a_stale_stop_by_one_organization_leaves_the_allocation_of_another() {
    let mut store = Store::of(1);
    let (gateway, stale) = store.active(7, 1, 0);
    store.command(gateway, &Command::Stop { epoch: stale, intent: Intent::Decommission }, 10);
    store.command(gateway, &Command::Unrouted { epoch: stale }, 20);
    let (_, epoch) = store.active(8, 2, 30);
    assert!(epoch > stale);
    let row = store.rows[&gateway];
    for intent in [Intent::Idle, Intent::Handoff, Intent::Restart, Intent::Decommission] {
        let answer = store.command(gateway, &Command::Stop { epoch: stale, intent }, 40);
        assert_eq!(answer, lease::Effect::Refused { refusal: LeaseRefusal::StaleEpoch, epoch });
        assert_eq!(store.rows[&gateway], row);
    }
    assert_eq!(row.organization(), Some(8));
}

#[test]
fn s2_defect_d_restarting_while_allocated_keeps_the_allocation() {
    // Announced, said plainly to the grace period, and not said at all.
    for said in [Some(Intent::Restart), Some(Intent::Idle), None] {
        let mut store = Store::of(1);
        let (gateway, epoch) = store.active(7, 1, 0);
        if let Some(intent) = said {
            store.command(gateway, &Command::Stop { epoch, intent }, 100);
            assert_eq!(store.states(), [LeaseState::Held]);
        }
        // It comes back before anybody noticed, while it is held, and after its lease has expired.
        for (incarnation, at) in [(2, 200), (3, 201 + terms().term)] {
            let claim = Command::Claim { incarnation, predecessor: None };
            let epoch = store.rows[&gateway].epoch + 1;
            let mine = lease::Effect::Reclaimed { epoch, organization: 7, term: terms().term };
            assert_eq!(store.command(gateway, &claim, at), mine);
            assert_eq!(store.find(7), Some(gateway));
        }
    }
}

#[test]
fn s2_defect_e_a_gateway_that_failed_its_handshake_is_out_of_the_pool_for_a_growing_time() {
    let mut store = Store::of(1);
    let mut now = 0;
    let mut times = Vec::new();
    for request in 1..=7 {
        let transaction = store.begin(7, request, now).expect("free again");
        assert!(store.commit(&transaction));
        let epoch = transaction.row.epoch;
        store.command(1, &Command::HandshakeFailed { epoch }, now);
        store.command(1, &Command::Unrouted { epoch }, now);
        assert!(store.begin(7, request + 100, now).is_none(), "nobody gets it");
        let over = store.rows[&1].deadline().unwrap().at;
        times.push(over - now);
        now = over;
        let row = store.rows[&1].at(now, &terms());
        store.rows.insert(1, row);
    }
    assert_eq!(times, [100, 200, 400, 800, 1_600, 1_600, 1_600]);
    // Held once, it is trusted again.
    let (gateway, epoch) = store.active(7, 50, now);
    store.command(gateway, &Command::Stop { epoch, intent: Intent::Decommission }, now);
    store.command(gateway, &Command::Unrouted { epoch }, now);
    let transaction = store.begin(7, 51, now).unwrap();
    assert!(store.commit(&transaction));
    store.command(1, &Command::HandshakeFailed { epoch: transaction.row.epoch }, now);
    assert_eq!(store.rows[&1].deadline().unwrap().at, now + 100);
}

#[test]
fn s2_defect_f_an_allocation_takes_any_free_row_and_waits_for_none() {
    let mut store = Store::of(100);
    let mut taken = BTreeSet::new();
    for organization in 1..=100 {
        // Nobody commits: each one finds a row that nobody has locked.
        let transaction = store.begin(organization, organization, 0).expect("another one is free");
        assert!(matches!(transaction.answer, lease::Effect::Allocated { epoch: 1, .. }));
        store.locked.insert(transaction.gateway);
        assert!(taken.insert(transaction.gateway));
    }
    assert!(store.begin(101, 101, 0).is_none());
}

/// Rows of every kind, with epoch 3, life 2 and request 9.
fn rows() -> Vec<Row> {
    let (organization, until) = (7, 100);
    let causes = [LeaseCause::Restart, LeaseCause::Idle, LeaseCause::Expired, LeaseCause::Suspected];
    let mut standings = vec![Standing::Free, Standing::Retired, Standing::Allocating { organization, until }];
    for suspect in [None, Some(20), Some(90)] {
        for predecessor in [None, Some(20), Some(90)] {
            standings.push(Standing::Active { organization, until, suspect, predecessor });
        }
    }
    standings.extend(causes.map(|cause| Standing::Held { organization, until, cause }));
    for unrouting in [lease::Unrouting::Running, lease::Unrouting::Pausing] {
        standings.extend((1..=3).map(|attempt| Standing::Releasing {
            organization,
            until,
            attempt,
            unrouting,
        }));
    }
    for (cause, routed) in
        [(LeaseCause::Handshake, true), (LeaseCause::Handshake, false), (LeaseCause::Unroute, true)]
    {
        standings.push(Standing::Quarantined { organization, until, cause, routed });
    }
    let row = |standing| Row { epoch: 3, incarnation: 2, request: Some(9), failures: 1, standing };
    standings.into_iter().map(row).collect()
}

fn commands() -> Vec<Command> {
    let mut commands = vec![Command::Retire, Command::Reinstate, Command::Look];
    for organization in [7, 8] {
        commands.extend([9, 10].map(|request| Command::Allocate { organization, request }));
    }
    for incarnation in 1..=3 {
        for predecessor in [None, Some(2), Some(3)] {
            commands.push(Command::Claim { incarnation, predecessor });
        }
    }
    for epoch in 2..=4 {
        commands.extend((1..=3).map(|incarnation| Command::Confirm { epoch, incarnation }));
        commands.extend((1..=3).map(|attempt| Command::UnrouteFailed { epoch, attempt }));
        commands.extend([true, false].map(|well| Command::Observe { epoch, well }));
        let intents = [Intent::Idle, Intent::Handoff, Intent::Restart, Intent::Decommission];
        commands.extend(intents.map(|intent| Command::Stop { epoch, intent }));
        commands.extend([
            Command::HandshakeFailed { epoch },
            Command::Renew { epoch },
            Command::Unrouted { epoch },
            Command::Verify { epoch },
            Command::Release { epoch },
        ]);
    }
    commands
}

#[test]
fn s2_defect_g_only_a_removed_route_an_operator_or_a_quarantine_without_route_leads_to_the_pool() {
    let mut ways = BTreeMap::new();
    for row in rows() {
        for now in [10, 100] {
            let led = row.at(now, &terms());
            if row.state() != LeaseState::Free && led.state() == LeaseState::Free {
                assert!(matches!(row.standing, Standing::Quarantined { routed: false, .. }), "{row:?}");
                *ways.entry("time").or_insert(0) += 1;
            }
            for command in commands() {
                let (after, _) = decide(led, &command, now, &terms());
                if led.state() != LeaseState::Free && after.state() == LeaseState::Free {
                    let way = match command {
                        Command::Unrouted { .. } => "unrouted",
                        Command::Release { .. } => "operator",
                        Command::Reinstate => "reinstated",
                        _ => panic!("{command:?} on {led:?}"),
                    };
                    *ways.entry(way).or_insert(0) += 1;
                }
            }
        }
    }
    assert_eq!(ways.into_keys().collect::<Vec<_>>(), ["operator", "reinstated", "time", "unrouted"]);
}

#[test]
fn s2_defect_h_a_route_that_cannot_be_removed_is_reported_and_never_taken_for_removed() {
    let mut lease = Lease::new(terms(), 1, 0).unwrap();
    let mut reported = 0;
    lease.handle(0, &Command::Allocate { organization: 7, request: 1 }).unwrap();
    lease.handle(0, &Command::Stop { epoch: 1, intent: Intent::Decommission }).unwrap();
    for round in 1..=20 {
        // Half of the attempts fail; of the others nothing is heard.
        if round % 2 == 0 {
            let attempt = match lease.row().standing {
                Standing::Releasing { attempt, .. } => attempt,
                _ => 1,
            };
            let now = lease.deadline().unwrap().at - 1;
            lease.handle(now, &Command::UnrouteFailed { epoch: 1, attempt }).unwrap();
        }
        let step = lease.tick(lease.deadline().unwrap().at).unwrap();
        let left = |effect: &&lease::Effect| matches!(effect, lease::Effect::RouteLeft { .. });
        reported += step.effects.iter().filter(left).count();
        assert!(matches!(lease.row().state(), LeaseState::Releasing | LeaseState::Quarantined));
    }
    assert!(reported >= 10, "{reported}");
    let now = lease.deadline().unwrap().at - 1;
    lease.handle(now, &Command::Unrouted { epoch: 1 }).unwrap();
    assert_eq!(lease.row().state(), LeaseState::Free);
}

#[test]
fn s2_defect_i_a_crash_after_the_commit_does_not_leave_the_organization_allocated_for_ever() {
    let mut store = Store::of(2);
    let lost = store.begin(7, 1, 0).unwrap();
    assert!(store.commit(&lost));
    // The allocator is gone. The same request asks again, and goes on where it was.
    let again = store.begin(7, 1, 100).unwrap();
    assert_eq!(again.answer, lease::Effect::Allocated { epoch: 1, limit: terms().allocate_limit - 100 });
    // Nobody does: at the limit the row counts for nobody, and the organization gets another gateway.
    let row = store.rows[&1].at(terms().allocate_limit, &terms());
    assert_eq!((row.state(), row.organization()), (LeaseState::Quarantined, None));
    let todo = consequences(&store.rows[&1], &row, &terms());
    assert!(todo.iter().any(|effect| matches!(effect, lease::Effect::Unroute { organization: 7, .. })));
    store.rows.insert(1, row);
    assert_eq!(store.active(7, 2, 301), (2, 1));
}

#[test]
fn s2_defect_j_no_error_of_the_control_plane_is_read_as_not_allocated() {
    let mut holder = LeaseHolder::new(holder_config(10), 1, 0).unwrap();
    let mut step = holder.handle(0, &Input::Boot { predecessor: None }).unwrap();
    let mut now = 0;
    let mut asked = 0;
    for round in 0..1_000 {
        assert_eq!(holder.at(), State::Claiming);
        assert!(holder.explain().because.contains("not known yet"), "{}", holder.explain().because);
        assert!(step.effects.iter().all(|effect| !matches!(effect, Effect::Idle | Effect::Over { .. })));
        let question = step.effects.iter().find(|effect| matches!(effect, Effect::Claim { .. })).cloned();
        step = match question {
            // An error, a time-out, or a handshake that is under way.
            Some(question @ Effect::Claim { operation, .. }) if round % 2 == 0 => {
                asked += 1;
                let refusal = LeaseRefusal::Unconfirmed;
                let unconfirmed = lease::Effect::Refused { refusal, epoch: 1 };
                let input = Input::answering(&question, &unconfirmed).unwrap();
                assert_eq!(input, Input::CannotKnow { operation });
                holder.handle(now, &input).unwrap()
            }
            _ => {
                now = step.deadline.expect("it never rests").at;
                holder.tick(now).unwrap()
            }
        };
    }
    assert!(asked > 100, "{asked}");
    assert!(holder.explain().because.contains("in a row nobody could say"));
    // A definite answer ends it.
    let claim = loop {
        let found = step.effects.iter().find(|effect| matches!(effect, Effect::Claim { .. })).cloned();
        if let Some(claim) = found {
            break claim;
        }
        now = step.deadline.unwrap().at;
        step = holder.tick(now).unwrap();
    };
    let mine = lease::Effect::Reclaimed { epoch: 5, organization: 7, term: 1_200 };
    let step = holder.handle(now, &Input::answering(&claim, &mine).unwrap()).unwrap();
    assert_eq!(step.effects, [Effect::Serve { epoch: 5 }]);
}

#[test]
fn whatever_the_row_and_the_command_a_refusal_changes_nothing_and_epochs_only_grow() {
    for row in rows() {
        for command in commands() {
            for now in [10, 50, 99, 100] {
                let (after, answer) = decide(row, &command, now, &terms());
                let led = row.at(now, &terms());
                let what = format!("{row:?}, {command:?} at {now}: {after:?}, {answer:?}");
                assert!(after.epoch >= row.epoch && after.incarnation >= row.incarnation, "{what}");
                assert!(after.deadline().is_none_or(|deadline| deadline.at > now), "{what}");
                match answer {
                    lease::Effect::Refused { epoch, .. } => {
                        assert_eq!((after, epoch), (led, row.epoch), "{what}");
                    }
                    lease::Effect::Allocated { .. } | lease::Effect::Reclaimed { .. } => {
                        // Asked once more, it is answered the same.
                        assert_eq!(decide(after, &command, now, &terms()), (after, answer), "{what}");
                    }
                    _ => assert_eq!(after.epoch, row.epoch, "{what}"),
                }
            }
        }
    }
}

#[test]
fn h7_a_second_word_about_a_handoff_does_not_end_what_the_first_allowed() {
    let mut fence = Fence::at(4);
    fence.hand_over(5, 100);
    fence.hand_over(5, 200);
    assert!(fence.admits(4, 99) && !fence.admits(4, 100) && fence.admits(5, 300));
}
