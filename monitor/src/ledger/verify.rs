//! Walks the chain and names the first link that is broken.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::entry::{LINE_MAX, Link};
use super::files::{LogFile, list};
use super::head::{Hash, Head};
use crate::state_dir::{StateError, io_error};

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files walked.
    pub files: usize,
    /// Entries up to the first broken link.
    pub entries: u64,
    /// Number of the first entry.
    pub first: u64,
    /// The newest entry.
    pub head: Option<Head>,
    /// What is no break, but should be known.
    pub notes: Vec<String>,
    /// The first broken link.
    pub broken: Option<Broken>,
}

/// A broken link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1; 0: the whole file.
    pub line: u64,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}", self.file.display())?;
        if self.line > 0 {
            write!(to, ":{}", self.line)?;
        }
        write!(to, ": {}", self.what)
    }
}

/// Walks the log below a state directory. `heads` are what it said elsewhere: lines that have to be there.
///
/// # Errors
/// It cannot be read.
pub fn verify(state_dir: &Path, heads: &[Head]) -> Result<Verified, StateError> {
    let folder = state_dir.join(super::FOLDER);
    let files = list(&folder).map_err(io_error(&folder, "read it"))?;
    let mut sources = Vec::new();
    for file in files {
        let reader = File::open(&file.path).map_err(io_error(&file.path, "read it"))?;
        sources.push((file, BufReader::new(reader)));
    }
    verify_sources(sources, heads)
}

/// The same for files that are in memory, in their order: the number in the name of each, and its bytes.
///
/// # Errors
/// As [`verify`].
pub fn verify_files(files: &[(u64, &[u8])], heads: &[Head]) -> Result<Verified, StateError> {
    let sources = files.iter().map(|(first, bytes)| (LogFile::new(Path::new(""), *first), *bytes));
    verify_sources(sources.collect(), heads)
}

fn verify_sources<R: BufRead>(sources: Vec<(LogFile, R)>, heads: &[Head]) -> Result<Verified, StateError> {
    let mut walk = Walk { heads: heads.iter().map(|head| (head, false)).collect(), ..Walk::default() };
    let files = sources.len();
    for (index, (file, mut reader)) in sources.into_iter().enumerate() {
        walk.at = (file.path.clone(), 0);
        let newest = index + 1 == files;
        if !walk_file(&mut walk, &file, &mut reader, newest)? {
            break;
        }
        walk.found.files += 1;
    }
    if walk.found.broken.is_none() {
        walk.end();
    }
    Ok(walk.found)
}

/// Walks one file; `false` if the chain is broken there.
fn walk_file(
    walk: &mut Walk<'_>,
    file: &LogFile,
    reader: &mut impl BufRead,
    newest: bool,
) -> Result<bool, StateError> {
    let mut line = Vec::new();
    let mut first = true;
    loop {
        line.clear();
        let most = LINE_MAX as u64 + 1;
        let read = reader.by_ref().take(most).read_until(b'\n', &mut line);
        if read.map_err(io_error(&file.path, "read it"))? == 0 {
            return Ok(true);
        }
        walk.at.1 += 1;
        let whole = line.pop_if(|last| *last == b'\n').is_some();
        let result = if !whole && line.len() <= LINE_MAX && newest {
            walk.found.notes.push(format!(
                "{}:{}: half an entry ({} bytes): the agent was killed while it wrote, or is writing now",
                file.path.display(),
                walk.at.1,
                line.len()
            ));
            return Ok(true);
        } else if !whole {
            Err((walk.at.clone(), "this is no entry: too long, or cut off".to_owned()))
        } else {
            walk.line(&line, first.then_some(file.first))
        };
        first = false;
        if let Err(((file, line), what)) = result {
            walk.found.broken = Some(Broken { file, line, what });
            return Ok(false);
        }
    }
}

type Place = (PathBuf, u64);

#[derive(Default)]
struct Walk<'a> {
    found: Verified,
    /// Heads, and whether their line was found.
    heads: Vec<(&'a Head, bool)>,
    /// Where the walk is, and where the line before was.
    at: Place,
    before: Place,
    /// Number and hash of the line before.
    last: Option<(u64, Hash)>,
    /// Place of the first entry, if those before it still have to be explained.
    unexplained: Option<Place>,
    running: bool,
}

impl Walk<'_> {
    /// One whole line; `named`: the number in its file's name, if it is the first there.
    fn line(&mut self, bytes: &[u8], named: Option<u64>) -> Result<(), (Place, String)> {
        let here = self.at.clone();
        let wrong = |what: String| Err((here.clone(), what));
        let link: Link = match serde_json::from_slice(bytes) {
            Ok(link) => link,
            Err(error) => return wrong(format!("this is no entry: {error}")),
        };
        let hash = Hash::of(bytes);
        match self.last {
            None => {
                self.found.first = link.number;
                if link.number == 0 {
                    return wrong("entries are numbered from 1".to_owned());
                }
                if link.number == 1 && link.previous != Hash::NONE {
                    return wrong("the first entry follows one that is not there".to_owned());
                }
                if link.number > 1 {
                    self.unexplained = Some(here.clone());
                }
            }
            Some((number, before)) => {
                // The number first: it tells lines that are missing from one that was changed.
                let next = number.saturating_add(1);
                match link.number {
                    found if found == next => {}
                    found if found > next => {
                        let last = found - 1;
                        let which = if last == next {
                            format!("entry {next}")
                        } else {
                            format!("entries {next} to {last}")
                        };
                        return wrong(format!(
                            "{which} should stand before this one (entry {found}): removed, or moved"
                        ));
                    }
                    found => {
                        return wrong(format!(
                            "entry {found} stands where entry {next} should: inserted, or moved"
                        ));
                    }
                }
                if link.previous != before {
                    let what = format!(
                        "entry {number} has the hash {before}, entry {next} behind it says {}: one of the two was changed",
                        link.previous
                    );
                    return Err((self.before.clone(), what));
                }
            }
        }
        if let Some(named) = named.filter(|named| *named != link.number) {
            return wrong(format!(
                "the file's name says that it begins with entry {named}, it does with {}",
                link.number
            ));
        }
        for (head, found) in &mut self.heads {
            match head.number {
                Some(number) if number == link.number => {
                    *found = true;
                    if !head.is(&hash) {
                        return Err((
                            here,
                            format!(
                                "entry {number} has the hash {hash}, and had {head} when its head was sent"
                            ),
                        ));
                    }
                }
                None if head.is(&hash) => *found = true,
                _ => {}
            }
        }
        self.note(&link);
        self.last = Some((link.number, hash));
        self.before = here;
        self.found.entries += 1;
        self.found.head = Some(Head::of(link.number, &hash));
        Ok(())
    }

    fn note(&mut self, link: &Link) {
        let mut say = |text: &str| {
            self.found.notes.push(format!(
                "{}:{}: entry {}: {text}",
                self.at.0.display(),
                self.at.1,
                link.number
            ));
        };
        match &*link.what {
            "start" => {
                let unfinished = std::mem::replace(&mut self.running, true);
                if unfinished {
                    say("the agent started, and the run before had not ended in order");
                }
            }
            "stop" => self.running = false,
            "recovered" => say("half an entry, of a killed agent, was cut off before it"),
            "missed" => say("entries before it could not be written"),
            "replaced" => say("the file before was gone or changed while the agent ran"),
            "config-changed" => say("the configuration was changed"),
            "sinks-stay" => say(
                "the sinks of a changed configuration could not be put in place; those from before stayed",
            ),
            "removed" if link.last.is_some_and(|last| last.saturating_add(1) >= self.found.first) => {
                self.unexplained = None;
            }
            _ => {}
        }
    }

    /// Behind the last line.
    fn end(&mut self) {
        let broken = self.missing();
        if let Some(((file, line), what)) = broken {
            self.found.broken = Some(Broken { file, line, what });
        }
    }

    fn missing(&mut self) -> Option<(Place, String)> {
        let first = self.found.first;
        if let Some(place) = self.unexplained.take() {
            let before = first.saturating_sub(1);
            return Some((
                place,
                format!("entries 1 to {before} are not there, and no entry says that they were removed"),
            ));
        }
        let last = self.last.map_or(0, |(number, _)| number);
        for (head, _) in self.heads.iter().filter(|(_, found)| !found) {
            match head.number {
                Some(number) if number < first => self.found.notes.push(format!(
                    "{head} cannot be checked: the log was rotated and begins with entry {first}"
                )),
                Some(number) => {
                    return Some((
                        self.before.clone(),
                        format!(
                            "the log ends here with entry {last}; entry {number}, whose head was sent, is not there"
                        ),
                    ));
                }
                None => return Some((self.before.clone(), format!("no entry has the hash {head}"))),
            }
        }
        None
    }
}
