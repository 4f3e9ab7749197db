//! syslog-ng, as Debian has it, unpacked into a folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use integration::fakes::authority::{Authority, Valid};
use integration::fakes::program::{Program, free_address};
use serde_json::Value;

use crate::deliver::{deliver, ids, open, retry};

/// syslog-ng, run from the folder that it was unpacked in.
fn syslog_ng() -> Command {
    let root = crate::program("SANDWATCH_PEER_SYSLOG_NG");
    let folder = |path: &str| root.join(path).display().to_string();
    let (here, there) = (folder("usr/lib/x86_64-linux-gnu"), folder("lib/x86_64-linux-gnu"));
    let modules = folder("usr/lib/syslog-ng/3.38");
    let mut command = Command::new(root.join("usr/sbin/syslog-ng"));
    command.env("LD_LIBRARY_PATH", format!("{here}:{there}:{}", folder("usr/lib/syslog-ng")));
    command.arg(format!("--module-path={modules}"));
    command
}

fn received(folder: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(folder.join("out")).unwrap_or_default();
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    // The last line may be half written.
    text.rsplit_once('\n').map_or("", |(whole, _)| whole).lines().map(id).collect()
}

#[test]
fn streams_and_tls_with_a_client_certificate_bring_every_alert() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display().to_string();
    let authority = Authority::new(folder.path(), "ca").unwrap();
    authority.sign("server", &["localhost"], Valid::Now).unwrap();
    authority.sign("client", &["agent.example"], Valid::Now).unwrap();
    let (tcp, tls) = (free_address().unwrap(), free_address().unwrap());
    let config = format!(
        "@version: 3.38\n\
         options {{ log-msg-size(65536); stats-freq(0); }};\n\
         source s {{\n\
           syslog(ip(127.0.0.1) port({}) transport(\"tcp\"));\n\
           syslog(ip(127.0.0.1) port({}) transport(\"tls\") tls(key-file(\"{at}/server.key\") cert-file(\"{at}/server.pem\") \
             ca-file(\"{at}/ca.pem\") peer-verify(required-trusted)));\n\
         }};\n\
         destination d {{ file(\"{at}/out\" template(\"$MSG\\n\")); }};\n\
         filter f {{ program(\"sandwatch\") and facility(authpriv) and level(crit); }};\n\
         log {{ source(s); filter(f); destination(d); }};\n",
        tcp.port(),
        tls.port()
    );
    fs::write(folder.path().join("conf"), config).unwrap();
    let mut command = syslog_ng();
    command.args(["-F", "--stderr", "--no-caps", "-f"]).arg(folder.path().join("conf"));
    for (option, file) in [("-R", "persist"), ("-p", "pid"), ("-c", "control")] {
        command.arg(option).arg(folder.path().join(file));
    }
    let receiver = Program::start(command, folder.path(), tls).unwrap();
    let mut plain = open(&format!("type: syslog, address: \"tcp://{tcp}\""));
    assert_eq!(deliver(&mut *plain, 1..=200).accepted, ids(1..=200));
    let secured = |more: &str| {
        let port = tls.port();
        open(&format!(
            "type: syslog, address: \"tls://localhost:{port}\", tls: {{ ca_file: {at}/ca.pem{more} }}"
        ))
    };
    let mut with = secured(&format!(", cert_file: {at}/client.pem, key_file: {at}/client.key"));
    assert_eq!(deliver(&mut *with, 201..=400).accepted, ids(201..=400));
    let until = Instant::now() + Duration::from_secs(60);
    while received(folder.path()) != ids(1..=400) {
        let count = received(folder.path()).len();
        assert!(Instant::now() < until, "{count} arrived:\n{}", receiver.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    let (reason, _) = retry(&mut *secured(""));
    assert!(reason.contains("client certificate") || reason.contains("as soon as they are made"), "{reason}");
}
