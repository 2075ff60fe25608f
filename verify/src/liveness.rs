//! Liveness: "what starts is finished", over the whole graph, by strongly connected components.
//!
//! *P leads to Q* is violated by a path from a state of P that never meets Q and never has to: it ends in a state
//! with no way on, or it goes round for ever in a component without Q that fairness allows to be stayed in. An
//! action that is *weakly fair* is taken if it stays possible; one that is *strongly fair* is taken if it is
//! possible again and again. Everything else may be put off for ever: losing messages, crashing, doing nothing.

use crate::explore::{Edge, Graph, Id, Model, NO_CLASS};

/// Which classes of actions are fair, as sets of bits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fairness {
    /// Taken if possible without interruption.
    pub weak: u64,
    /// Taken if possible again and again.
    pub strong: u64,
}

/// Wherever `concerns` holds, `goal` holds then or later.
pub struct LeadsTo<M: Model> {
    /// Its name, with the rule that it belongs to.
    pub name: &'static str,
    /// The start: it must be reached somewhere.
    pub concerns: fn(&M::State) -> bool,
    /// What must follow.
    pub goal: fn(&M::State) -> bool,
}

/// What a check found.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Which property.
    pub name: &'static str,
    /// How many states it starts from: its witnesses.
    pub starts: u64,
    /// A state from which the goal need never come: it ends there, or goes round within `around`.
    pub violation: Option<(Id, Vec<Id>)>,
}

/// Checks one property on an explored graph whose edges were kept.
pub fn check<M: Model>(graph: &Graph<'_, M>, property: &LeadsTo<M>, fairness: Fairness) -> Answer {
    let ways = Ways::of(graph);
    let mut inside = vec![false; ways.ids.len()];
    let mut open = Vec::new();
    let mut starts = 0;
    let goal: Vec<bool> = ways.ids.iter().map(|&id| (property.goal)(graph.state(id))).collect();
    for (at, &id) in ways.ids.iter().enumerate() {
        if (property.concerns)(graph.state(id)) {
            starts += 1;
            if !goal[at] && !inside[at] {
                inside[at] = true;
                open.push(at);
            }
        }
    }
    while let Some(at) = open.pop() {
        for edge in ways.from(at) {
            let to = edge.to as usize;
            if !goal[to] && !inside[to] {
                inside[to] = true;
                open.push(to);
            }
        }
    }
    let region: Vec<usize> = (0..inside.len()).filter(|&at| inside[at]).collect();
    let violation = ways.stays(&region, &mut inside, fairness);
    let violation = violation.map(|around| {
        let around: Vec<Id> = around.into_iter().map(|at| ways.ids[at]).collect();
        (around[0], around)
    });
    Answer { name: property.name, starts, violation }
}

/// The graph with states numbered without gaps and edges sorted by origin.
struct Ways {
    ids: Vec<Id>,
    first: Vec<usize>,
    edges: Vec<Edge>,
}

impl Ways {
    fn of<M: Model>(graph: &Graph<'_, M>) -> Self {
        let mut ids: Vec<Id> = graph.ids().collect();
        ids.sort_unstable();
        let place = |id: Id| ids.binary_search(&id).unwrap_or_default() as u32;
        let mut edges: Vec<Edge> = graph
            .edges
            .iter()
            .map(|edge| Edge { from: place(edge.from), to: place(edge.to), ..*edge })
            .collect();
        edges.sort_unstable_by_key(|edge| (edge.from, edge.action));
        let mut first = vec![0; ids.len() + 1];
        for edge in &edges {
            first[edge.from as usize + 1] += 1;
        }
        for at in 1..first.len() {
            first[at] += first[at - 1];
        }
        Self { ids, first, edges }
    }

    fn from(&self, at: usize) -> &[Edge] {
        &self.edges[self.first[at]..self.first[at + 1]]
    }

    /// The states of a component within `region` that a fair run may stay in for ever, or of a dead end.
    fn stays(&self, region: &[usize], inside: &mut [bool], fairness: Fairness) -> Option<Vec<usize>> {
        if let Some(end) = region.iter().find(|at| self.from(**at).is_empty()) {
            return Some(vec![*end]);
        }
        for component in self.components(region, inside) {
            let set: std::collections::BTreeSet<usize> = component.iter().copied().collect();
            let within = |edge: &Edge| set.contains(&(edge.to as usize));
            let goes_round = component.len() > 1 || self.from(component[0]).iter().any(within);
            if !goes_round {
                continue;
            }
            let (mut taken, mut sometimes, mut always) = (0u64, 0u64, u64::MAX);
            for &at in &component {
                let mut possible = 0u64;
                for edge in self.from(at) {
                    if edge.class != NO_CLASS {
                        possible |= 1 << edge.class;
                        taken |= u64::from(within(edge)) << edge.class;
                    }
                }
                sometimes |= possible;
                always &= possible;
            }
            if fairness.weak & always & !taken != 0 {
                continue;
            }
            let starved = fairness.strong & sometimes & !taken;
            if starved == 0 {
                return Some(component);
            }
            // A strongly fair action leads out of some of these states: a run that stays must avoid them.
            let classes = |at: usize| {
                let bit = |edge: &Edge| if edge.class == NO_CLASS { 0 } else { 1u64 << edge.class };
                self.from(at).iter().fold(0, |all, edge| all | bit(edge))
            };
            let rest: Vec<usize> = component.iter().copied().filter(|&at| classes(at) & starved == 0).collect();
            let mut only = vec![false; inside.len()];
            rest.iter().for_each(|&at| only[at] = true);
            if !rest.is_empty()
                && let Some(found) = self.stays(&rest, &mut only, fairness)
            {
                return Some(found);
            }
        }
        None
    }

    /// The strongly connected components of the states that are `inside` (Tarjan 1972, without recursion).
    fn components(&self, region: &[usize], inside: &[bool]) -> Vec<Vec<usize>> {
        const UNSEEN: u32 = u32::MAX;
        let mut order = vec![UNSEEN; self.ids.len()];
        let mut low = vec![0u32; self.ids.len()];
        let mut on_stack = vec![false; self.ids.len()];
        let (mut stack, mut calls, mut components) = (Vec::new(), Vec::new(), Vec::new());
        let mut count = 0;
        for &root in region {
            if order[root] != UNSEEN {
                continue;
            }
            calls.push((root, 0));
            while let Some((at, next)) = calls.pop() {
                if next == 0 {
                    order[at] = count;
                    low[at] = count;
                    count += 1;
                    stack.push(at);
                    on_stack[at] = true;
                }
                let edges = self.from(at);
                let mut descend = None;
                for (offset, edge) in edges.iter().enumerate().skip(next) {
                    let to = edge.to as usize;
                    if !inside[to] {
                        continue;
                    }
                    if order[to] == UNSEEN {
                        descend = Some((offset, to));
                        break;
                    }
                    if on_stack[to] {
                        low[at] = low[at].min(order[to]);
                    }
                }
                if let Some((offset, to)) = descend {
                    calls.push((at, offset + 1));
                    calls.push((to, 0));
                    continue;
                }
                if low[at] == order[at] {
                    let mut component = Vec::new();
                    while let Some(member) = stack.pop() {
                        on_stack[member] = false;
                        component.push(member);
                        if member == at {
                            break;
                        }
                    }
                    components.push(component);
                }
                if let Some(&mut (parent, _)) = calls.last_mut() {
                    low[parent] = low[parent].min(low[at]);
                }
            }
        }
        components
    }
}
