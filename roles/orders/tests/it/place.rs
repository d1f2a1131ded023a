//! Every row of the order table (reference: commerce, section 3.4) that applies, on the model table.

use std::sync::Arc;

use crate::shop::*;
use serde_json::{Value, json};
use zizon_base::market::Market;
use zizon_base::problem::Code;
use zizon_orders::request::Rules;
use zizon_orders::service::ShopRules;
use zizon_orders::testing::{TestShop, product};
use zizon_table::MemTable;

#[tokio::test]
async fn the_body_of_the_load_scripts_is_answered_as_documented() {
    let shop = Shop::new().await;
    let answer = shop.place(SEED).await.unwrap();
    let id = answer.id.to_string();
    let number = shop.test.ids().order_number(&answer.id, Market::Kr, "2026-11-22T04:05:06.789Z".at());
    let expected = json!({
        "id": id, "number": number, "status": "pending_payment", "payment_status": "unpaid",
        "fulfillment_status": "unfulfilled", "user_id": "user_42", "market": "KR", "currency": "KRW",
        "items": [{"line": 1, "product_id": "PROD001", "sku": "PROD001", "name": "제품 PROD001", "quantity": 2,
            "unit_price": 2_690_000, "subtotal": 5_380_000, "discount": 0, "tax": 489_091, "gift": false}],
        "totals": {"subtotal": 5_380_000, "discount": 0, "shipping": 0, "tax_included": 489_091, "duty": 0,
            "total": 5_380_000},
        "reservation": {"expires_at": "2026-11-22T04:20:06.789Z"}, "created_at": "2026-11-22T04:05:06.789Z",
        "links": {"pay": format!("/api/v1/orders/{id}/payments")},
        "access_token": shop.test.ids().access_token(&answer.id),
    });
    assert_eq!(body(&answer), expected);
    assert!(!answer.replayed);
}

#[tokio::test]
async fn the_same_key_and_meaning_answers_the_same_bytes_and_takes_no_stock() {
    let shop = Shop::new().await;
    let first = shop.place(SEED).await.unwrap();
    let reordered = r#" { "idempotency_key":"test_1_0.5", "items":[{"price":2690000,"unknown":[1],"quantity":2,"product_id":"PROD001"}],
        "user_id":"user_42", "currency":"KRW", "market":"KR", "extra":{"a":null} } "#;
    shop.test.clock.advance_ms(86_400_000);
    for text in [SEED, reordered] {
        let again = shop.place(text).await.unwrap();
        assert!(again.replayed);
        assert_eq!(again.body, first.body);
    }
    assert_eq!(shop.test.stock_of("PROD001").await.held, 2);
}

#[tokio::test]
async fn the_same_key_with_another_meaning_is_refused() {
    let shop = Shop::new().await;
    shop.place(SEED).await.unwrap();
    for change in
        [json!({"note": "gift"}), json!({"expected_total": 5_380_000}), json!({"items": [line("PROD001", 1)]})]
    {
        assert_eq!(shop.code(&order(&change)).await, Code::IdempotencyKeyReused);
    }
}

#[tokio::test]
async fn keys_are_required_printable_and_at_most_255_characters() {
    let shop = Shop::new().await;
    let key = |key| order(&json!({"idempotency_key": key}));
    assert_eq!(shop.code(&key(json!(null))).await, Code::IdempotencyKeyRequired);
    assert_eq!(shop.code(&key(json!(""))).await, Code::IdempotencyKeyRequired);
    assert_eq!(shop.code(&key(json!("k".repeat(256)))).await, Code::IdempotencyKeyInvalid);
    assert_eq!(shop.code(&key(json!("ключ"))).await, Code::IdempotencyKeyInvalid);
    assert_eq!(shop.code(&key(json!("a\tb"))).await, Code::IdempotencyKeyInvalid);
    assert_eq!(shop.code(&key(json!(7))).await, Code::MalformedRequest);
    assert!(shop.place(&key(json!("k".repeat(255)))).await.is_ok());
}

#[tokio::test]
async fn the_header_is_the_same_key_and_must_not_contradict_the_body() {
    let shop = Shop::new().await;
    let without = order(&json!({"idempotency_key": null}));
    let service = &shop.test.service;
    let first = service.place(without.as_bytes(), Some(b"test_1_0.5")).await.unwrap();
    assert!(service.place(SEED.as_bytes(), Some(b"test_1_0.5")).await.unwrap().replayed);
    assert_eq!(shop.place(SEED).await.unwrap().id, first.id);
    let other = service.place(SEED.as_bytes(), Some(b"other")).await.unwrap_err();
    assert_eq!(other.code, Code::IdempotencyKeyMismatch);
    let binary = service.place(without.as_bytes(), Some(b"\xff")).await.unwrap_err();
    assert_eq!(binary.code, Code::IdempotencyKeyInvalid);
}

#[tokio::test]
async fn a_guest_outside_a_demonstration_needs_a_long_key() {
    let rules = ShopRules { request: Rules { min_key_chars: 22, ..Rules::default() }, ..ShopRules::default() };
    let shop = Shop::with(rules).await;
    assert_eq!(shop.code(SEED).await, Code::IdempotencyKeyInvalid);
    let long = order(&json!({"idempotency_key": "0123456789012345678901"}));
    assert!(shop.place(&long).await.is_ok());
}

#[tokio::test]
async fn without_guest_checkout_nobody_orders() {
    let shop = Shop::with(ShopRules { guest_checkout: false, ..ShopRules::default() }).await;
    assert_eq!(shop.code(SEED).await, Code::AuthenticationRequired);
}

#[tokio::test]
async fn refusals_do_not_bind_the_key() {
    let shop = Shop::new().await;
    let wrong = order(&json!({"items": [{"product_id": "PROD001", "quantity": 2, "price": 1}]}));
    assert_eq!(shop.code(&wrong).await, Code::PriceChanged);
    let unknown = order(&json!({"items": [line("NOPE", 1)]}));
    assert_eq!(shop.code(&unknown).await, Code::UnknownProduct);
    assert!(!shop.place(SEED).await.unwrap().replayed);
}

#[tokio::test]
async fn a_changed_price_is_named_with_both_sides_and_nothing_is_reserved() {
    let shop = Shop::new().await;
    let items = json!([line("PROD001", 1), {"product_id": "PROD002", "quantity": 1, "price": 999}]);
    let refused = shop.refused(&order(&json!({"items": items}))).await;
    assert_eq!(refused["code"], "price-changed");
    assert_eq!(
        refused["errors"],
        json!([{"pointer": "#/items/1/price", "code": "price-changed", "expected": 1_000, "actual": 999}])
    );
    assert_eq!(shop.test.stock_of("PROD001").await.held, 0);
}

#[tokio::test]
async fn a_price_may_be_left_out_only_where_a_total_is_expected() {
    let shop = Shop::new().await;
    let items = json!([{"product_id": "PROD001", "quantity": 2}]);
    assert_eq!(shop.code(&order(&json!({"items": items}))).await, Code::MalformedRequest);
    let wrong = shop.refused(&order(&json!({"items": items, "expected_total": 1}))).await;
    assert_eq!((&wrong["code"], &wrong["total"]), (&json!("total-changed"), &json!(5_380_000)));
    assert!(shop.place(&order(&json!({"items": items, "expected_total": 5_380_000}))).await.is_ok());
}

#[tokio::test]
async fn unknown_and_unavailable_products_are_named_by_line() {
    let shop = Shop::new().await;
    shop.test.prices.put(&product("HIDDEN", &[(Market::Kr, 1_000)], false));
    shop.test.prices.put(&product("ABROAD", &[(Market::Us, 1_000)], true));
    let unknown = shop.refused(&order(&json!({"items": [line("PROD001", 1), line("NOPE", 1)]}))).await;
    assert_eq!((&unknown["status"], &unknown["code"]), (&json!(422), &json!("unknown-product")));
    assert_eq!(unknown["errors"][0]["pointer"], "#/items/1/product_id");
    for sku in ["HIDDEN", "ABROAD"] {
        assert_eq!(shop.code(&order(&json!({"items": [line(sku, 1)]}))).await, Code::ProductUnavailable);
    }
}

#[tokio::test]
async fn too_little_stock_is_all_or_nothing_and_says_what_there_is() {
    let shop = Shop::new().await;
    shop.test.stock("PROD002", 3).await;
    let items = json!([line("PROD001", 1), line("PROD002", 2), line("PROD002", 2)]);
    let refused = shop.refused(&order(&json!({"items": items}))).await;
    assert_eq!((&refused["status"], &refused["code"]), (&json!(409), &json!("insufficient-stock")));
    let place = json!({"pointer": "#/items/1/quantity", "code": "insufficient-stock", "requested": 4, "available": 3});
    assert_eq!(refused["errors"], json!([place]));
    assert_eq!(shop.test.stock_of("PROD001").await.held, 0);
    assert_eq!(shop.test.stock_of("PROD002").await.available, 3);
    shop.test.sell("EMPTY", 1_000);
    let none = shop.refused(&order(&json!({"items": [line("EMPTY", 1)]}))).await;
    assert_eq!(none["errors"][0]["available"], 0);
}

#[tokio::test]
async fn quantities_are_whole_positive_and_bounded_per_product() {
    let shop = Shop::new().await;
    let quantity = |n| order(&json!({"items": [{"product_id": "PROD001", "quantity": n, "price": 2_690_000}]}));
    for (n, code) in [
        (json!(0), Code::InvalidQuantity),
        (json!(-1), Code::InvalidQuantity),
        (json!(1.5), Code::MalformedRequest),
        (json!(1.0), Code::MalformedRequest),
        (json!("1"), Code::MalformedRequest),
        (json!(null), Code::MalformedRequest),
        (json!(100), Code::QuantityLimit),
        (json!(18_446_744_073_709_551_615_u64), Code::QuantityLimit),
    ] {
        assert_eq!(shop.code(&quantity(n.clone())).await, code, "{n}");
    }
    let twice = order(&json!({"items": [line("PROD001", 50), line("PROD001", 50)]}));
    assert_eq!(shop.code(&twice).await, Code::QuantityLimit);
}

#[tokio::test]
async fn an_order_has_1_to_100_lines() {
    let shop = Shop::new().await;
    assert_eq!(shop.code(&order(&json!({"items": []}))).await, Code::EmptyOrder);
    let lines = |n: usize| (0..n).map(|at| line(&format!("P{at}"), 1)).collect::<Vec<_>>();
    assert_eq!(shop.code(&order(&json!({"items": lines(101)}))).await, Code::TooManyLines);
    for at in 0..100 {
        shop.test.sell(&format!("P{at}"), 1_000);
        shop.test.stock(&format!("P{at}"), 10).await;
    }
    let many = shop.place(&order(&json!({"items": lines(100)}))).await.unwrap();
    assert_eq!(body(&many)["items"].as_array().unwrap().len(), 100);
    shop.test.settle().await;
    for at in 0..100 {
        assert_eq!(shop.test.stock_of(&format!("P{at}")).await.held, 1);
    }
}

#[tokio::test]
async fn the_same_product_twice_keeps_its_lines_and_sums_its_units() {
    let shop = Shop::new().await;
    shop.test.stock("PROD002", 5).await;
    let two = order(&json!({"items": [line("PROD002", 2), line("PROD002", 3)]}));
    let placed = body(&shop.place(&two).await.unwrap());
    assert_eq!(placed["items"].as_array().unwrap().len(), 2);
    assert_eq!(placed["totals"]["total"], 5_000);
    assert_eq!(shop.test.stock_of("PROD002").await.available, 0);
}

#[tokio::test]
async fn currencies_and_amounts_are_checked() {
    let shop = Shop::new().await;
    assert_eq!(shop.code(&order(&json!({"currency": "USD"}))).await, Code::CurrencyMismatch);
    assert_eq!(shop.code(&order(&json!({"market": "XX"}))).await, Code::MalformedRequest);
    assert_eq!(shop.code(&order(&json!({"currency": 1}))).await, Code::MalformedRequest);
    let price = |n| order(&json!({"items": [{"product_id": "PROD001", "quantity": 1, "price": n}]}));
    assert_eq!(shop.code(&price(json!(9_007_199_254_740_992_i64))).await, Code::AmountOutOfRange);
    assert_eq!(shop.code(&price(json!(18_446_744_073_709_551_615_u64))).await, Code::AmountOutOfRange);
    for wrong in [json!(2_690_000.0), json!("2690000"), json!(true), json!([2_690_000])] {
        assert_eq!(shop.code(&price(wrong)).await, Code::MalformedRequest);
    }
    shop.test.sell("DEAR", 9_007_199_254_740_991);
    let dear = json!([{"product_id": "DEAR", "quantity": 2, "price": 9_007_199_254_740_991_i64}]);
    assert_eq!(shop.code(&order(&json!({"items": dear}))).await, Code::AmountOutOfRange);
}

#[tokio::test]
async fn other_markets_have_their_own_price_name_and_tax() {
    let shop = Shop::new().await;
    shop.test.prices.put(&product("PROD002", &[(Market::Kr, 1_000), (Market::Us, 1_250)], true));
    let items = json!([{"product_id": "PROD002", "quantity": 2, "price": 1_250}]);
    let placed = body(&shop.place(&order(&json!({"market": "US", "currency": "USD", "items": items}))).await.unwrap());
    assert_eq!(placed["currency"], "USD");
    assert_eq!(placed["items"][0]["name"], "Product PROD002");
    assert_eq!((&placed["items"][0]["tax"], &placed["totals"]["total"]), (&json!(0), &json!(2_500)));
}

#[tokio::test]
async fn members_that_do_not_exist_yet_are_refused_by_name() {
    let shop = Shop::new().await;
    for member in ["quote_id", "coupon_codes", "flash_sale_id", "shipping_address_id"] {
        let refused = shop.refused(&order(&json!({member: ["x"]}))).await;
        assert_eq!(refused["code"], "not-supported-yet");
        assert_eq!(refused["errors"][0]["pointer"], format!("#/{member}"));
    }
}

#[tokio::test]
async fn user_ids_follow_the_pattern_of_merchants() {
    let shop = Shop::new().await;
    for user in [json!(null), json!(""), json!("-a"), json!(42), json!("a b"), json!("u".repeat(65))] {
        let refused = shop.refused(&order(&json!({"user_id": user}))).await;
        assert_eq!(refused["code"], "malformed-request");
        assert_eq!(refused["errors"][0]["pointer"], "#/user_id");
    }
}

#[tokio::test]
async fn prices_that_nobody_confirmed_are_not_sold_by_but_replays_are_answered() {
    let shop = Shop::new().await;
    let first = shop.place(SEED).await.unwrap();
    shop.test.clock.advance_ms(30_001);
    let other = order(&json!({"idempotency_key": "another"}));
    assert_eq!(shop.code(&other).await, Code::PricesStale);
    assert_eq!(shop.place(SEED).await.unwrap().body, first.body);
    assert_eq!(shop.code(&order(&json!({"note": "x"}))).await, Code::IdempotencyKeyReused);
    shop.test.confirm_prices();
    assert!(shop.place(&other).await.is_ok());
}

#[tokio::test]
async fn prices_are_stale_only_after_their_time_however_the_role_was_started() {
    let dir = tempfile::tempdir().unwrap();
    let test = TestShop::unconfirmed(Arc::new(MemTable::new()), dir.path(), ShopRules::default());
    let code = async || test.service.place(SEED.as_bytes(), None).await.unwrap_err().code;
    assert_eq!(code().await, Code::UpstreamUnavailable);
    assert!(Code::UpstreamUnavailable.retryable());
    test.clock.advance_ms(30_000);
    assert_eq!(code().await, Code::UpstreamUnavailable);
    test.clock.advance_ms(1);
    assert_eq!(code().await, Code::PricesStale);
}

#[tokio::test]
async fn a_replay_is_answered_whatever_prices_and_stock_are_today() {
    let shop = Shop::new().await;
    let first = shop.place(SEED).await.unwrap();
    shop.test.sell("PROD001", 1);
    assert_eq!(shop.place(SEED).await.unwrap().body, first.body);
    shop.test.prices.remove(&"PROD001".parse().unwrap());
    assert_eq!(shop.place(SEED).await.unwrap().body, first.body);
    shop.test.sell("PROD001", 2_690_000);
    shop.test.stock("PROD001", 0).await;
    assert_eq!(shop.place(SEED).await.unwrap().body, first.body);
}

#[tokio::test]
async fn an_address_is_checked_member_by_member() {
    let shop = Shop::new().await;
    let good = json!({"recipient": "김하나", "country": "KR", "postal_code": "04524", "city": "서울", "line1": "세종대로 110", "floor": 3});
    assert!(shop.place(&order(&json!({"shipping_address": good}))).await.is_ok());
    let bad = json!({"recipient": " ", "country": "kr", "postal_code": "0".repeat(17), "city": "a\u{0}b"});
    let refused = shop.refused(&order(&json!({"shipping_address": bad, "idempotency_key": "2"}))).await;
    assert_eq!((&refused["status"], &refused["code"]), (&json!(422), &json!("invalid-address")));
    let places: Vec<_> = refused["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    let expected = ["recipient", "country", "postal_code", "city", "line1"].map(|m| format!("#/shipping_address/{m}"));
    assert_eq!(places, expected);
    for wrong in [json!("Seoul"), json!([]), json!({"recipient": 1})] {
        assert_eq!(shop.code(&order(&json!({"shipping_address": wrong}))).await, Code::MalformedRequest);
    }
    assert_eq!(shop.code(&order(&json!({"note": "n".repeat(501)}))).await, Code::MalformedRequest);
}

#[tokio::test]
async fn every_refusal_says_in_plain_words_what_is_wrong_and_where() {
    let shop = Shop::new().await;
    shop.test.prices.put(&product("PROD003", &[(Market::Jp, 500)], true));
    shop.place(SEED).await.unwrap();
    let address =
        json!({"recipient": "김하나", "country": "Korea", "postal_code": "04524", "city": "서울", "line1": "1"});
    let one = |line: Value| json!({"items": [line], "idempotency_key": "2"});
    let wrong_price = json!({"product_id": "PROD001", "quantity": 1, "price": 1});
    for (changes, detail, pointer) in [
        (json!({"note": "another"}), "fresh key", None),
        (one(line("NOPE", 1)), "NOPE (line 1) is not in the catalog", Some("#/items/0/product_id")),
        (one(line("PROD003", 1)), "PROD003 (line 1) is not for sale in market KR", Some("#/items/0/product_id")),
        (one(wrong_price), "one price is not the shop's at present", Some("#/items/0/price")),
        (json!({"expected_total": 1, "idempotency_key": "2"}), "cost KRW 5380000", Some("#/expected_total")),
        (one(line("PROD001", 0)), "line 1 asks for 0 units", Some("#/items/0/quantity")),
        (one(line("PROD001", 100)), "an order may have 99 units", Some("#/items/0/quantity")),
        (json!({"items": [], "idempotency_key": "2"}), "at least one line", Some("#/items")),
        (json!({"currency": "USD", "idempotency_key": "2"}), "prices in market KR are in KRW", Some("#/currency")),
        (json!({"coupon_codes": ["x"]}), "`coupon_codes` is not supported yet", Some("#/coupon_codes")),
        (json!({"user_id": "a b"}), "`user_id` cannot be used: expected 1 to 64 characters", Some("#/user_id")),
        (json!({"market": "XX"}), "`market` cannot be used: expected KR, JP or US", Some("#/market")),
        (json!({"idempotency_key": ""}), "1 to 255 printable ASCII", Some("#/idempotency_key")),
        (json!({"shipping_address": address}), "two capital letters", Some("#/shipping_address/country")),
        (json!({"note": "a\u{0}b"}), "`note` cannot be used: expected no control", Some("#/note")),
        (json!({"note": "a\u{7}b"}), "`note` cannot be used: expected no control", Some("#/note")),
    ] {
        let refused = shop.refused(&order(&changes)).await;
        let said = refused["detail"].as_str().unwrap_or_default();
        assert!(said.contains(detail), "{changes}: {refused}");
        assert_eq!(refused["errors"][0]["pointer"].as_str(), pointer, "{changes}: {refused}");
    }
    shop.test.stock("PROD001", 1).await;
    let short = shop.refused(&buy(7, "PROD001", 2)).await;
    assert_eq!(short["detail"], "of PROD001 (line 1) 2 are asked for and 1 are left; nothing was reserved");
    for (text, said) in
        [("{", "ends inside an object"), ("[]", "expected an object"), ("{}x", "text after the document")]
    {
        assert!(shop.refused(text).await["detail"].as_str().unwrap_or_default().contains(said), "{text}");
    }
    let lines = json!({"note": "한 줄\n\t둘째 줄\r\n", "items": [line("PROD002", 1)], "idempotency_key": "3"});
    assert!(shop.place(&order(&lines)).await.is_ok());
}
