//! The bytes of an order request, rendered once; only user and key change from one to the next.

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
    user: Range<usize>,
    key: Range<usize>,
}

impl OrderTemplate {
    pub(crate) fn new(target: &Target, offer: &Offer, quantity: u32) -> Self {
        let user = format!("{USER_PREFIX}{:0>USER_DIGITS$}", 0);
        let market = match &offer.market {
            // The platform's default market needs no mention: this is the body other generators send.
            None => String::new(),
            Some(code) => format!("\"market\":\"{code}\","),
        };
        let (product, price) = (&offer.product, offer.price);
        let before_user = "{\"user_id\":\"";
        let between = format!(
            "\",{market}\"items\":[{{\"product_id\":\"{product}\",\"quantity\":{quantity},\"price\":{price}}}],\"idempotency_key\":\""
        );
        let body_len = before_user.len() + user.len() + between.len() + KEY_LEN + 2;
        let mut text = format!(
            "POST {}/api/v1/orders HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {body_len}\r\n\r\n{before_user}",
            target.prefix, target.host
        );
        let user_at = text.len() + USER_PREFIX.len();
        text.push_str(&user);
        text.push_str(&between);
        let key_at = text.len();
        text.extend(std::iter::repeat_n('0', KEY_LEN));
        text.push_str("\"}");
        Self { bytes: text.into_bytes(), user: user_at..user_at + USER_DIGITS, key: key_at..key_at + KEY_LEN }
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

    /// Becomes a copy of `other` in the memory it has.
    pub(crate) fn become_like(&mut self, other: &Self) {
        self.bytes.clone_from(&other.bytes);
        (self.user, self.key) = (other.user.clone(), other.key.clone());
    }

    /// The `user_id` that [`OrderTemplate::fill`] writes.
    pub(crate) fn user_id(user: u32) -> String {
        format!("{USER_PREFIX}{user:0>USER_DIGITS$}")
    }
}
