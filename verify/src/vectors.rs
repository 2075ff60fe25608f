//! Scripts in the form of `vectors/`: counterexamples, and a set that takes every transition of a machine.

use std::collections::BTreeMap;

use rustc_hash::FxBuildHasher;
use serde_json::{Map, Value, json};
use tidegate::{Draw, FieldKind, NONE, Variant};
use tidegate_boundary::{Case, Table};

use crate::explore::{Graph, Id, Model, Watch};
use crate::world::{Call, Explored, Happening, Replayed, World, replay};

/// One script of one machine.
#[derive(Debug, Clone)]
pub struct Script {
    /// The machine.
    pub machine: &'static str,
    /// The script as it stands in a file, but for the answers.
    pub body: Value,
}

/// What the vectors need to know about a machine of a world.
#[derive(Debug, Clone)]
pub struct Described {
    /// Its kind and its place among those of its kind.
    pub who: (&'static str, usize),
    /// Its config.
    pub config: Value,
    /// Its inputs.
    pub inputs: &'static [Variant],
}

/// The scripts of each machine in a replay.
pub fn of<W: World>(world: &W, name: &str, steps: &[Replayed<W>]) -> Vec<Script> {
    let Some(last) = steps.last() else { return Vec::new() };
    world
        .describe(&last.whole)
        .into_iter()
        .filter_map(|machine| script(&machine, name, &["P"], steps))
        .collect()
}

fn script<W: World>(
    machine: &Described,
    name: &str,
    rules: &[&str],
    steps: &[Replayed<W>],
) -> Option<Script> {
    let mut calls = Vec::new();
    let mut draws = Vec::new();
    for step in steps {
        for call in step.calls.iter().filter(|call| call.who == machine.who) {
            calls.push(written(call, machine.inputs));
            draws.extend(call.draws.iter().map(|draw| match draw {
                Draw::Min => "min",
                Draw::Mid => "mid",
                Draw::Max => "max",
            }));
        }
    }
    let body = json!({
        "name": name,
        "rules": rules,
        "config": machine.config,
        "draws": draws,
        "start": 0,
        "steps": calls,
    });
    (!calls.is_empty()).then_some(Script { machine: machine.who.0, body })
}

fn written(call: &Call, inputs: &[Variant]) -> Value {
    let Some((tag, words)) = &call.input else { return json!({"at": call.at, "tick": true}) };
    let Some(variant) = inputs.get(usize::from(*tag)) else { return Value::Null };
    let mut input = Map::from_iter([("type".to_owned(), variant.name.into())]);
    for (field, word) in variant.fields.iter().zip(words) {
        input.insert(Case::Camel.outward(field.name), value(&field.kind, *word));
    }
    json!({"at": call.at, "input": input})
}

fn value(kind: &FieldKind, word: u64) -> Value {
    match kind {
        FieldKind::Optional(_) if word == NONE => Value::Null,
        FieldKind::Optional(inner) => value(inner, word),
        FieldKind::Bool => (word != 0).into(),
        FieldKind::Name(names) => {
            names.values.get(word as usize).map_or(Value::Null, |(name, _)| (*name).into())
        }
        FieldKind::Integer(_) | FieldKind::Text | FieldKind::List(_) | FieldKind::Group(_) => word.into(),
    }
}

/// The script with its answers, as the machine gives them over the boundary.
///
/// # Errors
/// A sentence, when the machine cannot be made or does not understand a step.
pub fn answered(script: &Script) -> Result<Value, String> {
    let mut body = script.body.clone();
    let mut table = Table::default();
    let draws: Vec<&str> = body["draws"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let handle = table
        .create_scripted(script.machine, &body["config"].to_string(), &draws.join(","), 0.0, Case::Camel)
        .map_err(|error| format!("{error:?}"))?;
    for step in body["steps"].as_array_mut().into_iter().flatten() {
        let at = step["at"].as_f64().unwrap_or(0.0);
        let answer = match step.get("input") {
            Some(input) => table.handle(handle, at, &input.to_string(), Case::Camel),
            None => table.tick(handle, at, Case::Camel),
        }
        .map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
        let answer = match answer.get("rejection") {
            Some(rejection) => json!({"rejection": {"code": rejection["code"]}}),
            None => answer,
        };
        if let (Some(step), Some(answer)) = (step.as_object_mut(), answer.as_object()) {
            step.extend(answer.clone());
        }
    }
    Ok(body)
}

/// The most steps of a script that goes on after what it was made for.
const LONG: usize = 60;
/// How many states are looked at for the next transition that no script takes yet.
const SEARCH: usize = 2_000;

/// Scripts that take every transition that a graph took, few and short: the farthest transitions first, as the way to
/// them takes many others. Each then goes on to the nearest one that is still missing, while there is one near.
pub fn covering<W: World>(graph: &Graph<'_, Explored<W>>) -> Vec<Script> {
    let mut wanted: Vec<(usize, usize, Id, u16)> = Vec::new();
    for (cell, first) in graph.cells.iter().enumerate() {
        if let Some((from, place)) = first {
            wanted.push((graph.distance(*from), cell, *from, *place));
        }
    }
    wanted.sort_unstable_by_key(|(distance, cell, ..)| (std::cmp::Reverse(*distance), *cell));
    let mut tour = Tour { model: graph.model, done: vec![false; graph.cells.len()] };
    let transitions = graph.model.0.transitions();
    let mut scripts = Vec::new();
    for (_, cell, from, place) in wanted {
        if tour.done[cell] {
            continue;
        }
        let (start, steps) = graph.path(from);
        let mut at = start.clone();
        let mut actions = Vec::new();
        for (action, state) in steps.into_iter().chain(graph.successor(from, place)) {
            tour.take(&at, &state, &action);
            actions.push(action);
            at = state;
        }
        tour.done[cell] = true;
        while actions.len() < LONG
            && let Some(way) = tour.nearest(&at)
        {
            for (action, state) in way {
                tour.take(&at, &state, &action);
                actions.push(action);
                at = state;
            }
        }
        let replayed = replay(&graph.model.0, &start, &actions);
        let (Some(end), Some(transition)) = (replayed.last(), transitions.get(cell)) else { continue };
        let what = match (transition.timer, transition.to) {
            (true, Some(to)) => format!("{}: timer {} leads to {to}", transition.from, transition.label),
            (_, Some(to)) => format!("{}: {} leads to {to}", transition.from, transition.label),
            (_, None) => format!("{}: {} is refused", transition.from, transition.label),
        };
        for machine in graph.model.0.describe(&end.whole) {
            scripts.extend(script(&machine, &what, &["transition"], &replayed));
        }
    }
    scripts
}

type Way<W> = Vec<(Happening<<W as World>::Action>, <W as World>::State)>;

/// A state, and by which action it was reached from which other one.
type Came<W> = (<W as World>::State, Option<(usize, Happening<<W as World>::Action>)>);

/// Which transitions the scripts so far take.
struct Tour<'m, W: World> {
    model: &'m Explored<W>,
    done: Vec<bool>,
}

impl<W: World> Tour<'_, W> {
    /// Notes what a step takes.
    fn take(&mut self, from: &W::State, to: &W::State, action: &Happening<W::Action>) {
        let mut next = Vec::new();
        let mut watch = Watch::idle(self.model);
        self.model.successors(from, &mut watch, &mut next);
        let same = |(known, state): &(Happening<W::Action>, W::State)| {
            known.place == action.place && known.draws == action.draws && state == to
        };
        if let Some(place) = next.iter().position(same) {
            for (cell, _) in watch.places().filter(|(_, at)| *at == place) {
                self.done[cell] = true;
            }
        }
    }

    /// A shortest way to a transition that is still missing, within bounds.
    fn nearest(&self, start: &W::State) -> Option<Way<W>> {
        let mut came: Vec<Came<W>> = vec![(start.clone(), None)];
        let mut known = hashbrown::HashSet::with_hasher(FxBuildHasher);
        known.insert(start.clone());
        let mut at = 0;
        while at < came.len() && at < SEARCH {
            let state = came[at].0.clone();
            let mut next = Vec::new();
            let mut watch = Watch::idle(self.model);
            self.model.successors(&state, &mut watch, &mut next);
            let missing = watch.places().filter(|(cell, _)| !self.done[*cell]).map(|(_, place)| place).min();
            if let Some(place) = missing.filter(|place| *place < next.len()) {
                let mut way = vec![next.swap_remove(place)];
                let mut back = at;
                while let (state, Some((before, action))) = &came[back] {
                    way.push((action.clone(), state.clone()));
                    back = *before;
                }
                way.reverse();
                return Some(way);
            }
            for (action, state) in next {
                if known.insert(state.clone()) {
                    came.push((state, Some((at, action))));
                }
            }
            at += 1;
        }
        None
    }
}

/// A file of scripts, one line a step, as people like to read it.
#[must_use]
pub fn file(machine: &str, scripts: &[Value]) -> String {
    let scripts: Vec<String> = scripts
        .iter()
        .map(|script| {
            let mut lines = Vec::new();
            for (key, value) in script.as_object().into_iter().flatten() {
                if key == "steps" {
                    let steps: Vec<String> = value
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(|step| format!("        {step}"))
                        .collect();
                    lines.push(format!("      \"steps\": [\n{}\n      ]", steps.join(",\n")));
                } else {
                    lines.push(format!("      {}: {value}", json!(key)));
                }
            }
            format!("    {{\n{}\n    }}", lines.join(",\n"))
        })
        .collect();
    format!("{{\n  \"machine\": {},\n  \"scripts\": [\n{}\n  ]\n}}\n", json!(machine), scripts.join(",\n"))
}

/// Scripts by machine.
#[must_use]
pub fn by_machine(scripts: &[Script]) -> BTreeMap<&'static str, Vec<&Script>> {
    let mut by = BTreeMap::<_, Vec<_>>::new();
    for script in scripts {
        by.entry(script.machine).or_default().push(script);
    }
    by
}
