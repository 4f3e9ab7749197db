//! Answers with errors: from librdkafka's own cluster of mock brokers, a fake that answers with what it is told to.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use integration::fakes::alerts;
use monitor::delivery::{Outcome, Transport};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Request, RDKafkaRespErr};

use crate::broker::{TOPIC, messages};
use crate::deliver::{deliver, ids, open, retry};

struct Cluster(MockCluster<'static, DefaultProducerContext>);

fn error(code: Code) -> RDKafkaRespErr {
    RDKafkaRespErr::try_from(code as i32).unwrap()
}

impl Cluster {
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        Self(cluster)
    }

    fn sink(&self, timeout: &str) -> Box<dyn Transport> {
        let servers = self.0.bootstrap_servers();
        open(&format!("type: kafka, brokers: [\"{servers}\"], topic: {TOPIC}, timeout: {timeout}"))
    }

    /// The next requests with alerts are answered so.
    fn answer(&self, code: Code, times: usize) {
        self.0.request_errors(Request::Produce, &vec![error(code); times]);
    }

    /// Ids of the alerts that it has.
    fn has(&self, count: usize) -> Vec<String> {
        messages(&self.0.bootstrap_servers(), 1, count).into_iter().map(|message| message.id).collect()
    }
}

#[test]
fn errors_that_pass_are_seen_to_by_the_producer_and_double_nothing() {
    for code in [
        Code::NotLeaderForPartition,
        Code::LeaderNotAvailable,
        Code::NotEnoughReplicas,
        Code::NotEnoughReplicasAfterAppend,
        Code::RequestTimedOut,
        Code::KafkaStorageError,
        // The broker cuts the connection.
        Code::BrokerTransportFailure,
    ] {
        let cluster = Cluster::new();
        let mut sink = cluster.sink("10s");
        cluster.answer(code, 2);
        let done = deliver(&mut *sink, 1..=100);
        assert_eq!(done.accepted, ids(1..=100), "{code}");
        assert_eq!(done.retries, Vec::<String>::new(), "{code}");
        let has = cluster.has(100);
        assert_eq!(has.len(), 100, "{code}: none twice");
        assert_eq!(has.into_iter().collect::<BTreeSet<_>>(), ids(1..=100), "{code}");
    }
}

#[test]
fn an_error_that_lasts_is_said_with_the_brokers_words_before_the_time_is_over() {
    for (code, words) in [
        (Code::NotEnoughReplicas, "in-sync replicas"),
        (Code::RequestTimedOut, "Request timed out"),
        (Code::ThrottlingQuotaExceeded, "hrottling quota"),
        (Code::PolicyViolation, "Policy violation"),
    ] {
        let cluster = Cluster::new();
        let mut sink = cluster.sink("20s");
        cluster.answer(code, 100);
        let begin = Instant::now();
        let (reason, _) = retry(&mut *sink);
        assert!(reason.contains(words), "{code}: {reason}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{code}: {:?}", begin.elapsed());
        cluster.0.clear_request_errors(Request::Produce);
        let done = deliver(&mut *sink, 1..=20);
        assert_eq!(done.accepted, ids(1..=20), "{code}: {:?}", done.retries);
    }
}

#[test]
fn a_batch_that_is_refused_as_a_whole_goes_one_by_one_and_only_the_one_is_a_dead_letter() {
    for code in [Code::MessageSizeTooLarge, Code::InvalidRecord] {
        let cluster = Cluster::new();
        let mut sink = cluster.sink("10s");
        assert_eq!(deliver(&mut *sink, 1..=1).accepted, ids(1..=1));
        // The whole, then the first of it.
        cluster.answer(code, 2);
        let outcomes = sink.send(&alerts::items(2..=11).unwrap());
        let refused = |outcome: &&Outcome| matches!(outcome, Outcome::Rejected { .. });
        assert!(refused(&&outcomes[0]), "{code}: {outcomes:?}");
        assert_eq!(outcomes.iter().filter(refused).count(), 1, "{code}: {outcomes:?}");
        assert!(outcomes[1..].iter().all(|outcome| *outcome == Outcome::Accepted), "{code}: {outcomes:?}");
        let has: Vec<String> = cluster.has(10);
        assert_eq!(has.len(), 10, "{code}: none twice");
        assert_eq!(has.into_iter().skip(1).collect::<BTreeSet<_>>(), ids(3..=11), "{code}");
    }
}

#[test]
fn a_producer_that_lost_its_place_is_made_anew() {
    let cluster = Cluster::new();
    let mut sink = cluster.sink("10s");
    assert_eq!(deliver(&mut *sink, 1..=5).accepted, ids(1..=5));
    cluster.answer(Code::OutOfOrderSequenceNumber, 1);
    let (reason, _) = retry(&mut *sink);
    assert!(reason.contains("sequence"), "{reason}");
    let done = deliver(&mut *sink, 6..=30);
    assert_eq!(done.accepted, ids(6..=30));
    assert_eq!(done.retries, Vec::<String>::new());
    assert_eq!(cluster.has(30).into_iter().collect::<BTreeSet<_>>(), ids(1..=30));
}

#[test]
fn a_topic_that_does_not_exist_is_said_and_waited_for() {
    let cluster = Cluster::new();
    let mut sink = cluster.sink("4s");
    cluster.0.topic_error(TOPIC, error(Code::UnknownTopicOrPartition)).unwrap();
    let (reason, _) = retry(&mut *sink);
    assert!(reason.contains("does not exist: create it"), "{reason}");
    cluster.0.topic_error(TOPIC, error(Code::NoError)).unwrap();
    assert_eq!(deliver(&mut *sink, 1..=5).accepted, ids(1..=5));
}

#[test]
fn a_topic_that_the_agent_may_not_write_to_is_said_and_waited_for() {
    let may_not = "may not write to the topic sandwatch-alerts: allow its user";
    let cluster = Cluster::new();
    let mut sink = cluster.sink("4s");
    cluster.0.topic_error(TOPIC, error(Code::TopicAuthorizationFailed)).unwrap();
    let (reason, _) = retry(&mut *sink);
    assert!(reason.contains(may_not), "{reason}");
    cluster.0.topic_error(TOPIC, error(Code::NoError)).unwrap();
    assert_eq!(deliver(&mut *sink, 1..=5).accepted, ids(1..=5));
    cluster.answer(Code::TopicAuthorizationFailed, 1);
    let (reason, _) = retry(&mut *sink);
    assert!(reason.contains(may_not), "{reason}");
    assert_eq!(deliver(&mut *sink, 6..=9).accepted, ids(6..=9));
}

#[test]
fn an_agent_that_may_not_be_idempotent_is_said_with_what_to_allow() {
    let cluster = Cluster::new();
    let mut sink = cluster.sink("4s");
    cluster.0.request_errors(Request::InitProducerId, &[error(Code::ClusterAuthorizationFailed); 20]);
    let (reason, _) = retry(&mut *sink);
    assert!(reason.contains("IdempotentWrite"), "{reason}");
    cluster.0.clear_request_errors(Request::InitProducerId);
    assert_eq!(deliver(&mut *sink, 1..=5).accepted, ids(1..=5));
}

#[test]
fn a_broker_that_ends_in_the_middle_of_a_batch_and_comes_back_has_everything_once() {
    let cluster = Cluster::new();
    let mut sink = cluster.sink("10s");
    assert_eq!(deliver(&mut *sink, 1..=5).accepted, ids(1..=5));
    // So that the batch is on its way when the broker ends.
    cluster.0.broker_round_trip_time(-1, Duration::from_millis(300)).unwrap();
    let done = std::thread::scope(|scope| {
        let sending = scope.spawn(|| deliver(&mut *sink, 6..=400));
        std::thread::sleep(Duration::from_millis(150));
        cluster.0.broker_down(-1).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        cluster.0.broker_round_trip_time(-1, Duration::ZERO).unwrap();
        cluster.0.broker_up(-1).unwrap();
        sending.join().unwrap()
    });
    assert_eq!(done.accepted, ids(6..=400), "{:?}", done.retries);
    assert_eq!(cluster.has(400).into_iter().collect::<BTreeSet<_>>(), ids(1..=400));
}
