//! Globs against a reference and by example.

use globset::GlobBuilder;
use proptest::prelude::*;

use super::*;

fn path(pattern: &str, text: &str) -> bool {
    Globs::paths([&pattern.to_owned()]).unwrap().matches(text)
}

#[test]
fn double_star_takes_any_number_of_components_also_none() {
    assert!(path("/a/**/token", "/a/token"));
    assert!(path("/a/**/token", "/a/b/c/token"));
    assert!(!path("/a/**/token", "/b/a/token"));
    assert!(path("**/bin/n8n", "/usr/local/bin/n8n"));
    assert!(path("**/bin/n8n", "bin/n8n"));
    assert!(!path("**/bin/n8n", "/usr/local/bin/n8n/x"));
}

#[test]
fn trailing_double_star_is_below_and_not_the_folder_itself() {
    assert!(path("/run/secrets/**", "/run/secrets/a/b"));
    assert!(!path("/run/secrets/**", "/run/secrets"));
}

#[test]
fn star_stays_within_a_component() {
    assert!(path("/proc/*/environ", "/proc/12/environ"));
    assert!(!path("/proc/*/environ", "/proc/12/task/13/environ"));
}

#[test]
fn tilde_is_any_home_folder() {
    for home in ["/root", "/home/node", "/opt/airflow", ""] {
        assert!(path("~/.ssh/id_*", &format!("{home}/.ssh/id_rsa")), "{home}");
    }
    assert!(!path("~/.ssh/id_*", "/root/.ssh/known_hosts"));
    assert!(Glob::path("~root/x").is_err());
}

#[test]
fn braces_nest_and_multiply() {
    assert_eq!(braces("{a,b{c,d}}-{e,f}").unwrap(), ["a-e", "a-f", "bc-e", "bc-f", "bd-e", "bd-f"]);
    assert!(braces("{a").is_err());
    assert!(braces("a}").is_err());
    assert!(braces(&"{a,b}".repeat(9)).is_err());
}

#[test]
fn escapes_and_classes() {
    assert!(path("/a\\*b", "/a*b"));
    assert!(!path("/a\\*b", "/axb"));
    assert!(path("/x[0-9a]", "/x7"));
    assert!(!path("/x[!0-9]", "/x7"));
    assert!(Glob::path("/x[").is_err());
    assert!(Glob::path("/a**b").is_err());
}

#[test]
fn flat_star_crosses_slashes() {
    assert!(Glob::flat("stratum+tcp://*").unwrap().matches("stratum+tcp://a/b"));
}

#[test]
fn case_does_not_matter_to_a_flat_glob_that_says_so() {
    let globs =
        Globs::flat([&"(?i){,-*}core.{sshCommand,pager}=?*".to_owned(), &"(?i)[a-c]*é".to_owned()]).unwrap();
    for text in ["core.sshcommand=x", "CORE.SSHCommand=X", "-cCore.Pager=/a/b", "Bé", "czé"] {
        assert!(globs.matches(text), "{text}");
    }
    for text in ["core.sshcommand=", "xcore.sshcommand=y", "dé", "É", ""] {
        assert!(!globs.matches(text), "{text}");
    }
    assert!(!Glob::flat("core.*").unwrap().matches("CORE.x"), "it matters to others");
    assert!(Glob::flat("\\(?i)x").unwrap().matches("(1i)x"), "with a backslash it is text");
}

/// Exponential for a matcher that backtracks into every wildcard.
#[test]
fn hostile_text_is_answered_at_once() {
    let pattern = format!("/{}b", "a*".repeat(40));
    assert!(!path(&pattern, &format!("/{}", "a".repeat(4000))));
    assert!(!path("**/a/*/**/a/*/b", &"/a".repeat(2000)));
}

fn pattern_text() -> impl Strategy<Value = String> {
    let component = prop_oneof![
        3 => "[ab]{1,3}",
        2 => Just("**".to_owned()),
        1 => Just("*".to_owned()),
        1 => "[ab]{0,1}\\*[ab]{0,2}",
        1 => "[ab]{0,1}\\?[ab]{0,1}",
        1 => Just("{a,bb}".to_owned()),
    ];
    proptest::collection::vec(component, 1..5).prop_map(|v| format!("/{}", v.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn path_globs_agree_with_globset(pattern in pattern_text(), parts in proptest::collection::vec("[ab]{1,3}", 1..6)) {
        let text = format!("/{}", parts.join("/"));
        let reference = GlobBuilder::new(&pattern).literal_separator(true).build().unwrap().compile_matcher();
        prop_assert_eq!(path(&pattern, &text), reference.is_match(&text), "{} on {}", pattern, text);
    }

    #[test]
    fn any_text_is_compiled_or_refused_without_panic(pattern in "\\PC{0,40}", text in "\\PC{0,40}") {
        if let Ok(globs) = Globs::paths([&pattern]) {
            globs.matches(&text);
        }
    }
}
