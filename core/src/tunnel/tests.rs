//! What vectors cannot say of a tunnel: loops, sizes, damaged records, and a world that does anything.

use super::*;
use crate::{Draw, MAX_TIME, Machine};

/// Without jitter, and with round numbers, so that delays can be read off.
fn plain() -> Config {
    Config {
        backoff: backoff::Policy { jitter: backoff::Jitter::None, ..backoff::Policy::default() },
        profile: close::Profile::named("relay"),
        ..Config::default()
    }
}

/// A tunnel and a host that answers what is asked of it at once.
struct Host {
    tunnel: Tunnel,
    now: Millis,
    effects: Vec<Effect>,
}

impl Host {
    fn new(config: Config) -> Self {
        Self::drawing(config, &[])
    }

    fn drawing(config: Config, draws: &[Draw]) -> Self {
        let tunnel = Tunnel::drawing(config, Random::scripted(draws), 0).unwrap();
        Self { tunnel, now: 0, effects: Vec::new() }
    }

    fn say(&mut self, input: Input) -> Vec<Effect> {
        self.effects = self.tunnel.handle(self.now, &input).unwrap().effects;
        self.effects.clone()
    }

    fn refuse(&mut self, input: Input) -> RejectionCode {
        let before = self.tunnel.clone();
        let rejection = self.tunnel.handle(self.now, &input).unwrap_err();
        assert_eq!(self.tunnel, before, "a rejection changes nothing");
        rejection.code
    }

    /// Goes to the machine's next deadline.
    fn wake(&mut self) -> Vec<Effect> {
        let deadline = self.tunnel.deadline().expect("something leads on");
        self.now = self.now.max(deadline.at);
        self.effects = self.tunnel.tick(self.now).unwrap().effects;
        self.effects.clone()
    }

    /// Lets time pass, tick by tick, until `now`.
    fn go_to(&mut self, now: Millis) -> Vec<Effect> {
        let mut seen = Vec::new();
        while let Some(deadline) = self.tunnel.deadline()
            && deadline.at <= now
        {
            seen.extend(self.wake());
        }
        self.now = now;
        seen
    }

    fn why(&self) -> Option<(Millis, Why)> {
        self.tunnel.deadline().map(|deadline| (deadline.at - self.now, deadline.why))
    }

    /// The answer to the prepare that is out: the dial.
    fn dial(&mut self) -> u32 {
        let Attempt::Preparing { operation, .. } = self.tunnel.attempt else {
            panic!("{:?}", self.tunnel.attempt)
        };
        self.say(Input::Prepared { operation });
        self.tunnel.next_generation().unwrap()
    }

    /// From a prepare that is out to an accepted connection.
    fn connect(&mut self) -> u32 {
        let generation = self.dial();
        self.say(Input::Opened { generation });
        self.say(Input::Accepted { generation });
        assert_eq!(self.tunnel.adopted(), Some(generation));
        generation
    }

    fn up(config: Config) -> (Self, u32) {
        let mut host = Self::new(config);
        host.say(Input::Start);
        let generation = host.connect();
        (host, generation)
    }

    fn close(&mut self, generation: u32, code: u16) -> Vec<Effect> {
        self.say(closed(generation, code))
    }

    fn place(&self) -> State {
        self.tunnel.place()
    }

    /// The delay of the attempt that was scheduled last; zero when it has begun.
    fn delay(&self) -> Millis {
        match self.tunnel.attempt {
            Attempt::Waiting { until } => until - self.now,
            Attempt::Preparing { .. } => 0,
            other => panic!("{other:?}"),
        }
    }
}

fn closed(generation: u32, code: u16) -> Input {
    Input::Closed { generation, code, retry_after: None, tls: true, subscribed: false }
}

fn notice(generation: u32) -> Input {
    Input::DrainNotice { generation, within: None }
}

fn unreachable(generation: u32) -> Input {
    Input::DialFailed { generation, failure: DialFailure::Unreachable, retry_after: None }
}

fn refused(generation: u32) -> Input {
    Input::DialFailed { generation, failure: DialFailure::Refused, retry_after: None }
}

#[test]
fn a_tunnel_fits_into_200_bytes() {
    let size = core::mem::size_of::<Tunnel>();
    assert!(size <= 200, "{size} bytes");
}

#[test]
fn a_move_rests_only_where_neither_an_attempt_nor_the_watchdog_goes_on() {
    for (dead_after, online, rests) in
        [(0, false, true), (0, true, false), (60_000, false, false), (60_000, true, false)]
    {
        let (mut host, generation) = Host::up(Config { ping_after: 0, dead_after, ..plain() });
        host.say(notice(generation));
        if !online {
            host.say(Input::Offline);
        }
        assert_eq!((host.place(), host.tunnel.is_resting()), (State::Moving, rests), "{dead_after} {online}");
        assert_eq!(host.tunnel.deadline().is_none(), rests);
    }
}

#[test]
fn a_config_that_cannot_work_is_refused_with_every_fault() {
    let config = Config {
        endpoints: 0,
        prepare_limit: 0,
        dial_limit: 0,
        accept_limit: 0,
        quiet_time: 0,
        stable_after: 0,
        stall_tolerance: 0,
        rotate_after: 0,
        immediate_window: 0,
        ..Config::default()
    };
    let faults = Tunnel::new(config, 1, 0).unwrap_err();
    let fields: Vec<_> = faults.list().iter().map(|fault| fault.field.as_str()).collect();
    let expected = [
        "quiet_time",
        "prepare_limit",
        "dial_limit",
        "accept_limit",
        "stall_tolerance",
        "stable_after",
        "immediate_window",
        "endpoints",
        "rotate_after",
    ];
    assert_eq!(fields, expected);
    for (config, field) in [
        (Config { dead_after: 30_000, ..Config::default() }, "dead_after"),
        (Config { dead_after: 0, ..Config::default() }, "dead_after"),
        (Config { immediate_window: 299, ..Config::default() }, "immediate_window"),
        (Config { acceptance: Acceptance::Quiet, quiet_time: 10_001, ..Config::default() }, "quiet_time"),
    ] {
        let faults = Tunnel::new(config, 1, 0).unwrap_err();
        assert_eq!(faults.list()[0].field, field);
        assert_eq!(faults.list()[0].code, FaultCode::Contradiction);
    }
    for config in [
        Config { immediate_window: 300, ..Config::default() },
        Config { ping_after: 0, dead_after: 0, ..Config::default() },
        Config { ping_after: 0, ..Config::default() },
    ] {
        assert!(Tunnel::new(config, 1, 0).is_ok());
    }
}

#[test]
fn b5_a_delay_that_counts_from_the_start_is_shorter_by_what_the_attempt_took() {
    let mut config = plain();
    config.backoff.from_start = true;
    let mut host = Host::new(config);
    host.say(Input::Start);
    host.now = 300;
    let generation = host.dial();
    host.now = 700;
    host.say(unreachable(generation));
    assert_eq!(host.delay(), 300, "1000 from the start at 0");
    // An attempt that took longer than its delay is followed at once, a floor after its dial.
    host.wake();
    let generation = host.dial();
    host.now += 6_000;
    host.say(unreachable(generation));
    assert_eq!(host.delay(), 0);
    // A server's hint counts from its answer.
    let generation = host.dial();
    host.now += 3_000;
    host.say(Input::DialFailed { generation, failure: DialFailure::Unreachable, retry_after: Some(7_000) });
    assert_eq!(host.delay(), 7_000);
    // The end of a connection that had been accepted is no failed attempt.
    host.wake();
    let generation = host.connect();
    host.go_to(host.now + 4_999);
    host.close(generation, 1011);
    assert_eq!(host.delay(), 1_000);
}

#[test]
fn b6_the_backoff_starts_anew_between_half_and_all_of_stable_after_and_never_on_open() {
    for (draw, stable) in [(Draw::Min, 2_500), (Draw::Max, 5_000)] {
        let mut host = Host::drawing(plain(), &[draw]);
        host.say(Input::Start);
        for _ in 0..2 {
            let generation = host.dial();
            host.say(unreachable(generation));
            host.wake();
        }
        let generation = host.dial();
        host.say(Input::Opened { generation });
        assert_eq!(host.tunnel.escalation.attempt(), 2);
        host.say(Input::Accepted { generation });
        assert_eq!(host.tunnel.escalation.attempt(), 2);
        assert_eq!(host.why(), Some((stable, Why::Stable)));
        host.wake();
        assert_eq!(host.tunnel.escalation.attempt(), 0);
    }
}

#[test]
fn t2_every_step_of_an_attempt_has_an_end_that_nothing_can_move() {
    let mut host = Host::new(plain());
    host.say(Input::Start);
    assert_eq!(host.why(), Some((10_000, Why::PrepareLimit)));
    host.wake();
    assert_eq!(host.place(), State::Waiting);
    host.wake();
    let generation = host.dial();
    assert_eq!(host.why(), Some((20_000, Why::DialLimit)));
    // The provider's late answer changes nothing.
    host.say(Input::Prepared { operation: 1 });
    host.say(Input::PrepareFailed { operation: 1 });
    assert_eq!(host.why(), Some((20_000, Why::DialLimit)));
    host.now += 19_000;
    host.say(Input::Opened { generation });
    assert_eq!(host.why(), Some((10_000, Why::AcceptLimit)));
    host.now += 9_000;
    host.say(Input::Opened { generation });
    host.say(unreachable(generation));
    assert_eq!(host.why(), Some((1_000, Why::AcceptLimit)), "second answers are no-ops");
    let effects = host.wake();
    assert_eq!(effects[0], Effect::Abandon { generation, code: TIMEOUT });
    assert_eq!(host.place(), State::Waiting);
    // What opens too late is closed again.
    assert_eq!(host.say(Input::Opened { generation }), [Effect::Abandon { generation, code: TIMEOUT }]);
}

#[test]
fn what_the_host_cannot_know_of_is_rejected() {
    let (mut host, generation) = Host::up(plain());
    for input in [
        Input::Opened { generation: 2 },
        Input::Accepted { generation: 0 },
        closed(2, 1000),
        notice(2),
        Input::Prepared { operation: 2 },
        Input::Finished { generation: 7 },
        Input::Asked { generation: 2, asked: Asked::Stop },
    ] {
        assert_eq!(host.refuse(input), RejectionCode::NeverIssued);
    }
    assert_eq!(host.refuse(Input::Finished { generation }), RejectionCode::ImpossibleNow);
    assert_eq!(host.refuse(Input::Send), RejectionCode::ImpossibleNow);
    host.say(notice(generation));
    let next = host.dial();
    for input in [
        Input::Accepted { generation: next },
        Input::Inbound { generation: next, ago: 0 },
        notice(next),
        Input::Finished { generation: next },
    ] {
        assert_eq!(host.refuse(input), RejectionCode::ImpossibleNow);
    }
}

#[test]
fn t4_a_sample_that_is_not_answered_counts_as_silence() {
    let (mut host, generation) = Host::up(plain());
    host.go_to(29_999);
    assert_eq!(host.wake(), [Effect::Sample { generation }]);
    assert_eq!(host.why(), Some((5_000, Why::Silence)));
    assert_eq!(host.wake(), [Effect::Ping { generation }]);
    // Pinged 5 s late, so the verdict is 5 s later, too.
    assert_eq!(
        host.go_to(84_999),
        [Effect::Sample { generation }, Effect::Ping { generation }, Effect::Sample { generation }]
    );
    assert_eq!(host.place(), State::Up);
    host.wake();
    assert_eq!(host.place(), State::Waiting);
}

#[test]
fn t4_any_inbound_frame_counts_whether_it_was_asked_for_or_not() {
    let (mut host, generation) = Host::up(plain());
    host.go_to(20_000);
    assert_eq!(host.say(Input::Inbound { generation, ago: 0 }), []);
    host.go_to(29_999);
    assert_eq!(host.wake(), [Effect::Sample { generation }]);
    assert_eq!(host.say(Input::Inbound { generation, ago: 500 }), []);
    assert_eq!(host.why(), Some((29_500, Why::Silence)));
    // An older frame than the last one that is known of takes nothing back.
    host.say(Input::Inbound { generation, ago: 29_000 });
    assert_eq!(host.why(), Some((29_500, Why::Silence)));
}

#[test]
fn t4_silence_while_the_host_was_away_does_not_trip_also_after_a_restore() {
    for restored in [false, true] {
        let (mut host, generation) = Host::up(plain());
        host.go_to(30_000);
        host.say(Input::Inbound { generation, ago: 30_000 });
        assert_eq!(host.effects, [Effect::Ping { generation }]);
        host.now = 500_000;
        if restored {
            let snapshot = host.tunnel.snapshot(host.now).unwrap();
            host.tunnel = Tunnel::restore(&snapshot, host.now, 0).unwrap();
        }
        assert_eq!(host.tunnel.tick(host.now).unwrap().effects, [Effect::Ping { generation }]);
        assert_eq!(host.tunnel.connection.unwrap().dead_at, 575_000);
        assert_eq!(host.why(), Some((30_000, Why::Silence)));
    }
}

#[test]
fn t4_a_timer_within_the_tolerance_is_believed() {
    let (mut host, generation) = Host::up(plain());
    host.go_to(29_999);
    host.now = 35_000;
    let late = host.tunnel.clone();
    assert_eq!(host.tunnel.tick(host.now).unwrap().effects, [Effect::Sample { generation }]);
    host.tunnel = late;
    host.now = 35_001;
    assert_eq!(host.tunnel.tick(host.now).unwrap().effects, [Effect::Ping { generation }]);
}

#[test]
fn t4_without_pings_silence_is_still_the_end() {
    let (mut host, generation) = Host::up(Config { ping_after: 0, ..plain() });
    host.go_to(74_999);
    assert_eq!(host.wake(), [Effect::Sample { generation }]);
    host.say(Input::Inbound { generation, ago: 45_000 });
    assert_eq!(host.why(), Some((30_000, Why::Silence)));
    host.wake();
    assert_eq!(
        host.say(Input::Inbound { generation, ago: 75_000 })[0],
        Effect::Abandon { generation, code: TIMEOUT }
    );
}

#[test]
fn t4_without_a_watch_an_open_connection_rests() {
    let (mut host, generation) = Host::up(Config { ping_after: 0, dead_after: 0, ..plain() });
    assert!(host.tunnel.is_resting());
    host.go_to(1_000_000);
    assert_eq!(host.why(), None);
    assert_eq!(host.say(Input::Wake), []);
    assert_eq!(host.say(Input::Inbound { generation, ago: 0 }), []);
    let (host, _) = Host::up(plain());
    assert!(!host.tunnel.is_resting());
}

#[test]
fn t5_a_second_move_gives_the_oldest_connection_up() {
    let (mut host, first) = Host::up(plain());
    host.say(notice(first));
    let second = host.connect();
    assert_eq!(
        host.effects[..2],
        [Effect::Adopt { generation: second }, Effect::Finish { generation: first, limit: 30_000 }]
    );
    host.say(notice(second));
    let third = host.connect();
    assert_eq!(
        host.effects[..3],
        [
            Effect::Adopt { generation: third },
            Effect::Abandon { generation: first, code: NORMAL },
            Effect::Finish { generation: second, limit: 30_000 }
        ]
    );
    assert_eq!(host.say(Input::Finished { generation: first }), []);
    assert_eq!(
        host.say(Input::Finished { generation: second }),
        [Effect::Abandon { generation: second, code: NORMAL }]
    );
}

#[test]
fn t5_a_connection_that_drains_before_it_is_accepted_is_given_up() {
    let mut host = Host::new(plain());
    host.say(Input::Start);
    let generation = host.dial();
    host.say(Input::Opened { generation });
    host.say(notice(generation));
    assert_eq!(host.effects[0], Effect::Abandon { generation, code: NORMAL });
    assert_eq!(host.place(), State::Preparing);
}

#[test]
fn t6_the_bucket_holds_its_budget_and_refills_over_its_window() {
    for budget in [0, 1, 3, 7] {
        let config = Config { immediate_budget: budget, immediate_window: 10_000, ..plain() };
        let mut tunnel = Tunnel::new(config, 1, 0).unwrap();
        let afford = |tunnel: &mut Tunnel, at| {
            tunnel.set_clock(Clock::starting_at(at));
            (0..20).filter(|_| tunnel.afford()).count()
        };
        assert_eq!(afford(&mut tunnel, 5), budget as usize);
        if budget > 0 {
            let price = 10_000_u64.div_ceil(u64::from(budget));
            assert_eq!(afford(&mut tunnel, 5 + price - 1), 0);
            assert_eq!(afford(&mut tunnel, 5 + price), 1);
            assert_eq!(afford(&mut tunnel, 100_000), budget as usize, "it holds no more than that");
        }
    }
}

#[test]
fn t7_at_most_one_attempt_is_refused_in_a_cap_interval_however_often_the_device_wakes_up() {
    for by_close in [false, true] {
        let mut host = Host::new(plain());
        host.say(Input::Start);
        let mut at = Vec::new();
        let mut refreshes = Vec::new();
        for _ in 0..20 {
            let Attempt::Preparing { .. } = host.tunnel.attempt else { panic!() };
            let asked = |effect: &Effect| match effect {
                Effect::Prepare { refresh, .. } => Some(*refresh),
                _ => None,
            };
            refreshes.extend(host.effects.iter().find_map(asked));
            let generation = host.dial();
            at.push(host.now);
            if by_close {
                // The classic trap: the socket opens, and is refused only then.
                host.say(Input::Opened { generation });
                host.close(generation, 1008);
            } else {
                host.say(refused(generation));
            }
            while host.place() == State::Waiting {
                host.now += 100;
                host.say(Input::Wake);
            }
        }
        assert_eq!(refreshes[..3], [false, true, false], "once is enough");
        assert!(refreshes[2..].iter().all(|refresh| !refresh));
        assert!(at[1..].windows(2).all(|pair| pair[1] - pair[0] >= 5_000), "{at:?}");
    }
}

#[test]
fn t7_a_server_that_accepts_before_it_refuses_gains_nothing() {
    let mut host = Host::new(plain());
    host.say(Input::Start);
    let start = host.now;
    let mut dials = 0;
    while host.now - start < 600_000 {
        let generation = host.connect();
        dials += 1;
        host.close(generation, 1008);
        assert_eq!(host.place(), State::Waiting);
        host.wake();
    }
    assert!(dials <= 600_000 / 5_000 + 1, "{dials} dials in 10 minutes");
}

#[test]
fn t8_a_stopped_tunnel_never_dials_whatever_happens() {
    for stop in
        [Input::Stop, closed(1, 4409), closed(1, 4404), Input::Asked { generation: 1, asked: Asked::Stop }]
    {
        let (mut host, generation) = Host::up(plain());
        host.say(stop.clone());
        assert_eq!(host.place(), State::Stopped);
        assert!(host.tunnel.deadline().is_none());
        for input in [
            Input::Online,
            Input::Wake,
            Input::Offline,
            Input::Online,
            closed(generation, 1006),
            notice(generation),
            Input::Stop,
            Input::Prepared { operation: 1 },
            Input::Inbound { generation, ago: 0 },
            Input::Accepted { generation },
        ] {
            assert_eq!(host.say(input), []);
        }
        host.say(Input::Start);
        assert_ne!(host.place(), State::Stopped);
    }
}

#[test]
fn t9_a_loop_of_wakes_dials_at_most_once_in_a_floor() {
    let mut host = Host::new(plain());
    host.say(Input::Start);
    let mut dials = 0;
    for now in 0..10_000 {
        host.now = now;
        host.say(if now % 2 == 0 { Input::Wake } else { Input::Online });
        if host.place() == State::Preparing {
            let generation = host.dial();
            dials += 1;
            host.say(unreachable(generation));
        }
    }
    assert!((2..=101).contains(&dials), "{dials}");
    assert_eq!(host.tunnel.escalation.attempt(), dials, "and the backoff escalates all the way");
}

#[test]
fn t9_a_loop_of_starts_and_stops_keeps_the_pace_of_dials() {
    let mut host = Host::new(plain());
    let mut dials = 0;
    for now in 0..10_000 {
        host.now = now;
        host.say(Input::Start);
        if host.place() == State::Preparing {
            host.dial();
            dials += 1;
        }
        host.say(Input::Stop);
    }
    assert!(dials <= 101, "{dials}");
}

#[test]
fn t9_a_wake_does_not_come_sooner_than_a_server_asked() {
    let (mut host, generation) = Host::up(plain());
    host.now = 1_000;
    host.say(Input::Closed {
        generation,
        code: 1011,
        retry_after: Some(9_000),
        tls: true,
        subscribed: false,
    });
    assert_eq!(host.delay(), 9_000);
    host.say(Input::Wake);
    assert_eq!(host.delay(), 9_000);
    host.say(Input::Offline);
    host.now = 4_000;
    host.say(Input::Online);
    assert_eq!(host.delay(), 6_000);
    host.now = 10_000;
    host.say(Input::Wake);
    assert_eq!(host.place(), State::Preparing);
}

#[test]
fn it_says_why_it_is_not_connected_and_when_it_tries_next() {
    let (mut host, generation) = Host::up(plain());
    assert_eq!(host.tunnel.explain().because, "connection 1 was accepted");
    host.close(generation, 1011);
    let explanation = host.tunnel.explain();
    assert_eq!(explanation.state, "waiting");
    assert_eq!(
        explanation.because,
        "the last connection closed with 1011; delays since the backoff began: 1"
    );
    assert_eq!(explanation.waits_for, "the end of the delay");
    assert_eq!(explanation.next, Some((1_000, "retry")));
    host.wake();
    let generation = host.dial();
    host.close(generation, 4409);
    let explanation = host.tunnel.explain();
    assert_eq!(explanation.because, "another connection with the same identity took over (close code 4409)");
    assert_eq!(explanation.waits_for, "a start");
    assert_eq!(explanation.next, None);
}

#[test]
fn a_record_that_no_tunnel_could_have_written_is_refused() {
    let (host, _) = Host::up(plain());
    let spoil: [fn(&mut Tunnel); 7] = [
        |tunnel| tunnel.course = Course::Idle,
        |tunnel| tunnel.endpoint = 1,
        |tunnel| tunnel.buffered = 1_001,
        |tunnel| tunnel.old = Some(Old { generation: 9, until: 0 }),
        |tunnel| tunnel.connection = None,
        |tunnel| tunnel.attempt = Attempt::Suspended,
        |tunnel| tunnel.attempt = Attempt::Preparing { operation: 9, until: 0 },
    ];
    for spoil in spoil {
        let mut tunnel = host.tunnel.clone();
        spoil(&mut tunnel);
        let snapshot = tunnel.snapshot(0).unwrap();
        assert_eq!(Tunnel::restore(&snapshot, 0, 0), Err(RecordFault::Corrupt));
    }
    let snapshot = host.tunnel.snapshot(0).unwrap();
    assert_eq!(Tunnel::restore(&snapshot, 0, 0), Ok(host.tunnel));
}

#[test]
fn at_the_end_of_time_nothing_spins() {
    let mut host = Host::new(plain());
    host.now = MAX_TIME;
    host.say(Input::Start);
    let generation = host.dial();
    host.say(unreachable(generation));
    host.tunnel.tick(MAX_TIME).unwrap();
}

// --- a world that does anything ---

/// What the world does with one tunnel, drawn from a stream of its own.
struct World {
    random: Random,
    tunnel: Tunnel,
    now: Millis,
    /// Answers on their way.
    coming: Vec<(Millis, Input)>,
    dials: Vec<Millis>,
    adopted: Option<u32>,
    /// Abandoned or closed: the host reports no more about these.
    gone: Vec<u32>,
    stopped: bool,
    /// From here on the world behaves well.
    calm: bool,
}

impl World {
    fn new(config: Config, seed: u64) -> Self {
        Self {
            random: Random::seeded(!seed),
            tunnel: Tunnel::new(config, seed, 0).unwrap(),
            now: 0,
            coming: Vec::new(),
            dials: Vec::new(),
            adopted: None,
            gone: Vec::new(),
            stopped: true,
            calm: false,
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random.between(0, below - 1)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let last = u64::try_from(from.len()).unwrap() - 1;
        from[usize::try_from(self.random.between(0, last)).unwrap()]
    }

    fn send(&mut self, within: u64, input: Input) {
        let at = self.now + self.draw(within);
        self.coming.push((at, input));
    }

    fn anything(&mut self) -> Input {
        let known = u64::from(self.tunnel.generations.issued()) + 1;
        let generation = u32::try_from(self.draw(known)).unwrap() + u32::from(known > 1);
        let generation = generation.min(self.tunnel.generations.issued());
        let codes = [1000, 1001, 1006, 1008, 1011, 1012, 1013, 1015, 4001, 4403, 4408, 4409, 4410];
        let code = self.pick(&codes);
        let hint = (self.draw(4) == 0).then(|| self.random.between(0, 20_000));
        match self.draw(14) {
            0 => Input::Start,
            1 => Input::Stop,
            2 => Input::Online,
            3 => Input::Offline,
            4 => Input::Wake,
            5 => Input::Send,
            6 => Input::Asked { generation, asked: self.pick(&[Asked::Move, Asked::Refresh]) },
            7 => Input::DrainNotice { generation, within: None },
            8 => Input::DrainNotice { generation, within: Some(self.draw(2_000)) },
            9 => Input::Inbound { generation, ago: self.draw(100_000) },
            10 => Input::Finished { generation },
            _ => Input::Closed { generation, code, retry_after: hint, tls: true, subscribed: false },
        }
    }

    /// The host's part, and the checks of every effect.
    fn start(&mut self, effects: &[Effect]) {
        for effect in effects {
            let fate = if self.calm { 0 } else { self.draw(6) };
            match *effect {
                Effect::Prepare { operation, .. } => match fate {
                    4 => self.send(20, Input::PrepareFailed { operation }),
                    5 => self.send(50_000, Input::Prepared { operation }),
                    _ => self.send(5, Input::Prepared { operation }),
                },
                Effect::Dial { generation, .. } => {
                    assert!(!self.stopped, "T8: a dial while stopped");
                    assert!(self.tunnel.online, "T9: a dial while offline");
                    self.dials.push(self.now);
                    match fate {
                        1 => self.send(100_000, Input::Opened { generation }),
                        2 => self.send(10, unreachable(generation)),
                        3 => self.send(10, refused(generation)),
                        4 => self.send(10, closed(generation, 1006)),
                        _ => self.send(10, Input::Opened { generation }),
                    }
                }
                Effect::Adopt { generation } => {
                    if let Some(before) = self.adopted.replace(generation) {
                        let old = self.tunnel.old.map(|old| old.generation);
                        let handled = old == Some(before) || self.gone.contains(&before);
                        assert!(
                            handled
                                || effects.contains(&Effect::Abandon { generation: before, code: NORMAL }),
                            "at most one adopted connection"
                        );
                    }
                    if !self.calm && self.draw(2) == 0 {
                        self.send(3, notice(generation));
                    }
                }
                Effect::Abandon { generation, .. } => {
                    self.gone.push(generation);
                    if self.adopted == Some(generation) {
                        self.adopted = None;
                    }
                }
                Effect::Sample { generation } => {
                    let ago = if self.calm { 0 } else { self.draw(80_000) };
                    if fate != 5 {
                        self.send(10, Input::Inbound { generation, ago });
                    }
                }
                Effect::Stopped { .. } => {
                    self.stopped = true;
                    self.adopted = None;
                }
                _ => {}
            }
        }
    }

    fn step(&mut self) {
        if !self.calm && self.draw(8) == 0 {
            let input = self.anything();
            self.send(10, input);
        }
        let next = self.coming.iter().map(|(at, _)| *at).min();
        let due = self.tunnel.deadline().map(|deadline| deadline.at);
        let Some(at) = [next, due].into_iter().flatten().min() else {
            self.now += 1_000;
            return;
        };
        self.now = self.now.max(at);
        if !self.calm && self.draw(50) == 0 {
            self.now += self.draw(100_000);
        }
        let before = self.tunnel.clone();
        let place = self.coming.iter().position(|(at, _)| *at <= self.now);
        let step = match place {
            Some(place) => {
                let (_, input) = self.coming.swap_remove(place);
                if input == Input::Start {
                    self.stopped = false;
                }
                if let Input::Closed { generation, .. } = input {
                    self.gone.push(generation);
                    if self.adopted == Some(generation) {
                        self.adopted = None;
                    }
                }
                let step = self.tunnel.handle(self.now, &input);
                if let (Ok(step), Input::Opened { generation }) = (&step, &input)
                    && self.tunnel.next_generation() == Some(*generation)
                    && !step.effects.contains(&Effect::Abandon { generation: *generation, code: TIMEOUT })
                {
                    let inbound = Input::Inbound { generation: *generation, ago: 0 };
                    self.send(10, inbound);
                }
                step
            }
            None => self.tunnel.tick(self.now),
        };
        match step {
            Ok(step) => {
                self.start(&step.effects);
                if let Some(deadline) = step.deadline {
                    assert!(deadline.at > self.now, "nothing is left due");
                } else {
                    assert!(self.tunnel.is_resting(), "{:?} waits for ever", self.tunnel);
                }
                assert_eq!(self.tunnel.adopted(), self.adopted, "the host and the machine agree");
                // A restore at any point goes on alike.
                if self.draw(20) == 0 {
                    let snapshot = self.tunnel.snapshot(self.now).unwrap();
                    let restored = Tunnel::restore(&snapshot, self.now, 0).unwrap();
                    assert_eq!(restored.next_timer(), self.tunnel.next_timer());
                    assert_eq!(restored.explain(), self.tunnel.explain());
                    self.tunnel = restored;
                }
            }
            Err(_) => assert_eq!(self.tunnel, before, "a rejection changes nothing"),
        }
    }
}

/// Dials are so quick here that the budget and the floor are all that bounds them.
fn quick() -> Config {
    Config {
        backoff: backoff::Policy {
            initial: 60,
            floor: 50,
            cap: 400,
            jitter: backoff::Jitter::Full,
            ..backoff::Policy::default()
        },
        slow_delay: 100,
        immediate_budget: 4,
        immediate_window: 200,
        finish_limit: 500,
        endpoints: 3,
        ..plain()
    }
}

#[test]
fn in_a_world_that_does_anything_the_properties_hold() {
    for seed in 0..200 {
        let config =
            if seed % 2 == 0 { quick() } else { Config { overflow: Overflow::DropOldest, ..plain() } };
        let (budget, floor) = (u64::from(config.immediate_budget), config.backoff.floor);
        let mut world = World::new(config, seed);
        for _ in 0..3_000 {
            world.step();
            if world.stopped && world.draw(10) == 0 {
                world.send(200, Input::Start);
            }
        }
        // P: dials in any window ≤ budget + 1 + window ÷ floor.
        for (first, from) in world.dials.iter().enumerate() {
            for (count, to) in (1_u64..).zip(&world.dials[first..]) {
                let most = budget + 1 + (to - from) / floor;
                assert!(count <= most, "seed {seed}: {count} dials from {from} to {to}, at most {most}");
            }
        }
        assert!(world.dials.len() > 50, "seed {seed}: only {} dials", world.dials.len());
        // P: nothing fatal happens and the relay stays up: it comes up, and stays.
        world.calm = true;
        world.coming.clear();
        world.stopped = false;
        world.send(1, Input::Start);
        world.send(1, Input::Online);
        let calm_since = world.now;
        while world.tunnel.place() != State::Up || world.tunnel.old.is_some() {
            world.step();
            assert!(world.now < calm_since + 400_000, "seed {seed}: {:?}", world.tunnel);
        }
        let generation = world.tunnel.adopted();
        let until = world.now + 600_000;
        while world.now < until {
            world.step();
        }
        assert_eq!(world.tunnel.adopted(), generation, "seed {seed}: it stays up");
    }
}

#[test]
fn t6_a_hostile_server_that_drains_in_a_loop_cannot_make_a_client_spin() {
    for in_band in [true, false] {
        let (mut host, mut generation) = Host::up(plain());
        let mut dials = 1;
        while host.now < 600_000 {
            if in_band {
                host.say(notice(generation));
            } else {
                host.close(generation, 4001);
            }
            while host.tunnel.next_generation().is_none() {
                if matches!(host.tunnel.attempt, Attempt::Preparing { .. }) {
                    generation = host.connect();
                    dials += 1;
                    break;
                }
                host.wake();
            }
        }
        // Without a budget this loop would not end. 3 at once, one more every 20 s, and after each of them
        // at most the five dials that a backoff from its start has in 20 s (1, 2, 4, 5, 5).
        assert!((33..=(3 + 30 + 1) * 6).contains(&dials), "{dials} dials in 10 minutes");
    }
}

#[test]
fn t10_how_much_is_buffered_can_be_asked() {
    let mut host = Host::new(Config { buffer_limit: 2, ..plain() });
    assert_eq!(host.tunnel.buffered(), 0);
    for expected in [1, 2, 2] {
        host.say(Input::Send);
        assert_eq!(host.tunnel.buffered(), expected);
    }
}

#[test]
fn t8_a_start_forgives_a_refusal() {
    let mut host = Host::new(plain());
    let cap = host.tunnel.config.backoff.cap;
    for _ in 0..3 {
        host.say(Input::Start);
        if host.place() == State::Waiting {
            host.wake();
        }
        let generation = host.dial();
        host.say(refused(generation));
        assert!(host.delay() < cap, "as after the first refusal: {} ms", host.delay());
        let asked = host.wake();
        assert!(asked.iter().any(|effect| matches!(effect, Effect::Prepare { refresh: true, .. })));
        host.say(Input::Stop);
    }
}

#[test]
fn t4_after_a_stall_silence_is_looked_at_anew_before_it_is_judged() {
    let (mut host, generation) = Host::up(plain());
    let sample = vec![Effect::Sample { generation }];
    while host.wake() != sample {}
    // The host is away while the answer is due.
    host.now += 3_600_000;
    assert_eq!(host.wake(), [Effect::Ping { generation }]);
    assert_eq!(host.wake(), sample, "a look, and no verdict");
}
