//! Receivers that are away, slow, picky or lying, and what of each alert becomes: accepted ids against received ids.

use std::collections::BTreeSet;
use std::time::Duration;

use super::testing::{Manner, Rig, retry};
use crate::config::{Bytes, SpoolConfig};
use crate::delivery::spool::testing::{TestClock, small_alert};
use crate::delivery::{Class, Item, Outcome, Promise};

const SECOND: Duration = Duration::from_secs(1);

fn unique(ids: &[u64]) -> Vec<u64> {
    ids.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn sink_that_is_down_at_start_gets_everything_once_it_is_up() {
    let mut rig = Rig::new(None, &["a"]);
    rig.far(0).fail("connection refused");
    rig.accept(Class::Normal, 1..=300);
    rig.pass(60 * SECOND);
    assert!(rig.far(0).got.is_empty());
    let attempts = rig.far(0).batches.len();
    assert!((5..60).contains(&attempts), "{attempts} attempts in a minute");
    assert!(rig.stats(0).failing && rig.stats(0).oldest_unsent.is_some());
    rig.far(0).work();
    rig.pass(120 * SECOND);
    let ids = rig.far(0).ids();
    assert_eq!((unique(&ids), ids.len()), ((1..=300).collect(), 300));
    let stats = rig.stats(0);
    assert_eq!((stats.waiting, stats.acknowledged, stats.failing), (0, 300, false));
}

#[test]
fn after_an_outage_what_piled_up_comes_slowly_and_a_new_theft_at_once() {
    let mut rig = Rig::new(None, &["a"]);
    rig.far(0).fail("connection refused");
    rig.accept(Class::High, 1..=500);
    rig.accept(Class::Normal, 501..=1000);
    rig.pass(120 * SECOND);
    rig.far(0).work();
    // Until the next attempt, at most a minute away.
    while rig.far(0).got.is_empty() {
        rig.pass(SECOND);
    }
    rig.pass(4 * SECOND);
    let before = rig.far(0).got.len();
    // The batch that was at hand when it failed, and five seconds of catching up.
    assert!(before <= 100 + 50 * 5 + 30, "{before}");
    rig.accept(Class::High, [2000]);
    rig.pass(Duration::from_millis(50));
    assert!(rig.far(0).ids().contains(&2000), "what is new does not wait for what is old");
    rig.pass(10 * SECOND);
    let more = rig.far(0).got.len() - before;
    assert!((300..=560).contains(&more), "{more} in ten seconds");
    rig.pass(60 * SECOND);
    assert_eq!(unique(&rig.far(0).ids()), (1..=1000).chain([2000]).collect::<Vec<_>>());
    assert_eq!(rig.far(0).got.len(), 1001, "none twice");
}

#[test]
fn sink_that_is_killed_in_the_middle_of_a_batch_misses_nothing() {
    let mut rig = Rig::new(None, &["a"]);
    let mut left = 37;
    rig.far(0).answer = Box::new(move |_| {
        left -= 1;
        (left > 0).then_some(Outcome::Accepted)
    });
    rig.accept(Class::Normal, 1..=200);
    rig.pass(5 * SECOND);
    assert_eq!(rig.far(0).ids(), (1..=36).collect::<Vec<_>>());
    rig.far(0).work();
    rig.pass(30 * SECOND);
    let ids = rig.far(0).ids();
    assert_eq!((unique(&ids), ids.len()), ((1..=200).collect(), 200));
}

#[test]
fn half_a_batch_that_is_refused_for_now_is_sent_again_alone() {
    let mut rig = Rig::new(None, &["a"]);
    let mut first = true;
    rig.far(0).answer = Box::new(move |item| {
        let odd = item.alert.id.parse::<u64>().unwrap() % 2 == 1;
        if odd && first {
            first = item.alert.id != "99";
            return Some(retry("429"));
        }
        Some(Outcome::Accepted)
    });
    rig.accept(Class::Normal, 1..=100);
    rig.pass(20 * SECOND);
    let ids = rig.far(0).ids();
    assert_eq!(unique(&ids), (1..=100).collect::<Vec<_>>());
    assert_eq!(ids.len(), 100, "none twice: {ids:?}");
    assert_eq!(rig.stats(0).retried, 50);
}

#[test]
fn rejected_alerts_are_dead_letters_and_can_be_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(Some(dir.path()), &["a"]);
    rig.far(0).answer = Box::new(|item| {
        Some(if item.alert.id == "3" {
            Outcome::Rejected { reason: "400 mapping".into() }
        } else {
            Outcome::Accepted
        })
    });
    rig.accept(Class::Normal, 1..=5);
    rig.pass(3 * SECOND);
    assert_eq!(rig.far(0).ids(), [1, 2, 4, 5]);
    let text = std::fs::read_to_string(dir.path().join("dead/a.jsonl")).unwrap();
    assert!(text.contains("400 mapping") && text.lines().count() == 1, "{text}");
    let stats = rig.stats(0);
    assert_eq!((stats.rejected, stats.waiting), (1, 0));
    assert_eq!(stats.acknowledged, 4, "what is refused is not taken");
    rig.far(0).work();
    assert_eq!(super::ask_replay(dir.path(), None).unwrap(), ["a"]);
    rig.pass(3 * SECOND);
    assert_eq!(rig.far(0).ids(), [1, 2, 4, 5, 3]);
    assert!(!super::replay_waits(dir.path()));
}

#[test]
fn poison_blocks_nothing_and_ends_as_a_dead_letter_whatever_it_takes_with_it() {
    for manner in [Manner::ItemByItem, Manner::Stops, Manner::Whole] {
        let dir = tempfile::tempdir().unwrap();
        let mut rig = Rig::new(Some(dir.path()), &["a"]);
        rig.far(0).manner = manner;
        rig.far(0).answer =
            Box::new(|item| Some(if item.alert.id == "7" { retry("500") } else { Outcome::Accepted }));
        let mut number = 0;
        // It is found among others, whenever the jitter of its attempts lets them in between.
        while rig.stats(0).rejected == 0 {
            number += 1;
            assert!(number <= 300, "{manner:?}: it is not found");
            rig.accept(Class::Normal, [number]);
            rig.pass(20 * SECOND);
        }
        rig.pass(120 * SECOND);
        let expected: Vec<u64> = (1..=number).filter(|id| *id != 7).collect();
        assert_eq!(unique(&rig.far(0).ids()), expected, "{manner:?}");
        assert_eq!(rig.stats(0).rejected, 1, "{manner:?}");
        let text = std::fs::read_to_string(dir.path().join("dead/a.jsonl")).unwrap();
        assert!(text.contains("while others were taken: 500"), "{manner:?}: {text}");
    }
}

#[test]
fn poison_at_the_head_of_what_piled_up_is_found() {
    for manner in [Manner::Stops, Manner::Whole] {
        let dir = tempfile::tempdir().unwrap();
        let mut rig = Rig::new(Some(dir.path()), &["a"]);
        rig.far(0).manner = manner;
        rig.far(0).answer =
            Box::new(|item| Some(if item.alert.id == "1" { retry("500") } else { Outcome::Accepted }));
        rig.accept(Class::Normal, 1..=60);
        rig.pass(900 * SECOND);
        rig.accept(Class::Normal, 61..=65);
        rig.pass(300 * SECOND);
        rig.accept(Class::Normal, 66..=70);
        rig.pass(300 * SECOND);
        assert_eq!(unique(&rig.far(0).ids()), (2..=70).collect::<Vec<_>>(), "{manner:?}");
    }
}

#[test]
fn receiver_that_is_overloaded_for_minutes_gets_everything_in_the_end() {
    let mut rig = Rig::new(None, &["a"]);
    // Two of three are refused, whichever they are.
    let mut turn = 0;
    rig.far(0).answer = Box::new(move |_| {
        turn += 1;
        Some(if turn % 3 == 0 { Outcome::Accepted } else { retry("429") })
    });
    for number in 1..=120 {
        rig.accept(Class::Normal, [number]);
        rig.pass(SECOND);
    }
    rig.far(0).work();
    rig.pass(120 * SECOND);
    assert!(unique(&rig.far(0).ids()).into_iter().eq(1..=120));
    assert_eq!(rig.stats(0).rejected, 0);
}

#[test]
fn outage_is_nobodys_fault_and_makes_no_dead_letter() {
    let mut rig = Rig::new(None, &["a"]);
    for round in 0..8u64 {
        rig.far(0).fail("503");
        rig.accept(Class::Normal, round * 10..round * 10 + 10);
        rig.pass(200 * SECOND);
        rig.far(0).work();
        rig.pass(200 * SECOND);
    }
    assert_eq!(rig.stats(0).rejected, 0);
    assert_eq!(unique(&rig.far(0).ids()), (0..80).collect::<Vec<_>>());
}

#[test]
fn retry_after_is_kept() {
    let mut rig = Rig::new(None, &["a"]);
    rig.far(0).answer = Box::new(|_| Some(Outcome::Retry { reason: "429".into(), after: Some(90 * SECOND) }));
    rig.accept(Class::Normal, [1]);
    rig.pass(89 * SECOND);
    assert_eq!(rig.far(0).batches.len(), 1);
    rig.far(0).work();
    rig.pass(2 * SECOND);
    assert_eq!(rig.far(0).ids(), [1]);
}

#[test]
fn sync_that_fails_means_all_since_the_last_one_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(Some(dir.path()), &["a"]);
    rig.accept(Class::Normal, 1..=3);
    rig.pass(3 * SECOND);
    assert_eq!(rig.stats(0).acknowledged, 3);
    rig.far(0).commit = Err("EIO".into());
    rig.accept(Class::Normal, 4..=5);
    rig.pass(2 * SECOND);
    rig.far(0).commit = Ok(());
    rig.pass(20 * SECOND);
    let ids = rig.far(0).ids();
    assert_eq!(unique(&ids), [1, 2, 3, 4, 5]);
    assert!(ids.iter().filter(|id| **id == 4).count() > 1 && ids.iter().filter(|id| **id == 3).count() == 1);
    assert_eq!(rig.stats(0).acknowledged, 5);
}

#[test]
fn restart_sends_what_was_not_dealt_with_and_nothing_else_much() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut rig = Rig::new(Some(dir.path()), &["a", "b"]);
        rig.far(1).fail("down");
        rig.accept(Class::Normal, 1..=50);
        rig.pass(3 * SECOND);
        assert_eq!(rig.far(0).got.len(), 50);
    }
    let mut rig = Rig::new(Some(dir.path()), &["a", "b"]);
    rig.pass(20 * SECOND);
    assert!(rig.far(0).got.is_empty());
    assert_eq!(rig.far(1).ids(), (1..=50).collect::<Vec<_>>());
    let seqs: Vec<u64> = rig.far(1).got.iter().map(|got| got.seq).collect();
    assert_eq!(seqs, (1..=50).collect::<Vec<_>>(), "numbers are those of the time they were accepted");
}

#[test]
fn thousand_alerts_a_second_with_one_of_two_sinks_down_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(Some(dir.path()), &["up", "down"]);
    rig.far(1).fail("down");
    for second in 0..10u64 {
        let class = Class::ALL[second as usize % 3];
        for number in second * 1000..(second + 1) * 1000 {
            rig.engine.accept(small_alert(class, number));
        }
        rig.spool();
        rig.pass(SECOND);
    }
    assert!(unique(&rig.far(0).ids()).into_iter().eq(0..10_000));
    assert_eq!(rig.far(0).ids().len(), 10_000);
    rig.far(1).work();
    rig.pass(400 * SECOND);
    let far = rig.far(1);
    let last = far.got.iter().map(|got| got.seq).max().unwrap();
    assert_eq!(far.accounted(), (1..=last).collect());
    assert!(unique(&far.ids()).into_iter().eq(0..10_000));
}

#[test]
fn sink_that_stays_down_too_long_gets_the_rest_and_the_numbers_of_what_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let mib = |n: u64| Some(Bytes(n << 20));
    let spool = SpoolConfig { high: mib(1), normal: mib(1), low: mib(1), ..SpoolConfig::default() };
    let mut rig = Rig::with(Some(dir.path()), &["a"], Promise::Acknowledged, false, TestClock::new(), &spool);
    rig.far(0).fail("down");
    for round in 0..20u64 {
        rig.accept(Class::Low, round * 100..round * 100 + 100);
        rig.accept(Class::High, 10_000 + round * 10..10_000 + round * 10 + 10);
        rig.pass(SECOND);
    }
    rig.far(0).work();
    rig.pass(120 * SECOND);
    let far = rig.far(0);
    let ids = unique(&far.ids());
    assert!((10_000..10_200).all(|id| ids.contains(&id)), "the highest class is whole");
    // The very first were at hand when they were evicted, and are sent all the same.
    assert!(!ids.contains(&500) && ids.contains(&1999));
    let last = far.got.iter().map(|got| got.seq).max().unwrap();
    assert_eq!(far.accounted(), (1..=last).collect());
    drop(far);
    let stats = rig.stats(0);
    assert!(stats.evicted > 0 && stats.waiting == 0, "{stats:?}");
    assert!((2200..=2300).contains(&(stats.evicted + ids.len() as u64)), "{stats:?}");
}

#[test]
fn sink_that_hangs_delays_no_other() {
    // Each has a thread of its own; here: the one that is never stepped holds nothing back.
    let mut rig = Rig::new(None, &["hangs", "works"]);
    rig.accept(Class::Normal, 1..=10);
    rig.settle(1);
    assert_eq!(rig.far(1).got.len(), 10);
    assert_eq!(rig.stats(0).waiting, 10);
}

#[test]
fn an_item_without_an_answer_is_sent_again() {
    let mut rig = Rig::new(None, &["a"]);
    rig.far(0).answer = Box::new(|_: &Item| None);
    rig.accept(Class::Normal, [1]);
    rig.pass(SECOND);
    rig.far(0).work();
    rig.pass(10 * SECOND);
    assert_eq!(rig.far(0).ids(), [1]);
}

/// Everything is refused.
fn refuse(rig: &Rig, sink: usize) {
    rig.far(sink).answer = Box::new(|_| Some(Outcome::Rejected { reason: "400 mapping".into() }));
}

#[test]
fn dead_letter_that_cannot_be_written_waits_and_is_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(Some(dir.path()), &["a"]);
    // A file in its place: nothing can be put into that folder.
    std::fs::write(dir.path().join("dead"), "").unwrap();
    rig.far(0).answer = Box::new(|item| {
        Some(if item.alert.id == "3" {
            Outcome::Rejected { reason: "400".into() }
        } else {
            Outcome::Accepted
        })
    });
    rig.accept(Class::Normal, 1..=5);
    rig.pass(30 * SECOND);
    assert_eq!(rig.far(0).ids(), [1, 2, 4, 5], "it blocks nothing");
    assert_eq!(rig.stats(0).waiting, 1);
    std::fs::remove_file(dir.path().join("dead")).unwrap();
    rig.pass(70 * SECOND);
    let text = std::fs::read_to_string(dir.path().join("dead/a.jsonl")).unwrap();
    assert_eq!((text.lines().count(), rig.stats(0).waiting), (1, 0), "{text}");
    assert_eq!((rig.stats(0).acknowledged, rig.stats(0).rejected), (4, 1));
}

#[test]
fn dead_letter_that_was_never_written_comes_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut rig = Rig::new(Some(dir.path()), &["a"]);
        std::fs::write(dir.path().join("dead"), "").unwrap();
        refuse(&rig, 0);
        rig.accept(Class::Normal, 1..=2);
        rig.pass(10 * SECOND);
    }
    std::fs::remove_file(dir.path().join("dead")).unwrap();
    let mut rig = Rig::new(Some(dir.path()), &["a"]);
    refuse(&rig, 0);
    rig.pass(20 * SECOND);
    let text = std::fs::read_to_string(dir.path().join("dead/a.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn dead_letters_beyond_what_may_wait_are_lost_by_name_and_that_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(Some(dir.path()), &["a"]);
    std::fs::write(dir.path().join("dead"), "").unwrap();
    refuse(&rig, 0);
    rig.accept(Class::Normal, 1..=80);
    rig.pass(30 * SECOND);
    rig.far(0).work();
    rig.pass(120 * SECOND);
    let letters = rig.stats(0).letters;
    assert!((16..=20).contains(&letters), "{letters}");
    // Each is a dead letter, or named by an alert that came or is a dead letter itself.
    let mut named: Vec<[u64; 2]> = rig.far(0).got.iter().flat_map(|got| got.gone.clone()).collect();
    std::fs::remove_file(dir.path().join("dead")).unwrap();
    rig.pass(70 * SECOND);
    for line in std::fs::read_to_string(dir.path().join("dead/a.jsonl")).unwrap().lines() {
        let letter: super::dead::Letter = serde_json::from_str(line).unwrap();
        named.push([letter.seq; 2]);
        named.extend(letter.alert.gap.into_iter().flat_map(|gap| gap.sequences));
    }
    assert!((1..=80).all(|seq| named.iter().any(|[a, b]| (a..=b).contains(&&seq))), "{named:?}");
    std::fs::remove_dir_all(dir.path().join("dead")).unwrap();
    std::fs::write(dir.path().join("dead"), "").unwrap();
    // What names them was refused as well, and makes no other.
    refuse(&rig, 0);
    let queued = rig.stats(0).queued;
    rig.pass(3600 * SECOND);
    assert!(rig.stats(0).queued <= queued + 2, "{} after {queued}", rig.stats(0).queued);
}

#[test]
fn sink_that_refuses_everything_is_an_alert_for_the_others_and_so_is_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(Some(dir.path()), &["up", "refuses"]);
    refuse(&rig, 1);
    rig.accept(Class::Normal, 1..=4);
    rig.pass(5 * SECOND);
    assert_eq!(rig.far(0).got.len(), 4, "a few are poison, or chance");
    rig.accept(Class::Normal, 5..=6);
    rig.pass(5 * SECOND);
    assert_eq!(rig.far(0).got.len(), 7);
    rig.accept(Class::Normal, 7..=20);
    rig.pass(5 * SECOND);
    assert_eq!(rig.far(0).got.len(), 21, "said once");
    rig.far(1).work();
    rig.accept(Class::Normal, [21]);
    rig.pass(5 * SECOND);
    assert_eq!(rig.far(0).got.len(), 23);
}

#[test]
fn replayed_letters_are_on_the_disk_before_their_file_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(Some(dir.path()), &["a"]);
    refuse(&rig, 0);
    rig.accept(Class::Low, [1]);
    rig.pass(3 * SECOND);
    rig.far(0).fail("down");
    // Kept from its disk: what comes is in memory alone, and the letters stay where they are.
    rig.break_disk(dir.path());
    rig.accept(Class::High, [2]);
    super::ask_replay(dir.path(), None).unwrap();
    rig.pass(3 * SECOND);
    assert!(super::replay_waits(dir.path()), "their file is all there is of them");
    rig.mend_disk(dir.path());
    rig.far(0).work();
    rig.pass(300 * SECOND);
    assert!(!super::replay_waits(dir.path()));
    assert_eq!(unique(&rig.far(0).ids()), [1, 2]);
}

#[test]
fn letters_of_a_sink_that_is_not_configured_stay() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut rig = Rig::new(Some(dir.path()), &["gone"]);
        refuse(&rig, 0);
        rig.accept(Class::Normal, [1]);
        rig.pass(3 * SECOND);
    }
    let mut rig = Rig::new(Some(dir.path()), &["a"]);
    super::ask_replay(dir.path(), None).unwrap();
    rig.pass(3 * SECOND);
    assert!(!super::replay_waits(dir.path()));
    assert_eq!(super::count_dead(dir.path()).unwrap(), [("gone".to_owned(), 1)]);
}

#[test]
fn disk_that_is_mended_has_everything_and_what_names_evictions_before_it_is_said_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let mib = |n: u64| Some(Bytes(n << 20));
    let spool = SpoolConfig { high: mib(1), normal: mib(1), low: mib(1), ..SpoolConfig::default() };
    let clock = TestClock::new();
    let open = |clock| Rig::with(Some(dir.path()), &["a"], Promise::Acknowledged, false, clock, &spool);
    let mut rig = open(std::sync::Arc::clone(&clock));
    rig.far(0).fail("down");
    rig.accept(Class::Low, 0..300);
    rig.pass(SECOND);
    rig.break_disk(dir.path());
    rig.accept(Class::Low, 300..700);
    rig.pass(SECOND);
    assert!(!rig.is_on_disk());
    rig.mend_disk(dir.path());
    rig.pass(120 * SECOND);
    // Room had to be made for what was in memory: that is named, and the names are on disk as well.
    assert!(rig.is_on_disk() && rig.stats(0).evicted > 0, "{:?}", rig.stats(0));
    drop(rig);
    let mut rig = open(clock);
    rig.pass(120 * SECOND);
    let far = rig.far(0);
    let last = far.got.iter().map(|got| got.seq).max().unwrap();
    assert_eq!(far.accounted(), (1..=last).collect());
}

#[test]
fn what_piled_up_and_is_sent_slowly_has_its_oldest_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let rig = |clock| {
        Rig::with(Some(dir.path()), &["a"], Promise::Acknowledged, true, clock, &SpoolConfig::default())
    };
    let mut before = rig(std::sync::Arc::clone(&clock));
    before.far(0).fail("down");
    let oldest = crate::delivery::spool::nanoseconds(&*clock);
    before.accept(Class::Low, [1]);
    before.pass(SECOND);
    before.accept(Class::High, 2..=300);
    before.pass(SECOND);
    drop(before);
    let mut rig = rig(clock);
    rig.settle(0);
    assert_eq!(rig.stats(0).oldest_unsent, Some(oldest), "before anything was sent");
    while rig.far(0).got.is_empty() {
        rig.pass(SECOND);
    }
    assert_eq!(rig.stats(0).oldest_unsent, Some(oldest), "the oldest is of the lowest class");
    rig.pass(60 * SECOND);
    let stats = rig.stats(0);
    assert_eq!((stats.waiting, stats.oldest_unsent), (0, None));
}

#[test]
fn what_is_at_hand_is_bounded_by_bytes() {
    let mut rig = Rig::new(None, &["a"]);
    rig.far(0).fail("down");
    for number in 1..=100 {
        let mut alert = small_alert(Class::Normal, number);
        alert.respond = vec!["look ".repeat(10_000)];
        rig.engine.accept(alert);
        rig.spool();
    }
    rig.settle(0);
    let at_hand = rig.workers[0].bytes_at_hand();
    assert!((1 << 20..(1 << 20) + (64 << 10)).contains(&at_hand), "{at_hand}");
}
