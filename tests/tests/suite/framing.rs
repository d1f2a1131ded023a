//! Requests that could be read in two ways, or never end, are refused with a reason and the connection closed.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use zizon_tests::{Answer, Platform, client::read_answer, eventually};

const HEAD: &str = "POST /api/v1/orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

fn refused(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
    assert_eq!(answer.header("connection"), Some("close"), "{what}");
}

#[test]
fn the_smuggling_set_is_refused() {
    let platform = Platform::demo();
    let client = platform.client();
    let cases: &[(&str, &str)] = &[
        ("length and chunked", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("two equal lengths", "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"),
        ("two different lengths", "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
        ("a list of lengths", "Content-Length: 2, 2\r\n\r\n{}"),
        ("a signed length", "Content-Length: +2\r\n\r\n{}"),
        ("a negative length", "Content-Length: -2\r\n\r\n{}"),
        ("a folded header", "X-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}"),
        ("a space before the colon", "X-A : b\r\nContent-Length: 2\r\n\r\n{}"),
        ("a NUL in a value", "X-A: b\0c\r\nContent-Length: 2\r\n\r\n{}"),
        ("a bare CR in a value", "X-A: b\rc\r\nContent-Length: 2\r\n\r\n{}"),
        ("a bare LF after a header", "X-A: b\nContent-Length: 2\r\n\r\n{}"),
        ("chunked twice", "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        ("chunked not last", "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        ("an unknown coding", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        ("a bad chunk size", "Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n"),
        ("a signed chunk size", "Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n"),
        ("a chunk without its end", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n"),
        ("a chunk size that overflows", "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff2\r\n{}\r\n0\r\n\r\n"),
    ];
    for (what, rest) in cases {
        refused(&client.raw(format!("{HEAD}{rest}").as_bytes()), 400, what);
    }
    for (what, head) in [
        ("no host", "GET /readyz HTTP/1.1\r\n\r\n"),
        ("two hosts", "GET /readyz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("a bare LF after the request line", "GET /readyz HTTP/1.1\nHost: a\r\n\r\n"),
        ("a fragment", "GET /readyz#x HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a bad escape", "GET /read%zz HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            "chunked in HTTP/1.0",
            "POST /api/v1/orders HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("another host in the URI", "GET https://b/readyz HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        refused(&client.raw(head.as_bytes()), 400, what);
    }
}

#[test]
fn a_chunked_body_is_read_as_one() {
    let platform = Platform::demo();
    let body = zizon_tests::client::order_body("chunked-1", "PROD001", 1, 2_690_000);
    let (first, second) = body.split_at(40);
    let chunked = format!(
        "{HEAD}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    assert_eq!(platform.client().raw(chunked.as_bytes()).status, 201);
}

#[test]
fn oversized_parts_have_their_own_answers() {
    let platform = Platform::demo();
    let client = platform.client();
    let uri = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "u".repeat(9000));
    assert_eq!(client.raw(uri.as_bytes()).status, 414);
    let many: String = (0..101).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert_eq!(client.raw(format!("GET /readyz HTTP/1.1\r\nHost: a\r\n{many}\r\n").as_bytes()).status, 431);
    let large = format!("GET /readyz HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "v".repeat(40_000));
    assert_eq!(client.raw(large.as_bytes()).status, 431);
    let declared = format!("{HEAD}Content-Length: 70000\r\n\r\n");
    assert_eq!(client.raw(declared.as_bytes()).status, 413);
    let text = client.try_send("POST", "/api/v1/orders", &[("Content-Type", "text/plain")], b"{}").expect("an answer");
    assert_eq!((text.status, text.code().as_str()), (415, "unsupported-media-type"));
}

#[test]
fn an_early_refusal_reaches_a_client_that_is_still_sending() {
    let platform = Platform::demo();
    let mut connection = platform.client().connect().expect("a connection");
    connection.write_all(format!("{HEAD}Content-Length: 900000\r\n\r\n").as_bytes()).expect("the head is sent");
    for _ in 0..90 {
        // The server may stop reading at any point after its answer.
        if connection.write_all(&[b' '; 10_000]).is_err() {
            break;
        }
    }
    let _ = connection.flush();
    assert_eq!(read_answer(&mut connection).expect("the answer arrives").status, 413);
}

#[test]
fn a_slow_head_is_given_up_and_others_are_served_meanwhile() {
    let platform = Platform::demo();
    let client = platform.client();
    let mut slow = client.connect().expect("a connection");
    slow.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\nX-").expect("a part is sent");
    slow.flush().expect("a part is sent");
    let began = Instant::now();
    assert_eq!(client.get("/readyz").status, 200);
    let mut rest = Vec::new();
    // Either a 408 or a closed connection: what matters is that it ends.
    let _ = slow.read_to_end(&mut rest);
    assert!(began.elapsed() < Duration::from_secs(12), "the slow connection was kept {} s", began.elapsed().as_secs());
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let platform = Platform::demo();
    let mut connection = platform.client().connect().expect("a connection");
    let one = "GET /api/v1/products/PROD001 HTTP/1.1\r\nHost: a\r\n\r\n";
    let two = "GET /api/v1/products/NOPE HTTP/1.1\r\nHost: a\r\n\r\n";
    connection.write_all(format!("{one}{two}{one}").as_bytes()).expect("three requests are sent");
    connection.flush().expect("three requests are sent");
    let statuses: Vec<u16> = (0..3).map(|_| read_answer(&mut connection).expect("an answer").status).collect();
    assert_eq!(statuses, [200, 404, 200]);
}

#[test]
fn what_is_not_there_says_so() {
    let platform = Platform::demo();
    let client = platform.client();
    let missing = client.get("/nope");
    assert_eq!((missing.status, missing.code().as_str()), (404, "not-found"));
    let method = client.try_send("DELETE", "/api/v1/orders", &[], b"").expect("an answer");
    assert_eq!((method.status, method.header("allow")), (405, Some("POST, OPTIONS")));
    for internal in ["/internal/v1/stock/PROD001", "/metrics", "/internal/v1/orders"] {
        assert_eq!(client.get(internal).status, 404, "{internal} is not public");
    }
}

#[test]
fn what_cannot_be_read_is_on_the_log_with_its_reason_at_most_ten_times_a_second() {
    let platform = Platform::demo();
    let client = platform.client();
    let began = Instant::now();
    let mut reason = String::new();
    for _ in 0..100 {
        let answer = client.raw(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx");
        assert_eq!(answer.status, 400);
        answer.json()["reason"].as_str().expect("a reason").clone_into(&mut reason);
    }
    let line = format!("\"reason\":\"{reason}\"");
    eventually("it is on the log", || platform.logs().contains(&line));
    let lines = platform.logs().matches(&line).count() as u64;
    assert!(lines <= 10 * (began.elapsed().as_secs() + 2), "{lines} lines in {:?}", began.elapsed());
}
