//! Sets up what the other commands need, says what it does, and is quick the second time.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use crate::{Workspace, process, python, wasm};

/// Everything.
pub fn everything(workspace: &Workspace) -> Result<(), String> {
    for_node(workspace)?;
    python::set_up(workspace)?;
    wasm::build(workspace)?;
    system_package("redis-server", "redis-server")?;
    postgresql()?;
    name_server_and_proxy()
}

/// PostgreSQL's server. Debian keeps the programs of each version in a folder that is not in the path.
pub fn postgresql() -> Result<(), String> {
    let found = "command -v initdb || ls /usr/lib/postgresql/*/bin/initdb";
    let there = process::output("sh", &["-c", found]).is_some();
    system_package_for(there, "postgres", "postgresql")
}

/// What the control plane of the examples runs on. Debian keeps servers where not everybody's path leads.
pub fn name_server_and_proxy() -> Result<(), String> {
    system_package("sqlite3", "sqlite3")?;
    system_package_for(Path::new("/usr/sbin/nginx").exists(), "nginx", "nginx")?;
    system_package_for(Path::new("/usr/sbin/pdns_server").exists(), "pdns_server", "pdns-server")?;
    let backend = Path::new("/usr/share/pdns-backend-sqlite3").exists();
    system_package_for(backend, "the SQLite backend of PowerDNS", "pdns-backend-sqlite3")
}

/// Node itself, the npm packages, the native addon and the built npm package.
pub fn for_node(workspace: &Workspace) -> Result<(), String> {
    let version = process::output("node", &["--version"]).ok_or(
        "node is missing; install Node.js 20 or newer (https://nodejs.org, or your system's packages)",
    )?;
    let major: u32 =
        version.trim_start_matches('v').split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    if major < 20 {
        return Err(format!("node is {version}; tidegate needs Node.js 20 or newer"));
    }
    npm_packages(workspace)?;
    native_addon(workspace)?;
    npm_build(workspace)
}

/// The npm packages of the lock.
pub fn npm_packages(workspace: &Workspace) -> Result<(), String> {
    let lock = workspace.path("package-lock.json");
    if is_newer(&workspace.path("node_modules/.package-lock.json"), &[&lock]) {
        return Ok(());
    }
    say("installing the npm packages into node_modules");
    process::require(workspace.command("npm", &["ci", "--no-audit", "--no-fund", "--loglevel=error"]))
}

/// The napi addon for this platform, beside its TypeScript host.
fn native_addon(workspace: &Workspace) -> Result<(), String> {
    say("building the native addon (cargo's cache decides what is new)");
    process::require(
        workspace.command("npm", &["run", "--silent", "build:native", "--workspace", "tidegate"]),
    )
}

fn npm_build(workspace: &Workspace) -> Result<(), String> {
    let built = workspace.path("bindings-node/dist/esm/index.js");
    let sources = files_below(&workspace.path("bindings-node/host"));
    if is_newer(&built, &sources.iter().map(AsRef::as_ref).collect::<Vec<_>>()) {
        return Ok(());
    }
    say("building the npm package into bindings-node/dist");
    process::require(workspace.command("npm", &["run", "--silent", "build", "--workspace", "tidegate"]))
}

/// A program of the system; installed with apt where that is possible.
pub fn system_package(program: &str, package: &str) -> Result<(), String> {
    let there = process::output("sh", &["-c", &format!("command -v {program}")]).is_some();
    system_package_for(there, program, package)
}

/// The same for what is no program: `there` says whether it is there already.
pub fn system_package_for(there: bool, what: &str, package: &str) -> Result<(), String> {
    if there {
        return Ok(());
    }
    let missing = format!("`{what}` is missing; install it (Debian and Ubuntu: apt-get install {package})");
    let as_root = process::output("id", &["-u"]).as_deref() == Some("0");
    let prefix = match (as_root, process::output("sudo", &["-n", "true"])) {
        (true, _) => "",
        (false, Some(_)) => "sudo -n ",
        (false, None) => return Err(format!("{missing}; this user may not install packages")),
    };
    if process::output("sh", &["-c", "command -v apt-get"]).is_none() {
        return Err(missing);
    }
    say(&format!("installing from the system's packages: {package}"));
    let install = format!(
        "export DEBIAN_FRONTEND=noninteractive; {prefix}apt-get install -y -qq --no-install-recommends {package} >/dev/null 2>&1 \
         || {{ {prefix}apt-get update -qq && {prefix}apt-get install -y -qq --no-install-recommends {package}; }}"
    );
    process::require(std::process::Command::new("sh").args(["-c", &install]))
        .map_err(|error| format!("{missing}: {error}"))
}

/// Says what is being done.
pub fn say(what: &str) {
    eprintln!("setup: {what}");
}

/// Whether `made` exists and is at least as new as every source.
pub fn is_newer(made: &Path, sources: &[&Path]) -> bool {
    let age =
        |path: &Path| fs::metadata(path).and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    made.exists() && sources.iter().all(|source| age(source) <= age(made))
}

/// All files below a folder.
pub fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}
