//! Which commit a build says it is of.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "../build/revision.rs"]
mod revision;

use std::fs;
use std::path::Path;

use revision::{UNKNOWN, of};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn put(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn builder_is_believed_before_the_repository_and_nonsense_is_not() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), ".git/HEAD", COMMIT);
    assert_eq!(of(Some("v0.3-2-gabc"), Some(dir.path())).name, "v0.3-2-gabc");
    assert_eq!(of(Some(" \n"), Some(dir.path())).name, COMMIT);
    for nonsense in ["a b", "a\"b", "a\nb", &"a".repeat(65)] {
        assert_eq!(of(Some(nonsense), Some(dir.path())).name, UNKNOWN);
    }
}

#[test]
fn checkout_of_a_branch_a_packed_branch_and_a_commit_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let name = || of(None, Some(dir.path())).name;
    put(dir.path(), ".git/HEAD", "ref: refs/heads/main\n");
    assert_eq!(name(), UNKNOWN, "nothing was committed");
    put(
        dir.path(),
        ".git/packed-refs",
        &format!("# pack-refs\nffff refs/heads/main2\n{COMMIT} refs/heads/main\n"),
    );
    assert_eq!(name(), COMMIT);
    put(dir.path(), ".git/refs/heads/main", "abc123\n");
    let told = of(None, Some(dir.path()));
    assert_eq!(told.name, "abc123");
    // Cargo builds each time if it is told of a file that is not there.
    assert!(told.files.len() == 2 && told.files.iter().all(|path| path.is_file()), "{told:?}");
    put(dir.path(), ".git/HEAD", COMMIT);
    assert_eq!(name(), COMMIT);
}

#[test]
fn what_the_next_commit_writes_in_a_fresh_clone_is_watched() {
    let dir = tempfile::tempdir().unwrap();
    let git = dir.path().join(".git");
    put(dir.path(), ".git/HEAD", "ref: refs/heads/topic/one\n");
    put(dir.path(), ".git/packed-refs", &format!("{COMMIT} refs/heads/topic/one\n"));
    fs::create_dir_all(git.join("refs/heads")).unwrap();
    let files = || of(None, Some(dir.path())).files;
    assert_eq!(
        files(),
        ["HEAD", "packed-refs", "refs/heads"].map(|name| git.join(name)),
        "a branch becomes a file"
    );
    put(dir.path(), ".git/logs/HEAD", "a line\n");
    assert!(files().contains(&git.join("logs/HEAD")));
    // Nothing was committed yet.
    fs::remove_file(git.join("packed-refs")).unwrap();
    assert!(files().contains(&git.join("refs/heads")));
    // A commit that is no branch's can move as well.
    put(dir.path(), ".git/HEAD", COMMIT);
    assert_eq!(files(), ["HEAD", "logs/HEAD"].map(|name| git.join(name)));
}

#[test]
fn work_tree_has_its_own_head_and_the_branches_of_all() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "tree/.git", "gitdir: ../main/.git/worktrees/tree\n");
    put(dir.path(), "main/.git/worktrees/tree/HEAD", "ref: refs/heads/topic\n");
    put(dir.path(), "main/.git/worktrees/tree/commondir", "../..\n");
    put(dir.path(), "main/.git/refs/heads/topic", COMMIT);
    assert_eq!(of(None, Some(&dir.path().join("tree"))).name, COMMIT);
}

#[test]
fn source_archive_is_of_no_known_commit() {
    let dir = tempfile::tempdir().unwrap();
    let told = of(None, Some(dir.path()));
    assert_eq!((told.name.as_str(), told.files.len()), (UNKNOWN, 0));
    assert_eq!(of(None, None).name, UNKNOWN);
}
