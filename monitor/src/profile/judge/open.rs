//! Opens and unix sockets: the identity they touch, and what rules ask of them.

use super::Scene;
use super::held::{Held, Tri};
use crate::event::{MountRelation, Open, Path, Unix};
use crate::profile::actor::ProcTarget;
use crate::profile::doc::{MountName, ProcFile, ProcOf};
use crate::profile::model::{DetectionIdx, IdentityIdx, IdentityTable, Match};
use crate::profile::pattern::{GlobIndex, Globs, RuleBits};

/// `PROC_SUPER_MAGIC` (include/uapi/linux/magic.h).
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// The identity a path belongs to, by what the worker calls it or by its full path.
pub(crate) fn identity_of_path(table: &IdentityTable, path: &Path) -> Option<IdentityIdx> {
    if path.unreadable || path.none {
        return None;
    }
    table.of_path(&path.view).or_else(|| path.full.as_deref().and_then(|full| table.of_path(full)))
}

/// The identity a unix socket belongs to.
pub(crate) fn identity_of_socket(table: &IdentityTable, unix: &Unix) -> Option<IdentityIdx> {
    let path = &unix.path;
    if path.unreadable || path.none {
        return None;
    }
    table.of_socket(&path.view).or_else(|| path.full.as_deref().and_then(|full| table.of_socket(full)))
}

/// Which detections' path patterns an open matches: one look at the index for all detections.
pub(super) fn path_hits(index: &GlobIndex<DetectionIdx>, path: &Path) -> RuleBits {
    let mut hits = RuleBits::default();
    if path.unreadable || path.none {
        return hits;
    }
    for text in [Some(&*path.view), path.full.as_deref()].into_iter().flatten() {
        index.find(text, |at| {
            hits.add(*at);
            true
        });
    }
    hits
}

/// A file of /proc/PID, whatever procfs is mounted as.
pub(super) fn proc_file(open: &Open) -> Option<ProcFile> {
    let view = &*open.path.view;
    let below = match view.strip_prefix("/proc/") {
        Some(rest) => rest,
        None if open.magic == PROC_SUPER_MAGIC => view,
        None => return None,
    };
    let mut parts = below.split('/').skip_while(|p| !is_process(p)).skip(1);
    let mut name = parts.next()?;
    if name == "task" {
        parts.next()?;
        name = parts.next()?;
    }
    Some(match name {
        "environ" => ProcFile::Environ,
        "mem" => ProcFile::Mem,
        "maps" | "smaps" | "smaps_rollup" | "numa_maps" => ProcFile::Maps,
        "cmdline" => ProcFile::Cmdline,
        "fd" | "fdinfo" | "map_files" => ProcFile::Fd,
        "root" => ProcFile::Root,
        "cwd" => ProcFile::Cwd,
        "auxv" | "stack" | "syscall" | "personality" | "wchan" => ProcFile::Other,
        _ => return None,
    })
}

fn is_process(part: &str) -> bool {
    matches!(part, "self" | "thread-self") || (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

/// Whose /proc entry: the process table's answer, else what the event itself shows.
pub(super) fn proc_target(scene: &Scene<'_>, open: &Open) -> Option<ProcTarget> {
    if open.proc_pid == Some(scene.event.subject.key.pid) {
        return Some(ProcTarget::Own);
    }
    if let Some(target) = scene.actor.proc_target {
        return Some(target);
    }
    let own = ["/proc/self/", "/proc/thread-self/"].iter().any(|p| open.path.view.starts_with(p));
    own.then_some(ProcTarget::Own)
}

fn is_of(name: ProcOf, target: ProcTarget) -> bool {
    match name {
        ProcOf::Own => target == ProcTarget::Own,
        ProcOf::Descendant => target == ProcTarget::Descendant,
        ProcOf::SameRun => target == ProcTarget::SameRun,
        ProcOf::EngineSide => target == ProcTarget::EngineSide,
        ProcOf::OtherRun => target == ProcTarget::OtherRun,
        ProcOf::Outside => target == ProcTarget::Outside,
    }
}

/// `proc` and `of` of a rule.
pub(super) fn proc_held(
    files: &[ProcFile],
    of: &[ProcOf],
    scene: &Scene<'_>,
    open: &Open,
    held: &mut Held,
) -> bool {
    if !files.is_empty() {
        let field = match proc_file(open) {
            Some(file) => files.contains(&file).into(),
            None if open.path.is_known() || !matches!(open.magic, 0 | PROC_SUPER_MAGIC) => Tri::No,
            None => Tri::Unknown("path"),
        };
        if !held.and(field) {
            return false;
        }
    }
    if of.is_empty() {
        return true;
    }
    held.and(match proc_target(scene, open) {
        Some(target) => of.iter().any(|o| is_of(*o, target)).into(),
        None => Tri::Unknown("target process"),
    })
}

/// Whether a path matches, by what the worker calls it or by its full path.
pub(super) fn path_held(globs: &Globs, path: &Path) -> Tri {
    let texts = [Some(&*path.view), path.full.as_deref()];
    if !path.unreadable && !path.none && texts.into_iter().flatten().any(|t| globs.matches(t)) {
        Tri::Yes
    } else if path.is_known() || path.none {
        Tri::No
    } else {
        Tri::Unknown("path")
    }
}

/// Folders that are too many people's to be a run's own.
const SHARED_FOLDERS: [&str; 12] =
    ["/home", "/tmp", "/var", "/usr", "/etc", "/opt", "/srv", "/run", "/mnt", "/root", "/proc", "/dev"];

/// Whether a path belongs to a run that began in `folder`: below it, or below a folder beside it of the same name with
/// `@tmp` (Jenkins) or `.tmp` (GitLab) added. A folder at the top of the tree, or right below one that many share, is
/// nobody's.
pub(super) fn belongs_to(folder: &str, path: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    let Some((parent, _)) = folder.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) else {
        return false;
    };
    let home = SHARED_FOLDERS.contains(&parent);
    let Some(rest) = path.strip_prefix(folder).filter(|_| !home) else { return false };
    let rest = rest.strip_prefix("@tmp").or_else(|| rest.strip_prefix(".tmp")).unwrap_or(rest);
    rest.starts_with('/') && !rest.split('/').any(|part| part == "..")
}

/// What a detection asks of an open.
pub(super) fn open_held(m: &Match, at: DetectionIdx, scene: &Scene<'_>, open: &Open, held: &mut Held) {
    if let Some(bits) = m.access {
        let field = match open.access {
            0 => Tri::Unknown("access"),
            have => (have & bits != 0).into(),
        };
        if !held.gate(field) {
            return;
        }
    }
    if !m.path.is_empty() {
        let field = if scene.paths.has(at) {
            Tri::Yes
        } else if open.path.is_known() || open.path.none {
            Tri::No
        } else {
            Tri::Unknown("path")
        };
        if !held.and(field) {
            return;
        }
    }
    if !m.not_path.is_empty() && path_held(&m.not_path, &open.path) == Tri::Yes && !held.and(Tri::No) {
        return;
    }
    if !m.mount.is_empty() && !held.and(mount(&m.mount, open.mount, scene.actor.nested_mount)) {
        return;
    }
    if !proc_held(&m.proc, &m.of, scene, open, held) {
        return;
    }
    if !m.identity.is_empty() {
        held.and(identity(&m.identity, scene.identity, open.path.is_known()));
    }
}

/// What a detection asks of a unix connect.
pub(super) fn unix_held(m: &Match, scene: &Scene<'_>, unix: &Unix, held: &mut Held) {
    if !m.path.is_empty() && !held.and(path_held(&m.path, &unix.path)) {
        return;
    }
    if !m.not_path.is_empty() && path_held(&m.not_path, &unix.path) == Tri::Yes && !held.and(Tri::No) {
        return;
    }
    if !m.identity.is_empty() {
        held.and(identity(&m.identity, scene.identity, unix.path.is_known()));
    }
}

fn identity(wanted: &[IdentityIdx], have: Option<IdentityIdx>, path_known: bool) -> Tri {
    match have {
        Some(at) => wanted.contains(&at).into(),
        None if path_known => Tri::No,
        None => Tri::Unknown("path"),
    }
}

fn mount(wanted: &[MountName], have: MountRelation, nested: bool) -> Tri {
    let name = match have {
        MountRelation::Unknown => return Tri::Unknown("mount"),
        MountRelation::None => return Tri::No,
        MountRelation::Own => MountName::Own,
        MountRelation::OwnOutsideRoot => MountName::OutsideRoot,
        MountRelation::Foreign if nested => MountName::Nested,
        MountRelation::Foreign => MountName::Foreign,
    };
    wanted.contains(&name).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::judge::tests::open_of;

    #[test]
    fn proc_files_are_told_with_and_without_a_thread() {
        for (path, expected) in [
            ("/proc/12/environ", Some(ProcFile::Environ)),
            ("/proc/self/task/13/mem", Some(ProcFile::Mem)),
            ("/proc/12/fd/7", Some(ProcFile::Fd)),
            ("/proc/12/status", None),
            ("/proc/sys/kernel/core_pattern", None),
            ("/srv/12/environ", None),
        ] {
            assert_eq!(proc_file(&open_of(path)), expected, "{path}");
        }
    }

    #[test]
    fn what_belongs_to_a_run_is_below_its_folder_or_beside_it() {
        let job = "/var/jenkins/workspace/app";
        for own in
            ["/var/jenkins/workspace/app/.git/config", "/var/jenkins/workspace/app@tmp/secretFiles/1/k"]
        {
            assert!(belongs_to(job, own), "{own}");
        }
        assert!(belongs_to("/builds/team/app", "/builds/team/app.tmp/DEPLOY_KEY"));
        for other in [
            "/var/jenkins/workspace/app2/.git/config",
            "/var/jenkins/workspace/other@tmp/secretFiles/1/k",
            "/var/jenkins/workspace/app@tmp",
            "/var/jenkins/workspace/app/../other/k",
        ] {
            assert!(!belongs_to(job, other), "{other}");
        }
        for (folder, path) in [("/", "/etc/shadow"), ("/home/u", "/home/u/.ssh/id_rsa"), ("/tmp", "/tmp/x")] {
            assert!(!belongs_to(folder, path), "{folder}");
        }
    }

    #[test]
    fn procfs_mounted_elsewhere_is_still_procfs() {
        let mut open = open_of("/mnt/p/12/environ");
        open.magic = PROC_SUPER_MAGIC;
        assert_eq!(proc_file(&open), Some(ProcFile::Environ));
    }
}
