//! A catalog that was restored beside roles that have read further than it reaches.

use std::{fs, thread, time::Duration};

use serde_json::json;
use zizon_tests::{Platform, eventually};

use crate::backup::{PRICE, backup, restore, said, text};

/// Sets the price of a product.
fn set_price(platform: &Platform, id: &str, price: i64) {
    let mut product = platform.json(&["product", "show", id]);
    product["prices"]["KR"] = json!(price);
    let file = platform.data().join("product.json");
    fs::write(&file, product.to_string()).expect("the product is written");
    let output = platform.run(&["product", "put", &text(&file)]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_catalog_that_was_restored_and_has_grown_past_its_reader_is_read_anew() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| home.path().join(name);
    let mut platform = Platform::builder().data(&at("data")).start();
    backup(&at("data"), &at("backup"));
    // The reader sees a price that the restored catalog never had ...
    set_price(&platform, "PROD001", 111_000);
    let client = platform.client();
    eventually("the price has reached orders", || client.order("price-1", "PROD001", 1, 111_000).status == 201);
    // ... and has saved how far it is.
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(client.order("price-2", "PROD001", 1, 111_000).status, 201);
    let _ = platform.stop();

    restore(&at("backup"), &at("restored"));
    let mut other = Platform::builder().data(&at("restored")).start();
    for step in 0..4 {
        set_price(&other, "PROD002", 50_000 + step);
    }
    let _ = other.stop();
    fs::remove_dir_all(at("data/catalog")).expect("the catalog is lost");
    fs::rename(at("restored/catalog"), at("data/catalog")).expect("the restored one takes its place");
    fs::rename(at("restored/restored.json"), at("data/restored.json")).expect("with what the restore has left");

    let platform = Platform::builder().data(&at("data")).start();
    let client = platform.client();
    eventually("orders knows the catalog's price", || client.order("price-3", "PROD001", 1, PRICE).status == 201);
    assert_eq!(client.order("price-4", "PROD001", 1, 111_000).code(), "price-changed");
    assert_eq!(client.order("price-5", "PROD002", 1, 50_003).status, 201);
}
