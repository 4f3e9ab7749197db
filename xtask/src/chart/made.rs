//! The files of the chart that are made from others. Helm packages take nothing from outside the chart's folder and no links, so what a
//! release needs of the rest of the repository is copied into it, and held against the original.

use super::{folder, readme, schema};
use crate::host;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Folders whose files are copied as they are: where from, where to, how their names end and do not end.
const COPIED: [(&str, &str, &str, &str); 2] = [
    ("deploy/prometheus", "files/prometheus", ".yaml", ".test.yaml"),
    ("deploy/grafana", "files/grafana", ".json", "\0"),
];

/// A file and what it should hold.
struct Made {
    path: PathBuf,
    text: String,
}

/// Writes those that are not as they should be and removes what has no original, and says which.
pub(super) fn write() -> Result<Vec<PathBuf>> {
    let (wanted, orphans) = (all()?, orphans()?);
    let mut written = Vec::new();
    for file in wanted {
        if std::fs::read_to_string(&file.path).is_ok_and(|text| text == file.text) {
            continue;
        }
        if let Some(parent) = file.path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        std::fs::write(&file.path, file.text)
            .with_context(|| format!("cannot write {}", file.path.display()))?;
        written.push(file.path);
    }
    for path in orphans {
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

/// One line for each that is not as it should be.
pub(super) fn stale() -> Result<Vec<String>> {
    let repo = host::repo()?;
    let shown = |path: &Path| path.strip_prefix(&repo).unwrap_or(path).display().to_string();
    let mut lines = Vec::new();
    for file in all()? {
        match std::fs::read_to_string(&file.path) {
            Ok(text) if text == file.text => {}
            Ok(_) => lines.push(format!("{} is not what its sources say", shown(&file.path))),
            Err(error) => lines.push(format!("{}: {error}", shown(&file.path))),
        }
    }
    lines.extend(orphans()?.iter().map(|path| format!("{} is a copy of nothing", shown(path))));
    Ok(lines)
}

fn all() -> Result<Vec<Made>> {
    let (repo, chart) = (host::repo()?, folder()?);
    let read = |path: PathBuf| -> Result<String> {
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let mut files = vec![
        Made { path: chart.join("README.md"), text: readme::text(&read(chart.join("values.yaml"))?) },
        Made {
            path: chart.join("values.schema.json"),
            text: schema::text(&read(repo.join("rules/schema/config.json"))?)?,
        },
    ];
    for (from, to, wanted, not) in COPIED {
        for path in listed(&repo.join(from), wanted, not)? {
            let name = path.file_name().unwrap_or_default().to_owned();
            files.push(Made { path: chart.join(to).join(name), text: read(path)? });
        }
    }
    Ok(files)
}

/// Copies whose originals are gone.
fn orphans() -> Result<Vec<PathBuf>> {
    let (repo, chart) = (host::repo()?, folder()?);
    let mut found = Vec::new();
    for (from, to, wanted, not) in COPIED {
        let copies = listed(&chart.join(to), wanted, not)?;
        found.extend(
            copies
                .into_iter()
                .filter(|copy| copy.file_name().is_some_and(|name| !repo.join(from).join(name).exists())),
        );
    }
    Ok(found)
}

/// Files of a folder by the end of their names, sorted; a folder that is not there has none.
fn listed(folder: &Path, wanted: &str, not: &str) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(wanted) && !name.ends_with(not)
        })
        .collect();
    files.sort();
    Ok(files)
}
