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

/// Refuses rule files that somebody else than root or us could change. Links are followed: in a ConfigMap's folder, which everybody
/// may write to, each file is one.
pub(super) fn check_owners(from: &RulesFrom) -> Result<(), RuleErrors> {
    let RulesFrom::Directories(folders) = from else { return Ok(()) };
    let files = folders.iter().filter_map(|folder| crate::profile::rule_files(folder)).flatten();
    let errors: Vec<RuleError> = files
        .filter_map(|file| {
            let meta = fs::metadata(&file).ok()?;
            let (what, fix) = others_may_change(meta.uid(), meta.mode())?;
            Some(RuleError {
                file: file.to_string_lossy().into(),
                line: 0,
                column: 0,
                what,
                fix: fix.to_owned(),
            })
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(RuleErrors(errors)) }
}

/// Who else could change a file of this owner and mode, and what to do about it.
fn others_may_change(owner: u32, mode: u32) -> Option<(String, &'static str)> {
    let us = nix::unistd::geteuid().as_raw();
    if owner != 0 && owner != us {
        return Some((
            format!("it is owned by uid {owner}, who could change the rules"),
            "make it root's: chown root",
        ));
    }
    let who = match mode & 0o022 {
        0 => return None,
        bits if bits & 0o002 != 0 => "everyone",
        _ => "its group",
    };
    Some((format!("it may be written by {who}, who could change the rules"), "take that away: chmod go-w"))
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

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const RULES: &str = "schema: sandwatch/identities/v1\nidentities: []\n";

    #[test]
    fn rule_file_that_its_group_or_everyone_may_write_is_refused_also_behind_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, elsewhere) = (dir.path().join("rules"), dir.path().join("elsewhere"));
        fs::create_dir(&folder).unwrap();
        fs::write(&elsewhere, RULES).unwrap();
        symlink(&elsewhere, folder.join("linked.yaml")).unwrap();
        let from = RulesFrom::Directories(vec![folder]);
        for (mode, who) in [(0o664, "its group"), (0o646, "everyone")] {
            fs::set_permissions(&elsewhere, Permissions::from_mode(mode)).unwrap();
            let refused = check_owners(&from).unwrap_err().to_string();
            let right = ["linked.yaml", who, "chmod go-w"].iter().all(|word| refused.contains(word));
            assert!(right, "{refused}");
        }
        fs::set_permissions(&elsewhere, Permissions::from_mode(0o644)).unwrap();
        check_owners(&from).unwrap();
    }

    #[test]
    fn rule_file_of_somebody_else_is_refused_whatever_its_mode() {
        let (what, fix) = others_may_change(u32::MAX - 7, 0o400).unwrap();
        assert!(what.contains("owned by uid 4294967288") && fix.contains("chown root"), "{what}; {fix}");
        assert_eq!(others_may_change(0, 0o644), None);
        assert_eq!(others_may_change(nix::unistd::geteuid().as_raw(), 0o600), None);
    }
}
