//! The parser: strict about JSON, exact about places, the same for the same meaning.

use proptest::prelude::*;
use serde_json::{Value, json};
use zizon_base::json::check;
use zizon_base::problem::Code;

use super::*;

const SEED: &str = r#"{"user_id":"user_42","items":[{"product_id":"PROD001","quantity":2,"price":2690000}],"idempotency_key":"test_1_0.5"}"#;

fn parse(text: &str) -> Result<OrderRequest, Code> {
    parse_order(text.as_bytes(), None, &Rules::default()).map_err(|problem| problem.code)
}

fn with(member: &str, value: &str) -> String {
    SEED.replacen('{', &format!("{{\"{member}\":{value},"), 1)
}

#[test]
fn the_body_of_the_load_scripts_is_read() {
    let request = parse(SEED).unwrap();
    assert_eq!((request.user.as_str(), request.key.as_str(), request.market), ("user_42", "test_1_0.5", Market::Kr));
    assert_eq!(request.lines, [RequestLine { sku: "PROD001".parse().unwrap(), quantity: 2, price: Some(2_690_000) }]);
    assert_eq!(request.demand, [Demand { line: 0, units: 2 }]);
}

#[test]
fn members_that_appear_twice_are_refused_wherever_they_are() {
    for text in [
        SEED.replacen('{', r#"{"user_id":"user_42","#, 1),
        with("x", r#"{"a":1,"a":1}"#),
        with("a", r#"1,"a":2"#),
        SEED.replace(r#""quantity":2"#, r#""quantity":2,"quantity":2"#),
        SEED.replace(r#""quantity":2"#, r#""quantity":2,"q\u0075antity":2"#),
        SEED.replace(r#""quantity":2"#, r#""quantity":2,"x":1,"x":1"#),
        with("shipping_address", r#"{"city":"a","city":"b"}"#),
        with("note", r#"{"a":[{"b":1,"b":1}]}"#),
    ] {
        assert_eq!(parse(&text), Err(Code::MalformedRequest), "{text}");
    }
}

#[test]
fn thirty_two_levels_are_read_and_thirty_three_are_not() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let line = |levels| SEED.replace(r#""quantity":2"#, &format!(r#""quantity":2,"x":{}"#, nested(levels)));
    assert!(parse(&with("x", &nested(31))).is_ok());
    assert_eq!(parse(&with("x", &nested(32))), Err(Code::MalformedRequest));
    assert!(parse(&line(29)).is_ok());
    assert_eq!(parse(&line(30)), Err(Code::MalformedRequest));
    assert_eq!(parse(&with("note", &nested(32))), Err(Code::MalformedRequest));
    assert_eq!(parse(&with("x", &nested(30_000))), Err(Code::MalformedRequest));
}

#[test]
fn only_a_whole_document_is_one() {
    for text in ["", "{", "[]", "null", "1", "\"x\"", "{}x", "{} {}", "\u{feff}{}"] {
        assert_eq!(parse(text), Err(Code::MalformedRequest), "{text}");
    }
    assert_eq!(parse(&format!("{SEED}\u{0}")), Err(Code::MalformedRequest));
    assert!(parse(&format!(" \n{SEED}\t ")).is_ok());
    assert!(parse_order(b"{\"user_id\":\"\xff\"}", None, &Rules::default()).is_err());
}

#[test]
fn whatever_stands_at_items_is_named_by_its_place() {
    for (items, pointer) in [
        ("null", "#/items"),
        ("{}", "#/items"),
        ("7", "#/items"),
        ("[7]", "#/items/0"),
        ("[[]]", "#/items/0"),
        (r#"[{"quantity":1,"price":1}]"#, "#/items/0/product_id"),
        (r#"[{"product_id":7,"quantity":1,"price":1}]"#, "#/items/0/product_id"),
        (r#"[{"product_id":"a/b","quantity":1,"price":1}]"#, "#/items/0/product_id"),
        (r#"[{"product_id":"a","price":1}]"#, "#/items/0/quantity"),
        (
            r#"[{"product_id":"a","quantity":1,"price":1},{"product_id":"a","quantity":1,"price":"1"}]"#,
            "#/items/1/price",
        ),
    ] {
        let text = format!(r#"{{"user_id":"u","idempotency_key":"k","items":{items}}}"#);
        let problem = parse_order(text.as_bytes(), None, &Rules::default()).unwrap_err();
        assert_eq!(problem.code, Code::MalformedRequest, "{items}");
        assert_eq!(problem.errors[0].pointer, pointer, "{items}");
    }
}

#[test]
fn checks_come_in_their_order() {
    let text = |items: &str, rest: &str| format!(r#"{{"user_id":"u","idempotency_key":"k","items":[{items}]{rest}}}"#);
    let bad_id = r#"{"product_id":"-","quantity":0,"price":1}"#;
    let none = r#"{"product_id":"a","quantity":0,"price":1}"#;
    let many = vec![none; 101].join(",");
    assert_eq!(parse(&text(bad_id, "")), Err(Code::MalformedRequest));
    assert_eq!(parse(&text(&many, r#","quote_id":"q""#)), Err(Code::NotSupportedYet));
    assert_eq!(parse(&text(&many, "")), Err(Code::TooManyLines));
    assert_eq!(parse(&text(none, r#","shipping_address":{}"#)), Err(Code::InvalidQuantity));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[A-Za-z0-9._-]{0,8}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let name = prop_oneof![
        prop::sample::select(&["product_id", "quantity", "price", "city", "x"][..]).prop_map(str::to_owned),
        "[a-z]{1,3}",
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(name.clone(), inner, 0..6).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_order(&bytes, None, &Rules::default());
    }

    #[test]
    fn any_document_is_answered_and_what_is_read_is_strict_json(
        members in prop::collection::vec((prop::sample::select(&[
            "user_id", "items", "idempotency_key", "market", "currency", "expected_total", "note", "quote_id",
            "shipping_address", "other",
        ][..]), value()), 0..8),
    ) {
        let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let text = format!("{{{}}}", members.join(","));
        let answer = parse_order(text.as_bytes(), None, &Rules::default());
        if answer.is_ok() {
            prop_assert!(check(text.as_bytes()).is_ok());
        }
        if check(text.as_bytes()).is_err() {
            prop_assert_eq!(answer.unwrap_err().code, Code::MalformedRequest);
        }
    }

    #[test]
    fn a_request_means_the_same_however_it_is_written(
        user in "[A-Za-z0-9][A-Za-z0-9._-]{0,20}", quantity in 1u32..99, price in 0i64..1 << 50, note in prop::option::of("\\PC{0,30}"),
        total in prop::option::of(0i64..1 << 50),
    ) {
        let line = json!({"product_id": "a", "quantity": quantity, "price": price});
        let body = json!({"user_id": user, "idempotency_key": "k", "items": [line], "note": note, "expected_total": total});
        let plain = parse(&body.to_string()).unwrap();
        let pretty = parse(&serde_json::to_string_pretty(&body).unwrap()).unwrap();
        prop_assert_eq!(Digest::of(&plain), Digest::of(&pretty));
        let mut other = body.clone();
        other["idempotency_key"] = json!("another");
        prop_assert_eq!(Digest::of(&plain), Digest::of(&parse(&other.to_string()).unwrap()));
        for (member, changed) in [("note", json!("changed!")), ("expected_total", json!((1_i64 << 50) + 1)), ("market", json!("JP"))] {
            let mut other = body.clone();
            other[member] = changed;
            prop_assert_ne!(Digest::of(&plain), Digest::of(&parse(&other.to_string()).unwrap()));
        }
    }

    #[test]
    fn units_are_summed_per_product(lines in prop::collection::vec((0usize..4, 1u32..20), 1..8)) {
        let items: Vec<Value> =
            lines.iter().map(|(sku, n)| json!({"product_id": format!("P{sku}"), "quantity": n, "price": 1})).collect();
        let body = json!({"user_id": "u", "idempotency_key": "k", "items": items});
        let rules = Rules { max_units: 1_000, min_key_chars: 1 };
        let request = parse_order(body.to_string().as_bytes(), None, &rules).unwrap();
        prop_assert_eq!(request.lines.len(), lines.len());
        for sku in 0..4 {
            let wanted: u32 = lines.iter().filter(|(line, _)| *line == sku).map(|(_, n)| n).sum();
            let name = format!("P{sku}");
            let found: u32 = request.demand.iter().filter(|d| request.lines[d.line].sku.as_str() == name).map(|d| d.units).sum();
            prop_assert_eq!(found, wanted);
        }
    }
}
