//! The tier `chart`: the chart rendered with several sets of values, held against Kubernetes' own schemas, against what the agent may have, and
//! against what the agent itself takes.

use super::render::{self, SETS};
use super::{Tools, kubernetes, made, scraped, tools};
use crate::build::{self, Profile};
use crate::host::{self, capture};
use crate::libtest::Skip;
use crate::setup;
use crate::test::{Outcome, PlacedSkip};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Versions of Kubernetes whose schemas the tools bring.
const VERSIONS: [&str; 13] =
    ["1.25", "1.26", "1.27", "1.28", "1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"];
/// Where what is rendered lies while it is looked at.
const WORK: &str = "chart";

/// All checks; each is counted by itself.
pub(crate) fn run() -> Result<Outcome> {
    let tools = tools()?;
    let work = host::target()?.join(WORK);
    std::fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let mut outcome = Outcome::default();
    let mut check = |name: &str, result: Result<()>| {
        outcome.add(match result {
            Ok(()) => Outcome::single(true, ""),
            Err(error) => Outcome::broken(&format!("{name}: {error:#}")),
        });
    };
    check("what is made from other files", no_lines(&made::stale()?));
    check("versions", versions());
    for set in SETS {
        check(&format!("helm lint {set}"), lint(&tools, set));
    }
    check("privileges", privileges(&tools));
    check("without NET_ADMIN", without_net_admin(&tools));
    check("AppArmor before and after 1.30", kubernetes::app_armor(&tools));
    check("another Kubernetes than the cluster's", kubernetes::value(&tools, &work));
    check("credentials", credentials(&tools));
    check("notes", notes(&tools));
    for (what, values, complaint) in REFUSED {
        check(what, refused(&tools, &work, values, complaint));
    }
    check("alert rules", alert_rules(&tools, &work));
    check("the job that is scraped", scraped::job(&tools, &work));
    check("the address that is scraped", scraped::address(&tools, &work));
    check("the agent takes the configuration", configuration(&tools, &work));
    outcome.add(schemas(&tools, &work)?);
    Ok(outcome)
}

fn no_lines(lines: &[String]) -> Result<()> {
    ensure!(lines.is_empty(), "{}; run: cargo xtask chart --write", lines.join("; "));
    Ok(())
}

/// Chart and program are released together.
fn versions() -> Result<()> {
    let chart: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(super::folder()?.join("Chart.yaml"))?)?;
    let ours = env!("CARGO_PKG_VERSION");
    ensure!(chart["version"] == ours && chart["appVersion"] == ours, "Chart.yaml is not of version {ours}");
    Ok(())
}

fn lint(tools: &Tools, set: &str) -> Result<()> {
    let mut command = tools.helm();
    command.args(["lint", "--strict"]).arg(super::folder()?).arg("--values").arg(render::values(set)?);
    capture(&mut command).map(drop)
}

/// What the agent's container and pod may do, to the letter.
fn privileges(tools: &Tools) -> Result<()> {
    let pod = pod(tools, "default", "1.37")?;
    let container = &pod["containers"][0];
    same(
        "capabilities",
        &container["securityContext"]["capabilities"],
        &json!({
            "drop": ["ALL"],
            "add": ["BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH", "NET_ADMIN"],
        }),
    )?;
    for (key, value) in [
        ("privileged", json!(false)),
        ("allowPrivilegeEscalation", json!(false)),
        ("readOnlyRootFilesystem", json!(true)),
        ("seccompProfile", json!({ "type": "RuntimeDefault" })),
    ] {
        same(key, &container["securityContext"][key], &value)?;
    }
    same("hostPID", &pod["hostPID"], &json!(true))?;
    for absent in ["hostNetwork", "hostIPC"] {
        same(absent, &pod[absent], &Value::Null)?;
    }
    same(
        "resources",
        &container["resources"],
        &json!({
            "requests": { "cpu": "20m", "memory": "64Mi" }, "limits": { "memory": "128Mi" },
        }),
    )?;
    same("one container", &json!(pod["containers"].as_array().map(Vec::len)), &json!(1))?;
    same("no others", &pod["initContainers"], &Value::Null)?;
    // What may be written: the agent's own folder on the node, and one in memory.
    let writable: Vec<&Value> = container["volumeMounts"]
        .as_array()
        .context("no mounts")?
        .iter()
        .filter(|mount| mount["readOnly"] != true)
        .map(|mount| &mount["mountPath"])
        .collect();
    same("writable mounts", &json!(writable), &json!(["/var/lib/sandwatch", "/run/sandwatch"]))?;
    let paths: Vec<&Value> = pod["volumes"]
        .as_array()
        .context("no volumes")?
        .iter()
        .filter_map(|volume| volume["hostPath"].get("path"))
        .collect();
    let expected = ["/var/lib/sandwatch", "/sys/fs/cgroup", "/sys/kernel/tracing", "/etc/machine-id"];
    same("host paths", &json!(paths), &json!(expected))?;
    let objects = render::objects(&render::text(tools, &render::values("default")?, "1.37")?)?;
    let role = json!([{ "apiGroups": [""], "resources": ["nodes/pods"], "verbs": ["get"] }]);
    same("role", &render::only(&objects, "ClusterRole")?["rules"], &role)?;
    let set = &render::only(&objects, "DaemonSet")?["spec"];
    same("minReadySeconds", &set["minReadySeconds"], &json!(60))?;
    same("maxUnavailable", &set["updateStrategy"]["rollingUpdate"]["maxUnavailable"], &json!("10%"))
}

/// The capabilities that the chart asks for, unless told otherwise.
pub(crate) fn capabilities() -> Result<Vec<String>> {
    let pod = pod(&tools()?, "default", "1.37")?;
    let added = pod["containers"][0]["securityContext"]["capabilities"]["add"].as_array().cloned();
    let names = added.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    Ok(names)
}

fn without_net_admin(tools: &Tools) -> Result<()> {
    let pod = pod(tools, "least", "1.37")?;
    let added = &pod["containers"][0]["securityContext"]["capabilities"]["add"];
    same("capabilities", added, &json!(["BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH"]))?;
    same("token", &pod["automountServiceAccountToken"], &json!(false))
}

/// Every file of a secret that the configuration names is one that the volume brings.
fn credentials(tools: &Tools) -> Result<()> {
    let objects = render::objects(&render::text(tools, &render::values("everything")?, "1.37")?)?;
    let pod = &render::only(&objects, "DaemonSet")?["spec"]["template"]["spec"];
    let volumes = pod["volumes"].as_array().context("no volumes")?;
    let volume =
        volumes.iter().find(|volume| volume["name"] == "credentials").context("no volume of credentials")?;
    let sources = volume["projected"]["sources"].as_array().context("it has no sources")?;
    let brought: Vec<&str> = sources
        .iter()
        .flat_map(|source| source["secret"]["items"].as_array().into_iter().flatten())
        .filter_map(|item| item["path"].as_str())
        .collect();
    let config = config_of(&objects)?;
    let named: Vec<&str> = config
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("/etc/sandwatch/credentials/"))
        .collect();
    ensure!(named.len() == 7, "7 files were to be named, not {named:?}");
    for file in &named {
        ensure!(brought.contains(file), "the configuration names {file}, the volume has {brought:?}");
    }
    ensure!(brought.len() == named.len(), "the volume has {brought:?}, the configuration names {named:?}");
    Ok(())
}

fn notes(tools: &Tools) -> Result<()> {
    let has = |set: &str, wanted: &str| -> Result<bool> {
        Ok(render::notes(tools, &render::values(set)?)?.contains(wanted))
    };
    for (set, text, expected) in [
        ("least", "DEGRADED: netAdmin is false", true),
        ("least", "DEGRADED: pods.from is none", true),
        ("least", "WARNING: alerts stay on the node", true),
        ("everything", "DEGRADED", false),
        ("everything", "WARNING: oncall (pagerduty), chat (slack)", true),
        ("everything", "(docs/on-call.md", true),
        ("default", "pagerduty", false),
        ("default", "WARNING: alerts stay on the node", true),
    ] {
        ensure!(has(set, text)? == expected, "with the values {set}, `{text}` should be there: {expected}");
    }
    Ok(())
}

/// Values that are wrong, and what Helm must say of them.
const REFUSED: [(&str, &str, &str); 9] = [
    ("unknown value", "netadmin: true", "netadmin"),
    ("unknown key of the configuration", "config: { clustre: prod }", "clustre"),
    ("key of the configuration that the chart writes", "config: { state_dir: /tmp }", "state_dir"),
    ("unknown type of a sink", "sinks: [{ name: a, type: pager }]", "/sinks/0/type"),
    ("secret without its key", "sinks: [{ name: a, type: slack, existingSecret: { name: b } }]", "key"),
    ("digest that is none", "image: { digest: latest }", "digest"),
    ("version of Kubernetes that is none", "kubeVersion: latest", "kubeVersion"),
    ("address without a meaning", "metrics: { address: pod }", "metrics"),
    ("all capabilities", "extraCapabilities: [ALL]", "extraCapabilities"),
];

fn refused(tools: &Tools, work: &Path, values: &str, complaint: &str) -> Result<()> {
    let path = write(work, "refused.yaml", values)?;
    match render::text(tools, &path, "1.37") {
        Ok(_) => bail!("`{values}` was taken"),
        Err(error) if format!("{error:#}").contains(complaint) => Ok(()),
        Err(error) => bail!("`{values}` was refused without a word of `{complaint}`: {error:#}"),
    }
}

/// The rules in the PrometheusRule are rules to Prometheus.
fn alert_rules(tools: &Tools, work: &Path) -> Result<()> {
    setup::peer_packages()?;
    let objects = render::objects(&render::text(tools, &render::values("everything")?, "1.37")?)?;
    let rules = &render::only(&objects, "PrometheusRule")?["spec"];
    let path = write(work, "rules.json", &rules.to_string())?;
    let said = capture(Command::new("promtool").args(["check", "rules"]).arg(&path))?;
    ensure!(said.contains("SUCCESS"), "promtool says {said}");
    Ok(())
}

/// The agent of this very tree reads the configuration and sends a test alert as it says.
fn configuration(tools: &Tools, work: &Path) -> Result<()> {
    let objects = render::objects(&render::text(tools, &render::values("default")?, "1.37")?)?;
    let config = config_of(&objects)?
        .replace("/usr/lib/sandwatch/rules", &host::repo()?.join("rules").display().to_string());
    let path = write(work, "sandwatch.yaml", &config)?;
    let said =
        capture(Command::new(build::agent(Profile::Dev)?).args(["alert", "test", "--config"]).arg(&path))?;
    ensure!(said.contains("sandwatch/alert/v1"), "no test alert came out: {said}");
    Ok(())
}

/// Every object of every set against the schemas of every version, strictly: an unknown field is wrong.
fn schemas(tools: &Tools, work: &Path) -> Result<Outcome> {
    let mut command = tools.python();
    command.arg(host::repo()?.join("tests/chart/validate.py"));
    for version in VERSIONS {
        for set in SETS {
            let path = write(
                work,
                &format!("{set}-{version}.yaml"),
                &render::text(tools, &render::values(set)?, version)?,
            )?;
            command.arg(format!("{version}={}", path.display()));
        }
    }
    // That it can find something wrong is seen each time.
    let wrong = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: wrong }\ndate: {}\n";
    command.arg(format!("1.30={}", write(work, "wrong.yaml", wrong)?.display()));
    let said = capture(&mut command)?;
    let mut outcome = Outcome::default();
    let mut unknown: Vec<&str> = Vec::new();
    let mut noticed = false;
    for line in said.lines() {
        if line.starts_with("ok ") {
            outcome.passed += 1;
        } else if let Some(what) = line.strip_prefix("no schema ") {
            let kind = what.split([' ', '/']).nth(1).unwrap_or(what);
            if !unknown.contains(&kind) {
                unknown.push(kind);
            }
        } else if line.starts_with("wrong 1.30 ConfigMap/wrong:") {
            noticed = true;
        } else {
            outcome.failed.push(format!("schemas: {line}"));
        }
    }
    outcome.add(Outcome::single(noticed, "schemas: an unknown field was not noticed"));
    outcome.skipped.extend(unknown.into_iter().map(|kind| PlacedSkip {
        place: "host".to_owned(),
        skip: Skip {
            test: format!("schema_of_{kind}"),
            reason: "no schema of it is in any package".to_owned(),
        },
    }));
    Ok(outcome)
}

pub(super) fn pod(tools: &Tools, set: &str, version: &str) -> Result<Value> {
    let objects = render::objects(&render::text(tools, &render::values(set)?, version)?)?;
    Ok(render::only(&objects, "DaemonSet")?["spec"]["template"]["spec"].clone())
}

/// The agent's configuration in rendered objects.
pub(super) fn config_of(objects: &[Value]) -> Result<&str> {
    let found = objects.iter().find_map(|object| object["data"]["sandwatch.yaml"].as_str());
    found.context("no ConfigMap has a sandwatch.yaml")
}

pub(super) fn same(what: &str, is: &Value, expected: &Value) -> Result<()> {
    ensure!(is == expected, "{what}: is {is}, not {expected}");
    Ok(())
}

pub(super) fn write(work: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = work.join(name);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
