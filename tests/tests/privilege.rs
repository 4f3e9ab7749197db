//! The agent with as little as it needs, on the live kernel and in every VM: what each of its threads may do, and that it watches,
//! reloads and ends like that.
//!
//! Needs root; `SANDWATCH_BIN` names the program, `SANDWATCH_HOOKS` the rungs.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

mod lab;

use lab::{alerts, cgroup_root, sandwatch, signal, wait};

/// Numbers of capabilities (include/uapi/linux/capability.h).
const DAC_READ_SEARCH: i32 = 2;
const NET_ADMIN: i32 = 12;
const SYS_PTRACE: i32 = 19;
const PERFMON: i32 = 38;
const BPF: i32 = 39;
/// The highest that kernels know; later ones are not there to be dropped.
const HIGHEST: i32 = 63;
/// What the service and the pod are given.
const SHIPPED: [i32; 5] = [BPF, PERFMON, SYS_PTRACE, DAC_READ_SEARCH, NET_ADMIN];
/// What is left once it watches.
const KEPT: [i32; 3] = [BPF, SYS_PTRACE, DAC_READ_SEARCH];
/// Somebody who is not root.
const STRANGER: u32 = 65534;

/// How long anything may take: an emulated processor needs its time over the probes.
const PATIENCE: Duration = Duration::from_secs(90);

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn bits(capabilities: &[i32]) -> u64 {
    capabilities.iter().fold(0, |bits, capability| bits | 1 << capability)
}

/// An agent that watches one cgroup, with rules of this test.
struct Watch {
    folder: tempfile::TempDir,
    cgroup: PathBuf,
    agent: Child,
}

impl Watch {
    /// `given`: the capabilities it may have; none named: all that this test has.
    fn start(name: &str, given: Option<Vec<i32>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Workers' files lie in it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let cgroup_name = format!("sw-least-{name}-{}", std::process::id());
        let cgroup = cgroup_root().join(&cgroup_name);
        fs::create_dir(&cgroup).unwrap();
        let here = folder.path().display();
        fs::create_dir(folder.path().join("rules")).unwrap();
        // Debian's kernels start with 3, where tracepoints want CAP_SYS_ADMIN: doctor says so, and a VM is nobody's.
        if std::env::var_os("SANDWATCH_VM").is_some() {
            fs::write("/proc/sys/kernel/perf_event_paranoid", "2").unwrap();
        }
        let config = folder.path().join("sandwatch.yaml");
        let text = format!(
            "schema: sandwatch/config/v1\nstate_dir: {here}/state\nworkers: {{ watch: [\"/{cgroup_name}\"] }}\n\
             rules: [{here}/rules]\nsinks: [{{ name: local, type: file, path: {here}/alerts.jsonl, retry: 100ms }}]\n"
        );
        fs::write(&config, text).unwrap();
        let rules = folder.path().join("rules/identities.yaml");
        fs::write(rules, identities(&["first"])).unwrap();
        let mut command = sandwatch(&["run", "--config", config.to_str().unwrap()]);
        if let Ok(hooks) = std::env::var("SANDWATCH_HOOKS") {
            command.args(["--hooks", &hooks]);
        }
        let log = fs::File::create(folder.path().join("log")).unwrap();
        command.stdout(Stdio::null()).stderr(log);
        // SAFETY: system calls on memory that was made before the fork.
        unsafe { command.pre_exec(move || given.as_deref().map_or(Ok(()), bound)) };
        let watch = Self { agent: command.spawn().unwrap(), folder, cgroup };
        watch.wait_for_log("\"watching\"");
        watch
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn wait_for_log(&self, text: &str) {
        eventually(&format!("the log says {text}"), || {
            let log = self.log();
            assert!(!log.contains("\nsandwatch: "), "it ended: {log}");
            log.contains(text)
        });
    }

    /// A file of somebody who lets nobody else in.
    fn private_file(&self, name: &str) -> PathBuf {
        let home = self.folder.path().join("home");
        fs::create_dir_all(&home).unwrap();
        let file = home.join(name);
        fs::write(&file, "no secret").unwrap();
        for (path, mode) in [(&file, 0o600), (&home, 0o700)] {
            chown(path, Some(STRANGER), Some(STRANGER)).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        file
    }

    /// Reads a file in the worker, as the stranger.
    fn read(&self, file: &Path) {
        let procs = fs::OpenOptions::new().write(true).open(self.cgroup.join("cgroup.procs")).unwrap();
        let mut command = Command::new("/bin/cat");
        command.arg(file).stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: system calls on memory that was made before the fork.
        unsafe {
            command.pre_exec(move || {
                use std::io::Write;
                (&procs).write_all(b"0")?;
                done(libc::setgroups(0, std::ptr::null()))?;
                done(libc::setgid(STRANGER))?;
                done(libc::setuid(STRANGER))
            });
        }
        assert!(command.status().unwrap().success());
    }

    /// Waits for an alert that names this identity.
    fn wait_for(&self, identity: &str) -> Value {
        let file = self.folder.path().join("alerts.jsonl");
        let named = || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            // The last line may be half written.
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole).to_owned();
            alerts(&whole).into_iter().find(|alert| alert["file"]["identity"] == identity)
        };
        eventually(&format!("an alert names {identity}; log: {}", self.log()), || named().is_some());
        named().unwrap()
    }

    /// Puts other identities in force, and waits until they are.
    fn reload(&self, names: &[&str]) {
        let before = self.log().matches("\"rules loaded\"").count();
        fs::write(self.folder.path().join("rules/identities.yaml"), identities(names)).unwrap();
        eventually("the rules are loaded", || self.log().matches("\"rules loaded\"").count() > before);
    }

    /// Holds every thread against what it may have.
    fn check_threads(&self, bounding: Option<u64>) {
        let tasks: Vec<PathBuf> = fs::read_dir(format!("/proc/{}/task", self.agent.id()))
            .unwrap()
            .map(|task| task.unwrap().path())
            .collect();
        assert!(tasks.len() >= 3, "its own, the spool's and the sink's thread: {tasks:?}");
        for task in tasks {
            let name = fs::read_to_string(task.join("comm")).unwrap();
            let status = fs::read_to_string(task.join("status")).unwrap();
            let field = |wanted: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(wanted));
                line.unwrap_or_else(|| panic!("no {wanted} in {status}")).trim().to_owned()
            };
            let set = |wanted: &str| u64::from_str_radix(&field(wanted), 16).unwrap();
            assert_eq!(set("CapEff:"), bits(&KEPT), "effective of {name}");
            assert_eq!(set("CapPrm:"), bits(&KEPT), "permitted of {name}");
            assert_eq!((set("CapInh:"), set("CapAmb:")), (0, 0), "inherited by {name}");
            if let Some(bounding) = bounding {
                assert_eq!(set("CapBnd:"), bounding, "bounding of {name}");
            }
            assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".into(), "2".into()), "{name}");
        }
    }

    /// Ends it and looks what it left.
    fn stop(mut self) {
        signal(&self.agent, libc::SIGTERM);
        let status = wait(&mut self.agent);
        assert_eq!(status.code(), Some(0), "{}", self.log());
        assert!(!self.log().contains("ERROR"), "{}", self.log());
        let canary = cgroup_root().join(format!("sandwatch-canary-{}", self.agent.id()));
        assert!(!canary.exists(), "{} is left", canary.display());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
        let _ = fs::remove_dir(&self.cgroup);
    }
}

fn done(result: i32) -> std::io::Result<()> {
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Leaves this process, which is about to execute the agent as root, with these capabilities at most; with the limit that a
/// service has which is not given CAP_SYS_RESOURCE.
fn bound(given: &[i32]) -> std::io::Result<()> {
    let unlimited = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: system calls that take numbers, and a limit of ours.
    unsafe {
        // Kernels from 5.11 need no such limit, and this test may not be allowed to raise it.
        libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const unlimited);
        for capability in (0..=HIGHEST).filter(|capability| !given.contains(capability)) {
            if libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) == 1 {
                done(libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0))?;
            }
        }
    }
    Ok(())
}

/// A catalogue of identities whose file is named like them.
fn identities(names: &[&str]) -> String {
    let mut text = "schema: sandwatch/identities/v1\nidentities:\n".to_owned();
    for name in names {
        text.push_str(&format!(
            "  - id: {name}\n    class: ssh\n    gives: nothing\n    paths: [\"/**/{name}.secret\"]\n    \
             respond: {{ revoke: Nothing. }}\n    refs: {{ owasp_nhi: [NHI7] }}\n"
        ));
    }
    text
}

#[test]
fn least_root_gives_up_all_but_three_capabilities_in_every_thread_and_set() {
    let watch = Watch::start("root", None);
    watch.check_threads(Some(bits(&KEPT)));
    watch.read(&watch.private_file("first.secret"));
    let alert = watch.wait_for("first");
    assert_eq!(alert["process"]["uid"], STRANGER);
    watch.stop();
}

#[test]
fn least_shipped_capabilities_watch_reload_and_end_in_order() {
    let watch = Watch::start("shipped", Some(SHIPPED.to_vec()));
    // Nobody without CAP_SETPCAP changes the bounding set.
    watch.check_threads(Some(bits(&SHIPPED)));
    watch.read(&watch.private_file("first.secret"));
    watch.wait_for("first");
    // The filter has two generations, made before anything was given up: both are filled once more.
    for name in ["second", "third", "fourth"] {
        watch.reload(&["first", name]);
        watch.read(&watch.private_file(&format!("{name}.secret")));
        watch.wait_for(name);
    }
    watch.check_threads(Some(bits(&SHIPPED)));
    watch.stop();
}

#[test]
fn least_secret_of_somebody_else_is_known_by_its_inode() {
    let watch = Watch::start("inode", Some(SHIPPED.to_vec()));
    let secret = watch.private_file("first.secret");
    // Found when it is opened by its path, and known from then on: also by a name that no rule has.
    watch.read(&secret);
    watch.wait_for("first");
    let other = secret.with_file_name("other");
    fs::hard_link(&secret, &other).unwrap();
    let by_other_name = || {
        watch.read(&other);
        let text = fs::read_to_string(watch.folder.path().join("alerts.jsonl")).unwrap();
        text.contains("/other\"")
    };
    eventually("an alert names the other path", by_other_name);
    watch.stop();
}

#[test]
fn least_agent_without_ptrace_goes_on_as_it_began() {
    let mut given = SHIPPED.to_vec();
    given.retain(|capability| *capability != SYS_PTRACE);
    let watch = Watch::start("no-ptrace", Some(given));
    let status = fs::read_to_string(format!("/proc/{}/status", watch.agent.id())).unwrap();
    let kept = format!("CapEff:\t{:016x}", bits(&[BPF, PERFMON, DAC_READ_SEARCH]));
    assert!(status.contains(&kept), "{status}");
    watch.read(&watch.private_file("first.secret"));
    watch.wait_for("first");
    watch.stop();
}
