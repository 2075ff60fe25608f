//! What is run now and then to know how good the tests are: coverage, fuzzing, mutants.

use crate::setup::{say, system_package};
use crate::{Workspace, process};

/// The least share of the core's lines that the tests have to run. Percent.
const LEAST_LINES: &str = "95";
const TARGETS: &[&str] = &["steps", "records", "journals", "texts"];

/// A program that cargo installs.
fn cargo_program(program: &str) -> Result<(), String> {
    let there = process::output("sh", &["-c", &format!("command -v {program}")]).is_some();
    if there {
        return Ok(());
    }
    say(&format!("installing {program} with cargo (some minutes, once)"));
    process::require(std::process::Command::new("cargo").args(["install", "--locked", program]))
}

/// The LLVM tools that can read what this compiler writes: those of its own major version.
fn llvm() -> Result<(String, String), String> {
    let version = process::output("rustc", &["-vV"]).unwrap_or_default();
    let major = version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: ")?.split('.').next())
        .ok_or("rustc does not say which LLVM it is built with")?;
    let tools = (format!("llvm-cov-{major}"), format!("llvm-profdata-{major}"));
    system_package(&tools.0, &format!("llvm-{major}"))?;
    Ok(tools)
}

/// `cargo xtask coverage`: the share of the core's lines that its tests and the vectors run.
pub fn coverage(workspace: &Workspace) -> Result<u8, String> {
    cargo_program("cargo-llvm-cov")?;
    let (cov, profdata) = llvm()?;
    let run = |arguments: &[&str]| {
        let mut command = workspace.command("cargo", &[&["llvm-cov"], arguments].concat());
        command.env("CARGO_LLVM_COV_SETUP", "no").env("LLVM_COV", &cov).env("LLVM_PROFDATA", &profdata);
        process::run(command)
    };
    let tests =
        ["--no-report", "-p", "tidegate", "-p", "tidegate-boundary", "--all-features", "--lib", "--tests"];
    match run(&tests)? {
        0 => {}
        code => return Ok(code),
    }
    // Of the core only what ships; unit tests at the end of a machine's own file are counted with it.
    let elsewhere = r"(boundary|verify|tests)/|/tests\.rs";
    run(&[
        "report",
        "--show-missing-lines",
        "--ignore-filename-regex",
        elsewhere,
        "--fail-under-lines",
        LEAST_LINES,
    ])
}

/// `cargo xtask fuzz`: runs fuzz targets on from their committed corpora.
pub fn fuzz(workspace: &Workspace, arguments: &[&str]) -> Result<u8, String> {
    let (mut seconds, mut keep, mut chosen) = ("60", false, Vec::new());
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match *word {
            "--seconds" => seconds = words.next().ok_or("--seconds needs a number")?,
            "--keep" => keep = true,
            target if TARGETS.contains(&target) => chosen.push(target),
            other => {
                return Err(format!("there is no fuzz target `{other}`; there are {}", TARGETS.join(", ")));
            }
        }
    }
    cargo_program("cargo-fuzz")?;
    let targets = if chosen.is_empty() { TARGETS } else { &chosen };
    for target in targets {
        let found = workspace.path(&format!("target/fuzz-corpus/{target}"));
        let committed = workspace.path(&format!("fuzz/corpus/{target}"));
        std::fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
        let (found, committed) = (found.display().to_string(), committed.display().to_string());
        let run = ["+nightly", "fuzz", "run", "--fuzz-dir", "fuzz/targets", "-s", "none", target];
        let fuzz = |options: &[&str]| process::run(workspace.command("cargo", &[&run[..], options].concat()));
        let time = format!("-max_total_time={seconds}");
        match fuzz(&[&found, &committed, "--", &time, "-max_len=2048"])? {
            0 => {}
            code => return Ok(code),
        }
        if keep {
            // Only what adds something to the committed corpus.
            fuzz(&[&committed, &found, "--", "-merge=1", "-max_len=2048"])?;
        }
    }
    Ok(0)
}

/// `cargo xtask mutants`: puts every mutant of the core that cargo-mutants finds to the tests.
pub fn mutants(workspace: &Workspace, arguments: &[&str]) -> Result<u8, String> {
    // What it can do is said without them.
    if !arguments.iter().any(|word| ["--help", "-h"].contains(word)) {
        cargo_program("cargo-mutants")?;
        system_package("patch", "patch")?;
    }
    let run = ["run", "--quiet", "-p", "tidegate-mutants", "--"];
    process::run(workspace.command("cargo", &[&run[..], arguments].concat()))
}
