//! A shop on the model table, and short words for its requests.

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use zizon_base::problem::{Code, Problem};
use zizon_base::time::Timestamp;
use zizon_orders::execute::Mode;
use zizon_orders::service::{Answer, ShopRules};
use zizon_orders::testing::TestShop;
use zizon_table::{EmbeddedTable, EngineOptions, MemTable, Table};

/// The body of the load scripts.
pub const SEED: &str = r#"{"user_id":"user_42","items":[{"product_id":"PROD001","quantity":2,"price":2690000}],"idempotency_key":"test_1_0.5"}"#;

pub struct Shop {
    pub test: TestShop,
    _dir: TempDir,
}

impl Shop {
    pub async fn new() -> Self {
        Self::with(ShopRules::default()).await
    }

    /// PROD001 at 2,690,000 and PROD002 at 1,000 won, 1,000 units each where there is no stock yet.
    pub async fn with(rules: ShopRules) -> Self {
        Self::on(Arc::new(MemTable::new()), rules).await
    }

    pub async fn on(table: Arc<dyn Table>, rules: ShopRules) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let test = TestShop::new(table, dir.path(), rules);
        for (sku, price) in [("PROD001", 2_690_000), ("PROD002", 1_000)] {
            test.sell(sku, price);
            test.service.seed_stock(&[(sku.parse().unwrap(), 1_000)]).await.unwrap();
        }
        Self { test, _dir: dir }
    }

    pub async fn place(&self, text: &str) -> Result<Answer, Box<Problem>> {
        self.test.service.place(text.as_bytes(), None).await
    }

    pub async fn code(&self, text: &str) -> Code {
        self.place(text).await.expect_err("the order is refused").code
    }

    pub async fn refused(&self, text: &str) -> Value {
        let problem = self.place(text).await.expect_err("the order is refused");
        serde_json::from_slice(&problem.to_json("/", "", zizon_base::language::Language::English)).unwrap()
    }
}

pub fn body(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// The body of the load scripts with some members replaced.
pub fn order(changes: &Value) -> String {
    let mut body: Value = serde_json::from_str(SEED).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string()
}

/// A line at the right price.
pub fn line(sku: &str, quantity: u32) -> Value {
    let price = if sku == "PROD001" { 2_690_000 } else { 1_000 };
    json!({"product_id": sku, "quantity": quantity, "price": price})
}

/// An order of its own.
pub fn buy(user: usize, sku: &str, quantity: u32) -> String {
    let key = format!("key-{user}");
    order(&json!({"user_id": format!("user-{user}"), "idempotency_key": key, "items": [line(sku, quantity)]}))
}

pub fn rules(mode: Mode) -> ShopRules {
    ShopRules { mode, ..ShopRules::default() }
}

pub const MODES: [Mode; 2] = [Mode::Atomic, Mode::Stepwise];

/// A table on disk.
pub fn embedded(dir: &TempDir) -> Arc<EmbeddedTable> {
    EmbeddedTable::open(dir.path().join("table"), EngineOptions::default(), zizon_journal::Env::real()).unwrap()
}

pub trait At {
    fn at(&self) -> Timestamp;
}

impl At for str {
    fn at(&self) -> Timestamp {
        Timestamp::parse_rfc3339(self).unwrap()
    }
}
