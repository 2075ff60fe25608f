//! The object form of messages, by their descriptions.

use serde_json::{Map, Value, json};
use tidegate::{Deadline, Explanation, FieldKind, Message, NONE, Name, Rejection};

use crate::Case;

/// A message as an object: `{"type": …, …}`.
pub fn write<M: Message>(message: &M, case: Case) -> Value {
    let mut object = Map::new();
    object.insert("type".into(), message.type_name().into());
    if let Some(variant) = M::VARIANTS.get(usize::from(message.tag())) {
        for (field, word) in variant.fields.iter().zip(message.words().as_slice()) {
            object.insert(case.outward(field.name), write_field(&field.kind, *word));
        }
    }
    Value::Object(object)
}

fn write_field(kind: &FieldKind, word: u64) -> Value {
    match kind {
        FieldKind::Optional(_) if word == NONE => Value::Null,
        FieldKind::Optional(inner) => write_field(inner, word),
        FieldKind::Bool => Value::Bool(word != 0),
        FieldKind::Name(names) => usize::try_from(word)
            .ok()
            .and_then(|at| names.values.get(at))
            .map_or(Value::Null, |(name, _)| Value::from(*name)),
        FieldKind::Integer(_) | FieldKind::Text | FieldKind::List(_) | FieldKind::Group(_) => word.into(),
    }
}

/// A message from its object form.
///
/// # Errors
/// A sentence that names the value and what is expected.
pub fn read<M: Message>(object: &Value, case: Case) -> Result<M, String> {
    let object = object.as_object().ok_or("an input is an object with a `type`")?;
    let type_name = object.get("type").and_then(Value::as_str).ok_or("an input needs a `type`")?;
    let (tag, variant) =
        M::VARIANTS.iter().enumerate().find(|(_, variant)| variant.name == type_name).ok_or_else(|| {
            let known: Vec<_> = M::VARIANTS.iter().map(|variant| variant.name).collect();
            format!("there is no input `{type_name}`; there are {}", known.join(", "))
        })?;
    let mut words = Vec::with_capacity(variant.fields.len());
    for field in variant.fields {
        let name = case.outward(field.name);
        let value = object.get(&name).unwrap_or(&Value::Null);
        words.push(
            read_field(&field.kind, value).map_err(|expected| {
                format!("`{name}` of input `{type_name}` is {value}, must be {expected}")
            })?,
        );
    }
    if let Some(unknown) = object
        .keys()
        .find(|key| *key != "type" && !variant.fields.iter().any(|field| case.outward(field.name) == **key))
    {
        return Err(format!("input `{type_name}` has no field `{unknown}`"));
    }
    u16::try_from(tag)
        .ok()
        .and_then(|tag| M::from_words(tag, &words))
        .ok_or_else(|| format!("input `{type_name}` is out of range"))
}

fn read_field(kind: &FieldKind, value: &Value) -> Result<u64, String> {
    match kind {
        FieldKind::Optional(_) if value.is_null() => Ok(NONE),
        FieldKind::Optional(inner) => {
            read_field(inner, value).map_err(|expected| format!("{expected} or null"))
        }
        FieldKind::Bool => value.as_bool().map(u64::from).ok_or_else(|| "true or false".into()),
        FieldKind::Name(names) => value
            .as_str()
            .and_then(|word| names.values.iter().position(|(name, _)| *name == word))
            .and_then(|at| u64::try_from(at).ok())
            .ok_or_else(|| {
                let known: Vec<_> = names.values.iter().map(|(name, _)| *name).collect();
                format!("one of {}", known.join(", "))
            }),
        FieldKind::Integer(most) => value
            .as_u64()
            .filter(|number| number <= most)
            .ok_or_else(|| format!("an integer from 0 to {most}")),
        FieldKind::Text | FieldKind::List(_) | FieldKind::Group(_) => Err("a number".into()),
    }
}

/// A deadline as an object, or null.
pub fn deadline<W: Name>(deadline: Option<Deadline<W>>) -> Value {
    deadline.map_or(Value::Null, |deadline| json!({"at": deadline.at, "why": deadline.why.as_str()}))
}

/// A rejection as an object.
pub fn rejection(rejection: &Rejection) -> Value {
    json!({
        "code": rejection.code.as_str(),
        "input": rejection.input,
        "state": rejection.state,
        "message": rejection.to_string(),
    })
}

/// An explanation as an object.
pub fn explanation(explanation: &Explanation, case: Case) -> Value {
    let next = explanation.next.map_or(Value::Null, |(within, why)| json!({"in": within, "why": why}));
    json!({
        "state": explanation.state,
        "because": explanation.because,
        case.outward("waits_for"): explanation.waits_for,
        "next": next,
    })
}
