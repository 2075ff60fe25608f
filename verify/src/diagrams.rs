//! Pictures of the machines, for `docs/diagrams`.
//!
//! A graph has the states as a machine itself names them, and what leads from one to another in any script of
//! `vectors/`; the generated scripts take every transition of the explored graphs. Graphviz lays it out when the
//! pictures are written. Its source stands in the picture, so that whether one is up to date can be told without
//! Graphviz. What is no graph is drawn here: the delays of a backoff, the actions of the close profiles.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tidegate::Name;
use tidegate::backoff::{Jitter, Policy};
use tidegate::close::{Profile, Response, Session};
use tidegate_boundary::{CallError, Case, Table};

/// A picture of one machine.
#[derive(Debug, Clone)]
pub enum Picture {
    /// A graph, as Graphviz reads it.
    Graph(String),
    /// A finished drawing.
    Drawing(String),
}

/// What leads from one state to another: inputs and timers by their names.
type Labels = BTreeSet<(String, bool)>;

/// The states of one machine and what leads from one to another.
#[derive(Debug, Default)]
struct Graph {
    start: String,
    /// With whether it may rest.
    states: BTreeMap<String, bool>,
    edges: BTreeMap<(String, String), Labels>,
}

/// Labels that lead to one state from this many others are drawn once.
const MANY: usize = 4;
/// The most timers that are watched one by one in a single step; a script may leap to the end of time.
const TIMERS: usize = 40;
/// How wide a label may be, in letters.
const WIDE: usize = 30;

/// The pictures of all machines, by their names, from the scripts of this folder.
///
/// # Errors
/// A sentence: a file that cannot be read, a script that cannot be replayed.
pub fn all(vectors: &Path) -> Result<BTreeMap<String, Picture>, String> {
    let mut graphs: BTreeMap<String, Graph> = BTreeMap::new();
    let index = json(&vectors.join("index.json"))?;
    for file in index["files"].as_object().into_iter().flatten().map(|(name, _)| name) {
        let file = json(&vectors.join(file))?;
        let machine = file["machine"].as_str().unwrap_or_default();
        let graph = graphs.entry(machine.to_owned()).or_default();
        for script in file["scripts"].as_array().into_iter().flatten() {
            graph.replay(machine, script)?;
        }
    }
    let mut pictures: BTreeMap<_, _> =
        graphs.into_iter().map(|(machine, graph)| (machine, Picture::Graph(graph.dot()))).collect();
    pictures.insert("backoff".into(), Picture::Drawing(delays()));
    pictures.insert("close-policy".into(), Picture::Drawing(actions()));
    Ok(pictures)
}

fn json(file: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
}

impl Graph {
    fn replay(&mut self, machine: &str, script: &Value) -> Result<(), String> {
        if script.get("faults").is_some() {
            return Ok(());
        }
        let mut table = Table::default();
        let config = script.get("config").map_or("{}".into(), Value::to_string);
        let start = script["start"].as_f64().unwrap_or(0.0);
        let draws = script["draws"]
            .as_array()
            .map(|draws| draws.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","));
        let handle = match draws {
            Some(draws) => table.create_scripted(machine, &config, &draws, start, Case::Camel),
            None => {
                let seed = script["seed"].as_f64().unwrap_or(1.0);
                table.create(machine, &config, seed, start, Case::Camel)
            }
        }
        .map_err(|error| format!("{machine}: {error:?}"))?;
        let mut at = self.arrive(&mut table, handle)?;
        if self.start.is_empty() {
            at.clone_into(&mut self.start);
        }
        for step in script["steps"].as_array().into_iter().flatten() {
            let now = step["at"].as_f64().unwrap_or(0.0);
            // What is due comes first, one timer after the other, as far as that is worth seeing.
            for _ in 0..TIMERS {
                let Some((why, when)) = due(&mut table, handle, now)? else { break };
                table.tick(handle, when, Case::Camel).map_err(said)?;
                at = self.go(&mut table, handle, at, &why, true)?;
            }
            let Some(input) = step.get("input") else { continue };
            table.handle(handle, now, &input.to_string(), Case::Camel).map_err(said)?;
            at = self.go(&mut table, handle, at, input["type"].as_str().unwrap_or_default(), false)?;
        }
        Ok(())
    }

    /// Notes the state that the machine is in.
    fn arrive(&mut self, table: &mut Table, handle: u32) -> Result<String, String> {
        let state = table.state(handle).map_err(said)?.to_owned();
        let rests = table.deadline(handle).map_err(said)? == "null";
        *self.states.entry(state.clone()).or_default() |= rests;
        Ok(state)
    }

    fn go(
        &mut self,
        table: &mut Table,
        handle: u32,
        from: String,
        label: &str,
        timer: bool,
    ) -> Result<String, String> {
        let to = self.arrive(table, handle)?;
        if from != to {
            self.edges.entry((from, to.clone())).or_default().insert((label.to_owned(), timer));
        }
        Ok(to)
    }

    /// What leads to one state from many others is taken out of the edges: for each state, the labels and where they
    /// come from.
    fn fold(&mut self) -> BTreeMap<(String, Vec<String>), Labels> {
        let mut sources: BTreeMap<(String, (String, bool)), Vec<String>> = BTreeMap::new();
        for ((from, to), labels) in &self.edges {
            for label in labels {
                sources.entry((to.clone(), label.clone())).or_default().push(from.clone());
            }
        }
        let mut folded: BTreeMap<_, Labels> = BTreeMap::new();
        for ((to, label), from) in sources.into_iter().filter(|(_, from)| from.len() >= MANY) {
            for from in &from {
                if let Some(labels) = self.edges.get_mut(&(from.clone(), to.clone())) {
                    labels.remove(&label);
                }
            }
            folded.entry((to, from)).or_default().insert(label);
        }
        self.edges.retain(|_, labels| !labels.is_empty());
        folded
    }

    fn dot(mut self) -> String {
        let folded = self.fold();
        let mut dot = String::from(
            "digraph machine {\n  bgcolor=transparent; rankdir=TB; nodesep=0.35; ranksep=0.45;\n  node [shape=box, \
             style=rounded, fontname=\"Helvetica\", fontsize=13, height=0.4];\n  edge [fontname=\"Helvetica\", \
             fontsize=10, arrowsize=0.7];\n  start [shape=point, width=0.12];\n",
        );
        for (state, rests) in &self.states {
            let look = if *rests {
                " [style=\"rounded,filled\", fillcolor=\"#2da44e40\", peripheries=2]"
            } else {
                ""
            };
            let _ = writeln!(dot, "  {state:?}{look};");
        }
        let _ = writeln!(dot, "  start -> {:?};", self.start);
        for ((from, to), labels) in &self.edges {
            let _ = writeln!(dot, "  {from:?} -> {to:?} [label={}];", label(labels));
        }
        for (number, ((to, from), labels)) in folded.iter().enumerate() {
            let name = format!("from{number}");
            let all = from.len() + 1 >= self.states.len();
            let text =
                if all { "any other state".to_owned() } else { wrapped(from.iter().cloned()).join("\\n") };
            let _ = writeln!(
                dot,
                "  {name} [label=\"{text}\", shape=box, style=dashed, fontsize=10, height=0.3, margin=\"0.08,0.04\"];"
            );
            let _ = writeln!(dot, "  {name} -> {to:?} [label={}, style=dashed];", label(labels));
        }
        dot.push_str("}\n");
        dot
    }
}

fn said(error: CallError) -> String {
    error.to_string()
}

/// The timer that is due by then, and when.
fn due(table: &mut Table, handle: u32, now: f64) -> Result<Option<(String, f64)>, String> {
    let deadline: Value =
        serde_json::from_str(&table.deadline(handle).map_err(said)?).map_err(|error| error.to_string())?;
    let at = deadline["at"].as_f64().filter(|at| *at <= now);
    Ok(at.and_then(|at| Some((deadline["why"].as_str()?.to_owned(), at))))
}

/// Words, with commas, in lines.
fn wrapped(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < WIDE => {
                let _ = write!(line, ", {word}");
            }
            Some(line) => {
                line.push(',');
                lines.push(word);
            }
            None => lines.push(word),
        }
    }
    lines
}

/// Inputs upright, timers in italics.
fn label(labels: &Labels) -> String {
    let of =
        |timers: bool| labels.iter().filter(move |(_, timer)| *timer == timers).map(|(name, _)| name.clone());
    let inputs = wrapped(of(false));
    let timers = wrapped(of(true)).into_iter().map(|line| format!("<i>{line}</i>"));
    let lines: Vec<String> = inputs.into_iter().chain(timers).map(|line| format!(" {line} ")).collect();
    format!("<{}>", lines.join("<br/>"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Dark letters on a light page, light ones on a dark page.
const STYLE: &str = "<style>svg{color:#1f2328}@media(prefers-color-scheme:dark){svg{color:#e6edf3}}text{fill:currentColor}\
    </style>";

/// The picture as a file.
///
/// # Errors
/// A sentence, when Graphviz is not there or does not understand its source.
pub fn rendered(picture: &Picture) -> Result<String, String> {
    let source = match picture {
        Picture::Drawing(svg) => return Ok(svg.clone()),
        Picture::Graph(source) => source,
    };
    let no_graphviz = |error| format!("dot (Debian's package graphviz) lays out the graphs: {error}");
    let mut dot = Command::new("dot")
        .arg("-Tsvg")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(no_graphviz)?;
    if let Some(mut input) = dot.stdin.take() {
        input.write_all(source.as_bytes()).map_err(no_graphviz)?;
    }
    let output = dot.wait_with_output().map_err(no_graphviz)?;
    if !output.status.success() {
        return Err(format!("dot refuses the graph:\n{source}"));
    }
    let svg = String::from_utf8_lossy(&output.stdout);
    let from = svg.find("<svg").unwrap_or_default();
    let body = svg[from..].replace("\"black\"", "\"currentColor\"");
    let inside = body.find("<g ").unwrap_or_default();
    let metadata = format!("<metadata>{}</metadata>", escaped(source));
    Ok(format!("{}{STYLE}\n{metadata}\n{}", &body[..inside], &body[inside..]))
}

/// Whether a file is this picture: a graph by its source, as Graphviz need not be there.
#[must_use]
pub fn is_current(picture: &Picture, file: &str) -> bool {
    match picture {
        Picture::Drawing(svg) => svg == file,
        Picture::Graph(source) => file.contains(&format!("<metadata>{}</metadata>", escaped(source))),
    }
}

/// A drawing of this size.
fn drawing(width: usize, height: usize, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"Helvetica,Arial,sans-serif\" font-size=\"12\">\n{STYLE}\n{body}</svg>\n"
    )
}

fn text(x: usize, y: usize, look: &str, text: &str) -> String {
    format!("<text x=\"{x}\" y=\"{y}\" {look}>{}</text>\n", escaped(text))
}

/// The default policy: between which delays each attempt draws, for each jitter.
fn delays() -> String {
    const ATTEMPTS: u32 = 8;
    const HEIGHT: usize = 110;
    let usual = Policy::default();
    let mut body = String::new();
    let head = format!(
        "Delay after each failure, default policy: initial {} ms, factor {}/1000, cap {} ms, floor {} ms",
        usual.initial, usual.factor, usual.cap, usual.floor
    );
    body.push_str(&text(10, 20, "font-size=\"14\"", &head));
    for (row, jitter) in Jitter::ALL.iter().enumerate() {
        let policy = Policy { jitter: *jitter, ..usual.clone() };
        let bottom = 50 + HEIGHT + row * (HEIGHT + 50);
        body.push_str(&text(10, bottom - HEIGHT / 2, "font-weight=\"bold\"", jitter.as_str()));
        let _ = writeln!(
            body,
            "<path d=\"M110 {bottom}H700M110 {}H700\" stroke=\"currentColor\" stroke-opacity=\".4\" fill=\"none\"/>",
            bottom - HEIGHT
        );
        let cap = format!("cap {} ms", usual.cap);
        body.push_str(&text(705, bottom - HEIGHT + 4, "font-size=\"10\"", &cap));
        let mut previous = 0;
        for attempt in 0..ATTEMPTS {
            let (low, high) = policy.interval(attempt, previous);
            previous = high;
            let scale = |delay: u64| (delay as usize * HEIGHT) / usual.cap.max(1) as usize;
            let x = 125 + attempt as usize * 72;
            let (top, tall) = (bottom - scale(high), scale(high).saturating_sub(scale(low)).max(3));
            let _ = writeln!(
                body,
                "<rect x=\"{x}\" y=\"{top}\" width=\"44\" height=\"{tall}\" rx=\"2\" fill=\"#0969da\" fill-opacity=\".55\"/>"
            );
            let look = "font-size=\"10\" text-anchor=\"middle\"";
            let range = if low == high { format!("{low}") } else { format!("{low}–{high}") };
            body.push_str(&text(x + 22, bottom + 13, look, &range));
            if row == 0 {
                body.push_str(&text(x + 22, 42, look, &format!("failure {}", attempt + 1)));
            }
        }
    }
    drawing(770, 60 + Jitter::ALL.len() * (HEIGHT + 50), &body)
}

/// What of an action the picture shows: the response, and what becomes of the session.
fn shown(profile: &Profile, code: u16) -> (Response, Session) {
    let action = profile.decide(code, true, false);
    (action.response, action.session)
}

/// What each profile does after each code, with TLS and without live subscriptions.
fn actions() -> String {
    const COLUMNS: usize = 4;
    const WIDTH: usize = 250;
    let colour = |response: Response| match response {
        Response::Never => "#cf222e",
        Response::Immediate => "#2da44e",
        Response::Spread => "#0969da",
        Response::Backoff => "#bf8700",
        Response::SlowBackoff => "#bc4c00",
        _ => "#8250df",
    };
    let mut body = text(
        10,
        20,
        "font-size=\"14\"",
        "What follows a close code, by profile, and with which session (over TLS, without subscriptions)",
    );
    let mut depths = [32; COLUMNS];
    for (place, name) in Profile::names().enumerate() {
        let (column, x) = (place % COLUMNS, 10 + place % COLUMNS * WIDTH);
        let mut y = depths[column] + 20;
        body.push_str(&text(x, y, "font-weight=\"bold\"", name));
        let profile = Profile::named(name);
        let mut from = 0_u16;
        let mut same = shown(&profile, 0);
        for to in 0..=u16::MAX {
            let next = to.checked_add(1).map(|code| (code, shown(&profile, code)));
            if next.is_none_or(|(_, action)| action != same) {
                y += 18;
                let range = if from == to { format!("{from}") } else { format!("{from}–{to}") };
                let _ = writeln!(
                    body,
                    "<circle cx=\"{}\" cy=\"{}\" r=\"4\" fill=\"{}\"/>",
                    x + 6,
                    y - 4,
                    colour(same.0)
                );
                body.push_str(&text(x + 16, y, "", &range));
                let session =
                    if same.1 == Session::Any { String::new() } else { format!(", {}", same.1.as_str()) };
                body.push_str(&text(x + 105, y, "", &format!("{}{session}", same.0.as_str())));
                if let Some(next) = next {
                    (from, same) = next;
                }
            }
        }
        depths[column] = y + 16;
    }
    drawing(20 + COLUMNS * WIDTH, depths.into_iter().max().unwrap_or_default(), &body)
}
