//! One receiver's desk: a row per incident or condition, and what is to be done next.
//!
//! Pure: alerts, answers and the time go in, actions come out; the same sequence gives the same actions. What holds whatever
//! comes (`tests.rs` tries): revisions never go back at the receiver, nothing is opened after its row was closed, and every
//! incident that takes an identity pages once.

mod cap;
mod gather;
mod row;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::brief::{Brief, Urgency};
use super::pager::{Action, Change, Keyer, Pager, Policy, SummaryKind};
use crate::alert::{Alert, AlertKind, SafeAlert, Severity, State};
use cap::{Bucket, Kinds};
use gather::Gathering;
use row::{Row, Told, Want};

/// Most rows.
const ROWS: usize = 1024;
/// Most ids remembered of rows that are done, and for how long (ms): what comes of them again is old.
const DONE: usize = 2048;
const DONE_KEEP: i64 = 7 * 24 * 3_600_000;
/// A condition of before the agent's start that is not said again within this time is over, ms.
const CARRIED: i64 = 15 * 60_000;
/// A gap that is not said again within this time is over, ms: some are one moment, and nobody says that it has passed.
const GAP: i64 = 3_600_000;

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

    /// The desk as it was. If it is of another receiver, nothing of what is open was told to this one.
    pub(super) fn restored(
        mut state: Saved,
        receiver: String,
        policy: Policy,
        keyer: Keyer,
        now: Now,
    ) -> Self {
        for row in state.rows.values_mut() {
            if row.brief.kind != AlertKind::Incident {
                row.carried = Some(now.wall.saturating_add(CARRIED));
            }
        }
        let mut desk = Self::of(state, policy, keyer);
        desk.reopened(receiver);
        desk
    }

    fn of(state: Saved, policy: Policy, keyer: Keyer) -> Self {
        Self { state, policy, keyer, bucket: Bucket::default(), summarised: None, dirty: true }
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
        let untold = |row: &&Row| row.is_unpaged() || ends(row) || behind(row) && !row.folded;
        let untold = |row: &&Row| untold(row) && row.refused != Some(row.revision);
        let waiting = || self.state.rows.values().filter(untold).map(|row| row.since);
        (waiting().count() as u64, waiting().min())
    }

    /// Takes an alert in. `accepted`: when the spool took it, which orders alerts that carry no revision.
    pub fn take(&mut self, alert: &SafeAlert, accepted: i64, now: Now) {
        let Some((id, revision)) = identify(alert, accepted) else { return };
        if let Some((last, _)) = self.state.done.get(&id) {
            // An incident that was closed is over; a condition may come back.
            let back = alert.kind != AlertKind::Incident && revision > *last && alert.state != State::Closed;
            if !back {
                return;
            }
            self.state.done.remove(&id);
        }
        let brief = Brief::of(alert, &id);
        self.dirty = true;
        let Some(row) = self.state.rows.get_mut(&id) else { return self.add(id, revision, brief, now) };
        if revision <= row.revision || row.closed {
            return;
        }
        if (brief.tier, brief.severity) != (row.brief.tier, row.brief.severity) {
            row.key = (self.keyer)(&id, &brief);
        }
        row.revision = revision;
        row.closed = brief.state == State::Closed;
        row.carried = passes(&brief, now);
        row.brief = brief;
    }

    fn add(&mut self, id: String, revision: u64, brief: Brief, now: Now) {
        let closed = brief.state == State::Closed;
        if closed && brief.kind != AlertKind::Incident {
            // The end of what was never begun here.
            return;
        }
        if self.state.rows.len() >= ROWS {
            self.make_room();
        }
        let row = Row {
            revision,
            key: (self.keyer)(&id, &brief),
            closed,
            open: Default::default(),
            sent: Default::default(),
            told: None,
            paged: false,
            folded: false,
            first_of_kind: self.state.kinds.note(&brief, now.wall),
            since: now.wall,
            granted: false,
            refused: None,
            carried: passes(&brief, now),
            brief,
        };
        self.state.rows.insert(id, row);
    }

    /// The row that is missed least goes; it is named in a summary, and stays as it is at the receiver.
    fn make_room(&mut self) {
        let least =
            |row: &Row| (row.is_unpaged(), row.brief.urgency(), row.brief.state != State::Ended, row.since);
        let Some(id) = self.state.rows.iter().min_by_key(|(_, row)| least(row)).map(|(id, _)| id.clone())
        else {
            return;
        };
        if let Some(row) = self.state.rows.remove(&id) {
            // Once a summary: it names the rest.
            if self.state.more.is_empty() {
                tracing::warn!(
                    incident = id,
                    "too many incidents are open: this one is not followed any more"
                );
            }
            self.state.more.add(&row.brief);
        }
    }

    /// Records were evicted from the spool before this desk had read them.
    pub fn evicted(&mut self, count: u64) {
        self.dirty = true;
        let line =
            format!("{count} alerts were dropped unread: the spool was full. They may be in a log sink.");
        self.state.missed.note(count, line);
    }

    /// Secrets or the receiver's settings may have changed: what it refused is tried again. Another receiver knows nothing of
    /// what is open.
    pub fn reopened(&mut self, receiver: String) {
        let moved = self.state.receiver != receiver;
        for (id, row) in &mut self.state.rows {
            row.refused = None;
            if moved {
                row.open.clear();
                row.sent.clear();
                (row.told, row.paged, row.folded) = (None, false, false);
                row.key = (self.keyer)(id, &row.brief);
            }
        }
        self.state.receiver = receiver;
        self.dirty |= moved;
    }

    /// What is to be done now: pages before tickets, the oldest first, at most one action a row. To be written down before it
    /// is done, so that after a restart nothing is opened that was resolved.
    pub fn next(&mut self, now: Now) -> Next {
        self.expire(now);
        let mut order: Vec<(bool, i64, String)> = self
            .state
            .rows
            .iter()
            .map(|(id, row)| (row.brief.urgency() != Urgency::Page, row.since, id.clone()))
            .collect();
        order.sort_unstable();
        // What is due soon goes along with what is due.
        let together = self.policy.refresh.map_or(Duration::ZERO, |refresh| refresh / 4);
        let mut actions = Vec::new();
        let mut wait = Wait::default();
        for (.., id) in order {
            if actions.len() >= self.policy.batch {
                break;
            }
            let early = if actions.is_empty() { Duration::ZERO } else { together };
            actions.extend(self.of_row(&id, now, early, &mut wait));
        }
        if actions.is_empty() {
            actions.extend(self.summary(now, &mut wait));
        }
        if actions.is_empty() { Next::Wait(wait.0) } else { Next::Send(actions) }
    }

    fn of_row(&mut self, id: &str, now: Now, early: Duration, wait: &mut Wait) -> Option<Action> {
        let row = self.state.rows.get_mut(id)?;
        let id = id.to_owned();
        match row.want(&self.policy, now.wall, early) {
            Want::Nothing(later) => {
                wait.note(later);
                wait.note(row.carried.map(|until| until_ms(until, now)));
                None
            }
            Want::Open(change) => {
                if change == Change::New && !row.granted {
                    match grant(row, &mut self.bucket, &self.policy, now) {
                        Ok(()) => row.granted = true,
                        Err(later) => {
                            if !row.folded {
                                row.folded = true;
                                self.dirty = true;
                                self.state.more.add(&row.brief);
                            }
                            wait.note((row.brief.urgency() == Urgency::Page).then_some(later));
                            return None;
                        }
                    }
                }
                let (key, revision, brief) = (row.key.clone(), row.revision, Box::new(row.brief.clone()));
                // Known before it is sent: if the answer is lost, it is resolved all the same.
                self.dirty |= row.sent.insert(key.clone());
                Some(Action::Open { id, key, revision, brief, change })
            }
            Want::Resolve(key, why) => {
                Some(Action::Resolve { id, key, brief: Box::new(row.brief.clone()), why })
            }
            want @ (Want::Missed | Want::Done) => {
                if let Some(row) = self.state.rows.remove(&id) {
                    if want == Want::Missed {
                        self.state.missed.add(&row.brief);
                    }
                    self.remember_done(id, row.revision, now);
                }
                None
            }
        }
    }

    fn remember_done(&mut self, id: String, revision: u64, now: Now) {
        self.dirty = true;
        self.state.done.insert(id, (revision, now.wall));
        if self.state.done.len() > DONE
            && let Some(oldest) =
                self.state.done.iter().min_by_key(|(_, (_, at))| *at).map(|(id, _)| id.clone())
        {
            self.state.done.remove(&oldest);
        }
    }

    fn summary(&mut self, now: Now, wait: &mut Wait) -> Option<Action> {
        if !self.state.missed.is_empty() {
            return Some(self.state.missed.action(&self.state.id, SummaryKind::Missed));
        }
        if self.state.more.is_empty() {
            return None;
        }
        let every = self.policy.cap.map_or(Duration::ZERO, |cap| cap.summary);
        let since = self.summarised.map(|at| now.monotonic.saturating_sub(at));
        match since.map(|since| every.saturating_sub(since)).filter(|left| !left.is_zero()) {
            Some(left) => {
                wait.note(Some(left));
                None
            }
            None => Some(self.state.more.action(&self.state.id, SummaryKind::More)),
        }
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
            Action::Summary { kind, count, lines, .. } => {
                let gathering = match kind {
                    SummaryKind::Missed => &mut self.state.missed,
                    SummaryKind::More => {
                        self.summarised = Some(now.monotonic);
                        &mut self.state.more
                    }
                };
                gathering.done(*count, lines.len());
            }
        }
    }

    fn expire(&mut self, now: Now) {
        for row in self.state.rows.values_mut() {
            if row.carried.is_some_and(|until| now.wall >= until) {
                row.carried = None;
                row.closed = true;
                row.brief.state = State::Closed;
                row.brief.closing =
                    Some("the agent was started again and did not find it any more".to_owned());
                self.dirty = true;
            }
        }
        let old = |at: i64| now.wall.saturating_sub(at) > DONE_KEEP;
        self.state.done.retain(|_, (_, at)| !old(*at));
    }
}

/// When it is over by itself, if it is not said again.
fn passes(brief: &Brief, now: Now) -> Option<i64> {
    let gap = brief.kind == AlertKind::Gap && brief.state != State::Closed;
    gap.then(|| now.wall.saturating_add(GAP))
}

fn until_ms(until: i64, now: Now) -> Duration {
    Duration::from_millis(u64::try_from(until.saturating_sub(now.wall)).unwrap_or(0))
}

/// Whether a row may be opened. The first of a kind always may.
fn grant(row: &Row, bucket: &mut Bucket, policy: &Policy, now: Now) -> Result<(), Duration> {
    match &policy.cap {
        None => Ok(()),
        Some(cap) if row.first_of_kind => {
            bucket.take_what_is_there(cap, now.monotonic);
            Ok(())
        }
        Some(cap) => bucket.take(cap, now.monotonic),
    }
}

/// The shortest wait.
#[derive(Default)]
struct Wait(Option<Duration>);

impl Wait {
    fn note(&mut self, wait: Option<Duration>) {
        self.0 = match (self.0, wait) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

/// Id and revision of what an alert is about; `None` for what nobody is told of in person.
fn identify(alert: &Alert, accepted: i64) -> Option<(String, u64)> {
    let by_time = u64::try_from(accepted).unwrap_or(0);
    match alert.kind {
        AlertKind::Heartbeat => None,
        AlertKind::Incident => {
            let incident = alert.incident.as_ref().filter(|incident| !incident.is_digest())?;
            Some((incident.id.clone(), incident.revision))
        }
        // A remark wakes nobody, and nobody would say when it is over.
        AlertKind::Posture | AlertKind::Health if alert.severity == Severity::Low => None,
        AlertKind::Gap | AlertKind::Posture | AlertKind::Health => Some((condition(alert), by_time)),
    }
}

/// The same for every alert of a condition, and no other node's.
fn condition(alert: &Alert) -> String {
    if let Some(condition) = alert.gap.as_ref().and_then(|gap| gap.condition.as_ref()) {
        return condition.clone();
    }
    let worker = alert.worker.as_ref().map_or("", |worker| &*worker.name);
    let host = alert.host.machine_id.as_deref().unwrap_or(&alert.host.name);
    let (name, subject) = match (&alert.health, &alert.gap) {
        (Some(health), _) => (&*health.condition, health.subject.as_deref().unwrap_or_default()),
        (None, Some(gap)) => (&*gap.reason, gap.signal.as_deref().unwrap_or_default()),
        (None, None) => (&*alert.title, ""),
    };
    let text = format!("{host}\n{}\n{name}\n{subject}\n{worker}", alert.kind.name());
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, text.as_bytes()).to_string()
}
