//! What an engine is made of.

use std::path::Path;
use std::time::Duration;

use crate::config::{Config, SinkConfig, SpoolConfig};
use crate::delivery::spool::Limits;
use crate::detect::Envelope;

/// What an engine is made of.
pub struct Setup<'a> {
    /// Where alerts go.
    pub sinks: &'a [SinkConfig],
    /// Where the spool and dead letters are kept; in memory if nowhere.
    pub state_dir: Option<&'a Path>,
    /// How much the spool may take.
    pub spool: &'a SpoolConfig,
    /// How long the end may take.
    pub drain: Duration,
    /// What alerts of delivery itself carry.
    pub envelope: Envelope,
}

impl<'a> Setup<'a> {
    /// As configured.
    pub fn of(config: &'a Config, envelope: Envelope) -> Self {
        Self {
            sinks: &config.sinks,
            state_dir: Some(&config.state_dir),
            spool: &config.spool,
            drain: config.drain.0,
            envelope,
        }
    }

    /// The same without anything on disk.
    #[must_use]
    pub fn in_memory(self) -> Self {
        Self { state_dir: None, ..self }
    }

    /// How much the spool may hold; `buffer`: alerts that the sinks may have in memory.
    pub(super) fn limits(&self, buffer: u64) -> Limits {
        let shares = Limits::share(self.spool.max_bytes.0);
        let own = [self.spool.high, self.spool.normal, self.spool.low];
        let class = [0, 1, 2].map(|order| own[order].map_or(shares[order], |bytes| bytes.0));
        Limits {
            class,
            max_age: self.spool.max_age.0,
            memory: usize::try_from(self.spool.memory.0).unwrap_or(usize::MAX),
            records: buffer,
        }
    }
}
