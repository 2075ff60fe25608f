//! What the machines say and write in every script of `vectors/`, pinned: it changes on purpose or not at all.
//!
//! * `pinned/explanations.json`: every explanation, by machine and state, as people read it.
//! * `pinned/records.json`: which forged records are refused, and what the others make. A record may stand in a file
//!   for as long as nobody restores it, and versions N and N - 1 read each other's (H6). After each step of a script
//!   the machine is snapshot, and every byte of the record is made one more and one less, the checksum mended. The
//!   answers (refused, or the record of the machine that it makes) are folded into one digest a script. A digest that
//!   changes says that what stands in records has changed, which is a new version of the record, or that other records
//!   are refused.
//! * `pinned/journals.json`: the same for journals of sagas (G8). The journal of every script is replayed up to each of
//!   its records, with that record changed in every way; the digest is of what the saga answers, and of how it goes on
//!   after the recovery.
//!
//! With `TIDEGATE_BLESS=1` the files are written anew; a new script only adds to them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidegate_boundary::{Case, Table, schema};

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// FNV-1a, which is also the checksum of a record.
fn fold(digest: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(digest, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

/// The machine of a script; none when the script is about a config that is refused.
fn create(table: &mut Table, machine: &str, script: &Value) -> Option<u32> {
    let config = script.get("config").cloned().unwrap_or_else(|| json!({})).to_string();
    let start = script["start"].as_f64().unwrap_or(0.0);
    let draws = script["draws"].as_array().map(|draws| {
        let draws: Vec<_> = draws.iter().map(|draw| draw.as_str().unwrap()).collect();
        draws.join(",")
    });
    match draws {
        Some(draws) => table.create_scripted(machine, &config, &draws, start, Case::Camel),
        None => {
            let seed = script["seed"].as_f64().unwrap_or(1.0);
            table.create(machine, &config, seed, start, Case::Camel)
        }
    }
    .ok()
}

/// Calls `visit` with the machine of a script after every step, and the time.
fn each_step(machine: &str, script: &Value, mut visit: impl FnMut(&mut Table, u32, f64)) {
    let mut table = Table::default();
    let Some(handle) = create(&mut table, machine, script) else { return };
    // A clock that runs backwards is a matter of some scripts, and not of snapshots.
    let mut now = script["start"].as_f64().unwrap_or(0.0);
    visit(&mut table, handle, now);
    for step in script["steps"].as_array().unwrap() {
        let at = step["at"].as_f64().unwrap();
        match step.get("input") {
            Some(input) => table.handle(handle, at, &input.to_string(), Case::Camel),
            None => table.tick(handle, at, Case::Camel),
        }
        .unwrap();
        if at <= 9_007_199_254_740_991.0 {
            now = now.max(at);
            visit(&mut table, handle, now);
        }
    }
}

/// Calls `visit` with every hand-written script and its machine.
fn each_script(mut visit: impl FnMut(&str, &Value)) {
    let vectors = root().join("../vectors");
    let index = read(&vectors.join("index.json"));
    for file in index["files"].as_object().unwrap().keys().filter(|file| !file.starts_with("generated-")) {
        let scripts = read(&vectors.join(file));
        for script in scripts["scripts"].as_array().unwrap() {
            visit(scripts["machine"].as_str().unwrap(), script);
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// By machine, by state or script.
type Pinned<T> = BTreeMap<String, BTreeMap<String, T>>;

/// What was found is what stands in a file; or it is written there.
fn compare<T>(file: &str, found: &Pinned<T>)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let path = root().join("tests/pinned").join(file);
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        fs::write(&path, format!("{:#}\n", json!(found))).unwrap();
        return;
    }
    let expected: Pinned<T> = serde_json::from_value(read(&path)).unwrap();
    for (machine, parts) in found {
        for (name, what) in parts {
            let expected = expected.get(machine).and_then(|parts| parts.get(name));
            assert_eq!(expected, Some(what), "{machine}: {name}");
        }
    }
    assert_eq!(*found, expected, "{file} names what is gone");
}

/// What becomes of every forgery of a record, and how many there are.
fn forged(machine: &str, record: &[u8]) -> (u64, usize) {
    let (mut record, mut digest) = (record.to_vec(), EMPTY);
    let body = record.len() - 8;
    // "TGR1", the length of the name, the name, the version.
    let header = 4 + 1 + machine.len() + 1;
    for place in header..body {
        let original = record[place];
        for forgery in [original.wrapping_add(1), original.wrapping_sub(1)] {
            record[place] = forgery;
            let sum = fold(EMPTY, &record[..body]);
            record[body..].copy_from_slice(&sum.to_le_bytes());
            let mut table = Table::default();
            digest = match table.restore(machine, &record, 7.0, 3.0) {
                Ok(handle) => fold(digest, &table.snapshot(handle, 7.0).unwrap()),
                Err(_) => fold(digest, &[0]),
            };
        }
        record[place] = original;
    }
    (digest, 2 * (body - header))
}

#[test]
fn what_is_read_and_what_is_refused_of_forged_records_is_what_it_was() {
    let mut found: Pinned<String> = BTreeMap::new();
    let mut known: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    let mut total = 0;
    each_script(|machine, script| {
        let mut records = BTreeSet::new();
        each_step(machine, script, |table, handle, now| {
            records.insert(table.snapshot(handle, now).unwrap());
        });
        let mut digest = EMPTY;
        for record in records {
            let of_record = known.entry(record).or_insert_with_key(|record| {
                let (digest, count) = forged(machine, record);
                total += count;
                digest
            });
            digest = fold(digest, &of_record.to_le_bytes());
        }
        if digest != EMPTY {
            let name = script["name"].as_str().unwrap().to_owned();
            found.entry(machine.to_owned()).or_default().insert(name, format!("{digest:016x}"));
        }
    });
    println!("records: {total} forgeries");
    compare("records.json", &found);
}

#[test]
fn what_is_explained_is_what_it_was() {
    let mut found: Pinned<BTreeSet<String>> = BTreeMap::new();
    each_script(|machine, script| {
        each_step(machine, script, |table, handle, _| {
            let explanation = table.explain(handle, Case::Camel).unwrap();
            let explanation: Value = serde_json::from_str(&explanation).unwrap();
            let text = |name: &str| explanation[name].as_str().unwrap().to_owned();
            let said = match text("waitsFor") {
                nothing if nothing.is_empty() => text("because"),
                what => format!("{}; waits for {what}", text("because")),
            };
            found.entry(machine.to_owned()).or_default().entry(text("state")).or_default().insert(said);
        });
    });
    compare("explanations.json", &found);
}

/// The journal that a script of a saga writes, or replays.
fn journal(script: &Value) -> Vec<Value> {
    let mut journal = Vec::new();
    for step in script["steps"].as_array().unwrap() {
        let replayed = step.get("input").filter(|input| input["type"] == "replay").cloned();
        let appended = step["effects"].as_array().into_iter().flatten();
        let appended = appended.filter(|effect| effect["type"] == "append").map(|effect| {
            let field = |name: &str| effect[name].clone();
            json!({
                "type": "replay", "sequence": field("sequence"), "kind": field("kind"), "step": field("step"),
                "attempt": field("attempt"), "value": field("value"),
            })
        });
        journal.extend(replayed.into_iter().chain(appended));
    }
    journal
}

/// A record in every way in which one field of it can be changed, and itself.
fn changed(record: &Value, kinds: &[&str], steps: usize) -> Vec<Value> {
    let with = |name: &str, value: Value| {
        let mut changed = record.clone();
        changed[name] = value;
        changed
    };
    let near = |name: &str| {
        let number = record[name].as_u64().unwrap();
        [number.saturating_sub(1), number + 1, 0].map(|number| with(name, json!(number)))
    };
    let mut all = vec![record.clone()];
    all.extend(kinds.iter().map(|kind| with("kind", json!(kind))));
    all.extend((0..=steps).map(|step| with("step", json!(step))));
    all.push(with("step", Value::Null));
    all.extend(["sequence", "attempt", "value"].iter().flat_map(|name| near(name)));
    all.retain(|changed| changed["sequence"].as_u64() > Some(0));
    all
}

#[test]
fn which_journals_are_refused_and_what_the_others_lead_to_is_what_it_was() {
    let described = schema(Case::Camel);
    let kinds = described["names"]["SagaRecord"]["values"].as_array().expect("the kinds of records");
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind["name"].as_str().unwrap()).collect();
    let mut found: Pinned<String> = BTreeMap::new();
    let mut total = 0;
    each_script(|machine, script| {
        if machine != "saga" || script.get("faults").is_some() {
            return;
        }
        let journal = journal(script);
        let steps = script["config"]["steps"].as_array().map_or(0, Vec::len);
        let mut digest = EMPTY;
        for (place, record) in journal.iter().enumerate() {
            for last in changed(record, &kinds, steps) {
                let mut table = Table::default();
                let Some(handle) = create(&mut table, machine, script) else { return };
                for record in &journal[..place] {
                    table.handle(handle, 0.0, &record.to_string(), Case::Camel).unwrap();
                }
                for input in [last, json!({"type": "recovered", "torn": false})] {
                    let answer = table.handle(handle, 0.0, &input.to_string(), Case::Camel).unwrap();
                    digest = fold(digest, answer.as_bytes());
                }
                digest = fold(digest, table.explain(handle, Case::Camel).unwrap().as_bytes());
                total += 1;
            }
        }
        if digest != EMPTY {
            let name = script["name"].as_str().unwrap().to_owned();
            found.entry(machine.to_owned()).or_default().insert(name, format!("{digest:016x}"));
        }
    });
    println!("journals: {total} changed records");
    compare("journals.json", &found);
}
