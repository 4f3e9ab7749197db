//! What the play needs, made and taken away: a folder, a cgroup, a secret that is none, a collector.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::statfs::FsType;

use super::DemoError;

/// Where demos keep their folders: `rules/identities/demo.yaml` names it. On a disk, so that the toy's programs are
/// trusted as an installed engine's would be (programs on tmpfs are not).
const BASE: &str = "/var/lib/sandwatch";
/// The collector's address: `rules/endpoints/demo.yaml` names it.
const COLLECTOR: &str = "127.83.87.1:0";
/// Names of the toy's programs: `rules/profiles/demo.yaml` names them.
const PROGRAMS: [&str; 3] = ["toy-engine", "toy-runner", "toy-step"];

/// The stage. Dropping it kills what runs in its cgroup and removes everything.
pub(super) struct Stage {
    folder: PathBuf,
    cgroup: PathBuf,
    cgroup_name: String,
    /// Where the stolen secret is sent.
    pub(super) collector: TcpListener,
}

impl Stage {
    /// Makes everything. What demos that were killed left behind is removed first.
    pub(super) fn set(cgroup_root: &Path) -> Result<Self, DemoError> {
        remove_leftovers(cgroup_root);
        let id = std::process::id();
        let address = COLLECTOR.to_owned();
        let collector = TcpListener::bind(COLLECTOR)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|source| DemoError::Collector { address, source })?;
        let cgroup_name = format!("sandwatch-demo-{id}");
        let stage = Self {
            folder: Path::new(BASE).join(format!("demo-{id}")),
            cgroup: cgroup_root.join(&cgroup_name),
            cgroup_name,
            collector,
        };
        // From here on an early return drops `stage`, which removes what was made so far.
        for part in ["bin", "secrets/serviceaccount", "work"] {
            make_folder(&stage.folder.join(part))?;
        }
        check_disk(&stage.folder)?;
        stage.plant_programs()?;
        write(&stage.secret(), "this-is-a-fake-token-planted-by-sandwatch-demo\n", 0o600)?;
        fs::create_dir(&stage.cgroup).map_err(at("cannot make the cgroup", &stage.cgroup))?;
        write(&stage.config(), &stage.config_text(), 0o600)?;
        Ok(stage)
    }

    /// A copy of this program under the first name, links under the others: each has its own path, as programs of an engine do.
    fn plant_programs(&self) -> Result<(), DemoError> {
        let ours = Path::new("/proc/self/exe");
        let first = self.program(PROGRAMS[0]);
        fs::copy(ours, &first).map_err(at("cannot copy this program to", &first))?;
        fs::set_permissions(&first, fs::Permissions::from_mode(0o755))
            .map_err(at("cannot make executable", &first))?;
        for name in &PROGRAMS[1..] {
            let link = self.program(name);
            fs::hard_link(&first, &link).map_err(at("cannot link", &link))?;
        }
        Ok(())
    }

    fn config_text(&self) -> String {
        format!(
            "schema: sandwatch/config/v1\nenvironment: demo\nstate_dir: {}\nworkers: {{ watch: [\"/{}\"] }}\nrules: []\n",
            self.folder.display(),
            self.cgroup_name
        )
    }

    /// Path of one of the toy's programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// The demo's folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The planted secret.
    pub(super) fn secret(&self) -> PathBuf {
        self.folder.join("secrets/serviceaccount/token")
    }

    /// The agent's configuration.
    pub(super) fn config(&self) -> PathBuf {
        self.folder.join("sandwatch.yaml")
    }

    /// Where a process writes its id to enter the worker.
    pub(super) fn cgroup_procs(&self) -> PathBuf {
        self.cgroup.join("cgroup.procs")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = remove_cgroup(&self.cgroup) {
            crate::observe::complain(&format!(
                "sandwatch: cannot remove the demo's cgroup {}: {error}",
                self.cgroup.display()
            ));
        }
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                crate::observe::complain(&format!(
                    "sandwatch: cannot remove the demo's folder {}: {error}",
                    self.folder.display()
                ));
            }
            _ => {}
        }
        // Only if it is empty: an installed agent keeps its state there.
        let _ = fs::remove_dir(BASE);
    }
}

/// A program on one of these could be anything, so no agent takes one there for a workflow engine: the play would be about
/// strays.
const UNTRUSTED: [(FsType, &str); 3] = [
    (nix::sys::statfs::TMPFS_MAGIC, "tmpfs"),
    (FsType(0x8584_58f6), "ramfs"),
    (nix::sys::statfs::OVERLAYFS_SUPER_MAGIC, "overlayfs (a container's writable layer)"),
];

fn check_disk(folder: &Path) -> Result<(), DemoError> {
    let failed = |errno: nix::errno::Errno| at("cannot look at the file system of", folder)(errno.into());
    let kind = nix::sys::statfs::statfs(folder).map_err(failed)?.filesystem_type();
    match UNTRUSTED.iter().find(|(magic, _)| *magic == kind) {
        Some((_, name)) => Err(DemoError::Disk { path: folder.to_owned(), name }),
        None => Ok(()),
    }
}

fn make_folder(path: &Path) -> Result<(), DemoError> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(at("cannot make the folder", path))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), DemoError> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(at("cannot write", path))
}

fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DemoError {
    let path = path.to_owned();
    move |source| DemoError::Stage { what, path, source }
}

/// Kills what is in the cgroup and removes it. A cgroup with dying processes refuses for some milliseconds.
fn remove_cgroup(cgroup: &Path) -> io::Result<()> {
    if !cgroup.exists() {
        return Ok(());
    }
    let until = Instant::now() + Duration::from_secs(3);
    loop {
        kill_members(cgroup);
        match fs::remove_dir(cgroup) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn kill_members(cgroup: &Path) {
    // Since Linux 5.14 all at once; one by one before.
    if fs::write(cgroup.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    for line in fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default().lines() {
        if let Ok(pid) = line.parse::<i32>() {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// What demos left behind that were killed: their names end in the id of a process that is gone.
fn remove_leftovers(cgroup_root: &Path) {
    for (folder, prefix) in [(cgroup_root, "sandwatch-demo-"), (Path::new(BASE), "demo-")] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let id = name
                .to_str()
                .and_then(|name| name.strip_prefix(prefix))
                .and_then(|id| id.parse::<u32>().ok());
            let Some(id) = id else { continue };
            if Path::new(&format!("/proc/{id}")).exists() {
                continue;
            }
            let _ = if folder == cgroup_root {
                remove_cgroup(&entry.path())
            } else {
                fs::remove_dir_all(entry.path())
            };
        }
    }
}
