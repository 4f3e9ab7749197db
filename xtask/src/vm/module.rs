//! Kernel modules for the initramfs: found in the package, dependencies first, decompressed.
//!
//! The packages carry no modules.dep (it is made at installation), so dependencies come from the modules'
//! own `.modinfo`.

use crate::host::{Package, ensure};
use anyhow::{Context, Result, anyhow, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A module ready to be loaded with `insmod`.
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
}

/// The named modules and what they need, in loading order. A name that is no module of this kernel is
/// taken to be built in.
pub(crate) fn with_dependencies(modules: &Path, names: &[String]) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    index(modules, &mut files)?;
    let mut ordered = Vec::new();
    for name in names {
        add(&normal(name), &files, &mut ordered, 0)?;
    }
    Ok(ordered)
}

fn add(name: &str, files: &BTreeMap<String, PathBuf>, ordered: &mut Vec<Module>, depth: u8) -> Result<()> {
    if depth > 16 {
        bail!("module {name}: dependencies too deep");
    }
    let Some(file) = files.get(name) else { return Ok(()) };
    if ordered.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let content = read(file)?;
    for dependency in dependencies(&content) {
        add(&normal(&dependency), files, ordered, depth + 1)?;
    }
    ordered.push(Module { name: name.to_owned(), content });
    Ok(())
}

fn index(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            index(&path, files)?;
        } else if let Some(name) = path.file_name().and_then(|n| n.to_str())
            && let Some((stem, _)) = name.split_once(".ko")
        {
            files.insert(normal(stem), path.clone());
        }
    }
    Ok(())
}

fn normal(name: &str) -> String {
    name.replace('-', "_")
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let name = file.to_string_lossy();
    let tool = if name.ends_with(".xz") {
        ensure(&[Package { name: "xz-utils", proof: "/usr/bin/xz" }])?;
        "xz"
    } else if name.ends_with(".zst") {
        ensure(&[Package { name: "zstd", proof: "/usr/bin/zstd" }])?;
        "zstd"
    } else if name.ends_with(".ko") {
        return std::fs::read(file).with_context(|| format!("cannot read {name}"));
    } else {
        return Err(anyhow!("{name}: unknown compression"));
    };
    let output = Command::new(tool).arg("-dc").arg(file).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{tool} cannot unpack {name}");
    }
    Ok(output.stdout)
}

fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = &module[start + KEY.len()..];
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::dependencies;

    #[test]
    fn dependencies_are_read_from_modinfo() {
        assert_eq!(dependencies(b"x\0license=GPL\0depends=a,b_c\0name=y\0"), ["a", "b_c"]);
        assert!(dependencies(b"\0depends=\0").is_empty());
        assert!(dependencies(b"nothing").is_empty());
    }
}
