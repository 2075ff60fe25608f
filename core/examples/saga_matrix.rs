//! Runs the fault matrix of an allocation and publishes its table.
//!
//! `cargo run --release -p tidegate --example saga_matrix`

#[path = "../tests/saga_world/mod.rs"]
mod saga_world;

use std::path::PathBuf;
use std::time::Instant;

use saga_world::matrix::{run_all, table};

fn main() -> std::io::Result<()> {
    let start = Instant::now();
    let table = table(&run_all(2));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/saga-fault-matrix.md");
    std::fs::write(path, &table)?;
    let summary = table.lines().find(|line| line.starts_with("**")).unwrap_or_default();
    println!("{}\nin {:.1} s", summary.replace("**", ""), start.elapsed().as_secs_f32());
    Ok(())
}
