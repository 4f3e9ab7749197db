//! The last good configuration: a copy of what the agent runs with, for a start at which the present one is bad.
//!
//! `STATE_DIR/last-good` holds the configuration file and, folder by folder, the rule files. It is replaced as a whole, and only by a
//! set that an agent watches with.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Agent;
use crate::alert::{Severity, State};
use crate::kernel::Probes;
use crate::profile::rule_files;
use crate::state_dir::{self, StateError};

const FOLDER: &str = "last-good";
/// The one before, while it is replaced.
const BEFORE: &str = "last-good.old";
const CONFIG: &str = "sandwatch.yaml";
const RULES: &str = "rules";
/// Digests of what is in it.
const DIGEST: &str = "digest";

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastGood {
    /// The configuration file; `None`: there was none.
    pub config: Option<PathBuf>,
    /// Folders of rules, in their order; empty: the rules inside the program.
    pub rules: Vec<PathBuf>,
}

impl LastGood {
    /// What is kept below this state directory.
    pub fn find(state_dir: &Path) -> Option<Self> {
        [FOLDER, BEFORE].into_iter().find_map(|name| Self::of(&state_dir.join(name)))
    }

    fn of(folder: &Path) -> Option<Self> {
        // Written last.
        if !folder.join(DIGEST).is_file() || state_dir::check_owner(folder).is_err() {
            return None;
        }
        let config = Some(folder.join(CONFIG)).filter(|path| path.is_file());
        let mut rules = Vec::new();
        for number in 0.. {
            let path = folder.join(RULES).join(number.to_string());
            if !path.is_dir() {
                break;
            }
            rules.push(path);
        }
        Some(Self { config, rules })
    }

    /// Keeps this configuration file and these folders of rules, if they are not what is kept already.
    ///
    /// # Errors
    /// The state directory cannot be written.
    pub fn keep(
        state_dir: &Path,
        config: Option<&Path>,
        rules: &[PathBuf],
        digest: &str,
    ) -> Result<(), StateError> {
        let folder = state_dir.join(FOLDER);
        if fs::read_to_string(folder.join(DIGEST)).is_ok_and(|kept| kept == digest) {
            return Ok(());
        }
        state_dir::make(state_dir)?;
        let new = state_dir.join(format!("{FOLDER}.new"));
        remove(&new)?;
        DirBuilder::new().mode(0o700).create(&new).map_err(state_dir::io_error(&new, "make it"))?;
        if let Some(config) = config {
            copy(config, &new.join(CONFIG))?;
        }
        for (number, from) in rules.iter().enumerate() {
            let to = new.join(RULES).join(number.to_string());
            state_dir::make(&to)?;
            let unreadable =
                || state_dir::io_error(from, "read the rules in it")(io::ErrorKind::Other.into());
            for file in rule_files(from).ok_or_else(unreadable)? {
                let Ok(name) = file.strip_prefix(from) else { continue };
                let target = to.join(name);
                if let Some(above) = target.parent() {
                    state_dir::make(above)?;
                }
                copy(&file, &target)?;
            }
        }
        write(&new.join(DIGEST), digest.as_bytes())
            .map_err(state_dir::io_error(&new.join(DIGEST), "write it"))?;
        let before = state_dir.join(BEFORE);
        remove(&before)?;
        replace(&new, &folder, &before).map_err(state_dir::io_error(&folder, "replace it"))?;
        remove(&before)
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), StateError> {
    let bytes = fs::read(from).map_err(state_dir::io_error(from, "read it"))?;
    write(to, &bytes).map_err(state_dir::io_error(to, "write it"))
}

fn write(to: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Puts `new` in the place of `old`. For a moment there is only `before`, which is looked for too.
fn replace(new: &Path, old: &Path, before: &Path) -> io::Result<()> {
    match fs::rename(old, before) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(new, old)
}

fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(state_dir::io_error(path, "remove it")(error))
        }
        _ => Ok(()),
    }
}

impl<P: Probes> Agent<P> {
    /// From now on what the agent runs with is kept below the state directory. `config` is its file.
    pub fn keep_last_good(&mut self, state_dir: &Path, config: Option<PathBuf>) {
        self.kept = Some(Keep { state_dir: state_dir.to_owned(), config });
        self.keep_good();
    }

    /// The agent runs with the last good configuration, because the present one is bad.
    pub fn runs_on_last_good(&mut self, state_dir: &Path, config: Option<PathBuf>, why: &str) {
        self.kept = Some(Keep { state_dir: state_dir.to_owned(), config });
        if let Some(reporter) = &mut self.reporter {
            reporter.config.last_good = true;
        }
        self.say_last_good(Some(why));
        self.post();
    }

    /// Keeps what is in force. That it cannot is said, and ends nothing.
    pub(super) fn keep_good(&mut self) {
        let Some(kept) = &self.kept else { return };
        let digest = format!("{} {}", self.config_digest, self.pipeline.rules().digest());
        let folders = self.rules.folders();
        if let Err(error) = LastGood::keep(&kept.state_dir, kept.config.as_deref(), folders, &digest) {
            let title = "The configuration in force cannot be kept for a start at which it is bad";
            tracing::warn!(%error, "{title}");
            self.say_health(State::Open, Severity::Low, "last-good-copy", title, error.to_string());
        }
    }
}

/// Where what is in force is kept, and which file it is.
pub(super) struct Keep {
    state_dir: PathBuf,
    config: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_a_whole_copy_and_a_later_one_replaces_it() {
        let dir = tempfile::tempdir().unwrap();
        let (state, rules, config) =
            (dir.path().join("state"), dir.path().join("rules"), dir.path().join("c.yaml"));
        fs::create_dir_all(rules.join("profiles")).unwrap();
        fs::create_dir_all(rules.join("tests")).unwrap();
        fs::write(rules.join("profiles/toy.yaml"), "first").unwrap();
        fs::write(rules.join("tests/toy.yaml"), "a test").unwrap();
        fs::write(&config, "one").unwrap();
        assert_eq!(LastGood::find(&state), None);
        let keep = |digest: &str| {
            LastGood::keep(&state, Some(&config), std::slice::from_ref(&rules), digest).unwrap();
            let kept = LastGood::find(&state).unwrap();
            let text = fs::read_to_string(kept.rules[0].join("profiles/toy.yaml")).unwrap();
            assert!(!kept.rules[0].join("tests").exists());
            (fs::read_to_string(kept.config.unwrap()).unwrap(), text)
        };
        assert_eq!(keep("1"), ("one".into(), "first".into()));
        fs::write(rules.join("profiles/toy.yaml"), "second").unwrap();
        fs::write(&config, "two").unwrap();
        assert_eq!(keep("1"), ("one".into(), "first".into()), "the same digest is the same set");
        assert_eq!(keep("2"), ("two".into(), "second".into()));
        assert!(!state.join("last-good.new").exists() && !state.join(BEFORE).exists());
        // Killed between the two renames.
        fs::rename(state.join(FOLDER), state.join(BEFORE)).unwrap();
        assert!(LastGood::find(&state).is_some());
    }

    #[test]
    fn folder_that_cannot_be_read_is_no_copy_without_rules() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        LastGood::keep(dir.path(), None, &[], "1").unwrap();
        let error = LastGood::keep(dir.path(), None, &[gone], "2").unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
        assert_eq!(LastGood::find(dir.path()).unwrap().rules, [] as [PathBuf; 0], "the one before stays");
    }

    #[test]
    fn half_a_copy_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("c.yaml");
        fs::write(&config, "one").unwrap();
        LastGood::keep(dir.path(), Some(&config), &[], "1").unwrap();
        assert_eq!(LastGood::find(dir.path()).unwrap().rules, [] as [PathBuf; 0]);
        fs::remove_file(dir.path().join(FOLDER).join(DIGEST)).unwrap();
        assert_eq!(LastGood::find(dir.path()), None);
    }
}
