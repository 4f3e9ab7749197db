//! A desk at work: one thread takes alerts in, one for each receiver sends.
//!
//! Taking in never waits for a receiver, so that a row is at its newest state by the time the receiver answers again. What
//! is taken in is on disk before the spool is told so, and before it is acted on.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::store::{Place, Store};
use super::{Action, Answer, Backoff, Change, Desk, Next, Now, Pager};
use crate::delivery::{Clock, Consumer, Driver, Meter, Outcome, Stored, caught};

/// Stack of a sender, as the other sinks have it; only what is used takes memory.
const STACK: usize = 1 << 20;
/// Most alerts taken in between two writes.
const TOGETHER: usize = 64;
/// How often alerts are taken in at most once the end was asked for.
const LAST_PASSES: u32 = 64;
/// How long a thread sleeps at most before it looks at the clock again.
const NAP: Duration = Duration::from_secs(1);
/// How long what is due is still sent when sinks are exchanged, for which no time is set: the sink may not be among those that
/// come. The agent's own end says how long that may take.
const HAND_OVER: Duration = Duration::from_secs(5);
/// Not ending.
const NEVER: u64 = u64::MAX;

/// An on-call sink with all its receivers.
pub struct OnCall {
    sink: String,
    receivers: Vec<Receiver>,
    retry: Duration,
    clock: Arc<dyn Clock>,
    /// Held as long as it runs.
    _place: Option<Place>,
}

struct Receiver {
    pager: Box<dyn Pager>,
    shared: Shared,
}

/// What the thread that takes in and the one that sends share.
struct Shared {
    desk: Mutex<Desk>,
    store: Option<Store>,
    changed: Condvar,
    /// All is taken in: once nothing is due any more, the sender ends.
    ending: AtomicBool,
    /// When it ends in any case, ms on the clock that never goes back; what is due then is on disk for the next start.
    until: AtomicU64,
    reopen: AtomicBool,
    /// Something was taken in since the sender last looked.
    news: AtomicBool,
    unsaved: AtomicBool,
}

impl OnCall {
    /// A sink with the desks of its receivers as they were kept. Without a state directory they live in memory. `retry`: the
    /// first wait after a failure. `goes_on`: the agent was not started just now, so that what it said of its condition holds.
    pub fn new(
        sink: &str,
        pagers: Vec<Box<dyn Pager>>,
        state_dir: Option<&Path>,
        retry: Duration,
        clock: Arc<dyn Clock>,
        goes_on: bool,
    ) -> Self {
        let now = now(&*clock);
        let several = pagers.len() > 1;
        let place = state_dir.map(|dir| Place::take(dir, sink)).transpose().unwrap_or_else(|error| {
            tracing::error!(sink, %error, "what the receiver was told cannot be kept over a restart");
            None
        });
        let receivers = pagers.into_iter().enumerate().map(|(number, pager)| {
            let store = place.as_ref().map(|place| place.store(several.then_some(number)));
            let (desk, problem) = match &store {
                Some(store) => store.load(&*pager, now, goes_on),
                None => (Desk::for_pager(&*pager), None),
            };
            if let Some(problem) = problem {
                tracing::error!(sink, problem, "what the receiver was told is not known any more");
            }
            let shared = Shared {
                desk: Mutex::new(desk),
                store,
                changed: Condvar::new(),
                ending: AtomicBool::new(false),
                until: AtomicU64::new(NEVER),
                reopen: AtomicBool::new(false),
                news: AtomicBool::new(false),
                unsaved: AtomicBool::new(false),
            };
            Receiver { pager, shared }
        });
        Self { sink: sink.to_owned(), receivers: receivers.collect(), retry, clock, _place: place }
    }
}

impl Driver for OnCall {
    fn target(&self) -> String {
        let targets: Vec<String> = self.receivers.iter().map(|receiver| receiver.pager.target()).collect();
        targets.join(", ")
    }

    fn run(&mut self, consumer: &mut dyn Consumer, meter: &Meter) {
        let (sink, clock, retry) = (&*self.sink, &*self.clock, self.retry);
        let failing = &AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let mut desks = Vec::new();
            for Receiver { pager, shared } in &mut self.receivers {
                let shared: &Shared = shared;
                // It may have ended before, with the sinks that were then.
                shared.ending.store(false, Ordering::Relaxed);
                shared.until.store(NEVER, Ordering::Relaxed);
                desks.push(shared);
                let backoff = Backoff::new(retry);
                let quiet_until = Duration::ZERO;
                let sender = Sender { sink, pager, shared, backoff, clock, meter, failing, quiet_until };
                // Signals are blocked as they are for the thread that starts it.
                let builder = std::thread::Builder::new().name("page".to_owned()).stack_size(STACK);
                if let Err(error) = builder.spawn_scoped(scope, || sender.keep()) {
                    tracing::error!(sink, %error, "no thread for the sender: nothing is sent");
                }
            }
            feed(sink, consumer, &desks, clock, meter);
            for shared in desks {
                shared.ending.store(true, Ordering::Relaxed);
                shared.wake();
            }
        });
        let desks: Vec<&Shared> = self.receivers.iter().map(|receiver| &receiver.shared).collect();
        for shared in &desks {
            shared.save(sink);
        }
        note_waiting(&desks, meter);
    }
}

/// Takes alerts in until the agent ends.
fn feed(sink: &str, consumer: &mut dyn Consumer, desks: &[&Shared], clock: &dyn Clock, meter: &Meter) {
    let (mut uncommitted, mut passes) = (false, 0);
    loop {
        // Once more after the end was asked for: what came just before is taken in too.
        let ending = match consumer.end_by() {
            None => false,
            Some(by) => {
                desks.iter().for_each(|shared| shared.end_by(by, clock.monotonic()));
                true
            }
        };
        let mut next = consumer.next(if ending { Duration::ZERO } else { NAP });
        let mut count = 0;
        while let Some(stored) = next.take() {
            count += 1;
            for shared in desks {
                shared.take(&stored, now(clock));
            }
            if count < TOGETHER {
                next = consumer.next(Duration::ZERO);
            }
        }
        uncommitted |= count > 0;
        let reopen = consumer.reopen_asked();
        let mut kept = true;
        for shared in desks {
            kept &= shared.save(sink);
            shared.news.fetch_or(count > 0, Ordering::Relaxed);
            shared.reopen.fetch_or(reopen, Ordering::Relaxed);
            if count > 0 || reopen {
                shared.wake();
            }
        }
        note_waiting(desks, meter);
        // What is in no file stays in the spool: it is handed out again after a restart, and changes nothing that is known.
        if uncommitted && kept {
            consumer.commit();
            uncommitted = false;
        }
        // While sinks are exchanged more and more may come: the rest is in the spool.
        passes += u32::from(ending);
        if ending && (count == 0 || passes == LAST_PASSES) {
            return;
        }
    }
}

/// What the receivers have not acknowledged as it stands: of several, the one that is behind most.
fn note_waiting(desks: &[&Shared], meter: &Meter) {
    let waiting: Vec<(u64, Option<i64>)> = desks.iter().map(|shared| shared.desk().waiting()).collect();
    let oldest = waiting.iter().filter_map(|(_, oldest)| *oldest).min();
    meter.holding(waiting.iter().map(|(count, _)| *count).max().unwrap_or(0));
    meter.oldest(oldest.map(|at| at.saturating_mul(1_000_000)));
}

impl Shared {
    /// A thread that panicked left the desk as it was between two changes: it is used on.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the sender. Under the lock: it either has not looked yet, or sleeps already.
    fn wake(&self) {
        let desk = self.desk();
        self.changed.notify_all();
        drop(desk);
    }

    /// The end was asked for. The first time that is seen counts.
    fn end_by(&self, by: Duration, now: Duration) {
        if self.until.load(Ordering::Relaxed) == NEVER {
            let until = if by > now { by } else { now.saturating_add(HAND_OVER) };
            self.until.store(u64::try_from(until.as_millis()).unwrap_or(NEVER), Ordering::Relaxed);
        }
    }

    fn take(&self, stored: &Stored, now: Now) {
        let mut desk = self.desk();
        match stored {
            Stored::Alert(record) => desk.take(&record.alert, record.accepted, now),
            Stored::Lost(record) => desk.lost(&record.alert),
        }
    }

    /// Writes the desk if it changed; whether it is on disk as it stands. Without a place to keep it, it always is.
    fn save(&self, sink: &str) -> bool {
        let mut desk = self.desk();
        if !desk.take_dirty() {
            return true;
        }
        let result = self.store.as_ref().map_or(Ok(()), |store| store.save(&desk));
        let failing = result.is_err();
        if failing {
            desk.mark_dirty();
        }
        drop(desk);
        match (result, self.unsaved.swap(failing, Ordering::Relaxed)) {
            (Err(error), false) => {
                tracing::error!(sink, %error, "what the receiver was told cannot be written down; it goes on from memory");
            }
            (Ok(()), true) => tracing::info!(sink, "what the receiver was told is written down again"),
            _ => {}
        }
        !failing
    }
}

/// The thread that sends.
struct Sender<'a> {
    sink: &'a str,
    pager: &'a mut Box<dyn Pager>,
    shared: &'a Shared,
    backoff: Backoff,
    clock: &'a dyn Clock,
    meter: &'a Meter,
    /// How many receivers of the sink fail.
    failing: &'a AtomicUsize,
    /// Nothing is sent before.
    quiet_until: Duration,
}

impl Sender<'_> {
    /// Goes on after a fault of its own, with the wait of a receiver that fails: what was being sent is due again.
    fn keep(mut self) {
        while let Err(reason) = caught(|| self.run()) {
            self.meter.fault(&reason);
            self.failed(&reason, None, now(self.clock));
        }
    }

    fn run(&mut self) {
        loop {
            let ending = self.shared.ending.load(Ordering::Relaxed);
            let late =
                self.clock.monotonic().as_millis() >= u128::from(self.shared.until.load(Ordering::Relaxed));
            // A receiver that does not answer now has the rest after the next start.
            if late || ending && self.backoff.is_failing() {
                return;
            }
            if self.shared.reopen.swap(false, Ordering::Relaxed) {
                self.reopen();
            }
            match self.turn() {
                Some(_) if ending => return,
                Some(wait) => self.nap(wait),
                None => {}
            }
        }
    }

    fn reopen(&mut self) {
        if let Err(error) = self.pager.reopen() {
            tracing::error!(
                sink = self.sink,
                error,
                "secrets could not be read again; those of before are used"
            );
        }
        self.shared.desk().reopened(self.pager.receiver());
        // It is tried at once; whether it works shows then.
        self.quiet_until = Duration::ZERO;
    }

    /// Sends what is due; `Some`: nothing is, for so long.
    fn turn(&mut self) -> Option<Duration> {
        let now = now(self.clock);
        if let Some(left) = self.quiet_until.checked_sub(now.monotonic).filter(|left| !left.is_zero()) {
            return Some(left);
        }
        self.shared.news.store(false, Ordering::Relaxed);
        let next = self.shared.desk().next(now);
        self.shared.save(self.sink);
        let actions = match next {
            Next::Wait(wait) => return Some(wait.unwrap_or(NAP).max(Duration::from_millis(1))),
            Next::Send(actions) => actions,
        };
        let outcomes = self.pager.send(&actions, self.clock.wall());
        let bytes = self.pager.take_bytes();
        self.note(&actions, outcomes, bytes);
        None
    }

    fn note(&mut self, actions: &[Action], outcomes: Vec<Outcome>, bytes: u64) {
        let now = now(self.clock);
        let missing = || Outcome::Retry { reason: "no answer".to_owned(), after: None };
        let outcomes = outcomes.into_iter().chain(std::iter::repeat_with(missing));
        let mut failure: Option<(String, Option<Duration>)> = None;
        let mut bytes = Some(bytes);
        let mut desk = self.shared.desk();
        for (action, outcome) in actions.iter().zip(outcomes) {
            match outcome {
                Outcome::Accepted => {
                    let (news, at) = (is_news(action).into(), now.wall.saturating_mul(1_000_000));
                    self.meter.sent(news, bytes.take().unwrap_or(0), at);
                    self.meter.acknowledged(news);
                    desk.answered(action, Answer::Accepted, now);
                }
                Outcome::Rejected { reason } => {
                    self.meter.rejected();
                    tracing::error!(
                        sink = self.sink,
                        target = self.pager.target(),
                        reason,
                        "a page was refused"
                    );
                    desk.answered(action, Answer::Rejected, now);
                }
                Outcome::Retry { reason, after } => {
                    self.meter.retried(1);
                    let after = failure.take().map_or(after, |(_, before)| before.max(after));
                    failure = Some((reason, after));
                }
            }
        }
        drop(desk);
        match failure {
            Some((reason, after)) => self.failed(&reason, after, now),
            None => self.recovered(),
        }
    }

    fn failed(&mut self, reason: &str, after: Option<Duration>, now: Now) {
        if self.backoff.is_failing() {
            tracing::debug!(sink = self.sink, reason, "the receiver does not take pages");
        } else {
            self.failing.fetch_add(1, Ordering::Relaxed);
            let target = self.pager.target();
            tracing::error!(
                sink = self.sink,
                target,
                reason,
                "the receiver does not take pages; they are kept"
            );
        }
        self.meter.failing(true);
        let random = uuid::Uuid::new_v4().as_u64_pair().0;
        self.quiet_until = now.monotonic + self.backoff.after_failure(after, random);
    }

    fn recovered(&mut self) {
        if self.backoff.is_failing() {
            tracing::info!(sink = self.sink, target = self.pager.target(), "the receiver takes pages again");
            let others = self.failing.fetch_sub(1, Ordering::Relaxed) > 1;
            self.meter.failing(others);
        }
        self.backoff.reset();
    }

    /// Sleeps until there is something to do, at most so long. While the receiver is left alone, a new alert is nothing to do.
    fn nap(&self, wait: Duration) {
        let quiet = self.quiet_until > self.clock.monotonic();
        let asleep = |_: &mut Desk| {
            let told =
                self.shared.ending.load(Ordering::Relaxed) || self.shared.reopen.load(Ordering::Relaxed);
            !told && (quiet || !self.shared.news.load(Ordering::Relaxed))
        };
        drop(self.shared.changed.wait_timeout_while(self.shared.desk(), wait.min(NAP), asleep));
    }
}

/// Whether the receiver is told something that it does not know.
fn is_news(action: &Action) -> bool {
    !matches!(action, Action::Open { change: Change::Refresh, .. })
}

fn now(clock: &dyn Clock) -> Now {
    Now { monotonic: clock.monotonic(), wall: clock.wall().as_millisecond() }
}
