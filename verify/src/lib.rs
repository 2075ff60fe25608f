//! Explores every state of tidegate's machines at stated bounds, and proves their properties there.

pub mod explore;
pub mod liveness;
