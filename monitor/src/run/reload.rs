//! Rules are loaded again on SIGHUP and when a file changes: all or nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::Agent;
use crate::alert::{Severity, State};
use crate::detect::boot_now;
use crate::kernel::Probes;
use crate::ledger::What;
use crate::profile::{RuleErrors, RuleSet};

/// Loads the rules anew.
pub type Load = Box<dyn Fn() -> Result<Arc<RuleSet>, RuleErrors>>;

/// Where the rules come from, and a watch on it.
pub struct RuleFiles {
    load: Load,
    folders: Vec<PathBuf>,
    inotify: Option<Inotify>,
    refused: bool,
}

impl RuleFiles {
    /// Rules that `load` reads from these folders (none: rules inside the program, never changing).
    pub fn new(load: Load, folders: Vec<PathBuf>) -> Self {
        let mut files = Self { load, folders, inotify: None, refused: false };
        if !files.folders.is_empty() {
            match Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK) {
                Ok(inotify) => files.inotify = Some(inotify),
                Err(error) => {
                    tracing::warn!(%error, "rule files are not watched; send SIGHUP after a change")
                }
            }
            files.watch_folders();
        }
        files
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Whether a rule file changed since the last call; also watches folders that are new.
    pub(super) fn changed(&mut self) -> bool {
        let Some(inotify) = &self.inotify else { return false };
        let mut changed = false;
        while let Ok(events) = inotify.read_events() {
            changed |= events.iter().any(|event| {
                event.mask.intersects(AddWatchFlags::IN_ISDIR | AddWatchFlags::IN_Q_OVERFLOW)
                    || event
                        .name
                        .as_ref()
                        .is_some_and(|name| Path::new(name).extension().is_some_and(|e| e == "yaml"))
            });
        }
        if changed {
            self.watch_folders();
        }
        changed
    }

    fn watch_folders(&self) {
        for folder in &self.folders {
            if let Err(error) = self.watch(folder) {
                tracing::warn!(folder = %folder.display(), %error, "rule folder is not watched; send SIGHUP after a change");
            }
        }
    }

    fn watch(&self, folder: &Path) -> io::Result<()> {
        let Some(inotify) = &self.inotify else { return Ok(()) };
        // Written files, not those being written; moves are how editors and kubelet replace files.
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(folder, flags)?;
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.watch(&entry.path())?;
            }
        }
        Ok(())
    }
}

impl<P: Probes> Agent<P> {
    /// Loads the rules again. The old set stays in force if the new one is bad, and people are told.
    pub(super) fn reload(&mut self, why: &str) {
        let now = boot_now();
        match (self.rules.load)() {
            Ok(rules) if rules.digest() == self.pipeline.rules().digest() && !self.rules.refused => {
                tracing::info!(why, digest = rules.digest(), "rules unchanged");
            }
            Ok(rules) => {
                tracing::info!(why, digest = rules.digest(), "rules loaded");
                let digest = rules.digest().to_owned();
                self.pipeline.reload(rules, now);
                self.log(What::Rules { rules: digest.clone(), why: why.to_owned() });
                if std::mem::take(&mut self.rules.refused) {
                    self.say_rules(
                        State::Closed,
                        Severity::Info,
                        "Rule files are good again".to_owned(),
                        format!("{digest} is in force"),
                    );
                }
            }
            Err(errors) => {
                tracing::error!(why, "rules refused, the old set stays in force:\n{errors}");
                self.rules.refused = true;
                self.log(What::refused(why, &errors.to_string()));
                self.say_rules(
                    State::Open,
                    Severity::Medium,
                    "Changed rule files were refused; the old rules stay in force".to_owned(),
                    errors.to_string(),
                );
            }
        }
    }

    fn say_rules(&mut self, state: State, severity: Severity, title: String, detail: String) {
        let now = boot_now();
        let mut alert =
            self.pipeline.detector.envelope.health(severity, state, now, "rules-refused", title, detail);
        if state == State::Closed {
            alert.closed_by = Some(crate::alert::ClosedBy::Recovered);
        }
        self.pipeline.say(alert);
    }

    /// The kernel's filter could not be replaced.
    pub(super) fn say_filter_failed(&mut self, error: &super::RunError) {
        tracing::error!(%error, "the kernel's watched-path filter was not replaced");
        let now = boot_now();
        let alert = self.pipeline.detector.envelope.health(
            Severity::High,
            State::Open,
            now,
            "filter",
            "The kernel's watched-path filter could not be replaced; the one before stays in force"
                .to_owned(),
            error.to_string(),
        );
        self.pipeline.say(alert);
    }
}
