//! The generator and the verifier against a small TLS platform.

#![allow(clippy::unwrap_used)]

mod platform;

use std::sync::atomic::Ordering;
use std::time::Duration;

use platform::{Platform, State};
use serde_json::json;
use zizon_load::acks::Reader;
use zizon_load::{Keys, LoadError, OrdersLoad, Rate, Report, Verify, VerifyError, VerifyReport, run, verify};

fn load(platform: &Platform, rate: f64, millis: u64) -> OrdersLoad {
    OrdersLoad {
        rate: Rate::PerSecond(rate),
        duration: Duration::from_millis(millis),
        connections: 8,
        ..OrdersLoad::to(&platform.url, &platform.ca)
    }
}

fn report(load: &OrdersLoad) -> Report {
    run(load, |_| {}).unwrap()
}

fn check(platform: &Platform, acks: &std::path::Path) -> VerifyReport {
    verify(&Verify::against(&platform.url, &platform.ca, acks), |_| {}).unwrap()
}

#[test]
fn every_scheduled_order_is_sent_and_created() {
    let platform = Platform::start(State::default());
    let report = report(&load(&platform, 500.0, 1_000));
    assert_eq!((report.created, report.replayed, report.errors, report.unsent), (500, 0, 0, 0));
    assert_eq!(report.statuses[&201], 500);
    assert_eq!(platform.state.lock().unwrap().orders.len(), 500);
    assert!((report.achieved_rate - 500.0).abs() < 50.0, "{report:?}");
    assert!(report.cpu_seconds > 0.0);
}

#[test]
fn a_stall_of_the_server_shows_in_the_latency_from_the_intended_start() {
    let stall = Some((400, Duration::from_millis(300)));
    let platform = Platform::start(State { stall, ..State::default() });
    let report = report(&load(&platform, 1_000.0, 1_000));
    // 300 of 1,000 requests were meant to start during the stall; only 8 connections were there to feel it.
    assert!(report.p99_ms >= 250.0, "{report:?}");
    assert!(report.late_sends >= 200, "{report:?}");
    assert_eq!(report.created, 1_000);
}

#[test]
fn a_fixed_key_makes_one_order_in_each_run_and_replays_it() {
    let platform = Platform::start(State::default());
    let load = OrdersLoad { keys: Keys::Fixed, ..load(&platform, 200.0, 500) };
    for run in 1..=2 {
        let report = report(&load);
        assert_eq!((report.created, report.replayed, report.errors), (1, 99, 0));
        assert_eq!(platform.state.lock().unwrap().orders.len(), run);
    }
}

#[test]
fn refusals_are_counted_by_status_and_problem_code() {
    let platform = Platform::start(State { refuse_every: Some(4), ..State::default() });
    let report = report(&load(&platform, 400.0, 500));
    assert_eq!((report.created, report.errors), (150, 50));
    assert_eq!(report.statuses[&503], 50);
    assert_eq!(report.error_kinds["overloaded"], 50);
    assert!(report.refused_p99_ms.unwrap() > 0.0 && report.accepted_p99_ms.unwrap() > 0.0, "{report:?}");
}

#[test]
fn accepted_and_refused_answers_have_latencies_of_their_own() {
    let stall = Some((100, Duration::from_millis(300)));
    let platform = Platform::start(State { stall, ..State::default() });
    let report = report(&load(&platform, 500.0, 600));
    // Nothing was refused: the stall is in the latency of the accepted, from their intended start.
    assert_eq!((report.errors, report.refused_p99_ms), (0, None));
    let (accepted, sent) = (report.accepted_p99_ms.unwrap(), report.accepted_sent_p99_ms.unwrap());
    assert!(accepted >= 250.0, "{report:?}");
    // Only the eight that were under way felt it themselves; the others waited for a connection.
    assert!(sent < accepted / 2.0 || report.created < 800, "{report:?}");
}

#[test]
fn orders_are_spread_over_all_products_that_are_named() {
    let platform = Platform::start(State::default());
    let products = vec!["SERUM".to_owned(), "SERUM.2".to_owned(), "SERUM.3".to_owned()];
    let run_over = OrdersLoad { products: products.clone(), ..load(&platform, 500.0, 600) };
    assert_eq!(report(&run_over).created, 300);
    let state = platform.state.lock().unwrap();
    for product in &products {
        let count = state.orders.values().filter(|order| order["items"][0]["product_id"] == product.as_str()).count();
        assert!(count > 50, "{product}: {count}");
    }
    assert!(state.orders.values().all(|order| order["market"] == "JP" && order["items"][0]["price"] == 1_200));
}

#[test]
fn one_of_many_products_that_is_not_sold_ends_the_run_before_it_begins() {
    let platform = Platform::start(State::default());
    let products = vec!["SERUM".to_owned(), "NOPE".to_owned()];
    let error = run(&OrdersLoad { products: products.clone(), ..load(&platform, 500.0, 500) }, |_| {}).unwrap_err();
    assert!(matches!(&error, LoadError::Product { product, .. } if product == "NOPE"), "{error}");
    let fixed = OrdersLoad { products, keys: Keys::Fixed, ..load(&platform, 500.0, 500) };
    assert!(matches!(run(&fixed, |_| {}), Err(LoadError::Option { what: "products", .. })));
}

#[test]
fn closed_connections_are_replaced_without_losing_a_request() {
    let platform = Platform::start(State { close_every: Some(1), ..State::default() });
    let report = report(&load(&platform, 50.0, 1_000));
    assert_eq!(report.created + report.errors, 50);
    assert!(report.created >= 45, "{report:?}");
    assert!(report.reconnects >= 40, "{report:?}");
}

#[test]
fn an_answer_that_does_not_come_is_an_error_of_unknown_outcome() {
    let platform = Platform::start(State { silent: true, ..State::default() });
    let load = OrdersLoad { request_timeout: Duration::from_millis(100), connections: 2, ..load(&platform, 10.0, 500) };
    let report = report(&load);
    assert_eq!(report.error_kinds["timeout"], 5);
    assert_eq!((report.achieved_rate, report.accepted_p99_ms, report.refused_p99_ms), (0.0, None, None));
}

#[test]
fn requests_that_find_no_connection_are_reported_and_not_omitted() {
    let platform = Platform::start(State { silent: true, ..State::default() });
    let load = OrdersLoad { request_timeout: Duration::from_secs(2), connections: 2, ..load(&platform, 100.0, 300) };
    let report = report(&load);
    assert_eq!((report.sent, report.unsent), (2, 28));
    assert!(report.p50_ms >= 1_000.0, "{report:?}");
}

#[test]
fn a_closed_loop_keeps_every_connection_busy() {
    let platform = Platform::start(State::default());
    let load = OrdersLoad { rate: Rate::Max, ..load(&platform, 1.0, 500) };
    let report = report(&load);
    assert!(report.created > 200, "{report:?}");
    assert_eq!(report.requested_rate, None);
    assert_eq!(report.late_sends, 0);
}

#[test]
fn a_stopped_run_still_reports() {
    let platform = Platform::start(State::default());
    for rate in [Rate::Max, Rate::PerSecond(100.0)] {
        let load = OrdersLoad { rate, duration: Duration::from_secs(600), ..load(&platform, 1.0, 1) };
        let stop = load.stop.clone();
        let mut first = None;
        let report = run(&load, |progress| {
            first.get_or_insert((progress.elapsed, progress.sent));
            stop.store(progress.created > 0, Ordering::Relaxed);
        })
        .unwrap();
        assert_eq!(first, Some((Duration::ZERO, 0)), "the first progress is the beginning");
        assert!(report.created > 0);
        assert!(report.duration_s < 60.0);
    }
}

#[test]
fn a_named_product_is_ordered_at_its_catalog_price_in_its_market() {
    let platform = Platform::start(State::default());
    let load = OrdersLoad { product: Some("SERUM".into()), ..load(&platform, 20.0, 100) };
    assert_eq!(report(&load).created, 2);
    let state = platform.state.lock().unwrap();
    let order = state.orders.values().next().unwrap();
    assert_eq!(order["items"][0], json!({"product_id": "SERUM", "quantity": 1, "price": 1200}));
    assert_eq!(order["market"], "JP");
}

#[test]
fn a_run_that_cannot_start_says_why() {
    let platform = Platform::start(State::default());
    let ok = load(&platform, 10.0, 100);
    let error = |load: OrdersLoad| run(&load, |_| {}).unwrap_err();
    assert!(matches!(error(OrdersLoad { url: "http://localhost".into(), ..ok.clone() }), LoadError::Url { .. }));
    assert!(matches!(error(OrdersLoad { ca_file: "/nonexistent".into(), ..ok.clone() }), LoadError::Ca { .. }));
    for (url, named) in [
        ("https://localhost:1", ["localhost:1", ":1: "]),
        ("https://nowhere.invalid:1", ["nowhere.invalid:1", "resolve"]),
    ] {
        let error = error(OrdersLoad { url: url.into(), ..ok.clone() });
        assert!(matches!(error, LoadError::Connect { .. }));
        assert!(named.iter().all(|part| error.to_string().contains(part)), "{error}");
        assert!(error.help().contains("--url"));
    }
    assert!(matches!(error(OrdersLoad { product: Some("NONE".into()), ..ok.clone() }), LoadError::Product { .. }));
    assert!(matches!(error(OrdersLoad { connections: 0, ..ok }), LoadError::Option { what: "connections", .. }));
}

#[test]
fn acknowledged_orders_are_on_disk_and_verify() {
    let platform = Platform::start(State { refuse_every: Some(10), ..State::default() });
    let acks = platform.dir.path().join("acks");
    let load = OrdersLoad { acks: Some(acks.clone()), ..load(&platform, 400.0, 500) };
    let report = report(&load);
    assert_eq!(report.acked, Some(report.created));
    let mut reader = Reader::open(&acks).unwrap();
    let mut lines = 0;
    while let Some(line) = reader.next_line().unwrap() {
        assert!(line.t_ack >= line.t_sent);
        lines += 1;
    }
    assert_eq!(lines, report.created);
    for order in platform.state.lock().unwrap().orders.values_mut() {
        order["status"] = json!("expired");
    }
    let verified = check(&platform, &acks);
    assert!(verified.is_clean(), "{}", verified.render());
    assert_eq!(verified.checked, report.created);
}

#[test]
fn replays_are_verified_once() {
    let platform = Platform::start(State::default());
    let acks = platform.dir.path().join("acks");
    let load = OrdersLoad { keys: Keys::Fixed, acks: Some(acks.clone()), ..load(&platform, 100.0, 500) };
    assert_eq!(report(&load).acked, Some(50));
    let verified = check(&platform, &acks);
    assert!(verified.is_clean(), "{}", verified.render());
    assert_eq!((verified.checked, verified.repeated), (1, 49));
}

#[test]
fn a_lost_a_changed_and_a_doubled_order_are_found() {
    let platform = Platform::start(State::default());
    let acks = platform.dir.path().join("acks");
    report(&OrdersLoad { acks: Some(acks.clone()), ..load(&platform, 100.0, 200) });
    {
        let mut state = platform.state.lock().unwrap();
        state.orders.remove("ord_3");
        state.orders.get_mut("ord_5").unwrap()["totals"]["total"] = json!(1);
    }
    let text = std::fs::read_to_string(&acks).unwrap();
    let doubled = text.lines().next().unwrap().replace("ord_", "ord_9");
    std::fs::write(&acks, format!("{text}{doubled}\n")).unwrap();
    let verified = check(&platform, &acks);
    assert!(!verified.is_clean());
    assert_eq!(verified.different, ["ord_5"]);
    assert_eq!((verified.missing_total, verified.duplicates_total), (2, 1), "{}", verified.render());
}

#[test]
fn bad_lines_are_listed_and_the_rest_is_checked() {
    let platform = Platform::start(State::default());
    let acks = platform.dir.path().join("acks");
    report(&OrdersLoad { acks: Some(acks.clone()), ..load(&platform, 100.0, 100) });
    platform.state.lock().unwrap().orders.remove("ord_9");
    let text = std::fs::read_to_string(&acks).unwrap();
    std::fs::write(&acks, format!("nonsense\n{}\n{text}", r#"{"id":"ord_1","extra":1}"#)).unwrap();
    let verified = check(&platform, &acks);
    assert!(!verified.is_clean());
    assert_eq!((verified.checked, verified.missing_total, verified.bad_lines_total), (10, 1, 2));
    for (line, listed) in [1, 2].iter().zip(&verified.bad_lines) {
        assert!(listed.contains(&format!("acks:{line}: ")), "{listed}");
    }
}

#[test]
fn a_file_without_acknowledgements_is_no_success() {
    let platform = Platform::start(State::default());
    let acks = platform.dir.path().join("acks");
    for text in ["", "{\"id\":\"ord_"] {
        std::fs::write(&acks, text).unwrap();
        let verified = check(&platform, &acks);
        assert!(!verified.is_clean(), "{text:?}");
        assert_eq!(verified.failure().unwrap(), "nothing to check: the file holds no acknowledged order");
    }
}

#[test]
fn a_platform_that_does_not_answer_ends_the_verification() {
    let platform = Platform::start(State::default());
    let acks = platform.dir.path().join("acks");
    report(&OrdersLoad { acks: Some(acks.clone()), ..load(&platform, 50.0, 100) });
    let gone = Verify { patience: Duration::ZERO, ..Verify::against("https://localhost:1", &platform.ca, &acks) };
    assert!(matches!(verify(&gone, |_| {}), Err(VerifyError::Unavailable { .. })));
}
