//! An on-call sink whose key is not there yet: it takes nothing from the spool until it is.

use std::time::Duration;

use super::SinkError;
use super::late::{Late, Open};
use crate::config::SinkConfig;
use crate::delivery::{Consumer, Driver, Meter};

/// The longest wait between two looks.
const LONGEST: Duration = Duration::from_secs(60);

/// A sink, or what it waits for.
pub(super) struct Waiting(Late<dyn Driver>);

impl Waiting {
    /// Makes the sink, or waits until it can be made.
    ///
    /// # Errors
    /// It never can be as it is configured.
    pub(super) fn new(config: &SinkConfig, open: Open<dyn Driver>) -> Result<Self, SinkError> {
        Late::new(config, open).map(Self)
    }
}

impl Driver for Waiting {
    fn target(&self) -> String {
        self.0.target(Driver::target)
    }

    fn run(&mut self, consumer: &mut dyn Consumer, meter: &Meter) {
        let retry = self.0.config.retry.0;
        let mut wait = retry;
        while self.0.inner.is_none() {
            meter.fault(self.0.why());
            consumer.pause(wait);
            if consumer.ending() {
                return;
            }
            wait = if consumer.reopen_asked() { retry } else { (wait * 2).min(LONGEST) };
            if self.0.ready().is_ok() {
                meter.failing(false);
            }
        }
        if let Some(inner) = &mut self.0.inner {
            inner.run(consumer, meter);
        }
    }
}
