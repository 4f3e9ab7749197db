//! How real containers are set up, on the live kernel: what Debian's runc is told to give away is found, and nothing else.
//!
//! Needs root; `SANDWATCH_BIN` names the program, `SANDWATCH_RULES` its rules.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Child;

use serde_json::{Value, json};

mod lab;

use lab::runc::Bundle;
use lab::{FILE, Lab, eventually, shipped_rules};

/// What a container is given beyond what is its own.
#[derive(Default)]
struct Given {
    /// Namespaces that are not its own.
    shares: &'static [&'static str],
    /// Every capability, as `--privileged` gives them.
    privileged: bool,
    /// Single capabilities.
    capabilities: &'static [&'static str],
    /// Folders and sockets of the host: where, what, read-only.
    mounts: Vec<(&'static str, PathBuf, bool)>,
    env: &'static [&'static str],
    root: bool,
}

/// A container that sleeps in a worker.
struct Container {
    bundle: Bundle,
    name: String,
    run: Child,
}

impl Container {
    fn new(lab: &Lab, given: &Given) -> Self {
        let name = lab.cgroup.file_name().unwrap().to_string_lossy().into_owned();
        let bundle =
            Bundle::new(&Path::new("/").join(&name), &["/bin/sleep", "300"], |config| given.to(config));
        let run =
            bundle.run(&name).spawn().unwrap_or_else(|error| panic!("runc (Debian package runc): {error}"));
        Self { bundle, name, run }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.bundle.kill(&self.name);
        let _ = self.run.wait();
    }
}

impl Given {
    fn to(&self, config: &mut Value) {
        let own = |kind: &Value| !self.shares.iter().any(|shared| kind["type"] == *shared);
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(own);
        let user = if self.root { 0 } else { 1000 };
        config["process"]["user"] = json!({ "uid": user, "gid": user });
        config["root"]["readonly"] = json!(!self.root);
        let capabilities: Vec<String> = match self.privileged {
            true => bounding_of_init(),
            false => self.capabilities.iter().map(|name| (*name).to_owned()).collect(),
        };
        config["process"]["noNewPrivileges"] = json!(capabilities.is_empty());
        config["process"]["capabilities"] =
            json!({ "bounding": capabilities, "effective": capabilities, "permitted": capabilities });
        if self.privileged {
            config["linux"].as_object_mut().unwrap().remove("seccomp");
        }
        let mounts = config["mounts"].as_array_mut().unwrap();
        if self.shares.contains(&"network") {
            // A new sysfs needs a network namespace of one's own.
            mounts[1] =
                json!({ "destination": "/sys", "type": "bind", "source": "/sys", "options": ["bind", "ro"] });
        }
        for (at, from, read_only) in &self.mounts {
            let options = if *read_only { json!(["bind", "ro"]) } else { json!(["bind"]) };
            mounts.push(json!({ "destination": at, "type": "bind", "source": from, "options": options }));
        }
        let env = config["process"]["env"].as_array_mut().unwrap();
        env.extend(self.env.iter().map(|pair| json!(pair)));
    }
}

/// The names of the capabilities that the host's first process may have.
fn bounding_of_init() -> Vec<String> {
    const NAMES: &str = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE \
        NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE \
        SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL \
        SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE";
    let status = fs::read_to_string("/proc/1/status").unwrap();
    let hex = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap().trim();
    let bits = u64::from_str_radix(hex, 16).unwrap();
    let names = NAMES.split_whitespace().enumerate();
    names.filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, name)| format!("CAP_{name}")).collect()
}

fn postures(lab: &Lab) -> Vec<Value> {
    lab.alerts().into_iter().filter(|alert| alert["kind"] == "posture").collect()
}

fn ids(alert: &Value) -> Vec<String> {
    let findings = alert["posture"]["findings"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<String> = findings.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids
}

/// A worker that is set up so, once it was looked at.
fn looked_at(name: &str, given: &Given) -> (Lab, Container) {
    let lab = Lab::new(name, FILE, &shipped_rules());
    let container = Container::new(&lab, given);
    eventually("the container runs", || sleeps(&lab));
    eventually("it was looked at", || lab.log().contains("set-up looked at"));
    (lab, container)
}

/// The posture of a worker that is set up so.
fn found(name: &str, given: &Given) -> (Lab, Container, Value) {
    let (lab, container) = looked_at(name, given);
    eventually("its posture is told", || !postures(&lab).is_empty());
    let mut said = nothing_more(&lab);
    assert_eq!(said.len(), 1, "once: {said:#?}");
    (lab, container, said.remove(0))
}

/// All that was told of postures, a turn or so after what was expected came: nothing shows that no more will.
fn nothing_more(lab: &Lab) -> Vec<Value> {
    std::thread::sleep(std::time::Duration::from_millis(500));
    postures(lab)
}

fn sleeps(lab: &Lab) -> bool {
    let members = fs::read_to_string(lab.cgroup.join("cgroup.procs")).unwrap_or_default();
    let exe = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).ok();
    members
        .lines()
        .any(|pid| exe(pid).is_some_and(|exe| exe.ends_with("sleep") || exe.ends_with("coreutils")))
}

#[test]
fn tight_container_has_no_posture() {
    let (lab, container) = looked_at("tight", &Given::default());
    let said = nothing_more(&lab);
    assert!(said.is_empty(), "{said:#?}");
    drop(container);
    drop(lab);
}

#[test]
fn privileged_container_is_told_reaches_the_host_and_is_over_with_it() {
    let given = Given { privileged: true, root: true, ..Given::default() };
    let (lab, container, alert) = found("privileged", &given);
    assert_eq!(ids(&alert), ["n8n-as-root", "no-seccomp", "privileged-worker", "root-with-writable-root"]);
    assert_eq!(alert["posture"]["findings"][0]["id"], "privileged-worker", "the worst first");
    assert_eq!(alert["posture"]["reaches_host"], true);
    assert_eq!((&alert["severity"], &alert["state"]), (&json!("high"), &json!("open")));
    assert_eq!(alert["worker"]["posture"][0], "privileged-worker");
    drop(container);
    fs::remove_dir(&lab.cgroup).unwrap_or_default();
    eventually("it is over", || postures(&lab).iter().any(|alert| alert["state"] == "closed"));
    let over = postures(&lab).pop().unwrap();
    assert_eq!(over["posture"]["condition"], alert["posture"]["condition"]);
    assert_eq!(over["closed_by"], "recovered");
}

#[test]
fn namespaces_of_the_host_are_told_one_by_one() {
    let given = Given { shares: &["pid", "network", "ipc"], ..Given::default() };
    let (_lab, _container, alert) = found("shares", &given);
    assert_eq!(ids(&alert), ["host-ipc-namespace", "host-network-namespace", "host-pid-namespace"]);
}

#[test]
fn socket_of_a_runtime_and_folders_of_the_host_are_told_whatever_they_are_called_inside() {
    // No runtime runs here: a socket of the name that it would have.
    let folder = PathBuf::from(format!("/run/sw-posture-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let socket = folder.join("docker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let given = Given {
        mounts: vec![
            ("/tmp/harmless", socket, true),
            ("/conf", "/etc".into(), true),
            ("/cache", "/srv".into(), false),
        ],
        ..Given::default()
    };
    let (_lab, _container, alert) = found("mounts", &given);
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(ids(&alert), ["host-path-mounted", "host-system-folder-readable", "runtime-socket-mounted"]);
    let detail = alert["posture"]["findings"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("/tmp/harmless (the host's /run/sw-posture-"), "{detail}");
    assert_eq!(alert["posture"]["reaches_host"], true);
}

#[test]
fn capabilities_and_settings_are_told_by_name_and_no_value_of_a_credential() {
    let given = Given {
        capabilities: &["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_KILL"],
        env: &["DB_POSTGRESDB_PASSWORD=hunter2hunter2", "N8N_RUNNERS_INSECURE_MODE=true"],
        ..Given::default()
    };
    let (lab, _container, alert) = found("settings", &given);
    assert_eq!(
        ids(&alert),
        ["credentials-in-environment", "excessive-capabilities", "host-capabilities", "n8n-runners-insecure"]
    );
    let text = alert.to_string();
    assert!(
        text.contains("capabilities sys_admin\"") && text.contains("variables DB_POSTGRESDB_PASSWORD"),
        "{text}"
    );
    assert!(!text.contains("hunter2") && !lab.log().contains("hunter2"));
}
