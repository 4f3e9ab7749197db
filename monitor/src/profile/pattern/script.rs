//! The script that an interpreter runs, as its arguments say: a file, a module of Python, an archive of Java.

mod java;

use std::sync::Arc;

use super::glob::{GlobError, Globs};
use super::program::base;
use crate::profile::actor::Image;

/// The script of an interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script<'a> {
    /// Not an interpreter that is known here, or none is given (code on the command line, standard input).
    None,
    /// This argument, and what is loaded before it.
    File { path: &'a str, before: Before },
    /// Python's `-m`.
    Module(&'a str),
}

/// What an interpreter's options load before the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing.
    Nothing,
    /// Other code, or variables that load it (`node --require`, `node --env-file`, `perl -M`).
    Code,
    /// An agent of a Java machine (`-javaagent`), as sites use them for their own monitoring.
    Agent,
}

/// Script patterns: path globs, and `-m NAME` for a module that Python runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scripts {
    files: Globs,
    modules: Globs,
}

/// What a pattern for a module begins with.
const MODULE: &str = "-m ";

impl Scripts {
    /// Compiles patterns with braces.
    pub(crate) fn new<'a>(patterns: impl IntoIterator<Item = &'a String>) -> Result<Self, GlobError> {
        let (modules, files): (Vec<&String>, Vec<&String>) =
            patterns.into_iter().partition(|pattern| pattern.starts_with(MODULE));
        let modules: Vec<String> =
            modules.into_iter().map(|pattern| pattern[MODULE.len()..].to_owned()).collect();
        Ok(Self { files: Globs::paths(files)?, modules: Globs::flat(&modules)? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.modules.is_empty()
    }

    /// Whether a script at this absolute path is one of them.
    pub(crate) fn file(&self, path: &str) -> bool {
        self.files.matches(path)
    }

    /// Whether a module of this name is one of them.
    pub(crate) fn module(&self, name: &str) -> bool {
        self.modules.matches(name)
    }
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
    /// Options that load other code, or variables that do; they also take a value (attached, after `=`, or the next
    /// argument).
    injects: &'static [&'static str],
    /// The short option that runs a module, also within a cluster (`-Im`).
    module: Option<char>,
    /// Whether short options may be clustered.
    clusters: bool,
}

const NODE: Interpreter = Interpreter {
    ends_short: "ep",
    ends_long: &["--eval", "--print", "-pe", "--test", "--run"],
    value_short: "C",
    value_long: &["--conditions", "--title", "--icu-data-dir", "--inspect-port"],
    injects: &[
        "-r",
        "--require",
        "--import",
        "--loader",
        "--experimental-loader",
        "--env-file",
        "--env-file-if-exists",
        "--experimental-config-file",
        "--openssl-config",
        "--snapshot-blob",
    ],
    module: None,
    clusters: false,
};
const PYTHON: Interpreter = Interpreter {
    ends_short: "c",
    ends_long: &[],
    value_short: "WX",
    value_long: &["--check-hash-based-pycs"],
    injects: &[],
    module: Some('m'),
    clusters: true,
};
const SHELL: Interpreter = Interpreter {
    ends_short: "cs",
    ends_long: &[],
    value_short: "oO",
    value_long: &["--rcfile", "--init-file"],
    injects: &["--rcfile", "--init-file"],
    module: None,
    clusters: true,
};
const PERL: Interpreter = Interpreter {
    ends_short: "eE",
    ends_long: &[],
    value_short: "I",
    value_long: &[],
    injects: &["-M", "-m", "-d"],
    module: None,
    clusters: true,
};
const RUBY: Interpreter = Interpreter {
    ends_short: "e",
    ends_long: &[],
    value_short: "ICE",
    value_long: &[],
    injects: &["-r", "--require"],
    module: None,
    clusters: true,
};
const PHP: Interpreter = Interpreter {
    ends_short: "rBRE",
    ends_long: &["--run"],
    value_short: "cdz",
    value_long: &["--define", "--php-ini"],
    injects: &[],
    module: None,
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
    if names().any(|name| name == "java") {
        return java::jar_in(image.argv);
    }
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
    let mut before = Before::Nothing;
    let mut args = argv.iter().skip(1);
    while let Some(arg) = args.next() {
        let arg: &str = arg;
        if arg == "--" {
            return args.next().map_or(Script::None, |path| Script::File { path, before });
        }
        if arg == "-" {
            return Script::None;
        }
        if !(arg.starts_with('-') || arg.starts_with('+')) {
            return Script::File { path: arg, before };
        }
        let (name, attached) = arg.split_once('=').map_or((arg, false), |(n, _)| (n, true));
        if is_one_of(how.ends_long, name) {
            return Script::None;
        }
        let short_injects = how.injects.iter().any(|i| i.len() == 2 && arg.starts_with(i));
        if is_one_of(how.injects, name) || short_injects {
            before = Before::Code;
            if !attached && is_one_of(how.injects, arg) && arg != "-M" {
                args.next();
            }
            continue;
        }
        if arg.starts_with("--") {
            if is_one_of(how.value_long, name) && !attached {
                args.next();
            }
            continue;
        }
        let cluster = &arg[1..];
        for (at, c) in cluster.char_indices() {
            let rest = &cluster[at + c.len_utf8()..];
            if how.ends_short.contains(c) {
                return Script::None;
            }
            if how.module == Some(c) {
                let name = if rest.is_empty() { args.next().map(|name| &**name) } else { Some(rest) };
                return name.map_or(Script::None, Script::Module);
            }
            if how.value_short.contains(c) {
                if rest.is_empty() {
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

/// Whether a long option is in a list; Node takes `_` for `-`.
fn is_one_of(options: &[&str], name: &str) -> bool {
    let dash = |b: u8| if b == b'_' { b'-' } else { b };
    options.iter().any(|option| option.len() == name.len() && option.bytes().eq(name.bytes().map(dash)))
}

#[cfg(test)]
mod tests;
