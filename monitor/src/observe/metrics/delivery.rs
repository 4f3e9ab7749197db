//! What becomes of alerts: sinks, and the spool they wait in.

use std::fmt;

use super::families::{Families, flag};
use crate::control::{SinkState, Status};

/// A number of a sink.
type Count = fn(&SinkState) -> u64;

pub(super) fn sinks(to: &mut Families<'_, '_>, status: &Status) -> fmt::Result {
    let sinks = || status.snapshot.sinks.iter();
    let counters: [(&str, &str, Count); 7] = [
        ("sandwatch_sink_queued", "Alerts accepted for a sink.", |sink| sink.queued),
        ("sandwatch_sink_sent", "Alerts its receiver took, repeats and heartbeats included.", |sink| {
            sink.sent
        }),
        ("sandwatch_sink_acknowledged", "Alerts its receiver has for good.", |sink| sink.acknowledged),
        ("sandwatch_sink_rejected", "Alerts its receiver refused for good.", |sink| sink.rejected),
        ("sandwatch_sink_attempts", "Attempts, of each alert: taken, refused for good, or failed.", |sink| {
            sink.sent + sink.rejected + sink.retried
        }),
        ("sandwatch_sink_retried", "Attempts that failed and are made again, of each alert.", |sink| {
            sink.retried
        }),
        ("sandwatch_sink_sent_bytes", "Bytes its receiver took, before compression.", |sink| sink.bytes),
    ];
    for (name, help, value) in counters {
        to.counters(name, help, sinks().map(|sink| ([("sink", &*sink.name)], value(sink))))?;
    }
    let dropped = sinks().flat_map(|sink| {
        sink.dropped.iter().map(|(reason, count)| ([("sink", &*sink.name), ("reason", &**reason)], *count))
    });
    to.counters("sandwatch_sink_dropped", "Alerts that are not delivered.", dropped)?;
    to.gauges(
        "sandwatch_sink_waiting",
        "Alerts that wait.",
        sinks().map(|sink| ([("sink", &*sink.name)], sink.waiting as f64)),
    )?;
    to.gauges(
        "sandwatch_sink_failing",
        "Whether it fails at the moment.",
        sinks().map(|sink| ([("sink", &*sink.name)], flag(sink.failing))),
    )?;
    to.gauges(
        "sandwatch_sink_oldest_unsent_timestamp_seconds",
        "When the oldest alert that waits was accepted.",
        sinks().filter_map(|sink| Some(([("sink", &*sink.name)], sink.oldest_unsent? as f64 / 1e9))),
    )?;
    to.gauges(
        "sandwatch_sink_last_success_timestamp_seconds",
        "When its receiver last took something.",
        sinks().filter_map(|sink| Some(([("sink", &*sink.name)], sink.last_success? as f64 / 1e9))),
    )
}

/// How full the spool is: it is where alerts are while a receiver takes nothing.
pub(super) fn spool(to: &mut Families<'_, '_>, status: &Status) -> fmt::Result {
    let spool = &status.snapshot.spool;
    to.gauges(
        "sandwatch_spool_bytes",
        "Bytes of the spool on disk.",
        spool.classes.iter().map(|size| ([("class", &*size.class)], size.bytes as f64)),
    )?;
    to.gauges(
        "sandwatch_spool_capacity_bytes",
        "Most bytes of the spool on disk; then the oldest alerts go.",
        spool.classes.iter().map(|size| ([("class", &*size.class)], size.capacity as f64)),
    )?;
    to.number(
        "sandwatch_spool_memory_bytes",
        "Bytes of alerts that are only in memory, as the disk takes nothing.",
        spool.memory_bytes as f64,
    )?;
    to.number(
        "sandwatch_spool_memory_capacity_bytes",
        "Most bytes of alerts that may be only in memory.",
        spool.memory_capacity_bytes as f64,
    )?;
    to.gauge(
        "sandwatch_spool_disk_nearly_full",
        "Whether its file system has so little room left that the spool does not grow.",
        spool.disk_nearly_full.into(),
    )
}
