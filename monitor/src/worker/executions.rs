//! What an engine's own event log says is running: the only trace of a run where the engine shows none to the kernel.
//!
//! n8n writes one JSON object a line (`eventName`, `payload.executionId`, `payload.workflowId`); what was started and has not
//! ended is running. The log lies in the worker's root, where author code may have written it: candidates, no more.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::secrets::open_in;

/// Most of the log that is read, from its end, bytes.
const TAIL: u64 = 256 * 1024;
/// Most executions that are told.
const MOST: usize = 8;
/// Longest id that is taken, bytes.
const ID_MAX: usize = 64;

/// A run that the engine says is going on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Execution {
    /// Its workflow, if the log says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<Arc<str>>,
    /// Its id.
    pub run: Arc<str>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "eventName")]
    event: String,
    payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "executionId")]
    run: Id,
    #[serde(rename = "workflowId", default)]
    workflow: Option<Id>,
}

/// Ids are numbers in some versions, text in others.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

impl Id {
    fn taken(self) -> Option<Arc<str>> {
        let text = match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        };
        (!text.is_empty() && text.len() <= ID_MAX).then(|| text.into())
    }
}

/// What a log says is running, the newest last; of more than a few the newest.
fn running(log: &str) -> Vec<Execution> {
    let mut all: Vec<Execution> = Vec::new();
    for line in log.lines() {
        // Other lines (confirmations, the first one cut in the middle) are none of these.
        let Ok(entry) = serde_json::from_str::<Entry>(line) else { continue };
        let Some(run) = entry.payload.run.taken() else { continue };
        match entry.event.as_str() {
            "n8n.workflow.started" => {
                all.retain(|known| known.run != run);
                all.push(Execution { workflow: entry.payload.workflow.and_then(Id::taken), run });
            }
            "n8n.workflow.success" | "n8n.workflow.failed" | "n8n.workflow.crashed" => {
                all.retain(|known| known.run != run);
            }
            _ => {}
        }
    }
    all.split_off(all.len().saturating_sub(MOST))
}

/// What the first of these logs that is there says is running.
pub(super) fn read(root: &File, paths: &[Arc<str>]) -> Vec<Execution> {
    let text = paths.iter().find_map(|path| tail(root, path).ok());
    text.map(|text| running(&text)).unwrap_or_default()
}

fn tail(root: &File, path: &str) -> io::Result<String> {
    // Not blocking: what is called a log may be a pipe.
    let mut file = open_in(root, path, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    file.seek(SeekFrom::Start(meta.len().saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: &str, run: &str, workflow: &str) -> String {
        format!(
            r#"{{"__type":"$$EventMessageWorkflow","eventName":"{event}","payload":{{"executionId":{run},"workflowId":"{workflow}"}}}}"#
        )
    }

    #[test]
    fn started_and_not_ended_is_running() {
        let log = [
            "cut\":1}".to_owned(),
            line("n8n.workflow.started", "\"1\"", "a"),
            line("n8n.workflow.started", "2", "b"),
            r#"{"__type":"$$EventMessageConfirm","confirm":"x"}"#.to_owned(),
            line("n8n.node.started", "\"1\"", "a"),
            line("n8n.workflow.success", "\"1\"", "a"),
        ]
        .join("\n");
        assert_eq!(running(&log), [Execution { workflow: Some("b".into()), run: "2".into() }]);
    }

    #[test]
    fn many_are_bounded_and_absurd_ids_left_out() {
        let mut log: String =
            (0..50).map(|n| line("n8n.workflow.started", &n.to_string(), "w") + "\n").collect();
        log.push_str(&line("n8n.workflow.started", &format!("\"{}\"", "x".repeat(65)), "w"));
        let runs: Vec<String> = running(&log).iter().map(|one| one.run.to_string()).collect();
        assert_eq!(runs, ["42", "43", "44", "45", "46", "47", "48", "49"]);
    }

    #[test]
    fn log_is_read_in_the_root_and_never_out_of_it() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("log"), line("n8n.workflow.started", "7", "w")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("out")).unwrap();
        let folder = File::open(root.path()).unwrap();
        assert_eq!(read(&folder, &["/absent".into(), "/log".into()]).len(), 1);
        assert_eq!(read(&folder, &["/out".into()]), []);
    }
}
