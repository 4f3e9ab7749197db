//! What the measurements happen in: worker cgroups, files, rules and a configuration, all removed at the end.

use super::load::{Measured, Options};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Everything that the measured loops do is expected: what is measured is watching, not alerting.
const BENCH_PROFILE: &str = r#"schema: sandwatch/profile/v1
name: bench
title: A worker of the bench
expect:
  entry:
    exec: { allow: [{ any: true }] }
    identities: { allow: [{ id: bench-secret }] }
    connect: { allow: [{ scope: loopback }] }
"#;

/// What the first program executes is not expected.
const STRICT_PROFILE: &str = r#"schema: sandwatch/profile/v1
name: bench-strict
title: A worker of the bench whose first program may execute nothing
roles:
  - { name: starter, parent: entry, program: "*" }
expect:
  entry:
    exec: { allow: [{ any: true }] }
  starter:
    exec: { allow: [], else: boundary }
"#;

/// How much a worker may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rates {
    /// As shipped: over it, events are counted and not sent.
    Shipped,
    /// So much that every event is sent, where the cost of sending is measured.
    Unbounded,
}

/// The place of one bench run.
pub(crate) struct Lab {
    /// The bench's own cgroup; workers are below it.
    pub(crate) cgroup: PathBuf,
    /// Its path below the cgroup2 root.
    name: String,
    /// Files, rules, configuration, alerts.
    pub(crate) dir: PathBuf,
    program: PathBuf,
}

impl Lab {
    /// Makes the cgroups and files.
    ///
    /// # Errors
    /// Not root, or no cgroup2.
    pub(crate) fn new(shipped_rules: &Path) -> Result<Self> {
        let name = format!("sw-bench-{}", std::process::id());
        let root = cgroup2_root(&std::fs::read_to_string("/proc/self/mountinfo")?)
            .context("no cgroup2 is mounted (looked in /proc/self/mountinfo)")?;
        let lab = Self {
            cgroup: root.join(&name),
            dir: Path::new("/run").join(&name),
            name,
            program: std::env::current_exe().context("cannot tell this program's own file")?,
        };
        std::fs::create_dir(&lab.cgroup)
            .with_context(|| format!("cannot make {}: the bench runs as root", lab.cgroup.display()))?;
        lab.add_cgroup("worker")?;
        lab.add_cgroup("strict")?;
        for folder in ["a/b/c/d", "secret", "rules/profiles"] {
            std::fs::create_dir_all(lab.dir.join(folder))?;
        }
        std::fs::write(lab.plain_file(), "nothing\n")?;
        std::fs::write(lab.secret_file(), "not a real secret\n")?;
        std::fs::write(lab.dir.join("rules/identities.yaml"), lab.identities())?;
        std::fs::write(lab.dir.join("rules/profiles/bench.yaml"), BENCH_PROFILE)?;
        std::fs::write(lab.dir.join("rules/profiles/bench-strict.yaml"), STRICT_PROFILE)?;
        for rates in [Rates::Shipped, Rates::Unbounded] {
            std::fs::write(lab.config(rates), lab.configuration(shipped_rules, rates))?;
        }
        Ok(lab)
    }

    /// A file nobody watches, five folders deep.
    pub(crate) fn plain_file(&self) -> PathBuf {
        self.dir.join("a/b/c/d/file")
    }

    /// A file that is an identity.
    pub(crate) fn secret_file(&self) -> PathBuf {
        self.dir.join("secret/token")
    }

    /// The agent's configuration.
    pub(crate) fn config(&self, rates: Rates) -> PathBuf {
        self.dir.join(match rates {
            Rates::Shipped => "sandwatch.yaml",
            Rates::Unbounded => "unbounded.yaml",
        })
    }

    /// Where the agent writes alerts.
    pub(crate) fn alerts(&self) -> PathBuf {
        self.dir.join("alerts.jsonl")
    }

    /// A cgroup below the bench's own.
    pub(crate) fn add_cgroup(&self, name: &str) -> Result<PathBuf> {
        let dir = self.cgroup.join(name);
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(dir)
    }

    /// Starts a loop, in a cgroup if one is given.
    pub(crate) fn start(&self, cgroup: Option<&Path>, options: &Options) -> Result<Child> {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(&self.program);
        command.arg("bench-load").arg(super::value_name(options.load));
        if let Some(path) = &options.path {
            command.arg("--path").arg(path);
        }
        command.args(["--port", &options.port.to_string(), "--millis", &options.millis.to_string()]);
        command.args(["--rate", &options.rate.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        if let Some(cgroup) = cgroup {
            let entry = std::fs::OpenOptions::new().write(true).open(cgroup.join("cgroup.procs"))?;
            // SAFETY: between fork and exec only one write to an open descriptor happens, which is
            // async-signal-safe.
            unsafe {
                command.pre_exec(move || {
                    use std::io::Write as _;
                    (&entry).write_all(b"0")
                });
            }
        }
        command.spawn().with_context(|| format!("cannot start {}", self.program.display()))
    }

    /// Runs a loop to its end.
    pub(crate) fn run(&self, cgroup: Option<&Path>, options: &Options) -> Result<Measured> {
        finish(self.start(cgroup, options)?)
    }

    fn identities(&self) -> String {
        format!(
            "schema: sandwatch/identities/v1\nidentities:\n  - id: bench-secret\n    class: host\n    gives: nothing, \
             it is what the bench reads\n    paths: [\"{}\"]\n    respond: {{ rotate: Nothing. }}\n",
            self.secret_file().display()
        )
    }

    fn configuration(&self, shipped_rules: &Path, rates: Rates) -> String {
        let kernel = match rates {
            Rates::Shipped => "",
            Rates::Unbounded => "kernel: { priority_rate: 4000000, lifecycle_rate: 4000000 }\n",
        };
        format!(
            "schema: sandwatch/config/v1\nstate_dir: {dir}/state\nworkers:\n  watch: [\"/{name}/**\"]\n  assign:\n    \
             - {{ cgroup: \"/{name}/worker*\", profile: bench }}\n    - {{ cgroup: \"/{name}/strict*\", profile: \
             bench-strict }}\nrules: [\"{shipped}\", \"{dir}/rules\"]\nsinks:\n  - {{ name: bench, type: file, path: \
             \"{alerts}\", format: json }}\n{kernel}",
            dir = self.dir.display(),
            name = self.name,
            shipped = shipped_rules.display(),
            alerts = self.alerts().display(),
        )
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Nothing is left to be told about what cannot be removed but its name.
        let leftover = remove_cgroups(&self.cgroup).err().or(std::fs::remove_dir_all(&self.dir).err());
        if let Some(error) = leftover {
            eprintln!("bench: {} or {} is left over: {error}", self.cgroup.display(), self.dir.display());
        }
    }
}

/// Waits for a loop and reads what it measured.
pub(crate) fn finish(child: Child) -> Result<Measured> {
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("a measured loop failed: {}", output.status);
    }
    serde_json::from_slice(&output.stdout).context("a measured loop printed no measurement")
}

fn remove_cgroups(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroups(&entry.path())?;
        }
    }
    // A cgroup is busy until its last process is reaped.
    for _ in 0..100 {
        if std::fs::remove_dir(dir).is_ok() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::fs::remove_dir(dir)
}

/// Where cgroup2 is mounted.
fn cgroup2_root(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        file_system.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    })
}

#[cfg(test)]
mod tests {
    use super::cgroup2_root;
    use std::path::PathBuf;

    #[test]
    fn cgroup2_is_found_in_a_hybrid_layout() {
        let text = "30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid \
                    shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2_root(text), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(cgroup2_root("30 23 0:26 / /x rw - cgroup cgroup rw\n"), None);
    }
}
