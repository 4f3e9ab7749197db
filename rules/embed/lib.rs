//! The shipped rule files, inside the program: a lone `sandwatch` binary has the rules it was built with.
//!
//! A package of its own, so that a changed rule rebuilds neither the probes nor the agent's library.

/// Every shipped rule file: its path below `rules/`, and its text. Sorted by path; tests and schemas are left out.
pub const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

#[cfg(test)]
mod tests {
    #[test]
    fn the_demo_profile_is_inside_and_tests_are_not() {
        let names: Vec<&str> = super::FILES.iter().map(|(name, _)| *name).collect();
        assert!(names.contains(&"profiles/demo.yaml"), "{names:?}");
        assert!(!names.iter().any(|name| name.starts_with("tests/")), "{names:?}");
    }
}
