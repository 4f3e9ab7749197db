//! The finding: one event that breaks an expectation or matches a detection, and what it touched.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{Outcome, Signal};

/// How far an action went, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Not listed, but plausible.
    Deviation,
    /// The sandbox was left.
    Boundary,
    /// A credential was taken or used.
    Identity,
    /// Exfiltration, persistence, lateral movement.
    Objective,
}

impl Tier {
    /// One tier lower: a denied action. A deviation stays one.
    pub const fn lower(self) -> Self {
        match self {
            Self::Objective => Self::Identity,
            Self::Identity => Self::Boundary,
            Self::Boundary | Self::Deviation => Self::Deviation,
        }
    }

    /// The name users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deviation => "deviation",
            Self::Boundary => "boundary",
            Self::Identity => "identity",
            Self::Objective => "objective",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A helper of the engine was started with a loader variable that the engine itself did not have. Built in; an allow item
/// may name it in `permits`.
pub const LOADER_INJECTION: &str = "loader-injection";
/// A program that a rule pins is another file than when the worker first executed it. Built in.
pub const BINARY_CHANGED: &str = "engine-binary-changed";
/// Somebody entered the worker from outside. Built in.
pub const OPERATOR_SESSION: &str = "operator-session";

/// Which kind of rule a finding comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// A detection matched.
    Detection,
    /// An expectation of the profile was broken.
    Expectation,
}

impl FindingKind {
    /// The name users see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Detection => "detection",
            Self::Expectation => "expectation",
        }
    }
}

/// Whether everything the rule asked about was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// Every field was known.
    Known,
    /// These fields were not (`role`, `path`, `argv`, `exe layer`, …).
    Unknown(Vec<&'static str>),
    /// Nobody saw it happen: what acted was found afterwards, and may be another, or have another history, than it looks. These
    /// fields were not known.
    Candidate(Vec<&'static str>),
}

impl Certainty {
    /// This was not known either.
    pub fn lacks(&mut self, field: &'static str) {
        match self {
            Self::Known => *self = Self::Unknown(vec![field]),
            Self::Unknown(fields) | Self::Candidate(fields) if !fields.contains(&field) => fields.push(field),
            Self::Unknown(_) | Self::Candidate(_) => {}
        }
    }

    /// Nobody saw it happen.
    pub fn is_candidate(&mut self) {
        *self = Self::Candidate(self.unknown().to_vec());
        self.lacks("history");
    }

    /// The fields that were not known.
    pub fn unknown(&self) -> &[&'static str] {
        match self {
            Self::Known => &[],
            Self::Unknown(fields) | Self::Candidate(fields) => fields,
        }
    }
}

impl fmt::Display for Certainty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known => f.write_str("known"),
            Self::Unknown(fields) => write!(f, "unknown: {}", fields.join(", ")),
            Self::Candidate(fields) => write!(f, "candidate; unknown: {}", fields.join(", ")),
        }
    }
}

/// Where a rule stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleRef {
    /// File, relative to its rules folder (`detections/exec.yaml`); `built-in` for rules that are in the program.
    pub file: Arc<str>,
    /// Line, from 1; 0 for a built-in rule.
    pub line: u32,
}

/// References to catalogues of techniques, by catalogue (`attack`, `owasp_nhi`, `owasp_asi`, `nist_csf`, `alias`).
pub type Refs = BTreeMap<String, Vec<String>>;

/// What to do, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// Stop it from going on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contain: Option<String>,
    /// Keep the evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preserve: Option<String>,
    /// Make what was taken worthless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke: Option<String>,
    /// Replace it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate: Option<String>,
    /// Look for what was done with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<String>,
}

impl Respond {
    /// The steps in order, each as "Contain: …".
    pub fn steps(&self) -> Vec<String> {
        [
            ("Contain", &self.contain),
            ("Preserve", &self.preserve),
            ("Revoke", &self.revoke),
            ("Rotate", &self.rotate),
            ("Review", &self.review),
        ]
        .into_iter()
        .filter_map(|(name, text)| text.as_ref().map(|text| format!("{name}: {text}")))
        .collect()
    }
}

/// A secret of the identity catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id, as profiles name it.
    pub id: Arc<str>,
    /// Class: `host`, `k8s`, `cloud`, `scm`, `registry`, `engine`, `saas`, `ssh`, `mesh`, `db`, `secret-manager`.
    pub class: Arc<str>,
    /// What it gives its holder.
    pub gives: Arc<str>,
    /// Where it is to be found, as it is written: paths, sockets, variables with a leading `$`.
    pub places: Vec<String>,
    /// What to do when it was taken.
    pub respond: Respond,
    /// References.
    pub refs: Refs,
    /// Where it stands.
    pub rule: RuleRef,
}

/// An address with a meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub id: Arc<str>,
    /// What it is.
    pub title: Arc<str>,
    /// Harmless for everyone (name service, time).
    pub benign: bool,
    /// What to do when it was contacted.
    pub respond: Respond,
    /// References.
    pub refs: Refs,
    /// Where it stands.
    pub rule: RuleRef,
}

/// What of another process, or of itself, a process read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadOf {
    /// Its memory.
    Memory,
    /// Its environment.
    Environment,
}

/// A process whose memory or environment was read without being allowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessRead {
    /// What was read.
    pub what: ReadOf,
    /// Its pid.
    pub pid: u32,
}

/// Something that was in a process's memory or environment when that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaked {
    /// Id of the identity, or `$NAME` of a variable that no identity of the catalogue names.
    pub what: Arc<str>,
    /// The identity.
    pub identity: Option<Arc<Identity>>,
    /// Where it was, in words.
    pub from: Arc<str>,
}

/// Another rule that the same event broke or matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Also {
    /// Finding id.
    pub id: Arc<str>,
    /// Kind of rule.
    pub kind: FindingKind,
    /// Tier, after the outcome was taken into account.
    pub tier: Tier,
    /// Where the rule stands.
    pub rule: RuleRef,
}

/// One event that breaks an expectation or matches a detection. Of several rules the highest tier leads (a detection
/// before an expectation of the same tier); the others are in `also`.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Detection id, or `unexpected-exec`, `unexpected-identity`, `unexpected-connect`, `unexpected-unix`,
    /// `unexpected-socket`, `unexpected-file`, `unresolved-open`.
    pub id: Arc<str>,
    /// Kind of the leading rule.
    pub kind: FindingKind,
    /// Tier, after the outcome was taken into account.
    pub tier: Tier,
    /// Signal the event came by.
    pub signal: Signal,
    /// What became of the action.
    pub outcome: Outcome,
    /// Whether all fields were known.
    pub certainty: Certainty,
    /// The leading rule.
    pub rule: RuleRef,
    /// One line for people.
    pub title: String,
    /// What the profile expects of this role for this signal, in words; `None` when nothing is stated.
    pub expected: Option<String>,
    /// The identity touched.
    pub identity: Option<Arc<Identity>>,
    /// It was opened with success and no allow item covers it.
    pub taken: bool,
    /// A process's memory or environment was read with success, and a rule against that was broken.
    pub process_read: Option<ProcessRead>,
    /// What that process held; filled in by whoever knows the process.
    pub leaked: Vec<Leaked>,
    /// The endpoint contacted.
    pub endpoint: Option<Arc<Endpoint>>,
    /// References of all rules together.
    pub refs: Refs,
    /// What to do.
    pub respond: Respond,
    /// YAML that would make it expected; only for expectations of tier deviation.
    pub allow_with: Option<String>,
    /// Other rules the same event broke.
    pub also: Vec<Also>,
}
