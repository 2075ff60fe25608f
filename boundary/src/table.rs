//! The machines that one shim holds, by handle.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidegate::{Draw, Machine, Name, Random, Rules};

use crate::{Case, Erased, FlatAnswer, erased::Held, erased::integer};

/// Why a machine could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateError {
    /// The config cannot work: `[{"code", "field", "message"}]`, as JSON.
    Faults(String),
    /// The call itself is malformed: an unknown machine, a config of the wrong shape, a damaged snapshot.
    Malformed(String),
    /// A bug of tidegate: making it panicked.
    Bug(&'static str),
}

/// Why a call to a machine came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// What was passed is malformed: no JSON, no input, no time, or a handle that is free.
    Malformed(String),
    /// A bug of tidegate: the machine panicked, now or in an earlier call. It is not used again.
    Bug(&'static str),
}

impl fmt::Display for CallError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(message) => formatter.write_str(message),
            Self::Bug(message) => formatter.write_str(message),
        }
    }
}

impl From<String> for CallError {
    fn from(message: String) -> Self {
        Self::Malformed(message)
    }
}

/// The machines of one thread of a host, by handle.
#[derive(Default)]
pub struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    out: Vec<f64>,
}

#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    Machine(Box<dyn Erased>),
    /// A panic came out of it: a bug of tidegate. It is not used again.
    Broken,
}

const BROKEN: &str = "this machine met a bug of tidegate in an earlier call and refuses further use";
const FREED: &str = "there is no machine with this handle";
const PANICKED: &str = "a bug of tidegate: the machine panicked; please report it with a trace";

/// Declares the machines that shims can name.
macro_rules! machines {
    ($($Machine:ty),* $(,)?) => {
        /// The names of all machines.
        pub(crate) const NAMES: &[&str] = &[$(<$Machine as Rules>::NAME),*];

        fn make(name: &str, config: Value, random: Random, now: u64, case: Case) -> Result<Box<dyn Erased>, CreateError> {
            $(if name == <$Machine as Rules>::NAME {
                return start::<$Machine>(config, random, now, case);
            })*
            Err(unknown(name))
        }

        fn revive(name: &str, snapshot: &[u8], now: u64, elapsed: u64) -> Result<Box<dyn Erased>, CreateError> {
            $(if name == <$Machine as Rules>::NAME {
                return <$Machine>::restore(snapshot, now, elapsed)
                    .map(|machine| Box::new(Held::new(machine)) as Box<dyn Erased>)
                    .map_err(|fault| CreateError::Malformed(fault.to_string()));
            })*
            Err(unknown(name))
        }

        /// Calls `visit` with each machine's type.
        pub(crate) fn each(visitor: &mut impl crate::schema::Visitor) {
            $(visitor.visit::<$Machine>();)*
        }
    };
}

machines! {
    tidegate::backoff::Backoff,
    tidegate::close::ClosePolicy,
    tidegate::directory::Directory,
    tidegate::drain::Drain,
    tidegate::handoff::Handoff,
    tidegate::lease::Lease,
    tidegate::lease_holder::LeaseHolder,
    tidegate::lifecycle::Lifecycle,
    tidegate::peer::Peer,
    tidegate::saga::Saga,
    tidegate::stack::Stack,
    tidegate::successor::Successor,
    tidegate::tunnel::Tunnel,
}

fn unknown(name: &str) -> CreateError {
    CreateError::Malformed(format!("there is no machine `{name}`; there are {}", NAMES.join(", ")))
}

/// A sentence with the field names in it (in backticks) in the case of the language.
fn outward_sentence(sentence: &str, case: Case) -> String {
    let outward = |(index, part): (usize, &str)| {
        if index % 2 == 1 { case.outward_path(part) } else { part.to_owned() }
    };
    let parts: Vec<_> = sentence.split('`').enumerate().map(outward).collect();
    parts.join("`")
}

fn start<M>(config: Value, random: Random, now: u64, case: Case) -> Result<Box<dyn Erased>, CreateError>
where
    M: Machine + Send + 'static,
    M::Config: DeserializeOwned,
    M::Why: Send,
{
    let config = serde_json::from_value::<M::Config>(case.inward_value(config)).map_err(|error| {
        let what = outward_sentence(&error.to_string(), case);
        CreateError::Malformed(format!("the config of `{}`: {what}", M::NAME))
    })?;
    match M::drawing(config, random, now) {
        Ok(machine) => Ok(Box::new(Held::new(machine))),
        Err(faults) => {
            let list: Vec<_> = faults
                .list()
                .iter()
                .map(|fault| {
                    json!({
                        "code": fault.code.as_str(),
                        "field": case.outward_path(&fault.field),
                        "message": outward_sentence(&fault.message, case),
                    })
                })
                .collect();
            Err(CreateError::Faults(Value::from(list).to_string()))
        }
    }
}

/// Makes a machine; a panic becomes an error.
fn guarded(
    make: impl FnOnce() -> Result<Box<dyn Erased>, CreateError>,
) -> Result<Box<dyn Erased>, CreateError> {
    catch_unwind(AssertUnwindSafe(make)).unwrap_or(Err(CreateError::Bug(PANICKED)))
}

impl Table {
    /// One without machines.
    #[must_use]
    pub const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), out: Vec::new() }
    }

    /// Makes a machine; `config` is a JSON object (missing fields take their defaults).
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn create(
        &mut self,
        name: &str,
        config: &str,
        seed: f64,
        now: f64,
        case: Case,
    ) -> Result<u32, CreateError> {
        let Some(seed) = integer(seed).filter(|seed| *seed != tidegate::NONE) else {
            return Err(CreateError::Malformed(format!("{seed} is no seed: an integer from 0 to 2^53 - 1")));
        };
        self.create_drawing(name, config, Random::seeded(seed), now, case)
    }

    /// Makes a machine whose draws are scripted: `draws` is a comma-separated list of `min`, `mid` and `max`.
    /// Vectors use it, so that a person can check their delays.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn create_scripted(
        &mut self,
        name: &str,
        config: &str,
        draws: &str,
        now: f64,
        case: Case,
    ) -> Result<u32, CreateError> {
        let draw = |word| match word {
            "min" => Ok(Draw::Min),
            "mid" => Ok(Draw::Mid),
            "max" => Ok(Draw::Max),
            _ => Err(CreateError::Malformed(format!("`{word}` is no draw; there are min, mid, max"))),
        };
        let draws: Vec<_> =
            draws.split(',').filter(|word| !word.is_empty()).map(draw).collect::<Result<_, _>>()?;
        self.create_drawing(name, config, Random::scripted(&draws), now, case)
    }

    fn create_drawing(
        &mut self,
        name: &str,
        config: &str,
        random: Random,
        now: f64,
        case: Case,
    ) -> Result<u32, CreateError> {
        let config = serde_json::from_str(config)
            .map_err(|error| CreateError::Malformed(format!("the config is no JSON: {error}")))?;
        let now = time(now).map_err(CreateError::Malformed)?;
        guarded(|| make(name, config, random, now, case)).map(|machine| self.hold(machine))
    }

    /// Makes a machine from a snapshot.
    ///
    /// # Errors
    /// [`CreateError::Malformed`] when the snapshot is refused; [`CreateError::Bug`].
    pub fn restore(
        &mut self,
        name: &str,
        snapshot: &[u8],
        now: f64,
        elapsed: f64,
    ) -> Result<u32, CreateError> {
        let now = time(now).map_err(CreateError::Malformed)?;
        let elapsed = time(elapsed).map_err(CreateError::Malformed)?;
        guarded(|| revive(name, snapshot, now, elapsed)).map(|machine| self.hold(machine))
    }

    fn hold(&mut self, machine: Box<dyn Erased>) -> u32 {
        let slot = Slot::Machine(machine);
        if let Some(handle) = self.free.pop()
            && let Some(place) = self.slots.get_mut(handle as usize)
        {
            *place = slot;
            return handle;
        }
        self.slots.push(slot);
        u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
    }

    /// Frees a machine; a handle that is free already is left alone.
    pub fn free(&mut self, handle: u32) {
        if let Some(slot) = self.slots.get_mut(handle as usize)
            && !matches!(slot, Slot::Empty)
        {
            *slot = Slot::Empty;
            self.free.push(handle);
        }
    }

    /// How many machines are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.slots.iter().filter(|slot| !matches!(slot, Slot::Empty)).count()
    }

    /// Handles an input given as JSON; answers `{"effects", "deadline"}` or `{"rejection"}` as JSON.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn handle(&mut self, handle: u32, now: f64, input: &str, case: Case) -> Result<String, CallError> {
        let input = serde_json::from_str(input).map_err(|error| format!("the input is no JSON: {error}"))?;
        let now = time(now)?;
        let step = self.guarded(handle, |machine, _| machine.handle_object(now, &input, case))??;
        Ok(step.to_string())
    }

    /// Tells the time; answers as [`Table::handle`].
    ///
    /// # Errors
    /// [`CallError`].
    pub fn tick(&mut self, handle: u32, now: f64, case: Case) -> Result<String, CallError> {
        let now = time(now)?;
        self.guarded(handle, |machine, _| machine.tick_object(now, case)).map(|step| step.to_string())
    }

    /// Handles an input given as its tag and fields (see [`crate::schema`]). What [`FlatAnswer::Written`] means is
    /// in [`Table::written`] until the next call.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn handle_flat(
        &mut self,
        handle: u32,
        now: f64,
        tag: u32,
        fields: &[f64],
    ) -> Result<FlatAnswer, CallError> {
        let now = time(now)?;
        let Ok(tag) = u16::try_from(tag) else { return Ok(FlatAnswer::Malformed) };
        self.guarded(handle, |machine, out| machine.handle_flat(now, tag, fields, out))
    }

    /// Tells the time on the flat path.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn tick_flat(&mut self, handle: u32, now: f64) -> Result<FlatAnswer, CallError> {
        let now = time(now)?;
        self.guarded(handle, |machine, out| machine.tick_flat(now, out))
    }

    /// The step of the last flat call: the deadline's time (or -1), its reason's number, then each effect's tag
    /// and fields.
    #[must_use]
    pub fn written(&self) -> &[f64] {
        &self.out
    }

    /// When the machine wants to be woken, as JSON: `{"at", "why"}` or `null`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn deadline(&mut self, handle: u32) -> Result<String, CallError> {
        self.guarded(handle, |machine, _| machine.deadline_object()).map(|deadline| deadline.to_string())
    }

    /// The name of the machine's state.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn state(&mut self, handle: u32) -> Result<&'static str, CallError> {
        self.guarded(handle, |machine, _| machine.state())
    }

    /// Why the machine is in its state, as JSON.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn explain(&mut self, handle: u32, case: Case) -> Result<String, CallError> {
        self.guarded(handle, |machine, _| machine.explain(case)).map(|explanation| explanation.to_string())
    }

    /// The machine as bytes.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn snapshot(&mut self, handle: u32, now: f64) -> Result<Vec<u8>, CallError> {
        let now = time(now)?;
        Ok(self.guarded(handle, |machine, _| machine.snapshot(now))??)
    }

    /// Runs `call` on a machine; a panic becomes an error and the machine is not used again.
    fn guarded<R>(
        &mut self,
        handle: u32,
        call: impl FnOnce(&mut dyn Erased, &mut Vec<f64>) -> R,
    ) -> Result<R, CallError> {
        let Some(slot) = self.slots.get_mut(handle as usize) else {
            return Err(CallError::Malformed(FREED.into()));
        };
        let machine = match slot {
            Slot::Machine(machine) => machine,
            Slot::Broken => return Err(CallError::Bug(BROKEN)),
            Slot::Empty => return Err(CallError::Malformed(FREED.into())),
        };
        self.out.clear();
        let out = &mut self.out;
        if let Ok(answer) = catch_unwind(AssertUnwindSafe(|| call(machine.as_mut(), out))) {
            return Ok(answer);
        }
        *slot = Slot::Broken;
        Err(CallError::Bug(PANICKED))
    }
}

/// A time or a duration.
fn time(number: f64) -> Result<u64, String> {
    match integer(number) {
        // Beyond 2^53 it is the core that refuses, so that every language sees the same rejection.
        None if number > 9_007_199_254_740_991.0 => Ok(u64::MAX),
        None | Some(tidegate::NONE) => {
            Err(format!("{number} is no time: an integer of milliseconds, 0 or more"))
        }
        Some(integer) => Ok(integer),
    }
}
