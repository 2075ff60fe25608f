//! Close policy (C1–C3): a total function, so every question is asked.

use std::time::{Duration, Instant};

use tidegate::close::{Action, Profile, Response, Sender, cut_reason, may_send, remap};
use tidegate::{MAX_DURATION, Name};

use crate::claim::{Claim, Fault};
use crate::models::Size;

struct Check {
    name: &'static str,
    asked: u64,
    fault: Option<String>,
}

impl Check {
    fn new(name: &'static str) -> Self {
        Self { name, asked: 0, fault: None }
    }

    fn that(&mut self, holds: bool, what: impl Fn() -> String) {
        self.asked += 1;
        if !holds && self.fault.is_none() {
            self.fault = Some(what());
        }
    }
}

/// Asks everything.
#[must_use]
pub fn prove(_: Size) -> Claim {
    let start = Instant::now();
    let mut total =
        Check::new("C1: every code has one action, in every profile and context, and it can be carried out");
    let mut replaced = Check::new("C1: replaced means never, so that two clients do not duel");
    let mut context = Check::new("C1: context changes the answer only where the profile says so");
    let mut sent = Check::new("C2: a code may be sent exactly if RFC 6455 and the sender allow it");
    let mut remapped =
        Check::new("C2: a remap gives a code that may be sent, the same if it may, never 1000");
    let mut cut = Check::new("C2: a reason is cut at a character to at most 123 bytes");
    let mut apart = Check::new("C3: the same code means different things in different profiles");
    let mut questions = 0_u64;
    let profiles: Vec<(&str, Profile)> = Profile::names().map(|name| (name, Profile::named(name))).collect();
    for code in 0..=u16::MAX {
        let mut meanings: Vec<Action> = Vec::new();
        for (name, profile) in &profiles {
            let answers = [(false, false), (true, false), (false, true), (true, true)]
                .map(|(tls, subscribed)| profile.decide(code, tls, subscribed));
            for action in answers {
                questions += 1;
                let Action { response, min, max, .. } = action;
                let sound = min <= MAX_DURATION
                    && max <= MAX_DURATION
                    && (max == 0 || min <= max)
                    && (response != Response::Spread || max > 0);
                total.that(sound, || format!("{name} {code}: {action:?}"));
                if action.replaced {
                    replaced.that(response == Response::Never, || format!("{name} {code}: {action:?}"));
                }
            }
            let depends = answers.iter().any(|answer| *answer != answers[0]);
            if depends {
                let known = [("pusher", 4000), ("graphql-ws", 1000)].contains(&(name, code));
                context.that(known, || format!("{name} {code} depends on its context"));
            }
            if !meanings.contains(&answers[3]) {
                meanings.push(answers[3]);
            }
        }
        if [4001, 4009, 4401].contains(&code) {
            apart.that(meanings.len() > 1, || format!("{code}: {meanings:?}"));
        }
        for sender in Sender::ALL.iter().copied() {
            questions += 2;
            // Written from the RFC, not from the code.
            let registered =
                [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014].contains(&code);
            let library = (3000..5000).contains(&code);
            let expected = match sender {
                Sender::Browser => code == 1000 || library,
                Sender::Server => (registered && code != 1010) || library,
                Sender::Client => registered || library,
            };
            sent.that(may_send(code, sender) == expected, || format!("{code} by {}", sender.as_str()));
            let sendable = remap(code, sender);
            let same = sendable == code;
            let good = may_send(sendable, sender) && same == expected && (same || sendable != 1000);
            remapped.that(good, || format!("{code} by {} becomes {sendable}", sender.as_str()));
        }
    }
    for letter in ["a", "é", "水", "🌊"] {
        for count in 0..140 {
            for before in 0..4 {
                questions += 1;
                let reason = "x".repeat(before) + &letter.repeat(count);
                let kept = cut_reason(&reason);
                let longest = reason.len() <= 123 || kept.len() + letter.len() > 123;
                cut.that(reason.starts_with(kept) && kept.len() <= 123 && longest, || reason.clone());
            }
        }
    }
    let checks = [total, replaced, context, sent, remapped, cut, apart];
    let mut faults = Vec::new();
    for check in &checks {
        if let Some(fault) = &check.fault {
            faults.push(Fault::plain(format!("violated: {}: {fault}", check.name)));
        } else if check.asked == 0 {
            faults.push(Fault::plain(format!("`{}` was never put to the test: no witness", check.name)));
        }
    }
    Claim {
        model: "close policy",
        bounds: format!(
            "every u16 × TLS × subscriptions × {} profiles; × 3 senders; reasons ≤ 560 bytes",
            profiles.len()
        ),
        states: questions,
        transitions: questions,
        depth: 1,
        complete: true,
        safety: checks.iter().map(|check| (check.name, check.asked)).collect(),
        liveness: Vec::new(),
        faults,
        took: (start.elapsed(), Duration::ZERO),
        taken: Vec::new(),
        scripts: Vec::new(),
    }
}
