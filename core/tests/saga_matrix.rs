//! The fault matrix of an allocation, on the pure core: every cell, and the published table is the current one.

mod saga_world;

use std::path::PathBuf;

use saga_world::matrix::{run_all, table};

#[test]
fn every_cell_of_the_fault_matrix_holds_and_the_published_table_says_so() {
    let table = table(&run_all(2));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/saga-fault-matrix.md");
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    let summary = table.lines().find(|line| line.starts_with("**")).unwrap_or_default();
    println!("saga fault matrix: {}", summary.replace("**", ""));
    assert!(
        published == table,
        "docs/saga-fault-matrix.md is stale: cargo run --release -p tidegate --example saga_matrix"
    );
}
