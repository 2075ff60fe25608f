//! Replays every conformance vector of `vectors/` on the object path and on the flat path.
//!
//! With `TIDEGATE_BLESS=1` the expected steps are written instead of compared, as a draft: whoever blesses
//! checks each step against the rule that the script names.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use tidegate_boundary::{Case, CreateError, FlatAnswer, Table, schema, script};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../vectors")
}

fn read(name: &str) -> Value {
    let path = folder().join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn blessing() -> bool {
    std::env::var_os("TIDEGATE_BLESS").is_some()
}

/// The machine of a script, or its faults.
fn create(table: &mut Table, machine: &str, script: &Value) -> Result<u32, CreateError> {
    let config = script.get("config").cloned().unwrap_or_else(|| json!({})).to_string();
    let start = script["start"].as_f64().unwrap_or(0.0);
    if let Some(draws) = script.get("draws") {
        let draws: Vec<_> = draws.as_array().unwrap().iter().map(|draw| draw.as_str().unwrap()).collect();
        return table.create_scripted(machine, &config, &draws.join(","), start, Case::Camel);
    }
    table.create(machine, &config, script["seed"].as_f64().unwrap_or(1.0), start, Case::Camel)
}

/// One step on the object path, in the shape in which it stands in a vector.
fn object_step(table: &mut Table, handle: u32, step: &Value) -> Value {
    let at = step["at"].as_f64().expect("a step says `at`");
    let answer = match step.get("input") {
        Some(input) => table.handle(handle, at, &input.to_string(), Case::Camel),
        None => table.tick(handle, at, Case::Camel),
    };
    let answer: Value =
        serde_json::from_str(&answer.unwrap_or_else(|error| panic!("{step}: {error}"))).unwrap();
    match answer.get("rejection") {
        Some(rejection) => json!({"rejection": {"code": rejection["code"]}}),
        None => answer,
    }
}

/// The same on the flat path, encoded and decoded by the schema as a host does it.
fn flat_step(table: &mut Table, handle: u32, step: &Value, described: &Described, last: &mut Value) -> Value {
    let at = step["at"].as_f64().unwrap();
    let answer = match step.get("input") {
        Some(input) => {
            let (tag, fields) = described.encode(input);
            table.handle_flat(handle, at, tag, &fields)
        }
        None => table.tick_flat(handle, at),
    };
    match answer.unwrap_or_else(|error| panic!("{step}: {error}")) {
        FlatAnswer::Nothing => json!({"effects": [], "deadline": last}),
        FlatAnswer::Written => {
            let step = described.decode(table.written());
            *last = step["deadline"].clone();
            step
        }
        FlatAnswer::Rejected(code) => {
            json!({"rejection": {"code": described.schema["rejections"][code as usize]["name"]}})
        }
        FlatAnswer::Malformed => panic!("{step}: malformed on the flat path"),
    }
}

/// A machine's part of the schema.
struct Described {
    schema: Value,
    machine: Value,
}

impl Described {
    fn new(machine: &str) -> Self {
        let schema = schema(Case::Camel);
        let machines = schema["machines"].as_array().unwrap();
        let machine =
            machines.iter().find(|described| described["name"] == machine).expect("a known machine");
        Self { machine: machine.clone(), schema: schema.clone() }
    }

    fn encode(&self, input: &Value) -> (u32, Vec<f64>) {
        let variants = self.machine["inputs"]["variants"].as_array().unwrap();
        let tag =
            variants.iter().position(|variant| variant["name"] == input["type"]).expect("a known input");
        let fields = variants[tag]["fields"].as_array().unwrap();
        let word = |field: &Value| self.word(&field["kind"], &input[field["name"].as_str().unwrap()]);
        (tag as u32, fields.iter().map(word).collect())
    }

    fn word(&self, kind: &Value, value: &Value) -> f64 {
        if let Some(name) = kind["name"].as_str() {
            let values = self.schema["names"][name]["values"].as_array().unwrap();
            return values.iter().position(|known| known["name"] == *value).expect("a known name") as f64;
        }
        match value {
            Value::Null => -1.0,
            Value::Bool(value) => f64::from(u8::from(*value)),
            _ if kind.get("optional").is_some() => self.word(&kind["optional"], value),
            _ => value.as_f64().expect("a number"),
        }
    }

    fn value(&self, kind: &Value, word: f64) -> Value {
        if let Some(name) = kind["name"].as_str() {
            return self.schema["names"][name]["values"][word as usize]["name"].clone();
        }
        if kind.get("optional").is_some() {
            return if word < 0.0 { Value::Null } else { self.value(&kind["optional"], word) };
        }
        if kind == "bool" { json!(word != 0.0) } else { json!(word as u64) }
    }

    fn decode(&self, words: &[f64]) -> Value {
        let deadline = match words[0] {
            at if at < 0.0 => Value::Null,
            at => json!({"at": at as u64, "why": self.machine["why"][words[1] as usize]["name"]}),
        };
        let mut effects = Vec::new();
        let mut rest = &words[2..];
        while let Some((tag, after)) = rest.split_first() {
            let variant = &self.machine["effects"]["variants"][*tag as usize];
            let fields = variant["fields"].as_array().unwrap();
            let mut effect = Map::from_iter([("type".to_owned(), variant["name"].clone())]);
            for (field, word) in fields.iter().zip(after) {
                effect.insert(field["name"].as_str().unwrap().into(), self.value(&field["kind"], *word));
            }
            effects.push(Value::Object(effect));
            rest = &after[fields.len()..];
        }
        json!({"effects": effects, "deadline": deadline})
    }
}

/// Replays one file on both paths; returns how many scripts it holds.
fn replay(file: &str) -> usize {
    let mut vectors = read(file);
    let machine = vectors["machine"].as_str().expect("a file names its machine").to_owned();
    let described = Described::new(&machine);
    let scripts = vectors["scripts"].as_array_mut().expect("a file has scripts");
    for script in scripts.iter_mut() {
        let name = format!("{machine}: {}", script["name"].as_str().expect("a script has a name"));
        assert!(!script["rules"].as_array().expect("a script names its rules").is_empty(), "{name}");
        if let Some(expected) = script.get("faults") {
            let faults = match create(&mut Table::default(), &machine, script) {
                Err(CreateError::Faults(faults)) => serde_json::from_str::<Value>(&faults).unwrap(),
                other => panic!("{name}: expected faults, got {other:?}"),
            };
            let faults = faults.as_array().unwrap().iter();
            let short: Value = faults.map(|f| json!({"code": f["code"], "field": f["field"]})).collect();
            if blessing() {
                script["faults"] = short;
            } else {
                assert_eq!(*expected, short, "{name}");
            }
            continue;
        }
        let (mut objects, mut flats) = (Table::default(), Table::default());
        let by_object =
            create(&mut objects, &machine, script).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let by_flat = create(&mut flats, &machine, script).unwrap();
        let mut last = Value::Null;
        for (index, step) in
            script["steps"].as_array_mut().expect("a script has steps").iter_mut().enumerate()
        {
            let answer = object_step(&mut objects, by_object, step);
            let flat = flat_step(&mut flats, by_flat, step, &described, &mut last);
            assert_eq!(answer, flat, "{name}, step {index}: the two paths disagree");
            if blessing() {
                let step = step.as_object_mut().unwrap();
                step.retain(|key, _| matches!(key.as_str(), "at" | "input" | "tick" | "comment"));
                step.extend(answer.as_object().unwrap().clone());
            } else {
                let mut expected = step.clone();
                expected
                    .as_object_mut()
                    .unwrap()
                    .retain(|key, _| matches!(key.as_str(), "effects" | "deadline" | "rejection"));
                assert_eq!(answer, expected, "{name}, step {index}: {step}");
            }
        }
    }
    let count = scripts.len();
    if blessing() {
        fs::write(folder().join(file), layout(&vectors)).unwrap();
    }
    count
}

/// A vector file as people like to read it: one line a step.
fn layout(vectors: &Value) -> String {
    let scripts = vectors["scripts"].as_array().unwrap().iter().map(|script| {
        let mut lines = Vec::new();
        for (key, value) in script.as_object().unwrap() {
            if key == "steps" {
                let steps: Vec<_> =
                    value.as_array().unwrap().iter().map(|step| format!("        {step}")).collect();
                lines.push(format!("      \"steps\": [\n{}\n      ]", steps.join(",\n")));
            } else {
                lines.push(format!("      {}: {value}", json!(key)));
            }
        }
        format!("    {{\n{}\n    }}", lines.join(",\n"))
    });
    let scripts: Vec<_> = scripts.collect();
    format!(
        "{{\n  \"machine\": {},\n  \"scripts\": [\n{}\n  ]\n}}\n",
        vectors["machine"],
        scripts.join(",\n")
    )
}

/// Whether a file was written by the exploration.
fn is_generated(file: &str) -> bool {
    file.starts_with("generated-")
}

/// Replays the files of the index that `chosen` chooses.
fn replay_all(kind: &str, chosen: fn(&str) -> bool) {
    let index = read("index.json");
    let files = index["files"].as_object().expect("the index lists files");
    let mut total = 0;
    for (file, expected) in files.iter().filter(|(file, _)| chosen(file)) {
        let count = replay(file);
        assert!(
            blessing() || json!(count) == *expected,
            "{file} has {count} scripts, and the index says {expected}"
        );
        total += count;
    }
    println!("vectors (rust): {total} {kind} scripts on the object path, {total} on the flat path");
}

#[test]
fn every_hand_written_vector_is_replayed_on_both_paths() {
    replay_all("hand-written", |file| !is_generated(file));
}

#[test]
fn every_generated_vector_is_replayed_on_both_paths() {
    replay_all("generated", is_generated);
}

#[test]
fn every_file_of_vectors_is_in_the_index() {
    let mut index = read("index.json");
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = index["files"].get(&name).is_some() || name == "index.json" || name == "digests.json";
        assert!(known || !name.ends_with(".json"), "vectors/{name} is not in the index");
    }
    if blessing() {
        for (file, count) in index["files"].as_object_mut().expect("the index lists files") {
            *count = json!(read(file)["scripts"].as_array().expect("a file has scripts").len());
        }
        fs::write(folder().join("index.json"), format!("{index:#}\n")).unwrap();
    }
}

#[test]
fn the_digest_of_each_machine_is_the_published_one() {
    let mut digests = read("digests.json");
    for entry in digests.as_array_mut().expect("a list") {
        let machine = entry["machine"].as_str().unwrap().to_owned();
        let (seed, steps) = (entry["seed"].as_u64().unwrap(), entry["steps"].as_u64().unwrap());
        let digest = script::run(&machine, &entry["config"].to_string(), seed, steps as u32).unwrap();
        let digest = format!("{digest:016x}");
        if blessing() {
            entry["digest"] = json!(digest);
        }
        assert_eq!(entry["digest"], digest, "{machine}");
    }
    println!("digests (rust): {}", digests.as_array().map_or(0, Vec::len));
    if blessing() {
        fs::write(folder().join("digests.json"), format!("{digests:#}\n")).unwrap();
    }
}

/// The states of every machine, as its module documents them.
const STATES: &[(&str, &[&str])] = &[
    ("backoff", &["attempting", "idle", "settling", "stable", "waiting"]),
    ("close-policy", &["answering"]),
    ("directory", &["owned", "vacant"]),
    ("drain", &["draining", "forcing", "lame-duck", "releasing", "serving", "starting", "stopped"]),
    (
        "handoff",
        &[
            "acknowledged",
            "capturing",
            "draining",
            "gone",
            "killing",
            "looking",
            "queued",
            "running",
            "settling",
            "spawning",
            "stopping",
            "undoing",
            "waiting-ready",
        ],
    ),
    ("lease", &["active", "allocating", "free", "held", "quarantined", "releasing", "retired"]),
    (
        "lease-holder",
        &["claiming", "confirming", "holding", "idle", "new", "over", "releasing", "resuming", "yielding"],
    ),
    (
        "lifecycle",
        &[
            "claiming",
            "clearing-rows",
            "draining",
            "exited",
            "forcing",
            "idle",
            "initialising",
            "lame-duck",
            "leaving",
            "new",
            "opening-control-door",
            "opening-public-door",
            "releasing",
            "serving",
            "taking-over",
            "undoing",
            "upgrading",
        ],
    ),
    ("peer", &["authorizing", "gone", "idle", "leaving", "registering", "told", "up"]),
    (
        "saga",
        &[
            "committed",
            "fenced",
            "halted",
            "idle",
            "recovering",
            "refused",
            "rolled-back",
            "running",
            "stuck",
            "unwinding",
        ],
    ),
    ("stack", &["idle", "restarting", "starting", "stopped", "stopping", "up"]),
    ("successor", &["cut-off", "ended", "initialising", "loading", "opening", "ready", "serving"]),
    (
        "tunnel",
        &["accepting", "dialing", "idle", "moving", "offline", "preparing", "stopped", "up", "waiting"],
    ),
];

#[test]
fn the_hand_written_vectors_reach_every_state_of_every_machine_and_no_other() {
    let mut reached: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
    let index = read("index.json");
    for file in index["files"].as_object().unwrap().keys().filter(|file| !is_generated(file)) {
        let vectors = read(file);
        let machine = vectors["machine"].as_str().unwrap();
        let states = reached.entry(machine.to_owned()).or_default();
        for script in vectors["scripts"].as_array().unwrap() {
            let mut table = Table::default();
            let Ok(handle) = create(&mut table, machine, script) else { continue };
            states.insert(table.state(handle).unwrap());
            for step in script["steps"].as_array().unwrap() {
                object_step(&mut table, handle, step);
                states.insert(table.state(handle).unwrap());
            }
        }
    }
    for (machine, states) in STATES {
        let reached: Vec<&str> = reached.remove(*machine).into_iter().flatten().collect();
        assert_eq!(reached, *states, "{machine}");
    }
    assert!(reached.is_empty(), "not listed: {reached:?}");
}
