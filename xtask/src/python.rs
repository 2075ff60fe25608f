//! Sets up Python: a virtual environment below `.xtask`, and the native part built into the package.

use std::fs;

use crate::setup::{say, system_package_for};
use crate::{Workspace, process};

/// Python itself, the tools of `bindings-python/requirements.txt`, and the package, installed from its sources.
pub fn set_up(workspace: &Workspace) -> Result<(), String> {
    environment(workspace)?;
    requirements(workspace)?;
    say("building the native part of the Python package (cargo's cache decides what is new)");
    process::require(
        workspace
            .command(
                ".xtask/venv/bin/maturin",
                &["develop", "--quiet", "--profile", "thin", "--manifest-path", "bindings-python/Cargo.toml"],
            )
            .env("VIRTUAL_ENV", workspace.path(".xtask/venv"))
            .env_remove("CONDA_PREFIX"),
    )
}

/// The virtual environment, made anew when its Python is gone.
fn environment(workspace: &Workspace) -> Result<(), String> {
    let inside = workspace.path(".xtask/venv/bin/python");
    if process::output(&inside.to_string_lossy(), &["-c", "import pip"]).is_some() {
        return Ok(());
    }
    let found = || process::output("python3", &["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]);
    system_package_for(found().is_some(), "python3", "python3")?;
    let version = found().unwrap_or_default();
    let minor = version.strip_prefix("3.").and_then(|minor| minor.parse::<u32>().ok()).unwrap_or(0);
    if minor < 10 {
        return Err(format!("python3 is {version}; tidegate needs Python 3.10 or newer"));
    }
    // Debian ships `venv` apart.
    let complete = process::output("python3", &["-c", "import ensurepip, venv"]).is_some();
    system_package_for(complete, "python3 -m venv", "python3-venv")?;
    say(&format!("making a virtual environment of Python {version} in .xtask/venv"));
    process::require(workspace.command("python3", &["-m", "venv", "--clear", ".xtask/venv"]))
}

fn requirements(workspace: &Workspace) -> Result<(), String> {
    let wanted = workspace.path("bindings-python/requirements.txt");
    let installed = workspace.path(".xtask/venv/requirements.txt");
    let read = |path| fs::read(path).ok();
    if read(&wanted) == read(&installed) {
        return Ok(());
    }
    say("installing the Python tools into .xtask/venv");
    process::require(workspace.command(
        ".xtask/venv/bin/python",
        &[
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--requirement",
            "bindings-python/requirements.txt",
        ],
    ))?;
    fs::copy(&wanted, &installed).map(|_| ()).map_err(|error| format!("{}: {error}", installed.display()))
}
