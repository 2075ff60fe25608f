//! Explores every state of tidegate's machines at stated bounds, and proves their properties there.

pub mod alone;
pub mod claim;
pub mod coverage;
pub mod explore;
pub mod liveness;
pub mod models;
pub mod pool;
pub mod vectors;
pub mod world;
