//! Every language replays every conformance vector: their counts, side by side.

use std::collections::BTreeMap;

/// The languages that see the core, by the suite that replays for each.
const LANGUAGES: &[(&str, &str)] =
    &[("rust", "rust"), ("node", "node"), ("python", "python"), ("wasm", "wasm")];

/// What one language replayed.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
struct Replayed {
    object: u64,
    flat: u64,
    digests: u64,
}

/// What the suites said that they replayed.
#[derive(Default)]
pub struct Replays(BTreeMap<String, Replayed>);

impl Replays {
    /// Finds `vectors (node): 868 scripts on the object path, 868 on the flat path` and `digests (node): 12`. Rust
    /// replays in two tests, which are added up.
    pub fn read(&mut self, printed: &str) {
        for line in printed.lines() {
            if let Some((language, counts)) = announced(line, "vectors (") {
                let replayed = self.0.entry(language.to_owned()).or_default();
                let mut numbers = counts.split_whitespace().filter_map(|word| word.parse().ok());
                replayed.object += numbers.next().unwrap_or(0);
                replayed.flat += numbers.next().unwrap_or(0);
            } else if let Some((language, count)) = announced(line, "digests (") {
                self.0.entry(language.to_owned()).or_default().digests = count.trim().parse().unwrap_or(0);
            }
        }
    }

    /// Prints them for the suites that ran; answers what is wrong.
    pub fn summary(&self, ran: &[&str]) -> Vec<String> {
        let expected: Vec<_> = LANGUAGES
            .iter()
            .filter(|(suite, _)| ran.contains(suite))
            .map(|(_, language)| *language)
            .collect();
        if expected.is_empty() {
            return Vec::new();
        }
        println!("\n{:<16} {:>11} {:>9} {:>8}", "vectors", "object path", "flat path", "digests");
        let mut faults = Vec::new();
        let mut first = None;
        for language in expected {
            let Some(replayed) = self.0.get(language) else {
                faults.push(format!("{language} did not say how many vectors it replayed"));
                continue;
            };
            let Replayed { object, flat, digests } = *replayed;
            println!("{language:<16} {object:>11} {flat:>9} {digests:>8}");
            let (model, wanted) = *first.get_or_insert((language, *replayed));
            if *replayed != wanted {
                faults.push(format!("{language} replayed other counts than {model}"));
            }
            if object != flat || object == 0 || digests == 0 {
                faults
                    .push(format!("{language} did not replay every vector on both paths, and every digest"));
            }
        }
        faults
    }
}

/// The language and the rest of a line that has `kind` and `language):` in it; test runners put marks before it.
fn announced<'a>(line: &'a str, kind: &str) -> Option<(&'a str, &'a str)> {
    line.split_once(kind)?.1.split_once("): ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str =
        "# vectors (node): 8 scripts on the object path, 8 on the flat path\n# digests (node): 2\n";

    fn faults(printed: &str, ran: &[&str]) -> usize {
        let mut replays = Replays::default();
        replays.read(printed);
        replays.summary(ran).len()
    }

    #[test]
    fn languages_with_equal_counts_are_in_order() {
        let both = format!("{NODE}{}", NODE.replace("# ", "").replace("node", "wasm"));
        assert_eq!(faults(&both, &["node", "wasm", "demo"]), 0);
        assert_eq!(faults("", &["demo"]), 0);
    }

    #[test]
    fn a_language_that_replays_fewer_or_says_nothing_is_a_fault() {
        let fewer = NODE.replace("node", "python").replace("8 scripts", "7 scripts");
        assert_eq!(faults(&format!("{NODE}{fewer}"), &["node", "python"]), 2);
        assert_eq!(faults(NODE, &["node", "rust"]), 1);
        assert_eq!(faults(&NODE.replace("8", "0"), &["node"]), 1);
    }
}
