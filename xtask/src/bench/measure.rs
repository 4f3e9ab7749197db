//! One bench run from beginning to end, on the machine this process runs on.

use super::agent::Agent;
use super::budget::{Budget, Hook, Missing, Place, Report, RungClass, Value};
use super::lab::{Lab, Rates};
use super::load::{Load, Options as LoadOptions};
use super::ratios::{self, Alternation};
use super::stats::{median, percentile};
use super::{capacity, latency, progstats};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const MIB: f64 = 1024.0 * 1024.0;
/// So long that every duty has its turn: the rarest is done every 30 s.
const IDLE: Duration = Duration::from_secs(31);

/// What `xtask bench-measure` takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The agent
    #[arg(long)]
    pub(crate) agent: PathBuf,
    /// The shipped rules
    #[arg(long)]
    pub(crate) rules: PathBuf,
    /// Where the report goes
    #[arg(long)]
    pub(crate) out: PathBuf,
    #[arg(long, default_value = "auto")]
    pub(crate) hooks: String,
    #[arg(long, default_value_t = 7)]
    pub(crate) rounds: usize,
    /// This is an emulated machine: absolute times mean nothing
    #[arg(long)]
    pub(crate) emulated: bool,
    /// Only measurements whose name contains this text, and no alternation
    #[arg(long)]
    pub(crate) only: Option<String>,
    /// Leave out what takes long
    #[arg(long)]
    pub(crate) quick: bool,
}

/// Measures and writes the report.
pub(crate) fn main(options: &Options) -> Result<()> {
    let mut place = place(options)?;
    let lab = Lab::new(&options.rules)?;
    (place.rungs, place.class) = rungs(&options.agent, &options.hooks)?;
    let mut run = Run { lab: &lab, options, report: Report::of(place) };
    run.all()?;
    let report = run.report;
    drop(lab);
    std::fs::write(&options.out, serde_json::to_string_pretty(&report)?)
        .with_context(|| format!("cannot write {}", options.out.display()))
}

struct Run<'a> {
    lab: &'a Lab,
    options: &'a Options,
    report: Report,
}

impl Run<'_> {
    fn all(&mut self) -> Result<()> {
        if self.options.only.is_none() {
            self.alternate()?;
        }
        self.singles();
        Ok(())
    }

    fn alternate(&mut self) -> Result<()> {
        let Alternation { ratios, ready_ms } = ratios::alternate(
            self.lab,
            &self.options.agent,
            &self.options.hooks,
            self.report.place.class,
            self.options.rounds,
        )?;
        self.report.ratios = ratios;
        self.value("start to ready, median", median(&ready_ms), "ms", Some(Budget::AtMost(500.0)));
        Ok(())
    }

    /// These fail one by one: what could not be measured is named in the report.
    fn singles(&mut self) {
        self.attempt("memory and idle CPU", Self::at_rest);
        self.attempt("hooks", Self::hooks);
        self.attempt("execve to alert line, quiet host", |run| run.latency("quiet", 0, Some(0.4), 2.0));
        self.attempt("execve to alert line, 20,000 events/s in the background", |run| {
            run.latency("busy", 20_000, None, 10.0)
        });
        self.attempt("flood, one flooder", |run| run.flood(1, Some(Budget::AtLeast(600_000.0))));
        self.attempt("flood, two flooders", |run| run.flood(2, None));
        if self.options.quick {
            self.missing("10,000 processes in 1,000 workers", "left out by --quick");
        } else {
            self.attempt("10,000 processes in 1,000 workers", Self::crowd);
        }
    }

    fn at_rest(&mut self) -> Result<()> {
        let agent = self.start()?;
        std::thread::sleep(Duration::from_millis(500));
        let (now, highest) = agent.memory()?;
        self.value("resident memory at start", now as f64 / MIB, "MiB", Some(Budget::AtMost(24.0)));
        let anonymous = agent.status_kib("RssAnon:")? * 1024;
        self.value("resident memory at start, of which no file's", anonymous as f64 / MIB, "MiB", None);
        self.value("resident memory at start, highest", highest as f64 / MIB, "MiB", None);
        self.value("kernel memory of all maps at start", agent.map_memory()? as f64 / MIB, "MiB", None);
        let share =
            capacity::idle_share(&agent, if self.options.quick { Duration::from_secs(3) } else { IDLE })?;
        self.value("idle CPU", share * 100.0, "% of a core", Some(Budget::AtMost(0.1)));
        let (milliseconds, rate) = latency::cpu_per_thousand(self.lab, &agent, 15_000)?;
        let what = format!("agent CPU per 1,000 events, at {rate:.0} events/s");
        self.value(&what, milliseconds, "ms", None);
        agent.stop().map(|_| ())
    }

    fn hooks(&mut self) -> Result<()> {
        let agent = self.start()?;
        let _enabled = progstats::Enabled::new()?;
        let ids = agent.programs()?;
        let before = progstats::snapshot(&ids)?;
        let listeners = super::sink::Listeners::open()?;
        let worker = self.lab.cgroup.join("worker");
        for (load, path, port) in [
            (Load::Open, Some(self.lab.plain_file()), 0),
            (Load::Open, Some(self.lab.secret_file()), 0),
            (Load::Exec, Some(PathBuf::from("/bin/true")), 0),
            (Load::UdpSend, None, listeners.udp_port()),
            (Load::TcpConnect, None, 0),
        ] {
            self.lab.run(Some(&worker), &LoadOptions { load, path, port, millis: 300, rate: 0 })?;
        }
        let outside = progstats::snapshot(&ids)?;
        let options = LoadOptions {
            load: Load::Open,
            path: Some(self.lab.plain_file()),
            port: 0,
            millis: 300,
            rate: 0,
        };
        self.lab.run(None, &options)?;
        let after = progstats::snapshot(&ids)?;
        self.report.hooks = hook_rows(&progstats::difference(&before, &outside), "in a worker");
        self.report.hooks.extend(hook_rows(&progstats::difference(&outside, &after), "open outside"));
        agent.stop().map(|_| ())
    }

    fn latency(&mut self, prefix: &str, background: u64, p50: Option<f64>, p99: f64) -> Result<()> {
        let agent = self.start()?;
        let count = if self.options.quick { 30 } else { 200 };
        let execs = latency::measure(self.lab, prefix, count, background)?;
        let lines: Vec<f64> = execs.iter().map(|exec| exec.line).collect();
        let events: Vec<f64> = execs.iter().map(|exec| exec.event).collect();
        let where_ = if background > 0 { "20,000 events/s in the background" } else { "quiet host" };
        let name = format!("execve to alert line, {where_}");
        self.value(&format!("{name}, p50"), percentile(&lines, 0.5), "ms", p50.map(Budget::AtMost));
        self.value(
            &format!("{name}, p50 of what the call takes until the kernel tells of it"),
            percentile(&events, 0.5),
            "ms",
            None,
        );
        self.value(
            &format!("{name}, p99 of {count}"),
            percentile(&lines, 0.99),
            "ms",
            Some(Budget::AtMost(p99)),
        );
        agent.stop().map(|_| ())
    }

    fn flood(&mut self, flooders: usize, budget: Option<Budget>) -> Result<()> {
        let millis = if self.options.quick { 2000 } else { 10_000 };
        let flood = capacity::flood(self.lab, &self.options.agent, &self.options.hooks, flooders, millis)?;
        let name = if flooders == 1 { "flood of watched opens, one flooder" } else { "flood, two flooders" };
        self.value(&format!("{name}: opens seen"), flood.per_second, "/s", budget);
        if let Some(alone) = flood.alone {
            self.value(&format!("{name}: opens without the agent"), alone, "/s", None);
        }
        let of = |part: u64| part as f64 / flood.opens as f64 * 100.0;
        self.value(&format!("{name}: sent to the agent"), of(flood.summary.sent), "% of opens", None);
        self.value(
            &format!("{name}: over the worker's budget or lost, counted"),
            of(flood.summary.lost),
            "% of opens",
            None,
        );
        self.value(
            &format!("{name}: lost in a full ring buffer"),
            flood.summary.ring_lost as f64,
            "events",
            budget.map(|_| Budget::AtMost(0.0)),
        );
        // Every open must have one fate; the agent's own execs and canaries only add to what was seen.
        let told = flood.summary.sent + flood.summary.filtered + flood.summary.lost;
        let untold = flood.summary.seen.max(flood.opens).saturating_sub(told);
        self.value(
            &format!("{name}: opens without a counted fate"),
            untold as f64,
            "",
            Some(Budget::AtMost(0.0)),
        );
        Ok(())
    }

    fn crowd(&mut self) -> Result<()> {
        let agent = self.start()?;
        let (memory, maps, idle) = capacity::crowded(self.lab, 1000, 10_000, || {
            let idle = capacity::idle_share(&agent, IDLE)?;
            let (memory, _) = agent.memory()?;
            Ok((memory, agent.map_memory()?, idle))
        })?;
        let what = "10,000 live processes in 1,000 workers";
        self.value(
            &format!("resident memory, {what}"),
            memory as f64 / MIB,
            "MiB",
            Some(Budget::AtMost(48.0)),
        );
        self.value(
            &format!("kernel memory of all maps, {what}"),
            maps as f64 / MIB,
            "MiB",
            Some(Budget::AtMost(24.0)),
        );
        self.value(&format!("idle CPU, {what}"), idle * 100.0, "% of a core", None);
        agent.stop().map(|_| ())
    }

    fn start(&self) -> Result<Agent> {
        Agent::start(self.lab, &self.options.agent, &self.options.hooks, Rates::Unbounded)
    }

    fn attempt(&mut self, what: &str, measure: impl FnOnce(&mut Self) -> Result<()>) {
        if self.options.only.as_ref().is_some_and(|only| !what.contains(only.as_str())) {
            return self.missing(what, "left out by --only");
        }
        eprintln!("bench: {what}");
        if let Err(error) = measure(self) {
            eprintln!("bench: {what}: {error:#}");
            self.missing(what, &format!("{error:#}"));
        }
    }

    fn missing(&mut self, what: &str, why: &str) {
        self.report.missing.push(Missing { what: what.to_owned(), why: why.to_owned() });
    }

    fn value(&mut self, what: &str, value: f64, unit: &str, budget: Option<Budget>) {
        // Emulation slows everything by a factor of its own: only ratios are held against a budget there.
        let budget = budget.filter(|_| !self.options.emulated || unit == "MiB" || unit.is_empty());
        self.report.values.push(Value { what: what.to_owned(), value, unit: unit.to_owned(), budget });
    }
}

impl Report {
    fn of(place: Place) -> Self {
        Self { place, ratios: Vec::new(), values: Vec::new(), hooks: Vec::new(), missing: Vec::new() }
    }
}

fn hook_rows(runs: &[progstats::Runs], place: &str) -> Vec<Hook> {
    runs.iter()
        .map(|runs| Hook {
            program: format!("{} ({place})", runs.name),
            runs: runs.runs,
            ns_each: runs.nanoseconds as f64 / runs.runs as f64,
        })
        .collect()
}

fn place(options: &Options) -> Result<Place> {
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
    let cpuinfo = read("/proc/cpuinfo")?;
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let memory = read("/proc/meminfo")?;
    let kib = memory.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
    let load = read("/proc/loadavg")?;
    Ok(Place {
        kernel: kernel_of(&read("/proc/sys/kernel/osrelease")?),
        cpus: std::thread::available_parallelism()?.get(),
        cpu_model: model.trim_start_matches([':', '\t', ' ']).to_owned(),
        memory_mib: kib / 1024,
        virtual_machine: options.emulated,
        hooks: options.hooks.clone(),
        rungs: Vec::new(),
        class: RungClass::Tracepoint,
        alternations: options.rounds,
        load_before: load.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or_default(),
    })
}

/// A kernel's version without what its builder calls it.
fn kernel_of(release: &str) -> String {
    release.trim().split('-').next().unwrap_or_default().to_owned()
}

/// The rungs the agent takes here, from its own account; opens decide which budgets count.
fn rungs(agent: &Path, hooks: &str) -> Result<(Vec<(String, String)>, RungClass)> {
    // Exit code 1 is "partial", which is what most hosts are: only the account counts here.
    let output = Command::new(agent)
        .args(["doctor", "--json", "--hooks", hooks])
        .output()
        .with_context(|| format!("cannot start {}", agent.display()))?;
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("`sandwatch doctor --json` printed no JSON")?;
    let signals = report.get("signals").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    let text = |value: &serde_json::Value, key: &str| {
        value.get(key).and_then(serde_json::Value::as_str).unwrap_or("none").to_owned()
    };
    let rungs: Vec<_> = signals.iter().map(|s| (text(s, "signal"), text(s, "rung"))).collect();
    let function = rungs
        .iter()
        .any(|(signal, rung)| signal == "open" && matches!(rung.as_str(), "lsm" | "fentry" | "kprobe"));
    Ok((rungs, if function { RungClass::Function } else { RungClass::Tracepoint }))
}
