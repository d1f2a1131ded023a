//! Callers that are not what the issuer wants: other users, ended processes, bad requests, silent readers.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::{MovedClock, PATIENCE, Platform};
use bytes::{Buf as _, Bytes};
use spiffe::WorkloadApiClient;
use tokio::time::timeout;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use zizon_identity::{Clock, Config};

const ENDPOINT: &str = "ZIZON_TEST_ENDPOINT";
const HOLD: &str = "ZIZON_TEST_HOLD";

/// Not a test of its own: the other processes of this file run it as their only test.
#[tokio::test]
async fn another_process() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else { return };
    let client = WorkloadApiClient::connect_to(endpoint).await.unwrap();
    let answer = match client.stream_x509_contexts().await {
        Ok(stream) => {
            let mut stream = Box::pin(stream);
            let first = futures_util::StreamExt::next(&mut stream).await.unwrap();
            if std::env::var_os(HOLD).is_some() {
                std::future::pending::<()>().await;
            }
            first
        }
        Err(error) => Err(error),
    };
    match answer {
        Ok(context) => println!("GOT {}", context.default_svid().unwrap().spiffe_id()),
        Err(error) => println!("REFUSED {error}"),
    }
}

fn process(program: &std::path::Path, platform: &Platform) -> Command {
    let mut command = Command::new(program);
    command.args(["--exact", "callers::another_process", "--nocapture", "--test-threads=1"]);
    command.env(ENDPOINT, platform.endpoint()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.current_dir(platform.directory.path());
    command
}

async fn said(child: Child) -> String {
    let waited = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
    let output = timeout(PATIENCE, waited).await.unwrap().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn another_process_of_the_starting_user_is_the_operator() {
    let platform = Platform::start(Config::default());
    platform.says(std::process::id(), Some("orders"));
    let said = said(process(&std::env::current_exe().unwrap(), &platform).spawn().unwrap()).await;
    assert!(said.contains("GOT spiffe://zizon.local/ns/ops/sa/operator"), "{said}");
}

#[tokio::test]
async fn a_foreign_user_is_denied() {
    if !rustix::process::getuid().is_root() {
        println!("NOT RUN: only root can start a process of another user");
        return;
    }
    let platform = Platform::start(Config::default());
    // The build's directories may be closed to other users; a copy beside the socket is not.
    let program = platform.directory.path().join("caller");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let said = said(process(&program, &platform).uid(65_534).gid(65_534).spawn().unwrap()).await;
    assert!(said.contains("REFUSED no identity issued"), "{said}");
    assert!(platform.exported("zizon_identity_stream_opens_total{outcome=\"denied\"}") >= 1.0);
}

#[tokio::test]
async fn the_stream_of_a_process_that_is_killed_ends() {
    let platform = Platform::start(Config::default());
    let mut child = process(&std::env::current_exe().unwrap(), &platform).env(HOLD, "1").spawn().unwrap();
    crate::common::until("the process has a stream", || platform.exported("zizon_identity_streams ") == 1.0).await;
    child.kill().unwrap();
    child.wait().unwrap();
    crate::common::until("the stream is gone", || platform.exported("zizon_identity_streams ") == 0.0).await;
}

/// Sends an empty message, takes messages as bytes.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = ();
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = ();
    type Error = Status;
    fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = src.remaining();
        Ok(Some(src.copy_to_bytes(length)))
    }
}

fn endpoint(platform: &Platform) -> Endpoint {
    Endpoint::from_shared(format!("unix://{}", platform.socket().display())).unwrap()
}

async fn call(channel: Channel, method: &'static str, header: &[&'static str]) -> Result<Streaming<Bytes>, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let mut request = Request::new(());
    for value in header {
        request.metadata_mut().append("workload.spiffe.io", value.parse().unwrap());
    }
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(method);
    Ok(client.server_streaming(request, path, Raw).await?.into_inner())
}

#[tokio::test]
async fn a_request_without_the_security_header_or_with_two_is_invalid() {
    let platform = Platform::start(Config::default());
    let channel = endpoint(&platform).connect().await.unwrap();
    for method in ["/SpiffeWorkloadAPI/FetchX509SVID", "/SpiffeWorkloadAPI/FetchX509Bundles"] {
        for header in [&[][..], &["false"], &["TRUE"], &["true", "true"]] {
            let status = call(channel.clone(), method, header).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{method} {header:?}");
        }
        let mut stream = call(channel.clone(), method, &["true"]).await.unwrap();
        assert!(!stream.message().await.unwrap().unwrap().is_empty());
    }
}

#[tokio::test]
async fn profiles_that_are_not_offered_are_unimplemented() {
    let platform = Platform::start(Config::default());
    let channel = endpoint(&platform).connect().await.unwrap();
    for method in [
        "/SpiffeWorkloadAPI/FetchJWTSVID",
        "/SpiffeWorkloadAPI/FetchJWTBundles",
        "/SpiffeWorkloadAPI/ValidateJWTSVID",
        "/SpiffeWorkloadAPI/FetchWITSVID",
        "/SpiffeWorkloadAPI/FetchWITBundles",
        "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
    ] {
        let status = call(channel.clone(), method, &["true"]).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{method}");
    }
}

#[tokio::test]
async fn a_caller_that_does_not_read_loses_its_connection_and_nobody_else_does() {
    let clock = MovedClock::new();
    let platform = Platform::start_with(Config::default(), Clock::from_source(clock.clone()));
    let narrow = endpoint(&platform).initial_stream_window_size(256).connect().await.unwrap();
    let mut silent = call(narrow, "/SpiffeWorkloadAPI/FetchX509SVID", &["true"]).await.unwrap();
    let channel = endpoint(&platform).connect().await.unwrap();
    let mut reader = call(channel, "/SpiffeWorkloadAPI/FetchX509SVID", &["true"]).await.unwrap();
    reader.message().await.unwrap().unwrap();
    let slow = || platform.exported("zizon_identity_slow_readers_total") > 0.0;
    // Each step gets everybody a fresh svid; what is read here is left unread there.
    for _ in 0..10 {
        if slow() {
            break;
        }
        clock.advance(Duration::from_secs(60));
        timeout(PATIENCE, reader.message()).await.unwrap().unwrap().unwrap();
    }
    assert!(slow(), "the silent caller was dropped");
    crate::common::until("its stream is counted out", || platform.exported("zizon_identity_streams ") == 1.0).await;
    let end = timeout(PATIENCE, async {
        loop {
            if let Err(status) = silent.message().await {
                break status;
            }
        }
    });
    end.await.unwrap();
}
