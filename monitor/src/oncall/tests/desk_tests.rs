use super::*;

pub(super) fn desk(policy: Policy, keyer: Keyer) -> Desk {
    Desk::new("desk".to_owned(), "receiver".to_owned(), policy, keyer)
}

/// The desk after a restart of the agent.
pub(super) fn restarted(desk: &Desk, receiver: &str, now: Now) -> Desk {
    let text = serde_json::to_string(desk.state()).unwrap();
    Desk::restored(
        serde_json::from_str(&text).unwrap(),
        receiver.to_owned(),
        pager(None),
        by_level(),
        now,
        false,
    )
}

#[test]
fn crossing_into_the_paging_tier_opens_the_page_and_then_resolves_the_ticket() {
    let mut desk = desk(pager(None), by_level());
    desk.take(&incident("i", 1, Tier::Boundary, State::Open), 0, at(0));
    assert_eq!(all_due(&mut desk, at(0)), ["open i/ticket r1 New"]);
    desk.take(&incident("i", 2, Tier::Identity, State::Update), 0, at(5));
    assert_eq!(all_due(&mut desk, at(5)), ["open i/page r2 Raised", "resolve i/ticket Raised"]);
    // Nothing lowers it, and the end of the activity is no news.
    desk.take(&incident("i", 3, Tier::Identity, State::Ended), 0, at(900));
    assert_eq!(all_due(&mut desk, at(900)), [""; 0]);
    desk.take(&incident("i", 4, Tier::Identity, State::Closed), 0, at(9000));
    assert_eq!(all_due(&mut desk, at(9000)), ["resolve i/page Closed"]);
    desk.take(&incident("i", 5, Tier::Identity, State::Update), 0, at(9001));
    assert_eq!(all_due(&mut desk, at(9001)), [""; 0]);
}

#[test]
fn only_the_latest_state_is_sent_and_revisions_never_go_back() {
    let mut desk = desk(pager(None), by_level());
    for revision in [1, 4, 2] {
        desk.take(&incident("i", revision, Tier::Boundary, State::Update), 0, at(0));
    }
    assert_eq!(all_due(&mut desk, at(0)), ["open i/ticket r4 New"]);
    desk.take(&incident("i", 3, Tier::Objective, State::Update), 0, at(0));
    assert_eq!(all_due(&mut desk, at(600)), [""; 0]);
}

#[test]
fn update_is_told_when_more_was_taken_and_not_sooner_than_the_policy_says() {
    let mut desk = desk(pager(None), by_level());
    desk.take(&theft("i", 1, 1), 0, at(0));
    assert_eq!(all_due(&mut desk, at(0)), ["open i/page r1 New"]);
    desk.take(&theft("i", 2, 1), 0, at(1));
    assert_eq!(desk.next(at(100)), Next::Wait(None), "nothing that wakes somebody twice");
    desk.take(&theft("i", 3, 2), 0, at(110));
    assert_eq!(all_due(&mut desk, at(110)), ["open i/page r3 More"]);
    desk.take(&theft("i", 4, 3), 0, at(111));
    assert_eq!(desk.next(at(111)), Next::Wait(Some(Duration::from_secs(29))));
    assert_eq!(all_due(&mut desk, at(140)), ["open i/page r4 More"]);
}

#[test]
fn what_came_and_went_unheard_is_one_summary_and_thefts_still_page() {
    let mut desk = desk(pager(None), by_level());
    for number in 0..4 {
        let id = format!("b{number}");
        desk.take(&incident(&id, 1, Tier::Boundary, State::Open), 0, at(0));
        desk.take(&incident(&id, 2, Tier::Boundary, State::Closed), 0, at(1));
    }
    desk.take(&incident("t", 1, Tier::Identity, State::Open), 0, at(2));
    desk.take(&incident("t", 2, Tier::Identity, State::Closed), 0, at(3));
    desk.take(&gap("g", State::Open), 1, at(3));
    desk.take(&gap("g", State::Closed), 2, at(4));
    assert_eq!(
        all_due(&mut desk, at(100)),
        ["open t/page r2 New", "resolve t/page Closed", "summary Missed 5"]
    );
    assert_eq!(all_due(&mut desk, at(200)), [""; 0]);
}

#[test]
fn ticket_told_before_still_pages_when_it_rose_and_closed_unheard() {
    let mut desk = desk(pager(None), by_level());
    desk.take(&incident("i", 1, Tier::Boundary, State::Open), 0, at(0));
    all_due(&mut desk, at(0));
    desk.take(&incident("i", 2, Tier::Identity, State::Update), 0, at(1));
    desk.take(&incident("i", 3, Tier::Identity, State::Closed), 0, at(2));
    let due = all_due(&mut desk, at(3));
    assert_eq!(due, ["open i/page r3 Raised", "resolve i/page Closed", "resolve i/ticket Closed"]);
}

#[test]
fn cap_summarises_tickets_paces_pages_and_never_holds_the_first_of_a_kind() {
    let mut desk = desk(pager(Some(CAP)), by_level());
    for number in 0..10 {
        desk.take(&incident(&format!("b{number}"), 1, Tier::Boundary, State::Open), 0, at(0));
    }
    desk.take(&elsewhere("other", incident("first", 1, Tier::Boundary, State::Open)), 0, at(1));
    let due = all_due(&mut desk, at(2));
    assert_eq!(
        due,
        [
            "open b0/ticket r1 New",
            "open b1/ticket r1 New",
            "open b2/ticket r1 New",
            "open first/ticket r1 New",
            "summary More 7"
        ]
    );
    // What was left out still pages when it gets there, and its end is nothing to tell.
    desk.take(&incident("b9", 2, Tier::Identity, State::Update), 0, at(30));
    desk.take(&incident("b8", 2, Tier::Boundary, State::Closed), 0, at(30));
    assert_eq!(all_due(&mut desk, at(30)), ["open b9/page r2 New"]);
    for number in 0..5 {
        desk.take(&incident(&format!("t{number}"), 1, Tier::Identity, State::Open), 0, at(31));
    }
    let mut pages = Vec::new();
    for second in 31..400 {
        pages.extend(all_due(&mut desk, at(second)));
    }
    let opened = pages.iter().filter(|page| page.starts_with("open t")).count();
    assert_eq!(opened, 5, "{pages:?}");
    assert!(pages.iter().any(|page| page.starts_with("summary More")), "{pages:?}");
}

#[test]
fn first_theft_of_a_worker_is_not_held_back_when_an_incident_rises_that_was_left_out() {
    let mut desk = desk(pager(Some(CAP)), by_level());
    for number in 0..10 {
        desk.take(&incident(&format!("b{number}"), 1, Tier::Boundary, State::Open), 0, at(0));
        let far = elsewhere("other", incident(&format!("o{number}"), 1, Tier::Boundary, State::Open));
        desk.take(&far, 0, at(0));
    }
    assert_eq!(all_due(&mut desk, at(1)).last().unwrap(), "summary More 16", "no token is left");
    desk.take(&incident("b9", 2, Tier::Identity, State::Update), 0, at(2));
    assert_eq!(all_due(&mut desk, at(2)), ["open b9/page r2 New"]);
    // The next of the kind waits for its turn; the first in another worker does not wait behind it.
    desk.take(&incident("b8", 2, Tier::Identity, State::Update), 0, at(3));
    assert_eq!(all_due(&mut desk, at(3)), [""; 0]);
    desk.take(&elsewhere("other", incident("o9", 2, Tier::Identity, State::Update)), 0, at(4));
    assert_eq!(all_due(&mut desk, at(4)), ["open o9/page r2 New"]);
    assert_eq!(all_due(&mut desk, at(60)), ["open b8/page r2 New"]);
}

#[test]
fn what_the_receiver_refuses_blocks_nothing_and_is_tried_again_with_new_secrets() {
    let mut desk = desk(pager(None), by_level());
    desk.take(&theft("bad", 1, 1), 0, at(0));
    desk.take(&theft("good", 1, 1), 0, at(1));
    let Next::Send(first) = desk.next(at(1)) else { panic!() };
    assert_eq!(short(&first[0]), "open bad/page r1 New");
    desk.answered(&first[0], Answer::Rejected, at(1));
    assert_eq!(all_due(&mut desk, at(1)), ["open good/page r1 New"]);
    assert_eq!(all_due(&mut desk, at(900)), [""; 0]);
    desk.reopened("receiver".to_owned());
    assert_eq!(all_due(&mut desk, at(901)), ["open bad/page r1 New"]);
}

#[test]
fn open_rows_are_refreshed_together_and_a_new_key_is_posted_before_the_old_one_ends() {
    let mut desk = desk(refreshed(), by_tier());
    desk.take(&incident("a", 1, Tier::Boundary, State::Open), 0, at(0));
    all_due(&mut desk, at(0));
    desk.take(&incident("b", 1, Tier::Boundary, State::Open), 0, at(10));
    all_due(&mut desk, at(10));
    assert_eq!(desk.next(at(20)), Next::Wait(Some(Duration::from_secs(40))));
    let Next::Send(both) = desk.next(at(60)) else { panic!() };
    let both: Vec<String> = both.iter().map(short).collect();
    assert_eq!(both, ["open a/boundary r1 Refresh", "open b/boundary r1 Refresh"]);
    all_due(&mut desk, at(60));
    desk.take(&incident("a", 2, Tier::Identity, State::Update), 0, at(70));
    assert_eq!(all_due(&mut desk, at(70)), ["open a/identity r2 Raised", "resolve a/boundary Raised"]);
}

#[test]
fn clock_that_is_set_back_stops_no_refresh() {
    let mut desk = desk(refreshed(), by_tier());
    desk.take(&incident("a", 1, Tier::Boundary, State::Open), 0, at(5000));
    all_due(&mut desk, at(5000));
    let back = Now { monotonic: Duration::from_secs(5001), wall: at(100).wall };
    assert_eq!(all_due(&mut desk, back), ["open a/boundary r1 Refresh"]);
}

#[test]
fn after_a_restart_nothing_is_said_twice_and_nothing_is_forgotten() {
    let mut desk = desk(pager(None), by_level());
    desk.take(&theft("told", 1, 1), 0, at(0));
    all_due(&mut desk, at(0));
    desk.take(&theft("untold", 1, 1), 0, at(1));
    let mut desk = restarted(&desk, "receiver", at(10));
    // The spool hands out again what was not committed.
    desk.take(&theft("told", 1, 1), 0, at(10));
    assert_eq!(all_due(&mut desk, at(10)), ["open untold/page r1 New"]);
    desk.take(&incident("told", 2, Tier::Identity, State::Closed), 0, at(11));
    assert_eq!(all_due(&mut desk, at(11)), ["resolve told/page Closed"]);
    let mut desk = restarted(&desk, "receiver", at(20));
    desk.take(&theft("told", 1, 1), 0, at(20));
    assert_eq!(all_due(&mut desk, at(20)), [""; 0]);
}

#[test]
fn another_receiver_is_told_of_all_that_is_open() {
    let mut desk = desk(pager(None), by_level());
    desk.take(&theft("i", 1, 1), 0, at(0));
    all_due(&mut desk, at(0));
    assert_eq!(all_due(&mut restarted(&desk, "receiver", at(1)), at(1)), [""; 0]);
    assert_eq!(all_due(&mut restarted(&desk, "another", at(1)), at(1)), ["open i/page r1 New"]);
}

#[test]
fn condition_comes_back_after_it_was_closed_and_is_not_fooled_by_old_records() {
    let mut desk = desk(pager(None), by_level());
    desk.take(&health("rules-refused", State::Open), 1, at(0));
    let opened = all_due(&mut desk, at(0));
    assert!(opened.len() == 1 && opened[0].ends_with("/ticket r1 New"), "{opened:?}");
    desk.take(&health("rules-refused", State::Closed), 2, at(10));
    assert_eq!(all_due(&mut desk, at(10)).len(), 1);
    desk.take(&health("rules-refused", State::Open), 1, at(11));
    assert_eq!(all_due(&mut desk, at(11)), [""; 0], "an old record");
    desk.take(&health("rules-refused", State::Open), 3, at(12));
    assert_eq!(all_due(&mut desk, at(12)).len(), 1);
}

#[test]
fn condition_of_before_the_restart_is_over_unless_it_is_said_again() {
    let mut desk = desk(pager(None), by_level());
    desk.take(&health("stays", State::Open), 1, at(0));
    desk.take(&health("goes", State::Open), 2, at(0));
    all_due(&mut desk, at(0));
    let mut desk = restarted(&desk, "receiver", at(100));
    desk.take(&health("stays", State::Open), 3, at(200));
    assert_eq!(all_due(&mut desk, at(900)), [""; 0]);
    let Next::Wait(Some(wait)) = desk.next(at(900)) else {
        panic!("it waits for the end of what was carried over")
    };
    assert_eq!(wait, Duration::from_secs(100));
    let closing = closing(&mut desk, at(1001));
    assert_eq!(closing, "the agent was started again and did not find it any more");
    assert_eq!(all_due(&mut desk, at(1001)), [""; 0]);
}

#[test]
fn condition_of_before_an_exchange_of_sinks_stays_until_its_end_is_said() {
    let mut desk = desk(pager(None), by_level());
    desk.take(&health("stays", State::Open), 1, at(0));
    all_due(&mut desk, at(0));
    let saved = serde_json::from_str(&serde_json::to_string(desk.state()).unwrap()).unwrap();
    let mut desk = Desk::restored(saved, "receiver".to_owned(), pager(None), by_level(), at(100), true);
    // The agent was not started again, and says nothing twice.
    assert_eq!(all_due(&mut desk, at(5000)), [""; 0]);
    desk.take(&health("stays", State::Closed), 2, at(5001));
    assert_eq!(all_due(&mut desk, at(5001)).len(), 1, "its end is told");
}

/// What is said of the one thing that is resolved now.
fn closing(desk: &mut Desk, now: Now) -> String {
    let Next::Send(actions) = desk.next(now) else { panic!("nothing is due") };
    let [Action::Resolve { brief, .. }] = &actions[..] else { panic!("{actions:?}") };
    desk.answered(&actions[0], Answer::Accepted, now);
    brief.closing.clone().unwrap()
}

#[test]
fn gap_that_is_not_said_again_is_over_after_an_hour() {
    let mut desk = desk(pager(None), by_level());
    desk.take(&gap("g", State::Open), 1, at(0));
    assert_eq!(all_due(&mut desk, at(0)), ["open g/ticket r1 New"]);
    desk.take(&gap("g", State::Update), 2, at(3000));
    assert_eq!(all_due(&mut desk, at(3600)), [""; 0]);
    assert_eq!(closing(&mut desk, at(6600)), "nothing more of it for an hour", "nothing was started again");
}

#[test]
fn remark_of_low_severity_is_told_to_nobody() {
    let mut desk = desk(pager(None), by_level());
    let mut remark = (*health("profile-selection", State::Open)).clone();
    remark.severity = Severity::Low;
    desk.take(&SafeAlert::new(remark), 0, at(0));
    assert_eq!(desk.next(at(0)), Next::Wait(None));
}

#[test]
fn digests_and_heartbeats_are_told_to_nobody() {
    let mut desk = desk(pager(None), by_level());
    let mut digest = (*incident("d", 1, Tier::Deviation, State::Open)).clone();
    if let Some(incident) = &mut digest.incident {
        incident.run_key = "digest".to_owned();
    }
    desk.take(&SafeAlert::new(digest), 0, at(0));
    let mut beat = (*gap("g", State::Open)).clone();
    beat.kind = AlertKind::Heartbeat;
    desk.take(&SafeAlert::new(beat), 0, at(0));
    assert_eq!(desk.next(at(0)), Next::Wait(None));
}

fn summary_due(desk: &mut Desk, now: Now) -> Summary {
    let Next::Send(actions) = desk.next(now) else { panic!("nothing is due") };
    let [Action::Summary(summary)] = &actions[..] else { panic!("{actions:?}") };
    desk.answered(&actions[0], Answer::Accepted, now);
    summary.clone()
}

#[test]
fn losses_are_told_with_their_reason_and_node_and_how_many_if_that_is_known() {
    let mut desk = desk(pager(None), by_level());
    desk.lost(&loss(Some(12), "12 alert(s) were evicted: they were too old"));
    let told = summary_due(&mut desk, at(0));
    assert_eq!(page::summary_headline(&told), "12 alerts on node-7 were dropped before you were told");
    assert!(told.lines[0].contains("they were too old") && told.unnamed == 0, "{told:?}");
    assert_eq!(told.node, "node-7");
    let unclean = "Alerts may be lost: host or disk failed before all of them were on disk";
    desk.lost(&loss(None, unclean));
    let told = summary_due(&mut desk, at(1));
    assert_eq!(page::summary_headline(&told), "Alerts on node-7 may be missing: how many is not known");
    assert!(told.lines.len() == 1 && told.lines[0].contains(unclean), "{told:?}");
    desk.lost(&loss(Some(1), "1 alert(s) were evicted: the spool was full"));
    desk.lost(&loss(None, unclean));
    let headline = page::summary_headline(&summary_due(&mut desk, at(2)));
    assert_eq!(headline, "1 alert on node-7 was dropped before you were told, and more may be missing");
    assert_eq!(desk.next(at(3)), Next::Wait(None));
}

#[test]
fn losses_are_told_after_a_restart_and_are_in_no_other_summary() {
    let mut desk = desk(pager(None), by_level());
    desk.lost(&loss(None, "Alerts may be missing: this sink was not in the configuration for a while"));
    desk.take(&incident("b", 1, Tier::Boundary, State::Open), 0, at(0));
    desk.take(&incident("b", 2, Tier::Boundary, State::Closed), 0, at(1));
    let mut desk = restarted(&desk, "receiver", at(2));
    assert_eq!(all_due(&mut desk, at(2)), ["summary Missed 1", "summary Lost 0"]);
    assert_eq!(all_due(&mut desk, at(3)), [""; 0]);
}

#[test]
fn stream_that_begins_anew_is_no_loss() {
    let mut desk = desk(pager(None), by_level());
    desk.lost(&loss(Some(0), "This sink's stream of alerts begins anew"));
    assert_eq!(desk.next(at(0)), Next::Wait(None));
}

#[test]
fn losses_one_after_the_other_are_told_together_and_counted() {
    let mut desk = desk(pager(Some(CAP)), by_level());
    let full = "1 alert(s) were evicted: the spool was full";
    desk.lost(&loss(Some(1), full));
    assert_eq!(all_due(&mut desk, at(0)), ["summary Lost 1"]);
    for second in 1..=50 {
        desk.lost(&loss(Some(1), full));
        assert!(matches!(desk.next(at(second)), Next::Wait(Some(_))));
    }
    let told = summary_due(&mut desk, at(300));
    assert_eq!((told.count, told.lines.len(), told.unnamed), (50, 40, 10));
    assert_eq!(all_due(&mut desk, at(900)), [""; 0]);
}

#[test]
fn too_many_rows_leave_the_pages_and_name_the_rest() {
    let mut desk = desk(refreshed(), by_level());
    for number in 0..1100 {
        let tier = if number % 2 == 0 { Tier::Identity } else { Tier::Boundary };
        desk.take(&incident(&format!("i{number}"), 1, tier, State::Open), 0, at(number));
    }
    let due = all_due(&mut desk, at(2000));
    assert_eq!(due.iter().filter(|due| due.contains("/page")).count(), 550);
    assert!(due.iter().any(|due| due == "summary More 76"), "{:?}", due.last());
}
