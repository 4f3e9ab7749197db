//! How processes of one worker stand to each other, and to the files they reach.

use super::model::{Process, ProcessRef};
use super::table::ProcessTable;
use crate::profile::ProcTarget;

impl ProcessTable {
    /// Whose /proc entry `target` is, seen from `actor` at its image `author_root` and standing.
    pub fn proc_target(&self, actor: ProcessRef, target: u32) -> ProcTarget {
        let Some((actor_process, at)) = self.get(actor).zip(self.find_pid(target)) else {
            return ProcTarget::Outside;
        };
        if at == actor {
            return ProcTarget::Own;
        }
        let Some(process) = self.get(at).filter(|process| process.label == actor_process.label) else {
            return ProcTarget::Outside;
        };
        if self.lineage(at).any(|(ancestor, _)| ancestor == actor) {
            return ProcTarget::Descendant;
        }
        let root = |process: &Process| process.image().map_or(0, |image| image.author_root);
        match (root(process), root(actor_process)) {
            (0, _) if process.image().is_none_or(|image| !image.standing.below_author) => {
                ProcTarget::EngineSide
            }
            (0, _) => ProcTarget::OtherRun,
            (target, own) if target == own => ProcTarget::SameRun,
            _ => ProcTarget::OtherRun,
        }
    }

    /// Whether a mount namespace was made below this process, or in its own run: a sandbox or container that it started
    /// itself, and no way out of its own.
    pub fn is_nested(&self, actor: ProcessRef, mounts: u32) -> bool {
        let Some(home) = self.home_of(mounts) else { return false };
        let (Some(actor_process), Some(process)) = (self.get(actor), self.get(home)) else { return false };
        if process.label != actor_process.label || home == actor {
            return false;
        }
        let root = |process: &Process| process.image().map_or(0, |image| image.author_root);
        let below = self.lineage(home).any(|(ancestor, _)| ancestor == actor);
        below || (root(process) != 0 && root(process) == root(actor_process))
    }

    /// The working directory in which a process's run began: that of its author root's exec; on the engine's side that of
    /// its own.
    pub fn run_dir(&self, at: ProcessRef) -> Option<&str> {
        let image = self.get(at)?.image()?;
        let began = match image.author_root {
            0 => image,
            root => self.get(self.find_exec(root)?)?.image_of(root)?,
        };
        let cwd = &began.program.cwd;
        cwd.is_known().then_some(&*cwd.view)
    }
}
