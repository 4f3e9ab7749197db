//! The spool on real files, room by room.

use std::collections::BTreeMap;
use std::path::Path;

use super::testing::*;
use super::*;
use crate::delivery::Class;

mod evictions;
mod full_disk;
mod model;
mod named;
mod power;
mod rollback;

mod start;

/// Every number is one alert's, and each up to the last was received or named.
fn check(got: &[Got]) {
    let mut ids: BTreeMap<u64, &str> = BTreeMap::new();
    for Got { seq, id, .. } in got.iter().filter(|got| got.seq > 0) {
        assert_eq!(*ids.entry(*seq).or_insert(id), id, "number {seq} is one alert's");
    }
    let last = got.iter().map(|got| got.seq).max().unwrap();
    let accounted = accounted(got);
    let missing: Vec<u64> = (1..=last).filter(|seq| !accounted.contains(seq)).collect();
    assert!(missing.is_empty(), "{missing:?} of {last}: {got:?}");
}

fn stream(writer: &Writer) -> String {
    writer.shared().lock().sinks[0].cursor.stream.clone()
}

fn seqs(got: &[Got]) -> Vec<u64> {
    got.iter().map(|got| got.seq).collect()
}

/// A spool with so many records of class normal for sink `a`, closed as a kill closes it.
fn filled(dir: &Path, count: u64, clock: &std::sync::Arc<TestClock>, limits: &Limits) {
    let mut writer = open(dir, &["a"], limits.clone(), clock);
    for number in 1..=count {
        writer.append(record(Class::Normal, number, &**clock), &[0]);
    }
}

fn ids(got: &[Got]) -> Vec<u64> {
    got.iter().filter(|got| got.gone.is_none()).map(|got| got.id.parse().unwrap()).collect()
}
