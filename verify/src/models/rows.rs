//! One host's row in the directory, its connections at two relays, and messages that are late, lost and doubled
//! (R1–R4, D4, D5).
//!
//! The directory is the shipping [`decide`], the connections are shipping peers; between them is a network that keeps
//! messages for as long as it likes, also beyond the death of their sender. A relay may restart as a later life, and
//! may drain. Then the faults end: messages arrive, and the host connects when it has no connection.

use tidegate::directory::{self, Refusal, Row, decide};
use tidegate::peer::{Config, Effect, Input, Peer, State as Place};
use tidegate::{Machine, Millis, Random, Rules};

use crate::explore::Watch;
use crate::liveness::{Fairness, LeadsTo};
use crate::pool::{Loan, Part, Pool};
use crate::vectors::Described;
use crate::world::{Cells, Explored, Moment, Slot, Transition, World, transitions};

const TTL: Millis = 200;
const DRAIN_CODE: u16 = 4001;

/// How much may go on at a time, and how often things may fail.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at a time.
    pub connections: usize,
    /// Connections until the faults end; after that they are not bounded.
    pub opened: u8,
    /// Messages on the way at a time; what is sent beyond is lost.
    pub messages: usize,
    /// Doubled messages on the way at a time.
    pub doubles: usize,
    /// Restarts of the first relay.
    pub restarts: u8,
    /// Whether the first relay may drain.
    pub drains: bool,
}

/// The world.
pub struct Rows {
    pool: Pool<Peer>,
    grounds: Pool<Ground>,
    traffics: Pool<Traffic<Part<Peer>>>,
    bounds: Bounds,
    config: Config,
    cells: Cells,
}

/// What is on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Body {
    Register(u64),
    Renew(u64),
    Unregister(u64),
    Done,
    Fenced(Refusal, u64),
}

/// A message of a connection's peer, to the directory or from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Message {
    body: Body,
    /// The place of the connection; none when it is gone and nobody waits for an answer.
    connection: Option<u8>,
    operation: u32,
    life: Life,
    /// It is a second copy.
    double: bool,
}

/// A relay's number and incarnation.
type Life = (u32, u64);

/// A connection at a relay.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Connection<P> {
    peer: P,
    life: Life,
    /// The epoch that it registers with; none when a newer connection has overtaken it.
    epoch: Option<u64>,
    /// The host's end is open.
    open: bool,
    /// The directory granted it its row, once.
    granted: bool,
}

/// One relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Relay {
    incarnation: u64,
    draining: bool,
    cleared: bool,
    /// The greatest epoch that this life has handed out.
    asked: Option<u64>,
    /// Whether an earlier life is dead: for how long, since its death or its last message; up to a TTL.
    dead: Option<Millis>,
}

/// The directory, and the relays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ground {
    row: Row,
    relays: [Relay; 2],
}

/// The connections, and what is on the way from them and to them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Traffic<P> {
    connections: Vec<Connection<P>>,
    messages: Vec<Message>,
}

/// The situation; with what is in it to work on, or with the parts, to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Situation<G, T> {
    ground: G,
    traffic: T,
    settled: bool,
    restarts: u8,
    opened: u8,
}

type Working = Situation<Loan<Ground>, Traffic<Slot<Peer>>>;
type Kept = Situation<Part<Ground>, Part<Traffic<Part<Peer>>>>;

/// One thing that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To the next deadline, of a peer or of the row.
    Time,
    /// The host opens a connection to a relay.
    Open(usize),
    /// The host closes, or is gone.
    Close(usize),
    /// A message arrives; it may still come a second time.
    Deliver(usize, bool),
    /// It does not.
    Lose(usize),
    /// The first relay dies and comes back as a later life.
    Restart,
    /// It drains: registrations are refused, tunnels are told.
    Drain,
    /// Its rows are cleared in one call, and its tunnels are closed.
    Clear,
    /// No more faults.
    Settle,
}

const ADMITTED_GRANTED: usize = 0;
const NO_DEAD_ROW: usize = 1;
const HONEST: usize = 2;
const ONE_LIFE: usize = 3;
const NOT_CLEARED: usize = 4;

const TIME: u8 = 0;
const REPLY: u8 = 1;
const DIAL: u8 = 2;

impl Rows {
    /// A world with these bounds.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let config = Config {
            authorize_limit: 100,
            register_limit: 50,
            ping_every: 50,
            ping_misses: 2,
            stall_tolerance: 100,
            renew_every: 100,
            retry_every: 50,
            ..Config::default()
        };
        Self {
            pool: Pool::default(),
            grounds: Pool::default(),
            traffics: Pool::default(),
            bounds,
            config,
            cells: Cells::of::<Peer>(0),
        }
    }

    /// Something happened to a peer: carries out what it wants, and what follows from that.
    fn carry(
        &self,
        at: &mut Working,
        which: usize,
        input: Option<&Input>,
        passed: Millis,
        moment: &mut Moment<'_>,
    ) {
        let Some(connection) = at.traffic.connections.get_mut(which) else { return };
        let peer = connection.peer.edit(&self.pool);
        let answer = match input {
            Some(input) => moment.handle(self.cells, which, peer, input),
            None => moment.tick(self.cells, which, peer, passed),
        };
        moment.watch.check(HONEST, answer.is_ok());
        let Ok(step) = answer else { return };
        for effect in step.effects {
            let Some(connection) = at.traffic.connections.get_mut(which) else { return };
            let life = connection.life;
            let mut send = |operation: u32, epoch: Option<u64>, body: fn(u64) -> Body| {
                let full = at.traffic.messages.len() >= self.bounds.messages && !at.settled;
                if let (Some(epoch), false) = (epoch, full) {
                    let connection = Some(which as u8);
                    at.traffic.messages.push(Message {
                        body: body(epoch),
                        connection,
                        operation,
                        life,
                        double: false,
                    });
                }
            };
            match effect {
                // The login check is the peer's alone: here it is good, at once.
                Effect::Authorize { operation, .. } => {
                    self.carry(at, which, Some(&Input::Done { operation }), 0, moment);
                }
                Effect::Register { operation, .. } => {
                    let newer = at.traffic.connections.iter().skip(which + 1);
                    let overtaken =
                        newer.filter(|other| other.life == life).any(|other| other.epoch.is_some());
                    let epoch = at.traffic.connections[which].epoch.or_else(|| {
                        // Whoever overtook it is gone: it looks again.
                        let last = at.ground.row.last;
                        let asked = &mut at.ground.relays[life.0 as usize].asked;
                        let next = last.max(asked.map_or(0, |asked| asked + 1));
                        *asked = (!overtaken).then_some(next).or(*asked);
                        (!overtaken).then_some(next)
                    });
                    at.traffic.connections[which].epoch = epoch;
                    let full = at.traffic.messages.len() >= self.bounds.messages && !at.settled;
                    let mut send = |operation: u32, epoch: Option<u64>, body: fn(u64) -> Body| {
                        if let (Some(epoch), false) = (epoch, full) {
                            let connection = Some(which as u8);
                            at.traffic.messages.push(Message {
                                body: body(epoch),
                                connection,
                                operation,
                                life,
                                double: false,
                            });
                        }
                    };
                    send(operation, epoch, Body::Register);
                    if epoch.is_none() {
                        // Overtaken: its write counts as failed.
                        self.carry(at, which, Some(&Input::Failed { operation }), 0, moment);
                    }
                }
                Effect::Renew { operation, .. } => {
                    send(operation, connection.epoch.map(|epoch| epoch + 1), Body::Renew);
                }
                Effect::Unregister { operation, .. } => {
                    send(operation, connection.epoch.map(|epoch| epoch + 1), Body::Unregister);
                }
                Effect::Admit => {
                    moment.watch.check(ADMITTED_GRANTED, connection.granted);
                    self.admitted(at, which, moment);
                }
                // Hosts answer pings here, so a sample finds a frame.
                Effect::Sample => self.carry(at, which, Some(&Input::Inbound { ago: 0 }), 0, moment),
                Effect::CloseSocket { .. } => connection.open = false,
                Effect::Notify { .. } | Effect::Ping | Effect::Departed { .. } | Effect::Unlisted => {}
            }
        }
    }

    /// A newer connection at the same relay replaces an older one; also when the older one is admitted later.
    fn admitted(&self, at: &mut Working, which: usize, moment: &mut Moment<'_>) {
        let life = at.traffic.connections[which].life;
        let is_admitted = |connection: &Connection<Slot<Peer>>| {
            matches!(connection.peer.get(&self.pool).at(), Place::Up | Place::Told)
        };
        let same = |other: usize| {
            other != which
                && at.traffic.connections[other].life == life
                && is_admitted(&at.traffic.connections[other])
        };
        let others: Vec<usize> = (0..at.traffic.connections.len()).filter(|other| same(*other)).collect();
        for other in others {
            let older = other.min(which);
            self.carry(at, older, Some(&Input::Replaced), 0, moment);
        }
    }

    /// A message to the directory arrives: decides, and answers.
    fn store(&self, at: &mut Working, message: Message) {
        let (machine, incarnation) = message.life;
        let command = match message.body {
            Body::Register(epoch) => directory::Input::Register { machine, incarnation, epoch },
            Body::Renew(epoch) => directory::Input::Renew { machine, incarnation, epoch },
            Body::Unregister(epoch) => directory::Input::Unregister { machine, incarnation, epoch },
            Body::Done | Body::Fenced(..) => return,
        };
        let before = at.ground.row;
        let (row, answer) = decide(before, &command, 0, TTL);
        at.ground.row = row;
        let relay = &mut at.ground.relays[machine as usize];
        if incarnation < relay.incarnation {
            relay.dead = Some(0);
        }
        let body = match answer {
            directory::Effect::Refused { refusal, epoch } => Body::Fenced(refusal, epoch),
            _ => Body::Done,
        };
        if let (directory::Effect::Registered { .. }, Some(which)) = (&answer, message.connection)
            && let Some(connection) = at.traffic.connections.get_mut(usize::from(which))
        {
            connection.granted = true;
        }
        if message.connection.is_some() && (at.settled || at.traffic.messages.len() < self.bounds.messages) {
            at.traffic.messages.push(Message { body, double: false, ..message });
        }
    }

    fn command(at: &mut Working, command: &directory::Input) {
        at.ground.row = decide(at.ground.row, command, 0, TTL).0;
    }

    fn place(&self, connection: &Connection<Part<Peer>>) -> Place {
        self.pool.get(connection.peer).at()
    }

    fn deadline(&self, at: &Working) -> Option<Millis> {
        let peers = at.traffic.connections.iter().filter_map(|connection| {
            let peer = connection.peer.get(&self.pool);
            peer.deadline().map(|due| due.at - peer.clock().now())
        });
        // The row's time is kept relative to now.
        let row = at.ground.row.owner.map(|owner| owner.until);
        let dead = at.ground.relays[0].dead.filter(|dead| *dead < TTL).map(|dead| TTL - dead);
        peers.chain(row).chain(dead).min()
    }
}

/// Moves all epochs down. Those that are more than one below the smallest that any decision still tells apart are as
/// stale as each other, also when they are counted up by one.
pub(super) fn shift_epochs(row: &mut Row, others: &mut [&mut u64]) {
    let least = row.owner.map_or(row.last, |owner| row.last.min(owner.epoch.saturating_sub(1)));
    let by = least.saturating_sub(2);
    row.last = row.last.saturating_sub(by);
    if let Some(owner) = &mut row.owner {
        owner.epoch = owner.epoch.saturating_sub(by);
    }
    for epoch in others {
        **epoch = if **epoch + 1 < least { 0 } else { epoch.saturating_sub(by) };
    }
}

impl World for Rows {
    type Whole = Working;
    type State = Kept;
    type Action = Action;

    fn start(&self) -> Vec<Self::Whole> {
        let relay = Relay { incarnation: 1, draining: false, cleared: false, asked: None, dead: None };
        vec![Situation {
            ground: Loan::new(Ground { row: Row::default(), relays: [relay; 2] }),
            traffic: Traffic { connections: Vec::new(), messages: Vec::new() },
            settled: false,
            restarts: 0,
            opened: 0,
        }]
    }

    fn open(&self, state: &Self::State) -> Self::Whole {
        let traffic = self.traffics.get(state.traffic);
        let connections = traffic.connections.iter().map(|connection| Connection {
            peer: Slot::Kept(connection.peer),
            life: connection.life,
            epoch: connection.epoch,
            open: connection.open,
            granted: connection.granted,
        });
        Situation {
            ground: self.grounds.lend(state.ground),
            traffic: Traffic { connections: connections.collect(), messages: traffic.messages.clone() },
            settled: state.settled,
            restarts: state.restarts,
            opened: state.opened,
        }
    }

    fn close(&self, mut whole: Self::Whole) -> Self::State {
        // What is over and has no message on the way is forgotten.
        let mut which = 0;
        while which < whole.traffic.connections.len() {
            let over = whole.traffic.connections[which].peer.get(&self.pool).at() == Place::Gone;
            if over {
                whole.traffic.connections.remove(which);
                forget(&mut whole.traffic.messages, which);
            } else {
                which += 1;
            }
        }
        let mut epochs: Vec<&mut u64> = Vec::new();
        for connection in &mut whole.traffic.connections {
            epochs.extend(connection.epoch.as_mut());
        }
        for message in &mut whole.traffic.messages {
            match &mut message.body {
                Body::Register(epoch) | Body::Fenced(_, epoch) => epochs.push(epoch),
                // One more than what was registered with.
                Body::Renew(epoch) | Body::Unregister(epoch) => epochs.push(epoch),
                Body::Done => {}
            }
        }
        let Ground { row, relays: [first, second] } = &mut *whole.ground;
        epochs.extend(first.asked.as_mut());
        epochs.extend(second.asked.as_mut());
        shift_epochs(row, &mut epochs);
        let mut connections = Vec::with_capacity(whole.traffic.connections.len());
        for (which, connection) in whole.traffic.connections.into_iter().enumerate() {
            let own = |message: &&mut Message| message.connection == Some(which as u8);
            let mut numbers: Vec<(&'static str, &mut u32)> = whole
                .traffic
                .messages
                .iter_mut()
                .filter(own)
                .map(|message| ("operation", &mut message.operation))
                .collect();
            let peer = connection.peer.keep(&self.pool, &mut numbers);
            let Connection { life, epoch, open, granted, .. } = connection;
            connections.push(Connection { peer, life, epoch, open, granted });
        }
        whole.traffic.messages.sort_unstable();
        Situation {
            ground: whole.ground.keep(&self.grounds, |ground| ground),
            traffic: self.traffics.part(Traffic { connections, messages: whole.traffic.messages }),
            settled: whole.settled,
            restarts: whole.restarts,
            opened: whole.opened,
        }
    }

    fn actions(&self, whole: &Self::Whole, actions: &mut Vec<Action>) {
        let wild = !whole.settled;
        if (wild || whole.traffic.messages.is_empty()) && self.deadline(whole).is_some() {
            actions.push(Action::Time);
        }
        let connected = whole.traffic.connections.iter().any(|connection| {
            let relay = &whole.ground.relays[connection.life.0 as usize];
            connection.open && !relay.draining
        });
        for relay in 0..2 {
            if whole.traffic.connections.len() < self.bounds.connections
                && (whole.opened < self.bounds.opened || !wild)
                && (wild || (!connected && !whole.ground.relays[relay].draining))
            {
                actions.push(Action::Open(relay));
            }
        }
        for (which, connection) in whole.traffic.connections.iter().enumerate() {
            if wild && connection.open {
                actions.push(Action::Close(which));
            }
        }
        let doubled = whole.traffic.messages.iter().filter(|message| message.double).count();
        for which in 0..whole.traffic.messages.len() {
            actions.push(Action::Deliver(which, false));
            if wild {
                actions.push(Action::Lose(which));
                if doubled < self.bounds.doubles && !whole.traffic.messages[which].double {
                    actions.push(Action::Deliver(which, true));
                }
            }
        }
        if wild {
            actions.push(Action::Settle);
            if whole.restarts < self.bounds.restarts {
                actions.push(Action::Restart);
            }
            if self.bounds.drains && !whole.ground.relays[0].draining {
                actions.push(Action::Drain);
            }
        }
        if whole.ground.relays[0].draining && !whole.ground.relays[0].cleared {
            actions.push(Action::Clear);
        }
    }

    fn act(&self, at: &mut Self::Whole, action: &Action, moment: &mut Moment<'_>) -> bool {
        let count = at.traffic.connections.len();
        match *action {
            Action::Settle => at.settled = true,
            Action::Time => {
                let Some(passed) = self.deadline(at) else { return false };
                if let Some(owner) = &mut at.ground.row.owner {
                    owner.until = owner.until.saturating_sub(passed);
                }
                at.ground.row = at.ground.row.at(0);
                for relay in &mut at.ground.relays {
                    relay.dead = relay.dead.map(|dead| (dead + passed).min(TTL));
                }
                (0..count).for_each(|which| self.carry(at, which, None, passed, moment));
            }
            Action::Open(number) => {
                let Ground { row, relays } = &mut *at.ground;
                let relay = &mut relays[number];
                // The look-up when the socket opens, or the next number that this life has not handed out.
                let epoch = row.last.max(relay.asked.map_or(0, |asked| asked + 1));
                relay.asked = Some(epoch);
                at.opened += u8::from(!at.settled);
                let draining = relay.draining;
                let life = (number as u32, relay.incarnation);
                let Ok(peer) = Peer::drawing(self.config.clone(), Random::Script(Vec::new()), 0) else {
                    return false;
                };
                at.traffic.connections.push(Connection {
                    peer: Slot::new(peer),
                    life,
                    epoch: Some(epoch),
                    open: true,
                    granted: false,
                });
                if draining {
                    self.carry(at, count, Some(&Input::Drain), 0, moment);
                }
                self.carry(at, count, Some(&Input::Connected), 0, moment);
            }
            Action::Close(which) => {
                at.traffic.connections[which].open = false;
                self.carry(at, which, Some(&Input::Closed), 0, moment);
            }
            Action::Deliver(which, double) => {
                let message = at.traffic.messages.remove(which);
                if double {
                    at.traffic.messages.push(Message { double: true, ..message });
                }
                match (message.body, message.connection) {
                    (Body::Done, Some(connection)) => {
                        let operation = message.operation;
                        self.carry(at, usize::from(connection), Some(&Input::Done { operation }), 0, moment);
                    }
                    (Body::Fenced(refusal, last), Some(connection)) => {
                        let operation = message.operation;
                        let which = usize::from(connection);
                        self.another_epoch(at, which, operation, refusal, last);
                        self.carry(at, which, Some(&Input::Fenced { operation, refusal }), 0, moment);
                    }
                    (Body::Done | Body::Fenced(..), None) => {}
                    _ => self.store(at, message),
                }
            }
            Action::Lose(which) => {
                at.traffic.messages.remove(which);
            }
            Action::Restart => {
                at.restarts += 1;
                let incarnation = at.ground.relays[0].incarnation + 1;
                at.ground.relays[0] =
                    Relay { incarnation, draining: false, cleared: false, asked: None, dead: Some(0) };
                let mut which = 0;
                while which < at.traffic.connections.len() {
                    if at.traffic.connections[which].life.0 == 0 {
                        at.traffic.connections.remove(which);
                        forget(&mut at.traffic.messages, which);
                    } else {
                        which += 1;
                    }
                }
                // R3: before it listens.
                let before = at.ground.row;
                Self::command(at, &directory::Input::ClearEarlier { machine: 0, incarnation });
                let other = before.owner.is_some_and(|owner| owner.machine != 0);
                moment.watch.check(
                    NOT_CLEARED,
                    before.last == at.ground.row.last && (!other || before == at.ground.row),
                );
            }
            Action::Drain => {
                at.ground.relays[0].draining = true;
                for which in 0..count {
                    if at.traffic.connections[which].life.0 == 0 {
                        self.carry(at, which, Some(&Input::Drain), 0, moment);
                        let up = at.traffic.connections[which].peer.get(&self.pool).at() == Place::Up;
                        if up {
                            self.carry(at, which, Some(&Input::Tell { within: None }), 0, moment);
                        }
                    }
                }
            }
            Action::Clear => {
                at.ground.relays[0].cleared = true;
                let incarnation = at.ground.relays[0].incarnation;
                Self::command(at, &directory::Input::ClearOwn { machine: 0, incarnation });
                for which in 0..count {
                    if at.traffic.connections[which].life.0 == 0 {
                        self.carry(at, which, Some(&Input::RowsCleared), 0, moment);
                        let over = matches!(
                            at.traffic.connections[which].peer.get(&self.pool).at(),
                            Place::Leaving | Place::Gone
                        );
                        if !over {
                            self.carry(at, which, Some(&Input::Close { code: DRAIN_CODE }), 0, moment);
                        }
                    }
                }
            }
        }
        true
    }

    fn properties(&self) -> Vec<&'static str> {
        vec![
            "R1: admitted only after the directory granted the row",
            "R2: no row of a dead life outlives a TTL after its death or its last message",
            "contract: what an honest relay says is never refused",
            "R1: at most one connection of a host is admitted at one relay",
            "R3: a clear leaves what is not its own",
        ]
    }

    fn inspect(&self, state: &Self::State, watch: &mut Watch) {
        let Ground { row, relays } = self.grounds.get(state.ground);
        if let Some(owner) = row.owner {
            let relay = &relays[owner.machine as usize];
            if owner.incarnation < relay.incarnation {
                watch.check(NO_DEAD_ROW, relay.dead.is_some_and(|dead| owner.until + dead <= TTL));
            }
        }
        for relay in 0..2 {
            let up = |connection: &&Connection<Part<Peer>>| {
                connection.life.0 == relay && self.place(connection) == Place::Up
            };
            watch.check(ONE_LIFE, self.connections(state).iter().filter(up).count() <= 1);
        }
    }

    fn may_end(&self, _: &Self::State) -> bool {
        false
    }

    fn fairness(&self, action: &Action) -> Option<u8> {
        match action {
            Action::Time => Some(TIME),
            Action::Deliver(_, false) | Action::Clear => Some(REPLY),
            Action::Open(_) => Some(DIAL),
            _ => None,
        }
    }

    fn liveness(&self) -> Vec<LeadsTo<Explored<Self>>> {
        let fairness = Fairness { weak: 1 << TIME | 1 << REPLY | 1 << DIAL, strong: 0 };
        vec![
            LeadsTo {
                name: "P: after the faults a live tunnel is routable in the end",
                concerns: |_, state| state.settled,
                goal: |model, state| {
                    let row = model.0.grounds.get(state.ground).row;
                    row.owner.is_some_and(|owner| {
                        model.0.connections(state).iter().any(|connection| {
                            connection.life == (owner.machine, owner.incarnation)
                                && connection.epoch == Some(owner.epoch - 1)
                                && connection.open
                                && matches!(model.0.place(connection), Place::Up | Place::Told)
                        })
                    })
                },
                fairness,
            },
            LeadsTo {
                name: "R1: a peer that leaves is gone in the end, whatever becomes of its messages",
                concerns: |model, state| state.settled && model.0.leaves(state),
                goal: |model, state| !model.0.leaves(state),
                fairness,
            },
        ]
    }

    fn cells(&self) -> usize {
        self.cells.count()
    }

    fn transitions(&self) -> Vec<Transition> {
        transitions::<Peer>().collect()
    }

    fn describe(&self, _: &Self::Whole) -> Vec<Described> {
        Vec::new()
    }

    fn show(&self, whole: &Self::Whole) -> String {
        let connections: Vec<String> = whole
            .traffic
            .connections
            .iter()
            .map(|c| format!("{:?} {} epoch {:?}", c.life, c.peer.get(&self.pool).state(), c.epoch))
            .collect();
        format!(
            "{:?}; {connections:?}; {:?}; {:?}",
            whole.ground.row, whole.traffic.messages, whole.ground.relays
        )
    }
}

impl Rows {
    fn connections(&self, state: &Kept) -> &[Connection<Part<Peer>>] {
        &self.traffics.get(state.traffic).connections
    }

    /// Whether a peer unregisters.
    fn leaves(&self, state: &Kept) -> bool {
        self.connections(state).iter().any(|connection| self.place(connection) == Place::Leaving)
    }

    /// A write was refused with *no row*: the next number, unless a newer connection of this life has one already.
    fn another_epoch(&self, at: &mut Working, which: usize, operation: u32, refusal: Refusal, last: u64) {
        // Only an answer that the peer still waits for, and only if it is to register.
        let peer = at.traffic.connections[which].peer.get(&self.pool);
        let mut after = peer.clone();
        let known = after.handle(peer.clock().now(), &Input::Fenced { operation, refusal });
        if refusal != Refusal::NoRow || known.is_err() || after == *peer || after.at() == Place::Gone {
            return;
        }
        let life = at.traffic.connections[which].life;
        let newer = at
            .traffic
            .connections
            .iter()
            .skip(which + 1)
            .any(|other| other.life == life && other.epoch.is_some());
        let relay = &mut at.ground.relays[life.0 as usize];
        at.traffic.connections[which].epoch = if newer {
            None
        } else {
            let epoch = last.max(relay.asked.map_or(0, |asked| asked + 1));
            relay.asked = Some(epoch);
            relay.asked
        };
    }
}

/// A connection is gone: nobody waits for answers to it, and the places after it move up.
fn forget(messages: &mut Vec<Message>, which: usize) {
    let which = which as u8;
    messages.retain(|message| {
        message.connection != Some(which) || !matches!(message.body, Body::Done | Body::Fenced(..))
    });
    for message in messages {
        match message.connection {
            Some(place) if place == which => (message.connection, message.operation) = (None, 0),
            Some(place) if place > which => message.connection = Some(place - 1),
            _ => {}
        }
    }
}

/// The bounds at a size, in words.
#[must_use]
pub fn bounds(size: super::Size) -> (&'static str, Bounds) {
    match size {
        super::Size::Small | super::Size::Quick => (
            "2 relays; ≤ 2 connections, 1 message at a time; 2 connections before the faults end; 1 restart",
            Bounds { connections: 2, opened: 2, messages: 1, doubles: 0, restarts: 1, drains: false },
        ),
        super::Size::Full => (
            "2 relays; ≤ 2 connections, 1 message at a time, 1 doubled; 2 connections before the faults end; 1 restart, \
             drains",
            Bounds { connections: 2, opened: 2, messages: 1, doubles: 1, restarts: 1, drains: true },
        ),
    }
}
