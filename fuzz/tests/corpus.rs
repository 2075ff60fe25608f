//! Replays every committed corpus, without a fuzzer.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong by failing")]

use std::fs;
use std::path::{Path, PathBuf};

/// The inputs that were kept for a target.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn replay(target: &str, body: fn(&[u8])) {
    let corpus = corpus(target);
    assert!(corpus.len() >= 20, "the corpus of {target} has {} files only", corpus.len());
    for (path, data) in corpus {
        let replayed = std::panic::catch_unwind(|| body(&data));
        assert!(replayed.is_ok(), "{} finds something wrong", path.display());
    }
}

#[test]
fn sequences_of_steps_are_lawful() {
    replay("steps", tidegate_fuzz::steps);
}

#[test]
fn forged_records_are_refused_or_make_lawful_machines() {
    replay("records", tidegate_fuzz::records);
}

#[test]
fn damaged_journals_are_refused_or_recovered_from() {
    replay("journals", tidegate_fuzz::journals);
}

#[test]
fn texts_of_hosts_are_refused_or_understood() {
    replay("texts", tidegate_fuzz::texts);
}
