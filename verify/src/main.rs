//! `tidegate-verify`: explores every model at its published bounds and prints what holds, as a table.

use tidegate_verify::alone::{Alone, AloneWorld};
use tidegate_verify::claim::{Options, prove};
use tidegate_verify::models;

fn run<M: Alone>(configs: Vec<M::Config>) {
    let claim = prove(M::NAME, "x", AloneWorld::<M>::new(configs), Options { states: 3_000_000, ..Options::default()});
    println!("{} {} {} {} {} {:?} {}", claim.model, claim.states, claim.transitions, claim.depth, claim.complete, claim.took, claim.pace());
    for p in &claim.safety { println!("  {} {}", p.1, p.0); }
    for fault in &claim.faults { println!("{}\n{}", fault.what, fault.script); }
}
fn main() {
    match std::env::args().nth(1).unwrap_or_default().as_str() {
        "t0" => run::<tidegate::tunnel::Tunnel>(models::tunnel::attempts()),
        "t1" => run::<tidegate::tunnel::Tunnel>(models::tunnel::silence()),
        "t2" => run::<tidegate::tunnel::Tunnel>(models::tunnel::random()),
        "p" => run::<tidegate::peer::Peer>(models::peer::configs()),
        "d" => run::<tidegate::drain::Drain>(models::drain::plain()),
        "d1" => run::<tidegate::drain::Drain>(models::drain::stepped()),
        "r" => run::<tidegate::directory::Directory>(models::directory::configs()),
        _ => {}
    }
}
