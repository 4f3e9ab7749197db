//! No secret of a sink in what it says, logs or shows, whatever goes wrong, and even if the receiver repeats it.

use integration::fakes::leaks::{Log, parrot};
use integration::fakes::tunnel::Proxy;
use integration::fakes::{Fault, Reply, Server, alerts};
use monitor::delivery::Transport;

use crate::deliver::{config, open};

/// Of every secret here.
const MARK: &str = "s3cret";

/// Sinks with every kind of secret, to this server.
fn sinks(folder: &std::path::Path, server: &Server, more: &str) -> Vec<Box<dyn Transport>> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let key = write("key", "s3cret-of-the-key\n");
    let header = write("header", "s3cret-of-the-header\n");
    let url = format!("{}/in?token=s3cret-of-the-query", server.url());
    let secrets = format!("key_file: {key}, header_files: {{ x-api-key: {header} }}, timeout: 300ms{more}");
    vec![
        open(&format!("type: http, url: \"{url}\", {secrets}")),
        open(&format!("type: http, url: \"{url}\", user: agent, {secrets}")),
        open(&format!("type: elasticsearch, url: \"{url}\", {secrets}")),
        open(&format!("type: splunk, url: \"{url}\", {secrets}")),
        open(&format!("type: otlp, url: \"{url}\", {secrets}")),
    ]
}

#[test]
fn no_secret_is_said_logged_or_shown_whatever_goes_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let mut said = String::new();
    let (log, ()) = Log::of(|| {
        let closed = Proxy::start(false).unwrap();
        for status in [200, 302, 400, 401, 403, 407, 413, 429, 500, 503] {
            let server = parrot(status).unwrap();
            for mut sink in sinks(folder.path(), &server, "") {
                said.push_str(&format!(
                    "{} {:?}\n",
                    sink.target(),
                    sink.send(&alerts::items(1..=2).unwrap())
                ));
                said.push_str(&format!("{:?}\n", sink.reopen()));
            }
            let sent: Vec<String> =
                server.seen().iter().map(|request| format!("{:?}", request.headers)).collect();
            assert!(
                sent.iter().any(|headers| headers.contains(MARK)),
                "the secrets are really sent: {sent:?}"
            );
        }
        for fault in [
            Fault::Cut,
            Fault::HalfAnswer,
            Fault::Hang(std::time::Duration::from_secs(1)),
            Fault::Answer(Reply {
                status: 200,
                headers: Vec::new(),
                body: b"\xff\0s3cret-of-the-key".to_vec(),
            }),
        ] {
            let server = parrot(500).unwrap();
            for mut sink in sinks(folder.path(), &server, "") {
                server.fail(fault.clone());
                said.push_str(&format!("{:?}\n", sink.send(&alerts::items(1..=2).unwrap())));
            }
        }
        let server = parrot(200).unwrap();
        for mut sink in sinks(folder.path(), &server, &format!(", proxy: \"{}\"", closed.url())) {
            said.push_str(&format!("{:?}\n", sink.send(&alerts::items(1..=2).unwrap())));
        }
    });
    let logged = log.text();
    assert!(logged.contains("the log works"), "{logged}");
    for (what, text) in [("said", &said), ("logged", &logged)] {
        let line = text.lines().find(|line| line.contains(MARK) || line.contains("YWdlbnQ6czNjcmV0"));
        assert_eq!(line, None, "a secret was {what}");
    }
    assert!(said.contains("is wrong"), "what the receiver said is repeated, without the secrets: {said}");
}

#[test]
fn no_secret_is_in_what_is_said_of_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken");
    std::fs::write(&broken, "s3cret\nsecond line").unwrap();
    let broken = broken.display();
    for keys in [
        format!("type: http, url: \"http://h/\", key_file: {broken}"),
        format!("type: splunk, url: \"http://h/\", key_file: {broken}"),
        format!("type: http, url: \"http://h/\", header_files: {{ x-a: {broken} }}"),
        "type: http, url: \"http://agent:s3cret@h/\"".to_owned(),
        "type: http, url: \"s3cret\"".to_owned(),
        "type: http, url: \"http://h/\", proxy: \"http://agent:s3cret@h:1\"".to_owned(),
        "type: http, url: \"http://h/\", headers: { authorization: s3cret }".to_owned(),
        format!("type: http, url: \"https://h/\", tls: {{ cert_file: {broken}, key_file: {broken} }}"),
    ] {
        let config = config(&keys);
        let refused = monitor::sink::network(&config).err().unwrap_or_else(|| panic!("{keys} is refused"));
        let text = format!("{refused} {refused:?}");
        assert!(!text.contains(MARK), "{text}");
    }
}
