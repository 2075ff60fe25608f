//! Puts every mutant of the core that cargo-mutants finds to the tests.
//!
//! cargo-mutants says what the mutants are. Most are written into one copy of the core, each behind a switch
//! ([`switches`]), so that one build serves for all of them and a mutant costs one run of the tests. What cannot stand
//! behind a switch is built by itself, as cargo-mutants does it. A mutant is asked one check after the other, the
//! cheapest first, until one of them fails; only checks that reach the mutant are asked.
//!
//! `cargo xtask mutants` runs this; docs/mutants.md says what came out.

mod switches;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use switches::{Blame, Mutant, Rewritten};
use tidegate_verify::models;
use tidegate_verify::workspace::{self, said};

/// The checks, the cheapest first: a package and a target of its tests, where its own name means its unit tests.
const CHECKS: &[(&str, &str)] = &[
    ("tidegate-boundary", "vectors"),
    ("tidegate-boundary", "pinned"),
    ("tidegate-fuzz", "corpus"),
    ("tidegate", "tidegate"),
    ("tidegate", "lease"),
    ("tidegate", "saga"),
    ("tidegate", "fleet"),
    ("tidegate", "laws"),
    ("tidegate-verify", EXPLORER),
    ("tidegate", "saga_matrix"),
];
/// No test, but a program: it explores every model at small bounds, as a test does.
const EXPLORER: &str = "tidegate-verify";
/// The machines, as their models and laws are called. A mutant of a file that is called so is asked of that machine
/// alone, and of what is made of several.
const MACHINES: &[&str] = &[
    "backoff",
    "close_policy",
    "directory",
    "drain",
    "handoff",
    "lease",
    "lease_holder",
    "lifecycle",
    "peer",
    "saga",
    "stack",
    "successor",
    "tunnel",
];
/// What the checks are made of; nothing else is copied.
const COPIED: &[&str] = &["Cargo.lock", ".cargo", "core", "boundary", "fuzz", "verify", "vectors", "docs"];
/// How much longer than without a mutant a check may run before it is an endless loop, and by how many seconds
/// besides: seconds of the processor, so what else the computer does is not counted.
const PATIENCE: (u64, u64) = (5, 5);
/// An endless loop is not to take the computer's memory with it. Kilobytes.
const MEMORY: u64 = 6_000_000;
/// What waits for something, and uses no time of the processor, is given up. Seconds.
const LONGEST: u64 = 900;
/// At most so many seconds of the processor for a check that was not measured.
const UNMEASURED: u64 = 20;
/// How often it is said how far the run has come.
const SAY: Duration = Duration::from_secs(30);

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGABRT: i32 = 6;
const SIGSEGV: i32 = 11;
const SIGTERM: i32 = 15;
const SIGXCPU: i32 = 24;

const USAGE: &str = "\
cargo xtask mutants [OPTION …]
    Puts the mutants of the core that cargo-mutants finds to the tests: docs/mutants.md.
    --only TEXT         those whose names contain this; may be given more than once
    --shard K/N         every Nth of the list, from the Kth on: a sample over all files
    --again             those that the last results call missed or do not know, after new tests (the core unchanged)
    --continue          goes on where a run was broken off, with what it had built
    --without CHECK     does not ask this check: vectors, pinned, corpus, …; may be given more than once
    --jobs N            so many at once (2)
    --results FILE      where each outcome is written as it comes (target/mutants/results.tsv); what stands there of an
                        earlier run is moved to FILE.before
    --folder FOLDER     where all is built (target/mutants)
";

/// What cargo builds for a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Test,
    Units,
    Program,
}

fn kind_of(package: &str, name: &str) -> Kind {
    match name {
        EXPLORER => Kind::Program,
        name if name == package => Kind::Units,
        _ => Kind::Test,
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Good,
    Failed,
    /// It used up its time of the processor, or the memory, or the stack.
    Endless,
    /// Nobody knows what it would have said: it waited without using its time, or something else ended it.
    Unknown,
}

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Unviable,
    Caught(&'static str),
    Endless(&'static str),
    Missed,
    /// A check of it did not end; that counts as missed.
    Unfinished(&'static str),
}

impl Outcome {
    fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::Unviable => ("unviable", "-"),
            Self::Caught(by) => ("caught", by),
            Self::Endless(by) => ("endless", by),
            Self::Missed => ("missed", "-"),
            Self::Unfinished(by) => ("unfinished", by),
        }
    }
}

/// A check that was built.
#[derive(Debug, Clone)]
struct Check {
    name: &'static str,
    /// What it is called with: what chooses some of its tests, or a model.
    part: Vec<String>,
    program: PathBuf,
    folder: PathBuf,
    /// Its time without a mutant. Seconds of the processor.
    time: u64,
    /// The mutants that it reaches.
    reaches: BTreeSet<u32>,
    /// Whether nothing panics in it while all is well, so that the first panic is its answer.
    quits: bool,
}

/// A copy of the workspace.
struct Copy {
    root: PathBuf,
    build: PathBuf,
}

/// Runs a program to its end, or to that of its time.
fn ended(check: &Check, seconds: u64, variable: (&str, &str)) -> Result<Ended, String> {
    let Check { program, folder, quits, part, .. } = check;
    // At the soft limit a signal says that the time of the processor is used up; nothing else sends that one. In the
    // foreground, so that Ctrl-C reaches the program too.
    let limits = format!(
        "ulimit -c 0; ulimit -v {MEMORY}; ulimit -St {seconds}; ulimit -Ht {}; \
         exec timeout --foreground {LONGEST} \"$0\" \"$@\"",
        seconds + 5
    );
    let mut command = Command::new("sh");
    command.args(["-c", &limits]).arg(program).args(part).current_dir(folder);
    command.env(variable.0, variable.1).env("RUST_BACKTRACE", "0");
    if *quits {
        command.env("TIDEGATE_MUTANT_QUITS", "1");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = said(program, command.status())?;
    Ok(match (status.code(), status.signal()) {
        (Some(0), _) => Ended::Good,
        (Some(1 | 101), _) => Ended::Failed,
        (_, Some(SIGXCPU | SIGABRT | SIGSEGV)) => Ended::Endless,
        (_, Some(SIGINT | SIGTERM | SIGHUP)) => return Err("interrupted; --continue goes on".to_owned()),
        _ => Ended::Unknown,
    })
}

/// The seconds of the processor that the children of this process have taken.
fn spent() -> u64 {
    let read = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<u64> = read
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(|field| field.parse().unwrap_or_default())
        .collect();
    // utime and stime of the children that were waited for, in hundredths.
    (fields.get(13).unwrap_or(&0) + fields.get(14).unwrap_or(&0)) / 100
}

impl Copy {
    fn new(workspace: &Path, folder: &Path, name: &str, on: bool) -> Result<Self, String> {
        let copied = Self { root: folder.join(name), build: folder.join("build") };
        if on && copied.root.exists() {
            return Ok(copied);
        }
        let _ = fs::remove_dir_all(&copied.root);
        said(&copied.root, fs::create_dir_all(&copied.root))?;
        workspace::copy(workspace, &copied.root, COPIED, &["core", "boundary", "fuzz", "verify"])?;
        Ok(copied)
    }

    /// What cargo prints as JSON, and whether all went well.
    fn cargo(&self, arguments: &[&str], optimised: bool) -> Result<(bool, Vec<Value>), String> {
        let mut command = Command::new("cargo");
        command.args(arguments).args(["--quiet", "--message-format=json", "--profile", "mutants"]);
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.build);
        // Mutants leave things unused, and what is denied is no reason for a mutant not to exist.
        command.env("RUSTFLAGS", "--cap-lints=allow").env("CARGO_INCREMENTAL", "1");
        if !optimised {
            command.env("CARGO_PROFILE_MUTANTS_OPT_LEVEL", "0");
        }
        let output = command.stderr(Stdio::null()).output().map_err(|error| format!("cargo: {error}"))?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let messages = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok((output.status.success(), messages))
    }

    /// Builds these checks; none when the mutant in them does not compile.
    fn checks(
        &self,
        which: &[(&'static str, &'static str)],
        optimised: bool,
    ) -> Result<Option<Vec<Check>>, String> {
        let mut built = Vec::new();
        for kind in [Kind::Test, Kind::Units, Kind::Program] {
            let wanted: Vec<_> =
                which.iter().filter(|(package, name)| kind_of(package, name) == kind).collect();
            let mut arguments = if kind == Kind::Program { vec!["build"] } else { vec!["test", "--no-run"] };
            for (package, name) in &wanted {
                arguments.extend(["-p", package]);
                match kind {
                    Kind::Test => arguments.extend(["--test", name]),
                    Kind::Units => arguments.extend(["--lib", "--all-features"]),
                    Kind::Program => arguments.extend(["--bin", name]),
                }
            }
            if wanted.is_empty() {
                continue;
            }
            let (good, messages) = self.cargo(&arguments, optimised)?;
            if !good {
                return Ok(None);
            }
            for (_, name) in wanted {
                let of = |message: &&Value| {
                    message["target"]["name"] == *name && message["executable"].is_string()
                };
                let message = messages.iter().find(of).ok_or(format!("cargo built no {name}"))?;
                let path = |value: &Value| PathBuf::from(value.as_str().unwrap_or_default());
                built.push(Check {
                    name,
                    part: Vec::new(),
                    program: path(&message["executable"]),
                    folder: path(&message["manifest_path"]).parent().unwrap_or(Path::new("/")).to_owned(),
                    time: 0,
                    reaches: BTreeSet::new(),
                    quits: false,
                });
            }
        }
        built.sort_by_key(|check| CHECKS.iter().position(|(_, name)| *name == check.name));
        Ok(Some(built))
    }
}

/// Runs the check without a mutant: it has to pass, and says how long it takes and whom it reaches. That is written
/// down beside the program, for a run that goes on.
fn measure(check: &mut Check) -> Result<(), String> {
    let part = check.part.last().cloned().unwrap_or_default();
    let letters = part.chars().filter(|letter| letter.is_alphanumeric() || *letter == '×');
    let part: String = letters.collect();
    let known = check.program.with_extension(format!("{part}.measured"));
    let built = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    if let Ok(text) = fs::read_to_string(&known)
        && built(&known) > built(&check.program)
    {
        let [seconds, quits, reaches]: [BTreeSet<u32>; 3] = numbers(&text)?;
        check.time = seconds.first().copied().unwrap_or(0).into();
        (check.quits, check.reaches) = (!quits.is_empty(), reaches);
        return Ok(());
    }
    let file = check.program.with_extension(format!("{part}.reached"));
    let path = file.display().to_string();
    for quits in [true, false] {
        let _ = fs::remove_file(&file);
        check.quits = quits;
        let before = spent();
        if ended(check, 3_600, ("TIDEGATE_MUTANTS_REACHED", &path))? == Ended::Good {
            check.time = spent().saturating_sub(before);
            break;
        }
        if !quits {
            return Err(without_a_mutant(check));
        }
    }
    let read = fs::read_to_string(&file).unwrap_or_default();
    check.reaches = read.lines().filter_map(|line| line.parse().ok()).collect();
    println!("{} {part}: {} s, reaches {} mutants", check.name, check.time, check.reaches.len());
    let quits: &[u8] = if check.quits { &[1] } else { &[] };
    said(&known, fs::write(&known, json!([[check.time], quits, check.reaches]).to_string()))
}

/// What is said of a check that fails as it is: nothing can be learned from it then.
fn without_a_mutant(check: &Check) -> String {
    let words: Vec<String> = check.part.iter().map(|word| format!("'{word}'")).collect();
    format!(
        "{} fails without a mutant, or needs more than {MEMORY} KiB; to see why: cd {} && {} {}",
        check.name,
        check.folder.display(),
        check.program.display(),
        words.join(" ")
    )
}

/// Takes a check apart that has a part for every machine: a mutant then asks only its own.
fn parts(check: Check) -> Result<Vec<Check>, String> {
    let of = |part: Vec<String>| Check { part, ..check.clone() };
    let words = |words: &[&str]| of(words.iter().map(|word| (*word).to_owned()).collect());
    let said_by = |arguments: &[&str]| -> Result<String, String> {
        let output = said(&check.program, Command::new(&check.program).args(arguments).output())?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    Ok(match check.name {
        "laws" => {
            let listed = said_by(&["--list"])?;
            let modules = listed.lines().filter_map(|line| Some(format!("{}::", line.split_once("::")?.0)));
            let modules: BTreeSet<String> = modules.collect();
            modules.iter().map(|module| words(&["--test-threads=2", module])).collect()
        }
        // What is explored is a copy of what this program is built with.
        EXPLORER => models::all().iter().map(|model| words(&["--small", "--only", model.name])).collect(),
        _ => vec![words(&["--test-threads=2"])],
    })
}

/// Asks the checks, the cheapest first.
fn judge(checks: &[Check], mutant: u32, reached: bool) -> Result<Outcome, String> {
    let mut unfinished = None;
    for check in checks.iter().filter(|check| !reached || check.reaches.contains(&mutant)) {
        let (times, besides) = PATIENCE;
        let seconds = check.time * times + besides;
        match ended(check, seconds, ("TIDEGATE_MUTANT", &mutant.to_string()))? {
            Ended::Good => {}
            Ended::Failed => return Ok(Outcome::Caught(check.name)),
            Ended::Endless => return Ok(Outcome::Endless(check.name)),
            Ended::Unknown => unfinished = Some(check.name),
        }
    }
    Ok(unfinished.map_or(Outcome::Missed, Outcome::Unfinished))
}

/// The core with every mutant in it that can stand behind a switch.
struct Switched {
    copy: Copy,
    within: BTreeSet<u32>,
    unviable: BTreeSet<u32>,
}

impl Switched {
    /// Writes the mutants into the copy, leaving out what the compiler complains of, until it complains no more.
    fn new(copy: Copy, mutants: &[Mutant]) -> Result<Self, String> {
        let known = copy.root.join("switched.json");
        if let Ok(text) = fs::read_to_string(&known) {
            let [within, unviable]: [BTreeSet<u32>; 2] = numbers(&text)?;
            return Ok(Self { copy, within, unviable });
        }
        let mut by_file: BTreeMap<&str, (String, Vec<&Mutant>)> = BTreeMap::new();
        for mutant in mutants {
            let path = copy.root.join(&mutant.file);
            if !by_file.contains_key(mutant.file.as_str()) {
                by_file.insert(&mutant.file, (said(&path, fs::read_to_string(&path))?, Vec::new()));
            }
            if let Some((_, list)) = by_file.get_mut(mutant.file.as_str()) {
                list.push(mutant);
            }
        }
        let (mut without, mut unviable) = (BTreeSet::new(), BTreeSet::new());
        loop {
            let mut rewritten = BTreeMap::new();
            for (file, (text, list)) in &by_file {
                let new = Rewritten::new(text, list, &without).map_err(|error| format!("{file}: {error}"))?;
                said(&copy.root.join(file), fs::write(copy.root.join(file), &new.text))?;
                rewritten.insert(*file, new);
            }
            let library = copy.root.join("core/src/lib.rs");
            let text = said(&library, fs::read_to_string(&library))?;
            if !text.contains("TIDEGATE_MUTANT") {
                said(&library, fs::write(&library, text + "\n" + include_str!("switch.rs")))?;
            }
            let (good, messages) = copy.cargo(&["check", "-p", "tidegate", "--all-features"], true)?;
            if good {
                let within: BTreeSet<u32> =
                    rewritten.values().flat_map(|file| file.mutants.iter().copied()).collect();
                said(&known, fs::write(&known, json!([within, unviable]).to_string()))?;
                return Ok(Self { copy, within, unviable });
            }
            let before = without.len();
            for message in messages.iter().filter(|message| message["message"]["level"] == "error") {
                blame(&message["message"], &rewritten, &mut without, &mut unviable);
            }
            println!("{} mutants stand behind no switch", without.len());
            if without.len() == before {
                let text = messages.iter().filter_map(|message| message["message"]["rendered"].as_str());
                return Err(text.collect::<Vec<_>>().join("\n"));
            }
        }
    }
}

/// Sets of numbers, as this program wrote them down.
fn numbers<const N: usize>(text: &str) -> Result<[BTreeSet<u32>; N], String> {
    let strange = "what an earlier run wrote down cannot be read; run without --continue";
    let value: Vec<Vec<u32>> = serde_json::from_str(text).map_err(|_| strange)?;
    let sets: Vec<BTreeSet<u32>> = value.into_iter().map(|set| set.into_iter().collect()).collect();
    sets.try_into().map_err(|_| strange.to_owned())
}

/// Leaves out whom a complaint is about.
fn blame(
    message: &Value,
    rewritten: &BTreeMap<&str, Rewritten>,
    without: &mut BTreeSet<u32>,
    unviable: &mut BTreeSet<u32>,
) {
    for span in message["spans"].as_array().into_iter().flatten().filter(|span| span["is_primary"] == true) {
        let end = |name: &str| span[name].as_u64().and_then(|byte| usize::try_from(byte).ok()).unwrap_or(0);
        let part: Range<usize> = end("byte_start")..end("byte_end");
        let Some(file) = span["file_name"].as_str().and_then(|name| rewritten.get(name)) else { continue };
        match file.blame(&part) {
            Some(Blame::Unviable(number)) => {
                without.insert(number);
                unviable.insert(number);
            }
            Some(Blame::NoSwitch(numbers)) => without.extend(numbers),
            None => {}
        }
    }
}

/// Mutants with what became of them, written down as they come.
struct Results {
    to: Mutex<Progress>,
    path: PathBuf,
    /// How many there will be.
    all: usize,
}

struct Progress {
    file: fs::File,
    done: usize,
    missed: usize,
    said: Instant,
}

impl Results {
    fn add(&self, mutant: &Mutant, outcome: &Outcome, how: &str) -> Result<(), String> {
        let (word, by) = outcome.words();
        let missed = matches!(outcome, Outcome::Missed | Outcome::Unfinished(_));
        if missed {
            println!("{word}: {}", mutant.name);
        }
        let line = format!("{word}\t{by}\t{how}\t{}\n", mutant.name);
        let mut to = self.to.lock().map_err(|_| "a thread broke off")?;
        to.done += 1;
        to.missed += usize::from(missed);
        if to.said.elapsed() > SAY {
            println!("{} of {} done, {} missed", to.done, self.all, to.missed);
            to.said = Instant::now();
        }
        said(&self.path, to.file.write_all(line.as_bytes()))
    }
}

/// One mutant, built by itself. What the checks take is known from those that were measured.
fn alone(copy: &Copy, mutant: &Mutant, measured: &[Check], without: &[String]) -> Result<Outcome, String> {
    let path = copy.root.join(&mutant.file);
    let original = said(&path, fs::read_to_string(&path))?;
    let mut patch = Command::new("patch");
    patch.args(["--quiet", "--no-backup-if-mismatch", &mutant.file]).current_dir(&copy.root);
    let mut patch = patch.stdin(Stdio::piped()).spawn().map_err(|error| format!("patch: {error}"))?;
    if let Some(mut input) = patch.stdin.take() {
        input.write_all(mutant.patch.as_bytes()).map_err(|error| format!("patch: {error}"))?;
    }
    if !patch.wait().map_err(|error| format!("patch: {error}"))?.success() {
        return Err(format!("{} cannot be patched", mutant.name));
    }
    let machine = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let machines: Vec<_> = MACHINES.iter().filter(|known| **known != machine).collect();
    let own = MACHINES.contains(&machine);
    let mut outcome = Outcome::Missed;
    // The cheapest check first, built fast; the others, built to run fast, only if it does not catch the mutant.
    for (which, optimised) in [(&CHECKS[..1], false), (&CHECKS[1..], true)] {
        let Some(checks) = copy.checks(which, optimised)? else {
            if which.len() > 1 {
                return Err(format!("{} builds only in part", mutant.name));
            }
            outcome = Outcome::Unviable;
            break;
        };
        let mut checks = checks.into_iter().map(parts).collect::<Result<Vec<_>, _>>()?.concat();
        // What is said of one machine alone needs no test of another one alone.
        let of_other = |check: &Check| {
            let part = check.part.last().map_or("", String::as_str).trim_end_matches("::").replace(' ', "_");
            own && machines.iter().any(|other| **other == part)
        };
        checks.retain(|check| !of_other(check) && !without.iter().any(|name| name == check.name));
        for check in &mut checks {
            let same = |known: &&Check| (known.name, &known.part) == (check.name, &check.part);
            check.time = measured.iter().find(same).map_or(0, |known| known.time).max(UNMEASURED);
        }
        match judge(&checks, 0, false)? {
            Outcome::Missed => {}
            unfinished @ Outcome::Unfinished(_) => outcome = unfinished,
            caught => {
                outcome = caught;
                break;
            }
        }
    }
    said(&path, fs::write(&path, original))?;
    Ok(outcome)
}

struct Options {
    folder: PathBuf,
    results: PathBuf,
    shard: (u32, u32),
    only: Vec<String>,
    jobs: usize,
    /// Checks that are not asked.
    without: Vec<String>,
    /// Whether only those are asked that the results call missed, or do not know; the core has to be the same.
    again: bool,
    /// Whether to go on with what stands in the results, on what was built for them.
    on: bool,
}

/// None, when only the usage is asked for.
fn options(workspace: &Path) -> Result<Option<Options>, String> {
    let folder = workspace.join("target/mutants");
    let mut options = Options {
        results: folder.join("results.tsv"),
        folder,
        shard: (0, 1),
        only: Vec::new(),
        jobs: 2,
        without: Vec::new(),
        again: false,
        on: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--help" | "-h" => return Ok(None),
            "--folder" => options.folder = value()?.into(),
            "--results" => options.results = value()?.into(),
            "--jobs" => options.jobs = value()?.parse().map_err(|_| "--jobs needs a number")?,
            "--again" => options.again = true,
            "--continue" => options.on = true,
            "--without" => options.without.push(value()?),
            "--only" => options.only.push(value()?),
            "--shard" => {
                let text = value()?;
                let (k, n) = text.split_once('/').ok_or("--shard needs k/n")?;
                let number = |text: &str| text.parse().map_err(|_| "--shard needs k/n".to_owned());
                options.shard = (number(k)?, number(n)?);
            }
            other => return Err(format!("there is no option `{other}`\n\n{USAGE}")),
        }
    }
    Ok(Some(options))
}

fn run() -> Result<bool, String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let Some(options) = options(&workspace)? else {
        print!("{USAGE}");
        return Ok(true);
    };
    if !Path::new("/proc/self/stat").exists() {
        return Err("it counts the time of the processor in /proc, which this system does not have".into());
    }
    said(&options.folder, fs::create_dir_all(&options.folder))?;
    let list = Command::new("cargo")
        .args(["mutants", "-p", "tidegate", "--list", "--json"])
        .current_dir(&workspace)
        .output()
        .map_err(|error| format!("cargo mutants: {error}"))?;
    let list: Vec<Value> = serde_json::from_slice(&list.stdout)
        .map_err(|error| format!("cargo mutants lists nothing: {error}"))?;
    let all: Option<Vec<Mutant>> =
        (1..).zip(&list).map(|(number, value)| Mutant::read(number, value)).collect();
    let all = all.ok_or("cargo mutants lists something unknown")?;
    let (shard, of) = options.shard;
    let chosen: Vec<&Mutant> = all
        .iter()
        .filter(|mutant| (mutant.number - 1) % of == shard)
        .filter(|mutant| {
            options.only.is_empty() || options.only.iter().any(|text| mutant.name.contains(text))
        })
        .collect();
    println!("{} mutants found, {} chosen", all.len(), chosen.len());

    println!("writing the mutants into a copy of the core, and building it (some minutes)");
    let switched = Switched::new(Copy::new(&workspace, &options.folder, "switched", options.on)?, &all)?;
    println!("{} of them stand behind a switch", switched.within.len());
    println!("building the checks, and running each without a mutant (some minutes)");
    let checks = switched.copy.checks(CHECKS, true)?;
    let mut checks: Vec<Check> = checks
        .ok_or("the core with its switches does not build")?
        .into_iter()
        .map(parts)
        .collect::<Result<Vec<_>, _>>()?
        .concat();
    checks.retain(|check| !options.without.iter().any(|name| name == check.name));
    for check in &mut checks {
        measure(check)?;
    }

    let known = known(&options, &all)?;
    said(&options.results, fs::write(&options.results, &known))?;
    let known: BTreeSet<&str> = known.lines().filter_map(|line| line.rsplit('\t').next()).collect();
    let file = fs::File::options().append(true).open(&options.results);
    let file = said(&options.results, file)?;
    // In an order that makes what is done so far a sample of all files.
    let mut chosen = chosen;
    chosen.retain(|mutant| !known.contains(mutant.name.as_str()));
    chosen.sort_by_key(|mutant| (mutant.number % 16, mutant.number));
    let progress = Progress { file, done: 0, missed: 0, said: Instant::now() };
    let results = Results { to: Mutex::new(progress), path: options.results.clone(), all: chosen.len() };
    let (behind, rest): (Vec<&Mutant>, Vec<&Mutant>) =
        chosen.into_iter().partition(|mutant| switched.within.contains(&mutant.number));
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), String> {
        while let Some(mutant) = behind.get(next.fetch_add(1, Ordering::Relaxed)) {
            let judged = judge(&checks, mutant.number, true);
            if let Err(error) = judged.and_then(|outcome| results.add(mutant, &outcome, "switched")) {
                // The others stop, too.
                next.store(behind.len(), Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    };
    println!("{} to be asked behind their switches, {} by themselves", behind.len(), rest.len());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a thread broke off")?)
    })?;
    let plain = Copy::new(&workspace, &options.folder, "plain", false)?;
    for mutant in rest {
        let outcome = match switched.unviable.contains(&mutant.number) {
            true => Outcome::Unviable,
            false => alone(&plain, mutant, &checks, &options.without)?,
        };
        results.add(mutant, &outcome, "alone")?;
    }
    report(&options.results)
}

/// What stays of earlier results, which are moved out of the way otherwise.
fn known(options: &Options, all: &[Mutant]) -> Result<String, String> {
    let path = &options.results;
    if !path.exists() {
        return Ok(String::new());
    }
    if !options.on && !options.again {
        let mut before = path.clone().into_os_string();
        before.push(".before");
        said(path, fs::rename(path, before))?;
        return Ok(String::new());
    }
    let text = said(path, fs::read_to_string(path))?;
    let names: BTreeSet<&str> = all.iter().map(|mutant| mutant.name.as_str()).collect();
    let unknown = text.lines().filter_map(|line| line.rsplit('\t').next()).find(|name| !names.contains(name));
    if let Some(name) = unknown {
        return Err(format!("{}: the core has changed since, there is no `{name}`", path.display()));
    }
    let open = |line: &&str| line.starts_with("missed") || line.starts_with("unfinished");
    let lines = text.lines().filter(|line| !options.again || !open(line));
    Ok(lines.map(|line| format!("{line}\n")).collect())
}

/// Counts what became of all.
fn report(path: &Path) -> Result<bool, String> {
    let text = said(path, fs::read_to_string(path))?;
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split('\t');
        let key = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        *counts.entry(key).or_default() += 1;
    }
    for ((outcome, by), count) in &counts {
        println!("{outcome:10} {by:12} {count:5}");
    }
    let of = |outcome: &str| -> usize {
        counts.iter().filter(|((word, _), _)| *word == outcome).map(|(_, count)| count).sum()
    };
    let (caught, missed) = (of("caught") + of("endless"), of("missed") + of("unfinished"));
    println!("{caught} of {} viable mutants caught; each in {}", caught + missed, path.display());
    Ok(missed * 10 <= caught + missed)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("mutants: {message}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &'static str) -> Check {
        Check {
            name,
            part: Vec::new(),
            program: PathBuf::from("/checks/program"),
            folder: PathBuf::from("/checks"),
            time: 0,
            reaches: BTreeSet::new(),
            quits: false,
        }
    }

    #[test]
    fn the_explorer_is_asked_one_model_at_a_time_and_every_one() {
        let parts = parts(check(EXPLORER)).unwrap();
        let asked: Vec<&str> = parts.iter().filter_map(|part| Some(part.part.last()?.as_str())).collect();
        let models: Vec<&str> = models::all().iter().map(|model| model.name).collect();
        assert_eq!(asked, models);
        assert!(asked.contains(&"stack, a diamond"), "a name with a comma in it is one model");
        assert!(parts.iter().all(|part| part.part[..2] == ["--small", "--only"]));
    }

    #[test]
    fn every_machine_has_a_model_of_its_own() {
        for machine in MACHINES {
            let name = machine.replace('_', " ");
            assert!(models::all().iter().any(|model| model.name == name), "no model is called {name}");
        }
    }

    #[test]
    fn who_fails_without_a_mutant_is_named_with_the_line_that_shows_why() {
        let mut failing = check(EXPLORER);
        failing.part = ["--small", "--only", "stack, a diamond"].map(str::to_owned).to_vec();
        let said = without_a_mutant(&failing);
        assert!(
            said.ends_with("cd /checks && /checks/program '--small' '--only' 'stack, a diamond'"),
            "{said}"
        );
    }
}
