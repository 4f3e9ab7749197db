//! A status as people read it.

use std::fmt::Write;

use super::snapshot::{LIVE_WITHIN, Status};
use crate::alert::escape;

/// Workers shown: those that lost the most come first.
const SHOWN: usize = 20;

/// The whole page.
pub fn page(status: &Status) -> String {
    let mut out = String::new();
    let snapshot = &status.snapshot;
    let _ = writeln!(out, "{}", headline(status));
    for why in reasons(status) {
        let _ = writeln!(out, "  - {why}");
    }
    for wrong in &snapshot.wrong {
        let _ = writeln!(out, "  - also: {wrong}");
    }
    let _ = writeln!(
        out,
        "\nsandwatch {} (pid {}) on {}, for {}",
        snapshot.version,
        snapshot.pid,
        snapshot.node,
        span(status.uptime)
    );
    let _ = writeln!(out, "coverage {}; rules {}", snapshot.coverage, short(&snapshot.rules.digest));
    let _ = writeln!(
        out,
        "records {}, findings {}, alerts {}, open incidents {}, processes {}",
        snapshot.received, snapshot.findings, snapshot.alerts, snapshot.incidents, snapshot.processes
    );
    canary(&mut out, status);
    workers(&mut out, status);
    sinks(&mut out, status);
    out.trim_end().to_owned()
}

fn headline(status: &Status) -> &'static str {
    match (status.live, status.ready) {
        (false, _) => "NOT LIVE",
        (true, false) => "Live, NOT READY",
        (true, true) if status.snapshot.wrong.is_empty() => "Live and ready",
        (true, true) => "Live and ready, with something to look at",
    }
}

/// Why it is not live or not ready, in words.
pub(crate) fn reasons(status: &Status) -> Vec<String> {
    let mut reasons = Vec::new();
    if !status.live {
        reasons.push(format!(
            "the pipeline has not moved for {} (it is to move within {} s): the agent hangs or gets no CPU",
            span(status.moved_ms / 1000),
            LIVE_WITHIN / 1_000_000_000
        ));
    }
    reasons.extend(status.snapshot.not_ready.iter().cloned());
    reasons
}

fn canary(out: &mut String, status: &Status) {
    let snapshot = &status.snapshot;
    if snapshot.canary.is_empty() {
        return;
    }
    let ages: Vec<String> = snapshot
        .canary
        .iter()
        .map(|(signal, age)| match age.seen {
            Some(seen) => {
                format!("{signal} {} ago", span(snapshot.taken.saturating_sub(seen) / 1_000_000_000))
            }
            None => format!("{signal} never"),
        })
        .collect();
    let _ = writeln!(out, "canary seen: {}", ages.join(", "));
}

fn workers(out: &mut String, status: &Status) {
    let mut workers: Vec<_> = status.snapshot.workers.iter().collect();
    if workers.is_empty() {
        let _ = writeln!(out, "\nNo worker is there.");
        return;
    }
    workers.sort_by_key(|worker| (std::cmp::Reverse(worker.lost + worker.throttled), worker.name.clone()));
    let _ =
        writeln!(out, "\n{:<32} {:>12} {:>12} {:>10} {:>10}", "WORKER", "SEEN", "SENT", "LOST", "THROTTLED");
    for worker in workers.iter().take(SHOWN) {
        let _ = writeln!(
            out,
            "{:<32} {:>12} {:>12} {:>10} {:>10}",
            escape::for_terminal(&worker.name),
            worker.seen,
            worker.sent,
            worker.lost,
            worker.throttled
        );
    }
    if workers.len() > SHOWN {
        let _ = writeln!(out, "… {} more", workers.len() - SHOWN);
    }
}

fn sinks(out: &mut String, status: &Status) {
    if status.snapshot.sinks.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n{:<32} {:>12} {:>12} {:>10} {:>10}",
        "SINK", "QUEUED", "TAKEN", "WAITING", "DROPPED"
    );
    for sink in &status.snapshot.sinks {
        let dropped: u64 = sink.dropped.values().sum::<u64>() + sink.rejected;
        let _ = writeln!(
            out,
            "{:<32} {:>12} {:>12} {:>10} {:>10}{}",
            sink.name,
            sink.queued,
            sink.acknowledged,
            sink.waiting,
            dropped,
            if sink.failing { "  fails at the moment" } else { "" }
        );
    }
}

/// Enough of a digest to compare.
fn short(digest: &str) -> &str {
    digest.get(..23).unwrap_or(digest)
}

/// Seconds for people.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
