//! Every model at small bounds, the coverage of the machines, and the committed vectors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate_verify::alone::{Alone, AloneWorld};
use tidegate_verify::claim::{Options, prove};
use tidegate_verify::coverage;
use tidegate_verify::explore::{Limits, Model, explore};
use tidegate_verify::machines::{Backoff, Directory, Handoff, Peer, Saga, Successor};
use tidegate_verify::models::{Size, all, allocation, backoff, directory, handoff, peer, successor};
use tidegate_verify::vectors::{self, answered};
use tidegate_verify::world::{Explored, World, replay};

#[test]
fn every_model_holds_at_small_bounds_with_a_witness_for_everything() {
    for entry in all() {
        let claim = (entry.prove)(Size::Small, Options::default());
        println!("{}: {} states, {} transitions", entry.name, claim.states, claim.transitions);
        let faults: Vec<_> =
            claim.faults.iter().map(|fault| format!("{}\n{}", fault.what, fault.script)).collect();
        assert!(faults.is_empty(), "{}: {}", entry.name, faults.join("\n"));
        assert!(claim.complete && claim.states > 0);
    }
}

#[test]
fn a_saga_that_is_recovered_late_routes_to_a_free_gateway_unless_routes_of_ended_leases_are_refused() {
    let world = allocation::Allocation::new(allocation::unfenced());
    let claim = prove("unfenced", "", world, Options::default());
    let found =
        claim.faults.iter().any(|fault| fault.what.contains("L4: no route leads to a gateway that is free"));
    assert!(found, "{:#?}", claim.faults);
}

#[test]
fn the_saga_takes_all_that_it_should_at_small_bounds() {
    let entry = all().into_iter().find(|entry| entry.name == "saga").unwrap();
    let claim = (entry.prove)(Size::Small, Options::default());
    let covered = coverage::of::<Saga>(&[claim]);
    assert!(covered.faults.is_empty(), "{:#?}", covered.faults);
}

/// A way through the graph, replayed on machines whose times and numbers nobody touches, meets the same states.
fn replays<M: Alone>(configs: Vec<M::Config>) {
    let model = Explored(AloneWorld::<M>::new(configs));
    let graph = explore(&model, &Limits::default());
    let mut compared = 0;
    for id in graph.ids().step_by(1 + graph.states() / 300) {
        let (start, steps) = graph.path(id);
        let (actions, states): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
        let replayed = replay(&model.0, &start, &actions);
        assert_eq!(replayed.len(), actions.len());
        for (step, state) in replayed.into_iter().zip(states) {
            assert!(model.0.close(step.whole) == state, "{}: {:?}", M::NAME, step.action);
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn what_stands_for_a_state_behaves_like_it() {
    replays::<Backoff>(backoff::configs());
    replays::<Directory>(directory::configs());
    replays::<Peer>(peer::configs());
    replays::<Handoff>(handoff::configs());
}

#[test]
fn the_same_model_has_the_same_states_on_every_run() {
    let count = |threads| {
        let model = Explored(AloneWorld::<Peer>::new(peer::configs()));
        let graph = explore(&model, &Limits { threads, ..Limits::default() });
        let ids: Vec<_> = graph.ids().step_by(501).map(|id| (id, graph.path(id).1.len())).collect();
        (graph.states(), graph.transitions, graph.cells.clone(), ids)
    };
    assert_eq!(count(1), count(2));
}

#[test]
fn the_committed_vectors_are_those_that_the_graphs_give() {
    // The small machines are generated anew; for all of them the committed answers are the machines' own.
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors");
    let read = |name: &str| {
        std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    fn scripts<M: Alone>(configs: Vec<M::Config>) -> String {
        let world = AloneWorld::<M>::new(configs);
        let claim = prove(M::NAME, "", world, Options { scripts: true, ..Options::default() });
        let scripts: Vec<Value> = claim.scripts.iter().map(|script| answered(script).unwrap()).collect();
        vectors::file(M::NAME, &scripts)
    }
    assert_eq!(scripts::<Backoff>(backoff::configs()), read("generated-backoff.json"));
    assert_eq!(scripts::<Directory>(directory::configs()), read("generated-directory.json"));
    assert_eq!(scripts::<Peer>(peer::configs()), read("generated-peer.json"));
    assert_eq!(scripts::<Handoff>(handoff::configs()), read("generated-handoff.json"));
    assert_eq!(scripts::<Successor>(successor::configs()), read("generated-successor.json"));
    let index: Value = serde_json::from_str(&read("index.json")).unwrap();
    let machines = [
        "backoff",
        "directory",
        "drain",
        "handoff",
        "lease",
        "lease-holder",
        "lifecycle",
        "peer",
        "saga",
        "stack",
        "successor",
        "tunnel",
    ];
    for machine in machines {
        let name = format!("generated-{machine}.json");
        let file: Value = serde_json::from_str(&read(&name)).unwrap();
        assert_eq!(index["files"][&name], file["scripts"].as_array().unwrap().len(), "{name}");
    }
}

#[test]
fn the_generated_scripts_take_every_transition_that_the_graph_takes() {
    let model = Explored(AloneWorld::<Peer>::new(peer::configs()));
    let graph = explore(&model, &Limits::default());
    let cells = model.cells();
    let transitions = model.0.transitions();
    let expected: BTreeSet<_> =
        (0..cells).filter(|cell| graph.cells[*cell].is_some()).map(|cell| transitions[cell]).collect();
    let mut taken = BTreeSet::new();
    for script in vectors::covering(&graph) {
        let mut state = Value::from("idle");
        for step in answered_with_states(&script) {
            let label = step["label"].as_str().unwrap().to_owned();
            taken.insert((state.as_str().unwrap().to_owned(), label, step["to"].as_str().map(str::to_owned)));
            state = step["state"].clone();
        }
    }
    let missing: Vec<_> = expected
        .iter()
        .filter(|t| !taken.contains(&(t.from.to_owned(), t.label.to_owned(), t.to.map(str::to_owned))))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Runs a script and says what each step was and which state it led to.
fn answered_with_states(script: &vectors::Script) -> Vec<Value> {
    use tidegate_boundary::{Case, Table};
    let mut table = Table::default();
    let config = script.body["config"].to_string();
    let handle = table.create_scripted(script.machine, &config, "", 0.0, Case::Camel).unwrap();
    let mut steps = Vec::new();
    for step in script.body["steps"].as_array().unwrap() {
        let at = step["at"].as_f64().unwrap();
        let due: Value = serde_json::from_str(&table.deadline(handle).unwrap()).unwrap();
        let (label, answer) = match step.get("input") {
            Some(input) => (input["type"].clone(), table.handle(handle, at, &input.to_string(), Case::Camel)),
            None => (due["why"].clone(), table.tick(handle, at, Case::Camel)),
        };
        let answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
        let state = table.state(handle).unwrap();
        let to = if answer.get("rejection").is_some() { Value::Null } else { state.into() };
        let fired = step.get("input").is_some() || due["at"].as_f64().is_some_and(|due| due <= at);
        if fired {
            steps.push(serde_json::json!({"label": label, "to": to, "state": state}));
        }
    }
    steps
}
