//! One after the other.

use crate::delivery::Outcome;

/// Sends each, until one has to be sent again: whoever does not take it now would keep us waiting for each of the others, and
/// what is behind it must not overtake it.
pub(super) fn in_order<T>(all: &[T], mut send: impl FnMut(&T) -> Outcome) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(all.len());
    for one in all {
        outcomes.push(send(one));
        if matches!(outcomes.last(), Some(Outcome::Retry { .. })) {
            break;
        }
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_one_that_has_to_be_sent_again_is_not_sent() {
        let mut sent = Vec::new();
        let outcomes = in_order(&[1, 2, 3, 4], |number| {
            sent.push(*number);
            match number {
                2 => Outcome::Rejected { reason: "never".into() },
                3 => Outcome::Retry { reason: "not now".into(), after: None },
                _ => Outcome::Accepted,
            }
        });
        assert_eq!(outcomes.len(), 3);
        assert!(matches!(outcomes[2], Outcome::Retry { .. }));
        assert_eq!(sent, [1, 2, 3]);
    }
}
