//! The explorer, on models whose answers are known.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

use tidegate_verify::explore::{DEADLOCK, Graph, Limits, Model, Watch, explore};
use tidegate_verify::liveness::{Answer, Fairness, LeadsTo, Ways};

/// A graph that is written down: `(from, to, fairness class)`.
#[derive(Clone)]
struct Drawn {
    starts: Vec<u32>,
    edges: Vec<(u32, u32, Option<u8>)>,
    ends: Vec<u32>,
    bad: Vec<u32>,
    bad_steps: Vec<(u32, u32)>,
}

impl Drawn {
    fn new(edges: &[(u32, u32, Option<u8>)]) -> Self {
        Self {
            starts: vec![0],
            edges: edges.to_vec(),
            ends: Vec::new(),
            bad: Vec::new(),
            bad_steps: Vec::new(),
        }
    }
}

impl Model for Drawn {
    type State = u32;
    type Action = (u32, Option<u8>);

    fn initial(&self) -> Vec<u32> {
        self.starts.clone()
    }

    fn successors(&self, state: &u32, watch: &mut Watch, next: &mut Vec<((u32, Option<u8>), u32)>) {
        for (from, to, class) in &self.edges {
            if from == state {
                watch.at(next.len());
                watch.check(1, !self.bad_steps.contains(&(*from, *to)));
                next.push(((*to, *class), *to));
            }
        }
    }

    fn properties(&self) -> Vec<&'static str> {
        vec!["no bad state", "no bad step", "never asked"]
    }

    fn inspect(&self, state: &u32, watch: &mut Watch) {
        watch.check(0, !self.bad.contains(state));
    }

    fn may_end(&self, state: &u32) -> bool {
        self.ends.contains(state)
    }

    fn fairness(&self, (_, class): &(u32, Option<u8>)) -> Option<u8> {
        *class
    }
}

fn limits(threads: usize) -> Limits {
    Limits { threads, keep_edges: true, ..Limits::default() }
}

fn run(model: &Drawn) -> Graph<'_, Drawn> {
    explore(model, &limits(2))
}

#[test]
fn every_state_and_transition_is_found_once() {
    let model = Drawn {
        ends: vec![3],
        ..Drawn::new(&[(0, 1, None), (0, 2, None), (1, 3, None), (2, 3, None), (1, 1, None)])
    };
    let graph = run(&model);
    assert_eq!((graph.states(), graph.transitions, graph.depth), (4, 5, 2));
    assert!(graph.complete && graph.violations.is_empty());
    assert_eq!(graph.edges.len(), 5);
    assert_eq!(graph.witnesses, [("no bad state", 4), ("no bad step", 5), ("never asked", 0)]);
}

#[test]
fn a_state_without_a_way_on_is_a_deadlock_unless_it_may_end() {
    let mut model = Drawn::new(&[(0, 1, None), (1, 2, None)]);
    let graph = run(&model);
    assert_eq!(graph.violations.len(), 1);
    assert_eq!((graph.violations[0].property, *graph.state(graph.violations[0].state)), (DEADLOCK, 2));
    drop(graph);
    model.ends = vec![2];
    assert!(run(&model).violations.is_empty());
}

#[test]
fn a_counterexample_is_a_shortest_one() {
    let long =
        [(0, 1, None), (1, 2, None), (2, 3, None), (3, 9, None), (0, 4, None), (4, 9, None), (9, 9, None)];
    let model = Drawn { bad: vec![9], ..Drawn::new(&long) };
    let graph = run(&model);
    let (start, steps) = graph.way_to(&graph.violations[0]);
    assert_eq!(start, 0);
    assert_eq!(steps.iter().map(|(_, state)| *state).collect::<Vec<_>>(), [4, 9]);
}

#[test]
fn among_equally_short_ways_the_first_is_shown_and_not_the_one_whose_hash_is_the_least() {
    // Whichever start and whichever step comes first in the model, whatever their numbers and hashes.
    for turn in 0..32 {
        let starts: Vec<u32> = (1..=32).map(|n| 100 + (n + turn) % 32).collect();
        let middle = |start: u32| [(start, start + 1_000, None), (start, start + 2_000, None)];
        let last = |start: u32| [(start + 1_000, 0, None), (start + 2_000, 0, None)];
        let edges = starts.iter().flat_map(|start| middle(*start).into_iter().chain(last(*start)));
        let model = Drawn { starts: starts.clone(), bad: vec![0], ..Drawn::new(&edges.collect::<Vec<_>>()) };
        let graph = run(&model);
        let (start, way) = graph.way_to(&graph.violations[0]);
        let way: Vec<u32> = way.into_iter().map(|(_, state)| state).collect();
        assert_eq!((start, way), (starts[0], vec![starts[0] + 1_000, 0]));
    }
}

#[test]
fn a_bad_step_is_shown_with_the_step() {
    let edges = [(0, 1, None), (1, 0, None), (1, 2, None), (2, 0, None)];
    let model = Drawn { bad_steps: vec![(2, 0)], ..Drawn::new(&edges) };
    let graph = run(&model);
    assert_eq!(graph.violations[0].property, "no bad step");
    let (_, steps) = graph.way_to(&graph.violations[0]);
    assert_eq!(steps.iter().map(|(_, state)| *state).collect::<Vec<_>>(), [1, 2, 0]);
}

/// A counter in each of some places, each up to a bound: many states, each with a known distance.
struct Grid {
    places: usize,
    most: u8,
}

impl Model for Grid {
    type State = Vec<u8>;
    type Action = usize;

    fn initial(&self) -> Vec<Vec<u8>> {
        vec![vec![0; self.places]]
    }

    fn successors(&self, state: &Vec<u8>, watch: &mut Watch, next: &mut Vec<(usize, Vec<u8>)>) {
        for place in 0..self.places {
            if state[place] < self.most {
                let mut after = state.clone();
                after[place] += 1;
                watch.at(next.len());
                watch.cover(place);
                next.push((place, after));
            }
        }
    }

    fn may_end(&self, _: &Vec<u8>) -> bool {
        true
    }

    fn cells(&self) -> usize {
        self.places + 1
    }
}

#[test]
fn large_graphs_are_counted_exactly_whatever_the_number_of_threads() {
    let model = Grid { places: 5, most: 8 };
    let mut seen = Vec::new();
    for threads in [1, 2, 3, 7] {
        let graph = explore(&model, &limits(threads));
        assert_eq!((graph.states(), graph.depth), (9_usize.pow(5), 40));
        assert_eq!(graph.transitions, 5 * 8 * 9_u64.pow(4));
        assert!(graph.complete);
        let distances: Vec<usize> = graph.ids().step_by(997).map(|id| graph.distance(id)).collect();
        let expected =
            graph.ids().step_by(997).map(|id| graph.state(id).iter().map(|n| usize::from(*n)).sum());
        assert_eq!(distances, expected.collect::<Vec<usize>>());
        let all: Vec<_> = graph
            .ids()
            .map(|id| (id, graph.state(id).clone(), graph.path(id).1.len()))
            .step_by(101)
            .collect();
        seen.push((all, graph.cells.clone()));
    }
    assert!(seen.iter().all(|run| *run == seen[0]), "the numbering depends on the number of threads");
    assert!(seen[0].1[..5].iter().all(Option::is_some) && seen[0].1[5].is_none());
}

#[test]
fn a_limit_is_never_mistaken_for_completeness() {
    let model = Grid { places: 5, most: 8 };
    for states in [1, 100, 20_000, 59_000] {
        let graph = explore(&model, &Limits { states, ..limits(2) });
        assert!(!graph.complete, "{states}");
        assert!(graph.states() >= states);
    }
    assert!(explore(&model, &Limits { states: 59_050, ..limits(2) }).complete);
}

#[test]
fn states_whose_hashes_collide_stay_apart() {
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Alike(u32);
    impl std::hash::Hash for Alike {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            state.write_u32(self.0 % 3);
        }
    }
    struct Line;
    impl Model for Line {
        type State = Alike;
        type Action = ();
        fn initial(&self) -> Vec<Alike> {
            vec![Alike(0)]
        }
        fn successors(&self, Alike(at): &Alike, _: &mut Watch, next: &mut Vec<((), Alike)>) {
            next.extend([((), Alike((at + 1) % 2_000)), ((), Alike((at + 7) % 2_000))]);
        }
    }
    let graph = explore(&Line, &limits(2));
    assert_eq!((graph.states(), graph.transitions), (2_000, 4_000));
}

fn answer(edges: &[(u32, u32, Option<u8>)], ends: &[u32], fairness: Fairness) -> Answer {
    let model = Drawn { ends: ends.to_vec(), ..Drawn::new(edges) };
    let graph = run(&model);
    assert!(graph.violations.is_empty(), "{:?}", graph.violations);
    let property = LeadsTo {
        name: "1 leads to 9",
        concerns: |_: &Drawn, state: &u32| *state == 1,
        goal: |_: &Drawn, state: &u32| *state == 9,
        fairness,
    };
    Ways::of(&graph).check(&property)
}

const NONE: Fairness = Fairness { weak: 0, strong: 0 };
const WEAK: Fairness = Fairness { weak: 1, strong: 0 };
const STRONG: Fairness = Fairness { weak: 1, strong: 1 };

#[test]
fn a_goal_on_every_way_is_reached() {
    let answer = answer(&[(0, 1, None), (1, 2, None), (2, 9, None), (1, 9, None)], &[9], NONE);
    assert!(answer.violation.is_none());
    assert_eq!(answer.starts, 1);
}

#[test]
fn a_way_that_ends_before_the_goal_is_a_violation() {
    let answer = answer(&[(0, 1, None), (1, 9, None), (1, 2, None)], &[2, 9], STRONG);
    assert!(answer.violation.is_some_and(|lasso| lasso.around.is_empty()));
}

#[test]
fn a_cycle_before_the_start_is_none_after_it() {
    let edges = [(0, 0, None), (0, 1, None), (1, 9, None), (9, 9, None)];
    assert!(answer(&edges, &[], NONE).violation.is_none());
}

#[test]
fn a_cycle_that_can_be_left_may_be_stayed_in_without_fairness() {
    let edges = [(0, 1, None), (1, 2, None), (2, 1, None), (2, 9, Some(0))];
    let violation = answer(&edges, &[9], NONE).violation.expect("it may go round");
    assert_eq!((violation.around.len(), violation.component), (2, 2));
}

#[test]
fn weak_fairness_leaves_a_cycle_only_where_the_way_out_is_always_possible() {
    // Possible in one of the two states only: each round interrupts it.
    let sometimes = [(0, 1, None), (1, 2, None), (2, 1, None), (2, 9, Some(0))];
    assert!(answer(&sometimes, &[9], WEAK).violation.is_some());
    assert!(answer(&sometimes, &[9], STRONG).violation.is_none());
    let always = [(0, 1, None), (1, 2, None), (2, 1, None), (2, 9, Some(0)), (1, 9, Some(0))];
    assert!(answer(&always, &[9], WEAK).violation.is_none());
}

#[test]
fn a_fair_action_that_is_taken_within_the_cycle_does_not_lead_out_of_it() {
    let edges = [(0, 1, None), (1, 2, Some(0)), (2, 1, None), (2, 9, None), (1, 9, Some(0))];
    assert!(answer(&edges, &[9], STRONG).violation.is_some());
}

#[test]
fn a_part_of_a_cycle_that_avoids_the_strongly_fair_action_is_found() {
    // Round over 3 the way out is possible again and again; round over 2 alone it never is.
    let edges = [(0, 1, None), (1, 2, None), (2, 1, None), (1, 3, None), (3, 1, None), (3, 9, Some(0))];
    let violation = answer(&edges, &[9], STRONG).violation.expect("round over 2");
    assert_eq!(violation.component, 2);
}

#[test]
fn the_run_that_is_shown_passes_what_is_owed_and_is_a_shortest_one_that_does() {
    // Into the cycle leads one step past 1; the shorter of the ways over 1 is that over 4, and on from there that over 5.
    let edges = [
        [(0, 2, None), (2, 2, None)].as_slice(),
        &[(0, 3, None), (3, 6, None), (6, 1, None), (0, 4, None), (4, 1, None)],
        &[(1, 7, None), (7, 8, None), (8, 2, None), (1, 9, None), (9, 2, None), (1, 5, None), (5, 2, None)],
    ]
    .concat();
    let model = Drawn { ends: vec![9], ..Drawn::new(&edges) };
    let graph = run(&model);
    let property = LeadsTo {
        name: "1 leads to 9",
        concerns: |_: &Drawn, state: &u32| *state == 1,
        goal: |_: &Drawn, state: &u32| *state == 9,
        fairness: NONE,
    };
    let lasso = Ways::of(&graph).check(&property).violation.expect("it may go round at 2");
    let states = |way: &[(u32, u16)]| way.iter().map(|(id, _)| *graph.state(*id)).collect::<Vec<_>>();
    let (start, steps) = graph.path(lasso.start);
    assert_eq!((start, steps.iter().map(|(_, state)| *state).collect::<Vec<_>>()), (0, vec![4, 1]));
    assert_eq!((states(&lasso.way), states(&lasso.around)), (vec![1, 5], vec![2]));
}

#[test]
fn a_self_loop_is_a_cycle() {
    assert!(answer(&[(0, 1, None), (1, 1, None), (1, 9, None)], &[9], NONE).violation.is_some());
}

#[test]
fn a_goal_that_was_passed_counts_and_one_behind_the_start_does_not() {
    // After the goal it may go round; a goal before the start is no goal.
    assert!(answer(&[(0, 1, None), (1, 9, None), (9, 2, None), (2, 2, None)], &[], NONE).violation.is_none());
    assert!(answer(&[(0, 9, None), (9, 1, None), (1, 1, None)], &[], NONE).violation.is_some());
}
