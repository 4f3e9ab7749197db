//! What a worker first executed from a path: for rules that rely on a program that its own user could replace.

use std::collections::HashMap;
use std::sync::Arc;

use super::model::{Program, Stamp};
use crate::event::FileId;
use crate::profile::{Pin, Trust};

/// Most paths noted of one worker; a build server that executes a new one with each job forgets the oldest.
const PATHS_MAX: usize = 64;

/// A file as it was first executed.
#[derive(Clone, Debug)]
struct Noted {
    path: Arc<str>,
    id: FileId,
    stamp: Stamp,
    /// It was read from /proc, which may give another device and inode for the same file (overlays).
    scanned: bool,
}

/// The files noted, by the label of the worker.
#[derive(Debug, Default)]
pub(super) struct Pins(HashMap<u32, Vec<Noted>>);

impl Pins {
    /// How a program compares with what was first executed from its path; notes it if nothing was.
    pub(super) fn check(&mut self, label: u32, program: &Program) -> Pin {
        let nameless = matches!(program.trust, Trust::Untrusted("memfd" | "deleted"));
        if nameless || !program.exe.is_known() || program.stamp == Stamp::default() {
            return Pin::None;
        }
        let now = Noted {
            path: program.exe.view.clone(),
            id: program.exe_id,
            stamp: program.stamp,
            scanned: program.trust == Trust::Scanned,
        };
        let all = self.0.entry(label).or_default();
        let Some(noted) = all.iter_mut().find(|noted| noted.path == now.path) else {
            if all.len() == PATHS_MAX {
                all.remove(0);
            }
            all.push(now);
            return Pin::Holds;
        };
        let either_scanned = noted.scanned || now.scanned;
        if noted.stamp != now.stamp || (!either_scanned && noted.id != now.id) {
            return Pin::Changed;
        }
        if noted.scanned && !now.scanned {
            *noted = now;
        }
        Pin::Holds
    }

    /// Forgets a worker: what starts in it next is first seen again.
    pub(super) fn forget(&mut self, label: u32) {
        self.0.remove(&label);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Path;

    fn program(path: &str, ino: u64, size: u64) -> Program {
        Program {
            exe: Path { view: path.into(), ..Path::default() },
            stamp: Stamp { size, ctime: 5 },
            trust: Trust::Untrusted("writable by its user"),
            ..Program::unknown(FileId { dev: 1, ino })
        }
    }

    #[test]
    fn the_first_file_of_a_path_is_noted_and_another_one_is_told() {
        let mut pins = Pins::default();
        assert_eq!(pins.check(1, &program("/r/Worker", 7, 100)), Pin::Holds);
        assert_eq!(pins.check(1, &program("/r/Worker", 7, 100)), Pin::Holds);
        assert_eq!(pins.check(1, &program("/r/Worker", 8, 100)), Pin::Changed);
        assert_eq!(pins.check(1, &program("/r/Worker", 7, 101)), Pin::Changed);
        assert_eq!(pins.check(2, &program("/r/Worker", 8, 100)), Pin::Holds);
        pins.forget(1);
        assert_eq!(pins.check(1, &program("/r/Worker", 8, 100)), Pin::Holds);
    }

    #[test]
    fn a_scanned_file_is_the_same_by_size_and_change_time_and_then_known_by_its_inode() {
        let mut pins = Pins::default();
        let scanned = Program { trust: Trust::Scanned, ..program("/r/Worker", 70, 100) };
        assert_eq!(pins.check(1, &scanned), Pin::Holds);
        assert_eq!(pins.check(1, &program("/r/Worker", 7, 100)), Pin::Holds);
        assert_eq!(pins.check(1, &program("/r/Worker", 8, 100)), Pin::Changed);
    }

    #[test]
    fn what_has_no_name_is_never_noted() {
        let mut pins = Pins::default();
        let memfd = Program { trust: Trust::Untrusted("memfd"), ..program("/memfd:x", 7, 100) };
        assert_eq!(pins.check(1, &memfd), Pin::None);
    }

    #[test]
    fn the_oldest_path_is_forgotten_when_there_are_too_many() {
        let mut pins = Pins::default();
        for n in 0..=PATHS_MAX {
            assert_eq!(pins.check(1, &program(&format!("/w/{n}"), 7, 100)), Pin::Holds);
        }
        assert_eq!(pins.check(1, &program("/w/0", 8, 100)), Pin::Holds);
        assert_eq!(pins.check(1, &program(&format!("/w/{PATHS_MAX}"), 8, 100)), Pin::Changed);
    }
}
