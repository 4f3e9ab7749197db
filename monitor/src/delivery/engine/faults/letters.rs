//! What a receiver refuses for good.

use super::*;

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
    assert_eq!(super::super::ask_replay(dir.path(), None).unwrap(), ["a"]);
    rig.pass(3 * SECOND);
    assert_eq!(rig.far(0).ids(), [1, 2, 4, 5, 3]);
    assert!(!super::super::replay_waits(dir.path()));
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
        let letter: super::super::dead::Letter = serde_json::from_str(line).unwrap();
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
    super::super::ask_replay(dir.path(), None).unwrap();
    rig.pass(3 * SECOND);
    assert!(super::super::replay_waits(dir.path()), "their file is all there is of them");
    rig.mend_disk(dir.path());
    rig.far(0).work();
    rig.pass(300 * SECOND);
    assert!(!super::super::replay_waits(dir.path()));
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
    super::super::ask_replay(dir.path(), None).unwrap();
    rig.pass(3 * SECOND);
    assert!(!super::super::replay_waits(dir.path()));
    assert_eq!(super::super::count_dead(dir.path()).unwrap(), [("gone".to_owned(), 1)]);
}
