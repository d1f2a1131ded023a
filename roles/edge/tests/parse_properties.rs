//! The head parser against random streams, and against httparse.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use proptest::prelude::*;
use zizon_edge::h1::{ChunkedDecoder, Head, HeadParser, Limits, Reject, parse_head};

/// Reads `bytes` in pieces that end at `cuts`.
fn parse_in_pieces(bytes: &[u8], cuts: &[usize]) -> Result<Option<Head>, Reject> {
    let limits = Limits::default();
    let mut parser = HeadParser::default();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    for end in ends {
        if parser.advance(&bytes[..end], &limits)? {
            return Ok(Some(parser.head().clone()));
        }
    }
    Ok(None)
}

/// Streams that look like requests often enough to get far into the parser.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"GET / HTTP/1.1\r\n".to_vec()),
        Just(b"POST /a?b HTTP/1.1\r\n".to_vec()),
        Just(b"Host: a\r\n".to_vec()),
        Just(b"Content-Length: 5\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Connection: close, x\r\n".to_vec()),
        Just(b"X: y\r\n".to_vec()),
        Just(b"X : y\r\n".to_vec()),
        Just(b" z\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\n".to_vec()),
        Just(vec![0]),
        Just(vec![b'x'; 9000]),
        "[ -~]{0,20}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..10),
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_stream_cut_anywhere_gives_the_same_verdict(
        bytes in stream(),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        prop_assert_eq!(parse_in_pieces(&bytes, &cuts), parse_head(&bytes, &Limits::default()));
    }

    #[test]
    fn what_is_accepted_httparse_reads_the_same(bytes in stream()) {
        if let Ok(Some(head)) = parse_head(&bytes, &Limits::default()) {
            let mut fields = [httparse::EMPTY_HEADER; 100];
            let mut theirs = httparse::Request::new(&mut fields);
            prop_assert_eq!(theirs.parse(&bytes), Ok(httparse::Status::Complete(head.len)));
            prop_assert_eq!(theirs.method.unwrap().as_bytes(), head.method.of(&bytes));
            prop_assert_eq!(theirs.path.unwrap().as_bytes(), head.target.of(&bytes));
            prop_assert_eq!(theirs.headers.len(), head.fields.len());
            for (theirs, ours) in theirs.headers.iter().zip(&head.fields) {
                prop_assert_eq!(theirs.name.as_bytes(), ours.name.of(&bytes));
                prop_assert_eq!(theirs.value, ours.value.of(&bytes));
            }
        }
    }

    #[test]
    fn a_chunked_body_cut_anywhere_decodes_the_same(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..8),
        noise in proptest::option::of((any::<usize>(), any::<u8>())),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let mut bytes = Vec::new();
        for chunk in &chunks {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        if let Some((at, byte)) = noise {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let decode = |ends: &[usize]| {
            let mut decoder = ChunkedDecoder::default();
            let (mut body, mut start) = (Vec::new(), 0);
            for &end in ends {
                let fed = decoder.feed(&bytes[start..end], &mut body, 1000, &Limits::default())?;
                start += fed.used;
                if fed.done {
                    return Ok((body, start, true));
                }
            }
            Ok::<_, Reject>((body, start, false))
        };
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        prop_assert_eq!(decode(&ends), decode(&[bytes.len()]));
        if noise.is_none() {
            prop_assert_eq!(decode(&ends), Ok((chunks.concat(), bytes.len(), true)));
        }
    }
}

#[test]
fn every_case_of_the_smuggling_set_is_refused_or_left_to_its_body() {
    for case in common::cases() {
        let verdict = parse_head(&case.request, &Limits::default());
        let in_body =
            case.reason.starts_with("chunk") || matches!(case.reason, "trailer" | "body-too-large" | "bare-lf");
        assert!(verdict.is_err() || in_body, "{}", case.name);
    }
}
