//! Up to when what workers did is judged: what the next start of the agent has to make up for if this one is killed now.
//!
//! That the rings were read is not enough. Events of a new container wait for its pod, those of a new cgroup until somebody
//! says whose it is, and those of a process whose exec is on its way for that: a kill forgets them all, and gaps that are not said yet.

use super::Pipeline;
use crate::event::{Body, BootNs, Event};

/// What was forked by then may have executed something since: a fork and the exec after it are two records. ns.
const BETWEEN_FORK_AND_EXEC: BootNs = 1_000_000_000;
/// What is executed later than this after its process began is not the beginning of that process. ns.
const BEGINNING: BootNs = 10_000_000_000;

/// Up to when everything is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Everything that happened before is, boot-time ns.
    pub until: BootNs,
    /// Processes that began after this, boot-time ns, may not have been judged by what they execute.
    pub born: BootNs,
}

impl Pipeline {
    /// Up to when everything is judged, if everything written before `read` was taken.
    pub fn judged(&self, read: BootNs) -> Judged {
        let judged = self.judged_by(read);
        let born = judged.born.min(judged.until.saturating_sub(BETWEEN_FORK_AND_EXEC));
        Judged { until: self.and_said(judged.until), born }
    }

    /// The same at the end in order: every exec that was written was taken, so that of those that began a moment ago only who has
    /// executed nothing yet is left to be judged.
    pub fn judged_at_end(&self, read: BootNs) -> Judged {
        let judged = self.judged_by(read);
        let since = judged.until.saturating_sub(BETWEEN_FORK_AND_EXEC);
        let processes = self.processes.iter().map(|(_, process)| process);
        let has_only_begun = processes.filter(|process| {
            process.exited.is_none()
                && process.key.start > since
                && process.image().is_some_and(|image| image.forked)
        });
        let first = has_only_begun.map(|process| process.key.start.saturating_sub(1)).min();
        let born = judged.born.min(first.unwrap_or(judged.until));
        Judged { until: self.and_said(judged.until), born }
    }

    fn judged_by(&self, read: BootNs) -> Judged {
        let mut judged = Judged { until: read, born: read };
        let held = self.held_for_pods().chain(self.held_for_cgroups()).chain(self.join.held());
        held.for_each(|event| judged.lacks(event));
        judged.born = judged.born.min(judged.until);
        if let Some(start) = self.first_missed() {
            judged.born = judged.born.min(start.saturating_sub(1));
        }
        judged
    }

    /// A gap of a kind that was said a moment ago is said later, and a kill forgets it. Who began in it was judged all the same, as far
    /// as its records came.
    fn and_said(&self, judged: BootNs) -> BootNs {
        self.gaps.first_unsaid().map_or(judged, |from| from.min(judged))
    }
}

impl Judged {
    fn lacks(&mut self, event: &Event) {
        self.until = self.until.min(event.time);
        // The first program of a container is begun by its runtime, outside, before it is executed inside.
        let start = event.subject.key.start;
        let begins = event.time.saturating_sub(start) < BEGINNING;
        if matches!(event.body, Body::Exec(_)) && start != 0 && begins {
            self.born = self.born.min(start.saturating_sub(1));
        }
    }
}
