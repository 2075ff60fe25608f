//! The two explorers by turns: each in a process of its own, so that neither works in the heap that the other left, and
//! never both at once. The pace of a machine changes, some of them for minutes; so each works for a second, is stopped,
//! and the other goes on. What the machine does besides meets both alike.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

/// For how long one works before it is stopped and the other goes on.
const TURN: Duration = Duration::from_secs(1);
/// For how many seconds it explores in a turn at least, a small model again and again: then it yields by itself, as it would
/// be stopped in between two runs otherwise, which are not on the clock there.
const PART: f64 = 0.4;
/// For how many seconds a model is explored at least, in one turn or several.
const ENOUGH: f64 = 1.0;
/// What a process says when it has only to be let go.
const READY: &str = "ready";

/// Whose explorer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Ours,
    Theirs,
}

impl Side {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Theirs => "theirs",
        }
    }
}

/// What became of an exploration.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub states: usize,
    pub seconds: f64,
}

/// Touches memory and gives it back, before anything is measured. On a virtual machine the first touch of a page since
/// long is a way to its host, and would be paid by whoever comes first.
fn warm() {
    let mut pages = vec![0_u8; 1 << 29];
    pages.iter_mut().step_by(1 << 12).for_each(|page| *page = 1);
    drop(std::hint::black_box(pages));
}

/// Is told of an exploration that has ended.
pub type Done<'a> = &'a mut dyn FnMut(Run);

/// The part of the process that explores, until it is killed: waits to be let go, explores from the start, again and again if
/// that takes little, says what came of it, and waits again.
pub fn work(explore: impl Fn(Done<'_>)) {
    // One that is stopped would outlive a parent that is interrupted.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    warm();
    println!("{READY}");
    wait();
    let (mut runs, mut seconds) = (0, 0.0);
    loop {
        explore(&mut |run| {
            runs += 1;
            seconds += run.seconds;
            if seconds >= PART {
                println!("{} {seconds} {runs}", run.states);
                // Before what was kept is let go of piece by piece, which may take seconds that nobody needs.
                wait();
                (runs, seconds) = (0, 0.0);
            }
        });
    }
}

/// Waits to be let go; ends when nobody will.
fn wait() {
    let mut go = String::new();
    if std::io::stdin().read_line(&mut go).is_err() || go.is_empty() {
        std::process::exit(0);
    }
}

/// The other part: one that explores, seen from the program that compares.
struct Worker {
    fault: String,
    process: Child,
    go: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Since when it has been stopped, and for how long before that since it was let go.
    since: Option<Instant>,
    stopped: Duration,
    /// In how many runs it explored for how long.
    runs: f64,
    seconds: f64,
}

impl Worker {
    /// Starts one, and waits until it has only to be let go.
    fn new(side: Side, name: &str) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut process = Command::new(program)
            .args(["run", side.name(), name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let (go, output) = (process.stdin.take(), process.stdout.take());
        let (lines, heard) = channel();
        std::thread::spawn(move || {
            for line in
                output.into_iter().flat_map(|output| BufReader::new(output).lines()).map_while(Result::ok)
            {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        let fault = format!("{name}, {}: it ended without a result", side.name());
        let worker = Self {
            fault,
            process,
            go,
            lines: heard,
            since: None,
            stopped: Duration::ZERO,
            runs: 0.0,
            seconds: 0.0,
        };
        match worker.lines.recv() {
            Ok(line) if line == READY => Ok(worker),
            _ => Err(worker.fault.clone()),
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process(Pid::from_child(&self.process), signal)
            .map_err(|error| format!("{}: {error}", self.fault))
    }

    /// Has it work for a turn, or, when the other has ended, to the end of a run.
    fn turn(&mut self, to_its_end: bool) -> Result<Option<Run>, String> {
        if let Some(since) = self.since.take() {
            self.signal(Signal::CONT)?;
            self.stopped += since.elapsed();
        } else if let Some(go) = &mut self.go {
            writeln!(go).map_err(|error| format!("{}: {error}", self.fault))?;
        }
        let line = if to_its_end {
            self.lines.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            self.lines.recv_timeout(TURN)
        };
        match line {
            Ok(line) => {
                let mut words = line.split_whitespace();
                let mut number = || words.next()?.parse::<f64>().ok();
                let (states, seconds, runs) =
                    number().zip(number()).zip(number()).map(|((a, b), c)| (a, b, c)).ok_or(&self.fault)?;
                self.runs += runs;
                self.seconds += seconds - std::mem::take(&mut self.stopped).as_secs_f64();
                if self.seconds < ENOUGH {
                    return Ok(None);
                }
                // It gives its memory back before the other goes on.
                self.process.kill().map_err(|error| error.to_string())?;
                self.process.wait().map_err(|error| error.to_string())?;
                Ok(Some(Run { states: states as usize, seconds: self.seconds / self.runs }))
            }
            Err(RecvTimeoutError::Timeout) => {
                self.signal(Signal::STOP)?;
                self.since = Some(Instant::now());
                Ok(None)
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.fault.clone()),
        }
    }
}

/// Ends with the program that compares, whatever happens.
impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Has both explore the model of this name, by turns, `first` first. The result is in that order, too.
pub fn both(name: &str, order: [Side; 2]) -> Result<[Run; 2], String> {
    let [first, second] = order;
    let mut workers = [Worker::new(first, name)?, Worker::new(second, name)?];
    let mut done: [Option<Run>; 2] = [None, None];
    loop {
        for who in [0, 1] {
            if done[who].is_none() {
                done[who] = workers[who].turn(done[1 - who].is_some())?;
            }
        }
        if let [Some(first), Some(second)] = done {
            return Ok([first, second]);
        }
    }
}

/// How many times the cores hand something to each other to say how long that takes.
const HANDOVERS: u32 = 20_000;

/// How long it takes one core to hand something to the other and to get it back, in nanoseconds. A virtual machine may have
/// its cores near each other or far apart, by turns, and that changes every pace.
pub fn handover() -> f64 {
    let ball = AtomicU32::new(0);
    let catch = |parity| {
        for _ in 0..HANDOVERS {
            while ball.load(Ordering::Acquire) % 2 != parity {
                std::hint::spin_loop();
            }
            ball.fetch_add(1, Ordering::Release);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| catch(1));
        let start = Instant::now();
        catch(0);
        start.elapsed().as_secs_f64() * 1e9 / f64::from(HANDOVERS)
    })
}
