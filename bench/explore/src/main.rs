//! Our explorer beside Stateright, on the same models in one run.
//!
//! First the counts: for every model that Stateright can hold, its unique states must be as many as ours (it keeps
//! fingerprints, we keep states). Then the pace, two threads each, by turns (`turns.rs`), again and again. Stateright's
//! `is_done` is not asked, as it is true after a truncated run too; no limit is set, so a run that ends has seen everything.

mod turns;
mod two_phase;

/// For both: what one thread allocated another one may free, and the usual allocator has them wait for each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use stateright::Checker;
use tidegate_verify::alone::{Alone, AloneWorld};
use tidegate_verify::explore::{Limits, Model, Watch, explore};
use tidegate_verify::machines::{Backoff, Directory, Handoff, LeaseHolder, Peer, Successor, Tunnel};
use tidegate_verify::models::{
    Size, allocation, backoff, connect, directory, drain, fleet, handoff, holders, lease, lease_holder,
    lifecycle, peer, processes, recovery, replace, rows, saga, serve, stack, successor, takeover, tunnel,
};
use tidegate_verify::world::{Explored, World};

use turns::{Clock, Done, Run, Side, both, handover, work};

/// One of our models, for Stateright.
struct Adapted<M>(M);

impl<M: Model + Send + 'static> stateright::Model for Adapted<M>
where
    M::State: 'static,
    M::Action: 'static,
{
    type State = M::State;
    type Action = Step<M>;

    fn init_states(&self) -> Vec<M::State> {
        self.0.initial()
    }

    fn actions(&self, state: &M::State, actions: &mut Vec<Step<M>>) {
        let mut next = Vec::new();
        self.0.successors(state, &mut Watch::default(), &mut next);
        actions.extend(next.into_iter().map(|(_, state)| Step(state)));
    }

    fn next_state(&self, _: &M::State, Step(next): Step<M>) -> Option<M::State> {
        Some(next)
    }

    /// The same checks of each state as ours makes.
    fn properties(&self) -> Vec<stateright::Property<Self>> {
        vec![stateright::Property::always("nothing is wrong", |model: &Self, state| {
            let mut watch = Watch::default();
            model.0.inspect(state, &mut watch);
            !watch.is_broken()
        })]
    }
}

/// A step with the state after it, so that both explorers compute each successor once.
struct Step<M: Model>(M::State);

impl<M: Model> Clone for Step<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
impl<M: Model> PartialEq for Step<M> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<M: Model> std::fmt::Debug for Step<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

const THREADS: usize = 2;
/// What the name of a model at its full bounds ends with.
const FULL: &str = ", full bounds";

/// Explores a model by ours, and says what became of it before it gives back what it kept: that is not on the clock.
fn ours<M: Model>(model: M, done: Done<'_>) {
    let limits = Limits { threads: THREADS, ..Limits::default() };
    let clock = Clock::read();
    let graph = explore(&model, &limits);
    assert!(graph.complete && graph.violations.is_empty(), "{:?}", graph.violations);
    done(Run { states: graph.states(), seconds: clock.seconds() });
}

/// The same by Stateright.
fn theirs<M: stateright::Model + Send + Sync + 'static>(model: M, done: Done<'_>)
where
    M::State: std::fmt::Debug + std::hash::Hash + Send + Sync + Clone + PartialEq,
    M::Action: Send + Sync + Clone + PartialEq,
{
    let clock = Clock::read();
    let checker = model.checker().threads(THREADS).spawn_bfs().join();
    done(Run { states: checker.unique_state_count(), seconds: clock.seconds() });
}

fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_unstable_by(f64::total_cmp);
    let middle = runs.len() / 2;
    if runs.len() % 2 == 1 { runs[middle] } else { f64::midpoint(runs[middle - 1], runs[middle]) }
}

/// So many times as many rounds there are at most of a row that is close.
const MOST: usize = 4;
/// A row that took longer than this has no more rounds than were asked for.
const LONG: Duration = Duration::from_secs(120);

/// Whether rounds with these ratios say which of the two is quicker: of two that are alike, no more than one series in twenty
/// would be so much to the one side.
fn is_decided(ratios: &[f64]) -> bool {
    let below = ratios.iter().filter(|ratio| **ratio < 1.0).count();
    let few = below.min(ratios.len() - below);
    // How many ways there are for so many of the rounds to fall to that side, and how likely each is.
    let (mut ways, mut all) = (1.0, 0.0);
    for so_many in 0..=few {
        all += ways;
        ways *= (ratios.len() - so_many) as f64 / (so_many + 1) as f64;
    }
    all * 0.5_f64.powi(ratios.len() as i32) <= 0.05
}

/// One row of the table.
struct Row {
    name: String,
    /// Unique states, ours and theirs.
    states: (usize, usize),
    /// Unique states a second, ours and theirs.
    pace: (f64, f64),
    /// Ours by theirs.
    ratio: f64,
    /// The paces of each round, ours and theirs.
    rounds: Vec<(f64, f64)>,
    /// How far apart the cores were before each round: see [`handover`].
    handovers: Vec<f64>,
}

impl Row {
    fn json(&self) -> String {
        let Self { name, states, pace, ratio, rounds, handovers } = self;
        let rounds: Vec<String> =
            rounds.iter().map(|(own, other)| format!("[{own:.0}, {other:.0}]")).collect();
        format!(
            "{{\"model\": \"{name}\", \"states\": [{}, {}], \"statesPerSecond\": [{:.0}, {:.0}], \"ratio\": {ratio:.2}, \
             \"rounds\": [{}], \"handoverNs\": [{}]}}",
            states.0,
            states.1,
            pace.0,
            pace.1,
            rounds.join(", "),
            handovers.iter().map(|time| format!("{time:.0}")).collect::<Vec<_>>().join(", "),
        )
    }
}

/// What is to be done with each model.
enum Task {
    /// Compare those whose names contain `only`, so often; at the bounds of `cargo xtask verify`, or at small ones.
    Compare { rounds: usize, only: String, full: bool },
    /// Explore the one of this name, and say how many states it has and how long it took.
    Explore(Side, String),
}

/// Everything that is compared.
struct Comparison {
    task: Task,
    rows: Vec<Row>,
    faults: Vec<String>,
}

impl Comparison {
    /// Compares counts, and paces: the median of the rounds, in which now the one begins, now the other. The ratio is
    /// the median of the rounds' ratios, not that of the medians: the two of a round meet the same machine.
    fn compare(&mut self, name: &str, ours: impl Fn(Done<'_>), theirs: impl Fn(Done<'_>)) {
        let rounds = match &self.task {
            Task::Compare { rounds, only, full } if name.contains(only) && *full == name.ends_with(FULL) => {
                *rounds
            }
            Task::Explore(side, wanted) if name == wanted => {
                work(|done| if *side == Side::Ours { ours(done) } else { theirs(done) });
                return;
            }
            _ => return,
        };
        let (mut own, mut other, mut handovers) = (Vec::new(), Vec::new(), Vec::new());
        let mut states = (0, 0);
        let start = Instant::now();
        let ratios = |own: &[f64], other: &[f64]| -> Vec<f64> {
            own.iter().zip(other).map(|(own, other)| own / other).collect()
        };
        let is_close = |own: &[f64], other: &[f64]| {
            own.len() < MOST * rounds && start.elapsed() < LONG && !is_decided(&ratios(own, other))
        };
        for round in 0.. {
            if round >= rounds && !is_close(&own, &other) {
                break;
            }
            let order = if round % 2 == 0 { [Side::Ours, Side::Theirs] } else { [Side::Theirs, Side::Ours] };
            handovers.push(handover());
            match both(name, order) {
                Ok(runs) => {
                    for (side, run) in order.into_iter().zip(runs) {
                        let (count, paces) = match side {
                            Side::Ours => (&mut states.0, &mut own),
                            Side::Theirs => (&mut states.1, &mut other),
                        };
                        *count = run.states;
                        paces.push(run.states as f64 / run.seconds);
                    }
                }
                Err(fault) => {
                    println!("{fault}");
                    self.faults.push(fault);
                    return;
                }
            }
        }
        let rounds: Vec<(f64, f64)> = own.iter().copied().zip(other.iter().copied()).collect();
        let ratio = median(ratios(&own, &other));
        let row = Row {
            name: name.to_owned(),
            states,
            pace: (median(own), median(other)),
            ratio,
            rounds,
            handovers,
        };
        let same = if states.0 == states.1 { "same" } else { "DIFFERENT" };
        let pace = row.pace;
        let (apart, rounds) = (median(row.handovers.clone()), row.rounds.len());
        println!(
            "{name:<38} {:>9} {:>9} {same:<9} {:>10.0} {:>10.0} {ratio:>6.2} {rounds:>6} {apart:>8.0} ns",
            states.0, states.1, pace.0, pace.1
        );
        self.rows.push(row);
    }

    fn alone<M: Alone>(&mut self, name: &str, configs: impl Fn() -> Vec<M::Config>)
    where
        M::Observer: 'static,
    {
        self.world(name, || AloneWorld::<M>::new(configs()));
    }

    fn world<W: World + Send + 'static>(&mut self, name: &str, make: impl Fn() -> W)
    where
        W::State: 'static,
        W::Action: 'static,
    {
        self.compare(
            name,
            |done| ours(Explored(make()), done),
            |done| theirs(Adapted(Explored(make())), done),
        );
    }

    /// One that has bounds: these, and the full ones.
    fn bounded<W: World + Send + 'static>(&mut self, name: &str, size: Size, make: impl Fn(Size) -> W)
    where
        W::State: 'static,
        W::Action: 'static,
    {
        let bounds = if size == Size::Small { ", small bounds" } else { ", quick bounds" };
        self.world(&format!("{name}{bounds}"), || make(size));
        self.world(&format!("{name}{FULL}"), || make(Size::Full));
    }
}

/// What was asked for: a task, and where the result goes.
fn wanted() -> Result<(Task, Option<String>), String> {
    let (mut rounds, mut only, mut full, mut file) = (None, String::new(), false, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--rounds" => {
                let number = value()?.parse().map_err(|_| "--rounds needs a number".to_owned())?;
                rounds = Some(1_usize.max(number));
            }
            "--full" => full = true,
            "--only" => only = value()?,
            "--json" => file = Some(value()?),
            // What it starts itself with.
            "run" => {
                let side = if value()? == Side::Ours.name() { Side::Ours } else { Side::Theirs };
                return Ok((Task::Explore(side, value()?), None));
            }
            _ => {
                return Err(format!(
                    "there is no {argument}; there are --rounds N, --only NAME, --full and --json FILE"
                ));
            }
        }
    }
    let rounds = rounds.unwrap_or(if full { 1 } else { 5 });
    Ok((Task::Compare { rounds, only, full }, file))
}

fn main() -> ExitCode {
    let (task, file) = match wanted() {
        Ok(wanted) => wanted,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    if let Task::Compare { rounds, .. } = &task {
        println!(
            "{THREADS} threads each, by turns, the median of {rounds} rounds, up to {MOST} times as many where it is close; unique states, unique states a second, \
             and how long the cores take to hand something over and back"
        );
        println!(
            "{:<38} {:>9} {:>9} {:<9} {:>10} {:>10} {:>6} {:>6} {:>11}",
            "model", "ours", "theirs", "counts", "ours/s", "theirs/s", "ratio", "rounds", "handover"
        );
    }
    let mut all = Comparison { task, rows: Vec::new(), faults: Vec::new() };
    for rms in [7, 8] {
        let stock = |done: Done<'_>| theirs(two_phase::Stock { rms }, done);
        all.compare(
            &format!("2pc, {rms}: stock, ours packed"),
            |done| ours(two_phase::Packed { rms }, done),
            stock,
        );
    }
    let stock = |done: Done<'_>| theirs(two_phase::Stock { rms: 7 }, done);
    all.compare("2pc, 7: stock, ours as it is", |done| ours(two_phase::TwoPhase { rms: 7 }, done), stock);
    let packed = || two_phase::Packed { rms: 8 };
    all.compare("2pc, 8: both packed", |done| ours(packed(), done), |done| theirs(Adapted(packed()), done));
    all.alone::<Backoff>("backoff", backoff::configs);
    all.alone::<Directory>("directory", directory::configs);
    all.alone::<Peer>("peer", peer::configs);
    all.bounded("drain", Size::Quick, |size| drain::world(size).1);
    all.alone::<Tunnel>("tunnel, quick bounds", tunnel::smallest);
    all.world(&format!("tunnel{FULL}"), || tunnel::world(Size::Full).1);
    all.bounded("lease", Size::Small, |size| lease::world(size).1);
    all.alone::<LeaseHolder>("lease holder", lease_holder::configs);
    all.bounded("saga", Size::Small, |size| saga::world(size).1);
    all.bounded("lifecycle", Size::Small, |size| lifecycle::world(size).1);
    all.alone::<Handoff>("handoff", handoff::configs);
    all.alone::<Successor>("successor", successor::configs);
    all.world("stack", stack::world);
    all.bounded("tunnel × relay", Size::Quick, |size| connect::Connect::new(connect::configs(size).1));
    all.bounded("handoff × successor", Size::Quick, |size| takeover::world(size).1);
    all.bounded("drain × handoff", Size::Quick, |size| replace::world(size).1);
    all.bounded("stack × processes", Size::Quick, |size| processes::world(size).1);
    all.bounded("stack, a diamond", Size::Quick, |size| processes::diamond(size).1);
    all.bounded("drain × host", Size::Quick, |size| serve::world(size).1);
    all.bounded("relays × tunnels", Size::Quick, |size| fleet::world(size).1);
    all.bounded("rows × peers", Size::Quick, |size| rows::Rows::new(rows::bounds(size).1));
    all.bounded("lease × holders", Size::Small, |size| holders::Holders::new(holders::bounds(size).1));
    all.bounded("saga × crash", Size::Quick, |size| recovery::Recovery::new(recovery::bounds(size).1));
    all.bounded("saga × lease × crash", Size::Small, |size| {
        allocation::Allocation::new(allocation::bounds(size).1)
    });
    let Task::Compare { rounds, only, .. } = &all.task else { return ExitCode::SUCCESS };
    if all.rows.is_empty() && all.faults.is_empty() {
        eprintln!("no model has a name that contains {only:?}");
        return ExitCode::from(2);
    }
    if let Some(file) = file {
        let rows: Vec<String> = all.rows.iter().map(Row::json).collect();
        let text = format!(
            "{{\"threads\": {THREADS}, \"rounds\": {rounds}, \"models\": [\n  {}\n]}}\n",
            rows.join(",\n  ")
        );
        if let Err(error) = std::fs::write(&file, text) {
            eprintln!("{file}: {error}");
            return ExitCode::from(2);
        }
    }
    if !all.faults.is_empty() {
        return ExitCode::FAILURE;
    }
    if all.rows.iter().any(|row| row.states.0 != row.states.1) {
        println!("the counts differ: one of the two is wrong");
        return ExitCode::FAILURE;
    }
    let slower: Vec<&str> =
        all.rows.iter().filter(|row| row.ratio < 1.0).map(|row| row.name.as_str()).collect();
    println!(
        "same counts everywhere; slower than Stateright: {}",
        if slower.is_empty() { "none".to_owned() } else { slower.join("; ") }
    );
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_decided_when_two_that_are_alike_would_hardly_differ_so() {
        let rounds = |above: usize, below: usize| [vec![1.1; above], vec![0.9; below]].concat();
        for (above, below) in [(0, 0), (4, 0), (2, 3), (6, 1), (9, 3), (14, 6)] {
            assert!(!is_decided(&rounds(above, below)), "{above} to {below}");
            assert!(!is_decided(&rounds(below, above)), "{below} to {above}");
        }
        for (above, below) in [(5, 0), (7, 1), (9, 1), (10, 2), (15, 5)] {
            assert!(is_decided(&rounds(above, below)), "{above} to {below}");
            assert!(is_decided(&rounds(below, above)), "whoever is quicker");
        }
    }

    #[test]
    fn the_median_of_an_even_number_is_in_the_middle() {
        assert_eq!([median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0, 2.0, 3.0])], [2.0, 2.5]);
    }
}
