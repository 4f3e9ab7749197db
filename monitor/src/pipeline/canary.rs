//! The canary of a running agent: its events walk like any, are judged by rules that are reserved for it, and are never an alert.
//!
//! That an event came is not enough: only one in which the reserved rules find what they must shows that decoding and judging work.
//! Its processes are not in the table, and its label names no worker.

use std::sync::Arc;

use super::Pipeline;
use crate::event::{Body, BootNs, Event, Signal};
use crate::kernel::KEPT_MARKER;
use crate::profile::{Actor, ProfileId, RoleId, RuleErrors, RuleSet, Source};

const NAME: &str = "sandwatch-canary";

/// Everything is unexpected of it.
const PROFILE: &str = "
schema: sandwatch/profile/v1
name: sandwatch-canary
title: The agent's own canary
select: []
roles: []
expect:
  entry:
    exec: { allow: [], else: boundary }
    identities: { allow: [], else: identity }
    connect: { allow: [], else: deviation }
";

/// Most signs that wait to be taken: a handful come in a minute.
const MOST: usize = 256;

/// What the canary's events are judged by, and the signs they gave.
pub(super) struct Canary {
    label: u32,
    port: u16,
    rules: Arc<RuleSet>,
    profile: ProfileId,
    signs: Vec<(Signal, BootNs)>,
}

impl Canary {
    fn new(label: u32, port: u16) -> Result<Self, RuleErrors> {
        let identities = format!(
            "
schema: sandwatch/identities/v1
identities:
  - {{ id: {NAME}, class: engine, gives: nothing, paths: [\"/**/{KEPT_MARKER}\"], respond: {{ rotate: Nothing. }} }}
"
        );
        let source = |file: &str, text: &str| Source { file: file.into(), text: text.to_owned(), layer: 0 };
        let rules = RuleSet::from_sources(&[
            source("canary/profile.yaml", PROFILE),
            source("canary/identities.yaml", &identities),
        ])?;
        let profile = rules.profile(NAME).unwrap_or(ProfileId::GENERIC);
        Ok(Self { label, port, rules, profile, signs: Vec::new() })
    }

    /// The signal an event is a sign of; `None`: it shows nothing.
    fn sign(&self, event: &Event) -> Option<Signal> {
        let found = || {
            let actor = Actor { role: Some(RoleId::ENTRY), ..Actor::unknown(self.profile) };
            self.rules.verdict(&actor, event).finding
        };
        match &event.body {
            Body::Fork(_) => Some(Signal::Fork),
            Body::Exit { .. } => Some(Signal::Exit),
            Body::Exec(_) => found().map(|_| Signal::Exec),
            Body::Open(_) => found()?.identity.filter(|identity| &*identity.id == NAME).map(|_| Signal::Open),
            Body::Connect(connect) if connect.port == self.port && !connect.send => {
                found().map(|_| Signal::Connect)
            }
            _ => None,
        }
    }
}

impl Pipeline {
    /// From now on the events of this label are the canary's, which connects to `port`.
    ///
    /// # Errors
    /// The reserved rules are not understood.
    pub fn watch_canary(&mut self, label: u32, port: u16) -> Result<(), RuleErrors> {
        self.canary = Some(Canary::new(label, port)?);
        Ok(())
    }

    /// The signals in which the canary was seen since the last call, and when it acted.
    pub fn take_canary_signs(&mut self) -> Vec<(Signal, BootNs)> {
        self.canary.as_mut().map(|canary| std::mem::take(&mut canary.signs)).unwrap_or_default()
    }

    /// Whether an event is the canary's; then that is all there is to it.
    pub(super) fn is_canarys(&mut self, event: &Event) -> bool {
        let Some(canary) = self.canary.as_mut().filter(|canary| canary.label == event.subject.label) else {
            return false;
        };
        if let Some(signal) = canary.sign(event)
            && canary.signs.len() < MOST
        {
            canary.signs.push((signal, event.time));
        }
        true
    }
}

#[cfg(test)]
mod tests;
