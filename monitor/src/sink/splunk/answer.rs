//! What the collector says: a status, and a code that says more.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::sink::net::{Answer, Verdict};

/// The answer to events.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) code: u64,
    #[serde(default, rename = "ackId")]
    pub(super) ack_id: Option<u64>,
}

#[derive(Deserialize)]
struct Acks {
    acks: BTreeMap<String, bool>,
}

impl Said {
    pub(super) fn read(answer: &Answer) -> Option<Self> {
        serde_json::from_slice(&answer.body).ok()
    }
}

/// What is wrong with the token, the channel or the index is no fault of the alert: it waits until that is put right. What
/// is wrong with an event is final.
pub(super) fn verdict(answer: &Answer, said: Option<&Said>) -> Verdict {
    match said.map(|said| said.code) {
        Some(0) if (200..300).contains(&answer.status) => Verdict::Accepted,
        Some(1) => answer.again("the token is disabled"),
        Some(2..=4) => answer.again("Splunk does not accept the token"),
        Some(7) => answer.again("the token may not write to that index, or there is none: see `index`"),
        Some(8) => answer.again("Splunk has an error of its own"),
        Some(9) => answer.again("Splunk is busy"),
        Some(10 | 11) => answer.again("Splunk does not accept the channel"),
        Some(14) => answer.again("the token has no indexer acknowledgement"),
        Some(_) if (200..300).contains(&answer.status) => {
            answer.again("Splunk says something else than success")
        }
        _ => answer.verdict(),
    }
}

/// Whether the indexers have what this id stands for.
pub(super) fn acknowledged(answer: &Answer, id: u64) -> Result<bool, String> {
    if !(200..300).contains(&answer.status) {
        return Err(answer.reason("the question for acknowledgement failed"));
    }
    let acks: Acks = serde_json::from_slice(&answer.body)
        .map_err(|_| answer.reason("the answer to the question for acknowledgement cannot be read"))?;
    Ok(acks.acks.get(&id.to_string()).copied().unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer::of(status, body.as_bytes())
    }

    fn of(status: u16, body: &str) -> Verdict {
        let answer = answer(status, body);
        verdict(&answer, Said::read(&answer).as_ref())
    }

    #[test]
    fn codes_about_the_token_wait_and_codes_about_an_event_are_final() {
        assert_eq!(of(200, r#"{"text":"Success","code":0,"ackId":5}"#), Verdict::Accepted);
        for (status, code) in [
            (403, 1),
            (401, 2),
            (401, 3),
            (403, 4),
            (400, 7),
            (500, 8),
            (503, 9),
            (400, 10),
            (400, 11),
            (400, 14),
        ] {
            let said = of(status, &format!("{{\"text\":\"x\",\"code\":{code}}}"));
            assert!(matches!(said, Verdict::Again { .. }), "{code}: {said:?}");
        }
        for code in [5, 6, 12, 13, 15] {
            let said = of(400, &format!("{{\"text\":\"x\",\"code\":{code},\"invalid-event-number\":0}}"));
            assert!(matches!(said, Verdict::Final(_)), "{code}: {said:?}");
        }
    }

    #[test]
    fn a_code_that_is_no_success_is_none_whatever_the_status() {
        assert!(matches!(of(200, r#"{"text":"x","code":99}"#), Verdict::Again { .. }));
    }

    #[test]
    fn without_a_code_the_status_counts() {
        assert!(matches!(of(502, "<html>"), Verdict::Again { .. }));
        assert!(matches!(of(413, ""), Verdict::Final(_)));
    }

    #[test]
    fn only_true_is_an_acknowledgement() {
        assert_eq!(acknowledged(&answer(200, r#"{"acks":{"5":true}}"#), 5), Ok(true));
        assert_eq!(acknowledged(&answer(200, r#"{"acks":{"5":false}}"#), 5), Ok(false));
        assert_eq!(acknowledged(&answer(200, r#"{"acks":{"6":true}}"#), 5), Ok(false));
        acknowledged(&answer(200, "{}"), 5).unwrap_err();
        acknowledged(&answer(400, r#"{"acks":{"5":true}}"#), 5).unwrap_err();
    }
}
