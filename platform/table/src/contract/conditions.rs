//! Conditions: each kind against an absent item, a present one, a changed one, and what a refusal says.

use super::ctx::{Ctx, add, at, entry, existing, map, set};
use super::{Case, list_cases};
use crate::model::cond::Cond;
use crate::model::item::Item;
use crate::model::op::Op;
use crate::model::value::Value;

pub(super) const CASES: &[Case] = list_cases![Nothing:
    always_holds,
    exists_and_not_exists_follow_the_item,
    not_exists_lets_one_put_through_and_shows_it_to_the_other,
    attr_eq_compares_each_kind_of_value,
    attr_eq_of_another_type_does_not_hold,
    attr_eq_compares_maps_and_lists_as_a_whole,
    attr_eq_on_an_absent_attribute_does_not_hold,
    attr_ge_holds_at_and_above_its_bound,
    attr_lt_holds_below_its_bound_only,
    comparisons_with_negative_and_extreme_numbers_hold,
    comparisons_on_an_absent_attribute_do_not_hold,
    comparisons_on_another_type_do_not_hold,
    comparisons_on_an_absent_item_do_not_hold,
    has_attr_and_no_attr_follow_the_attribute,
    no_attr_holds_for_an_absent_item,
    entries_of_maps_can_be_asked_for,
    an_entry_of_something_else_than_a_map_is_absent,
    an_entry_name_may_contain_dots,
    all_of_nothing_holds_and_any_of_nothing_does_not,
    all_needs_every_term,
    any_needs_one_term,
    conditions_nest,
    a_condition_sees_the_item_after_an_earlier_write,
    a_condition_sees_a_delete,
    a_failed_condition_changes_nothing,
    a_failed_condition_shows_the_item_as_it_is,
    a_failed_condition_on_an_absent_item_shows_none,
    a_failed_condition_shows_a_large_item_whole,
    a_check_writes_nothing,
    a_put_over_a_given_version_happens_once,
    a_delete_by_version_leaves_another_version_alone,
    a_patch_with_a_failed_condition_does_not_make_the_item,
];

async fn always_holds(ctx: Ctx) {
    assert!(ctx.holds(ctx.k(), Cond::Always).await);
    ctx.put(ctx.item()).await;
    assert!(ctx.holds(ctx.k(), Cond::Always).await);
}

async fn exists_and_not_exists_follow_the_item(ctx: Ctx) {
    assert!(!ctx.holds(ctx.k(), Cond::Exists).await);
    assert!(ctx.holds(ctx.k(), Cond::NotExists).await);
    ctx.put(ctx.item()).await;
    assert!(ctx.holds(ctx.k(), Cond::Exists).await);
    assert!(!ctx.holds(ctx.k(), Cond::NotExists).await);
}

async fn not_exists_lets_one_put_through_and_shows_it_to_the_other(ctx: Ctx) {
    let first = ctx.item().with("by", "first");
    ctx.try_put(first.clone(), Cond::NotExists).await.expect("it does not exist");
    let second = ctx.try_put(ctx.item().with("by", "second"), Cond::NotExists).await;
    assert_eq!(existing(second, 0), Some(first.clone()));
    assert_eq!(ctx.must(&ctx.k()).await, first);
}

async fn attr_eq_compares_each_kind_of_value(ctx: Ctx) {
    ctx.put(ctx.item().with("i", 5).with("s", "x").with("b", vec![1, 2]).with("t", true)).await;
    for (name, same, other) in [
        ("i", Value::Int(5), Value::Int(6)),
        ("s", Value::from("x"), Value::from("X")),
        ("b", Value::from(vec![1, 2]), Value::from(vec![1])),
        ("t", Value::Bool(true), Value::Bool(false)),
    ] {
        assert!(ctx.holds(ctx.k(), Cond::AttrEq(at(name), same)).await, "{name} is equal");
        assert!(!ctx.holds(ctx.k(), Cond::AttrEq(at(name), other)).await, "{name} is not equal");
    }
}

async fn attr_eq_of_another_type_does_not_hold(ctx: Ctx) {
    ctx.put(ctx.item().with("i", 1).with("s", "1")).await;
    assert!(!ctx.holds(ctx.k(), Cond::AttrEq(at("i"), Value::from("1"))).await);
    assert!(!ctx.holds(ctx.k(), Cond::AttrEq(at("s"), Value::Int(1))).await);
    assert!(!ctx.holds(ctx.k(), Cond::AttrEq(at("i"), Value::Bool(true))).await);
}

async fn attr_eq_compares_maps_and_lists_as_a_whole(ctx: Ctx) {
    let list = Value::List(vec![Value::Int(1), Value::Int(2)]);
    ctx.put(ctx.item().with("m", map(&[("a", 1), ("b", 2)])).with("l", list.clone())).await;
    assert!(ctx.holds(ctx.k(), Cond::AttrEq(at("m"), map(&[("b", 2), ("a", 1)]))).await);
    assert!(!ctx.holds(ctx.k(), Cond::AttrEq(at("m"), map(&[("a", 1)]))).await);
    assert!(ctx.holds(ctx.k(), Cond::AttrEq(at("l"), list)).await);
    let swapped = Value::List(vec![Value::Int(2), Value::Int(1)]);
    assert!(!ctx.holds(ctx.k(), Cond::AttrEq(at("l"), swapped)).await);
}

async fn attr_eq_on_an_absent_attribute_does_not_hold(ctx: Ctx) {
    ctx.put(ctx.item().with("a", 1)).await;
    assert!(!ctx.holds(ctx.k(), Cond::AttrEq(at("b"), Value::Int(1))).await);
    assert!(!ctx.holds(ctx.key("p", "absent"), Cond::AttrEq(at("a"), Value::Int(1))).await);
}

async fn attr_ge_holds_at_and_above_its_bound(ctx: Ctx) {
    ctx.put(ctx.item().with("q", 5)).await;
    for (bound, holds) in [(4, true), (5, true), (6, false)] {
        assert_eq!(ctx.holds(ctx.k(), Cond::AttrGe(at("q"), bound)).await, holds, "5 >= {bound}");
    }
}

async fn attr_lt_holds_below_its_bound_only(ctx: Ctx) {
    ctx.put(ctx.item().with("q", 5)).await;
    for (bound, holds) in [(4, false), (5, false), (6, true)] {
        assert_eq!(ctx.holds(ctx.k(), Cond::AttrLt(at("q"), bound)).await, holds, "5 < {bound}");
    }
}

async fn comparisons_with_negative_and_extreme_numbers_hold(ctx: Ctx) {
    ctx.put(ctx.item().with("q", -5).with("min", i64::MIN).with("max", i64::MAX)).await;
    assert!(ctx.holds(ctx.k(), Cond::AttrGe(at("q"), -5)).await);
    assert!(ctx.holds(ctx.k(), Cond::AttrLt(at("q"), -4)).await);
    assert!(!ctx.holds(ctx.k(), Cond::AttrGe(at("q"), 0)).await);
    assert!(ctx.holds(ctx.k(), Cond::AttrGe(at("max"), i64::MAX)).await);
    assert!(ctx.holds(ctx.k(), Cond::AttrLt(at("min"), i64::MIN + 1)).await);
    assert!(!ctx.holds(ctx.k(), Cond::AttrLt(at("min"), i64::MIN)).await);
}

async fn comparisons_on_an_absent_attribute_do_not_hold(ctx: Ctx) {
    ctx.put(ctx.item().with("a", 1)).await;
    assert!(!ctx.holds(ctx.k(), Cond::AttrGe(at("b"), i64::MIN)).await);
    assert!(!ctx.holds(ctx.k(), Cond::AttrLt(at("b"), i64::MAX)).await);
}

async fn comparisons_on_another_type_do_not_hold(ctx: Ctx) {
    ctx.put(ctx.item().with("s", "5").with("m", map(&[("x", 5)]))).await;
    for name in ["s", "m"] {
        assert!(!ctx.holds(ctx.k(), Cond::AttrGe(at(name), i64::MIN)).await);
        assert!(!ctx.holds(ctx.k(), Cond::AttrLt(at(name), i64::MAX)).await);
    }
}

async fn comparisons_on_an_absent_item_do_not_hold(ctx: Ctx) {
    assert!(!ctx.holds(ctx.k(), Cond::AttrGe(at("q"), i64::MIN)).await);
    assert!(!ctx.holds(ctx.k(), Cond::AttrLt(at("q"), i64::MAX)).await);
    assert!(!ctx.holds(ctx.k(), Cond::HasAttr(at("q"))).await);
}

async fn has_attr_and_no_attr_follow_the_attribute(ctx: Ctx) {
    ctx.put(ctx.item().with("a", "")).await;
    assert!(ctx.holds(ctx.k(), Cond::HasAttr(at("a"))).await);
    assert!(!ctx.holds(ctx.k(), Cond::NoAttr(at("a"))).await);
    assert!(!ctx.holds(ctx.k(), Cond::HasAttr(at("b"))).await);
    assert!(ctx.holds(ctx.k(), Cond::NoAttr(at("b"))).await);
}

async fn no_attr_holds_for_an_absent_item(ctx: Ctx) {
    assert!(ctx.holds(ctx.k(), Cond::NoAttr(at("a"))).await);
    assert!(ctx.holds(ctx.k(), Cond::NoAttr(entry("h", "x"))).await);
}

async fn entries_of_maps_can_be_asked_for(ctx: Ctx) {
    ctx.put(ctx.item().with("h", map(&[("x", 5)]))).await;
    assert!(ctx.holds(ctx.k(), Cond::HasAttr(entry("h", "x"))).await);
    assert!(ctx.holds(ctx.k(), Cond::NoAttr(entry("h", "y"))).await);
    assert!(ctx.holds(ctx.k(), Cond::AttrEq(entry("h", "x"), Value::Int(5))).await);
    assert!(ctx.holds(ctx.k(), Cond::AttrGe(entry("h", "x"), 5)).await);
    assert!(!ctx.holds(ctx.k(), Cond::AttrLt(entry("h", "x"), 5)).await);
    assert!(!ctx.holds(ctx.k(), Cond::AttrGe(entry("h", "y"), 0)).await);
}

async fn an_entry_of_something_else_than_a_map_is_absent(ctx: Ctx) {
    ctx.put(ctx.item().with("h", 5)).await;
    assert!(ctx.holds(ctx.k(), Cond::NoAttr(entry("h", "x"))).await);
    assert!(!ctx.holds(ctx.k(), Cond::AttrGe(entry("h", "x"), 0)).await);
}

async fn an_entry_name_may_contain_dots(ctx: Ctx) {
    ctx.put(ctx.item().with("h", map(&[("oid.nonce", 2), ("oid", 1)]))).await;
    assert!(ctx.holds(ctx.k(), Cond::AttrEq(entry("h", "oid.nonce"), Value::Int(2))).await);
    assert!(ctx.holds(ctx.k(), Cond::AttrEq(entry("h", "oid"), Value::Int(1))).await);
    assert!(ctx.holds(ctx.k(), Cond::NoAttr(entry("h", "nonce"))).await);
}

async fn all_of_nothing_holds_and_any_of_nothing_does_not(ctx: Ctx) {
    assert!(ctx.holds(ctx.k(), Cond::All(vec![])).await);
    assert!(!ctx.holds(ctx.k(), Cond::Any(vec![])).await);
}

async fn all_needs_every_term(ctx: Ctx) {
    ctx.put(ctx.item().with("a", 1).with("b", 2)).await;
    let a = Cond::AttrEq(at("a"), Value::Int(1));
    let b = |n| Cond::AttrEq(at("b"), Value::Int(n));
    assert!(ctx.holds(ctx.k(), Cond::All(vec![a.clone(), b(2)])).await);
    assert!(!ctx.holds(ctx.k(), Cond::All(vec![a.clone(), b(3)])).await);
    assert!(!ctx.holds(ctx.k(), Cond::All(vec![b(3), a])).await);
}

async fn any_needs_one_term(ctx: Ctx) {
    ctx.put(ctx.item().with("a", 1)).await;
    let a = |n| Cond::AttrEq(at("a"), Value::Int(n));
    assert!(ctx.holds(ctx.k(), Cond::Any(vec![a(0), a(1)])).await);
    assert!(ctx.holds(ctx.k(), Cond::Any(vec![Cond::NotExists, a(1)])).await);
    assert!(!ctx.holds(ctx.k(), Cond::Any(vec![a(0), a(2)])).await);
}

async fn conditions_nest(ctx: Ctx) {
    // The put after a VOID: absent, or VOID of the generation that was read.
    let again = |generation| {
        let void = Cond::AttrEq(at("st"), Value::from("VOID"));
        Cond::Any(vec![Cond::NotExists, Cond::All(vec![void, Cond::AttrEq(at("g"), Value::Int(generation))])])
    };
    assert!(ctx.holds(ctx.k(), again(1)).await);
    ctx.put(ctx.item().with("st", "VOID").with("g", 1)).await;
    assert!(ctx.holds(ctx.k(), again(1)).await);
    assert!(!ctx.holds(ctx.k(), again(2)).await);
    ctx.put(ctx.item().with("st", "PLACED").with("g", 1)).await;
    assert!(!ctx.holds(ctx.k(), again(1)).await);
}

async fn a_condition_sees_the_item_after_an_earlier_write(ctx: Ctx) {
    ctx.put(ctx.item().with("q", 3)).await;
    for left in (0..3).rev() {
        ctx.try_patch(ctx.k(), vec![add(at("q"), -1)], Cond::AttrGe(at("q"), 1)).await.expect("units are left");
        assert_eq!(ctx.must(&ctx.k()).await.int("q"), Some(left));
    }
    let refused = ctx.try_patch(ctx.k(), vec![add(at("q"), -1)], Cond::AttrGe(at("q"), 1)).await;
    assert_eq!(existing(refused, 0).and_then(|item| item.int("q")), Some(0));
}

async fn a_condition_sees_a_delete(ctx: Ctx) {
    ctx.put(ctx.item().with("q", 3)).await;
    ctx.delete(ctx.k()).await;
    assert!(!ctx.holds(ctx.k(), Cond::HasAttr(at("q"))).await);
    assert!(ctx.holds(ctx.k(), Cond::NotExists).await);
}

async fn a_failed_condition_changes_nothing(ctx: Ctx) {
    let item = ctx.item().with("q", 1);
    ctx.put(item.clone()).await;
    let never = Cond::AttrGe(at("q"), 100);
    existing(ctx.try_put(ctx.item().with("q", 9), never.clone()).await, 0);
    existing(ctx.try_patch(ctx.k(), vec![set(at("q"), 9)], never.clone()).await, 0);
    existing(ctx.try_delete(ctx.k(), never).await, 0);
    assert_eq!(ctx.must(&ctx.k()).await, item);
}

async fn a_failed_condition_shows_the_item_as_it_is(ctx: Ctx) {
    ctx.put(ctx.item().with("q", 1)).await;
    ctx.patch(ctx.k(), vec![add(at("q"), 1), set(at("note"), "patched")]).await;
    let refused = ctx.try_put(ctx.item(), Cond::NotExists).await;
    assert_eq!(existing(refused, 0), Some(ctx.item().with("q", 2).with("note", "patched")));
}

async fn a_failed_condition_on_an_absent_item_shows_none(ctx: Ctx) {
    assert_eq!(existing(ctx.try_put(ctx.item(), Cond::Exists).await, 0), None);
    assert_eq!(existing(ctx.try_patch(ctx.k(), vec![], Cond::AttrGe(at("q"), 0)).await, 0), None);
}

async fn a_failed_condition_shows_a_large_item_whole(ctx: Ctx) {
    let item = ctx.item().with("b", vec![7; 50_000]);
    ctx.put(item.clone()).await;
    let refused = ctx.try_put(ctx.item(), Cond::NotExists).await;
    assert!(existing(refused, 0) == Some(item), "the whole item is shown");
}

async fn a_check_writes_nothing(ctx: Ctx) {
    ctx.write(Op::Check { key: ctx.k(), cond: Cond::NotExists }).await;
    assert_eq!(ctx.get(&ctx.k()).await, None);
    let item = ctx.item().with("q", 1);
    ctx.put(item.clone()).await;
    ctx.write(Op::Check { key: ctx.k(), cond: Cond::Exists }).await;
    assert_eq!(ctx.must(&ctx.k()).await, item);
}

async fn a_put_over_a_given_version_happens_once(ctx: Ctx) {
    ctx.put(ctx.item().with("v", 1)).await;
    let over_1 = Cond::AttrEq(at("v"), Value::Int(1));
    ctx.try_put(ctx.item().with("v", 2), over_1.clone()).await.expect("version 1 is there");
    let again = ctx.try_put(ctx.item().with("v", 2), over_1).await;
    assert_eq!(existing(again, 0).and_then(|item| item.int("v")), Some(2));
}

async fn a_delete_by_version_leaves_another_version_alone(ctx: Ctx) {
    ctx.put(ctx.item().with("v", 2)).await;
    existing(ctx.try_delete(ctx.k(), Cond::AttrEq(at("v"), Value::Int(1))).await, 0);
    assert!(ctx.get(&ctx.k()).await.is_some());
    ctx.try_delete(ctx.k(), Cond::AttrEq(at("v"), Value::Int(2))).await.expect("version 2 is there");
    assert_eq!(ctx.get(&ctx.k()).await, None);
}

async fn a_patch_with_a_failed_condition_does_not_make_the_item(ctx: Ctx) {
    existing(ctx.try_patch(ctx.k(), vec![set(at("a"), 1)], Cond::Exists).await, 0);
    assert_eq!(ctx.get(&ctx.k()).await, None);
    let other = Item::new(ctx.key("p", "other"));
    ctx.put(other).await;
    assert_eq!(ctx.get(&ctx.k()).await, None);
}
