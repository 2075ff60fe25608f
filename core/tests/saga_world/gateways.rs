//! The world of an allocation: a pool of gateways, DNS, a config file, what nginx has loaded, and handshakes.

use tidegate::Millis;
use tidegate::saga::{Config, SagaRecord, SagaStep};

use super::{Answer, Call, Fate, World};

pub const STEPS: [&str; 5] = ["allocate", "dns", "config", "reload", "handshake"];
pub const LIMIT: Millis = 1_000;
pub const LATENESS: Millis = 2_000;
const POOL: usize = 3;

/// How the steps stand to each other and to retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One after the other, each tried once.
    List,
    /// One after the other, each safe to try again by its key.
    Keyed,
    /// DNS beside config and reload.
    Graph,
}

impl Shape {
    pub const ALL: [Self; 3] = [Self::List, Self::Keyed, Self::Graph];

    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Keyed => "keyed list",
            Self::Graph => "graph",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::List => "A list",
            Self::Keyed => "A list with keys",
            Self::Graph => "A graph",
        }
    }

    pub fn meaning(self) -> &'static str {
        match self {
            Self::List => "One step after the other, each tried once.",
            Self::Keyed => {
                "One step after the other, each safe to try again by its key: one retry, also of an unknown outcome \
                 and after a crash. \"Once\" means that only the first attempt goes wrong."
            }
            Self::Graph => "DNS beside config and reload; the handshake after both. Each is tried once.",
        }
    }

    pub fn config(self) -> Config {
        let after: [&[&str]; 5] = match self {
            Self::List | Self::Keyed => [&[], &["allocate"], &["dns"], &["config"], &["reload"]],
            Self::Graph => [&[], &["allocate"], &["allocate"], &["config"], &["dns", "reload"]],
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let steps = STEPS.iter().zip(after).enumerate().map(|(index, (name, after))| {
            // The row and the gateway refuse what is older than an undo; all else lands until its lateness.
            let fenced = index == 0 || index == 4;
            SagaStep {
                name: (*name).to_owned(),
                after: names(after),
                retries: u32::from(self == Self::Keyed),
                idempotent: self == Self::Keyed,
                limit: LIMIT,
                fenced,
                lateness: Some(LATENESS),
                verify: true,
                verify_limit: 200,
                undo_retries: 1,
                undo_limit: 500,
                // What may still be routed is quarantined, not freed.
                undo_requires: if index == 0 { names(&STEPS[1..]) } else { Vec::new() },
                fallback: index == 0,
                ..SagaStep::default()
            }
        });
        Config { steps: steps.collect(), rollback_deadline: 600_000, append_limit: 1_000 }
    }
}

/// What goes wrong with the do of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DoFault {
    Clean,
    UnknownLanded,
    UnknownNotLanded,
    Late,
}

impl DoFault {
    pub const ALL: [Self; 4] = [Self::Clean, Self::UnknownLanded, Self::UnknownNotLanded, Self::Late];

    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "fails clean",
            Self::UnknownLanded => "unknown, landed",
            Self::UnknownNotLanded => "unknown, not landed",
            Self::Late => "lands late",
        }
    }
}

/// The one do that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    pub step: usize,
    pub kind: DoFault,
    /// Whether only its first attempt does.
    pub once: bool,
}

/// What goes wrong with the undo of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UndoFault {
    Fails,
    /// And so does the fallback of what requires it.
    FailsWithFallback,
    TimesOutLanded,
    TimesOutNotLanded,
}

impl UndoFault {
    pub const ALL: [Self; 4] =
        [Self::Fails, Self::TimesOutLanded, Self::TimesOutNotLanded, Self::FailsWithFallback];

    pub fn name(self) -> &'static str {
        match self {
            Self::Fails => "fails",
            Self::FailsWithFallback => "fails, and so does the fallback",
            Self::TimesOutLanded => "times out, landed",
            Self::TimesOutNotLanded => "times out, not landed",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Free,
    Allocated,
    Quarantined,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gateways {
    keyed: bool,
    fault: Option<Fault>,
    undo_fault: Option<(usize, UndoFault)>,
    rows: [Row; POOL],
    /// The gateway that the saga was given.
    gateway: Option<usize>,
    dns: Option<usize>,
    file: Option<usize>,
    loaded: Option<usize>,
    serving: Option<usize>,
    /// Dos that took effect, by step.
    took: [u32; 5],
    /// Undos that took effect.
    undone: [u32; 5],
    /// Resources that refuse dos, as their undo was there first.
    fenced: [bool; 5],
}

impl Gateways {
    pub fn new(shape: Shape, fault: Option<Fault>, undo_fault: Option<(usize, UndoFault)>) -> Self {
        Self {
            keyed: shape == Shape::Keyed,
            fault,
            undo_fault,
            rows: [Row::Free; POOL],
            gateway: None,
            dns: None,
            file: None,
            loaded: None,
            serving: None,
            took: [0; 5],
            undone: [0; 5],
            fenced: [false; 5],
        }
    }

    /// Un-routed before it is pooled, at every moment: the order is a security property.
    fn check_routes(&self) {
        for (what, route) in
            [("dns", self.dns), ("file", self.file), ("loaded", self.loaded), ("serving", self.serving)]
        {
            let pooled = route.is_some_and(|gateway| self.rows[gateway] == Row::Free);
            assert!(!pooled, "{what} still leads to a gateway in the pool: {self:?}");
        }
    }

    /// The pool adds up, and keys took effect at most once.
    pub fn check_end(&self, committed: bool, fell_back: bool, row_leaked: bool) {
        let count = |row| self.rows.iter().filter(|other| **other == row).count();
        let allocated = usize::from(committed || row_leaked);
        let quarantined = usize::from(fell_back);
        let states = (count(Row::Free), count(Row::Allocated), count(Row::Quarantined));
        assert_eq!(states, (POOL - allocated - quarantined, allocated, quarantined), "{self:?}");
        assert!(self.took.iter().all(|times| *times <= 1), "a key took effect twice: {self:?}");
        assert!(self.undone.iter().all(|times| *times <= 1), "an undo took effect twice: {self:?}");
    }

    pub fn fell_back(&self) -> bool {
        self.rows.contains(&Row::Quarantined)
    }
}

impl World for Gateways {
    fn fate(&mut self, call: Call) -> Fate {
        let done = Fate { lands: Some(0), answer: Some((0, Answer::Done)) };
        let failed = Fate { lands: None, answer: Some((0, Answer::Failed)) };
        match call {
            Call::Do { step, attempt } => match self.fault {
                Some(fault) if fault.step == step && (attempt == 1 || !fault.once) => match fault.kind {
                    DoFault::Clean => failed,
                    DoFault::UnknownLanded => Fate { lands: Some(0), answer: None },
                    DoFault::UnknownNotLanded => Fate { lands: None, answer: None },
                    DoFault::Late => Fate { lands: self.lands_after_crash(call), answer: None },
                },
                _ => done,
            },
            Call::Undo { step } => match self.undo_fault {
                Some((faulty, fault)) if faulty == step => match fault {
                    UndoFault::Fails | UndoFault::FailsWithFallback => failed,
                    UndoFault::TimesOutLanded => Fate { lands: Some(0), answer: None },
                    UndoFault::TimesOutNotLanded => Fate { lands: None, answer: None },
                },
                _ => done,
            },
            Call::FallBack { .. } => match self.undo_fault {
                Some((_, UndoFault::FailsWithFallback)) => failed,
                _ => done,
            },
        }
    }

    fn lands_after_crash(&self, call: Call) -> Option<Millis> {
        // As late as it may, for what has a lateness.
        Some(if matches!(call, Call::Do { .. }) { LIMIT + LATENESS - 1 } else { 50 })
    }

    fn land(&mut self, call: Call) {
        match call {
            Call::Do { step, .. } => {
                if self.fenced[step] || (self.keyed && self.took[step] > 0) {
                    return;
                }
                self.took[step] += 1;
                match step {
                    0 => {
                        let free = self.rows.iter().position(|row| *row == Row::Free).unwrap();
                        self.rows[free] = Row::Allocated;
                        self.gateway = Some(free);
                    }
                    1 => self.dns = self.gateway,
                    2 => self.file = self.gateway,
                    3 => self.loaded = self.file,
                    _ => self.serving = self.gateway,
                }
            }
            Call::Undo { step } | Call::FallBack { step } => {
                self.undone[step] += u32::from(self.is_present(step));
                let fallback = matches!(call, Call::FallBack { .. });
                match step {
                    0 => {
                        let left = if fallback { Row::Quarantined } else { Row::Free };
                        for row in &mut self.rows {
                            if *row == Row::Allocated {
                                *row = left;
                            }
                        }
                        self.fenced[0] = true;
                    }
                    1 => self.dns = None,
                    2 => self.file = None,
                    3 => {
                        // Removing the config and reloading: the file's own undo finds nothing then.
                        self.undone[2] += u32::from(self.file.is_some());
                        self.file = None;
                        self.loaded = None;
                    }
                    _ => {
                        self.serving = None;
                        self.fenced[4] = true;
                    }
                }
            }
        }
        self.check_routes();
    }

    fn is_present(&self, step: usize) -> bool {
        match step {
            0 => self.rows.contains(&Row::Allocated),
            1 => self.dns.is_some(),
            2 => self.file.is_some(),
            3 => self.loaded.is_some(),
            _ => self.serving.is_some(),
        }
    }

    fn probe(&mut self, step: usize) -> Option<bool> {
        Some(self.is_present(step))
    }

    fn payload(&self, kind: SagaRecord, step: Option<u32>, attempt: u32) -> Vec<u8> {
        let step = step.map_or("", |step| STEPS[super::index(step)]);
        match kind {
            SagaRecord::Done => format!("gateway {:?}", self.gateway).into_bytes(),
            SagaRecord::Failed => format!("{step} failed, attempt {attempt}").into_bytes(),
            SagaRecord::Unknown => format!("no answer from {step}, attempt {attempt}").into_bytes(),
            SagaRecord::UndoFailed => format!("the undo of {step} failed, attempt {attempt}").into_bytes(),
            _ => Vec::new(),
        }
    }
}
