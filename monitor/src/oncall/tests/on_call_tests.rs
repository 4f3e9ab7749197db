use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use jiff::Timestamp;

use super::*;
use crate::delivery::{Class, Clock, Consumer, Driver, Meter, Outcome, Record, Stored, SystemClock};

/// A spool of the test's own.
#[derive(Clone, Default)]
struct Spool {
    records: Arc<Mutex<VecDeque<Stored>>>,
    end_by: Arc<Mutex<Option<Duration>>>,
    /// It was asked for more after the end was said.
    asked_last: Arc<AtomicBool>,
    handed_out: Arc<Mutex<usize>>,
    committed: Arc<Mutex<usize>>,
}

impl Spool {
    fn put(&self, alert: SafeAlert) {
        let record = Record { class: Class::of(&alert), accepted: 1, alert };
        self.records.lock().unwrap().push_back(Stored::Alert(Box::new(record)));
    }
}

impl Consumer for Spool {
    fn next(&mut self, most: Duration) -> Option<Stored> {
        self.asked_last.fetch_or(self.ending() && most.is_zero(), Ordering::Relaxed);
        let until = Instant::now() + most.min(Duration::from_millis(20));
        loop {
            if let Some(stored) = self.records.lock().unwrap().pop_front() {
                *self.handed_out.lock().unwrap() += 1;
                return Some(stored);
            }
            if Instant::now() >= until || self.ending() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn pause(&mut self, most: Duration) {
        std::thread::sleep(most.min(Duration::from_millis(1)));
    }

    fn commit(&mut self) {
        *self.committed.lock().unwrap() = *self.handed_out.lock().unwrap();
    }

    fn waiting(&self) -> u64 {
        self.records.lock().unwrap().len() as u64
    }

    fn reopen_asked(&mut self) -> bool {
        false
    }

    fn end_by(&self) -> Option<Duration> {
        *self.end_by.lock().unwrap()
    }
}

/// A receiver of the test's own: answers by a list, then takes everything.
#[derive(Clone, Default)]
struct Receiver {
    name: String,
    answers: Arc<Mutex<VecDeque<Outcome>>>,
    hang: Arc<AtomicBool>,
    /// Once.
    panics: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<String>>>,
    /// One for each action.
    bytes: u64,
    /// How long each request takes, on a clock of the test's own.
    slow: Option<(Hand, Duration)>,
}

impl Pager for Receiver {
    fn policy(&self) -> Policy {
        pager(None)
    }

    fn keyer(&self) -> Keyer {
        by_level()
    }

    fn target(&self) -> String {
        self.name.clone()
    }

    fn send(&mut self, actions: &[Action], _: Timestamp) -> Vec<Outcome> {
        assert!(!self.panics.swap(false, Ordering::Relaxed), "a fault that a test made");
        while self.hang.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Some((clock, takes)) = &self.slow {
            *clock.0.lock().unwrap() += *takes;
        }
        self.bytes += actions.len() as u64;
        actions
            .iter()
            .map(|action| {
                let outcome = self.answers.lock().unwrap().pop_front().unwrap_or(Outcome::Accepted);
                if outcome == Outcome::Accepted {
                    self.taken.lock().unwrap().push(short(action));
                }
                outcome
            })
            .collect()
    }

    fn take_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }
}

/// A clock that is set by hand.
#[derive(Clone, Default)]
struct Hand(Arc<Mutex<Duration>>);

impl Clock for Hand {
    fn monotonic(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.monotonic()
    }
}

struct Running {
    spool: Spool,
    meter: Arc<Meter>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn start(spool: Spool, receivers: &[Receiver], state: Option<&Path>) -> Self {
        Self::with_clock(spool, receivers, state, Arc::new(SystemClock::default()))
    }

    fn with_clock(spool: Spool, receivers: &[Receiver], state: Option<&Path>, clock: Arc<dyn Clock>) -> Self {
        let pagers = receivers.iter().map(|receiver| Box::new(receiver.clone()) as Box<dyn Pager>).collect();
        let retry = Duration::from_millis(20);
        let mut sink = OnCall::new("on call", pagers, state, retry, clock, false);
        let meter = Arc::new(Meter::default());
        let (mut consumer, counted) = (spool.clone(), Arc::clone(&meter));
        let thread = std::thread::spawn(move || sink.run(&mut consumer, &counted));
        Self { spool, meter, thread: Some(thread) }
    }

    fn end(mut self) {
        self.spool.end_by.lock().unwrap().get_or_insert_default();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn taken(receiver: &Receiver) -> Vec<String> {
    receiver.taken.lock().unwrap().clone()
}

#[test]
fn failing_receiver_gets_the_newest_state_once_it_works_again() {
    let spool = Spool::default();
    let receiver = Receiver { name: "r".into(), ..Receiver::default() };
    receiver.hang.store(true, Ordering::Relaxed);
    receiver.answers.lock().unwrap().extend([
        Outcome::Retry { reason: "500".into(), after: None },
        Outcome::Retry { reason: "429".into(), after: Some(Duration::from_millis(30)) },
    ]);
    let running = Running::start(spool.clone(), std::slice::from_ref(&receiver), None);
    spool.put(incident("i", 1, Tier::Boundary, State::Open));
    // The receiver hangs; alerts are taken in all the same.
    spool.put(incident("i", 2, Tier::Identity, State::Update));
    spool.put(incident("i", 3, Tier::Identity, State::Update));
    eventually("taken in", || *spool.committed.lock().unwrap() == 3);
    receiver.hang.store(false, Ordering::Relaxed);
    // If the ticket was on its way before the rise was known, the receiver may have it: then it is resolved.
    let rise = ["open i/page r3 Raised", "resolve i/ticket Raised"];
    eventually("told of the newest, and of nothing else", || {
        let told = taken(&receiver);
        told == ["open i/page r3 New"] || told == rise
    });
    // It is told before its answer is counted.
    eventually("counted", || {
        let stats = running.meter.stats(0);
        let taken = stats.sent >= 1 && stats.bytes >= 1 && stats.last_success.is_some();
        stats.retried >= 2 && stats.acknowledged == stats.sent && taken && !stats.failing
    });
    running.end();
}

#[test]
fn receiver_whose_code_panics_is_tried_again_and_what_was_due_is_told() {
    let receiver = Receiver { name: "r".into(), ..Receiver::default() };
    receiver.panics.store(true, Ordering::Relaxed);
    let running = Running::start(Spool::default(), std::slice::from_ref(&receiver), None);
    running.spool.put(theft("i", 1, 1));
    // It fails for some milliseconds only.
    let mut fault = None;
    eventually("it failed", || {
        fault = running.meter.take_fault();
        fault.is_some()
    });
    assert!(fault.unwrap().contains("a fault of the agent itself"));
    eventually("told", || !taken(&receiver).is_empty());
    assert_eq!(taken(&receiver), ["open i/page r1 New"]);
    eventually("it works", || !running.meter.stats(0).failing);
    running.end();
}

#[test]
fn desk_is_kept_over_a_restart_and_committed_only_when_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver { name: "r".into(), ..Receiver::default() };
    let running = Running::start(Spool::default(), std::slice::from_ref(&receiver), Some(folder.path()));
    running.spool.put(theft("i", 1, 1));
    eventually("told", || taken(&receiver).len() == 1);
    running.end();
    assert!(folder.path().join("oncall/on%20call/desk.json").exists());
    let running = Running::start(Spool::default(), std::slice::from_ref(&receiver), Some(folder.path()));
    running.spool.put(theft("i", 1, 1));
    running.spool.put(incident("i", 2, Tier::Identity, State::Closed));
    eventually("resolved", || taken(&receiver).len() == 2);
    running.end();
    assert_eq!(taken(&receiver), ["open i/page r1 New", "resolve i/page Closed"]);
}

#[test]
fn unwritable_state_commits_nothing_and_still_pages() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver { name: "r".into(), ..Receiver::default() };
    std::fs::create_dir_all(folder.path().join("oncall/on%20call/desk.tmp")).unwrap();
    let running = Running::start(Spool::default(), std::slice::from_ref(&receiver), Some(folder.path()));
    running.spool.put(theft("i", 1, 1));
    eventually("told", || taken(&receiver).len() == 1);
    assert_eq!(*running.spool.committed.lock().unwrap(), 0);
    std::fs::remove_dir(folder.path().join("oncall/on%20call/desk.tmp")).unwrap();
    eventually("committed", || *running.spool.committed.lock().unwrap() == 1);
    running.end();
}

#[test]
fn torn_state_is_set_aside_and_pages_go_on() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("oncall/on%20call")).unwrap();
    std::fs::write(folder.path().join("oncall/on%20call/desk.json"), "{\"version\":1,\"desk\":{").unwrap();
    let receiver = Receiver { name: "r".into(), ..Receiver::default() };
    let running = Running::start(Spool::default(), std::slice::from_ref(&receiver), Some(folder.path()));
    running.spool.put(theft("i", 1, 1));
    eventually("told", || taken(&receiver).len() == 1);
    running.end();
    assert!(folder.path().join("oncall/on%20call/desk.aside").exists());
}

#[test]
fn replica_that_hangs_holds_up_no_other() {
    let (slow, quick) = (
        Receiver { name: "a".into(), ..Receiver::default() },
        Receiver { name: "b".into(), ..Receiver::default() },
    );
    slow.hang.store(true, Ordering::Relaxed);
    let running = Running::start(Spool::default(), &[slow.clone(), quick.clone()], None);
    running.spool.put(theft("i", 1, 1));
    eventually("the quick one is told", || taken(&quick).len() == 1);
    assert!(taken(&slow).is_empty());
    slow.hang.store(false, Ordering::Relaxed);
    eventually("the slow one is told", || taken(&slow).len() == 1);
    running.end();
}

/// What is told of four thefts, three seconds each, by an agent whose end may take so long.
fn told_at_the_end(drain: Duration) -> usize {
    let (spool, clock) = (Spool::default(), Hand::default());
    let slow = Some((clock.clone(), Duration::from_secs(3)));
    let receiver = Receiver { name: "r".into(), slow, ..Receiver::default() };
    receiver.hang.store(true, Ordering::Relaxed);
    let running = Running::with_clock(spool.clone(), std::slice::from_ref(&receiver), None, Arc::new(clock));
    for number in 0..4 {
        spool.put(theft(&format!("i{number}"), 1, 1));
    }
    eventually("taken in", || *spool.committed.lock().unwrap() == 4);
    *spool.end_by.lock().unwrap() = Some(drain);
    eventually("the end is seen", || spool.asked_last.load(Ordering::Relaxed));
    receiver.hang.store(false, Ordering::Relaxed);
    running.end();
    taken(&receiver).len()
}

#[test]
fn pages_are_sent_for_as_long_as_the_end_of_the_agent_may_take() {
    assert_eq!(told_at_the_end(Duration::from_secs(60)), 4);
    assert_eq!(told_at_the_end(Duration::from_secs(1)), 1, "the one that was on its way");
    // Where no time is set, as when sinks are exchanged.
    assert_eq!(told_at_the_end(Duration::ZERO), 2);
}
