//! The alert rules and their runbooks: who is woken follows the alert's link, and it has to lead to the section about that very alert.

use crate::host;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Where the repository's pages are read.
const PAGES: &str = "https://github.com/sandwatch/sandwatch/blob/main/";
/// What each section has, in this order.
const PARTS: [&str; 5] =
    ["**What it says.**", "**Meanwhile.**", "**Type first.**", "**Usual causes.**", "**Wake somebody"];

/// Everything that is wrong, a line each.
pub(crate) fn check() -> Result<Vec<String>> {
    let repo = host::repo()?;
    let mut files = Vec::new();
    for name in listed("deploy/*.yaml")? {
        let text =
            std::fs::read_to_string(repo.join(&name)).with_context(|| format!("cannot read {name}"))?;
        if !name.ends_with(".test.yaml") && text.contains("- alert: ") {
            files.push((name, text));
        }
    }
    let mut pages = BTreeMap::new();
    for name in listed("docs/runbooks/*.md")? {
        let text =
            std::fs::read_to_string(repo.join(&name)).with_context(|| format!("cannot read {name}"))?;
        pages.insert(name, text);
    }
    complaints(&files, &pages)
}

fn listed(pattern: &str) -> Result<Vec<String>> {
    let mut command = Command::new("git");
    command.current_dir(host::repo()?).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let listed = host::capture(command.arg(pattern)).context("cannot list the repository's files")?;
    Ok(listed.lines().map(str::to_owned).collect())
}

/// What is wrong with rule files (name and text), given the pages of runbooks by name.
fn complaints(files: &[(String, String)], pages: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut alerts = BTreeSet::new();
    for (file, text) in files {
        let rules: Value = serde_saphyr::from_str(text).with_context(|| format!("{file} is no YAML"))?;
        let groups = rules["groups"].as_array().into_iter().flatten();
        for rule in groups.flat_map(|group| group["rules"].as_array()).flatten() {
            let Some(alert) = rule["alert"].as_str() else { continue };
            alerts.insert(alert.to_owned());
            if let Some(what) = wrong(alert, rule["annotations"]["runbook_url"].as_str(), pages) {
                found.push(format!("{file}: {alert}: {what}"));
            }
        }
    }
    for (page, text) in pages {
        let about = sections(text).into_keys().filter(|title| title.starts_with("Sandwatch"));
        let gone = about.filter(|title| !alerts.contains(*title));
        found.extend(gone.map(|title| format!("{page}: there is no alert {title}")));
    }
    Ok(found)
}

fn wrong(alert: &str, url: Option<&str>, pages: &BTreeMap<String, String>) -> Option<String> {
    let Some(url) = url else { return Some("it has no runbook_url".to_owned()) };
    let Some((page, anchor)) = url.strip_prefix(PAGES).and_then(|rest| rest.split_once('#')) else {
        return Some(format!("{url} is no section of a page of this repository"));
    };
    if anchor != alert.to_lowercase() {
        return Some(format!("its link leads to #{anchor}, which is not its own section"));
    }
    let Some(text) = pages.get(page) else { return Some(format!("there is no page {page}")) };
    let sections = sections(text);
    let Some(section) = sections.get(alert) else { return Some(format!("{page} has no section {alert}")) };
    let mut rest = *section;
    for part in PARTS {
        let Some((_, after)) = rest.split_once(part) else {
            return Some(format!("its section in {page} lacks `{part}`, or has it elsewhere"));
        };
        rest = after;
    }
    let first = section.split_once(PARTS[2]).map_or("", |(_, after)| after);
    let command = first.split_once("```console\n").map_or("", |(_, block)| block);
    (!command.starts_with(['#', '$'])).then(|| format!("its section in {page} has no command to type first"))
}

/// The sections of the second level, by title.
fn sections(page: &str) -> BTreeMap<&str, &str> {
    let parts = page.split("\n## ").skip(1);
    parts.filter_map(|part| part.split_once('\n')).map(|(title, text)| (title.trim(), text)).collect()
}

#[cfg(test)]
mod tests {
    use super::{PARTS, check, complaints};

    const SECTION: &str = "**What it says.** a **Meanwhile.** b **Type first.**\n\n```console\n# sandwatch status\n```\n\n**Usual causes.** c\n\n\
                           **Wake somebody** d\n";

    fn of(link: &str, section: &str) -> Vec<String> {
        let rules = format!(
            "groups: [{{ name: a, rules: [{{ alert: SandwatchA, expr: up, annotations: {{ runbook_url: '{link}' }} }}, {{ record: b, expr: up }}] }}]"
        );
        let pages = [("docs/runbooks/a.md".to_owned(), format!("# A\n\n## SandwatchA\n\n{section}"))];
        complaints(&[("rules.yaml".to_owned(), rules)], &pages.into()).unwrap()
    }

    #[test]
    fn every_alert_of_the_repository_leads_to_its_own_section() {
        let wrong = check().unwrap();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn link_to_no_page_no_section_and_another_section_are_told() {
        let base = "https://github.com/sandwatch/sandwatch/blob/main/docs/runbooks/";
        assert_eq!(of(&format!("{base}a.md#sandwatcha"), SECTION), [""; 0]);
        for (link, complaint) in [
            (String::new(), "no section"),
            (format!("{base}a.md"), "no section"),
            (format!("{base}b.md#sandwatcha"), "no page"),
            (format!("{base}a.md#sandwatchb"), "not its own"),
            ("https://example.org/a.md#sandwatcha".to_owned(), "no section"),
        ] {
            let said = of(&link, SECTION);
            assert!(said.len() == 1 && said[0].contains(complaint), "{link}: {said:?}");
        }
    }

    #[test]
    fn section_without_a_part_or_a_command_and_one_of_no_alert_are_told() {
        let link = "https://github.com/sandwatch/sandwatch/blob/main/docs/runbooks/a.md#sandwatcha";
        for part in PARTS {
            assert!(of(link, &SECTION.replace(part, ""))[0].contains("lacks"), "{part}");
        }
        assert!(of(link, &SECTION.replace("```console", "```yaml"))[0].contains("no command"));
        let said = of(link, &format!("{SECTION}\n## SandwatchGone\n\nx\n"));
        assert!(said.len() == 1 && said[0].contains("no alert SandwatchGone"), "{said:?}");
    }
}
