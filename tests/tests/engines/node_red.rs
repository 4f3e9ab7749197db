//! Node-RED: a flow with a function node, and one with the exec node.

use std::fs;

use crate::incidents::{chain, taken};
use crate::lab::Lab;
use crate::net;

const PORT: u16 = 1880;

/// Nothing that would call home, and credentials that are worth something.
const SETTINGS: &str = r#"module.exports = {
  uiHost: "127.0.0.1", uiPort: 1880, flowFile: "flows.json", credentialSecret: "of a test",
  telemetry: { enabled: false, updateNotification: false },
  editorTheme: { tours: false, projects: { enabled: true }, palette: { catalogues: [] } },
};
"#;

/// Two flows, each behind an address of its own.
const FLOWS: &str = r#"[
  {"id":"t","type":"tab","label":"t"},
  {"id":"a","type":"http in","z":"t","url":"/normal","method":"get","wires":[["b"]]},
  {"id":"b","type":"function","z":"t","func":"msg.payload = String(1 + 2); return msg;","outputs":1,"wires":[["c"]]},
  {"id":"c","type":"http response","z":"t","wires":[]},
  {"id":"d","type":"http in","z":"t","url":"/escape","method":"get","wires":[["e"]]},
  {"id":"e","type":"exec","z":"t","command":"id; cat $HOME/.aws/credentials","addpay":"","append":"","useSpawn":"false","timer":"","oldrc":false,"wires":[["c"],[],[]]}
]"#;

#[test]
fn node_red_is_silent_until_an_exec_node_runs_a_shell() {
    let mut lab = Lab::new("node-red", "SANDWATCH_ENGINE_NODE_RED", &["node-red"]);
    let user = lab.home().join(".node-red");
    fs::create_dir_all(&user).unwrap();
    fs::write(user.join("settings.js"), SETTINGS).unwrap();
    fs::write(user.join("flows.json"), FLOWS).unwrap();
    let red = lab.engine("node_modules/node-red/red.js");
    lab.start(0, "node-red", &["/usr/bin/node", red.to_str().unwrap()], &[]);
    lab.eventually("the flow answers", || net::get(PORT, "/normal").is_some());
    assert_eq!(net::get(PORT, "/normal").as_deref(), Some("3"));
    lab.was_normal("a start and a flow");

    let answer = net::get(PORT, "/escape").unwrap();
    assert!(answer.contains("uid=") && answer.contains("aws_access_key_id"), "{answer}");
    lab.eventually("the theft is found", || {
        lab.incidents().serious().iter().any(|incident| taken(incident).contains(&"aws-credentials"))
    });
    let incidents = lab.finish();
    let incident = incidents.only();
    assert_eq!(incident["tier"], "identity");
    assert_eq!(incident["worker"]["profile"], "node-red");
    let chain = chain(incident);
    assert!(chain.contains(&"shell-from-engine"), "{chain:?}");
    assert_eq!(taken(incident), ["aws-credentials"]);
    assert_eq!(incidents.deviations(), [] as [String; 0]);
}
