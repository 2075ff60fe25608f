//! Private to the npm package `tidegate`: the machines of the core, called from Node by handle.
//!
//! Every function is free-standing and takes the number of a machine: a method of a class costs Node about
//! three times as much. The machines of a thread live in that thread; a worker has its own.
//!
//! Inputs that happen often take the *flat path*: [`input0`] to [`input5`] by their number of fields. They
//! answer
//!
//! * `null`: no effects, and the deadline is as it was;
//! * a number: 0 for a malformed input, else the rejection with that number, counted from 1 (a value and not
//!   an exception, which would cost fifty times as much);
//! * a text: the step, packed (see [`packed`]).
//!
//! The *object path* ([`handle`], [`tick`]) takes and answers JSON.

mod listener;
mod packed;
#[cfg(unix)]
mod service;

use std::cell::RefCell;

use napi::bindgen_prelude::{Buffer, Either, Error, Result, Uint8Array};
use napi_derive::napi;
use tidegate_boundary::{CallError, Case, CreateError, FlatAnswer, Table, VERSION};

thread_local! {
    static TABLE: RefCell<Table> = RefCell::new(Table::default());
}

/// The answer of the flat path.
type Flat = Result<Option<Either<u32, String>>>;

fn refused(error: CallError) -> Error {
    Error::from_reason(error.to_string())
}

/// A handle, or the faults of the config as JSON.
fn created(result: std::result::Result<u32, CreateError>) -> Result<Either<u32, String>> {
    match result {
        Ok(handle) => Ok(Either::A(handle)),
        Err(CreateError::Faults(faults)) => Ok(Either::B(faults)),
        Err(CreateError::Malformed(message)) => Err(Error::from_reason(message)),
        Err(CreateError::Bug(message)) => Err(Error::from_reason(message)),
    }
}

fn flat(call: impl FnOnce(&mut Table) -> std::result::Result<FlatAnswer, CallError>) -> Flat {
    TABLE.with_borrow_mut(|table| match call(table).map_err(refused)? {
        FlatAnswer::Nothing => Ok(None),
        FlatAnswer::Written => Ok(Some(Either::B(packed::pack(table.written())))),
        FlatAnswer::Rejected(code) => Ok(Some(Either::A(u32::from(code) + 1))),
        FlatAnswer::Malformed => Ok(Some(Either::A(0))),
    })
}

/// Makes a machine: its handle, or the faults of its config as JSON.
#[napi(catch_unwind)]
pub fn create(name: String, config: String, seed: f64, now: f64) -> Result<Either<u32, String>> {
    created(TABLE.with_borrow_mut(|table| table.create(&name, &config, seed, now, Case::Camel)))
}

/// The same with scripted draws (`min,mid,max`): for tests.
#[napi(catch_unwind)]
pub fn create_scripted(name: String, config: String, draws: String, now: f64) -> Result<Either<u32, String>> {
    created(TABLE.with_borrow_mut(|table| table.create_scripted(&name, &config, &draws, now, Case::Camel)))
}

/// Makes a machine from a snapshot that was taken `elapsed` milliseconds ago.
#[napi(catch_unwind)]
pub fn restore(name: String, snapshot: Uint8Array, now: f64, elapsed: f64) -> Result<Either<u32, String>> {
    created(TABLE.with_borrow_mut(|table| table.restore(&name, &snapshot, now, elapsed)))
}

/// Frees a machine.
#[napi(catch_unwind)]
pub fn free(handle: u32) {
    TABLE.with_borrow_mut(|table| table.free(handle));
}

/// How many machines this thread holds.
#[napi(catch_unwind)]
pub fn held() -> u32 {
    TABLE.with_borrow(|table| u32::try_from(table.held()).unwrap_or(u32::MAX))
}

/// An input on the object path.
#[napi(catch_unwind)]
pub fn handle(handle: u32, now: f64, input: String) -> Result<String> {
    TABLE.with_borrow_mut(|table| table.handle(handle, now, &input, Case::Camel)).map_err(refused)
}

/// The time on the object path.
#[napi(catch_unwind)]
pub fn tick(handle: u32, now: f64) -> Result<String> {
    TABLE.with_borrow_mut(|table| table.tick(handle, now, Case::Camel)).map_err(refused)
}

/// An input without fields on the flat path.
#[napi]
pub fn input0(handle: u32, now: f64, tag: u32) -> Flat {
    flat(|table| table.handle_flat(handle, now, tag, &[]))
}

/// An input of one field.
#[napi]
pub fn input1(handle: u32, now: f64, tag: u32, a: f64) -> Flat {
    flat(|table| table.handle_flat(handle, now, tag, &[a]))
}

/// An input of two fields.
#[napi]
pub fn input2(handle: u32, now: f64, tag: u32, a: f64, b: f64) -> Flat {
    flat(|table| table.handle_flat(handle, now, tag, &[a, b]))
}

/// An input of three fields.
#[napi]
pub fn input3(handle: u32, now: f64, tag: u32, a: f64, b: f64, c: f64) -> Flat {
    flat(|table| table.handle_flat(handle, now, tag, &[a, b, c]))
}

/// An input of four fields.
#[napi]
pub fn input4(handle: u32, now: f64, tag: u32, a: f64, b: f64, c: f64, d: f64) -> Flat {
    flat(|table| table.handle_flat(handle, now, tag, &[a, b, c, d]))
}

/// An input of five fields.
#[napi]
#[allow(clippy::too_many_arguments, reason = "an array of the fields would cost more than the call itself")]
pub fn input5(handle: u32, now: f64, tag: u32, a: f64, b: f64, c: f64, d: f64, e: f64) -> Flat {
    flat(|table| table.handle_flat(handle, now, tag, &[a, b, c, d, e]))
}

/// An input of any number of fields.
#[napi]
pub fn input_many(handle: u32, now: f64, tag: u32, fields: Vec<f64>) -> Flat {
    flat(|table| table.handle_flat(handle, now, tag, &fields))
}

/// The time on the flat path.
#[napi]
pub fn tick_flat(handle: u32, now: f64) -> Flat {
    flat(|table| table.tick_flat(handle, now))
}

/// When the machine wants to be woken, as JSON.
#[napi(catch_unwind)]
pub fn deadline(handle: u32) -> Result<String> {
    TABLE.with_borrow_mut(|table| table.deadline(handle)).map_err(refused)
}

/// The name of its state.
#[napi(catch_unwind)]
pub fn state(handle: u32) -> Result<&'static str> {
    TABLE.with_borrow_mut(|table| table.state(handle)).map_err(refused)
}

/// Why it is in its state, as JSON.
#[napi(catch_unwind)]
pub fn explain(handle: u32) -> Result<String> {
    TABLE.with_borrow_mut(|table| table.explain(handle, Case::Camel)).map_err(refused)
}

/// The machine as bytes.
#[napi(catch_unwind)]
pub fn snapshot(handle: u32, now: f64) -> Result<Buffer> {
    TABLE.with_borrow_mut(|table| table.snapshot(handle, now)).map(Buffer::from).map_err(refused)
}

/// A record of a saga's journal (JSON) with its payload, as a frame.
#[napi(catch_unwind)]
pub fn journal_frame(record: String, payload: Uint8Array) -> Result<Buffer> {
    tidegate_boundary::journal_frame(&record, &payload).map(Buffer::from).map_err(Error::from_reason)
}

/// The records of a saga's journal, or what is wrong with it, as JSON.
#[napi(catch_unwind)]
pub fn journal_records(bytes: Uint8Array) -> String {
    tidegate_boundary::journal_records(&bytes)
}

/// What a command does to the row of a lease, as JSON.
#[napi(catch_unwind)]
pub fn lease_decide(row: String, command: String, now: f64, terms: String) -> Result<String> {
    tidegate_boundary::lease_decide(&row, &command, now, &terms, Case::Camel).map_err(Error::from_reason)
}

/// What a granter's answer means to the holder of a lease, as JSON.
#[napi(catch_unwind)]
pub fn lease_meaning(question: String, answer: String) -> Result<String> {
    tidegate_boundary::lease_meaning(&question, &answer, Case::Camel).map_err(Error::from_reason)
}

/// The description of every machine, as JSON.
#[napi(catch_unwind)]
pub fn schema() -> String {
    tidegate_boundary::schema(Case::Camel).to_string()
}

/// The version that the host compares with its own.
#[napi]
pub fn version() -> &'static str {
    VERSION
}

/// Makes a listening socket begin no more handshakes (see `listener.rs`); false where the system cannot do that.
#[napi(catch_unwind)]
pub fn refuse_handshakes(socket: i32) -> bool {
    listener::refuse_handshakes(socket)
}

/// Listens on a unix socket whose path stays when the descriptor is closed (see `listener.rs`).
#[cfg(unix)]
#[napi(catch_unwind)]
pub fn listen_unix(path: String) -> Result<i32> {
    listener::listen_unix(&path).map_err(|error| Error::from_reason(error.to_string()))
}

/// Tells the service manager something (see `service.rs`).
#[cfg(unix)]
#[napi(catch_unwind)]
pub fn notify_service(socket: String, message: String) -> Result<()> {
    service::notify(&socket, &message).map_err(|error| Error::from_reason(error.to_string()))
}
