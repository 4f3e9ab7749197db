//! OTLP over HTTP: alerts as log records, in protobuf.
//!
//! Retries are those of the specification: 429, 502, 503 and 504, and when there was no answer. `proto` is what of the
//! protocol is needed, `convert` makes a record of an alert.

mod convert;
mod proto;

use prost::Message;

use crate::alert::LEAST_TEXT;
use crate::config::SinkConfig;
use crate::delivery::{Item, Limits, Outcome, Promise, Transport};
use crate::sink::net::halves::Whole;
use crate::sink::net::{Answer, Call, NetError, Receiver};

/// Of a request.
const ITEMS: usize = 100;
const BYTES: usize = 1 << 20;
/// Most bytes of a log record besides the alert's text: attributes, mostly.
const BESIDE: usize = 4096;

/// A sink to an OpenTelemetry collector, or whatever takes OTLP.
pub struct Otlp {
    receiver: Receiver,
    beside: usize,
}

impl Otlp {
    /// The sink as configured. Connects when there is something to send.
    ///
    /// # Errors
    /// The address, headers, key or certificates cannot be used.
    pub fn open(config: &SinkConfig) -> Result<Self, NetError> {
        let receiver =
            Receiver::open(config, "/v1/logs", |client, config| client.log_in_as(config, "Bearer"))?;
        // A record of the size that was configured has room for the shortest alert.
        let room = config
            .max_bytes
            .map_or(BESIDE, |most| usize::try_from(most.0).unwrap_or(usize::MAX).saturating_sub(LEAST_TEXT));
        Ok(Self { receiver, beside: BESIDE.min(room) })
    }
}

impl Transport for Otlp {
    fn promise(&self) -> Promise {
        Promise::Acknowledged
    }

    fn limits(&self) -> Limits {
        let limits = self.receiver.limits(ITEMS, BYTES);
        let beside = if self.receiver.config.max_bytes.is_some() { self.beside } else { 0 };
        Limits { max_bytes: limits.max_bytes.saturating_sub(beside), ..limits }
    }

    fn target(&self) -> String {
        self.receiver.shown()
    }

    fn send(&mut self, batch: &[Item]) -> Vec<Outcome> {
        let beside = self.beside;
        self.receiver.send(batch, |client, endpoint, part| {
            let (url, body) = (endpoint.url(), convert::request(part, beside).encode_to_vec());
            let call = Call { url: &url, content_type: "application/x-protobuf", headers: &[], body: &body };
            match client.post(&call) {
                Ok(answer) => read(&answer, part.len(), &|text| client.without_secrets(text)),
                Err(reason) => Whole::Again { reason, after: None },
            }
        })
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.receiver.reopen()
    }
}

/// Takes our secrets out of what a stranger wrote.
type Clean<'a> = dyn Fn(&str) -> String + 'a;

/// What an answer says of so many records.
fn read(answer: &Answer, count: usize, clean: &Clean<'_>) -> Whole {
    match answer.status {
        200..=299 => partial(answer, count, clean),
        429 | 502 | 503 | 504 => {
            Whole::Again { reason: answer.reason(&detail(answer, clean)), after: answer.retry_after }
        }
        // Too much at once is no word about the alerts: smaller requests are others.
        413 => Whole::Refused(answer.reason("")),
        // The specification: any other answer must not be tried again.
        _ => all_rejected(&answer.reason(&detail(answer, clean)), count),
    }
}

/// A partial success must not be tried again, and does not say which records were refused. So all of the request are put
/// aside: among the dead letters nothing is lost. What is no answer of the protocol (a login page) says nothing at all.
fn partial(answer: &Answer, count: usize, clean: &Clean<'_>) -> Whole {
    let Some(response) = proto::LogsResponse::read(&answer.body) else {
        return Whole::Again { reason: answer.reason("the answer is not one of OTLP"), after: None };
    };
    match response.partial_success {
        Some(partial) if partial.rejected_log_records > 0 => {
            let reason = format!(
                "{} of {count} log records of the request were refused, without saying which: {}",
                partial.rejected_log_records,
                shown(&partial.error_message, clean)
            );
            all_rejected(&reason, count)
        }
        _ => Whole::Each(vec![Outcome::Accepted; count]),
    }
}

fn all_rejected(reason: &str, count: usize) -> Whole {
    Whole::Each(vec![Outcome::Rejected { reason: reason.to_owned() }; count])
}

/// What a failed request says in its `Status` message.
fn detail(answer: &Answer, clean: &Clean<'_>) -> String {
    let said = proto::Status::decode(answer.body.as_slice()).map(|status| status.message).unwrap_or_default();
    shown(&said, clean)
}

fn shown(text: &str, clean: &Clean<'_>) -> String {
    let short: String = clean(text).chars().take(200).collect();
    crate::alert::escape::for_terminal(&short).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: Vec<u8>) -> Answer {
        Answer::of(status, &body)
    }

    fn read(answer: &Answer, count: usize) -> Whole {
        super::read(answer, count, &|text| text.replace("s3cret", "…"))
    }

    fn partial_success(rejected: i64, message: &str) -> Vec<u8> {
        let partial = proto::PartialSuccess { rejected_log_records: rejected, error_message: message.into() };
        proto::LogsResponse { partial_success: Some(partial) }.encode_to_vec()
    }

    #[test]
    fn only_the_four_statuses_of_the_specification_are_tried_again() {
        for status in [429, 502, 503, 504] {
            assert!(matches!(read(&answer(status, Vec::new()), 2), Whole::Again { .. }), "{status}");
        }
        for status in [400, 401, 403, 404, 408, 500, 501, 505] {
            let Whole::Each(outcomes) = read(&answer(status, Vec::new()), 2) else { panic!("{status}") };
            assert!(outcomes.iter().all(|o| matches!(o, Outcome::Rejected { .. })), "{status}");
        }
        assert!(matches!(read(&answer(413, Vec::new()), 2), Whole::Refused(_)));
    }

    #[test]
    fn a_partial_success_is_not_tried_again_and_nothing_of_it_is_forgotten() {
        let Whole::Each(outcomes) = read(&answer(200, partial_success(1, "too old")), 3) else { panic!() };
        assert_eq!(outcomes.len(), 3);
        let Outcome::Rejected { reason } = &outcomes[0] else { panic!("{outcomes:?}") };
        assert!(reason.contains("1 of 3") && reason.contains("too old"), "{reason}");
    }

    #[test]
    fn a_warning_is_a_success() {
        for body in [Vec::new(), partial_success(0, "deprecated")] {
            let Whole::Each(outcomes) = read(&answer(200, body), 2) else { panic!() };
            assert_eq!(outcomes, [Outcome::Accepted, Outcome::Accepted]);
        }
    }

    #[test]
    fn an_answer_that_is_none_of_otlp_is_no_success() {
        for body in ["<html>log in</html>", "OK", "{\"partialSuccess\":", "[]"] {
            let said = read(&answer(200, body.as_bytes().to_vec()), 2);
            assert!(matches!(said, Whole::Again { .. }), "{body}");
        }
    }

    #[test]
    fn an_answer_in_json_is_understood() {
        for (body, taken) in [
            ("{}", true),
            (r#"{"partialSuccess":{}}"#, true),
            (r#"{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"old"}}"#, false),
            (r#"{"partialSuccess":{"rejectedLogRecords":1}}"#, false),
        ] {
            let Whole::Each(outcomes) = read(&answer(200, body.as_bytes().to_vec()), 2) else {
                panic!("{body}")
            };
            assert_eq!(outcomes[0] == Outcome::Accepted, taken, "{body}");
        }
    }

    #[test]
    fn no_secret_of_ours_is_in_what_a_receiver_says_in_protobuf() {
        let status = proto::Status { code: 3, message: "no such token: s3cret".into() };
        let said = [
            read(&answer(200, partial_success(1, "s3cret is wrong")), 1),
            read(&answer(400, status.encode_to_vec()), 1),
        ];
        for whole in said {
            let Whole::Each(outcomes) = whole else { panic!() };
            let [Outcome::Rejected { reason }] = outcomes.as_slice() else { panic!("{outcomes:?}") };
            let ours = reason.split(" (").next().unwrap();
            assert!(ours.contains('…') && !ours.contains("s3cret"), "{reason}");
        }
    }

    #[test]
    fn the_reason_is_what_the_status_message_says() {
        let status = proto::Status { code: 3, message: "no such tenant".into() };
        let Whole::Each(outcomes) = read(&answer(400, status.encode_to_vec()), 1) else { panic!() };
        assert!(format!("{outcomes:?}").contains("no such tenant"), "{outcomes:?}");
    }
}
