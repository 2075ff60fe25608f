//! The pictures of `docs/diagrams` are those of the machines.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

use std::path::Path;

use tidegate_verify::diagrams::{Picture, all, is_current};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn every_machine_has_a_picture_that_is_current_and_linked() {
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let pictures = all(&root().join("vectors")).unwrap();
    for (machine, picture) in &pictures {
        let file = format!("docs/diagrams/{machine}.svg");
        let svg = std::fs::read_to_string(root().join(&file)).unwrap_or_default();
        assert!(is_current(picture, &svg), "{file} is stale: run `cargo xtask diagrams`");
        assert!(architecture.contains(&file), "ARCHITECTURE.md does not link {file}");
    }
    let drawn = std::fs::read_dir(root().join("docs/diagrams")).unwrap().count();
    assert_eq!(drawn, pictures.len(), "docs/diagrams holds a picture of no machine");
}

#[test]
fn a_picture_is_stale_when_one_transition_is_another() {
    let pictures = all(&root().join("vectors")).unwrap();
    let Picture::Graph(source) = &pictures["drain"] else { panic!("the drain is a graph") };
    let svg = std::fs::read_to_string(root().join("docs/diagrams/drain.svg")).unwrap();
    let other =
        Picture::Graph(source.replacen("\"draining\" -> \"forcing\"", "\"draining\" -> \"stopped\"", 1));
    assert!(is_current(&pictures["drain"], &svg) && !is_current(&other, &svg));
}
