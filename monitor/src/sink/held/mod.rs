//! A log whose transport is not there at every moment: not yet, because a file or a key is missing, or not any more,
//! because of a fault of our own.
//!
//! The agent goes on without it and alerts wait: what is missing is looked for whenever the engine asks, on the sink's retry
//! schedule and on reload. A transport that panicked is thrown away and made anew.

use super::SinkError;
use super::late::{Late, Open};
use crate::config::{SinkConfig, SinkKind};
use crate::delivery::{Item, Limits, Outcome, Promise, Transport, caught};

/// A transport, or what it waits for.
pub(super) struct Held {
    late: Late<dyn Transport>,
    /// A fault that nobody was told of yet.
    fault: Option<String>,
    /// What was accepted since the last commit may be gone with the transport.
    lost: bool,
}

impl Held {
    /// Makes the transport, or waits until it can be made.
    ///
    /// # Errors
    /// It never can be as it is configured.
    pub(super) fn new(config: &SinkConfig, open: Open<dyn Transport>) -> Result<Self, SinkError> {
        Ok(Self { late: Late::new(config, open)?, fault: None, lost: false })
    }

    /// Lets the transport do something; if it panics it is no more.
    fn guarded<T>(&mut self, run: impl FnOnce(&mut dyn Transport) -> T) -> Result<T, String> {
        let inner = self.late.ready()?;
        caught(|| run(inner)).inspect_err(|why| {
            self.late.lose(why);
            self.fault = Some(why.clone());
            self.lost = true;
        })
    }
}

impl Transport for Held {
    fn promise(&self) -> Promise {
        match (&self.late.inner, self.late.config.kind) {
            (Some(inner), _) => inner.promise(),
            (None, SinkKind::Stdout | SinkKind::Syslog) => Promise::Unacknowledged,
            (None, _) => Promise::Acknowledged,
        }
    }

    fn limits(&self) -> Limits {
        let nothing = Limits { items: 1, bytes: 1 << 20, max_bytes: crate::alert::MAX_ALERT };
        self.late.inner.as_ref().map_or(nothing, |inner| inner.limits())
    }

    fn sent_bytes(&self, item: &Item) -> usize {
        self.late.inner.as_ref().map_or(item.text.len(), |inner| inner.sent_bytes(item))
    }

    fn target(&self) -> String {
        self.late.target(Transport::target)
    }

    fn prepare(&mut self) -> Result<(), String> {
        // Said once, so that people hear of it even if the next attempt goes well.
        match self.fault.take() {
            Some(fault) => Err(fault),
            None => self.late.ready().map(drop).map_err(str::to_owned),
        }
    }

    fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
        self.guarded(|inner| inner.send(batch))
            .unwrap_or_else(|reason| vec![Outcome::Retry { reason, after: None }])
    }

    fn commit(&mut self) -> Result<(), String> {
        if std::mem::take(&mut self.lost) {
            return Err(self.late.why().to_owned());
        }
        if self.late.inner.is_none() {
            return Ok(());
        }
        self.guarded(|inner| inner.commit()).and_then(|done| done)
    }

    fn shared(&self) -> bool {
        !matches!(self.late.config.kind, SinkKind::File | SinkKind::Stdout)
    }

    fn reopen(&mut self) -> Result<(), String> {
        if self.late.inner.is_none() {
            return self.late.ready().map(drop).map_err(str::to_owned);
        }
        self.guarded(|inner| inner.reopen()).and_then(|done| done)
    }
}

#[cfg(test)]
mod tests;
