//! What delivery holds out: ten thousand alerts a second with one of two sinks down, by the bench `delivery` of the agent.

use std::process::Command;

use anyhow::{Context, Result};

use super::budget::{Budget, Value};
use crate::{build, host};

/// Alerts a second that are raised.
const RATE: u32 = 10_000;

/// What the bench prints.
#[derive(serde::Deserialize)]
struct Delivered {
    alerts: u64,
    seconds: f64,
    /// Left out, and named, because the spool could not keep up.
    refused: u64,
    /// Neither received nor named.
    missing: u64,
    line_p50_ns: u64,
    line_p99_ns: u64,
    /// The same while the others come.
    loaded_line_p50_ns: u64,
    loaded_line_p99_ns: u64,
    /// How many of the 200 samples came; the others were left out.
    loaded_lines: u64,
    accept_p99_ns: u64,
    resident_before_kib: u64,
    resident_peak_kib: u64,
}

/// Runs it.
pub(super) fn measure(quick: bool) -> Result<Vec<Value>> {
    let program = build::executables(&["bench", "--no-run", "--package", "monitor", "--bench", "delivery"])?
        .into_iter()
        .find(|executable| executable.name == "delivery")
        .context("cargo built no bench `delivery`")?;
    let seconds = if quick { "3" } else { "60" };
    let line = host::capture(Command::new(&program.path).args([seconds, &RATE.to_string()]))?;
    let done: Delivered =
        serde_json::from_str(line.trim()).context("the bench `delivery` printed no result")?;
    let value = |what: &str, value: f64, unit: &str, budget: Option<Budget>| Value {
        what: format!("delivery, one of two sinks down: {what}"),
        value,
        unit: unit.to_owned(),
        budget,
    };
    let micros = |ns: u64| ns as f64 / 1000.0;
    let ratio = done.loaded_line_p50_ns as f64 / done.line_p50_ns.max(1) as f64;
    let grown = done.resident_peak_kib.saturating_sub(done.resident_before_kib);
    Ok(vec![
        value(
            "alerts accepted and spooled",
            (done.alerts - done.refused) as f64 / done.seconds,
            "alerts/s",
            // All that are raised, but for what the pacing itself loses.
            Some(Budget::AtLeast(0.99 * f64::from(RATE))),
        ),
        value("alerts left out, and named", done.refused as f64, "alerts", None),
        value("alerts neither received nor named", done.missing as f64, "alerts", Some(Budget::AtMost(0.0))),
        value("raised to line in a file, one at a time, p50", micros(done.line_p50_ns), "µs", None),
        value("raised to line in a file, one at a time, p99 of 200", micros(done.line_p99_ns), "µs", None),
        value("raised to line in a file, under the load, p50", micros(done.loaded_line_p50_ns), "µs", None),
        value(
            &format!("raised to line in a file, under the load, p99 of {}", done.loaded_lines),
            micros(done.loaded_line_p99_ns),
            "µs",
            None,
        ),
        value("under the load to one at a time, p50", ratio, "×", None),
        value("handing one over, p99", micros(done.accept_p99_ns), "µs", None),
        value("memory at most, above the start", grown as f64 / 1024.0, "MiB", Some(Budget::AtMost(32.0))),
    ])
}
