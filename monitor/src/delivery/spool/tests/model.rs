//! Any sequence of appends, reads, kills and evictions against a model of what must hold: every number of a stream is received
//! or named, in order within a class, and nothing is received that was not appended.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Deed {
    Append {
        class: usize,
        both: bool,
        times: u8,
    },
    Take {
        sink: usize,
        most: usize,
        commit: bool,
    },
    Kill,
    PowerCut,
    /// The first sink is left out for one life of the agent.
    LeaveOut,
    /// Copies the cursors.
    Copy,
    /// The agent is killed, or the power is cut, and the copy is put back.
    PutBack {
        cut: bool,
    },
    /// So many alerts are left out before they are appended.
    Flood {
        class: usize,
        sink: usize,
        count: u8,
    },
    Tick,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => (0usize..3, any::<bool>(), 1u8..12)
            .prop_map(|(class, both, times)| Deed::Append { class, both, times }),
        4 => (0usize..2, 1usize..30, any::<bool>())
            .prop_map(|(sink, most, commit)| Deed::Take { sink, most, commit }),
        1 => Just(Deed::Kill),
        1 => Just(Deed::PowerCut),
        1 => Just(Deed::LeaveOut),
        1 => Just(Deed::Copy),
        1 => any::<bool>().prop_map(|cut| Deed::PutBack { cut }),
        1 => (0usize..3, 0usize..2, 1u8..200)
            .prop_map(|(class, sink, count)| Deed::Flood { class, sink, count }),
        1 => Just(Deed::Tick),
    ]
}

#[derive(Default)]
struct Model {
    /// By sink: ids that were appended for it.
    appended: [BTreeSet<u64>; 2],
    /// By sink: how many were left out.
    left_out: [usize; 2],
    got: [Vec<Got>; 2],
}

impl Model {
    fn check(&self) -> Result<(), TestCaseError> {
        for ((appended, left_out), got) in self.appended.iter().zip(self.left_out).zip(&self.got) {
            let mut ids: BTreeMap<u64, String> = BTreeMap::new();
            for got in got {
                let known = ids.entry(got.seq).or_insert_with(|| got.id.clone());
                prop_assert!(got.seq == 0 || *known == got.id, "a number is one alert's");
                if got.gone.is_none() {
                    prop_assert!(appended.contains(&got.id.parse().unwrap()));
                }
            }
            let last = got.iter().map(|got| got.seq).max().unwrap_or(0);
            let accounted = accounted(got);
            prop_assert!((1..=last).all(|seq| accounted.contains(&seq)), "{accounted:?} up to {last}");
            let received = got.iter().filter(|got| got.gone.is_none()).map(|got| got.seq);
            let received: BTreeSet<u64> = received.filter(|seq| *seq > 0).collect();
            let named: BTreeSet<u64> = accounted.difference(&received).copied().collect();
            prop_assert!(received.len() + named.len() >= appended.len() + left_out);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_number_is_received_or_named(deeds in proptest::collection::vec(deed(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let clock = TestClock::new();
        let limits = Limits { class: [64 << 10, 48 << 10, 40 << 10], ..Limits::default() };
        let mut model = Model::default();
        let mut writer = open(dir.path(), &["a", "b"], limits.clone(), &clock);
        let mut takers = [Taker::new(&writer, 0), Taker::new(&writer, 1)];
        let mut number = 0;
        let mut copy = Vec::new();
        for deed in deeds {
            match deed {
                Deed::Append { class, both, times } => for _ in 0..times {
                    number += 1;
                    let sinks: &[usize] = if both { &[0, 1] } else { &[0] };
                    writer.append(record(Class::ALL[class], number, &*clock), sinks);
                    sinks.iter().for_each(|sink| { model.appended[*sink].insert(number); });
                },
                Deed::Take { sink, most, commit } => {
                    model.got[sink].extend(takers[sink].take(most));
                    if commit {
                        takers[sink].commit();
                    }
                }
                Deed::Kill => {
                    drop((writer, takers));
                    writer = open(dir.path(), &["a", "b"], limits.clone(), &clock);
                    takers = [Taker::new(&writer, 0), Taker::new(&writer, 1)];
                }
                Deed::PowerCut => {
                    drop(takers);
                    power_cut(dir.path(), writer);
                    writer = open(dir.path(), &["a", "b"], limits.clone(), &clock);
                    takers = [Taker::new(&writer, 0), Taker::new(&writer, 1)];
                }
                Deed::LeaveOut => {
                    drop((writer, takers));
                    let mut alone = open(dir.path(), &["b"], limits.clone(), &clock);
                    for _ in 0..9 {
                        number += 1;
                        alone.append(record(Class::Normal, number, &*clock), &[0]);
                        model.appended[1].insert(number);
                    }
                    let mut taker = Taker::new(&alone, 0);
                    model.got[1].extend(taker.take(20));
                    taker.commit();
                    drop((alone, taker));
                    writer = open(dir.path(), &["a", "b"], limits.clone(), &clock);
                    takers = [Taker::new(&writer, 0), Taker::new(&writer, 1)];
                }
                Deed::Copy => copy = copy_of(dir.path(), is_cursor),
                Deed::PutBack { cut } => {
                    drop(takers);
                    if cut {
                        power_cut(dir.path(), writer);
                    } else {
                        drop(writer);
                    }
                    put_back(&copy);
                    writer = open(dir.path(), &["a", "b"], limits.clone(), &clock);
                    takers = [Taker::new(&writer, 0), Taker::new(&writer, 1)];
                }
                Deed::Flood { class, sink, count } => {
                    let span = (nanoseconds(&*clock), nanoseconds(&*clock));
                    let class = Class::ALL[class];
                    writer.leave_out(&LeftOut { sink, class, count: count.into(), span });
                    model.left_out[sink] += usize::from(count);
                }
                Deed::Tick => {
                    clock.pass(std::time::Duration::from_secs(2));
                    writer.tick();
                }
            }
        }
        for (taker, got) in takers.iter_mut().zip(&mut model.got) {
            got.extend(taker.take(usize::MAX));
            taker.commit();
            prop_assert_eq!(taker.waiting(), 0);
        }
        model.check()?;
    }
}
