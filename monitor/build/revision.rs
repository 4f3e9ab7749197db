//! Which commit a build is of: what the builder says, else what the repository it lies in says, else nothing is known. No program is started and
//! nothing is asked for: a source archive builds as well as a checkout.

use std::fs;
use std::path::{Path, PathBuf};

/// What is said when nobody knows.
pub(crate) const UNKNOWN: &str = "unknown";
/// More is no name of a commit.
const LONGEST: usize = 64;

/// A commit, and the files that say another one when it changes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Revision {
    /// Its name.
    pub(crate) name: String,
    /// The files.
    pub(crate) files: Vec<PathBuf>,
}

/// The commit that `given` names, else the one that is checked out in the repository at `root`.
pub(crate) fn of(given: Option<&str>, root: Option<&Path>) -> Revision {
    let given = given.map(str::trim).filter(|name| !name.is_empty());
    let (name, files) = match (given, root) {
        (Some(given), _) => (Some(given.to_owned()), Vec::new()),
        (None, Some(root)) => checked_out(root),
        (None, None) => (None, Vec::new()),
    };
    // It becomes a label of a metric, and an argument of the compiler.
    let plain = |name: &String| {
        name.len() <= LONGEST && name.chars().all(|c| c.is_ascii_alphanumeric() || "._+-~".contains(c))
    };
    Revision { name: name.filter(plain).unwrap_or_else(|| UNKNOWN.to_owned()), files }
}

fn checked_out(root: &Path) -> (Option<String>, Vec<PathBuf>) {
    let Some(git) = git_folder(&root.join(".git")) else { return (None, Vec::new()) };
    let head = git.join("HEAD");
    let Some(text) = read(&head) else { return (None, Vec::new()) };
    let mut files = vec![head];
    // Whatever becomes of HEAD and of its branch is written there as well.
    files.extend(Some(git.join("logs/HEAD")).filter(|log| log.is_file()));
    let Some(branch) = text.strip_prefix("ref: ") else { return (Some(text), files) };
    // A work tree has a HEAD of its own, and the branches of the whole repository.
    let common = read(&git.join("commondir")).map_or_else(|| git.clone(), |common| git.join(common));
    let own = common.join(branch);
    let name = match read(&own) {
        Some(name) => {
            files.push(own);
            Some(name)
        }
        None => {
            let packed = common.join("packed-refs");
            let name = read(&packed).and_then(|text| in_packed(&text, branch));
            files.extend(packed.is_file().then_some(packed));
            // The next commit makes the branch a file of its own, and leaves what is packed as it is.
            files.extend(nearest_folder(&own));
            name
        }
    };
    (name, files)
}

/// What a file that is not there changes when it is made.
fn nearest_folder(file: &Path) -> Option<PathBuf> {
    file.ancestors().skip(1).find(|folder| folder.is_dir()).map(Path::to_owned)
}

/// `.git` is a folder, or a file of a work tree that names one.
fn git_folder(git: &Path) -> Option<PathBuf> {
    if git.is_dir() {
        return Some(git.to_owned());
    }
    let named = read(git)?;
    let named = Path::new(named.strip_prefix("gitdir: ")?);
    Some(git.parent()?.join(named))
}

fn in_packed(text: &str, branch: &str) -> Option<String> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(_, name)| *name == branch).map(|(commit, _)| commit.to_owned())
}

fn read(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}
