use std::io::{PipeReader, PipeWriter, Read};

use super::*;
use crate::alert::{SafeAlert, fixture};
use crate::config::Span;

/// More than a pipe holds.
const LARGE: usize = 200_000;

fn sink() -> StdoutSink {
    StdoutSink::new(&SinkConfig { timeout: Span(Duration::from_millis(50)), ..SinkConfig::stdout() })
}

fn item(seq: u64, text: &str) -> Item {
    Item { seq, alert: SafeAlert::new(fixture::gap()), text: text.as_bytes().to_vec() }
}

fn reason(outcomes: &[Outcome]) -> &str {
    match outcomes.last() {
        Some(Outcome::Retry { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Sends with somebody who reads all of it; what was read.
fn read_while(mut reader: PipeReader, writer: PipeWriter, send: impl FnOnce(BorrowedFd<'_>)) -> String {
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    send(writer.as_fd());
    drop(writer);
    reading.join().unwrap()
}

#[test]
fn each_alert_is_a_line() {
    let (reader, writer) = io::pipe().unwrap();
    let text = read_while(reader, writer, |out| {
        assert_eq!(
            sink().send_to(out, &[item(1, "one"), item(2, "two")]),
            [Outcome::Accepted, Outcome::Accepted]
        );
    });
    assert_eq!(text, "one\ntwo\n");
}

#[test]
fn a_reader_that_does_not_read_holds_nobody_up_for_long_and_gets_each_line_whole_once_it_does() {
    let (reader, writer) = io::pipe().unwrap();
    let mut sink = sink();
    let large = |seq| item(seq, &seq.to_string().repeat(LARGE));
    let begin = Instant::now();
    let outcomes = sink.send_to(writer.as_fd(), &[item(1, "one"), large(2), item(3, "three")]);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_eq!((outcomes.len(), reason(&outcomes)), (2, "nobody reads it"), "what is behind it waits");
    // Half of the large line is in the pipe.
    sink.timeout = Duration::from_secs(20);
    let text = read_while(reader, writer, |out| {
        assert_eq!(sink.send_to(out, &[large(2), item(3, "three")]), [Outcome::Accepted, Outcome::Accepted]);
    });
    assert_eq!(text, format!("one\n{}\nthree\n", "2".repeat(LARGE)));
}

#[test]
fn half_a_line_is_ended_before_another_one_that_goes_first() {
    let (reader, writer) = io::pipe().unwrap();
    let mut sink = sink();
    let begun = item(1, &"1".repeat(LARGE));
    reason(&sink.send_to(writer.as_fd(), std::slice::from_ref(&begun)));
    sink.timeout = Duration::from_secs(20);
    let text = read_while(reader, writer, |out| {
        assert_eq!(sink.send_to(out, &[item(9, "urgent"), begun]), [Outcome::Accepted, Outcome::Accepted]);
    });
    assert_eq!(text, format!("{}\nurgent\n", "1".repeat(LARGE)), "it is not written twice");
}

#[test]
fn a_reader_that_is_gone_is_a_failure_and_no_end_of_the_agent() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let outcomes = sink().send_to(writer.as_fd(), &[item(1, "one"), item(2, "two")]);
    assert!(outcomes.len() == 1 && reason(&outcomes).contains("Broken pipe"), "{outcomes:?}");
    assert_eq!(sink().promise(), Promise::Unacknowledged);
}
