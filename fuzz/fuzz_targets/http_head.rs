//! Request heads and chunked bodies: one reading however the bytes arrive, and nothing two readers could frame apart.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zizon_edge::h1::{ChunkedDecoder, HeadParser, Limits, parse_head};

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    let whole = parse_head(data, &limits);
    // Byte by byte, as a slow client sends it.
    let mut parser = HeadParser::default();
    let mut piecewise = Ok(false);
    for end in 1..=data.len() {
        piecewise = parser.advance(&data[..end], &limits);
        if !matches!(piecewise, Ok(false)) {
            break;
        }
    }
    match (&whole, &piecewise) {
        (Ok(Some(_)), Ok(true)) | (Ok(None), Ok(false)) | (Err(_), Err(_)) => {}
        (whole, piecewise) => panic!("one head, two readings: {whole:?} and {piecewise:?}"),
    }
    if let Ok(Some(head)) = &whole {
        assert!(head.len <= data.len());
        let bytes = &data[..head.len];
        assert!(!bytes.contains(&0), "no NUL passes");
        assert!(!bytes.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r'), "no bare LF passes");
        let named = |name: &[u8]| head.fields.iter().filter(|field| field.name.of(data).eq_ignore_ascii_case(name)).count();
        assert!(named(b"host") <= 1);
        assert!(named(b"content-length") + named(b"transfer-encoding") <= 1);
        let mut body = Vec::new();
        let _ = ChunkedDecoder::default().feed(&data[head.len..], &mut body, 64 * 1024, &limits);
        assert!(body.len() <= 64 * 1024);
    }
});
