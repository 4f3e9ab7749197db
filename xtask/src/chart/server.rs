//! The chart against a real API server (1.20, the newest whose source Debian has), with nothing behind it that would run a pod: what a dry run
//! on the server says, and what an installation, its rights, an upgrade and a removal come to.

use super::render::{self, SETS};
use super::{Tools, folder, tools};
use crate::commands;
use crate::host::{self, capture};
use crate::test::Outcome;
use anyhow::{Context, Result, bail, ensure};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a busy machine may take to start both.
const PATIENCE: Duration = Duration::from_secs(90);
const NAMESPACE: &str = "sandwatch";
/// What only Prometheus Operator knows.
const OPERATOR: &str = "monitoring.coreos.com";

/// All checks, with the programs in `programs`.
pub(crate) fn run(programs: &Path) -> Result<Outcome> {
    let tools = tools()?;
    let server = Server::start(programs)?;
    let mut outcome = Outcome::default();
    let mut check = |name: String, result: Result<()>| {
        outcome.add(match result {
            Ok(()) => Outcome::single(true, ""),
            Err(error) => Outcome::broken(&format!("{name}: {error:#}")),
        });
    };
    check("the document's commands".to_owned(), server.by_the_document(&tools));
    for set in SETS {
        check(format!("dry run {set}"), server.dry_run(&tools, set));
    }
    check("an unknown field is noticed".to_owned(), server.unknown_field());
    check("install".to_owned(), server.helm(&tools, "install", &[]));
    check("rights".to_owned(), server.rights(&[("pods", "yes"), ("proxy", "no")]));
    check("upgrade".to_owned(), server.helm(&tools, "upgrade", &["--set", "pods.allowNodesProxy=true"]));
    check("rights with nodes/proxy".to_owned(), server.rights(&[("pods", "yes"), ("proxy", "yes")]));
    check("uninstall".to_owned(), server.uninstall(&tools));
    Ok(outcome)
}

/// etcd and an API server on loopback, ended when dropped.
struct Server {
    work: PathBuf,
    programs: PathBuf,
    children: Vec<Child>,
}

impl Server {
    fn start(programs: &Path) -> Result<Self> {
        let work = host::target()?.join("chart/server");
        if work.exists() {
            std::fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
        }
        std::fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
        capture(Command::new("openssl").args(["genrsa", "-out"]).arg(work.join("sa.key")).arg("2048"))?;
        // Made for this run, known to this server alone.
        std::fs::write(work.join("tokens.csv"), "throwaway,admin,1,\"system:masters\"\n")?;
        let [client, peer, api] = [free_port()?, free_port()?, free_port()?];
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{api}', insecure-skip-tls-verify: true}}}}]\n\
             users: [{{name: u, user: {{token: throwaway}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n"
        );
        std::fs::write(work.join("kubeconfig"), kubeconfig)?;
        let mut server = Self { work, programs: programs.to_path_buf(), children: Vec::new() };
        let client = format!("http://127.0.0.1:{client}");
        server.child(
            "etcd",
            &[
                "--data-dir=etcd",
                &format!("--listen-client-urls={client}"),
                &format!("--advertise-client-urls={client}"),
                &format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
            ],
        )?;
        server.child(
            "kube-apiserver",
            &[
                &format!("--etcd-servers={client}"),
                "--bind-address=127.0.0.1",
                &format!("--secure-port={api}"),
                "--cert-dir=certs",
                "--service-account-issuer=https://sandwatch.test",
                "--service-account-key-file=sa.key",
                "--service-account-signing-key-file=sa.key",
                "--token-auth-file=tokens.csv",
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--disable-admission-plugins=ServiceAccount",
                "--allow-privileged",
            ],
        )?;
        let until = Instant::now() + PATIENCE;
        while server.kubectl(&["get", "namespace", "default"]).is_err() {
            if Instant::now() > until {
                bail!(
                    "the API server does not answer; see {}",
                    server.work.join("kube-apiserver.log").display()
                );
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        Ok(server)
    }

    fn child(&mut self, name: &str, arguments: &[&str]) -> Result<()> {
        let log = self.work.join(format!("{name}.log"));
        let log = std::fs::File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let mut command = Command::new(self.programs.join(name));
        command
            .args(arguments)
            .current_dir(&self.work)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.children.push(command.spawn().with_context(|| format!("cannot start {name}"))?);
        Ok(())
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.programs.join("kubectl"));
        capture(command.arg("--kubeconfig").arg(self.work.join("kubeconfig")).args(arguments))
    }

    /// What the document has a person type, with the values it has him write. It makes the namespace that the checks after it are in.
    fn by_the_document(&self, tools: &Tools) -> Result<()> {
        const DOCUMENT: &str = "docs/install-kubernetes.md";
        let folder = self.work.join("document");
        std::fs::create_dir_all(folder.join("bin"))
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let helm = tools.helm();
        std::os::unix::fs::symlink(helm.get_program(), folder.join("bin/helm"))
            .context("cannot link Helm")?;
        std::os::unix::fs::symlink(self.programs.join("kubectl"), folder.join("bin/kubectl"))
            .context("cannot link kubectl")?;
        std::os::unix::fs::symlink(host::repo()?.join("deploy"), folder.join("deploy"))
            .context("cannot link the chart")?;
        std::fs::write(
            folder.join("my-values.yaml"),
            commands::block(DOCUMENT, "yaml", "# my-values.yaml")?,
        )?;
        for name in ["ca.crt", "tls.crt", "tls.key"] {
            std::fs::write(folder.join(name), "only looked at by the agent\n")?;
        }
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", folder.join("bin").display());
        for text in commands::of_tier("chart-server")? {
            let mut command = Command::new("sh");
            command.args(["-e", "-c", &text]).current_dir(&folder);
            command.envs(helm.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command.env("PATH", &path).env("KUBECONFIG", self.work.join("kubeconfig"));
            capture(&mut command)?;
        }
        Ok(())
    }

    fn dry_run(&self, tools: &Tools, set: &str) -> Result<()> {
        let text = render::text(tools, &render::values(set)?, "1.20")?;
        let known: Vec<&str> =
            text.split("\n---\n").filter(|document| !document.contains(OPERATOR)).collect();
        let path = self.work.join(format!("{set}.yaml"));
        std::fs::write(&path, known.join("\n---\n"))?;
        self.kubectl(&["apply", "--dry-run=server", "--validate=true", "-f", &path.display().to_string()])
            .map(drop)
    }

    /// That a dry run can find something wrong is seen each time.
    fn unknown_field(&self) -> Result<()> {
        let path = self.work.join("wrong.yaml");
        std::fs::write(&path, "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: wrong }\ndate: {}\n")?;
        match self.kubectl(&[
            "apply",
            "--dry-run=server",
            "--validate=true",
            "-f",
            &path.display().to_string(),
        ]) {
            Ok(_) => bail!("it was taken"),
            Err(_) => Ok(()),
        }
    }

    fn helm(&self, tools: &Tools, verb: &str, more: &[&str]) -> Result<()> {
        let mut command = tools.helm();
        command.env("KUBECONFIG", self.work.join("kubeconfig")).args([verb, NAMESPACE]).arg(folder()?);
        let said = capture(command.args(["--namespace", NAMESPACE]).args(more))?;
        ensure!(said.contains("STATUS: deployed"), "{said}");
        Ok(())
    }

    /// What the agents' account may get of nodes.
    fn rights(&self, expected: &[(&str, &str)]) -> Result<()> {
        let account = format!("--as=system:serviceaccount:{NAMESPACE}:sandwatch");
        let may = |arguments: &[&str]| -> Result<String> {
            let mut command = Command::new(self.programs.join("kubectl"));
            command
                .arg("--kubeconfig")
                .arg(self.work.join("kubeconfig"))
                .args(["auth", "can-i"])
                .args(arguments)
                .arg(&account);
            // It ends with 1 when the answer is no.
            let output = command.output().context("cannot start kubectl")?;
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        for (part, answer) in expected {
            let said = may(&["get", "nodes", &format!("--subresource={part}")])?;
            ensure!(said == *answer, "get nodes/{part}: {said}");
        }
        for beyond in [["list", "pods"], ["get", "secrets"], ["get", "nodes"]] {
            ensure!(may(&beyond)? == "no", "it may {}", beyond.join(" "));
        }
        Ok(())
    }

    fn uninstall(&self, tools: &Tools) -> Result<()> {
        let mut command = tools.helm();
        command.env("KUBECONFIG", self.work.join("kubeconfig"));
        capture(command.args(["uninstall", NAMESPACE, "--namespace", NAMESPACE]))?;
        let left = self.kubectl(&[
            "get",
            "daemonsets,configmaps,serviceaccounts,networkpolicies,clusterroles,clusterrolebindings",
            "--all-namespaces",
            "--selector=app.kubernetes.io/name=sandwatch",
            "--output=name",
        ])?;
        ensure!(left.is_empty(), "left behind: {left}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The API server first: without etcd it waits.
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    Ok(listener.local_addr().context("a listener has no address")?.port())
}
