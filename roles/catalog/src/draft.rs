//! Reads a product that an operator sends, and says of every member what is wrong with it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use zizon_base::ids::Sku;
use zizon_base::json;
use zizon_base::market::Market;
use zizon_base::problem::{Code, FieldError, Problem};
use zizon_contracts::catalog::Product;

/// Languages of the shop.
const LANGUAGES: [&str; 3] = ["ko", "ja", "en"];
const MEMBERS: [&str; 9] =
    ["id", "brand", "category", "name", "description", "prices", "size", "attributes", "published"];
const BRAND_CHARS: usize = 100;
const NAME_CHARS: usize = 200;
const DESCRIPTION_CHARS: usize = 4_000;
const SIZE_CHARS: usize = 64;
const ATTRIBUTES_MAX: usize = 32;
const ATTRIBUTE_CHARS: usize = 200;
const SLUG_BYTES: usize = 64;
/// Largest integer that every JSON reader keeps exact (2^53 - 1), and the platform's largest amount.
const AMOUNT_MAX: i64 = 9_007_199_254_740_991;

/// The product in `body`, to be stored under `id`.
///
/// # Errors
/// `malformed-request` when it is no JSON object, otherwise `invalid-product` with a pointer per fault.
pub(crate) fn read(body: &[u8], id: &Sku) -> Result<Product, Problem> {
    let members: Map<String, Value> = json::strict_from_slice(body)
        .map_err(|error| Problem::new(Code::MalformedRequest).detail(error.to_string()))?;
    let mut draft = Draft { members, faults: Vec::new() };
    let product = draft.product(id);
    if draft.faults.is_empty() {
        return Ok(product);
    }
    Err(Problem::new(Code::InvalidProduct).fields(draft.faults))
}

struct Draft {
    members: Map<String, Value>,
    faults: Vec<FieldError>,
}

impl Draft {
    fn product(&mut self, id: &Sku) -> Product {
        self.only_known_members();
        self.same_id(id);
        let published = self.flag("published");
        let product = Product {
            id: id.clone(),
            brand: self.text("brand", BRAND_CHARS),
            category: self.slug("category"),
            name: self.texts("name", NAME_CHARS),
            description: self.texts("description", DESCRIPTION_CHARS),
            prices: self.prices(),
            size: if self.members.contains_key("size") { self.text("size", SIZE_CHARS) } else { String::new() },
            attributes: self.attributes(),
            published,
        };
        if published {
            self.sold_in_the_shoppers_language(&product);
        }
        product
    }

    fn fault(&mut self, place: &str, code: &'static str, detail: impl Into<String>) {
        self.faults.push(FieldError::new(format!("#/{place}"), code).detail(detail));
    }

    /// An unknown member is most often a misspelt one, and a product is sold as it is written.
    fn only_known_members(&mut self) {
        let unknown: Vec<String> =
            self.members.keys().filter(|name| !MEMBERS.contains(&name.as_str())).cloned().collect();
        for name in unknown.iter().take(16) {
            let escaped = name.replace('~', "~0").replace('/', "~1");
            self.fault(&escaped, "unknown-member", format!("the members are {}", MEMBERS.join(", ")));
        }
    }

    fn same_id(&mut self, id: &Sku) {
        match self.members.get("id") {
            None => {}
            Some(Value::String(given)) if given == id.as_str() => {}
            Some(_) => self.fault("id", "mismatch", "must be the id in the path, or be left out"),
        }
    }

    fn flag(&mut self, name: &'static str) -> bool {
        match self.members.get(name) {
            None => true,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.fault(name, "wrong-type", "must be true or false");
                true
            }
        }
    }

    fn text(&mut self, name: &'static str, chars_max: usize) -> String {
        let value = self.members.get(name).cloned();
        self.text_at(name, value.as_ref(), chars_max)
    }

    fn text_at(&mut self, place: &str, value: Option<&Value>, chars_max: usize) -> String {
        match value {
            None | Some(Value::Null) => self.fault(place, "required", "must be given"),
            Some(Value::String(text)) if text.trim().is_empty() => self.fault(place, "empty", "must not be empty"),
            Some(Value::String(text)) if text.chars().count() > chars_max => {
                self.fault(place, "too-long", format!("must have at most {chars_max} characters"));
            }
            Some(Value::String(text)) if text.chars().any(|c| c.is_control() && c != '\n') => {
                self.fault(place, "control-character", "must not contain control characters");
            }
            Some(Value::String(text)) => return text.clone(),
            Some(_) => self.fault(place, "wrong-type", "must be a text"),
        }
        String::new()
    }

    fn slug(&mut self, name: &'static str) -> String {
        let slug = self.text(name, SLUG_BYTES);
        if !slug.is_empty() && !is_slug(&slug, b'-') {
            self.fault(name, "invalid", "must be lower-case letters and digits in groups joined by `-`");
        }
        slug
    }

    /// The members of a member that is an object; empty when there is none.
    fn object(&mut self, name: &'static str) -> Map<String, Value> {
        match self.members.get(name) {
            Some(Value::Object(members)) => members.clone(),
            None => Map::new(),
            Some(_) => {
                self.fault(name, "wrong-type", "must be an object");
                Map::new()
            }
        }
    }

    fn texts(&mut self, name: &'static str, chars_max: usize) -> BTreeMap<String, String> {
        let given = self.object(name);
        if given.is_empty() {
            self.fault(name, "required", format!("must be given in at least one of {}", LANGUAGES.join(", ")));
        }
        let mut texts = BTreeMap::new();
        for (language, value) in given.iter().take(LANGUAGES.len() + 1) {
            let place = format!("{name}/{}", language.replace('~', "~0").replace('/', "~1"));
            if LANGUAGES.contains(&language.as_str()) {
                let text = self.text_at(&place, Some(value), chars_max);
                texts.insert(language.clone(), text);
            } else {
                self.fault(&place, "unknown-language", format!("the languages are {}", LANGUAGES.join(", ")));
            }
        }
        texts
    }

    fn prices(&mut self) -> BTreeMap<Market, i64> {
        let given = self.object("prices");
        if !self.members.contains_key("prices") {
            self.fault("prices", "required", "must be given; an empty object is sold nowhere");
        }
        let mut prices = BTreeMap::new();
        for (code, value) in given.iter().take(Market::ALL.len() + 1) {
            let place = format!("prices/{}", code.replace('~', "~0").replace('/', "~1"));
            match (Market::from_code(code), value.as_i64()) {
                (None, _) => self.fault(&place, "unknown-market", "the markets are KR, JP, US"),
                (Some(market), Some(amount)) if (1..=AMOUNT_MAX).contains(&amount) => {
                    prices.insert(market, amount);
                }
                (Some(_), Some(_)) => self.fault(&place, "out-of-range", format!("must be between 1 and {AMOUNT_MAX}")),
                (Some(_), None) => self.fault(&place, "wrong-type", "must be a whole number of minor units"),
            }
        }
        prices
    }

    fn attributes(&mut self) -> BTreeMap<String, String> {
        let given = self.object("attributes");
        if given.len() > ATTRIBUTES_MAX {
            self.fault("attributes", "too-many", format!("must be at most {ATTRIBUTES_MAX}"));
            return BTreeMap::new();
        }
        let mut attributes = BTreeMap::new();
        for (name, value) in given {
            let place = format!("attributes/{}", name.replace('~', "~0").replace('/', "~1"));
            if !is_slug(&name, b'_') {
                self.fault(&place, "invalid", "must be lower-case letters and digits in groups joined by `_`");
                continue;
            }
            let text = self.text_at(&place, Some(&value), ATTRIBUTE_CHARS);
            attributes.insert(name, text);
        }
        attributes
    }

    /// What is on sale can be read by those it is sold to.
    fn sold_in_the_shoppers_language(&mut self, product: &Product) {
        for market in product.prices.keys() {
            if !product.name.contains_key(market.locale()) {
                let place = format!("name/{}", market.locale());
                self.fault(&place, "required", format!("must be given for a product sold in {market}"));
            }
        }
    }
}

/// Lower-case letters and digits in groups joined by `joint`.
fn is_slug(text: &str, joint: u8) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= SLUG_BYTES
        && text.as_bytes().split(|byte| *byte == joint).all(|group| !group.is_empty() && group.iter().all(plain))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id() -> Sku {
        "A1".parse().unwrap()
    }

    fn good() -> Value {
        json!({"brand": "Seolbit", "category": "skincare", "name": {"ko": "크림"}, "description": {"ko": "순한 크림"},
            "prices": {"KR": 12_000}, "size": "50 ml", "attributes": {"skin_type": "dry"}})
    }

    fn faults(product: &Value) -> Vec<(String, &'static str)> {
        let problem = read(product.to_string().as_bytes(), &id()).unwrap_err();
        assert_eq!(problem.code, Code::InvalidProduct);
        problem.errors.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
    }

    fn with(name: &str, value: Value) -> Value {
        let mut product = good();
        product[name] = value;
        product
    }

    #[test]
    fn a_whole_product_is_read() {
        let product = read(good().to_string().as_bytes(), &id()).unwrap();
        assert_eq!(product.prices[&Market::Kr], 12_000);
        assert!(product.published);
        assert!(!read(with("published", json!(false)).to_string().as_bytes(), &id()).unwrap().published);
    }

    #[test]
    fn text_that_is_no_json_object_is_malformed() {
        for text in ["", "[]", "{", r#"{"brand":"a","brand":"b"}"#, "{} x"] {
            assert_eq!(read(text.as_bytes(), &id()).unwrap_err().code, Code::MalformedRequest, "{text}");
        }
    }

    #[test]
    fn each_fault_is_named_by_its_place() {
        let one = |pointer: &str, code| vec![(pointer.to_owned(), code)];
        assert_eq!(faults(&with("id", json!("B2"))), one("#/id", "mismatch"));
        assert_eq!(faults(&with("colour", json!("red"))), one("#/colour", "unknown-member"));
        assert_eq!(faults(&with("brand", json!(7))), one("#/brand", "wrong-type"));
        assert_eq!(faults(&with("brand", json!(" "))), one("#/brand", "empty"));
        assert_eq!(faults(&with("category", json!("Skin Care"))), one("#/category", "invalid"));
        assert_eq!(faults(&with("name", json!({"ko": "크림", "fr": "x"}))), one("#/name/fr", "unknown-language"));
        assert_eq!(faults(&with("prices", json!({"KR": 1.5}))), one("#/prices/KR", "wrong-type"));
        assert_eq!(faults(&with("prices", json!({"KR": 0}))), one("#/prices/KR", "out-of-range"));
        assert_eq!(faults(&with("prices", json!({"FR": 1}))), one("#/prices/FR", "unknown-market"));
        assert_eq!(faults(&with("prices", json!({"JP": 1}))), one("#/name/ja", "required"));
        assert_eq!(faults(&with("size", json!("\u{7}"))), one("#/size", "control-character"));
        assert_eq!(faults(&with("attributes", json!({"Skin": "dry"}))), one("#/attributes/Skin", "invalid"));
        assert_eq!(faults(&with("published", json!("yes"))), one("#/published", "wrong-type"));
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let told: Vec<_> = faults(&json!({})).into_iter().map(|(pointer, _)| pointer).collect();
        assert_eq!(told, ["#/brand", "#/category", "#/name", "#/description", "#/prices"]);
    }

    #[test]
    fn a_product_that_is_not_published_may_lack_a_language() {
        let mut product = with("prices", json!({"JP": 1}));
        product["published"] = json!(false);
        assert!(read(product.to_string().as_bytes(), &id()).is_ok());
    }
}
