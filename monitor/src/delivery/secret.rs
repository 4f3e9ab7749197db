//! A sink's secret: read from a file or the environment, shown to nobody.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::SinkConfig;

/// Larger files hold something else.
const MAX: u64 = 16 << 10;

/// A key, token or password. It cannot be displayed, its debug form shows nothing of it, and its memory is wiped when it is
/// dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

/// Why a secret could not be read. Names places, never values.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file could not be read.
    #[error("{}: the secret cannot be read: {source}", path.display())]
    Read {
        /// File.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was read is no secret.
    #[error("{place}: {what}")]
    Unfit {
        /// File or variable.
        place: String,
        /// What it is.
        what: &'static str,
    },
    /// The variable is not set.
    #[error(
        "the environment variable {name} is not set; set it and restart the agent, or name a file with `key_file`"
    )]
    NotSet {
        /// Variable.
        name: String,
    },
    /// Two sources.
    #[error("`key_file` and `key_env` are both given; leave one out")]
    Both,
}

impl SecretError {
    /// Whether it can end without a change of the configuration.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::Both)
    }
}

impl Secret {
    /// A secret that is known already.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret of a sink, from its `key_file` or `key_env`; `None` if it has neither.
    ///
    /// # Errors
    /// It cannot be read, or is not one line of text.
    pub fn of(config: &SinkConfig) -> Result<Option<Self>, SecretError> {
        match (&config.key_file, &config.key_env) {
            (Some(_), Some(_)) => Err(SecretError::Both),
            (Some(path), None) => Self::from_file(path).map(Some),
            (None, Some(name)) => Self::from_env(name).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The one line of a file; a line end after it does not count.
    ///
    /// # Errors
    /// The file cannot be read, is empty, too large, not text, or has several lines.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::Read { path: path.to_owned(), source };
        keep_out_of_core_dumps();
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX as usize + 1));
        File::open(path).map_err(failed)?.take(MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        Self::checked(&bytes, &path.display().to_string())
    }

    /// The value of an environment variable.
    ///
    /// # Errors
    /// It is not set, empty, or not one line of text.
    pub fn from_env(name: &str) -> Result<Self, SecretError> {
        use std::os::unix::ffi::OsStringExt;
        keep_out_of_core_dumps();
        let value = std::env::var_os(name).ok_or_else(|| SecretError::NotSet { name: name.to_owned() })?;
        Self::checked(&Zeroizing::new(value.into_vec()), &format!("environment variable {name}"))
    }

    fn checked(bytes: &[u8], place: &str) -> Result<Self, SecretError> {
        let unfit = |what| Err(SecretError::Unfit { place: place.to_owned(), what });
        if bytes.len() as u64 > MAX {
            return unfit("is larger than a secret can be (16 KiB)");
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return unfit("is not text; a secret is one line of it");
        };
        let text = text.trim_matches(['\n', '\r', ' ', '\t']);
        if text.is_empty() {
            return unfit("holds no secret: it is empty");
        }
        if text.chars().any(char::is_control) {
            return unfit("has control characters or several lines; a secret is one line");
        }
        Ok(Self::new(text.to_owned()))
    }

    /// The secret itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// From the first secret on, a crash of the agent leaves no memory image, and no other user's process may look into it. To be
/// called before a secret or a private key is read: also what turns out to be none may hold one.
pub(crate) fn keep_out_of_core_dumps() {
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!("the agent's secrets would be part of a core dump: {error}");
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> Result<Secret, SecretError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, content).unwrap();
        Secret::from_file(&path)
    }

    #[test]
    fn a_file_gives_its_one_line() {
        assert_eq!(file(b"s3cret-token\r\n").unwrap().expose(), "s3cret-token");
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_shown() {
        for (content, word) in [
            (&b""[..], "empty"),
            (b" \n", "empty"),
            (b"one\ntwo", "one line"),
            (b"\xff\xfe", "not text"),
            (&[b'a'; 20_000], "larger"),
        ] {
            let message = file(content).unwrap_err().to_string();
            assert!(message.contains(word) && !message.contains("two"), "{message}");
        }
        let missing = Secret::from_file(Path::new("/nonexistent/key")).unwrap_err().to_string();
        assert!(missing.contains("/nonexistent/key"), "{missing}");
        let unset = Secret::from_env("SANDWATCH_NO_SUCH_VARIABLE").unwrap_err().to_string();
        assert!(unset.contains("is not set"), "{unset}");
    }

    #[test]
    fn it_prints_nothing_of_itself() {
        let secret = Secret::new("s3cret-token".into());
        assert!(!format!("{secret:?} {:#?}", Some(&secret)).contains("s3cret"));
    }

    #[test]
    fn two_sources_are_refused() {
        let config =
            SinkConfig { key_file: Some("/a".into()), key_env: Some("A".into()), ..SinkConfig::stdout() };
        assert!(matches!(Secret::of(&config), Err(SecretError::Both)));
    }

    #[test]
    fn with_a_secret_the_process_leaves_no_core_dump() {
        file(b"s3cret").unwrap();
        assert!(!nix::sys::prctl::get_dumpable().unwrap());
    }
}
