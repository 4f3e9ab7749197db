//! A thousand alerts a second for ten seconds, in real time and with real threads, with one of two receivers down.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use integration::fakes::{alerts, engine};
use monitor::alert::Alert;
use monitor::delivery::{Engine, SinkStats};
use monitor::profile::Tier;

const SECONDS: u64 = 10;
const RATE: u64 = 1000;
const TOTAL: u64 = SECONDS * RATE;
/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// Of text in each alert, bytes: about what a chain of some dozens of links has.
const TEXT: usize = 8 << 10;
/// Most KiB that memory may grow: 8 MiB wait to be spooled at most and 8 MiB may be in memory while the disk takes nothing, each
/// sink has about one at hand and once more as text, the rest are buffers and what the allocator keeps. All alerts together are
/// more than twice as much.
const GROWTH: u64 = 36 << 10;
/// Most alerts that may wait for the receiver that works: those of six seconds, of ten. One that falls behind has more each second.
const BEHIND: u64 = 6 * RATE;
/// What handing one over may take, half of the times: others may have the processor at any time. The thread that does looks after
/// its rings each 2 ms when it is busy; one that had to wait for a disk or a receiver would wait longer each time.
const HANDED_OVER: Duration = Duration::from_millis(2);

/// Two files, one of them on a disk that is full until `late` has another place for it.
fn start(folder: &Path, late: &Path) -> Engine {
    let sink = |name: &str, path: &Path| format!("name: {name}, type: file, path: {}", path.display());
    let sinks = [sink("up", &folder.join("up")), sink("late", late)];
    let config = engine::configured(&folder.join("state"), "drain: 2s", &sinks).unwrap();
    std::fs::create_dir_all(&config.state_dir).unwrap();
    engine::start(&config).unwrap()
}

fn alert(number: u64) -> Alert {
    let mut alert = alerts::plain(number).unwrap();
    alert.tier = [Tier::Identity, Tier::Boundary, Tier::Deviation].get(number as usize % 3).copied();
    alert.respond = vec!["look ".repeat(TEXT / 5)];
    alert
}

/// Resident memory of this program, KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// How long the thread of this name had something to do and no processor to do it on: others may keep them busy, and what is left
/// out for that is no fault of ours. All of the time, where the kernel does not count it.
fn waited(thread: &str) -> Duration {
    let mut all = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        if read("comm").trim_end() == thread {
            let delay = read("schedstat").split(' ').nth(1).and_then(|delay| delay.parse().ok());
            all += delay.map_or(Duration::from_secs(SECONDS), Duration::from_nanos);
        }
    }
    assert!(!all.is_zero(), "there is no thread {thread}");
    all
}

fn of(engine: &Engine, name: &str) -> SinkStats {
    engine.stats().into_iter().find(|(sink, _)| sink == name).unwrap().1
}

/// Ids that came, after a check that every number of the stream came or is named as gone; and how many are named as left out
/// before they were spooled.
fn received(path: &Path) -> (BTreeSet<String>, u64) {
    let (mut ids, mut numbers, mut left_out) = (BTreeSet::new(), BTreeSet::new(), 0);
    for line in BufReader::new(std::fs::File::open(path).unwrap()).lines() {
        let alert: Alert = serde_json::from_str(&line.unwrap()).unwrap();
        numbers.insert(alert.delivery.unwrap().seq);
        let not_spooled = alert.gap.iter().filter(|gap| gap.reason == "not-spooled");
        left_out += not_spooled.filter_map(|gap| gap.lost).sum::<u64>();
        let named = alert.gap.into_iter().flat_map(|gap| gap.sequences);
        numbers.extend(named.flat_map(|[first, last]| first..=last));
        ids.insert(alert.id);
    }
    let last = *numbers.last().unwrap();
    assert_eq!(numbers.len() as u64, last, "every number up to {last} of {}", path.display());
    (ids, left_out)
}

#[test]
fn a_thousand_alerts_a_second_with_one_of_two_sinks_down_are_all_delivered_and_memory_is_flat() {
    let folder = tempfile::tempdir().unwrap();
    let engine = start(folder.path(), Path::new("/dev/full"));
    let before = resident();
    let (mut most, mut behind) = (before, 0);
    let mut took = Vec::new();
    let started = Instant::now();
    for number in 0..TOTAL {
        let alert = alert(number);
        let due = started + Duration::from_nanos(number * 1_000_000_000 / RATE);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let at = Instant::now();
        engine.accept(alert);
        took.push(at.elapsed());
        drop(engine.take_appended());
        if number.is_multiple_of(RATE / 4) {
            most = most.max(resident());
            behind = behind.max(of(&engine, "up").waiting);
        }
    }
    let starved = waited("spool");
    assert!(engine.wait_appended(PATIENCE));
    let down = of(&engine, "late");
    assert!(down.failing && down.acknowledged == 0, "it is down all the time: {down:?}");
    let (up, down) = {
        let stats = engine.finish();
        (stats[0].1, stats[1].1)
    };
    assert!(behind <= BEHIND, "{behind} alerts waited for the receiver that works");
    assert!(most - before <= GROWTH, "memory grew by {} KiB", most - before);
    took.sort_unstable();
    let slow = took[took.len() / 2];
    assert!(slow <= HANDED_OVER, "handing one over took {slow:?}");
    // It comes up, with the next start.
    let late = folder.path().join("came");
    let again = start(folder.path(), &late);
    assert!(again.settle(PATIENCE), "{:?}", again.stats());
    again.finish();
    let raised: BTreeSet<String> = (0..TOTAL).map(alerts::id).collect();
    for (path, stats) in [(folder.path().join("up"), up), (late, down)] {
        let (came, left_out) = received(&path);
        // On a machine that others keep busy some are left out before they are spooled, and said: no more than came meanwhile, and
        // than comes while a disk takes its time.
        assert_eq!(left_out, stats.refused, "{stats:?}");
        let most = TOTAL / 10 + starved.as_millis() as u64 * RATE / 1000;
        assert!(
            left_out <= most,
            "{left_out} were left out, the spool's thread waited {starved:?} for a processor"
        );
        let lost = raised.difference(&came).count() as u64;
        assert!(lost <= stats.evicted + left_out, "{lost} neither came nor are named: {stats:?}");
    }
}
