//! A second word on the numbers of each stream.
//!
//! A cursor's file may be there again as it was some time ago: a part of the folder was put back, or a disk lied about what it
//! had. What it says of the next number is then too low. So the file `numbers` says of each stream which number comes next and
//! below which one some may have been given. It is written with each promise, and before a segment goes: as long as
//! segments are there, they tell which numbers were given.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::cursor::Cursor;
use crate::state_dir::{self, Before};

pub(crate) const NAME: &str = "numbers";
/// The `schema` of the file.
const SCHEMA: &str = "sandwatch/numbers/v1";
/// A larger one is none.
const MOST: u64 = 1 << 20;
/// Of how many streams of a sink it speaks: of the newest.
const STREAMS: usize = 8;

/// What was given, by sink; the newest stream last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Given {
    schema: String,
    sinks: BTreeMap<String, Vec<Stream>>,
    /// The file does not say all of this yet.
    #[serde(skip)]
    news: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stream {
    id: String,
    next: u64,
    reserved: u64,
}

impl Given {
    /// What the folder has. One that cannot be read says nothing: it only is a second word.
    pub(crate) fn load(folder: &Path) -> Self {
        let path = folder.join(NAME);
        let given = match state_dir::read_text(&path, MOST) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.to_string()),
        };
        let mut given = given.unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), error, "is not used");
            Self::default()
        });
        if given.schema != SCHEMA {
            given.sinks.clear();
        }
        given.schema = SCHEMA.to_owned();
        given
    }

    /// Sees to it that a cursor gives no number again.
    pub(crate) fn correct(&self, cursor: &mut Cursor) {
        let mut streams = self.sinks.get(&cursor.sink).into_iter().flatten();
        if let Some(stream) = streams.find(|stream| stream.id == cursor.stream) {
            cursor.next = cursor.next.max(stream.next);
            cursor.reserved = cursor.reserved.max(stream.reserved).max(cursor.next);
        }
    }

    /// A sink is so far.
    pub(crate) fn note(&mut self, cursor: &Cursor) {
        let streams = self.sinks.entry(cursor.sink.clone()).or_default();
        let now = Stream { id: cursor.stream.clone(), next: cursor.next, reserved: cursor.reserved };
        if streams.contains(&now) {
            return;
        }
        self.news = true;
        streams.retain(|stream| stream.id != now.id);
        streams.push(now);
        let many = streams.len().saturating_sub(STREAMS);
        streams.drain(..many);
    }

    /// Writes it, if there is news. It lasts once the folder is synced.
    pub(crate) fn save(&mut self, folder: &Path) -> io::Result<()> {
        if !self.news {
            return Ok(());
        }
        let half = folder.join(".numbers.tmp");
        state_dir::replace(&folder.join(NAME), &half, &serde_json::to_vec(self)?, Before::Synced)?;
        self.news = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn older_cursor_is_corrected_and_a_newer_one_or_one_of_another_stream_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut now = Cursor::new("a");
        (now.next, now.reserved) = (50, 114);
        let mut given = Given::load(dir.path());
        given.note(&now);
        given.save(dir.path()).unwrap();
        fs::create_dir(dir.path().join(".numbers.tmp")).unwrap();
        given.note(&now);
        given.save(dir.path()).expect("there is nothing to write");
        let given = Given::load(dir.path());
        let mut older = now.clone();
        (older.next, older.reserved) = (10, 74);
        given.correct(&mut older);
        assert_eq!(older, now);
        let mut newer = now.clone();
        (newer.next, newer.reserved) = (60, 178);
        let before = newer.clone();
        given.correct(&mut newer);
        assert_eq!(newer, before);
        let mut other = Cursor::new("a");
        given.correct(&mut other);
        assert_eq!(other.next, 1);
    }

    #[test]
    fn file_that_is_none_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NAME), "{").unwrap();
        assert!(Given::load(dir.path()).sinks.is_empty());
        fs::write(dir.path().join(NAME), r#"{"schema":"sandwatch/numbers/v9","sinks":{"a":[]}}"#).unwrap();
        assert!(Given::load(dir.path()).sinks.is_empty());
    }
}
