//! Which cgroups are workers: the `watch` and `assign` patterns of the configuration.

use globset::{GlobBuilder, GlobMatcher};

use crate::profile::Facts;

/// Why a pattern was refused.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// Not a glob.
    #[error("workers: `{pattern}` is not a glob: {reason}")]
    Glob {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Would make the whole host a worker.
    #[error(
        "workers: `{0}` names the cgroup root itself; every process of the host would be a worker's: name a cgroup below it"
    )]
    Root(String),
    /// Neither a path nor a unit.
    #[error(
        "workers: `{0}` is neither a cgroup path (starts with `/`) nor the name of a systemd unit (ends in .service, .scope or .slice)"
    )]
    Neither(String),
}

/// What the configuration says of a worker that no selector can know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Profile it gets; `None`: a `watch` pattern only.
    pub profile: Option<String>,
    /// Name it gets on alerts.
    pub name: Option<String>,
    /// What the site states of it, for rules that ask.
    pub facts: Facts,
    /// Exact argument lists of health commands that enter it from outside.
    pub probes: Vec<Vec<String>>,
}

struct Pattern {
    glob: GlobMatcher,
    /// Each component as a glob of its own, up to the first `**`: tells which folders may have matches below them.
    head: Vec<GlobMatcher>,
    /// The pattern reaches any depth below `head`.
    deep: bool,
    assignment: Assignment,
}

/// The compiled patterns.
#[derive(Default)]
pub struct CgroupPatterns {
    patterns: Vec<Pattern>,
}

impl CgroupPatterns {
    /// Compiles `watch` patterns and `assign` entries (pattern and what it says). An assigned cgroup is watched too.
    ///
    /// A pattern is a path glob below the cgroup2 root (`/lab/*`; `*` does not cross `/`, `**` does) or the name of a systemd unit
    /// (`n8n*.service`), which matches that folder wherever it lies.
    pub fn new<'a>(
        watch: impl IntoIterator<Item = &'a str>,
        assign: impl IntoIterator<Item = (&'a str, Assignment)>,
    ) -> Result<Self, PatternError> {
        let watched = watch.into_iter().map(|pattern| (pattern, Assignment::default()));
        // Assigned ones first: the first match gives the assignment.
        let patterns = assign
            .into_iter()
            .chain(watched)
            .map(|(pattern, assignment)| compile(pattern, assignment))
            .collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// What the configuration says of the cgroup at `path` (below the cgroup2 root, starting with `/`); `None`: not a worker.
    pub fn assignment(&self, path: &str) -> Option<&Assignment> {
        self.patterns.iter().find(|pattern| pattern.glob.is_match(path)).map(|pattern| &pattern.assignment)
    }

    /// Whether a cgroup somewhere below `path` could match: the folder has to be looked into, and watched for new ones.
    pub fn may_match_below(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        self.patterns.iter().any(|pattern| {
            let head = pattern.head.iter().zip(&parts).all(|(glob, part)| glob.is_match(part));
            head && (pattern.deep || parts.len() < pattern.head.len())
        })
    }
}

fn compile(pattern: &str, assignment: Assignment) -> Result<Pattern, PatternError> {
    let unit = !pattern.starts_with('/');
    if unit && (pattern.contains('/') || unit_of(pattern).is_none()) {
        return Err(PatternError::Neither(pattern.to_owned()));
    }
    if !unit && pattern.trim_matches('/').is_empty() {
        return Err(PatternError::Root(pattern.to_owned()));
    }
    let whole = if unit { format!("/**/{pattern}") } else { pattern.trim_end_matches('/').to_owned() };
    let glob = |text: &str| {
        GlobBuilder::new(text).literal_separator(true).build().map(|glob| glob.compile_matcher()).map_err(
            |error| PatternError::Glob { pattern: pattern.to_owned(), reason: error.kind().to_string() },
        )
    };
    // `{a,b/c}` has no fixed depth: treated as reaching any depth from there on.
    let head: Vec<&str> = whole
        .split('/')
        .filter(|part| !part.is_empty())
        .take_while(|part| !part.contains("**") && !part.contains(['{', '}']))
        .collect();
    let parts = whole.split('/').filter(|part| !part.is_empty()).count();
    Ok(Pattern {
        glob: glob(&whole)?,
        deep: head.len() < parts,
        head: head.into_iter().map(glob).collect::<Result<_, _>>()?,
        assignment,
    })
}

/// The systemd unit that a cgroup path lies in: its innermost component that is a service or scope, else a slice.
pub fn unit_of(path: &str) -> Option<&str> {
    let parts = || path.rsplit('/');
    parts()
        .find(|part| part.ends_with(".service") || part.ends_with(".scope"))
        .or_else(|| parts().find(|part| part.ends_with(".slice")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn watch(patterns: &[&str]) -> CgroupPatterns {
        CgroupPatterns::new(patterns.iter().copied(), []).unwrap()
    }

    #[test]
    fn star_stays_within_one_component() {
        let patterns = watch(&["/lab/*"]);
        assert!(patterns.assignment("/lab/a").is_some());
        assert!(patterns.assignment("/lab/a/b").is_none());
        assert!(patterns.assignment("/lab").is_none());
    }

    #[test]
    fn double_star_reaches_any_depth_but_not_the_parent() {
        let patterns = watch(&["/kubepods*/**"]);
        assert!(patterns.assignment("/kubepods.slice/pod1/abc").is_some());
        assert!(patterns.assignment("/kubepods.slice").is_none());
    }

    #[test]
    fn unit_matches_wherever_it_lies() {
        let patterns = watch(&["n8n*.service"]);
        assert!(patterns.assignment("/system.slice/n8n-main.service").is_some());
        assert!(patterns.assignment("/user.slice/user-1.slice/n8n.service").is_some());
        assert!(patterns.assignment("/system.slice/n8n.service/child").is_none());
        assert!(patterns.may_match_below("/user.slice/user-1.slice"));
    }

    #[test]
    fn assignment_wins_over_a_watch_pattern() {
        let named =
            Assignment { profile: Some("n8n".into()), name: Some("lab-n8n".into()), ..Assignment::default() };
        let patterns = CgroupPatterns::new(["/lab/*"], [("/lab/n8n", named.clone())]).unwrap();
        assert_eq!(patterns.assignment("/lab/n8n"), Some(&named));
        assert_eq!(patterns.assignment("/lab/other"), Some(&Assignment::default()));
    }

    #[test]
    fn only_folders_on_the_way_to_a_match_are_looked_into() {
        let patterns = watch(&["/a/b*/c"]);
        for (path, looked_into) in [
            ("/", true),
            ("/a", true),
            ("/x", false),
            ("/a/b1", true),
            ("/a/b1/c", false),
            ("/a/b1/d", false),
        ] {
            assert_eq!(patterns.may_match_below(path), looked_into, "{path}");
        }
    }

    #[test]
    fn patterns_that_mean_nothing_are_refused() {
        let refused = |pattern: &str| CgroupPatterns::new([pattern], []).err().unwrap().to_string();
        assert!(refused("/").contains("root"));
        assert!(refused("n8n").contains("neither"));
        assert!(refused("a/b.service").contains("neither"));
        assert!(refused("/lab/[").contains("not a glob"));
    }

    #[test]
    fn unit_is_the_innermost_service_or_scope() {
        assert_eq!(unit_of("/system.slice/docker.service/sub"), Some("docker.service"));
        assert_eq!(unit_of("/kubepods.slice/cri-containerd-ab.scope"), Some("cri-containerd-ab.scope"));
        assert_eq!(unit_of("/lab/x"), None);
    }

    proptest! {
        /// Looking only where `may_match_below` says so never misses a match.
        #[test]
        fn every_match_lies_below_folders_that_are_looked_into(
            pattern in "(/(a|b|\\*|\\*\\*|a\\*|\\{a,b/c\\})){1,4}",
            path in "(/(a|b|ab|c)){1,5}",
        ) {
            let patterns = watch(&[&pattern]);
            if patterns.assignment(&path).is_some() {
                let mut above = path.as_str();
                while let Some((parent, _)) = above.rsplit_once('/') {
                    let shown = if parent.is_empty() { "/" } else { parent };
                    prop_assert!(patterns.may_match_below(shown), "{} for {} of {}", shown, path, pattern);
                    above = parent;
                }
            }
        }

        #[test]
        fn any_pattern_is_compiled_or_refused_without_panic(pattern in "[/a-z*?\\[\\]{},.]{0,20}") {
            let _ = CgroupPatterns::new([pattern.as_str()], []);
        }
    }
}
