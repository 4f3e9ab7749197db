//! A clock that stands still, and records to fill a spool with.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::alert::{AlertKind, GapInfo, SafeAlert, Tier, fixture};
use crate::delivery::{Class, Clock, Record};

mod disk;

pub(crate) use disk::*;

/// Time as a test has it.
#[derive(Debug, Default)]
pub(crate) struct TestClock {
    now: Mutex<Duration>,
    /// How far the wall clock jumped ahead.
    ahead: Mutex<Duration>,
}

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { now: Mutex::new(Duration::from_secs(1000)), ahead: Mutex::default() })
    }

    pub(crate) fn pass(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }

    /// The wall clock is put right.
    pub(crate) fn jump(&self, time: Duration) {
        *self.ahead.lock().unwrap() += time;
    }

    /// Not back.
    pub(crate) fn set(&self, time: Duration) {
        let mut now = self.now.lock().unwrap();
        *now = time.max(*now);
    }
}

impl Clock for TestClock {
    fn monotonic(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_second(1_790_000_000).unwrap()
            + jiff::SignedDuration::try_from(self.monotonic() + *self.ahead.lock().unwrap()).unwrap()
    }
}

/// An alert of this class whose id is this number.
pub(crate) fn alert(class: Class, number: u64) -> crate::alert::Alert {
    let mut alert = fixture::incident();
    alert.id = number.to_string();
    alert.tier = Some(match class {
        Class::High => Tier::Identity,
        Class::Normal => Tier::Boundary,
        Class::Low => Tier::Deviation,
    });
    alert
}

/// A small one, for where many are needed.
pub(crate) fn small_alert(class: Class, number: u64) -> crate::alert::Alert {
    crate::alert::Alert { evidence: None, blast_radius: None, ..alert(class, number) }
}

pub(crate) fn record(class: Class, number: u64, clock: &dyn Clock) -> Record {
    Record { class, accepted: nanoseconds(clock), alert: SafeAlert::new(alert(class, number)) }
}

/// What a writer says of evictions, without an engine.
pub(crate) fn say() -> Say {
    Box::new(|eviction| {
        let mut alert = fixture::gap();
        alert.kind = AlertKind::Gap;
        alert.gap = Some(GapInfo {
            reason: format!("{:?}", eviction.why),
            lost: eviction.count,
            sequences: eviction.seqs.runs().to_vec(),
            ..GapInfo::default()
        });
        alert
    })
}

pub(crate) fn open(dir: &Path, sinks: &[&str], limits: Limits, clock: &Arc<TestClock>) -> Writer {
    let names: Vec<String> = sinks.iter().map(|name| (*name).to_owned()).collect();
    let mut writer = Writer::open(dir, &names, limits, Arc::clone(clock) as Arc<dyn Clock>, say()).unwrap();
    // Whatever the disk that tests run on has left.
    writer.set_room(Box::new(|_| None));
    writer
}

/// A sink that reads what is there, and may tell so.
pub(crate) struct Taker {
    pub(crate) shared: Arc<Shared>,
    sink: usize,
    pull: Pull,
    at: [At; 3],
    done: Vec<Done>,
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) id: String,
    pub(crate) seq: u64,
    /// Of one that says that others were evicted: their numbers.
    pub(crate) gone: Option<Vec<[u64; 2]>>,
}

impl Taker {
    pub(crate) fn new(writer: &Writer, sink: usize) -> Self {
        let shared = writer.shared();
        let (key, at) = {
            let index = shared.lock();
            (index.sinks[sink].key, index.sinks[sink].cursor.at)
        };
        Self {
            pull: Pull::new(Arc::clone(&shared), key),
            shared,
            sink,
            at: at.map(At::new),
            done: Vec::new(),
        }
    }

    /// At most so many, the highest class first.
    pub(crate) fn take(&mut self, most: usize) -> Vec<Got> {
        let mut all = Vec::new();
        for class in Class::ALL {
            while all.len() < most
                && let Some(pulled) = self.pull.next(class, &mut self.at[class.order()], u64::MAX)
            {
                let (entry, seq) = match pulled {
                    Pulled::Entry(entry, seq) => (entry, seq),
                    Pulled::Lost(lost) => {
                        self.shared.lost(self.sink, class, lost.records);
                        let gone = Some(lost.seqs.runs().to_vec());
                        all.push(Got { id: String::new(), seq: 0, gone });
                        continue;
                    }
                    Pulled::Unreadable(..) => panic!("unreadable"),
                };
                self.done.push(Done { class, number: entry.number, seq });
                let alert = &entry.record.alert;
                let gone =
                    (entry.sort == Sort::Evicted).then(|| alert.gap.as_ref().unwrap().sequences.clone());
                all.push(Got { id: alert.id.clone(), seq, gone });
            }
        }
        all
    }

    pub(crate) fn commit(&mut self) {
        self.try_commit().unwrap();
    }

    /// The same on a disk that may not take the cursor.
    pub(crate) fn try_commit(&mut self) -> std::io::Result<()> {
        self.shared.advance(self.sink, [0, 1, 2].map(|order| self.at[order].number), &self.done);
        self.done.clear();
        self.shared.save(self.sink)
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.shared.waiting(self.sink)
    }
}

/// The numbers of a stream that were received or are named as gone.
pub(crate) fn accounted(got: &[Got]) -> std::collections::BTreeSet<u64> {
    let named = got.iter().flat_map(|got| got.gone.iter().flatten()).flat_map(|[a, b]| *a..=*b);
    got.iter().map(|got| got.seq).filter(|seq| *seq > 0).chain(named).collect()
}
