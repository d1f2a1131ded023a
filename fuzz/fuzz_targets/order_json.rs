//! The body of `POST /api/v1/orders`: never a panic, one reading, nothing lenient.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zizon_base::json;
use zizon_orders::request::{MAX_LINES, Rules, parse_order};

fuzz_target!(|data: &[u8]| {
    let rules = Rules::default();
    let first = parse_order(data, None, &rules);
    assert_eq!(first, parse_order(data, None, &rules), "the same bytes have one meaning");
    let Ok(order) = first else { return };
    // Whatever is accepted also passes the strict reading: no member twice, bounded depth, nothing after it.
    assert!(json::check(data).is_ok());
    assert!((1..=MAX_LINES).contains(&order.lines.len()));
    let units: u64 = order.lines.iter().map(|line| u64::from(line.quantity)).sum();
    let demanded: u64 = order.demand.iter().map(|demand| u64::from(demand.units)).sum();
    assert_eq!(units, demanded, "what is demanded is what the lines add up to");
    assert!(order.demand.iter().all(|demand| (1..=rules.max_units).contains(&demand.units)));
});
