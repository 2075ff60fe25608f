//! What the language shims share: every machine by name, behind one small interface.
//!
//! A shim (Node, Python, wasm) holds a [`Table`] of machines and passes numbers and texts through. Two paths
//! lead into a machine:
//!
//! * the **object path** takes an input as JSON (`{"type":"peer-closed","code":4001}`) and answers JSON. It is
//!   for people, logs, vectors and rare inputs.
//! * the **flat path** takes a tag and a few numbers and answers numbers (see [`Table::handle_flat`]). It is for
//!   everything that happens often.
//!
//! Both are made from the descriptions that the core's `messages!` and `settings!` give, so they cannot
//! disagree; `vectors/` is replayed on both in every language. Field names are `camelCase` for JavaScript and
//! `snake_case` for Python ([`Case`]); tags are kebab-case everywhere.

mod case;
mod erased;
mod journal;
mod json;
mod lease;
mod schema;
pub mod script;
mod table;

pub use case::Case;
pub use erased::{Erased, FlatAnswer};
pub use journal::{journal_frame, journal_records};
pub use lease::{lease_decide, lease_meaning};
pub use schema::schema;
pub use table::{CallError, CreateError, Table};

/// The version that shim and host compare at import.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
