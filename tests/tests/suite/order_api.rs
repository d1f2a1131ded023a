//! `POST /api/v1/orders` through the public listener: every answer of the contract.

use serde_json::{Value, json};
use zizon_tests::{Client, Platform, client::order_body};

const PRICE: i64 = 2_690_000;

fn post(client: &Client, body: &Value) -> zizon_tests::Answer {
    client.post("/api/v1/orders", &body.to_string())
}

fn valid(key: &str) -> Value {
    json!({
        "user_id": "user_42",
        "items": [{ "product_id": "PROD001", "quantity": 2, "price": PRICE }],
        "idempotency_key": key,
    })
}

/// `valid` with one member replaced, or removed by `null`.
fn with(key: &str, member: &str, value: Value) -> Value {
    let mut body = valid(key);
    let object = body.as_object_mut().expect("an object");
    if value.is_null() {
        object.remove(member);
    } else {
        object.insert(member.to_owned(), value);
    }
    body
}

#[test]
fn the_documented_body_makes_an_order() {
    let platform = Platform::demo();
    let client = platform.client();
    let body = order_body("test_1_0.5", "PROD001", 2, PRICE);
    let answer = client
        .try_send("POST", "/api/v1/orders", &[("Content-Type", "application/json")], body.as_bytes())
        .expect("an answer");
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    let order = answer.json();
    let id = order["id"].as_str().expect("an id");
    assert_eq!(answer.header("location"), Some(format!("/api/v1/orders/{id}").as_str()));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("idempotent-replayed"), None);
    assert_eq!(order["status"], "pending_payment");
    assert_eq!(order["payment_status"], "unpaid");
    assert_eq!(order["fulfillment_status"], "unfulfilled");
    assert_eq!(order["user_id"], "user_42");
    assert_eq!((&order["market"], &order["currency"]), (&json!("KR"), &json!("KRW")));
    let line = &order["items"][0];
    assert_eq!(line["line"], 1);
    assert_eq!((&line["product_id"], &line["sku"]), (&json!("PROD001"), &json!("PROD001")));
    assert_eq!((&line["quantity"], &line["unit_price"]), (&json!(2), &json!(PRICE)));
    assert_eq!((&line["subtotal"], &line["discount"]), (&json!(5_380_000), &json!(0)));
    assert_eq!((&line["tax"], &line["gift"]), (&json!(489_091), &json!(false)));
    assert_eq!(
        order["totals"],
        json!({ "subtotal": 5_380_000, "discount": 0, "shipping": 0, "tax_included": 489_091, "duty": 0, "total": 5_380_000 })
    );
    assert!(order["reservation"]["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')));
    assert_eq!(order["links"]["pay"], format!("/api/v1/orders/{id}/payments"));
    assert!(order["access_token"].as_str().is_some_and(|token| token.len() >= 26));
}

#[test]
fn any_host_name_is_served() {
    let platform = Platform::demo();
    let body = order_body("host-1", "PROD001", 1, PRICE);
    let request = format!(
        "POST /api/v1/orders HTTP/1.1\r\nHost: api.cloudwave10.shop\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(platform.client().raw(request.as_bytes()).status, 201);
}

#[test]
fn the_same_key_and_meaning_replays_the_same_bytes() {
    let platform = Platform::demo();
    let client = platform.client();
    let first = post(&client, &valid("replay-1"));
    let reordered = r#" { "idempotency_key" : "replay-1", "ignored": [1, {"a": 2}],
        "items":[{"price":2690000,"quantity":2,"product_id":"PROD001"}], "user_id":"user_42" } "#;
    let second = client.post("/api/v1/orders", reordered);
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!(first.body, second.body);
    let stock = platform.json(&["stock", "show", "PROD001"]);
    assert_eq!(stock["held"], 2, "a replay takes no stock");
}

#[test]
fn a_key_belongs_to_one_meaning_and_one_user() {
    let platform = Platform::demo();
    let client = platform.client();
    assert_eq!(post(&client, &valid("reuse-1")).status, 201);
    let other_quantity = with("reuse-1", "items", json!([{ "product_id": "PROD001", "quantity": 3, "price": PRICE }]));
    let answer = post(&client, &other_quantity);
    assert_eq!((answer.status, answer.code().as_str()), (422, "idempotency-key-reused"));
    let other_user = post(&client, &with("reuse-1", "user_id", json!("user_43")));
    assert_eq!(other_user.status, 201);
    assert_eq!(other_user.header("idempotent-replayed"), None);
}

#[test]
fn the_header_is_the_same_key() {
    let platform = Platform::demo();
    let client = platform.client();
    let send = |key: &str, body: &Value| {
        let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
        client.try_send("POST", "/api/v1/orders", &headers, body.to_string().as_bytes()).expect("an answer")
    };
    let by_header = send("header-1", &with("", "idempotency_key", Value::Null));
    let by_body = post(&client, &valid("header-1"));
    assert_eq!((by_header.status, by_body.status), (201, 201));
    assert_eq!(by_body.header("idempotent-replayed"), Some("true"));
    let mismatch = send("header-2", &valid("header-3"));
    assert_eq!((mismatch.status, mismatch.code().as_str()), (400, "idempotency-key-mismatch"));
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let platform = Platform::demo();
    let client = platform.client();
    let long_key = "k".repeat(256);
    let deep =
        format!(r#"{{"user_id":"u","items":[],"idempotency_key":"k","x":{}1{}}}"#, "[".repeat(40), "]".repeat(40));
    let cases: Vec<(String, u16, &str)> = vec![
        ("{".into(), 400, "malformed-request"),
        ("[]".into(), 400, "malformed-request"),
        (String::new(), 400, "malformed-request"),
        (format!("{} x", valid("m1")), 400, "malformed-request"),
        (deep, 400, "malformed-request"),
        (r#"{"user_id":"a","user_id":"b","items":[],"idempotency_key":"k"}"#.into(), 400, "malformed-request"),
        (r#"{"user_id":"a","items":[],"idempotency_key":"k","x":{"y":1,"y":2}}"#.into(), 400, "malformed-request"),
        (with("m2", "user_id", Value::Null).to_string(), 400, "malformed-request"),
        (with("m3", "user_id", json!("")).to_string(), 400, "malformed-request"),
        (with("m4", "user_id", json!("a b")).to_string(), 400, "malformed-request"),
        (with("m5", "user_id", json!(7)).to_string(), 400, "malformed-request"),
        (
            with("m6", "items", json!([{ "product_id": "PROD001", "quantity": 1.5, "price": PRICE }])).to_string(),
            400,
            "malformed-request",
        ),
        (
            with("m7", "items", json!([{ "product_id": "PROD001", "quantity": "1", "price": PRICE }])).to_string(),
            400,
            "malformed-request",
        ),
        (
            with("m8", "items", json!([{ "product_id": "PROD001", "quantity": 1, "price": 1.0 }])).to_string(),
            400,
            "malformed-request",
        ),
        (
            with("m9", "items", json!([{ "product_id": "PROD001", "quantity": 1, "price": "1" }])).to_string(),
            400,
            "malformed-request",
        ),
        (with("", "idempotency_key", Value::Null).to_string(), 400, "idempotency-key-required"),
        (valid("").to_string(), 400, "idempotency-key-required"),
        (valid(&long_key).to_string(), 400, "idempotency-key-invalid"),
        (valid("schlüssel").to_string(), 400, "idempotency-key-invalid"),
    ];
    for (body, status, code) in cases {
        let answer = client.post("/api/v1/orders", &body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{body}");
        let problem = answer.json();
        assert_eq!(problem["type"], format!("https://zizon.dev/problems/{code}"));
        assert!(problem["trace_id"].as_str().is_some_and(|id| id.len() == 32), "{problem}");
    }
}

#[test]
fn what_cannot_be_sold_is_refused_and_the_key_stays_free() {
    let platform = Platform::demo();
    let client = platform.client();
    let items = |items: Value| with("free-1", "items", items);
    let line = |product: &str, quantity: i64, price: i64| json!({ "product_id": product, "quantity": quantity, "price": price });
    let many: Vec<Value> = (0..101).map(|_| line("PROD001", 1, PRICE)).collect();
    let cases = [
        (items(json!([])), 422, "empty-order", ""),
        (items(json!(many)), 422, "too-many-lines", ""),
        (items(json!([line("PROD001", 0, PRICE)])), 422, "invalid-quantity", "#/items/0/quantity"),
        (items(json!([line("PROD001", -1, PRICE)])), 422, "invalid-quantity", "#/items/0/quantity"),
        (items(json!([line("PROD001", 100, PRICE)])), 422, "quantity-limit", "#/items/0/quantity"),
        (items(json!([line("PROD001", 60, PRICE), line("PROD001", 60, PRICE)])), 422, "quantity-limit", ""),
        (items(json!([line("NOPE", 1, 1)])), 422, "unknown-product", "#/items/0/product_id"),
        (items(json!([line("PROD001", 1, 1)])), 409, "price-changed", "#/items/0/price"),
        (with("free-1", "currency", json!("USD")), 422, "currency-mismatch", ""),
        (with("free-1", "expected_total", json!(1)), 409, "total-changed", ""),
        (with("free-1", "quote_id", json!("q")), 422, "not-supported-yet", "#/quote_id"),
        (with("free-1", "coupon_codes", json!(["C"])), 422, "not-supported-yet", "#/coupon_codes"),
        (with("free-1", "flash_sale_id", json!("f")), 422, "not-supported-yet", "#/flash_sale_id"),
        (with("free-1", "shipping_address_id", json!("a")), 422, "not-supported-yet", "#/shipping_address_id"),
    ];
    for (body, status, code, pointer) in cases {
        let answer = post(&client, &body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}");
        if !pointer.is_empty() {
            assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{body}");
        }
    }
    assert_eq!(post(&client, &valid("free-1")).status, 201, "no refusal has bound the key");
}

#[test]
fn a_changed_price_is_told_and_never_charged() {
    let platform = Platform::demo();
    let answer = platform.client().order("price-1", "PROD001", 1, 1);
    let problem = answer.json();
    assert_eq!(answer.status, 409);
    assert_eq!((&problem["errors"][0]["expected"], &problem["errors"][0]["actual"]), (&json!(PRICE), &json!(1)));
    assert_eq!(platform.json(&["stock", "show", "PROD001"])["held"], 0);
}

#[test]
fn a_line_without_a_price_needs_the_expected_total() {
    let platform = Platform::demo();
    let client = platform.client();
    let items = json!([{ "product_id": "PROD001", "quantity": 1 }]);
    let without = post(&client, &with("total-1", "items", items.clone()));
    assert_eq!(without.status, 400, "{}", without.code());
    let mut body = with("total-1", "items", items);
    body["expected_total"] = json!(PRICE);
    assert_eq!(post(&client, &body).status, 201);
}

#[test]
fn several_lines_are_all_or_nothing() {
    let platform = Platform::demo();
    let client = platform.client();
    let other = platform.json(&["product", "ls"])["data"]
        .as_array()
        .and_then(|all| {
            all.iter().find(|product| product["id"] != "PROD001" && product["prices"]["KR"].is_i64()).cloned()
        })
        .expect("a second product");
    let (id, price) = (other["id"].as_str().expect("an id"), other["prices"]["KR"].as_i64().expect("a price"));
    assert!(platform.run(&["stock", "set", id, "3"]).status.success());
    let body = with(
        "lines-1",
        "items",
        json!([
            { "product_id": "PROD001", "quantity": 1, "price": PRICE },
            { "product_id": id, "quantity": 2, "price": price },
            { "product_id": id, "quantity": 2, "price": price },
        ]),
    );
    let answer = post(&client, &body);
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (409, "insufficient-stock"),
        "quantities are summed per product"
    );
    assert_eq!(platform.json(&["stock", "show", "PROD001"])["held"], 0, "no line was reserved");
    assert!(platform.run(&["stock", "set", id, "4"]).status.success());
    let answer = post(&client, &body);
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["totals"]["total"], PRICE + 4 * price);
    assert_eq!(platform.json(&["stock", "show", id])["available"], 0);
}

#[test]
fn another_market_sells_in_its_own_currency() {
    let platform = Platform::demo();
    let product = platform.json(&["product", "show", "PROD001"]);
    let price = product["prices"]["JP"].as_i64().expect("a price in Japan");
    let mut body = with("market-1", "items", json!([{ "product_id": "PROD001", "quantity": 1, "price": price }]));
    body["market"] = json!("JP");
    let answer = post(&platform.client(), &body);
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.json()["currency"], "JPY");
    assert_eq!(answer.json()["items"][0]["name"], product["name"]["ja"]);
}

#[test]
fn only_the_token_opens_an_order() {
    let platform = Platform::demo();
    let client = platform.client();
    let order = post(&client, &valid("token-1")).json();
    let path = format!("/api/v1/orders/{}", order["id"].as_str().expect("an id"));
    let token = order["access_token"].as_str().expect("a token");
    let read = client.get_with_token(&path, token);
    assert_eq!(read.status, 200);
    assert_eq!(read.json()["items"], order["items"]);
    assert_eq!(read.json()["totals"], order["totals"]);
    for refused in [
        client.get(&path),
        client.get_with_token(&path, "wrong"),
        client.get_with_token("/api/v1/orders/ord_nope", token),
    ] {
        assert_eq!((refused.status, refused.code().as_str()), (404, "not-found"));
    }
}

#[test]
fn cancelling_twice_returns_the_stock_once() {
    let platform = Platform::demo();
    let client = platform.client();
    let order = post(&client, &valid("cancel-1")).json();
    let id = order["id"].as_str().expect("an id");
    let bearer = format!("Bearer {}", order["access_token"].as_str().expect("a token"));
    let before = platform.json(&["stock", "show", "PROD001"]);
    let cancel = |token: &str| {
        client
            .try_send("POST", &format!("/api/v1/orders/{id}/cancel"), &[("Authorization", token)], b"")
            .expect("an answer")
    };
    assert_eq!(cancel("Bearer wrong").status, 404);
    for _ in 0..2 {
        let answer = cancel(&bearer);
        assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("cancelled")));
    }
    let after = platform.json(&["stock", "show", "PROD001"]);
    assert_eq!(after["held"].as_i64(), before["held"].as_i64().map(|held| held - 2));
    assert_eq!(after["on_hand"], before["on_hand"]);
    let replay = post(&client, &valid("cancel-1"));
    assert_eq!(
        (replay.status, &replay.json()["status"]),
        (201, &json!("pending_payment")),
        "a replay is the first answer"
    );
}

#[test]
fn personal_fields_are_kept_sealed_and_shown_to_the_operator() {
    let platform = Platform::demo();
    let mut body = valid("personal-1");
    body["note"] = json!("leave it with the neighbour");
    body["shipping_address"] = json!({ "recipient": "Kim Minseo", "phone": "+82 10 1234 5678", "country": "KR",
        "postal_code": "04524", "city": "Seoul", "line1": "Sejong-daero 110" });
    let answer = post(&platform.client(), &body);
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    let shown = platform.json(&["order", "show", &id]);
    assert_eq!(shown["note"], "leave it with the neighbour");
    assert_eq!(shown["shipping_address"]["recipient"], "Kim Minseo");
    for secret in ["Minseo", "neighbour", "1234 5678", "Sejong-daero"] {
        assert!(!contains(platform.data(), secret.as_bytes()), "{secret} is on disk in the clear");
    }
}

/// Whether any file under `directory` contains `needle`.
fn contains(directory: &std::path::Path, needle: &[u8]) -> bool {
    std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok).any(|entry| {
        let kind = entry.file_type().ok();
        if kind.is_some_and(|kind| kind.is_dir()) {
            return contains(&entry.path(), needle);
        }
        kind.is_some_and(|kind| kind.is_file())
            && std::fs::read(entry.path()).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    })
}

#[test]
fn without_guests_nobody_can_order_and_it_is_said() {
    let mut platform = Platform::builder().without_demo().not_ready().start();
    zizon_tests::eventually("it is said why", || {
        platform.output().contains("nobody can order yet: set guest_checkout = true")
    });
    let client = platform.client();
    let ready = client.get("/readyz");
    assert_eq!(ready.status, 503);
    let answer = post(&client, &valid("guest-key-of-22-characters"));
    assert_eq!((answer.status, answer.code().as_str()), (401, "authentication-required"));
}

#[test]
fn products_are_listed_page_by_page_and_read_one_by_one() {
    let platform = Platform::demo();
    let client = platform.client();
    let mut seen = Vec::new();
    let mut path = "/api/v1/products?limit=50".to_owned();
    loop {
        let page = client.get(&path).json();
        seen.extend(page["data"].as_array().expect("a page").iter().map(|product| product["id"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/products?limit=50&cursor={cursor}");
    }
    assert!(seen.len() >= 150, "{} products", seen.len());
    let mut unique = seen.clone();
    unique.sort_by_key(ToString::to_string);
    unique.dedup();
    assert_eq!(unique.len(), seen.len(), "each product once");
    let one = client.get("/api/v1/products/PROD001");
    assert_eq!((one.status, &one.json()["prices"]["KR"]), (200, &json!(PRICE)));
    assert_eq!(client.get("/api/v1/products/NOPE").status, 404);
    assert_eq!(client.get("/api/v1/products?limit=0").status, 400);
}

#[test]
fn the_api_describes_itself() {
    let platform = Platform::demo();
    let client = platform.client();
    let served = client.get("/openapi.json").json();
    assert!(served["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    assert!(served["paths"]["/api/v1/orders"]["post"].is_object());
    let committed = include_str!("../../../docs/openapi.json");
    let committed: Value = serde_json::from_str(committed).expect("docs/openapi.json is JSON");
    assert_eq!(served, committed, "cargo xtask docs writes docs/openapi.json");
    let page = client.get("/problems/insufficient-stock");
    assert_eq!(page.status, 200);
    assert!(String::from_utf8_lossy(&page.body).contains("insufficient-stock"));
    assert_eq!(client.get("/problems/nope").status, 404);
}

#[test]
fn people_are_told_what_is_wrong_in_their_language() {
    let platform = Platform::demo();
    let client = platform.client();
    let body = zizon_tests::client::order_body("language-1", "PROD001", 1, 1);
    let languages = [("ko-KR,ko;q=0.9,en;q=0.8", "ko"), ("ja", "ja"), ("fr", "en")];
    let mut titles = Vec::new();
    for (accept, tag) in languages {
        let headers = [("Content-Type", "application/json"), ("Accept-Language", accept)];
        let refused = client.try_send("POST", "/api/v1/orders", &headers, body.as_bytes()).expect("an answer");
        assert_eq!((refused.status, refused.code().as_str()), (409, "price-changed"));
        assert_eq!(refused.header("content-language"), Some(tag));
        titles.push(refused.json()["title"].as_str().expect("a title").to_owned());
        // What the edge answers by itself speaks the same language.
        let lost = client.try_send("GET", "/nowhere", &headers[1..], b"").expect("an answer");
        assert_eq!((lost.status, lost.header("content-language")), (404, Some(tag)));
    }
    assert_eq!(titles[..2], ["가격이 변경되었습니다", "価格が変わりました"]);
}

#[test]
fn a_body_in_a_content_coding_is_refused_and_not_taken_for_what_it_decodes_to() {
    let platform = Platform::demo();
    let client = platform.client();
    let body = zizon_tests::client::order_body("coded-1", "PROD001", 1, 2_690_000);
    for (coding, status) in [("gzip", 415), ("br, gzip", 415), ("identity", 201)] {
        let headers = [("Content-Type", "application/json"), ("Content-Encoding", coding)];
        let answer = client.try_send("POST", "/api/v1/orders", &headers, body.as_bytes()).expect("an answer");
        assert_eq!(answer.status, status, "{coding}");
    }
}
