//! What the fuzz targets do with their bytes. Each function panics when something is wrong with tidegate.
//!
//! | function | its bytes are |
//! | --- | --- |
//! | [`steps`] | a machine, one of the configs of `vectors/`, and inputs, ticks and restores on the flat path |
//! | [`records`] | a snapshot's body, sealed with the right checksum, and then steps |
//! | [`journals`] | a saga's journal: frames that are cut, doubled, damaged; and the recovery from it |
//! | [`texts`] | configs and inputs as JSON: profiles, drain notices, whatever a host passes on |
//!
//! `fuzz/targets` runs them under libFuzzer (`cargo xtask fuzz`); `tests/corpus.rs` replays the committed corpora.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a fuzz target says what is wrong by panicking"
)]

mod configs;

use arbitrary::{Arbitrary, Result, Unstructured};
use serde_json::Value;
use tidegate::close::{MAX_REASON, Sender, cut_reason, may_send, remap};
use tidegate::saga::journal::{self, Entry, FrameFault};
use tidegate::saga::{Input, Phase, Saga, SagaRecord};
use tidegate::{Machine, Name};
use tidegate_boundary::{CallError, Case, CreateError, FlatAnswer, Table};

use configs::{Known, known};

/// More steps than this show nothing new and make a corpus slow to replay.
const MOST_STEPS: usize = 64;
/// The latest time that a host can say.
const MAX_TIME: u64 = (1 << 53) - 1;

/// A machine that is driven, with what is checked after every step.
struct Driven<'a> {
    table: Table,
    handle: u32,
    known: &'a Known,
    now: u64,
    /// The greatest operation, generation or epoch that came out.
    issued: u64,
}

fn answered<T>(what: std::result::Result<T, CallError>) -> T {
    what.unwrap_or_else(|error| panic!("a call that is well formed: {error}"))
}

impl<'a> Driven<'a> {
    fn new(table: Table, handle: u32, known: &'a Known, now: u64) -> Self {
        Self { table, handle, known, now, issued: 0 }
    }

    fn snapshot(&mut self) -> Vec<u8> {
        answered(self.table.snapshot(self.handle, self.now as f64))
    }

    /// What holds after every step.
    fn check(&mut self) {
        let deadline: Value = serde_json::from_str(&answered(self.table.deadline(self.handle))).unwrap();
        if let Some(at) = deadline["at"].as_u64() {
            assert!(at > self.now, "{deadline} is not after {}", self.now);
        }
        answered(self.table.explain(self.handle, Case::Snake));
        assert_eq!(self.table.held(), 1);
    }

    fn take(&mut self, answer: FlatAnswer, before: &[u8], at: u64) {
        match answer {
            FlatAnswer::Written => {
                self.now = self.now.max(at);
                for (effect, fields) in self.known.effects(self.table.written()) {
                    for (name, word) in effect.iter().zip(fields) {
                        if matches!(&**name, "operation" | "generation" | "epoch") && *word >= 0.0 {
                            self.issued = self.issued.max(*word as u64);
                        }
                    }
                }
            }
            FlatAnswer::Nothing => self.now = self.now.max(at),
            // A rejection leaves no trace, not even in the clock.
            FlatAnswer::Rejected(_) | FlatAnswer::Malformed => {
                assert_eq!(self.snapshot(), before, "what was refused changed something");
            }
        }
        self.check();
    }

    /// A time: the deadline, near it, or anything.
    fn time(&mut self, data: &mut Unstructured<'_>) -> Result<u64> {
        let deadline: Value = serde_json::from_str(&answered(self.table.deadline(self.handle))).unwrap();
        let deadline = deadline["at"].as_u64().unwrap_or(self.now);
        let at = match data.int_in_range(0..=5)? {
            0 | 1 => deadline,
            2 => deadline.saturating_sub(1),
            3 => self.now + u64::from(u16::arbitrary(data)?),
            4 => deadline + u64::from(u32::arbitrary(data)?),
            _ => self.now,
        };
        Ok(at.min(MAX_TIME))
    }

    fn field(&self, kind: &Value, name: &str, data: &mut Unstructured<'_>) -> Result<f64> {
        if kind == "bool" {
            return Ok(f64::from(u8::from(bool::arbitrary(data)?)));
        }
        if let Some(names) = kind["name"].as_str() {
            return Ok(f64::from(data.int_in_range(0..=self.known.names(names) - 1)?));
        }
        if !kind["optional"].is_null() {
            return if bool::arbitrary(data)? { Ok(-1.0) } else { self.field(&kind["optional"], name, data) };
        }
        let most = kind["integer"].as_u64().unwrap_or(0);
        let number = match data.int_in_range(0..=5)? {
            0..=2 if matches!(name, "operation" | "generation" | "epoch") => {
                self.issued.saturating_sub(u64::from(data.int_in_range(0..=2_u8)?))
            }
            0..=2 => u64::from(data.int_in_range(0..=4_u8)?),
            3 => u64::from(u16::arbitrary(data)?),
            4 => self.issued + 1,
            _ => u64::arbitrary(data)?,
        };
        Ok(number.min(most) as f64)
    }

    fn step(&mut self, data: &mut Unstructured<'_>) -> Result<()> {
        let before = self.snapshot();
        let at = self.time(data)?;
        match data.int_in_range(0..=9)? {
            0 | 1 => {
                let answer = answered(self.table.tick_flat(self.handle, at as f64));
                self.take(answer, &before, at);
            }
            2 => self.restore(u64::from(u32::arbitrary(data)?), u64::from(u32::arbitrary(data)?)),
            // Whatever a host may get wrong on the flat path.
            3 => {
                let (tag, fields) = (u32::from(u8::arbitrary(data)?), <Vec<f64>>::arbitrary(data)?);
                let at = f64::arbitrary(data)?;
                match self.table.handle_flat(self.handle, at, tag, &fields) {
                    Ok(answer) => self.take(answer, &before, (at.max(0.0) as u64).min(MAX_TIME)),
                    Err(CallError::Malformed(_)) => assert_eq!(self.snapshot(), before),
                    Err(CallError::Bug(bug)) => panic!("{bug}"),
                }
            }
            _ => {
                let inputs = self.known.inputs();
                let tag = data.choose_index(inputs.len())?;
                let fields: Vec<f64> = inputs[tag]
                    .iter()
                    .map(|(name, kind)| self.field(kind, name, data))
                    .collect::<Result<_>>()?;
                let answer = answered(self.table.handle_flat(self.handle, at as f64, tag as u32, &fields));
                assert!(answer != FlatAnswer::Malformed, "{tag} {fields:?} is what the schema says");
                self.take(answer, &before, at);
            }
        }
        Ok(())
    }

    /// Restored at another time of another clock; a second restore changes nothing any more.
    fn restore(&mut self, base: u64, elapsed: u64) {
        let record = self.snapshot();
        let mut twice = Table::default();
        let first = twice.restore(&self.known.name, &record, base as f64, elapsed as f64);
        let first = first.unwrap_or_else(|error| panic!("its own snapshot is refused: {error:?}"));
        let again = answered(twice.snapshot(first, base as f64));
        let second = twice.restore(&self.known.name, &again, base as f64, 0.0);
        let second = second.unwrap_or_else(|error| panic!("its own snapshot is refused: {error:?}"));
        assert_eq!(answered(twice.snapshot(second, base as f64)), again, "a restore is not what was saved");
        twice.free(second);
        (self.table, self.handle, self.now) = (twice, first, base);
        // What passed meanwhile is due at once.
        answered(self.table.tick_flat(self.handle, base as f64));
        self.check();
    }
}

/// A machine, a config, and anything that may happen.
pub fn steps(data: &[u8]) {
    let _ = steps_of(&mut Unstructured::new(data));
}

fn steps_of(data: &mut Unstructured<'_>) -> Result<()> {
    let known = &known()[data.choose_index(known().len())?];
    let config = data.choose(&known.configs)?;
    let now = u64::from(u32::arbitrary(data)?);
    let seed = f64::from(u32::arbitrary(data)?);
    let mut table = Table::default();
    let handle = table.create(&known.name, config, seed, now as f64, Case::Camel);
    let handle = handle.unwrap_or_else(|error| panic!("a config of the vectors: {error:?}"));
    let mut driven = Driven::new(table, handle, known, now);
    for _ in 0..MOST_STEPS {
        if data.is_empty() {
            break;
        }
        driven.step(data)?;
    }
    Ok(())
}

/// A snapshot that somebody wrote who knows the checksum.
pub fn records(data: &[u8]) {
    let _ = records_of(&mut Unstructured::new(data));
}

fn records_of(data: &mut Unstructured<'_>) -> Result<()> {
    let known = &known()[data.choose_index(known().len())?];
    let length = usize::from(u16::arbitrary(data)?).min(data.len());
    let body = data.bytes(length)?;
    // A record as it is, and one whose head and checksum are right.
    let mut sealed = [b"TGR1", &[known.name.len() as u8][..], known.name.as_bytes(), &[1], body].concat();
    sealed.extend_from_slice(&checksum(&sealed).to_le_bytes());
    for record in [body, &sealed] {
        let mut table = Table::default();
        match table.restore(&known.name, record, 1_000.0, 3.0) {
            Ok(handle) => {
                answered(table.tick_flat(handle, 1_000.0));
                let mut driven = Driven::new(table, handle, known, 1_000);
                driven.restore(2_000, 0);
                while !data.is_empty() {
                    driven.step(data)?;
                }
            }
            Err(CreateError::Malformed(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    Ok(())
}

/// FNV-1a, 64 bits, as it stands at the end of records.
fn checksum(bytes: &[u8]) -> u64 {
    let fold = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold)
}

/// A journal that was cut, damaged or written twice; and what recovers from it.
pub fn journals(data: &[u8]) {
    let _ = journals_of(&mut Unstructured::new(data));
}

fn journals_of(data: &mut Unstructured<'_>) -> Result<()> {
    let known = known().iter().find(|known| known.name == "saga").expect("there is a saga");
    let config = data.choose(&known.configs)?;
    let mut bytes = Vec::new();
    let mut sequence = 0;
    let mut written = Vec::new();
    for _ in 0..data.int_in_range(0..=24_u8)? {
        sequence = match data.int_in_range(0..=15)? {
            0 => u64::arbitrary(data)?,
            1 => sequence,
            _ => sequence + 1,
        };
        let entry = Entry {
            sequence,
            kind: *data.choose(SagaRecord::ALL)?,
            step: Some(u32::from(data.int_in_range(0..=5_u8)?)).filter(|step| *step < 5),
            attempt: u32::from(data.int_in_range(0..=3_u8)?),
            value: u64::from(data.int_in_range(0..=3_u8)?),
        };
        let payload = <&[u8]>::arbitrary(data)?;
        let frame = journal::encode(&entry, payload).expect("a payload that is short enough");
        bytes.extend_from_slice(&frame);
        written.push(entry);
    }
    let whole = bytes.len();
    let damaged = match data.int_in_range(0..=3)? {
        0 if whole > 0 => {
            bytes.truncate(data.int_in_range(0..=whole - 1)?);
            true
        }
        1 if whole > 0 => {
            bytes[data.choose_index(whole)?] ^= u8::arbitrary(data)?.max(1);
            true
        }
        2 => {
            bytes.extend_from_slice(<&[u8]>::arbitrary(data)?);
            true
        }
        _ => false,
    };
    let read = journal::read(&bytes);
    let ordered = written.iter().zip(1_u64..).all(|(entry, place)| entry.sequence == place);
    if ordered && !damaged {
        let read = read.as_ref().expect("what was written in order can be read");
        assert!(read.frames.iter().map(|frame| frame.entry).eq(written.iter().copied()));
        assert!(read.whole == whole && !read.torn);
    }
    let Ok(journal) = read else {
        let fault = read.expect_err("just so");
        assert!(matches!(fault, FrameFault::Corrupt(_) | FrameFault::UnknownVersion(_)), "{fault}");
        return Ok(());
    };
    assert!(journal.whole <= bytes.len() && (journal.torn || journal.whole == bytes.len()));
    let again = journal::read(&bytes[..journal.whole]).expect("the whole part is whole");
    assert!(again.frames == journal.frames && !again.torn);

    // G8: recovered it goes on, or it is refused; either way it can be asked and saved.
    let config: tidegate::saga::Config = serde_json::from_value(
        Case::Camel.inward_value(serde_json::from_str(config).expect("a config of the vectors")),
    )
    .expect("a config of the vectors");
    let mut saga = Saga::new(config, 1, 0).expect("a config of the vectors");
    for frame in &journal.frames {
        let Entry { sequence, kind, step, attempt, value } = frame.entry;
        let _ = saga.handle(0, &Input::Replay { sequence, kind, step, attempt, value });
    }
    let _ = saga.handle(0, &Input::Recovered { torn: journal.torn });
    let refused = saga.phase() == Phase::Refused;
    for _ in 0..MOST_STEPS {
        let Some(deadline) = saga.deadline() else { break };
        assert!(!refused, "a saga that was refused acts");
        let step = saga.tick(deadline.at).expect("a time in range");
        assert!(step.deadline.is_none_or(|next| next.at > deadline.at));
    }
    let record = saga.snapshot(saga_now(&saga)).expect("a time in range");
    assert!(Saga::restore(&record, 0, 0).is_ok());
    Ok(())
}

fn saga_now(saga: &Saga) -> u64 {
    tidegate::Rules::clock(saga).now()
}

/// JSON from a host: a config, and inputs; and a close reason.
pub fn texts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    reasons(&text);
    let mut lines = text.lines();
    let (Some(name), Some(config)) = (lines.next(), lines.next()) else { return };
    for case in [Case::Camel, Case::Snake] {
        let mut table = Table::default();
        let handle = match table.create(name, config, 1.0, 0.0, case) {
            Ok(handle) => handle,
            Err(CreateError::Bug(bug)) => panic!("{bug}"),
            Err(CreateError::Faults(faults)) => {
                let faults: Value = serde_json::from_str(&faults).expect("faults are JSON");
                assert!(faults.as_array().is_some_and(|faults| !faults.is_empty()));
                continue;
            }
            Err(CreateError::Malformed(_)) => continue,
        };
        for (at, line) in lines.clone().take(MOST_STEPS).enumerate() {
            let before = answered(table.snapshot(handle, at as f64));
            match table.handle(handle, at as f64, line, case) {
                Ok(answer) => {
                    let answer: Value = serde_json::from_str(&answer).expect("answers are JSON");
                    if answer.get("rejection").is_some() {
                        assert_eq!(answered(table.snapshot(handle, at as f64)), before);
                    }
                }
                Err(CallError::Malformed(_)) => {
                    assert_eq!(answered(table.snapshot(handle, at as f64)), before);
                }
                Err(CallError::Bug(bug)) => panic!("{bug}"),
            }
        }
    }
}

/// C2: what is cut is a start of it, at a character, and is not cut more than needed.
fn reasons(text: &str) {
    let cut = cut_reason(text);
    assert!(text.starts_with(cut) && cut.len() <= MAX_REASON);
    let next = text[cut.len()..].chars().next().map_or(0, char::len_utf8);
    assert!(cut.len() == text.len() || cut.len() + next > MAX_REASON);
    if let [first, second, ..] = text.as_bytes() {
        let code = u16::from_le_bytes([*first, *second]);
        for sender in [Sender::Server, Sender::Client, Sender::Browser] {
            assert!(may_send(remap(code, sender), sender));
        }
    }
}
