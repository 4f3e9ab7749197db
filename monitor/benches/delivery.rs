//! What delivery holds out: real alerts (those of the recorded demo) at a steady rate into an engine with a spool on
//! disk and two sinks, of which one is down until the end. How long an alert of the highest class takes to its line in the file is
//! measured before that load, and in the same way during it.
//!
//! Prints one JSON line. `cargo xtask bench` runs it; `SECONDS` and `RATE` as arguments.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use monitor::alert::Alert;
use monitor::cli::{RulesFrom, load_rules};
use monitor::config::{Config, SinkConfig};
use monitor::delivery::{Class, Engine, Setup};
use monitor::recording::{Reader, Replay};

const RECORDING: &[u8] = include_bytes!("../../rules/tests/recordings/demo/recorded-6.18.ndjson");
/// Alerts whose way to the file is measured, without the load and during it.
const SAMPLES: usize = 200;
/// What the id of an alert begins with that is one of the load.
const RAISED: &str = "bench-";
/// What the id of such an alert begins with.
const SAMPLE: &str = "sample-";
/// How often the file is looked at. Without a pause the look itself would take a processor from what is measured.
const LOOK: Duration = Duration::from_micros(100);
/// The same under the load, where a line takes much longer.
const LOOK_LOADED: Duration = Duration::from_millis(1);

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
    let urgent = alerts.iter().find(|alert| Class::of(alert) == Class::High);
    let urgent = urgent.context("the recording raises nothing of the highest class")?;
    let lines = lines(&engine, urgent, &up)?;
    let watch = Watch::start(&up, SAMPLES, LOOK_LOADED)?;
    let before = resident()?;
    let mut peak = before;
    let mut took: Vec<u64> = Vec::new();
    let started = Instant::now();
    let batch = (rate / 1000).max(1);
    let total = seconds * rate;
    let each = total / SAMPLES as u64;
    ensure!(each > 0, "fewer than {SAMPLES} alerts");
    let mut number = 0;
    while number < total {
        let due = started + Duration::from_nanos(number.saturating_mul(1_000_000_000) / rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        for _ in 0..batch {
            let mut alert = alerts[number as usize % alerts.len()].clone();
            alert.id = format!("{RAISED}{number}");
            if number.is_multiple_of(each) {
                alert = watch.sample(urgent);
            }
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
    let loaded = watch.finish()?;
    let stats = engine.finish();
    // The second start: the one that was down is up.
    let late = dir.path().join("late.jsonl");
    let again = open(&config, &[sink("up", &up), sink("down", &late)])?;
    again.settle(Duration::from_secs(300));
    again.finish();
    let refused = stats.iter().map(|(_, stats)| stats.refused).max().unwrap_or(0);
    let mut missing = 0;
    for path in [&up, &late] {
        missing += unaccounted(path, total + SAMPLES as u64)?;
    }
    took.sort_unstable();
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or(0);
    let evicted: u64 = stats.iter().map(|(_, stats)| stats.evicted).sum();
    println!(
        "{{\"alerts\":{total},\"seconds\":{seconds_taken:.1},\"refused\":{refused},\"evicted\":{evicted},\"missing\":{missing},\
         \"line_p50_ns\":{},\"line_p99_ns\":{},\"loaded_line_p50_ns\":{},\"loaded_line_p99_ns\":{},\"loaded_lines\":{},\"accept_p99_ns\":{p99},\"resident_before_kib\":{before},\"resident_peak_kib\":{peak}}}",
        lines[lines.len() / 2],
        lines[lines.len() * 99 / 100],
        loaded[loaded.len() / 2],
        loaded[loaded.len() * 99 / 100],
        loaded.len(),
    );
    Ok(())
}

/// How long it takes from an alert that is handed over to its line in the file, one at a time; sorted, ns.
fn lines(engine: &Engine, urgent: &Alert, path: &Path) -> Result<Vec<u64>> {
    let watch = Watch::start(path, SAMPLES, LOOK)?;
    for _ in 0..SAMPLES {
        engine.accept(watch.sample(urgent));
        std::thread::sleep(Duration::from_millis(5));
    }
    watch.finish()
}

/// Looks at what is appended to a file for the lines of samples.
struct Watch {
    started: Instant,
    /// When each sample was handed over, ns since the start; 0: not yet.
    raised: Arc<Vec<AtomicU64>>,
    next: AtomicU64,
    ending: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<u64>>>,
}

impl Watch {
    fn start(path: &Path, samples: usize, pause: Duration) -> Result<Self> {
        let mut file = fs::File::open(path)?;
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0))?;
        let started = Instant::now();
        let raised: Arc<Vec<AtomicU64>> = Arc::new((0..samples).map(|_| AtomicU64::new(0)).collect());
        let ending = Arc::new(AtomicBool::new(false));
        let (of_thread, ends) = (Arc::clone(&raised), Arc::clone(&ending));
        let thread = std::thread::spawn(move || look(file, started, &of_thread, &ends, pause));
        Ok(Self { started, raised, next: AtomicU64::new(0), ending, thread })
    }

    /// A copy of the alert that is a sample, handed over now.
    fn sample(&self, alert: &Alert) -> Alert {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut alert = alert.clone();
        alert.id = format!("{SAMPLE}{number}");
        if let Some(raised) = self.raised.get(number as usize) {
            raised.store(since(self.started), Ordering::Release);
        }
        alert
    }

    /// Waits for the lines of all samples: how long each took; sorted, ns.
    fn finish(self) -> Result<Vec<u64>> {
        self.ending.store(true, Ordering::Release);
        let Ok(took) = self.thread.join() else { anyhow::bail!("the thread that looks at the file died") };
        took
    }
}

fn since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
}

fn look(
    mut file: fs::File,
    started: Instant,
    raised: &[AtomicU64],
    ending: &AtomicBool,
    pause: Duration,
) -> Result<Vec<u64>> {
    let mut took = Vec::new();
    let (mut text, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
    let mut until = None;
    while took.len() < raised.len() {
        let read = file.read(&mut chunk)?;
        let now = since(started);
        text.extend_from_slice(&chunk[..read]);
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in text[..whole].split(|byte| *byte == b'\n') {
            let Some(at) = number(line).and_then(|number| raised.get(number)) else { continue };
            took.push(now.saturating_sub(at.load(Ordering::Acquire)));
        }
        text.drain(..whole);
        if read == 0 {
            if ending.load(Ordering::Acquire) {
                let until = *until.get_or_insert_with(|| Instant::now() + Duration::from_secs(20));
                if Instant::now() > until {
                    // Some were left out before they were spooled, as others are, and are counted with them.
                    ensure!(
                        took.len() * 2 > raised.len(),
                        "only {} of {} lines came",
                        took.len(),
                        raised.len()
                    );
                    break;
                }
            }
            std::thread::sleep(pause);
        }
    }
    took.sort_unstable();
    Ok(took)
}

/// The number of the sample whose line this is.
fn number(line: &[u8]) -> Option<usize> {
    // The id is among the first fields.
    let head = std::str::from_utf8(line.get(..200)?).ok()?;
    let (_, rest) = head.split_once(SAMPLE)?;
    rest.split_once('"')?.0.parse().ok()
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

/// How many numbers of a sink's stream neither came nor are named as gone, and how many of the alerts that were raised neither
/// came nor are counted where such numbers are named.
fn unaccounted(path: &Path, raised: u64) -> Result<u64> {
    let (mut seen, mut came, mut told, mut lost) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), 0);
    for line in BufReader::new(fs::File::open(path)?).lines() {
        let alert: Alert = serde_json::from_str(&line?)?;
        let seq = alert.delivery.context("an alert without a number")?.seq;
        seen.insert(seq);
        if alert.id.starts_with(RAISED) || alert.id.starts_with(SAMPLE) {
            came.insert(seq);
        }
        // What tells of others may come twice, like everything else.
        for gap in alert.gap.into_iter().filter(|_| told.insert(seq)) {
            lost += gap.lost.filter(|_| !gap.sequences.is_empty()).unwrap_or(0);
            seen.extend(gap.sequences.into_iter().flat_map(|[first, last]| first..=last));
        }
    }
    let last = seen.last().copied().unwrap_or(0);
    Ok((last - seen.len() as u64).max(raised.saturating_sub(came.len() as u64 + lost)))
}

/// Resident memory of this process, KiB.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}
