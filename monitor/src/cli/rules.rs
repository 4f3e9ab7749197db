//! `sandwatch rules`.

use std::path::PathBuf;
use std::sync::Arc;

use super::args::{FilesArgs, HooksArgs, RulesArgs, RulesCommand, SchemaOf};
use super::rules_from::has_rules;
use super::run::configuration;
use super::{CliError, Exit, RulesFrom, load_rules};
use crate::detect::{WallClock, boot_now};
use crate::profile::{RuleSet, rule_test};
use crate::{alert, config, profile, recording};

pub(super) fn run(args: &RulesArgs) -> Result<Exit, CliError> {
    match &args.command {
        RulesCommand::Check { dirs, keys } => check(dirs, *keys),
        RulesCommand::Test { dirs } => test(dirs),
        RulesCommand::Schema { of } => {
            crate::observe::say(schema(*of).trim_end());
            Ok(Exit::Ok)
        }
        RulesCommand::Explain { profile, dirs } => explain(profile.as_deref(), dirs),
    }
}

/// A folder that is named by hand is meant to hold rules.
fn check_not_empty(dirs: &[PathBuf]) -> Result<(), CliError> {
    match dirs.iter().find(|dir| !has_rules(dir)) {
        Some(dir) => Err(CliError::usage(format!(
            "{}: there is no rule file (*.yaml) below it; name a folder that holds rules",
            dir.display()
        ))),
        None => Ok(()),
    }
}

fn load(dirs: &[PathBuf]) -> Result<(RulesFrom, Arc<RuleSet>), CliError> {
    check_not_empty(dirs)?;
    let configured = if dirs.is_empty() {
        configuration(&FilesArgs::default(), &HooksArgs::default())?.rules
    } else {
        Vec::new()
    };
    let from = RulesFrom::choose(dirs, &configured);
    let rules = load_rules(&from)?;
    Ok((from, rules))
}

fn check(dirs: &[PathBuf], keys: bool) -> Result<Exit, CliError> {
    let (from, rules) = load(dirs)?;
    crate::observe::say(&checked(&from, &rules));
    if keys {
        for key in &rules.kernel_filter().keys {
            crate::observe::say(&format!(
                "  {:<6} {:<44} from {} ({}:{})",
                key.by, key.key, key.pattern, key.rule.file, key.rule.line
            ));
        }
    }
    Ok(Exit::Ok)
}

fn checked(from: &RulesFrom, rules: &RuleSet) -> String {
    let mut text = format!(
        "{from}: {} profiles, {} detections, {} watched paths; {}",
        rules.profiles().count(),
        rules.detections().count(),
        rules.kernel_filter().keys.len(),
        rules.digest()
    );
    for warning in rules.warnings() {
        text.push_str(&format!("\nwarning: {warning}"));
    }
    for file in rules.skipped() {
        text.push_str(&format!("\nleft out: {file}"));
    }
    for warning in worn_out(rules, WallClock::now().seconds(boot_now()).unwrap_or(0)) {
        text.push_str(&format!("\nwarning: {warning}"));
    }
    text
}

fn test(dirs: &[PathBuf]) -> Result<Exit, CliError> {
    check_not_empty(dirs)?;
    let rules = load_rules(&RulesFrom::Directories(dirs.to_vec()))?;
    let mut report = rule_test::run_folders(&rules, dirs)?;
    report.tests.extend(recording::run_folders(&rules, dirs)?);
    if report.tests.is_empty() {
        let dirs: Vec<String> = dirs.iter().map(|dir| dir.join("tests").display().to_string()).collect();
        return Err(CliError::usage(format!("there is no rule test below {}", dirs.join(", "))));
    }
    for test in report.failed() {
        crate::observe::say(&format!("FAILED {}:{} {}", test.file, test.line, test.name));
        test.failures.iter().for_each(|failure| crate::observe::say(&format!("    {failure}")));
    }
    let failed = report.failed().count();
    crate::observe::say(&format!("{} rule tests, {failed} failed", report.tests.len()));
    Ok(if failed == 0 { Exit::Ok } else { Exit::No })
}

/// Exceptions that have expired, or will within two weeks of `now` (seconds since the epoch).
fn worn_out(rules: &RuleSet, now: u64) -> Vec<String> {
    let soon = now.saturating_add(14 * 86_400);
    let due = rules.exceptions().filter(|exception| exception.until <= soon);
    due.map(|exception| {
        let (id, owner, last) = (exception.id, exception.owner, exception.expires);
        let what = if exception.until <= now {
            format!("exception `{id}` has expired ({last}) and allows nothing any more; renew it or take it out")
        } else {
            format!("exception `{id}` expires soon: {last} is its last day; ask {owner} whether it is still needed")
        };
        format!("{}:{}: {what}", exception.rule.file, exception.rule.line)
    })
    .collect()
}

fn schema(of: SchemaOf) -> String {
    let rule = |name| profile::schema::schema_text(name).unwrap_or_default();
    match of {
        SchemaOf::Alert => alert::schema(),
        SchemaOf::Config => config::schema(),
        SchemaOf::Profile => rule("profile"),
        SchemaOf::Detections => rule("detections"),
        SchemaOf::Identities => rule("identities"),
        SchemaOf::Endpoints => rule("endpoints"),
        SchemaOf::Exceptions => rule("exceptions"),
        SchemaOf::Posture => rule("posture"),
        SchemaOf::RuleTest => rule("rule-test"),
        SchemaOf::Scenario => recording::schema_text("scenario").unwrap_or_default(),
        SchemaOf::Expectation => recording::schema_text("expectation").unwrap_or_default(),
    }
}

fn explain(name: Option<&str>, dirs: &[PathBuf]) -> Result<Exit, CliError> {
    let (from, rules) = load(dirs)?;
    let chosen: Vec<_> = match name {
        Some(name) => {
            vec![rules.profile(name).ok_or_else(|| no_profile(&from, &rules, name))?]
        }
        None => rules.profiles().collect(),
    };
    let texts: Vec<String> = chosen.into_iter().map(|id| rules.explain(id)).collect();
    crate::observe::say(texts.join("\n").trim_end());
    Ok(Exit::Ok)
}

fn no_profile(from: &RulesFrom, rules: &RuleSet, name: &str) -> CliError {
    let mut known: Vec<&str> = rules.profiles().map(|id| rules.profile_name(id)).collect();
    known.sort_unstable();
    let nearest = profile::nearest(name, known.iter().copied());
    let nearest = nearest.map_or(String::new(), |nearest| format!("did you mean `{nearest}`? "));
    CliError::usage(format!(
        "{from}: there is no profile `{}`; {nearest}There are: {}",
        name.escape_default(),
        known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_is_printed() {
        use clap::ValueEnum;
        for of in SchemaOf::value_variants() {
            let value: serde_json::Value = serde_json::from_str(&schema(*of)).unwrap();
            assert!(value["properties"].is_object(), "{of:?}");
        }
    }

    #[test]
    fn check_tells_of_exceptions_that_are_worn_out_or_soon_will_be() {
        let text = "schema: sandwatch/exceptions/v1\nexceptions:\n  - { id: e, worker: w, profile: generic, role: entry, \
                    what: { files: { path: /x, permits: preload-written } }, owner: us, reason: r, expires: 2026-06-30 }\n";
        let mut sources = super::super::rules_from::shipped();
        sources.push(profile::Source { file: "e.yaml".into(), text: text.into(), layer: 1 });
        let rules = RuleSet::from_sources(&sources).unwrap();
        let end = 1_782_864_000; // 2026-07-01
        assert_eq!(worn_out(&rules, end - 30 * 86_400), Vec::<String>::new());
        assert!(worn_out(&rules, end - 86_400)[0].starts_with("e.yaml:3: exception `e` expires soon"));
        assert!(worn_out(&rules, end)[0].contains("has expired"));
    }

    #[test]
    fn check_counts_what_is_in_the_program() {
        let (from, rules) = load(&[]).unwrap();
        let text = checked(&from, &rules);
        assert!(text.contains("profiles") && text.contains("sha256:"), "{text}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_refused() {
        assert_eq!(load(&["/nonexistent".into()]).unwrap_err().exit(), Exit::Usage);
        assert!(test(&["/nonexistent".into()]).is_err());
    }

    #[test]
    fn folder_without_rules_or_without_tests_is_said_to_be_empty() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = [dir.path().to_owned()];
        std::fs::create_dir_all(dir.path().join("tests")).unwrap();
        std::fs::write(dir.path().join("tests/a.yaml"), "").unwrap();
        for error in [check(&dirs, false).unwrap_err(), test(&dirs).unwrap_err()] {
            assert_eq!(error.exit(), Exit::Usage);
            assert!(error.message().contains("there is no rule file (*.yaml)"), "{}", error.message());
        }
        std::fs::remove_file(dir.path().join("tests/a.yaml")).unwrap();
        std::fs::write(dir.path().join("i.yaml"), "schema: sandwatch/identities/v1\nidentities: []\n")
            .unwrap();
        assert_eq!(check(&dirs, false).unwrap(), Exit::Ok);
        let error = test(&dirs).unwrap_err();
        assert!(
            error.exit() == Exit::Usage && error.message().contains("there is no rule test"),
            "{}",
            error.message()
        );
    }

    #[test]
    fn explain_names_the_profiles_there_are() {
        let message = explain(Some("n8m"), &[]).unwrap_err().message();
        assert!(
            message.contains("did you mean `n8n`? There are: ") && message.contains("generic"),
            "{message}"
        );
        let message = explain(Some("zzz"), &[]).unwrap_err().message();
        assert!(!message.contains("did you mean") && message.contains("generic"), "{message}");
        assert_eq!(explain(Some("demo"), &[]).unwrap(), Exit::Ok);
    }
}
