//! `requires:` of a rule file: an agent that is too old leaves the file out instead of refusing the whole set.
//!
//! It is looked at before the rest of the file is: what an older agent does not understand is why it is there.

use serde::Deserialize;

use super::source::parse_yaml;
use crate::profile::error::RuleError;
use crate::profile::ruleset::Source;

type Version = [u64; 3];

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    requires: Option<String>,
}

/// Why this agent leaves the file out, in words; `None`: it does not.
pub(super) fn check(source: &Source) -> Result<Option<String>, RuleError> {
    // What is no YAML at all is said when it is read as a document.
    let Ok(head) = parse_yaml::<Head>(&source.file, &source.text) else { return Ok(None) };
    let Some(requires) = head.requires else { return Ok(None) };
    let ours = env!("CARGO_PKG_VERSION");
    let wanted = requires.trim().strip_prefix(">=").and_then(version).ok_or_else(|| RuleError {
        file: source.file.clone(),
        line: 1,
        column: 0,
        what: format!("`requires: {requires}` is not understood"),
        fix: "write the least version of the agent: `requires: \">=0.3\"`".to_owned(),
    })?;
    let is_new_enough = version(ours).is_some_and(|ours| ours >= wanted);
    Ok((!is_new_enough).then(|| format!("{}: requires {requires}, this agent is {ours}", source.file)))
}

/// `0.3` is `0.3.0`; what follows `-` or `+` does not count.
fn version(text: &str) -> Option<Version> {
    let text = text.trim().split(['-', '+']).next()?;
    let mut version = [0; 3];
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() > version.len() {
        return None;
    }
    for (place, part) in version.iter_mut().zip(parts) {
        *place = part.parse().ok()?;
    }
    Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::RuleSet;

    fn source(file: &str, text: &str) -> Source {
        Source { file: file.into(), text: text.to_owned(), layer: 0 }
    }

    const OURS: &str = "
schema: sandwatch/identities/v1
identities:
  - { id: toy-key, class: engine, gives: everything, paths: [/etc/toy/key], respond: { rotate: Change it. } }
";

    #[test]
    fn file_for_a_later_agent_is_left_out_and_named_whatever_is_in_it() {
        let later =
            "schema: sandwatch/novelties/v9\nrequires: \">=99.1\"\nnovelties: [what no agent knows]\n";
        let rules =
            RuleSet::from_sources(&[source("identities.yaml", OURS), source("later.yaml", later)]).unwrap();
        assert!(rules.identity("toy-key").is_some());
        assert_eq!(rules.skipped().len(), 1);
        assert!(rules.skipped()[0].starts_with("later.yaml: requires >=99.1, this agent is "));
        let without = RuleSet::from_sources(&[source("identities.yaml", OURS)]).unwrap();
        assert_ne!(rules.digest(), without.digest());
    }

    #[test]
    fn file_for_this_agent_is_taken_and_a_requirement_that_is_none_is_refused() {
        let of = |requires: &str| {
            let text = OURS.replacen('\n', &format!("\nrequires: \"{requires}\"\n"), 1);
            RuleSet::from_sources(&[source("identities.yaml", &text)])
        };
        assert!(of(">=0.0.1").unwrap().skipped().is_empty());
        assert!(of(&format!(">={}", env!("CARGO_PKG_VERSION"))).unwrap().skipped().is_empty());
        for wrong in ["0.3", "<=0.3", ">=x", ">=1.2.3.4", ""] {
            let error = of(wrong).unwrap_err().to_string();
            assert!(error.contains("requires") && error.contains(">=0.3"), "{error}");
        }
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(version("0.10").unwrap() > version("0.9.9").unwrap());
        assert_eq!(version("1.2.3-rc1"), version("1.2.3"));
        assert_eq!(version(""), None);
    }
}
