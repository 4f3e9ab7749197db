//! Whether it is an alert that cannot be taken, or a receiver that takes none.

use super::*;

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
