//! A handler that answers what it was asked, and the set of requests that must not pass.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod mesh;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use zizon_base::problem::Problem;
use zizon_edge::answer::{Answer, Hardening};
use zizon_edge::h1::{self, DateCache, H1Options, Limits, Reject};
use zizon_edge::handler::{Begun, Handler};
use zizon_edge::view::{Protocol, RequestView};
use zizon_service::RequestId;

/// Answers `METHOD PATH BODY`; `/refused` is answered before its body is read.
#[derive(Debug, Default)]
pub struct Echo {
    pub served: AtomicUsize,
    pub draining: AtomicBool,
}

pub const BODY_MAX: usize = 64 * 1024;

impl Handler for Echo {
    type Ticket = ();

    fn begin(&self, request: &RequestView<'_>) -> Begun<()> {
        if request.path == "/refused" {
            let id = RequestId::random();
            return Begun::Answer(Answer::new(StatusCode::FORBIDDEN, "text/plain", Bytes::from_static(b"no"), id));
        }
        Begun::Proceed { ticket: (), body_bytes_max: BODY_MAX }
    }

    async fn finish(&self, request: &RequestView<'_>, (): (), body: Bytes) -> Answer {
        self.served.fetch_add(1, Ordering::SeqCst);
        let text = [request.method.as_bytes(), b" ", request.path.as_bytes(), b" ", &body].concat();
        let mut answer = Answer::new(StatusCode::OK, "text/plain", text.into(), RequestId::random());
        answer.head_only = request.method == "HEAD";
        answer
    }

    fn refuse(&self, reject: Reject, _: Protocol, _: Option<()>) -> Answer {
        let problem = Problem::new(reject.code()).detail(reject.detail()).with("reason", reject.reason());
        Answer::unread(&problem, RequestId::random()).closing()
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}

pub fn options(limits: Limits) -> Arc<H1Options> {
    Arc::new(H1Options { limits, hardening: Hardening::new(0), date: DateCache::default() })
}

/// A served connection and the client's end of it.
pub struct Served {
    pub client: DuplexStream,
    pub handler: Arc<Echo>,
    pub task: JoinHandle<()>,
}

pub fn connect(limits: Limits) -> Served {
    let (client, server) = tokio::io::duplex(16 * 1024);
    let handler = Arc::new(Echo::default());
    let peer = "10.1.2.3:4".parse().unwrap();
    let task = tokio::spawn(h1::serve(server, peer, Arc::clone(&handler), options(limits), ()));
    Served { client, handler, task }
}

/// One answer: status, head and body.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Reads one answer from `stream`, byte by byte behind its head, so that the next one is left alone.
pub async fn read_reply(stream: &mut (impl AsyncRead + Unpin), body_follows: bool) -> Option<Reply> {
    let reading = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).await.ok()? == 0 {
                return None;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: Vec::new() };
        if body_follows {
            let length = reply.field("content-length").map_or(0, |text| text.parse().unwrap());
            reply.body.resize(length, 0);
            stream.read_exact(&mut reply.body).await.ok()?;
        }
        Some(reply)
    };
    tokio::time::timeout(Duration::from_secs(10), reading).await.expect("an answer within ten seconds")
}

/// Sends `request` and reads the answer; the server must then end the connection.
pub async fn last_exchange<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: &[u8]) -> Option<Reply> {
    stream.write_all(request).await.ok()?;
    stream.flush().await.ok()?;
    let reply = read_reply(stream, true).await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    ended.expect("the connection ends within ten seconds").ok();
    assert!(rest.is_empty(), "nothing follows the answer: {:?}", String::from_utf8_lossy(&rest));
    reply
}

/// A request that breaks one rule.
pub struct Case {
    pub name: &'static str,
    pub request: Vec<u8>,
    pub status: u16,
    pub reason: &'static str,
}

fn case(name: &'static str, request: impl Into<Vec<u8>>, status: u16, reason: &'static str) -> Case {
    Case { name, request: request.into(), status, reason }
}

/// The smuggling set and every other rule of framing, each with the answer it must get.
pub fn cases() -> Vec<Case> {
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}");
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    let many = (0..101).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    vec![
        case(
            "length_and_chunked",
            post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", smuggled),
            400,
            "length-and-encoding",
        ),
        case(
            "chunked_and_length",
            post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", smuggled),
            400,
            "length-and-encoding",
        ),
        case(
            "equal_lengths_twice",
            post("Content-Length: 5\r\nContent-Length: 5\r\n", "abcde"),
            400,
            "content-length-repeated",
        ),
        case(
            "different_lengths",
            post("Content-Length: 5\r\nContent-Length: 6\r\n", "abcdef"),
            400,
            "content-length-repeated",
        ),
        case("length_with_plus", post("Content-Length: +5\r\n", "abcde"), 400, "content-length"),
        case("length_with_minus", post("Content-Length: -5\r\n", "abcde"), 400, "content-length"),
        case("length_list", post("Content-Length: 5, 5\r\n", "abcde"), 400, "content-length"),
        case("length_with_inner_space", post("Content-Length: 5 5\r\n", "abcde"), 400, "content-length"),
        case("length_empty", post("Content-Length: \r\n", "abcde"), 400, "content-length"),
        case("length_hexadecimal", post("Content-Length: 0x5\r\n", "abcde"), 400, "content-length"),
        case("length_with_leading_zero", post("Content-Length: 05\r\n", "abcde"), 400, "content-length"),
        case("length_overflow", post("Content-Length: 18446744073709551621\r\n", "abcde"), 400, "content-length"),
        case("encoding_gzip_chunked", post("Transfer-Encoding: gzip, chunked\r\n", smuggled), 400, "transfer-encoding"),
        case("encoding_chunked_gzip", post("Transfer-Encoding: chunked, gzip\r\n", smuggled), 400, "transfer-encoding"),
        case("encoding_identity", post("Transfer-Encoding: identity\r\n", smuggled), 400, "transfer-encoding"),
        case("encoding_misspelt", post("Transfer-Encoding: xchunked\r\n", smuggled), 400, "transfer-encoding"),
        case(
            "encoding_twice",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", smuggled),
            400,
            "transfer-encoding",
        ),
        case("encoding_with_vertical_tab", post("Transfer-Encoding: \x0bchunked\r\n", smuggled), 400, "field-value"),
        case(
            "encoding_on_http_1_0",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "transfer-encoding-version",
        ),
        case("bare_lf_request_line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "bare-lf"),
        case("bare_lf_field", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, "bare-lf"),
        case("bare_lf_end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "bare-lf"),
        case("bare_cr_in_value", get("X: a\rb\r\n"), 400, "bare-cr"),
        case("bare_cr_in_request_line", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare-cr"),
        case("obs_fold_space", get("X: a\r\n b\r\n"), 400, "obs-fold"),
        case("obs_fold_tab", get("X: a\r\n\tTransfer-Encoding: chunked\r\n"), 400, "obs-fold"),
        case("space_before_first_field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "obs-fold"),
        case("space_before_colon", get("Content-Length : 5\r\n"), 400, "space-before-colon"),
        case("tab_before_colon", get("Transfer-Encoding\t: chunked\r\n"), 400, "space-before-colon"),
        case("field_without_colon", get("Broken\r\n"), 400, "field-name"),
        case("field_without_name", get(": x\r\n"), 400, "field-name"),
        case("field_name_with_nul", get("X\0Y: z\r\n"), 400, "field-name"),
        case("nul_in_value", get("X: a\0b\r\n"), 400, "field-value"),
        case("control_in_value", get("X: a\x01b\r\n"), 400, "field-value"),
        case("delete_in_value", get("X: a\x7fb\r\n"), 400, "field-value"),
        case("no_host", "GET / HTTP/1.1\r\n\r\n", 400, "host-missing"),
        case("no_host_1_0", "GET / HTTP/1.0\r\n\r\n", 400, "host-missing"),
        case("two_hosts", get("Host: a\r\n"), 400, "host-repeated"),
        case("empty_host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "host-invalid"),
        case("host_with_path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "host-invalid"),
        case("host_with_user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "host-invalid"),
        case("absolute_form_of_another_host", "GET https://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host-mismatch"),
        case("fragment", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "fragment"),
        case("connect", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "connect"),
        case("upgrade", get("Connection: upgrade\r\nUpgrade: websocket\r\n"), 400, "upgrade"),
        case("upgrade_h2c", get("Upgrade: h2c\r\n"), 400, "upgrade"),
        case(
            "connection_takes_framing_off",
            post("Connection: Content-Length\r\nContent-Length: 5\r\n", "abcde"),
            400,
            "connection-field",
        ),
        case("connection_not_a_list", get("Connection: a b\r\n"), 400, "connection-field"),
        case("percent_without_digits", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400, "percent-encoding"),
        case("percent_at_the_end", "GET /a% HTTP/1.1\r\nHost: a\r\n\r\n", 400, "percent-encoding"),
        case("encoded_nul", "GET /a%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "path-ambiguous"),
        case("encoded_slash", "GET /api%2fv1 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "path-ambiguous"),
        case("dot_segments", "GET /api/../internal HTTP/1.1\r\nHost: a\r\n\r\n", 400, "path-ambiguous"),
        case("backslash", "GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"),
        case("asterisk_for_get", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"),
        case("non_ascii_target", "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"),
        case("method_not_a_token", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "method"),
        case("method_missing", " / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "method"),
        case("two_spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request-line"),
        case("tab_in_request_line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "method"),
        case("space_after_version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "request-line"),
        case("http_0_9", "GET /\r\n\r\n", 400, "request-line"),
        case("lower_case_version", "GET / http/1.1\r\nHost: a\r\n\r\n", 400, "request-line"),
        case("http_1_2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "version"),
        case("http_2_preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version"),
        case("two_empty_lines_first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request-line"),
        case("unknown_expectation", post("Expect: miracles\r\nContent-Length: 1\r\n", "a"), 417, "expect"),
        case("chunk_size_with_prefix", chunked("0x5\r\nabcde\r\n0\r\n\r\n"), 400, "chunk-size"),
        case("chunk_size_negative", chunked("-5\r\nabcde\r\n0\r\n\r\n"), 400, "chunk-size"),
        case("chunk_size_with_space", chunked("5 \r\nabcde\r\n0\r\n\r\n"), 400, "chunk-size"),
        case("chunk_size_empty", chunked("\r\nabcde\r\n0\r\n\r\n"), 400, "chunk-size"),
        case("chunk_size_overflow", chunked("fffffffff\r\nabc"), 400, "chunk-size"),
        case("chunk_line_bare_lf", chunked("5\nabcde\r\n0\r\n\r\n"), 400, "bare-lf"),
        case("chunk_data_too_long", chunked("5\r\nabcdef\r\n0\r\n\r\n"), 400, "chunk-data"),
        case("chunk_data_bare_lf", chunked("5\r\nabcde\n0\r\n\r\n"), 400, "chunk-data"),
        case(
            "chunk_extension_too_long",
            chunked(&format!("5;{}\r\nabcde\r\n0\r\n\r\n", "x".repeat(300))),
            400,
            "chunk-extension",
        ),
        case("chunk_extension_with_control", chunked("5;\x01\r\nabcde\r\n0\r\n\r\n"), 400, "chunk-extension"),
        case("trailer_malformed", chunked("0\r\nX y\r\n\r\n"), 400, "trailer"),
        case(
            "target_too_long",
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(8192)),
            414,
            "target-too-long",
        ),
        case("target_endless", format!("GET /{}", "a".repeat(9000)), 414, "target-too-long"),
        case("too_many_fields", get(&many), 431, "head-too-large"),
        case("head_too_large", get(&format!("X: {}\r\n", "y".repeat(33_000))), 431, "head-too-large"),
        case("declared_body_too_large", post("Content-Length: 65537\r\n", ""), 413, "body-too-large"),
        case("chunked_body_too_large", chunked("10001\r\n"), 413, "body-too-large"),
    ]
}
