//! Drains the two ring buffers: raw bytes out, numbers noted.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use aya::maps::{MapData, MapError, RingBuf};
use monitor_common::ABI_VERSION;
use monitor_common::hook::Lane;
use monitor_common::record::Header;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use zerocopy::FromBytes;

use super::error::KernelError;
use super::load::{Programs, words};
use super::sequence::SequenceTracker;

/// Records taken from the priority ring before the lifecycle ring has a turn.
const PRIORITY_TURN: u64 = 1024;
/// Records taken from the lifecycle ring before the priority ring has its next turn.
const LIFECYCLE_TURN: u64 = 128;
/// Records a poll hands over at most, so that the caller gets to its other duties.
const POLL_MAX: u64 = 16_384;

/// Both rings.
pub(crate) struct Rings {
    priority: RingBuf<MapData>,
    lifecycle: RingBuf<MapData>,
    epoll: Epoll,
    /// Boot-time ns of the last record read of each lane.
    last: [u64; 2],
}

/// What one drain did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// Records handed over.
    pub records: u64,
    /// Both rings were found empty at the end: nothing that was written before stands unread in them.
    pub drained: bool,
}

impl Rings {
    /// Takes them out of the object.
    pub(crate) fn take(programs: &mut Programs) -> Result<Self, KernelError> {
        let priority = ring(programs, "RING_PRIORITY")?;
        let lifecycle = ring(programs, "RING_LIFECYCLE")?;
        let epoll =
            Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|errno| os("create an epoll", errno))?;
        for (number, ring) in [(0, priority.as_fd()), (1, lifecycle.as_fd())] {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, number);
            epoll.add(ring, event).map_err(|errno| os("watch a ring buffer", errno))?;
        }
        Ok(Self { priority, lifecycle, epoll, last: [0; 2] })
    }

    /// Readable when a ring has records that woke it.
    pub(crate) fn epoll_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// Waits until a ring wakes us, at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<(), KernelError> {
        let timeout = EpollTimeout::try_from(timeout).unwrap_or(EpollTimeout::MAX);
        match self.epoll.wait(&mut [EpollEvent::empty(); 2], timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(os("wait for records", errno)),
        }
    }

    /// Hands over what is in the rings, the priority lane first.
    pub(crate) fn drain(&mut self, tracker: &mut SequenceTracker, each: &mut dyn FnMut(&[u8])) -> Polled {
        let mut records = 0;
        while records < POLL_MAX {
            let urgent = turn(&mut self.priority, PRIORITY_TURN, &mut self.last[0], tracker, each);
            let others = turn(&mut self.lifecycle, LIFECYCLE_TURN, &mut self.last[1], tracker, each);
            records += urgent + others;
            if urgent + others == 0 {
                // A record that was reserved and not yet submitted (its writer was preempted) hides those behind it:
                // the ring gives nothing, and is not empty. The kernel tells (`ringbuf_map_poll`, kernel/bpf/ringbuf.c).
                if !has_unread(&self.lifecycle) && !has_unread(&self.priority) {
                    return Polled { records, drained: true };
                }
                // Or something arrived just now.
                let late = turn(&mut self.lifecycle, LIFECYCLE_TURN, &mut self.last[1], tracker, each)
                    + turn(&mut self.priority, PRIORITY_TURN, &mut self.last[0], tracker, each);
                if late == 0 {
                    return Polled { records, drained: false };
                }
                records += late;
            }
        }
        Polled { records, drained: false }
    }

    /// Boot-time ns of the newest record read of a lane, 0 if none was.
    pub(crate) fn last_time(&self, lane: Lane) -> u64 {
        self.last[usize::from(lane as u16)]
    }
}

impl std::fmt::Debug for Rings {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Rings").field("last", &self.last).finish_non_exhaustive()
    }
}

/// Whether a ring has records that were not taken, readable or not.
fn has_unread(ring: &RingBuf<MapData>) -> bool {
    let mut fds = [PollFd::new(ring.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

fn turn(
    ring: &mut RingBuf<MapData>,
    most: u64,
    last: &mut u64,
    tracker: &mut SequenceTracker,
    each: &mut dyn FnMut(&[u8]),
) -> u64 {
    let mut taken = 0;
    while taken < most {
        let Some(record) = ring.next() else { break };
        taken += 1;
        // A record whose head cannot be read has no number to note; `event` counts it as malformed.
        if let Ok((header, _)) = Header::read_from_prefix(&record)
            && header.abi == ABI_VERSION
            && let Some(lane) = Lane::from_wire(header.lane)
        {
            *last = (*last).max(header.time);
            tracker.note(lane, u32::from(header.cpu), header.seq, header.time);
        }
        each(&record);
    }
    taken
}

fn ring(programs: &mut Programs, name: &'static str) -> Result<RingBuf<MapData>, KernelError> {
    let map = programs.take_map(name)?;
    RingBuf::try_from(map).map_err(|error: MapError| KernelError::Map {
        map: name,
        action: "map",
        reason: words(&error),
    })
}

fn os(action: &'static str, errno: nix::errno::Errno) -> KernelError {
    KernelError::Os { action, source: io::Error::from(errno) }
}
