//! The machines as the schema describes them, with the configs of `vectors/`.

use std::sync::OnceLock;

use serde_json::Value;
use tidegate_boundary::{Case, schema};

const VECTORS: &[&str] = &[
    include_str!("../../vectors/backoff.json"),
    include_str!("../../vectors/close-policy.json"),
    include_str!("../../vectors/directory.json"),
    include_str!("../../vectors/drain.json"),
    include_str!("../../vectors/handoff.json"),
    include_str!("../../vectors/lease-holder.json"),
    include_str!("../../vectors/lease.json"),
    include_str!("../../vectors/peer.json"),
    include_str!("../../vectors/saga.json"),
    include_str!("../../vectors/stack.json"),
    include_str!("../../vectors/successor.json"),
    include_str!("../../vectors/tunnel.json"),
];

/// Names and kinds of the fields of each variant.
type Variants = Vec<Vec<(String, Value)>>;

/// A machine with configs that can work.
pub struct Known {
    /// Its name.
    pub name: String,
    /// As JSON; each once, in the order of the vectors.
    pub configs: Vec<String>,
    inputs: Variants,
    effects: Vec<Vec<String>>,
    schema: Value,
}

impl Known {
    fn of(text: &str, schema: &Value) -> Self {
        let file: Value = serde_json::from_str(text).expect("vectors are JSON");
        let name = file["machine"].as_str().expect("a file names its machine").to_owned();
        let machines = schema["machines"].as_array().expect("a list");
        let machine = machines.iter().find(|machine| machine["name"] == name).expect("a known machine");
        let mut configs = Vec::new();
        for script in file["scripts"].as_array().expect("a list") {
            if let (None, Some(config)) = (script.get("faults"), script.get("config")) {
                let config = config.to_string();
                if !configs.contains(&config) {
                    configs.push(config);
                }
            }
        }
        let inputs = variants(&machine["inputs"]);
        let effects = variants(&machine["effects"]).into_iter();
        let effects = effects.map(|fields| fields.into_iter().map(|(name, _)| name).collect()).collect();
        Self { name, configs, inputs, effects, schema: schema.clone() }
    }

    /// The fields of every input, by its tag.
    pub fn inputs(&self) -> &Variants {
        &self.inputs
    }

    /// How many values the set `names` has.
    pub fn names(&self, names: &str) -> u16 {
        self.schema["names"][names]["values"].as_array().map_or(1, |values| values.len() as u16)
    }

    /// The effects of a step on the flat path: the names of the fields of each, and their words.
    pub fn effects<'a>(&'a self, written: &'a [f64]) -> Vec<(&'a [String], &'a [f64])> {
        let mut effects = Vec::new();
        let mut rest = &written[2..];
        while let Some((tag, after)) = rest.split_first() {
            let names = &self.effects[*tag as usize];
            let (fields, left) = after.split_at(names.len());
            effects.push((&names[..], fields));
            rest = left;
        }
        effects
    }
}

fn variants(message: &Value) -> Variants {
    let field = |field: &Value| (field["name"].as_str().unwrap_or("").to_owned(), field["kind"].clone());
    let fields = |variant: &Value| variant["fields"].as_array().into_iter().flatten().map(field).collect();
    message["variants"].as_array().into_iter().flatten().map(fields).collect()
}

/// Every machine.
pub fn known() -> &'static [Known] {
    static KNOWN: OnceLock<Vec<Known>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let schema = schema(Case::Camel);
        VECTORS.iter().map(|text| Known::of(text, &schema)).collect()
    })
}
