//! Bounds: what is too large, too deep or too many is refused before anything is written.

use std::collections::BTreeMap;

use super::ctx::{Ctx, at, is_invalid, set};
use super::{Case, list_cases};
use crate::model::cond::Cond;
use crate::model::error::WriteError;
use crate::model::item::Item;
use crate::model::limits::{MAX_ATTRS, MAX_DEPTH, MAX_ITEM_BYTES, MAX_NAME_BYTES, MAX_PATCHES};
use crate::model::op::{Op, Patch};
use crate::model::path::Path;
use crate::model::value::Value;

pub(super) const CASES: &[Case] = list_cases![Nothing:
    an_item_over_its_bound_is_too_large,
    a_patch_that_makes_an_item_too_large_changes_nothing,
    a_plan_over_its_bytes_is_too_large,
    too_many_attributes_are_invalid,
    a_name_over_its_bound_is_invalid,
    an_empty_name_is_invalid,
    nesting_at_its_bound_is_accepted_and_beyond_is_invalid,
    a_condition_that_is_too_deep_is_invalid,
    a_condition_with_too_many_terms_is_invalid,
    too_many_patches_are_invalid,
];

async fn an_item_over_its_bound_is_too_large(ctx: Ctx) {
    let refused = ctx.try_put(ctx.item().with("b", vec![0; MAX_ITEM_BYTES + 1]), Cond::Always).await;
    assert_eq!(refused, Err(WriteError::TooLarge));
    assert_eq!(ctx.get(&ctx.k()).await, None);
    assert!(ctx.table.caps().max_item <= MAX_ITEM_BYTES);
}

async fn a_patch_that_makes_an_item_too_large_changes_nothing(ctx: Ctx) {
    let item = ctx.item().with("a", vec![0; 300_000]);
    ctx.put(item.clone()).await;
    let refused = ctx.try_patch(ctx.k(), vec![set(at("b"), vec![0; 200_000])], Cond::Always).await;
    assert_eq!(refused, Err(WriteError::TooLarge));
    assert!(ctx.must(&ctx.k()).await == item, "the item is as before");
}

async fn a_plan_over_its_bytes_is_too_large(ctx: Ctx) {
    if ctx.table.caps().transact.is_none() {
        return;
    }
    let item = |n: u8| Item::new(ctx.key("p", &n.to_string())).with("b", vec![n; 390_000]);
    let ops = (0..11).map(|n| Op::Put { item: item(n), cond: Cond::Always }).collect();
    assert_eq!(ctx.try_plan(ops).await, Err(WriteError::TooLarge));
    assert_eq!(ctx.get(&ctx.key("p", "0")).await, None);
}

async fn too_many_attributes_are_invalid(ctx: Ctx) {
    let item = |count| (0..count).fold(ctx.item(), |item, n| item.with(format!("a{n}"), 1));
    ctx.put(item(MAX_ATTRS)).await;
    is_invalid(&ctx.try_put(item(MAX_ATTRS + 1), Cond::Always).await);
}

async fn a_name_over_its_bound_is_invalid(ctx: Ctx) {
    let long = "n".repeat(MAX_NAME_BYTES + 1);
    is_invalid(&ctx.try_put(ctx.item().with(long.clone(), 1), Cond::Always).await);
    let map: BTreeMap<String, Value> = [(long.clone(), Value::Int(1))].into();
    is_invalid(&ctx.try_put(ctx.item().with("m", map), Cond::Always).await);
    is_invalid(&ctx.try_patch(ctx.k(), vec![set(Path::attr(long.clone()), 1)], Cond::Always).await);
    is_invalid(&ctx.try_patch(ctx.k(), vec![set(Path::entry("m", long), 1)], Cond::Always).await);
    ctx.put(ctx.item().with("n".repeat(MAX_NAME_BYTES), 1)).await;
}

async fn an_empty_name_is_invalid(ctx: Ctx) {
    is_invalid(&ctx.try_put(ctx.item().with("", 1), Cond::Always).await);
    is_invalid(&ctx.try_patch(ctx.k(), vec![set(Path::entry("m", ""), 1)], Cond::Always).await);
}

async fn nesting_at_its_bound_is_accepted_and_beyond_is_invalid(ctx: Ctx) {
    let nested = |depth: usize| (1..depth).fold(Value::Int(1), |value, _| Value::List(vec![value]));
    ctx.put(ctx.item().with("l", nested(MAX_DEPTH))).await;
    assert_eq!(ctx.must(&ctx.k()).await.get("l"), Some(&nested(MAX_DEPTH)));
    is_invalid(&ctx.try_put(ctx.item().with("l", nested(MAX_DEPTH + 1)), Cond::Always).await);
    is_invalid(&ctx.try_patch(ctx.k(), vec![set(at("l"), nested(MAX_DEPTH + 1))], Cond::Always).await);
}

async fn a_condition_that_is_too_deep_is_invalid(ctx: Ctx) {
    let deep = (0..100).fold(Cond::Always, |cond, _| Cond::All(vec![cond]));
    is_invalid(&ctx.try_put(ctx.item(), deep).await);
}

async fn a_condition_with_too_many_terms_is_invalid(ctx: Ctx) {
    let wide = Cond::Any((0..1_000).map(|n| Cond::AttrGe(at("n"), n)).collect());
    is_invalid(&ctx.try_put(ctx.item(), wide).await);
    let square = Cond::All(vec![Cond::Any(vec![Cond::Always; 200]); 200]);
    is_invalid(&ctx.try_put(ctx.item(), square).await);
}

async fn too_many_patches_are_invalid(ctx: Ctx) {
    let patches = |count| (0..count).map(|n| Patch::AddInt(Path::entry("m", format!("{n}")), 1)).collect();
    ctx.patch(ctx.k(), patches(MAX_PATCHES)).await;
    is_invalid(&ctx.try_patch(ctx.k(), patches(MAX_PATCHES + 1), Cond::Always).await);
}
