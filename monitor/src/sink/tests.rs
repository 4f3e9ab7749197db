use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;

use super::*;
use crate::alert::fixture;
use crate::config::{SinkFormat, Span};

/// A disk with so much room.
#[derive(Clone, Default)]
struct Disk(Rc<RefCell<(Vec<u8>, usize)>>);

impl Disk {
    fn with_room(room: usize) -> Self {
        Self(Rc::new(RefCell::new((Vec::new(), room))))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().0.clone()).unwrap()
    }
}

impl Output for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (data, room) = &mut *self.0.borrow_mut();
        let count = bytes.len().min(*room);
        if count == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        data.extend_from_slice(&bytes[..count]);
        *room -= count;
        Ok(count)
    }

    fn reopen(&mut self) -> Result<bool, SinkError> {
        Ok(true)
    }

    fn target(&self) -> String {
        "disk".into()
    }

    fn terminal_width(&self) -> Option<usize> {
        None
    }
}

fn config(buffer: usize) -> SinkConfig {
    let retry = Span(std::time::Duration::ZERO);
    SinkConfig { name: "t".into(), format: SinkFormat::Json, buffer, retry, ..SinkConfig::stdout() }
}

fn safe() -> SafeAlert {
    SafeAlert::new(fixture::incident())
}

fn seqs(text: &str) -> Vec<u64> {
    let parse = |line: &str| serde_json::from_str::<Alert>(line).unwrap().delivery.unwrap().seq;
    text.lines().map(parse).collect()
}

#[test]
fn a_full_disk_loses_nothing_while_there_is_memory() {
    let disk = Disk::with_room(100);
    let mut sink = LineSink::new(&config(10), disk.clone());
    for _ in 0..3 {
        let error = sink.deliver(&safe()).unwrap_err().to_string();
        assert!(error.contains("cannot write to disk") && error.contains("kept in memory"), "{error}");
    }
    assert_eq!(sink.stats(), SinkStats { taken: 3, written: 0, waiting: 3, dropped: 0 });
    disk.0.borrow_mut().1 = 1 << 20;
    sink.flush().unwrap();
    assert_eq!(seqs(&disk.text()), [1, 2, 3]);
    assert_eq!(sink.stats().waiting, 0);
}

#[test]
fn a_full_buffer_drops_the_oldest_whole_line_and_counts_it() {
    let disk = Disk::with_room(100);
    let mut sink = LineSink::new(&config(3), disk.clone());
    for _ in 0..5 {
        let _ = sink.deliver(&safe());
    }
    let error = sink.deliver(&safe()).unwrap_err().to_string();
    assert!(error.contains("3 alert(s) were dropped"), "{error}");
    disk.0.borrow_mut().1 = 1 << 20;
    sink.flush().unwrap();
    // The first was half written: it stays whole, and the sequence shows the hole.
    assert_eq!(seqs(&disk.text()), [1, 5, 6]);
    assert_eq!(sink.stats(), SinkStats { taken: 6, written: 3, waiting: 0, dropped: 3 });
}

#[test]
fn filters_by_tier_and_kind() {
    let disk = Disk::with_room(1 << 20);
    let only = SinkConfig { min_tier: crate::alert::Tier::Objective, ..config(10) };
    let mut sink = LineSink::new(&only, disk.clone());
    sink.deliver(&safe()).unwrap();
    assert_eq!(sink.stats().taken, 0);
    sink.deliver(&SafeAlert::new(fixture::gap())).unwrap();
    assert_eq!(sink.stats().taken, 1, "tiers belong to incidents");
    let only = SinkConfig { kinds: vec![crate::alert::AlertKind::Health], ..config(10) };
    let mut sink = LineSink::new(&only, disk);
    sink.deliver(&safe()).unwrap();
    sink.deliver(&SafeAlert::new(fixture::gap())).unwrap();
    assert_eq!(sink.stats().taken, 0);
}

#[test]
fn a_file_is_appended_to_and_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    for _ in 0..2 {
        let mut sinks = Sinks::open(&[SinkConfig::file(path.clone())]).unwrap();
        sinks.deliver(fixture::incident());
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_torn_last_line_is_ended_before_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    std::fs::write(&path, "{\"torn").unwrap();
    let mut sinks = Sinks::open(&[SinkConfig::file(path.clone())]).unwrap();
    sinks.deliver(fixture::incident());
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert_eq!(seqs(text.lines().nth(1).unwrap()), [1]);
}

#[test]
fn a_rotated_file_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alerts.jsonl");
    let mut sinks = Sinks::open(&[SinkConfig::file(path.clone())]).unwrap();
    sinks.deliver(fixture::incident());
    std::fs::rename(&path, dir.path().join("old")).unwrap();
    sinks.deliver(fixture::incident());
    sinks.reopen();
    sinks.deliver(fixture::incident());
    assert_eq!(std::fs::read_to_string(dir.path().join("old")).unwrap().lines().count(), 2);
    assert_eq!(seqs(&std::fs::read_to_string(&path).unwrap()), [3]);
}

#[test]
fn a_full_device_keeps_the_agent_running() {
    let mut sinks = Sinks::open(&[SinkConfig::file("/dev/full".into())]).unwrap();
    sinks.deliver(fixture::incident());
    sinks.tick();
    assert_eq!(sinks.stats()[0].1, SinkStats { taken: 1, written: 0, waiting: 1, dropped: 0 });
}

#[test]
fn a_folder_that_does_not_exist_is_refused_at_start() {
    let error =
        Sinks::open(&[SinkConfig::file("/nonexistent/alerts.jsonl".into())]).err().unwrap().to_string();
    assert!(error.contains("/nonexistent/alerts.jsonl: cannot be opened"), "{error}");
}
