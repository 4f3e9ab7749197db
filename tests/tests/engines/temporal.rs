//! Temporal: a Python worker with an activity that computes, and one that starts a shell. The server stays outside the
//! worker, as it does in life.

use std::fs;

use crate::incidents::{chain, taken};
use crate::lab::{Lab, recipe};

#[test]
fn temporal_is_silent_until_an_activity_starts_a_shell() {
    let mut lab = Lab::new("temporal", "SANDWATCH_ENGINE_TEMPORAL", &["temporal"]);
    let temporal = lab.engine("bin/temporal");
    let program = temporal.to_str().unwrap();
    lab.start_outside("server", &[program, "server", "start-dev", "--headless", "--ip", "127.0.0.1"], &[]);
    lab.eventually("the server is there", || {
        lab.outside(&temporal, &["operator", "cluster", "health"], &[]).status.success()
    });
    let python = lab.engine("bin/python");
    let script = lab.folder.join("worker.py");
    fs::copy(recipe("temporal/worker.py"), &script).unwrap();
    lab.start(0, "worker", &[python.to_str().unwrap(), script.to_str().unwrap()], &[]);
    lab.eventually("the worker is ready", || lab.log("worker").contains("ready"));
    let execute = |workflow: &str| {
        let args =
            ["workflow", "execute", "--task-queue", "queue", "--type", workflow, "--workflow-id", workflow];
        let output = lab.outside(&temporal, &args, &[]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    assert!(execute("Normal").contains('2'));
    lab.was_normal("a start and a workflow");

    assert!(execute("Escape").contains("uid="));
    lab.eventually("the theft is found", || {
        lab.incidents().serious().iter().any(|incident| taken(incident).contains(&"aws-credentials"))
    });
    let incidents = lab.finish();
    let incident = incidents.only();
    assert_eq!(incident["tier"], "identity");
    assert_eq!(incident["worker"]["profile"], "temporal");
    let chain = chain(incident);
    assert!(chain.contains(&"shell-from-engine"), "{chain:?}");
    assert_eq!(taken(incident), ["aws-credentials"]);
    assert_eq!(incidents.deviations(), [] as [String; 0]);
}
