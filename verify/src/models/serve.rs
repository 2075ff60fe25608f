//! A drain and an honest host that may be slow, and may never answer (D1–D10).
//!
//! The host counts truly, but tells it when it likes; requests, idle connections, streams and tunnels come while the
//! door is open; idle connections turn busy at the worst time; operations are done, fail, or are never answered; the
//! cut works, or does not. Whatever happens, time alone brings the stop to its end.

use tidegate::drain::{Config, Drain, Effect, Input, Phase};
use tidegate::{Intent, Machine, Random, Rules};

use crate::explore::Watch;
use crate::liveness::{Fairness, LeadsTo};
use crate::models::Size;
use crate::pool::{Part, Pool};
use crate::vectors::Described;
use crate::world::{Cells, Explored, Moment, Slot, Transition, World, described, transitions};

/// How much work there is.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Requests at a time.
    pub requests: u8,
    /// Tunnels at a time.
    pub tunnels: u8,
    /// Arrivals in all, from the begin on.
    pub arrivals: u8,
}

/// The world.
pub struct Serve {
    pool: Pool<Drain>,
    configs: Vec<Config>,
    bounds: Bounds,
    cells: Cells,
}

/// The host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Host {
    ready: bool,
    door_open: bool,
    /// New tunnels are accepted.
    registering: bool,
    requests: u8,
    idle: u8,
    tunnels: u8,
    told: u8,
    arrivals: u8,
    /// What the machine knows is not what there is.
    stale: bool,
    counting: bool,
    /// The operations to be answered.
    step: u32,
    door: u32,
    rows: u32,
    /// Un-route steps that have not been over yet; the machine may not close the door meanwhile.
    unrouting: bool,
    sweeping: bool,
    closing: bool,
    aborting: bool,
    /// Work that was cut.
    cut: u8,
    /// When releasing began: one more than the work that was left, if the machine had been told; else 0.
    truth: u8,
    between: bool,
}

/// One thing that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To the deadline.
    Time,
    /// Half of the way.
    Half,
    /// Start-up is done.
    Started,
    /// The host asks for a stop.
    Begin(Intent),
    /// A signal.
    Signal,
    /// The host forces.
    Force,
    /// A request, an idle connection or a tunnel comes.
    Arrive(Kind),
    /// One of them ends by itself.
    End(Kind),
    /// An idle connection sends a request.
    Busy,
    /// The host tells what there is.
    Report,
    /// The host closes idle connections, or tunnels, or cuts everything, as it was asked to.
    Close(Kind),
    /// The cut.
    Cut,
    /// An operation is answered.
    Answer(Operation, bool),
}

/// What there is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request.
    Request,
    /// A connection without one.
    Idle,
    /// A tunnel.
    Tunnel,
}

/// What the host was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Run a step.
    Step,
    /// Close the public door.
    Door,
    /// Clear the rows.
    Rows,
}

/// The situation.
#[derive(Debug, Clone)]
pub struct Whole {
    drain: Slot<Drain>,
    host: Host,
}

/// The same, to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    drain: Part<Drain>,
    host: Host,
}

const TIME: u8 = 0;

const HONEST: usize = 0;
const NO_ADMISSION: usize = 1;
const NOT_READY: usize = 2;
const UNROUTED: usize = 3;
const TOLD: usize = 4;
const CUT_LATE: usize = 5;
const COUNTED: usize = 6;
const CLEAN: usize = 7;
const PEER_DOOR: usize = 8;

impl Serve {
    /// One world for each of these configs.
    #[must_use]
    pub fn new(configs: Vec<Config>, bounds: Bounds) -> Self {
        Self { pool: Pool::default(), configs, bounds, cells: Cells::of::<Drain>(0) }
    }

    fn phase(&self, state: &State) -> Phase {
        self.pool.get(state.drain).phase()
    }
}

impl Host {
    fn count(&mut self, kind: Kind) -> &mut u8 {
        match kind {
            Kind::Request => &mut self.requests,
            Kind::Idle => &mut self.idle,
            Kind::Tunnel => &mut self.tunnels,
        }
    }

    fn load(&self) -> Input {
        let Host { requests, idle, tunnels, told, .. } = *self;
        Input::Load {
            requests: requests.into(),
            idle: idle.into(),
            streams: 0,
            tunnels: tunnels.into(),
            told: told.min(tunnels).into(),
        }
    }

    fn operation(&mut self, operation: Operation) -> &mut u32 {
        match operation {
            Operation::Step => &mut self.step,
            Operation::Door => &mut self.door,
            Operation::Rows => &mut self.rows,
        }
    }
}

impl World for Serve {
    type Whole = Whole;
    type State = State;
    type Action = Action;

    fn start(&self) -> Vec<Whole> {
        let whole = |config: &Config| {
            let drain = Drain::drawing(config.clone(), Random::Script(Vec::new()), 0).ok()?;
            Some(Whole { drain: Slot::new(drain), host: Host::default() })
        };
        self.configs.iter().filter_map(whole).collect()
    }

    fn open(&self, state: &State) -> Whole {
        Whole { drain: Slot::Kept(state.drain), host: state.host }
    }

    fn close(&self, whole: Whole) -> State {
        let mut host = whole.host;
        let drain = whole.drain.keep(
            &self.pool,
            &mut [
                ("operation", &mut host.step),
                ("operation", &mut host.door),
                ("operation", &mut host.rows),
            ],
        );
        State { drain, host }
    }

    fn actions(&self, whole: &Whole, actions: &mut Vec<Action>) {
        let Whole { drain, host } = whole;
        let drain = drain.get(&self.pool);
        let phase = drain.phase();
        if phase == Phase::Stopped {
            return;
        }
        let left = drain.deadline().map_or(0, |due| due.at - drain.clock().now());
        if left > 0 {
            actions.push(Action::Time);
            if !host.between && left >= 100 {
                actions.push(Action::Half);
            }
        }
        if phase == Phase::Starting {
            actions.push(Action::Started);
        }
        let begun = !matches!(phase, Phase::Starting | Phase::Serving);
        actions.extend([Action::Begin(Intent::Restart), Action::Signal]);
        if begun {
            actions.push(Action::Force);
        } else {
            actions.push(Action::Begin(Intent::Handoff));
        }
        if host.door_open && (!begun || host.arrivals < self.bounds.arrivals) {
            if host.requests < self.bounds.requests {
                actions.push(Action::Arrive(Kind::Request));
            }
            if host.tunnels < self.bounds.tunnels && host.registering {
                actions.push(Action::Arrive(Kind::Tunnel));
            }
            if host.idle == 0 {
                actions.push(Action::Arrive(Kind::Idle));
            }
        }
        if host.requests > 0 {
            actions.push(Action::End(Kind::Request));
        }
        if host.idle > 0 {
            actions.push(Action::End(Kind::Idle));
            if host.requests < self.bounds.requests {
                actions.push(Action::Busy);
            }
            if host.sweeping {
                actions.push(Action::Close(Kind::Idle));
            }
        }
        if host.tunnels > 0 {
            actions.push(Action::End(Kind::Tunnel));
            if host.closing {
                actions.push(Action::Close(Kind::Tunnel));
            }
        }
        if host.counting && host.stale {
            actions.push(Action::Report);
        }
        if host.aborting {
            actions.push(Action::Cut);
        }
        for (operation, id) in
            [(Operation::Step, host.step), (Operation::Door, host.door), (Operation::Rows, host.rows)]
        {
            if id != 0 {
                actions.extend([Action::Answer(operation, true), Action::Answer(operation, false)]);
            }
        }
    }

    fn act(&self, whole: &mut Whole, action: &Action, moment: &mut Moment<'_>) -> bool {
        let Whole { drain, host } = whole;
        let before = drain.get(&self.pool).phase();
        let changed = |host: &mut Host| host.stale = true;
        let input = match *action {
            Action::Time | Action::Half => None,
            Action::Started => Some(Input::Started),
            Action::Begin(intent) => Some(Input::Begin { intent }),
            Action::Signal => Some(Input::Signal { intent: Intent::Restart }),
            Action::Force => Some(Input::Force),
            Action::Report => {
                host.stale = false;
                Some(host.load())
            }
            Action::Answer(operation, good) => {
                let id = std::mem::take(host.operation(operation));
                if operation == Operation::Door {
                    // However it went, nobody comes in any more.
                    host.door_open = false;
                }
                Some(if good { Input::Done { operation: id } } else { Input::Failed { operation: id } })
            }
            // What follows is between the host and the world, and shows only in the next count.
            Action::Arrive(kind) => {
                *host.count(kind) += 1;
                host.arrivals += u8::from(!matches!(before, Phase::Starting | Phase::Serving));
                moment.watch.check(NO_ADMISSION, host.door_open && before <= Phase::Forcing);
                changed(host);
                return true;
            }
            Action::End(kind) => {
                *host.count(kind) -= 1;
                if kind == Kind::Tunnel {
                    // Those that were told leave first.
                    host.told = host.told.saturating_sub(1);
                }
                changed(host);
                return true;
            }
            Action::Busy => {
                (host.idle, host.requests) = (host.idle - 1, host.requests + 1);
                if before >= Phase::Releasing {
                    // A host that is late with its cut lets it in after the last count: nobody asks for another.
                    host.truth = 0;
                }
                changed(host);
                return true;
            }
            Action::Close(kind) => {
                *host.count(kind) = 0;
                match kind {
                    Kind::Tunnel => (host.told, host.closing) = (0, false),
                    _ => host.sweeping = false,
                }
                changed(host);
                return true;
            }
            Action::Cut => {
                if host.stale {
                    // What there is was not told yet: that comes first.
                    host.stale = false;
                    let load = host.load();
                    let answer = moment.handle(self.cells, 0, drain.edit(&self.pool), &load);
                    moment.watch.check(HONEST, answer.is_ok());
                }
                host.cut += host.requests + host.tunnels;
                (host.requests, host.idle, host.tunnels, host.told) = (0, 0, 0, 0);
                host.aborting = false;
                changed(host);
                return true;
            }
        };
        let drain = drain.edit(&self.pool);
        let left = drain.deadline().map_or(0, |due| due.at - drain.clock().now());
        let answer = match (&input, action) {
            (Some(input), _) => moment.handle(self.cells, 0, drain, input),
            (None, Action::Half) => moment.tick(self.cells, 0, drain, left / 2 / 50 * 50),
            (None, _) => moment.tick(self.cells, 0, drain, left),
        };
        host.between = *action == Action::Half;
        moment.watch.check(HONEST, answer.is_ok());
        let Ok(step) = answer else { return true };
        for effect in &step.effects {
            let door_is_over = match effect {
                Effect::Count => drain.phase() == Phase::Draining,
                Effect::Tell { .. } | Effect::ClearRows { .. } | Effect::Abort { .. } => true,
                Effect::Entered { phase, .. } => *phase == Phase::Releasing,
                _ => false,
            };
            if door_is_over {
                // An honest host closes it within the limit, with or without an answer.
                host.door_open = false;
            }
            match *effect {
                Effect::Readiness { ready } => {
                    host.ready = ready;
                    if ready {
                        (host.door_open, host.registering) = (true, true);
                    }
                }
                Effect::RunStep { operation, .. } => {
                    host.step = operation;
                    host.unrouting = drain.phase() == Phase::LameDuck;
                }
                Effect::Entered { phase, .. } if phase > Phase::LameDuck => {
                    host.unrouting = false;
                    if phase == Phase::Releasing && before < Phase::Releasing && host.counting && !host.stale
                    {
                        host.truth = 1 + host.requests + host.tunnels;
                    }
                }
                Effect::ClosePublicDoor { operation, .. } => {
                    moment.watch.check(NOT_READY, !host.ready);
                    moment.watch.check(UNROUTED, !host.unrouting);
                    host.door = operation;
                    host.registering = false;
                }
                Effect::Count => (host.counting, host.stale) = (true, true),
                Effect::CloseIdle { .. } => host.sweeping = true,
                Effect::Tell { count, .. } => {
                    let untold = host.tunnels - host.told.min(host.tunnels);
                    let count = u8::try_from(count).unwrap_or(u8::MAX).min(untold);
                    host.told += count;
                    if count > 0 {
                        host.stale = true;
                    }
                }
                Effect::ClearRows { operation, .. } => host.rows = operation,
                Effect::CloseTunnels { .. } => host.closing = true,
                Effect::ClosePeerDoor => {
                    // The last tunnel has gone, as far as it was told; or time is up.
                    let gone = host.tunnels == 0 || host.stale || drain.phase() >= Phase::Forcing;
                    moment.watch.check(PEER_DOOR, gone);
                }
                Effect::Abort { .. } => {
                    moment.watch.check(CUT_LATE, drain.phase() == Phase::Forcing);
                    moment.watch.check(TOLD, host.told >= host.tunnels || host.stale);
                    host.aborting = true;
                }
                // Where what was told last was true, the outcome is.
                Effect::Stopped { forced, abandoned, exit_code, .. } if host.truth > 0 => {
                    let left = u32::from(host.truth - 1);
                    let cut = host.cut == 0 || forced + abandoned > 0;
                    moment.watch.check(COUNTED, abandoned == left && cut);
                    if exit_code == 0 {
                        moment.watch.check(CLEAN, host.cut == 0 && left == 0);
                    }
                }
                _ => {}
            }
        }
        // An operation that had its limit is no longer waited for, but may still be answered.
        if drain.phase() == Phase::Stopped {
            *host = Host { cut: host.cut.min(1), ..Host::default() };
        }
        true
    }

    fn properties(&self) -> Vec<&'static str> {
        vec![
            "contract: what an honest host says is never refused",
            "D4: nobody is admitted once the door has closed",
            "D3: not ready before not accepting",
            "D3: un-routed before the door closes",
            "D5: told before cut",
            "D7: work is cut in forcing only",
            "D10: what was cut and what was left is counted truly",
            "D10: a clean exit code means that nothing was cut or left",
            "D4: the peer door stays open until the last tunnel has gone",
        ]
    }

    fn inspect(&self, _: &State, _: &mut Watch) {}

    fn may_end(&self, state: &State) -> bool {
        self.phase(state) == Phase::Stopped
    }

    fn fairness(&self, action: &Action) -> Option<u8> {
        (*action == Action::Time).then_some(TIME)
    }

    fn liveness(&self) -> Vec<LeadsTo<Explored<Self>>> {
        let time = Fairness { weak: 1 << TIME, strong: 1 << TIME };
        vec![LeadsTo {
            name: "P: begin leads to stopped, by time alone, whatever the host does not do",
            concerns: |model, state| !matches!(model.0.phase(state), Phase::Starting | Phase::Serving),
            goal: |model, state| model.0.phase(state) == Phase::Stopped,
            fairness: time,
        }]
    }

    fn cells(&self) -> usize {
        self.cells.count()
    }

    fn transitions(&self) -> Vec<Transition> {
        transitions::<Drain>().collect()
    }

    fn describe(&self, whole: &Whole) -> Vec<Described> {
        vec![described(0, whole.drain.get(&self.pool))]
    }

    fn show(&self, whole: &Whole) -> String {
        format!("{}: {:?}", whole.drain.get(&self.pool).state(), whole.host)
    }
}

/// The bounds at a size, in words.
#[must_use]
pub fn world(size: Size) -> (&'static str, Serve) {
    let [plain, stepped] = [super::drain::plain(), super::drain::stepped()];
    match size {
        Size::Small => (
            "≤ 1 request, 1 idle connection and 1 tunnel; no arrival after the begin; no steps",
            Serve::new(plain, Bounds { requests: 1, tunnels: 1, arrivals: 0 }),
        ),
        Size::Quick => (
            "≤ 1 request, 1 idle connection and 1 tunnel; 1 arrival after the begin; no steps",
            Serve::new(plain, Bounds { requests: 1, tunnels: 1, arrivals: 1 }),
        ),
        Size::Full => (
            "≤ 1 request, 1 idle connection and 2 tunnels; no arrival after the begin; 0 or 2 steps",
            Serve::new([plain, stepped].concat(), Bounds { requests: 1, tunnels: 2, arrivals: 0 }),
        ),
    }
}
