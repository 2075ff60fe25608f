//! tidegate: the lifecycle of gateways, relays and executors as pure state machines.
//!
//! Every machine here is a value. It does no I/O, reads no clock and draws no randomness of its own: a
//! *host* (a Node process, a browser tab, a Rust server) owns sockets, timers and databases, tells the
//! machine what happened, and carries out what the machine answers. Decisions are made here, once, and are
//! the same in every language.
//!
//! # The contract
//!
//! ```
//! use tidegate::{Intent, Machine, drain::{Config, Drain, Effect, Input}};
//!
//! // A config that cannot work is refused here, with every fault named.
//! let mut drain = Drain::new(Config::default(), 42, 0)?;
//! drain.handle(0, &Input::Started)?;
//!
//! // One call in, one step out: what to start, in this order, and when to come back.
//! let step = drain.handle(1_000, &Input::Signal { intent: Intent::Restart })?;
//! assert_eq!(step.effects.first(), Some(&Effect::Readiness { ready: false }));
//! let wake = step.deadline.expect("a drain never waits for ever");
//!
//! // The lame-duck time is over: the public door closes, and the host says when it has.
//! let step = drain.tick(wake.at)?;
//! assert!(matches!(step.effects.last(), Some(Effect::ClosePublicDoor { .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * [`Machine::handle`] works off everything that is due, then the input. [`Machine::tick`] is the same
//!   for time alone; early and spurious ticks do nothing.
//! * Effects are *started* in order. What must be finished before something else goes on is an
//!   *operation*: it carries an id and a limit, the host answers it once, and what depends on it comes in
//!   the step that answers it. A late or second answer is a no-op.
//! * What the world does wrong is an input. What the host does wrong is a [`Rejection`]: a typed error, and
//!   nothing has changed.
//! * [`Machine::snapshot`] and [`Machine::restore`] carry a machine over a restart of its process;
//!   [`Rules::explain`] says why it is in its state and what it waits for.
//!
//! Times are [`Millis`] of a clock of the host that never runs backwards (one that does is clamped). There
//! are no floats, no hash maps and no panics in here; the crate is `no_std` and needs only `alloc`.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![deny(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::unreachable
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::as_conversions))]

extern crate alloc;

#[macro_use]
mod wire;
mod contract;
mod fault;
mod operation;
mod random;
mod record;
mod time;

pub mod backoff;
pub mod close;
pub mod directory;
pub mod drain;
pub mod handoff;
pub mod lease;
pub mod lease_holder;
pub mod lifecycle;
pub mod peer;
pub mod saga;
pub mod stack;
pub mod successor;
pub mod tunnel;

pub use contract::{Deadline, Explanation, Machine, Rejection, RejectionCode, Rules, Step, StepOf};
pub use drain::Intent;
pub use fault::{Fault, FaultCode, Faults};
pub use operation::{Answer, OperationId, Operations};
pub use random::{Draw, Random};
pub use record::{Reader, Record, RecordFault, Writer};
pub use time::{Clock, MAX_DURATION, MAX_TIME, Millis, NEVER, add, until};
pub use wire::{
    Field, FieldKind, FieldSpec, MAX_FIELDS, Message, NONE, Name, NameSpec, Setting, SettingSpec, Settings,
    SettingsSpec, Variant, Words,
};
