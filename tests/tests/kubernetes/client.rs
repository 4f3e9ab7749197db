//! What people and programs ask of the node's API server.

use std::process::{Output, Stdio};

use serde_json::Value;

use super::node::Node;

impl Node {
    /// kubectl with these arguments; `input` is what it reads.
    pub(crate) fn kubectl(&self, arguments: &[&str], input: Option<&str>) -> Output {
        use std::io::Write;
        let mut command = self.inside(self.programs.join("kubectl"));
        command.arg(format!("--kubeconfig={}", self.path("kubeconfig").display()));
        // A server that was stopped answers nobody.
        command.arg("--request-timeout=30s").args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.unwrap_or_default().as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// The same; it has to succeed.
    pub(crate) fn apply(&self, manifest: &(impl std::fmt::Display + ?Sized)) {
        let manifest = manifest.to_string();
        let output = self.kubectl(&["apply", "-f", "-"], Some(&manifest));
        assert!(output.status.success(), "{}\n{manifest}", String::from_utf8_lossy(&output.stderr));
    }

    /// An object, or null.
    pub(crate) fn get(&self, what: &[&str]) -> Value {
        let arguments: Vec<&str> = ["get", "-o", "json"].iter().chain(what).copied().collect();
        serde_json::from_slice(&self.kubectl(&arguments, None).stdout).unwrap_or(Value::Null)
    }

    /// A token of a service account.
    pub(crate) fn token(&self, namespace: &str, account: &str) -> String {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let request = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}"#;
        let output = self.kubectl(&["create", "--raw", &path, "-f", "-"], Some(request));
        let answer: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        answer["status"]["token"].as_str().unwrap().to_owned()
    }
}
