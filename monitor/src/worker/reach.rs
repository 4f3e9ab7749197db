//! What a process could read: asked once, when an incident begins.
//!
//! Each pattern of the identity catalogue is looked for in the process's own root (`/proc/PID/root`), never following a link
//! out of it, and what exists is held against the process's user, groups and capabilities, folder by folder. A symbolic link
//! on the way is taken for what it leads to: then a folder above that target may refuse what is called readable here. Bounded in
//! time and in system calls; what was not looked at is said.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::secrets::open_in;
use crate::process::Credentials;
use crate::profile::SecretPath;

/// Longest look at one process.
const TIME_MAX: Duration = Duration::from_millis(5);
/// Most files and folders looked at.
const LOOKS_MAX: usize = 4096;
/// Most entries read of one folder.
const ENTRIES_MAX: usize = 1024;
/// Most home folders.
const HOMES_MAX: usize = 16;
/// How many levels below a folder `**` is followed.
const DEPTH_MAX: usize = 2;

/// `CAP_DAC_OVERRIDE` and `CAP_DAC_READ_SEARCH` (include/uapi/linux/capability.h).
const READS_ALL: u64 = 1 << 1 | 1 << 2;

/// What a process could read when an incident began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Identities with at least one file that exists and that it may read.
    pub identities: Vec<Arc<str>>,
    /// Names of its environment variables that look like credentials.
    pub environment: Vec<Arc<str>>,
    /// There may be more: a bound was reached.
    pub cut: bool,
}

fn may(who: &Credentials, mode: u32, uid: u32, gid: u32, bit: u32) -> bool {
    let shift = if uid == who.uid {
        6
    } else if who.groups.contains(&gid) {
        3
    } else {
        0
    };
    who.capabilities & READS_ALL != 0 || mode >> shift & bit != 0
}

/// The identities that a process may read in a root, and whether there may be more; `root` is a descriptor of it.
pub(super) fn readable(root: &File, who: &Credentials, secrets: &[SecretPath]) -> (Vec<Arc<str>>, bool) {
    readable_within((TIME_MAX, LOOKS_MAX), root, who, secrets)
}

fn readable_within(
    (time, looks): (Duration, usize),
    root: &File,
    who: &Credentials,
    secrets: &[SecretPath],
) -> (Vec<Arc<str>>, bool) {
    let mut look = Look {
        root,
        who,
        folders: HashMap::new(),
        listed: HashMap::new(),
        until: Instant::now() + time,
        left: looks,
        cut: false,
    };
    let homes = look.homes();
    let mut found: Vec<Arc<str>> = Vec::new();
    for secret in secrets {
        if found.contains(&secret.identity) {
            continue;
        }
        let reached = match secret.part(0) {
            Some("~") => homes.iter().any(|home| look.walk(home, 1, secret)),
            // Anywhere at all: not something to be looked for in a moment.
            Some("**") | None => false,
            Some(_) => secret.pattern.starts_with('/') && look.walk("", 0, secret),
        };
        if reached {
            found.push(secret.identity.clone());
        }
    }
    (found, look.cut)
}

struct Look<'a> {
    root: &'a File,
    who: &'a Credentials,
    /// Whether a folder exists and may be passed through.
    folders: HashMap<String, bool>,
    listed: HashMap<String, Rc<[String]>>,
    until: Instant,
    left: usize,
    /// Something was not looked at.
    cut: bool,
}

impl Look<'_> {
    /// Whether a bound is reached. Asked only where there is something left to be looked at.
    fn is_over(&mut self) -> bool {
        self.cut |= self.left == 0 || Instant::now() >= self.until;
        self.cut
    }

    /// Whether a readable file below a folder (without a trailing `/`) matches a pattern from a component on.
    fn walk(&mut self, folder: &str, at: usize, secret: &SecretPath) -> bool {
        if self.is_over() || !self.passes(folder) {
            return false;
        }
        match secret.part(at) {
            None => false,
            Some("**") => self.walk_deep(folder, at, secret, DEPTH_MAX),
            Some(part) if !secret.is_wild(at) => self.step(&format!("{folder}/{part}"), at, secret),
            Some(_) => self.names(folder).iter().any(|name| {
                secret.part_matches(at, name) && self.step(&format!("{folder}/{name}"), at, secret)
            }),
        }
    }

    /// `**`: the rest of the pattern in this folder, or in those below it; at the end of a pattern any file at all.
    fn walk_deep(&mut self, folder: &str, at: usize, secret: &SecretPath, depth: usize) -> bool {
        let last = at + 1 == secret.len();
        if !last && self.walk(folder, at + 1, secret) {
            return true;
        }
        let names = self.names(folder);
        if last && names.iter().any(|name| self.may_read(&format!("{folder}/{name}"))) {
            return true;
        }
        depth > 0
            && names.iter().any(|name| {
                let path = format!("{folder}/{name}");
                self.passes(&path) && self.walk_deep(&path, at, secret, depth - 1)
            })
    }

    /// A path that matches up to a component.
    fn step(&mut self, path: &str, at: usize, secret: &SecretPath) -> bool {
        if at + 1 == secret.len() {
            secret.matches(path) && self.may_read(path)
        } else {
            self.walk(path, at + 1, secret)
        }
    }

    fn passes(&mut self, folder: &str) -> bool {
        if folder.is_empty() {
            return true;
        }
        if let Some(known) = self.folders.get(folder) {
            return *known;
        }
        let passes = self
            .open(folder)
            .is_some_and(|(meta, _)| meta.is_dir() && may(self.who, meta.mode(), meta.uid(), meta.gid(), 1));
        self.folders.insert(folder.to_owned(), passes);
        passes
    }

    fn may_read(&mut self, path: &str) -> bool {
        self.open(path).is_some_and(|(meta, _)| {
            // Sockets are used by writing to them.
            let bit = if meta.mode() & libc::S_IFMT == libc::S_IFSOCK { 2 } else { 4 };
            !meta.is_dir() && may(self.who, meta.mode(), meta.uid(), meta.gid(), bit)
        })
    }

    fn open(&mut self, path: &str) -> Option<(std::fs::Metadata, File)> {
        if self.left == 0 {
            self.cut = true;
            return None;
        }
        self.left -= 1;
        let file = open_in(self.root, path, libc::O_PATH).ok()?;
        Some((file.metadata().ok()?, file))
    }

    /// Names in a folder, if the process may list it.
    fn names(&mut self, folder: &str) -> Rc<[String]> {
        if let Some(known) = self.listed.get(folder) {
            return known.clone();
        }
        let names: Rc<[String]> = self.list(folder).into();
        self.listed.insert(folder.to_owned(), names.clone());
        names
    }

    /// In order, so that the same folder gives the same answer.
    fn list(&mut self, folder: &str) -> Vec<String> {
        let Some((meta, file)) = self.open(if folder.is_empty() { "/" } else { folder }) else {
            return Vec::new();
        };
        if !meta.is_dir() || !may(self.who, meta.mode(), meta.uid(), meta.gid(), 4) {
            return Vec::new();
        }
        use std::os::fd::AsRawFd;
        // Through the agent's own descriptor: the path is not resolved again.
        let Ok(entries) = std::fs::read_dir(format!("/proc/self/fd/{}", file.as_raw_fd())) else {
            return Vec::new();
        };
        let mut entries = entries.flatten();
        let mut names: Vec<String> = entries
            .by_ref()
            .take(ENTRIES_MAX)
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        self.cut |= entries.next().is_some();
        names.sort_unstable();
        names
    }

    /// The home folders: where people and services usually have theirs, and that of the process's user by its owner.
    fn homes(&mut self) -> Vec<String> {
        let mut homes = vec!["/root".to_owned()];
        homes.extend(self.names("/home").iter().map(|name| format!("/home/{name}")));
        if let Some(own) = self.passwd_home().filter(|own| !homes.contains(own)) {
            homes.insert(0, own);
        }
        homes.truncate(HOMES_MAX);
        homes
    }

    /// The home folder of the process's user in the root's own passwd.
    fn passwd_home(&mut self) -> Option<String> {
        use std::io::Read;
        let file = open_in(self.root, "/etc/passwd", libc::O_RDONLY | libc::O_NONBLOCK).ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut text = Vec::new();
        file.take(64 << 10).read_to_end(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text);
        let uid = self.who.uid.to_string();
        let home = text.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.nth(2) == Some(&*uid)).then(|| fields.nth(2)).flatten()
        })?;
        let plain = home.starts_with('/') && home.len() > 1 && !home.split('/').any(|part| part == "..");
        plain.then(|| home.trim_end_matches('/').to_owned())
    }
}

/// Whether an environment variable's name looks like that of a credential.
pub fn is_credential_name(name: &str) -> bool {
    const WORDS: [&str; 19] = [
        "TOKEN",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "CREDENTIAL",
        "APIKEY",
        "API_KEY",
        "ACCESS_KEY",
        "PRIVATE_KEY",
        "ENCRYPTION_KEY",
        "SIGNING_KEY",
        "MASTER_KEY",
        "FERNET_KEY",
        "DATABASE_URL",
        "CONNECTION_STRING",
        "SQL_ALCHEMY_CONN",
        "WEBHOOK_URL",
        "SAS_KEY",
    ];
    const ENDS: [&str; 6] = ["_PAT", "_PWD", "_PASS", "_DSN", "_AUTH", "_KEY"];
    // Where something is, or how it is treated, is not the thing.
    const HARMLESS: [&str; 8] = ["_FILE", "_PATH", "_DIR", "_TTL", "_TYPE", "_TIMEOUT", "_HEADER", "_EXPIRY"];
    const NO_SECRETS: [&str; 2] = ["OLDPWD", "PWD"];
    let upper = name.to_ascii_uppercase();
    if NO_SECRETS.contains(&&*upper) || HARMLESS.iter().any(|end| upper.ends_with(end)) {
        return false;
    }
    upper == "PGPASSWORD"
        || WORDS.iter().any(|word| upper.contains(word))
        || ENDS.iter().any(|end| upper.ends_with(end))
}

#[cfg(test)]
mod tests;
