//! Prefect: a server and a process worker, each a worker of its own to sandwatch; a flow that computes, and one whose task
//! starts a shell.

use std::fs;
use std::process::Output;

use crate::incidents::{chain, taken};
use crate::lab::{Lab, recipe};
use crate::net;

const PORT: u16 = 4200;

#[test]
fn prefect_is_silent_until_a_task_starts_a_shell_and_names_the_run() {
    let mut lab = Lab::new("prefect", "SANDWATCH_ENGINE_PREFECT", &["prefect-server", "prefect-worker"]);
    let env = [
        ("PREFECT_API_URL", format!("http://127.0.0.1:{PORT}/api")),
        ("PREFECT_SERVER_ANALYTICS_ENABLED", "false".to_owned()),
        ("DO_NOT_TRACK", "1".to_owned()),
    ];
    let prefect = lab.engine("bin/prefect");
    let program = prefect.to_str().unwrap();
    lab.start(0, "server", &[program, "server", "start", "--host", "127.0.0.1"], &env);
    lab.eventually("the server answers", || net::get(PORT, "/api/health").is_some());
    let flows = lab.folder.join("flows");
    fs::create_dir(&flows).unwrap();
    fs::copy(recipe("prefect/flows.py"), flows.join("flows.py")).unwrap();
    good(&lab.outside(&prefect, &["work-pool", "create", "pool", "--type", "process"], &env));
    good(&lab.outside(&lab.engine("bin/python"), &[flows.join("flows.py").to_str().unwrap()], &env));
    lab.start(1, "worker", &[program, "worker", "start", "--pool", "pool"], &env);
    lab.eventually("the worker polls", || lab.log("worker").contains("started"));
    let run = |flow: &str| {
        let output = lab.outside(&prefect, &["deployment", "run", &format!("{flow}/{flow}")], &env);
        let text = good(&output);
        let (_, id) = text.split_once("/flow-run/").unwrap();
        id.chars().filter(|c| !c.is_whitespace()).take(36).collect::<String>()
    };
    run("normal");
    lab.eventually("the flow is done", || {
        let log = lab.log("worker");
        log.contains("sum 3") && log.contains("Flow run") && log.matches("Completed()").count() > 1
    });
    lab.was_normal("a start and a flow");

    let escape = run("escape");
    lab.eventually("the theft is found", || {
        lab.incidents().serious().iter().any(|incident| taken(incident).contains(&"aws-credentials"))
    });
    let incidents = lab.finish();
    let incident = incidents.only();
    assert_eq!(incident["tier"], "identity");
    assert_eq!(incident["worker"]["name"], "prefect-worker");
    assert_eq!(incident["worker"]["profile"], "prefect");
    let chain = chain(incident);
    assert!(chain.contains(&"unexpected-exec"), "{chain:?}");
    assert_eq!(taken(incident), ["aws-credentials"]);
    assert_eq!(incident["attribution"]["run"]["value"], escape);
    assert_eq!(incident["attribution"]["run"]["trust"], "engine");
    assert_eq!(incident["attribution"]["workflow"]["value"], "escape");
    assert_eq!(incidents.deviations(), [] as [String; 0]);
}

fn good(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
