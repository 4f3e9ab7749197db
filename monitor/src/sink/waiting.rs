//! An on-call sink whose key is not there yet: it takes nothing from the spool until it is.

use std::time::Duration;

use super::SinkError;
use super::held::shown;
use crate::config::SinkConfig;
use crate::delivery::{Consumer, Driver, Meter, caught};

/// The longest wait between two looks.
const LONGEST: Duration = Duration::from_secs(60);

/// Makes the sink.
pub(super) type Open = Box<dyn Fn(&SinkConfig) -> Result<Box<dyn Driver>, SinkError> + Send>;

/// A sink, or what it waits for.
pub(super) struct Waiting {
    config: SinkConfig,
    open: Open,
    inner: Option<Box<dyn Driver>>,
    /// Why there is none.
    why: String,
}

impl Waiting {
    /// Makes the sink, or waits until it can be made.
    ///
    /// # Errors
    /// It never can be as it is configured.
    pub(super) fn new(config: &SinkConfig, open: Open) -> Result<Self, SinkError> {
        let mut waiting = Self { config: config.clone(), open, inner: None, why: String::new() };
        match (waiting.open)(&waiting.config) {
            Ok(inner) => waiting.inner = Some(inner),
            Err(error) if error.may_pass() => waiting.why = error.what(),
            Err(error) => return Err(error),
        }
        Ok(waiting)
    }
}

impl Driver for Waiting {
    fn target(&self) -> String {
        self.inner.as_ref().map_or_else(|| shown(&self.config), |inner| inner.target())
    }

    fn run(&mut self, consumer: &mut dyn Consumer, meter: &Meter) {
        let mut wait = self.config.retry.0;
        while self.inner.is_none() {
            meter.fault(&self.why);
            consumer.pause(wait);
            if consumer.ending() {
                return;
            }
            wait = if consumer.reopen_asked() { self.config.retry.0 } else { (wait * 2).min(LONGEST) };
            let made = caught(|| (self.open)(&self.config));
            match made.and_then(|made| made.map_err(|error| error.what())) {
                Ok(inner) => {
                    self.inner = Some(inner);
                    meter.failing(false);
                }
                Err(why) => self.why = why,
            }
        }
        if let Some(inner) = &mut self.inner {
            inner.run(consumer, meter);
        }
    }
}
