//! The two explorers by turns: each in a process of its own, so that neither works in the heap that the other left, and
//! never both at once. The pace of a machine changes from moment to moment, and some of them for minutes; so each works for
//! a moment, is stopped, and the other goes on. What the machine does besides meets both alike.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, set_parent_process_death_signal, waitid,
};

/// For how long one works before it is stopped and the other goes on.
const TURN: Duration = Duration::from_millis(100);
/// For how many seconds a model is explored at least, again and again if once takes less.
const ENOUGH: f64 = 2.0;

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

/// A clock in a process that explores, as it was read: it does not run while the process is stopped.
pub struct Clock {
    time: Instant,
    stopped: Duration,
}

impl Clock {
    pub fn read() -> Self {
        loop {
            let stopped_before = stopped();
            let time = Instant::now();
            let stopped = stopped();
            // It was not stopped in between, so they belong together.
            if stopped == stopped_before {
                return Self { time, stopped };
            }
        }
    }

    /// How many seconds ago it was read.
    pub fn seconds(&self) -> f64 {
        let end = Self::read();
        ((end.time - self.time) - (end.stopped - self.stopped)).as_secs_f64()
    }
}

/// For how long this process has been stopped: the one that compares says so in a file that is its standard input, while it
/// is stopped. (A line sent to it could be read too late.)
fn stopped() -> Duration {
    let mut nanos = [0; 8];
    let file = std::io::stdin().as_fd().try_clone_to_owned().map(File::from);
    match file.and_then(|file| file.read_exact_at(&mut nanos, 0)) {
        Ok(()) => Duration::from_nanos(u64::from_ne_bytes(nanos)),
        Err(error) => panic!("this is for the program itself, to compare explorers: {error}"),
    }
}

/// Is told of an exploration that has ended.
pub type Done<'a> = &'a mut dyn FnMut(Run);

/// The part of the process that explores: stops, and when it is let go explores from the start, again and again, and says
/// what came of it, until it is killed.
pub fn work(explore: impl Fn(Done<'_>)) {
    // One that is stopped would outlive a parent that is interrupted.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    warm();
    let _ = kill_process(getpid(), Signal::STOP);
    loop {
        explore(&mut |run| println!("{} {}", run.states, run.seconds));
    }
}

/// The other part: one that explores, seen from the program that compares.
struct Worker {
    fault: String,
    process: Child,
    lines: Receiver<String>,
    /// Where it reads for how long it has been stopped.
    file: File,
    since: Instant,
    stopped: Duration,
    /// In how many runs it explored for how long.
    runs: f64,
    seconds: f64,
}

impl Worker {
    /// Starts one, and waits until it has only to be let go.
    fn new(side: Side, name: &str) -> Result<Self, String> {
        let fault = format!("{name}, {}", side.name());
        let said = |error: &dyn std::fmt::Display| format!("{fault}: {error}");
        let file = File::from(memfd_create("stopped", MemfdFlags::CLOEXEC).map_err(|error| said(&error))?);
        let input = file.try_clone().map_err(|error| said(&error))?;
        let program = std::env::current_exe().map_err(|error| said(&error))?;
        let mut process = Command::new(program)
            .args(["run", side.name(), name])
            .stdin(input)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| said(&error))?;
        let output = process.stdout.take();
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
        let mut worker = Self {
            fault,
            process,
            lines: heard,
            file,
            since: Instant::now(),
            stopped: Duration::ZERO,
            runs: 0.0,
            seconds: 0.0,
        };
        worker.wait_until_stopped()?;
        Ok(worker)
    }

    fn fault(&self, error: impl std::fmt::Display) -> String {
        format!("{}: {error}", self.fault)
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process(Pid::from_child(&self.process), signal).map_err(|error| self.fault(error))
    }

    /// Waits until every thread of it is stopped; from then on it is.
    fn wait_until_stopped(&mut self) -> Result<(), String> {
        let what = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(Pid::from_child(&self.process)), what);
        self.since = Instant::now();
        match status.map_err(|error| self.fault(error))? {
            Some(status) if status.stopped() => Ok(()),
            _ => Err(self.fault("it ended without a result")),
        }
    }

    /// Has it work for a turn, or, when the other has ended, to the end of what it has to do.
    fn turn(&mut self, to_its_end: bool) -> Result<Option<Run>, String> {
        self.stopped += self.since.elapsed();
        let nanos = self.stopped.as_nanos() as u64;
        self.file.write_all_at(&nanos.to_ne_bytes(), 0).map_err(|error| self.fault(error))?;
        self.signal(Signal::CONT)?;
        let start = Instant::now();
        loop {
            let line = if to_its_end {
                self.lines.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.lines.recv_timeout(TURN.saturating_sub(start.elapsed()))
            };
            match line {
                Ok(line) => {
                    let run = line.split_once(' ');
                    let run = run.and_then(|(states, seconds)| {
                        Some((states.parse::<usize>().ok()?, seconds.parse::<f64>().ok()?))
                    });
                    let (states, seconds) = run.ok_or_else(|| self.fault(&line))?;
                    self.runs += 1.0;
                    self.seconds += seconds;
                    if self.seconds >= ENOUGH {
                        // It gives its memory back before the other goes on.
                        self.process.kill().map_err(|error| self.fault(error))?;
                        self.process.wait().map_err(|error| self.fault(error))?;
                        return Ok(Some(Run { states, seconds: self.seconds / self.runs }));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.signal(Signal::STOP)?;
                    self.wait_until_stopped()?;
                    return Ok(None);
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.fault("it ended without a result")),
            }
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
