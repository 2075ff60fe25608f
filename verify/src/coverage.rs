//! Which transitions of the machines were taken, and which never are.
//!
//! A transition is a state, an input's type or a timer, and the next state. Every input can be said in every state, so
//! each of these pairs has to be taken. A timer can only fire where a machine arms it: [`ARMED`] says where, in the
//! words of each machine's own documentation, and what the exploration saw has to be exactly that.
//!
//! The lifecycle arms the timers of its parts beside each other, so that many are armed where another one always
//! comes first: of those it says in which states they come first, at the times of its configs. Never first is
//! `drain-limit`, as what is drained and passed on is over within the kill budget, which is less.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::alone::AloneWorld;
use crate::claim::{Claim, Options, prove};
use crate::models::{
    Size, backoff, directory, drain, handoff, lease, lease_holder, lifecycle, peer, saga, stack, successor,
    tunnel,
};
use crate::vectors;
use crate::world::{Subject, Transition, transitions};

/// In which states which timers are armed.
const ARMED: &[(&str, &str, &[&str])] = &[
    ("backoff", "attempt-limit", &["attempting"]),
    ("backoff", "retry", &["waiting"]),
    ("backoff", "stable", &["settling"]),
    ("directory", "expiry", &["owned"]),
    ("peer", "authorize-limit", &["authorizing"]),
    // A write goes on while the peer that asked for it leaves.
    ("peer", "register-limit", &["registering", "up", "told", "leaving"]),
    ("peer", "unregister-limit", &["leaving"]),
    ("peer", "ping", &["up", "told"]),
    ("peer", "renew", &["up", "told"]),
    ("drain", "lame-duck-over", &["lame-duck"]),
    ("drain", "step-limit", &["lame-duck", "releasing"]),
    ("drain", "step-retry", &["releasing"]),
    ("drain", "door-limit", &["draining", "forcing"]),
    ("drain", "tell", &["draining"]),
    ("drain", "idle-sweep", &["draining"]),
    ("drain", "flush", &["draining"]),
    ("drain", "rows-limit", &["draining", "forcing"]),
    ("drain", "grace", &["draining"]),
    ("drain", "force-limit", &["forcing"]),
    ("handoff", "queue-limit", &["queued"]),
    ("handoff", "spawn-limit", &["spawning"]),
    ("handoff", "ready-limit", &["waiting-ready"]),
    ("handoff", "state-limit", &["capturing"]),
    ("handoff", "accept-limit", &["acknowledged"]),
    ("handoff", "settled", &["settling"]),
    ("handoff", "look-limit", &["looking"]),
    ("handoff", "kill-limit", &["killing"]),
    ("handoff", "undo-limit", &["undoing"]),
    ("handoff", "pid-file-limit", &["draining"]),
    ("handoff", "lease-limit", &["draining"]),
    ("handoff", "drain-limit", &["draining"]),
    ("successor", "initialise-limit", &["initialising"]),
    ("successor", "acknowledge-limit", &["ready"]),
    ("successor", "state-limit", &["loading"]),
    ("successor", "accept-limit", &["opening"]),
    ("successor", "gone-limit", &["cut-off"]),
    ("successor", "pid-file-limit", &["serving"]),
    // A component may be started again while others have never been up yet.
    ("stack", "spawn-limit", &["starting", "restarting", "stopping"]),
    ("stack", "ready-delay", &["starting", "restarting"]),
    ("stack", "ready-limit", &["starting", "restarting"]),
    ("stack", "restart", &["starting", "restarting"]),
    // One that does not get ready again is stopped while the stack runs.
    ("stack", "stop-limit", &["starting", "restarting", "stopping"]),
    ("stack", "kill-limit", &["starting", "restarting", "stopping"]),
    ("stack", "reap-limit", &["starting", "restarting", "stopping"]),
    ("stack", "drain-call-limit", &["stopping"]),
    ("stack", "drain-limit", &["stopping"]),
    ("stack", "older-limit", &["stopping"]),
    ("stack", "budget", &["stopping"]),
    // `moving` goes through the same steps as an attempt from `waiting` does.
    ("lease", "allocate-limit", &["allocating"]),
    ("lease", "expiry", &["active"]),
    ("lease", "grace-over", &["held"]),
    ("lease", "unroute-limit", &["releasing"]),
    ("lease", "unroute-retry", &["releasing"]),
    ("lease", "quarantine-over", &["quarantined"]),
    ("lease-holder", "release-limit", &["releasing"]),
    // One that was restored has no drain to begin, as it serves nothing.
    ("lease-holder", "stop-due", &["yielding", "resuming"]),
    ("lease-holder", "drain-due", &["holding"]),
    ("lease-holder", "ask-limit", &["claiming", "confirming", "holding", "resuming", "releasing"]),
    ("lease-holder", "ask", &["claiming", "confirming", "holding", "resuming", "releasing"]),
    // A journal that fails stops nothing that is under way, and its limits with it.
    ("tunnel", "prepare-limit", &["preparing", "moving"]),
    ("tunnel", "dial-limit", &["dialing", "moving"]),
    ("tunnel", "accept-limit", &["accepting", "moving"]),
    ("tunnel", "quiet", &["accepting", "moving"]),
    ("tunnel", "retry", &["waiting"]),
    ("tunnel", "move", &["moving"]),
    ("tunnel", "silence", &["up", "moving"]),
    ("tunnel", "stable", &["up"]),
    // The old connection outlives whatever becomes of the new one.
    ("tunnel", "finish-limit", &["preparing", "dialing", "accepting", "up", "moving", "waiting", "offline"]),
    // A saga that is halted begins nothing, but what is under way or due goes on; only its journal is not waited for.
    ("saga", "append-limit", &["running", "unwinding"]),
    // A do that is under way outlives the cause of the rollback.
    ("saga", "do-limit", &["running", "unwinding", "halted"]),
    ("saga", "do-retry", &["running", "halted"]),
    ("saga", "undo-limit", &["unwinding", "halted"]),
    ("saga", "undo-due", &["unwinding", "halted"]),
    // A pivot is probed before anything is undone.
    ("saga", "verify-limit", &["running", "unwinding", "halted"]),
    ("saga", "verify-due", &["running", "unwinding", "halted"]),
    ("saga", "rollback-deadline", &["unwinding", "halted"]),
    // Of a successor all of the boot is in one state.
    ("lifecycle", "clear-rows-limit", &["clearing-rows"]),
    ("lifecycle", "initialise-limit", &["initialising", "taking-over"]),
    ("lifecycle", "control-door-limit", &["opening-control-door"]),
    ("lifecycle", "public-door-limit", &["opening-public-door"]),
    // Who serves without a lease of its own.
    ("lifecycle", "lease-due", &["serving", "upgrading"]),
    ("lifecycle", "lame-duck-over", &["lame-duck"]),
    ("lifecycle", "step-limit", &["lame-duck", "releasing", "undoing"]),
    ("lifecycle", "step-retry", &["releasing"]),
    ("lifecycle", "door-limit", &["draining", "forcing"]),
    ("lifecycle", "tell", &["draining"]),
    ("lifecycle", "idle-sweep", &["draining"]),
    ("lifecycle", "flush", &["draining"]),
    ("lifecycle", "rows-limit", &["draining", "forcing"]),
    ("lifecycle", "grace", &["draining"]),
    ("lifecycle", "force-limit", &["forcing"]),
    // A stop gives up what is queued, on its way or settling; what may accept is looked at, killed and undone beside the drain.
    ("lifecycle", "queue-limit", &["upgrading"]),
    ("lifecycle", "spawn-limit", &["upgrading"]),
    ("lifecycle", "ready-limit", &["upgrading"]),
    ("lifecycle", "state-limit", &["taking-over", "upgrading"]),
    ("lifecycle", "accept-limit", &["taking-over", "upgrading"]),
    ("lifecycle", "settled", &["upgrading"]),
    ("lifecycle", "look-limit", &["upgrading", "lame-duck", "draining", "forcing", "releasing"]),
    ("lifecycle", "kill-limit", &["upgrading", "lame-duck", "draining", "forcing", "releasing", "leaving"]),
    ("lifecycle", "undo-limit", &["upgrading", "lame-duck", "draining", "forcing", "releasing", "leaving"]),
    // Of a successor that promoted itself too.
    ("lifecycle", "pid-file-limit", &["serving", "lame-duck", "draining", "forcing", "releasing", "leaving"]),
    ("lifecycle", "lease-limit", &["draining", "releasing", "leaving"]),
    ("lifecycle", "acknowledge-limit", &["taking-over"]),
    ("lifecycle", "gone-limit", &["taking-over"]),
    // One that was granted too little to begin with gives it back.
    ("lifecycle", "release-limit", &["claiming", "forcing", "releasing", "undoing"]),
    // A granter that grants less than it must, to a renew or a claim.
    ("lifecycle", "stop-due", &["claiming", "lame-duck", "draining", "forcing", "releasing"]),
    (
        "lifecycle",
        "drain-due",
        &[
            "opening-public-door",
            "serving",
            "upgrading",
            "lame-duck",
            "draining",
            "forcing",
            "releasing",
            "leaving",
        ],
    ),
    // It renews for as long as it drains; a release is asked for until it is over.
    (
        "lifecycle",
        "ask-limit",
        &[
            "claiming",
            "serving",
            "upgrading",
            "lame-duck",
            "draining",
            "forcing",
            "releasing",
            "undoing",
            "leaving",
        ],
    ),
    (
        "lifecycle",
        "ask",
        &[
            "claiming",
            "serving",
            "upgrading",
            "lame-duck",
            "draining",
            "forcing",
            "releasing",
            "undoing",
            "leaving",
        ],
    ),
];

/// What was taken and what was not.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    /// The transitions that were taken.
    pub taken: BTreeSet<Transition>,
    /// A state and an input or a timer that should have met and never did, or the other way round.
    pub faults: Vec<String>,
}

/// Compares what some models took with what there is.
#[must_use]
pub fn of<M: Subject>(claims: &[Claim]) -> Coverage {
    let all = claims.iter().flat_map(|claim| &claim.taken);
    let taken: BTreeSet<Transition> = all.filter(|taken| taken.machine == M::NAME).copied().collect();
    let met: BTreeSet<(&str, &str, bool)> =
        taken.iter().map(|taken| (taken.from, taken.label, taken.timer)).collect();
    let mut faults = Vec::new();
    let pairs: BTreeSet<(&str, &str, bool)> =
        transitions::<M>().map(|transition| (transition.from, transition.label, transition.timer)).collect();
    for (state, label, timer) in pairs {
        let expected = !timer
            || ARMED.iter().any(|(machine, why, states)| {
                (*machine, *why) == (M::NAME, label) && states.contains(&state)
            });
        match (expected, met.contains(&(state, label, timer))) {
            (true, false) => faults.push(format!("{}: `{label}` never came in state `{state}`", M::NAME)),
            (false, true) => {
                faults.push(format!("{}: timer `{label}` fired in state `{state}`, unexpected", M::NAME));
            }
            _ => {}
        }
    }
    Coverage { taken, faults }
}

/// Prints the coverage of every machine; answers how many faults there are.
#[must_use]
pub fn report(claims: &[Claim]) -> usize {
    let all = [
        ("backoff", of::<tidegate::backoff::Backoff>(claims)),
        ("directory", of::<tidegate::directory::Directory>(claims)),
        ("peer", of::<tidegate::peer::Peer>(claims)),
        ("drain", of::<tidegate::drain::Drain>(claims)),
        ("tunnel", of::<tidegate::tunnel::Tunnel>(claims)),
        ("lease", of::<tidegate::lease::Lease>(claims)),
        ("lease-holder", of::<tidegate::lease_holder::LeaseHolder>(claims)),
        ("handoff", of::<tidegate::handoff::Handoff>(claims)),
        ("successor", of::<tidegate::successor::Successor>(claims)),
        ("stack", of::<tidegate::stack::Stack>(claims)),
        ("saga", of::<tidegate::saga::Saga>(claims)),
        ("lifecycle", of::<tidegate::lifecycle::Lifecycle>(claims)),
    ];
    println!("\ntransitions (state, input or timer, next state) that were taken:");
    for (machine, coverage) in &all {
        println!("  {machine}: {}, {} pairs amiss", coverage.taken.len(), coverage.faults.len());
        coverage.faults.iter().for_each(|fault| println!("    {fault}"));
    }
    all.iter().map(|(_, coverage)| coverage.faults.len()).sum()
}

/// Scripts with their answers, by machine: together they take every transition that the explored graphs take.
///
/// # Errors
/// What is wrong with a model, or with a script.
pub fn generated(options: Options) -> Result<BTreeMap<&'static str, Vec<Value>>, String> {
    let options = Options { scripts: true, ..options };
    let claims = [
        prove("backoff", "", AloneWorld::<tidegate::backoff::Backoff>::new(backoff::configs()), options),
        prove(
            "directory",
            "",
            AloneWorld::<tidegate::directory::Directory>::new(directory::configs()),
            options,
        ),
        prove("peer", "", AloneWorld::<tidegate::peer::Peer>::new(peer::configs()), options),
        prove("drain", "", drain::world(Size::Quick).1, options),
        prove("tunnel", "", tunnel::world(Size::Quick).1, options),
        prove("handoff", "", AloneWorld::<tidegate::handoff::Handoff>::new(handoff::configs()), options),
        prove(
            "successor",
            "",
            AloneWorld::<tidegate::successor::Successor>::new(successor::configs()),
            options,
        ),
        prove("stack", "", stack::world(), options),
        prove("saga", "", saga::world(Size::Small).1, options),
        prove("lifecycle", "", lifecycle::world(Size::Quick).1, options),
        prove("lease", "", lease::world(Size::Small).1, options),
        prove(
            "lease-holder",
            "",
            AloneWorld::<tidegate::lease_holder::LeaseHolder>::new(lease_holder::configs()),
            options,
        ),
    ];
    let mut files = BTreeMap::new();
    for claim in &claims {
        if let Some(fault) = claim.faults.first() {
            return Err(format!("{}: {}", claim.model, fault.what));
        }
        for (machine, scripts) in vectors::by_machine(&claim.scripts) {
            let answered: Result<Vec<Value>, String> = scripts.into_iter().map(vectors::answered).collect();
            files.insert(machine, answered?);
        }
    }
    Ok(files)
}
