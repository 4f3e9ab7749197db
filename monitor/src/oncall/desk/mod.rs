//! One receiver's desk: a row per incident or condition, and what is to be done next.
//!
//! Pure: alerts, answers and the time go in, actions come out; the same sequence gives the same actions. What holds whatever
//! comes (`tests.rs` tries): revisions never go back at the receiver, nothing is opened after its row was closed, and every
//! incident that takes an identity pages once. `intake` has what comes in, `turn` what goes out.

mod cap;
mod gather;
mod intake;
mod losses;
mod row;
mod turn;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::brief::Urgency;
use super::pager::{Action, Keyer, Pager, Policy, SummaryKind};
use crate::alert::AlertKind;
use cap::{Bucket, Kinds};
use gather::Gathering;
use losses::Losses;
use row::{Lapse, Row, Told};

/// A condition of before the agent's start that is not said again within this time is over, ms.
const CARRIED: i64 = 15 * 60_000;

/// The time, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since some fixed moment.
    pub monotonic: Duration,
    /// Milliseconds since the epoch.
    pub wall: i64,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// These, in this order.
    Send(Vec<Action>),
    /// Nothing before this time has passed; `None`: before something new comes.
    Wait(Option<Duration>),
}

/// What became of an action. One that is to be tried again needs no answer: it comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The receiver has it.
    Accepted,
    /// The receiver will never take it as it is.
    Rejected,
}

/// One receiver's rows.
pub struct Desk {
    state: Saved,
    policy: Policy,
    keyer: Keyer,
    bucket: Bucket,
    /// When a summary of those left out was sent last.
    summarised: Option<Duration>,
    /// When one of losses was.
    told_of_losses: Option<Duration>,
    dirty: bool,
}

/// What of it outlives the agent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Saved {
    /// Made with it; part of the keys of summaries.
    id: String,
    /// The receiver it is about.
    receiver: String,
    rows: BTreeMap<String, Row>,
    /// Rows that are done: revision, and when.
    done: BTreeMap<String, (u64, i64)>,
    kinds: Kinds,
    missed: Gathering,
    more: Gathering,
    #[serde(default)]
    lost: Losses,
}

impl Desk {
    /// An empty desk. `id` is part of the keys of its summaries and must not be another's.
    pub fn new(id: String, receiver: String, policy: Policy, keyer: Keyer) -> Self {
        Self::of(Saved { id, receiver, ..Saved::default() }, policy, keyer)
    }

    /// An empty desk for a receiver.
    pub fn for_pager(pager: &dyn Pager) -> Self {
        Self::new(uuid::Uuid::new_v4().to_string(), pager.receiver(), pager.policy(), pager.keyer())
    }

    /// The desk as it was. If it is of another receiver, nothing of what is open was told to this one. Unless the agent goes on
    /// (`goes_on`), what it finds again it will say again, and the rest is over.
    pub(super) fn restored(
        mut state: Saved,
        receiver: String,
        policy: Policy,
        keyer: Keyer,
        now: Now,
        goes_on: bool,
    ) -> Self {
        for row in state.rows.values_mut() {
            if goes_on {
                row.lapse = intake::passes(&row.brief, now);
            } else if row.brief.kind != AlertKind::Incident {
                let at = now.wall.saturating_add(CARRIED);
                row.lapse =
                    Some(Lapse { at, why: "the agent was started again and did not find it any more" });
            }
        }
        let mut desk = Self::of(state, policy, keyer);
        desk.reopened(receiver);
        desk
    }

    fn of(state: Saved, policy: Policy, keyer: Keyer) -> Self {
        let (bucket, summarised, told_of_losses) = (Bucket::default(), None, None);
        Self { state, policy, keyer, bucket, summarised, told_of_losses, dirty: true }
    }

    pub(super) fn state(&self) -> &Saved {
        &self.state
    }

    /// Whether it changed since it was last asked.
    pub(super) fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    pub(super) fn mark_dirty(&mut self) {
        self.dirty = true;
    }

    /// How many rows the receiver has not acknowledged as they stand, and since when (ms since the epoch) the oldest waits.
    pub fn waiting(&self) -> (u64, Option<i64>) {
        let behind = |row: &Row| {
            row.told.is_none_or(|told| told.revision < row.revision && told.gist != row.brief.gist())
        };
        let ends = |row: &Row| row.closed && !row.sent.is_empty();
        let untold = |row: &&Row| row.is_unpaged() || ends(row) || behind(row) && !row.folded && !row.left;
        let untold = |row: &&Row| untold(row) && row.refused != Some(row.revision);
        let waiting = || self.state.rows.values().filter(untold).map(|row| row.since);
        (waiting().count() as u64, waiting().min())
    }

    /// What became of an action.
    pub fn answered(&mut self, action: &Action, answer: Answer, now: Now) {
        self.dirty = true;
        let accepted = answer == Answer::Accepted;
        match action {
            Action::Open { id, key, revision, brief, .. } => {
                let Some(row) = self.state.rows.get_mut(id) else { return };
                if !accepted {
                    row.refused = Some(*revision);
                    return;
                }
                row.open.insert(key.clone());
                row.paged |= brief.urgency() == Urgency::Page;
                row.told = Some(Told { revision: *revision, gist: brief.gist(), at: now.wall });
            }
            // One that the receiver will not resolve is resolved there already, or will never be.
            Action::Resolve { id, key, .. } => {
                if let Some(row) = self.state.rows.get_mut(id) {
                    row.open.remove(key);
                    row.sent.remove(key);
                }
            }
            Action::Summary(summary) => match summary.kind {
                SummaryKind::Missed => self.state.missed.done(summary),
                SummaryKind::More => {
                    self.summarised = Some(now.monotonic);
                    self.state.more.done(summary);
                }
                SummaryKind::Lost => {
                    self.told_of_losses = Some(now.monotonic);
                    self.state.lost.done(summary);
                }
            },
        }
    }
}
