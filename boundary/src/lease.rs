//! The decisions of a lease for hosts: pure functions on values, so that a store runs them inside its transaction.

use serde_json::{Value, json};
use tidegate::MAX_TIME;
use tidegate::lease::{self, Row, consequences, decide};
use tidegate::lease_holder as holder;

use crate::{Case, json as object};

/// What a command does to a row: `{"row", "answer", "effects"}`, where `effects` are what follows beyond the answer,
/// in order. Everything is JSON. A row that is `null` is that of a gateway that was never allocated; `terms` is a
/// config of the machine `lease` that was checked when one was made.
///
/// # Errors
/// What is malformed: the row (none that decisions can have led to), the command, the terms or the time.
pub fn lease_decide(row: &str, command: &str, now: f64, terms: &str, case: Case) -> Result<String, String> {
    let row = parse("row", row)?;
    let before: Row = match row {
        Value::Null => Row::default(),
        row => serde_json::from_value(row).map_err(|error| format!("the row of a lease: {error}"))?,
    };
    if !before.is_possible() {
        return Err("the row of a lease is none that decisions can have led to".into());
    }
    let command: lease::Input = object::read(&parse("command", command)?, case)?;
    let terms: lease::Config = serde_json::from_value(case.inward_value(parse("terms", terms)?))
        .map_err(|error| format!("the terms of a lease: {error}"))?;
    let now = crate::erased::integer(now)
        .filter(|now| *now <= MAX_TIME)
        .ok_or_else(|| format!("{now} is no time: an integer of milliseconds, 0 or more"))?;
    // In two parts, as the machine does it: what follows from time comes before what follows from the command.
    let due = before.at(now, &terms);
    let (after, answer) = decide(due, &command, now, &terms);
    let mut effects = consequences(&before, &due, &terms);
    effects.extend(consequences(&due, &after, &terms));
    let effects: Vec<_> = effects.iter().map(|effect| object::write(effect, case)).collect();
    Ok(json!({ "row": after, "answer": object::write(&answer, case), "effects": effects }).to_string())
}

/// What the granter's answer to a holder's question means (L6): the input for the holder, as JSON.
///
/// # Errors
/// What is malformed, or that this answers no such question.
pub fn lease_meaning(question: &str, answer: &str, case: Case) -> Result<String, String> {
    let question: holder::Effect = object::read(&parse("question", question)?, case)?;
    let answer: lease::Effect = object::read(&parse("answer", answer)?, case)?;
    let meaning = holder::Input::answering(&question, &answer)
        .ok_or_else(|| format!("{answer:?} is no answer to {question:?}"))?;
    Ok(object::write(&meaning, case).to_string())
}

fn parse(what: &str, text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("the {what} is no JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(row: &Value, command: &Value, now: f64) -> Value {
        let decided = lease_decide(&row.to_string(), &command.to_string(), now, "{}", Case::Camel);
        serde_json::from_str(&decided.unwrap()).unwrap()
    }

    #[test]
    fn a_row_goes_through_its_decisions_as_json() {
        let allocate = json!({"type": "allocate", "organization": 7, "request": 1});
        let allocated = decided(&Value::Null, &allocate, 5.0);
        assert_eq!(allocated["answer"], json!({"type": "allocated", "epoch": 1, "limit": 30_000}));
        assert_eq!(
            allocated["row"],
            json!({"epoch": 1, "incarnation": 0, "request": 1, "failures": 0,
                   "standing": {"state": "allocating", "organization": 7, "until": 30_005}})
        );
        let confirm = json!({"type": "confirm", "epoch": 1, "incarnation": 3});
        let confirmed = decided(&allocated["row"], &confirm, 6.0);
        assert_eq!(confirmed["row"]["standing"]["state"], "active");
        assert_eq!(confirmed["effects"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn what_follows_from_time_comes_before_what_follows_from_the_command() {
        let row = json!({"epoch": 1, "incarnation": 1, "request": 1, "failures": 0,
            "standing": {"state": "held", "organization": 7, "until": 10, "cause": "restart"}});
        let claimed = decided(&row, &json!({"type": "claim", "incarnation": 2}), 10.0);
        assert_eq!(claimed["answer"]["refusal"], "no-lease");
        let types: Vec<_> =
            claimed["effects"].as_array().unwrap().iter().map(|effect| &effect["type"]).collect();
        assert_eq!(types, ["entered", "unroute"]);
    }

    #[test]
    fn what_is_malformed_is_refused_in_words() {
        let look = r#"{"type":"look"}"#;
        let refused =
            |row, command, now, terms| lease_decide(row, command, now, terms, Case::Camel).unwrap_err();
        assert!(refused("{", look, 0.0, "{}").contains("the row is no JSON"));
        assert!(refused("{}", look, 0.0, "{}").contains("the row of a lease"));
        let impossible = r#"{"epoch":0,"incarnation":0,"request":null,"failures":0,"standing":{"state":"active","organization":1,"until":1,"suspect":null,"predecessor":null}}"#;
        assert!(refused(impossible, look, 0.0, "{}").contains("none that decisions can have led to"));
        assert!(refused("null", r#"{"type":"loko"}"#, 0.0, "{}").contains("no input `loko`"));
        assert!(refused("null", look, -1.0, "{}").contains("no time"));
        assert!(refused("null", look, 0.0, r#"{"term":"x"}"#).contains("the terms of a lease"));
    }

    #[test]
    fn l6_an_answer_means_the_same_as_in_the_core() {
        let claim = r#"{"type":"claim","operation":4,"limit":1,"predecessor":null}"#;
        let refused = r#"{"type":"refused","refusal":"fenced","epoch":2}"#;
        assert_eq!(
            lease_meaning(claim, refused, Case::Camel).unwrap(),
            r#"{"type":"not-mine","operation":4,"fenced":true}"#
        );
        let renewed = r#"{"type":"renewed","epoch":1,"term":5}"#;
        assert!(lease_meaning(claim, renewed, Case::Camel).unwrap_err().contains("no answer"));
    }
}
