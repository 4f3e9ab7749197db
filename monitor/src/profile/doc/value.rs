//! Values that documents share: a value with its place, durations, and the closed word lists.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

/// A value and where it stands in its file (line and column from 1, 0 if unknown).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = serde_saphyr::Spanned::<T>::deserialize(deserializer)?;
        let clamp = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(Self {
            // Where it stands, not where an alias repeats it: that is the line that says so.
            line: clamp(spanned.defined.line()),
            column: clamp(spanned.defined.column()),
            value: spanned.value,
        })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A span of time: a number and one of `ms`, `s`, `m`, `h`, `d` (`120s`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_span(&text).map(Self).ok_or_else(|| {
            de::Error::custom(format!(
                "`{text}` is not a time span; write a number and ms, s, m, h or d, as in 120s"
            ))
        })
    }
}

fn parse_span(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..split].parse().ok()?;
    let millis = match text[split..].trim() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "description": "A number and ms, s, m, h or d." })
    }
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $text)] $variant),* }
        impl $name {
            /// The word as written in rule files.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

words! {
    /// What an open was for.
    AccessName {
        /// Reading.
        Read = "read",
        /// Writing, truncating, creating.
        Write = "write",
        /// Both are meant.
        ReadWrite = "readwrite",
        /// Any access, also a bare `O_PATH` handle.
        Any = "any",
    }
}

words! {
    /// Part of the address space; none contains an address of the endpoint catalogue.
    Scope {
        /// 127.0.0.0/8, ::1, and the unspecified address, which the kernel takes as loopback.
        Loopback = "loopback",
        /// 169.254.0.0/16, fe80::/10, and link-local multicast.
        LinkLocal = "link_local",
        /// RFC 1918, 100.64.0.0/10, fc00::/7.
        Private = "private",
        /// Everything else.
        Public = "public",
        /// All of them.
        Any = "any",
    }
}

words! {
    /// What a standard descriptor is.
    StdioName {
        /// Closed.
        Closed = "closed",
        /// Regular file.
        File = "file",
        /// Pipe.
        Pipe = "pipe",
        /// Socket of any family.
        Socket = "socket",
        /// Internet socket.
        Inet = "inet",
        /// Character device (a terminal, /dev/null).
        Char = "char",
    }
}

words! {
    /// Where an executable lives.
    HomeName {
        /// In an anonymous memory file.
        Memfd = "memfd",
        /// It has no name any more.
        Deleted = "deleted",
        /// On tmpfs or ramfs.
        Tmpfs = "tmpfs",
        /// In the writable layer of an overlay: not from the image.
        OverlayUpper = "overlay_upper",
        /// Writable by the acting user.
        Writable = "writable",
    }
}

words! {
    /// How the opened file's mount relates to the opener.
    MountName {
        /// Own mount namespace, below the root.
        Own = "own",
        /// Own mount namespace, outside the root directory (after a chroot).
        OutsideRoot = "outside_root",
        /// A mount namespace made below the opener or in its own run: a sandbox or container inside the worker.
        Nested = "nested",
        /// Another mount namespace: reached from outside the sandbox.
        Foreign = "foreign",
    }
}

words! {
    /// A file of /proc/PID.
    ProcFile {
        /// environ.
        Environ = "environ",
        /// mem.
        Mem = "mem",
        /// maps, smaps, numa_maps.
        Maps = "maps",
        /// cmdline.
        Cmdline = "cmdline",
        /// fd, fdinfo and what is below them.
        Fd = "fd",
        /// root and what is below it.
        Root = "root",
        /// cwd and what is below it.
        Cwd = "cwd",
        /// auxv, stack, syscall, personality, wchan.
        Other = "other",
    }
}

words! {
    /// Whose /proc entry.
    ProcOf {
        /// The acting process.
        Own = "self",
        /// A process it created, at any depth.
        Descendant = "descendant",
        /// Below the same author root.
        SameRun = "same_run",
        /// Of the same worker and not below an author root.
        EngineSide = "engine_side",
        /// Below another author root of the same worker.
        OtherRun = "other_run",
        /// Not in this worker.
        Outside = "outside",
    }
}

words! {
    /// A kind of namespace.
    NamespaceName {
        /// Process ids.
        Pid = "pid",
        /// Network.
        Net = "net",
        /// System V IPC and POSIX message queues.
        Ipc = "ipc",
        /// Host name.
        Uts = "uts",
        /// Users.
        User = "user",
        /// Mounts.
        Mnt = "mnt",
    }
}

words! {
    /// How bad a posture is.
    SeverityName {
        /// To be looked at in working hours.
        Low = "low",
        /// To be looked at today.
        Medium = "medium",
        /// To be looked at now.
        High = "high",
    }
}

words! {
    /// How the executable of an allowed exec is trusted.
    TrustName {
        /// Not memfd, deleted, tmpfs, overlay upper layer, nor writable by the acting user.
        Image = "image",
        /// Whatever it is when the worker first executes that path: device, inode, size and change time must stay.
        Pinned = "pinned",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_takes_every_unit_and_refuses_a_bare_number() {
        assert_eq!(parse_span("120s"), Some(Duration::from_secs(120)));
        assert_eq!(parse_span("5m"), Some(Duration::from_secs(300)));
        assert_eq!(parse_span("250ms"), Some(Duration::from_millis(250)));
        for bad in ["120", "", "s", "1w", "-1s", "99999999999999999999s"] {
            assert_eq!(parse_span(bad), None, "{bad}");
        }
    }
}
