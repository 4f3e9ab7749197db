//! Lists the rule files for `lib.rs` to include.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Not rules: tests of rules, generated schemas, this package.
const LEFT_OUT: [&str; 3] = ["tests", "schema", "embed"];

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let rules = here.parent().unwrap_or(&here);
    let mut files = Vec::new();
    collect(rules, rules, &mut files)?;
    files.sort();
    let mut list = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(rules).unwrap_or(file);
        let _ = writeln!(list, "({:?}, include_str!({:?})),", name.to_string_lossy(), file.to_string_lossy());
    }
    list.push(']');
    fs::write(Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join("files.rs"), list)
}

fn collect(top: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !(folder == top && LEFT_OUT.contains(&name)) {
                collect(top, &path, files)?;
            }
        } else if name.ends_with(".yaml") {
            println!("cargo::rerun-if-changed={}", path.display());
            files.push(path);
        }
    }
    Ok(())
}
