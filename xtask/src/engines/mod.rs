//! Real workflow engines for the tests, installed from their package registries into the cache.
//!
//! A recipe is a folder of `tests/engines/`: what is wanted (`requirements.in`, `package.json`) and the lock file with the
//! exact versions and hashes of everything that comes with it. The place of an installation carries the recipe's hash, so a
//! changed lock is another installation. What a broken installation left is removed; a finished one has a stamp.

mod install;

use crate::host::{self, Package};
use anyhow::{Context, Result};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Where an engine comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Registry {
    /// `package-lock.json`.
    Npm,
    /// `requirements.lock`, with hashes.
    Pypi,
}

/// An engine, or something else that tests talk to, that can be installed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Engine {
    /// Where its recipe's folder is below `tests/`, and its place in the cache.
    pub(crate) shelf: &'static str,
    /// Name of its recipe's folder.
    pub(crate) name: &'static str,
    /// Environment variable that names its folder to the tests.
    pub(crate) variable: &'static str,
    pub(crate) registry: Registry,
}

/// All engines, the quickest first.
pub(crate) const ENGINES: [Engine; 4] = [
    Engine {
        shelf: "engines",
        name: "node-red",
        variable: "SANDWATCH_ENGINE_NODE_RED",
        registry: Registry::Npm,
    },
    Engine {
        shelf: "engines",
        name: "temporal",
        variable: "SANDWATCH_ENGINE_TEMPORAL",
        registry: Registry::Pypi,
    },
    Engine {
        shelf: "engines",
        name: "prefect",
        variable: "SANDWATCH_ENGINE_PREFECT",
        registry: Registry::Pypi,
    },
    Engine {
        shelf: "engines",
        name: "airflow",
        variable: "SANDWATCH_ENGINE_AIRFLOW",
        registry: Registry::Pypi,
    },
];

/// Debian's interpreter: a version manager's shims would start programs of their own inside the worker.
const PYTHON: &str = "/usr/bin/python3";
const NODE: &str = "/usr/bin/node";

impl Engine {
    /// Installs it, unless this very recipe is installed already, and returns its folder.
    ///
    /// # Errors
    /// A Debian package is missing and may not be installed, or the registry cannot be reached or gives something that
    /// does not have the expected hash.
    pub(crate) fn ensure(&self) -> Result<PathBuf> {
        host::ensure(match self.registry {
            Registry::Npm => {
                &[Package { name: "nodejs", proof: NODE }, Package { name: "npm", proof: "/usr/bin/npm" }]
            }
            Registry::Pypi => &[
                Package { name: "python3", proof: PYTHON },
                Package { name: "python3-venv", proof: "/usr/share/python-wheels" },
            ],
        })?;
        let recipe = host::repo()?.join("tests").join(self.shelf).join(self.name);
        let root = host::cache()?.join(self.shelf);
        std::fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        let place = root.join(format!("{}-{}", self.name, self.key(&recipe)?));
        let stamp = place.join(".complete");
        // Another run may be installing the same.
        let guard = root.join(format!("{}.lock", self.name));
        let guard = File::create(&guard).with_context(|| format!("cannot make {}", guard.display()))?;
        guard.lock().context("cannot wait for another installation")?;
        if stamp.exists() {
            return Ok(place);
        }
        if place.exists() {
            std::fs::remove_dir_all(&place)
                .with_context(|| format!("cannot remove what is left at {}", place.display()))?;
        }
        eprintln!("xtask: installing {} into {}", self.name, place.display());
        match self.registry {
            Registry::Npm => install::npm(&recipe, &place),
            Registry::Pypi => install::pypi(&recipe, &place),
        }
        .with_context(|| format!("cannot install {}", self.name))?;
        std::fs::write(&stamp, "").with_context(|| format!("cannot write {}", stamp.display()))?;
        Ok(place)
    }

    /// The first digits of a hash over the lock and the interpreter it is installed for.
    fn key(&self, recipe: &Path) -> Result<String> {
        let (lock, version) = match self.registry {
            Registry::Npm => ("package-lock.json", NODE),
            Registry::Pypi => ("requirements.lock", PYTHON),
        };
        let version = host::capture(std::process::Command::new(version).arg("--version"))?;
        let hash = host::sha256_file(&recipe.join(lock))?;
        Ok(key(&hash, &version))
    }
}

fn key(lock: &str, version: &str) -> String {
    let version: String = version.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
    let digits: String = lock.chars().take(12).collect();
    format!("{version}-{digits}")
}

#[cfg(test)]
mod tests {
    use super::{ENGINES, Registry, key};
    use crate::host;

    #[test]
    fn another_lock_or_interpreter_is_another_installation() {
        assert_eq!(key("0123456789abcdef", "Python 3.11.2\n"), "Python3.11.2-0123456789ab");
        assert_ne!(key("a", "v20.1.0"), key("a", "v22.1.0"));
        assert_ne!(key("a", "v20.1.0"), key("b", "v20.1.0"));
    }

    #[test]
    fn every_recipe_pins_versions_and_hashes() {
        for engine in ENGINES.into_iter().chain(crate::peers::FROM_PYPI).chain([crate::chart::FROM_PYPI]) {
            let recipe = host::repo().unwrap().join("tests").join(engine.shelf).join(engine.name);
            match engine.registry {
                Registry::Npm => {
                    let text = std::fs::read_to_string(recipe.join("package-lock.json")).unwrap();
                    let lock: serde_json::Value = serde_json::from_str(&text).unwrap();
                    let packages = lock["packages"].as_object().unwrap();
                    assert!(packages.len() > 1);
                    for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
                        let pinned = package["integrity"].is_string() || package["inBundle"] == true;
                        assert!(pinned, "{}: {name} has no hash", engine.name);
                    }
                }
                Registry::Pypi => {
                    let text = std::fs::read_to_string(recipe.join("requirements.lock")).unwrap();
                    let entries: Vec<&str> = text.split("\\\n").map(str::trim).collect();
                    assert!(entries.iter().any(|entry| entry.contains("==")), "{}", engine.name);
                    let packages = text.lines().filter(|line| !line.starts_with(' ')).count();
                    let hashed = text.lines().filter(|line| line.starts_with("    --hash=sha256:")).count();
                    assert!(hashed >= packages, "{}: {packages} packages, {hashed} hashes", engine.name);
                }
            }
        }
    }
}
