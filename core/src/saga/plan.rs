//! How the steps of a saga hang together, and whether they can (G1).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Compensation, Config, SagaStep};
use crate::record::checksum;
use crate::{FaultCode, Faults, MAX_DURATION, MAX_TIME, Millis};

/// The most steps of one saga: what one step of the machine can report stays small.
const MOST_STEPS: u64 = 100;
/// The most retries of anything.
const MOST_RETRIES: u64 = 100;

/// What a step is tied to, by index.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Links {
    /// Steps that must be done before it starts.
    pub(super) after: Vec<usize>,
    /// Steps that must be over before its undo starts: all that came after it, and those below.
    pub(super) undo_after: Vec<usize>,
    /// Steps that must be gone for its undo; otherwise it takes its fallback (G6).
    pub(super) requires: Vec<usize>,
    /// Whether it can never be undone: the pivot, and what comes after it.
    pub(super) forward_only: bool,
}

/// A config by index. Derived from it, never stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Plan {
    pub(super) links: Vec<Links>,
    pub(super) pivot: Option<usize>,
    /// Names the graph, so that a journal is never continued with another one. Limits and retries are not in
    /// it: they may be tuned while sagas are under way.
    pub(super) definition: u64,
}

impl Plan {
    /// The plan of a config that was checked; names that do not exist are left out.
    pub(super) fn of(config: &Config) -> Self {
        let steps = &config.steps;
        let after = by_index(steps, |step| &step.after);
        let requires = by_index(steps, |step| &step.undo_requires);
        let undo_after = undo_edges(&after, &requires);
        let pivot = steps.iter().position(|step| step.compensation == Compensation::Pivot);
        let behind = pivot.map(|pivot| reached(&inverse(&after), pivot)).unwrap_or_default();
        let links = after.into_iter().zip(requires).zip(undo_after).enumerate();
        let links = links.map(|(index, ((after, requires), undo_after))| Links {
            after,
            undo_after,
            requires,
            forward_only: pivot == Some(index) || behind.contains(&index),
        });
        Self { links: links.collect(), pivot, definition: definition(config) }
    }
}

/// Lists of names as lists of indices.
fn by_index(steps: &[SagaStep], names: impl Fn(&SagaStep) -> &Vec<String>) -> Vec<Vec<usize>> {
    let find = |name: &String| steps.iter().position(|step| step.name == *name);
    steps.iter().map(|step| names(step).iter().filter_map(find).collect()).collect()
}

fn inverse(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let to = |target: usize| {
        let from = edges.iter().enumerate().filter(move |(_, targets)| targets.contains(&target));
        from.map(|(index, _)| index).collect()
    };
    (0..edges.len()).map(to).collect()
}

/// Undo waits for the undos of all that came after (G5), behind steps that have none too, and for those that it
/// requires.
fn undo_edges(after: &[Vec<usize>], requires: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let before = inverse(after);
    let mut edges: Vec<_> = (0..before.len()).map(|step| reached(&before, step)).collect();
    for (edges, requires) in edges.iter_mut().zip(requires) {
        for required in requires {
            if !edges.contains(required) {
                edges.push(*required);
            }
        }
    }
    edges
}

/// Everything that can be reached from `start`, without it.
fn reached(edges: &[Vec<usize>], start: usize) -> Vec<usize> {
    let mut found = Vec::new();
    let mut next = alloc::vec![start];
    while let Some(node) = next.pop() {
        for target in edges.get(node).into_iter().flatten() {
            if !found.contains(target) {
                found.push(*target);
                next.push(*target);
            }
        }
    }
    found
}

/// A cycle, its first node repeated at the end; none when there is none.
fn cycle(edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut finished = Vec::new();
    (0..edges.len()).find_map(|start| follow(edges, start, &mut Vec::new(), &mut finished))
}

fn follow(
    edges: &[Vec<usize>],
    node: usize,
    path: &mut Vec<usize>,
    finished: &mut Vec<usize>,
) -> Option<Vec<usize>> {
    if let Some(from) = path.iter().position(|earlier| *earlier == node) {
        let mut cycle: Vec<_> = path.iter().skip(from).copied().collect();
        cycle.push(node);
        return Some(cycle);
    }
    if finished.contains(&node) {
        return None;
    }
    path.push(node);
    let found = edges.get(node).into_iter().flatten().find_map(|next| follow(edges, *next, path, finished));
    path.pop();
    finished.push(node);
    found
}

/// FNV-1a over what decides the order and the meaning of records, cut to what crosses as a number.
fn definition(config: &Config) -> u64 {
    let mut text = Vec::new();
    let mut word = |word: &str| {
        text.extend_from_slice(word.as_bytes());
        text.push(0);
    };
    for step in &config.steps {
        word(&step.name);
        word(crate::Name::as_str(step.compensation));
        word(if step.fallback { "fallback" } else { "" });
        step.after.iter().for_each(|name| word(name));
        word("undo requires");
        step.undo_requires.iter().for_each(|name| word(name));
        word("");
    }
    checksum(&text) & MAX_TIME
}

/// G1: every fault of a config.
pub(super) fn check(config: &Config, faults: &mut Faults) {
    let steps = &config.steps;
    let count = u64::try_from(steps.len()).unwrap_or(u64::MAX);
    faults.range("steps", count, 1, MOST_STEPS, " steps");
    faults.duration("rollback_deadline", config.rollback_deadline, 1);
    faults.duration("append_limit", config.append_limit, 1);
    for (index, step) in steps.iter().enumerate() {
        faults.inside(&format!("steps.{index}"), |faults| check_step(config, index, step, faults));
    }
    if count <= MOST_STEPS {
        check_graph(steps, faults);
    }
}

fn check_step(config: &Config, index: usize, step: &SagaStep, faults: &mut Faults) {
    let name = &step.name;
    if name.is_empty() {
        faults.add(FaultCode::BadName, "name", "is empty; give the step a name");
    } else if config.steps.iter().take(index).any(|earlier| earlier.name == *name) {
        let message = format!("is `{name}` like an earlier step's; names must differ");
        faults.add(FaultCode::BadName, "name", message);
    }
    check_names(config, step, "after", &step.after, faults);
    faults.range("retries", u64::from(step.retries), 0, MOST_RETRIES, "");
    faults.inside("backoff", |faults| step.backoff.check(faults));
    faults.duration("limit", step.limit, 1);
    faults.range("undo_retries", u64::from(step.undo_retries), 0, MOST_RETRIES, "");
    faults.duration("undo_limit", step.undo_limit, 1);
    check_names(config, step, "undo_requires", &step.undo_requires, faults);
    let undone = step.compensation == Compensation::Undo;
    if !undone && (!step.undo_requires.is_empty() || step.fallback) {
        let field = if step.fallback { "fallback" } else { "undo_requires" };
        let message = format!("is set, but `{name}` has no undo: clear it, or set `compensation` to `undo`");
        faults.add(FaultCode::Contradiction, field, message);
    } else if step.fallback && step.undo_requires.is_empty() {
        let message = "is set, but nothing could call for it: name the undos that this one requires";
        faults.add(FaultCode::Contradiction, "fallback", message);
    }
    for required in &step.undo_requires {
        let found = config.steps.iter().find(|other| other.name == *required);
        if found.is_some_and(|other| other.compensation != Compensation::Undo) {
            let message = format!("names `{required}`, which has no undo that could succeed");
            faults.add(FaultCode::Contradiction, "undo_requires", message);
        }
    }
    faults.duration("verify_limit", step.verify_limit, 1);
    if let Some(lateness) = step.lateness {
        faults.duration("lateness", lateness, 0);
        if !step.verify {
            let message = "is set, but `verify` is not: what lands late can only be found by a probe (G3)";
            faults.add(FaultCode::Contradiction, "lateness", message);
        }
    }
    check_rollback_deadline(config, step, faults);
}

fn check_names(config: &Config, step: &SagaStep, field: &str, names: &[String], faults: &mut Faults) {
    for (index, name) in names.iter().enumerate() {
        if *name == step.name {
            faults.add(FaultCode::BadName, field, format!("names `{name}`, which is the step itself"));
        } else if !config.steps.iter().any(|other| other.name == *name) {
            faults.add(FaultCode::BadName, field, format!("names `{name}`, which is no step of this saga"));
        } else if names.iter().take(index).any(|earlier| earlier == name) {
            faults.add(FaultCode::BadName, field, format!("names `{name}` twice"));
        }
    }
}

/// G7: the undo of any one step of unknown outcome must fit into the deadline.
fn check_rollback_deadline(config: &Config, step: &SagaStep, faults: &mut Faults) {
    if step.compensation != Compensation::Undo {
        return;
    }
    let SagaStep { limit, undo_limit, .. } = *step;
    let lateness = step.lateness.unwrap_or(0);
    let verify_limit = if step.verify { step.verify_limit } else { 0 };
    let needed = [limit, lateness, undo_limit, verify_limit].into_iter().fold(0, Millis::saturating_add);
    if needed > config.rollback_deadline && config.rollback_deadline <= MAX_DURATION {
        let message = format!(
            "is {limit} ms; with lateness {lateness} + undo {undo_limit} + verify {verify_limit} the undo of an \
             unknown outcome takes {needed} ms, beyond `rollback_deadline` ({} ms)",
            config.rollback_deadline
        );
        faults.add(FaultCode::OverBudget, "limit", message);
    }
}

fn check_graph(steps: &[SagaStep], faults: &mut Faults) {
    let path = |nodes: &[usize]| {
        let names = nodes.iter().filter_map(|index| steps.get(*index)).map(|step| step.name.as_str());
        names.collect::<Vec<_>>().join(" -> ")
    };
    let mut after = by_index(steps, |step| &step.after);
    // A step that names itself has its own fault.
    after.iter_mut().enumerate().for_each(|(index, edges)| edges.retain(|edge| *edge != index));
    if let Some(nodes) = cycle(&after) {
        let message = format!("wait for each other: {}", path(&nodes));
        faults.add(FaultCode::Contradiction, "steps", message);
        return;
    }
    let mut requires = by_index(steps, |step| &step.undo_requires);
    requires.iter_mut().enumerate().for_each(|(index, edges)| edges.retain(|edge| *edge != index));
    if let Some(nodes) = cycle(&undo_edges(&after, &requires)) {
        let message = format!("have undos that wait for each other: {}", path(&nodes));
        faults.add(FaultCode::Contradiction, "steps", message);
    }
    check_pivot(steps, &after, faults);
}

/// After the pivot there is only forward: so it cannot run beside a step that may still fail, there is one at most,
/// and no undo waits behind it.
fn check_pivot(steps: &[SagaStep], after: &[Vec<usize>], faults: &mut Faults) {
    let pivots = steps.iter().enumerate().filter(|(_, step)| step.compensation == Compensation::Pivot);
    let mut pivots = pivots.map(|(index, _)| index);
    let Some(pivot) = pivots.next() else { return };
    for second in pivots {
        let message = "is `pivot` like an earlier step's: a saga has one point of no return";
        faults.add(FaultCode::Contradiction, &format!("steps.{second}.compensation"), message);
    }
    let name = steps.get(pivot).map_or("", |step| &step.name);
    let before = reached(after, pivot);
    let behind = reached(&inverse(after), pivot);
    for (index, step) in steps.iter().enumerate() {
        let field = format!("steps.{index}.after");
        if behind.contains(&index) && step.compensation == Compensation::Undo {
            let message = format!("is `undo`, but after the pivot `{name}` nothing is undone: use `nothing`");
            faults.add(FaultCode::Contradiction, &format!("steps.{index}.compensation"), message);
        } else if index != pivot && !before.contains(&index) && !behind.contains(&index) {
            let message = format!(
                "leaves `{}` beside the pivot `{name}`, where it could fail when nothing can be undone any more: \
                 put one after the other",
                step.name
            );
            faults.add(FaultCode::Contradiction, &field, message);
        }
    }
}
