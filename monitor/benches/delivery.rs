//! What delivery holds out: real alerts (those of the recorded demo) at a steady rate into an engine with a spool on
//! disk and two sinks, of which one is down until the end.
//!
//! Prints one JSON line. `cargo xtask bench` runs it; `SECONDS` and `RATE` as arguments.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use monitor::alert::Alert;
use monitor::cli::{RulesFrom, load_rules};
use monitor::config::{Config, SinkConfig};
use monitor::delivery::{Engine, Setup};
use monitor::recording::{Reader, Replay};

const RECORDING: &[u8] = include_bytes!("../../rules/tests/recordings/demo/recorded-6.18.ndjson");

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let (seconds, rate) = (args.next().unwrap_or(10), args.next().unwrap_or(10_000));
    let alerts = alerts()?;
    let dir = tempfile::tempdir()?;
    let config = Config { state_dir: dir.path().join("state"), ..Config::default() };
    fs::create_dir(&config.state_dir)?;
    let sink = |name: &str, path: &Path| SinkConfig { name: name.into(), ..SinkConfig::file(path.into()) };
    let up = dir.path().join("up.jsonl");
    let first = [sink("up", &up), sink("down", Path::new("/dev/full"))];
    let engine = open(&config, &first)?;
    let lines = lines(&engine, &alerts, &up)?;
    let before = resident()?;
    let mut peak = before;
    let mut took: Vec<u64> = Vec::new();
    let started = Instant::now();
    let batch = (rate / 1000).max(1);
    let total = seconds * rate;
    let mut number = 0;
    while number < total {
        let due = started + Duration::from_nanos(number.saturating_mul(1_000_000_000) / rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        for _ in 0..batch {
            let mut alert = alerts[number as usize % alerts.len()].clone();
            alert.id = format!("bench-{number}");
            let at = Instant::now();
            engine.accept(alert);
            took.push(u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX));
            number += 1;
        }
        drop(engine.take_appended());
        if number.is_multiple_of(rate / 4) {
            peak = peak.max(resident()?);
        }
    }
    let seconds_taken = started.elapsed().as_secs_f64();
    engine.wait_appended(Duration::from_secs(60));
    let stats = engine.finish();
    // The second start: the one that was down is up.
    let late = dir.path().join("late.jsonl");
    let again = open(&config, &[sink("up", &up), sink("down", &late)])?;
    again.settle(Duration::from_secs(300));
    again.finish();
    let refused = stats.iter().map(|(_, stats)| stats.refused).max().unwrap_or(0);
    let mut missing = 0;
    for path in [&up, &late] {
        missing += missing_numbers(path)?;
    }
    took.sort_unstable();
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or(0);
    let evicted: u64 = stats.iter().map(|(_, stats)| stats.evicted).sum();
    println!(
        "{{\"alerts\":{total},\"seconds\":{seconds_taken:.1},\"refused\":{refused},\"evicted\":{evicted},\"missing\":{missing},\
         \"line_p50_ns\":{},\"line_p99_ns\":{},\"accept_p99_ns\":{p99},\"resident_before_kib\":{before},\"resident_peak_kib\":{peak}}}",
        lines[lines.len() / 2],
        lines[lines.len() * 99 / 100],
    );
    Ok(())
}

/// How long it takes from an alert that is handed over to its line in the file, one at a time; sorted, ns.
fn lines(engine: &Engine, alerts: &[Alert], path: &Path) -> Result<Vec<u64>> {
    let mut took = Vec::new();
    for number in 0..200 {
        let alert = alerts[number % alerts.len()].clone();
        let before = fs::metadata(path)?.len();
        let at = Instant::now();
        engine.accept(alert);
        while fs::metadata(path)?.len() == before {
            ensure!(at.elapsed() < Duration::from_secs(10), "no line came");
            std::thread::yield_now();
        }
        took.push(u64::try_from(at.elapsed().as_nanos())?);
        std::thread::sleep(Duration::from_millis(5));
    }
    took.sort_unstable();
    Ok(took)
}

fn open(config: &Config, sinks: &[SinkConfig]) -> Result<Engine> {
    let envelope = monitor::run::envelope(config, "sha256:0", Path::new("/sys/fs/cgroup"));
    let setup = Setup {
        sinks,
        state_dir: Some(&config.state_dir),
        spool: &config.spool,
        drain: Duration::from_secs(120),
        envelope,
    };
    let mut engine = Engine::open(setup)?;
    engine.start()?;
    Ok(engine)
}

/// The alerts of the recorded demo.
fn alerts() -> Result<Vec<Alert>> {
    let rules = load_rules(&RulesFrom::Shipped).context("the shipped rules do not load")?;
    let mut reader = Reader::new(RECORDING)?;
    let mut replay = Replay::new(reader.header(), rules).map_err(anyhow::Error::msg)?;
    let mut alerts = Vec::new();
    while let Some(line) = reader.next()? {
        replay.take(line);
        alerts.extend(std::iter::from_fn(|| replay.next_alert()));
    }
    replay.finish();
    alerts.extend(std::iter::from_fn(|| replay.next_alert()));
    ensure!(!alerts.is_empty(), "the recording raises nothing");
    Ok(alerts)
}

/// How many numbers of a sink's stream neither came nor are named as gone.
fn missing_numbers(path: &Path) -> Result<u64> {
    let mut seen = BTreeSet::new();
    for line in BufReader::new(fs::File::open(path)?).lines() {
        let alert: Alert = serde_json::from_str(&line?)?;
        seen.insert(alert.delivery.context("an alert without a number")?.seq);
        let named = alert.gap.into_iter().flat_map(|gap| gap.sequences);
        seen.extend(named.flat_map(|[first, last]| first..=last));
    }
    let last = seen.last().copied().unwrap_or(0);
    Ok(last - seen.len() as u64)
}

/// Resident memory of this process, KiB.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}
