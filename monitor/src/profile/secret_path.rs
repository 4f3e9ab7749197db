//! Where an identity of the catalogue may lie: a pattern to be looked for in a worker's root.

use std::sync::Arc;

use super::pattern::Glob;

/// One path pattern of an identity (one alternative of its braces).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretPath {
    /// The pattern as written; `~` at its start is any home folder.
    pub pattern: Arc<str>,
    /// Id of the identity.
    pub identity: Arc<str>,
    glob: Glob,
    /// Its components; one with wildcards has a glob of its own.
    parts: Box<[(Box<str>, Option<Glob>)]>,
}

impl SecretPath {
    /// A pattern without braces; `None` if it is none.
    pub fn new(pattern: &str, identity: &Arc<str>) -> Option<Self> {
        let glob = Glob::path(pattern).ok()?;
        let part = |part: &str| {
            let wild = part != "**" && part.contains(['*', '?', '[', '\\']);
            let glob = if wild { Some(Glob::path(part).ok()?) } else { None };
            Some((part.into(), glob))
        };
        let parts = pattern.split('/').filter(|part| !part.is_empty()).map(part).collect::<Option<_>>()?;
        Some(Self { pattern: pattern.into(), identity: identity.clone(), glob, parts })
    }

    /// Number of its components.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether it has no component.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// A component as written: `~` at the start is any home folder, `**` any number of folders.
    pub fn part(&self, at: usize) -> Option<&str> {
        self.parts.get(at).map(|(part, _)| &**part)
    }

    /// Whether a component has wildcards, and not only `**`.
    pub fn is_wild(&self, at: usize) -> bool {
        self.parts.get(at).is_some_and(|(_, glob)| glob.is_some())
    }

    /// Whether a name may stand at a component.
    pub fn part_matches(&self, at: usize, name: &str) -> bool {
        self.parts.get(at).is_some_and(|(part, glob)| match glob {
            Some(glob) => glob.matches(name),
            None => **part == *name,
        })
    }

    /// Whether a path in the worker's view is one of it.
    pub fn matches(&self, path: &str) -> bool {
        self.glob.matches(path)
    }
}
