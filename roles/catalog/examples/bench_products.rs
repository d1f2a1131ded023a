//! How many products a second the role answers over mTLS: `cargo run --release -p zizon-catalog --example
//! bench_products -- [products] [seconds] [connections]`. Role and callers run in this process, on a thread each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use tokio::task::JoinSet;
use zizon_base::role::Role;
use zizon_catalog::{Config, run};
use zizon_service::testing::TestMesh;
use zizon_service::{Upstream, UpstreamOptions, UpstreamRequest};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut next = |default| numbers.next().unwrap_or(Ok(default));
    let (products, seconds, connections) = (next(200_000)?, next(5)?, next(64)?);
    let dir = tempfile::tempdir()?;
    let mut mesh = TestMesh::new();
    let context = mesh.context(Role::Catalog, dir.path());
    let (address, shutdown) = (context.listener.local_addr()?, context.shutdown.clone());
    let role = std::thread::spawn(move || -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run(context, Config::default())).map_err(Into::into)
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let options = UpstreamOptions { max_connections: usize::try_from(connections)?, ..UpstreamOptions::default() };
        let operator = mesh.caller("ns/ops/sa/operator", Role::Catalog, address, options.clone());
        let filled = Instant::now();
        let demo = Arc::new(zizon_catalog::demo::products()?);
        each(operator, products, connections, move |n| {
            let like = usize::try_from(n).map_or(0, |n| n % demo.len());
            let mut product = demo[like].clone();
            product.id = format!("B{n:06}").parse().unwrap_or(product.id);
            (Method::PUT, format!("/internal/v1/products/B{n:06}"), serde_json::to_vec(&product).unwrap_or_default())
        })
        .await?;
        println!("{products} products written in {:.1} s", filled.elapsed().as_secs_f64());
        let edge = mesh.caller("ns/shop/sa/edge", Role::Catalog, address, options);
        let (asked, started) = (seconds * 20_000, Instant::now());
        each(edge, asked, connections, move |n| {
            (Method::GET, format!("/api/v1/products/B{:06}", n.wrapping_mul(7_919) % products), Vec::new())
        })
        .await?;
        let rate = Duration::from_secs(asked).as_secs_f64() / started.elapsed().as_secs_f64();
        println!("{asked} products read at {rate:.0}/s over {connections} connections");
        Ok::<(), Failure>(())
    })?;
    shutdown.cancel();
    role.join().map_err(|_| "the role panicked")?
}

/// Sends `count` requests, `width` at a time.
async fn each(
    caller: Upstream,
    count: u64,
    width: u64,
    request: impl Fn(u64) -> (Method, String, Vec<u8>) + Clone + Send + Sync + 'static,
) -> Result<(), Failure> {
    let next = Arc::new(AtomicU64::new(0));
    let mut senders = JoinSet::new();
    for _ in 0..width {
        let (caller, next, request) = (caller.clone(), next.clone(), request.clone());
        senders.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return Ok::<(), Failure>(());
                }
                let (method, path, body) = request(n);
                let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
                let request = UpstreamRequest::new(method, &path, deadline)?.json(body);
                let answer = caller.send(request).await?;
                if !answer.status.is_success() {
                    return Err(format!("{path}: {}", answer.status).into());
                }
            }
        });
    }
    while let Some(ended) = senders.join_next().await {
        ended??;
    }
    Ok(())
}
