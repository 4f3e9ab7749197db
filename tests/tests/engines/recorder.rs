//! Making the shipped recordings anew: with `SANDWATCH_ENGINE_RECORDINGS` set to a folder (`rules/tests/recordings`), each
//! test also writes what it shows there, the normal part and the whole, with the places of this machine replaced.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The part before the escape, and all of it.
const PARTS: [(&str, &str); 2] =
    [("normal", "its start and a normal workflow"), ("escape", "the same, and one that leaves the sandbox")];

/// Recorders that still run, by the name of what they record.
pub(crate) struct Recorder {
    to: PathBuf,
    running: Vec<(&'static str, Child)>,
    replaced: Vec<(String, &'static str)>,
}

impl Recorder {
    /// Starts to record the workers of a configuration, if recordings are wanted.
    pub(crate) fn start(
        program: &Path,
        config: &Path,
        profile: &str,
        folder: &Path,
        engine: &Path,
    ) -> Option<Self> {
        let to = PathBuf::from(std::env::var_os("SANDWATCH_ENGINE_RECORDINGS")?).join(profile);
        fs::create_dir_all(&to).unwrap();
        let running = PARTS.map(|(part, what)| {
            let log = fs::File::create(folder.join(format!("record-{part}.log"))).unwrap();
            let child = Command::new(program)
                .args(["record", "--force", "--config"])
                .arg(config)
                .arg("--output")
                .arg(folder.join(format!("{part}.ndjson")))
                .args(["--about", &format!("{profile} as installed by `cargo xtask test --engines`: {what}")])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap();
            (part, child)
        });
        let replaced = vec![
            (folder.display().to_string(), "/srv/engine"),
            (engine.display().to_string().trim_end_matches('/').to_owned(), "/opt/engine"),
        ];
        let recorder = Self { to, running: running.into(), replaced };
        let started = |part: &str| {
            fs::read_to_string(folder.join(format!("record-{part}.log"))).unwrap().contains("recording;")
        };
        while !recorder.running.iter().all(|(part, _)| started(part)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(recorder)
    }

    /// Ends the recording of a part, and puts it where it belongs.
    pub(crate) fn end(&mut self, part: &str, folder: &Path) {
        let Some(at) = self.running.iter().position(|(name, _)| *name == part) else { return };
        // What happened last has to arrive.
        std::thread::sleep(Duration::from_secs(1));
        let (_, mut child) = self.running.remove(at);
        // SAFETY: kill only takes numbers; the child was not waited for, so its pid is its own.
        unsafe { libc::kill(i32::try_from(child.id()).unwrap(), libc::SIGINT) };
        assert!(child.wait().unwrap().success(), "{part}");
        let mut text = fs::read_to_string(folder.join(format!("{part}.ndjson"))).unwrap();
        for (place, shown) in &self.replaced {
            text = text.replace(place.as_str(), shown);
        }
        fs::write(self.to.join(format!("{part}-recorded.ndjson")), text).unwrap();
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
