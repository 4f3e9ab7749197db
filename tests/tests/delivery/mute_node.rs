//! The rule for a node without heartbeats, as Prometheus evaluates it.

use std::path::Path;
use std::process::Command;

const PROGRAM: &str = "/usr/bin/promtool";

#[test]
fn the_rule_for_a_mute_node_holds_in_prometheus() {
    assert!(
        Path::new(PROGRAM).exists(),
        "there is no {PROGRAM}; as root run: apt-get install --no-install-recommends -y prometheus"
    );
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/prometheus");
    for arguments in [["check", "rules", "mute-node.yaml"], ["test", "rules", "mute-node.test.yaml"]] {
        let output = Command::new(PROGRAM).current_dir(folder).args(arguments).output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
}
