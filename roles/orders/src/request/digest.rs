//! What a request means, in 32 bytes: two requests with one key must be one order, and this tells.

use blake3::Hasher;

use super::OrderRequest;

/// BLAKE3 over the parsed request without its key. White space, the order of members and unknown members do not count;
/// the order of lines does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of a request.
    #[must_use]
    pub fn of(request: &OrderRequest) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(b"zizon-order-1");
        text(&mut bytes, request.user.as_str());
        text(&mut bytes, request.market.code());
        count(&mut bytes, request.lines.len());
        for line in &request.lines {
            text(&mut bytes, line.sku.as_str());
            bytes.extend_from_slice(&line.quantity.to_le_bytes());
            number(&mut bytes, line.price);
        }
        number(&mut bytes, request.expected_total);
        optional(&mut bytes, request.note.as_deref());
        match &request.shipping_address {
            None => bytes.push(0),
            Some(address) => {
                bytes.push(1);
                optional(&mut bytes, Some(&address.recipient));
                optional(&mut bytes, address.phone.as_deref());
                optional(&mut bytes, Some(&address.country));
                optional(&mut bytes, Some(&address.postal_code));
                optional(&mut bytes, address.region.as_deref());
                optional(&mut bytes, Some(&address.city));
                optional(&mut bytes, Some(&address.line1));
                optional(&mut bytes, address.line2.as_deref());
            }
        }
        Self(*Hasher::new().update(&bytes).finalize().as_bytes())
    }
}

fn count(out: &mut Vec<u8>, n: usize) {
    out.extend_from_slice(&(n as u64).to_le_bytes());
}

fn text(out: &mut Vec<u8>, value: &str) {
    count(out, value.len());
    out.extend_from_slice(value.as_bytes());
}

fn number(out: &mut Vec<u8>, value: Option<i64>) {
    out.push(u8::from(value.is_some()));
    out.extend_from_slice(&value.unwrap_or(0).to_le_bytes());
}

fn optional(out: &mut Vec<u8>, value: Option<&str>) {
    out.push(u8::from(value.is_some()));
    text(out, value.unwrap_or(""));
}
