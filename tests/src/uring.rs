//! One io_uring open, by hand: the library would be the only thing we need it for.

use std::path::Path;

use crate::child::{c, sys};

/// Exit code: no io_uring here.
pub(crate) const UNAVAILABLE: i32 = 77;
/// `IORING_OP_OPENAT` (include/uapi/linux/io_uring.h).
const OP_OPENAT: u8 = 18;
const ENTER_GETEVENTS: u32 = 1;
const OFF_SQ_RING: i64 = 0;
const OFF_CQ_RING: i64 = 0x800_0000;
const OFF_SQES: i64 = 0x1000_0000;

#[repr(C)]
#[derive(Default)]
struct SqOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    flags: u32,
    dropped: u32,
    array: u32,
    resv1: u32,
    user_addr: u64,
}

#[repr(C)]
#[derive(Default)]
struct CqOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    overflow: u32,
    cqes: u32,
    flags: u32,
    resv1: u32,
    user_addr: u64,
}

/// `struct io_uring_params`.
#[repr(C)]
#[derive(Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    resv: [u32; 3],
    sq: SqOffsets,
    cq: CqOffsets,
}

/// Opens a file for reading through a ring; 0, [`UNAVAILABLE`], or another exit code.
pub(crate) fn open(path: &Path) -> i32 {
    let mut params = Params::default();
    // SAFETY: a zeroed structure of the kernel's layout.
    let ring = sys(unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, &raw mut params) });
    if ring < 0 {
        return UNAVAILABLE;
    }
    let map = |len: usize, offset: i64| {
        // SAFETY: a shared mapping of the ring's own memory.
        unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                ring as i32,
                offset,
            )
        }
        .cast::<u8>()
    };
    let sq = map(params.sq.array as usize + 4 * params.sq_entries as usize, OFF_SQ_RING);
    let cq = map(params.cq.cqes as usize + 16 * params.cq_entries as usize, OFF_CQ_RING);
    let sqe = map(64 * params.sq_entries as usize, OFF_SQES);
    if [sq, cq, sqe].iter().any(|address| address.cast() == libc::MAP_FAILED) {
        return 2;
    }
    let name = c(path);
    // SAFETY: offsets within the mappings, as the kernel gave them; nobody else uses this ring.
    unsafe {
        sqe.write(OP_OPENAT);
        sqe.add(4).cast::<i32>().write(libc::AT_FDCWD);
        sqe.add(16).cast::<u64>().write(name.as_ptr() as u64);
        sqe.add(28).cast::<i32>().write(libc::O_RDONLY);
        sq.add(params.sq.array as usize).cast::<u32>().write(0);
        sq.add(params.sq.tail as usize).cast::<u32>().write_volatile(1);
        let entered = sys(libc::syscall(
            libc::SYS_io_uring_enter,
            ring as i32,
            1,
            1,
            ENTER_GETEVENTS,
            std::ptr::null::<u8>(),
            0,
        ));
        if entered != 1 {
            return 3;
        }
        let result = cq.add(params.cq.cqes as usize + 8).cast::<i32>().read_volatile();
        if result < 0 { 4 } else { 0 }
    }
}
