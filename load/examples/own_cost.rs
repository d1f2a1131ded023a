//! What the generator itself costs: `cargo run --release -p zizon-load --example own_cost -- [rate|max] [seconds]`.
//! A child process answers every order with the same 201 over TLS 1.3, so the report's CPU time is the generator's.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use zizon_load::{OrdersLoad, run};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// As long as an order of one line.
const BODY_BYTES: usize = 800;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let rate = arguments.next().unwrap_or_else(|| "max".into());
    let dir = tempfile::tempdir()?;
    let ca_file = dir.path().join("ca.pem");
    if rate == "serve" {
        let file = arguments.next().ok_or("no file for the authority")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(serve(file.into()));
    }
    let seconds: u64 = arguments.next().as_deref().unwrap_or("5").parse()?;
    let mut child = Command::new(std::env::current_exe()?).arg("serve").arg(&ca_file).stdout(Stdio::piped()).spawn()?;
    let mut url = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut url)?;
    let load = OrdersLoad {
        rate: rate.parse()?,
        duration: Duration::from_secs(seconds),
        ..OrdersLoad::to(url.trim(), ca_file)
    };
    let report = run(&load, |progress| eprintln!("{progress}"));
    child.kill()?;
    child.wait()?;
    print!("{}", report?.render());
    Ok(())
}

async fn serve(ca_file: std::path::PathBuf) -> Result<(), Failure> {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    std::fs::write(ca_file, ca.pem())?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["localhost".into()])?.signed_by(&key, &ca)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
    let tls = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("https://localhost:{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    loop {
        let (tcp, _) = listener.accept().await?;
        tokio::spawn(answer(tcp, tls.clone()));
    }
}

/// Takes each read for one request, which holds for one small request in flight.
async fn answer(tcp: TcpStream, tls: TlsAcceptor) -> Result<(), Failure> {
    tcp.set_nodelay(true)?;
    let mut stream = tls.accept(tcp).await?;
    let body = format!("{{\"id\":\"{}\"}}", "x".repeat(BODY_BYTES));
    let response = format!(
        "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut request = vec![0; 4_096];
    while stream.read(&mut request).await? > 0 {
        stream.write_all(response.as_bytes()).await?;
        stream.flush().await?;
    }
    Ok(())
}
