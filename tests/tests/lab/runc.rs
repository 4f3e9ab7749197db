//! Containers of Debian's runc: the host's programs below a root of their own.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// A folder with a root and a configuration.
pub(crate) struct Bundle(pub(crate) tempfile::TempDir);

impl Bundle {
    /// A bundle that runs `args` in this cgroup (below the cgroup2 root), with what `more` changes of a tight container.
    pub(crate) fn new(cgroup: &Path, args: &[&str], more: impl FnOnce(&mut Value)) -> Self {
        let bundle = tempfile::tempdir().unwrap();
        let root = bundle.path().join("rootfs");
        fs::create_dir_all(root.join("root/.ssh")).unwrap();
        fs::write(root.join("root/.ssh/id_ed25519"), "no key").unwrap();
        for link in ["bin", "lib", "lib64"] {
            std::os::unix::fs::symlink(Path::new("usr").join(link), root.join(link)).unwrap();
        }
        let kinds = ["pid", "network", "ipc", "uts", "mount"];
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": { "uid": 0, "gid": 0 }, "args": args, "cwd": "/", "env": ["PATH=/usr/bin"],
                "noNewPrivileges": true, "capabilities": {},
            },
            "root": { "path": "rootfs" },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro", "nosuid"] },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"] },
                { "destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"] },
            ],
            "linux": {
                "namespaces": kinds.map(|kind| json!({ "type": kind })),
                "cgroupsPath": cgroup,
                // What any runtime refuses by default is more; that there is a filter is what counts.
                "seccomp": {
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{ "names": ["kexec_load"], "action": "SCMP_ACT_ERRNO" }],
                },
            },
        });
        more(&mut config);
        fs::write(bundle.path().join("config.json"), config.to_string()).unwrap();
        Self(bundle)
    }

    /// `runc` with the bundle's own folder for its state.
    pub(crate) fn runc(&self) -> Command {
        let mut runc = Command::new("runc");
        runc.arg("--root").arg(self.0.path().join("state")).stdin(Stdio::null()).stdout(Stdio::null());
        runc
    }

    /// The command that runs the container under this name.
    pub(crate) fn run(&self, name: &str) -> Command {
        let mut run = self.runc();
        run.args(["run", "--bundle"]).arg(self.0.path()).arg(name);
        run
    }

    /// Ends the container.
    pub(crate) fn kill(&self, name: &str) {
        let _ = self.runc().args(["kill", name, "KILL"]).stderr(Stdio::null()).status();
    }
}
