use proptest::prelude::*;

use super::super::{cef::tests as cef_tests, ecs::tests as ecs_tests, fixture, ocsf::tests as ocsf_tests};
use super::*;
use crate::alert::{Alert, Ancestor, Attributed, Taken};

fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn delivery() -> Delivery {
    Delivery { sink: "siem".into(), stream: "5a0a4f0e-2c0d-4a53-9a52-3a0d4d6b6f11".into(), seq: 42 }
}

fn cut(alert: Alert, max: usize) -> Alert {
    let bytes = render(SinkFormat::Json, &SafeAlert::new(alert), Some(&delivery()), &BTreeMap::new(), max);
    assert!(bytes.len() <= max, "{} bytes of {max}", bytes.len());
    serde_json::from_slice(&bytes).unwrap()
}

/// An alert with more of everything than a small sink takes.
fn big() -> Alert {
    let mut alert = fixture::incident();
    let process = alert.process.as_mut().unwrap();
    process.argv = Some((0..40).map(|n| format!("--argument-{n}={}", "x".repeat(90))).collect());
    process.ancestors = (0..12).map(|pid| Ancestor { pid, ..process.ancestors[0].clone() }).collect();
    let radius = alert.blast_radius.as_mut().unwrap();
    radius.reachable = (0..60).map(|n| format!("identity-{n}")).collect();
    let incident = alert.incident.as_mut().unwrap();
    let link = incident.chain[1].clone();
    incident.chain.extend(std::iter::repeat_n(link, 60));
    let evidence = alert.evidence.as_mut().unwrap();
    evidence.events = vec![evidence.events[0].clone(); 64];
    alert
}

#[test]
fn what_fits_is_sent_as_it_is() {
    let alert = fixture::incident();
    let bytes = render(SinkFormat::Json, &SafeAlert::new(alert.clone()), None, &BTreeMap::new(), 64 << 10);
    assert_eq!(String::from_utf8(bytes).unwrap(), json::line(&SafeAlert::new(alert), None));
}

#[test]
fn delivery_and_the_sinks_own_fields_are_put_on_it() {
    let safe = SafeAlert::new(fixture::incident());
    let own = fields(&[("site", "north"), ("team", "of the sink")]);
    let bytes = render(SinkFormat::Auto, &safe, Some(&delivery()), &own, 64 << 10);
    let sent: Alert = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(sent.delivery, Some(delivery()));
    assert_eq!(sent.labels, own, "the sink's word replaces the configuration's");
}

#[test]
fn what_is_least_missed_goes_first_and_is_named() {
    let whole = json::line(&SafeAlert::new(big()), Some(&delivery())).len();
    let sent = cut(big(), whole - 1);
    assert_eq!(sent.truncated, ["evidence"]);
    assert!(sent.evidence.is_none());
    assert_eq!(sent.process.unwrap().ancestors.len(), 12);

    let sent = cut(big(), 8000);
    assert!(sent.truncated.starts_with(
        &["evidence", "process.ancestors", "blast_radius.reachable", "process.argv"].map(String::from)
    ));
    assert_eq!(sent.process.as_ref().unwrap().ancestors.len(), 3);
    let before = SafeAlert::new(big());
    assert_eq!(sent.attribution, before.attribution);
    assert_eq!(sent.worker, before.worker);
    let taken = |alert: &Alert| alert.blast_radius.as_ref().unwrap().taken.clone();
    assert_eq!(taken(&sent), taken(&before));
    assert_eq!(sent.incident.as_ref().unwrap().id, before.incident.as_ref().unwrap().id);
}

#[test]
fn links_that_are_cut_out_of_the_chain_are_counted() {
    let sent = cut(big(), 8000).incident.unwrap();
    let others = sent.unlisted.unwrap();
    assert_eq!(others.findings as usize + sent.chain.len(), 62);
    assert_eq!(others.last, "2026-11-23T20:40:01.123456789Z");
    assert_eq!(sent.chain[0].finding, "shell-from-engine", "how it began");
}

#[test]
fn a_hundred_things_taken_are_all_named_where_they_fit_at_all() {
    let mut alert = big();
    let radius = alert.blast_radius.as_mut().unwrap();
    radius.taken = (0..100)
        .map(|n| Taken {
            identity: format!("registry-token-{n}"),
            gives: Some("what it gives, in many words ".repeat(5)),
            respond: "what to do about it, in many words ".repeat(5),
            from: None,
        })
        .collect();
    let sent = cut(alert.clone(), 20_000);
    assert_eq!(sent.blast_radius.as_ref().unwrap().taken.len(), 100);
    let sent = cut(alert.clone(), 8000);
    assert_eq!(sent.blast_radius.as_ref().unwrap().taken.len(), 100);
    assert_eq!(sent.incident.as_ref().unwrap().id, "8f3ac2d4e5f60718");
    let sent = cut(alert, LEAST_TEXT);
    assert!(!sent.blast_radius.unwrap().taken.is_empty());
    assert!(sent.truncated.iter().any(|part| part == "blast_radius.taken"), "{:?}", sent.truncated);
}

#[test]
fn numbers_that_do_not_come_are_named_however_small_the_alert_has_to_be() {
    let mut alert = fixture::gap();
    let runs: Vec<[u64; 2]> = (0..64).map(|n| [10 + n * n * 100, 12 + n * n * 100 + n]).collect();
    let meant: Vec<u64> = runs.iter().flat_map(|[a, b]| *a..=*b).collect();
    alert.gap.as_mut().unwrap().sequences = runs;
    alert.labels = (0..40).map(|n| (format!("label-{n}"), "x".repeat(40))).collect();
    for max in [64 << 10, 4000, 2000, LEAST_TEXT] {
        let sent = cut(alert.clone(), max).gap.unwrap().sequences;
        let named = |number: &u64| sent.iter().any(|[a, b]| (a..=b).contains(&number));
        assert!(meant.iter().all(named), "{max}: {sent:?}");
        assert!(sent.windows(2).all(|two| two[0][1] < two[1][0]), "{max}: {sent:?}");
    }
    // Also where one of the alert's own lists made it too long.
    let mut huge = alert.clone();
    huge.labels = (0..4000).map(|n| (format!("label-{n}"), "x".repeat(100))).collect();
    let sent = cut(huge, 64 << 10).gap.unwrap().sequences;
    assert_eq!(sent.len(), 64);
}

#[test]
fn people_get_a_text_that_is_cut_too() {
    let bytes = render(SinkFormat::Human, &SafeAlert::new(big()), None, &BTreeMap::new(), LEAST_TEXT);
    assert!(bytes.len() <= LEAST_TEXT);
    assert!(String::from_utf8(bytes).unwrap().starts_with("━━ CRITICAL"));
}

/// Any text that a worker can put into an alert: also what is no UTF-8, as the agent reads it.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300)
            .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        any::<String>(),
        "[\\x00-\\x1f\"\\\\|=\u{202e}\u{e0041}é ]{0,400}",
    ]
}

/// What a sink takes: the least, or more.
fn bound() -> impl Strategy<Value = usize> {
    prop_oneof![Just(LEAST_TEXT), LEAST_TEXT..40_000]
}

prop_compose! {
    /// An incident whose every free text is somebody else's.
    pub(crate) fn hostile_alert()(
        texts in prop::collection::vec(hostile(), 24),
        argv in prop::collection::vec(hostile(), 0..20),
        labels in prop::collection::btree_map(hostile(), hostile(), 0..8),
        taken in 0usize..120,
    ) -> Alert {
        let mut texts = texts.into_iter().cycle();
        let mut next = || texts.next().unwrap_or_default();
        let mut alert = fixture::incident();
        alert.title = next();
        alert.environment = Some(next());
        alert.labels = labels.clone();
        let process = alert.process.as_mut().unwrap();
        process.argv = Some(argv);
        process.exe = Some(next());
        process.cwd = Some(next());
        process.ancestors[0].exe = Some(next());
        let file = alert.file.as_mut().unwrap();
        file.path = Some(next());
        file.host_path = Some(next());
        alert.network = Some(crate::alert::NetworkInfo { protocol: "unix".into(), address: next(), ..Default::default() });
        let worker = alert.worker.as_mut().unwrap();
        worker.name = next();
        worker.cgroup.path = next();
        worker.unit = Some(next());
        worker.container = Some(crate::alert::ContainerInfo { id: next(), runtime: Some(next()), image: Some(next()) });
        worker.pod = Some(crate::alert::PodInfo { namespace: next(), name: next(), uid: next(), labels, owner: Some(next()), service_account: Some(next()) });
        let who = alert.attribution.as_mut().unwrap();
        let said = |value: String| Attributed { value, source: "env RUN".into(), trust: "author".into() };
        who.workflow = Some(said(next()));
        who.run = Some(said(next()));
        who.step = Some(said(next()));
        who.actor = Some(said(next()));
        who.tenant = Some(said(next()));
        who.candidates = vec![said(next()), said(next())];
        let incident = alert.incident.as_mut().unwrap();
        incident.chain[0].object = Some(next());
        incident.chain[1].title = Some(next());
        alert.evidence.as_mut().unwrap().events[0].object = next();
        let radius = alert.blast_radius.as_mut().unwrap();
        radius.taken = vec![radius.taken[0].clone(); taken];
        radius.contacted = vec![next(), next()];
        radius.environment = vec![next()];
        alert.host.name = next();
        alert.host.cluster = Some(next());
        alert
    }
}

proptest! {
    // A failure is printed whole; a seed for each would say no more.
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gives_one_json_line_within_any_bound(alert in hostile_alert(), max in bound()) {
        let safe = SafeAlert::new(alert);
        let bytes = render(SinkFormat::Json, &safe, Some(&delivery()), &BTreeMap::new(), max);
        prop_assert!(bytes.len() <= max, "{} of {max}", bytes.len());
        prop_assert!(!bytes.contains(&b'\n'));
        let sent: Alert = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(&sent.id, &safe.id);
        prop_assert_eq!(&sent.time, &safe.time);
        prop_assert_eq!(sent.incident.unwrap().id, safe.incident.as_ref().unwrap().id.clone());
        prop_assert_eq!(sent.delivery, Some(delivery()));
    }

    #[test]
    fn any_text_gives_one_line_of_the_other_formats_within_any_bound(
        alert in hostile_alert(),
        max in bound(),
    ) {
        let safe = SafeAlert::new(alert);
        for format in [SinkFormat::Ocsf, SinkFormat::Ecs, SinkFormat::Cef] {
            let bytes = render(format, &safe, Some(&delivery()), &BTreeMap::new(), max);
            prop_assert!(bytes.len() <= max, "{} of {max} as {format:?}", bytes.len());
            let text = String::from_utf8(bytes).unwrap();
            prop_assert!(!text.contains('\n'));
            match format {
                SinkFormat::Ocsf => {
                    let event = serde_json::from_str(&text).unwrap();
                    ocsf_tests::check(&event);
                    prop_assert_eq!(&event["finding_info"]["uid"], "8f3ac2d4e5f60718");
                }
                SinkFormat::Ecs => {
                    let document = serde_json::from_str(&text).unwrap();
                    ecs_tests::check(&document);
                    prop_assert_eq!(&document["sandwatch"]["incident"]["id"], "8f3ac2d4e5f60718");
                }
                _ => prop_assert_eq!(&cef_tests::read(&text).1["cs1"], "8f3ac2d4e5f60718"),
            }
        }
    }
}

#[test]
fn golden_lines_of_every_alert() {
    for (name, format) in [
        ("json", SinkFormat::Json),
        ("ocsf", SinkFormat::Ocsf),
        ("ecs", SinkFormat::Ecs),
        ("cef", SinkFormat::Cef),
    ] {
        let mut golden = String::new();
        for (about, alert) in fixture::all() {
            let own = fields(&[("site", "north")]);
            let line = render(format, &SafeAlert::new(alert), Some(&delivery()), &own, 64 << 10);
            golden.push_str(&format!("# {about}\n{}\n", String::from_utf8(line).unwrap()));
        }
        insta::assert_snapshot!(name, golden);
    }
}

#[test]
fn every_golden_alert_keeps_to_the_schema_of_the_alert() {
    let schema = serde_json::from_str(&crate::alert::schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (about, alert) in fixture::all() {
        let line = serde_json::from_str(&json::line(&SafeAlert::new(alert), None)).unwrap();
        let errors: Vec<String> = validator.iter_errors(&line).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{about}: {errors:?}");
    }
}

/// The examples of the documentation are printed here; `UPDATE_DOCS=1` writes them.
#[test]
fn the_documentations_examples_are_what_is_sent() {
    let delivery = delivery();
    let printed = |format, alert, delivery| {
        let own = fields(&[("site", "north")]);
        let line = render(format, &SafeAlert::new(alert), delivery, &own, 64 << 10);
        match format {
            SinkFormat::Cef => String::from_utf8(line).unwrap(),
            _ => serde_json::to_string_pretty(&serde_json::from_slice::<serde_json::Value>(&line).unwrap())
                .unwrap(),
        }
    };
    let sent = |format| printed(format, fixture::connect(), Some(&delivery));
    example("formats.md", "ocsf", &sent(SinkFormat::Ocsf));
    example("formats.md", "ecs", &sent(SinkFormat::Ecs));
    example("formats.md", "cef", &sent(SinkFormat::Cef));
    example("heartbeats.md", "heartbeat", &printed(SinkFormat::Json, fixture::heartbeat(), None));
}

/// Holds a block of a document to what is printed.
fn example(document: &str, name: &str, printed: &str) {
    let path = format!("{}/../docs/{document}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let mark = format!("<!-- printed: {name} -->\n```");
    let start = text.find(&mark).unwrap() + mark.len();
    let start = start + text[start..].find('\n').unwrap() + 1;
    let end = start + text[start..].find("```").unwrap();
    let mut current = text.clone();
    current.replace_range(start..end, &format!("{printed}\n"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return std::fs::write(&path, &current).unwrap();
    }
    assert!(text == current, "docs/{document} is not current: run the tests with UPDATE_DOCS=1");
}
