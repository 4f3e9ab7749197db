//! "Outside" is decided by the mount namespace of the file's mount, and things without one are not outside.

use std::path::Path;

use anyhow::Result;
use monitor::event::MountRelation;

use super::open::{opens, private_mounts};
use super::{ensure_same, ensure_that};
use crate::child::{c, open};
use crate::files::{WATCHED_NAME, folder, secret};
use crate::{Case, Verdict, World};

pub(super) const CASES: &[Case] = &[
    ("outside_through_proc_root_of_another_namespace_is_foreign", foreign),
    ("outside_own_root_but_same_namespace_is_told_from_foreign", outside_root),
    ("outside_is_not_said_of_pipes_namespaces_and_memfds", silent),
];

fn foreign(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    let host = std::process::id();
    let through = Path::new("/proc").join(host.to_string()).join("root").join(path.strip_prefix("/")?);
    let events =
        world.run(|| if private_mounts() { i32::from(open(&through, libc::O_RDONLY) < 0) } else { 2 })?;
    let seen = opens(&events);
    ensure_same!(seen.len(), 1, "opens");
    ensure_same!(seen[0].mount, MountRelation::Foreign, "relation");
    ensure_that!(seen[0].task_mnt_ns != seen[0].file_mnt_ns, "two namespaces");
    ensure_that!(seen[0].file_mnt_ns != 0, "both are real");
    Ok(Verdict::Holds)
}

fn outside_root(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    let root = folder.path().join("root");
    std::fs::create_dir(&root)?;
    let events = world.run(|| {
        // A descriptor kept across the chroot reaches outside of it.
        // SAFETY: plain calls.
        let dir = unsafe { libc::open(c(folder.path()).as_ptr(), libc::O_PATH | libc::O_DIRECTORY) };
        // SAFETY: a NUL-terminated path.
        if unsafe { libc::chroot(c(&root).as_ptr()) } != 0 {
            return 2;
        }
        i32::from(crate::child::openat(dir, WATCHED_NAME, libc::O_RDONLY) < 0)
    })?;
    let seen = opens(&events);
    ensure_same!(seen.len(), 1, "opens");
    ensure_same!(seen[0].mount, MountRelation::OwnOutsideRoot, "relation");
    ensure_same!(&*seen[0].path.view, path.to_string_lossy().as_ref(), "the whole path");
    ensure_that!(seen[0].path.outside_root, "marked");
    Ok(Verdict::Holds)
}

fn silent(world: &mut World) -> Result<Verdict> {
    let events = world.run(|| {
        // SAFETY: plain calls.
        let (memfd, pipe) = unsafe {
            let mut pipe = [0; 2];
            libc::pipe(pipe.as_mut_ptr());
            (libc::memfd_create(c"x".as_ptr(), 0), pipe[1])
        };
        let results = [
            open("/proc/self/ns/mnt", libc::O_RDONLY),
            open(format!("/proc/self/fd/{memfd}"), libc::O_RDONLY),
            open(format!("/proc/self/fd/{pipe}"), libc::O_WRONLY),
            open("/dev/null", libc::O_WRONLY),
        ];
        i32::from(results.iter().any(|result| *result < 0))
    })?;
    let foreign: Vec<_> =
        opens(&events).into_iter().filter(|open| open.mount == MountRelation::Foreign).collect();
    ensure_same!(foreign, [], "opens said to be outside");
    Ok(Verdict::Holds)
}
