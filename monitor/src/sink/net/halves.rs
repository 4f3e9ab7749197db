//! A batch that is refused as a whole is sent in halves, until the alert that it was refused for stands alone.

use std::time::Duration;

use super::Verdict;
use crate::delivery::{Item, Outcome};

/// What became of one request.
pub enum Whole {
    /// An outcome for each item.
    Each(Vec<Outcome>),
    /// The request was refused for good, for something in it.
    Refused(String),
    /// Not now, none of it.
    Again {
        /// Why.
        reason: String,
        /// How long the receiver wants to be left alone.
        after: Option<Duration>,
    },
}

impl Whole {
    /// What an answer to a request with these items says of each.
    pub fn of(verdict: Verdict, part: &[Item]) -> Self {
        match verdict {
            Verdict::Accepted => Self::Each(vec![Outcome::Accepted; part.len()]),
            Verdict::Final(reason) => Self::Refused(reason),
            Verdict::Again { reason, after } => Self::Again { reason, after },
        }
    }
}

/// Requests of one batch at most, beyond the first: what is left then is tried again by the caller.
const REQUESTS: usize = 40;

/// Sends `items` with `send`, in halves where a request is refused.
pub fn send(items: &[Item], mut send: impl FnMut(&[Item]) -> Whole) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(items.len());
    let mut left = REQUESTS;
    halve(items, &mut send, &mut left, &mut outcomes);
    outcomes
}

/// Whether everything was dealt with: nothing follows what has to be sent again.
fn halve(
    items: &[Item],
    send: &mut impl FnMut(&[Item]) -> Whole,
    left: &mut usize,
    outcomes: &mut Vec<Outcome>,
) -> bool {
    if items.is_empty() {
        return true;
    }
    match send(items) {
        Whole::Each(mut each) => {
            each.truncate(items.len());
            let whole = each.len() == items.len() && !each.iter().any(|o| matches!(o, Outcome::Retry { .. }));
            outcomes.append(&mut each);
            whole
        }
        Whole::Again { reason, after } => {
            outcomes.push(Outcome::Retry { reason, after });
            false
        }
        Whole::Refused(reason) if items.len() == 1 => {
            outcomes.push(Outcome::Rejected { reason });
            true
        }
        Whole::Refused(reason) => {
            if *left < 2 {
                outcomes.push(Outcome::Retry { reason, after: None });
                return false;
            }
            *left -= 2;
            let (first, second) = items.split_at(items.len() / 2);
            halve(first, send, left, outcomes) && halve(second, send, left, outcomes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{SafeAlert, fixture};

    fn items(count: u64) -> Vec<Item> {
        let alert = SafeAlert::new(fixture::incident());
        (1..=count).map(|seq| Item { seq, alert: alert.clone(), text: vec![b'x'] }).collect()
    }

    fn accepted(items: &[Item]) -> Whole {
        Whole::Each(vec![Outcome::Accepted; items.len()])
    }

    #[test]
    fn one_poisoned_alert_does_not_take_the_others_with_it() {
        let outcomes = send(&items(100), |part| {
            if part.iter().any(|item| item.seq == 37) { Whole::Refused("bad".into()) } else { accepted(part) }
        });
        assert_eq!(outcomes.len(), 100);
        for (index, outcome) in outcomes.iter().enumerate() {
            let rejected = matches!(outcome, Outcome::Rejected { .. });
            assert_eq!(rejected, index == 36, "{index}: {outcome:?}");
        }
    }

    #[test]
    fn nothing_is_sent_behind_what_must_be_sent_again() {
        let mut requests = 0;
        let outcomes = send(&items(8), |part| {
            requests += 1;
            match part.len() {
                8 => Whole::Refused("bad".into()),
                _ if part[0].seq == 1 => Whole::Again { reason: "busy".into(), after: None },
                _ => accepted(part),
            }
        });
        assert_eq!(requests, 2);
        assert_eq!(outcomes, [Outcome::Retry { reason: "busy".into(), after: None }]);
    }

    #[test]
    fn a_receiver_that_refuses_everything_is_not_asked_without_end() {
        let mut requests = 0;
        let outcomes = send(&items(1000), |_| {
            requests += 1;
            Whole::Refused("never".into())
        });
        assert!(requests <= 1 + REQUESTS, "{requests}");
        assert!(matches!(outcomes[0], Outcome::Rejected { .. }), "some are dealt with in each round");
        assert!(matches!(outcomes.last(), Some(Outcome::Retry { .. })));
    }

    #[test]
    fn a_missing_outcome_stops_the_batch_there() {
        let outcomes = send(&items(4), |_| Whole::Each(vec![Outcome::Accepted]));
        assert_eq!(outcomes, [Outcome::Accepted]);
    }
}
