//! Reading a configuration file: what it does not understand it refuses, with the place and what to write instead.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_saphyr::Error as YamlError;

use super::check;
use super::types::Config;

/// Larger files are refused: a configuration is a page or two.
const MAX_FILE: u64 = 1 << 20;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It could not be read.
    #[error("{}: cannot be read: {source}; give another file with --config", path.display())]
    Read {
        /// File.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others may write it.
    #[error(
        "{}: {what}, so another user could change what is watched; {fix}", path.display()
    )]
    Unsafe {
        /// File.
        path: PathBuf,
        /// Who may write.
        what: String,
        /// What to do.
        fix: String,
    },
    /// It says something that is not understood.
    #[error("{}{}: {what}{}", path.display(), Place(*line, *column), Fix(fix))]
    Invalid {
        /// File.
        path: PathBuf,
        /// Line, from 1; 0 if it is about the whole file.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What is wrong.
        what: String,
        /// What to do; may be empty.
        fix: String,
    },
}

struct Place(u64, u64);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, ":{}:{}", self.0, self.1) }
    }
}

struct Fix<'a>(&'a str);

impl fmt::Display for Fix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "; {}", self.0) }
    }
}

/// Reads, checks and parses the file at `path`. A file that others may write is refused.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let read = |source| ConfigError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read)?;
    // On the open file, so that what is checked is what is read.
    let meta = file.metadata().map_err(read)?;
    check_owner(path, meta.uid(), meta.mode())?;
    if meta.len() > MAX_FILE {
        let what = format!("{} bytes is more than a configuration may have ({MAX_FILE})", meta.len());
        return Err(invalid(path, (0, 0), what, String::new()));
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(read)?;
    parse(path, &text)
}

fn check_owner(path: &Path, owner: u32, mode: u32) -> Result<(), ConfigError> {
    let us = nix::unistd::geteuid().as_raw();
    let refuse = |what: String, fix: String| Err(ConfigError::Unsafe { path: path.to_owned(), what, fix });
    if owner != 0 && owner != us {
        let fix = format!("make it root's: chown root {}", path.display());
        return refuse(format!("is owned by uid {owner}"), fix);
    }
    if mode & 0o022 != 0 {
        let who = if mode & 0o002 != 0 { "everyone" } else { "its group" };
        return refuse(
            format!("may be written by {who}"),
            format!("take that away: chmod go-w {}", path.display()),
        );
    }
    Ok(())
}

/// Where the state is kept according to a configuration file that may be bad in every other way.
pub fn state_dir_of(path: Option<&Path>) -> PathBuf {
    #[derive(serde::Deserialize)]
    struct Where {
        state_dir: Option<PathBuf>,
    }
    let text = path.and_then(|path| std::fs::read_to_string(path).ok());
    // A file that is no YAML from some line on may say it before.
    let line = |text: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix("state_dir:"))?;
        let value = value.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
        Some(PathBuf::from(value)).filter(|path| path.is_absolute())
    };
    let stated = |text: &str| serde_saphyr::from_str::<Where>(text).ok()?.state_dir;
    text.and_then(|text| stated(&text).or_else(|| line(&text)))
        .unwrap_or_else(super::types::default_state_dir)
}

/// Parses `text`; `path` is for messages.
pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let config: Config = serde_saphyr::from_str(text).map_err(|error| from_yaml(path, &error))?;
    match check::first_wrong(&config) {
        None => Ok(config),
        Some(wrong) => Err(invalid(path, check::place(text, wrong.at), wrong.what, wrong.fix.to_owned())),
    }
}

fn from_yaml(path: &Path, error: &YamlError) -> ConfigError {
    let error = error.without_snippet();
    let place = error.location().map_or((0, 0), |at| (at.line(), at.column()));
    let (what, fix) = match error {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            (format!("unknown key {field:?}"), suggest(field, expected))
        }
        YamlError::SerdeUnknownVariant { variant, expected, .. } => {
            (format!("unknown value {variant:?}"), suggest(variant, expected))
        }
        YamlError::SerdeMissingField { field, .. } => {
            (format!("the key {field:?} is missing"), format!("add `{field}:`"))
        }
        YamlError::Message { msg, .. } => (msg.clone(), String::new()),
        // Without its own place: it stands in front already.
        other => {
            let text = other.to_string();
            (text.lines().next().unwrap_or("is not valid YAML").to_owned(), String::new())
        }
    };
    invalid(path, place, what, fix)
}

fn suggest(given: &str, valid: &[&str]) -> String {
    let near = valid
        .iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(given, name), *name))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((score, name)) if score >= 0.5 => format!("did you mean {name:?}?"),
        _ => format!("known here: {}", valid.join(", ")),
    }
}

fn invalid(path: &Path, (line, column): (u64, u64), what: String, fix: String) -> ConfigError {
    ConfigError::Invalid { path: path.to_owned(), line, column, what, fix }
}

#[cfg(test)]
mod tests;
