//! `cargo xtask test`: every check and test, with counts.

use std::time::{Duration, Instant};

use crate::replays::Replays;
use crate::{Workspace, process, setup};

/// What a suite did.
#[derive(Default, Clone, Copy)]
struct Counts {
    passed: u64,
    failed: u64,
    not_run: u64,
}

/// How to read the counts out of what a suite prints.
#[derive(Clone, Copy)]
enum Reading {
    /// One check: it succeeds or fails as a whole.
    Whole,
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; …`, once per test binary.
    CargoTest,
    /// `# pass 3`, `# fail 0`, `# skipped 1`.
    NodeTest,
    /// `3 passed, 1 failed, 2 skipped in 0.84s`.
    Pytest,
}

struct Suite {
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    /// The folder that it runs in, below the root.
    folder: &'static str,
    reading: Reading,
}

/// In the order in which they run: the quick ones that fail often come first.
const SUITES: &[Suite] = &[
    Suite {
        name: "rust-format",
        program: "cargo",
        arguments: &["fmt", "--all", "--check"],
        folder: "",
        reading: Reading::Whole,
    },
    Suite {
        name: "rust-lint",
        program: "cargo",
        arguments: &[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "-D",
            "warnings",
        ],
        folder: "",
        reading: Reading::Whole,
    },
    Suite {
        name: "rust",
        program: "cargo",
        arguments: &["test", "--quiet", "--workspace", "--all-features", "--", "--show-output"],
        folder: "",
        reading: Reading::CargoTest,
    },
    Suite {
        name: "types",
        program: "cargo",
        arguments: &["run", "-q", "-p", "tidegate-boundary", "--bin", "types", "--", "--check"],
        folder: "",
        reading: Reading::Whole,
    },
    Suite {
        name: "node-lint",
        program: "npm",
        arguments: &["run", "--silent", "lint"],
        folder: "",
        reading: Reading::Whole,
    },
    Suite {
        name: "node-types",
        program: "npm",
        arguments: &["run", "--silent", "typecheck"],
        folder: "",
        reading: Reading::Whole,
    },
    Suite {
        name: "node",
        program: "npm",
        arguments: &["run", "--silent", "test", "--workspace", "tidegate"],
        folder: "",
        reading: Reading::NodeTest,
    },
    Suite {
        name: "control-plane",
        program: "npm",
        arguments: &["run", "--silent", "test", "--workspace", "tidegate-example-control-plane"],
        folder: "",
        reading: Reading::NodeTest,
    },
    Suite {
        name: "python-format",
        program: ".xtask/venv/bin/ruff",
        arguments: &["format", "--check", "."],
        folder: "",
        reading: Reading::Whole,
    },
    Suite {
        name: "python-lint",
        program: ".xtask/venv/bin/ruff",
        arguments: &["check", "."],
        folder: "",
        reading: Reading::Whole,
    },
    Suite {
        name: "python-types",
        program: ".xtask/venv/bin/mypy",
        arguments: &[],
        folder: "bindings-python",
        reading: Reading::Whole,
    },
    Suite {
        name: "python-stubs",
        program: ".xtask/venv/bin/stubtest",
        arguments: &["--mypy-config-file", "pyproject.toml", "tidegate"],
        folder: "bindings-python",
        reading: Reading::Whole,
    },
    Suite {
        name: "python",
        program: ".xtask/venv/bin/pytest",
        arguments: &["--quiet"],
        folder: "bindings-python",
        reading: Reading::Pytest,
    },
    Suite {
        name: "wasm-format",
        program: "cargo",
        arguments: &["fmt", "--manifest-path", "wasm/pack/Cargo.toml", "--check"],
        folder: "",
        reading: Reading::Whole,
    },
    Suite {
        name: "wasm-lint",
        program: "cargo",
        arguments: &[
            "clippy",
            "--quiet",
            "--locked",
            "--manifest-path",
            "wasm/pack/Cargo.toml",
            "--target-dir",
            "target/pack",
            "--",
            "-D",
            "warnings",
        ],
        folder: "",
        reading: Reading::Whole,
    },
    Suite {
        name: "wasm",
        program: "npm",
        arguments: &["run", "--silent", "test", "--workspace", "tidegate-web"],
        folder: "",
        reading: Reading::NodeTest,
    },
    Suite {
        name: "app-gateway",
        program: "npm",
        arguments: &["run", "--silent", "test", "--workspace", "tidegate-example-app-gateway"],
        folder: "",
        reading: Reading::NodeTest,
    },
    Suite {
        name: "demo-allocation",
        program: "node",
        arguments: &["--import", "tsx", "examples/control-plane/demo/main.ts", "--quick"],
        folder: "",
        reading: Reading::Whole,
    },
    Suite {
        name: "demo-allocation-real",
        program: "node",
        arguments: &["--import", "tsx", "examples/control-plane/demo/main.ts", "--quick", "--real"],
        folder: "",
        reading: Reading::Whole,
    },
    Suite {
        name: "demo-restart",
        program: "node",
        arguments: &["--import", "tsx", "examples/app-gateway/demo/main.ts", "--quick"],
        folder: "",
        reading: Reading::Whole,
    },
    Suite {
        name: "demo-restart-real",
        program: "node",
        arguments: &["--import", "tsx", "examples/app-gateway/demo/main.ts", "--quick", "--real"],
        folder: "",
        reading: Reading::Whole,
    },
    Suite {
        name: "demo",
        program: "node",
        arguments: &["--import", "tsx", "examples/relay/demo/main.ts", "--quick"],
        folder: "",
        reading: Reading::Whole,
    },
    Suite {
        name: "demo-handoff",
        program: "node",
        arguments: &["--import", "tsx", "examples/hot-restart/demo.ts", "--quick"],
        folder: "",
        reading: Reading::Whole,
    },
];

/// Runs the suites named, or all.
pub fn run(workspace: &Workspace, arguments: &[&str]) -> Result<u8, String> {
    if arguments.contains(&"--list") {
        for suite in SUITES {
            println!("{:<20} {} {}", suite.name, suite.program, suite.arguments.join(" "));
        }
        return Ok(0);
    }
    if let Some(unknown) = arguments.iter().find(|name| !SUITES.iter().any(|suite| suite.name == **name)) {
        let known: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        return Err(format!("there is no suite `{unknown}`; there are {}", known.join(", ")));
    }
    let start = Instant::now();
    setup::everything(workspace)?;
    let set_up = start.elapsed();
    let mut rows = Vec::new();
    let mut replays = Replays::default();
    for suite in SUITES {
        if !arguments.is_empty() && !arguments.contains(&suite.name) {
            continue;
        }
        println!("\n== {} ==", suite.name);
        let start = Instant::now();
        let mut command = workspace.command(suite.program, suite.arguments);
        command.current_dir(workspace.path(suite.folder));
        let (succeeded, printed) = process::watched(&mut command)?;
        replays.read(&printed);
        rows.push((suite.name, suite.reading.counts(succeeded, &printed), start.elapsed()));
    }
    let failed = summary(set_up, &rows);
    let faults = replays.summary(&rows.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    for fault in &faults {
        println!("NOT EQUAL: {fault}");
    }
    Ok(u8::from(failed || !faults.is_empty()))
}

/// Prints the table; answers whether anything failed.
fn summary(set_up: Duration, rows: &[(&str, Counts, Duration)]) -> bool {
    let mut total = Counts::default();
    println!("\n{:<20} {:>7} {:>7} {:>8} {:>8}", "suite", "passed", "failed", "not run", "seconds");
    println!("{:<20} {:>7} {:>7} {:>8} {:>8.1}", "(set-up)", "", "", "", set_up.as_secs_f64());
    for (name, counts, took) in rows {
        let Counts { passed, failed, not_run } = counts;
        println!("{name:<20} {passed:>7} {failed:>7} {not_run:>8} {:>8.1}", took.as_secs_f64());
        total.passed += passed;
        total.failed += failed;
        total.not_run += not_run;
    }
    println!("\n{} passed, {} failed, {} skipped", total.passed, total.failed, total.not_run);
    total.failed > 0
}

impl Reading {
    fn counts(self, succeeded: bool, printed: &str) -> Counts {
        let mut counts = match self {
            Self::Whole => Counts { passed: u64::from(succeeded), ..Counts::default() },
            Self::CargoTest => {
                let results = || printed.lines().filter(|line| line.starts_with("test result:"));
                Counts {
                    passed: results().map(|line| before(line, " passed")).sum(),
                    failed: results().map(|line| before(line, " failed")).sum(),
                    not_run: results().map(|line| before(line, " ignored")).sum(),
                }
            }
            Self::NodeTest => Counts {
                passed: after(printed, "pass"),
                failed: after(printed, "fail") + after(printed, "cancelled"),
                not_run: after(printed, "skipped") + after(printed, "todo"),
            },
            Self::Pytest => {
                let closing = printed.lines().rfind(|line| line.contains(" in ")).unwrap_or("");
                let count = |word| if closing.contains(word) { before(closing, word) } else { 0 };
                Counts {
                    passed: count(" passed"),
                    failed: count(" failed") + count(" error"),
                    not_run: count(" skipped") + count(" deselected") + count(" xfailed"),
                }
            }
        };
        // A suite that failed without a failed test (it did not compile, it crashed) is a failure all the same,
        // and so is one that ran nothing.
        if (!succeeded || counts.passed + counts.failed == 0) && counts.failed == 0 {
            counts.failed = 1;
        }
        counts
    }
}

/// The number just before `word` in a line.
fn before(line: &str, word: &str) -> u64 {
    line.split(word).next().and_then(|head| head.rsplit(' ').next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// The number in the closing lines `# word N` or `ℹ word N` of node's test runner, added up.
fn after(printed: &str, word: &str) -> u64 {
    printed
        .lines()
        .filter_map(|line| line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ ")))
        .filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
        .filter_map(|number| number.trim().parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_every_cargo_test_binary_are_added_up() {
        let printed = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\nnoise\n\
                       test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured\n";
        let counts = Reading::CargoTest.counts(false, printed);
        assert_eq!((counts.passed, counts.failed, counts.not_run), (5, 4, 1));
    }

    #[test]
    fn the_closing_lines_of_node_are_read() {
        let counts = Reading::NodeTest
            .counts(true, "ok 1\n# tests 9\n# pass 7\n# fail 0\n# cancelled 0\n# skipped 2\n");
        assert_eq!((counts.passed, counts.failed, counts.not_run), (7, 0, 2));
    }

    #[test]
    fn the_closing_line_of_pytest_is_read() {
        let printed = "..F.. in between\n1 failed, 24 passed, 2 skipped, 3 errors in 1.28s\n";
        let counts = Reading::Pytest.counts(false, printed);
        assert_eq!((counts.passed, counts.failed, counts.not_run), (24, 4, 2));
        let printed = "======== 25 passed in 0.84s ========\n";
        assert_eq!(Reading::Pytest.counts(true, printed).passed, 25);
        assert_eq!(Reading::Pytest.counts(true, "no tests ran in 0.01s\n").failed, 1);
    }

    #[test]
    fn a_suite_that_crashes_or_runs_nothing_has_failed() {
        assert_eq!(Reading::CargoTest.counts(false, "error: could not compile").failed, 1);
        assert_eq!(Reading::NodeTest.counts(true, "").failed, 1);
        assert_eq!(Reading::Whole.counts(true, "").failed, 0);
    }
}
