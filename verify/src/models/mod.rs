//! The models: one file each.

pub mod backoff;
pub mod directory;
pub mod drain;
pub mod peer;
pub mod tunnel;

use tidegate::Name;

crate::subjects! {
    tidegate::backoff::Backoff, tidegate::backoff::State, |machine| find(tidegate::Rules::state(machine));
    tidegate::directory::Directory, tidegate::directory::State, |machine| find(tidegate::Rules::state(machine));
    tidegate::drain::Drain, tidegate::drain::Phase, |machine| machine.phase();
    tidegate::peer::Peer, tidegate::peer::State, |machine| machine.at();
    tidegate::tunnel::Tunnel, tidegate::tunnel::State, |machine| machine.place();
}

/// The state of this name.
fn find<S: Name>(name: &str) -> S {
    S::ALL.iter().copied().find(|state| state.as_str() == name).unwrap_or(S::ALL[0])
}
