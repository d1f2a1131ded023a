//! Every rule of framing, over a stream in memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Echo, cases, connect, last_exchange, options, read_reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zizon_edge::connections::{Connections, Full};
use zizon_edge::h1::{self, Limits};

#[tokio::test]
async fn every_broken_rule_is_answered_with_its_problem_and_ends_the_connection() {
    for case in cases() {
        let mut served = connect(Limits::default());
        let reply = last_exchange(&mut served.client, &case.request).await;
        let reply = reply.unwrap_or_else(|| panic!("{}: no answer", case.name));
        assert_eq!(reply.status, case.status, "{}: {}", case.name, reply.text());
        let problem = reply.json();
        assert_eq!(problem["reason"], case.reason, "{}", case.name);
        assert_eq!(problem["status"], case.status, "{}", case.name);
        assert_eq!(reply.field("content-type"), Some("application/problem+json"), "{}", case.name);
        assert_eq!(reply.field("connection"), Some("close"), "{}", case.name);
        assert_eq!(served.handler.served.load(Ordering::SeqCst), 0, "{}: a request went through", case.name);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_makes_room_for_others() {
    let table = Connections::new(1, 10);
    let peer = "10.1.2.3:4".parse().unwrap();
    let entry = table.enter(peer).unwrap();
    let ender = entry.ender();
    let (mut client, server) = tokio::io::duplex(16 * 1024);
    let handler = Arc::new(Echo::default());
    let serving = tokio::spawn(h1::serve(server, peer, Arc::clone(&handler), options(Limits::default()), entry));
    ender.ends(serving.abort_handle());
    let body = "x".repeat(common::BODY_MAX);
    let request = format!("POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    client.write_all(request.as_bytes()).await.unwrap();
    while handler.served.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(table.enter(peer).map(drop), Err(Full::Everyone), "the answer has a moment");
    let others = async {
        while table.enter(peer).is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), others).await.expect("others are let in");
    assert!(serving.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn the_verdict_is_the_same_when_every_byte_comes_alone() {
    for case in cases().into_iter().filter(|case| case.request.len() < 400) {
        let mut served = connect(Limits::default());
        for byte in &case.request {
            if served.client.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let reply = read_reply(&mut served.client, true).await.unwrap_or_else(|| panic!("{}: no answer", case.name));
        assert_eq!((reply.status, &reply.json()["reason"]), (case.status, &case.reason.into()), "{}", case.name);
    }
}

#[tokio::test]
async fn well_formed_requests_are_served_one_after_the_other() {
    let mut served = connect(Limits::default());
    for (request, body) in [
        ("GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a "),
        ("GET https://x/abs?q HTTP/1.1\r\nHost: X:443\r\n\r\n", "GET /abs "),
        ("POST /b HTTP/1.1\r\nhost: x\r\ncontent-length:3\r\n\r\nabc", "POST /b abc"),
        (
            "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: u\r\n\r\n",
            "POST /c abcde",
        ),
        ("\r\nOPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS * "),
        ("POST /d HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "POST /d "),
        ("GET /e?a[]={%7D}|^`'\\ HTTP/1.1\r\nHost: x\r\nX: \u{e9}\r\n\r\n", "GET /e "),
    ] {
        served.client.write_all(request.as_bytes()).await.unwrap();
        let reply = read_reply(&mut served.client, true).await.unwrap();
        assert_eq!((reply.status, reply.text()), (200, body));
        assert_eq!(reply.field("connection"), None);
        assert_eq!(reply.field("x-content-type-options"), Some("nosniff"));
        assert!(reply.field("date").unwrap().ends_with(" GMT"));
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let mut served = connect(Limits::default());
    let requests = (0..50).map(|n| format!("POST /{n} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok"));
    served.client.write_all(requests.collect::<String>().as_bytes()).await.unwrap();
    for n in 0..50 {
        assert_eq!(read_reply(&mut served.client, true).await.unwrap().text(), format!("POST /{n} ok"));
    }
}

#[tokio::test]
async fn the_client_that_waits_for_continue_gets_it_once() {
    let mut served = connect(Limits::default());
    let head = b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    served.client.write_all(head).await.unwrap();
    assert_eq!(read_reply(&mut served.client, false).await.unwrap().status, 100);
    served.client.write_all(b"abc").await.unwrap();
    assert_eq!(read_reply(&mut served.client, true).await.unwrap().text(), "POST /a abc");
}

#[tokio::test]
async fn the_client_that_waits_for_continue_is_refused_before_it_sends() {
    let mut served = connect(Limits::default());
    let head = b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999\r\n\r\n";
    assert_eq!(last_exchange(&mut served.client, head).await.unwrap().status, 413);
}

#[tokio::test]
async fn head_is_answered_with_the_length_and_no_body() {
    let mut served = connect(Limits::default());
    served.client.write_all(b"HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let reply = read_reply(&mut served.client, false).await.unwrap();
    assert_eq!(reply.field("content-length"), Some("8"));
    let mut rest = Vec::new();
    served.client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn http_1_0_and_connection_close_end_after_the_answer() {
    for request in ["GET /a HTTP/1.0\r\nHost: x\r\n\r\n", "GET /a HTTP/1.1\r\nHost: x\r\nConnection: x, Close\r\n\r\n"]
    {
        let reply = last_exchange(&mut connect(Limits::default()).client, request.as_bytes()).await.unwrap();
        assert_eq!((reply.status, reply.field("connection")), (200, Some("close")));
    }
}

#[tokio::test]
async fn a_refusal_keeps_the_connection_when_the_body_has_come() {
    let mut served = connect(Limits::default());
    let both = b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: x\r\n\r\n";
    served.client.write_all(both).await.unwrap();
    assert_eq!(read_reply(&mut served.client, true).await.unwrap().status, 403);
    assert_eq!(read_reply(&mut served.client, true).await.unwrap().text(), "GET /b ");
}

#[tokio::test]
async fn a_refusal_keeps_the_connection_of_a_client_that_sends_its_body_later() {
    let mut served = connect(Limits::default());
    for n in 0..3 {
        served.client.write_all(b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n").await.unwrap();
        let reply = read_reply(&mut served.client, true).await.unwrap();
        assert_eq!((reply.status, reply.field("connection")), (403, None), "{n}");
        // The body looks like a request, and is none.
        let mut body = b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
        body.resize(30_000, b'x');
        served.client.write_all(&body).await.unwrap();
    }
    served.client.write_all(b"GET /c HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(read_reply(&mut served.client, true).await.unwrap().text(), "GET /c ");
}

#[tokio::test]
async fn a_refused_body_that_does_not_come_ends_the_connection() {
    let limits = Limits { linger_time_max: Duration::from_millis(100), ..Limits::default() };
    let mut served = connect(limits);
    served.client.write_all(b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc").await.unwrap();
    assert_eq!(read_reply(&mut served.client, true).await.unwrap().status, 403);
    tokio::time::timeout(Duration::from_secs(5), served.task).await.expect("the connection ends").unwrap();
}

#[tokio::test]
async fn a_refused_client_that_waits_for_continue_is_not_waited_for() {
    let mut served = connect(Limits::default());
    let head = b"POST /refused HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    let reply = last_exchange(&mut served.client, head).await.unwrap();
    assert_eq!((reply.status, reply.field("connection")), (403, Some("close")));
}

#[tokio::test]
async fn an_early_refusal_reaches_a_client_that_is_still_sending_a_megabyte() {
    for path in ["/refused", "/too-large"] {
        let served = connect(Limits::default());
        let (mut reading, mut writing) = tokio::io::split(served.client);
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
        let sending = tokio::spawn(async move {
            writing.write_all(head.as_bytes()).await?;
            writing.write_all(&vec![b'x'; 1_000_000]).await
        });
        let reply = read_reply(&mut reading, true).await.expect("the answer");
        assert!(matches!(reply.status, 403 | 413));
        assert_eq!(reply.field("connection"), Some("close"));
        sending.await.unwrap().expect("the whole body is taken, not reset");
    }
}

#[tokio::test]
async fn what_a_client_sends_after_a_refusal_is_dropped_within_a_bound() {
    let limits = Limits { linger_time_max: Duration::from_millis(200), ..Limits::default() };
    let mut served = connect(limits);
    served.client.write_all(b"GET /x HTTP/1.1\r\nHost\r\n\r\n").await.unwrap();
    assert_eq!(read_reply(&mut served.client, true).await.unwrap().status, 400);
    let endless = async { while served.client.write_all(&[b'x'; 1024]).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(5), endless).await.expect("the connection ends");
    served.task.await.unwrap();
}

fn hasty() -> Limits {
    Limits {
        head_time_max: Duration::from_millis(150),
        body_time_max: Duration::from_millis(600),
        body_grace: Duration::from_millis(150),
        idle_time_max: Duration::from_millis(150),
        linger_time_max: Duration::from_millis(50),
        ..Limits::default()
    }
}

/// Writes one byte at a time until the server ends the connection, then says what it answered.
async fn drip(limits: Limits, first: &[u8], byte: u8) -> common::Reply {
    let served = connect(limits);
    let (mut reading, mut writing) = tokio::io::split(served.client);
    writing.write_all(first).await.unwrap();
    let dripping = tokio::spawn(async move {
        while writing.write_all(&[byte]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let reply = read_reply(&mut reading, true).await.expect("an answer");
    dripping.abort();
    reply
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off_at_its_one_deadline() {
    let reply = drip(hasty(), b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b'x').await;
    assert_eq!((reply.status, &reply.json()["reason"]), (408, &"head-timeout".into()));
    assert_eq!(reply.json()["retryable"], true);
}

#[tokio::test]
async fn a_body_that_drips_is_cut_off_at_the_least_rate() {
    let reply = drip(hasty(), b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n", b'x').await;
    assert_eq!((reply.status, &reply.json()["reason"]), (408, &"body-timeout".into()));
    let reply = drip(hasty(), b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n", b'x').await;
    assert_eq!(reply.json()["reason"], "body-timeout");
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let mut served = connect(hasty());
    served.client.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(read_reply(&mut served.client, true).await.unwrap().status, 200);
    assert!(read_reply(&mut served.client, true).await.is_none());
    let mut silent = connect(hasty());
    assert!(read_reply(&mut silent.client, true).await.is_none());
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_dropped() {
    let limits = Limits { write_time_max: Duration::from_millis(100), ..hasty() };
    let mut served = connect(limits);
    let many = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n".repeat(500);
    let _ = tokio::time::timeout(Duration::from_secs(5), served.client.write_all(many.as_bytes())).await;
    tokio::time::timeout(Duration::from_secs(5), served.task).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn a_draining_edge_says_that_the_connection_ends() {
    let mut served = connect(Limits::default());
    served.handler.draining.store(true, Ordering::SeqCst);
    let reply = last_exchange(&mut served.client, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!((reply.status, reply.field("connection")), (200, Some("close")));
}

#[tokio::test]
async fn a_body_cut_short_is_not_served() {
    let mut served = connect(Limits::default());
    served.client.write_all(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc").await.unwrap();
    served.client.shutdown().await.unwrap();
    let reply = read_reply(&mut served.client, true).await.unwrap();
    assert_eq!(reply.json()["reason"], "body-truncated");
    assert_eq!(served.handler.served.load(Ordering::SeqCst), 0);
}
