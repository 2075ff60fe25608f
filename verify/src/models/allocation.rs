//! An allocation and its gateway: a saga that takes a lease, publishes the route and shakes hands, while everybody who
//! has a part in it may die (Y: crash at any point × saga × lease).
//!
//! The saga is a shipping one, of the steps of `examples/control-plane`: *gateway* (allocate, by the saga's id as the
//! request; given back by the epoch that the pool names for that request, or quarantined where the route is left),
//! *route* (the name and the proxy's config in one; removed by its mark, and probed) and *handshake* (done when the
//! gateway has confirmed the lease). Its executors die before and after every append and every effect, are taken over
//! from while they go on, and what they had asked for lands late or never. The row is decided by the shipping
//! [`decide`]; the gateway's process is a shipping holder that claims, confirms, renews, is killed, stopped and started
//! again. Time ends allocations, leases, grace periods and quarantines meanwhile; the pool removes the routes of what is
//! over; and a later wish, of another organization or of the same one, is given the gateway when it is free.
//!
//! What the world promises, as a host has to:
//!
//! * A route bears the epoch that it is for. Removing it removes that one. The pool removes those of the lease that is
//!   over and of the ones before it, and from then on none of them can be published any more. (Neither the limits of
//!   the steps nor the recovery of a saga know when its lease has ended: see [`Bounds::fenced`].)
//! * Whoever is asked and does not fail answers before time passes; who is due is looked at before more time passes.
//!
//! What is *not* in here, as it is proved elsewhere: other graphs, torn journals and operators ([`super::recovery`]);
//! clocks that drift, late and doubled messages of holders that live, snapshots, handovers, suspicion
//! ([`super::holders`]). Nobody tells the gateway that its lease was taken back: it learns that when it renews.

use tidegate::backoff::{Jitter, Policy};
use tidegate::lease::{self, Input as Command, LeaseState, Row, Standing, consequences, decide};
use tidegate::lease_holder::{self as holder, LeaseHolder, State as Place};
use tidegate::saga::journal::Entry;
use tidegate::saga::{Compensation, Config, Effect, Input, LeakReason, Phase, Saga, SagaRecord, SagaStep};
use tidegate::{Intent, Machine, Millis, Random, Rules};

use crate::explore::Watch;
use crate::liveness::{Fairness, LeadsTo};
use crate::models::Size;
use crate::models::saga::{Work, is_over};
use crate::pool::{Part, Pool};
use crate::vectors::Described;
use crate::world::{Cells, Explored, Moment, Slot, Transition, World, transitions};

/// A step of time, for everybody.
const STEP: Millis = 4;
/// The least that leaves time for a renew, a drain and the margin. It is not a whole number of steps so that the draws
/// for a renew fall on few different times.
const TERM: Millis = 4 * STEP - 1;

// The steps of the saga.
const GATEWAY: u8 = 0;
const ROUTE: u8 = 1;
const HANDSHAKE: u8 = 2;

// The requests.
const WISH: u64 = 1;
const LATER: u64 = 2;

/// How much may happen.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Failures and lost answers, of steps, undos, un-routing and holders' questions.
    pub faults: u8,
    /// Deaths of executors.
    pub crashes: u8,
    /// Takeovers from one that lives.
    pub takeovers: u8,
    /// Whether the saga may be cancelled.
    pub cancelled: bool,
    /// Starts of the gateway's process.
    pub boots: u8,
    /// How many of them may live at a time: a second one is a clone.
    pub lives: u8,
    /// Deaths of the gateway's process.
    pub kills: u8,
    /// Stops of it that are announced.
    pub stops: u8,
    /// Whether a later wish comes.
    pub later: bool,
    /// Whether that is the same organization's.
    pub same: bool,
    /// Whether removing the routes of a lease keeps them from being published any more. Without it a do that lands
    /// late, and a saga that is recovered after its lease has ended, publish a route to a gateway that is free or
    /// another organization's.
    pub fenced: bool,
}

/// The world.
pub struct Allocation {
    sagas: Pool<Saga>,
    holders: Pool<LeaseHolder>,
    controls: Pool<Control<Part<Saga>>>,
    gateways: Pool<Gateway<Part<LeaseHolder>>>,
    /// Each is explored by itself.
    bounds: Vec<Bounds>,
    terms: lease::Config,
    config: holder::Config,
    saga_cells: Cells,
    holder_cells: Cells,
}

/// Something that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call {
    step: u8,
    work: Work,
    /// Who waits for the answer; none when nobody does.
    caller: Option<u8>,
    operation: u32,
    /// For how long it may still land; none for ever.
    left: Option<Millis>,
    /// The lease that it is about; of giving back, once the pool has named it.
    epoch: Option<u64>,
    /// Half of it is done: the lease that is given back was allocating when the pool named it, or the gateway has been
    /// told whom it serves.
    begun: bool,
}

/// A process that executes the saga.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Executor<M> {
    machine: M,
    token: u8,
    /// The record that is under way.
    append: Option<(u32, Entry)>,
    /// The epoch that the pool gave.
    output: Option<u64>,
}

/// How the saga ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct End {
    phase: Phase,
    leaked: Vec<u8>,
}

/// The control plane: the saga's journal and its executors.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Control<M> {
    /// What the journal says, as the machine that has read it; none when the saga is over.
    journal: Option<M>,
    end: Option<End>,
    /// The last record.
    last: Option<Entry>,
    /// The token of the latest executor.
    token: u8,
    /// The epoch that the journal has as the output of the first step.
    output: Option<u64>,
    /// The journal says that the handshake is why everything is undone.
    suspect: bool,
    /// An undo was begun.
    undoing: bool,
    executors: Vec<Executor<M>>,
    calls: Vec<Call>,
    cancelled: bool,
    crashes: u8,
    takeovers: u8,
}

/// A route to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    request: u64,
    epoch: u64,
}

/// What a life asks the granter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Question {
    Claim { incarnation: u64 },
    Confirm { epoch: u64, incarnation: u64 },
    Renew { epoch: u64 },
    Stop { epoch: u64, intent: Intent },
}

/// What nobody waits for any more, and what may still land.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Stray {
    Asked(Question),
    Unroute { organization: u64, epoch: u64 },
}

/// A life of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Life<M> {
    holder: M,
    incarnation: u64,
    asks: Option<(u32, Question)>,
}

/// The pool's row, and the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gateway<M> {
    /// Its times are relative to now.
    row: Row,
    /// The last epoch whose lease was ended.
    ended: u64,
    /// The saga's lease was confirmed.
    confirmed: bool,
    /// The routes that lead to the gateway.
    routes: Vec<Route>,
    /// Up to which epoch routes are over.
    fence: u64,
    /// The route may be gone although nobody told the saga: the pool or an abandoned undo has removed it, or no probe
    /// could tell.
    unheard: bool,
    /// The attempt to un-route that is under way: of whom, the epoch, which.
    unrouting: Option<(u64, u64, u32)>,
    strays: Vec<Stray>,
    lives: Vec<Life<M>>,
    incarnation: u64,
    /// Until when an epoch was ever promised, from now; those that are over are gone.
    promised: Vec<(u64, Millis)>,
    /// The handshake of the later wish that is on its way.
    handshake: Option<u64>,
    later: bool,
    kills: u8,
    stops: u8,
}

impl<M> Control<M> {
    /// The same with other machines.
    fn with<N>(self, journal: Option<N>, executors: Vec<Executor<N>>) -> Control<N> {
        Control {
            journal,
            executors,
            end: self.end,
            last: self.last,
            token: self.token,
            output: self.output,
            suspect: self.suspect,
            undoing: self.undoing,
            calls: self.calls,
            cancelled: self.cancelled,
            crashes: self.crashes,
            takeovers: self.takeovers,
        }
    }
}

impl<M> Gateway<M> {
    /// The same with other machines.
    fn with<N>(self, lives: Vec<Life<N>>) -> Gateway<N> {
        Gateway {
            lives,
            row: self.row,
            ended: self.ended,
            confirmed: self.confirmed,
            routes: self.routes,
            fence: self.fence,
            unheard: self.unheard,
            unrouting: self.unrouting,
            strays: self.strays,
            incarnation: self.incarnation,
            promised: self.promised,
            handshake: self.handshake,
            later: self.later,
            kills: self.kills,
            stops: self.stops,
        }
    }
}

/// The situation to work on.
#[derive(Debug, Clone)]
pub struct Situation {
    bounds: u8,
    faults: u8,
    control: Control<Slot<Saga>>,
    gateway: Gateway<Slot<LeaseHolder>>,
}

/// The situation to keep.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    bounds: u8,
    faults: u8,
    control: Part<Control<Part<Saga>>>,
    gateway: Part<Gateway<Part<LeaseHolder>>>,
}

/// One thing that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A step of time.
    Time,

    // The control plane.
    /// A record is made durable, and that is said.
    Append(usize),
    /// The executor dies; the record under way is made or not.
    Crash(usize, bool),
    /// One reads the journal, as there is none.
    Recover,
    /// One reads it although there is one.
    TakeOver,
    /// A call does what it should, or half of it.
    Succeed(usize),
    /// It certainly does nothing.
    Fail(usize),
    /// It is unknown what it did, and that is said; it may still land.
    Unsure(usize),
    /// Nothing is said.
    Hang(usize),
    /// What nobody waits for any more lands, or half of it.
    Land(usize),
    /// It never will.
    Vanish(usize),
    /// The saga is cancelled.
    Cancel(usize),

    // The pool.
    /// It looks at its row, whose time is over.
    Scan,
    /// The routes of what is over are removed, or that fails, or nobody says so, or it happens later.
    Unroute(Removal),
    /// The free gateway is given for the later wish, and the route published.
    Later,
    /// The handshake of that arrives at a life, or nobody is there.
    Handshake(Option<usize>),

    // The gateway.
    /// A process starts.
    Boot,
    /// A life dies.
    Kill(usize),
    /// A life ends serving, and says why.
    Stop(usize, Intent),
    /// The drain of a life is over.
    Drained(usize),
    /// A life's question is answered.
    Answer(usize),
    /// It is lost, or its answer is.
    Lose(usize, bool),
    /// A stray lands.
    Stray(usize),
    /// It never will.
    Gone(usize),
}

/// What comes of an attempt to un-route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The routes are removed.
    Done,
    /// They are not, and that is said.
    Failed,
    /// They are removed, but nobody says so.
    Unsaid,
    /// Nobody says anything; they may be removed later.
    Late,
}

const ENDED: usize = 0;
const STALE: usize = 1;
const OWN: usize = 2;
const GRANTED: usize = 3;
const COMMITTED: usize = 4;
const ROLLED_BACK: usize = 5;
const NAMED: usize = 6;
const EXACT: usize = 7;
const UNROUTED: usize = 8;
const TENANT: usize = 9;
const KEPT: usize = 10;
const RECLAIMED: usize = 11;
const STOPPED: usize = 12;
const ONE: usize = 13;
const WINNER: usize = 14;
const INTENDED: usize = 15;
const FORWARD: usize = 16;
const READABLE: usize = 17;
const FENCED: usize = 18;
const HONEST: usize = 19;
const IDLE: usize = 20;

const TIME: u8 = 0;
const REPLY: u8 = 1;
const RECOVER: u8 = 2;

/// The epoch that a command carries.
fn carried(command: &Command) -> Option<u64> {
    match *command {
        Command::Confirm { epoch, .. }
        | Command::HandshakeFailed { epoch }
        | Command::Renew { epoch }
        | Command::Stop { epoch, .. }
        | Command::Unrouted { epoch }
        | Command::UnrouteFailed { epoch, .. } => Some(epoch),
        _ => None,
    }
}

fn is_live(row: &Row) -> bool {
    matches!(row.state(), LeaseState::Allocating | LeaseState::Active | LeaseState::Held)
}

/// The steps of the control plane's saga, with one for the name, the config and the reload.
fn steps() -> Vec<SagaStep> {
    let step = |name: &str, after: &[&str]| SagaStep {
        name: name.into(),
        after: after.iter().map(|name| (*name).into()).collect(),
        backoff: Policy { initial: STEP, cap: STEP, floor: STEP, jitter: Jitter::None, ..Policy::default() },
        limit: STEP,
        undo_retries: 0,
        undo_limit: STEP,
        verify_limit: STEP,
        ..SagaStep::default()
    };
    vec![
        SagaStep {
            retries: 1,
            idempotent: true,
            fenced: true,
            undo_requires: vec!["route".into()],
            fallback: true,
            ..step("gateway", &[])
        },
        SagaStep { verify: true, lateness: Some(STEP), ..step("route", &["gateway"]) },
        SagaStep {
            compensation: Compensation::Nothing,
            retries: 1,
            idempotent: true,
            ..step("handshake", &["route"])
        },
    ]
}

impl Allocation {
    /// A world for each of these bounds.
    #[must_use]
    pub fn new(bounds: Vec<Bounds>) -> Self {
        let terms = lease::Config {
            term: TERM,
            grace: 2 * STEP,
            idle_hold: 0,
            allocate_limit: 3 * STEP,
            unroute_limit: STEP,
            unroute_attempts: 1,
            unroute_pause: STEP,
            quarantine: STEP,
            quarantine_max: STEP,
            suspicion: STEP,
            handoff: STEP,
        };
        let retry =
            Policy { initial: STEP, cap: STEP, floor: STEP, jitter: Jitter::None, ..Policy::default() };
        let config = holder::Config {
            term: TERM,
            drain: STEP - 1,
            // A life is woken less than a step late.
            margin: STEP,
            drift: 0,
            // Answers come before time passes.
            ask_limit: 2,
            release_limit: 2,
            retry,
        };
        let saga_cells = Cells::of::<Saga>(0);
        Self {
            sagas: Pool::default(),
            holders: Pool::default(),
            controls: Pool::default(),
            gateways: Pool::default(),
            bounds,
            terms,
            config,
            saga_cells,
            holder_cells: Cells::of::<LeaseHolder>(saga_cells.end()),
        }
    }

    fn bounds(&self, at: &Situation) -> Bounds {
        self.bounds[usize::from(at.bounds)]
    }

    /// Of which organization a request is.
    fn organization(&self, at: &Situation, request: u64) -> u64 {
        if request == LATER && !self.bounds(at).same { 2 } else { 1 }
    }

    fn life<'a>(&'a self, at: &'a Situation, which: usize) -> &'a LeaseHolder {
        at.gateway.lives[which].holder.get(&self.holders)
    }

    // The control plane.

    /// Tells an executor something, and starts what it wants.
    fn tell(&self, at: &mut Situation, who: usize, input: &Input, moment: &mut Moment<'_>) {
        let machine = at.control.executors[who].machine.edit(&self.sagas);
        let answer = moment.handle(self.saga_cells, who, machine, input);
        moment.watch.check(HONEST, answer.is_ok());
        let Ok(step) = answer else { return };
        if matches!(input, Input::Fenced { .. }) {
            moment.watch.check(FENCED, step.effects == [Effect::Fenced]);
        }
        self.start_effects(at, who, &step.effects, moment.watch);
    }

    fn start_effects(&self, at: &mut Situation, who: usize, effects: &[Effect], watch: &mut Watch) {
        let control = &mut at.control;
        let caller = Some(who as u8);
        for effect in effects {
            let (kind, work, operation, step, attempt, left) = match *effect {
                Effect::Append { operation, sequence, kind, step, attempt, value, .. } => {
                    let entry = Entry { sequence, kind, step, attempt, value };
                    control.executors[who].append = Some((operation, entry));
                    continue;
                }
                Effect::Do { operation, step, attempt, limit } => {
                    watch.check(FORWARD, !control.undoing);
                    let left = (step == u32::from(ROUTE)).then_some(limit + STEP);
                    (SagaRecord::Intent, Work::Do, operation, step, attempt, left)
                }
                Effect::Undo { operation, step, attempt, limit } => {
                    control.undoing = true;
                    (SagaRecord::UndoIntent, Work::Undo, operation, step, attempt, Some(limit))
                }
                Effect::FallBack { operation, step, attempt, limit } => {
                    control.undoing = true;
                    (SagaRecord::FallbackIntent, Work::FallBack, operation, step, attempt, Some(limit))
                }
                Effect::Verify { operation, step, .. } => {
                    (SagaRecord::Intent, Work::Verify, operation, step, 0, None)
                }
                Effect::Refused { .. } => {
                    watch.check(READABLE, false);
                    continue;
                }
                _ => continue,
            };
            let executor = &control.executors[who];
            if work != Work::Verify {
                // G4: what starts is the last thing that the journal says, and by the latest executor.
                let said = control
                    .last
                    .is_some_and(|last| (last.kind, last.step, last.attempt) == (kind, Some(step), attempt));
                watch.check(INTENDED, said && executor.token == control.token);
            }
            let step = step as u8;
            // What is given back is asked of the pool, everything else is about what the pool gave.
            let epoch = executor.output.filter(|_| step != GATEWAY);
            control.calls.push(Call { step, work, caller, operation, left, epoch, begun: false });
        }
    }

    /// A record becomes durable.
    fn write(&self, at: &mut Situation, who: usize, entry: Entry, watch: &mut Watch) {
        let Entry { sequence, kind, step, attempt, value } = entry;
        if at.control.last.is_some_and(|last| last.sequence == sequence) {
            // Appended once more, as nobody said that it was made.
            watch.check(READABLE, at.control.last == Some(entry));
            return;
        }
        match kind {
            SagaRecord::Done if step == Some(u32::from(GATEWAY)) => {
                at.control.output = at.control.executors[who].output;
            }
            SagaRecord::Unwinding => at.control.suspect = step == Some(u32::from(HANDSHAKE)),
            _ => {}
        }
        let Some(slot) = &mut at.control.journal else { return };
        let journal = slot.edit(&self.sagas);
        let read = journal.handle(0, &Input::Replay { sequence, kind, step, attempt, value });
        let phase = journal.phase();
        watch.check(READABLE, read.is_ok_and(|step| step.effects.is_empty()) && phase != Phase::Refused);
        at.control.last = Some(entry);
        if !is_over(phase) {
            return;
        }
        let leaked: Vec<_> = journal.leaked().map(|(step, reason)| (step as u8, reason)).collect();
        if phase == Phase::Stuck {
            for &(step, reason) in &leaked {
                if step == ROUTE && reason != LeakReason::OutOfTime {
                    let there = at.gateway.routes.iter().any(|route| route.request == WISH);
                    watch.check(EXACT, there || at.gateway.unheard);
                }
            }
        }
        if phase == Phase::Committed {
            watch.check(COMMITTED, at.gateway.confirmed);
        }
        // Nothing of the journal matters any more.
        let leaked = leaked.into_iter().map(|(step, _)| step).collect();
        (at.control.journal, at.control.end) = (None, Some(End { phase, leaked }));
        (at.control.last, at.control.output) = (None, None);
    }

    /// The process is gone; nobody waits for what it asked.
    fn leave(at: &mut Situation, who: usize) {
        at.control.executors.remove(who);
        let who = who as u8;
        // Of a handshake that has arrived nothing is left to arrive.
        at.control.calls.retain(|call| {
            call.caller != Some(who) || (call.work != Work::Verify && !(call.step == HANDSHAKE && call.begun))
        });
        for call in &mut at.control.calls {
            match call.caller {
                Some(caller) if caller == who => Self::abandon(call),
                Some(caller) if caller > who => call.caller = Some(caller - 1),
                _ => {}
            }
        }
    }

    /// Nobody waits for it any more.
    fn abandon(call: &mut Call) {
        (call.caller, call.operation) = (None, 0);
    }

    /// A call does what it should; the answer, if that was all of it.
    fn land(&self, at: &mut Situation, which: usize, moment: &mut Moment<'_>) -> Option<fn(u32) -> Input> {
        let call = at.control.calls[which];
        let done: fn(u32) -> Input = |operation| Input::Done { operation };
        let failed: fn(u32) -> Input = |operation| Input::Failed { operation };
        let unknown: fn(u32) -> Input = |operation| Input::Unknown { operation };
        let wish = Command::Allocate { organization: self.organization(at, WISH), request: WISH };
        match (call.step, call.work) {
            (GATEWAY, Work::Do) => match self.command(at, &wish, moment) {
                lease::Effect::Allocated { epoch, .. } => {
                    if let Some(caller) = call.caller {
                        at.control.executors[usize::from(caller)].output = Some(epoch);
                    }
                    Some(done)
                }
                // Another has it, or what was granted for this request is over: certainly nothing was done.
                _ => Some(failed),
            },
            (GATEWAY, Work::Undo | Work::FallBack) => match call.epoch {
                None => {
                    let named = match self.command(at, &wish, moment) {
                        lease::Effect::Allocated { epoch, .. } => Some((epoch, true)),
                        lease::Effect::AlreadyAllocated { state, epoch, request } if request == WISH => {
                            Some((epoch, state == LeaseState::Allocating))
                        }
                        // What the organization has by now was granted for another request.
                        _ => None,
                    };
                    let Some((epoch, begun)) = named else { return Some(done) };
                    at.control.calls[which] = Call { epoch: Some(epoch), begun, ..call };
                    None
                }
                Some(epoch) => {
                    let suspect = at.control.suspect || call.work == Work::FallBack;
                    let command = if suspect && call.begun {
                        Command::HandshakeFailed { epoch }
                    } else {
                        Command::Stop { epoch, intent: Intent::Decommission }
                    };
                    let before = at.gateway.row;
                    let answer = self.command(at, &command, moment);
                    if is_live(&before.at(0, &self.terms)) && !is_live(&at.gateway.row) {
                        let committed =
                            at.control.end.as_ref().is_some_and(|end| end.phase == Phase::Committed);
                        moment.watch.check(OWN, before.request == Some(WISH) && !committed);
                    }
                    match answer {
                        lease::Effect::Accepted { .. } => Some(done),
                        // It shook hands just now, or took its lease back: look again.
                        lease::Effect::Refused {
                            refusal: lease::LeaseRefusal::InUse | lease::LeaseRefusal::StaleEpoch,
                            ..
                        } => {
                            at.control.calls[which] = Call { epoch: None, begun: false, ..call };
                            None
                        }
                        _ => Some(unknown),
                    }
                }
            },
            (ROUTE, Work::Do) => {
                let Some(epoch) = call.epoch else { return Some(unknown) };
                if self.bounds(at).fenced && epoch <= at.gateway.fence {
                    return Some(failed);
                }
                Self::publish(at, Route { request: WISH, epoch });
                Some(done)
            }
            (ROUTE, Work::Verify) => {
                let there = at.gateway.routes.iter().any(|route| Some(route.epoch) == call.epoch);
                Some(if there {
                    |operation| Input::Present { operation }
                } else {
                    |operation| Input::Absent { operation }
                })
            }
            (ROUTE, _) => {
                at.gateway.unheard |= call.caller.is_none();
                at.gateway.routes.retain(|route| Some(route.epoch) != call.epoch);
                Some(done)
            }
            (_, _) => {
                let Some(epoch) = call.epoch else { return Some(unknown) };
                if call.begun {
                    // It answers when the granter has.
                    let serves =
                        (0..at.gateway.lives.len()).any(|life| self.life(at, life).serving() == Some(epoch));
                    return Some(if serves { done } else { unknown });
                }
                if at.gateway.lives.is_empty() {
                    return Some(failed);
                }
                // To the latest one: the earlier one of two has lost its address.
                let life = at.gateway.lives.len() - 1;
                if !self.tell_life(at, life, &holder::Input::Granted { epoch }, moment) {
                    return Some(unknown);
                }
                at.control.calls[which].begun = true;
                call.caller.is_none().then_some(done)
            }
        }
    }

    /// Whether a call can be answered now.
    fn is_answered(&self, at: &Situation, call: &Call) -> bool {
        let waits = |life: usize| self.life(at, life).at() == Place::Confirming;
        let told = call.step == HANDSHAKE && call.begun;
        !(told && (0..at.gateway.lives.len()).any(waits))
    }

    fn publish(at: &mut Situation, route: Route) {
        if !at.gateway.routes.contains(&route) {
            at.gateway.routes.push(route);
            at.gateway.routes.sort_unstable();
        }
    }

    // The pool.

    fn command(&self, at: &mut Situation, command: &Command, moment: &mut Moment<'_>) -> lease::Effect {
        let before = at.gateway.row;
        let led_on = before.at(0, &self.terms);
        let (row, answer) = decide(before, command, 0, &self.terms);
        let watch = &mut *moment.watch;
        if carried(command).is_some_and(|epoch| epoch < led_on.epoch) {
            watch.check(STALE, row == led_on);
        }
        match (command, &answer) {
            (Command::Allocate { request, .. }, lease::Effect::Allocated { epoch, .. })
                if *epoch > before.epoch =>
            {
                watch.check(GRANTED, led_on.state() == LeaseState::Free && before.request != Some(*request));
                watch.check(UNROUTED, at.gateway.routes.is_empty());
            }
            (_, &lease::Effect::Reclaimed { organization, epoch, .. }) => {
                watch.check(RECLAIMED, led_on.organization() == Some(organization));
                watch.check(WINNER, epoch.min(before.epoch) > at.gateway.ended);
            }
            (_, &lease::Effect::Confirmed { epoch, .. }) => {
                watch.check(WINNER, epoch > at.gateway.ended);
                at.gateway.confirmed |= row.request == Some(WISH);
            }
            (_, &lease::Effect::Renewed { epoch, .. }) => watch.check(WINNER, epoch > at.gateway.ended),
            _ => {}
        }
        at.gateway.row = row;
        self.moved(at, &before, watch);
        answer
    }

    /// The row has changed, or time has led it on.
    fn moved(&self, at: &mut Situation, before: &Row, watch: &mut Watch) {
        let gateway = &mut at.gateway;
        let row = gateway.row;
        if is_live(before) && !is_live(&row) {
            watch.check(ENDED, row.epoch == before.epoch && row.epoch > gateway.ended);
            gateway.ended = row.epoch;
        }
        if let Standing::Active { until, .. } = row.standing {
            match gateway.promised.iter_mut().find(|(known, _)| *known == row.epoch) {
                Some((_, promised)) => *promised = until.max(*promised),
                None => gateway.promised.push((row.epoch, until)),
            }
        }
        for effect in consequences(before, &row, &self.terms) {
            match effect {
                lease::Effect::Unroute { epoch, organization, attempt, .. } => {
                    gateway.unrouting = Some((organization, epoch, attempt));
                }
                lease::Effect::Entered { state: LeaseState::Free, .. } => gateway.unrouting = None,
                _ => {}
            }
        }
    }

    /// The routes of a lease that is over are removed.
    fn unroute(&self, at: &mut Situation, organization: u64, epoch: u64) {
        let of = |route: &Route| self.organization(at, route.request) == organization && route.epoch <= epoch;
        let (gone, left): (Vec<_>, Vec<_>) = at.gateway.routes.iter().copied().partition(of);
        at.gateway.unheard |= gone.iter().any(|route| route.request == WISH);
        at.gateway.routes = left;
        at.gateway.fence = at.gateway.fence.max(epoch);
    }

    // The gateway.

    fn boot(&self, at: &mut Situation, moment: &mut Moment<'_>) {
        let Ok(machine) = LeaseHolder::drawing(self.config.clone(), Random::Script(Vec::new()), 0) else {
            return;
        };
        at.gateway.incarnation += 1;
        let incarnation = at.gateway.incarnation;
        at.gateway.lives.push(Life { holder: Slot::new(machine), incarnation, asks: None });
        let boot = holder::Input::Boot { predecessor: None };
        self.tell_life(at, at.gateway.lives.len() - 1, &boot, moment);
    }

    /// Tells a life something, and starts what it wants; false when it refuses a handshake.
    fn tell_life(
        &self,
        at: &mut Situation,
        which: usize,
        input: &holder::Input,
        moment: &mut Moment<'_>,
    ) -> bool {
        let row = at.gateway.row;
        let life = &mut at.gateway.lives[which];
        let claim = Command::Claim { incarnation: life.incarnation, predecessor: None };
        let machine = life.holder.edit(&self.holders);
        let was = machine.at();
        let answer = moment.handle(self.holder_cells, which, machine, input);
        if was != Place::Idle && machine.at() == Place::Idle {
            let granted = matches!(decide(row, &claim, 0, &self.terms).1, lease::Effect::Reclaimed { .. });
            moment.watch.check(IDLE, !granted);
        }
        match answer {
            Ok(step) => Self::carry(at, which, &step.effects),
            Err(_) if matches!(input, holder::Input::Granted { .. }) => return false,
            Err(_) => moment.watch.check(HONEST, false),
        }
        true
    }

    fn carry(at: &mut Situation, which: usize, effects: &[holder::Effect]) {
        for effect in effects {
            let life = &mut at.gateway.lives[which];
            let incarnation = life.incarnation;
            let asks = match *effect {
                holder::Effect::Claim { operation, .. } => (operation, Question::Claim { incarnation }),
                holder::Effect::Confirm { operation, epoch, .. } => {
                    (operation, Question::Confirm { epoch, incarnation })
                }
                holder::Effect::Renew { operation, epoch, .. } => (operation, Question::Renew { epoch }),
                holder::Effect::Release { operation, epoch, intent, .. } => {
                    (operation, Question::Stop { epoch, intent })
                }
                _ => continue,
            };
            if let Some((_, earlier)) = life.asks.replace(asks) {
                at.gateway.strays.push(Stray::Asked(earlier));
            }
        }
    }

    /// A life is gone; what it has asked may still arrive.
    fn die(at: &mut Situation, which: usize) {
        let life = at.gateway.lives.remove(which);
        at.gateway.strays.extend(life.asks.map(|(_, question)| Stray::Asked(question)));
    }

    /// A question arrives at the granter; what its answer means to the life that asked.
    fn ask(
        &self,
        at: &mut Situation,
        operation: u32,
        question: Question,
        moment: &mut Moment<'_>,
    ) -> holder::Input {
        let limit = 1;
        let (command, asked) = match question {
            Question::Claim { incarnation } => (
                Command::Claim { incarnation, predecessor: None },
                holder::Effect::Claim { operation, limit, predecessor: None },
            ),
            Question::Confirm { epoch, incarnation } => {
                (Command::Confirm { epoch, incarnation }, holder::Effect::Confirm { operation, epoch, limit })
            }
            Question::Renew { epoch } => {
                (Command::Renew { epoch }, holder::Effect::Renew { operation, epoch, limit })
            }
            Question::Stop { epoch, intent } => {
                (Command::Stop { epoch, intent }, holder::Effect::Release { operation, epoch, intent, limit })
            }
        };
        let answer = self.command(at, &command, moment);
        let meaning = holder::Input::answering(&asked, &answer);
        moment.watch.check(HONEST, meaning.is_some());
        meaning.unwrap_or(holder::Input::CannotKnow { operation })
    }

    // Time.

    fn pass(&self, at: &mut Situation, moment: &mut Moment<'_>) {
        let gateway = &mut at.gateway;
        match &mut gateway.row.standing {
            Standing::Free | Standing::Retired => {}
            Standing::Active { until, .. }
            | Standing::Allocating { until, .. }
            | Standing::Held { until, .. }
            | Standing::Releasing { until, .. }
            | Standing::Quarantined { until, .. } => *until = until.saturating_sub(STEP),
        }
        gateway.promised.iter_mut().for_each(|(_, left)| *left = left.saturating_sub(STEP));
        gateway.promised.retain(|(_, left)| *left > 0);
        // L6: what serves now has not been woken yet; it must have been in time before.
        self.judge(at, moment.watch);
        for which in 0..at.gateway.lives.len() {
            let machine = at.gateway.lives[which].holder.edit(&self.holders);
            let answer = moment.tick(self.holder_cells, which, machine, STEP);
            let effects = answer.map(|step| step.effects).unwrap_or_default();
            Self::carry(at, which, &effects);
        }
        for call in &mut at.control.calls {
            call.left = call.left.map(|left| left.saturating_sub(STEP));
        }
        // Later than it may, it does not land; and a handshake that has had its time is given up.
        let lasts = |call: &Call| call.left != Some(0) && !(call.step == HANDSHAKE && call.begun);
        at.control.calls.retain(lasts);
        for who in 0..at.control.executors.len() {
            let machine = at.control.executors[who].machine.edit(&self.sagas);
            let answer = moment.tick(self.saga_cells, who, machine, STEP);
            let effects = answer.map(|step| step.effects).unwrap_or_default();
            self.start_effects(at, who, &effects, moment.watch);
        }
    }

    /// Whether time leads on to something.
    fn leads_on(&self, at: &Situation) -> bool {
        let executors = &at.control.executors;
        let lives = 0..at.gateway.lives.len();
        executors.iter().any(|one| one.machine.get(&self.sagas).deadline().is_some())
            || lives.into_iter().any(|life| self.life(at, life).deadline().is_some())
            || at.control.calls.iter().any(|call| call.left.is_some())
            || at.gateway.row.deadline().is_some()
    }

    /// What holds of everybody who serves, at every moment.
    fn judge(&self, at: &Situation, watch: &mut Watch) {
        let mut others = Vec::new();
        for which in 0..at.gateway.lives.len() {
            let Some(epoch) = self.life(at, which).serving() else { continue };
            watch.check(STOPPED, at.gateway.promised.iter().any(|(promised, _)| *promised == epoch));
            watch.check(ONE, !others.contains(&epoch) && epoch <= at.gateway.row.epoch);
            others.push(epoch);
        }
    }

    /// A promise is over that nobody can serve on any more. One that was forgotten too soon would be seen as a
    /// violation.
    fn forget(&self, at: &mut Situation) {
        let lives = || (0..at.gateway.lives.len()).map(|which| self.life(at, which));
        let may_begin =
            lives().any(|life| matches!(life.at(), Place::Claiming | Place::Confirming | Place::Resuming));
        let served: Vec<u64> = lives().filter_map(LeaseHolder::serving).collect();
        let current = at.gateway.row.epoch;
        let kept =
            |epoch: u64| may_begin || served.contains(&epoch) || (epoch == current && !served.is_empty());
        at.gateway.promised.retain(|(epoch, _)| kept(*epoch));
    }

    fn serves(&self, gateway: &Gateway<Part<LeaseHolder>>) -> bool {
        let epoch = Some(gateway.row.epoch);
        gateway.lives.iter().any(|life| self.holders.get(life.holder).serving() == epoch)
    }

    fn control(&self, state: &State) -> &Control<Part<Saga>> {
        self.controls.get(state.control)
    }

    fn gateway(&self, state: &State) -> &Gateway<Part<LeaseHolder>> {
        self.gateways.get(state.gateway)
    }
}

impl World for Allocation {
    type Whole = Situation;
    type State = State;
    type Action = Action;

    fn start(&self) -> Vec<Situation> {
        let config = Config { steps: steps(), rollback_deadline: 10 * STEP, append_limit: STEP };
        let Ok(saga) = Saga::drawing(config, Random::Script(Vec::new()), 0) else { return Vec::new() };
        let start = |bounds| Situation {
            bounds,
            faults: 0,
            control: Control {
                journal: Some(Slot::new(saga.clone())),
                end: None,
                last: None,
                token: 0,
                output: None,
                suspect: false,
                undoing: false,
                executors: Vec::new(),
                calls: Vec::new(),
                cancelled: false,
                crashes: 0,
                takeovers: 0,
            },
            gateway: Gateway {
                row: Row::default(),
                ended: 0,
                confirmed: false,
                routes: Vec::new(),
                fence: 0,
                unheard: false,
                unrouting: None,
                strays: Vec::new(),
                lives: Vec::new(),
                incarnation: 0,
                promised: Vec::new(),
                handshake: None,
                later: false,
                kills: 0,
                stops: 0,
            },
        };
        (0..self.bounds.len() as u8).map(start).collect()
    }

    fn open(&self, state: &State) -> Situation {
        let (mut control, mut gateway) = (self.control(state).clone(), self.gateway(state).clone());
        let journal = control.journal.take().map(Slot::Kept);
        let executors = std::mem::take(&mut control.executors).into_iter().map(|one| Executor {
            machine: Slot::Kept(one.machine),
            token: one.token,
            append: one.append,
            output: one.output,
        });
        let executors = executors.collect();
        let lives = std::mem::take(&mut gateway.lives).into_iter().map(|life| Life {
            holder: Slot::Kept(life.holder),
            incarnation: life.incarnation,
            asks: life.asks,
        });
        let lives = lives.collect();
        Situation {
            bounds: state.bounds,
            faults: state.faults,
            control: control.with(journal, executors),
            gateway: gateway.with(lives),
        }
    }

    fn close(&self, whole: Situation) -> State {
        let Situation { bounds, faults, mut control, mut gateway } = whole;
        let mut executors = Vec::with_capacity(control.executors.len());
        for (who, mut one) in std::mem::take(&mut control.executors).into_iter().enumerate() {
            let own = |call: &&mut Call| call.caller == Some(who as u8);
            let calls = control.calls.iter_mut().filter(own).map(|call| &mut call.operation);
            let append = one.append.iter_mut().map(|(operation, _)| operation);
            let mut numbers: Vec<_> = calls.chain(append).map(|number| ("operation", number)).collect();
            let machine = one.machine.keep(&self.sagas, &mut numbers);
            executors.push(Executor { machine, token: one.token, append: one.append, output: one.output });
        }
        let mut lives = Vec::with_capacity(gateway.lives.len());
        for mut life in std::mem::take(&mut gateway.lives) {
            let mut numbers: Vec<_> =
                life.asks.iter_mut().map(|(operation, _)| ("operation", operation)).collect();
            let machine = life.holder.keep(&self.holders, &mut numbers);
            lives.push(Life { holder: machine, incarnation: life.incarnation, asks: life.asks });
        }
        let journal = control.journal.take().map(|journal| journal.keep(&self.sagas, &mut []));
        let (control, gateway) = (control.with(journal, executors), gateway.with(lives));
        State { bounds, faults, control: self.controls.part(control), gateway: self.gateways.part(gateway) }
    }

    fn actions(&self, at: &Situation, actions: &mut Vec<Action>) {
        let due = at.gateway.row.deadline().is_some_and(|deadline| deadline.at == 0);
        let waits = |call: &Call| call.caller.is_some() && self.is_answered(at, call);
        // Whoever is asked and does not fail answers in time.
        let quiet = !due
            && !at.control.calls.iter().any(waits)
            && at.control.executors.iter().all(|one| one.append.is_none())
            && at.gateway.lives.iter().all(|life| life.asks.is_none())
            && at.gateway.unrouting.is_none()
            && at.gateway.handshake.is_none();
        if quiet && self.leads_on(at) {
            actions.push(Action::Time);
        }
        self.of_control(at, actions);
        self.of_gateway(at, due, actions);
    }

    fn act(&self, at: &mut Situation, action: &Action, moment: &mut Moment<'_>) -> bool {
        let fault =
            matches!(action, Action::Fail(_) | Action::Unsure(_) | Action::Hang(_) | Action::Lose(..))
                || matches!(action, Action::Unroute(removal) if *removal != Removal::Done);
        at.faults += u8::from(fault);
        match *action {
            Action::Time => self.pass(at, moment),
            Action::Append(who) => {
                let executor = &mut at.control.executors[who];
                let Some((operation, entry)) = executor.append.take() else { return false };
                if executor.token < at.control.token {
                    self.tell(at, who, &Input::Fenced { operation }, moment);
                } else {
                    self.write(at, who, entry, moment.watch);
                    self.tell(at, who, &Input::Done { operation }, moment);
                }
            }
            Action::Crash(who, made) => {
                at.control.crashes += 1;
                if let (Some((_, entry)), true) = (at.control.executors[who].append, made) {
                    self.write(at, who, entry, moment.watch);
                }
                Self::leave(at, who);
            }
            Action::Recover | Action::TakeOver => {
                at.control.takeovers += u8::from(*action == Action::TakeOver);
                at.control.token += 1;
                let Some(journal) = &at.control.journal else { return false };
                let machine = Slot::new(journal.get(&self.sagas).clone());
                let (token, output) = (at.control.token, at.control.output);
                at.control.executors.push(Executor { machine, token, append: None, output });
                let begun = at.control.last.is_some();
                let input = if begun { Input::Recovered { torn: false } } else { Input::Start };
                self.tell(at, at.control.executors.len() - 1, &input, moment);
            }
            Action::Succeed(which) => {
                if let Some(answer) = self.land(at, which, moment) {
                    let call = at.control.calls.remove(which);
                    if let Some(caller) = call.caller {
                        self.tell(at, usize::from(caller), &answer(call.operation), moment);
                    }
                }
            }
            Action::Fail(which) => {
                let Call { caller, operation, work, .. } = at.control.calls.remove(which);
                at.gateway.unheard |= work == Work::Verify;
                let Some(caller) = caller else { return false };
                self.tell(at, usize::from(caller), &Input::Failed { operation }, moment);
            }
            Action::Unsure(which) => {
                let Call { caller, operation, .. } = at.control.calls[which];
                let Some(caller) = caller else { return false };
                self.give_up(at, which);
                self.tell(at, usize::from(caller), &Input::Unknown { operation }, moment);
            }
            Action::Hang(which) => self.give_up(at, which),
            Action::Land(which) => {
                if self.land(at, which, moment).is_some() {
                    at.control.calls.remove(which);
                }
            }
            Action::Vanish(which) => {
                at.control.calls.remove(which);
            }
            Action::Cancel(who) => {
                at.control.cancelled = true;
                self.tell(at, who, &Input::Cancel, moment);
            }
            Action::Scan => {
                let before = at.gateway.row;
                at.gateway.row = before.at(0, &self.terms);
                if at.faults == 0 && before.state() == LeaseState::Held {
                    // Whoever asks and is not answered in this very step has been.
                    let came = |life: &Life<Slot<LeaseHolder>>| {
                        life.incarnation > before.incarnation && life.asks.is_none()
                    };
                    moment.watch.check(KEPT, !at.gateway.lives.iter().any(came));
                }
                self.moved(at, &before, moment.watch);
            }
            Action::Unroute(removal) => {
                let Some((organization, epoch, attempt)) = at.gateway.unrouting.take() else { return false };
                if matches!(removal, Removal::Done | Removal::Unsaid) {
                    self.unroute(at, organization, epoch);
                }
                match removal {
                    Removal::Done => {
                        self.command(at, &Command::Unrouted { epoch }, moment);
                    }
                    Removal::Failed => {
                        self.command(at, &Command::UnrouteFailed { epoch, attempt }, moment);
                    }
                    Removal::Unsaid => {}
                    Removal::Late => at.gateway.strays.push(Stray::Unroute { organization, epoch }),
                }
            }
            Action::Later => {
                at.gateway.later = true;
                let organization = self.organization(at, LATER);
                let command = Command::Allocate { organization, request: LATER };
                if let lease::Effect::Allocated { epoch, .. } = self.command(at, &command, moment) {
                    Self::publish(at, Route { request: LATER, epoch });
                    at.gateway.handshake = Some(epoch);
                }
            }
            Action::Handshake(life) => {
                let Some(epoch) = at.gateway.handshake.take() else { return false };
                let granted = holder::Input::Granted { epoch };
                if !life.is_some_and(|life| self.tell_life(at, life, &granted, moment)) {
                    self.command(at, &Command::HandshakeFailed { epoch }, moment);
                }
            }
            Action::Boot => self.boot(at, moment),
            Action::Kill(which) => {
                at.gateway.kills += 1;
                Self::die(at, which);
            }
            Action::Stop(which, intent) => {
                at.gateway.stops += 1;
                self.tell_life(at, which, &holder::Input::Stop { intent }, moment);
            }
            Action::Drained(which) => {
                self.tell_life(at, which, &holder::Input::Drained, moment);
            }
            Action::Answer(which) => {
                let Some((operation, question)) = at.gateway.lives[which].asks.take() else { return false };
                let input = self.ask(at, operation, question, moment);
                self.tell_life(at, which, &input, moment);
            }
            Action::Lose(which, arrives) => {
                let Some((operation, question)) = at.gateway.lives[which].asks.take() else { return false };
                if arrives {
                    self.ask(at, operation, question, moment);
                } else {
                    at.gateway.strays.push(Stray::Asked(question));
                }
            }
            Action::Stray(which) => match at.gateway.strays.remove(which) {
                Stray::Asked(question) => {
                    self.ask(at, 1, question, moment);
                }
                Stray::Unroute { organization, epoch } => self.unroute(at, organization, epoch),
            },
            Action::Gone(which) => {
                at.gateway.strays.remove(which);
            }
        }
        // Whoever is over exits.
        for which in (0..at.gateway.lives.len()).rev() {
            if self.life(at, which).at() == Place::Over {
                Self::die(at, which);
            }
        }
        for who in (0..at.control.executors.len()).rev() {
            let phase = at.control.executors[who].machine.get(&self.sagas).phase();
            if is_over(phase) || phase == Phase::Fenced {
                if let (Some(end), true) = (&at.control.end, phase != Phase::Fenced) {
                    moment.watch.check(READABLE, phase == end.phase);
                }
                Self::leave(at, who);
            }
        }
        at.control.calls.sort_unstable();
        at.gateway.strays.sort_unstable();
        at.gateway.strays.dedup();
        Self::conclude(at);
        self.forget(at);
        true
    }

    fn properties(&self) -> Vec<&'static str> {
        vec![
            "P: a lease is ended once: no double release",
            "L4: a stale epoch changes nothing",
            "G5: an undo ends only what was granted for its own saga, and never what was committed",
            "L2: a gateway is given when it is free, and once for a request",
            "P: committed means that the gateway has confirmed the lease",
            "P: rolled back means that no lease and no route is left, nor comes to be",
            "P: stuck names the lease and the route that are left",
            "P: stuck names no route that is not there",
            "L4: no route leads to a gateway that is free",
            "L4: no route leads to a gateway that is another organization's",
            "P: a lease has its route, and whoever comes back in time has its lease: no gap",
            "L5: a reclaim keeps the organization",
            "L6: a holder has stopped before its lease could be another's",
            "L6: no two lives serve one epoch",
            "L5: of reclaim, renew, rollback and expiry one wins",
            "G4: what starts is durable before, and of the latest executor",
            "G5: no do after an undo began, whoever executes",
            "G8: a journal reads as what its executor knew",
            "G9: whoever is fenced does nothing more",
            "contract: an honest host is never refused, and every answer means something",
            "L6: a life is idle only when no lease is kept for it: no gap",
        ]
    }

    fn inspect(&self, state: &State, watch: &mut Watch) {
        let (control, gateway) = (self.control(state), self.gateway(state));
        self.judge(&self.open(state), watch);
        let Gateway { row, routes, .. } = gateway;
        let (lease, saga) = (row.state(), row.request == Some(WISH));
        let held = matches!(lease, LeaseState::Active | LeaseState::Held);
        let routed = |request: u64| routes.iter().any(|route| route.request == request);
        if lease == LeaseState::Free {
            watch.check(UNROUTED, routes.is_empty());
        }
        if is_live(row) {
            watch.check(TENANT, routes.iter().all(|route| Some(route.request) == row.request));
        }
        if held && !saga {
            watch.check(KEPT, routed(LATER));
        }
        let Some(end) = &control.end else { return };
        match end.phase {
            Phase::Committed => {
                if held && saga {
                    watch.check(KEPT, routed(WISH));
                }
            }
            Phase::RolledBack => {
                let left = routed(WISH) || (held && saga);
                watch.check(ROLLED_BACK, !left);
            }
            _ => {
                let named = |step: u8| end.leaked.contains(&step);
                watch.check(NAMED, (!routed(WISH) || named(ROUTE)) && (!(held && saga) || named(GATEWAY)));
            }
        }
    }

    fn may_end(&self, state: &State) -> bool {
        let (control, gateway) = (self.control(state), self.gateway(state));
        let idle = |life: &Life<Part<LeaseHolder>>| self.holders.get(life.holder).at() == Place::Idle;
        control.end.is_some() && gateway.row.state() == LeaseState::Free && gateway.lives.iter().all(idle)
    }

    fn fairness(&self, action: &Action) -> Option<u8> {
        match action {
            Action::Time => Some(TIME),
            Action::Recover => Some(RECOVER),
            Action::Append(_)
            | Action::Succeed(_)
            | Action::Scan
            | Action::Unroute(Removal::Done)
            | Action::Handshake(_)
            | Action::Drained(_)
            | Action::Answer(_) => Some(REPLY),
            _ => None,
        }
    }

    fn liveness(&self) -> Vec<LeadsTo<Explored<Self>>> {
        let fairness = Fairness { weak: 1 << TIME | 1 << REPLY | 1 << RECOVER, strong: 0 };
        vec![
            LeadsTo {
                name: "P: the saga is committed, rolled back or stuck in the end",
                concerns: |model, state| model.0.control(state).last.is_some(),
                goal: |model, state| model.0.control(state).end.is_some(),
                fairness,
            },
            LeadsTo {
                name: "L4: in the end the gateway is free, quarantined, or serves whoever has it",
                concerns: |model, state| {
                    !matches!(model.0.gateway(state).row.state(), LeaseState::Free | LeaseState::Quarantined)
                },
                goal: |model, state| {
                    let gateway = model.0.gateway(state);
                    match gateway.row.state() {
                        LeaseState::Free | LeaseState::Quarantined => true,
                        LeaseState::Active => model.0.serves(gateway),
                        _ => false,
                    }
                },
                fairness,
            },
            LeadsTo {
                name: "L4: a quarantine ends",
                concerns: |model, state| model.0.gateway(state).row.state() == LeaseState::Quarantined,
                goal: |model, state| model.0.gateway(state).row.state() != LeaseState::Quarantined,
                fairness,
            },
            LeadsTo {
                name: "L5: a later life that asks gets the lease that is kept for it",
                concerns: |model, state| {
                    let gateway = model.0.gateway(state);
                    let asks = |life: &Life<Part<LeaseHolder>>| {
                        life.incarnation > gateway.row.incarnation
                            && model.0.holders.get(life.holder).at() == Place::Claiming
                    };
                    matches!(gateway.row.state(), LeaseState::Held | LeaseState::Active)
                        && gateway.lives.iter().any(asks)
                },
                goal: |model, state| {
                    let gateway = model.0.gateway(state);
                    // Until it dies or is stopped, or the lease is taken back.
                    !matches!(gateway.row.state(), LeaseState::Held | LeaseState::Active)
                        || gateway.lives.is_empty()
                        || model.0.serves(gateway)
                },
                fairness,
            },
        ]
    }

    fn cells(&self) -> usize {
        self.holder_cells.end()
    }

    fn transitions(&self) -> Vec<Transition> {
        transitions::<Saga>().chain(transitions::<LeaseHolder>()).collect()
    }

    fn describe(&self, _: &Situation) -> Vec<Described> {
        Vec::new()
    }

    fn show(&self, at: &Situation) -> String {
        let executors: Vec<String> = at
            .control
            .executors
            .iter()
            .map(|one| format!("{} ({})", one.token, one.machine.get(&self.sagas).state()))
            .collect();
        let lives: Vec<String> = (0..at.gateway.lives.len())
            .map(|which| {
                let life = &at.gateway.lives[which];
                let machine = self.life(at, which);
                format!("{} {} {:?} {:?}", life.incarnation, machine.state(), machine.serving(), life.asks)
            })
            .collect();
        let Gateway { row, routes, fence, unrouting, strays, .. } = &at.gateway;
        let journal = at.control.journal.as_ref().map(|journal| journal.get(&self.sagas).phase());
        format!(
            "saga {journal:?} {:?} {executors:?} {:?}\n      {row:?}; {routes:?} fence {fence} {unrouting:?}; {lives:?} {strays:?}",
            at.control.end, at.control.calls
        )
    }
}

impl Allocation {
    /// What nothing depends on any more is forgotten, so that one end is one state.
    fn conclude(at: &mut Situation) {
        let Situation { control, gateway, .. } = at;
        if control.end.is_none() {
            return;
        }
        (gateway.confirmed, gateway.unheard) = (false, false);
        (control.cancelled, control.undoing) = (false, false);
        if control.executors.is_empty() {
            (control.token, control.crashes, control.takeovers) = (0, 0, 0);
        }
        if control.calls.is_empty() {
            (control.suspect, gateway.fence) = (false, 0);
        }
    }

    /// Nobody waits for a call any more, which may still land, if anything of it is left to do so.
    fn give_up(&self, at: &mut Situation, which: usize) {
        let call = at.control.calls[which];
        at.gateway.unheard |= call.work == Work::Verify;
        if call.work == Work::Verify || (call.step == HANDSHAKE && call.begun) {
            at.control.calls.remove(which);
        } else {
            Self::abandon(&mut at.control.calls[which]);
        }
    }

    /// What may happen at the control plane.
    fn of_control(&self, at: &Situation, actions: &mut Vec<Action>) {
        let bounds = self.bounds(at);
        let faulty = at.faults < bounds.faults;
        let crashes = at.control.crashes < bounds.crashes;
        for (who, one) in at.control.executors.iter().enumerate() {
            let latest = one.token == at.control.token;
            if one.append.is_some() {
                actions.push(Action::Append(who));
            }
            if crashes {
                actions.push(Action::Crash(who, false));
                if one.append.is_some() && latest {
                    actions.push(Action::Crash(who, true));
                }
            }
            let running = one.machine.get(&self.sagas).phase() == Phase::Running;
            if bounds.cancelled && !at.control.cancelled && latest && running {
                actions.push(Action::Cancel(who));
            }
        }
        if at.control.journal.is_some() {
            match at.control.executors.len() {
                0 => actions.push(Action::Recover),
                1 if at.control.takeovers < bounds.takeovers => actions.push(Action::TakeOver),
                _ => {}
            }
        }
        for (which, call) in at.control.calls.iter().enumerate() {
            if call.caller.is_none() {
                actions.extend([Action::Land(which), Action::Vanish(which)]);
                continue;
            }
            if self.is_answered(at, call) {
                actions.push(Action::Succeed(which));
            }
            if faulty {
                // What has begun has not certainly done nothing.
                if !call.begun && call.epoch.is_none_or(|_| call.step != GATEWAY) {
                    actions.push(Action::Fail(which));
                }
                actions.extend([Action::Unsure(which), Action::Hang(which)]);
            }
        }
    }

    /// What may happen in the pool and at the gateway.
    fn of_gateway(&self, at: &Situation, due: bool, actions: &mut Vec<Action>) {
        let (bounds, gateway) = (self.bounds(at), &at.gateway);
        let faulty = at.faults < bounds.faults;
        if due {
            actions.push(Action::Scan);
        }
        if gateway.unrouting.is_some() {
            actions.push(Action::Unroute(Removal::Done));
            if faulty {
                actions.extend([Removal::Failed, Removal::Unsaid, Removal::Late].map(Action::Unroute));
            }
        }
        if bounds.later && !gateway.later && gateway.row.state() == LeaseState::Free {
            actions.push(Action::Later);
        }
        if gateway.handshake.is_some() {
            // To the latest one: the earlier one of two has lost its address.
            actions.push(Action::Handshake(gateway.lives.len().checked_sub(1)));
        }
        if gateway.incarnation < u64::from(bounds.boots) && gateway.lives.len() < usize::from(bounds.lives) {
            actions.push(Action::Boot);
        }
        for (which, life) in gateway.lives.iter().enumerate() {
            let place = self.life(at, which).at();
            if gateway.kills < bounds.kills {
                actions.push(Action::Kill(which));
            }
            if gateway.stops < bounds.stops
                && matches!(place, Place::Claiming | Place::Confirming | Place::Holding)
            {
                actions.extend(
                    [Intent::Restart, Intent::Decommission].map(|intent| Action::Stop(which, intent)),
                );
            }
            if place == Place::Yielding {
                actions.push(Action::Drained(which));
            }
            if life.asks.is_some() {
                actions.push(Action::Answer(which));
                if faulty {
                    actions.extend([Action::Lose(which, true), Action::Lose(which, false)]);
                }
            }
        }
        for which in 0..gateway.strays.len() {
            actions.extend([Action::Stray(which), Action::Gone(which)]);
        }
    }
}

/// The bounds at a size, in words. Each of a list is explored by itself.
#[must_use]
pub fn bounds(size: Size) -> (&'static str, Vec<Bounds>) {
    // A gateway that is there before or comes later, and no trouble.
    let base = Bounds {
        faults: 0,
        crashes: 0,
        takeovers: 0,
        cancelled: false,
        boots: 1,
        lives: 1,
        kills: 0,
        stops: 0,
        later: false,
        same: false,
        fenced: true,
    };
    let restarted = Bounds { boots: 2, kills: 1, ..base };
    match size {
        Size::Small => (
            "1 gateway, a saga of 3 steps; one of: 1 crash of the executor, 1 of the gateway; 1 fault, cancelled at any \
             time; 1 takeover; 1 crash of the executor, a later wish of another organization",
            vec![
                Bounds { crashes: 1, ..restarted },
                Bounds { faults: 1, cancelled: true, ..base },
                Bounds { takeovers: 1, ..base },
                Bounds { crashes: 1, later: true, ..base },
            ],
        ),
        Size::Quick => (
            "1 gateway, a saga of 3 steps; one of: 1 crash of the executor, 1 of the gateway; 1 fault, cancelled at any \
             time, a later wish of another or the same organization; 1 takeover, 1 crash of the gateway; 1 crash of the \
             executor, a later wish of another organization",
            vec![
                Bounds { crashes: 1, ..restarted },
                Bounds { faults: 1, cancelled: true, later: true, ..base },
                Bounds { faults: 1, later: true, same: true, ..base },
                Bounds { takeovers: 1, ..restarted },
                Bounds { crashes: 1, later: true, ..base },
            ],
        ),
        Size::Full => (
            "1 gateway, a saga of 3 steps, 1 crash of the gateway; with one of: 1 crash of the executor and cancelled at any \
             time, or a later wish of another or the same organization, or 1 fault; 1 fault, cancelled at any time, a later \
             wish; 1 takeover, cancelled at any time; a clone or a third life, 1 announced stop; without a crash of the \
             gateway: 1 crash of the executor, 1 fault, cancelled at any time",
            vec![
                Bounds { crashes: 1, cancelled: true, ..restarted },
                Bounds { crashes: 1, later: true, ..restarted },
                Bounds { crashes: 1, later: true, same: true, ..restarted },
                Bounds { crashes: 1, faults: 1, ..restarted },
                Bounds { faults: 1, cancelled: true, later: true, ..restarted },
                Bounds { takeovers: 1, cancelled: true, ..restarted },
                Bounds { boots: 3, lives: 2, stops: 1, ..restarted },
                Bounds { crashes: 1, faults: 1, cancelled: true, ..base },
            ],
        ),
    }
}

/// What no host may be like: routes of a lease that is over can still be published.
#[must_use]
pub fn unfenced() -> Vec<Bounds> {
    bounds(Size::Small).1.into_iter().map(|bounds| Bounds { fenced: false, ..bounds }).collect()
}
