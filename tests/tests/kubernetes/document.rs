//! What docs/install-kubernetes.md has a person type once the chart is installed, word for word.

use std::fs;
use std::os::unix::fs::symlink;

use super::release::{Release, given, said};

impl Release<'_> {
    /// Executes the commands that need a node, in their order; each with what it said.
    pub(crate) fn by_the_document(&self) -> Vec<(String, String)> {
        let programs = self.node.path("typed");
        fs::create_dir_all(&programs).unwrap();
        symlink(given("SANDWATCH_HELM"), programs.join("helm")).unwrap();
        symlink(self.node.programs.join("kubectl"), programs.join("kubectl")).unwrap();
        let commands = given("SANDWATCH_COMMANDS").into_os_string().into_string().unwrap();
        let execute = |text: &str| {
            let mut command = self.node.inside("/bin/sh");
            self.environment(&mut command);
            command.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
            let output = command.args(["-e", "-c", text]).output().unwrap();
            // The doctor ends with 1 where something is not seen.
            let good = output.status.success() || text.ends_with(" sandwatch doctor");
            assert!(good, "{text}: {}", said(&output));
            (text.to_owned(), said(&output))
        };
        commands.lines().map(execute).collect()
    }
}
