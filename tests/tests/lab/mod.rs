//! A worker cgroup on the live kernel and `sandwatch run` that watches it.
#![expect(dead_code, reason = "each test program uses what it needs of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) mod leftovers;
pub(crate) mod runc;

pub(crate) const CGROUPS: &str = "/proc/self/mountinfo";

pub(crate) fn program() -> PathBuf {
    std::env::var_os("SANDWATCH_BIN").map_or_else(|| panic!("SANDWATCH_BIN names the program"), PathBuf::from)
}

pub(crate) fn sandwatch(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(args).env_remove("SANDWATCH_LOG").stdin(Stdio::null());
    command
}

/// Where cgroup2 is mounted.
pub(crate) fn cgroup_root() -> PathBuf {
    let text = fs::read_to_string(CGROUPS).unwrap();
    let line = text.lines().find(|line| line.contains(" - cgroup2 ")).unwrap();
    PathBuf::from(line.split(' ').nth(4).unwrap())
}

pub(crate) fn signal(child: &Child, signal: i32) {
    // SAFETY: kill only takes numbers; the child was not waited for, so its pid is its own.
    unsafe { libc::kill(i32::try_from(child.id()).unwrap(), signal) };
}

/// Enough for what is waited for on a machine that runs two VMs beside it.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for a clean end.
const END: Duration = Duration::from_secs(90);

pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let until = Instant::now() + END;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("it did not end within {END:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn alerts(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The highest revision of an incident among these alerts. Lines are not in the order of revisions: what is urgent is
/// sent first.
pub(crate) fn newest(alerts: &[Value], which: impl Fn(&Value) -> bool) -> Option<Value> {
    let wanted = alerts.iter().filter(|alert| which(alert));
    wanted.max_by_key(|alert| alert["incident"]["revision"].as_u64()).cloned()
}

/// A worker cgroup and an agent that watches it.
pub(crate) struct Lab {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) cgroup: PathBuf,
    pub(crate) agent: Child,
}

impl Lab {
    /// `sinks` is the value of that key; `FOLDER` in it is the lab's folder.
    pub(crate) fn new(name: &str, sinks: &str, rules: &Path) -> Self {
        Self::of(name, "n8n", sinks, rules)
    }

    /// The same, and cgroups of this pattern are watched too.
    pub(crate) fn watching(name: &str, pattern: &str, sinks: &str, rules: &Path) -> Self {
        Self::with(name, "n8n", &format!("  watch: [\"{pattern}\"]\n"), sinks, rules)
    }

    /// The same for a worker of another engine.
    pub(crate) fn of(name: &str, profile: &str, sinks: &str, rules: &Path) -> Self {
        Self::with(name, profile, "", sinks, rules)
    }

    fn with(name: &str, profile: &str, watch: &str, sinks: &str, rules: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cgroup_name = format!("sw-agent-{name}-{}", std::process::id());
        let cgroup = cgroup_root().join(&cgroup_name);
        fs::create_dir(&cgroup).unwrap();
        let config = folder.path().join("sandwatch.yaml");
        let text = format!(
            "schema: sandwatch/config/v1\nstate_dir: {}/state\nworkers:\n{watch}  assign: [{{ cgroup: \"/{cgroup_name}\", profile: {profile}, name: lab }}]\n\
             rules: [{}]\nsinks: {}\n",
            folder.path().display(),
            rules.display(),
            sinks.replace("FOLDER", &folder.path().display().to_string())
        );
        fs::write(&config, text).unwrap();
        let agent = start(folder.path());
        let lab = Self { folder, cgroup, agent };
        lab.wait_for_log("watching");
        lab
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub(crate) fn wait_for_log(&self, text: &str) {
        eventually(&format!("the log says {text:?}"), || self.log().contains(text));
    }

    /// Reads a secret of the catalogue's kind inside the worker.
    pub(crate) fn steal(&self) {
        let home = self.folder.path().join("home");
        fs::create_dir_all(home.join(".ssh")).unwrap();
        fs::write(home.join(".ssh/id_ed25519"), "no key").unwrap();
        let script = format!(
            "echo $$ > {}/cgroup.procs; cat {}/.ssh/id_ed25519",
            self.cgroup.display(),
            home.display()
        );
        assert!(
            Command::new("/bin/sh").args(["-c", &script]).stdout(Stdio::null()).status().unwrap().success()
        );
    }

    /// Kills the agent without a word and starts it again.
    pub(crate) fn kill_and_restart(&mut self) {
        self.kill_and_start();
        self.wait_for_log("watching");
    }

    /// The same, without waiting for it.
    pub(crate) fn kill_and_start(&mut self) {
        self.agent.kill().unwrap();
        self.agent.wait().unwrap();
        self.agent = start(self.folder.path());
    }

    /// The alerts in the lab's file, of [`FILE`].
    pub(crate) fn alerts(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("alerts.jsonl")).unwrap_or_default();
        // The last line may be half written.
        alerts(text.rsplit_once('\n').map_or("", |(whole, _)| whole))
    }

    pub(crate) fn stop(mut self) -> (ExitStatus, String) {
        signal(&self.agent, libc::SIGTERM);
        let status = wait(&mut self.agent);
        (status, self.log())
    }
}

/// `sandwatch run` with a lab's configuration.
fn start(folder: &Path) -> Child {
    let log = fs::File::create(folder.join("log")).unwrap();
    let config = folder.join("sandwatch.yaml");
    sandwatch(&["run", "--config", config.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
        let _ = fs::remove_dir(&self.cgroup);
    }
}

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn shipped_rules() -> PathBuf {
    std::env::var_os("SANDWATCH_RULES")
        .map_or_else(|| panic!("SANDWATCH_RULES names the rules"), PathBuf::from)
}

pub(crate) const FILE: &str = "[{ name: local, type: file, path: FOLDER/alerts.jsonl, retry: 100ms }]";
