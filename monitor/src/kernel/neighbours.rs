//! Other people's programs on the root cgroup's connect and send hooks: a service mesh rewrites addresses there, before or after
//! our own programs read them.

use std::fs::File;
use std::os::fd::AsRawFd;

use aya::programs::loaded_programs;

/// Hooks of include/uapi/linux/bpf.h, `enum bpf_attach_type`.
const HOOKS: [(u32, &str); 4] = [(10, "connect4"), (11, "connect6"), (14, "sendmsg4"), (15, "sendmsg6")];
/// `BPF_PROG_QUERY`.
const PROG_QUERY: i64 = 16;
/// Most programs asked for per hook (the kernel's own limit is 64: include/linux/bpf-cgroup.h, `BPF_CGROUP_MAX_PROGS`).
const IDS_MAX: usize = 64;

/// The query's part of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    pad: u32,
}

/// Programs on the hooks whose ids are not in `own`: "NAME on HOOK". What cannot be asked is not in it.
pub(crate) fn find(cgroup: &File, own: &[u32]) -> Vec<String> {
    let mut found = Vec::new();
    for (attach_type, hook) in HOOKS {
        found
            .extend(ids(cgroup, attach_type).into_iter().filter(|id| !own.contains(id)).map(|id| (id, hook)));
    }
    if found.is_empty() {
        return Vec::new();
    }
    let names: Vec<(u32, String)> = loaded_programs()
        .flatten()
        .map(|program| (program.id(), String::from_utf8_lossy(program.name()).into_owned()))
        .collect();
    let name_of =
        |id: u32| names.iter().find(|(known, _)| *known == id).map_or("?", |(_, name)| name.as_str());
    found.into_iter().map(|(id, hook)| format!("{} (id {id}) on {hook}", name_of(id))).collect()
}

fn ids(cgroup: &File, attach_type: u32) -> Vec<u32> {
    let mut ids = vec![0u32; IDS_MAX];
    let mut query = Query {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_type,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: IDS_MAX as u32,
        ..Query::default()
    };
    // SAFETY: the attribute and the array it points to outlive the call, and the sizes given are theirs.
    let result = unsafe { libc::syscall(libc::SYS_bpf, PROG_QUERY, &raw mut query, size_of::<Query>()) };
    if result != 0 {
        return Vec::new();
    }
    ids.truncate(query.prog_cnt as usize);
    ids
}
