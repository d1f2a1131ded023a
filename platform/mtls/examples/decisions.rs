//! How long a decision takes, and how long a policy of 1,000 rules takes to compile.
//!
//! `cargo run --release -p zizon-mtls --example decisions`

use std::{error::Error, fmt::Write as _, hint::black_box, time::Instant};

use zizon_base::{role::Role, spiffe::TrustDomain};
use zizon_mtls::authz::Policy;

const DECISIONS: u32 = 2_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let domain: TrustDomain = "zizon.local".parse()?;
    let policy = Policy::standard(&domain);
    let edge = Role::Edge.spiffe_id(&domain);
    for (method, path) in
        [("POST", "/api/v1/orders"), ("GET", "/api/v1/orders/ord_0123456789abcdef"), ("GET", "/internal/v1/orders")]
    {
        let begun = Instant::now();
        for _ in 0..DECISIONS {
            black_box(policy.decide(Role::Orders, black_box(&edge), method, black_box(path)));
        }
        println!("{method} {path}: {} ns", begun.elapsed().as_nanos() / u128::from(DECISIONS));
    }
    let mut text = "version: 1\nservices:\n  orders:\n    id: ns/shop/sa/orders\n    allow:\n".to_owned();
    for number in 0..1_000 {
        writeln!(text, "      - {{from: ns/shop/sa/caller-{number}, routes: [\"GET /a/{{id}}\", \"POST /b/**\"]}}")?;
    }
    let begun = Instant::now();
    Policy::from_yaml(&text, &domain)?;
    println!("1000 rules: {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    Ok(())
}
