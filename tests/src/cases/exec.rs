//! exec, field by field.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use monitor::event::{Body, Event, Exec, Stdio};

use super::{ensure_same, ensure_that};
use crate::child::{c, exec};
use crate::files::{folder, identity};
use crate::{Case, Verdict, World};

pub(super) const CASES: &[Case] = &[
    ("exec_fields_of_a_plain_program", plain),
    ("exec_argv_over_8_kib_is_cut_and_marked", long_argv),
    ("exec_through_a_symlink_names_the_real_file", symlink),
    ("exec_of_a_script_names_interpreter_and_argv", script),
    ("exec_from_a_memfd_is_marked", memfd),
    ("exec_from_tmpfs_is_marked", tmpfs),
    ("exec_of_a_deleted_file_is_marked", deleted),
    ("exec_with_an_internet_socket_or_pipe_as_stdin_says_so", stdio),
    ("exec_environment_ids_are_taken_and_others_are_not", environment),
    ("exec_loader_variable_is_flagged", loader),
    ("exec_in_a_chroot_gives_the_path_inside", chroot),
    ("exec_that_fails_is_no_event", fails),
    ("exec_setuid_program_is_marked", setuid),
];

/// A program that every machine has: what `/bin/true` (or busybox) really is.
fn true_program() -> Result<std::path::PathBuf> {
    Path::new("/bin/true").canonicalize().context("/bin/true")
}

/// Runs an exec in the worker and returns its event.
fn one(world: &mut World, act: impl FnOnce() -> i32) -> Result<Exec> {
    let events = world.run(act)?;
    let mut execs: Vec<Exec> = events.into_iter().filter_map(as_exec).collect();
    ensure_same!(execs.len(), 1, "number of execs");
    execs.pop().context("an exec")
}

fn as_exec(event: Event) -> Option<Exec> {
    match event.body {
        Body::Exec(exec) => Some(*exec),
        _ => None,
    }
}

fn plain(world: &mut World) -> Result<Verdict> {
    let program = true_program()?;
    let (dev, ino) = identity(&program)?;
    let parent = std::process::id();
    let events = world.run(|| {
        // SAFETY: a plain call.
        unsafe { libc::chdir(c("/usr").as_ptr()) };
        exec(Path::new("/bin/true"), &["true", "--flag", "with space"], &["PATH=/bin"])
    })?;
    let event = events.iter().find(|event| matches!(event.body, Body::Exec(_))).context("an exec")?.clone();
    let exec = as_exec(event.clone()).context("an exec")?;
    ensure_same!(&*exec.exe.view, program.to_string_lossy().as_ref(), "resolved executable");
    ensure_same!((exec.exe_id.dev, exec.exe_id.ino), (dev, ino), "identity of the executable");
    ensure_same!(&*exec.filename.text, "/bin/true", "file name as given");
    let argv: Vec<&str> = exec.argv.iter().map(|arg| &**arg).collect();
    ensure_same!(argv, ["true", "--flag", "with space"], "argv");
    ensure_that!(!exec.argv_truncated, "argv is whole");
    ensure_same!(exec.argc, 3, "argc");
    ensure_same!(&*exec.cwd.view, "/usr", "working directory");
    ensure_same!(exec.parent.pid, parent, "parent");
    ensure_same!(event.subject.uid, 0, "uid");
    ensure_same!(event.subject.label, world.label(), "label");
    ensure_same!(event.subject.exe, exec.exe_id, "subject's executable is the new one");
    ensure_that!(event.subject.exec_id != exec.old_exec_id, "the image is a new one");
    ensure_that!(!exec.secureexec, "not set-uid");
    ensure_that!(!exec.home.memfd && !exec.home.deleted, "an ordinary file");
    ensure_that!(exec.exe_nlink >= 1, "links");
    for (name, given, file) in [
        ("mnt", exec.ns.mnt, "mnt"),
        ("pid", exec.ns.pid, "pid_for_children"),
        ("net", exec.ns.net, "net"),
        ("cgroup", exec.ns.cgroup, "cgroup"),
        ("user", exec.ns.user, "user"),
    ] {
        ensure_same!(u64::from(given), namespace(file)?, "{name} namespace");
    }
    ensure_same!(exec.ns_pid, event.subject.key.pid, "pid in the innermost namespace");
    Ok(Verdict::Holds)
}

fn namespace(name: &str) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(fs::metadata(format!("/proc/self/ns/{name}")).context("namespace")?.ino())
}

fn long_argv(world: &mut World) -> Result<Verdict> {
    let long = "a".repeat(12_000);
    let exec = one(world, || exec(Path::new("/bin/true"), &["true", &long, "tail"], &[]))?;
    ensure_that!(exec.argv_truncated, "the cut is marked");
    let total: usize = exec.argv.iter().map(|arg| arg.len()).sum();
    ensure_that!((8_000..=8_192).contains(&total), "about 8 KiB arrive, not {total}");
    ensure_same!(exec.argc, 3, "argc is whole");
    Ok(Verdict::Holds)
}

fn symlink(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/bin/true", &link)?;
    let exec = one(world, || exec(&link, &["true"], &[]))?;
    ensure_same!(&*exec.exe.view, true_program()?.to_string_lossy().as_ref(), "resolved executable");
    ensure_same!(&*exec.filename.text, link.to_string_lossy().as_ref(), "file name as given");
    Ok(Verdict::Holds)
}

fn script(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = folder.path().join("step.sh");
    fs::write(&path, "#!/bin/sh\nexit 0\n")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    let (_, script_ino) = identity(&path)?;
    let exec = one(world, || exec(&path, &["ignored", "arg"], &[]))?;
    let shell = Path::new("/bin/sh").canonicalize()?;
    ensure_same!(&*exec.exe.view, shell.to_string_lossy().as_ref(), "the interpreter");
    let argv: Vec<&str> = exec.argv.iter().map(|arg| &**arg).collect();
    ensure_same!(argv, ["/bin/sh", path.to_string_lossy().as_ref(), "arg"], "argv as the kernel made it");
    if let Some(id) = exec.script_id {
        ensure_same!(id.ino, script_ino, "the script's inode");
    }
    Ok(Verdict::Holds)
}

fn memfd(world: &mut World) -> Result<Verdict> {
    let program = fs::read(true_program()?)?;
    let exec = one(world, || {
        // SAFETY: plain calls on memory of this process.
        unsafe {
            let fd = libc::memfd_create(c"harmless".as_ptr(), 0);
            if fd < 0 || libc::write(fd, program.as_ptr().cast(), program.len()) != program.len() as isize {
                return 1;
            }
            exec_descriptor(fd);
        }
        2
    })?;
    ensure_that!(exec.home.memfd, "memfd");
    ensure_same!(exec.exe_nlink, 0, "links");
    Ok(Verdict::Holds)
}

/// Executes what a descriptor leads to; returns if that fails.
///
/// # Safety
/// To be called by a child that does nothing else afterwards than to end.
unsafe fn exec_descriptor(fd: libc::c_int) {
    let argv = [c"true".as_ptr(), std::ptr::null()];
    let env: [*const libc::c_char; 1] = [std::ptr::null()];
    // SAFETY: two arrays that end with a null pointer, of strings that outlive the call.
    unsafe {
        libc::syscall(libc::SYS_execveat, fd, c"".as_ptr(), argv.as_ptr(), env.as_ptr(), libc::AT_EMPTY_PATH);
    }
}

fn tmpfs(world: &mut World) -> Result<Verdict> {
    let folder = tempfile::tempdir_in("/dev/shm").context("/dev/shm")?;
    let path = folder.path().join("program");
    fs::copy(true_program()?, &path)?;
    let exec = one(world, || exec(&path, &["true"], &[]))?;
    ensure_that!(exec.home.tmpfs, "tmpfs");
    ensure_that!(!exec.home.memfd, "not a memfd");
    ensure_same!(&*exec.exe.view, path.to_string_lossy().as_ref(), "path");
    Ok(Verdict::Holds)
}

fn deleted(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let path = folder.path().join("gone");
    fs::copy(true_program()?, &path)?;
    let exec = one(world, || {
        // SAFETY: plain calls.
        unsafe {
            let fd = libc::open(c(&path).as_ptr(), libc::O_RDONLY);
            libc::unlink(c(&path).as_ptr());
            exec_descriptor(fd);
        }
        1
    })?;
    ensure_that!(exec.home.deleted, "deleted");
    ensure_that!(!exec.home.memfd, "not a memfd");
    Ok(Verdict::Holds)
}

fn stdio(world: &mut World) -> Result<Verdict> {
    let exec = one(world, || {
        // SAFETY: plain calls.
        unsafe {
            let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
            let mut pipe = [0; 2];
            if socket < 0 || libc::pipe(pipe.as_mut_ptr()) != 0 {
                return 1;
            }
            libc::dup2(socket, 0);
            libc::dup2(pipe[1], 1);
            libc::close(2);
        }
        exec(Path::new("/bin/true"), &["true"], &[])
    })?;
    ensure_same!(exec.stdio, [Stdio::Inet, Stdio::Pipe, Stdio::Closed], "stdin, stdout, stderr");
    Ok(Verdict::Holds)
}

fn environment(world: &mut World) -> Result<Verdict> {
    let exec = one(world, || {
        exec(
            Path::new("/bin/true"),
            &["true"],
            &["SW_OTHER=hidden", "SW_RUN_ID=run-17", "PASSWORD=hidden", "SW_STEP=build"],
        )
    })?;
    if !exec.env_from_kernel {
        return Ok(Verdict::Skip("this kernel's verifier does not take the environment scan".into()));
    }
    let env: Vec<(&str, &str)> = exec.env.iter().map(|(name, value)| (&**name, &**value)).collect();
    ensure_same!(env, [("SW_RUN_ID", "run-17"), ("SW_STEP", "build")], "captured");
    ensure_that!(!exec.env_incomplete, "the scan came to the end");
    Ok(Verdict::Holds)
}

fn loader(world: &mut World) -> Result<Verdict> {
    let exec = one(world, || exec(Path::new("/bin/true"), &["true"], &["LD_PRELOAD="]))?;
    if !exec.env_from_kernel {
        return Ok(Verdict::Skip("this kernel's verifier does not take the environment scan".into()));
    }
    ensure_that!(exec.loader_env, "LD_PRELOAD is seen");
    Ok(Verdict::Holds)
}

fn chroot(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("bin"))?;
    // Any file will do as long as it can be executed without libraries: the exec happens, then the program may fail.
    let program = match Path::new("/bin/busybox").canonicalize() {
        Ok(busybox) => busybox,
        Err(_) => return Ok(Verdict::Skip("no static program (busybox) here".into())),
    };
    fs::copy(program, root.join("bin/true"))?;
    let exec = one(world, || {
        // SAFETY: plain calls.
        let ready = unsafe { libc::chroot(c(&root).as_ptr()) == 0 && libc::chdir(c"/".as_ptr()) == 0 };
        if ready { exec(Path::new("/bin/true"), &["true"], &[]) } else { 1 }
    })?;
    ensure_same!(&*exec.exe.view, "/bin/true", "the path inside");
    let full = root.join("bin/true");
    ensure_same!(exec.exe.full.as_deref(), Some(full.to_string_lossy().as_ref()), "the whole path");
    ensure_same!(&*exec.cwd.view, "/", "working directory inside");
    Ok(Verdict::Holds)
}

fn fails(world: &mut World) -> Result<Verdict> {
    let events = world.run(|| i32::from(exec(Path::new("/nonexistent"), &["x"], &[]) != libc::ENOENT))?;
    ensure_that!(!events.iter().any(|event| matches!(event.body, Body::Exec(_))), "no exec");
    Ok(Verdict::Holds)
}

fn setuid(world: &mut World) -> Result<Verdict> {
    let folder = folder()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let path = folder.path().join("suid");
    fs::copy(true_program()?, &path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4755))?;
    let exec = one(world, || {
        // SAFETY: plain calls.
        if unsafe { libc::setresuid(65_534, 65_534, 65_534) } != 0 {
            return 1;
        }
        exec(&path, &["true"], &[])
    })?;
    ensure_that!(exec.secureexec, "AT_SECURE");
    ensure_same!(exec.ruid, 65_534, "real uid");
    if let Some(before) = exec.uid_before {
        ensure_same!(before, 65_534, "uid before");
    }
    Ok(Verdict::Holds)
}
