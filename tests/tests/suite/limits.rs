//! What one client can take from the others.

use std::{fs, io::Write, time::Duration};

use zizon_tests::{Platform, client::order_body, client::read_answer, eventually_within};

#[test]
fn bodies_that_are_half_sent_hold_up_nobody() {
    let platform = Platform::builder().config("[edge]\nin_flight_max = 8\n").start();
    let client = platform.client();
    let body = order_body("slow-1", "PROD001", 1, 2_690_000);
    let (half, rest) = body.split_at(body.len() / 2);
    let head = format!(
        "POST /api/v1/orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{half}",
        body.len()
    );
    let mut slow: Vec<_> = (0..64)
        .map(|_| {
            let mut connection = client.connect().expect("a connection");
            connection.write_all(head.as_bytes()).and_then(|()| connection.flush()).expect("a half is sent");
            connection
        })
        .collect();
    for n in 0..20 {
        let answer = client.order(&format!("honest-{n}"), "PROD001", 1, 2_690_000);
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    }
    let last = slow.last_mut().expect("there are slow ones");
    last.write_all(rest.as_bytes()).and_then(|()| last.flush()).expect("the other half is sent");
    assert_eq!(read_answer(last).expect("an answer").status, 201, "who was slow until now is served as well");
}

#[test]
fn a_low_limit_of_open_files_lowers_the_bound_of_connections_and_is_said_once() {
    let config = "[edge]\nupstream_connections_max = 16\nconnections_max = 500\n";
    let platform = Platform::builder().config(config).open_files_max(256).start();
    let client = platform.client();
    let _idle: Vec<_> = (0..300).filter_map(|_| client.connect().ok()).collect();
    for n in 0..5 {
        let answer = client.order(&format!("crowded-{n}"), "PROD001", 1, 2_690_000);
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    }
    let log = platform.data().join("log/edge.log");
    eventually_within(Duration::from_secs(5), "the edge says it", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("edge.connections_max"))
    });
    let log = fs::read_to_string(&log).expect("the log of the edge");
    let said: Vec<_> = log.lines().filter(|line| line.contains("edge.connections_max")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("500") && said[0].contains("160") && said[0].contains("256"), "{said:?}");
    assert!(!log.contains("cannot accept a connection"), "the kernel's own limit is never reached");
}
