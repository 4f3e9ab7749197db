//! The room through its door: what is refused and how, what replaces what, what is selected, what a finding says.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::doc::Scope;
use super::pattern::{canonical, scope_of};
use super::rule_test::tests::toy_rules;
use super::*;

fn source(file: &str, text: &str, layer: usize) -> Source {
    Source { file: file.into(), text: text.to_owned(), layer }
}

fn one(text: &str) -> Result<Arc<RuleSet>, RuleErrors> {
    RuleSet::from_sources(&[source("r.yaml", text, 0)])
}

/// The errors of one file's text, as people see them.
fn errors(text: &str) -> Vec<String> {
    one(text).err().map(|e| e.0.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

fn profile(rest: &str) -> String {
    format!("schema: sandwatch/profile/v1\nname: p\ntitle: t\n{rest}")
}

fn detection(rest: &str) -> String {
    format!(
        "schema: sandwatch/detections/v1\ndetections:\n  - id: d\n    title: t\n    tier: boundary\n{rest}"
    )
}

fn exception(rest: &str) -> String {
    format!(
        "schema: sandwatch/exceptions/v1\nexceptions:\n  - id: e\n    worker: w\n    profile: generic\n    role: entry\n{rest}"
    )
}

#[test]
fn every_error_says_where_what_and_what_to_do() {
    for (text, expected) in [
        (profile("rols: []\n"), "r.yaml:4:1: unknown key `rols`; did you mean `roles`?"),
        ("name: x\n".to_owned(), "r.yaml:1:1: the key `schema` is missing; begin the file with one of"),
        ("schema: sandwatch/profle/v1\n".to_owned(), "did you mean `sandwatch/profile/v1`?"),
        (exception("    what: { connect: { to: \"tcp:1\", scope: any } }\n    owner: FILL IN\n    reason: r\n    expires: 2027-01-01\n"), "r.yaml:8:12: exception `e`: `owner` is not filled in; write who answers for it"),
        (exception("    what: { connect: { to: \"tcp:1\", scope: any } }\n    owner: o\n    reason: r\n    expires: 2027-13-01\n"), "r.yaml:10:14: `2027-13-01` is not a day"),
        (exception("    what: { exec: { any: true } }\n    owner: o\n    reason: r\n    expires: 2027-01-01\n"), "an exception names what it allows"),
        (exception("    what: {}\n    owner: o\n    reason: r\n    expires: 2027-01-01\n"), "`what` has to say one thing"),
        (exception("    what: { connect: { to: \"tcp:1\", scope: any } }\n    owner: o\n    reason: r\n    expires: 2027-01-01\n").replace("generic", "n8m"), "there is no profile `n8m`"),
        (exception("    what: { connect: { to: \"tcp:1\", scope: any } }\n    owner: o\n    reason: r\n    expires: 2027-01-01\n").replace("entry", "entri"), "there is no role `entri`; did you mean `entry`?"),
        (profile("expect:\n  entry:\n    exec: { allow: [{ progam: sh }] }\n"), "r.yaml:6:23: unknown key `progam`; did you mean `program`?"),
        (profile("expect:\n  engin: {}\nroles:\n  - { name: engine, parent: entry, program: x }\n"), "there is no role `engin` in this profile; did you mean `engine`?"),
        (profile("expect:\n  stray: {}\n"), "nothing can be expected of a stray"),
        (profile("roles:\n  - { name: a, program: x }\n"), "the key `parent` is missing"),
        (profile("roles:\n  - { name: a, parent: entry }\n"), "does not say how its process is recognised"),
        (profile("roles:\n  - { name: a, parent: entry, only_by: becomes }\n"), "nothing says `becomes: a`"),
        (profile("expect:\n  entry:\n    exec: { allow: [{ any: true, permits: d }] }\n"), "silences no detection"),
        (profile("expect:\n  entry:\n    exec: { allow: [{ program: sh, permits: d }] }\n"), "r.yaml:6:45: there is no detection `d`"),
        (profile("expect:\n  entry:\n    exec: { allow: [{ argv: [x], trust: pinned }] }\n"), "`trust: pinned` does not say of which program"),
        (profile("expect:\n  entry:\n    connect: { allow: [{ to: 443, scope: any }] }\n"), "`443` is not a protocol and port"),
        (profile("expect:\n  entry:\n    connect: { allow: [{ to: \"tcp:443\" }] }\n"), "does not say where to"),
        (profile("expect:\n  entry:\n    connect: { allow: [{ to: $db, scope: any }] }\n"), "use it in `address`"),
        (profile("facts: { database: where it is }\nexpect:\n  entry:\n    connect: { allow: [{ to: tcp, address: $databse }] }\n"), "the profile has no fact `databse`; did you mean `database`?"),
        (profile("expect:\n  entry:\n    exec: { allow: [{ program: sh, if: cloud }] }\n"), "`cloud` is no fact; write `$cloud`"),
        (profile("roles:\n  - { name: a, parent: entry, program: x, forked: b }\n  - { name: b, parent: entry, only_by: forked }\n"), "`forked: b`: `a` is not a parent of that role"),
        (profile("roles:\n  - { name: a, parent: entry, only_by: forked }\n"), "nothing says `forked: a`"),
        (profile("roles:\n  - { name: a, parent: entry, program: x, holds: toy-key }\n"), "there is no identity `toy-key`"),
        ("schema: sandwatch/identities/v1\nidentities:\n  - { id: x, class: k8s, gives: g, variables: \"*\" }\n".to_owned(), "`*` is not the name of an environment variable"),
        (profile("entered: author\n"), "the profile has 0 roles that are author's"),
        (profile("probes: [[\"*\"]]\n"), "this probe is any command at all"),
        (profile("expect:\n  entry:\n    exec: { allow: [{ program: sh, within: 120 }] }\n"), "is not a time span"),
        (detection("    on: exec\n    match: { path: /x }\n"), "`path` says nothing about `on: exec`"),
        (detection("    on: open\n    match: { access: write }\n"), "matches every open event"),
        (detection("    on: open\n    match: { path: \"/**/*\" }\n"), "r.yaml:7:20: the kernel cannot filter by `/**/*`"),
        (detection("    on: open\n    match: { path: \"/a/{b\" }\n"), "`{` without `}`"),
        (detection("    on: opn\n    match: { path: /x }\n"), "unknown word `opn`; did you mean `open`?"),
        (detection("    on: connect\n    match: { endpoint: x }\n"), "there is no endpoint `x`"),
        ("schema: sandwatch/identities/v1\nidentities:\n  - { id: X, class: k8s, gives: g, paths: /a/b }\n".to_owned(), "`X` is not a name for an identity"),
        ("schema: sandwatch/identities/v1\nidentities:\n  - { id: x, class: k9s, gives: g, paths: /a/b }\n".to_owned(), "r.yaml:3:21: unknown class `k9s`; did you mean `k8s`?"),
        ("schema: sandwatch/identities/v1\nidentities:\n  - { id: x, class: k8s, gives: g, paths: a/b }\n".to_owned(), "path `a/b` is not absolute"),
        ("schema: sandwatch/endpoints/v1\nendpoints:\n  - { id: x, title: t, addresses: 300.1.1.1 }\n".to_owned(), "`300.1.1.1` is neither an address nor a network"),
        ("schema: sandwatch/profile/v1\nname: [\n".to_owned(), "r.yaml:"),
    ] {
        let all = errors(&text);
        assert!(all.iter().any(|e| e.contains(expected)), "`{expected}` is not in {all:#?} of\n{text}");
    }
}

#[test]
fn wrong_name_of_a_role_gives_one_error_and_no_false_second() {
    for (how, expected) in [
        ("becomes: engin", "there is no role `engin` in this profile; did you mean `engine`?"),
        ("program: sh, becomes: engin", "there is no role `engin` in this profile"),
    ] {
        let text = format!(
            "roles:\n  - {{ name: engine, parent: entry, only_by: becomes }}\nexpect:\n  entry:\n    exec: {{ allow: [{{ {how} }}] }}\n"
        );
        let all = errors(&profile(&text));
        assert!(all.len() == 1 && all[0].contains(expected), "{all:#?}");
    }
    let forked = "roles:\n  - { name: a, parent: entry, program: x, forked: tsk }\n  - { name: task, parent: a, only_by: forked }\n";
    let all = errors(&profile(forked));
    assert!(all.len() == 1 && all[0].contains("there is no role `tsk`"), "{all:#?}");
}

#[test]
fn identity_that_is_nowhere_is_warned_of_until_a_role_holds_it() {
    let identities =
        "schema: sandwatch/identities/v1\nidentities:\n  - { id: ghost, class: engine, gives: g }\n";
    let with = |rest: &str| {
        let sources = [source("i.yaml", identities, 0), source("p.yaml", &profile(rest), 0)];
        RuleSet::from_sources(&sources).unwrap().warnings().to_vec()
    };
    let role = "roles:\n  - { name: a, parent: entry, program: x";
    let warned = with(&format!("{role} }}\n"));
    assert!(
        warned.len() == 1 && warned[0].contains("i.yaml:3: identity `ghost` is nowhere to be found"),
        "{warned:?}"
    );
    assert_eq!(with(&format!("{role}, holds: ghost }}\n")), [] as [&str; 0]);
}

#[test]
fn variable_that_several_engines_use_is_the_identity_of_the_one_that_holds_it() {
    let identities = "schema: sandwatch/identities/v1\nidentities:\n  \
        - { id: theirs, class: db, gives: g, variables: [DATABASE_URL, THEIRS] }\n  \
        - { id: ours, class: db, gives: g, variables: DATABASE_URL }\n  \
        - { id: anyones, class: cloud, gives: g, variables: \"CLOUD_*_KEY\" }\n";
    let of = |name: &str, holds: &str| {
        let text = profile(&format!(
            "roles:\n  - {{ name: a, parent: entry, program: x, holds: {holds} }}\n  - {{ name: b, parent: a, program: y }}\n"
        ));
        source(&format!("{name}.yaml"), &text.replace("name: p\n", &format!("name: {name}\n")), 0)
    };
    let rules =
        RuleSet::from_sources(&[source("i.yaml", identities, 0), of("one", "theirs"), of("two", "ours")])
            .unwrap();
    let found = |profile: &str, role: &str, variable: &str| {
        let profile = rules.profile(profile).unwrap();
        let of = Some((profile, rules.role_by_name(profile, role).unwrap()));
        rules.identity_of_variable(of, variable).map(|identity| identity.id.to_string())
    };
    assert_eq!(found("one", "a", "DATABASE_URL").as_deref(), Some("theirs"));
    assert_eq!(found("two", "a", "DATABASE_URL").as_deref(), Some("ours"));
    assert_eq!(found("two", "b", "DATABASE_URL").as_deref(), Some("ours"), "what is inherited is the same");
    assert_eq!(found("two", "a", "THEIRS"), None, "another engine's");
    assert_eq!(found("two", "a", "CLOUD_X_KEY").as_deref(), Some("anyones"));
    assert_eq!(rules.identity_of_variable(None, "DATABASE_URL"), None);
    assert!(rules.names_identity("THEIRS") && !rules.names_identity("HOME"));
}

#[test]
fn all_errors_of_all_files_are_said_at_once_and_nothing_is_loaded() {
    let sources = [
        source("a.yaml", &profile("rols: []\n"), 0),
        source("b.yaml", &detection("    on: exec\n    match: { path: /x }\n    roles: [Bad]\n"), 0),
    ];
    let errors = RuleSet::from_sources(&sources).unwrap_err().0;
    let files: Vec<&str> = errors.iter().map(|e| &*e.file).collect();
    assert_eq!(files, ["a.yaml", "b.yaml", "b.yaml"], "{errors:#?}");
}

#[test]
fn a_later_folder_replaces_by_name_and_the_same_folder_must_not() {
    let text = |title: &str| format!("schema: sandwatch/profile/v1\nname: p\ntitle: t\nengine: {title}\n");
    let two = |layer| {
        RuleSet::from_sources(&[source("a.yaml", &text("one"), 0), source("b.yaml", &text("two"), layer)])
    };
    let rules = two(1).unwrap();
    assert_eq!(rules.engine(rules.profile("p").unwrap()), "two");
    let error = two(0).unwrap_err();
    assert!(
        error.to_string().contains("b.yaml:2:7: the profile `p` is already defined at a.yaml:2"),
        "{error}"
    );
}

#[test]
fn folders_are_read_below_and_tests_and_schemas_left_out() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["profiles", "tests", "schema"] {
        std::fs::create_dir(dir.path().join(folder)).unwrap();
    }
    std::fs::write(dir.path().join("profiles/p.yaml"), profile("")).unwrap();
    std::fs::write(dir.path().join("tests/p.yaml"), "nonsense: true\n").unwrap();
    std::fs::write(dir.path().join("schema/p.yaml"), "nonsense: true\n").unwrap();
    let rules = RuleSet::load(&[dir.path()]).unwrap();
    assert!(rules.profile("p").is_some());
}

#[test]
fn a_rule_file_that_everyone_may_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.yaml");
    std::fs::write(&file, profile("")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o646)).unwrap();
    let error = RuleSet::load(&[dir.path()]).unwrap_err();
    assert!(error.to_string().contains("writable by everyone"), "{error}");
}

#[test]
fn a_missing_folder_is_an_error_and_not_an_empty_set() {
    let error = RuleSet::load(&["/nonexistent/rules"]).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/rules: cannot read the rules folder"), "{error}");
}

#[test]
fn the_digest_changes_with_any_text_and_any_name() {
    let digest =
        |file: &str, text: &str| RuleSet::from_sources(&[source(file, text, 0)]).unwrap().digest().to_owned();
    let first = digest("a.yaml", &profile(""));
    assert!(first.starts_with("sha256:") && first.len() == 71, "{first}");
    assert_eq!(first, digest("a.yaml", &profile("")));
    assert_ne!(first, digest("a.yaml", &profile("notes: x\n")));
    assert_ne!(first, digest("b.yaml", &profile("")));
}

#[test]
fn a_set_without_a_generic_profile_has_a_built_in_one() {
    let rules = one(&profile("")).unwrap();
    assert_eq!(rules.profile_name(ProfileId::GENERIC), "generic");
    assert_eq!(rules.profile("generic"), Some(ProfileId::GENERIC));
}

#[test]
fn rules_that_can_never_match_are_warned_of() {
    let text = profile(
        "roles:\n  - { name: a, parent: entry, program: x }\n  - { name: b, parent: entry, program: x }\n  \
         - { name: c, parent: d, program: y }\n  - { name: d, parent: c, program: z }\nexpect:\n  a:\n    \
         exec: { allow: [{ program: sh, permits: other-role }] }\n    socket: { allow: [{ family: raw, permits: other-role }] }\n",
    );
    let detections = "schema: sandwatch/detections/v1\ndetections:\n  - { id: other-role, title: t, tier: boundary, on: exec, roles: [b, nobody], match: { program: sh } }\n";
    let rules =
        RuleSet::from_sources(&[source("p.yaml", &text, 0), source("d.yaml", detections, 0)]).unwrap();
    let all = rules.warnings().join("\n");
    for expected in [
        "d.yaml:3: detection `other-role` names the role `nobody`",
        "p.yaml:6: role `b` is never taken: `a` before it",
        "p.yaml:7: role `c` is never taken: none of its parents is",
        "p.yaml:8: role `d` is never taken",
        "p.yaml:11: `permits: other-role` does nothing: that detection does not look at role a",
        "p.yaml:12: `permits: other-role` does nothing: that detection looks at exec",
    ] {
        // Lines are those of the text above; what is tested is that each is said once.
        assert_eq!(all.matches(expected.split_once(": ").unwrap().1).count(), 1, "{expected}\n{all}");
    }
}

fn facts(unit: &str, argv: &[&str]) -> WorkerFacts {
    WorkerFacts {
        cgroup: format!("/system.slice/{unit}"),
        unit: Some(unit.to_owned()),
        entry: Some(EntryProcess {
            exe: argv.first().map(|a| format!("/usr/bin/{a}")),
            argv: argv.iter().map(|a| Arc::from(*a)).collect(),
            ..EntryProcess::default()
        }),
        ..WorkerFacts::default()
    }
}

#[test]
fn a_worker_is_selected_by_assignment_unit_or_entry_process_in_this_order() {
    let rules = toy_rules();
    let toy = rules.profile("toy").unwrap();
    let by = |facts: &WorkerFacts| {
        let selection = rules.select(facts);
        (selection.profile, selection.rank)
    };
    assert_eq!(by(&facts("toy-1.service", &["node"])), (toy, SelectRank::Cgroup));
    assert_eq!(by(&facts("x.service", &["node", "/usr/bin/toy"])), (toy, SelectRank::Process));
    assert_eq!(by(&facts("x.service", &["node", "/usr/bin/other"])), (ProfileId::GENERIC, SelectRank::None));
    let assigned = WorkerFacts { assigned: Some("generic".into()), ..facts("toy-1.service", &["node"]) };
    assert_eq!(by(&assigned), (ProfileId::GENERIC, SelectRank::Assign));
    let wrong = rules.select(&WorkerFacts { assigned: Some("typo".into()), ..WorkerFacts::default() });
    assert!(wrong.notice.unwrap().contains("`typo`"));
}

#[test]
fn an_image_alone_does_not_choose_a_profile_that_allows_identities() {
    let text = profile(
        "select: [{ image: \"**/toy:*\" }]\nexpect:\n  entry:\n    identities: { allow: [{ any: true }] }\n",
    );
    let rules = one(&text).unwrap();
    let worker = WorkerFacts { image: Some("registry/toy:1".into()), ..WorkerFacts::default() };
    let selection = rules.select(&worker);
    assert_eq!(selection.profile, ProfileId::GENERIC);
    assert!(selection.notice.unwrap().contains("assign it"));
    let modest = one(&profile("select: [{ image: \"**/toy:*\" }]\n")).unwrap();
    assert_eq!(modest.select(&worker).rank, SelectRank::Image);
}

#[test]
fn what_a_controller_sets_goes_before_what_the_author_of_a_job_may_set() {
    let text = |name: &str, select: &str| {
        let rest = "expect: { entry: { exec: { allow: [{ any: true }] } } }\n";
        source(
            &format!("{name}.yaml"),
            &format!(
                "schema: sandwatch/profile/v1\nname: {name}\ntitle: t\nselect: [{{ {select} }}]\n{rest}"
            ),
            0,
        )
    };
    let rules = RuleSet::from_sources(&[
        text("by-image", "image: \"**/toy:*\""),
        text("by-controller", "namespace: \"jobs-*\", owner: \"toy-*\", container: main"),
        text("both", "image: \"**/toy:*\", namespace: trusted"),
    ])
    .unwrap();
    let some = |text: &str| Some(text.to_owned());
    let image = WorkerFacts { image: some("registry/toy:1"), ..WorkerFacts::default() };
    assert_eq!(
        rules.select(&image).profile,
        ProfileId::GENERIC,
        "an image chooses nothing that allows anything"
    );
    let job = WorkerFacts {
        namespace: some("jobs-1"),
        owner: some("toy-7"),
        container: some("main"),
        ..image.clone()
    };
    let selection = rules.select(&job);
    assert_eq!(rules.profile_name(selection.profile), "by-controller");
    assert_eq!((selection.rank, selection.notice), (SelectRank::Workload, None));
    let sidecar = WorkerFacts { container: some("proxy"), ..job };
    assert_eq!(rules.select(&sidecar).profile, ProfileId::GENERIC, "all keys of an item hold");
    let by_name = RuleSet::from_sources(&[text("by-name", "container: main")]).unwrap();
    let selection = by_name.select(&WorkerFacts { container: some("main"), ..WorkerFacts::default() });
    assert_eq!(selection.profile, ProfileId::GENERIC, "in his own namespace an author names containers");
    assert!(selection.notice.is_some());
    let agreed = WorkerFacts { namespace: some("trusted"), ..image };
    assert_eq!(rules.profile_name(rules.select(&agreed).profile), "both", "a stronger rank agrees");
}

#[test]
fn a_longer_prefix_reports_what_the_shorter_ones_report() {
    let text = "schema: sandwatch/detections/v1\ndetections:\n  \
        - { id: a, title: t, tier: boundary, on: open, match: { path: \"/srv/a/**\", access: write } }\n  \
        - { id: b, title: t, tier: boundary, on: open, match: { path: \"/srv/a/b/**\", access: read } }\n";
    let filter = one(text).unwrap();
    let bits =
        |prefix: &[u8]| filter.kernel_filter().prefixes.iter().find(|(p, _)| p == prefix).map(|(_, b)| *b);
    assert_eq!(bits(b"/srv/a/"), Some(2));
    assert_eq!(bits(b"/srv/a/b/"), Some(3));
}

#[test]
fn only_secrets_are_looked_up_by_inode() {
    let rules = toy_rules();
    let literals = &rules.kernel_filter().literals;
    assert!(literals.iter().all(|l| l.identity.is_some()), "{literals:?}");
}

#[test]
fn environment_names_come_from_attribution_and_are_bounded() {
    assert_eq!(toy_rules().env_names().iter().map(|n| &**n).collect::<Vec<_>>(), ["TOY_RUN"]);
    let items: String =
        (0..17).map(|n| format!("  - {{ field: run, from: env, name: N{n}, trust: engine }}\n")).collect();
    let all = errors(&profile(&format!("attribution:\n{items}")));
    assert!(all.iter().any(|e| e.contains("more than 16 environment variables")), "{all:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    /// Each address is in exactly one scope, whichever way it is written, and an endpoint's is in none.
    #[test]
    fn every_address_is_in_one_scope_or_of_an_endpoint(
        v4 in any::<[u8; 4]>(), v6 in any::<[u8; 16]>(), which in 0..6_u8, port in any::<u16>(),
    ) {
        let address: IpAddr = match which {
            0 => v4.into(),
            1 => IpAddr::V4(v4.into()).to_canonical(),
            2 => IpAddr::V6(std::net::Ipv4Addr::from(v4).to_ipv6_mapped()),
            3 => [169, 254, 169, 254].into(),
            4 => "fd00:ec2::254".parse().unwrap(),
            _ => v6.into(),
        };
        static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(toy_rules);
        let meaning = RULES.inner.endpoints.meaning(canonical(address), 6, port);
        prop_assert_eq!(meaning.listed, matches!(which, 3 | 4), "{}", address);
        let scope = scope_of(canonical(address));
        prop_assert!(scope != Scope::Any);
        let within = [Scope::Loopback, Scope::LinkLocal, Scope::Private, Scope::Public].iter().filter(|s| **s == scope).count();
        prop_assert_eq!(within, 1);
        if which == 2 {
            prop_assert_eq!(scope, scope_of(v4.into()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn no_text_makes_the_loader_panic(text in "\\PC{0,200}", kind in 0..4_usize) {
        let schema = doc::schema_name::ALL[kind];
        let _ = one(&format!("schema: {schema}\n{text}\n"));
        let _ = one(&text);
    }

    #[test]
    fn no_values_make_the_compiler_panic(
        pattern in "[~/*?{},a\\[\\]!-]{0,12}", port in "[a-z:0-9-]{0,10}", id in "[a-zA-Z-]{0,5}",
    ) {
        let quoted = |t: &str| serde_json::to_string(t).unwrap();
        let (pattern, port) = (quoted(&pattern), quoted(&port));
        let _ = one(&detection(&format!("    on: open\n    match: {{ path: {pattern}, not_path: [{pattern}] }}\n")));
        let _ = one(&detection(&format!("    on: exec\n    match: {{ program: {pattern}, argv: [{pattern}] }}\n")));
        let _ = one(&detection(&format!("    on: connect\n    match: {{ to: {port}, address: {port} }}\n")));
        let _ = one(&format!("schema: sandwatch/identities/v1\nidentities: [{{ id: {}, class: k8s, gives: g, paths: {pattern} }}]\n", quoted(&id)));
    }
}

#[test]
fn rules_that_do_nothing_are_warned_of_by_line() {
    let warnings = |text: &str| one(text).unwrap().warnings().to_vec();
    let idle = profile(
        "expect:\n  entry:\n    exec:\n      allow:\n        - { any: true }\n        - { program: sh }\n        - { any: true, within: 10s }\n",
    );
    let all = warnings(&idle);
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(all[0].starts_with("r.yaml:9: this item does nothing"), "{all:#?}");
    let useful =
        profile("expect:\n  entry:\n    exec: { allow: [{ any: true, within: 10s }, { program: sh }] }\n");
    assert_eq!(warnings(&useful), Vec::<String>::new());
    let unreachable =
        profile("roles:\n  - { name: a, parent: b, program: x }\n  - { name: b, parent: a, program: y }\n");
    assert!(warnings(&unreachable).iter().all(|w| w.contains("is never taken")), "none is reached");
    assert_eq!(warnings(&unreachable).len(), 2);
    let fact = detection("    on: connect\n    match: { address: $nowhere }\n");
    assert!(warnings(&fact)[0].contains("no loaded profile has the fact `nowhere`"));
}

#[test]
fn an_aliased_item_is_told_by_the_line_that_says_it() {
    let text = profile(
        "roles:\n  - { name: a, parent: entry, program: a }\nexpect:\n  entry: &same\n    exec:\n      allow:\n        - { program: sh }\n  a: *same\n",
    );
    let rules = one(&text).unwrap();
    let said = rules.explain(rules.profile("p").unwrap());
    assert_eq!(said.matches("May execute sh (r.yaml:10).").count(), 2, "{said}");
}
