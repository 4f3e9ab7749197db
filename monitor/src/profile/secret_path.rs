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
}

impl SecretPath {
    /// A pattern without braces; `None` if it is none.
    pub fn new(pattern: &str, identity: &Arc<str>) -> Option<Self> {
        let glob = Glob::path(pattern).ok()?;
        Some(Self { pattern: pattern.into(), identity: identity.clone(), glob })
    }

    /// Whether a path in the worker's view is one of it.
    pub fn matches(&self, path: &str) -> bool {
        self.glob.matches(path)
    }
}
