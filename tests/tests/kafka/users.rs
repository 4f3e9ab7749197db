//! Logging in: each mechanism, a password that is wrong, and that nobody but the broker is told it.

use std::time::{Duration, Instant};

use integration::fakes::alerts;
use integration::fakes::authority::Valid;
use integration::fakes::leaks::Log;

use crate::broker::{Broker, TOPIC};
use crate::deliver::{deliver, ids, open, retry};
use crate::gate::Gate;
use crate::login::Users;
use crate::tls::{Place, Secured};

const PASSWORD: &str = "s3cret-of-the-user";

fn secured(place: &Place, users: Users) -> Secured {
    place.broker(&place.pair("server", &["localhost"], Valid::Now), false, Some(users))
}

/// Keys of a sink that logs in with the password in a file.
fn keys(place: &Place, mechanism: &str, password: &str) -> String {
    let file = place.folder.path().join("password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    let (ca, file) = (place.ca(), file.display().to_string());
    format!("user: agent, sasl: {mechanism}, key_file: {file}, tls: {{ ca_file: {ca} }}")
}

#[test]
fn each_mechanism_logs_in_and_delivers() {
    for (theirs, ours) in
        [("PLAIN", "plain"), ("SCRAM-SHA-256", "scram-sha-256"), ("SCRAM-SHA-512", "scram-sha-512")]
    {
        let place = Place::new();
        let broker = secured(&place, Users::new(theirs, "agent", PASSWORD));
        let mut sink = broker.sink("localhost", &keys(&place, ours, PASSWORD));
        let done = deliver(&mut *sink, 1..=300);
        assert_eq!(done.accepted, ids(1..=300), "{ours}: {:?}", done.retries);
        let (inside, refused) = broker.gate.logins();
        assert!(inside > 0 && refused == 0, "{ours}: {inside} {refused}");
    }
}

#[test]
fn a_wrong_password_is_said_soon_not_tried_again_and_again_and_put_right_by_a_reload() {
    for (theirs, ours) in [("PLAIN", "plain"), ("SCRAM-SHA-512", "scram-sha-512")] {
        let place = Place::new();
        let broker = secured(&place, Users::new(theirs, "agent", PASSWORD));
        let mut sink = broker.sink("localhost", &keys(&place, ours, "s3cret-of-yesterday"));
        let begin = Instant::now();
        let (reason, _) = retry(&mut *sink);
        assert!(
            reason.contains("does not accept the login") && reason.contains("go away"),
            "{ours}: {reason}"
        );
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        std::thread::sleep(Duration::from_secs(1));
        let refused = broker.gate.logins().1;
        assert!((1..=6).contains(&refused), "{ours}: an account is not locked by us: {refused} times");
        keys(&place, ours, PASSWORD);
        sink.reopen().unwrap();
        assert_eq!(deliver(&mut *sink, 1..=20).accepted, ids(1..=20));
    }
}

#[test]
fn another_mechanism_than_the_brokers_is_said() {
    let place = Place::new();
    let broker = secured(&place, Users::new("SCRAM-SHA-512", "agent", PASSWORD));
    let (reason, _) = retry(&mut *broker.sink("localhost", &keys(&place, "plain", PASSWORD)));
    assert!(reason.contains("no login of that kind") && reason.contains("SCRAM-SHA-512"), "{reason}");
    assert_eq!(broker.gate.logins(), (0, 0), "no password was sent");
}

#[test]
fn a_login_that_is_wanted_and_not_configured_is_said() {
    let gate = Gate::new(None, Some(Users::new("SCRAM-SHA-512", "agent", PASSWORD)));
    let front = format!("127.0.0.1:{}", gate.port());
    let broker = Broker::behind(&front);
    gate.open_to(broker.address);
    let mut sink = open(&format!("type: kafka, brokers: [\"{front}\"], topic: {TOPIC}, timeout: 2s"));
    let (reason, _) = retry(&mut *sink);
    assert!(reason.contains("if it wants a login, set `user`"), "{reason}");
}

#[test]
fn no_password_is_said_logged_or_shown_whatever_goes_wrong_and_even_if_the_broker_repeats_it() {
    let mut said = String::new();
    let (log, ()) = Log::of(|| {
        for (theirs, ours) in
            [("PLAIN", "plain"), ("SCRAM-SHA-256", "scram-sha-256"), ("PLAIN", "scram-sha-512")]
        {
            for right in [true, false] {
                let place = Place::new();
                let mut users = Users::new(theirs, "agent", if right { PASSWORD } else { "another" });
                users.repeats = true;
                let broker = secured(&place, users);
                let mut sink = broker.sink("localhost", &keys(&place, ours, PASSWORD));
                let outcomes = sink.send(&alerts::items(1..=2).unwrap());
                said.push_str(&format!("{} {outcomes:?} {:?}\n", sink.target(), sink.reopen()));
                // The broker goes away.
                drop(broker);
                said.push_str(&format!("{:?}\n", sink.send(&alerts::items(3..=4).unwrap())));
            }
        }
    });
    assert!(said.contains("not with"), "what the broker said is repeated, without the password: {said}");
    let logged = log.text();
    assert!(logged.contains("the log works"), "{logged}");
    for (what, text) in [("said", &said), ("logged", &logged)] {
        assert_eq!(text.lines().find(|line| line.contains("s3cret")), None, "a password was {what}");
    }
}
