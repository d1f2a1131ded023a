//! What reading a request head costs: our tokenizer against httparse behind the scan that it would need in front.
//!
//! `cargo run --release -p zizon-edge --example head_cost`

use std::hint::black_box;
use std::time::Instant;

use zizon_edge::h1::{HeadParser, Limits};

const HEAD: &[u8] =
    b"POST /api/v1/orders HTTP/1.1\r\nHost: api.cloudwave10.shop\r\nUser-Agent: k6/1.0 (https://k6.io/)\r\n\
Content-Length: 118\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n";
const ROUNDS: u32 = 2_000_000;

fn main() {
    let limits = Limits::default();
    let mut parser = HeadParser::default();
    let ours = time(|| {
        parser.reset();
        let complete = parser.advance(black_box(HEAD), &limits);
        assert_eq!(complete, Ok(true));
        parser.head().len
    });
    let theirs = time(|| {
        let bytes = black_box(HEAD);
        assert!(line_ends_are_strict(bytes));
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(len)) => len,
            other => panic!("{other:?}"),
        }
    });
    let mut parser = HeadParser::default();
    let ours_dripping = time_n(2000, || {
        parser.reset();
        (1..=HEAD.len()).filter(|end| parser.advance(black_box(&HEAD[..*end]), &limits) == Ok(true)).count()
    });
    let theirs_dripping = time_n(2000, || {
        let complete = |end: &usize| {
            let mut fields = [httparse::EMPTY_HEADER; 100];
            let parsed = httparse::Request::new(&mut fields).parse(black_box(&HEAD[..*end]));
            matches!(parsed, Ok(httparse::Status::Complete(_)))
        };
        (1..=HEAD.len()).filter(complete).count()
    });
    println!("head of {} bytes, ns per head", HEAD.len());
    println!("own tokenizer, framing and target rules included   {ours:8.0}");
    println!("line-end scan + httparse, none of the rules        {theirs:8.0}");
    println!("own tokenizer, byte by byte                        {ours_dripping:8.0}");
    println!("httparse, byte by byte                             {theirs_dripping:8.0}");
}

fn time(work: impl FnMut() -> usize) -> f64 {
    time_n(ROUNDS, work)
}

fn time_n(rounds: u32, mut work: impl FnMut() -> usize) -> f64 {
    let began = Instant::now();
    let mut sum = 0;
    for _ in 0..rounds {
        sum += work();
    }
    black_box(sum);
    began.elapsed().as_secs_f64() * 1e9 / f64::from(rounds)
}

/// The pre-scan: every LF follows a CR and every CR is followed by LF.
fn line_ends_are_strict(bytes: &[u8]) -> bool {
    memchr::memchr2_iter(b'\r', b'\n', bytes).all(|at| match bytes[at] {
        b'\r' => bytes.get(at + 1).is_none_or(|next| *next == b'\n'),
        _ => at > 0 && bytes[at - 1] == b'\r',
    })
}
