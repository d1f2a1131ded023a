//! The shipping address of a request.

use std::borrow::Cow;

use zizon_base::problem::{Code, FieldError, Problem};
use zizon_contracts::orders::ShippingAddress;

use super::raw::{ADDRESS_MEMBERS, RawAddress, Scalar};
use super::wrong_type;

/// Bounds of one member, characters.
struct Bound {
    required: bool,
    max_chars: usize,
}

const fn required(max_chars: usize) -> Bound {
    Bound { required: true, max_chars }
}

const fn optional(max_chars: usize) -> Bound {
    Bound { required: false, max_chars }
}

/// In the order of [`ADDRESS_MEMBERS`].
const BOUNDS: [Bound; 8] = [
    required(100),
    optional(32),
    required(2),
    required(16),
    optional(100),
    required(100),
    required(200),
    optional(200),
];

/// Members that are texts.
pub(super) type Texts<'a> = [Option<Cow<'a, str>>; 8];

/// Types only.
pub(super) fn shape(raw: RawAddress<'_>) -> Result<Option<Texts<'_>>, Box<Problem>> {
    let members = match raw {
        RawAddress::Absent => return Ok(None),
        RawAddress::Given(None) => return Err(wrong_type("#/shipping_address", "an object")),
        RawAddress::Given(Some(members)) => members,
    };
    let mut texts: Texts<'_> = std::array::from_fn(|_| None);
    for ((member, text), name) in members.into_iter().zip(&mut texts).zip(ADDRESS_MEMBERS) {
        *text = match member {
            Scalar::Absent | Scalar::Null => None,
            Scalar::Text(text) => Some(text),
            _ => return Err(wrong_type(pointer(name), "a string")),
        };
    }
    Ok(Some(texts))
}

/// Presence, length, characters.
pub(super) fn check(texts: Option<Texts<'_>>) -> Result<Option<ShippingAddress>, Box<Problem>> {
    let Some(texts) = texts else { return Ok(None) };
    let mut errors = Vec::new();
    for ((text, bound), name) in texts.iter().zip(BOUNDS).zip(ADDRESS_MEMBERS) {
        if let Some(error) = member_error(text.as_deref(), &bound, name) {
            errors.push(error);
        }
    }
    if let Some(first) = errors.first() {
        let what = first.detail.as_deref().unwrap_or(first.code);
        let detail = format!("`{}`: {what}", first.pointer.trim_start_matches("#/"));
        return Err(Box::new(Problem::new(Code::InvalidAddress).detail(detail).fields(errors)));
    }
    let [recipient, phone, country, postal_code, region, city, line1, line2] = texts.map(|t| t.map(Cow::into_owned));
    Ok(Some(ShippingAddress {
        recipient: recipient.unwrap_or_default(),
        phone,
        country: country.unwrap_or_default(),
        postal_code: postal_code.unwrap_or_default(),
        region,
        city: city.unwrap_or_default(),
        line1: line1.unwrap_or_default(),
        line2,
    }))
}

fn member_error(text: Option<&str>, bound: &Bound, name: &str) -> Option<FieldError> {
    let Some(text) = text else {
        return bound.required.then(|| FieldError::new(pointer(name), "missing").detail("is missing"));
    };
    let chars = text.chars().count();
    if bound.required && text.trim().is_empty() {
        return Some(FieldError::new(pointer(name), "missing").detail("is empty"));
    }
    let is_country = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase());
    if name == "country" && !is_country(text) {
        let detail = "expected the two capital letters of ISO 3166-1, for example KR, JP or US";
        return Some(FieldError::new(pointer(name), "invalid").detail(detail));
    }
    if chars > bound.max_chars {
        let detail = format!("at most {} characters", bound.max_chars);
        return Some(FieldError::new(pointer(name), "too-long").detail(detail));
    }
    if text.chars().any(char::is_control) {
        return Some(FieldError::new(pointer(name), "invalid").detail("control characters are not allowed"));
    }
    None
}

fn pointer(name: &str) -> String {
    format!("#/shipping_address/{name}")
}
