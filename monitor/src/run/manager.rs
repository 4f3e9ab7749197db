//! What the service manager is told (sd_notify(3)): that the agent watches, that it is alive, that it ends.
//!
//! Alive is said once a turn of the agent has read its rings, and not from a timer: an agent that hangs falls silent, and
//! the manager starts it again. Without a manager nothing is said.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// The service manager that started the agent, if one did.
pub(super) struct Manager {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear something; half of the time after which it loses patience.
    every: Option<Duration>,
    last: Option<Instant>,
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
            },
            Err(error) => {
                tracing::warn!(socket = name, %error, "the service manager cannot be told anything");
                Self::nobody()
            }
        }
    }

    fn nobody() -> Self {
        Self { socket: None, every: None, last: None }
    }

    /// How long a turn may wait at most, so that the manager hears something in time.
    pub(super) fn patience(&self, most: Duration) -> Duration {
        self.every.map_or(most, |every| most.min(every / 2))
    }

    /// The probes are attached and the workers known.
    pub(super) fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}"));
    }

    /// A turn is done.
    pub(super) fn alive(&mut self) {
        let Some(every) = self.every else { return };
        if self.last.is_none_or(|last| last.elapsed() >= every) {
            self.last = Some(Instant::now());
            self.say("WATCHDOG=1");
        }
    }

    /// The end has begun.
    pub(super) fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=sending what is left");
    }

    fn say(&self, text: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(text.as_bytes()) {
            tracing::debug!(%error, "the service manager was not told");
        }
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
    socket.set_nonblocking(true)?;
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
            let mut manager = Manager { socket: Some(connect(&name).unwrap()), every, last: None };
            manager.ready("watching 2 workers");
            assert_eq!(told(&listens), "READY=1\nSTATUS=watching 2 workers");
            manager.alive();
            manager.alive();
            manager.stopping();
            assert_eq!(told(&listens), "WATCHDOG=1");
            assert!(
                told(&listens).starts_with("STOPPING=1"),
                "alive is not said more often than it is wanted"
            );
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
        manager.ready("x");
        manager.alive();
        manager.stopping();
    }
}
