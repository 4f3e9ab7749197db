//! Incidents grow from what the pipeline finds.

use super::*;
use crate::detect::{IDLE, QUIET};

#[test]
fn first_login_after_a_theft_is_an_objective_and_one_before_it_is_not() {
    let mut pipeline = started();
    connect(&mut pipeline, RUNNER, 2_100, 3_000, 22);
    open(&mut pipeline, RUNNER, 2_100, 3_100, "/var/run/secrets/cloud/token", 0);
    connect(&mut pipeline, RUNNER, 2_100, 3_200, 22);
    connect(&mut pipeline, ENGINE, 1_100, 3_300, 22);
    let said = alerts(&mut pipeline);
    let tiers: Vec<Option<Tier>> = said.iter().map(|alert| alert.tier).collect();
    let expected = [Tier::Boundary, Tier::Identity, Tier::Objective, Tier::Deviation].map(Some);
    assert_eq!(tiers, expected, "the engine is in no incident");
    assert_eq!(said[2].finding.as_ref().unwrap().id, "login-after-theft");
}

#[test]
fn repeats_are_counted_and_said_later() {
    let mut pipeline = started();
    for time in 0..100 {
        open(&mut pipeline, RUNNER, 2_100, 3_000 + time, "/var/run/secrets/cloud/token", 0);
    }
    assert_eq!(alerts(&mut pipeline).len(), 1);
    pipeline.tick(SECOND);
    assert_eq!(alerts(&mut pipeline), [], "not at once");
    pipeline.tick(40 * SECOND);
    let said = alerts(&mut pipeline);
    let incident = said[0].incident.as_ref().unwrap();
    assert_eq!((said.len(), incident.findings, incident.chain[0].repeats), (1, 100, Some(99)));
}

#[test]
fn idle_incident_ends_and_the_next_finding_opens_another() {
    let mut pipeline = started();
    open(&mut pipeline, RUNNER, 2_100, 3_000, "/var/run/secrets/cloud/token", 0);
    let first = alerts(&mut pipeline).remove(0).incident.unwrap().id;
    pipeline.tick(3_000 + IDLE);
    let ended = alerts(&mut pipeline);
    assert_eq!(ended.iter().map(|alert| alert.state).collect::<Vec<_>>(), [State::Ended]);
    open(&mut pipeline, RUNNER, 2_100, 4_000 + IDLE, "/var/run/secrets/cloud/token", 0);
    let again = alerts(&mut pipeline).remove(0);
    assert_eq!(again.state, State::Open);
    assert_ne!(again.incident.unwrap().id, first);
}

#[test]
fn same_events_give_the_same_ids() {
    let run = || {
        let mut pipeline = started();
        open(&mut pipeline, RUNNER, 2_100, 3_200, "/var/run/secrets/cloud/token", 0);
        alerts(&mut pipeline).remove(0)
    };
    let (a, b) = (run(), run());
    assert_eq!((a.id, a.incident.unwrap().id), (b.id, b.incident.unwrap().id));
}

const MINUTE: u64 = 60 * SECOND;

fn digests(said: &[Alert]) -> Vec<&Alert> {
    said.iter().filter(|alert| alert.incident.as_ref().unwrap().run_key == "digest").collect()
}

#[test]
fn deviations_are_told_in_one_digest_an_hour_and_open_no_incident() {
    let mut pipeline = started();
    for (time, port) in [(3_000, 9999), (3_100, 9999), (3_200, 9998)] {
        connect(&mut pipeline, ENGINE, 1_100, time, port);
    }
    let said = alerts(&mut pipeline);
    assert_eq!(said.len(), 1, "the first at once: {said:#?}");
    assert_eq!((said[0].tier, said[0].severity), (Some(Tier::Deviation), Severity::Low));
    assert!(said[0].allow_with.as_ref().unwrap().contains("9999"));
    assert_eq!(pipeline.detector.open(), 0);
    pipeline.tick(59 * MINUTE);
    assert_eq!(alerts(&mut pipeline), []);
    pipeline.tick(61 * MINUTE);
    let said = alerts(&mut pipeline);
    let digest = said[0].incident.as_ref().unwrap();
    assert_eq!((said.len(), said[0].state, digest.revision, digest.findings), (1, State::Closed, 2, 3));
    assert_eq!(digest.chain.iter().map(|link| link.repeats).collect::<Vec<_>>(), [Some(1), None]);
    assert!(said[0].title.contains("2 things that profile toy does not list"), "{}", said[0].title);
    connect(&mut pipeline, ENGINE, 1_100, 62 * MINUTE, 9999);
    let again = alerts(&mut pipeline).remove(0).incident.unwrap();
    assert_eq!(again.revision, 1);
    assert_ne!(again.id, digest.id, "another hour is another digest");
}

#[test]
fn five_deviations_of_the_engine_within_ten_minutes_are_an_incident() {
    let mut pipeline = started();
    for number in 0..5 {
        // The same again does not count.
        for repeat in 0..3 {
            let time = 3_000 + u64::from(number) * MINUTE + repeat;
            connect(&mut pipeline, ENGINE, 1_100, time, 9000 + number);
        }
    }
    let said = alerts(&mut pipeline);
    let piled: Vec<&Alert> =
        said.iter().filter(|alert| alert.incident.as_ref().unwrap().run_key.starts_with("engine:")).collect();
    assert_eq!(piled.len(), 1, "{said:#?}");
    let incident = piled[0].incident.as_ref().unwrap();
    assert_eq!(
        (piled[0].tier, piled[0].severity, incident.chain.len()),
        (Some(Tier::Deviation), Severity::Low, 5)
    );
    assert!(piled[0].title.starts_with("5 unlisted things within 10 minutes"), "{}", piled[0].title);
    assert_eq!(digests(&said).len(), 1);
}

#[test]
fn five_deviations_over_an_hour_are_no_incident() {
    let mut pipeline = started();
    for number in 0..8 {
        connect(&mut pipeline, ENGINE, 1_100, 3_000 + u64::from(number) * 4 * MINUTE, 9000 + number);
    }
    assert_eq!(pipeline.detector.open(), 0);
}

#[test]
fn deviations_of_author_code_pile_up_to_nothing() {
    let rules: Vec<(&str, String)> = RULES
        .iter()
        .map(|(file, text)| {
            (*file, text.replace("connect: { allow: [], else: boundary }", "connect: { allow: [] }"))
        })
        .collect();
    let rules: Vec<(&str, &str)> = rules.iter().map(|(file, text)| (*file, &**text)).collect();
    let mut pipeline = started();
    pipeline.reload(super::rules(&rules), 2_900);
    for number in 0..10 {
        connect(&mut pipeline, RUNNER, 2_100, 3_000 + u64::from(number), 9000 + number);
    }
    assert_eq!(pipeline.detector.open(), 0);
    open(&mut pipeline, RUNNER, 2_100, 4_000, "/var/run/secrets/cloud/token", 0);
    let theft = alerts(&mut pipeline).pop().unwrap();
    let chain = theft.incident.unwrap().chain;
    assert_eq!(chain.len(), 11, "what came before the theft is part of its story");
    assert_eq!(chain.last().unwrap().tier, Tier::Identity);
}

#[test]
fn boundary_is_closed_after_thirty_quiet_minutes_and_a_theft_is_not() {
    let mut pipeline = started();
    let child = (103, 3_100);
    fork(&mut pipeline, child, RUNNER, 2_100);
    exec(&mut pipeline, child, child.1, 3_200, RUNNER, "/bin/ls", &["ls"]);
    pipeline.tick(3_200 + IDLE);
    pipeline.tick(3_200 + QUIET);
    let states: Vec<State> = alerts(&mut pipeline).iter().map(|alert| alert.state).collect();
    assert_eq!(states, [State::Open, State::Ended, State::Closed]);
    let mut pipeline = started();
    open(&mut pipeline, RUNNER, 2_100, 3_000, "/var/run/secrets/cloud/token", 0);
    let id = alerts(&mut pipeline).remove(0).incident.unwrap().id;
    pipeline.tick(3_000 + IDLE);
    pipeline.tick(3_000 + 100 * QUIET);
    let states: Vec<State> = alerts(&mut pipeline).iter().map(|alert| alert.state).collect();
    assert_eq!(states, [State::Ended], "from identity up only people close");
    let closure = crate::alert::Closure { by: "ops".into(), reason: "rotated".into(), time: "t".into() };
    assert!(pipeline.detector.close("nothing", closure.clone(), 9_000).is_err());
    let closed = pipeline.detector.close(&id[..8], closure.clone(), 9_000).unwrap();
    assert_eq!((closed.state, closed.closed_by), (State::Closed, Some(crate::alert::ClosedBy::Operator)));
    assert_eq!(closed.incident.unwrap().closure, Some(closure));
}

#[test]
fn repeats_are_said_ever_more_rarely() {
    let mut pipeline = started();
    let mut said = 0;
    for minute in 0..180 {
        open(&mut pipeline, RUNNER, 2_100, 3_000 + minute * MINUTE, "/var/run/secrets/cloud/token", 0);
        pipeline.tick(3_000 + minute * MINUTE + MINUTE / 2);
        said += alerts(&mut pipeline).len();
    }
    assert!((10..30).contains(&said), "{said} alerts in three hours of the same");
}

#[test]
fn identity_that_author_code_may_read_is_listed_as_used_when_it_does_something_else() {
    let rules: Vec<(&str, String)> = RULES
        .iter()
        .map(|(file, text)| {
            let allowed = "runner:\n    exec: { allow: [], else: boundary }\n    identities: { allow: [{ id: engine-key }], else: identity }";
            let before = "runner:\n    exec: { allow: [], else: boundary }\n    identities: { allow: [], else: identity }";
            (*file, text.replace(before, allowed))
        })
        .collect();
    let rules: Vec<(&str, &str)> = rules.iter().map(|(file, text)| (*file, &**text)).collect();
    let mut pipeline = started();
    pipeline.reload(super::rules(&rules), 2_900);
    open(&mut pipeline, RUNNER, 2_100, 3_000, "/etc/toy/key", 0);
    assert_eq!(alerts(&mut pipeline), []);
    open(&mut pipeline, RUNNER, 2_100, 3_100, "/var/run/secrets/cloud/token", 0);
    let radius = alerts(&mut pipeline).remove(0).blast_radius.unwrap();
    assert_eq!(radius.used, ["engine-key"]);
    let rotation: Vec<(&str, &str)> =
        radius.rotation.iter().map(|entry| (&*entry.what, &*entry.because)).collect();
    assert_eq!(rotation, [("cloud-token", "taken"), ("engine-key", "used")]);
}

#[test]
fn outcome_of_a_connect_is_said_with_the_next_update() {
    let mut pipeline = started();
    let sock = 0xabc;
    let mut record = fixture::connect(head(Kind::Connect, RUNNER, 2_100, 3_000), [10, 0, 0, 9], 443);
    let at = std::mem::offset_of!(monitor_common::record::Connect, sock);
    record[at..at + 8].copy_from_slice(&u64::to_ne_bytes(sock));
    pipeline.handle(&record, 3_000);
    let result = |sock, error, time| {
        fixture::Build::default().finish(&monitor_common::record::ConnectResult {
            header: head(Kind::ConnectResult, RUNNER, 2_100, time),
            sock,
            error,
            ..monitor_common::record::ConnectResult::ZERO
        })
    };
    pipeline.handle(&result(0xdef, 0, 3_050), 3_050);
    pipeline.handle(&result(sock, 0, 3_100), 3_100);
    assert_eq!(alerts(&mut pipeline).len(), 1);
    pipeline.tick(3_100 + SECOND);
    let said = alerts(&mut pipeline);
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].blast_radius.as_ref().unwrap().contacted, ["10.0.0.9:443: established"]);
    assert_eq!(said[0].incident.as_ref().unwrap().chain[0].outcome.as_deref(), Some("established"));
    assert_eq!(said[0].network.as_ref().unwrap().result.as_deref(), Some("established"));
    assert_eq!(said[0].finding.as_ref().unwrap().outcome, "ok", "what is known now, not what was known then");
}

#[test]
fn expectation_and_detection_that_one_event_breaks_are_both_told_with_their_places() {
    let mut pipeline = started();
    let shell = (102, 3_000);
    fork(&mut pipeline, shell, ENGINE, 1_100);
    exec(&mut pipeline, shell, shell.1, 3_100, ENGINE, "/bin/dash", &["sh"]);
    let alert = alerts(&mut pipeline).remove(0);
    let finding = alert.finding.unwrap();
    let link = &alert.incident.unwrap().chain[0];
    assert_eq!((&*finding.id, &*link.finding), ("shell-from-engine", "shell-from-engine"));
    assert_eq!(finding.also, link.also);
    let also = &link.also[0];
    assert_eq!((link.also.len(), &*also.finding, &*also.kind), (1, "unexpected-exec", "expectation"));
    let place = also.rule.as_ref().unwrap();
    assert_eq!((&*place.file, place.line), ("profiles/toy.yaml", 13));
    assert_eq!(link.rule.as_ref().unwrap().file, "detections/exec.yaml");
}

#[test]
fn times_of_one_incident_are_of_one_clock_and_in_order() {
    let mut pipeline = started();
    open(&mut pipeline, RUNNER, 2_100, 4_000, "/var/run/secrets/cloud/token", 0);
    // The agent asks for the time again each second; what it is told differs a little each time.
    pipeline.detector.envelope.clock = WallClock { boot: 3_000_000 };
    open(&mut pipeline, RUNNER, 2_100, 5_000, "/etc/toy/key", 0);
    // A record of the other lane that comes later than it was written.
    let child = (103, 3_100);
    fork(&mut pipeline, child, RUNNER, 2_100);
    exec(&mut pipeline, child, child.1, 3_200, RUNNER, "/bin/ls", &["ls"]);
    let last = alerts(&mut pipeline).pop().unwrap();
    let incident = last.incident.unwrap();
    let times: Vec<&str> = incident.chain.iter().map(|link| &*link.time).collect();
    let at = |ns: u64| format!("1970-01-01T00:00:00.{ns:09}Z");
    assert_eq!(times, [at(3_200), at(4_000), at(5_000)]);
    assert_eq!((&*last.time, &*incident.last), (&*at(5_000), &*at(5_000)));
}

#[test]
fn incident_begins_with_what_the_worker_did_before_and_its_processes() {
    let mut pipeline = started();
    connect(&mut pipeline, ENGINE, 1_100, 2_900, 5432);
    open(&mut pipeline, RUNNER, 2_100, 3_000, "/var/run/secrets/cloud/token", 0);
    let evidence = alerts(&mut pipeline).remove(0).evidence.unwrap();
    let events: Vec<(&str, &str)> =
        evidence.events.iter().map(|event| (&*event.signal, &*event.object)).collect();
    assert_eq!(
        events,
        [("exec", "/opt/toy-engine"), ("exec", "/opt/toy-runner"), ("connect", "10.0.0.9:5432")],
        "without the finding itself"
    );
    let tree: Vec<(u32, Option<&str>)> =
        evidence.tree.iter().map(|process| (process.pid, process.role.as_deref())).collect();
    assert_eq!(tree, [(100, Some("engine")), (101, Some("runner"))]);
}

#[test]
fn what_to_do_begins_with_the_command_that_freezes_the_worker() {
    let mut pipeline = started();
    open(&mut pipeline, RUNNER, 2_100, 3_000, "/var/run/secrets/cloud/token", 0);
    let respond = alerts(&mut pipeline).remove(0).respond;
    assert_eq!(
        respond[0],
        "Contain: freeze the worker: echo 1 > /sys/fs/cgroup/system.slice/toy.service/cgroup.freeze"
    );
}

#[test]
fn worker_with_too_many_incidents_has_one_more_for_all_the_rest() {
    let mut pipeline = started();
    for number in 0..100 {
        let (pid, start) = (1000 + u32::try_from(number).unwrap(), 10_000 + 10_000 * number);
        // Each a runner of its own: an author root.
        fork(&mut pipeline, (pid, start), ENGINE, 1_100);
        exec(&mut pipeline, (pid, start), start, start + 10, ENGINE, "/opt/toy-runner", &["toy-runner"]);
        open(&mut pipeline, (pid, start), start + 10, start + 20, "/var/run/secrets/cloud/token", 0);
    }
    assert_eq!(pipeline.detector.open(), 65);
    let said = alerts(&mut pipeline);
    let rest: Vec<&Alert> =
        said.iter().filter(|alert| alert.incident.as_ref().unwrap().run_key == "overflow").collect();
    assert_eq!(rest[0].truncated, ["incident.scope"]);
    pipeline.tick(SECOND + 40 * SECOND);
    let last =
        alerts(&mut pipeline).into_iter().rfind(|alert| alert.truncated == ["incident.scope"]).unwrap();
    assert_eq!(last.incident.unwrap().findings, 36, "counted, never muted");
}

#[test]
fn what_a_digest_offers_is_refused_until_filled_in_and_allows_everything_then() {
    let mut pipeline = started();
    connect(&mut pipeline, ENGINE, 1_100, 3_000, 9998);
    connect(&mut pipeline, ENGINE, 1_100, 3_100, 9999);
    pipeline.finish(4_000);
    let offered = alerts(&mut pipeline).pop().unwrap().allow_with.unwrap();
    let with = |text: &str| {
        let mut files = RULES.to_vec();
        files.push(("exceptions.yaml", text));
        let sources: Vec<Source> = files
            .iter()
            .map(|(file, text)| Source { file: (*file).into(), text: (*text).to_owned(), layer: 0 })
            .collect();
        RuleSet::from_sources(&sources)
    };
    assert!(with(&offered).is_err(), "{offered}");
    let soon = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_hours(24 * 30)).unwrap();
    let filled: String = offered
        .lines()
        .map(|line| match line.split_once(": FILL") {
            Some((key, _)) if key.trim() == "expires" => format!("{key}: {}\n", &soon.to_string()[..10]),
            Some((key, _)) => format!("{key}: somebody\n"),
            None => format!("{line}\n"),
        })
        .collect();
    let allowed = with(&filled).unwrap_or_else(|error| panic!("{error}: {filled}"));
    let mut pipeline = started();
    pipeline.reload(allowed, 2_900);
    connect(&mut pipeline, ENGINE, 1_100, 3_000, 9998);
    connect(&mut pipeline, ENGINE, 1_100, 3_100, 9999);
    assert_eq!(alerts(&mut pipeline), []);
}
