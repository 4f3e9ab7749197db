//! Reading rule files: which files there are, that nobody else can write them, and their text as documents.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::profile::doc::{Detections, Endpoints, Exceptions, Identities, Postures, ProfileDoc, schema_name};
use crate::profile::error::{RuleError, suggest};
use crate::profile::ruleset::Source;

/// Folders below a rules folder that hold no rules.
const NOT_RULES: [&str; 2] = ["tests", "schema"];
/// Largest rule file, bytes.
const FILE_MAX: u64 = 4 << 20;

/// A rule file as a document.
#[derive(Debug)]
pub(super) enum Document {
    /// A profile.
    Profile(Box<ProfileDoc>),
    /// Detections.
    Detections(Detections),
    /// Identities.
    Identities(Identities),
    /// Endpoints.
    Endpoints(Endpoints),
    /// Exceptions.
    Exceptions(Exceptions),
    /// Postures.
    Postures(Postures),
}

/// Every rule file below the folders.
pub(super) fn read_folders<P: AsRef<Path>>(folders: &[P]) -> Result<Vec<Source>, Vec<RuleError>> {
    let mut sources = Vec::new();
    let mut errors = Vec::new();
    for (layer, folder) in folders.iter().enumerate() {
        let folder = folder.as_ref();
        let mut files = Vec::new();
        if let Err(e) = walk(folder, &mut files) {
            errors.push(e);
            continue;
        }
        files.sort();
        for path in files {
            let file: Arc<str> = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into();
            match read_file(&path) {
                Ok(text) => sources.push(Source { file, text, layer }),
                Err(e) => errors.push(e),
            }
        }
    }
    if errors.is_empty() { Ok(sources) } else { Err(errors) }
}

/// The rule files below a folder; `None` if it cannot be read.
pub(crate) fn rule_files(folder: &Path) -> Option<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    walk(folder, &mut files).ok()?;
    Some(files)
}

fn file_error(path: &Path, what: impl Into<String>, fix: impl Into<String>) -> RuleError {
    RuleError { file: path.to_string_lossy().into(), line: 0, column: 0, what: what.into(), fix: fix.into() }
}

fn walk(folder: &Path, out: &mut Vec<std::path::PathBuf>) -> Result<(), RuleError> {
    let failed = |e: std::io::Error| {
        file_error(
            folder,
            format!("cannot read the rules folder: {e}"),
            "check `rules:` in the configuration and the folder's permissions",
        )
    };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            if !NOT_RULES.contains(&&*name) {
                walk(&path, out)?;
            }
        } else if name.ends_with(".yaml") || name.ends_with(".yml") {
            out.push(path);
        }
    }
    Ok(())
}

/// The text of a rule file (or rule test) that others cannot write.
pub(crate) fn read_file(path: &Path) -> Result<String, RuleError> {
    let failed = |e: std::io::Error| {
        file_error(path, format!("cannot read it: {e}"), "check the file and its permissions")
    };
    let meta = fs::metadata(path).map_err(failed)?;
    if meta.mode() & 0o002 != 0 {
        return Err(file_error(
            path,
            "it is writable by everyone, so anyone could change the rules",
            "chmod o-w the file",
        ));
    }
    if meta.len() > FILE_MAX {
        return Err(file_error(path, format!("it is larger than {FILE_MAX} bytes"), "split it"));
    }
    let bytes = fs::read(path).map_err(failed)?;
    String::from_utf8(bytes).map_err(|_| file_error(path, "it is not UTF-8", "save it as UTF-8"))
}

#[derive(Deserialize)]
struct Header {
    schema: Option<String>,
}

/// The document in a source.
pub(super) fn parse(source: &Source) -> Result<Document, RuleError> {
    let at =
        |what: String, fix: String| RuleError { file: source.file.clone(), line: 1, column: 1, what, fix };
    let header: Header = parse_yaml(&source.file, &source.text)?;
    let names = || schema_name::ALL.map(|n| format!("`schema: {n}`")).join(", ");
    let Some(schema) = header.schema else {
        return Err(at(
            "the key `schema` is missing".into(),
            format!("begin the file with one of {}", names()),
        ));
    };
    match schema.as_str() {
        schema_name::PROFILE => parse_yaml(&source.file, &source.text).map(Document::Profile),
        schema_name::DETECTIONS => parse_yaml(&source.file, &source.text).map(Document::Detections),
        schema_name::IDENTITIES => parse_yaml(&source.file, &source.text).map(Document::Identities),
        schema_name::ENDPOINTS => parse_yaml(&source.file, &source.text).map(Document::Endpoints),
        schema_name::EXCEPTIONS => parse_yaml(&source.file, &source.text).map(Document::Exceptions),
        schema_name::POSTURE => parse_yaml(&source.file, &source.text).map(Document::Postures),
        schema_name::RULE_TEST => {
            Err(at("rule tests belong below `tests/`".into(), "move the file there".into()))
        }
        other => Err(at(format!("unknown schema `{other}`"), suggest(other, schema_name::ALL))),
    }
}

/// One YAML document; an error names place, what, and the nearest valid key.
pub(crate) fn parse_yaml<T: DeserializeOwned>(file: &Arc<str>, text: &str) -> Result<T, RuleError> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| yaml_error(file, e.without_snippet()))
}

fn yaml_error(file: &Arc<str>, error: &serde_saphyr::Error) -> RuleError {
    use serde_saphyr::Error as E;
    let (what, fix) = match error {
        E::SerdeUnknownField { field, expected, .. } => {
            (format!("unknown key `{field}`"), suggest(field, expected.iter().copied()))
        }
        E::SerdeUnknownVariant { variant, expected, .. } => {
            (format!("unknown word `{variant}`"), suggest(variant, expected.iter().copied()))
        }
        E::SerdeMissingField { field, .. } => {
            (format!("the key `{field}` is missing"), format!("add `{field}:`"))
        }
        E::DuplicateMappingKey { key: Some(key), .. } => {
            (format!("the key `{key}` is there twice"), "keep one of them".to_owned())
        }
        E::MultipleDocuments { .. } => (
            "there is more than one document in the file".to_owned(),
            "put each into a file of its own".to_owned(),
        ),
        // The rendered text begins with the place, which the error has already.
        other => {
            let text = other.to_string();
            let text = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            (text.to_owned(), String::new())
        }
    };
    let place = error.location();
    let clamp = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    RuleError {
        file: file.clone(),
        line: place.map_or(0, |p| clamp(p.line())),
        column: place.map_or(0, |p| clamp(p.column())),
        what,
        fix,
    }
}
