//! The digest of an order's immutable parts.

use serde_json::{Map, Value};

/// Members of an order that never change after its 201; everything else (statuses, links,
/// reservation) may.
const IMMUTABLE: [&str; 8] = ["created_at", "currency", "id", "items", "market", "number", "totals", "user_id"];

/// BLAKE3 over the immutable members of an order document, members in name order. `None` when one of
/// them is missing.
#[must_use]
pub fn order_digest(order: &Map<String, Value>) -> Option<blake3::Hash> {
    let mut canonical = Vec::with_capacity(512);
    for name in IMMUTABLE {
        canonical.extend_from_slice(name.as_bytes());
        canonical.push(b'=');
        write_canonical(order.get(name)?, &mut canonical);
        canonical.push(b'\n');
    }
    Some(blake3::hash(&canonical))
}

/// Compact JSON with sorted members, whatever order the document had.
fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort_unstable();
            out.push(b'{');
            for name in names {
                write_string(name, out);
                out.push(b':');
                write_canonical(&members[name], out);
                out.push(b',');
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                write_canonical(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        Value::String(text) => write_string(text, out),
        Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Null => out.extend_from_slice(b"null"),
    }
}

/// Length-prefixed: unambiguous without escaping.
fn write_string(text: &str, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(text.len()).as_bytes());
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Option<blake3::Hash> {
        order_digest(&serde_json::from_str(text).unwrap())
    }

    const ORDER: &str = r#"{"id":"ord_1","number":"K1","status":"pending_payment","user_id":"u","market":"KR","currency":"KRW",
        "items":[{"line":1,"quantity":2}],"totals":{"total":4,"tax":1},"created_at":"2026-11-22T04:05:06.789Z"}"#;

    #[test]
    fn a_status_and_member_order_do_not_change_the_digest() {
        let other = r#"{"created_at":"2026-11-22T04:05:06.789Z","totals":{"tax":1,"total":4},"items":[{"quantity":2,"line":1}],
            "currency":"KRW","market":"KR","user_id":"u","number":"K1","id":"ord_1","status":"cancelled"}"#;
        assert_eq!(digest(ORDER).unwrap(), digest(other).unwrap());
    }

    #[test]
    fn any_immutable_part_changes_the_digest() {
        for (from, to) in [
            ("ord_1", "ord_2"),
            ("\"quantity\":2", "\"quantity\":3"),
            ("\"total\":4", "\"total\":5"),
            ("06.789", "06.790"),
        ] {
            assert_ne!(digest(ORDER), digest(&ORDER.replace(from, to)), "{from}");
        }
        assert_eq!(digest(&ORDER.replace("\"number\":\"K1\",", "")), None);
    }
}
