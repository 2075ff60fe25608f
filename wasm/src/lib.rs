//! Private to the npm package `tidegate-web`: the machines of the core, called through WebAssembly by handle.
//!
//! The same functions as in the shim for Node. `host/core.ts` puts them behind the same interface, so the codecs
//! and everything above them are one code.
//!
//! The *flat path* ([`input0`] to [`input5`], [`input_many`], [`tick_flat`]) passes numbers only, which costs a
//! few nanoseconds, and answers one number:
//!
//! * 0: no effects, and the deadline is as it was;
//! * n > 0: a step of n words, at [`words`] in the memory of the module, where the host reads them in place;
//! * -1: refused; [`refusal`] has the words for it;
//! * -2: a malformed input;
//! * below: the rejection of the number -3 - n.
//!
//! The *object path* ([`handle`], [`tick`]) takes and answers JSON.
//!
//! # Panics
//!
//! Here a panic cannot be caught: it ends in a trap, which JavaScript sees as a `WebAssembly.RuntimeError`. The
//! table stays borrowed, so every later call that takes a machine traps too: the whole instance refuses further
//! use, not just one machine. The host turns both into a `BugError`.

use std::cell::RefCell;

use tidegate_boundary::{CallError, Case, CreateError, FlatAnswer, Table, VERSION};
use wasm_bindgen::prelude::*;

thread_local! {
    static TABLE: RefCell<Table> = const { RefCell::new(Table::new()) };
    static REFUSAL: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The answer of the flat path, see above.
fn flat(call: impl FnOnce(&mut Table) -> Result<FlatAnswer, CallError>) -> i32 {
    TABLE.with_borrow_mut(|table| match call(table) {
        Ok(FlatAnswer::Nothing) => 0,
        Ok(FlatAnswer::Written) => i32::try_from(table.written().len()).unwrap_or(i32::MAX),
        Ok(FlatAnswer::Rejected(code)) => -3 - i32::from(code),
        Ok(FlatAnswer::Malformed) => -2,
        Err(error) => {
            REFUSAL.set(error.to_string());
            -1
        }
    })
}

fn refused(error: CallError) -> JsError {
    JsError::new(&error.to_string())
}

/// A handle, or the faults of the config as JSON.
fn created(result: Result<u32, CreateError>) -> Result<JsValue, JsError> {
    match result {
        Ok(handle) => Ok(handle.into()),
        Err(CreateError::Faults(faults)) => Ok(faults.into()),
        Err(CreateError::Malformed(message)) => Err(JsError::new(&message)),
        Err(CreateError::Bug(message)) => Err(JsError::new(message)),
    }
}

/// Makes a machine: its handle, or the faults of its config as JSON.
#[wasm_bindgen(unchecked_return_type = "number | string")]
pub fn create(name: &str, config: &str, seed: f64, now: f64) -> Result<JsValue, JsError> {
    created(TABLE.with_borrow_mut(|table| table.create(name, config, seed, now, Case::Camel)))
}

/// The same with scripted draws (`min,mid,max`): for tests.
#[wasm_bindgen(js_name = createScripted, unchecked_return_type = "number | string")]
pub fn create_scripted(name: &str, config: &str, draws: &str, now: f64) -> Result<JsValue, JsError> {
    created(TABLE.with_borrow_mut(|table| table.create_scripted(name, config, draws, now, Case::Camel)))
}

/// Makes a machine from a snapshot that was taken `elapsed` milliseconds ago.
#[wasm_bindgen(unchecked_return_type = "number | string")]
pub fn restore(name: &str, snapshot: &[u8], now: f64, elapsed: f64) -> Result<JsValue, JsError> {
    created(TABLE.with_borrow_mut(|table| table.restore(name, snapshot, now, elapsed)))
}

/// Frees a machine.
#[wasm_bindgen]
pub fn free(handle: u32) {
    TABLE.with_borrow_mut(|table| table.free(handle));
}

/// How many machines this instance holds.
#[wasm_bindgen]
pub fn held() -> u32 {
    TABLE.with_borrow(|table| u32::try_from(table.held()).unwrap_or(u32::MAX))
}

/// An input on the object path.
#[wasm_bindgen]
pub fn handle(handle: u32, now: f64, input: &str) -> Result<String, JsError> {
    TABLE.with_borrow_mut(|table| table.handle(handle, now, input, Case::Camel)).map_err(refused)
}

/// The time on the object path.
#[wasm_bindgen]
pub fn tick(handle: u32, now: f64) -> Result<String, JsError> {
    TABLE.with_borrow_mut(|table| table.tick(handle, now, Case::Camel)).map_err(refused)
}

/// An input without fields on the flat path.
#[wasm_bindgen]
pub fn input0(handle: u32, now: f64, tag: u32) -> i32 {
    flat(|table| table.handle_flat(handle, now, tag, &[]))
}

/// An input of one field.
#[wasm_bindgen]
pub fn input1(handle: u32, now: f64, tag: u32, a: f64) -> i32 {
    flat(|table| table.handle_flat(handle, now, tag, &[a]))
}

/// An input of two fields.
#[wasm_bindgen]
pub fn input2(handle: u32, now: f64, tag: u32, a: f64, b: f64) -> i32 {
    flat(|table| table.handle_flat(handle, now, tag, &[a, b]))
}

/// An input of three fields.
#[wasm_bindgen]
pub fn input3(handle: u32, now: f64, tag: u32, a: f64, b: f64, c: f64) -> i32 {
    flat(|table| table.handle_flat(handle, now, tag, &[a, b, c]))
}

/// An input of four fields.
#[wasm_bindgen]
pub fn input4(handle: u32, now: f64, tag: u32, a: f64, b: f64, c: f64, d: f64) -> i32 {
    flat(|table| table.handle_flat(handle, now, tag, &[a, b, c, d]))
}

/// An input of five fields.
#[wasm_bindgen]
#[allow(clippy::too_many_arguments, reason = "an array of the fields would cost more than the call itself")]
pub fn input5(handle: u32, now: f64, tag: u32, a: f64, b: f64, c: f64, d: f64, e: f64) -> i32 {
    flat(|table| table.handle_flat(handle, now, tag, &[a, b, c, d, e]))
}

/// An input of any number of fields.
#[wasm_bindgen(js_name = inputMany)]
pub fn input_many(handle: u32, now: f64, tag: u32, fields: &[f64]) -> i32 {
    flat(|table| table.handle_flat(handle, now, tag, fields))
}

/// The time on the flat path.
#[wasm_bindgen(js_name = tickFlat)]
pub fn tick_flat(handle: u32, now: f64) -> i32 {
    flat(|table| table.tick_flat(handle, now))
}

/// Where the words of the last step are: an address in the memory of the module, good until the next call.
#[wasm_bindgen]
pub fn words() -> *const f64 {
    TABLE.with_borrow(|table| table.written().as_ptr())
}

/// Why the last flat call was refused.
#[wasm_bindgen]
pub fn refusal() -> String {
    REFUSAL.take()
}

/// When the machine wants to be woken, as JSON.
#[wasm_bindgen]
pub fn deadline(handle: u32) -> Result<String, JsError> {
    TABLE.with_borrow_mut(|table| table.deadline(handle)).map_err(refused)
}

/// The name of its state.
#[wasm_bindgen]
pub fn state(handle: u32) -> Result<String, JsError> {
    TABLE.with_borrow_mut(|table| table.state(handle)).map(str::to_owned).map_err(refused)
}

/// Why it is in its state, as JSON.
#[wasm_bindgen]
pub fn explain(handle: u32) -> Result<String, JsError> {
    TABLE.with_borrow_mut(|table| table.explain(handle, Case::Camel)).map_err(refused)
}

/// The machine as bytes.
#[wasm_bindgen]
pub fn snapshot(handle: u32, now: f64) -> Result<Vec<u8>, JsError> {
    TABLE.with_borrow_mut(|table| table.snapshot(handle, now)).map_err(refused)
}

/// A record of a saga's journal (JSON) with its payload, as a frame.
#[wasm_bindgen(js_name = journalFrame)]
pub fn journal_frame(record: &str, payload: &[u8]) -> Result<Vec<u8>, JsError> {
    tidegate_boundary::journal_frame(record, payload).map_err(|message| JsError::new(&message))
}

/// The records of a saga's journal, or what is wrong with it, as JSON.
#[wasm_bindgen(js_name = journalRecords)]
pub fn journal_records(bytes: &[u8]) -> String {
    tidegate_boundary::journal_records(bytes)
}

/// What a command does to the row of a lease, as JSON.
#[wasm_bindgen(js_name = leaseDecide)]
pub fn lease_decide(row: &str, command: &str, now: f64, terms: &str) -> Result<String, JsError> {
    tidegate_boundary::lease_decide(row, command, now, terms, Case::Camel)
        .map_err(|message| JsError::new(&message))
}

/// What a granter's answer means to the holder of a lease, as JSON.
#[wasm_bindgen(js_name = leaseMeaning)]
pub fn lease_meaning(question: &str, answer: &str) -> Result<String, JsError> {
    tidegate_boundary::lease_meaning(question, answer, Case::Camel).map_err(|message| JsError::new(&message))
}

/// The description of every machine, as JSON.
#[wasm_bindgen]
pub fn schema() -> String {
    tidegate_boundary::schema(Case::Camel).to_string()
}

/// The version that the host compares with its own.
#[wasm_bindgen]
pub fn version() -> String {
    VERSION.to_owned()
}

/// The module's memory, where the words of a step are read.
#[wasm_bindgen(js_name = linearMemory, unchecked_return_type = "WebAssembly.Memory")]
pub fn linear_memory() -> JsValue {
    wasm_bindgen::memory()
}
