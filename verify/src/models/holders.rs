//! One gateway: its row at the granter, two lives of its process, the resource that they use, and the network between
//! them (L1–L7, H7).
//!
//! The row is decided by the shipping [`decide`], the lives are shipping holders, the resource asks a shipping
//! [`Fence`]. Messages are late, lost, doubled and overtaken, also beyond the death of their sender; lives crash, are
//! cloned (a second one starts while the first goes on), restored from a snapshot, stopped and handed over; un-routing
//! fails; the granter looks at its row up to a step late, and gives the gateway to another organization when it is
//! free. Clocks drift: in each step of time the granter counts [`GRANTER`], a life [`SLOW`] or as much. Then the faults
//! end, and what is owed has to come.
//!
//! What is *not* in here, as it is proved of each side by itself: how long a dead holder's gateway takes to be free
//! ([`super::lease`]), every order of answers that no granter gives ([`super::lease_holder`]), growing quarantines.

use tidegate::backoff::{Jitter, Policy};
use tidegate::lease::{self, Fence, Input as Command, LeaseState, Row, Standing, consequences, decide};
use tidegate::lease_holder::{Config, Effect, Input, LeaseHolder, State as Place};
use tidegate::{Intent, Machine, Millis, Random, Rules};

use crate::explore::Watch;
use crate::liveness::{Fairness, LeadsTo};
use crate::models::Size;
use crate::pool::{Loan, Part, Pool};
use crate::vectors::Described;
use crate::world::{Cells, Explored, Moment, Slot, Transition, World, transitions};

/// What a step of time is by the granter's clock, and by the slowest that the stated drift allows a life.
const GRANTER: Millis = 4;
const SLOW: Millis = 3;
/// That drift, in thousandths.
const DRIFT: u32 = 250;
/// Six steps of the granter: the fewest that leave time for a renew, whose answer may be a step late, for a drain and
/// for the margin. It is not a whole number of steps so that the draws for a renew fall on few different times.
const TERM: Millis = 6 * GRANTER - 1;

/// After so long, by the granter's clock, a question that was lost has been asked again: its limit, the pause, each of them
/// noticed up to a step late.
const AGAIN: Millis = 4 * GRANTER;

/// How much may go on at a time, and how often things may fail.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Lives that are begun before the faults end; two at a time.
    pub boots: u8,
    /// Grants before the faults end.
    pub grants: u64,
    /// Messages on the way at a time; what is sent beyond is lost.
    pub messages: usize,
    /// Whether time passes while messages are on the way. Else they arrive or are lost in the step that sent them.
    pub lag: bool,
    /// Whether messages are doubled.
    pub doubles: bool,
    /// Bad observations.
    pub observations: u8,
    /// Whether lives are decommissioned, besides restarted.
    pub decommissions: bool,
    /// Whether some clocks are as fast as the granter's.
    pub equal_clocks: bool,
    /// Whether lives are restored from snapshots, and hand over.
    pub revivals: bool,
}

/// The world.
pub struct Holders {
    pool: Pool<LeaseHolder>,
    granters: Pool<Granter>,
    gateways: Pool<Stored>,
    /// Each is explored by itself.
    bounds: Vec<Bounds>,
    terms: lease::Config,
    config: Config,
    cells: Cells,
}

/// What is on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Body {
    // To the granter.
    Claim { predecessor: Option<u64> },
    Confirm { epoch: u64 },
    Renew { epoch: u64 },
    Stop { epoch: u64, intent: Intent },
    // To a life.
    Mine { epoch: u64, term: Millis },
    NotMine { fenced: bool },
    Renewed { term: Millis },
    Refused,
    CannotKnow,
    Released,
    // To whatever life is there.
    Handshake { epoch: u64 },
    // To the resource.
    Call { epoch: u64 },
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Message {
    body: Body,
    /// The place of the life that sent it or that it is for; none when that one is gone.
    life: Option<u8>,
    incarnation: u64,
    operation: u32,
    /// It is a second copy.
    double: bool,
}

/// The granter's side: its row, and what hangs on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Granter {
    /// Its times are relative to now.
    row: Row,
    /// The row was due at the step before, and nobody has looked.
    overdue: bool,
    /// Until when an epoch was ever promised, by the granter's clock from now; those that are over are gone.
    promised: Vec<(u64, Millis)>,
    /// A route leads to the gateway.
    route: bool,
    /// The attempt to un-route that is under way.
    unrouting: Option<(u64, u32)>,
    /// The greatest epoch that the resource has seen, and the one that it honours beside it.
    seen: u64,
    honoured: Option<(u64, Millis)>,
}

/// One life of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Life<M> {
    holder: M,
    incarnation: u64,
    /// What a step of time is by its clock.
    pace: Millis,
    /// It was told that it has lost its lease.
    lost: bool,
}

/// The gateway's side: its lives, and what is on the way from them and to them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gateway<M> {
    lives: Vec<Life<M>>,
    incarnation: u64,
    messages: Vec<Message>,
}

/// The situation; with both sides to work on, or with their parts, to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Situation<G, L> {
    /// Which of the bounds hold.
    bounds: u8,
    granter: G,
    gateway: L,
    settled: bool,
    observations: u8,
    /// A life was begun after the faults.
    back: bool,
}

impl<G, L> Situation<G, L> {
    /// The same with other sides.
    fn with<H, M>(&self, granter: H, gateway: M) -> Situation<H, M> {
        let Self { bounds, settled, observations, back, .. } = *self;
        Situation { bounds, granter, gateway, settled, observations, back }
    }
}

/// One thing that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// One step of time.
    Time,
    /// The granter looks at its row.
    Scan,
    /// The free gateway is given to an organization.
    Allocate,
    /// Somebody sees the gateway fail.
    Observe,
    /// The route is removed, or that fails, or nobody hears of it.
    Unroute(Removal),
    /// A process starts, with a clock of this pace.
    Boot(Millis),
    /// A life dies.
    Crash(usize),
    /// A life ends serving, and says why.
    Stop(usize, Intent),
    /// The drain of a life is over.
    Drained(usize),
    /// A life comes back from its snapshot.
    Restore(usize),
    /// A life hands over to a new one.
    HandOver(usize),
    /// A life calls the resource; or the call is late.
    Call(usize, bool),
    /// A message arrives; it may still come a second time.
    Deliver(usize, bool),
    /// A handshake arrives at this life.
    Handshake(usize, usize),
    /// A message does not arrive.
    Lose(usize),
    /// No more faults.
    Settle,
}

/// What comes of an attempt to un-route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is removed.
    Done,
    /// It is not, and that is said.
    Failed,
    /// It is removed, but nobody says so.
    Unsaid,
}

const GROW: usize = 0;
const FENCE: usize = 1;
const STOPPED: usize = 2;
const WINNER: usize = 3;
const SAFE: usize = 4;
const LOST: usize = 5;
const UNROUTED: usize = 6;
const KEPT: usize = 7;
const HONEST: usize = 8;
const STALE: usize = 9;

const TIME: u8 = 0;
const REPLY: u8 = 1;

type Stored = Gateway<Part<LeaseHolder>>;
type Working = Situation<Loan<Granter>, Loan<Gateway<Slot<LeaseHolder>>, Stored>>;
type Kept = Situation<Part<Granter>, Part<Stored>>;

impl Holders {
    /// A world with these bounds.
    #[must_use]
    pub fn new(bounds: Vec<Bounds>) -> Self {
        let terms = lease::Config {
            term: TERM,
            grace: 2 * GRANTER,
            idle_hold: 0,
            allocate_limit: 2 * GRANTER,
            unroute_limit: GRANTER,
            unroute_attempts: 1,
            unroute_pause: GRANTER,
            quarantine: GRANTER,
            quarantine_max: GRANTER,
            suspicion: GRANTER,
            handoff: 2 * GRANTER,
        };
        let retry =
            Policy { initial: SLOW, cap: SLOW, floor: SLOW, jitter: Jitter::None, ..Policy::default() };
        let config = Config {
            term: TERM,
            drain: SLOW - 1,
            // A life is woken less than a step late.
            margin: SLOW,
            drift: DRIFT,
            // Answers come in this step or the next one.
            ask_limit: SLOW + 1,
            release_limit: SLOW + 1,
            retry,
        };
        Self {
            pool: Pool::default(),
            granters: Pool::default(),
            gateways: Pool::default(),
            bounds,
            terms,
            config,
            cells: Cells::of::<LeaseHolder>(0),
        }
    }

    fn life<'a>(&'a self, at: &'a Working, which: usize) -> &'a LeaseHolder {
        at.gateway.lives[which].holder.get(&self.pool)
    }

    fn bounds(&self, at: &Working) -> Bounds {
        self.bounds[usize::from(at.bounds)]
    }

    fn serves(&self, at: &Working, which: usize) -> Option<u64> {
        self.life(at, which).serving()
    }

    fn send(&self, at: &mut Working, message: Message) {
        if at.settled || at.gateway.messages.len() < self.bounds(at).messages {
            at.gateway.messages.push(message);
        }
    }

    // The granter.

    fn command(&self, at: &mut Working, command: &Command, moment: &mut Moment<'_>) -> lease::Effect {
        let before = at.granter.row;
        let (row, answer) = decide(before, command, 0, &self.terms);
        at.granter.row = row;
        let led_on = before.at(0, &self.terms);
        let refused = matches!(answer, lease::Effect::Refused { .. });
        if refused {
            moment.watch.check(STALE, row == led_on);
        }
        if row.epoch != before.epoch {
            moment
                .watch
                .check(GROW, row.epoch > before.epoch && row.epoch > at.granter.seen.max(before.epoch));
        }
        if let lease::Effect::Reclaimed { organization, epoch, .. } = answer {
            moment.watch.check(KEPT, led_on.organization() == Some(organization) && at.granter.route);
            if let Standing::Active { predecessor: Some(left), .. } = row.standing
                && epoch != before.epoch
            {
                // The resource is told of a handover.
                at.granter.honoured = (at.granter.seen == before.epoch).then_some((before.epoch, left));
                at.granter.seen = epoch;
            }
        }
        if let lease::Effect::Allocated { .. } = answer {
            at.granter.route = true;
        }
        self.moved(at, &before, moment);
        answer
    }

    /// The row has changed, or time has led it on.
    fn moved(&self, at: &mut Working, before: &Row, moment: &mut Moment<'_>) {
        at.granter.overdue &= at.granter.row == *before;
        if let Standing::Active { until, .. } = at.granter.row.standing {
            let epoch = at.granter.row.epoch;
            match at.granter.promised.iter_mut().find(|(known, _)| *known == epoch) {
                Some((_, promised)) => *promised = until.max(*promised),
                None => at.granter.promised.push((epoch, until)),
            }
        }
        for effect in consequences(before, &at.granter.row, &self.terms) {
            match effect {
                lease::Effect::Unroute { epoch, attempt, .. } => {
                    at.granter.unrouting = Some((epoch, attempt))
                }
                lease::Effect::Entered { state: LeaseState::Free, .. } => {
                    moment.watch.check(UNROUTED, !at.granter.route);
                    at.granter.unrouting = None;
                }
                _ => {}
            }
        }
    }

    /// A question or a stop arrives at the granter; its answer sets out.
    fn ask(&self, at: &mut Working, message: Message, moment: &mut Moment<'_>) {
        let (incarnation, operation) = (message.incarnation, message.operation);
        let limit = 1;
        let (command, question) = match message.body {
            Body::Claim { predecessor } => {
                (Command::Claim { incarnation, predecessor }, Effect::Claim { operation, limit, predecessor })
            }
            Body::Confirm { epoch } => {
                (Command::Confirm { epoch, incarnation }, Effect::Confirm { operation, epoch, limit })
            }
            Body::Renew { epoch } => (Command::Renew { epoch }, Effect::Renew { operation, epoch, limit }),
            Body::Stop { epoch, intent } => {
                (Command::Stop { epoch, intent }, Effect::Release { operation, epoch, intent, limit })
            }
            _ => return,
        };
        let answer = self.command(at, &command, moment);
        let meaning = Input::answering(&question, &answer);
        moment.watch.check(HONEST, meaning.is_some());
        let body = match meaning {
            Some(Input::Mine { epoch, term, .. }) => Body::Mine { epoch, term },
            Some(Input::NotMine { fenced, .. }) => Body::NotMine { fenced },
            Some(Input::Renewed { term, .. }) => Body::Renewed { term },
            Some(Input::Refused { .. }) => Body::Refused,
            Some(Input::Released { .. }) => Body::Released,
            _ => Body::CannotKnow,
        };
        if message.life.is_some() {
            self.send(at, Message { body, double: false, ..message });
        }
    }

    // The lives.

    fn boot(&self, at: &mut Working, pace: Millis, predecessor: Option<u64>, moment: &mut Moment<'_>) {
        let Ok(holder) = LeaseHolder::drawing(self.config.clone(), Random::Script(Vec::new()), 0) else {
            return;
        };
        at.gateway.incarnation += 1;
        let incarnation = at.gateway.incarnation;
        at.gateway.lives.push(Life { holder: Slot::new(holder), incarnation, pace, lost: false });
        self.tell(at, at.gateway.lives.len() - 1, &Input::Boot { predecessor }, moment);
    }

    fn tell(&self, at: &mut Working, which: usize, input: &Input, moment: &mut Moment<'_>) -> bool {
        let life = &mut at.gateway.lives[which];
        let holder = life.holder.edit(&self.pool);
        let had = !matches!(holder.at(), Place::Claiming | Place::Confirming | Place::Idle);
        let answer = moment.handle(self.cells, which, holder, input);
        life.lost |= match *input {
            Input::Refused { .. } => had && !matches!(holder.at(), Place::Holding | Place::Resuming),
            Input::NotMine { fenced, .. } => fenced && holder.at() == Place::Over,
            _ => false,
        };
        match answer {
            Ok(step) => self.carry(at, which, &step.effects, moment),
            Err(_) if matches!(input, Input::Granted { .. }) => return false,
            Err(_) => moment.watch.check(HONEST, false),
        }
        true
    }

    fn carry(&self, at: &mut Working, which: usize, effects: &[Effect], moment: &mut Moment<'_>) {
        for effect in effects {
            let life = &mut at.gateway.lives[which];
            let incarnation = life.incarnation;
            let (operation, body) = match *effect {
                Effect::Claim { operation, predecessor, .. } => (operation, Body::Claim { predecessor }),
                Effect::Confirm { operation, epoch, .. } => (operation, Body::Confirm { epoch }),
                Effect::Renew { operation, epoch, .. } => (operation, Body::Renew { epoch }),
                Effect::Release { operation, epoch, intent, .. } => (operation, Body::Stop { epoch, intent }),
                Effect::Serve { .. } => {
                    moment.watch.check(LOST, !life.lost);
                    continue;
                }
                _ => continue,
            };
            if !matches!(body, Body::Stop { .. }) {
                moment.watch.check(LOST, !life.lost);
            }
            self.send(at, Message { body, life: Some(which as u8), incarnation, operation, double: false });
        }
    }

    /// A life is gone: nobody waits for answers to it, and the places after it move up.
    fn leave(at: &mut Working, which: usize) {
        at.gateway.lives.remove(which);
        let which = which as u8;
        let to_granter = |body: &Body| {
            matches!(body, Body::Claim { .. } | Body::Confirm { .. } | Body::Renew { .. } | Body::Stop { .. })
        };
        at.gateway.messages.retain(|message| message.life != Some(which) || to_granter(&message.body));
        for message in &mut at.gateway.messages {
            match message.life {
                Some(place) if place == which => (message.life, message.operation) = (None, 0),
                Some(place) if place > which => message.life = Some(place - 1),
                _ => {}
            }
        }
    }

    /// A call arrives at the resource; whether it is admitted.
    fn call(&self, at: &mut Working, epoch: u64, watch: &mut Watch) -> bool {
        let mut fence = match at.granter.honoured {
            Some((earlier, left)) => {
                let mut fence = Fence::at(earlier);
                fence.hand_over(at.granter.seen, left);
                fence
            }
            None => Fence::at(at.granter.seen),
        };
        let honoured = at.granter.honoured.is_some_and(|(earlier, _)| earlier == epoch);
        let admitted = fence.admits(epoch, 0);
        watch.check(FENCE, admitted == (epoch >= at.granter.seen || honoured));
        if epoch > at.granter.seen {
            (at.granter.seen, at.granter.honoured) = (epoch, None);
        }
        admitted
    }

    fn pass(&self, at: &mut Working, moment: &mut Moment<'_>) {
        at.granter.overdue = at.granter.row.deadline().is_some_and(|deadline| deadline.at == 0);
        match &mut at.granter.row.standing {
            Standing::Free | Standing::Retired => {}
            Standing::Active { until, suspect, predecessor, .. } => {
                *until = until.saturating_sub(GRANTER);
                *suspect = suspect.map(|from| from.saturating_sub(GRANTER));
                *predecessor = predecessor.map(|left| left.saturating_sub(GRANTER)).filter(|left| *left > 0);
            }
            Standing::Allocating { until, .. }
            | Standing::Held { until, .. }
            | Standing::Releasing { until, .. }
            | Standing::Quarantined { until, .. } => *until = until.saturating_sub(GRANTER),
        }
        at.granter.promised.iter_mut().for_each(|(_, left)| *left = left.saturating_sub(GRANTER));
        at.granter.promised.retain(|(_, left)| *left > 0);
        at.granter.honoured = at
            .granter
            .honoured
            .map(|(epoch, left)| (epoch, left.saturating_sub(GRANTER)))
            .filter(|(_, left)| *left > 0);
        // L6: what serves now has not been woken yet; it must have been in time before.
        self.judge(at, moment.watch);
        for which in 0..at.gateway.lives.len() {
            let pace = at.gateway.lives[which].pace;
            let holder = at.gateway.lives[which].holder.edit(&self.pool);
            let effects =
                moment.tick(self.cells, which, holder, pace).map(|step| step.effects).unwrap_or_default();
            self.carry(at, which, &effects, moment);
        }
    }

    /// A promise is over that nobody can serve on any more. One that was forgotten too soon would be seen as a
    /// violation.
    fn forget(&self, at: &mut Working) {
        let lives = || (0..at.gateway.lives.len()).map(|which| self.life(at, which));
        let may_begin =
            lives().any(|life| matches!(life.at(), Place::Claiming | Place::Confirming | Place::Resuming));
        let served: Vec<u64> = lives().filter_map(LeaseHolder::serving).collect();
        let current = at.granter.row.epoch;
        let kept =
            |epoch: u64| may_begin || served.contains(&epoch) || (epoch == current && !served.is_empty());
        at.granter.promised.retain(|(epoch, _)| kept(*epoch));
    }

    /// What holds of everybody who serves, at every moment.
    fn judge(&self, at: &Working, watch: &mut Watch) {
        let mut others = Vec::new();
        for which in 0..at.gateway.lives.len() {
            let Some(epoch) = self.serves(at, which) else { continue };
            watch.check(STOPPED, at.granter.promised.iter().any(|(promised, _)| *promised == epoch));
            watch.check(WINNER, !others.contains(&epoch) && epoch <= at.granter.row.epoch);
            if epoch == at.granter.row.epoch {
                watch.check(SAFE, matches!(at.granter.row.state(), LeaseState::Active | LeaseState::Held));
            }
            others.push(epoch);
        }
    }

    fn at(&self, life: &Life<Part<LeaseHolder>>) -> Place {
        self.pool.get(life.holder).at()
    }

    fn row(&self, state: &Kept) -> &Row {
        &self.granters.get(state.granter).row
    }

    fn gateway(&self, state: &Kept) -> &Stored {
        self.gateways.get(state.gateway)
    }
}

impl World for Holders {
    type Whole = Working;
    type State = Kept;
    type Action = Action;

    fn start(&self) -> Vec<Working> {
        let start = |bounds| Situation {
            bounds,
            granter: Loan::new(Granter::default()),
            gateway: Loan::new(Gateway { lives: Vec::new(), incarnation: 0, messages: Vec::new() }),
            settled: false,
            observations: 0,
            back: false,
        };
        (0..self.bounds.len() as u8).map(start).collect()
    }

    fn open(&self, state: &Kept) -> Working {
        let Gateway { lives, incarnation, messages } = self.gateway(state);
        let lives = lives.iter().map(|life| Life {
            holder: Slot::Kept(life.holder),
            incarnation: life.incarnation,
            pace: life.pace,
            lost: life.lost,
        });
        let gateway =
            Gateway { lives: lives.collect(), incarnation: *incarnation, messages: messages.clone() };
        state.with(self.granters.lend(state.granter), Loan::of(gateway, state.gateway))
    }

    fn close(&self, whole: Working) -> Kept {
        let kept = whole.with((), ());
        let granter = whole.granter.keep(&self.granters, |granter| granter);
        let gateway = whole.gateway.keep(&self.gateways, |Gateway { lives, incarnation, mut messages }| {
            let keep = |(which, life): (usize, Life<Slot<LeaseHolder>>)| {
                let own = |message: &&mut Message| message.life == Some(which as u8);
                let own = messages.iter_mut().filter(own);
                let mut numbers: Vec<_> = own.map(|message| ("operation", &mut message.operation)).collect();
                let holder = life.holder.keep(&self.pool, &mut numbers);
                let Life { incarnation, pace, lost, .. } = life;
                Life { holder, incarnation, pace, lost }
            };
            let lives = lives.into_iter().enumerate().map(keep).collect();
            Gateway { lives, incarnation, messages }
        });
        kept.with(granter, gateway)
    }

    fn actions(&self, at: &Working, actions: &mut Vec<Action>) {
        let wild = !at.settled;
        let due = at.granter.row.deadline().is_some_and(|deadline| deadline.at == 0);
        let nothing_hangs = if wild {
            at.gateway.messages.is_empty() || self.bounds(at).lag
        } else {
            at.gateway.messages.is_empty() && at.granter.unrouting.is_none()
        };
        if nothing_hangs && !at.granter.overdue {
            actions.push(Action::Time);
        }
        if due {
            actions.push(Action::Scan);
        }
        if at.granter.unrouting.is_some() {
            actions.push(Action::Unroute(Removal::Done));
            if wild {
                actions.extend([Removal::Failed, Removal::Unsaid].map(Action::Unroute));
            }
        }
        for (which, life) in at.gateway.lives.iter().enumerate() {
            let place = self.life(at, which).at();
            if place == Place::Yielding {
                actions.push(Action::Drained(which));
            }
            if !wild {
                continue;
            }
            actions.push(Action::Crash(which));
            if matches!(place, Place::Holding | Place::Claiming | Place::Confirming) {
                actions.push(Action::Stop(which, Intent::Restart));
                if self.bounds(at).decommissions {
                    actions.push(Action::Stop(which, Intent::Decommission));
                }
            }
            if place == Place::Holding && self.bounds(at).revivals {
                actions.push(Action::Restore(which));
                if at.gateway.lives.len() < 2 && at.gateway.incarnation < u64::from(self.bounds(at).boots) {
                    actions.push(Action::HandOver(which));
                }
            }
            if self.serves(at, which).is_some() && !life.lost {
                actions.extend([false, true].map(|late| Action::Call(which, late)));
            }
        }
        self.messages(at, actions);
        if wild {
            actions.push(Action::Settle);
            if at.granter.row.epoch < self.bounds(at).grants && at.granter.row.state() == LeaseState::Free {
                actions.push(Action::Allocate);
            }
            if at.observations < self.bounds(at).observations && at.granter.row.state() == LeaseState::Active
            {
                actions.push(Action::Observe);
            }
            if at.gateway.lives.len() < 2 && at.gateway.incarnation < u64::from(self.bounds(at).boots) {
                actions.push(Action::Boot(SLOW));
                if self.bounds(at).equal_clocks {
                    actions.push(Action::Boot(GRANTER));
                }
            }
        } else if at.gateway.lives.is_empty() && !at.back {
            actions.push(Action::Boot(SLOW));
        }
    }

    fn act(&self, at: &mut Working, action: &Action, moment: &mut Moment<'_>) -> bool {
        match *action {
            Action::Time => self.pass(at, moment),
            Action::Scan => {
                let before = at.granter.row;
                at.granter.row = before.at(0, &self.terms);
                self.moved(at, &before, moment);
            }
            Action::Allocate => {
                let number = at.granter.row.request.unwrap_or(0) + 1;
                let command = Command::Allocate { organization: number, request: number };
                if let lease::Effect::Allocated { epoch, .. } = self.command(at, &command, moment) {
                    let body = Body::Handshake { epoch };
                    self.send(at, Message { body, life: None, incarnation: 0, operation: 0, double: false });
                }
            }
            Action::Observe => {
                at.observations += 1;
                let epoch = at.granter.row.epoch;
                self.command(at, &Command::Observe { epoch, well: false }, moment);
            }
            Action::Unroute(removal) => {
                let Some((epoch, attempt)) = at.granter.unrouting.take() else { return false };
                if removal != Removal::Failed {
                    // The route of that lease, and not one that was made since.
                    at.granter.route &= epoch != at.granter.row.epoch;
                }
                match removal {
                    Removal::Done => self.command(at, &Command::Unrouted { epoch }, moment),
                    Removal::Failed => self.command(at, &Command::UnrouteFailed { epoch, attempt }, moment),
                    Removal::Unsaid => return true,
                };
            }
            Action::Boot(pace) => {
                at.back = at.settled;
                self.boot(at, pace, None, moment);
            }
            Action::Crash(which) => Self::leave(at, which),
            Action::Stop(which, intent) => {
                self.tell(at, which, &Input::Stop { intent }, moment);
            }
            Action::Drained(which) => {
                self.tell(at, which, &Input::Drained, moment);
            }
            Action::Restore(which) => {
                let holder = at.gateway.lives[which].holder.edit(&self.pool);
                let now = holder.clock().now();
                let record = holder.snapshot(now).ok();
                let Some(restored) = record.and_then(|record| LeaseHolder::restore(&record, now, 0).ok())
                else {
                    return false;
                };
                *holder = restored;
                moment.watch.check(HONEST, holder.serving().is_none());
                let effects =
                    moment.tick(self.cells, which, holder, 0).map(|step| step.effects).unwrap_or_default();
                self.carry(at, which, &effects, moment);
            }
            Action::HandOver(which) => {
                let epoch = self.life(at, which).serving();
                self.tell(at, which, &Input::HandedOver, moment);
                self.boot(at, SLOW, epoch, moment);
            }
            Action::Call(which, late) => {
                let Some(epoch) = self.serves(at, which) else { return false };
                if late {
                    let body = Body::Call { epoch };
                    self.send(at, Message { body, life: None, incarnation: 0, operation: 0, double: false });
                } else if !self.call(at, epoch, moment.watch) {
                    at.gateway.lives[which].lost = true;
                    self.tell(at, which, &Input::Fenced { epoch }, moment);
                }
            }
            Action::Deliver(which, again) => {
                let message = at.gateway.messages.remove(which);
                if again {
                    at.gateway.messages.push(Message { double: true, ..message });
                }
                self.deliver(at, message, moment);
            }
            Action::Handshake(which, life) => {
                let message = at.gateway.messages.remove(which);
                let Body::Handshake { epoch } = message.body else { return false };
                if !self.tell(at, life, &Input::Granted { epoch }, moment) {
                    self.command(at, &Command::HandshakeFailed { epoch }, moment);
                }
            }
            Action::Lose(which) => {
                at.gateway.messages.remove(which);
            }
            Action::Settle => {
                // What would arrive after this could have arrived just before it.
                at.gateway.messages.clear();
                at.settled = true;
            }
        }
        // Whoever is over exits.
        for which in (0..at.gateway.lives.len()).rev() {
            if self.life(at, which).at() == Place::Over {
                Self::leave(at, which);
            }
        }
        at.gateway.messages.sort_unstable();
        self.forget(at);
        true
    }

    fn properties(&self) -> Vec<&'static str> {
        vec![
            "P: epochs strictly increase with each grant",
            "L6: the resource refuses anything below the highest epoch that it has seen",
            "L6: a holder has stopped before the granter could expire its lease, at the stated drift",
            "L5: of reclaim, renew and expiry one wins: no two lives serve one epoch",
            "L4: nobody's lease is released while it is served",
            "L5: who has lost its lease never comes back",
            "L4: a gateway is free only when no route leads to it",
            "L5: a reclaim keeps the organization and its route",
            "contract: an honest host is never refused, and every answer means something",
            "L4: a refusal changes nothing",
        ]
    }

    fn inspect(&self, state: &Self::State, watch: &mut Watch) {
        self.judge(&self.open(state), watch);
    }

    fn may_end(&self, _: &Self::State) -> bool {
        false
    }

    fn fairness(&self, action: &Action) -> Option<u8> {
        match action {
            Action::Time => Some(TIME),
            Action::Scan
            | Action::Deliver(_, false)
            | Action::Handshake(..)
            | Action::Unroute(Removal::Done)
            | Action::Drained(_) => Some(REPLY),
            _ => None,
        }
    }

    fn liveness(&self) -> Vec<LeadsTo<Explored<Self>>> {
        let fairness = Fairness { weak: 1 << TIME | 1 << REPLY, strong: 0 };
        vec![
            LeadsTo {
                name: "L6: after the faults every question gets a definite answer",
                concerns: |model, state| state.settled && model.0.asks(state),
                goal: |model, state| !model.0.asks(state),
                fairness,
            },
            LeadsTo {
                name: "P: a gateway that does not come back is free or reported in the end",
                concerns: |model, state| state.settled && model.0.gateway(state).lives.is_empty(),
                goal: |model, state| {
                    let row = model.0.row(state).state();
                    let over = matches!(row, LeaseState::Free | LeaseState::Quarantined);
                    over || !model.0.gateway(state).lives.is_empty()
                },
                fairness,
            },
            LeadsTo {
                name: "L5: after the faults a lone later life that asks in time serves under the lease that is kept for it",
                concerns: |model, state| {
                    let (row, Gateway { lives, messages, .. }) = (model.0.row(state), model.0.gateway(state));
                    let later = |life: &Life<Part<LeaseHolder>>| {
                        life.incarnation > row.incarnation && model.0.at(life) == Place::Claiming
                    };
                    // Its question is on the way, or there is time for the next one: this one may have been lost. A life
                    // before it that releases the lease meanwhile leaves it no more than the grace period.
                    let stop = |message: &Message| matches!(message.body, Body::Stop { .. });
                    let alone = lives.len() == 1 && !messages.iter().any(stop);
                    let asked = |message: &Message| matches!(message.body, Body::Claim { .. });
                    let enough = if messages.iter().any(asked) { 1 } else { AGAIN };
                    let kept = match row.standing {
                        Standing::Held { until, .. } | Standing::Active { until, .. } => until >= enough,
                        _ => false,
                    };
                    state.settled && alone && kept && lives.iter().any(later)
                },
                goal: |model, state| {
                    let epoch = Some(model.0.row(state).epoch);
                    let serves =
                        |life: &Life<Part<LeaseHolder>>| model.0.pool.get(life.holder).serving() == epoch;
                    model.0.gateway(state).lives.iter().any(serves)
                },
                fairness,
            },
        ]
    }

    fn cells(&self) -> usize {
        self.cells.count()
    }

    fn transitions(&self) -> Vec<Transition> {
        transitions::<LeaseHolder>().collect()
    }

    fn describe(&self, _: &Working) -> Vec<Described> {
        Vec::new()
    }

    fn show(&self, at: &Working) -> String {
        let lives: Vec<String> = at
            .gateway
            .lives
            .iter()
            .map(|life| {
                let holder = life.holder.get(&self.pool);
                format!("{} {} {:?}", life.incarnation, holder.state(), holder.serving())
            })
            .collect();
        format!(
            "{:?}; {lives:?}; {:?}; promised {:?}, seen {}, route {}",
            at.granter.row, at.gateway.messages, at.granter.promised, at.granter.seen, at.granter.route
        )
    }
}

impl Holders {
    /// What may become of messages.
    fn messages(&self, at: &Working, actions: &mut Vec<Action>) {
        let wild = !at.settled;
        let doubled = at.gateway.messages.iter().any(|message| message.double);
        for (which, message) in at.gateway.messages.iter().enumerate() {
            // So many grants are looked at, then claims are lost.
            let claim = matches!(message.body, Body::Claim { .. });
            let bounded = wild && claim && at.granter.row.epoch >= self.bounds(at).grants;
            match message.body {
                Body::Handshake { .. } if at.gateway.lives.is_empty() => {
                    actions.push(Action::Deliver(which, false))
                }
                Body::Handshake { .. } => {
                    actions.extend((0..at.gateway.lives.len()).map(|life| Action::Handshake(which, life)));
                }
                _ if bounded => {}
                _ => {
                    actions.push(Action::Deliver(which, false));
                    if wild && self.bounds(at).doubles && !doubled {
                        actions.push(Action::Deliver(which, true));
                    }
                }
            }
            if wild {
                actions.push(Action::Lose(which));
            }
        }
    }

    fn deliver(&self, at: &mut Working, message: Message, moment: &mut Moment<'_>) {
        let operation = message.operation;
        let input = match message.body {
            Body::Claim { .. } | Body::Confirm { .. } | Body::Renew { .. } | Body::Stop { .. } => {
                return self.ask(at, message, moment);
            }
            Body::Call { epoch } => {
                self.call(at, epoch, moment.watch);
                return;
            }
            // Nobody is there.
            Body::Handshake { epoch } => {
                self.command(at, &Command::HandshakeFailed { epoch }, moment);
                return;
            }
            Body::Mine { epoch, term } => Input::Mine { operation, epoch, term },
            Body::NotMine { fenced } => Input::NotMine { operation, fenced },
            Body::Renewed { term } => Input::Renewed { operation, term },
            Body::Refused => Input::Refused { operation },
            Body::CannotKnow => Input::CannotKnow { operation },
            Body::Released => Input::Released { operation },
        };
        if let Some(life) = message.life {
            self.tell(at, usize::from(life), &input, moment);
        }
    }

    /// Whether a life waits for a definite answer.
    fn asks(&self, state: &Kept) -> bool {
        self.gateway(state)
            .lives
            .iter()
            .any(|life| matches!(self.at(life), Place::Claiming | Place::Confirming))
    }
}

/// The bounds at a size, in words. Each of a list is explored by itself: all at once would be too many states.
#[must_use]
pub fn bounds(size: Size) -> (&'static str, Vec<Bounds>) {
    let base = Bounds {
        boots: 2,
        grants: 2,
        messages: 1,
        lag: false,
        doubles: false,
        observations: 0,
        decommissions: false,
        equal_clocks: false,
        revivals: false,
    };
    match size {
        Size::Small => (
            "1 row, 2 lives, 2 grants before the faults end; ≤ 1 message, lost or answered at once; restarts; slow clocks",
            vec![base],
        ),
        Size::Quick => (
            "1 row, 2 lives, 2 grants before the faults end; ≤ 1 message, up to late for ever; restarts, decommissions; slow \
             clocks",
            vec![Bounds { lag: true, decommissions: true, ..base }],
        ),
        Size::Full => (
            "1 row, before the faults end one of: 2 lives, 2 grants, 1 message up to late for ever, decommissions, handovers, \
             snapshots; 2 lives, 3 grants, 2 messages, handovers, snapshots; slow and equal clocks, doubled messages, a bad \
             observation; 3 lives, two at a time",
            vec![
                Bounds { lag: true, decommissions: true, revivals: true, ..base },
                Bounds { grants: 3, messages: 2, revivals: true, ..base },
                Bounds { equal_clocks: true, doubles: true, observations: 1, ..base },
                Bounds { boots: 3, ..base },
            ],
        ),
    }
}
