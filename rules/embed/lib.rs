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

    /// Folder of the recordings, from this package's.
    fn recordings() -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/recordings")
    }

    #[test]
    fn the_recordings_that_profiles_name_are_there() {
        for (name, text) in super::FILES.iter().filter(|(name, _)| name.starts_with("profiles/")) {
            for rest in text.split("recording ").skip(1) {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-/".contains(c)));
                let path = rest.split_at(end.unwrap_or(rest.len())).0;
                let Some((folder, file)) = path.split_once('/') else { continue };
                let stem = recordings().join(folder).join(file);
                let there = ["yaml", "ndjson"].iter().any(|kind| stem.with_extension(kind).is_file());
                assert!(there, "{name} names the recording {path}, which is not there");
            }
        }
    }

    #[test]
    fn a_profile_with_recordings_has_a_normal_run_and_a_way_out() {
        for (name, _) in super::FILES.iter().filter(|(name, _)| name.starts_with("profiles/")) {
            let profile = name.trim_start_matches("profiles/").trim_end_matches(".yaml");
            if !recordings().join(profile).is_dir() {
                continue;
            }
            let files: Vec<String> = std::fs::read_dir(recordings().join(profile))
                .map(|entries| {
                    entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
                })
                .unwrap_or_default();
            for kind in ["normal", "escape"] {
                assert!(
                    files.iter().any(|f| f.starts_with(kind)),
                    "{name} has no {kind} recording: {files:?}"
                );
            }
        }
    }
}
