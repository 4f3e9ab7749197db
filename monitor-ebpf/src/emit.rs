//! The way out: token bucket, sequence number, ring, counters.
//!
//! The order matters. The bucket is asked first, so a throttled record takes no sequence number and is a named loss of
//! its own; the sequence number is taken before the output attempt, so a full ring leaves a hole the agent sees.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::{
    bpf_ringbuf_output, bpf_ringbuf_query, bpf_ringbuf_reserve, bpf_ringbuf_submit,
};
use aya_ebpf::maps::RingBuf;
use monitor_common::budget::cost;
use monitor_common::hook::{Kind, Lane};
use monitor_common::map::{Bucket, BucketKey, LaneTally};
use monitor_common::record::{Header, header_flags};

use crate::count::{self, Fate};
use crate::maps::{BUCKETS, LANE_TALLY, RING_LIFECYCLE, RING_PRIORITY, SETTINGS};
use crate::procs;
use crate::read;
use crate::subject::{self, Subject};

const SECOND: u64 = 1_000_000_000;
/// A reader that was woken looks again at least this often for a while (`monitor`, `run::BUSY_TURN`), so what follows
/// within that time need not wake it: a wake-up costs the worker several times what the record does. ns.
const AWAKE: u64 = 2_000_000;

/// The ring of a lane.
#[inline(always)]
fn ring(lane: Lane) -> *mut core::ffi::c_void {
    let ring: &'static RingBuf = match lane {
        Lane::Priority => &RING_PRIORITY,
        Lane::Lifecycle => &RING_LIFECYCLE,
    };
    core::ptr::from_ref(ring).cast_mut().cast()
}

/// Wake-up flags of a record. The priority ring wakes its reader if it had caught up; in the lifecycle ring fork and
/// exit only do when it is a quarter full, so an exec or a new cgroup behind them has to force it. Neither does while the reader is awake
/// anyway.
#[inline(always)]
fn wake(tally: *mut LaneTally, kind: Kind, lane: Lane, now: u64, filled: Filled) -> u64 {
    let flags = match (lane, kind) {
        (Lane::Priority, _) => 0,
        (Lane::Lifecycle, Kind::Exec | Kind::CgroupNew) => BPF_RB_FORCE_WAKEUP as u64,
        (Lane::Lifecycle, _) if filled.quarter => BPF_RB_FORCE_WAKEUP as u64,
        (Lane::Lifecycle, _) => return BPF_RB_NO_WAKEUP as u64,
    };
    // SAFETY: a word of a map value of this CPU; a run that interrupts ours between the two wakes the reader twice.
    unsafe {
        let woken = &raw mut (*tally).woken;
        if now.wrapping_sub(core::ptr::read_volatile(woken)) < AWAKE {
            return BPF_RB_NO_WAKEUP as u64;
        }
        core::ptr::write_volatile(woken, now);
    }
    flags
}

/// Sends `len` bytes, at most `most`, that start with a filled [`Header`], and counts what became of them.
#[inline(always)]
pub fn send(subject: &Subject, kind: Kind, lane: Lane, header: *mut Header, len: u64, most: u64) {
    // SAFETY: the start of a filled record.
    let now = unsafe { (*header).time };
    let fate = match (paid(subject.label, lane, now), LANE_TALLY.get_ptr_mut(lane as u32)) {
        (None, _) => Fate::Throttled,
        (_, None) => Fate::Error,
        (Some(filled), Some(tally)) => output(tally, kind, lane, header, (len, most), filled),
    };
    count::ended(subject, fate);
}

#[inline(always)]
fn output(
    tally: *mut LaneTally,
    kind: Kind,
    lane: Lane,
    header: *mut Header,
    (len, most): (u64, u64),
    filled: Filled,
) -> Fate {
    // SAFETY: `tally` is a map value, `header` the start of a slot that holds `len` bytes.
    let result = unsafe {
        (*header).len = len as u32;
        (*header).seq = count::fetch_add(&raw mut (*tally).next_seq, 1);
        let flags = wake(tally, kind, lane, (*header).time, filled);
        // Bounded again where it is used: 5.10 forgets the bound of a register that was spilled.
        bpf_ringbuf_output(ring(lane), header.cast(), read::bounded(len, most), flags)
    };
    settle(tally, result == 0, len)
}

#[inline(always)]
fn settle(tally: *mut LaneTally, sent: bool, len: u64) -> Fate {
    // SAFETY: a map value; only addresses are taken.
    unsafe {
        if sent {
            count::one(&raw mut (*tally).sent);
            count::fetch_add(&raw mut (*tally).bytes, len);
            Fate::Sent
        } else {
            count::one(&raw mut (*tally).lost);
            Fate::Lost
        }
    }
}

/// Sends a record without data area, filled straight in ring memory: for when no scratch slot was free. `fill` sets the
/// fields after the header of an all-zero record and must not call helpers that may wait.
#[inline(always)]
pub fn bare<F: 'static>(subject: &Subject, kind: Kind, lane: Lane, fill: impl FnOnce(*mut F)) {
    const { assert!(align_of::<F>() <= 8 && size_of::<F>() >= size_of::<Header>()) };
    let fate = match (paid(subject.label, lane, subject::now()), LANE_TALLY.get_ptr_mut(lane as u32)) {
        (None, _) => Fate::Throttled,
        (_, None) => Fate::Error,
        (Some(filled), Some(tally)) => reserve(tally, subject, kind, lane, filled, fill),
    };
    count::ended(subject, fate);
}

#[inline(always)]
fn reserve<F: 'static>(
    tally: *mut LaneTally,
    subject: &Subject,
    kind: Kind,
    lane: Lane,
    filled: Filled,
    fill: impl FnOnce(*mut F),
) -> Fate {
    let len = size_of::<F>() as u64;
    // SAFETY: `tally` is a map value; reserved memory is `len` bytes, 8-aligned, and submitted exactly once.
    unsafe {
        let seq = count::fetch_add(&raw mut (*tally).next_seq, 1);
        let record: *mut F = bpf_ringbuf_reserve(ring(lane), len, 0).cast();
        if record.is_null() {
            return settle(tally, false, len);
        }
        core::ptr::write_bytes(record, 0, 1);
        let header: *mut Header = record.cast();
        // Only a process that is known already: some callers' subject is not who acts in the worker.
        let start = subject::start_of(subject.task);
        subject::fill_with(header, subject, kind, lane, start, procs::of(subject.pid, start));
        (*header).len = len as u32;
        (*header).seq = seq;
        (*header).flags |= header_flags::DEGRADED | header_flags::NO_SCRATCH;
        fill(record);
        let flags = wake(tally, kind, lane, (*header).time, filled);
        bpf_ringbuf_submit(record.cast(), flags);
        settle(tally, true, len)
    }
}

/// How full a ring is.
#[derive(Clone, Copy)]
struct Filled {
    /// A quarter of it or more waits for the reader.
    quarter: bool,
}

/// Pays for a record from the worker's bucket for this lane on this CPU; `None` if there is not enough in it.
#[inline(always)]
fn paid(label: u32, lane: Lane, now: u64) -> Option<Filled> {
    let settings = SETTINGS.get(0)?;
    // SAFETY: the ring of the lane.
    let unread = unsafe { bpf_ringbuf_query(ring(lane), BPF_RB_AVAIL_DATA as u64) };
    let bits = settings.ring_bits[lane as usize];
    let filled = Filled { quarter: unread >> (bits.wrapping_sub(2) & 31) != 0 };
    let rate = match lane {
        Lane::Priority => settings.priority_rate,
        Lane::Lifecycle => settings.lifecycle_rate,
    };
    // Not set yet: no limit.
    if rate == 0 {
        return Some(filled);
    }
    let key = BucketKey { label, lane: lane as u32 };
    let bucket = match BUCKETS.get_ptr_mut(&key) {
        Some(bucket) => bucket,
        None => {
            // Zero on every CPU; BPF_NOEXIST (1) so that another CPU's first record is not undone.
            let _ = BUCKETS.insert(&key, &Bucket::ZERO, 1);
            match BUCKETS.get_ptr_mut(&key) {
                Some(bucket) => bucket,
                // No room for a bucket: better an unlimited worker than a blind one.
                None => return Some(filled),
            }
        }
    };
    // SAFETY: a map value of this CPU.
    let bucket = unsafe { &mut *bucket };
    refill(bucket, now, rate, settings.burst_seconds);
    let price = cost(unread, bits);
    if bucket.tokens >= price {
        bucket.tokens -= price;
        return Some(filled);
    }
    bucket.refused = bucket.refused.wrapping_add(1);
    if bucket.first == 0 {
        bucket.first = now;
    }
    bucket.last = now;
    None
}

#[inline(always)]
fn refill(bucket: &mut Bucket, now: u64, rate: u64, burst_seconds: u64) {
    let burst_seconds = if burst_seconds == 0 { 1 } else { burst_seconds };
    let full = rate.wrapping_mul(burst_seconds);
    let elapsed = now.saturating_sub(bucket.refilled);
    if bucket.refilled == 0 || elapsed >= burst_seconds.wrapping_mul(SECOND) {
        bucket.tokens = full;
        bucket.refilled = now;
        return;
    }
    // Below the burst the product stays under rate * burst * 1e9: fine for any sane rate.
    let earned = elapsed.wrapping_mul(rate) / SECOND;
    // Nothing earned: leave the clock, or a fast caller would never be paid.
    if earned > 0 {
        let tokens = bucket.tokens.wrapping_add(earned);
        bucket.tokens = if tokens > full { full } else { tokens };
        bucket.refilled = now;
    }
}
