//! Orders per second and CPU per order without a listener: `cargo run --release -p zizon-orders --features testing
//! --example place -- [mem|disk] [orders] [in flight]`.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use zizon_orders::service::ShopRules;
use zizon_orders::testing::TestShop;
use zizon_table::{EmbeddedTable, EngineOptions, MemTable, Table};

fn main() {
    let mut args = std::env::args().skip(1);
    let kind = args.next().unwrap_or_else(|| "mem".to_owned());
    let mut number = |default| args.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (orders, in_flight): (usize, usize) = (number(200_000), number(256));
    let dir = std::env::temp_dir().join(format!("zizon-place-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure(&kind, &dir, orders, in_flight));
    drop(std::fs::remove_dir_all(&dir));
}

async fn measure(kind: &str, dir: &Path, orders: usize, in_flight: usize) {
    let table: Arc<dyn Table> = match kind {
        "disk" => EmbeddedTable::open(dir.join("table"), EngineOptions::default(), zizon_journal::Env::real())
            .expect("the table opens"),
        _ => Arc::new(MemTable::new()),
    };
    let shop = TestShop::new(table, dir, ShopRules::default());
    shop.sell("PROD001", 2_690_000);
    shop.stock("PROD001", 1_000_000_000).await;
    let bodies: Vec<String> = (0..orders)
        .map(|n| {
            format!(
                r#"{{"user_id":"user_{n}","items":[{{"product_id":"PROD001","quantity":2,"price":2690000}}],"idempotency_key":"test_{n}_0.5"}}"#
            )
        })
        .collect();
    let (started, cpu, own) = (Instant::now(), cpu_us("/proc/self/stat"), cpu_us("/proc/thread-self/stat"));
    futures_util::stream::iter(&bodies)
        .for_each_concurrent(in_flight, |body| async {
            shop.service.place(body.as_bytes(), None).await.expect("the order is placed");
        })
        .await;
    let seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a count of a benchmark")]
    let count = orders as f64;
    let (cpu, own) = ((cpu_us("/proc/self/stat") - cpu) / count, (cpu_us("/proc/thread-self/stat") - own) / count);
    println!("{:.0} orders/s, {cpu:.1} us CPU per order, {own:.1} us of it in the role's own thread", count / seconds);
}

/// User and system time in microseconds (clock ticks of 10 ms).
fn cpu_us(stat: &str) -> f64 {
    let text = std::fs::read_to_string(stat).unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks * 10_000.0
}
