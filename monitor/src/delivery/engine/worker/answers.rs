//! What a receiver's answers come to: taken, refused, to be tried again, and whom to blame for a failure.

use std::time::Duration;

use super::{POISON_AFTER, POISON_SINCE, REFUSED, Worker};
use crate::delivery::{Item, Outcome};

impl Worker {
    pub(super) fn send(&mut self, batch: Vec<(usize, Item)>) {
        let (places, items): (Vec<usize>, Vec<Item>) = batch.into_iter().unzip();
        let outcomes = self.parts.transport.send(&items);
        let now = self.parts.clock.monotonic();
        let dealt =
            |outcome: Option<&Outcome>| matches!(outcome, Some(Outcome::Accepted | Outcome::Rejected { .. }));
        let first_left = (0..items.len()).find(|at| !dealt(outcomes.get(*at)));
        // Something behind the first failure was taken: it is the alert that failed, not the receiver.
        let partly = first_left.is_some_and(|first| (first..items.len()).any(|at| dealt(outcomes.get(at))));
        let mut gone: Vec<(usize, Option<String>)> = Vec::new();
        let mut taken = 0;
        let mut bytes = 0;
        for (at, (place, item)) in places.iter().zip(&items).enumerate() {
            match outcomes.get(at) {
                Some(Outcome::Accepted) => {
                    taken += 1;
                    bytes += item.text.len() as u64;
                    gone.push((*place, None));
                }
                Some(Outcome::Rejected { reason }) => gone.push((*place, Some(reason.clone()))),
                Some(Outcome::Retry { .. }) | None => {}
            }
        }
        self.taken += taken;
        if taken > 0 {
            self.parts.meter.sent(taken, bytes, self.now_ns());
        }
        let left = items.len() - gone.len();
        self.note_refusals(taken, outcomes.as_slice());
        if taken > 0 || (left < items.len() && !self.parts.pace.failing()) {
            self.recovered(now);
        }
        if let Some(first) = first_left {
            self.parts.meter.retried(left as u64);
            let (reason, asked) = match outcomes.get(first) {
                Some(Outcome::Retry { reason, after }) => (reason.as_str(), *after),
                _ => ("it gave no answer", None),
            };
            let poisoned = self.blame(&places, &outcomes, partly, now);
            gone.extend(poisoned.into_iter().map(|(place, reason)| (place, Some(reason))));
            // That one is to blame, and waits by itself.
            let excused = gone.iter().any(|(place, _)| *place == places[first])
                || self.flight[places[first]].not_before > now;
            if !(partly || excused) {
                self.failed(now, items.len(), asked, reason);
            }
        }
        self.forget(gone);
    }

    /// Counts failures against alerts; those that are beyond hope, with the reason.
    fn blame(
        &mut self,
        places: &[usize],
        outcomes: &[Outcome],
        partly: bool,
        now: Duration,
    ) -> Vec<(usize, String)> {
        let mut beyond = Vec::new();
        for (at, place) in places.iter().enumerate() {
            let Some(Outcome::Retry { reason, after }) = outcomes.get(at) else { continue };
            let Some(flight) = self.flight.get_mut(*place) else { continue };
            let others_went = flight.tries > 0 && self.taken > flight.taken_before;
            flight.tries += 1;
            flight.taken_before = self.taken;
            let since = *flight.since.get_or_insert(now);
            if others_went || partly {
                flight.blamed += u32::from(others_went);
                flight.not_before = now + self.parts.pace.wait(flight.tries, *after);
                if flight.blamed >= POISON_AFTER && now.saturating_sub(since) >= POISON_SINCE {
                    let reason = format!("failed {} times while others were taken: {reason}", flight.tries);
                    beyond.push((*place, reason));
                }
            }
        }
        beyond
    }

    /// Whether it takes anything at all.
    fn note_refusals(&mut self, taken: u64, outcomes: &[Outcome]) {
        let target = self.parts.transport.target();
        if taken > 0 {
            if std::mem::take(&mut self.refused_in_row) >= REFUSED {
                self.watch.works(&self.parts.notes, &target);
            }
            return;
        }
        for outcome in outcomes {
            if let Outcome::Rejected { reason } = outcome {
                self.refused_in_row += 1;
                self.watch.refused(&self.parts.notes, self.refused_in_row, &target, reason);
            }
        }
    }

    /// These are dealt with: taken, or refused for a reason.
    pub(super) fn forget(&mut self, mut gone: Vec<(usize, Option<String>)>) {
        gone.sort_unstable();
        let from_behind = gone.into_iter().rev();
        let mut gone: Vec<_> =
            from_behind.filter_map(|(place, reason)| Some((self.flight.remove(place)?, reason))).collect();
        gone.reverse();
        let mut refused = Vec::new();
        for (flight, reason) in gone {
            match reason {
                None => self.dealt_with(&flight.entry, flight.seq),
                Some(reason) => refused.push((flight, reason)),
            }
        }
        self.bury(refused);
    }

    pub(super) fn failed(&mut self, now: Duration, tried: usize, asked: Option<Duration>, reason: &str) {
        let first = !self.parts.pace.failing();
        self.parts.pace.failed(now, tried, asked);
        self.parts.meter.failing(true);
        if first {
            tracing::error!(
                sink = self.parts.name,
                target = self.parts.transport.target(),
                reason,
                "the sink takes nothing; its alerts wait"
            );
        } else {
            tracing::debug!(sink = self.parts.name, reason, "the sink still takes nothing");
        }
        let (target, span) = (self.parts.transport.target(), self.parts.pace.failing_for(now));
        self.watch.failed(&self.parts.notes, span, &target, reason);
    }

    pub(super) fn recovered(&mut self, now: Duration) {
        if !self.parts.pace.failing() {
            self.parts.pace.succeeded(now);
            if std::mem::take(&mut self.carried) {
                // The one in whose place this is had failed.
                self.parts.meter.failing(false);
                self.watch.works(&self.parts.notes, &self.parts.transport.target());
            }
            return;
        }
        self.carried = false;
        let outage = self.parts.pace.succeeded(now);
        self.parts.meter.failing(false);
        tracing::info!(sink = self.parts.name, "the sink takes alerts again");
        self.watch.works(&self.parts.notes, &self.parts.transport.target());
        if outage {
            self.begin_catch_up(now);
        }
    }
}
