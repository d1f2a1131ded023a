//! How many full mutual handshakes a second one thread does, both ends included.
//!
//! `cargo run --release -p zizon-mtls --features testing --example handshakes`

use std::{error::Error, sync::Arc, time::Instant};

use tokio::net::TcpListener;
use zizon_mtls::{Acceptor, ConnRegistry, Connector, PeerPolicy, RegistryOptions, testing::TestCa};

const HANDSHAKES: u32 = 3_000;

fn main() -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure())
}

async fn measure() -> Result<(), Box<dyn Error>> {
    let ca = TestCa::new("zizon.local");
    let registry = ConnRegistry::new(RegistryOptions::default());
    let acceptor = Acceptor::new(
        ca.source("ns/shop/sa/orders"),
        PeerPolicy::AnyOfTrustDomain(ca.domain().clone()),
        Arc::clone(&registry),
    );
    let connector = Connector::new(ca.source("ns/shop/sa/edge"), Arc::clone(&registry));
    let expect = ca.id("ns/shop/sa/orders");
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let begun = Instant::now();
    for _ in 0..HANDSHAKES {
        let accept =
            async { acceptor.accept(listener.accept().await.map_err(zizon_mtls::HandshakeError::Io)?.0).await };
        tokio::try_join!(accept, connector.connect(&address, &expect, &[]))?;
    }
    let rate = f64::from(HANDSHAKES) / begun.elapsed().as_secs_f64();
    println!(
        "{rate:.0} mutual handshakes/s on one thread, both ends, {} verifications",
        registry.metrics().verifications()
    );
    Ok(())
}
