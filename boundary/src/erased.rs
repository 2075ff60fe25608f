//! A machine of any kind, seen through numbers and JSON.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidegate::{Deadline, Machine, Message, NONE, Name, Rejection, StepOf};

use crate::{Case, json};

/// The answer on the flat path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlatAnswer {
    /// No effects, and the deadline is the one of the step before.
    Nothing,
    /// The step has been written: the deadline's time (or -1), its reason, then each effect's tag and fields.
    Written,
    /// The input was rejected: the number of the rejection code.
    Rejected(u16),
    /// The tag is unknown, or a field is missing or out of range.
    Malformed,
}

/// A machine of any kind.
pub trait Erased: Send {
    /// [`Machine::handle`] on the object path: `{"effects", "deadline"}` or `{"rejection"}`.
    ///
    /// # Errors
    /// A sentence about an input that is malformed.
    fn handle_object(&mut self, now: u64, input: &Value, case: Case) -> Result<Value, String>;
    /// [`Machine::tick`] on the object path.
    fn tick_object(&mut self, now: u64, case: Case) -> Value;
    /// [`Machine::handle`] on the flat path. A missing optional field is -1, in both directions.
    fn handle_flat(&mut self, now: u64, tag: u16, fields: &[f64], out: &mut Vec<f64>) -> FlatAnswer;
    /// [`Machine::tick`] on the flat path.
    fn tick_flat(&mut self, now: u64, out: &mut Vec<f64>) -> FlatAnswer;
    /// [`Machine::deadline`] on the object path.
    fn deadline_object(&self) -> Value;
    /// The name of the state.
    fn state(&self) -> &'static str;
    /// [`tidegate::Rules::explain`] on the object path.
    fn explain(&self, case: Case) -> Value;
    /// [`Machine::snapshot`].
    ///
    /// # Errors
    /// A sentence about a time that is out of range.
    fn snapshot(&self, now: u64) -> Result<Vec<u8>, String>;
}

/// A machine with its last announced deadline.
pub(crate) struct Held<M: Machine> {
    machine: M,
    announced: Option<Deadline<M::Why>>,
}

impl<M: Machine> Held<M> {
    pub(crate) fn new(machine: M) -> Self {
        // What `new` armed has not been announced yet: the first step tells it.
        Self { machine, announced: None }
    }

    fn object(&mut self, answer: Result<StepOf<M>, Rejection>, case: Case) -> Value {
        match answer {
            Ok(step) => {
                self.announced = step.deadline;
                let effects: Vec<_> = step.effects.iter().map(|effect| json::write(effect, case)).collect();
                json!({"effects": effects, "deadline": json::deadline(step.deadline)})
            }
            Err(rejection) => json!({"rejection": json::rejection(&rejection)}),
        }
    }

    fn flat(&mut self, answer: Result<StepOf<M>, Rejection>, out: &mut Vec<f64>) -> FlatAnswer {
        match answer {
            Ok(step) if step.effects.is_empty() && step.deadline == self.announced => FlatAnswer::Nothing,
            Ok(step) => {
                self.announced = step.deadline;
                out.push(step.deadline.map_or(-1.0, |deadline| number(deadline.at)));
                out.push(step.deadline.map_or(0.0, |deadline| f64::from(deadline.why.index())));
                for effect in &step.effects {
                    out.push(f64::from(effect.tag()));
                    out.extend(effect.words().as_slice().iter().map(|word| number(*word)));
                }
                FlatAnswer::Written
            }
            Err(rejection) => FlatAnswer::Rejected(rejection.code.index()),
        }
    }
}

impl<M: Machine + Send> Erased for Held<M>
where
    M::Config: DeserializeOwned,
    M::Why: Send,
{
    fn handle_object(&mut self, now: u64, input: &Value, case: Case) -> Result<Value, String> {
        let input = json::read::<M::Input>(input, case)?;
        let answer = self.machine.handle(now, &input);
        Ok(self.object(answer, case))
    }

    fn tick_object(&mut self, now: u64, case: Case) -> Value {
        let answer = self.machine.tick(now);
        self.object(answer, case)
    }

    fn handle_flat(&mut self, now: u64, tag: u16, fields: &[f64], out: &mut Vec<f64>) -> FlatAnswer {
        let mut words = [0; tidegate::MAX_FIELDS];
        let expected = M::Input::VARIANTS.get(usize::from(tag)).map(|variant| variant.fields.len());
        let Some(words) = words.get_mut(..fields.len()).filter(|words| expected == Some(words.len())) else {
            return FlatAnswer::Malformed;
        };
        for (word, field) in words.iter_mut().zip(fields) {
            match integer(*field) {
                Some(integer) => *word = integer,
                None => return FlatAnswer::Malformed,
            }
        }
        match M::Input::from_words(tag, words) {
            Some(input) => {
                let answer = self.machine.handle(now, &input);
                self.flat(answer, out)
            }
            None => FlatAnswer::Malformed,
        }
    }

    fn tick_flat(&mut self, now: u64, out: &mut Vec<f64>) -> FlatAnswer {
        let answer = self.machine.tick(now);
        self.flat(answer, out)
    }

    fn deadline_object(&self) -> Value {
        json::deadline(self.machine.deadline())
    }

    fn state(&self) -> &'static str {
        self.machine.state()
    }

    fn explain(&self, case: Case) -> Value {
        json::explanation(&self.machine.explain(), case)
    }

    fn snapshot(&self, now: u64) -> Result<Vec<u8>, String> {
        self.machine.snapshot(now).map_err(|rejection| rejection.to_string())
    }
}

/// A word of the flat form as a JavaScript or Python number; a missing one is -1. Words are below 2^53.
#[allow(clippy::cast_precision_loss, reason = "words are below 2^53, where every integer is an exact f64")]
fn number(word: u64) -> f64 {
    if word == NONE { -1.0 } else { word as f64 }
}

/// The reverse; none for what is no integer of 0 to 2^53 - 1 (or -1).
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be in range just before"
)]
pub(crate) fn integer(number: f64) -> Option<u64> {
    if number == -1.0 {
        return Some(NONE);
    }
    let in_range = (0.0..=9_007_199_254_740_991.0).contains(&number) && number.fract() == 0.0;
    in_range.then_some(number as u64)
}
