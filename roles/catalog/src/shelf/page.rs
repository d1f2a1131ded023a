//! Pages of the shelf.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use zizon_base::ids::Sku;
use zizon_base::market::Market;

use super::{Entry, Shelf, State};

/// Products looked at for one page. A filter that matches little gives short pages, never a long request.
const LOOK_MAX: usize = 5_000;

/// Which products a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Filter<'a> {
    pub(crate) market: Option<Market>,
    pub(crate) category: Option<&'a str>,
    /// Those that are not published too.
    pub(crate) unpublished: bool,
}

impl Filter<'_> {
    fn shows(&self, entry: &Entry) -> bool {
        (self.unpublished || entry.published) && self.market.is_none_or(|market| entry.markets.has(market))
    }
}

/// A page: rendered products in the order of ids, and the id to go on after, if there may be more.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) bodies: Vec<Bytes>,
    pub(crate) next: Option<Sku>,
}

impl Shelf {
    /// The page of at most `limit` products after `after`.
    pub(crate) fn page(&self, filter: Filter<'_>, after: Option<&Sku>, limit: usize) -> Shown {
        let state = self.state.read();
        match filter.category {
            None => collect(state.after(after), filter, limit),
            Some(category) => {
                let Some(ids) = state.categories.get(category) else { return Shown::default() };
                let ids = ids.range::<Sku, _>((lower(after), Bound::Unbounded));
                collect(ids.filter_map(|sku| state.products.get_key_value(sku)), filter, limit)
            }
        }
    }
}

impl State {
    pub(super) fn after(&self, after: Option<&Sku>) -> impl Iterator<Item = (&Sku, &Arc<Entry>)> {
        self.products.range::<Sku, _>((lower(after), Bound::Unbounded))
    }
}

fn lower(after: Option<&Sku>) -> Bound<&Sku> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}

fn collect<'a>(products: impl Iterator<Item = (&'a Sku, &'a Arc<Entry>)>, filter: Filter<'_>, limit: usize) -> Shown {
    let mut bodies = Vec::with_capacity(limit);
    let mut last: Option<&Sku> = None;
    for (looked, (sku, entry)) in products.enumerate() {
        if bodies.len() == limit && filter.shows(entry) || looked == LOOK_MAX {
            return Shown { bodies, next: last.cloned() };
        }
        if filter.shows(entry) {
            bodies.push(entry.body.clone());
        }
        if bodies.len() < limit || filter.shows(entry) {
            last = Some(sku);
        }
    }
    Shown { bodies, next: None }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use zizon_contracts::catalog::Product;

    use super::*;
    use crate::record::Record;

    fn product(n: u16, category: &str, published: bool, prices: &[(Market, i64)]) -> Product {
        Product {
            id: format!("P{n:05}").parse().unwrap(),
            brand: "Brand".into(),
            category: category.into(),
            name: BTreeMap::new(),
            description: BTreeMap::new(),
            prices: prices.iter().copied().collect(),
            size: String::new(),
            attributes: BTreeMap::new(),
            published,
        }
    }

    fn put(shelf: &Shelf, product: Product) {
        shelf.put(&Record::new(product, 1).unwrap()).unwrap();
    }

    fn empty() -> Shelf {
        Shelf { state: parking_lot::RwLock::default(), position: tokio::sync::watch::Sender::new(0) }
    }

    fn id(body: &Bytes) -> String {
        serde_json::from_slice::<Product>(body).unwrap().id.to_string()
    }

    #[test]
    fn a_page_shows_what_the_filter_wants() {
        let shelf = empty();
        put(&shelf, product(1, "skincare", true, &[(Market::Kr, 1)]));
        put(&shelf, product(2, "skincare", true, &[(Market::Jp, 1)]));
        put(&shelf, product(3, "makeup", true, &[(Market::Kr, 1)]));
        put(&shelf, product(4, "skincare", false, &[(Market::Kr, 1)]));
        let ids = |filter: Filter<'_>| shelf.page(filter, None, 10).bodies.iter().map(id).collect::<Vec<_>>();
        assert_eq!(ids(Filter::default()), ["P00001", "P00002", "P00003"]);
        assert_eq!(ids(Filter { market: Some(Market::Kr), ..Filter::default() }), ["P00001", "P00003"]);
        assert_eq!(ids(Filter { category: Some("skincare"), ..Filter::default() }), ["P00001", "P00002"]);
        assert_eq!(ids(Filter { unpublished: true, category: Some("skincare"), ..Filter::default() }).len(), 3);
        assert_eq!(ids(Filter { category: Some("none"), ..Filter::default() }), [""; 0]);
    }

    #[test]
    fn a_product_that_changes_its_category_leaves_the_old_one() {
        let shelf = empty();
        put(&shelf, product(1, "skincare", true, &[]));
        put(&shelf, product(1, "makeup", true, &[]));
        assert_eq!(shelf.page(Filter { category: Some("skincare"), ..Filter::default() }, None, 10), Shown::default());
        assert_eq!(shelf.len(), 1);
        shelf.remove(&"P00001".parse().unwrap());
        assert!(shelf.state.read().categories.is_empty());
    }

    #[test]
    fn the_last_page_has_no_next_one() {
        let shelf = empty();
        for n in 0..4 {
            put(&shelf, product(n, "skincare", n != 3, &[]));
        }
        let page = shelf.page(Filter::default(), None, 2);
        let rest = shelf.page(Filter::default(), page.next.as_ref(), 2);
        assert_eq!((page.bodies.len(), rest.bodies.len(), rest.next), (2, 1, None));
        let exact = shelf.page(Filter::default(), None, 3);
        assert_eq!((exact.bodies.len(), exact.next), (3, None));
    }

    #[test]
    fn a_filter_that_matches_little_gives_a_short_page_and_goes_on() {
        let shelf = empty();
        let many = u16::try_from(LOOK_MAX).unwrap() * 2;
        for n in 0..many {
            put(&shelf, product(n, "skincare", true, &[(Market::Kr, 1)]));
        }
        put(&shelf, product(many, "skincare", true, &[(Market::Us, 1)]));
        let filter = Filter { market: Some(Market::Us), ..Filter::default() };
        let (mut after, mut found, mut pages) = (None, 0, 0);
        loop {
            let page = shelf.page(filter, after.as_ref(), 10);
            found += page.bodies.len();
            pages += 1;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, 1);
        assert_eq!(pages, 3);
    }

    proptest! {
        #[test]
        fn paging_visits_each_product_once_while_others_change(
            mut stay in prop::collection::btree_set(0_u16..500, 1..120),
            others in prop::collection::vec((500_u16..1_000, any::<bool>(), any::<bool>()), 0..200),
            limit in 1_usize..30,
            by_category in any::<bool>(),
        ) {
            // Ids of the others lie between and around those that stay.
            let spread = |n: u16| if n < 500 { n * 2 } else { (n - 500) * 2 + 1 };
            let shelf = empty();
            stay.iter().for_each(|&n| put(&shelf, product(spread(n), "skincare", true, &[])));
            let filter = Filter { category: by_category.then_some("skincare"), ..Filter::default() };
            let mut others = others.into_iter();
            let mut after = None;
            loop {
                let page = shelf.page(filter, after.as_ref(), limit);
                prop_assert!(page.bodies.len() <= limit);
                for body in &page.bodies {
                    let n: u16 = id(body)[1..].parse().unwrap();
                    if n.is_multiple_of(2) {
                        prop_assert!(stay.remove(&(n / 2)), "{} is shown twice", n);
                    }
                }
                for (n, gone, published) in others.by_ref().take(3) {
                    if gone {
                        shelf.remove(&format!("P{:05}", spread(n)).parse().unwrap());
                    } else {
                        put(&shelf, product(spread(n), "skincare", published, &[]));
                    }
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            prop_assert!(stay.is_empty(), "never shown: {:?}", stay);
        }
    }
}
