//! What the service manager is told (sd_notify(3)): that the agent watches, that it is alive, that it ends.
//!
//! Alive is said once a turn of the agent has read its rings, and not from a timer: an agent that hangs falls silent, and
//! the manager starts it again. Without a manager nothing is said.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// How long the agent waits for a manager that is busy.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it is told what has changed.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// The service manager that started the agent, if one did.
pub(super) struct Manager {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear something; half of the time after which it loses patience.
    every: Option<Duration>,
    last: Option<Instant>,
    /// What it was told last, and when.
    status: (String, Option<Instant>),
}

impl Manager {
    /// The one that the environment names.
    pub(super) fn of_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let Some(name) = variable("NOTIFY_SOCKET") else { return Self::nobody() };
        // The patience is somebody else's if it names another process.
        let is_ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = variable("WATCHDOG_USEC").filter(|_| is_ours).and_then(|text| text.parse().ok());
        match connect(&name) {
            Ok(socket) => Self {
                socket: Some(socket),
                every: micros.filter(|micros| *micros > 0).map(|micros| Duration::from_micros(micros) / 2),
                last: None,
                status: Default::default(),
            },
            Err(error) => {
                tracing::warn!(socket = name, %error, "the service manager cannot be told anything");
                Self::nobody()
            }
        }
    }

    fn nobody() -> Self {
        Self { socket: None, every: None, last: None, status: Default::default() }
    }

    /// How long a turn may wait at most, so that the manager hears something in time.
    pub(super) fn patience(&self, most: Duration) -> Duration {
        self.every.map_or(most, |every| most.min(every / 2))
    }

    /// The probes are attached and the workers known.
    pub(super) fn ready(&mut self, status: String) {
        if !self.say(&format!("READY=1\nSTATUS={status}")) {
            tracing::warn!(
                "the service manager was not told that the agent watches; it may take it for dead"
            );
        }
        self.status = (status, Some(Instant::now()));
    }

    /// A turn is done.
    pub(super) fn alive(&mut self, status: impl FnOnce() -> String) {
        if self.socket.is_none() {
            return;
        }
        let due = |last: Option<Instant>, every| last.is_none_or(|last| last.elapsed() >= every);
        if self.every.is_some_and(|every| due(self.last, every)) && self.say("WATCHDOG=1") {
            self.last = Some(Instant::now());
        }
        if due(self.status.1, STATUS_EVERY) {
            let status = status();
            if status != self.status.0 {
                self.say(&format!("STATUS={status}"));
            }
            self.status = (status, Some(Instant::now()));
        }
    }

    /// The end has begun; it may take so long.
    pub(super) fn stopping(&self, most: Duration) {
        let micros = most.as_micros();
        self.say(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={micros}\nSTATUS=sending what is left"));
    }

    /// Whether it was told.
    fn say(&self, text: &str) -> bool {
        let Some(socket) = &self.socket else { return true };
        let sent = socket.send(text.as_bytes());
        if let Err(error) = &sent {
            tracing::debug!(%error, "the service manager was not told");
        }
        sent.is_ok()
    }
}

/// A socket to the manager's: a path, or an abstract name that begins with `@`.
fn connect(name: &str) -> std::io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // A manager that does not read must not hold the agent up.
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 200];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn a_manager_hears_of_start_life_and_end_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify").to_string_lossy().into_owned();
        let name = format!("@sandwatch-manager-test-{}", std::process::id());
        for name in [path, name] {
            let address = match name.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name).unwrap(),
                None => SocketAddr::from_pathname(&name).unwrap(),
            };
            let listens = UnixDatagram::bind_addr(&address).unwrap();
            listens.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let every = Some(Duration::from_secs(3600));
            let socket = Some(connect(&name).unwrap());
            let mut manager = Manager { socket, every, ..Manager::nobody() };
            manager.ready("watching 2 workers".into());
            assert_eq!(told(&listens), "READY=1\nSTATUS=watching 2 workers");
            manager.alive(|| unreachable!());
            manager.alive(|| unreachable!());
            manager.status.1 = None;
            manager.alive(|| "watching 3 workers".into());
            manager.stopping(Duration::from_secs(7));
            assert_eq!(told(&listens), "WATCHDOG=1");
            assert_eq!(
                told(&listens),
                "STATUS=watching 3 workers",
                "alive is not said more often than wanted"
            );
            assert!(told(&listens).starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=7000000\n"));
        }
    }

    #[test]
    fn a_turn_is_short_enough_for_the_managers_patience() {
        let impatient = Manager { every: Some(Duration::from_millis(400)), ..Manager::nobody() };
        assert_eq!(impatient.patience(Duration::from_secs(1)), Duration::from_millis(200));
        assert_eq!(Manager::nobody().patience(Duration::from_secs(1)), Duration::from_secs(1));
    }

    #[test]
    fn without_a_manager_nothing_is_said() {
        let mut manager = Manager::nobody();
        manager.ready("x".into());
        manager.alive(|| unreachable!());
        manager.stopping(Duration::ZERO);
    }
}
