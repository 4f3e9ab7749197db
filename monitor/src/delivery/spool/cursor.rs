//! How far a sink is: a small file of its own, written whole under another name and then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The `schema` of a cursor.
const SCHEMA: &str = "sandwatch/cursor/v1";
/// Larger files are none.
const MOST: u64 = 64 << 10;

/// How far a sink is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    schema: String,
    /// The sink's name.
    pub(crate) sink: String,
    /// Id of its stream of sequence numbers.
    pub(crate) stream: String,
    /// The number that its next record gets.
    pub(crate) next: u64,
    /// By class, from the one sent first: every record below this number is dealt with.
    pub(crate) at: [u64; 3],
    /// By class: the highest sequence number that is dealt with.
    pub(crate) seq: [u64; 3],
}

impl Cursor {
    /// A sink that has seen nothing, with a stream of its own.
    pub(crate) fn new(sink: &str) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            sink: sink.to_owned(),
            stream: uuid::Uuid::new_v4().to_string(),
            next: 1,
            at: [0; 3],
            seq: [0; 3],
        }
    }

    /// The cursor of a sink, if it has one that can be read. What is wrong with it is said in words.
    pub(crate) fn load(folder: &Path, sink: &str) -> Result<Option<Self>, String> {
        let path = path(folder, sink);
        let read = || -> io::Result<String> {
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(&path)?;
            let mut text = String::new();
            file.take(MOST).read_to_string(&mut text)?;
            Ok(text)
        };
        let text = match read() {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: cannot be read: {error}", path.display())),
        };
        let cursor: Self = serde_json::from_str(&text)
            .map_err(|error| format!("{}: is no cursor: {error}", path.display()))?;
        if cursor.sink != sink || cursor.schema != SCHEMA {
            return Err(format!("{}: is the cursor of another sink or version", path.display()));
        }
        Ok(Some(cursor))
    }

    /// Writes it.
    pub(crate) fn save(&self, folder: &Path) -> io::Result<()> {
        let whole = path(folder, &self.sink);
        let half = folder.join(format!(".{}.tmp", self.sink));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&half)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        // A renamed file whose blocks never came would be an empty one after a power cut.
        file.sync_data()?;
        fs::rename(&half, &whole)
    }
}

fn path(folder: &Path, sink: &str) -> PathBuf {
    folder.join(format!("{sink}.cursor"))
}

/// Makes what was renamed or removed in a folder last.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_is_read_as_written_and_a_broken_one_is_said() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Cursor::load(dir.path(), "siem"), Ok(None));
        let mut cursor = Cursor::new("siem");
        cursor.at = [1, 2, 3];
        cursor.save(dir.path()).unwrap();
        assert_eq!(Cursor::load(dir.path(), "siem"), Ok(Some(cursor)));
        fs::write(dir.path().join("siem.cursor"), "{").unwrap();
        assert!(Cursor::load(dir.path(), "siem").unwrap_err().contains("siem.cursor: is no cursor"));
    }

    #[test]
    fn cursor_of_another_sink_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Cursor::new("a").save(dir.path()).unwrap();
        fs::rename(dir.path().join("a.cursor"), dir.path().join("b.cursor")).unwrap();
        assert!(Cursor::load(dir.path(), "b").is_err());
    }
}
