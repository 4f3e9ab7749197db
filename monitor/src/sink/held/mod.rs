//! A log whose transport is not there at every moment: not yet, because a file or a key is missing, or not any more,
//! because of a fault of our own.
//!
//! The agent goes on without it and alerts wait: what is missing is looked for whenever the engine asks, on the sink's retry
//! schedule and on reload. A transport that panicked is thrown away and made anew.

use super::{SinkError, net::Endpoint};
use crate::config::{SinkConfig, SinkKind};
use crate::delivery::{Item, Limits, Outcome, Promise, Transport, caught};

/// Makes the transport.
pub(super) type Open = Box<dyn Fn(&SinkConfig) -> Result<Box<dyn Transport>, SinkError> + Send>;

/// A transport, or what it waits for.
pub(super) struct Held {
    config: SinkConfig,
    open: Open,
    inner: Option<Box<dyn Transport>>,
    /// Why there is none.
    why: String,
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
    pub(super) fn new(config: &SinkConfig, open: Open) -> Result<Self, SinkError> {
        let mut held =
            Self { config: config.clone(), open, inner: None, why: String::new(), fault: None, lost: false };
        match (held.open)(&held.config) {
            Ok(inner) => held.inner = Some(inner),
            Err(error) if error.may_pass() => held.why = error.what(),
            Err(error) => return Err(error),
        }
        Ok(held)
    }

    /// The transport, made if it is not there.
    fn ready(&mut self) -> Result<&mut dyn Transport, &str> {
        if self.inner.is_none() {
            let made = caught(|| (self.open)(&self.config));
            match made.and_then(|made| made.map_err(|error| error.what())) {
                Ok(inner) => self.inner = Some(inner),
                Err(why) => self.why = why,
            }
        }
        match &mut self.inner {
            Some(inner) => Ok(&mut **inner),
            None => Err(&self.why),
        }
    }

    /// Lets the transport do something; if it panics it is no more.
    fn guarded<T>(&mut self, run: impl FnOnce(&mut dyn Transport) -> T) -> Result<T, String> {
        let inner = self.ready()?;
        caught(|| run(inner)).inspect_err(|why| {
            self.inner = None;
            self.why.clone_from(why);
            self.fault = Some(why.clone());
            self.lost = true;
        })
    }
}

impl Transport for Held {
    fn promise(&self) -> Promise {
        match (&self.inner, self.config.kind) {
            (Some(inner), _) => inner.promise(),
            (None, SinkKind::Stdout | SinkKind::Syslog) => Promise::Unacknowledged,
            (None, _) => Promise::Acknowledged,
        }
    }

    fn limits(&self) -> Limits {
        let nothing = Limits { items: 1, bytes: 1 << 20, max_bytes: crate::alert::MAX_ALERT };
        self.inner.as_ref().map_or(nothing, |inner| inner.limits())
    }

    fn target(&self) -> String {
        self.inner.as_ref().map_or_else(|| shown(&self.config), |inner| inner.target())
    }

    fn prepare(&mut self) -> Result<(), String> {
        // Said once, so that people hear of it even if the next attempt goes well.
        match self.fault.take() {
            Some(fault) => Err(fault),
            None => self.ready().map(drop).map_err(str::to_owned),
        }
    }

    fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
        self.guarded(|inner| inner.send(batch))
            .unwrap_or_else(|reason| vec![Outcome::Retry { reason, after: None }])
    }

    fn commit(&mut self) -> Result<(), String> {
        if std::mem::take(&mut self.lost) {
            return Err(self.why.clone());
        }
        if self.inner.is_none() {
            return Ok(());
        }
        self.guarded(|inner| inner.commit()).and_then(|done| done)
    }

    fn shared(&self) -> bool {
        !matches!(self.config.kind, SinkKind::File | SinkKind::Stdout)
    }

    fn reopen(&mut self) -> Result<(), String> {
        if self.inner.is_none() {
            return self.ready().map(drop).map_err(str::to_owned);
        }
        self.guarded(|inner| inner.reopen()).and_then(|done| done)
    }
}

/// Where a sink would send to, without what may be secret.
pub(super) fn shown(config: &SinkConfig) -> String {
    let urls = config.url.iter().flat_map(|url| &url.0);
    let urls = urls.filter_map(|url| Endpoint::parse(url).ok()).map(|endpoint| endpoint.shown());
    let path = config.path.iter().map(|path| path.display().to_string());
    let all: Vec<String> =
        urls.chain(config.address.clone()).chain(config.brokers.clone()).chain(path).collect();
    if all.is_empty() { config.kind.name().to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests;
