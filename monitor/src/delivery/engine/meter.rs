//! How a sink is doing, in numbers that anybody may read at any time.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Why a record was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The spool was full or the record too old.
    Evicted,
    /// It could not be read back.
    Unreadable,
    /// It was left out because too much waited to be spooled.
    Refused,
    /// Its receiver refused it, and there was no room for the dead letter.
    Letter,
}

/// Counters of one sink.
#[derive(Debug, Default)]
pub struct Meter {
    queued: AtomicU64,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    rejected: AtomicU64,
    retried: AtomicU64,
    dropped: [AtomicU64; 4],
    bytes: AtomicU64,
    /// ns since the epoch; 0: nothing.
    oldest: AtomicI64,
    success: AtomicI64,
    failing: AtomicU64,
    held: AtomicU64,
    /// Refused since something was taken.
    refused_in_row: AtomicU64,
    /// What people have to know of at once.
    fault: Mutex<Option<String>>,
    /// They were told that it does not work.
    said: Arc<AtomicBool>,
}

/// How a sink is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkStats {
    /// Alerts accepted for it, after its filter.
    pub queued: u64,
    /// Alerts that the receiver took, repeats and heartbeats included.
    pub sent: u64,
    /// Alerts of the spool that were taken for good: acknowledged, or for transports without answers handed to the system.
    pub acknowledged: u64,
    /// Alerts that the receiver will never take: dead letters.
    pub rejected: u64,
    /// Attempts that failed and were, or will be, made again: so many alerts, so many times.
    pub retried: u64,
    /// Alerts evicted from the spool, full or too old.
    pub evicted: u64,
    /// Alerts that could not be read back.
    pub unreadable: u64,
    /// Alerts left out because too much waited to be spooled.
    pub refused: u64,
    /// Dead letters that there was no room for.
    pub letters: u64,
    /// Bytes of what it took, as they are before compression.
    pub bytes: u64,
    /// Alerts that wait.
    pub waiting: u64,
    /// When the oldest of them was accepted, ns since the epoch.
    pub oldest_unsent: Option<i64>,
    /// When the receiver last took something, ns since the epoch.
    pub last_success: Option<i64>,
    /// Whether it fails at the moment.
    pub failing: bool,
}

impl Meter {
    /// Whether people were told that it does not work: it outlives who told them.
    pub(crate) fn said(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.said)
    }

    pub(crate) fn queued(&self) {
        self.queued.fetch_add(1, Relaxed);
    }

    /// The receiver took something.
    pub fn sent(&self, alerts: u64, bytes: u64, now: i64) {
        self.sent.fetch_add(alerts, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        self.success.store(now, Relaxed);
        self.refused_in_row.store(0, Relaxed);
    }

    /// The receiver has so many more for good.
    pub fn acknowledged(&self, alerts: u64) {
        self.acknowledged.fetch_add(alerts, Relaxed);
    }

    /// The receiver will never take one.
    pub fn rejected(&self) {
        self.rejected.fetch_add(1, Relaxed);
        self.refused_in_row.fetch_add(1, Relaxed);
    }

    /// How many were refused since something was taken.
    pub(crate) fn refused_in_row(&self) -> u64 {
        self.refused_in_row.load(Relaxed)
    }

    /// Nothing can be sent, and people have to know why at once.
    pub fn fault(&self, why: &str) {
        self.failing(true);
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }

    pub(crate) fn take_fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// An attempt failed.
    pub fn retried(&self, alerts: u64) {
        self.retried.fetch_add(alerts, Relaxed);
    }

    /// So many are not delivered.
    pub fn dropped(&self, why: Dropped, alerts: u64) {
        self.dropped[why as usize].fetch_add(alerts, Relaxed);
    }

    /// When the oldest that waits was accepted; `None`: nothing waits.
    pub fn oldest(&self, accepted: Option<i64>) {
        self.oldest.store(accepted.unwrap_or(0), Relaxed);
    }

    /// Whether the receiver fails at the moment.
    pub fn failing(&self, failing: bool) {
        self.failing.store(failing.into(), Relaxed);
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Relaxed) != 0
    }

    /// So many were taken by a sink that keeps them itself, and not by its receiver yet.
    pub fn holding(&self, alerts: u64) {
        self.held.store(alerts, Relaxed);
    }

    /// The numbers now; what waits in the spool is known elsewhere.
    pub(crate) fn stats(&self, waiting: u64) -> SinkStats {
        let waiting = waiting.saturating_add(self.held.load(Relaxed));
        let time = |at: &AtomicI64| Some(at.load(Relaxed)).filter(|at| *at != 0);
        let dropped = |why: Dropped| self.dropped[why as usize].load(Relaxed);
        SinkStats {
            queued: self.queued.load(Relaxed),
            sent: self.sent.load(Relaxed),
            acknowledged: self.acknowledged.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            retried: self.retried.load(Relaxed),
            evicted: dropped(Dropped::Evicted),
            unreadable: dropped(Dropped::Unreadable),
            refused: dropped(Dropped::Refused),
            letters: dropped(Dropped::Letter),
            bytes: self.bytes.load(Relaxed),
            waiting,
            oldest_unsent: time(&self.oldest).filter(|_| waiting > 0),
            last_success: time(&self.success),
            failing: self.is_failing(),
        }
    }
}

impl fmt::Display for SinkStats {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "queued {}, sent {} ({} bytes), acknowledged {}, rejected {}, retried {}, waiting {}",
            self.queued, self.sent, self.bytes, self.acknowledged, self.rejected, self.retried, self.waiting
        )?;
        for (why, count) in self.dropped().into_iter().filter(|(_, count)| *count > 0) {
            write!(to, ", dropped {count} ({why})")?;
        }
        if self.failing {
            write!(to, "; it fails at the moment")?;
        }
        Ok(())
    }
}

impl SinkStats {
    /// Alerts that are not delivered and will not be, by reason.
    pub fn dropped(&self) -> [(&'static str, u64); 4] {
        [
            ("evicted", self.evicted),
            ("unreadable", self.unreadable),
            ("refused", self.refused),
            ("dead-letters", self.letters),
        ]
    }

    /// Alerts that it did not deliver.
    pub fn undelivered(&self) -> u64 {
        self.evicted + self.unreadable + self.refused + self.letters + self.waiting
    }
}
