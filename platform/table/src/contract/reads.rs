//! Reads of several items.

use super::ctx::Ctx;
use super::{Case, list_cases};
use crate::model::error::ReadError;
use crate::model::item::Item;
use crate::model::key::Key;
use crate::model::limits::{MAX_GET_MANY, MAX_PK_BYTES, MAX_SK_BYTES};
use crate::port::SkRange;

pub(super) const CASES: &[Case] = list_cases![Nothing:
    get_many_keeps_the_order_of_the_keys,
    get_many_says_none_for_absent_items,
    get_many_of_nothing_is_nothing,
    get_many_may_name_a_key_twice,
    get_many_reads_small_and_large_items,
    get_many_over_its_bound_is_invalid,
    a_key_over_its_bound_is_refused,
    an_empty_key_is_refused,
    a_query_of_an_empty_or_long_partition_key_is_refused,
];

async fn get_many_keeps_the_order_of_the_keys(ctx: Ctx) {
    let keys = ["c", "a", "b"].map(|sk| ctx.key("p", sk));
    for (n, key) in keys.iter().enumerate() {
        ctx.put(Item::new(key.clone()).with("n", i64::try_from(n).unwrap_or(0))).await;
    }
    let read = ctx.get_many(&keys).await;
    assert_eq!(read.iter().flatten().map(|item| &item.key).collect::<Vec<_>>(), keys.iter().collect::<Vec<_>>());
}

async fn get_many_says_none_for_absent_items(ctx: Ctx) {
    ctx.put(ctx.item()).await;
    let read = ctx.get_many(&[ctx.key("p", "x"), ctx.k(), ctx.key("q", "s")]).await;
    assert_eq!(read, [None, Some(ctx.item()), None]);
}

async fn get_many_of_nothing_is_nothing(ctx: Ctx) {
    assert_eq!(ctx.get_many(&[]).await, []);
}

async fn get_many_may_name_a_key_twice(ctx: Ctx) {
    ctx.put(ctx.item()).await;
    assert_eq!(ctx.get_many(&[ctx.k(), ctx.k()]).await, [Some(ctx.item()), Some(ctx.item())]);
}

async fn get_many_reads_small_and_large_items(ctx: Ctx) {
    let items = [1, 100, 129, 1_000, 100_000].map(|n| Item::new(ctx.key("p", &n.to_string())).with("b", vec![9; n]));
    for item in &items {
        ctx.put(item.clone()).await;
    }
    let keys = items.clone().map(|item| item.key);
    assert!(ctx.get_many(&keys).await == items.map(Some), "all read back equal");
}

async fn get_many_over_its_bound_is_invalid(ctx: Ctx) {
    let keys = vec![ctx.k(); MAX_GET_MANY + 1];
    assert!(matches!(ctx.table.get_many(&keys).await, Err(ReadError::Invalid(_))));
    assert!(ctx.table.get_many(&keys[1..]).await.is_ok());
}

async fn a_key_over_its_bound_is_refused(ctx: Ctx) {
    for key in [Key::new(vec![1; MAX_PK_BYTES + 1], "s"), Key::new("p", vec![1; MAX_SK_BYTES + 1])] {
        assert!(matches!(ctx.table.get(&key).await, Err(ReadError::Invalid(_))));
        super::ctx::is_invalid(&ctx.try_put(Item::new(key.clone()), crate::Cond::Always).await);
        super::ctx::is_invalid(&ctx.try_delete(key, crate::Cond::Always).await);
    }
}

async fn an_empty_key_is_refused(ctx: Ctx) {
    for key in [Key::new("", "s"), Key::new("p", "")] {
        assert!(matches!(ctx.table.get(&key).await, Err(ReadError::Invalid(_))));
        super::ctx::is_invalid(&ctx.try_put(Item::new(key), crate::Cond::Always).await);
    }
}

async fn a_query_of_an_empty_or_long_partition_key_is_refused(ctx: Ctx) {
    for pk in [Vec::new(), vec![1; MAX_PK_BYTES + 1]] {
        let answer = ctx.table.query(&pk, SkRange::All, 1, false, None).await;
        assert!(matches!(answer, Err(ReadError::Invalid(_))), "{answer:?}");
    }
}
