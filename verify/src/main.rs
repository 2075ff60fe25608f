//! `tidegate-verify`: explores every model at its published bounds and prints what holds, as a table.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};
use tidegate_verify::claim::{Claim, Options};
use tidegate_verify::models::{Entry, Size, all};
use tidegate_verify::planted::{self, Row};
use tidegate_verify::{coverage, diagrams, vectors};

/// States are made on one thread and dropped on another; the usual allocator has the threads wait for each other then.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
cargo xtask verify [--quick | --small] [--only MODEL] [OPTION …]
    Explores every state of the machines at stated bounds and prints the claim as a table. It fails when a property does
    not hold, when nothing put it to the test, when a limit was hit or when a transition was not taken. Without
    --quick, --small and --only it plants the bugs, too: each has to be caught.
    --quick             smaller bounds: under a minute
    --small             those of the tests: seconds
    --only MODEL        one model; a wrong name lists them, and `x` will do for `×`
    --threads N         so many work (2)
    --states N          the most states that are kept of a model (50,000,000); to reach it is a failure
    --json FILE         the claim, to be read by programs
    --counterexamples FOLDER
                        where those of single machines are kept as vectors (target/counterexamples)
cargo xtask verify --planted [--only BUG] [--json FILE] [--write]
    Only plants bugs, each by itself in a copy of the workspace: verify/planted. --write puts the table into
    docs/planted-bugs.md.
cargo xtask verify --graph FILE --only MODEL
    Writes the states of a model as FILE.dot, to be drawn by Graphviz, and FILE.json.
cargo xtask verify --vectors FOLDER
    Writes the transitions that were taken as generated-<machine>.json, and enters these into index.json.
cargo xtask verify --diagrams FOLDER [--check]
    Draws every machine from the vectors, or says which picture is stale.
";

/// What was asked for.
struct Wanted {
    size: Size,
    only: Option<String>,
    options: Options,
    json: Option<PathBuf>,
    counterexamples: PathBuf,
    graph: Option<PathBuf>,
    vectors: Option<PathBuf>,
    planted: bool,
    write: bool,
    diagrams: Option<PathBuf>,
    check: bool,
}

/// None: only to be told what there is.
fn wanted(mut arguments: impl Iterator<Item = String>) -> Result<Option<Wanted>, String> {
    let mut wanted = Wanted {
        size: Size::Full,
        only: None,
        options: Options::default(),
        json: None,
        counterexamples: PathBuf::from("target/counterexamples"),
        graph: None,
        vectors: None,
        planted: false,
        write: false,
        diagrams: None,
        check: false,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--help" | "-h" => return Ok(None),
            "--quick" => wanted.size = Size::Quick,
            "--small" => wanted.size = Size::Small,
            "--planted" => wanted.planted = true,
            "--write" => wanted.write = true,
            "--only" => wanted.only = Some(value()?.replace(" x ", " × ")),
            "--json" => wanted.json = Some(value()?.into()),
            "--counterexamples" => wanted.counterexamples = value()?.into(),
            "--graph" => wanted.graph = Some(value()?.into()),
            "--diagrams" => wanted.diagrams = Some(value()?.into()),
            "--check" => wanted.check = true,
            "--vectors" => wanted.vectors = Some(value()?.into()),
            "--states" => {
                let states = value()?;
                wanted.options.states =
                    states.parse().map_err(|_| format!("--states {states} is no number"))?;
            }
            "--threads" => {
                let threads = value()?;
                wanted.options.threads =
                    threads.parse().map_err(|_| format!("--threads {threads} is no number"))?;
            }
            _ => return Err(format!("there is no {argument}\n\n{USAGE}")),
        }
    }
    if let Some(file) = &wanted.json {
        // Before anything takes minutes.
        write(file, "")?;
    }
    Ok(Some(wanted))
}

fn main() -> ExitCode {
    let wanted = match wanted(std::env::args().skip(1)) {
        Ok(Some(wanted)) => wanted,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match carry_out(&wanted) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything holds.
fn carry_out(wanted: &Wanted) -> Result<bool, String> {
    if wanted.planted {
        let rows = plant(wanted.only.as_deref().unwrap_or(""), wanted.write)?;
        if let Some(file) = &wanted.json {
            write(file, &format!("{:#}\n", planted::json(&rows)))?;
        }
        return Ok(rows.iter().all(|row| row.caught.at_all()));
    }
    let mut entries = all();
    entries.retain(|entry| wanted.only.as_deref().is_none_or(|only| only == entry.name));
    if entries.is_empty() {
        let names: Vec<_> = all().iter().map(|entry| entry.name).collect();
        let only = wanted.only.as_deref().unwrap_or_default();
        return Err(format!("there is no model `{only}`; there are: {}", names.join("; ")));
    }
    if let Some(file) = &wanted.graph {
        return draw(&entries, file, wanted.options);
    }
    if let Some(folder) = &wanted.diagrams {
        return illustrate(folder, wanted.check);
    }
    if let Some(folder) = &wanted.vectors {
        return generate(folder, wanted.options);
    }
    verify(&entries, wanted)
}

fn verify(entries: &[Entry], wanted: &Wanted) -> Result<bool, String> {
    let start = Instant::now();
    println!(
        "{:<18} {:>10} {:>12} {:>5} {:>9} {:>6} {:>8} {:>8} {:>8} {:>10}",
        "model",
        "states",
        "transitions",
        "depth",
        "frontier",
        "safety",
        "liveness",
        "witness",
        "seconds",
        "states/s"
    );
    let mut claims: Vec<Claim> = Vec::new();
    for entry in entries {
        let claim = (entry.prove)(wanted.size, wanted.options);
        row(&claim);
        report(&claim, &wanted.counterexamples)?;
        claims.push(claim);
    }
    let total = |count: fn(&Claim) -> u64| claims.iter().map(count).sum::<u64>();
    let faults: usize = claims.iter().map(|claim| claim.faults.len()).sum();
    let (states, transitions) = (total(|claim| claim.states), total(|claim| claim.transitions));
    let safety = total(|claim| claim.safety.len() as u64);
    let liveness = total(|claim| claim.liveness.len() as u64);
    println!(
        "\n{states} states, {transitions} transitions, {safety} safety and {liveness} liveness properties over {} \
         models; {faults} violations, missing witnesses or limits hit; {:.1} s",
        claims.len(),
        start.elapsed().as_secs_f64()
    );
    let uncovered = if wanted.only.is_none() { coverage::report(&claims) } else { 0 };
    let whole_claim = wanted.size == Size::Full && wanted.only.is_none();
    let bugs = if whole_claim { plant("", false)? } else { Vec::new() };
    if let Some(file) = &wanted.json {
        let models: Value = claims.iter().map(Claim::json).collect();
        let whole = json!({
            "states": states,
            "transitions": transitions,
            "safety": safety,
            "liveness": liveness,
            "faults": faults,
            "uncovered": uncovered,
            "seconds": start.elapsed().as_secs_f64(),
            "models": models,
            "planted": planted::json(&bugs),
        });
        write(file, &format!("{whole:#}\n"))?;
    }
    Ok(faults == 0 && uncovered == 0 && bugs.iter().all(|row| row.caught.at_all()))
}

/// Plants the bugs whose names contain `only`, and shows what became of each.
fn plant(only: &str, write_down: bool) -> Result<Vec<Row>, String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().unwrap_or(manifest);
    let mut bugs = planted::read(&manifest.join("planted"))?;
    bugs.retain(|bug| bug.name.contains(only));
    if bugs.is_empty() {
        return Err(format!("no planted bug is called `{only}`"));
    }
    println!("\nplanting {} bugs; the build before the first takes a while", bugs.len());
    let rows = planted::run(root, &bugs, |row| print!("{row}"))?;
    println!("{}", planted::summary(&rows));
    if write_down && only.is_empty() {
        write(&root.join("docs/planted-bugs.md"), &planted::markdown(&rows, &today()))?;
    }
    Ok(rows)
}

/// The date, for what is written down.
fn today() -> String {
    let output = std::process::Command::new("date").arg("+%Y-%m-%d").output();
    output.map_or_else(|_| "?".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn row(claim: &Claim) {
    let frontier = if claim.complete { "empty" } else { "NOT EMPTY" };
    let witnessed = claim.safety.iter().chain(&claim.liveness).filter(|(_, count)| *count > 0).count();
    let all = claim.safety.len() + claim.liveness.len();
    println!(
        "{:<18} {:>10} {:>12} {:>5} {:>9} {:>6} {:>8} {:>8} {:>8.1} {:>10}",
        claim.model,
        claim.states,
        claim.transitions,
        claim.depth,
        frontier,
        claim.safety.len(),
        claim.liveness.len(),
        format!("{witnessed}/{all}"),
        (claim.took.0 + claim.took.1).as_secs_f64(),
        claim.pace(),
    );
    println!("    {}", claim.bounds);
}

/// Prints what is wrong, and keeps the scripts of single machines as files.
fn report(claim: &Claim, folder: &Path) -> Result<(), String> {
    for (number, fault) in claim.faults.iter().enumerate() {
        println!("\n  {}: {}\n{}", claim.model, fault.what, fault.script);
        for (machine, scripts) in vectors::by_machine(&fault.vectors) {
            let answered: Result<Vec<Value>, String> =
                scripts.iter().map(|script| vectors::answered(script)).collect();
            let name = format!("{}-{number}-{machine}.json", claim.model.replace([' ', '×'], "-"));
            let file = folder.join(name);
            write(&file, &vectors::file(machine, &answered?))?;
            println!("  as a vector: {}", file.display());
        }
    }
    Ok(())
}

fn draw(entries: &[Entry], file: &Path, options: Options) -> Result<bool, String> {
    let [Entry { draw: Some(draw), .. }] = entries else {
        return Err("--graph needs --only with a model of a single machine".into());
    };
    let (dot, states) = draw(options);
    write(&file.with_extension("dot"), &dot)?;
    write(&file.with_extension("json"), &format!("{states:#}\n"))?;
    Ok(true)
}

/// Draws every machine, or checks that the pictures are those of the machines.
fn illustrate(folder: &Path, check: bool) -> Result<bool, String> {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors");
    let mut fresh = true;
    for (machine, picture) in diagrams::all(&vectors)? {
        let file = folder.join(format!("{machine}.svg"));
        let known = std::fs::read_to_string(&file).unwrap_or_default();
        if diagrams::is_current(&picture, &known) {
            continue;
        }
        if check {
            fresh = false;
            eprintln!("{} is not the machine's; run `cargo xtask diagrams`", file.display());
        } else {
            write(&file, &diagrams::rendered(&picture)?)?;
            println!("wrote {}", file.display());
        }
    }
    Ok(fresh)
}

/// Writes the generated vectors and enters them into the index.
fn generate(folder: &Path, options: Options) -> Result<bool, String> {
    let path = folder.join("index.json");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut index: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    for (machine, scripts) in coverage::generated(options)? {
        let name = format!("generated-{machine}.json");
        let text = vectors::file(machine, &scripts);
        println!("{name}: {} scripts, {} bytes", scripts.len(), text.len());
        write(&folder.join(&name), &text)?;
        index["files"][name] = scripts.len().into();
    }
    write(&path, &format!("{index:#}\n"))?;
    Ok(true)
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(file, text)).map_err(|error| format!("{}: {error}", file.display()))
}
