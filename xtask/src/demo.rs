//! `cargo xtask demo`: the scenarios, each a Node program like the processes that it runs.

use std::path::Path;

use crate::{Workspace, process, setup};

struct Scenario {
    name: &'static str,
    script: &'static str,
    /// Options that are for this one only.
    own: &'static [&'static str],
    /// Whether it can run on real servers.
    real: bool,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "relay",
        script: "examples/relay/demo/main.ts",
        own: &["--hosts", "--rate", "--reconnect-rate", "--redis"],
        real: false,
    },
    Scenario {
        name: "restart",
        script: "examples/app-gateway/demo/main.ts",
        own: &["--postgres"],
        real: true,
    },
    Scenario {
        name: "allocation",
        script: "examples/control-plane/demo/main.ts",
        own: &["--starts"],
        real: true,
    },
    Scenario { name: "handoff", script: "examples/hot-restart/demo.ts", own: &["--deploys"], real: false },
];

/// What was asked for: a scenario (none is all), and the options for its program.
#[derive(PartialEq, Eq, Debug)]
struct Wanted<'a> {
    scenario: Option<&'a str>,
    json: Option<&'a str>,
    options: Vec<&'a str>,
}

/// Sets up and runs the scenario that is named, the one whose options are given, or all.
pub fn run(workspace: &Workspace, arguments: &[&str]) -> Result<u8, String> {
    let wanted = wanted(arguments)?;
    setup::for_node(workspace)?;
    if wanted.options.contains(&"--redis") {
        setup::system_package("redis-server", "redis-server")?;
    }
    if wanted.options.contains(&"--real") {
        setup::postgresql()?;
        setup::name_server_and_proxy()?;
    }
    let Some(name) = wanted.scenario else { return all(workspace, &wanted) };
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).ok_or("there is no scenario")?;
    one(workspace, scenario, &wanted.options, wanted.json)
}

fn wanted<'a>(arguments: &[&'a str]) -> Result<Wanted<'a>, String> {
    let mut wanted = Wanted { scenario: None, json: None, options: Vec::new() };
    let mut rest = arguments.iter().copied();
    while let Some(argument) = rest.next() {
        match argument {
            "--scenario" => wanted.scenario = Some(rest.next().unwrap_or("")),
            "--json" => wanted.json = Some(rest.next().ok_or("--json needs the name of a file")?),
            other => wanted.options.push(other),
        }
    }
    if wanted.scenario.is_none() {
        // An option says whose it is.
        let owner =
            SCENARIOS.iter().find(|scenario| scenario.own.iter().any(|own| wanted.options.contains(own)));
        wanted.scenario = owner.map(|scenario| scenario.name);
    }
    match wanted.scenario {
        Some("all") => wanted.scenario = None,
        Some(name) if !SCENARIOS.iter().any(|scenario| scenario.name == name) => {
            let known: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            return Err(format!("there is no scenario `{name}`; there are {}, all", known.join(", ")));
        }
        _ => {}
    }
    Ok(wanted)
}

fn one(
    workspace: &Workspace,
    scenario: &Scenario,
    options: &[&str],
    json: Option<&str>,
) -> Result<u8, String> {
    let mut node = vec!["--import", "tsx", scenario.script];
    node.extend(options.iter().filter(|option| scenario.real || **option != "--real"));
    if let Some(file) = json {
        node.extend(["--json", file]);
    }
    process::run(&mut workspace.command("node", &node))
}

/// One after the other, also when one does not hold. The figures of all go into one file.
fn all(workspace: &Workspace, wanted: &Wanted) -> Result<u8, String> {
    let mut verdicts = Vec::new();
    let mut figures = Vec::new();
    for scenario in SCENARIOS {
        println!("\n== {} ==", scenario.name);
        let part = wanted.json.map(|file| format!("{file}.{}", scenario.name));
        let code = one(workspace, scenario, &wanted.options, part.as_deref())?;
        if code == 130 {
            return Ok(code);
        }
        verdicts.push((scenario.name, code == 0));
        if let Some(part) = part {
            // One that failed before its end has written nothing.
            let text = std::fs::read_to_string(&part).unwrap_or_else(|_| "null".to_owned());
            figures.push(format!("\"{}\": {}", scenario.name, text.trim()));
            let _ = std::fs::remove_file(&part);
        }
    }
    if let Some(file) = wanted.json {
        let whole = format!("{{\n{}\n}}\n", figures.join(",\n"));
        std::fs::write(Path::new(file), whole).map_err(|error| format!("{file}: {error}"))?;
    }
    println!();
    for (name, holds) in &verdicts {
        println!("{name:<12} {}", if *holds { "holds" } else { "DOES NOT HOLD" });
    }
    Ok(u8::from(verdicts.iter().any(|(_, holds)| !holds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_name_all_scenarios_run_unless_an_option_says_which() {
        assert_eq!(wanted(&[]).unwrap().scenario, None);
        assert_eq!(wanted(&["--scenario", "all", "--real"]).unwrap().scenario, None);
        assert_eq!(wanted(&["--redis", "--hosts", "1000"]).unwrap().scenario, Some("relay"));
        let handoff = wanted(&["--json", "x", "--scenario", "handoff", "--quick"]).unwrap();
        assert_eq!(handoff, Wanted { scenario: Some("handoff"), json: Some("x"), options: vec!["--quick"] });
    }

    #[test]
    fn a_scenario_that_is_not_there_is_named_with_those_that_are() {
        let error = wanted(&["--scenario", "lunch"]).unwrap_err();
        assert_eq!(error, "there is no scenario `lunch`; there are relay, restart, allocation, handoff, all");
    }
}
