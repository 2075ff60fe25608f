//! The laws that every machine obeys, once for all of them, over generated scripts.
//!
//! A script is planned blindly (proptest shrinks the plan) and made concrete against the machine that runs it:
//! times aim at its deadline, operations and connections at those that it has issued. Every step of every
//! script goes through [`lawful`]. At the end of the file is one line per machine, with the configs worth
//! trying: the defaults, the extremes that `check` accepts, and whatever turns a rule on.
//!
//! `PROPTEST_CASES` asks for more cases than the default, `PROPTEST_RNG_SEED` for other ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config as Cases, RngSeed, TestRunner};
use tidegate::{
    Draw, FieldKind, FieldSpec, MAX_FIELDS, MAX_TIME, Machine, Message, Millis, NONE, Name, Random,
    Rejection, RejectionCode, Rules, StepOf, Variant, until,
};

/// More effects than this in one step are a burst: nothing that is late is caught up on piece by piece.
const BURST: usize = 200;

/// When a step of a script happens.
#[derive(Debug, Clone, Copy)]
enum When {
    /// Exactly when the machine wants to be woken.
    Deadline,
    /// One millisecond too early.
    BeforeDeadline,
    /// Late.
    AfterDeadline(Millis),
    /// After the latest time.
    Later(Millis),
    /// The host's clock ran backwards.
    Back(Millis),
    /// So long before the end of time.
    End(Millis),
    /// After it.
    Beyond(u64),
}

/// One step of a script, not yet made concrete.
#[derive(Debug, Clone, Copy)]
struct Planned {
    when: When,
    /// Which inputs occur in this script, as bits; 0 is all of them. Scripts that lack some inputs get further
    /// into a machine: a connection that nothing closes lives to be pinged.
    inputs: u64,
    /// Whether the host of this script is quick to answer what it is asked, so that much succeeds.
    eager: bool,
    what: usize,
    fields: [u64; MAX_FIELDS],
}

/// Times that every machine tells apart.
fn ordinary_time() -> impl Strategy<Value = When> {
    prop_oneof![
        8 => Just(When::Deadline),
        2 => Just(When::BeforeDeadline),
        2 => (0..5_000_u64).prop_map(When::AfterDeadline),
        1 => (0..1_000_000_000_u64).prop_map(When::AfterDeadline),
        6 => (0..2_000_u64).prop_map(When::Later),
        2 => (0..1_000_000_u64).prop_map(When::Later),
        1 => (1..1_000_000_u64).prop_map(When::Back),
    ]
}

/// And those at the end of time.
fn any_time() -> impl Strategy<Value = When> {
    prop_oneof![
        40 => ordinary_time(),
        1 => (0..MAX_TIME).prop_map(When::Later),
        1 => (0..100_000_u64).prop_map(When::End),
        1 => any::<u64>().prop_map(When::Beyond),
    ]
}

/// Times of a host that is quick, so that limits are seldom reached.
fn prompt_time() -> impl Strategy<Value = When> {
    prop_oneof![24 => (0..20_u64).prop_map(When::Later), 1 => Just(When::Deadline), 1 => ordinary_time()]
}

fn script(
    time: impl Strategy<Value = When> + 'static,
    longest: usize,
) -> impl Strategy<Value = Vec<Planned>> {
    let inputs = prop_oneof![1 => Just(0), 3 => any::<u64>()];
    let steps = move |time: BoxedStrategy<When>| {
        prop::collection::vec((time, any::<usize>(), any::<[u64; MAX_FIELDS]>()), 0..longest)
    };
    let any_host = (Just(false), steps(time.boxed()));
    let eager_host = (Just(true), steps(prompt_time().boxed()));
    (inputs, prop_oneof![any_host, eager_host]).prop_map(|(inputs, (eager, steps))| {
        let planned = |(when, what, fields)| Planned { when, inputs, eager, what, fields };
        steps.into_iter().map(planned).collect()
    })
}

fn source() -> impl Strategy<Value = Random> {
    let draw = prop_oneof![Just(Draw::Min), Just(Draw::Mid), Just(Draw::Max)];
    prop_oneof![
        any::<u64>().prop_map(Random::seeded),
        prop::collection::vec(draw, 0..20).prop_map(|draws| Random::scripted(&draws)),
    ]
}

fn cases(count: u32) -> Cases {
    let mut cases = Cases { failure_persistence: None, ..Cases::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        cases.cases = count;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        cases.rng_seed = RngSeed::Fixed(0x7469_6465);
    }
    cases
}

/// A machine with what its host knows.
struct Run<M> {
    machine: M,
    operation: u64,
    generation: u64,
    /// The last number of each field, by its name: epochs, incarnations and the like are told again.
    last: BTreeMap<&'static str, u64>,
    /// Operations that the host has not answered.
    outstanding: BTreeSet<u64>,
    /// The inputs that were taken, and the effects that came.
    met: (BTreeSet<&'static str>, BTreeSet<&'static str>),
}

impl<M: Machine> Run<M> {
    fn start(config: &M::Config, random: &Random, now: Millis) -> Self {
        let machine = M::drawing(config.clone(), random.clone(), now).expect("a config that can work");
        Self::of(machine)
    }

    fn of(machine: M) -> Self {
        Self {
            machine,
            operation: 0,
            generation: 0,
            last: BTreeMap::new(),
            outstanding: BTreeSet::new(),
            met: Default::default(),
        }
    }

    fn now(&self) -> Millis {
        self.machine.clock().now()
    }

    /// What a host knows that nothing it was asked for is still to be answered, whatever the machine is.
    fn owes_nothing(&self) -> bool {
        self.outstanding.is_empty() && self.generation == 0
    }

    /// A generation may be called by the operation that made it.
    fn known_generation(&self) -> u64 {
        if self.generation > 0 { self.generation } else { self.operation }
    }

    fn time(&self, when: When) -> u64 {
        let now = self.now();
        let deadline = self.machine.deadline().map_or(now, |deadline| deadline.at);
        match when {
            When::Deadline => deadline.min(MAX_TIME),
            When::BeforeDeadline => deadline.saturating_sub(1),
            When::AfterDeadline(by) => deadline.saturating_add(by).min(MAX_TIME),
            When::Later(by) => now.saturating_add(by).min(MAX_TIME),
            When::Back(by) => now.saturating_sub(by),
            When::End(before) => MAX_TIME - before,
            When::Beyond(by) => MAX_TIME.saturating_add(1).saturating_add(by),
        }
    }

    /// The input of a planned step; none is a tick. Some are answers, where there is something to answer; some say
    /// what was said last.
    fn input(&self, planned: &Planned) -> Option<M::Input> {
        let asked = |field: &FieldSpec| match field.name {
            "operation" => self.operation > 0,
            "generation" => self.known_generation() > 0,
            _ => false,
        };
        let answers = |tag: &usize| M::Input::VARIANTS[*tag].fields.iter().any(asked);
        let (kind, choice) = (planned.what % 8, planned.what / 8);
        let occurs = |tag: &usize| planned.inputs == 0 || planned.inputs >> (tag % 64) & 1 == 1;
        let mut tags: Vec<usize> = (0..M::Input::VARIANTS.len()).filter(occurs).collect();
        match kind {
            0 => return None,
            1 if !planned.eager => return None,
            1..=6 if planned.eager && (self.operation > 0 || self.generation > 0) => tags.retain(answers),
            2..=3 => tags.retain(answers),
            _ => {}
        }
        let tag = *tags.get(choice % tags.len().max(1))?;
        let fields = M::Input::VARIANTS[tag].fields.iter().zip(planned.fields);
        let word = |(field, raw): (&FieldSpec, u64)| match self.last.get(field.name) {
            Some(last) if kind == 4 && fits(&field.kind, *last) => *last,
            _ => self.word(field.name, &field.kind, raw),
        };
        let words: Vec<u64> = fields.map(word).collect();
        let input = M::Input::from_words(u16::try_from(tag).unwrap(), &words);
        Some(input.unwrap_or_else(|| panic!("a message can be made by its description: {tag} {words:?}")))
    }

    fn word(&self, name: &str, kind: &FieldKind, raw: u64) -> u64 {
        let (choice, rest) = (raw % 8, raw / 8);
        match kind {
            FieldKind::Bool => rest % 2,
            FieldKind::Name(names) => rest % u64::try_from(names.values.len()).unwrap(),
            FieldKind::Optional(_) if choice < 4 => NONE,
            FieldKind::Optional(inner) => self.word(name, inner, rest),
            FieldKind::Integer(most) => {
                let known = match name {
                    "operation" => Some(self.operation),
                    "generation" => Some(self.known_generation()),
                    _ => None,
                };
                match (known, choice) {
                    (Some(known), 0..=3) => known,
                    (Some(known), 4) => known.saturating_sub(1),
                    (Some(known), 5) => known.saturating_sub(rest % 4),
                    (Some(known), 6) => known.saturating_add(1).min(*most),
                    (None, 0..=2) => rest % 8.min(most.saturating_add(1)),
                    (None, 3..=4) if rest % 16 == 0 => *most,
                    (None, 3..=4) => rest % 5_000.min(most.saturating_add(1)),
                    (None, 5..=6) => self.last.get(name).map_or(0, |last| *last.min(most)),
                    _ => rest % most.saturating_add(1),
                }
            }
            FieldKind::Text | FieldKind::List(_) | FieldKind::Group(_) => panic!("`{name}` is no integer"),
        }
    }

    /// One lawful step.
    fn step(&mut self, planned: &Planned) -> Result<StepOf<M>, Rejection> {
        let (at, input) = (self.time(planned.when), self.input(planned));
        self.act(at, input.as_ref())
    }

    fn remember(&mut self, name: &'static str, word: u64) {
        if word != NONE {
            self.last.insert(name, word);
        }
    }

    fn act(&mut self, at: u64, input: Option<&M::Input>) -> Result<StepOf<M>, Rejection> {
        let answer = lawful(&mut self.machine, at, input);
        if let Ok(step) = &answer {
            self.met.0.extend(input.map(Message::type_name));
            self.met.1.extend(step.effects.iter().map(Message::type_name));
            if let Some(input) = input {
                for (name, word) in named_words(input) {
                    self.remember(name, word);
                    if name == "operation" {
                        self.outstanding.remove(&word);
                    }
                }
            }
            for (name, word) in step.effects.iter().flat_map(named_words) {
                self.remember(name, word);
                if name == "operation" && word > self.operation {
                    self.operation = word;
                    self.outstanding.insert(word);
                } else if name == "generation" && word != NONE {
                    self.generation = self.generation.max(word);
                }
            }
        }
        answer
    }
}

fn named_words<T: Message>(message: &T) -> Vec<(&'static str, u64)> {
    let fields = T::VARIANTS[usize::from(message.tag())].fields;
    fields.iter().map(|field| field.name).zip(message.words().as_slice().iter().copied()).collect()
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Tells `machine` the time, and an input if there is one, and checks every law that one step can break.
fn lawful<M: Machine>(machine: &mut M, at: u64, input: Option<&M::Input>) -> Result<StepOf<M>, Rejection> {
    let before = machine.clone();
    let answer = tell(machine, at, input);
    match &answer {
        Err(rejection) => {
            assert_eq!(*machine, before, "a rejection changed something: {rejection}");
            let late = rejection.code == RejectionCode::TimeOutOfRange;
            assert_eq!(late, at > MAX_TIME, "a time is refused when it is beyond 2^53, and then alone");
            assert!(late || input.is_some(), "a tick was refused: {rejection}");
            if let Some(input) = input.filter(|_| !late) {
                assert_eq!(rejection.input, input.type_name());
            }
        }
        Ok(step) => {
            let now = at.max(before.clock().now());
            assert!(at <= MAX_TIME, "a time beyond 2^53 was accepted");
            assert_eq!(machine.clock().now(), now, "the clock is the latest time that was told");
            assert_eq!(step.deadline, machine.deadline());
            assert!(step.deadline.is_none_or(|next| next.at > now), "{:?} is not after {now}", step.deadline);
            assert!(machine.is_resting() || step.deadline.is_some(), "it waits for ever: {machine:?}");
            assert!(step.effects.len() <= BURST, "a burst of {} effects", step.effects.len());
            if at < now {
                let mut clamped = before.clone();
                assert_eq!(tell(&mut clamped, now, input), answer, "a clock that runs backwards is clamped");
                assert_eq!(clamped, *machine);
            }
            if let Some(input) = input {
                let mut split = before.clone();
                let mut effects = split.tick(at).expect("the time was accepted").effects;
                let second = split.handle(at, input).expect("the input was accepted");
                effects.extend(second.effects);
                assert_eq!(effects, step.effects, "what is due comes first, then the input");
                assert_eq!(split, *machine);
            }
            let mut again = machine.clone();
            let spurious = again.tick(now).unwrap();
            assert_eq!(
                (spurious.effects.len(), spurious.deadline),
                (0, step.deadline),
                "a spurious tick acted"
            );
            assert_eq!((&again, hash(&again)), (&*machine, hash(machine)));
            if let Some(deadline) = step.deadline {
                let early = again.tick(deadline.at - 1).unwrap();
                assert_eq!((early.effects.len(), early.deadline), (0, step.deadline), "an early tick acted");
            }
            step.effects.iter().for_each(crosses_flat);
            explained(machine);
        }
    }
    if let Some(input) = input {
        crosses_flat(input);
    }
    answer
}

fn tell<M: Machine>(machine: &mut M, at: u64, input: Option<&M::Input>) -> Result<StepOf<M>, Rejection> {
    match input {
        Some(input) => machine.handle(at, input),
        None => machine.tick(at),
    }
}

/// The explanation agrees with the machine.
fn explained<M: Machine>(machine: &M) {
    let explanation = machine.explain();
    assert_eq!(explanation.state, machine.state());
    let next = machine.deadline().map(|next| (until(machine.clock().now(), next.at), next.why.as_str()));
    assert_eq!(explanation.next, next);
    assert!(!explanation.because.is_empty(), "{explanation:?}");
    assert!(machine.is_resting() || !explanation.waits_for.is_empty(), "{explanation:?}");
}

/// A message survives its flat form, and its words are what its description says.
fn crosses_flat<T: Message>(message: &T) {
    let words = message.words();
    let Variant { fields, .. } = &T::VARIANTS[usize::from(message.tag())];
    assert_eq!(words.as_slice().len(), fields.len(), "{message:?}");
    for (FieldSpec { name, kind, .. }, word) in fields.iter().zip(words.as_slice()) {
        assert!(fits(kind, *word), "`{name}` of {message:?} is outside of its range");
    }
    assert_eq!(T::from_words(message.tag(), words.as_slice()).as_ref(), Some(message));
}

fn fits(kind: &FieldKind, word: u64) -> bool {
    match kind {
        FieldKind::Bool => word <= 1,
        FieldKind::Integer(most) => word <= *most,
        FieldKind::Name(names) => usize::try_from(word).is_ok_and(|word| word < names.values.len()),
        FieldKind::Optional(inner) => word == NONE || fits(inner, word),
        FieldKind::Text | FieldKind::List(_) | FieldKind::Group(_) => false,
    }
}

/// The description of a set of messages is one that every language can follow.
fn described<T: Message>() {
    let mut names = BTreeSet::new();
    for (tag, Variant { name, fields, .. }) in T::VARIANTS.iter().enumerate() {
        let tag = u16::try_from(tag).unwrap();
        assert!(names.insert(name), "`{name}` is there twice");
        let kebab = name.chars().all(|letter| letter.is_ascii_lowercase() || "-0123456789".contains(letter));
        assert!(kebab, "`{name}` is not kebab-case");
        assert!(fields.len() <= MAX_FIELDS, "`{name}` has too many fields");
        let least = vec![0; fields.len()];
        let message = T::from_words(tag, &least).expect("zero is in every range");
        assert_eq!((message.tag(), message.type_name()), (tag, *name));
        for (place, field) in fields.iter().enumerate() {
            assert!(T::from_words(tag, &least[..place]).is_none(), "`{}` may be missing", field.name);
            // None of the kinds reaches this: integers end at 2^53 - 1, and the missing word is 2^64 - 1.
            let mut words = least.clone();
            words[place] = NONE - 1;
            assert!(T::from_words(tag, &words).is_none(), "`{}` takes any word", field.name);
        }
    }
    let unknown = u16::try_from(T::VARIANTS.len()).unwrap();
    assert!(T::from_words(unknown, &[0; MAX_FIELDS]).is_none(), "an unknown tag was taken");
}

/// Same config, seed and script: the same steps.
fn repeats<M: Machine>(config: &M::Config, random: &Random, start: u64, script: &[Planned]) {
    let mut first = Run::<M>::start(config, random, start);
    let mut second = Run::<M>::start(config, random, start);
    assert!(first.machine.is_resting() || first.machine.deadline().is_some(), "it starts waiting for ever");
    explained(&first.machine);
    for planned in script {
        assert_eq!(first.step(planned), second.step(planned));
    }
    assert_eq!((&first.machine, hash(&first.machine)), (&second.machine, hash(&second.machine)));
    numbered(&first);
}

/// Machines that always draw; a lifecycle draws where it has a lease.
const DRAW: &[&str] = &["backoff", "tunnel", "lease-holder", "saga", "stack"];
/// Machines made of others, some of whose operations they answer themselves: the host never sees those numbers.
const COMPOSED: &[&str] = &["lifecycle"];

/// What the explorer relies on: a machine that draws can be told what to draw, and one that counts gives out every
/// number that it has issued, and no greater one.
fn numbered<M: Machine>(run: &Run<M>) {
    let mut machine = run.machine.clone();
    assert!(!DRAW.contains(&M::NAME) || machine.random().is_some(), "nobody can choose its draws");
    let (mut called, mut greatest) = (false, 0);
    machine.normalize(&mut |_, number| {
        called = true;
        greatest = greatest.max(u64::from(*number));
    });
    let issued = run.operation.max(run.generation);
    assert!(called || issued == 0, "its numbers are not given out");
    let may_be_greater = COMPOSED.contains(&M::NAME);
    assert!(
        !called || greatest == issued || (may_be_greater && greatest > issued),
        "{greatest}: {machine:?}"
    );
}

/// Machines that report how often something was tried. The explorer counts only as far as makes a difference.
const COUNT: &[&str] = &["backoff", "lease-holder", "lifecycle"];
/// What is added to the numbers of a machine.
const SHIFT: u32 = 1_000;

/// A message whose operations and connections have other numbers.
fn renumbered<T: Message>(message: &T, number: impl Fn(&'static str, u64) -> u64) -> T {
    let words: Vec<u64> = named_words(message).into_iter().map(|(name, word)| number(name, word)).collect();
    T::from_words(message.tag(), &words).expect("only numbers have changed")
}

/// What the explorer relies on: a machine that has forgotten what no rule reads, and whose numbers are others in the
/// same order, goes on like the original; and it does not matter what its clock says.
fn normalizes<M: Machine>(config: &M::Config, random: &Random, script: &[Planned], after: usize) {
    let (head, tail) = script.split_at(after.min(script.len()));
    let mut original = Run::<M>::start(config, random, 5);
    for planned in head {
        let _ = original.step(planned);
    }
    // A series of which nothing was issued stays at zero, and its numbers are what they were.
    let mut series: BTreeMap<&str, u32> = BTreeMap::new();
    original.machine.clone().normalize(&mut |name, number| {
        let by = if *number == 0 { 0 } else { SHIFT };
        series.entry(name).and_modify(|known| *known = by.min(*known)).or_insert(by);
    });
    let normal = |machine: &M| {
        let mut machine = machine.clone();
        machine.normalize(&mut |name, number| *number += series.get(name).unwrap_or(&0));
        machine
    };
    let moved = |mut machine: M| {
        machine.rebase(1_000_000_007);
        machine
    };
    assert_eq!(
        moved(normal(&original.machine)),
        normal(&moved(original.machine.clone())),
        "its clock tells apart what its rules do not"
    );

    let mut changed = normal(&original.machine);
    let number = |name: &'static str, word: u64| match name {
        "operation" | "generation" if word != 0 && word != NONE => {
            // A connection may be called by the operation that made it.
            let by = series.get(name).or_else(|| series.get("operation"));
            word.saturating_add(by.copied().unwrap_or(0).into()).min(u32::MAX.into())
        }
        _ => word,
    };
    let uncounted = |name: &'static str, word: u64| match name {
        "attempt" if COUNT.contains(&M::NAME) => 0,
        _ => word,
    };
    let said = |step: StepOf<M>, number: &dyn Fn(&'static str, u64) -> u64| {
        let effects = step.effects.iter().map(|effect| renumbered(&renumbered(effect, number), uncounted));
        StepOf::<M> { effects: effects.collect(), ..step }
    };
    for planned in tail {
        let (at, input) = (original.time(planned.when), original.input(planned));
        let expected = original.act(at, input.as_ref()).map(|step| said(step, &number));
        let input = input.map(|input| renumbered(&input, number));
        let answer = tell(&mut changed, at, input.as_ref()).map(|step| said(step, &|_, word| word));
        assert_eq!(answer, expected, "it forgot what matters: {changed:?}");
    }
}

/// The scripts above are worth something: between them they make every effect happen, and every input be taken.
///
/// A machine that takes long to get anywhere has an opening, which takes it one of several ways to begin with.
fn reaches_everything<M: Machine<Config: 'static>>(configs: &[M::Config], open: fn(&mut Run<M>, u64)) {
    let mut runner = TestRunner::new(Cases { rng_seed: RngSeed::Fixed(1), ..Cases::default() });
    let plans = (prop::sample::select(configs.to_vec()), source(), script(ordinary_time(), 200));
    let (mut taken, mut happened) = (BTreeSet::new(), BTreeSet::new());
    for way in 0..20_000 {
        let (config, random, script) = plans.new_tree(&mut runner).unwrap().current();
        let mut run = Run::<M>::start(&config, &random, 0);
        open(&mut run, way);
        for planned in &script {
            let (at, input) = (run.time(planned.when), run.input(planned));
            let _ = run.act(at, input.as_ref());
        }
        taken.append(&mut run.met.0);
        happened.append(&mut run.met.1);
        if taken.len() == M::Input::VARIANTS.len() && happened.len() == M::Effect::VARIANTS.len() {
            return;
        }
    }
    let missing = |known: &'static [Variant], met: &BTreeSet<&str>| -> Vec<_> {
        known.iter().map(|variant| variant.name).filter(|name| !met.contains(name)).collect()
    };
    let inputs = missing(M::Input::VARIANTS, &taken);
    let effects = missing(M::Effect::VARIANTS, &happened);
    panic!("inputs that were never taken: {inputs:?}; effects that never happened: {effects:?}");
}

/// Where a script is cut by a snapshot, and what happens to the time meanwhile.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// After so many steps.
    after: usize,
    /// Thousandths of the time until the deadline that pass before the snapshot …
    awake: u64,
    /// … and thousandths of the rest that pass between it and the restore.
    asleep: u64,
    /// The time of the clock of the process that restores.
    base: Millis,
}

fn cut() -> impl Strategy<Value = Cut> {
    let part = || prop_oneof![Just(0), Just(1_000), 0..=1_000_u64];
    let base = prop_oneof![Just(0), Just(1_000_003), 0..1_000_000_000_u64];
    (0..60_usize, part(), part(), base).prop_map(|(after, awake, asleep, base)| Cut {
        after,
        awake,
        asleep,
        base,
    })
}

/// A restored machine goes on like the original, its times moved, where nothing that the host owes is lost;
/// otherwise it obeys the laws.
fn revives<M: Machine>(
    config: &M::Config,
    random: &Random,
    script: &[Planned],
    cut: Cut,
    exact: Option<fn(&M) -> bool>,
) {
    let Cut { after, awake, asleep, base } = cut;
    let (head, tail) = script.split_at(after.min(script.len()));
    let mut original = Run::<M>::start(config, random, 5);
    for planned in head {
        let _ = original.step(planned);
    }
    let wait = original.machine.deadline().map_or(10_000, |next| until(original.now(), next.at));
    let awake = wait.saturating_mul(awake) / 1_000;
    let asleep = (wait - awake).saturating_mul(asleep) / 1_000;
    let taken = original.now() + awake;
    let snapshot = original.machine.snapshot(taken).unwrap();
    let mut restored = Run::of(M::restore(&snapshot, base, asleep).expect("its own snapshot"));
    assert_eq!(restored.now(), base, "its clock is that of the host that restores it");
    (restored.operation, restored.generation) = (original.operation, original.generation);

    let same = exact.map_or(original.owes_nothing(), |exact| exact(&original.machine));
    if !same {
        let _ = restored.act(base, None);
        for planned in tail {
            let _ = restored.step(planned);
        }
    } else {
        let resumed = taken + asleep;
        let mut both = |at: Millis, input: Option<&M::Input>, original: &mut Run<M>| {
            let moved = |at: Millis| base + (at.max(resumed) - resumed);
            let expected = original.act(at, input).map(|mut step| {
                step.deadline.iter_mut().for_each(|next| next.at = moved(next.at));
                step
            });
            assert_eq!(restored.act(moved(at), input), expected, "the restored machine goes another way");
            let now = original.now();
            let snapshots =
                (restored.machine.snapshot(moved(now)).unwrap(), original.machine.snapshot(now).unwrap());
            assert_eq!(snapshots.0, snapshots.1, "{:?}\n{:?}", restored.machine, original.machine);
        };
        both(resumed, None, &mut original);
        for planned in tail {
            let (at, input) = (original.time(planned.when), original.input(planned));
            both(at, input.as_ref(), &mut original);
        }
    }

    // Whatever was lost: nothing hangs and nothing overflows after any time.
    for (now, elapsed) in [(0, u64::MAX), (u64::MAX, 0), (MAX_TIME, MAX_TIME)] {
        let mut late = M::restore(&snapshot, now, elapsed).expect("its own snapshot");
        let _ = lawful(&mut late, now.min(MAX_TIME), None);
    }
}

/// Each snapshot of a run with one bit flipped, cut short or grown is refused.
fn refuses_damage<M: Machine>(config: &M::Config, random: &Random, script: &[Planned]) {
    let mut run = Run::<M>::start(config, random, 5);
    for planned in script {
        let _ = run.step(planned);
    }
    let mut snapshot = run.machine.snapshot(run.now()).unwrap();
    for place in 0..snapshot.len() {
        assert!(M::restore(&snapshot[..place], 0, 0).is_err(), "cut at {place}");
        for bit in 0..8 {
            snapshot[place] ^= 1 << bit;
            assert!(M::restore(&snapshot, 0, 0).is_err(), "bit {bit} of byte {place} flipped");
            snapshot[place] ^= 1 << bit;
        }
    }
    assert!(M::restore(&snapshot, 0, 0).is_ok());
    snapshot.push(0);
    assert!(M::restore(&snapshot, 0, 0).is_err(), "grown");
}

/// A byte of a record, changed by someone who knows the checksum.
#[derive(Debug, Clone, Copy)]
struct Forgery {
    place: usize,
    value: u8,
}

/// A forged snapshot is refused, or makes a machine that obeys the laws: with any config and any state that
/// `read` lets pass.
fn survives_forgery<M: Machine>(
    config: &M::Config,
    random: &Random,
    script: &[Planned],
    forgeries: &[Forgery],
    after: usize,
) {
    let (head, tail) = script.split_at(after.min(script.len()));
    let mut run = Run::<M>::start(config, random, 5);
    for planned in head {
        let _ = run.step(planned);
    }
    let mut record = run.machine.snapshot(run.now()).unwrap();
    let body = record.len() - 8;
    // "TGR1", the length of the name, the name, the version.
    let header = 4 + 1 + M::NAME.len() + 1;
    for Forgery { place, value } in forgeries {
        record[header + place % (body - header)] = *value;
    }
    let sum = record[..body]
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    record[body..].copy_from_slice(&sum.to_le_bytes());
    if let Ok(machine) = M::restore(&record, 7, 3) {
        let mut forged = Run::of(machine);
        (forged.operation, forged.generation) = (run.operation, run.generation);
        let _ = forged.act(7, None);
        for planned in tail {
            let _ = forged.step(planned);
        }
        let again = forged.machine.snapshot(forged.now()).unwrap();
        assert!(M::restore(&again, 0, 0).is_ok(), "it cannot read its own snapshot: {:?}", forged.machine);
    }
}

fn forgeries() -> impl Strategy<Value = Vec<Forgery>> {
    let value = prop_oneof![3 => 0..4_u8, 1 => Just(0x7f), 1 => Just(0xff), 3 => any::<u8>()];
    let forgery = (any::<usize>(), value).prop_map(|(place, value)| Forgery { place, value });
    prop::collection::vec(forgery, 1..4)
}

/// `laws!(name, Machine, configs)` checks every law of one machine. `configs` is an expression of `Vec<Config>`.
///
/// A fifth argument is an opening, see [`reaches_everything`]. A fourth argument, `|machine: &Machine| bool`, says in which states a restored machine goes on exactly like
/// the original; without it, where the host owes no answer to an operation and there was no connection.
macro_rules! laws {
    ($name:ident, $Machine:ty, $configs:expr) => {
        laws!(@ $name, $Machine, $configs, None, |_, _| {});
    };
    ($name:ident, $Machine:ty, $configs:expr, $exact:expr) => {
        laws!(@ $name, $Machine, $configs, Some($exact), |_, _| {});
    };
    ($name:ident, $Machine:ty, $configs:expr, $exact:expr, $open:expr) => {
        laws!(@ $name, $Machine, $configs, Some($exact), $open);
    };
    (@ $name:ident, $Machine:ty, $configs:expr, $exact:expr, $open:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "the configs of some machines need more of it than others")]
            use super::*;

            fn configs() -> Vec<<$Machine as Rules>::Config> {
                $configs
            }

            fn config() -> impl Strategy<Value = <$Machine as Rules>::Config> {
                prop::sample::select(configs())
            }

            #[test]
            fn its_messages_are_described_and_its_configs_can_work() {
                described::<<$Machine as Rules>::Input>();
                described::<<$Machine as Rules>::Effect>();
                for config in configs() {
                    if let Err(faults) = <$Machine>::new(config, 1, 0) {
                        panic!("{faults}");
                    }
                }
            }

            #[test]
            fn its_scripts_reach_every_input_and_every_effect() {
                reaches_everything::<$Machine>(&configs(), $open);
            }

            proptest! {
                #![proptest_config(cases(256))]

                #[test]
                fn the_same_script_gives_the_same_lawful_steps(
                    config in config(),
                    random in source(),
                    start in prop_oneof![Just(0), any::<u64>()],
                    script in script(any_time(), 120),
                ) {
                    repeats::<$Machine>(&config, &random, start, &script);
                }

                #[test]
                fn a_restored_machine_goes_on_like_the_original(
                    config in config(),
                    random in source(),
                    script in script(ordinary_time(), 80),
                    cut in cut(),
                ) {
                    revives::<$Machine>(&config, &random, &script, cut, $exact);
                }

                #[test]
                fn a_forged_snapshot_is_refused_or_makes_a_lawful_machine(
                    config in config(),
                    random in source(),
                    script in script(any_time(), 60),
                    forgeries in forgeries(),
                    after in 0..40_usize,
                ) {
                    survives_forgery::<$Machine>(&config, &random, &script, &forgeries, after);
                }
            }

            proptest! {
                // What may be forgotten matters seldom; and each is cheap.
                #![proptest_config(cases(1_024))]

                #[test]
                fn a_normalized_machine_goes_on_like_the_original(
                    config in config(),
                    random in source(),
                    script in script(ordinary_time(), 80),
                    after in 0..60_usize,
                ) {
                    normalizes::<$Machine>(&config, &random, &script, after);
                }
            }

            proptest! {
                #![proptest_config(cases(16))]

                #[test]
                fn a_damaged_snapshot_is_refused(
                    config in config(),
                    random in source(),
                    script in script(ordinary_time(), 40),
                ) {
                    refuses_damage::<$Machine>(&config, &random, &script);
                }
            }
        }
    };
}

laws!(backoff, tidegate::backoff::Backoff, configs::backoff(), |_| true);
laws!(close_policy, tidegate::close::ClosePolicy, configs::close_policy(), |_| true);
laws!(tunnel, tidegate::tunnel::Tunnel, configs::tunnel(), |_| true);
laws!(peer, tidegate::peer::Peer, configs::peer());
laws!(directory, tidegate::directory::Directory, configs::directory(), |_| true);
laws!(drain, tidegate::drain::Drain, configs::drain(), |_| true);
laws!(lease, tidegate::lease::Lease, configs::lease(), |_| true);
laws!(lease_holder, tidegate::lease_holder::LeaseHolder, configs::lease_holder(), |holder| {
    // A lease that was held is renewed first (L6).
    holder.at() != tidegate::lease_holder::State::Holding
});
laws!(
    lifecycle,
    tidegate::lifecycle::Lifecycle,
    configs::lifecycle(),
    |lifecycle| {
        // As with its holder.
        lifecycle.epoch().is_none()
    },
    opened
);
laws!(saga, tidegate::saga::Saga, configs::saga(), |_| true);
laws!(handoff, tidegate::handoff::Handoff, configs::handoff(), |_| true);
laws!(stack, tidegate::stack::Stack, configs::stack(), |_| true);
laws!(successor, tidegate::successor::Successor, configs::successor(), |_| true);

/// A process that has come a part of the way: not at all, to serving, to an upgrade, to serving as a successor.
fn opened(run: &mut Run<tidegate::lifecycle::Lifecycle>, way: u64) {
    use tidegate::handoff::Speaks;
    use tidegate::lifecycle::{Input, State};
    let successor = way % 4 == 3;
    let possible = !successor || run.machine.config().successor.is_some();
    if way.is_multiple_of(4) || !possible {
        return;
    }
    let now = run.now();
    let tell = |run: &mut Run<_>, input: Input| drop(run.act(now, Some(&input)));
    tell(run, Input::Boot { successor });
    for _ in 0..way / 4 % 7 {
        let operation = run.operation.try_into().unwrap();
        let next = match run.machine.at() {
            State::Claiming => Input::Mine { operation, epoch: 5, term: 60_000 },
            State::TakingOver if run.last.contains_key("version") => {
                Input::Acknowledged { version: 1, state: way.is_multiple_of(3) }
            }
            State::Serving => break,
            _ => Input::Done { operation },
        };
        tell(run, next);
        tell(run, Input::Done { operation });
    }
    if way % 4 == 2 && run.machine.config().handoff.is_some() {
        tell(run, Input::Upgrade);
        let generation = run.operation.try_into().unwrap();
        tell(run, Input::Ready { generation, speaks: Speaks::Tidegate, version: 1 });
    }
}

/// The configs worth trying.
mod configs {
    use tidegate::MAX_DURATION;
    use tidegate::backoff::{self, Jitter, Policy};
    use tidegate::close::{Context, Profile, Response, Rule};
    use tidegate::drain::{self, ReleaseStep, StepKind};
    use tidegate::handoff::{self, UndoHook, WhileDraining};
    use tidegate::lifecycle;
    use tidegate::saga::{self, Compensation, SagaStep};
    use tidegate::stack::{self, Component, Readiness, Restart};
    use tidegate::tunnel::{self, Acceptance, Overflow};
    use tidegate::{directory, lease, lease_holder, peer, successor};

    /// Each jitter, from the failure and from the start of an attempt, and the extremes.
    pub(crate) fn policies() -> Vec<Policy> {
        let jitters = [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::PlusMinus, Jitter::Decorrelated];
        let each = jitters.into_iter().flat_map(|jitter| {
            [false, true].map(|from_start| Policy { jitter, from_start, ..Policy::default() })
        });
        let none = Policy { jitter: Jitter::None, ..Policy::default() };
        each.chain([
            Policy { initial: 1, factor: 1_000, cap: 1, floor: 1, hint_max: 0, ..none.clone() },
            Policy {
                initial: MAX_DURATION,
                factor: 100_000,
                cap: MAX_DURATION,
                floor: MAX_DURATION,
                hint_max: MAX_DURATION,
                ..none
            },
            Policy {
                initial: 1,
                factor: 1_001,
                cap: MAX_DURATION,
                floor: 1,
                hint_max: MAX_DURATION,
                jitter: Jitter::Full,
                from_start: true,
                ..Policy::default()
            },
        ])
        .collect()
    }

    pub(crate) fn backoff() -> Vec<backoff::Config> {
        let each = policies().into_iter().map(|policy| backoff::Config { policy, ..Default::default() });
        let shortest = backoff::Config { attempt_limit: 1, stable_after: 1, ..Default::default() };
        let longest =
            backoff::Config { attempt_limit: MAX_DURATION, stable_after: MAX_DURATION, ..Default::default() };
        each.chain([shortest, longest]).collect()
    }

    pub(crate) fn close_policy() -> Vec<Profile> {
        let own = Rule {
            from: 0,
            to: u16::MAX,
            when: Context::Subscribed,
            response: Response::Spread,
            min: MAX_DURATION,
            max: MAX_DURATION,
            ..Rule::default()
        };
        let own = Profile { rules: vec![own], ..Profile::named("relay") };
        Profile::names().map(Profile::named).chain([own]).collect()
    }

    /// Each way of acceptance; one endpoint and several; no budget, no pings, no buffer; short limits; extremes.
    pub(crate) fn tunnel() -> Vec<tunnel::Config> {
        let accepted = |acceptance| tunnel::Config { acceptance, ..Default::default() };
        let each = [Acceptance::Explicit, Acceptance::FirstInbound, Acceptance::Quiet].map(accepted);
        let relay = tunnel::Config {
            profile: Profile::named("relay"),
            acceptance: Acceptance::Explicit,
            endpoints: 3,
            rotate_after: 1,
            buffer_limit: 2,
            overflow: Overflow::DropOldest,
            ..Default::default()
        };
        let bare = tunnel::Config {
            backoff: Policy { from_start: true, ..Policy::default() },
            profile: Profile::named("discord"),
            immediate_budget: 0,
            ping_after: 0,
            dead_after: 0,
            finish_limit: 0,
            notice_max: 0,
            buffer_limit: 0,
            ..Default::default()
        };
        let patient = tunnel::Config {
            prepare_limit: 1_000_000,
            dial_limit: 1_000_000,
            accept_limit: 1_000_000,
            finish_limit: 1_000_000,
            endpoints: 2,
            ..relay.clone()
        };
        let longest = tunnel::Config {
            backoff: policies().pop().unwrap_or_default(),
            slow_delay: MAX_DURATION,
            quiet_time: MAX_DURATION,
            prepare_limit: MAX_DURATION,
            dial_limit: MAX_DURATION,
            accept_limit: MAX_DURATION,
            ping_after: MAX_DURATION - 1,
            dead_after: MAX_DURATION,
            stall_tolerance: MAX_DURATION,
            stable_after: MAX_DURATION,
            immediate_window: MAX_DURATION,
            finish_limit: MAX_DURATION,
            notice_max: MAX_DURATION,
            ..Default::default()
        };
        each.into_iter().chain([relay, bare, patient, longest]).collect()
    }

    /// The default, the shortest and the longest.
    pub(crate) fn peer() -> Vec<peer::Config> {
        let all = |duration| peer::Config {
            authorize_limit: duration,
            register_limit: duration,
            ping_every: duration,
            ping_misses: 1,
            stall_tolerance: duration,
            renew_every: duration,
            retry_every: duration,
            ..Default::default()
        };
        vec![peer::Config::default(), all(1), all(MAX_DURATION)]
    }

    pub(crate) fn directory() -> Vec<directory::Config> {
        [90_000, 1, MAX_DURATION].map(|ttl| directory::Config { ttl }).to_vec()
    }

    /// With and without steps, paced and at once, with no fixed wait; extremes.
    pub(crate) fn drain() -> Vec<drain::Config> {
        let step =
            |name: &str, kind, attempts| ReleaseStep { name: name.into(), kind, limit: 2_000, attempts };
        let steps = vec![
            step("balancer", StepKind::Unroute, 2),
            step("dns", StepKind::Unroute, 1),
            step("flush", StepKind::Release, 3),
            step("close", StepKind::Release, 1),
        ];
        let full = drain::Config { steps, kill_budget: 40_000, ..Default::default() };
        let paced = drain::Config { reconnect_rate: 2, grace: 5_000, ..full.clone() };
        let at_once =
            drain::Config { lame_duck: 0, flush: 0, min_idle_age: 0, signal_merge: 0, ..Default::default() };
        let longest = drain::Config {
            grace: MAX_DURATION / 2,
            kill_budget: MAX_DURATION,
            flush: MAX_DURATION,
            min_idle_age: MAX_DURATION,
            signal_merge: MAX_DURATION,
            reconnect_rate: 1,
            end_streams: false,
            restart_exit_code: 75,
            ..Default::default()
        };
        vec![drain::Config::default(), full, paced, at_once, longest]
    }

    /// The default; everything short, with and without a hold for idle ones; everything long.
    pub(crate) fn lease() -> Vec<lease::Config> {
        let all = |duration, unroute_attempts| lease::Config {
            term: duration,
            grace: duration,
            idle_hold: duration,
            allocate_limit: duration,
            unroute_limit: duration,
            unroute_attempts,
            unroute_pause: duration,
            quarantine: duration,
            quarantine_max: duration,
            suspicion: duration,
            handoff: duration,
        };
        let short = lease::Config {
            term: 400,
            suspicion: 100,
            idle_hold: 0,
            quarantine_max: 100_000,
            handoff: 0,
            ..all(300, 2)
        };
        vec![lease::Config::default(), short, all(1, 1), all(MAX_DURATION, 100)]
    }

    /// The default; no drain to wait for; everything short; everything long.
    pub(crate) fn lease_holder() -> Vec<lease_holder::Config> {
        let at_once = lease_holder::Config { drain: 0, drift: 500, term: 90_000, ..Default::default() };
        let short = lease_holder::Config {
            term: 12,
            drain: 1,
            margin: 1,
            drift: 0,
            ask_limit: 1,
            release_limit: 1,
            ..Default::default()
        };
        let long = lease_holder::Config {
            term: MAX_DURATION,
            drain: MAX_DURATION / 3,
            margin: 1,
            drift: 1,
            ask_limit: MAX_DURATION / 10,
            release_limit: MAX_DURATION,
            retry: policies().pop().unwrap_or_default(),
        };
        vec![lease_holder::Config::default(), at_once, short, long]
    }

    /// Every part and none; with a lease alone; with a handoff alone; the shortest and the longest.
    pub(crate) fn lifecycle() -> Vec<lifecycle::Config> {
        let step = |name: &str, kind| ReleaseStep { name: name.into(), kind, limit: 2_000, attempts: 1 };
        let steps = vec![step("balancer", StepKind::Unroute), step("flush", StepKind::Release)];
        let drain =
            drain::Config { lame_duck: 500, grace: 10_000, reconnect_rate: 2, steps, ..Default::default() };
        let handoff = handoff::Config {
            state: true,
            pid_file: true,
            while_draining: WhileDraining::Queue,
            undo: vec![UndoHook { name: "lock".into(), limit: 1_000 }],
            ..Default::default()
        };
        let successor = successor::Config { pid_file: true, ..Default::default() };
        let paced = drain::Config { lame_duck: 0, grace: 5_000, reconnect_rate: 1, ..Default::default() };
        let bare = lifecycle::Config { control_door: false, drain: paced, ..Default::default() };
        let leased =
            lifecycle::Config { lease: Some(lease_holder::Config::default()), drain, ..bare.clone() };
        let passed = lifecycle::Config {
            handoff: Some(handoff.clone()),
            successor: Some(successor.clone()),
            ..bare.clone()
        };
        let inherited = lifecycle::Config {
            handoff: Some(handoff::Config { lease: true, ..Default::default() }),
            successor: Some(successor::Config { lease: true, ..Default::default() }),
            ..leased.clone()
        };
        let whole = lifecycle::Config {
            clear_rows: true,
            control_door: true,
            handoff: Some(handoff::Config { lease: true, ..handoff.clone() }),
            successor: Some(successor::Config { lease: true, ..successor }),
            ..leased.clone()
        };
        let longest = lifecycle::Config {
            clear_rows_limit: MAX_DURATION,
            initialise_limit: MAX_DURATION,
            marker_age: MAX_DURATION,
            inherit_limit: MAX_DURATION,
            drain: self::drain().pop().unwrap_or_default(),
            ..Default::default()
        };
        vec![lifecycle::Config::default(), bare, leased, passed, inherited, whole, longest]
    }

    /// One step; a list with probes, requirements and a fallback; a diamond without retries; a pivot in the middle,
    /// verified or not; extremes.
    pub(crate) fn saga() -> Vec<saga::Config> {
        let step = |name: &str, after: &[&str]| SagaStep {
            name: name.into(),
            after: after.iter().map(|name| (*name).into()).collect(),
            undo_retries: 1,
            ..Default::default()
        };
        let of = |steps: Vec<SagaStep>| saga::Config { steps, ..Default::default() };
        let one = of(vec![step("only", &[])]);
        let list = of(vec![
            SagaStep {
                undo_requires: vec!["route".into()],
                fallback: true,
                fenced: true,
                ..step("row", &[])
            },
            SagaStep { verify: true, lateness: Some(700), retries: 1, ..step("route", &["row"]) },
            SagaStep { idempotent: true, retries: 2, undo_retries: 0, ..step("reload", &["route"]) },
        ]);
        let strict = of(vec![
            SagaStep { undo_requires: vec!["b".into()], undo_retries: 0, ..step("a", &[]) },
            SagaStep { undo_retries: 0, ..step("b", &["a"]) },
            SagaStep { compensation: Compensation::Nothing, ..step("c", &["a"]) },
            SagaStep { verify: true, ..step("d", &["b", "c"]) },
        ]);
        let pivot = |verify, lateness| {
            of(vec![
                step("before", &[]),
                SagaStep {
                    compensation: Compensation::Pivot,
                    verify,
                    lateness,
                    idempotent: !verify,
                    retries: 1,
                    ..step("pivot", &["before"])
                },
                SagaStep { compensation: Compensation::Nothing, retries: 1, ..step("after", &["pivot"]) },
                SagaStep { compensation: Compensation::Nothing, verify, ..step("beside", &["pivot"]) },
            ])
        };
        let quick = SagaStep { limit: 1, undo_limit: 1, verify_limit: 1, verify: true, ..step("quick", &[]) };
        let shortest = saga::Config { steps: vec![quick], rollback_deadline: 3, append_limit: 1 };
        let slow = SagaStep {
            limit: MAX_DURATION / 4,
            undo_limit: MAX_DURATION / 4,
            verify_limit: MAX_DURATION / 4,
            lateness: Some(MAX_DURATION / 4),
            verify: true,
            retries: 100,
            undo_retries: 100,
            backoff: policies().pop().unwrap_or_default(),
            ..step("slow", &[])
        };
        let longest =
            saga::Config { steps: vec![slow], rollback_deadline: MAX_DURATION, append_limit: MAX_DURATION };
        vec![
            one,
            list,
            strict,
            pivot(false, None),
            pivot(true, None),
            pivot(true, Some(50)),
            shortest,
            longest,
        ]
    }

    /// With and without everything that is optional; the shortest and the longest.
    pub(crate) fn handoff() -> Vec<handoff::Config> {
        let hook = |name: &str, limit| UndoHook { name: name.into(), limit };
        let full = handoff::Config {
            state: true,
            pid_file: true,
            lease: true,
            while_draining: WhileDraining::Queue,
            most_draining: 2,
            undo: vec![hook("lock", 1_000), hook("journal", 500)],
            ..Default::default()
        };
        let all = |duration| handoff::Config {
            spawn_limit: duration,
            ready_limit: duration,
            accept_limit: duration,
            settle: duration,
            look_limit: duration,
            kill_limit: duration,
            state_limit: duration,
            task_limit: duration,
            drain_limit: duration,
            queue_limit: duration,
            undo: vec![hook("lock", duration)],
            ..full.clone()
        };
        vec![handoff::Config::default(), full.clone(), all(1), all(MAX_DURATION)]
    }

    /// With and without everything that is optional; the shortest and the longest.
    pub(crate) fn successor() -> Vec<successor::Config> {
        let all = |duration| successor::Config {
            initialise_limit: duration,
            acknowledge_limit: duration,
            state_limit: duration,
            accept_limit: duration,
            gone_limit: duration,
            pid_file: true,
            pid_file_limit: duration,
            lease: true,
        };
        vec![successor::Config::default(), all(2_000), all(1), all(MAX_DURATION)]
    }

    /// Nothing, one component that is never started again, a chain, a diamond with everything, and the extremes.
    pub(crate) fn stack() -> Vec<stack::Config> {
        let component = |name: &str, after: &[&str], ready| Component {
            name: name.into(),
            after: after.iter().map(|name| (*name).into()).collect(),
            ready,
            ..Component::default()
        };
        let config = |components| stack::Config { components, kill_budget: 200_000, ..Default::default() };
        let one = Component { restart: Restart::Never, ..component("one", &[], Readiness::Started) };
        let router = Component { drain: true, ..component("router", &["policy"], Readiness::Http) };
        let policy = component("policy", &["executor"], Readiness::Socket);
        let executor = Component {
            restart: Restart::Always,
            restart_budget: 2,
            restart_window: 1_000,
            ..component("executor", &[], Readiness::Delay)
        };
        let full = |name: &str, after: &[&str]| Component {
            drain: true,
            upgradable: true,
            restart: Restart::Always,
            restart_budget: 100,
            ..component(name, after, Readiness::Notify)
        };
        let diamond = vec![
            full("top", &["left", "right"]),
            full("left", &["base"]),
            full("right", &["base"]),
            full("base", &[]),
        ];
        let all = |duration, kill_budget| {
            let part = |name: &str, after: &[&str]| Component {
                ready_delay: duration,
                ready_limit: duration,
                backoff: policies().pop().unwrap_or_default(),
                stable_after: duration,
                restart_window: duration,
                drain_call_limit: duration,
                drain_limit: duration,
                stop_limit: duration,
                ..full(name, after)
            };
            stack::Config {
                components: vec![part("a", &[]), Component { ready: Readiness::Delay, ..part("b", &["a"]) }],
                spawn_limit: duration,
                kill_limit: duration,
                reap_limit: duration,
                kill_budget,
                margin: 10,
                signal_merge: duration,
                restart_exit_code: 75,
            }
        };
        vec![
            stack::Config::default(),
            config(vec![one]),
            config(vec![router, policy, executor]),
            config(diamond),
            all(1, 100),
            all(1_000_000_000, MAX_DURATION),
        ]
    }
}
