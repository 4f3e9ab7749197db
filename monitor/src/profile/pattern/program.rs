//! The names of a program: resolved executable, path as given, argv[0].

use std::borrow::Cow;

use super::glob::{Glob, GlobError, braces};

/// Program patterns: without `/` a glob for the file name, with `/` a path glob.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Programs(Box<[(bool, Glob)]>);

impl Programs {
    /// Compiles patterns with braces.
    pub(crate) fn new<'a>(patterns: impl IntoIterator<Item = &'a String>) -> Result<Self, GlobError> {
        let mut out = Vec::new();
        for pattern in patterns {
            let named = |e: GlobError| GlobError(format!("program `{pattern}`: {e}"));
            for alternative in braces(pattern).map_err(named)? {
                let is_path = alternative.contains('/');
                let glob = if is_path { Glob::path(&alternative) } else { Glob::flat(&alternative) };
                out.push((is_path, glob.map_err(named)?));
            }
        }
        Ok(Self(out.into()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns, each with whether it is for a whole path.
    pub(crate) fn globs(&self) -> impl Iterator<Item = (bool, &Glob)> {
        self.0.iter().map(|(is_path, glob)| (*is_path, glob))
    }

    /// Whether this one name matches.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|(is_path, glob)| glob.matches(if *is_path { name } else { base(name) }))
    }
}

/// The last component.
pub(crate) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Folders where every user can put a file under any name: a name from there says nothing.
pub(crate) fn volatile_folder(path: &str) -> bool {
    ["/tmp/", "/var/tmp/", "/dev/shm/", "/proc/", "/dev/fd/", "/run/user/"]
        .iter()
        .any(|f| path.starts_with(f))
}

/// A path made absolute with the working directory, `.` and `..` taken out.
pub(crate) fn absolute<'a>(path: &'a str, cwd: Option<&str>) -> Option<Cow<'a, str>> {
    let plain = |p: &str| !p.split('/').any(|c| c == "." || c == "..") && !p.contains("//");
    if path.starts_with('/') && plain(path) {
        return Some(Cow::Borrowed(path));
    }
    let mut parts: Vec<&str> = Vec::new();
    let base = if path.starts_with('/') { "" } else { cwd? };
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    Some(Cow::Owned(format!("/{}", parts.join("/"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths_are_made_with_the_working_directory() {
        assert_eq!(absolute("/a/b", None).as_deref(), Some("/a/b"));
        assert_eq!(absolute("../x/./y", Some("/a/b")).as_deref(), Some("/a/x/y"));
        assert_eq!(absolute("/a/../../b", None).as_deref(), Some("/b"));
        assert_eq!(absolute("x", None), None);
    }

    #[test]
    fn program_patterns_without_a_slash_match_the_file_name() {
        let programs = Programs::new([&"python3*".to_owned(), &"/opt/*/run".to_owned()]).unwrap();
        assert!(programs.matches("/usr/bin/python3.11"));
        assert!(programs.matches("/opt/x/run"));
        assert!(!programs.matches("/srv/run"));
        assert!(!programs.matches("/usr/bin/python2"));
    }
}
