//! Both executors under every crash point and under random schedules; and each known way to get the stepwise protocol
//! wrong, which the same checks must catch.

mod sim;
mod world;

use std::task::{Context, Poll};

use self::world::{World, finish};
use super::{Executor, Mode, Protocol, nonce_time};

const STEPS: usize = 160;

fn schedule(seed: u64, mode: Mode, protocol: Protocol) -> Result<(), String> {
    let mut world = World::new(seed, mode, protocol);
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
        for seed in 0..3_000 {
            if let Err(why) = schedule(seed, mode, Protocol::Sound) {
                panic!("{mode:?}, seed {seed}: {why}");
            }
        }
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
    assert!(found.is_some_and(|(_, why)| why.contains("acknowledged")), "the checks do not see a lost acknowledged order");
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
                    world.rest_and_check().unwrap_or_else(|why| panic!("{mode:?}, order {order}, {steps} steps: {why}"));
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
