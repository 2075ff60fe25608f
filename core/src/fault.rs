//! What is wrong with a config: every fault at once, each with its value and its remedy.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::{MAX_DURATION, Millis};

names! {
    /// The kind of a config fault. Stable: languages map these to their own errors.
    pub enum FaultCode {
        /// A number is outside the range that can work.
        OutOfRange = "out-of-range",
        /// Two or more values contradict each other.
        Contradiction = "contradiction",
        /// The parts add up to more than the whole.
        OverBudget = "over-budget",
        /// A name is missing, repeated or unknown.
        BadName = "bad-name",
    }
}

/// One fault of a config.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Its kind.
    pub code: FaultCode,
    /// Which field, as a path from the config's root (`backoff.cap`), `snake_case`.
    pub field: String,
    /// What is wrong with which value, and what to do about it.
    pub message: String,
}

/// All faults of a config.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Faults {
    faults: Vec<Fault>,
    /// Prefixes of the fields of nested configs.
    path: Vec<String>,
}

impl Faults {
    pub(crate) fn none() -> Self {
        Self { faults: Vec::new(), path: Vec::new() }
    }

    /// The faults, in the order of the config's fields.
    #[must_use]
    pub fn list(&self) -> &[Fault] {
        &self.faults
    }

    /// Adds a fault of `field`.
    pub fn add(&mut self, code: FaultCode, field: &str, message: impl Into<String>) {
        let mut path = self.path.join(".");
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(field);
        self.faults.push(Fault { code, field: path, message: message.into() });
    }

    /// Checks a nested config under its field's name.
    pub fn inside(&mut self, field: &str, check: impl FnOnce(&mut Self)) {
        self.path.push(field.into());
        check(self);
        self.path.pop();
    }

    /// Requires a duration of `least..=MAX_DURATION`.
    pub fn duration(&mut self, field: &str, value: Millis, least: Millis) {
        self.range(field, value, least, MAX_DURATION, " ms");
    }

    /// Requires a number of `least..=most`.
    pub fn range(&mut self, field: &str, value: u64, least: u64, most: u64, unit: &str) {
        if value < least || value > most {
            let message = alloc::format!("is {value}{unit}, must be {least} to {most}{unit}");
            self.add(FaultCode::OutOfRange, field, message);
        }
    }

    pub(crate) fn into_result(self) -> Result<(), Self> {
        if self.faults.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the config cannot work:")?;
        for Fault { field, message, .. } in &self.faults {
            write!(f, "\n  {field} {message}")?;
        }
        Ok(())
    }
}

impl core::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_includes_its_ends() {
        let mut faults = Faults::none();
        for value in [1, 2, 3] {
            faults.range("field", value, 1, 3, " ms");
        }
        assert_eq!(faults.clone().into_result(), Ok(()));
        faults.range("low", 0, 1, 3, " ms");
        faults.range("high", 4, 1, 3, "");
        faults.duration("long", MAX_DURATION + 1, 0);
        faults.duration("longest", MAX_DURATION, 0);
        let found: Vec<_> = faults.list().iter().map(|fault| (&*fault.field, &*fault.message)).collect();
        let expected = [
            ("low", "is 0 ms, must be 1 to 3 ms"),
            ("high", "is 4, must be 1 to 3"),
            ("long", "is 34560000001 ms, must be 0 to 34560000000 ms"),
        ];
        assert_eq!(found, expected);
        assert!(faults.list().iter().all(|fault| fault.code == FaultCode::OutOfRange));
        assert!(faults.into_result().is_err());
    }

    #[test]
    fn a_fault_of_a_nested_config_names_its_whole_path() {
        let mut faults = Faults::none();
        faults.inside("tunnel", |faults| {
            faults.inside("backoff", |faults| faults.add(FaultCode::Contradiction, "cap", "is wrong"));
            faults.add(FaultCode::BadName, "profile", "is unknown");
        });
        faults.add(FaultCode::OverBudget, "budget", "is small");
        let fields: Vec<_> = faults.list().iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["tunnel.backoff.cap", "tunnel.profile", "budget"]);
        assert_eq!(
            faults.to_string(),
            "the config cannot work:\n  tunnel.backoff.cap is wrong\n  tunnel.profile is unknown\n  budget is small"
        );
    }
}
