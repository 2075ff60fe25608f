//! The models: one file each, and the list of them with their bounds.

pub mod allocation;
pub mod backoff;
pub mod close;
pub mod connect;
pub mod directory;
pub mod drain;
pub mod fleet;
pub mod handoff;
pub mod holders;
pub mod lease;
pub mod lease_holder;
pub mod lifecycle;
pub mod peer;
pub mod processes;
pub mod recovery;
pub mod replace;
pub mod rows;
pub mod saga;
pub mod serve;
pub mod stack;
pub mod successor;
pub mod takeover;
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
    tidegate::successor::Successor, tidegate::successor::State, |machine| machine.at();
}

/// Declares subjects whose states have no type of their own: the names that they go by.
macro_rules! named {
    ($($Machine:ty, $name:literal: $($state:literal)*);* $(;)?) => {
        $(impl crate::world::Subject for $Machine {
            const STATES: tidegate::NameSpec =
                tidegate::NameSpec { name: $name, doc: &[], values: &[$(($state, &[])),*] };
            fn place(&self) -> usize {
                let name = tidegate::Rules::state(self);
                Self::STATES.values.iter().position(|(state, _)| *state == name).unwrap_or(0)
            }
        })*
    };
}

named! {
    tidegate::handoff::Handoff, "HandoffState": "running" "queued" "spawning" "waiting-ready" "capturing" "acknowledged"
        "settling" "looking" "killing" "undoing" "draining" "stopping" "gone";
    tidegate::saga::Saga, "SagaState": "idle" "recovering" "running" "unwinding" "halted" "committed" "rolled-back" "stuck"
        "fenced" "refused";
    tidegate::stack::Stack, "StackState": "idle" "starting" "up" "restarting" "stopping" "stopped";
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
    use tidegate::{
        backoff::Backoff, directory::Directory, drain::Drain, handoff::Handoff, peer::Peer,
        successor::Successor, tunnel::Tunnel,
    };
    use tidegate::{lease::Lease, lease_holder::LeaseHolder};
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
            name: "lifecycle",
            prove: |size, options| {
                let (bounds, world) = lifecycle::world(size);
                prove("lifecycle", bounds, world, options)
            },
            draw: None,
        },
        Entry {
            name: "handoff",
            prove: |_, options| {
                prove("handoff", handoff::BOUNDS, AloneWorld::<Handoff>::new(handoff::configs()), options)
            },
            draw: Some(|options| drawing(AloneWorld::<Handoff>::new(handoff::configs()), options)),
        },
        Entry {
            name: "successor",
            prove: |_, options| {
                let world = AloneWorld::<Successor>::new(successor::configs());
                prove("successor", successor::BOUNDS, world, options)
            },
            draw: Some(|options| drawing(AloneWorld::<Successor>::new(successor::configs()), options)),
        },
        Entry {
            name: "stack",
            prove: |_, options| prove("stack", stack::BOUNDS, stack::world(), options),
            draw: None,
        },
        Entry {
            name: "saga",
            prove: |size, options| {
                let (bounds, world) = saga::world(size);
                prove("saga", bounds, world, options)
            },
            draw: None,
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
            name: "handoff × successor",
            prove: |size, options| {
                let (bounds, world) = takeover::world(size);
                prove("handoff × successor", bounds, world, options)
            },
            draw: None,
        },
        Entry {
            name: "stack × processes",
            prove: |size, options| {
                let (bounds, world) = processes::world(size);
                prove("stack × processes", bounds, world, options)
            },
            draw: None,
        },
        Entry {
            name: "stack, a diamond",
            prove: |size, options| {
                let (bounds, world) = processes::diamond(size);
                prove("stack, a diamond", bounds, world, options)
            },
            draw: None,
        },
        Entry {
            name: "drain × host",
            prove: |size, options| {
                let (bounds, world) = serve::world(size);
                prove("drain × host", bounds, world, options)
            },
            draw: None,
        },
        Entry {
            name: "relays × tunnels",
            prove: |size, options| {
                let (bounds, world) = fleet::world(size);
                prove("relays × tunnels", bounds, world, options)
            },
            draw: None,
        },
        Entry {
            name: "drain × handoff",
            prove: |size, options| {
                let (bounds, world) = replace::world(size);
                prove("drain × handoff", bounds, world, options)
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
        Entry {
            name: "saga × crash",
            prove: |size, options| {
                let (words, bounds) = recovery::bounds(size);
                prove("saga × crash", words, recovery::Recovery::new(bounds), options)
            },
            draw: None,
        },
        Entry {
            name: "lease × holders",
            prove: |size, options| {
                let (words, bounds) = holders::bounds(size);
                prove("lease × holders", words, holders::Holders::new(bounds), options)
            },
            draw: None,
        },
        Entry {
            name: "saga × lease × crash",
            prove: |size, options| {
                let (words, bounds) = allocation::bounds(size);
                prove("saga × lease × crash", words, allocation::Allocation::new(bounds), options)
            },
            draw: None,
        },
    ]
}
