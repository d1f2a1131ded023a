//! The role as the supervisor runs it: an issuer that is its own first customer.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;
use zizon_base::role::Role;
use zizon_identity::Config;
use zizon_mtls::{ConnRegistry, RegistryOptions, SourceOptions, SvidSource};
use zizon_service::{Peers, RoleArgs, RoleSetup, Upstream, UpstreamOptions, UpstreamRequest, terminated};

use crate::common::{FakeSupervisor, PATIENCE};

const DATA: &str = "ZIZON_TEST_DATA";

/// Not a test of its own: the process of the role runs it as its only test.
#[tokio::test]
async fn the_process_of_the_role() {
    let Some(data) = std::env::var_os(DATA) else { return };
    let setup = RoleSetup::take(RoleArgs {
        role: Role::Identity,
        data_dir: PathBuf::from(data),
        trust_domain: "zizon.local".parse().unwrap(),
        listen: Some(([127, 0, 0, 1], 0).into()),
        peers: Peers::default(),
        endpoint: None,
        authz_file: None,
        demo: false,
    })
    .unwrap();
    println!("LISTENING {}", setup.listener.local_addr().unwrap());
    let shutdown = setup.shutdown.clone();
    let stop = async {
        terminated().await.unwrap();
        shutdown.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = zizon_identity::run(setup, Config::default()) => ended.unwrap(),
        () = stop => {}
    }
}

#[tokio::test]
async fn the_role_serves_identities_then_health_with_its_own_and_stops_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let supervisor = FakeSupervisor::at(&directory.path().join("supervisor.sock"));
    supervisor.says(std::process::id(), Some("supervisor"));
    let endpoint = format!("unix:{}", directory.path().join("run/workload.sock").display());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "role::the_process_of_the_role", "--nocapture", "--test-threads=1"])
        .env(DATA, directory.path())
        .env("SPIFFE_ENDPOINT_SOCKET", &endpoint)
        .env("ZIZON_SUPERVISOR", directory.path().join("supervisor.sock"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    supervisor.says(child.id(), Some("identity"));
    // Held to the end: the child's test runner writes there when it is done.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let announced =
        lines.by_ref().map_while(Result::ok).find_map(|line| Some(line.split_once("LISTENING ")?.1.to_owned()));
    let address = announced.unwrap();

    let source = SvidSource::connect(&endpoint, SourceOptions::default()).await.unwrap();
    assert_eq!(source.id().path(), "ns/ops/sa/supervisor");
    let registry = ConnRegistry::new(RegistryOptions::default());
    let role = Upstream::new(source, registry, Role::Identity, &address, UpstreamOptions::default());
    let get = async |path| {
        let deadline = Instant::now() + PATIENCE;
        let request = UpstreamRequest::new(tonic::codegen::http::Method::GET, path, deadline.into()).unwrap();
        role.send(request).await
    };
    let ready = timeout(PATIENCE, async {
        loop {
            match get("/readyz").await {
                Ok(answer) if answer.status == 200 => break answer,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let body = ready.await.unwrap().body;
    assert!(std::str::from_utf8(&body).unwrap().contains("\"authority\""), "{body:?}");
    let metrics = get("/metrics").await.unwrap().body;
    let metrics = std::str::from_utf8(&metrics).unwrap();
    assert!(metrics.contains("zizon_identity_streams 2"), "{metrics}");

    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    assert!(timeout(PATIENCE, ended).await.unwrap().unwrap().success());
}
