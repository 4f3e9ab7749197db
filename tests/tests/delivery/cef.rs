//! CEF as others read it: by liblognorm, whose parser rsyslog uses too.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

const PROGRAM: &str = "/usr/bin/lognormalizer";
/// A line of each kind of alert, as the unit tests hold them.
const LINES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../monitor/src/alert/format/snapshots/monitor__alert__format__tests__cef.snap"
);

/// What liblognorm makes of these lines.
fn read(lines: &[&str]) -> Vec<Value> {
    assert!(
        Path::new(PROGRAM).exists(),
        "there is no {PROGRAM}; as root run: apt-get install --no-install-recommends -y liblognorm-utils"
    );
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    fs::write(&rules, "version=2\nrule=:%cef:cef%\n").unwrap();
    let mut program = Command::new(PROGRAM)
        .arg("-r")
        .arg(&rules)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = program.stdin.take().unwrap();
    let text = lines.join("\n") + "\n";
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = program.wait_with_output().unwrap();
    writer.join().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn liblognorm_reads_the_cef_of_every_kind_of_alert() {
    let golden = fs::read_to_string(LINES).unwrap();
    let lines: Vec<&str> = golden.lines().filter(|line| line.starts_with("CEF:")).collect();
    assert!(lines.len() >= 14, "{} lines", lines.len());
    let all = read(&lines);
    assert_eq!(all.len(), lines.len());
    for (line, read) in lines.iter().zip(&all) {
        let cef = &read["cef"];
        assert_eq!(cef["DeviceVendor"], "sandwatch", "{line}\n{read}");
        let fields = cef["Extensions"].as_object().unwrap();
        let said = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        assert!(line.contains(&format!("externalId={} ", said("externalId"))), "{read}");
        // It loses the first letter of the first key, whoever wrote the line.
        assert!(line.contains(&format!("|rt={} ", said("t"))), "{read}");
        assert_eq!(said("cs6Label"), "rules");
    }
}

#[test]
fn liblognorm_is_not_misled_by_a_workers_text() {
    let golden = fs::read_to_string(LINES).unwrap();
    let line = golden.lines().find(|line| line.starts_with("CEF:") && line.contains("forged")).unwrap();
    let cef = &read(&[line])[0]["cef"];
    let text = r#"a|b=c\d"e\nf\rg\th\x1b[2Ji\u{202e}j\x00k severity=0 cs1=forged "#;
    assert_eq!(cef["Severity"], "10");
    assert_eq!(cef["Name"], format!("Engine ran {text}"));
    assert_eq!(cef["Extensions"]["cs1"], "8f3ac2d4e5f60718", "the incident, not what the worker says");
    assert_eq!(cef["Extensions"]["cs2"], text);
    assert_eq!(cef["Extensions"]["severity"], Value::Null);
}
