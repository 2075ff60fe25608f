//! The models: one file each, and the list of them with their bounds.

pub mod backoff;
pub mod close;
pub mod connect;
pub mod directory;
pub mod drain;
pub mod lease;
pub mod lease_holder;
pub mod peer;
pub mod rows;
pub mod saga;
pub mod tunnel;

use tidegate::Name;

use crate::alone::AloneWorld;
use crate::claim::{Claim, Options, drawing, prove};

crate::subjects! {
    tidegate::backoff::Backoff, tidegate::backoff::State, |machine| find(tidegate::Rules::state(machine));
    tidegate::directory::Directory, tidegate::directory::State, |machine| find(tidegate::Rules::state(machine));
    tidegate::drain::Drain, tidegate::drain::Phase, |machine| machine.phase();
    tidegate::lease::Lease, tidegate::lease::LeaseState, |machine| machine.row().state();
    tidegate::peer::Peer, tidegate::peer::State, |machine| machine.at();
    tidegate::tunnel::Tunnel, tidegate::tunnel::State, |machine| machine.place();
}

/// The state of this name.
fn find<S: Name>(name: &str) -> S {
    S::ALL.iter().copied().find(|state| state.as_str() == name).unwrap_or(S::ALL[0])
}

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// For the tests: seconds.
    Small,
    /// Under a minute in all.
    Quick,
    /// The published bounds.
    Full,
}

/// A model that can be run by its name.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Proves what it claims.
    pub prove: fn(Size, Options) -> Claim,
    /// Draws its states.
    pub draw: Option<fn(Options) -> (String, serde_json::Value)>,
}

/// Every model.
#[must_use]
pub fn all() -> Vec<Entry> {
    use tidegate::{backoff::Backoff, directory::Directory, drain::Drain, peer::Peer, tunnel::Tunnel};
    use tidegate::{lease::Lease, lease_holder::LeaseHolder, saga::Saga};
    vec![
        Entry { name: "close policy", prove: |size, _| close::prove(size), draw: None },
        Entry {
            name: "backoff",
            prove: |_, options| {
                prove("backoff", backoff::BOUNDS, AloneWorld::<Backoff>::new(backoff::configs()), options)
            },
            draw: Some(|options| drawing(AloneWorld::<Backoff>::new(backoff::configs()), options)),
        },
        Entry {
            name: "directory",
            prove: |_, options| {
                prove(
                    "directory",
                    directory::BOUNDS,
                    AloneWorld::<Directory>::new(directory::configs()),
                    options,
                )
            },
            draw: Some(|options| drawing(AloneWorld::<Directory>::new(directory::configs()), options)),
        },
        Entry {
            name: "peer",
            prove: |_, options| {
                prove("peer", peer::BOUNDS, AloneWorld::<Peer>::new(peer::configs()), options)
            },
            draw: Some(|options| drawing(AloneWorld::<Peer>::new(peer::configs()), options)),
        },
        Entry {
            name: "drain",
            prove: |size, options| {
                let (bounds, world) = drain::world(size);
                prove("drain", bounds, world, options)
            },
            draw: Some(|options| drawing(AloneWorld::<Drain>::new(drain::plain()), options)),
        },
        Entry {
            name: "tunnel",
            prove: |size, options| {
                let (bounds, world) = tunnel::world(size);
                prove("tunnel", bounds, world, options)
            },
            draw: Some(|options| drawing(AloneWorld::<Tunnel>::new(tunnel::smallest()), options)),
        },
        Entry {
            name: "lease",
            prove: |size, options| {
                let (bounds, world) = lease::world(size);
                prove("lease", bounds, world, options)
            },
            draw: Some(|options| drawing(AloneWorld::<Lease>::bounded(lease::configs(), 2), options)),
        },
        Entry {
            name: "lease holder",
            prove: |_, options| {
                let world = AloneWorld::<LeaseHolder>::new(lease_holder::configs());
                prove("lease holder", lease_holder::BOUNDS, world, options)
            },
            draw: Some(|options| drawing(AloneWorld::<LeaseHolder>::new(lease_holder::configs()), options)),
        },
        Entry {
            name: "saga",
            prove: |size, options| {
                let (bounds, world) = saga::world(size);
                prove("saga", bounds, world, options)
            },
            draw: Some(|options| drawing(AloneWorld::<Saga>::bounded(saga::configs(Size::Small), 0), options)),
        },
        Entry {
            name: "tunnel × relay",
            prove: |size, options| {
                let (bounds, configs) = connect::configs(size);
                prove("tunnel × relay", bounds, connect::Connect::new(configs), options)
            },
            draw: None,
        },
        Entry {
            name: "rows × peers",
            prove: |size, options| {
                let (words, bounds) = rows::bounds(size);
                prove("rows × peers", words, rows::Rows::new(bounds), options)
            },
            draw: None,
        },
    ]
}
