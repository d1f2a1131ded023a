//! Operator commands against a running platform.

use std::fs;

use serde_json::json;
use zizon_tests::{Platform, eventually};

#[test]
fn a_product_that_is_put_can_be_ordered_at_its_new_price() {
    let platform = Platform::demo();
    let mut product = platform.json(&["product", "show", "PROD001"]);
    product["id"] = json!("NEW-1");
    product["prices"] = json!({ "KR": 12_000 });
    let file = platform.data().join("new.json");
    fs::write(&file, product.to_string()).expect("the product is written");
    let file = file.display().to_string();
    assert!(platform.run(&["product", "put", &file]).status.success());
    assert!(platform.run(&["stock", "set", "NEW-1", "5"]).status.success());
    let client = platform.client();
    eventually("the new price has reached orders", || client.order("new-1", "NEW-1", 1, 12_000).status == 201);

    product["prices"] = json!({ "KR": 13_000 });
    fs::write(&file, product.to_string()).expect("the product is written");
    assert!(platform.run(&["product", "put", &file]).status.success());
    eventually("the changed price has reached orders", || client.order("new-2", "NEW-1", 1, 13_000).status == 201);
    let old = client.order("new-3", "NEW-1", 1, 12_000);
    assert_eq!((old.status, old.code().as_str()), (409, "price-changed"));
}

#[test]
fn a_product_that_is_not_right_is_refused_with_its_place() {
    let platform = Platform::demo();
    let mut product = platform.json(&["product", "show", "PROD001"]);
    product["prices"] = json!({ "KR": -1 });
    let file = platform.data().join("bad.json");
    fs::write(&file, product.to_string()).expect("the product is written");
    let output = platform.run(&["product", "put", &file.display().to_string()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("prices"), "{said}");
}

#[test]
fn products_and_stock_are_written_in_bulk_and_ordered_at_random() {
    let platform = Platform::demo();
    let file = |name: &str, text: String| {
        let path = platform.data().join(name);
        fs::write(&path, text).expect("the file is written");
        path.display().to_string()
    };
    let mut product = platform.json(&["product", "show", "PROD001"]);
    let mut lines = String::new();
    for n in 0..100 {
        product["id"] = json!(format!("BULK-{n:03}"));
        product["prices"] = json!({ "KR": 1_000 + n });
        lines.push_str(&format!("{product}\n"));
    }
    let products = file("products.jsonl", lines);
    assert_eq!(platform.json(&["product", "put", "--lines", &products])["written"], 100);
    let stock = (0..100).map(|n| format!("{{\"sku\":\"BULK-{n:03}\",\"available\":1000}}\n")).collect();
    let stock = file("stock.jsonl", stock);
    eventually("orders knows the products", || platform.json(&["stock", "put", &stock])["written"] == 100);
    assert_eq!(platform.json(&["stock", "show", "BULK-042"])["available"], 1_000);

    let client = platform.client();
    eventually("the last price has reached orders", || client.order("bulk", "BULK-099", 1, 1_099).status == 201);
    let ids = file("ids", (0..100).map(|n| format!("BULK-{n:03}\n")).collect());
    let lines = platform.data().join("progress.jsonl").display().to_string();
    let load = ["load", "orders", "--rate", "500", "--duration", "2s", "--products", &ids, "--progress", &lines];
    let report = platform.json(&load);
    assert_eq!((&report["created"], &report["errors"]), (&1_000.into(), &0.into()), "{report}");
    let held = |sku: &str| platform.json(&["stock", "show", sku])["held"].as_i64().unwrap_or(0);
    assert!(["BULK-000", "BULK-050", "BULK-099"].iter().all(|sku| (1..100).contains(&held(sku))));
    let progress = fs::read_to_string(&lines).expect("progress was written");
    let line = |at: usize| -> serde_json::Value {
        serde_json::from_str(progress.lines().nth(at).unwrap_or_default()).expect("JSON")
    };
    let (beginning, second) = (line(0), line(1));
    assert_eq!((&beginning["elapsed"], &beginning["sent"]), (&0.0.into(), &0.into()));
    assert!(second["rate"].as_f64().is_some_and(|rate| rate > 0.0) && second["elapsed"].is_f64(), "{second}");
}

#[test]
fn a_bulk_file_names_the_line_that_is_refused() {
    let platform = Platform::demo();
    let file = platform.data().join("lines.jsonl");
    let name = file.display().to_string();
    let cases: &[(&[&str], &str, i32, &str)] = &[
        (
            &["stock", "put"],
            "{\"sku\":\"PROD001\",\"available\":1}\n{\"sku\":\"PROD002\"}\n",
            2,
            "lines.jsonl:2: missing field",
        ),
        (
            &["stock", "put"],
            "{\"sku\":\"PROD001\",\"available\":1}\n\n{\"sku\":\"PROD002\",\"available\":-1}\n",
            1,
            "lines.jsonl:3: ",
        ),
        (&["stock", "put"], "\n", 2, "has no lines"),
        (&["product", "put", "--lines"], "{}\n", 2, "lines.jsonl:1: missing field"),
        (&["load", "orders", "--products"], "PROD001\nNOPE\n", 2, "cannot order `NOPE`"),
        (&["load", "orders", "--keys", "fixed", "--products"], "PROD001\nPROD002\n", 2, "products must be one"),
        (&["load", "orders", "--products"], "\n", 2, "names no product"),
    ];
    for (command, text, code, said) in cases {
        fs::write(&file, text).expect("the file is written");
        let output = platform.run(&[command, &[name.as_str()][..]].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(*code), "{command:?}: {error}");
        assert!(error.contains(said) && error.contains("help: ") == (*code == 2), "{command:?}: {error}");
    }
}

#[test]
fn stock_is_shown_in_one_equation() {
    let platform = Platform::demo();
    assert!(platform.run(&["stock", "set", "PROD001", "10"]).status.success());
    assert_eq!(platform.client().order("stock-1", "PROD001", 4, 2_690_000).status, 201);
    let stock = platform.json(&["stock", "show", "PROD001"]);
    assert_eq!(stock, json!({ "sku": "PROD001", "on_hand": 10, "available": 6, "held": 4, "sold": 0, "shards": 1 }));
    let missing = platform.run(&["stock", "show", "NOPE"]);
    assert_eq!(missing.status.code(), Some(1));
}

#[test]
fn an_operator_finds_and_cancels_an_order() {
    let platform = Platform::demo();
    let order = platform.client().order("find-1", "PROD001", 1, 2_690_000).json();
    let id = order["id"].as_str().expect("an id");
    let listed = platform.json(&["order", "ls", "--user", "user_42"]);
    assert_eq!(listed["data"][0]["id"], id);
    assert_eq!(listed["data"][0]["access_token"], serde_json::Value::Null, "the token is the shopper's alone");
    let cancelled = platform.json(&["order", "cancel", id]);
    assert_eq!(cancelled["status"], "cancelled");
    let shown = platform.json(&["order", "show", id]);
    assert_eq!(
        (&shown["facts"][0]["event"], &shown["facts"][0]["actor"]),
        (&json!("cancelled_by_staff"), &json!("operator"))
    );
    let text = platform.run(&["order", "show", id]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("cancelled"));
}

#[test]
fn a_reservation_expires_and_its_stock_comes_back() {
    let platform = Platform::builder().config("[orders]\nreservation_ttl_seconds = 2\n").start();
    assert!(platform.run(&["stock", "set", "PROD001", "5"]).status.success());
    let order = platform.client().order("expire-1", "PROD001", 2, 2_690_000).json();
    assert_eq!(platform.json(&["stock", "show", "PROD001"])["held"], 2);
    eventually("the reservation has expired", || platform.json(&["stock", "show", "PROD001"])["available"] == 5);
    let id = order["id"].as_str().expect("an id");
    let token = order["access_token"].as_str().expect("a token");
    assert_eq!(platform.client().get_with_token(&format!("/api/v1/orders/{id}"), token).json()["status"], "expired");
}

#[test]
fn a_running_platform_is_not_checked_behind_its_back() {
    let platform = Platform::demo();
    let output = platform.run(&["fsck"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(&platform.pid().to_string()), "{said}");
    let online = platform.json(&["fsck", "--online"]);
    let roles: Vec<_> = [0, 1].map(|at| (&online["stores"][at]["role"], &online["stores"][at]["ok"])).into();
    assert_eq!(roles, [(&"catalog".into(), &true.into()), (&"orders".into(), &true.into())], "{online}");
    assert_eq!(online["stores"][1]["stock"]["ok"], true, "{online}");
}
