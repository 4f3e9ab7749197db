//! What comes in: alerts become rows, and rows that are too many go.

use super::cap::Kinds;
use super::row::{Lapse, Row};
use super::{Desk, Now};
use crate::alert::{Alert, AlertKind, SafeAlert, Severity, State};
use crate::oncall::brief::Brief;

/// Most rows that are followed.
const ROWS: usize = 1024;
/// Most of those beyond them whose end is told.
const LEFT: usize = 1024;
/// A gap that is not said again within this time is over, ms: some are one moment, and nobody says that it has passed.
const GAP: i64 = 3_600_000;

impl Desk {
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
        // A rise is of another finding, which may be the first of its kind although the incident was not.
        if Kinds::of(&brief) != Kinds::of(&row.brief) {
            row.first_of_kind |= self.state.kinds.note(&brief, now.wall);
        }
        row.revision = revision;
        row.closed = brief.state == State::Closed;
        row.lapse = passes(&brief, now);
        row.brief = brief;
        if row.left {
            self.look_after(&id);
        }
    }

    /// A row that was left is followed again if there is room, or if it is to wake somebody.
    fn look_after(&mut self, id: &str) {
        let followed = self.followed();
        let Some(row) = self.state.rows.get_mut(id) else { return };
        let wakes = row.is_unpaged();
        if followed < ROWS || wakes {
            row.left = false;
            if followed >= ROWS {
                self.make_room();
            }
        } else {
            row.brief.shorten();
        }
    }

    fn followed(&self) -> usize {
        self.state.rows.values().filter(|row| !row.left).count()
    }

    fn add(&mut self, id: String, revision: u64, brief: Brief, now: Now) {
        let closed = brief.state == State::Closed;
        if closed && brief.kind != AlertKind::Incident {
            // The end of what was never begun here.
            return;
        }
        if self.state.rows.len() >= ROWS && self.followed() >= ROWS {
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
            left: false,
            first_of_kind: self.state.kinds.note(&brief, now.wall),
            since: now.wall,
            granted: false,
            refused: None,
            lapse: passes(&brief, now),
            brief,
        };
        self.state.rows.insert(id, row);
    }

    /// The row that is missed least is left: it is named in a summary, and stays as it is at the receiver until it is over.
    fn make_room(&mut self) {
        let least =
            |row: &Row| (row.is_unpaged(), row.brief.urgency(), row.brief.state != State::Ended, row.since);
        let followed = self.state.rows.iter_mut().filter(|(_, row)| !row.left);
        let Some((id, row)) = followed.min_by_key(|(_, row)| least(row)) else { return };
        // Once a summary: it names the rest.
        if self.state.more.is_empty() {
            tracing::warn!(
                incident = id,
                "too many incidents are open: of this one only the end is told, and what wakes somebody"
            );
        }
        self.state.more.add(&row.brief);
        row.left = true;
        if !row.is_unpaged() {
            row.brief.shorten();
        }
        self.forget();
    }

    /// Of too many that were left, one goes for good: first what is not open at the receiver, then the oldest.
    fn forget(&mut self) {
        let left = || self.state.rows.iter().filter(|(_, row)| row.left);
        if left().count() <= LEFT {
            return;
        }
        let least = left().min_by_key(|(_, row)| (row.is_unpaged(), !row.sent.is_empty(), row.since));
        if let Some(id) = least.map(|(id, _)| id.clone()) {
            self.state.rows.remove(&id);
        }
    }

    /// Records do not come, or may not, that this desk had not read; the gap alert says why, and how many if that is known.
    pub fn lost(&mut self, alert: &SafeAlert) {
        self.dirty |= self.state.lost.add(alert);
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
                if row.left {
                    self.state.more.add(&row.brief);
                }
            }
        }
        self.state.receiver = receiver;
        self.dirty |= moved;
    }
}

/// When it is over by itself, if it is not said again.
pub(super) fn passes(brief: &Brief, now: Now) -> Option<Lapse> {
    let gap = brief.kind == AlertKind::Gap && brief.state != State::Closed;
    gap.then(|| Lapse { at: now.wall.saturating_add(GAP), why: "nothing more of it for an hour" })
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
    if let Some(posture) = &alert.posture {
        return posture.condition.clone();
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
