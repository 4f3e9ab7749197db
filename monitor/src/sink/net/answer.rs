//! What an HTTP answer means.

use std::time::Duration;

use jiff::Timestamp;

use crate::alert::escape;
use crate::delivery::Outcome;

/// No receiver is left alone for longer than this, whatever it asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Characters of an answer's body that are repeated in a reason.
const EXCERPT: usize = 200;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Its body, up to the client's bound. May repeat secrets: show only [`excerpt`](Answer::excerpt).
    pub body: Vec<u8>,
    /// How long to wait, if it says.
    pub retry_after: Option<Duration>,
    /// The beginning of the body, without secrets and harmless to print.
    pub(super) excerpt: String,
}

/// What an answer says about what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
    Accepted,
    /// It will never take this.
    Final(String),
    /// Not now.
    Again {
        /// Why.
        reason: String,
        /// How long the receiver wants to be left alone.
        after: Option<Duration>,
    },
}

impl Answer {
    /// An answer that nobody gave.
    #[cfg(test)]
    pub(crate) fn of(status: u16, body: &[u8]) -> Self {
        let excerpt = excerpt(&String::from_utf8_lossy(body));
        Self { status, body: body.to_vec(), retry_after: None, excerpt }
    }

    /// The rule for receivers without one of their own: 2xx is accepted. What speaks about the receiver, or about who we are
    /// and which way we came (408, 429, 5xx but 501; 401, 407, redirects), is tried again; what speaks about the alert is
    /// final.
    pub fn verdict(&self) -> Verdict {
        match self.status {
            200..=299 => Verdict::Accepted,
            300..=399 => self.again("it redirects, which is not followed: give the address that it leads to"),
            401 => self.again("it does not accept the key"),
            407 => self.again("the proxy wants to be logged in to"),
            408 | 429 | 500 | 502..=599 => self.again(""),
            _ => Verdict::Final(self.reason("")),
        }
    }

    /// [`Verdict::Again`] of this answer; `what` may be empty.
    pub fn again(&self, what: &str) -> Verdict {
        Verdict::Again { reason: self.reason(what), after: self.retry_after }
    }

    /// The status, what it means, and what the receiver said.
    pub fn reason(&self, what: &str) -> String {
        let mut text = format!("status {}", self.status);
        if !what.is_empty() {
            text.push_str(": ");
            text.push_str(what);
        }
        if !self.excerpt.is_empty() {
            text.push_str(&format!(" ({})", self.excerpt));
        }
        text
    }

    /// The beginning of the body, without secrets and harmless to print.
    pub fn excerpt(&self) -> &str {
        &self.excerpt
    }
}

#[cfg(test)]
impl Answer {
    /// An answer without a text to show.
    pub(crate) fn for_tests(status: u16, body: &str, retry_after: Option<Duration>) -> Self {
        Self { status, body: body.into(), retry_after, excerpt: String::new() }
    }
}

impl Verdict {
    /// What that makes of an item.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Accepted => Outcome::Accepted,
            Self::Final(reason) => Outcome::Rejected { reason: reason.clone() },
            Self::Again { reason, after } => Outcome::Retry { reason: reason.clone(), after: *after },
        }
    }
}

/// The value of `Retry-After`: seconds, or a date.
pub(super) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(LONGEST_PAUSE));
    }
    let until = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    let left = until.duration_since(now);
    Some(Duration::try_from(left).unwrap_or(Duration::ZERO).min(LONGEST_PAUSE))
}

/// The beginning of a text that a stranger wrote.
pub(crate) fn excerpt(text: &str) -> String {
    let short: String = text.trim().chars().take(EXCERPT).collect();
    let mut safe = escape::for_terminal(&short).into_owned();
    if short.len() < text.trim().len() {
        safe.push('…');
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Answer {
        Answer {
            status,
            body: Vec::new(),
            retry_after: Some(Duration::from_secs(7)),
            excerpt: "no room".into(),
        }
    }

    #[test]
    fn what_speaks_about_the_alert_is_final_and_the_rest_is_tried_again() {
        for status in [200, 201, 202, 204] {
            assert_eq!(answer(status).verdict(), Verdict::Accepted, "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504, 599, 401, 407, 302, 308] {
            let Verdict::Again { after, .. } = answer(status).verdict() else { panic!("{status}") };
            assert_eq!(after, Some(Duration::from_secs(7)), "{status}");
        }
        for status in [400, 403, 404, 405, 410, 413, 422, 501] {
            let Verdict::Final(reason) = answer(status).verdict() else { panic!("{status}") };
            assert!(reason.contains(&status.to_string()) && reason.contains("no room"), "{reason}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date_and_is_bounded() {
        let now: Timestamp = "2026-11-23T20:00:00Z".parse().unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Mon, 23 Nov 2026 20:00:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Mon, 23 Nov 2026 19:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("999999999", now), Some(LONGEST_PAUSE));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-5", now), None);
    }

    #[test]
    fn an_excerpt_is_short_and_harmless() {
        assert_eq!(excerpt(" a\x1b[2Jb\n"), "a\\x1b[2Jb");
        assert!(excerpt(&"ä".repeat(1000)).chars().count() <= EXCERPT + 1);
    }
}
