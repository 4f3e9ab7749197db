//! The last events of each worker, for when an incident begins.
//!
//! A ring of [`EVENTS`] per worker, and a bound on all of them together: where it is reached, the workers take turns in losing
//! the older half of theirs, so that one that does much cannot take the memory of the others.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use monitor_common::filter::access;

use super::describe;
use super::envelope::WallClock;
use crate::alert::{PastEvent, redact};
use crate::event::{Body, BootNs, Event, Outcome, Path};
use crate::process::ProcessTable;

/// Events kept of a worker.
const EVENTS: usize = 64;
/// Most memory of all rings together, bytes.
const BYTES_MAX: usize = 4 << 20;
/// Longer paths are kept up to here, bytes.
const TEXT_MAX: usize = 512;
/// Labels are small numbers; a larger one is no worker's.
const LABELS_MAX: usize = 1 << 16;

struct Kept {
    time: BootNs,
    exec_id: u64,
    pid: u32,
    outcome: Outcome,
    what: What,
}

enum What {
    Exec(Arc<str>),
    Open(Arc<str>, u32),
    Connect(IpAddr, u16, bool),
    Unix(Arc<str>),
    Socket(u32, u32),
    Move(u64),
}

impl Kept {
    fn of(event: &Event) -> Option<Self> {
        let (what, outcome) = match &event.body {
            Body::Exec(exec) => (What::Exec(text(&exec.exe, &exec.filename.text)), Outcome::Ok),
            Body::Open(open) => (What::Open(text(&open.path, &open.path.view), open.access), open.outcome),
            Body::Connect(connect) => {
                (What::Connect(connect.addr, connect.port, connect.send), connect.outcome)
            }
            Body::Unix(unix) => (What::Unix(text(&unix.path, &unix.path.view)), unix.outcome),
            Body::Socket(socket) => (What::Socket(socket.family, socket.sock_type), socket.outcome),
            Body::CgroupMove { to, .. } => (What::Move(*to), Outcome::Ok),
            Body::Fork(_) | Body::Exit { .. } | Body::ConnectResult { .. } => return None,
        };
        let subject = &event.subject;
        Some(Self { time: event.time, exec_id: subject.exec_id, pid: subject.key.pid, outcome, what })
    }

    fn bytes(&self) -> usize {
        // The text's counters are part of its allocation.
        let text = match &self.what {
            What::Exec(text) | What::Open(text, _) | What::Unix(text) => text.len() + 16,
            _ => 0,
        };
        size_of::<Self>() + text
    }

    fn shown(&self, processes: &ProcessTable, clock: &WallClock) -> PastEvent {
        let (signal, object) = match &self.what {
            What::Exec(exe) => ("exec", exe.to_string()),
            What::Open(path, bits) if bits & access::WRITE != 0 => ("open", format!("{path} (write)")),
            What::Open(path, _) => ("open", path.to_string()),
            What::Connect(to, port, false) => ("connect", SocketAddr::new(*to, *port).to_string()),
            What::Connect(to, port, true) => ("send", SocketAddr::new(*to, *port).to_string()),
            What::Unix(path) => ("unix", path.to_string()),
            What::Socket(family, kind) => ("socket", format!("family {family} type {kind}")),
            What::Move(to) => ("cgroup-move", format!("to cgroup {to}")),
        };
        let is_exec = matches!(self.what, What::Exec(_));
        let argv = is_exec.then(|| argv(processes, self.exec_id)).flatten();
        PastEvent {
            time: clock.format(self.time),
            pid: self.pid,
            signal: signal.to_owned(),
            object: redact::text(&object).into_owned(),
            argv,
            outcome: (self.outcome != Outcome::Ok).then(|| describe::outcome(self.outcome).to_owned()),
        }
    }
}

/// The path, else the other text, up to the bound.
fn text(path: &Path, other: &Arc<str>) -> Arc<str> {
    let text = if path.is_known() && !path.view.is_empty() { &path.view } else { other };
    if text.len() <= TEXT_MAX {
        return text.clone();
    }
    let mut end = TEXT_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end]).into()
}

fn argv(processes: &ProcessTable, exec_id: u64) -> Option<Vec<String>> {
    let process = processes.find_exec(exec_id).and_then(|at| processes.get(at))?;
    let program = &process.image_of(exec_id)?.program;
    let argv: Vec<String> = program.argv.iter().map(|argument| argument.to_string()).collect();
    program.argv_known.then(|| redact::arguments(&argv))
}

#[derive(Default)]
struct Ring {
    events: VecDeque<Kept>,
    /// Some that would still be there were lost to the bound on all rings.
    cut: bool,
}

/// The last events of all workers.
#[derive(Default)]
pub struct Recent {
    /// By label.
    rings: Vec<Ring>,
    bytes: usize,
    /// Whose turn it is to lose some.
    turn: usize,
}

impl Recent {
    /// Keeps an event.
    pub fn keep(&mut self, event: &Event) {
        let label = event.subject.label as usize;
        if label >= LABELS_MAX {
            return;
        }
        let Some(kept) = Kept::of(event) else { return };
        if self.rings.len() <= label {
            self.rings.resize_with(label + 1, Ring::default);
        }
        let Some(ring) = self.rings.get_mut(label) else { return };
        self.bytes += kept.bytes();
        if ring.events.len() == EVENTS
            && let Some(old) = ring.events.pop_front()
        {
            self.bytes -= old.bytes();
        }
        ring.events.push_back(kept);
        while self.bytes > BYTES_MAX {
            self.make_room();
        }
    }

    /// The last events of a worker, oldest first, and whether there would be more but for the bound on all.
    pub fn of(&self, label: u32, processes: &ProcessTable, clock: &WallClock) -> (Vec<PastEvent>, bool) {
        let Some(ring) = self.rings.get(label as usize) else { return (Vec::new(), false) };
        let mut events: Vec<&Kept> = ring.events.iter().collect();
        // Events of two lanes may come out of order.
        events.sort_by_key(|kept| kept.time);
        (events.into_iter().map(|kept| kept.shown(processes, clock)).collect(), ring.cut)
    }

    /// Forgets a worker.
    pub fn forget(&mut self, label: u32) {
        if let Some(ring) = self.rings.get_mut(label as usize) {
            self.bytes -= ring.events.iter().map(Kept::bytes).sum::<usize>();
            *ring = Ring::default();
        }
    }

    /// Memory that the events take, bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn make_room(&mut self) {
        let rings = self.rings.len().max(1);
        for _ in 0..rings {
            self.turn = (self.turn + 1) % rings;
            let Some(ring) = self.rings.get_mut(self.turn).filter(|ring| !ring.events.is_empty()) else {
                continue;
            };
            let older = ring.events.len().div_ceil(2);
            self.bytes -= ring.events.drain(..older).map(|kept| kept.bytes()).sum::<usize>();
            ring.events.shrink_to_fit();
            ring.cut = true;
            return;
        }
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use monitor_common::hook::Kind;

    use super::*;
    use crate::event::{decode, fixture};

    fn open(label: u32, number: u64, path: &str) -> Event {
        let mut head = fixture::header(Kind::Open, 7, 1, label);
        head.time = number;
        decode(&fixture::open(head, path, access::READ, 0)).unwrap()
    }

    fn paths(recent: &Recent, label: u32) -> Vec<String> {
        let (events, _) = recent.of(label, &ProcessTable::new(1), &WallClock { boot: 0 });
        events.into_iter().map(|event| event.object).collect()
    }

    #[test]
    fn last_events_of_a_worker_are_kept_in_order_and_those_of_others_apart() {
        let mut recent = Recent::default();
        for number in 0..100 {
            recent.keep(&open(1, number, &format!("/a/{number}")));
        }
        recent.keep(&open(2, 5, "/b"));
        let kept = paths(&recent, 1);
        assert_eq!((kept.len(), &*kept[0], &*kept[63]), (EVENTS, "/a/36", "/a/99"));
        assert_eq!(paths(&recent, 2), ["/b"]);
        recent.forget(1);
        assert_eq!(paths(&recent, 1), [] as [&str; 0]);
        recent.forget(2);
        assert_eq!(recent.bytes(), 0);
    }

    #[test]
    fn events_that_came_out_of_order_are_shown_in_order() {
        let mut recent = Recent::default();
        for (time, path) in [(2, "/b"), (1, "/a"), (2, "/c")] {
            recent.keep(&open(1, time, path));
        }
        assert_eq!(paths(&recent, 1), ["/a", "/b", "/c"]);
    }

    #[test]
    fn memory_over_all_workers_is_bounded_and_what_it_cost_is_said() {
        let mut recent = Recent::default();
        recent.keep(&open(9, 0, "/quiet"));
        let long = format!("/{}", "x".repeat(400));
        for number in 0..(EVENTS as u64 * 1000) {
            recent.keep(&open(10 + u32::try_from(number % 1000).unwrap(), number, &long));
        }
        assert!(recent.bytes() <= BYTES_MAX);
        let counted: usize = recent.rings.iter().flat_map(|ring| &ring.events).map(Kept::bytes).sum();
        assert_eq!(recent.bytes(), counted);
        let cut = recent.rings.iter().filter(|ring| ring.cut).count();
        assert!(cut > 0);
    }

    #[test]
    fn an_event_takes_no_more_than_fits_a_thousand_workers() {
        assert!(size_of::<Kept>() <= 56, "{}", size_of::<Kept>());
    }

    #[test]
    fn one_busy_worker_takes_no_memory_from_others() {
        let mut recent = Recent::default();
        recent.keep(&open(2, 0, "/quiet"));
        for number in 0..200_000 {
            recent.keep(&open(1, number, "/busy"));
        }
        assert_eq!(paths(&recent, 2), ["/quiet"]);
    }
}
