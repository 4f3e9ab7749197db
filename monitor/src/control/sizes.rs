//! How full things are, and how it goes with what is asked about pods.

use serde::{Deserialize, Serialize};

use crate::event::BootNs;

/// A table that has a bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSize {
    /// Its name.
    pub table: String,
    /// What is in it.
    pub entries: u64,
    /// What there is room for.
    pub capacity: u64,
}

/// The spool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolState {
    /// Bytes on disk by class; empty: it has no disk.
    pub classes: Vec<ClassSize>,
    /// Bytes of alerts that are in memory only, as the disk takes nothing.
    pub memory_bytes: u64,
    /// Most of them.
    pub memory_capacity_bytes: u64,
    /// Its file system has too little room left, so it does not grow.
    pub disk_nearly_full: bool,
}

/// A class of the spool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassSize {
    /// Class.
    pub class: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Most bytes; then the oldest go.
    pub capacity: u64,
}

/// What is asked about pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodsState {
    /// Who is asked: `kubelet` or `api`.
    pub source: String,
    /// Answers, and failures to get one.
    pub attempts: u64,
    /// Failures to get an answer.
    pub failures: u64,
    /// When the last answer came, ns since the epoch; `None`: none has.
    pub last_success: Option<i64>,
    /// The last attempt failed.
    pub failing: bool,
    /// Workers in pods of which not everything is known.
    pub unknown: u64,
    /// Since when nobody has answered for the oldest of those that may still be learnt, boot-time ns.
    pub oldest_unknown: Option<BootNs>,
}
