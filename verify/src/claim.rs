//! What was proved about one model: the row of the claim, and the counterexamples if there are any.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::explore::{Graph, Id, Limits, Model, Violation, explore};
use crate::liveness::{Lasso, Ways};
use crate::vectors::{self, Script};
use crate::world::{Explored, Happening, Replayed, Transition, World, replay};

/// What was found out about one model.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The model.
    pub model: &'static str,
    /// Its exact bounds.
    pub bounds: String,
    /// How many states there are.
    pub states: u64,
    /// How many transitions.
    pub transitions: u64,
    /// How far the farthest state is.
    pub depth: usize,
    /// Whether everything was seen.
    pub complete: bool,
    /// The safety properties, each with how often it was put to the test.
    pub safety: Vec<(&'static str, u64)>,
    /// The liveness properties, each with how many states it starts from.
    pub liveness: Vec<(&'static str, u64)>,
    /// What is wrong: a violation with its script, a property without a witness, a frontier that is not empty.
    pub faults: Vec<Fault>,
    /// How long the search took, and the checks of liveness.
    pub took: (Duration, Duration),
    /// The transitions of machines that were taken.
    pub taken: Vec<Transition>,
    /// Of a machine alone: scripts that take every transition.
    pub scripts: Vec<Script>,
}

/// Something wrong.
#[derive(Debug, Clone)]
pub struct Fault {
    /// In one line.
    pub what: String,
    /// How to get there, for people.
    pub script: String,
    /// How to get there, as scripts of single machines, in the form of `vectors/`.
    pub vectors: Vec<Script>,
}

impl Fault {
    /// One that needs no script.
    #[must_use]
    pub fn plain(what: String) -> Self {
        Self { what, script: String::new(), vectors: Vec::new() }
    }
}

/// How to run a model.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many threads.
    pub threads: usize,
    /// The most states.
    pub states: usize,
    /// Whether scripts are wanted that take every transition.
    pub scripts: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { threads: 2, states: 40_000_000, scripts: false }
    }
}

/// Explores a world and checks everything that it claims.
pub fn prove<W: World>(model: &'static str, bounds: &str, world: W, options: Options) -> Claim {
    let explored = Explored(world);
    let properties = explored.liveness();
    let limits =
        Limits { states: options.states, threads: options.threads, keep_edges: !properties.is_empty() };
    let graph = explore(&explored, &limits);
    let mut claim = Claim {
        model,
        bounds: bounds.to_owned(),
        states: graph.states() as u64,
        transitions: graph.transitions,
        depth: graph.depth,
        complete: graph.complete,
        safety: graph.witnesses.clone(),
        liveness: Vec::new(),
        faults: Vec::new(),
        took: (graph.took, Duration::ZERO),
        taken: taken(&graph),
        scripts: Vec::new(),
    };
    for violation in &graph.violations {
        claim.faults.push(describe(&graph, violation));
    }
    if !graph.violations.is_empty() {
        return claim;
    }
    if !graph.complete {
        let left = format!("stopped at {} states with states left to look at", claim.states);
        claim.faults.push(Fault::plain(left));
        return claim;
    }
    let start = Instant::now();
    if !properties.is_empty() {
        let ways = Ways::of(&graph);
        for property in &properties {
            let answer = ways.check(property);
            claim.liveness.push((answer.name, answer.starts));
            if let Some(lasso) = answer.violation {
                claim.faults.push(never(&graph, answer.name, &lasso));
            }
        }
    }
    claim.took.1 = start.elapsed();
    for (property, witnesses) in claim.safety.iter().chain(&claim.liveness) {
        if *witnesses == 0 {
            claim.faults.push(Fault::plain(format!("`{property}` was never put to the test: no witness")));
        }
    }
    if options.scripts {
        claim.scripts = vectors::covering(&graph);
    }
    claim
}

/// The transitions of machines that a graph took.
fn taken<W: World>(graph: &Graph<'_, Explored<W>>) -> Vec<Transition> {
    let transitions = graph.model.0.transitions();
    let taken = transitions.into_iter().zip(&graph.cells);
    taken.filter(|(_, cell)| cell.is_some()).map(|(transition, _)| transition).collect()
}

fn describe<W: World>(graph: &Graph<'_, Explored<W>>, violation: &Violation) -> Fault {
    let (start, steps) = graph.way_to(violation);
    let actions: Vec<Happening<W::Action>> = steps.into_iter().map(|(action, _)| action).collect();
    let replayed = replay(&graph.model.0, &start, &actions);
    let what = format!("violated after {} steps: {}", actions.len(), violation.property);
    let name = format!("counterexample: {}", violation.property);
    Fault {
        script: told(&graph.model.0, &replayed),
        vectors: vectors::of(&graph.model.0, &name, &replayed),
        what,
    }
}

fn never<W: World>(graph: &Graph<'_, Explored<W>>, property: &str, lasso: &Lasso) -> Fault {
    let (start, steps) = graph.path(lasso.start);
    let mut actions: Vec<Happening<W::Action>> = steps.into_iter().map(|(action, _)| action).collect();
    let asked = actions.len();
    let step = |(from, place): &(Id, u16)| graph.successor(*from, *place).map(|(action, _)| action);
    actions.extend(lasso.way.iter().filter_map(step));
    let before = actions.len();
    actions.extend(lasso.around.iter().filter_map(step));
    let replayed = replay(&graph.model.0, &start, &actions);
    let how = if lasso.around.is_empty() {
        "and there it ends".to_owned()
    } else {
        let around = lasso.around.len();
        format!("and from there round for ever ({around} steps, in {} states)", lasso.component)
    };
    Fault {
        what: format!("never: {property}: asked for after {asked} steps, not there after {before}, {how}"),
        script: told(&graph.model.0, &replayed),
        vectors: vectors::of(&graph.model.0, &format!("counterexample: {property}"), &replayed),
    }
}

/// A replay, for people.
fn told<W: World>(world: &W, steps: &[Replayed<W>]) -> String {
    let mut text = String::new();
    for (number, step) in steps.iter().enumerate() {
        let _ = writeln!(text, "  {:>3}. {:?}", number + 1, step.action);
        for call in &step.calls {
            let (kind, which) = call.who;
            let _ = writeln!(text, "         {kind} {which} at {}: {}", call.at, call.text);
            let _ = writeln!(text, "           {} ({})", call.answer, call.state);
        }
        let _ = writeln!(text, "         → {}", world.show(&step.whole));
    }
    text
}

impl Claim {
    /// States a second.
    #[must_use]
    pub fn pace(&self) -> u64 {
        let seconds = self.took.0.as_secs_f64();
        if seconds > 0.0 { (self.states as f64 / seconds) as u64 } else { 0 }
    }

    /// The row as data.
    #[must_use]
    pub fn json(&self) -> Value {
        let named = |list: &[(&'static str, u64)]| -> Value {
            list.iter().map(|(name, count)| json!({"property": name, "witnesses": count})).collect()
        };
        let machines: BTreeSet<&str> = self.taken.iter().map(|transition| transition.machine).collect();
        json!({
            "model": self.model,
            "machines": machines,
            "bounds": self.bounds,
            "states": self.states,
            "transitions": self.transitions,
            "depth": self.depth,
            "frontierEmpty": self.complete,
            "safety": named(&self.safety),
            "liveness": named(&self.liveness),
            "faults": self.faults.iter().map(|fault| fault.what.as_str()).collect::<Vec<_>>(),
            "searchSeconds": self.took.0.as_secs_f64(),
            "livenessSeconds": self.took.1.as_secs_f64(),
            "statesPerSecond": self.pace(),
        })
    }
}

/// The states and transitions of an explored world: as Graphviz reads them, and as data.
#[must_use]
pub fn drawing<W: World>(world: W, options: Options) -> (String, Value) {
    let explored = Explored(world);
    let limits = Limits { states: options.states, threads: options.threads, keep_edges: true };
    let graph = explore(&explored, &limits);
    let world = &explored.0;
    let mut dot = String::from("digraph states {\n  node [shape=box, fontname=\"monospace\"];\n");
    let mut nodes = Vec::new();
    for id in graph.ids() {
        let label = world.show(&world.open(graph.state(id)));
        let _ = writeln!(dot, "  {id} [label={}];", Value::from(label.as_str()));
        nodes.push(json!({"id": id, "state": label}));
    }
    let mut edges = Vec::new();
    let mut next = Vec::new();
    for from in graph.ids() {
        next.clear();
        explored.successors(graph.state(from), &mut crate::explore::Watch::idle(&explored), &mut next);
        let mut own: Vec<_> = graph.edges.iter().filter(|edge| edge.from == from).collect();
        own.sort_unstable_by_key(|edge| edge.place);
        for edge in own {
            let Some((action, _)) = next.get(usize::from(edge.place)) else { continue };
            let label = format!("{action:?}");
            let _ = writeln!(dot, "  {from} -> {} [label={}];", edge.to, Value::from(label.as_str()));
            edges.push(json!({"from": from, "to": edge.to, "action": label}));
        }
    }
    dot.push_str("}\n");
    (dot, json!({"complete": graph.complete, "states": nodes, "transitions": edges}))
}
