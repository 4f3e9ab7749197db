//! Real files, broken in the ways that kills, disks and other versions break them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::testing::{Got, Taker, TestClock, accounted, open, record};
use super::*;
use crate::delivery::Class;

pub(super) fn segments(dir: &Path, class: Class) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir.join("spool"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(class.name()) && name.ends_with(".seg")
        })
        .collect();
    paths.sort();
    paths
}

/// A spool with so many records of class normal for sink `a`, closed as a kill closes it.
fn filled(dir: &Path, count: u64, clock: &std::sync::Arc<TestClock>, limits: &Limits) {
    let mut writer = open(dir, &["a"], limits.clone(), clock);
    for number in 1..=count {
        writer.append(record(Class::Normal, number, &**clock), &[0]);
    }
}

fn ids(got: &[Got]) -> Vec<u64> {
    got.iter().filter(|got| got.gone.is_none()).map(|got| got.id.parse().unwrap()).collect()
}

#[test]
fn what_was_appended_is_there_after_a_kill_in_order_with_its_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    filled(dir.path(), 20, &clock, &Limits::default());
    let writer = open(dir.path(), &["a"], Limits::default(), &clock);
    let mut taker = Taker::new(&writer, 0);
    assert_eq!(taker.waiting(), 20);
    let got = taker.take(100);
    assert_eq!(ids(&got), (1..=20).collect::<Vec<_>>());
    assert_eq!(got.iter().map(|got| got.seq).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    taker.commit();
    assert_eq!(taker.waiting(), 0);
    drop((writer, taker));
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    assert!(segments(dir.path(), Class::Normal).is_empty(), "what every sink has is gone");
    writer.append(record(Class::Normal, 21, &*clock), &[0]);
    let got = Taker::new(&writer, 0).take(100);
    assert_eq!((ids(&got), got[0].seq), (vec![21], 21), "numbers go on");
}

#[test]
fn torn_last_record_is_cut_off_and_nothing_else_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    filled(dir.path(), 5, &clock, &Limits::default());
    let path = segments(dir.path(), Class::Normal).remove(0);
    let length = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 10).unwrap();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 6, &*clock), &[0]);
    let got = Taker::new(&writer, 0).take(100);
    assert_eq!(ids(&got), [1, 2, 3, 4, 6]);
    assert!(got.iter().all(|got| got.gone.is_none()), "its append had not returned: {got:?}");
}

#[test]
fn corrupt_record_in_the_middle_is_skipped_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    filled(dir.path(), 9, &clock, &Limits::default());
    let path = segments(dir.path(), Class::Normal).remove(0);
    testing::corrupt(&path, 3, 9);
    let writer = open(dir.path(), &["a"], Limits::default(), &clock);
    let got = Taker::new(&writer, 0).take(100);
    assert_eq!(ids(&got), [1, 2, 3, 5, 6, 7, 8, 9]);
    let named: Vec<_> = got.iter().filter_map(|got| got.gone.clone()).collect();
    assert_eq!(named, [vec![[4, 4]]]);
}

#[test]
fn corrupt_last_record_is_named_and_its_number_not_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    filled(dir.path(), 3, &clock, &Limits::default());
    let path = segments(dir.path(), Class::Normal).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 4, &*clock), &[0]);
    let got = Taker::new(&writer, 0).take(100);
    assert_eq!(ids(&got), [1, 2, 4]);
    assert_eq!(accounted(&got), (1..=5).collect());
    assert!(got.iter().all(|got| got.id != "4" || got.seq > 3), "{got:?}");
}

#[test]
fn segment_of_another_version_is_put_aside_and_named() {
    for version in [0u32, 99] {
        let dir = tempfile::tempdir().unwrap();
        let clock = TestClock::new();
        {
            let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
            for number in 1..=4 {
                writer.append(record(Class::Normal, number, &*clock), &[0]);
            }
            writer.append(record(Class::Low, 5, &*clock), &[0]);
            writer.finish();
        }
        let path = segments(dir.path(), Class::Normal).remove(0);
        let mut bytes = fs::read(&path).unwrap();
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let writer = open(dir.path(), &["a"], Limits::default(), &clock);
        assert!(path.with_extension("unread").exists());
        let got = Taker::new(&writer, 0).take(100);
        assert_eq!(ids(&got), [5]);
        assert_eq!(accounted(&got), (1..=6).collect(), "{got:?}");
    }
}

#[test]
fn spool_that_is_full_evicts_the_oldest_and_names_every_number() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let limits = Limits { class: [256 << 10, 128 << 10, 64 << 10], ..Limits::default() };
    let mut writer = open(dir.path(), &["slow", "quick"], limits, &clock);
    let mut quick = Taker::new(&writer, 1);
    let mut seen = Vec::new();
    for number in 1..=200 {
        writer.append(record(Class::Normal, number, &*clock), &[0, 1]);
        seen.extend(quick.take(10));
        quick.commit();
    }
    assert_eq!(ids(&seen), (1..=200).collect::<Vec<_>>(), "a sink that keeps up misses nothing");
    let on_disk: u64 =
        segments(dir.path(), Class::Normal).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(on_disk <= 128 << 10, "{on_disk}");
    let mut slow = Taker::new(&writer, 0);
    let got = slow.take(1000);
    assert!(ids(&got).len() < 200 && ids(&got).contains(&200));
    let last = got.iter().map(|got| got.seq).max().unwrap();
    assert_eq!(accounted(&got), (1..=last).collect());
    slow.commit();
    assert_eq!(slow.waiting(), 0);
}

#[test]
fn eviction_survives_a_kill_and_is_named_again_if_it_is_evicted_itself() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let limits = Limits { class: [32 << 10, 64 << 10, 64 << 10], ..Limits::default() };
    let mut writer = open(dir.path(), &["a"], limits.clone(), &clock);
    for number in 1..=100 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    for number in 101..=200 {
        writer.append(record(Class::High, number, &*clock), &[0]);
    }
    drop(writer);
    let writer = open(dir.path(), &["a"], limits, &clock);
    let got = Taker::new(&writer, 0).take(1000);
    let last = got.iter().map(|got| got.seq).max().unwrap();
    assert!(got.iter().any(|got| got.gone.is_some()));
    assert_eq!(accounted(&got), (1..=last).collect());
}

#[test]
fn old_records_are_evicted_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 1, &*clock), &[0]);
    clock.pass(Duration::from_secs(6 * 24 * 3600));
    writer.tick();
    assert_eq!(Taker::new(&writer, 0).take(10).len(), 1);
    clock.pass(Duration::from_secs(2 * 24 * 3600));
    writer.tick();
    let got = Taker::new(&writer, 0).take(10);
    assert_eq!((got.len(), got[0].gone.clone()), (1, Some(vec![[1, 1]])));
}

#[test]
fn a_day_at_one_alert_a_minute_fits_without_eviction() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    for number in 1..=1440 {
        writer.append(record(Class::ALL[number as usize % 3], number, &*clock), &[0]);
        clock.pass(Duration::from_secs(60));
        writer.tick();
    }
    let got = Taker::new(&writer, 0).take(2000);
    assert_eq!(got.len(), 1440);
    assert!(got.iter().all(|got| got.gone.is_none()));
}

#[test]
fn file_system_that_is_nearly_full_stops_the_growth_and_the_lowest_class_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let with = |free| -> room::AskRoom { Box::new(move |_| Some(room::Room { free, total: 1000 })) };
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.set_room(with(149));
    for number in 1..=4000 {
        let class = if number % 2 == 0 { Class::Low } else { Class::High };
        writer.append(record(class, number, &*clock), &[0]);
    }
    let size = |class| -> u64 {
        segments(dir.path(), class).iter().map(|path| fs::metadata(path).unwrap().len()).sum()
    };
    assert!(size(Class::High) + size(Class::Low) <= limits::FLOOR + (64 << 10));
    assert!(size(Class::Low) < size(Class::High));
    let got = Taker::new(&writer, 0).take(5000);
    let last = got.iter().map(|got| got.seq).max().unwrap();
    assert_eq!(accounted(&got), (1..=last).collect());
}

#[test]
fn records_that_no_sink_takes_are_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 1, &*clock), &[]);
    assert!(segments(dir.path(), Class::Normal).is_empty());
}

#[test]
fn a_sink_that_takes_nothing_of_a_class_holds_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let limits = Limits { class: [1 << 20, 128 << 10, 1 << 20], ..Limits::default() };
    let mut writer = open(dir.path(), &["all", "pager"], limits, &clock);
    let mut all = Taker::new(&writer, 0);
    let mut got = Vec::new();
    for number in 1..=300 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
        got.extend(all.take(10));
        all.commit();
    }
    writer.append(record(Class::High, 301, &*clock), &[0, 1]);
    clock.pass(Duration::from_secs(2));
    writer.tick();
    assert!(segments(dir.path(), Class::Normal).len() <= 2);
    assert_eq!(ids(&Taker::new(&writer, 1).take(10)), [301]);
}

#[test]
fn cursor_that_is_lost_means_everything_again_in_a_new_stream() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    let stream = |writer: &Writer| writer.shared().lock().sinks[0].cursor.stream.clone();
    let before = stream(&writer);
    writer.append(record(Class::Normal, 1, &*clock), &[0]);
    drop(writer);
    fs::write(dir.path().join("spool/a.cursor"), "").unwrap();
    let writer = open(dir.path(), &["a"], Limits::default(), &clock);
    assert_eq!(ids(&Taker::new(&writer, 0).take(10)), [1]);
    assert_ne!(stream(&writer), before);
}

#[test]
fn two_agents_do_not_share_a_spool() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let _writer = open(dir.path(), &["a"], Limits::default(), &clock);
    assert!(is_taken(dir.path()));
    let second = Writer::open(dir.path(), &[], Limits::default(), clock, testing::say());
    assert!(second.err().unwrap().contains("another agent"));
}

#[test]
fn folder_that_others_may_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("spool")).unwrap();
    fs::set_permissions(dir.path().join("spool"), fs::Permissions::from_mode(0o777)).unwrap();
    let error =
        Writer::open(dir.path(), &[], Limits::default(), TestClock::new(), testing::say()).err().unwrap();
    assert!(error.contains("may be written by others"), "{error}");
}

/// Runs this test again in a mount namespace of its own, where a small file system may be mounted on `dir`: as root there,
/// whoever runs it. `true`: this is that run.
pub(super) fn in_own_mounts(test: &str) -> bool {
    const INNER: &str = "SANDWATCH_TEST_OWN_MOUNTS";
    if std::env::var_os(INNER).is_some() {
        return true;
    }
    let mut unshare = std::process::Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let output = unshare
        .args(["--mount", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INNER, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

pub(super) fn mount_small(dir: &Path, size: &str) {
    let options = format!("size={size},mode=0700");
    let mount = ["-t", "tmpfs", "-o", &options, "sw-spool-test"];
    let status = std::process::Command::new("mount").args(mount).arg(dir).status().unwrap();
    assert!(status.success());
}

#[test]
fn full_disk_keeps_alerts_in_memory_and_writes_them_when_there_is_room_in_order() {
    let name = "full_disk_keeps_alerts_in_memory_and_writes_them_when_there_is_room_in_order";
    if !in_own_mounts(&format!("delivery::spool::fault_tests::{name}")) {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let dir = disk.path();
    mount_small(dir, "512k");
    let clock = TestClock::new();
    let mut writer = open(dir, &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 1, &*clock), &[0]);
    let _ = fs::write(dir.join("filler"), vec![0; 1 << 20]);
    for number in 2..=50 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    assert!(matches!(&writer.take_events()[..], [Event::Broken(why)] if why.contains("No space")));
    clock.pass(Duration::from_secs(2));
    writer.tick();
    assert!(writer.take_events().is_empty(), "said once");
    assert_eq!(
        ids(&Taker::new(&writer, 0).take(100)),
        (1..=50).collect::<Vec<_>>(),
        "they are delivered meanwhile"
    );
    fs::remove_file(dir.join("filler")).unwrap();
    clock.pass(Duration::from_secs(2));
    writer.tick();
    assert_eq!(writer.take_events(), [Event::Mended]);
    writer.append(record(Class::Normal, 51, &*clock), &[0]);
    drop(writer);
    let writer = open(dir, &["a"], Limits::default(), &clock);
    let got = Taker::new(&writer, 0).take(100);
    assert_eq!(ids(&got), (1..=51).collect::<Vec<_>>());
    assert!(got.iter().all(|got| got.gone.is_none()));
    drop(writer);
    assert!(std::process::Command::new("umount").arg(dir).status().unwrap().success());
}

#[test]
fn memory_that_is_full_as_well_lets_the_oldest_of_the_lowest_class_go_and_names_them() {
    let clock = TestClock::new();
    let limits = Limits { records: 20, ..Limits::default() };
    let mut writer = Writer::in_memory(&["a".into()], limits, clock.clone(), testing::say());
    for number in 1..=30 {
        let class = if number <= 15 { Class::Low } else { Class::High };
        writer.append(record(class, number, &*clock), &[0]);
    }
    clock.pass(Duration::from_secs(2));
    writer.tick();
    let got = Taker::new(&writer, 0).take(100);
    assert_eq!(ids(&got), (16..=30).chain(11..=15).collect::<Vec<_>>());
    assert_eq!(accounted(&got), (1..=31).collect());
}

#[test]
fn memory_that_is_full_leaves_what_waits_on_disk_where_it_is() {
    if !in_own_mounts(
        "delivery::spool::fault_tests::memory_that_is_full_leaves_what_waits_on_disk_where_it_is",
    ) {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let dir = disk.path();
    mount_small(dir, "512k");
    let clock = TestClock::new();
    let limits = Limits { records: 20, ..Limits::default() };
    let mut writer = open(dir, &["a"], limits, &clock);
    for number in 1..=10 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    let _ = fs::write(dir.join("filler"), vec![0; 1 << 20]);
    for number in 11..=100 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    fs::remove_file(dir.join("filler")).unwrap();
    for _ in 0..3 {
        clock.pass(Duration::from_secs(2));
        writer.tick();
    }
    let got = Taker::new(&writer, 0).take(200);
    let last = got.iter().map(|got| got.seq).max().unwrap();
    assert_eq!(accounted(&got), (1..=last).collect());
    assert!((1..=10).all(|id| ids(&got).contains(&id)), "{got:?}");
}

#[test]
fn low_alert_evicts_none_that_matters_more() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.set_room(Box::new(|_| Some(room::Room { free: 1, total: 1000 })));
    for number in 1..=3000 {
        writer.append(record(Class::High, number, &*clock), &[0]);
    }
    let count = segments(dir.path(), Class::High).len();
    writer.append(record(Class::Low, 3001, &*clock), &[0]);
    assert_eq!(segments(dir.path(), Class::High).len(), count);
}
