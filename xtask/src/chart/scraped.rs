//! What a Prometheus that finds the agents through the chart asks: at the pods' own address, and under the job that the alert rules know.

use super::Tools;
use super::checks::{config_of, write};
use super::render;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Releases: called as the chart, as something else, and as something that has the chart's name in it.
const RELEASES: [&str; 3] = ["sandwatch", "agents", "team-sandwatch-prod"];
/// What changes the names of what is rendered.
const NAMES: [&str; 3] = ["", "nameOverride: watch", "fullnameOverride: eyes"];
const ASKED_FOR: &str = "metrics: { serviceMonitor: { enabled: true }, prometheusRule: { enabled: true } }\n";

/// The job that agents are scraped as is the one that the rules beside it name, whatever the release is called.
pub(super) fn job(tools: &Tools, work: &Path) -> Result<()> {
    for name in NAMES {
        let values = write(work, "job.yaml", &format!("{ASKED_FOR}{name}\n"))?;
        for release in RELEASES {
            let objects = render::objects(&render::named(tools, release, &values, "1.37")?)?;
            let (scraped, asked) = (scraped_as(&objects)?, asked_for(&objects)?);
            ensure!(!asked.is_empty(), "no alert rule names a job");
            ensure!(
                asked.iter().all(|asked| *asked == scraped),
                "release {release} ({name}): agents are scraped as job {scraped:?}, the alert rules are about {asked:?}"
            );
        }
    }
    Ok(())
}

/// The job of the targets, as Prometheus Operator makes it: the Service's name, or its label that the monitor names, and then what the monitor
/// relabels.
fn scraped_as(objects: &[Value]) -> Result<String> {
    let monitor = &render::only(objects, "ServiceMonitor")?["spec"];
    let wanted = monitor["selector"]["matchLabels"].as_object().context("it selects by no labels")?;
    let mut services = objects.iter().filter(|object| {
        let labels = &object["metadata"]["labels"];
        object["kind"] == "Service" && wanted.iter().all(|(key, value)| labels[key] == *value)
    });
    let service = services.next().context("it selects no Service")?;
    ensure!(services.next().is_none(), "it selects more than one Service");
    let metadata = &service["metadata"];
    let by_label = monitor["jobLabel"].as_str().and_then(|label| metadata["labels"][label].as_str());
    let mut job =
        by_label.or_else(|| metadata["name"].as_str()).context("a Service without a name")?.to_owned();
    let endpoints = monitor["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
    let [endpoint] = endpoints else { bail!("one endpoint was expected: {endpoints:?}") };
    for relabeling in endpoint["relabelings"].as_array().into_iter().flatten() {
        if relabeling["targetLabel"] != "job" {
            continue;
        }
        ensure!(relabeling["sourceLabels"].is_null(), "what job becomes depends on the target: {relabeling}");
        job = relabeling["replacement"].as_str().context("job becomes nothing")?.to_owned();
    }
    Ok(job)
}

/// The jobs that the rules name.
fn asked_for(objects: &[Value]) -> Result<BTreeSet<String>> {
    let groups = &render::only(objects, "PrometheusRule")?["spec"]["groups"];
    let rules = groups.as_array().into_iter().flatten().flat_map(|group| group["rules"].as_array());
    let expressions = rules.flatten().filter_map(|rule| rule["expr"].as_str());
    let named = expressions.flat_map(|expr| expr.split("job=\"").skip(1));
    Ok(named.filter_map(|rest| rest.split('"').next().map(str::to_owned)).collect())
}

/// The agent listens at its pod's address, which it is told, unless the values name another.
pub(super) fn address(tools: &Tools, work: &Path) -> Result<()> {
    for (values, expected) in [
        ("", "$POD_IP:9464"),
        ("metrics: { port: 9999 }", "$POD_IP:9999"),
        ("metrics: { address: 0.0.0.0 }", "0.0.0.0:9464"),
        ("metrics: { address: \"[::]\" }", "[::]:9464"),
    ] {
        let path = write(work, "address.yaml", values)?;
        let objects = render::objects(&render::text(tools, &path, "1.37")?)?;
        let config: Value = serde_saphyr::from_str(config_of(&objects)?).context("no YAML")?;
        ensure!(
            config["listen"] == expected,
            "`{values}`: it listens at {}, not at {expected}",
            config["listen"]
        );
        let pod = &render::only(&objects, "DaemonSet")?["spec"]["template"]["spec"];
        let variables = pod["containers"][0]["env"].as_array().context("no environment")?;
        let told = variables.iter().find(|variable| variable["name"] == "POD_IP");
        let from = told.map(|variable| &variable["valueFrom"]["fieldRef"]["fieldPath"]);
        ensure!(from.is_some_and(|from| from == "status.podIP"), "POD_IP is not the pod's address");
    }
    Ok(())
}
