//! Copies of a part of this workspace, in which the source may be changed.

use std::fs;
use std::io;
use std::path::Path;

/// The result of doing something to `what`, which a failure names.
pub fn said<T>(what: &Path, result: io::Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("{}: {error}", what.display()))
}

/// Copies these files and folders of the workspace into the folder `to`, which is there, with a manifest of the
/// workspace that has these members and no other.
pub fn copy(workspace: &Path, to: &Path, parts: &[&str], members: &[&str]) -> Result<(), String> {
    for part in parts {
        copy_all(&workspace.join(part), &to.join(part))?;
    }
    let manifest = workspace.join("Cargo.toml");
    let text = said(&manifest, fs::read_to_string(&manifest))?;
    let others = |line: &&str| line.starts_with("members =") || line.starts_with("exclude =");
    let members = format!("[workspace]\nmembers = {members:?}");
    let lines = text.lines().filter(|line| !others(line));
    let lines: Vec<&str> = lines.map(|line| if line == "[workspace]" { &members } else { line }).collect();
    let manifest = to.join("Cargo.toml");
    said(&manifest, fs::write(&manifest, lines.join("\n")))
}

fn copy_all(from: &Path, to: &Path) -> Result<(), String> {
    if !from.is_dir() {
        return said(from, fs::copy(from, to)).map(|_| ());
    }
    said(to, fs::create_dir_all(to))?;
    for entry in said(from, fs::read_dir(from))?.flatten() {
        copy_all(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
