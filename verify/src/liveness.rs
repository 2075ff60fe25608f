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

/// Says something about a state of a model.
pub type Predicate<M> = fn(&M, &<M as Model>::State) -> bool;

/// Wherever `concerns` holds, `goal` holds then or later.
pub struct LeadsTo<M: Model> {
    /// Its name, with the rule that it belongs to.
    pub name: &'static str,
    /// The start: it must be reached somewhere.
    pub concerns: Predicate<M>,
    /// What must follow.
    pub goal: Predicate<M>,
    /// What may not be put off for ever.
    pub fairness: Fairness,
}

/// What a check found.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Which property.
    pub name: &'static str,
    /// How many states it starts from: its witnesses.
    pub starts: u64,
    /// A way on which the goal need never come.
    pub violation: Option<Lasso>,
}

/// A run that never meets its goal.
#[derive(Debug, Clone)]
pub struct Lasso {
    /// The state that the property concerns.
    pub start: Id,
    /// The way on from there, past no goal: states, each with the place of the transition among those to its successors.
    pub way: Vec<(Id, u16)>,
    /// Round and round from where that ends. Empty when nothing goes on there.
    pub around: Vec<(Id, u16)>,
    /// How many states it may go round in.
    pub component: usize,
}

/// The transitions of a graph, by origin: for any number of checks.
pub struct Ways<'g, 'm, M: Model> {
    graph: &'g Graph<'m, M>,
    ids: Vec<Id>,
    first: Vec<usize>,
    edges: Vec<Edge>,
}

impl<'g, 'm, M: Model> Ways<'g, 'm, M> {
    /// The ways of a graph whose edges were kept.
    #[must_use]
    pub fn of(graph: &'g Graph<'m, M>) -> Self {
        let mut ids: Vec<Id> = graph.ids().collect();
        ids.sort_unstable();
        let mut place = vec![0_u32; ids.last().map_or(0, |last| *last as usize + 1)];
        for (at, id) in ids.iter().enumerate() {
            place[*id as usize] = at as u32;
        }
        let numbered =
            |edge: &Edge| Edge { from: place[edge.from as usize], to: place[edge.to as usize], ..*edge };
        let mut edges: Vec<Edge> = graph.edges.iter().map(numbered).collect();
        edges.sort_unstable_by_key(|edge| (edge.from, edge.place));
        let mut first = vec![0; ids.len() + 1];
        for edge in &edges {
            first[edge.from as usize + 1] += 1;
        }
        for at in 1..first.len() {
            first[at] += first[at - 1];
        }
        Self { graph, ids, first, edges }
    }

    /// Checks one property.
    #[must_use]
    pub fn check(&self, property: &LeadsTo<M>) -> Answer {
        let holds = |predicate: Predicate<M>, id: Id| predicate(self.graph.model, self.graph.state(id));
        let goal: Vec<bool> = self.ids.iter().map(|&id| holds(property.goal, id)).collect();
        let mut inside = vec![false; self.ids.len()];
        let (mut open, mut owing) = (Vec::new(), Vec::new());
        let mut starts = 0;
        for (at, &id) in self.ids.iter().enumerate() {
            if holds(property.concerns, id) {
                starts += 1;
                if !goal[at] {
                    inside[at] = true;
                    open.push(at);
                    owing.push(at);
                }
            }
        }
        while let Some(at) = open.pop() {
            for edge in self.from(at) {
                let to = edge.to as usize;
                if !goal[to] && !inside[to] {
                    inside[to] = true;
                    open.push(to);
                }
            }
        }
        let region: Vec<usize> = (0..inside.len()).filter(|&at| inside[at]).collect();
        let component = self.stays(&region, &inside, property.fairness);
        let violation = component.map(|component| self.lasso(&component, owing, &inside));
        Answer { name: property.name, starts, violation }
    }

    fn from(&self, at: usize) -> &[Edge] {
        &self.edges[self.first[at]..self.first[at + 1]]
    }

    /// The states of a component within `region` that a fair run may stay in for ever, or of a dead end.
    fn stays(&self, region: &[usize], inside: &[bool], fairness: Fairness) -> Option<Vec<usize>> {
        if let Some(end) = region.iter().find(|at| self.from(**at).is_empty()) {
            return Some(vec![*end]);
        }
        let components = self.components(region, inside);
        let mut member = vec![u32::MAX; self.ids.len()];
        for (number, component) in components.iter().enumerate() {
            component.iter().for_each(|&at| member[at] = number as u32);
        }
        for (number, component) in components.into_iter().enumerate() {
            let within = |edge: &Edge| member[edge.to as usize] == number as u32;
            if component.len() == 1 && !self.from(component[0]).iter().any(within) {
                continue;
            }
            let (mut taken, mut sometimes, mut always) = (0_u64, 0_u64, u64::MAX);
            for &at in &component {
                let mut possible = 0_u64;
                for edge in self.from(at) {
                    possible |= bit(edge);
                    if within(edge) {
                        taken |= bit(edge);
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
            let possible = |at: usize| self.from(at).iter().fold(0, |all, edge| all | bit(edge));
            let rest: Vec<usize> =
                component.iter().copied().filter(|&at| possible(at) & starved == 0).collect();
            let mut only = vec![false; inside.len()];
            rest.iter().for_each(|&at| only[at] = true);
            if !rest.is_empty()
                && let Some(found) = self.stays(&rest, &only, fairness)
            {
                return Some(found);
            }
        }
        None
    }

    /// A shortest run over one of the states that owe the goal into a component, and a shortest way round in it.
    fn lasso(&self, component: &[usize], owing: Vec<usize>, inside: &[bool]) -> Lasso {
        let mut within = vec![false; self.ids.len()];
        component.iter().for_each(|&at| within[at] = true);
        let far = |at: usize| (self.graph.distance(self.ids[at]), at);
        let mut owing: Vec<(usize, usize)> = owing.into_iter().map(far).collect();
        owing.sort_unstable();
        let mut owing = owing.into_iter().peekable();
        let mut came: Vec<Option<(usize, u16)>> = vec![None; self.ids.len()];
        let mut seen = vec![false; self.ids.len()];
        let (mut steps, mut level) = (0, Vec::new());
        let entry = loop {
            while let Some((_, at)) = owing.next_if(|(distance, _)| *distance <= steps) {
                if !std::mem::replace(&mut seen[at], true) {
                    level.push(at);
                }
            }
            if let Some(&entry) = level.iter().find(|at| within[**at]) {
                break entry;
            }
            let mut next = Vec::new();
            for &at in &level {
                for edge in self.from(at).iter().filter(|edge| inside[edge.to as usize]) {
                    let to = edge.to as usize;
                    if !std::mem::replace(&mut seen[to], true) {
                        came[to] = Some((at, edge.place));
                        next.push(to);
                    }
                }
            }
            (steps, level) = (steps + 1, next);
        };
        let (start, way) = self.trail(&came, entry);
        Lasso { start, way, around: self.around(entry, &within), component: component.len() }
    }

    /// A shortest way round from a state within its component; none from a dead end.
    fn around(&self, start: usize, within: &[bool]) -> Vec<(Id, u16)> {
        let mut came: Vec<Option<(usize, u16)>> = vec![None; self.ids.len()];
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            for edge in self.from(at).iter().filter(|edge| within[edge.to as usize]) {
                let to = edge.to as usize;
                if to == start {
                    let (_, mut around) = self.trail(&came, at);
                    around.push((self.ids[at], edge.place));
                    return around;
                }
                if came[to].is_none() {
                    came[to] = Some((at, edge.place));
                    queue.push_back(to);
                }
            }
        }
        Vec::new()
    }

    /// Where a search began that came to a state, and by which transitions.
    fn trail(&self, came: &[Option<(usize, u16)>], mut at: usize) -> (Id, Vec<(Id, u16)>) {
        let mut trail = Vec::new();
        while let Some((before, place)) = came[at] {
            trail.push((self.ids[before], place));
            at = before;
        }
        trail.reverse();
        (self.ids[at], trail)
    }

    /// The strongly connected components of the states that are `inside` (Tarjan 1972, without recursion).
    fn components(&self, region: &[usize], inside: &[bool]) -> Vec<Vec<usize>> {
        const UNSEEN: u32 = u32::MAX;
        let mut order = vec![UNSEEN; self.ids.len()];
        let mut low = vec![0_u32; self.ids.len()];
        let mut on_stack = vec![false; self.ids.len()];
        let (mut stack, mut calls, mut components) = (Vec::new(), Vec::new(), Vec::new());
        let mut count = 0;
        for &root in region {
            if order[root] != UNSEEN {
                continue;
            }
            calls.push((root, 0));
            while let Some((at, next)) = calls.pop() {
                if order[at] == UNSEEN {
                    order[at] = count;
                    low[at] = count;
                    count += 1;
                    stack.push(at);
                    on_stack[at] = true;
                }
                let mut descend = None;
                for (offset, edge) in self.from(at).iter().enumerate().skip(next) {
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
                if let Some(&(parent, _)) = calls.last() {
                    low[parent] = low[parent].min(low[at]);
                }
            }
        }
        components
    }
}

fn bit(edge: &Edge) -> u64 {
    if edge.class == NO_CLASS { 0 } else { 1 << edge.class }
}
