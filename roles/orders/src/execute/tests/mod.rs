//! Both executors under every crash point and under random schedules; and each known way to get the stepwise protocol
//! wrong, which the same checks must catch.

mod sim;
mod world;

use std::task::{Context, Poll};

use zizon_table::{Cond, Durability, Item, Op};

use self::world::{Kind, World, finish};
use super::{Executor, Mode, Protocol, Settler, nonce_time};
use crate::order::fact::Actor;
use crate::order::state::Event;
use crate::stock::shard::{RESERVED, Shard};

const STEPS: usize = 160;

/// Schedules per kind; `ZIZON_SEEDS` asks for more.
fn seeds() -> u64 {
    std::env::var("ZIZON_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3_000)
}

fn schedule(seed: u64, mode: Mode, protocol: Protocol) -> Result<(), String> {
    schedule_of(seed, (mode, protocol, usize::MAX))
}

fn schedule_of(seed: u64, kind: Kind) -> Result<(), String> {
    let mut world = World::of_kind(seed, kind);
    world.run(STEPS)?;
    world.rest_and_check()
}

/// The first seed whose schedule breaks an invariant.
fn caught(protocol: Protocol, seeds: u64) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| schedule(seed, Mode::Stepwise, protocol).err().map(|why| (seed, why)))
}

#[test]
fn the_books_close_after_random_schedules_of_both_executors() {
    for mode in [Mode::Stepwise, Mode::Atomic] {
        for seed in 0..seeds() {
            if let Err(why) = schedule(seed, mode, Protocol::Sound) {
                panic!("{mode:?}, seed {seed}: {why}");
            }
        }
    }
}

/// Orders over two products go stepwise because the plan would be too large, the others atomically: side by side over
/// the same shards, with a settler that is woken by the first of them.
#[test]
fn the_books_close_when_some_orders_are_too_large_for_a_plan() {
    for seed in 0..seeds() {
        if let Err(why) = schedule_of(seed, (Mode::Atomic, Protocol::Sound, 2)) {
            panic!("seed {seed}: {why}");
        }
    }
}

/// Schedules that do nothing prove nothing.
#[test]
fn the_schedules_place_call_off_and_fence() {
    for mode in [Mode::Stepwise, Mode::Atomic] {
        let (mut placed, mut cancelled, mut voids) = (0, 0, 0);
        for seed in 0..200 {
            let mut world = World::new(seed, mode, Protocol::Sound);
            world.run(STEPS).unwrap();
            placed += world.acknowledged();
            cancelled += world.cancelled();
            world.rest_and_check().unwrap();
            voids += world.voids();
        }
        assert!(placed > 200 && cancelled > 20, "{mode:?}: {placed} placed, {cancelled} called off");
        assert!(mode == Mode::Atomic || voids > 20, "{voids} voids");
    }
}

#[test]
fn a_hold_without_a_nonce_is_caught() {
    let found = caught(Protocol::NoNonce, 5_000);
    assert!(found.is_some(), "the checks do not see that holds of duplicates are one");
}

#[test]
fn a_sweeper_without_a_fence_is_caught() {
    let found = caught(Protocol::NoFence, 5_000);
    assert!(found.is_some(), "the checks do not see that a late put creates units");
}

#[test]
fn a_void_whose_generation_is_not_raised_is_caught() {
    let found = caught(Protocol::NoGenerationBump, 20_000);
    assert!(found.is_some(), "the checks do not see that an old void lets a late put create units");
}

#[test]
fn an_acknowledgement_before_the_sync_is_caught() {
    let found = caught(Protocol::EarlyAcknowledge, 5_000);
    assert!(
        found.is_some_and(|(_, why)| why.contains("acknowledged")),
        "the checks do not see a lost acknowledged order"
    );
}

/// The caller goes away, or the process dies, after every possible number of steps of one attempt; another one with
/// the same key follows, before and after the sweeper.
#[test]
fn an_attempt_may_stop_after_any_step() {
    for mode in [Mode::Stepwise, Mode::Atomic] {
        for order in 0..4 {
            for process_dies in [false, true] {
                let mut ended = false;
                for steps in 0.. {
                    let mut world = World::new(7, mode, Protocol::Sound);
                    world.start_attempt(world.plan(order));
                    ended = (0..steps).any(|_| world.poll(0));
                    if process_dies {
                        world.crash();
                    }
                    world.start_attempt(world.plan(order));
                    let second = usize::from(!process_dies && !ended);
                    while !world.poll(second) {}
                    world
                        .rest_and_check()
                        .unwrap_or_else(|why| panic!("{mode:?}, order {order}, {steps} steps: {why}"));
                    if ended {
                        break;
                    }
                }
                assert!(ended);
            }
        }
    }
}

#[test]
fn an_effect_that_stock_cannot_take_is_told_from_one_that_it_has() {
    let world = World::new(1, Mode::Stepwise, Protocol::Sound);
    let executor = world.executor_for_tests();
    let plan = (0..4).map(|n| world.plan(n)).find(|plan| plan.demand.len() == 1).unwrap();
    let id = plan.id;
    let sku = plan.document.lines[0].sku.clone();
    finish(executor.place(plan)).unwrap();
    let settle_from_the_beginning = || {
        let mut settler = finish(Settler::resume(executor.clone())).unwrap();
        while finish(settler.step()).unwrap() > 0 {}
        executor.mismatches()
    };
    assert_eq!(settle_from_the_beginning(), 0);
    finish(executor.transition(&id, Event::CancelledByShopper, Actor::Shopper)).unwrap();
    let shard = finish(executor.directory.snapshot(&sku)).unwrap().unwrap().items;
    let reserved = shard.into_iter().flatten().find(|item| item.int(RESERVED).unwrap_or(0) > 0).unwrap();
    let put = |item: Item| finish(executor.table.write(Op::Put { item, cond: Cond::Always }, Durability::Durable));
    // Somebody has taken the order's units from the shard.
    put(reserved.clone().with(RESERVED, 0i64)).unwrap();
    assert_eq!(settle_from_the_beginning(), 1);
    put(reserved).unwrap();
    assert_eq!(
        (settle_from_the_beginning(), settle_from_the_beginning()),
        (1, 1),
        "it is in, and was not counted again"
    );
    assert_eq!(Shard::read(finish(executor.directory.snapshot(&sku)).unwrap().unwrap().items[0].as_ref()).reserved, 0);
}

#[test]
fn the_time_of_an_attempt_is_in_its_nonce() {
    let world = World::new(1, Mode::Stepwise, Protocol::Sound);
    let executor: &Executor = world.executor_for_tests();
    let (first, second) = (executor.nonce(), executor.nonce());
    assert_eq!(nonce_time(&first), Some(1_800_000_000_000));
    assert_ne!(first, second);
    assert_eq!(nonce_time("!"), None);
}

#[test]
fn a_future_of_the_simulation_can_be_stopped_between_any_two_steps() {
    let world = World::new(1, Mode::Stepwise, Protocol::Sound);
    let plan = world.plan(0);
    let mut placing = Box::pin(world.executor_for_tests().place(plan));
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut steps = 1;
    while matches!(placing.as_mut().poll(&mut context), Poll::Pending) {
        steps += 1;
    }
    // Read, hold, put, sync: a step before each.
    assert!(steps >= 4, "{steps}");
    assert!(finish(async { true }));
}
