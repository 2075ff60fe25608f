//! The commands of this repository. `cargo xtask` lists them.

mod demo;
mod process;
mod proof;
mod python;
mod replays;
mod setup;
mod suites;
mod wasm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask demo  [--scenario NAME] [--real] [--json FILE] [--quick] [OPTION …]
    Runs a scenario without tidegate and with it, shows both and a verdict; all of them without a name:
    relay [--hosts N] [--redis] [--reconnect-rate N]  a fleet of relays is redeployed under load;
    restart                                           a gateway restarts in the four ways in which gateways do;
    allocation                                        an allocation fails at each of its steps;
    handoff [--deploys N]                             a gateway gets good and broken builds under load.
cargo xtask test  [SUITE …] [--list]
    Sets up what is missing, then runs every check and test; counts passed, failed, not run.
cargo xtask bench NAME [OPTION …]
    Runs a benchmark against its peers: http-drain, http-throughput, allocate, directory, bindings, explore,
    handoff [--upgrades N] [--json FILE].
cargo xtask verify [--quick] [--only MODEL] [--threads N] [--states N] [--json FILE] [--counterexamples FOLDER]
    Explores every state of the machines at stated bounds, prints the claim as a table, and (without --quick and
    --only) plants bugs: each has to be caught.
cargo xtask verify --graph FILE --only MODEL
    Writes the states of a model as FILE.dot, to be drawn by Graphviz, and FILE.json.
cargo xtask verify --planted [--only BUG] [--json FILE] [--write]
    Only plants bugs, each by itself in a copy of the workspace; --write renews docs/planted-bugs.md.
cargo xtask coverage
    The share of the core's lines that its tests and the vectors run; fails below 95 %.
cargo xtask fuzz [TARGET …] [--seconds N] [--keep]
    Fuzzes on from the committed corpora: steps, records, journals, texts; --keep adds what is new to them.
cargo xtask mutants [--shard K/N] [--only TEXT] [--again | --continue] [--jobs N] [--results FILE] [--help]
    Puts the mutants of the core that cargo-mutants finds to the tests, and says which survive; docs/mutants.md.
cargo xtask diagrams [--check]
    Draws every machine into docs/diagrams; or says which picture is stale.
cargo xtask setup
    Only sets up: system packages, npm and pip packages, the native parts, the WebAssembly module.
cargo xtask wasm
    Builds wasm/pkg, and says how large the module is.
cargo xtask types
    Writes the TypeScript types anew from the core's descriptions.
cargo xtask bless
    Writes the expected steps of vectors/ anew, as a draft to be reviewed.
";

/// What every command needs.
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    fn here() -> Self {
        // CARGO_MANIFEST_DIR is xtask/; its parent is the root of the workspace.
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self { root: manifest.parent().unwrap_or(manifest).to_path_buf() }
    }

    /// A path below the root.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// A command that runs at the root. A program with a slash in it is below the root.
    #[must_use]
    pub fn command(&self, program: &str, arguments: &[&str]) -> std::process::Command {
        let program = if program.contains('/') { self.path(program) } else { program.into() };
        let mut command = std::process::Command::new(program);
        command.args(arguments).current_dir(&self.root);
        command
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut words = arguments.iter().map(String::as_str);
    let workspace = Workspace::here();
    let command = words.next().unwrap_or("help");
    let rest: Vec<&str> = words.collect();
    let result =
        match command {
            // The mutants have more options than stand above, and say so themselves.
            _ if command != "mutants" && rest.iter().any(|word| ["--help", "-h"].contains(word)) => {
                usage(command)
            }
            "demo" => demo::run(&workspace, &rest),
            "test" => suites::run(&workspace, &rest),
            "bench" => bench(&workspace, &rest),
            "verify" => verify(&workspace, &rest),
            "diagrams" => diagrams(&workspace, &rest),
            "coverage" => proof::coverage(&workspace),
            "fuzz" => proof::fuzz(&workspace, &rest),
            "mutants" => proof::mutants(&workspace, &rest),
            "setup" => setup::everything(&workspace).map(|()| 0),
            "wasm" => setup::npm_packages(&workspace)
                .and_then(|()| wasm::build(&workspace))
                .and_then(|()| wasm::report(&workspace))
                .map(|()| 0),
            "types" => process::run(workspace.command(
                "cargo",
                &["run", "-q", "-p", "tidegate-boundary", "--bin", "types", "--", "--write"],
            )),
            // What is pinned is read from the vectors, which therefore come first.
            "bless" => ["vectors", "pinned"].iter().try_fold(0, |code, test| {
                let arguments = ["test", "-p", "tidegate-boundary", "--test", test, "--", "--test-threads=1"];
                let mut bless = workspace.command("cargo", &arguments);
                bless.env("TIDEGATE_BLESS", "1");
                process::run(bless).map(|next| code.max(next))
            }),
            "help" | "--help" | "-h" => {
                print!("{USAGE}");
                Ok(0)
            }
            other => Err(format!("there is no command `{other}`\n\n{USAGE}")),
        };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::from(2)
        }
    }
}

/// What is said above about one command; all of it, about none.
fn usage(command: &str) -> Result<u8, String> {
    let mut about = String::new();
    let mut is_meant = false;
    for line in USAGE.lines() {
        if let Some(rest) = line.strip_prefix("cargo xtask ") {
            is_meant = rest.split_whitespace().next() == Some(command);
        }
        if is_meant {
            about.push_str(line);
            about.push('\n');
        }
    }
    if about.is_empty() {
        return Err(format!("there is no command `{command}`\n\n{USAGE}"));
    }
    print!("{about}");
    Ok(0)
}

fn verify(workspace: &Workspace, arguments: &[&str]) -> Result<u8, String> {
    let mut run = vec![
        "run",
        "--quiet",
        "--profile",
        "thin",
        "-p",
        "tidegate-verify",
        "--bin",
        "tidegate-verify",
        "--",
    ];
    run.extend(arguments);
    process::run(workspace.command("cargo", &run))
}

/// Draws the machines into `docs/diagrams`; only drawing needs Graphviz.
fn diagrams(workspace: &Workspace, arguments: &[&str]) -> Result<u8, String> {
    if !arguments.contains(&"--check") {
        setup::system_package("dot", "graphviz")?;
    }
    let mut run = vec!["run", "--quiet", "-p", "tidegate-verify", "--bin", "tidegate-verify", "--"];
    run.extend(["--diagrams", "docs/diagrams"]);
    run.extend(arguments);
    process::run(workspace.command("cargo", &run))
}

/// The benchmark of the explorer, a Rust program in a workspace of its own.
const EXPLORE: &str = "explore";

/// The other benchmarks, each a Node program that says what it compares.
const BENCHMARKS: &[(&str, &str)] = &[
    ("http-drain", "bench/http-drain/drain.ts"),
    ("http-throughput", "bench/http-drain/throughput.ts"),
    ("allocate", "bench/allocate/main.ts"),
    ("directory", "bench/directory/clear.ts"),
    ("bindings", "bench/bindings/main.ts"),
    ("handoff", "bench/handoff/main.ts"),
];

fn bench(workspace: &Workspace, arguments: &[&str]) -> Result<u8, String> {
    let known = || {
        let names: Vec<_> = BENCHMARKS.iter().map(|(name, _)| *name).chain([EXPLORE]).collect();
        names.join(", ")
    };
    let Some((name, options)) = arguments.split_first() else {
        return Err(format!("which benchmark? There are {}", known()));
    };
    if *name == EXPLORE {
        let mut cargo =
            vec!["run", "--quiet", "--release", "--manifest-path", "bench/explore/Cargo.toml", "--"];
        cargo.extend(options);
        return process::run(workspace.command("cargo", &cargo));
    }
    let Some((_, script)) = BENCHMARKS.iter().find(|(known, _)| known == name) else {
        return Err(format!("there is no benchmark `{name}`; there are {}", known()));
    };
    setup::everything(workspace)?;
    let mut node = vec!["--import", "tsx", script];
    node.extend(options);
    process::run(&mut workspace.command("node", &node))
}
