//! File descriptors that have really run out: the bound of a running role is lowered to what it has open.

use std::{
    fs,
    io::Write,
    thread,
    time::{Duration, Instant},
};

use zizon_tests::{
    Load, Platform,
    client::{order_body, read_answer, request},
    eventually_within,
    load::PRODUCT,
    platform::{limit_descriptors, open_descriptors, processor_time},
};

const PRICE: i64 = 2_690_000;

#[test]
fn an_edge_without_descriptors_serves_those_it_has_without_spinning_and_recovers() {
    let mut platform = Platform::demo();
    let client = platform.client();
    let acks = platform.data().join("acks.jsonl");
    // Its connections are made before descriptors run out, and stay.
    let load = Load::start(&platform, &acks, 100, 10);
    eventually_within(Duration::from_secs(10), "orders flow", || load.acked() > 50);
    let edge = platform.role_pid("edge");
    limit_descriptors(edge, Some(open_descriptors(edge) + 12));

    // Each is in the middle of its request, so that none is idle and can make room; and each has sent so much of it that it is
    // not slow for a while.
    let half = |n: usize| {
        let body = format!("{}{}", " ".repeat(40_000), order_body(&format!("half-{n}"), PRODUCT, 1, PRICE));
        let bytes = request("POST", "/api/v1/orders", &[("Content-Type", "application/json")], body.as_bytes());
        let (first, rest) = bytes.split_at(bytes.len() - 20);
        (first.to_vec(), rest.to_vec())
    };
    let mut inside = Vec::new();
    for n in 0..64 {
        let (first, rest) = half(n);
        let Ok(mut connection) = client.connect_within(Duration::from_secs(1)) else { break };
        connection.write_all(&first).and_then(|()| connection.flush()).expect("a first part is sent");
        inside.push((connection, rest));
    }
    assert!((1..64).contains(&inside.len()), "{} got in: descriptors did not run out", inside.len());
    let log = platform.data().join("log/edge.log");
    eventually_within(Duration::from_secs(5), "the edge says it", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("cannot accept a connection"))
    });

    // Somebody waits outside all this time; the edge goes on with those it has, and does not burn a processor for it.
    let outside = thread::spawn({
        let client = client.clone();
        move || client.connect_within(Duration::from_secs(20)).map(drop)
    });
    let (before, began, acked) = (processor_time(edge), Instant::now(), load.acked());
    thread::sleep(Duration::from_secs(2));
    let (used, took) = (processor_time(edge) - before, began.elapsed());
    assert!(used * 3 < took, "{used:?} of processor time in {took:?}");
    assert!(load.acked() > acked + 50, "orders of those who are in go on: {acked}, then {}", load.acked());
    let said = fs::read_to_string(&log).expect("the log of the edge");
    let complaints = said.lines().filter(|line| line.contains("cannot accept a connection")).count();
    assert!(complaints < 20, "{complaints} complaints");

    let count = inside.len();
    for (mut connection, rest) in inside {
        connection.write_all(&rest).and_then(|()| connection.flush()).expect("the rest is sent");
        assert_eq!(read_answer(&mut connection).expect("an answer").status, 201);
    }
    // They have closed; whoever waited gets in, although the bound is as low as before.
    outside.join().expect("it ends").expect("whoever waited outside gets in");
    assert_eq!(client.get("/api/v1/products/PROD001").status, 200);
    limit_descriptors(edge, None);
    assert_eq!(platform.role_pid("edge"), edge, "the edge was not started again");
    load.assert_nothing_lost(&mut platform, i64::try_from(count).expect("a number of orders"));
}

#[test]
fn orders_without_descriptors_loses_nothing_it_has_acknowledged() {
    let mut platform = Platform::demo();
    let acks = platform.data().join("acks.jsonl");
    let load = Load::start(&platform, &acks, 2000, 12);
    eventually_within(Duration::from_secs(10), "orders flow", || load.acked() > 500);
    let orders = platform.role_pid("orders");
    // Not one more than it has open: no segment, no file of the index, no connection.
    limit_descriptors(orders, Some(open_descriptors(orders)));
    // Somebody else comes, with a connection of his own, and is not let in: that is how one knows that they have run out.
    let check = platform.run(&["fsck", "--online"]);
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert_eq!(check.status.code(), Some(3), "{said}");
    assert!(said.contains("orders") && said.contains("help:"), "{said}");
    thread::sleep(Duration::from_secs(2));
    if platform.role_pid("orders") == orders {
        limit_descriptors(orders, None);
    }
    platform.wait_ready();
    let before = load.acked();
    eventually_within(Duration::from_secs(10), "orders flow again", || load.acked() > before + 200);
    load.assert_nothing_lost(&mut platform, 0);
}
