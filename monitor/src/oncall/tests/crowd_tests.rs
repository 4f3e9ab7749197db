//! More incidents than a desk follows.

use super::desk_tests::{desk, restarted};
use super::*;

/// A desk with more open incidents than it follows, each known to the receiver: the first ones are left.
fn crowded(count: u64) -> Desk {
    let mut desk = desk(Policy { batch: 64, ..pager(None) }, by_level());
    for number in 0..count {
        desk.take(&incident(&format!("i{number:04}"), 1, Tier::Boundary, State::Open), 0, at(number));
        if number % 64 == 0 {
            all_due(&mut desk, at(number));
        }
    }
    all_due(&mut desk, at(count));
    desk
}

/// More was taken in it than was told, and nobody is woken for it.
fn more_of(id: &str) -> SafeAlert {
    let mut alert = (*incident(id, 2, Tier::Boundary, State::Update)).clone();
    alert.blast_radius.get_or_insert_default().taken =
        vec![Taken { identity: "key".to_owned(), ..Taken::default() }];
    SafeAlert::new(alert)
}

#[test]
fn incident_beyond_the_rows_is_resolved_when_it_is_over_and_still_pages_when_it_gets_worse() {
    let mut desk = restarted(&crowded(1100), "receiver", at(5000));
    assert_eq!(all_due(&mut desk, at(5000)), [""; 0]);
    desk.take(&incident("i0000", 2, Tier::Boundary, State::Closed), 0, at(5001));
    assert_eq!(all_due(&mut desk, at(5001)), ["resolve i0000/ticket Closed"]);
    desk.take(&more_of("i0001"), 0, at(5002));
    assert_eq!(all_due(&mut desk, at(5002)), [""; 0], "it is not followed");
    desk.take(&incident("i0002", 2, Tier::Identity, State::Update), 0, at(5003));
    assert_eq!(
        all_due(&mut desk, at(5003)),
        ["open i0002/page r2 Raised", "resolve i0002/ticket Raised", "summary More 1"]
    );
    // One that made room for it is left in its place, and resolved like any other.
    desk.take(&incident("i0076", 2, Tier::Boundary, State::Closed), 0, at(5004));
    assert_eq!(all_due(&mut desk, at(5004)), ["resolve i0076/ticket Closed"]);
}

#[test]
fn incident_beyond_the_rows_is_followed_again_once_there_is_room() {
    let mut desk = crowded(1025);
    desk.take(&incident("i0500", 2, Tier::Boundary, State::Closed), 0, at(5000));
    assert_eq!(all_due(&mut desk, at(5000)), ["resolve i0500/ticket Closed"]);
    desk.take(&more_of("i0000"), 0, at(5001));
    assert_eq!(all_due(&mut desk, at(5001)), ["open i0000/ticket r2 More"]);
    desk.take(&incident("new", 1, Tier::Boundary, State::Open), 0, at(5002));
    assert_eq!(all_due(&mut desk, at(5002)), ["open new/ticket r1 New", "summary More 1"]);
}

#[test]
fn gap_beyond_the_rows_is_over_after_an_hour_like_any_other() {
    let mut desk = desk(Policy { batch: 64, ..pager(None) }, by_level());
    desk.take(&gap("g", State::Open), 1, at(0));
    assert_eq!(all_due(&mut desk, at(0)), ["open g/ticket r1 New"]);
    for number in 0..1024 {
        desk.take(&incident(&format!("i{number}"), 1, Tier::Boundary, State::Open), 0, at(1));
    }
    assert!(all_due(&mut desk, at(2)).iter().any(|due| due == "summary More 1"));
    assert_eq!(all_due(&mut desk, at(3601)), ["resolve g/ticket Closed"]);
}

#[test]
fn rows_stay_bounded_however_many_incidents_are_open() {
    let rows = |desk: &Desk| serde_json::to_value(desk.state()).unwrap()["rows"].as_object().unwrap().len();
    assert_eq!(rows(&crowded(1100)), 1100);
    assert_eq!(rows(&crowded(2100)), 2048);
}
