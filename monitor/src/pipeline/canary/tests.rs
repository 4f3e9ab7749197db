use monitor_common::filter::access;
use monitor_common::hook::Kind;
use monitor_common::record::Header;

use super::*;
use crate::event::fixture;
use crate::pipeline::tests::pipeline_of;

const LABEL: u32 = 9;
const PORT: u16 = 40_001;

fn watching() -> Pipeline {
    let mut pipeline =
        pipeline_of(crate::pipeline::tests::RULES, crate::pipeline::tests::FakeProc::default());
    pipeline.watch_canary(LABEL, PORT).unwrap();
    pipeline
}

fn head(kind: Kind, label: u32) -> Header {
    let late = monitor_common::map::proc_flags::LATE;
    Header { time: 5_000, proc_flags: late, ..fixture::header(kind, 4_000_000, 1_000, label) }
}

fn signs(pipeline: &mut Pipeline, record: &[u8]) -> Vec<Signal> {
    pipeline.handle(record, 6_000);
    pipeline.tick(2_000_000_000);
    assert!(pipeline.next_alert().is_none(), "the canary is never an alert");
    pipeline.take_canary_signs().into_iter().map(|(signal, _)| signal).collect()
}

#[test]
fn each_act_of_the_canary_is_a_sign_and_no_alert() {
    let mut pipeline = watching();
    let path = format!("/proc/4000000/{KEPT_MARKER}");
    let open = fixture::open(head(Kind::Open, LABEL), &path, access::READ, 0);
    assert_eq!(signs(&mut pipeline, &open), [Signal::Open]);
    let connect = fixture::connect(head(Kind::Connect, LABEL), [127, 0, 0, 1], PORT);
    assert_eq!(signs(&mut pipeline, &connect), [Signal::Connect]);
    let exec =
        fixture::exec(head(Kind::Exec, LABEL), 1_000, (1, 1), "/usr/bin/sandwatch", &["x", "canary", "0"]);
    assert_eq!(signs(&mut pipeline, &exec), [Signal::Exec]);
    assert_eq!(
        signs(&mut pipeline, &fixture::fork(4_000_001, 2_000, (4_000_000, 1_000), 1_000, LABEL)),
        [Signal::Fork]
    );
    assert_eq!(pipeline.counts().findings, 0);
    assert_eq!(pipeline.counts().no_worker, 0);
    assert!(pipeline.processes().is_empty());
}

#[test]
fn an_act_that_is_not_the_canarys_is_no_sign() {
    let mut pipeline = watching();
    let other_file = fixture::open(head(Kind::Open, LABEL), "/etc/passwd", access::READ, 0);
    assert_eq!(signs(&mut pipeline, &other_file), []);
    let other_port = fixture::connect(head(Kind::Connect, LABEL), [127, 0, 0, 1], PORT + 1);
    assert_eq!(signs(&mut pipeline, &other_port), []);
    let path = format!("/proc/4000000/{KEPT_MARKER}");
    let others = fixture::open(head(Kind::Open, LABEL + 1), &path, access::READ, 0);
    pipeline.handle(&others, 6_000);
    assert_eq!(pipeline.take_canary_signs(), []);
}
