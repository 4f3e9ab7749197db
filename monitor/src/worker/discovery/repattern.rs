//! Other patterns while the agent runs.

use super::{Change, Discovery, Known, LabelMap};
use crate::event::BootNs;
use crate::worker::{CgroupPatterns, Workers};

impl Discovery {
    /// Takes other patterns: workers that no pattern names any more are let go, the assignments of the others are those of the new
    /// ones. A scan finds what is new.
    pub fn set_patterns(
        &mut self,
        patterns: CgroupPatterns,
        map: &mut dyn LabelMap,
        workers: &mut Workers,
        now: BootNs,
    ) -> Vec<Change> {
        self.patterns = patterns;
        let mut changes = Vec::new();
        for worker in workers.iter_mut().filter(|worker| worker.gone.is_none()) {
            match self.patterns.assignment(&worker.path) {
                Some(assignment) if *assignment == worker.assignment => {}
                Some(assignment) => worker.reassign(assignment.clone()),
                None => changes.push(Change::Gone { label: worker.label }),
            }
        }
        let labels: Vec<u32> = changes
            .iter()
            .map(|change| if let Change::Gone { label } = change { *label } else { 0 })
            .collect();
        let is_let_go = |known: &Known| known.label.is_none_or(|label| labels.contains(&label));
        for (path, known) in self.known.extract_if(.., |_, known| is_let_go(known)) {
            self.paths.remove(&known.cgroup);
            workers.unplace(known.cgroup);
            let result = match known.label {
                Some(label) => {
                    workers.gone(label, known.cgroup, now);
                    map.unlabel(known.cgroup)
                }
                None if known.hands_down && !self.patterns.may_match_below(&path) => {
                    map.hand_down_no_more(known.cgroup)
                }
                None => Ok(()),
            };
            if let Err(reason) = result {
                let reason = format!("its label cannot be removed: {reason}");
                changes.push(Change::Unwatched { path, reason });
            }
        }
        for (path, known) in &mut self.known {
            let hands_down = self.patterns.may_match_below(path);
            if known.hands_down != hands_down {
                known.hands_down = hands_down;
                let set = if hands_down {
                    map.hand_down(known.cgroup)
                } else {
                    map.hand_down_no_more(known.cgroup)
                };
                if let Err(reason) = set {
                    changes.push(Change::Unwatched { path: path.clone(), reason });
                }
            }
        }
        changes
    }
}
