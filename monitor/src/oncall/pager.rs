//! What a desk wants done, and who does it.

use std::time::Duration;

use jiff::Timestamp;

use super::brief::Brief;
use crate::delivery::Outcome;

/// A receiver's side of a desk: turns actions into requests. Lives on a thread of its own and may block, bounded by its
/// own timeouts.
pub trait Pager: Send {
    /// How it wants to be told.
    fn policy(&self) -> Policy;

    /// How it calls things: what is open at the receiver is known by the key.
    fn keyer(&self) -> Keyer;

    /// Where it sends to, without secrets.
    fn target(&self) -> String;

    /// What it is, so that what one receiver was told is not taken for known by the next: the target, and a fingerprint of the
    /// key if the key decides who is told.
    fn receiver(&self) -> String {
        self.target()
    }

    /// Does what is asked; one outcome for each action, in the same order. A missing outcome counts as `Retry`.
    fn send(&mut self, actions: &[Action], now: Timestamp) -> Vec<Outcome>;

    /// How many bytes the receiver was handed and has answered since the last call.
    fn take_bytes(&mut self) -> u64;

    /// Reads secrets and certificates again.
    ///
    /// # Errors
    /// Why that failed. It goes on with what it had.
    fn reopen(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// The key of an incident or condition at the receiver, from its id and its brief. It may change when tier or severity do;
/// then the new key is opened and the old one is resolved.
pub type Keyer = Box<dyn Fn(&str, &Brief) -> String + Send + Sync>;

/// How a receiver wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Most actions at once.
    pub batch: usize,
    /// How often what is open is sent again although nothing changed.
    pub refresh: Option<Duration>,
    /// How long at least between two updates of one row.
    pub update: Duration,
    /// How many openings it takes; the rest is summarised.
    pub cap: Option<Cap>,
}

/// A bucket of openings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// So many at once.
    pub burst: u32,
    /// And one more each such time.
    pub every: Duration,
    /// How long at least between two summaries of those left out.
    pub summary: Duration,
}

/// One thing to be done at the receiver.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Open this key, or say how it stands now.
    Open {
        /// Id of the incident or condition.
        id: String,
        /// Key at the receiver.
        key: String,
        /// Revision of what is told.
        revision: u64,
        /// What is told.
        brief: Box<Brief>,
        /// Why now.
        change: Change,
    },
    /// Resolve this key.
    Resolve {
        /// Id of the incident or condition.
        id: String,
        /// Key at the receiver.
        key: String,
        /// How it stands.
        brief: Box<Brief>,
        /// Why.
        why: Why,
    },
    /// Several at once, in short.
    Summary(Summary),
}

/// Several at once, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Key at the receiver.
    pub key: String,
    /// Why they are told together.
    pub kind: SummaryKind,
    /// One line each, as far as there is room.
    pub lines: Vec<String>,
    /// How many have no line.
    pub unnamed: u64,
    /// How many alerts it is about, as far as that is known.
    pub count: u64,
    /// How many losses it is about of which nobody knows how many alerts they were.
    pub uncounted: u64,
    /// Node that tells it.
    pub node: String,
    /// Its cluster.
    pub cluster: Option<String>,
}

/// Why a key is opened or told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The receiver does not know it yet.
    New,
    /// It has become worse than what the receiver knows.
    Raised,
    /// There is more of it.
    More,
    /// Nothing; it is still open.
    Refresh,
}

/// Why a key is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The incident or condition is closed.
    Closed,
    /// Another key of the same incident took its place.
    Raised,
}

/// Why several are told together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SummaryKind {
    /// They opened and closed while the receiver could not be reached.
    Missed,
    /// More came than the receiver takes.
    More,
    /// They were dropped, or may have been, before the desk had read them.
    Lost,
}

impl SummaryKind {
    /// Its name in keys.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::More => "more",
            Self::Lost => "lost",
        }
    }
}
