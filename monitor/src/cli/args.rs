//! The arguments of every command.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Bytes, Span};

/// Watches workflow workers from the kernel and raises escape alerts.
#[derive(Debug, Parser)]
#[command(name = "sandwatch", version, about, propagate_version = true, disable_help_subcommand = true)]
#[command(
    after_help = "Exit codes: 0 ok, 1 the thing asked about is not so, 2 usage or configuration error, \
                        3 cannot run on this host."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent: watch the configured workers and raise alerts until SIGTERM
    Run(RunArgs),
    /// Play a workflow engine that leaves its sandbox, with real probes, all the way to the alert (exit 1 if one is missing)
    Demo(DemoArgs),
    /// Say what this host lets the agent see, through which hooks, and what it cannot see (exit 0 all, 1 part, 2 nothing)
    Doctor(DoctorArgs),
    /// Say how the running agent is: what is wrong, loss per worker, sinks (exit 1 if it is not live and ready)
    Status(StatusArgs),
    /// List the workers on this host: engine, profile and the roles of their processes (exit 1 if there is none)
    Workers(WorkersArgs),
    /// Check, test and explain rule files
    Rules(RulesArgs),
    /// List, show and close the incidents this node knows
    Incident(IncidentArgs),
    /// List alerts that a receiver refused, and send them again
    #[command(visible_alias = "alerts")]
    Alert(AlertArgs),
    /// Check the local log of what the agent did
    Log(LogArgs),
    /// Write what the probes see of workers to a file that `replay` and rule tests play again (secrets are masked)
    Record(RecordArgs),
    /// Send a recording through the agent's judgement: the same alerts, without privileges and without a look at this host
    Replay(ReplayArgs),
    /// Say why an alert was raised and what to do about it
    Explain(ExplainArgs),
    /// The process of a running agent's canary
    #[command(hide = true)]
    Canary {
        /// Port that it connects to
        port: u16,
    },
    /// A process of the demo's toy engine
    #[command(name = "demo-toy", hide = true)]
    DemoToy {
        /// Its part and what that takes
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

/// Where configuration and rules are.
#[derive(Clone, Debug, Default, Args)]
pub struct FilesArgs {
    /// Configuration file [default: /etc/sandwatch/sandwatch.yaml if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Rule directory, in place of those of the configuration; may be given several times, later ones win
    #[arg(long, value_name = "DIR")]
    pub rules: Vec<PathBuf>,
}

/// `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Shared arguments.
    #[command(flatten)]
    pub files: FilesArgs,
    /// Write alerts as JSON lines to this file, or to standard output with `-`, in place of the configured sinks
    #[arg(long, value_name = "-|FILE")]
    pub output: Option<PathBuf>,
    /// Shared arguments.
    #[command(flatten)]
    pub hooks: HooksArgs,
}

/// `--hooks`.
#[derive(Clone, Debug, Default, Args)]
pub struct HooksArgs {
    /// Pin the hooks: `auto`, a rung for all signals (lsm, fentry, kprobe, cgroup, tracepoint, …) or `open=lsm,connect=cgroup`
    #[arg(long, value_name = "RUNGS")]
    pub hooks: Option<String>,
}

/// `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Write the alerts as JSON lines to this file, or to standard output with `-` (the story then goes to standard error)
    #[arg(long, value_name = "-|FILE")]
    pub output: Option<PathBuf>,
    /// Play a recording of it instead, on any machine and without privileges; nothing runs
    #[arg(long, conflicts_with = "hooks")]
    pub recorded: bool,
    /// Shared arguments.
    #[command(flatten)]
    pub hooks: HooksArgs,
}

/// `doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Shared arguments.
    #[command(flatten)]
    pub files: FilesArgs,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
    /// Try the hooks anew, also if an agent runs that can be asked
    #[arg(long)]
    pub fresh: bool,
    /// With every program: its load time and instructions
    #[arg(long)]
    pub programs: bool,
    /// Shared arguments.
    #[command(flatten)]
    pub hooks: HooksArgs,
}

/// `rules`.
#[derive(Clone, Debug, Args)]
pub struct RulesArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub command: RulesCommand,
}

/// The commands about rule files.
#[derive(Clone, Debug, Subcommand)]
pub enum RulesCommand {
    /// Say whether rule files are right; what is wrong comes with file, line and what to write instead
    Check {
        /// Rule directories [default: those of the configuration, else the rules inside the program]
        #[arg(value_name = "DIR")]
        dirs: Vec<PathBuf>,
        /// Also list what each watched path compiles to in the kernel
        #[arg(long)]
        keys: bool,
    },
    /// Run the tests below `tests/` of rule directories (exit 1 if one fails)
    Test {
        /// Rule directories; each is tested with all of them loaded
        #[arg(value_name = "DIR", required = true)]
        dirs: Vec<PathBuf>,
    },
    /// Print a JSON Schema
    Schema {
        /// Of what
        #[arg(value_enum)]
        of: SchemaOf,
    },
    /// Say in words what profiles allow, forbid and watch
    Explain {
        /// Name of a profile; all without
        profile: Option<String>,
        /// Rule directories [default: those of the configuration, else the rules inside the program]
        #[arg(long = "rules", value_name = "DIR")]
        dirs: Vec<PathBuf>,
    },
}

/// What a JSON Schema is printed of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SchemaOf {
    /// The alert
    Alert,
    /// The configuration file
    Config,
    /// A profile
    Profile,
    /// Detections
    Detections,
    /// The identity catalogue
    Identities,
    /// The endpoint catalogue
    Endpoints,
    /// Exceptions of a site
    Exceptions,
    /// Postures
    Posture,
    /// Tests of rules
    RuleTest,
    /// A recording written by hand
    Scenario,
    /// What must come of a recording
    Expectation,
}

/// `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Only whether its pipeline moves, whatever becomes of sinks, metadata and canary (exit 1 if not)
    #[arg(long, conflicts_with = "ready")]
    pub live: bool,
    /// Only whether it watches: probes attached, rules loaded, canary seen (exit 1 if not)
    #[arg(long)]
    pub ready: bool,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
    /// The agent's socket [default: `control` of the configuration, else `control.sock` in its `state_dir`]
    #[arg(long, value_name = "FILE")]
    pub socket: Option<PathBuf>,
    /// Shared arguments.
    #[command(flatten)]
    pub files: FilesArgs,
}

/// `workers`.
#[derive(Clone, Debug, Args)]
pub struct WorkersArgs {
    /// Shared arguments.
    #[command(flatten)]
    pub files: FilesArgs,
    /// Look for them anew, also if an agent runs that can be asked
    #[arg(long)]
    pub fresh: bool,
    /// Print them as JSON
    #[arg(long)]
    pub json: bool,
}

/// `explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// A file with the alert as JSON, `-` for standard input, or the id of an alert or incident (8 characters are enough)
    pub alert: String,
    /// File of JSON lines that an id is looked up in [default: the file sinks of the configuration]
    #[arg(long = "in", value_name = "FILE")]
    pub within: Option<PathBuf>,
    /// Shared arguments.
    #[command(flatten)]
    pub files: FilesArgs,
}

/// `incident`.
#[derive(Clone, Debug, Args)]
pub struct IncidentArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: IncidentCommand,
}

/// The commands about incidents.
#[derive(Clone, Debug, Subcommand)]
pub enum IncidentCommand {
    /// List the incidents that are not closed (exit 1 if there is none)
    List(ListArgs),
    /// Tell the story of one: what happened, why it was raised, what to do
    Show(ShowArgs),
    /// Close one; the running agent sends that to every sink
    Close(CloseArgs),
}

/// `incident list`.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Also those that are closed, and digests of deviations
    #[arg(long)]
    pub all: bool,
    /// Print the newest alert of each as a JSON line
    #[arg(long)]
    pub json: bool,
    /// Where the agent keeps its state [default: `state_dir` of the configuration]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Shared arguments.
    #[command(flatten)]
    pub files: FilesArgs,
}

/// `incident show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// Its id, or as much of it as names no other
    pub id: String,
    /// Print its newest alert as JSON
    #[arg(long)]
    pub json: bool,
    /// Where the agent keeps its state [default: `state_dir` of the configuration]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Shared arguments.
    #[command(flatten)]
    pub files: FilesArgs,
}

/// `incident close`.
#[derive(Clone, Debug, Args)]
pub struct CloseArgs {
    /// Its id, or as much of it as names no other
    pub id: String,
    /// Who closes it
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// Why: what was found, and what was done about it
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Where the agent keeps its state [default: `state_dir` of the configuration]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Shared arguments.
    #[command(flatten)]
    pub files: FilesArgs,
}

/// `log`.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: LogCommand,
}

/// The commands about the local log.
#[derive(Clone, Debug, Subcommand)]
pub enum LogCommand {
    /// Walk its hash chain and name the first broken link (exit 1 if there is one)
    Verify(VerifyArgs),
}

/// `log verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// A head that left this node (`heartbeat.log`): the log has to have it; may be given several times
    #[arg(long, value_name = "NUMBER:HASH")]
    pub head: Vec<String>,
    /// Where the agent keeps its state [default: `state_dir` of the configuration]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Shared arguments.
    #[command(flatten)]
    pub files: FilesArgs,
}

/// `record`.
#[derive(Clone, Debug, Args)]
pub struct RecordArgs {
    /// Shared arguments.
    #[command(flatten)]
    pub files: FilesArgs,
    /// Only workers of this name (a glob); may be given several times
    #[arg(long, value_name = "NAME")]
    pub worker: Vec<String>,
    /// Watch and record this cgroup (a glob below the cgroup2 root) or unit, whatever the configuration says
    #[arg(long, value_name = "CGROUP")]
    pub cgroup: Vec<String>,
    /// The profile that workers of --cgroup get [default: as rules and configuration choose]
    #[arg(long, value_name = "NAME", requires = "cgroup")]
    pub profile: Option<String>,
    /// End after this time (60s, 5m) [default: on Ctrl-C]
    #[arg(long = "for", value_name = "TIME")]
    pub time: Option<Span>,
    /// The file, `-` for standard output
    #[arg(short, long, value_name = "-|FILE")]
    pub output: PathBuf,
    /// Also write the alerts raised meanwhile, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub alerts: Option<PathBuf>,
    /// Overwrite the file if it is there
    #[arg(long)]
    pub force: bool,
    /// End when the file has this size
    #[arg(long, value_name = "BYTES", default_value = "1GiB")]
    pub max_size: Bytes,
    /// What it shows, for its header
    #[arg(long, value_name = "TEXT")]
    pub about: Option<String>,
    /// Leave secrets in arguments, paths and captured variables as they are
    #[arg(long)]
    pub no_redaction: bool,
    /// Shared arguments.
    #[command(flatten)]
    pub hooks: HooksArgs,
}

/// `replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// A recording, `-` for standard input; or a scenario (`.yaml`)
    pub file: PathBuf,
    /// Write the alerts as JSON lines to this file, or to standard output with `-` [default: for people on a terminal, else JSON lines]
    #[arg(long, value_name = "-|FILE")]
    pub output: Option<PathBuf>,
    /// Shared arguments.
    #[command(flatten)]
    pub files: FilesArgs,
}

/// `alert`.
#[derive(Clone, Debug, Args)]
pub struct AlertArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub command: AlertCommand,
}

/// The commands about alerts on their way.
#[derive(Clone, Debug, Subcommand)]
pub enum AlertCommand {
    /// Send a marked test alert through every sink and say what each receiver answers (exit 1 if one does not take it)
    Test(AlertTestArgs),
    /// Count the dead letters of each sink: alerts that its receiver refused for good (exit 1 if there are none)
    Dead(DeadArgs),
    /// Send dead letters once more, through the running agent or at its next start (exit 1 if there are none)
    Replay(ReplayDeadArgs),
}

/// `alert test`.
#[derive(Clone, Debug, Args)]
pub struct AlertTestArgs {
    /// Only through this sink
    #[arg(long, value_name = "NAME")]
    pub sink: Option<String>,
    /// How long the test stays open where people are told of it; what is closed at once may be told to nobody
    #[arg(long, value_name = "SPAN", default_value = "10s")]
    pub hold: Span,
    /// Shared arguments.
    #[command(flatten)]
    pub files: FilesArgs,
}

/// `alert dead`.
#[derive(Clone, Debug, Args)]
pub struct DeadArgs {
    /// Where the agent keeps its state [default: `state_dir` of the configuration]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Shared arguments.
    #[command(flatten)]
    pub files: FilesArgs,
}

/// `alert replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayDeadArgs {
    /// Only those of this sink
    #[arg(long, value_name = "NAME")]
    pub sink: Option<String>,
    /// Where the agent keeps its state [default: `state_dir` of the configuration]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Shared arguments.
    #[command(flatten)]
    pub files: FilesArgs,
}
