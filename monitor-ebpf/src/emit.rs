//! The way out: token bucket, sequence number, ring, counters.
//!
//! The order matters. The bucket is asked first, so a throttled record takes no sequence number and is a named loss of
//! its own; the sequence number is taken before the output attempt, so a full ring leaves a hole the agent sees.

use aya_ebpf::bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::{bpf_ringbuf_output, bpf_ringbuf_reserve, bpf_ringbuf_submit};
use aya_ebpf::maps::RingBuf;
use monitor_common::hook::{Kind, Lane};
use monitor_common::map::{Bucket, BucketKey, LaneTally};
use monitor_common::record::{Header, header_flags};

use crate::count::{self, Fate};
use crate::maps::{BUCKETS, LANE_TALLY, RING_LIFECYCLE, RING_PRIORITY, SETTINGS};
use crate::subject::{self, Subject};

const SECOND: u64 = 1_000_000_000;

/// Ring and wake-up flags of a kind. The priority ring wakes its reader whenever it had caught up; in the lifecycle
/// ring fork and exit never do, so an exec behind them has to force it.
#[inline(always)]
fn ring(kind: Kind, lane: Lane) -> (&'static RingBuf, u64) {
    match (lane, kind) {
        (Lane::Priority, _) => (&RING_PRIORITY, 0),
        (Lane::Lifecycle, Kind::Exec) => (&RING_LIFECYCLE, BPF_RB_FORCE_WAKEUP as u64),
        (Lane::Lifecycle, _) => (&RING_LIFECYCLE, BPF_RB_NO_WAKEUP as u64),
    }
}

/// Sends `len` bytes that start with a filled [`Header`], and counts what became of them.
#[inline(always)]
pub fn send(subject: &Subject, kind: Kind, lane: Lane, header: *mut Header, len: u64) {
    let fate = match (allowed(subject.label, lane), LANE_TALLY.get_ptr_mut(lane as u32)) {
        (false, _) => Fate::Throttled,
        (true, None) => Fate::Error,
        (true, Some(tally)) => output(tally, kind, lane, header, len),
    };
    count::ended(subject.program, subject.label, subject.signal, fate);
}

#[inline(always)]
fn output(tally: *mut LaneTally, kind: Kind, lane: Lane, header: *mut Header, len: u64) -> Fate {
    let (ring, flags) = ring(kind, lane);
    // SAFETY: `tally` is a map value, `header` the start of a slot that holds `len` bytes.
    let result = unsafe {
        (*header).len = len as u32;
        (*header).seq = count::fetch_add(&raw mut (*tally).next_seq, 1);
        bpf_ringbuf_output(core::ptr::from_ref(ring).cast_mut().cast(), header.cast(), len, flags)
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
    let fate = match (allowed(subject.label, lane), LANE_TALLY.get_ptr_mut(lane as u32)) {
        (false, _) => Fate::Throttled,
        (true, None) => Fate::Error,
        (true, Some(tally)) => reserve(tally, subject, kind, lane, fill),
    };
    count::ended(subject.program, subject.label, subject.signal, fate);
}

#[inline(always)]
fn reserve<F: 'static>(
    tally: *mut LaneTally,
    subject: &Subject,
    kind: Kind,
    lane: Lane,
    fill: impl FnOnce(*mut F),
) -> Fate {
    let (ring, flags) = ring(kind, lane);
    let len = size_of::<F>() as u64;
    // SAFETY: `tally` is a map value; reserved memory is `len` bytes, 8-aligned, and submitted exactly once.
    unsafe {
        let seq = count::fetch_add(&raw mut (*tally).next_seq, 1);
        let record: *mut F = bpf_ringbuf_reserve(core::ptr::from_ref(ring).cast_mut().cast(), len, 0).cast();
        if record.is_null() {
            return settle(tally, false, len);
        }
        core::ptr::write_bytes(record, 0, 1);
        let header: *mut Header = record.cast();
        subject::fill(header, subject, kind, lane);
        (*header).len = len as u32;
        (*header).seq = seq;
        (*header).flags |= header_flags::DEGRADED | header_flags::NO_SCRATCH;
        fill(record);
        bpf_ringbuf_submit(record.cast(), flags);
        settle(tally, true, len)
    }
}

/// Takes a token of the worker's bucket for this lane on this CPU.
#[inline(always)]
fn allowed(label: u32, lane: Lane) -> bool {
    let Some(settings) = SETTINGS.get(0) else { return true };
    let rate = match lane {
        Lane::Priority => settings.priority_rate,
        Lane::Lifecycle => settings.lifecycle_rate,
    };
    // Not set yet: no limit.
    if rate == 0 {
        return true;
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
                None => return true,
            }
        }
    };
    // SAFETY: a map value of this CPU.
    let bucket = unsafe { &mut *bucket };
    let now = subject::now();
    refill(bucket, now, rate, settings.burst_seconds);
    if bucket.tokens > 0 {
        bucket.tokens -= 1;
        return true;
    }
    bucket.refused = bucket.refused.wrapping_add(1);
    if bucket.first == 0 {
        bucket.first = now;
    }
    bucket.last = now;
    false
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
