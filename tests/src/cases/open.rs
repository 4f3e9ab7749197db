//! open: whatever way a file is reached, the event names the file that was opened.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use monitor::event::{Body, Event, MountRelation, Open, Outcome, Rung, Signal};
use monitor_common::filter::{access, matched};

use super::{ensure_same, ensure_that};
use crate::child::{c, open, openat, sys};
use crate::files::{WATCHED_FOLDER, WATCHED_NAME, folder, identity, secret};
use crate::{Case, Verdict, World};

pub(super) const CASES: &[Case] = &[
    ("open_fields_of_a_watched_file", plain),
    ("open_of_a_path_of_no_interest_is_no_event", uninteresting),
    ("open_through_a_symlink_ends_at_the_real_file", symlink),
    ("open_with_dot_dot_ends_at_the_real_file", dot_dot),
    ("open_relative_to_the_working_directory", relative),
    ("open_relative_to_a_descriptor", dirfd),
    ("open_through_proc_self_root", proc_self_root),
    ("open_through_a_bind_mount", bind_mount),
    ("open_for_writing_says_write", write),
    ("open_with_o_path_is_a_handle", o_path),
    ("open_in_a_watched_folder_three_levels_down", parent_folder),
    ("open_by_every_system_call", every_call),
    ("open_of_a_missing_file_is_absent", absent),
    ("open_without_permission_is_denied", denied),
    ("open_of_another_process_environ_names_the_target", procfs),
    ("open_by_io_uring", io_uring),
    ("open_by_a_32_bit_call", compat),
    ("open_of_a_deep_path_is_whole_or_marked", deep),
];

/// The opens among these events.
pub(super) fn opens(events: &[Event]) -> Vec<Open> {
    events
        .iter()
        .filter_map(|event| match &event.body {
            Body::Open(open) => Some((**open).clone()),
            _ => None,
        })
        .collect()
}

/// Acts in the worker; exactly one open must be reported, and it must be of this file, by name and by identity.
pub(super) fn one_of(world: &mut World, path: &Path, act: impl FnOnce() -> i32) -> Result<Open> {
    let events = world.run(act)?;
    let mut seen = opens(&events);
    ensure_same!(seen.len(), 1, "number of opens in {events:#?}");
    let open = seen.pop().context("an open")?;
    ensure_same!((open.id.dev, open.id.ino), identity(path)?, "identity of the file");
    ensure_same!(open.outcome, Outcome::Ok, "outcome");
    Ok(open)
}

/// Exit code of a child whose opens must succeed.
fn good(result: i64) -> i32 {
    i32::from(result < 0)
}

fn plain(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    let open = one_of(world, &path, || good(open(&path, libc::O_RDONLY)))?;
    ensure_same!(&*open.path.view, path.to_string_lossy().as_ref(), "path");
    ensure_that!(open.path.is_known() && !open.path.deleted, "the path is whole");
    ensure_same!(open.access, access::READ, "access");
    ensure_same!(open.flags & libc::O_ACCMODE as u32, libc::O_RDONLY as u32, "flags");
    ensure_same!(open.mode & libc::S_IFMT, libc::S_IFREG, "file type");
    ensure_same!(open.nlink, 1, "links");
    ensure_same!(open.mount, MountRelation::Own, "mount");
    ensure_same!(open.task_mnt_ns, open.file_mnt_ns, "mount namespaces");
    ensure_that!(open.matched & matched::NAME != 0, "passed by its name");
    ensure_same!(open.proc_pid, None, "no procfs target");
    Ok(Verdict::Holds)
}

fn uninteresting(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), "ordinary")?;
    let events =
        world.run(|| good(open(&path, libc::O_RDONLY)) | good(open("/proc/self/status", libc::O_RDONLY)))?;
    ensure_same!(opens(&events), [], "opens");
    Ok(Verdict::Holds)
}

fn symlink(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    let link = folder.path().join("innocent");
    std::os::unix::fs::symlink(&path, &link)?;
    let open = one_of(world, &path, || good(open(&link, libc::O_RDONLY)))?;
    ensure_same!(&*open.path.view, path.to_string_lossy().as_ref(), "path");
    Ok(Verdict::Holds)
}

fn dot_dot(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    fs::create_dir(folder.path().join("a"))?;
    let winding = folder.path().join("a/.././a/..").join(WATCHED_NAME);
    let open = one_of(world, &path, || good(open(&winding, libc::O_RDONLY)))?;
    ensure_same!(&*open.path.view, path.to_string_lossy().as_ref(), "path");
    Ok(Verdict::Holds)
}

fn relative(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    let open = one_of(world, &path, || {
        // SAFETY: a plain call.
        unsafe { libc::chdir(c(folder.path()).as_ptr()) };
        good(open(WATCHED_NAME, libc::O_RDONLY))
    })?;
    ensure_same!(&*open.path.view, path.to_string_lossy().as_ref(), "path");
    Ok(Verdict::Holds)
}

fn dirfd(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    let open = one_of(world, &path, || {
        // SAFETY: a plain call.
        let dir = unsafe { libc::open(c(folder.path()).as_ptr(), libc::O_PATH | libc::O_DIRECTORY) };
        good(openat(dir, WATCHED_NAME, libc::O_RDONLY))
    })?;
    ensure_same!(&*open.path.view, path.to_string_lossy().as_ref(), "path");
    Ok(Verdict::Holds)
}

fn proc_self_root(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    let winding = Path::new("/proc/self/root").join(path.strip_prefix("/")?);
    let open = one_of(world, &path, || good(open(&winding, libc::O_RDONLY)))?;
    ensure_same!(&*open.path.view, path.to_string_lossy().as_ref(), "path");
    Ok(Verdict::Holds)
}

fn bind_mount(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let inner = folder.path().join(WATCHED_FOLDER);
    let target = folder.path().join("elsewhere");
    fs::create_dir(&inner)?;
    fs::create_dir(&target)?;
    let path = secret(&inner, WATCHED_NAME)?;
    let open = one_of(world, &path, || {
        if !private_mounts() || !bind(&inner, &target) {
            return 1;
        }
        good(open(target.join(WATCHED_NAME), libc::O_RDONLY))
    })?;
    ensure_same!(
        &*open.path.view,
        target.join(WATCHED_NAME).to_string_lossy().as_ref(),
        "path in the worker's view"
    );
    ensure_same!(open.mount, MountRelation::Own, "its own mount namespace");
    Ok(Verdict::Holds)
}

/// A mount namespace of one's own, without propagation.
pub(super) fn private_mounts() -> bool {
    // SAFETY: plain calls.
    unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(
                c"none".as_ptr(),
                c"/".as_ptr(),
                std::ptr::null(),
                libc::MS_REC | libc::MS_PRIVATE,
                std::ptr::null(),
            ) == 0
    }
}

/// Bind-mounts a folder.
pub(super) fn bind(from: &Path, to: &Path) -> bool {
    // SAFETY: NUL-terminated paths.
    unsafe {
        libc::mount(c(from).as_ptr(), c(to).as_ptr(), std::ptr::null(), libc::MS_BIND, std::ptr::null()) == 0
    }
}

fn write(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    let opened = one_of(world, &path, || good(open(&path, libc::O_RDWR)))?;
    ensure_same!(opened.access, access::READ | access::WRITE, "access of O_RDWR");
    let opened = one_of(world, &path, || good(open(&path, libc::O_WRONLY | libc::O_TRUNC)))?;
    ensure_same!(opened.access, access::WRITE, "access of O_WRONLY | O_TRUNC");
    Ok(Verdict::Holds)
}

fn o_path(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    let events = world.run(|| {
        // SAFETY: plain calls.
        let handle = unsafe { libc::open(c(&path).as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
        good(open(format!("/proc/self/fd/{handle}"), libc::O_RDONLY))
    })?;
    let seen = opens(&events);
    // An O_PATH open passes no security hook (fs/open.c `do_dentry_open`); the reopen that reads always does.
    let read = seen.iter().filter(|open| open.access == access::READ).collect::<Vec<_>>();
    ensure_same!(read.len(), 1, "reading opens in {seen:#?}");
    ensure_same!((read[0].id.dev, read[0].id.ino), identity(&path)?, "identity");
    ensure_that!(
        seen.iter().all(|open| open.access == access::READ || open.access == access::PATH),
        "accesses"
    );
    Ok(Verdict::Holds)
}

fn parent_folder(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let deep = folder.path().join(WATCHED_FOLDER).join("b/c");
    fs::create_dir_all(&deep)?;
    let path = secret(&deep, "file")?;
    let open = one_of(world, &path, || good(open(&path, libc::O_RDONLY)))?;
    ensure_that!(open.matched & matched::PARENT != 0, "passed by a parent folder");
    let deeper = deep.join("d");
    fs::create_dir(&deeper)?;
    let path = secret(&deeper, "file")?;
    let events = world.run(|| good(self::open(&path, libc::O_RDONLY)))?;
    ensure_same!(opens(&events), [], "the fourth parent is not looked at");
    Ok(Verdict::Holds)
}

#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

fn every_call(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    let events = world.run(|| {
        let file = c(&path);
        let how = OpenHow { flags: libc::O_RDONLY as u64, mode: 0, resolve: 0 };
        // SAFETY: a NUL-terminated path and a structure of the size given.
        let results = unsafe {
            [
                sys(libc::syscall(libc::SYS_open, file.as_ptr(), libc::O_RDONLY)),
                sys(libc::syscall(libc::SYS_openat, libc::AT_FDCWD, file.as_ptr(), libc::O_RDONLY)),
                sys(libc::syscall(
                    libc::SYS_openat2,
                    libc::AT_FDCWD,
                    file.as_ptr(),
                    &raw const how,
                    size_of::<OpenHow>(),
                )),
                sys(libc::syscall(libc::SYS_creat, file.as_ptr(), 0o600)),
            ]
        };
        i32::from(results.iter().any(|result| *result < 0))
    })?;
    let seen = opens(&events);
    ensure_same!(seen.len(), 4, "open, openat, openat2, creat in {seen:#?}");
    ensure_same!(seen[3].access & access::WRITE, access::WRITE, "creat writes");
    Ok(Verdict::Holds)
}

/// Failed opens are seen by the tracepoint rung where the kernel lets it (≥ 5.15), and are a named gap elsewhere.
fn failed(world: &mut World, path: &Path, outcome: Outcome, act: impl FnOnce() -> i32) -> Result<Verdict> {
    let events = world.run(act)?;
    let seen = opens(&events);
    let by_call = world.rung(Signal::Open) == Some(Rung::Tracepoint) && world.coverage().host.at_least(5, 15);
    if !by_call {
        ensure_that!(world.gaps(Signal::Open).iter().any(|gap| gap == "failed-opens"), "the gap is named");
        ensure_that!(
            seen.iter().all(|open| open.outcome != Outcome::Ok),
            "nothing is said to have succeeded"
        );
        return Ok(Verdict::Skip("gap `failed-opens` of this rung".into()));
    }
    ensure_same!(seen.len(), 1, "number of opens");
    ensure_same!(seen[0].outcome, outcome, "outcome");
    ensure_same!(&*seen[0].path.view, path.to_string_lossy().as_ref(), "path");
    ensure_that!(seen[0].path.user_memory, "the name is marked as user memory");
    Ok(Verdict::Holds)
}

fn absent(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = folder.path().join(WATCHED_NAME);
    failed(world, &path, Outcome::Absent, || {
        // SAFETY: a plain call.
        unsafe { libc::chdir(c(folder.path()).as_ptr()) };
        i32::from(open(WATCHED_NAME, libc::O_RDONLY) != -i64::from(libc::ENOENT))
    })
}

fn denied(world: &mut World) -> Result<Verdict> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    failed(world, &path, Outcome::Denied, || {
        // SAFETY: a plain call.
        if unsafe { libc::setresuid(65_534, 65_534, 65_534) } != 0 {
            return 1;
        }
        i32::from(open(&path, libc::O_RDONLY) != -i64::from(libc::EACCES))
    })
}

fn procfs(world: &mut World) -> Result<Verdict> {
    use monitor::kernel::{KernelFilter, Probes as _};
    let target = std::process::id();
    let mut filter = World::filter();
    filter.names.push((b"environ".to_vec(), access::ANY));
    world.sensor().set_filter(&filter)?;
    let outcome = world.run(|| {
        let target = format!("/proc/{target}/environ");
        good(open(target, libc::O_RDONLY)) | good(open("/proc/self/environ", libc::O_RDONLY))
    });
    world.sensor().set_filter(&KernelFilter { ..World::filter() })?;
    let events = outcome?;
    let own = events.last().map(|event| event.subject.key.pid);
    let seen = opens(&events);
    ensure_same!(seen.len(), 2, "opens");
    ensure_same!(seen[0].proc_pid, Some(target), "target of the first");
    ensure_same!(seen[1].proc_pid, own, "target of /proc/self");
    ensure_same!(&*seen[0].path.view, format!("/proc/{target}/environ").as_str(), "path");
    Ok(Verdict::Holds)
}

fn compat(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    let file = c(&path);
    // The 32-bit entry takes 32-bit addresses: the name goes to the low 4 GiB.
    let act = move || {
        // SAFETY: a fresh mapping in the low half, and an interrupt that clobbers what is listed.
        unsafe {
            let low = libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
                -1,
                0,
            );
            if low == libc::MAP_FAILED {
                return 1;
            }
            std::ptr::copy_nonoverlapping(file.as_ptr(), low.cast(), file.as_bytes_with_nul().len());
            i32::from(int80_open(low as u64) < 0) * 2
        }
    };
    let cgroup = world.cgroup().to_path_buf();
    let child = crate::child::Child::spawn(&cgroup, act)?;
    let pid = child.pid;
    let code = child.wait();
    let events = world.until_exit(pid)?;
    match code {
        Ok(0) => {}
        Ok(2) => return Ok(Verdict::Skip("the kernel has no 32-bit emulation".into())),
        Ok(code) => anyhow::bail!("the child ended with {code}"),
        Err(error) => return Ok(Verdict::Skip(format!("the kernel has no 32-bit emulation: {error}"))),
    }
    let seen = opens(&events);
    if world.gaps(Signal::Open).iter().any(|gap| gap == "ia32") {
        ensure_same!(seen.len(), 0, "the gap `ia32` is true");
        return Ok(Verdict::Holds);
    }
    ensure_same!(seen.len(), 1, "the open is seen, or the gap `ia32` is named");
    Ok(Verdict::Holds)
}

/// `open(name, O_RDONLY)` by `int $0x80`.
#[cfg(target_arch = "x86_64")]
unsafe fn int80_open(name: u64) -> i32 {
    let mut result: i64 = 5;
    // SAFETY: rbx is saved around, as it is reserved by the compiler; the kernel clobbers r8 to r11.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "mov rbx, {name}",
            "int 0x80",
            "pop rbx",
            name = in(reg) name,
            inout("rax") result,
            in("rcx") 0u64,
            in("rdx") 0u64,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    result as i32
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn int80_open(_: u64) -> i32 {
    -1
}

fn deep(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let mut inner = folder.path().to_path_buf();
    for _ in 0..100 {
        inner.push("d");
    }
    fs::create_dir_all(&inner)?;
    let path = secret(&inner, WATCHED_NAME)?;
    let open = one_of(world, &path, || good(open(&path, libc::O_RDONLY)))?;
    if open.path.cut {
        ensure_that!(path.to_string_lossy().ends_with(&*open.path.view), "the tail is right");
    } else {
        ensure_same!(&*open.path.view, path.to_string_lossy().as_ref(), "path");
    }
    Ok(Verdict::Holds)
}

fn io_uring(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = secret(folder.path(), WATCHED_NAME)?;
    let cgroup = world.cgroup().to_path_buf();
    let child = crate::child::Child::spawn(&cgroup, || crate::uring::open(&path))?;
    let pid = child.pid;
    let code = child.wait()?;
    let events = world.until_exit(pid)?;
    if code == crate::uring::UNAVAILABLE {
        return Ok(Verdict::Skip("the kernel has no io_uring for us".into()));
    }
    ensure_same!(code, 0, "exit code of the child");
    let seen = opens(&events);
    if world.rung(Signal::Open) == Some(Rung::Tracepoint) {
        let by_ring = seen.iter().filter(|open| open.uring).count();
        if world.gaps(Signal::Open).iter().any(|gap| gap.contains("uring")) && by_ring == 0 {
            return Ok(Verdict::Skip("gap `io_uring` of this rung".into()));
        }
        ensure_same!(by_ring, 1, "io_uring submissions seen");
        return Ok(Verdict::Holds);
    }
    ensure_same!(seen.len(), 1, "opens");
    ensure_same!((seen[0].id.dev, seen[0].id.ino), identity(&path)?, "identity");
    Ok(Verdict::Holds)
}
