//! Signs that a process wants to belong to something it does not: another id below an author root, work after the run.

use std::sync::Arc;

use super::{Attributions, Root, ended};
use crate::event::{Body, BootNs, Event, Outcome, Signal};
use crate::process::ProcessTable;
use crate::profile::attribution::{Attribution, Field, IdSource, IdTrust};
use crate::profile::{Certainty, Finding, FindingKind, Respond, RuleRef, Tier};

/// How long after the end of its run a process may go on before it is a residue, ns.
const GRACE: BootNs = 10_000_000_000;

/// Longest id that a title shows, characters.
const SHOWN: usize = 64;

impl Attributions {
    /// What an event of a process below the author root `root` says against what that root froze; `env` are the variables
    /// of an exec. Each is said once.
    pub(crate) fn signs(
        &mut self,
        event: &Event,
        root: u64,
        exec_id: u64,
        env: &[(Arc<str>, Arc<str>)],
        items: &[Attribution],
        processes: &ProcessTable,
    ) -> Vec<Finding> {
        let Some(known) = self.roots.get(&root) else { return Vec::new() };
        let mut found = Vec::new();
        if root != exec_id {
            found.extend(substitution(known, env, items));
        }
        found.extend(self.residue(known, event, items, processes));
        let Some(known) = self.roots.get_mut(&root) else { return Vec::new() };
        found
            .into_iter()
            .filter(|(id, of, ..)| known.said.insert((*id, *of)))
            .map(|(id, _, title, rule)| finding(id, title, rule, event))
            .collect()
    }

    fn residue(
        &self,
        root: &Root,
        event: &Event,
        items: &[Attribution],
        processes: &ProcessTable,
    ) -> Option<Sign> {
        // Before the look at other roots: a daemon is asked about at each of its events.
        if root.said.contains(&("run-residue", "run")) {
            return None;
        }
        let run = root.values.iter().find(|value| value.field == Field::Run)?;
        let over = |root: &Root| root.ended.or_else(|| ended(root, processes, event.time));
        let at = over(root)?;
        if event.time.saturating_sub(at) < GRACE {
            return None;
        }
        // A later step of the same run: what an earlier one left behind may be meant for it.
        let goes_on = self.roots.values().any(|other| {
            other.label == root.label
                && over(other).is_none_or(|at| event.time.saturating_sub(at) < GRACE)
                && other.values.iter().any(|value| value.field == Field::Run && value.value == run.value)
        });
        if goes_on {
            return None;
        }
        let title = format!("A process of run {} is still at work after the run's end", shown(&run.value));
        Some(("run-residue", "run", title, items.get(run.item)?.rule.clone()))
    }
}

/// Id, the field it is about (said once per root), title, rule.
type Sign = (&'static str, &'static str, String, RuleRef);

fn substitution(root: &Root, env: &[(Arc<str>, Arc<str>)], items: &[Attribution]) -> Vec<Sign> {
    let mut out = Vec::new();
    for frozen in root.values.iter().filter(|value| value.trust > IdTrust::Candidate) {
        let Some(item) = items.get(frozen.item) else { continue };
        let IdSource::Env(name) = &item.source else { continue };
        let other = env.iter().find(|(n, value)| n == name && *value != frozen.value && !value.is_empty());
        if let Some((_, other)) = other {
            let field = frozen.field.name();
            let title = format!(
                "A process of {field} {} says in {name} that it is of {field} {}",
                shown(&frozen.value),
                shown(other)
            );
            out.push(("identity-substitution", field, title, item.rule.clone()));
        }
    }
    out
}

fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

fn finding(id: &'static str, title: String, rule: RuleRef, event: &Event) -> Finding {
    let (signal, outcome) = match &event.body {
        Body::Open(open) => (Signal::Open, open.outcome),
        Body::Connect(connect) => {
            (if connect.send { Signal::Send } else { Signal::Connect }, connect.outcome)
        }
        Body::Unix(unix) => (Signal::Unix, unix.outcome),
        Body::Socket(socket) => (Signal::Socket, socket.outcome),
        _ => (Signal::Exec, Outcome::Ok),
    };
    let (expected, review) = if id == "run-residue" {
        (
            "a run's processes end with it",
            "Find what started the process and why it survives; stop it if nobody answers for it.",
        )
    } else {
        (
            "what a step starts keeps the ids the engine gave the step",
            "Compare with what the engine says ran then; the attribution of this alert is the engine's, not the process's.",
        )
    };
    Finding {
        id: id.into(),
        kind: FindingKind::Detection,
        tier: Tier::Deviation,
        signal,
        outcome,
        certainty: Certainty::Known,
        rule,
        title,
        expected: Some(expected.to_owned()),
        identity: None,
        taken: false,
        process_read: None,
        leaked: Vec::new(),
        endpoint: None,
        refs: [
            ("attack".to_owned(), vec!["T1036".to_owned(), "T1078".to_owned()]),
            ("owasp_nhi".to_owned(), vec!["NHI9".to_owned()]),
            ("owasp_asi".to_owned(), vec!["ASI03".to_owned()]),
            ("nist_csf".to_owned(), vec!["PR.AA-05".to_owned()]),
        ]
        .into(),
        respond: Respond { review: Some(review.to_owned()), ..Respond::default() },
        allow_with: None,
        also: Vec::new(),
    }
}
