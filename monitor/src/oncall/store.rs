//! Desks on disk: `STATE_DIR/oncall/SINK/desk.json`, whole, renamed into place, synced.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::desk::{Desk, Now, Saved};
use super::pager::Pager;
use crate::state_dir::{self, Before, Folder, StateError};

/// Larger files are none of ours.
const FILE_MAX: u64 = 32 << 20;
/// The version written; the one before is read too, once there is one.
const VERSION: u32 = 1;

/// Where the desks of a sink are kept. No other agent writes there.
#[derive(Debug)]
pub(super) struct Place(Folder);

impl Place {
    /// The folder of a sink.
    ///
    /// # Errors
    /// It cannot be made, or is not this agent's alone.
    pub(super) fn take(state_dir: &Path, sink: &str) -> Result<Self, StateError> {
        Folder::take(&state_dir.join("oncall"), &file_name(sink)).map(Self)
    }

    /// The file of a desk. `replica`: its number, if the sink has several receivers.
    pub(super) fn store(&self, replica: Option<usize>) -> Store {
        let name = replica.map_or_else(|| "desk.json".to_owned(), |number| format!("desk-{number}.json"));
        Store { path: self.0.path().join(name) }
    }
}

/// Where a desk is kept.
#[derive(Clone, Debug)]
pub(super) struct Store {
    path: PathBuf,
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    desk: &'a Saved,
}

#[derive(Deserialize)]
struct Read1 {
    version: u32,
    desk: Saved,
}

impl Store {
    /// The desk as it was kept, or a new one; and what is wrong with the file, which is then set aside.
    pub(super) fn load(&self, pager: &dyn Pager, now: Now, goes_on: bool) -> (Desk, Option<String>) {
        let (kept, problem) = match self.read() {
            Ok(kept) => (kept, None),
            Err(what) => {
                let aside = self.path.with_extension("aside");
                let moved = match fs::rename(&self.path, &aside) {
                    Ok(()) => format!("it is kept as {}", aside.display()),
                    Err(error) => format!("and it cannot be set aside: {error}"),
                };
                (None, Some(format!("{}: {what}; {moved}", self.path.display())))
            }
        };
        let desk = match kept {
            Some(kept) => Desk::restored(kept, pager.receiver(), pager.policy(), pager.keyer(), now, goes_on),
            None => Desk::for_pager(pager),
        };
        (desk, problem)
    }

    fn read(&self) -> Result<Option<Saved>, String> {
        let text = match state_dir::read_text(&self.path, FILE_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let read: Read1 = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if read.version != VERSION {
            return Err(format!("it is of version {}, this agent reads {VERSION}", read.version));
        }
        Ok(Some(read.desk))
    }

    /// Writes the desk.
    ///
    /// # Errors
    /// It cannot be written; the one before is still there.
    pub(super) fn save(&self, desk: &Desk) -> io::Result<()> {
        let text = serde_json::to_vec(&Written { version: VERSION, desk: desk.state() })?;
        let half = self.path.with_extension("tmp");
        // What was read from the spool is given up only once this holds over a power cut.
        state_dir::replace(&self.path, &half, &text, Before::Synced)?;
        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

/// The sink's name as a file name of its own: two sinks never share one.
fn file_name(sink: &str) -> String {
    let mut name = String::new();
    for byte in sink.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02x}"));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_stay_in_the_folder_and_apart() {
        assert_eq!(file_name("on-call_1"), "on-call_1");
        assert_eq!(file_name("../x"), "%2e%2e%2fx");
        assert_ne!(file_name("a.b"), file_name("a%2eb"));
    }
}
