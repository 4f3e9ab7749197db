//! What the acting process of a new incident could read.

use crate::detect::Scene;
use crate::process::{Credentials, ProcReader};
use crate::worker::{KnownFiles, Reach, RootFiles, is_credential_name};

/// Processes asked, should the acting one be gone: those above it.
const ASKED_MAX: usize = 4;

/// Where it is looked up.
pub(super) struct Surroundings<'a> {
    pub(super) proc: &'a dyn ProcReader,
    pub(super) roots: &'a dyn RootFiles,
    pub(super) files: &'a KnownFiles,
}

impl Surroundings<'_> {
    /// Looked up now, through the acting process, or if it is gone through the nearest above it that lives: it has the same
    /// root, and the environment was inherited from it.
    pub(super) fn reach(&self, scene: &Scene<'_>) -> Reach {
        let subject = &scene.event.subject;
        let living = scene
            .processes
            .lineage(scene.at)
            .map(|(_, process)| process)
            .filter(|process| process.exited.is_none() && process.label == subject.label)
            .take(ASKED_MAX);
        let mut reach = Reach::default();
        let mut looked = false;
        for process in living {
            let pid = process.key.pid;
            if reach.environment.is_empty() {
                reach.environment = self.proc.variable_names(pid, &is_credential_name);
            }
            if looked {
                break;
            }
            let own = pid == subject.key.pid;
            let who = own.then(|| self.proc.credentials(pid)).flatten().unwrap_or_else(|| Credentials {
                uid: subject.uid,
                groups: vec![subject.gid],
                // Root without its capabilities is rare, and too much is better than too little here.
                capabilities: if subject.uid == 0 { u64::MAX } else { 0 },
            });
            let secrets = &scene.rules.kernel_filter().secrets;
            let began = std::time::Instant::now();
            if let Some((identities, cut)) = self.roots.readable(pid, &who, secrets) {
                let micros = began.elapsed().as_micros();
                tracing::debug!(
                    pid,
                    micros,
                    identities = identities.len(),
                    cut,
                    "looked up what is within reach"
                );
                reach.identities = identities;
                reach.cut = cut;
                looked = true;
            }
        }
        if !looked {
            // What the last look at the worker's root found, whoever may read it.
            reach.identities = self.files.reachable(subject.label).to_vec();
        }
        reach
    }
}
