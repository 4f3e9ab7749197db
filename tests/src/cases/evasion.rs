//! Ways around a path filter: the file is known by device and inode, so they do not help.

use std::fs;
use std::path::Path;

use anyhow::Result;
use monitor::event::{MountRelation, Open};
use monitor::kernel::{InodeFilter, KernelFilter, Probes as _};
use monitor_common::filter::{access, matched};

use super::open::{bind, one_of, opens, private_mounts};
use super::{ensure_same, ensure_that};
use crate::child::{c, open};
use crate::files::{folder, identity, secret};
use crate::{Case, Verdict, World};

pub(super) const CASES: &[Case] = &[
    ("evasion_by_hard_link_is_seen", hard_link),
    ("evasion_by_renaming_the_file_is_seen", rename),
    ("evasion_by_renaming_the_folder_is_seen", rename_folder),
    ("evasion_by_private_bind_mount_in_a_user_namespace_is_seen", bind_in_user_namespace),
    ("evasion_by_chroot_into_the_folder_is_seen", chroot),
    ("evasion_by_overlay_gives_one_event_that_is_not_outside", overlay),
];

/// Watches one file by identity alone, acts, and gives the one open that was seen of it.
fn watched_by_inode(world: &mut World, path: &Path, act: impl FnOnce() -> i32) -> Result<Open> {
    let (dev, ino) = identity(path)?;
    let keep = path.with_extension("keep");
    // A second name outside of the case, to stat the file by whatever became of the first.
    fs::hard_link(path, &keep)?;
    let filter = KernelFilter {
        inodes: vec![InodeFilter { dev, ino, generation: 0, access: access::ANY }],
        ..KernelFilter::default()
    };
    world.sensor().set_filter(&filter)?;
    let outcome = one_of(world, &keep, act);
    world.sensor().set_filter(&World::filter())?;
    let open = outcome?;
    ensure_that!(open.matched & matched::INODE != 0, "passed by its inode");
    Ok(open)
}

fn read(path: impl AsRef<Path>) -> i32 {
    i32::from(open(path, libc::O_RDONLY) < 0)
}

fn hard_link(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), "key")?;
    let link = folder.path().join("innocent");
    let open = watched_by_inode(world, &path, || {
        if fs::hard_link(&path, &link).is_err() {
            return 2;
        }
        read(&link)
    })?;
    ensure_same!(&*open.path.view, link.to_string_lossy().as_ref(), "the name it was opened by");
    Ok(Verdict::Holds)
}

fn rename(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), "key")?;
    let to = folder.path().join("innocent");
    watched_by_inode(world, &path, || if fs::rename(&path, &to).is_ok() { read(&to) } else { 2 })?;
    Ok(Verdict::Holds)
}

fn rename_folder(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let inner = folder.path().join("secrets");
    fs::create_dir(&inner)?;
    let path = secret(&inner, "key")?;
    let to = folder.path().join("pictures");
    let keep = identity(&path)?;
    let filter = KernelFilter {
        inodes: vec![InodeFilter { dev: keep.0, ino: keep.1, generation: 0, access: access::ANY }],
        ..KernelFilter::default()
    };
    world.sensor().set_filter(&filter)?;
    let outcome = world.run(|| if fs::rename(&inner, &to).is_ok() { read(to.join("key")) } else { 2 });
    world.sensor().set_filter(&World::filter())?;
    ensure_same!(opens(&outcome?).len(), 1, "opens");
    Ok(Verdict::Holds)
}

fn user_namespace() -> bool {
    // SAFETY: a plain call.
    unsafe { libc::unshare(libc::CLONE_NEWUSER) == 0 }
}

fn bind_in_user_namespace(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let inner = folder.path().join("secrets");
    let target = folder.path().join("elsewhere");
    fs::create_dir(&inner)?;
    fs::create_dir(&target)?;
    let path = secret(&inner, "key")?;
    let open = watched_by_inode(world, &path, || {
        if !user_namespace() || !private_mounts() || !bind(&inner, &target) {
            return 2;
        }
        read(target.join("key"))
    })?;
    ensure_same!(open.mount, MountRelation::Own, "mount");
    Ok(Verdict::Holds)
}

fn chroot(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), "key")?;
    let open = watched_by_inode(world, &path, || {
        // SAFETY: plain calls.
        let inside = unsafe {
            libc::unshare(libc::CLONE_NEWUSER) == 0
                && libc::chroot(c(folder.path()).as_ptr()) == 0
                && libc::chdir(c"/".as_ptr()) == 0
        };
        if inside { read("/key") } else { 2 }
    })?;
    ensure_same!(&*open.path.view, "/key", "what the worker calls it");
    ensure_same!(open.path.full.as_deref(), Some(path.to_string_lossy().as_ref()), "what it is");
    Ok(Verdict::Holds)
}

fn overlay(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let [lower, upper, work, merged] =
        ["lower", "upper", "work", "merged"].map(|name| folder.path().join(name));
    for inner in [&lower, &upper, &work, &merged] {
        fs::create_dir(inner)?;
    }
    secret(&lower, crate::files::WATCHED_NAME)?;
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let cgroup = world.cgroup().to_path_buf();
    let child = crate::child::Child::spawn(&cgroup, || {
        // SAFETY: NUL-terminated strings.
        let mounted = private_mounts()
            && unsafe {
                libc::mount(
                    c"overlay".as_ptr(),
                    c(&merged).as_ptr(),
                    c"overlay".as_ptr(),
                    0,
                    c(&options).as_ptr().cast(),
                ) == 0
            };
        if mounted { read(merged.join(crate::files::WATCHED_NAME)) } else { 77 }
    })?;
    let pid = child.pid;
    let code = child.wait()?;
    let events = world.until_exit(pid)?;
    if code == 77 {
        return Ok(Verdict::Skip("overlayfs cannot be mounted on this file system or kernel".into()));
    }
    ensure_same!(code, 0, "exit code of the child");
    let seen = opens(&events);
    ensure_same!(seen.len(), 1, "exactly one event for one open, not {seen:#?}");
    let file = merged.join(crate::files::WATCHED_NAME);
    ensure_same!(&*seen[0].path.view, file.to_string_lossy().as_ref(), "the merged path");
    ensure_same!(seen[0].mount, MountRelation::Own, "not outside");
    Ok(Verdict::Holds)
}
