//! The archive that a Java machine runs.

use std::sync::Arc;

use super::{Before, Script};

/// Options of `java` that take the next argument.
const JAVA_VALUES: [&str; 14] = [
    "-cp",
    "-classpath",
    "--class-path",
    "-p",
    "--module-path",
    "--upgrade-module-path",
    "--patch-module",
    "--add-modules",
    "--limit-modules",
    "--add-reads",
    "--add-exports",
    "--add-opens",
    "--enable-native-access",
    "--illegal-native-access",
];
/// What options of `java` begin with that load code into the machine beside the program, or in its place.
const JAVA_AGENTS: [&str; 12] = [
    "-javaagent:",
    "-agentpath:",
    "-agentlib:",
    "-Xrun",
    "-Xbootclasspath",
    "-XX:Flags=",
    "-XX:VMOptionsFile=",
    "-Djava.system.class.loader=",
    "-Djava.ext.dirs=",
    "-Djava.endorsed.dirs=",
    "--patch-module",
    "--upgrade-module-path",
];

/// The archive that `java -jar` runs. A main class or module has none, whatever its own arguments say; nor has one whose
/// options stand in a file.
pub(super) fn jar_in(argv: &[Arc<str>]) -> Script<'_> {
    let mut before = Before::Nothing;
    let mut args = argv.iter().skip(1);
    while let Some(arg) = args.next() {
        let arg: &str = arg;
        if JAVA_AGENTS.iter().any(|begin| arg.starts_with(begin)) {
            before = Before::Agent;
        }
        match arg {
            "-jar" => return args.next().map_or(Script::None, |path| Script::File { path, before }),
            "-m" | "--module" => return Script::None,
            _ if JAVA_VALUES.contains(&arg) => {
                args.next();
            }
            _ if !arg.starts_with('-') => return Script::None,
            _ => {}
        }
    }
    Script::None
}
