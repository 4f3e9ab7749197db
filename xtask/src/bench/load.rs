//! The measured programs: one small loop each, run in a process of its own so that it can be put into a
//! worker cgroup before it starts.

use anyhow::{Context, Result, bail};
use std::ffi::CString;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Load {
    /// getppid: nothing but the system call itself
    Getppid,
    /// A write of 64 bytes to /dev/null
    Write,
    /// open and close of the file given
    Open,
    /// fork, exec of the program given, wait
    Exec,
    /// A datagram of 64 bytes from an unconnected socket to the loopback port given
    UdpSend,
    /// connect to a loopback port of its own, and close with a reset
    TcpConnect,
    /// Opens of the file given at a steady rate
    PacedOpen,
    /// Forks that wait to be ended, as many as `rate` says
    Crowd,
    /// A pause, then one exec of the program given; prints the moment before
    ExecOnce,
}

/// What `xtask bench-load` takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Which loop
    pub(crate) load: Load,
    /// File or program
    #[arg(long)]
    pub(crate) path: Option<PathBuf>,
    /// Loopback port
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// How long
    #[arg(long, default_value_t = 200)]
    pub(crate) millis: u64,
    /// Operations a second, for a paced loop; processes, for a crowd
    #[arg(long, default_value_t = 0)]
    pub(crate) rate: u64,
}

/// What a loop prints: one JSON line.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Measured {
    pub(crate) operations: u64,
    pub(crate) nanoseconds: f64,
}

impl Measured {
    /// Nanoseconds an operation took.
    pub(crate) fn each(self) -> f64 {
        self.nanoseconds / self.operations as f64
    }
}

/// Runs a loop and prints what it measured.
pub(crate) fn main(options: &Options) -> Result<()> {
    let time = Duration::from_millis(options.millis);
    let measured = match options.load {
        Load::Getppid => repeat(time, 256, || {
            // SAFETY: getppid has no preconditions. The raw call, because a libc may answer from memory.
            unsafe { libc::syscall(libc::SYS_getppid) };
            Ok(())
        })?,
        Load::Write => write(time)?,
        Load::Open => open(&path(options)?, time)?,
        Load::Exec => {
            let program = path(options)?;
            repeat(time, 1, || fork_exec_wait(&program))?
        }
        Load::UdpSend => udp_send(options.port, time)?,
        Load::TcpConnect => tcp_connects(time)?,
        Load::PacedOpen => paced_open(&path(options)?, options.rate, time)?,
        Load::Crowd => return crowd(options.rate, time),
        Load::ExecOnce => return exec_once(&path(options)?, time),
    };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

fn path(options: &Options) -> Result<CString> {
    let path: &Path = options.path.as_deref().context("this loop needs --path")?;
    Ok(CString::new(path.as_os_str().as_encoded_bytes())?)
}

/// Repeats for a time; the clock is read once in `batch` operations.
fn repeat(time: Duration, batch: u64, mut operation: impl FnMut() -> Result<()>) -> Result<Measured> {
    let started = Instant::now();
    let mut operations = 0;
    loop {
        for _ in 0..batch {
            operation()?;
        }
        operations += batch;
        let passed = started.elapsed();
        if passed >= time {
            return Ok(Measured { operations, nanoseconds: passed.as_nanos() as f64 });
        }
    }
}

fn write(time: Duration) -> Result<Measured> {
    use std::io::Write as _;
    let mut null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    let block = [0u8; 64];
    repeat(time, 256, || null.write_all(&block).context("cannot write to /dev/null"))
}

fn open(path: &CString, time: Duration) -> Result<Measured> {
    repeat(time, 64, || open_once(path))
}

fn open_once(path: &CString) -> Result<()> {
    // SAFETY: the path is a valid C string that outlives the call; the descriptor is closed right here.
    let result = unsafe {
        let file = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if file < 0 { file } else { libc::close(file) }
    };
    if result < 0 { bail!("cannot open {path:?}: {}", std::io::Error::last_os_error()) } else { Ok(()) }
}

fn fork_exec_wait(program: &CString) -> Result<()> {
    let arguments = [program.as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null()];
    // SAFETY: this program has one thread, so the child may call anything; it only calls execve and _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: both arrays end with a null pointer and live in this very frame.
        unsafe {
            libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr());
            libc::_exit(127)
        }
    }
    if child < 0 {
        bail!("cannot fork: {}", std::io::Error::last_os_error());
    }
    let mut status = 0;
    // SAFETY: `status` is a valid place for the result.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 {
        Ok(())
    } else {
        bail!("{program:?} did not run (status {status})")
    }
}

fn udp_send(port: u16, time: Duration) -> Result<Measured> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let block = [0u8; 64];
    repeat(time, 32, || {
        socket.send_to(&block, to).context("cannot send")?;
        Ok(())
    })
}

/// Connects to a listener of this very process, which takes them between two batches, unmeasured: a listener that is another
/// thread's falls behind, and then it is the retries of a full backlog that are measured.
fn tcp_connects(time: Duration) -> Result<Measured> {
    const BATCH: u64 = 16;
    let listener =
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on loopback")?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let (mut operations, mut spent) = (0, Duration::ZERO);
    while spent < time {
        let started = Instant::now();
        for _ in 0..BATCH {
            tcp_connect(port)?;
        }
        spent += started.elapsed();
        operations += BATCH;
        // Ends with the first that is not there.
        while listener.accept().is_ok() {}
    }
    Ok(Measured { operations, nanoseconds: spent.as_nanos() as f64 })
}

fn tcp_connect(port: u16) -> Result<()> {
    use std::os::fd::AsRawFd as _;
    let stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("cannot connect")?;
    // Closing with a reset leaves no TIME_WAIT behind: thousands of those would slow the next rounds.
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = u32::try_from(size_of::<libc::linger>())?;
    // SAFETY: the pointer and size describe a live `linger`, which is what SO_LINGER takes.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size,
        )
    };
    if result < 0 { bail!("cannot set SO_LINGER") } else { Ok(()) }
}

fn paced_open(path: &CString, rate: u64, time: Duration) -> Result<Measured> {
    const TICK: Duration = Duration::from_millis(1);
    let started = Instant::now();
    let mut operations = 0;
    loop {
        let passed = started.elapsed();
        if passed >= time {
            return Ok(Measured { operations, nanoseconds: passed.as_nanos() as f64 });
        }
        let due = (passed.as_secs_f64() * rate as f64) as u64;
        while operations < due {
            open_once(path)?;
            operations += 1;
        }
        std::thread::sleep(TICK);
    }
}

fn crowd(count: u64, time: Duration) -> Result<()> {
    for _ in 0..count {
        // SAFETY: one thread; the child sleeps and leaves without running anything of this program.
        unsafe {
            match libc::fork() {
                -1 => bail!("cannot fork: {}", std::io::Error::last_os_error()),
                0 => {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    loop {
                        libc::pause();
                    }
                }
                _ => {}
            }
        }
    }
    println!("{}", serde_json::to_string(&Measured { operations: count, nanoseconds: 0.0 })?);
    std::thread::sleep(time);
    Ok(())
}

fn exec_once(program: &CString, pause: Duration) -> Result<()> {
    std::thread::sleep(pause);
    let arguments = [program.as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null()];
    println!("{}", monotonic_ns());
    // SAFETY: both arrays end with a null pointer and live in this very frame.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    bail!("cannot execute {program:?}: {}", std::io::Error::last_os_error())
}

/// The monotonic clock, which all processes of a machine share.
pub(crate) fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the result; the clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
