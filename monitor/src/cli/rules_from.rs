//! Which rule files are used.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::profile::{RuleError, RuleErrors, RuleSet, Source};

/// Where the rules come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesFrom {
    /// These directories.
    Directories(Vec<PathBuf>),
    /// The program itself.
    Shipped,
}

impl RulesFrom {
    /// The directories given on the command line; else those of the configuration that are there; else the rules inside
    /// the program. A directory given by hand has to be there.
    pub fn choose(given: &[PathBuf], configured: &[PathBuf]) -> Self {
        if !given.is_empty() {
            return Self::Directories(given.to_vec());
        }
        let there: Vec<PathBuf> = configured.iter().filter(|path| path.exists()).cloned().collect();
        if there.iter().any(|path| has_rules(path)) { Self::Directories(there) } else { Self::Shipped }
    }
}

impl RulesFrom {
    /// Copies of folders, or the rules inside the program if there are none.
    pub(super) fn kept(folders: &[PathBuf]) -> Self {
        if folders.is_empty() { Self::Shipped } else { Self::Directories(folders.to_vec()) }
    }
}

/// Refuses rule files that belong to somebody else than root or us. Links are followed: in a ConfigMap's folder, which everybody
/// may write to, each file is one.
pub(super) fn check_owners(from: &RulesFrom) -> Result<(), RuleErrors> {
    let RulesFrom::Directories(folders) = from else { return Ok(()) };
    let us = nix::unistd::geteuid().as_raw();
    let files = folders.iter().filter_map(|folder| crate::profile::rule_files(folder)).flatten();
    let errors: Vec<RuleError> = files
        .filter_map(|file| {
            let owner = fs::metadata(&file).ok()?.uid();
            (owner != 0 && owner != us).then(|| RuleError {
                file: file.to_string_lossy().into(),
                line: 0,
                column: 0,
                what: format!("it is owned by uid {owner}, who could change the rules"),
                fix: "make it root's: chown root".to_owned(),
            })
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(RuleErrors(errors)) }
}

/// Whether a folder holds a rule file, or cannot be read.
pub(super) fn has_rules(folder: &Path) -> bool {
    crate::profile::rule_files(folder).is_none_or(|files| !files.is_empty())
}

impl fmt::Display for RulesFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shipped => f.write_str("the rules inside the program"),
            Self::Directories(list) => {
                let names: Vec<String> = list.iter().map(|path| path.display().to_string()).collect();
                f.write_str(&names.join(", "))
            }
        }
    }
}

/// Loads the rules, all or nothing.
pub fn load_rules(from: &RulesFrom) -> Result<Arc<RuleSet>, RuleErrors> {
    match from {
        RulesFrom::Directories(list) => RuleSet::load(list),
        RulesFrom::Shipped => RuleSet::from_sources(&shipped()),
    }
}

/// The rule files inside the program.
pub fn shipped() -> Vec<Source> {
    shipped_rules::FILES
        .iter()
        .map(|(file, text)| Source { file: Arc::from(*file), text: (*text).to_owned(), layer: 0 })
        .collect()
}
