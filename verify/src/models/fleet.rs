//! A rolling redeploy: two relays, two tunnels, their connections and the directory (D4, D5, R1–R3, T3, T5).
//!
//! Every machine is the shipping one: a drain for each life of a relay, a peer for each connection, a tunnel for each
//! host, and the directory's decision for each row. Hosts and network are honest and prompt here (what happens when they
//! are not is for the models of the parts): time passes when nothing is on its way, so what is explored is the order of
//! everything that happens at once. One relay may crash instead.

use tidegate::directory::{self, Row, decide};
use tidegate::drain::{self, Drain, Phase};
use tidegate::peer::{self, Peer, State as Place};
use tidegate::tunnel::{self, DialFailure, Tunnel};
use tidegate::{Intent, Machine, Millis, Random, Rules};

use crate::explore::Watch;
use crate::liveness::{Fairness, LeadsTo};
use crate::models::Size;
use crate::models::rows::shift_epochs;
use crate::pool::{Part, Pool};
use crate::vectors::Described;
use crate::world::{Cells, Explored, Moment, Slot, Transition, World, transitions};

const TTL: Millis = 1_000;
/// How a connection ends whose process has died.
const LOST: u16 = 1006;

/// The world.
pub struct Fleet {
    tunnels: Pool<Tunnel>,
    drains: Pool<Drain>,
    peers: Pool<Peer>,
    tunnel: tunnel::Config,
    drain: drain::Config,
    peer: peer::Config,
    hosts: usize,
    crashes: bool,
    cells: [Cells; 3],
}

/// A host with its tunnel, and its row in the directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host<T> {
    tunnel: T,
    row: Row,
    /// The connection that is being opened, and to which relay.
    dial: u32,
    endpoint: u8,
    /// It has had a connection that was accepted.
    was_up: bool,
}

/// A relay.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Relay<D> {
    /// None: its process is down.
    drain: Option<D>,
    incarnation: u64,
    /// It accepts registrations.
    open: bool,
    /// What its drain was told last; none before it asked.
    told: Option<(u32, u32)>,
    replaced: bool,
}

/// A connection of a host to a relay.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Connection<P> {
    host: u8,
    relay: u8,
    /// The host's end, by its number; 0: closed.
    generation: u32,
    /// The relay's end; none: closed.
    peer: Option<P>,
    epoch: u64,
    /// On its way to the host: a notice, a close. To the host's application: let it finish.
    notice: Option<Option<Millis>>,
    close: Option<u16>,
    finishing: bool,
    /// The relay told it to move.
    told: bool,
}

/// The situation; to work on and to keep.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Situation<T, D, P> {
    hosts: Vec<Host<T>>,
    relays: [Relay<D>; 2],
    connections: Vec<Connection<P>>,
    crashed: bool,
}

/// One thing that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To the next deadline of anything.
    Time,
    /// The redeploy comes to this relay.
    Drain(usize),
    /// Its new process is up.
    Restart(usize),
    /// Its process dies.
    Crash(usize),
    /// What a host dials is answered.
    Connect(usize),
    /// A notice arrives.
    Notice(usize),
    /// A close arrives.
    Closed(usize),
    /// The host's close arrives at the relay.
    Hangup(usize),
    /// The work on an old connection is finished.
    Finished(usize),
}

type Whole = Situation<Slot<Tunnel>, Slot<Drain>, Slot<Peer>>;
type Kept = Situation<Part<Tunnel>, Part<Drain>, Part<Peer>>;

const TIME: u8 = 0;
const REPLY: u8 = 1;
const DEPLOY: u8 = 2;

const HONEST: usize = 0;
const TOLD: usize = 1;
const DEAD_ROW: usize = 2;
const ADOPTED: usize = 3;
const CLOSED_DOOR: usize = 4;
const STAYS: usize = 5;
const NO_GAP: usize = 6;

impl Fleet {
    fn in_flight(&self, at: &Whole) -> bool {
        let dials = at.hosts.iter().any(|host| host.dial != 0);
        let words = at.connections.iter().any(|connection| {
            connection.notice.is_some() || connection.close.is_some() || connection.generation == 0
        });
        dials || words
    }

    fn deadline(&self, at: &Whole) -> Option<Millis> {
        let tunnels = at.hosts.iter().filter_map(|host| left(host.tunnel.get(&self.tunnels)));
        let drains = at.relays.iter().filter_map(|relay| left(relay.drain.as_ref()?.get(&self.drains)));
        let peers = at.connections.iter().filter_map(|one| left(one.peer.as_ref()?.get(&self.peers)));
        let rows = at.hosts.iter().filter_map(|host| host.row.owner.map(|owner| owner.until));
        tunnels.chain(drains).chain(peers).chain(rows).min()
    }

    /// Something happens to a tunnel: its host carries out what it wants.
    fn tunnel(
        &self,
        at: &mut Whole,
        which: usize,
        input: Option<&tunnel::Input>,
        passed: Millis,
        moment: &mut Moment<'_>,
    ) {
        let host = &mut at.hosts[which];
        let machine = host.tunnel.edit(&self.tunnels);
        let answer = match input {
            Some(input) => moment.handle(self.cells[0], which, machine, input),
            None => moment.tick(self.cells[0], which, machine, passed),
        };
        moment.watch.check(HONEST, answer.is_ok());
        let Ok(step) = answer else { return };
        for effect in step.effects {
            match effect {
                tunnel::Effect::Prepare { operation, .. } => {
                    self.tunnel(at, which, Some(&tunnel::Input::Prepared { operation }), 0, moment);
                }
                tunnel::Effect::Dial { generation, endpoint, .. } => {
                    let host = &mut at.hosts[which];
                    (host.dial, host.endpoint) = (generation, (endpoint % 2) as u8);
                }
                tunnel::Effect::Adopt { generation } => {
                    let held =
                        |one: &&Connection<_>| usize::from(one.host) == which && one.generation == generation;
                    moment.watch.check(ADOPTED, at.connections.iter().filter(held).count() == 1);
                    at.hosts[which].was_up = true;
                }
                tunnel::Effect::Finish { generation, .. } => {
                    for one in at.connections.iter_mut().filter(|one| usize::from(one.host) == which) {
                        one.finishing |= one.generation == generation;
                    }
                }
                tunnel::Effect::Abandon { generation, .. } => {
                    let host = &mut at.hosts[which];
                    if host.dial == generation {
                        host.dial = 0;
                    }
                    for one in at.connections.iter_mut().filter(|one| usize::from(one.host) == which) {
                        if one.generation == generation {
                            one.hang_up();
                        }
                    }
                }
                tunnel::Effect::Sample { generation } => {
                    let input = tunnel::Input::Inbound { generation, ago: 0 };
                    self.tunnel(at, which, Some(&input), 0, moment);
                }
                _ => {}
            }
        }
    }

    /// Something happens to a connection at its relay: that one carries out what follows.
    fn peer(
        &self,
        at: &mut Whole,
        which: usize,
        input: Option<&peer::Input>,
        passed: Millis,
        moment: &mut Moment<'_>,
    ) {
        let Some(connection) = at.connections.get_mut(which) else { return };
        let Some(peer) = &mut connection.peer else { return };
        let machine = peer.edit(&self.peers);
        let answer = match input {
            Some(input) => moment.handle(self.cells[2], which, machine, input),
            None => moment.tick(self.cells[2], which, machine, passed),
        };
        moment.watch.check(HONEST, answer.is_ok());
        let Ok(step) = answer else { return };
        for effect in step.effects {
            let connection = &mut at.connections[which];
            let (host, relay) = (usize::from(connection.host), usize::from(connection.relay));
            let (machine, incarnation) = (u32::from(connection.relay), at.relays[relay].incarnation);
            let epoch = connection.epoch;
            let asked = match effect {
                peer::Effect::Authorize { operation, .. } => {
                    self.peer(at, which, Some(&peer::Input::Done { operation }), 0, moment);
                    continue;
                }
                peer::Effect::Register { operation, .. } => {
                    Some((operation, directory::Input::Register { machine, incarnation, epoch }))
                }
                peer::Effect::Renew { operation, .. } => {
                    Some((operation, directory::Input::Renew { machine, incarnation, epoch: epoch + 1 }))
                }
                peer::Effect::Unregister { operation, .. } => {
                    Some((operation, directory::Input::Unregister { machine, incarnation, epoch: epoch + 1 }))
                }
                peer::Effect::Admit => {
                    moment.watch.check(CLOSED_DOOR, at.relays[relay].open);
                    self.admitted(at, which, moment);
                    let generation = at.connections[which].generation;
                    self.tunnel(at, host, Some(&tunnel::Input::Accepted { generation }), 0, moment);
                    None
                }
                peer::Effect::Notify { within } => {
                    connection.told = true;
                    if connection.generation != 0 {
                        connection.notice = Some(within);
                    }
                    None
                }
                peer::Effect::Sample => {
                    self.peer(at, which, Some(&peer::Input::Inbound { ago: 0 }), 0, moment);
                    None
                }
                peer::Effect::CloseSocket { code } => {
                    if code == self.drain.restart_code && at.relays[relay].told.is_some() {
                        moment.watch.check(TOLD, connection.told);
                    }
                    if connection.generation != 0 {
                        connection.close = Some(code);
                    }
                    None
                }
                peer::Effect::Ping | peer::Effect::Departed { .. } | peer::Effect::Unlisted => None,
            };
            if let Some((operation, command)) = asked {
                let (row, answer) = decide(at.hosts[host].row, &command, 0, TTL);
                at.hosts[host].row = row;
                let input = match answer {
                    directory::Effect::Refused { refusal, .. } => peer::Input::Fenced { operation, refusal },
                    _ => peer::Input::Done { operation },
                };
                self.peer(at, which, Some(&input), 0, moment);
            }
        }
    }

    /// R1: a newer connection of the same host at the same relay replaces the older one.
    fn admitted(&self, at: &mut Whole, which: usize, moment: &mut Moment<'_>) {
        let (host, relay) = (at.connections[which].host, at.connections[which].relay);
        for older in 0..which {
            let one = &at.connections[older];
            if (one.host, one.relay) == (host, relay) {
                self.peer(at, older, Some(&peer::Input::Replaced), 0, moment);
            }
        }
    }

    /// Something happens to a relay's drain: the relay carries out what it wants.
    fn drain(
        &self,
        at: &mut Whole,
        which: usize,
        input: Option<&drain::Input>,
        passed: Millis,
        moment: &mut Moment<'_>,
    ) {
        let Some(drain) = &mut at.relays[which].drain else { return };
        let machine = drain.edit(&self.drains);
        let answer = match input {
            Some(input) => moment.handle(self.cells[1], which, machine, input),
            None => moment.tick(self.cells[1], which, machine, passed),
        };
        moment.watch.check(HONEST, answer.is_ok());
        let Ok(step) = answer else { return };
        for effect in step.effects {
            match effect {
                drain::Effect::Readiness { ready: true } => at.relays[which].open = true,
                drain::Effect::ClosePublicDoor { operation, .. } => {
                    at.relays[which].open = false;
                    self.each(at, which, &peer::Input::Drain, moment);
                    self.drain(at, which, Some(&drain::Input::Done { operation }), 0, moment);
                }
                drain::Effect::Count => at.relays[which].told = Some((u32::MAX, 0)),
                drain::Effect::Tell { count, within } => {
                    let mut left = count;
                    for number in 0..at.connections.len() {
                        let one = &at.connections[number];
                        if left > 0 && usize::from(one.relay) == which && !one.told && one.peer.is_some() {
                            left -= 1;
                            self.peer(at, number, Some(&peer::Input::Tell { within }), 0, moment);
                        }
                    }
                }
                drain::Effect::ClearRows { operation, .. } => {
                    let own = directory::Input::ClearOwn {
                        machine: which as u32,
                        incarnation: at.relays[which].incarnation,
                    };
                    at.hosts.iter_mut().for_each(|host| host.row = decide(host.row, &own, 0, TTL).0);
                    self.each(at, which, &peer::Input::RowsCleared, moment);
                    self.drain(at, which, Some(&drain::Input::Done { operation }), 0, moment);
                }
                drain::Effect::CloseTunnels { code } | drain::Effect::Abort { code } => {
                    self.each(at, which, &peer::Input::Close { code }, moment);
                }
                drain::Effect::Stopped { .. } => {
                    self.down(at, which);
                    return;
                }
                _ => {}
            }
        }
    }

    /// Says the same to every connection of a relay.
    fn each(&self, at: &mut Whole, relay: usize, input: &peer::Input, moment: &mut Moment<'_>) {
        for which in 0..at.connections.len() {
            let one = &at.connections[which];
            let goes = one.peer.as_ref().is_none_or(|peer| peer.get(&self.peers).at() == Place::Leaving);
            if usize::from(one.relay) == relay && !goes {
                self.peer(at, which, Some(input), 0, moment);
            }
        }
    }

    /// A relay's process is gone, and with it its ends of all connections.
    fn down(&self, at: &mut Whole, which: usize) {
        let relay = &mut at.relays[which];
        (relay.drain, relay.open, relay.told) = (None, false, None);
        for one in at.connections.iter_mut().filter(|one| usize::from(one.relay) == which) {
            one.peer = None;
            if one.generation != 0 {
                one.close = one.close.or(Some(LOST));
            }
        }
    }

    /// After every step: who is gone is gone, and drains that count are told what changed.
    fn settle(&self, at: &mut Whole, moment: &mut Moment<'_>) {
        for one in &mut at.connections {
            if one.peer.as_ref().is_some_and(|peer| peer.get(&self.peers).at() == Place::Gone) {
                one.peer = None;
            }
        }
        for relay in 0..2 {
            loop {
                let held =
                    at.connections.iter().filter(|one| usize::from(one.relay) == relay && one.peer.is_some());
                let (count, moved) =
                    held.fold((0, 0), |(count, told), one| (count + 1, told + u32::from(one.told)));
                let told = &mut at.relays[relay].told;
                if told.is_none_or(|told| told == (count, moved)) {
                    break;
                }
                *told = Some((count, moved));
                let load =
                    drain::Input::Load { requests: 0, idle: 0, streams: 0, tunnels: count, told: moved };
                self.drain(at, relay, Some(&load), 0, moment);
            }
        }
        for one in &mut at.connections {
            if one.peer.as_ref().is_some_and(|peer| peer.get(&self.peers).at() == Place::Gone) {
                one.peer = None;
            }
        }
        at.connections.retain(|one| one.peer.is_some() || one.generation != 0);
    }

    fn start_relay(&self, at: &mut Whole, which: usize, moment: &mut Moment<'_>) {
        let relay = &mut at.relays[which];
        relay.incarnation += 1;
        let drain = Drain::drawing(self.drain.clone(), Random::Script(Vec::new()), 0);
        relay.drain = drain.ok().map(Slot::new);
        // R3: before it listens.
        let earlier =
            directory::Input::ClearEarlier { machine: which as u32, incarnation: relay.incarnation };
        at.hosts.iter_mut().for_each(|host| host.row = decide(host.row, &earlier, 0, TTL).0);
        self.drain(at, which, Some(&drain::Input::Started), 0, moment);
    }

    fn serves(&self, at: &Kept, which: usize) -> bool {
        at.relays[which].drain.is_some_and(|drain| self.drains.get(drain).phase() == Phase::Serving)
    }

    /// Whether requests for a host find their way: its row leads to a connection that is there.
    fn is_routable(&self, at: &Kept, host: usize) -> bool {
        at.hosts[host].row.owner.is_some_and(|owner| {
            at.connections.iter().any(|one| {
                let admitted =
                    one.peer.is_some_and(|peer| matches!(self.peers.get(peer).at(), Place::Up | Place::Told));
                let relay = &at.relays[usize::from(one.relay)];
                usize::from(one.host) == host
                    && (u32::from(one.relay), relay.incarnation) == (owner.machine, owner.incarnation)
                    && one.epoch + 1 == owner.epoch
                    && one.generation != 0
                    && admitted
            })
        })
    }
}

impl<P> Connection<P> {
    /// The host's end is closed.
    fn hang_up(&mut self) {
        (self.generation, self.notice, self.close, self.finishing) = (0, None, None, false);
    }
}

/// How long until a machine wants to be woken.
fn left<M: Machine>(machine: &M) -> Option<Millis> {
    machine.deadline().map(|due| due.at - machine.clock().now())
}

impl World for Fleet {
    type Whole = Whole;
    type State = Kept;
    type Action = Action;

    fn start(&self) -> Vec<Whole> {
        let mut watch = Watch::idle_with(self.properties().len(), self.cells());
        let mut moment = Moment::new(&mut watch, Vec::new(), false);
        let host = |_| {
            let tunnel = Tunnel::drawing(self.tunnel.clone(), Random::Script(Vec::new()), 0).ok()?;
            Some(Host { tunnel: Slot::new(tunnel), row: Row::default(), dial: 0, endpoint: 0, was_up: false })
        };
        let relay = || Relay { drain: None, incarnation: 0, open: false, told: None, replaced: false };
        let hosts: Vec<_> = (0..self.hosts).filter_map(host).collect();
        let mut at = Situation { hosts, relays: [relay(), relay()], connections: Vec::new(), crashed: false };
        (0..2).for_each(|relay| self.start_relay(&mut at, relay, &mut moment));
        (0..at.hosts.len())
            .for_each(|host| self.tunnel(&mut at, host, Some(&tunnel::Input::Start), 0, &mut moment));
        vec![at]
    }

    fn open(&self, state: &Kept) -> Whole {
        let host = |host: &Host<Part<Tunnel>>| Host {
            tunnel: Slot::Kept(host.tunnel),
            row: host.row,
            dial: host.dial,
            endpoint: host.endpoint,
            was_up: host.was_up,
        };
        let relay = |relay: &Relay<Part<Drain>>| Relay {
            drain: relay.drain.map(Slot::Kept),
            incarnation: relay.incarnation,
            open: relay.open,
            told: relay.told,
            replaced: relay.replaced,
        };
        let connection = |one: &Connection<Part<Peer>>| Connection {
            host: one.host,
            relay: one.relay,
            generation: one.generation,
            peer: one.peer.map(Slot::Kept),
            epoch: one.epoch,
            notice: one.notice,
            close: one.close,
            finishing: one.finishing,
            told: one.told,
        };
        Situation {
            hosts: state.hosts.iter().map(host).collect(),
            relays: [relay(&state.relays[0]), relay(&state.relays[1])],
            connections: state.connections.iter().map(connection).collect(),
            crashed: state.crashed,
        }
    }

    fn close(&self, whole: Whole) -> Kept {
        let Situation { hosts, relays, mut connections, crashed } = whole;
        let mut kept = Vec::with_capacity(hosts.len());
        for (number, host) in hosts.into_iter().enumerate() {
            let Host { tunnel, mut row, mut dial, endpoint, was_up } = host;
            let (mut generations, mut epochs) = (vec![("generation", &mut dial)], Vec::new());
            for one in connections.iter_mut().filter(|one| usize::from(one.host) == number) {
                generations.push(("generation", &mut one.generation));
                epochs.push(&mut one.epoch);
            }
            let tunnel = tunnel.keep(&self.tunnels, &mut generations);
            shift_epochs(&mut row, &mut epochs);
            kept.push(Host { tunnel, row, dial, endpoint, was_up });
        }
        let relays = relays.map(|relay| Relay {
            drain: relay.drain.map(|drain| drain.keep(&self.drains, &mut [])),
            incarnation: relay.incarnation,
            open: relay.open,
            told: relay.told,
            replaced: relay.replaced,
        });
        let connection = |one: Connection<Slot<Peer>>| Connection {
            host: one.host,
            relay: one.relay,
            generation: one.generation,
            peer: one.peer.map(|peer| peer.keep(&self.peers, &mut [])),
            epoch: one.epoch,
            notice: one.notice,
            close: one.close,
            finishing: one.finishing,
            told: one.told,
        };
        let connections = connections.into_iter().map(connection).collect();
        Situation { hosts: kept, relays, connections, crashed }
    }

    fn actions(&self, whole: &Whole, actions: &mut Vec<Action>) {
        if !self.in_flight(whole) && self.deadline(whole).is_some() {
            actions.push(Action::Time);
        }
        let serving = |relay: &Relay<Slot<Drain>>| {
            relay.drain.as_ref().is_some_and(|drain| drain.get(&self.drains).phase() == Phase::Serving)
        };
        let both = whole.relays.iter().all(serving);
        for (which, relay) in whole.relays.iter().enumerate() {
            // One after the other.
            if both && !relay.replaced && (which == 0 || whole.relays[0].replaced) {
                actions.push(Action::Drain(which));
            }
            if relay.drain.is_none() {
                actions.push(Action::Restart(which));
            } else if self.crashes && !whole.crashed {
                actions.push(Action::Crash(which));
            }
        }
        for (which, host) in whole.hosts.iter().enumerate() {
            if host.dial != 0 {
                actions.push(Action::Connect(which));
            }
        }
        for (which, one) in whole.connections.iter().enumerate() {
            if one.notice.is_some() {
                actions.push(Action::Notice(which));
            } else if one.close.is_some() {
                actions.push(Action::Closed(which));
            }
            if one.generation == 0 {
                actions.push(Action::Hangup(which));
            }
            if one.finishing {
                actions.push(Action::Finished(which));
            }
        }
    }

    fn act(&self, at: &mut Whole, action: &Action, moment: &mut Moment<'_>) -> bool {
        match *action {
            Action::Time => {
                let Some(passed) = self.deadline(at) else { return false };
                for host in &mut at.hosts {
                    if let Some(owner) = &mut host.row.owner {
                        owner.until = owner.until.saturating_sub(passed);
                    }
                    host.row = host.row.at(0);
                }
                // Every machine sees the time before anything else happens to it.
                (0..at.connections.len()).for_each(|which| self.peer(at, which, None, passed, moment));
                (0..at.hosts.len()).for_each(|which| self.tunnel(at, which, None, passed, moment));
                (0..2).for_each(|which| self.drain(at, which, None, passed, moment));
            }
            Action::Drain(which) => {
                at.relays[which].replaced = true;
                let begin = drain::Input::Begin { intent: Intent::Restart };
                self.drain(at, which, Some(&begin), 0, moment);
            }
            Action::Restart(which) => self.start_relay(at, which, moment),
            Action::Crash(which) => {
                at.crashed = true;
                self.down(at, which);
            }
            Action::Connect(which) => {
                let host = &mut at.hosts[which];
                let generation = std::mem::take(&mut host.dial);
                let (relay, epoch) = (usize::from(host.endpoint), host.row.last);
                if !at.relays[relay].open {
                    let failure = DialFailure::Unreachable;
                    let input = tunnel::Input::DialFailed { generation, failure, retry_after: None };
                    self.tunnel(at, which, Some(&input), 0, moment);
                } else {
                    let Ok(peer) = Peer::drawing(self.peer.clone(), Random::Script(Vec::new()), 0) else {
                        return false;
                    };
                    let number = at.connections.len();
                    at.connections.push(Connection {
                        host: which as u8,
                        relay: relay as u8,
                        generation,
                        peer: Some(Slot::new(peer)),
                        epoch,
                        notice: None,
                        close: None,
                        finishing: false,
                        told: false,
                    });
                    self.tunnel(at, which, Some(&tunnel::Input::Opened { generation }), 0, moment);
                    self.peer(at, number, Some(&peer::Input::Connected), 0, moment);
                }
            }
            Action::Notice(which) => {
                let one = &mut at.connections[which];
                let (host, generation) = (usize::from(one.host), one.generation);
                let Some(within) = one.notice.take() else { return false };
                let input = tunnel::Input::DrainNotice { generation, within };
                self.tunnel(at, host, Some(&input), 0, moment);
            }
            Action::Closed(which) => {
                let one = &mut at.connections[which];
                let (host, generation) = (usize::from(one.host), one.generation);
                let Some(code) = one.close.take() else { return false };
                one.hang_up();
                let (tls, subscribed) = (true, false);
                let input = tunnel::Input::Closed { generation, code, retry_after: None, tls, subscribed };
                self.tunnel(at, host, Some(&input), 0, moment);
            }
            Action::Hangup(which) => self.peer(at, which, Some(&peer::Input::Closed), 0, moment),
            Action::Finished(which) => {
                let one = &mut at.connections[which];
                one.finishing = false;
                let (host, generation) = (usize::from(one.host), one.generation);
                self.tunnel(at, host, Some(&tunnel::Input::Finished { generation }), 0, moment);
            }
        }
        self.settle(at, moment);
        true
    }

    fn properties(&self) -> Vec<&'static str> {
        vec![
            "contract: what honest relays and hosts say is never refused",
            "D5: told before closed",
            "R3: no row of an earlier life where a relay serves",
            "T1: what a tunnel adopts is one connection that it holds",
            "D4: nobody is admitted once the public door is closed",
            "T5: without a crash a tunnel that was up is never without a connection",
            "P: without a crash a tunnel that was up is routable at every moment of the redeploy",
        ]
    }

    fn inspect(&self, state: &Kept, watch: &mut Watch) {
        for (number, host) in state.hosts.iter().enumerate() {
            if let Some(owner) = host.row.owner {
                let relay = &state.relays[owner.machine as usize];
                watch.check(DEAD_ROW, relay.drain.is_none() || owner.incarnation == relay.incarnation);
            }
            if host.was_up && !state.crashed {
                watch.check(STAYS, self.tunnels.get(host.tunnel).adopted().is_some());
                watch.check(NO_GAP, self.is_routable(state, number));
            }
        }
    }

    fn may_end(&self, _: &Kept) -> bool {
        false
    }

    fn fairness(&self, action: &Action) -> Option<u8> {
        match action {
            Action::Time => Some(TIME),
            Action::Connect(_) | Action::Notice(_) | Action::Closed(_) | Action::Hangup(_) => Some(REPLY),
            Action::Drain(_) | Action::Restart(_) => Some(DEPLOY),
            Action::Crash(_) | Action::Finished(_) => None,
        }
    }

    fn liveness(&self) -> Vec<LeadsTo<Explored<Self>>> {
        let fairness = Fairness { weak: 1 << TIME | 1 << REPLY | 1 << DEPLOY, strong: 0 };
        vec![
            LeadsTo {
                name: "P: a redeploy comes to its end",
                concerns: |_, _| true,
                goal: |model, state| {
                    state.relays.iter().all(|relay| relay.replaced)
                        && (0..2).all(|relay| model.0.serves(state, relay))
                },
                fairness,
            },
            LeadsTo {
                name: "P: after it, and after a crash, every tunnel is routable in the end",
                concerns: |_, state| state.relays.iter().all(|relay| relay.replaced),
                goal: |model, state| {
                    (0..state.hosts.len()).all(|host| model.0.is_routable(state, host))
                        && (0..2).all(|relay| model.0.serves(state, relay))
                },
                fairness,
            },
        ]
    }

    fn cells(&self) -> usize {
        self.cells[2].end()
    }

    fn transitions(&self) -> Vec<Transition> {
        transitions::<Tunnel>().chain(transitions::<Drain>()).chain(transitions::<Peer>()).collect()
    }

    fn describe(&self, _: &Whole) -> Vec<Described> {
        Vec::new()
    }

    fn show(&self, whole: &Whole) -> String {
        let hosts: Vec<_> = whole
            .hosts
            .iter()
            .map(|host| {
                (host.tunnel.get(&self.tunnels).state(), host.row.owner.map(|owner| owner.machine), host.dial)
            })
            .collect();
        let relays = whole.relays.iter().map(|relay| {
            (relay.drain.as_ref().map_or("down", |drain| drain.get(&self.drains).state()), relay.told)
        });
        let connections = whole.connections.iter().map(|one| {
            let peer = one.peer.as_ref().map_or("gone", |peer| peer.get(&self.peers).state());
            (one.host, one.relay, one.generation, peer, one.notice, one.close)
        });
        format!("{hosts:?}; {:?}; {:?}", relays.collect::<Vec<_>>(), connections.collect::<Vec<_>>())
    }
}

/// The world at a size, with its bounds.
#[must_use]
pub fn world(size: Size) -> (&'static str, Fleet) {
    let mut tunnel = super::tunnel::attempts().swap_remove(0);
    tunnel.endpoints = 2;
    tunnel.rotate_after = 1;
    tunnel.finish_limit = 100;
    tunnel.buffer_limit = 0;
    let drain = drain::Config {
        lame_duck: 0,
        grace: 800,
        kill_budget: 1_200,
        margin: 200,
        flush: 300,
        restart_code: 4001,
        ..drain::Config::default()
    };
    let peer = peer::Config {
        authorize_limit: 100,
        register_limit: 100,
        ping_every: 400,
        ping_misses: 2,
        stall_tolerance: 100,
        renew_every: 400,
        retry_every: 100,
        ..peer::Config::default()
    };
    let first = Cells::of::<Tunnel>(0);
    let second = Cells::of::<Drain>(first.end());
    let cells = [first, second, Cells::of::<Peer>(second.end())];
    let (hosts, crashes, words) = match size {
        Size::Small | Size::Quick => {
            (1, true, "2 relays, 1 tunnel, a rolling redeploy, ≤ 1 crash; a prompt network")
        }
        Size::Full => (2, true, "2 relays, 2 tunnels, a rolling redeploy, ≤ 1 crash; a prompt network"),
    };
    let (tunnels, drains, peers) = (Pool::default(), Pool::default(), Pool::default());
    (words, Fleet { tunnels, drains, peers, tunnel, drain, peer, hosts, crashes, cells })
}
