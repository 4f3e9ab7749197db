//! Which run a lineage belongs to: taken once, where the profile says, from what was fixed before author code ran.

use std::collections::HashMap;
use std::sync::Arc;

use crate::alert::{Attributed, Attribution};
use crate::event::Exec;
use crate::process::{ProcessRef, ProcessTable};
use crate::profile::{self, RoleId};

/// Fields taken at execs, by the exec's number; what is below inherits them through its lineage.
#[derive(Default)]
pub(super) struct Attributions {
    taken: HashMap<u64, Vec<(Arc<str>, Attributed)>>,
}

impl Attributions {
    /// Takes what an exec's environment says, where the profile asks for it there. `read`: what /proc showed, where the
    /// kernel did not take it at the exec itself.
    pub(super) fn note(
        &mut self,
        rules: &[profile::Attribution],
        exec_id: u64,
        author_root: bool,
        role: Option<RoleId>,
        exec: &Exec,
        read: Option<&[(Arc<str>, Arc<str>)]>,
    ) {
        let mut fields = Vec::new();
        for rule in rules {
            let here = match rule.at {
                None => author_root,
                Some(at) => role == Some(at),
            };
            let Some((_, value)) =
                read.unwrap_or(&exec.env).iter().find(|(name, _)| here && **name == *rule.env)
            else {
                continue;
            };
            // An incomplete scan may have missed a second value; /proc may have been rewritten by the process.
            let trust = match (exec.env_from_kernel, exec.env_incomplete) {
                (true, false) => rule.trust.to_string(),
                (true, true) => "candidate".to_owned(),
                (false, _) => "scan".to_owned(),
            };
            let source = format!("env {}", rule.env);
            fields.push((rule.field.clone(), Attributed { value: value.to_string(), source, trust }));
        }
        if !fields.is_empty() {
            self.taken.insert(exec_id, fields);
        }
    }

    /// The attribution of a process: of each field the value nearest above it.
    pub(super) fn of(&self, processes: &ProcessTable, at: ProcessRef) -> Option<Attribution> {
        if self.taken.is_empty() {
            return None;
        }
        let mut attribution = Attribution::default();
        for (_, process) in processes.lineage(at) {
            for image in process.images.iter().rev() {
                for (field, value) in self.taken.get(&image.exec_id).into_iter().flatten() {
                    let slot = match &**field {
                        "workflow" => &mut attribution.workflow,
                        "run" => &mut attribution.run,
                        "step" => &mut attribution.step,
                        "actor" => &mut attribution.actor,
                        "tenant" => &mut attribution.tenant,
                        _ => continue,
                    };
                    slot.get_or_insert_with(|| value.clone());
                }
            }
        }
        (attribution != Attribution::default()).then_some(attribution)
    }

    /// Forgets execs that nothing descends from any more.
    pub(super) fn keep(&mut self, is_known: impl Fn(u64) -> bool) {
        self.taken.retain(|exec_id, _| is_known(*exec_id));
    }
}
