//! Explores every state of tidegate's machines at stated bounds, and proves their properties there.

pub mod alone;
pub mod claim;
pub mod coverage;
pub mod crew;
pub mod diagrams;
pub mod explore;
pub mod liveness;
pub mod models;
pub mod places;
pub mod planted;
pub mod pool;
pub mod vectors;
pub mod workspace;
pub mod world;

/// The machines, for who has no other need of the core.
pub mod machines {
    pub use tidegate::backoff::Backoff;
    pub use tidegate::directory::Directory;
    pub use tidegate::drain::Drain;
    pub use tidegate::handoff::Handoff;
    pub use tidegate::lease_holder::LeaseHolder;
    pub use tidegate::peer::Peer;
    pub use tidegate::saga::Saga;
    pub use tidegate::stack::Stack;
    pub use tidegate::successor::Successor;
    pub use tidegate::tunnel::Tunnel;
}
