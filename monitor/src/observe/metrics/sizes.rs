//! How full tables are, and how it goes with what is asked about pods.

use std::fmt;

use super::families::{Families, clock_offset, count, flag};
use crate::control::Status;

/// What is in each table that has a bound, and what there is room for.
pub(super) fn tables(to: &mut Families<'_, '_>, status: &Status) -> fmt::Result {
    let tables = || status.snapshot.tables.iter();
    to.gauges(
        "sandwatch_table_entries",
        "What is in a table.",
        tables().map(|size| ([("table", &*size.table)], size.entries as f64)),
    )?;
    to.gauges(
        "sandwatch_table_capacity",
        "What there is room for in a table.",
        tables().map(|size| ([("table", &*size.table)], size.capacity as f64)),
    )
}

/// Only where somebody is asked about pods.
pub(super) fn pods(to: &mut Families<'_, '_>, status: &Status) -> fmt::Result {
    let Some(pods) = &status.snapshot.pods else { return Ok(()) };
    let source = [("source", &*pods.source)];
    to.counters(
        "sandwatch_metadata_attempts",
        "Answers about pods, and failures to get one.",
        [(source, pods.attempts)],
    )?;
    to.counters(
        "sandwatch_metadata_failures",
        "Failures to get an answer about pods.",
        [(source, pods.failures)],
    )?;
    to.gauges(
        "sandwatch_metadata_failing",
        "Whether the last attempt failed.",
        [(source, flag(pods.failing))],
    )?;
    let last = pods.last_success.map(|last| (source, last as f64 / 1e9));
    to.gauges("sandwatch_metadata_last_success_timestamp_seconds", "When the last answer came.", last)?;
    to.gauge(
        "sandwatch_metadata_unknown_workers",
        "Workers in pods of which not everything is known.",
        count(pods.unknown),
    )?;
    let oldest = pods.oldest_unknown.map(|since| (source, since as f64 / 1e9 + clock_offset()));
    to.gauges(
        "sandwatch_metadata_oldest_unknown_timestamp_seconds",
        "Since when nobody has answered for the worker in a pod that has been waiting the longest.",
        oldest,
    )
}
