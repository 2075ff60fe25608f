//! The copy of the workspace in which bugs are planted, and the programs that are run in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::workspace::{self, said};

/// What the checks are made of; nothing else is copied.
const COPIED: &[&str] = &["Cargo.lock", ".cargo", "core", "boundary", "verify", "vectors", "docs"];
/// A check that a bug sends into an endless loop is not to take the machine's memory with it. Kilobytes.
const MEMORY: u64 = 6_000_000;
/// No check takes longer than this when nothing is wrong, however much else the machine has to do. Seconds of the
/// processor.
const TIME: u64 = 600;

/// A copy of the workspace. It is removed when this process ends, however it ends.
pub struct Bench {
    /// Its root.
    pub root: PathBuf,
    build: PathBuf,
    /// Removes the folder once its input ends.
    cleaner: Child,
}

/// A program that ran.
pub struct Ran {
    /// It succeeded.
    pub good: bool,
    /// What it printed.
    pub printed: String,
}

/// A built test.
pub struct Test {
    /// The name of its target: `laws`, `vectors`, or the crate's for unit tests.
    pub name: String,
    /// The crate.
    pub package: String,
    program: PathBuf,
    folder: PathBuf,
}

impl Bench {
    /// Copies what is needed of the workspace at `workspace` into its target folder. There may be several, by number.
    pub fn new(workspace: &Path, number: usize) -> Result<Self, String> {
        let target = workspace.join(format!("target/planted/{number}"));
        said(&target, fs::create_dir_all(&target))?;
        let root = target.join("source");
        fs::create_dir(&root).map_err(|error| {
            format!("{}: {error}; if no other run is under way, remove it", root.display())
        })?;
        // Not on a signal, which it would have to know: when the pipe closes, we are gone.
        let clean = "trap '' INT TERM HUP; cat >/dev/null; \
                     while [ -e \"$0\" ]; do rm -rf \"$0\" 2>/dev/null || sleep 0.1; done";
        let mut command = Command::new("sh");
        command.args(["-c", clean]).arg(&root).stdin(Stdio::piped());
        let cleaner = command.spawn().map_err(|error| format!("sh: {error}"))?;
        let bench = Self { root, build: target.join("build"), cleaner };
        workspace::copy(workspace, &bench.root, COPIED, &["core", "boundary", "verify"])?;
        Ok(bench)
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command
            .args(arguments)
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.build)
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_INCREMENTAL", "1");
        command
    }

    /// Builds every test of the core and of the boundary, and the explorer.
    pub fn build(&self) -> Result<Vec<Test>, String> {
        let tests = ["test", "--no-run", "--lib", "--tests", "-p", "tidegate", "-p", "tidegate-boundary"];
        let quiet = ["--quiet", "--offline", "--message-format=json-render-diagnostics"];
        let output = self
            .cargo(&[&tests[..], &quiet[..]].concat())
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| format!("cargo: {error}"))?;
        if !output.status.success() {
            return Err(format!("it does not build:\n{}", String::from_utf8_lossy(&output.stderr)));
        }
        let explorer = ["build", "--quiet", "--offline", "-p", "tidegate-verify", "--bin", "tidegate-verify"];
        let built = self.cargo(&explorer).output().map_err(|error| format!("cargo: {error}"))?;
        if !built.status.success() {
            return Err(format!("it does not build:\n{}", String::from_utf8_lossy(&built.stderr)));
        }
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(printed.lines().filter_map(|line| test(&serde_json::from_str(line).ok()?)).collect())
    }

    /// Runs a test to its end: all of it, or what these words choose.
    pub fn test(&self, test: &Test, chosen: &[String]) -> Result<Ran, String> {
        let mut command = limited(&test.program);
        command.args(chosen).arg("--test-threads=1").current_dir(&test.folder);
        ended(&mut command)
    }

    /// Explores a model at small bounds; answers what it says about the model, or how the explorer ended.
    pub fn explore(&self, model: Option<&str>) -> Result<(Ran, Option<Value>), String> {
        let json = self.root.join("explored.json");
        let _ = fs::remove_file(&json);
        let mut command = limited(&self.build.join("debug/tidegate-verify"));
        command.args(["--small", "--threads", "1", "--json"]).arg(&json).current_dir(&self.root);
        if let Some(model) = model {
            command.args(["--only", model]);
        }
        let ran = ended(&mut command)?;
        let found = fs::read_to_string(&json).ok().and_then(|text| serde_json::from_str(&text).ok());
        Ok((ran, found))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.cleaner.stdin.take());
        let _ = self.cleaner.wait();
    }
}

/// A test executable, if that is what this message of cargo's is about.
fn test(message: &Value) -> Option<Test> {
    if message["profile"]["test"] != true {
        return None;
    }
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    Some(Test {
        name: message["target"]["name"].as_str()?.to_owned(),
        package: folder.file_name()?.to_str()?.to_owned(),
        program: message["executable"].as_str()?.into(),
        folder: folder.to_path_buf(),
    })
}

fn limited(program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -c 0 -v {MEMORY} -t {TIME}; exec \"$0\" \"$@\"")).arg(program);
    command
}

/// Runs a program to its end; keeps what it prints.
fn ended(command: &mut Command) -> Result<Ran, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("sh: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran { good: output.status.success(), printed: text(&output.stdout) + &text(&output.stderr) })
}
