//! What an earlier agent left, whole or broken in the ways that kills, disks and other versions break it.

use std::fs;

use super::*;

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
    corrupt(&path, 3, 9);
    let writer = open(dir.path(), &["a"], Limits::default(), &clock);
    let got = Taker::new(&writer, 0).take(100);
    assert_eq!(ids(&got), [1, 2, 3, 5, 6, 7, 8, 9]);
    let named: Vec<_> = got.iter().filter_map(|got| got.gone.clone()).collect();
    assert_eq!(named, [vec![[4, 4]]]);
}

/// Of class normal.
fn damage_last(dir: &Path) {
    let path = segments(dir, Class::Normal).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn corrupt_last_record_is_named_and_its_number_not_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    filled(dir.path(), 3, &clock, &Limits::default());
    damage_last(dir.path());
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 4, &*clock), &[0]);
    let got = Taker::new(&writer, 0).take(100);
    assert_eq!(ids(&got), [1, 2, 4]);
    assert_eq!(accounted(&got), (1..=5).collect());
    assert!(got.iter().all(|got| got.id != "4" || got.seq > 3), "{got:?}");
}

#[test]
fn corrupt_last_record_that_told_of_others_has_none_of_their_numbers_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 1, &*clock), &[0]);
    writer.leave_out(&LeftOut { sink: 0, class: Class::Normal, count: 300, span: (1, 2) });
    // It is sent from memory, and no cursor says so.
    let mut got = Taker::new(&writer, 0).take(100);
    assert_eq!(seqs(&got), [1, 302]);
    drop(writer);
    damage_last(dir.path());
    let mut writer = open(dir.path(), &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 2, &*clock), &[0]);
    got.extend(Taker::new(&writer, 0).take(100));
    check(&got);
    assert!(got.iter().all(|got| got.id != "2" || got.seq > 302), "{:?}", seqs(&got));
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
    let second = Writer::open(dir.path(), &[], Limits::default(), clock, say());
    assert!(second.err().unwrap().contains("another agent"));
}

#[test]
fn folder_that_others_may_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("spool")).unwrap();
    fs::set_permissions(dir.path().join("spool"), fs::Permissions::from_mode(0o777)).unwrap();
    let error = Writer::open(dir.path(), &[], Limits::default(), TestClock::new(), say()).err().unwrap();
    assert!(error.contains("may be written by others"), "{error}");
}
