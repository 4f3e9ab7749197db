//! Runs by the engine's event log: who may have done it, where nothing the kernel shows says who did.

use std::sync::Arc;

use super::Attributions;
use crate::alert::{self, Attributed};
use crate::detect::Scene;
use crate::event::BootNs;
use crate::profile::attribution::{Attribution, IdSource, IdTrust};
use crate::worker::RootFiles;

/// What a log said is taken for so long, ns: a flood of findings reads it once a second.
pub(super) const FRESH: BootNs = 1_000_000_000;
/// Processes asked, should the acting one be gone: those above it.
const ASKED_MAX: usize = 4;

impl Attributions {
    /// Adds what is running by the engine's log, if the profile names one and nothing else says which run it is: the run if
    /// there is one, else candidates.
    pub(in crate::pipeline) fn with_running(
        &mut self,
        known: Option<alert::Attribution>,
        scene: &Scene<'_>,
        items: &[Attribution],
        roots: &dyn RootFiles,
    ) -> Option<alert::Attribution> {
        if known.as_ref().is_some_and(|known| known.run.is_some()) {
            return known;
        }
        let paths = items.iter().find_map(|item| match &item.source {
            IdSource::EventLog(paths) => Some(paths),
            _ => None,
        });
        let Some(paths) = paths else { return known };
        let (label, now) = (scene.event.subject.label, scene.event.time);
        let asked = self.running.get(&label).is_some_and(|(at, _)| now.saturating_sub(*at) < FRESH);
        if !asked {
            let living = scene.processes.lineage(scene.at).map(|(_, process)| process);
            let running = living
                .filter(|process| process.exited.is_none() && process.label == label)
                .take(ASKED_MAX)
                .map(|process| roots.running(process.key.pid, paths))
                .find(|running| !running.is_empty());
            self.running.insert(label, (now, running.unwrap_or_default()));
        }
        let running = self.running.get(&label).map(|(_, running)| running.as_slice()).unwrap_or_default();
        let value = |value: &Arc<str>, source: String| Attributed {
            value: value.to_string(),
            source,
            trust: IdTrust::Candidate.name().to_owned(),
        };
        let mut attribution = known.unwrap_or_default();
        match running {
            [] => {}
            [only] => {
                attribution.run = Some(value(&only.run, "event log".to_owned()));
                if attribution.workflow.is_none() {
                    attribution.workflow =
                        only.workflow.as_ref().map(|workflow| value(workflow, "event log".to_owned()));
                }
            }
            many => {
                attribution.candidates = many
                    .iter()
                    .map(|one| {
                        let of =
                            one.workflow.as_deref().map_or(String::new(), |of| format!(", workflow {of}"));
                        value(&one.run, format!("event log{of}"))
                    })
                    .collect();
            }
        }
        (attribution != alert::Attribution::default()).then_some(attribution)
    }
}
