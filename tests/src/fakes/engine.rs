//! Delivery as the agent runs it, for tests that have alerts of their own.

use std::path::Path;

use anyhow::Result;
use monitor::config::{self, Config};
use monitor::delivery::{Engine, Setup};

/// A configuration with its state in this folder, and `keys` of the whole file and of each sink.
///
/// # Errors
/// It is none.
pub fn configured(state: &Path, keys: &str, sinks: &[String]) -> Result<Config> {
    let mut text = format!("schema: sandwatch/config/v1\nstate_dir: {}\n{keys}\nsinks:\n", state.display());
    for sink in sinks {
        text.push_str(&format!("  - {{ {sink} }}\n"));
    }
    Ok(config::parse(Path::new("test.yaml"), &text)?)
}

/// Delivery with its threads.
///
/// # Errors
/// A sink is wrong, or there is no thread.
pub fn start(config: &Config) -> Result<Engine> {
    let envelope = monitor::run::envelope(config, "sha256:00", Path::new("/sys/fs/cgroup"));
    let mut engine = Engine::open(Setup::of(config, envelope))?;
    engine.start()?;
    Ok(engine)
}
