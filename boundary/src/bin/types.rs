//! Generates the TypeScript types and codecs of every machine from the descriptions in the core.
//!
//! `cargo run -p tidegate-boundary --bin types -- --write` writes the files, `--check` fails when one of them is
//! not what the core says.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use serde_json::Value;
use tidegate_boundary::{Case, schema};

/// The generated files, from the root of the repository.
const FILES: &[&str] = &["bindings-node/host/generated.ts"];

/// Names that are clear beside their machine but not in a whole package.
const RENAMED: &[(&str, &str)] = &[
    ("Acceptance", "TunnelAcceptance"),
    ("Asked", "TunnelRequest"),
    ("Context", "CloseContext"),
    ("Departure", "PeerDeparture"),
    ("Overflow", "BufferOverflow"),
    ("Phase", "DrainPhase"),
    ("Readiness", "ComponentReadiness"),
    ("Refusal", "DirectoryRefusal"),
    ("Response", "CloseResponse"),
    ("Restart", "RestartPolicy"),
    ("Sender", "CloseSender"),
    ("Session", "SessionFate"),
    ("Speaks", "SuccessorProtocol"),
    ("State", "TunnelState"),
    ("StopCause", "StackStopCause"),
    ("StopReason", "TunnelStopReason"),
];

fn main() -> ExitCode {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mode = env::args().nth(1).unwrap_or_default();
    let text = typescript(&schema(Case::Camel));
    let mut fresh = true;
    for file in FILES {
        let path = root.join(file);
        match mode.as_str() {
            "--write" => match fs::write(&path, &text) {
                Ok(()) => println!("wrote {file}"),
                Err(error) => {
                    eprintln!("{file}: {error}");
                    fresh = false;
                }
            },
            "--check" => fresh &= check(&path, file, &text),
            _ => {
                eprintln!("usage: types --check | --write");
                return ExitCode::from(2);
            }
        }
    }
    if fresh { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether a file holds `text`; says where it does not.
fn check(path: &Path, file: &str, text: &str) -> bool {
    let held = fs::read_to_string(path).unwrap_or_default();
    if held == text {
        println!("{file} is up to date");
        return true;
    }
    let line = held.lines().zip(text.lines()).take_while(|(held, wanted)| held == wanted).count();
    eprintln!(
        "{file} is not what the core says, from line {} on ({:?}); run `cargo run -p tidegate-boundary --bin types -- --write`",
        line + 1,
        text.lines().nth(line).unwrap_or("the end of the file"),
    );
    false
}

/// The elements of an array.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The entries of an object.
fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn public(name: &str) -> &str {
    RENAMED.iter().find(|(core, _)| *core == name).map_or(name, |(_, public)| public)
}

/// `TimeOutOfRange` as `time-out-of-range`.
fn kebab(pascal: &str) -> String {
    let mut written = String::new();
    for letter in pascal.chars() {
        if letter.is_ascii_uppercase() && !written.is_empty() {
            written.push('-');
        }
        written.push(letter.to_ascii_lowercase());
    }
    written
}

/// Links of Rust's documentation as plain code: ``[`Input::DrainNotice`]`` as `` `drain-notice` ``.
fn prose(doc: &str) -> String {
    let mut written = String::new();
    let mut rest = doc;
    while let Some((before, after)) = rest.split_once("[`") {
        written.push_str(before);
        let Some((link, tail)) = after.split_once("`]") else { break };
        let name = link.rsplit("::").next().unwrap_or(link);
        let name = if link.contains("::") { kebab(name) } else { name.to_owned() };
        let _ = write!(written, "`{name}`");
        rest = tail;
    }
    written.push_str(rest);
    written
}

fn comment(out: &mut String, indent: &str, doc: &str) {
    if doc.is_empty() {
        return;
    }
    let doc = prose(doc).replace("*/", "*\\/");
    if doc.contains('\n') {
        let _ = writeln!(out, "{indent}/**");
        for line in doc.lines() {
            let _ = writeln!(out, "{}", format!("{indent} * {line}").trim_end());
        }
        let _ = writeln!(out, "{indent} */");
    } else {
        let _ = writeln!(out, "{indent}/** {doc} */");
    }
}

/// The default of a config field as it is written in JavaScript; none when it is a group with its own.
fn default(rust: &str) -> Option<String> {
    let text = rust.trim();
    if text.ends_with("::default()") {
        return None;
    }
    if text == "Vec::new()" {
        return Some("[]".into());
    }
    if text == "None" {
        return Some("none".into());
    }
    if text == "String::new()" {
        return Some("''".into());
    }
    if let Some(quoted) = text.strip_prefix("String::from(").and_then(|rest| rest.strip_suffix(')')) {
        return Some(quoted.replace('"', "'"));
    }
    if let Some((_, name)) = text.rsplit_once("::") {
        return Some(format!("'{}'", kebab(name)));
    }
    Some(text.replace('_', ""))
}

fn typed(kind: &Value) -> String {
    match kind {
        Value::String(word) if word == "bool" => "boolean".into(),
        Value::String(_) => "string".into(),
        _ if !kind["name"].is_null() => public(string(&kind["name"])).into(),
        _ if !kind["group"].is_null() => string(&kind["group"]).into(),
        _ if !kind["optional"].is_null() => format!("{} | null", typed(&kind["optional"])),
        _ if !kind["list"].is_null() => format!("readonly {}[]", typed(&kind["list"])),
        _ => "number".into(),
    }
}

fn union(out: &mut String, name: &str, doc: &str, values: &Value) {
    comment(out, "", doc);
    let _ = writeln!(out, "export type {name} =");
    for value in list(values) {
        comment(out, "  ", string(&value["doc"]));
        let _ = writeln!(out, "  | '{}'", string(&value["name"]));
    }
    out.push('\n');
}

fn message(out: &mut String, message: &Value, optional: bool) {
    let name = string(&message["name"]);
    comment(out, "", string(&message["doc"]));
    if list(&message["variants"]).next().is_none() {
        let _ = writeln!(out, "export type {name} = never\n");
        return;
    }
    let _ = writeln!(out, "export type {name} =");
    for variant in list(&message["variants"]) {
        comment(out, "  ", string(&variant["doc"]));
        let _ = writeln!(out, "  | {{\n      readonly type: '{}'", string(&variant["name"]));
        for field in list(&variant["fields"]) {
            comment(out, "      ", string(&field["doc"]));
            let missing = optional && !field["kind"]["optional"].is_null();
            let (mark, undefined) = if missing { ("?", " | undefined") } else { ("", "") };
            let kind = typed(&field["kind"]);
            let _ = writeln!(out, "      readonly {}{mark}: {kind}{undefined}", string(&field["name"]));
        }
        let _ = writeln!(out, "    }}");
    }
    out.push('\n');
}

/// The expression that turns a field of `input` into its number.
fn encode(kind: &Value, value: &str) -> String {
    if kind == "bool" {
        return format!("bit({value})");
    }
    if let Some(name) = kind["name"].as_str() {
        return format!("place({}Values, {value})", camel(public(name)));
    }
    if !kind["optional"].is_null() {
        let inner = encode(&kind["optional"], value);
        return if inner == value {
            format!("maybe({value})")
        } else {
            format!("{value} == null ? -1 : {inner}")
        };
    }
    value.to_owned()
}

/// The expression that reads a field of an effect.
fn decode(kind: &Value) -> String {
    if kind == "bool" {
        return "words.next() === 1".into();
    }
    if let Some(name) = kind["name"].as_str() {
        let public = public(name);
        return format!("{}Values[words.next()] as {public}", camel(public));
    }
    match &kind["optional"] {
        Value::Null => "words.next()".into(),
        inner if inner == "bool" => "optional(words.next(), bits)".into(),
        inner if !inner["name"].is_null() => {
            format!("optional(words.next(), {}Values)", camel(public(string(&inner["name"]))))
        }
        _ => "number(words.next())".into(),
    }
}

/// `TunnelState` as `tunnelState`.
fn camel(pascal: &str) -> String {
    let mut letters = pascal.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

fn words(values: &Value) -> String {
    let words: Vec<_> = list(values).map(|value| format!("'{}'", string(&value["name"]))).collect();
    words.join(", ")
}

fn codec(out: &mut String, machine: &Value) {
    let name = string(&machine["name"]);
    let _ = writeln!(out, "const {}: Codec<'{name}'> = {{", codec_name(name));
    let _ = writeln!(out, "  why: [{}],", words(&machine["why"]));
    let _ = writeln!(out, "  send(calls, handle, now, input) {{\n    switch (input.type) {{");
    for (tag, variant) in list(&machine["inputs"]["variants"]).enumerate() {
        let _ = writeln!(out, "      case '{}':", string(&variant["name"]));
        let fields: Vec<_> = list(&variant["fields"])
            .map(|field| encode(&field["kind"], &format!("input.{}", string(&field["name"]))))
            .collect();
        let call = if fields.len() > 5 {
            format!("calls.inputMany(handle, now, {tag}, [{}])", fields.join(", "))
        } else {
            let rest: String = fields.iter().map(|field| format!(", {field}")).collect();
            format!("calls.input{}(handle, now, {tag}{rest})", fields.len())
        };
        let _ = writeln!(out, "        return {call}");
    }
    let _ = writeln!(out, "      default:\n        return 0\n    }}\n  }},");
    if list(&machine["effects"]["variants"]).next().is_none() {
        let _ = writeln!(out, "  effect(words) {{\n    return unknown(words)\n  }},\n}}\n");
        return;
    }
    let _ = writeln!(out, "  effect(words) {{\n    switch (words.next()) {{");
    for (tag, variant) in list(&machine["effects"]["variants"]).enumerate() {
        let fields: String = list(&variant["fields"])
            .map(|field| format!(", {}: {}", string(&field["name"]), decode(&field["kind"])))
            .collect();
        let _ = writeln!(
            out,
            "      case {tag}:\n        return {{ type: '{}'{fields} }}",
            string(&variant["name"])
        );
    }
    let _ = writeln!(out, "      default:\n        return unknown(words)\n    }}\n  }},\n}}\n");
}

/// `close-policy` as `closePolicyCodec`.
fn codec_name(machine: &str) -> String {
    let pascal: String = machine
        .split('-')
        .map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_ascii_uppercase())
                .into_iter()
                .chain(letters)
                .collect::<String>()
        })
        .collect();
    format!("{}Codec", camel(&pascal))
}

const HEAD: &str = "\
// Generated from the core by `cargo run -p tidegate-boundary --bin types -- --write`. Do not edit.

";

const CODECS: &str = "\
/** The answer of a flat call: nothing, a rejection (its number from 1; 0 is malformed), or a packed step. */
export type Flat = number | string | null

/** The flat calls of a shim, by number of fields. */
export interface FlatCalls {
  input0(handle: number, now: number, tag: number): Flat
  input1(handle: number, now: number, tag: number, a: number): Flat
  input2(handle: number, now: number, tag: number, a: number, b: number): Flat
  input3(handle: number, now: number, tag: number, a: number, b: number, c: number): Flat
  input4(handle: number, now: number, tag: number, a: number, b: number, c: number, d: number): Flat
  input5(handle: number, now: number, tag: number, a: number, b: number, c: number, d: number, e: number): Flat
  inputMany(handle: number, now: number, tag: number, fields: number[]): Flat
}

/** The numbers of a step, one after another; a missing one is -1. */
export interface Words {
  next(): number
}

/** Carries the inputs of a machine in and its effects out, without JSON. */
export interface Codec<N extends MachineName> {
  /** The reasons of a deadline, by number. */
  readonly why: readonly Machines[N]['why'][]
  /** Sends an input. */
  send(calls: FlatCalls, handle: number, now: number, input: Machines[N]['input']): Flat
  /** Reads the next effect. */
  effect(words: Words): Machines[N]['effect']
}

";

/// What codecs call, each written only if one does: what its call starts with, and its text.
const CALLED: &[(&str, &str)] = &[
    (
        "bit(input",
        "\
function bit(value: boolean): number {
  return value === true ? 1 : value === false ? 0 : Number.NaN
}
",
    ),
    (
        "place(",
        "\
function place<T>(values: readonly T[], value: T): number {
  const at = values.indexOf(value)
  return at < 0 ? Number.NaN : at
}
",
    ),
    (
        "maybe(",
        "\
function maybe(value: number | null | undefined): number {
  return value == null ? -1 : value < 0 ? Number.NaN : value
}
",
    ),
    (
        "number(words",
        "\
function number(word: number): number | null {
  return word < 0 ? null : word
}
",
    ),
    (
        "optional(",
        "\
function optional<T>(word: number, values: readonly T[]): T | null {
  return word < 0 ? null : (values[word] as T)
}
",
    ),
    (
        "unknown(",
        "\
function unknown(_words: Words): never {
  throw new Error('a bug of tidegate: the core answered with an effect that this version does not know')
}
",
    ),
    (
        "bits)",
        "const bits: readonly boolean[] = [false, true]
",
    ),
];

/// The TypeScript module: types, docs, codecs.
fn typescript(schema: &Value) -> String {
    let mut out = String::from(HEAD);
    let _ = writeln!(out, "/** The version of the core that this file describes. */");
    let _ = writeln!(out, "export const VERSION = '{}'\n", string(&schema["version"]));
    for (name, doc, values) in [
        ("RejectionCode", "What the host did wrong.", &schema["rejections"]),
        ("FaultCode", "The kind of a config fault.", &schema["faults"]),
    ] {
        union(&mut out, name, doc, values);
        let _ =
            writeln!(out, "export const {}Values: readonly {name}[] = [{}]\n", camel(name), words(values));
    }
    for (name, spec) in entries(&schema["names"]) {
        let public = public(name);
        union(&mut out, public, string(&spec["doc"]), &spec["values"]);
        let values = words(&spec["values"]);
        let _ = writeln!(out, "export const {}Values: readonly {public}[] = [{values}]\n", camel(public));
    }
    for (name, spec) in entries(&schema["settings"]) {
        comment(&mut out, "", string(&spec["doc"]));
        let _ = writeln!(out, "export interface {name} {{");
        for field in list(&spec["fields"]) {
            let doc = string(&field["doc"]);
            let doc = match default(string(&field["default"])) {
                Some(default) => format!("{doc}\n\nDefault: `{default}`."),
                None => doc.to_owned(),
            };
            comment(&mut out, "  ", &doc);
            let _ = writeln!(
                out,
                "  readonly {}?: {} | undefined",
                string(&field["name"]),
                typed(&field["kind"])
            );
        }
        let _ = writeln!(out, "}}\n");
    }
    for machine in list(&schema["machines"]) {
        message(&mut out, &machine["inputs"], true);
        message(&mut out, &machine["effects"], false);
        let name = string(&machine["inputs"]["name"]).trim_end_matches("Input");
        let doc = format!("Why a `{}` wants to be woken.", string(&machine["name"]));
        if list(&machine["why"]).next().is_none() {
            let _ = writeln!(out, "/** {doc} */\nexport type {name}Why = never\n");
        } else {
            union(&mut out, &format!("{name}Why"), &doc, &machine["why"]);
        }
    }
    let _ = writeln!(out, "/** What belongs to each machine. */\nexport interface Machines {{");
    for machine in list(&schema["machines"]) {
        let input = string(&machine["inputs"]["name"]);
        let _ = writeln!(
            out,
            "  '{}': {{ config: {}; input: {input}; effect: {}; why: {}Why }}",
            string(&machine["name"]),
            string(&machine["config"]),
            string(&machine["effects"]["name"]),
            input.trim_end_matches("Input"),
        );
    }
    let _ = writeln!(out, "}}\n\n/** The name of a machine. */\nexport type MachineName = keyof Machines\n");
    out.push_str(CODECS);
    let mut codecs = String::new();
    for machine in list(&schema["machines"]) {
        codec(&mut codecs, machine);
    }
    for (_, text) in CALLED.iter().filter(|(call, _)| codecs.contains(call)) {
        let _ = writeln!(out, "{text}");
    }
    out.push_str(&codecs);
    let _ = writeln!(out, "/** The codec of each machine. */");
    let _ = writeln!(out, "export const codecs: {{ readonly [N in MachineName]: Codec<N> }} = {{");
    for machine in list(&schema["machines"]) {
        let name = string(&machine["name"]);
        let _ = writeln!(out, "  '{name}': {},", codec_name(name));
    }
    out.push_str("}\n");
    out
}
