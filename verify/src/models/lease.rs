//! Lease, the granter's side (L1–L5, L7): one row, and commands of anybody in any order.

use tidegate::lease::{Config, Effect, Input, Lease, LeaseCause, LeaseRefusal, LeaseState, Row, Standing};
use tidegate::{Intent, Millis, Rules};

use crate::alone::{Alone, AloneWorld, Cause, Seen};
use crate::explore::Watch;
use crate::models::Size;

/// The latest that the row is looked at after its time.
const SCAN: Millis = 20;
/// Longer ago than anything matters.
const LONG: Millis = 1_000;
/// Lives of the gateway.
const LIVES: u64 = 3;

/// What happened to the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct History {
    /// A route may lead to the gateway.
    routed: bool,
    /// How long ago a holder or an allocation was heard of.
    silent: Millis,
    /// What is left of the time that the holder of the last epoch was promised.
    promised: Millis,
    /// How long ago a bad observation was made, since which there was no good sign.
    suspected: Option<Millis>,
    /// How long the last quarantine was, since the gateway last held a lease.
    quarantine: Millis,
}

impl Alone for Lease {
    type Observer = History;
    const PROPERTIES: &'static [&'static str] = &[
        "P: epochs strictly increase with each grant, and never fall",
        "L2: one request is granted once: asked again, the same epoch or none",
        "L2: only a free gateway is given to an organization",
        "L3: a failed or unknown handshake quarantines, never straight back to free",
        "L3: quarantines in a row grow up to the longest",
        "L4: a refusal changes nothing, and says the last epoch",
        "L4: a stale epoch changes nothing and is told so, except who is honoured for a handoff",
        "L4: expiry holds the gateway for the grace period, for its organization",
        "L4: free only when no route is left, or an operator says so",
        "L4: a route that could not be removed is reported",
        "L5: reclaimed by no earlier life, with the next epoch and the organization kept",
        "L5: a fenced life gets no lease back",
        "L7: one bad observation ends nothing: two, a window apart",
        "L7: a holder is never suspected out of the time that it was promised",
        "H7: only the epoch before is honoured, and only for the time of a handoff",
        "P: a dead holder is free or reported within term, grace, un-route limits and scans",
    ];
    const TOTAL: bool = true;
    const GRAIN: Millis = 20;
    const LATE: &'static [Millis] = &[SCAN];

    fn inputs(&self, _: &History, bound: u32, inputs: &mut Vec<Input>) {
        let row = self.row();
        if row.epoch < u64::from(bound) {
            for organization in [1, 2] {
                inputs.extend([1, 2].map(|request| Input::Allocate { organization, request }));
            }
            for incarnation in 1..=LIVES {
                inputs.push(Input::Claim { incarnation, predecessor: None });
                inputs.push(Input::Claim { incarnation, predecessor: Some(row.epoch) });
            }
        }
        inputs.push(Input::Claim { incarnation: 0, predecessor: None });
        for epoch in row.epoch.saturating_sub(2)..=row.epoch + 1 {
            inputs.extend((1..=LIVES).map(|incarnation| Input::Confirm { epoch, incarnation }));
            for intent in [Intent::Idle, Intent::Handoff, Intent::Restart, Intent::Decommission] {
                inputs.push(Input::Stop { epoch, intent });
            }
            inputs.extend([
                Input::HandshakeFailed { epoch },
                Input::Renew { epoch },
                Input::Observe { epoch, well: true },
                Input::Observe { epoch, well: false },
                Input::Unrouted { epoch },
                Input::UnrouteFailed { epoch, attempt: 1 },
                Input::UnrouteFailed { epoch, attempt: 2 },
                Input::Verify { epoch },
                Input::Release { epoch },
            ]);
        }
        inputs.extend([Input::Retire, Input::Reinstate, Input::Look]);
    }

    fn observe(history: &mut History, seen: &Seen<'_, Self>, first: usize, watch: &mut Watch) {
        let Ok(step) = seen.answer else { return };
        let (config, now) = (seen.after.config(), seen.after.clock().now());
        if let Cause::Time(passed) = seen.cause {
            history.pass(passed);
        }
        let (before, after) = (seen.before.row(), seen.after.row());
        let answer = step.effects.iter().find(|effect| effect.is_answer());
        let command = match &seen.cause {
            Cause::Input(input) => Some(*input),
            Cause::Time(_) => None,
        };
        watch.check(first, after.epoch >= before.epoch);
        if after.epoch != before.epoch {
            let granted = matches!(
                answer,
                Some(Effect::Allocated { epoch, .. } | Effect::Reclaimed { epoch, .. }) if *epoch == after.epoch
            );
            watch.check(first, granted && after.epoch == before.epoch + 1);
        }
        if let (Some(command), Some(answer)) = (command, answer) {
            judge(command, answer, (&before, &after), config, first, watch);
        }
        let entered = before.state() != after.state();
        match (before.standing, after.standing) {
            (Standing::Allocating { .. }, Standing::Quarantined { .. } | Standing::Free) => {
                watch.check(first + 3, after.state() == LeaseState::Quarantined);
            }
            (Standing::Active { organization, .. }, Standing::Held { organization: kept, until, cause })
                if command.is_none() =>
            {
                let grace = until == now + config.grace && cause == LeaseCause::Expired;
                watch.check(first + 7, grace && kept == organization);
            }
            (Standing::Active { .. }, Standing::Held { until, cause: LeaseCause::Suspected, .. }) => {
                let twice = history.suspected.is_some_and(|ago| ago >= config.suspicion);
                watch.check(first + 12, twice);
                watch.check(first + 13, until - now >= history.promised);
            }
            (Standing::Active { .. }, _) if matches!(command, Some(Input::Observe { .. })) => {
                watch.check(first + 12, !entered);
            }
            _ => {}
        }
        if let Standing::Quarantined { until, routed, cause, .. } = after.standing
            && before.standing != after.standing
        {
            let reported = step.effects.iter().any(|effect| matches!(effect, Effect::RouteLeft { .. }));
            let begun = !matches!(command, Some(Input::Unrouted { .. }));
            if begun {
                let least = (2 * history.quarantine).min(config.quarantine_max).max(config.quarantine);
                watch.check(first + 4, until - now >= least && until - now <= config.quarantine_max);
                history.quarantine = until - now;
            }
            if begun && routed && (cause == LeaseCause::Unroute || !entered) {
                watch.check(first + 9, reported);
            }
        }
        history.note(command, answer, (&before, &after));
        if entered && after.state() == LeaseState::Free {
            watch.check(first + 8, !history.routed);
        }
        if after.organization().is_some() {
            let attempts = u64::from(config.unroute_attempts);
            let unrouting = attempts * (config.unroute_limit + config.unroute_pause + 2 * SCAN);
            watch.check(first + 15, history.silent <= config.term + config.grace + unrouting + 2 * SCAN);
        }
    }
}

/// What one decision may do.
fn judge(
    command: &Input,
    answer: &Effect,
    (before, after): (&Row, &Row),
    config: &Config,
    first: usize,
    watch: &mut Watch,
) {
    if let Effect::Refused { epoch, .. } = *answer {
        watch.check(first + 5, before == after && epoch == before.epoch);
    }
    let carried = match *command {
        Input::Confirm { epoch, .. }
        | Input::HandshakeFailed { epoch }
        | Input::Renew { epoch }
        | Input::Stop { epoch, .. }
        | Input::Observe { epoch, .. }
        | Input::Unrouted { epoch }
        | Input::UnrouteFailed { epoch, .. }
        | Input::Verify { epoch }
        | Input::Release { epoch } => Some(epoch),
        _ => None,
    };
    if let Some(stale) = carried.filter(|epoch| *epoch < before.epoch) {
        let told = matches!(answer, Effect::Refused { refusal: LeaseRefusal::StaleEpoch, epoch } if *epoch == before.epoch);
        let honoured = matches!(answer, Effect::Renewed { .. } | Effect::Valid { .. });
        watch.check(first + 6, before == after && (told || honoured));
        if honoured {
            let handed_over = matches!(before.standing, Standing::Active { predecessor: Some(_), .. });
            let short = match *answer {
                Effect::Renewed { term: left, .. } | Effect::Valid { left, .. } => left <= config.handoff,
                _ => false,
            };
            watch.check(first + 14, stale + 1 == before.epoch && handed_over && short);
        }
    }
    match (command, answer) {
        (Input::Allocate { request, organization }, Effect::Allocated { epoch, .. }) => {
            let again = before.request == Some(*request) && before.state() == LeaseState::Allocating;
            watch.check(first + 1, (*epoch == before.epoch) == again);
            if !again {
                watch.check(first + 2, before.state() == LeaseState::Free);
            }
            watch.check(first + 2, after.organization() == Some(*organization));
        }
        (Input::Allocate { .. }, _) => watch.check(first + 1, before == after),
        (Input::Claim { incarnation, .. }, Effect::Reclaimed { organization, .. }) => {
            let next = after.epoch == before.epoch + 1;
            let once_more = after.epoch == before.epoch && *incarnation == before.incarnation;
            let kept = before.organization() == Some(*organization)
                && after.organization() == Some(*organization)
                && after.incarnation == *incarnation;
            watch.check(first + 10, (next || once_more) && kept && *incarnation >= before.incarnation);
        }
        (Input::Claim { incarnation, .. } | Input::Confirm { incarnation, .. }, _)
            if *incarnation < before.incarnation =>
        {
            watch.check(first + 11, matches!(answer, Effect::Refused { .. }));
        }
        _ => {}
    }
}

impl History {
    fn pass(&mut self, passed: Millis) {
        self.silent = (self.silent + passed).min(LONG);
        self.promised = self.promised.saturating_sub(passed);
        self.suspected = self.suspected.map(|ago| (ago + passed).min(LONG));
    }

    /// Remembers what a step means for later ones.
    fn note(&mut self, command: Option<&Input>, answer: Option<&Effect>, (before, after): (&Row, &Row)) {
        match (command, answer) {
            (_, Some(Effect::Allocated { .. })) if after.epoch != before.epoch => {
                *self = Self { routed: true, quarantine: self.quarantine, ..Self::default() };
            }
            (Some(Input::Confirm { .. }), Some(Effect::Confirmed { term, .. }))
                if before.state() != after.state() =>
            {
                *self = Self { routed: true, promised: *term, ..Self::default() };
            }
            (_, Some(Effect::Reclaimed { term, .. })) => {
                let suspected = self.suspected.filter(|_| before.epoch == after.epoch);
                *self = Self { routed: true, promised: *term, suspected, ..Self::default() };
            }
            (_, Some(Effect::Renewed { epoch, term })) if *epoch == after.epoch => {
                *self = Self { routed: true, promised: *term, ..Self::default() };
            }
            (Some(Input::Observe { well, .. }), Some(Effect::Accepted { .. })) => {
                self.suspected = if *well { None } else { self.suspected.or(Some(0)) };
            }
            // Whether it was removed, an operator says; and who puts a gateway back says it too.
            (Some(Input::Unrouted { .. } | Input::Release { .. }), Some(Effect::Accepted { .. }))
                if before.standing != after.standing =>
            {
                self.routed = false;
            }
            (Some(Input::Reinstate), Some(Effect::Accepted { .. })) => self.routed = false,
            _ => {}
        }
        if after.state() != LeaseState::Active {
            (self.promised, self.suspected) = (0, None);
        }
        if after.organization().is_none() {
            self.silent = 0;
        }
    }
}

fn base() -> Config {
    Config {
        term: 80,
        grace: 60,
        idle_hold: 40,
        allocate_limit: 40,
        unroute_limit: 20,
        unroute_attempts: 2,
        unroute_pause: 20,
        quarantine: 20,
        quarantine_max: 40,
        suspicion: 20,
        handoff: 40,
    }
}

/// One that holds idle gateways, and one that does not.
#[must_use]
pub fn configs() -> Vec<Config> {
    vec![base(), Config { idle_hold: 0, unroute_attempts: 1, ..base() }]
}

/// The world at a size, with its bounds.
#[must_use]
pub fn world(size: Size) -> (&'static str, AloneWorld<Lease>) {
    match size {
        Size::Small => {
            ("1 row, 2 organizations, 3 lives; any command; ≤ 3 grants", AloneWorld::bounded(configs(), 3))
        }
        Size::Quick => {
            ("1 row, 2 organizations, 3 lives; any command; ≤ 4 grants", AloneWorld::bounded(configs(), 4))
        }
        Size::Full => {
            ("1 row, 2 organizations, 3 lives; any command; ≤ 8 grants", AloneWorld::bounded(configs(), 8))
        }
    }
}
