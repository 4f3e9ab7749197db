use proptest::prelude::*;

use super::*;

fn masked(argv: &[&str]) -> Vec<String> {
    arguments(&argv.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>())
}

#[test]
fn the_value_after_a_secret_like_flag_is_masked() {
    assert_eq!(masked(&["app", "--password", "hunter2", "-v"]), ["app", "--password", MASK, "-v"]);
    assert_eq!(masked(&["app", "--api-key", "abc"]), ["app", "--api-key", MASK]);
    assert_eq!(masked(&["app", "--apiKey=abc"]), ["app", &format!("--apiKey={MASK}")]);
    assert_eq!(masked(&["app", "-token", "abc"]), ["app", "-token", MASK]);
}

#[test]
fn a_flag_after_a_secret_like_flag_is_not_its_value() {
    assert_eq!(masked(&["app", "--use-token", "--verbose"]), ["app", "--use-token", "--verbose"]);
}

#[test]
fn a_reference_to_a_secret_is_not_the_secret() {
    assert_eq!(masked(&["sh", "-c", "curl --token $TOKEN x"]), ["sh", "-c", "curl --token $TOKEN x"]);
}

#[test]
fn assignments_of_secret_like_names_are_masked() {
    assert_eq!(masked(&["env", "DB_PASSWORD=x1", "A=b"]), ["env", &format!("DB_PASSWORD={MASK}"), "A=b"]);
    assert_eq!(
        text("export AWS_SECRET_ACCESS_KEY=abc/def; ls"),
        format!("export AWS_SECRET_ACCESS_KEY={MASK}; ls")
    );
}

#[test]
fn quoted_values_are_masked_whole() {
    assert_eq!(text("PASS='a b' run"), format!("PASS='{MASK}' run"));
    assert_eq!(text("x --token \"a b\" y"), format!("x --token \"{MASK}\" y"));
    assert_eq!(
        text(r#"{"user":"me","password": "a b","n":1}"#),
        format!(r#"{{"user":"me","password": "{MASK}","n":1}}"#)
    );
    assert_eq!(text(r#"{\"token\":\"abc\"}"#), format!(r#"{{\"token\":\"{MASK}\"}}"#));
    assert_eq!(text("grep 'password' file"), "grep 'password' file");
}

#[test]
fn words_inside_a_shell_command_are_seen() {
    assert_eq!(
        masked(&["sh", "-c", "mysql --password s3cret -e 'select 1'"]),
        ["sh", "-c", &format!("mysql --password {MASK} -e 'select 1'")]
    );
}

#[test]
fn url_passwords_are_masked() {
    assert_eq!(text("postgres://n8n:pa/ss@db:5432/x"), format!("postgres://n8n:{MASK}@db:5432/x"));
    assert_eq!(text("https://user:pw@h/a https://b/c"), format!("https://user:{MASK}@h/a https://b/c"));
    assert_eq!(text("https://host:8443/user@x"), "https://host:8443/user@x");
    assert_eq!(text("https://h/?a=1&access_token=zzz"), format!("https://h/?a=1&access_token={MASK}"));
}

#[test]
fn headers_are_masked_and_keep_their_scheme() {
    assert_eq!(
        masked(&["curl", "-H", "Authorization: Bearer abcdef", "https://h"]),
        ["curl", "-H", &format!("Authorization: Bearer {MASK}"), "https://h"]
    );
    assert_eq!(text("curl -H 'X-Api-Key: abc' https://h"), format!("curl -H 'X-Api-Key: {MASK}' https://h"));
}

#[test]
fn short_flags_of_known_tools_are_masked() {
    assert_eq!(masked(&["/usr/bin/curl", "-u", "me:pw", "h"]), ["/usr/bin/curl", "-u", MASK, "h"]);
    assert_eq!(masked(&["mysql", "-ppw"]), ["mysql", &format!("-p{MASK}")]);
    assert_eq!(masked(&["mkdir", "-p", "a/b"]), ["mkdir", "-p", "a/b"]);
}

#[test]
fn tokens_of_known_shape_are_masked_anywhere() {
    for (start, rest) in [
        ("ghp_", "0123456789abcdefghijABCDEFGHIJ012345"),
        ("glrt-", "abcDEF0123456789xyz_"),
        ("AKIA", "IOSFODNN7EXAMPLE"),
        ("eyJ", "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"),
        ("xoxb-", "1234567890-abcdefghij"),
    ] {
        let argv = masked(&["tool", &format!("{start}{rest}"), &format!("a/{start}{rest}")]);
        assert!(!argv.concat().contains(rest), "{argv:?}");
    }
}

#[test]
fn ordinary_arguments_are_left_alone() {
    for argument in [
        "-c",
        "python3 --version",
        "/usr/lib/node_modules/n8n/bin/n8n",
        "--author=me",
        "--keyboard=us",
        "sk-learn-contrib-examples",
        "compass",
        "--monkey",
        "https://example.org/path?page=2",
        "tcp:443",
        "if [ -f /x ]; then cat /x; fi",
    ] {
        assert_eq!(masked(&["x", argument])[1], argument);
    }
}

/// A secret that is in no way part of the flag's name or the mask.
fn secret() -> impl Strategy<Value = String> {
    "-?Zq[0-9A-Za-z!#%/+.]{10,30}"
}

proptest! {
    #[test]
    fn a_secret_after_a_flag_never_comes_out(
        word in prop::sample::select(SECRET_WORDS.to_vec()), head in "(--|-)", lead in "[a-z]{0,5}", secret in secret(), joined: bool
    ) {
        let flag = format!("{head}{lead}{word}");
        let argv = if joined { masked(&["x", &format!("{flag}={secret}")]) } else { masked(&["x", &flag, &secret]) };
        prop_assert!(!argv.join(" ").contains(&secret), "{:?}", argv);
        let line = if joined { format!("a; {flag}={secret} b") } else { format!("a; {flag} {secret} b") };
        prop_assert!(!text(&line).contains(&secret), "{}", text(&line));
    }

    #[test]
    fn a_secret_in_a_url_never_comes_out(user in "[a-z]{1,8}", secret in secret(), host in "[a-z]{1,8}") {
        let url = format!("x postgres://{user}:{secret}@{host}/db?x=1");
        prop_assert!(!text(&url).contains(&secret), "{}", text(&url));
    }

    #[test]
    fn a_secret_in_an_assignment_never_comes_out(
        word in prop::sample::select(SECRET_WORDS.to_vec()), lead in "[A-Z]{0,5}_?", secret in secret()
    ) {
        let line = format!("{lead}{}={secret}", word.to_uppercase());
        prop_assert!(!text(&line).contains(&secret), "{}", text(&line));
    }

    #[test]
    fn any_arguments_are_masked_without_panic(argv in prop::collection::vec(any::<String>(), 0..8)) {
        prop_assert_eq!(arguments(&argv).len(), argv.len());
    }

    #[test]
    fn one_word_is_masked_as_it_is_among_others(word in "[a-z/]{0,4}(ghp_|AKIA|sk-|eyJ|token)?[a-zA-Z0-9_./@-]{8,40}") {
        prop_assert_eq!(text(&word).into_owned(), words(&word));
    }

    #[test]
    fn masking_twice_changes_nothing(line in "[ -~]{0,80}") {
        let once = text(&line).into_owned();
        prop_assert_eq!(text(&once), once.as_str());
    }
}

/// On a thread with little stack: what repeats in a worker's text must not repeat on it.
#[test]
fn text_that_repeats_what_is_looked_for_needs_no_more_stack() {
    let work = || {
        for part in [
            "=",
            "a=",
            ": ",
            "a: ",
            "://",
            "x://u@",
            "x://:a@",
            "ghp_0123456789012345678901234567890123456789 ",
        ] {
            let long = part.repeat((64 << 10) / part.len());
            let masked = text(&long);
            assert!(masked.len() < long.len() * 6);
        }
    };
    std::thread::Builder::new().stack_size(128 << 10).spawn(work).unwrap().join().unwrap();
}

#[test]
fn words_end_at_every_blank_and_at_what_shells_and_json_put_between_them() {
    let breaks = |c: char| {
        c.is_whitespace()
            || matches!(c, '"' | '\'' | ';' | '&' | '?' | '|' | ',' | '(' | ')' | '{' | '}' | '<' | '>' | '`')
    };
    for c in (0..0x3100).filter_map(char::from_u32) {
        assert_eq!(is_break(c), breaks(c), "{c:?}");
        let text = format!("aé{c}z");
        assert_eq!(next_break(&text), if breaks(c) { 3 } else { text.len() }, "{c:?}");
    }
}
