//! What is inside, as CycloneDX 1.5: every crate that is linked into the program, with its version, licence and hash, from Cargo.lock.

use super::program::Architecture;
use crate::host;
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// Null is a normal one; others are for building and for tests.
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// The document.
pub(super) fn text(architecture: Architecture) -> Result<String> {
    let repo = host::repo()?;
    let metadata = host::capture(
        Command::new("cargo")
            .args([
                "metadata",
                "--format-version=1",
                "--locked",
                "--filter-platform",
                architecture.target(),
                "--manifest-path",
            ])
            .arg(repo.join("monitor/Cargo.toml"))
            .current_dir(&repo),
    )?;
    let lock = std::fs::read_to_string(repo.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    document(&metadata, &lock)
}

fn document(metadata: &str, lock: &str) -> Result<String> {
    let metadata: Metadata = serde_json::from_str(metadata).context("cargo's metadata has changed")?;
    let lock: Lock = toml::from_str(lock).context("Cargo.lock has changed")?;
    let hashes: BTreeMap<(&str, &str), &str> = lock
        .package
        .iter()
        .filter_map(|p| Some(((p.name.as_str(), p.version.as_str()), p.checksum.as_deref()?)))
        .collect();
    let packages: BTreeMap<&str, &Package> = metadata.packages.iter().map(|p| (p.id.as_str(), p)).collect();
    let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|n| (n.id.as_str(), n)).collect();
    let root =
        metadata.packages.iter().find(|p| p.name == "monitor").context("cargo knows no package monitor")?;
    let linked = |id: &str| -> Vec<&str> {
        let node = nodes.get(id);
        let normal =
            node.into_iter().flat_map(|n| &n.deps).filter(|d| d.dep_kinds.iter().any(|k| k.kind.is_none()));
        normal.map(|d| d.pkg.as_str()).collect()
    };
    let mut seen = BTreeSet::from([root.id.as_str()]);
    let mut queue = vec![root.id.as_str()];
    while let Some(id) = queue.pop() {
        queue.extend(linked(id).into_iter().filter(|next| seen.insert(next)));
    }
    let reference = |id: &str| packages.get(id).map(|p| purl(p)).unwrap_or_default();
    let mut components = BTreeMap::new();
    let mut dependencies = BTreeMap::new();
    for id in &seen {
        let package = packages.get(id).with_context(|| format!("cargo does not describe {id}"))?;
        let mut on: Vec<String> = linked(id).into_iter().map(reference).collect();
        on.sort();
        on.dedup();
        dependencies.insert(purl(package), json!({ "ref": purl(package), "dependsOn": on }));
        if *id != root.id {
            components.insert(
                purl(package),
                component(package, hashes.get(&(package.name.as_str(), package.version.as_str())).copied()),
            );
        }
    }
    let document = json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": { "component": {
            "type": "application", "name": "sandwatch", "version": root.version, "bom-ref": purl(root),
            "licenses": [{ "expression": "MIT OR Apache-2.0" }],
        } },
        "components": components.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies.into_values().collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn purl(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

fn component(package: &Package, hash: Option<&str>) -> Value {
    let mut component = json!({
        "type": "library", "name": package.name, "version": package.version, "bom-ref": purl(package), "purl": purl(package),
    });
    if let Some(license) = &package.license {
        // Old manifests separate with a slash, which is no SPDX expression.
        component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
    }
    if package.source.is_some()
        && let Some(hash) = hash
    {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": hash }]);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::document;

    #[test]
    fn what_is_only_for_building_and_tests_is_left_out() {
        let metadata = r#"{ "packages": [
            { "id": "m", "name": "monitor", "version": "1.0.0", "license": "MIT", "source": null },
            { "id": "a", "name": "a", "version": "2.0.0", "license": "MIT/Apache-2.0", "source": "registry" },
            { "id": "b", "name": "b", "version": "3.0.0", "license": null, "source": "registry" } ],
          "resolve": { "nodes": [
            { "id": "m", "deps": [ { "pkg": "a", "dep_kinds": [ { "kind": null } ] }, { "pkg": "b", "dep_kinds": [ { "kind": "dev" } ] } ] },
            { "id": "a", "deps": [] }, { "id": "b", "deps": [] } ] } }"#;
        let lock = "[[package]]\nname = \"a\"\nversion = \"2.0.0\"\nchecksum = \"ff\"\n";
        let document: serde_json::Value = serde_json::from_str(&document(metadata, lock).unwrap()).unwrap();
        let components = document["components"].as_array().unwrap();
        assert_eq!(components.len(), 1);
        assert_eq!(components[0]["purl"], "pkg:cargo/a@2.0.0");
        assert_eq!(components[0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(components[0]["hashes"][0]["content"], "ff");
    }
}
