//! In which order a sink takes records from the spool.
//!
//! The highest class first. After an outage, or at a start with records of an earlier run, what had piled up by then is
//! taken slowly, and new records of the highest class overtake it: for those there is a second place in that class.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::pace::Pace;
use crate::delivery::Class;
use crate::delivery::spool::{At, Entry, Lost, Pull, Pulled, Shared};

/// So few that came while it caught up are no pile.
const PILE: u64 = 25;

/// What cannot be read at the moment is tried again after this.
pub(crate) const STUCK: Duration = Duration::from_secs(1);

/// A sink's places.
pub(crate) struct Source {
    shared: Arc<Shared>,
    pull: Pull,
    at: [At; 3],
    /// While it catches up.
    backlog: Option<Backlog>,
    /// How much had piled up when that end was set, at most.
    piled: u64,
}

/// What piled up.
struct Backlog {
    /// By class: where it ends.
    ends: [u64; 3],
    /// Further parts of it in the highest class, first and end: what is between them was new when it came, and is sent.
    more: VecDeque<[u64; 2]>,
    /// The place for new records of the highest class.
    live: At,
}

/// A record for the sink.
pub(crate) enum Taken {
    /// One that can be sent, with its number in the stream.
    Entry(Arc<Entry>, u64),
    /// One that cannot be read: its class, its number and that in the stream.
    Unreadable(Class, u64, u64),
    /// Some of a class that cannot be read.
    Lost(Class, Lost),
}

impl Source {
    pub(crate) fn new(shared: Arc<Shared>, sink: usize) -> Self {
        let (key, at) = {
            let index = shared.lock();
            index.sinks.get(sink).map_or((0, [0; 3]), |state| (state.key, state.cursor.at))
        };
        Self {
            pull: Pull::new(Arc::clone(&shared), key),
            at: at.map(At::new),
            backlog: None,
            piled: 0,
            shared,
        }
    }

    /// By class: everything below was taken.
    pub(crate) fn places(&self) -> [u64; 3] {
        [self.at[0].number, self.at[1].number, self.at[2].number]
    }

    /// Goes back; what was taken since is taken again.
    pub(crate) fn back_to(&mut self, places: [u64; 3]) {
        self.at = places.map(At::new);
        if let Some(Backlog { ends, more, live }) = &mut self.backlog {
            if let Some([_, end]) = more.drain(..).next_back() {
                ends[0] = ends[0].max(end);
            }
            *live = At::new(ends[0]);
        }
    }

    /// When the oldest of what was not taken was accepted.
    pub(crate) fn oldest(&mut self) -> Option<i64> {
        let mut oldest = None;
        for class in Class::ALL {
            let accepted = self.pull.accepted(class, &mut self.at[class.order()], u64::MAX);
            oldest = oldest.into_iter().chain(accepted).min();
        }
        oldest
    }

    /// Whether some of what was not taken is of an earlier run.
    pub(crate) fn is_behind(&self) -> bool {
        let earlier = self.shared.lock().earlier;
        self.at.iter().zip(earlier).any(|(at, end)| at.number < end)
    }

    pub(crate) fn catching_up(&self) -> bool {
        self.backlog.is_some()
    }

    /// What is there by now is what piled up.
    pub(crate) fn begin_catch_up(&mut self) {
        let ends = {
            let index = self.shared.lock();
            [0, 1, 2].map(|order| index.classes[order].next)
        };
        self.piled = self.until(&ends);
        let live = At::new(ends[0]);
        self.backlog = Some(match self.backlog.take() {
            Some(before) => {
                let mut more = before.more;
                more.push_back([before.live.number, ends[0]]);
                Backlog { ends: [before.ends[0], ends[1], ends[2]], more, live }
            }
            None => Backlog { ends, more: VecDeque::new(), live },
        });
    }

    /// The next new record of the highest class, while everything else waits for its turn.
    pub(crate) fn next_live_high(&mut self) -> Option<Taken> {
        let at = self.backlog.as_mut().map_or(&mut self.at[0], |backlog| &mut backlog.live);
        let pulled = self.pull.next(Class::High, at, u64::MAX)?;
        Some(taken(Class::High, pulled))
    }

    /// The next record. When to ask again, if the pace of catching up says so.
    pub(crate) fn next(&mut self, pace: &mut Pace, now: Duration) -> Result<Option<Taken>, Duration> {
        while let Some(Backlog { ends, more, live }) = &mut self.backlog {
            while self.at[0].number >= ends[0]
                && let Some([first, end]) = more.pop_front()
            {
                self.at[0] = At::new(self.at[0].number.max(first));
                ends[0] = end;
            }
            for class in Class::ALL {
                let order = class.order();
                if self.at[order].number >= ends[order] {
                    continue;
                }
                pace.take_leave(now)?;
                if let Some(pulled) = self.pull.next(class, &mut self.at[order], ends[order]) {
                    return Ok(Some(taken(class, pulled)));
                }
                if self.at[order].take_stuck() {
                    return Err(now + STUCK);
                }
                // Nothing of this class was for this sink; its leave is for the next.
                self.at[order].number = self.at[order].number.max(ends[order]);
            }
            if !more.is_empty() {
                continue;
            }
            self.at[0] = At::new(live.number.max(self.at[0].number));
            *live = At::new(self.at[0].number);
            if !self.goes_on_catching_up() {
                self.backlog = None;
                pace.end_catch_up();
            }
        }
        match self.next_unpaced() {
            None if self.is_stuck() => Err(now + STUCK),
            next => Ok(next),
        }
    }

    /// Whether the last that was asked for could not be read at the moment.
    pub(crate) fn is_stuck(&mut self) -> bool {
        self.at.each_mut().map(At::take_stuck).contains(&true)
    }

    /// How many records there are up to these ends, those for other sinks among them.
    fn until(&self, ends: &[u64; 3]) -> u64 {
        ends.iter().zip(&self.at).map(|(end, at)| end.saturating_sub(at.number)).sum()
    }

    /// Whether what came meanwhile is a pile of its own, and smaller than the one before: a receiver that gets more than the pace
    /// allows would never be done.
    fn goes_on_catching_up(&mut self) -> bool {
        let ends = {
            let index = self.shared.lock();
            [self.at[0].number, index.classes[1].next, index.classes[2].next]
        };
        let more = self.until(&ends);
        if more <= PILE || more > self.piled / 2 {
            return false;
        }
        self.piled = more;
        if let Some(backlog) = &mut self.backlog {
            backlog.ends = ends;
        }
        true
    }

    /// The next record, whatever piled up.
    pub(crate) fn next_unpaced(&mut self) -> Option<Taken> {
        for class in Class::ALL {
            if let Some(pulled) = self.pull.next(class, &mut self.at[class.order()], u64::MAX) {
                return Some(taken(class, pulled));
            }
        }
        None
    }
}

fn taken(class: Class, pulled: Pulled) -> Taken {
    match pulled {
        Pulled::Entry(entry, seq) => Taken::Entry(entry, seq),
        Pulled::Unreadable(number, seq) => Taken::Unreadable(class, number, seq),
        Pulled::Lost(lost) => Taken::Lost(class, lost),
    }
}
