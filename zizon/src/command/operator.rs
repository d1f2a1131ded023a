//! Calling roles as the operator: the identity comes from the local Workload API, attested by uid; no token file.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use http::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::Instant;
use zizon_base::role::Role;
use zizon_contracts::supervisor::StatusReport;
use zizon_mtls::{ConnRegistry, RegistryOptions, SourceOptions, SvidSource};
use zizon_service::{Upstream, UpstreamError, UpstreamOptions, UpstreamRequest};

use super::local;
use crate::exit::Failure;

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// A connection to the roles of one local platform.
pub struct Operator {
    source: Arc<SvidSource>,
    registry: Arc<ConnRegistry>,
    report: StatusReport,
}

impl Operator {
    /// Finds the platform of `data` and takes an identity from it.
    pub async fn connect(data: &Path) -> Result<Self> {
        let paths = local::paths_of(data)?;
        let report = local::report(&paths).await?;
        let own = rustix::process::getuid().as_raw();
        if own != report.operator_uid {
            let owner = report.operator_uid;
            let message = format!("only uid {owner}, which started the platform, is its operator; this is uid {own}");
            return Err(Failure::unknown(
                message,
                format!("run the command as that user: sudo -u '#{owner}' zizon ..."),
            )
            .into());
        }
        let endpoint = format!("unix:{}", paths.workload_socket().display());
        let source = SvidSource::connect(&endpoint, SourceOptions::default()).await.map_err(|error| {
            let remedy =
                "zizon status shows whether the identity role runs; run this as the user that started the platform";
            Failure::unknown(format!("no identity from the Workload API at {endpoint}: {error}"), remedy)
        })?;
        Ok(Self { source, registry: ConnRegistry::new(RegistryOptions::default()), report })
    }

    /// Sends one request and reads the JSON answer.
    pub async fn call<T: DeserializeOwned>(
        &self,
        role: Role,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<T> {
        let body = body.map(serde_json::to_vec).transpose()?;
        self.role(role)?.call(method, path, body).await
    }

    /// One role, for many requests over the same connections.
    pub fn role(&self, role: Role) -> Result<OperatorRole> {
        let entry = self.report.roles.iter().find(|entry| entry.role == role.name());
        let address =
            entry.map(|entry| entry.internal_address.clone()).context("the platform does not run this role")?;
        let (source, registry) = (Arc::clone(&self.source), Arc::clone(&self.registry));
        let upstream = Upstream::new(source, registry, role, &address, UpstreamOptions::default());
        Ok(OperatorRole { role, upstream })
    }
}

/// A role as its operator calls it.
pub struct OperatorRole {
    role: Role,
    upstream: Upstream,
}

impl OperatorRole {
    /// Sends one request with a JSON body and reads the JSON answer.
    pub async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<T> {
        let role = self.role;
        let mut request = UpstreamRequest::new(method, path, Instant::now() + DEADLINE)?;
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.upstream.send(request).await.map_err(|error| unreachable_role(role, &error))?;
        if !answer.status.is_success() {
            return Err(refusal(answer.status, &answer.body).into());
        }
        serde_json::from_slice(&answer.body).with_context(|| format!("{role} answered something unexpected"))
    }
}

/// A call without a body.
pub const NOTHING: Option<&()> = None;

fn unreachable_role(role: Role, error: &UpstreamError) -> Failure {
    Failure::unknown(format!("{role} does not answer: {error}"), "zizon status shows how every role is")
}

/// A problem document as an error for people.
fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut message = format!("{} ({status}, {})", text("title"), text("code"));
    if !text("detail").is_empty() {
        message.push_str(": ");
        message.push_str(&text("detail"));
    }
    for error in problem.get("errors").and_then(Value::as_array).into_iter().flatten() {
        let part = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        message.push_str(&format!("\n  {} {} {}", part("pointer"), part("code"), part("detail")));
    }
    Failure::refused(message, "")
}

/// A value as one segment or parameter of a URI: everything but unreserved characters is percent-encoded (RFC 3986, 2.3).
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
