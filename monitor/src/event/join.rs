//! Puts the two lanes back into one order.
//!
//! A priority record (an open, a connect) names the image that acted by its exec id. The fork or exec record that explains
//! that image was written to the lifecycle ring *before* the process could act, but the two rings are read one after the
//! other, so the explanation may be read later. [`Join`] holds a priority event until its image is known, or until the
//! lifecycle lane was read past the event's time (then the explanation was lost: the event is judged with what it
//! carries), and never longer than [`HOLD_MAX`]. Events of one process keep their order.
//!
//! Pure: the clock and the process table are arguments.

use std::collections::{HashMap, VecDeque};

use super::{BootNs, Event, ProcessKey, Subject};

/// Longest time an event is held, ns.
pub const HOLD_MAX: BootNs = 50_000_000;

/// Most events held at once; beyond it the oldest goes on as it is.
pub const HELD_MAX: usize = 32_768;

/// Why an event was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Release {
    /// Its image is known.
    Known,
    /// The lifecycle lane was read past its time without explaining it.
    Passed,
    /// Held for [`HOLD_MAX`], or pushed out by [`HELD_MAX`] others.
    Expired,
}

struct Held {
    event: Event,
    since: BootNs,
}

/// The events waiting for their explanation.
#[derive(Default)]
pub struct Join {
    held: VecDeque<Held>,
    /// How many of `held` belong to a process: later events of it queue behind them.
    waiting: HashMap<ProcessKey, u32>,
    /// The lifecycle lane was read up to here.
    passed: BootNs,
}

impl Join {
    /// Takes a priority event; lets it go to `out` at once if its image is known and nothing of its process waits.
    pub fn push(
        &mut self,
        event: Event,
        now: BootNs,
        known: impl Fn(&Subject) -> bool,
        mut out: impl FnMut(Event, Release),
    ) {
        if !self.waiting.contains_key(&event.subject.key) && known(&event.subject) {
            return out(event, Release::Known);
        }
        if self.held.len() >= HELD_MAX
            && let Some(oldest) = self.held.pop_front()
        {
            // The front is the oldest of its own process too, so order within the process holds.
            forget(&mut self.waiting, oldest.event.subject.key);
            out(oldest.event, Release::Expired);
        }
        *self.waiting.entry(event.subject.key).or_default() += 1;
        self.held.push_back(Held { event, since: now });
    }

    /// Says that every lifecycle record written before `time` has been read.
    pub fn lifecycle_read_until(&mut self, time: BootNs) {
        self.passed = self.passed.max(time);
    }

    /// Lets go what can go, oldest first.
    pub fn release(
        &mut self,
        now: BootNs,
        known: impl Fn(&Subject) -> bool,
        mut out: impl FnMut(Event, Release),
    ) {
        if self.held.is_empty() {
            return;
        }
        let mut blocked: HashMap<ProcessKey, ()> = HashMap::new();
        for _ in 0..self.held.len() {
            let Some(held) = self.held.pop_front() else { return };
            let key = held.event.subject.key;
            // What is known is known, however long it took to read everything.
            let why = if !blocked.contains_key(&key) && known(&held.event.subject) {
                Some(Release::Known)
            } else if now.saturating_sub(held.since) >= HOLD_MAX {
                // Everything of this process ahead of it is at least as old, so it went before.
                Some(Release::Expired)
            } else if !blocked.contains_key(&key) && held.event.time < self.passed {
                Some(Release::Passed)
            } else {
                None
            };
            match why {
                Some(why) => {
                    forget(&mut self.waiting, key);
                    out(held.event, why);
                }
                None => {
                    blocked.insert(key, ());
                    self.held.push_back(held);
                }
            }
        }
    }

    /// The events held.
    pub fn held(&self) -> impl Iterator<Item = &Event> {
        self.held.iter().map(|held| &held.event)
    }

    /// Number of events held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// When the oldest held event must go, if there is one.
    pub fn deadline(&self) -> Option<BootNs> {
        self.held.front().map(|held| held.since.saturating_add(HOLD_MAX))
    }
}

fn forget(waiting: &mut HashMap<ProcessKey, u32>, key: ProcessKey) {
    if let Some(count) = waiting.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            waiting.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use monitor_common::hook::Kind;
    use monitor_common::record::Header;
    use proptest::prelude::*;

    use super::*;
    use crate::event::{decode, fixture};

    fn event(pid: u32, exec_id: u64, time: u64, seq: u64) -> Event {
        let head = Header { exec_id, time, seq, ..fixture::header(Kind::Connect, pid, 1, 1) };
        decode(&fixture::connect(head, [127, 0, 0, 1], 80)).unwrap()
    }

    fn collect(out: &mut Vec<(u64, Release)>) -> impl FnMut(Event, Release) + '_ {
        |event, why| out.push((event.origin.seq, why))
    }

    #[test]
    fn known_image_is_not_held() {
        let mut out = Vec::new();
        Join::default().push(event(1, 7, 10, 0), 10, |_| true, collect(&mut out));
        assert_eq!(out, [(0, Release::Known)]);
    }

    #[test]
    fn unknown_image_goes_when_it_becomes_known() {
        let (mut join, mut out) = (Join::default(), Vec::new());
        join.push(event(1, 7, 10, 0), 10, |_| false, collect(&mut out));
        join.release(11, |_| false, collect(&mut out));
        assert!(out.is_empty());
        join.release(12, |subject| subject.exec_id == 7, collect(&mut out));
        assert_eq!(out, [(0, Release::Known)]);
        assert!(join.is_empty());
    }

    #[test]
    fn lost_explanation_lets_it_go_once_the_lane_passed() {
        let (mut join, mut out) = (Join::default(), Vec::new());
        join.push(event(1, 7, 10, 0), 10, |_| false, collect(&mut out));
        join.lifecycle_read_until(10);
        join.release(11, |_| false, collect(&mut out));
        assert!(out.is_empty(), "a lane read up to its very time has not passed it");
        join.lifecycle_read_until(11);
        join.release(12, |_| false, collect(&mut out));
        assert_eq!(out, [(0, Release::Passed)]);
    }

    #[test]
    fn silent_lane_holds_no_longer_than_the_bound() {
        let (mut join, mut out) = (Join::default(), Vec::new());
        join.push(event(1, 7, 10, 0), 10, |_| false, collect(&mut out));
        assert_eq!(join.deadline(), Some(10 + HOLD_MAX));
        join.release(10 + HOLD_MAX - 1, |_| false, collect(&mut out));
        assert!(out.is_empty());
        join.release(10 + HOLD_MAX, |_| false, collect(&mut out));
        assert_eq!(out, [(0, Release::Expired)]);
    }

    #[test]
    fn what_is_known_by_then_is_known_even_after_the_bound() {
        let (mut join, mut out) = (Join::default(), Vec::new());
        join.push(event(1, 7, 10, 0), 10, |_| false, collect(&mut out));
        join.lifecycle_read_until(11);
        join.release(10 + 2 * HOLD_MAX, |_| true, collect(&mut out));
        assert_eq!(out, [(0, Release::Known)]);
    }

    #[test]
    fn later_event_of_a_process_waits_behind_the_earlier_one() {
        let (mut join, mut out) = (Join::default(), Vec::new());
        let known = |subject: &Subject| subject.exec_id == 8;
        join.push(event(1, 7, 10, 0), 10, known, collect(&mut out));
        join.push(event(1, 8, 11, 1), 11, known, collect(&mut out));
        join.push(event(2, 8, 11, 2), 11, known, collect(&mut out));
        assert_eq!(out, [(2, Release::Known)], "another process does not wait");
        join.release(12, |_| true, collect(&mut out));
        assert_eq!(out[1..], [(0, Release::Known), (1, Release::Known)]);
    }

    #[test]
    fn full_hold_pushes_out_the_oldest() {
        let (mut join, mut out) = (Join::default(), Vec::new());
        for seq in 0..=HELD_MAX as u64 {
            join.push(event(seq as u32, 1, 1, seq), 1, |_| false, collect(&mut out));
        }
        assert_eq!(out, [(0, Release::Expired)]);
        assert_eq!(join.len(), HELD_MAX);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push { pid: u32, exec_id: u64 },
        Learn(u64),
        Passed,
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4u32, 0..6u64).prop_map(|(pid, exec_id)| Step::Push { pid, exec_id }),
            1 => (0..6u64).prop_map(Step::Learn),
            1 => Just(Step::Passed),
            2 => (0..HOLD_MAX / 2).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Nothing is lost or doubled, nothing stays beyond the bound, events of one process keep their order.
        #[test]
        fn every_event_goes_once_in_order_and_in_time(steps in proptest::collection::vec(step(), 1..80)) {
            let mut join = Join::default();
            let mut known: HashSet<u64> = HashSet::new();
            let (mut now, mut seq) = (1_000, 0);
            let mut pushed: Vec<(u32, u64, BootNs)> = Vec::new();
            let mut out: Vec<(u32, u64, BootNs)> = Vec::new();
            for step in steps {
                match step {
                    Step::Push { pid, exec_id } => {
                        pushed.push((pid, seq, now));
                        join.push(event(pid, exec_id, now, seq), now, |s| known.contains(&s.exec_id), |e, _| out.push((e.subject.key.pid, e.origin.seq, now)));
                        seq += 1;
                        now += 1;
                    }
                    Step::Learn(id) => { known.insert(id); }
                    Step::Passed => join.lifecycle_read_until(now),
                    Step::Wait(time) => now += time,
                }
                join.release(now, |s| known.contains(&s.exec_id), |e, _| out.push((e.subject.key.pid, e.origin.seq, now)));
                for (_, seq, at) in &pushed {
                    prop_assert!(now - at < HOLD_MAX || out.iter().any(|(_, gone, _)| gone == seq));
                }
            }
            now += HOLD_MAX;
            join.release(now, |_| false, |e, _| out.push((e.subject.key.pid, e.origin.seq, now)));
            prop_assert!(join.is_empty() && join.waiting.is_empty());
            prop_assert_eq!(out.len(), pushed.len());
            for pid in 0..4 {
                let of = |list: &[(u32, u64, BootNs)]| list.iter().filter(|(p, ..)| *p == pid).map(|(_, seq, _)| *seq).collect::<Vec<_>>();
                prop_assert_eq!(of(&out), of(&pushed));
            }
        }
    }
}
