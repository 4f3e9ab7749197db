//! `schema: sandwatch/scenario/v1`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::profile::doc::{At, OneOrMany, Span};
use crate::profile::rule_test::step;
use crate::recording::expect::ExpectationDoc;
use crate::worker::Execution;

/// A recording written by hand, and what must come of it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioDoc {
    /// `sandwatch/scenario/v1`.
    pub schema: String,
    /// What it shows.
    pub about: String,
    /// What it was built from: sources of the arguments, variables and paths.
    pub built: String,
    /// The worker it takes place in.
    #[serde(default)]
    pub worker: ScenarioWorker,
    /// Effective uid of all processes; 1000 if not given.
    #[serde(default)]
    pub uid: Option<u32>,
    /// What happens, in order.
    pub events: Vec<At<ScenarioStep>>,
    /// What must come of it.
    #[serde(default)]
    pub expect: Option<ExpectationDoc>,
}

/// The worker of a scenario.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioWorker {
    /// Name on alerts.
    #[serde(default)]
    pub name: Option<String>,
    /// Profile that the configuration assigns; without, it is selected by what follows.
    #[serde(default)]
    pub profile: Option<String>,
    /// Systemd unit: its cgroup is `/system.slice/UNIT`.
    #[serde(default)]
    pub unit: Option<At<String>>,
    /// Cgroup below the cgroup2 root; `/scenario` if neither it nor the unit is given.
    #[serde(default)]
    pub cgroup: Option<At<String>>,
    /// Container image.
    #[serde(default)]
    pub image: Option<String>,
    /// Pod labels.
    #[serde(default)]
    pub pod_labels: BTreeMap<String, String>,
    /// What owns its pod, `KIND/NAME`.
    #[serde(default)]
    pub owner: Option<String>,
    /// Annotations of its pod.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Facts that the configuration states of it.
    #[serde(default)]
    pub facts: BTreeMap<String, OneOrMany<String>>,
    /// Health commands that the configuration names for it.
    #[serde(default)]
    pub probes: Vec<Vec<String>>,
    /// Files that lie in its root: known by their inode, and reachable.
    #[serde(default)]
    pub files: Vec<String>,
}

step! {
    /// One event. Exactly one of `exec`, `open`, `connect`, `unix`, `socket`, `cgroup_move`, `fork`, `fork_of`, `exit`.
    ScenarioStep {
        /// The acting process, by a name of the scenario's own; `main` if not given. The first is the worker's entry process.
        #[serde(default, rename = "as")]
        process: Option<At<String>>,
        /// The process is new: this one forks it first.
        #[serde(default)]
        from: Option<At<String>>,
        /// The process is new and enters the worker from outside.
        #[serde(default)]
        joins: bool,
        /// Time that passes before the event; 100 ms if not given.
        #[serde(default)]
        after: Option<Span>,
        /// Effective uid of the process from now on.
        #[serde(default)]
        uid: Option<u32>,
        /// What the engine's event log says is running when it happens.
        #[serde(default)]
        running: Vec<Execution>,
        /// Names of the variables in the environment of the process whose /proc entry it opens; not known if not given.
        #[serde(default)]
        variables: Option<At<Vec<String>>>,
        /// How often the same happens.
        #[serde(default)]
        repeat: Option<u32>,
    } happens {
        /// The process is new, forked by this one, and does nothing yet.
        fork_of: At<String>,
        /// It ends.
        exit: ExitStep,
    }
}

/// The end of a process.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExitStep {
    /// Exit code.
    #[serde(default)]
    pub code: u8,
}
