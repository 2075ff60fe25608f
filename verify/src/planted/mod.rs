//! Planted bugs: small changes of the core's source, each of which some check has to notice.
//!
//! They stand in `verify/planted/*.toml`, one file for each machine. A bug is a text that stands exactly once in a
//! file of the core, and what to put in its place. [`run`] plants each by itself in a copy of the workspace and
//! asks every check; [`faults`] only says whether the list still fits the source, so that it cannot rot.

mod bench;
mod run;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use run::{Caught, Row, run};
pub use table::{json, markdown, summary};

/// A file of `verify/planted`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The machines in which its bugs can show: their models are the ones that are explored.
    machines: Vec<String>,
    bug: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    rule: String,
    file: PathBuf,
    find: String,
    replace: String,
    harm: String,
}

/// One small change of the source that breaks a rule.
#[derive(Debug, Clone)]
pub struct Bug {
    /// What was done wrong, in a few words.
    pub name: String,
    /// The rule that it breaks.
    pub rule: String,
    /// The file, below the root of the workspace.
    pub file: PathBuf,
    /// What stands there.
    pub find: String,
    /// What is planted instead.
    pub replace: String,
    /// What it would do to who uses tidegate.
    pub harm: String,
    /// The machines in which it can show.
    pub machines: Vec<String>,
}

impl Bug {
    /// The file with the bug in it.
    ///
    /// # Errors
    /// A sentence when the text does not stand there exactly once, or is the same as what replaces it.
    pub fn planted(&self, root: &Path) -> Result<String, String> {
        let path = root.join(&self.file);
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let found = text.matches(&self.find).count();
        if found != 1 {
            let file = self.file.display();
            return Err(format!("`{}`: its text stands {found} times in {file}, not once", self.name));
        }
        if self.find == self.replace {
            return Err(format!("`{}` changes nothing", self.name));
        }
        Ok(text.replace(&self.find, &self.replace))
    }
}

/// The bugs of a folder, by file and then as they stand.
///
/// # Errors
/// A sentence about a file that cannot be read.
pub fn read(folder: &Path) -> Result<Vec<Bug>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut bugs = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file: File = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        bugs.extend(file.bug.into_iter().map(|bug| {
            let Written { name, rule, file: source, find, replace, harm } = bug;
            let machines = file.machines.clone();
            Bug { name, rule, file: source, find, replace, harm, machines }
        }));
    }
    Ok(bugs)
}

/// What is wrong with the list itself.
#[must_use]
pub fn faults(bugs: &[Bug], root: &Path) -> Vec<String> {
    let mut faults: Vec<String> = bugs.iter().filter_map(|bug| bug.planted(root).err()).collect();
    let mut names: Vec<&str> = bugs.iter().map(|bug| bug.name.as_str()).collect();
    names.sort_unstable();
    faults.extend(
        names
            .windows(2)
            .filter(|pair| pair[0] == pair[1])
            .map(|pair| format!("`{}` is there twice", pair[0])),
    );
    faults
}
