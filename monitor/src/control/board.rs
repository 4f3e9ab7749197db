//! Where the agent's thread leaves what others may know, and they read it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::desk::Desk;
use super::snapshot::{Snapshot, Status};
use crate::detect::boot_now;
use crate::event::BootNs;
use crate::kernel::Coverage;
use crate::profile::RuleSet;

/// The board.
#[derive(Debug)]
pub struct Board {
    moved: AtomicU64,
    snapshot: Mutex<Arc<Snapshot>>,
    rules: Mutex<Arc<RuleSet>>,
    coverage: Option<Coverage>,
    pub(crate) desk: Desk,
}

impl Board {
    /// An empty board of an agent with this coverage and these rules.
    pub fn new(coverage: Option<Coverage>, rules: Arc<RuleSet>) -> Self {
        Self {
            moved: AtomicU64::new(boot_now()),
            snapshot: Mutex::default(),
            rules: Mutex::new(rules),
            coverage,
            desk: Desk::default(),
        }
    }

    /// A turn of the agent is done.
    pub fn moved(&self, now: BootNs) {
        self.moved.store(now, Relaxed);
    }

    /// Replaces the snapshot.
    pub fn put(&self, snapshot: Snapshot) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }

    /// Other rules are in force.
    pub fn put_rules(&self, rules: Arc<RuleSet>) {
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// How the agent is now.
    pub fn status(&self) -> Status {
        Status::new(Snapshot::clone(&self.snapshot()), self.moved.load(Relaxed), boot_now())
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<RuleSet> {
        Arc::clone(&self.rules.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the agent sees of this host.
    pub fn coverage(&self) -> Option<&Coverage> {
        self.coverage.as_ref()
    }
}
