//! The demonstration shop: data files of the repository, carried in the binary.

use std::collections::BTreeMap;

use zizon_base::ids::Sku;
use zizon_contracts::catalog::Product;

use crate::error::RunError;

macro_rules! demo_file {
    ($name:literal) => {
        ($name, include_str!(concat!("../demo/", $name)))
    };
}

const PRODUCTS: [(&str, &str); 10] = [
    demo_file!("skincare.json"),
    demo_file!("suncare.json"),
    demo_file!("makeup.json"),
    demo_file!("haircare.json"),
    demo_file!("bodycare.json"),
    demo_file!("masks.json"),
    demo_file!("cleansing.json"),
    demo_file!("fragrance.json"),
    demo_file!("tools.json"),
    demo_file!("men.json"),
];
const STOCK: (&str, &str) = demo_file!("stock.json");

/// Every product of the demo.
///
/// # Errors
/// A file is not valid, which the tests rule out.
pub fn products() -> Result<Vec<Product>, RunError> {
    let mut all = Vec::new();
    for (file, text) in PRODUCTS {
        let some: Vec<Product> = serde_json::from_str(text).map_err(|source| RunError::Demo { file, source })?;
        all.extend(some);
    }
    Ok(all)
}

/// What the demo has on hand of every product, in pieces. For orders, which alone counts stock.
///
/// # Panics
/// Never: the tests of this crate read the same bytes.
#[must_use]
pub fn stock() -> Vec<(Sku, u64)> {
    let stock: BTreeMap<Sku, u64> =
        serde_json::from_str(STOCK.1).expect("the demo's stock is valid, the tests read it");
    stock.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use zizon_base::market::Market;

    use super::*;
    use crate::draft;

    #[test]
    fn every_demo_product_passes_the_checks_of_an_operators_put() {
        for product in products().unwrap() {
            let text = serde_json::to_vec(&product).unwrap();
            assert_eq!(draft::read(&text, &product.id), Ok(product));
        }
    }

    #[test]
    fn the_demo_is_a_whole_shop() {
        let products = products().unwrap();
        let ids: HashSet<_> = products.iter().map(|p| p.id.clone()).collect();
        assert_eq!((products.len(), ids.len()), (200, 200));
        let categories: BTreeSet<_> = products.iter().map(|p| p.category.as_str()).collect();
        assert_eq!(categories.len(), 10);
        let brands: BTreeSet<_> = products.iter().map(|p| p.brand.as_str()).collect();
        assert_eq!(brands.len(), 25);
        for market in Market::ALL {
            let sold = products.iter().filter(|p| p.prices.contains_key(&market)).count();
            assert!((150..200).contains(&sold), "{market}: {sold}");
        }
        for product in &products {
            for texts in [&product.name, &product.description] {
                assert!(["ko", "ja", "en"].iter().all(|&language| texts.contains_key(language)), "{}", product.id);
            }
        }
    }

    #[test]
    fn texts_are_not_repeated() {
        let products = products().unwrap();
        let texts: Vec<_> = products.iter().flat_map(|p| p.name.values().chain(p.description.values())).collect();
        assert_eq!(texts.iter().collect::<HashSet<_>>().len(), texts.len());
    }

    #[test]
    fn the_first_product_costs_what_the_load_tests_pay() {
        let products = products().unwrap();
        let first = products.iter().find(|p| p.id.as_str() == "PROD001").unwrap();
        assert_eq!(first.prices[&Market::Kr], 2_690_000);
    }

    #[test]
    fn every_product_has_stock_and_nothing_else_has() {
        let ids: BTreeSet<_> = products().unwrap().into_iter().map(|p| p.id).collect();
        let stock = stock();
        assert_eq!(stock.iter().map(|(sku, _)| sku.clone()).collect::<BTreeSet<_>>(), ids);
        for (sku, pieces) in stock {
            let plenty = sku.as_str() == "PROD001";
            assert!(if plenty { pieces == 1_000_000_000 } else { (50..=5_000).contains(&pieces) }, "{sku}: {pieces}");
        }
    }
}
