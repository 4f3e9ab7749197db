//! A disk that takes nothing, and a memory that is full as well.

use std::fs;
use std::time::Duration;

use super::*;

#[test]
fn full_disk_keeps_alerts_in_memory_and_writes_them_when_there_is_room_in_order() {
    if !in_own_mounts(
        module_path!(),
        "full_disk_keeps_alerts_in_memory_and_writes_them_when_there_is_room_in_order",
    ) {
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
    unmount(dir);
}

#[test]
fn memory_that_is_full_as_well_lets_the_oldest_of_the_lowest_class_go_and_names_them() {
    let clock = TestClock::new();
    let limits = Limits { records: 20, ..Limits::default() };
    let mut writer = Writer::in_memory(&["a".into()], limits, clock.clone(), say());
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
    if !in_own_mounts(module_path!(), "memory_that_is_full_leaves_what_waits_on_disk_where_it_is") {
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
fn number_that_was_given_while_the_disk_was_full_is_not_given_again_after_a_kill() {
    if !in_own_mounts(
        module_path!(),
        "number_that_was_given_while_the_disk_was_full_is_not_given_again_after_a_kill",
    ) {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let dir = disk.path();
    mount_small(dir, "512k");
    let clock = TestClock::new();
    let mut writer = open(dir, &["a"], Limits::default(), &clock);
    let mut got = Vec::new();
    for number in 1..=5 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    fill(dir);
    for number in 6..=30 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
        // What the first failure gave up is taken as well.
        fill(dir);
    }
    let mut taker = Taker::new(&writer, 0);
    got.extend(taker.take(100));
    assert_eq!(got.len(), 30, "they are delivered meanwhile");
    assert!(taker.try_commit().is_err(), "the cursor cannot be written either");
    drop((taker, writer));
    make_room(dir);
    let mut writer = open(dir, &["a"], Limits::default(), &clock);
    writer.append(record(Class::Normal, 31, &*clock), &[0]);
    got.extend(Taker::new(&writer, 0).take(100));
    check(&got);
}

#[test]
fn disk_that_stays_full_begins_a_stream_that_is_named_and_ends_with_the_agent() {
    if !in_own_mounts(
        module_path!(),
        "disk_that_stays_full_begins_a_stream_that_is_named_and_ends_with_the_agent",
    ) {
        return;
    }
    for mended in [false, true] {
        let disk = tempfile::tempdir().unwrap();
        let dir = disk.path();
        mount_small(dir, "4m");
        let clock = TestClock::new();
        let mut writer = open(dir, &["a"], Limits::default(), &clock);
        fill(dir);
        let before = stream(&writer);
        for number in 1..=200 {
            writer.append(record(Class::Normal, number, &*clock), &[0]);
            fill(dir);
        }
        let (after, since) = {
            let shared = writer.shared();
            let index = shared.lock();
            (index.sinks[0].cursor.stream.clone(), index.sinks[0].cursor.since)
        };
        assert!(before != after && since <= 200, "{since}");
        assert_eq!(writer.shared().streams(0, 0).unwrap(), [(since, after.clone()), (1, before.clone())]);
        clock.pass(Duration::from_secs(2));
        if mended {
            make_room(dir);
        }
        writer.tick();
        if !mended {
            fill(dir);
        }
        let mut taker = Taker::new(&writer, 0);
        let got = taker.take(300);
        let named: Vec<_> = got.iter().filter_map(|got| got.gone.clone()).collect();
        assert_eq!(named, [vec![[1, since - 1]]], "the stream does not begin at 1, and says so");
        assert_eq!(got.len(), 201);
        assert_eq!(taker.try_commit().is_ok(), mended);
        drop((taker, writer));
        make_room(dir);
        let writer = open(dir, &["a"], Limits::default(), &clock);
        let goes_on = if mended { after } else { before };
        assert_eq!(stream(&writer), goes_on);
        drop(writer);
        unmount(dir);
    }
}

#[test]
fn what_the_memory_let_go_is_named_on_disk_before_anything_says_that_it_has_all() {
    let test = "what_the_memory_let_go_is_named_on_disk_before_anything_says_that_it_has_all";
    if !in_own_mounts(module_path!(), test) {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let dir = disk.path();
    mount_small(dir, "512k");
    let clock = TestClock::new();
    let (folder, told) = (dir.join("spool"), std::sync::Arc::new(std::sync::Mutex::new(Vec::new())));
    let (of_say, say) = (std::sync::Arc::clone(&told), say());
    let has = move |eviction: &Eviction| {
        of_say.lock().unwrap().push((eviction.why, boot::has(&folder)));
        say(eviction)
    };
    let limits = Limits { records: 20, ..Limits::default() };
    let mut writer =
        Writer::open(dir, &["a".to_owned()], limits.clone(), clock.clone(), Box::new(has)).unwrap();
    writer.set_room(Box::new(|_| None));
    writer.append(record(Class::Normal, 1, &*clock), &[0]);
    let _ = fs::write(dir.join("filler"), vec![0; 1 << 20]);
    for number in 2..=50 {
        writer.append(record(Class::Normal, number, &*clock), &[0]);
    }
    fs::remove_file(dir.join("filler")).unwrap();
    clock.pass(Duration::from_secs(2));
    writer.tick();
    // A kill between the two would have the next agent look for nothing.
    let told = told.lock().unwrap().clone();
    assert!(told.iter().any(|(why, _)| *why == Why::Memory), "{told:?}");
    assert!(told.iter().all(|(_, has)| *has == boot::Has::Some), "{told:?}");
    let got = Taker::new(&writer, 0).take(100);
    check(&got);
    drop(writer);
    unmount(dir);
}
