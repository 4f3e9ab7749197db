//! The segment files that are being written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::Class;
use crate::delivery::spool::cursor::sync_folder;
use crate::delivery::spool::format::{self, HEADER, Header};
use crate::delivery::spool::room::AskRoom;
use crate::delivery::spool::segment::Segment;
use crate::state_dir::Folder;

/// Records of every class but the highest are on disk for good at the latest after this.
const SYNC_WITHIN: Duration = Duration::from_secs(1);

pub(super) struct Disk {
    pub(super) folder: Folder,
    pub(super) active: [Option<Active>; 3],
    next_segment: [u64; 3],
    pub(super) ask_room: AskRoom,
    /// The file system is nearly full: the spool may be as large as it is now, or this.
    pub(super) ceiling: Option<u64>,
    /// Why it takes nothing.
    pub(super) broken: Option<String>,
    /// That was said.
    pub(super) said: bool,
    /// Evicted segments that stay until what names their records is on disk.
    pub(super) leftover: Vec<PathBuf>,
    pub(super) buffer: Vec<u8>,
}

pub(super) struct Active {
    pub(super) file: File,
    path: Arc<Path>,
    pub(super) id: u64,
    bytes: u64,
    /// Since when something in it may be lost in a power cut.
    dirty: Option<Duration>,
    /// What would not be.
    #[cfg(test)]
    synced: u64,
}

impl Disk {
    pub(super) fn new(folder: Folder, next_segment: [u64; 3], ask_room: AskRoom) -> Self {
        Self {
            folder,
            active: [const { None }; 3],
            next_segment,
            ask_room,
            ceiling: None,
            broken: None,
            said: false,
            leftover: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Appends a record to the class's segment, or to a new one.
    pub(super) fn append(
        &mut self,
        class: Class,
        number: u64,
        bytes: &[u8],
        most: u64,
        now: Duration,
    ) -> io::Result<Segment> {
        let order = class.order();
        let length = bytes.len() as u64;
        if let Some(active) = self.active[order].take_if(|active| active.bytes + length > most) {
            active.file.sync_data()?;
        }
        if self.active[order].is_none() {
            let active = self.create(class, number)?;
            self.active[order] = Some(active);
        }
        let Some(active) = &mut self.active[order] else { return Err(io::ErrorKind::NotFound.into()) };
        if let Err(error) = active.file.write_all(bytes) {
            // What is half written is taken back. If not even that goes, the file is left alone from now on.
            if active.bytes == HEADER as u64 {
                let _ = fs::remove_file(&active.path);
                self.active[order] = None;
            } else if active.file.set_len(active.bytes).is_err() {
                self.active[order] = None;
            }
            return Err(error);
        }
        active.bytes += length;
        active.dirty.get_or_insert(now);
        Ok(Segment {
            id: active.id,
            path: Arc::clone(&active.path),
            first: number,
            end: number + 1,
            bytes: active.bytes,
            newest: i64::MIN,
            held: Vec::new(),
        })
    }

    /// Makes what was appended survive a power cut: all of it, if some has waited so long or if `all` is asked for, otherwise
    /// what cannot wait. Whether nothing is left that would not.
    pub(super) fn sync(&mut self, all: bool, now: Duration) -> Result<bool, (Class, io::Error)> {
        let waited = |active: &Active| active.dirty.is_some_and(|at| now.saturating_sub(at) >= SYNC_WITHIN);
        let all = all || self.active.iter().flatten().any(waited);
        let mut failed = None;
        for class in Class::ALL {
            let active = &mut self.active[class.order()];
            let Some(open) = active.as_mut().filter(|open| open.dirty.is_some()) else { continue };
            if !all && class != Class::High {
                continue;
            }
            open.dirty = None;
            match open.file.sync_data() {
                Ok(()) => {
                    #[cfg(test)]
                    {
                        open.synced = open.bytes;
                    }
                }
                Err(error) => {
                    // What the kernel could not write it may have forgotten; what comes next goes to another file.
                    *active = None;
                    failed = Some((class, error));
                }
            }
        }
        failed.map_or(Ok(self.active.iter().flatten().all(|active| active.dirty.is_none())), Err)
    }

    /// Whether the disk takes something again: about as much as a record.
    pub(super) fn probe(&self) -> io::Result<()> {
        let path = self.folder.path().join(".probe");
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(&vec![b' '; 64 << 10])?;
            file.sync_data()
        };
        let result = write();
        let _ = fs::remove_file(&path);
        result
    }

    fn create(&mut self, class: Class, first: u64) -> io::Result<Active> {
        let order = class.order();
        let id = self.next_segment[order].max(1);
        let path = path_of(self.folder.path(), class, id);
        let mut file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)?;
        self.next_segment[order] = id + 1;
        let header = format::header(&Header { class, segment: id, first });
        if let Err(error) = file.write_all(&header).and_then(|()| sync_folder(self.folder.path())) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Active {
            file,
            path: path.into(),
            id,
            bytes: HEADER as u64,
            dirty: None,
            #[cfg(test)]
            synced: 0,
        })
    }

    /// The files that a power cut would cut, and to how many bytes.
    #[cfg(test)]
    pub(super) fn unsynced(&self) -> Vec<(PathBuf, u64)> {
        let open = |class: Class| Some((class, self.active[class.order()].as_ref()?));
        let open = Class::ALL.into_iter().filter_map(open);
        open.map(|(class, open)| (path_of(self.folder.path(), class, open.id), open.synced)).collect()
    }
}

fn path_of(folder: &Path, class: Class, id: u64) -> PathBuf {
    folder.join(format!("{}-{id:04}.seg", class.name()))
}
