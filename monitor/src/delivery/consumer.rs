//! What a sink with a state of its own sees of the spool.

use std::time::Duration;

use super::Record;

/// A record, as read back.
#[derive(Clone, Debug)]
pub enum Stored {
    /// An alert.
    Alert(Box<Record>),
    /// A gap alert: records of this sink do not come, or may not, that it had not read. It says why, and how many if that is
    /// known.
    Lost(Box<Record>),
}

/// One sink's view: what it has not dealt with yet, class `high` first.
pub trait Consumer: Send {
    /// The next record that the sink's filter takes; waits for one at most `most`. `None`: nothing came, or the agent is
    /// ending ([`ending`](Consumer::ending)).
    fn next(&mut self, most: Duration) -> Option<Stored>;

    /// Waits at most so long, and takes nothing meanwhile. Ends early when files are to be opened again, or the agent ends.
    fn pause(&mut self, most: Duration);

    /// Everything handed out so far is kept elsewhere: it is not handed out again after a restart.
    fn commit(&mut self);

    /// How many records wait for this sink.
    fn waiting(&self) -> u64;

    /// Whether secrets are to be read and files opened again (SIGHUP); says so once.
    fn reopen_asked(&mut self) -> bool;

    /// Set once the agent is ending: until when what is at hand may be finished, on the clock that never goes back. A time that
    /// has passed: now.
    fn end_by(&self) -> Option<Duration>;

    /// Whether the agent is ending: finish what is at hand and return.
    fn ending(&self) -> bool {
        self.end_by().is_some()
    }
}
