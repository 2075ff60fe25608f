//! `tidegate-verify`: explores every model at its published bounds and prints what holds, as a table.

use tidegate_verify::alone::AloneWorld;
use tidegate_verify::claim::{Options, prove};
use tidegate_verify::models;

fn main() {
    let n: usize = std::env::args().nth(1).unwrap_or_default().parse().unwrap_or(0);
    let mut configs = models::tunnel::configs(false);
    let configs = vec![configs.swap_remove(n)];
    let claim = prove("tunnel", "x", AloneWorld::<tidegate::tunnel::Tunnel>::new(configs), Options { states: 6_000_000, ..Options::default()});
    println!("{} {} {} {} {:?} {}", claim.states, claim.transitions, claim.depth, claim.complete, claim.took, claim.pace());
    for p in &claim.safety { println!("  {} {}", p.1, p.0); }
    for fault in &claim.faults { println!("{}\n{}", fault.what, fault.script); }
}
