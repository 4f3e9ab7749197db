//! What the chart renders differently for one version of Kubernetes and another.

use super::Tools;
use super::checks::{pod, same, write};
use super::render;
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::path::Path;

/// AppArmor profiles became a field.
pub(super) fn app_armor(tools: &Tools) -> Result<()> {
    let field = |pod: &Value| pod["containers"][0]["securityContext"]["appArmorProfile"].clone();
    same("1.30", &field(&pod(tools, "default", "1.30")?), &json!({ "type": "Unconfined" }))?;
    same("1.29", &field(&pod(tools, "default", "1.29")?), &Value::Null)?;
    let objects = render::objects(&render::text(tools, &render::values("default")?, "1.29")?)?;
    let notes = &render::only(&objects, "DaemonSet")?["spec"]["template"]["metadata"]["annotations"];
    same("1.29", &notes["container.apparmor.security.beta.kubernetes.io/sandwatch"], &json!("unconfined"))
}

/// The value says what the cluster, or Helm's own idea of one, does not.
pub(super) fn value(tools: &Tools, work: &Path) -> Result<()> {
    let of = |value: &str, cluster: &str| -> Result<bool> {
        let path = write(work, "kube-version.yaml", &format!("kubeVersion: {value}\n"))?;
        let objects = render::objects(&render::text(tools, &path, cluster)?)?;
        let pod = &render::only(&objects, "DaemonSet")?["spec"]["template"]["spec"];
        Ok(!pod["containers"][0]["securityContext"]["appArmorProfile"].is_null())
    };
    for (value, cluster, expected) in [
        ("\"1.29\"", "1.37", false),
        ("v1.29.4-gke.100", "1.37", false),
        ("\"1.31\"", "1.25", true),
        ("\"\"", "1.37", true),
        ("\"\"", "1.29", false),
    ] {
        let field = of(value, cluster)?;
        ensure!(field == expected, "kubeVersion {value} on {cluster}: AppArmor as a field is {field}");
    }
    let path = write(work, "kube-version.yaml", "kubeVersion: \"1.32\"\n")?;
    ensure!(render::notes(tools, &path)?.contains("(this is 1.32)"), "the notes are about another version");
    Ok(())
}
