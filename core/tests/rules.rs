//! Every numbered rule is kept in code and has a conformance script: its number stands in the source of its
//! machine and in the `rules` of a script. A new family of rules is a line in [`FAMILIES`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A letter, how many rules it has, the sources that keep them, and the files whose scripts prove them.
struct Family {
    letter: char,
    rules: u32,
    sources: &'static [&'static str],
    vectors: &'static [&'static str],
}

const FAMILIES: &[Family] = &[
    family('B', 6, &["backoff"], &["backoff"]),
    family('C', 3, &["close"], &["close-policy"]),
    family('T', 10, &["tunnel"], &["tunnel"]),
    family('R', 4, &["peer", "directory"], &["peer", "directory"]),
    family('D', 10, &["drain"], &["drain"]),
    family('L', 7, &["lease", "lease_holder"], &["lease", "lease-holder"]),
    family('G', 9, &["saga"], &["saga"]),
    family('K', 6, &["stack"], &["stack"]),
    family('H', 8, &["handoff"], &["handoff"]),
    family('Y', 3, &["lifecycle", "lifecycle/course", "lifecycle/parts"], &["lifecycle"]),
];

const fn family(
    letter: char,
    rules: u32,
    sources: &'static [&'static str],
    vectors: &'static [&'static str],
) -> Family {
    Family { letter, rules, sources, vectors }
}

impl Family {
    fn source_files(&self) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        self.sources.iter().map(|name| folder.join(format!("{name}.rs"))).collect()
    }

    fn vector_files(&self) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors");
        self.vectors.iter().map(|name| folder.join(format!("{name}.json"))).collect()
    }

    fn has_begun(&self) -> bool {
        self.source_files().iter().chain(&self.vector_files()).any(|file| file.exists())
    }

    /// The numbers that are cited in the code itself: `D4` as a word, tests and ranges such as `D1–D10` apart.
    fn cited(&self) -> BTreeSet<u32> {
        let mut cited = BTreeSet::new();
        for file in self.source_files() {
            let text = read(&file);
            let code = text.split("#[cfg(test)]").next().unwrap();
            cited.extend(code.lines().flat_map(|line| self.numbers(line)));
        }
        cited
    }

    /// The numbers that the scripts name in their `rules`.
    fn scripted(&self) -> BTreeSet<u32> {
        let mut scripted = BTreeSet::new();
        for file in self.vector_files() {
            let text = read(&file);
            for rules in text.split("\"rules\"").skip(1) {
                let list = rules.split(']').next().unwrap();
                scripted.extend(self.numbers(list));
            }
        }
        scripted
    }

    fn numbers(&self, text: &str) -> Vec<u32> {
        let words: Vec<&str> =
            text.split(|letter: char| !(letter.is_alphanumeric() || letter == '–')).collect();
        words.into_iter().filter_map(|word| word.strip_prefix(self.letter)?.parse().ok()).collect()
    }
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn every_numbered_rule_is_cited_where_it_is_kept_and_has_a_script() {
    let mut missing = Vec::new();
    for family in FAMILIES {
        let Family { letter, rules, .. } = *family;
        if !family.has_begun() {
            println!("{letter}1–{letter}{rules}: not checked, as {:?} does not exist", family.sources);
            continue;
        }
        println!("{letter}1–{letter}{rules}: checked");
        let wanted: BTreeSet<u32> = (1..=rules).collect();
        for (found, what) in [
            (family.cited(), "cited in its machine's source"),
            (family.scripted(), "in the `rules` of a script"),
        ] {
            missing.extend(wanted.difference(&found).map(|rule| format!("{letter}{rule} is not {what}")));
            missing.extend(
                found.difference(&wanted).map(|rule| format!("{letter}{rule} is {what}, but no rule")),
            );
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn a_number_is_a_word_of_its_own() {
    let family = family('D', 10, &[], &[]);
    assert_eq!(family.numbers("// D1, (D10) and `D4`; D2–D9, ID3, D4x"), [1, 10, 4]);
}
