//! Field names in the habits of each language.

use serde_json::{Map, Value};

/// How field names are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// `retryAfter`, for JavaScript.
    Camel,
    /// `retry_after`, for Python.
    Snake,
}

impl Case {
    /// A core name (`snake_case`) in this case.
    #[must_use]
    pub fn outward(self, name: &str) -> String {
        if self == Self::Snake {
            return name.to_owned();
        }
        let mut words = name.split('_');
        let mut written = words.next().unwrap_or("").to_owned();
        for word in words {
            let mut letters = word.chars();
            written.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
            written.push_str(letters.as_str());
        }
        written
    }

    /// A name in this case as the core writes it.
    #[must_use]
    pub fn inward(self, name: &str) -> String {
        if self == Self::Snake {
            return name.to_owned();
        }
        let mut written = String::with_capacity(name.len() + 4);
        for letter in name.chars() {
            if letter.is_ascii_uppercase() {
                written.push('_');
            }
            written.push(letter.to_ascii_lowercase());
        }
        written
    }

    /// A whole value with every object's names as the core writes them.
    #[must_use]
    pub fn inward_value(self, value: Value) -> Value {
        match value {
            Value::Object(fields) => Value::Object(
                fields
                    .into_iter()
                    .map(|(name, value)| (self.inward(&name), self.inward_value(value)))
                    .collect::<Map<_, _>>(),
            ),
            Value::Array(values) => {
                Value::Array(values.into_iter().map(|value| self.inward_value(value)).collect())
            }
            other => other,
        }
    }

    /// A path of names (`backoff.hint_max`) in this case.
    #[must_use]
    pub fn outward_path(self, path: &str) -> String {
        path.split('.').map(|name| self.outward(name)).collect::<Vec<_>>().join(".")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_turn_into_camel_case_and_back() {
        for (core, camel) in [("at", "at"), ("retry_after", "retryAfter"), ("min_idle_age", "minIdleAge")] {
            assert_eq!(Case::Camel.outward(core), camel);
            assert_eq!(Case::Camel.inward(camel), core);
            assert_eq!(Case::Snake.outward(core), core);
        }
        assert_eq!(Case::Camel.outward_path("backoff.hint_max"), "backoff.hintMax");
    }
}
