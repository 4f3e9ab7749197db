//! exec: a program was executed; read after the point of no return, from the new mm.

use aya_ebpf::macros::{btf_tracepoint, raw_tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, RawTracePointContext};
use monitor_common::hook::{Kind, Lane, Rung, Signal};
use monitor_common::map::proc_flags;
use monitor_common::program;
use monitor_common::record::{ARGV_MAX, Exec, Header, PATH_MAX, Slice, exec_flags, slice_flags};

use crate::maps::EXECS;
use crate::offsets::*;
use crate::path::Path;
use crate::read::{self, field, field_or, kernel};
use crate::record::Record;
use crate::scratch::{CHUNK, Large};
use crate::subject::{self, Subject};
use crate::{cred, emit, env, exe, inode, namespace, procs, stdio};

/// exec, BTF rung. Arguments: the task, its pid before, the `linux_binprm`.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn btf_exec(ctx: BtfTracePointContext) -> i32 {
    let bprm: *const u8 = ctx.arg(2);
    exec(program::BTF_EXEC, Rung::TpBtf, bprm as u64)
}

/// exec, raw rung.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn raw_exec(ctx: RawTracePointContext) -> i32 {
    exec(program::RAW_EXEC, Rung::RawTp, ctx.arg(2))
}

#[inline(always)]
fn exec(program: u32, rung: Rung, bprm: u64) -> i32 {
    let Some(subject) = subject::worker(program, Signal::Exec, rung) else { return 0 };
    let start = subject::start_of(subject.task);
    let old_exec_id = renew(&subject, start);
    let known = |exec: *mut Exec| {
        // SAFETY: a claimed slot or reserved ring memory.
        unsafe { (*exec).old_exec_id = old_exec_id };
    };
    let Some(mut record) = Record::<Large, Exec>::claim() else {
        emit::bare::<Exec>(&subject, Kind::Exec, Lane::Lifecycle, known);
        return 0;
    };
    known(record.fixed());
    people(record.fixed(), subject.task);
    spaces(record.fixed(), subject.task);
    descriptors(record.fixed(), subject.task);
    strings(&mut record, &subject, bprm);
    file(record.fixed(), subject.task);
    before(record.fixed(), subject.task);
    let header: *mut Header = record.fixed().cast();
    let state = procs::of(subject.pid, start);
    subject::fill_with(header, &subject, Kind::Exec, Lane::Lifecycle, start, state);
    record.finish(&subject, Kind::Exec, Lane::Lifecycle, known);
    0
}

/// Gives the process its new image in the process map, before anything can throttle the record. Returns the old image's
/// id, 0 if unknown.
#[inline(always)]
fn renew(subject: &Subject, start: u64) -> u64 {
    let state = match procs::of(subject.pid, start) {
        Some(state) => state,
        None => match procs::late(subject, start) {
            Some(state) => state,
            None => return 0,
        },
    };
    // SAFETY: a map value.
    let state = unsafe { &mut *state };
    let old = state.exec_id;
    // The mark stays with the process: its images below an author root are an author's too.
    state.author_root = procs::author_root(state);
    if state.author_root != 0 {
        state.flags |= proc_flags::AUTHOR;
    }
    state.exec_id = image_id();
    (state.exe_ino, state.exe_dev) = exe::identity(subject.task);
    state.uid = cred::effective(subject.task).0;
    state.flags |= proc_flags::EXECED;
    old
}

/// An id no other image has on this boot: the clock without its last microsecond, and the CPU, on which two execs cannot
/// end within one. The top bit tells it from the start time that a fork's image has as id.
#[inline(always)]
fn image_id() -> u64 {
    const CPU_BITS: u64 = 1023;
    // SAFETY: no arguments.
    let cpu = unsafe { aya_ebpf::helpers::bpf_get_smp_processor_id() } as u64;
    1 << 63 | subject::now() & !CPU_BITS | cpu & CPU_BITS
}

/// Who: real ids, parent.
#[inline(always)]
fn people(exec: *mut Exec, task: u64) {
    let (ruid, rgid) = cred::real(task);
    let parent = read::or_zero::<u64>(task, &OFF_TASK_REAL_PARENT);
    // SAFETY: the fixed part of a claimed slot.
    unsafe {
        (*exec).ruid = ruid;
        (*exec).rgid = rgid;
        (*exec).parent_pid = read::or_zero(parent, &OFF_TASK_TGID);
        (*exec).parent_start = subject::start_of(parent);
    }
}

/// Where: namespaces.
#[inline(always)]
fn spaces(exec: *mut Exec, task: u64) {
    // SAFETY: the fixed part of a claimed slot.
    unsafe {
        (*exec).ns_pid = namespace::pid(task);
        (*exec).mnt_ns = namespace::of_task(task, &OFF_NSPROXY_MNT, &OFF_MNT_NS_INUM);
        (*exec).pid_ns = namespace::of_task(task, &OFF_NSPROXY_PID, &OFF_PID_NS_INUM);
        (*exec).net_ns = namespace::of_task(task, &OFF_NSPROXY_NET, &OFF_NET_NS_INUM);
        (*exec).cgroup_ns = namespace::of_task(task, &OFF_NSPROXY_CGROUP, &OFF_CGROUP_NS_INUM);
        (*exec).user_ns = namespace::user(task);
    }
}

/// Standard descriptors.
#[inline(always)]
fn descriptors(exec: *mut Exec, task: u64) {
    let table = stdio::table(task);
    let (stdin, stdin_ino) = stdio::describe(table, 0);
    let (stdout, stdout_ino) = stdio::describe(table, 1);
    let (stderr, stderr_ino) = stdio::describe(table, 2);
    // SAFETY: the fixed part of a claimed slot.
    unsafe {
        (*exec).stdio = [stdin, stdout, stderr, 0];
        (*exec).stdio_ino = [stdin_ino, stdout_ino, stderr_ino];
    }
}

/// The paths, the arguments and the environment, in the order in which they are dearest when room runs out.
#[inline(always)]
fn strings(record: &mut Record<Large, Exec>, subject: &Subject, bprm: u64) {
    let mm = read::or_zero::<u64>(subject.task, &OFF_TASK_MM);
    paths(record, subject.task);
    let name = read::or_zero::<u64>(bprm, &OFF_BPRM_FILENAME);
    let interp = read::or_zero::<u64>(bprm, &OFF_BPRM_INTERP);
    let filename = record.kernel_str(name, PATH_MAX as u32, 0);
    let exec = record.fixed();
    // SAFETY: the fixed part of a claimed slot.
    unsafe {
        (*exec).filename = filename;
        (*exec).argc = field_or(bprm, &OFF_BPRM_ARGC, 0);
        // An interpreted file replaces `interp` by its interpreter and leaves `filename` (fs/exec.c, bprm_change_interp).
        if interp != name {
            (*exec).script = filename;
        }
    }
    arguments(record, mm);
    let (start, end) = (read::or_zero(mm, &OFF_MM_ENV_START), read::or_zero(mm, &OFF_MM_ENV_END));
    // SAFETY: as above.
    unsafe { (*exec).flags |= env::capture(record, &raw mut (*exec).env, start, end) };
}

/// Executable and working directory.
#[inline(always)]
fn paths(record: &mut Record<Large, Exec>, task: u64) {
    const NONE: Slice = Slice { off: 0, len: 0, flags: slice_flags::UNREADABLE };
    let exec = record.fixed();
    let Some(path) = Path::claim() else {
        // SAFETY: the fixed part of a claimed slot.
        return unsafe { ((*exec).exe, (*exec).cwd) = (NONE, NONE) };
    };
    path.walk_file(task, exe::file(task));
    // SAFETY: as above.
    unsafe {
        (*exec).exe = path.append(record);
        // Completed by `file`, which knows the file system.
        (*exec).flags = read::is_zero(path.mount_namespace() as u64) as u32 * exec_flags::MEMFD;
    }
    path.walk_path(task, at(read::or_zero(task, &OFF_TASK_FS), &OFF_FS_PWD));
    // SAFETY: as above.
    unsafe { (*exec).cwd = path.append(record) };
    path.release();
}

/// `arg_start..arg_end`, in two copies.
#[inline(always)]
fn arguments(record: &mut Record<Large, Exec>, mm: u64) {
    const HALF: u64 = CHUNK as u64;
    const { assert!(ARGV_MAX == 2 * CHUNK) };
    let start = read::or_zero::<u64>(mm, &OFF_MM_ARG_START);
    let len = read::or_zero::<u64>(mm, &OFF_MM_ARG_END).wrapping_sub(start);
    let first = record.user(start, if len > HALF { HALF } else { len }, 0);
    // SAFETY: address arithmetic within a claimed slot.
    let argv = unsafe { &raw mut (*record.fixed()).argv };
    // SAFETY: the fixed part of a claimed slot.
    unsafe { core::ptr::write_volatile(argv, first) };
    if len <= HALF || first.flags != 0 {
        return;
    }
    let rest = record.user(start.wrapping_add(HALF), len - HALF, 0);
    // SAFETY: as above.
    unsafe {
        let both =
            Slice { off: first.off, len: first.len.wrapping_add(rest.len), flags: first.flags | rest.flags };
        core::ptr::write_volatile(argv, both);
    }
}

/// The executable's inode. Its identity is in the header.
#[inline(always)]
fn file(exec: *mut Exec, task: u64) {
    let file = exe::file(task);
    let inode = read::or_zero::<u64>(file, &OFF_FILE_INODE);
    let magic = inode::magic(inode);
    let nlink = read::or_zero::<u32>(inode, &OFF_INODE_NLINK);
    // SAFETY: the fixed part of a claimed slot.
    let exec = unsafe { &mut *exec };
    let detached = exec.flags & exec_flags::MEMFD != 0;
    exec.flags &= !exec_flags::MEMFD;
    exec.exe_mode = read::or_zero::<u16>(inode, &OFF_INODE_MODE) as u32;
    exec.exe_uid = field(inode, &OFF_INODE_UID).unwrap_or(u32::MAX);
    exec.exe_nlink = nlink;
    exec.exe_magic = magic;
    exec.exe_size = read::or_zero(inode, &OFF_INODE_SIZE);
    exec.exe_ctime = inode::ctime(inode);
    exec.flags |= inode::home(inode, magic, nlink, detached);
}

/// What changed with this exec: privileges, and what earlier hooks saw.
#[inline(always)]
fn before(exec: *mut Exec, task: u64) {
    let (uid, gid) = cred::effective(task);
    // SAFETY: the fixed part of a claimed slot.
    let exec = unsafe { &mut *exec };
    (exec.uid_before, exec.gid_before) = (u32::MAX, u32::MAX);
    if secure(task) {
        exec.flags |= exec_flags::SECUREEXEC;
    }
    let Some(before) = EXECS.get_ptr(&task) else { return };
    // SAFETY: a map value.
    let before = unsafe { *before };
    let _ = EXECS.remove(&task);
    exec.uid_before = before.uid;
    exec.gid_before = before.gid;
    if before.uid != u32::MAX && (before.uid != uid || before.gid != gid) {
        exec.flags |= exec_flags::ID_CHANGED;
    }
    if exec.script.len > 0 {
        exec.script_ino = before.script_ino;
        exec.script_dev = before.script_dev;
    }
}

/// `AT_SECURE` of the auxiliary vector the kernel keeps of the new image (`mm->saved_auxv`).
#[inline(always)]
fn secure(task: u64) -> bool {
    const AT_NULL: u64 = 0;
    const AT_SECURE: u64 = 23;
    // It stands in the first twenty on every architecture (fs/binfmt_elf.c, create_elf_tables).
    const PAIRS: u64 = 24;
    if !present(&OFF_MM_AUXV) {
        return false;
    }
    let mm = read::or_zero::<u64>(task, &OFF_TASK_MM);
    let auxv = at(mm, &OFF_MM_AUXV);
    let mut pair = 0;
    while pair < PAIRS {
        match kernel::<[u64; 2]>(auxv.wrapping_add(pair * 16)) {
            Ok([AT_SECURE, value]) => return value != 0,
            Ok([AT_NULL, _]) | Err(_) => return false,
            Ok(_) => {}
        }
        pair += 1;
    }
    false
}
