//! rsyslog, as Debian has it: every way in, and everything that happens to it.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use integration::fakes::alerts;
use integration::fakes::authority::{Authority, Valid};
use integration::fakes::program::{Program, free_address};
use monitor::alert::SafeAlert;
use monitor::delivery::{Item, Outcome, Transport};
use serde_json::Value;

use crate::deliver::{deliver, ids, open, retry};

const PROGRAM: &str = "/usr/sbin/rsyslogd";
/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running rsyslogd, with its files in a folder.
pub(crate) struct Rsyslog {
    folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    program: Program,
}

impl Rsyslog {
    /// TCP, UDP and a unix socket, without TLS.
    pub(crate) fn plain() -> Self {
        Self::start(|folder, address| {
            format!(
                "module(load=\"imtcp\") module(load=\"imudp\") module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
                 input(type=\"imtcp\" port=\"{port}\" address=\"127.0.0.1\")\n\
                 input(type=\"imudp\" port=\"{port}\" address=\"127.0.0.1\")\n\
                 input(type=\"imuxsock\" Socket=\"{}/log\" UseSpecialParser=\"off\" ParseHostname=\"on\")\n",
                folder.display(),
                port = address.port()
            )
        })
    }

    /// TLS, with a certificate for `localhost`; only `agent.example` may send.
    pub(crate) fn with_tls() -> Self {
        Self::start(|folder, address| {
            let authority = Authority::new(folder, "ca").unwrap();
            authority.sign("server", &["localhost"], Valid::Now).unwrap();
            authority.sign("client", &["agent.example"], Valid::Now).unwrap();
            authority.sign("stranger", &["stranger.example"], Valid::Now).unwrap();
            format!(
                "global(defaultNetstreamDriver=\"ossl\" defaultNetstreamDriverCAFile=\"{at}/ca.pem\" \
                 defaultNetstreamDriverCertFile=\"{at}/server.pem\" defaultNetstreamDriverKeyFile=\"{at}/server.key\")\n\
                 module(load=\"imtcp\" StreamDriver.Name=\"ossl\" StreamDriver.Mode=\"1\" \
                 StreamDriver.AuthMode=\"x509/name\" PermittedPeer=[\"agent.example\"])\n\
                 input(type=\"imtcp\" port=\"{port}\" address=\"127.0.0.1\")\n",
                at = folder.display(),
                port = address.port()
            )
        })
    }

    fn start(inputs: impl FnOnce(&Path, SocketAddr) -> String) -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "there is no {PROGRAM}; as root run: apt-get install --no-install-recommends -y rsyslog rsyslog-openssl"
        );
        let folder = tempfile::tempdir().unwrap();
        let address = free_address().unwrap();
        let at = folder.path().display().to_string();
        let config = format!(
            "global(workDirectory=\"{at}\" maxMessageSize=\"64k\")\n{}\
             template(name=\"j\" type=\"list\") {{ property(name=\"jsonmesg\") constant(value=\"\\n\") }}\n\
             action(type=\"omfile\" file=\"{at}/out.jsonl\" template=\"j\")\n",
            inputs(folder.path(), address)
        );
        fs::write(folder.path().join("rsyslog.conf"), config).unwrap();
        let program = run(folder.path(), address);
        Self { folder, address, program }
    }

    pub(crate) fn kill(&mut self) {
        self.program.kill().unwrap();
        let _ = fs::remove_file(self.folder.path().join("pid"));
    }

    pub(crate) fn start_again(&mut self) {
        self.program = run(self.folder.path(), self.address);
    }

    fn messages(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("out.jsonl")).unwrap_or_default();
        // It may be writing the last line just now.
        let text = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        // What it says of itself is no message of ours, and a line in the middle of which it was killed none at all.
        let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        all.filter(|message| message["programname"] == "sandwatch").collect()
    }

    /// The alerts that arrived.
    pub(crate) fn alerts(&self) -> Vec<Value> {
        let text = |message: &Value| serde_json::from_str(message["msg"].as_str().unwrap()).unwrap();
        self.messages().iter().map(text).collect()
    }

    fn received(&self) -> BTreeSet<String> {
        self.alerts().iter().map(|alert| alert["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until these alerts have arrived.
    pub(crate) fn wait_for(&self, wanted: &BTreeSet<String>) {
        let until = Instant::now() + PATIENCE;
        while !self.received().is_superset(wanted) {
            let missing: Vec<_> = wanted.difference(&self.received()).cloned().collect();
            assert!(Instant::now() < until, "{missing:?} did not arrive:\n{}", self.program.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A sink to it over TLS that shows this certificate.
    fn sink(&self, certificate: &str) -> Box<dyn Transport> {
        let show = |name: &str| self.file(name).display().to_string();
        open(&format!(
            "type: syslog, address: \"tls://localhost:{}\", timeout: 3s, tls: {{ ca_file: {}, cert_file: {}, key_file: {} }}",
            self.address.port(),
            show("ca.pem"),
            show(&format!("{certificate}.pem")),
            show(&format!("{certificate}.key"))
        ))
    }
}

fn run(folder: &Path, address: SocketAddr) -> Program {
    let mut command = Command::new(PROGRAM);
    command.args(["-n", "-f"]).arg(folder.join("rsyslog.conf")).arg("-i").arg(folder.join("pid"));
    Program::start(command, folder, address).unwrap()
}

#[test]
fn tcp_udp_and_a_unix_socket_bring_every_alert_whole() {
    let rsyslog = Rsyslog::plain();
    let (address, socket) = (rsyslog.address, rsyslog.file("log"));
    let ways =
        [format!("tcp://{address}"), format!("udp://{address}"), format!("unix://{}", socket.display())];
    for (index, way) in ways.iter().enumerate() {
        let first = index as u64 * 100 + 1;
        let mut sink = open(&format!("type: syslog, address: \"{way}\", facility: local3"));
        // Datagrams are dropped by a receiver that is too slow for a whole batch at once: that is UDP.
        for from in (first..first + 100).step_by(10) {
            assert_eq!(deliver(&mut *sink, from..=from + 9).accepted, ids(from..=from + 9), "{way}");
            std::thread::sleep(Duration::from_millis(5));
        }
        rsyslog.wait_for(&ids(first..=first + 99));
    }
    assert_eq!(rsyslog.received(), ids(1..=300));
    for message in rsyslog.messages() {
        assert_eq!(message["pri"], "154", "facility local3, severity critical: {message}");
        assert_eq!(message["hostname"], "node-1");
        assert_eq!(message["msgid"], "incident");
    }
    let of_tcp = rsyslog.messages().into_iter().find(|message| message["inputname"] == "imtcp").unwrap();
    let data = of_tcp["structured-data"].as_str().unwrap().to_owned();
    assert!(data.contains("[meta sequenceId=\"") && data.contains("worker=\"lab-n8n\""), "{data}");
}

/// Its parser is another's: what it takes for the message is what we put there, whatever a worker calls itself.
#[test]
fn names_and_texts_that_look_like_the_protocol_are_read_back_as_they_are() {
    let rsyslog = Rsyslog::plain();
    let mut sink = open(&format!("type: syslog, address: \"tcp://{}\"", rsyslog.address));
    let hostile = [
        "a\"]] <13>1 - - - - - - x",
        "[fake@1 id=\"9\"][meta sequenceId=\"0\"]",
        "back\\slash\\\" \\] end",
        "line\nfeed\r\n<11>1 2026 h a - - - {}",
        "\u{1b}[31mred\u{202e}turned\u{0}",
        "]\u{fc}\u{6f22}\u{1f980}",
    ];
    let items: Vec<Item> = (1..).zip(hostile).map(|(number, text)| hostile_item(number, text)).collect();
    let outcomes = sink.send(&items);
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Accepted), "{outcomes:?}");
    rsyslog.wait_for(&ids(1..=hostile.len() as u64));
    assert_eq!(rsyslog.messages().len(), hostile.len(), "none is taken for two");
    for (message, alert) in rsyslog.messages().iter().zip(rsyslog.alerts()) {
        let number = alert["process"]["pid"].as_u64().unwrap();
        let text = hostile[usize::try_from(number - 1).unwrap()];
        assert_eq!(alert["worker"]["name"], text, "the text is whole");
        assert_eq!(message["msgid"], "incident");
        let data = message["structured-data"].as_str().unwrap();
        let whole = data.starts_with("[meta sequenceId=\"") && data.ends_with("\"]");
        assert!(whole && data.contains(&format!("id=\"{}\"", alert["id"].as_str().unwrap())), "{data}");
    }
}

/// An alert of this number whose worker, host and arguments are called like that.
fn hostile_item(number: u64, text: &str) -> Item {
    let mut alert = alerts::plain(number).unwrap();
    text.clone_into(&mut alert.host.name);
    text.clone_into(&mut alert.worker.as_mut().unwrap().name);
    let process = alert.process.as_mut().unwrap();
    process.pid = u32::try_from(number).unwrap();
    process.argv = Some(vec!["sh".to_owned(), text.to_owned()]);
    let alert = SafeAlert::new(alert);
    let text = monitor::alert::json::line(&alert, None).into_bytes();
    Item { seq: number, alert, text }
}

#[test]
fn tls_with_a_client_certificate_brings_every_alert() {
    let rsyslog = Rsyslog::with_tls();
    let mut sink = rsyslog.sink("client");
    assert_eq!(deliver(&mut *sink, 1..=100).accepted, ids(1..=100));
    rsyslog.wait_for(&ids(1..=100));
    assert_eq!(rsyslog.received(), ids(1..=100));
}

/// Waits until it says no, by the only way it has: it closes what was connected and agreed on TLS. One that is busy does so only
/// after something was handed over, for which nobody answers.
fn wait_for_refusal(sink: &mut dyn Transport) {
    let until = Instant::now() + PATIENCE;
    loop {
        let outcomes = sink.send(&alerts::items(1..=2).unwrap());
        if let Some(Outcome::Retry { reason, .. }) = outcomes.first()
            && reason.contains("as soon as they are made")
        {
            return;
        }
        assert!(Instant::now() < until, "it does not refuse: {outcomes:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn tls_with_a_certificate_that_may_not_send_loses_nothing() {
    let rsyslog = Rsyslog::with_tls();
    let mut stranger = rsyslog.sink("stranger");
    wait_for_refusal(&mut *stranger);
    let ca = rsyslog.file("ca.pem");
    let mut without = open(&format!(
        "type: syslog, address: \"tls://localhost:{}\", timeout: 3s, tls: {{ ca_file: {} }}",
        rsyslog.address.port(),
        ca.display()
    ));
    for _ in 0..3 {
        wait_for_refusal(&mut *without);
    }
    assert_eq!(rsyslog.received(), BTreeSet::new());
}

#[test]
fn a_receiver_that_is_killed_and_started_again_has_every_alert() {
    for (mut rsyslog, tls) in [(Rsyslog::plain(), false), (Rsyslog::with_tls(), true)] {
        let mut sink = if tls {
            rsyslog.sink("client")
        } else {
            open(&format!("type: syslog, address: \"tcp://{}\"", rsyslog.address))
        };
        let mut from = 1;
        for _ in 0..3 {
            // It dies with some of them read and not written, and some on their way.
            assert_eq!(deliver(&mut *sink, from..=from + 29).accepted, ids(from..=from + 29));
            rsyslog.kill();
            let (reason, _) = retry(&mut *sink);
            assert!(!reason.is_empty());
            rsyslog.start_again();
            from += 30;
        }
        assert_eq!(deliver(&mut *sink, from..=from + 9).accepted, ids(from..=from + 9));
        rsyslog.wait_for(&ids(1..=from + 9));
        assert_eq!(rsyslog.received(), ids(1..=from + 9), "with TLS: {tls}");
    }
}
