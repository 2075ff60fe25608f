//! Our explorer beside Stateright, on the same models in one run.
//!
//! First the counts: for every model that Stateright can hold, its unique states must be as many as ours (it keeps
//! fingerprints, we keep states). Then the pace, interleaved: two threads each, first the one, then the other, again
//! and again. Stateright's `is_done` is not asked, as it is true after a truncated run too; no limit is set, so a run
//! that ends has seen everything.

mod two_phase;

use std::time::Instant;

use stateright::Checker;
use tidegate_verify::alone::{Alone, AloneWorld};
use tidegate_verify::explore::{Limits, Model, Watch, explore};
use tidegate_verify::models::{Size, backoff, connect, directory, drain, peer, rows, tunnel};
use tidegate_verify::world::{Explored, World};

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

struct Run {
    states: usize,
    seconds: f64,
}

fn ours<M: Model>(model: M) -> Run {
    let limits = Limits { threads: THREADS, ..Limits::default() };
    let start = Instant::now();
    let graph = explore(&model, &limits);
    assert!(graph.complete && graph.violations.is_empty(), "{:?}", graph.violations);
    Run { states: graph.states(), seconds: start.elapsed().as_secs_f64() }
}

fn theirs<M: stateright::Model + Send + Sync + 'static>(model: M) -> Run
where
    M::State: std::fmt::Debug + std::hash::Hash + Send + Sync + Clone + PartialEq,
    M::Action: Send + Sync + Clone + PartialEq,
{
    let start = Instant::now();
    let checker = model.checker().threads(THREADS).spawn_bfs().join();
    let states = checker.unique_state_count();
    Run { states, seconds: start.elapsed().as_secs_f64() }
}

fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_unstable_by(f64::total_cmp);
    runs[runs.len() / 2]
}

/// Compares counts, and paces over `rounds` interleaved rounds.
fn compare(name: &str, rounds: usize, ours: impl Fn() -> Run, theirs: impl Fn() -> Run) -> bool {
    let (mut own, mut other) = (Vec::new(), Vec::new());
    let mut counts = (0, 0);
    for round in 0..rounds {
        let (a, b) = if round % 2 == 0 {
            let a = ours();
            (a, theirs())
        } else {
            let b = theirs();
            (ours(), b)
        };
        counts = (a.states, b.states);
        own.push(a.states as f64 / a.seconds);
        other.push(b.states as f64 / b.seconds);
    }
    let (own, other) = (median(own), median(other));
    let same = if counts.0 == counts.1 { "same" } else { "DIFFERENT" };
    println!("{name:<36} {:>9} {:>9} {same:<9} {own:>10.0} {other:>10.0} {:>6.2}", counts.0, counts.1, own / other);
    counts.0 == counts.1
}

fn alone<M: Alone>(name: &str, rounds: usize, configs: impl Fn() -> Vec<M::Config>) -> bool
where
    M::Observer: 'static,
{
    world(name, rounds, || AloneWorld::<M>::new(configs()))
}

fn world<W: World + Send + 'static>(name: &str, rounds: usize, make: impl Fn() -> W) -> bool
where
    W::State: 'static,
    W::Action: 'static,
{
    compare(name, rounds, || ours(Explored(make())), || theirs(Adapted(Explored(make()))))
}

fn main() {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3);
    println!(
        "{:<36} {:>9} {:>9} {:<9} {:>10} {:>10} {:>6}",
        "model", "ours", "theirs", "counts", "ours/s", "theirs/s", "ratio"
    );
    let mut same = true;
    for rms in [7, 8] {
        let stock = || theirs(two_phase::Stock { rms });
        let name = format!("2pc, {rms}: ours keeps states packed");
        same &= compare(&name, rounds, || ours(two_phase::Packed { rms }), stock);
        let name = format!("2pc, {rms}: ours keeps them as they are");
        same &= compare(&name, rounds, || ours(two_phase::TwoPhase { rms }), stock);
    }
    let packed = || two_phase::Packed { rms: 8 };
    same &= compare("2pc, 8: both packed", rounds, || ours(packed()), || theirs(Adapted(packed())));
    same &= alone::<tidegate_verify::machines::Backoff>("backoff", rounds, backoff::configs);
    same &= alone::<tidegate_verify::machines::Directory>("directory", rounds, directory::configs);
    same &= alone::<tidegate_verify::machines::Peer>("peer", rounds, peer::configs);
    same &= world("drain, quick bounds", rounds, || drain::world(Size::Quick).1);
    same &= alone::<tidegate_verify::machines::Tunnel>("tunnel, smallest", rounds, tunnel::smallest);
    same &= world("tunnel × relay, quick bounds", rounds, || connect::Connect::new(connect::configs(Size::Quick).1));
    same &= world("rows × peers, quick bounds", rounds, || rows::Rows::new(rows::bounds(Size::Quick).1));
    if !same {
        println!("the counts differ: one of the two is wrong");
        std::process::exit(1);
    }
}
