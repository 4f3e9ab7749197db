//! What the sensor is asked to do: which rungs, how large the maps, how much each worker may send.

use std::collections::BTreeMap;
use std::str::FromStr;

use monitor_common::hook::{LANES, Rung, SIGNALS, Signal};

use super::error::KernelError;

/// Options of [`super::Sensor::start`]. `Default` is what `sandwatch run` uses without a configuration.
#[derive(Clone, Debug, Default)]
pub struct SensorOptions {
    /// Rungs that are pinned.
    pub hooks: HookChoice,
    /// Sizes of the maps.
    pub sizes: MapSizes,
    /// Budget of each worker.
    pub rates: Rates,
    /// Names of environment variables whose values are taken at exec (at most `record::ENV_NAMES_MAX`).
    pub env_names: Vec<String>,
    /// Whether a canary is kept that acts while the agent runs: this program, started once more (see `canary::kept`).
    pub canary: bool,
}

/// Sizes of the maps. From Linux 6.1 on memory follows use, so a large number costs nothing (ring buffers excepted); before, hash
/// maps are allocated whole (see `prealloc`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSizes {
    /// Bytes of the priority ring; rounded up to a power of two of pages.
    pub priority_ring: u32,
    /// Bytes of the lifecycle ring; rounded up likewise.
    pub lifecycle_ring: u32,
    /// Most label ids, the canary's included; labels are `1..labels - 1`.
    pub labels: u32,
    /// Most labelled cgroups.
    pub cgroups: u32,
    /// Most live processes of workers.
    pub processes: u32,
    /// Most known files of the open filter; prefixes, file names and folder names have a quarter of it each.
    pub filters: u32,
}

impl Default for MapSizes {
    fn default() -> Self {
        Self {
            priority_ring: 2 << 20,
            lifecycle_ring: 2 << 20,
            labels: 2_048,
            cgroups: 16_384,
            processes: 65_536,
            filters: 16_384,
        }
    }
}

/// Room for the labels of what is no worker: folders in which workers are made, and what is made in them until it was looked at.
const FOLDERS: u32 = 16_384;

impl MapSizes {
    /// Cgroups that can be labelled: workers', those below them, and folders.
    pub fn labelled(&self) -> u32 {
        self.cgroups.saturating_add(FOLDERS)
    }

    /// Entries (bytes, for the rings) by name of map.
    pub(crate) fn entries(&self) -> Vec<(&'static str, u32)> {
        let labels = self.labels.max(2);
        let mut entries = vec![
            ("RING_PRIORITY", self.priority_ring),
            ("RING_LIFECYCLE", self.lifecycle_ring),
            ("LABELS", self.labelled()),
            ("PROCS", self.processes),
            ("LABEL_TALLY", labels.saturating_mul(SIGNALS as u32)),
            ("BUCKETS", labels.saturating_mul(LANES as u32)),
        ];
        let inodes = |name: &str| name.starts_with("FILTER_INODE");
        entries.extend(
            FILTER_MAPS
                .iter()
                .map(|name| (*name, if inodes(name) { self.filters } else { self.filters / 4 })),
        );
        entries
    }

    /// Binary logarithm of each lane's ring size.
    pub(crate) fn ring_bits(&self) -> [u32; LANES] {
        [self.priority_ring, self.lifecycle_ring].map(|size| size.max(1).ilog2())
    }

    /// Label of the canary: the last.
    pub(crate) fn canary_label(&self) -> u32 {
        self.labels.max(2) - 1
    }
}

const FILTER_MAPS: [&str; 8] = [
    "FILTER_INODE_0",
    "FILTER_INODE_1",
    "FILTER_PREFIX_0",
    "FILTER_PREFIX_1",
    "FILTER_NAME_0",
    "FILTER_NAME_1",
    "FILTER_PARENT_0",
    "FILTER_PARENT_1",
];

/// Token budget of each worker and lane, per CPU: over it, records become a counted, named loss of that worker alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Records per second in the priority lane.
    pub priority: u64,
    /// Records per second in the lifecycle lane.
    pub lifecycle: u64,
    /// Bucket size in seconds of rate.
    pub burst_seconds: u64,
}

impl Default for Rates {
    fn default() -> Self {
        // No worker that means well comes near them. They need not fit the ring: what a flooder sends into one that is
        // more than half full costs it more and more (`monitor_common::budget`).
        Self { priority: 5_000, lifecycle: 10_000, burst_seconds: 1 }
    }
}

/// Which rungs are pinned: `auto`, one rung for every signal that has it, or `signal=rung` pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookChoice {
    all: Option<Rung>,
    by_signal: BTreeMap<Signal, Rung>,
}

impl HookChoice {
    /// The rung pinned for a signal, and whether it was named for this very signal (then its absence is an error, while a
    /// rung pinned for all signals applies only to those that have it).
    pub fn pinned(&self, signal: Signal) -> Option<(Rung, bool)> {
        self.by_signal.get(&signal).map(|rung| (*rung, true)).or(self.all.map(|rung| (rung, false)))
    }

    /// Whether nothing is pinned.
    pub fn is_auto(&self) -> bool {
        self.all.is_none() && self.by_signal.is_empty()
    }
}

impl FromStr for HookChoice {
    type Err = KernelError;

    /// `auto`, `lsm`, `open=kprobe,connect=cgroup`, or both: `tracepoint,connect=cgroup`.
    fn from_str(text: &str) -> Result<Self, KernelError> {
        let mut choice = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty() && *word != "auto") {
            match word.split_once('=') {
                None => choice.all = Some(rung(word)?),
                Some((signal, "auto")) => {
                    choice.by_signal.remove(&named_signal(signal)?);
                }
                Some((signal, name)) => {
                    choice.by_signal.insert(named_signal(signal)?, rung(name)?);
                }
            }
        }
        Ok(choice)
    }
}

fn rung(name: &str) -> Result<Rung, KernelError> {
    Rung::ALL.iter().copied().find(|rung| rung.name() == name).ok_or_else(|| {
        KernelError::Hooks(format!(
            "`{name}` is no rung; known: {}",
            names(Rung::ALL.iter().map(|r| r.name()))
        ))
    })
}

fn named_signal(name: &str) -> Result<Signal, KernelError> {
    Signal::ALL.iter().copied().find(|signal| signal.name() == name).ok_or_else(|| {
        KernelError::Hooks(format!(
            "`{name}` is no signal; known: {}",
            names(Signal::ALL.iter().map(|s| s.name()))
        ))
    })
}

fn names(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_auto_pins_nothing() {
        assert!("auto".parse::<HookChoice>().unwrap().is_auto());
    }

    #[test]
    fn hooks_pair_wins_over_the_rung_for_all() {
        let choice: HookChoice = "tracepoint, connect=cgroup".parse().unwrap();
        assert_eq!(choice.pinned(Signal::Open), Some((Rung::Tracepoint, false)));
        assert_eq!(choice.pinned(Signal::Connect), Some((Rung::Cgroup, true)));
    }

    #[test]
    fn hooks_unknown_word_names_the_known_ones() {
        let message = "lsn".parse::<HookChoice>().unwrap_err().to_string();
        assert!(message.contains("`lsn`") && message.contains("lsm"), "{message}");
        let message = "opne=lsm".parse::<HookChoice>().unwrap_err().to_string();
        assert!(message.contains("`opne`") && message.contains("connect"), "{message}");
    }
}
