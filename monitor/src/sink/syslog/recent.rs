//! What was sent last, for sending it again after the connection broke.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back.
const SPAN: Duration = Duration::from_secs(5);
/// How much.
const BYTES: usize = 1 << 20;

/// The frames of the last [`SPAN`] of sending, at most [`BYTES`]. Time counts from the newest frame, not from now: a
/// connection may have been dead for an hour before that is noticed, and then the last frame is the one that was lost.
#[derive(Default)]
pub(super) struct Recent {
    frames: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
}

impl Recent {
    pub(super) fn push(&mut self, now: Instant, frame: Vec<u8>) {
        self.bytes += frame.len();
        self.frames.push_back((now, frame));
        while let Some((sent, frame)) = self.frames.front() {
            if self.bytes <= BYTES && now.saturating_duration_since(*sent) <= SPAN {
                break;
            }
            self.bytes -= frame.len();
            self.frames.pop_front();
        }
    }

    /// Oldest first.
    pub(super) fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.frames.iter().map(|(_, frame)| frame.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(recent: &Recent) -> Vec<u8> {
        recent.frames().map(|frame| frame[0]).collect()
    }

    #[test]
    fn what_is_older_than_the_newest_by_more_than_the_span_goes() {
        let start = Instant::now();
        let mut recent = Recent::default();
        recent.push(start, vec![1]);
        recent.push(start + Duration::from_secs(3), vec![2]);
        recent.push(start + Duration::from_secs(6), vec![3]);
        assert_eq!(kept(&recent), [2, 3]);
        assert_eq!(kept(&recent), [2, 3], "nothing goes while nothing is sent");
        recent.push(start + Duration::from_secs(60), vec![4]);
        assert_eq!(kept(&recent), [4], "what was sent again meanwhile is not younger for that");
    }

    #[test]
    fn what_is_too_much_goes_oldest_first() {
        let now = Instant::now();
        let mut recent = Recent::default();
        for n in 0..10 {
            recent.push(now, vec![n; 300 << 10]);
        }
        assert_eq!(kept(&recent), [7, 8, 9]);
        assert_eq!(recent.bytes, 900 << 10);
    }
}
