//! The doors to the probes' maps: labels, processes, settings, filter, environment names, counters.

use std::borrow::Borrow;

use aya::maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, PerCpuHashMap};
use monitor_common::filter::{NAME_MAX, PREFIX_MAX};
use monitor_common::map::{
    Bucket, BucketKey, ErrorKey, FilterValue, InodeKey, Label, LaneTally, OverlayOffsets, ProcState,
    Settings, Tally, UNCLASSIFIED, proc_flags,
};
use monitor_common::record::ENV_NAME_MAX;

use super::error::KernelError;
use super::load::{Programs, words};
use super::options::Rates;

/// `BPF_NOEXIST`: insert only.
const NOEXIST: u64 = 1;
/// `BPF_EXIST`: update only.
const EXIST: u64 = 2;

/// All maps but the rings.
pub(crate) struct Maps {
    pub(crate) labels: HashMap<MapData, u64, Label>,
    pub(crate) procs: HashMap<MapData, u32, ProcState>,
    pub(crate) authors: HashMap<MapData, u64, u64>,
    pub(crate) settings: Array<MapData, Settings>,
    pub(crate) env: HashMap<MapData, [u8; ENV_NAME_MAX], u32>,
    pub(crate) filters: [FilterMaps; 2],
    pub(crate) program_tally: PerCpuArray<MapData, Tally>,
    pub(crate) label_tally: PerCpuArray<MapData, Tally>,
    pub(crate) lane_tally: PerCpuArray<MapData, LaneTally>,
    pub(crate) buckets: PerCpuHashMap<MapData, BucketKey, Bucket>,
    pub(crate) errors: HashMap<MapData, ErrorKey, u64>,
    pub(crate) overlay: Array<MapData, OverlayOffsets>,
}

/// One generation of the watched-path filter.
pub(crate) struct FilterMaps {
    pub(crate) inodes: HashMap<MapData, InodeKey, FilterValue>,
    pub(crate) prefixes: LpmTrie<MapData, [u8; PREFIX_MAX], FilterValue>,
    pub(crate) names: HashMap<MapData, [u8; NAME_MAX], FilterValue>,
    pub(crate) parents: HashMap<MapData, [u8; NAME_MAX], FilterValue>,
    /// Names that are in neither, as `monitor_common::filter::skip_bit` places them.
    pub(crate) skip: Array<MapData, u64>,
}

impl Maps {
    /// Takes them out of the object.
    pub(crate) fn take(programs: &mut Programs) -> Result<Self, KernelError> {
        Ok(Self {
            labels: typed(programs, "LABELS")?,
            procs: typed(programs, "PROCS")?,
            authors: typed(programs, "AUTHORS")?,
            settings: typed(programs, "SETTINGS")?,
            env: typed(programs, "ENV_NAMES")?,
            filters: [
                FilterMaps {
                    inodes: typed(programs, "FILTER_INODE_0")?,
                    prefixes: typed(programs, "FILTER_PREFIX_0")?,
                    names: typed(programs, "FILTER_NAME_0")?,
                    parents: typed(programs, "FILTER_PARENT_0")?,
                    skip: typed(programs, "FILTER_SKIP_0")?,
                },
                FilterMaps {
                    inodes: typed(programs, "FILTER_INODE_1")?,
                    prefixes: typed(programs, "FILTER_PREFIX_1")?,
                    names: typed(programs, "FILTER_NAME_1")?,
                    parents: typed(programs, "FILTER_PARENT_1")?,
                    skip: typed(programs, "FILTER_SKIP_1")?,
                },
            ],
            program_tally: typed(programs, "PROGRAM_TALLY")?,
            label_tally: typed(programs, "LABEL_TALLY")?,
            lane_tally: typed(programs, "LANE_TALLY")?,
            buckets: typed(programs, "BUCKETS")?,
            errors: typed(programs, "ERRORS")?,
            overlay: typed(programs, "OVERLAY")?,
        })
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> Result<Settings, KernelError> {
        self.settings.get(&0, 0).map_err(|error| failed("SETTINGS", "read", &error))
    }

    /// Changes the settings.
    pub(crate) fn set_settings(&mut self, settings: Settings) -> Result<(), KernelError> {
        self.settings.set(0, settings, 0).map_err(|error| failed("SETTINGS", "write", &error))
    }

    /// Puts budgets in force.
    pub(crate) fn set_rates(&mut self, rates: Rates) -> Result<(), KernelError> {
        let settings = self.settings()?;
        self.set_settings(Settings {
            priority_rate: rates.priority,
            lifecycle_rate: rates.lifecycle,
            burst_seconds: rates.burst_seconds,
            ..settings
        })
    }

    /// Labels a cgroup.
    pub(crate) fn label(&mut self, cgroup: u64, label: Label) -> Result<(), KernelError> {
        self.labels.insert(cgroup, label, 0).map_err(|error| failed("LABELS", "label a cgroup", &error))
    }

    /// Gives a cgroup another label; one that has none by now keeps none.
    pub(crate) fn relabel(&mut self, cgroup: u64, label: Label) -> Result<(), KernelError> {
        match self.labels.insert(cgroup, label, EXIST) {
            Err(error) if errno(&error) == Some(libc::ENOENT) => Ok(()),
            result => result.map_err(|error| failed("LABELS", "label a cgroup", &error)),
        }
    }

    /// Removes a cgroup's label.
    pub(crate) fn unlabel(&mut self, cgroup: u64) -> Result<(), KernelError> {
        absent(self.labels.remove(&cgroup))
            .map(drop)
            .map_err(|error| failed("LABELS", "remove a label", &error))
    }

    /// The label of a cgroup.
    pub(crate) fn label_of(&self, cgroup: u64) -> Result<Option<Label>, KernelError> {
        absent(self.labels.get(&cgroup, 0)).map_err(|error| failed("LABELS", "read a label", &error))
    }

    /// Puts in a process; `false` if a probe has put it in already.
    pub(crate) fn put_process(&mut self, pid: u32, state: &ProcState) -> Result<bool, KernelError> {
        match self.procs.insert(pid, state, NOEXIST) {
            Ok(()) => Ok(true),
            Err(error) if errno(&error) == Some(libc::EEXIST) => Ok(false),
            Err(error) => Err(failed("PROCS", "put in a process", &error)),
        }
    }

    /// Removes the entry of a process that was entered in a cgroup nobody had looked at, if no worker has claimed it since.
    pub(crate) fn forget_unclassified(&mut self, pid: u32) -> Result<(), KernelError> {
        let entry =
            absent(self.procs.get(&pid, 0)).map_err(|error| failed("PROCS", "read a process", &error))?;
        if entry.is_some_and(|state| state.label == UNCLASSIFIED) {
            absent(self.procs.remove(&pid)).map_err(|error| failed("PROCS", "remove a process", &error))?;
        }
        Ok(())
    }

    /// Marks an image as at or below an author root. Not in its process's entry: only the probes change those, or the
    /// agent would undo an exec that happens at the same moment.
    pub(crate) fn mark_author(&mut self, exec_id: u64, root: u64) -> Result<(), KernelError> {
        self.authors.insert(exec_id, root, 0).map_err(|error| failed("AUTHORS", "mark an image", &error))
    }

    /// The entry of a process, with the mark of its image.
    pub(crate) fn process(&self, pid: u32) -> Result<Option<ProcState>, KernelError> {
        let entry =
            absent(self.procs.get(&pid, 0)).map_err(|error| failed("PROCS", "read a process", &error))?;
        let Some(mut state) = entry else { return Ok(None) };
        if state.author_root == 0
            && let Some(root) = absent(self.authors.get(&state.exec_id, 0))
                .map_err(|error| failed("AUTHORS", "read a mark", &error))?
        {
            state.author_root = root;
            state.flags |= proc_flags::AUTHOR;
        }
        Ok(Some(state))
    }
}

impl std::fmt::Debug for Maps {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("Maps")
    }
}

fn typed<T>(programs: &mut Programs, name: &'static str) -> Result<T, KernelError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let map = programs.take_map(name)?;
    T::try_from(map)
        .map_err(|error| KernelError::ObjectMismatch { reason: format!("map {name}: {}", words(&error)) })
}

/// Removes every key of a map that `keys` lists.
pub(crate) fn clear<K, E>(
    name: &'static str,
    keys: impl Iterator<Item = Result<K, MapError>>,
    mut remove: impl FnMut(K) -> Result<(), E>,
) -> Result<(), KernelError>
where
    E: Borrow<MapError>,
{
    for key in keys {
        let key = key.map_err(|error| failed(name, "list the keys", &error))?;
        if let Err(error) = remove(key)
            && !is_absent(error.borrow())
        {
            return Err(failed(name, "remove a key", error.borrow()));
        }
    }
    Ok(())
}

/// "No such key" is an answer, not an error.
pub(crate) fn absent<T>(result: Result<T, MapError>) -> Result<Option<T>, MapError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_absent(error: &MapError) -> bool {
    matches!(error, MapError::KeyNotFound | MapError::ElementNotFound) || errno(error) == Some(libc::ENOENT)
}

/// The errno of a failed map operation.
pub(crate) fn errno(error: &MapError) -> Option<i32> {
    match error {
        MapError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    }
}

/// A map operation's failure in words.
pub(crate) fn failed(map: &'static str, action: &'static str, error: &MapError) -> KernelError {
    let reason = match errno(error) {
        Some(libc::E2BIG) => "the map is full; raise its size in the configuration".to_owned(),
        _ => words(error),
    };
    KernelError::Map { map, action, reason }
}
