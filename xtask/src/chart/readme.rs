//! The chart's README: what values.yaml says about each value, as a table.

/// What stands above the table.
const HEAD: &str = "# The Helm chart of sandwatch

A DaemonSet that watches the workflow workers of each node, and what belongs to it. How to install it step by step, and what to look at
afterwards: [install-kubernetes.md](../../../docs/install-kubernetes.md).

```console
$ helm install sandwatch deploy/helm/sandwatch --namespace sandwatch --create-namespace --values my-values.yaml
$ helm test sandwatch --namespace sandwatch
```

Values are checked before anything is installed (`values.schema.json`), the agent's own configuration among them.

<!-- Made from values.yaml by `cargo xtask chart --write`. -->

| value | is | default |
|---|---|---|
";

/// A value with its description.
#[derive(Debug, PartialEq, Eq)]
struct Value {
    path: String,
    about: String,
    default: String,
}

/// The whole file.
pub(super) fn text(values: &str) -> String {
    let mut text = HEAD.to_owned();
    for value in read(values) {
        let default = if value.default.is_empty() {
            "see values.yaml".to_owned()
        } else {
            format!("`{}`", value.default)
        };
        text.push_str(&format!("| `{}` | {} | {default} |\n", value.path, value.about.replace('|', "\\|")));
    }
    text
}

/// Walks the lines: a comment that begins with `-- ` is about the next key, whose path is made of the keys above it that are less indented.
fn read(values: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut above: Vec<(usize, &str)> = Vec::new();
    let mut about: Option<String> = None;
    for line in values.lines() {
        let rest = line.trim_start();
        let indent = line.len() - rest.len();
        if let Some(comment) = rest.strip_prefix('#') {
            let comment = comment.trim();
            match (comment.strip_prefix("-- "), about.as_mut()) {
                (Some(first), _) => about = Some(first.to_owned()),
                (None, Some(so_far)) => {
                    so_far.push(' ');
                    so_far.push_str(comment);
                }
                (None, None) => {}
            }
            continue;
        }
        let Some((key, default)) = rest.split_once(':').filter(|(key, _)| is_key(key)) else {
            about = None;
            continue;
        };
        above.retain(|(other, _)| *other < indent);
        above.push((indent, key));
        if let Some(about) = about.take() {
            let path = above.iter().map(|(_, key)| *key).collect::<Vec<_>>().join(".");
            found.push(Value { path, about, default: default.trim().to_owned() });
        }
    }
    found
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::{Value, read};

    fn value(path: &str, about: &str, default: &str) -> Value {
        Value { path: path.to_owned(), about: about.to_owned(), default: default.to_owned() }
    }

    #[test]
    fn values_are_found_with_their_path_description_and_default() {
        let text = "# a remark\nimage:\n  # -- Where it is\n  # pulled from.\n  registry: ghcr.io\n  other: x\n# -- Lists.\nsinks:\n  - { name: a }\n\
                    a:\n  b:\n    # -- Deep.\n    c: {}\n";
        let expected = [
            value("image.registry", "Where it is pulled from.", "ghcr.io"),
            value("sinks", "Lists.", ""),
            value("a.b.c", "Deep.", "{}"),
        ];
        assert_eq!(read(text), expected);
    }
}
