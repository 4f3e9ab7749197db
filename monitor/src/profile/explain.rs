//! A profile in plain words: what it allows, forbids and watches, and which line says so.

mod watched;

use std::fmt::Write as _;

use super::actor::{ProfileId, RoleId, RoleKind};
use super::doc::OnlyBy;
use super::finding::{RuleRef, Tier};
use super::model::{Common, ImagePattern, ON_COUNT, Profile, RoleSpec, SectionSpec};
use super::ruleset::RuleSet;

impl RuleSet {
    /// What a profile allows, forbids and watches, in words, each with the file and line that says so.
    pub fn explain(&self, profile: ProfileId) -> String {
        let spec = self.spec(profile);
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(spec, &mut out);
        out
    }

    fn write(&self, spec: &Profile, out: &mut String) -> std::fmt::Result {
        writeln!(out, "Profile {}: {}", spec.name, spec.title)?;
        writeln!(out, "  engine {}, from {}", spec.engine, place(&spec.rule))?;
        if &*spec.name == "generic" {
            writeln!(out, "  It is used for every worker that nothing else selects.")?;
        }
        for item in &spec.select {
            let mut by = Vec::new();
            by.extend(item.cgroup.is_some().then_some("cgroup"));
            by.extend(item.unit.is_some().then_some("unit"));
            by.extend(item.namespace.is_some().then_some("namespace"));
            by.extend(item.owner.is_some().then_some("owner"));
            by.extend(item.container.is_some().then_some("container name"));
            by.extend(item.image.is_some().then_some("image"));
            by.extend((!item.pod_labels.is_empty()).then_some("pod labels"));
            by.extend(item.process.is_some().then_some("entry process"));
            writeln!(out, "  It is selected by {} ({}).", by.join(" and "), place(&item.rule))?;
        }
        for (name, meaning) in &spec.facts {
            let meaning = meaning.trim_end_matches('.');
            writeln!(
                out,
                "  The site may state {name} ({meaning}); until it does, what asks for it matches nothing."
            )?;
        }
        if spec.entered != RoleId::OPERATOR {
            let role = &spec.role(spec.entered).name;
            writeln!(
                out,
                "  Who enters its sealed container from outside is {role}, if it is no health command."
            )?;
        }
        for role in &spec.roles {
            if worth_saying(role) {
                self.write_role(spec, role, out)?;
            }
        }
        self.write_watched(spec, out)?;
        for attribution in &spec.attribution {
            writeln!(
                out,
                "\nAttribution: {} from {} (trust: {}; {}).",
                attribution.field.name(),
                attribution.place(),
                attribution.trust.name(),
                place(&attribution.rule)
            )?;
        }
        list(out, "What it cannot see", &spec.cannot_see)?;
        list(out, "Known false positives", &spec.false_positives)?;
        list(out, "Sources", &spec.sources)
    }

    fn write_role(&self, spec: &Profile, role: &RoleSpec, out: &mut String) -> std::fmt::Result {
        let kind = match role.kind {
            RoleKind::Entry => "the worker's first process and its children until another role matches",
            RoleKind::Named => "a process of the engine",
            RoleKind::Author => "runs author-controlled code",
            RoleKind::Descendant => "below author-controlled code, in no role of its own",
            RoleKind::Stray => "started by the engine, in no role: nothing is expected of it",
            RoleKind::Operator => "entered from outside",
            RoleKind::Probe => "a health probe",
        };
        writeln!(out, "\nRole {} ({kind}; {})", role.name, place(&role.rule))?;
        if !role.parents.is_empty() {
            let name = |p: &RoleId| match *p {
                RoleId::OUTSIDE => "outside",
                id => &*spec.role(id).name,
            };
            let parents: Vec<&str> = role.parents.iter().map(name).collect();
            let how = match &*role.only_by {
                [] => format!("by executing {}{}", role.image.words, trusted(&role.image)),
                ways => {
                    let ways: Vec<&str> = ways.iter().map(|way| given(*way)).collect();
                    format!("only {}", ways.join(" or "))
                }
            };
            writeln!(out, "  Taken from {}, {how}.", parents.join(" or "))?;
        }
        if role.below_author {
            writeln!(out, "  It may also be taken below author-controlled code.")?;
        }
        if let Some(forked) = role.forked {
            writeln!(out, "  Its forks that execute nothing are {}.", spec.role(forked).name)?;
        }
        if !role.holds.is_empty() {
            let held: Vec<&str> = role.holds.iter().map(|at| &*self.inner.identities.get(*at).id).collect();
            writeln!(
                out,
                "  Its memory holds {}: whoever reads that memory has taken what it holds.",
                held.join(", ")
            )?;
        }
        if let Some(why) = &role.why {
            writeln!(out, "  {why}")?;
        }
        let e = &role.expect;
        self.write_section(
            ["execute", "Whatever it executes", "Whatever else it executes"],
            &e.exec,
            |r| (r.any, &r.common),
            out,
        )?;
        self.write_section(
            ["use the identity", "Any identity it uses", "Any other identity it uses"],
            &e.identities,
            |r| (r.any, &r.common),
            out,
        )?;
        self.write_section(
            ["connect to", "Wherever it connects", "Wherever else it connects"],
            &e.connect,
            |r| (false, &r.common),
            out,
        )?;
        self.write_section(
            [
                "connect to the unix socket",
                "Any unix socket it connects to",
                "Any other unix socket it connects to",
            ],
            &e.unix,
            |r| (r.any, &r.common),
            out,
        )?;
        self.write_section(
            ["open", "Any watched file it opens", "Any other watched file it opens"],
            &e.files,
            |r| (false, &r.common),
            out,
        )?;
        self.write_section(
            [
                "create a socket of family",
                "Any uncommon socket it creates",
                "Any other uncommon socket it creates",
            ],
            &e.socket,
            |r| (false, &r.common),
            out,
        )?;
        self.write_detections(role, out)
    }

    fn write_section<R>(
        &self,
        [verb, all, rest]: [&str; 3],
        section: &SectionSpec<R>,
        parts: fn(&R) -> (bool, &Common),
        out: &mut String,
    ) -> std::fmt::Result {
        for rule in &section.rules {
            let (_, common) = parts(rule);
            write!(out, "  May {verb} {}", common.words)?;
            if !common.permits.is_empty() {
                let ids: Vec<&str> =
                    common.permits.iter().map(|d| &*self.inner.detections[usize::from(*d)].id).collect();
                write!(out, ", which silences {}", ids.join(" and "))?;
            }
            writeln!(out, " ({}:{}).", section.rule.file, common.line)?;
        }
        for (number, rule) in &section.excepted {
            let exception = &self.inner.exceptions[usize::from(*number)];
            let (_, common) = parts(rule);
            writeln!(
                out,
                "  By exception {} of {} until {}, some workers may {verb} {} ({}).",
                exception.id,
                exception.owner,
                exception.expires,
                common.words,
                place(&exception.rule)
            )?;
        }
        let Some(tier) = section.otherwise else { return Ok(()) };
        let everything = |r: &R| {
            let (any, common) = parts(r);
            any && common.within.is_none() && common.program.is_empty()
        };
        if section.rules.iter().any(everything) {
            return Ok(());
        }
        let what = if section.rules.is_empty() { all } else { rest };
        writeln!(out, "  {what}: {tier} ({}).", place(&section.rule))
    }

    fn write_detections(&self, role: &RoleSpec, out: &mut String) -> std::fmt::Result {
        let mut all: Vec<(Tier, &str)> = role
            .detections
            .iter()
            .flatten()
            .map(|(at, tier)| (*tier, &*self.inner.detections[usize::from(*at)].id))
            .collect();
        debug_assert_eq!(role.detections.len(), ON_COUNT);
        all.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        for tier in [Tier::Objective, Tier::Identity, Tier::Boundary, Tier::Deviation] {
            let ids: Vec<&str> = all.iter().filter(|(t, _)| *t == tier).map(|(_, id)| *id).collect();
            if !ids.is_empty() {
                writeln!(out, "  Watched as {tier}: {}.", ids.join(", "))?;
            }
        }
        Ok(())
    }
}

/// Roles that a reader of a profile wants to see: its own, and built-in ones of which something is said.
fn worth_saying(role: &RoleSpec) -> bool {
    let e = &role.expect;
    matches!(role.kind, RoleKind::Named | RoleKind::Author | RoleKind::Stray | RoleKind::Entry)
        || !e.exec.rules.is_empty()
        || !e.identities.rules.is_empty()
        || !e.connect.rules.is_empty()
}

/// How a role is given, other than by what the program looks like.
fn given(way: OnlyBy) -> &'static str {
    match way {
        OnlyBy::Becomes => "by an allow item that says so",
        OnlyBy::Forked => "by a fork that executes nothing",
        OnlyBy::Entered => "by entering from outside",
    }
}

fn trusted(image: &ImagePattern) -> &'static str {
    if image.pinned { ", as long as it is the file that was first executed" } else { "" }
}

fn place(rule: &RuleRef) -> String {
    if rule.line == 0 { rule.file.to_string() } else { format!("{}:{}", rule.file, rule.line) }
}

fn list(out: &mut String, title: &str, items: &[String]) -> std::fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}:")?;
    items.iter().try_for_each(|item| writeln!(out, "  - {item}"))
}

#[cfg(test)]
mod tests {
    use crate::profile::rule_test::tests::toy_rules;

    #[test]
    fn a_profile_is_explained_with_the_lines_that_say_so() {
        let rules = toy_rules();
        let text = rules.explain(rules.profile("toy").unwrap());
        insta::assert_snapshot!(text);
    }
}
