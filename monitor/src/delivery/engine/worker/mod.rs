//! One sink that is a log: takes records from the spool, sends them, and deals with the answers.
//!
//! A step at a time, so that it can be driven by a thread and by a test alike: [`Worker::step`] does what is to be done now
//! and says until when there is nothing to do. What comes back is in `answers`, what is refused for good in `letters`.

mod answers;
mod letters;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::dead::{DeadLetters, Unkept};
use super::form::Form;
use super::meter::{Dropped, Meter};
use super::notes::Notes;
use super::pace::Pace;
use super::source::Source;
use super::watch::{REFUSED, Watch};
use crate::alert::SafeAlert;
use crate::delivery::spool::{Done, Entry, Shared};
use crate::delivery::{Class, Clock, Item, Outcome, Transport, caught};

/// Cursors are written this often.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// An alert that failed so often while others were taken, over so long a time, is what cannot be taken. A receiver that is
/// overloaded refuses some, too, but not the same ones for that long.
const POISON_AFTER: u32 = 5;
const POISON_SINCE: Duration = Duration::from_secs(300);
/// How many alerts are tried in turn while none is taken.
const TRIED_IN_TURN: usize = 3;
/// What waits for nothing else is looked at again after this.
const SHORTEST: Duration = Duration::from_millis(1);

/// An alert that was taken from the spool and is not dealt with.
pub(crate) struct Flight {
    pub(crate) entry: Arc<Entry>,
    pub(crate) seq: u64,
    /// Attempts after which it was still to be sent.
    tries: u32,
    /// Of these, how many failed although others were taken in between.
    blamed: u32,
    /// What the receiver had taken when it last failed.
    taken_before: u64,
    /// When it first failed.
    since: Option<Duration>,
    not_before: Duration,
    /// It may go, whatever the pace of what piled up.
    granted: bool,
}

impl Flight {
    fn new(entry: Arc<Entry>, seq: u64) -> Self {
        Self {
            entry,
            seq,
            tries: 0,
            blamed: 0,
            taken_before: 0,
            since: None,
            not_before: Duration::ZERO,
            granted: true,
        }
    }

    fn may_go(&self, now: Duration) -> bool {
        self.granted && self.not_before <= now
    }
}

/// When there is something to do again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// At once.
    Now,
    /// When the sink is rung for, or at this moment of the monotonic clock.
    At(Option<Duration>),
}

/// What a worker works with.
pub(crate) struct Parts {
    pub(crate) name: String,
    /// The sink's place in the configuration.
    pub(crate) sink: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) form: Form,
    pub(crate) pace: Pace,
    pub(crate) meter: Arc<Meter>,
    pub(crate) dead: Arc<DeadLetters>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// One sink.
pub(crate) struct Worker {
    parts: Parts,
    source: Source,
    flight: VecDeque<Flight>,
    /// Alerts that the receiver took, ever.
    taken: u64,
    done: Vec<Done>,
    /// How many of them were refused.
    refused: u64,
    /// Refused since something was taken.
    refused_in_row: u64,
    /// Dead letters that could not be written yet.
    unkept: Unkept,
    /// What it needs on this machine was missing when it last looked.
    unready: bool,
    /// Places that the cursor has.
    told: [u64; 3],
    committed: Duration,
    watch: Watch,
    /// Another for the same sink was before it, and failed to the end.
    carried: bool,
    /// Somebody waits for everything to be dealt with.
    settle: bool,
}

impl Worker {
    pub(crate) fn new(parts: Parts) -> Self {
        let source = Source::new(Arc::clone(&parts.shared), parts.sink);
        let now = parts.clock.monotonic();
        let mut worker = Self {
            told: source.places(),
            source,
            flight: VecDeque::new(),
            taken: 0,
            done: Vec::new(),
            refused: 0,
            refused_in_row: 0,
            unkept: Unkept::default(),
            unready: false,
            committed: now,
            watch: Watch::new(parts.name.clone(), parts.meter.said()),
            carried: parts.meter.is_failing(),
            settle: false,
            parts,
        };
        if worker.source.is_behind() && worker.parts.shared.waiting(worker.parts.sink) > 0 {
            worker.begin_catch_up(now);
        }
        worker
    }

    /// What it sends with.
    pub(crate) fn into_transport(self) -> Box<dyn Transport> {
        self.parts.transport
    }

    /// Another worker for this sink came to a bad end, which was said.
    pub(crate) fn fell(&mut self, reason: &str) {
        let now = self.parts.clock.monotonic();
        self.watch.fell(now);
        self.failed(now, 1, None, reason);
        self.parts.pace.try_now();
    }

    /// Does what is to be done now.
    pub(crate) fn step(&mut self) -> Next {
        let now = self.parts.clock.monotonic();
        self.obey();
        self.commit_if_due(now);
        self.keep_letters(now);
        if now < self.parts.pace.not_before() {
            let next = self.unkept.next().into_iter().chain([self.parts.pace.not_before()]).min();
            return Next::At(next.map(|at| at.max(now + SHORTEST)));
        }
        if let Err(reason) = self.parts.transport.prepare() {
            self.unready = true;
            self.failed(now, 1, None, &reason);
            self.watch.say(&self.parts.notes, &self.parts.transport.target(), &reason);
            return Next::At(Some(self.parts.pace.not_before()));
        }
        let limits = self.parts.transport.limits();
        let most = self.parts.pace.batch(limits.items);
        // While only one at a time is tried, there are others to try in its place.
        let held = self.fill(most.max(TRIED_IN_TURN), limits.items.max(TRIED_IN_TURN), limits.bytes, now);
        if let Some(streams) = self.parts.shared.streams(self.parts.sink, self.parts.form.since()) {
            self.parts.form.set_streams(streams);
        }
        let Some(batch) = self.batch(most, limits.bytes, now) else { return Next::Now };
        if batch.is_empty() {
            if std::mem::take(&mut self.unready) {
                // It has what it needs, and nothing to show it with.
                self.recovered(now);
            }
            self.note_oldest();
            if self.settle && self.flight.is_empty() {
                self.settle = false;
                self.commit();
            }
            let soonest = self.flight.iter().map(|flight| flight.not_before).filter(|at| *at > now).min();
            let commit = self.uncommitted().then(|| self.committed + COMMIT_EVERY);
            return Next::At([held, soonest, commit, self.unkept.next()].into_iter().flatten().min());
        }
        // Before: the receiver may hang, and what it hangs with waits.
        self.note_oldest();
        self.send(batch);
        self.note_oldest();
        Next::Now
    }

    /// Whether there is something that only waits for its time: a failing receiver, or the slow sending of what piled up.
    pub(crate) fn is_held(&self) -> bool {
        self.parts.pace.failures() >= 3
            || self.unready
            || self.source.catching_up()
            || (self.flight.is_empty() && !self.unkept.is_empty())
    }

    /// Whether nothing is left to be sent.
    pub(crate) fn is_done(&self) -> bool {
        self.flight.is_empty() && self.parts.shared.waiting(self.parts.sink) == self.done.len() as u64
    }

    /// Writes the cursor, with everything that is dealt with.
    pub(crate) fn commit(&mut self) {
        let now = self.parts.clock.monotonic();
        self.committed = now;
        if let Err(reason) = self.parts.transport.commit() {
            // Perhaps none of it lasted: back to where the cursor is.
            self.parts.meter.retried(self.done.len() as u64);
            self.done.clear();
            self.refused = 0;
            self.flight.clear();
            self.unkept.clear();
            self.source.back_to(self.told);
            self.failed(now, 1, None, &reason);
            return;
        }
        let at = self.places();
        self.parts.shared.advance(self.parts.sink, at, &self.done);
        if !self.done.is_empty() {
            let taken = (self.done.len() as u64).saturating_sub(std::mem::take(&mut self.refused));
            if taken > 0 {
                self.parts.meter.acknowledged(taken);
            }
            if let Err(error) = self.parts.shared.save(self.parts.sink) {
                tracing::debug!(sink = self.parts.name, %error, "cursor not written; alerts may be sent twice after a restart");
            }
        }
        self.done.clear();
        self.told = at;
    }

    /// What others asked this sink for.
    fn obey(&mut self) {
        let (reopen, heartbeat, settle) = {
            let mut index = self.parts.shared.lock();
            let Some(state) = index.sinks.get_mut(self.parts.sink) else { return };
            let reopen = (state.reopen != state.reopened).then_some(state.reopen);
            (reopen, state.heartbeat.take(), std::mem::take(&mut state.settle))
        };
        self.settle |= settle;
        if let Some(asked) = reopen {
            if let Err(reason) = self.parts.transport.reopen() {
                tracing::error!(sink = self.parts.name, reason, "the sink could not be opened again");
            }
            if let Some(state) = self.parts.shared.lock().sinks.get_mut(self.parts.sink) {
                state.reopened = asked;
            }
            self.parts.pace.try_now();
        }
        if let Some(heartbeat) = heartbeat.filter(|_| !self.parts.pace.failing())
            // It may have just begun, or just been opened again.
            && self.parts.transport.prepare().is_ok()
        {
            // Not repeated: the next one says the same, and its absence is the message.
            let Ok(item) = self.item(&heartbeat.alert, 0) else { return };
            let bytes = item.text.len() as u64;
            if self.parts.transport.send(&[item]).first() == Some(&Outcome::Accepted) {
                self.parts.meter.sent(1, bytes, self.now_ns());
            }
        }
    }

    fn uncommitted(&self) -> bool {
        !self.done.is_empty() || self.places() != self.told
    }

    fn commit_if_due(&mut self, now: Duration) {
        if self.uncommitted() && now.saturating_sub(self.committed) >= COMMIT_EVERY {
            self.commit();
        }
    }

    /// By class: everything below is dealt with.
    fn places(&self) -> [u64; 3] {
        let mut at = self.source.places();
        for flight in &self.flight {
            let place = &mut at[flight.entry.record.class.order()];
            *place = (*place).min(flight.entry.number);
        }
        for (class, number) in self.unkept.places() {
            let place = &mut at[class.order()];
            *place = (*place).min(number);
        }
        at
    }

    /// Takes records from the spool, the highest class first. When there will be more, if that is known.
    fn fill(&mut self, most: usize, items: usize, bytes: usize, now: Duration) -> Option<Duration> {
        // Retried ones may fill a batch; the highest class still goes ahead of them.
        let is_high = |f: &&Flight| f.granted && f.entry.record.class == Class::High;
        let mut high = self.flight.iter().filter(is_high).count();
        // And ahead of what piled up, which may be as much again.
        let bounded = |worker: &Self| worker.flight.len() < 2 * items && worker.has_room(2 * bytes, |_| true);
        while high < most && self.has_room(bytes, |flight| flight.granted) && bounded(self) {
            let Some(next) = self.source.next_live_high() else { break };
            if let Some(flight) = self.readable(next) {
                self.flight.insert(high.min(self.flight.len()), flight);
                high += 1;
            }
        }
        // What was at hand when the receiver went away has piled up like the rest.
        for flight in self.flight.iter_mut().filter(|flight| !flight.granted) {
            match self.parts.pace.take_leave(now) {
                Ok(()) => flight.granted = true,
                Err(until) => return Some(until),
            }
        }
        while self.flight.len() < most && self.has_room(bytes, |_| true) {
            match self.source.next(&mut self.parts.pace, now) {
                Ok(Some(next)) => {
                    if let Some(flight) = self.readable(next) {
                        let class = flight.entry.record.class;
                        let at = self.flight.partition_point(|f| f.entry.record.class >= class);
                        self.flight.insert(at, flight);
                    }
                }
                Ok(None) => return None,
                Err(until) => return Some(until),
            }
        }
        None
    }

    #[cfg(test)]
    pub(crate) fn bytes_at_hand(&self) -> usize {
        self.flight.iter().map(|flight| flight.entry.size).sum()
    }

    /// Whether more may be at hand than there is: about as many bytes as go into a batch, and always some to be tried in turn.
    fn has_room(&self, bytes: usize, counts: impl Fn(&Flight) -> bool) -> bool {
        let at_hand = || self.flight.iter().filter(|flight| counts(flight));
        at_hand().count() < TRIED_IN_TURN || at_hand().map(|flight| flight.entry.size).sum::<usize>() < bytes
    }

    fn readable(&mut self, pulled: super::source::Taken) -> Option<Flight> {
        use super::source::Taken;
        match pulled {
            Taken::Entry(entry, seq) => Some(Flight::new(entry, seq)),
            Taken::Unreadable(class, number, seq) => {
                self.parts.meter.dropped(Dropped::Unreadable, 1);
                self.parts.notes.unreadable(self.parts.sink, seq);
                self.done.push(Done { class, number, seq });
                None
            }
            Taken::Lost(class, lost) => {
                self.parts.meter.dropped(Dropped::Unreadable, lost.records);
                self.parts.notes.lost(self.parts.sink, &lost);
                self.parts.shared.lost(self.parts.sink, class, lost.records);
                None
            }
        }
    }

    /// What is sent now: places in `flight`, and the items. `None`: one that cannot be written is out of the way now.
    fn batch(&mut self, most: usize, bytes: usize, now: Duration) -> Option<Vec<(usize, Item)>> {
        let mut ready: Vec<usize> =
            (0..self.flight.len()).filter(|at| self.flight[*at].may_go(now)).collect();
        // While it fails alert by alert, others are tried in turn: the first may be what it cannot take.
        let failures = self.parts.pace.failures() as usize;
        if most == 1 && ready.len() > 1 && failures > 3 {
            let turn = (failures - 3) % ready.len().min(TRIED_IN_TURN);
            ready.rotate_left(turn);
        }
        let mut total = 0;
        let mut batch = Vec::new();
        for at in ready.into_iter().take(most) {
            let flight = &self.flight[at];
            let item = match self.item(&flight.entry.record.alert, flight.seq) {
                Ok(item) => item,
                Err(reason) => {
                    self.forget(vec![(at, Some(reason))]);
                    return None;
                }
            };
            total += item.text.len();
            if total > bytes && !batch.is_empty() {
                break;
            }
            batch.push((at, item));
        }
        Some(batch)
    }

    fn item(&self, alert: &SafeAlert, seq: u64) -> Result<Item, String> {
        caught(|| self.parts.form.item(&*self.parts.transport, alert, seq))
    }

    fn begin_catch_up(&mut self, now: Duration) {
        if self.parts.transport.shared() {
            self.parts.pace.begin_catch_up(now);
            self.source.begin_catch_up();
            self.flight.iter_mut().for_each(|flight| flight.granted = false);
        }
    }

    fn note_oldest(&mut self) {
        let at_hand = self.flight.iter().map(|flight| flight.entry.record.accepted).min();
        self.parts.meter.oldest(at_hand.into_iter().chain(self.source.oldest()).min());
    }

    fn now_ns(&self) -> i64 {
        i64::try_from(self.parts.clock.wall().as_nanosecond()).unwrap_or(i64::MAX)
    }
}
