//! What was said of how workers are set up outlives the agent: it is not said again after a restart, and of a worker that
//! ended meanwhile it is over.

use std::path::{Path, PathBuf};

use super::Agent;
use crate::alert::{Severity, State};
use crate::detect::{SavedPosture, boot_now};
use crate::kernel::Probes;
use crate::state_dir::{self, Before};

const FILE: &str = "postures.json";
/// Larger is no file of ours: bytes.
const LARGEST: u64 = 64 << 20;
/// It is written this often at most, in seconds.
const WRITE_EVERY: u64 = 10;
const CONDITION: &str = "posture-state";

/// The file.
pub(super) struct Postures {
    path: PathBuf,
    failing: bool,
    unwritten: Option<Vec<SavedPosture>>,
}

impl<P: Probes> Agent<P> {
    /// From now on what is said of postures is kept in this directory; goes on with what an earlier run said.
    pub fn keep_postures(&mut self, state_dir: &Path) {
        let now = boot_now();
        let path = state_dir.join(FILE);
        match read(&path) {
            Ok(saved) => self.pipeline.resume_postures(saved, now),
            Err(why) => {
                let title =
                    "What was said of how workers are set up is not known any more, and is said again";
                let detail = format!("{}: {why}", path.display());
                self.say_health(State::Closed, Severity::Low, CONDITION, title, detail);
            }
        }
        let made = state_dir::make(state_dir);
        self.postures = Some(Postures { path, failing: false, unwritten: None });
        if let Err(error) = made {
            self.say_postures_not_kept(error.to_string());
        }
    }

    /// The duties of a second.
    pub(super) fn keep_said_postures(&mut self, turn: u64) {
        if self.postures.is_none() {
            return;
        }
        let changed = self.pipeline.take_changed_postures();
        if let Some(postures) = &mut self.postures
            && changed.is_some()
        {
            postures.unwritten = changed;
        }
        let due = turn.is_multiple_of(WRITE_EVERY);
        if due
            && self.postures.as_ref().is_some_and(|postures| postures.unwritten.is_some())
            && self.all_spooled()
        {
            self.write_postures();
        }
    }

    /// The end, or a time to write: what the file says was said is in the spool.
    pub(super) fn write_postures(&mut self) {
        let Some(postures) = &mut self.postures else { return };
        if let Some(changed) = self.pipeline.take_changed_postures() {
            postures.unwritten = Some(changed);
        }
        let Some(said) = &postures.unwritten else { return };
        let result = write(&postures.path, said);
        let was_failing = std::mem::replace(&mut postures.failing, result.is_err());
        match result {
            Ok(()) => {
                postures.unwritten = None;
                if was_failing {
                    let title = "What is said of how workers are set up is kept over a restart again";
                    self.say_health(State::Closed, Severity::Info, CONDITION, title, String::new());
                }
            }
            Err(error) if !was_failing => self.say_postures_not_kept(error.to_string()),
            Err(_) => {}
        }
    }

    fn say_postures_not_kept(&mut self, detail: String) {
        if let Some(postures) = &mut self.postures {
            postures.failing = true;
        }
        let title = "What is said of how workers are set up is not kept over a restart";
        tracing::warn!(detail, "{title}");
        self.say_health(State::Open, Severity::Low, CONDITION, title, detail);
    }
}

fn read(path: &Path) -> Result<Vec<SavedPosture>, String> {
    let text = match state_dir::read_text(path, LARGEST) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// Not synced: what a power cut takes is the boot those workers belong to.
fn write(path: &Path, said: &[SavedPosture]) -> std::io::Result<()> {
    let half = path.with_extension("new");
    state_dir::replace(path, &half, &serde_json::to_vec(said)?, Before::Written)
}
