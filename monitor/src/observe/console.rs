//! Lines to standard output and standard error for people. A reader who has gone (`sandwatch doctor | head -1`) is no
//! reason to panic, which is what the standard macros do.

use std::io::{self, Write};

/// A line to standard output.
pub fn say(text: &str) {
    // Nobody is left to be told of an error.
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// A line to standard error.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
