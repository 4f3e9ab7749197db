//! One line of the log.

use serde::{Deserialize, Serialize};

use super::Hash;
use crate::alert::{SafeAlert, json};

/// The longest line that is read. Ours are far shorter.
pub(super) const LINE_MAX: usize = 64 << 10;

/// The longest text in an entry.
const TEXT_MAX: usize = 1024;

/// An entry: a line is this as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// From 1, without holes.
    pub number: u64,
    /// When it was written, RFC 3339.
    pub time: String,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
    /// The hash of the line before, without its line feed; zeros before the first.
    pub previous: Hash,
}

/// What of an entry the chain itself needs: also of one that a later version wrote.
#[derive(Debug, Deserialize)]
pub(super) struct Link {
    pub(super) number: u64,
    #[serde(default)]
    pub(super) what: String,
    pub(super) previous: Hash,
    /// Of `removed`.
    #[serde(default)]
    pub(super) last: Option<u64>,
    /// Of `start` and `file`.
    #[serde(default)]
    pub(super) config: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// The agent began to watch.
    Start {
        /// Its version.
        version: String,
        /// The host's boot.
        boot: String,
        /// Digest of the rules.
        rules: String,
        /// Digest of the configuration.
        config: String,
    },
    /// The configuration is another than at the start before.
    ConfigChanged {
        /// Its digest before.
        from: String,
        /// Its digest now.
        to: String,
    },
    /// Its sinks and its spool are in force as well: they were put in the place of those before while the agent ran.
    SinksChanged {
        /// Digest of the configuration.
        to: String,
    },
    /// They could not be: those of an earlier configuration stay in force.
    SinksStay {
        /// Digest of the earlier one.
        of: String,
        /// Digest of the one whose sinks are not in force.
        refused: String,
        /// Why, cut.
        error: String,
    },
    /// Other rules are in force.
    Rules {
        /// Their digest.
        rules: String,
        /// What made the agent load them.
        why: String,
    },
    /// Changed rules were refused; those before stay in force.
    RulesRefused {
        /// What made the agent load them.
        why: String,
        /// What is wrong with them, cut.
        error: String,
    },
    /// An alert was raised.
    Alert {
        /// Its id.
        id: String,
        /// Its kind.
        kind: String,
        /// Its state.
        state: String,
        /// Its incident.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        incident: Option<String>,
        /// Its incident's revision.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u64>,
        /// SHA-256 of its JSON line as it was raised: without `delivery` and the fields of a sink.
        digest: String,
    },
    /// The log goes on in another file.
    File {
        /// Digest of the configuration in force.
        config: String,
    },
    /// The oldest file was removed to make room.
    Removed {
        /// Its name.
        file: String,
        /// Its last entry's number.
        last: u64,
        /// The hash of that entry, for who has a copy.
        hash: Hash,
    },
    /// What a killed agent had written half of an entry was cut off.
    Recovered {
        /// How many bytes.
        bytes: u64,
        /// Their SHA-256.
        digest: String,
    },
    /// Entries could not be written.
    Missed {
        /// How many.
        entries: u64,
    },
    /// The file was gone or another when it was looked at; the chain goes on in a new one.
    Replaced {
        /// Its name.
        file: String,
    },
    /// The agent ended in order.
    Stop {
        /// Alerts that it raised.
        alerts: u64,
    },
}

impl What {
    /// The entry of an alert.
    pub fn alert(alert: &SafeAlert) -> Self {
        Self::Alert {
            id: alert.id.clone(),
            kind: alert.kind.name().to_owned(),
            state: alert.state.name().to_owned(),
            incident: alert.incident.as_ref().map(|incident| incident.id.clone()),
            revision: alert.incident.as_ref().map(|incident| incident.revision),
            digest: Hash::of(json::line(alert, None).as_bytes()).named(),
        }
    }

    /// The entry of rules that were refused.
    pub fn refused(why: &str, error: &str) -> Self {
        Self::RulesRefused { why: why.to_owned(), error: cut(error) }
    }

    /// The entry of sinks that could not be put in place.
    pub fn sinks_stay(of: &str, refused: &str, error: &str) -> Self {
        Self::SinksStay { of: of.to_owned(), refused: refused.to_owned(), error: cut(error) }
    }
}

/// A text that is not longer than one may be.
fn cut(text: &str) -> String {
    let mut text = text.to_owned();
    if text.len() > TEXT_MAX {
        text.truncate((0..=TEXT_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
        text.push('…');
    }
    text
}

impl Entry {
    /// Its line, without the line feed.
    pub(super) fn line(&self) -> String {
        json::compact(self)
    }
}
