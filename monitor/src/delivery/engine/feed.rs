//! What a sink with a state of its own reads: the same records, one at a time.

use std::sync::Arc;
use std::time::Duration;

use super::meter::{Dropped, Meter};
use super::notes::Notes;
use super::source::{STUCK, Source, Taken};
use super::watch::Watch;
use crate::delivery::spool::{Done, Shared, Sort};
use crate::delivery::{Clock, Consumer, Stored};

/// The records of one sink.
pub(crate) struct Feed {
    shared: Arc<Shared>,
    source: Source,
    sink: usize,
    meter: Arc<Meter>,
    notes: Arc<Notes>,
    clock: Arc<dyn Clock>,
    watch: Watch,
    target: String,
    done: Vec<Done>,
}

impl Feed {
    pub(crate) fn new(
        shared: Arc<Shared>,
        sink: usize,
        meter: Arc<Meter>,
        notes: Arc<Notes>,
        clock: Arc<dyn Clock>,
        watch: Watch,
        target: String,
    ) -> Self {
        let source = Source::new(Arc::clone(&shared), sink);
        Self { shared, source, sink, meter, notes, clock, watch, target, done: Vec::new() }
    }

    /// It was said that the sink does not work.
    pub(crate) fn fell(&mut self) {
        self.watch.fell(self.clock.monotonic());
    }

    fn is_reopen_asked(&self) -> bool {
        self.shared.lock().sinks.get(self.sink).is_some_and(|state| state.reopen != state.reopened)
    }

    fn take(&mut self) -> Option<Stored> {
        loop {
            match self.source.next_unpaced()? {
                Taken::Entry(entry, seq) => {
                    let class = entry.record.class;
                    self.done.push(Done { class, number: entry.number, seq });
                    self.meter.oldest(Some(entry.record.accepted));
                    let record = Box::new(entry.record.clone());
                    return Some(match entry.sort {
                        Sort::Alert => Stored::Alert(record),
                        Sort::Evicted => Stored::Lost(record),
                    });
                }
                Taken::Unreadable(class, number, seq) => {
                    self.meter.dropped(Dropped::Unreadable, 1);
                    self.notes.unreadable(self.sink, seq);
                    self.done.push(Done { class, number, seq });
                }
                Taken::Lost(class, lost) => {
                    self.meter.dropped(Dropped::Unreadable, lost.records);
                    self.notes.lost(self.sink, &lost);
                    self.shared.lost(self.sink, class, lost.records);
                }
            }
        }
    }
}

impl Consumer for Feed {
    fn next(&mut self, most: Duration) -> Option<Stored> {
        let now = self.clock.monotonic();
        self.watch.look(&self.meter, now, &self.notes, &self.target);
        let until = now.saturating_add(most);
        loop {
            if let Some(stored) = self.take() {
                return Some(stored);
            }
            let mut left = until.saturating_sub(self.clock.monotonic());
            if self.source.is_stuck() {
                left = left.min(STUCK);
            }
            if left.is_zero() || self.ending() {
                return None;
            }
            self.shared.wait(self.sink, left);
            if self.is_reopen_asked() {
                return self.take();
            }
        }
    }

    fn pause(&mut self, most: Duration) {
        let until = self.clock.monotonic().saturating_add(most);
        loop {
            let now = self.clock.monotonic();
            self.watch.look(&self.meter, now, &self.notes, &self.target);
            let left = until.saturating_sub(now);
            if left.is_zero() || self.ending() || self.is_reopen_asked() {
                return;
            }
            self.shared.wait(self.sink, left);
        }
    }

    fn commit(&mut self) {
        self.shared.advance(self.sink, self.source.places(), &self.done);
        if !self.done.is_empty()
            && let Err(error) = self.shared.save(self.sink)
        {
            tracing::debug!(%error, "cursor not written; alerts may be handed out twice after a restart");
        }
        self.done.clear();
    }

    fn waiting(&self) -> u64 {
        self.shared.waiting(self.sink).saturating_sub(self.done.len() as u64)
    }

    fn reopen_asked(&mut self) -> bool {
        let mut index = self.shared.lock();
        index
            .sinks
            .get_mut(self.sink)
            .is_some_and(|state| std::mem::replace(&mut state.reopened, state.reopen) != state.reopen)
    }

    fn end_by(&self) -> Option<Duration> {
        self.shared.lock().ending
    }
}
