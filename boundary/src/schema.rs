//! The description of every machine, as JSON: the one source of the types and tables of other languages.

use serde_json::{Map, Value, json};
use tidegate::{
    FaultCode, FieldKind, Machine, Message, Name, NameSpec, RejectionCode, Settings, SettingsSpec,
};

use crate::{Case, table};

/// Something that wants to see each machine's type.
pub(crate) trait Visitor {
    fn visit<M: Machine>(&mut self);
}

/// Describes every machine:
///
/// ```json
/// { "machines": [{ "name", "config": "DrainConfig", "inputs": {"name", "doc", "variants"}, "effects": {…}, "why": [..] }],
///   "names": { "Intent": { "doc", "values": [{"name", "doc"}] } },
///   "settings": { "DrainConfig": { "doc", "fields": [{"name", "doc", "kind", "default"}] } },
///   "rejections": [{"name", "doc"}], "faults": [{"name", "doc"}] }
/// ```
///
/// A kind is `"bool"`, `"text"`, `{"integer": most}`, `{"name": "Intent"}`, `{"optional": kind}`, `{"list": kind}`
/// or `{"group": "ReleaseStep"}`. A message's tag in the flat form is its place in `variants`; the number of a
/// name is its place in `values`.
#[must_use]
pub fn schema(case: Case) -> Value {
    let mut collector = Collector { case, machines: Vec::new(), names: Map::new(), settings: Map::new() };
    table::each(&mut collector);
    let codes =
        |spec: NameSpec| -> Vec<_> { spec.values.iter().map(|(name, doc)| named(name, doc)).collect() };
    json!({
        "version": crate::VERSION,
        "machines": collector.machines,
        "names": collector.names,
        "settings": collector.settings,
        "rejections": codes(RejectionCode::SPEC),
        "faults": codes(FaultCode::SPEC),
    })
}

struct Collector {
    case: Case,
    machines: Vec<Value>,
    names: Map<String, Value>,
    settings: Map<String, Value>,
}

impl Visitor for Collector {
    fn visit<M: Machine>(&mut self) {
        let config = M::Config::SPEC;
        self.settings(&config);
        let inputs = self.message::<M::Input>();
        let effects = self.message::<M::Effect>();
        let why: Vec<_> = M::Why::SPEC.values.iter().map(|(name, doc)| named(name, doc)).collect();
        self.machines.push(json!({
            "name": M::NAME, "config": config.name, "inputs": inputs, "effects": effects, "why": why,
        }));
    }
}

impl Collector {
    fn message<M: Message>(&mut self) -> Value {
        let variants: Vec<_> = M::VARIANTS
            .iter()
            .map(|variant| {
                let fields: Vec<_> = variant
                    .fields
                    .iter()
                    .map(|field| {
                        let kind = self.kind(&field.kind);
                        json!({"name": self.case.outward(field.name), "doc": text(field.doc), "kind": kind})
                    })
                    .collect();
                json!({"name": variant.name, "doc": text(variant.doc), "fields": fields})
            })
            .collect();
        json!({"name": M::NAME, "doc": text(M::DOC), "variants": variants})
    }

    fn settings(&mut self, spec: &SettingsSpec) {
        if self.settings.contains_key(spec.name) {
            return;
        }
        self.settings.insert(spec.name.into(), Value::Null);
        let fields: Vec<_> = spec
            .fields
            .iter()
            .map(|field| {
                let kind = self.kind(&field.kind);
                json!({
                    "name": self.case.outward(field.name),
                    "doc": text(field.doc),
                    "kind": kind,
                    "default": field.default,
                })
            })
            .collect();
        self.settings.insert(spec.name.into(), json!({"doc": text(spec.doc), "fields": fields}));
    }

    fn names(&mut self, spec: &NameSpec) {
        let values: Vec<_> = spec.values.iter().map(|(name, doc)| named(name, doc)).collect();
        let described = json!({"doc": text(spec.doc), "values": values});
        let earlier = self.names.insert(spec.name.into(), described.clone());
        // Names share one space at the boundaries: of two sets with one name, one would be decoded as the other.
        debug_assert!(
            earlier.is_none_or(|earlier| earlier == described),
            "two sets of words are called `{}`",
            spec.name
        );
    }

    fn kind(&mut self, kind: &FieldKind) -> Value {
        match kind {
            FieldKind::Bool => "bool".into(),
            FieldKind::Text => "text".into(),
            FieldKind::Integer(most) => json!({"integer": most}),
            FieldKind::Name(spec) => {
                self.names(spec);
                json!({"name": spec.name})
            }
            FieldKind::Optional(inner) => json!({"optional": self.kind(inner)}),
            FieldKind::List(inner) => json!({"list": self.kind(inner)}),
            FieldKind::Group(spec) => {
                self.settings(spec);
                json!({"group": spec.name})
            }
        }
    }
}

fn named(name: &str, doc: &[&str]) -> Value {
    json!({"name": name, "doc": text(doc)})
}

/// Doc lines as one text.
fn text(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n")
}
