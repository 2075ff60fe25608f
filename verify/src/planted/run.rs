//! Plants each bug and asks every check.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::bench::{Bench, Ran, Test};
use super::{Bug, faults};
use crate::workspace::said;

/// Test files of the core that are about one machine begin with its name.
const OF_ONE_MACHINE: &[&str] = &["lease", "saga"];

/// Who noticed a bug, each by the test, the script or the property.
#[derive(Debug, Clone, Default)]
pub struct Caught {
    /// Unit tests, and all tests of the core that are in no other column.
    pub tests: Vec<String>,
    /// The laws of every machine.
    pub laws: Vec<String>,
    /// The hand-written vectors.
    pub vectors: Vec<String>,
    /// The models at small bounds.
    pub exploration: Vec<String>,
    /// The vectors that the exploration wrote. They say that something is different now, not that it is wrong.
    pub generated: Vec<String>,
    /// The digest of a long script, and what is pinned of explanations and records: the same.
    pub digest: Vec<String>,
}

impl Caught {
    /// Somebody noticed, who knows the rules.
    #[must_use]
    pub fn at_all(&self) -> bool {
        [&self.tests, &self.laws, &self.vectors, &self.exploration].iter().any(|names| !names.is_empty())
    }

    /// Nobody noticed but the models.
    #[must_use]
    pub fn by_exploration_alone(&self) -> bool {
        self.at_all() && self.tests.is_empty() && self.laws.is_empty() && self.vectors.is_empty()
    }
}

/// What became of one bug.
#[derive(Debug, Clone)]
pub struct Row {
    /// The bug.
    pub bug: Bug,
    /// Who noticed.
    pub caught: Caught,
    /// How long building and asking took.
    pub took: Duration,
}

/// So many bugs are planted at once, each in a copy of its own: one build after another keeps one processor busy, mostly.
const AT_ONCE: usize = 2;

/// Plants each bug by itself in a copy of the workspace; `tell` hears about each, in their order.
///
/// # Errors
/// A sentence when the list does not fit the source, when something does not build, or when a check fails with no bug
/// planted.
pub fn run(workspace: &Path, bugs: &[Bug], tell: impl FnMut(&Row) + Send) -> Result<Vec<Row>, String> {
    let wrong = faults(bugs, workspace);
    if !wrong.is_empty() {
        return Err(wrong.join("\n"));
    }
    let benches = at_once((0..AT_ONCE.min(bugs.len())).collect(), |number| {
        let bench = Bench::new(workspace, number)?;
        let tests = bench.build()?;
        Ok((bench, tests))
    })?;
    let Some((bench, tests)) = benches.first() else { return Ok(Vec::new()) };
    let models = clean(bench, tests)?;
    let next = AtomicUsize::new(0);
    let table = Mutex::new(Table { rows: Vec::new(), early: BTreeMap::new(), tell });
    at_once(benches, |(bench, _)| {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(bug) = bugs.get(at) else { return Ok(()) };
            match plant(&bench, bug, &models) {
                Ok(row) => table.lock().unwrap_or_else(PoisonError::into_inner).enter(at, row),
                Err(fault) => {
                    // The others stop, too.
                    next.store(bugs.len(), Ordering::Relaxed);
                    return Err(fault);
                }
            }
        }
    })?;
    Ok(table.into_inner().unwrap_or_else(PoisonError::into_inner).rows)
}

/// Does something with each of these, on a thread for each.
fn at_once<I: Send, T: Send>(
    these: Vec<I>,
    with: impl Fn(I) -> Result<T, String> + Sync,
) -> Result<Vec<T>, String> {
    let with = &with;
    thread::scope(|scope| {
        let threads: Vec<_> = these.into_iter().map(|one| scope.spawn(move || with(one))).collect();
        let ended = threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread broke off")?);
        ended.collect()
    })
}

/// The rows, as they come.
struct Table<T> {
    /// In the order of the bugs, as far as none is missing.
    rows: Vec<Row>,
    /// Those that came before one that precedes them, by the places of their bugs.
    early: BTreeMap<usize, Row>,
    tell: T,
}

impl<T: FnMut(&Row)> Table<T> {
    /// Enters what became of the bug at this place.
    fn enter(&mut self, at: usize, row: Row) {
        self.early.insert(at, row);
        while let Some(row) = self.early.remove(&self.rows.len()) {
            (self.tell)(&row);
            self.rows.push(row);
        }
    }
}

/// What the checks say with no bug planted; they have to be content. The models, as [`models`] says.
fn clean(bench: &Bench, tests: &[Test]) -> Result<Vec<Concerned>, String> {
    thread::scope(|scope| {
        let models = scope.spawn(|| models(bench));
        let mut clean = Caught::default();
        ask_tests(bench, tests, None, &mut clean)?;
        let noticed = [clean.tests, clean.laws, clean.vectors, clean.generated, clean.digest].concat();
        if !noticed.is_empty() {
            return Err(format!("with no bug planted these fail already: {}", noticed.join(", ")));
        }
        models.join().map_err(|_| "a thread broke off")?
    })
}

/// Plants a bug in a copy of the workspace, asks every check, and takes it out again.
fn plant(bench: &Bench, bug: &Bug, models: &[Concerned]) -> Result<Row, String> {
    let start = Instant::now();
    let path = bench.root.join(&bug.file);
    let good = said(&path, fs::read_to_string(&path))?;
    said(&path, fs::write(&path, bug.planted(&bench.root)?))?;
    let mut caught = Caught::default();
    let tests = bench.build().map_err(|fault| format!("`{}`: {fault}", bug.name))?;
    ask_tests(bench, &tests, Some(bug), &mut caught)?;
    ask_models(bench, bug, models, &mut caught)?;
    said(&path, fs::write(&path, good))?;
    Ok(Row { bug: bug.clone(), caught, took: start.elapsed() })
}

/// A model, with the machines that are in it.
type Concerned = (String, Vec<String>);

/// The models with the machines that are in them; everything holds in them while no bug is planted.
fn models(bench: &Bench) -> Result<Vec<Concerned>, String> {
    let (ran, found) = bench.explore(None)?;
    let found = found.ok_or_else(|| format!("the models cannot be explored:\n{}", ran.printed))?;
    if found["faults"] != 0 {
        return Err(format!("with no bug planted a model fails already:\n{}", ran.printed));
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let models = found["models"].as_array().into_iter().flatten().filter_map(|model| {
        let machines = model["machines"].as_array()?.iter().filter_map(text).collect();
        Some((text(&model["model"])?, machines))
    });
    Ok(models.collect())
}

/// Runs the tests; with a bug, those that run its machines. The others run the same code as ever.
fn ask_tests(bench: &Bench, tests: &[Test], bug: Option<&Bug>, caught: &mut Caught) -> Result<(), String> {
    for test in tests {
        let machines: Vec<String> = bug.map(|bug| bug.machines.clone()).unwrap_or_default();
        let modules: Vec<String> = machines.iter().map(|machine| machine.replace('-', "_")).collect();
        let of = |one: &&&str| test.name.starts_with(**one);
        if bug.is_some()
            && let Some(own) = OF_ONE_MACHINE.iter().find(of)
            && !modules.iter().any(|module| module.starts_with(own))
        {
            continue;
        }
        let laws = if test.name == "laws" { &modules[..] } else { &[] };
        let chosen: Vec<String> = laws.iter().map(|module| format!("{module}::")).collect();
        let ran = bench.test(test, &chosen)?;
        for (name, why) in failures(&test.name, &ran) {
            let column = match (test.package.as_str(), test.name.as_str()) {
                ("core", "laws") => &mut caught.laws,
                ("boundary", "vectors") if name.contains("generated") => &mut caught.generated,
                ("boundary", "vectors") if name.contains("digest") => &mut caught.digest,
                ("boundary", "pinned") => &mut caught.digest,
                ("boundary", "vectors") => &mut caught.vectors,
                _ => &mut caught.tests,
            };
            column.push(why);
        }
    }
    Ok(())
}

/// The tests that failed, each with what to call that: the script of a vector, else the test itself.
fn failures(target: &str, ran: &Ran) -> Vec<(String, String)> {
    if ran.good {
        return Vec::new();
    }
    let failed =
        ran.printed.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    let mut failures: Vec<(String, String)> = failed
        .map(|name| {
            let said = ran.printed.split(&format!("---- {name} stdout ----")).nth(1).unwrap_or("");
            let script = (target == "vectors").then(|| script(said)).flatten();
            (name.to_owned(), script.unwrap_or_else(|| name.to_owned()))
        })
        .collect();
    if failures.is_empty() {
        failures.push((target.to_owned(), format!("{target} hangs or crashes")));
    }
    failures
}

/// The script and the step of a vector that a failed test speaks of.
fn script(said: &str) -> Option<String> {
    let panic = said.lines().skip_while(|line| !line.contains("panicked at")).nth(1)?;
    let sentence = panic.strip_prefix("assertion `left == right` failed: ").unwrap_or(panic);
    Some(sentence.split(": {").next().unwrap_or(sentence).trim().to_owned())
}

/// Explores the models of the bug's machines, until one of them notices.
fn ask_models(bench: &Bench, bug: &Bug, models: &[Concerned], caught: &mut Caught) -> Result<(), String> {
    let concerned = models.iter().filter(|(_, machines)| {
        // A model without transitions goes through everything by itself, quickly.
        machines.is_empty() || machines.iter().any(|machine| bug.machines.contains(machine))
    });
    for (model, _) in concerned {
        let (_, found) = bench.explore(Some(model))?;
        let faults = found.as_ref().map(|found| &found["models"][0]["faults"]);
        if let Some(fault) = faults.and_then(|faults| faults[0].as_str()) {
            caught.exploration.push(format!("{model}: {fault}"));
        } else if faults.is_none() {
            caught.exploration.push(format!("{model} hangs or crashes"));
        }
        if !caught.exploration.is_empty() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(good: bool, printed: &str) -> Ran {
        Ran { good, printed: printed.to_owned() }
    }

    #[test]
    fn a_failed_test_is_named_and_a_failed_vector_by_its_script() {
        let printed = "test a::b ... FAILED\ntest c ... ok\n---- a::b stdout ----\n\nthread 'a::b' panicked at x:1:2:\n\
                       assertion `left == right` failed: drain: it drains, step 3: {\"at\":5}\n  left: 1\n";
        let named = |target, name: &str| {
            vec![("a::b".to_owned(), name.to_owned())] == failures(target, &ran(false, printed))
        };
        assert!(named("laws", "a::b"));
        assert!(named("vectors", "drain: it drains, step 3"));
    }

    #[test]
    fn a_check_that_ends_without_a_word_has_crashed_or_hung() {
        assert_eq!(failures("laws", &ran(true, "")), []);
        assert_eq!(failures("laws", &ran(false, "")).remove(0).1, "laws hangs or crashes");
    }

    #[test]
    fn rows_are_told_in_the_order_of_the_bugs_whichever_comes_first() {
        let row = |name: &str| Row {
            bug: Bug {
                name: name.to_owned(),
                rule: String::new(),
                file: "x".into(),
                find: String::new(),
                replace: String::new(),
                harm: String::new(),
                machines: Vec::new(),
            },
            caught: Caught::default(),
            took: Duration::ZERO,
        };
        let mut told = Vec::new();
        let tell = |row: &Row| told.push(row.bug.name.clone());
        let mut table = Table { rows: Vec::new(), early: BTreeMap::new(), tell };
        for (at, name) in [(1, "b"), (0, "a"), (3, "d"), (2, "c")] {
            table.enter(at, row(name));
        }
        let rows: Vec<String> = table.rows.iter().map(|row| row.bug.name.clone()).collect();
        assert_eq!(rows, ["a", "b", "c", "d"]);
        assert_eq!(told, rows);
    }

    #[test]
    fn what_one_thread_says_is_wrong_is_the_answer_of_all() {
        let half = |n: u32| if n.is_multiple_of(2) { Ok(n / 2) } else { Err(format!("{n} is odd")) };
        assert_eq!(at_once(vec![4, 2, 8], half), Ok(vec![2, 1, 4]), "in their order");
        assert_eq!(at_once(vec![4, 3, 8], half), Err("3 is odd".to_owned()));
    }

    #[test]
    fn alone_means_that_nobody_else_noticed_who_knows_the_rules() {
        let word = || vec!["x".to_owned()];
        let alone = Caught { exploration: word(), generated: word(), digest: word(), ..Caught::default() };
        assert!(alone.at_all() && alone.by_exploration_alone());
        let also = Caught { vectors: word(), ..alone };
        assert!(also.at_all() && !also.by_exploration_alone());
        let nobody = Caught { generated: word(), digest: word(), ..Caught::default() };
        assert!(!nobody.at_all() && !nobody.by_exploration_alone());
    }
}
