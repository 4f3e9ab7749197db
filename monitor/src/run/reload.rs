//! Rules and configuration are loaded again on SIGHUP and when a file changes: all or nothing.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use super::Agent;
use crate::alert::{Severity, State};
use crate::config::Config;
use crate::detect::boot_now;
use crate::kernel::Probes;
use crate::ledger::What;
use crate::profile::{RuleErrors, RuleSet};

/// What was loaded.
pub struct Loaded {
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// The configuration, if it is loaded again too.
    pub config: Option<NewConfig>,
}

/// A configuration that was loaded again.
pub struct NewConfig {
    /// It.
    pub config: Config,
    /// Its digest.
    pub digest: String,
    /// Where its rules are.
    pub folders: Vec<PathBuf>,
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The rules are bad.
    #[error(transparent)]
    Rules(#[from] RuleErrors),
    /// The configuration is.
    #[error("{0}")]
    Config(String),
}

/// Loads anew.
pub type Load = Box<dyn Fn() -> Result<Loaded, Refused>>;

/// Why something is loaded again that a signal asks for.
pub(super) const ASKED: &str = "SIGHUP";

/// What the kubelet exchanges when a ConfigMap changes.
const DATA: &str = "..data";

fn is_rule(event: &InotifyEvent) -> bool {
    let is_yaml = |name: &Path| name.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    event.mask.contains(AddWatchFlags::IN_ISDIR)
        || event.name.as_deref().is_some_and(|name| name == DATA || is_yaml(Path::new(name)))
}

/// Where rules and configuration come from, and a watch on it.
pub struct RuleFiles {
    load: Load,
    folders: Vec<PathBuf>,
    /// The configuration file: its folder is watched.
    config: Option<PathBuf>,
    inotify: Option<Inotify>,
    config_watch: Option<WatchDescriptor>,
    /// Why the rules were refused, and why the configuration was, as it was said.
    refused: Option<String>,
    config_refused: Option<String>,
}

impl RuleFiles {
    /// Rules that `load` reads from these folders (none: rules inside the program, never changing).
    pub fn new(load: Box<dyn Fn() -> Result<Arc<RuleSet>, RuleErrors>>, folders: Vec<PathBuf>) -> Self {
        Self::whole(Box::new(move || Ok(Loaded { rules: load()?, config: None })), folders, None)
    }

    /// The same with the configuration, whose file is this one.
    pub fn whole(load: Load, folders: Vec<PathBuf>, config: Option<PathBuf>) -> Self {
        let mut files = Self {
            load,
            folders,
            config,
            inotify: None,
            config_watch: None,
            refused: None,
            config_refused: None,
        };
        if !files.folders.is_empty() || files.config.is_some() {
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

    pub(super) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Whether a changed set was refused, and the one in force is older than the files.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Whether a changed configuration was.
    pub(super) fn is_config_refused(&self) -> bool {
        self.config_refused.is_some()
    }

    /// Whether a file changed since the last call; also watches folders that are new.
    pub(super) fn changed(&mut self) -> bool {
        let Some(inotify) = &self.inotify else { return false };
        let mut changed = false;
        while let Ok(events) = inotify.read_events() {
            changed |= events.iter().any(|event| {
                event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW)
                    || if Some(event.wd) == self.config_watch {
                        self.is_config(event)
                    } else {
                        is_rule(event)
                    }
            });
        }
        if changed {
            self.watch_folders();
        }
        changed
    }

    /// Whether this is about the configuration file: its folder may have other files, and come and go as they like.
    fn is_config(&self, event: &InotifyEvent) -> bool {
        let Some(name) = event.name.as_deref() else { return false };
        let Some(config) = self.config.as_deref() else { return false };
        // A file that was just made is empty, and said again when it is written. A link is whole.
        let is_made = event.mask.contains(AddWatchFlags::IN_CREATE) && !config.is_symlink();
        name == DATA || (Some(name) == config.file_name() && !is_made)
    }

    fn watch_folders(&mut self) {
        let mut watch = None;
        if let Some(folder) = self.config.as_deref().and_then(Path::parent) {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            match self.watch_one(folder) {
                Ok(descriptor) => watch = descriptor,
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "the configuration is not watched; send SIGHUP after a change");
                }
            }
        }
        let holds_rules = self
            .config
            .as_deref()
            .and_then(Path::parent)
            .is_some_and(|folder| self.folders.iter().any(|rules| folder.starts_with(rules)));
        self.config_watch = watch.filter(|_| !holds_rules);
        for folder in &self.folders {
            if let Err(error) = self.watch(folder) {
                tracing::warn!(folder = %folder.display(), %error, "rule folder is not watched; send SIGHUP after a change");
            }
        }
    }

    fn watch(&self, folder: &Path) -> io::Result<()> {
        self.watch_one(folder)?;
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.watch(&entry.path())?;
            }
        }
        Ok(())
    }

    fn watch_one(&self, folder: &Path) -> io::Result<Option<WatchDescriptor>> {
        let Some(inotify) = &self.inotify else { return Ok(None) };
        // Written files, not those being written; moves are how editors and kubelet replace files.
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_ONLYDIR;
        Ok(Some(inotify.add_watch(folder, flags)?))
    }
}

impl<P: Probes> Agent<P> {
    /// Loads rules and configuration again. The old ones stay in force, both, if one of the new is bad, and people are told.
    pub(super) fn reload(&mut self, why: &str) {
        if self.outlets_change(why) {
            return;
        }
        let loaded = (self.rules.load)().and_then(|loaded| {
            loaded.config.as_ref().map_or(Ok(()), |new| self.can_take(&new.config))?;
            Ok(loaded)
        });
        match loaded {
            Ok(loaded) => self.take_if_sinks_can(loaded, why),
            Err(Refused::Rules(errors)) => self.refuse_rules(why, &errors),
            Err(Refused::Config(error)) => self.refuse_config(why, error),
        }
    }

    /// Takes what was loaded and found good.
    pub(super) fn take(&mut self, loaded: Loaded, why: &str) {
        let whole = loaded.config.is_none_or(|new| self.take_config(new, why));
        self.take_rules(loaded.rules, why);
        if whole && !self.sinks.is_exchanging() {
            self.config_is_good();
        }
        crate::frugal::give_back();
    }

    fn take_rules(&mut self, rules: Arc<RuleSet>, why: &str) {
        let digest = rules.digest().to_owned();
        if digest == self.pipeline.rules().digest() && !self.rules.is_refused() {
            tracing::info!(why, digest, "rules unchanged");
            if why == ASKED {
                // It was asked for, and sinks have read their secrets again: who looks later finds that it was.
                self.log(What::Rules { rules: digest, why: why.to_owned() });
            }
            return;
        }
        self.pipeline.reload(rules, boot_now());
        // Who reads that they are loaded may rely on it: the kernel's filter is theirs by then.
        self.apply_effects();
        tracing::info!(why, digest, "rules loaded");
        self.say_skipped();
        self.post_rules();
        self.log(What::Rules { rules: digest.clone(), why: why.to_owned() });
        if self.rules.refused.take().is_some() {
            self.say_rules(
                State::Closed,
                Severity::Info,
                "Rule files are good again".to_owned(),
                format!("{digest} is in force"),
            );
        }
    }

    fn refuse_rules(&mut self, why: &str, errors: &RuleErrors) {
        tracing::error!(why, "rules refused, the old set stays in force:\n{errors}");
        let text = errors.to_string();
        // One change may be noticed in several steps.
        if self.rules.refused.replace(text.clone()).as_deref() == Some(&*text) {
            return;
        }
        self.log(What::refused(why, &text));
        let title = "Changed rule files were refused; the old rules stay in force".to_owned();
        self.say_rules(State::Open, Severity::Medium, title, text);
    }

    pub(super) fn refuse_config(&mut self, why: &str, error: String) {
        let title = "The changed configuration was refused; the old one stays in force";
        self.say_refused(why, Severity::Medium, title, error);
    }

    /// Says that not all of a changed configuration is in force; to people once for each reason.
    pub(super) fn say_refused(&mut self, why: &str, severity: Severity, title: &str, error: String) {
        tracing::error!(why, error, "configuration refused: {title}");
        if self.rules.config_refused.replace(error.clone()).as_deref() == Some(&*error) {
            return;
        }
        self.say_health(State::Open, severity, "config-refused", title, error);
    }

    /// Whether everything in a configuration can be taken while the agent runs.
    fn can_take(&self, new: &Config) -> Result<(), Refused> {
        let keys = self.needs_restart(new);
        if !keys.is_empty() {
            return Err(Refused::Config(format!(
                "{} changed, which needs a restart of the agent; nothing of the new configuration is in force until then",
                keys.join(", ")
            )));
        }
        Ok(())
    }

    /// The keys whose change cannot be taken while the agent runs.
    fn needs_restart(&self, new: &Config) -> Vec<&'static str> {
        let Some(old) = &self.config else { return Vec::new() };
        let changed = [
            ("state_dir", old.state_dir != new.state_dir),
            ("control", old.control != new.control),
            ("hooks", old.hooks != new.hooks),
            ("kernel", old.kernel != new.kernel),
        ];
        let named: Vec<&'static str> =
            changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect();
        // A key that this list does not know yet.
        let live = Config {
            cluster: old.cluster.clone(),
            environment: old.environment.clone(),
            labels: old.labels.clone(),
            workers: old.workers.clone(),
            rules: old.rules.clone(),
            heartbeat: old.heartbeat,
            drain: old.drain,
            sinks: old.sinks.clone(),
            spool: old.spool.clone(),
            listen: old.listen.clone(),
            pods: old.pods.clone(),
            containers: old.containers.clone(),
            ..new.clone()
        };
        if named.is_empty() && live != *old { vec!["something"] } else { named }
    }

    /// Takes a configuration that can be taken; whether nothing of it was refused all the same.
    fn take_config(&mut self, new: NewConfig, why: &str) -> bool {
        let NewConfig { config, digest, folders } = new;
        let was_last_good = self.reporter.as_mut().is_some_and(|reporter| {
            let was = std::mem::take(&mut reporter.config.last_good);
            reporter.config.digest.clone_from(&digest);
            was
        });
        let changed = self.config.as_ref().is_some_and(|old| *old != config);
        let mut stays = None;
        if changed {
            stays = self.apply_config(&config).err();
            tracing::info!(why, digest, "configuration loaded");
            let from = std::mem::replace(&mut self.config_digest, digest.clone());
            // The same file again, whose sinks could not be put in place before.
            if from != digest {
                self.log(What::ConfigChanged { from, to: digest.clone() });
            }
        }
        let new_folders: BTreeSet<&PathBuf> = folders.iter().collect();
        if new_folders != self.rules.folders.iter().collect() {
            self.rules.folders = folders;
            self.rules.watch_folders();
        }
        self.config = Some(config);
        if was_last_good {
            self.say_last_good(None);
        }
        match &stays {
            Some(why) => self.outlets_stay(why),
            None if !self.sinks.is_exchanging() => self.outlets_are_of(digest),
            None => {}
        }
        stays.is_none()
    }

    /// All of what was loaded is in force: it is what a later start falls back to, and a refusal before it is over.
    pub(super) fn config_is_good(&mut self) {
        if self.rules.config_refused.take().is_some() {
            let title = "The configuration is good again";
            self.say_health(State::Closed, Severity::Info, "config-refused", title, String::new());
        }
        self.keep_good();
    }

    fn apply_config(&mut self, config: &Config) -> Result<(), String> {
        super::outlets::follow(&mut self.pipeline.detector.envelope, config);
        let exchange = self.exchange_outlets(config);
        self.drain = config.drain.0;
        self.beat_every(config.heartbeat.every.0);
        if self.config.as_ref().is_some_and(|old| old.workers != config.workers) {
            match super::discover::patterns(config) {
                Ok(patterns) => self.watch_others(patterns),
                // It was checked when it was read.
                Err(error) => tracing::error!(%error, "workers of the new configuration"),
            }
        }
        exchange
    }

    /// Says that the last good configuration is in use, and why; or that it is not any more.
    pub(super) fn say_last_good(&mut self, why: Option<&str>) {
        match why {
            Some(why) => {
                let title = "The configuration or the rules are bad: the agent runs on the last good ones";
                self.say_health(State::Open, Severity::High, "last-good", title, why.to_owned());
            }
            None => {
                let title = "Configuration and rules are good again and in force";
                self.say_health(State::Closed, Severity::Info, "last-good", title, String::new());
            }
        }
    }

    /// Says which rule files are left out because they ask for a later version.
    pub(super) fn say_skipped(&mut self) {
        let skipped = self.pipeline.rules().skipped().to_vec();
        if skipped == self.skipped {
            return;
        }
        let (state, severity, title) = if skipped.is_empty() {
            (State::Closed, Severity::Info, "No rule file is left out any more")
        } else {
            (
                State::Open,
                Severity::Medium,
                "Rule files ask for a later version of the agent and are left out: update it",
            )
        };
        for file in &skipped {
            tracing::error!(file, "rule file left out");
        }
        self.say_health(state, severity, "rules-skipped", title, skipped.join("\n"));
        self.skipped = skipped;
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
