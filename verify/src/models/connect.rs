//! A tunnel, its honest host, and a relay that is hostile until it settles (T1, T2, T4–T9).
//!
//! Until it settles the relay closes with any code, never answers, goes silent, sends drain notices in a loop, and the
//! network comes and goes. From then on it answers what it is asked, in no time, and the network stays. Then a tunnel
//! that was not told to stop is up in the end, and stays up.

use tidegate::tunnel::{Asked, Config, DialFailure, Effect, Input, State as Place, Tunnel};
use tidegate::{Machine, Millis, Random, Rules};

use crate::explore::Watch;
use crate::liveness::{Fairness, LeadsTo};
use crate::models::Size;
use crate::pool::{Part, Pool};
use crate::vectors::Described;
use crate::world::{Cells, Explored, Moment, Slot, Transition, World, described, transitions};

/// The world.
pub struct Connect {
    pool: Pool<Tunnel>,
    configs: Vec<Config>,
    cells: Cells,
}

/// The host and the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Around {
    settled: bool,
    online: bool,
    /// What is to be answered: the operation of the providers, the socket that is being opened.
    prepare: u32,
    dial: u32,
    /// Open and not accepted; accepted; finishing.
    open: u32,
    current: u32,
    old: u32,
    /// A sample was asked for.
    sample: bool,
    /// A drain notice came in, by the relay's will; none is sent twice in a row.
    between: bool,
}

/// One thing that may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To the deadline; late by so much.
    Time(Millis),
    /// Half of the way.
    Half,
    /// The relay and the network settle.
    Settle,
    /// The application asks.
    Start,
    /// The application asks.
    Stop,
    /// The network goes or comes, the device wakes.
    Network(bool),
    /// It wakes up.
    Wake,
    /// The providers answer.
    Prepared(bool),
    /// The socket opens, or not.
    Opened,
    /// Not.
    DialFailed(DialFailure),
    /// The relay accepts.
    Accepted,
    /// The last frame came now, or long ago.
    Heard(Millis),
    /// The socket that is open, or the adopted one, or the old one, closes.
    Closed(Which, u16),
    /// A drain notice, on the open or the adopted one.
    Notice(Which, Option<Millis>),
    /// Something else in band.
    Asked(Which, Asked),
    /// The old connection has finished.
    Finished,
}

/// Which socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Open, not accepted.
    Open,
    /// Adopted.
    Current,
    /// Finishing.
    Old,
}

/// The situation.
#[derive(Debug, Clone)]
pub struct Whole {
    tunnel: Slot<Tunnel>,
    around: Around,
}

/// The same, to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    tunnel: Part<Tunnel>,
    around: Around,
}

const TIME: u8 = 0;
const REPLY: u8 = 1;

const SETTLED_STAYS: usize = 0;
const ASKED_IS_STOPPED: usize = 1;
const HONEST: usize = 2;
const PROMISED: usize = 3;

impl Connect {
    /// One world for each of these configs.
    #[must_use]
    pub fn new(configs: Vec<Config>) -> Self {
        Self { pool: Pool::default(), configs, cells: Cells::of::<Tunnel>(0) }
    }

    fn place(&self, state: &State) -> Place {
        Tunnel::place(self.pool.get(state.tunnel))
    }
}

impl Around {
    /// Whether something is to be answered at once by a relay that has settled.
    fn owes(&self) -> bool {
        self.prepare != 0 || self.dial != 0 || self.open != 0 || self.sample || !self.online
    }

    fn socket(&self, which: Which) -> u32 {
        match which {
            Which::Open => self.open,
            Which::Current => self.current,
            Which::Old => self.old,
        }
    }

    fn forget(&mut self, generation: u32) {
        for held in [&mut self.dial, &mut self.open, &mut self.current, &mut self.old] {
            if *held == generation {
                *held = 0;
            }
        }
        if self.current == 0 {
            self.sample = false;
        }
    }
}

impl World for Connect {
    type Whole = Whole;
    type State = State;
    type Action = Action;

    fn start(&self) -> Vec<Whole> {
        let whole = |config: &Config| {
            let tunnel = Tunnel::drawing(config.clone(), Random::Script(Vec::new()), 0).ok()?;
            Some(Whole { tunnel: Slot::new(tunnel), around: Around { online: true, ..Around::default() } })
        };
        self.configs.iter().filter_map(whole).collect()
    }

    fn open(&self, state: &State) -> Whole {
        Whole { tunnel: Slot::Kept(state.tunnel), around: state.around }
    }

    fn close(&self, whole: Whole) -> State {
        let mut around = whole.around;
        let tunnel = whole.tunnel.keep(
            &self.pool,
            &mut [
                ("operation", &mut around.prepare),
                ("generation", &mut around.dial),
                ("generation", &mut around.open),
                ("generation", &mut around.current),
                ("generation", &mut around.old),
            ],
        );
        State { tunnel, around }
    }

    fn actions(&self, whole: &Whole, actions: &mut Vec<Action>) {
        let Whole { tunnel, around } = whole;
        let tunnel = tunnel.get(&self.pool);
        let (settled, wild) = (around.settled, !around.settled);
        if let Some(deadline) = tunnel.deadline()
            && !(settled && around.owes())
        {
            actions.push(Action::Time(0));
            if wild {
                actions.push(Action::Time(150));
                if !around.between && (deadline.at - tunnel.clock().now()) >= 100 {
                    actions.push(Action::Half);
                }
            }
        }
        if around.prepare != 0 {
            actions.push(Action::Prepared(true));
            if wild {
                actions.push(Action::Prepared(false));
            }
        }
        if around.dial != 0 {
            actions.push(Action::Opened);
            if wild {
                actions.extend([
                    Action::DialFailed(DialFailure::Unreachable),
                    Action::DialFailed(DialFailure::Refused),
                ]);
            }
        }
        if around.open != 0 {
            actions.push(Action::Accepted);
        }
        if around.sample {
            actions.push(Action::Heard(0));
            if wild {
                actions.push(Action::Heard(200));
            }
        }
        if around.old != 0 {
            actions.push(Action::Finished);
        }
        if !around.online {
            actions.push(Action::Network(true));
        }
        if settled {
            return;
        }
        actions.extend([Action::Settle, Action::Start, Action::Stop]);
        if around.online {
            actions.extend([Action::Network(false), Action::Wake]);
        }
        for which in [Which::Open, Which::Current, Which::Old] {
            if around.socket(which) == 0 {
                continue;
            }
            actions.extend([1006, 4001, 4401, 4409, 4410, 1012].map(|code| Action::Closed(which, code)));
            if which != Which::Old {
                actions.extend([
                    Action::Notice(which, None),
                    Action::Notice(which, Some(100)),
                    Action::Asked(which, Asked::Refresh),
                    Action::Asked(which, Asked::Stop),
                ]);
            }
        }
    }

    fn act(&self, whole: &mut Whole, action: &Action, moment: &mut Moment<'_>) -> bool {
        let Whole { tunnel, around } = whole;
        let was_up = around.settled && Tunnel::place(tunnel.get(&self.pool)) == Place::Up;
        let tunnel = tunnel.edit(&self.pool);
        around.between &= !matches!(action, Action::Time(_));
        let input = match *action {
            Action::Settle => {
                around.settled = true;
                around.between = false;
                return true;
            }
            Action::Time(_) | Action::Half => None,
            Action::Start => Some(Input::Start),
            Action::Stop => Some(Input::Stop),
            Action::Network(online) => {
                around.online = online;
                Some(if online { Input::Online } else { Input::Offline })
            }
            Action::Wake => Some(Input::Wake),
            Action::Prepared(good) => {
                let operation = std::mem::take(&mut around.prepare);
                Some(if good { Input::Prepared { operation } } else { Input::PrepareFailed { operation } })
            }
            Action::Opened => {
                around.open = std::mem::take(&mut around.dial);
                Some(Input::Opened { generation: around.open })
            }
            Action::DialFailed(failure) => {
                let generation = std::mem::take(&mut around.dial);
                Some(Input::DialFailed { generation, failure, retry_after: None })
            }
            Action::Accepted => Some(Input::Accepted { generation: around.open }),
            Action::Heard(ago) => {
                around.sample = false;
                Some(Input::Inbound { generation: around.current, ago })
            }
            Action::Closed(which, code) => {
                let generation = around.socket(which);
                around.forget(generation);
                let (tls, subscribed) = (true, false);
                Some(Input::Closed { generation, code, retry_after: None, tls, subscribed })
            }
            Action::Notice(which, within) => {
                Some(Input::DrainNotice { generation: around.socket(which), within })
            }
            Action::Asked(which, asked) => Some(Input::Asked { generation: around.socket(which), asked }),
            Action::Finished => Some(Input::Finished { generation: around.old }),
        };
        let answer = match &input {
            Some(input) => moment.handle(self.cells, 0, tunnel, input),
            None => {
                let left = tunnel.deadline().map_or(0, |due| due.at - tunnel.clock().now());
                let passed = match action {
                    Action::Half => {
                        around.between = true;
                        left / 2 / 50 * 50
                    }
                    Action::Time(late) => left + late,
                    _ => 0,
                };
                moment.tick(self.cells, 0, tunnel, passed)
            }
        };
        // What an honest host says is never refused.
        moment.watch.check(HONEST, answer.is_ok());
        let Ok(step) = answer else { return true };
        for effect in &step.effects {
            match *effect {
                Effect::Prepare { operation, limit, .. } => {
                    moment.watch.check(PROMISED, limit > 0);
                    around.prepare = operation;
                }
                Effect::Dial { generation, .. } => around.dial = generation,
                Effect::Adopt { generation } => {
                    around.forget(generation);
                    around.old = if around.current == 0 { around.old } else { around.current };
                    around.current = generation;
                    around.sample = false;
                }
                Effect::Finish { generation, .. } => around.old = generation,
                Effect::Abandon { generation, .. } => around.forget(generation),
                Effect::Sample { .. } => around.sample = true,
                _ => {}
            }
        }
        let place = Tunnel::place(tunnel);
        if place != Place::Preparing && place != Place::Moving {
            around.prepare = 0;
        }
        if was_up {
            moment.watch.check(SETTLED_STAYS, place == Place::Up);
        }
        if *action == Action::Stop {
            let nothing = around.dial == 0 && around.open == 0 && around.current == 0 && around.old == 0;
            moment.watch.check(ASKED_IS_STOPPED, matches!(place, Place::Stopped | Place::Idle) && nothing);
        }
        true
    }

    fn properties(&self) -> Vec<&'static str> {
        vec![
            "P: with a relay that stays, a tunnel that is up stays up",
            "T1: a stop leaves no socket behind",
            "contract: what an honest host says is never refused",
            "T2: whatever is asked of the host has a limit",
        ]
    }

    fn inspect(&self, _: &State, _: &mut Watch) {}

    fn may_end(&self, state: &State) -> bool {
        state.around.settled && matches!(self.place(state), Place::Idle | Place::Stopped | Place::Up)
    }

    fn fairness(&self, action: &Action) -> Option<u8> {
        match action {
            Action::Time(0) => Some(TIME),
            Action::Prepared(true)
            | Action::Opened
            | Action::Accepted
            | Action::Heard(0)
            | Action::Finished
            | Action::Network(true) => Some(REPLY),
            _ => None,
        }
    }

    fn liveness(&self) -> Vec<LeadsTo<Explored<Self>>> {
        let both = Fairness { weak: 1 << TIME | 1 << REPLY, strong: 0 };
        let time = Fairness { weak: 1 << TIME, strong: 0 };
        vec![
            LeadsTo {
                name: "P: not fatal, and the relay stays up: up in the end",
                concerns: |model, state| {
                    let place = model.0.place(state);
                    state.around.settled && !matches!(place, Place::Idle | Place::Stopped)
                },
                goal: |model, state| model.0.place(state) == Place::Up,
                fairness: both,
            },
            LeadsTo {
                name: "T2: a hung provider, dial or acceptance ends by time alone",
                concerns: |model, state| {
                    matches!(model.0.place(state), Place::Preparing | Place::Dialing | Place::Accepting)
                },
                goal: |model, state| {
                    !matches!(model.0.place(state), Place::Preparing | Place::Dialing | Place::Accepting)
                },
                fairness: Fairness { weak: both.weak, strong: 1 << TIME },
            },
            LeadsTo {
                name: "T5: with a relay that stays, an old connection is let go in the end, by time alone",
                concerns: |_, state| state.around.settled && state.around.old != 0,
                goal: |_, state| state.around.old == 0,
                fairness: time,
            },
        ]
    }

    fn cells(&self) -> usize {
        self.cells.count()
    }

    fn transitions(&self) -> Vec<Transition> {
        transitions::<Tunnel>().collect()
    }

    fn describe(&self, whole: &Whole) -> Vec<Described> {
        vec![described(0, whole.tunnel.get(&self.pool))]
    }

    fn show(&self, whole: &Whole) -> String {
        format!("{}: {:?}", tidegate::Rules::state(whole.tunnel.get(&self.pool)), whole.around)
    }
}

/// Everything on, but for what the tunnel alone has shown already; with the bounds.
#[must_use]
pub fn configs(size: Size) -> (&'static str, Vec<Config>) {
    let mut silence = super::tunnel::silence().swap_remove(0);
    silence.immediate_budget = 1;
    silence.immediate_window = 100;
    silence.notice_max = 100;
    silence.stable_after = 200;
    silence.acceptance = tidegate::tunnel::Acceptance::Explicit;
    if size != Size::Full {
        silence.ping_after = 0;
        silence.dead_after = 100;
        silence.immediate_budget = 0;
        return ("1 tunnel, honest host; no budget, silence watched", vec![silence]);
    }
    (
        "1 tunnel, honest host, relay and network hostile until they settle; budget 1; faults unbounded",
        vec![silence],
    )
}
