//! A sink that can be made only when what it needs is there: a file, a folder, a key, a certificate.
//!
//! What never can be made as it is configured is told at once. What may come is looked for again whenever somebody asks.

use super::{SinkError, net::Endpoint};
use crate::config::SinkConfig;
use crate::delivery::caught;

/// Makes it.
pub(super) type Open<T> = Box<dyn Fn(&SinkConfig) -> Result<Box<T>, SinkError> + Send>;

/// A sink, or what it waits for.
pub(super) struct Late<T: ?Sized> {
    pub(super) config: SinkConfig,
    open: Open<T>,
    pub(super) inner: Option<Box<T>>,
    /// Why there is none.
    why: String,
}

impl<T: ?Sized> Late<T> {
    /// Makes it, or waits until it can be made.
    ///
    /// # Errors
    /// It never can be as it is configured.
    pub(super) fn new(config: &SinkConfig, open: Open<T>) -> Result<Self, SinkError> {
        let mut late = Self { config: config.clone(), open, inner: None, why: String::new() };
        match (late.open)(&late.config) {
            Ok(inner) => late.inner = Some(inner),
            Err(error) if error.may_pass() => late.why = error.what(),
            Err(error) => return Err(error),
        }
        Ok(late)
    }

    /// The sink, made if it is not there.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn ready(&mut self) -> Result<&mut T, &str> {
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

    /// It is no more, and made anew when it is asked for.
    pub(super) fn lose(&mut self, why: &str) {
        self.inner = None;
        why.clone_into(&mut self.why);
    }

    /// Why there is none.
    pub(super) fn why(&self) -> &str {
        &self.why
    }

    /// Where it sends to, or would, without what may be secret.
    pub(super) fn target(&self, of: impl FnOnce(&T) -> String) -> String {
        self.inner.as_deref().map_or_else(|| shown(&self.config), of)
    }
}

/// Where a sink would send to, without what may be secret.
fn shown(config: &SinkConfig) -> String {
    let urls = config.url.iter().flat_map(|url| &url.0);
    let urls = urls.filter_map(|url| Endpoint::parse(url).ok()).map(|endpoint| endpoint.shown());
    let path = config.path.iter().map(|path| path.display().to_string());
    let all: Vec<String> =
        urls.chain(config.address.clone()).chain(config.brokers.clone()).chain(path).collect();
    if all.is_empty() { config.kind.name().to_owned() } else { all.join(", ") }
}
