//! Airflow 3, all components in one worker: a DAG that computes, and one with the BashOperator. Tasks are forks that
//! execute nothing, so the run is known from the log that their supervisor opens.

use std::fs;
use std::path::Path;

use crate::incidents::{chain, taken};
use crate::lab::{Lab, recipe};

#[test]
fn airflow_is_silent_until_a_bash_operator_runs_and_names_the_run() {
    let mut lab = Lab::new("airflow", "SANDWATCH_ENGINE_AIRFLOW", &["airflow"]);
    let home = lab.folder.join("airflow");
    let dags = home.join("dags");
    fs::create_dir_all(&dags).unwrap();
    let set = |name: &'static str, value: &str| (name, value.to_owned());
    let env = [
        set("AIRFLOW_HOME", "/opt/airflow"),
        set("AIRFLOW__CORE__LOAD_EXAMPLES", "False"),
        set("AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION", "False"),
        set("AIRFLOW__CORE__PARALLELISM", "2"),
        set("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "http://127.0.0.1:8080/execution/"),
        // A busy machine answers late, and a task that asks twice has failed.
        set("AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT", "60"),
        set("AIRFLOW__API__HOST", "127.0.0.1"),
        set("AIRFLOW__API__BASE_URL", "http://127.0.0.1:8080"),
        set("AIRFLOW__API__WORKERS", "1"),
        set("AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL", "3"),
        set("AIRFLOW__USAGE_DATA_COLLECTION__ENABLED", "False"),
    ];
    let airflow = lab.engine("bin/airflow");
    let write =
        |dag: &str| fs::copy(recipe(&format!("airflow/{dag}.py")), dags.join(format!("{dag}.py"))).unwrap();
    write("normal");
    lab.start_boxed(0, "airflow", (&home, "airflow"), &[airflow.to_str().unwrap(), "standalone"], &env);
    let logs = home.join("logs");
    // Its result is handed over after it ran.
    lab.eventually("the task is done", || task_log(&logs.join("dag_id=normal")).contains("Pushing xcom"));
    lab.was_normal("a start and a task");

    write("escape");
    lab.eventually("the theft is found", || {
        lab.incidents().serious().iter().any(|incident| taken(incident).contains(&"aws-credentials"))
    });
    let incidents = lab.finish();
    let incident = incidents.only();
    assert_eq!(incident["tier"], "identity");
    assert_eq!(incident["worker"]["profile"], "airflow");
    let chain = chain(incident);
    assert!(chain.contains(&"unexpected-exec"), "{chain:?}");
    assert_eq!(taken(incident), ["aws-credentials"]);
    let attribution = &incident["attribution"];
    assert_eq!(attribution["workflow"]["value"], "escape", "{attribution}");
    assert_eq!(attribution["step"]["value"], "shell");
    assert_eq!(attribution["run"]["trust"], "engine");
    assert!(attribution["run"]["value"].as_str().unwrap().starts_with("scheduled__"), "{attribution}");
    assert_eq!(incidents.deviations(), [] as [String; 0]);
}

/// All logs of a DAG's tasks.
fn task_log(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            text.push_str(&task_log(&entry.path()));
        } else {
            text.push_str(&fs::read_to_string(entry.path()).unwrap_or_default());
        }
    }
    text
}
