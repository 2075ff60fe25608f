//! A fleet of relays with one directory, simulated: hosts move and vanish, relays crash and drain, messages to
//! and from the directory are late, lost, doubled and overtaken. The properties of R1 to R4 must hold for every
//! seed:
//!
//! * no row of a dead life outlives its TTL (counted from the last message of that life that arrives);
//! * a stale writer changes nothing;
//! * epochs only grow;
//! * once the faults end, every live tunnel is routable in bounded time, and nothing else is.
//!
//! Every decision is made by the shipping code: [`Peer`] for each connection and [`decide`] for each row.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

use std::collections::{BTreeMap, BTreeSet};

use tidegate::directory::{self, Refusal, Row, decide};
use tidegate::peer::{Config, Effect, Input, Peer, State};
use tidegate::{Machine, Millis, OperationId, Random};

const TTL: Millis = 900;
/// The latest that a directory message arrives, doubled ones included. Well beyond the limit of a write.
const LATEST: Millis = 150;
/// How long after the last fault everything must be routable: silent peers found out (4 pings), a renew, a
/// write that fails and its retry, a host that comes again; and no orphan row left.
const BOUND: Millis = TTL + LATEST + 4 * 200 + 300 + 100 + 300;
/// The longest time for which a relay stays away.
const AWAY: Millis = 320;
const RELAYS: u32 = 4;
const HOSTS: u32 = 12;

type Connection = u32;
type Host = u32;
/// A life of a machine: its number and its incarnation.
type Life = (u32, u64);

fn peer_config() -> Config {
    Config {
        authorize_limit: 100,
        register_limit: 50,
        ping_every: 200,
        ping_misses: 2,
        stall_tolerance: 50,
        renew_every: 300,
        retry_every: 20,
        ..Config::default()
    }
}

/// A store of rows, as an adapter would keep it: by host, with an index by owner.
#[derive(Default)]
struct Store {
    rows: BTreeMap<Host, Row>,
    by_owner: BTreeMap<Life, BTreeSet<Host>>,
    /// The greatest epoch that was granted, by host.
    granted: BTreeMap<Host, u64>,
    /// How many rows were read, for the cost of a call.
    touched: usize,
    seen: BTreeMap<&'static str, u32>,
}

impl Store {
    fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn command(&mut self, host: Host, command: &directory::Input, now: Millis) -> directory::Effect {
        self.touched += 1;
        let stored = self.rows.get(&host).copied().unwrap_or_default();
        let before = stored.at(now);
        let (after, answer) = decide(stored, command, now, TTL);
        self.judge(host, before, command, after, &answer);
        if let Some(owner) = stored.owner {
            let life = (owner.machine, owner.incarnation);
            let rows = self.by_owner.get_mut(&life).expect("every owner is in the index");
            rows.remove(&host);
            if rows.is_empty() {
                self.by_owner.remove(&life);
            }
        }
        if let Some(owner) = after.owner {
            self.by_owner.entry((owner.machine, owner.incarnation)).or_default().insert(host);
        }
        self.rows.insert(host, after);
        answer
    }

    /// The properties that hold for each decision.
    fn judge(
        &mut self,
        host: Host,
        before: Row,
        command: &directory::Input,
        after: Row,
        answer: &directory::Effect,
    ) {
        use directory::Input::{ClearEarlier, ClearOwn, Look, Register, Renew, Unregister};
        let what = || format!("host {host}: {command:?} made {after:?} of {before:?}");
        // Epochs only grow.
        assert!(after.last >= before.last, "{}", what());
        if let directory::Effect::Registered { epoch } = *answer {
            let greatest = self.granted.entry(host).or_default();
            if before.owner.is_some_and(|owner| owner.epoch == epoch) {
                self.count("repeated");
            } else {
                assert!(epoch > *greatest, "{}: {greatest} was granted before", what());
                *greatest = epoch;
            }
        }
        // A refusal changes nothing.
        if let directory::Effect::Refused { refusal, epoch } = *answer {
            assert_eq!((before, before.last), (after, epoch), "{}", what());
            self.count(match refusal {
                Refusal::StaleEpoch => "stale",
                Refusal::OtherOwner => "other",
                Refusal::NoRow => "no row",
            });
        }
        // A stale writer changes nothing: only a later registration, or its own life, ends an owner.
        let Some(owner) = before.owner else { return };
        let own = |machine, incarnation| (machine, incarnation) == (owner.machine, owner.incarnation);
        let stays =
            after.owner.is_some_and(|next| own(next.machine, next.incarnation) && next.epoch == owner.epoch);
        let may_stay = match *command {
            Register { epoch, .. } => epoch < before.last,
            Unregister { machine, incarnation, epoch } => {
                if epoch > before.last {
                    self.count("barred");
                }
                !(own(machine, incarnation) && epoch == owner.epoch)
            }
            ClearEarlier { machine, incarnation } => {
                !(machine == owner.machine && owner.incarnation < incarnation)
            }
            ClearOwn { machine, incarnation } => !own(machine, incarnation),
            Renew { .. } | Look => true,
        };
        assert_eq!(stays, may_stay, "{}", what());
    }

    /// Clears the rows of one life in one call, by the index (R3).
    fn clear(&mut self, life: Life, command: &directory::Input, now: Millis) -> usize {
        let hosts: Vec<Host> = self.by_owner.get(&life).into_iter().flatten().copied().collect();
        for host in &hosts {
            self.command(*host, command, now);
        }
        hosts.len()
    }
}

/// One connection, at its relay.
struct Line {
    peer: Peer,
    host: Host,
    /// The epoch to register with, once the look-up has said it.
    epoch: Option<u64>,
    /// The operation under way: the login check waits for the look-up.
    operation: OperationId,
}

#[derive(Default)]
struct Relay {
    incarnation: u64,
    running: bool,
    draining: bool,
    lines: BTreeMap<Connection, Line>,
    /// The greatest epoch that this life has handed out, and to which connection.
    asked: BTreeMap<Host, (u64, Connection)>,
    admitted: BTreeMap<Host, Connection>,
}

#[derive(Default)]
struct Client {
    current: Option<(u32, Connection)>,
    next: Option<(u32, Connection)>,
}

enum Event {
    Tick { relay: u32, connection: Connection },
    ToStore { life: Life, connection: Connection, operation: OperationId, command: directory::Input },
    FromStore { life: Life, connection: Connection, operation: OperationId, answer: directory::Effect },
    LoggedIn { life: Life, connection: Connection },
    Dial { host: Host },
    DialTimeout { host: Host, connection: Connection },
    ClosedAtRelay { relay: u32, connection: Connection },
    ClosedAtHost { host: Host, connection: Connection },
    Accepted { host: Host, connection: Connection },
    Notice { host: Host, connection: Connection },
    Restart { relay: u32 },
    Flush { life: Life },
    Exit { life: Life },
    Fault,
}

struct Fleet {
    now: Millis,
    sequence: u64,
    queue: BTreeMap<(Millis, u64), Event>,
    random: Random,
    store: Store,
    relays: Vec<Relay>,
    hosts: Vec<Client>,
    /// Which host opened a connection; connections count up.
    opened: BTreeMap<Connection, Host>,
    /// Half-open connections, by the time at which the host was last heard.
    silent: BTreeMap<Connection, Millis>,
    deaths: BTreeMap<Life, Millis>,
    faulty: bool,
}

impl Fleet {
    fn new(seed: u64) -> Self {
        let mut fleet = Self {
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            random: Random::seeded(seed),
            store: Store::default(),
            relays: (0..RELAYS).map(|_| Relay::default()).collect(),
            hosts: (0..HOSTS).map(|_| Client::default()).collect(),
            opened: BTreeMap::new(),
            silent: BTreeMap::new(),
            deaths: BTreeMap::new(),
            faulty: true,
        };
        (0..RELAYS).for_each(|relay| fleet.after(0, Event::Restart { relay }));
        (0..HOSTS).for_each(|host| fleet.after(1, Event::Dial { host }));
        fleet
    }

    fn draw(&mut self, most: u64) -> u64 {
        self.random.between(0, most)
    }

    fn draw_one_of(&mut self, count: u32) -> u32 {
        u32::try_from(self.draw(u64::from(count) - 1)).unwrap()
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.faulty && self.random.between(1, 100) <= percent
    }

    fn after(&mut self, delay: Millis, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), event);
    }

    fn soon(&mut self, event: Event) {
        let delay = self.random.between(1, 30);
        self.after(delay, event);
    }

    /// Delivers a directory message late, twice or not at all.
    fn message(&mut self, event: impl Fn() -> Event) {
        let worst = if self.chance(33) { LATEST } else { 5 };
        if !self.chance(8) {
            let delay = self.random.between(1, worst);
            self.after(delay, event());
        }
        if self.chance(10) {
            let delay = self.random.between(1, LATEST);
            self.after(delay, event());
        }
    }

    fn relay(&mut self, relay: u32) -> &mut Relay {
        self.relays.get_mut(usize::try_from(relay).unwrap()).unwrap()
    }

    fn client(&mut self, host: Host) -> &mut Client {
        self.hosts.get_mut(usize::try_from(host).unwrap()).unwrap()
    }

    fn life(&self, relay: u32) -> Life {
        (relay, self.relays.get(usize::try_from(relay).unwrap()).unwrap().incarnation)
    }

    fn lives(&mut self, life: Life) -> bool {
        self.life(life.0) == life && self.relay(life.0).running
    }

    fn run_for(&mut self, time: Millis) {
        let end = self.now + time;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happen(event);
            self.check_dead_rows();
        }
        self.now = end;
    }

    /// P: no row of a dead life outlives its TTL.
    fn check_dead_rows(&self) {
        for (host, row) in &self.store.rows {
            let Some(owner) = row.at(self.now).owner else { continue };
            if let Some(death) = self.deaths.get(&(owner.machine, owner.incarnation)) {
                let latest = death + LATEST + TTL;
                assert!(self.now < latest, "host {host}: {row:?} outlives its relay, dead at {death}");
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Fault => self.fault(),
            Event::Restart { relay } => self.restart(relay),
            Event::Tick { relay, connection } => {
                let now = self.now;
                let Some(line) = self.relay(relay).lines.get_mut(&connection) else { return };
                let step = line.peer.tick(now).unwrap();
                self.carry_out(relay, connection, step.effects, step.deadline.map(|deadline| deadline.at));
            }
            Event::ToStore { life, connection, operation, command } => {
                let host = self.opened[&connection];
                let answer = self.store.command(host, &command, self.now);
                self.message(|| Event::FromStore { life, connection, operation, answer: answer.clone() });
            }
            Event::FromStore { life, connection, operation, answer } => {
                if self.lives(life) {
                    self.answered(life, connection, operation, &answer);
                }
            }
            Event::LoggedIn { life, connection } => {
                if self.lives(life)
                    && let Some(line) = self.relay(life.0).lines.get(&connection)
                {
                    let operation = line.operation;
                    self.tell(life.0, connection, &Input::Done { operation });
                }
            }
            Event::Dial { host } => self.dial(host),
            Event::DialTimeout { host, connection } => {
                if let Some((relay, next)) = self.client(host).next
                    && next == connection
                {
                    self.client(host).next = None;
                    self.soon(Event::ClosedAtRelay { relay, connection });
                    self.soon(Event::Dial { host });
                }
            }
            Event::ClosedAtRelay { relay, connection } => {
                if !self.silent.contains_key(&connection) {
                    self.tell(relay, connection, &Input::Closed);
                }
            }
            Event::ClosedAtHost { host, connection } => {
                let client = self.client(host);
                if client.current.is_some_and(|(_, current)| current == connection) {
                    client.current = None;
                } else if client.next.is_some_and(|(_, next)| next == connection) {
                    client.next = None;
                }
                if client.next.is_none() && client.current.is_none() {
                    self.soon(Event::Dial { host });
                }
            }
            Event::Accepted { host, connection } => {
                let client = self.client(host);
                if let Some(next) = client.next.take_if(|(_, next)| *next == connection)
                    && let Some((relay, connection)) = client.current.replace(next)
                {
                    // Make before break: the old one is let go only now.
                    self.soon(Event::ClosedAtRelay { relay, connection });
                }
            }
            Event::Notice { host, connection } => {
                if self.client(host).current.is_some_and(|(_, current)| current == connection) {
                    self.dial(host);
                }
            }
            Event::Flush { life } => {
                if self.lives(life) {
                    let (machine, incarnation) = life;
                    let clear = directory::Input::ClearOwn { machine, incarnation };
                    self.store.clear(life, &clear, self.now);
                    let connections: Vec<_> = self.relay(machine).lines.keys().copied().collect();
                    for connection in connections {
                        self.tell(machine, connection, &Input::RowsCleared);
                        self.tell(machine, connection, &Input::Close { code: 4001 });
                    }
                }
            }
            Event::Exit { life } => {
                if self.lives(life) {
                    self.die(life.0);
                }
            }
        }
    }

    fn fault(&mut self) {
        if !self.faulty {
            return;
        }
        let pause = self.draw(60) + 5;
        self.after(pause, Event::Fault);
        let (relay, host) = (self.draw_one_of(RELAYS), self.draw_one_of(HOSTS));
        match self.draw(9) {
            0 if self.relay(relay).running => {
                self.store.count("crash");
                self.die(relay);
            }
            1 if self.relay(relay).running && !self.relay(relay).draining => {
                self.store.count("drain");
                self.relay(relay).draining = true;
                let connections: Vec<_> = self.relay(relay).lines.keys().copied().collect();
                for connection in connections {
                    self.tell(relay, connection, &Input::Drain);
                    if self.relay(relay).lines.get(&connection).is_some_and(|l| l.peer.at() == State::Up) {
                        self.tell(relay, connection, &Input::Tell { within: None });
                    }
                }
                let life = self.life(relay);
                self.after(80, Event::Flush { life });
                self.after(150, Event::Exit { life });
            }
            2 => {
                // The host vanishes without a word, and comes back elsewhere.
                if let Some((_, connection)) = self.client(host).current.take() {
                    self.store.count("vanished");
                    self.silent.insert(connection, self.now);
                    self.soon(Event::Dial { host });
                }
            }
            3 => {
                // The directory loses a row (not the epoch).
                if let Some(owner) = self.store.rows.get(&host).and_then(|row| row.owner) {
                    let (machine, incarnation) = (owner.machine, owner.incarnation);
                    self.store.command(host, &directory::Input::ClearOwn { machine, incarnation }, self.now);
                }
            }
            // The host moves of its own accord.
            _ => self.dial(host),
        }
    }

    fn restart(&mut self, relay: u32) {
        let incarnation = self.life(relay).1 + 1;
        // R3: rows of earlier lives go before it listens.
        let lives = self.store.by_owner.range((relay, 0)..(relay, incarnation));
        let earlier: Vec<Life> = lives.map(|(life, _)| *life).collect();
        for life in earlier {
            let clear = directory::Input::ClearEarlier { machine: relay, incarnation };
            self.store.clear(life, &clear, self.now);
        }
        *self.relay(relay) = Relay { incarnation, running: true, ..Relay::default() };
    }

    fn die(&mut self, relay: u32) {
        self.deaths.insert(self.life(relay), self.now);
        self.relay(relay).running = false;
        let lines = std::mem::take(&mut self.relay(relay).lines);
        for (connection, line) in lines {
            self.soon(Event::ClosedAtHost { host: line.host, connection });
        }
        let pause = self.random.between(20, AWAY);
        self.after(pause, Event::Restart { relay });
    }

    fn dial(&mut self, host: Host) {
        if self.client(host).next.is_some() {
            return;
        }
        let relay = self.draw_one_of(RELAYS);
        if !self.relay(relay).running {
            return self.soon(Event::Dial { host });
        }
        let connection = self.opened.last_key_value().map_or(1, |(last, _)| last + 1);
        self.opened.insert(connection, host);
        self.client(host).next = Some((relay, connection));
        self.after(200, Event::DialTimeout { host, connection });
        let mut peer = Peer::new(peer_config(), 1, self.now).unwrap();
        if self.relay(relay).draining {
            peer.handle(self.now, &Input::Drain).unwrap();
        }
        self.relay(relay).lines.insert(connection, Line { peer, host, epoch: None, operation: 0 });
        self.tell(relay, connection, &Input::Connected);
    }

    /// Gives an input to a peer and carries out what it answers.
    fn tell(&mut self, relay: u32, connection: Connection, input: &Input) {
        let now = self.now;
        let Some(line) = self.relay(relay).lines.get_mut(&connection) else { return };
        let step = line.peer.handle(now, input).unwrap_or_else(|rejection| panic!("{rejection}"));
        self.carry_out(relay, connection, step.effects, step.deadline.map(|deadline| deadline.at));
    }

    fn carry_out(&mut self, relay: u32, connection: Connection, effects: Vec<Effect>, wake: Option<Millis>) {
        let life = self.life(relay);
        let (machine, incarnation) = life;
        let host = self.opened[&connection];
        if let Some(at) = wake {
            // Timers are late, too.
            let late = if self.faulty { self.draw(3) } else { 0 };
            self.after(at - self.now + late, Event::Tick { relay, connection });
        }
        for effect in effects {
            let epoch = self.relay(relay).lines.get(&connection).and_then(|line| line.epoch).unwrap_or(0);
            let operation = operation_of(&effect).unwrap_or(0);
            if let Some(line) = self.relay(relay).lines.get_mut(&connection) {
                line.operation = line.operation.max(operation);
            }
            let send = |operation, command: directory::Input| {
                move || Event::ToStore { life, connection, operation, command: command.clone() }
            };
            match effect {
                Effect::Authorize { .. } => {
                    self.message(send(operation, directory::Input::Look));
                }
                Effect::Register { .. } => {
                    self.message(send(operation, directory::Input::Register { machine, incarnation, epoch }));
                }
                Effect::Renew { .. } => {
                    let epoch = epoch + 1;
                    self.message(send(operation, directory::Input::Renew { machine, incarnation, epoch }));
                }
                Effect::Unregister { .. } => {
                    let epoch = epoch + 1;
                    let command = directory::Input::Unregister { machine, incarnation, epoch };
                    self.message(send(operation, command));
                }
                Effect::Admit => {
                    assert!(!self.relay(relay).draining, "R1: nobody is admitted while the relay drains");
                    match self.relay(relay).admitted.get(&host).copied() {
                        // The answer to an older registration came after the one to a newer.
                        Some(newer) if newer > connection => self.tell(relay, connection, &Input::Replaced),
                        older => {
                            self.relay(relay).admitted.insert(host, connection);
                            if let Some(older) = older {
                                self.tell(relay, older, &Input::Replaced);
                            }
                            self.soon(Event::Accepted { host, connection });
                        }
                    }
                }
                Effect::Sample => {
                    let ago = self.silent.get(&connection).map_or(0, |at| self.now - at);
                    self.tell(relay, connection, &Input::Inbound { ago });
                }
                Effect::Notify { .. } => self.soon(Event::Notice { host, connection }),
                Effect::CloseSocket { code } => {
                    self.store.count(match code {
                        4409 => "closed 4409",
                        4001 => "closed 4001",
                        1001 => "closed 1001",
                        1011 => "closed 1011",
                        1008 => "closed 1008",
                        _ => "closed otherwise",
                    });
                    self.soon(Event::ClosedAtHost { host, connection });
                }
                Effect::Departed { .. } => {
                    let admitted = &mut self.relay(relay).admitted;
                    if admitted.get(&host) == Some(&connection) {
                        admitted.remove(&host);
                    }
                }
                Effect::Ping | Effect::Unlisted => {}
            }
        }
        let relay = self.relay(relay);
        if relay.lines.get(&connection).is_some_and(|line| line.peer.at() == State::Gone) {
            relay.lines.remove(&connection);
        }
    }

    /// An answer of the directory, at the relay: it keeps the epochs, the peer hears what it means.
    fn answered(
        &mut self,
        life: Life,
        connection: Connection,
        operation: OperationId,
        answer: &directory::Effect,
    ) {
        use directory::Effect::{Kept, Nobody, Owner, Refused, Registered, Removed, Renewed};
        let relay = self.relay(life.0);
        let Some(host) = relay.lines.get(&connection).map(|line| line.host) else { return };
        let (asked, by) = relay.asked.get(&host).copied().unwrap_or_default();
        let overtaken = by > connection && relay.lines.contains_key(&by);
        let line = relay.lines.get_mut(&connection).unwrap();
        if line.operation != operation {
            // Too late: another operation is under way.
            return;
        }
        let input = match *answer {
            Owner { epoch, .. } | Nobody { epoch } => {
                // Handed out in the order in which they opened; one that was overtaken gets none.
                if line.epoch.is_none() && !overtaken {
                    let epoch = epoch.max(asked);
                    line.epoch = Some(epoch);
                    relay.asked.insert(host, (epoch + 1, connection));
                    self.soon(Event::LoggedIn { life, connection });
                }
                return;
            }
            Refused { refusal: Refusal::NoRow, .. } if overtaken => Input::Failed { operation },
            Refused { refusal: refusal @ Refusal::NoRow, epoch } => {
                let epoch = epoch.max(asked);
                line.epoch = Some(epoch);
                relay.asked.insert(host, (epoch + 1, connection));
                Input::Fenced { operation, refusal }
            }
            Refused { refusal, .. } => Input::Fenced { operation, refusal },
            Registered { .. } | Renewed { .. } | Removed { .. } | Kept => Input::Done { operation },
        };
        self.tell(life.0, connection, &input);
    }

    /// P: every live tunnel is routable, and nothing else is.
    fn check_routable(&self, seed: u64) {
        for (host, client) in (0..).zip(&self.hosts) {
            let (machine, connection) =
                client.current.unwrap_or_else(|| panic!("seed {seed}: host {host} is away"));
            let owner = self.store.rows[&host].at(self.now).owner;
            let owner =
                owner.unwrap_or_else(|| panic!("seed {seed}: host {host} on relay {machine} has no row"));
            assert_eq!((owner.machine, owner.incarnation), self.life(machine), "seed {seed}: host {host}");
            let relay = &self.relays[usize::try_from(machine).unwrap()];
            assert_eq!(relay.admitted.get(&host), Some(&connection), "seed {seed}: host {host}");
            assert_eq!(relay.lines[&connection].peer.at(), State::Up, "seed {seed}: host {host}");
        }
        let lines: usize = self.relays.iter().map(|relay| relay.lines.len()).sum();
        assert_eq!(lines, self.hosts.len(), "seed {seed}: a connection without a host");
    }
}

/// The operation that an effect asks for.
fn operation_of(effect: &Effect) -> Option<OperationId> {
    match *effect {
        Effect::Authorize { operation, .. }
        | Effect::Register { operation, .. }
        | Effect::Renew { operation, .. }
        | Effect::Unregister { operation, .. } => Some(operation),
        _ => None,
    }
}

#[test]
fn rows_tell_the_truth_in_bounded_time_whatever_happened_before() {
    let mut seen: BTreeMap<&'static str, u32> = BTreeMap::new();
    for seed in 0..100 {
        let mut fleet = Fleet::new(seed);
        for _ in 0..3 {
            fleet.faulty = true;
            fleet.after(100, Event::Fault);
            fleet.run_for(3_000);
            fleet.faulty = false;
            fleet.run_for(LATEST + AWAY + BOUND);
            fleet.check_routable(seed);
        }
        for (what, count) in fleet.store.seen {
            *seen.entry(what).or_default() += count;
        }
    }
    // What the properties are about did happen.
    for what in [
        "crash",
        "drain",
        "vanished",
        "stale",
        "other",
        "no row",
        "repeated",
        "barred",
        "closed 4409",
        "closed 4001",
        "closed 1001",
        "closed 1011",
        "closed 1008",
    ] {
        assert!(seen.get(what).is_some_and(|count| *count >= 50), "{what}: {seen:?}");
    }
    assert!(!seen.contains_key("closed otherwise"), "{seen:?}");
    println!("{seen:?}");
}

#[test]
fn s1_defect_6_a_clear_by_owner_costs_only_that_owners_rows() {
    let mut store = Store::default();
    for host in 0..10_000 {
        let register = directory::Input::Register { machine: host % 100, incarnation: 1, epoch: 0 };
        store.command(host, &register, 0);
    }
    store.touched = 0;
    let cleared = store.clear((7, 1), &directory::Input::ClearOwn { machine: 7, incarnation: 1 }, 1);
    assert_eq!((cleared, store.touched), (100, 100));
    assert!(store.rows.iter().all(|(host, row)| row.owner.is_some() == (host % 100 != 7)));
}
