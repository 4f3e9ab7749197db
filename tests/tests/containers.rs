//! What the agent tells apart by state, on the live kernel: setting a container up from entering it, a sandbox inside the
//! worker from the host outside, a program from the one that took its place.
//!
//! Needs root; `SANDWATCH_BIN` names the program, `SANDWATCH_RULES` its rules.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

mod lab;

use lab::{FILE, Lab, eventually, shipped_rules};

/// A shell in a worker that does what it is told, line by line.
struct Shell(Child);

/// How a shell comes into its worker.
enum By<'a> {
    /// By executing it there.
    Exec,
    /// In mounts of its own, as a container's.
    OwnMounts,
    /// Out of this memory, as a container runtime does; only then is the shell executed.
    Memory(&'a OwnedFd),
}

impl Shell {
    fn new(lab: &Lab, by: &By<'_>) -> Self {
        let members = CString::new(lab.cgroup.join("cgroup.procs").as_os_str().as_bytes()).unwrap();
        let own_mounts = matches!(by, By::OwnMounts);
        let mut command = match by {
            // The program from memory is a shell too, which executes the one that stays.
            By::Memory(memory) => {
                let mut command = Command::new(format!("/proc/self/fd/{}", memory.as_raw_fd()));
                command.arg0("runc").args(["-c", "exec /bin/sh"]);
                command
            }
            By::Exec | By::OwnMounts => Command::new("/bin/sh"),
        };
        // SAFETY: system calls on what was made before; nothing is allocated or locked.
        unsafe {
            command.pre_exec(move || {
                if own_mounts && libc::unshare(libc::CLONE_NEWNS) != 0 {
                    return Err(io::Error::last_os_error());
                }
                let file = libc::open(members.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                if file < 0 || libc::write(file, c"0".as_ptr().cast(), 1) != 1 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let exe = format!("/proc/{}/exe", child.id());
        let shell = fs::canonicalize("/bin/sh").unwrap();
        eventually("the shell runs", || fs::read_link(&exe).is_ok_and(|exe| exe == shell));
        Self(child)
    }

    fn tell(&mut self, line: &str) {
        self.0.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program in memory that children inherit.
fn in_memory(program: &str) -> OwnedFd {
    // SAFETY: a new descriptor of this process's own.
    let memory = unsafe { OwnedFd::from_raw_fd(libc::memfd_create(c"runc_cloned".as_ptr(), 0)) };
    fs::File::from(memory.try_clone().unwrap()).write_all(&fs::read(program).unwrap()).unwrap();
    memory
}

/// A key in the lab's folder.
fn key(lab: &Lab, home: &str) -> PathBuf {
    let path = lab.folder.path().join(home).join(".ssh/id_ed25519");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "no key").unwrap();
    path
}

/// The findings of all alerts so far.
fn found(lab: &Lab) -> Vec<String> {
    let mut all = Vec::new();
    for alert in lab.alerts() {
        let chain = alert["incident"]["chain"].as_array().cloned().unwrap_or_default();
        all.extend(chain.iter().filter_map(|link| link["finding"].as_str()).map(str::to_owned));
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn has(lab: &Lab, finding: &str) -> bool {
    found(lab).iter().any(|id| id == finding)
}

/// Whether a key was read by a process of this role.
fn read_by(lab: &Lab, role: &str) -> bool {
    let is = |alert: &Value| {
        alert["file"]["identity"] == "ssh-private-key" && alert["process"]["role"].as_str() == Some(role)
    };
    lab.alerts().iter().any(is)
}

#[test]
fn runtime_from_memory_sets_a_worker_up_and_code_from_memory_inside_is_found() {
    let lab = Lab::new("setup", FILE, &shipped_rules());
    let key = key(&lab, "home");
    let memory = in_memory("/bin/sh");
    let mut shell = Shell::new(&lab, &By::Memory(&memory));
    shell.tell(&format!("cat {}", key.display()));
    eventually("the theft is told", || has(&lab, "unexpected-identity"));
    assert!(read_by(&lab, "entry"), "what the runtime started is the entry: {:#?}", lab.alerts());
    for finding in ["exec-from-memory", "operator-session", "exec-by-descriptor"] {
        assert!(!has(&lab, finding), "{finding} is said of setting up: {:?}", found(&lab));
    }
    // The descriptor was inherited; now it is somebody inside who executes it.
    shell.tell(&format!("/proc/self/fd/{} -c :", memory.as_raw_fd()));
    eventually("the program from memory is found", || has(&lab, "exec-from-memory"));
}

#[test]
fn who_enters_a_worker_that_is_set_up_is_an_operator() {
    let lab = Lab::new("enter", FILE, &shipped_rules());
    let key = key(&lab, "home");
    let first = Shell::new(&lab, &By::Exec);
    let mut operator = Shell::new(&lab, &By::Exec);
    eventually("the session is told", || has(&lab, "operator-session"));
    let session =
        lab.alerts().into_iter().find(|alert| alert.to_string().contains("operator-session")).unwrap();
    assert_eq!(session["tier"], "deviation", "nobody is woken for it: {session:#}");
    operator.tell(&format!("cat {}", key.display()));
    eventually("what the operator takes is told", || read_by(&lab, "operator"));
    drop(first);
}

/// A container of Debian's runc in the worker: the host's programs below a root of its own, with a key in it.
struct Container {
    bundle: tempfile::TempDir,
    shell: Child,
}

impl Container {
    const NAME: &str = "job";

    fn new(lab: &Lab) -> Self {
        let bundle = tempfile::tempdir().unwrap();
        let root = bundle.path().join("rootfs");
        fs::create_dir_all(root.join("root/.ssh")).unwrap();
        fs::write(root.join("root/.ssh/id_ed25519"), "no key").unwrap();
        for link in ["bin", "lib", "lib64"] {
            std::os::unix::fs::symlink(Path::new("usr").join(link), root.join(link)).unwrap();
        }
        let cgroup = Path::new("/").join(lab.cgroup.file_name().unwrap()).join(Self::NAME);
        let config = serde_json::json!({
            "ociVersion": "1.0.2",
            "process": { "user": { "uid": 0, "gid": 0 }, "args": ["/bin/sh"], "cwd": "/", "env": ["PATH=/usr/bin"] },
            "root": { "path": "rootfs" },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"] },
            ],
            "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }], "cgroupsPath": cgroup },
        });
        fs::write(bundle.path().join("config.json"), config.to_string()).unwrap();
        let mut run = Self::runc(&bundle);
        run.args(["run", "--bundle"]).arg(bundle.path()).arg(Self::NAME).stdin(Stdio::piped());
        let shell = run.spawn().unwrap_or_else(|error| panic!("runc (Debian package runc): {error}"));
        Self { bundle, shell }
    }

    fn runc(bundle: &tempfile::TempDir) -> Command {
        let mut runc = Command::new("runc");
        runc.arg("--root").arg(bundle.path().join("state")).stdout(Stdio::null());
        runc
    }

    fn tell(&mut self, line: &str) {
        self.shell.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// What `docker exec` and `kubectl exec` end up with.
    fn enter(&self, script: &str) {
        let status = Self::runc(&self.bundle)
            .args(["exec", Self::NAME, "/bin/sh", "-c", script])
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The shell's input ends, and with it the container.
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

#[test]
fn container_of_a_real_runtime_is_set_up_in_silence_and_entered_as_an_operator() {
    const READ: &str = "cat /root/.ssh/id_ed25519";
    let lab = Lab::new("runc", FILE, &shipped_rules());
    let mut container = Container::new(&lab);
    container.tell(READ);
    eventually("what the container does is told", || has(&lab, "unexpected-identity"));
    assert!(read_by(&lab, "entry"), "the container's program is the entry: {:#?}", lab.alerts());
    assert_eq!(found(&lab), ["unexpected-identity"], "setting up is nothing to find");
    container.enter(READ);
    eventually("who enters is told", || read_by(&lab, "operator"));
    assert!(has(&lab, "operator-session"), "{:?}", found(&lab));
    assert!(!has(&lab, "exec-from-memory"), "{:?}", found(&lab));
}

#[test]
fn sandbox_inside_the_worker_is_not_outside_and_the_host_is() {
    let lab = Lab::new("nested", FILE, &shipped_rules());
    let inside = key(&lab, "inside");
    let outside = lab.folder.path().join("plain");
    fs::write(&outside, "no secret").unwrap();
    let mut shell = Shell::new(&lab, &By::OwnMounts);
    let pid = lab.folder.path().join("pid");
    shell.tell(&format!("unshare -m sleep 60 & echo $! > {}", pid.display()));
    let sleeps = || {
        let pid = fs::read_to_string(&pid).ok()?.trim().to_owned();
        fs::read_link(format!("/proc/{pid}/exe")).ok().filter(|exe| exe.ends_with("sleep")).map(|_| pid)
    };
    eventually("the sandbox is there", || sleeps().is_some());
    let sandbox = sleeps().unwrap();
    shell.tell(&format!("cat /proc/{sandbox}/root{}", inside.display()));
    eventually("the key inside is found", || has(&lab, "unexpected-identity"));
    assert!(!has(&lab, "file-outside-the-sandbox"), "mounts made below are nested: {:?}", found(&lab));
    shell.tell(&format!("cat /proc/{}/root{}", std::process::id(), outside.display()));
    eventually("the host's file is outside", || has(&lab, "file-outside-the-sandbox"));
    shell.tell(&format!("kill {sandbox}"));
}

#[test]
fn engine_that_was_replaced_after_its_first_start_is_told() {
    let lab = Lab::of("pins", "github-actions", FILE, &shipped_rules());
    let runner = tempfile::tempdir_in("/opt").unwrap();
    let bin = runner.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let put = |name: &str| {
        let path: &Path = &bin.join(name);
        // Another file, not the same one with other content.
        let _ = fs::remove_file(path);
        fs::copy(fs::canonicalize("/bin/sh").unwrap(), path).unwrap();
    };
    put("Runner.Listener");
    put("Runner.Worker");
    fs::write(runner.path().join("run"), "while read line; do eval \"$line\"; done\n").unwrap();
    fs::write(runner.path().join("spawnclient"), format!("echo >> {}/jobs\n", runner.path().display()))
        .unwrap();
    let jobs = || fs::read_to_string(runner.path().join("jobs")).unwrap_or_default().len();

    let mut shell = Shell::new(&lab, &By::Exec);
    shell.tell(&format!("cd {} && exec ./bin/Runner.Listener run", runner.path().display()));
    let exe = format!("/proc/{}/exe", shell.0.id());
    eventually("the listener runs", || fs::read_link(&exe).is_ok_and(|exe| exe.ends_with("Runner.Listener")));
    let job = "./bin/Runner.Worker spawnclient 1 2";
    shell.tell(job);
    eventually("a job has run", || jobs() == 1);
    shell.tell(job);
    eventually("another has run", || jobs() == 2);
    put("Runner.Worker");
    shell.tell(job);
    eventually("the other file is told", || has(&lab, "engine-binary-changed"));
    assert_eq!(jobs(), 3);
    let told =
        lab.alerts().into_iter().find(|alert| alert.to_string().contains("engine-binary-changed")).unwrap();
    let chain = told["incident"]["chain"].as_array().unwrap();
    assert_eq!(chain.len(), 1, "the first two jobs were as expected: {told:#}");
}
