//! Whether other sinks could work: looked at on a thread of its own, as their files and keys may lie where nobody answers.

use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::{NO_ROOM, Wanted, unkept};
use crate::config::SinkConfig;
use crate::delivery::caught;
use crate::delivery::engine::{Engine, named, sinks};
use crate::sink::Place;

const HANGS: &str = "a file that it names (its `path`, key or certificate) does not open: it is a pipe, or its file system hangs";

/// A look that is under way.
pub struct Look {
    found: Receiver<Result<(), String>>,
    /// Name of the sink that is looked at.
    at: Arc<Mutex<String>>,
    until: Instant,
}

impl Look {
    fn done(result: Result<(), String>) -> Self {
        let (found, receiver) = sync_channel(1);
        // It has room for one.
        let _ = found.send(result);
        Self { found: receiver, at: Arc::default(), until: Instant::now() }
    }

    /// What was found, in words why the sinks cannot be put in place; `None`: nothing yet. Never blocks.
    pub fn result(&self) -> Option<Result<(), String>> {
        match self.found.try_recv() {
            Ok(found) => Some(found),
            Err(TryRecvError::Empty) if Instant::now() < self.until => None,
            Err(TryRecvError::Empty) => {
                let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
                Some(Err(format!("sink {:?}: {HANGS}", *at)))
            }
            Err(TryRecvError::Disconnected) => {
                Some(Err("the thread that looked at them has ended".to_owned()))
            }
        }
    }
}

impl Engine {
    /// Looks whether these could be put in place of what there is: not if a sink can never work as it is configured, or alerts
    /// would be lost.
    pub fn look_at(&self, wanted: &Wanted) -> Look {
        if self.state_dir.is_none() || self.shared.folder.is_none() {
            return Look::done(Err("alerts that wait are in memory only, where an exchange of sinks would lose them: restart the agent".to_owned()));
        }
        if unkept(&self.shared) {
            return Look::done(Err(NO_ROOM.to_owned()));
        }
        // One that is there already can work.
        let known: Vec<&SinkConfig> = self.sinks.iter().map(|sink| &sink.config).collect();
        let new: Vec<SinkConfig> =
            named(&wanted.sinks).into_iter().filter(|config| !known.contains(&config)).collect();
        if new.is_empty() {
            return Look::done(Ok(()));
        }
        if Arc::strong_count(&self.looking) > 1 {
            let what = "a file of the sinks that were to come before these does not open yet: it is a pipe, or its file system hangs";
            return Look::done(Err(what.to_owned()));
        }
        let (looking, clock) = (Arc::clone(&self.looking), Arc::clone(&self.clock));
        let (found, receiver) = sync_channel(1);
        let at = Arc::<Mutex<String>>::default();
        let name = Arc::clone(&at);
        let started = crate::observe::start_thread("look", move || {
            // Without a folder: what a sink keeps there is still another's.
            let place = Place { state_dir: None, clock: &clock, goes_on: true };
            let result = caught(|| {
                new.iter().try_for_each(|config| {
                    name.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&config.name);
                    sinks(std::slice::from_ref(config), &place).map(drop).map_err(|error| error.to_string())
                })
            });
            drop(looking);
            // Nobody listens any more if it took too long.
            let _ = found.send(result.and_then(|result| result));
        });
        match started {
            Ok(_) => Look { found: receiver, at, until: Instant::now() + self.patience.look },
            Err(error) => {
                Look::done(Err(format!("the system gives no thread to look at the sinks: {error}")))
            }
        }
    }
}
