//! Private to the Python package `tidegate`: the machines of the core, called from Python by handle.
//!
//! Every function is free-standing and takes the number of a machine. All machines of a process live in one
//! table behind a lock, as Python lets any thread call an object: under the GIL nobody ever waits for it, and on
//! free-threaded builds calls take turns. No Python code runs while it is held.
//!
//! Inputs that happen often take the *flat path* ([`_core::input`], [`_core::tick_flat`]). It answers
//!
//! * `None`: no effects, and the deadline is as it was;
//! * a number: 0 for a malformed input, else the rejection with that number, counted from -1 downwards (a value
//!   and not an exception, which would cost ten times as much);
//! * a tuple of numbers: the deadline's time (or -1), its reason, then each effect's tag and fields.
//!
//! The *object path* ([`_core::handle`], [`_core::tick`]) takes and answers JSON. Both speak integers: an `int`
//! goes in faster than a `float`, and a small one comes out of a cache.
//!
//! The exceptions are those of `tidegate.errors`, so that they have fields. A panic does not come out as
//! PyO3's `PanicException`, which passes by `except Exception`: the table turns it into a `BugError`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use tidegate_boundary::{CallError, Case, CreateError, FlatAnswer, Table};

static TABLE: Mutex<Table> = Mutex::new(Table::new());

/// The table. A poisoned lock is used on: the table itself marks the machine that panicked.
fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An exception of `tidegate.errors`, or what kept it from being made.
fn error(py: Python<'_>, name: &str, message: &str) -> PyErr {
    raise(py, name, (message,))
}

fn raise<'py>(py: Python<'py>, name: &str, arguments: impl pyo3::call::PyCallArgs<'py>) -> PyErr {
    let made = py
        .import("tidegate.errors")
        .and_then(|errors| errors.getattr(name))
        .and_then(|class| class.call1(arguments));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

fn called(py: Python<'_>, problem: &CallError) -> PyErr {
    let class = match problem {
        CallError::Malformed(_) => "MalformedError",
        CallError::Bug(_) => "BugError",
    };
    error(py, class, &problem.to_string())
}

/// A handle, or the error that says why there is none.
fn created(py: Python<'_>, machine: &str, result: Result<u32, CreateError>) -> PyResult<u32> {
    result.map_err(|problem| match problem {
        CreateError::Faults(faults) => raise(py, "_config_error", (machine, faults)),
        CreateError::Malformed(message) => error(py, "MalformedError", &message),
        CreateError::Bug(message) => error(py, "BugError", message),
    })
}

/// What the flat path answers.
#[derive(IntoPyObject)]
enum Flat<'py> {
    Number(i64),
    Step(Bound<'py, PyTuple>),
}

fn flat<'py>(
    py: Python<'py>,
    call: impl FnOnce(&mut Table) -> Result<FlatAnswer, CallError>,
) -> PyResult<Option<Flat<'py>>> {
    let (answer, words) = {
        let mut table = table();
        let answer = call(&mut table);
        // Copied out of the lock: making a tuple may collect garbage, and a finalizer may free a machine.
        let words = if answer == Ok(FlatAnswer::Written) { table.written().to_vec() } else { Vec::new() };
        (answer, words)
    };
    match answer {
        Ok(FlatAnswer::Nothing) => Ok(None),
        Ok(FlatAnswer::Written) => Ok(Some(Flat::Step(PyTuple::new(py, words.into_iter().map(whole))?))),
        Ok(FlatAnswer::Rejected(code)) => Ok(Some(Flat::Number(-1 - i64::from(code)))),
        Ok(FlatAnswer::Malformed) => Ok(Some(Flat::Number(0))),
        Err(problem) => Err(called(py, &problem)),
    }
}

/// A word of a step as an integer.
#[allow(clippy::cast_possible_truncation, reason = "words are integers of -1 to 2^53 - 1")]
fn whole(word: f64) -> i64 {
    word as i64
}

/// A number of the caller as a word. What this rounds is above 2^53, which the table refuses in any case.
#[allow(clippy::cast_precision_loss, reason = "see above")]
fn word(number: i64) -> f64 {
    number as f64
}

/// A field that was not passed.
const ABSENT: i64 = i64::MIN;

/// The machines of the core, by handle. Private to the package.
#[pymodule(gil_used = false)]
mod _core {
    use pyo3::types::PyBytes;

    use super::*;

    /// Makes a machine; raises `ConfigError` with every fault of a config that cannot work.
    #[pyfunction]
    #[pyo3(signature = (machine, config, seed, now, /))]
    pub(crate) fn create(py: Python<'_>, machine: &str, config: &str, seed: i64, now: i64) -> PyResult<u32> {
        let made = table().create(machine, config, word(seed), word(now), Case::Snake);
        created(py, machine, made)
    }

    /// The same with scripted draws (`min,mid,max`): for tests.
    #[pyfunction]
    #[pyo3(signature = (machine, config, draws, now, /))]
    pub(crate) fn create_scripted(
        py: Python<'_>,
        machine: &str,
        config: &str,
        draws: &str,
        now: i64,
    ) -> PyResult<u32> {
        let made = table().create_scripted(machine, config, draws, word(now), Case::Snake);
        created(py, machine, made)
    }

    /// Makes a machine from a snapshot that was taken `elapsed` milliseconds ago.
    #[pyfunction]
    #[pyo3(signature = (machine, snapshot, now, elapsed, /))]
    pub(crate) fn restore(
        py: Python<'_>,
        machine: &str,
        snapshot: &[u8],
        now: i64,
        elapsed: i64,
    ) -> PyResult<u32> {
        let made = table().restore(machine, snapshot, word(now), word(elapsed));
        created(py, machine, made)
    }

    /// Frees a machine; a handle that is free already is left alone.
    #[pyfunction]
    #[pyo3(signature = (handle, /))]
    pub(crate) fn free(handle: u32) {
        table().free(handle);
    }

    /// How many machines this process holds.
    #[pyfunction]
    pub(crate) fn held() -> usize {
        table().held()
    }

    /// An input on the object path.
    #[pyfunction]
    #[pyo3(signature = (handle, now, input, /))]
    pub(crate) fn handle(py: Python<'_>, handle: u32, now: i64, input: &str) -> PyResult<String> {
        let answer = table().handle(handle, word(now), input, Case::Snake);
        answer.map_err(|problem| called(py, &problem))
    }

    /// The time on the object path.
    #[pyfunction]
    #[pyo3(signature = (handle, now, /))]
    pub(crate) fn tick(py: Python<'_>, handle: u32, now: i64) -> PyResult<String> {
        let answer = table().tick(handle, word(now), Case::Snake);
        answer.map_err(|problem| called(py, &problem))
    }

    /// An input on the flat path: its tag and up to eight fields, as its place in the schema says.
    ///
    /// One function with eight optional arguments: `*args` would cost half as much again as the call.
    #[pyfunction]
    #[pyo3(signature = (
        handle, now, tag, a=ABSENT, b=ABSENT, c=ABSENT, d=ABSENT, e=ABSENT, f=ABSENT, g=ABSENT, h=ABSENT, /
    ))]
    #[allow(clippy::too_many_arguments, reason = "see above")]
    pub(crate) fn input<'py>(
        py: Python<'py>,
        handle: u32,
        now: i64,
        tag: u32,
        a: i64,
        b: i64,
        c: i64,
        d: i64,
        e: i64,
        f: i64,
        g: i64,
        h: i64,
    ) -> PyResult<Option<Flat<'py>>> {
        let passed = [a, b, c, d, e, f, g, h];
        let count = passed.iter().position(|number| *number == ABSENT).unwrap_or(passed.len());
        let fields = passed.map(word);
        flat(py, |table| table.handle_flat(handle, word(now), tag, fields.get(..count).unwrap_or(&[])))
    }

    /// The time on the flat path.
    #[pyfunction]
    #[pyo3(signature = (handle, now, /))]
    pub(crate) fn tick_flat(py: Python<'_>, handle: u32, now: i64) -> PyResult<Option<Flat<'_>>> {
        flat(py, |table| table.tick_flat(handle, word(now)))
    }

    /// When the machine wants to be woken, as JSON.
    #[pyfunction]
    #[pyo3(signature = (handle, /))]
    pub(crate) fn deadline(py: Python<'_>, handle: u32) -> PyResult<String> {
        let answer = table().deadline(handle);
        answer.map_err(|problem| called(py, &problem))
    }

    /// The name of its state.
    #[pyfunction]
    #[pyo3(signature = (handle, /))]
    pub(crate) fn state(py: Python<'_>, handle: u32) -> PyResult<&'static str> {
        let answer = table().state(handle);
        answer.map_err(|problem| called(py, &problem))
    }

    /// Why it is in its state, as JSON.
    #[pyfunction]
    #[pyo3(signature = (handle, /))]
    pub(crate) fn explain(py: Python<'_>, handle: u32) -> PyResult<String> {
        let answer = table().explain(handle, Case::Snake);
        answer.map_err(|problem| called(py, &problem))
    }

    /// The machine as bytes.
    #[pyfunction]
    #[pyo3(signature = (handle, now, /))]
    pub(crate) fn snapshot(py: Python<'_>, handle: u32, now: i64) -> PyResult<Bound<'_, PyBytes>> {
        let answer = table().snapshot(handle, word(now));
        answer.map(|bytes| PyBytes::new(py, &bytes)).map_err(|problem| called(py, &problem))
    }

    /// The description of every machine, as JSON.
    #[pyfunction]
    pub(crate) fn schema() -> String {
        tidegate_boundary::schema(Case::Snake).to_string()
    }

    /// The version that the package compares with its own.
    #[pyfunction]
    pub(crate) fn version() -> &'static str {
        tidegate_boundary::VERSION
    }
}
