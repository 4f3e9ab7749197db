//! The metrics by name.

use std::collections::BTreeMap;
use std::fmt::{self, Error};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::own::Own;
use super::{delivery, sizes};
use crate::control::{Board, Status};
use crate::detect::GAP_REASONS;
use crate::event::BootNs;

/// How they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// OpenMetrics 1.0.
    Open,
    /// Prometheus' own text, version 0.0.4.
    Prometheus,
}

/// All metrics of the agent whose board this is.
///
/// # Errors
/// Never, unless memory is short.
pub fn render(board: &Arc<Board>, to: Text) -> Result<String, Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Source(Arc::clone(board))));
    let mut out = String::new();
    match to {
        Text::Open => text::encode(&mut out, &registry)?,
        Text::Prometheus => prometheus_text::encode(&mut out, &registry)?,
    }
    Ok(out)
}

#[derive(Debug)]
struct Source(Arc<Board>);

/// A label's name and value.
pub(super) type Label<'a> = (&'static str, &'a str);

pub(super) struct Families<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Families<'_, '_> {
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.0.encode_descriptor(name, help, None, MetricType::Counter)?)
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: i64) -> fmt::Result {
        ConstGauge::new(value).encode(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    pub(super) fn number(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        ConstGauge::new(value).encode(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    /// A family of counters.
    pub(super) fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([Label<'l>; N], u64)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Counter, series, |value, to| ConstCounter::new(value).encode(to))
    }

    /// A family of gauges.
    pub(super) fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([Label<'l>; N], f64)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, series, |value, to| ConstGauge::new(value).encode(to))
    }

    pub(super) fn family<'l, const N: usize, V>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        series: impl IntoIterator<Item = ([Label<'l>; N], V)>,
        encode: impl Fn(V, MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in series {
            encode(value, metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Collector for Source {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let status = self.0.status();
        let mut families = Families(&mut encoder);
        state(&mut families, &status)?;
        events(&mut families, &status)?;
        findings(&mut families, &status)?;
        canary(&mut families, &status)?;
        sizes::tables(&mut families, &status)?;
        sizes::pods(&mut families, &status)?;
        delivery::sinks(&mut families, &status)?;
        delivery::spool(&mut families, &status)?;
        programs(&mut families, &status)?;
        own(&mut families, &status)
    }
}

fn state(to: &mut Families<'_, '_>, status: &Status) -> fmt::Result {
    let snapshot = &status.snapshot;
    let level = snapshot.coverage.split(':').next().unwrap_or_default();
    to.gauges(
        "sandwatch_build_info",
        "The program, and the commit that it was built from.",
        [([("version", &*snapshot.version), ("revision", &*snapshot.revision)], 1.0)],
    )?;
    to.gauges("sandwatch_rules_info", "The rules in force.", [([("digest", &*snapshot.rules.digest)], 1.0)])?;
    to.gauges(
        "sandwatch_config_info",
        "The configuration in force.",
        [([("digest", &*snapshot.config.digest)], 1.0)],
    )?;
    to.gauges(
        "sandwatch_sinks_config_info",
        "The configuration whose sinks and spool are in force: another only while they are exchanged, or if that failed.",
        [([("digest", &*snapshot.config.sinks_digest)], 1.0)],
    )?;
    to.gauges(
        "sandwatch_coverage_info",
        "How much is watched: full, partial or none, and a digest of hooks and gaps.",
        [([("level", level), ("mark", &*snapshot.coverage)], 1.0)],
    )?;
    let hooks = snapshot.hooks.iter().map(|hook| {
        let rung = hook.rung.as_deref();
        ([("signal", &*hook.signal), ("rung", rung.unwrap_or("none"))], flag(rung.is_some()))
    });
    to.gauges("sandwatch_hook_info", "Through which hook a signal is watched; 0: through none.", hooks)?;
    to.gauge("sandwatch_live", "Whether the pipeline moved within 30 s.", status.live.into())?;
    to.gauge(
        "sandwatch_ready",
        "Whether probes are attached, rules loaded and the canary was seen in time.",
        status.ready.into(),
    )?;
    to.number(
        "sandwatch_pipeline_moved_timestamp_seconds",
        "When the pipeline last moved.",
        unix_now() - status.moved_ms as f64 / 1e3,
    )?;
    to.gauge(
        "sandwatch_rules_last_reload_successful",
        "Whether the rules in force are those of the files.",
        (!snapshot.rules.refused).into(),
    )?;
    to.gauge(
        "sandwatch_rules_skipped_files",
        "Rule files that ask for a later version and are left out.",
        count(snapshot.rules.skipped.len() as u64),
    )?;
    to.gauge(
        "sandwatch_config_last_reload_successful",
        "Whether the configuration in force is that of the file.",
        (!snapshot.config.refused && !snapshot.config.last_good).into(),
    )?;
    to.gauge(
        "sandwatch_config_last_good",
        "Whether the agent runs on the last good configuration because the present one is bad.",
        snapshot.config.last_good.into(),
    )?;
    to.gauge("sandwatch_workers", "Workers that are there.", count(snapshot.workers.len() as u64))?;
    to.gauge("sandwatch_processes", "Processes in the table.", count(snapshot.processes))?;
    if let Some(synced) = snapshot.clock_synced {
        to.gauge("sandwatch_clock_synced", "Whether a time service keeps the host's clock.", synced.into())?;
    }
    Ok(())
}

fn events(to: &mut Families<'_, '_>, status: &Status) -> fmt::Result {
    let snapshot = &status.snapshot;
    to.counters(
        "sandwatch_events_seen",
        "Events of workers that a probe saw; they equal the sum of their fates.",
        snapshot.signals.iter().map(|signal| ([("signal", &*signal.signal)], signal.seen)),
    )?;
    let fates = snapshot.signals.iter().flat_map(|signal| {
        [
            ("sent", signal.sent),
            ("filtered", signal.filtered),
            ("lost", signal.lost),
            ("throttled", signal.throttled),
            ("error", signal.errors),
        ]
        .map(|(fate, count)| ([("signal", &*signal.signal), ("fate", fate)], count))
    });
    to.counters("sandwatch_events", "Events of workers by what became of them.", fates)?;
    let lanes = || snapshot.lanes.iter();
    to.counters(
        "sandwatch_ring_records",
        "Records written to a ring buffer.",
        lanes().map(|lane| ([("lane", &*lane.lane)], lane.sent)),
    )?;
    to.counters(
        "sandwatch_ring_lost",
        "Records that a full ring buffer refused.",
        lanes().map(|lane| ([("lane", &*lane.lane)], lane.lost)),
    )?;
    to.counter("sandwatch_records_received", "Records taken in.", snapshot.received)?;
    to.counter("sandwatch_records_undecodable", "Records that were not understood.", snapshot.undecodable)?;
    to.counter(
        "sandwatch_events_unexplained",
        "Events judged without the history of their process.",
        snapshot.unexplained,
    )?;
    to.counter(
        "sandwatch_law_violations",
        "Checks in which seen was not the sum of its fates.",
        snapshot.law_broken,
    )?;
    to.counter("sandwatch_probe_errors", "Failures of helpers in the probes.", snapshot.helper_errors)?;
    to.counter(
        "sandwatch_processes_evicted",
        "Processes that the full table forgot.",
        snapshot.processes_evicted,
    )?;
    // A series that begins with its first gap has no increase.
    let mut gaps: BTreeMap<&str, u64> = GAP_REASONS.map(|reason| (reason, 0)).into();
    gaps.extend(snapshot.gaps.iter().map(|(reason, count)| (&**reason, *count)));
    to.counters(
        "sandwatch_gaps",
        "Times and places at which events were, or may have been, missed.",
        gaps.into_iter().map(|(reason, count)| ([("reason", reason)], count)),
    )
}

fn findings(to: &mut Families<'_, '_>, status: &Status) -> fmt::Result {
    let snapshot = &status.snapshot;
    to.counter("sandwatch_findings", "Findings.", snapshot.findings)?;
    to.counter("sandwatch_alerts", "Alerts raised.", snapshot.alerts)?;
    to.gauge("sandwatch_incidents_open", "Open incidents.", count(snapshot.incidents))
}

fn canary(to: &mut Families<'_, '_>, status: &Status) -> fmt::Result {
    let snapshot = &status.snapshot;
    let offset = clock_offset();
    let seen = snapshot
        .canary
        .iter()
        .filter_map(|(signal, age)| Some(([("signal", &**signal)], age.seen? as f64 / 1e9 + offset)));
    to.gauges("sandwatch_canary_last_seen_timestamp_seconds", "When the canary was last seen.", seen)?;
    to.gauges(
        "sandwatch_canary_fresh",
        "Whether the canary was seen in time.",
        snapshot.canary.iter().map(|(signal, age)| ([("signal", &**signal)], flag(age.fresh))),
    )
}

/// Only where the kernel counts them anyway (`kernel.bpf_stats_enabled`): counting costs each run something.
fn programs(to: &mut Families<'_, '_>, status: &Status) -> fmt::Result {
    let programs = &status.snapshot.programs;
    if programs.is_empty() {
        return Ok(());
    }
    to.counters(
        "sandwatch_program_runs",
        "Runs of a probe.",
        programs.iter().map(|(name, _, runs)| ([("program", &**name)], *runs)),
    )?;
    let seconds = programs.iter().map(|(name, ns, _)| ([("program", &**name)], *ns as f64 / 1e9));
    to.family(
        "sandwatch_program_run_seconds",
        "Time that a probe ran.",
        MetricType::Counter,
        seconds,
        |value, to| ConstCounter::new(value).encode(to),
    )
}

fn own(to: &mut Families<'_, '_>, status: &Status) -> fmt::Result {
    let own = Own::now();
    ConstCounter::new(own.cpu_seconds).encode(to.0.encode_descriptor(
        "process_cpu_seconds",
        "CPU time of the agent.",
        None,
        MetricType::Counter,
    )?)?;
    to.gauge("process_resident_memory_bytes", "Memory of the agent.", own.resident_bytes)?;
    to.gauge("process_open_fds", "Open descriptors of the agent.", own.open_fds)?;
    to.gauge("process_threads", "Threads of the agent.", own.threads)?;
    to.number(
        "process_start_time_seconds",
        "When the agent began to watch.",
        status.snapshot.started_ms as f64 / 1e3,
    )
}

/// Seconds from boot-time to the epoch.
pub(super) fn clock_offset() -> f64 {
    let boot: BootNs = crate::detect::boot_now();
    unix_now() - boot as f64 / 1e9
}

fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

pub(super) fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

pub(super) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
