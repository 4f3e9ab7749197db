//! What goes wrong on the way to every receiver that speaks HTTP: nothing that was accepted is missing there, and nothing is
//! given up that may still arrive.

use std::time::{Duration, Instant};

use integration::fakes::{Fault, Reply};
use monitor::delivery::Outcome;

use crate::deliver::{deliver, ids, retry};
use crate::rig::{Kind, free_address};

macro_rules! of_each_kind {
    ($($kind:ident => $variant:ident),* $(,)?) => { $(
        mod $kind {
            use super::Kind;

            of_each_kind!(@cases $variant: down_at_start killed_mid_batch hanging busy failing closed_while_idle refusing
                redirecting compressed);
        }
    )* };
    (@cases $variant:ident: $($case:ident)*) => { $(
        #[test]
        fn $case() {
            super::$case(Kind::$variant);
        }
    )* };
}

of_each_kind! { http => Http, elasticsearch => Elasticsearch, splunk => Splunk, splunk_with_ack => SplunkAck, otlp => Otlp }

fn down_at_start(kind: Kind) {
    let address = free_address();
    let mut sink = kind.sink(address, "");
    let (reason, _) = retry(&mut *sink);
    assert!(reason.contains("nobody listens"), "{reason}");
    let rig = kind.start_at(address).unwrap();
    let done = deliver(&mut *sink, 1..=50);
    assert_eq!(done.accepted, ids(1..=50));
    assert_eq!(rig.received(), ids(1..=50));
}

fn killed_mid_batch(kind: Kind) {
    let rig = kind.start();
    let mut sink = kind.sink(rig.server().address(), "");
    deliver(&mut *sink, 1..=3);
    for fault in [Fault::Cut, Fault::CutAfter, Fault::HalfAnswer] {
        rig.server().fail(fault);
    }
    let done = deliver(&mut *sink, 4..=60);
    assert_eq!(done.accepted, ids(4..=60), "{:?}", done.rejected);
    assert_eq!(rig.received(), ids(1..=60));
    // And gone altogether, in between.
    let address = rig.server().address();
    drop(rig);
    let (reason, _) = retry(&mut *sink);
    assert!(!reason.is_empty());
    let rig = kind.start_at(address).unwrap();
    assert_eq!(deliver(&mut *sink, 61..=70).accepted, ids(61..=70));
    assert_eq!(rig.received(), ids(61..=70));
}

fn hanging(kind: Kind) {
    let rig = kind.start();
    let mut sink = kind.sink(rig.server().address(), "timeout: 300ms");
    // Long enough that a busy machine is not taken for a sink that waits for it.
    rig.server().fail(Fault::Hang(Duration::from_secs(30)));
    let begin = Instant::now();
    let (reason, _) = retry(&mut *sink);
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    assert!(reason.contains("no answer within 0.3 s"), "{reason}");
    assert_eq!(deliver(&mut *sink, 1..=5).accepted, ids(1..=5));
    assert_eq!(rig.received(), ids(1..=5));
}

fn busy(kind: Kind) {
    let rig = kind.start();
    let mut sink = kind.sink(rig.server().address(), "");
    rig.server().fail(Fault::Answer(Reply::text(429, "slow down").with("retry-after", "7")));
    let (reason, after) = retry(&mut *sink);
    assert_eq!(after, Some(Duration::from_secs(7)));
    assert!(reason.contains("429"), "{reason}");
    assert_eq!(deliver(&mut *sink, 1..=5).accepted, ids(1..=5));
    assert_eq!(rig.received(), ids(1..=5));
}

fn failing(kind: Kind) {
    let rig = kind.start();
    let mut sink = kind.sink(rig.server().address(), "");
    // The specification of OTLP lets 500 not be tried again.
    let status = if kind == Kind::Otlp { 503 } else { 500 };
    rig.server().fail(Fault::Answer(Reply::text(status, "out of order")));
    let done = deliver(&mut *sink, 1..=5);
    assert_eq!(done.accepted, ids(1..=5));
    assert!(done.retries[0].contains(&status.to_string()), "{:?}", done.retries);
    assert_eq!(rig.received(), ids(1..=5));
}

fn closed_while_idle(kind: Kind) {
    let rig = kind.start();
    let mut sink = kind.sink(rig.server().address(), "");
    rig.server().fail(Fault::CloseQuietly);
    deliver(&mut *sink, 1..=1);
    std::thread::sleep(Duration::from_millis(50));
    let done = deliver(&mut *sink, 2..=2);
    assert_eq!(done.retries, Vec::<String>::new(), "the dead connection is noticed before it is used");
    assert_eq!(rig.received(), ids(1..=2));
}

fn refusing(kind: Kind) {
    let rig = kind.start();
    let mut sink = kind.sink(rig.server().address(), "");
    rig.server().fail(Fault::Answer(Reply::text(400, "what is this")));
    let done = deliver(&mut *sink, 1..=1);
    let [(_, reason)] = done.rejected.as_slice() else { panic!("{done:?}") };
    assert!(reason.contains("400") && reason.contains("what is this"), "{reason}");
    assert_eq!(deliver(&mut *sink, 2..=5).accepted, ids(2..=5), "the others are not held up");
    assert_eq!(rig.received(), ids(2..=5));
}

fn redirecting(kind: Kind) {
    // A client that follows the first turns it into a question without a body, the second asks for the same again.
    for status in [302, 307] {
        let (rig, elsewhere) = (kind.start(), kind.start());
        let mut sink = kind.sink(rig.server().address(), "");
        let location = elsewhere.server().url();
        rig.server().fail(Fault::Answer(Reply::text(status, "").with("location", &location)));
        let outcomes = sink.send(&integration::fakes::alerts::items(1..=1).unwrap());
        assert!(!matches!(outcomes[0], Outcome::Accepted), "{status}: {outcomes:?}");
        assert_eq!(elsewhere.server().connections(), 0, "nothing, and no secret, went there");
    }
}

fn compressed(kind: Kind) {
    let rig = kind.start();
    let mut sink = kind.sink(rig.server().address(), "gzip: true");
    assert_eq!(deliver(&mut *sink, 1..=20).accepted, ids(1..=20));
    assert_eq!(rig.received(), ids(1..=20));
    assert_eq!(rig.server().seen()[0].header("content-encoding"), Some("gzip"));
}
