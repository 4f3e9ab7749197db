//! One incident or condition on a desk: what is known of it, what the receiver was told, and what follows.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::brief::{Brief, Gist, Urgency};
use super::super::pager::{Change, Policy, Why};

/// A row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    /// Newest revision taken.
    pub(super) revision: u64,
    /// What it says.
    pub(super) brief: Brief,
    /// Key that it has, or is to have, at the receiver.
    pub(super) key: String,
    /// Over: nothing comes after that.
    pub(super) closed: bool,
    /// Keys that the receiver said it has open.
    pub(super) open: BTreeSet<String>,
    /// Keys that were sent and are not resolved, those too whose answer was lost: each may be open.
    pub(super) sent: BTreeSet<String>,
    /// What the receiver acknowledged last.
    pub(super) told: Option<Told>,
    /// Somebody was woken for it.
    pub(super) paged: bool,
    /// It was told in a summary of those that the receiver does not take one by one.
    pub(super) folded: bool,
    /// There are too many to follow it: only its end is told, and what is to wake somebody.
    #[serde(default)]
    pub(super) left: bool,
    /// No other of this finding and worker came lately.
    pub(super) first_of_kind: bool,
    /// When it came, ms since the epoch.
    pub(super) since: i64,
    /// Its opening was counted against the cap.
    #[serde(skip)]
    pub(super) granted: bool,
    /// The receiver will not take this revision.
    #[serde(skip)]
    pub(super) refused: Option<u64>,
    /// It is over by itself unless it is said again.
    #[serde(skip)]
    pub(super) lapse: Option<Lapse>,
}

/// When something is over by itself, and what is then said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lapse {
    /// ms since the epoch.
    pub(super) at: i64,
    pub(super) why: &'static str,
}

/// What the receiver acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) revision: u64,
    pub(super) gist: Gist,
    /// When, ms since the epoch.
    pub(super) at: i64,
}

/// What is to be done about a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Nothing, or not before this time has passed.
    Nothing(Option<Duration>),
    /// Its key is to be opened, or told again.
    Open(Change),
    /// This key is to be resolved.
    Resolve(String, Why),
    /// It came and went untold: it belongs into a summary.
    Missed,
    /// All is done.
    Done,
}

impl Row {
    /// Whether it is to wake somebody and has not yet.
    pub(super) fn is_unpaged(&self) -> bool {
        self.brief.urgency() == Urgency::Page && !self.paged
    }

    /// What is to be done about it at this time (ms since the epoch). What is only sent again is so by `early` before its time.
    pub(super) fn want(&self, policy: &Policy, now: i64, early: Duration) -> Want {
        let refused = self.refused == Some(self.revision);
        let known = self.told.is_some() || self.sent.iter().any(|key| *key != self.key);
        let fresh = if known { Change::Raised } else { Change::New };
        // Also when it is closed by now: what takes an identity is never told in a summary alone.
        if self.is_unpaged() && !refused {
            return Want::Open(fresh);
        }
        if self.closed {
            return match self.sent.first() {
                Some(key) => Want::Resolve(key.clone(), Why::Closed),
                None if self.told.is_none() && !self.folded && !self.left && !refused => Want::Missed,
                None => Want::Done,
            };
        }
        if !self.open.contains(&self.key) {
            let untold = refused || self.left || self.folded && self.brief.urgency() == Urgency::Ticket;
            return if untold { Want::Nothing(None) } else { Want::Open(fresh) };
        }
        if let Some(stale) = self.sent.iter().find(|key| **key != self.key) {
            return Want::Resolve(stale.clone(), Why::Raised);
        }
        if self.left {
            return Want::Nothing(None);
        }
        self.again(policy, now, early, refused)
    }

    /// Whether what is open is told again.
    fn again(&self, policy: &Policy, now: i64, early: Duration, refused: bool) -> Want {
        let Some(told) = &self.told else { return Want::Open(Change::New) };
        let gist = self.brief.gist();
        if refused {
            return Want::Nothing(None);
        }
        let changed = (told.revision < self.revision && told.gist != gist).then_some(policy.update);
        let refresh = policy.refresh.map(|refresh| refresh.saturating_sub(early));
        let due = changed.into_iter().chain(refresh).map(|after| left(told.at, after, now)).min();
        match due {
            Some(Duration::ZERO) if changed.is_none() => Want::Open(Change::Refresh),
            Some(Duration::ZERO) if told.gist.is_milder_than(gist) => Want::Open(Change::Raised),
            Some(Duration::ZERO) => Want::Open(Change::More),
            later => Want::Nothing(later),
        }
    }
}

/// How long from `now` until `after` has passed since `at`. A clock that was set back does not make it wait longer.
fn left(at: i64, after: Duration, now: i64) -> Duration {
    let Ok(passed) = u64::try_from(now.saturating_sub(at)) else { return Duration::ZERO };
    after.saturating_sub(Duration::from_millis(passed))
}
