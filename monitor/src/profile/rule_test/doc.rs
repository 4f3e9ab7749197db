//! `schema: sandwatch/rule-test/v1`: a test file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::profile::doc::{
    AccessName, At, HomeName, MountName, NamespaceName, OneOrMany, ProcOf, Span, StdioName,
};
use crate::profile::finding::Tier;

/// Tests of a rule file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleTestDoc {
    /// `sandwatch/rule-test/v1`.
    pub schema: String,
    /// What the file is about.
    #[serde(default)]
    pub about: Option<String>,
    /// Where the events come from: a recording, or a source for exact arguments and paths.
    #[serde(default)]
    pub source: Option<String>,
    /// Profile of tests that name none; `generic` if not given.
    #[serde(default)]
    pub profile: Option<At<String>>,
    /// The tests of what workers do.
    #[serde(default)]
    pub tests: Vec<At<TestDoc>>,
    /// The tests of how workers are set up.
    #[serde(default)]
    pub postures: Vec<At<PostureTestDoc>>,
}

/// A worker that is set up in some way, and the postures it must have.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostureTestDoc {
    /// What it shows.
    pub name: String,
    /// Profile.
    #[serde(default)]
    pub profile: Option<At<String>>,
    /// How the worker is set up.
    pub worker: SetupStep,
    /// Ids that must be found, all of them and no others.
    #[serde(default)]
    pub finds: OneOrMany<String>,
    /// Ids of which it must not be known.
    #[serde(default)]
    pub unknown: OneOrMany<String>,
    /// Whether they reach the host.
    #[serde(default)]
    pub reaches_host: Option<bool>,
}

/// How a worker is set up. What is not given is as it should be: a container with namespaces, a filter and a user of its own.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetupStep {
    /// It is in a container; `true` if not given.
    #[serde(default)]
    pub container: Option<bool>,
    /// Namespaces of the host that it is in.
    #[serde(default)]
    pub shares: OneOrMany<NamespaceName>,
    /// It has a user namespace of its own.
    #[serde(default)]
    pub own_users: bool,
    /// Capabilities its programs can get; none if not given.
    #[serde(default)]
    pub capabilities: OneOrMany<String>,
    /// It can get all of them.
    #[serde(default)]
    pub privileged: bool,
    /// It gets no more by executing a program than it has, which is nothing.
    #[serde(default)]
    pub no_new_privileges: bool,
    /// Effective uid; 1000 if not given.
    #[serde(default)]
    pub uid: Option<u32>,
    /// It has a seccomp filter; `true` if not given.
    #[serde(default)]
    pub seccomp: Option<bool>,
    /// It may write to its root; `false` if not given.
    #[serde(default)]
    pub root_writable: bool,
    /// Its other mounts.
    #[serde(default)]
    pub mounts: Vec<MountStep>,
    /// Block devices in its `/dev`.
    #[serde(default)]
    pub block_devices: OneOrMany<String>,
    /// Its variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Argument lists of processes on its engine's side.
    #[serde(default)]
    pub argv: Vec<Vec<String>>,
    /// What could not be read: `shares`, `capabilities`, `uid`, `seccomp`, `mounts`, `block_devices`, `env`.
    #[serde(default)]
    pub unreadable: OneOrMany<String>,
}

/// A mount.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MountStep {
    /// Where.
    pub point: String,
    /// What it is on the host.
    #[serde(default)]
    pub host: Option<String>,
    /// Type of the file system; `ext4` if not given.
    #[serde(default)]
    pub kind: Option<String>,
    /// It is read-only.
    #[serde(default)]
    pub read_only: bool,
}

/// One test: steps in order.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestDoc {
    /// What it shows.
    pub name: String,
    /// Profile.
    #[serde(default)]
    pub profile: Option<At<String>>,
    /// Effective uid of all processes; 1000 if not given.
    #[serde(default)]
    pub uid: Option<u32>,
    /// What the site states of the worker.
    #[serde(default)]
    pub facts: BTreeMap<String, OneOrMany<String>>,
    /// Exact argument lists of health commands that the site names for the worker.
    #[serde(default)]
    pub probes: Vec<Vec<String>>,
    /// Name of the worker, for exceptions; `test` if not given.
    #[serde(default)]
    pub worker: Option<String>,
    /// The day it is, for exceptions; 2026-01-01 if not given.
    #[serde(default)]
    pub date: Option<At<String>>,
    /// The steps.
    pub steps: Vec<At<Step>>,
}

/// Declares a step of a test or a scenario: its own keys, and what may happen in it, of which exactly one thing does.
macro_rules! step {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$of_own:meta])* $own:ident: $own_type:ty,)*
    } happens {
        $($(#[$of_more:meta])* $more:ident: $more_type:ty,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$of_own])* pub $own: $own_type,)*
            /// It creates a process.
            #[serde(default)]
            pub fork: Option<$crate::profile::rule_test::ForkStep>,
            /// It executes a program.
            #[serde(default)]
            pub exec: Option<$crate::profile::rule_test::ExecStep>,
            /// It opens a file.
            #[serde(default)]
            pub open: Option<$crate::profile::rule_test::OpenStep>,
            /// It connects.
            #[serde(default)]
            pub connect: Option<$crate::profile::rule_test::ConnectStep>,
            /// It connects to a unix socket.
            #[serde(default)]
            pub unix: Option<$crate::profile::rule_test::UnixStep>,
            /// It creates an uncommon socket.
            #[serde(default)]
            pub socket: Option<$crate::profile::rule_test::SocketStep>,
            /// It is moved to another cgroup.
            #[serde(default)]
            pub cgroup_move: Option<$crate::profile::rule_test::MoveStep>,
            $($(#[$of_more])* #[serde(default)] pub $more: Option<$more_type>,)*
        }

        impl $name {
            /// The keys of what may happen.
            pub(crate) const HAPPENS: &[&str] = &[
                "exec", "open", "connect", "unix", "socket", "cgroup_move", "fork",
                $(stringify!($more),)*
            ];

            /// Whether exactly one thing happens; else what is wrong, and what to do.
            pub(crate) fn one_event(&self) -> Result<(), $crate::profile::rule_test::build::BadStep> {
                let given = [
                    self.fork.is_some(),
                    self.exec.is_some(),
                    self.open.is_some(),
                    self.connect.is_some(),
                    self.unix.is_some(),
                    self.socket.is_some(),
                    self.cgroup_move.is_some(),
                    $(self.$more.is_some(),)*
                ];
                let count = given.into_iter().filter(|given| *given).count();
                if count == 1 {
                    return Ok(());
                }
                Err($crate::profile::rule_test::build::BadStep(
                    format!("a step has exactly one event, this has {count}"),
                    format!("give one of {}", Self::HAPPENS.join(", ")),
                ))
            }
        }
    };
}
pub(crate) use step;

step! {
    /// One event, and what it must give. Exactly one of `exec`, `open`, `connect`, `unix`, `socket`, `cgroup_move`, `fork`.
    Step {
        /// The acting process, by a name of the test's own; `main` if not given. The first is the worker's entry process.
        #[serde(default, rename = "as")]
        process: Option<String>,
        /// Puts the process into this role before the event (`unknown`: the process is not known).
        #[serde(default)]
        role: Option<At<String>>,
        /// With `role`: how long it has had it; an hour if not given.
        #[serde(default)]
        since: Option<Span>,
        /// With `role`: the program it runs.
        #[serde(default)]
        program: Option<String>,
        /// With an exec: the process, which must be new, enters the sealed worker from outside by it.
        #[serde(default)]
        enters: bool,
        /// Time that passes before the event; a second if not given.
        #[serde(default)]
        after: Option<Span>,
        /// The open incident of its run or lineage reached this tier before.
        #[serde(default)]
        reached: Option<Tier>,

        /// Ids that must be in the finding (leading or beside it). Neither `finds` nor `below`: there must be no finding.
        #[serde(default)]
        finds: OneOrMany<String>,
        /// Ids that must not.
        #[serde(default, rename = "not")]
        not: OneOrMany<String>,
        /// The finding's tier.
        #[serde(default)]
        tier: Option<Tier>,
        /// There may be a finding, but only of a lower tier than this.
        #[serde(default)]
        below: Option<Tier>,
        /// The identity touched.
        #[serde(default)]
        identity: Option<String>,
        /// Whether the identity was taken.
        #[serde(default)]
        taken: Option<bool>,
        /// The endpoint contacted.
        #[serde(default)]
        endpoint: Option<String>,
        /// The identity that author code used as it may, without a finding.
        #[serde(default)]
        uses: Option<String>,
        /// For an exec: the role the process has after it.
        #[serde(default)]
        becomes: Option<String>,
        /// A field that the certainty must name as unknown.
        #[serde(default)]
        unknown: Option<String>,
    } happens {}
}

/// A fork.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkStep {
    /// Name of the new process.
    pub child: String,
}

/// An exec.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecStep {
    /// Resolved executable.
    pub exe: String,
    /// Path as given; the resolved one if not given.
    #[serde(default)]
    pub given: Option<String>,
    /// Arguments; the path as given if not given.
    #[serde(default)]
    pub argv: Vec<String>,
    /// There were more.
    #[serde(default)]
    pub argv_truncated: bool,
    /// Working directory; `/` if not given.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Where the executable lives, if not in the image.
    #[serde(default)]
    pub home: OneOrMany<HomeName>,
    /// On an overlay whose layer is not known.
    #[serde(default)]
    pub layer_unknown: bool,
    /// stdin, stdout, stderr (one for all three).
    #[serde(default)]
    pub stdio: OneOrMany<StdioName>,
    /// Gains privileges.
    #[serde(default)]
    pub gains_privilege: bool,
    /// A loader variable is present.
    #[serde(default)]
    pub loader_env: bool,
    /// State of the executable's file: another number is another size and change time.
    #[serde(default)]
    pub stamp: Option<u64>,
    /// Environment variables, of those that rules ask for.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The environment was not read to its end, or has a name twice.
    #[serde(default)]
    pub env_incomplete: bool,
    /// By whom the environment was read; `kernel` if not given. In scenarios only.
    #[serde(default)]
    pub env_from: Option<EnvFrom>,
}

/// By whom an environment was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnvFrom {
    /// By the kernel, at the exec.
    Kernel,
    /// By the agent, from /proc, later.
    Proc,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeName {
    /// It succeeded.
    Ok,
    /// Refused.
    Denied,
    /// No such object.
    Absent,
    /// Not known.
    Attempted,
}

/// An open.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenStep {
    /// Path in the worker's view.
    pub path: String,
    /// Path from the top of the mount tree.
    #[serde(default)]
    pub full: Option<String>,
    /// What for; `read` if not given.
    #[serde(default)]
    pub access: Option<AccessName>,
    /// What became of it; `ok` if not given.
    #[serde(default)]
    pub outcome: Option<OutcomeName>,
    /// The file's mount; `own` if not given.
    #[serde(default)]
    pub mount: Option<MountName>,
    /// Whose /proc entry.
    #[serde(default)]
    pub of: Option<ProcOf>,
    /// The identity its device and inode are known as.
    #[serde(default)]
    pub known_as: Option<String>,
    /// In scenarios: another path of the same file.
    #[serde(default)]
    pub inode_of: Option<String>,
    /// The head of the path is missing.
    #[serde(default)]
    pub cut: bool,
    /// The path could not be read.
    #[serde(default)]
    pub unreadable: bool,
}

/// A connect.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectStep {
    /// Protocol, address and port: `tcp:10.0.0.1:5432`, `udp:[fd00::1]:53`.
    pub to: At<String>,
    /// An unconnected send.
    #[serde(default)]
    pub send: bool,
    /// What became of it; `attempted` if not given.
    #[serde(default)]
    pub outcome: Option<OutcomeName>,
}

/// A connect to a unix socket.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnixStep {
    /// Path, or abstract name with a leading `@`.
    pub path: String,
    /// What became of it; `ok` if not given.
    #[serde(default)]
    pub outcome: Option<OutcomeName>,
}

/// An uncommon socket.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SocketStep {
    /// Address family number.
    pub family: u32,
    /// Type (`SOCK_*`); 3 (raw) if not given.
    #[serde(default)]
    pub r#type: Option<u32>,
    /// Protocol.
    #[serde(default)]
    pub protocol: u32,
    /// What became of it; `ok` if not given.
    #[serde(default)]
    pub outcome: Option<OutcomeName>,
}

/// A move to another cgroup.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveStep {
    /// Into another worker.
    pub to_worker: bool,
}
