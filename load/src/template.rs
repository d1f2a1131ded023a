//! The bytes of an order request, rendered once; only offer, user and key change from one to the next.

use std::ops::Range;

use crate::keys::KEY_LEN;
use crate::product::Offer;
use crate::target::Target;

const USER_PREFIX: &str = "load_";
const USER_DIGITS: usize = 8;

/// A request ready to send, with the places that vary.
#[derive(Debug, Clone, Default)]
pub(crate) struct OrderTemplate {
    bytes: Vec<u8>,
    /// Where offers differ; empty when there is one.
    offer: Range<usize>,
    user: Range<usize>,
    key: Range<usize>,
}

/// What stands in the template's place for offers: for each of them only the bytes in which they differ at all. Ten
/// thousand products are then a few ten kilobytes, which leave the processor's cache to the platform under test.
#[derive(Debug, Default)]
pub(crate) struct Patches {
    bytes: Vec<u8>,
    count: usize,
}

impl Patches {
    /// How many offers there are.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }
}

impl OrderTemplate {
    /// The template of a run over some offers, which holds the first, and the patches that make it another.
    pub(crate) fn of_all(target: &Target, offers: &[Offer], quantity: u32) -> (Self, Patches) {
        let mut texts: Vec<Vec<u8>> = offers.iter().map(|offer| members(offer, quantity).into_bytes()).collect();
        // Blanks between members say nothing in JSON: all are of one length, and the request is, too.
        let width = texts.iter().map(Vec::len).max().unwrap_or(0);
        texts.iter_mut().for_each(|text| text.resize(width, b' '));
        let first = texts.first().cloned().unwrap_or_default();
        let same = |at: &usize| texts.iter().all(|text| text[*at] == first[*at]);
        let before = (0..width).take_while(same).count();
        let after = (before..width).rev().take_while(same).count();
        let differing = before..width - after;
        let bytes = texts.iter().flat_map(|text| &text[differing.clone()]).copied().collect();
        let template = Self::new(target, &first, &differing);
        (template, Patches { bytes, count: offers.len() })
    }

    fn new(target: &Target, members: &[u8], differing: &Range<usize>) -> Self {
        let user = format!("{USER_PREFIX}{:0>USER_DIGITS$}", 0);
        let (before_user, after_user, before_key) = ("{\"user_id\":\"", "\",", "\"idempotency_key\":\"");
        let body_len =
            before_user.len() + user.len() + after_user.len() + members.len() + before_key.len() + KEY_LEN + 2;
        let mut bytes = format!(
            "POST {}/api/v1/orders HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {body_len}\r\n\r\n{before_user}",
            target.prefix, target.host
        )
        .into_bytes();
        let user_at = bytes.len() + USER_PREFIX.len();
        bytes.extend_from_slice(user.as_bytes());
        bytes.extend_from_slice(after_user.as_bytes());
        let offer = bytes.len() + differing.start..bytes.len() + differing.end;
        bytes.extend_from_slice(members);
        bytes.extend_from_slice(before_key.as_bytes());
        let key_at = bytes.len();
        bytes.extend(std::iter::repeat_n(b'0', KEY_LEN));
        bytes.extend_from_slice(b"\"}");
        Self { bytes, offer, user: user_at..user_at + USER_DIGITS, key: key_at..key_at + KEY_LEN }
    }

    /// Orders the offer with this number from now on.
    pub(crate) fn choose(&mut self, patches: &Patches, number: usize) {
        let width = self.offer.len();
        self.bytes[self.offer.clone()].copy_from_slice(&patches.bytes[number * width..(number + 1) * width]);
    }

    /// Writes user and key in place and returns the request.
    pub(crate) fn fill(&mut self, user: u32, key: &[u8; KEY_LEN]) -> &[u8] {
        self.bytes[self.key.clone()].copy_from_slice(key);
        let mut rest = user;
        for slot in self.bytes[self.user.clone()].iter_mut().rev() {
            *slot = b"0123456789"[(rest % 10) as usize];
            rest /= 10;
        }
        &self.bytes
    }

    /// The body as it was filled last.
    pub(crate) fn body(&self) -> &[u8] {
        let end = b"\r\n\r\n";
        let at = self.bytes.windows(end.len()).position(|window| window == end);
        at.map_or(&[], |at| &self.bytes[at + end.len()..])
    }

    /// The `user_id` that [`OrderTemplate::fill`] writes.
    pub(crate) fn user_id(user: u32) -> String {
        format!("{USER_PREFIX}{user:0>USER_DIGITS$}")
    }
}

/// The members of a request that depend on what is ordered.
fn members(offer: &Offer, quantity: u32) -> String {
    let market = match &offer.market {
        // The platform's default market needs no mention: this is the body other generators send.
        None => String::new(),
        Some(code) => format!("\"market\":\"{code}\","),
    };
    let (product, price) = (&offer.product, offer.price);
    format!("{market}\"items\":[{{\"product_id\":\"{product}\",\"quantity\":{quantity},\"price\":{price}}}],")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn target() -> (tempfile::TempDir, Target) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let mut ca = rcgen::CertificateParams::default();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(&file, ca.self_signed(&key).unwrap().pem()).unwrap();
        let target = Target::new("https://localhost:8443", &file).unwrap();
        (dir, target)
    }

    fn offer(product: &str, price: i64, market: Option<&str>) -> Offer {
        Offer { product: product.into(), price, market: market.map(Into::into) }
    }

    /// The body, which is exactly as long as the head says.
    fn body(request: &[u8]) -> Value {
        let text = std::str::from_utf8(request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{text}");
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn every_offer_is_ordered_as_it_is_whatever_was_ordered_before() {
        let (_dir, target) = target();
        let offers = [
            offer("B000001", 26_900, None),
            offer("A", 1, None),
            offer("A-longer.name", 1_234_567, Some("JP")),
            offer("B000002", 26_900, None),
        ];
        let (mut template, patches) = OrderTemplate::of_all(&target, &offers, 2);
        assert_eq!(patches.count(), 4);
        for (user, at) in [0, 2, 1, 3, 2, 0].into_iter().enumerate() {
            template.choose(&patches, at);
            let body = body(template.fill(u32::try_from(user).unwrap(), b"00000000000000000000000abc"));
            let offer = &offers[at];
            let item = json!({ "product_id": offer.product, "quantity": 2, "price": offer.price });
            assert_eq!(body["items"], json!([item]));
            assert_eq!(body.get("market").and_then(Value::as_str), offer.market.as_deref());
            assert_eq!(body["user_id"], OrderTemplate::user_id(u32::try_from(user).unwrap()));
            assert_eq!(body["idempotency_key"], "00000000000000000000000abc");
        }
    }

    #[test]
    fn offers_alike_take_only_the_bytes_that_differ() {
        let (_dir, target) = target();
        let offers: Vec<Offer> = (0..1_000).map(|n| offer(&format!("B{n:06}"), 26_900, None)).collect();
        let (template, patches) = OrderTemplate::of_all(&target, &offers, 1);
        assert_eq!((template.offer.len(), patches.bytes.len()), (3, 3_000));
        let (template, patches) = OrderTemplate::of_all(&target, &offers[..1], 1);
        assert!(template.offer.is_empty() && patches.bytes.is_empty());
        assert!(!template.bytes.contains(&b'\t') && template.bytes.ends_with(b"\"}"));
    }
}
