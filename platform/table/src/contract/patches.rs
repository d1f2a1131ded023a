//! Patches: set, add, remove, on attributes and on entries of maps.

use super::ctx::{Ctx, add, at, entry, is_invalid, map, set};
use super::{Case, list_cases};
use crate::model::cond::Cond;
use crate::model::op::Patch;
use crate::model::value::Value;

pub(super) const CASES: &[Case] = list_cases![Nothing:
    a_patch_makes_an_absent_item_if_its_condition_allows,
    an_empty_patch_makes_an_absent_item_and_leaves_a_present_one,
    set_adds_and_replaces_an_attribute,
    set_may_change_the_type_of_an_attribute,
    set_of_an_entry_keeps_the_others,
    set_of_an_entry_makes_an_absent_map,
    set_of_an_entry_of_something_else_is_invalid,
    add_counts_absent_as_zero,
    add_goes_up_and_down,
    add_may_go_below_zero_when_no_condition_forbids,
    add_on_an_entry_keeps_the_others,
    add_on_an_entry_of_an_absent_map_makes_the_map,
    add_to_something_else_than_a_number_is_invalid,
    add_over_the_greatest_number_is_invalid_and_changes_nothing,
    add_below_the_least_number_is_invalid_and_changes_nothing,
    remove_takes_an_attribute_away,
    remove_of_an_absent_attribute_changes_nothing,
    remove_takes_an_entry_away_and_keeps_the_map,
    remove_of_an_absent_entry_changes_nothing,
    several_patches_of_one_operation_all_happen,
    patches_of_one_operation_may_touch_different_entries_of_one_map,
    two_patches_of_one_attribute_are_invalid,
    a_patch_of_a_map_and_of_its_entry_is_invalid,
    a_hold_and_its_release_leave_the_shard_as_it_was,
    a_thousand_small_patches_add_up,
];

async fn a_patch_makes_an_absent_item_if_its_condition_allows(ctx: Ctx) {
    ctx.try_patch(ctx.k(), vec![set(at("a"), 1)], Cond::NotExists).await.expect("it does not exist");
    assert_eq!(ctx.must(&ctx.k()).await, ctx.item().with("a", 1));
}

async fn an_empty_patch_makes_an_absent_item_and_leaves_a_present_one(ctx: Ctx) {
    ctx.patch(ctx.k(), vec![]).await;
    assert_eq!(ctx.must(&ctx.k()).await, ctx.item());
    ctx.put(ctx.item().with("a", 1)).await;
    ctx.patch(ctx.k(), vec![]).await;
    assert_eq!(ctx.must(&ctx.k()).await, ctx.item().with("a", 1));
}

async fn set_adds_and_replaces_an_attribute(ctx: Ctx) {
    ctx.put(ctx.item().with("m", 5)).await;
    ctx.patch(ctx.k(), vec![set(at("a"), 1), set(at("z"), 2)]).await;
    ctx.patch(ctx.k(), vec![set(at("a"), 3)]).await;
    assert_eq!(ctx.must(&ctx.k()).await, ctx.item().with("a", 3).with("m", 5).with("z", 2));
}

async fn set_may_change_the_type_of_an_attribute(ctx: Ctx) {
    ctx.put(ctx.item().with("a", 1)).await;
    ctx.patch(ctx.k(), vec![set(at("a"), "text")]).await;
    assert_eq!(ctx.must(&ctx.k()).await.str("a"), Some("text"));
}

async fn set_of_an_entry_keeps_the_others(ctx: Ctx) {
    ctx.put(ctx.item().with("h", map(&[("a", 1), ("c", 3)]))).await;
    ctx.patch(ctx.k(), vec![set(entry("h", "b"), 2), set(entry("h", "c"), 4)]).await;
    assert_eq!(ctx.must(&ctx.k()).await.get("h"), Some(&map(&[("a", 1), ("b", 2), ("c", 4)])));
}

async fn set_of_an_entry_makes_an_absent_map(ctx: Ctx) {
    ctx.put(ctx.item().with("q", 1)).await;
    ctx.patch(ctx.k(), vec![set(entry("h", "x"), 1)]).await;
    assert_eq!(ctx.must(&ctx.k()).await, ctx.item().with("q", 1).with("h", map(&[("x", 1)])));
}

async fn set_of_an_entry_of_something_else_is_invalid(ctx: Ctx) {
    ctx.put(ctx.item().with("h", 1)).await;
    is_invalid(&ctx.try_patch(ctx.k(), vec![set(entry("h", "x"), 1)], Cond::Always).await);
    assert_eq!(ctx.must(&ctx.k()).await, ctx.item().with("h", 1));
}

async fn add_counts_absent_as_zero(ctx: Ctx) {
    ctx.patch(ctx.k(), vec![add(at("n"), 5)]).await;
    assert_eq!(ctx.must(&ctx.k()).await.int("n"), Some(5));
    ctx.patch(ctx.k(), vec![add(at("other"), -3)]).await;
    assert_eq!(ctx.must(&ctx.k()).await.int("other"), Some(-3));
}

async fn add_goes_up_and_down(ctx: Ctx) {
    ctx.put(ctx.item().with("n", 10)).await;
    ctx.patch(ctx.k(), vec![add(at("n"), 5)]).await;
    ctx.patch(ctx.k(), vec![add(at("n"), -12)]).await;
    ctx.patch(ctx.k(), vec![add(at("n"), 0)]).await;
    assert_eq!(ctx.must(&ctx.k()).await.int("n"), Some(3));
}

async fn add_may_go_below_zero_when_no_condition_forbids(ctx: Ctx) {
    ctx.put(ctx.item().with("n", 1)).await;
    ctx.patch(ctx.k(), vec![add(at("n"), -5)]).await;
    assert_eq!(ctx.must(&ctx.k()).await.int("n"), Some(-4));
}

async fn add_on_an_entry_keeps_the_others(ctx: Ctx) {
    ctx.put(ctx.item().with("h", map(&[("a", 1), ("b", 2)]))).await;
    ctx.patch(ctx.k(), vec![add(entry("h", "b"), 10)]).await;
    assert_eq!(ctx.must(&ctx.k()).await.get("h"), Some(&map(&[("a", 1), ("b", 12)])));
}

async fn add_on_an_entry_of_an_absent_map_makes_the_map(ctx: Ctx) {
    ctx.patch(ctx.k(), vec![add(entry("h", "a"), 7)]).await;
    assert_eq!(ctx.must(&ctx.k()).await.get("h"), Some(&map(&[("a", 7)])));
}

async fn add_to_something_else_than_a_number_is_invalid(ctx: Ctx) {
    let item = ctx.item().with("s", "5").with("h", map(&[("x", 1)]));
    ctx.put(item.clone()).await;
    is_invalid(&ctx.try_patch(ctx.k(), vec![add(at("s"), 1)], Cond::Always).await);
    is_invalid(&ctx.try_patch(ctx.k(), vec![add(at("h"), 1)], Cond::Always).await);
    is_invalid(&ctx.try_patch(ctx.k(), vec![add(entry("s", "x"), 1)], Cond::Always).await);
    assert_eq!(ctx.must(&ctx.k()).await, item);
}

async fn add_over_the_greatest_number_is_invalid_and_changes_nothing(ctx: Ctx) {
    ctx.put(ctx.item().with("n", i64::MAX - 1).with("m", 0)).await;
    ctx.patch(ctx.k(), vec![add(at("n"), 1)]).await;
    is_invalid(&ctx.try_patch(ctx.k(), vec![add(at("m"), 1), add(at("n"), 1)], Cond::Always).await);
    assert_eq!(ctx.must(&ctx.k()).await, ctx.item().with("n", i64::MAX).with("m", 0));
}

async fn add_below_the_least_number_is_invalid_and_changes_nothing(ctx: Ctx) {
    ctx.put(ctx.item().with("h", Value::Map([("n".to_owned(), Value::Int(i64::MIN))].into()))).await;
    is_invalid(&ctx.try_patch(ctx.k(), vec![add(entry("h", "n"), -1)], Cond::Always).await);
    is_invalid(&ctx.try_patch(ctx.k(), vec![add(entry("h", "n"), i64::MIN)], Cond::Always).await);
    ctx.patch(ctx.k(), vec![add(entry("h", "n"), i64::MAX)]).await;
    assert_eq!(ctx.must(&ctx.k()).await.get("h"), Some(&map(&[("n", -1)])));
}

async fn remove_takes_an_attribute_away(ctx: Ctx) {
    ctx.put(ctx.item().with("a", 1).with("b", 2)).await;
    ctx.patch(ctx.k(), vec![Patch::Remove(at("a"))]).await;
    assert_eq!(ctx.must(&ctx.k()).await, ctx.item().with("b", 2));
}

async fn remove_of_an_absent_attribute_changes_nothing(ctx: Ctx) {
    ctx.put(ctx.item().with("b", 2)).await;
    ctx.patch(ctx.k(), vec![Patch::Remove(at("a"))]).await;
    assert_eq!(ctx.must(&ctx.k()).await, ctx.item().with("b", 2));
}

async fn remove_takes_an_entry_away_and_keeps_the_map(ctx: Ctx) {
    ctx.put(ctx.item().with("h", map(&[("a", 1), ("b", 2)]))).await;
    ctx.patch(ctx.k(), vec![Patch::Remove(entry("h", "a"))]).await;
    assert_eq!(ctx.must(&ctx.k()).await.get("h"), Some(&map(&[("b", 2)])));
    ctx.patch(ctx.k(), vec![Patch::Remove(entry("h", "b"))]).await;
    assert_eq!(ctx.must(&ctx.k()).await.get("h"), Some(&map(&[])));
}

async fn remove_of_an_absent_entry_changes_nothing(ctx: Ctx) {
    ctx.put(ctx.item().with("h", map(&[("a", 1)]))).await;
    ctx.patch(ctx.k(), vec![Patch::Remove(entry("h", "z")), Patch::Remove(entry("none", "z"))]).await;
    assert_eq!(ctx.must(&ctx.k()).await, ctx.item().with("h", map(&[("a", 1)])));
}

async fn several_patches_of_one_operation_all_happen(ctx: Ctx) {
    ctx.put(ctx.item().with("q", 10).with("old", 1)).await;
    let patches = vec![add(at("q"), -2), set(entry("h", "o.n"), 2), Patch::Remove(at("old")), set(at("v"), 2)];
    ctx.patch(ctx.k(), patches).await;
    assert_eq!(ctx.must(&ctx.k()).await, ctx.item().with("q", 8).with("h", map(&[("o.n", 2)])).with("v", 2));
}

async fn patches_of_one_operation_may_touch_different_entries_of_one_map(ctx: Ctx) {
    ctx.put(ctx.item().with("h", map(&[("a", 1), ("b", 2), ("c", 3)]))).await;
    ctx.patch(ctx.k(), vec![Patch::Remove(entry("h", "a")), add(entry("h", "b"), 1), set(entry("h", "d"), 4)]).await;
    assert_eq!(ctx.must(&ctx.k()).await.get("h"), Some(&map(&[("b", 3), ("c", 3), ("d", 4)])));
}

async fn two_patches_of_one_attribute_are_invalid(ctx: Ctx) {
    is_invalid(&ctx.try_patch(ctx.k(), vec![add(at("q"), 1), add(at("q"), 1)], Cond::Always).await);
    is_invalid(
        &ctx.try_patch(ctx.k(), vec![set(entry("h", "x"), 1), Patch::Remove(entry("h", "x"))], Cond::Always).await,
    );
    assert_eq!(ctx.get(&ctx.k()).await, None);
}

async fn a_patch_of_a_map_and_of_its_entry_is_invalid(ctx: Ctx) {
    let patches = vec![set(at("h"), map(&[])), set(entry("h", "x"), 1)];
    is_invalid(&ctx.try_patch(ctx.k(), patches, Cond::Always).await);
    assert_eq!(ctx.get(&ctx.k()).await, None);
}

async fn a_hold_and_its_release_leave_the_shard_as_it_was(ctx: Ctx) {
    let shard = ctx.item().with("q", 10).with("h", map(&[]));
    ctx.put(shard.clone()).await;
    let hold = entry("h", "oid.nonce");
    let free = Cond::All(vec![Cond::AttrGe(at("q"), 3), Cond::NoAttr(hold.clone())]);
    ctx.try_patch(ctx.k(), vec![add(at("q"), -3), set(hold.clone(), 3)], free).await.expect("units are free");
    assert_eq!(ctx.must(&ctx.k()).await.int("q"), Some(7));
    let held = Cond::HasAttr(hold.clone());
    ctx.try_patch(ctx.k(), vec![add(at("q"), 3), Patch::Remove(hold)], held).await.expect("units are held");
    assert_eq!(ctx.must(&ctx.k()).await, shard);
}

async fn a_thousand_small_patches_add_up(ctx: Ctx) {
    let writes = (0..1_000).map(|_| ctx.patch(ctx.k(), vec![add(at("n"), 1)]));
    futures_util::future::join_all(writes).await;
    assert_eq!(ctx.must(&ctx.k()).await.int("n"), Some(1_000));
}
