//! The journal of a saga for hosts: its frames are made and read here, so that every language writes the same bytes.

use serde_json::{Value, json};
use tidegate::Name;
use tidegate::saga::SagaRecord;
use tidegate::saga::journal::{Entry, FrameFault, encode, read};

/// One record as a frame: `{"sequence", "kind", "step", "attempt", "value"}` and what the host adds to it.
///
/// # Errors
/// What is wrong with the record, or that the payload is too long.
pub fn journal_frame(record: &str, payload: &[u8]) -> Result<Vec<u8>, String> {
    let entry = entry(record).ok_or_else(|| format!("this is no record of a journal: {record}"))?;
    encode(&entry, payload).map_err(|fault| fault.to_string())
}

fn entry(record: &str) -> Option<Entry> {
    let record: Value = serde_json::from_str(record).ok()?;
    let number = |field: &str| record.get(field)?.as_u64();
    let kind = record.get("kind")?.as_str()?;
    let step = match record.get("step")? {
        Value::Null => None,
        step => Some(u32::try_from(step.as_u64()?).ok()?),
    };
    Some(Entry {
        sequence: number("sequence")?,
        kind: SagaRecord::ALL.iter().copied().find(|known| known.as_str() == kind)?,
        step,
        attempt: u32::try_from(number("attempt")?).ok()?,
        value: number("value")?,
    })
}

/// A whole journal: `{"records": [{"sequence", "kind", "step", "attempt", "value", "from", "to"}], "whole", "torn"}`,
/// where `from` and `to` are the bytes of the payload and `whole` those of all records; or `{"fault", "at",
/// "message"}` when it is no journal.
#[must_use]
pub fn journal_records(bytes: &[u8]) -> String {
    let journal = match read(bytes) {
        Ok(journal) => journal,
        Err(fault) => {
            let (code, at) = match fault {
                FrameFault::UnknownVersion(at) => ("unknown-version", at),
                FrameFault::Corrupt(at) => ("corrupt", at),
                FrameFault::Short | FrameFault::TooLong => ("corrupt", 0),
            };
            return json!({ "fault": code, "at": at, "message": fault.to_string() }).to_string();
        }
    };
    let records = journal.frames.iter().map(|frame| {
        let Entry { sequence, kind, step, attempt, value } = frame.entry;
        let from = frame.payload.as_ptr().addr() - bytes.as_ptr().addr();
        json!({
            "sequence": sequence, "kind": kind.as_str(), "step": step, "attempt": attempt, "value": value,
            "from": from, "to": from + frame.payload.len(),
        })
    });
    json!({ "records": records.collect::<Vec<_>>(), "whole": journal.whole, "torn": journal.torn })
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = r#"{"sequence":1,"kind":"started","step":null,"attempt":0,"value":7}"#;
    const SECOND: &str = r#"{"sequence":2,"kind":"done","step":3,"attempt":1,"value":0}"#;

    #[test]
    fn frames_come_back_as_records_with_the_place_of_their_payload() {
        let second = journal_frame(SECOND, b"out").unwrap();
        // The second twice: an append that was retried.
        let bytes = [journal_frame(FIRST, b"in").unwrap(), second.clone(), second.clone()].concat();
        let whole = bytes.len();
        let torn = [bytes, second[..9].to_vec()].concat();
        let read: Value = serde_json::from_str(&journal_records(&torn)).unwrap();
        assert_eq!((read["whole"].as_u64(), &read["torn"]), (Some(whole as u64), &Value::Bool(true)));
        let records = read["records"].as_array().unwrap();
        let place = |index: usize, end: &str| {
            usize::try_from(records[index].get(end).unwrap().as_u64().unwrap()).unwrap()
        };
        for (index, (record, payload)) in [(FIRST, b"in".as_slice()), (SECOND, b"out")].iter().enumerate() {
            assert_eq!(&torn[place(index, "from")..place(index, "to")], *payload);
            let expected: Value = serde_json::from_str(record).unwrap();
            for (field, value) in expected.as_object().unwrap() {
                assert_eq!(&records[index][field], value);
            }
        }
        assert_eq!(records.len(), 2);
    }

    #[test]
    fn damage_is_told_from_a_torn_end() {
        let (first, second) = (journal_frame(FIRST, b"").unwrap(), journal_frame(SECOND, b"").unwrap());
        let mut bytes = [first.as_slice(), &second].concat();
        bytes[9] ^= 1;
        let read: Value = serde_json::from_str(&journal_records(&bytes)).unwrap();
        assert_eq!((&read["fault"], &read["at"]), (&json!("corrupt"), &json!(0)));
        let read: Value =
            serde_json::from_str(&journal_records(&[&first[..], &second[..5]].concat())).unwrap();
        assert_eq!((&read["fault"], &read["torn"]), (&Value::Null, &Value::Bool(true)));
    }

    #[test]
    fn what_is_no_record_is_refused_in_words() {
        for record in ["", "{}", &FIRST.replace("started", "begun"), &SECOND.replace('3', "-3")] {
            assert!(journal_frame(record, b"").unwrap_err().starts_with("this is no record"), "{record}");
        }
        assert!(journal_frame(FIRST, &vec![0; (1 << 20) + 1]).unwrap_err().contains("longer than"));
    }
}
