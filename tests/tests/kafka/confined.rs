//! The agent sends only after it gave up what it does not need: system calls and capabilities. librdkafka's threads and OpenSSL
//! have to live with that.

use std::process::Command;

use integration::fakes::authority::Valid;
use monitor::privilege::{self, Shortfall};

use crate::broker::TOPIC;
use crate::deliver::{deliver, ids, open};
use crate::login::Users;
use crate::tls::Place;

/// What the sink of the second process is told.
const KEYS: &str = "SANDWATCH_TEST_CONFINED";

/// The filter is for a whole process: this test is run once more, in one of its own.
#[test]
fn an_agent_that_gave_up_what_it_does_not_need_logs_in_over_tls_and_delivers() {
    if let Ok(keys) = std::env::var(KEYS) {
        let lowered = privilege::lower();
        // The test's own thread is one.
        let others = |shortfall: &&Shortfall| !matches!(shortfall, Shortfall::Threads { .. });
        assert_eq!(lowered.shortfalls.iter().filter(others).count(), 0, "{:?}", lowered.shortfalls);
        let mut sink = open(&keys);
        let done = deliver(&mut *sink, 1..=300);
        assert_eq!(done.accepted, ids(1..=300), "{:?}", done.retries);
        sink.reopen().unwrap();
        assert_eq!(deliver(&mut *sink, 301..=310).accepted, ids(301..=310));
        return;
    }
    let place = Place::new();
    let pair = place.pair("server", &["localhost"], Valid::Now);
    let users = Users::new("SCRAM-SHA-512", "agent", "s3cret-of-the-user");
    let broker = place.broker(&pair, false, Some(users));
    let keys = format!(
        "type: kafka, brokers: [\"tls://localhost:{}\"], topic: {TOPIC}, timeout: 10s, user: agent, sasl: scram-sha-512, \
         key_env: SANDWATCH_TEST_PASSWORD, tls: {{ ca_file: {} }}",
        broker.gate.port(),
        place.ca()
    );
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args([
        "--exact",
        "confined::an_agent_that_gave_up_what_it_does_not_need_logs_in_over_tls_and_delivers",
    ]);
    let ran = again.env(KEYS, keys).env("SANDWATCH_TEST_PASSWORD", "s3cret-of-the-user").output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(broker.gate.logins().0 > 0);
}
