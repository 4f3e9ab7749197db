//! How far a sink is: a small file of its own, written whole under another name and then renamed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::state_dir::{self, Before};

/// The `schema` of a cursor.
const SCHEMA: &str = "sandwatch/cursor/v1";
/// Larger files are none.
const MOST: u64 = 64 << 10;
/// Of how many earlier streams the names are kept, while records with their numbers wait.
const STREAMS: usize = 8;

/// How far a sink is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    schema: String,
    /// The sink's name.
    pub(crate) sink: String,
    /// Id of its stream of sequence numbers.
    pub(crate) stream: String,
    /// The first number of that stream.
    #[serde(default)]
    pub(crate) since: u64,
    /// Streams before it, with their first numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) before: Vec<(u64, String)>,
    /// The number that its next record gets.
    pub(crate) next: u64,
    /// Numbers below this one may have been given, whatever else is in a file: it is written before they are.
    #[serde(default)]
    pub(crate) reserved: u64,
    /// Records with numbers below this one were on disk for good.
    #[serde(default)]
    pub(crate) kept: u64,
    /// Records with numbers below this one are dealt with, or named as gone.
    #[serde(default)]
    pub(crate) dealt: u64,
    /// By class, from the one sent first: every record below this number is dealt with.
    pub(crate) at: [u64; 3],
    /// By class: the highest sequence number of those.
    pub(crate) seq: [u64; 3],
    /// By class: records below this number were in a file.
    #[serde(default)]
    pub(crate) ends: [u64; 3],
}

/// What there is of a sink's cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// A cursor.
    Here(Cursor),
    /// One of a time before the sink was left out of the configuration.
    Away(Cursor),
    /// None.
    Nothing,
    /// One that cannot be read; why, in words.
    Broken(String),
}

impl Cursor {
    /// A sink that has seen nothing, with a stream of its own.
    pub(crate) fn new(sink: &str) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            sink: sink.to_owned(),
            stream: uuid::Uuid::new_v4().to_string(),
            since: 1,
            before: Vec::new(),
            next: 1,
            reserved: 1,
            kept: 1,
            dealt: 1,
            at: [0; 3],
            seq: [0; 3],
            ends: [0; 3],
        }
    }

    /// The cursor of a sink.
    pub(crate) fn find(folder: &Path, sink: &str) -> Known {
        let here = Self::load(&path(folder, sink), sink);
        match (here, Self::load(&away(folder, sink), sink)) {
            // An agent that was to say so was killed before it had.
            (Ok(Some(here)), Ok(Some(mut away))) => {
                away.next = away.next.max(here.next);
                away.reserved = away.reserved.max(here.reserved);
                Known::Away(away)
            }
            (Ok(Some(cursor)), _) => Known::Here(cursor),
            (Ok(None), Ok(Some(cursor))) => Known::Away(cursor),
            (Ok(None), Ok(None)) => Known::Nothing,
            (Err(problem), _) | (Ok(None), Err(problem)) => Known::Broken(problem),
        }
    }

    fn load(path: &Path, sink: &str) -> Result<Option<Self>, String> {
        let text = match state_dir::read_text(path, MOST) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: cannot be read: {error}", path.display())),
        };
        let mut cursor: Self = serde_json::from_str(&text)
            .map_err(|error| format!("{}: is no cursor: {error}", path.display()))?;
        if cursor.sink != sink || cursor.schema != SCHEMA {
            return Err(format!("{}: is the cursor of another sink or version", path.display()));
        }
        // Agents before this one wrote nothing of these.
        if cursor.since == 0 {
            cursor.since = 1;
            cursor.kept = cursor.next;
        }
        cursor.dealt = cursor.dealt.max(1);
        cursor.reserved = cursor.reserved.max(cursor.next);
        Ok(Some(cursor))
    }

    /// Writes it.
    pub(crate) fn save(&self, folder: &Path) -> io::Result<()> {
        let whole = path(folder, &self.sink);
        let half = folder.join(format!(".{}.tmp", self.sink));
        state_dir::replace(&whole, &half, &serde_json::to_vec(self)?, Before::Synced)
    }

    /// From its next number on it has another stream; whether records of the one before still wait. How that one was called.
    pub(crate) fn begin_stream(&mut self, wait: bool) -> String {
        if !wait {
            self.before.clear();
        }
        let new = uuid::Uuid::new_v4().to_string();
        let old = std::mem::replace(&mut self.stream, new);
        if wait {
            self.before.push((self.since, old.clone()));
            let many = self.before.len().saturating_sub(STREAMS);
            self.before.drain(..many);
        }
        self.since = self.next;
        old
    }

    /// Streams and their first numbers, the newest first.
    pub(crate) fn streams(&self) -> Vec<(u64, String)> {
        let newest = std::iter::once((self.since, self.stream.clone()));
        newest.chain(self.before.iter().rev().cloned()).collect()
    }
}

/// Puts the cursors of sinks aside that are not among these: what is for them is not kept any more.
pub(crate) fn put_away(folder: &Path, sinks: &[String]) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if let Some(sink) = name.strip_suffix(".cursor")
            && !sinks.iter().any(|known| known == sink)
        {
            fs::rename(&path, away(folder, sink))?;
        }
    }
    Ok(())
}

/// The sink is here again, and its cursor is written.
pub(crate) fn is_back(folder: &Path, sink: &str) {
    let _ = fs::remove_file(away(folder, sink));
}

fn path(folder: &Path, sink: &str) -> PathBuf {
    folder.join(format!("{sink}.cursor"))
}

fn away(folder: &Path, sink: &str) -> PathBuf {
    folder.join(format!("{sink}.away"))
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
        assert_eq!(Cursor::find(dir.path(), "siem"), Known::Nothing);
        let mut cursor = Cursor::new("siem");
        cursor.at = [1, 2, 3];
        cursor.save(dir.path()).unwrap();
        assert_eq!(Cursor::find(dir.path(), "siem"), Known::Here(cursor));
        fs::write(dir.path().join("siem.cursor"), "{").unwrap();
        let Known::Broken(why) = Cursor::find(dir.path(), "siem") else { panic!("it is none") };
        assert!(why.contains("siem.cursor: is no cursor"), "{why}");
    }

    #[test]
    fn cursor_of_another_sink_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Cursor::new("a").save(dir.path()).unwrap();
        fs::rename(dir.path().join("a.cursor"), dir.path().join("b.cursor")).unwrap();
        assert!(matches!(Cursor::find(dir.path(), "b"), Known::Broken(_)));
    }

    #[test]
    fn cursor_of_the_version_before_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            r#"{"schema":"sandwatch/cursor/v1","sink":"a","stream":"s","next":7,"at":[1,2,3],"seq":[1,5,6]}"#;
        fs::write(dir.path().join("a.cursor"), text).unwrap();
        let Known::Here(cursor) = Cursor::find(dir.path(), "a") else { panic!("it is one") };
        assert_eq!((cursor.since, cursor.next, cursor.reserved, cursor.kept), (1, 7, 7, 7));
    }

    #[test]
    fn cursor_of_a_sink_that_is_left_out_is_put_away_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let cursor = Cursor::new("a");
        cursor.save(dir.path()).unwrap();
        put_away(dir.path(), &["b".to_owned()]).unwrap();
        assert_eq!(Cursor::find(dir.path(), "a"), Known::Away(cursor.clone()));
        cursor.save(dir.path()).unwrap();
        is_back(dir.path(), "a");
        assert_eq!(Cursor::find(dir.path(), "a"), Known::Here(cursor));
    }
}
