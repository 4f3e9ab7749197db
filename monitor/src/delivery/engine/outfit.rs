//! What a sink's thread works with, made as often as it is needed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::dead::DeadLetters;
use super::feed::Feed;
use super::form::Form;
use super::meter::Meter;
use super::notes::Notes;
use super::pace::{Dice, Pace};
use super::watch::Watch;
use super::worker::{Parts, Worker};
use crate::config::SinkConfig;
use crate::delivery::spool::Shared;
use crate::delivery::{Clock, Transport};
use crate::sink::{self, Place, Plug};

/// What one sink is made of.
pub(crate) struct Outfit {
    /// Its place in the configuration.
    pub(crate) sink: usize,
    pub(crate) config: SinkConfig,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) dead: Arc<DeadLetters>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Outfit {
    /// The sink itself, once more.
    pub(crate) fn plug(&self) -> Result<Plug, String> {
        let place = Place { state_dir: self.state_dir.as_deref(), clock: &self.clock, goes_on: true };
        sink::plug(&self.config, &place).map_err(|error| error.what())
    }

    /// Who drives a log.
    pub(crate) fn worker(&self, transport: Box<dyn Transport>, dice: Dice) -> Worker {
        let streams = self.shared.streams(self.sink, 0).unwrap_or_default();
        Worker::new(Parts {
            name: self.config.name.clone(),
            sink: self.sink,
            shared: Arc::clone(&self.shared),
            form: Form::new(&self.config, streams, sink::terminal_width(&self.config)),
            transport,
            pace: Pace::new(self.config.retry.0, dice),
            meter: Arc::clone(&self.meter),
            dead: Arc::clone(&self.dead),
            notes: Arc::clone(&self.notes),
            clock: Arc::clone(&self.clock),
        })
    }

    /// What a sink with a state of its own reads.
    pub(crate) fn feed(&self, target: String) -> Feed {
        Feed::new(
            Arc::clone(&self.shared),
            self.sink,
            Arc::clone(&self.meter),
            Arc::clone(&self.notes),
            Arc::clone(&self.clock),
            Watch::new(self.config.name.clone(), self.meter.said()),
            target,
        )
    }

    /// Waits. `false`: the agent is ending.
    pub(crate) fn rest(&self, most: Duration) -> bool {
        let until = self.clock.monotonic().saturating_add(most);
        loop {
            let reopen = {
                let mut index = self.shared.lock();
                if index.ending.is_some() {
                    return false;
                }
                // Everything is opened anew in any case.
                index
                    .sinks
                    .get_mut(self.sink)
                    .is_some_and(|state| std::mem::replace(&mut state.reopened, state.reopen) != state.reopen)
            };
            let left = until.saturating_sub(self.clock.monotonic());
            if left.is_zero() || reopen {
                return true;
            }
            self.shared.wait(self.sink, left);
        }
    }
}
