//! The fault matrix of an allocation: every step, every way to fail, every undo that may fail with it, and a host
//! that is struck at every effect and every write, up to twice.

use std::collections::BTreeMap;
use std::fmt::Write;

use tidegate::saga::Phase;
use tidegate::{Millis, Name};

use super::gateways::{DoFault, Fault, Gateways, STEPS, Shape, UndoFault};
use super::{Call, Host, Next, Outcome, Strike};

/// One cell, without the strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    pub shape: Shape,
    pub fault: Option<Fault>,
    pub undo_fault: Option<(usize, UndoFault)>,
}

impl Cell {
    /// Every cell, in order.
    pub fn all() -> Vec<Self> {
        let mut cells = Vec::new();
        for shape in Shape::ALL {
            cells.push(Self { shape, fault: None, undo_fault: None });
            for step in 0..STEPS.len() {
                for kind in DoFault::ALL {
                    if shape == Shape::Keyed {
                        let fault = Some(Fault { step, kind, once: true });
                        cells.push(Self { shape, fault, undo_fault: None });
                    }
                    let fault = Some(Fault { step, kind, once: false });
                    cells.push(Self { shape, fault, undo_fault: None });
                    for undone in 0..=step {
                        for undo_fault in UndoFault::ALL {
                            // The allocation has a fallback, it requires none.
                            if undone > 0 || undo_fault != UndoFault::FailsWithFallback {
                                let undo_fault = Some((undone, undo_fault));
                                cells.push(Self { shape, fault, undo_fault });
                            }
                        }
                    }
                }
            }
        }
        cells
    }

    pub fn name(&self) -> String {
        format!("{} / {} / {}", self.shape.name(), self.fault_name(), self.undo_name())
    }

    pub fn fault_name(&self) -> String {
        self.fault.map_or("nothing fails".to_owned(), |Fault { step, kind, once }| {
            format!("{} {}{}", STEPS[step], kind.name(), if once { ", once" } else { "" })
        })
    }

    pub fn undo_name(&self) -> String {
        self.undo_fault.map_or("undo works".to_owned(), |(step, fault)| {
            format!("undo of {} {}", STEPS[step], fault.name())
        })
    }

    pub fn host(&self) -> Host<Gateways> {
        let world = Gateways::new(self.shape, self.fault, self.undo_fault);
        Host::start(&self.shape.config(), world)
    }
}

/// What a cell came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How it ended without a strike.
    pub plain: String,
    /// Runs with this many strikes.
    pub runs: [u64; 3],
    /// How many ended how.
    pub ends: BTreeMap<&'static str, u64>,
    /// Runs that were not the same as one before: same journal, same world, same calls under way.
    pub distinct: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.runs.iter_mut().zip(other.runs).for_each(|(runs, more)| *runs += more);
        for (end, count) in &other.ends {
            *self.ends.entry(end).or_default() += count;
        }
        self.distinct += other.distinct;
    }
}

/// Runs every cell with up to this many strikes, on as many threads as there are processors.
pub fn run_all(strikes: usize) -> Vec<(Cell, Tally)> {
    let cells = Cell::all();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut tallies: Vec<_> = std::thread::scope(|scope| {
        let work = |thread: usize| {
            let own = cells.iter().enumerate().skip(thread).step_by(threads);
            own.map(|(index, cell)| (index, *cell, run(cell, strikes))).collect::<Vec<_>>()
        };
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        handles.into_iter().flat_map(|handle| handle.join().expect("every cell holds")).collect()
    });
    tallies.sort_by_key(|(index, ..)| *index);
    tallies.into_iter().map(|(_, cell, tally)| (cell, tally)).collect()
}

/// The published table.
pub fn table(tallies: &[(Cell, Tally)]) -> String {
    let mut total = Tally::default();
    tallies.iter().for_each(|(_, tally)| total.add(tally));
    let runs: u64 = total.runs.iter().sum();
    let mut text = String::from(HEAD);
    let _ = writeln!(
        text,
        "**{} cells: {} runs without a strike, {} with one, {} with two; {} in all, 0 violations.** Runs that go on from \
         the same journal, the same world and the same calls under way are one run; there were {} different ones.\n",
        tallies.len(),
        grouped(total.runs[0]),
        grouped(total.runs[1]),
        grouped(total.runs[2]),
        grouped(runs),
        grouped(total.distinct)
    );
    let _ = writeln!(text, "| ended | runs |\n| --- | ---: |");
    for (end, count) in &total.ends {
        let _ = writeln!(text, "| {end} | {} |", grouped(*count));
    }
    for shape in Shape::ALL {
        let _ = writeln!(text, "\n## {}\n\n{}\n", shape.title(), shape.meaning());
        let _ = writeln!(text, "| do | undo | ends, without a strike | one strike | two strikes |");
        let _ = writeln!(text, "| --- | --- | --- | ---: | ---: |");
        for (cell, tally) in tallies.iter().filter(|(cell, _)| cell.shape == shape) {
            let (fault, undo) = (cell.fault_name(), cell.undo_name());
            let [_, one, two] = tally.runs.map(grouped);
            let _ = writeln!(text, "| {fault} | {undo} | {} | {one} | {two} |", tally.plain);
        }
    }
    text
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

const HEAD: &str = "\
# The fault matrix of an allocation

Five steps: allocate a gateway, register its DNS name, write its nginx config, reload nginx, shake hands with the
gateway. Each may fail clean, or end unknown (landed, not landed, or landing as late as its lateness allows). The undo of
each step that may have run may work, fail, or time out (landed or not), and the fallback of the allocation
(quarantine) may fail with it. On top of that the executor is struck at **every** effect and **every** journal write:

- a write: it dies before it, in the middle of it (a torn record) or after it; another executor supersedes it there; the
  write fails, made or not, and the saga is resumed
- an effect: the executor dies before it, during it (what lands, lands as late as it may) or after it

and struck again, up to twice, in recovery too. Every append is delivered twice; so is every answer in runs without a
strike.

After every run: the states of the pool's rows add up to its size; at no moment did a name, a config, a loaded config
or a handshake lead to a gateway that is in the pool; committed means that all is there and rolled back that nothing
is; the leak report is exactly what is left; the original error is unchanged; every key took effect at most once; no
do came after an undo, and none of both before its intent was durable.

`cargo run --release -p tidegate --example saga_matrix` writes this file; a test fails when it is stale.

";

/// Runs a cell with up to this many strikes, each everywhere.
pub fn run(cell: &Cell, strikes: usize) -> Tally {
    let mut exploration = Exploration { cell: *cell, strikes, path: Vec::new(), known: BTreeMap::new() };
    exploration.follow(cell.host())
}

/// Where a host was struck: how, at which effect, and that effect's place.
type Path = Vec<(Strike, &'static str, u32)>;
/// A host that has just recovered, and how many strikes it has had.
type State = ((Vec<u8>, Gateways, Vec<(Millis, Call)>, bool), usize);

struct Exploration {
    cell: Cell,
    strikes: usize,
    path: Path,
    /// What came of hosts that had just recovered.
    known: BTreeMap<State, Tally>,
}

impl Exploration {
    fn follow(&mut self, mut host: Host<Gateways>) -> Tally {
        let mut tally = Tally::default();
        let mut place = 0;
        loop {
            let next = self.named(|| host.next());
            let Next::Carry(effect) = next else { break };
            place += 1;
            if self.path.len() < self.strikes {
                for strike in Strike::at(&effect) {
                    let mut struck = host.clone();
                    struck.doubling = false;
                    self.path.push((*strike, super::name_of(&effect), place));
                    self.named(|| struck.strike(*strike, &effect));
                    tally.add(&self.struck(*strike, struck));
                    self.path.pop();
                }
            }
            self.named(|| host.carry(&effect));
        }
        let outcome = self.named(|| self.check(&host));
        let end = if host.began { outcome.phase.as_str() } else { "never began" };
        tally.runs[self.path.len()] += 1;
        tally.distinct += 1;
        *tally.ends.entry(end).or_default() += 1;
        tally.plain = end.to_owned();
        for step in &outcome.leaked {
            let _ = write!(tally.plain, ", {} left", STEPS[super::index(*step)]);
        }
        if host.world.fell_back() {
            tally.plain.push_str(", gateway quarantined");
        }
        tally
    }

    fn struck(&mut self, strike: Strike, host: Host<Gateways>) -> Tally {
        if matches!(strike, Strike::WriteFailed | Strike::WriteFailedButMade) {
            return self.follow(host);
        }
        let state = (host.state(), self.path.len());
        if let Some(known) = self.known.get(&state) {
            return Tally { distinct: 0, ..known.clone() };
        }
        let tally = self.follow(host);
        self.known.insert(state, tally.clone());
        tally
    }

    fn check(&self, host: &Host<Gateways>) -> Outcome {
        host.check(STEPS.len());
        let outcome = host.outcome();
        let committed = host.began && outcome.phase == Phase::Committed;
        let fell_back = host.world.fell_back();
        host.world.check_end(committed, fell_back, outcome.leaked.contains(&0));
        if host.began && fell_back {
            // What fell back did so for a leak, which is reported.
            assert!(outcome.phase == Phase::Stuck && !outcome.leaked.is_empty());
        }
        outcome
    }

    /// Names the cell when a check in it fails.
    fn named<T>(&self, act: impl FnOnce() -> T) -> T {
        let named = Named(self);
        let value = act();
        std::mem::forget(named);
        value
    }
}

struct Named<'a>(&'a Exploration);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        let struck: Vec<_> = self
            .0
            .path
            .iter()
            .map(|(strike, effect, place)| format!("{strike:?} at effect {place} ({effect})"))
            .collect();
        eprintln!("in the cell: {} / {}", self.0.cell.name(), struck.join(", then "));
    }
}
