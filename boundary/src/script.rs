//! One long pseudo-random script per machine, whose digest must be the same in every language.
//!
//! Each language generates the script itself, by the rules of [`run`], feeds it through its own shim, and folds
//! every answer into a 64-bit digest. The digests stand in `vectors/digests.json`.

use serde_json::Value;
use tidegate::NONE;

use crate::{Case, CreateError, FlatAnswer, Table, schema};

/// What drives a script: the pinned stream of `tidegate::Random`, taken modulo.
struct Source(u64);

impl Source {
    /// A number below `n`.
    fn draw(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Runs `steps` steps of the script of `seed` on the flat path and returns the digest.
///
/// The script, exactly: `now` starts at 0, `known` (the greatest operation or generation seen) at 0. Each step:
///
/// 1. `draw(4)`; if it is 0 and the machine has a deadline, `now` becomes the deadline's time and the step is a tick.
/// 2. Else `now` grows by `draw(g + 1)` where `g` is `[0, 1, 10, 1000, 20000][draw(5)]`, and the step is the input
///    with tag `draw(number of variants)`, its fields drawn in order:
///    * bool: `draw(2)`; name: `draw(number of names)`; optional: missing if `draw(2)` is 0, else the inner kind;
///    * an integer named `operation` or `generation`: `known + 1 - draw(3)`, not below 0;
///    * another integer up to `most`: by `draw(3)`: 0 → `draw(min(most, 7) + 1)`, 1 → `draw(min(most, 5000) + 1)`,
///      2 → `min(most, 1000 + draw(4000))`.
/// 3. The answer is folded into the digest: `d = (d ^ word) * 0x100000001b3` modulo 2^64, from `0xcbf29ce484222325`.
///    Words of a step: 0, the number of effects, each effect's tag and fields (missing: 2^64 - 1), the deadline's
///    time + 1 (or 0), its reason. Words of a rejection: 1, the number of its code.
/// 4. `known` becomes the greatest `operation` or `generation` among the effects, if greater.
///
/// # Errors
/// [`CreateError`] when the machine cannot be made, or answers an input as malformed.
pub fn run(machine: &str, config: &str, seed: u64, steps: u32) -> Result<u64, CreateError> {
    let malformed = |message: String| CreateError::Malformed(message);
    let schema = schema(Case::Camel);
    let described = schema["machines"]
        .as_array()
        .and_then(|machines| machines.iter().find(|described| described["name"] == machine))
        .ok_or_else(|| malformed(format!("there is no machine `{machine}`")))?;
    let inputs = variants(&described["inputs"]);
    let effects = variants(&described["effects"]);
    let mut table = Table::default();
    let handle = table.create(machine, config, seed as f64, 0.0, Case::Camel)?;
    let mut source = Source(seed);
    let (mut now, mut known, mut digest) = (0u64, 0u64, 0xcbf2_9ce4_8422_2325u64);
    let mut fold = |word: u64| digest = (digest ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    // A step that says "nothing" leaves the deadline as the last one said.
    let mut deadline: (f64, f64) = (-1.0, 0.0);
    for _ in 0..steps {
        let tick = source.draw(4) == 0 && deadline.0 >= 0.0;
        let answer = if tick {
            now = deadline.0 as u64;
            table.tick_flat(handle, now as f64)
        } else {
            let gap = [0, 1, 10, 1000, 20_000][source.draw(5) as usize];
            now += source.draw(gap + 1);
            let tag = source.draw(inputs.len() as u64);
            let fields: Vec<f64> = inputs[tag as usize]
                .iter()
                .map(|(name, kind)| field(&mut source, &schema, name, kind, known))
                .collect();
            table.handle_flat(handle, now as f64, tag as u32, &fields)
        };
        match answer.map_err(|error| malformed(error.to_string()))? {
            FlatAnswer::Rejected(code) => {
                fold(1);
                fold(u64::from(code));
            }
            FlatAnswer::Malformed => return Err(malformed("the script drew a malformed input".into())),
            answer => {
                let mut words = Vec::new();
                let mut count = 0;
                if answer == FlatAnswer::Written {
                    let written = table.written();
                    deadline = (written[0], written[1]);
                    let mut rest = &written[2..];
                    while let Some((tag, after)) = rest.split_first() {
                        let fields = &effects[*tag as usize];
                        words.push(*tag as u64);
                        for ((name, _), value) in fields.iter().zip(after) {
                            words.push(if *value < 0.0 { NONE } else { *value as u64 });
                            if name == "operation" || name == "generation" {
                                known = known.max(*value as u64);
                            }
                        }
                        rest = &after[fields.len()..];
                        count += 1;
                    }
                }
                fold(0);
                fold(count);
                words.into_iter().for_each(&mut fold);
                fold((deadline.0 + 1.0) as u64);
                fold(deadline.1 as u64);
            }
        }
    }
    Ok(digest)
}

fn variants(message: &Value) -> Vec<Vec<(String, Value)>> {
    let fields = |variant: &Value| {
        variant["fields"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|field| (field["name"].as_str().unwrap_or("").to_owned(), field["kind"].clone()))
            .collect()
    };
    message["variants"].as_array().into_iter().flatten().map(fields).collect()
}

fn field(source: &mut Source, schema: &Value, name: &str, kind: &Value, known: u64) -> f64 {
    if kind == "bool" {
        return source.draw(2) as f64;
    }
    if let Some(names) = kind["name"].as_str() {
        let count = schema["names"][names]["values"].as_array().map_or(1, Vec::len);
        return source.draw(count as u64) as f64;
    }
    if !kind["optional"].is_null() {
        return if source.draw(2) == 0 {
            -1.0
        } else {
            field(source, schema, name, &kind["optional"], known)
        };
    }
    if name == "operation" || name == "generation" {
        return (known + 1).saturating_sub(source.draw(3)) as f64;
    }
    let most = kind["integer"].as_u64().unwrap_or(0);
    let drawn = match source.draw(3) {
        0 => source.draw(most.min(7) + 1),
        1 => source.draw(most.min(5000) + 1),
        _ => most.min(1000 + source.draw(4000)),
    };
    drawn as f64
}
