//! A Workload API server that answers what a test tells it to.

use std::{
    collections::HashMap,
    convert::Infallible,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use prost::Message;
use tokio::{net::UnixListener, sync::watch, task::JoinHandle};
use tokio_stream::{Stream, StreamExt as _, wrappers::UnixListenerStream, wrappers::WatchStream};
use tonic::{
    Request, Response, Status, body::Body, codegen::Service, server::Grpc, server::NamedService,
    server::ServerStreamingService,
};
use tonic_prost::ProstCodec;
use zizon_mtls::SvidDer;

#[derive(Clone, PartialEq, Message)]
pub struct X509SvidRequest {}

#[derive(Clone, PartialEq, Message)]
pub struct X509SvidResponse {
    #[prost(message, repeated, tag = "1")]
    pub svids: Vec<X509Svid>,
    #[prost(map = "string, bytes", tag = "3")]
    pub federated_bundles: HashMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct X509Svid {
    #[prost(string, tag = "1")]
    pub spiffe_id: String,
    #[prost(bytes = "vec", tag = "2")]
    pub x509_svid: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub x509_svid_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub bundle: Vec<u8>,
}

/// What the issuer says from here on.
#[derive(Debug, Clone)]
pub enum Answer {
    Svids(Vec<SvidDer>),
    Refuse(tonic::Code),
}

/// Serves until dropped; what it says can be changed at any time.
pub struct FakeIssuer {
    answer: watch::Sender<Answer>,
    pub streams: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl FakeIssuer {
    pub fn start(socket: &Path, first: Answer) -> Self {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        let (answer, answers) = watch::channel(first);
        let streams = Arc::new(AtomicUsize::new(0));
        let service = WorkloadApi { answers, streams: Arc::clone(&streams) };
        let serving = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(UnixListenerStream::new(listener));
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Self { answer, streams, server }
    }

    pub fn say(&self, answer: Answer) {
        self.answer.send_replace(answer);
    }

    pub fn streams(&self) -> usize {
        self.streams.load(Relaxed)
    }
}

impl Drop for FakeIssuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Clone)]
struct WorkloadApi {
    answers: watch::Receiver<Answer>,
    streams: Arc<AtomicUsize>,
}

impl NamedService for WorkloadApi {
    const NAME: &'static str = "SpiffeWorkloadAPI";
}

type Answers = Pin<Box<dyn Stream<Item = Result<X509SvidResponse, Status>> + Send>>;

impl ServerStreamingService<X509SvidRequest> for WorkloadApi {
    type Response = X509SvidResponse;
    type ResponseStream = Answers;
    type Future = std::future::Ready<Result<Response<Answers>, Status>>;

    fn call(&mut self, request: Request<X509SvidRequest>) -> Self::Future {
        assert_eq!(request.metadata().get("workload.spiffe.io").unwrap(), "true");
        self.streams.fetch_add(1, Relaxed);
        let answers = WatchStream::new(self.answers.clone()).map(|answer| match answer {
            Answer::Svids(svids) => Ok(encode(&svids)),
            Answer::Refuse(code) => Err(Status::new(code, "no")),
        });
        std::future::ready(Ok(Response::new(Box::pin(answers) as Answers)))
    }
}

impl Service<http::Request<Body>> for WorkloadApi {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        assert_eq!(request.uri().path(), "/SpiffeWorkloadAPI/FetchX509SVID");
        let service = self.clone();
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).server_streaming(service, request).await) })
    }
}

fn encode(svids: &[SvidDer]) -> X509SvidResponse {
    let mut response = X509SvidResponse::default();
    for svid in svids {
        let own = svid.bundles.values().next().unwrap();
        response.svids.push(X509Svid {
            spiffe_id: "spiffe://ignored/the-certificate-counts".to_owned(),
            x509_svid: svid.chain.concat(),
            x509_svid_key: svid.key.to_vec(),
            bundle: own.concat(),
        });
    }
    response
}
