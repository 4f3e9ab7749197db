//! The shape of the configuration file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::sink::SinkConfig;
use super::size::{Bytes, Span};
use crate::kernel::{HookChoice, KernelError};
use crate::profile::doc::OneOrMany;

/// The `schema` of a configuration file.
pub const CONFIG_SCHEMA: &str = "sandwatch/config/v1";

/// The configuration of the agent.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Always `sandwatch/config/v1`.
    pub schema: String,
    /// Name of the cluster or fleet; goes on every alert.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Name of the environment (production, staging, …); goes on every alert.
    #[serde(default)]
    pub environment: Option<String>,
    /// Labels that go on every alert.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Where the agent keeps its state.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    /// The socket that `sandwatch status` and others ask the running agent on; `control.sock` in `state_dir` if not given.
    #[serde(default)]
    pub control: Option<PathBuf>,
    /// Address that metrics are served on: `127.0.0.1:9464` if not given, none if empty. `$NAME` in place of the host is that environment
    /// variable.
    #[serde(default)]
    pub listen: Option<String>,
    /// Which cgroups are workers.
    #[serde(default)]
    pub workers: Workers,
    /// What is asked about the pods that workers are.
    #[serde(default)]
    pub pods: PodsConfig,
    /// Where the container engines of this host keep what they know of their containers.
    #[serde(default)]
    pub containers: ContainersConfig,
    /// Rule directories, in order: a later document of the same name replaces the earlier.
    #[serde(default = "default_rules")]
    pub rules: Vec<PathBuf>,
    /// `auto`, one rung for all signals, or a rung per signal.
    #[serde(default)]
    pub hooks: Hooks,
    /// Ring buffers, budgets and captured environment.
    #[serde(default)]
    pub kernel: Kernel,
    /// Where alerts wait until every sink has them.
    #[serde(default)]
    pub spool: SpoolConfig,
    /// How long the end may take: what is not sent by then goes out at the next start.
    #[serde(default = "default_drain")]
    pub drain: Span,
    /// Signs of life.
    #[serde(default)]
    pub heartbeat: HeartbeatConfig,
    /// Where alerts go. Without any: standard output.
    #[serde(default)]
    pub sinks: Vec<SinkConfig>,
}

/// How much the spool may take. It lies in `state_dir`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolConfig {
    /// Most bytes on disk: a half for alerts of class high, three eighths for normal, an eighth for low.
    pub max_bytes: Bytes,
    /// Alerts older than this are evicted.
    pub max_age: Span,
    /// Most bytes of class high (tiers identity and objective, gaps), in place of its share.
    pub high: Option<Bytes>,
    /// Most bytes of class normal (tier boundary, posture, health), in place of its share.
    pub normal: Option<Bytes>,
    /// Most bytes of class low (deviations), in place of its share.
    pub low: Option<Bytes>,
    /// Most bytes of alerts in memory while the disk takes nothing.
    pub memory: Bytes,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            max_bytes: Bytes(256 << 20),
            max_age: Span(std::time::Duration::from_secs(7 * 24 * 3600)),
            high: None,
            normal: None,
            low: None,
            memory: Bytes(8 << 20),
        }
    }
}

/// Signs of life, to each sink whose `kinds` take heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeartbeatConfig {
    /// How often, give or take a fifth: 10s to 1h.
    pub every: Span,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self { every: Span(std::time::Duration::from_secs(300)) }
    }
}

/// Which cgroups are workers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workers {
    /// Cgroup globs below the cgroup2 root, starting with `/`, or names of systemd units; their members are workers.
    #[serde(default)]
    pub watch: Vec<String>,
    /// What the profiles' selectors cannot know; each names its cgroup and is watched too.
    #[serde(default)]
    pub assign: Vec<Assign>,
}

/// A worker named by hand.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assign {
    /// Cgroup glob below the cgroup2 root, starting with `/`.
    pub cgroup: String,
    /// Profile that it gets.
    pub profile: String,
    /// Name that it gets on alerts; its cgroup's last part otherwise.
    #[serde(default)]
    pub name: Option<String>,
    /// Facts that its profile asks for: `true`, `false`, or addresses (`10.0.0.5`, `10.0.0.0/24`, `10.0.0.5:5432`).
    #[serde(default)]
    pub facts: BTreeMap<String, OneOrMany<String>>,
    /// Exact argument lists of health commands that are run in it from outside.
    #[serde(default)]
    pub probes: Vec<Vec<String>>,
}

/// Where the names, labels and images of pods come from.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PodsConfig {
    /// Who is asked. By default nobody: pods are then known by their cgroup paths alone.
    pub from: PodsFrom,
    /// Address of the kubelet; `https://$NODE_IP:10250` if not given. Of the API server; the cluster's own service if not
    /// given.
    pub url: Option<String>,
    /// File with the token of a service account; read before each question.
    pub token_file: Option<PathBuf>,
    /// Authorities that may have signed the certificate. One that a kubelet made for itself is its own:
    /// `/var/lib/kubelet/pki/kubelet.crt`.
    pub ca_file: Option<PathBuf>,
    /// Name of this node in the cluster, for the API server; `$NODE_NAME` if not given.
    pub node: Option<String>,
    /// Name in the certificate, if it is not the host of the address; `$NODE_NAME` is that variable of the environment.
    pub server_name: Option<String>,
    /// How long an answer may take.
    pub timeout: Span,
    /// How long the events of a new worker wait until its pod is known. Then they are judged without, and what is said of them
    /// is completed later.
    pub wait: Span,
}

/// Where the names and images of containers come from that are in no pod: read from the engines' own folders, which are root's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ContainersConfig {
    /// `data-root` of Docker Engine; `null`: not looked at.
    pub docker: Option<PathBuf>,
    /// `graphroot` of root's Podman; `null`: not looked at.
    pub podman: Option<PathBuf>,
}

impl Default for ContainersConfig {
    fn default() -> Self {
        Self { docker: Some("/var/lib/docker".into()), podman: Some("/var/lib/containers/storage".into()) }
    }
}

/// Who is asked about pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PodsFrom {
    /// Nobody.
    #[default]
    None,
    /// The kubelet of this node.
    Kubelet,
    /// The API server, which may then be asked about the pods of every node.
    Api,
}

impl Default for PodsConfig {
    fn default() -> Self {
        let account =
            |file: &str| Some(PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount").join(file));
        Self {
            from: PodsFrom::None,
            url: None,
            token_file: account("token"),
            ca_file: account("ca.crt"),
            node: None,
            server_name: None,
            timeout: Span(std::time::Duration::from_secs(5)),
            // One question that is not answered in time, the pause after it, and the next.
            wait: Span(std::time::Duration::from_secs(10)),
        }
    }
}

/// Which rung of its ladder each signal takes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Hooks {
    /// The best that a canary is seen through. Written `auto`.
    #[default]
    #[serde(skip)]
    Auto,
    /// `auto`, a rung's name for all signals, or `signal=rung,…`.
    Text(String),
    /// A rung per signal.
    PerSignal(BTreeMap<String, String>),
}

/// Sizes and budgets of the kernel side.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kernel {
    /// Ring buffer of watched opens, connects and sockets: a power of two, at least one page.
    pub priority_ring: Bytes,
    /// Ring buffer of fork, exec and exit: a power of two, at least one page.
    pub lifecycle_ring: Bytes,
    /// Events a second that one worker may send in the priority lane before it is throttled (and named).
    pub priority_rate: u32,
    /// Events a second that one worker may send in the lifecycle lane.
    pub lifecycle_rate: u32,
    /// Whole seconds of its rate that a worker may save up and send at once.
    pub burst: Span,
    /// Most worker cgroups.
    pub max_cgroups: u32,
    /// Most processes in workers at a time.
    pub max_processes: u32,
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            priority_ring: Bytes(2 << 20),
            lifecycle_ring: Bytes(2 << 20),
            priority_rate: 5_000,
            lifecycle_rate: 10_000,
            burst: Span(std::time::Duration::from_secs(1)),
            max_cgroups: 16_384,
            max_processes: 65_536,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            schema: CONFIG_SCHEMA.into(),
            cluster: None,
            environment: None,
            labels: BTreeMap::new(),
            state_dir: default_state_dir(),
            control: None,
            listen: None,
            workers: Workers::default(),
            pods: PodsConfig::default(),
            containers: ContainersConfig::default(),
            rules: default_rules(),
            hooks: Hooks::default(),
            kernel: Kernel::default(),
            spool: SpoolConfig::default(),
            drain: default_drain(),
            heartbeat: HeartbeatConfig::default(),
            sinks: Vec::new(),
        }
    }
}

impl Hooks {
    /// What the sensor is asked for.
    ///
    /// # Errors
    /// A word that is no signal or no rung, with those that are.
    pub fn choice(&self) -> Result<HookChoice, KernelError> {
        match self {
            Self::Auto => Ok(HookChoice::default()),
            Self::Text(text) => text.parse(),
            Self::PerSignal(map) => {
                let pairs: Vec<String> =
                    map.iter().map(|(signal, rung)| format!("{signal}={rung}")).collect();
                pairs.join(",").parse()
            }
        }
    }
}

fn default_drain() -> Span {
    Span(std::time::Duration::from_secs(5))
}

pub(super) fn default_state_dir() -> PathBuf {
    "/var/lib/sandwatch".into()
}

fn default_rules() -> Vec<PathBuf> {
    vec!["/usr/lib/sandwatch/rules".into(), "/etc/sandwatch/rules.d".into()]
}
