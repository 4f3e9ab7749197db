//! The kernel's own statistics of BPF programs: how often each ran and how long that took.

use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;

/// Turns the statistics on until it is dropped.
pub(crate) struct Enabled {
    before: String,
}

impl Enabled {
    pub(crate) fn new() -> Result<Self> {
        let before = std::fs::read_to_string(SWITCH).with_context(|| format!("cannot read {SWITCH}"))?;
        std::fs::write(SWITCH, "1").with_context(|| format!("cannot write {SWITCH}"))?;
        Ok(Self { before })
    }
}

impl Drop for Enabled {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(SWITCH, self.before.trim()) {
            eprintln!("bench: {SWITCH} stays at 1: {error}");
        }
    }
}

/// Runs of a program since the statistics were turned on.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Runs {
    pub(crate) name: String,
    pub(crate) runs: u64,
    pub(crate) nanoseconds: u64,
}

/// By program id.
pub(crate) type Snapshot = BTreeMap<u64, Runs>;

/// Reads the statistics of programs.
pub(crate) fn snapshot(ids: &BTreeSet<u64>) -> Result<Snapshot> {
    ids.iter().map(|&id| Ok((id, info(id)?))).collect()
}

/// What happened between two snapshots; programs that did not run are left out.
pub(crate) fn difference(before: &Snapshot, after: &Snapshot) -> Vec<Runs> {
    let mut all: Vec<Runs> = after
        .iter()
        .map(|(id, now)| {
            let (runs, nanoseconds) = before.get(id).map_or((0, 0), |then| (then.runs, then.nanoseconds));
            Runs {
                name: now.name.clone(),
                runs: now.runs.saturating_sub(runs),
                nanoseconds: now.nanoseconds.saturating_sub(nanoseconds),
            }
        })
        .filter(|runs| runs.runs > 0)
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// `union bpf_attr` as far as BPF_PROG_GET_FD_BY_ID goes.
#[repr(C)]
#[derive(Default)]
struct GetById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// `union bpf_attr` as far as BPF_OBJ_GET_INFO_BY_FD goes.
#[repr(C)]
#[derive(Default)]
struct GetInfo {
    fd: u32,
    info_len: u32,
    info: u64,
}

/// `struct bpf_prog_info` of include/uapi/linux/bpf.h, up to the last field that is read. The kernel
/// copies as much as it is told there is room for.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    head: [u64; 8],
    name: [u8; 16],
    ifindex_and_flags: [u32; 2],
    netns: [u64; 2],
    ksym_counts: [u32; 2],
    ksyms: [u64; 2],
    btf_and_func_info_size: [u32; 2],
    func_info: u64,
    info_counts: [u32; 2],
    line_infos: [u64; 2],
    line_counts: [u32; 4],
    prog_tags: u64,
    run_time_ns: u64,
    run_cnt: u64,
}

fn info(id: u64) -> Result<Runs> {
    let mut by_id = GetById { id: u32::try_from(id)?, ..GetById::default() };
    let fd =
        bpf(BPF_PROG_GET_FD_BY_ID, &mut by_id).with_context(|| format!("cannot open BPF program {id}"))?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut program = ProgramInfo::default();
    let mut request = GetInfo {
        fd: u32::try_from(fd.as_raw_fd())?,
        info_len: u32::try_from(size_of::<ProgramInfo>())?,
        info: (&raw mut program).addr() as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut request).with_context(|| format!("cannot ask for BPF program {id}"))?;
    let name = program.name.split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(Runs {
        name: String::from_utf8_lossy(name).into_owned(),
        runs: program.run_cnt,
        nanoseconds: program.run_time_ns,
    })
}

fn bpf<T>(command: libc::c_int, attribute: &mut T) -> Result<libc::c_int> {
    // SAFETY: the attribute is a live #[repr(C)] value of the size that is passed, and what it points to
    // outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attribute), size_of::<T>() as libc::c_uint)
    };
    if result < 0 {
        bail!("bpf({command}): {}", std::io::Error::last_os_error());
    }
    Ok(libc::c_int::try_from(result)?)
}

#[cfg(test)]
mod tests {
    use super::{ProgramInfo, Runs, Snapshot, difference};
    use std::mem::offset_of;

    #[test]
    fn program_info_has_the_kernels_layout() {
        assert_eq!(offset_of!(ProgramInfo, name), 64);
        assert_eq!(offset_of!(ProgramInfo, netns), 88);
        assert_eq!(offset_of!(ProgramInfo, run_time_ns), 192);
        assert_eq!(offset_of!(ProgramInfo, run_cnt), 200);
    }

    #[test]
    fn difference_leaves_out_programs_that_did_not_run() {
        let runs = |runs| Runs { name: "p".into(), runs, nanoseconds: runs * 10 };
        let before: Snapshot = [(1, runs(5)), (2, runs(7))].into();
        let after: Snapshot = [(1, runs(8)), (2, runs(7))].into();
        assert_eq!(difference(&before, &after), [Runs { name: "p".into(), runs: 3, nanoseconds: 30 }]);
    }
}
