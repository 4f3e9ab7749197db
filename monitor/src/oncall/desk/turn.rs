//! What goes out: which row is due, whether it may be told now, and what is told together.

use std::time::Duration;

use super::cap::Bucket;
use super::row::{Row, Want};
use super::{Desk, Next, Now};
use crate::alert::State;
use crate::oncall::brief::Urgency;
use crate::oncall::pager::{Action, Change, Policy, SummaryKind};

/// Most ids remembered of rows that are done, and for how long (ms): what comes of them again is old.
const DONE: usize = 2048;
const DONE_KEEP: i64 = 7 * 24 * 3_600_000;

impl Desk {
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
                wait.note(row.lapse.map(|lapse| until_ms(lapse.at, now)));
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
        let every = self.policy.cap.map_or(Duration::ZERO, |cap| cap.summary);
        // Whether one may be sent, if the last one was sent then.
        let mut may = |last: Option<Duration>| {
            let since = last.map(|at| now.monotonic.saturating_sub(at));
            let left = since.map(|since| every.saturating_sub(since)).filter(|left| !left.is_zero());
            wait.note(left);
            left.is_none()
        };
        if !self.state.lost.is_empty() && may(self.told_of_losses) {
            return Some(self.state.lost.action(&self.state.id));
        }
        let more = !self.state.more.is_empty() && may(self.summarised);
        more.then(|| self.state.more.action(&self.state.id, SummaryKind::More))
    }

    fn expire(&mut self, now: Now) {
        for row in self.state.rows.values_mut() {
            if let Some(lapse) = row.lapse.take_if(|lapse| now.wall >= lapse.at) {
                row.closed = true;
                row.brief.state = State::Closed;
                row.brief.closing = Some(lapse.why.to_owned());
                self.dirty = true;
            }
        }
        let old = |at: i64| now.wall.saturating_sub(at) > DONE_KEEP;
        self.state.done.retain(|_, (_, at)| !old(*at));
    }
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
