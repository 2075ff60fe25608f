//! What became of the planted bugs, as a table.

use std::fmt::Write as _;

use serde_json::{Value, json as data};

use super::{Caught, Row};

fn columns(caught: &Caught) -> [(&'static str, &[String]); 6] {
    [
        ("tests", &caught.tests),
        ("laws", &caught.laws),
        ("vectors", &caught.vectors),
        ("exploration", &caught.exploration),
        ("generated", &caught.generated),
        ("digest", &caught.digest),
    ]
}

/// In one sentence.
#[must_use]
pub fn summary(rows: &[Row]) -> String {
    let count = |is: fn(&Caught) -> bool| rows.iter().filter(|row| is(&row.caught)).count();
    format!(
        "{} of {} planted bugs caught, {} of them by exploration alone",
        count(Caught::at_all),
        rows.len(),
        count(Caught::by_exploration_alone)
    )
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bug, caught, took } = self;
        let verdict = match (caught.at_all(), caught.by_exploration_alone()) {
            (false, _) => "NOT CAUGHT",
            (true, true) => "by exploration alone",
            (true, false) => "caught",
        };
        writeln!(f, "{:<5} {} — {verdict} ({:.0} s)", bug.rule, bug.name, took.as_secs_f64())?;
        for (name, by) in columns(caught) {
            if let Some(first) = by.first() {
                let more = by.len() - 1;
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                writeln!(f, "        {name:<12} {first}{more}")?;
            }
        }
        Ok(())
    }
}

/// As data.
#[must_use]
pub fn json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        let by: serde_json::Map<_, _> =
            columns(&row.caught).into_iter().map(|(name, by)| (name.to_owned(), data!(by))).collect();
        data!({
            "bug": row.bug.name,
            "rule": row.bug.rule,
            "file": row.bug.file,
            "harm": row.bug.harm,
            "caught": row.caught.at_all(),
            "byExplorationAlone": row.caught.by_exploration_alone(),
            "by": by,
        })
    };
    data!({"summary": summary(rows), "bugs": rows.iter().map(row).collect::<Vec<_>>()})
}

fn cell(by: &[String]) -> String {
    match by {
        [] => "–".to_owned(),
        [one] => one.replace('|', "\\|"),
        [first, rest @ ..] => format!("{} (+{})", first.replace('|', "\\|"), rest.len()),
    }
}

/// As `docs/planted-bugs.md`.
#[must_use]
pub fn markdown(rows: &[Row], date: &str) -> String {
    let mut text = format!(
        "# Planted bugs\n\n\
         Written by `cargo xtask verify --planted --write` on {date}; the bugs themselves are in `verify/planted/`.\n\n\
         **{}.**\n\n\
         Each bug is a small change of the core's source. It is planted alone in a copy of the workspace, and then every\n\
         check is asked: the *tests* of the core, the *laws* that all machines obey (256 cases each), the hand-written\n\
         *vectors*, and the *exploration* of the models at small bounds. The last two columns say whether the vectors that\n\
         the exploration wrote changed, or the digest of a long pseudo-random script and what is pinned of explanations and\n\
         records: they notice a difference without knowing a rule, so they do not count as catching a bug, nor against\n\
         \"by exploration alone\" (in bold).\n\n\
         | rule | bug | tests | laws | vectors | exploration | generated | digest or pinned |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        summary(rows)
    );
    for Row { bug, caught, .. } in rows {
        let name = if caught.by_exploration_alone() { format!("**{}**", bug.name) } else { bug.name.clone() };
        let differs = |by: &[String]| if by.is_empty() { "–" } else { "differs" };
        let _ = writeln!(
            text,
            "| {} | {name} | {} | {} | {} | {} | {} | {} |",
            bug.rule,
            cell(&caught.tests),
            cell(&caught.laws),
            cell(&caught.vectors),
            cell(&caught.exploration),
            differs(&caught.generated),
            differs(&caught.digest),
        );
    }
    text.push_str("\n## What each would do to a user\n\n");
    for Row { bug, .. } in rows {
        let _ = writeln!(
            text,
            "* **{}** ({}, `{}`): {}",
            bug.name,
            bug.rule,
            bug.file.display(),
            bug.harm.trim()
        );
    }
    text
}
