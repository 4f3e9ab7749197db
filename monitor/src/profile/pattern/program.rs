//! The names of a program: resolved executable, path as given, argv[0], and the script of a known interpreter.

use std::borrow::Cow;
use std::sync::Arc;

use super::glob::{Glob, GlobError, braces};
use crate::profile::actor::Image;

/// Program patterns: without `/` a glob for the file name, with `/` a path glob.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Programs(Box<[(bool, Glob)]>);

impl Programs {
    /// Compiles patterns with braces.
    pub(crate) fn new<'a>(patterns: impl IntoIterator<Item = &'a String>) -> Result<Self, GlobError> {
        let mut out = Vec::new();
        for pattern in patterns {
            let named = |e: GlobError| GlobError(format!("program `{pattern}`: {e}"));
            for alternative in braces(pattern).map_err(named)? {
                let is_path = alternative.contains('/');
                let glob = if is_path { Glob::path(&alternative) } else { Glob::flat(&alternative) };
                out.push((is_path, glob.map_err(named)?));
            }
        }
        Ok(Self(out.into()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns, each with whether it is for a whole path.
    pub(crate) fn globs(&self) -> impl Iterator<Item = (bool, &Glob)> {
        self.0.iter().map(|(is_path, glob)| (*is_path, glob))
    }

    /// Whether this one name matches.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|(is_path, glob)| glob.matches(if *is_path { name } else { base(name) }))
    }
}

/// The last component.
pub(crate) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Folders where every user can put a file under any name: a name from there says nothing.
pub(crate) fn volatile_folder(path: &str) -> bool {
    ["/tmp/", "/var/tmp/", "/dev/shm/", "/proc/", "/dev/fd/", "/run/user/"]
        .iter()
        .any(|f| path.starts_with(f))
}

/// A path made absolute with the working directory, `.` and `..` taken out.
pub(crate) fn absolute<'a>(path: &'a str, cwd: Option<&str>) -> Option<Cow<'a, str>> {
    let plain = |p: &str| !p.split('/').any(|c| c == "." || c == "..") && !p.contains("//");
    if path.starts_with('/') && plain(path) {
        return Some(Cow::Borrowed(path));
    }
    let mut parts: Vec<&str> = Vec::new();
    let base = if path.starts_with('/') { "" } else { cwd? };
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    Some(Cow::Owned(format!("/{}", parts.join("/"))))
}

/// The script of an interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script<'a> {
    /// Not an interpreter that is known here, or none is given (code on the command line, a module, standard input).
    None,
    /// This argument, and whether other code is loaded before it (`node --require`, `perl -M`).
    File { path: &'a str, injected: bool },
}

/// How an interpreter's options are read.
struct Interpreter {
    /// Short options that mean there is no script; also within a cluster (`-Ic`).
    ends_short: &'static str,
    /// Long options that mean it.
    ends_long: &'static [&'static str],
    /// Short options that take the next argument, when nothing is attached.
    value_short: &'static str,
    /// Long options that take the next argument.
    value_long: &'static [&'static str],
    /// Options that load other code; they also take a value (attached, after `=`, or the next argument).
    injects: &'static [&'static str],
    /// Whether short options may be clustered.
    clusters: bool,
}

const NODE: Interpreter = Interpreter {
    ends_short: "ep",
    ends_long: &["--eval", "--print", "-pe", "--test", "--run"],
    value_short: "C",
    value_long: &[
        "--conditions",
        "--title",
        "--icu-data-dir",
        "--openssl-config",
        "--env-file",
        "--inspect-port",
    ],
    injects: &["-r", "--require", "--import", "--loader", "--experimental-loader"],
    clusters: false,
};
const PYTHON: Interpreter = Interpreter {
    ends_short: "cm",
    ends_long: &[],
    value_short: "WX",
    value_long: &["--check-hash-based-pycs"],
    injects: &[],
    clusters: true,
};
const SHELL: Interpreter = Interpreter {
    ends_short: "cs",
    ends_long: &[],
    value_short: "oO",
    value_long: &["--rcfile", "--init-file"],
    injects: &["--rcfile", "--init-file"],
    clusters: true,
};
const PERL: Interpreter = Interpreter {
    ends_short: "eE",
    ends_long: &[],
    value_short: "I",
    value_long: &[],
    injects: &["-M", "-m", "-d"],
    clusters: true,
};
const RUBY: Interpreter = Interpreter {
    ends_short: "e",
    ends_long: &[],
    value_short: "ICE",
    value_long: &[],
    injects: &["-r", "--require"],
    clusters: true,
};
const PHP: Interpreter = Interpreter {
    ends_short: "rBRE",
    ends_long: &["--run"],
    value_short: "cdz",
    value_long: &["--define", "--php-ini"],
    injects: &[],
    clusters: false,
};

fn interpreter(name: &str) -> Option<&'static Interpreter> {
    let family = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    Some(match family {
        "node" | "nodejs" | "bun" => &NODE,
        "python" | "pypy" => &PYTHON,
        "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" | "mksh" => &SHELL,
        "perl" => &PERL,
        "ruby" => &RUBY,
        "php" | "php-cgi" => &PHP,
        _ => return None,
    })
}

/// The script an image runs: the first argument that is not an option, if its program is a known interpreter.
pub(crate) fn script_of<'a>(image: &Image<'a>) -> Script<'a> {
    let names = || [image.exe, image.given].into_iter().flatten().map(base);
    if let Some(known) = names().find_map(interpreter) {
        return script_in(known, image.argv);
    }
    // One file that is many programs: what it is, it goes by argv[0], or by the argument after its own name.
    if names().any(|name| matches!(name, "busybox" | "toybox")) {
        let own = image.argv.first().is_some_and(|a| matches!(base(a), "busybox" | "toybox"));
        let argv = image.argv.get(usize::from(own)..).unwrap_or_default();
        if let Some(known) = argv.first().and_then(|applet| interpreter(base(applet))) {
            return script_in(known, argv);
        }
    }
    Script::None
}

fn script_in<'a>(how: &Interpreter, argv: &'a [Arc<str>]) -> Script<'a> {
    let mut injected = false;
    let mut args = argv.iter().skip(1);
    while let Some(arg) = args.next() {
        let arg: &str = arg;
        if arg == "--" {
            return args.next().map_or(Script::None, |path| Script::File { path, injected });
        }
        if arg == "-" {
            return Script::None;
        }
        if !(arg.starts_with('-') || arg.starts_with('+')) {
            return Script::File { path: arg, injected };
        }
        let (name, attached) = arg.split_once('=').map_or((arg, false), |(n, _)| (n, true));
        if how.ends_long.contains(&name) {
            return Script::None;
        }
        let short_injects = how.injects.iter().any(|i| i.len() == 2 && arg.starts_with(i));
        if how.injects.contains(&name) || short_injects {
            injected = true;
            if !attached && how.injects.contains(&arg) && arg != "-M" {
                args.next();
            }
            continue;
        }
        if arg.starts_with("--") {
            if how.value_long.contains(&name) && !attached {
                args.next();
            }
            continue;
        }
        let cluster = &arg[1..];
        for (at, c) in cluster.char_indices() {
            if how.ends_short.contains(c) {
                return Script::None;
            }
            if how.value_short.contains(c) {
                if at + c.len_utf8() == cluster.len() {
                    args.next();
                }
                break;
            }
            if !how.clusters {
                break;
            }
        }
    }
    Script::None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::actor::Trust;

    fn image_of_nothing<'a>() -> Image<'a> {
        Image {
            exe: None,
            given: None,
            argv: &[],
            argv_truncated: false,
            cwd: None,
            trust: Trust::Trusted,
            pin: crate::profile::actor::Pin::None,
        }
    }

    fn script(argv: &[&str]) -> Option<(String, bool)> {
        let argv: Vec<Arc<str>> = argv.iter().map(|s| Arc::from(*s)).collect();
        let exe = format!("/usr/bin/{}", &*argv[0]);
        let image = Image { exe: Some(&exe), argv: &argv, ..image_of_nothing() };
        match script_of(&image) {
            Script::None => None,
            Script::File { path, injected } => Some((path.to_owned(), injected)),
        }
    }

    #[test]
    fn script_is_the_first_argument_that_is_not_an_option() {
        let n8n = Some(("/usr/local/bin/n8n".to_owned(), false));
        assert_eq!(script(&["node", "/usr/local/bin/n8n", "start"]), n8n);
        assert_eq!(script(&["node", "--disable-proto=delete", "/usr/local/bin/n8n"]), n8n);
        assert_eq!(script(&["python3.11", "-I", "-X", "dev", "/usr/local/bin/n8n"]), n8n);
        assert_eq!(script(&["bash", "-o", "pipefail", "-e", "/usr/local/bin/n8n"]), n8n);
        assert_eq!(script(&["node", "--", "/usr/local/bin/n8n"]), n8n);
    }

    #[test]
    fn code_on_the_command_line_has_no_script_whatever_follows() {
        for argv in [
            &["node", "-e", "x", "/usr/local/bin/n8n"][..],
            &["node", "--eval=x", "/usr/local/bin/n8n"],
            &["python3", "-Ic", "x", "/usr/local/bin/n8n"],
            &["python3", "-m", "src.main"],
            &["sh", "-ec", "x", "/usr/local/bin/n8n"],
            &["perl", "-we", "x", "/usr/local/bin/n8n"],
            &["node", "-", "/usr/local/bin/n8n"],
            &["node"],
        ] {
            assert_eq!(script(argv), None, "{argv:?}");
        }
    }

    #[test]
    fn code_loaded_before_the_script_is_told() {
        for argv in [
            &["node", "-r", "/tmp/x.js", "/s"][..],
            &["node", "--require=/tmp/x.js", "/s"],
            &["node", "--import", "/tmp/x.mjs", "/s"],
            &["perl", "-Mevil", "/s"],
        ] {
            assert_eq!(script(argv), Some(("/s".to_owned(), true)), "{argv:?}");
        }
    }

    #[test]
    fn busybox_is_the_applet_it_is_called_by() {
        let script = |argv: &[&str]| {
            let argv: Vec<Arc<str>> = argv.iter().map(|s| Arc::from(*s)).collect();
            let image = Image { exe: Some("/bin/busybox"), argv: &argv, ..image_of_nothing() };
            match script_of(&image) {
                Script::None => None,
                Script::File { path, .. } => Some(path.to_owned()),
            }
        };
        assert_eq!(script(&["/bin/sh", "/x.sh", "a"]).as_deref(), Some("/x.sh"));
        assert_eq!(script(&["ash", "-e", "/x.sh"]).as_deref(), Some("/x.sh"));
        assert_eq!(script(&["busybox", "sh", "/x.sh"]).as_deref(), Some("/x.sh"));
        assert_eq!(script(&["sh", "-c", "id"]), None);
        assert_eq!(script(&["cat", "/x.sh"]), None);
        assert_eq!(script(&["busybox"]), None);
        assert_eq!(script(&[]), None);
    }

    #[test]
    fn a_program_that_is_no_interpreter_has_no_script() {
        assert_eq!(script(&["cat", "/usr/local/bin/n8n"]), None);
    }

    #[test]
    fn absolute_paths_are_made_with_the_working_directory() {
        assert_eq!(absolute("/a/b", None).as_deref(), Some("/a/b"));
        assert_eq!(absolute("../x/./y", Some("/a/b")).as_deref(), Some("/a/x/y"));
        assert_eq!(absolute("/a/../../b", None).as_deref(), Some("/b"));
        assert_eq!(absolute("x", None), None);
    }

    #[test]
    fn program_patterns_without_a_slash_match_the_file_name() {
        let programs = Programs::new([&"python3*".to_owned(), &"/opt/*/run".to_owned()]).unwrap();
        assert!(programs.matches("/usr/bin/python3.11"));
        assert!(programs.matches("/opt/x/run"));
        assert!(!programs.matches("/srv/run"));
        assert!(!programs.matches("/usr/bin/python2"));
    }
}
