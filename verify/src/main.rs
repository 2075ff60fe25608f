//! `tidegate-verify`: explores every model at its published bounds and prints what holds, as a table.

use tidegate_verify::alone::AloneWorld;
use tidegate_verify::claim::{Options, prove};
use tidegate_verify::models;

fn main() {
    let claim = prove("backoff", "x", AloneWorld::<tidegate::backoff::Backoff>::new(models::backoff::configs()), Options::default());
    println!("{:#}", claim.json());
    for fault in &claim.faults { println!("{}\n{}", fault.what, fault.script); }
}
