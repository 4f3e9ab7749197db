//! Names of signals, lanes, hooks and the programs behind them, as numbers on the wire.

macro_rules! numbered {
    ($(#[$meta:meta])* pub enum $name:ident : $repr:ty { $($(#[$vmeta:meta])* $variant:ident = $value:literal => $text:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr($repr)]
        pub enum $name { $($(#[$vmeta])* $variant = $value),* }
        impl $name {
            /// Every value, in wire order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The value with this wire number; `None` if there is none.
            pub const fn from_wire(value: $repr) -> Option<Self> {
                match value { $($value => Some(Self::$variant),)* _ => None }
            }
            /// The name users see.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

numbered! {
    /// What kind of thing happened: the `kind` of a record.
    pub enum Kind: u16 {
        /// A process was created.
        Fork = 1 => "fork",
        /// A process replaced its image.
        Exec = 2 => "exec",
        /// The last thread of a process ended.
        Exit = 3 => "exit",
        /// A file was opened, or an open failed.
        Open = 4 => "open",
        /// A TCP or connected-UDP connect, or an unconnected UDP send.
        Connect = 5 => "connect",
        /// What became of an earlier TCP connect.
        ConnectResult = 6 => "connect-result",
        /// A connect to a unix socket.
        Unix = 7 => "unix-connect",
        /// A raw, packet or other uncommon socket was created.
        Socket = 8 => "socket",
        /// A labelled process was moved to another cgroup.
        CgroupMove = 9 => "cgroup-move",
        /// An io_uring open seen at submission (tracepoint rung only).
        UringOpen = 10 => "uring-open",
        /// A cgroup was made that may be a worker.
        CgroupNew = 11 => "cgroup-new",
    }
}

numbered! {
    /// One ring buffer.
    pub enum Lane: u16 {
        /// Opens of watched paths, connects, socket and cgroup moves.
        Priority = 0 => "priority",
        /// fork, exec, exit, new cgroups.
        Lifecycle = 1 => "lifecycle",
    }
}

/// Number of lanes.
pub const LANES: usize = 2;

numbered! {
    /// A signal: what coverage is stated for, and what counters are kept by.
    pub enum Signal: u16 {
        /// Process creation.
        Fork = 0 => "fork",
        /// Program execution.
        Exec = 1 => "exec",
        /// Process end.
        Exit = 2 => "exit",
        /// File opens.
        Open = 3 => "open",
        /// TCP and connected-UDP connects.
        Connect = 4 => "connect",
        /// Unconnected UDP sends.
        Send = 5 => "send",
        /// Unix socket connects.
        Unix = 6 => "unix",
        /// Creation of uncommon sockets (raw, packet, vsock, …).
        Socket = 7 => "socket",
    }
}

/// Number of signals.
pub const SIGNALS: usize = 8;

numbered! {
    /// A rung of a signal's ladder: the kind of attach point an event came through.
    pub enum Rung: u16 {
        /// BPF LSM.
        Lsm = 1 => "lsm",
        /// fentry (BPF trampoline).
        Fentry = 2 => "fentry",
        /// kprobe.
        Kprobe = 3 => "kprobe",
        /// `cgroup/connect*`, `cgroup/sendmsg*`, `cgroup/sock_create`.
        Cgroup = 4 => "cgroup",
        /// BTF-typed raw tracepoint.
        TpBtf = 5 => "tp_btf",
        /// Raw tracepoint.
        RawTp = 6 => "raw_tp",
        /// Perf tracepoint on a system call (`syscalls:sys_*`).
        Tracepoint = 7 => "tracepoint",
    }
}
