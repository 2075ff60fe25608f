//! Threads that work off numbered pieces together, phase after phase.
//!
//! An exploration has two short phases for every level, and a level may be narrow: to start threads for each would
//! cost more than they save. So they are started once, and between phases they look out for the next one a little
//! before they sleep.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How often a thread looks for work, or for the end of it, before it sleeps: some ten microseconds.
const LOOKS: u32 = 2_000;

/// The threads. The one that leads counts as one of them.
pub struct Crew<'w, P> {
    job: Mutex<Job<P>>,
    /// The number of the job, for who looks out for the next one.
    turn: AtomicU32,
    /// How many pieces of it are not done.
    left: AtomicU32,
    begun: Condvar,
    ended: Condvar,
    work: &'w (dyn Fn(P, usize) + Sync),
}

struct Job<P> {
    phase: Option<P>,
    /// The pieces that nobody has taken: a range for each thread, and what one thread does is near together.
    ranges: Vec<Range<usize>>,
    over: bool,
    broken: bool,
}

/// Leads a crew of so many threads, each of which does `work` on the pieces that it takes.
///
/// # Panics
/// When `work` panics, on whichever thread.
pub fn crew<P: Copy + Send, T>(
    threads: usize,
    work: impl Fn(P, usize) + Sync,
    lead: impl FnOnce(&Crew<'_, P>) -> T,
) -> T {
    let job = Job { phase: None, ranges: vec![0..0; threads.max(1)], over: false, broken: false };
    let crew = Crew {
        job: Mutex::new(job),
        turn: AtomicU32::new(0),
        left: AtomicU32::new(0),
        begun: Condvar::new(),
        ended: Condvar::new(),
        work: &work,
    };
    thread::scope(|scope| {
        for thread in 1..threads {
            let crew = &crew;
            scope.spawn(move || crew.serve(thread));
        }
        let _over = Over(&crew);
        lead(&crew)
    })
}

impl<P: Copy> Crew<'_, P> {
    /// Has every piece of a phase done; returns when all are. A single one is done on this thread.
    pub fn run(&self, phase: P, pieces: usize) {
        if pieces <= 1 {
            (0..pieces).for_each(|piece| (self.work)(phase, piece));
            return;
        }
        let mut job = self.job();
        job.phase = Some(phase);
        let threads = job.ranges.len();
        for (thread, range) in job.ranges.iter_mut().enumerate() {
            *range = thread * pieces / threads..(thread + 1) * pieces / threads;
        }
        self.left.store(pieces as u32, Ordering::Relaxed);
        self.turn.fetch_add(1, Ordering::Release);
        drop(job);
        self.begun.notify_all();
        self.take_part(0);
        if !look(|| self.left.load(Ordering::Acquire) == 0) {
            let mut job = self.job();
            while self.left.load(Ordering::Acquire) > 0 {
                job = self.ended.wait(job).unwrap_or_else(PoisonError::into_inner);
            }
        }
        let broken = self.job().broken;
        assert!(!broken, "a thread of the crew panicked");
    }

    fn job(&self) -> MutexGuard<'_, Job<P>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread of the crew, until all is over.
    fn serve(&self, thread: usize) {
        let mut seen = 0;
        loop {
            look(|| self.turn.load(Ordering::Acquire) != seen);
            let mut job = self.job();
            while self.turn.load(Ordering::Acquire) == seen && !job.over {
                job = self.begun.wait(job).unwrap_or_else(PoisonError::into_inner);
            }
            if job.over {
                return;
            }
            seen = self.turn.load(Ordering::Acquire);
            drop(job);
            self.take_part(thread);
        }
    }

    /// Takes one piece after the other until none is left.
    fn take_part(&self, thread: usize) {
        loop {
            let mut job = self.job();
            let (Some(phase), Some(piece)) = (job.phase, job.take(thread)) else { return };
            drop(job);
            let _done = Done(self);
            (self.work)(phase, piece);
        }
    }
}

impl<P> Job<P> {
    /// The next piece of this thread's own, or else the last of whoever has the most left.
    fn take(&mut self, thread: usize) -> Option<usize> {
        let own = self.ranges.get_mut(thread).and_then(Iterator::next);
        own.or_else(|| self.ranges.iter_mut().max_by_key(|range| range.len())?.next_back())
    }
}

/// Looks for something a little while.
fn look(seen: impl Fn() -> bool) -> bool {
    for _ in 0..LOOKS {
        if seen() {
            return true;
        }
        std::hint::spin_loop();
    }
    false
}

/// When dropped a piece is done, or has failed.
struct Done<'c, 'w, P: Copy>(&'c Crew<'w, P>);

impl<P: Copy> Drop for Done<'_, '_, P> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.job().broken = true;
        }
        if self.0.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Who waits looks while it holds this.
            drop(self.0.job());
            self.0.ended.notify_all();
        }
    }
}

/// When dropped the crew goes home, also when the one who leads panics.
struct Over<'c, 'w, P: Copy>(&'c Crew<'w, P>);

impl<P: Copy> Drop for Over<'_, '_, P> {
    fn drop(&mut self) {
        self.0.job().over = true;
        self.0.turn.fetch_add(1, Ordering::Release);
        self.0.begun.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize};

    use super::*;

    #[test]
    fn every_piece_of_every_phase_is_done_once_and_before_the_next_phase() {
        let (sum, now) = (AtomicU64::new(0), AtomicUsize::new(0));
        let work = |phase: usize, piece: usize| {
            assert_eq!(phase, now.load(Ordering::SeqCst));
            sum.fetch_add(1 << piece, Ordering::SeqCst);
        };
        crew(3, work, |crew| {
            for phase in 0..2_000 {
                now.store(phase, Ordering::SeqCst);
                let pieces = phase % 7;
                crew.run(phase, pieces);
                assert_eq!(sum.swap(0, Ordering::SeqCst), (1 << pieces) - 1);
            }
        });
    }

    #[test]
    fn a_crew_that_slept_wakes_up() {
        let done = AtomicUsize::new(0);
        let work = |(), _| {
            done.fetch_add(1, Ordering::SeqCst);
        };
        crew(2, work, |crew| {
            for _ in 0..3 {
                thread::sleep(std::time::Duration::from_millis(20));
                crew.run((), 4);
            }
        });
        assert_eq!(done.into_inner(), 12);
    }

    #[test]
    fn whoever_panics_nobody_waits_for_ever() {
        for pieces in [1, 2, 8] {
            let work = |(), piece: usize| assert_ne!(piece, pieces - 1, "meant to fail");
            let run = || crew(2, work, |crew| crew.run((), pieces));
            assert!(std::panic::catch_unwind(run).is_err());
        }
    }
}
