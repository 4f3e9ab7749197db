//! Which rule files are used.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::profile::{RuleErrors, RuleSet, Source};

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
