//! The list of planted bugs fits the source; `cargo xtask verify --planted` plants them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tidegate_verify::planted;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn every_planted_text_stands_exactly_once_in_the_source() {
    let bugs = planted::read(&root().join("verify/planted")).unwrap();
    let faults = planted::faults(&bugs, root());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(bugs.len() >= 24, "there are only {}", bugs.len());
}

#[test]
fn there_is_a_planted_bug_in_every_machine() {
    let bugs = planted::read(&root().join("verify/planted")).unwrap();
    let planted: BTreeSet<_> = bugs.iter().map(|bug| bug.file.clone()).collect();
    let frame = ["contract", "fault", "lib", "operation", "random", "record", "time", "wire"];
    for entry in fs::read_dir(root().join("core/src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() || frame.contains(&name.as_str()) {
            continue;
        }
        let file = path.strip_prefix(root()).unwrap();
        assert!(planted.contains(file), "no bug is planted in {}", file.display());
    }
}

#[test]
fn the_table_in_the_docs_is_about_the_planted_bugs_and_says_that_each_was_caught() {
    let bugs = planted::read(&root().join("verify/planted")).unwrap();
    let table = fs::read_to_string(root().join("docs/planted-bugs.md")).unwrap();
    let rows: BTreeSet<&str> =
        table.lines().filter_map(|line| line.strip_prefix("* **")?.split("**").next()).collect();
    let names: BTreeSet<&str> = bugs.iter().map(|bug| bug.name.as_str()).collect();
    assert_eq!(rows, names, "run `cargo xtask verify --planted --write`");
    assert!(
        table.contains(&format!("**{0} of {0} planted bugs caught", names.len())),
        "not every bug is caught"
    );
}
